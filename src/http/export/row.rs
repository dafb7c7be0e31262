//! What the files have in each line.

use super::walk::lead_id;
use crate::domain::id::{ExecutionId, PersonId, SenderId, SequenceId};
use crate::graphql::scalar::DateTime;
use crate::store::lead::status;
use crate::store::{StoreError, execution, lead, person, suppression};

/// The header of people: the fields that an import knows by the same names.
pub(super) const PERSON: &[&str] = &[
    "id",
    "email",
    "phone",
    "linkedinUrl",
    "firstName",
    "lastName",
    "company",
    "title",
    "timeZone",
    "country",
    "attributes",
];

pub(super) fn person(row: &person::Row) -> Vec<Option<String>> {
    let has_attributes = row
        .attributes
        .as_object()
        .is_some_and(|all| !all.is_empty());
    vec![
        Some(PersonId::from_uuid(row.id).to_string()),
        row.email.clone(),
        row.phone.clone(),
        row.linkedin_url.clone(),
        row.first_name.clone(),
        row.last_name.clone(),
        row.company.clone(),
        row.title.clone(),
        row.time_zone.clone(),
        row.country.clone(),
        has_attributes.then(|| row.attributes.to_string()),
    ]
}

/// The header of leads.
pub(super) const LEAD: &[&str] = &[
    "id",
    "sequenceId",
    "personId",
    "email",
    "firstName",
    "lastName",
    "status",
    "stopReason",
    "stepKey",
    "dueAt",
    "messagesSent",
    "opens",
    "clicks",
    "replies",
    "bounced",
    "unsubscribed",
    "enrolledAt",
    "lastActionAt",
];

pub(super) fn lead(
    row: &lead::Row,
    person: Option<&person::Row>,
) -> Result<Vec<Option<String>>, StoreError> {
    Ok(vec![
        lead_id(row.id),
        Some(SequenceId::from_uuid(row.sequence_id).to_string()),
        Some(PersonId::from_uuid(row.person_id).to_string()),
        person.and_then(|person| person.email.clone()),
        person.and_then(|person| person.first_name.clone()),
        person.and_then(|person| person.last_name.clone()),
        Some(status(row)?.to_string()),
        row.stop_reason.clone(),
        row.step_key.clone(),
        row.due_at.map(written),
        Some(row.messages_sent.to_string()),
        Some(row.opens.to_string()),
        Some(row.clicks.to_string()),
        Some(row.replies.to_string()),
        Some(row.bounced.to_string()),
        Some(row.unsubscribed.to_string()),
        Some(written(row.enrolled_at)),
        row.last_action_at.map(written),
    ])
}

/// The header of executions.
pub(super) const EXECUTION: &[&str] = &[
    "id",
    "leadId",
    "sequenceId",
    "stepKey",
    "variant",
    "channel",
    "senderId",
    "status",
    "attempt",
    "errorCode",
    "errorMessage",
    "subject",
    "scheduledAt",
    "startedAt",
    "finishedAt",
    "opens",
    "clicks",
    "replies",
    "bounced",
    "unsubscribed",
];

pub(super) fn execution(row: &execution::Row) -> Vec<Option<String>> {
    let sender = row.sender_id.map(SenderId::from_uuid);
    vec![
        Some(ExecutionId::from_uuid(row.id).to_string()),
        lead_id(row.lead_id),
        Some(SequenceId::from_uuid(row.sequence_id).to_string()),
        Some(row.step_key.clone()),
        row.variant.clone(),
        row.channel.clone(),
        sender.map(|sender| sender.to_string()),
        Some(row.status.clone()),
        Some(row.attempt.to_string()),
        row.error_code.clone(),
        row.error_message.clone(),
        row.subject.clone(),
        row.scheduled_at.map(written),
        row.started_at.map(written),
        row.finished_at.map(written),
        Some(row.opens.to_string()),
        Some(row.clicks.to_string()),
        Some(row.replies.to_string()),
        Some(row.bounced.to_string()),
        Some(row.unsubscribed.to_string()),
    ]
}

/// The header of the list of addresses that must not be contacted: what its import knows.
pub(super) const SUPPRESSION: &[&str] = &["channel", "address", "reason", "createdAt"];

pub(super) fn suppression(row: &suppression::Row) -> Vec<Option<String>> {
    vec![
        Some(row.channel.clone()),
        Some(row.address.clone()),
        Some(row.reason.clone()),
        Some(written(row.created_at)),
    ]
}

fn written(ms: i64) -> String {
    DateTime::from_ms(ms).written()
}
