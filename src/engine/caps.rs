//! Caps: what a claim may still take of the daily counts of its sender and its sequences, and what it
//! took.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;

use super::lane::{OpenLane, sender_quota, sequence_quota};
use super::plan::RunningSender;
use super::{Result, RunningVersion};
use crate::store::claim::Turn;
use crate::store::lane::{self, QuotaKey, QuotaKind};

/// The daily counts of a claim.
pub(super) struct Caps<'a> {
    sender: &'a RunningSender,
    now: DateTime<Utc>,
    /// What was used when the claim began; read only where anything has a cap.
    used: HashMap<QuotaKey, i64>,
    /// What this claim takes.
    taken: HashMap<QuotaKey, i32>,
}

impl<'a> Caps<'a> {
    /// Reads the counts and keeps them from changing, all that the claim may change at once: they are
    /// locked in one order by everybody.
    pub(super) async fn read(
        tx: &DatabaseTransaction,
        sender: &'a RunningSender,
        lanes: &[&OpenLane],
        now: DateTime<Utc>,
    ) -> Result<Self> {
        let has_caps = |lane: &&OpenLane| {
            let settings = &lane.version.settings;
            settings.max_sends_per_day.is_some() || settings.max_new_leads_per_day.is_some()
        };
        let mut used = HashMap::new();
        if sender.cap_at(now).is_some() || lanes.iter().any(has_caps) {
            let of_lanes = lanes.iter().flat_map(|lane| {
                [QuotaKind::Sends, QuotaKind::NewLeads]
                    .map(|kind| sequence_quota(&lane.version, kind, now))
            });
            let keys = std::iter::once(sender_quota(sender, now)).chain(of_lanes);
            used = lane::quotas_locked(tx, sender.workspace, keys.collect()).await?;
        }
        Ok(Self {
            sender,
            now,
            used,
            taken: HashMap::new(),
        })
    }

    /// How many messages a lane may still get.
    pub(super) fn left(&self, lane: &OpenLane, turn: Turn) -> usize {
        let settings = &lane.version.settings;
        let of = |kind| sequence_quota(&lane.version, kind, self.now);
        let (new_leads, kept) = match turn {
            Turn::First => (settings.max_new_leads_per_day, lane.kept),
            Turn::FollowUp => (None, 0),
        };
        let caps = [
            (
                sender_quota(self.sender, self.now),
                self.sender.cap_at(self.now),
                0,
            ),
            (of(QuotaKind::Sends), settings.max_sends_per_day, kept),
            (of(QuotaKind::NewLeads), new_leads, 0),
        ];
        let left = caps.into_iter().filter_map(|(key, cap, kept)| {
            let used = self.used.get(&key).copied().unwrap_or(0);
            let taken = self.taken.get(&key).copied().unwrap_or(0);
            let left = i64::from(cap?) - used - i64::from(taken);
            let left = u64::try_from(left).unwrap_or(0).saturating_sub(kept);
            Some(usize::try_from(left).unwrap_or(usize::MAX))
        });
        left.min().unwrap_or(usize::MAX)
    }

    /// So many messages of a sequence are taken, so many of them to new leads.
    pub(super) fn take(&mut self, version: &RunningVersion, messages: i32, new_leads: i32) {
        let mut add = |key, count| *self.taken.entry(key).or_default() += count;
        add(sender_quota(self.sender, self.now), messages);
        let of = |kind| sequence_quota(version, kind, self.now);
        add(of(QuotaKind::Sends), messages);
        add(of(QuotaKind::NewLeads), new_leads);
    }

    /// Writes down what was taken.
    pub(super) async fn write(self, tx: &DatabaseTransaction) -> Result<()> {
        Ok(lane::quota_add(tx, self.sender.workspace, self.taken).await?)
    }
}
