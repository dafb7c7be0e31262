//! Record: how messages ended, where their leads go next, and the events that say so, in one
//! transaction for a batch.
//!
//! Fenced: a result counts only for the attempt that it belongs to, while that attempt is still
//! SENDING under the same worker, or UNCONFIRMED because the worker was given up meanwhile.

mod closed;
mod erased;
mod writing;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::plan::{RunningSender, SenderZones};
use super::{Claimed, Engine, EngineError, Letter, Result, RunningVersion, plan, undisturbed};
use crate::channel::dispatch::Kept;
use crate::clock::from_ms;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId, VersionId, WorkspaceId};
use crate::domain::lead::{Happening, LeadState, LeadStatus};
use crate::domain::outcome::{ErrorCode, GIVEN_UP, Outcome, Scope};
use crate::domain::retry::retry_delay;
use crate::domain::settings::WindowClock;
use crate::domain::zone::Zone;
use crate::store::StoreError;
use crate::store::claim::LeadRow;
use crate::store::dispatch::{self as rows, KeptMessage, OpenExecution, Settled};
use crate::store::lane::{self, QuotaKey};

/// The shortest and the longest time for which a sender in trouble is left alone.
const SENDER_REST: (Duration, Duration) = (Duration::seconds(5), Duration::minutes(15));

/// With the last of so many troubles in a row a sender is switched off whose login is refused for good:
/// to go on would lock its account.
const AUTH_FAILURES_MAX: i32 = 3;

/// How a claimed message ended.
#[derive(Debug, Clone)]
pub enum Ending {
    /// The channel's verdict, and what an outbox kept.
    Dispatched(Outcome, Option<Kept>),
    /// It was not sent; nothing left.
    Released,
}

impl Engine {
    /// Records how messages ended. Messages of one workspace go into one transaction.
    ///
    /// # Errors
    /// As the database has it; then nothing of the failing batch was recorded, and it must be
    /// recorded again.
    pub async fn record(&self, batch: &[(Claimed, Ending)]) -> Result<()> {
        let mut by_workspace: BTreeMap<WorkspaceId, Vec<&(Claimed, Ending)>> = BTreeMap::new();
        for one in batch {
            by_workspace.entry(one.0.workspace).or_default().push(one);
        }
        for (workspace, batch) in by_workspace {
            let worker = self.worker();
            let (sent, mut rest): (Vec<_>, Vec<_>) =
                (batch.into_iter()).partition(|one| undisturbed::is_sent_by(worker, one));
            if !sent.is_empty() && !self.record_undisturbed(workspace, worker, &sent).await? {
                rest.extend(sent);
            }
            if !rest.is_empty() {
                self.record_carefully(workspace, &rest).await?;
            }
        }
        Ok(())
    }

    async fn record_carefully(
        &self,
        workspace: WorkspaceId,
        batch: &[&(Claimed, Ending)],
    ) -> Result<()> {
        let tx = self.db.begin().await?;
        let ids: Vec<ExecutionId> = batch
            .iter()
            .map(|(claimed, _)| claimed.execution_id)
            .collect();
        lane::running_versions(&tx, &sequences_of(batch)).await?;
        let open = rows::open_executions(&tx, &ids).await?;
        let mut current: HashMap<VersionId, Arc<RunningVersion>> = HashMap::new();
        for id in open.iter().filter_map(|open| open.current_version) {
            match self.version(&tx, id).await {
                Ok(version) => {
                    current.insert(id, version);
                }
                Err(EngineError::Store(error)) => return Err(error.into()),
                Err(error @ EngineError::Version { .. }) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "the version a lead was sent under is used instead"
                    );
                }
            }
        }
        let mut open: HashMap<ExecutionId, OpenExecution> =
            open.into_iter().map(|open| (open.id, open)).collect();
        let mut recording = Recording::new(self, workspace);
        let versions = batch
            .iter()
            .map(|one| &one.0.version)
            .chain(current.values());
        recording.read_zones(&tx, versions).await?;
        for (claimed, ending) in batch {
            let Some(open) = open.remove(&claimed.execution_id) else {
                continue;
            };
            if !is_ours(&open, claimed) {
                tracing::warn!(execution.id = %claimed.execution_id,
                    "a result came after its attempt was given up and settled otherwise");
                continue;
            }
            let version = open.current_version.and_then(|id| current.get(&id));
            let version = version.unwrap_or(&claimed.version).clone();
            recording.note(open, claimed, ending, &version)?;
        }
        recording.forget_erased(&tx).await?;
        let progressed = recording.write(&tx).await?;
        tx.commit().await.map_err(StoreError::from)?;
        if progressed {
            self.wake.log();
        }
        Ok(())
    }
}

/// The sequences of these messages, each once.
pub(super) fn sequences_of(batch: &[&(Claimed, Ending)]) -> Vec<SequenceId> {
    let all: BTreeSet<SequenceId> = batch.iter().map(|one| one.0.sequence_id).collect();
    all.into_iter().collect()
}

fn is_ours(open: &OpenExecution, claimed: &Claimed) -> bool {
    open.attempt == claimed.attempt
        // A released attempt gives its number to the next one: the instant tells the two apart when
        // a commit whose answer was lost is recorded again.
        && open.started_at == Some(claimed.claimed_at.timestamp_millis())
        && match open.status {
            ExecutionStatus::Sending => open.worker_id == Some(claimed.worker),
            ExecutionStatus::Unconfirmed => true,
            ExecutionStatus::Scheduled
            | ExecutionStatus::Sent
            | ExecutionStatus::Delivered
            | ExecutionStatus::Failed
            | ExecutionStatus::Skipped => false,
        }
}

/// What puts a lead back whose message certainly did not leave. One that was given up meanwhile,
/// as if it might have left, has lost its due time and is due now.
fn put_back(open: &OpenExecution) -> Happening {
    match open.status {
        ExecutionStatus::Unconfirmed => Happening::SettledUnsent,
        _ => Happening::Released,
    }
}

/// The day of a sequence's clock on which an execution was claimed.
fn claimed_on(open: &OpenExecution, zone: Option<&Zone>) -> Option<String> {
    Some(lane::quota_day(from_ms(open.started_at?), zone?))
}

/// What a batch will write.
pub(super) struct Recording<'a> {
    engine: &'a Engine,
    workspace: WorkspaceId,
    now: DateTime<Utc>,
    leads: Vec<LeadRow>,
    /// Whose the executions are.
    of: Vec<(ExecutionId, LeadId)>,
    settled: Vec<Settled>,
    kept: Vec<KeptMessage>,
    events: Vec<NewEvent>,
    refunds: HashMap<QuotaKey, i32>,
    /// Of what the workspace allows.
    limit_refunds: HashMap<QuotaKey, i32>,
    /// Addresses that refuse for good, and the messages that they refused.
    bounced: Vec<(ExecutionId, Option<(Channel, String)>)>,
    /// Addresses whose owners have opted out, and the messages that told it.
    opted_out: (Vec<(Channel, String)>, Vec<ExecutionId>),
    unhealthy: BTreeMap<SenderId, (DateTime<Utc>, String)>,
    healthy: BTreeSet<SenderId>,
    paced: BTreeMap<SenderId, Duration>,
    /// Senders that are switched off, as their login was refused time and again.
    refused_login: BTreeMap<SenderId, String>,
    /// The senders' clocks of versions that go by them.
    zones: HashMap<VersionId, SenderZones>,
    no_zones: SenderZones,
}

/// What trouble a sender had.
struct Trouble {
    code: ErrorCode,
    message: String,
    response: Option<String>,
    /// How long its server asks to be left alone.
    rest: Option<Duration>,
    /// Whether its server says that to try again would not help.
    is_final: bool,
}

impl<'a> Recording<'a> {
    pub(super) fn new(engine: &'a Engine, workspace: WorkspaceId) -> Self {
        Self {
            engine,
            workspace,
            now: engine.clock.now(),
            leads: Vec::new(),
            of: Vec::new(),
            settled: Vec::new(),
            kept: Vec::new(),
            events: Vec::new(),
            refunds: HashMap::new(),
            limit_refunds: HashMap::new(),
            bounced: Vec::new(),
            opted_out: Default::default(),
            unhealthy: BTreeMap::new(),
            healthy: BTreeSet::new(),
            paced: BTreeMap::new(),
            refused_login: BTreeMap::new(),
            zones: HashMap::new(),
            no_zones: SenderZones::new(),
        }
    }

    /// Reads the clocks of the versions' senders, where they go by them.
    pub(super) async fn read_zones<'v>(
        &mut self,
        connection: &impl ConnectionTrait,
        versions: impl Iterator<Item = &'v Arc<RunningVersion>>,
    ) -> Result<()> {
        for version in versions {
            if version.settings.window_clock == WindowClock::Sender
                && !self.zones.contains_key(&version.id)
            {
                let zones = self.engine.sender_zones(connection, version).await?;
                self.zones.insert(version.id, zones);
            }
        }
        Ok(())
    }

    /// Works out what an ending makes of its execution and lead.
    pub(super) fn note(
        &mut self,
        open: OpenExecution,
        claimed: &Claimed,
        ending: &Ending,
        current: &RunningVersion,
    ) -> Result<()> {
        self.of.push((open.id, open.lead.lead_id()));
        let nothing_left = matches!(
            ending,
            Ending::Released | Ending::Dispatched(Outcome::NotBegun, _)
        );
        if let (Some(sender), Some(gap)) = (&claimed.sender, claimed.gap)
            && !nothing_left
        {
            self.paced.insert(sender.id, gap);
        }
        match ending {
            Ending::Released | Ending::Dispatched(Outcome::NotBegun, _) => {
                self.refund_counted(claimed);
                self.released(open, Some((&claimed.version.zone, current)))
            }
            Ending::Dispatched(Outcome::Sent { response }, kept) => {
                self.sent(open, claimed, response, kept.as_ref(), current)
            }
            Ending::Dispatched(Outcome::Ambiguous { reason }, _) => self.ambiguous(open, reason),
            Ending::Dispatched(outcome, _) => self.not_sent(open, claimed, outcome, current),
        }
    }

    fn sent(
        &mut self,
        mut open: OpenExecution,
        claimed: &Claimed,
        response: &str,
        kept: Option<&Kept>,
        current: &RunningVersion,
    ) -> Result<()> {
        if let Some(sender) = &claimed.sender {
            let lead = &mut open.lead;
            lead.messages_sent += 1;
            lead.turn = 0;
            let in_thread = claimed
                .version
                .flow
                .step(&claimed.step_key)
                .is_some_and(|step| step.in_thread());
            let mut thread = lead.thread().unwrap_or_default();
            if let Letter::Email(email) = &claimed.letter {
                thread = thread.with(&email.message_id, &email.subject, in_thread);
            }
            let thread = thread.sent_by(sender.channel, sender.id);
            lead.thread = serde_json::to_value(thread).ok();
            if let Some(kept) = kept {
                self.kept.push(KeptMessage {
                    execution_id: open.id,
                    sender_id: sender.id,
                    recipient: kept.recipient.clone(),
                    content: kept.content.clone(),
                });
            }
            // The sender as it was at the claim: trouble that came later is forgotten by a later
            // success.
            if sender.failures > 0 {
                self.healthy.insert(sender.id);
            }
        }
        self.settled.push(Settled {
            id: open.id,
            status: ExecutionStatus::Sent,
            attempt: open.attempt,
            error: None,
            response: (!response.is_empty()).then(|| response.to_owned()),
            retry_at: None,
            finished_at: Some(self.now),
        });
        self.event(&open, EventKind::ExecutionSent, None);
        self.goes_on(open, claimed, current)
    }

    fn not_sent(
        &mut self,
        open: OpenExecution,
        claimed: &Claimed,
        outcome: &Outcome,
        current: &RunningVersion,
    ) -> Result<()> {
        let code = outcome.error_code().unwrap_or(ErrorCode::ProviderError);
        let message = outcome.explain();
        let response = outcome.response().map(str::to_owned);
        let zone = Some(&claimed.version.zone);
        self.refund(&open, zone);
        self.refund_counted(claimed);
        let scope = outcome.scope();
        if scope == Some(Scope::Sender)
            && let Some(sender) = &claimed.sender
        {
            let trouble = Trouble {
                code,
                message,
                response,
                rest: outcome.retry_after(),
                is_final: matches!(outcome, Outcome::Rejected { .. }),
            };
            return self.sender_in_trouble(open, sender, trouble, current);
        }
        if matches!(outcome, Outcome::Retry { .. }) {
            let retry = &self.engine.config.retry;
            let unit = self.engine.entropy.unit();
            if let Some(delay) = retry_delay(retry, open.attempt.unsigned_abs(), unit) {
                let delay = Duration::from_std(delay).unwrap_or(SENDER_REST.1);
                let asked = outcome.retry_after().unwrap_or_default();
                let due_at = self.now + delay.max(asked);
                let settled = Settled {
                    id: open.id,
                    status: ExecutionStatus::Scheduled,
                    attempt: open.attempt,
                    error: Some((code.as_str(), message)),
                    response,
                    retry_at: Some(due_at),
                    finished_at: None,
                };
                self.waits(&open, settled)?;
                let retrying = true;
                return self.stays(open, &Happening::Later { due_at, retrying }, current);
            }
        }
        self.settled.push(Settled {
            id: open.id,
            status: ExecutionStatus::Failed,
            attempt: open.attempt,
            error: Some((code.as_str(), message.clone())),
            response,
            retry_at: None,
            finished_at: Some(self.now),
        });
        let detail = json!({ "code": code.as_str(), "message": message });
        self.event(&open, EventKind::ExecutionFailed, Some(detail));
        match scope {
            Some(Scope::Recipient { hard: true }) => self.bounced(open, &claimed.letter),
            Some(Scope::OptedOut) => self.opted_out(open, &claimed.letter),
            _ => self.goes_on(open, claimed, current),
        }
    }

    /// The trouble is the sender's own: no attempt of the lead is used up, and the sender rests.
    fn sender_in_trouble(
        &mut self,
        open: OpenExecution,
        sender: &RunningSender,
        trouble: Trouble,
        current: &RunningVersion,
    ) -> Result<()> {
        let Trouble {
            code,
            message,
            response,
            rest: asked,
            is_final,
        } = trouble;
        let doublings = sender.failures.clamp(0, 16).unsigned_abs();
        let rest = SENDER_REST.0 * 2_i32.saturating_pow(doublings);
        let rest = rest.min(SENDER_REST.1);
        let until = self.now + asked.map_or(rest, |asked| asked.max(rest));
        self.unhealthy.insert(sender.id, (until, message.clone()));
        if is_final && code == ErrorCode::AuthFailed && sender.failures + 1 >= AUTH_FAILURES_MAX {
            self.refused_login.insert(sender.id, message.clone());
        }
        let settled = Settled {
            id: open.id,
            status: ExecutionStatus::Scheduled,
            attempt: (open.attempt - 1).max(0),
            error: Some((code.as_str(), message)),
            response,
            retry_at: Some(until),
            finished_at: None,
        };
        self.waits(&open, settled)?;
        let happening = put_back(&open);
        self.stays(open, &happening, current)
    }

    /// It was not sent: nothing left, and the lead is due as it was. `of` is the clock by which a message
    /// was counted, and the version that runs now; none of a request, which has no sender.
    pub(super) fn released(
        &mut self,
        open: OpenExecution,
        of: Option<(&Zone, &RunningVersion)>,
    ) -> Result<()> {
        let zone = of.map(|(zone, _)| zone);
        self.refund(&open, zone);
        let settled = Settled {
            id: open.id,
            status: ExecutionStatus::Scheduled,
            attempt: (open.attempt - 1).max(0),
            error: None,
            response: None,
            retry_at: None,
            finished_at: None,
        };
        self.waits(&open, settled)?;
        let happening = put_back(&open);
        match of {
            Some((_, current)) => self.stays(open, &happening, current),
            None => self.moved(open, &happening),
        }
    }

    /// It may or may not have left: shown, and never sent again by itself.
    pub(super) fn ambiguous(&mut self, open: OpenExecution, reason: &str) -> Result<()> {
        if open.status == ExecutionStatus::Unconfirmed {
            return Ok(());
        }
        let message = format!(
            "It is not known whether the message left ({reason}): check the mailbox, then settle it."
        );
        self.settled.push(Settled {
            id: open.id,
            status: ExecutionStatus::Unconfirmed,
            attempt: open.attempt,
            error: Some((ErrorCode::Interrupted.as_str(), message)),
            response: None,
            retry_at: None,
            finished_at: Some(self.now),
        });
        self.event(&open, EventKind::ExecutionUnconfirmed, None);
        self.moved(open, &Happening::Ambiguous)
    }

    /// Another attempt follows, unless the lead is over.
    fn waits(&mut self, open: &OpenExecution, mut settled: Settled) -> Result<()> {
        if open.lead.state()?.status.is_over() {
            let (code, message) = GIVEN_UP;
            let detail = json!({ "code": code.as_str(), "message": message });
            settled.status = ExecutionStatus::Failed;
            settled.error = Some((code.as_str(), message.to_owned()));
            settled.retry_at = None;
            settled.finished_at = Some(self.now);
            self.event(open, EventKind::ExecutionFailed, Some(detail));
        }
        self.settled.push(settled);
        Ok(())
    }

    fn goes_on(
        &mut self,
        mut open: OpenExecution,
        claimed: &Claimed,
        current: &RunningVersion,
    ) -> Result<()> {
        let next = claimed.version.next_in(current, &claimed.step_key);
        let onward = next.map(|next| {
            let whereabouts = &claimed.whereabouts;
            let zones = self.zones.get(&current.id).unwrap_or(&self.no_zones);
            let (onward, sender) =
                plan::onward(current, next, &open.lead, whereabouts, zones, self.now);
            open.lead.sender_id = sender.map(SenderId::uuid);
            onward
        });
        self.moved(open, &Happening::StepOver(onward))
    }

    /// The lead is still at its step, in the lane that the step has in the version that runs.
    fn stays(
        &mut self,
        mut open: OpenExecution,
        happening: &Happening,
        current: &RunningVersion,
    ) -> Result<()> {
        if !open.lead.state()?.status.is_over() {
            let sender = open.lead.standing_sender(&current.flow);
            open.lead.sender_id = sender.map(SenderId::uuid);
        }
        self.moved(open, happening)
    }

    /// Applies what happened to the lead, with the events that follow from it.
    fn moved(&mut self, open: OpenExecution, happening: &Happening) -> Result<()> {
        let mut lead = open.lead;
        let before = lead.state()?;
        lead.worker_id = None;
        match before.apply(happening, self.now) {
            Ok(after) => {
                self.lead_events(&lead, &before, &after);
                if matches!(happening, Happening::StepOver(_) | Happening::Stop(_)) {
                    lead.anchor_at = self.now.timestamp_millis();
                    lead.last_action_at = Some(lead.anchor_at);
                }
                lead.set_state_after(happening, after);
            }
            // Over meanwhile: only its counts change.
            Err(refused) => tracing::debug!(lead.id = %lead.lead_id(), %refused, "a lead is over"),
        }
        self.leads.push(lead);
        Ok(())
    }

    fn lead_events(&mut self, lead: &LeadRow, before: &LeadState, after: &LeadState) {
        let sequence = SequenceId::from_uuid(lead.sequence_id);
        let event = |kind| NewEvent::of_lead(self.now, kind, sequence, lead.lead_id());
        if after.status != before.status && after.status == LeadStatus::Completed {
            self.events.push(event(EventKind::LeadCompleted));
        } else if after.status != before.status && after.status == LeadStatus::Stopped {
            let reason = after.stop_reason.map(|reason| reason.to_string());
            let stopped = event(EventKind::LeadStopped);
            self.events
                .push(stopped.with_detail(json!({ "reason": reason })));
        } else if after.step_key != before.step_key
            && let Some(key) = &after.step_key
        {
            self.events
                .push(event(EventKind::LeadAdvanced).at_step(key));
        }
    }

    fn event(&mut self, open: &OpenExecution, kind: EventKind, detail: Option<serde_json::Value>) {
        let sequence = SequenceId::from_uuid(open.lead.sequence_id);
        self.events.push(NewEvent {
            execution_id: Some(open.id),
            channel: open.channel,
            sender_id: open.sender_id,
            step_key: Some(open.step_key.clone()),
            detail,
            ..NewEvent::of_lead(self.now, kind, sequence, open.lead.lead_id())
        });
    }
}
