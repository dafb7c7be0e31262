//! What a first message leaves of its sequence's daily cap for follow-ups that are due with other senders,
//! reckoned as the engine does where it keeps it (`crate::engine::lane`).

use std::collections::HashMap;

use async_graphql::{Context, Result, dataloader};
use chrono::{DateTime, Utc};

use super::{Blocker, BlockerCode};
use crate::domain::forecast::{AbleSender, Today};
use crate::domain::id::{SenderId, SequenceId};
use crate::domain::schedule::next_local_midnight;
use crate::domain::zone::Zone;
use crate::graphql::context::ContextExt;
use crate::graphql::loader::{LoadError, Loaders};
use crate::store::claim::Turn;
use crate::store::lane::{self, COUNTED_MAX, QuotaKey, QuotaKind};
use crate::store::lead::Row;
use crate::store::sequence::version::Version;

/// The blocker of a first message that is due, where all that its sequence may still send today is left for
/// follow-ups of others than `free`, who is free to send it.
pub(super) async fn back(
    ctx: &Context<'_>,
    lead: &Row,
    free: SenderId,
    version: &Version,
    now: DateTime<Utc>,
) -> Result<Option<Blocker>> {
    let Some(cap) = version.settings.max_sends_per_day else {
        return Ok(None);
    };
    if lead.turn != Turn::First.as_i16() {
        return Ok(None);
    }
    let loaders = ctx.loaders()?;
    let zones = &ctx.services().zones;
    let zone_of = |name: &str| zones.get(name).unwrap_or_else(Zone::utc);
    let zone = zone_of(&version.settings.time_zone);
    let used = QuotaKey::of(lead.sequence_id, QuotaKind::Sends, &zone, now);
    let used = loaders.load_one(used).await?.unwrap_or(0);
    let left = u64::try_from(i64::from(cap) - used).unwrap_or(0);
    let sequence = SequenceId::from_uuid(lead.sequence_id);
    let senders: Vec<SenderId> = (version.flow.steps.iter())
        .flat_map(|step| step.action.senders())
        .copied()
        .collect();
    let senders = loaders.load_many(senders).await?;
    let lanes = senders.keys().map(|id| FollowUpsOf(*id, sequence));
    let due = loaders.load_many(lanes).await?;
    let mut kept = HashMap::new();
    for (id, sender) in &senders {
        let due = due.get(&FollowUpsOf(*id, sequence)).copied().unwrap_or(0);
        if due == 0 || !sender.enabled {
            continue;
        }
        let of_sender = zone_of(&sender.time_zone);
        let able = AbleSender {
            zone: &of_sender,
            failures: sender.failures,
            next_free_at: sender.next_free_at,
            unhealthy_until: sender.unhealthy_until,
            pace: sender.pace,
            daily_cap: sender.daily_cap.and_then(|cap| u32::try_from(cap).ok()),
            warm_up: sender.warm_up.as_ref(),
        };
        let Some(today) = Today::of(&able, &zone, &version.settings, now) else {
            continue;
        };
        let used = if today.asks_what_is_used() {
            let used = QuotaKey::of(id.uuid(), QuotaKind::Sends, &of_sender, now);
            loaders.load_one(used).await?.unwrap_or(0)
        } else {
            0
        };
        let room = today.room(used).min(left);
        let due = if due < i64::from(COUNTED_MAX) {
            due.unsigned_abs()
        } else {
            u64::MAX
        };
        kept.insert(*id, room.min(due));
    }
    let others = kept.iter().filter(|(id, _)| **id != free);
    if others.fold(0, |sum: u64, (_, kept)| sum.saturating_add(*kept)) < left {
        return Ok(None);
    }
    let message = "What the sequence may still send today is left for follow-ups that are due with other \
                   senders: raise its maxSendsPerDay, or wait.";
    let until = next_local_midnight(now, &zone);
    Ok(Some(Blocker::new(
        BlockerCode::SequenceDailyCap,
        message,
        Some(until),
    )))
}

/// A sender's lane in a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct FollowUpsOf(SenderId, SequenceId);

impl dataloader::Loader<FollowUpsOf> for Loaders {
    type Value = i64;
    type Error = LoadError;

    async fn load(&self, keys: &[FollowUpsOf]) -> Result<HashMap<FollowUpsOf, i64>, LoadError> {
        let lanes: Vec<_> = keys.iter().map(|key| (key.0, key.1)).collect();
        let now = self.services.clock.now();
        let rows = lane::follow_ups(self.services.db.read(), &lanes, now).await?;
        let of = |row: lane::FollowUps| {
            let sender = SenderId::from_uuid(row.sender_id);
            (
                FollowUpsOf(sender, SequenceId::from_uuid(row.sequence_id)),
                row.due,
            )
        };
        Ok(rows.into_iter().map(of).collect())
    }
}
