//! The only file that asks which database it is.

use sea_orm::sqlx::postgres::{PgListener, Postgres};
use sea_orm::sqlx::sqlite::Sqlite;
use sea_orm::sqlx::{self, Decode, Row, Type};
use sea_orm::{ConnectionTrait, DatabaseConnection, DbBackend, QueryResult};

use super::sql::{self, Arguments};
use super::{Db, Result};

/// Any number that no other program takes by accident: "cadenza" in hexadecimal ASCII.
const MIGRATION_LOCK: i64 = 0x0063_6164_656e_7a61;
/// The same for the locks of subjects: "cade".
const CLAIM_LOCK: i32 = 0x6361_6465;
/// The same for the locks of hosts: "host".
const HOST_LOCK: i32 = 0x686f_7374;
/// The channel on which PostgreSQL tells other nodes that something was committed.
const WAKE_CHANNEL: &str = "cadenza";

/// Whether other processes may work on the same database.
pub fn is_shared(connection: &impl ConnectionTrait) -> bool {
    connection.get_database_backend() == DbBackend::Postgres
}

/// Whether numbered parameters (`$1`) are as good as unnumbered ones.
pub fn numbers_parameters(backend: DbBackend) -> bool {
    backend == DbBackend::Postgres
}

/// Whether rows are bound as one array for each column, instead of one parameter for each value.
pub fn binds_columns(backend: DbBackend) -> bool {
    backend == DbBackend::Postgres
}

/// The value in a place of a row, from 0, as the driver reads it. sea-orm looks for the place by its
/// name and writes out an error for every NULL, which for a row of the event log takes six times as
/// long.
///
/// # Errors
/// [`super::StoreError::Database`] where the value is of another type.
pub fn column<T>(row: &QueryResult, place: usize) -> Result<T>
where
    T: for<'r> Decode<'r, Sqlite> + Type<Sqlite> + for<'r> Decode<'r, Postgres> + Type<Postgres>,
{
    let read = match (row.try_as_pg_row(), row.try_as_sqlite_row()) {
        (Some(row), _) => row.try_get(place),
        (None, Some(row)) => row.try_get(place),
        (None, None) => Err(sqlx::Error::ColumnNotFound(place.to_string())),
    };
    read.map_err(sql::driver_error)
}

/// Held while migrations run, so that two nodes that start at once do not both run them.
pub struct MigrationLock(Option<sea_orm::sqlx::pool::PoolConnection<sea_orm::sqlx::Postgres>>);

/// Waits until no other node migrates this database.
///
/// # Errors
/// [`super::StoreError::Database`] where the database cannot be reached.
pub async fn lock_migrations(connection: &DatabaseConnection) -> Result<MigrationLock> {
    match connection.get_database_backend() {
        DbBackend::Postgres => {
            let pool = connection.get_postgres_connection_pool();
            let mut held = pool.acquire().await.map_err(sql::driver_error)?;
            sea_orm::sqlx::query("SELECT pg_advisory_lock($1)")
                .bind(MIGRATION_LOCK)
                .execute(&mut *held)
                .await
                .map_err(sql::driver_error)?;
            Ok(MigrationLock(Some(held)))
        }
        // A SQLite file is migrated in a transaction, for which others wait.
        _ => Ok(MigrationLock(None)),
    }
}

/// Lets the next node migrate.
///
/// # Errors
/// [`super::StoreError::Database`] where the database cannot be reached.
pub async fn unlock_migrations(lock: MigrationLock) -> Result<()> {
    if let Some(mut held) = lock.0 {
        sea_orm::sqlx::query("SELECT pg_advisory_unlock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *held)
            .await
            .map_err(sql::driver_error)?;
    }
    Ok(())
}

/// Rows that are read to be changed: other nodes wait for them. Their keys stay, so that a row that
/// refers to one of them can be inserted meanwhile.
pub fn for_update(connection: &impl ConnectionTrait, table: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("FOR NO KEY UPDATE OF {table}"),
        _ => String::new(),
    }
}

/// Rows that are read to be changed: those that another node holds are left out.
pub fn for_update_skip_locked(connection: &impl ConnectionTrait, table: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("FOR NO KEY UPDATE OF {table} SKIP LOCKED"),
        _ => String::new(),
    }
}

/// Keeps `subject` from others who ask the same until the transaction ends; `false` if somebody else
/// has it. No row is locked. On SQLite a transaction that writes is alone anyway.
///
/// # Errors
/// [`super::StoreError::Database`] where the database refuses.
pub async fn try_keep(connection: &impl ConnectionTrait, subject: uuid::Uuid) -> Result<bool> {
    if connection.get_database_backend() != DbBackend::Postgres {
        return Ok(true);
    }
    // Two subjects with the same 32 bits only wait for each other.
    let statement = "SELECT CASE WHEN pg_try_advisory_xact_lock($1, $2) THEN 1::bigint END AS n";
    let [.., a, b, c, d] = *subject.as_bytes();
    let arguments = Arguments::new()
        .with(CLAIM_LOCK)
        .with(i32::from_be_bytes([a, b, c, d]));
    Ok(sql::number(connection, statement, arguments).await? == 1)
}

/// Waits until no other transaction decides whose this host is, and has them wait until this one ends. On SQLite
/// a transaction that writes is alone anyway.
///
/// # Errors
/// [`super::StoreError::Database`] where the database refuses.
pub async fn keep_host(connection: &impl ConnectionTrait, host: &str) -> Result<()> {
    if connection.get_database_backend() == DbBackend::Postgres {
        // Two hosts with the same 32 bits only wait for each other.
        let statement = "SELECT pg_advisory_xact_lock($1, hashtext($2))";
        let arguments = Arguments::new().with(HOST_LOCK).with(host);
        sql::execute(connection, statement, arguments).await?;
    }
    Ok(())
}

/// Rows that are read to be removed: others wait for them, those too who insert a row that refers to one
/// of them.
pub fn for_removal(connection: &impl ConnectionTrait, table: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("FOR UPDATE OF {table}"),
        _ => String::new(),
    }
}

/// Rows that must not be removed before the transaction ends, whatever else changes of them.
pub fn for_key_share(connection: &impl ConnectionTrait, table: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("FOR KEY SHARE OF {table}"),
        _ => String::new(),
    }
}

/// Rows that must not change before the transaction ends.
pub fn for_share(connection: &impl ConnectionTrait, tables: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("FOR SHARE OF {tables}"),
        _ => String::new(),
    }
}

/// Rows that must not change before the transaction ends; those that somebody is changing just now are
/// left out.
pub fn for_share_skip_locked(connection: &impl ConnectionTrait, tables: &str) -> String {
    match connection.get_database_backend() {
        DbBackend::Postgres => format!("FOR SHARE OF {tables} SKIP LOCKED"),
        _ => String::new(),
    }
}

/// Whether a database's error code speaks of a state that passes and not of the statement: PostgreSQL's
/// classes for connections, rollbacks, locks, resources, operators and the system (manual,
/// appendix A), and SQLite's codes (<https://www.sqlite.org/rescode.html>) PERM, BUSY, LOCKED, NOMEM,
/// READONLY, IOERR, FULL and CANTOPEN, of which an extended code keeps the last byte.
pub fn may_pass(code: &str) -> bool {
    if code.len() == 5 {
        let class = code.get(..2).unwrap_or_default();
        return ["08", "40", "53", "55", "57", "58"].contains(&class);
    }
    code.parse::<u32>()
        .is_ok_and(|code| matches!(code & 0xff, 3 | 5 | 6 | 7 | 8 | 10 | 13 | 14))
}

/// Whether a code of the database says that a transaction was ended because it and others waited for each
/// other: deadlock_detected.
pub fn was_deadlocked(code: &str) -> bool {
    code == "40P01"
}

/// Whether a code of the database says that a statement was ended because it took too long.
pub fn took_too_long(code: &str) -> bool {
    // query_canceled; SQLITE_INTERRUPT.
    matches!(code, "57014" | "9")
}

/// A column that rows must not be looked for by, because another one finds them better: SQLite knows
/// little of how many rows an index answers and may else walk through a whole sequence.
pub fn unindexed(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::Postgres => column.to_owned(),
        _ => format!("+{column}"),
    }
}

/// What stands behind the @ of an email key, of which there is one; nothing of use for another text.
pub fn domain_of(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::Postgres => format!("split_part({column}, '@', 2)"),
        _ => format!("substr({column}, instr({column}, '@') + 1)"),
    }
}

/// The value under a key of a JSON object as text, whatever its type; NULL if it is not there or is
/// null. Compares by code points.
pub fn json_text(backend: DbBackend, column: &str, key: &str) -> String {
    match backend {
        DbBackend::Postgres => format!("(({column} ->> {key}) COLLATE \"C\")"),
        // Not by a path, in which some letters of a key would have a meaning.
        _ => format!(
            "(SELECT CASE entry.type WHEN 'null' THEN NULL WHEN 'true' THEN 'true'
                 WHEN 'false' THEN 'false' ELSE CAST(entry.value AS TEXT) END
              FROM json_each({column}) AS entry WHERE entry.key = {key})"
        ),
    }
}

/// A table for FROM, called `entry`, whose column `key` has the keys of a JSON object.
pub fn json_keys(backend: DbBackend, column: &str) -> String {
    match backend {
        DbBackend::Postgres => format!("jsonb_object_keys({column}) AS entry (key)"),
        _ => format!("json_each({column}) AS entry"),
    }
}

/// The value under a key of a JSON object as a number, where it is one or is a text that reads like
/// one in JSON; else NULL. Numbers of more than thirty digits before the point are not compared.
pub fn json_number(backend: DbBackend, column: &str, key: &str) -> String {
    let text = json_text(backend, column, key);
    match backend {
        DbBackend::Postgres => format!(
            "(CASE WHEN {text} ~ '^-?(0|[1-9][0-9]{{0,29}})(\\.[0-9]{{1,30}})?$'
                  THEN {text}::double precision END)"
        ),
        _ => format!(
            "(SELECT CASE WHEN json_valid(found.t) THEN
                  CASE WHEN json_type(found.t) IN ('integer', 'real')
                            AND found.t NOT GLOB '*[eE]*'
                       THEN CAST(found.t AS REAL) END END
              FROM (SELECT {text} AS t) AS found)"
        ),
    }
}

/// Tells the other nodes that something was committed; part of the transaction it is called in.
///
/// # Errors
/// [`super::StoreError::Database`] where the database refuses.
pub async fn notify(connection: &impl ConnectionTrait) -> Result<()> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let statement = format!("NOTIFY {WAKE_CHANNEL}");
        sql::execute(connection, &statement, Arguments::new()).await?;
    }
    Ok(())
}

/// Like [`notify`], as a column of a statement of PostgreSQL's that is evaluated once.
pub fn notified() -> String {
    format!("pg_notify('{WAKE_CHANNEL}', '')")
}

/// Has the planner look anew at tables that have grown or changed much. PostgreSQL itself does so once a
/// minute at best, and plans by what it last saw: with a table seen when it was small, a statement
/// that takes 50 ms can take half a minute. SQLite plans by what the migration told it.
///
/// # Errors
/// [`super::StoreError::Database`] where the database refuses.
pub async fn refresh_statistics(connection: &impl ConnectionTrait, tables: &[&str]) -> Result<()> {
    if connection.get_database_backend() == DbBackend::Postgres {
        let statement = format!("ANALYZE {}", tables.join(", "));
        sql::execute(connection, &statement, Arguments::new()).await?;
    }
    Ok(())
}

/// Hears of what other nodes committed; on SQLite there are no others.
///
/// # Errors
/// [`super::StoreError::Database`] where the database cannot be reached.
pub async fn listen(db: &Db) -> Result<Option<PgListener>> {
    match db.read().get_database_backend() {
        DbBackend::Postgres => {
            let pool = db.read().connections().get_postgres_connection_pool();
            let mut listener = PgListener::connect_with(pool)
                .await
                .map_err(sql::driver_error)?;
            listener
                .listen(WAKE_CHANNEL)
                .await
                .map_err(sql::driver_error)?;
            Ok(Some(listener))
        }
        _ => Ok(None),
    }
}

/// Returns once another node committed something, or may have: a connection that was lost and
/// made again has missed what was said in between.
///
/// # Errors
/// [`super::StoreError::Database`] where the database cannot be reached.
pub async fn heard(listener: &mut PgListener) -> Result<()> {
    listener
        .try_recv()
        .await
        .map(drop)
        .map_err(sql::driver_error)
}

/// By how many milliseconds the database's clock is ahead of `now_ms`; on SQLite there is one
/// clock only.
///
/// # Errors
/// [`super::StoreError::Database`] where the database cannot be reached.
pub async fn clock_skew_ms(db: &Db, now_ms: i64) -> Result<i64> {
    match db.read().get_database_backend() {
        DbBackend::Postgres => {
            let statement = "SELECT (extract(epoch FROM clock_timestamp()) * 1000)::bigint AS n";
            let theirs = sql::number(db.read(), statement, Arguments::new()).await?;
            Ok(theirs - now_ms)
        }
        _ => Ok(0),
    }
}

#[cfg(test)]
mod tests {
    use super::may_pass;

    #[test]
    fn a_full_disk_passes_and_a_broken_constraint_does_not() {
        for code in ["53100", "57014", "40P01", "13", "778", "5", "08006"] {
            assert!(may_pass(code), "{code}");
        }
        for code in ["23502", "22P02", "42601", "19", "1299", "1", ""] {
            assert!(!may_pass(code), "{code}");
        }
    }
}
