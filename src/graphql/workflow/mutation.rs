//! Making and changing workflows.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use super::{Workflow, WorkflowTrigger};
use crate::app::workflow::{Change, NewWorkflow};
use crate::app::{self, AppError, Role};
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::node;
use crate::graphql::person::PersonFilterInput;
use crate::graphql::problems::Problems;
use crate::store::workflow::Row;

/// A workflow to make.
#[derive(InputObject, Debug)]
pub struct WorkflowCreateInput {
    /// What people call it, 1 to 200 characters.
    name: String,
    /// What sets it off.
    trigger: WorkflowTrigger,
    /// Whom it enrols of those to whom that happens; left out or without a condition, everybody.
    filter: Option<PersonFilterInput>,
    /// In which stages an opportunity must be made, or to which it must go, at most 100; left out, in
    /// any. Only for the triggers of opportunities.
    stage_ids: Option<Vec<ID>>,
    /// Into which sequence. One that is not published yet takes nobody until it is.
    sequence_id: ID,
    /// Whether it is switched on.
    #[graphql(default_with = "Some(true)")]
    enabled: Option<bool>,
}

/// A workflow to change; a field that is left out or null stays as it is.
#[derive(InputObject, Debug)]
pub struct WorkflowUpdateInput {
    /// The workflow.
    id: ID,
    /// What people call it, 1 to 200 characters.
    name: Option<String>,
    /// Whether it is switched on. What sets it off while it is not is not made up for.
    enabled: Option<bool>,
    /// Whom it enrols; it replaces the filter there is, and without a condition means everybody.
    filter: Option<PersonFilterInput>,
    /// Into which sequence.
    sequence_id: Option<ID>,
}

/// What a mutation of a workflow answers.
#[derive(SimpleObject)]
pub struct WorkflowPayload {
    /// The workflow as it is now; null where the mutation was refused.
    workflow: Option<Workflow>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl WorkflowPayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        match done {
            Ok(row) => Ok(Self {
                workflow: Some(row.into()),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(Self::refused(user_errors(error)?)),
        }
    }

    const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            workflow: None,
            user_errors,
        }
    }
}

/// Changing workflows.
#[derive(Default)]
pub struct WorkflowMutation;

#[Object]
impl WorkflowMutation {
    /// Makes a workflow. It runs for what happens from then on.
    async fn workflow_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What sets it off, whom it enrols, and where.")]
        input: WorkflowCreateInput,
    ) -> Result<WorkflowPayload> {
        let caller = ctx.require(Role::Editor)?;
        match read_new(input) {
            Ok(new) => {
                WorkflowPayload::of(app::workflow::create(ctx.services(), caller, new).await)
            }
            Err(wrong) => Ok(WorkflowPayload::refused(wrong)),
        }
    }

    /// Changes a workflow. What set it off before, and has not been run yet, is run as it is then.
    async fn workflow_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which workflow, and what to change.")] input: WorkflowUpdateInput,
    ) -> Result<WorkflowPayload> {
        let caller = ctx.require(Role::Editor)?;
        let mut wrong = Vec::new();
        let id = node::id(&input.id, &["id"]).map_err(|error| wrong.push(error));
        let filter = input.filter.map(|filter| filter.read(&["filter"]));
        let filter = filter.transpose().map_err(|errors| wrong.extend(errors));
        let sequence = input.sequence_id.map(|id| node::id(&id, &["sequenceId"]));
        let sequence = sequence.transpose().map_err(|error| wrong.push(error));
        let (Ok(id), Ok(filter), Ok(sequence)) = (id, filter, sequence) else {
            return Ok(WorkflowPayload::refused(wrong));
        };
        let change = Change {
            name: input.name,
            enabled: input.enabled,
            filter,
            sequence,
        };
        WorkflowPayload::of(app::workflow::update(ctx.services(), caller, id, change).await)
    }
}

fn read_new(input: WorkflowCreateInput) -> Result<NewWorkflow, Vec<UserError>> {
    let mut problems = Problems::of(&[]);
    let filter = input.filter.unwrap_or_default().read(&["filter"]);
    let filter = filter.map_err(|errors| problems.found.extend(errors));
    let sequence = problems.one(&["sequenceId"], |at| node::id(&input.sequence_id, at));
    let stages = input
        .stage_ids
        .map(|ids| problems.each(&ids, "stageIds", node::id));
    match (filter, sequence) {
        (Ok(filter), Some(sequence)) if problems.found.is_empty() => Ok(NewWorkflow {
            name: input.name,
            trigger: input.trigger.into(),
            filter,
            stages,
            sequence,
            enabled: input.enabled.unwrap_or(true),
        }),
        _ => Err(problems.found),
    }
}
