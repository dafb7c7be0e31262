//! Which lanes are open: reckoned before any lead is touched, so that a closed lane with a million
//! due leads costs nothing.
//!
//! A lead that has had no message on a channel is bound to no sender of it: where the one that it was given
//! to is switched off, at its cap or at rest, its first message there goes through another sender of its
//! step that is free.
//!
//! Of what a sequence may still send today, first messages leave as much as follow-ups need that are due
//! with other senders ([`kept`]).

mod kept;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use self::kept::{Kept, KeptBack};
use super::claim::Claim;
use super::limits::Limits;
use super::plan::{self, RunningSender};
use super::{Engine, LaneId, Result, RunningVersion};
use crate::clock::from_ms;
use crate::domain::gate::{self, Gate};
use crate::domain::id::{SenderId, SequenceId, VersionId};
use crate::domain::planning::Whereabouts;
use crate::domain::settings::WindowClock;
use crate::store::Reader;
use crate::store::claim::Turn;
use crate::store::lane::{self, LaneRow, Offered, QuotaKey, QuotaKind};

/// One lane, open now.
pub(super) struct OpenLane {
    pub(super) sequence_id: SequenceId,
    pub(super) version: Arc<RunningVersion>,
    /// What its workspace allows.
    pub(super) limits: Limits,
    /// Whose leads it holds, where that is another sender than the one that may take them.
    pub(super) colleague: Option<SenderId>,
    /// How many of the messages that its sequence may still send today are kept for follow-ups of other
    /// senders.
    pub(super) kept: u64,
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

/// The lanes found open, and when the earliest of each was due.
#[derive(Default)]
struct Open(BTreeMap<LaneId, (i64, Vec<OpenLane>)>);

impl Open {
    fn push(&mut self, id: LaneId, row: &LaneRow, lane: OpenLane) {
        // First messages for which nothing is left wait for the follow-ups, which are claimed by others.
        if !(lane.follow_up_is_due || lane.first_is_due) {
            return;
        }
        let due = row.earliest().unwrap_or(0);
        let (earliest, lanes) = self.0.entry(id).or_insert((due, Vec::new()));
        *earliest = due.min(*earliest);
        lanes.push(lane);
    }
}

type Senders = HashMap<SenderId, Arc<RunningSender>>;

/// Daily counts that a survey has read: many lanes ask for the same ones.
#[derive(Default)]
struct Counts(HashMap<QuotaKey, i64>);

impl Counts {
    async fn of(&mut self, db: &Reader, key: QuotaKey) -> Result<i64> {
        if let Some(known) = self.0.get(&key) {
            return Ok(*known);
        }
        let used = lane::quota_used(db, &key).await?;
        self.0.insert(key, used);
        Ok(used)
    }
}

impl Engine {
    /// The lanes that have due work and are open, by whose they are, the longest due first; every
    /// other lane's opening goes into `claim.next_at`.
    pub(super) async fn open_lanes(
        &self,
        now: DateTime<Utc>,
        claim: &mut Claim,
    ) -> Result<Vec<(LaneId, Vec<OpenLane>)>> {
        let mut surveyed = Vec::new();
        for row in lane::survey(self.db.read()).await? {
            let version_id = VersionId::from_uuid(row.version_id);
            match self.version(self.db.read(), version_id).await {
                Ok(version) => surveyed.push((row, version)),
                Err(error) => tracing::error!(version.id = %version_id,
                    error = &error as &dyn std::error::Error, "a sequence cannot run"),
            }
        }
        let senders = self.senders_of(&surveyed).await?;
        let (mut open, mut counts) = (Open::default(), Counts::default());
        let kept = self.kept(&surveyed, &senders, now, &mut counts).await?;
        let mut strays = Vec::new();
        for (row, version) in surveyed {
            let Some(id) = row.sender_id.map(SenderId::from_uuid) else {
                match row.earliest().map(from_ms) {
                    Some(due) if due <= now => {
                        let id = LaneId::Own(SequenceId::from_uuid(row.sequence_id));
                        let lane = OpenLane::of(&row, &version, self.limits(&row), None, now);
                        open.push(id, &row, lane);
                    }
                    Some(due) => claim.at_latest(due),
                    None => {}
                }
                continue;
            };
            let opens_at = match senders.get(&id) {
                Some(sender) => {
                    self.lane_opens_at(&row, sender, &version, now, &mut counts)
                        .await?
                }
                None => None,
            };
            match opens_at {
                Some(at) if at <= now => {
                    let lane = OpenLane::of(&row, &version, self.limits(&row), None, now);
                    let lane = lane.keeping(&kept, id);
                    open.push(LaneId::Sender(id), &row, lane);
                }
                closed => {
                    if let Some(at) = closed {
                        claim.at_latest(at);
                    }
                    strays.push((id, row, version));
                }
            }
        }
        for (id, row, version) in strays {
            let found = (&mut *claim, &mut open, &mut counts, &kept);
            self.offer(id, row, &version, &senders, now, found).await?;
        }
        let mut open: Vec<_> = open.0.into_iter().collect();
        open.sort_by_key(|(id, (earliest, _))| (*earliest, *id));
        Ok(open
            .into_iter()
            .map(|(id, (_, lanes))| (id, lanes))
            .collect())
    }

    /// The senders of the lanes, and those who may take what these have not begun, as far as they are
    /// switched on.
    async fn senders_of(&self, surveyed: &[(LaneRow, Arc<RunningVersion>)]) -> Result<Senders> {
        let mut ids = BTreeSet::new();
        for (row, version) in surveyed {
            let Some(id) = row.sender_id.map(SenderId::from_uuid) else {
                continue;
            };
            ids.insert(id);
            ids.extend(version.flow.colleagues(id));
        }
        let ids: Vec<SenderId> = ids.into_iter().collect();
        let mut senders = HashMap::new();
        if ids.is_empty() {
            return Ok(senders);
        }
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
        Ok(senders)
    }

    /// Offers of a closed lane what its sender has not begun to the other senders of each step: first
    /// messages, and those to leads that only others have written to so far.
    async fn offer(
        &self,
        id: SenderId,
        row: LaneRow,
        version: &Arc<RunningVersion>,
        senders: &Senders,
        now: DateTime<Utc>,
        (claim, open, counts, kept): (&mut Claim, &mut Open, &mut Counts, &Kept),
    ) -> Result<()> {
        let colleagues = version.flow.colleagues(id);
        let colleagues: Vec<_> = (colleagues.iter())
            .filter_map(|colleague| senders.get(colleague))
            .map(|sender| (sender, version.flow.shared_steps(id, sender.id)))
            .collect();
        let mut steps: Vec<&str> = colleagues
            .iter()
            .flat_map(|(_, keys)| keys)
            .copied()
            .collect();
        steps.sort_unstable();
        steps.dedup();
        if steps.is_empty() {
            return Ok(());
        }
        let lane = (id, SequenceId::from_uuid(row.sequence_id));
        let offered = lane::offered(self.db.read(), lane, &steps).await?;
        for (sender, keys) in colleagues {
            let shared = || {
                let of = |one: &&Offered| keys.contains(&one.step_key.as_str());
                offered.iter().filter(of)
            };
            let row = LaneRow {
                follow_up_due: shared().filter_map(|one| one.follow_up_due).min(),
                first_due: shared().filter_map(|one| one.first_due).min(),
                ..row.clone()
            };
            let opens_at = self.lane_opens_at(&row, sender, version, now, counts);
            match opens_at.await? {
                Some(at) if at <= now => {
                    let lane = OpenLane::of(&row, version, self.limits(&row), Some(id), now);
                    let lane = lane.keeping(kept, sender.id);
                    open.push(LaneId::Sender(sender.id), &row, lane);
                }
                Some(at) => claim.at_latest(at),
                None => {}
            }
        }
        Ok(())
    }

    /// When a lane has something to send, under its sender's pace, health and cap, its sequence's
    /// caps, and its window where that does not hang on the contact.
    async fn lane_opens_at(
        &self,
        row: &LaneRow,
        sender: &RunningSender,
        version: &RunningVersion,
        now: DateTime<Utc>,
        counts: &mut Counts,
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
            let used = counts.of(db, sender_quota(sender, now)).await?;
            if let Some(closed) = gate::daily(Gate::SenderCap, cap, used, &sender.zone, now) {
                return Ok(Some(closed.until));
            }
        }
        if let Some(cap) = settings.max_sends_per_day {
            let used = counts.of(db, of_sequence(QuotaKind::Sends)).await?;
            if let Some(closed) = gate::daily(Gate::SequenceCap, cap, used, zone, now) {
                return Ok(Some(closed.until));
            }
        }
        let [follow_up, first] = due;
        if follow_up.is_none_or(|due| due > now)
            && let Some(cap) = settings.max_new_leads_per_day
        {
            let used = counts.of(db, of_sequence(QuotaKind::NewLeads)).await?;
            if let Some(closed) = gate::daily(Gate::NewLeadsCap, cap, used, zone, now) {
                let after_cap = first.map(|due| due.max(closed.until));
                return Ok(follow_up.into_iter().chain(after_cap).min());
            }
        }
        Ok(Some(opens))
    }
}

impl OpenLane {
    fn of(
        row: &LaneRow,
        version: &Arc<RunningVersion>,
        limits: Limits,
        colleague: Option<SenderId>,
        now: DateTime<Utc>,
    ) -> Self {
        let is_due = |due: Option<i64>| due.is_some_and(|due| from_ms(due) <= now);
        Self {
            sequence_id: SequenceId::from_uuid(row.sequence_id),
            version: Arc::clone(version),
            limits,
            colleague,
            kept: 0,
            follow_up_is_due: is_due(row.follow_up_due),
            first_is_due: is_due(row.first_due),
        }
    }

    /// The lane as this sender may take it, whose first messages leave what is kept for others.
    fn keeping(self, kept: &Kept, sender: SenderId) -> Self {
        let KeptBack { messages, is_all } = kept.for_others(self.sequence_id, sender);
        Self {
            kept: messages,
            first_is_due: self.first_is_due && !is_all,
            ..self
        }
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
