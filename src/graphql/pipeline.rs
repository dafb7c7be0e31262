//! Pipelines in the API.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject, dataloader};

use super::context::ContextExt;
use super::error::{UserError, user_errors};
use super::loader::{LoadError, Loaders};
use super::prompt::Prompt;
use crate::app::{self, Role};
use crate::domain;
use crate::domain::id::{PipelineId, StageId};
use crate::store::{self, StoreError};

/// What it means that an opportunity is in a stage.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::pipeline::StageKind")]
pub enum StageKind {
    /// It is not decided.
    Open,
    /// It came off.
    Won,
    /// It did not.
    Lost,
}

/// A row of stages that opportunities go through.
pub struct Pipeline(pub Arc<store::pipeline::Row>);

/// A row of stages that opportunities go through.
#[Object]
impl Pipeline {
    /// The pipeline's id.
    pub async fn id(&self) -> ID {
        PipelineId::from_uuid(self.0.id).into()
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Its stages, in their order.
    async fn stages(&self, ctx: &Context<'_>) -> Result<Vec<Stage>> {
        let stages = ctx.loaders()?.load_one(StagesOf(self.0.id)).await?;
        Ok(stages
            .unwrap_or_default()
            .into_iter()
            .map(|row| Stage(Arc::new(row)))
            .collect())
    }
}

impl Prompt for Pipeline {
    const AT_ONCE: &'static [&'static str] = &["id", "name"];
}

/// A stage of a pipeline.
pub struct Stage(pub Arc<store::pipeline::StageRow>);

/// A stage of a pipeline.
#[Object]
impl Stage {
    /// The stage's id.
    pub async fn id(&self) -> ID {
        StageId::from_uuid(self.0.id).into()
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it means that an opportunity is here.
    async fn kind(&self) -> Result<StageKind> {
        let kind: domain::pipeline::StageKind = self
            .0
            .kind
            .parse()
            .map_err(|_| StoreError::corrupt("kind of a stage", &self.0.kind))?;
        Ok(kind.into())
    }
}

impl Prompt for Stage {
    const AT_ONCE: &'static [&'static str] = &["id", "name", "kind"];
}

/// A pipeline whose stages are asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct StagesOf(uuid::Uuid);

impl dataloader::Loader<StagesOf> for Loaders {
    type Value = Vec<store::pipeline::StageRow>;
    type Error = LoadError;

    async fn load(&self, keys: &[StagesOf]) -> Result<HashMap<StagesOf, Self::Value>, LoadError> {
        let ids: Vec<PipelineId> = keys
            .iter()
            .map(|key| PipelineId::from_uuid(key.0))
            .collect();
        let db = self.services.db.read();
        let mut found: HashMap<StagesOf, Self::Value> = HashMap::new();
        for row in store::pipeline::stages_of(db, self.workspace, &ids).await? {
            found
                .entry(StagesOf(row.pipeline_id))
                .or_default()
                .push(row);
        }
        Ok(found)
    }
}

impl dataloader::Loader<PipelineId> for Loaders {
    type Value = Arc<store::pipeline::Row>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[PipelineId],
    ) -> Result<HashMap<PipelineId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::pipeline::find_many(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (PipelineId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

impl dataloader::Loader<StageId> for Loaders {
    type Value = Arc<store::pipeline::StageRow>;
    type Error = LoadError;

    async fn load(&self, ids: &[StageId]) -> Result<HashMap<StageId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::pipeline::stages(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (StageId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// The pipeline with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: PipelineId) -> Result<Option<Pipeline>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Pipeline))
}

/// The stage with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load_stage(ctx: &Context<'_>, id: StageId) -> Result<Option<Stage>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Stage))
}

/// Reading pipelines.
#[derive(Default)]
pub struct PipelineQuery;

#[Object]
impl PipelineQuery {
    /// The workspace's pipelines, in the order in which they were made; it has at most 500.
    async fn pipelines(&self, ctx: &Context<'_>) -> Result<Vec<Pipeline>> {
        let workspace = ctx.caller()?.workspace;
        let rows = store::pipeline::list(ctx.services().db.read(), workspace).await?;
        Ok(rows
            .into_iter()
            .map(|row| Pipeline(Arc::new(row)))
            .collect())
    }
}

/// A pipeline to make.
#[derive(InputObject, Debug)]
pub struct PipelineCreateInput {
    /// What people call it, 1 to 200 characters.
    name: String,
    /// Its stages in their order, from 1 to 50, each with a name of its own.
    stages: Vec<StageInput>,
}

/// A stage to make.
#[derive(InputObject, Debug)]
pub struct StageInput {
    /// What people call it, 1 to 200 characters.
    name: String,
    /// What it means that an opportunity is there.
    #[graphql(default_with = "Some(StageKind::Open)")]
    kind: Option<StageKind>,
}

/// What a mutation of a pipeline answers.
#[derive(SimpleObject)]
pub struct PipelinePayload {
    /// The pipeline as it is now; null where the mutation was refused.
    pipeline: Option<Pipeline>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// Changing pipelines.
#[derive(Default)]
pub struct PipelineMutation;

#[Object]
impl PipelineMutation {
    /// Makes a pipeline with its stages.
    async fn pipeline_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Its name and its stages.")] input: PipelineCreateInput,
    ) -> Result<PipelinePayload> {
        let caller = ctx.require(Role::Editor)?;
        let stages = input
            .stages
            .into_iter()
            .map(|stage| app::pipeline::NewStage {
                name: stage.name,
                kind: stage.kind.unwrap_or(StageKind::Open).into(),
            });
        let stages = stages.collect();
        let made = app::pipeline::create(ctx.services(), caller, &input.name, stages).await;
        Ok(match made {
            Ok(row) => PipelinePayload {
                pipeline: Some(Pipeline(Arc::new(row))),
                user_errors: Vec::new(),
            },
            Err(error) => PipelinePayload {
                pipeline: None,
                user_errors: user_errors(error)?,
            },
        })
    }
}
