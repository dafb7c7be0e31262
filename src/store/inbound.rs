//! The mails that came in: each is filed once, and is found to belong to a lead.

use chrono::{DateTime, Utc};
use entity::inbound_message;
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, MailId, SenderId, WorkspaceId};
use crate::domain::inbox::{MailKind, MatchedBy};

/// A mail's row.
pub type Row = inbound_message::Model;

/// A mail that is filed.
#[derive(Debug, Clone)]
pub struct NewMail<'a> {
    /// Its id.
    pub id: MailId,
    /// What tells it from every other of the workspace.
    pub digest: &'a str,
    /// What kind of mail it is.
    pub kind: MailKind,
    /// In whose mailbox it was, where it was in one.
    pub sender: Option<SenderId>,
    /// When it was taken in.
    pub at: DateTime<Utc>,
}

/// Files a mail; `false` where it is filed already. Whoever files the same at the same time waits for
/// this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn file(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    mail: &NewMail<'_>,
) -> Result<bool> {
    let arguments = Arguments::new()
        .with(mail.id.uuid())
        .with(workspace.uuid())
        .with(mail.digest)
        .with(<&str>::from(mail.kind))
        .with(mail.sender.map(SenderId::uuid))
        .with(mail.at.timestamp_millis());
    let statement =
        "INSERT INTO inbound_message (id, workspace_id, digest, class, sender_id, received_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (workspace_id, digest) DO NOTHING";
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// The mail that was filed under this digest.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn filed(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    digest: &str,
) -> Result<Option<Row>> {
    let statement =
        "SELECT m.* FROM inbound_message AS m WHERE m.workspace_id = $1 AND m.digest = $2";
    let arguments = Arguments::new().with(workspace.uuid()).with(digest);
    sql::one(connection, statement, arguments).await
}

/// What is kept of a mail.
#[derive(Debug, Clone, Default)]
pub struct Kept<'a> {
    /// What it belongs to, and by what that was found.
    pub found: Option<(Found, MatchedBy)>,
    /// Who wrote it.
    pub from: Option<&'a str>,
    /// Its subject.
    pub subject: Option<&'a str>,
    /// What is new in its text.
    pub text: Option<&'a str>,
}

/// Writes down what a mail is about, which this transaction has filed.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep(tx: &impl ConnectionTrait, id: MailId, kept: &Kept<'_>) -> Result<()> {
    let found = kept.found.map(|(found, _)| found);
    let arguments = Arguments::new()
        .with(id.uuid())
        .with(kept.found.map(|(_, by)| <&str>::from(by)))
        .with(found.map(|found| found.lead.uuid()))
        .with(
            found
                .and_then(|found| found.execution)
                .map(ExecutionId::uuid),
        )
        .with(kept.from)
        .with(kept.subject)
        .with(kept.text);
    let statement = "UPDATE inbound_message SET matched_by = $2, lead_id = $3, execution_id = $4,
             from_address = $5, subject = $6, text = $7
         WHERE id = $1";
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// What the contacts of these leads wrote last.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn last_replies(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[LeadId],
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(connection, leads.iter().map(|id| id.uuid()));
    let of_workspace = dialect::unindexed(connection.get_database_backend(), "l.workspace_id");
    let statement = format!(
        "SELECT m.* FROM lead AS l JOIN inbound_message AS m ON m.id =
             (SELECT r.id FROM inbound_message AS r
              WHERE r.lead_id = l.id AND r.class IN ('REPLY', 'OPT_OUT')
              ORDER BY r.id DESC LIMIT 1)
         WHERE l.id {list} AND {of_workspace} = $1"
    );
    sql::all(connection, &statement, arguments).await
}

/// The lead that a mail is about, and the message where that is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Found {
    /// The lead.
    pub lead: LeadId,
    /// The message.
    pub execution: Option<ExecutionId>,
}

#[derive(FromQueryResult)]
struct FoundRow {
    lead_id: Uuid,
    execution_id: Option<Uuid>,
}

impl From<FoundRow> for Found {
    fn from(row: FoundRow) -> Self {
        Self {
            lead: LeadId::from_uuid(row.lead_id),
            execution: row.execution_id.map(ExecutionId::from_uuid),
        }
    }
}

#[derive(FromQueryResult)]
struct Message {
    id: Uuid,
    lead_id: Uuid,
}

/// The email of this execution, if it is the workspace's and has been on its way.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn email(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    execution: ExecutionId,
) -> Result<Option<Found>> {
    let of_workspace = dialect::unindexed(connection.get_database_backend(), "e.workspace_id");
    let statement = format!(
        "SELECT e.id, e.lead_id FROM execution AS e
         WHERE e.id = $2 AND {of_workspace} = $1 AND e.channel = 'EMAIL'
             AND e.message_id IS NOT NULL"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(execution.uuid());
    let found: Option<Message> = sql::one(connection, &statement, arguments).await?;
    Ok(found.map(|row| Found {
        lead: LeadId::from_uuid(row.lead_id),
        execution: Some(ExecutionId::from_uuid(row.id)),
    }))
}

/// Those of these emails of the workspace of which nobody knows whether they left.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn unconfirmed(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    executions: &[ExecutionId],
) -> Result<Vec<ExecutionId>> {
    let of_workspace = dialect::unindexed(connection.get_database_backend(), "e.workspace_id");
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(connection, executions.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT e.id FROM execution AS e
         WHERE e.id {list} AND {of_workspace} = $1 AND e.channel = 'EMAIL'
             AND e.status = 'UNCONFIRMED'"
    );
    let ids = sql::ids(connection, &statement, arguments).await?;
    Ok(ids.into_iter().map(ExecutionId::from_uuid).collect())
}

/// What an email has been on its way as.
const ON_ITS_WAY: &str = "('SENDING', 'SENT', 'DELIVERED', 'UNCONFIRMED')";

/// The lead under way of the person with this address to whom the latest email went, by `sender` rather
/// than by another; without an email, the latest lead.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn active_of_address(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: Option<SenderId>,
    email_key: &str,
) -> Result<Option<Found>> {
    let statement = format!(
        "SELECT l.id AS lead_id, e.id AS execution_id
         FROM person AS p JOIN lead AS l ON l.person_id = p.id
             LEFT JOIN execution AS e ON e.lead_id = l.id AND e.channel = 'EMAIL'
                 AND e.status IN {ON_ITS_WAY}
         WHERE p.workspace_id = $1 AND p.email_key = $2 AND l.status IN ('ACTIVE', 'PAUSED')
         ORDER BY CASE WHEN e.sender_id = $3 THEN 0 WHEN e.id IS NOT NULL THEN 1 ELSE 2 END,
             e.id DESC, l.id DESC LIMIT 1"
    );
    of_address(connection, &statement, workspace, sender, email_key, None).await
}

/// The latest email that went to the person with this address since `since`, by `sender` rather than by
/// another.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn recent_to_address(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: Option<SenderId>,
    email_key: &str,
    since: DateTime<Utc>,
) -> Result<Option<Found>> {
    let statement = format!(
        "SELECT l.id AS lead_id, e.id AS execution_id
         FROM person AS p JOIN lead AS l ON l.person_id = p.id
             JOIN execution AS e ON e.lead_id = l.id
         WHERE p.workspace_id = $1 AND p.email_key = $2 AND e.channel = 'EMAIL'
             AND e.status IN {ON_ITS_WAY} AND e.started_at >= $4
         ORDER BY CASE WHEN e.sender_id = $3 THEN 0 ELSE 1 END, e.id DESC LIMIT 1"
    );
    let since = Some(since);
    of_address(connection, &statement, workspace, sender, email_key, since).await
}

async fn of_address(
    connection: &impl ConnectionTrait,
    statement: &str,
    workspace: WorkspaceId,
    sender: Option<SenderId>,
    email_key: &str,
    since: Option<DateTime<Utc>>,
) -> Result<Option<Found>> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(email_key)
        .with(sender.map(SenderId::uuid));
    if let Some(since) = since {
        arguments = arguments.with(since.timestamp_millis());
    }
    let found: Option<FoundRow> = sql::one(connection, statement, arguments).await?;
    Ok(found.map(Found::from))
}

/// Where a contact is written to, in the form in which suppressions know addresses.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Addresses {
    /// Where the message went; `None` where none is known.
    pub written_to: Option<String>,
    /// Where the next one would go; `None` of whoever has no such address.
    pub today: Option<String>,
}

impl Addresses {
    /// Both of them, which may be the same.
    pub fn all(self) -> impl Iterator<Item = String> {
        self.written_to.into_iter().chain(self.today)
    }

    /// Whether this is one of them.
    pub fn has(&self, address: &str) -> bool {
        [&self.written_to, &self.today]
            .into_iter()
            .any(|known| known.as_deref() == Some(address))
    }

    /// The one that a report is about which names none: that of the message, else the contact's.
    pub fn reported(&self) -> Option<&str> {
        self.written_to.as_deref().or(self.today.as_deref())
    }
}

/// The addresses of a lead's person on a channel, and that of the message where one is known; `None` of
/// somebody who is erased. To be asked once the lead is locked: whoever erases a person locks its leads,
/// too.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn addresses_of(
    tx: &impl ConnectionTrait,
    found: Found,
    channel: Channel,
) -> Result<Option<Addresses>> {
    #[derive(FromQueryResult)]
    struct Whose {
        email_key: Option<String>,
        phone: Option<String>,
        to_key: Option<String>,
        is_erased: bool,
    }
    let statement = "SELECT p.email_key, p.phone, e.to_key, (p.erased_at IS NOT NULL) AS is_erased
         FROM lead AS l JOIN person AS p ON p.id = l.person_id
             LEFT JOIN execution AS e ON e.id = $2 AND e.lead_id = l.id AND e.channel = $3
         WHERE l.id = $1";
    let arguments = Arguments::new()
        .with(found.lead.uuid())
        .with(found.execution.map(ExecutionId::uuid))
        .with(<&str>::from(channel));
    let whose: Option<Whose> = sql::one(tx, statement, arguments).await?;
    let whose = whose.filter(|whose| !whose.is_erased);
    Ok(whose.map(|whose| Addresses {
        written_to: whose.to_key,
        today: match channel {
            Channel::Email => whose.email_key,
            _ => whose.phone,
        },
    }))
}

/// Whether the workspace knows somebody with this address.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn is_of_a_person(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    email_key: &str,
) -> Result<bool> {
    let statement =
        "SELECT count(*) AS n FROM person AS p WHERE p.workspace_id = $1 AND p.email_key = $2";
    let arguments = Arguments::new().with(workspace.uuid()).with(email_key);
    Ok(sql::number(connection, statement, arguments).await? > 0)
}

/// Whether a sender of the workspace has this address.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn is_sender(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    email_key: &str,
) -> Result<bool> {
    let statement = "SELECT count(*) AS n FROM sender AS s
         WHERE s.workspace_id = $1 AND s.channel = 'EMAIL' AND lower(s.address) = $2";
    let arguments = Arguments::new().with(workspace.uuid()).with(email_key);
    Ok(sql::number(connection, statement, arguments).await? > 0)
}

/// How many mails are dropped in one transaction.
const DROPPED_MAX: u64 = 1_000;

/// Drops mails that belonged to no lead and were taken in before `before`; `true` where there may be
/// more of them.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn drop_unmatched(
    connection: &impl ConnectionTrait,
    before: DateTime<Utc>,
) -> Result<bool> {
    let statement = format!(
        "DELETE FROM inbound_message WHERE id IN (
             SELECT m.id FROM inbound_message AS m
             WHERE m.matched_by IS NULL AND m.received_at < $1 LIMIT {DROPPED_MAX})"
    );
    let arguments = Arguments::new().with(before.timestamp_millis());
    Ok(sql::execute(connection, &statement, arguments).await? == DROPPED_MAX)
}
