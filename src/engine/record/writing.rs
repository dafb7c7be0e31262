//! What a batch writes: counts that are given back, senders that rest, leads, executions, events.

use serde_json::json;
use uuid::Uuid;

use super::{Recording, claimed_on};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::WorkerId;
use crate::domain::zone::Zone;
use crate::engine::{Claimed, Result};
use crate::store::claim::{self, LeadRow, Turn};
use crate::store::dispatch::{self as rows, OpenExecution};
use crate::store::event;
use crate::store::lane::{self, QuotaKey, QuotaKind};

impl Recording<'_> {
    /// A message that certainly did not go does not count against the day's caps.
    /// `zone` is the sequence's clock by which it was counted: its day of the claim, not today.
    pub(super) fn refund(&mut self, open: &OpenExecution, zone: Option<&Zone>) {
        let Some(sender) = open.sender_id else {
            return;
        };
        if let Some(day) = open.quota_day.clone() {
            self.refund_key(sender.uuid(), QuotaKind::Sends, day);
        }
        if let Some(day) = claimed_on(open, zone) {
            // A lead that got no first message is no new lead of the day: others may have its place.
            if open.lead.turn == Turn::First.as_i16() {
                self.refund_key(open.lead.sequence_id, QuotaKind::NewLeads, day.clone());
            }
            self.refund_key(open.lead.sequence_id, QuotaKind::Sends, day);
        }
    }

    /// Nor against what its workspace allows.
    pub(super) fn refund_counted(&mut self, claimed: &Claimed) {
        for key in claimed.counted.iter().flat_map(|counted| &counted.keys) {
            *self.limit_refunds.entry(key.clone()).or_default() -= 1;
        }
    }

    fn refund_key(&mut self, subject: Uuid, kind: QuotaKind, day: String) {
        *self
            .refunds
            .entry(QuotaKey { subject, kind, day })
            .or_default() -= 1;
    }

    /// Writes it all. Answers whether there is anything to publish.
    pub(in crate::engine) async fn write(self, tx: &sea_orm::DatabaseTransaction) -> Result<bool> {
        claim::save_leads(tx, &self.leads, None).await?;
        rows::settle(tx, &self.settled, None).await?;
        self.write_rest(tx).await
    }

    /// Like [`Self::write`], where `worker` still holds every lead and every execution. `None` where
    /// not: then nothing of it may be committed.
    pub(in crate::engine) async fn write_undisturbed(
        self,
        tx: &sea_orm::DatabaseTransaction,
        worker: WorkerId,
    ) -> Result<Option<bool>> {
        let ids: Vec<_> = self.leads.iter().map(LeadRow::lead_id).collect();
        claim::lock_leads(tx, &ids).await?;
        let leads = claim::save_leads(tx, &self.leads, Some(worker)).await?;
        let settled = rows::settle(tx, &self.settled, Some(worker)).await?;
        let all = |written: u64, of: usize| usize::try_from(written) == Ok(of);
        if !all(leads, self.leads.len()) || !all(settled, self.settled.len()) {
            return Ok(None);
        }
        self.write_rest(tx).await.map(Some)
    }

    /// Everything but leads and executions; events last.
    async fn write_rest(mut self, tx: &sea_orm::DatabaseTransaction) -> Result<bool> {
        rows::keep(tx, self.workspace, &self.kept, self.now).await?;
        let (opted_out, messages) = &self.opted_out;
        rows::suppress(tx, self.workspace, opted_out, "UNSUBSCRIBED", self.now).await?;
        rows::note_opted_out(tx, messages).await?;
        let (messages, bounced): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.bounced).into_iter().unzip();
        let bounced: Vec<_> = bounced.into_iter().flatten().collect();
        rows::suppress(tx, self.workspace, &bounced, "BOUNCED", self.now).await?;
        rows::note_bounced(tx, &messages).await?;
        // Senders before counts, and both in one order, as a claim locks them.
        let mut senders = self.healthy.clone();
        senders.extend(self.unhealthy.keys().chain(self.paced.keys()));
        for sender in senders {
            if let Some((until, reason)) = self.unhealthy.get(&sender) {
                lane::set_unhealthy(tx, sender, until.timestamp_millis(), reason).await?;
            } else if self.healthy.contains(&sender) {
                lane::set_healthy(tx, sender).await?;
            }
            if let Some(gap) = self.paced.get(&sender) {
                let (now, gap) = (self.now.timestamp_millis(), gap.num_milliseconds());
                lane::set_next_free(tx, sender, now, gap).await?;
            }
        }
        for (sender, reason) in &self.refused_login {
            if lane::switch_off(tx, *sender, self.now.timestamp_millis()).await? {
                self.events.push(NewEvent::of_sender(
                    self.now,
                    EventKind::SenderDisabled,
                    *sender,
                    json!({ "reason": "AUTH_FAILED", "message": reason }),
                ));
            }
        }
        lane::quota_add(tx, self.workspace, self.refunds).await?;
        // After those of senders and sequences, as a claim writes them.
        lane::quota_add(tx, self.workspace, self.limit_refunds).await?;
        let progressed = !self.events.is_empty();
        event::append(tx, self.workspace, self.events).await?;
        Ok(progressed)
    }
}
