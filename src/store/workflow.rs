//! Workflows: their rows; what they have to run for is [`queue`]'s, and what came of it [`run`]'s.

pub mod queue;
pub mod run;

use entity::workflow;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{WorkflowId, WorkspaceId};

/// The most workflows of a workspace: each that is enabled is asked whenever somebody changes, and
/// their list is read whole.
pub const WORKFLOWS_MAX: u64 = 100;

/// A workflow's row.
pub type Row = workflow::Model;

/// Enters a workflow.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    workflow::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Writes a workflow back; its row must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn update(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    row.into_active_model().reset_all().update(tx).await?;
    Ok(())
}

/// The workflow, if it is the workspace's. It cannot change before this transaction ends, and nobody
/// runs it meanwhile.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: WorkflowId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM workflow WHERE workspace_id = $1 AND id = $2 {}",
        dialect::for_update(tx, "workflow")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    sql::one(tx, &statement, arguments).await
}

/// The workflow, of whichever workspace, unless somebody else runs or changes it just now. It cannot
/// change before this transaction ends, and nobody else runs it.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_free(tx: &impl ConnectionTrait, id: WorkflowId) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM workflow WHERE id = $1 {}",
        dialect::for_update_skip_locked(tx, "workflow")
    );
    sql::one(tx, &statement, Arguments::new().with(id.uuid())).await
}

/// Keeps all workflows of a workspace from being run and changed before this transaction ends. To be asked
/// before anybody else's row is locked: whoever runs a workflow has that before its people.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep_all(tx: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<()> {
    let statement = format!(
        "SELECT id FROM workflow WHERE workspace_id = $1 ORDER BY id {}",
        dialect::for_update(tx, "workflow")
    );
    sql::ids(tx, &statement, Arguments::new().with(workspace.uuid())).await?;
    Ok(())
}

/// Notes how many people a workflow has enrolled besides.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn add_enrolled(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: WorkflowId,
    more: i64,
) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE workflow SET enrolled = enrolled + $3 WHERE workspace_id = $1 AND id = $2",
        Arguments::new()
            .with(workspace.uuid())
            .with(id.uuid())
            .with(more),
    )
    .await?;
    Ok(())
}

/// How many workflows a workspace has.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<u64> {
    Ok(workflow::Entity::find()
        .filter(workflow::Column::WorkspaceId.eq(workspace.uuid()))
        .count(connection)
        .await?)
}

/// The workspace's workflows, in the order in which they were made.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn list(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<Vec<Row>> {
    Ok(workflow::Entity::find()
        .filter(workflow::Column::WorkspaceId.eq(workspace.uuid()))
        .order_by_asc(workflow::Column::Id)
        .limit(WORKFLOWS_MAX)
        .all(connection)
        .await?)
}

/// Those of the workflows that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[WorkflowId],
) -> Result<Vec<Row>> {
    Ok(workflow::Entity::find()
        .filter(workflow::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(workflow::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}
