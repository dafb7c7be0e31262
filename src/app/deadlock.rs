//! Transactions that wait for each other in a circle, and of which PostgreSQL ends one.
//!
//! Rows are locked in one order wherever that is possible: people, then leads, each by id. Where a
//! transaction learns only on its way whose rows it needs, that order cannot be kept, and what was ended is
//! carried out again. On SQLite a transaction that writes is alone.

use std::future::Future;

use super::AppError;

/// Each time one of the circle has come through; so many at once for the same rows are not expected.
const TRIES: usize = 5;

/// Carries out `work`, which is one transaction from begin to commit, and again while the database ends it
/// in favour of another: then nothing of it has happened.
///
/// # Errors
/// Those of `work`.
pub(super) async fn repeated<T, F>(work: impl Fn() -> F) -> Result<T, AppError>
where
    F: Future<Output = Result<T, AppError>>,
{
    for _ in 1..TRIES {
        match work().await {
            Err(AppError::Store(error)) if error.was_deadlocked() => {
                tracing::debug!("a transaction was ended in favour of another, and is repeated");
            }
            ended => return ended,
        }
    }
    work().await
}
