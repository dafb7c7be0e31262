//! The keys that emails are signed with: their rows, and which sender signs by which.

use entity::dkim_key;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel,
    PaginatorTrait, QueryFilter, QueryOrder, QuerySelect,
};
use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{DkimKeyId, SenderId, WorkspaceId};

/// The most keys of a workspace: their list is read whole.
pub const KEYS_MAX: u64 = 200;

/// The id of the key by which a sender `d` signs: of those that are switched on the one of its domain, else
/// of the nearest domain above it, which receivers of DMARC take for the same unless told to be strict (RFC
/// 9989 §4.10.2).
pub(super) const SIGNS: &str = "(SELECT j.id FROM dkim_key j
    WHERE j.workspace_id = d.workspace_id AND j.enabled
        AND (j.domain = d.domain OR d.domain LIKE '%.' || j.domain)
    ORDER BY length(j.domain) DESC LIMIT 1)";

/// A key's row.
pub type Row = dkim_key::Model;

/// Enters a key. `false`: the workspace has one of the same domain and selector.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row) -> Result<bool> {
    let statement = "INSERT INTO dkim_key
            (id, workspace_id, domain, selector, secret, public_key, enabled, created_at, updated_at)
        VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9)
        ON CONFLICT (workspace_id, domain, selector) DO NOTHING";
    let arguments = Arguments::new()
        .with(row.id)
        .with(row.workspace_id)
        .with(row.domain)
        .with(row.selector)
        .with(row.secret)
        .with(row.public_key)
        .with(row.enabled)
        .with(row.created_at)
        .with(row.updated_at);
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// Writes a key back; its row must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn save(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    row.into_active_model().reset_all().update(tx).await?;
    Ok(())
}

/// Deletes a key; what it has signed stays good as long as its record is published.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn delete(tx: &impl ConnectionTrait, workspace: WorkspaceId, id: Uuid) -> Result<()> {
    let statement = "DELETE FROM dkim_key WHERE workspace_id = $1 AND id = $2";
    let arguments = Arguments::new().with(workspace.uuid()).with(id);
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// The workspace's keys, by domain, the oldest first; none of them changes before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_all(tx: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<Vec<Row>> {
    let statement = format!(
        "SELECT * FROM dkim_key WHERE workspace_id = $1 ORDER BY domain, id {}",
        dialect::for_update(tx, "dkim_key")
    );
    sql::all(tx, &statement, Arguments::new().with(workspace.uuid())).await
}

/// The workspace's keys, by domain, the oldest first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn list(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<Vec<Row>> {
    Ok(dkim_key::Entity::find()
        .filter(dkim_key::Column::WorkspaceId.eq(workspace.uuid()))
        .order_by_asc(dkim_key::Column::Domain)
        .order_by_asc(dkim_key::Column::Id)
        .limit(KEYS_MAX)
        .all(connection)
        .await?)
}

/// How many keys a workspace has.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<u64> {
    Ok(dkim_key::Entity::find()
        .filter(dkim_key::Column::WorkspaceId.eq(workspace.uuid()))
        .count(connection)
        .await?)
}

/// Those of the keys that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[DkimKeyId],
) -> Result<Vec<Row>> {
    Ok(dkim_key::Entity::find()
        .filter(dkim_key::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(dkim_key::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// Lets senders of a domain, and of those below it, that rest after trouble of their own try again.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn let_senders_try(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    domain: &str,
) -> Result<()> {
    let statement =
        "UPDATE sender SET unhealthy_until = NULL, unhealthy_reason = NULL, failures = 0
        WHERE workspace_id = $1 AND unhealthy_until IS NOT NULL
            AND (domain = $2 OR domain LIKE '%.' || $2)";
    let arguments = Arguments::new().with(workspace.uuid()).with(domain);
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// The keys by which the senders sign: for those that sign by none, nothing.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn of_senders(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    senders: &[SenderId],
) -> Result<Vec<(SenderId, Row)>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let among = arguments.among(connection, senders.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT d.id AS sender_id, k.* FROM sender d JOIN dkim_key k ON k.id = {SIGNS}
        WHERE d.workspace_id = $1 AND d.id {among}"
    );
    let rows: Vec<Signed> = sql::all(connection, &statement, arguments).await?;
    let read = |row: Signed| (SenderId::from_uuid(row.sender_id), row.key);
    Ok(rows.into_iter().map(read).collect())
}

#[derive(FromQueryResult)]
struct Signed {
    sender_id: Uuid,
    #[sea_orm(nested)]
    key: Row,
}
