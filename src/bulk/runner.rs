//! The runner: carries on with the operations that were too large to be done at once, and with
//! those that a process left when it died.
//!
//! Several operations advance in turn, a chunk of each, so that a large one delays no other. A
//! lost wake-up costs a few seconds, as the runner also looks by itself.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

pub use super::rounds::Round;
use super::rounds::{GoesRound, LOOK_AT_LEAST, go_round, wait_after};
use super::{Step, Workbench, fail, step};
use crate::app::Services;
use crate::domain::id::{BulkId, WorkerId, WorkspaceId};
use crate::store::{self, StoreError};

/// How often the same chunk may fail while the database is there.
const TRIES_MAX: u32 = 8;
/// A runner that holds so many operations takes no more; others wait, or another node takes them.
const HELD_ENOUGH: usize = 16;

/// Carries on with bulk operations, as the worker of its process.
pub struct Runner {
    services: Services,
    worker: Arc<dyn Fn() -> WorkerId + Send + Sync>,
    workbench: Workbench,
    held: HashMap<BulkId, Held>,
}

/// An operation that this runner holds.
struct Held {
    workspace: WorkspaceId,
    worker: WorkerId,
    failures: u32,
    not_before: Option<DateTime<Utc>>,
}

impl Runner {
    /// A runner that holds nothing yet. `worker` tells under which name this process is a worker
    /// at the moment; what is held by a worker without a row is free for everybody.
    pub fn new(services: Services, worker: impl Fn() -> WorkerId + Send + Sync + 'static) -> Self {
        let worker = Arc::new(worker);
        Self {
            services,
            worker,
            workbench: Workbench::default(),
            held: HashMap::new(),
        }
    }

    /// Works until `shutdown` is cancelled; ends between two chunks and gives up what it holds.
    pub async fn run(mut self, shutdown: CancellationToken) {
        go_round(&mut self, &shutdown).await;
        if let Err(error) = self.leave().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "bulk operations could not be given up; they are taken over all the same"
            );
        }
    }

    /// Takes what is free and carries out one chunk of each operation whose turn it is.
    ///
    /// # Errors
    /// [`StoreError`] where looking for work failed; a chunk that fails is tried again later.
    pub async fn round(&mut self) -> Result<Round, StoreError> {
        self.take_free().await?;
        let mut ids: Vec<BulkId> = self.held.keys().copied().collect();
        ids.sort_unstable();
        let mut rest_until = self.services.clock.after_real(LOOK_AT_LEAST);
        let mut more = false;
        for id in ids {
            let now = self.services.clock.now();
            match self.held.get(&id) {
                None => {}
                Some(Held {
                    not_before: Some(at),
                    ..
                }) if *at > now => {
                    rest_until = rest_until.min(*at);
                }
                Some(held) => {
                    let (workspace, worker) = (held.workspace, held.worker);
                    more |= self.turn(id, workspace, worker).await;
                }
            }
        }
        Ok(if more {
            Round::More
        } else {
            Round::Rest(rest_until)
        })
    }

    async fn take_free(&mut self) -> Result<(), StoreError> {
        // Each import that is held reads its file on a thread of its own.
        if self.held.len() >= HELD_ENOUGH {
            return Ok(());
        }
        // The look costs no writer its turn; most of the time there is nothing.
        if !store::bulk::any_free(self.services.db.read()).await? {
            return Ok(());
        }
        let worker = (self.worker)();
        let tx = self.services.db.begin().await?;
        let taken = store::bulk::claim(&tx, worker).await?;
        tx.commit().await?;
        for (workspace, id) in taken {
            self.held.insert(
                id,
                Held {
                    workspace,
                    worker,
                    failures: 0,
                    not_before: None,
                },
            );
        }
        Ok(())
    }

    /// One chunk of one operation; answers whether there is more to do at once.
    async fn turn(&mut self, id: BulkId, workspace: WorkspaceId, worker: WorkerId) -> bool {
        let stepped = step(
            &self.services,
            &mut self.workbench,
            workspace,
            id,
            Some(worker),
        )
        .await;
        let outcome = match stepped {
            Err(error) => self.failed(id, workspace, worker, error).await,
            Ok(step) => {
                // Leads may be due now that were not before.
                self.services.wake.due();
                Some(step)
            }
        };
        match outcome {
            Some(Step::Over) => {
                self.held.remove(&id);
                self.workbench.clear(id);
                false
            }
            Some(Step::More { .. }) => {
                if let Some(held) = self.held.get_mut(&id) {
                    held.failures = 0;
                    held.not_before = None;
                }
                true
            }
            None => false,
        }
    }

    /// Decides what becomes of a chunk that failed: later again, or, if it fails always though the
    /// database is there, never.
    async fn failed(
        &mut self,
        id: BulkId,
        workspace: WorkspaceId,
        worker: WorkerId,
        error: StoreError,
    ) -> Option<Step> {
        let held = self.held.get_mut(&id)?;
        held.failures = held.failures.saturating_add(1);
        let wait = wait_after(held.failures);
        held.not_before = Some(self.services.clock.after_real(wait));
        let hopeless = match &error {
            StoreError::Corrupt { .. } | StoreError::Unusable(_) => true,
            _ => held.failures >= TRIES_MAX && !error.may_pass(),
        };
        tracing::warn!(bulk.id = %id, error = &error as &dyn std::error::Error,
            "a chunk of a bulk operation failed; {}",
            if hopeless { "the operation is given up" } else { "it is tried again" });
        if !hopeless {
            return None;
        }
        let reason = error.to_string();
        fail(&self.services, workspace, id, Some(worker), reason)
            .await
            .ok()
    }

    /// Gives up what this runner holds.
    async fn leave(&self) -> Result<(), StoreError> {
        let mut workers: Vec<WorkerId> = self.held.values().map(|held| held.worker).collect();
        workers.sort_unstable();
        workers.dedup();
        for worker in workers {
            store::bulk::release(self.services.db.write(), worker).await?;
        }
        Ok(())
    }
}

impl GoesRound for Runner {
    const WORK: &'static str = "bulk operations";

    fn services(&self) -> &Services {
        &self.services
    }

    async fn go(&mut self) -> Result<Round, StoreError> {
        self.round().await
    }
}
