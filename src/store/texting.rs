//! Text messages, and what comes back of them.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::inbound::Found;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{ExecutionId, LeadId, SenderId, WorkspaceId};

/// The message by this sender that somebody with this number answers: the latest to a lead that is under
/// way, else the latest since `since`; one that went to this number rather than one to somebody who has the
/// number by now.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn answered(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
    phone: &str,
    since: DateTime<Utc>,
) -> Result<Option<Found>> {
    #[derive(FromQueryResult)]
    struct Row {
        id: Uuid,
        lead_id: Uuid,
    }
    let of_workspace = dialect::unindexed(connection.get_database_backend(), "e.workspace_id");
    let is_answered = "e.status IN ('SENDING', 'SENT', 'DELIVERED', 'UNCONFIRMED')
             AND (l.status IN ('ACTIVE', 'PAUSED') OR e.started_at >= $4)";
    let is_over = "CASE WHEN l.status IN ('ACTIVE', 'PAUSED') THEN 0 ELSE 1 END AS is_over";
    let statement = format!(
        "SELECT f.id, f.lead_id FROM (
             SELECT e.id, e.lead_id, 0 AS has_moved, {is_over}
             FROM execution AS e JOIN lead AS l ON l.id = e.lead_id
             WHERE e.to_key = $2 AND e.sender_id = $3 AND e.channel IN ('SMS', 'WHATSAPP')
                 AND {of_workspace} = $1 AND {is_answered}
             UNION ALL
             SELECT e.id, e.lead_id, 1 AS has_moved, {is_over}
             FROM person AS p JOIN lead AS l ON l.person_id = p.id
                 JOIN execution AS e ON e.lead_id = l.id
             WHERE p.workspace_id = $1 AND p.phone = $2 AND e.sender_id = $3 AND {is_answered}
         ) AS f
         ORDER BY f.is_over, f.has_moved, f.id DESC LIMIT 1"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(phone)
        .with(sender.uuid())
        .with(since.timestamp_millis());
    let found: Option<Row> = sql::one(connection, &statement, arguments).await?;
    Ok(found.map(|row| Found {
        lead: LeadId::from_uuid(row.lead_id),
        execution: Some(ExecutionId::from_uuid(row.id)),
    }))
}

/// Notes that a message has arrived; `false` where that is known, or where it came back.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn note_arrived(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    execution: ExecutionId,
) -> Result<bool> {
    let statement = "UPDATE execution SET status = 'DELIVERED'
         WHERE id = $1 AND workspace_id = $2 AND status = 'SENT' AND NOT bounced";
    let arguments = Arguments::new()
        .with(execution.uuid())
        .with(workspace.uuid());
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// Notes that the contact has read a message; `false` where that is known.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn note_read(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    execution: ExecutionId,
    at: DateTime<Utc>,
) -> Result<bool> {
    let statement = "UPDATE execution SET read_at = $3
         WHERE id = $1 AND workspace_id = $2 AND read_at IS NULL";
    let arguments = Arguments::new()
        .with(execution.uuid())
        .with(workspace.uuid())
        .with(at.timestamp_millis());
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// The message by this sender to this number of which nobody knows whether it left, if it is the only one that
/// can have: whoever answers has got one.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn only_unconfirmed(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
    phone: &str,
) -> Result<Option<ExecutionId>> {
    #[derive(FromQueryResult)]
    struct Row {
        id: Uuid,
        status: String,
    }
    let of_workspace = dialect::unindexed(connection.get_database_backend(), "e.workspace_id");
    let statement = format!(
        "SELECT e.id, e.status FROM execution AS e
         WHERE e.to_key = $2 AND e.sender_id = $3 AND e.channel IN ('SMS', 'WHATSAPP')
             AND {of_workspace} = $1
             AND e.status IN ('SENDING', 'SENT', 'DELIVERED', 'UNCONFIRMED') LIMIT 2"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(phone)
        .with(sender.uuid());
    let rows: Vec<Row> = sql::all(connection, &statement, arguments).await?;
    Ok(match &rows[..] {
        [row] if row.status == "UNCONFIRMED" => Some(ExecutionId::from_uuid(row.id)),
        _ => None,
    })
}

/// What a provider told of a message before it was known that the message had left.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct EarlyReceipt {
    /// The message's execution.
    pub execution_id: Uuid,
    /// What was told ([`crate::domain::texting::Receipt::parts`]).
    pub kind: String,
    /// The provider's code for why.
    pub code: Option<i64>,
    /// The sender that it was told to.
    pub sender_id: Uuid,
}

/// Keeps what a provider told too early, each kind of it once.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep_early(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    early: &EarlyReceipt,
    now: DateTime<Utc>,
) -> Result<()> {
    let statement = "INSERT INTO early_receipt
             (execution_id, kind, workspace_id, sender_id, code, received_at)
         VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (execution_id, kind) DO NOTHING";
    let arguments = Arguments::new()
        .with(early.execution_id)
        .with(early.kind.as_str())
        .with(workspace.uuid())
        .with(early.sender_id)
        .with(early.code)
        .with(now.timestamp_millis());
    sql::execute(connection, statement, arguments).await?;
    Ok(())
}

/// How many of them are taken up at a time.
const EARLY_MAX: u32 = 100;

/// Those whose messages are not on their way any more, in the order in which they came.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn early_to_take(connection: &impl ConnectionTrait) -> Result<Vec<EarlyReceipt>> {
    let statement = format!(
        "SELECT r.execution_id, r.kind, r.code, r.sender_id
         FROM early_receipt AS r LEFT JOIN execution AS e ON e.id = r.execution_id
         WHERE e.id IS NULL OR e.status <> 'SENDING'
         ORDER BY r.received_at, r.execution_id LIMIT {EARLY_MAX}"
    );
    sql::all(connection, &statement, Arguments::new()).await
}

/// Lets go of one that was taken up.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn drop_early(connection: &impl ConnectionTrait, early: &EarlyReceipt) -> Result<()> {
    let statement = "DELETE FROM early_receipt WHERE execution_id = $1 AND kind = $2";
    let arguments = Arguments::new()
        .with(early.execution_id)
        .with(early.kind.as_str());
    sql::execute(connection, statement, arguments).await?;
    Ok(())
}

/// Notes why a message that had left did not arrive; what is noted already stays.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn note_error(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    execution: ExecutionId,
    (code, message): (&str, &str),
) -> Result<()> {
    let statement = "UPDATE execution SET error_code = $3, error_message = $4
         WHERE id = $1 AND workspace_id = $2 AND error_code IS NULL";
    let arguments = Arguments::new()
        .with(execution.uuid())
        .with(workspace.uuid())
        .with(code)
        .with(message);
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}
