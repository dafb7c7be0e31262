//! How a flow is written.

use async_graphql::{ID, InputObject, OneofObject};

use crate::app::sequence as app;
use crate::graphql::scalar::Duration;

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
    /// The step after; left out, the next one in the list. `end` ends the sequence.
    next: Option<String>,
}

/// What a step does: exactly one field is set.
#[derive(OneofObject, Debug)]
pub enum StepActionInput {
    /// Send an email.
    Email(EmailActionInput),
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
    /// where the email is a reply in a thread.
    subject: Option<String>,
    /// HTML with merge tags; left out, it is derived from the text.
    html: Option<String>,
    /// Text with merge tags; left out, it is derived from the HTML.
    text: Option<String>,
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
        let StepActionInput::Email(email) = input.action;
        Self {
            key: input.key,
            name: input.name,
            wait: input.wait.map(|wait| wait.0),
            business_days: input.business_days.unwrap_or(false),
            action: app::ActionInput::Email(email.into()),
            next: input.next,
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
