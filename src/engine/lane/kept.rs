//! What first messages leave of a sequence's daily cap for follow-ups that are due with other senders.
//!
//! A claim takes its own sender's follow-ups before any first message. Where the senders of a sequence
//! share a cap, the first messages of one would still use up what the follow-ups of the others need, on
//! every day anew. So as many are kept back as the others have due and can send on what is left of the
//! sequence's day, as its forecast reckons. Who is switched off, in trouble, at its cap, or has no window
//! left today keeps nothing from anybody, and by the end of the day nothing is kept.

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};

use super::{Counts, Senders, sender_quota, sequence_quota};
use crate::clock::from_ms;
use crate::domain::forecast::Today;
use crate::domain::id::{SenderId, SequenceId};
use crate::engine::claim::CLAIM_MAX;
use crate::engine::plan::RunningSender;
use crate::engine::{Engine, Result, RunningVersion};
use crate::store::Reader;
use crate::store::lane::{self, LaneRow, QuotaKind};

/// What is kept for follow-ups, by sequence.
#[derive(Default)]
pub(super) struct Kept(BTreeMap<SequenceId, OfSequence>);

/// What is kept of one sequence's cap.
struct OfSequence {
    /// What it may still send today.
    left: u64,
    /// For whom how much is kept.
    senders: BTreeMap<SenderId, u64>,
}

/// What the first messages of one sender leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct KeptBack {
    /// So many messages.
    pub(super) messages: u64,
    /// Whether that is all that there is.
    pub(super) is_all: bool,
}

impl Kept {
    /// What is kept from the first messages that a sender sends, for all others.
    pub(super) fn for_others(&self, sequence: SequenceId, sender: SenderId) -> KeptBack {
        let Some(kept) = self.0.get(&sequence) else {
            return KeptBack::default();
        };
        let others = kept.senders.iter().filter(|(other, _)| **other != sender);
        let messages = sum(others.map(|(_, messages)| *messages));
        KeptBack {
            messages,
            is_all: messages >= kept.left,
        }
    }
}

fn sum(messages: impl Iterator<Item = u64>) -> u64 {
    messages.fold(0, u64::saturating_add)
}

/// The lanes of a sequence that has a daily cap.
struct Sharing<'a> {
    version: &'a Arc<RunningVersion>,
    /// Whether first messages are due in any of them.
    first_is_due: bool,
    /// The senders whose follow-ups are due.
    follow_ups: Vec<SenderId>,
}

/// The sequences with a cap for which first messages and follow-ups are due, and more than one sends.
fn sharing(
    surveyed: &[(LaneRow, Arc<RunningVersion>)],
    now: DateTime<Utc>,
) -> BTreeMap<SequenceId, Sharing<'_>> {
    let is_due = |due: Option<i64>| due.is_some_and(|due| from_ms(due) <= now);
    let mut found = BTreeMap::new();
    let capped = surveyed
        .iter()
        .filter(|(_, version)| version.settings.max_sends_per_day.is_some());
    for (row, version) in capped {
        let Some(sender) = row.sender_id.map(SenderId::from_uuid) else {
            continue;
        };
        let sharing = found.entry(version.sequence_id).or_insert(Sharing {
            version,
            first_is_due: false,
            follow_ups: Vec::new(),
        });
        sharing.first_is_due |= is_due(row.first_due);
        if is_due(row.follow_up_due) {
            sharing.follow_ups.push(sender);
        }
    }
    found.retain(|_, sharing| {
        let both = sharing.first_is_due && !sharing.follow_ups.is_empty();
        both && sharing.version.flow.senders().len() > 1
    });
    found
}

impl Engine {
    /// What is kept, as the survey has the lanes. Follow-ups are counted only where what a sequence may
    /// still send might not be enough for them and for what a claim takes.
    pub(super) async fn kept(
        &self,
        surveyed: &[(LaneRow, Arc<RunningVersion>)],
        senders: &Senders,
        now: DateTime<Utc>,
        counts: &mut Counts,
    ) -> Result<Kept> {
        let db = self.db.read();
        let mut kept = Kept::default();
        let mut asked = Vec::new();
        for (
            sequence,
            Sharing {
                version,
                follow_ups,
                ..
            },
        ) in sharing(surveyed, now)
        {
            let used = sequence_quota(version, QuotaKind::Sends, now);
            let used = counts.of(db, used).await?;
            let cap = version.settings.max_sends_per_day.map_or(0, i64::from);
            let left = u64::try_from(cap - used).unwrap_or(0);
            let mut rooms = BTreeMap::new();
            for id in follow_ups {
                let Some(sender) = senders.get(&id) else {
                    continue;
                };
                let room = room_today(db, sender, version, now, counts).await?;
                if room > 0 {
                    rooms.insert(id, room.min(left));
                }
            }
            let most = sum(rooms.values().copied()).saturating_add(CLAIM_MAX as u64);
            if left == 0 || rooms.is_empty() || most <= left {
                continue;
            }
            asked.extend(rooms.keys().map(|sender| (*sender, sequence)));
            let senders = rooms;
            kept.0.insert(sequence, OfSequence { left, senders });
        }
        for row in lane::follow_ups(db, &asked, now).await? {
            let of = kept.0.get_mut(&SequenceId::from_uuid(row.sequence_id));
            let sender = SenderId::from_uuid(row.sender_id);
            // Where more are due than are counted, all that the sender can send is kept.
            if row.due < i64::from(lane::COUNTED_MAX)
                && let Some(kept) = of.and_then(|of| of.senders.get_mut(&sender))
            {
                *kept = (*kept).min(row.due.unsigned_abs());
            }
        }
        Ok(kept)
    }
}

/// How many messages a sender can still send on the day of a sequence that holds `now`.
async fn room_today(
    db: &Reader,
    sender: &RunningSender,
    version: &RunningVersion,
    now: DateTime<Utc>,
    counts: &mut Counts,
) -> Result<u64> {
    let Some(today) = Today::of(&sender.able(), &version.zone, &version.settings, now) else {
        return Ok(0);
    };
    let used = if today.asks_what_is_used() {
        counts.of(db, sender_quota(sender, now)).await?
    } else {
        0
    };
    Ok(today.room(used))
}
