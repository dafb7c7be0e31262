//! Which lanes are open: reckoned before any lead is touched, so that a closed lane with a million
//! due leads costs nothing.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::claim::Claim;
use super::plan::{self, RunningSender};
use super::{Engine, Result, RunningVersion};
use crate::clock::from_ms;
use crate::domain::gate::{self, Gate};
use crate::domain::id::{SenderId, SequenceId, VersionId};
use crate::domain::planning::Whereabouts;
use crate::domain::settings::WindowClock;
use crate::store::claim::Turn;
use crate::store::lane::{self, LaneRow, QuotaKey, QuotaKind};

/// One lane, open now.
pub(super) struct OpenLane {
    pub(super) sequence_id: SequenceId,
    pub(super) version: Arc<RunningVersion>,
    follow_up_is_due: bool,
    first_is_due: bool,
}

impl OpenLane {
    /// Whether the survey saw messages of this kind that are due.
    pub(super) fn is_due(&self, turn: Turn) -> bool {
        match turn {
            Turn::FollowUp => self.follow_up_is_due,
            Turn::First => self.first_is_due,
        }
    }
}

impl Engine {
    /// The lanes that have due work and are open, by sender, the longest due first; every other
    /// lane's opening goes into `claim.next_at`.
    pub(super) async fn open_lanes(
        &self,
        now: DateTime<Utc>,
        claim: &mut Claim,
    ) -> Result<Vec<(SenderId, Vec<OpenLane>)>> {
        let surveyed = lane::survey(self.db.read()).await?;
        let mut ids: Vec<SenderId> = surveyed
            .iter()
            .map(|lane| SenderId::from_uuid(lane.sender_id))
            .collect();
        ids.sort_unstable();
        ids.dedup();
        let mut senders = HashMap::new();
        for row in lane::senders(self.db.read(), &ids).await? {
            let id = SenderId::from_uuid(row.id);
            // One sender that cannot be read must not hold up all the others.
            match self.running_sender(row) {
                Ok(sender) => {
                    senders.insert(id, sender);
                }
                Err(error) => tracing::error!(sender.id = %id,
                    error = &error as &dyn std::error::Error, "a sender cannot run"),
            }
        }
        let mut open: BTreeMap<SenderId, (i64, Vec<OpenLane>)> = BTreeMap::new();
        for row in surveyed {
            let Some(sender) = senders.get(&SenderId::from_uuid(row.sender_id)) else {
                continue;
            };
            let version_id = VersionId::from_uuid(row.version_id);
            let version = match self.version(self.db.read(), version_id).await {
                Ok(version) => version,
                Err(error) => {
                    tracing::error!(version.id = %version_id,
                        error = &error as &dyn std::error::Error, "a sequence cannot run");
                    continue;
                }
            };
            let Some(at) = self.lane_opens_at(&row, sender, &version, now).await? else {
                continue;
            };
            if at > now {
                claim.at_latest(at);
                continue;
            }
            let due = row
                .follow_up_due
                .into_iter()
                .chain(row.first_due)
                .min()
                .unwrap_or(0);
            let (earliest, lanes) = open.entry(sender.id).or_insert((due, Vec::new()));
            *earliest = due.min(*earliest);
            let is_due = |due: Option<i64>| due.is_some_and(|due| from_ms(due) <= now);
            lanes.push(OpenLane {
                sequence_id: SequenceId::from_uuid(row.sequence_id),
                version,
                follow_up_is_due: is_due(row.follow_up_due),
                first_is_due: is_due(row.first_due),
            });
        }
        let mut open: Vec<_> = open.into_iter().collect();
        open.sort_by_key(|(sender, (earliest, _))| (*earliest, *sender));
        Ok(open
            .into_iter()
            .map(|(sender, (_, lanes))| (sender, lanes))
            .collect())
    }

    /// When a lane has something to send, under its sender's pace, health and cap, its sequence's
    /// caps, and its window where that does not hang on the contact.
    async fn lane_opens_at(
        &self,
        row: &LaneRow,
        sender: &RunningSender,
        version: &RunningVersion,
        now: DateTime<Utc>,
    ) -> Result<Option<DateTime<Utc>>> {
        let due = [row.follow_up_due, row.first_due].map(|due| due.map(from_ms));
        let Some(earliest) = due.into_iter().flatten().min() else {
            return Ok(None);
        };
        let mut opens = sender
            .rests_until(now)
            .map_or(earliest, |until| earliest.max(until));
        if version.settings.window_clock != WindowClock::Contact {
            // The holidays of a contact's country can only put its own message off.
            let nowhere = Whereabouts::default();
            let calendar = plan::calendar(version, &sender.zone, &nowhere);
            opens = plan::reopens_at(opens.max(now), &calendar);
        }
        if opens > now {
            return Ok(Some(opens));
        }
        let db = self.db.read();
        let (settings, zone) = (&version.settings, &version.zone);
        let of_sequence = |kind| sequence_quota(version, kind, now);
        if let Some(cap) = sender.cap_at(now) {
            let used = lane::quota_used(db, &sender_quota(sender, now)).await?;
            if let Some(closed) = gate::daily(Gate::SenderCap, cap, used, &sender.zone, now) {
                return Ok(Some(closed.until));
            }
        }
        if let Some(cap) = settings.max_sends_per_day {
            let used = lane::quota_used(db, &of_sequence(QuotaKind::Sends)).await?;
            if let Some(closed) = gate::daily(Gate::SequenceCap, cap, used, zone, now) {
                return Ok(Some(closed.until));
            }
        }
        let [follow_up, first] = due;
        if follow_up.is_none_or(|due| due > now)
            && let Some(cap) = settings.max_new_leads_per_day
        {
            let used = lane::quota_used(db, &of_sequence(QuotaKind::NewLeads)).await?;
            if let Some(closed) = gate::daily(Gate::NewLeadsCap, cap, used, zone, now) {
                let after_cap = first.map(|due| due.max(closed.until));
                return Ok(follow_up.into_iter().chain(after_cap).min());
            }
        }
        Ok(Some(opens))
    }
}

/// The count of a sender's messages on its day.
pub(super) fn sender_quota(sender: &RunningSender, now: DateTime<Utc>) -> QuotaKey {
    QuotaKey::of(sender.id.uuid(), QuotaKind::Sends, &sender.zone, now)
}

/// The count of a sequence on its day.
pub(super) fn sequence_quota(
    version: &RunningVersion,
    kind: QuotaKind,
    now: DateTime<Utc>,
) -> QuotaKey {
    QuotaKey::of(version.sequence_id.uuid(), kind, &version.zone, now)
}
