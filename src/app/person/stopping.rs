//! Leads that stop for what becomes of their person.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::app::given_up::give_up;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{LeadId, SequenceId, WorkspaceId};
use crate::domain::lead::{Happening, StopReason};
use crate::store::StoreError;
use crate::store::claim::{self, LeadRow};

/// Stops those of the leads that are under way, with what waits for them; answers the events that say so.
/// The leads must be locked by this transaction. What is being sent for them is looked at once more before it leaves.
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
    let mut stopped = Vec::new();
    for lead in leads {
        // One that is over already has nothing to stop.
        let Ok(state) = lead.state()?.apply(&Happening::Stop(reason), now) else {
            continue;
        };
        lead.set_state(state);
        lead.anchor_at = now.timestamp_millis();
        lead.last_action_at = Some(lead.anchor_at);
        stopped.push(lead.clone());
    }
    claim::save_leads(tx, &stopped, None).await?;
    let ids: Vec<LeadId> = stopped.iter().map(LeadRow::lead_id).collect();
    let mut events = give_up(tx, workspace, &ids, now).await?;
    events.extend(stopped.iter().map(|lead| {
        let sequence = SequenceId::from_uuid(lead.sequence_id);
        let event = NewEvent::of_lead(now, EventKind::LeadStopped, sequence, lead.lead_id());
        NewEvent {
            step_key: lead.step_key.clone(),
            ..event.with_detail(json!({ "reason": reason }))
        }
    }));
    Ok(events)
}
