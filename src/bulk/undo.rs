//! Undoing a pause, a resume or an enrolment, while its leads have not moved on.
//!
//! What the operation did is read from its outcomes; what has become of each lead since, from the log,
//! once the lead is locked: nothing but the log tells a lead that the operation paused from one that
//! somebody resumed and paused again.

mod verdict;

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use self::verdict::{KINDS, Tale, Verdict};
use super::lead_change::event;
use super::{CHUNK_MAX, Chunk, ChunkError, Operation, Outcome, may_see, read};
use crate::app::given_up::give_up;
use crate::app::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::bulk::{BulkKind, BulkOutcomeCode, BulkStatus};
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{BulkId, LeadId, PersonId, SequenceId};
use crate::domain::lead::StopReason;
use crate::store::bulk::undo;
use crate::store::claim::LeadRow;
use crate::store::lead::change::{self, Change};
use crate::store::{self, StoreError};

/// What was asked for.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    /// The operation that is undone.
    operation_id: BulkId,
}

/// Where the next chunk begins.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Progress {
    /// The number of the last outcome of the undone operation that had its turn.
    after: i64,
}

/// What of an operation can be undone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Undoing {
    /// Its leads go on as if they had not been paused.
    Pause,
    /// Its leads are held again.
    Resume,
    /// Its leads are taken out as if they had not been enrolled.
    Enrol,
}

impl Undoing {
    fn of(kind: BulkKind) -> Result<Self, &'static str> {
        match kind {
            BulkKind::Pause => Ok(Self::Pause),
            BulkKind::Resume => Ok(Self::Resume),
            BulkKind::Enrol => Ok(Self::Enrol),
            BulkKind::Remove => Err(
                "A removal cannot be undone: enrol the people again by leadsEnrol with reEnrol.",
            ),
            BulkKind::ImportPeople => Err(
                "An import cannot be undone: try the file with dryRun first, and correct people by \
                 another import.",
            ),
            BulkKind::Undo => {
                Err("What undoes an operation cannot be undone itself: do again what was undone.")
            }
        }
    }
}

/// Submits the undoing of an operation and does as much of it as takes a moment. An operation that is
/// being undone, or was, answers what undoes it and does nothing more; one that was cancelled half-way is
/// begun anew.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such operation, or the caller may not
/// see it; with `WRONG_STATE` if it is not over, or is of a kind that cannot be undone.
pub async fn submit(services: &Services, caller: &Caller, id: BulkId) -> Result<BulkId, AppError> {
    let refused = |message: &str| Refusal::new(RefusalCode::WrongState, message, &["id"]);
    let tx = services.db.begin().await?;
    let found = undo::lock(&tx, caller.workspace, id).await?;
    let seen = match found {
        Some(row) if may_see(caller, &row)? => row,
        _ => return Err(super::missing().into()),
    };
    let kind: BulkKind = parsed("bulk kind", &seen.kind)?;
    if let Err(message) = Undoing::of(kind) {
        return Err(refused(message).into());
    }
    let status: BulkStatus = parsed("bulk status", &seen.status)?;
    if !status.is_final() {
        let message = "The operation is not over: wait until it is, or end it by \
                       bulkOperationCancel first.";
        return Err(refused(message).into());
    }
    if let Some(before) = undo::of(&tx, caller.workspace, id).await? {
        return Ok(before);
    }
    let request = json!(Request { operation_id: id });
    let new = store::bulk::NewOperation {
        id: services.entropy.id(services.clock.now()),
        kind: BulkKind::Undo,
        request_hash: super::submit::fingerprint(BulkKind::Undo, &request, None),
        request,
        idempotency_key: None,
        token: caller.token,
        scope: caller.scope.clone(),
        undoes: Some(id),
    };
    store::bulk::insert(&tx, caller.workspace, &new, services.clock.now()).await?;
    tx.commit().await.map_err(StoreError::from)?;
    super::submit::begin(services, caller.workspace, new.id).await;
    Ok(new.id)
}

fn parsed<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt(what, text))
}

/// Carries out the next chunk.
///
/// # Errors
/// [`ChunkError`] as the frame expects it.
pub(super) async fn chunk(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    progress: Value,
) -> Result<Chunk, ChunkError> {
    let request: Request = read(operation.request.clone())?;
    let progress: Progress = match progress {
        Value::Null => Progress::default(),
        progress => read(progress)?,
    };
    let (workspace, id) = (operation.workspace, request.operation_id);
    let gone = || ChunkError::Broken("the operation that it undoes is not there any more".into());
    let undone = store::bulk::find(tx, workspace, id)
        .await?
        .ok_or_else(gone)?;
    let kind = parsed("bulk kind", &undone.kind)?;
    let undoing = Undoing::of(kind).map_err(|reason| ChunkError::Broken(reason.to_owned()))?;
    let done = store::bulk::done_after(tx, workspace, id, progress.after, CHUNK_MAX).await?;
    let subjects: Vec<String> = done.iter().map(|outcome| outcome.subject.clone()).collect();
    let items = items(tx, operation, undoing, undone.request, subjects).await?;
    let mut chunk = put_back(services, tx, operation, undoing, id, items).await?;
    let last = done.last().filter(|_| done.len() == CHUNK_MAX);
    chunk.progress = last.map(|last| {
        json!(Progress {
            after: last.ordinal
        })
    });
    chunk.total = Some(undone.succeeded);
    Ok(chunk)
}

/// One of those to whom the operation did something, and the leads among which theirs is.
struct Item {
    subject: String,
    leads: Vec<LeadId>,
}

async fn items(
    tx: &DatabaseTransaction,
    operation: &Operation,
    undoing: Undoing,
    undone: Value,
    subjects: Vec<String>,
) -> Result<Vec<Item>, ChunkError> {
    if undoing != Undoing::Enrol {
        let of = |subject: String| Item {
            leads: subject.parse().into_iter().collect(),
            subject,
        };
        return Ok(subjects.into_iter().map(of).collect());
    }
    let enrolled: super::enrol::EnrolRequest = read(undone)?;
    let people: Vec<PersonId> = subjects.iter().filter_map(|id| id.parse().ok()).collect();
    let sequence = enrolled.sequence_id;
    let mut of_person: HashMap<Uuid, Vec<LeadId>> = HashMap::new();
    for lead in undo::leads_of(tx, operation.workspace, sequence, &people).await? {
        let leads = of_person.entry(lead.person_id).or_default();
        leads.push(LeadId::from_uuid(lead.id));
    }
    let mut of = |subject: String| {
        let person: Option<PersonId> = subject.parse().ok();
        let leads = person.and_then(|person| of_person.remove(&person.uuid()));
        Item {
            subject,
            leads: leads.unwrap_or_default(),
        }
    };
    Ok(subjects.into_iter().map(&mut of).collect())
}

/// Decides for each item, and does what is decided, each kind of it as one statement.
async fn put_back(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    undoing: Undoing,
    undone: BulkId,
    items: Vec<Item>,
) -> Result<Chunk, ChunkError> {
    let workspace = operation.workspace;
    let ids: Vec<LeadId> = items.iter().flat_map(|item| item.leads.clone()).collect();
    let locked = change::lock(tx, workspace, &operation.scope, &ids).await?;
    // Asked after the leads are locked: nothing more happens to them before the commit.
    let mut tales: HashMap<Uuid, Tale> = HashMap::new();
    for entry in undo::tales(tx, workspace, &ids, KINDS).await? {
        tales.entry(entry.lead_id).or_default().add(entry);
    }
    let locked: HashMap<LeadId, LeadRow> =
        locked.into_iter().map(|row| (row.lead_id(), row)).collect();
    let now = services.clock.now();
    let mut chunk = Chunk::default();
    let mut back = Back::default();
    for item in items {
        let mut leads = item.leads.iter().filter_map(|id| {
            let row = locked.get(id)?;
            Some((row, tales.get(&row.id)?))
        });
        let of_it = match undoing {
            Undoing::Enrol => leads.find(|(_, tale)| tale.is_enrolled_by(undone)),
            Undoing::Pause | Undoing::Resume => leads.next(),
        };
        let verdict = match of_it {
            None => Verdict::gone(),
            Some((row, tale)) => verdict::of(undoing, undone, row, tale)?,
        };
        let (code, message) = verdict.told();
        if let (Some((row, _)), Verdict::Back { kept, .. }) = (of_it, verdict) {
            back.take(undoing, row, kept);
            chunk
                .events
                .push(told(undoing, row, operation, undone, now));
        }
        chunk.outcomes.push(Outcome {
            subject: item.subject,
            code,
            message: message.to_owned(),
        });
    }
    let given_up = back.write(tx, operation, undoing, now).await?;
    // What waited for another attempt comes to nothing before its lead is told to be out.
    chunk.events.splice(0..0, given_up);
    Ok(chunk)
}

/// What is put back, in this chunk.
#[derive(Default)]
struct Back {
    leads: Vec<LeadId>,
    plans: Vec<change::Plan>,
    rests: Vec<(LeadId, Option<i64>)>,
}

impl Back {
    fn take(&mut self, undoing: Undoing, row: &LeadRow, kept: Option<verdict::Kept>) {
        let id = row.lead_id();
        self.leads.push(id);
        match (undoing, kept) {
            (Undoing::Pause, Some(kept)) => self.plans.push((id, kept.due_at, kept.until_at)),
            (Undoing::Resume, Some(kept)) => self.rests.push((id, kept.rest_ms)),
            (Undoing::Enrol, _) | (_, None) => {}
        }
    }

    async fn write(
        self,
        tx: &DatabaseTransaction,
        operation: &Operation,
        undoing: Undoing,
        now: DateTime<Utc>,
    ) -> Result<Vec<NewEvent>, StoreError> {
        let workspace = operation.workspace;
        match undoing {
            Undoing::Pause => {
                change::apply(tx, workspace, Change::Resume, &self.leads, now).await?;
                change::replan(tx, workspace, &self.plans).await?;
            }
            Undoing::Resume => {
                change::apply(tx, workspace, Change::Pause, &self.leads, now).await?;
                change::keep_rests(tx, workspace, &self.rests).await?;
            }
            Undoing::Enrol => {
                change::withdraw(tx, workspace, &self.leads, now).await?;
                return give_up(tx, workspace, &self.leads, now).await;
            }
        }
        Ok(Vec::new())
    }
}

/// What the log says of a lead that is put back.
fn told(
    undoing: Undoing,
    row: &LeadRow,
    operation: &Operation,
    undone: BulkId,
    now: DateTime<Utc>,
) -> NewEvent {
    let mut event = match undoing {
        Undoing::Pause => event(Change::Resume, row, operation, now),
        Undoing::Resume => event(Change::Pause, row, operation, now),
        Undoing::Enrol => {
            let sequence = SequenceId::from_uuid(row.sequence_id);
            let event = NewEvent::of_lead(now, EventKind::LeadStopped, sequence, row.lead_id());
            let reason = StopReason::EnrolmentUndone;
            NewEvent {
                step_key: row.step_key.clone(),
                ..event.with_detail(json!({ "operationId": operation.id, "reason": reason }))
            }
        }
    };
    if let Some(Value::Object(detail)) = &mut event.detail {
        detail.insert("undoes".into(), json!(undone));
    }
    event
}

/// A code and a message of an outcome.
type Told = (BulkOutcomeCode, &'static str);
