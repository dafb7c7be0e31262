//! Erasing people.

use super::{gone, stopping};
use crate::app::{AppError, Caller, Services, deadlock};
use crate::domain::id::{LeadId, PersonId};
use crate::domain::lead::StopReason;
use crate::store::claim::LeadRow;
use crate::store::person::{Row, erasure, find};
use crate::store::{StoreError, event};

/// Erases a person: its leads stop, its opportunities go, and so does everything that says who it was.
/// What was counted stays counted, and an address that must not be contacted stays suppressed. Who is erased
/// already is answered as it is.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such person; [`AppError::Store`] as the
/// database has it.
pub async fn erase(services: &Services, caller: &Caller, id: PersonId) -> Result<Row, AppError> {
    deadlock::repeated(|| erase_once(services, caller, id)).await
}

async fn erase_once(services: &Services, caller: &Caller, id: PersonId) -> Result<Row, AppError> {
    let (workspace, now) = (caller.workspace, services.clock.now());
    let tx = services.db.begin().await?;
    let Some(before) = erasure::lock(&tx, workspace, &[id]).await?.pop() else {
        return Err(gone(&["id"]).into());
    };
    if before.erased_at.is_some() {
        return Ok(before);
    }
    let mut leads = erasure::lock_leads(&tx, workspace, &[id]).await?;
    let ids: Vec<LeadId> = leads.iter().map(LeadRow::lead_id).collect();
    erasure::erase(&tx, &before, &ids, now).await?;
    for lead in &mut leads {
        lead.thread = None;
    }
    let reason = StopReason::PersonDeleted;
    let events = stopping::stop(&tx, workspace, &mut leads, reason, now).await?;
    let erased = find(&tx, workspace, id).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await?;
    services.wake.log();
    erased.ok_or_else(|| StoreError::corrupt("person", "its row is not there any more").into())
}
