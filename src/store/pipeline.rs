//! Pipelines with their stages.

use entity::{pipeline, stage};
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, PaginatorTrait, QueryFilter,
    QueryOrder, QuerySelect,
};

use super::Result;
use crate::domain::id::{PipelineId, StageId, WorkspaceId};

/// The most pipelines of a workspace: their list is read whole.
pub const PIPELINES_MAX: u64 = 500;

/// A pipeline's row.
pub type Row = pipeline::Model;
/// A stage's row.
pub type StageRow = stage::Model;

/// Enters a pipeline with its stages, of which there is at least one.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row, stages: Vec<StageRow>) -> Result<()> {
    pipeline::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    stage::Entity::insert_many(stages.into_iter().map(IntoActiveModel::into_active_model))
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// How many pipelines a workspace has.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<u64> {
    Ok(pipeline::Entity::find()
        .filter(pipeline::Column::WorkspaceId.eq(workspace.uuid()))
        .count(connection)
        .await?)
}

/// The workspace's pipelines, in the order in which they were made.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn list(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<Vec<Row>> {
    Ok(pipeline::Entity::find()
        .filter(pipeline::Column::WorkspaceId.eq(workspace.uuid()))
        .order_by_asc(pipeline::Column::Id)
        .limit(PIPELINES_MAX)
        .all(connection)
        .await?)
}

/// Those of the pipelines that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[PipelineId],
) -> Result<Vec<Row>> {
    Ok(pipeline::Entity::find()
        .filter(pipeline::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(pipeline::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// The stages of these pipelines of the workspace, those of one in its order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn stages_of(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    pipelines: &[PipelineId],
) -> Result<Vec<StageRow>> {
    Ok(stage::Entity::find()
        .filter(stage::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(stage::Column::PipelineId.is_in(pipelines.iter().map(|id| id.uuid())))
        .order_by_asc(stage::Column::PipelineId)
        .order_by_asc(stage::Column::Position)
        .all(connection)
        .await?)
}

/// Those of the stages that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn stages(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[StageId],
) -> Result<Vec<StageRow>> {
    Ok(stage::Entity::find()
        .filter(stage::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(stage::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}
