//! Sequences: made, edited, duplicated, switched off and put away. Publishing is in [`publish`].
//!
//! Which status allows what is the domain's answer ([`crate::domain::sequence`]); doing the same
//! thing twice changes nothing and writes no event.

mod flow;
pub mod forecast;
pub mod preview;
pub mod problems;
pub mod publish;
mod settings;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

pub use self::flow::{
    ActionInput, BranchInput, ConditionInput, EmailInput, EndInput, FlowInput, MessageInput,
    MessageVariantInput, PredicateInput, SplitInput, StepInput, TaskInput, UpdateInput,
    VariantInput, WebhookInput,
};
pub use self::settings::{SettingsChange, WindowInput};
use super::{AppError, Caller, Refusal, RefusalCode, Services, name};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Flow;
use crate::domain::id::{SenderId, SequenceId, VersionId, WorkspaceId};
use crate::domain::sequence::{SequenceAction, SequenceStatus, Step};
use crate::domain::settings::Settings;
use crate::store::event;
use crate::store::sequence::{self, Sequence};
use crate::zones::ZoneDatabase;

/// What the name of a duplicate ends with.
const COPY: &str = " (copy)";

/// What is said of a sequence; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub name: Option<String>,
    /// Its whole flow.
    pub flow: Option<FlowInput>,
    /// Settings, each of which may be left out.
    pub settings: Option<SettingsChange>,
}

/// What a sequence is made of, read.
#[derive(Debug, Clone, PartialEq)]
pub struct Content {
    /// What people call it.
    pub name: String,
    /// Its flow.
    pub flow: Flow,
    /// Its settings.
    pub settings: Settings,
}

/// A new sequence as [`create`] would keep it, read without a database.
///
/// # Errors
/// Every field that is wrong.
pub fn read(zones: &ZoneDatabase, change: Change) -> Result<Content, Vec<Refusal>> {
    let mut wrong = Vec::new();
    let mut note = |refusals| wrong.extend(refusals);
    let name = name::read(&change.name.unwrap_or_default(), &["name"]);
    let name = name.map_err(|refusal| note(vec![refusal]));
    let flow = flow::read(change.flow.unwrap_or_default(), zones).map_err(&mut note);
    let settings = change.settings.unwrap_or_default();
    let settings = settings::merged(&Settings::default(), settings, zones).map_err(&mut note);
    match (name, flow, settings) {
        (Ok(name), Ok(flow), Ok(settings)) => Ok(Content {
            name,
            flow,
            settings,
        }),
        _ => Err(wrong),
    }
}

/// Makes a draft.
///
/// # Errors
/// [`AppError::Refused`] with every field that is wrong; [`AppError::Store`] as the database has it.
pub async fn create(
    services: &Services,
    caller: &Caller,
    change: Change,
) -> Result<Sequence, AppError> {
    let mut draft = draft(services, String::new());
    apply(services, &mut draft, change)?;
    let tx = services.db.begin().await?;
    sequence::insert(&tx, caller.workspace, &draft).await?;
    tx.commit().await?;
    Ok(draft)
}

/// Edits a draft or a disabled sequence.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND`, with `CONFLICT` where the revision is not the expected
/// one, with `WRONG_STATE`, or with every field that is wrong; [`AppError::Store`] as the database
/// has it.
pub async fn update(
    services: &Services,
    caller: &Caller,
    id: SequenceId,
    expected_revision: Option<i32>,
    change: Change,
) -> Result<Sequence, AppError> {
    let tx = services.db.begin().await?;
    let before = locked(&tx, caller, id, expected_revision).await?;
    transition(&before, SequenceAction::Edit)?;
    let mut changed = before.clone();
    apply(services, &mut changed, change)?;
    check_senders(&tx, caller, &before, &changed).await?;
    if changed == before {
        return Ok(before);
    }
    if changed.flow != before.flow || changed.settings != before.settings {
        changed.revision += 1;
    }
    changed.updated_at = services.clock.now();
    sequence::save(&tx, caller.workspace, &changed).await?;
    tx.commit().await?;
    Ok(changed)
}

/// A draft with the same flow and settings.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND`; [`AppError::Store`] as the database has it.
pub async fn duplicate(
    services: &Services,
    caller: &Caller,
    id: SequenceId,
) -> Result<Sequence, AppError> {
    let original = sequence::find(services.db.read(), caller.workspace, id).await?;
    let original = original.filter(|original| caller.scope.admits(original.id));
    let original = original.ok_or_else(missing)?;
    let room = name::NAME_CHARS_MAX - COPY.chars().count();
    let name: String = original.name.chars().take(room).collect();
    let copy = Sequence {
        flow: original.flow,
        settings: original.settings,
        ..draft(services, format!("{}{COPY}", name.trim_end()))
    };
    let tx = services.db.begin().await?;
    sequence::insert(&tx, caller.workspace, &copy).await?;
    tx.commit().await?;
    Ok(copy)
}

/// Pauses all sends. Touches no lead.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` or `WRONG_STATE`; [`AppError::Store`] as the database has
/// it.
pub async fn disable(
    services: &Services,
    caller: &Caller,
    id: SequenceId,
) -> Result<Sequence, AppError> {
    let event = Some(EventKind::SequenceDisabled);
    change_status(services, caller, id, SequenceAction::Disable, event).await
}

/// Puts a sequence away. Touches no lead.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` or `WRONG_STATE`; [`AppError::Store`] as the database has
/// it.
pub async fn archive(
    services: &Services,
    caller: &Caller,
    id: SequenceId,
) -> Result<Sequence, AppError> {
    let event = Some(EventKind::SequenceArchived);
    change_status(services, caller, id, SequenceAction::Archive, event).await
}

/// Takes a sequence back out: disabled, or a draft where it was never published.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND`; [`AppError::Store`] as the database has it.
pub async fn unarchive(
    services: &Services,
    caller: &Caller,
    id: SequenceId,
) -> Result<Sequence, AppError> {
    change_status(services, caller, id, SequenceAction::Unarchive, None).await
}

async fn change_status(
    services: &Services,
    caller: &Caller,
    id: SequenceId,
    action: SequenceAction,
    kind: Option<EventKind>,
) -> Result<Sequence, AppError> {
    let now = services.clock.now();
    let tx = services.db.begin().await?;
    let mut row = locked(&tx, caller, id, None).await?;
    let Step::To(status) = transition(&row, action)? else {
        return Ok(row);
    };
    row.status = status;
    row.updated_at = now;
    sequence::save(&tx, caller.workspace, &row).await?;
    let events = kind
        .map(|kind| NewEvent::of_sequence(now, kind, id))
        .into_iter()
        .collect();
    commit(services, tx, caller.workspace, events).await?;
    Ok(row)
}

/// Appends the events and commits.
async fn commit(
    services: &Services,
    tx: DatabaseTransaction,
    workspace: WorkspaceId,
    events: Vec<NewEvent>,
) -> Result<(), AppError> {
    event::append(&tx, workspace, events).await?;
    tx.commit().await?;
    services.wake.log();
    Ok(())
}

/// Refuses senders that somebody who is limited to some sequences does not see: those that no flow of
/// these names.
async fn check_senders(
    tx: &impl ConnectionTrait,
    caller: &Caller,
    before: &Sequence,
    changed: &Sequence,
) -> Result<(), AppError> {
    let Some(scope) = caller.scope.sequences() else {
        return Ok(());
    };
    let mut seen = before.flow.senders();
    let new = |seen: &[SenderId]| {
        let senders = changed.flow.senders();
        senders.into_iter().find(|id| !seen.contains(id))
    };
    if new(&seen).is_none() {
        return Ok(());
    }
    let sequences = sequence::find_many(tx, caller.workspace, scope).await?;
    let versions: Vec<VersionId> = sequences
        .iter()
        .filter_map(|sequence| sequence.published_version)
        .collect();
    let versions = sequence::version::find_many(tx, caller.workspace, &versions).await?;
    seen.extend(sequences.iter().flat_map(|one| one.flow.senders()));
    seen.extend(versions.iter().flat_map(|one| one.flow.senders()));
    match new(&seen) {
        None => Ok(()),
        Some(id) => {
            let message = format!(
                "There is no sender {id} among those of your sequences, to which the token is limited: \
                 name one of these, or have the flow changed with a token of the whole workspace."
            );
            Err(Refusal::not_found(message, &["flow"]).into())
        }
    }
}

fn draft(services: &Services, name: String) -> Sequence {
    let now: DateTime<Utc> = services.clock.now();
    Sequence {
        id: services.entropy.id(now),
        name,
        status: SequenceStatus::Draft,
        revision: 1,
        flow: Arc::default(),
        settings: Settings::default(),
        published_version: None,
        created_at: now,
        updated_at: now,
        published_at: None,
    }
}

/// The sequence, locked, at the revision that the caller has seen.
async fn locked(
    tx: &impl ConnectionTrait,
    caller: &Caller,
    id: SequenceId,
    expected_revision: Option<i32>,
) -> Result<Sequence, AppError> {
    if !caller.scope.admits(id) {
        return Err(missing().into());
    }
    let row = sequence::lock(tx, caller.workspace, id)
        .await?
        .ok_or_else(missing)?;
    check_revision(&row, expected_revision)?;
    Ok(row)
}

fn check_revision(row: &Sequence, expected: Option<i32>) -> Result<(), Refusal> {
    match expected {
        Some(expected) if expected != row.revision => {
            let message = format!(
                "The sequence is at revision {}, not {expected}: somebody else has edited it, so \
                 read it again before you go on.",
                row.revision
            );
            Err(Refusal::new(
                RefusalCode::Conflict,
                message,
                &["expectedRevision"],
            ))
        }
        Some(_) | None => Ok(()),
    }
}

fn transition(row: &Sequence, action: SequenceAction) -> Result<Step, Refusal> {
    row.status
        .apply(action, row.published_version.is_some())
        .map_err(|wrong| Refusal::new(RefusalCode::WrongState, wrong.to_string(), &["id"]))
}

fn missing() -> Refusal {
    let message = "There is no sequence with this id: take the id from an answer of this API.";
    Refusal::not_found(message, &["id"])
}

/// Applies what is said of a sequence, or refuses it with everything that is wrong.
fn apply(services: &Services, row: &mut Sequence, change: Change) -> Result<(), AppError> {
    let mut wrong = Vec::new();
    if let Some(name) = change.name {
        match name::read(&name, &["name"]) {
            Ok(name) => row.name = name,
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(input) = change.flow {
        match flow::read(input, &services.zones) {
            Ok(flow) => row.flow = Arc::new(flow),
            Err(refusals) => wrong.extend(refusals),
        }
    }
    if let Some(change) = change.settings {
        match settings::merged(&row.settings, change, &services.zones) {
            Ok(settings) => row.settings = settings,
            Err(refusals) => wrong.extend(refusals),
        }
    }
    if wrong.is_empty() {
        Ok(())
    } else {
        Err(AppError::Refused(wrong))
    }
}
