//! Enrolment: who is selected, what stands in the way, and the leads that are made.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::person::filter;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{LeadId, PersonId, SenderId, SequenceId, WorkspaceId};
use crate::domain::person_filter::PersonFilter;

/// What enrolling into a sequence takes to know of it; locked, so that it stays as it is.
#[derive(Debug, FromQueryResult)]
pub struct Target {
    /// Its status.
    pub status: String,
    /// The flow that runs.
    pub flow: Option<serde_json::Value>,
    /// The settings that it runs under.
    pub settings: Option<serde_json::Value>,
}

/// The sequence of the workspace, not to be changed before the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn target(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
) -> Result<Option<Target>> {
    let statement = format!(
        "SELECT q.status, v.flow, v.settings FROM sequence q
         LEFT JOIN sequence_version v ON v.id = q.published_version_id
         WHERE q.workspace_id = $1 AND q.id = $2 {}",
        dialect::for_share(tx, "q")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(sequence.uuid());
    sql::one(tx, &statement, arguments).await
}

/// The clocks of senders.
#[derive(Debug, FromQueryResult)]
pub struct SenderZone {
    /// The sender.
    pub id: Uuid,
    /// Its time zone.
    pub time_zone: String,
}

/// The clocks of these senders of the workspace.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn sender_zones(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    senders: &[SenderId],
) -> Result<Vec<SenderZone>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.list(senders.iter().map(|id| id.uuid()));
    let statement =
        format!("SELECT id, time_zone FROM sender WHERE workspace_id = $1 AND id IN ({list})");
    sql::all(connection, &statement, arguments).await
}

/// A person who may be enrolled, and what stands in the way.
#[derive(Debug, FromQueryResult)]
pub struct Candidate {
    /// The person.
    pub id: Uuid,
    /// Whether there is an email address.
    pub has_email: bool,
    /// The person's time zone.
    pub time_zone: Option<String>,
    /// Why the address must not be contacted.
    pub suppressed: Option<String>,
    /// How many leads the person has had in the sequence.
    pub rounds: i64,
    /// Whether one of them is still under way.
    pub active: bool,
}

const CANDIDATE: &str = "SELECT p.id, (p.email IS NOT NULL) AS has_email, p.time_zone,
        s.reason AS suppressed,
        (SELECT CAST(count(*) AS BIGINT) FROM lead l
         WHERE l.person_id = p.id AND l.sequence_id = $2) AS rounds,
        EXISTS (SELECT 1 FROM lead l WHERE l.person_id = p.id AND l.sequence_id = $2
                AND l.status IN ('PENDING', 'IN_PROGRESS', 'PAUSED')) AS active
    FROM person p
    LEFT JOIN suppression s ON s.workspace_id = p.workspace_id AND s.channel = 'EMAIL'
         AND s.address = p.email_key
    WHERE p.workspace_id = $1";

/// The people with these ids, as far as the workspace has them.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_ids(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    people: &[PersonId],
) -> Result<Vec<Candidate>> {
    let mut arguments = Arguments::new().with(workspace.uuid()).with(sequence.uuid());
    let list = arguments.list(people.iter().map(|id| id.uuid()));
    let statement = format!("{CANDIDATE} AND p.id IN ({list})");
    sql::all(connection, &statement, arguments).await
}

/// The next people that a filter selects, by id: those after `after` that were there `before`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_filter(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    selected: &PersonFilter,
    (after, before): (Option<Uuid>, DateTime<Utc>),
    limit: usize,
) -> Result<Vec<Candidate>> {
    let mut arguments = Arguments::new().with(workspace.uuid()).with(sequence.uuid());
    let backend = connection.get_database_backend();
    let condition = selected_by(backend, workspace, selected, &mut arguments);
    let before = arguments.add(before.timestamp_millis());
    let after = arguments.add(after.unwrap_or(Uuid::nil()));
    let statement = format!(
        "{CANDIDATE} AND ({condition}) AND p.created_at <= {before} AND p.id > {after}
         ORDER BY p.id LIMIT {limit}"
    );
    sql::all(connection, &statement, arguments).await
}

fn selected_by(
    backend: sea_orm::DbBackend,
    workspace: WorkspaceId,
    selected: &PersonFilter,
    arguments: &mut Arguments,
) -> String {
    let condition = filter::condition(backend, workspace, selected, "p", arguments);
    if condition.is_empty() { "1 = 1".to_owned() } else { condition }
}

/// How many people a filter selects that were there `before`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    selected: &PersonFilter,
    before: DateTime<Utc>,
) -> Result<i64> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let backend = connection.get_database_backend();
    let condition = selected_by(backend, workspace, selected, &mut arguments);
    let before = arguments.add(before.timestamp_millis());
    let statement = format!(
        "SELECT CAST(count(*) AS BIGINT) AS n FROM person p
         WHERE p.workspace_id = $1 AND ({condition}) AND p.created_at <= {before}"
    );
    sql::number(connection, &statement, arguments).await
}

/// A lead to be made.
#[derive(Debug)]
pub struct NewLead {
    /// Its id.
    pub id: LeadId,
    /// Its person.
    pub person: Uuid,
    /// Which run of the person this is, from 1.
    pub round: i32,
    /// Its first sender.
    pub sender: SenderId,
    /// What decides its variants.
    pub bucket: i32,
    /// When its first step is due.
    pub due_at: DateTime<Utc>,
}

/// Makes leads; a person who has an active lead by now is left out. Answers the leads made.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    step_key: &str,
    leads: &[NewLead],
    now: DateTime<Utc>,
) -> Result<Vec<LeadId>> {
    if leads.is_empty() {
        return Ok(Vec::new());
    }
    let now = now.timestamp_millis();
    let mut arguments = Arguments::new();
    let rows = arguments.rows(leads.iter().map(|lead| -> [Value; 20] {
        [
            lead.id.uuid().into(),
            workspace.uuid().into(),
            sequence.uuid().into(),
            lead.person.into(),
            lead.round.into(),
            "PENDING".into(),
            step_key.into(),
            1_i16.into(),
            lead.sender.uuid().into(),
            lead.bucket.into(),
            now.into(),
            lead.due_at.timestamp_millis().into(),
            0_i32.into(),
            0_i32.into(),
            0_i32.into(),
            0_i32.into(),
            false.into(),
            false.into(),
            now.into(),
            "API".into(),
        ]
    }));
    let statement = format!(
        "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status, step_key, turn,
             sender_id, bucket, anchor_at, due_at, messages_sent, opens, clicks, replies, bounced,
             unsubscribed, enrolled_at, enrolled_by)
         VALUES {rows} ON CONFLICT DO NOTHING RETURNING id"
    );
    let made = sql::ids(tx, &statement, arguments).await?;
    Ok(made.into_iter().map(LeadId::from_uuid).collect())
}
