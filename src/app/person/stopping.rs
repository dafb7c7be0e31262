//! Leads that stop for what becomes of their person.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::app::stopping::{take_out, told};
use crate::domain::event::NewEvent;
use crate::domain::id::WorkspaceId;
use crate::domain::lead::StopReason;
use crate::store::StoreError;
use crate::store::claim::LeadRow;

/// Stops those of the leads that are under way, with what waits for them; answers the events that say so, with
/// the steps where they stood. The leads must be locked by this transaction.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn stop(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &mut [LeadRow],
    reason: StopReason,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let (stopped, mut events) = take_out(tx, workspace, leads, reason, now).await?;
    events.extend(stopped.iter().map(|lead| NewEvent {
        step_key: lead.step_key.clone(),
        ..told(lead, reason, now)
    }));
    Ok(events)
}
