//! The published versions of sequences. A version never changes.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use entity::sequence_version;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter, QueryOrder,
    QuerySelect,
};

use super::{Page, read_flow, read_settings, written};
use crate::clock::from_ms;
use crate::domain::flow::{Flow, RemovedSteps};
use crate::domain::id::{SequenceId, VersionId, WorkspaceId};
use crate::domain::settings::Settings;
use crate::store::sql::{self, Arguments};
use crate::store::{Result, StoreError};

/// What a sequence was when it was published.
#[derive(Debug, Clone, PartialEq)]
pub struct Version {
    /// Its id.
    pub id: VersionId,
    /// Its sequence.
    pub sequence: SequenceId,
    /// 1 for the sequence's first version, and so on.
    pub number: i32,
    /// The flow that runs.
    pub flow: Arc<Flow>,
    /// The settings that hold.
    pub settings: Settings,
    /// When it was published first.
    pub published_at: DateTime<Utc>,
    /// Who published it.
    pub published_by: String,
    /// Where leads go that come back to a step which is gone.
    pub removed: RemovedSteps,
}

impl TryFrom<sequence_version::Model> for Version {
    type Error = StoreError;

    fn try_from(row: sequence_version::Model) -> Result<Self> {
        Ok(Self {
            id: VersionId::from_uuid(row.id),
            sequence: SequenceId::from_uuid(row.sequence_id),
            number: row.number,
            flow: Arc::new(read_flow(row.flow)?),
            settings: read_settings(row.settings)?,
            published_at: from_ms(row.published_at),
            published_by: row.published_by,
            removed: read_removed(row.removed)?,
        })
    }
}

/// Where leads go that come back to a step which is gone, as a version's row has it.
///
/// # Errors
/// [`StoreError::Corrupt`] where it cannot be read.
pub fn read_removed(stored: Option<serde_json::Value>) -> Result<RemovedSteps> {
    let read = stored.map(serde_json::from_value).transpose();
    let read = read.map_err(|error| StoreError::corrupt("removed steps", error))?;
    Ok(read.unwrap_or_default())
}

/// Enters a version.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    version: &Version,
) -> Result<()> {
    let row = sequence_version::Model {
        id: version.id.uuid(),
        workspace_id: workspace.uuid(),
        sequence_id: version.sequence.uuid(),
        number: version.number,
        flow: written("flow", &version.flow)?,
        settings: written("sequence's settings", &version.settings)?,
        published_at: version.published_at.timestamp_millis(),
        published_by: version.published_by.clone(),
        removed: match version.removed.is_empty() {
            true => None,
            false => Some(written("removed steps", &version.removed)?),
        },
    };
    sequence_version::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// The version that a sequence says it runs.
///
/// # Errors
/// [`StoreError`] as the database has it; [`StoreError::Corrupt`] where it is not there.
pub async fn of_sequence(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: VersionId,
) -> Result<Version> {
    let found = find_many(connection, workspace, &[id]).await?.pop();
    found.ok_or_else(|| StoreError::corrupt("sequence", "its version is not there"))
}

/// Those of the versions that are the workspace's, in no order.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[VersionId],
) -> Result<Vec<Version>> {
    sequence_version::Entity::find()
        .filter(sequence_version::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(sequence_version::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?
        .into_iter()
        .map(Version::try_from)
        .collect()
}

/// Those of the versions, by sequence and number, that are the workspace's, in no order.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find_numbers(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    wanted: &[(SequenceId, i32)],
) -> Result<Vec<Version>> {
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let mut arguments = Arguments::new().with(workspace.uuid());
    let rows = wanted.iter();
    let rows = rows.map(|(sequence, number)| [sequence.uuid().into(), (*number).into()]);
    let rows = arguments.table(connection, rows);
    let statement = format!(
        "WITH wanted (sequence_id, number) AS ({rows})
         SELECT v.* FROM wanted
         JOIN sequence_version v ON v.sequence_id = wanted.sequence_id AND v.number = wanted.number
         WHERE v.workspace_id = $1"
    );
    let rows: Vec<sequence_version::Model> = sql::all(connection, &statement, arguments).await?;
    rows.into_iter().map(Version::try_from).collect()
}

/// A page of a sequence's versions, newest first; the key is the version's number.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    page: Page<i32>,
) -> Result<Vec<Version>> {
    use sequence_version::Column;
    let mut query = sequence_version::Entity::find()
        .filter(Column::WorkspaceId.eq(workspace.uuid()))
        .filter(Column::SequenceId.eq(sequence.uuid()))
        .limit(page.limit);
    if let Some(after) = page.after {
        query = query.filter(Column::Number.lt(after));
    }
    if let Some(before) = page.before {
        query = query.filter(Column::Number.gt(before));
    }
    let query = if page.backward {
        query.order_by_asc(Column::Number)
    } else {
        query.order_by_desc(Column::Number)
    };
    query
        .all(connection)
        .await?
        .into_iter()
        .map(Version::try_from)
        .collect()
}

/// How many versions a sequence has.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
) -> Result<i64> {
    sql::number(
        connection,
        "SELECT count(*) AS n FROM sequence_version WHERE workspace_id = $1 AND sequence_id = $2",
        Arguments::new()
            .with(workspace.uuid())
            .with(sequence.uuid()),
    )
    .await
}

/// The number of a sequence's newest version; 0 if it has none.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn last_number(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
) -> Result<i32> {
    let number = sql::number(
        connection,
        "SELECT CAST(max(number) AS BIGINT) AS n FROM sequence_version
         WHERE workspace_id = $1 AND sequence_id = $2",
        Arguments::new()
            .with(workspace.uuid())
            .with(sequence.uuid()),
    )
    .await?;
    i32::try_from(number).map_err(|error| StoreError::corrupt("version's number", error))
}
