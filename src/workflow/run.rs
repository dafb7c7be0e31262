//! One chunk of one workflow: the people whom it concerns, chosen by its filter as they are now, and
//! enrolled.

use std::collections::HashMap;

use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use super::CHUNK_MAX;
use crate::app::{self, Services};
use crate::bulk::enrol::enrolling::{self, Enrolling, Manner};
use crate::domain::event::NewEvent;
use crate::domain::id::{LeadId, PersonId, SequenceId, WorkflowId, WorkspaceId};
use crate::domain::workflow::{CHAIN_MAX, RunCode};
use crate::store::enrolment::{self, Candidate};
use crate::store::workflow::queue::{self, Queued};
use crate::store::workflow::run::{self, NewRun};
use crate::store::workflow::{self, Row};
use crate::store::{StoreError, event};

const DISABLED: &str = "The workflow was switched off after this set it off: enrol the person by \
                        leadsEnrol.";
const TOO_LONG: &str = "Workflows have led to each other too often: let fewer of them be set off by \
                        what their sequences change, or enrol the person by leadsEnrol.";
const GONE: &str = "The person is not there any more: nobody can be enrolled.";
const NOT_MATCHING: &str = "The filter did not choose the person when the workflow ran: change the \
                            filter or the person.";

/// Runs a workflow for the next people; `false` where there is nobody, or somebody else does.
///
/// # Errors
/// [`StoreError`] as the database has it; then nothing has changed.
pub(super) async fn chunk(services: &Services, id: WorkflowId) -> Result<bool, StoreError> {
    let tx = services.db.begin().await?;
    let Some(row) = workflow::lock_free(&tx, id).await? else {
        return Ok(false);
    };
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    let queued = queue::queued(&tx, workspace, id, CHUNK_MAX).await?;
    if queued.is_empty() {
        return Ok(false);
    }
    let (runs, events) = decide(services, &tx, &row, &queued).await?;
    let now = services.clock.now();
    run::insert(&tx, workspace, id, &runs, now).await?;
    queue::done(&tx, workspace, id, queued.iter().map(|one| one.id)).await?;
    let enrolled = runs.iter().filter(|run| run.code == RunCode::Done).count();
    if enrolled > 0 {
        let more = i64::try_from(enrolled).unwrap_or(i64::MAX);
        workflow::add_enrolled(&tx, workspace, id, more).await?;
    }
    event::append(&tx, workspace, events).await?;
    tx.commit().await?;
    services.wake.log();
    if enrolled > 0 {
        services.wake.due();
    }
    Ok(true)
}

/// What comes of some runs.
type Decided = (Vec<NewRun>, Vec<NewEvent>);

async fn decide(
    services: &Services,
    tx: &DatabaseTransaction,
    row: &Row,
    queued: &[Queued],
) -> Result<Decided, StoreError> {
    if !row.enabled {
        let runs = queued.iter().map(|one| {
            let message = DISABLED.to_owned();
            not_enrolled(one, RunCode::WorkflowDisabled, message)
        });
        return Ok((runs.collect(), Vec::new()));
    }
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    let sequence = SequenceId::from_uuid(row.sequence_id);
    let mut people: Vec<PersonId> = queued.iter().map(person).collect();
    people.sort_unstable();
    people.dedup();
    let filter = app::workflow::filter(row)?;
    let matching = enrolment::matching(tx, workspace, sequence, &people, Some(&filter)).await?;
    let matching: HashMap<Uuid, Candidate> = matching
        .into_iter()
        .map(|found| (found.id, found))
        .collect();
    people.retain(|id| !matching.contains_key(&id.uuid()));
    let there = match people.as_slice() {
        [] => Default::default(),
        people => enrolment::there(tx, workspace, people).await?,
    };
    let mut runs = Vec::with_capacity(queued.len());
    let mut chosen = Vec::new();
    for one in queued {
        let refused = match matching.get(&one.person_id) {
            Some(_) if one.depth >= CHAIN_MAX => (RunCode::ChainTooLong, TOO_LONG),
            Some(candidate) => {
                chosen.push((one, Some(candidate.clone())));
                continue;
            }
            None if there.contains(&one.person_id) => (RunCode::NotMatching, NOT_MATCHING),
            None => (RunCode::NotFound, GONE),
        };
        runs.push(not_enrolled(one, refused.0, refused.1.to_owned()));
    }
    let (enrolled, events) = enrol(services, tx, (workspace, sequence), chosen).await?;
    runs.extend(enrolled);
    Ok((runs, events))
}

async fn enrol(
    services: &Services,
    tx: &DatabaseTransaction,
    place: (WorkspaceId, SequenceId),
    chosen: Vec<(&Queued, Option<Candidate>)>,
) -> Result<Decided, StoreError> {
    if chosen.is_empty() {
        return Ok(Decided::default());
    }
    let (queued, people): (Vec<&Queued>, Vec<Option<Candidate>>) = chosen.into_iter().unzip();
    let target = enrolment::target(tx, place.0, place.1).await?;
    let target = target.ok_or_else(|| StoreError::corrupt("workflow", "its sequence is gone"))?;
    let target = match Enrolling::open(target)? {
        Ok(target) => target,
        Err(reason) => {
            let message = format!("{reason} Then enrol the person by leadsEnrol.");
            let runs = queued
                .into_iter()
                .map(|one| not_enrolled(one, RunCode::SequenceNotPublished, message.clone()));
            return Ok((runs.collect(), Vec::new()));
        }
    };
    let manner = Manner::Workflow;
    let enrolled = enrolling::enrol(services, tx, place, manner, &target, &people).await?;
    let runs = queued.into_iter().zip(enrolled.decided);
    let runs = runs.map(|(one, decided)| NewRun {
        lead: decided.lead,
        ..not_enrolled(one, decided.code.into(), decided.message.to_owned())
    });
    Ok((runs.collect(), enrolled.events))
}

fn person(queued: &Queued) -> PersonId {
    PersonId::from_uuid(queued.person_id)
}

fn not_enrolled(queued: &Queued, code: RunCode, message: String) -> NewRun {
    let lead: Option<LeadId> = None;
    NewRun {
        id: queued.id,
        person: queued.person_id,
        code,
        message,
        lead,
        depth: queued.depth,
    }
}
