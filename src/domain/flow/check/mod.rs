//! Everything that publishing refuses, and what is probably not meant, found in one pass.

mod condition;
mod content;
mod graph;
mod message;

use std::collections::{BTreeSet, HashMap};

use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr};

use self::content::check_content;
use super::graph::Graph;
use super::{Action, Channel, Flow, Step};
use crate::domain::id::SenderId;
use crate::domain::message::TextContent;
use crate::domain::settings::Settings;

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
    /// A first email has no subject.
    NoSubject,
    /// A merge tag cannot be read.
    BrokenMergeTag,
    /// A merge tag names no known field.
    UnknownMergeTag,
    /// `next` names a step that does not exist, or two steps share a key.
    UnknownStep,
    /// No lead can ever get to a step.
    UnreachableStep,
    /// A lead would go round for ever.
    Cycle,
    /// The send window never opens.
    NoWindow,
    /// The weights add up to nothing.
    BadWeight,
    /// A condition has only one answer for everybody.
    UntestedCondition,
    /// An email does not say how to receive no more.
    MissingUnsubscribe,
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
#[derive(Debug, Clone, Copy)]
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
    /// Names of attributes that people have; empty, nothing is known of them.
    pub attributes: BTreeSet<String>,
}

/// Every problem of the flow under these settings.
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
    if settings.send_windows.is_empty() {
        found.error(
            None,
            FlowProblemCode::NoWindow,
            &["settings", "sendWindows"],
            "The send window never opens: add at least one send window to the settings.",
        );
    }
    let graph = Graph::of(flow);
    let first_emails = graph.before_any_email();
    let mut written = written_before(flow, &graph);
    for (index, step) in flow.steps.iter().enumerate() {
        let mut at = Place {
            found: &mut found,
            facts,
            step,
            index: index.to_string(),
            written: written.remove(&index).unwrap_or_default(),
        };
        match &step.action {
            Action::Email(email) => {
                at.senders();
                at.email(email, first_emails.contains(&index));
            }
            Action::Sms(message) | Action::Whatsapp(message) => {
                at.senders();
                at.text_message(message);
            }
            Action::Task(task) => {
                let title = TextContent::title(&task.title);
                at.text(&["title"], "", title);
                if let Some(instructions) = &task.instructions {
                    let instructions = TextContent::instructions(instructions);
                    at.text(&["instructions"], "", instructions);
                }
            }
            Action::Webhook(webhook) => {
                if let Some(body) = &webhook.body {
                    at.text(&["body"], "", TextContent::json(body));
                }
            }
            Action::Condition(condition) => at.condition(condition, flow, &graph, settings),
            Action::Split(split) => at.split(split),
            Action::Update(_) | Action::End(_) => {}
        }
    }
    graph::check_graph(&mut found, flow, &graph);
    found.0
}

/// A step that is being checked.
struct Place<'a> {
    found: &'a mut Findings,
    facts: &'a Facts,
    step: &'a Step,
    index: String,
    /// Attributes that steps on the way here write.
    written: BTreeSet<&'a str>,
}

/// For each step the attributes that an update on some way to it gives a value.
fn written_before<'a>(flow: &'a Flow, graph: &Graph<'_>) -> HashMap<usize, BTreeSet<&'a str>> {
    let mut written: HashMap<usize, BTreeSet<&str>> = HashMap::new();
    for (index, step) in flow.steps.iter().enumerate() {
        let Action::Update(update) = &step.action else {
            continue;
        };
        let attributes = update.set.get("attributes").and_then(Value::as_object);
        let given = attributes.into_iter().flatten();
        let names: Vec<&str> = (given.filter(|(_, value)| !value.is_null()))
            .map(|(name, _)| name.as_str())
            .collect();
        if names.is_empty() {
            continue;
        }
        for later in graph.behind(index) {
            written.entry(later).or_default().extend(&names);
        }
    }
    written
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
