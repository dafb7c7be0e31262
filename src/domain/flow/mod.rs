//! The flow of a sequence: its steps and how they connect.
//!
//! A flow is data, kept as JSON and frozen at publishing. [`check`](check()) finds everything
//! that publishing refuses, in one pass; [`CompiledFlow`] is what the engine runs.

mod action;
mod ahead;
mod check;
mod compile;
mod difference;
mod graph;
mod missing;
mod predicate;
mod reconcile;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumCount, EnumIter, EnumString, IntoStaticStr};

pub use self::action::{
    Action, Answer, ConditionAction, EmailAction, EmailVariant, EndAction, Exit, MessageAction,
    MessageVariant, SplitAction, SplitBranch, TaskAction, UpdateAction, WebhookAction,
};
pub use self::check::{
    Attributes, Facts, FlowProblem, FlowProblemCode, SenderFacts, Severity, check,
};
pub use self::compile::{
    CompiledCondition, CompiledFlow, CompiledSplit, CompiledStep, CompiledTask, CompiledVariant,
    CompiledWebhook, Content, NotRunnable, Work, chosen,
};
pub use self::difference::{Difference, FieldDifference, StepDifference, difference};
pub use self::missing::missing_tags;
pub use self::predicate::{
    ANY_STEP, DEPTH_MAX, LeadFacts, PREDICATES_MAX, PersonFacts, Predicate, WrittenMatch,
};
pub use self::reconcile::{
    Destination, RemovedStepPolicy, RemovedSteps, StepChange, StepChangeKind, reconcile,
    removed_steps,
};
use super::duration::WaitDuration;
use super::id::SenderId;

/// The most steps that a flow may have.
pub const STEPS_MAX: usize = 200;
/// The most variants that one step may have.
pub const VARIANTS_MAX: usize = 26;
/// The most senders that one step may name.
pub const STEP_SENDERS_MAX: usize = 200;
/// The most branches that one split may have.
pub const BRANCHES_MAX: usize = 26;

/// How a message or a piece of work reaches a person.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Serialize,
    Deserialize,
    Display,
    EnumCount,
    EnumIter,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Channel {
    /// Email.
    Email,
    /// Text message.
    Sms,
    /// WhatsApp message.
    Whatsapp,
    /// Telephone call, made by a person.
    Call,
    /// A touch on LinkedIn, made by a person.
    Linkedin,
    /// Any other work for a person.
    Task,
    /// A request to another program.
    Webhook,
}

impl Channel {
    /// Whether it carries messages that a sender sends: work for people and requests are none.
    pub const fn is_message(self) -> bool {
        match self {
            Self::Email | Self::Sms | Self::Whatsapp => true,
            Self::Call | Self::Linkedin | Self::Task | Self::Webhook => false,
        }
    }
}

/// A directed acyclic graph of steps; leads enter at the first.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Flow {
    /// The steps, in the order in which the author wrote them.
    pub steps: Vec<Step>,
}

/// One node of a flow.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Step {
    /// Its identity across versions: leads keep their place by it.
    pub key: String,
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// How long after the step before it (or after enrolment) it is due.
    #[serde(default)]
    pub wait: WaitDuration,
    /// Count only the days that the send window opens.
    #[serde(default)]
    pub business_days: bool,
    /// What the step does.
    pub action: Action,
    /// What becomes of a lead that has no address for the step.
    #[serde(default = "skip", skip_serializing_if = "is_skip")]
    pub on_missing_address: MissingPolicy,
    /// What becomes of a lead for which a merge tag has neither a value nor a default.
    #[serde(default = "hold", skip_serializing_if = "is_hold")]
    pub on_missing_data: MissingPolicy,
    /// Where a lead goes next; `None` ends the sequence. Conditions, splits and ends have none: their
    /// ways out are in the action.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What becomes of a lead that lacks something for a step.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum MissingPolicy {
    /// The step is skipped and the lead goes on.
    Skip,
    /// The lead waits until the person is completed.
    Hold,
    /// The lead stops, with the reason `MISSING_DATA`.
    Stop,
}

const fn skip() -> MissingPolicy {
    MissingPolicy::Skip
}

const fn hold() -> MissingPolicy {
    MissingPolicy::Hold
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_skip(policy: &MissingPolicy) -> bool {
    *policy == MissingPolicy::Skip
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "what serde calls it with"
)]
fn is_hold(policy: &MissingPolicy) -> bool {
    *policy == MissingPolicy::Hold
}

impl Flow {
    /// Every sender that some step names, each once.
    pub fn senders(&self) -> Vec<SenderId> {
        let mut senders: Vec<SenderId> = self
            .steps
            .iter()
            .flat_map(|step| step.action.senders())
            .copied()
            .collect();
        senders.sort_unstable();
        senders.dedup();
        senders
    }
}
