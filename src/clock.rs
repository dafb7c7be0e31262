//! The only reader of wall time.
//!
//! Everything that depends on time asks a [`Clock`]; tests and the simulator move a manual one,
//! and the demo runs one that goes faster.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::sync::watch;

/// Tells the time and waits for it.
#[derive(Clone, Debug)]
pub struct Clock(Arc<Kind>);

#[derive(Debug)]
enum Kind {
    /// The machine's.
    System,
    /// The machine's, but every second counts for `factor` since `start`.
    Accelerated { start: DateTime<Utc>, factor: u32 },
    /// Stands still until it is told to move.
    Manual {
        now_ms: AtomicI64,
        moved: watch::Sender<()>,
    },
}

impl Clock {
    /// The machine's clock.
    pub fn system() -> Self {
        Self(Arc::new(Kind::System))
    }

    /// A clock that starts now and runs `factor` times as fast.
    pub fn accelerated(factor: u32) -> Self {
        Self(Arc::new(Kind::Accelerated {
            start: wall_time(),
            factor: factor.max(1),
        }))
    }

    /// A clock that stands at `now` until [`Clock::advance_to`].
    pub fn manual(now: DateTime<Utc>) -> Self {
        let (moved, _) = watch::channel(());
        Self(Arc::new(Kind::Manual {
            now_ms: AtomicI64::new(now.timestamp_millis()),
            moved,
        }))
    }

    /// The time, in whole milliseconds: what both databases keep exactly.
    pub fn now(&self) -> DateTime<Utc> {
        match &*self.0 {
            Kind::System => whole_ms(wall_time()),
            Kind::Accelerated { start, factor } => {
                let passed = wall_time() - *start;
                let factor = i32::try_from(*factor).unwrap_or(i32::MAX);
                whole_ms(
                    passed
                        .checked_mul(factor)
                        .map_or(*start, |passed| *start + passed),
                )
            }
            Kind::Manual { now_ms, .. } => from_ms(now_ms.load(Ordering::SeqCst)),
        }
    }

    /// Moves a manual clock; other clocks move by themselves and ignore it.
    pub fn advance_to(&self, to: DateTime<Utc>) {
        if let Kind::Manual { now_ms, moved } = &*self.0 {
            now_ms.store(to.timestamp_millis(), Ordering::SeqCst);
            moved.send_replace(());
        }
    }

    /// How many times as fast as real time this clock runs.
    pub fn factor(&self) -> u32 {
        match &*self.0 {
            Kind::System | Kind::Manual { .. } => 1,
            Kind::Accelerated { factor, .. } => *factor,
        }
    }

    /// Returns once the clock shows `at`.
    pub async fn sleep_until(&self, at: DateTime<Utc>) {
        if let Kind::Manual { moved, .. } = &*self.0 {
            let mut moved = moved.subscribe();
            while self.now() < at {
                if moved.changed().await.is_err() {
                    return;
                }
            }
            return;
        }
        loop {
            let Ok(left) = (at - self.now()).to_std() else {
                return;
            };
            if left.is_zero() {
                return;
            }
            // Short turns, so that a wall clock that is set back or forth is noticed.
            let real =
                (left / self.factor()).clamp(Duration::from_millis(1), Duration::from_secs(60));
            nap(real).await;
        }
    }

    /// What this clock will show after `span` of real time.
    pub fn after_real(&self, span: Duration) -> DateTime<Utc> {
        let span = chrono::Duration::from_std(span.saturating_mul(self.factor()))
            .unwrap_or(chrono::Duration::MAX);
        self.now()
            .checked_add_signed(span)
            .unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    /// Returns after `span` of real time; on a manual clock, after as much of its own.
    pub async fn sleep_real(&self, span: Duration) {
        self.sleep_until(self.after_real(span)).await;
    }
}

/// An instant from what the database keeps; out of range becomes the nearest end.
pub fn from_ms(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).unwrap_or(if ms < 0 {
        DateTime::<Utc>::MIN_UTC
    } else {
        DateTime::<Utc>::MAX_UTC
    })
}

fn whole_ms(at: DateTime<Utc>) -> DateTime<Utc> {
    from_ms(at.timestamp_millis())
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that reads the wall clock"
)]
fn wall_time() -> DateTime<Utc> {
    Utc::now()
}

#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that waits for real time"
)]
async fn nap(span: Duration) {
    tokio::time::sleep(span).await;
}
