//! Workspaces, and what the installation is bound to.

use chrono::{DateTime, Utc};
use entity::{instance, workspace};
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::Result;
use super::sql::{self, Arguments};
use crate::domain::id::WorkspaceId;

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
