//! Tasks: the work for people that leads wait for.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::claim::parse;
use super::lead::{Ages, Part};
use super::sequence::publish::Place;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::clock::from_ms;
use crate::domain::flow::Channel;
use crate::domain::id::{LeadId, PersonId, SequenceId, TaskId, WorkspaceId};
use crate::domain::scope::SequenceScope;
use crate::domain::task::TaskStatus;

/// What a task asks of a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TaskText {
    /// What kind of work.
    pub channel: Channel,
    /// What is to be done.
    pub title: String,
    /// How.
    pub instructions: Option<String>,
    /// Who is to do it.
    pub assignee: Option<String>,
}

/// A task that comes up.
#[derive(Debug, Clone)]
pub struct NewTask {
    /// Its id.
    pub id: TaskId,
    /// The lead that waits for it.
    pub lead: LeadId,
    /// Its sequence.
    pub sequence: SequenceId,
    /// The step.
    pub step_key: String,
    /// What it asks.
    pub text: TaskText,
    /// When it came up.
    pub due_at: DateTime<Utc>,
    /// When its lead goes on without it.
    pub expires_at: Option<DateTime<Utc>>,
}

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskState {
    /// Its status.
    pub status: TaskStatus,
    /// When its lead goes on without it.
    pub expires_at: Option<DateTime<Utc>>,
}

/// A task, as the database has it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct Row {
    /// Its id.
    pub id: Uuid,
    /// The lead that waits for it.
    pub lead_id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// The step.
    pub step_key: String,
    /// What kind of work.
    pub channel: String,
    /// What is to be done.
    pub title: String,
    /// How.
    pub instructions: Option<String>,
    /// Who is to do it.
    pub assignee: Option<String>,
    /// How far it is.
    pub status: String,
    /// When it came up.
    pub due_at: i64,
    /// When its lead goes on without it.
    pub expires_at: Option<i64>,
    /// What was noted when it was done.
    pub note: Option<String>,
    /// When it was done, skipped, or given up.
    pub completed_at: Option<i64>,
    /// Who did it; none where time was up.
    pub completed_by: Option<String>,
}

const COLUMNS: &str = "t.id, t.lead_id, t.sequence_id, t.step_key, t.channel, t.title,
    t.instructions, t.assignee, t.status, t.due_at, t.expires_at, t.note, t.completed_at,
    t.completed_by";

impl Row {
    /// Its id.
    pub const fn task_id(&self) -> TaskId {
        TaskId::from_uuid(self.id)
    }

    /// How far it is.
    ///
    /// # Errors
    /// [`super::StoreError::Corrupt`] for a word that this version does not know.
    pub fn state(&self) -> Result<TaskStatus> {
        parse("task status", &self.status)
    }

    /// What kind of work it is.
    ///
    /// # Errors
    /// [`super::StoreError::Corrupt`] for a word that this version does not know.
    pub fn kind(&self) -> Result<Channel> {
        parse("channel", &self.channel)
    }
}

/// Enters tasks. One that its lead had at the step before stays as it is.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    tasks: &[NewTask],
) -> Result<()> {
    for chunk in sql::chunks(tasks) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|new| -> [Value; 12] {
                [
                    new.id.uuid().into(),
                    workspace.uuid().into(),
                    new.lead.uuid().into(),
                    new.sequence.uuid().into(),
                    new.step_key.as_str().into(),
                    <&str>::from(new.text.channel).into(),
                    new.text.title.as_str().into(),
                    new.text.instructions.clone().into(),
                    new.text.assignee.clone().into(),
                    <&str>::from(TaskStatus::Open).into(),
                    new.due_at.timestamp_millis().into(),
                    new.expires_at.map(|at| at.timestamp_millis()).into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO task (id, workspace_id, lead_id, sequence_id, step_key, channel, title,
                 instructions, assignee, status, due_at, expires_at)
             {rows} ON CONFLICT (lead_id, step_key) DO NOTHING"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// How far the tasks of these leads are, by lead and step.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn states(
    connection: &impl ConnectionTrait,
    leads: &[LeadId],
) -> Result<HashMap<(Uuid, String), TaskState>> {
    if leads.is_empty() {
        return Ok(HashMap::new());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(connection, leads.iter().map(|id| id.uuid()));
    let statement = format!("SELECT {COLUMNS} FROM task AS t WHERE t.lead_id {list}");
    let rows: Vec<Row> = sql::all(connection, &statement, arguments).await?;
    rows.into_iter()
        .map(|row| {
            let state = TaskState {
                status: row.state()?,
                expires_at: row.expires_at.map(from_ms),
            };
            Ok(((row.lead_id, row.step_key), state))
        })
        .collect()
}

/// Gives the open tasks of these leads up, as their leads have gone on without them.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn expire(
    tx: &impl ConnectionTrait,
    tasks: &[(LeadId, String)],
    now: DateTime<Utc>,
) -> Result<()> {
    for chunk in sql::chunks(tasks) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|(lead, step)| -> [Value; 3] {
                [
                    lead.uuid().into(),
                    step.as_str().into(),
                    now.timestamp_millis().into(),
                ]
            }),
        );
        let statement = format!(
            "WITH v (lead_id, step_key, now) AS ({rows})
             UPDATE task SET status = 'EXPIRED', completed_at = v.now
             FROM v WHERE task.lead_id = v.lead_id AND task.step_key = v.step_key
               AND task.status = 'OPEN'"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// Gives every open task of these leads up: the leads have left their step.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn expire_of(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[LeadId],
    now: DateTime<Utc>,
) -> Result<()> {
    for leads in sql::chunks(leads) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(now.timestamp_millis());
        let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
        let of_workspace = dialect::unindexed(tx.get_database_backend(), "workspace_id");
        let statement = format!(
            "UPDATE task SET status = 'EXPIRED', completed_at = $2
             WHERE {of_workspace} = $1 AND lead_id {list} AND status = 'OPEN'"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// Gives the open tasks of these leads up that would reach their person on a channel which is closed now,
/// and lets the leads go on.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn close_channels(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[LeadId],
    channels: &[Channel],
    now: DateTime<Utc>,
) -> Result<()> {
    for leads in sql::chunks(leads) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(now.timestamp_millis());
        let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
        let channels = arguments.list(channels.iter().map(<&str>::from));
        let of_workspace = dialect::unindexed(tx.get_database_backend(), "workspace_id");
        let statement = format!(
            "UPDATE task SET status = 'EXPIRED', completed_at = $2
             WHERE {of_workspace} = $1 AND lead_id {list} AND status = 'OPEN'
               AND channel IN ({channels})
             RETURNING lead_id, step_key"
        );
        let closed: Vec<Closed> = sql::all(tx, &statement, arguments).await?;
        for task in closed {
            stir_lead(tx, task.lead_id, &task.step_key, now).await?;
        }
    }
    Ok(())
}

/// Who has open work on a channel at one of these addresses, with the channel: several people may have one
/// phone number. Costs what is open.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn open_at(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
) -> Result<Vec<(PersonId, Channel)>> {
    let mut found = Vec::new();
    for (channel, address) in addresses {
        let column = match channel {
            Channel::Call => "phone",
            Channel::Linkedin => "linkedin_url",
            _ => continue,
        };
        let statement = format!(
            "SELECT DISTINCT p.id FROM task AS t JOIN lead AS l ON l.id = t.lead_id
                 JOIN person AS p ON p.id = l.person_id
             WHERE t.workspace_id = $1 AND t.status = 'OPEN' AND t.channel = $2 AND p.{column} = $3"
        );
        let arguments = Arguments::new()
            .with(workspace.uuid())
            .with(<&str>::from(channel))
            .with(address.as_str());
        let people = sql::ids(tx, &statement, arguments).await?.into_iter();
        found.extend(people.map(|id| (PersonId::from_uuid(id), *channel)));
    }
    Ok(found)
}

#[derive(FromQueryResult)]
struct Closed {
    lead_id: Uuid,
    step_key: String,
}

/// Gives the open tasks of a step up, which gives none any more.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn expire_at(
    tx: &impl ConnectionTrait,
    place: Place<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let statement = "UPDATE task SET status = 'EXPIRED', completed_at = $4
         WHERE workspace_id = $1 AND sequence_id = $2 AND step_key = $3 AND status = 'OPEN'";
    let arguments = Arguments::new()
        .with(place.workspace.uuid())
        .with(place.sequence.uuid())
        .with(place.step_key)
        .with(now.timestamp_millis());
    sql::execute(tx, statement, arguments).await?;
    Ok(())
}

/// A task of the workspace that a scope admits, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    scope: &SequenceScope,
    id: TaskId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT {COLUMNS} FROM task AS t WHERE t.id = $1 AND t.workspace_id = $2 {}",
        dialect::for_update(tx, "t")
    );
    let arguments = Arguments::new().with(id.uuid()).with(workspace.uuid());
    let row: Option<Row> = sql::one(tx, &statement, arguments).await?;
    Ok(row.filter(|row| scope.admits(SequenceId::from_uuid(row.sequence_id))))
}

/// Writes that a task is done or skipped.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn finish(tx: &impl ConnectionTrait, row: &Row) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE task SET status = $1, note = $2, completed_at = $3, completed_by = $4
         WHERE id = $5",
        Arguments::new()
            .with(row.status.as_str())
            .with(row.note.clone())
            .with(row.completed_at)
            .with(row.completed_by.clone())
            .with(row.id),
    )
    .await?;
    Ok(())
}

/// Lets a lead go on that waits for a task at this step.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn stir_lead(
    tx: &impl ConnectionTrait,
    lead: Uuid,
    step_key: &str,
    now: DateTime<Utc>,
) -> Result<u64> {
    sql::execute(
        tx,
        "UPDATE lead SET due_at = $1 WHERE id = $2 AND step_key = $3 AND status = 'ACTIVE'
           AND hold = 'AWAITING_TASK' AND (due_at IS NULL OR due_at > $1)",
        Arguments::new()
            .with(now.timestamp_millis())
            .with(lead)
            .with(step_key),
    )
    .await
}

/// Which tasks; every condition that is given must hold.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one of these sequences.
    pub sequences: Option<Vec<SequenceId>>,
    /// With one of these statuses.
    pub status: Option<Vec<TaskStatus>>,
    /// For this person to do, as written.
    pub assignee: Option<String>,
}

impl Filter {
    fn condition(&self, workspace: WorkspaceId, arguments: &mut Arguments) -> String {
        let mut all = vec![format!(
            "t.workspace_id = {}",
            arguments.add(workspace.uuid())
        )];
        if let Some(sequences) = &self.sequences {
            let list = arguments.list(sequences.iter().map(|id| id.uuid()));
            all.push(format!("t.sequence_id IN ({list})"));
        }
        if let Some(status) = &self.status {
            let list = arguments.list(status.iter().map(<&str>::from));
            all.push(format!("t.status IN ({list})"));
        }
        if let Some(assignee) = &self.assignee {
            all.push(format!("t.assignee = {}", arguments.add(assignee.as_str())));
        }
        all.join(" AND ")
    }
}

/// A page of the tasks that a filter chooses, oldest first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
    page: Part,
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new();
    let conditions = filter.condition(workspace, &mut arguments);
    let rest = page.rest("t.id", Ages::OldestFirst, &mut arguments);
    let statement = format!("SELECT {COLUMNS} FROM task AS t WHERE {conditions}{rest}");
    sql::all(connection, &statement, arguments).await
}

/// How many tasks a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
) -> Result<i64> {
    let mut arguments = Arguments::new();
    let conditions = filter.condition(workspace, &mut arguments);
    let statement = format!("SELECT count(*) AS n FROM task AS t WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

/// The task with this id, if it is the workspace's and a scope admits it.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    scope: &SequenceScope,
    id: TaskId,
) -> Result<Option<Row>> {
    let statement =
        format!("SELECT {COLUMNS} FROM task AS t WHERE t.id = $1 AND t.workspace_id = $2");
    let arguments = Arguments::new().with(id.uuid()).with(workspace.uuid());
    let row: Option<Row> = sql::one(connection, &statement, arguments).await?;
    Ok(row.filter(|row| scope.admits(SequenceId::from_uuid(row.sequence_id))))
}
