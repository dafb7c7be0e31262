//! What comes back of messages by mail: they could not be delivered, were called unwanted, or their
//! contact asks for no more of them.

use std::slice;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde_json::json;

use super::stopping::stop;
use super::suppression::{Reason, suppress};
use crate::domain::address::EmailAddress;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, WorkspaceId};
use crate::domain::inbound::Failure;
use crate::domain::lead::StopReason;
use crate::store::inbound::{Addresses, Found};
use crate::store::{StoreError, claim, dispatch, engagement};

/// So many messages in a row that come back, though none for good, stop a lead.
const SOFT_BOUNCES_MAX: usize = 3;
/// How much of what a server said goes into the log, in characters.
const SAID_CHARS_MAX: usize = 300;

/// The form by which addresses are compared; `None` for what is none.
pub fn key(address: &str) -> Option<String> {
    let read = EmailAddress::parse(address).ok()?;
    Some(read.key().to_owned())
}

/// A message could not be delivered. For good: its lead stops, and its address is suppressed. For now: the
/// lead stops once [`SOFT_BOUNCES_MAX`] messages in a row came back. Anybody can write a report: it is
/// believed to be for good only where it returns the message (`is_returned`), whose id nobody else knows, and
/// names no other address than that which the message went to. Answers the events, which the caller appends
/// last.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn came_back(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    (found, addresses, is_returned): (Found, &Addresses, bool),
    failure: &Failure,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let named = failure.address.as_deref().and_then(key);
    let gone = addresses.reported();
    let names_another = named.is_some() && named.as_deref() != gone;
    let hard = failure.hard && is_returned && !names_another;
    let mut events = match (hard, gone) {
        (true, Some(gone)) => {
            let gone = (Channel::Email, gone.to_owned());
            for_good(tx, workspace, (found, addresses), gone, now).await?
        }
        _ => match found.execution {
            Some(execution) => {
                let which = (found.lead, execution, Channel::Email);
                softly(tx, workspace, which, now).await?
            }
            None => Vec::new(),
        },
    };
    let said: String = failure.message.chars().take(SAID_CHARS_MAX).collect();
    explain(&mut events, hard, failure.status.as_deref(), &said);
    Ok(events)
}

/// Writes down why a message came back with the event that tells it.
pub(super) fn explain(events: &mut [NewEvent], hard: bool, code: Option<&str>, message: &str) {
    for event in events {
        if event.kind == EventKind::Bounced && event.execution_id.is_some() {
            event.detail = Some(json!({
                "reason": if hard { "HARD" } else { "SOFT" }, "code": code, "message": message,
            }));
        }
    }
}

/// A message came back because its address does not exist: nobody writes there again, and its lead stops. One
/// whose contact has another address by now goes on, and that it came back is told. Answers the events, which
/// the caller appends last.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn for_good(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    (found, addresses): (Found, &Addresses),
    (channel, gone): (Channel, String),
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let has_moved = (addresses.today.as_deref()).is_some_and(|today| today != gone);
    let of_message = found.execution.filter(|_| !has_moved);
    let gone = [(channel, gone)];
    let mut events = suppress(tx, workspace, &gone, Reason::Bounced, of_message, now).await?;
    if let Some(execution) = found.execution.filter(|_| has_moved) {
        let which = (found.lead, execution, channel);
        events.extend(softly(tx, workspace, which, now).await?);
    }
    Ok(events)
}

/// A message of a lead came back, though the address may take the next one. Answers the events, which the
/// caller appends last.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub(super) async fn softly(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    (lead, execution, channel): (LeadId, ExecutionId, Channel),
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let locked = engagement::lock_leads(tx, workspace, &[lead]).await?;
    // Read now that nobody else can say the same of it.
    let message = engagement::message(tx, workspace, execution).await?;
    let (Some(engaged), Some(message)) = (locked.into_iter().next(), message) else {
        return Ok(Vec::new());
    };
    // A server may tell the same of a message more than once.
    if message.bounced {
        return Ok(Vec::new());
    }
    let mut row = engaged.lead;
    dispatch::note_bounced(tx, &[execution]).await?;
    row.bounced = true;
    row.last_action_at = Some(now.timestamp_millis());
    claim::save_leads(tx, slice::from_ref(&row), None).await?;
    let mut events = vec![message.event(now, EventKind::Bounced)?];
    let in_a_row = engagement::bounced_in_a_row(tx, lead, channel, SOFT_BOUNCES_MAX).await?;
    if in_a_row >= SOFT_BOUNCES_MAX {
        let own = slice::from_mut(&mut row);
        events.extend(stop(tx, workspace, own, StopReason::Bounced, now).await?);
    }
    Ok(events)
}

/// The owner of these addresses wants no more messages on a channel, and why that is known. With `message`,
/// the execution by which it came about, its lead stops. Answers the events, which the caller appends last.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn unwanted(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    (channel, addresses): (Channel, impl IntoIterator<Item = String>),
    reason: Reason,
    message: Option<ExecutionId>,
    now: DateTime<Utc>,
) -> Result<Vec<NewEvent>, StoreError> {
    let mut addresses: Vec<_> = addresses
        .into_iter()
        .map(|address| (channel, address))
        .collect();
    addresses.sort_unstable();
    addresses.dedup();
    suppress(tx, workspace, &addresses, reason, message, now).await
}
