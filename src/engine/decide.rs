//! What a due lead's step comes to. Pure: the same lead, version and instant give the same answer.

use chrono::{DateTime, Utc};

use super::plan::{self, RunningSender};
use super::version::RunningVersion;
use crate::channel::email::Email;
use crate::domain::address::EmailAddress;
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{CompiledStep, Content};
use crate::domain::gate;
use crate::domain::id::ExecutionId;
use crate::domain::outcome::ErrorCode;
use crate::domain::planning::Whereabouts;
use crate::domain::template::{MergeData, RenderError};
use crate::domain::thread::Thread;
use crate::store::claim::{DueLead, PersonRow};

/// What a due lead's step comes to.
#[derive(Debug)]
pub enum Decision {
    /// This message goes out.
    Send(Box<Message>),
    /// The window is closed: the step is due again then.
    Later(DateTime<Utc>),
    /// The step is over without a message, and the lead goes on.
    Over {
        /// `Failed` or `Skipped`.
        status: ExecutionStatus,
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: String,
    },
    /// The step was carried out before; the lead goes on, and nothing is sent twice.
    Forward,
    /// The step's message may or may not have left: somebody must settle that first.
    AwaitConfirmation,
    /// The address must not be contacted: the lead stops.
    Suppressed,
    /// Merge tags without a value and without a default: the lead waits for the person's data.
    MissingData(Vec<String>),
    /// The lead's step is not in the version: nothing sensible can follow.
    StepGone,
}

/// A message about to be sent.
#[derive(Debug)]
pub struct Message {
    /// The variant that was chosen.
    pub variant: String,
    /// The message.
    pub email: Email,
}

/// Decides on one due lead. `execution_id` is that of the attempt before or a new one.
pub fn decide(
    due: &DueLead,
    execution_id: ExecutionId,
    version: &RunningVersion,
    sender: &RunningSender,
    whereabouts: &Whereabouts,
    now: DateTime<Utc>,
) -> Decision {
    let Some(step) = due
        .lead
        .step_key
        .as_deref()
        .and_then(|key| version.flow.step(key))
    else {
        return Decision::StepGone;
    };
    match due.execution {
        Some((_, status, _)) if status.is_settled() => return Decision::Forward,
        Some((_, ExecutionStatus::Unconfirmed, _)) => return Decision::AwaitConfirmation,
        _ => {}
    }
    if due.suppressed {
        return Decision::Suppressed;
    }
    let calendar = plan::calendar(version, &sender.zone, whereabouts);
    if let Some(closed) = gate::window(&calendar, now) {
        return Decision::Later(closed.until);
    }
    compose(due, step, execution_id, sender, now)
}

fn compose(
    due: &DueLead,
    step: &CompiledStep,
    execution_id: ExecutionId,
    sender: &RunningSender,
    now: DateTime<Utc>,
) -> Decision {
    let over = |status, code, message: String| Decision::Over {
        status,
        code,
        message,
    };
    let Some(email) = due.person.email.as_deref() else {
        return over(
            ExecutionStatus::Skipped,
            ErrorCode::MissingEmail,
            "The person has no email address: add one.".into(),
        );
    };
    let to = match EmailAddress::parse(email) {
        Ok(to) => to,
        Err(error) => {
            return over(
                ExecutionStatus::Failed,
                ErrorCode::InvalidEmail,
                error.to_string(),
            );
        }
    };
    let Some(variant) = step.variant(due.lead.bucket) else {
        return over(
            ExecutionStatus::Failed,
            ErrorCode::RenderFailed,
            "No variant of the step is enabled: enable one and publish again.".into(),
        );
    };
    let Content::Email(content) = &variant.content else {
        return over(
            ExecutionStatus::Failed,
            ErrorCode::RenderFailed,
            "The step is no email.".into(),
        );
    };
    let rendered = match content.render(&merge_data(&due.person, sender)) {
        Ok(rendered) => rendered,
        Err(RenderError::Missing(tags)) => return Decision::MissingData(tags),
        Err(error @ (RenderError::TooLong { .. } | RenderError::Failed(_))) => {
            return over(
                ExecutionStatus::Failed,
                ErrorCode::RenderFailed,
                error.to_string(),
            );
        }
    };
    let thread = thread_of(due).filter(|_| step.in_thread());
    let subject = match &thread {
        Some(thread) if rendered.subject.is_empty() => reply_subject(&thread.subject),
        _ => rendered.subject,
    };
    Decision::Send(Box::new(Message {
        variant: variant.key.clone(),
        email: Email {
            message_id: message_id(execution_id, sender),
            date: now,
            from_name: sender.name.clone(),
            from_address: sender.address.clone(),
            to_name: full_name(&due.person),
            to_address: to.as_str().to_owned(),
            subject,
            text: rendered.text,
            html: rendered.html,
            in_reply_to: thread
                .as_ref()
                .and_then(|thread| thread.references.last().cloned()),
            references: thread.map(|thread| thread.references).unwrap_or_default(),
        },
    }))
}

/// The thread of a lead's emails so far.
pub fn thread_of(due: &DueLead) -> Option<Thread> {
    due.lead
        .thread
        .clone()
        .and_then(|thread| serde_json::from_value(thread).ok())
}

/// RFC 5322 §3.6.5: a reply's subject begins with "Re: ", once.
fn reply_subject(subject: &str) -> String {
    let already = subject
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if already {
        subject.to_owned()
    } else {
        format!("Re: {subject}")
    }
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

fn merge_data<'a>(person: &'a PersonRow, sender: &'a RunningSender) -> MergeData<'a> {
    MergeData {
        email: person.email.as_deref(),
        phone: person.phone.as_deref(),
        linkedin_url: person.linkedin_url.as_deref(),
        first_name: person.first_name.as_deref(),
        last_name: person.last_name.as_deref(),
        company: person.company.as_deref(),
        title: person.title.as_deref(),
        time_zone: person.time_zone.as_deref(),
        country: person.country.as_deref(),
        attributes: person.attributes.as_object(),
        sender_name: Some(&sender.name),
        sender_address: Some(&sender.address),
    }
}
