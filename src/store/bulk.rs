//! Bulk operations: their rows, their outcomes, the pieces of their input.
//!
//! What an operation does to its items is written elsewhere, in the same transaction that
//! [`advance`]s it here: an operation's counts, progress and outcomes always tell exactly what was
//! committed.

mod outcome;
pub mod seen;
pub mod undo;
pub mod upload;

use chrono::{DateTime, Utc};
use entity::bulk_operation;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QuerySelect, Value,
};

pub use self::outcome::{
    NewOutcome, OutcomeCount, OutcomePage, OutcomeRow, count_outcomes, done_after, insert_outcomes,
    outcome_counts, outcomes,
};
use super::sql::{self, Arguments};
use super::{Result, dialect, scope};
use crate::domain::bulk::{BulkKind, BulkStatus};
use crate::domain::id::{BulkId, TokenId, WorkerId, WorkspaceId};
use crate::domain::scope::SequenceScope;

/// A bulk operation's row.
pub type Row = bulk_operation::Model;

/// An operation `o` that nobody works on.
const FREE: &str = "o.status IN ('QUEUED', 'RUNNING')
    AND (o.worker_id IS NULL OR o.worker_id NOT IN (SELECT w.id FROM worker AS w))";
/// How many operations a worker takes at a time.
const CLAIM_MAX: usize = 16;

/// A bulk operation as it is submitted.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Its id.
    pub id: BulkId,
    /// What it does.
    pub kind: BulkKind,
    /// To what, and how.
    pub request: serde_json::Value,
    /// The key under which the same submission answers this operation.
    pub idempotency_key: Option<String>,
    /// What tells this submission from another under the same key.
    pub request_hash: String,
    /// The token that submitted it.
    pub token: TokenId,
    /// The sequences that it is limited to.
    pub scope: SequenceScope,
    /// The operation that it undoes, if it undoes one.
    pub undoes: Option<BulkId>,
}

/// Enters an operation that waits for its first chunk.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if the key is taken; otherwise as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: &NewOperation,
    now: DateTime<Utc>,
) -> Result<()> {
    let arguments = Arguments::new()
        .with(operation.id.uuid())
        .with(workspace.uuid())
        .with(<&str>::from(operation.kind))
        .with(Value::Json(Some(Box::new(operation.request.clone()))))
        .with(operation.idempotency_key.clone())
        .with(operation.request_hash.as_str())
        .with(operation.token.uuid())
        .with(scope::kept(&operation.scope))
        .with(operation.undoes.map(BulkId::uuid))
        .with(now.timestamp_millis());
    sql::execute(
        tx,
        "INSERT INTO bulk_operation (id, workspace_id, kind, status, processed, succeeded, skipped,
             failed, request, idempotency_key, request_hash, token_id, sequence_ids, undoes,
             created_at)
         VALUES ($1, $2, $3, 'QUEUED', 0, 0, 0, 0, $4, $5, $6, $7, $8, $9, $10)",
        arguments,
    )
    .await?;
    Ok(())
}

/// The operation under a key, whenever it was submitted.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_key(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    key: &str,
) -> Result<Option<Row>> {
    Ok(bulk_operation::Entity::find()
        .filter(bulk_operation::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(bulk_operation::Column::IdempotencyKey.eq(key))
        .one(connection)
        .await?)
}

/// Makes the key of an operation free for another one.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn free_key(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE bulk_operation SET idempotency_key = NULL WHERE workspace_id = $1 AND id = $2",
        Arguments::new()
            .with(workspace.uuid())
            .with(operation.uuid()),
    )
    .await?;
    Ok(())
}

/// The operation with this id, if it is the workspace's.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<Option<Row>> {
    Ok(find_many(connection, workspace, &[operation]).await?.pop())
}

/// How far an operation is: what changes of it while it is followed.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Look {
    status: String,
    processed: i64,
    total: Option<i64>,
}

impl Look {
    /// Whether it is what this row says too.
    pub fn is_of(&self, row: &Row) -> bool {
        (&self.status, self.processed, self.total) == (&row.status, row.processed, row.total)
    }
}

/// How far the operation with this id is, if it is the workspace's, without its request, which may be
/// long.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn look(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<Option<Look>> {
    let statement = "SELECT o.status, o.processed, o.total FROM bulk_operation AS o
         WHERE o.workspace_id = $1 AND o.id = $2";
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(operation.uuid());
    sql::one(connection, statement, arguments).await
}

/// Those of the operations that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operations: &[BulkId],
) -> Result<Vec<Row>> {
    Ok(bulk_operation::Entity::find()
        .filter(bulk_operation::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(bulk_operation::Column::Id.is_in(operations.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// Whether there are operations that nobody works on.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn any_free(connection: &impl ConnectionTrait) -> Result<bool> {
    let statement = format!("SELECT count(*) AS n FROM bulk_operation AS o WHERE {FREE}");
    Ok(sql::number(connection, &statement, Arguments::new()).await? > 0)
}

/// Takes operations that nobody works on, oldest first: those without a worker, and those whose
/// worker is gone. Answers the workspace and id of each one taken.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn claim(
    tx: &impl ConnectionTrait,
    worker: WorkerId,
) -> Result<Vec<(WorkspaceId, BulkId)>> {
    let statement = format!(
        "WITH free AS MATERIALIZED (
             SELECT o.id FROM bulk_operation AS o
             WHERE {FREE}
             ORDER BY o.created_at LIMIT {CLAIM_MAX} {lock}
         )
         UPDATE bulk_operation SET worker_id = $1 WHERE id IN (SELECT free.id FROM free)
         RETURNING id, workspace_id",
        lock = dialect::for_update_skip_locked(tx, "o"),
    );
    let arguments = Arguments::new().with(worker.uuid());
    let rows: Vec<Claimed> = sql::all(tx, &statement, arguments).await?;
    Ok(rows
        .into_iter()
        .map(|row| {
            (
                WorkspaceId::from_uuid(row.workspace_id),
                BulkId::from_uuid(row.id),
            )
        })
        .collect())
}

#[derive(sea_orm::FromQueryResult)]
struct Claimed {
    id: uuid::Uuid,
    workspace_id: uuid::Uuid,
}

/// Gives up everything that a worker holds, so that another one can go on at once.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn release(connection: &impl ConnectionTrait, worker: WorkerId) -> Result<()> {
    sql::execute(
        connection,
        "UPDATE bulk_operation SET worker_id = NULL
         WHERE worker_id = $1 AND status IN ('QUEUED', 'RUNNING')",
        Arguments::new().with(worker.uuid()),
    )
    .await?;
    Ok(())
}

/// The operation, if it is not over and `worker` holds it (`None`: nobody does); it cannot change
/// before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_open(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    worker: Option<WorkerId>,
) -> Result<Option<Row>> {
    let mut arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid());
    let held = match worker {
        Some(worker) => format!("worker_id = {}", arguments.add(worker.uuid())),
        None => "worker_id IS NULL".into(),
    };
    let statement = format!(
        "SELECT * FROM bulk_operation
         WHERE id = $1 AND workspace_id = $2 AND status IN ('QUEUED', 'RUNNING') AND {held} {}",
        dialect::for_update(tx, "bulk_operation")
    );
    sql::one(tx, &statement, arguments).await
}

/// How far an operation is after a chunk.
#[derive(Debug, Clone)]
pub struct Advance {
    /// Where it stands.
    pub status: BulkStatus,
    /// Items selected, where that is now known.
    pub total: Option<i64>,
    /// Items done since the last time, by their three counts.
    pub succeeded: i64,
    /// See `succeeded`.
    pub skipped: i64,
    /// See `succeeded`.
    pub failed: i64,
    /// Where the next chunk begins.
    pub progress: Option<serde_json::Value>,
    /// What went wrong, where it failed.
    pub error: Option<String>,
}

/// Notes how far an operation is; the operation must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn advance(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    advance: Advance,
    now: DateTime<Utc>,
) -> Result<()> {
    let finished_at = advance.status.is_final().then(|| now.timestamp_millis());
    let arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid())
        .with(<&str>::from(advance.status))
        .with(advance.total)
        .with(advance.succeeded)
        .with(advance.skipped)
        .with(advance.failed)
        .with(Value::Json(advance.progress.map(Box::new)))
        .with(advance.error)
        .with(now.timestamp_millis())
        .with(finished_at);
    sql::execute(
        tx,
        "UPDATE bulk_operation SET status = $3, total = COALESCE($4, total),
             processed = processed + $5 + $6 + $7, succeeded = succeeded + $5,
             skipped = skipped + $6, failed = failed + $7, progress = $8, error = $9,
             started_at = COALESCE(started_at, $10), finished_at = $11
         WHERE id = $1 AND workspace_id = $2",
        arguments,
    )
    .await?;
    Ok(())
}

/// Ends an operation before every item had its turn; waits for the chunk that is being committed.
/// `false` if it was over already or is not there.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn cancel(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    now: DateTime<Utc>,
) -> Result<bool> {
    let changed = sql::execute(
        tx,
        "UPDATE bulk_operation SET status = 'CANCELLED', finished_at = $3
         WHERE id = $1 AND workspace_id = $2 AND status IN ('QUEUED', 'RUNNING')",
        Arguments::new()
            .with(operation.uuid())
            .with(workspace.uuid())
            .with(now.timestamp_millis()),
    )
    .await?;
    Ok(changed == 1)
}

/// The operations of a workspace that were submitted with a token and are not over.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn open_of_token(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    token: TokenId,
) -> Result<Vec<BulkId>> {
    let open = bulk_operation::Entity::find()
        .filter(bulk_operation::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(bulk_operation::Column::TokenId.eq(token.uuid()))
        .filter(bulk_operation::Column::Status.is_in(["QUEUED", "RUNNING"]))
        .select_only()
        .column(bulk_operation::Column::Id);
    let ids: Vec<uuid::Uuid> = open.into_tuple().all(connection).await?;
    Ok(ids.into_iter().map(BulkId::from_uuid).collect())
}

/// Keeps a piece of an operation's input; pieces are numbered from 0.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert_input(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    ordinal: i32,
    content: &str,
) -> Result<()> {
    sql::execute(
        tx,
        "INSERT INTO bulk_input (operation_id, ordinal, workspace_id, content)
         VALUES ($1, $2, $3, $4)",
        Arguments::new()
            .with(operation.uuid())
            .with(ordinal)
            .with(workspace.uuid())
            .with(content),
    )
    .await?;
    Ok(())
}

/// A piece of an operation's input; `None` after the last one.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn input(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    ordinal: i32,
) -> Result<Option<String>> {
    #[derive(sea_orm::FromQueryResult)]
    struct Piece {
        content: String,
    }
    let piece: Option<Piece> = sql::one(
        connection,
        "SELECT content FROM bulk_input
         WHERE operation_id = $1 AND workspace_id = $2 AND ordinal = $3",
        Arguments::new()
            .with(operation.uuid())
            .with(workspace.uuid())
            .with(ordinal),
    )
    .await?;
    Ok(piece.map(|piece| piece.content))
}

/// Forgets an operation's input, and what it noted on the way.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn delete_input(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<()> {
    for table in ["bulk_input", "bulk_seen"] {
        let statement =
            format!("DELETE FROM {table} WHERE operation_id = $1 AND workspace_id = $2");
        let arguments = Arguments::new()
            .with(operation.uuid())
            .with(workspace.uuid());
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}
