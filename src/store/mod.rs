//! The truth: every read and write of the database.
//!
//! The only module that builds queries. Functions are free and take `&impl ConnectionTrait`, so
//! that they run inside or outside a transaction; who opens a transaction says so in its doc.
//! Every function that reads or writes a workspace's rows takes the workspace's id.

pub mod analytics;
pub mod audit;
pub mod bulk;
pub mod claim;
pub mod db;
pub mod dialect;
pub mod dispatch;
pub mod dkim;
pub mod engagement;
pub mod enrolment;
pub mod event;
pub mod execution;
pub mod grant;
pub mod inbound;
pub mod lane;
pub mod lead;
pub mod mailbox;
pub mod opportunity;
pub mod person;
pub mod pipeline;
pub mod reader;
pub mod retold;
pub mod scope;
pub mod sender;
pub mod sequence;
pub mod sql;
pub mod suppression;
pub mod task;
pub mod texting;
pub mod token;
pub mod webhook;
pub mod worker;
pub mod workflow;
pub mod workspace;

use std::borrow::Cow;

use sea_orm::{DbErr, RuntimeErr, SqlErr, sqlx};

pub use self::db::Db;
pub use self::reader::Reader;

/// What can go wrong in the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database refused or could not be reached.
    #[error("the database could not carry this out")]
    Database(#[source] DbErr),
    /// Two writers made the same thing at once; the constraint's text says which.
    #[error("the same already exists")]
    Duplicate(#[source] DbErr),
    /// A row holds what this version cannot read.
    #[error("the database holds a {what} that cannot be read: {reason}")]
    Corrupt {
        /// What was read.
        what: &'static str,
        /// Why it cannot be.
        reason: String,
    },
    /// The database is not one that this program can use.
    #[error("{0}")]
    Unusable(String),
}

impl From<DbErr> for StoreError {
    fn from(error: DbErr) -> Self {
        match error.sql_err() {
            Some(SqlErr::UniqueConstraintViolation(_)) => Self::Duplicate(error),
            _ => Self::Database(error),
        }
    }
}

impl StoreError {
    /// Whether the same may succeed later though nothing of what was asked is changed: the database
    /// is not there, its disk is full, somebody else was in the way.
    pub fn may_pass(&self) -> bool {
        let Self::Database(error) = self else {
            return false;
        };
        let cause = match error {
            DbErr::ConnectionAcquire(_) | DbErr::Conn(_) => return true,
            DbErr::Exec(RuntimeErr::SqlxError(cause))
            | DbErr::Query(RuntimeErr::SqlxError(cause)) => cause,
            _ => return false,
        };
        match &**cause {
            sqlx::Error::Database(told) => told.code().is_some_and(|code| dialect::may_pass(&code)),
            // Of the connection, not of the statement.
            sqlx::Error::Io(_)
            | sqlx::Error::Tls(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::PoolTimedOut
            | sqlx::Error::PoolClosed
            | sqlx::Error::WorkerCrashed => true,
            _ => false,
        }
    }

    /// Whether a statement was ended because it took too long.
    pub fn took_too_long(&self) -> bool {
        self.code()
            .is_some_and(|code| dialect::took_too_long(&code))
    }

    /// Whether the transaction was ended because it and others waited for each other; nothing of it has
    /// happened, and it may be repeated at once.
    pub fn was_deadlocked(&self) -> bool {
        self.code()
            .is_some_and(|code| dialect::was_deadlocked(&code))
    }

    /// The code that the database gave for a statement.
    fn code(&self) -> Option<Cow<'_, str>> {
        let Self::Database(
            DbErr::Exec(RuntimeErr::SqlxError(cause)) | DbErr::Query(RuntimeErr::SqlxError(cause)),
        ) = self
        else {
            return None;
        };
        match &**cause {
            sqlx::Error::Database(told) => told.code(),
            _ => None,
        }
    }

    /// A row that cannot be read.
    pub fn corrupt(what: &'static str, reason: impl ToString) -> Self {
        Self::Corrupt {
            what,
            reason: reason.to_string(),
        }
    }
}

/// What store functions answer.
pub type Result<T, E = StoreError> = std::result::Result<T, E>;
