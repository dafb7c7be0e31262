//! What SQLite's planner is told, once.

use sea_orm_migration::prelude::*;

/// What SQLite's planner is told of the indexes of large tables that begin with the workspace, in the form of
/// its `sqlite_stat1`: rows, rows of one workspace, rows of one workspace and one second value, …. It takes a
/// workspace for ten rows else, and reads all of it to find a few leads by their ids. These are facts of
/// any installation (most have one workspace), so that plans never change by themselves; nothing
/// else is told, and nothing runs ANALYZE.
const FACTS: &[(&str, &str, &str)] = &[
    ("person", "person_company", "1000000 1000000 10 1"),
    ("person", "person_page", "1000000 1000000 1"),
    ("person", "person_email", "1000000 1000000 1"),
    ("opportunity", "opportunity_page", "1000000 1000000 1"),
    ("lead", "lead_due_page", "1000000 1000000 10 1"),
    ("lead", "lead_last_action", "1000000 1000000 10 1"),
    ("lead", "lead_page", "1000000 1000000 10 1"),
    ("execution", "execution_page", "1000000 1000000 1"),
    ("task", "task_open", "1000000 1000000 1"),
    ("task", "task_page", "1000000 1000000 1"),
    ("event", "sqlite_autoindex_event_1", "1000000 1000000 1"),
    (
        "audit_entry",
        "audit_entry_mutation",
        "1000000 1000000 10 1",
    ),
    ("audit_entry", "audit_entry_token", "1000000 1000000 10 1"),
    ("audit_entry", "audit_entry_page", "1000000 1000000 1"),
];

/// Tells SQLite the facts: its table for them comes with an ANALYZE, here of a table that is empty.
pub async fn tell(connection: &SchemaManagerConnection<'_>) -> Result<(), DbErr> {
    connection
        .execute_unprepared("ANALYZE event_counter")
        .await?;
    connection
        .execute_unprepared("DELETE FROM sqlite_stat1")
        .await?;
    for (table, index, numbers) in FACTS {
        let statement = format!(
            "INSERT INTO sqlite_stat1 (tbl, idx, stat) VALUES ('{table}', '{index}', '{numbers}')"
        );
        connection.execute_unprepared(&statement).await?;
    }
    connection
        .execute_unprepared("ANALYZE sqlite_schema")
        .await?;
    Ok(())
}
