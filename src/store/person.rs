//! People: their rows, pages over a filter, and what follows when they change.

pub mod consent;
pub mod erasure;
pub(in crate::store) mod filter;
pub mod merge;

use std::collections::{BTreeSet, HashSet};

use chrono::{DateTime, Utc};
use entity::person;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, DbErr, EntityTrait, IntoActiveModel,
    QueryFilter, Value,
};
use uuid::Uuid;

use super::claim::lock_leads_where;
use super::lead::{Ages, Part, hold};
use super::sql::{self, Arguments};
use super::{Result, dialect, lane};
use crate::domain::flow::Attributes;
use crate::domain::id::{PersonId, WorkspaceId};
use crate::domain::person_filter::{PersonFilter, same_company, searchable};

pub use self::filter::condition;

/// A person's row.
pub type Row = person::Model;

/// How many keys or ids go into one statement.
const KEYS_PER_STATEMENT: usize = 500;
/// How many whole rows go into one statement. SQLite looks every parameter's name up among all the
/// others, so that the cost of a statement grows with the square of their number.
const ROWS_PER_STATEMENT: usize = 100;

/// Enters a person.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if the workspace has somebody with the email address already;
/// otherwise as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    person::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// The person with this id, if it is the workspace's.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: PersonId,
) -> Result<Option<Row>> {
    Ok(find_many(connection, workspace, &[id]).await?.pop())
}

/// Those of the people that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[PersonId],
) -> Result<Vec<Row>> {
    Ok(person::Entity::find()
        .filter(person::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(person::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// The person, if it is the workspace's and not erased; it cannot change before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: PersonId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM person WHERE workspace_id = $1 AND id = $2 AND erased_at IS NULL {}",
        dialect::for_update(tx, "person")
    );
    sql::one(
        tx,
        &statement,
        Arguments::new().with(workspace.uuid()).with(id.uuid()),
    )
    .await
}

/// The people with these email keys or ids who are not erased; they cannot change before this transaction
/// ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_known(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    email_keys: &[String],
    ids: &[PersonId],
) -> Result<Vec<Row>> {
    let named: BTreeSet<Uuid> = ids.iter().map(|id| id.uuid()).collect();
    let mut all = named.clone();
    for chunk in email_keys.chunks(KEYS_PER_STATEMENT) {
        all.extend(ids_by_email(tx, workspace, chunk).await?);
    }
    if all.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = Arguments::new().with(workspace.uuid());
    let list = arguments.among(tx, all);
    let ours = sql::of_found("id", "workspace_id = $1");
    // In one order, so that two imports of the same people wait for each other once.
    let statement = format!(
        "SELECT * FROM person WHERE id {list} AND {ours} AND erased_at IS NULL
         ORDER BY id {}",
        dialect::for_update(tx, "person")
    );
    let mut rows: Vec<Row> = sql::all(tx, &statement, arguments).await?;
    // One whose address changed in between is somebody else now.
    let email_keys: HashSet<&str> = email_keys.iter().map(String::as_str).collect();
    rows.retain(|row| {
        let key = row.email_key.as_deref();
        named.contains(&row.id) || key.is_some_and(|key| email_keys.contains(key))
    });
    Ok(rows)
}

/// One index probe for each key, whatever the planner knows of the table: with the keys in a bound
/// list, PostgreSQL compared every person of a new workspace with every key, and 500 keys took half
/// a second.
async fn ids_by_email(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    email_keys: &[String],
) -> Result<Vec<Uuid>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let keys = arguments.table(tx, email_keys.iter().map(|key| [Value::from(key.as_str())]));
    let statement = format!(
        "WITH v (email_key) AS ({keys}),
              found (id) AS MATERIALIZED (
                  SELECT (SELECT p.id FROM person AS p
                          WHERE p.workspace_id = $1 AND p.email_key = v.email_key)
                  FROM v)
         SELECT found.id FROM found WHERE found.id IS NOT NULL"
    );
    sql::ids(tx, &statement, arguments).await
}

/// Writes a person back; its row must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if the workspace has somebody else with the email address;
/// otherwise as the database has it.
pub async fn update(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    row.into_active_model().reset_all().update(tx).await?;
    Ok(())
}

fn values(row: &Row) -> [Value; 16] {
    [
        row.id.into(),
        row.workspace_id.into(),
        row.email.clone().into(),
        row.email_key.clone().into(),
        row.phone.clone().into(),
        row.linkedin_url.clone().into(),
        row.first_name.clone().into(),
        row.last_name.clone().into(),
        row.company.clone().into(),
        row.company_key.clone().into(),
        row.title.clone().into(),
        row.time_zone.clone().into(),
        row.country.clone().into(),
        Value::Json(Some(Box::new(row.attributes.clone()))),
        row.search_text.as_str().into(),
        row.updated_at.into(),
    ]
}

/// Enters many people, who were all created when they were last updated.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if the workspace has somebody with one of the email addresses
/// already; otherwise as the database has it.
pub async fn insert_many(tx: &impl ConnectionTrait, rows: &[Row]) -> Result<()> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut arguments = Arguments::new();
        let values = arguments.table(tx, chunk.iter().map(values));
        let statement = format!(
            "WITH v (id, workspace_id, email, email_key, phone, linkedin_url, first_name,
                     last_name, company, company_key, title, time_zone, country, attributes,
                     search_text, updated_at)
                 AS ({values})
             INSERT INTO person (id, workspace_id, email, email_key, phone, linkedin_url,
                 first_name, last_name, company, company_key, title, time_zone, country,
                 attributes, search_text, updated_at, created_at)
             SELECT v.*, v.updated_at FROM v"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// Writes many people back; their rows must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError::Duplicate`] if the workspace has somebody else with one of the email addresses, also
/// one of these people whose address is changed; otherwise as the database has it.
pub async fn update_many(tx: &impl ConnectionTrait, rows: &[Row]) -> Result<()> {
    for chunk in rows.chunks(ROWS_PER_STATEMENT) {
        let mut arguments = Arguments::new();
        let values = arguments.table(tx, chunk.iter().map(values));
        let statement = format!(
            "WITH v (id, workspace_id, email, email_key, phone, linkedin_url, first_name,
                     last_name, company, company_key, title, time_zone, country, attributes,
                     search_text, updated_at)
                 AS ({values})
             UPDATE person SET email = v.email, email_key = v.email_key, phone = v.phone,
                 linkedin_url = v.linkedin_url, first_name = v.first_name,
                 last_name = v.last_name, company = v.company, company_key = v.company_key,
                 title = v.title, time_zone = v.time_zone, country = v.country, attributes = v.attributes,
                 search_text = v.search_text, updated_at = v.updated_at
             FROM v WHERE person.id = v.id AND person.workspace_id = v.workspace_id"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// A page of the people that a filter chooses, in the order in which they were created.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &PersonFilter,
    page: Part,
) -> Result<Vec<Row>> {
    let (mut arguments, conditions) = chosen(connection, workspace, filter);
    let rest = page.rest("p.id", Ages::OldestFirst, &mut arguments);
    let statement = format!("SELECT p.* FROM person AS p WHERE {conditions}{rest}");
    sql::all(connection, &statement, arguments).await
}

/// How many people a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &PersonFilter,
) -> Result<i64> {
    let (arguments, conditions) = chosen(connection, workspace, filter);
    let statement = format!("SELECT count(*) AS n FROM person AS p WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

fn chosen(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &PersonFilter,
) -> (Arguments, String) {
    let mut arguments = Arguments::new();
    let mut text = format!("p.workspace_id = {}", arguments.add(workspace.uuid()));
    let backend = connection.get_database_backend();
    let chosen = condition(backend, workspace, filter, "p", &mut arguments);
    text.push_str(" AND ");
    text.push_str(&chosen);
    (arguments, text)
}

/// How many people, the last entered, tell which attributes there are.
const ATTRIBUTE_PEOPLE: usize = 1_000;
/// The most names of attributes that are told.
const ATTRIBUTE_NAMES_MAX: usize = 1_000;

/// The attributes of the people who were entered last: of 1,000, if there are as many. None where there
/// are no people, and where there are more than 1,000 names, which then are no names but data.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn known_attributes(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
) -> Result<Option<Attributes>> {
    let last = |columns: &str, count: usize| {
        format!(
            "(SELECT {columns} FROM person WHERE workspace_id = $1 ORDER BY id DESC LIMIT {count})"
        )
    };
    let keys = dialect::json_keys(connection.get_database_backend(), "p.attributes");
    let statement = format!(
        "SELECT counted.people AS people, known.name AS name
         FROM (SELECT COUNT(*) AS people FROM {} AS p) AS counted
         LEFT JOIN (SELECT DISTINCT entry.key AS name FROM {} AS p, {keys} LIMIT {}) AS known
             ON 1 = 1",
        last("id", ATTRIBUTE_PEOPLE + 1),
        last("attributes", ATTRIBUTE_PEOPLE),
        ATTRIBUTE_NAMES_MAX + 1
    );
    let arguments = Arguments::new().with(workspace.uuid());
    let rows = sql::rows(connection, &statement, arguments).await?;
    let people: i64 = match rows.first() {
        Some(row) => row.try_get("", "people")?,
        None => 0,
    };
    let people = usize::try_from(people).unwrap_or_default();
    if people == 0 || rows.len() > ATTRIBUTE_NAMES_MAX {
        return Ok(None);
    }
    // The one row of people without any attribute has no name.
    let names = rows
        .iter()
        .map(|row| row.try_get::<Option<String>>("", "name"));
    let names: Vec<Option<String>> = names.collect::<std::result::Result<_, DbErr>>()?;
    Ok(Some(Attributes {
        names: names.into_iter().flatten().collect(),
        people: people.min(ATTRIBUTE_PEOPLE),
        is_sample: people > ATTRIBUTE_PEOPLE,
    }))
}

/// Lets the leads of these people that wait for missing merge data go on: they are due now, and
/// those that are paused will be due at once when they are resumed. Answers how many there were.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn release_leads(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[Uuid],
    now: DateTime<Utc>,
) -> Result<u64> {
    let mut released = 0;
    for chunk in people.chunks(KEYS_PER_STATEMENT) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(now.timestamp_millis());
        let ids = arguments.among(tx, chunk.iter().copied());
        let which = format!(
            "workspace_id = $1 AND person_id {ids} AND {}",
            waits_for_person()
        );
        lane::keep_sequences_of(tx, &which, arguments.clone()).await?;
        lock_leads_where(tx, &which, arguments.clone()).await?;
        let statement = format!("UPDATE lead SET {RELEASE} WHERE {which}");
        released += sql::execute(tx, &statement, arguments).await?;
    }
    Ok(released)
}

/// Writes anew what a person is found by, once their fields have changed: the text that a search looks
/// through, and the company as the same one is known whichever way it is written.
pub fn refresh_keys(row: &mut Row) {
    let parts = [&row.first_name, &row.last_name, &row.email, &row.company];
    let parts: Vec<&str> = parts.into_iter().flatten().map(String::as_str).collect();
    row.search_text = searchable(&parts.join(" "));
    row.company_key = row.company.as_deref().map(same_company);
}

/// Locks the leads of these people that wait for something that a person may be given, for a claim,
/// which waits for nobody. Answers the people who have one that somebody else holds just now: were they
/// changed, that lead would not hear of it, and nothing would look at it again. One that is being claimed
/// is seen to have a person who changes, and is looked at again.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn held_by_others(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[Uuid],
) -> Result<HashSet<Uuid>> {
    let mut held = HashSet::new();
    if !dialect::is_shared(tx) {
        return Ok(held);
    }
    for chunk in people.chunks(KEYS_PER_STATEMENT) {
        let mut arguments = Arguments::new().with(workspace.uuid());
        let ids = arguments.among(tx, chunk.iter().copied());
        let waiting = waits_for_person();
        let which = format!("l.workspace_id = $1 AND l.person_id {ids} AND {waiting}");
        let statement = format!(
            "WITH waiting AS MATERIALIZED (SELECT l.id, l.person_id FROM lead AS l WHERE {which}),
                  free AS MATERIALIZED (
                      SELECT l.id FROM lead AS l WHERE {which} ORDER BY l.id {}
                  )
             SELECT DISTINCT w.person_id AS id FROM waiting AS w
             WHERE w.id NOT IN (SELECT free.id FROM free)",
            dialect::for_update_skip_locked(tx, "l")
        );
        held.extend(sql::ids(tx, &statement, arguments).await?);
    }
    Ok(held)
}

/// Like [`release_leads`], for a claim, which waits for nobody: the leads are those that
/// [`held_by_others`] has locked.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn release_free_leads(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[Uuid],
    now: DateTime<Utc>,
) -> Result<()> {
    for chunk in people.chunks(KEYS_PER_STATEMENT) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(now.timestamp_millis());
        let ids = arguments.among(tx, chunk.iter().copied());
        let waiting = waits_for_person();
        let statement = format!(
            "WITH free AS MATERIALIZED (
                 SELECT l.id FROM lead AS l
                 WHERE l.workspace_id = $1 AND l.person_id {ids} AND {waiting}
                 ORDER BY l.id {}
             )
             UPDATE lead SET {RELEASE} WHERE id IN (SELECT free.id FROM free)",
            dialect::for_update_skip_locked(tx, "l")
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// The leads that wait for something that the person may be given.
fn waits_for_person() -> String {
    format!(
        "worker_id IS NULL AND status IN ('ACTIVE', 'PAUSED') AND hold IN {}",
        hold::FOR_PERSON
    )
}

/// What lets them go on; `$2` is now.
const RELEASE: &str = "hold = CASE WHEN hold = 'AWAITING_CONDITION' THEN hold END,
    due_at = CASE WHEN status = 'ACTIVE' THEN $2 ELSE due_at END,
    paused_rest_ms = CASE WHEN status = 'PAUSED' AND hold <> 'AWAITING_CONDITION'
                          THEN 0 ELSE paused_rest_ms END";

/// Those of the people whom nobody is changing just now, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_free(tx: &impl ConnectionTrait, ids: &[Uuid]) -> Result<Vec<Row>> {
    if ids.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, ids.iter().copied());
    let statement = format!(
        "SELECT * FROM person AS p WHERE p.id {list} ORDER BY p.id {}",
        dialect::for_update_skip_locked(tx, "p")
    );
    sql::all(tx, &statement, arguments).await
}
