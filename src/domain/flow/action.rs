//! What steps do, as it is written and kept.

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::predicate::Predicate;
use super::{Channel, Step};
use crate::domain::duration::WaitDuration;
use crate::domain::id::SenderId;
use crate::domain::message::{ContentProblem, EmailContent, SubjectRule, TextContent};

/// What a step does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "camelCase")]
pub enum Action {
    /// Sends an email.
    Email(EmailAction),
    /// Sends a text message.
    Sms(MessageAction),
    /// Sends a WhatsApp message.
    Whatsapp(MessageAction),
    /// Gives work to a person, and waits until it is done.
    Task(TaskAction),
    /// Waits until a predicate holds or time is up, and takes a branch.
    Condition(ConditionAction),
    /// Divides leads at random by weight.
    Split(SplitAction),
    /// Makes a request to another program.
    Webhook(WebhookAction),
    /// Writes into the person.
    Update(UpdateAction),
    /// Ends the sequence for the lead, as completed.
    End(EndAction),
}

impl Action {
    /// The channel that the step uses; none for one that reaches nobody.
    pub const fn channel(&self) -> Option<Channel> {
        match self {
            Self::Email(_) => Some(Channel::Email),
            Self::Sms(_) => Some(Channel::Sms),
            Self::Whatsapp(_) => Some(Channel::Whatsapp),
            Self::Task(task) => Some(task.channel),
            Self::Webhook(_) => Some(Channel::Webhook),
            Self::Condition(_) | Self::Split(_) | Self::Update(_) | Self::End(_) => None,
        }
    }

    /// Its name in the API's inputs.
    pub const fn field(&self) -> &'static str {
        match self {
            Self::Email(_) => "email",
            Self::Sms(_) => "sms",
            Self::Whatsapp(_) => "whatsapp",
            Self::Task(_) => "task",
            Self::Condition(_) => "condition",
            Self::Split(_) => "split",
            Self::Webhook(_) => "webhook",
            Self::Update(_) => "update",
            Self::End(_) => "end",
        }
    }

    /// The senders that the step may use.
    pub fn senders(&self) -> &[SenderId] {
        match self {
            Self::Email(email) => &email.senders,
            Self::Sms(message) | Self::Whatsapp(message) => &message.senders,
            Self::Task(_)
            | Self::Condition(_)
            | Self::Split(_)
            | Self::Webhook(_)
            | Self::Update(_)
            | Self::End(_) => &[],
        }
    }

    /// Whether it sends a message through a sender.
    pub const fn is_message(&self) -> bool {
        matches!(self, Self::Email(_) | Self::Sms(_) | Self::Whatsapp(_))
    }

    /// Whether it keeps to the send windows, as [`CompiledStep::keeps_windows`] says.
    ///
    /// [`CompiledStep::keeps_windows`]: super::CompiledStep::keeps_windows
    pub const fn keeps_windows(&self) -> bool {
        self.is_message() || matches!(self, Self::Task(_))
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
    /// A variant's text, compiled. A reply in a thread needs no subject of its own, but an email that
    /// may be a lead's first has no thread to reply in.
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

/// A text or WhatsApp message in one or more variants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageAction {
    /// Who may send it.
    pub senders: Vec<SenderId>,
    /// The alternative texts.
    pub variants: Vec<MessageVariant>,
}

/// One text of a text or WhatsApp message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct MessageVariant {
    /// Its identity within the step.
    pub key: String,
    /// Its share among the enabled variants.
    pub weight: u32,
    /// Whether leads get it.
    pub enabled: bool,
    /// The text, with merge tags.
    pub body: String,
}

impl MessageVariant {
    /// The text, compiled.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn content(&self) -> Result<TextContent, Vec<ContentProblem>> {
        TextContent::message(&self.body)
    }
}

/// Work for a person. The lead waits until it is completed, skipped, or `timeout` has passed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TaskAction {
    /// What kind of work: a call, a touch on LinkedIn, anything else.
    pub channel: Channel,
    /// What is to be done, in one line with merge tags.
    pub title: String,
    /// How it is to be done, with merge tags.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instructions: Option<String>,
    /// Who is to do it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub assignee: Option<String>,
    /// After how long the lead goes on without it; none waits for ever.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub timeout: Option<WaitDuration>,
}

/// Waits until the predicate holds or `within` has passed, then takes a branch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct ConditionAction {
    /// What must hold.
    pub predicate: Predicate,
    /// How long it may take to come true; zero asks once.
    #[serde(default)]
    pub within: WaitDuration,
    /// Where a lead goes for which it holds; `None` ends the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub yes: Option<String>,
    /// Where the others go; `None` ends the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub no: Option<String>,
}

/// Divides leads at random by weight, the same way for the same lead.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitAction {
    /// The branches.
    pub branches: Vec<SplitBranch>,
}

/// One branch of a split.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct SplitBranch {
    /// Its share.
    pub weight: u32,
    /// Where it leads; `None` ends the sequence.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A request to another program.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct WebhookAction {
    /// Where it goes.
    pub url: String,
    /// Its headers, beside those that the engine sets: names and texts.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub headers: Option<Map<String, Value>>,
    /// Its body as JSON with merge tags; left out, the lead and its person.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Writes into the person.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct UpdateAction {
    /// Fields and their new values; `null` takes a value away. `attributes` is merged.
    pub set: Map<String, Value>,
}

/// Ends the sequence for the lead, as completed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EndAction {
    /// Why, for people.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// One way out of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Exit<'a> {
    /// Which way: `next`, `yes`, `no`, or the index of a split's branch.
    pub answer: Answer,
    /// The step that it leads to; `None` ends the sequence.
    pub to: Option<&'a str>,
}

/// What a lead's way out of a step hung on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Answer {
    /// Nothing: the step has one way out.
    Next,
    /// Whether the condition held.
    Held(bool),
    /// The branch of the split, from 0.
    Branch(usize),
}

impl Answer {
    /// As executions keep it: `yes`, `no`, the number of the branch; nothing for the only way.
    pub fn word(self) -> Option<String> {
        match self {
            Self::Next => None,
            Self::Held(true) => Some("yes".to_owned()),
            Self::Held(false) => Some("no".to_owned()),
            Self::Branch(index) => Some(index.to_string()),
        }
    }
}

impl Step {
    /// Every way out of the step, in the order of its author. A way that ends the sequence is one, too;
    /// a step that ends it itself has none.
    pub fn exits(&self) -> Vec<Exit<'_>> {
        let exit = |answer, to| Exit { answer, to };
        match &self.action {
            Action::Condition(condition) => vec![
                exit(Answer::Held(true), condition.yes.as_deref()),
                exit(Answer::Held(false), condition.no.as_deref()),
            ],
            Action::Split(split) => split
                .branches
                .iter()
                .enumerate()
                .map(|(index, branch)| exit(Answer::Branch(index), branch.next.as_deref()))
                .collect(),
            Action::End(_) => Vec::new(),
            Action::Email(_)
            | Action::Sms(_)
            | Action::Whatsapp(_)
            | Action::Task(_)
            | Action::Webhook(_)
            | Action::Update(_) => vec![exit(Answer::Next, self.next.as_deref())],
        }
    }
}
