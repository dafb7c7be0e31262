//! The texts of a step for one person, and what is wrong with them.

use std::borrow::Cow;
use std::sync::Arc;

use serde_json::{Map, Value};

use super::contact::{bracketed, filled_where_needed};
use super::{Circumstances, PreviewSender, sender};
use crate::domain::address::{EmailAddress, PhoneNumber};
use crate::domain::flow::{
    Action, Channel, EmailAction, FlowProblem, FlowProblemCode, MessageAction, MissingPolicy,
    Severity, Step, TaskAction, WebhookAction, chosen,
};
use crate::domain::message::TextContent;
use crate::domain::template::{Kind, MergeData, RenderError, TagUse, Template};

/// The most problems that an entry tells: whoever mends these finds out about the rest.
const PROBLEMS_MAX: usize = 20;

/// A step as the person would get it. Where a tag has no value, its name stands in brackets.
#[derive(Debug, Default)]
pub(super) struct Rendered {
    pub subject: Option<Arc<str>>,
    pub html: Option<Arc<str>>,
    pub text: Option<Arc<str>>,
    pub problems: Arc<[FlowProblem]>,
    /// Whether it would be sent, now or once the person is completed.
    pub is_sent: bool,
}

/// Renders the step at this place of its flow. `replies` where it is an email in a thread that was
/// begun before it, and so needs no subject.
pub(super) fn render(step: &Step, index: usize, replies: bool, of: Circumstances<'_>) -> Rendered {
    let mut page = Page {
        step,
        index: index.to_string(),
        of,
        sender: sender(step, of),
        position: None,
        problems: Vec::new(),
        is_sent: true,
    };
    let mut rendered = match &step.action {
        Action::Email(email) => page.email(email, replies),
        Action::Sms(message) | Action::Whatsapp(message) => page.message(message),
        Action::Task(task) => page.task(task),
        Action::Webhook(webhook) => page.webhook(webhook),
        Action::Condition(_) | Action::Split(_) | Action::Update(_) | Action::End(_) => {
            Rendered::default()
        }
    };
    page.address();
    let known = page.known_problems();
    let problems = known.into_iter().chain(std::mem::take(&mut page.problems));
    rendered.problems = problems.take(PROBLEMS_MAX).collect();
    rendered.is_sent = page.is_sent;
    rendered
}

/// A written text and its field of the action.
struct Source<'a> {
    field: &'a [&'a str],
    kind: Kind,
    text: &'a str,
}

struct Page<'a> {
    step: &'a Step,
    index: String,
    of: Circumstances<'a>,
    sender: Option<&'a PreviewSender>,
    /// The place of the variant that is shown.
    position: Option<String>,
    problems: Vec<FlowProblem>,
    is_sent: bool,
}

impl Page<'_> {
    fn email(&mut self, email: &EmailAction, replies: bool) -> Rendered {
        let variants = email.variants.iter();
        let variants = variants.map(|one| (&*one.key, one.enabled, one.weight));
        let Some(position) = self.choose(variants) else {
            return Rendered::default();
        };
        let Some(variant) = email.variants.get(position) else {
            return Rendered::default();
        };
        let subject = variant.subject.as_deref().unwrap_or_default();
        let has_no_thread = email.in_thread && !replies && subject.trim().is_empty();
        let has_no_thread = has_no_thread && !self.is_known(FlowProblemCode::NoSubject);
        let Ok(content) = email.content(variant, !replies && !has_no_thread) else {
            return Rendered::default();
        };
        let position = position.to_string();
        if has_no_thread {
            let message = format!(
                "The step would fail ({}): it replies in a thread, but no email before it would be \
                 sent, and it has no subject to begin one. Give it a subject of its own.",
                self.place()
            );
            let field = ["variants", &position, "subject"];
            self.fails(FlowProblemCode::NoSubject, &field, message);
        }
        let fields = ["subject", "html", "text"].map(|field| ["variants", &position, field]);
        let [subject, html, text] = &fields;
        let written = [
            (subject, Kind::Subject, &variant.subject),
            (html, Kind::Html, &variant.html),
            (text, Kind::Text, &variant.text),
        ];
        let sources = written.into_iter().filter_map(|(field, kind, text)| {
            let text = text.as_deref()?;
            Some(Source { field, kind, text })
        });
        let sources: Vec<Source<'_>> = sources.collect();
        let rendered = self.complete(&content.tags(), &sources, |data| content.render(data));
        rendered.map_or_else(Rendered::default, |email| Rendered {
            subject: Some(email.subject.into()),
            html: email.html.map(Into::into),
            text: Some(email.text.into()),
            ..Rendered::default()
        })
    }

    fn message(&mut self, message: &MessageAction) -> Rendered {
        let variants = message.variants.iter();
        let variants = variants.map(|one| (&*one.key, one.enabled, one.weight));
        let Some(position) = self.choose(variants) else {
            return Rendered::default();
        };
        let Some(variant) = message.variants.get(position) else {
            return Rendered::default();
        };
        let position = position.to_string();
        let source = Source {
            field: &["variants", &position, "body"],
            kind: Kind::Text,
            text: &variant.body,
        };
        Rendered {
            text: self.text(variant.content().ok(), source),
            ..Rendered::default()
        }
    }

    fn task(&mut self, task: &TaskAction) -> Rendered {
        let title = Source {
            field: &["title"],
            kind: Kind::Subject,
            text: &task.title,
        };
        let subject = self.text(TextContent::title(&task.title).ok(), title);
        let text = task.instructions.as_deref().and_then(|text| {
            let source = Source {
                field: &["instructions"],
                kind: Kind::Text,
                text,
            };
            self.text(TextContent::instructions(text).ok(), source)
        });
        Rendered {
            subject,
            text,
            ..Rendered::default()
        }
    }

    fn webhook(&mut self, webhook: &WebhookAction) -> Rendered {
        let text = webhook.body.as_deref().and_then(|text| {
            let source = Source {
                field: &["body"],
                kind: Kind::Json,
                text,
            };
            self.text(TextContent::json(text).ok(), source)
        });
        Rendered {
            text,
            ..Rendered::default()
        }
    }

    fn text(&mut self, content: Option<TextContent>, source: Source<'_>) -> Option<Arc<str>> {
        let content = content?;
        let rendered = self.complete(content.tags(), &[source], |data| content.render(data));
        rendered.map(Into::into)
    }

    /// The place of the variant of the scenario, else of the one that the lead gets, where that is known,
    /// else of the first that leads get.
    fn choose<'b>(
        &mut self,
        variants: impl Iterator<Item = (&'b str, bool, u32)> + Clone,
    ) -> Option<usize> {
        let mut all = variants.clone();
        let position = match self.of.scenario.variant(&self.step.key) {
            Some(wanted) => all.position(|(key, ..)| key == wanted),
            None => {
                let weights = variants.map(|(_, enabled, weight)| if enabled { weight } else { 0 });
                let key = &self.step.key;
                let own = self.of.bucket;
                let own = own.and_then(|bucket| chosen(weights.clone(), bucket, key));
                let mut weights = weights;
                own.or_else(|| weights.position(|weight| weight > 0))
                    // Nobody gets any, which is a problem of the flow.
                    .or_else(|| all.position(|(_, enabled, _)| enabled))
            }
        };
        self.position = position.map(|position| position.to_string());
        position
    }

    /// Renders a content. Where tags have no value, that is noted, and they stand in brackets.
    fn complete<T>(
        &mut self,
        tags: &[TagUse],
        sources: &[Source<'_>],
        render: impl Fn(&MergeData<'_>) -> Result<T, RenderError>,
    ) -> Option<T> {
        let of = self.of;
        let attributes: Cow<'_, Map<String, Value>> = of.contact.attributes_for(tags);
        let mut data = of.contact.merge_data(&attributes, self.sender);
        // That a message has no sender is a problem of the flow, not of the text.
        if self.step.action.is_message() && self.sender.is_none() {
            (data.sender_name, data.sender_address) =
                (Some("[sender.name]"), Some("[sender.address]"));
        }
        match render(&data) {
            Ok(rendered) => Some(rendered),
            Err(RenderError::Missing(_)) => {
                self.is_sent &= self.step.on_missing_data != MissingPolicy::Skip;
                for source in sources {
                    self.missing(source, &data);
                }
                let attributes = filled_where_needed(&attributes, tags);
                data.attributes = Some(&attributes);
                render(&bracketed(data, tags)).ok()
            }
            Err(error @ (RenderError::TooLong { .. } | RenderError::Failed(_))) => {
                let message = format!("The step would fail ({}): {error}.", self.place());
                let field = sources.first().map_or(&[][..], |source| source.field);
                let code = match error {
                    RenderError::TooLong { .. } => FlowProblemCode::MessageTooLong,
                    RenderError::Failed(_) | RenderError::Missing(_) => {
                        FlowProblemCode::BrokenMergeTag
                    }
                };
                self.fails(code, field, message);
                None
            }
        }
    }

    /// Notes the tags of a text that have no value.
    fn missing(&mut self, source: &Source<'_>, data: &MergeData<'_>) {
        let template = Template::compile(source.text, source.kind);
        let Ok(Err(RenderError::Missing(tags))) = template.map(|text| text.render(data)) else {
            return;
        };
        let (severity, then) = outcome(self.step.on_missing_data);
        for tag in tags {
            let message = format!(
                "There is no value for {tag} ({}), and {then}: complete the person, or give the \
                 tag a default.",
                self.place()
            );
            self.problem(
                severity,
                FlowProblemCode::MissingData,
                source.field,
                message,
            );
        }
    }

    /// Notes that the step would fail.
    fn fails(&mut self, code: FlowProblemCode, field: &[&str], message: String) {
        self.is_sent = false;
        self.problem(Severity::Warning, code, field, message);
    }

    /// Whether the step has this problem for everybody, so that it is not published.
    fn is_known(&self, code: FlowProblemCode) -> bool {
        let known = self.known_problems().into_iter();
        let mut errors = known.filter(|one| one.severity == Severity::Error);
        errors.any(|one| one.code == code)
    }

    /// Notes where the person has no address that the step could reach it at.
    fn address(&mut self) {
        let contact = self.of.contact;
        let (what, address) = match &self.step.action {
            Action::Email(_) => ("email address", &contact.email),
            Action::Sms(_) | Action::Whatsapp(_) => ("phone number", &contact.phone),
            Action::Task(task) if task.channel == Channel::Call => ("phone number", &contact.phone),
            Action::Task(task) if task.channel == Channel::Linkedin => {
                ("LinkedIn page", &contact.linkedin_url)
            }
            _ => return,
        };
        let code = FlowProblemCode::MissingAddress;
        let Some(address) = address else {
            self.is_sent &= self.step.on_missing_address != MissingPolicy::Skip;
            let (severity, then) = outcome(self.step.on_missing_address);
            let message = format!(
                "The person has no {what} ({}), and {then}: add one.",
                self.place()
            );
            return self.problem(severity, code, &[], message);
        };
        let wrong = match &self.step.action {
            Action::Email(_) => EmailAddress::parse(address).err().map(|it| it.to_string()),
            // Whoever does it reads the number, or follows the link.
            Action::Task(_) => None,
            _ => PhoneNumber::parse(address, None)
                .err()
                .map(|it| it.to_string()),
        };
        if let Some(error) = wrong {
            let message = format!("The step would fail ({}): {error}.", self.place());
            self.fails(code, &[], message);
        }
    }

    /// The problems that the step has for everybody, without those of variants that are not shown.
    fn known_problems(&self) -> Vec<FlowProblem> {
        let is_here = |problem: &&FlowProblem| {
            let path: Vec<&str> = problem.path.iter().map(String::as_str).collect();
            match path.as_slice() {
                ["steps", index, "action", _, "variants", position, ..] => {
                    let shown = self.position.as_deref();
                    *index == self.index && shown.is_none_or(|shown| shown == *position)
                }
                ["steps", index, ..] => *index == self.index,
                _ => false,
            }
        };
        self.of.problems.iter().filter(is_here).cloned().collect()
    }

    fn place(&self) -> String {
        format!("step {}", self.step.key)
    }

    fn problem(
        &mut self,
        severity: Severity,
        code: FlowProblemCode,
        field: &[&str],
        message: String,
    ) {
        if self.problems.len() >= PROBLEMS_MAX {
            return;
        }
        let base = ["steps", &self.index, "action", self.step.action.field()];
        let path = base.iter().chain(field).map(|part| (*part).to_owned());
        self.problems.push(FlowProblem {
            severity,
            code,
            message,
            step_key: Some(self.step.key.clone()),
            path: path.collect(),
        });
    }
}

/// How grave it is that something is missing, and what becomes of the lead.
fn outcome(policy: MissingPolicy) -> (Severity, &'static str) {
    match policy {
        MissingPolicy::Skip => (Severity::Warning, "the step would be skipped"),
        MissingPolicy::Hold => (Severity::Warning, "the lead would wait here"),
        MissingPolicy::Stop => (Severity::Error, "the lead would stop here"),
    }
}
