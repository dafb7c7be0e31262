//! Leads that are stopped by what happened to their person.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::given_up::give_up;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{PersonId, SequenceId, WorkspaceId};
use crate::domain::lead::{Happening, StopReason};
use crate::domain::settings::Settings;
use crate::store::claim::LeadRow;
use crate::store::{StoreError, claim, engagement};

/// Stops a lead, whose row this transaction has locked; answers the events that say so, none where its
/// run is over already.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn stop(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    lead: &mut LeadRow,
    reason: StopReason,
    at: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let Ok(stopped) = lead.state()?.apply(&Happening::Stop(reason), at) else {
        return Ok(Vec::new());
    };
    lead.set_state(stopped);
    lead.last_action_at = Some(at.timestamp_millis());
    claim::save_leads(tx, std::slice::from_ref(lead), None).await?;
    let id = lead.lead_id();
    let mut events = give_up(tx, workspace, &[id], at).await?;
    let sequence = SequenceId::from_uuid(lead.sequence_id);
    let stopped = NewEvent::of_lead(at, EventKind::LeadStopped, sequence, id);
    events.push(stopped.with_detail(json!({ "reason": reason.to_string() })));
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
    let mut events = Vec::new();
    for engaged in engagement::lock_leads_of(tx, workspace, person).await? {
        let settings: Settings = serde_json::from_value(engaged.settings)
            .map_err(|error| StoreError::corrupt("sequence's settings", error))?;
        if says_so(&settings) {
            let mut lead = engaged.lead;
            events.extend(stop(tx, workspace, &mut lead, reason, at).await?);
        }
    }
    Ok(events)
}
