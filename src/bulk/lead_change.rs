//! Holding leads, letting them go on, taking them out: selected by id or by filter.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CHUNK_MAX, Chunk, ChunkError, Operation, Outcome};
use crate::app::Services;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{LeadId, SequenceId};
use crate::domain::lead_filter::LeadFilter;
use crate::store::StoreError;
use crate::store::lead_selection::{self as lead, Change, Chosen};

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct LeadsRequest {
    /// Which leads.
    pub leads: Leads,
}

/// How leads were selected.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Leads {
    /// By id; what is no lead's id is kept as it came, to be named in the outcomes.
    Ids(Vec<String>),
    /// By filter: those that were there when it was asked.
    Filter(LeadFilter),
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    #[serde(default)]
    ids_done: usize,
    #[serde(default)]
    after: Option<Uuid>,
    #[serde(default)]
    selected_at: Option<DateTime<Utc>>,
}

/// Carries out the next chunk.
///
/// # Errors
/// [`ChunkError`] as the frame expects it.
pub(super) async fn chunk(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    change: Change,
    progress: Value,
) -> Result<Chunk, ChunkError> {
    let broken = |error: serde_json::Error| ChunkError::Broken(error.to_string());
    let request: LeadsRequest =
        serde_json::from_value(operation.request.clone()).map_err(broken)?;
    let progress: Progress = match progress {
        Value::Null => Progress::default(),
        progress => serde_json::from_value(progress).map_err(broken)?,
    };
    let now = services.clock.now();
    let selection = select(tx, operation, &request, progress, now).await?;
    let known: Vec<Uuid> =
        selection.items.iter().filter_map(|(_, lead)| Some(lead.as_ref()?.id)).collect();
    let changed = lead::change(tx, operation.workspace, change, &known, now).await?;
    let changed: HashSet<Uuid> = changed.into_iter().collect();
    let mut chunk = Chunk {
        total: selection.total,
        progress: selection.next.map(serde_json::to_value).transpose().map_err(broken)?,
        ..Chunk::default()
    };
    for (subject, lead) in selection.items {
        if let Some(lead) = lead.as_ref().filter(|lead| changed.contains(&lead.id)) {
            chunk.events.push(event(change, lead, now));
        }
        let (code, message) = outcome(change, lead.as_ref(), &changed);
        chunk.outcomes.push(Outcome { subject, code, message: message.to_owned() });
    }
    Ok(chunk)
}

/// The leads of one chunk: how each is called, and which it is, if any. A lead that is named twice
/// in a chunk counts the second time as one that is not there.
struct Selection {
    items: Vec<(String, Option<Chosen>)>,
    next: Option<Progress>,
    total: Option<i64>,
}

async fn select(
    tx: &DatabaseTransaction,
    operation: &Operation,
    request: &LeadsRequest,
    mut progress: Progress,
    now: DateTime<Utc>,
) -> Result<Selection, StoreError> {
    let workspace = operation.workspace;
    match &request.leads {
        Leads::Ids(ids) => {
            let asked: Vec<&String> = ids.iter().skip(progress.ids_done).take(CHUNK_MAX).collect();
            let known: Vec<LeadId> = asked.iter().filter_map(|id| id.parse().ok()).collect();
            let found = lead::lock_many(tx, workspace, &known).await?;
            let mut found: HashMap<Uuid, Chosen> =
                found.into_iter().map(|lead| (lead.id, lead)).collect();
            let items: Vec<_> = asked
                .iter()
                .map(|text| {
                    let id = text.parse::<LeadId>().ok();
                    ((*text).clone(), id.and_then(|id| found.remove(&id.uuid())))
                })
                .collect();
            progress.ids_done += items.len();
            let more = progress.ids_done < ids.len();
            let total = i64::try_from(ids.len()).ok();
            Ok(Selection { items, next: more.then_some(progress), total })
        }
        Leads::Filter(filter) => {
            let selected_at = *progress.selected_at.get_or_insert(now);
            let total = match operation.total {
                Some(_) => None,
                None => Some(lead::count(tx, workspace, filter).await?),
            };
            let window = (progress.after, selected_at);
            let found = lead::lock_chosen(tx, workspace, filter, window, CHUNK_MAX).await?;
            let more = found.len() == CHUNK_MAX;
            progress.after = found.last().map(|lead| lead.id);
            let items =
                found.into_iter().map(|lead| (LeadId::from_uuid(lead.id).to_string(), Some(lead)));
            Ok(Selection { items: items.collect(), next: more.then_some(progress), total })
        }
    }
}

fn event(change: Change, lead: &Chosen, now: DateTime<Utc>) -> NewEvent {
    let kind = match change {
        Change::Pause => EventKind::LeadPaused,
        Change::Resume => EventKind::LeadResumed,
        Change::Remove => EventKind::LeadStopped,
    };
    let (sequence, id) = (SequenceId::from_uuid(lead.sequence_id), LeadId::from_uuid(lead.id));
    let event = NewEvent::of_lead(now, kind, sequence, id);
    match change {
        Change::Remove => event.with_detail(json!({ "reason": "REMOVED" })),
        Change::Pause | Change::Resume => event,
    }
}

fn outcome(
    change: Change,
    lead: Option<&Chosen>,
    changed: &HashSet<Uuid>,
) -> (BulkOutcomeCode, &'static str) {
    let Some(lead) = lead else {
        let message = "There is no such lead: take the id from an answer of this API.";
        return (BulkOutcomeCode::NotFound, message);
    };
    if changed.contains(&lead.id) {
        let message = match change {
            // What travels cannot be called back; nothing follows it.
            _ if lead.sending && change != Change::Resume => {
                "Done, but a message was already being handed over and may still arrive."
            }
            Change::Pause => "Paused.",
            Change::Resume => "Resumed.",
            Change::Remove => "Removed.",
        };
        return (BulkOutcomeCode::Done, message);
    }
    match (change, lead.status.as_str()) {
        (Change::Pause | Change::Resume, "COMPLETED" | "STOPPED") => {
            (BulkOutcomeCode::Finished, "The lead is over: enrol the person again for another run.")
        }
        (Change::Remove, "COMPLETED") => {
            (BulkOutcomeCode::Finished, "The lead has finished its sequence already.")
        }
        _ => (BulkOutcomeCode::AlreadyInState, "The lead already is so."),
    }
}
