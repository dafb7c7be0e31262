//! What the working copy of a sequence would do for one person.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Datelike, Utc};

use super::problems;
use crate::app::{AppError, Caller, Refusal, Services};
use crate::domain::flow::{self, Action, Flow, FlowProblem};
use crate::domain::id::{PersonId, SenderId};
use crate::domain::planning::Whereabouts;
use crate::domain::preview::{
    self, Circumstances, Contact, FlowPreview, PreviewSender, Scenario, ScenarioAnswer,
};
use crate::domain::tracking::OPT_OUT_AT;
use crate::domain::zone::Zone;
use crate::store::sender::Sender;
use crate::store::sequence::Sequence;
use crate::store::{self, person};

/// The years in which a preview may begin: no flow leads from them to where calendars end.
const YEARS: std::ops::Range<i32> = 2000..2100;

/// What is asked of a preview.
#[derive(Debug, Clone, Default)]
pub struct Asked {
    /// For whom; `None`, a sample person.
    pub person: Option<Arc<person::Row>>,
    /// What the person does.
    pub scenario: Vec<ScenarioAnswer>,
    /// When the person is enrolled; `None`, now.
    pub start_at: Option<DateTime<Utc>>,
}

/// What a preview answers.
#[derive(Debug, Clone)]
pub struct Answered {
    /// The paths.
    pub flow: FlowPreview,
    /// The problems of the working copy, as publishing would find them.
    pub problems: Vec<FlowProblem>,
}

/// Every path through the working copy, or those that the scenario leaves open.
///
/// # Errors
/// [`AppError::Refused`] for a scenario that does not fit the flow and an instant that is too far
/// off; [`AppError::Store`] as the database has it.
pub async fn preview(
    services: &Services,
    caller: &Caller,
    sequence: Arc<Sequence>,
    asked: Asked,
) -> Result<Answered, AppError> {
    let start_at = asked.start_at.unwrap_or_else(|| services.clock.now());
    if !YEARS.contains(&start_at.year()) {
        let message = "A preview begins in a year from 2000 to 2099: give another instant.";
        return Err(Refusal::invalid(message, &["startAt"]).into());
    }
    let scenario = Scenario::read(&sequence.flow, asked.scenario)
        .map_err(|error| Refusal::invalid(format!("{error}."), &["scenario", "answers"]))?;
    let (connection, workspace) = (services.db.read(), caller.workspace);
    let ids = sequence.flow.senders();
    let senders = store::sender::find_many(connection, workspace, &ids).await?;
    let attributes = problems::attributes(connection, caller, &sequence.flow).await?;
    let facts = problems::facts(services, &sequence, &senders, attributes);
    let bucket = match &asked.person {
        Some(row) => {
            let (sequence, person) = (sequence.id, PersonId::from_uuid(row.id));
            store::lead::bucket_of(connection, workspace, sequence, person).await?
        }
        None => None,
    };
    let zone = services.zones.get(&sequence.settings.time_zone);
    let zone = zone.unwrap_or_else(Zone::utc);
    let contact = match asked.person {
        Some(row) => contact(services, &row),
        None => Contact::sample(zone.name()),
    };
    let enabled = running(services, &senders);
    let zones = named_zones(services, &sequence.flow);
    // It may take its time, and others are to be answered meanwhile.
    let walk = tokio::task::spawn_blocking(move || {
        let problems = flow::check(&sequence.flow, &sequence.settings, &facts);
        let circumstances = Circumstances {
            settings: &sequence.settings,
            zone: &zone,
            senders: &enabled,
            contact: &contact,
            zones: &zones,
            bucket,
            scenario: &scenario,
            start_at,
            problems: &problems,
        };
        let flow = preview::preview(&sequence.flow, circumstances);
        Answered { flow, problems }
    });
    walk.await
        .map_err(|error| AppError::Internal(format!("a preview broke off: {error}")))
}

fn running(services: &Services, senders: &[Sender]) -> HashMap<SenderId, PreviewSender> {
    let enabled = senders.iter().filter(|sender| sender.enabled);
    let known = enabled.map(|sender| {
        let known = PreviewSender {
            name: sender.name.clone(),
            address: sender.address.clone(),
            unsubscribe_url: (services.marks.base_of(sender.tracking_url.as_ref()))
                .map(|base| format!("{base}{OPT_OUT_AT}preview")),
            zone: (services.zones.get(&sender.time_zone)).unwrap_or_else(Zone::utc),
        };
        (sender.id, known)
    });
    known.collect()
}

/// The clocks that the flow's updates name.
fn named_zones(services: &Services, flow: &Flow) -> HashMap<String, Zone> {
    let named = flow.steps.iter().filter_map(|step| match &step.action {
        Action::Update(update) => update.set.get("timeZone")?.as_str().map(str::trim),
        _ => None,
    });
    named
        .filter_map(|name| Some((name.to_owned(), services.zones.get(name)?)))
        .collect()
}

fn contact(services: &Services, row: &person::Row) -> Contact {
    let zone = row.time_zone.as_deref();
    let zone = zone.and_then(|name| services.zones.get(name));
    Contact {
        email: row.email.clone(),
        phone: row.phone.clone(),
        linkedin_url: row.linkedin_url.clone(),
        first_name: row.first_name.clone(),
        last_name: row.last_name.clone(),
        company: row.company.clone(),
        title: row.title.clone(),
        time_zone: row.time_zone.clone(),
        country: row.country.clone(),
        attributes: row.attributes.as_object().cloned().unwrap_or_default(),
        whereabouts: Whereabouts::new(zone, row.country.as_deref()),
        is_sample: false,
    }
}
