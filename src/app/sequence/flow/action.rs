//! What a step does, as it is written; messages, predicates, webhooks and updates have files of
//! their own.

use super::{
    EmailInput, MessageInput, NAME_CHARS_MAX, PredicateInput, Reader, UpdateInput, WebhookInput,
    said,
};
use crate::domain::flow::{
    Action, BRANCHES_MAX, Channel, ConditionAction, EndAction, SplitAction, SplitBranch, TaskAction,
};
use crate::domain::template::MAX_SOURCE_BYTES;

/// The longest reason for an end, in characters.
const REASON_CHARS_MAX: usize = 500;
/// What kinds of work a person does.
const TASK_CHANNELS: [Channel; 3] = [Channel::Call, Channel::Linkedin, Channel::Task];

/// What a step does, as it is written.
#[derive(Debug, Clone)]
pub enum ActionInput {
    /// Sends an email.
    Email(EmailInput),
    /// Sends a text message.
    Sms(MessageInput),
    /// Sends a WhatsApp message.
    Whatsapp(MessageInput),
    /// Gives work to a person.
    Task(TaskInput),
    /// Waits for a predicate and takes a branch.
    Condition(ConditionInput),
    /// Divides leads by weight.
    Split(SplitInput),
    /// Makes a request to another program.
    Webhook(WebhookInput),
    /// Writes into the person.
    Update(UpdateInput),
    /// Ends the sequence.
    End(EndInput),
}

/// A task as it is written.
#[derive(Debug, Clone)]
pub struct TaskInput {
    /// What kind of work.
    pub channel: Channel,
    /// What is to be done.
    pub title: String,
    /// How it is to be done.
    pub instructions: Option<String>,
    /// Who is to do it.
    pub assignee: Option<String>,
    /// After how long the lead goes on without it, as an ISO 8601 duration.
    pub timeout: Option<String>,
}

/// A condition as it is written.
#[derive(Debug, Clone)]
pub struct ConditionInput {
    /// What must hold.
    pub predicate: PredicateInput,
    /// How long it may take, as an ISO 8601 duration; left out, it is asked once.
    pub within: Option<String>,
    /// The step for those for whom it holds; left out, the next one of the list.
    pub yes: Option<String>,
    /// The step for the others; left out, the next one of the list.
    pub no: Option<String>,
}

/// A split as it is written.
#[derive(Debug, Clone)]
pub struct SplitInput {
    /// Its branches.
    pub branches: Vec<BranchInput>,
}

/// A branch of a split as it is written.
#[derive(Debug, Clone)]
pub struct BranchInput {
    /// Its share.
    pub weight: i32,
    /// Where it leads; left out, to the next step of the list.
    pub next: Option<String>,
}

/// An end as it is written.
#[derive(Debug, Clone)]
pub struct EndInput {
    /// Why, for people.
    pub reason: Option<String>,
}

impl ActionInput {
    /// What to write instead of `next`, where the step takes none.
    pub(super) const fn instead_of_next(&self) -> Option<&'static str> {
        match self {
            Self::Condition(_) => Some(
                "A condition goes on by its answer: leave next out, and name steps in yes and no.",
            ),
            Self::Split(_) => Some(
                "A split goes on by its branches: leave next out, and name a step in each branch.",
            ),
            Self::End(_) => Some("The step ends the sequence: leave next out."),
            Self::Email(_)
            | Self::Sms(_)
            | Self::Whatsapp(_)
            | Self::Task(_)
            | Self::Webhook(_)
            | Self::Update(_) => None,
        }
    }
}

impl Reader<'_> {
    pub(super) fn action(
        &mut self,
        base: &[&str],
        input: ActionInput,
        following: Option<&str>,
    ) -> Action {
        let at = |field| [base, &[field]].concat();
        match input {
            ActionInput::Email(email) => Action::Email(self.email(&at("email"), email)),
            ActionInput::Sms(message) => Action::Sms(self.message(&at("sms"), message)),
            ActionInput::Whatsapp(message) => {
                Action::Whatsapp(self.message(&at("whatsapp"), message))
            }
            ActionInput::Task(task) => Action::Task(self.task(&at("task"), task)),
            ActionInput::Condition(condition) => {
                Action::Condition(self.condition(&at("condition"), condition, following))
            }
            ActionInput::Split(split) => Action::Split(self.split(&at("split"), split, following)),
            ActionInput::Webhook(webhook) => Action::Webhook(self.webhook(&at("webhook"), webhook)),
            ActionInput::Update(update) => Action::Update(self.update(&at("update"), update)),
            ActionInput::End(end) => Action::End(self.end(&at("end"), end)),
        }
    }

    fn task(&mut self, base: &[&str], input: TaskInput) -> TaskAction {
        let at = |field| [base, &[field]].concat();
        if !TASK_CHANNELS.contains(&input.channel) {
            let message = format!(
                "No person does {}: give CALL, LINKEDIN or TASK, or use the step of that kind.",
                input.channel
            );
            self.invalid(message, &at("channel"));
        }
        self.text(&input.title, MAX_SOURCE_BYTES, &at("title"));
        let texts = [
            ("instructions", &input.instructions, MAX_SOURCE_BYTES),
            ("assignee", &input.assignee, NAME_CHARS_MAX * 4),
        ];
        for (field, text, bytes_max) in texts {
            if let Some(text) = text {
                self.text(text, bytes_max, &at(field));
            }
        }
        let timeout = self.duration(input.timeout.as_deref(), &at("timeout"));
        if timeout.is_some_and(|timeout| timeout.is_zero()) {
            let message = "timeout leaves no time for the task: give a longer one, or leave it out \
                           to wait until the task is done.";
            self.invalid(message, &at("timeout"));
        }
        TaskAction {
            channel: input.channel,
            title: input.title,
            instructions: said(input.instructions),
            assignee: said(input.assignee),
            timeout,
        }
    }

    fn condition(
        &mut self,
        base: &[&str],
        input: ConditionInput,
        following: Option<&str>,
    ) -> ConditionAction {
        let at = |field| [base, &[field]].concat();
        let predicate = self.predicate(&at("predicate"), input.predicate);
        let within = self.duration(input.within.as_deref(), &at("within"));
        ConditionAction {
            predicate,
            within: within.unwrap_or_default(),
            yes: self.next(input.yes, following, &at("yes")),
            no: self.next(input.no, following, &at("no")),
        }
    }

    fn split(&mut self, base: &[&str], input: SplitInput, following: Option<&str>) -> SplitAction {
        let path = [base, &["branches"]].concat();
        self.limit(input.branches.len(), BRANCHES_MAX, "branches", &path);
        let branches = input.branches.into_iter().take(BRANCHES_MAX).enumerate();
        let branches = branches
            .map(|(position, branch)| {
                let position = position.to_string();
                let at = |field| [&path[..], &[&position, field]].concat();
                SplitBranch {
                    weight: self.weight(branch.weight, &at("weight")),
                    next: self.next(branch.next, following, &at("next")),
                }
            })
            .collect();
        SplitAction { branches }
    }

    fn end(&mut self, base: &[&str], input: EndInput) -> EndAction {
        if let Some(reason) = &input.reason {
            self.text(reason, REASON_CHARS_MAX * 4, &[base, &["reason"]].concat());
        }
        EndAction {
            reason: said(input.reason),
        }
    }
}
