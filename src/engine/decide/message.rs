//! Messages: to whom, with what text.

use super::{
    Circumstances, Decision, Outgoing, closed_until, merge_data, quiet_until, span_end, suppressed,
    unaddressed, unrendered,
};
use crate::channel::email::Email;
use crate::channel::text::TextMessage;
use crate::domain::address::{EmailAddress, PhoneNumber};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{Channel, CompiledStep, CompiledVariant, Content};
use crate::domain::id::ExecutionId;
use crate::domain::inbox::tagged;
use crate::domain::message::{EmailContent, TextContent};
use crate::domain::outcome::ErrorCode;
use crate::domain::template::MergeData;
use crate::domain::thread::reply_subject;
use crate::domain::tracking::Marker;
use crate::engine::Letter;
use crate::engine::plan::RunningSender;
use crate::store::claim::{DueLead, PersonRow};

/// What a due message comes to.
pub(super) fn decide(
    due: &DueLead,
    step: &CompiledStep,
    sender: &RunningSender,
    at: Circumstances<'_>,
) -> Decision {
    if due.suppressed {
        return suppressed(step.channel);
    }
    if let Some(until) = quiet_until(due, Some(sender), &at) {
        return Decision::Quiet(until);
    }
    // Asked first: whoever waits for the next opening is later still.
    if is_too_late(due, sender, &at) {
        return Decision::Over {
            status: ExecutionStatus::Skipped,
            code: None,
            message: "It is later than the sequence's maxLateness allows.".into(),
        };
    }
    if let Some(until) = closed_until(Some(sender), &at) {
        return Decision::Later(until);
    }
    let Some(variant) = step.variant(due.lead.bucket) else {
        return failed(
            ErrorCode::RenderFailed,
            "No variant of the step is enabled: enable one and publish again.",
        );
    };
    match &variant.content {
        Content::Email(content) => email(due, step, (variant, content), sender, at),
        Content::Text(content) => text(due, step, (variant, content), sender, at),
    }
}

/// Whether the message is so late that the settings forbid it, reckoned from when its step was first
/// due: to be put off makes nobody less late.
fn is_too_late(due: &DueLead, sender: &RunningSender, at: &Circumstances<'_>) -> bool {
    let (Some(max), Some(due_at)) = (&at.version.settings.max_lateness, due.lead.first_due())
    else {
        return false;
    };
    at.now > span_end(due_at, max, Some(sender), at)
}

fn failed(code: ErrorCode, message: &str) -> Decision {
    Decision::Over {
        status: ExecutionStatus::Failed,
        code: Some(code),
        message: message.to_owned(),
    }
}

fn email(
    due: &DueLead,
    step: &CompiledStep,
    (variant, content): (&CompiledVariant, &EmailContent),
    sender: &RunningSender,
    at: Circumstances<'_>,
) -> Decision {
    let Some(address) = due.person.email.as_deref() else {
        let message = "The person has no email address: add one.";
        return unaddressed(step, ErrorCode::MissingEmail, message);
    };
    let to = match EmailAddress::parse(address) {
        Ok(to) => to,
        Err(error) => return failed(ErrorCode::InvalidEmail, &error.to_string()),
    };
    let marker = marker(step, sender, &at);
    let unsubscribe_url = marker.as_ref().map(Marker::unsubscribe_url);
    let data = MergeData {
        unsubscribe_url: unsubscribe_url.as_deref(),
        ..merge_data(&due.person, Some(sender))
    };
    let rendered = match content.render(&data) {
        Ok(rendered) => rendered,
        Err(error) => return unrendered(step, error),
    };
    let thread = due.lead.thread();
    let thread = thread.filter(|thread| step.in_thread() && !thread.references.is_empty());
    let subject = match &thread {
        Some(thread) if rendered.subject.is_empty() => reply_subject(&thread.subject),
        _ => rendered.subject,
    };
    if subject.is_empty() {
        let message = "The email replies in a thread, and none was begun: no email before it was \
                       sent.";
        return failed(ErrorCode::RenderFailed, message);
    }
    Decision::Send(Box::new(Outgoing {
        variant: Some(variant.key.clone()),
        letter: Letter::Email(Email {
            message_id: message_id(at.execution_id, sender),
            date: at.now,
            from_name: sender.name.clone(),
            from_address: sender.address.clone(),
            reply_to: reply_address(sender, &at),
            to_name: full_name(&due.person),
            to_address: to.as_str().to_owned(),
            subject,
            text: rendered.text,
            html: rendered.html,
            in_reply_to: thread
                .as_ref()
                .and_then(|thread| thread.references.last().cloned()),
            references: thread.map(|thread| thread.references).unwrap_or_default(),
            opt_out_by_mail: sender.tagged_replies,
            marker: marker.map(Box::new),
        }),
    }))
}

/// Where the answer is asked for, where that is not the sender's address: at another one, or with a tag
/// that tells which message is answered even if the answer does not name it.
fn reply_address(sender: &RunningSender, at: &Circumstances<'_>) -> Option<String> {
    let plain = sender.reply_to.as_ref().unwrap_or(&sender.address);
    let tagged_so = at
        .marks
        .filter(|_| sender.tagged_replies)
        .and_then(|marks| {
            let tag = marks.seal.tag(sender.workspace, at.execution_id);
            tagged(plain, &tag)
        });
    tagged_so.or_else(|| sender.reply_to.clone())
}

/// What marks the email, where the address is known by which its marks are reached.
fn marker(step: &CompiledStep, sender: &RunningSender, at: &Circumstances<'_>) -> Option<Marker> {
    let tracks = step.tracks();
    let execution = at.execution_id;
    (at.marks?).marker(
        sender.tracking.as_ref(),
        sender.workspace,
        execution,
        tracks,
    )
}

fn text(
    due: &DueLead,
    step: &CompiledStep,
    (variant, content): (&CompiledVariant, &TextContent),
    sender: &RunningSender,
    at: Circumstances<'_>,
) -> Decision {
    let Some(phone) = due.person.phone.as_deref() else {
        let message = "The person has no phone number: add one.";
        return unaddressed(step, ErrorCode::MissingPhone, message);
    };
    let to = match PhoneNumber::parse(phone, None) {
        Ok(to) => to,
        Err(error) => return failed(ErrorCode::InvalidPhone, &error.to_string()),
    };
    let body = match content.render(&merge_data(&due.person, Some(sender))) {
        Ok(body) => body,
        Err(error) => return unrendered(step, error),
    };
    Decision::Send(Box::new(Outgoing {
        variant: Some(variant.key.clone()),
        letter: Letter::Text(TextMessage {
            from: sender.address.clone(),
            to: to.as_str().to_owned(),
            body,
            whatsapp: step.channel == Some(Channel::Whatsapp),
            idempotency_key: at.execution_id.to_string(),
        }),
    }))
}

/// The Message-ID is made of the execution's id, so that it is known before the message goes, is
/// the same for every attempt, and finds the execution again from a reply or a bounce.
fn message_id(execution: ExecutionId, sender: &RunningSender) -> String {
    format!("<{execution}@{}>", sender.id_domain)
}

fn full_name(person: &PersonRow) -> Option<String> {
    let names = [person.first_name.as_deref(), person.last_name.as_deref()];
    let full = names.into_iter().flatten().collect::<Vec<_>>().join(" ");
    (!full.trim().is_empty()).then_some(full)
}
