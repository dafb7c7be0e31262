//! Leads that are stopped by what happened to their person.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::given_up::give_up;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{LeadId, PersonId, SequenceId, WorkspaceId};
use crate::domain::lead::{Happening, StopReason};
use crate::domain::settings::Settings;
use crate::store::claim::LeadRow;
use crate::store::{StoreError, claim, engagement, sql};

/// Takes those of the leads out that are under way, with what waits for them; answers these, and the events
/// of what was given up. The leads must be locked by this transaction. What is being sent for them is looked
/// at once more before it leaves.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn take_out(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &mut [LeadRow],
    reason: StopReason,
    now: DateTime<Utc>,
) -> Result<(Vec<LeadRow>, Vec<NewEvent>), StoreError> {
    let mut stopped = Vec::new();
    if leads.is_empty() {
        return Ok((stopped, Vec::new()));
    }
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
    let mut given_up = Vec::new();
    for chunk in sql::chunks(&ids) {
        given_up.extend(give_up(tx, workspace, chunk, now).await?);
    }
    Ok((stopped, given_up))
}

/// The event that a lead has stopped.
pub(super) fn told(lead: &LeadRow, reason: StopReason, now: DateTime<Utc>) -> NewEvent {
    let sequence = SequenceId::from_uuid(lead.sequence_id);
    let event = NewEvent::of_lead(now, EventKind::LeadStopped, sequence, lead.lead_id());
    event.with_detail(json!({ "reason": reason }))
}

/// Stops leads, whose rows this transaction has locked; answers the events that say so, none of those whose
/// run is over already.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn stop(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &mut [LeadRow],
    reason: StopReason,
    at: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let (stopped, mut events) = take_out(tx, workspace, leads, reason, at).await?;
    events.extend(stopped.iter().map(|lead| told(lead, reason, at)));
    Ok(events)
}

/// Stops those leads of a person whose sequence says to do so; answers the events that say so.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn stop_of_person(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    person: PersonId,
    reason: StopReason,
    says_so: impl Fn(&Settings) -> bool,
    at: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let mut leads = Vec::new();
    for engaged in engagement::lock_leads_of(tx, workspace, person).await? {
        let settings: Settings = serde_json::from_value(engaged.settings)
            .map_err(|error| StoreError::corrupt("sequence's settings", error))?;
        if says_so(&settings) {
            leads.push(engaged.lead);
        }
    }
    stop(tx, workspace, &mut leads, reason, at).await
}
