//! Moving what hangs on one person to another.

use sea_orm::ConnectionTrait;
use uuid::Uuid;

use super::Row;
use crate::store::sql::{self, Arguments};
use crate::store::{Result, dialect};

/// Gives a person the leads, opportunities and counts of another, who goes, and what workflows ran for or have
/// yet to run for. All of their rows, and the workflows, must be locked by this transaction, and of the leads
/// of a sequence at most one may be under way. The runs through each sequence are numbered anew, in the order
/// in which they began.
///
/// # Errors
/// [`crate::store::StoreError`] as the database has it.
pub async fn move_all(tx: &impl ConnectionTrait, survivor: &Row, duplicate: Uuid) -> Result<()> {
    let both = || {
        Arguments::new()
            .with(survivor.workspace_id)
            .with(survivor.id)
            .with(duplicate)
    };
    let of_workspace = dialect::unindexed(tx.get_database_backend(), "l.workspace_id");
    // No number is taken twice on the way: first all are less than zero.
    let numbered = format!(
        "WITH numbered AS MATERIALIZED (
             SELECT l.id, row_number() OVER (PARTITION BY l.sequence_id
                                             ORDER BY l.enrolled_at, l.id) AS round
             FROM lead AS l WHERE {of_workspace} = $1 AND l.person_id IN ($2, $3)
         )
         UPDATE lead SET person_id = $2, round = -CAST(numbered.round AS INTEGER)
         FROM numbered WHERE lead.id = numbered.id"
    );
    sql::execute(tx, &numbered, both()).await?;
    let flipped = "UPDATE lead SET round = -round WHERE person_id = $1 AND round < 0";
    sql::execute(tx, flipped, Arguments::new().with(survivor.id)).await?;
    for statement in [
        "UPDATE opportunity SET person_id = $2 WHERE workspace_id = $1 AND person_id = $3",
        "UPDATE workflow_trigger SET person_id = $2 WHERE workspace_id = $1 AND person_id = $3",
        "UPDATE workflow_run SET person_id = $2 WHERE workspace_id = $1 AND person_id = $3",
        // The survivor's id comes out of its row, where it has the type that each database has for it.
        "INSERT INTO quota (subject_id, kind, day, workspace_id, used)
         SELECT p.id, q.kind, q.day, q.workspace_id, q.used FROM quota AS q, person AS p
         WHERE q.subject_id = $3 AND q.workspace_id = $1 AND p.id = $2
         ON CONFLICT (subject_id, kind, day) DO UPDATE SET used = quota.used + excluded.used",
    ] {
        sql::execute(tx, statement, both()).await?;
    }
    for statement in [
        "DELETE FROM quota WHERE workspace_id = $1 AND subject_id = $2",
        "DELETE FROM person WHERE workspace_id = $1 AND id = $2",
    ] {
        let arguments = Arguments::new().with(survivor.workspace_id).with(duplicate);
        sql::execute(tx, statement, arguments).await?;
    }
    Ok(())
}
