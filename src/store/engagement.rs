//! What contacts do with messages, as it changes their leads.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::analytics::MESSAGE_CHANNELS;
use super::claim::{LEAD_COLUMNS, LeadRow, parse};
use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect, lane};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::Channel;
use crate::domain::id::{
    ExecutionId, LeadId, PersonId, SenderId, SequenceId, VersionId, WorkspaceId,
};
use crate::domain::settings;

/// A lead with what deciding about an engagement takes.
#[derive(Debug)]
pub struct EngagedLead {
    /// The lead, locked.
    pub lead: LeadRow,
    /// The version that its sequence runs, or ran last.
    pub version: VersionId,
    /// The settings that its sequence runs under.
    pub settings: serde_json::Value,
}

#[derive(FromQueryResult)]
struct Settings {
    sequence_id: Uuid,
    id: Uuid,
    settings: serde_json::Value,
}

/// The leads with these ids that the workspace has, with their settings, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_leads(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[LeadId],
) -> Result<Vec<EngagedLead>> {
    let mut ids = ids.to_vec();
    ids.sort_unstable();
    let mut leads = Vec::with_capacity(ids.len());
    for chunk in sql::chunks(&ids) {
        let mut arguments = Arguments::new().with(workspace.uuid());
        let ids = arguments.among(tx, chunk.iter().map(|id| id.uuid()));
        let which = format!("l.id {ids} AND l.workspace_id = $1");
        lane::keep_sequences_of(tx, &which, arguments.clone()).await?;
        // In one order, so that nobody waits in a circle.
        let statement = format!(
            "SELECT {LEAD_COLUMNS} FROM lead l WHERE {which} ORDER BY l.id {}",
            dialect::for_update(tx, "l")
        );
        leads.extend(sql::all(tx, &statement, arguments).await?);
    }
    with_settings(tx, leads).await
}

/// The leads under way of the same sequence whose contacts are at the company of this lead's contact, where
/// that is known, and the sequence stops them when one of them answers. Nothing is locked.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn stopped_with(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    lead: LeadId,
) -> Result<Vec<LeadId>> {
    let arguments = Arguments::new().with(lead.uuid()).with(workspace.uuid());
    let settings = "SELECT l.sequence_id, v.id, v.settings FROM lead l
             JOIN sequence q ON q.id = l.sequence_id
             JOIN sequence_version v ON v.id = q.published_version_id
         WHERE l.id = $1 AND l.workspace_id = $2";
    let row: Option<Settings> = sql::one(connection, settings, arguments.clone()).await?;
    let Some(row) = row else {
        return Ok(Vec::new());
    };
    let settings: settings::Settings = serde_json::from_value(row.settings)
        .map_err(|error| StoreError::corrupt("sequence's settings", error))?;
    if !settings.stop_company_on_reply {
        return Ok(Vec::new());
    }
    let colleagues = "SELECT other.id FROM lead l JOIN person p ON p.id = l.person_id
             JOIN person c ON c.workspace_id = p.workspace_id AND c.company_key = p.company_key
             JOIN lead other ON other.sequence_id = l.sequence_id AND other.person_id = c.id
         WHERE l.id = $1 AND l.workspace_id = $2 AND other.id <> l.id
             AND other.status IN ('ACTIVE', 'PAUSED')";
    let ids: Vec<Uuid> = sql::ids(connection, colleagues, arguments).await?;
    Ok(ids.into_iter().map(LeadId::from_uuid).collect())
}

/// The leads of a person whose runs are not over, with their settings, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_leads_of(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    person: PersonId,
) -> Result<Vec<EngagedLead>> {
    let which = "l.person_id = $1 AND l.workspace_id = $2 AND l.status IN ('ACTIVE', 'PAUSED')";
    let arguments = Arguments::new().with(person.uuid()).with(workspace.uuid());
    lane::keep_sequences_of(tx, which, arguments.clone()).await?;
    // In one order, so that nobody waits in a circle.
    let statement = format!(
        "SELECT {LEAD_COLUMNS} FROM lead l WHERE {which} ORDER BY l.id {}",
        dialect::for_update(tx, "l")
    );
    let leads = sql::all(tx, &statement, arguments).await?;
    with_settings(tx, leads).await
}

async fn with_settings(tx: &impl ConnectionTrait, leads: Vec<LeadRow>) -> Result<Vec<EngagedLead>> {
    if leads.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = Arguments::new();
    let sequences: HashSet<Uuid> = leads.iter().map(|lead| lead.sequence_id).collect();
    let list = arguments.list(sequences);
    let statement = format!(
        "SELECT q.id AS sequence_id, v.id, v.settings FROM sequence q JOIN sequence_version v
             ON v.id = q.published_version_id WHERE q.id IN ({list})"
    );
    let rows: Vec<Settings> = sql::all(tx, &statement, arguments).await?;
    let engaged = leads.into_iter().filter_map(|lead| {
        let of = rows
            .iter()
            .find(|row| row.sequence_id == lead.sequence_id)?;
        Some(EngagedLead {
            lead,
            version: VersionId::from_uuid(of.id),
            settings: of.settings.clone(),
        })
    });
    Ok(engaged.collect())
}

/// Which count of a lead an engagement adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Openings.
    Opens,
    /// Clicks.
    Clicks,
    /// Answers.
    Replies,
}

/// Adds one engagement to a lead's counts.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    tx: &impl ConnectionTrait,
    lead: Uuid,
    count: Count,
    at: DateTime<Utc>,
) -> Result<()> {
    let column = match count {
        Count::Opens => "opens",
        Count::Clicks => "clicks",
        Count::Replies => "replies",
    };
    // A condition that waits for this is asked again at once.
    let statement = format!(
        "UPDATE lead SET {column} = {column} + 1, last_engaged_at = $1, last_action_at = $1,
             due_at = CASE WHEN hold = 'AWAITING_CONDITION' AND status = 'ACTIVE' AND due_at > $1
                           THEN $1 ELSE due_at END
         WHERE id = $2"
    );
    let arguments = Arguments::new().with(at.timestamp_millis()).with(lead);
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// Adds one engagement to what the contact did with a message.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count_of_message(
    tx: &impl ConnectionTrait,
    execution: Uuid,
    count: Count,
) -> Result<()> {
    let column = match count {
        Count::Opens => "opens",
        Count::Clicks => "clicks",
        Count::Replies => "replies",
    };
    let statement = format!("UPDATE execution SET {column} = {column} + 1 WHERE id = $1");
    sql::execute(tx, &statement, Arguments::new().with(execution)).await?;
    Ok(())
}

/// What a lead has done with messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Touched {
    /// The steps whose message it opened.
    pub opened: HashSet<String>,
    /// The steps of whose message it clicked a link.
    pub clicked: HashSet<String>,
    /// Whether it answered.
    pub replied: bool,
}

#[derive(FromQueryResult)]
struct Touch {
    lead_id: Uuid,
    kind: String,
    step_key: Option<String>,
}

/// What these leads have done with messages, as the log tells; those who have done nothing are left
/// out.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn touched(
    connection: &impl ConnectionTrait,
    leads: &[LeadId],
) -> Result<HashMap<Uuid, Touched>> {
    if leads.is_empty() {
        return Ok(HashMap::new());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(connection, leads.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT DISTINCT e.lead_id, e.kind, e.step_key FROM event AS e
         WHERE e.lead_id {list} AND e.kind IN ('OPENED', 'CLICKED', 'REPLIED')"
    );
    let rows: Vec<Touch> = sql::all(connection, &statement, arguments).await?;
    let mut all: HashMap<Uuid, Touched> = HashMap::new();
    for row in rows {
        let touched = all.entry(row.lead_id).or_default();
        match (parse("kind of event", &row.kind)?, row.step_key) {
            (EventKind::Replied, _) => touched.replied = true,
            (EventKind::Opened, Some(step)) => {
                touched.opened.insert(step);
            }
            (EventKind::Clicked, Some(step)) => {
                touched.clicked.insert(step);
            }
            _ => {}
        }
    }
    Ok(all)
}

/// The message that an engagement is about.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Engaging {
    /// Its execution.
    pub id: Uuid,
    /// Its step.
    pub step_key: String,
    /// Its channel.
    pub channel: Option<String>,
    /// Who sent it.
    pub sender_id: Option<Uuid>,
}

/// The message of a lead with this execution; without one, the last that the lead was sent.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn engaging(
    connection: &impl ConnectionTrait,
    lead: LeadId,
    execution: Option<ExecutionId>,
) -> Result<Option<Engaging>> {
    let mut arguments = Arguments::new().with(lead.uuid());
    let which = match execution {
        Some(execution) => format!("id = {}", arguments.add(execution.uuid())),
        None => {
            format!("status IN ('SENT', 'DELIVERED') AND channel IN {MESSAGE_CHANNELS}")
        }
    };
    let statement = format!(
        "SELECT id, step_key, channel, sender_id FROM execution WHERE lead_id = $1 AND {which}
         ORDER BY id DESC LIMIT 1"
    );
    sql::one(connection, &statement, arguments).await
}

/// A message that somebody reacted to.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Message {
    /// Its execution.
    pub id: Uuid,
    /// Its lead.
    pub lead_id: Uuid,
    /// Whom it went to.
    pub person_id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// Its step.
    pub step_key: String,
    /// Its channel.
    pub channel: Option<String>,
    /// Who sent it.
    pub sender_id: Option<Uuid>,
    /// When it was handed over, or given up; none as long as it is on its way.
    pub finished_at: Option<i64>,
    /// Whether it is known that it came back.
    pub bounced: bool,
    /// Whether it is known that the contact opted out by it.
    pub unsubscribed: bool,
    /// Whether nobody knows if it left.
    pub is_unconfirmed: bool,
    opens: i32,
    clicks: i32,
    opened_at: Option<i64>,
    clicked_at: Option<i64>,
    machine_hits: i32,
}

impl Message {
    /// Whether an opening or a click may be counted now, as far as was read: [`is_to_count`] decides. Most of
    /// those that may not cost no writer its turn.
    pub fn may_count(&self, count: Count, now: DateTime<Utc>) -> bool {
        let (counted, last) = match count {
            Count::Opens => (self.opens, self.opened_at),
            Count::Clicks => (self.clicks, self.clicked_at),
            Count::Replies => return true,
        };
        counted < COUNTED_MAX && last.is_none_or(|last| last <= now.timestamp_millis() - APART_MS)
    }

    /// The same of a machine's visit: [`is_to_note`] decides.
    pub const fn may_note(&self) -> bool {
        self.machine_hits < MACHINES_MAX
    }

    /// What has happened to it.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the database holds something else.
    pub fn event(&self, at: DateTime<Utc>, kind: EventKind) -> Result<NewEvent> {
        let sequence = SequenceId::from_uuid(self.sequence_id);
        let channel = self.channel.as_deref().map(|word| parse("channel", word));
        Ok(NewEvent {
            execution_id: Some(ExecutionId::from_uuid(self.id)),
            step_key: Some(self.step_key.clone()),
            channel: channel.transpose()?,
            sender_id: self.sender_id.map(SenderId::from_uuid),
            ..NewEvent::of_lead(at, kind, sequence, LeadId::from_uuid(self.lead_id))
        })
    }

    /// Whom it went to.
    pub const fn person(&self) -> PersonId {
        PersonId::from_uuid(self.person_id)
    }
}

/// The message with this execution, if it is the workspace's.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn message(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    execution: ExecutionId,
) -> Result<Option<Message>> {
    let statement = "SELECT e.id, e.lead_id, l.person_id, e.sequence_id, e.step_key, e.channel,
             e.sender_id, e.finished_at, e.bounced, e.unsubscribed, e.opens, e.clicks,
             e.opened_at, e.clicked_at, e.machine_hits,
             (e.status = 'UNCONFIRMED') AS is_unconfirmed
         FROM execution AS e JOIN lead AS l ON l.id = e.lead_id
         WHERE e.id = $1 AND e.workspace_id = $2";
    let arguments = Arguments::new()
        .with(execution.uuid())
        .with(workspace.uuid());
    sql::one(connection, statement, arguments).await
}

/// How many of the latest messages on a channel to the person of a lead came back one after the other,
/// counted to `at_most`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn bounced_in_a_row(
    connection: &impl ConnectionTrait,
    lead: LeadId,
    channel: Channel,
    at_most: usize,
) -> Result<usize> {
    #[derive(FromQueryResult)]
    struct Returned {
        bounced: bool,
    }
    let statement = format!(
        "SELECT e.bounced FROM lead AS own JOIN lead AS l ON l.person_id = own.person_id
             JOIN execution AS e ON e.lead_id = l.id
         WHERE own.id = $1 AND e.channel = $2 AND e.status IN ('SENT', 'DELIVERED', 'UNCONFIRMED')
         ORDER BY e.id DESC LIMIT {at_most}"
    );
    let arguments = Arguments::new()
        .with(lead.uuid())
        .with(<&str>::from(channel));
    let rows: Vec<Returned> = sql::all(connection, &statement, arguments).await?;
    Ok(rows.iter().take_while(|row| row.bounced).count())
}

/// Whether the log tells already that this happened to a message.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn is_told(
    connection: &impl ConnectionTrait,
    message: &Message,
    kind: EventKind,
) -> Result<bool> {
    let statement = "SELECT count(*) AS n FROM event
         WHERE lead_id = $1 AND execution_id = $2 AND kind = $3";
    let arguments = Arguments::new()
        .with(message.lead_id)
        .with(message.id)
        .with(<&str>::from(kind));
    Ok(sql::number(connection, statement, arguments).await? > 0)
}

/// How far apart the openings, or the clicks, of a message are that are counted, in milliseconds: whoever
/// looks at it again right away opens it once.
const APART_MS: i64 = 60_000;
/// So many openings, and so many clicks, of a message are counted: a flood of them fills no database.
const COUNTED_MAX: i32 = 100;
/// So many visits of machines to a message are noted.
const MACHINES_MAX: i32 = 10;

/// Whether an opening or a click of a message is to be counted now; then it is marked as counted.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn is_to_count(
    connection: &impl ConnectionTrait,
    execution: ExecutionId,
    count: Count,
    now: DateTime<Utc>,
) -> Result<bool> {
    let (column, counted) = match count {
        Count::Opens => ("opened_at", "opens"),
        Count::Clicks => ("clicked_at", "clicks"),
        Count::Replies => return Ok(true),
    };
    let statement = format!(
        "UPDATE execution SET {column} = $1 WHERE id = $2 AND {counted} < $3
             AND ({column} IS NULL OR {column} <= $4)"
    );
    let arguments = Arguments::new()
        .with(now.timestamp_millis())
        .with(execution.uuid())
        .with(COUNTED_MAX)
        .with(now.timestamp_millis() - APART_MS);
    Ok(sql::execute(connection, &statement, arguments).await? > 0)
}

/// Whether a machine's visit to a message is to be noted; then it is counted among those that are.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn is_to_note(tx: &impl ConnectionTrait, execution: ExecutionId) -> Result<bool> {
    let statement = "UPDATE execution SET machine_hits = machine_hits + 1
         WHERE id = $1 AND machine_hits < $2";
    let arguments = Arguments::new().with(execution.uuid()).with(MACHINES_MAX);
    Ok(sql::execute(tx, statement, arguments).await? > 0)
}
