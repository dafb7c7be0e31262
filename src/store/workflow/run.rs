//! What came of the runs of workflows: written as they end, read page by page, newest first.

use entity::workflow_run;
use sea_orm::{ConnectionTrait, Value};
use uuid::Uuid;

use crate::domain::id::{LeadId, WorkflowId, WorkspaceId};
use crate::domain::workflow::RunCode;
use crate::store::Result;
use crate::store::lead::{Ages, Part};
use crate::store::sql::{self, Arguments};
use chrono::{DateTime, Utc};

/// How many rows go into one statement.
/// SQLite looks every parameter's name up among all the others: small statements cost less.
const ROWS_PER_INSERT: usize = 250;

/// A run's row.
pub type Row = workflow_run::Model;

/// What came of a run, as it is entered.
#[derive(Debug)]
pub struct NewRun {
    /// The id of what it ran for.
    pub id: Uuid,
    /// For whom.
    pub person: Uuid,
    /// What came of it.
    pub code: RunCode,
    /// The same for people.
    pub message: String,
    /// The lead that the person became.
    pub lead: Option<LeadId>,
    /// How many enrolments by workflows led to it.
    pub depth: i32,
}

/// Enters what came of some runs.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    workflow: WorkflowId,
    runs: &[NewRun],
    now: DateTime<Utc>,
) -> Result<()> {
    for chunk in runs.chunks(ROWS_PER_INSERT) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|run| -> [Value; 9] {
                [
                    run.id.into(),
                    workflow.uuid().into(),
                    workspace.uuid().into(),
                    run.person.into(),
                    <&str>::from(run.code).into(),
                    run.message.as_str().into(),
                    run.lead.map(LeadId::uuid).into(),
                    run.depth.into(),
                    now.timestamp_millis().into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO workflow_run (id, workflow_id, workspace_id, person_id, code, message,
                 lead_id, depth, at)
             {rows}"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// A page of a workflow's runs, newest first, with one of the given codes (all, if none are given).
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    workflow: WorkflowId,
    codes: Option<&[RunCode]>,
    page: Part,
) -> Result<Vec<Row>> {
    let (mut arguments, conditions) = chosen(workspace, workflow, codes);
    let rest = page.rest("id", Ages::NewestFirst, &mut arguments);
    let statement = format!("SELECT * FROM workflow_run WHERE {conditions}{rest}");
    sql::all(connection, &statement, arguments).await
}

/// How many runs a workflow has with one of the given codes (all, if none are given).
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    workflow: WorkflowId,
    codes: Option<&[RunCode]>,
) -> Result<i64> {
    let (arguments, conditions) = chosen(workspace, workflow, codes);
    let statement = format!("SELECT count(*) AS n FROM workflow_run WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

fn chosen(
    workspace: WorkspaceId,
    workflow: WorkflowId,
    codes: Option<&[RunCode]>,
) -> (Arguments, String) {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(workflow.uuid());
    let mut conditions = "workspace_id = $1 AND workflow_id = $2".to_owned();
    if let Some(codes) = codes {
        let list = arguments.list(codes.iter().map(|code| <&str>::from(*code)));
        conditions.push_str(&format!(" AND code IN ({list})"));
    }
    (arguments, conditions)
}
