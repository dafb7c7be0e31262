//! Everything that publishing refuses, and what is probably not meant, found in one pass.

mod condition;
mod content;
mod contradiction;
mod graph;
mod literal;
mod message;
mod sentence;
mod webhook;
mod whole;

#[cfg(test)]
mod tests;

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Duration, Utc};
use strum::{Display, EnumString, IntoStaticStr};

use self::content::{Written, check_content, tell_all};
use self::whole::Whole;
use super::graph::Graph;
use super::{Action, Channel, Flow, Step};
use crate::domain::id::SenderId;
use crate::domain::message::TextContent;
use crate::domain::schedule::{self, Calendar};
use crate::domain::settings::Settings;
use crate::domain::zone::Zone;

/// Whether a problem forbids publishing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Severity {
    /// Publishing refuses it.
    Error,
    /// Probably not meant.
    Warning,
}

/// What is wrong with a flow.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum FlowProblemCode {
    /// The flow is empty.
    NoSteps,
    /// A step has nobody to send it.
    NoSender,
    /// A step's only sender is switched off.
    SenderDisabled,
    /// A sender belongs to another channel.
    WrongChannel,
    /// A message has no text.
    EmptyMessage,
    /// A first email has no subject; as a warning, one that may turn out to be the first.
    NoSubject,
    /// A text is longer than any that can be sent.
    MessageTooLong,
    /// A reply in a thread may come from another sender than the email that it follows.
    ThreadSender,
    /// A merge tag cannot be read, or the body of a request is not JSON around its tags; as a warning, a tag
    /// stands where none is read, or leaves a body JSON for some only.
    BrokenMergeTag,
    /// A merge tag names no known field.
    UnknownMergeTag,
    /// `next` names a step that does not exist, or two steps share a key.
    UnknownStep,
    /// No lead can ever get to a step.
    UnreachableStep,
    /// A lead would go round for ever.
    Cycle,
    /// The send window never opens, or not for a year.
    NoWindow,
    /// The weights add up to nothing.
    BadWeight,
    /// A condition has only one answer for everybody.
    UntestedCondition,
    /// An email does not say how to receive no more.
    MissingUnsubscribe,
    /// This server has no address by which contacts reach it, and so cannot note openings and clicks, nor
    /// take opt-outs.
    NoPublicUrl,
    /// A merge tag has no value for a person. Only a preview tells it, as the next.
    MissingData,
    /// A person has no address for a step. No flow has this problem by itself: only a preview, which
    /// is for somebody, tells it.
    MissingAddress,
}

/// One problem of a flow, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FlowProblem {
    /// Whether it forbids publishing.
    pub severity: Severity,
    /// What is wrong, for programs.
    pub code: FlowProblemCode,
    /// What is wrong and what to do, for people.
    pub message: String,
    /// The step at fault.
    pub step_key: Option<String>,
    /// The field at fault, from the flow.
    pub path: Vec<String>,
}

/// What a check has to know of a sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SenderFacts {
    /// What it sends.
    pub channel: Channel,
    /// Whether it is switched on.
    pub enabled: bool,
}

/// What a check has to know of the workspace.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// The workspace's senders that the flow names.
    pub senders: HashMap<SenderId, SenderFacts>,
    /// Those of them by whose emails contacts cannot reach this server, as it has no address for that.
    pub unmarked: BTreeSet<SenderId>,
    /// Which attributes people have; none, nothing is known of it.
    pub attributes: Option<Attributes>,
    /// From when on the windows are to open, and the sequence's clock; none, that is not asked.
    pub opening: Option<(DateTime<Utc>, Zone)>,
}

/// The attributes that people have.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Their names.
    pub names: BTreeSet<String>,
    /// How many people were looked at; nobody else's attributes are among these.
    pub people: usize,
    /// Whether there are more people than that.
    pub is_sample: bool,
}

/// For how many misspelled attributes of a flow the one that was meant is looked for: it is compared
/// with every name that is known.
const SUGGESTIONS_MAX: usize = 20;

/// Within how many days a window has to open.
const YEAR_DAYS: i64 = 365;

/// Every problem of the flow under these settings. What it takes grows with the flow's text, and with
/// the square of its steps: whoever has others to serve does it aside.
pub fn check(flow: &Flow, settings: &Settings, facts: &Facts) -> Vec<FlowProblem> {
    let mut found = Findings::default();
    if flow.steps.is_empty() {
        found.error(
            None,
            FlowProblemCode::NoSteps,
            &["steps"],
            "Add at least one step.",
        );
    }
    check_windows(&mut found, settings, facts);
    let graph = Graph::of(flow);
    let first_emails = graph.before_any_email();
    let whole = Whole::of(flow, &graph, settings);
    let mut suggestions = SUGGESTIONS_MAX;
    for (index, step) in flow.steps.iter().enumerate() {
        let mut at = Place {
            found: &mut found,
            facts,
            whole: &whole,
            suggestions: &mut suggestions,
            step,
            at: index,
            index: index.to_string(),
        };
        match &step.action {
            Action::Email(email) => {
                at.senders();
                at.email(email, first_emails.contains(&index));
                at.marks(email);
                at.thread(email);
            }
            Action::Sms(message) | Action::Whatsapp(message) => {
                at.senders();
                at.text_message(message);
            }
            Action::Task(task) => {
                at.literal(&["assignee"], task.assignee.as_deref());
                let title = TextContent::title(&task.title);
                at.text(Written::ALONE, title);
                if let Some(instructions) = &task.instructions {
                    let instructions = TextContent::instructions(instructions);
                    at.text(Written::ALONE, instructions);
                }
            }
            Action::Webhook(webhook) => {
                at.literal(&["url"], Some(&webhook.url));
                at.literals(&["headers"], webhook.headers.as_ref());
                at.body(webhook);
            }
            Action::Condition(condition) => at.condition(condition),
            Action::Split(split) => at.split(split),
            Action::Update(update) => at.literals(&["set"], Some(&update.set)),
            Action::End(_) => {}
        }
    }
    graph::check_graph(&mut found, flow, &graph);
    found.0
}

/// Windows that never open, or so late that hardly anybody means it.
fn check_windows(found: &mut Findings, settings: &Settings, facts: &Facts) {
    let path = ["settings", "sendWindows"];
    let mut error = |message: &str| found.error(None, FlowProblemCode::NoWindow, &path, message);
    if settings.send_windows.is_empty() {
        return error("The send window never opens: add at least one send window to the settings.");
    }
    let Some((from, zone)) = &facts.opening else {
        return;
    };
    let opens = schedule::next_open(*from, &Calendar::new(zone, settings));
    if opens.is_none_or(|opens| opens - from > Duration::days(YEAR_DAYS)) {
        error(
            "No send window opens within a year, because each falls on a holiday: add a send window, or \
             take holidays out of the settings.",
        );
    }
}

/// A step that is being checked.
struct Place<'a> {
    found: &'a mut Findings,
    facts: &'a Facts,
    whole: &'a Whole<'a>,
    /// For how many more misspelled names another is looked for.
    suggestions: &'a mut usize,
    step: &'a Step,
    /// Its place in the flow.
    at: usize,
    /// The same, as paths have it.
    index: String,
}

impl Place<'_> {
    /// The path of a field of the step's action.
    fn path(&self, field: &[&str]) -> Vec<String> {
        ["steps", &self.index, "action", self.step.action.field()]
            .iter()
            .chain(field)
            .map(|part| (*part).to_owned())
            .collect()
    }

    fn problem(
        &mut self,
        severity: Severity,
        code: FlowProblemCode,
        field: &[&str],
        message: impl Into<String>,
    ) {
        let path = self.path(field);
        let path: Vec<&str> = path.iter().map(String::as_str).collect();
        self.found
            .push(severity, Some(self.step), code, &path, message);
    }

    fn error(&mut self, code: FlowProblemCode, field: &[&str], message: impl Into<String>) {
        self.problem(Severity::Error, code, field, message);
    }

    fn warning(&mut self, code: FlowProblemCode, field: &[&str], message: impl Into<String>) {
        self.problem(Severity::Warning, code, field, message);
    }
}

#[derive(Default)]
struct Findings(Vec<FlowProblem>);

impl Findings {
    fn push(
        &mut self,
        severity: Severity,
        step: Option<&Step>,
        code: FlowProblemCode,
        path: &[&str],
        message: impl Into<String>,
    ) {
        self.0.push(FlowProblem {
            severity,
            code,
            message: message.into(),
            step_key: step.map(|step| step.key.clone()),
            path: path.iter().map(|part| (*part).to_owned()).collect(),
        });
    }

    fn error(
        &mut self,
        step: Option<&Step>,
        code: FlowProblemCode,
        path: &[&str],
        message: impl Into<String>,
    ) {
        self.push(Severity::Error, step, code, path, message);
    }
}
