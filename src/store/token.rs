//! API tokens: rows that hold the hash of a secret, never the secret.

use chrono::{DateTime, Utc};
use entity::api_token;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, QueryFilter};

use super::Result;
use super::sql::{self, Arguments};
use crate::domain::id::{TokenId, WorkspaceId};

/// Enters a token with the hash of its secret.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    token: TokenId,
    role: &str,
    secret_hash: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    sql::execute(
        tx,
        "INSERT INTO api_token (id, workspace_id, role, secret_hash, created_at)
         VALUES ($1, $2, $3, $4, $5)",
        Arguments::new()
            .with(token.uuid())
            .with(workspace.uuid())
            .with(role)
            .with(secret_hash)
            .with(now.timestamp_millis()),
    )
    .await?;
    Ok(())
}

/// The token with this hash, if it is valid at `now`: one that is revoked or has expired is like
/// one that is not there. The only read that knows no workspace yet: it finds it.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn valid(
    connection: &impl ConnectionTrait,
    secret_hash: &str,
    now: DateTime<Utc>,
) -> Result<Option<api_token::Model>> {
    let row = api_token::Entity::find()
        .filter(api_token::Column::SecretHash.eq(secret_hash))
        .one(connection)
        .await?;
    let now = now.timestamp_millis();
    Ok(row.filter(|row| {
        row.revoked_at.is_none_or(|at| now < at) && row.expires_at.is_none_or(|at| now < at)
    }))
}
