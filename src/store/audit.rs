//! The audit: one entry for each mutation that was begun, whoever sent it and however it ended.
//!
//! An entry is written with the first statement of each transaction of its mutation ([`begin`], by
//! [`super::Db::begin`]), and once more with its outcome when the mutation is over ([`finish`]).

use chrono::{DateTime, Utc};
use entity::audit_entry;
use sea_orm::ConnectionTrait;
use serde_json::Value as Json;
use uuid::Uuid;

use super::Result;
use super::lead::{Ages, Part};
use super::sql::{self, Arguments};
use crate::domain::audit::{OBJECTS_MAX, Outcome};
use crate::domain::id::{AuditId, TokenId, WorkspaceId};

/// An entry's row.
pub type Row = audit_entry::Model;

/// What is known of a mutation before it is carried out.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEntry {
    /// The entry; ids are in the order of time.
    pub id: AuditId,
    /// Whose it is.
    pub workspace: WorkspaceId,
    /// When it was begun; the time in the entry's id.
    pub at: DateTime<Utc>,
    /// The token that it came with; `None`, it came with none.
    pub token: Option<TokenId>,
    /// Who did it, where there is no token to ask for its name.
    pub name: String,
    /// What the token allowed.
    pub role: Option<String>,
    /// The mutation.
    pub mutation: String,
    /// What was asked for, without what must not be kept.
    pub input: Json,
    /// The ids of the objects that the input names.
    pub objects: Vec<String>,
    /// The request.
    pub request: Option<String>,
}

/// How a mutation ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ending {
    /// How.
    pub outcome: Outcome,
    /// Why it was refused or failed, for programs.
    pub codes: Vec<String>,
    /// The ids of objects that the answer names.
    pub objects: Vec<String>,
}

impl Ending {
    /// Of a mutation of which nobody knows how it ended.
    pub const UNFINISHED: Self = Self {
        outcome: Outcome::Unfinished,
        codes: Vec::new(),
        objects: Vec::new(),
    };

    /// Of one that was carried out and names nothing more.
    pub const DONE: Self = Self {
        outcome: Outcome::Done,
        codes: Vec::new(),
        objects: Vec::new(),
    };
}

/// Enters that a mutation was begun, if that is not there yet; it is then there if, and only if, the
/// transaction is committed.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn begin(tx: &impl ConnectionTrait, entry: &NewEntry) -> Result<()> {
    write(tx, entry, &Ending::UNFINISHED, "DO NOTHING").await
}

/// Enters how a mutation ended.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn finish(tx: &impl ConnectionTrait, entry: &NewEntry, ending: &Ending) -> Result<()> {
    let change = "DO UPDATE SET objects = excluded.objects, outcome = excluded.outcome,
         codes = excluded.codes";
    write(tx, entry, ending, change).await
}

async fn write(
    tx: &impl ConnectionTrait,
    entry: &NewEntry,
    ending: &Ending,
    where_there: &str,
) -> Result<()> {
    let mut objects = entry.objects.clone();
    for object in &ending.objects {
        if !objects.contains(object) {
            objects.push(object.clone());
        }
    }
    // What was made is found by its id, however many objects were named before.
    let named = OBJECTS_MAX.saturating_sub(ending.objects.len());
    if objects.len() > OBJECTS_MAX {
        objects.drain(named..objects.len() - (OBJECTS_MAX - named));
    }
    let arguments = Arguments::new()
        .with(entry.id.uuid())
        .with(entry.workspace.uuid())
        .with(entry.at.timestamp_millis())
        .with(entry.token.map(|id| id.uuid()))
        .with(entry.name.as_str())
        .with(entry.role.clone())
        .with(entry.mutation.as_str())
        .with(entry.input.clone())
        .with(Json::from(objects.clone()))
        .with(<&str>::from(ending.outcome))
        .with(Json::from(ending.codes.clone()))
        .with(entry.request.clone());
    let statement = format!(
        "INSERT INTO audit_entry (id, workspace_id, at, token_id, token_name, role, mutation, input,
             objects, outcome, codes, request_id)
         VALUES ($1, $2, $3, $4, COALESCE((SELECT name FROM api_token WHERE id = $4), $5), $6, $7, $8,
             $9, $10, $11, $12)
         ON CONFLICT (id) {where_there}"
    );
    sql::execute(tx, &statement, arguments).await?;
    if objects.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new()
        .with(entry.workspace.uuid())
        .with(entry.id.uuid());
    let rows: Vec<String> = objects
        .into_iter()
        .map(|object| format!("($1, {}, $2)", arguments.add(object)))
        .collect();
    let statement = format!(
        "INSERT INTO audit_object (workspace_id, object_id, entry_id) VALUES {}
         ON CONFLICT DO NOTHING",
        rows.join(", ")
    );
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// Which entries; every condition that is given must hold, and an empty list matches nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// With one of these tokens.
    pub tokens: Option<Vec<TokenId>>,
    /// One of these mutations.
    pub mutations: Option<Vec<String>>,
    /// Begun at this instant or later.
    pub from: Option<DateTime<Utc>>,
    /// Begun before this instant.
    pub to: Option<DateTime<Utc>>,
    /// That concern this object.
    pub object: Option<String>,
}

impl Filter {
    /// The tables and the conditions. What is compared with an id is the one by which the rows are
    /// found, so that a page is a range of one index.
    fn condition(&self, workspace: WorkspaceId, arguments: &mut Arguments) -> Chosen {
        let ours = arguments.add(workspace.uuid());
        let (tables, key, mut conditions) = match &self.object {
            Some(object) => (
                "audit_object AS o JOIN audit_entry AS a ON a.id = o.entry_id",
                "o.entry_id",
                format!(
                    "o.workspace_id = {ours} AND o.object_id = {}",
                    arguments.add(object.as_str())
                ),
            ),
            None => (
                "audit_entry AS a",
                "a.id",
                format!("a.workspace_id = {ours}"),
            ),
        };
        if let Some(tokens) = &self.tokens {
            let list = arguments.list(tokens.iter().map(|id| id.uuid()));
            conditions.push_str(&format!(" AND a.token_id IN ({list})"));
        }
        if let Some(mutations) = &self.mutations {
            let list = arguments.list(mutations.iter().map(String::as_str));
            conditions.push_str(&format!(" AND a.mutation IN ({list})"));
        }
        if let Some(from) = self.from {
            conditions.push_str(&format!(" AND {key} >= {}", arguments.add(first_of(from))));
        }
        if let Some(to) = self.to {
            conditions.push_str(&format!(" AND {key} < {}", arguments.add(first_of(to))));
        }
        Chosen {
            tables,
            key,
            conditions,
        }
    }
}

struct Chosen {
    tables: &'static str,
    key: &'static str,
    conditions: String,
}

/// The least id of an instant (RFC 9562, section 5.7: the first 48 bits are milliseconds).
fn first_of(at: DateTime<Utc>) -> Uuid {
    let ms = u128::try_from(at.timestamp_millis()).unwrap_or(0);
    Uuid::from_u128((ms & 0xffff_ffff_ffff) << 80)
}

/// A page of the entries that a filter chooses, newest first.
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
    let Chosen {
        tables,
        key,
        conditions,
    } = filter.condition(workspace, &mut arguments);
    let rest = page.rest(key, Ages::NewestFirst, &mut arguments);
    let statement = format!("SELECT a.* FROM {tables} WHERE {conditions}{rest}");
    sql::all(connection, &statement, arguments).await
}

/// How many entries a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
) -> Result<i64> {
    let mut arguments = Arguments::new();
    let Chosen {
        tables, conditions, ..
    } = filter.condition(workspace, &mut arguments);
    let statement = format!("SELECT count(*) AS n FROM {tables} WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}
