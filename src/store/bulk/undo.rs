//! What undoing an operation takes to know: the operation itself, other attempts to undo it, and what
//! has happened to its leads.

use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::Row;
use crate::domain::event::EventKind;
use crate::domain::id::{BulkId, LeadId, PersonId, SequenceId, WorkspaceId};
use crate::store::sql::{self, Arguments};
use crate::store::{Result, dialect};

/// The operation with this id, if it is the workspace's; it cannot change before the transaction ends, and
/// nobody else begins to undo it.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM bulk_operation WHERE id = $1 AND workspace_id = $2 {}",
        dialect::for_update(tx, "bulk_operation")
    );
    let arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid());
    sql::one(tx, &statement, arguments).await
}

/// The operation that undoes this one or has undone it, if there is one that was not ended before.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn of(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
) -> Result<Option<BulkId>> {
    let statement = "SELECT id FROM bulk_operation
         WHERE undoes = $1 AND workspace_id = $2 AND status IN ('QUEUED', 'RUNNING', 'COMPLETED')";
    let arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid());
    let found = sql::ids(connection, statement, arguments).await?;
    Ok(found.first().copied().map(BulkId::from_uuid))
}

/// A lead, and whose it is.
#[derive(Debug, Clone, Copy, FromQueryResult)]
pub struct LeadOf {
    /// The lead.
    pub id: Uuid,
    /// Its person.
    pub person_id: Uuid,
}

/// All the leads that these people are or were in a sequence.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn leads_of(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequence: SequenceId,
    people: &[PersonId],
) -> Result<Vec<LeadOf>> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(sequence.uuid());
    let list = arguments.among(connection, people.iter().map(|id| id.uuid()));
    let backend = connection.get_database_backend();
    let statement = format!(
        "SELECT l.id, l.person_id FROM lead AS l
         WHERE {} = $1 AND {} = $2 AND l.person_id {list}",
        dialect::unindexed(backend, "l.workspace_id"),
        dialect::unindexed(backend, "l.sequence_id"),
    );
    sql::all(connection, &statement, arguments).await
}

/// Something that happened to a lead.
#[derive(Debug, Clone, PartialEq, FromQueryResult)]
pub struct Entry {
    /// The lead.
    pub lead_id: Uuid,
    /// What happened.
    pub kind: String,
    /// Milliseconds since the Unix epoch.
    pub at: i64,
    /// The step concerned.
    pub step_key: Option<String>,
    /// What else the log says.
    pub detail: Option<serde_json::Value>,
}

/// What happened to these leads, of these kinds, in the order of the log.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn tales(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[LeadId],
    kinds: &[EventKind],
) -> Result<Vec<Entry>> {
    let mut arguments = Arguments::new().with(workspace.uuid());
    let kinds = arguments.list(kinds.iter().map(<&str>::from));
    let list = arguments.among(connection, leads.iter().map(|id| id.uuid()));
    let workspace = dialect::unindexed(connection.get_database_backend(), "e.workspace_id");
    let statement = format!(
        "SELECT e.lead_id, e.kind, e.at, e.step_key, e.detail FROM event AS e
         WHERE {workspace} = $1 AND e.lead_id {list} AND e.kind IN ({kinds}) ORDER BY e.seq"
    );
    sql::all(connection, &statement, arguments).await
}
