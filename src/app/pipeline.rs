//! Pipelines: made once, with their stages.

use super::{AppError, Caller, Refusal, RefusalCode, Services, name};
use crate::domain::id::{PipelineId, StageId};
use crate::domain::pipeline::{STAGES_MAX, StageKind};
use crate::store::pipeline::{self, PIPELINES_MAX, Row, StageRow};

/// A stage to make.
#[derive(Debug, Clone)]
pub struct NewStage {
    /// What people call it.
    pub name: String,
    /// What it means to be there.
    pub kind: StageKind,
}

/// Makes a pipeline with its stages, in their order.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong with the names, where there is no stage or two have
/// one name, and with `LIMIT` where there are too many of either; [`AppError::Store`] as the database has
/// it.
pub async fn create(
    services: &Services,
    caller: &Caller,
    name: &str,
    stages: Vec<NewStage>,
) -> Result<Row, AppError> {
    let mut wrong = Vec::new();
    let name = name::read(name, &["name"]).map_err(|refusal| wrong.push(refusal));
    let stages = read(stages).map_err(|refusals| wrong.extend(refusals));
    let (Ok(name), Ok(stages)) = (name, stages) else {
        return Err(AppError::Refused(wrong));
    };
    let now = services.clock.now();
    let id: PipelineId = services.entropy.id(now);
    let row = Row {
        id: id.uuid(),
        workspace_id: caller.workspace.uuid(),
        name,
        created_at: now.timestamp_millis(),
    };
    let stages = (0..).zip(stages).map(|(position, stage)| {
        let id: StageId = services.entropy.id(now);
        StageRow {
            id: id.uuid(),
            workspace_id: row.workspace_id,
            pipeline_id: row.id,
            position,
            name: stage.name,
            kind: stage.kind.to_string(),
        }
    });
    let stages = stages.collect();
    let tx = services.db.begin().await?;
    if pipeline::count(&tx, caller.workspace).await? >= PIPELINES_MAX {
        let message =
            format!("A workspace has at most {PIPELINES_MAX} pipelines: use one that is there.");
        return Err(Refusal::new(RefusalCode::Limit, message, &[]).into());
    }
    pipeline::insert(&tx, row.clone(), stages).await?;
    tx.commit().await?;
    Ok(row)
}

fn read(stages: Vec<NewStage>) -> Result<Vec<NewStage>, Vec<Refusal>> {
    if stages.is_empty() {
        let message = "A pipeline has at least one stage: name its stages in their order.";
        return Err(vec![Refusal::invalid(message, &["stages"])]);
    }
    if stages.len() > STAGES_MAX {
        let message = format!("A pipeline has at most {STAGES_MAX} stages: leave some out.");
        return Err(vec![Refusal::new(RefusalCode::Limit, message, &["stages"])]);
    }
    let mut wrong = Vec::new();
    let mut read: Vec<NewStage> = Vec::new();
    for (index, stage) in stages.into_iter().enumerate() {
        let path = ["stages", &index.to_string(), "name"];
        match name::read(&stage.name, &path) {
            Ok(name) if read.iter().any(|one| one.name == name) => {
                let message = "Two stages of the pipeline have this name: rename one of them.";
                wrong.push(Refusal::invalid(message, &path));
            }
            Ok(name) => read.push(NewStage { name, ..stage }),
            Err(refusal) => wrong.push(refusal),
        }
    }
    if wrong.is_empty() {
        Ok(read)
    } else {
        Err(wrong)
    }
}
