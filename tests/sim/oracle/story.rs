//! What the log tells, heard event by event: every lead's way, what it did, and whether all of that
//! was allowed at that moment.

use std::collections::{BTreeMap, HashMap, HashSet};

use cadenza::domain::flow::Action;
use chrono::{DateTime, Duration, Utc};
use entity::{event, lead, person, suppression};
use uuid::Uuid;

use super::clock;
use super::ledger::is_message;
use super::path::{self, Answer};
use super::predicate::{Deeds, holds};
use crate::book::{Book, Edition};
use crate::people::AWAY;

/// People by their ids.
pub type People = HashMap<Uuid, person::Model>;

/// Work that was given to a person.
#[derive(Debug)]
pub struct Given {
    at: DateTime<Utc>,
    edition: usize,
    /// COMPLETED or SKIPPED.
    pub outcome: Option<String>,
    /// The lead was taken out of the step, or the step gave no work for a while.
    given_up: bool,
}

/// One lead, as the log tells of it.
#[derive(Debug)]
pub struct Tale {
    sequence: Uuid,
    person: Uuid,
    pub status: &'static str,
    pub step: Option<String>,
    arrived_at: DateTime<Utc>,
    /// Which edition it arrived under, counted from 0.
    arrived_under: usize,
    /// Whether its wait began as it arrived.
    waits_from_there: bool,
    settled_by_hand: bool,
    pub messages: i32,
    pub opens: i32,
    pub clicks: i32,
    pub replies: i32,
    pub bounced: bool,
    /// Until when its contact is away, as far as a machine has said.
    pub quiet_until: Option<DateTime<Utc>>,
    pub unsubscribed: bool,
    pub deeds: Deeds,
    answers: HashMap<String, Answer>,
    pub tasks: HashMap<String, Given>,
}

/// A sequence, as the log tells of it.
#[derive(Debug, Default, Clone, Copy)]
struct Run {
    /// Which edition it runs, counted from 0.
    edition: usize,
    sends: bool,
}

#[derive(Default)]
pub struct Story {
    pub heard: i64,
    last_at: i64,
    runs: HashMap<Uuid, Run>,
    pub tales: BTreeMap<Uuid, Tale>,
    settled: HashSet<Uuid>,
}

/// What is known when events are heard.
pub struct Ears<'a> {
    pub book: &'a Book,
    pub leads: &'a [lead::Model],
    /// Addresses that must not be contacted.
    pub closed: &'a [suppression::Model],
    /// People as they were before, and as they are now.
    pub before: &'a People,
    pub people: &'a People,
}

impl Ears<'_> {
    /// Whether the person must not be contacted by the event's channel at an instant: as the person
    /// was before what is heard now, and as it is after.
    fn was_closed(&self, event: &event::Model, person: Uuid, by: i64) -> [bool; 2] {
        let channel = event.channel.as_deref().unwrap_or_default();
        [self.before, self.people].map(|people| {
            let person = people.get(&person);
            let address = person.and_then(|person| match channel {
                "EMAIL" => person.email_key.as_deref(),
                "LINKEDIN" => person.linkedin_url.as_deref(),
                "SMS" | "WHATSAPP" | "CALL" => person.phone.as_deref(),
                _ => None,
            });
            self.closed.iter().any(|closed| {
                closed.channel == channel
                    && Some(closed.address.as_str()) == address
                    && closed.created_at <= by
            })
        })
    }
}

fn detail<'a>(event: &'a event::Model, name: &str) -> Option<&'a str> {
    event
        .detail
        .as_ref()
        .and_then(|detail| detail[name].as_str())
}

impl Story {
    /// Hears what is new.
    pub fn hear(&mut self, events: &[event::Model], ears: &Ears<'_>) {
        for event in events {
            assert_eq!(event.seq, self.heard + 1, "the log has a gap");
            assert!(
                event.at >= self.last_at,
                "the log goes back in time: {event:?}"
            );
            (self.heard, self.last_at) = (event.seq, event.at);
            match event.lead_id {
                None => self.of_sequence(event),
                Some(_) if event.kind == "LEAD_ENROLLED" => self.enrolled(event, ears),
                Some(lead) => self.of_lead(lead, event, ears),
            }
        }
        self.knows_people(ears);
    }

    /// Leads are whose they are by now, and nobody has two under way in a sequence.
    fn knows_people(&mut self, ears: &Ears<'_>) {
        let mut under_way = HashSet::new();
        for row in ears.leads {
            let tale = self.tales.get_mut(&row.id).expect("enrolled before");
            tale.person = row.person_id;
            if matches!(tale.status, "LIVE" | "PAUSED") {
                let person = ears.people.get(&tale.person).expect("a person");
                assert_eq!(
                    person.erased_at, None,
                    "under way without a person: {tale:?}"
                );
                let is_one = under_way.insert((tale.sequence, tale.person));
                assert!(is_one, "two under way in one sequence: {tale:?}");
            }
        }
    }

    /// Whether a lead may stop for what became of its person.
    fn may_stop_for_person(&self, lead: Uuid, reason: Option<&str>, ears: &Ears<'_>) {
        let row = ears.leads.iter().find(|row| row.id == lead);
        let row = row.expect("the lead is there");
        let person = ears.people.get(&row.person_id).expect("a person");
        let is_erased = person.erased_at.is_some();
        assert_eq!(
            reason == Some("PERSON_DELETED"),
            is_erased,
            "{reason:?} {row:?}"
        );
        if reason == Some("PERSON_MERGED") {
            let goes_on = ears.leads.iter().any(|other| {
                other.id != lead
                    && (other.sequence_id, other.person_id) == (row.sequence_id, row.person_id)
            });
            assert!(goes_on, "no other goes on: {row:?}");
        }
    }

    /// The edition that a sequence runs, and whether it sends.
    pub fn runs<'a>(&self, book: &'a Book, sequence: Uuid) -> (&'a Edition, bool) {
        let run = self.runs.get(&sequence).copied().unwrap_or_default();
        (&book.sequence(sequence).editions[run.edition], run.sends)
    }

    fn of_sequence(&mut self, event: &event::Model) {
        let Some(sequence) = event.sequence_id else {
            return;
        };
        let run = self.runs.entry(sequence).or_default();
        match event.kind.as_str() {
            "SEQUENCE_PUBLISHED" => {
                let number = event.detail.as_ref().and_then(|it| it["version"].as_u64());
                let number = usize::try_from(number.expect("a number")).expect("small");
                *run = Run {
                    edition: number - 1,
                    sends: true,
                };
            }
            "SEQUENCE_DISABLED" | "SEQUENCE_ARCHIVED" => run.sends = false,
            _ => {}
        }
    }

    fn enrolled(&mut self, event: &event::Model, ears: &Ears<'_>) {
        let (Some(lead), Some(sequence)) = (event.lead_id, event.sequence_id) else {
            return;
        };
        let run = self.runs.get(&sequence).copied().unwrap_or_default();
        assert!(run.sends, "enrolled in a sequence that takes nobody");
        let row = ears
            .leads
            .iter()
            .find(|row| row.id == lead)
            .expect("the lead is there");
        let entry = &ears.book.sequence(sequence).editions[run.edition]
            .flow
            .steps[0]
            .key;
        assert_eq!(event.step_key.as_ref(), Some(entry), "enrolled elsewhere");
        let tale = Tale {
            sequence,
            person: row.person_id,
            status: "LIVE",
            step: event.step_key.clone(),
            arrived_at: at(event),
            arrived_under: run.edition,
            waits_from_there: true,
            settled_by_hand: false,
            messages: 0,
            opens: 0,
            clicks: 0,
            replies: 0,
            bounced: false,
            quiet_until: None,
            unsubscribed: false,
            deeds: Deeds::default(),
            answers: HashMap::new(),
            tasks: HashMap::new(),
        };
        assert!(
            self.tales.insert(lead, tale).is_none(),
            "enrolled twice: {event:?}"
        );
    }

    fn of_lead(&mut self, lead: Uuid, event: &event::Model, ears: &Ears<'_>) {
        if event.kind == "LEAD_STOPPED" {
            self.may_stop_for_person(lead, detail(event, "reason"), ears);
        }
        let tale = self.tales.get_mut(&lead).expect("enrolled before");
        let run = self.runs.get(&tale.sequence).copied().unwrap_or_default();
        let editions = &ears.book.sequence(tale.sequence).editions;
        let edition = &editions[run.edition];
        let is_over = matches!(tale.status, "COMPLETED" | "STOPPED");
        match event.kind.as_str() {
            "LEAD_PAUSED" => tale.status = "PAUSED",
            "LEAD_RESUMED" => tale.status = "LIVE",
            "LEAD_ADVANCED" => {
                assert!(!is_over, "went on after its end: {event:?}");
                tale.goes_on(event, editions, run);
            }
            "LEAD_COMPLETED" => {
                assert!(!is_over, "completed after its end: {event:?}");
                tale.goes_on(event, editions, run);
                tale.status = "COMPLETED";
                tale.quiet_until = None;
            }
            "LEAD_STOPPED" => {
                assert!(!is_over, "stopped after its end: {event:?}");
                if detail(event, "reason") == Some("STEP_REMOVED") {
                    let step = tale.step.as_deref().expect("a step");
                    path::was_stopped(&editions[..=run.edition], step);
                }
                let reason = detail(event, "reason");
                assert_ne!(reason, Some("SUPPRESSED"), "others may reach it: {event:?}");
                tale.status = "STOPPED";
                tale.quiet_until = None;
            }
            "EXECUTION_STARTED" => {
                assert_eq!(
                    tale.status, "LIVE",
                    "claimed after a stop: {event:?} {tale:?}"
                );
                assert!(run.sends, "claimed while disabled: {event:?}");
                assert_eq!(event.step_key, tale.step, "not where it is: {tale:?}");
                if is_message(event.channel.as_deref()) {
                    tale.contact_is_back(event);
                }
                tale.has_waited(event, edition, run);
            }
            "EXECUTION_SENT" | "EXECUTION_FAILED" | "EXECUTION_SKIPPED" => {
                let execution = event.execution_id.expect("an execution");
                assert!(self.settled.insert(execution), "settled twice: {event:?}");
                if event.kind == "EXECUTION_SKIPPED" && detail(event, "code") == Some("SUPPRESSED")
                {
                    assert_eq!(event.step_key, tale.step, "not where it is: {event:?}");
                    assert!(
                        ears.was_closed(event, tale.person, event.at)
                            .contains(&true),
                        "it may be contacted: {event:?}"
                    );
                }
                tale.step_is_over(event, editions, run, ears);
            }
            "OPENED" => {
                tale.opens += 1;
                tale.deeds.opened.extend(event.step_key.clone());
            }
            "CLICKED" => {
                tale.clicks += 1;
                tale.deeds.clicked.extend(event.step_key.clone());
            }
            "REPLIED" => {
                tale.replies += 1;
                tale.deeds.replied = true;
            }
            "BOUNCED" => tale.bounced = true,
            "UNSUBSCRIBED" => {
                tale.unsubscribed = true;
                let others = ears.was_closed(event, tale.person, event.at);
                assert!(others.contains(&true), "it stays open: {event:?}");
            }
            "TASK_CREATED" => tale.gets_work(event, edition, run, ears),
            "TASK_COMPLETED" => {
                let key = event.step_key.as_deref().expect("a step");
                let given = tale.tasks.get_mut(key).expect("given before");
                assert!(given.outcome.is_none(), "done twice: {event:?}");
                given.outcome = detail(event, "outcome").map(str::to_owned);
            }
            "AUTO_REPLIED" => {
                let until = quiet_until(event, edition);
                if !is_over {
                    tale.quiet_until = tale.quiet_until.max(until);
                }
            }
            "EXECUTION_UNCONFIRMED" => {}
            other => panic!("the story knows no {other}"),
        }
    }
}

fn at(event: &event::Model) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(event.at).expect("an instant")
}

/// Until when an automatic reply says that the contact is away: for as long as the settings say, or to
/// the date that it states, if they mind it at all.
fn quiet_until(event: &event::Model, edition: &Edition) -> Option<DateTime<Utc>> {
    let hold = edition.settings.auto_reply_hold;
    let told = detail(event, "quietUntil").map(|text| text.parse().expect("an instant"));
    match (hold, told) {
        (None, None) => None,
        (Some(hold), Some(told)) => {
            let mut may_be = clock::later_by_any(at(event), hold, &edition.settings);
            may_be.push(at(event) + AWAY);
            assert!(may_be.contains(&told), "quiet until {told}: {event:?}");
            Some(told)
        }
        other => panic!("{other:?}: {event:?}"),
    }
}

impl Tale {
    /// Nothing reaches a person of whom it was said that they are away.
    fn contact_is_back(&self, event: &event::Model) {
        let is_back = self.quiet_until.is_none_or(|until| until <= at(event));
        assert!(is_back, "while the contact is away: {event:?} {self:?}");
    }

    /// The lead goes on to a step, or to its end.
    fn goes_on(&mut self, event: &event::Model, editions: &[Edition], run: Run) {
        let from = self.step.take().expect("a step");
        let to = event
            .step_key
            .as_deref()
            .filter(|_| event.kind == "LEAD_ADVANCED");
        let new = &editions[run.edition];
        let was_moved = detail(event, "reason") == Some("STEP_REMOVED");
        if was_moved {
            assert_eq!(
                detail(event, "from"),
                Some(from.as_str()),
                "moved from elsewhere"
            );
            path::was_moved(&editions[..=run.edition], &from, to);
            if let Some(given) = self.tasks.get_mut(&from) {
                given.given_up = true;
            }
        } else {
            path::may_go_on(
                &editions[..=run.edition],
                &from,
                self.answers.get(&from),
                to,
            );
        }
        // What was settled by hand counts from when it left, and what was moved keeps its time.
        let by_hand = std::mem::take(&mut self.settled_by_hand);
        self.waits_from_there = !was_moved && !by_hand && new.step(&from).is_some();
        (self.arrived_at, self.arrived_under) = (at(event), run.edition);
        self.step = to.map(str::to_owned);
    }

    /// Nothing is done before its wait is over. A day is at least 22 hours long.
    fn has_waited(&self, event: &event::Model, edition: &Edition, run: Run) {
        if !self.waits_from_there || self.arrived_under != run.edition {
            return;
        }
        let key = self.step.as_deref().expect("a step");
        let wait = edition.step(key).expect("a step of the edition").wait;
        let days = Duration::hours(22) * i32::try_from(wait.days()).expect("small");
        let least = days + Duration::seconds(i64::try_from(wait.seconds()).expect("small"));
        let waited = at(event) - self.arrived_at;
        assert!(
            waited >= least,
            "after {waited} instead of {wait}: {event:?}"
        );
    }

    fn step_is_over(
        &mut self,
        event: &event::Model,
        editions: &[Edition],
        run: Run,
        ears: &Ears<'_>,
    ) {
        let key = event.step_key.clone().expect("a step");
        let word = detail(event, "variant").map(str::to_owned);
        let is_sent = event.kind == "EXECUTION_SENT";
        if is_message(event.channel.as_deref()) || event.channel.as_deref() == Some("WEBHOOK") {
            self.messages += i32::from(is_sent && is_message(event.channel.as_deref()));
            self.settled_by_hand = detail(event, "settledBy").is_some();
            let kind = "straight";
            self.answers.insert(key, Answer { kind, word: None });
            return;
        }
        assert_eq!(self.step.as_ref(), Some(&key), "not where it is: {event:?}");
        let Some(step) = editions[run.edition].step(&key) else {
            // An attempt that was to follow does not, as its step was taken out.
            self.answers.insert(
                key,
                Answer {
                    kind: "straight",
                    word,
                },
            );
            return;
        };
        self.has_waited(event, &editions[run.edition], run);
        if let Action::Condition(_) = &step.action {
            self.was_answered(event, editions, run, ears, word.as_deref());
        }
        if let Action::Task(_) = &step.action
            && detail(event, "code").is_none()
        {
            self.work_is_over(event, editions, run);
        }
        self.answers.insert(
            key,
            Answer {
                kind: path::kind(step),
                word,
            },
        );
    }

    /// A condition takes YES if and only if it holds, and NO only when its time is up.
    fn was_answered(
        &self,
        event: &event::Model,
        editions: &[Edition],
        run: Run,
        ears: &Ears<'_>,
        word: Option<&str>,
    ) {
        let key = event.step_key.as_deref().expect("a step");
        let condition = |edition: &Edition| match &edition.step(key)?.action {
            Action::Condition(condition) => Some(condition.clone()),
            _ => None,
        };
        let asked = condition(&editions[run.edition]).expect("a condition");
        // What other leads of the same claim write into the person may come before or after.
        let answers = [ears.before, ears.people].map(|people| {
            let person = people.get(&self.person);
            person.map(|person| holds(&asked.predicate, &self.deeds, person))
        });
        let said = match word {
            Some("yes") => true,
            Some("no") => false,
            other => panic!("no answer of a condition: {other:?}"),
        };
        assert!(
            answers.contains(&Some(said)),
            "said {said}: {event:?} {asked:?} {:?}",
            self.deeds
        );
        if !said {
            let since = &editions[self.arrived_under..=run.edition];
            let ends = since.iter().filter_map(|edition| {
                let within = condition(edition)?.within;
                clock::later_by_any(self.arrived_at, within, &edition.settings)
                    .into_iter()
                    .min()
            });
            let first = ends.min().expect("it is one now");
            assert!(at(event) >= first, "no before {first}: {event:?} {asked:?}");
        }
    }

    /// A task comes up once, within the windows.
    fn gets_work(&mut self, event: &event::Model, edition: &Edition, run: Run, ears: &Ears<'_>) {
        assert_eq!(self.status, "LIVE", "work after a stop: {event:?}");
        assert!(run.sends, "work while disabled: {event:?}");
        assert_eq!(event.step_key, self.step, "not where it is");
        self.contact_is_back(event);
        self.has_waited(event, edition, run);
        assert!(
            ears.was_closed(event, self.person, event.at - 1)
                .contains(&false),
            "work for somebody who opted out: {event:?}"
        );
        let person = ears.people.get(&self.person).expect("a person");
        let whereabouts = (person.time_zone.as_deref(), person.country.as_deref());
        let zone = clock::zone_of(&edition.settings, None, person.time_zone.as_deref());
        assert!(
            clock::is_open(at(event), &edition.settings, zone, whereabouts),
            "work at night: {event:?}"
        );
        let given = Given {
            at: at(event),
            edition: run.edition,
            outcome: None,
            given_up: false,
        };
        let key = event.step_key.clone().expect("a step");
        assert!(
            self.tasks.insert(key, given).is_none(),
            "given twice: {event:?}"
        );
    }

    /// A lead goes on when its task is done, is decided against, or its time is up.
    fn work_is_over(&self, event: &event::Model, editions: &[Edition], run: Run) {
        let key = event.step_key.as_deref().expect("a step");
        let given = self
            .tasks
            .get(key)
            .unwrap_or_else(|| panic!("without work: {event:?}"));
        let wanted = if event.kind == "EXECUTION_SENT" {
            "COMPLETED"
        } else {
            "SKIPPED"
        };
        if given.outcome.as_deref() == Some(wanted) || given.given_up {
            return;
        }
        let up_at = |edition: &Edition| match &edition.step(key)?.action {
            Action::Task(task) => clock::later_by_any(given.at, task.timeout?, &edition.settings)
                .into_iter()
                .min(),
            // Work is given up where the step gives none any more.
            _ => Some(given.at),
        };
        let since = &editions[given.edition..=run.edition];
        let up_at = since.iter().filter_map(up_at).min();
        let is_up = up_at.is_some_and(|up_at| at(event) >= up_at);
        assert!(
            is_up && wanted == "SKIPPED",
            "went on without its work: {event:?} {given:?}"
        );
    }
}
