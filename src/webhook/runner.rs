//! The runner: takes subscriptions for which there is something in the log, and delivers each in a task
//! of its own.
//!
//! A lost wake-up costs a few seconds, as the runner also looks by itself.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures_util::FutureExt;
use tokio::task::{JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::deliver::deliver;
use crate::app::Services;
use crate::bulk::rounds::{LOOK_AT_LEAST, wait_after};
use crate::clock::from_ms;
use crate::domain::id::WorkerId;
use crate::store::StoreError;
use crate::store::webhook::{self, Held};

/// A runner that delivers so many at once takes no more; others wait, or another node takes them.
pub const HELD_ENOUGH: usize = 256;
/// However often the log's bell rings, the runner looks no more often.
const LOOK_AT_MOST: Duration = Duration::from_millis(20);

/// Delivers webhook subscriptions, as the worker of its process.
pub struct Runner {
    services: Services,
    worker: Arc<dyn Fn() -> WorkerId + Send + Sync>,
    tasks: JoinSet<Ended>,
    /// What a task that broke off still holds.
    owed: Vec<Held>,
    /// How many it delivers at once.
    at_most: usize,
    failures: u32,
}

/// How a task ended: with a subscription that is still held, if it broke off.
type Ended = Option<Held>;

impl Runner {
    /// A runner that holds nothing yet. `worker` tells under which name this process is a worker
    /// at the moment; what is held by a worker without a row is free for everybody.
    pub fn new(services: Services, worker: impl Fn() -> WorkerId + Send + Sync + 'static) -> Self {
        Self {
            services,
            worker: Arc::new(worker),
            tasks: JoinSet::new(),
            owed: Vec::new(),
            at_most: HELD_ENOUGH,
            failures: 0,
        }
    }

    /// The same, which delivers no more than so many at once.
    #[must_use]
    pub const fn at_most(mut self, at_most: usize) -> Self {
        self.at_most = at_most;
        self
    }

    /// Works until `shutdown` is cancelled; then ends between two deliveries and gives up what it holds.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let services = self.services.clone();
        let (mut log, mut due) = (services.wake.on_log(), services.wake.on_due());
        let mut looks = interval(LOOK_AT_MOST);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while !shutdown.is_cancelled() {
            // It spaces looks out, and decides nothing.
            looks.tick().await;
            let rest_until = self.look(&shutdown).await;
            // Each of these may be dropped at any point: it holds nothing.
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = log.changed() => {}
                _ = due.changed() => {}
                Some(ended) = self.tasks.join_next() => self.note(ended),
                () = services.clock.sleep_until(rest_until) => {}
            }
        }
        while let Some(ended) = self.tasks.join_next().await {
            self.note(ended);
        }
        if let Err(error) = self.give_up_owed().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "webhook subscriptions could not be given up; they are taken over all the same"
            );
        }
    }

    /// Looks for work; answers until when there is none unless a bell rings.
    async fn look(&mut self, shutdown: &CancellationToken) -> DateTime<Utc> {
        match self.round(shutdown).await {
            Ok(rest_until) => {
                self.failures = 0;
                rest_until
            }
            Err(error) => {
                self.failures = self.failures.saturating_add(1);
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "looking for webhooks to deliver failed; it is tried again"
                );
                self.services.clock.after_real(wait_after(self.failures))
            }
        }
    }

    /// Takes what is free and begins to deliver it.
    async fn round(&mut self, shutdown: &CancellationToken) -> Result<DateTime<Utc>, StoreError> {
        self.give_up_owed().await?;
        while let Some(Ok(ended)) = self.tasks.try_join_next() {
            self.owed.extend(ended);
        }
        let now = self.services.clock.now();
        let room = self.at_most.saturating_sub(self.tasks.len());
        // The look costs no writer its turn; most of the time there is nothing.
        if room > 0 && webhook::any_free(self.services.db.read(), now).await? {
            let tx = self.services.db.begin().await?;
            let taken = webhook::claim(&tx, (self.worker)(), room, now).await?;
            tx.commit().await?;
            for held in taken {
                self.begin(held, shutdown);
            }
        }
        let rest_until = self.services.clock.after_real(LOOK_AT_LEAST);
        let retry_at = webhook::next_retry(self.services.db.read(), now).await?;
        Ok(retry_at.map_or(rest_until, |at| from_ms(at).min(rest_until)))
    }

    fn begin(&mut self, held: Held, shutdown: &CancellationToken) {
        let (services, shutdown) = (self.services.clone(), shutdown.clone());
        self.tasks.spawn(async move {
            let delivered = AssertUnwindSafe(deliver(&services, held, &shutdown)).catch_unwind();
            match delivered.await {
                Ok(Ok(())) => return None,
                Ok(Err(error)) => tracing::warn!(webhook.id = %held.id,
                    error = &error as &dyn std::error::Error,
                    "delivering webhooks broke off; it is taken up again"),
                Err(_panic) => tracing::error!(webhook.id = %held.id,
                    "delivering webhooks broke off by an internal error; it is taken up again"),
            }
            // A database that fails is not asked again and again at once.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = services.clock.sleep_real(wait_after(2)) => {}
            }
            Some(held)
        });
    }

    fn note(&mut self, ended: Result<Ended, JoinError>) {
        match ended {
            Ok(ended) => self.owed.extend(ended),
            Err(error) => tracing::error!(%error, "a task of webhooks ended badly"),
        }
    }

    async fn give_up_owed(&mut self) -> Result<(), StoreError> {
        while let Some(held) = self.owed.last().copied() {
            webhook::release(self.services.db.write(), held).await?;
            self.owed.pop();
        }
        Ok(())
    }
}
