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
    /// Had a machine answer, which holds the lead until then, or as long as its sequence says.
    AutoReplied {
        /// The date of return that the answer states.
        until: Option<DateTime<Utc>>,
    },
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
        Engagement::Opened => (Some(Count::Opens), EventKind::Opened),
        Engagement::Clicked => (Some(Count::Clicks), EventKind::Clicked),
        Engagement::Replied => (Some(Count::Replies), EventKind::Replied),
        Engagement::AutoReplied { .. } => (None, EventKind::AutoReplied),
    };
    // What was done with a message is told of its step, wherever the lead is by now.
    let message = engagement::engaging(&tx, lead, execution).await?;
    let channel = match message
        .as_ref()
        .and_then(|message| message.channel.as_deref())
    {
        Some(word) => word
            .parse()
            .map_err(|_| StoreError::corrupt("channel", word))?,
        None => Channel::Email,
    };
    let sequence = SequenceId::from_uuid(row.sequence_id);
    let answered = message
        .as_ref()
        .map(|message| ExecutionId::from_uuid(message.id));
    let mut events = vec![NewEvent {
        execution_id: execution.or(answered),
        channel: Some(channel),
        sender_id: match &message {
            Some(message) => message.sender_id.map(SenderId::from_uuid),
            None => row.sender_id.map(SenderId::from_uuid),
        },
        step_key: match &message {
            Some(message) => Some(message.step_key.clone()),
            None => row.step_key.clone(),
        },
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
    if let Engagement::AutoReplied { until } = engagement
        && let Some(until) = held_until(&settings, until, at)
        && let Ok(held) = row.state()?.apply(&Happening::AutoReplied { until }, at)
    {
        row.set_state(held);
        row.last_action_at = Some(at.timestamp_millis());
        claim::save_leads(&tx, std::slice::from_ref(&row), None).await?;
    }
    if let Some(count) = count {
        engagement::count(&tx, row.id, count, at).await?;
        if let Some(message) = &message {
            engagement::count_of_message(&tx, message.id, count).await?;
        }
    }
    event::append(&tx, workspace, events).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    // A condition may have waited for it.
    services.wake.due();
    Ok(true)
}

/// Until when an automatic reply holds a lead: to the stated date, else as long as the settings say;
/// `None` where they say to ignore it.
fn held_until(
    settings: &Settings,
    stated: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    let hold = settings.auto_reply_hold.as_ref()?;
    let stated = stated.filter(|stated| *stated > at);
    Some(stated.unwrap_or_else(|| at + hold.exact()))
}
