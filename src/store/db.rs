//! The connections: a pool to read and one to write, which on PostgreSQL are the same pool.
//!
//! SQLite takes one writer at a time. A write pool of one connection makes writers wait their turn
//! in our queue instead of failing on a lock, and a transaction that begins IMMEDIATE never finds
//! out half way that it cannot write.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use migration::{Migrator, MigratorTrait};
use sea_orm::sqlx::sqlite::{SqliteConnection, SqliteJournalMode, SqliteSynchronous};
use sea_orm::sqlx::{self, Connection};
use sea_orm::{
    AccessMode, ConnAcquireErr, ConnectOptions, Database, DatabaseConnection, DatabaseTransaction,
    DbErr, IsolationLevel, RuntimeErr, SqliteTransactionMode, TransactionOptions, TransactionTrait,
};
use tokio::time::Instant;

use super::audit::{self, NewEntry};
use super::{Reader, Result, StoreError, dialect};

/// How many connections may read at once on SQLite.
const SQLITE_READERS: u32 = 4;
/// How many rows SQLite's thread reads before it waits for us to take them: those of a claim, else
/// the two wake each other for every few.
const ROWS_AHEAD: usize = 1_024;
/// How PostgreSQL plans what clients ask: filters pass one row of a million or all of them, and a plan that
/// was made for any value reads a million rows to find one.
const PLANNED_EACH_TIME: &str = "force_custom_plan";
/// A connection that lay idle for so long is tried before it is used; trying each one every time
/// would cost a way to the server and back before every transaction.
const TRIED_AFTER: Duration = Duration::from_secs(1);
/// How many connections a node opens to PostgreSQL, unless told otherwise.
pub const POSTGRES_CONNECTIONS: u32 = 16;

/// How many connections a node opens to PostgreSQL for what clients read.
const POSTGRES_BOUNDED: u32 = 8;
/// How many connections on SQLite, for queries and again for everything else: a query keeps its own from
/// its first statement to its end, and nobody else is to wait for that.
const SQLITE_BOUNDED: u32 = 4;
/// How long a statement may take that a client has brought about.
pub const STATEMENT_WITHIN: Duration = Duration::from_secs(20);
/// How often a file that is locked is opened again, and after how long.
const OPENED_AGAIN: u32 = 100;
const OPENED_AFTER: Duration = Duration::from_millis(50);
/// How many steps SQLite goes between two looks at the time: some milliseconds.
const STEPS_BETWEEN: i32 = 200_000;

/// The database, open.
#[derive(Clone, Debug)]
pub struct Db {
    read: Reader,
    write: DatabaseConnection,
    /// To read with where each statement has its time.
    bounded: Reader,
    /// The same for queries of clients.
    queries: Reader,
    /// What every transaction that is begun here says of itself.
    carried: Option<Carried>,
}

/// The entry of the audit of the mutation that is being carried out, if one is.
type Carried = Arc<Mutex<Option<Arc<NewEntry>>>>;

impl Db {
    /// Opens the database at `url` (`sqlite://FILE` or `postgres://…`). A SQLite file is made if
    /// it is not there.
    ///
    /// # Errors
    /// [`StoreError::Unusable`] for a URL of another kind, [`StoreError::Database`] where the
    /// database cannot be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        Self::connect_within(url, STATEMENT_WITHIN).await
    }

    /// The same, where statements that clients bring about may take so long.
    ///
    /// # Errors
    /// As [`Db::connect`].
    pub async fn connect_within(url: &str, within: Duration) -> Result<Self> {
        if url.starts_with("sqlite:") {
            let separator = if url.contains('?') { '&' } else { '?' };
            let url = format!("{url}{separator}mode=rwc");
            let write = open_sqlite(sqlite_options(&url, 1)).await?;
            let read = open_sqlite(sqlite_options(&url, SQLITE_READERS)).await?;
            let mut options = sqlite_options(&url, SQLITE_BOUNDED);
            bound_sqlite(&mut options, within);
            let bounded = open_sqlite(options.clone()).await?;
            let queries = open_sqlite(options).await?;
            Ok(Self {
                read: Reader::pool(read),
                write,
                bounded: Reader::pool(bounded),
                queries: Reader::pool(queries),
                carried: None,
            })
        } else if url.starts_with("postgres:") || url.starts_with("postgresql:") {
            let pool =
                Database::connect(postgres_options(url, POSTGRES_CONNECTIONS, "auto")).await?;
            let mut options = postgres_options(url, POSTGRES_BOUNDED, PLANNED_EACH_TIME);
            options.statement_timeout(within);
            let bounded = Reader::pool(Database::connect(options).await?);
            Ok(Self {
                read: Reader::pool(pool.clone()),
                write: pool,
                queries: bounded.clone(),
                bounded,
                carried: None,
            })
        } else {
            Err(StoreError::Unusable(
                "The database URL must start with sqlite:// or postgres://.".into(),
            ))
        }
    }

    /// Brings the schema up to date.
    ///
    /// # Errors
    /// [`StoreError::Database`] where a migration fails.
    pub async fn migrate(&self) -> Result<()> {
        if !dialect::is_shared(&self.write) {
            // As a whole or not at all, and by one process after the other.
            let tx = self.begin().await?;
            Migrator::up(&tx, None).await?;
            return Ok(tx.commit().await?);
        }
        let lock = dialect::lock_migrations(&self.write).await?;
        let outcome = Migrator::up(&self.write, None).await;
        dialect::unlock_migrations(lock).await?;
        Ok(outcome?)
    }

    /// The connection to read with. On SQLite it cannot see what a transaction has not committed.
    pub fn read(&self) -> &Reader {
        &self.read
    }

    /// The same database, where each statement that reads has its time: one that takes longer is
    /// ended in the database, and not only waited for no longer.
    #[must_use]
    pub fn bounded(&self) -> Self {
        Self {
            read: self.bounded.clone(),
            ..self.clone()
        }
    }

    /// The same database for one query of a client's. On SQLite all that it reads is of one moment, and
    /// it has one connection, with its time, from its first statement on: taking one takes more ways to
    /// the connection's thread than a statement does. On PostgreSQL, where it would take ways to the
    /// server, and several connections answer sooner than one, nothing changes.
    #[must_use]
    pub fn for_query(&self) -> Self {
        if self.is_shared() {
            return self.clone();
        }
        Self {
            read: self.queries.snapshot(),
            ..self.clone()
        }
    }

    /// Begins a transaction that only reads, in which all is as it was when it began.
    ///
    /// # Errors
    /// [`StoreError::Database`] where no connection is to be had in time.
    pub async fn snapshot(&self) -> Result<DatabaseTransaction> {
        let pool = self.read.connections();
        if !self.is_shared() {
            return Ok(pool.begin().await?);
        }
        let options = TransactionOptions {
            isolation_level: Some(IsolationLevel::RepeatableRead),
            access_mode: Some(AccessMode::ReadOnly),
            ..TransactionOptions::default()
        };
        Ok(pool.begin_with_options(options).await?)
    }

    /// The connection for single statements that write.
    pub fn write(&self) -> &DatabaseConnection {
        &self.write
    }

    /// The same database for a request's mutations: each transaction enters which one it is of.
    #[must_use]
    pub fn for_mutations(&self) -> Self {
        Self {
            carried: Some(Carried::default()),
            ..self.clone()
        }
    }

    /// The same database, where transactions are of no mutation.
    #[must_use]
    pub fn of_itself(&self) -> Self {
        Self {
            carried: None,
            ..self.clone()
        }
    }

    /// From now on transactions that are begun here, or in a copy of this, are of this mutation.
    pub fn carry(&self, entry: Option<Arc<NewEntry>>) {
        if let Some(carried) = &self.carried {
            *carried.lock().unwrap_or_else(PoisonError::into_inner) = entry;
        }
    }

    /// Begins a transaction that writes; dropping it undoes it. One of a mutation enters that first.
    ///
    /// # Errors
    /// [`StoreError::Database`] where no connection is to be had in time.
    pub async fn begin(&self) -> Result<DatabaseTransaction> {
        let tx = self.begin_plainly().await?;
        let carried = self.carried.as_ref().and_then(|carried| {
            let entry = carried.lock().unwrap_or_else(PoisonError::into_inner);
            entry.clone()
        });
        if let Some(entry) = carried {
            audit::begin(&tx, &entry).await?;
        }
        Ok(tx)
    }

    async fn begin_plainly(&self) -> Result<DatabaseTransaction> {
        let options = TransactionOptions {
            sqlite_transaction_mode: Some(SqliteTransactionMode::Immediate),
            ..TransactionOptions::default()
        };
        if !self.is_shared() {
            return Ok(self.write.begin_with_options(options).await?);
        }
        // Whoever is given up while it begins must not leave the transaction behind in its connection,
        // where the driver forgets it and whatever is written next is never committed. Begun by a task
        // of its own, it is always begun whole, and undone when nobody takes it.
        let write = self.write.clone();
        let begun = tokio::spawn(async move { write.begin_with_options(options).await });
        match begun.await {
            Ok(begun) => Ok(begun?),
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                Err(_) => Err(DbErr::ConnectionAcquire(ConnAcquireErr::ConnectionClosed).into()),
            },
        }
    }

    /// The same database, where `seen` is called with the text of every statement that is run.
    #[must_use]
    pub fn observed(mut self, seen: impl Fn(&str) + Clone + Send + Sync + 'static) -> Self {
        let readers = [&mut self.read, &mut self.bounded, &mut self.queries];
        let reading = readers.map(Reader::connections_mut);
        for connection in reading.into_iter().chain([&mut self.write]) {
            let seen = seen.clone();
            connection.set_metric_callback(move |info| seen(&info.statement.sql));
        }
        self
    }

    /// Whether other processes may work on the same database.
    pub fn is_shared(&self) -> bool {
        dialect::is_shared(&self.write)
    }

    /// Closes every connection.
    ///
    /// # Errors
    /// [`StoreError::Database`] where closing fails.
    pub async fn close(self) -> Result<()> {
        self.queries.connections().close_by_ref().await?;
        self.bounded.connections().close_by_ref().await?;
        self.read.connections().close_by_ref().await?;
        self.write.close_by_ref().await?;
        Ok(())
    }
}

fn sqlite_options(url: &str, connections: u32) -> ConnectOptions {
    let mut options = common(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .map_sqlx_sqlite_before_acquire(|connection, _| async { Ok(is_clean(connection)) }.boxed())
        .map_sqlx_sqlite_opts(|options| {
            options
                .journal_mode(SqliteJournalMode::Wal)
                // A send that was noted must survive a power cut, or it would be sent twice.
                .synchronous(SqliteSynchronous::Full)
                .foreign_keys(true)
                .busy_timeout(Duration::from_secs(20))
                .statement_cache_capacity(500)
                .row_buffer_size(ROWS_AHEAD)
                // Rows are written twice within seconds: fewer checkpoints write each page once.
                .pragma("wal_autocheckpoint", "8000")
                .pragma("temp_store", "memory")
                .pragma("cache_size", "-32000")
                .pragma("mmap_size", "268435456")
        });
    options
}

/// Opens a file. While others begin with it or close it, SQLite may find it locked, and says so without
/// waiting its busy time-out where it is about to write ahead: then it is tried again.
async fn open_sqlite(options: ConnectOptions) -> Result<DatabaseConnection> {
    for _ in 0..OPENED_AGAIN {
        match Database::connect(options.clone()).await {
            #[expect(
                clippy::disallowed_methods,
                reason = "SQLite's own busy time-out, which it leaves out here, knows no clock of ours either"
            )]
            Err(error) if is_locked(&error) => tokio::time::sleep(OPENED_AFTER).await,
            opened => return Ok(opened?),
        }
    }
    Ok(Database::connect(options).await?)
}

/// Whether SQLite says SQLITE_BUSY of a connection.
fn is_locked(error: &DbErr) -> bool {
    let DbErr::Conn(RuntimeErr::SqlxError(cause)) = error else {
        return false;
    };
    match &**cause {
        sqlx::Error::Database(told) => told.code().is_some_and(|code| code == "5"),
        _ => false,
    }
}

/// Whether a connection that comes from the pool is in no transaction, as far as the driver knows. Where
/// the disk is full or broken, SQLite undoes a transaction by itself, and the driver goes on counting
/// it: what it began next would be a savepoint, in which nothing is ever committed and nothing new is
/// seen. Such a connection is closed, and another one opened.
fn is_clean(connection: &SqliteConnection) -> bool {
    !connection.is_in_transaction()
}

/// SQLite has no time-out for statements: it asks now and then whether to go on, from the moment on
/// that a connection is taken.
fn bound_sqlite(options: &mut ConnectOptions, within: Duration) {
    options.map_sqlx_sqlite_before_acquire(move |connection, _| {
        async move {
            if !is_clean(connection) {
                return Ok(false);
            }
            bound(connection, within).await.map(|()| true)
        }
        .boxed()
    });
    options.map_sqlx_sqlite_pool_opts(move |options| {
        options.after_connect(move |connection, _| bound(connection, within).boxed())
    });
}

async fn bound(connection: &mut SqliteConnection, within: Duration) -> Result<(), sqlx::Error> {
    let until = Instant::now() + within;
    let mut handle = connection.lock_handle().await?;
    handle.set_progress_handler(STEPS_BETWEEN, move || Instant::now() < until);
    Ok(())
}

/// Connections that plan statements so.
fn postgres_options(url: &str, connections: u32, planned: &'static str) -> ConnectOptions {
    let mut options = common(url);
    options
        .max_connections(connections)
        .min_connections(1)
        .map_sqlx_postgres_opts(move |options| {
            options
                .application_name("cadenza")
                .options([("plan_cache_mode", planned)])
                .statement_cache_capacity(500)
        });
    options
}

fn common(url: &str) -> ConnectOptions {
    let mut options = ConnectOptions::new(url);
    options
        .acquire_timeout(Duration::from_secs(20))
        .test_before_acquire_if_idle_for(TRIED_AFTER)
        .sqlx_logging(false);
    options
}
