//! Attempts and tasks that come to nothing, because their lead left the step.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId, WorkspaceId};
use crate::domain::outcome::GIVEN_UP;
use crate::store::{StoreError, execution, task};

/// Ends the executions of these leads that wait for another attempt, and their open tasks; answers the events that say so. To
/// be called in the transaction in which the leads leave the step, which has locked them.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn give_up(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[LeadId],
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let (code, message) = GIVEN_UP;
    // Nobody is to call who has left the step, either.
    task::expire_of(tx, workspace, leads, now).await?;
    let given_up = execution::give_up(tx, workspace, leads, now).await?;
    let events = given_up.into_iter().map(|one| {
        let (sequence, lead) = (
            SequenceId::from_uuid(one.sequence_id),
            LeadId::from_uuid(one.lead_id),
        );
        NewEvent {
            execution_id: Some(ExecutionId::from_uuid(one.id)),
            channel: one
                .channel
                .and_then(|channel| channel.parse::<Channel>().ok()),
            sender_id: one.sender_id.map(SenderId::from_uuid),
            step_key: Some(one.step_key),
            detail: Some(json!({ "code": code.as_str(), "message": message })),
            ..NewEvent::of_lead(now, EventKind::ExecutionFailed, sequence, lead)
        }
    });
    Ok(events.collect())
}
