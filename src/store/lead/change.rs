//! Many leads at once: held, let go on, taken out.
//!
//! Each change is one set statement over leads that the transaction has locked. The statements
//! follow the table of [`LeadState::apply`], and a test holds every status and hold against it.
//! Who works on a lead stays as it is: the worker finds out at its last look, or when it records.
//!
//! [`LeadState::apply`]: crate::domain::lead::LeadState::apply

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use super::hold::AWAITING;
use super::{Key, Scope};
use crate::domain::id::{LeadId, WorkspaceId};
use crate::domain::lead::{Happening, StopReason};
use crate::domain::scope::SequenceScope;
use crate::store::claim::{LEAD_COLUMNS, LeadRow};
use crate::store::sql::{self, Arguments};
use crate::store::{Result, dialect, lane};

/// What is done to many leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// They are held.
    Pause,
    /// They go on.
    Resume,
    /// They leave their sequence.
    Remove,
}

impl Change {
    /// What it is to the lead machine.
    pub const fn happening(self) -> Happening {
        match self {
            Self::Pause => Happening::Pause,
            Self::Resume => Happening::Resume,
            Self::Remove => Happening::Stop(StopReason::Removed),
        }
    }

    /// The statuses that take it, and what it sets; `$1` is now.
    fn statement(self) -> (&'static str, String) {
        match self {
            Self::Pause => (
                "status = 'ACTIVE'",
                format!(
                    "status = 'PAUSED', due_at = NULL, first_due_at = NULL,
                 paused_rest_ms = CASE
                     WHEN hold IN {AWAITING}
                         THEN CASE WHEN until_at > $1 THEN until_at - $1
                                   WHEN until_at IS NOT NULL THEN 0 END
                     WHEN due_at IS NULL THEN NULL
                     WHEN due_at > $1 THEN due_at - $1 ELSE 0 END,
                 until_at = NULL"
                ),
            ),
            Self::Resume => (
                "status = 'PAUSED'",
                format!(
                    "status = 'ACTIVE', paused_rest_ms = NULL,
                 due_at = CASE WHEN hold IN {AWAITING} THEN $1
                               ELSE $1 + paused_rest_ms END,
                 until_at = CASE WHEN hold IN {AWAITING}
                                 THEN $1 + paused_rest_ms END"
                ),
            ),
            Self::Remove => (UNDER_WAY, stopped(StopReason::Removed)),
        }
    }
}

const UNDER_WAY: &str = "status IN ('ACTIVE', 'PAUSED')";

fn stopped(reason: StopReason) -> String {
    format!(
        "status = 'STOPPED', stop_reason = '{reason}', due_at = NULL, hold = NULL,
                 paused_rest_ms = NULL, until_at = NULL, quiet_until = NULL,
                 anchor_at = $1, last_action_at = $1"
    )
}

/// Those of the leads that are the workspace's and that a scope admits, by id; they cannot change before this transaction
/// ends. In the order of their ids, so that two operations never wait for each other in a circle.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    scope: &SequenceScope,
    ids: &[LeadId],
) -> Result<Vec<LeadRow>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(tx, ids.iter().map(|id| id.uuid()));
    let mut which = format!("l.workspace_id = $1 AND l.id {list}");
    if let Some(sequences) = scope.sequences() {
        let list = arguments.list(sequences.iter().map(|id| id.uuid()));
        let sequence = dialect::unindexed(tx.get_database_backend(), "l.sequence_id");
        which.push_str(&format!(" AND {sequence} IN ({list})"));
    }
    lane::keep_sequences_of(tx, &which, arguments.clone()).await?;
    let statement = format!(
        "SELECT {LEAD_COLUMNS} FROM lead l WHERE {which} ORDER BY l.id {}",
        dialect::for_update(tx, "l")
    );
    sql::all(tx, &statement, arguments).await
}

/// Changes leads that are locked by this transaction and whose status takes the change.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn apply(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    change: Change,
    ids: &[LeadId],
    now: DateTime<Utc>,
) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let (from, set) = change.statement();
    let mut arguments = Arguments::new()
        .with(now.timestamp_millis())
        .with(workspace.uuid());
    let list = arguments.among(tx, ids.iter().map(|id| id.uuid()));
    let statement =
        format!("UPDATE lead SET {set} WHERE workspace_id = $2 AND id {list} AND {from}");
    sql::execute(tx, &statement, arguments).await
}

/// Takes leads out as if they had never been enrolled; they are locked by this transaction and under way.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn withdraw(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[LeadId],
    now: DateTime<Utc>,
) -> Result<u64> {
    if ids.is_empty() {
        return Ok(0);
    }
    let mut arguments = Arguments::new()
        .with(now.timestamp_millis())
        .with(workspace.uuid());
    let list = arguments.among(tx, ids.iter().map(|id| id.uuid()));
    let statement = format!(
        "UPDATE lead SET {} WHERE workspace_id = $2 AND id {list} AND {UNDER_WAY}",
        stopped(StopReason::EnrolmentUndone)
    );
    sql::execute(tx, &statement, arguments).await
}

/// When a lead is due and what it waits for, as it was before it was paused: its due time, and when what
/// it waits for in its step is given up; both in milliseconds since the Unix epoch.
pub type Plan = (LeadId, Option<i64>, Option<i64>);

/// Gives leads that were resumed in this transaction the times that they had before they were paused. One
/// that waits in its step is asked again at once all the same.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn replan(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    plans: &[Plan],
) -> Result<()> {
    if plans.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new().with(workspace.uuid());
    let rows = plans.iter().map(|(id, due_at, until_at)| -> [Value; 3] {
        [id.uuid().into(), (*due_at).into(), (*until_at).into()]
    });
    let rows = arguments.table(tx, rows);
    let statement = format!(
        "WITH v (id, due_at, until_at) AS ({rows})
         UPDATE lead SET until_at = v.until_at,
             due_at = CASE WHEN lead.hold IN {AWAITING} THEN lead.due_at ELSE v.due_at END
         FROM v WHERE lead.id = v.id AND lead.workspace_id = $1 AND lead.status = 'ACTIVE'"
    );
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// Gives leads that were paused in this transaction the rests of their waits, in milliseconds, that they
/// had before they were resumed.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn keep_rests(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    rests: &[(LeadId, Option<i64>)],
) -> Result<()> {
    if rests.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new().with(workspace.uuid());
    let rows = rests
        .iter()
        .map(|(id, rest)| -> [Value; 2] { [id.uuid().into(), (*rest).into()] });
    let rows = arguments.table(tx, rows);
    let statement = format!(
        "WITH v (id, rest) AS ({rows})
         UPDATE lead SET paused_rest_ms = v.rest
         FROM v WHERE lead.id = v.id AND lead.workspace_id = $1 AND lead.status = 'PAUSED'"
    );
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// Which of the leads have a message that is being sent and perhaps cannot be held back any more.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn sending(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[LeadId],
) -> Result<Vec<Uuid>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(tx, ids.iter().map(|id| id.uuid()));
    let workspace = dialect::unindexed(tx.get_database_backend(), "e.workspace_id");
    let statement = format!(
        "SELECT e.lead_id AS id FROM execution AS e
         WHERE {workspace} = $1 AND e.lead_id {list} AND e.status = 'SENDING'"
    );
    sql::ids(tx, &statement, arguments).await
}

/// The next leads in a scope, in the order in which they were enrolled.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn next(
    tx: &impl ConnectionTrait,
    scope: &Scope<'_>,
    after: Option<Key>,
    limit: usize,
) -> Result<Vec<Key>> {
    let mut arguments = Arguments::new();
    let mut conditions = scope.condition(tx.get_database_backend(), &mut arguments);
    if let Some(key) = after {
        let (at, id) = (arguments.add(key.at), arguments.add(key.id.uuid()));
        conditions.push_str(&format!(" AND (l.enrolled_at, l.id) > ({at}, {id})"));
    }
    let statement = format!(
        "SELECT l.enrolled_at AS at, l.id FROM lead AS l WHERE {conditions}
         ORDER BY l.enrolled_at, l.id LIMIT {limit}"
    );
    let rows: Vec<Place> = sql::all(tx, &statement, arguments).await?;
    Ok(rows
        .into_iter()
        .map(|row| Key {
            at: row.at,
            id: LeadId::from_uuid(row.id),
        })
        .collect())
}

#[derive(sea_orm::FromQueryResult)]
struct Place {
    at: i64,
    id: Uuid,
}
