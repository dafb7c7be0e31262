//! Running workflows: what set one off is in the database's queue, and a runner on every node takes it
//! from there.
//!
//! A chunk of one workflow is one transaction: the leads that are made, what came of each run, the
//! count, the events, and the end of what was queued, all of it or nothing. The workflow's row is locked
//! meanwhile, which keeps other nodes from the same workflow and needs no lease: of a process that dies
//! the database lets go by itself. A lost wake-up costs a few seconds, as the runner also looks by itself.

mod run;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

use crate::app::Services;
pub use crate::bulk::rounds::Round;
use crate::bulk::rounds::{GoesRound, LOOK_AT_LEAST, go_round, wait_after};
use crate::domain::id::WorkflowId;
use crate::store::StoreError;
use crate::store::workflow::queue;

/// The most people of one chunk.
pub const CHUNK_MAX: usize = 500;
/// Runs workflows.
pub struct Runner {
    services: Services,
    /// Where the next look at the queue begins, so that each workflow has its turn.
    after: Option<WorkflowId>,
    failing: HashMap<WorkflowId, Failing>,
}

/// A workflow whose last chunk failed.
struct Failing {
    failures: u32,
    not_before: DateTime<Utc>,
}

impl Runner {
    /// A runner that has seen nothing yet.
    pub fn new(services: Services) -> Self {
        Self {
            services,
            after: None,
            failing: HashMap::new(),
        }
    }

    /// Works until `shutdown` is cancelled; ends between two chunks.
    pub async fn run(mut self, shutdown: CancellationToken) {
        go_round(&mut self, &shutdown).await;
    }

    /// Runs one chunk of each of the next workflows that have something to run for.
    ///
    /// # Errors
    /// [`StoreError`] where looking for work failed; a chunk that fails is tried again later.
    pub async fn round(&mut self) -> Result<Round, StoreError> {
        let began_at = self.after.take();
        let pending = queue::pending(self.services.db.read(), began_at).await?;
        let is_end = pending.len() < queue::PENDING_MAX;
        self.after = pending.last().copied().filter(|_| !is_end);
        // Behind the end of a look that began in the middle there is the beginning.
        let mut more = !is_end || began_at.is_some();
        let mut rest_until = self.services.clock.after_real(LOOK_AT_LEAST);
        for workflow in pending {
            let failing = self.failing.get(&workflow);
            match failing.map(|failing| failing.not_before) {
                Some(at) if at > self.services.clock.now() => rest_until = rest_until.min(at),
                _ => more |= self.turn(workflow).await,
            }
        }
        Ok(if more {
            Round::More
        } else {
            Round::Rest(rest_until)
        })
    }

    /// One chunk of one workflow; answers whether it ran for anybody.
    async fn turn(&mut self, workflow: WorkflowId) -> bool {
        match run::chunk(&self.services, workflow).await {
            Ok(ran) => {
                self.failing.remove(&workflow);
                ran
            }
            Err(error) => {
                let failures = self.failing.get(&workflow).map_or(0, |one| one.failures);
                let failures = failures.saturating_add(1);
                // What is queued is never given up.
                let not_before = self.services.clock.after_real(wait_after(failures));
                let failing = Failing {
                    failures,
                    not_before,
                };
                self.failing.insert(workflow, failing);
                tracing::warn!(workflow.id = %workflow, failures,
                    error = &error as &dyn std::error::Error,
                    "running a workflow failed; it is tried again");
                false
            }
        }
    }
}

impl GoesRound for Runner {
    const WORK: &'static str = "workflows to run";

    fn services(&self) -> &Services {
        &self.services
    }

    async fn go(&mut self) -> Result<Round, StoreError> {
        self.round().await
    }
}
