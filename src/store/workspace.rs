//! Workspaces, and what the installation is bound to.

use chrono::{DateTime, Utc};
use entity::{instance, workspace};
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
};

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::WorkspaceId;

/// A workspace's row.
pub type Row = workspace::Model;

/// Makes a workspace with an empty event log.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if the name is taken; otherwise as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    name: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sql::execute(
        tx,
        "INSERT INTO workspace (id, name, time_zone, created_at) VALUES ($1, $2, 'UTC', $3)",
        Arguments::new()
            .with(workspace.uuid())
            .with(name)
            .with(now.timestamp_millis()),
    )
    .await?;
    sql::execute(
        tx,
        "INSERT INTO event_counter (workspace_id, last_seq) VALUES ($1, 0)",
        Arguments::new().with(workspace.uuid()),
    )
    .await?;
    Ok(())
}

/// The workspace of this name.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_name(connection: &impl ConnectionTrait, name: &str) -> Result<Option<WorkspaceId>> {
    let row = workspace::Entity::find()
        .filter(workspace::Column::Name.eq(name))
        .one(connection)
        .await?;
    Ok(row.map(|row| WorkspaceId::from_uuid(row.id)))
}

/// Every workspace of the installation.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn all_ids(connection: &impl ConnectionTrait) -> Result<Vec<WorkspaceId>> {
    let all = "SELECT id FROM workspace ORDER BY id";
    let ids = sql::ids(connection, all, Arguments::new()).await?;
    Ok(ids.into_iter().map(WorkspaceId::from_uuid).collect())
}

/// The workspace with its limits, if it is there.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find(connection: &impl ConnectionTrait, id: WorkspaceId) -> Result<Option<Row>> {
    Ok(workspace::Entity::find_by_id(id.uuid())
        .one(connection)
        .await?)
}

/// The same; it cannot change before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(tx: &impl ConnectionTrait, id: WorkspaceId) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM workspace WHERE id = $1 {}",
        dialect::for_update(tx, "workspace")
    );
    sql::one(tx, &statement, Arguments::new().with(id.uuid())).await
}

/// Writes a workspace back; its row must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if another workspace has the name; otherwise as the database has
/// it.
pub async fn update(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    row.into_active_model().reset_all().update(tx).await?;
    Ok(())
}

/// Binds this installation to a key, if it is not bound to one yet, and answers the fingerprint of
/// the key that it is bound to.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn bind_key(connection: &impl ConnectionTrait, fingerprint: &str) -> Result<String> {
    sql::execute(
        connection,
        "INSERT INTO instance (id, key_fingerprint) VALUES (1, $1) ON CONFLICT (id) DO NOTHING",
        Arguments::new().with(fingerprint),
    )
    .await?;
    let row = instance::Entity::find_by_id(1).one(connection).await?;
    Ok(row.map(|row| row.key_fingerprint).unwrap_or_default())
}

/// The fingerprint of the key that this installation is bound to; none before its first start.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn bound_key(connection: &impl ConnectionTrait) -> Result<Option<String>> {
    let row = instance::Entity::find_by_id(1).one(connection).await?;
    Ok(row.map(|row| row.key_fingerprint))
}

/// Asks the database for a sign of life.
///
/// # Errors
/// [`super::StoreError`] where it gives none.
pub async fn ping(connection: &impl ConnectionTrait) -> Result<()> {
    sql::number(
        connection,
        "SELECT CAST(1 AS BIGINT) AS n",
        Arguments::new(),
    )
    .await?;
    Ok(())
}
