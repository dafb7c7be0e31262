//! API tokens: rows that hold the hash of a secret, never the secret; and what they were used for.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use entity::api_token;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{TokenId, WorkspaceId};

/// A token as the database has it.
pub use entity::api_token::Model as Row;
/// A use as the database has it.
pub use entity::token_use::Model as Use;

/// Enters a token.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    api_token::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// The token with this hash, valid or not. The only read that knows no workspace yet: it finds it.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_hash(connection: &impl ConnectionTrait, hash: &str) -> Result<Option<Row>> {
    let found = api_token::Entity::find().filter(api_token::Column::SecretHash.eq(hash));
    Ok(found.one(connection).await?)
}

/// Whether a token is good for anything at `now`.
pub fn is_valid(row: &Row, now: DateTime<Utc>) -> bool {
    let now = now.timestamp_millis();
    row.revoked_at.is_none_or(|at| now < at) && row.expires_at.is_none_or(|at| now < at)
}

/// Those of the tokens that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[TokenId],
) -> Result<Vec<Row>> {
    Ok(api_token::Entity::find()
        .filter(api_token::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(api_token::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// Which of the tokens, of any workspace, are no longer good for anything at `now`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn over(
    connection: &impl ConnectionTrait,
    ids: &[TokenId],
    now: DateTime<Utc>,
) -> Result<Vec<TokenId>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = Arguments::new();
    let among = arguments.among(connection, ids.iter().map(|id| id.uuid()));
    let now = arguments.add(now.timestamp_millis());
    let statement = format!(
        "SELECT id FROM api_token WHERE id {among}
             AND (revoked_at IS NULL OR {now} < revoked_at)
             AND (expires_at IS NULL OR {now} < expires_at)"
    );
    let valid = sql::ids(connection, &statement, arguments).await?;
    let valid: HashSet<uuid::Uuid> = valid.into_iter().collect();
    let is_over = |id: &&TokenId| !valid.contains(&id.uuid());
    Ok(ids.iter().filter(is_over).copied().collect())
}

/// A page of a list that is in the order of its keys.
#[derive(Debug, Clone, Copy)]
pub struct Page<K> {
    /// Only what comes after this one.
    pub after: Option<K>,
    /// Only what comes before this one.
    pub before: Option<K>,
    /// The last ones instead of the first; they come in descending order.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

/// A page of the workspace's tokens, in the order in which they were made.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    page: Page<TokenId>,
) -> Result<Vec<Row>> {
    let mut found = api_token::Entity::find()
        .filter(api_token::Column::WorkspaceId.eq(workspace.uuid()))
        .limit(page.limit);
    if let Some(after) = page.after {
        found = found.filter(api_token::Column::Id.gt(after.uuid()));
    }
    if let Some(before) = page.before {
        found = found.filter(api_token::Column::Id.lt(before.uuid()));
    }
    found = if page.backward {
        found.order_by_desc(api_token::Column::Id)
    } else {
        found.order_by_asc(api_token::Column::Id)
    };
    Ok(found.all(connection).await?)
}

/// How many tokens the workspace has, valid or not.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<i64> {
    let statement = "SELECT count(*) AS n FROM api_token WHERE workspace_id = $1";
    sql::number(
        connection,
        statement,
        Arguments::new().with(workspace.uuid()),
    )
    .await
}

/// The token with this id, if it is the workspace's; it cannot change before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: TokenId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM api_token WHERE workspace_id = $1 AND id = $2 {}",
        dialect::for_update(tx, "api_token")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    sql::one(tx, &statement, arguments).await
}

/// Writes a token back; its row must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn save(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    row.into_active_model().reset_all().update(tx).await?;
    Ok(())
}

/// Adds uses to what is known of them, and notes when each token was last used.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn record_uses(tx: &impl ConnectionTrait, uses: &[Use]) -> Result<()> {
    for batch in sql::chunks(uses) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            batch.iter().map(|one| {
                [
                    one.token_id.into(),
                    one.day.as_str().into(),
                    one.address.as_str().into(),
                    one.workspace_id.into(),
                    one.requests.into(),
                    one.refused.into(),
                    one.first_at.into(),
                    one.last_at.into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO token_use
                 (token_id, day, address, workspace_id, requests, refused, first_at, last_at)
             {rows}
             ON CONFLICT (token_id, day, address) DO UPDATE SET
                 requests = token_use.requests + excluded.requests,
                 refused = token_use.refused + excluded.refused,
                 first_at = CASE WHEN excluded.first_at < token_use.first_at
                     THEN excluded.first_at ELSE token_use.first_at END,
                 last_at = CASE WHEN excluded.last_at > token_use.last_at
                     THEN excluded.last_at ELSE token_use.last_at END"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    let mut last: HashMap<uuid::Uuid, i64> = HashMap::new();
    for one in uses.iter().filter(|one| one.requests > 0) {
        let at = last.entry(one.token_id).or_insert(one.last_at);
        *at = (*at).max(one.last_at);
    }
    let mut last: Vec<(uuid::Uuid, i64)> = last.into_iter().collect();
    // Two nodes that note the same tokens lock them in the same order.
    last.sort();
    for batch in sql::chunks(&last) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            batch.iter().map(|(id, at)| [(*id).into(), (*at).into()]),
        );
        let statement = format!(
            "WITH v (id, at) AS ({rows})
             UPDATE api_token SET last_used_at = v.at FROM v
             WHERE api_token.id = v.id
               AND (api_token.last_used_at IS NULL OR api_token.last_used_at < v.at)"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// Forgets the uses of days before `day` (YYYY-MM-DD). Answers how many rows went.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn forget_uses(connection: &impl ConnectionTrait, day: &str) -> Result<u64> {
    let statement = "DELETE FROM token_use WHERE day < $1";
    sql::execute(connection, statement, Arguments::new().with(day)).await
}

/// A page of the uses of each of the tokens, the latest days first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn uses(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    token: TokenId,
    page: Page<(String, String)>,
) -> Result<Vec<Use>> {
    let mut arguments = Arguments::new().with(workspace.uuid()).with(token.uuid());
    let mut conditions = String::new();
    // The latest day comes first, and of a day the addresses in their order from the end.
    for (key, sign) in [(page.after, "<"), (page.before, ">")] {
        if let Some((day, address)) = key {
            let (day, address) = (arguments.add(day), arguments.add(address));
            conditions.push_str(&format!(" AND (day, address) {sign} ({day}, {address})"));
        }
    }
    let order = if page.backward { "ASC" } else { "DESC" };
    let statement = format!(
        "SELECT * FROM token_use WHERE workspace_id = $1 AND token_id = $2 {conditions}
         ORDER BY day {order}, address {order} LIMIT {}",
        page.limit
    );
    sql::all(connection, &statement, arguments).await
}
