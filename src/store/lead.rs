//! Leads as they are shown and counted: pages over a filter, by ids, by person. What changes many
//! leads at once is in [`change`].

pub mod change;
mod filter;
pub(super) mod hold;
mod status;
pub mod waiting;

use entity::lead;
use sea_orm::{
    ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

pub use self::filter::Scope;
pub(super) use self::status::status_of;
pub use self::status::{kept, status};
use super::claim::parse;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{LeadId, PersonId, SequenceId, WorkspaceId};
use crate::domain::lead::LeadStatus;
use crate::domain::lead_filter::LeadOrder;
use crate::domain::scope::SequenceScope;

/// A lead's row.
pub type Row = lead::Model;

/// A lead's place in a list: the instant that the list is ordered by, and its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// Milliseconds since the Unix epoch; where the lead has no such instant, the end of time on
    /// the side where those come.
    pub at: i64,
    /// The lead.
    pub id: LeadId,
}

/// What stands for the time of last action of a lead that has none: before all others.
const NEVER: i64 = -1;

impl Key {
    /// Where a lead stands in a list.
    pub fn of(row: &Row, order: LeadOrder) -> Self {
        let at = match order {
            LeadOrder::EnrolledAtAsc | LeadOrder::EnrolledAtDesc => row.enrolled_at,
            LeadOrder::LastActionAtDesc => row.last_action_at.unwrap_or(NEVER),
            LeadOrder::DueAtAsc => row.due_at.unwrap_or(i64::MAX),
        };
        Self {
            at,
            id: LeadId::from_uuid(row.id),
        }
    }
}

/// What a list is ordered by, written as its index has it, and whether that descends.
const fn ordered_by(order: LeadOrder) -> (&'static str, bool) {
    match order {
        LeadOrder::EnrolledAtAsc => ("l.enrolled_at", false),
        LeadOrder::EnrolledAtDesc => ("l.enrolled_at", true),
        LeadOrder::LastActionAtDesc => ("COALESCE(l.last_action_at, -1)", true),
        LeadOrder::DueAtAsc => ("COALESCE(l.due_at, 9223372036854775807)", false),
    }
}

/// Which part of a list to read.
#[derive(Debug, Clone, Copy)]
pub struct Page {
    /// The list's order.
    pub order: LeadOrder,
    /// Only those after this place.
    pub after: Option<Key>,
    /// Only those before this place.
    pub before: Option<Key>,
    /// The last ones instead of the first; they come in the list's reverse order.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

/// A page of the leads in a scope.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    scope: &Scope<'_>,
    page: Page,
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new();
    let mut conditions = scope.condition(connection.get_database_backend(), &mut arguments);
    let (by, descending) = ordered_by(page.order);
    let (onward, back) = if descending { ("<", ">") } else { (">", "<") };
    for (key, side) in [(page.after, onward), (page.before, back)] {
        if let Some(key) = key {
            let (at, id) = (arguments.add(key.at), arguments.add(key.id.uuid()));
            // The first part alone says nothing new, but SQLite finds the place by it.
            conditions.push_str(&format!(
                " AND {by} {side}= {at} AND ({by}, l.id) {side} ({at}, {id})"
            ));
        }
    }
    let way = if descending == page.backward {
        "ASC"
    } else {
        "DESC"
    };
    let statement = format!(
        "SELECT l.* FROM lead AS l WHERE {conditions} ORDER BY {by} {way}, l.id {way} LIMIT {}",
        page.limit
    );
    sql::all(connection, &statement, arguments).await
}

/// How many leads are in a scope.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, scope: &Scope<'_>) -> Result<i64> {
    let mut arguments = Arguments::new();
    let conditions = scope.condition(connection.get_database_backend(), &mut arguments);
    let statement = format!("SELECT count(*) AS n FROM lead AS l WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

/// How many leads in a scope have each status.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn status_counts(
    connection: &impl ConnectionTrait,
    scope: &Scope<'_>,
) -> Result<Vec<(LeadStatus, i64)>> {
    let mut arguments = Arguments::new();
    let conditions = scope.condition(connection.get_database_backend(), &mut arguments);
    let statement = format!(
        "SELECT status, count(*) AS n FROM (
             SELECT {} AS status FROM lead AS l WHERE {conditions}) AS chosen
         GROUP BY status",
        status::of_lead()
    );
    let rows: Vec<OfStatus> = sql::all(connection, &statement, arguments).await?;
    let rows = rows.into_iter();
    rows.map(|row| Ok((parse("lead status", &row.status)?, row.n)))
        .collect()
}

#[derive(FromQueryResult)]
struct OfStatus {
    status: String,
    n: i64,
}

/// Those of the leads that are the workspace's, in no order.
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

/// In which order a list has its entries, by their ids, which grow with time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ages {
    /// The oldest comes first.
    OldestFirst,
    /// The newest comes first.
    NewestFirst,
}

/// Which part of a list to read, or of the lists that belong to several objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Part {
    /// Only those after this one.
    pub after: Option<Uuid>,
    /// Only those before this one.
    pub before: Option<Uuid>,
    /// The last ones instead of the first; they come in the list's reverse order.
    pub backward: bool,
    /// At most so many of each list.
    pub limit: u64,
}

impl Part {
    /// What follows the conditions of a statement of one list, whose ids are `key`: the bounds of this part,
    /// its order and its size.
    pub(super) fn rest(&self, key: &str, ages: Ages, arguments: &mut Arguments) -> String {
        let is_ascending = ages == Ages::OldestFirst;
        let (after, before) = if is_ascending { (">", "<") } else { ("<", ">") };
        let mut rest = String::new();
        for (bound, side) in [(self.after, after), (self.before, before)] {
            if let Some(bound) = bound {
                rest.push_str(&format!(" AND {key} {side} {}", arguments.add(bound)));
            }
        }
        let way = if is_ascending == self.backward {
            "DESC"
        } else {
            "ASC"
        };
        rest.push_str(&format!(" ORDER BY {key} {way} LIMIT {}", self.limit));
        rest
    }

    /// This part of the list of each owner, of the sequences that a scope admits, in one statement;
    /// `owner` is the column that names it.
    pub(super) fn statement(
        &self,
        backend: DbBackend,
        (table, owner): (&str, &str),
        workspace: WorkspaceId,
        scope: &SequenceScope,
        ids: impl IntoIterator<Item = Uuid>,
    ) -> (String, Arguments) {
        let mut arguments = Arguments::new().with(workspace.uuid());
        let list = arguments.list(ids);
        let workspace = dialect::unindexed(backend, "t.workspace_id");
        let mut conditions = format!("{workspace} = $1 AND t.{owner} IN ({list})");
        if let Some(sequences) = scope.sequences() {
            let list = arguments.list(sequences.iter().map(|id| id.uuid()));
            let sequence = dialect::unindexed(backend, "t.sequence_id");
            conditions.push_str(&format!(" AND {sequence} IN ({list})"));
        }
        for (key, side) in [(self.after, "<"), (self.before, ">")] {
            if let Some(key) = key {
                conditions.push_str(&format!(" AND t.id {side} {}", arguments.add(key)));
            }
        }
        let way = if self.backward { "ASC" } else { "DESC" };
        let statement = format!(
            "SELECT * FROM (
                 SELECT t.*, row_number() OVER (PARTITION BY t.{owner} ORDER BY t.id {way}) AS place
                 FROM {table} AS t WHERE {conditions}
             ) AS numbered WHERE place <= {} ORDER BY id {way}",
            self.limit
        );
        (statement, arguments)
    }
}

/// What the variants of a person's lead of a sequence hang on: of its last run there.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn bucket_of(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    person: PersonId,
) -> Result<Option<i32>> {
    let last = lead::Entity::find()
        .filter(lead::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(lead::Column::PersonId.eq(person.uuid()))
        .filter(lead::Column::SequenceId.eq(sequence.uuid()))
        .order_by_desc(lead::Column::Round)
        .one(connection)
        .await?;
    Ok(last.map(|lead| lead.bucket))
}

/// The same part of the leads of each of these people that a scope admits, newest first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn of_people(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    scope: &SequenceScope,
    people: &[PersonId],
    part: Part,
) -> Result<Vec<Row>> {
    let people = people.iter().map(|id| id.uuid());
    let backend = connection.get_database_backend();
    let owners = ("lead", "person_id");
    let (statement, arguments) = part.statement(backend, owners, workspace, scope, people);
    sql::all(connection, &statement, arguments).await
}

/// How many leads of each of the sequences have each status, in parts to be added up.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lead_counts(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequences: &[SequenceId],
) -> Result<Vec<(SequenceId, LeadStatus, i64)>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.list(sequences.iter().map(|id| id.uuid()));
    // Bound to the workspace through the sequence, so that the count reads the index alone. Those of
    // the active that are in a step are few, and found by what is being sent and what is unconfirmed:
    // in no other way, for else all executions or all active leads of a sequence would be read.
    let backend = connection.get_database_backend();
    let of_execution = dialect::unindexed(backend, "e.sequence_id");
    let status = dialect::unindexed(backend, "l.status");
    let in_step = hold::IN_STEP;
    let statement = format!(
        "WITH counted AS (SELECT q.id FROM sequence AS q
                          WHERE q.workspace_id = $1 AND q.id IN ({list}))
         SELECT l.sequence_id, l.status, count(*) AS n FROM lead AS l
         WHERE l.sequence_id IN (SELECT id FROM counted) GROUP BY l.sequence_id, l.status
         UNION ALL
         SELECT l.sequence_id, 'IN_PROGRESS' AS status, count(*) AS n
         FROM execution AS e CROSS JOIN lead AS l
         WHERE e.worker_id IS NOT NULL AND {of_execution} IN (SELECT id FROM counted)
           AND l.id = e.lead_id AND {status} = 'ACTIVE' AND l.worker_id IS NOT NULL
         GROUP BY l.sequence_id
         UNION ALL
         SELECT l.sequence_id, 'IN_PROGRESS' AS status, count(*) AS n FROM lead AS l
         WHERE l.hold IN {in_step}
           AND l.sequence_id IN (SELECT id FROM counted)
           AND {status} = 'ACTIVE' AND l.worker_id IS NULL
         GROUP BY l.sequence_id"
    );
    let rows: Vec<Counted> = sql::all(connection, &statement, arguments).await?;
    let mut counts = Vec::with_capacity(rows.len());
    for row in rows {
        let sequence = SequenceId::from_uuid(row.sequence_id);
        match row.status.as_str() {
            "ACTIVE" => counts.push((sequence, LeadStatus::Pending, row.n)),
            "IN_PROGRESS" => {
                counts.push((sequence, LeadStatus::InProgress, row.n));
                counts.push((sequence, LeadStatus::Pending, -row.n));
            }
            other => counts.push((sequence, parse("lead status", other)?, row.n)),
        }
    }
    Ok(counts)
}

#[derive(FromQueryResult)]
struct Counted {
    sequence_id: Uuid,
    status: String,
    n: i64,
}
