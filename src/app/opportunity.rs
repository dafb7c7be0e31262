//! Opportunities: made, and moved from stage to stage.

use sea_orm::{ConnectionTrait, DatabaseTransaction};

use super::stopping::stop_of_person;
use super::{AppError, Caller, Refusal, Services, name, workflow};
use crate::domain::id::{OpportunityId, PersonId, StageId, WorkspaceId};
use crate::domain::lead::StopReason;
use crate::domain::person_filter::searchable;
use crate::domain::pipeline::{AMOUNT_MAX, StageKind};
use crate::domain::settings::Settings;
use crate::domain::workflow::Trigger;
use crate::store::opportunity::{self, Row};
use crate::store::pipeline::{self, StageRow};
use crate::store::{StoreError, event, person};

/// An opportunity to make.
#[derive(Debug, Clone)]
pub struct NewOpportunity {
    /// What people call it.
    pub name: String,
    /// Whose it is.
    pub person: PersonId,
    /// Where it begins.
    pub stage: StageId,
    /// What it is worth, in whatever currency the team reckons in.
    pub amount: Option<f64>,
}

/// Makes an opportunity.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong: `INVALID` for its name or amount, `NOT_FOUND` for
/// a person or a stage that the workspace does not have; [`AppError::Store`] as the database has it.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewOpportunity,
) -> Result<Row, AppError> {
    let mut wrong = Vec::new();
    let name = name::read(&new.name, &["name"]).unwrap_or_else(|refusal| {
        wrong.push(refusal);
        String::new()
    });
    if new
        .amount
        .is_some_and(|amount| !(0.0..=AMOUNT_MAX).contains(&amount))
    {
        let message = format!("amount is from 0 to {AMOUNT_MAX:e}: correct it.");
        wrong.push(Refusal::invalid(message, &["amount"]));
    }
    let workspace = caller.workspace;
    let tx = services.db.begin().await?;
    let stage = stage(&tx, workspace, new.stage).await?;
    // Locked, so that nobody deletes the person meanwhile.
    if person::lock(&tx, workspace, new.person).await?.is_none() {
        let message = "There is no person with this id; take the id from an answer of this API.";
        wrong.push(Refusal::not_found(message, &["personId"]));
    }
    let stage = match stage {
        Some(stage) if wrong.is_empty() => stage,
        Some(_) => return Err(AppError::Refused(wrong)),
        None => {
            wrong.push(no_stage());
            return Err(AppError::Refused(wrong));
        }
    };
    let now = services.clock.now();
    let id: OpportunityId = services.entropy.id(now);
    let row = Row {
        id: id.uuid(),
        workspace_id: workspace.uuid(),
        person_id: new.person.uuid(),
        pipeline_id: stage.pipeline_id,
        stage_id: stage.id,
        search_text: searchable(&name),
        name,
        amount: new.amount,
        created_at: now.timestamp_millis(),
        updated_at: now.timestamp_millis(),
    };
    opportunity::insert(&tx, row.clone()).await?;
    let created = Trigger::OpportunityCreated;
    settle(services, tx, workspace, created, (&row, &stage)).await?;
    Ok(row)
}

/// Moves an opportunity to another stage, of its pipeline or of another one. To be moved where it is
/// changes nothing.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for an opportunity or a stage that the workspace does not have;
/// [`AppError::Store`] as the database has it.
pub async fn move_to(
    services: &Services,
    caller: &Caller,
    id: OpportunityId,
    to: StageId,
) -> Result<Row, AppError> {
    let tx = services.db.begin().await?;
    let stage = stage(&tx, caller.workspace, to).await?;
    let found = opportunity::lock(&tx, caller.workspace, id).await?;
    let mut wrong = Vec::new();
    if found.is_none() {
        let message =
            "There is no opportunity with this id; take the id from an answer of this API.";
        wrong.push(Refusal::not_found(message, &["id"]));
    }
    if stage.is_none() {
        wrong.push(no_stage());
    }
    let (Some(mut row), Some(stage)) = (found, stage) else {
        return Err(AppError::Refused(wrong));
    };
    if row.stage_id == stage.id {
        return Ok(row);
    }
    row.stage_id = stage.id;
    row.pipeline_id = stage.pipeline_id;
    row.updated_at = services.clock.now().timestamp_millis();
    opportunity::update(&tx, row.clone()).await?;
    let moved = Trigger::OpportunityStageChanged;
    settle(services, tx, caller.workspace, moved, (&row, &stage)).await?;
    Ok(row)
}

/// Commits that an opportunity came to a stage, with what this sets off. One that is won stops its person's
/// leads where their sequences say so.
async fn settle(
    services: &Services,
    tx: DatabaseTransaction,
    workspace: WorkspaceId,
    trigger: Trigger,
    (row, stage): (&Row, &StageRow),
) -> Result<(), AppError> {
    let came_to = StageId::from_uuid(stage.id);
    let people = [row.person_id];
    workflow::set_off_in(services, &tx, workspace, (trigger, Some(came_to)), &people).await?;
    let kind: StageKind = stage
        .kind
        .parse()
        .map_err(|_| StoreError::corrupt("kind of a stage", &stage.kind))?;
    if kind == StageKind::Won {
        let person = PersonId::from_uuid(row.person_id);
        let (reason, now) = (StopReason::OpportunityWon, services.clock.now());
        let says_so = |settings: &Settings| settings.stop_on_opportunity_won;
        let stopped = stop_of_person(&tx, workspace, person, reason, says_so, now).await?;
        event::append(&tx, workspace, stopped).await?;
    }
    tx.commit().await?;
    services.wake.log();
    services.wake.due();
    Ok(())
}

async fn stage(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: StageId,
) -> Result<Option<StageRow>, StoreError> {
    Ok(pipeline::stages(tx, workspace, &[id]).await?.pop())
}

fn no_stage() -> Refusal {
    let message = "There is no stage with this id; take the id from the stages of a pipeline.";
    Refusal::not_found(message, &["stageId"])
}
