//! What workflows have to run for: written with the change that sets them off, in its transaction.
//!
//! Where no enabled workflow waits for such a change, a change costs one look into an index that holds
//! the enabled ones.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use crate::domain::id::{LeadId, StageId, WorkflowId, WorkflowRunId, WorkspaceId};
use crate::domain::workflow::Trigger;
use crate::entropy::Entropy;
use crate::store::sql::{self, Arguments};
use crate::store::{Result, StoreError, dialect};

/// How many workflows one look at the queue answers.
pub const PENDING_MAX: usize = 16;

/// What happened.
#[derive(Debug, Clone, Copy)]
pub struct Happened {
    /// To whom it happened decides whom the workflows run for; this, which of them do.
    pub trigger: Trigger,
    /// In which stage; none for what has no stage.
    pub stage: Option<StageId>,
    /// When.
    pub at: DateTime<Utc>,
}

/// Somebody to whom it happened.
#[derive(Debug, Clone, Copy)]
pub struct Concerned {
    /// The person.
    pub person: Uuid,
    /// The lead whose step did it; none where it came from outside.
    pub by: Option<LeadId>,
}

impl From<Uuid> for Concerned {
    fn from(person: Uuid) -> Self {
        Self { person, by: None }
    }
}

/// Writes down what the workspace's workflows have to run for, and tells the other nodes. Answers
/// whether there is anything: then the bell for due work rings after the commit.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn enqueue(
    tx: &impl ConnectionTrait,
    entropy: &Entropy,
    workspace: WorkspaceId,
    happened: Happened,
    people: &[Concerned],
) -> Result<bool> {
    if people.is_empty() {
        return Ok(false);
    }
    let workflows = waiting_for(tx, workspace, happened).await?;
    if workflows.is_empty() {
        return Ok(false);
    }
    for people in sql::chunks(people) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            people.iter().map(|concerned| -> [Value; 3] {
                let id: WorkflowRunId = entropy.id(happened.at);
                [
                    id.uuid().into(),
                    concerned.person.into(),
                    concerned.by.map(LeadId::uuid).into(),
                ]
            }),
        );
        let list = arguments.list(workflows.iter().copied());
        // A lead that no workflow made begins a chain.
        let statement = format!(
            "WITH v (id, person_id, lead_id) AS ({rows})
             INSERT INTO workflow_trigger (workflow_id, id, workspace_id, person_id, depth)
             SELECT w.id, v.id, w.workspace_id, v.person_id,
                 COALESCE((SELECT r.depth + 1 FROM workflow_run AS r WHERE r.lead_id = v.lead_id), 0)
             FROM v CROSS JOIN workflow AS w WHERE w.id IN ({list})"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    dialect::notify(tx).await?;
    Ok(true)
}

#[derive(FromQueryResult)]
struct Waiting {
    id: Uuid,
    stage_ids: Option<serde_json::Value>,
}

/// The enabled workflows that wait for this.
async fn waiting_for(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    happened: Happened,
) -> Result<Vec<Uuid>> {
    let statement = "SELECT w.id, w.stage_ids FROM workflow AS w
         WHERE w.workspace_id = $1 AND w.trigger = $2 AND w.enabled ORDER BY w.id";
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(<&str>::from(happened.trigger));
    let found: Vec<Waiting> = sql::all(connection, statement, arguments).await?;
    let mut waiting = Vec::with_capacity(found.len());
    for workflow in found {
        let stages = stages(workflow.stage_ids.as_ref())?;
        let is_meant = match (stages, happened.stage) {
            (None, _) => true,
            (Some(stages), Some(stage)) => stages.contains(&stage),
            (Some(_), None) => false,
        };
        if is_meant {
            waiting.push(workflow.id);
        }
    }
    Ok(waiting)
}

/// The stages that a workflow is limited to; `None`, it is not.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn stages(kept: Option<&serde_json::Value>) -> Result<Option<Vec<StageId>>> {
    let read = |kept: &serde_json::Value| {
        serde_json::from_value(kept.clone())
            .map_err(|error| StoreError::corrupt("workflow's stages", error))
    };
    kept.map(read).transpose()
}

/// The next workflows with something to run for, of all workspaces, by their ids and after the one
/// given; at most [`PENDING_MAX`]. Costs a probe for each of them, however much waits.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn pending(
    connection: &impl ConnectionTrait,
    after: Option<WorkflowId>,
) -> Result<Vec<WorkflowId>> {
    let mut arguments = Arguments::new();
    let begin = match after {
        Some(after) => format!("WHERE t.workflow_id > {}", arguments.add(after.uuid())),
        None => String::new(),
    };
    let statement = format!(
        "WITH RECURSIVE pending (id) AS (
             SELECT * FROM (SELECT t.workflow_id FROM workflow_trigger AS t {begin}
                            ORDER BY t.workflow_id LIMIT 1) AS begin_here
             UNION ALL
             SELECT (SELECT t.workflow_id FROM workflow_trigger AS t
                     WHERE t.workflow_id > pending.id ORDER BY t.workflow_id LIMIT 1)
             FROM pending WHERE pending.id IS NOT NULL
         )
         SELECT pending.id FROM pending WHERE pending.id IS NOT NULL LIMIT {PENDING_MAX}"
    );
    let ids = sql::ids(connection, &statement, arguments).await?;
    Ok(ids.into_iter().map(WorkflowId::from_uuid).collect())
}

/// Something that a workflow has to run for.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Queued {
    /// The id that the run will have.
    pub id: Uuid,
    /// The person.
    pub person_id: Uuid,
    /// How many enrolments by workflows led to it.
    pub depth: i32,
}

/// What a workflow has to run for, oldest first; at most `limit`. The workflow must be locked by this
/// transaction.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn queued(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    workflow: WorkflowId,
    limit: usize,
) -> Result<Vec<Queued>> {
    let of_workspace = dialect::unindexed(tx.get_database_backend(), "t.workspace_id");
    let statement = format!(
        "SELECT t.id, t.person_id, t.depth FROM workflow_trigger AS t
         WHERE t.workflow_id = $1 AND {of_workspace} = $2 ORDER BY t.id LIMIT {limit}"
    );
    let arguments = Arguments::new()
        .with(workflow.uuid())
        .with(workspace.uuid());
    sql::all(tx, &statement, arguments).await
}

/// Takes away what a workflow has run for.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn done(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    workflow: WorkflowId,
    ids: impl IntoIterator<Item = Uuid>,
) -> Result<()> {
    let mut arguments = Arguments::new();
    let rows = arguments.table(tx, ids.into_iter().map(|id| [Value::from(id)]));
    let (workflow, workspace) = (
        arguments.add(workflow.uuid()),
        arguments.add(workspace.uuid()),
    );
    let of_workspace = sql::of_found("id", &format!("workspace_id = {workspace}"));
    // As an array PostgreSQL would read the ids anew for each row that it compares with them.
    let statement = format!(
        "WITH v (id) AS ({rows})
         DELETE FROM workflow_trigger
         WHERE workflow_id = {workflow} AND id IN (SELECT v.id FROM v) AND {of_workspace}"
    );
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}
