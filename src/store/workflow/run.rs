//! What came of the runs of workflows: written as they end, read page by page, newest first.

use entity::workflow_run;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, Order, QueryFilter, QueryOrder, QuerySelect, Select,
    Value,
};
use uuid::Uuid;

use crate::domain::id::{LeadId, WorkflowId, WorkflowRunId, WorkspaceId};
use crate::domain::workflow::RunCode;
use crate::store::Result;
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

/// Which runs a page holds, by their ids.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only those after (older than) this one.
    pub after: Option<WorkflowRunId>,
    /// Only those before (newer than) this one.
    pub before: Option<WorkflowRunId>,
    /// The last ones instead of the first; they come oldest first.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
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
    page: Page,
) -> Result<Vec<Row>> {
    let mut select = chosen(workspace, workflow, codes);
    if let Some(after) = page.after {
        select = select.filter(workflow_run::Column::Id.lt(after.uuid()));
    }
    if let Some(before) = page.before {
        select = select.filter(workflow_run::Column::Id.gt(before.uuid()));
    }
    let order = if page.backward {
        Order::Asc
    } else {
        Order::Desc
    };
    Ok(select
        .order_by(workflow_run::Column::Id, order)
        .limit(page.limit)
        .all(connection)
        .await?)
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
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(workflow.uuid());
    let codes = codes.map_or_else(String::new, |codes| {
        let list = arguments.list(codes.iter().map(|code| <&str>::from(*code)));
        format!("AND code IN ({list})")
    });
    let statement = format!(
        "SELECT count(*) AS n FROM workflow_run
         WHERE workspace_id = $1 AND workflow_id = $2 {codes}"
    );
    sql::number(connection, &statement, arguments).await
}

fn chosen(
    workspace: WorkspaceId,
    workflow: WorkflowId,
    codes: Option<&[RunCode]>,
) -> Select<workflow_run::Entity> {
    let select = workflow_run::Entity::find()
        .filter(workflow_run::Column::WorkflowId.eq(workflow.uuid()))
        .filter(workflow_run::Column::WorkspaceId.eq(workspace.uuid()));
    match codes {
        Some(codes) => {
            let codes = codes.iter().map(|code| <&str>::from(*code));
            select.filter(workflow_run::Column::Code.is_in(codes))
        }
        None => select,
    }
}
