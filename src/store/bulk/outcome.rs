//! What became of the items of bulk operations: entered chunk by chunk, read page by page.

use entity::bulk_outcome;
use sea_orm::{
    ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, QueryFilter, QueryOrder,
    QuerySelect, Value,
};

use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::id::{BulkId, WorkspaceId};
use crate::store::Result;
use crate::store::sql::{self, Arguments};

/// How many rows go into one INSERT.
/// SQLite looks every parameter's name up among all the others: small statements cost less.
const ROWS_PER_INSERT: usize = 250;

/// An outcome's row.
pub type OutcomeRow = bulk_outcome::Model;

/// What became of one item, as it is entered: subject, code and message.
pub type NewOutcome<'a> = (&'a str, BulkOutcomeCode, &'a str);

/// Enters the outcomes of a chunk; the first gets the number `first`.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn insert_outcomes(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    first: i64,
    outcomes: &[NewOutcome<'_>],
) -> Result<()> {
    let mut ordinal = first - 1;
    for chunk in outcomes.chunks(ROWS_PER_INSERT) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|(subject, code, message)| -> [Value; 6] {
                ordinal += 1;
                [
                    ordinal.into(),
                    operation.uuid().into(),
                    workspace.uuid().into(),
                    (*subject).into(),
                    <&str>::from(*code).into(),
                    (*message).into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO bulk_outcome (ordinal, operation_id, workspace_id, subject, code, message)
             {rows}"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// Which outcomes a page holds, by their numbers.
#[derive(Debug, Clone, Copy)]
pub struct OutcomePage {
    /// Only those after this number.
    pub after: Option<i64>,
    /// Only those before this number.
    pub before: Option<i64>,
    /// The last ones instead of the first; they come in descending order.
    pub backward: bool,
    /// At most so many.
    pub limit: u64,
}

/// A page of an operation's outcomes, with one of the given codes (all, if none are given).
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn outcomes(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    codes: Option<&[BulkOutcomeCode]>,
    page: OutcomePage,
) -> Result<Vec<OutcomeRow>> {
    let mut select = bulk_outcome::Entity::find()
        .filter(bulk_outcome::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(bulk_outcome::Column::OperationId.eq(operation.uuid()));
    if let Some(codes) = codes {
        let codes = codes.iter().map(|code| <&str>::from(*code));
        select = select.filter(bulk_outcome::Column::Code.is_in(codes));
    }
    if let Some(after) = page.after {
        select = select.filter(bulk_outcome::Column::Ordinal.gt(after));
    }
    if let Some(before) = page.before {
        select = select.filter(bulk_outcome::Column::Ordinal.lt(before));
    }
    let order = if page.backward {
        sea_orm::Order::Desc
    } else {
        sea_orm::Order::Asc
    };
    Ok(select
        .order_by(bulk_outcome::Column::Ordinal, order)
        .limit(page.limit)
        .all(connection)
        .await?)
}

/// How many outcomes an operation has with one of the given codes (all, if none are given).
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn count_outcomes(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    codes: Option<&[BulkOutcomeCode]>,
) -> Result<i64> {
    let mut arguments = Arguments::new()
        .with(workspace.uuid())
        .with(operation.uuid());
    let codes = codes.map_or_else(String::new, |codes| {
        format!(
            "AND code IN ({})",
            arguments.list(codes.iter().map(|code| <&str>::from(*code)))
        )
    });
    let statement = format!(
        "SELECT count(*) AS n FROM bulk_outcome
         WHERE workspace_id = $1 AND operation_id = $2 {codes}"
    );
    sql::number(connection, &statement, arguments).await
}

/// How often an operation had one outcome.
#[derive(Debug, Clone, PartialEq, Eq, FromQueryResult)]
pub struct OutcomeCount {
    /// Its code.
    pub code: String,
    /// Its message.
    pub message: String,
    /// How many items had it.
    pub count: i64,
}

/// How often an operation had each outcome, the most frequent first, at most `limit` of them.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn outcome_counts(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    limit: u64,
) -> Result<Vec<OutcomeCount>> {
    let statement = format!(
        "SELECT code, message, count(*) AS count FROM bulk_outcome
         WHERE workspace_id = $1 AND operation_id = $2
         GROUP BY code, message ORDER BY count DESC, code, message LIMIT {limit}"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(operation.uuid());
    sql::all(connection, &statement, arguments).await
}

/// The next outcomes of an operation that were done as asked, after the number `after`, in their order;
/// at most `limit`.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn done_after(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    after: i64,
    limit: usize,
) -> Result<Vec<OutcomeRow>> {
    let statement = format!(
        "SELECT * FROM bulk_outcome
         WHERE workspace_id = $1 AND operation_id = $2 AND ordinal > $3 AND code = 'DONE'
         ORDER BY ordinal LIMIT {limit}"
    );
    let arguments = Arguments::new()
        .with(workspace.uuid())
        .with(operation.uuid())
        .with(after);
    sql::all(connection, &statement, arguments).await
}
