//! What to read with: a pool, or one snapshot of the database.

use std::sync::Arc;

use sea_orm::prelude::async_trait::async_trait;
use sea_orm::{
    ConnectionTrait, DatabaseConnection, DatabaseTransaction, DbBackend, DbErr, ExecResult,
    QueryResult, Statement, TransactionTrait,
};
use tokio::sync::OnceCell;

/// What to read with. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Reader {
    pool: DatabaseConnection,
    /// The transaction that everything is read in, from the first statement on until the last clone of
    /// this is gone.
    snapshot: Option<Arc<Snapshot>>,
}

/// A transaction, once it is begun; one that could not be is not tried again, or whoever waits for a
/// connection would wait once for each of its statements.
type Snapshot = OnceCell<Result<DatabaseTransaction, DbErr>>;

impl Reader {
    /// Reads by whichever connection of the pool is free.
    pub fn pool(pool: DatabaseConnection) -> Self {
        Self {
            pool,
            snapshot: None,
        }
    }

    /// Reads everything in one transaction, and so as it was at one time.
    #[must_use]
    pub fn snapshot(&self) -> Self {
        Self {
            pool: self.pool.clone(),
            snapshot: Some(Arc::default()),
        }
    }

    /// The pool behind it.
    pub fn connections(&self) -> &DatabaseConnection {
        &self.pool
    }

    /// The same, with what is to be done with the pool.
    pub fn connections_mut(&mut self) -> &mut DatabaseConnection {
        &mut self.pool
    }

    async fn begun<'a>(&self, snapshot: &'a Snapshot) -> Result<&'a DatabaseTransaction, DbErr> {
        let begun = snapshot.get_or_init(|| self.pool.begin()).await;
        begun.as_ref().map_err(DbErr::clone)
    }
}

#[async_trait]
impl ConnectionTrait for Reader {
    fn get_database_backend(&self) -> DbBackend {
        self.pool.get_database_backend()
    }

    async fn execute_raw(&self, statement: Statement) -> Result<ExecResult, DbErr> {
        match &self.snapshot {
            Some(snapshot) => self.begun(snapshot).await?.execute_raw(statement).await,
            None => self.pool.execute_raw(statement).await,
        }
    }

    async fn execute_unprepared(&self, statement: &str) -> Result<ExecResult, DbErr> {
        match &self.snapshot {
            Some(snapshot) => {
                let begun = self.begun(snapshot).await?;
                begun.execute_unprepared(statement).await
            }
            None => self.pool.execute_unprepared(statement).await,
        }
    }

    async fn query_one_raw(&self, statement: Statement) -> Result<Option<QueryResult>, DbErr> {
        match &self.snapshot {
            Some(snapshot) => self.begun(snapshot).await?.query_one_raw(statement).await,
            None => self.pool.query_one_raw(statement).await,
        }
    }

    async fn query_all_raw(&self, statement: Statement) -> Result<Vec<QueryResult>, DbErr> {
        match &self.snapshot {
            Some(snapshot) => self.begun(snapshot).await?.query_all_raw(statement).await,
            None => self.pool.query_all_raw(statement).await,
        }
    }
}
