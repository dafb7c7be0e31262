//! Flows in the API: the graph of steps, what is wrong with one, and how one is written.

pub(in crate::graphql) mod action;
mod input;
mod predicate;

use std::sync::Arc;

use async_graphql::{Enum, Object, SimpleObject};

pub use self::action::StepAction;
pub use self::input::FlowInput;
use super::channel::Channel;
use super::prompt::Prompt;
use super::scalar::Duration;
use crate::domain::flow as domain;

/// A directed acyclic graph of steps; the first step of the list is where leads enter.
pub struct Flow(Arc<domain::Flow>);

/// A directed acyclic graph of steps; the first step of the list is where leads enter.
#[Object]
impl Flow {
    /// The steps, in the order in which they were written.
    async fn steps(&self) -> Vec<Step> {
        let step = |index| Step {
            flow: Arc::clone(&self.0),
            index,
        };
        (0..self.0.steps.len()).map(step).collect()
    }
}

impl From<Arc<domain::Flow>> for Flow {
    fn from(flow: Arc<domain::Flow>) -> Self {
        Self(flow)
    }
}

/// One step. `key` is its identity across versions: leads keep their place by it.
#[derive(Clone)]
pub struct Step {
    flow: Arc<domain::Flow>,
    /// Its place among the flow's steps.
    index: usize,
}

/// One step. `key` is its identity across versions: leads keep their place by it.
#[Object]
impl Step {
    /// The step's stable name, unique in the flow.
    async fn key(&self) -> &str {
        &self.step().key
    }

    /// What people call the step; null if it has no name.
    async fn name(&self) -> Option<&str> {
        self.step().name.as_deref()
    }

    /// How long after the step before it (or after enrolment) this one is due.
    async fn wait(&self) -> Duration {
        self.step().wait.to_string().into()
    }

    /// Count only the days on which the send window opens.
    async fn business_days(&self) -> bool {
        self.step().business_days
    }

    /// The channel that the step uses; null for a step that reaches nobody.
    async fn channel(&self) -> Option<Channel> {
        self.step().action.channel().map(Into::into)
    }

    /// What the step does.
    async fn action(&self) -> StepAction<'_> {
        StepAction::from(&self.step().action)
    }

    /// What becomes of a lead that has no address for the step.
    async fn on_missing_address(&self) -> MissingPolicy {
        self.step().on_missing_address.into()
    }

    /// What becomes of a lead for which a merge tag of the step has neither a value nor a default.
    async fn on_missing_data(&self) -> MissingPolicy {
        self.step().on_missing_data.into()
    }

    /// Where a lead goes next; null ends the sequence. A condition or a split names its branches in
    /// its action instead.
    async fn next(&self) -> Option<&str> {
        self.step().next.as_deref()
    }
}

impl Prompt for Step {
    const AT_ONCE: &'static [&'static str] =
        &["key", "name", "wait", "businessDays", "channel", "next"];
}

impl Step {
    /// The step of a flow with this key, if there is one.
    pub fn find(flow: &Arc<domain::Flow>, key: &str) -> Option<Self> {
        let index = flow.steps.iter().position(|step| step.key == key)?;
        let flow = Arc::clone(flow);
        Some(Self { flow, index })
    }

    fn step(&self) -> &domain::Step {
        &self.flow.steps[self.index]
    }
}

/// What becomes of a lead that lacks something for a step.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::MissingPolicy")]
pub enum MissingPolicy {
    /// The step is skipped, and the lead goes on.
    Skip,
    /// The lead waits at the step until the person has what it lacks.
    Hold,
    /// The lead stops, with the reason MISSING_DATA.
    Stop,
}

/// Whether a problem forbids publishing.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::Severity")]
pub enum Severity {
    /// Publishing refuses it.
    Error,
    /// Probably not meant; publishing goes on.
    Warning,
}

/// What is wrong with a flow.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "domain::FlowProblemCode")]
pub enum FlowProblemCode {
    /// The flow is empty.
    NoSteps,
    /// A step has nobody to send it.
    NoSender,
    /// Every sender of a step is switched off.
    SenderDisabled,
    /// A sender belongs to another channel.
    WrongChannel,
    /// A message, a task or the body of a request has no text.
    EmptyMessage,
    /// A first email has no subject; as a warning, a reply in a thread has none that nothing was sent
    /// before if steps are skipped for want of data.
    NoSubject,
    /// A text is longer than any that can be sent, whatever its merge tags stand for.
    MessageTooLong,
    /// A reply in a thread may come from another sender than the email that it follows.
    ThreadSender,
    /// A merge tag cannot be read, or the body of a request is not JSON around its tags; as a warning, a tag
    /// stands where none is read, and goes out as it is written, or leaves a body JSON for some only.
    BrokenMergeTag,
    /// A merge tag names no known field; as a warning, an attribute that nobody was seen with.
    UnknownMergeTag,
    /// A way out of a step leads to one that does not exist, a condition asks for one, or two steps
    /// share a key.
    UnknownStep,
    /// No lead can ever get to a step; as a warning, only branches of weight 0 lead to it.
    UnreachableStep,
    /// A lead would go round for ever.
    Cycle,
    /// The send window never opens, or not within a year, because each falls on a holiday.
    NoWindow,
    /// The weights of variants or branches add up to nothing, or variants share a key.
    BadWeight,
    /// A condition has only one answer for everybody; as a warning, it probably has, as when it asks for
    /// an attribute that nobody was seen with.
    UntestedCondition,
    /// An email does not say how to receive no more.
    MissingUnsubscribe,
    /// Contacts cannot reach this server: a warning where an email is to note opens or clicks, an error where
    /// its text names the address of the opt-out. Start the server with `--public-url`, or give the sender a
    /// `trackingDomain`.
    NoPublicUrl,
    /// In a preview only: a merge tag that can be read has no value for the person, and no default.
    MissingData,
    /// In a preview only: the person has no address for the step, or one that nothing can be sent to.
    MissingAddress,
}

/// One problem of a flow, with its place.
#[derive(SimpleObject, Debug)]
pub struct FlowProblem {
    /// Whether it forbids publishing.
    severity: Severity,
    /// What is wrong, for programs.
    code: FlowProblemCode,
    /// What is wrong and what to do, for people.
    message: String,
    /// The step at fault; null where it is the flow as a whole or the settings.
    step_key: Option<String>,
    /// The field at fault, from the flow: ["steps", "2", "action", "email", "variants", "0",
    /// "subject"].
    path: Vec<String>,
}

impl From<domain::FlowProblem> for FlowProblem {
    fn from(problem: domain::FlowProblem) -> Self {
        Self {
            severity: problem.severity.into(),
            code: problem.code.into(),
            message: problem.message,
            step_key: problem.step_key,
            path: problem.path,
        }
    }
}
