//! What contacts do with messages: they open them, click, and answer.

use std::slice;

use chrono::{DateTime, NaiveDate, SecondsFormat, TimeDelta, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::stopping::stop;
use super::{AppError, Services, calendar};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{
    ExecutionId, LeadId, PersonId, SenderId, SequenceId, VersionId, WorkspaceId,
};
use crate::domain::lead::{Happening, StopReason};
use crate::domain::planning;
use crate::domain::schedule::Calendar;
use crate::domain::settings::{LocalTime, Settings};
use crate::domain::zone::Zone;
use crate::store::claim::LeadRow;
use crate::store::engagement::{self, Count};
use crate::store::person::erasure;
use crate::store::{StoreError, claim, event, person, sequence};

/// What a contact did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Engagement {
    /// Opened a message.
    Opened,
    /// Clicked a link.
    Clicked,
    /// Answered; stops the lead where its sequence says so.
    Replied,
    /// Had a machine answer: what reaches the contact waits until then, or as long as its sequence says,
    /// wherever the lead is by now.
    AutoReplied {
        /// The date of return that the answer states.
        until: Option<DateTime<Utc>>,
    },
}

/// Records what a contact did at `at`. Answers `false` for a lead that the workspace does not have, or whose
/// contact is erased.
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
    let told = record_within(services, &tx, workspace, (lead, execution), engagement, at).await?;
    let Some(events) = told else {
        return Ok(false);
    };
    event::append(&tx, workspace, events).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    // A condition may have waited for it.
    services.wake.due();
    Ok(true)
}

/// Records what a contact did at `at` within a transaction; answers the events that tell it, which are to be
/// appended last, or `None` for a lead that the workspace does not have, or whose contact is erased. What
/// waits for it is to be woken after the commit.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub async fn record_within(
    services: &Services,
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    (lead, execution): (LeadId, Option<ExecutionId>),
    engagement: Engagement,
    at: DateTime<Utc>,
) -> Result<Option<Vec<NewEvent>>, AppError> {
    let mut concerned = vec![lead];
    if engagement == Engagement::Replied {
        concerned.extend(engagement::stopped_with(tx, workspace, lead).await?);
    }
    let mut locked = engagement::lock_leads(tx, workspace, &concerned).await?;
    let Some(own) = locked.iter().position(|one| one.lead.lead_id() == lead) else {
        return Ok(None);
    };
    // Whoever was erased a moment ago is nobody's contact any more.
    if !erasure::leads_of_erased(tx, &[lead]).await?.is_empty() {
        return Ok(None);
    }
    let engaged = locked.swap_remove(own);
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
    let message = engagement::engaging(tx, lead, execution).await?;
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
    let quiet_until = match engagement {
        Engagement::AutoReplied { until } => {
            let sender = row.sender_id.map(SenderId::from_uuid);
            let whose = (sender, PersonId::from_uuid(row.person_id));
            let quiet = |calendar: &Calendar<'_>| quiet_until(&settings, until, at, calendar);
            calendar::ask((services, tx), workspace, &settings, whose, quiet).await?
        }
        Engagement::Opened | Engagement::Clicked | Engagement::Replied => None,
    };
    let mut events = vec![NewEvent {
        detail: quiet_until.map(|until| serde_json::json!({ "quietUntil": shown(until) })),
        execution_id: answered,
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
        let own = slice::from_mut(&mut row);
        events.extend(stop(tx, workspace, own, StopReason::Replied, at).await?);
    }
    let mut colleagues: Vec<LeadRow> = locked.into_iter().map(|one| one.lead).collect();
    let reason = StopReason::CompanyReplied;
    events.extend(stop(tx, workspace, &mut colleagues, reason, at).await?);
    if let Some(until) = quiet_until {
        let due_at = due_at_back(services, tx, workspace, &row, (engaged.version, until)).await?;
        let happening = Happening::AutoReplied { until, due_at };
        // A lead that is over has nothing left to wait.
        if let Ok(quiet) = row.state()?.apply(&happening, at) {
            row.set_state_after(&happening, quiet);
            row.last_action_at = Some(at.timestamp_millis());
            claim::save_leads(tx, std::slice::from_ref(&row), None).await?;
        }
    }
    if let Some(count) = count {
        engagement::count(tx, row.id, count, at).await?;
        if let Some(message) = &message {
            engagement::count_of_message(tx, message.id, count).await?;
        }
    }
    Ok(Some(events))
}

/// When a day begins for a lead's contact, on the sequence's clock where the contact's is not known; `None`
/// for a lead that the workspace does not have.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub async fn day_begins(
    services: &Services,
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    lead: LeadId,
    day: NaiveDate,
) -> Result<Option<DateTime<Utc>>, AppError> {
    let locked = engagement::lock_leads(tx, workspace, &[lead]).await?;
    let Some(engaged) = locked.into_iter().next() else {
        return Ok(None);
    };
    let settings: Settings = serde_json::from_value(engaged.settings)
        .map_err(|error| StoreError::corrupt("sequence's settings", error))?;
    let contact = PersonId::from_uuid(engaged.lead.person_id);
    let contact = person::find(tx, workspace, contact).await?;
    let zone = |name: &str| services.zones.get(name);
    let zone = contact
        .and_then(|contact| contact.time_zone)
        .and_then(|name| zone(&name))
        .or_else(|| zone(&settings.time_zone))
        .unwrap_or_else(Zone::utc);
    Ok(Some(zone.instant_of(day, LocalTime::MIDNIGHT)))
}

/// A machine that states a later return than in a year is not believed.
const AWAY_AT_MOST: TimeDelta = TimeDelta::days(366);

/// Until when the contact is away of whom a machine answered: to the stated date, else as long as the
/// settings say; `None` where they say to ignore it.
fn quiet_until(
    settings: &Settings,
    stated: Option<DateTime<Utc>>,
    at: DateTime<Utc>,
    calendar: &Calendar<'_>,
) -> Option<DateTime<Utc>> {
    let hold = settings.auto_reply_hold.as_ref()?;
    let stated = stated.filter(|stated| *stated > at && *stated - at <= AWAY_AT_MOST);
    Some(stated.unwrap_or_else(|| planning::span_end(at, hold, calendar)))
}

/// When the lead's step may come once its contact is back, if it waits for that.
async fn due_at_back(
    services: &Services,
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    lead: &LeadRow,
    (version, until): (VersionId, DateTime<Utc>),
) -> Result<Option<DateTime<Utc>>, AppError> {
    let versions = sequence::version::find_many(tx, workspace, &[version]).await?;
    let step = versions.iter().flat_map(|version| &version.flow.steps);
    let step = step
        .filter(|step| step.action.keeps_windows())
        .find(|step| Some(step.key.as_str()) == lead.step_key.as_deref());
    let Some((version, _)) = versions.first().zip(step) else {
        return Ok(None);
    };
    let sender = lead.sender_id.map(SenderId::from_uuid);
    let person = PersonId::from_uuid(lead.person_id);
    let opens = |calendar: &Calendar<'_>| planning::reopens_at(until, calendar);
    let (around, settings) = ((services, tx), &version.settings);
    let opens_at = calendar::ask(around, workspace, settings, (sender, person), opens).await?;
    Ok(Some(opens_at))
}

/// An instant as the API shows it.
fn shown(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}
