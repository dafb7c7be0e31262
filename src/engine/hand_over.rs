//! Hand over: the last look right before a message goes, many messages in one commit.
//!
//! Every message needs a committed mark before its first byte leaves. A commit for each would cap
//! the engine at the disk's speed, so whoever comes while a commit is under way joins the next one.

use std::collections::{HashMap, HashSet};

use tokio::sync::{mpsc, oneshot};

use super::turn::Turns;
use super::{Claimed, Engine, Result};
use crate::domain::id::{ExecutionId, SenderId, WorkerId};
use crate::domain::schedule;
use crate::engine::plan;
use crate::store::StoreError;
use crate::store::dispatch as rows;

/// How many messages one commit hands over.
const HAND_OVER_MAX: usize = 512;

impl Engine {
    /// Whether the window of a claimed message is open at this very moment.
    pub fn window_is_open(&self, claimed: &Claimed) -> bool {
        let calendar = plan::calendar(
            &claimed.version,
            &claimed.sender.zone,
            claimed.person_zone.as_ref(),
        );
        schedule::is_open(self.clock.now(), &calendar)
    }

    /// The last look: which of these executions of `worker` may be sent. They are marked as handed
    /// over in the same transaction; the others must be recorded as released.
    ///
    /// # Errors
    /// As the database has it; then none of them may be sent.
    pub async fn hand_over(
        &self,
        worker: WorkerId,
        executions: &[ExecutionId],
    ) -> Result<Vec<ExecutionId>> {
        let tx = self.db.begin().await?;
        let granted = rows::hand_over(&tx, worker, executions, self.clock.now()).await?;
        tx.commit().await.map_err(StoreError::from)?;
        Ok(granted)
    }
}

/// A request for the last look.
pub(super) struct Asking {
    worker: WorkerId,
    execution: ExecutionId,
    sender: SenderId,
    answer: oneshot::Sender<bool>,
}

/// Where dispatchers ask.
#[derive(Clone)]
pub(super) struct HandOverDesk(mpsc::Sender<Asking>);

impl HandOverDesk {
    pub(super) fn open() -> (Self, mpsc::Receiver<Asking>) {
        let (sender, receiver) = mpsc::channel(HAND_OVER_MAX * 4);
        (Self(sender), receiver)
    }

    /// Whether the message may go. `false` also when the engine is ending or the database fails:
    /// not sending is always safe.
    pub(super) async fn ask(&self, claimed: &Claimed) -> bool {
        let (answer, answered) = oneshot::channel();
        if self
            .0
            .send(Asking {
                worker: claimed.worker,
                execution: claimed.execution_id,
                sender: claimed.sender_id(),
                answer,
            })
            .await
            .is_err()
        {
            return false;
        }
        answered.await.unwrap_or(false)
    }
}

/// Serves the desk until everybody who could ask has gone.
pub(super) async fn serve(engine: &Engine, mut desk: mpsc::Receiver<Asking>, turns: &Turns) {
    let mut asking = Vec::with_capacity(HAND_OVER_MAX);
    while desk.recv_many(&mut asking, HAND_OVER_MAX).await > 0 {
        // A worker that lost its lease has another name from then on: the two are not mixed.
        while let Some(worker) = asking.first().map(|first| first.worker) {
            let (now, later): (Vec<_>, Vec<_>) =
                asking.drain(..).partition(|one| one.worker == worker);
            asking = later;
            let ids: Vec<ExecutionId> = now.iter().map(|one| one.execution).collect();
            let granted: HashSet<ExecutionId> = match engine.hand_over(worker, &ids).await {
                Ok(granted) => granted.into_iter().collect(),
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn std::error::Error,
                        "the last look failed; its messages are released and claimed again"
                    );
                    HashSet::new()
                }
            };
            let mut by_sender: HashMap<SenderId, usize> = HashMap::new();
            for one in now.iter().filter(|one| granted.contains(&one.execution)) {
                *by_sender.entry(one.sender).or_default() += 1;
            }
            for (sender, count) in by_sender {
                turns.handed_over(sender, count);
            }
            for one in now {
                // A dispatcher that is gone needs no answer; its message stays marked and is found
                // by the rescue.
                if one.answer.send(granted.contains(&one.execution)).is_err() {
                    tracing::debug!(execution.id = %one.execution, "nobody waits for the last look");
                }
            }
        }
    }
}
