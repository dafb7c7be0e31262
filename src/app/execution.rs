//! Settling what nobody knows: whether the message of an UNCONFIRMED execution left.

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;
use serde_json::json;

use super::{AppError, Caller, Refusal, RefusalCode, Services, calendar, deadlock};
use crate::clock::from_ms;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::{Answer, CompiledFlow, Flow};
use crate::domain::id::{ExecutionId, PersonId, SenderId, SequenceId, VersionId, WorkspaceId};
use crate::domain::lead::{Happening, LeadStatus, Onward};
use crate::domain::outcome::ErrorCode;
use crate::domain::planning;
use crate::domain::schedule::Calendar;
use crate::domain::scope::SequenceScope;
use crate::domain::thread::Thread;
use crate::store::claim::{LeadRow, save_leads};
use crate::store::dispatch::{self, OpenExecution, Settled};
use crate::store::execution::{self, Row};
use crate::store::{StoreError, dialect, event, lane, sequence};

/// Settles an UNCONFIRMED execution. Where the message was sent, the lead goes on as if that had
/// been known at once; where it was not, it is sent again. Settling twice alike is no error.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND`, or with `WRONG_STATE` if there is nothing to settle;
/// [`AppError::Store`] as the database has it.
pub async fn resolve(
    services: &Services,
    caller: &Caller,
    id: ExecutionId,
    was_sent: bool,
) -> Result<Row, AppError> {
    let by = By {
        workspace: caller.workspace,
        scope: &caller.scope,
        name: &caller.name,
    };
    settle(services, by, id, was_sent).await
}

/// Notes that the message of an UNCONFIRMED execution left, as `by` knows; of any other one it changes nothing.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub async fn note_left(
    services: &Services,
    workspace: WorkspaceId,
    id: ExecutionId,
    by: &str,
) -> Result<(), AppError> {
    let by = By {
        workspace,
        scope: &SequenceScope::All,
        name: by,
    };
    match settle(services, by, id, true).await {
        // It is not there, or somebody has settled it meanwhile.
        Ok(_) | Err(AppError::Refused(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// The same after something was taken in that shows it: what was taken in stays, whatever becomes of this, and
/// the message then stays UNCONFIRMED until somebody settles it.
pub async fn note_left_if_possible(
    services: &Services,
    workspace: WorkspaceId,
    id: ExecutionId,
    by: &str,
) {
    let noted = deadlock::repeated(|| note_left(services, workspace, id, by)).await;
    if let Err(error) = noted {
        tracing::warn!(execution.id = %id, error = &error as &dyn std::error::Error,
            "a message that somebody has seen stays UNCONFIRMED");
    }
}

/// Who settles.
#[derive(Clone, Copy)]
struct By<'a> {
    workspace: WorkspaceId,
    scope: &'a SequenceScope,
    name: &'a str,
}

async fn settle(
    services: &Services,
    by: By<'_>,
    id: ExecutionId,
    was_sent: bool,
) -> Result<Row, AppError> {
    let workspace = by.workspace;
    let tx = services.db.begin().await?;
    let missing = || {
        let message = "There is no execution with this id: take the id from an answer of this API.";
        Refusal::not_found(message, &["id"])
    };
    // Before any lock: what is another workspace's is not touched.
    let seen = execution::find(&tx, workspace, id)
        .await?
        .filter(|seen| {
            let sequence = SequenceId::from_uuid(seen.sequence_id);
            by.scope.admits(sequence)
        })
        .ok_or_else(missing)?;
    // Where the lead goes must be read from the version that is published when it is written.
    let sequence = SequenceId::from_uuid(seen.sequence_id);
    lane::running_versions(&tx, &[sequence]).await?;
    let open = dispatch::open_executions(&tx, &[id]).await?.pop();
    let open = open
        .filter(|open| open.workspace == workspace)
        .ok_or_else(missing)?;
    let row = execution::find(&tx, workspace, id)
        .await?
        .ok_or_else(missing)?;
    match (open.status, was_sent) {
        (ExecutionStatus::Unconfirmed, _) => {}
        (ExecutionStatus::Sent | ExecutionStatus::Delivered, true)
        | (ExecutionStatus::Scheduled, false) => return Ok(row),
        (status, _) => {
            let message = format!(
                "Only an UNCONFIRMED execution can be settled, and this one is {status}: read it \
                 again."
            );
            return Err(Refusal::new(RefusalCode::WrongState, message, &["id"]).into());
        }
    }
    let mut settling = Settling {
        services,
        by,
        now: services.clock.now(),
        events: Vec::new(),
    };
    if was_sent {
        settling.sent(&tx, open, &row).await?;
    } else {
        settling.unsent(&tx, open).await?;
    }
    let settled = execution::find(&tx, workspace, id)
        .await?
        .ok_or_else(missing)?;
    if settling.events.is_empty() {
        dialect::notify(&tx).await?;
    } else {
        event::append(&tx, workspace, settling.events).await?;
    }
    tx.commit().await?;
    services.wake.log();
    services.wake.due();
    Ok(settled)
}

struct Settling<'a> {
    services: &'a Services,
    by: By<'a>,
    now: DateTime<Utc>,
    events: Vec<NewEvent>,
}

impl Settling<'_> {
    /// The message left when it was claimed; the next step waits from then.
    async fn sent(
        &mut self,
        tx: &impl ConnectionTrait,
        open: OpenExecution,
        row: &Row,
    ) -> Result<(), AppError> {
        let done_at = row.started_at.or(row.finished_at).map_or(self.now, from_ms);
        let settled = Settled {
            id: open.id,
            status: ExecutionStatus::Sent,
            attempt: open.attempt,
            error: None,
            response: None,
            retry_at: None,
            finished_at: Some(done_at),
        };
        dispatch::settle(tx, &[settled], None).await?;
        let detail = json!({ "settledBy": self.by.name });
        self.execution_event(&open, EventKind::ExecutionSent, detail);
        let plan = self.plan(tx, &open, row, done_at).await?;
        let mut lead = open.lead.clone();
        lead.thread = serde_json::to_value(&plan.thread).ok();
        if open.sender_id.is_some() {
            lead.messages_sent += 1;
            lead.turn = 0;
        }
        let before = lead.state()?;
        let at_step = before.step_key.as_deref() == Some(open.step_key.as_str());
        let moved = before.apply(&Happening::StepOver(plan.onward), self.now);
        // A lead that is over meanwhile, or elsewhere, only counts the message.
        if let Ok(after) = moved
            && at_step
            && before.status != LeadStatus::Stopped
        {
            let event = NewEvent::of_lead(
                self.now,
                EventKind::LeadCompleted,
                SequenceId::from_uuid(lead.sequence_id),
                lead.lead_id(),
            );
            self.events.push(match &after.step_key {
                Some(key) => NewEvent {
                    kind: EventKind::LeadAdvanced,
                    ..event
                }
                .at_step(key),
                None => event,
            });
            lead.sender_id = plan.sender.map(SenderId::uuid);
            lead.anchor_at = done_at.timestamp_millis();
            lead.last_action_at = Some(self.now.timestamp_millis());
            lead.set_state(after);
        }
        save_leads(tx, &[lead], None).await?;
        Ok(())
    }

    /// It did not leave: the lead is due again, and the next attempt is a new one. A lead that is
    /// over by now gets nothing more.
    async fn unsent(
        &mut self,
        tx: &impl ConnectionTrait,
        open: OpenExecution,
    ) -> Result<(), AppError> {
        let mut lead: LeadRow = open.lead.clone();
        let let_go = lead.state()?.apply(&Happening::SettledUnsent, self.now);
        let message = "It did not leave, and the lead was over before it could be sent again.";
        let error = let_go
            .is_err()
            .then(|| (ErrorCode::Interrupted.as_str(), message.to_owned()));
        if let Some((code, message)) = &error {
            let detail = json!({ "code": code, "message": message, "settledBy": self.by.name });
            self.execution_event(&open, EventKind::ExecutionFailed, detail);
        }
        let settled = Settled {
            id: open.id,
            status: match let_go {
                Ok(_) => ExecutionStatus::Scheduled,
                Err(_) => ExecutionStatus::Failed,
            },
            attempt: open.attempt,
            finished_at: error.is_some().then_some(self.now),
            error,
            response: None,
            retry_at: None,
        };
        dispatch::settle(tx, &[settled], None).await?;
        if let Ok(state) = let_go {
            // Publishing may have made another step of it while the message was on its way.
            let current = self.flow(tx, open.current_version).await?;
            lead.set_state_after(&Happening::SettledUnsent, state);
            let sender = current.and_then(|flow| lead.standing_sender(&flow));
            lead.sender_id = sender.map(SenderId::uuid);
            save_leads(tx, &[lead], None).await?;
        }
        Ok(())
    }

    /// The flow of a version; none where there is no such version.
    async fn flow(
        &self,
        tx: &impl ConnectionTrait,
        id: Option<VersionId>,
    ) -> Result<Option<CompiledFlow>, AppError> {
        let found = sequence::version::find_many(tx, self.by.workspace, id.as_slice()).await?;
        found.first().map(|found| compiled(&found.flow)).transpose()
    }

    /// Where the lead goes after the step, under the version that its sequence runs now.
    async fn plan(
        &self,
        tx: &impl ConnectionTrait,
        open: &OpenExecution,
        row: &Row,
        done_at: DateTime<Utc>,
    ) -> Result<Plan, AppError> {
        let workspace = self.by.workspace;
        let ran = VersionId::from_uuid(row.version_id);
        let current = open.current_version.unwrap_or(ran);
        let versions = sequence::version::find_many(tx, workspace, &[ran, current]).await?;
        let version = |id| {
            let found = versions.iter().find(|version| version.id == id);
            found.ok_or_else(|| StoreError::corrupt("execution's version", "it is not there"))
        };
        let ran = compiled(&version(ran)?.flow)?;
        let settings = &version(current)?.settings;
        let current = compiled(&version(current)?.flow)?;
        let in_thread = ran
            .step(&open.step_key)
            .is_some_and(|step| step.in_thread());
        let mut thread = open.lead.thread().unwrap_or_default();
        if let (Some(message_id), Some(subject)) = (&row.message_id, &row.subject) {
            thread = thread.with(message_id, subject, in_thread);
        }
        if let (Some(channel), Some(sender)) = (open.channel, open.sender_id) {
            thread = thread.sent_by(channel, sender);
        }
        let Some(next) = ran.next_in(&current, &open.step_key, Answer::Next) else {
            return Ok(Plan {
                thread,
                onward: None,
                sender: None,
            });
        };
        let sender = next.sender_in(Some(&thread), open.sender_id, open.lead.bucket);
        let person = PersonId::from_uuid(open.lead.person_id);
        let quiet_until = open.lead.quiet_until.map(from_ms);
        let slot =
            |calendar: &Calendar<'_>| planning::due_at_back(next, done_at, quiet_until, calendar);
        let around = (self.services, tx);
        let due_at = calendar::ask(around, workspace, settings, (sender, person), slot).await?;
        Ok(Plan {
            thread,
            onward: Some(Onward {
                step_key: next.key.clone(),
                due_at,
            }),
            sender,
        })
    }

    fn execution_event(
        &mut self,
        open: &OpenExecution,
        kind: EventKind,
        detail: serde_json::Value,
    ) {
        let sequence = SequenceId::from_uuid(open.lead.sequence_id);
        self.events.push(NewEvent {
            execution_id: Some(open.id),
            channel: open.channel,
            sender_id: open.sender_id,
            step_key: Some(open.step_key.clone()),
            detail: Some(detail),
            ..NewEvent::of_lead(self.now, kind, sequence, open.lead.lead_id())
        });
    }
}

/// A flow as its leads run it.
fn compiled(flow: &Flow) -> Result<CompiledFlow, AppError> {
    let corrupt = |error| StoreError::corrupt("sequence's version", error);
    Ok(CompiledFlow::compile(flow).map_err(corrupt)?)
}

/// What follows a step.
struct Plan {
    /// The lead's thread with the message in it.
    thread: Thread,
    onward: Option<Onward>,
    sender: Option<SenderId>,
}
