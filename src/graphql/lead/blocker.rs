//! Why nothing has been sent to a lead: what its own state and its sequence tell, and for one that is
//! due the gates that the engine asks ([`crate::domain::gate`]).

mod kept;
mod step;

use std::sync::Arc;

use async_graphql::{Context, Enum, Result, SimpleObject};
use chrono::{DateTime, Utc};

use super::{parsed, there};
use crate::clock::from_ms;
use crate::domain::address::recipient_domain;
use crate::domain::flow::Channel;
use crate::domain::gate::{self, Closed, Gate};
use crate::domain::id::{PersonId, SenderId, SequenceId};
use crate::domain::lead::{Hold, LeadStatus};
use crate::domain::planning::{self, Clocks, Whereabouts};
use crate::domain::schedule::local_day;
use crate::domain::sender::daily_cap_on;
use crate::domain::sequence::SequenceStatus;
use crate::domain::zone::Zone;
use crate::graphql::context::ContextExt;
use crate::graphql::scalar;
use crate::store::claim::Turn;
use crate::store::lane::{QuotaKey, QuotaKind, domain_subject};
use crate::store::lead::Row;
use crate::store::sender::Sender;
use crate::store::sequence::version::Version;
use crate::store::{self, StoreError};

/// Why nothing has been sent yet. A message to somebody to whom the lead's sender has not written may leave
/// through any sender of its step: what is told of the sender then keeps each of them from sending it, and
/// is of the one that is free soonest.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockerCode {
    /// The step is not due yet.
    Waiting,
    /// No send window is open, on the clock that the settings choose.
    OutsideWindow,
    /// The day is a holiday of the settings, else a send window would be open or still open today.
    Holiday,
    /// Its sender has sent as much as it may in a day of its own clock, or may send nothing at all.
    SenderDailyCap,
    /// Its sender has sent just now, and keeps its distance between two messages.
    SenderPacing,
    /// The sequence has sent as much as it may in a day of its own clock.
    SequenceDailyCap,
    /// As many leads of the sequence have had their first message as may in a day.
    NewLeadsCap,
    /// Its sender is switched off.
    SenderDisabled,
    /// Its sender had trouble of its own, such as a refused login, and is left alone for a while.
    SenderUnhealthy,
    /// The person has had as many messages today as the workspace allows, from whatever sequence.
    PersonFrequency,
    /// As many emails as the workspace allows have gone to the recipient's domain today.
    DomainCap,
    /// The sequence does not send.
    SequenceDisabled,
    /// Somebody holds the lead.
    LeadPaused,
    /// Merge tags, which the message names, have no value for this person.
    MissingMergeData,
    /// The last attempt failed for a passing reason.
    Retrying,
    /// A message may or may not have left.
    Unconfirmed,
    /// The person has no address for the step, and the step says to wait for one.
    MissingAddress,
    /// The lead waits at a condition for something to happen.
    AwaitingCondition,
    /// The lead waits for a task to be done.
    AwaitingTask,
    /// A machine answered for the contact, as while somebody is away: messages wait until then, and so
    /// does work that would be given to somebody. Whatever else the lead does goes on.
    AutoReplyHold,
}

/// One reason why nothing has been sent yet.
#[derive(SimpleObject, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The reason, for programs.
    pub code: BlockerCode,
    /// The reason, for people; names the remedy where there is one.
    pub message: String,
    /// When it ends by itself; null where somebody must act.
    pub until: Option<scalar::DateTime>,
}

/// What keeps a lead from being sent its step now.
///
/// # Errors
/// As the store has it, and [`StoreError::Corrupt`] for words that this version does not know.
pub async fn of(ctx: &Context<'_>, lead: &Row) -> Result<Vec<Blocker>> {
    let (loaders, now) = (ctx.loaders()?, ctx.services().clock.now());
    let id = SequenceId::from_uuid(lead.sequence_id);
    let sequence = there(loaders.load_one(id).await?, "lead's sequence")?;
    let status = store::lead::status(lead)?;
    if matches!(status, LeadStatus::Completed | LeadStatus::Stopped) {
        return Ok(Vec::new());
    }
    let mut found = of_state(lead, status, sequence.status, now)?;
    let version = match sequence.published_version {
        Some(id) => Some(there(loaders.load_one(id).await?, "published version")?),
        None => None,
    };
    let step = step::of(lead, version.as_deref());
    if let Some(step) = step
        && let Some(blocker) =
            (found.iter_mut()).find(|one| one.code == BlockerCode::MissingMergeData)
    {
        step::name_missing_tags(ctx, lead, step, blocker).await?;
    }
    let Some(own) = lead.sender_id.map(SenderId::from_uuid) else {
        let due_at = due_at(lead, status);
        if let (Some(version), Some(step), Some(due_at)) = (version.as_deref(), step, due_at) {
            let closed = step::closed(ctx, lead, step, version, now).await?;
            found.extend(
                closed
                    .filter(|closed| waits_for(closed, due_at, now))
                    .map(Blocker::from),
            );
        }
        return Ok(found);
    };
    let senders = senders(ctx, lead, own, version.as_deref()).await?;
    found.extend(switched_off(&senders));
    let Some((version, due_at)) = version.as_deref().zip(due_at(lead, status)) else {
        return Ok(found);
    };
    let mut closed = workspace_gates(ctx, lead, &senders, now).await?;
    // A lead that is not due was put off by its own sender.
    let asked = senders.get(..1).filter(|_| due_at > now);
    let asked = asked.unwrap_or(&senders);
    let ways = ways(ctx, lead, asked, version, now).await?;
    // Nobody after one that is free is asked.
    let free = ways
        .last()
        .filter(|(sender, closed)| sender.enabled && closed.is_empty());
    let free = free.map(|(sender, _)| Arc::clone(sender));
    closed.extend(soonest(ways));
    closed.retain(|closed| waits_for(closed, due_at, now));
    if due_at <= now {
        closed.extend(sequence_gates(ctx, lead, version, now).await?);
        let is_capped = closed.iter().any(|one| one.gate == Gate::SequenceCap);
        if let Some(free) = free.filter(|_| !is_capped) {
            found.extend(kept::back(ctx, lead, free.id, version, now).await?);
        }
    }
    found.extend(closed.into_iter().map(Blocker::from));
    Ok(found)
}

/// When the step of a lead is due that waits for nothing else.
fn due_at(lead: &Row, status: LeadStatus) -> Option<DateTime<Utc>> {
    let due_at = lead.due_at.map(from_ms);
    due_at.filter(|_| status == LeadStatus::Pending)
}

/// Whether a lead waits for a gate to open: who is not due yet waits for nothing but that; who was seen
/// at a closed gate, for its opening.
fn waits_for(closed: &Closed, due_at: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    due_at <= now || (closed.until == due_at && !closed.gate.is_of_sender())
}

/// Where the lead's person is.
async fn whereabouts(ctx: &Context<'_>, lead: &Row) -> Result<Whereabouts> {
    let person = PersonId::from_uuid(lead.person_id);
    let person = there(ctx.loaders()?.load_one(person).await?, "lead's person")?;
    let zones = &ctx.services().zones;
    let zone = person.time_zone.as_deref().and_then(|name| zones.get(name));
    Ok(Whereabouts::new(zone, person.country.as_deref()))
}

/// Who may send the lead's message: its own sender first, and, as long as that one has not written to it,
/// the other senders of its step, to whom the engine offers it where its own is not free.
async fn senders(
    ctx: &Context<'_>,
    lead: &Row,
    own: SenderId,
    version: Option<&Version>,
) -> Result<Vec<Arc<Sender>>> {
    let loaders = ctx.loaders()?;
    let mut senders = vec![there(loaders.load_one(own).await?, "lead's sender")?];
    if !lead.unbound {
        return Ok(senders);
    }
    let named = step::of(lead, version)
        .map(|step| step.action.senders())
        .unwrap_or_default();
    if named.contains(&own) {
        let others = named.iter().copied().filter(|sender| *sender != own);
        let mut others = loaders.load_many(others).await?;
        senders.extend(named.iter().filter_map(|sender| others.remove(sender)));
    }
    Ok(senders)
}

/// Nobody may send who is switched off.
fn switched_off(senders: &[Arc<Sender>]) -> Option<Blocker> {
    let message = match senders {
        _ if senders.iter().any(|sender| sender.enabled) => return None,
        [_] => "Its sender is switched off: enable it with senderUpdate.",
        _ => "All senders of its step are switched off: enable one with senderUpdate.",
    };
    Some(Blocker::new(BlockerCode::SenderDisabled, message, None))
}

/// When a gate opens that does not by itself.
const NEVER: DateTime<Utc> = DateTime::<Utc>::MAX_UTC;

/// A sender by which the message may leave, and its gates that are closed.
type Way = (Arc<Sender>, Vec<Closed>);

/// The closed gates of the way that opens first: none where one is open.
fn soonest(ways: Vec<Way>) -> Vec<Closed> {
    let opens_at = |(sender, closed): &Way| {
        let last = closed.iter().map(|closed| closed.until).max();
        (!sender.enabled, last)
    };
    let way = ways.into_iter().min_by_key(opens_at);
    way.map(|(_, closed)| closed).unwrap_or_default()
}

/// For each sender what is closed of its own and on its clock; those after one that is free are not
/// asked.
async fn ways(
    ctx: &Context<'_>,
    lead: &Row,
    senders: &[Arc<Sender>],
    version: &Version,
    now: DateTime<Utc>,
) -> Result<Vec<Way>> {
    let zones = &ctx.services().zones;
    let zone = |name: &str| zones.get(name).unwrap_or_else(Zone::utc);
    let of_sequence = zone(&version.settings.time_zone);
    let whereabouts = whereabouts(ctx, lead).await?;
    let mut ways = Vec::with_capacity(senders.len());
    for sender in senders {
        let of_sender = zone(&sender.time_zone);
        let clocks = Clocks {
            sequence: &of_sequence,
            sender: &of_sender,
            person: &whereabouts,
        };
        let gates = [
            gate::window(&planning::calendar(&version.settings, clocks), now),
            gate::health(sender.unhealthy_until, now),
            gate::pace(sender.next_free_at, now),
        ];
        let mut closed: Vec<Closed> = gates.into_iter().flatten().collect();
        let cap = sender.daily_cap.and_then(|cap| u32::try_from(cap).ok());
        if cap == Some(0) {
            closed.push(Closed {
                gate: Gate::SenderCap,
                until: NEVER,
            });
        } else {
            let cap = daily_cap_on(local_day(now, &of_sender), cap, sender.warm_up.as_ref());
            let key = QuotaKey::of(sender.id.uuid(), QuotaKind::Sends, &of_sender, now);
            closed.extend(capped(ctx, Gate::SenderCap, cap, key, &of_sender, now).await?);
        }
        let is_free = sender.enabled && closed.is_empty();
        ways.push((Arc::clone(sender), closed));
        if is_free {
            break;
        }
    }
    Ok(ways)
}

/// The caps of the sequence.
async fn sequence_gates(
    ctx: &Context<'_>,
    lead: &Row,
    version: &Version,
    now: DateTime<Utc>,
) -> Result<Vec<Closed>> {
    let settings = &version.settings;
    let zone = ctx.services().zones.get(&settings.time_zone);
    let zone = zone.unwrap_or_else(Zone::utc);
    let is_first = lead.turn == Turn::First.as_i16();
    let new_leads = settings.max_new_leads_per_day.filter(|_| is_first);
    let mut closed = Vec::new();
    for (gate, cap, kind) in [
        (
            Gate::SequenceCap,
            settings.max_sends_per_day,
            QuotaKind::Sends,
        ),
        (Gate::NewLeadsCap, new_leads, QuotaKind::NewLeads),
    ] {
        let key = QuotaKey::of(lead.sequence_id, kind, &zone, now);
        closed.extend(capped(ctx, gate, cap, key, &zone, now).await?);
    }
    Ok(closed)
}

/// A daily cap, if there is one and it is used up.
async fn capped(
    ctx: &Context<'_>,
    gate: Gate,
    cap: Option<u32>,
    key: QuotaKey,
    zone: &Zone,
    now: DateTime<Utc>,
) -> Result<Option<Closed>> {
    let Some(cap) = cap else {
        return Ok(None);
    };
    let used = ctx.loaders()?.load_one(key).await?.unwrap_or(0);
    Ok(gate::daily(gate, cap, used, zone, now))
}

/// The limits of the workspace, on messages to one person and on emails to one domain.
async fn workspace_gates(
    ctx: &Context<'_>,
    lead: &Row,
    senders: &[Arc<Sender>],
    now: DateTime<Utc>,
) -> Result<Vec<Closed>> {
    let (loaders, id) = (ctx.loaders()?, ctx.caller_within()?.workspace);
    let workspace = there(loaders.load_one(id).await?, "lead's workspace")?;
    let zone = ctx.services().zones.get(&workspace.time_zone);
    let zone = zone.unwrap_or_else(Zone::utc);
    // All senders of a step are of its channel.
    let by_email = senders
        .iter()
        .all(|sender| sender.channel == Channel::Email);
    let person = PersonId::from_uuid(lead.person_id);
    let person = there(loaders.load_one(person).await?, "lead's person")?;
    let email = person.email.as_deref().filter(|_| by_email);
    let domain = email.and_then(recipient_domain);
    let limits = [
        (
            Gate::PersonFrequency,
            workspace.max_messages_per_person_per_day,
            Some(lead.person_id),
        ),
        (
            Gate::DomainCap,
            workspace.max_messages_per_domain_per_day,
            domain.map(|domain| domain_subject(id, &domain)),
        ),
    ];
    let mut closed = Vec::new();
    for (gate, cap, subject) in limits {
        let cap = cap.and_then(|cap| u32::try_from(cap).ok());
        if let Some(subject) = subject {
            let key = QuotaKey::of(subject, QuotaKind::Sends, &zone, now);
            closed.extend(capped(ctx, gate, cap, key, &zone, now).await?);
        }
    }
    Ok(closed)
}

impl Blocker {
    fn new(code: BlockerCode, message: &str, until: Option<DateTime<Utc>>) -> Self {
        Self {
            code,
            message: message.to_owned(),
            until: until.map(scalar::DateTime),
        }
    }
}

impl From<Closed> for Blocker {
    fn from(closed: Closed) -> Self {
        let (code, message) = match closed.gate {
            Gate::Window => (
                BlockerCode::OutsideWindow,
                "No send window is open now: the lead waits until one is, or until the windows are \
                 changed and published.",
            ),
            Gate::Holiday => (
                BlockerCode::Holiday,
                "Today is a holiday of the sequence's settings: the lead waits until a send window \
                 opens after it.",
            ),
            Gate::SenderHealth => (
                BlockerCode::SenderUnhealthy,
                "Its sender had trouble of its own (unhealthyReason has the server's words) and is \
                 tried again then; enabling it again tries it at once.",
            ),
            Gate::SenderPace => (
                BlockerCode::SenderPacing,
                "Its sender has sent just now and keeps its minGap, and a share of its gapJitter, to \
                 the next message: wait, or shorten them with senderUpdate, which holds at once.",
            ),
            Gate::SenderCap if closed.until == NEVER => (
                BlockerCode::SenderDailyCap,
                "The dailyCap of its sender is 0, which sends nothing: raise it with senderUpdate, or \
                 give null for no limit.",
            ),
            Gate::SenderCap => (
                BlockerCode::SenderDailyCap,
                "Its sender has sent as much as it may today: raise its dailyCap, or wait for the \
                 next day of its clock.",
            ),
            Gate::SequenceCap => (
                BlockerCode::SequenceDailyCap,
                "The sequence has sent as much as it may today: raise maxSendsPerDay and publish, \
                 or wait for the next day of its clock.",
            ),
            Gate::PersonFrequency => (
                BlockerCode::PersonFrequency,
                "The person has had as many messages today as the workspace allows \
                 (maxMessagesPerPersonPerDay): the message leaves on its next day.",
            ),
            Gate::DomainCap => (
                BlockerCode::DomainCap,
                "As many emails as the workspace allows have gone to the recipient's domain today \
                 (maxMessagesPerDomainPerDay): the message leaves on its next day.",
            ),
            Gate::NewLeadsCap => (
                BlockerCode::NewLeadsCap,
                "As many leads as may have had their first message today: raise maxNewLeadsPerDay \
                 and publish, or wait for the next day of the sequence's clock.",
            ),
        };
        let until = Some(closed.until).filter(|until| *until != NEVER);
        Self::new(code, message, until)
    }
}

/// What a lead's own state and its sequence's tell.
fn of_state(
    lead: &Row,
    status: LeadStatus,
    sequence: SequenceStatus,
    now: DateTime<Utc>,
) -> Result<Vec<Blocker>, StoreError> {
    let mut found = Vec::new();
    let mut add = |code, message: &str, until| found.push(Blocker::new(code, message, until));
    if status == LeadStatus::Paused {
        let message = "Somebody holds the lead: resume it, and the rest of its wait goes on.";
        add(BlockerCode::LeadPaused, message, None);
    }
    match sequence {
        SequenceStatus::Published => {}
        SequenceStatus::Draft | SequenceStatus::Disabled => {
            let message = "The sequence does not send: publish it again.";
            add(BlockerCode::SequenceDisabled, message, None);
        }
        SequenceStatus::Archived => {
            let message =
                "The sequence is archived and does not send: unarchive it, and publish it again.";
            add(BlockerCode::SequenceDisabled, message, None);
        }
    }
    let due_at = lead.due_at.map(from_ms).filter(|due_at| *due_at > now);
    let until = lead.until_at.map(from_ms);
    let quiet_until = lead.quiet_until.map(from_ms).filter(|until| *until > now);
    let hold = lead
        .hold
        .as_deref()
        .map(|hold| parsed("hold", hold))
        .transpose()?;
    match hold {
        Some(Hold::MissingMergeData) => {
            let message =
                "A merge tag of the step has no value for this person: complete the person.";
            add(BlockerCode::MissingMergeData, message, None);
        }
        Some(Hold::Unconfirmed) => {
            let message = "It is not known whether the message left: check the mailbox, then \
                           settle it with executionResolve.";
            add(BlockerCode::Unconfirmed, message, None);
        }
        Some(Hold::Retrying) if due_at.is_some() => {
            let message = "The last attempt failed for a passing reason, which is the error of the lead's \
                           last execution; it is tried again.";
            add(BlockerCode::Retrying, message, due_at);
        }
        Some(Hold::MissingAddress) => {
            let message = "The person has no address that the step can reach (an email address for an email, a \
                           phone number for a message or a call, a linkedinUrl for LinkedIn): add it with \
                           personUpdate.";
            add(BlockerCode::MissingAddress, message, None);
        }
        Some(Hold::AwaitingCondition) => {
            let message = "The lead waits at a condition until it holds, or until then.";
            add(BlockerCode::AwaitingCondition, message, until);
        }
        Some(Hold::AwaitingTask) => {
            let message = "The lead waits for a task: complete or skip it with taskComplete.";
            add(BlockerCode::AwaitingTask, message, until);
        }
        // What waits for the contact alone is told of below.
        None if due_at.is_some() && due_at != quiet_until => {
            add(BlockerCode::Waiting, "The step is not due yet.", due_at);
        }
        Some(Hold::Retrying) | None => {}
    }
    if quiet_until.is_some() {
        let message = "A machine answered for the contact, so messages and new tasks wait until then: to write \
             sooner, take the lead out and enrol the person again.";
        add(BlockerCode::AutoReplyHold, message, quiet_until);
    }
    Ok(found)
}
