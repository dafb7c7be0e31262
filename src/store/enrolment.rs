//! Enrolment: who is selected, what stands in the way, and the leads that are made.

mod preview;

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use strum::IntoStaticStr;
use uuid::Uuid;

pub use self::preview::{Alike, Among, alike, sample};
use super::claim::addresses_of;
use super::lead::kept;
use super::sequence::version::{self, Version};
use super::sql::{self, Arguments};
use super::{Result, dialect, opportunity, person};
use crate::domain::flow::Channel;
use crate::domain::id::{LeadId, PersonId, SenderId, SequenceId, VersionId, WorkspaceId};
use crate::domain::lead::LeadStatus;
use crate::domain::person_filter::PersonFilter;
use crate::domain::pipeline::OpportunityFilter;

/// What enrolling into a sequence takes to know of it; locked, so that it stays as it is.
#[derive(Debug)]
pub struct Target {
    /// Its status.
    pub status: String,
    /// What runs.
    pub version: Option<Version>,
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
    // Two statements: one that waits for somebody who publishes sees the sequence's new row, but
    // would still join it with the versions that there were when it began.
    let statement = format!(
        "SELECT q.status, q.published_version_id FROM sequence q
         WHERE q.workspace_id = $1 AND q.id = $2 {}",
        dialect::for_share(tx, "q")
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    let Some(kept) = sql::one::<KeptSequence>(tx, &statement, arguments).await? else {
        return Ok(None);
    };
    let version = match kept.published_version_id.map(VersionId::from_uuid) {
        Some(id) => Some(version::of_sequence(tx, workspace, id).await?),
        None => None,
    };
    Ok(Some(Target {
        status: kept.status,
        version,
    }))
}

#[derive(FromQueryResult)]
struct KeptSequence {
    status: String,
    published_version_id: Option<Uuid>,
}

/// The clock of a sender.
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
#[derive(Debug, Clone, FromQueryResult)]
pub struct Candidate {
    /// The person.
    pub id: Uuid,
    /// Whether there is an email address.
    pub has_email: bool,
    /// Whether there is a phone number.
    pub has_phone: bool,
    /// Whether there is a LinkedIn page.
    pub has_linkedin: bool,
    /// The person's time zone.
    pub time_zone: Option<String>,
    /// The person's country, as a code of ISO 3166.
    pub country: Option<String>,
    /// Why the email address must not be written to.
    pub email_suppressed: Option<String>,
    /// Why the phone number must get no SMS.
    pub sms_suppressed: Option<String>,
    /// Why the phone number must get no WhatsApp message.
    pub whatsapp_suppressed: Option<String>,
    /// Why the phone number must not be called.
    pub call_suppressed: Option<String>,
    /// Why the LinkedIn page must not be contacted.
    pub linkedin_suppressed: Option<String>,
    /// The number of the person's last run through the sequence, from 1; 0, there was none.
    pub last_round: i32,
    /// Whether any of the runs counts: one whose enrolment was undone does not.
    pub has_run: bool,
    /// Whether one of them is still under way.
    pub active: bool,
}

impl Candidate {
    /// Whether there is an address for a channel; none is needed for work and requests.
    pub const fn has_address(&self, channel: Channel) -> bool {
        match channel {
            Channel::Email => self.has_email,
            Channel::Sms | Channel::Whatsapp | Channel::Call => self.has_phone,
            Channel::Linkedin => self.has_linkedin,
            Channel::Task | Channel::Webhook => true,
        }
    }

    /// Why the person must not be contacted on a channel; `None`, nothing stands in the way.
    pub fn suppressed(&self, channel: Channel) -> Option<&str> {
        match channel {
            Channel::Email => self.email_suppressed.as_deref(),
            Channel::Sms => self.sms_suppressed.as_deref(),
            Channel::Whatsapp => self.whatsapp_suppressed.as_deref(),
            Channel::Call => self.call_suppressed.as_deref(),
            Channel::Linkedin => self.linkedin_suppressed.as_deref(),
            Channel::Task | Channel::Webhook => None,
        }
    }
}

/// The channels whose suppressions a [`Candidate`] has, and its columns for them.
const SUPPRESSED: [(Channel, &str); 5] = [
    (Channel::Email, "email_suppressed"),
    (Channel::Sms, "sms_suppressed"),
    (Channel::Whatsapp, "whatsapp_suppressed"),
    (Channel::Call, "call_suppressed"),
    (Channel::Linkedin, "linkedin_suppressed"),
];

/// Reads the [`Candidate`]s `p` for the sequence $2, for conditions to follow, of which one binds them to
/// the workspace $1.
fn candidates(connection: &impl ConnectionTrait) -> String {
    let backend = connection.get_database_backend();
    let suppressed = SUPPRESSED.map(|(channel, column)| {
        let addresses = addresses_of(backend, channel);
        // Of an address and its domain the one that says most of the person: the words are in this order.
        format!(
            "(SELECT max(s.reason) FROM suppression s WHERE s.workspace_id = p.workspace_id
                  AND s.channel = '{channel}' AND s.address IN ({addresses})) AS {column}"
        )
    });
    format!(
        "SELECT p.id, (p.email_key IS NOT NULL) AS has_email,
             (p.phone IS NOT NULL) AS has_phone, (p.linkedin_url IS NOT NULL) AS has_linkedin,
             p.time_zone, p.country, {},
             COALESCE((SELECT max(l.round) FROM lead l
                       WHERE l.sequence_id = $2 AND l.person_id = p.id), 0) AS last_round,
             EXISTS (SELECT 1 FROM lead l WHERE l.sequence_id = $2 AND l.person_id = p.id
                     AND (l.stop_reason IS NULL OR l.stop_reason <> 'ENROLMENT_UNDONE'))
                 AS has_run,
             EXISTS (SELECT 1 FROM lead l WHERE l.sequence_id = $2 AND l.person_id = p.id
                     AND l.status IN ('ACTIVE', 'PAUSED')) AS active
         FROM person p",
        suppressed.join(", ")
    )
}

/// The people with these ids, as far as the workspace has them. Nobody erases them, or merges them into
/// somebody else, before the transaction ends: their leads would be overlooked.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_ids(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    people: &[PersonId],
) -> Result<Vec<Candidate>> {
    matching(connection, workspace, sequence, people, None).await
}

/// Those of the people with these ids that the workspace has and a filter chooses (without one, all).
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn matching(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    people: &[PersonId],
    filter: Option<&PersonFilter>,
) -> Result<Vec<Candidate>> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    let list = arguments.among(connection, people.iter().map(|id| id.uuid()));
    let ours = sql::of_found("p.id", "p.workspace_id = $1");
    let mut conditions = format!("p.id {list} AND {ours}");
    let backend = connection.get_database_backend();
    let chosen = filter
        .map(|filter| person::condition(backend, workspace, filter, "p", &mut arguments))
        .unwrap_or_default();
    if !chosen.is_empty() {
        conditions.push_str(" AND ");
        conditions.push_str(&chosen);
    }
    let statement = format!(
        "{} WHERE {conditions} AND p.erased_at IS NULL ORDER BY p.id {}",
        candidates(connection),
        dialect::for_key_share(connection, "p")
    );
    sql::all(connection, &statement, arguments).await
}

/// Those of the people with these ids that the workspace has, and that are not erased.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn there(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[PersonId],
) -> Result<HashSet<Uuid>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(connection, people.iter().map(|id| id.uuid()));
    let ours = sql::of_found("p.id", "p.workspace_id = $1");
    let statement = format!(
        "SELECT p.id FROM person AS p WHERE p.id {list} AND {ours} AND p.erased_at IS NULL"
    );
    let ids = sql::ids(connection, &statement, arguments).await?;
    Ok(ids.into_iter().collect())
}

/// By what people are chosen.
#[derive(Debug, Clone, Copy)]
pub enum Filter<'a> {
    /// By what is known of them.
    People(&'a PersonFilter),
    /// By their opportunities: those who have one that it chooses.
    Opportunities(&'a OpportunityFilter),
}

/// The conditions that bind `p` to a filter and to an instant by which the person, or the opportunity,
/// was there.
fn chosen(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: Filter<'_>,
    as_of: DateTime<Utc>,
    arguments: &mut Arguments,
) -> String {
    let as_of = arguments.add(as_of.timestamp_millis());
    let mut text = format!("p.created_at <= {as_of}");
    let backend = connection.get_database_backend();
    let more = match filter {
        Filter::People(filter) => person::condition(backend, workspace, filter, "p", arguments),
        Filter::Opportunities(filter) => {
            let chosen = opportunity::filter::condition(workspace, filter, "o", arguments);
            format!(
                "EXISTS (SELECT 1 FROM opportunity AS o WHERE o.person_id = p.id
                     AND o.created_at <= {as_of} AND {chosen})"
            )
        }
    };
    text.push_str(" AND ");
    text.push_str(&more);
    text
}

/// The next people that a filter selects, by id: those after `after` that were there by `as_of`. They stay
/// as those of [`by_ids`] do.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn by_filter(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    filter: Filter<'_>,
    (after, as_of): (Option<PersonId>, DateTime<Utc>),
    limit: usize,
) -> Result<Vec<Candidate>> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    let mut conditions = chosen(connection, workspace, filter, as_of, &mut arguments);
    if let Some(after) = after {
        conditions.push_str(&format!(" AND p.id > {}", arguments.add(after.uuid())));
    }
    let statement = format!(
        "{} WHERE p.workspace_id = $1 AND p.erased_at IS NULL AND {conditions}
         ORDER BY p.id LIMIT {limit} {}",
        candidates(connection),
        dialect::for_key_share(connection, "p")
    );
    sql::all(connection, &statement, arguments).await
}

/// How many people a filter selects that were there by `as_of`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: Filter<'_>,
    as_of: DateTime<Utc>,
) -> Result<i64> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let conditions = chosen(connection, workspace, filter, as_of, &mut arguments);
    let statement =
        format!("SELECT count(*) AS n FROM person p WHERE p.workspace_id = $1 AND {conditions}");
    sql::number(connection, &statement, arguments).await
}

/// How somebody becomes a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Source {
    /// Somebody asked for it.
    Api,
    /// A workflow did.
    Workflow,
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
    /// Its first sender; none where its first step needs none.
    pub sender: Option<SenderId>,
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
    source: Source,
    now: DateTime<Utc>,
) -> Result<Vec<LeadId>> {
    if leads.is_empty() {
        return Ok(Vec::new());
    }
    let now = now.timestamp_millis();
    // Whoever enrols the same people at the same time waits for this transaction at the first of
    // them: in one order for everybody, nobody waits in a circle.
    let mut leads: Vec<&NewLead> = leads.iter().collect();
    leads.sort_unstable_by_key(|lead| lead.person);
    let mut arguments = Arguments::new();
    let rows = arguments.table(
        tx,
        leads.into_iter().map(|lead| -> [Value; 20] {
            [
                lead.id.uuid().into(),
                workspace.uuid().into(),
                sequence.uuid().into(),
                lead.person.into(),
                lead.round.into(),
                kept(LeadStatus::Pending).into(),
                step_key.into(),
                1_i16.into(),
                lead.sender.map(SenderId::uuid).into(),
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
                <&str>::from(source).into(),
            ]
        }),
    );
    let statement = format!(
        "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status, step_key, turn,
             sender_id, bucket, anchor_at, due_at, messages_sent, opens, clicks, replies, bounced,
             unsubscribed, enrolled_at, enrolled_by)
         {rows} ON CONFLICT DO NOTHING RETURNING id"
    );
    let made = sql::ids(tx, &statement, arguments).await?;
    Ok(made.into_iter().map(LeadId::from_uuid).collect())
}
