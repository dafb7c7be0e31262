//! What publishing writes besides the sequence and its version: the lanes, and the leads whose step
//! or sender is gone. Everything about leads is a set statement over one step.
//!
//! Leads that a worker holds are left to it: whoever records keeps the sequence from being published
//! meanwhile, and so goes on by the new version or is seen here. A lead whose
//! message may or may not have left keeps its place until somebody settles that.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::domain::id::{LeadId, SenderId, SequenceId, WorkspaceId};
use crate::store::lead::hold::{AWAITING, FOR_STEP};
use crate::store::sql::{self, Arguments};
use crate::store::{Result, dialect};

/// How many rows go into one statement.
const ROWS_PER_STATEMENT: usize = 500;
/// The leads that publishing may move.
const MOVABLE: &str = "status IN ('ACTIVE', 'PAUSED') AND worker_id IS NULL
    AND (hold IS NULL OR hold <> 'UNCONFIRMED')";

/// The unfinished leads `l` of a sequence. Bound to the workspace through the sequence, so that the index
/// of where leads stand has all that is asked.
const OF_SEQUENCE: &str = "l.sequence_id = (SELECT q.id FROM sequence AS q
        WHERE q.workspace_id = $1 AND q.id = $2)
    AND l.status IN ('ACTIVE', 'PAUSED')";

/// How many unfinished leads stand at a step.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct Standing {
    /// The step.
    pub step_key: String,
    /// How many.
    pub leads: i64,
}

/// How many leads of a sequence are unfinished. Reads an index, and no lead.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn unfinished(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
) -> Result<i64> {
    let statement = format!("SELECT count(*) AS n FROM lead AS l WHERE {OF_SEQUENCE}");
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    sql::number(connection, &statement, arguments).await
}

/// How many unfinished leads of a sequence stand at each of these steps; none is left out where nobody
/// does. Reads a range of an index for each step, and no lead.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn standing(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    steps: &[&str],
) -> Result<Vec<Standing>> {
    counted(connection, (workspace, sequence), steps, "").await
}

/// The same of those that publishing may move. Reads the leads of these steps.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn movable(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    steps: &[&str],
) -> Result<Vec<Standing>> {
    let which = format!("AND {MOVABLE}");
    counted(connection, (workspace, sequence), steps, &which).await
}

async fn counted(
    connection: &impl ConnectionTrait,
    (workspace, sequence): (WorkspaceId, SequenceId),
    steps: &[&str],
    which: &str,
) -> Result<Vec<Standing>> {
    let mut found = Vec::new();
    for chunk in steps.chunks(ROWS_PER_STATEMENT) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(sequence.uuid());
        let list = arguments.list(chunk.iter().copied());
        let statement = format!(
            "SELECT l.step_key, count(*) AS leads FROM lead AS l
             WHERE {OF_SEQUENCE} AND l.step_key IN ({list}) {which} GROUP BY l.step_key"
        );
        found.extend(sql::all(connection, &statement, arguments).await?);
    }
    Ok(found)
}

/// The senders that a sequence has lanes of: all that any unfinished lead of it is of.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn lanes(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
) -> Result<Vec<SenderId>> {
    let statement = "SELECT sender_id AS id FROM lane
         WHERE workspace_id = $1 AND sequence_id = $2 ORDER BY sender_id";
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    let ids = sql::ids(connection, statement, arguments).await?;
    Ok(ids.into_iter().map(SenderId::from_uuid).collect())
}

/// Gives a sequence the lanes of these senders besides `lanes`, which it has. A sender that is not among
/// them keeps its lane as long as an unfinished lead at one of `steps`, which are all where leads may
/// stand, is its own, once all were reassigned: one that a worker holds, one of which nobody knows
/// whether its message left, one that came back to a step which is gone. Whoever claims it finds it
/// another place. Leads are asked for only where a sender is not among them.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn replace_lanes(
    tx: &impl ConnectionTrait,
    (workspace, sequence): (WorkspaceId, SequenceId),
    lanes: &[SenderId],
    senders: &[SenderId],
    steps: &[&str],
) -> Result<()> {
    for sender in lanes.iter().filter(|lane| !senders.contains(lane)) {
        if !is_needed(tx, (workspace, sequence), *sender, steps).await? {
            let arguments = Arguments::new()
                .with(workspace.uuid())
                .with(sequence.uuid())
                .with(sender.uuid());
            let statement =
                "DELETE FROM lane WHERE workspace_id = $1 AND sequence_id = $2 AND sender_id = $3";
            sql::execute(tx, statement, arguments).await?;
        }
    }
    let new: Vec<SenderId> = senders
        .iter()
        .copied()
        .filter(|id| !lanes.contains(id))
        .collect();
    for chunk in new.chunks(ROWS_PER_STATEMENT) {
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

/// Whether an unfinished lead at one of these steps is the sender's own.
async fn is_needed(
    tx: &impl ConnectionTrait,
    (workspace, sequence): (WorkspaceId, SequenceId),
    sender: SenderId,
    steps: &[&str],
) -> Result<bool> {
    for chunk in steps.chunks(ROWS_PER_STATEMENT) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(sequence.uuid())
            .with(sender.uuid());
        let list = arguments.list(chunk.iter().copied());
        let statement = format!(
            "SELECT CAST(1 AS BIGINT) AS n FROM lead AS l
             WHERE {OF_SEQUENCE} AND l.step_key IN ({list}) AND l.sender_id = $3 LIMIT 1"
        );
        if sql::number(tx, &statement, arguments).await? > 0 {
            return Ok(true);
        }
    }
    Ok(false)
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

    /// Changes the leads of the place that are so, locked in the order of their ids, so that two
    /// statements over many leads never wait for each other. They are found before anything is written:
    /// SQLite looks for what it changes by none of the indexes that change. The arguments begin with
    /// [`Place::arguments`].
    fn update(tx: &impl ConnectionTrait, which: &str, assignments: &str) -> String {
        format!(
            "WITH chosen AS MATERIALIZED (
                 SELECT id FROM lead
                 WHERE {workspace} = $1 AND sequence_id = $2 AND step_key = $3 AND {which}
                 ORDER BY id {lock}
             )
             UPDATE lead SET {assignments} WHERE id IN (SELECT chosen.id FROM chosen)",
            workspace = dialect::unindexed(tx.get_database_backend(), "workspace_id"),
            lock = dialect::for_update(tx, "lead"),
        )
    }

    /// Changes the leads that [`Self::update`] would, and answers which these were.
    async fn update_named(
        tx: &impl ConnectionTrait,
        which: &str,
        assignments: &str,
        arguments: Arguments,
    ) -> Result<Vec<LeadId>> {
        let statement = format!("{} RETURNING id", Self::update(tx, which, assignments));
        let mut ids = sql::ids(tx, &statement, arguments).await?;
        ids.sort_unstable();
        Ok(ids.into_iter().map(LeadId::from_uuid).collect())
    }
}

/// Moves the leads of a step to another one. Their due time and the rest of a paused wait stay; a lead
/// that waited for data which the old step was missing is due now, and one that was at work there, at a
/// task or a condition, when it has `waited` for the other one.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn move_leads(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    to: &str,
    (now, waited): (DateTime<Utc>, DateTime<Utc>),
) -> Result<Vec<LeadId>> {
    let due_again = due_again("$5", "$6");
    let assignments = format!("step_key = $4, last_action_at = $5, {due_again}");
    let arguments = place.arguments().with(to);
    let arguments = arguments
        .with(now.timestamp_millis())
        .with(waited.timestamp_millis());
    Place::update_named(tx, MOVABLE, &assignments, arguments).await
}

/// A lead that goes on is held by nothing any more; where it had no due time it has one now: `now`, and
/// where it was at work at a step, `waited`. Who waited for nothing keeps its time.
fn due_again(now: &str, waited: &str) -> String {
    let due_at = format!("CASE WHEN hold IN {AWAITING} THEN {waited} ELSE {now} END");
    format!(
        "due_at = CASE WHEN hold IN {FOR_STEP} AND status <> 'PAUSED' THEN {due_at} ELSE due_at END,
         paused_rest_ms = CASE WHEN hold IN {FOR_STEP} AND status = 'PAUSED'
                               THEN {due_at} - {now} ELSE paused_rest_ms END,
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
    Place::update_named(
        tx,
        MOVABLE,
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
    Place::update_named(
        tx,
        MOVABLE,
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
) -> Result<()> {
    // Found by what holds them, which are few beside those that wait at the step.
    let status = dialect::unindexed(tx.get_database_backend(), "status");
    let which =
        format!("hold IN {FOR_STEP} AND {status} IN ('ACTIVE', 'PAUSED') AND worker_id IS NULL");
    let arguments = place.arguments().with(now.timestamp_millis());
    sql::execute(
        tx,
        &Place::update(tx, &which, &due_again("$4", "$4")),
        arguments,
    )
    .await?;
    Ok(())
}

/// Gives the leads of a step whose sender is not among the step's `senders` another one, by their
/// bucket, as [`crate::domain::flow::CompiledStep::sender`] does; none where the step needs none. Who
/// has had messages gets none either: the engine gives it back to whoever wrote to it. Their senders are
/// looked for among `lanes`, those that the sequence has.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn reassign(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    senders: &[SenderId],
    lanes: &[SenderId],
) -> Result<()> {
    let others = lanes.iter().filter(|lane| !senders.contains(lane));
    let others: Vec<SenderId> = others.copied().collect();
    for chunk in others.chunks(ROWS_PER_STATEMENT) {
        let mut arguments = place.arguments();
        let list = arguments.list(chunk.iter().map(|lane| lane.uuid()));
        let whose = format!("sender_id IN ({list})");
        give_sender(tx, &whose, senders, arguments).await?;
    }
    if !senders.is_empty() {
        let whose = "sender_id IS NULL AND thread IS NULL";
        give_sender(tx, whose, senders, place.arguments()).await?;
    }
    Ok(())
}

/// Gives a step's leads of which this holds one of its senders, or none where it has none. The arguments
/// begin with [`Place::arguments`].
async fn give_sender(
    tx: &impl ConnectionTrait,
    whose: &str,
    senders: &[SenderId],
    mut arguments: Arguments,
) -> Result<()> {
    let mut cases = String::new();
    for (index, sender) in senders.iter().enumerate() {
        let placeholder = arguments.add(sender.uuid());
        cases.push_str(&format!(" WHEN {index} THEN {placeholder}"));
    }
    let to = match senders.len() {
        0 => "NULL".to_owned(),
        count => format!("CASE WHEN thread IS NULL THEN CASE bucket % {count}{cases} END END"),
    };
    let which = format!("status IN ('ACTIVE', 'PAUSED') AND {whose} AND worker_id IS NULL");
    let statement = Place::update(tx, &which, &format!("sender_id = {to}"));
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}
