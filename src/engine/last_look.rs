//! The last look, right before a message leaves.
//!
//! A claim looks at everything that could forbid a message, in the transaction that marks it as
//! being sent, and messages leave right after that commit. One that had to wait, for a connection or
//! because the process stood still, is looked at again: whatever was stopped meanwhile stays.

use chrono::Duration;

use super::{Claimed, Engine, Result, plan};
use crate::domain::{gate, schedule};
use crate::store::dispatch as rows;

/// So long after its claim a message is as its claim saw it, but for its window and its day, which are
/// always asked for.
pub const FRESH: Duration = Duration::seconds(1);

impl Engine {
    /// Whether a claimed message may leave now. One that may not must be recorded as released.
    ///
    /// # Errors
    /// As the database has it; then the message must not be sent.
    pub async fn may_leave(&self, claimed: &Claimed) -> Result<bool> {
        let now = self.clock.now();
        if let Some(sender) = &claimed.sender {
            let calendar = plan::calendar(&claimed.version, &sender.zone, &claimed.whereabouts);
            if gate::window(&calendar, now).is_some() {
                return Ok(false);
            }
            // It counts on the day of its claim, and today's caps know nothing of it.
            let is_another_day = |zone| {
                schedule::local_day(now, zone) != schedule::local_day(claimed.claimed_at, zone)
            };
            let of_workspace = claimed.counted.as_ref().map(|counted| &counted.zone);
            let mut clocks = [&sender.zone, &claimed.version.zone]
                .into_iter()
                .chain(of_workspace);
            if clocks.any(is_another_day) {
                return Ok(false);
            }
        }
        // A clock that was set back tells nothing of how long it waited.
        if (Duration::zero()..=FRESH).contains(&(now - claimed.claimed_at)) {
            return Ok(true);
        }
        let (worker, execution) = (claimed.worker, claimed.execution_id);
        Ok(rows::may_leave(self.db.read(), worker, execution, now).await?)
    }
}
