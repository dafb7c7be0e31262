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
pub mod runner;

use std::panic::AssertUnwindSafe;
use std::time::Duration;

use chrono::TimeDelta;
use futures_util::FutureExt;
use sea_orm::DatabaseTransaction;
use serde_json::Value;

use crate::app::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::bulk::{BulkCount, BulkKind, BulkOutcomeCode, BulkStatus};
use crate::domain::event::NewEvent;
use crate::domain::id::{BulkId, WorkerId, WorkspaceId};
use crate::store::lead_selection::Change;
use crate::store::{self, StoreError, dialect};

/// The most items of one chunk.
pub const CHUNK_MAX: usize = 500;
/// How many items [`submit`] does before it leaves the rest to the runner.
const AT_ONCE_ITEMS: i64 = 1_000;
/// For how long [`submit`] goes on before it leaves the rest to the runner.
const AT_ONCE: Duration = Duration::from_millis(250);
/// For how long a key answers the operation that was submitted under it.
const KEY_LIFE: TimeDelta = TimeDelta::hours(24);
/// The longest key, in characters.
const KEY_CHARS_MAX: usize = 255;
/// The size of a piece of input, in bytes.
const PIECE_BYTES: usize = 1 << 20;

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
        BulkKind::Undo => {
            Err(ChunkError::Broken(format!("{} cannot be carried out", operation.kind)))
        }
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

/// Submits an operation, carries out as much of it as takes a moment, and answers its id.
///
/// The same kind and request under the same key within 24 hours answers the first operation and
/// does nothing again. `input` is kept until the operation is over, in pieces.
///
/// # Errors
/// [`AppError::Refused`] with `CONFLICT` if the key was used for something else, with `INVALID` if
/// it is too long; [`AppError::Store`] as the database has it, where nothing was submitted.
pub async fn submit(
    services: &Services,
    caller: &Caller,
    kind: BulkKind,
    request: Value,
    input: Option<String>,
    idempotency_key: Option<String>,
) -> Result<BulkId, AppError> {
    if idempotency_key.as_ref().is_some_and(|key| key.chars().count() > KEY_CHARS_MAX) {
        return Err(refused(RefusalCode::Invalid, format!(
            "The idempotencyKey is longer than {KEY_CHARS_MAX} characters; use a shorter one."
        )));
    }
    let new = store::bulk::NewOperation {
        id: services.entropy.id(services.clock.now()),
        kind,
        request_hash: fingerprint(kind, &request, input.as_deref()),
        request,
        idempotency_key,
    };
    let entered = match enter(services, caller.workspace, &new, input.as_deref()).await {
        // Somebody else entered the same key in the same moment: that one counts.
        Err(AppError::Store(StoreError::Duplicate(_))) => {
            enter(services, caller.workspace, &new, input.as_deref()).await?
        }
        other => other?,
    };
    drop(input);
    match entered {
        Entered::Before(id) => Ok(id),
        Entered::Now => {
            begin(services, caller.workspace, new.id).await;
            Ok(new.id)
        }
    }
}

enum Entered {
    /// The key answers this operation.
    Before(BulkId),
    /// There is a new operation.
    Now,
}

/// One transaction: looks the key up, and enters the operation with its input.
async fn enter(
    services: &Services,
    workspace: WorkspaceId,
    new: &store::bulk::NewOperation,
    input: Option<&str>,
) -> Result<Entered, AppError> {
    let now = services.clock.now();
    let tx = services.db.begin().await?;
    if let Some(key) = &new.idempotency_key
        && let Some(before) = store::bulk::by_key(&tx, workspace, key).await?
    {
        let id = BulkId::from_uuid(before.id);
        if before.created_at > (now - KEY_LIFE).timestamp_millis() {
            if before.request_hash == new.request_hash {
                return Ok(Entered::Before(id));
            }
            return Err(refused(
                RefusalCode::Conflict,
                "This idempotencyKey was used for another input within 24 hours; use a new key \
                 for a new operation."
                    .into(),
            ));
        }
        store::bulk::free_key(&tx, workspace, id).await?;
    }
    store::bulk::insert(&tx, workspace, new, now).await?;
    for (ordinal, piece) in (0..).zip(pieces(input.unwrap_or_default())) {
        store::bulk::insert_input(&tx, workspace, new.id, ordinal, piece).await?;
    }
    tx.commit().await.map_err(StoreError::from)?;
    Ok(Entered::Now)
}

fn refused(code: RefusalCode, message: String) -> AppError {
    AppError::Refused(vec![Refusal { code, message, path: vec!["idempotencyKey".into()] }])
}

/// Carries out what takes a moment. Whatever goes wrong is the runner's to repeat: the operation
/// is entered.
async fn begin(services: &Services, workspace: WorkspaceId, id: BulkId) {
    let mut workbench = Workbench::default();
    let until = services.clock.after_real(AT_ONCE);
    loop {
        match step(services, &mut workbench, workspace, id, None).await {
            Ok(Step::More { processed })
                if processed < AT_ONCE_ITEMS && services.clock.now() < until => {}
            Ok(Step::More { .. } | Step::Over) => break,
            Err(error) => {
                tracing::warn!(bulk.id = %id, error = &error as &dyn std::error::Error,
                    "a bulk operation could not begin at once; the runner goes on with it");
                break;
            }
        }
    }
    // Only now: this bell also wakes the runner, which would take the operation over.
    services.wake.due();
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
    let kind = row.kind.parse().map_err(|_| StoreError::corrupt("bulk kind", &row.kind))?;
    let operation = Operation {
        id,
        workspace,
        kind,
        request: row.request,
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
    Ok(if over { Step::Over } else { Step::More { processed } })
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
        .map(|outcome| (outcome.subject.as_str(), outcome.code, outcome.message.as_str()))
        .collect();
    store::bulk::insert_outcomes(tx, workspace, id, operation.processed + 1, &outcomes).await?;
    let count = |which| {
        let of_it = done.outcomes.iter().filter(|outcome| outcome.code.count() == which).count();
        i64::try_from(of_it).unwrap_or(i64::MAX)
    };
    let over = done.progress.is_none();
    let advance = store::bulk::Advance {
        status: if over { BulkStatus::Completed } else { BulkStatus::Running },
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

/// Ends an operation before every item had its turn; what is done stays done. An operation that is
/// over already stays as it is.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such operation;
/// [`AppError::Store`] as the database has it.
pub async fn cancel(services: &Services, caller: &Caller, id: BulkId) -> Result<BulkId, AppError> {
    let tx = services.db.begin().await?;
    if store::bulk::cancel(&tx, caller.workspace, id, services.clock.now()).await? {
        store::bulk::delete_input(&tx, caller.workspace, id).await?;
        dialect::notify(&tx).await?;
    } else if store::bulk::find(&tx, caller.workspace, id).await?.is_none() {
        return Err(AppError::Refused(vec![Refusal {
            code: RefusalCode::NotFound,
            message: "There is no bulk operation with this id; take the id from the answer that \
                      submitted it."
                .into(),
            path: vec!["id".into()],
        }]));
    }
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    Ok(id)
}

/// What tells one submission from another: SHA-256 of kind, request and input. The order of the
/// fields of an object does not count.
fn fingerprint(kind: BulkKind, request: &Value, input: Option<&str>) -> String {
    let mut context = ring::digest::Context::new(&ring::digest::SHA256);
    context.update(<&str>::from(kind).as_bytes());
    let mut request = request.clone();
    request.sort_all_objects();
    let request = request.to_string();
    for part in [request.as_str(), input.unwrap_or_default()] {
        // The length before each part, so that no two submissions run into the same bytes.
        context.update(&u64::try_from(part.len()).unwrap_or(u64::MAX).to_be_bytes());
        context.update(part.as_bytes());
    }
    context.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A text in pieces of about [`PIECE_BYTES`], none of which cuts a character.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    let mut rest = text;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let (piece, after) = rest.split_at(rest.floor_char_boundary(PIECE_BYTES));
        rest = after;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pieces_join_to_the_text_and_cut_no_character() {
        let text = "é".repeat(PIECE_BYTES) + "x";
        let cut: Vec<&str> = pieces(&format!("a{text}")).map(str::len).map(|_| "").collect();
        assert_eq!(cut.len(), 3);
        let odd = format!("a{text}");
        assert_eq!(pieces(&odd).collect::<String>(), odd);
        assert!(pieces(&odd).all(|piece| piece.len() <= PIECE_BYTES));
        assert_eq!(pieces("").count(), 0);
    }

    #[test]
    fn a_fingerprint_depends_on_what_counts_only() {
        let a = serde_json::json!({"x": 1, "y": {"b": 1, "a": 2}});
        let b = serde_json::json!({"y": {"a": 2, "b": 1}, "x": 1});
        let of = |kind, request: &Value, input| fingerprint(kind, request, input);
        assert_eq!(of(BulkKind::Pause, &a, None), of(BulkKind::Pause, &b, None));
        assert_ne!(of(BulkKind::Pause, &a, None), of(BulkKind::Resume, &a, None));
        assert_ne!(of(BulkKind::Pause, &a, None), of(BulkKind::Pause, &a, Some("x")));
    }
}
