//! What is written is what the library answers, byte by byte.

use std::sync::Arc;

use async_graphql::{EmptyMutation, Object, Request, Schema, Variables};
use futures_util::{StreamExt, stream};
use proptest::prelude::*;
use serde_json::json;
use uuid::Uuid;

use super::*;
use crate::app::{Caller, Role};
use crate::domain::id::{TokenId, WorkspaceId};
use crate::domain::scope::SequenceScope;
use crate::graphql::document::{Remembered, Shape, read};
use crate::graphql::event::{EventSubscription, Feed};

struct Nothing;

#[Object]
impl Nothing {
    async fn nothing(&self) -> bool {
        true
    }
}

fn row(seq: i64, at: i64, kind: &str, channel: Option<&str>) -> event::Model {
    event::Model {
        workspace_id: Uuid::from_u128(1),
        seq,
        at,
        kind: kind.to_owned(),
        sequence_id: None,
        lead_id: Some(Uuid::from_u128(2)),
        execution_id: None,
        step_key: None,
        channel: channel.map(str::to_owned),
        sender_id: None,
        detail: None,
    }
}

/// Each row as the library answers it.
fn by_library(document: &str, rows: &[event::Model]) -> Vec<String> {
    let schema = Schema::new(Nothing, EmptyMutation, EventSubscription);
    let caller = Caller {
        scope: SequenceScope::All,
        workspace: WorkspaceId::from_uuid(Uuid::from_u128(1)),
        role: Role::Viewer,
        token: TokenId::from_uuid(Uuid::from_u128(3)),
        name: "a token".into(),
    };
    let entries: Vec<_> = rows.iter().cloned().map(Arc::new).collect();
    let mut request = Request::new(document)
        .data(caller)
        .data(Feed::new(stream::iter(entries), |_, _| {}));
    let shape = Shape::read(&crate::graphql::sdl()).expect("a schema");
    read(&mut request, &shape, &Remembered::default()).expect("read");
    let answers = schema.execute_stream(request).map(|answer| {
        assert!(answer.errors.is_empty(), "{document}: {:?}", answer.errors);
        let data = serde_json::to_string(&answer.data).expect("JSON");
        format!("{{\"data\":{data}}}")
    });
    let runtime = tokio::runtime::Builder::new_current_thread().build();
    runtime.expect("a runtime").block_on(answers.collect())
}

fn writer(document: &str) -> Option<Writer> {
    let shape = Shape::read(&crate::graphql::sdl()).expect("a schema");
    let mut request = Request::new(document).variables(Variables::default());
    let operation = read(&mut request, &shape, &Remembered::default()).expect("read");
    Writer::of(operation.root.as_ref()?)
}

fn is_the_same(document: &str, rows: &[event::Model]) {
    let mut writer = writer(document).unwrap_or_else(|| panic!("{document} can be written"));
    let written: Vec<String> = rows.iter().filter_map(|row| writer.write(row)).collect();
    assert_eq!(written, by_library(document, rows), "{document}");
}

const EVERYTHING: &str =
    "subscription { executionEvents { cursor kind at stepKey channel detail __typename } }";

#[test]
fn every_kind_and_every_channel_is_written_as_the_library_has_it() {
    let kinds = [
        "SEQUENCE_PUBLISHED",
        "SEQUENCE_DISABLED",
        "SEQUENCE_ARCHIVED",
        "LEAD_ENROLLED",
        "LEAD_ADVANCED",
        "LEAD_PAUSED",
        "LEAD_RESUMED",
        "LEAD_COMPLETED",
        "LEAD_STOPPED",
        "EXECUTION_STARTED",
        "EXECUTION_SENT",
        "EXECUTION_DELIVERED",
        "EXECUTION_FAILED",
        "EXECUTION_SKIPPED",
        "EXECUTION_UNCONFIRMED",
        "OPENED",
        "CLICKED",
        "READ",
        "REPLIED",
        "AUTO_REPLIED",
        "BOUNCED",
        "UNSUBSCRIBED",
        "COMPLAINED",
        "TASK_CREATED",
        "TASK_COMPLETED",
    ];
    let channels = [
        "EMAIL", "SMS", "WHATSAPP", "CALL", "LINKEDIN", "TASK", "WEBHOOK",
    ];
    let rows: Vec<event::Model> = (1..)
        .zip(kinds)
        .zip(channels.into_iter().cycle())
        .map(|((seq, kind), channel)| row(seq, 1_764_000_000_000, kind, Some(channel)))
        .collect();
    is_the_same(EVERYTHING, &rows);
}

#[test]
fn instants_are_written_as_the_library_has_them() {
    let at = [
        0,
        1,
        999,
        1_000,
        -1,
        -1_000,
        -1_001,
        1_764_000_000_000,
        1_764_000_000_005,
        1_764_000_000_099,
        1_764_000_001_000,
        253_402_300_799_999,
        253_402_300_800_000,
        -62_135_596_800_000,
        -62_167_219_200_001,
        i64::MAX,
        i64::MIN,
    ];
    let rows: Vec<event::Model> = (1..)
        .zip(at)
        .map(|(seq, at)| row(seq, at, "OPENED", None))
        .collect();
    is_the_same(EVERYTHING, &rows);
}

#[test]
fn keys_are_the_documents() {
    let rows = [
        row(1, 5, "OPENED", None),
        row(i64::MAX, 7, "CLICKED", Some("EMAIL")),
    ];
    for document in [
        "subscription { e: executionEvents { c: cursor cursor __typename t: __typename } }",
        "subscription { ...F } fragment F on Subscription { executionEvents { kind } }",
        "subscription ($k: [EventKind!]) { executionEvents(filter: { kinds: $k }) { at } }",
    ] {
        is_the_same(document, &rows);
    }
    for document in [
        "subscription { executionEvents { cursor sequence { name } } }",
        "subscription { executionEvents { cursor cursor } }",
        "subscription { executionEvents { ... { cursor } } }",
        "subscription { executionEvents { cursor @include(if: true) } }",
        "subscription { executionEvents { cursor gone } }",
        "subscription { executionEvents }",
        "{ __typename }",
    ] {
        assert!(writer(document).is_none(), "{document}");
    }
}

#[test]
fn what_is_wrong_with_a_row_is_left_to_the_library() {
    let mut writer = writer(EVERYTHING).expect("a writer");
    assert_eq!(writer.write(&row(1, 1, "NOTHING", None)), None);
    assert_eq!(writer.write(&row(1, 1, "OPENED", Some("PIGEON"))), None);
    assert!(writer.write(&row(1, 1, "OPENED", None)).is_some());
}

fn details() -> impl Strategy<Value = Json> {
    let leaf = prop_oneof![
        Just(Json::Null),
        any::<bool>().prop_map(Json::from),
        any::<i64>().prop_map(Json::from),
        any::<u64>().prop_map(Json::from),
        any::<f64>().prop_map(Json::from),
        any::<String>().prop_map(Json::from),
        ".{0,20}".prop_map(Json::from),
    ];
    leaf.prop_recursive(3, 24, 5, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..5).prop_map(Json::from),
            prop::collection::vec((".{0,8}", inner), 0..5)
                .prop_map(|fields| Json::Object(fields.into_iter().collect())),
        ]
    })
}

proptest! {
    #[test]
    fn whatever_a_row_holds(
        seq in 0..=i64::MAX,
        at in any::<i64>(),
        near in 0..4_000_i64,
        step in prop::option::of(any::<String>()),
        detail in prop::option::of(details()),
    ) {
        let mut first = row(seq, at, "REPLIED", Some("EMAIL"));
        first.step_key.clone_from(&step);
        first.detail.clone_from(&detail);
        let mut second = row(seq, at.saturating_add(near), "BOUNCED", None);
        second.step_key = step;
        second.detail = Some(json!({ "of": detail }));
        is_the_same(EVERYTHING, &[first, second]);
    }
}
