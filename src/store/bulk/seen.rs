//! The email addresses that the dry run of an import has met: it enters nobody, and yet is to tell of a
//! later line with the same address what an import would.

use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::domain::id::{BulkId, WorkspaceId};
use crate::store::Result;
use crate::store::sql::{self, Arguments};

#[derive(FromQueryResult)]
struct Seen {
    email_key: String,
}

/// Those of the addresses, in the form that they are compared in, that an operation has noted.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn find(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    keys: &[String],
) -> Result<Vec<String>> {
    let mut arguments = Arguments::new()
        .with(operation.uuid())
        .with(workspace.uuid());
    let list = arguments.list(keys.iter().map(String::as_str));
    let statement = format!(
        "SELECT email_key FROM bulk_seen
         WHERE operation_id = $1 AND workspace_id = $2 AND email_key IN ({list})"
    );
    let seen: Vec<Seen> = sql::all(connection, &statement, arguments).await?;
    Ok(seen.into_iter().map(|row| row.email_key).collect())
}

/// Notes addresses; those that were noted before stay so.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn insert(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    operation: BulkId,
    keys: &[String],
) -> Result<()> {
    for keys in sql::chunks(keys) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            keys.iter().map(|key| -> [Value; 3] {
                [
                    key.as_str().into(),
                    operation.uuid().into(),
                    workspace.uuid().into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO bulk_seen (email_key, operation_id, workspace_id)
             {rows} ON CONFLICT DO NOTHING"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}
