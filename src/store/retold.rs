//! What rows of leads and executions hold, and what the log tells of them, side by side.

use std::collections::{BTreeMap, HashMap};
use std::str::FromStr;

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::analytics::{MESSAGE_CHANNELS, Place, count, page_of};
use super::claim::parse;
use super::sql::{self, Arguments};
use super::{Result, StoreError};
use crate::clock::from_ms;
use crate::domain::analytics::retold::{Happened, LeadNumbers, MessageNumbers, Retold};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId, WorkspaceId};

/// A lead as its rows have it, and as the log tells it.
#[derive(Debug)]
pub struct Pair {
    /// The lead.
    pub lead: LeadId,
    /// What its rows hold.
    pub rows: Retold,
    /// What its events add up to.
    pub log: Retold,
}

#[derive(FromQueryResult)]
struct Lead {
    id: Uuid,
    status: String,
    step_key: Option<String>,
    messages_sent: i32,
    opens: i32,
    clicks: i32,
    replies: i32,
    bounced: bool,
    unsubscribed: bool,
    enrolled_at: i64,
}

#[derive(FromQueryResult)]
struct Message {
    id: Uuid,
    lead_id: Uuid,
    sender_id: Option<Uuid>,
    status: String,
    finished_at: Option<i64>,
    opens: i32,
    clicks: i32,
    replies: i32,
    bounced: bool,
    unsubscribed: bool,
}

#[derive(FromQueryResult)]
struct Event {
    at: i64,
    kind: String,
    lead_id: Uuid,
    execution_id: Option<Uuid>,
    step_key: Option<String>,
    channel: Option<String>,
    sender_id: Option<Uuid>,
    detail: Option<serde_json::Value>,
}

/// The next leads of a sequence in the order of their enrolment, at most `limit`, each with both; and
/// where the page after them begins, if there may be one. What is read is of one moment where the
/// connection reads in a snapshot.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    after: Option<Place>,
    limit: usize,
) -> Result<(Vec<Pair>, Option<Place>)> {
    let columns =
        "l.id, l.status, l.step_key, l.messages_sent, l.opens, l.clicks, l.replies, l.bounced,
             l.unsubscribed, l.enrolled_at";
    let (statement, arguments) = page_of(columns, workspace, sequence, after, limit);
    let leads: Vec<Lead> = sql::all(connection, &statement, arguments).await?;
    let last = leads.last().filter(|_| leads.len() == limit);
    let next = last.map(|last| (last.enrolled_at, last.id));
    let ids: Vec<Uuid> = leads.iter().map(|lead| lead.id).collect();
    let mut messages = messages(connection, workspace, &ids).await?;
    let mut told = told(connection, workspace, &ids).await?;
    let pairs = leads.into_iter().map(|lead| {
        let messages = messages.remove(&lead.id).unwrap_or_default();
        Ok(Pair {
            lead: LeadId::from_uuid(lead.id),
            log: told.remove(&lead.id).unwrap_or_default(),
            rows: Retold {
                lead: lead.numbers()?,
                messages,
            },
        })
    });
    Ok((pairs.collect::<Result<_>>()?, next))
}

impl Lead {
    fn numbers(self) -> Result<LeadNumbers> {
        let statuses = ["ACTIVE", "PAUSED", "COMPLETED", "STOPPED"];
        let status = statuses.into_iter().find(|known| *known == self.status);
        let status = status.ok_or_else(|| StoreError::corrupt("lead's status", &self.status))?;
        Ok(LeadNumbers {
            status,
            step: (self.step_key).filter(|_| matches!(status, "ACTIVE" | "PAUSED")),
            messages_sent: count(self.messages_sent),
            opens: count(self.opens),
            clicks: count(self.clicks),
            replies: count(self.replies),
            bounced: self.bounced,
            unsubscribed: self.unsubscribed,
        })
    }
}

type OfLeads<T> = HashMap<Uuid, T>;

async fn messages(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[Uuid],
) -> Result<OfLeads<BTreeMap<ExecutionId, MessageNumbers>>> {
    let mut all: OfLeads<BTreeMap<ExecutionId, MessageNumbers>> = HashMap::new();
    for leads in sql::chunks(leads) {
        let mut arguments = Arguments::new().with(workspace.uuid());
        let among = arguments.among(connection, leads.iter().copied());
        let statement = format!(
            "SELECT e.id, e.lead_id, e.sender_id, e.status, e.finished_at, e.opens,
                 e.clicks, e.replies, e.bounced, e.unsubscribed
             FROM execution AS e WHERE e.workspace_id = $1 AND e.lead_id {among}
                 AND e.channel IN {MESSAGE_CHANNELS}"
        );
        let rows: Vec<Message> = sql::all(connection, &statement, arguments).await?;
        for row in rows {
            let status: ExecutionStatus = parse("execution status", &row.status)?;
            let numbers = MessageNumbers {
                ended: Some(status).filter(|status| status.is_settled()),
                at: row.finished_at.map(from_ms),
                sender: row.sender_id.map(SenderId::from_uuid),
                opens: count(row.opens),
                clicks: count(row.clicks),
                replies: count(row.replies),
                bounced: row.bounced,
                unsubscribed: row.unsubscribed,
            };
            let of = all.entry(row.lead_id).or_default();
            of.insert(ExecutionId::from_uuid(row.id), numbers);
        }
    }
    Ok(all)
}

async fn told(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[Uuid],
) -> Result<OfLeads<Retold>> {
    let mut all: OfLeads<Retold> = HashMap::new();
    for leads in sql::chunks(leads) {
        let mut arguments = Arguments::new().with(workspace.uuid());
        let among = arguments.among(connection, leads.iter().copied());
        let statement = format!(
            "SELECT e.at, e.kind, e.lead_id, e.execution_id, e.step_key, e.channel, e.sender_id,
                 e.detail
             FROM event AS e WHERE e.workspace_id = $1 AND e.lead_id {among}
             ORDER BY e.lead_id, e.seq"
        );
        let rows: Vec<Event> = sql::all(connection, &statement, arguments).await?;
        for row in rows {
            let channel = row.channel.as_deref().map(Channel::from_str).transpose();
            let happened = Happened {
                at: from_ms(row.at),
                kind: parse("kind of event", &row.kind)?,
                execution: row.execution_id.map(ExecutionId::from_uuid),
                step: row.step_key,
                channel: channel.map_err(|error| StoreError::corrupt("channel", error))?,
                sender: row.sender_id.map(SenderId::from_uuid),
                by_hand: row
                    .detail
                    .is_some_and(|detail| !detail["settledBy"].is_null()),
            };
            all.entry(row.lead_id).or_default().hear(&happened);
        }
    }
    Ok(all)
}
