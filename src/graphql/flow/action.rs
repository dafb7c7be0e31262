//! What steps do, as the API shows it. Everything is borrowed from the flow that is shown.

use async_graphql::{Context, Object, Result, SimpleObject, Union};
use serde_json::Value;

use super::predicate::Predicate;
use crate::app::Role;
use crate::domain::flow as domain;
use crate::domain::id::SenderId;
use crate::graphql::channel::Channel;
use crate::graphql::context::ContextExt;
use crate::graphql::scalar::{Duration, Json, Url};
use crate::graphql::sender::Sender;

/// What a step does.
#[derive(Union)]
pub enum StepAction<'a> {
    /// Sends an email.
    Email(EmailAction<'a>),
    /// Sends a text or WhatsApp message.
    Message(MessageAction<'a>),
    /// Gives work to a person.
    Task(TaskAction<'a>),
    /// Waits for something and takes a branch.
    Condition(ConditionAction<'a>),
    /// Divides leads by weight.
    Split(SplitAction<'a>),
    /// Makes a request to another program.
    Webhook(WebhookAction<'a>),
    /// Writes into the person.
    Update(UpdateAction),
    /// Ends the sequence.
    End(EndAction<'a>),
}

impl<'a> From<&'a domain::Action> for StepAction<'a> {
    fn from(action: &'a domain::Action) -> Self {
        let message = |action, channel| Self::Message(MessageAction { action, channel });
        match action {
            domain::Action::Email(email) => Self::Email(EmailAction(email)),
            domain::Action::Sms(sms) => message(sms, Channel::Sms),
            domain::Action::Whatsapp(whatsapp) => message(whatsapp, Channel::Whatsapp),
            domain::Action::Task(task) => Self::Task(task.into()),
            domain::Action::Condition(condition) => Self::Condition(ConditionAction(condition)),
            domain::Action::Split(split) => Self::Split(SplitAction(split)),
            domain::Action::Webhook(webhook) => Self::Webhook(webhook.into()),
            domain::Action::Update(update) => Self::Update(UpdateAction {
                set: Json(update.set.clone().into()),
            }),
            domain::Action::End(end) => Self::End(EndAction {
                reason: end.reason.as_deref(),
            }),
        }
    }
}

/// Those of the senders that there are, in the order in which a step names them.
async fn senders(ctx: &Context<'_>, ids: &[SenderId]) -> Result<Vec<Sender>> {
    let mut found = ctx.loaders()?.load_many(ids.iter().copied()).await?;
    let there = ids.iter().filter_map(|id| found.remove(id));
    Ok(there.map(Sender).collect())
}

fn shown(weight: u32) -> i32 {
    i32::try_from(weight).unwrap_or(i32::MAX)
}

/// An email in one or more variants.
pub struct EmailAction<'a>(&'a domain::EmailAction);

/// An email in one or more variants.
#[Object]
impl<'a> EmailAction<'a> {
    /// Who may send it; a lead keeps its sender as long as a step names it. Senders that the
    /// workspace does not have are left out; `problems` of the sequence names them.
    async fn senders(&self, ctx: &Context<'_>) -> Result<Vec<Sender>> {
        senders(ctx, &self.0.senders).await
    }

    /// The alternative texts; each lead gets one of them, always the same one.
    async fn variants(&self) -> Vec<EmailVariant<'a>> {
        self.0.variants.iter().map(EmailVariant::from).collect()
    }

    /// Send as a reply in the thread of the lead's previous email.
    async fn in_thread(&self) -> bool {
        self.0.in_thread
    }

    /// Note when the email is opened.
    async fn track_opens(&self) -> bool {
        self.0.track_opens
    }

    /// Note when a link of the email is clicked.
    async fn track_clicks(&self) -> bool {
        self.0.track_clicks
    }
}

/// One text of an email.
#[derive(SimpleObject)]
pub struct EmailVariant<'a> {
    /// The variant's stable name, unique in the step.
    key: &'a str,
    /// Its share among the enabled variants.
    weight: i32,
    /// Whether leads get it.
    enabled: bool,
    /// The subject, with merge tags; null where the email is a reply in a thread and takes the
    /// thread's.
    subject: Option<&'a str>,
    /// HTML with merge tags; null where only a text was written, from which it is derived.
    html: Option<&'a str>,
    /// Text with merge tags; null where only HTML was written, from which it is derived.
    text: Option<&'a str>,
}

impl<'a> From<&'a domain::EmailVariant> for EmailVariant<'a> {
    fn from(variant: &'a domain::EmailVariant) -> Self {
        Self {
            key: &variant.key,
            weight: shown(variant.weight),
            enabled: variant.enabled,
            subject: variant.subject.as_deref(),
            html: variant.html.as_deref(),
            text: variant.text.as_deref(),
        }
    }
}

/// A text message (SMS) or a WhatsApp message in one or more variants.
pub struct MessageAction<'a> {
    action: &'a domain::MessageAction,
    channel: Channel,
}

/// A text message (SMS) or a WhatsApp message in one or more variants.
#[Object]
impl<'a> MessageAction<'a> {
    /// SMS or WHATSAPP.
    async fn channel(&self) -> Channel {
        self.channel
    }

    /// Who may send it; a lead keeps its sender as long as a step names it. Senders that the
    /// workspace does not have are left out; `problems` of the sequence names them.
    async fn senders(&self, ctx: &Context<'_>) -> Result<Vec<Sender>> {
        senders(ctx, &self.action.senders).await
    }

    /// The alternative texts; each lead gets one of them, always the same one.
    async fn variants(&self) -> Vec<MessageVariant<'a>> {
        let variants = self.action.variants.iter();
        variants.map(MessageVariant::from).collect()
    }
}

/// One text of a text or WhatsApp message.
#[derive(SimpleObject)]
pub struct MessageVariant<'a> {
    /// The variant's stable name, unique in the step.
    key: &'a str,
    /// Its share among the enabled variants.
    weight: i32,
    /// Whether leads get it.
    enabled: bool,
    /// The text, with merge tags.
    body: &'a str,
}

impl<'a> From<&'a domain::MessageVariant> for MessageVariant<'a> {
    fn from(variant: &'a domain::MessageVariant) -> Self {
        Self {
            key: &variant.key,
            weight: shown(variant.weight),
            enabled: variant.enabled,
            body: &variant.body,
        }
    }
}

/// Work for a person: a call, a touch on LinkedIn, anything else. The lead waits until the task is
/// completed, skipped, or `timeout` has passed.
#[derive(SimpleObject)]
pub struct TaskAction<'a> {
    /// What kind of work: CALL, LINKEDIN or TASK.
    channel: Channel,
    /// What is to be done, in one line with merge tags.
    title: &'a str,
    /// How it is to be done, with merge tags; null where nothing is said of it.
    instructions: Option<&'a str>,
    /// Who is to do it; null where anybody may.
    assignee: Option<&'a str>,
    /// After how long the lead goes on although the task is not done; null where it waits for ever.
    timeout: Option<Duration>,
}

impl<'a> From<&'a domain::TaskAction> for TaskAction<'a> {
    fn from(task: &'a domain::TaskAction) -> Self {
        Self {
            channel: task.channel.into(),
            title: &task.title,
            instructions: task.instructions.as_deref(),
            assignee: task.assignee.as_deref(),
            timeout: task.timeout.map(|timeout| timeout.to_string().into()),
        }
    }
}

/// Waits until the predicate holds or `within` has passed, then takes a branch.
pub struct ConditionAction<'a>(&'a domain::ConditionAction);

/// Waits until the predicate holds or `within` has passed, then takes a branch.
#[Object]
impl<'a> ConditionAction<'a> {
    /// What must hold.
    async fn predicate(&self) -> Predicate<'a> {
        Predicate(&self.0.predicate)
    }

    /// How long it may take to come true, from the moment in which the lead gets to the step; PT0S
    /// asks once.
    async fn within(&self) -> Duration {
        self.0.within.to_string().into()
    }

    /// The step to which a lead goes as soon as it holds; null ends the sequence.
    async fn yes(&self) -> Option<&'a str> {
        self.0.yes.as_deref()
    }

    /// The step to which a lead goes when it has not come true in time; null ends the sequence.
    async fn no(&self) -> Option<&'a str> {
        self.0.no.as_deref()
    }
}

/// Divides leads at random by weight, the same way for the same lead.
pub struct SplitAction<'a>(&'a domain::SplitAction);

/// Divides leads at random by weight, the same way for the same lead.
#[Object]
impl<'a> SplitAction<'a> {
    /// The branches; each lead takes one of them.
    async fn branches(&self) -> Vec<SplitBranch<'a>> {
        let branch = |branch: &'a domain::SplitBranch| SplitBranch {
            weight: shown(branch.weight),
            next: branch.next.as_deref(),
        };
        self.0.branches.iter().map(branch).collect()
    }
}

/// One branch of a split.
#[derive(SimpleObject)]
pub struct SplitBranch<'a> {
    /// Its share among the branches; with 0 no lead takes it.
    weight: i32,
    /// The step to which it leads; null ends the sequence.
    next: Option<&'a str>,
}

/// A request to another program; the lead goes on when it was answered.
pub struct WebhookAction<'a>(&'a domain::WebhookAction);

/// A request to another program; the lead goes on when it was answered.
#[Object]
impl WebhookAction<'_> {
    /// Where the request goes.
    async fn url(&self) -> Url {
        self.0.url.as_str().into()
    }

    /// Its headers, as an object of texts, beside those that are set with each request; null where
    /// there are no others. Headers often hold what lets one into another program: who has the role
    /// VIEWER sees their names, and `***` for each of their texts.
    async fn headers(&self, ctx: &Context<'_>) -> Result<Option<Json>> {
        let Some(headers) = &self.0.headers else {
            return Ok(None);
        };
        let mut headers = Value::from(headers.clone());
        if !sees_headers(ctx)? {
            hide_texts(&mut headers);
        }
        Ok(Some(Json(headers)))
    }

    /// Its body: JSON with merge tags in its texts, unless a header Content-Type says otherwise; null where
    /// it is the lead and its person.
    async fn body(&self) -> Option<&str> {
        self.0.body.as_deref()
    }
}

/// Whether the caller sees the texts of a request's headers.
///
/// # Errors
/// Without a caller.
pub(in crate::graphql) fn sees_headers(ctx: &Context<'_>) -> Result<bool> {
    Ok(ctx.caller_within()?.role >= Role::Editor)
}

/// Leaves of headers their names.
pub(in crate::graphql) fn hide_texts(headers: &mut Value) {
    match headers {
        Value::Object(headers) => headers.values_mut().for_each(hide_texts),
        Value::Null => {}
        text => *text = "***".into(),
    }
}

impl<'a> From<&'a domain::WebhookAction> for WebhookAction<'a> {
    fn from(webhook: &'a domain::WebhookAction) -> Self {
        Self(webhook)
    }
}

/// Writes into the person.
#[derive(SimpleObject)]
pub struct UpdateAction {
    /// The person's fields and their new values, as an object; a field whose value is null is taken
    /// away. `attributes` is an object again, which is merged into those that the person has.
    set: Json,
}

/// Ends the sequence for the lead, which is then COMPLETED.
#[derive(SimpleObject)]
pub struct EndAction<'a> {
    /// Why, for people; null where nothing is said of it.
    reason: Option<&'a str>,
}
