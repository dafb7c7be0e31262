//! What the engine does by itself: conditions, splits, tasks, requests, updates and ends.

use serde_json::json;

use super::{
    Circumstances, Decision, Outgoing, closed_until, merge_data, quiet_until, span_end, suppressed,
    unaddressed, unrendered,
};
use crate::channel::webhook::WebhookRequest;
use crate::clock::from_ms;
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{
    Answer, Channel, CompiledCondition, CompiledStep, CompiledTask, CompiledWebhook, LeadFacts,
    PersonFacts, Work,
};
use crate::domain::id::PersonId;
use crate::domain::lead::Hold;
use crate::domain::outcome::ErrorCode;
use crate::domain::task::TaskStatus;
use crate::engine::Letter;
use crate::store::claim::{DueLead, PersonRow};
use crate::store::task::TaskText;

/// What a due step comes to that needs no sender.
pub(super) fn decide(due: &DueLead, step: &CompiledStep, at: Circumstances<'_>) -> Decision {
    match &step.work {
        Work::Condition(condition) => ask(due, condition, &at),
        Work::Split(_) => Decision::Done {
            answer: Answer::Branch(step.branch(due.lead.bucket).unwrap_or_default()),
            status: ExecutionStatus::Sent,
        },
        Work::Task(task) => give(due, step, task, &at),
        Work::Webhook(webhook) => request(due, step, webhook, &at),
        Work::Update(set) => Decision::Update(set.clone()),
        Work::End => Decision::End,
        Work::Message { .. } => Decision::Elsewhere,
    }
}

fn ask(due: &DueLead, condition: &CompiledCondition, at: &Circumstances<'_>) -> Decision {
    let nothing = Default::default();
    let touched = at.touched.unwrap_or(&nothing);
    let facts = LeadFacts {
        opened: &touched.opened,
        clicked: &touched.clicked,
        replied: touched.replied,
        person: person_facts(&due.person),
    };
    let awaits = due.lead.hold.as_deref() == Some(Hold::AwaitingCondition.into());
    if condition.predicate.holds(&facts) {
        return Decision::Done {
            answer: Answer::Held(true),
            status: ExecutionStatus::Sent,
        };
    }
    let until = match due.lead.until_at.map(from_ms) {
        Some(until) if awaits => until,
        _ => span_end(at.now, &condition.within, None, at),
    };
    if until <= at.now {
        return Decision::Done {
            answer: Answer::Held(false),
            status: ExecutionStatus::Skipped,
        };
    }
    Decision::Await {
        hold: Hold::AwaitingCondition,
        until: Some(until),
        task: None,
    }
}

fn give(
    due: &DueLead,
    step: &CompiledStep,
    task: &CompiledTask,
    at: &Circumstances<'_>,
) -> Decision {
    let awaits = due.lead.hold.as_deref() == Some(Hold::AwaitingTask.into());
    match at.task {
        Some(state) => {
            let status = match state.status {
                TaskStatus::Completed => ExecutionStatus::Sent,
                TaskStatus::Skipped => ExecutionStatus::Skipped,
                TaskStatus::Expired => return given_up(),
                TaskStatus::Open => {
                    let until = if awaits {
                        due.lead.until_at.map(from_ms)
                    } else {
                        // It was given before the lead was moved away and back.
                        let timeout = task.timeout.as_ref();
                        let timeout = timeout.map(|timeout| span_end(at.now, timeout, None, at));
                        state.expires_at.or(timeout)
                    };
                    if until.is_some_and(|until| until <= at.now) {
                        return given_up();
                    }
                    return Decision::Await {
                        hold: Hold::AwaitingTask,
                        until,
                        task: None,
                    };
                }
            };
            Decision::Done {
                answer: Answer::Next,
                status,
            }
        }
        None => {
            if let Some(unreachable) = unreachable(due, step) {
                return unreachable;
            }
            if let Some(until) = quiet_until(due, None, at) {
                return Decision::Quiet(until);
            }
            if let Some(until) = closed_until(None, at) {
                return Decision::Later(until);
            }
            let data = merge_data(&due.person, None);
            let title = match task.title.render(&data) {
                Ok(title) => title,
                Err(error) => return unrendered(step, error),
            };
            let instructions = task.instructions.as_ref().map(|text| text.render(&data));
            let instructions = match instructions.transpose() {
                Ok(instructions) => instructions,
                Err(error) => return unrendered(step, error),
            };
            let timeout = task.timeout.as_ref();
            Decision::Await {
                hold: Hold::AwaitingTask,
                until: timeout.map(|timeout| span_end(at.now, timeout, None, at)),
                task: Some(TaskText {
                    channel: step.channel.unwrap_or(Channel::Task),
                    title,
                    instructions,
                    assignee: task.assignee.clone(),
                }),
            }
        }
    }
}

/// What a task comes to that nobody has done in time. The log has no kind of its own for it: the event
/// of the step tells it from a task that somebody decided against.
fn given_up() -> Decision {
    Decision::Over {
        status: ExecutionStatus::Skipped,
        code: None,
        message: "The time for the task is up: the lead goes on without it.".to_owned(),
    }
}

/// What a task comes to whose person it may not reach, or has no address for.
fn unreachable(due: &DueLead, step: &CompiledStep) -> Option<Decision> {
    let person = &due.person;
    let (is_suppressed, address, code, message) = match step.channel? {
        Channel::Call => (
            due.suppressed,
            &person.phone,
            ErrorCode::MissingPhone,
            "The person has no phone number: add one.",
        ),
        Channel::Linkedin => (
            due.linkedin_suppressed,
            &person.linkedin_url,
            ErrorCode::MissingLinkedinUrl,
            "The person has no LinkedIn page: add its linkedinUrl.",
        ),
        _ => return None,
    };
    if is_suppressed {
        return Some(suppressed(step.channel));
    }
    address.is_none().then(|| unaddressed(step, code, message))
}

fn request(
    due: &DueLead,
    step: &CompiledStep,
    webhook: &CompiledWebhook,
    at: &Circumstances<'_>,
) -> Decision {
    let body = match &webhook.body {
        Some(body) => match body.render(&merge_data(&due.person, None)) {
            Ok(body) => body,
            Err(error) => return unrendered(step, error),
        },
        None => standard_body(due, step, at),
    };
    Decision::Send(Box::new(Outgoing {
        variant: None,
        letter: Letter::Webhook(WebhookRequest {
            url: webhook.url.clone(),
            headers: webhook.headers.clone(),
            body,
            id: at.execution_id.to_string(),
            at: at.now,
        }),
    }))
}

/// What a request says where its author wrote nothing.
fn standard_body(due: &DueLead, step: &CompiledStep, at: &Circumstances<'_>) -> String {
    let person = &due.person;
    let body = json!({
        "type": "sequence.step",
        "timestamp": at.now.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
        "data": {
            "executionId": at.execution_id,
            "leadId": due.lead.lead_id(),
            "sequenceId": at.version.sequence_id,
            "stepKey": step.key,
            "person": {
                "id": PersonId::from_uuid(due.lead.person_id),
                "email": person.email,
                "phone": person.phone,
                "linkedinUrl": person.linkedin_url,
                "firstName": person.first_name,
                "lastName": person.last_name,
                "company": person.company,
                "title": person.title,
                "country": person.country,
                "timeZone": person.time_zone,
                "attributes": person.attributes,
            },
        },
    });
    body.to_string()
}

fn person_facts(person: &PersonRow) -> PersonFacts<'_> {
    PersonFacts {
        email: person.email.as_deref(),
        phone: person.phone.as_deref(),
        linkedin_url: person.linkedin_url.as_deref(),
        company: person.company.as_deref(),
        title: person.title.as_deref(),
        attributes: person.attributes.as_object(),
    }
}
