//! What a sequence comes to for one person, reckoned anew from the file: minute by minute over the wall
//! clock, with nothing of the domain's but the days that are holidays.

use std::collections::BTreeMap;

use cadenza::domain::holidays::{self, Country};
use chrono::{Datelike, NaiveDate, NaiveDateTime, NaiveTime};
use jiff::tz::TimeZone;
use jiff::{Span, Timestamp};
use serde_json::Value;

use super::fates::{self, Deed};

/// How a step ended, and when.
pub type Ended = (String, String, Timestamp);

/// Somebody, as the file that is imported has it.
#[derive(Debug, Clone)]
pub struct Person {
    pub name: String,
    /// The columns that are not blank.
    pub fields: BTreeMap<&'static str, &'static str>,
    /// What is written into the person later, and when.
    pub later: Vec<(&'static str, String, Timestamp)>,
}

impl Person {
    /// A field as it is at an instant.
    fn get(&self, field: &str, at: Timestamp) -> Option<&str> {
        let mut later = self.later.iter();
        let written = later.find(|(name, _, from)| *name == field && *from <= at);
        let written = written.map(|(_, value, _)| value.as_str());
        written.or_else(|| self.fields.get(field).copied())
    }

    fn country(&self) -> Option<Country> {
        let country = self
            .fields
            .get("country")
            .and_then(|code| code.parse().ok());
        country.or_else(|| Country::of_zone(self.fields.get("time_zone")?))
    }
}

/// What a lead comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// The end of the sequence.
    Completed,
    /// It leaves early.
    Stopped,
    /// It waits for data that nobody gives.
    Held,
}

/// A sequence's settings and steps, as the file has them.
pub struct Walk<'a> {
    pub example: &'a str,
    pub settings: &'a serde_json::Map<String, Value>,
    pub steps: &'a [Value],
    pub person: &'a Person,
    /// The clock of every sender.
    pub sender_zone: &'a str,
    /// The branch that the lead took at each split: chance's to choose.
    pub branches: BTreeMap<String, usize>,
}

/// What a contact has done, by when.
#[derive(Default)]
struct Done {
    deeds: Vec<(Deed, String, Timestamp)>,
}

impl Done {
    /// Whether the contact had done this with the message of a step, or of any for `*`.
    fn has(&self, wanted: Deed, step: &str, at: Timestamp) -> bool {
        let mut deeds = self.deeds.iter();
        deeds.any(|(deed, of, when)| *deed == wanted && (step == "*" || of == step) && *when <= at)
    }

    /// When the contact first answered.
    fn answered(&self) -> Option<Timestamp> {
        let answers = self
            .deeds
            .iter()
            .filter(|(deed, ..)| *deed == Deed::Replied);
        answers.map(|(.., when)| *when).min()
    }
}

impl Walk<'_> {
    /// Everything that happens to a lead that is enrolled at this instant, in order; and what it
    /// comes to.
    pub fn run(&self, enrolled: Timestamp) -> (Vec<Ended>, End) {
        let mut ended = Vec::new();
        let mut done = Done::default();
        let mut now = enrolled;
        let mut index = 0;
        while let Some(step) = self.steps.get(index) {
            let (kind, action) = step["action"]
                .as_object()
                .and_then(|action| action.iter().next())
                .expect("an action");
            if kind == "end" {
                break;
            }
            now = self.due(step, kind, now);
            let (status, way) = match kind.as_str() {
                "condition" => {
                    let (holds, at) = self.asked(action, now, &done);
                    now = at;
                    let way = if holds { &action["yes"] } else { &action["no"] };
                    (if holds { "SENT" } else { "SKIPPED" }, way)
                }
                "split" => {
                    let branch = self.branches[key(step)];
                    ("SENT", &action["branches"][branch]["next"])
                }
                _ => match self.carried_out(step, kind, action, now) {
                    Ok((status, at)) => {
                        now = at;
                        (status, &step["next"])
                    }
                    // Who answers stops, and waits for nothing more.
                    Err(End::Held) if self.stops(&done, None) => return (ended, End::Stopped),
                    Err(end) => return (ended, end),
                },
            };
            if self.stops(&done, Some(now)) {
                return (ended, End::Stopped);
            }
            if status == "SENT" && is_message(kind) {
                let fates = fates::of_message(self.example, &self.person.name, key(step));
                let fates = fates.into_iter();
                done.deeds.extend(
                    fates.map(|(deed, after)| (deed, key(step).to_owned(), later(now, after))),
                );
            }
            ended.push((key(step).to_owned(), status.to_owned(), now));
            index = match way.as_str() {
                None => index + 1,
                Some("end") => break,
                Some(to) => self
                    .steps
                    .iter()
                    .position(|step| key(step) == to)
                    .expect("a step"),
            };
        }
        (ended, End::Completed)
    }

    /// Whether an answer stops the lead before an instant, or ever.
    fn stops(&self, done: &Done, before: Option<Timestamp>) -> bool {
        self.settings.get("stopOnReply") != Some(&Value::Bool(false))
            && done
                .answered()
                .is_some_and(|at| before.is_none_or(|before| at < before))
    }

    /// Whether any step can reach the person; who cannot be reached is not enrolled.
    pub fn reaches(&self) -> bool {
        let has = |field| self.person.fields.contains_key(field);
        self.steps.iter().any(|step| {
            let action = step["action"].as_object().expect("an action");
            action.iter().any(|(kind, action)| match kind.as_str() {
                "email" => has("email"),
                "sms" | "whatsapp" => has("phone"),
                "task" if action["channel"] == "CALL" => has("phone"),
                "task" if action["channel"] == "LINKEDIN" => has("linkedin_url"),
                "task" | "webhook" => true,
                _ => false,
            })
        })
    }

    /// How and when a step ends that is no branch and is due now.
    fn carried_out(
        &self,
        step: &Value,
        kind: &str,
        action: &Value,
        now: Timestamp,
    ) -> Result<(&'static str, Timestamp), End> {
        let address = match kind {
            "email" => Some("email"),
            "sms" | "whatsapp" => Some("phone"),
            "task" if action["channel"] == "CALL" => Some("phone"),
            "task" if action["channel"] == "LINKEDIN" => Some("linkedin_url"),
            _ => None,
        };
        if address.is_some_and(|field| self.person.get(field, now).is_none()) {
            return match step["onMissingAddress"].as_str() {
                Some("STOP") => Err(End::Stopped),
                _ => Ok(("SKIPPED", now)),
            };
        }
        let mut at = now;
        if self.lacks_data(action, now) {
            match step["onMissingData"].as_str() {
                Some("STOP") => return Err(End::Stopped),
                Some("SKIP") => return Ok(("SKIPPED", now)),
                _ => {}
            }
            let written = self.person.later.iter().map(|(.., when)| *when);
            let enough = written.filter(|when| *when > now && !self.lacks_data(action, *when));
            at = self.opening(kind, enough.min().ok_or(End::Held)?);
        }
        if kind == "task" {
            return Ok(self.worked(step, action, at));
        }
        Ok(("SENT", at))
    }

    /// How and when a task ends that is given at an instant.
    fn worked(&self, step: &Value, action: &Value, at: Timestamp) -> (&'static str, Timestamp) {
        let timeout = action["timeout"].as_str();
        let given_up = timeout.map(|timeout| self.over(timeout, at));
        let (example, person) = (self.example, &self.person.name);
        let fate = fates::of_task(example, person, key(step), timeout.is_some());
        let fate = fate.map(|(done, after)| (done, later(at, after)));
        match (fate, given_up) {
            (Some((done, when)), given_up) if given_up.is_none_or(|given_up| when < given_up) => {
                let status = match done {
                    fates::Done::Completed => "SENT",
                    fates::Done::Skipped => "SKIPPED",
                };
                (status, when)
            }
            (_, given_up) => (
                "SKIPPED",
                given_up.expect("somebody does it or it times out"),
            ),
        }
    }

    /// Whether a text has a tag without a default for which the person has nothing.
    fn lacks_data(&self, action: &Value, at: Timestamp) -> bool {
        let text = action.to_string();
        let tags = text
            .split("{{")
            .skip(1)
            .filter_map(|rest| rest.split("}}").next());
        tags.filter(|tag| !tag.contains("default") && !tag.contains("sender."))
            .any(|tag| {
                let name = tag.trim().trim_start_matches("attributes.");
                self.person.get(name, at).is_none()
            })
    }

    /// What a condition comes to that is asked from an instant on, and when: it is asked again
    /// whenever the contact does something or is written into.
    fn asked(&self, action: &Value, now: Timestamp, done: &Done) -> (bool, Timestamp) {
        let within = action["within"].as_str().unwrap_or("PT0S");
        let until = self.over(within, now);
        let deeds = done.deeds.iter().map(|(.., when)| *when);
        let written = self.person.later.iter().map(|(.., when)| *when);
        let mut moments: Vec<Timestamp> = deeds
            .chain(written)
            .filter(|when| now < *when && *when < until)
            .collect();
        moments.push(now);
        moments.sort();
        let predicate = &action["predicate"];
        let first = moments
            .into_iter()
            .find(|at| self.holds(predicate, *at, done));
        first.map_or((false, until), |at| (true, at))
    }

    fn holds(&self, predicate: &Value, at: Timestamp, done: &Done) -> bool {
        let (name, asked) = predicate
            .as_object()
            .and_then(|fields| fields.iter().next())
            .expect("one question");
        let mut all = asked.as_array().into_iter().flatten();
        let step = || asked.as_str().expect("a step");
        match name.as_str() {
            "opened" => done.has(Deed::Opened, step(), at),
            "clicked" => done.has(Deed::Clicked, step(), at),
            "replied" => done.has(Deed::Replied, "*", at) == (asked == true),
            "has" => all.all(|field| {
                let field = field.as_str().expect("a field").to_lowercase();
                self.person.get(&field, at).is_some()
            }),
            "all" => all.all(|one| self.holds(one, at, done)),
            "any" => all.any(|one| self.holds(one, at, done)),
            "not" => !self.holds(asked, at, done),
            "attribute" => self.compares(asked, at),
            other => panic!("{other}"),
        }
    }

    fn compares(&self, asked: &Value, at: Timestamp) -> bool {
        let name = asked["name"].as_str().expect("a name");
        let Some(has) = self.person.get(name, at) else {
            return false;
        };
        let value = &asked["value"];
        let text = |value: &Value| {
            let text = value.as_str().map(str::to_owned);
            text.unwrap_or_else(|| value.to_string())
        };
        let number = || has.parse::<f64>().ok().zip(value.as_f64());
        match asked["op"].as_str().expect("an operator") {
            "EQ" => has == text(value),
            "GT" => number().is_some_and(|(has, value)| has > value),
            "GTE" => number().is_some_and(|(has, value)| has >= value),
            "IN" => value
                .as_array()
                .is_some_and(|list| list.iter().any(|one| has == text(one))),
            "IS_SET" => true,
            "STARTS_WITH" => has.starts_with(&text(value)),
            other => panic!("{other}"),
        }
    }

    fn due(&self, step: &Value, kind: &str, from: Timestamp) -> Timestamp {
        let zone = self.zone(is_message(kind));
        let wait = step["wait"].as_str().unwrap_or("PT0S");
        let span: Span = wait.parse().expect("a duration");
        let mut at = from;
        let days = span.get_days() + 7 * span.get_weeks();
        if days > 0 {
            let wall = wall(&zone, from);
            let target = if step["businessDays"] == true {
                self.business_days(wall, days)
            } else {
                wall + chrono::Duration::days(days.into())
            };
            at = first_at(&zone, target, from);
        }
        at += Span::new()
            .hours(span.get_hours())
            .minutes(span.get_minutes());
        self.opening(kind, at)
    }

    /// When the time is over that a condition or a task has from an instant on: so many days later the
    /// clock shows the same time of day, and the hours come after that.
    fn over(&self, text: &str, from: Timestamp) -> Timestamp {
        let span: Span = text.parse().expect("a duration");
        let days = span.get_days() + 7 * span.get_weeks();
        let zone = self.zone(false);
        let at = match days {
            0 => from,
            days => first_at(
                &zone,
                wall(&zone, from) + chrono::Duration::days(days.into()),
                from,
            ),
        };
        at + Span::new()
            .hours(span.get_hours())
            .minutes(span.get_minutes())
    }

    /// When a step of this kind may be carried out that is due at an instant.
    fn opening(&self, kind: &str, mut at: Timestamp) -> Timestamp {
        let zone = self.zone(is_message(kind));
        // Only what reaches somebody waits for a window.
        if is_message(kind) || kind == "task" {
            while !self.open(wall(&zone, at)) {
                let second = at.as_second();
                at = Timestamp::from_second(second - second.rem_euclid(60) + 60).expect("a time");
            }
        }
        at
    }

    fn zone(&self, message: bool) -> TimeZone {
        let own = self.settings.get("timeZone").and_then(Value::as_str);
        let own = own.unwrap_or("UTC");
        let clock = self.settings.get("windowClock").and_then(Value::as_str);
        let name = match clock.unwrap_or("CONTACT") {
            "CONTACT" => self.person.fields.get("time_zone").copied().unwrap_or(own),
            // A step without a sender has no sender's clock.
            "SENDER" if message => self.sender_zone,
            _ => own,
        };
        TimeZone::get(name).expect("a zone")
    }

    /// So many days on that count, at the same time of day.
    fn business_days(&self, wall: NaiveDateTime, days: i32) -> NaiveDateTime {
        let (mut date, mut time) = (wall.date(), wall.time());
        while !self.counts(date) {
            date = date.succ_opt().expect("a day");
            time = NaiveTime::MIN;
        }
        for _ in 0..days {
            date = date.succ_opt().expect("a day");
            while !self.counts(date) {
                date = date.succ_opt().expect("a day");
            }
        }
        date.and_time(time)
    }

    fn counts(&self, date: NaiveDate) -> bool {
        !self.windows(date).is_empty()
    }

    fn open(&self, wall: NaiveDateTime) -> bool {
        let time = wall.time().format("%H:%M").to_string();
        self.windows(wall.date())
            .iter()
            .any(|(from, to)| *from <= time && time < *to)
    }

    /// From when to when messages may leave on a day.
    fn windows(&self, date: NaiveDate) -> Vec<(String, String)> {
        if self.is_holiday(date) {
            return Vec::new();
        }
        let names = [
            "MONDAY",
            "TUESDAY",
            "WEDNESDAY",
            "THURSDAY",
            "FRIDAY",
            "SATURDAY",
            "SUNDAY",
        ];
        let index = date.weekday().num_days_from_monday();
        let today = names[usize::try_from(index).expect("a day")];
        let Some(windows) = self.settings.get("sendWindows") else {
            let office = ("09:00".to_owned(), "17:00".to_owned());
            return if index < 5 { vec![office] } else { Vec::new() };
        };
        let windows = windows.as_array().expect("windows").iter();
        let text = |value: &Value| value.as_str().expect("a time").to_owned();
        windows
            .filter(|window| window["day"] == today)
            .map(|window| (text(&window["from"]), text(&window["to"])))
            .collect()
    }

    fn is_holiday(&self, date: NaiveDate) -> bool {
        let list = |name: &str| {
            let list = self.settings.get(name).and_then(Value::as_array);
            let list = list.into_iter().flatten();
            list.map(|one| one.as_str().expect("a text").to_owned())
        };
        let contacts = self.settings.get("contactHolidays") == Some(&Value::Bool(true));
        let of_contact = self.person.country().filter(|_| contacts);
        let countries = list("holidayCountries").map(|code| code.parse().expect("a country"));
        list("holidays").any(|day| day == date.to_string())
            || countries
                .chain(of_contact)
                .any(|country| holidays::is_holiday(country, date))
    }
}

fn is_message(kind: &str) -> bool {
    matches!(kind, "email" | "sms" | "whatsapp")
}

/// So many milliseconds later.
fn later(from: Timestamp, after: i64) -> Timestamp {
    from + Span::new().milliseconds(after)
}

fn key(step: &Value) -> &str {
    step["key"].as_str().expect("a key")
}

fn wall(zone: &TimeZone, at: Timestamp) -> NaiveDateTime {
    let text = zone.to_datetime(at).to_string();
    text.parse().expect("a wall time")
}

/// The first instant at which the wall clock shows this time or a later one.
fn first_at(zone: &TimeZone, target: NaiveDateTime, from: Timestamp) -> Timestamp {
    let guess = target.and_utc().timestamp_millis() - 15 * 3_600_000;
    let mut at = Timestamp::from_millisecond(guess).expect("a time");
    while wall(zone, at) < target {
        at += Span::new().minutes(1);
    }
    at.max(from)
}
