//! A claim in the making: what is taken of the lanes of a sender, or of a sequence's own, in the
//! claim's transaction. What becomes of each lead is [`outcome`]'s.

mod outcome;
mod update;

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sea_orm::DatabaseTransaction;
use serde_json::{Map, Value};
use uuid::Uuid;

use super::caps::Caps;
use super::claim::{CONTENDED, Claim};
use super::lane::OpenLane;
use super::limits::{Limits, Used};
use super::plan::{RunningSender, SenderZones};
use super::{Engine, EngineError, Result, RunningVersion};
use crate::clock::from_ms;
use crate::domain::event::NewEvent;
use crate::domain::flow::{Channel, CompiledStep, Work};
use crate::domain::id::{LeadId, VersionId, WorkerId, WorkspaceId};
use crate::domain::lead::Hold;
use crate::store::claim::{self as rows, DueLead, LeadRow, NewExecution, PersonRow, Source, Turn};
use crate::store::engagement::{self, Touched};
use crate::store::event;
use crate::store::lane;
use crate::store::task::{self, NewTask, TaskState};

/// How many due leads are looked at at least, even if fewer messages may go: a closed window of many
/// contacts must not hold up those whose window is open.
const LOOK_MIN: usize = 64;
/// How often one transaction looks again when leads were due but had nothing to send.
const ROUNDS_MAX: usize = 4;

/// A claim in the making: one sender or one sequence's own lane, one transaction.
pub(super) struct Taking<'a> {
    engine: &'a Engine,
    tx: &'a DatabaseTransaction,
    worker: WorkerId,
    workspace: WorkspaceId,
    /// Who sends; none in a sequence's own lane.
    sender: Option<Arc<RunningSender>>,
    now: DateTime<Utc>,
    left: usize,
    /// How long the sender waits after its message; none where it keeps to no pace. Drawn once: what is
    /// stored at the claim and with the result is the same gap.
    gap: Option<Duration>,
    /// How many messages the lane may still get that is being looked at.
    lane_left: usize,
    /// What was taken of that lane and is not in the caps yet.
    taken: Taken,
    /// Today, by the sender's clock.
    day: Option<String>,
    caps: Option<Caps<'a>>,
    /// What is used of the workspace's limits.
    used: Used,
    /// Who was seen to miss data for a message, as they were read.
    lacking: HashMap<Uuid, PersonRow>,
    /// Leads that were another sender's and are this one's now.
    adopted: HashSet<Uuid>,
    /// What is to be written into people, by lead.
    updates: Vec<(LeadId, Uuid, Map<String, Value>)>,
    tasks: Vec<NewTask>,
    /// Tasks whose lead goes on without them.
    expired: Vec<(LeadId, String)>,
    events: Vec<NewEvent>,
    claim: Claim,
}

/// How many messages, and how many of them to new leads.
#[derive(Default)]
struct Taken {
    messages: i32,
    new_leads: i32,
}

/// What steps ask beside the lead and its person, for a batch of due leads.
#[derive(Default)]
struct Known {
    touched: HashMap<Uuid, Touched>,
    tasks: HashMap<(Uuid, String), TaskState>,
    zones: SenderZones,
    limits: Option<Limits>,
}

impl<'a> Taking<'a> {
    /// Nothing is taken yet; at most `limit` messages will be.
    pub(super) fn new(
        engine: &'a Engine,
        tx: &'a DatabaseTransaction,
        worker: WorkerId,
        (workspace, sender): (WorkspaceId, Option<&Arc<RunningSender>>),
        caps: Option<Caps<'a>>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Self {
        let paced = sender.filter(|sender| sender.pace.is_any());
        let gap = paced.map(|sender| sender.pace.gap(engine.entropy.unit()));
        Self {
            engine,
            tx,
            worker,
            workspace,
            sender: sender.cloned(),
            now,
            left: if gap.is_some() { limit.min(1) } else { limit },
            gap,
            lane_left: 0,
            taken: Taken::default(),
            day: sender.map(|sender| sender.day(now)),
            caps,
            used: Used::default(),
            lacking: HashMap::new(),
            adopted: HashSet::new(),
            updates: Vec::new(),
            tasks: Vec::new(),
            expired: Vec::new(),
            events: Vec::new(),
            claim: Claim::default(),
        }
    }

    /// Takes what is due in a lane, as far as there is room.
    pub(super) async fn take_from_lane(&mut self, lane: &OpenLane, turn: Turn) -> Result<()> {
        let shared: Vec<&str> = match (&self.sender, lane.colleague) {
            (Some(sender), Some(other)) => lane.version.flow.shared_steps(sender.id, other),
            _ => Vec::new(),
        };
        let requests = lane.version.flow.requests();
        for _ in 0..ROUNDS_MAX {
            let allowed = match &self.caps {
                Some(caps) => self.left.min(caps.left(lane, turn)),
                None => self.left,
            };
            let limit = few_sizes(allowed);
            if limit == 0 && self.sender.is_some() {
                return Ok(());
            }
            let look = limit.max(LOOK_MIN);
            let source = match (&self.sender, lane.colleague) {
                (Some(sender), None) => Source::Sender(sender.id, sender.channel),
                (Some(sender), Some(other)) => Source::Colleague(other, sender.channel, &shared),
                // Requests wait for room; what else there is to do does not wait for them.
                (None, _) if limit == 0 => Source::Own(&requests),
                (None, _) => Source::Own(&[]),
            };
            let due = rows::due(self.tx, source, lane.sequence_id, turn, self.now, look);
            let due = due.await?;
            let found = due.len();
            self.lane_left = limit;
            let has_changed = self.take(due, lane).await?;
            // Where nothing changes, to look again would find the same.
            if found < look || !has_changed {
                return Ok(());
            }
            if self.left < limit / 2 {
                break;
            }
        }
        // More is due; the next claim goes on from here.
        self.claim.at_latest(self.now);
        Ok(())
    }

    /// Answers whether anything of what is due was changed.
    async fn take(&mut self, due: Vec<DueLead>, lane: &OpenLane) -> Result<bool> {
        let version = &lane.version;
        let known = self.known(&due, lane).await?;
        let mut leads = Vec::with_capacity(due.len());
        let mut executions = Vec::with_capacity(due.len());
        for due in due {
            let older = match due.ran_under.filter(|id| *id != version.id) {
                Some(id) => self.older_version(id).await?,
                None => None,
            };
            if let Some((lead, execution)) =
                self.take_one(due, version, older.as_deref(), &known)?
            {
                leads.push(lead);
                executions.extend(execution);
            }
        }
        // Data that came since the leads were read has found none of them waiting for it.
        let lacking = std::mem::take(&mut self.lacking);
        let changed = rows::changed_people(self.tx, &lacking).await?;
        if !changed.is_empty() {
            let waits = |lead: &LeadRow| {
                let hold: Option<Hold> = lead.hold.as_deref().and_then(|hold| hold.parse().ok());
                hold.is_some_and(|hold| hold.lacks() || hold == Hold::AwaitingCondition)
            };
            leads.retain(|lead| !(waits(lead) && changed.contains(&lead.person_id)));
        }
        let waiting = self.write_updates().await?;
        let stays = |lead: LeadId| waiting.contains(&lead);
        leads.retain(|lead| !stays(lead.lead_id()));
        executions.retain(|execution: &NewExecution| !stays(execution.lead_id));
        self.events
            .retain(|event| !event.lead_id.is_some_and(stays));
        let has_changed = !leads.is_empty();
        self.claim.progressed |= has_changed;
        let taken = std::mem::take(&mut self.taken);
        if let Some(caps) = &mut self.caps {
            caps.take(version, taken.messages, taken.new_leads);
        }
        rows::enter_executions(self.tx, self.workspace, &executions).await?;
        task::insert(self.tx, self.workspace, &std::mem::take(&mut self.tasks)).await?;
        task::expire(self.tx, &std::mem::take(&mut self.expired), self.now).await?;
        let (taken, moved): (Vec<_>, Vec<_>) = leads
            .into_iter()
            .partition(|lead| lead.worker_id.is_some() && !self.adopted.contains(&lead.id));
        // One that has gone on may be due in another lane, which waits for no sender's pace.
        let is_due = |lead: &LeadRow| {
            let due_at = lead.due_at.filter(|_| lead.worker_id.is_none());
            due_at.is_some_and(|due_at| from_ms(due_at) <= self.now)
        };
        if moved.iter().any(is_due) {
            self.claim.at_latest(self.now);
        }
        let taken: Vec<_> = taken.iter().map(LeadRow::lead_id).collect();
        rows::take_leads(self.tx, self.worker, &taken).await?;
        rows::save_leads(self.tx, &moved, None).await?;
        Ok(has_changed)
    }

    /// What the steps of these leads ask of the database.
    async fn known(&mut self, due: &[DueLead], lane: &OpenLane) -> Result<Known> {
        let version = &lane.version;
        let zones = self.engine.sender_zones(self.tx, version).await?;
        if let Some(sender) = &self.sender {
            let keys = |due| {
                lane.limits
                    .keys(self.workspace, due, sender.channel, self.now)
            };
            let keys = due.iter().flat_map(keys).map(|(_, _, key)| key).collect();
            self.used.read(self.tx, self.workspace, keys).await?;
            return Ok(Known {
                zones,
                limits: Some(lane.limits.clone()),
                ..Known::default()
            });
        }
        let of = |asks: fn(&CompiledStep) -> bool| -> Vec<LeadId> {
            due.iter()
                .filter(|due| {
                    let key = due.lead.step_key.as_deref();
                    key.and_then(|key| version.flow.step(key)).is_some_and(asks)
                })
                .map(|due| due.lead.lead_id())
                .collect()
        };
        let asking = of(
            |step| matches!(&step.work, Work::Condition(asked) if asked.predicate.asks_engagement()),
        );
        let tasked = of(|step| matches!(step.work, Work::Task(_)));
        Ok(Known {
            touched: engagement::touched(self.tx, &asking).await?,
            tasks: task::states(self.tx, &tasked).await?,
            zones,
            limits: None,
        })
    }

    /// The version that an attempt before ran under, where it can still be read.
    async fn older_version(&self, id: VersionId) -> Result<Option<Arc<RunningVersion>>> {
        match self.engine.version(self.tx, id).await {
            Ok(version) => Ok(Some(version)),
            Err(EngineError::Version { .. }) => Ok(None),
            Err(error @ EngineError::Store(_)) => Err(error),
        }
    }

    /// The channel of the lane's messages.
    fn channel(&self, step: Option<&CompiledStep>) -> Option<Channel> {
        match &self.sender {
            Some(sender) => Some(sender.channel),
            None => step.and_then(|step| step.channel),
        }
    }

    /// Writes what concerns the claim as a whole; the events last.
    pub(super) async fn finish(mut self) -> Result<Claim> {
        let sent = self.claim.messages.len();
        if let Some(caps) = self.caps {
            caps.write(self.tx).await?;
        }
        self.used.write(self.tx, self.workspace).await?;
        let paced = self.sender.as_ref().zip(self.gap);
        match paced.filter(|_| sent > 0) {
            Some((sender, gap)) => {
                let (now, gap_ms) = (self.now.timestamp_millis(), gap.num_milliseconds());
                lane::set_next_free(self.tx, sender.id, now, gap_ms).await?;
                self.claim.at_latest(self.now + gap);
            }
            // There may be more than one transaction takes, and leads have new due times.
            None if self.claim.progressed => self.claim.at_latest(self.now),
            // What is due was locked, or its person changed, by somebody just now.
            None => self.claim.at_latest(self.now + CONTENDED),
        }
        event::append(self.tx, self.workspace, self.events).await?;
        Ok(self.claim)
    }
}

/// `limit`, or for a large one the greatest number of the form 2^n or 1.5·2^n that is not above it:
/// limits are written into the text of a statement, and the database keeps only so many texts
/// prepared.
fn few_sizes(limit: usize) -> usize {
    if limit <= 32 {
        return limit;
    }
    let power = 1 << limit.ilog2();
    if limit >= power + power / 2 {
        power + power / 2
    } else {
        power
    }
}

#[cfg(test)]
mod tests {
    use super::few_sizes;

    #[test]
    fn limits_have_few_sizes_and_lose_at_most_a_third() {
        let mut sizes = std::collections::BTreeSet::new();
        for limit in 0..=512 {
            let size = few_sizes(limit);
            assert!(size <= limit && size * 3 >= limit * 2, "{limit}: {size}");
            sizes.insert(size);
        }
        assert!(sizes.len() <= 41, "{sizes:?}");
    }
}
