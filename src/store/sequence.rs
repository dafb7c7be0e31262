//! Sequences: rows read into the domain, pages, and what edits write. What publishing does to lanes
//! and leads is in [`publish`], and what was published in [`version`].

pub mod publish;
pub mod version;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::sequence;
use sea_orm::{ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, Value};

use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect};
use crate::clock::from_ms;
use crate::domain::flow::Flow;
use crate::domain::id::{SequenceId, VersionId, WorkspaceId};
use crate::domain::person_filter::searchable;
use crate::domain::sequence::SequenceStatus;
use crate::domain::settings::Settings;

/// A sequence with its working copy.
#[derive(Debug, Clone, PartialEq)]
pub struct Sequence {
    /// Its id.
    pub id: SequenceId,
    /// What people call it.
    pub name: String,
    /// What it may do.
    pub status: SequenceStatus,
    /// Grows by one with every edit of the flow or the settings.
    pub revision: i32,
    /// The flow as it is edited; what runs is that of the published version.
    pub flow: Arc<Flow>,
    /// The settings as they are edited.
    pub settings: Settings,
    /// The version that runs, or ran last; `None` where it was never published.
    pub published_version: Option<VersionId>,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When its row last changed.
    pub updated_at: DateTime<Utc>,
    /// When it was last published.
    pub published_at: Option<DateTime<Utc>>,
}

impl TryFrom<sequence::Model> for Sequence {
    type Error = StoreError;

    fn try_from(row: sequence::Model) -> Result<Self> {
        Ok(Self {
            id: SequenceId::from_uuid(row.id),
            name: row.name,
            status: row
                .status
                .parse()
                .map_err(|_| StoreError::corrupt("sequence's status", &row.status))?,
            revision: row.revision,
            flow: Arc::new(read_flow(row.flow)?),
            settings: read_settings(row.settings)?,
            published_version: row.published_version_id.map(VersionId::from_uuid),
            created_at: from_ms(row.created_at),
            updated_at: from_ms(row.updated_at),
            published_at: row.published_at.map(from_ms),
        })
    }
}

fn read_flow(json: serde_json::Value) -> Result<Flow> {
    serde_json::from_value(json).map_err(|error| StoreError::corrupt("flow", error))
}

fn read_settings(json: serde_json::Value) -> Result<Settings> {
    serde_json::from_value(json).map_err(|error| StoreError::corrupt("sequence's settings", error))
}

fn written<T: serde::Serialize>(what: &'static str, value: &T) -> Result<serde_json::Value> {
    serde_json::to_value(value).map_err(|error| StoreError::corrupt(what, error))
}

/// Enters a sequence.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn insert(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: &Sequence,
) -> Result<()> {
    let row = sequence::Model {
        id: sequence.id.uuid(),
        workspace_id: workspace.uuid(),
        name: sequence.name.clone(),
        search_text: searchable(&sequence.name),
        status: sequence.status.to_string(),
        revision: sequence.revision,
        flow: written("flow", &sequence.flow)?,
        settings: written("sequence's settings", &sequence.settings)?,
        published_version_id: sequence.published_version.map(VersionId::uuid),
        created_at: sequence.created_at.timestamp_millis(),
        updated_at: sequence.updated_at.timestamp_millis(),
        published_at: sequence.published_at.map(|at| at.timestamp_millis()),
    };
    sequence::Entity::insert(row.into_active_model())
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Writes a sequence back; its row must be locked by this transaction.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn save(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: &Sequence,
) -> Result<()> {
    let json = |value| Value::Json(Some(Box::new(value)));
    let arguments = Arguments::new()
        .with(sequence.id.uuid())
        .with(workspace.uuid())
        .with(sequence.name.as_str())
        .with(searchable(&sequence.name))
        .with(<&str>::from(sequence.status))
        .with(sequence.revision)
        .with(json(written("flow", &sequence.flow)?))
        .with(json(written("sequence's settings", &sequence.settings)?))
        .with(sequence.published_version.map(VersionId::uuid))
        .with(sequence.updated_at.timestamp_millis())
        .with(sequence.published_at.map(|at| at.timestamp_millis()));
    sql::execute(
        tx,
        "UPDATE sequence SET name = $3, search_text = $4, status = $5, revision = $6, flow = $7,
             settings = $8, published_version_id = $9, updated_at = $10, published_at = $11
         WHERE id = $1 AND workspace_id = $2",
        arguments,
    )
    .await?;
    Ok(())
}

/// The sequence with this id, if it is the workspace's.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: SequenceId,
) -> Result<Option<Sequence>> {
    Ok(find_many(connection, workspace, &[id]).await?.pop())
}

/// Whether the workspace has a sequence with this id.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn is_there(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: SequenceId,
) -> Result<bool> {
    let statement = "SELECT count(*) AS n FROM sequence WHERE workspace_id = $1 AND id = $2";
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    Ok(sql::number(connection, statement, arguments).await? > 0)
}

/// Those of the sequences that are the workspace's, in no order.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[SequenceId],
) -> Result<Vec<Sequence>> {
    sequence::Entity::find()
        .filter(sequence::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(sequence::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?
        .into_iter()
        .map(Sequence::try_from)
        .collect()
}

/// The sequence with this id, if it is the workspace's; it cannot change before this transaction
/// ends.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: SequenceId,
) -> Result<Option<Sequence>> {
    let statement = format!(
        "SELECT * FROM sequence WHERE workspace_id = $1 AND id = $2 {}",
        dialect::for_update(tx, "sequence")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    let row: Option<sequence::Model> = sql::one(tx, &statement, arguments).await?;
    row.map(Sequence::try_from).transpose()
}

/// Which sequences a list holds.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// One of these; `None`, any.
    pub ids: Option<Vec<SequenceId>>,
    /// Of one of these statuses; `None`, of any.
    pub status: Option<Vec<SequenceStatus>>,
    /// Every word of this is part of the name, upper and lower case being the same.
    pub search: Option<String>,
}

impl Filter {
    fn condition(&self, workspace: WorkspaceId, arguments: &mut Arguments) -> String {
        let mut text = format!("workspace_id = {}", arguments.add(workspace.uuid()));
        if let Some(ids) = &self.ids {
            let list = arguments.list(ids.iter().map(|id| id.uuid()));
            text.push_str(&format!(" AND id IN ({list})"));
        }
        if let Some(statuses) = &self.status {
            let list = arguments.list(statuses.iter().map(|status| <&str>::from(*status)));
            text.push_str(&format!(" AND status IN ({list})"));
        }
        for word in searchable(self.search.as_deref().unwrap_or_default()).split_whitespace() {
            let pattern = arguments.add(format!("%{}%", escaped(word)));
            text.push_str(&format!(" AND search_text LIKE {pattern} ESCAPE '\\'"));
        }
        text
    }
}

/// A text in which the letters that LIKE reads as patterns stand for themselves.
fn escaped(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        if matches!(letter, '%' | '_' | '\\') {
            plain.push('\\');
        }
        plain.push(letter);
    }
    plain
}

/// Which part of a list to read; keys grow from the oldest to the newest, and lists begin with the
/// newest.
#[derive(Debug, Clone, Copy)]
pub struct Page<K> {
    /// Only those after (older than) this one.
    pub after: Option<K>,
    /// Only those before (newer than) this one.
    pub before: Option<K>,
    /// The last ones instead of the first; they come oldest first.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

/// A page of the sequences that a filter chooses, newest first.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
    page: Page<SequenceId>,
) -> Result<Vec<Sequence>> {
    let mut arguments = Arguments::new();
    let mut conditions = filter.condition(workspace, &mut arguments);
    if let Some(after) = page.after {
        conditions.push_str(&format!(" AND id < {}", arguments.add(after.uuid())));
    }
    if let Some(before) = page.before {
        conditions.push_str(&format!(" AND id > {}", arguments.add(before.uuid())));
    }
    let order = if page.backward { "ASC" } else { "DESC" };
    let statement = format!(
        "SELECT * FROM sequence WHERE {conditions} ORDER BY id {order} LIMIT {}",
        page.limit
    );
    let rows: Vec<sequence::Model> = sql::all(connection, &statement, arguments).await?;
    rows.into_iter().map(Sequence::try_from).collect()
}

/// Every sequence of the workspace.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn all_ids(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
) -> Result<Vec<SequenceId>> {
    let all = "SELECT id FROM sequence WHERE workspace_id = $1 ORDER BY id";
    let ids = sql::ids(connection, all, Arguments::new().with(workspace.uuid())).await?;
    Ok(ids.into_iter().map(SequenceId::from_uuid).collect())
}

/// How many sequences a filter chooses.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
) -> Result<i64> {
    let mut arguments = Arguments::new();
    let conditions = filter.condition(workspace, &mut arguments);
    let statement = format!("SELECT count(*) AS n FROM sequence WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}
