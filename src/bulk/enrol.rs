//! Enrolling people: selected by id or by filter, decided one by one, written as a set.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{CHUNK_MAX, Chunk, ChunkError, Operation, Outcome};
use crate::app::Services;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::{Channel, CompiledFlow, CompiledStep, Flow};
use crate::domain::id::{LeadId, PersonId, SenderId, SequenceId};
use crate::domain::person_filter::PersonFilter;
use crate::domain::planning::{self, Clocks};
use crate::domain::sequence::{SequenceAction, SequenceStatus};
use crate::domain::settings::Settings;
use crate::domain::zone::Zone;
use crate::store::StoreError;
use crate::store::enrolment::{self, Candidate, NewLead};

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
    /// By id; what is no person's id is kept as it came, to be named in the outcomes.
    Ids(Vec<String>),
    /// By filter: those who were there when it was asked.
    Filter(PersonFilter),
}

/// Where the next chunk begins.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Progress {
    /// How many of the ids are done.
    #[serde(default)]
    ids_done: usize,
    /// The last person that the filter answered.
    #[serde(default)]
    after: Option<Uuid>,
    /// When the filter was first asked.
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
    progress: Value,
) -> Result<Chunk, ChunkError> {
    let broken = |error: serde_json::Error| ChunkError::Broken(error.to_string());
    let request: EnrolRequest =
        serde_json::from_value(operation.request.clone()).map_err(broken)?;
    let progress: Progress = match progress {
        Value::Null => Progress::default(),
        progress => serde_json::from_value(progress).map_err(broken)?,
    };
    let selection = select(services, tx, operation, &request, progress).await?;
    let mut chunk = Chunk {
        total: selection.total,
        progress: selection.next.map(serde_json::to_value).transpose().map_err(broken)?,
        ..Chunk::default()
    };
    let target = enrolment::target(tx, operation.workspace, request.sequence_id).await?;
    match target.map(Enrolling::open).transpose()? {
        Some(Ok(target)) => {
            enrol(services, tx, operation, &request, target, selection.items, &mut chunk).await?;
        }
        refused => {
            let reason = match refused {
                Some(Err(reason)) => reason,
                _ => "There is no such sequence any more.".to_owned(),
            };
            chunk.outcomes.extend(selection.items.into_iter().map(|(subject, _)| Outcome {
                subject,
                code: BulkOutcomeCode::Invalid,
                message: reason.clone(),
            }));
        }
    }
    Ok(chunk)
}

/// The people of one chunk: how each is called, and who it is, if anybody.
struct Selection {
    items: Vec<(String, Option<Candidate>)>,
    next: Option<Progress>,
    total: Option<i64>,
}

async fn select(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    request: &EnrolRequest,
    mut progress: Progress,
) -> Result<Selection, StoreError> {
    let (workspace, sequence) = (operation.workspace, request.sequence_id);
    match &request.people {
        People::Ids(ids) => {
            let asked: Vec<&String> = ids.iter().skip(progress.ids_done).take(CHUNK_MAX).collect();
            let known: Vec<PersonId> = asked.iter().filter_map(|id| id.parse().ok()).collect();
            let found = enrolment::by_ids(tx, workspace, sequence, &known).await?;
            let mut found: HashMap<Uuid, Candidate> =
                found.into_iter().map(|person| (person.id, person)).collect();
            let mut seen = HashSet::new();
            let items = asked.iter().map(|text| {
                let id = text.parse::<PersonId>().ok().map(PersonId::uuid);
                let again = id.is_some_and(|id| !seen.insert(id));
                let person = id.and_then(|id| found.remove(&id));
                // The second time somebody is named, the first has made the lead.
                let person = person.or_else(|| again.then(|| already(id.unwrap_or_default())));
                ((*text).clone(), person)
            });
            let items: Vec<_> = items.collect();
            progress.ids_done += items.len();
            let more = progress.ids_done < ids.len();
            let total = i64::try_from(ids.len()).ok();
            Ok(Selection { items, next: more.then_some(progress), total })
        }
        People::Filter(filter) => {
            let selected_at = *progress.selected_at.get_or_insert(services.clock.now());
            let total = match operation.total {
                Some(_) => None,
                None => Some(enrolment::count(tx, workspace, filter, selected_at).await?),
            };
            let window = (progress.after, selected_at);
            let found =
                enrolment::by_filter(tx, workspace, sequence, filter, window, CHUNK_MAX).await?;
            let more = found.len() == CHUNK_MAX;
            progress.after = found.last().map(|person| person.id);
            let items = found.into_iter().map(|person| {
                (PersonId::from_uuid(person.id).to_string(), Some(person))
            });
            Ok(Selection { items: items.collect(), next: more.then_some(progress), total })
        }
    }
}

fn already(id: Uuid) -> Candidate {
    Candidate { id, has_email: true, time_zone: None, suppressed: None, rounds: 1, active: true }
}

/// A sequence that takes leads.
struct Enrolling {
    flow: CompiledFlow,
    settings: Settings,
}

impl Enrolling {
    /// The sequence made ready, or why it takes nobody.
    fn open(target: enrolment::Target) -> Result<Result<Self, String>, ChunkError> {
        let status: SequenceStatus = target
            .status
            .parse()
            .map_err(|_| StoreError::corrupt("sequence status", &target.status))?;
        if let Err(refused) = status.apply(SequenceAction::Enrol, true) {
            return Ok(Err(refused.to_string()));
        }
        let corrupt = |error: serde_json::Error| StoreError::corrupt("sequence version", error);
        let flow: Flow =
            serde_json::from_value(target.flow.unwrap_or_default()).map_err(corrupt)?;
        let settings =
            serde_json::from_value(target.settings.unwrap_or_default()).map_err(corrupt)?;
        let flow = CompiledFlow::compile(&flow)
            .map_err(|error| StoreError::corrupt("sequence version", error))?;
        Ok(Ok(Self { flow, settings }))
    }
}

async fn enrol(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    request: &EnrolRequest,
    target: Enrolling,
    items: Vec<(String, Option<Candidate>)>,
    chunk: &mut Chunk,
) -> Result<(), ChunkError> {
    let now = services.clock.now();
    let Some(entry) = target.flow.entry() else {
        return Err(ChunkError::Broken("the sequence has no first step".into()));
    };
    let zones = enrolment::sender_zones(tx, operation.workspace, &entry.senders).await?;
    let zones: HashMap<Uuid, Zone> = zones
        .into_iter()
        .filter_map(|sender| Some((sender.id, services.zones.get(&sender.time_zone)?)))
        .collect();
    let mut planner = Planner::new(services, &target.settings, entry, zones, now);
    let mut leads: Vec<NewLead> = Vec::new();
    let mut outcomes = Vec::with_capacity(items.len());
    for (subject, person) in items {
        match refusal(person.as_ref(), request.re_enrol) {
            Some((code, message)) => outcomes.push((subject, None, code, message)),
            None => {
                let Some(lead) = person.as_ref().and_then(|person| planner.lead(person)) else {
                    let message = "The first step has no sender: publish the sequence with one.";
                    outcomes.push((subject, None, BulkOutcomeCode::Invalid, message));
                    continue;
                };
                outcomes.push((subject, Some(lead.id), BulkOutcomeCode::Done, "Enrolled."));
                leads.push(lead);
            }
        }
    }
    let made = enrolment::insert(
        tx, operation.workspace, request.sequence_id, &entry.key, &leads, now,
    )
    .await?;
    let made: HashSet<LeadId> = made.into_iter().collect();
    for lead in leads.iter().filter(|lead| made.contains(&lead.id)) {
        let event =
            NewEvent::of_lead(now, EventKind::LeadEnrolled, request.sequence_id, lead.id);
        chunk.events.push(NewEvent {
            sender_id: Some(lead.sender),
            channel: Some(Channel::Email),
            ..event.at_step(&entry.key)
        });
    }
    chunk.outcomes.extend(outcomes.into_iter().map(|(subject, lead, code, message)| {
        // Somebody else enrolled the person in the same moment.
        let late = lead.is_some_and(|lead| !made.contains(&lead));
        let (code, message) =
            if late { (BulkOutcomeCode::AlreadyEnrolled, ALREADY) } else { (code, message) };
        Outcome { subject, code, message: message.to_owned() }
    }));
    Ok(())
}

const ALREADY: &str = "The person already has a lead in this sequence.";

/// Why a person is not enrolled; `None`, nothing stands in the way.
fn refusal(
    person: Option<&Candidate>,
    re_enrol: bool,
) -> Option<(BulkOutcomeCode, &'static str)> {
    let Some(person) = person else {
        let message = "There is no such person: take the id from an answer of this API.";
        return Some((BulkOutcomeCode::NotFound, message));
    };
    if person.active {
        return Some((BulkOutcomeCode::AlreadyEnrolled, ALREADY));
    }
    if person.rounds > 0 && !re_enrol {
        let message = "The person had a lead in this sequence: ask for reEnrol to run it again.";
        return Some((BulkOutcomeCode::AlreadyEnrolled, message));
    }
    match person.suppressed.as_deref() {
        Some("UNSUBSCRIBED") => {
            return Some((BulkOutcomeCode::OptedOut, "The person has opted out of email."));
        }
        Some(_) => {
            let message = "The person's address must not be contacted: it bounced or complained.";
            return Some((BulkOutcomeCode::Suppressed, message));
        }
        None => {}
    }
    (!person.has_email).then_some((
        BulkOutcomeCode::NoAddress,
        "The person has no email address, and every step sends email: add one.",
    ))
}

/// Plans first steps; people with the same clocks share the reckoning.
struct Planner<'a> {
    services: &'a Services,
    settings: &'a Settings,
    entry: &'a CompiledStep,
    senders: HashMap<Uuid, Zone>,
    sequence_zone: Zone,
    now: DateTime<Utc>,
    planned: HashMap<(SenderId, Option<String>), DateTime<Utc>>,
}

impl<'a> Planner<'a> {
    fn new(
        services: &'a Services,
        settings: &'a Settings,
        entry: &'a CompiledStep,
        senders: HashMap<Uuid, Zone>,
        now: DateTime<Utc>,
    ) -> Self {
        let sequence_zone = services.zones.get(&settings.time_zone).unwrap_or_else(Zone::utc);
        let planned = HashMap::new();
        Self { services, settings, entry, senders, sequence_zone, now, planned }
    }

    fn lead(&mut self, person: &Candidate) -> Option<NewLead> {
        let bucket = self.services.entropy.bucket();
        let sender = self.entry.sender(None, bucket)?;
        Some(NewLead {
            id: self.services.entropy.id(self.now),
            person: person.id,
            round: i32::try_from(person.rounds).ok()?.checked_add(1)?,
            sender,
            bucket,
            due_at: self.due_at(sender, person.time_zone.as_deref()),
        })
    }

    fn due_at(&mut self, sender: SenderId, zone: Option<&str>) -> DateTime<Utc> {
        let key = (sender, zone.map(str::to_owned));
        if let Some(planned) = self.planned.get(&key) {
            return *planned;
        }
        let person = zone.and_then(|zone| self.services.zones.get(zone));
        let clocks = Clocks {
            sequence: &self.sequence_zone,
            sender: self.senders.get(&sender.uuid()).unwrap_or(&self.sequence_zone),
            person: person.as_ref(),
        };
        let calendar = planning::calendar(self.settings, clocks);
        let due_at = planning::due_at(self.entry, self.now, &calendar);
        self.planned.insert(key, due_at);
        due_at
    }
}
