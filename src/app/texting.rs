//! What comes back of text messages: receipts of the provider, and what contacts answer.
//!
//! A receipt may come twice, late, or before what it follows on: it is judged by what is known of the
//! message, and never takes it back. A message that has arrived has arrived.

pub mod signed;

use chrono::{DateTime, TimeDelta, Utc};
use sea_orm::DatabaseTransaction;

use super::engagement::{self, Engagement};
use super::suppression::Reason;
use super::{AppError, Services, deadlock, execution, returned};
use crate::domain::event::EventKind;
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, MailId, SenderId, WorkspaceId};
use crate::domain::inbox::{MailKind, MatchedBy};
use crate::domain::outcome::{Outcome, Scope};
use crate::domain::texting::{Keyword, Receipt};
use crate::secrets::sha256_hex;
use crate::store::engagement as rows;
use crate::store::inbound::{self, Found, Kept, NewMail};
use crate::store::sender::Sender;
use crate::store::texting::EarlyReceipt;
use crate::store::{self, StoreError, dialect, event, texting};

/// Somebody who answers no lead that is under way answers a message of these last days.
const RECENT: TimeDelta = TimeDelta::days(90);
/// The longest text that is kept, in characters: Twilio takes no longer one.
const TEXT_CHARS_MAX: usize = 1_600;
/// Who settles what nobody knew, as the event of it names them.
const PROVIDER: &str = "provider's receipt";
const CONTACT: &str = "contact's answer";

/// Takes in a receipt for a message of a sender, which went to `to` where that is a number. `false` where the
/// sender has sent no such message. One for a message that is still on its way is kept, and taken up by
/// [`take_early`].
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
    let Some(status) = look(services, (workspace, sender.id), id).await? else {
        return Ok(false);
    };
    // The provider may be faster with its receipt than we with its answer.
    if status == ExecutionStatus::Sending {
        let (kind, code) = receipt.parts();
        let early = EarlyReceipt {
            execution_id: id.uuid(),
            kind: kind.to_owned(),
            code: code.map(i64::from),
            sender_id: sender.id.uuid(),
        };
        let (db, now) = (services.db.write(), services.clock.now());
        texting::keep_early(db, workspace, &early, now).await?;
        return Ok(true);
    }
    let of_message = OfMessage {
        services,
        workspace,
        channel: sender.channel,
        id,
        to,
        now: services.clock.now(),
    };
    of_message.take_in(status, receipt).await?;
    Ok(true)
}

/// Takes up the receipts that came while their messages were still on their way, of those that are not any
/// more.
///
/// # Errors
/// [`AppError::Store`] as the database has it; then those that are left are taken up the next time.
pub async fn take_early(services: &Services) -> Result<(), AppError> {
    for early in texting::early_to_take(services.db.read()).await? {
        match take_up(services, &early).await {
            Ok(()) => {}
            Err(AppError::Store(error)) if error.may_pass() => return Err(error.into()),
            // One that cannot be taken up must not keep back those after it.
            Err(error) => tracing::error!(
                error = &error as &dyn std::error::Error,
                execution.id = %ExecutionId::from_uuid(early.execution_id),
                "a receipt could not be taken up and is passed over"
            ),
        }
        texting::drop_early(services.db.write(), &early).await?;
    }
    Ok(())
}

async fn take_up(services: &Services, early: &EarlyReceipt) -> Result<(), AppError> {
    let db = services.db.read();
    let sender = SenderId::from_uuid(early.sender_id);
    let Some((workspace, sender)) = store::sender::of_any(db, sender).await? else {
        return Ok(());
    };
    let id = ExecutionId::from_uuid(early.execution_id);
    let code = early.code.and_then(|code| u32::try_from(code).ok());
    let status = look(services, (workspace, sender.id), id).await?;
    let Some((status, receipt)) = status.zip(Receipt::of_parts(&early.kind, code)) else {
        return Ok(());
    };
    let of_message = OfMessage {
        services,
        workspace,
        channel: sender.channel,
        id,
        to: None,
        now: services.clock.now(),
    };
    of_message.take_in(status, receipt).await
}

/// The status of a sender's message; `None` where there is no such message.
async fn look(
    services: &Services,
    (workspace, sender): (WorkspaceId, SenderId),
    id: ExecutionId,
) -> Result<Option<ExecutionStatus>, StoreError> {
    let found = store::execution::find(services.db.read(), workspace, id).await?;
    let row = found.filter(|row| row.sender_id == Some(sender.uuid()));
    let status = row.map(|row| {
        let status = row.status.parse();
        status.map_err(|_| StoreError::corrupt("status of an execution", &row.status))
    });
    status.transpose()
}

/// A message that a receipt is about.
struct OfMessage<'a> {
    services: &'a Services,
    workspace: WorkspaceId,
    channel: Channel,
    id: ExecutionId,
    to: Option<&'a str>,
    now: DateTime<Utc>,
}

impl OfMessage<'_> {
    async fn take_in(&self, status: ExecutionStatus, receipt: Receipt) -> Result<(), AppError> {
        match status {
            // Whatever the provider says of it, it has it.
            ExecutionStatus::Unconfirmed => {
                execution::note_left(self.services, self.workspace, self.id, PROVIDER).await?;
            }
            ExecutionStatus::Sent | ExecutionStatus::Delivered => {}
            ExecutionStatus::Scheduled
            | ExecutionStatus::Sending
            | ExecutionStatus::Failed
            | ExecutionStatus::Skipped => return Ok(()),
        }
        match receipt {
            Receipt::OnItsWay => Ok(()),
            Receipt::Arrived => self.arrived(false).await,
            Receipt::Read => self.arrived(true).await,
            Receipt::Failed { code } => deadlock::repeated(|| self.failed(code)).await,
        }
    }

    /// It arrived, and was read perhaps.
    async fn arrived(&self, was_read: bool) -> Result<(), AppError> {
        let (workspace, id) = (self.workspace, self.id);
        let tx = self.services.db.begin().await?;
        let mut kinds = Vec::new();
        if texting::note_arrived(&tx, workspace, id).await? {
            kinds.push(EventKind::ExecutionDelivered);
        }
        if was_read && texting::note_read(&tx, workspace, id, self.now).await? {
            kinds.push(EventKind::Read);
        }
        let message = rows::message(&tx, workspace, id).await?;
        let (Some(message), false) = (message, kinds.is_empty()) else {
            return Ok(());
        };
        let events = kinds.into_iter().map(|kind| message.event(self.now, kind));
        let events: Vec<_> = events.collect::<Result<_, _>>()?;
        event::append(&tx, workspace, events).await?;
        tx.commit().await?;
        self.services.wake.log();
        Ok(())
    }

    /// It had left, and did not arrive.
    async fn failed(&self, code: Option<u32>) -> Result<(), AppError> {
        let (workspace, id) = (self.workspace, self.id);
        // Taken, and given up afterwards.
        let outcome = Outcome::refused_by_api(200, code, "", None);
        let tx = self.services.db.begin().await?;
        let Some(message) = rows::message(&tx, workspace, id).await? else {
            return Ok(());
        };
        let found = Found {
            lead: LeadId::from_uuid(message.lead_id),
            execution: Some(id),
        };
        let addresses = inbound::addresses_of(&tx, found, self.channel).await?;
        let addresses = addresses.unwrap_or_default();
        let number = self.to.or(addresses.reported()).map(str::to_owned);
        let mut events = match (outcome.scope(), number) {
            _ if has_arrived(&tx, workspace, id).await? => return Ok(()),
            (Some(Scope::OptedOut), number) => {
                let addresses = (self.channel, number.into_iter().chain(addresses.today));
                let reason = Reason::Unsubscribed;
                returned::unwanted(&tx, workspace, addresses, reason, Some(id), self.now).await?
            }
            (Some(Scope::Recipient { hard: true }), Some(number)) => {
                let gone = (self.channel, number);
                returned::for_good(&tx, workspace, (found, &addresses), gone, self.now).await?
            }
            _ => {
                let which = (found.lead, id, self.channel);
                returned::softly(&tx, workspace, which, self.now).await?
            }
        };
        let is_hard = matches!(outcome.scope(), Some(Scope::Recipient { hard: true }));
        let code = code.map(|code| code.to_string());
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
}

async fn has_arrived(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    id: ExecutionId,
) -> Result<bool, StoreError> {
    let found = store::execution::find(tx, workspace, id).await?;
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
    let (db, from) = (services.db.read(), incoming.from);
    let unconfirmed = texting::only_unconfirmed(db, workspace, sender.id, from).await?;
    let is_new =
        deadlock::repeated(|| take_in_once(services, (workspace, sender), incoming)).await?;
    // Afterwards: that it left lets the lead go on, which a STOP is to come before.
    if let Some(id) = unconfirmed {
        execution::note_left_if_possible(services, workspace, id, CONTACT).await;
    }
    Ok(is_new)
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
    // Whose contact it is; nobody's, if the contact is erased.
    let (events, whose) = match (kind, found) {
        (MailKind::Reply, Some(found)) => {
            let which = (found.lead, found.execution);
            let replied = Engagement::Replied;
            let told = engagement::record_within(services, &tx, workspace, which, replied, now);
            let told = told.await?;
            let whose = told.is_some().then_some(found);
            (told.unwrap_or_default(), whose)
        }
        (MailKind::Reply, None) => (Vec::new(), None),
        (_, found) => {
            let addresses = match found {
                Some(found) => inbound::addresses_of(&tx, found, sender.channel).await?,
                None => None,
            };
            let whose = found.filter(|_| addresses.is_some());
            let events = match kind {
                MailKind::OptOut => {
                    let from = std::iter::once(incoming.from.to_owned());
                    let own = addresses.unwrap_or_default().all();
                    let addresses = (sender.channel, from.chain(own));
                    let message = found.and_then(|found| found.execution);
                    let reason = Reason::Unsubscribed;
                    returned::unwanted(&tx, workspace, addresses, reason, message, now).await?
                }
                _ => Vec::new(),
            };
            (events, whose)
        }
    };
    // Of what belongs to no lead, or to somebody erased, nothing is kept but that it came.
    let text: String = (incoming.text.chars())
        .filter(|letter| *letter != '\0')
        .take(TEXT_CHARS_MAX)
        .collect();
    // Asked once more, now that the lead is locked.
    let whose = match whose {
        Some(found) => inbound::addresses_of(&tx, found, sender.channel)
            .await?
            .map(|_| found),
        None => None,
    };
    if let Some(found) = whose {
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
