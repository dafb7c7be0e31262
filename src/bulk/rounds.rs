//! Going round: how a runner works through what is queued, sleeps, and tries again what failed.

use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::app::Services;
use crate::store::StoreError;

/// A runner looks for work at least this often, should every bell have been missed.
pub const LOOK_AT_LEAST: Duration = Duration::from_secs(5);
/// How long after a failure something is tried again; it doubles with each further one.
const RETRY_FIRST: Duration = Duration::from_millis(500);
/// The longest time between two tries.
const RETRY_MOST: Duration = Duration::from_secs(60);

/// What a round of a runner left.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Round {
    /// There may be more to do at once.
    More,
    /// Nothing to do before this instant, unless it is woken.
    Rest(DateTime<Utc>),
}

/// How long to wait after so many failures in a row, of which there was at least one.
pub fn wait_after(failures: u32) -> Duration {
    let wait = RETRY_FIRST.saturating_mul(1 << failures.min(10)) / 2;
    wait.min(RETRY_MOST)
}

/// One who works through what is queued.
pub trait GoesRound: Send {
    /// What it works through, for the log.
    const WORK: &'static str;

    /// What it works with.
    fn services(&self) -> &Services;

    /// Does a part of what is there to do.
    ///
    /// # Errors
    /// [`StoreError`] where looking for work failed.
    fn go(&mut self) -> impl Future<Output = Result<Round, StoreError>> + Send;
}

/// Goes round until `shutdown` is cancelled; ends between two chunks.
pub async fn go_round<R: GoesRound>(runner: &mut R, shutdown: &CancellationToken) {
    let mut due = runner.services().wake.on_due();
    while !shutdown.is_cancelled() {
        let rest_until = match runner.go().await {
            Ok(Round::More) => continue,
            Ok(Round::Rest(until)) => until,
            Err(error) => {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "looking for {} failed; it is tried again",
                    R::WORK
                );
                runner.services().clock.after_real(RETRY_FIRST * 2)
            }
        };
        // All three may be dropped at any point: they hold nothing.
        tokio::select! {
            () = shutdown.cancelled() => {}
            _ = due.changed() => {}
            () = runner.services().clock.sleep_until(rest_until) => {}
        }
    }
}
