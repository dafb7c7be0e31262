//! Opportunities: their rows, and pages over a filter.

pub(in crate::store) mod filter;

use entity::opportunity;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, IntoActiveModel, QueryFilter,
};

use self::filter::condition;
use super::lead::{Ages, Part};
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{OpportunityId, PersonId, WorkspaceId};
use crate::domain::pipeline::OpportunityFilter;
use crate::domain::scope::SequenceScope;

/// An opportunity's row.
pub type Row = opportunity::Model;

/// Enters an opportunity.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn insert(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    opportunity::Entity::insert(row.into_active_model())
        .exec_without_returning(tx)
        .await?;
    Ok(())
}

/// Writes an opportunity back; its row must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn update(tx: &impl ConnectionTrait, row: Row) -> Result<()> {
    row.into_active_model().reset_all().update(tx).await?;
    Ok(())
}

/// The opportunity, if it is the workspace's; it cannot change before this transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: OpportunityId,
) -> Result<Option<Row>> {
    let statement = format!(
        "SELECT * FROM opportunity WHERE workspace_id = $1 AND id = $2 {}",
        dialect::for_update(tx, "opportunity")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    sql::one(tx, &statement, arguments).await
}

/// Those of the opportunities that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[OpportunityId],
) -> Result<Vec<Row>> {
    Ok(opportunity::Entity::find()
        .filter(opportunity::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(opportunity::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// Which opportunities a list holds.
#[derive(Debug, Clone, Default)]
pub struct Listed {
    /// Those that it chooses.
    pub filter: OpportunityFilter,
    /// Only this person's.
    pub person: Option<PersonId>,
}

/// A page of opportunities, in the order in which they were created.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    listed: &Listed,
    page: Part,
) -> Result<Vec<Row>> {
    let (mut arguments, conditions) = chosen(workspace, listed);
    let rest = page.rest("o.id", Ages::OldestFirst, &mut arguments);
    let statement = format!("SELECT o.* FROM opportunity AS o WHERE {conditions}{rest}");
    sql::all(connection, &statement, arguments).await
}

/// How many opportunities a list holds.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    listed: &Listed,
) -> Result<i64> {
    let (arguments, conditions) = chosen(workspace, listed);
    let statement = format!("SELECT count(*) AS n FROM opportunity AS o WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

/// The same part of the opportunities of each of these people, newest first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn of_people(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    people: &[PersonId],
    part: Part,
) -> Result<Vec<Row>> {
    let people = people.iter().map(|id| id.uuid());
    let backend = connection.get_database_backend();
    let table = ("opportunity", "person_id");
    let (statement, arguments) =
        part.statement(backend, table, workspace, &SequenceScope::All, people);
    sql::all(connection, &statement, arguments).await
}

fn chosen(workspace: WorkspaceId, listed: &Listed) -> (Arguments, String) {
    let mut arguments = Arguments::new();
    let mut all = condition(workspace, &listed.filter, "o", &mut arguments);
    if let Some(person) = listed.person {
        all.push_str(&format!(
            " AND o.person_id = {}",
            arguments.add(person.uuid())
        ));
    }
    (arguments, all)
}
