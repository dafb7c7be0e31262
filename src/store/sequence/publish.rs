//! What publishing writes besides the sequence and its version: the lanes, and the leads whose step
//! or sender is gone. Everything about leads is a set statement over one step.
//!
//! Leads that a worker holds are left to it: whoever records keeps the sequence from being published
//! meanwhile, and so goes on by the new version or is seen here. A lead whose
//! message may or may not have left keeps its place until somebody settles that.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use crate::domain::id::{LeadId, SenderId, SequenceId, WorkspaceId};
use crate::store::claim::lock_leads_where;
use crate::store::lead::hold::FOR_STEP;
use crate::store::sql::{self, Arguments};
use crate::store::{Result, dialect};

/// How many rows go into one statement.
const ROWS_PER_STATEMENT: usize = 500;
/// The leads that publishing may move.
const MOVABLE: &str = "status IN ('ACTIVE', 'PAUSED') AND worker_id IS NULL
    AND (hold IS NULL OR hold <> 'UNCONFIRMED')";

/// How many unfinished leads of one sender stand at a step.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Standing {
    /// The step.
    pub step_key: String,
    /// Who sends their next message.
    pub sender_id: Option<Uuid>,
    /// All of them.
    pub leads: i64,
    /// Those that publishing may move.
    pub movable: i64,
}

/// Where the unfinished leads of a sequence stand.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn standing(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
) -> Result<Vec<Standing>> {
    let statement = format!(
        "SELECT step_key, sender_id, count(*) AS leads,
                CAST(sum(CASE WHEN {MOVABLE} THEN 1 ELSE 0 END) AS BIGINT) AS movable
         FROM lead
         WHERE workspace_id = $1 AND sequence_id = $2
           AND status IN ('ACTIVE', 'PAUSED') AND step_key IS NOT NULL
         GROUP BY step_key, sender_id"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    sql::all(connection, &statement, arguments).await
}

/// Gives a sequence the lanes of these senders. A sender that is not among them keeps its lane as
/// long as an unfinished lead is its own, once all were reassigned: one that a worker holds, one of
/// which nobody knows whether its message left, one that came back to a step which is gone. Whoever
/// claims it finds it another place.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn replace_lanes(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    senders: &[SenderId],
) -> Result<()> {
    sql::execute(
        tx,
        "DELETE FROM lane WHERE workspace_id = $1 AND sequence_id = $2 AND sender_id NOT IN (
             SELECT l.sender_id FROM lead l
             WHERE l.workspace_id = $1 AND l.sequence_id = $2 AND l.sender_id IS NOT NULL
               AND l.status IN ('ACTIVE', 'PAUSED'))",
        Arguments::new()
            .with(workspace.uuid())
            .with(sequence.uuid()),
    )
    .await?;
    for chunk in senders.chunks(ROWS_PER_STATEMENT) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|id| {
                [
                    id.uuid().into(),
                    sequence.uuid().into(),
                    workspace.uuid().into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO lane (sender_id, sequence_id, workspace_id) {rows}
             ON CONFLICT (sequence_id, sender_id) DO NOTHING"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// The leads of one step of one sequence.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The sequence.
    pub sequence: SequenceId,
    /// The step.
    pub step_key: &'a str,
}

impl Place<'_> {
    fn arguments(self) -> Arguments {
        Arguments::new()
            .with(self.workspace.uuid())
            .with(self.sequence.uuid())
            .with(self.step_key)
    }

    /// Changes the movable leads of the place, locked in the order of their ids, so that two
    /// statements over many leads never wait for each other. The arguments begin with
    /// [`Place::arguments`].
    async fn update(
        tx: &impl ConnectionTrait,
        assignments: &str,
        arguments: Arguments,
    ) -> Result<Vec<LeadId>> {
        let statement = format!(
            "WITH chosen AS MATERIALIZED (
                 SELECT id FROM lead
                 WHERE workspace_id = $1 AND sequence_id = $2 AND step_key = $3 AND {MOVABLE}
                 ORDER BY id {lock}
             )
             UPDATE lead SET {assignments} WHERE id IN (SELECT chosen.id FROM chosen)
             RETURNING id",
            lock = dialect::for_update(tx, "lead"),
        );
        let mut ids = sql::ids(tx, &statement, arguments).await?;
        ids.sort_unstable();
        Ok(ids.into_iter().map(LeadId::from_uuid).collect())
    }
}

/// Moves the leads of a step to another one. Their due time and the rest of a paused wait stay; a
/// lead that waited for data which the old step was missing is due now.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn move_leads(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    to: &str,
    now: DateTime<Utc>,
) -> Result<Vec<LeadId>> {
    let assignments = format!("step_key = $4, last_action_at = $5, {}", due_again("$5"));
    let arguments = place.arguments().with(to).with(now.timestamp_millis());
    Place::update(tx, &assignments, arguments).await
}

/// A lead that goes on is held by nothing any more; where it had no due time it has one now. Who
/// waited for nothing keeps its time.
fn due_again(now: &str) -> String {
    format!(
        "due_at = CASE WHEN hold IN {FOR_STEP} AND status <> 'PAUSED' THEN {now} ELSE due_at END,
         paused_rest_ms = CASE WHEN hold IN {FOR_STEP} AND status = 'PAUSED'
                               THEN 0 ELSE paused_rest_ms END,
         until_at = NULL,
         hold = NULL"
    )
}

/// Ends the sequence for the leads of a step.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn complete_leads(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<LeadId>> {
    let assignments = "status = 'COMPLETED', step_key = NULL, due_at = NULL, hold = NULL,
        paused_rest_ms = NULL, until_at = NULL, quiet_until = NULL, last_action_at = $4";
    Place::update(
        tx,
        assignments,
        place.arguments().with(now.timestamp_millis()),
    )
    .await
}

/// Stops the leads of a step with the reason `STEP_REMOVED`.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn stop_leads(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    now: DateTime<Utc>,
) -> Result<Vec<LeadId>> {
    let assignments = "status = 'STOPPED', stop_reason = 'STEP_REMOVED', due_at = NULL,
        hold = NULL, paused_rest_ms = NULL, until_at = NULL, quiet_until = NULL,
        last_action_at = $4";
    Place::update(
        tx,
        assignments,
        place.arguments().with(now.timestamp_millis()),
    )
    .await
}

/// Lets the leads go on that wait at a step which has changed: a new text may do without the data that
/// they miss, a new condition is asked from its beginning, and a task that is open stays so where the
/// step still gives one.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn release_held(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    now: DateTime<Utc>,
) -> Result<u64> {
    let which = format!(
        "workspace_id = $1 AND sequence_id = $2 AND step_key = $3
         AND hold IN {FOR_STEP} AND {MOVABLE}"
    );
    lock_leads_where(tx, &which, place.arguments()).await?;
    let statement = format!("UPDATE lead SET {} WHERE {which}", due_again("$4"));
    sql::execute(
        tx,
        &statement,
        place.arguments().with(now.timestamp_millis()),
    )
    .await
}

/// Gives the leads of a step whose sender is not among the step's `senders` another one, by their
/// bucket, as [`crate::domain::flow::CompiledStep::sender`] does; none where the step needs none. Who
/// has had messages gets none either: the engine gives it back to whoever wrote to it.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn reassign(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    senders: &[SenderId],
) -> Result<u64> {
    if senders.is_empty() {
        let which = "workspace_id = $1 AND sequence_id = $2 AND step_key = $3
             AND status IN ('ACTIVE', 'PAUSED') AND worker_id IS NULL AND sender_id IS NOT NULL";
        lock_leads_where(tx, which, place.arguments()).await?;
        let statement = format!("UPDATE lead SET sender_id = NULL WHERE {which}");
        return sql::execute(tx, &statement, place.arguments()).await;
    }
    let mut arguments = place.arguments();
    let mut cases = String::new();
    let mut list = Vec::new();
    for (index, sender) in senders.iter().enumerate() {
        let placeholder = arguments.add(sender.uuid());
        cases.push_str(&format!(" WHEN {index} THEN {placeholder}"));
        list.push(placeholder);
    }
    let which = format!(
        "workspace_id = $1 AND sequence_id = $2 AND step_key = $3
         AND status IN ('ACTIVE', 'PAUSED') AND worker_id IS NULL
         AND (sender_id IS NULL OR sender_id NOT IN ({}))",
        list.join(", "),
    );
    lock_leads_where(tx, &which, arguments.clone()).await?;
    let statement = format!(
        "UPDATE lead SET sender_id = CASE WHEN thread IS NULL THEN CASE bucket % {}{cases} END END
         WHERE {which}",
        senders.len(),
    );
    sql::execute(tx, &statement, arguments).await
}
