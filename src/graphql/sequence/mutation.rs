//! Making, editing and publishing sequences.

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, OneofObject, Result, SimpleObject};

use super::Sequence;
use crate::app::sequence as app;
use crate::app::sequence::publish::{PlannedChange, PolicyInput, Publish, Published};
use crate::app::{AppError, Role};
use crate::domain::flow::Destination;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, UserErrorCode, user_errors};
use crate::graphql::flow::{FlowInput, FlowProblem};
use crate::graphql::node;
use crate::graphql::settings::SequenceSettingsInput;
use crate::store;

/// A sequence to make.
#[derive(InputObject)]
pub struct SequenceCreateInput {
    /// What people call it, 1 to 200 characters.
    name: String,
    /// Its flow; left out, it has no steps yet.
    flow: Option<FlowInput>,
    /// Its settings; what is left out has its default.
    settings: Option<SequenceSettingsInput>,
}

/// A sequence to edit; a field that is left out or null stays as it is.
#[derive(InputObject)]
pub struct SequenceUpdateInput {
    /// The sequence.
    id: ID,
    /// The revision that the edit is based on; CONFLICT if it is another one by now.
    expected_revision: Option<i32>,
    /// What people call it, 1 to 200 characters.
    name: Option<String>,
    /// Its flow; it replaces the one there is.
    flow: Option<FlowInput>,
    /// Settings to change.
    settings: Option<SequenceSettingsInput>,
}

/// A sequence to publish.
#[derive(InputObject)]
pub struct SequencePublishInput {
    /// The sequence.
    id: ID,
    /// The revision that is to be published; CONFLICT if it is another one by now.
    expected_revision: Option<i32>,
    /// What becomes of leads whose step is gone; left out, they go to the next step that is left.
    on_removed_step: Option<RemovedStepPolicyInput>,
    /// Answers the plan and the problems, and changes nothing.
    #[graphql(default_with = "Some(false)")]
    dry_run: Option<bool>,
}

/// What becomes of leads whose step is gone: exactly one field is set. A lead whose message is being
/// sent, or is unconfirmed, is not touched: if that left, the lead goes on at the next step that is left;
/// if it did not, the lead follows this.
#[derive(OneofObject)]
pub enum RemovedStepPolicyInput {
    /// They go to the next step of the old flow that the new one still has; only `true` has a
    /// meaning.
    Next(bool),
    /// They go where the map says; from a step that it does not name, to the next one.
    Map(Vec<StepMoveInput>),
    /// They stop, as STEP_REMOVED; only `true` has a meaning.
    Stop(bool),
}

/// Where the leads of one removed step go.
#[derive(InputObject)]
pub struct StepMoveInput {
    /// The key of the removed step.
    from: String,
    /// The key of a step of the new flow.
    to: String,
}

/// Names a sequence.
#[derive(InputObject)]
pub struct SequenceIdInput {
    /// The sequence.
    id: ID,
}

/// What a mutation of a sequence answers.
#[derive(SimpleObject, Default)]
pub struct SequencePayload {
    /// The sequence as it is now; null where there is none.
    sequence: Option<Sequence>,
    /// Why the mutation was refused; empty where it was not.
    user_errors: Vec<UserError>,
    /// What publishing refused, and its warnings.
    problems: Vec<FlowProblem>,
    /// What publishing does, or would do, to the leads in flight; null for other mutations.
    plan: Option<PublishPlan>,
}

/// What publishing does to the leads in flight, as they stood right before: one that goes on meanwhile is
/// counted where it stood.
#[derive(SimpleObject)]
pub struct PublishPlan {
    /// How the flow differs from the one that ran last.
    changes: Vec<FlowChange>,
    /// How many unfinished leads keep their step.
    staying: i32,
    /// How many go to another step.
    moving: i32,
    /// How many stop.
    stopping: i32,
    /// How many have finished the sequence.
    completing: i32,
}

/// How a step differs from the one that ran last.
#[derive(SimpleObject)]
pub struct FlowChange {
    /// The step.
    step_key: String,
    /// How it differs.
    change: FlowChangeKind,
    /// How many unfinished leads stand there.
    leads_there: i32,
    /// Where they go; null where they stay, stop or have finished.
    moves_to: Option<String>,
}

/// How a step differs between two flows.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::flow::StepChangeKind")]
pub enum FlowChangeKind {
    /// Only the new flow has it.
    Added,
    /// Only the old flow has it.
    Removed,
    /// What it does has changed.
    Changed,
    /// Only where it leads to has changed.
    Rewired,
}

impl From<PlannedChange> for FlowChange {
    fn from(planned: PlannedChange) -> Self {
        let moves_to = match planned.change.destination {
            Some(Destination::Step(key)) => Some(key),
            Some(Destination::Complete | Destination::Stop) | None => None,
        };
        Self {
            step_key: planned.change.step_key,
            change: planned.change.kind.into(),
            leads_there: count(planned.leads_there),
            moves_to,
        }
    }
}

impl From<app::publish::PublishPlan> for PublishPlan {
    fn from(plan: app::publish::PublishPlan) -> Self {
        Self {
            changes: plan.changes.into_iter().map(FlowChange::from).collect(),
            staying: count(plan.staying),
            moving: count(plan.moving),
            stopping: count(plan.stopping),
            completing: count(plan.completing),
        }
    }
}

fn count(number: i64) -> i32 {
    i32::try_from(number).unwrap_or(i32::MAX)
}

impl SequencePayload {
    fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            user_errors,
            ..Self::default()
        }
    }

    fn of(done: Result<store::sequence::Sequence, AppError>) -> Result<Self> {
        match done {
            Ok(row) => Ok(Self {
                sequence: Some(Sequence(Arc::new(row))),
                ..Self::default()
            }),
            Err(error) => Ok(Self::refused(user_errors(error)?)),
        }
    }

    fn of_publishing(published: Published) -> Self {
        Self {
            sequence: Some(Sequence(Arc::new(published.sequence))),
            user_errors: published
                .refusals
                .into_iter()
                .map(UserError::from)
                .collect(),
            problems: published
                .problems
                .into_iter()
                .map(FlowProblem::from)
                .collect(),
            plan: published.plan.map(PublishPlan::from),
        }
    }
}

fn policy(input: Option<RemovedStepPolicyInput>) -> Result<PolicyInput, UserError> {
    let refused = |field: &str, other: &str| {
        let message = format!("{field} can only be true: leave it out, or choose {other}.");
        UserError::new(UserErrorCode::Invalid, message, &["onRemovedStep", field])
    };
    match input {
        None | Some(RemovedStepPolicyInput::Next(true)) => Ok(PolicyInput::Next),
        Some(RemovedStepPolicyInput::Stop(true)) => Ok(PolicyInput::Stop),
        Some(RemovedStepPolicyInput::Next(false)) => Err(refused("next", "stop or map")),
        Some(RemovedStepPolicyInput::Stop(false)) => Err(refused("stop", "next or map")),
        Some(RemovedStepPolicyInput::Map(moves)) => Ok(PolicyInput::Map(
            moves.into_iter().map(|step| (step.from, step.to)).collect(),
        )),
    }
}

/// Changing sequences.
#[derive(Default)]
pub struct SequenceMutation;

#[Object]
impl SequenceMutation {
    /// Makes a draft.
    async fn sequence_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sequence.")] input: SequenceCreateInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require(Role::Editor)?;
        let change = app::Change {
            name: Some(input.name),
            flow: input.flow.map(Into::into),
            settings: input.settings.map(Into::into),
        };
        SequencePayload::of(app::create(ctx.services(), caller, change).await)
    }

    /// Replaces the flow and the settings given; a draft or a disabled sequence only.
    async fn sequence_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sequence, and what to change.")] input: SequenceUpdateInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require_within(Role::Editor)?;
        let id = match node::id(&input.id, &["id"]) {
            Ok(id) => id,
            Err(error) => return Ok(SequencePayload::refused(vec![error])),
        };
        let change = app::Change {
            name: input.name,
            flow: input.flow.map(Into::into),
            settings: input.settings.map(Into::into),
        };
        let expected = input.expected_revision;
        SequencePayload::of(app::update(ctx.services(), caller, id, expected, change).await)
    }

    /// Lets a sequence send, after everything was checked. All that is wrong is answered at once,
    /// in `problems`. Publishing what is published changes nothing.
    async fn sequence_publish(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sequence, and how to publish it.")] input: SequencePublishInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require_within(Role::Editor)?;
        let (id, policy) = match (node::id(&input.id, &["id"]), policy(input.on_removed_step)) {
            (Ok(id), Ok(policy)) => (id, policy),
            (id, policy) => {
                let wrong = id.err().into_iter().chain(policy.err()).collect();
                return Ok(SequencePayload::refused(wrong));
            }
        };
        let publish = Publish {
            id,
            expected_revision: input.expected_revision,
            on_removed_step: policy,
            dry_run: input.dry_run.unwrap_or(false),
            plan: ctx.look_ahead().field("plan").exists(),
        };
        match app::publish::publish(ctx.services(), caller, publish).await {
            Ok(published) => Ok(SequencePayload::of_publishing(published)),
            Err(error) => Ok(SequencePayload::refused(user_errors(error)?)),
        }
    }

    /// Pauses all sends; leads keep their place and their due time.
    async fn sequence_disable(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which sequence.")] input: SequenceIdInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require_within(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => SequencePayload::of(app::disable(ctx.services(), caller, id).await),
            Err(error) => Ok(SequencePayload::refused(vec![error])),
        }
    }

    /// Puts a draft or a disabled sequence out of the way, read-only.
    async fn sequence_archive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which sequence.")] input: SequenceIdInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require_within(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => SequencePayload::of(app::archive(ctx.services(), caller, id).await),
            Err(error) => Ok(SequencePayload::refused(vec![error])),
        }
    }

    /// Back to DISABLED, or to DRAFT where the sequence was never published.
    async fn sequence_unarchive(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which sequence.")] input: SequenceIdInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require_within(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => SequencePayload::of(app::unarchive(ctx.services(), caller, id).await),
            Err(error) => Ok(SequencePayload::refused(vec![error])),
        }
    }

    /// A draft with the same flow and settings.
    async fn sequence_duplicate(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which sequence.")] input: SequenceIdInput,
    ) -> Result<SequencePayload> {
        let caller = ctx.require(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => SequencePayload::of(app::duplicate(ctx.services(), caller, id).await),
            Err(error) => Ok(SequencePayload::refused(vec![error])),
        }
    }
}
