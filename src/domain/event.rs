//! The vocabulary of the event log: facts in the past tense, each of them once.

use chrono::{DateTime, Utc};
use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr};

use super::flow::Channel;
use super::id::{ExecutionId, LeadId, SenderId, SequenceId};

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum EventKind {
    /// A sequence began, or began again, to send.
    SequencePublished,
    /// All sends of a sequence were paused.
    SequenceDisabled,
    /// A sequence was put away.
    SequenceArchived,
    /// A person became a lead.
    LeadEnrolled,
    /// A lead went on to another step.
    LeadAdvanced,
    /// A person held a lead.
    LeadPaused,
    /// A person let a lead go on.
    LeadResumed,
    /// A lead finished its sequence.
    LeadCompleted,
    /// A lead left its sequence early.
    LeadStopped,
    /// A message was claimed for sending.
    ExecutionStarted,
    /// A message was accepted by the receiving server.
    ExecutionSent,
    /// A message is known to have arrived.
    ExecutionDelivered,
    /// A message will not be sent: the error says why.
    ExecutionFailed,
    /// There was nothing to do for this lead at this step.
    ExecutionSkipped,
    /// A message may or may not have left.
    ExecutionUnconfirmed,
    /// A message was opened.
    Opened,
    /// A link was clicked.
    Clicked,
    /// The contact read a message, as its provider tells.
    Read,
    /// The contact answered.
    Replied,
    /// A machine answered for the contact.
    AutoReplied,
    /// A message came back.
    Bounced,
    /// The contact opted out.
    Unsubscribed,
    /// The contact complained to its provider.
    Complained,
    /// Work for a person came up.
    TaskCreated,
    /// Work for a person was done.
    TaskCompleted,
    /// A sender was switched off, as its login was refused time and again.
    SenderDisabled,
    /// A machine fetched what tells that a message was opened: it counts as no opening.
    MachineOpened,
    /// A machine followed a link: it counts as no click.
    MachineClicked,
    /// A webhook subscription was switched off, as its receiver is gone or takes nothing any more.
    WebhookSwitchedOff,
}

/// How the place of an event in its workspace's log is written; of fixed width, so that texts are
/// ordered as numbers are.
pub fn cursor(seq: i64) -> String {
    format!("evt_{seq:016x}")
}

/// An event before the log has given it its number.
#[derive(Debug, Clone, PartialEq)]
pub struct NewEvent {
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened.
    pub kind: EventKind,
    /// The sequence concerned.
    pub sequence_id: Option<SequenceId>,
    /// The lead concerned.
    pub lead_id: Option<LeadId>,
    /// The execution concerned.
    pub execution_id: Option<ExecutionId>,
    /// The step concerned.
    pub step_key: Option<String>,
    /// The channel of the message concerned.
    pub channel: Option<Channel>,
    /// The sender of the message concerned.
    pub sender_id: Option<SenderId>,
    /// What else is worth knowing, by kind of event.
    pub detail: Option<Value>,
}

impl NewEvent {
    /// An event of a sequence as a whole.
    pub fn of_sequence(at: DateTime<Utc>, kind: EventKind, sequence_id: SequenceId) -> Self {
        Self {
            sequence_id: Some(sequence_id),
            ..Self::of(at, kind)
        }
    }

    /// An event of one lead.
    pub fn of_lead(
        at: DateTime<Utc>,
        kind: EventKind,
        sequence_id: SequenceId,
        lead_id: LeadId,
    ) -> Self {
        Self {
            lead_id: Some(lead_id),
            ..Self::of_sequence(at, kind, sequence_id)
        }
    }

    /// An event of a sender.
    pub fn of_sender(
        at: DateTime<Utc>,
        kind: EventKind,
        sender_id: SenderId,
        detail: Value,
    ) -> Self {
        Self {
            sender_id: Some(sender_id),
            ..Self::of_workspace(at, kind, detail)
        }
    }

    /// An event of the workspace as a whole.
    pub fn of_workspace(at: DateTime<Utc>, kind: EventKind, detail: Value) -> Self {
        Self {
            detail: Some(detail),
            ..Self::of(at, kind)
        }
    }

    /// An event of which nothing else is told.
    const fn of(at: DateTime<Utc>, kind: EventKind) -> Self {
        Self {
            at,
            kind,
            sequence_id: None,
            lead_id: None,
            execution_id: None,
            step_key: None,
            channel: None,
            sender_id: None,
            detail: None,
        }
    }

    /// The same event with the step that it concerns.
    #[must_use]
    pub fn at_step(mut self, step_key: impl Into<String>) -> Self {
        self.step_key = Some(step_key.into());
        self
    }

    /// The same event with something more to know.
    #[must_use]
    pub fn with_detail(mut self, detail: Value) -> Self {
        self.detail = Some(detail);
        self
    }
}
