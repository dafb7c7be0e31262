//! What comes back of text messages: receipts of the provider, and what contacts answer.
//!
//! A receipt may come twice, late, or before what it follows on: it is judged by what is known of the
//! message, and never takes it back. A message that has arrived has arrived.

pub mod signed;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DatabaseTransaction;

use super::engagement::{self, Engagement};
use super::suppression::{Reason, suppress};
use super::{AppError, Services, deadlock, execution, returned};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, MailId, SenderId, WorkspaceId};
use crate::domain::inbox::{MailKind, MatchedBy};
use crate::domain::outcome::{Outcome, Scope};
use crate::domain::texting::{Keyword, Receipt};
use crate::secrets::sha256_hex;
use crate::store::engagement as rows;
use crate::store::inbound::{self, Kept, NewMail};
use crate::store::sender::Sender;
use crate::store::{StoreError, dialect, event, texting};

/// Somebody who answers no lead that is under way answers a message of these last days.
const RECENT: TimeDelta = TimeDelta::days(90);
/// The longest text that is kept, in characters: Twilio takes no longer one.
const TEXT_CHARS_MAX: usize = 1_600;
/// How often, and how far apart, a message is looked at that is not noted as sent yet: the provider may be
/// faster with its receipt than we with its answer.
const LOOKS: u32 = 8;
const LOOK_AGAIN_AFTER: Duration = Duration::from_millis(250);
/// Who settles what nobody knew, as the event of it names them.
const PROVIDER: &str = "provider's receipt";

/// Takes in a receipt for a message of a sender, which went to `to` where that is a number. `false` where the
/// sender has sent no such message.
///
/// # Errors
/// [`AppError::Store`] as the database has it; then nothing has changed.
pub async fn take_receipt(
    services: &Services,
    (workspace, sender): (WorkspaceId, &Sender),
    id: ExecutionId,
    to: Option<&str>,
    receipt: Receipt,
) -> Result<bool, AppError> {
    let Some(status) = settled(services, (workspace, sender.id), id).await? else {
        return Ok(false);
    };
    match status {
        // Whatever the provider says of it, it has it.
        ExecutionStatus::Unconfirmed => {
            execution::note_left(services, workspace, id, PROVIDER).await?;
        }
        ExecutionStatus::Sent | ExecutionStatus::Delivered => {}
        ExecutionStatus::Scheduled
        | ExecutionStatus::Sending
        | ExecutionStatus::Failed
        | ExecutionStatus::Skipped => return Ok(true),
    }
    match receipt {
        Receipt::OnItsWay => {}
        Receipt::Arrived => arrived(services, workspace, id).await?,
        Receipt::Failed { code } => {
            let failed = Failed {
                services,
                workspace,
                channel: sender.channel,
                id,
                to,
                code,
                now: services.clock.now(),
            };
            failed.take_in().await?;
        }
    }
    Ok(true)
}

/// The status of a sender's message, once it is known whether it left; `None` where there is no such message.
async fn settled(
    services: &Services,
    (workspace, sender): (WorkspaceId, SenderId),
    id: ExecutionId,
) -> Result<Option<ExecutionStatus>, StoreError> {
    let mut status = None;
    for look in 0..LOOKS {
        if look > 0 {
            services.clock.sleep_real(LOOK_AGAIN_AFTER).await;
        }
        let db = services.db.read();
        let found = crate::store::execution::find(db, workspace, id).await?;
        let Some(row) = found.filter(|row| row.sender_id == Some(sender.uuid())) else {
            return Ok(None);
        };
        let is: ExecutionStatus = (row.status.parse())
            .map_err(|_| StoreError::corrupt("status of an execution", &row.status))?;
        status = Some(is);
        if is != ExecutionStatus::Sending {
            break;
        }
    }
    Ok(status)
}

async fn arrived(
    services: &Services,
    workspace: WorkspaceId,
    id: ExecutionId,
) -> Result<(), AppError> {
    let tx = services.db.begin().await?;
    if !texting::note_arrived(&tx, workspace, id).await? {
        return Ok(());
    }
    let Some(message) = rows::message(&tx, workspace, id).await? else {
        return Ok(());
    };
    let event = message.event(services.clock.now(), EventKind::ExecutionDelivered)?;
    event::append(&tx, workspace, vec![event]).await?;
    tx.commit().await?;
    services.wake.log();
    Ok(())
}

/// A message that had left, and did not arrive.
struct Failed<'a> {
    services: &'a Services,
    workspace: WorkspaceId,
    channel: Channel,
    id: ExecutionId,
    to: Option<&'a str>,
    code: Option<u32>,
    now: DateTime<Utc>,
}

impl Failed<'_> {
    async fn take_in(&self) -> Result<(), AppError> {
        deadlock::repeated(|| self.take_in_once()).await
    }

    async fn take_in_once(&self) -> Result<(), AppError> {
        let (workspace, id) = (self.workspace, self.id);
        // Taken, and given up afterwards.
        let outcome = Outcome::refused_by_api(200, self.code, "", None);
        let tx = self.services.db.begin().await?;
        let addresses: Vec<_> = (self.to.iter())
            .map(|to| (self.channel, (*to).to_owned()))
            .collect();
        let mut events = match outcome.scope() {
            _ if has_arrived(&tx, workspace, id).await? => return Ok(()),
            Some(Scope::OptedOut) => {
                let reason = Reason::Unsubscribed;
                suppress(&tx, workspace, &addresses, reason, Some(id), self.now).await?
            }
            Some(Scope::Recipient { hard: true }) => {
                let reason = Reason::Bounced;
                suppress(&tx, workspace, &addresses, reason, Some(id), self.now).await?
            }
            _ => self.softly(&tx).await?,
        };
        let is_hard = matches!(outcome.scope(), Some(Scope::Recipient { hard: true }));
        let code = self.code.map(|code| code.to_string());
        let message = match &code {
            Some(code) => {
                format!("The provider took the message and could not deliver it: {code}.")
            }
            None => "The provider took the message and could not deliver it.".to_owned(),
        };
        returned::explain(&mut events, is_hard, code.as_deref(), &message);
        if let Some(error) = outcome.error_code() {
            texting::note_error(&tx, workspace, id, (error.as_str(), &message)).await?;
        }
        if events.is_empty() {
            tx.commit().await?;
            return Ok(());
        }
        dialect::notify(&tx).await?;
        event::append(&tx, workspace, events).await?;
        tx.commit().await?;
        self.services.wake.log();
        self.services.wake.due();
        Ok(())
    }

    /// The number may take the next one.
    async fn softly(&self, tx: &DatabaseTransaction) -> Result<Vec<NewEvent>, StoreError> {
        let (workspace, id) = (self.workspace, self.id);
        let Some(message) = rows::message(tx, workspace, id).await? else {
            return Ok(Vec::new());
        };
        let which = (LeadId::from_uuid(message.lead_id), id, self.channel);
        returned::softly(tx, workspace, which, self.now).await
    }
}

async fn has_arrived(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    id: ExecutionId,
) -> Result<bool, StoreError> {
    let found = crate::store::execution::find(tx, workspace, id).await?;
    Ok(found.is_some_and(|row| row.status == <&str>::from(ExecutionStatus::Delivered)))
}

/// A message that a contact sent to the number of a sender.
#[derive(Debug, Clone, Copy)]
pub struct Incoming<'a> {
    /// The provider's name for it.
    pub sid: &'a str,
    /// The contact's number, in E.164.
    pub from: &'a str,
    /// What it says.
    pub text: &'a str,
    /// What it asks for, if it is nothing but a word for that.
    pub keyword: Option<Keyword>,
}

/// Takes in a message of a contact. A word for no more messages closes the channel for the number, at once
/// and in every sequence; a word for messages again is only noted; everything else is a reply to the lead
/// whose message it answers. The same again changes nothing: then it answers `false`.
///
/// # Errors
/// [`AppError::Store`] as the database has it; then nothing has changed.
pub async fn take_in(
    services: &Services,
    (workspace, sender): (WorkspaceId, &Sender),
    incoming: Incoming<'_>,
) -> Result<bool, AppError> {
    deadlock::repeated(|| take_in_once(services, (workspace, sender), incoming)).await
}

async fn take_in_once(
    services: &Services,
    (workspace, sender): (WorkspaceId, &Sender),
    incoming: Incoming<'_>,
) -> Result<bool, AppError> {
    let now = services.clock.now();
    let id: MailId = services.entropy.id(now);
    let kind = match incoming.keyword {
        Some(Keyword::Stop) => MailKind::OptOut,
        Some(Keyword::Start) => MailKind::Notice,
        None => MailKind::Reply,
    };
    let digest = sha256_hex(format!("text\n{}\n{}", sender.id, incoming.sid));
    let tx = services.db.begin().await?;
    let mail = NewMail {
        id,
        digest: &digest,
        kind,
        sender: Some(sender.id),
        at: now,
    };
    if !inbound::file(&tx, workspace, &mail).await? {
        return Ok(false);
    }
    let since = now - RECENT;
    let found = texting::answered(&tx, workspace, sender.id, incoming.from, since).await?;
    let events = match (kind, found) {
        (MailKind::OptOut, found) => {
            let addresses = [(sender.channel, incoming.from.to_owned())];
            let (reason, message) = (
                Reason::Unsubscribed,
                found.and_then(|found| found.execution),
            );
            suppress(&tx, workspace, &addresses, reason, message, now).await?
        }
        (MailKind::Reply, Some(found)) => {
            let whose = (found.lead, found.execution);
            let replied = Engagement::Replied;
            let told =
                engagement::record_within(services, &tx, workspace, whose, replied, now).await?;
            told.unwrap_or_default()
        }
        _ => Vec::new(),
    };
    // Of what belongs to no lead, or to somebody erased, nothing is kept but that it came.
    let is_erased = match found {
        Some(found) => inbound::address_of(&tx, found.lead).await?.is_none(),
        None => true,
    };
    let text: String = (incoming.text.chars())
        .filter(|letter| *letter != '\0')
        .take(TEXT_CHARS_MAX)
        .collect();
    if let Some(found) = found.filter(|_| !is_erased) {
        let kept = Kept {
            found: Some((found, MatchedBy::Address)),
            from: Some(incoming.from),
            subject: None,
            text: Some(&text),
        };
        inbound::keep(&tx, id, &kept).await?;
    }
    dialect::notify(&tx).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await?;
    services.wake.log();
    services.wake.due();
    Ok(true)
}
