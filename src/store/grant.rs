//! The OAuth 2 grants of senders: what they are, their tokens, and who refreshes them.
//!
//! Refresh tokens rotate: the token server may take each of them once. So one refresh is made at a time,
//! by whoever has written its name into the row, and what it brings is kept in one statement, where the
//! tokens that it began with are still there.

use chrono::{DateTime, Utc};
use entity::sender_grant;
use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::sql::{self, Arguments};
use super::{Result, StoreError};
use crate::clock::from_ms;
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::oauth::{Grant, GrantState, Life};

/// A grant's row.
pub type Row = sender_grant::Model;

/// What a grant is, as it was written.
pub fn written(row: &Row) -> Grant {
    Grant {
        token_url: row.token_url.clone(),
        client_id: row.client_id.clone(),
        scope: row.scope.clone(),
    }
}

/// How a grant stands.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn state(row: &Row) -> Result<GrantState> {
    (row.state.parse()).map_err(|_| StoreError::corrupt("grant's state", &row.state))
}

/// The life of its access token.
pub fn life(row: &Row) -> Life {
    Life {
        since: row.refreshed_at.map(from_ms),
        until: row.expires_at.map(from_ms),
    }
}

/// Writes down a sender's grant, with its sealed tokens, in the place of what was there. Its `id` was never
/// used before: what was begun with another grant of the sender's is nothing to this one.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn put(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
    id: Uuid,
    (grant, sealed): (&Grant, &str),
) -> Result<()> {
    let arguments = Arguments::new()
        .with(sender.uuid())
        .with(workspace.uuid())
        .with(grant.token_url.as_str())
        .with(grant.client_id.as_str())
        .with(grant.scope.clone())
        .with(sealed)
        .with(id);
    let statement = "INSERT INTO sender_grant
             (sender_id, workspace_id, token_url, client_id, scope, tokens, grant_id, generation, state,
              failures)
         VALUES ($1, $2, $3, $4, $5, $6, $7, 1, 'WAITING', 0)
         ON CONFLICT (sender_id) DO UPDATE SET grant_id = excluded.grant_id,
             token_url = excluded.token_url, client_id = excluded.client_id,
             scope = excluded.scope, tokens = excluded.tokens,
             expires_at = NULL, refreshed_at = NULL, generation = sender_grant.generation + 1,
             refresher = NULL, refreshing_until = NULL, state = 'WAITING', problem = NULL,
             failures = 0, retry_at = NULL";
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// Takes a sender's grant away; `false` where it has none.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn remove(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
) -> Result<bool> {
    let statement = "DELETE FROM sender_grant WHERE sender_id = $1 AND workspace_id = $2";
    let arguments = Arguments::new().with(sender.uuid()).with(workspace.uuid());
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// Lets a token server that refused or failed be asked again at once; `false` where none did.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn try_at_once(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: SenderId,
) -> Result<bool> {
    let statement = "UPDATE sender_grant SET failures = 0, retry_at = NULL
         WHERE sender_id = $1 AND workspace_id = $2 AND (failures > 0 OR retry_at IS NOT NULL)";
    let arguments = Arguments::new().with(sender.uuid()).with(workspace.uuid());
    Ok(sql::execute(tx, statement, arguments).await? == 1)
}

/// The grants of these senders, in no order.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    senders: &[SenderId],
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(connection, senders.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT g.* FROM sender_grant AS g WHERE g.sender_id {list} AND g.workspace_id = $1"
    );
    sql::all(connection, &statement, arguments).await
}

/// A refresh under way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Refresh {
    /// Whose grant it is.
    pub sender: SenderId,
    /// The sender's workspace.
    pub workspace: WorkspaceId,
    /// The grant that it began with.
    pub grant: Uuid,
    /// The tokens that it began with.
    pub generation: i64,
    /// What tells it from any other.
    pub refresher: Uuid,
}

impl Refresh {
    /// The refresh of a grant as it was read.
    pub fn of(row: &Row, refresher: Uuid) -> Self {
        Self {
            sender: SenderId::from_uuid(row.sender_id),
            workspace: WorkspaceId::from_uuid(row.workspace_id),
            grant: row.grant_id,
            generation: row.generation,
            refresher,
        }
    }

    /// What [`SAME_TOKENS`] asks for.
    fn arguments(self) -> Arguments {
        Arguments::new()
            .with(self.sender.uuid())
            .with(self.workspace.uuid())
            .with(self.grant)
            .with(self.generation)
    }
}

const SAME_TOKENS: &str =
    "sender_id = $1 AND workspace_id = $2 AND grant_id = $3 AND generation = $4";

/// Begins a refresh; `false` where another one is under way, the tokens are others by now, or the token
/// server is to be left alone for a while, unless somebody `is_checking`. It is given up by everybody else
/// at `until`.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn begin(
    connection: &impl ConnectionTrait,
    refresh: Refresh,
    (now, until): (DateTime<Utc>, DateTime<Utc>),
    is_checking: bool,
) -> Result<bool> {
    let statement = format!(
        "UPDATE sender_grant SET refresher = $5, refreshing_until = $6
         WHERE {SAME_TOKENS} AND (refreshing_until IS NULL OR refreshing_until <= $7)
             AND ($8 OR retry_at IS NULL OR retry_at <= $7)"
    );
    let arguments = refresh
        .arguments()
        .with(refresh.refresher)
        .with(until.timestamp_millis())
        .with(now.timestamp_millis())
        .with(is_checking);
    Ok(sql::execute(connection, &statement, arguments).await? == 1)
}

/// Keeps what a refresh brought; `false` where the tokens are others by now, and nothing is kept. It counts
/// also where somebody else has begun another one meanwhile: what the old tokens were spent for must not
/// be lost.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn keep(
    connection: &impl ConnectionTrait,
    refresh: Refresh,
    sealed: &str,
    now: DateTime<Utc>,
    expires_at: Option<DateTime<Utc>>,
) -> Result<bool> {
    let statement = format!(
        "UPDATE sender_grant SET tokens = $5, refreshed_at = $6, expires_at = $7,
             generation = generation + 1, refresher = NULL, refreshing_until = NULL,
             state = 'READY', problem = NULL, failures = 0, retry_at = NULL
         WHERE {SAME_TOKENS}"
    );
    let arguments = refresh
        .arguments()
        .with(sealed)
        .with(now.timestamp_millis())
        .with(expires_at.map(|at| at.timestamp_millis()));
    Ok(sql::execute(connection, &statement, arguments).await? == 1)
}

/// What is noted of a refresh that brought no access token.
#[derive(Debug, Clone, Copy)]
pub struct Failure<'a> {
    /// How the grant stands: `FAILING` or `REFUSED`.
    pub state: GrantState,
    /// What happened, for people.
    pub problem: &'a str,
    /// Whether it makes the next pause longer.
    pub counts: bool,
    /// Before when nobody asks; `None` leaves it as it is.
    pub retry_at: Option<DateTime<Utc>>,
}

impl Failure<'_> {
    fn add_to(self, arguments: Arguments) -> Arguments {
        arguments
            .with(<&str>::from(self.state))
            .with(self.problem)
            .with(i32::from(self.counts))
            .with(self.retry_at.map(|at| at.timestamp_millis()))
    }
}

const NOTED: &str = "state = $5, problem = $6, failures = failures + $7,
             retry_at = COALESCE($8, retry_at), refresher = NULL, refreshing_until = NULL";

/// Keeps tokens that came without an access token that is of use, and notes why there is none; `false`
/// where the tokens are others by now. It counts as [`keep`] does.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn keep_without_access(
    connection: &impl ConnectionTrait,
    refresh: Refresh,
    sealed: &str,
    failure: Failure<'_>,
) -> Result<bool> {
    let statement = format!(
        "UPDATE sender_grant SET {NOTED}, tokens = $9, generation = generation + 1
         WHERE {SAME_TOKENS}"
    );
    let arguments = failure.add_to(refresh.arguments()).with(sealed);
    Ok(sql::execute(connection, &statement, arguments).await? == 1)
}

/// Notes that a refresh failed, and why; `false` where it is not under way any more, and nothing is noted.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn fail(
    connection: &impl ConnectionTrait,
    refresh: Refresh,
    failure: Failure<'_>,
) -> Result<bool> {
    let statement =
        format!("UPDATE sender_grant SET {NOTED} WHERE {SAME_TOKENS} AND refresher = $9");
    let arguments = failure.add_to(refresh.arguments()).with(refresh.refresher);
    Ok(sql::execute(connection, &statement, arguments).await? == 1)
}
