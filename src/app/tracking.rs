//! What comes back by the marks in emails: openings, clicks and opt-outs.
//!
//! A mark is all that whoever comes has to show: it is sealed, and says of which message it is.

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde_json::json;

use super::engagement::{self, Engagement};
use super::suppression::Reason;
use super::{AppError, Refusal, Services, deadlock, execution, returned};
use crate::clock::from_ms;
use crate::domain::event::EventKind;
use crate::domain::flow::Channel;
use crate::domain::id::{LeadId, WorkspaceId};
use crate::domain::tracking::agent::Agent;
use crate::domain::tracking::hit::{self, Machine};
use crate::domain::tracking::{BaseUrl, Mark, Token};
use crate::store::engagement::{self as rows, Count, Message};
use crate::store::inbound::{self, Found};
use crate::store::{StoreError, dialect, event, sender};

/// Who settles what nobody knew, as the event of it names them.
const SETTLED_BY: &str = "mark in the message";

/// What a token says; `None` for one that this installation has not sealed.
pub fn read(services: &Services, token: &str) -> Option<Token> {
    Token::read(&services.secrets.open_token(token)?)
}

/// Whether the marks of a workspace may be followed under this host: that of the server's own address, or one
/// that a sender of the workspace has. Whoever has a workspace of this server could otherwise lend its links the
/// good name of another's domain. Under a host that nobody has, as where a proxy in front does not pass on
/// which was asked for, they may where no other workspace is there.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub async fn is_at_home(
    services: &Services,
    workspace: WorkspaceId,
    host: &str,
) -> Result<bool, AppError> {
    if (services.marks.base.as_ref()).is_some_and(|base| base.host() == host) {
        return Ok(true);
    }
    let owners = sender::owners_of_host(services.db.read(), workspace, host).await?;
    Ok(owners.is_own || !(owners.is_of_others || owners.has_neighbours))
}

/// Why a sender may not have this address for its marks: a host is one workspace's. Until the transaction ends,
/// nobody else takes the host.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn refuses_base(
    services: &Services,
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    base: &BaseUrl,
) -> Result<Option<Refusal>, StoreError> {
    let host = base.host();
    if (services.marks.base.as_ref()).is_some_and(|base| base.host() == host) {
        return Ok(None);
    }
    // The next statement sees what was committed meanwhile.
    dialect::keep_host(tx, &host).await?;
    let owners = sender::owners_of_host(tx, workspace, &host).await?;
    Ok(owners.is_of_others.then(|| {
        let message = format!(
            "{host} is the tracking domain of another workspace of this server: give a host of your own."
        );
        Refusal::invalid(message, &["trackingDomain"])
    }))
}

/// What was done with a message, by its mark.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    /// It was opened.
    Opened,
    /// A link was followed.
    Clicked,
}

/// Notes what was done with the message of a token by whoever calls itself so; `found` where that is known
/// otherwise already to be a machine. Answers `false` where the workspace has no such message.
///
/// # Errors
/// [`AppError::Store`] as the database has it; then it may not have been noted.
pub async fn note(
    services: &Services,
    token: &Token,
    done: Done,
    agent: Agent,
    found: Option<Machine>,
) -> Result<bool, AppError> {
    let db = services.db.read();
    let Some(message) = rows::message(db, token.workspace, token.execution).await? else {
        return Ok(false);
    };
    let noted = note_of(services, token, &message, (done, agent, found)).await;
    if noted.is_ok() && message.is_unconfirmed {
        // It lies before somebody.
        let (workspace, execution) = (token.workspace, token.execution);
        execution::note_left_if_possible(services, workspace, execution, SETTLED_BY).await;
    }
    noted.map(|()| true)
}

async fn note_of(
    services: &Services,
    token: &Token,
    message: &Message,
    (done, agent, found): (Done, Agent, Option<Machine>),
) -> Result<(), AppError> {
    let now = services.clock.now();
    let sent_at = message.finished_at.map(from_ms);
    if let Some(machine) = found.or_else(|| hit::machine(agent, sent_at, now)) {
        if message.may_note() {
            note_machine(services, token, message, done, machine).await?;
        }
        return Ok(());
    }
    let (count, engagement) = match done {
        Done::Opened => (Count::Opens, Engagement::Opened),
        Done::Clicked => (Count::Clicks, Engagement::Clicked),
    };
    if message.may_count(count, now) {
        let counted = || count_once(services, token, message, (count, engagement), now);
        deadlock::repeated(counted).await?;
    }
    Ok(())
}

/// Counts an opening or a click, and all that follows from it, unless it is not to be counted.
async fn count_once(
    services: &Services,
    token: &Token,
    message: &Message,
    (count, engagement): (Count, Engagement),
    now: DateTime<Utc>,
) -> Result<(), AppError> {
    let tx = services.db.begin().await?;
    if !rows::is_to_count(&tx, token.execution, count, now).await? {
        return Ok(());
    }
    let (workspace, lead) = (token.workspace, LeadId::from_uuid(message.lead_id));
    let which = (lead, Some(token.execution));
    let told = engagement::record_within(services, &tx, workspace, which, engagement, now).await?;
    event::append(&tx, workspace, told.unwrap_or_default()).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    // A condition may have waited for it.
    services.wake.due();
    Ok(())
}

async fn note_machine(
    services: &Services,
    token: &Token,
    message: &Message,
    done: Done,
    machine: Machine,
) -> Result<(), AppError> {
    let tx = services.db.begin().await?;
    if !rows::is_to_note(&tx, token.execution).await? {
        return Ok(());
    }
    let kind = match done {
        Done::Opened => EventKind::MachineOpened,
        Done::Clicked => EventKind::MachineClicked,
    };
    let event = message.event(services.clock.now(), kind)?;
    let event = event.with_detail(json!({ "machine": <&str>::from(machine) }));
    dialect::notify(&tx).await?;
    event::append(&tx, token.workspace, vec![event]).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    Ok(())
}

/// Opts the contact of a message out of emails, at once and in every sequence: at the address that the
/// message went to, and at that which the contact has by now. Said again, it changes nothing. Answers `false` where the token is for something else, or the workspace has no such message.
///
/// # Errors
/// [`AppError::Store`] as the database has it; then nothing was changed.
pub async fn opt_out(services: &Services, token: &Token) -> Result<bool, AppError> {
    if token.mark != Mark::OptOut {
        return Ok(false);
    }
    let (workspace, id) = (token.workspace, token.execution);
    let message = rows::message(services.db.read(), workspace, id).await?;
    let opted_out = deadlock::repeated(|| opt_out_once(services, token)).await?;
    // Afterwards: that it left lets the lead go on, which nobody who opts out wants.
    if message.is_some_and(|message| message.is_unconfirmed) {
        execution::note_left_if_possible(services, workspace, id, SETTLED_BY).await;
    }
    Ok(opted_out)
}

async fn opt_out_once(services: &Services, token: &Token) -> Result<bool, AppError> {
    let (workspace, now) = (token.workspace, services.clock.now());
    let tx = services.db.begin().await?;
    let Some(message) = rows::message(&tx, workspace, token.execution).await? else {
        return Ok(false);
    };
    let found = Found {
        lead: LeadId::from_uuid(message.lead_id),
        execution: Some(token.execution),
    };
    // Nobody writes any more to somebody who was erased.
    let addresses = inbound::addresses_of(&tx, found, Channel::Email).await?;
    let addresses = (Channel::Email, addresses.unwrap_or_default().all());
    let (reason, by) = (Reason::Unsubscribed, found.execution);
    let events = returned::unwanted(&tx, workspace, addresses, reason, by, now).await?;
    if events.is_empty() {
        tx.commit().await.map_err(StoreError::from)?;
        return Ok(true);
    }
    dialect::notify(&tx).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    services.wake.due();
    Ok(true)
}

/// Whether the workspace of a token for an opt-out has its message.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub async fn is_for_opt_out(services: &Services, token: &Token) -> Result<bool, AppError> {
    let found = rows::message(services.db.read(), token.workspace, token.execution).await?;
    Ok(token.mark == Mark::OptOut && found.is_some())
}
