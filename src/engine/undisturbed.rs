//! Record, where nothing has come between: messages that were sent and whose leads are still as
//! their claim left them, which is nearly every message.
//!
//! Recording reads rows, locks them and then works out what becomes of them. Here that is worked out
//! before the transaction begins, from what the claim knew, and the database only says whether it
//! all still holds. If anything does not, all of it is recorded the careful way.

use super::record::{Ending, Recording, sequences_of};
use super::{Claimed, Engine, Result};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{WorkerId, WorkspaceId};
use crate::domain::outcome::Outcome;
use crate::store::dispatch::OpenExecution;
use crate::store::{StoreError, lane};

/// Whether an ending can be recorded like this.
pub(super) fn is_sent_by(worker: WorkerId, (claimed, ending): &(Claimed, Ending)) -> bool {
    claimed.worker == worker && matches!(ending, Ending::Dispatched(Outcome::Sent { .. }, _))
}

impl Engine {
    /// Records messages of one workspace that `worker` claimed and sent. `false` where something
    /// has come between for any of them: then nothing was recorded.
    pub(super) async fn record_undisturbed(
        &self,
        workspace: WorkspaceId,
        worker: WorkerId,
        sent: &[&(Claimed, Ending)],
    ) -> Result<bool> {
        let mut recording = Recording::new(self, workspace);
        let versions = sent.iter().map(|one| &one.0.version);
        recording.read_zones(self.db.read(), versions).await?;
        for (claimed, ending) in sent {
            recording.note(as_claimed(claimed), claimed, ending, &claimed.version)?;
        }
        let tx = self.db.begin().await?;
        let running = lane::running_versions(&tx, &sequences_of(sent)).await?;
        if !sent.iter().all(|one| running.contains(&one.0.version.id)) {
            tx.rollback().await.map_err(StoreError::from)?;
            return Ok(false);
        }
        let Some(progressed) = recording.write_undisturbed(&tx, worker).await? else {
            tx.rollback().await.map_err(StoreError::from)?;
            return Ok(false);
        };
        tx.commit().await.map_err(StoreError::from)?;
        if progressed {
            self.wake.log();
        }
        Ok(true)
    }
}

/// The execution as its claim left it.
fn as_claimed(claimed: &Claimed) -> OpenExecution {
    OpenExecution {
        id: claimed.execution_id,
        status: ExecutionStatus::Sending,
        attempt: claimed.attempt,
        worker_id: Some(claimed.worker),
        step_key: claimed.step_key.clone(),
        channel: match &claimed.sender {
            Some(sender) => Some(sender.channel),
            None => Some(Channel::Webhook),
        },
        sender_id: claimed.sender_id(),
        workspace: claimed.workspace,
        quota_day: claimed.quota_day.clone(),
        started_at: Some(claimed.claimed_at.timestamp_millis()),
        version: claimed.version.id,
        current_version: Some(claimed.version.id),
        // Only a bounce and an opt-out ask for it.
        lead: claimed.lead.clone(),
    }
}
