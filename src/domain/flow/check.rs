//! Everything that publishing refuses, and what is probably not meant, found in one pass.

use std::collections::{HashMap, HashSet};

use strum::{Display, EnumString, IntoStaticStr};

use super::{
    Action, Channel, EmailAction, EmailVariant, Flow, STEP_SENDERS_MAX, Step, VARIANTS_MAX,
};
use crate::domain::id::SenderId;
use crate::domain::message::ContentProblemKind;
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

/// Every problem of the flow under these settings, with the workspace's `senders`.
pub fn check(
    flow: &Flow,
    settings: &Settings,
    senders: &HashMap<SenderId, SenderFacts>,
) -> Vec<FlowProblem> {
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
    for (index, step) in flow.steps.iter().enumerate() {
        let Action::Email(email) = &step.action;
        check_senders(&mut found, index, step, senders);
        check_variants(&mut found, index, step, email, index == 0);
    }
    check_graph(&mut found, flow);
    found.0
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

fn check_senders(
    found: &mut Findings,
    index: usize,
    step: &Step,
    senders: &HashMap<SenderId, SenderFacts>,
) {
    let index = index.to_string();
    let path = ["steps", &index, "action", "email", "senderIds"];
    let ids = step.action.senders();
    if ids.is_empty() {
        found.error(
            Some(step),
            FlowProblemCode::NoSender,
            &path,
            format!("Step {} has no sender: name at least one.", step.key),
        );
        return;
    }
    if ids.len() > STEP_SENDERS_MAX {
        found.error(
            Some(step),
            FlowProblemCode::NoSender,
            &path,
            format!(
                "Step {} names more than {STEP_SENDERS_MAX} senders: name fewer.",
                step.key
            ),
        );
    }
    let mut enabled = 0;
    for (position, id) in ids.iter().enumerate() {
        let position = position.to_string();
        let path = [path[0], path[1], path[2], path[3], path[4], &position];
        match senders.get(id) {
            None => found.error(
                Some(step),
                FlowProblemCode::NoSender,
                &path,
                format!(
                    "Step {} names the sender {id}, which does not exist.",
                    step.key
                ),
            ),
            Some(sender) if sender.channel != step.action.channel() => found.error(
                Some(step),
                FlowProblemCode::WrongChannel,
                &path,
                format!(
                    "Step {} sends {}, but the sender {id} is for {}: choose another sender.",
                    step.key,
                    step.action.channel(),
                    sender.channel
                ),
            ),
            Some(sender) => enabled += usize::from(sender.enabled),
        }
    }
    if enabled == 0
        && ids
            .iter()
            .any(|id| senders.get(id).is_some_and(|sender| !sender.enabled))
    {
        found.error(
            Some(step),
            FlowProblemCode::SenderDisabled,
            &path,
            format!(
                "Every sender of step {} is switched off: enable one.",
                step.key
            ),
        );
    }
}

fn check_variants(
    found: &mut Findings,
    index: usize,
    step: &Step,
    email: &EmailAction,
    first: bool,
) {
    let index = index.to_string();
    let base = ["steps", &index, "action", "email", "variants"];
    if email.variants.is_empty() {
        found.error(
            Some(step),
            FlowProblemCode::EmptyMessage,
            &base,
            format!("Step {} has no text: add a variant.", step.key),
        );
        return;
    }
    let mut keys = HashSet::new();
    let too_many = email.variants.len() > VARIANTS_MAX;
    if too_many
        || !email
            .variants
            .iter()
            .all(|variant| keys.insert(&variant.key))
    {
        found.error(
            Some(step),
            FlowProblemCode::BadWeight,
            &base,
            format!(
                "Step {} may have up to {VARIANTS_MAX} variants, each with a key of its own.",
                step.key
            ),
        );
    }
    if !email
        .variants
        .iter()
        .any(|variant| variant.enabled && variant.weight > 0)
    {
        found.error(
            Some(step),
            FlowProblemCode::BadWeight,
            &base,
            format!(
                "No variant of step {} is enabled with a weight above 0.",
                step.key
            ),
        );
    }
    for (position, variant) in email.variants.iter().enumerate() {
        check_content(found, &base, position, step, email, variant, first);
    }
}

fn check_content(
    found: &mut Findings,
    base: &[&str],
    position: usize,
    step: &Step,
    email: &EmailAction,
    variant: &EmailVariant,
    first: bool,
) {
    let position = position.to_string();
    let Err(problems) = email.content(variant, first) else {
        return;
    };
    for problem in problems {
        let place = format!(
            "step {}, variant {}, {}",
            step.key, variant.key, problem.field
        );
        let (code, message) = match &problem.kind {
            ContentProblemKind::Empty => (
                FlowProblemCode::EmptyMessage,
                format!("The message is empty ({place}): write a text or an HTML part."),
            ),
            ContentProblemKind::NoSubject => (
                FlowProblemCode::NoSubject,
                format!("The email has no subject ({place}): write one."),
            ),
            ContentProblemKind::BrokenTag { line, message } => (
                FlowProblemCode::BrokenMergeTag,
                format!("{message} ({place}, line {line})"),
            ),
            ContentProblemKind::UnknownTag { tag, suggestion } => (
                FlowProblemCode::UnknownMergeTag,
                match suggestion {
                    Some(better) => {
                        format!("There is no field {tag} ({place}): did you mean {better}?")
                    }
                    None => format!(
                        "There is no field {tag} ({place}): use a person's field, or attributes.NAME."
                    ),
                },
            ),
        };
        let path: Vec<&str> = base
            .iter()
            .copied()
            .chain([position.as_str(), problem.field.as_str()])
            .collect();
        found.error(Some(step), code, &path, message);
    }
}

fn check_graph(found: &mut Findings, flow: &Flow) {
    let mut index_of: HashMap<&str, usize> = HashMap::new();
    for (index, step) in flow.steps.iter().enumerate() {
        if index_of.insert(&step.key, index).is_some() {
            found.error(
                Some(step),
                FlowProblemCode::UnknownStep,
                &["steps", &index.to_string(), "key"],
                format!("Two steps have the key {}: give each its own.", step.key),
            );
        }
    }
    for (index, step) in flow.steps.iter().enumerate() {
        if let Some(next) = step
            .next
            .as_deref()
            .filter(|next| !index_of.contains_key(next))
        {
            found.error(
                Some(step),
                FlowProblemCode::UnknownStep,
                &["steps", &index.to_string(), "next"],
                format!("Step {} goes to {next}, which does not exist.", step.key),
            );
        }
    }
    let mut reached = vec![false; flow.steps.len()];
    let mut at = flow.steps.first().map(|_| 0);
    while let Some(index) = at {
        let (Some(step), Some(mark)) = (flow.steps.get(index), reached.get_mut(index)) else {
            break;
        };
        if std::mem::replace(mark, true) {
            found.error(
                Some(step),
                FlowProblemCode::Cycle,
                &["steps", &index.to_string()],
                format!(
                    "Leads would come back to step {} for ever: end the circle.",
                    step.key
                ),
            );
            break;
        }
        at = step
            .next
            .as_deref()
            .and_then(|next| index_of.get(next).copied());
    }
    for (index, step) in flow.steps.iter().enumerate() {
        if reached.get(index) == Some(&false) {
            found.error(
                Some(step),
                FlowProblemCode::UnreachableStep,
                &["steps", &index.to_string()],
                format!(
                    "No lead can get to step {}: connect it or take it out.",
                    step.key
                ),
            );
        }
    }
}
