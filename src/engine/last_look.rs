//! The last look, right before a message leaves.
//!
//! A claim looks at everything that could forbid a message, in the transaction that marks it as
//! being sent. What was stopped between its commit and the wire stays: each message is looked at once
//! more when its connection is free. Messages that are ready at the same time are looked at together.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::sync::oneshot::error::TryRecvError;

use super::{Claimed, Engine, Result, plan};
use crate::domain::id::{ExecutionId, WorkerId};
use crate::domain::{gate, schedule};
use crate::store::dispatch as rows;

/// So long a look may take: a connection that has died must not hold up all that is to be sent.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// The most messages of one look.
const TOGETHER_MAX: usize = 500;

/// Messages that wait to be looked at: while one look is under way, they gather for the next.
#[derive(Default)]
pub(super) struct Looks {
    waiting: Mutex<Vec<Waiting>>,
    turn: tokio::sync::Mutex<()>,
}

struct Waiting {
    worker: WorkerId,
    execution: ExecutionId,
    answer: oneshot::Sender<bool>,
}

impl Looks {
    fn waiting(&self) -> MutexGuard<'_, Vec<Waiting>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn enter(&self, worker: WorkerId, execution: ExecutionId) -> oneshot::Receiver<bool> {
        let (answer, answered) = oneshot::channel();
        self.waiting().push(Waiting {
            worker,
            execution,
            answer,
        });
        answered
    }

    fn next(&self) -> Vec<Waiting> {
        let mut waiting = self.waiting();
        let count = waiting.len().min(TOGETHER_MAX);
        waiting.drain(..count).collect()
    }
}

impl Engine {
    /// Whether a claimed message may leave now. One that may not must be recorded as released.
    ///
    /// # Errors
    /// As the database has it; then the message must not be sent.
    pub async fn may_leave(&self, claimed: &Claimed) -> Result<bool> {
        if !self.look(claimed.worker, claimed.execution_id).await? {
            return Ok(false);
        }
        let Some(sender) = &claimed.sender else {
            return Ok(true);
        };
        // Asked last: the look may have taken its time.
        let now = self.clock.now();
        let calendar = plan::calendar(&claimed.version, &sender.zone, &claimed.whereabouts);
        if gate::window(&calendar, now).is_some() {
            return Ok(false);
        }
        // It counts on the day of its claim, and today's caps know nothing of it.
        let is_another_day =
            |zone| schedule::local_day(now, zone) != schedule::local_day(claimed.claimed_at, zone);
        let of_workspace = claimed.counted.as_ref().map(|counted| &counted.zone);
        let mut clocks = [&sender.zone, &claimed.version.zone]
            .into_iter()
            .chain(of_workspace);
        Ok(!clocks.any(is_another_day))
    }

    /// Looks at the message, with all that wait for the same; or another one does. Where a look fails, or takes
    /// too long, none of those that were part of it leaves.
    async fn look(&self, worker: WorkerId, execution: ExecutionId) -> Result<bool> {
        let mut answered = self.looks.enter(worker, execution);
        loop {
            let _turn = self.looks.turn.lock().await;
            match answered.try_recv() {
                Ok(may) => return Ok(may),
                Err(TryRecvError::Closed) => return Ok(false),
                Err(TryRecvError::Empty) => {}
            }
            let batch = self.looks.next();
            let asked: Vec<_> = batch
                .iter()
                .map(|one| (one.worker, one.execution))
                .collect();
            let looking = rows::may_leave(self.db.read(), &asked, self.clock.now());
            let Ok(seen) = tokio::time::timeout(LOOK_WITHIN, looking).await else {
                tracing::warn!(messages = batch.len(), "the last look took too long");
                return Ok(false);
            };
            let may_leave = seen?;
            for one in batch {
                let may = may_leave.contains(&one.execution);
                if one.answer.send(may).is_err() {
                    tracing::debug!(execution.id = %one.execution, "its task has ended meanwhile");
                }
            }
        }
    }
}
