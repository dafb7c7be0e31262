//! Files that are coming in: their pieces lie where those of an import do, under the operation that the
//! file is to become, which is not there before the file is whole.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use crate::domain::id::{BulkId, WorkspaceId};
use crate::store::Result;
use crate::store::sql::{self, Arguments};

/// Notes that a file begins to come in.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn begin(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    now: DateTime<Utc>,
) -> Result<()> {
    let arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid())
        .with(now.timestamp_millis());
    let statement =
        "INSERT INTO upload (operation_id, workspace_id, touched_at) VALUES ($1, $2, $3)";
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// Notes that a piece has come; `false` if the file was given up meanwhile.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn touch(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid())
        .with(now.timestamp_millis());
    let statement =
        "UPDATE upload SET touched_at = $3 WHERE operation_id = $1 AND workspace_id = $2";
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// Notes that a file has come whole; `false` if it was given up meanwhile.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn end(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<bool> {
    let arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid());
    let statement = "DELETE FROM upload WHERE operation_id = $1 AND workspace_id = $2";
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// Forgets what came of files of which nothing has come since `before`: those who sent them are gone.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn sweep(tx: &impl ConnectionTrait, before: DateTime<Utc>) -> Result<()> {
    let before = before.timestamp_millis();
    // The mark first: whoever would still add a piece waits for it, and then finds it gone.
    let marked = "DELETE FROM upload WHERE touched_at < $1 RETURNING operation_id AS id";
    let gone = sql::ids(tx, marked, Arguments::new().with(before)).await?;
    if gone.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, gone);
    let statement = format!("DELETE FROM bulk_input WHERE operation_id {list}");
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}
