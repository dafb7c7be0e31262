//! Text messages, and what comes back of them.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::Result;
use super::inbound::Found;
use super::sql::{self, Arguments};
use crate::domain::id::{ExecutionId, LeadId, SenderId, WorkspaceId};

/// The message by this sender that somebody with this number answers: the latest to a lead that is under
/// way, else the latest since `since`.
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
    let statement = "SELECT e.id, e.lead_id FROM person AS p
             JOIN lead AS l ON l.person_id = p.id JOIN execution AS e ON e.lead_id = l.id
         WHERE p.workspace_id = $1 AND p.phone = $2 AND e.sender_id = $3
             AND e.status IN ('SENDING', 'SENT', 'DELIVERED', 'UNCONFIRMED')
             AND (l.status IN ('ACTIVE', 'PAUSED') OR e.started_at >= $4)
         ORDER BY CASE WHEN l.status IN ('ACTIVE', 'PAUSED') THEN 0 ELSE 1 END, e.id DESC LIMIT 1";
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(phone)
        .with(sender.uuid())
        .with(since.timestamp_millis());
    let found: Option<Row> = sql::one(connection, statement, arguments).await?;
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
