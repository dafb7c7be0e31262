//! Whether a lead can be put back: what its row and the log say of it.

use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{Told, Undoing};
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::event::EventKind;
use crate::domain::id::BulkId;
use crate::domain::lead::{LeadStatus, StopReason};
use crate::store::StoreError;
use crate::store::bulk::undo::Entry;
use crate::store::claim::LeadRow;

/// What of a lead's log tells whether it has moved on.
pub(super) const KINDS: &[EventKind] = &[
    EventKind::LeadEnrolled,
    EventKind::LeadAdvanced,
    EventKind::LeadPaused,
    EventKind::LeadResumed,
    EventKind::LeadCompleted,
    EventKind::LeadStopped,
    EventKind::ExecutionStarted,
    EventKind::ExecutionSent,
    EventKind::ExecutionFailed,
    EventKind::ExecutionSkipped,
    EventKind::ExecutionUnconfirmed,
    EventKind::TaskCreated,
    EventKind::TaskCompleted,
];

/// What happened to a lead, as far as it matters here.
#[derive(Debug, Default)]
pub(super) struct Tale {
    /// By which operation it was enrolled.
    enrolled_by: Option<String>,
    /// The last time that it was paused or resumed.
    held: Option<Entry>,
    /// Whether it has moved since it was last enrolled, paused or resumed.
    has_moved: bool,
    /// Whether it has ever moved from where it was enrolled.
    has_begun: bool,
}

impl Tale {
    /// Adds what happened next.
    pub(super) fn add(&mut self, entry: Entry) {
        if entry.kind == <&str>::from(EventKind::LeadEnrolled) {
            self.enrolled_by = operation(&entry).map(str::to_owned);
        } else if is_one_of(&entry, &[EventKind::LeadPaused, EventKind::LeadResumed]) {
            self.held = Some(entry);
            self.has_moved = false;
        } else {
            (self.has_moved, self.has_begun) = (true, true);
        }
    }

    /// Whether an operation enrolled it.
    pub(super) fn is_enrolled_by(&self, undone: BulkId) -> bool {
        self.enrolled_by.as_deref() == Some(undone.to_string().as_str())
    }

    /// How it was last paused or resumed, if an operation did that.
    fn held_by(&self, undone: BulkId, kind: EventKind) -> Option<&Entry> {
        let held = self.held.as_ref()?;
        let by = operation(held) == Some(undone.to_string().as_str());
        (by && is_one_of(held, &[kind])).then_some(held)
    }
}

fn is_one_of(entry: &Entry, kinds: &[EventKind]) -> bool {
    kinds.iter().any(|kind| entry.kind == <&str>::from(kind))
}

fn operation(entry: &Entry) -> Option<&str> {
    entry.detail.as_ref()?.get("operationId")?.as_str()
}

/// What a lead had before the operation, as the log has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Kept {
    /// When it was due.
    pub due_at: Option<i64>,
    /// When what it waited for was given up.
    pub until_at: Option<i64>,
    /// The rest of its wait.
    pub rest_ms: Option<i64>,
}

/// What is done with a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verdict {
    /// It is put back.
    Back {
        /// What it had before, where nothing has happened to its plan since.
        kept: Option<Kept>,
        /// What that is to the reader.
        told: &'static str,
    },
    /// It stays as it is.
    Stays(Told),
}

impl Verdict {
    /// The lead is not there, or not any more.
    pub(super) const fn gone() -> Self {
        Self::Stays((
            BulkOutcomeCode::NotFound,
            "The lead is not there any more, and stays so.",
        ))
    }

    /// The outcome.
    pub(super) const fn told(self) -> Told {
        match self {
            Self::Back { told, .. } => (BulkOutcomeCode::Done, told),
            Self::Stays(told) => told,
        }
    }
}

/// Decides for a lead that is locked.
///
/// # Errors
/// [`StoreError::Corrupt`] where its row says what this version does not know.
pub(super) fn of(
    undoing: Undoing,
    undone: BulkId,
    row: &LeadRow,
    tale: &Tale,
) -> Result<Verdict, StoreError> {
    let state = row.state()?;
    if state.status.is_over() {
        let told = if state.stop_reason == Some(StopReason::EnrolmentUndone) {
            (
                BulkOutcomeCode::AlreadyInState,
                "The enrolment is undone already.",
            )
        } else {
            (BulkOutcomeCode::Finished, "The lead is over by now.")
        };
        return Ok(Verdict::Stays(told));
    }
    let is_paused = state.status == LeadStatus::Paused;
    Ok(match undoing {
        Undoing::Pause => of_pause(undone, row, tale, is_paused),
        Undoing::Resume => of_resume(undone, row, tale, is_paused),
        Undoing::Enrol => of_enrolment(row, tale),
    })
}

const fn moved_on(message: &'static str) -> Verdict {
    Verdict::Stays((BulkOutcomeCode::MovedOn, message))
}

fn of_pause(undone: BulkId, row: &LeadRow, tale: &Tale, is_paused: bool) -> Verdict {
    if !is_paused {
        return Verdict::Stays((
            BulkOutcomeCode::AlreadyInState,
            "The lead is not paused any more.",
        ));
    }
    let Some(pause) = tale.held_by(undone, EventKind::LeadPaused) else {
        return moved_on(
            "The lead was resumed and paused again since, and stays paused: resume it by \
             leadsResume.",
        );
    };
    let kept = before_pause(pause).filter(|kept| {
        !tale.has_moved && pause.step_key == row.step_key && kept.rest_ms == row.paused_rest_ms
    });
    let told = match kept {
        Some(_) => "Goes on as if it had not been paused.",
        // A message that was on its way when it was paused, say: the wait after it is kept.
        None => "Goes on; the wait that began while it was paused goes on from now.",
    };
    Verdict::Back { kept, told }
}

/// What a lead had before it was paused, and the rest that followed from it.
fn before_pause(pause: &Entry) -> Option<Kept> {
    let detail = pause.detail.as_ref()?;
    let due_at = instant(detail.get("dueAt")?)?;
    let until_at = instant(detail.get("untilAt")?)?;
    // One that waits in its step is paused until what it waits for is given up.
    let ends_at = until_at.or(due_at);
    Some(Kept {
        due_at,
        until_at,
        rest_ms: ends_at.map(|at| (at - pause.at).max(0)),
    })
}

/// An instant in the log, which may be none; `None` where it is neither.
fn instant(value: &Value) -> Option<Option<i64>> {
    match value {
        Value::Null => Some(None),
        Value::String(text) => {
            let at: DateTime<Utc> = text.parse().ok()?;
            Some(Some(at.timestamp_millis()))
        }
        _ => None,
    }
}

fn of_resume(undone: BulkId, row: &LeadRow, tale: &Tale, is_paused: bool) -> Verdict {
    if is_paused {
        return Verdict::Stays((
            BulkOutcomeCode::AlreadyInState,
            "The lead is paused already.",
        ));
    }
    let Some(resume) = tale.held_by(undone, EventKind::LeadResumed) else {
        return moved_on("The lead was paused and resumed again since: pause it by leadsPause.");
    };
    if tale.has_moved || row.worker_id.is_some() {
        return moved_on("The lead has gone on since it was resumed: pause it by leadsPause.");
    }
    let rest = resume
        .detail
        .as_ref()
        .and_then(|detail| detail.get("restMs"));
    let kept = match rest {
        Some(Value::Null) if row.due_at.is_none() => Some(None),
        Some(Value::Number(rest)) if row.due_at.is_some() => rest.as_i64().map(Some),
        _ => None,
    };
    let kept = kept.filter(|_| resume.step_key == row.step_key);
    Verdict::Back {
        kept: kept.map(|rest_ms| Kept {
            due_at: None,
            until_at: None,
            rest_ms,
        }),
        told: "Paused again.",
    }
}

fn of_enrolment(row: &LeadRow, tale: &Tale) -> Verdict {
    if tale.has_begun || row.worker_id.is_some() || row.messages_sent > 0 {
        return moved_on("The lead has begun its sequence: take it out by leadsRemove.");
    }
    Verdict::Back {
        kept: None,
        told: "Taken out, as if the person had not been enrolled.",
    }
}
