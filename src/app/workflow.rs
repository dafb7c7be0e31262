//! Workflows: made and changed, and set off by what the use cases do. They are run elsewhere.

use std::collections::HashSet;

use sea_orm::ConnectionTrait;
use serde_json::json;
use uuid::Uuid;

use super::person::filter;
use super::{AppError, Caller, Refusal, RefusalCode, Services, name};
use crate::domain::id::{SequenceId, StageId, WorkflowId, WorkspaceId};
use crate::domain::person_filter::PersonFilter;
use crate::domain::sequence::SequenceStatus;
use crate::domain::workflow::{STAGES_MAX, Trigger};
use crate::store::workflow::queue::{self, Concerned, Happened};
use crate::store::workflow::{self, Row, WORKFLOWS_MAX};
use crate::store::{StoreError, pipeline, sequence};

/// A workflow to make.
#[derive(Debug, Clone)]
pub struct NewWorkflow {
    /// What people call it.
    pub name: String,
    /// What sets it off.
    pub trigger: Trigger,
    /// Whom it enrols of those to whom that happens; one without a condition, everybody.
    pub filter: PersonFilter,
    /// In which stages; `None`, in all.
    pub stages: Option<Vec<StageId>>,
    /// Into which sequence.
    pub sequence: SequenceId,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// What is said of a workflow; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people call it.
    pub name: Option<String>,
    /// Whether it is switched on.
    pub enabled: Option<bool>,
    /// Whom it enrols; one without a condition, everybody.
    pub filter: Option<PersonFilter>,
    /// Into which sequence.
    pub sequence: Option<SequenceId>,
}

/// Makes a workflow. It runs for what happens from then on.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong: `INVALID` for its name or stages, `NOT_FOUND` for a
/// sequence or a stage that the workspace does not have, `WRONG_STATE` for a sequence that is put away,
/// `LIMIT` where there are too many workflows; [`AppError::Store`] as the database has it.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewWorkflow,
) -> Result<Row, AppError> {
    let workspace = caller.workspace;
    let mut wrong = Vec::new();
    let name = name::read(&new.name, &["name"]).map_err(|refusal| wrong.push(refusal));
    let tx = services.db.begin().await?;
    let stages = match new.stages {
        Some(stages) => read_stages(&tx, workspace, new.trigger, stages, &mut wrong).await?,
        None => None,
    };
    wrong.extend(refused_sequence(&tx, workspace, new.sequence).await?);
    wrong.extend(filter::refused(&tx, workspace, &new.filter, &["filter"]).await?);
    if workflow::count(&tx, workspace).await? >= WORKFLOWS_MAX {
        let message = format!(
            "A workspace has at most {WORKFLOWS_MAX} workflows: change one that is there by \
             workflowUpdate."
        );
        wrong.push(Refusal::new(RefusalCode::Limit, message, &[]));
    }
    let (Ok(name), []) = (name, wrong.as_slice()) else {
        return Err(AppError::Refused(wrong));
    };
    let now = services.clock.now();
    let id: WorkflowId = services.entropy.id(now);
    let row = Row {
        id: id.uuid(),
        workspace_id: workspace.uuid(),
        name,
        trigger: new.trigger.to_string(),
        filter: kept(&new.filter),
        stage_ids: stages.map(|stages| json!(stages)),
        sequence_id: new.sequence.uuid(),
        enabled: new.enabled,
        enrolled: 0,
        created_at: now.timestamp_millis(),
        updated_at: now.timestamp_millis(),
    };
    workflow::insert(&tx, row.clone()).await?;
    tx.commit().await?;
    Ok(row)
}

/// Changes a workflow. What set it off before is run as it is by then.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong: `NOT_FOUND` for a workflow or a sequence that the
/// workspace does not have, `INVALID` for its name, `WRONG_STATE` for a sequence that is put away;
/// [`AppError::Store`] as the database has it.
pub async fn update(
    services: &Services,
    caller: &Caller,
    id: WorkflowId,
    change: Change,
) -> Result<Row, AppError> {
    let workspace = caller.workspace;
    let tx = services.db.begin().await?;
    let Some(before) = workflow::lock(&tx, workspace, id).await? else {
        let message = "There is no workflow with this id; take the id from `workflows`.";
        return Err(Refusal::not_found(message, &["id"]).into());
    };
    let mut row = before.clone();
    let mut wrong = Vec::new();
    if let Some(name) = change.name {
        match name::read(&name, &["name"]) {
            Ok(name) => row.name = name,
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(filter) = change.filter {
        wrong.extend(filter::refused(&tx, workspace, &filter, &["filter"]).await?);
        row.filter = kept(&filter);
    }
    if let Some(sequence) = change.sequence {
        wrong.extend(refused_sequence(&tx, workspace, sequence).await?);
        row.sequence_id = sequence.uuid();
    }
    row.enabled = change.enabled.unwrap_or(row.enabled);
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    if row == before {
        return Ok(row);
    }
    row.updated_at = services.clock.now().timestamp_millis();
    workflow::update(&tx, row.clone()).await?;
    tx.commit().await?;
    Ok(row)
}

/// A filter as it is kept: none where it means everybody.
fn kept(filter: &PersonFilter) -> Option<serde_json::Value> {
    (!filter.is_empty()).then(|| json!(filter))
}

/// The filter of a workflow; one without a condition where there is none.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn filter(row: &Row) -> Result<PersonFilter, StoreError> {
    match &row.filter {
        None => Ok(PersonFilter::default()),
        Some(kept) => serde_json::from_value(kept.clone())
            .map_err(|error| StoreError::corrupt("workflow's filter", error)),
    }
}

async fn read_stages(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    trigger: Trigger,
    mut stages: Vec<StageId>,
    wrong: &mut Vec<Refusal>,
) -> Result<Option<Vec<StageId>>, StoreError> {
    let path = &["stageIds"];
    let problem = if !trigger.has_stage() {
        Some(format!(
            "{trigger} happens in no stage: leave stageIds out, or choose OPPORTUNITY_CREATED or \
             OPPORTUNITY_STAGE_CHANGED."
        ))
    } else if stages.is_empty() {
        Some("An empty list would mean no stage: leave stageIds out for all of them.".into())
    } else if stages.len() > STAGES_MAX {
        Some(format!(
            "stageIds has at most {STAGES_MAX} entries: leave some out."
        ))
    } else {
        None
    };
    if let Some(message) = problem {
        wrong.push(Refusal::invalid(message, path));
        return Ok(None);
    }
    let found = pipeline::stages(tx, workspace, &stages).await?;
    let found: HashSet<Uuid> = found.into_iter().map(|stage| stage.id).collect();
    for (index, stage) in stages.iter().enumerate() {
        if !found.contains(&stage.uuid()) {
            let message =
                "There is no stage with this id; take the id from the stages of a pipeline.";
            let path = ["stageIds", &index.to_string()];
            wrong.push(Refusal::not_found(message, &path));
        }
    }
    let mut named = HashSet::new();
    stages.retain(|stage| named.insert(*stage));
    Ok(Some(stages))
}

/// Why no workflow may enrol into a sequence. One that is a draft or disabled may be published yet.
async fn refused_sequence(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: SequenceId,
) -> Result<Option<Refusal>, StoreError> {
    let path = &["sequenceId"];
    Ok(match sequence::find(tx, workspace, id).await? {
        None => {
            let message =
                "There is no sequence with this id: take the id from an answer of this API.";
            Some(Refusal::not_found(message, path))
        }
        Some(found) if found.status == SequenceStatus::Archived => {
            let message = "The sequence is put away and takes nobody: bring it back by \
                           sequenceUnarchive, or choose another one.";
            Some(Refusal::new(RefusalCode::WrongState, message, path))
        }
        Some(_) => None,
    })
}

/// Writes down what workflows have to run for after something happened to these people, in the
/// transaction that it happens in. Answers whether there is anything: then `wake.due()` rings after the
/// commit.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn set_off(
    services: &Services,
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    trigger: Trigger,
    people: &[Uuid],
) -> Result<bool, StoreError> {
    set_off_in(services, tx, workspace, (trigger, None), people).await
}

/// The same for what happens in a stage.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn set_off_in(
    services: &Services,
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    (trigger, stage): (Trigger, Option<StageId>),
    people: &[Uuid],
) -> Result<bool, StoreError> {
    let at = services.clock.now();
    let happened = Happened { trigger, stage, at };
    let people: Vec<Concerned> = people.iter().copied().map(Concerned::from).collect();
    queue::enqueue(tx, &services.entropy, workspace, happened, &people).await
}
