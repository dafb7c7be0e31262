//! The flow of a sequence: its steps and how they connect.
//!
//! A flow is data, kept as JSON and frozen at publishing. [`check`](check()) finds everything
//! that publishing refuses, in one pass; [`CompiledFlow`] is what the engine runs.

mod check;
mod compile;
mod reconcile;

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

pub use self::check::{FlowProblem, FlowProblemCode, SenderFacts, Severity, check};
pub use self::compile::{CompiledFlow, CompiledStep, CompiledVariant};
pub use self::reconcile::{Destination, RemovedStepPolicy, StepChange, StepChangeKind, reconcile};
use super::duration::WaitDuration;
use super::id::SenderId;
use super::message::{ContentProblem, EmailContent, SubjectRule};

/// The most steps that a flow may have.
pub const STEPS_MAX: usize = 200;
/// The most variants that one step may have.
pub const VARIANTS_MAX: usize = 26;
/// The most senders that one step may name.
pub const STEP_SENDERS_MAX: usize = 200;

/// How a message or a piece of work reaches a person.
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
    /// Where a lead goes next; `None` ends the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Action {
    /// Sends an email.
    Email(EmailAction),
}

impl Action {
    /// The channel that the step uses.
    pub const fn channel(&self) -> Channel {
        match self {
            Self::Email(_) => Channel::Email,
        }
    }

    /// The senders that the step may use.
    pub fn senders(&self) -> &[SenderId] {
        match self {
            Self::Email(email) => &email.senders,
        }
    }
}

/// An email in one or more variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailAction {
    /// Who may send it; a lead keeps its sender as long as a step names it.
    pub senders: Vec<SenderId>,
    /// The alternative texts.
    pub variants: Vec<EmailVariant>,
    /// Send it as a reply in the thread of the lead's previous email.
    #[serde(default)]
    pub in_thread: bool,
    /// Note openings.
    #[serde(default)]
    pub track_opens: bool,
    /// Note clicks.
    #[serde(default)]
    pub track_clicks: bool,
}

/// One text of an email; the part that is left out is derived from the other.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EmailVariant {
    /// Its identity within the step.
    pub key: String,
    /// Its share among the enabled variants.
    pub weight: u32,
    /// Whether leads get it.
    pub enabled: bool,
    /// The subject, with merge tags; needed unless the email is a reply in a thread.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subject: Option<String>,
    /// The HTML part, with merge tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub html: Option<String>,
    /// The plain text part, with merge tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
}

impl EmailAction {
    /// A variant's text, compiled. A reply in a thread needs no subject of its own, but the first
    /// email of a flow has no thread to reply in.
    ///
    /// # Errors
    /// Every problem of every part.
    pub fn content(
        &self,
        variant: &EmailVariant,
        first: bool,
    ) -> Result<EmailContent, Vec<ContentProblem>> {
        let rule = if self.in_thread && !first {
            SubjectRule::FromThread
        } else {
            SubjectRule::Required
        };
        EmailContent::compile_with(
            variant.subject.as_deref(),
            variant.html.as_deref(),
            variant.text.as_deref(),
            rule,
        )
    }
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
