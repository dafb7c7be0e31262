//! Holding leads, letting them go on, taking them out: selected by id or by filter.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{CHUNK_MAX, Chunk, ChunkError, Operation, Outcome, read};
use crate::app::given_up::give_up;
use crate::app::{AppError, Caller, Refusal, Services};
use crate::clock::from_ms;
use crate::domain::bulk::{BulkKind, BulkOutcomeCode};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{BulkId, LeadId, SequenceId};
use crate::domain::lead::{LeadState, LeadStatus, Refused, StopReason};
use crate::domain::lead_filter::LeadFilter;
use crate::store::StoreError;
use crate::store::claim::LeadRow;
use crate::store::lead::change::{self, Change};
use crate::store::lead::{self, Key, Scope};

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
    /// By id.
    Ids(Vec<LeadId>),
    /// By filter: those that were there when it was asked.
    Filter(LeadFilter),
    /// All that were there when it was asked.
    Everything,
}

impl Leads {
    /// Whether somebody may choose leads so.
    ///
    /// # Errors
    /// A [`Refusal`] of a filter that says nothing; `path` is where the selection stands in the input.
    pub fn check(&self, path: &str) -> Result<(), Refusal> {
        match self {
            Self::Filter(filter) if filter.is_empty() => {
                let message = "The filter is empty and would mean every lead: name at least one \
                               condition, or choose everything: true instead.";
                Err(Refusal::invalid(message, &[path, "filter"]))
            }
            Self::Ids(_) | Self::Filter(_) | Self::Everything => Ok(()),
        }
    }
}

/// Where the next chunk begins.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    /// How many of the ids are done.
    ids_done: usize,
    /// The last lead that the filter answered.
    after: Option<Key>,
}

/// Submits a change of leads and does as much of it as takes a moment.
///
/// # Errors
/// [`AppError::Refused`] for a filter that says nothing, and as [`super::submit`] has it.
pub async fn submit(
    services: &Services,
    caller: &Caller,
    change: Change,
    request: LeadsRequest,
    idempotency_key: Option<String>,
) -> Result<BulkId, AppError> {
    request.leads.check("leads")?;
    let kind = match change {
        Change::Pause => BulkKind::Pause,
        Change::Resume => BulkKind::Resume,
        Change::Remove => BulkKind::Remove,
    };
    super::submit(
        services,
        caller,
        kind,
        json!(request),
        None,
        idempotency_key,
    )
    .await
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
    let request: LeadsRequest = read(operation.request.clone())?;
    let progress: Progress = if progress.is_null() {
        Progress::default()
    } else {
        read(progress)?
    };
    let Selection { ids, next, total } = select(tx, operation, &request, progress).await?;
    let now = services.clock.now();
    let workspace = operation.workspace;
    let locked = change::lock(tx, workspace, &operation.scope, &ids).await?;
    let mut decided = HashMap::new();
    let mut taking = Vec::new();
    let mut busy = Vec::new();
    for row in &locked {
        let state = row.state()?;
        let verdict = state.apply(&change.happening(), now);
        if verdict.is_ok() {
            taking.push(row.lead_id());
            busy.extend(row.worker_id.map(|_| row.lead_id()));
        }
        decided.insert(row.lead_id(), (state, verdict.map(|_| ())));
    }
    change::apply(tx, workspace, change, &taking, now).await?;
    // Asked after the leads are locked: whoever claims one does so before or sees this.
    let sending: HashSet<Uuid> = change::sending(tx, workspace, &busy)
        .await?
        .into_iter()
        .collect();
    let events = match change {
        Change::Remove => give_up(tx, workspace, &taking, now).await?,
        Change::Pause | Change::Resume => Vec::new(),
    };
    let mut chunk = Chunk {
        total,
        progress: next.map(|next| json!(next)),
        events,
        ..Chunk::default()
    };
    let taken = locked.iter().filter(|row| {
        decided
            .get(&row.lead_id())
            .is_some_and(|(_, verdict)| verdict.is_ok())
    });
    chunk
        .events
        .extend(taken.map(|row| event(change, row, operation, now)));
    let mut named = HashSet::new();
    for id in ids {
        let again = !named.insert(id);
        let (code, message) = match decided.get(&id) {
            None => (
                BulkOutcomeCode::NotFound,
                "There is no such lead: take the id from an answer of this API.",
            ),
            Some((_, Ok(()))) if again => ALREADY,
            Some((_, Ok(()))) => (
                BulkOutcomeCode::Done,
                done(change, sending.contains(&id.uuid())),
            ),
            Some((state, Err(refused))) => not_done(state, *refused),
        };
        let subject = id.to_string();
        chunk.outcomes.push(Outcome {
            subject,
            code,
            message: message.to_owned(),
        });
    }
    Ok(chunk)
}

/// The leads of one chunk, whether they are there or not.
struct Selection {
    ids: Vec<LeadId>,
    next: Option<Progress>,
    total: Option<i64>,
}

async fn select(
    tx: &DatabaseTransaction,
    operation: &Operation,
    request: &LeadsRequest,
    progress: Progress,
) -> Result<Selection, StoreError> {
    match &request.leads {
        Leads::Ids(all) => {
            let ids: Vec<LeadId> = all
                .iter()
                .skip(progress.ids_done)
                .take(CHUNK_MAX)
                .copied()
                .collect();
            let ids_done = progress.ids_done + ids.len();
            let next = (ids_done < all.len()).then_some(Progress {
                ids_done,
                ..progress
            });
            Ok(Selection {
                ids,
                next,
                total: i64::try_from(all.len()).ok(),
            })
        }
        Leads::Filter(filter) => by_filter(tx, operation, filter.clone(), progress).await,
        Leads::Everything => by_filter(tx, operation, LeadFilter::default(), progress).await,
    }
}

async fn by_filter(
    tx: &DatabaseTransaction,
    operation: &Operation,
    filter: LeadFilter,
    progress: Progress,
) -> Result<Selection, StoreError> {
    let filter = filter.narrowed(&operation.scope);
    let scope = Scope {
        workspace: operation.workspace,
        filter: &filter,
        as_of: Some(operation.submitted_at),
    };
    let found = change::next(tx, &scope, progress.after, CHUNK_MAX).await?;
    let more = found.len() == CHUNK_MAX;
    let total = match operation.total {
        // What was counted at first is corrected at the end: leads move on meanwhile.
        _ if !more => i64::try_from(found.len())
            .ok()
            .map(|n| n + operation.processed),
        Some(_) => None,
        None => Some(lead::count(tx, &scope).await?),
    };
    let after = found.last().copied();
    let next = more.then_some(Progress { after, ..progress });
    Ok(Selection {
        ids: found.into_iter().map(|key| key.id).collect(),
        next,
        total,
    })
}

/// What the log says of a change: by which operation, and what putting it back takes to know. `row` is the
/// lead as it was before.
pub(super) fn event(
    change: Change,
    row: &LeadRow,
    operation: &Operation,
    now: DateTime<Utc>,
) -> NewEvent {
    let kind = match change {
        Change::Pause => EventKind::LeadPaused,
        Change::Resume => EventKind::LeadResumed,
        Change::Remove => EventKind::LeadStopped,
    };
    let sequence = SequenceId::from_uuid(row.sequence_id);
    let event = NewEvent::of_lead(now, kind, sequence, row.lead_id());
    let event = match &row.step_key {
        Some(key) => event.at_step(key),
        None => event,
    };
    let by = operation.id;
    event.with_detail(match change {
        Change::Remove => json!({ "operationId": by, "reason": StopReason::Removed }),
        Change::Pause => json!({
            "operationId": by,
            "dueAt": row.due_at.map(from_ms),
            "untilAt": row.until_at.map(from_ms),
        }),
        Change::Resume => json!({ "operationId": by, "restMs": row.paused_rest_ms }),
    })
}

const fn done(change: Change, sending: bool) -> &'static str {
    match (change, sending) {
        // What travels cannot be called back; nothing follows it.
        (Change::Pause, true) => "Paused; a message was already being sent and may arrive.",
        (Change::Remove, true) => "Removed; a message was already being sent and may arrive.",
        (Change::Pause, false) => "Paused.",
        (Change::Remove, false) => "Removed.",
        (Change::Resume, _) => "Resumed.",
    }
}

const ALREADY: (BulkOutcomeCode, &str) =
    (BulkOutcomeCode::AlreadyInState, "The lead already is so.");

fn not_done(state: &LeadState, refused: Refused) -> (BulkOutcomeCode, &'static str) {
    let over = matches!(state.status, LeadStatus::Completed | LeadStatus::Stopped);
    let removed = state.stop_reason == Some(StopReason::Removed);
    match refused {
        Refused::Already if !over || removed => ALREADY,
        Refused::Already | Refused::Over | Refused::Senseless => (
            BulkOutcomeCode::Finished,
            "The lead is over: enrol the person again for another run.",
        ),
    }
}
