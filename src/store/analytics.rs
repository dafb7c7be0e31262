//! The facts that analytics counts: the leads of a sequence, and their messages with what the contacts
//! did with them. They are written in the transactions that record what happens.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, QueryResult};
use uuid::Uuid;

use super::claim::parse;
use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect};
use crate::clock::from_ms;
use crate::domain::analytics::{LeadFacts, MessageFacts, Sending};
use crate::domain::execution::ExecutionStatus;
use crate::domain::id::{LeadId, SenderId, SequenceId, WorkspaceId};
use crate::domain::lead::StopReason;

/// Where a page of leads begins: after the lead that was enrolled then.
pub type Place = (i64, Uuid);

/// A row of [`LEAD`].
struct Lead {
    id: Uuid,
    sequence_id: Uuid,
    status: String,
    stop_reason: Option<String>,
    step_key: Option<String>,
    enrolled_at: i64,
}

const LEAD: &str = "l.id, l.sequence_id, l.status, l.stop_reason, l.step_key, l.enrolled_at";

impl Lead {
    /// By the places of the columns: by name each value costs a look-up, and there are millions.
    fn read(row: &QueryResult) -> Result<Self> {
        Ok(Self {
            id: dialect::column(row, 0)?,
            sequence_id: dialect::column(row, 1)?,
            status: dialect::column(row, 2)?,
            stop_reason: dialect::column(row, 3)?,
            step_key: dialect::column(row, 4)?,
            enrolled_at: dialect::column(row, 5)?,
        })
    }

    fn facts(&self) -> LeadFacts {
        let is_over = matches!(self.status.as_str(), "COMPLETED" | "STOPPED");
        LeadFacts {
            lead: LeadId::from_uuid(self.id),
            waiting_at: self.step_key.clone().filter(|_| !is_over),
            // An enrolment that was undone has interrupted nothing.
            interrupted: self.status == "STOPPED"
                && self.stop_reason.as_deref() != Some(StopReason::EnrolmentUndone.into()),
            messages: Vec::new(),
        }
    }
}

/// The next leads of a sequence in the order of their enrolment, without their messages; and where the
/// page after them begins, if there may be one.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn leads(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    after: Option<Place>,
    limit: usize,
) -> Result<(Vec<LeadFacts>, Option<Place>)> {
    let (statement, arguments) = page_of(LEAD, workspace, sequence, after, limit);
    let rows = sql::rows(connection, &statement, arguments).await?;
    let rows: Vec<Lead> = rows.iter().map(Lead::read).collect::<Result<_>>()?;
    let last = rows.last().filter(|_| rows.len() == limit);
    let next = last.map(|last| (last.enrolled_at, last.id));
    Ok((rows.iter().map(Lead::facts).collect(), next))
}

/// The statement that answers these columns of the next leads `l` of a sequence, in the order of their
/// enrolment.
pub(super) fn page_of(
    columns: &str,
    workspace: WorkspaceId,
    sequence: SequenceId,
    after: Option<Place>,
    limit: usize,
) -> (String, Arguments) {
    let mut arguments = Arguments::new()
        .with(sequence.uuid())
        .with(workspace.uuid());
    let (at, id) = after.unwrap_or((i64::MIN, Uuid::nil()));
    let (at, id) = (arguments.add(at), arguments.add(id));
    let statement = format!(
        "SELECT {columns} FROM lead AS l WHERE l.sequence_id = $1 AND l.workspace_id = $2
             AND (l.enrolled_at, l.id) > ({at}, {id})
         ORDER BY l.enrolled_at, l.id LIMIT {limit}"
    );
    (statement, arguments)
}

/// These leads of the workspace with their messages, each with its sequence.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn of_leads(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[Uuid],
) -> Result<Vec<(SequenceId, LeadFacts)>> {
    let mut found = Vec::with_capacity(leads.len());
    for chunk in sql::chunks(leads) {
        // Messages first: what is sent meanwhile comes with events of its own.
        let mut arguments = Arguments::new().with(workspace.uuid());
        let ids = arguments.among(connection, chunk.iter().copied());
        let statement = format!(
            "SELECT {MESSAGE} FROM execution AS e WHERE e.workspace_id = $1 AND e.lead_id {ids}
                 AND {} ORDER BY e.id",
            is_settled_message()
        );
        let rows = sql::rows(connection, &statement, arguments.clone()).await?;
        let mut messages: HashMap<Uuid, Vec<MessageFacts>> = HashMap::new();
        for row in &rows {
            let row = Message::read(row)?;
            messages.entry(row.lead_id).or_default().push(row.facts()?);
        }
        let statement =
            format!("SELECT {LEAD} FROM lead AS l WHERE l.workspace_id = $1 AND l.id {ids}");
        for row in &sql::rows(connection, &statement, arguments).await? {
            let row = Lead::read(row)?;
            let mut facts = row.facts();
            facts.messages = messages.remove(&row.id).unwrap_or_default();
            found.push((SequenceId::from_uuid(row.sequence_id), facts));
        }
    }
    Ok(found)
}

/// A row of [`MESSAGE`].
struct Message {
    id: Uuid,
    lead_id: Uuid,
    step_key: String,
    variant: Option<String>,
    channel: Option<String>,
    sender_id: Option<Uuid>,
    status: String,
    finished_at: Option<i64>,
    opens: i32,
    clicks: i32,
    replies: i32,
    bounced: bool,
    unsubscribed: bool,
}

const MESSAGE: &str = "e.id, e.lead_id, e.step_key, e.variant, e.channel, e.sender_id, e.status,
    e.finished_at, e.opens, e.clicks, e.replies, e.bounced, e.unsubscribed";
/// The channels of [`Channel::is_message`](crate::domain::flow::Channel::is_message), to follow an `IN`.
pub(super) const MESSAGE_CHANNELS: &str = "('EMAIL', 'SMS', 'WHATSAPP')";

/// The condition on the execution `e` that it is a message that is settled.
fn is_settled_message() -> String {
    format!("e.status IN ('SENT', 'DELIVERED', 'FAILED') AND e.channel IN {MESSAGE_CHANNELS}")
}

impl Message {
    fn read(row: &QueryResult) -> Result<Self> {
        Ok(Self {
            id: dialect::column(row, 0)?,
            lead_id: dialect::column(row, 1)?,
            step_key: dialect::column(row, 2)?,
            variant: dialect::column(row, 3)?,
            channel: dialect::column(row, 4)?,
            sender_id: dialect::column(row, 5)?,
            status: dialect::column(row, 6)?,
            finished_at: dialect::column(row, 7)?,
            opens: dialect::column(row, 8)?,
            clicks: dialect::column(row, 9)?,
            replies: dialect::column(row, 10)?,
            bounced: dialect::column(row, 11)?,
            unsubscribed: dialect::column(row, 12)?,
        })
    }

    fn facts(self) -> Result<MessageFacts> {
        let at = self.at()?;
        let channel = self.channel.unwrap_or_default();
        Ok(MessageFacts {
            at,
            step: self.step_key,
            variant: self.variant,
            channel: parse("channel", &channel)?,
            sender: self.sender_id.map(SenderId::from_uuid),
            sending: match parse("execution status", &self.status)? {
                ExecutionStatus::Delivered => Sending::Delivered,
                ExecutionStatus::Failed => Sending::Failed,
                _ => Sending::Sent,
            },
            opens: count(self.opens),
            clicks: count(self.clicks),
            replies: count(self.replies),
            bounced: self.bounced,
            unsubscribed: self.unsubscribed,
        })
    }

    fn at(&self) -> Result<DateTime<Utc>> {
        let missing = || StoreError::corrupt("execution", "it is settled and has no time");
        self.finished_at.map(from_ms).ok_or_else(missing)
    }
}

/// A count as the database keeps it.
pub(super) fn count(number: i32) -> u32 {
    u32::try_from(number).unwrap_or(0)
}

/// The next messages of a sequence in the order of their ids, each with its lead; and the id after which
/// the next page begins, if there may be one.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn messages(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    after: Option<Uuid>,
    limit: usize,
) -> Result<(Vec<(LeadId, MessageFacts)>, Option<Uuid>)> {
    let mut arguments = Arguments::new()
        .with(sequence.uuid())
        .with(workspace.uuid());
    let after = arguments.add(after.unwrap_or_default());
    let statement = format!(
        "SELECT {MESSAGE} FROM execution AS e
         WHERE e.sequence_id = $1 AND e.workspace_id = $2 AND e.id > {after} AND {}
         ORDER BY e.id LIMIT {limit}",
        is_settled_message()
    );
    let rows = sql::rows(connection, &statement, arguments).await?;
    let rows: Vec<Message> = rows.iter().map(Message::read).collect::<Result<_>>()?;
    let next = rows
        .last()
        .filter(|_| rows.len() == limit)
        .map(|last| last.id);
    let facts = rows.into_iter().map(|row| {
        let lead = LeadId::from_uuid(row.lead_id);
        row.facts().map(|facts| (lead, facts))
    });
    Ok((facts.collect::<Result<_>>()?, next))
}

/// The leads of these sequences of which the log tells something in the events after `after` up to
/// `last`, each once.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn changed(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequences: &[SequenceId],
    (after, last): (i64, i64),
) -> Result<Vec<Uuid>> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(after)
        .with(last);
    let list = arguments.list(sequences.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT DISTINCT lead_id AS id FROM event WHERE workspace_id = $1 AND seq > $2 AND seq <= $3
             AND sequence_id IN ({list}) AND lead_id IS NOT NULL"
    );
    sql::ids(connection, &statement, arguments).await
}

#[cfg(test)]
mod tests {
    use strum::IntoEnumIterator;

    use super::MESSAGE_CHANNELS;
    use crate::domain::flow::Channel;

    #[test]
    fn the_channels_of_messages_are_the_domains() {
        for channel in Channel::iter() {
            let is_listed = MESSAGE_CHANNELS.contains(&format!("'{channel}'"));
            assert_eq!(is_listed, channel.is_message(), "{channel}");
        }
    }
}
