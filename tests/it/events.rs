//! The event log through the API: pages, filters, live, and the walls between workspaces.

use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::domain::flow::Channel;
use cadenza::domain::id::{LeadId, SenderId, SequenceId, WorkspaceId};
use cadenza::store::event;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::harness::{Harness, both, start};

const EVENTS: &str = "query ($filter: EventFilter, $after: EventCursor, $first: Int) {
    events(filter: $filter, after: $after, first: $first) { cursor at kind stepKey channel detail }
}";

/// What a test puts into a log.
struct Made {
    sequences: [SequenceId; 2],
    lead: LeadId,
    sender: SenderId,
}

async fn fill(h: &Harness, workspace: WorkspaceId) -> Made {
    let id = || h.services.entropy.id(start());
    let made = Made {
        sequences: [id(), id()],
        lead: h.services.entropy.id(start()),
        sender: h.services.entropy.id(start()),
    };
    let [first, second] = made.sequences;
    let sent = NewEvent {
        channel: Some(Channel::Email),
        sender_id: Some(made.sender),
        ..NewEvent::of_lead(start(), EventKind::ExecutionSent, first, made.lead).at_step("hello")
    };
    let events = vec![
        NewEvent::of_sequence(start(), EventKind::SequencePublished, first),
        NewEvent::of_lead(start(), EventKind::LeadEnrolled, first, made.lead)
            .with_detail(json!({ "by": "API" })),
        sent,
        NewEvent::of_sequence(start(), EventKind::SequencePublished, second),
    ];
    let tx = h.services.db.begin().await.expect("a transaction");
    event::append(&tx, workspace, events)
        .await
        .expect("appended");
    tx.commit().await.expect("committed");
    h.services.wake.log();
    made
}

fn kinds(events: &Value) -> Vec<&str> {
    let list = events.as_array().expect("a list");
    list.iter()
        .map(|event| event["kind"].as_str().expect("a kind"))
        .collect()
}

both!(
    the_log_is_read_in_pages_and_filtered,
    |h: Harness| async move {
        let made = fill(&h, h.admin.workspace).await;
        let read = async |variables: Value| h.data(EVENTS, variables).await["events"].take();
        let all = read(json!({})).await;
        assert_eq!(
            kinds(&all),
            [
                "SEQUENCE_PUBLISHED",
                "LEAD_ENROLLED",
                "EXECUTION_SENT",
                "SEQUENCE_PUBLISHED"
            ]
        );
        assert_eq!(all[1]["detail"], json!({ "by": "API" }));
        assert_eq!(all[2]["stepKey"], "hello");
        assert_eq!(all[2]["channel"], "EMAIL");
        assert_eq!(all[0]["at"], "2026-03-02T09:00:00.000Z");
        let page = read(json!({ "after": all[0]["cursor"], "first": 2 })).await;
        assert_eq!(kinds(&page), ["LEAD_ENROLLED", "EXECUTION_SENT"]);
        for (filter, count) in [
            (json!({ "sequenceIds": [made.sequences[0].to_string()] }), 3),
            (
                json!({ "sequenceIds": made.sequences.map(|id| id.to_string()) }),
                4,
            ),
            (json!({ "leadId": made.lead.to_string() }), 2),
            (json!({ "kinds": ["SEQUENCE_PUBLISHED"] }), 2),
            (json!({ "channel": ["EMAIL", "SMS"] }), 1),
            (json!({ "channel": ["SMS"] }), 0),
            (json!({ "senderIds": [made.sender.to_string()] }), 1),
            (json!({ "sequenceIds": ["seq_nonsense"] }), 0),
            (json!({ "sequenceIds": [], "kinds": [] }), 4),
            (
                json!({ "kinds": ["LEAD_ENROLLED"], "leadId": made.lead.to_string() }),
                1,
            ),
        ] {
            let found = read(json!({ "filter": filter })).await;
            assert_eq!(found.as_array().map(Vec::len), Some(count), "{filter}");
            // Live, the same filter lets the same through.
            let follow = "subscription ($filter: EventFilter) {
            executionEvents(filter: $filter, after: \"evt_0000000000000000\") { kind }
        }";
            let stream = h.follow(follow, json!({ "filter": filter }));
            let followed: Vec<_> = stream.take(count).collect().await;
            assert_eq!(followed.len(), count);
        }
        for first in [0, 251, -1] {
            let refused = h.execute(EVENTS, json!({ "first": first })).await;
            assert_eq!(
                refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
                "{first}"
            );
        }
    }
);

both!(
    another_workspace_sees_nothing_of_it,
    |h: Harness| async move {
        let made = fill(&h, h.admin.workspace).await;
        for filter in [json!(null), json!({ "leadId": made.lead.to_string() })] {
            let theirs = h
                .execute_as(&h.stranger, EVENTS, json!({ "filter": filter }))
                .await;
            assert_eq!(theirs["data"]["events"], json!([]));
        }
    }
);

both!(
    a_subscriber_that_comes_back_goes_on_where_it_was,
    |h: Harness| async move {
        let follow =
            "subscription ($after: EventCursor) { executionEvents(after: $after) { cursor kind } }";
        fill(&h, h.admin.workspace).await;
        let mut after = json!("evt_0000000000000000");
        let mut seen = Vec::new();
        for round in 0..6 {
            let mut stream = h.follow(follow, json!({ "after": after }));
            if round % 2 == 1 {
                fill(&h, h.admin.workspace).await;
            }
            for _ in 0..2 {
                let next = tokio::time::timeout(std::time::Duration::from_secs(30), stream.next());
                let answer = next.await.expect("in time").expect("goes on");
                let event = answer.data.into_json().expect("JSON")["executionEvents"].take();
                after = event["cursor"].clone();
                seen.push(after.as_str().expect("text").to_owned());
            }
        }
        let expected: Vec<String> = (1..=12).map(|seq| format!("evt_{seq:016x}")).collect();
        assert_eq!(seen, expected);
    }
);

both!(
    a_cursor_that_the_log_has_not_reached_is_refused,
    |h: Harness| async move {
        fill(&h, h.admin.workspace).await;
        let ahead = json!({ "after": "evt_0000000000002710" });
        let read = h.execute(EVENTS, ahead.clone()).await;
        assert_eq!(
            read["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
            "{read}"
        );
        let follow = "subscription ($after: EventCursor) {
            executionEvents(after: $after) { cursor } }";
        let request = async_graphql::Request::new(follow)
            .variables(async_graphql::Variables::from_json(ahead))
            .data(h.admin.clone());
        let first = h
            .schema
            .execute_stream(request)
            .next()
            .await
            .expect("an answer");
        assert!(
            first.errors[0].message.contains("ahead"),
            "{:?}",
            first.errors
        );
    }
);
