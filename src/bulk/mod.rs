//! Bulk operations: one mutation over many leads or people.
//!
//! The frame that every kind shares. An operation is a row. It is carried out in chunks of at most
//! [`CHUNK_MAX`] items, and each chunk is one transaction: what happens to the items, their
//! outcomes, the counts, the place where the next chunk begins and the events, all of it or
//! nothing. A process that dies in between costs nothing: whoever goes on begins after the last
//! chunk that was committed, so each item is done exactly once.
//!
//! Small operations are done within [`submit`]; the rest is left to the [`runner`]. A kind
//! provides one function, its `chunk`, and never commits, counts or wakes by itself.

pub mod enrol;
pub mod import;
pub mod lead_change;
pub mod rounds;
pub mod runner;
mod statistics;
mod submit;
pub mod undo;

use std::panic::AssertUnwindSafe;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use sea_orm::DatabaseTransaction;
use serde_json::Value;

pub use self::submit::submit;
use crate::app::{AppError, Caller, Refusal, Services};
use crate::clock::from_ms;
use crate::domain::bulk::{BulkCount, BulkKind, BulkOutcomeCode, BulkStatus};
use crate::domain::event::NewEvent;
use crate::domain::id::{BulkId, WorkerId, WorkspaceId};
use crate::domain::scope::SequenceScope;
use crate::store::lead::change::Change;
use crate::store::{self, StoreError, dialect};

/// The most items of one chunk.
pub const CHUNK_MAX: usize = 500;
/// The most items that a request may name one by one.
pub const SELECTION_MAX: usize = 20_000;

/// An operation, as its chunks see it.
#[derive(Debug, Clone)]
pub struct Operation {
    /// Its id.
    pub id: BulkId,
    /// Whose it is; every statement of a chunk is bound to it.
    pub workspace: WorkspaceId,
    /// What it does.
    pub kind: BulkKind,
    /// What it was submitted with.
    pub request: Value,
    /// The sequences that whoever submitted it is limited to.
    pub scope: SequenceScope,
    /// When it was submitted: a filter chooses among what was there then.
    pub submitted_at: DateTime<Utc>,
    /// How many items were selected, where an earlier chunk has told.
    pub total: Option<i64>,
    /// How many items are done.
    pub processed: i64,
}

/// What became of one item.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// The lead or person concerned, or the line of an import.
    pub subject: String,
    /// What became of it.
    pub code: BulkOutcomeCode,
    /// The same for people; says the remedy where there is one.
    pub message: String,
}

/// What a chunk did in the transaction that it was given.
#[derive(Debug, Default)]
pub struct Chunk {
    /// What became of each of its items, in order; at most [`CHUNK_MAX`].
    pub outcomes: Vec<Outcome>,
    /// What the next chunk needs to know to begin where this one ended; `None`: this was the last.
    pub progress: Option<Value>,
    /// How many items are selected in all, where that is known now.
    pub total: Option<i64>,
    /// What happened, for the log; the frame appends it as the last thing before the commit.
    pub events: Vec<NewEvent>,
}

/// Why a chunk could not be carried out. The transaction is undone, whatever it did.
#[derive(Debug, thiserror::Error)]
pub enum ChunkError {
    /// The store failed; the chunk is tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The operation can never go on: its request or progress cannot be read.
    #[error("{0}")]
    Broken(String),
}

/// Reads what is kept with an operation.
fn read<T: serde::de::DeserializeOwned>(kept: Value) -> Result<T, ChunkError> {
    serde_json::from_value(kept)
        .map_err(|error| ChunkError::Broken(format!("what is kept of it cannot be read: {error}")))
}

/// Carries out the next chunk of an operation. `progress` is what the chunk before answered,
/// `Null` for the first one.
///
/// `workbench` keeps what would be costly to begin anew for each chunk; nothing in it may matter
/// for the result.
async fn chunk(
    services: &Services,
    tx: &DatabaseTransaction,
    workbench: &mut Workbench,
    operation: &Operation,
    progress: Value,
) -> Result<Chunk, ChunkError> {
    match operation.kind {
        BulkKind::ImportPeople => {
            import::chunk(services, tx, &mut workbench.imports, operation, progress).await
        }
        BulkKind::Enrol => enrol::chunk(services, tx, operation, progress).await,
        BulkKind::Pause => {
            lead_change::chunk(services, tx, operation, Change::Pause, progress).await
        }
        BulkKind::Resume => {
            lead_change::chunk(services, tx, operation, Change::Resume, progress).await
        }
        BulkKind::Remove => {
            lead_change::chunk(services, tx, operation, Change::Remove, progress).await
        }
        BulkKind::Undo => undo::chunk(services, tx, operation, progress).await,
    }
}

/// What is kept between the chunks that one process carries out.
#[derive(Default)]
pub struct Workbench {
    imports: import::Readers,
}

impl Workbench {
    /// Forgets what was kept for an operation.
    fn clear(&mut self, id: BulkId) {
        self.imports.forget(id);
    }
}

/// Where an operation stands after a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is more to do.
    More {
        /// How many items are done.
        processed: i64,
    },
    /// It is over, or somebody else works on it.
    Over,
}

/// Carries out one chunk of an operation that `worker` holds (`None`: nobody does), in one
/// transaction of its own. A chunk that panics or finds its request unreadable fails the operation.
///
/// The caller rings `wake.due()` afterwards; the bell of the log is rung here.
async fn step(
    services: &Services,
    workbench: &mut Workbench,
    workspace: WorkspaceId,
    id: BulkId,
    worker: Option<WorkerId>,
) -> Result<Step, StoreError> {
    let tx = services.db.begin().await?;
    let Some(row) = store::bulk::lock_open(&tx, workspace, id, worker).await? else {
        return Ok(Step::Over);
    };
    let kind = row
        .kind
        .parse()
        .map_err(|_| StoreError::corrupt("bulk kind", &row.kind))?;
    let operation = Operation {
        id,
        workspace,
        kind,
        request: row.request,
        scope: store::scope::read(row.sequence_ids.as_ref())?,
        submitted_at: from_ms(row.created_at),
        total: row.total,
        processed: row.processed,
    };
    let progress = row.progress.unwrap_or(Value::Null);
    let work = chunk(services, &tx, workbench, &operation, progress);
    let done = match AssertUnwindSafe(work).catch_unwind().await {
        Ok(Ok(done)) => done,
        Ok(Err(ChunkError::Store(error))) if !matches!(error, StoreError::Corrupt { .. }) => {
            return Err(error);
        }
        Ok(Err(error)) => {
            tx.rollback().await?;
            return fail(services, workspace, id, worker, error.to_string()).await;
        }
        Err(_panic) => {
            tx.rollback().await?;
            let reason = "an internal error, which the server's log tells about".to_owned();
            return fail(services, workspace, id, worker, reason).await;
        }
    };
    let processed = operation.processed + i64::try_from(done.outcomes.len()).unwrap_or(i64::MAX);
    let over = done.progress.is_none();
    settle(services, &tx, &operation, done).await?;
    tx.commit().await?;
    services.wake.log();
    statistics::follow(services, kind, operation.processed..processed, over).await;
    Ok(if over {
        Step::Over
    } else {
        Step::More { processed }
    })
}

/// Writes down what a chunk did, the events last.
async fn settle(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    done: Chunk,
) -> Result<(), StoreError> {
    let (workspace, id) = (operation.workspace, operation.id);
    let outcomes: Vec<_> = done
        .outcomes
        .iter()
        .map(|outcome| {
            (
                outcome.subject.as_str(),
                outcome.code,
                outcome.message.as_str(),
            )
        })
        .collect();
    store::bulk::insert_outcomes(tx, workspace, id, operation.processed + 1, &outcomes).await?;
    let count = |which| {
        let of_it = done
            .outcomes
            .iter()
            .filter(|outcome| outcome.code.count() == which)
            .count();
        i64::try_from(of_it).unwrap_or(i64::MAX)
    };
    let over = done.progress.is_none();
    let advance = store::bulk::Advance {
        status: if over {
            BulkStatus::Completed
        } else {
            BulkStatus::Running
        },
        total: done.total,
        succeeded: count(BulkCount::Succeeded),
        skipped: count(BulkCount::Skipped),
        failed: count(BulkCount::Failed),
        progress: done.progress,
        error: None,
    };
    store::bulk::advance(tx, workspace, id, advance, services.clock.now()).await?;
    if over {
        store::bulk::delete_input(tx, workspace, id).await?;
    }
    if done.events.is_empty() {
        // Nodes that show the counts hear of them even where nothing is logged.
        return dialect::notify(tx).await;
    }
    store::event::append(tx, workspace, done.events).await
}

/// Marks an operation as failed; what its earlier chunks did stays.
async fn fail(
    services: &Services,
    workspace: WorkspaceId,
    id: BulkId,
    worker: Option<WorkerId>,
    reason: String,
) -> Result<Step, StoreError> {
    tracing::error!(bulk.id = %id, reason, "a bulk operation failed");
    let tx = services.db.begin().await?;
    let Some(row) = store::bulk::lock_open(&tx, workspace, id, worker).await? else {
        return Ok(Step::Over);
    };
    let advance = store::bulk::Advance {
        status: BulkStatus::Failed,
        total: None,
        succeeded: 0,
        skipped: 0,
        failed: 0,
        progress: row.progress,
        error: Some(reason),
    };
    store::bulk::advance(&tx, workspace, id, advance, services.clock.now()).await?;
    store::bulk::delete_input(&tx, workspace, id).await?;
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.log();
    Ok(Step::Over)
}

/// Whether somebody may see an operation of their workspace and end it: one who is limited to some
/// sequences sees those that were limited to them too.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn may_see(caller: &Caller, row: &store::bulk::Row) -> Result<bool, StoreError> {
    let scope = store::scope::read(row.sequence_ids.as_ref())?;
    Ok(scope.is_within(&caller.scope))
}

fn missing() -> Refusal {
    let message = "There is no bulk operation with this id; take the id from the answer that \
                   submitted it.";
    Refusal::not_found(message, &["id"])
}

/// Ends an operation before every item had its turn; what is done stays done. An operation that is
/// over already stays as it is.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such operation, or the caller may
/// not see it; [`AppError::Store`] as the database has it.
pub async fn cancel(services: &Services, caller: &Caller, id: BulkId) -> Result<BulkId, AppError> {
    let tx = services.db.begin().await?;
    let found = store::bulk::find(&tx, caller.workspace, id).await?;
    let seen = found.map(|row| may_see(caller, &row)).transpose()?;
    if seen != Some(true) {
        return Err(missing().into());
    }
    if store::bulk::cancel(&tx, caller.workspace, id, services.clock.now()).await? {
        store::bulk::delete_input(&tx, caller.workspace, id).await?;
        dialect::notify(&tx).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    Ok(id)
}
