//! What analytics tells, against the raw events counted one by one into sets of leads.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cadenza::app::Services;
use cadenza::app::analytics::verify::verify;
use cadenza::domain::analytics::{Bucket, Filter, Funnel, MessageCounts, Report};
use cadenza::domain::flow::Channel;
use cadenza::domain::id::{SenderId, SequenceId, WorkspaceId};
use chrono::{DateTime, NaiveDate, Utc};
use entity::{event, execution};
use sea_orm::{EntityTrait, QueryOrder};
use uuid::Uuid;

use crate::draws::Draws;

/// A message, as the events tell of it.
#[derive(Debug, Default, Clone)]
struct Told {
    lead: Uuid,
    at: i64,
    started_at: i64,
    sent: bool,
    step: String,
    channel: String,
    sender: Option<Uuid>,
    opens: u64,
    clicks: u64,
    replies: u64,
    bounces: u64,
    unsubscribes: u64,
}

/// A sequence, as the events tell of it.
#[derive(Debug, Default)]
struct Log {
    messages: BTreeMap<Uuid, Told>,
    /// The last message that each lead was sent.
    last: HashMap<Uuid, Uuid>,
    stopped: BTreeSet<Uuid>,
    /// Where leads are whose run is not over.
    at: BTreeMap<Uuid, String>,
}

fn hear(events: &[event::Model]) -> BTreeMap<Uuid, Log> {
    let mut logs: BTreeMap<Uuid, Log> = BTreeMap::new();
    for event in events {
        let (Some(sequence), Some(lead)) = (event.sequence_id, event.lead_id) else {
            continue;
        };
        let log = logs.entry(sequence).or_default();
        let step = event.step_key.clone().unwrap_or_default();
        match event.kind.as_str() {
            "LEAD_ENROLLED" | "LEAD_ADVANCED" => {
                log.at.insert(lead, step);
                continue;
            }
            "LEAD_COMPLETED" => {
                log.at.remove(&lead);
                continue;
            }
            "LEAD_STOPPED" => {
                log.at.remove(&lead);
                let undone = (event.detail.as_ref())
                    .is_some_and(|detail| detail["reason"] == "ENROLMENT_UNDONE");
                if !undone {
                    log.stopped.insert(lead);
                }
                continue;
            }
            _ => {}
        }
        let channel = event.channel.clone().unwrap_or_default();
        let Some(id) = event.execution_id.filter(|_| is_message(&channel)) else {
            continue;
        };
        match event.kind.as_str() {
            "EXECUTION_STARTED" => {
                let message = log.messages.entry(id).or_default();
                message.started_at = event.at;
                message.sender = event.sender_id;
            }
            kind @ ("EXECUTION_SENT" | "EXECUTION_FAILED") => {
                let message = log.messages.entry(id).or_default();
                let by_hand =
                    (event.detail.as_ref()).is_some_and(|detail| !detail["settledBy"].is_null());
                message.lead = lead;
                message.sent = kind == "EXECUTION_SENT";
                // Whoever settles it later tells that it left when it was tried.
                message.at = if by_hand && message.sent {
                    message.started_at
                } else {
                    event.at
                };
                message.step = step;
                message.channel = channel;
                // One that is given up by nobody is the last one's who tried.
                message.sender = event.sender_id.or(message.sender);
                if message.sent {
                    log.last.insert(lead, id);
                }
            }
            kind => {
                let message = log.messages.entry(id).or_default();
                match kind {
                    "OPENED" => message.opens += 1,
                    "CLICKED" => message.clicks += 1,
                    "REPLIED" => message.replies += 1,
                    "BOUNCED" => message.bounces += 1,
                    "UNSUBSCRIBED" => message.unsubscribes += 1,
                    _ => {}
                }
            }
        }
    }
    for log in logs.values_mut() {
        log.messages.retain(|_, message| message.at != 0);
    }
    logs
}

fn is_message(channel: &str) -> bool {
    matches!(channel, "EMAIL" | "SMS" | "WHATSAPP")
}

#[derive(Debug, Default)]
struct Counted {
    leads: [BTreeSet<Uuid>; 5],
    messages: MessageCounts,
}

impl Counted {
    fn add(&mut self, message: &Told, interrupted: bool) {
        let did = [
            true,
            message.opens > 0,
            message.clicks > 0 || message.replies > 0,
            message.replies > 0,
            interrupted,
        ];
        for (leads, did) in self.leads.iter_mut().zip(did) {
            if message.sent && did {
                leads.insert(message.lead);
            }
        }
        let counts = &mut self.messages;
        counts.sent += u64::from(message.sent);
        counts.failed += u64::from(!message.sent);
        counts.opens += message.opens;
        counts.clicks += message.clicks;
        counts.replies += message.replies;
        counts.bounces += message.bounces;
        counts.unsubscribes += message.unsubscribes;
    }

    fn bucket(&self) -> Bucket {
        let of = |at: usize| self.leads[at].len() as u64;
        Bucket {
            funnel: Funnel {
                contacted: of(0),
                opened: of(1),
                interactions: of(2),
                answered: of(3),
                interrupted: of(4),
            },
            messages: self.messages,
        }
    }
}

/// By what a bucket is told apart: the kind of bucket, and its name.
type Name = (&'static str, String);

fn count(log: &Log, variants: &HashMap<Uuid, String>, filter: &Filter) -> BTreeMap<Name, Bucket> {
    let mut buckets: BTreeMap<Name, Counted> = BTreeMap::new();
    buckets.entry(("total", String::new())).or_default();
    for (id, message) in &log.messages {
        let at = DateTime::<Utc>::from_timestamp_millis(message.at).expect("an instant");
        let day: NaiveDate = filter.zone.local(at).0;
        let sender = message.sender.map(SenderId::from_uuid);
        let channel: Channel = message.channel.parse().expect("a channel");
        let admitted = (filter.senders.as_ref())
            .is_none_or(|list| sender.is_some_and(|sender| list.contains(&sender)))
            && filter
                .channels
                .as_ref()
                .is_none_or(|list| list.contains(&channel))
            && filter
                .steps
                .as_ref()
                .is_none_or(|list| list.contains(&message.step))
            && filter.from.is_none_or(|from| day >= from)
            && filter.to.is_none_or(|to| day <= to);
        if !admitted {
            continue;
        }
        let interrupted =
            log.stopped.contains(&message.lead) && log.last.get(&message.lead) == Some(id);
        let mut names = vec![
            ("total", String::new()),
            ("step", message.step.clone()),
            ("channel", message.channel.clone()),
            ("day", day.to_string()),
        ];
        names.extend(sender.map(|sender| ("sender", sender.to_string())));
        let variant = variants.get(id);
        names.extend(variant.map(|name| ("variant", format!("{}/{name}", message.step))));
        for name in names {
            buckets.entry(name).or_default().add(message, interrupted);
        }
    }
    let mut told: BTreeMap<Name, Bucket> = buckets
        .into_iter()
        .map(|(name, counted)| (name, counted.bucket()))
        .collect();
    if filter.is_all() {
        let before = log
            .stopped
            .iter()
            .filter(|lead| !log.last.contains_key(lead));
        let total = told
            .get_mut(&("total", String::new()))
            .expect("it is there");
        total.funnel.interrupted += before.count() as u64;
    }
    told
}

fn flat(report: &Report) -> BTreeMap<Name, Bucket> {
    let mut flat = BTreeMap::from([(("total", String::new()), report.total)]);
    for step in &report.steps {
        // One where leads only wait has sent nothing.
        if step.bucket != Bucket::default() {
            flat.insert(("step", step.key.clone()), step.bucket);
        }
        for (name, bucket) in &step.variants {
            flat.insert(("variant", format!("{}/{name}", step.key)), *bucket);
        }
    }
    let senders = report.senders.iter();
    flat.extend(senders.map(|(id, bucket)| (("sender", id.to_string()), *bucket)));
    let channels = report.channels.iter();
    flat.extend(channels.map(|(channel, bucket)| (("channel", channel.to_string()), *bucket)));
    let days = report.days.iter();
    flat.extend(days.map(|(day, bucket)| (("day", day.to_string()), *bucket)));
    flat
}

/// The zones on whose days is counted.
const ZONES: [&str; 4] = [
    "UTC",
    "Europe/Lisbon",
    "America/Los_Angeles",
    "Asia/Kolkata",
];

/// Which of the conditions of a filter are given.
#[derive(Debug, Clone, Copy)]
struct Given {
    senders: bool,
    channels: bool,
    steps: bool,
    from: bool,
    to: bool,
}

impl Given {
    /// Each condition with and without each other.
    fn every() -> impl Iterator<Item = Self> {
        (0_u8..32).map(|bits| {
            let is_set = |place: u8| bits & (1 << place) != 0;
            Self {
                senders: is_set(0),
                channels: is_set(1),
                steps: is_set(2),
                from: is_set(3),
                to: is_set(4),
            }
        })
    }
}

/// A filter with these conditions, which are of messages that there are.
fn filter_of(given: Given, zone: &str, draws: &Draws, log: &Log, services: &Services) -> Filter {
    let mut filter = Filter::all(services.zones.get(zone).expect("a zone"));
    let messages: Vec<Told> = log.messages.values().cloned().collect();
    if messages.is_empty() {
        return filter;
    }
    let some = || draws.pick(&messages);
    if given.senders {
        let senders = [some().sender, some().sender].into_iter().flatten();
        filter.senders = Some(senders.map(SenderId::from_uuid).collect());
    }
    if given.channels {
        filter.channels = Some(vec![some().channel.parse().expect("a channel")]);
    }
    if given.steps {
        filter.steps = Some(vec![some().step.clone(), some().step.clone()]);
    }
    let day = |message: &Told| {
        let at = DateTime::from_timestamp_millis(message.at).expect("an instant");
        filter.zone.local(at).0
    };
    let (from, to) = (day(&some()), day(&some()));
    filter.from = given.from.then_some(from);
    filter.to = given.to.then_some(to);
    filter
}

/// Each combination of conditions on each zone's days.
fn filters(draws: &Draws, log: &Log, services: &Services) -> Vec<Filter> {
    let zones = ZONES.into_iter();
    let combined = zones.flat_map(|zone| Given::every().map(move |given| (zone, given)));
    combined
        .map(|(zone, given)| filter_of(given, zone, draws, log, services))
        .collect()
}

/// What analytics tells of every sequence, under every combination of conditions, is what the events add up
/// to.
pub async fn add_up(services: &Services, workspace: WorkspaceId, draws: &Draws) {
    let db = services.db.read();
    let events = event::Entity::find().order_by_asc(event::Column::Seq);
    let events = events.all(db).await.expect("events");
    let executions = execution::Entity::find().all(db).await.expect("executions");
    let variants: HashMap<Uuid, String> = executions
        .into_iter()
        .filter_map(|row| Some((row.id, row.variant?)))
        .collect();
    for (sequence, log) in hear(&events) {
        let filters = filters(draws, &log, services);
        let sequence = SequenceId::from_uuid(sequence);
        let asked = filters.iter().map(|filter| (sequence, filter.clone()));
        let reports = services.analytics.reports(workspace, asked.collect()).await;
        for (filter, report) in filters.iter().zip(reports.expect("reports")) {
            assert_eq!(
                flat(&report),
                count(&log, &variants, filter),
                "{sequence} {filter:?}"
            );
            let waiting: BTreeMap<&str, u64> = report
                .steps
                .iter()
                .filter(|step| step.waiting > 0)
                .map(|step| (step.key.as_str(), step.waiting))
                .collect();
            let mut told: BTreeMap<&str, u64> = BTreeMap::new();
            for step in log.at.values() {
                *told.entry(step).or_default() += 1;
            }
            assert_eq!(waiting, told, "{sequence}");
        }
    }
}

/// What the command tells that compares rows with the log: nothing differs.
pub async fn are_told(services: &Services, workspace: WorkspaceId) {
    let mut found = Vec::new();
    let compared = verify(&services.db, workspace, |one| found.push(one.clone())).await;
    assert!(compared.expect("compared").leads > 0);
    assert!(found.is_empty(), "{found:#?}");
}
