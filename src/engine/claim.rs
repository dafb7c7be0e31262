//! Claim: due leads of a sender are locked, decided upon, and entered, in one short transaction.
//!
//! Which lanes are open is reckoned before ([`super::lane`]). The earliest instant at which any
//! lane has work is the next wake-up.

use chrono::{DateTime, Duration, Utc};
use sea_orm::DatabaseTransaction;

use super::caps::Caps;
use super::lane::OpenLane;
use super::limits;
use super::taking::Taking;
use super::{Claimed, Engine, LaneId, Result};
use crate::domain::id::{SenderId, SequenceId};
use crate::store::claim::Turn;
use crate::store::{StoreError, lane, worker};

/// How many leads one transaction takes.
pub(super) const CLAIM_MAX: usize = 512;
/// When to look again at a sender that another node was just working on.
pub(super) const CONTENDED: Duration = Duration::milliseconds(250);
/// When to look again while this worker has no lease.
const NO_LEASE: Duration = Duration::seconds(1);

/// What a claim came to.
#[derive(Debug, Default)]
pub struct Claim {
    /// The messages to send.
    pub messages: Vec<Claimed>,
    /// Whether leads were changed, sent or not.
    pub progressed: bool,
    /// Whether workflows have something to run for.
    pub sets_off: bool,
    /// When there will be something to claim, as far as is known now; `None`, nothing waits.
    pub next_at: Option<DateTime<Utc>>,
}

impl Claim {
    pub(super) fn at_latest(&mut self, at: DateTime<Utc>) {
        self.next_at = Some(self.next_at.map_or(at, |next| next.min(at)));
    }
}

impl Engine {
    /// Claims what is due, at most `room` messages, and for a lane at most what `lane_room` answers.
    ///
    /// # Errors
    /// As the database has it; what was claimed before the error stays claimed and is lost to the
    /// caller, so errors of single senders are logged and end only that sender's turn.
    pub async fn claim(
        &self,
        room: usize,
        lane_room: &(dyn Fn(LaneId) -> usize + Send + Sync),
    ) -> Result<Claim> {
        let mut messages = Vec::new();
        let claim = self
            .claim_each(room, lane_room, &mut |claimed| messages.extend(claimed))
            .await?;
        Ok(Claim { messages, ..claim })
    }

    /// Like [`Self::claim`], but the messages of each sender go to `claimed` as soon as their claim is
    /// committed, so that none waits for the claims of other senders.
    pub(super) async fn claim_each(
        &self,
        room: usize,
        lane_room: &(dyn Fn(LaneId) -> usize + Send + Sync),
        claimed: &mut (dyn FnMut(Vec<Claimed>) + Send),
    ) -> Result<Claim> {
        let now = self.clock.now();
        let mut claim = Claim::default();
        let mut left = room;
        for (id, lanes) in self.open_lanes(now, &mut claim).await? {
            let limit = left.min(lane_room(id)).min(CLAIM_MAX);
            let taken = match id {
                // Room comes with the next record, which wakes the loop.
                LaneId::Sender(_) if limit == 0 => continue,
                LaneId::Sender(sender) => self.claim_sender(sender, &lanes, limit).await,
                // Most steps of a sequence's own take no room.
                LaneId::Own(sequence) => self.claim_own(sequence, &lanes, limit).await,
            };
            match taken {
                Ok(taken) => {
                    left -= taken.messages.len().min(left);
                    if taken.progressed {
                        claim.progressed = true;
                        self.wake.log();
                    }
                    if taken.sets_off {
                        self.wake.due();
                    }
                    claimed(taken.messages);
                    if let Some(next_at) = taken.next_at {
                        claim.at_latest(next_at);
                    }
                }
                Err(error) => {
                    tracing::error!(lane = ?id, error = &error as &dyn std::error::Error,
                        "claiming for a lane failed; it is tried again");
                    claim.at_latest(now + Duration::seconds(1));
                }
            }
        }
        Ok(claim)
    }

    /// Claims from a sequence's own lane. Other nodes may do so at once: each lead is taken by one.
    async fn claim_own(
        &self,
        sequence: SequenceId,
        lanes: &[OpenLane],
        limit: usize,
    ) -> Result<Claim> {
        let _turn = self.turn_to_write().await;
        let tx = self.db.begin().await?;
        let now = self.clock.now();
        let worker = self.worker();
        if !worker::holds(&tx, worker, now).await? {
            return put_off(tx, now + NO_LEASE).await;
        }
        let published = lane::keep_published(&tx, &[sequence]).await?;
        let current = lanes
            .iter()
            .find(|lane| published.contains(&lane.version.id));
        let Some(lane) = current else {
            return put_off(tx, now + CONTENDED).await;
        };
        let workspace = lane.version.workspace;
        let mut taking = Taking::new(self, &tx, worker, (workspace, None), None, limit, now);
        for turn in [Turn::FollowUp, Turn::First] {
            if lane.is_due(turn) {
                taking.take_from_lane(lane, turn).await?;
            }
        }
        let claim = taking.finish().await?;
        self.commit_claim(tx).await?;
        Ok(claim)
    }

    async fn commit_claim(&self, tx: DatabaseTransaction) -> Result<()> {
        if let Err(error) = tx.commit().await {
            // It may have been committed all the same, and then nobody sends what it holds.
            self.lose_track();
            return Err(StoreError::from(error).into());
        }
        Ok(())
    }

    async fn claim_sender(&self, id: SenderId, lanes: &[OpenLane], limit: usize) -> Result<Claim> {
        let _turn = self.turn_to_write().await;
        let tx = self.db.begin().await?;
        let now = self.clock.now();
        let worker = self.worker();
        // What is claimed under a name that was given up would never be rescued.
        if !worker::holds(&tx, worker, now).await? {
            return put_off(tx, now + NO_LEASE).await;
        }
        let Some(row) = lane::keep_sender(&tx, id).await? else {
            return put_off(tx, now + CONTENDED).await;
        };
        let sender = self.running_sender(row)?;
        if lanes.iter().any(|lane| lane.limits.are_any())
            && !limits::keep_workspace(&tx, sender.workspace).await?
        {
            return put_off(tx, now + CONTENDED).await;
        }
        if let Some(until) = sender.rests_until(now) {
            return put_off(tx, until).await;
        }
        // The pace counts from message to message, so a paced sender has one on its way at a time.
        if sender.pace.is_any() && lane::is_sending(&tx, id).await? {
            return put_off(tx, now + sender.pace.min_gap.max(CONTENDED)).await;
        }
        // What is claimed leaves without another look: no sequence is disabled or published anew
        // before the commit, and one that was since the survey is left alone.
        let sequences: Vec<_> = lanes.iter().map(|lane| lane.sequence_id).collect();
        let published = lane::keep_published(&tx, &sequences).await?;
        let is_current = |lane: &&OpenLane| published.contains(&lane.version.id);
        let left_out = !lanes.iter().all(|lane| is_current(&lane));
        let lanes: Vec<&OpenLane> = lanes.iter().filter(is_current).collect();
        let caps = Caps::read(&tx, &sender, &lanes, now).await?;
        let whose = (sender.workspace, Some(&sender));
        let mut taking = Taking::new(self, &tx, worker, whose, Some(caps), limit, now);
        // Follow-ups of every lane go before first messages of any.
        // Its own leads go before those of its colleagues.
        let (own, others): (Vec<&OpenLane>, Vec<&OpenLane>) =
            lanes.iter().partition(|lane| lane.colleague.is_none());
        for turn in [Turn::FollowUp, Turn::First] {
            for lane in own.iter().chain(&others).filter(|lane| lane.is_due(turn)) {
                taking.take_from_lane(lane, turn).await?;
            }
        }
        let mut claim = taking.finish().await?;
        // Somebody else takes what was offered.
        if own.is_empty() && !claim.progressed {
            claim.at_latest(now + CONTENDED);
        }
        if left_out {
            claim.at_latest(now + CONTENDED);
        }
        self.commit_claim(tx).await?;
        Ok(claim)
    }
}

/// Ends a claim before it has begun: nothing of it is to be claimed before `at`.
async fn put_off(tx: DatabaseTransaction, at: DateTime<Utc>) -> Result<Claim> {
    tx.rollback().await.map_err(StoreError::from)?;
    Ok(Claim {
        next_at: Some(at),
        ..Claim::default()
    })
}
