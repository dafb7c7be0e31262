//! Decide: what a due lead's step comes to. Pure.

mod message;
mod own;

use chrono::{DateTime, Utc};
use serde_json::{Map, Value};

use super::plan::{self, RunningSender};
use super::{Letter, RunningVersion};
use crate::clock::from_ms;
use crate::domain::duration::WaitDuration;
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{Answer, Channel, CompiledStep, MissingPolicy};
use crate::domain::gate;
use crate::domain::id::{ExecutionId, SenderId};
use crate::domain::lead::Hold;
use crate::domain::outcome::ErrorCode;
use crate::domain::planning::{self, Whereabouts};
use crate::domain::template::{MergeData, RenderError};
use crate::domain::tracking::Marks;
use crate::store::claim::{DueLead, PersonRow};
use crate::store::engagement::Touched;
use crate::store::task::{TaskState, TaskText};

/// What becomes of a due lead.
#[derive(Debug)]
pub enum Decision {
    /// Its message, or its request, is sent.
    Send(Box<Outgoing>),
    /// Not now: the lead is due again then.
    Later(DateTime<Utc>),
    /// Not now, as the contact is away: the step is planned anew for then.
    Quiet(DateTime<Utc>),
    /// The step is over without a message; the lead goes on.
    Over {
        /// FAILED or SKIPPED.
        status: ExecutionStatus,
        /// Why, for programs; none where nothing is wrong.
        code: Option<ErrorCode>,
        /// Why, for people.
        message: String,
    },
    /// The step was carried out without a message; the lead goes on by this way out.
    Done {
        /// The way out.
        answer: Answer,
        /// SENT where it was carried out, SKIPPED where there was nothing to do.
        status: ExecutionStatus,
    },
    /// These fields are written into the person; the lead goes on.
    Update(Map<String, Value>),
    /// The lead has come to the end of its sequence.
    End,
    /// The lead waits in its step.
    Await {
        /// For what.
        hold: Hold,
        /// When that is given up.
        until: Option<DateTime<Utc>>,
        /// The work that is given to a person first.
        task: Option<TaskText>,
    },
    /// The step was carried out before; the lead goes on by this way out, and nothing is sent twice.
    Forward(Answer),
    /// The step's message may or may not have left: somebody must settle that first.
    AwaitConfirmation,
    /// Something is missing that the person may be given: the lead waits for it.
    Lacks {
        /// An address, or data for merge tags.
        hold: Hold,
        /// What.
        what: Vec<String>,
    },
    /// Something is missing without which the lead is not to go on: it stops.
    Stop {
        /// Why, for programs.
        code: ErrorCode,
        /// Why, for people.
        message: String,
    },
    /// The lead's step is not in the version: nothing sensible can follow.
    StepGone,
    /// The step has another kind of lane than the one in which the lead was found.
    Elsewhere,
}

/// A message, or a request, about to be sent.
#[derive(Debug)]
pub struct Outgoing {
    /// The variant that was chosen.
    pub variant: Option<String>,
    /// What is sent.
    pub letter: Letter,
}

/// What a decision hangs on, beside the lead.
#[derive(Debug, Clone, Copy)]
pub struct Circumstances<'a> {
    /// The execution: that of the attempt before or a new one.
    pub execution_id: ExecutionId,
    /// The version that runs.
    pub version: &'a RunningVersion,
    /// Who sends the lane's messages; none in a sequence's own lane.
    pub sender: Option<&'a RunningSender>,
    /// Where the person is.
    pub whereabouts: &'a Whereabouts,
    /// What the lead did with messages; asked only of those whose step asks for it.
    pub touched: Option<&'a Touched>,
    /// How far the task of the step is, where there is one.
    pub task: Option<TaskState>,
    /// What emails are marked with.
    pub marks: Option<&'a Marks>,
    /// The instant.
    pub now: DateTime<Utc>,
}

/// Decides on one due lead.
pub fn decide(due: &DueLead, at: Circumstances<'_>) -> Decision {
    let key = due.lead.step_key.as_deref();
    let Some(step) = key.and_then(|key| at.version.flow.step(key)) else {
        return Decision::StepGone;
    };
    match due.execution {
        Some((_, status, _)) if status.is_settled() => {
            return Decision::Forward(step.answer_of(due.variant.as_deref()));
        }
        Some((_, ExecutionStatus::Unconfirmed, _)) => return Decision::AwaitConfirmation,
        _ => {}
    }
    match at.sender {
        Some(sender) if step.senders().contains(&sender.id) && !belongs_to_another(due, step) => {
            message::decide(due, step, sender, at)
        }
        None if !step.is_message() => own::decide(due, step, at),
        Some(_) | None => Decision::Elsewhere,
    }
}

/// Whether the message is another sender's than the one in whose lane the lead stands: of whoever has
/// written to it on the channel, and is named by its step again.
fn belongs_to_another(due: &DueLead, step: &CompiledStep) -> bool {
    due.lead.sender_at(step).map(SenderId::uuid) != due.lead.sender_id
}

/// What a step that cannot be rendered comes to.
fn unrendered(step: &CompiledStep, error: RenderError) -> Decision {
    match error {
        RenderError::Missing(tags) => match step.on_missing_data {
            MissingPolicy::Hold => Decision::Lacks {
                hold: Hold::MissingMergeData,
                what: tags,
            },
            MissingPolicy::Skip => Decision::Over {
                status: ExecutionStatus::Skipped,
                code: Some(ErrorCode::RenderFailed),
                message: RenderError::Missing(tags).to_string(),
            },
            MissingPolicy::Stop => Decision::Stop {
                code: ErrorCode::RenderFailed,
                message: RenderError::Missing(tags).to_string(),
            },
        },
        error @ (RenderError::TooLong { .. } | RenderError::Failed(_)) => Decision::Over {
            status: ExecutionStatus::Failed,
            code: Some(ErrorCode::RenderFailed),
            message: error.to_string(),
        },
    }
}

/// What a step comes to whose person has no address for it.
fn unaddressed(step: &CompiledStep, code: ErrorCode, message: &str) -> Decision {
    match step.on_missing_address {
        MissingPolicy::Skip => Decision::Over {
            status: ExecutionStatus::Skipped,
            code: Some(code),
            message: message.to_owned(),
        },
        MissingPolicy::Hold => Decision::Lacks {
            hold: Hold::MissingAddress,
            what: vec![message.to_owned()],
        },
        MissingPolicy::Stop => Decision::Stop {
            code,
            message: message.to_owned(),
        },
    }
}

/// The first opening after the contact is back, where it is away. Asked before anything that makes a
/// message late: nobody is late whose contact is away.
fn quiet_until(
    due: &DueLead,
    sender: Option<&RunningSender>,
    at: &Circumstances<'_>,
) -> Option<DateTime<Utc>> {
    let until = due.lead.quiet_until.map(from_ms)?;
    let zone = sender.map_or(&at.version.zone, |sender| &sender.zone);
    let calendar = plan::calendar(at.version, zone, at.whereabouts);
    (until > at.now).then(|| plan::reopens_at(until, &calendar))
}

/// What a step comes to whose person must not be contacted by it: an opt-out is of one channel, so the
/// lead goes on to the others.
fn suppressed(channel: Option<Channel>) -> Decision {
    let address = match channel {
        Some(Channel::Email) => "email address",
        Some(Channel::Linkedin) => "LinkedIn page",
        Some(Channel::Sms | Channel::Whatsapp | Channel::Call) => "phone number",
        Some(Channel::Task | Channel::Webhook) | None => "address",
    };
    Decision::Over {
        status: ExecutionStatus::Skipped,
        code: Some(ErrorCode::Suppressed),
        message: format!(
            "The person's {address} must not be contacted on this channel: somebody opted out of it, or it \
             refuses messages for good. Other channels, and another address, are written to."
        ),
    }
}

/// The next opening, where the step keeps to the windows and they are closed.
fn closed_until(sender: Option<&RunningSender>, at: &Circumstances<'_>) -> Option<DateTime<Utc>> {
    let zone = sender.map_or(&at.version.zone, |sender| &sender.zone);
    let calendar = plan::calendar(at.version, zone, at.whereabouts);
    gate::window(&calendar, at.now).map(|closed| closed.until)
}

/// When a span is over that began at `from`, on the clock that the waits of such a step are counted on.
fn span_end(
    from: DateTime<Utc>,
    span: &WaitDuration,
    sender: Option<&RunningSender>,
    at: &Circumstances<'_>,
) -> DateTime<Utc> {
    let zone = sender.map_or(&at.version.zone, |sender| &sender.zone);
    planning::span_end(
        from,
        span,
        &plan::calendar(at.version, zone, at.whereabouts),
    )
}

fn merge_data<'a>(person: &'a PersonRow, sender: Option<&'a RunningSender>) -> MergeData<'a> {
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
        sender_name: sender.map(|sender| sender.name.as_str()),
        sender_address: sender.map(|sender| sender.address.as_str()),
        unsubscribe_url: None,
    }
}
