//! Webhook subscriptions: their rows, who delivers, and how far that is.
//!
//! A subscription is delivered by one worker at a time. Whoever takes it, and whoever changes it, counts
//! its `turn` up; what is written down after a delivery is written only where the turn is still the same,
//! so that of two who deliver nothing but the last one counts.

use chrono::{DateTime, Utc};
use entity::webhook_subscription;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{WebhookId, WorkerId, WorkspaceId};
use crate::domain::webhook::SwitchedOff;

/// The most subscriptions of a workspace: their list is read whole.
pub const SUBSCRIPTIONS_MAX: u64 = 50;

/// A subscription's row.
pub type Row = webhook_subscription::Model;

/// A subscription `s` for which there is something in the log of `c`, and whom nobody delivers. What is
/// due is a parameter of its own.
const FREE: &str = "s.switched_off IS NULL AND s.after_seq < c.last_seq
    AND (s.worker_id IS NULL OR s.worker_id NOT IN (SELECT w.id FROM worker AS w))
    AND (s.retry_at IS NULL OR s.retry_at <= $1)";

/// Enters a subscription.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    webhook_subscription::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Writes a subscription back, takes it from whoever delivers, and answers it as it is then; its row must
/// be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn change(tx: &impl ConnectionTrait, mut row: Row) -> Result<Row> {
    row.turn += 1;
    row.worker_id = None;
    row.clone()
        .into_active_model()
        .reset_all()
        .update(tx)
        .await?;
    Ok(row)
}

/// Deletes a subscription. `false`: the workspace has none with this id.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn delete(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: WebhookId,
) -> Result<bool> {
    let statement = "DELETE FROM webhook_subscription WHERE workspace_id = $1 AND id = $2";
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// The subscription, if it is the workspace's. It cannot change before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: WebhookId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM webhook_subscription WHERE workspace_id = $1 AND id = $2 {}",
        dialect::for_update(tx, "webhook_subscription")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    sql::one(tx, &statement, arguments).await
}

/// How many subscriptions a workspace has.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<u64> {
    Ok(webhook_subscription::Entity::find()
        .filter(webhook_subscription::Column::WorkspaceId.eq(workspace.uuid()))
        .count(connection)
        .await?)
}

/// The workspace's subscriptions, in the order in which they were made.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn list(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<Vec<Row>> {
    Ok(webhook_subscription::Entity::find()
        .filter(webhook_subscription::Column::WorkspaceId.eq(workspace.uuid()))
        .order_by_asc(webhook_subscription::Column::Id)
        .limit(SUBSCRIPTIONS_MAX)
        .all(connection)
        .await?)
}

/// Those of the subscriptions that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[WebhookId],
) -> Result<Vec<Row>> {
    Ok(webhook_subscription::Entity::find()
        .filter(webhook_subscription::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(webhook_subscription::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// A subscription that a worker delivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Held {
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// Which one.
    pub id: WebhookId,
    /// The turn; whoever has another one has it no more.
    pub turn: i64,
}

/// Whether there is a subscription for which something is in the log that nobody delivers.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn any_free(connection: &impl ConnectionTrait, now: DateTime<Utc>) -> Result<bool> {
    let statement = format!(
        "SELECT s.id FROM webhook_subscription AS s
         JOIN event_counter AS c ON c.workspace_id = s.workspace_id
         WHERE {FREE} LIMIT 1"
    );
    let arguments = Arguments::new().with(now.timestamp_millis());
    Ok(!sql::ids(connection, &statement, arguments)
        .await?
        .is_empty())
}

/// When the next delivery that failed is tried again.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn next_retry(
    connection: &impl ConnectionTrait,
    now: DateTime<Utc>,
) -> Result<Option<i64>> {
    #[derive(FromQueryResult)]
    struct Next {
        at: Option<i64>,
    }
    let next: Option<Next> = sql::one(
        connection,
        "SELECT min(s.retry_at) AS at FROM webhook_subscription AS s
         WHERE s.switched_off IS NULL AND s.retry_at > $1",
        Arguments::new().with(now.timestamp_millis()),
    )
    .await?;
    Ok(next.and_then(|next| next.at))
}

/// Takes at most `limit` subscriptions for which something is in the log that nobody delivers: those first
/// that were taken the longest ago.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn claim(
    tx: &impl ConnectionTrait,
    worker: WorkerId,
    limit: usize,
    now: DateTime<Utc>,
) -> Result<Vec<Held>> {
    #[derive(FromQueryResult)]
    struct Claimed {
        id: Uuid,
        workspace_id: Uuid,
        turn: i64,
    }
    let statement = format!(
        "WITH free AS MATERIALIZED (
             SELECT s.id FROM webhook_subscription AS s
             JOIN event_counter AS c ON c.workspace_id = s.workspace_id
             WHERE {FREE}
             ORDER BY COALESCE(s.taken_at, 0), s.turn, s.id LIMIT {limit} {lock}
         )
         UPDATE webhook_subscription SET worker_id = $2, turn = turn + 1, taken_at = $1
         WHERE id IN (SELECT free.id FROM free) RETURNING id, workspace_id, turn",
        lock = dialect::for_update_skip_locked(tx, "s"),
    );
    let arguments = Arguments::new()
        .with(now.timestamp_millis())
        .with(worker.uuid());
    let rows: Vec<Claimed> = sql::all(tx, &statement, arguments).await?;
    Ok(rows
        .into_iter()
        .map(|row| Held {
            workspace: WorkspaceId::from_uuid(row.workspace_id),
            id: WebhookId::from_uuid(row.id),
            turn: row.turn,
        })
        .collect())
}

/// The subscription, where it is still held so; `None` where somebody has changed, deleted or taken it.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn held(connection: &impl ConnectionTrait, held: Held) -> Result<Option<Row>> {
    let (condition, arguments) = still(held);
    let statement = format!("SELECT * FROM webhook_subscription WHERE {condition}");
    sql::one(connection, &statement, arguments).await
}

/// What a row must be for whoever holds it so.
fn still(held: Held) -> (&'static str, Arguments) {
    let arguments = Arguments::new()
        .with(held.workspace.uuid())
        .with(held.id.uuid())
        .with(held.turn);
    (
        "workspace_id = $1 AND id = $2 AND turn = $3 AND switched_off IS NULL",
        arguments,
    )
}

/// Notes that everything up to number `reached` is delivered, and was at `delivered_at` where there was
/// something to deliver; `leaves`: and that this worker delivers no more. `false`: it is not held so any
/// more, and nothing is noted.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn advance(
    connection: &impl ConnectionTrait,
    held: Held,
    reached: i64,
    delivered_at: Option<DateTime<Utc>>,
    leaves: bool,
) -> Result<bool> {
    let (condition, arguments) = still(held);
    let delivered = if delivered_at.is_some() {
        "last_success_at = $5, failures = 0, failing_since = NULL, retry_at = NULL,"
    } else {
        ""
    };
    let leaving = if leaves { "worker_id = NULL," } else { "" };
    let statement = format!(
        "UPDATE webhook_subscription SET {delivered} {leaving} after_seq = $4 WHERE {condition}"
    );
    let mut arguments = arguments.with(reached);
    if let Some(at) = delivered_at {
        arguments = arguments.with(at.timestamp_millis());
    }
    Ok(sql::execute(connection, &statement, arguments).await? == 1)
}

/// Gives up a subscription that was held so, so that the next one takes it.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn release(connection: &impl ConnectionTrait, held: Held) -> Result<()> {
    let (condition, arguments) = still(held);
    let statement = format!("UPDATE webhook_subscription SET worker_id = NULL WHERE {condition}");
    sql::execute(connection, &statement, arguments).await?;
    Ok(())
}

/// What became of a delivery that failed.
#[derive(Debug, Clone)]
pub struct Failed {
    /// When.
    pub at: DateTime<Utc>,
    /// When it is tried again, where it is.
    pub retry_at: Option<DateTime<Utc>>,
    /// Why nothing is tried any more, where it is not.
    pub switched_off: Option<SwitchedOff>,
    /// What happened, for people.
    pub message: String,
}

/// Notes a delivery that failed, and gives the subscription up. `false`: it is not held so any more, and
/// nothing is noted.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn fail(tx: &impl ConnectionTrait, held: Held, failed: &Failed) -> Result<bool> {
    let (condition, arguments) = still(held);
    let arguments = arguments
        .with(failed.at.timestamp_millis())
        .with(failed.retry_at.map(|at| at.timestamp_millis()))
        .with(failed.switched_off.map(<&str>::from))
        .with(failed.message.as_str());
    let statement = format!(
        "UPDATE webhook_subscription SET failures = failures + 1,
             failing_since = COALESCE(failing_since, $4), last_failure_at = $4, retry_at = $5,
             switched_off = $6, last_failure = $7, worker_id = NULL
         WHERE {condition}"
    );
    Ok(sql::execute(tx, &statement, arguments).await? == 1)
}
