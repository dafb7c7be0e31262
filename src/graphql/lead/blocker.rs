//! Why nothing has been sent to a lead, as far as its own state and its sequence tell.

use async_graphql::{Enum, SimpleObject};
use chrono::{DateTime, Utc};

use super::parsed;
use crate::clock::from_ms;
use crate::domain::lead::{Hold, LeadStatus};
use crate::domain::sequence::SequenceStatus;
use crate::graphql::scalar;
use crate::store::StoreError;
use crate::store::lead::Row;

/// Why nothing has been sent yet.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum BlockerCode {
    /// The step is not due yet.
    Waiting,
    /// The sequence does not send.
    SequenceDisabled,
    /// Somebody holds the lead.
    LeadPaused,
    /// A merge tag has no value for this person.
    MissingMergeData,
    /// The last attempt failed for a passing reason.
    Retrying,
    /// A message may or may not have left.
    Unconfirmed,
}

/// One reason why nothing has been sent yet.
#[derive(SimpleObject, Debug, PartialEq, Eq)]
pub struct Blocker {
    /// The reason, for programs.
    pub code: BlockerCode,
    /// The reason, for people; names the remedy where there is one.
    pub message: String,
    /// When it ends by itself; null where somebody must act.
    pub until: Option<scalar::DateTime>,
}

/// What keeps a lead from being sent its step at `now`.
///
/// # Errors
/// [`StoreError::Corrupt`] for words that this version does not know.
pub fn of(
    lead: &Row,
    sequence: SequenceStatus,
    now: DateTime<Utc>,
) -> Result<Vec<Blocker>, StoreError> {
    let status = crate::store::lead::status(lead)?;
    match status {
        LeadStatus::Completed | LeadStatus::Stopped => return Ok(Vec::new()),
        LeadStatus::Pending | LeadStatus::InProgress | LeadStatus::Paused => {}
    }
    let mut found = Vec::new();
    let mut add = |code, message: &str, until: Option<DateTime<Utc>>| {
        let until = until.map(scalar::DateTime);
        found.push(Blocker {
            code,
            message: message.to_owned(),
            until,
        });
    };
    if status == LeadStatus::Paused {
        let message = "Somebody holds the lead: resume it, and the rest of its wait goes on.";
        add(BlockerCode::LeadPaused, message, None);
    }
    match sequence {
        SequenceStatus::Published => {}
        SequenceStatus::Draft | SequenceStatus::Disabled | SequenceStatus::Archived => {
            let message = "The sequence does not send: publish it again.";
            add(BlockerCode::SequenceDisabled, message, None);
        }
    }
    let due_at = lead.due_at.map(from_ms).filter(|due_at| *due_at > now);
    let hold = lead
        .hold
        .as_deref()
        .map(|hold| parsed("hold", hold))
        .transpose()?;
    match hold {
        Some(Hold::MissingMergeData) => {
            let message =
                "A merge tag of the message has no value for this person: complete the person.";
            add(BlockerCode::MissingMergeData, message, None);
        }
        Some(Hold::Unconfirmed) => {
            let message = "It is not known whether the message left: check the mailbox, then \
                           settle it with executionResolve.";
            add(BlockerCode::Unconfirmed, message, None);
        }
        Some(Hold::Retrying) if due_at.is_some() => {
            let message = "The last attempt failed for a passing reason; it is tried again.";
            add(BlockerCode::Retrying, message, due_at);
        }
        Some(Hold::Retrying) | None if due_at.is_some() => {
            add(BlockerCode::Waiting, "The step is not due yet.", due_at);
        }
        Some(Hold::Retrying) | None => {}
    }
    Ok(found)
}
