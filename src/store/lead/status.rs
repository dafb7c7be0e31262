//! How a lead's status is kept.
//!
//! In its row a lead that is under way is ACTIVE, whether it waits for a step or is in one: which of the
//! two follows from who works on it and what holds it. Else every claim would rewrite each index that
//! knows the status, for a word that changes back a moment later.

use uuid::Uuid;

use super::Row;
use super::hold::IN_STEP;
use crate::domain::lead::{Hold, LeadStatus};
use crate::store::Result;
use crate::store::claim::parse;

/// What the row of a lead under way says.
const ACTIVE: &str = "ACTIVE";

/// The status of the lead called `l` in the statement.
pub(in crate::store) fn of_lead() -> String {
    format!(
        "CASE WHEN l.status <> '{ACTIVE}' THEN l.status
              WHEN l.worker_id IS NOT NULL OR l.hold IN {IN_STEP}
              THEN 'IN_PROGRESS' ELSE 'PENDING' END"
    )
}

/// What the row of a lead with this status says.
pub fn kept(status: LeadStatus) -> &'static str {
    match status {
        LeadStatus::Pending | LeadStatus::InProgress => ACTIVE,
        LeadStatus::Completed | LeadStatus::Paused | LeadStatus::Stopped => status.into(),
    }
}

/// The status of a lead.
///
/// # Errors
/// [`crate::store::StoreError::Corrupt`] for a word that this version does not know.
pub fn status(row: &Row) -> Result<LeadStatus> {
    status_of(&row.status, row.worker_id, row.hold.as_deref())
}

/// The status of a lead whose row says `kept`, which `worker` works on and which `hold` holds.
///
/// # Errors
/// [`crate::store::StoreError::Corrupt`] for a word that this version does not know.
pub(in crate::store) fn status_of(
    kept: &str,
    worker: Option<Uuid>,
    hold: Option<&str>,
) -> Result<LeadStatus> {
    if kept != ACTIVE {
        return parse("lead status", kept);
    }
    let hold: Option<Hold> = hold.map(|hold| parse("hold", hold)).transpose()?;
    let in_step = |hold: Hold| hold == Hold::Unconfirmed || hold.awaits();
    if worker.is_some() || hold.is_some_and(in_step) {
        Ok(LeadStatus::InProgress)
    } else {
        Ok(LeadStatus::Pending)
    }
}
