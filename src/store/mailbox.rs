//! The mailboxes that are read for senders: where each is, who reads it, and how far.
//!
//! One worker reads a mailbox at a time: its name is in the row, and counts as long as its lease does.
//! How far it has read is written in the transaction in which a mail is taken in, and only by who has
//! the row.

use chrono::{DateTime, Utc};
use entity::inbound_mailbox;
use sea_orm::ConnectionTrait;
use sea_orm::FromQueryResult;
use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect};
use crate::domain::id::{SenderId, WorkerId, WorkspaceId};
use crate::domain::inbox::{Inbox, InboxState};

/// A mailbox's row.
pub type Row = inbound_mailbox::Model;

/// How far a folder is read (RFC 9051 §2.3.1.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Its UIDVALIDITY: with another one, UIDs mean other mails.
    pub validity: u32,
    /// The UID up to which everything was taken in.
    pub uid: u32,
}

impl Cursor {
    /// The cursor of a row; `None` before the first look.
    pub fn of(row: &Row) -> Option<Self> {
        Some(Self {
            validity: u32::try_from(row.uid_validity?).ok()?,
            uid: u32::try_from(row.last_uid?).ok()?,
        })
    }
}

/// Which mail the server did not hand out the last time, and how often in a row; `None` where it has handed out
/// every one that it was asked for since.
pub fn refused(row: &Row) -> Option<(Cursor, u32)> {
    let mail = Cursor {
        validity: u32::try_from(row.refused_validity?).ok()?,
        uid: u32::try_from(row.refused_uid?).ok()?,
    };
    Some((mail, u32::try_from(row.refusals).ok()?))
}

/// What a mailbox is, as it was written.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn place(row: &Row) -> Result<Inbox> {
    serde_json::from_value(row.place.clone()).map_err(|error| StoreError::corrupt("mailbox", error))
}

/// Writes down where a sender's mailbox is. Whoever reads it under the old words stops; what was read
/// counts on where `keeps_cursor` says that it is the same folder. Without a secret the login is by the
/// sender's grant.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn put(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
    (inbox, secret): (&Inbox, Option<&str>),
    keeps_cursor: bool,
) -> Result<()> {
    let place =
        serde_json::to_value(inbox).map_err(|error| StoreError::corrupt("mailbox", error))?;
    let arguments = Arguments::new()
        .with(sender.uuid())
        .with(workspace.uuid())
        .with(place)
        .with(secret.map(str::to_owned))
        .with(keeps_cursor);
    let statement = "INSERT INTO inbound_mailbox
             (sender_id, workspace_id, place, secret, revision, state, failures, refusals)
         VALUES ($1, $2, $3, $4, 1, 'WAITING', 0, 0)
         ON CONFLICT (sender_id) DO UPDATE SET place = excluded.place, secret = excluded.secret,
             revision = inbound_mailbox.revision + 1, state = 'WAITING', reason = NULL, failures = 0,
             retry_at = NULL, worker_id = NULL,
             refused_validity = NULL, refused_uid = NULL, refusals = 0,
             uid_validity = CASE WHEN $5 THEN inbound_mailbox.uid_validity END,
             last_uid = CASE WHEN $5 THEN inbound_mailbox.last_uid END,
             read_at = CASE WHEN $5 THEN inbound_mailbox.read_at END";
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// Lets a mailbox that is read by the sender's grant be opened anew at once. Whoever reads it, or tries to,
/// by the grant that was there before stops, and what it would note counts no more.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn try_at_once(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
) -> Result<()> {
    let statement = "UPDATE inbound_mailbox SET revision = revision + 1, state = 'WAITING',
             reason = NULL, failures = 0, retry_at = NULL, worker_id = NULL
         WHERE sender_id = $1 AND workspace_id = $2 AND secret IS NULL";
    let arguments = Arguments::new().with(sender.uuid()).with(workspace.uuid());
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// Takes a sender's mailbox away; `false` where it has none.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn remove(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
) -> Result<bool> {
    let statement = "DELETE FROM inbound_mailbox WHERE sender_id = $1 AND workspace_id = $2";
    let arguments = Arguments::new().with(sender.uuid()).with(workspace.uuid());
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// The mailboxes of these senders, in no order.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    senders: &[SenderId],
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(connection, senders.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT b.* FROM inbound_mailbox AS b WHERE b.sender_id {list} AND b.workspace_id = $1"
    );
    sql::all(connection, &statement, arguments).await
}

/// A mailbox that nobody reads.
#[derive(Debug, Clone, Copy, FromQueryResult)]
struct Free {
    sender_id: Uuid,
}

/// Whether somebody whose lease holds reads it, as a condition.
const IS_READ: &str = "EXISTS (SELECT 1 FROM worker AS w
     WHERE w.id = b.worker_id AND w.lease_until > $1)";

/// The mailboxes that nobody reads and that may be tried now, of all workspaces; at most `limit`, those
/// that have waited longest first.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn free(
    connection: &impl ConnectionTrait,
    now: DateTime<Utc>,
    limit: usize,
) -> Result<Vec<SenderId>> {
    let statement = format!(
        "SELECT b.sender_id FROM inbound_mailbox AS b
         WHERE (b.retry_at IS NULL OR b.retry_at <= $1) AND NOT {IS_READ}
         ORDER BY COALESCE(b.retry_at, 0), b.sender_id LIMIT {limit}"
    );
    let arguments = Arguments::new().with(now.timestamp_millis());
    let found: Vec<Free> = sql::all(connection, &statement, arguments).await?;
    Ok(found
        .into_iter()
        .map(|free| SenderId::from_uuid(free.sender_id))
        .collect())
}

/// Takes a mailbox for a worker, if it is still free; answers it.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn take(
    connection: &impl ConnectionTrait,
    sender: SenderId,
    worker: WorkerId,
    now: DateTime<Utc>,
) -> Result<Option<Row>> {
    let statement = format!(
        "UPDATE inbound_mailbox AS b SET worker_id = $2
         WHERE b.sender_id = $3 AND (b.retry_at IS NULL OR b.retry_at <= $1) AND NOT {IS_READ}
         RETURNING *"
    );
    let arguments = Arguments::new()
        .with(now.timestamp_millis())
        .with(worker.uuid())
        .with(sender.uuid());
    sql::one(connection, &statement, arguments).await
}

/// A mailbox as somebody has taken it: what is written under it counts only while it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Held {
    /// Whose it is.
    pub sender: SenderId,
    /// Who has taken it.
    pub worker: WorkerId,
    /// The revision under which it was taken.
    pub revision: i32,
}

impl Held {
    fn arguments(self) -> Arguments {
        Arguments::new()
            .with(self.sender.uuid())
            .with(self.worker.uuid())
            .with(self.revision)
    }
}

const STILL: &str = "sender_id = $1 AND worker_id = $2 AND revision = $3";

/// Whether it is still held, and its holder's lease holds.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn is_held(
    connection: &impl ConnectionTrait,
    held: Held,
    now: DateTime<Utc>,
) -> Result<bool> {
    let statement = format!(
        "SELECT count(*) AS n FROM inbound_mailbox WHERE {STILL}
             AND EXISTS (SELECT 1 FROM worker AS w WHERE w.id = $2 AND w.lease_until > $4)"
    );
    let arguments = held.arguments().with(now.timestamp_millis());
    Ok(sql::number(connection, &statement, arguments).await? == 1)
}

/// Writes how far it was read, by which it is read well so far; `false` where it is not held any more.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn advance(
    tx: &impl ConnectionTrait,
    held: Held,
    cursor: Cursor,
    now: DateTime<Utc>,
) -> Result<bool> {
    let statement = format!(
        "UPDATE inbound_mailbox SET uid_validity = $4, last_uid = $5, read_at = $6, failures = 0,
             refused_validity = NULL, refused_uid = NULL, refusals = 0
         WHERE {STILL}"
    );
    let arguments = held
        .arguments()
        .with(i64::from(cursor.validity))
        .with(i64::from(cursor.uid))
        .with(now.timestamp_millis());
    Ok(sql::execute(tx, &statement, arguments).await? == 1)
}

/// Notes that it is read well, and by which way new mail is heard of; `false` where it is not held any
/// more.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn note_well(
    connection: &impl ConnectionTrait,
    held: Held,
    state: InboxState,
) -> Result<bool> {
    let statement = format!(
        "UPDATE inbound_mailbox SET state = $4, reason = NULL, failures = 0, retry_at = NULL
         WHERE {STILL}"
    );
    let arguments = held.arguments().with(<&str>::from(state));
    Ok(sql::execute(connection, &statement, arguments).await? == 1)
}

/// Notes why it cannot be read and lets go of it until `retry_at`; `refused`: the mail that the server did not
/// hand out, where that is why.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn note_failed(
    connection: &impl ConnectionTrait,
    held: Held,
    (reason, refused): (&str, Option<Cursor>),
    retry_at: DateTime<Utc>,
) -> Result<()> {
    let mut arguments = held
        .arguments()
        .with(reason)
        .with(retry_at.timestamp_millis());
    let mut counted = "";
    if let Some(mail) = refused {
        counted = ", refused_validity = $6, refused_uid = $7, refusals = CASE
             WHEN refused_validity = $6 AND refused_uid = $7 THEN refusals + 1 ELSE 1 END";
        arguments = arguments
            .with(i64::from(mail.validity))
            .with(i64::from(mail.uid));
    }
    let statement = format!(
        "UPDATE inbound_mailbox SET state = 'FAILED', reason = $4, failures = failures + 1,
             retry_at = $5, worker_id = NULL{counted}
         WHERE {STILL}"
    );
    sql::execute(connection, &statement, arguments).await?;
    // Who waits for another time looks anew.
    dialect::notify(connection).await
}

/// Lets go of it, for anybody to go on.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn let_go(connection: &impl ConnectionTrait, held: Held) -> Result<()> {
    let statement = format!("UPDATE inbound_mailbox SET worker_id = NULL WHERE {STILL}");
    sql::execute(connection, &statement, held.arguments()).await?;
    Ok(())
}
