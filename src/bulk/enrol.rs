//! Enrolling people: selected by id or by filter, decided one by one, written as a set.

pub mod enrolling;
mod plan;
pub mod preview;

use std::collections::HashMap;

use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use uuid::Uuid;

use self::enrolling::{Decided, Enrolling, Manner};
use super::{CHUNK_MAX, Chunk, ChunkError, Operation, Outcome, read};
use crate::app::person::filter;
use crate::app::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::bulk::{BulkKind, BulkOutcomeCode};
use crate::domain::id::{BulkId, OpportunityId, PersonId, SequenceId, WorkspaceId};
use crate::domain::person_filter::PersonFilter;
use crate::domain::pipeline::OpportunityFilter;
use crate::domain::sequence::SequenceAction;
use crate::store::enrolment::{self, Candidate};
use crate::store::{self, StoreError};

/// What was asked for.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct EnrolRequest {
    /// Into which sequence.
    pub sequence_id: SequenceId,
    /// Whom.
    pub people: People,
    /// Whether those whose last run is over may run again.
    #[serde(default)]
    pub re_enrol: bool,
}

/// How people were selected.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum People {
    /// By id.
    Ids(Vec<PersonId>),
    /// By filter: those who were there when it was asked.
    Filter(PersonFilter),
    /// By their opportunities.
    OpportunityIds(Vec<OpportunityId>),
    /// By a filter of opportunities: those who had one of them when it was asked.
    Opportunities(OpportunityFilter),
    /// Everybody who was there when it was asked.
    Everything,
}

impl People {
    /// What is told where there is nobody under a name.
    const fn missing(&self) -> &'static str {
        match self {
            Self::Ids(_) | Self::Filter(_) | Self::Everything => {
                "There is no such person: take the id from an answer of this API."
            }
            Self::OpportunityIds(_) | Self::Opportunities(_) => {
                "There is no such opportunity: take the id from an answer of this API."
            }
        }
    }
}

/// Where the next chunk begins.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Progress {
    /// How many of the ids are done.
    ids_done: usize,
    /// The last person that the filter answered.
    after: Option<PersonId>,
}

/// Submits an enrolment and does as much of it as takes a moment.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` or `WRONG_STATE` for a sequence that takes no leads, and
/// as [`super::submit`] has it.
pub async fn submit(
    services: &Services,
    caller: &Caller,
    request: EnrolRequest,
    idempotency_key: Option<String>,
) -> Result<BulkId, AppError> {
    if !caller.scope.admits(request.sequence_id) {
        return Err(missing().into());
    }
    check(caller, &request.people, "people")?;
    let mut wrong = refused(services, caller, request.sequence_id).await?;
    if wrong.is_none() {
        wrong = misses(services, caller, &request.people, "people").await?;
    }
    if let Some(refusal) = wrong {
        let db = services.db.read();
        // What was submitted before is answered as it was, whatever became of the sequence.
        let before = match &idempotency_key {
            Some(key) => {
                let key = super::submit::of_caller(caller, key.clone());
                store::bulk::by_key(db, caller.workspace, &key).await?
            }
            None => None,
        };
        if before.is_none_or(|before| !super::submit::counts(&before, services.clock.now())) {
            return Err(refusal.into());
        }
    }
    let kind = BulkKind::Enrol;
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

/// Whether a caller may choose people so.
///
/// # Errors
/// A [`Refusal`] of a filter that says nothing, and of whoever would learn of people whom they do not see;
/// `path` is where the selection stands in the input.
pub(super) fn check(caller: &Caller, people: &People, path: &str) -> Result<(), Refusal> {
    let (field, is_empty) = match people {
        People::Ids(_) => return Ok(()),
        People::Filter(filter) => ("filter", filter.is_empty()),
        People::OpportunityIds(_) => ("opportunityIds", false),
        People::Opportunities(filter) => ("opportunities", filter.is_empty()),
        People::Everything => ("everything", false),
    };
    // Whom it means would tell of people whom the caller does not see.
    if !caller.scope.is_all() {
        let message = "A token that is limited to sequences enrols people by their ids: choose \
                       them with a token of the whole workspace.";
        return Err(Refusal::invalid(message, &[path, field]));
    }
    if is_empty {
        // A variable that was left out must not write to everybody.
        let message = "The filter is empty and would mean everybody: name at least one condition, \
                       or choose everything: true instead.";
        return Err(Refusal::invalid(message, &[path, field]));
    }
    Ok(())
}

/// What a filter names that is not there; `path` is where the selection stands in the input.
async fn misses(
    services: &Services,
    caller: &Caller,
    people: &People,
    path: &str,
) -> Result<Option<Refusal>, StoreError> {
    let People::Filter(filter) = people else {
        return Ok(None);
    };
    let db = services.db.read();
    filter::refused(db, caller.workspace, filter, &[path, "filter"]).await
}

async fn refused(
    services: &Services,
    caller: &Caller,
    sequence: SequenceId,
) -> Result<Option<Refusal>, StoreError> {
    let path = &["sequenceId"];
    let found = store::sequence::find(services.db.read(), caller.workspace, sequence).await?;
    let Some(found) = found else {
        return Ok(Some(missing()));
    };
    let enrolled = found
        .status
        .apply(SequenceAction::Enrol, found.published_version.is_some());
    let wrong = |wrong: crate::domain::sequence::WrongStatus| {
        Refusal::new(RefusalCode::WrongState, wrong.to_string(), path)
    };
    Ok(enrolled.err().map(wrong))
}

fn missing() -> Refusal {
    let message = "There is no sequence with this id: take the id from an answer of this API.";
    Refusal::not_found(message, &["sequenceId"])
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
    let request: EnrolRequest = read(operation.request.clone())?;
    let progress: Progress = if progress.is_null() {
        Progress::default()
    } else {
        read(progress)?
    };
    if !operation.scope.admits(request.sequence_id) {
        let message = "it is limited to other sequences than the one that it enrols into";
        return Err(ChunkError::Broken(message.to_owned()));
    }
    let target = enrolment::target(tx, operation.workspace, request.sequence_id).await?;
    let Selection {
        people,
        next,
        total,
    } = select(tx, operation, &request, progress).await?;
    let mut chunk = Chunk {
        total,
        progress: next.map(|next| json!(next)),
        ..Chunk::default()
    };
    match target.map(Enrolling::open).transpose()? {
        Some(Ok(target)) => {
            let manner = Manner::Asked {
                re_enrol: request.re_enrol,
                missing: request.people.missing(),
                operation: Some(operation.id),
            };
            let (subjects, people): (Vec<String>, Vec<_>) = people
                .into_iter()
                .map(|chosen| (chosen.subject, chosen.person))
                .unzip();
            let place = (operation.workspace, request.sequence_id);
            let enrolled = enrolling::enrol(services, tx, place, manner, &target, &people).await?;
            chunk.events = enrolled.events;
            let outcome = |(subject, Decided { code, message, .. }): (String, Decided)| Outcome {
                subject,
                code,
                message: message.to_owned(),
            };
            let outcomes = subjects.into_iter().zip(enrolled.decided).map(outcome);
            chunk.outcomes.extend(outcomes);
        }
        refused => {
            let gone = || "There is no such sequence any more: enrol into another one.".to_owned();
            let message = refused.and_then(Result::err).unwrap_or_else(gone);
            let refused = |chosen: Chosen| Outcome {
                subject: chosen.subject,
                code: BulkOutcomeCode::Invalid,
                message: message.clone(),
            };
            chunk.outcomes.extend(people.into_iter().map(refused));
        }
    }
    Ok(chunk)
}

/// Somebody who was chosen.
struct Chosen {
    /// The person's id; that by which they were chosen, where there is nobody.
    subject: String,
    /// The person, if the workspace has them.
    person: Option<Candidate>,
}

impl From<Candidate> for Chosen {
    fn from(person: Candidate) -> Self {
        Self {
            subject: PersonId::from_uuid(person.id).to_string(),
            person: Some(person),
        }
    }
}

/// The people of one chunk.
struct Selection {
    people: Vec<Chosen>,
    next: Option<Progress>,
    total: Option<i64>,
}

async fn select(
    tx: &DatabaseTransaction,
    operation: &Operation,
    request: &EnrolRequest,
    progress: Progress,
) -> Result<Selection, StoreError> {
    let (workspace, sequence) = (operation.workspace, request.sequence_id);
    match &request.people {
        People::Ids(ids) => {
            let (asked, next) = progress.part(ids);
            let found = by_id(tx, workspace, sequence, asked).await?;
            let people = asked.iter().map(|id| match found.get(&id.uuid()) {
                Some(person) => person.clone().into(),
                None => nobody(id),
            });
            Ok(Selection {
                people: people.collect(),
                next,
                total: i64::try_from(ids.len()).ok(),
            })
        }
        People::OpportunityIds(ids) => {
            let (asked, next) = progress.part(ids);
            let opportunities = store::opportunity::find_many(tx, workspace, asked).await?;
            let owners: HashMap<Uuid, Uuid> = opportunities
                .iter()
                .map(|row| (row.id, row.person_id))
                .collect();
            let people: Vec<PersonId> = owners.values().copied().map(PersonId::from_uuid).collect();
            let found = by_id(tx, workspace, sequence, &people).await?;
            let people = asked.iter().map(|id| {
                let owner = owners.get(&id.uuid());
                match owner.and_then(|owner| found.get(owner)) {
                    Some(person) => person.clone().into(),
                    None => nobody(id),
                }
            });
            Ok(Selection {
                people: people.collect(),
                next,
                total: i64::try_from(ids.len()).ok(),
            })
        }
        People::Filter(filter) => {
            let filter = enrolment::Filter::People(filter);
            by_filter(tx, operation, sequence, filter, progress).await
        }
        People::Everything => {
            let everybody = PersonFilter::default();
            let filter = enrolment::Filter::People(&everybody);
            by_filter(tx, operation, sequence, filter, progress).await
        }
        People::Opportunities(filter) => {
            let filter = enrolment::Filter::Opportunities(filter);
            by_filter(tx, operation, sequence, filter, progress).await
        }
    }
}

fn nobody(id: &impl ToString) -> Chosen {
    Chosen {
        subject: id.to_string(),
        person: None,
    }
}

impl Progress {
    /// The next of a list of ids, and where the chunk after that begins.
    fn part<T>(self, ids: &[T]) -> (&[T], Option<Self>) {
        let rest = ids.get(self.ids_done..).unwrap_or_default();
        let asked = rest.get(..CHUNK_MAX).unwrap_or(rest);
        let next = (asked.len() < rest.len()).then_some(Self {
            ids_done: self.ids_done + asked.len(),
            ..self
        });
        (asked, next)
    }
}

async fn by_id(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
    sequence: SequenceId,
    ids: &[PersonId],
) -> Result<HashMap<Uuid, Candidate>, StoreError> {
    let found = enrolment::by_ids(tx, workspace, sequence, ids).await?;
    Ok(found
        .into_iter()
        .map(|person| (person.id, person))
        .collect())
}

async fn by_filter(
    tx: &DatabaseTransaction,
    operation: &Operation,
    sequence: SequenceId,
    filter: enrolment::Filter<'_>,
    progress: Progress,
) -> Result<Selection, StoreError> {
    let (workspace, as_of) = (operation.workspace, operation.submitted_at);
    let window = (progress.after, as_of);
    let found = enrolment::by_filter(tx, workspace, sequence, filter, window, CHUNK_MAX).await?;
    let last = found.last().map(|person| PersonId::from_uuid(person.id));
    let more = found.len() == CHUNK_MAX;
    let total = match operation.total {
        // What was counted at first is corrected at the end: people change meanwhile.
        _ if !more => i64::try_from(found.len())
            .ok()
            .map(|n| n + operation.processed),
        Some(_) => None,
        None => Some(enrolment::count(tx, workspace, filter, as_of).await?),
    };
    let next = more.then_some(Progress {
        after: last,
        ..progress
    });
    Ok(Selection {
        people: found.into_iter().map(Chosen::from).collect(),
        next,
        total,
    })
}
