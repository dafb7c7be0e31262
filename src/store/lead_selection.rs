//! Leads as they are listed, counted and chosen.

use chrono::{DateTime, Utc};
use entity::lead;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, Value};
use uuid::Uuid;

use super::person::filter::escaped;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{LeadId, SequenceId, WorkspaceId};
use crate::domain::lead_filter::LeadFilter;
use crate::domain::person_filter::searchable;

/// A lead as the database has it.
pub type Row = lead::Model;

/// In which order leads come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// The first enrolled first.
    EnrolledAtAsc,
    /// The last enrolled first.
    EnrolledAtDesc,
    /// The last moved first; those that never moved come last.
    LastActionAtDesc,
    /// The next due first; those without a due time come last.
    DueAtAsc,
}

impl Order {
    /// What is sorted by, and whether it rises.
    const fn by(self) -> (&'static str, bool) {
        match self {
            Self::EnrolledAtAsc => ("l.enrolled_at", true),
            Self::EnrolledAtDesc => ("l.enrolled_at", false),
            Self::LastActionAtDesc => ("coalesce(l.last_action_at, -1)", false),
            Self::DueAtAsc => ("coalesce(l.due_at, 9223372036854775807)", true),
        }
    }

    /// The place of a lead in this order.
    pub fn key(self, row: &Row) -> (i64, Uuid) {
        let sorted = match self {
            Self::EnrolledAtAsc | Self::EnrolledAtDesc => row.enrolled_at,
            Self::LastActionAtDesc => row.last_action_at.unwrap_or(-1),
            Self::DueAtAsc => row.due_at.unwrap_or(i64::MAX),
        };
        (sorted, row.id)
    }
}

/// Which leads a page holds.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// Only those after this place.
    pub after: Option<(i64, Uuid)>,
    /// Only those before this place.
    pub before: Option<(i64, Uuid)>,
    /// The last ones instead of the first; they come in the reverse order.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

/// The conditions of a filter, on `lead AS l JOIN person AS p`.
fn conditions(workspace: WorkspaceId, filter: &LeadFilter, arguments: &mut Arguments) -> String {
    let mut all = vec![format!("l.workspace_id = {}", arguments.add(workspace.uuid()))];
    let mut any_of = |column: &str, values: Option<Vec<Value>>| {
        if let Some(values) = values {
            all.push(format!("l.{column} IN ({})", arguments.list(values)));
        }
    };
    let uuids = |ids: Vec<Uuid>| ids.into_iter().map(Value::from).collect::<Vec<_>>();
    let ids = |ids: &Vec<SequenceId>| uuids(ids.iter().map(|id| id.uuid()).collect());
    any_of("sequence_id", filter.sequences.as_ref().map(ids));
    let senders = filter.senders.as_ref();
    any_of("sender_id", senders.map(|ids| uuids(ids.iter().map(|id| id.uuid()).collect())));
    any_of("person_id", filter.person.map(|id| uuids(vec![id.uuid()])));
    let words = |words: Vec<&str>| words.into_iter().map(Value::from).collect::<Vec<_>>();
    let status = filter.status.as_ref();
    any_of("status", status.map(|list| words(list.iter().map(|s| s.into()).collect())));
    let reasons = filter.stop_reason.as_ref();
    any_of("stop_reason", reasons.map(|list| words(list.iter().map(|s| s.into()).collect())));
    let steps = filter.step_keys.as_ref();
    any_of("step_key", steps.map(|keys| words(keys.iter().map(String::as_str).collect())));
    let bounds = [
        ("l.enrolled_at >=", filter.enrolled_from),
        ("l.enrolled_at <", filter.enrolled_to),
        ("l.last_action_at >=", filter.last_action_from),
        ("l.last_action_at <", filter.last_action_to),
    ];
    for (comparison, bound) in bounds {
        if let Some(bound) = bound {
            all.push(format!("{comparison} {}", arguments.add(bound.timestamp_millis())));
        }
    }
    for word in filter.search.iter().flat_map(|text| text.split_whitespace()) {
        let pattern = arguments.add(format!("%{}%", escaped(&searchable(word))));
        all.push(format!("p.search_text LIKE {pattern} ESCAPE '\\'"));
    }
    all.join(" AND ")
}

/// Only a search asks for the person.
fn from(filter: &LeadFilter) -> &'static str {
    if filter.search.is_some() {
        "lead AS l JOIN person AS p ON p.id = l.person_id"
    } else {
        "lead AS l"
    }
}

/// A page of the leads that a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &LeadFilter,
    order: Order,
    page: Page,
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new();
    let mut conditions = conditions(workspace, filter, &mut arguments);
    let (sorted, rising) = order.by();
    let mut bound = |key: Option<(i64, Uuid)>, later: bool| {
        if let Some((sort, id)) = key {
            let comparison = if later == rising { ">" } else { "<" };
            let (sort, id) = (arguments.add(sort), arguments.add(id));
            conditions.push_str(&format!(" AND ({sorted}, l.id) {comparison} ({sort}, {id})"));
        }
    };
    bound(page.after, true);
    bound(page.before, false);
    let direction = if rising == page.backward { "DESC" } else { "ASC" };
    let statement = format!(
        "SELECT l.* FROM {} WHERE {conditions}
         ORDER BY {sorted} {direction}, l.id {direction} LIMIT {}",
        from(filter),
        page.limit
    );
    sql::all(connection, &statement, arguments).await
}

/// How many leads a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &LeadFilter,
) -> Result<i64> {
    let mut arguments = Arguments::new();
    let conditions = conditions(workspace, filter, &mut arguments);
    let statement = format!(
        "SELECT CAST(count(*) AS BIGINT) AS n FROM {} WHERE {conditions}",
        from(filter)
    );
    sql::number(connection, &statement, arguments).await
}

/// The leads with these ids, as far as the workspace has them.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[LeadId],
) -> Result<Vec<Row>> {
    Ok(lead::Entity::find()
        .filter(lead::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(lead::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// How many leads of a sequence are in a status.
#[derive(Debug, FromQueryResult)]
pub struct StatusCount {
    /// The sequence.
    pub sequence_id: Uuid,
    /// The status.
    pub status: String,
    /// How many.
    pub leads: i64,
}

/// The counts of these sequences' leads by status.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lead_counts(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequences: &[SequenceId],
) -> Result<Vec<StatusCount>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.list(sequences.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT l.sequence_id, l.status, CAST(count(*) AS BIGINT) AS leads FROM lead l
         WHERE l.sequence_id IN (SELECT q.id FROM sequence q
                                 WHERE q.workspace_id = $1 AND q.id IN ({list}))
         GROUP BY l.sequence_id, l.status"
    );
    sql::all(connection, &statement, arguments).await
}

/// A lead that a bulk operation is about to change, locked.
#[derive(Debug, FromQueryResult)]
pub struct Chosen {
    /// The lead.
    pub id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// Its status.
    pub status: String,
    /// Whether a message of it is on its way.
    pub sending: bool,
}

const CHOSEN: &str = "SELECT l.id, l.sequence_id, l.status,
    EXISTS (SELECT 1 FROM execution e WHERE e.lead_id = l.id AND e.status = 'SENDING'
            AND e.handed_at IS NOT NULL) AS sending";

/// Locks the leads with these ids, as far as the workspace has them.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_many(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[LeadId],
) -> Result<Vec<Chosen>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.list(ids.iter().map(|id| id.uuid()));
    let statement = format!(
        "{CHOSEN} FROM lead l WHERE l.workspace_id = $1 AND l.id IN ({list}) ORDER BY l.id {}",
        dialect::for_update(tx, "l")
    );
    sql::all(tx, &statement, arguments).await
}

/// Locks the next leads that a filter chooses, by id: those after `after` that were enrolled by
/// `before`.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_chosen(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &LeadFilter,
    (after, before): (Option<Uuid>, DateTime<Utc>),
    limit: usize,
) -> Result<Vec<Chosen>> {
    let mut arguments = Arguments::new();
    let conditions = conditions(workspace, filter, &mut arguments);
    let before = arguments.add(before.timestamp_millis());
    let after = arguments.add(after.unwrap_or(Uuid::nil()));
    let statement = format!(
        "{CHOSEN} FROM {} WHERE {conditions} AND l.enrolled_at <= {before} AND l.id > {after}
         ORDER BY l.id LIMIT {limit} {}",
        from(filter),
        dialect::for_update(tx, "l")
    );
    sql::all(tx, &statement, arguments).await
}

/// What a person does with leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// Holds them.
    Pause,
    /// Lets them go on.
    Resume,
    /// Takes them out.
    Remove,
}

/// Changes locked leads, as the lead machine has it ([`crate::domain::lead::LeadState::apply`]):
/// one statement for all. Answers those that changed.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn change(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    change: Change,
    ids: &[Uuid],
    now: DateTime<Utc>,
) -> Result<Vec<Uuid>> {
    let mut arguments = Arguments::new().with(workspace.uuid()).with(now.timestamp_millis());
    let list = arguments.list(ids.iter().copied());
    let (set, when) = match change {
        Change::Pause => (
            "status = 'PAUSED', due_at = NULL,
             paused_rest_ms = CASE WHEN due_at IS NULL THEN NULL
                                   WHEN due_at > $2 THEN due_at - $2 ELSE 0 END",
            "status IN ('PENDING', 'IN_PROGRESS')",
        ),
        Change::Resume => (
            "status = CASE WHEN hold = 'UNCONFIRMED' THEN 'IN_PROGRESS' ELSE 'PENDING' END,
             due_at = $2 + paused_rest_ms, paused_rest_ms = NULL",
            "status = 'PAUSED'",
        ),
        Change::Remove => (
            "status = 'STOPPED', stop_reason = 'REMOVED', due_at = NULL, hold = NULL,
             paused_rest_ms = NULL",
            "status IN ('PENDING', 'IN_PROGRESS', 'PAUSED')",
        ),
    };
    let statement = format!(
        "UPDATE lead SET {set}, last_action_at = $2
         WHERE workspace_id = $1 AND id IN ({list}) AND {when} RETURNING id"
    );
    sql::ids(tx, &statement, arguments).await
}
