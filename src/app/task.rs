//! Tasks: work for people, done or decided against.

use serde_json::json;

use super::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{LeadId, SequenceId, TaskId};
use crate::domain::task::TaskStatus;
use crate::store::task::{self, Row};
use crate::store::{StoreError, claim, event, lane};

/// The longest note, in characters.
pub const NOTE_CHARS_MAX: usize = 10_000;

/// Completes or skips a task, and lets its lead go on. Doing so twice alike is no error.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND`, with `INVALID` for an outcome that a person cannot choose or a
/// note that cannot be kept, with `WRONG_STATE` if the task ended otherwise; [`AppError::Store`] as the
/// database has it.
pub async fn complete(
    services: &Services,
    caller: &Caller,
    id: TaskId,
    outcome: TaskStatus,
    note: Option<String>,
) -> Result<Row, AppError> {
    let kind = match outcome {
        TaskStatus::Completed | TaskStatus::Skipped => EventKind::TaskCompleted,
        TaskStatus::Open | TaskStatus::Expired => {
            let message = "A task can be COMPLETED or SKIPPED: choose one of the two.";
            return Err(Refusal::invalid(message, &["outcome"]).into());
        }
    };
    let note = note.filter(|note| !note.trim().is_empty());
    if let Some(note) = &note {
        check_note(note)?;
    }
    let tx = services.db.begin().await?;
    let missing = || {
        let message = "There is no task with this id: take the id from an answer of this API.";
        Refusal::not_found(message, &["id"])
    };
    let seen = task::find(&tx, caller.workspace, &caller.scope, id).await?;
    let seen = seen.ok_or_else(missing)?;
    let sequence = SequenceId::from_uuid(seen.sequence_id);
    // A lead that goes on must not be taken up by a version that is just being replaced. Its lead is
    // locked before the task, as a claim does.
    lane::running_versions(&tx, &[sequence]).await?;
    claim::lock_leads(&tx, &[LeadId::from_uuid(seen.lead_id)]).await?;
    let found = task::lock(&tx, caller.workspace, &caller.scope, id).await?;
    let mut row = found.ok_or_else(missing)?;
    match row.state()? {
        TaskStatus::Open => {}
        status if status == outcome => return Ok(row),
        status => {
            let message = format!("The task is {status} already: read it again.");
            return Err(Refusal::new(RefusalCode::WrongState, message, &["id"]).into());
        }
    }
    let now = services.clock.now();
    row.status = outcome.to_string();
    row.note = note;
    row.completed_at = Some(now.timestamp_millis());
    row.completed_by = Some(caller.name.clone());
    task::finish(&tx, &row).await?;
    task::stir_lead(&tx, row.lead_id, &row.step_key, now).await?;
    let lead = LeadId::from_uuid(row.lead_id);
    let event = NewEvent {
        channel: Some(row.kind()?),
        ..NewEvent::of_lead(now, kind, sequence, lead).at_step(&row.step_key)
    };
    let detail = json!({ "taskId": id, "outcome": row.status, "completedBy": caller.name });
    event::append(&tx, caller.workspace, vec![event.with_detail(detail)]).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    services.wake.due();
    Ok(row)
}

fn check_note(note: &str) -> Result<(), Refusal> {
    if note.chars().count() > NOTE_CHARS_MAX {
        let message = format!("note has more than {NOTE_CHARS_MAX} characters: shorten it.");
        return Err(Refusal::new(RefusalCode::Limit, message, &["note"]));
    }
    if note.contains('\0') {
        let message = "note holds a NUL character: remove it.";
        return Err(Refusal::invalid(message, &["note"]));
    }
    Ok(())
}
