//! A claim in the making: what becomes of each due lead of a sender, in the claim's transaction.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use super::caps::Caps;
use super::claim::{CONTENDED, Claim};
use super::decide::{Decision, Message, decide};
use super::lane::OpenLane;
use super::plan::{self, RunningSender};
use super::{Claimed, Engine, EngineError, Result, RunningVersion};
use crate::clock::from_ms;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{Answer, Channel, CompiledStep};
use crate::domain::id::{ExecutionId, SenderId, VersionId, WorkerId};
use crate::domain::lead::{Happening, Hold, Onward, StopReason};
use crate::domain::outcome::GIVEN_UP;
use crate::domain::planning::Whereabouts;
use crate::store::claim::{self as rows, DueLead, LeadRow, NewExecution, PersonRow, Turn};
use crate::store::event;
use crate::store::lane;

/// How many due leads are looked at at least, even if fewer messages may go: a closed window of many
/// contacts must not hold up those whose window is open.
const LOOK_MIN: usize = 64;
/// How often one transaction looks again when leads were due but had nothing to send.
const ROUNDS_MAX: usize = 4;

/// A claim in the making: one sender, one transaction.
pub(super) struct Taking<'a> {
    engine: &'a Engine,
    tx: &'a DatabaseTransaction,
    worker: WorkerId,
    sender: Arc<RunningSender>,
    now: DateTime<Utc>,
    left: usize,
    /// How many messages the lane may still get that is being looked at.
    lane_left: usize,
    /// What was taken of that lane and is not in the caps yet.
    taken: Taken,
    /// Today, by the sender's clock.
    day: String,
    caps: Caps<'a>,
    /// Who was seen to miss data for a message, as they were read.
    lacking: HashMap<Uuid, PersonRow>,
    events: Vec<NewEvent>,
    claim: Claim,
}

/// How many messages, and how many of them to new leads.
#[derive(Default)]
struct Taken {
    messages: i32,
    new_leads: i32,
}

impl<'a> Taking<'a> {
    /// Nothing is taken yet; at most `limit` messages will be.
    pub(super) fn new(
        engine: &'a Engine,
        tx: &'a DatabaseTransaction,
        worker: WorkerId,
        sender: &Arc<RunningSender>,
        caps: Caps<'a>,
        limit: usize,
        now: DateTime<Utc>,
    ) -> Self {
        let is_paced = sender.min_gap > Duration::zero();
        Self {
            engine,
            tx,
            worker,
            sender: Arc::clone(sender),
            now,
            left: if is_paced { limit.min(1) } else { limit },
            lane_left: 0,
            taken: Taken::default(),
            day: sender.day(now),
            caps,
            lacking: HashMap::new(),
            events: Vec::new(),
            claim: Claim::default(),
        }
    }

    /// Takes what is due in a lane, as far as there is room.
    pub(super) async fn take_from_lane(&mut self, lane: &OpenLane, turn: Turn) -> Result<()> {
        for _ in 0..ROUNDS_MAX {
            let limit = few_sizes(self.left.min(self.caps.left(lane, turn)));
            if limit == 0 {
                return Ok(());
            }
            let look = limit.max(LOOK_MIN);
            let due = rows::due(
                self.tx,
                self.sender.id,
                lane.sequence_id,
                turn,
                self.now,
                look,
            );
            let due = due.await?;
            let found = due.len();
            self.lane_left = limit;
            self.take(due, &lane.version).await?;
            if found < look {
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

    async fn take(&mut self, due: Vec<DueLead>, version: &Arc<RunningVersion>) -> Result<()> {
        let mut leads = Vec::with_capacity(due.len());
        let mut executions = Vec::with_capacity(due.len());
        for due in due {
            let older = match due.ran_under.filter(|id| *id != version.id) {
                Some(id) => self.older_version(id).await?,
                None => None,
            };
            if let Some((lead, execution)) = self.take_one(due, version, older.as_deref())? {
                leads.push(lead);
                executions.extend(execution);
            }
        }
        // Data that came since the leads were read has found none of them waiting for it.
        let lacking = std::mem::take(&mut self.lacking);
        let changed = rows::changed_people(self.tx, &lacking).await?;
        if !changed.is_empty() {
            let waits =
                |lead: &LeadRow| lead.hold.as_deref() == Some(Hold::MissingMergeData.into());
            leads.retain(|lead| !(waits(lead) && changed.contains(&lead.person_id)));
        }
        self.claim.progressed |= !leads.is_empty();
        let taken = std::mem::take(&mut self.taken);
        self.caps.take(version, taken.messages, taken.new_leads);
        rows::enter_executions(self.tx, self.sender.workspace, &executions).await?;
        let (taken, moved): (Vec<_>, Vec<_>) =
            leads.into_iter().partition(|lead| lead.worker_id.is_some());
        let taken: Vec<_> = taken.iter().map(LeadRow::lead_id).collect();
        rows::take_leads(self.tx, self.worker, &taken).await?;
        rows::save_leads(self.tx, &moved, None).await?;
        Ok(())
    }

    /// The version that an attempt before ran under, where it can still be read.
    async fn older_version(&self, id: VersionId) -> Result<Option<Arc<RunningVersion>>> {
        match self.engine.version(self.tx, id).await {
            Ok(version) => Ok(Some(version)),
            Err(EngineError::Version { .. }) => Ok(None),
            Err(error @ EngineError::Store(_)) => Err(error),
        }
    }

    /// What becomes of a due lead, and the execution of it; `None` for one whose message finds no room,
    /// which stays as it is.
    fn take_one(
        &mut self,
        due: DueLead,
        version: &Arc<RunningVersion>,
        older: Option<&RunningVersion>,
    ) -> Result<Option<(LeadRow, Option<NewExecution>)>> {
        let execution_id = due.execution.map_or_else(
            || self.engine.entropy.id(self.now),
            |(execution_id, ..)| execution_id,
        );
        let whereabouts = self.engine.whereabouts(&due.person);
        let decision = decide(
            &due,
            execution_id,
            version,
            &self.sender,
            &whereabouts,
            self.now,
        );
        let attempt = due.execution.map_or(0, |(_, _, attempt)| attempt) + 1;
        let mut new = self.new_execution(execution_id, attempt, &due, version);
        let mut lead = due.lead;
        let happening = match decision {
            Decision::Send(_) if self.lane_left == 0 => return Ok(None),
            Decision::Send(message) => {
                // What the lead machine forbids is not sent, whatever was decided.
                if !self.apply(&mut lead, &Happening::Claimed) {
                    return Ok(None);
                }
                self.lane_left -= 1;
                self.left = self.left.saturating_sub(1);
                // A first message that is tried again is not a new lead a second time.
                let is_new_lead = lead.turn == Turn::First.as_i16() && attempt == 1;
                self.taken.messages += 1;
                self.taken.new_leads += i32::from(is_new_lead);
                new.variant = Some(message.variant.clone());
                new.subject = Some(message.email.subject.clone());
                new.message_id = Some(message.email.message_id.clone());
                lead.worker_id = Some(self.worker.uuid());
                self.send(&lead, &new, version, whereabouts, *message);
                return Ok(Some((lead, Some(new))));
            }
            Decision::Later(due_at) => {
                self.apply(
                    &mut lead,
                    &Happening::Later {
                        due_at,
                        retrying: false,
                    },
                );
                return Ok(Some((lead, None)));
            }
            Decision::MissingData(tags) => {
                self.apply(&mut lead, &Happening::DataMissing);
                self.lacking.insert(lead.person_id, due.person);
                tracing::debug!(lead.id = %lead.lead_id(), ?tags, "a lead waits for its data");
                return Ok(Some((lead, None)));
            }
            Decision::AwaitConfirmation => {
                self.apply(&mut lead, &Happening::Ambiguous);
                return Ok(Some((lead, None)));
            }
            Decision::StepGone => {
                // A message was on its way while publishing took the step out: the lead goes on at
                // the next step that is left, at the time it has.
                let next = older.zip(lead.step_key.as_deref());
                let next = next.and_then(|(older, key)| older.next_in(version, key));
                // An attempt that was to follow does not.
                let is_waiting = matches!(due.execution, Some((_, ExecutionStatus::Scheduled, _)));
                let given_up = is_waiting.then(|| {
                    let (code, message) = GIVEN_UP;
                    settle(
                        &mut new,
                        ExecutionStatus::Failed,
                        code.as_str(),
                        message.into(),
                        self.now,
                    );
                    self.execution_event(&lead, &new, EventKind::ExecutionFailed);
                    new
                });
                match next {
                    Some(next) => self.moved_on(&mut lead, version, next),
                    None => self.stop(&mut lead, version, StopReason::StepRemoved),
                }
                return Ok(Some((lead, given_up)));
            }
            Decision::Suppressed => {
                self.stop(&mut lead, version, StopReason::Suppressed);
                settle(
                    &mut new,
                    ExecutionStatus::Skipped,
                    "SUPPRESSED",
                    "The address must not be contacted.".into(),
                    self.now,
                );
                self.execution_event(&lead, &new, EventKind::ExecutionSkipped);
                return Ok(Some((lead, Some(new))));
            }
            Decision::Forward => self.onward(&mut lead, version, &whereabouts),
            Decision::Over {
                status,
                code,
                message,
            } => {
                settle(&mut new, status, code.as_str(), message, self.now);
                let kind = match status {
                    ExecutionStatus::Failed => EventKind::ExecutionFailed,
                    _ => EventKind::ExecutionSkipped,
                };
                self.execution_event(&lead, &new, kind);
                let happening = self.onward(&mut lead, version, &whereabouts);
                self.apply(&mut lead, &happening);
                return Ok(Some((lead, Some(new))));
            }
        };
        self.apply(&mut lead, &happening);
        Ok(Some((lead, None)))
    }

    fn new_execution(
        &self,
        id: ExecutionId,
        attempt: i32,
        due: &DueLead,
        version: &RunningVersion,
    ) -> NewExecution {
        NewExecution {
            id,
            lead_id: due.lead.lead_id(),
            sequence_id: version.sequence_id,
            version_id: version.id,
            step_key: due.lead.step_key.clone().unwrap_or_default(),
            variant: None,
            sender_id: self.sender.id,
            status: ExecutionStatus::Sending,
            attempt,
            error: None,
            subject: None,
            message_id: None,
            worker_id: Some(self.worker),
            quota_day: Some(self.day.clone()),
            scheduled_at: due.lead.due_at,
            started_at: self.now,
            finished_at: None,
        }
    }

    fn send(
        &mut self,
        lead: &LeadRow,
        new: &NewExecution,
        version: &Arc<RunningVersion>,
        whereabouts: Whereabouts,
        message: Message,
    ) {
        self.execution_event(lead, new, EventKind::ExecutionStarted);
        self.claim.messages.push(Claimed {
            workspace: self.sender.workspace,
            execution_id: new.id,
            lead: lead.clone(),
            sequence_id: version.sequence_id,
            step_key: new.step_key.clone(),
            attempt: new.attempt,
            quota_day: self.day.clone(),
            claimed_at: new.started_at,
            worker: self.worker,
            sender: Arc::clone(&self.sender),
            version: Arc::clone(version),
            whereabouts,
            email: message.email,
        });
    }

    fn execution_event(&mut self, lead: &LeadRow, new: &NewExecution, kind: EventKind) {
        let detail = new
            .error
            .as_ref()
            .map(|(code, message)| serde_json::json!({ "code": code, "message": message }));
        self.events.push(NewEvent {
            execution_id: Some(new.id),
            channel: Some(Channel::Email),
            sender_id: Some(new.sender_id),
            step_key: Some(new.step_key.clone()),
            detail,
            ..NewEvent::of_lead(self.now, kind, new.sequence_id, lead.lead_id())
        });
    }

    fn stop(&mut self, lead: &mut LeadRow, version: &RunningVersion, reason: StopReason) {
        self.apply(lead, &Happening::Stop(reason));
        let event = NewEvent::of_lead(
            self.now,
            EventKind::LeadStopped,
            version.sequence_id,
            lead.lead_id(),
        );
        self.events
            .push(event.with_detail(serde_json::json!({ "reason": reason.to_string() })));
    }

    /// The lead's step is gone and it goes on at another one, due as it was.
    fn moved_on(&mut self, lead: &mut LeadRow, version: &RunningVersion, next: &CompiledStep) {
        let event = NewEvent::of_lead(
            self.now,
            EventKind::LeadAdvanced,
            version.sequence_id,
            lead.lead_id(),
        );
        self.events.push(event.at_step(&next.key));
        lead.last_action_at = Some(self.now.timestamp_millis());
        lead.sender_id = next
            .sender(Some(self.sender.id), lead.bucket)
            .map(SenderId::uuid)
            .or(lead.sender_id);
        let onward = Onward {
            step_key: next.key.clone(),
            due_at: lead.due_at.map_or(self.now, from_ms),
        };
        self.apply(lead, &Happening::StepOver(Some(onward)));
    }

    /// The lead goes on without a message: where to, with the event that says so.
    fn onward(
        &mut self,
        lead: &mut LeadRow,
        version: &RunningVersion,
        whereabouts: &Whereabouts,
    ) -> Happening {
        let step = lead
            .step_key
            .as_deref()
            .and_then(|key| version.flow.step(key));
        let next = step.and_then(|step| version.flow.after(step, Answer::Next));
        lead.anchor_at = self.now.timestamp_millis();
        lead.last_action_at = Some(lead.anchor_at);
        let event = |kind| NewEvent::of_lead(self.now, kind, version.sequence_id, lead.lead_id());
        let Some(next) = next else {
            self.events.push(event(EventKind::LeadCompleted));
            return Happening::StepOver(None);
        };
        self.events
            .push(event(EventKind::LeadAdvanced).at_step(&next.key));
        let calendar = plan::calendar(version, &self.sender.zone, whereabouts);
        lead.sender_id = next
            .sender(Some(self.sender.id), lead.bucket)
            .map(SenderId::uuid)
            .or(lead.sender_id);
        Happening::StepOver(Some(Onward {
            step_key: next.key.clone(),
            due_at: plan::due_at(next, self.now, &calendar),
        }))
    }

    /// A due lead is pending; a happening that it refuses leaves it as it is, to be seen again: then
    /// `false`.
    fn apply(&self, lead: &mut LeadRow, happening: &Happening) -> bool {
        match lead.state().map(|state| state.apply(happening, self.now)) {
            Ok(Ok(state)) => {
                lead.set_state(state);
                return true;
            }
            Ok(Err(refused)) => {
                tracing::error!(lead.id = %lead.lead_id(), %refused, ?happening, "a lead refused");
            }
            Err(error) => tracing::error!(lead.id = %lead.lead_id(), %error, "a lead is corrupt"),
        }
        false
    }

    /// Writes what concerns the claim as a whole; the events last.
    pub(super) async fn finish(mut self) -> Result<Claim> {
        let sent = self.claim.messages.len();
        self.caps.write(self.tx).await?;
        if sent > 0 && self.sender.min_gap > Duration::zero() {
            let next_free = self.now + self.sender.min_gap;
            lane::set_next_free(self.tx, self.sender.id, next_free.timestamp_millis()).await?;
            self.claim.at_latest(next_free);
        } else if self.claim.progressed {
            // There may be more than one transaction takes, and leads have new due times.
            self.claim.at_latest(self.now);
        } else {
            // What is due was locked, or its person changed, by somebody just now.
            self.claim.at_latest(self.now + CONTENDED);
        }
        event::append(
            self.tx,
            self.sender.workspace,
            std::mem::take(&mut self.events),
        )
        .await?;
        Ok(self.claim)
    }
}

fn settle(
    new: &mut NewExecution,
    status: ExecutionStatus,
    code: &'static str,
    message: String,
    now: DateTime<Utc>,
) {
    new.status = status;
    new.error = Some((code, message));
    new.worker_id = None;
    new.quota_day = None;
    new.finished_at = Some(now);
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
