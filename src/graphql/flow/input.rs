//! How a flow is written.

use async_graphql::{ID, InputObject, OneofObject};

use super::MissingPolicy;
use super::predicate::PredicateInput;
use crate::app::sequence as app;
use crate::domain::flow as domain;
use crate::graphql::channel::Channel;
use crate::graphql::scalar::{Duration, Json, Url};

/// A directed acyclic graph of steps; the first step of the list is where leads enter.
#[derive(InputObject, Debug)]
pub struct FlowInput {
    /// The steps, at most 200.
    steps: Vec<StepInput>,
}

/// One step of a flow.
#[derive(InputObject, Debug)]
pub struct StepInput {
    /// Stable name, unique in the flow: [a-z0-9_-]{1,64}, and not `end`.
    key: String,
    /// What people call the step.
    name: Option<String>,
    /// How long after the step before it (or after enrolment) this one is due.
    #[graphql(default_with = "Some(Duration::from(\"PT0S\"))")]
    wait: Option<Duration>,
    /// Count only the days on which the send window opens.
    #[graphql(default_with = "Some(false)")]
    business_days: Option<bool>,
    /// What the step does.
    action: StepActionInput,
    /// What becomes of a lead that has no address for the step: no email address, no phone number for a
    /// message or a call, no linkedinUrl for a LINKEDIN task. Whoever has one that must not be contacted
    /// on the step's channel passes it as SKIPPED with the code SUPPRESSED, whatever this says.
    #[graphql(default_with = "Some(MissingPolicy::Skip)")]
    on_missing_address: Option<MissingPolicy>,
    /// What becomes of a lead for which a merge tag of the step has neither a value nor a default.
    #[graphql(default_with = "Some(MissingPolicy::Hold)")]
    on_missing_data: Option<MissingPolicy>,
    /// The step after; left out, the next one in the list. `end` ends the sequence. A condition, a
    /// split and an end take none.
    next: Option<String>,
}

/// What a step does: exactly one field is set.
#[derive(OneofObject, Debug)]
pub enum StepActionInput {
    /// Send an email.
    Email(EmailActionInput),
    /// Send a text message.
    Sms(MessageActionInput),
    /// Send a WhatsApp message.
    Whatsapp(MessageActionInput),
    /// Give work to a person, and wait until it is done.
    Task(TaskActionInput),
    /// Wait for something, and take a branch.
    Condition(ConditionActionInput),
    /// Divide leads by weight.
    Split(SplitActionInput),
    /// Make a request to another program.
    Webhook(WebhookActionInput),
    /// Write into the person.
    Update(UpdateActionInput),
    /// End the sequence.
    End(EndActionInput),
}

/// An email in one or more variants.
#[derive(InputObject, Debug)]
pub struct EmailActionInput {
    /// Who may send it; leads are divided among them and keep theirs.
    sender_ids: Vec<ID>,
    /// The alternative texts, at most 26; leads are divided among them by weight.
    variants: Vec<EmailVariantInput>,
    /// Send as a reply in the thread of the lead's previous email.
    #[graphql(default_with = "Some(false)")]
    in_thread: Option<bool>,
    /// Note when the email is opened.
    #[graphql(default_with = "Some(true)")]
    track_opens: Option<bool>,
    /// Note when a link of the email is clicked.
    #[graphql(default_with = "Some(true)")]
    track_clicks: Option<bool>,
}

/// One text of an email.
#[derive(InputObject, Debug)]
pub struct EmailVariantInput {
    /// Stable name, unique in the step: [a-z0-9_-]{1,64}.
    #[graphql(default_with = "Some(\"a\".to_owned())")]
    key: Option<String>,
    /// Its share among the enabled variants.
    #[graphql(default_with = "Some(1)")]
    weight: Option<i32>,
    /// Whether leads get it.
    #[graphql(default_with = "Some(true)")]
    enabled: Option<bool>,
    /// The subject, with merge tags such as {{ first_name | default("there") }}; may be left out
    /// where the email is a reply in a thread. One that is given is used there, too; without one, a
    /// reply fails for a lead to which no email was sent before, as where each was skipped.
    subject: Option<String>,
    /// HTML with merge tags; left out, it is derived from the text.
    html: Option<String>,
    /// Text with merge tags; left out, it is derived from the HTML.
    text: Option<String>,
}

/// A text or WhatsApp message in one or more variants.
#[derive(InputObject, Debug)]
pub struct MessageActionInput {
    /// Who may send it; leads are divided among them and keep theirs.
    sender_ids: Vec<ID>,
    /// The alternative texts, at most 26; leads are divided among them by weight.
    variants: Vec<MessageVariantInput>,
}

/// One text of a text or WhatsApp message.
#[derive(InputObject, Debug)]
pub struct MessageVariantInput {
    /// Stable name, unique in the step: [a-z0-9_-]{1,64}.
    #[graphql(default_with = "Some(\"a\".to_owned())")]
    key: Option<String>,
    /// Its share among the enabled variants.
    #[graphql(default_with = "Some(1)")]
    weight: Option<i32>,
    /// Whether leads get it.
    #[graphql(default_with = "Some(true)")]
    enabled: Option<bool>,
    /// The text, with merge tags such as {{ first_name | default("there") }}.
    body: String,
}

/// Work for a person. The lead waits until the task is completed, skipped, or `timeout` has passed.
#[derive(InputObject, Debug)]
pub struct TaskActionInput {
    /// What kind of work: CALL, LINKEDIN or TASK.
    #[graphql(default_with = "Some(Channel::Task)")]
    channel: Option<Channel>,
    /// What is to be done, in one line with merge tags.
    title: String,
    /// How it is to be done, with merge tags.
    instructions: Option<String>,
    /// Who is to do it, as the team calls them.
    assignee: Option<String>,
    /// After how long the lead goes on although the task is not done; left out, it waits for ever.
    timeout: Option<Duration>,
}

/// Waits until the predicate holds or `within` has passed, then takes a branch.
#[derive(InputObject, Debug)]
pub struct ConditionActionInput {
    /// What must hold.
    predicate: PredicateInput,
    /// How long it may take to come true; PT0S asks once.
    #[graphql(default_with = "Some(Duration::from(\"PT0S\"))")]
    within: Option<Duration>,
    /// The step to which a lead goes as soon as it holds; left out, the next one in the list. `end`
    /// ends the sequence.
    yes: Option<String>,
    /// The step to which a lead goes when it has not come true in time; left out, the next one in the
    /// list. `end` ends the sequence.
    no: Option<String>,
}

/// Divides leads at random by weight, the same way for the same lead.
#[derive(InputObject, Debug)]
pub struct SplitActionInput {
    /// The branches, at most 26; each lead takes one of them.
    branches: Vec<SplitBranchInput>,
}

/// One branch of a split.
#[derive(InputObject, Debug)]
pub struct SplitBranchInput {
    /// Its share among the branches, 0 or more; with 0 no lead takes it.
    weight: i32,
    /// The step to which it leads; left out, the next one in the list. `end` ends the sequence.
    next: Option<String>,
}

/// A request to another program.
#[derive(InputObject, Debug)]
pub struct WebhookActionInput {
    /// Where the request goes: http or https, without a login.
    url: Url,
    /// Its headers as an object of texts, at most 20, beside those that are set with each request:
    /// {"Authorization": "Bearer x"}.
    headers: Option<Json>,
    /// Its body: JSON with merge tags in its texts, unless a header Content-Type says otherwise; left out,
    /// the lead and its person.
    body: Option<String>,
}

/// Writes into the person.
#[derive(InputObject, Debug)]
pub struct UpdateActionInput {
    /// Fields and their new values as an object: firstName, lastName, company, title, linkedinUrl,
    /// timeZone and country take a text, or null, which takes the value away; attributes takes an
    /// object, which is merged into those that the person has.
    set: Json,
}

/// Ends the sequence for the lead, which is then COMPLETED.
#[derive(InputObject, Debug)]
pub struct EndActionInput {
    /// Why, for people.
    reason: Option<String>,
}

// A field that is null, as an omitted variable makes it, has its default.

impl From<FlowInput> for app::FlowInput {
    fn from(input: FlowInput) -> Self {
        Self {
            steps: input.steps.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<StepInput> for app::StepInput {
    fn from(input: StepInput) -> Self {
        let or = |policy: Option<MissingPolicy>, default| policy.map_or(default, Into::into);
        Self {
            key: input.key,
            name: input.name,
            wait: input.wait.map(|wait| wait.0),
            business_days: input.business_days.unwrap_or(false),
            action: input.action.into(),
            on_missing_address: or(input.on_missing_address, domain::MissingPolicy::Skip),
            on_missing_data: or(input.on_missing_data, domain::MissingPolicy::Hold),
            next: input.next,
        }
    }
}

impl From<StepActionInput> for app::ActionInput {
    fn from(input: StepActionInput) -> Self {
        match input {
            StepActionInput::Email(email) => Self::Email(email.into()),
            StepActionInput::Sms(message) => Self::Sms(message.into()),
            StepActionInput::Whatsapp(message) => Self::Whatsapp(message.into()),
            StepActionInput::Task(task) => Self::Task(task.into()),
            StepActionInput::Condition(condition) => Self::Condition(condition.into()),
            StepActionInput::Split(split) => Self::Split(app::SplitInput {
                branches: split.branches.into_iter().map(Into::into).collect(),
            }),
            StepActionInput::Webhook(webhook) => Self::Webhook(app::WebhookInput {
                url: webhook.url.0,
                headers: webhook.headers.map(|headers| headers.0),
                body: webhook.body,
            }),
            StepActionInput::Update(update) => Self::Update(app::UpdateInput { set: update.set.0 }),
            StepActionInput::End(end) => Self::End(app::EndInput { reason: end.reason }),
        }
    }
}

impl From<EmailActionInput> for app::EmailInput {
    fn from(input: EmailActionInput) -> Self {
        Self {
            sender_ids: input.sender_ids.into_iter().map(|id| id.0).collect(),
            variants: input.variants.into_iter().map(Into::into).collect(),
            in_thread: input.in_thread.unwrap_or(false),
            track_opens: input.track_opens.unwrap_or(true),
            track_clicks: input.track_clicks.unwrap_or(true),
        }
    }
}

impl From<EmailVariantInput> for app::VariantInput {
    fn from(input: EmailVariantInput) -> Self {
        Self {
            key: input.key.unwrap_or_else(|| "a".to_owned()),
            weight: input.weight.unwrap_or(1),
            enabled: input.enabled.unwrap_or(true),
            subject: input.subject,
            html: input.html,
            text: input.text,
        }
    }
}

impl From<MessageActionInput> for app::MessageInput {
    fn from(input: MessageActionInput) -> Self {
        Self {
            sender_ids: input.sender_ids.into_iter().map(|id| id.0).collect(),
            variants: input.variants.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<MessageVariantInput> for app::MessageVariantInput {
    fn from(input: MessageVariantInput) -> Self {
        Self {
            key: input.key.unwrap_or_else(|| "a".to_owned()),
            weight: input.weight.unwrap_or(1),
            enabled: input.enabled.unwrap_or(true),
            body: input.body,
        }
    }
}

impl From<TaskActionInput> for app::TaskInput {
    fn from(input: TaskActionInput) -> Self {
        Self {
            channel: input.channel.map_or(domain::Channel::Task, Into::into),
            title: input.title,
            instructions: input.instructions,
            assignee: input.assignee,
            timeout: input.timeout.map(|timeout| timeout.0),
        }
    }
}

impl From<ConditionActionInput> for app::ConditionInput {
    fn from(input: ConditionActionInput) -> Self {
        Self {
            predicate: input.predicate.into(),
            within: input.within.map(|within| within.0),
            yes: input.yes,
            no: input.no,
        }
    }
}

impl From<SplitBranchInput> for app::BranchInput {
    fn from(input: SplitBranchInput) -> Self {
        Self {
            weight: input.weight,
            next: input.next,
        }
    }
}
