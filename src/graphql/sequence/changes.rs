//! How a version of a sequence, or its working copy, differs from an earlier version.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Result, SimpleObject, dataloader};
use serde_json::Value;

use super::mutation::FlowChangeKind;
use crate::domain::flow::{self, FieldDifference, Flow, StepDifference};
use crate::domain::id::SequenceId;
use crate::domain::settings::Settings;
use crate::graphql::context::ContextExt;
use crate::graphql::error::bad_input;
use crate::graphql::flow::action::{hide_texts, sees_headers};
use crate::graphql::loader::{LoadError, Loaders};
use crate::graphql::scalar::Json;
use crate::store::sequence::Sequence;
use crate::store::sequence::version::{self, Version};

/// How a version, or the working copy, differs from an earlier version. Where there is none before it,
/// from a sequence without steps that has the settings a new one begins with.
#[derive(SimpleObject)]
pub struct VersionChanges {
    /// The number of the earlier version; null where there is none.
    since: Option<i32>,
    /// The key of the step where leads enter; null where they enter at the same one.
    entry: Option<FieldChange>,
    /// The steps that differ, in the order of the later flow, removed steps last.
    steps: Vec<StepChange>,
    /// The settings that differ, each by its name: ["sendWindows"].
    settings: Vec<FieldChange>,
}

/// How one step differs.
#[derive(SimpleObject)]
pub struct StepChange {
    /// The step.
    step_key: String,
    /// How it differs. A step that has only a new name is CHANGED.
    change: FlowChangeKind,
    /// The fields that differ, also where the step leads to; empty for a step that only one of the two
    /// has.
    fields: Vec<FieldChange>,
}

/// What a field was and is. Who has the role VIEWER sees `***` for the texts of a request's headers.
#[derive(SimpleObject)]
pub struct FieldChange {
    /// The field, named as in the inputs, from the step or the settings. A variant goes by its key:
    /// ["action", "email", "variants", "a", "subject"]. Lists are told as a whole, and so is an action
    /// that became one of another kind.
    path: Vec<String>,
    /// What it was; null where it had no value.
    before: Option<Json>,
    /// What it is; null where it has no value.
    after: Option<Json>,
}

impl From<FieldDifference> for FieldChange {
    fn from(found: FieldDifference) -> Self {
        let value = |value: Value| (!value.is_null()).then_some(Json(value));
        Self {
            path: found.path,
            before: value(found.before),
            after: value(found.after),
        }
    }
}

impl From<StepDifference> for StepChange {
    fn from(found: StepDifference) -> Self {
        Self {
            step_key: found.step_key,
            change: found.kind.into(),
            fields: found.fields.into_iter().map(Into::into).collect(),
        }
    }
}

/// How the working copy of a sequence differs from what runs, or ran last.
///
/// # Errors
/// As the store has it.
pub(super) async fn of_draft(ctx: &Context<'_>, sequence: &Sequence) -> Result<VersionChanges> {
    let before = match sequence.published_version {
        Some(id) => ctx.loaders()?.load_one(id).await?,
        None => None,
    };
    let working = (&*sequence.flow, &sequence.settings);
    told(ctx, before.as_deref(), working)
}

/// How a version differs from the one with this number, or from the one right before.
///
/// # Errors
/// Where there is no earlier version with this number; as the store has it.
pub(super) async fn of_version(
    ctx: &Context<'_>,
    later: &Version,
    since: Option<i32>,
) -> Result<VersionChanges> {
    let number = since.unwrap_or(later.number - 1);
    let before = if (1..later.number).contains(&number) {
        let key = Numbered(later.sequence, number);
        ctx.loaders()?.load_one(key).await?
    } else {
        None
    };
    match since {
        Some(since) if before.is_none() => Err(unknown(since, later.number)),
        Some(_) | None => told(ctx, before.as_deref(), (&later.flow, &later.settings)),
    }
}

fn unknown(since: i32, number: i32) -> async_graphql::Error {
    let remedy = match number {
        ..=1 => "it is the first: leave `since` out".to_owned(),
        2 => "give 1, or leave `since` out".to_owned(),
        more => format!("give one from 1 to {}, or leave `since` out", more - 1),
    };
    bad_input(format!(
        "There is no version {since} before version {number} of the sequence; {remedy}."
    ))
}

fn told(
    ctx: &Context<'_>,
    before: Option<&Version>,
    later: (&Flow, &Settings),
) -> Result<VersionChanges> {
    let (nothing, defaults) = (Flow::default(), Settings::default());
    let earlier = before.map_or((&nothing, &defaults), |version| {
        (&*version.flow, &version.settings)
    });
    let mut found = flow::difference(earlier, later);
    if !sees_headers(ctx)? {
        for field in found.steps.iter_mut().flat_map(|step| &mut step.fields) {
            hide_headers(&field.path, &mut field.before);
            hide_headers(&field.path, &mut field.after);
        }
    }
    Ok(VersionChanges {
        since: before.map(|version| version.number),
        entry: found.entry.map(Into::into),
        steps: found.steps.into_iter().map(Into::into).collect(),
        settings: found.settings.into_iter().map(Into::into).collect(),
    })
}

/// Takes the texts of a request's headers out of what a field was or is.
fn hide_headers(path: &[String], value: &mut Value) {
    let path: Vec<&str> = path.iter().map(String::as_str).collect();
    let headers = match path.as_slice() {
        ["action"] => value.pointer_mut("/webhook/headers"),
        ["action", "webhook"] => value.pointer_mut("/headers"),
        ["action", "webhook", "headers", ..] => Some(value),
        _ => None,
    };
    if let Some(headers) = headers {
        hide_texts(headers);
    }
}

/// A version by its sequence and number.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Numbered(SequenceId, i32);

impl dataloader::Loader<Numbered> for Loaders {
    type Value = Arc<Version>;
    type Error = LoadError;

    async fn load(
        &self,
        keys: &[Numbered],
    ) -> std::result::Result<HashMap<Numbered, Self::Value>, LoadError> {
        let wanted: Vec<(SequenceId, i32)> = keys
            .iter()
            .filter(|key| self.caller.scope.admits(key.0))
            .map(|key| (key.0, key.1))
            .collect();
        let db = self.services.db.read();
        let rows = version::find_numbers(db, self.workspace, &wanted).await?;
        let keyed = |row: Version| (Numbered(row.sequence, row.number), Arc::new(row));
        Ok(rows.into_iter().map(keyed).collect())
    }
}
