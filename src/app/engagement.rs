//! What contacts do with messages: they open them, click, and answer.

use chrono::{DateTime, Utc};

use super::given_up::give_up;
use super::{AppError, Services};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId, WorkspaceId};
use crate::domain::lead::{Happening, StopReason};
use crate::domain::settings::Settings;
use crate::store::engagement::{self, Count};
use crate::store::{StoreError, claim, event};

/// What a contact did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engagement {
    /// Opened a message.
    Opened,
    /// Clicked a link.
    Clicked,
    /// Answered; stops the lead where its sequence says so.
    Replied,
}

/// Records what a contact did at `at`. Answers `false` for a lead that the workspace does not have.
///
/// # Errors
/// [`AppError::Store`] as the database has it; then nothing was recorded.
pub async fn record(
    services: &Services,
    workspace: WorkspaceId,
    lead: LeadId,
    execution: Option<ExecutionId>,
    engagement: Engagement,
    at: DateTime<Utc>,
) -> Result<bool, AppError> {
    let tx = services.db.begin().await?;
    let Some(engaged) = engagement::lock_lead(&tx, workspace, lead).await? else {
        return Ok(false);
    };
    let settings: Settings = serde_json::from_value(engaged.settings)
        .map_err(|error| StoreError::corrupt("sequence's settings", error))?;
    let mut row = engaged.lead;
    let (count, kind) = match engagement {
        Engagement::Opened => (Count::Opens, EventKind::Opened),
        Engagement::Clicked => (Count::Clicks, EventKind::Clicked),
        Engagement::Replied => (Count::Replies, EventKind::Replied),
    };
    let sequence = SequenceId::from_uuid(row.sequence_id);
    let mut events = vec![NewEvent {
        execution_id: execution,
        channel: Some(Channel::Email),
        sender_id: row.sender_id.map(SenderId::from_uuid),
        step_key: row.step_key.clone(),
        ..NewEvent::of_lead(at, kind, sequence, lead)
    }];
    if engagement == Engagement::Replied && settings.stop_on_reply {
        let stop = Happening::Stop(StopReason::Replied);
        // A lead that is over already has nothing to stop.
        if let Ok(stopped) = row.state()?.apply(&stop, at) {
            row.set_state(stopped);
            row.last_action_at = Some(at.timestamp_millis());
            claim::save_leads(&tx, std::slice::from_ref(&row), None).await?;
            events.extend(give_up(&tx, workspace, &[lead], at).await?);
            let stopped = NewEvent::of_lead(at, EventKind::LeadStopped, sequence, lead);
            events.push(stopped.with_detail(serde_json::json!({ "reason": "REPLIED" })));
        }
    }
    engagement::count(&tx, row.id, count, at).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    Ok(true)
}
