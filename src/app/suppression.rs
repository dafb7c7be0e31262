//! Addresses that must not be contacted any more, however that came about: in one place, with everything
//! that follows for the leads of those who have them.

pub mod list;

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use strum::{Display, EnumString, IntoStaticStr};

use super::person::consent::{channels_ahead, ends, told};
use super::stopping;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, PersonId, WorkspaceId};
use crate::domain::lead::StopReason;
use crate::store::claim::{self, LeadRow};
use crate::store::dispatch;
use crate::store::engagement::{self, Message};
use crate::store::person::{Row, consent, erasure};
use crate::store::{StoreError, task};

/// Why an address must not be contacted.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Display, EnumString, IntoStaticStr,
)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Reason {
    /// Its owner has opted out.
    Unsubscribed,
    /// It does not exist, or refuses messages for good.
    Bounced,
    /// Its owner has complained to the provider.
    Complained,
    /// Somebody of the workspace put it on the list.
    Manual,
}

impl Reason {
    /// The reasons that this one takes the place of: what the owner of an address wants says more than
    /// what somebody noted, and that more than what is wrong with the address.
    const fn weaker(self) -> &'static [&'static str] {
        match self {
            Self::Unsubscribed => &["COMPLAINED", "MANUAL", "BOUNCED"],
            Self::Complained => &["MANUAL", "BOUNCED"],
            Self::Manual => &["BOUNCED"],
            Self::Bounced => &[],
        }
    }

    /// Why a lead stops by it.
    const fn stop(self) -> StopReason {
        match self {
            Self::Unsubscribed => StopReason::Unsubscribed,
            Self::Bounced => StopReason::Bounced,
            Self::Complained => StopReason::Complained,
            Self::Manual => StopReason::Suppressed,
        }
    }

    /// What has happened to the person, or to a message; none where nothing has.
    const fn kind(self) -> Option<EventKind> {
        match self {
            Self::Unsubscribed => Some(EventKind::Unsubscribed),
            Self::Bounced => Some(EventKind::Bounced),
            Self::Complained => Some(EventKind::Complained),
            Self::Manual => None,
        }
    }
}

/// Enters addresses that must not be contacted any more, each in the form that people are compared by
/// ([`consent::address`]), and answers the events of what follows, which the caller appends last. The leads of
/// everybody who has one of them stop where no other channel is left ahead of them; the others go on, and
/// their open work on the closed channels is given up. With `message`, the execution by which it came
/// about, that is marked with its lead, which stops whatever is ahead of it. What was claimed meanwhile is held
/// back by the last look. Said again, it changes nothing and answers no event. The caller has locked neither
/// people nor leads, and rings the bells after the commit: [`crate::wake::Wake::log`], and
/// [`crate::wake::Wake::due`] for leads that go on.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn suppress(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
    reason: Reason,
    message: Option<ExecutionId>,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let (_, events) = counted(tx, workspace, addresses, reason, message, now).await?;
    Ok(events)
}

/// As [`suppress`]; answers also how many of the addresses are new, or have a stronger reason now.
async fn counted(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
    reason: Reason,
    message: Option<ExecutionId>,
    now: DateTime<Utc>,
) -> Result<(usize, Vec<NewEvent>), StoreError> {
    let message = match message {
        Some(id) => engagement::message(tx, workspace, id).await?,
        None => None,
    };
    let mut people = consent::people_at(tx, workspace, addresses).await?;
    people.extend(message.iter().map(|message| message.person()));
    people.sort_unstable();
    people.dedup();
    let people = match people.is_empty() {
        true => Vec::new(),
        false => erasure::lock(tx, workspace, &people).await?,
    };
    // Before the addresses are entered, as whoever records a message has them in this order.
    let ids: Vec<PersonId> = (people.iter())
        .map(|row| PersonId::from_uuid(row.id))
        .collect();
    let leads = match ids.is_empty() {
        true => Vec::new(),
        false => erasure::lock_leads(tx, workspace, &ids).await?,
    };
    // Read anew: another one may have told the same before these were locked.
    let message = match message {
        Some(before) => {
            engagement::message(tx, workspace, ExecutionId::from_uuid(before.id)).await?
        }
        None => None,
    };
    // Whoever is erased has no address to be kept from; who has opted out stays so.
    let of_erased = message.as_ref().is_some_and(|message| {
        (people.iter()).any(|row| row.id == message.person_id && row.erased_at.is_some())
    });
    let entered = match (of_erased, reason) {
        (true, Reason::Bounced) => Vec::new(),
        _ => {
            let over = (reason.into(), reason.weaker());
            consent::enter(tx, workspace, addresses, over, now).await?
        }
    };
    let closing = Closing {
        tx,
        workspace,
        reason,
        now,
    };
    let events = closing.follow((&people, leads), &entered, message.as_ref());
    Ok((entered.len(), events.await?))
}

/// What is closed, and why.
struct Closing<'a> {
    tx: &'a DatabaseTransaction,
    workspace: WorkspaceId,
    reason: Reason,
    now: DateTime<Utc>,
}

impl Closing<'_> {
    /// What follows for people, leads and the message.
    async fn follow(
        &self,
        (people, mut leads): (&[Row], Vec<LeadRow>),
        entered: &[(Channel, String)],
        message: Option<&Message>,
    ) -> Result<Vec<NewEvent>, StoreError> {
        let (tx, workspace) = (self.tx, self.workspace);
        let mut events = Vec::new();
        match message {
            Some(message) => events.extend(self.mark(message, &mut leads).await?),
            None => events.extend(self.told(people, entered)),
        }
        let mut active = Vec::new();
        for lead in leads {
            if !lead.state()?.status.is_over() {
                active.push(lead);
            }
        }
        let rows: Vec<&Row> = people.iter().collect();
        let suppressed = consent::of_people(tx, workspace, &rows).await?;
        let ahead = channels_ahead(tx, workspace, &active).await?;
        let (mut ending, going_on): (Vec<LeadRow>, Vec<LeadRow>) =
            active.into_iter().partition(|lead| {
                let ahead = ahead.get(&lead.id).map_or(&[][..], Vec::as_slice);
                let person = people.iter().find(|row| row.id == lead.person_id);
                message.is_some_and(|message| message.lead_id == lead.id)
                    || person.is_some_and(|person| {
                        ends(person, ahead, &closed(person, entered), &suppressed)
                    })
            });
        let reason = self.reason.stop();
        events.extend(stopping::stop(tx, workspace, &mut ending, reason, self.now).await?);
        let channels: BTreeSet<Channel> = entered.iter().map(|(channel, _)| *channel).collect();
        for channel in channels {
            let is_closed = |lead: &&LeadRow| {
                let person = people.iter().find(|row| row.id == lead.person_id);
                person.is_some_and(|person| closed(person, entered).contains(&channel))
            };
            let leads = going_on.iter().filter(is_closed).map(LeadRow::lead_id);
            let leads: Vec<LeadId> = leads.collect();
            task::close_channels(tx, workspace, &leads, &[channel], self.now).await?;
        }
        Ok(events)
    }

    /// Marks the message by which it came about, and its lead, unless that was done before.
    async fn mark(
        &self,
        message: &Message,
        leads: &mut [LeadRow],
    ) -> Result<Option<NewEvent>, StoreError> {
        let (tx, id) = (self.tx, ExecutionId::from_uuid(message.id));
        let is_known = match self.reason {
            Reason::Unsubscribed => message.unsubscribed,
            Reason::Bounced => message.bounced,
            Reason::Complained => engagement::is_told(tx, message, EventKind::Complained).await?,
            Reason::Manual => true,
        };
        let Some(kind) = self.reason.kind().filter(|_| !is_known) else {
            return Ok(None);
        };
        match self.reason {
            Reason::Unsubscribed => dispatch::note_opted_out(tx, &[id]).await?,
            Reason::Bounced => {
                dispatch::note_bounced(tx, &[id]).await?;
                if let Some(lead) = leads.iter_mut().find(|lead| lead.id == message.lead_id) {
                    lead.bounced = true;
                    claim::save_leads(tx, std::slice::from_ref(lead), None).await?;
                }
            }
            Reason::Complained | Reason::Manual => {}
        }
        message.event(self.now, kind).map(Some)
    }

    /// What is told of people of whom it became known otherwise than by a message.
    fn told(&self, people: &[Row], entered: &[(Channel, String)]) -> Vec<NewEvent> {
        let Some(kind) = self.reason.kind() else {
            return Vec::new();
        };
        let of_person = |person: &Row| {
            let id = PersonId::from_uuid(person.id);
            told(id, kind, &closed(person, entered), self.now)
        };
        people.iter().flat_map(of_person).collect()
    }
}

/// The channels of a person that are closed now.
fn closed(person: &Row, entered: &[(Channel, String)]) -> Vec<Channel> {
    let channels = consent::CHANNELS.into_iter().filter(|channel| {
        consent::address(person, *channel).is_some_and(|address| {
            (entered.iter()).any(|(closed, entered)| closed == channel && entered == address)
        })
    });
    channels.collect()
}
