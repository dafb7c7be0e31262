//! Opting out for people who have said so elsewhere.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde_json::json;

use super::{gone, stopping};
use crate::app::{AppError, Caller, Refusal, Services, deadlock};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{LeadId, PersonId, SequenceId, WorkspaceId};
use crate::domain::lead::StopReason;
use crate::store::claim::LeadRow;
use crate::store::person::consent::{self, Suppressed};
use crate::store::person::{Row, erasure, lock};
use crate::store::sequence::{self, version};
use crate::store::{StoreError, dialect, event, task};

/// Notes that a person must not be contacted on these channels any more. Leads go on to their other
/// channels; one that has only closed ones left stops.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such person, with `INVALID` where no
/// channel is named, one that nobody can opt out of, or none on which the person has an address;
/// [`AppError::Store`] as the database has it.
pub async fn opt_out(
    services: &Services,
    caller: &Caller,
    id: PersonId,
    channels: &[Channel],
) -> Result<Row, AppError> {
    check(channels)?;
    deadlock::repeated(|| opt_out_once(services, caller, id, channels)).await
}

async fn opt_out_once(
    services: &Services,
    caller: &Caller,
    id: PersonId,
    channels: &[Channel],
) -> Result<Row, AppError> {
    let (workspace, now) = (caller.workspace, services.clock.now());
    let tx = services.db.begin().await?;
    let Some(person) = lock(&tx, workspace, id).await? else {
        return Err(gone(&["id"]).into());
    };
    let address = |channel| consent::address(&person, channel).map(str::to_owned);
    let closing: Vec<(Channel, String)> = channels
        .iter()
        .filter_map(|&channel| Some((channel, address(channel)?)))
        .collect();
    if closing.is_empty() {
        let message = "The person has no address on these channels, so that there is nothing to close: \
                       add the address first.";
        return Err(Refusal::invalid(message, &["channels"]).into());
    }
    let closed = consent::opt_out(&tx, workspace, &closing, now).await?;
    if closed.is_empty() {
        return Ok(person);
    }
    let mut events = told(id, EventKind::Unsubscribed, &closed, now);
    events.extend(close(services, &tx, workspace, &person, &closed).await?);
    dialect::notify(&tx).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await?;
    services.wake.log();
    services.wake.due();
    Ok(person)
}

/// The events of what has happened to a person on these channels, by no message.
pub(in crate::app) fn told(
    person: PersonId,
    kind: EventKind,
    closed: &[Channel],
    now: DateTime<Utc>,
) -> Vec<NewEvent> {
    let told = closed.iter().map(|&channel| NewEvent {
        channel: Some(channel),
        ..NewEvent::of_workspace(now, kind, json!({ "personId": person }))
    });
    told.collect()
}

fn check(channels: &[Channel]) -> Result<(), Refusal> {
    let path = &["channels"];
    if channels.is_empty() {
        let message = "Name at least one channel.";
        return Err(Refusal::invalid(message, path));
    }
    if channels
        .iter()
        .any(|channel| !consent::CHANNELS.contains(channel))
    {
        let message = "Nobody is contacted by TASK or WEBHOOK, so that nobody can opt out of them: leave \
                       them out.";
        return Err(Refusal::invalid(message, path));
    }
    Ok(())
}

/// What follows for the leads of somebody who must not be contacted on these channels from now on: those
/// that have only closed channels left stop, and open work on these channels is given up, also that of other
/// people with the same address, of whom nothing else is known.
pub(super) async fn close(
    services: &Services,
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    person: &Row,
    closed: &[Channel],
) -> Result<Vec<NewEvent>, StoreError> {
    let now = services.clock.now();
    let address = |channel: &Channel| Some((*channel, consent::address(person, *channel)?.into()));
    let addresses: Vec<(Channel, String)> = closed.iter().filter_map(address).collect();
    let mut work = task::open_at(tx, workspace, &addresses).await?;
    let id = PersonId::from_uuid(person.id);
    work.retain(|(other, _)| *other != id);
    let mut people: Vec<PersonId> = work.iter().map(|(other, _)| *other).chain([id]).collect();
    people.sort_unstable();
    people.dedup();
    let mut active = Vec::new();
    for lead in erasure::lock_leads(tx, workspace, &people).await? {
        if !lead.state()?.status.is_over() {
            active.push(lead);
        }
    }
    let (active, of_others): (Vec<LeadRow>, Vec<LeadRow>) = active
        .into_iter()
        .partition(|lead| lead.person_id == person.id);
    let suppressed = consent::of_people(tx, workspace, &[person]).await?;
    let ahead = channels_ahead(tx, workspace, &active).await?;
    let (mut ending, going_on): (Vec<LeadRow>, Vec<LeadRow>) =
        active.into_iter().partition(|lead| {
            let ahead = ahead.get(&lead.id).map_or(&[][..], Vec::as_slice);
            ends(person, ahead, closed, &suppressed)
        });
    let reason = StopReason::Unsubscribed;
    let events = stopping::stop(tx, workspace, &mut ending, reason, now).await?;
    for channel in closed {
        let of_others = of_others.iter().filter(|lead| {
            let whose = PersonId::from_uuid(lead.person_id);
            work.contains(&(whose, *channel))
        });
        let leads: Vec<LeadId> = going_on
            .iter()
            .chain(of_others)
            .map(LeadRow::lead_id)
            .collect();
        task::close_channels(tx, workspace, &leads, &[*channel], now).await?;
    }
    Ok(events)
}

/// Whether a lead with these channels ahead of it can contact its person no more, and that because of
/// those that are closed now. Without any channel it contacts nobody, and goes on.
pub(in crate::app) fn ends(
    person: &Row,
    ahead: &[Channel],
    closed: &[Channel],
    suppressed: &[Suppressed],
) -> bool {
    let is_open = |channel: &Channel| {
        consent::address(person, *channel).is_some_and(|address| {
            !(suppressed.iter()).any(|one| one.channel == *channel && one.address == address)
        })
    };
    ahead.iter().any(|channel| closed.contains(channel)) && !ahead.iter().any(is_open)
}

/// The channels by which each of the leads may yet reach its person.
pub(in crate::app) async fn channels_ahead(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    leads: &[LeadRow],
) -> Result<HashMap<uuid::Uuid, Vec<Channel>>, StoreError> {
    let mut ids: Vec<SequenceId> = leads
        .iter()
        .map(|lead| SequenceId::from_uuid(lead.sequence_id))
        .collect();
    ids.sort_unstable();
    ids.dedup();
    let sequences = sequence::find_many(tx, workspace, &ids).await?;
    let versions: Vec<_> = sequences
        .iter()
        .filter_map(|sequence| sequence.published_version)
        .collect();
    let versions = version::find_many(tx, workspace, &versions).await?;
    let ahead = leads.iter().filter_map(|lead| {
        let of = SequenceId::from_uuid(lead.sequence_id);
        let version = versions.iter().find(|version| version.sequence == of)?;
        let channels = version.flow.channels_from(lead.step_key.as_deref()?);
        Some((lead.id, channels.into_iter().collect()))
    });
    Ok(ahead.collect())
}
