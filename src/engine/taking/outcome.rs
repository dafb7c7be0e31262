//! What becomes of one due lead: the execution that is entered, where it goes, and the events.

use std::sync::Arc;

use serde_json::{Value, json};
use uuid::Uuid;

use super::{Known, Taking};
use crate::channel::dispatch::Route;
use crate::clock::from_ms;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{Answer, CompiledStep, Destination, Work};
use crate::domain::id::{ExecutionId, SenderId};
use crate::domain::lead::{Happening, Hold, Onward, StopReason};
use crate::domain::outcome::GIVEN_UP;
use crate::domain::planning::Whereabouts;
use crate::engine::decide::{Circumstances, Decision, Outgoing, decide};
use crate::engine::limits::Counted;
use crate::engine::{Claimed, Result, RunningVersion, plan};
use crate::store::claim::{DueLead, LeadRow, NewExecution, PersonRow, Turn};
use crate::store::task::{NewTask, TaskText};

/// A lead as it is after its claim, and its execution, where there is one.
type Taken = (LeadRow, Option<NewExecution>);

/// One due lead, while it is decided what becomes of it.
struct Case<'a> {
    lead: LeadRow,
    new: NewExecution,
    version: &'a Arc<RunningVersion>,
    whereabouts: Whereabouts,
    known: &'a Known,
}

impl Taking<'_> {
    /// What becomes of a due lead, and the execution of it; `None` for one whose message finds no room,
    /// which stays as it is.
    pub(super) fn take_one(
        &mut self,
        due: DueLead,
        version: &Arc<RunningVersion>,
        older: Option<&RunningVersion>,
        known: &Known,
    ) -> Result<Option<Taken>> {
        let execution_id = due.execution.map_or_else(
            || self.engine.entropy.id(self.now),
            |(execution_id, ..)| execution_id,
        );
        let whereabouts = self.engine.whereabouts(&due.person);
        let step_key = due.lead.step_key.clone().unwrap_or_default();
        let decision = decide(
            &due,
            Circumstances {
                execution_id,
                version,
                sender: self.sender.as_deref(),
                whereabouts: &whereabouts,
                touched: known.touched.get(&due.lead.id),
                task: known.tasks.get(&(due.lead.id, step_key)).copied(),
                marks: self.engine.config.marks.as_ref(),
                now: self.now,
            },
        );
        let attempt = due.execution.map_or(0, |(_, _, attempt)| attempt) + 1;
        let new = self.new_execution(execution_id, attempt, &due, version);
        // An attempt that was to follow.
        let is_waiting = matches!(due.execution, Some((_, ExecutionStatus::Scheduled, _)));
        // What the workspace allows, a message of a sender must keep to as well.
        let mut counted = None;
        let mut decision = decision;
        if let (Decision::Send(_), Some(sender), Some(limits)) =
            (&decision, &self.sender, &known.limits)
        {
            let keys = limits.keys(self.workspace, &due, sender.channel, self.now);
            match limits.closed_until(&self.used, &keys, self.now) {
                Some(until) => decision = Decision::Later(until),
                None => counted = limits.counted(keys),
            }
        }
        let DueLead {
            mut lead, person, ..
        } = due;
        let step = lead.step_key.as_deref();
        forget_wait(
            &mut lead.hold,
            &mut lead.until_at,
            step.and_then(|key| version.flow.step(key)),
        );
        let mut case = Case {
            lead,
            new,
            version,
            whereabouts,
            known,
        };
        let happening = match decision {
            Decision::Send(outgoing) => return Ok(self.send(case, *outgoing, counted)),
            Decision::Later(due_at) => Happening::Later {
                due_at,
                retrying: false,
            },
            Decision::Quiet(due_at) => {
                let retrying = false;
                self.apply(&mut case.lead, &Happening::Later { due_at, retrying });
                case.lead.first_due_at = None;
                return Ok(Some((case.lead, None)));
            }
            Decision::Lacks { hold, what } => {
                tracing::debug!(lead.id = %case.lead.lead_id(), ?what, "a lead waits for its data");
                self.lacking.insert(case.lead.person_id, person);
                Happening::Lacks(hold)
            }
            Decision::AwaitConfirmation => Happening::Ambiguous,
            Decision::Await { hold, until, task } => {
                match task {
                    Some(text) => self.give(&case, text, until),
                    // What it asks of the person may just be changing.
                    None if hold == Hold::AwaitingCondition => {
                        self.lacking.insert(case.lead.person_id, person);
                    }
                    None => {}
                }
                Happening::Awaits { hold, until }
            }
            Decision::Elsewhere => {
                let step = case.lead.step_key.as_deref();
                let step = step.and_then(|key| version.flow.step(key));
                let sender = step.and_then(|step| case.lead.sender_at(step));
                case.lead.sender_id = sender.map(SenderId::uuid);
                return Ok(Some((case.lead, None)));
            }
            Decision::StepGone => return Ok(Some(self.step_gone(case, older, is_waiting))),
            Decision::Stop { code, message } => {
                self.settle(
                    &mut case,
                    ExecutionStatus::Skipped,
                    Some(code.as_str()),
                    &message,
                );
                self.stop(&mut case.lead, version, StopReason::MissingData);
                return Ok(Some((case.lead, Some(case.new))));
            }
            Decision::Forward(answer) => self.onward(&mut case, answer),
            Decision::Over {
                status,
                code,
                message,
            } => {
                self.give_up_task(&case);
                let code = code.map(crate::domain::outcome::ErrorCode::as_str);
                self.settle(&mut case, status, code, &message);
                return Ok(Some(self.over(case, Answer::Next)));
            }
            Decision::Done { answer, status } => {
                case.new.variant = answer.word();
                self.give_up_task(&case);
                self.settle(&mut case, status, None, "");
                return Ok(Some(self.over(case, answer)));
            }
            Decision::Update(set) => {
                case.whereabouts = self.engine.whereabouts(&moved(person, &set));
                self.settle(&mut case, ExecutionStatus::Sent, None, "");
                self.updates
                    .push((case.lead.lead_id(), case.lead.person_id, set));
                return Ok(Some(self.over(case, Answer::Next)));
            }
            Decision::End => {
                self.settle(&mut case, ExecutionStatus::Sent, None, "");
                return Ok(Some(self.over(case, Answer::Next)));
            }
        };
        self.apply(&mut case.lead, &happening);
        Ok(Some((case.lead, None)))
    }

    /// The lead leaves a step that gave a task: one that is still open is done by nobody.
    fn give_up_task(&mut self, case: &Case<'_>) {
        if case.known.tasks.contains_key(&case.task()) {
            self.expired
                .push((case.lead.lead_id(), case.new.step_key.clone()));
        }
    }

    fn new_execution(
        &self,
        id: ExecutionId,
        attempt: i32,
        due: &DueLead,
        version: &RunningVersion,
    ) -> NewExecution {
        let step = due.lead.step_key.as_deref();
        let step = step.and_then(|key| version.flow.step(key));
        NewExecution {
            id,
            lead_id: due.lead.lead_id(),
            sequence_id: version.sequence_id,
            version_id: version.id,
            step_key: due.lead.step_key.clone().unwrap_or_default(),
            variant: None,
            channel: self.channel(step),
            sender_id: self.sender.as_ref().map(|sender| sender.id),
            status: ExecutionStatus::Sending,
            attempt,
            error: None,
            subject: None,
            message_id: None,
            to_key: None,
            worker_id: Some(self.worker),
            quota_day: self.day.clone(),
            scheduled_at: due.lead.due_at,
            started_at: self.now,
            finished_at: None,
        }
    }

    /// The message leaves right after the claim is committed.
    fn send(
        &mut self,
        mut case: Case<'_>,
        outgoing: Outgoing,
        counted: Option<Counted>,
    ) -> Option<Taken> {
        // What the lead machine forbids is not sent, whatever was decided.
        if self.lane_left == 0 || !self.apply(&mut case.lead, &Happening::Claimed) {
            return None;
        }
        self.lane_left -= 1;
        self.left = self.left.saturating_sub(1);
        let route = match &self.sender {
            Some(sender) => {
                // One that is tried again is one again, for what failed was given back. What somebody has
                // settled as not sent was not: on its day nobody knew, and it counts as sent.
                let is_first = case.lead.turn == Turn::First.as_i16();
                self.taken.messages += 1;
                self.taken.new_leads += i32::from(is_first);
                if case.lead.sender_id != Some(sender.id.uuid()) {
                    case.lead.sender_id = Some(sender.id.uuid());
                    self.adopted.insert(case.lead.id);
                }
                Route::Sender(sender.route.clone())
            }
            None => Route::Webhook(self.workspace),
        };
        for key in counted.iter().flat_map(|counted| &counted.keys) {
            self.used.take(key.clone());
        }
        let Outgoing { variant, letter } = outgoing;
        case.new.variant = variant;
        case.new.subject = letter.subject().map(str::to_owned);
        case.new.message_id = letter.message_id().map(str::to_owned);
        case.new.to_key = letter.address();
        case.lead.worker_id = Some(self.worker.uuid());
        self.execution_event(&case, EventKind::ExecutionStarted, None);
        self.claim.messages.push(Claimed {
            workspace: self.workspace,
            execution_id: case.new.id,
            lead: case.lead.clone(),
            sequence_id: case.version.sequence_id,
            step_key: case.new.step_key.clone(),
            attempt: case.new.attempt,
            quota_day: self.day.clone(),
            claimed_at: case.new.started_at,
            worker: self.worker,
            sender: self.sender.clone(),
            gap: self.gap,
            version: Arc::clone(case.version),
            whereabouts: case.whereabouts,
            counted,
            route,
            letter,
        });
        Some((case.lead, Some(case.new)))
    }

    /// A person gets work.
    fn give(
        &mut self,
        case: &Case<'_>,
        text: TaskText,
        until: Option<chrono::DateTime<chrono::Utc>>,
    ) {
        let id = self.engine.entropy.id(self.now);
        let event = NewEvent::of_lead(
            self.now,
            EventKind::TaskCreated,
            case.version.sequence_id,
            case.lead.lead_id(),
        );
        let event = NewEvent {
            channel: Some(text.channel),
            ..event.at_step(&case.new.step_key)
        };
        self.events
            .push(event.with_detail(json!({ "taskId": id, "title": text.title })));
        self.tasks.push(NewTask {
            id,
            lead: case.lead.lead_id(),
            sequence: case.version.sequence_id,
            step_key: case.new.step_key.clone(),
            text,
            due_at: self.now,
            expires_at: until,
        });
    }

    /// A message was on its way while publishing took the step out, and did not leave: the lead goes where
    /// those went that stood there, at the time it has. An attempt that was to follow does not.
    fn step_gone(
        &mut self,
        mut case: Case<'_>,
        older: Option<&RunningVersion>,
        is_waiting: bool,
    ) -> Taken {
        let version = case.version;
        let step_key = case.lead.step_key.clone().unwrap_or_default();
        if is_waiting {
            // It is told of as what it was.
            if let Some((older, key)) = older.zip(case.lead.step_key.as_deref()) {
                case.new.version_id = older.id;
                case.new.channel = older.flow.step(key).and_then(|step| step.channel);
            }
            let (code, message) = GIVEN_UP;
            self.settle(
                &mut case,
                ExecutionStatus::Failed,
                Some(code.as_str()),
                message,
            );
        }
        let next = match version.removed.get(&step_key) {
            Some(Destination::Step(to)) => version.flow.step(to).map(Some),
            Some(Destination::Complete) => Some(None),
            Some(Destination::Stop) | None => None,
        };
        match next {
            Some(Some(next)) => self.moved_on(&mut case.lead, version, next),
            Some(None) => self.finished(&mut case.lead, version, &step_key),
            None => self.stop(&mut case.lead, version, StopReason::StepRemoved),
        }
        (case.lead, is_waiting.then_some(case.new))
    }

    /// The step is over, and its execution settled; the lead goes on.
    fn over(&mut self, mut case: Case<'_>, answer: Answer) -> Taken {
        let happening = self.onward(&mut case, answer);
        self.apply(&mut case.lead, &happening);
        (case.lead, Some(case.new))
    }

    /// Settles the execution of a step over which nothing is sent, with its event.
    fn settle(
        &mut self,
        case: &mut Case<'_>,
        status: ExecutionStatus,
        code: Option<&'static str>,
        message: &str,
    ) {
        let new = &mut case.new;
        new.status = status;
        new.error = code.map(|code| (code, message.to_owned()));
        new.worker_id = None;
        new.quota_day = None;
        new.finished_at = Some(self.now);
        let kind = match status {
            ExecutionStatus::Failed => EventKind::ExecutionFailed,
            ExecutionStatus::Skipped => EventKind::ExecutionSkipped,
            ExecutionStatus::Scheduled
            | ExecutionStatus::Sending
            | ExecutionStatus::Sent
            | ExecutionStatus::Delivered
            | ExecutionStatus::Unconfirmed => EventKind::ExecutionSent,
        };
        let detail = match (code, &case.new.variant) {
            (Some(code), _) => Some(json!({ "code": code, "message": message })),
            (None, Some(variant)) => Some(json!({ "variant": variant })),
            (None, None) if message.is_empty() => None,
            (None, None) => Some(json!({ "message": message })),
        };
        self.execution_event(case, kind, detail);
    }

    fn execution_event(&mut self, case: &Case<'_>, kind: EventKind, detail: Option<Value>) {
        let new = &case.new;
        self.events.push(NewEvent {
            execution_id: Some(new.id),
            channel: new.channel,
            sender_id: new.sender_id,
            step_key: Some(new.step_key.clone()),
            detail,
            ..NewEvent::of_lead(self.now, kind, new.sequence_id, case.lead.lead_id())
        });
    }

    fn stop(&mut self, lead: &mut LeadRow, version: &RunningVersion, reason: StopReason) {
        self.apply(lead, &Happening::Stop(reason));
        lead.last_action_at = Some(self.now.timestamp_millis());
        let event = NewEvent::of_lead(
            self.now,
            EventKind::LeadStopped,
            version.sequence_id,
            lead.lead_id(),
        );
        self.events
            .push(event.with_detail(json!({ "reason": reason.to_string() })));
    }

    /// The lead's step is gone and it goes on at another one, due as it was.
    fn moved_on(&mut self, lead: &mut LeadRow, version: &RunningVersion, next: &CompiledStep) {
        let from = lead.step_key.clone().unwrap_or_default();
        let event = self.removed_step_event(EventKind::LeadAdvanced, lead, version, &from);
        self.events.push(event.at_step(&next.key));
        lead.last_action_at = Some(self.now.timestamp_millis());
        lead.sender_id = lead.sender_at(next).map(SenderId::uuid);
        let onward = Onward {
            step_key: next.key.clone(),
            due_at: lead.due_at.map_or(self.now, from_ms),
        };
        let first_due_at = lead.first_due_at;
        self.apply(lead, &Happening::StepOver(Some(onward)));
        lead.first_due_at = first_due_at.filter(|_| lead.due_at.is_some());
    }

    /// The lead's step is gone, and none behind it is left.
    fn finished(&mut self, lead: &mut LeadRow, version: &RunningVersion, from: &str) {
        let event = self.removed_step_event(EventKind::LeadCompleted, lead, version, from);
        self.events.push(event);
        lead.last_action_at = Some(self.now.timestamp_millis());
        self.apply(lead, &Happening::StepOver(None));
    }

    /// As publishing tells of leads whose step it took out.
    fn removed_step_event(
        &self,
        kind: EventKind,
        lead: &LeadRow,
        version: &RunningVersion,
        from: &str,
    ) -> NewEvent {
        let event = NewEvent::of_lead(self.now, kind, version.sequence_id, lead.lead_id());
        event.with_detail(json!({ "from": from, "reason": "STEP_REMOVED" }))
    }

    /// The lead goes on without a message: where to, with the event that says so.
    fn onward(&mut self, case: &mut Case<'_>, answer: Answer) -> Happening {
        let (lead, version) = (&mut case.lead, case.version);
        let step = lead.step_key.as_deref();
        let step = step.and_then(|key| version.flow.step(key));
        let next = step.and_then(|step| version.flow.after(step, answer));
        lead.anchor_at = self.now.timestamp_millis();
        lead.last_action_at = Some(lead.anchor_at);
        let event = |kind| NewEvent::of_lead(self.now, kind, version.sequence_id, lead.lead_id());
        let Some(next) = next else {
            self.events.push(event(EventKind::LeadCompleted));
            return Happening::StepOver(None);
        };
        self.events
            .push(event(EventKind::LeadAdvanced).at_step(&next.key));
        let zones = &case.known.zones;
        let (onward, sender) =
            plan::onward(version, next, lead, &case.whereabouts, zones, self.now);
        lead.sender_id = sender.map(SenderId::uuid);
        Happening::StepOver(Some(onward))
    }

    /// A due lead is pending; a happening that it refuses leaves it as it is, to be seen again: then
    /// `false`.
    fn apply(&self, lead: &mut LeadRow, happening: &Happening) -> bool {
        match lead.state().map(|state| state.apply(happening, self.now)) {
            Ok(Ok(state)) => {
                lead.set_state_after(happening, state);
                return true;
            }
            Ok(Err(refused)) => {
                tracing::error!(lead.id = %lead.lead_id(), %refused, ?happening, "a lead refused");
            }
            Err(error) => tracing::error!(lead.id = %lead.lead_id(), %error, "a lead is corrupt"),
        }
        false
    }
}

/// A lead that waited at a step which is of another kind by now waits for nothing any more.
fn forget_wait(hold: &mut Option<String>, until_at: &mut Option<i64>, step: Option<&CompiledStep>) {
    let fits = match hold.as_deref().map(str::parse) {
        Some(Ok(Hold::AwaitingCondition)) => {
            step.is_some_and(|step| matches!(step.work, Work::Condition(_)))
        }
        Some(Ok(Hold::AwaitingTask)) => step.is_some_and(|step| matches!(step.work, Work::Task(_))),
        _ => true,
    };
    if !fits {
        *hold = None;
        *until_at = None;
    }
}

impl Case<'_> {
    /// Whose task the step is, and at which step.
    fn task(&self) -> (Uuid, String) {
        (self.lead.id, self.new.step_key.clone())
    }
}

/// The person where an update puts it: what comes next is planned on the clock and the holidays there.
fn moved(person: PersonRow, set: &serde_json::Map<String, Value>) -> PersonRow {
    let now = |field, before| match set.get(field) {
        Some(value) => value.as_str().map(str::to_owned),
        None => before,
    };
    PersonRow {
        time_zone: now("timeZone", person.time_zone),
        country: now("country", person.country),
        ..person
    }
}
