//! The one way in which people become leads: decided one by one, written as a set. Who chose them,
//! and what is told of the outcome, is the caller's.

use std::collections::HashSet;

use sea_orm::DatabaseTransaction;
use serde_json::json;

use super::plan::Planner;
use crate::app::Services;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::flow::{Channel, CompiledFlow};
use crate::domain::id::{BulkId, LeadId, SequenceId, WorkspaceId};
use crate::domain::sequence::{SequenceAction, SequenceStatus};
use crate::domain::settings::Settings;
use crate::store::StoreError;
use crate::store::enrolment::{self, Candidate, NewLead, Source, Target};
use crate::store::sequence::version::Version;

const ALREADY: &str = "The person already has a lead under way in this sequence.";

/// Who enrols, which decides whom it may enrol again and what is told of the others.
#[derive(Debug, Clone, Copy)]
pub enum Manner {
    /// Somebody who chose the people.
    Asked {
        /// Whether those whose last run is over may run again.
        re_enrol: bool,
        /// What is told where there is nobody under a name.
        missing: &'static str,
        /// By which operation, which may be undone; none where nobody is enrolled yet.
        operation: Option<BulkId>,
    },
    /// A workflow, which enrols nobody twice.
    Workflow,
}

impl Manner {
    const fn source(self) -> Source {
        match self {
            Self::Asked { .. } => Source::Api,
            Self::Workflow => Source::Workflow,
        }
    }

    const fn missing(self) -> &'static str {
        match self {
            Self::Asked { missing, .. } => missing,
            Self::Workflow => "The person is not there any more: nobody can be enrolled.",
        }
    }

    /// Why those whose last run is over do not run again; `None`, they do.
    const fn over(self) -> Option<&'static str> {
        match self {
            Self::Asked { re_enrol: true, .. } => None,
            Self::Asked { .. } => {
                Some("The person has run through the sequence: ask with reEnrol to run it again.")
            }
            Self::Workflow => Some(
                "The person was a lead of the sequence before, and a workflow enrols nobody twice: \
                 enrol them again by leadsEnrol with reEnrol.",
            ),
        }
    }
}

/// What was decided of one person.
#[derive(Debug, Clone, Copy)]
pub struct Decided {
    /// What became of it.
    pub code: BulkOutcomeCode,
    /// The same for people; says the remedy where there is one.
    pub message: &'static str,
    /// The lead that the person became.
    pub lead: Option<LeadId>,
}

/// What became of some people.
#[derive(Debug, Default)]
pub struct Enrolled {
    /// What was decided of each of them, in their order.
    pub decided: Vec<Decided>,
    /// What happened, for the log; to be appended as the last thing before the commit.
    pub events: Vec<NewEvent>,
}

/// A sequence that takes leads.
pub struct Enrolling {
    flow: CompiledFlow,
    channels: Vec<Channel>,
    pub(super) settings: Settings,
}

impl Enrolling {
    /// The sequence made ready, or why it takes nobody.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] where the database holds something else.
    pub fn open(target: Target) -> Result<Result<Self, String>, StoreError> {
        let status: SequenceStatus = target
            .status
            .parse()
            .map_err(|_| StoreError::corrupt("sequence's status", &target.status))?;
        if let Err(refused) = status.apply(SequenceAction::Enrol, true) {
            return Ok(Err(refused.to_string()));
        }
        let missing = || StoreError::corrupt("sequence", "it takes leads and runs no version");
        let Version { flow, settings, .. } = target.version.ok_or_else(missing)?;
        let mut channels = Vec::new();
        for channel in flow.steps.iter().filter_map(|step| step.action.channel()) {
            if !channels.contains(&channel) {
                channels.push(channel);
            }
        }
        let flow = CompiledFlow::compile(&flow)
            .map_err(|error| StoreError::corrupt("sequence's version", error))?;
        Ok(Ok(Self {
            flow,
            channels,
            settings,
        }))
    }

    /// Why a person is not enrolled; `None`, nothing stands in the way.
    pub(super) fn refusal(
        &self,
        person: Option<&Candidate>,
        manner: Manner,
    ) -> Option<(BulkOutcomeCode, &'static str)> {
        let Some(person) = person else {
            return Some((BulkOutcomeCode::NotFound, manner.missing()));
        };
        if person.active {
            return Some((BulkOutcomeCode::AlreadyEnrolled, ALREADY));
        }
        if person.has_run
            && let Some(message) = manner.over()
        {
            return Some((BulkOutcomeCode::AlreadyEnrolled, message));
        }
        match self.closed(person) {
            Some("UNSUBSCRIBED") => {
                let message = "The person has opted out and must not be contacted.";
                return Some((BulkOutcomeCode::OptedOut, message));
            }
            Some(_) => {
                let message = "The person's address must not be contacted: correct the address.";
                return Some((BulkOutcomeCode::Suppressed, message));
            }
            None => {}
        }
        // A sequence that reaches nobody, but marks people, takes everybody.
        let mut channels = self.channels.iter();
        let reachable = self.channels.is_empty() || channels.any(|one| person.has_address(*one));
        let message = "No step of the sequence can reach the person: add an address.";
        (!reachable).then_some((BulkOutcomeCode::NoAddress, message))
    }

    /// Why the person must not be contacted by the sequence. Whoever must not get its emails is not
    /// enrolled at all, as most who opt out do it there; another channel that is closed leaves the
    /// others, and its steps are skipped. Where none is left by which the sequence could
    /// contact the person, nothing is begun that could only stop.
    fn closed<'p>(&self, person: &'p Candidate) -> Option<&'p str> {
        let channels = || self.channels.iter().copied();
        let by_email = channels().find(|channel| *channel == Channel::Email);
        if let Some(reason) = by_email.and_then(|email| person.suppressed(email)) {
            return Some(reason);
        }
        // Work and requests contact nobody.
        let contacts = || channels().filter(|one| !matches!(one, Channel::Task | Channel::Webhook));
        if contacts().any(|one| person.has_address(one) && person.suppressed(one).is_none()) {
            return None;
        }
        let reasons = || contacts().filter_map(|channel| person.suppressed(channel));
        // Who has opted out is told so, whatever else is wrong with the address.
        reasons()
            .find(|reason| *reason == "UNSUBSCRIBED")
            .or_else(|| reasons().next())
    }
}

/// Makes leads of the people as far as nothing stands in the way; somebody who comes twice is enrolled
/// once. The sequence is locked by this transaction.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn enrol(
    services: &Services,
    tx: &DatabaseTransaction,
    (workspace, sequence): (WorkspaceId, SequenceId),
    manner: Manner,
    target: &Enrolling,
    people: &[Option<Candidate>],
) -> Result<Enrolled, StoreError> {
    let now = services.clock.now();
    let Some(entry) = target.flow.entry() else {
        return Err(StoreError::corrupt("sequence", "it has no first step"));
    };
    let mut planner = Planner::new(services, tx, workspace, target, entry, now).await?;
    let mut leads: Vec<NewLead> = Vec::new();
    let mut named = HashSet::new();
    let mut decided = Vec::with_capacity(people.len());
    for person in people {
        let refusal = target.refusal(person.as_ref(), manner);
        let made = match (refusal, person) {
            (Some(refusal), _) => Err(refusal),
            (None, Some(person)) if named.insert(person.id) => planner.lead(person),
            // Named before, among the same people.
            (None, _) => Err((BulkOutcomeCode::AlreadyEnrolled, ALREADY)),
        };
        let lead = made.as_ref().map(|lead| lead.id);
        decided.push(lead.map_err(|refusal| *refusal));
        leads.extend(made.ok());
    }
    let source = manner.source();
    let made = enrolment::insert(tx, workspace, sequence, &entry.key, &leads, source, now);
    let made: HashSet<LeadId> = made.await?.into_iter().collect();
    let is_made = |lead: &&NewLead| made.contains(&lead.id);
    let events = leads.iter().filter(is_made).map(|lead| {
        let event = NewEvent::of_lead(now, EventKind::LeadEnrolled, sequence, lead.id);
        let sender_id = lead.sender;
        let event = match manner {
            Manner::Asked {
                operation: Some(id),
                ..
            } => event.with_detail(json!({ "operationId": id })),
            Manner::Asked { .. } | Manner::Workflow => event,
        };
        NewEvent {
            sender_id,
            ..event.at_step(&entry.key)
        }
    });
    let events = events.collect();
    let decided = decided.into_iter().map(|decided| {
        let (code, message) = match decided {
            Ok(lead) if made.contains(&lead) => (BulkOutcomeCode::Done, "Enrolled."),
            // Somebody else enrolled the person in the same moment.
            Ok(_) => (BulkOutcomeCode::AlreadyEnrolled, ALREADY),
            Err(refusal) => refusal,
        };
        let lead = decided.ok().filter(|lead| made.contains(lead));
        Decided {
            code,
            message,
            lead,
        }
    });
    let decided = decided.collect();
    Ok(Enrolled { decided, events })
}
