//! The settings of a sequence as they are written: merged into those that hold, and checked.

use std::collections::BTreeSet;

use chrono::NaiveDate;

use crate::app::{Refusal, time_zone};
use crate::domain::duration::WaitDuration;
use crate::domain::holidays::Country;
use crate::domain::settings::{
    HOLIDAY_COUNTRIES_MAX, HOLIDAYS_MAX, LocalTime, SendWindow, Settings, WINDOWS_MAX, Weekday,
    WindowClock,
};
use crate::zones::ZoneDatabase;

/// A change of settings; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct SettingsChange {
    /// The sequence's own clock.
    pub time_zone: Option<String>,
    /// Whose clock the windows are read on.
    pub window_clock: Option<WindowClock>,
    /// All windows.
    pub send_windows: Option<Vec<WindowInput>>,
    /// All holidays.
    pub holidays: Option<Vec<NaiveDate>>,
    /// The codes of all countries whose public holidays count.
    pub holiday_countries: Option<Vec<String>>,
    /// Whether those of the contact's own country do.
    pub contact_holidays: Option<bool>,
    /// The most leads that get their first message in a day; 0 takes the limit away.
    pub max_new_leads_per_day: Option<i32>,
    /// The most messages in a day; 0 takes the limit away.
    pub max_sends_per_day: Option<i32>,
    /// From when on a message is too late; zero: none is.
    pub max_lateness: Option<String>,
    /// Whether a reply stops the lead.
    pub stop_on_reply: Option<bool>,
    /// Whether it stops the others of the company.
    pub stop_company_on_reply: Option<bool>,
    /// How long an automatic reply holds the lead; zero: automatic replies are ignored.
    pub auto_reply_hold: Option<String>,
    /// Whether a won opportunity stops the lead.
    pub stop_on_opportunity_won: Option<bool>,
}

/// A send window as it is written.
#[derive(Debug, Clone)]
pub struct WindowInput {
    /// The weekday.
    pub day: Weekday,
    /// Its beginning, HH:MM.
    pub from: String,
    /// Its end, HH:MM.
    pub to: String,
}

/// The settings after a change.
///
/// # Errors
/// Everything that is wrong.
pub(super) fn merged(
    before: &Settings,
    change: SettingsChange,
    zones: &ZoneDatabase,
) -> Result<Settings, Vec<Refusal>> {
    let mut settings = before.clone();
    let mut wrong = Vec::new();
    if let Some(name) = change.time_zone {
        match time_zone::read(zones, &name, &["settings", "timeZone"]) {
            Ok(name) => settings.time_zone = name,
            Err(refusal) => wrong.push(refusal),
        }
    }
    if let Some(windows) = change.send_windows {
        settings.send_windows = read_windows(windows, &mut wrong);
    }
    if let Some(days) = change.holidays {
        // Counted before they are a set, so that a long list of one day is refused, too.
        if days.len() > HOLIDAYS_MAX {
            let message =
                format!("holidays has at most {HOLIDAYS_MAX} days: leave out those past.");
            wrong.push(Refusal::invalid(message, &["settings", "holidays"]));
        } else {
            settings.holidays = days.into_iter().collect();
        }
    }
    if let Some(codes) = change.holiday_countries {
        settings.holiday_countries = read_countries(&codes, &mut wrong);
    }
    let caps = [
        (
            "maxNewLeadsPerDay",
            change.max_new_leads_per_day,
            &mut settings.max_new_leads_per_day,
        ),
        (
            "maxSendsPerDay",
            change.max_sends_per_day,
            &mut settings.max_sends_per_day,
        ),
    ];
    for (field, written, cap) in caps {
        match written.map(u32::try_from) {
            None => {}
            Some(Ok(number)) => *cap = (number > 0).then_some(number),
            Some(Err(_)) => {
                let message = format!("{field} is negative: give 1 or more, or 0 for no limit.");
                wrong.push(Refusal::invalid(message, &["settings", field]));
            }
        }
    }
    let spans = [
        (
            "maxLateness",
            change.max_lateness,
            &mut settings.max_lateness,
        ),
        (
            "autoReplyHold",
            change.auto_reply_hold,
            &mut settings.auto_reply_hold,
        ),
    ];
    for (field, written, span) in spans {
        match written.map(|text| text.parse::<WaitDuration>()) {
            None => {}
            Some(Ok(read)) => *span = (!read.is_zero()).then_some(read),
            Some(Err(error)) => {
                let message = format!("{field}: {error}.");
                wrong.push(Refusal::invalid(message, &["settings", field]));
            }
        }
    }
    settings.contact_holidays = change.contact_holidays.unwrap_or(settings.contact_holidays);
    settings.window_clock = change.window_clock.unwrap_or(settings.window_clock);
    settings.stop_on_reply = change.stop_on_reply.unwrap_or(settings.stop_on_reply);
    settings.stop_company_on_reply = change
        .stop_company_on_reply
        .unwrap_or(settings.stop_company_on_reply);
    settings.stop_on_opportunity_won = change
        .stop_on_opportunity_won
        .unwrap_or(settings.stop_on_opportunity_won);
    if wrong.is_empty() {
        let problems = settings.check(|name| zones.get(name).is_some());
        wrong.extend(problems.into_iter().map(|problem| {
            let path: Vec<&str> = std::iter::once("settings")
                .chain(problem.path.iter().map(String::as_str))
                .collect();
            Refusal::invalid(problem.message, &path)
        }));
    }
    if wrong.is_empty() {
        Ok(settings)
    } else {
        Err(wrong)
    }
}

fn read_countries(codes: &[String], wrong: &mut Vec<Refusal>) -> BTreeSet<Country> {
    if codes.len() > HOLIDAY_COUNTRIES_MAX {
        let message = format!(
            "holidayCountries has at most {HOLIDAY_COUNTRIES_MAX} entries: leave some out."
        );
        wrong.push(Refusal::invalid(message, &["settings", "holidayCountries"]));
        return BTreeSet::new();
    }
    let mut read = BTreeSet::new();
    for (index, code) in codes.iter().enumerate() {
        match code.trim().parse::<Country>() {
            Ok(country) => {
                read.insert(country);
            }
            Err(error) => {
                let shown: String = code.chars().take(60).collect();
                let message = format!("\"{shown}\" {error}.");
                let path = ["settings", "holidayCountries", &index.to_string()];
                wrong.push(Refusal::invalid(message, &path));
            }
        }
    }
    read
}

fn read_windows(windows: Vec<WindowInput>, wrong: &mut Vec<Refusal>) -> Vec<SendWindow> {
    if windows.len() > WINDOWS_MAX {
        let message = format!("sendWindows has at most {WINDOWS_MAX} entries: join some.");
        wrong.push(Refusal::invalid(message, &["settings", "sendWindows"]));
        return Vec::new();
    }
    let mut read = Vec::with_capacity(windows.len());
    for (index, window) in windows.into_iter().enumerate() {
        let mut time = |text: &str, field: &str| {
            text.parse::<LocalTime>()
                .map_err(|error| {
                    let path = ["settings", "sendWindows", &index.to_string(), field];
                    wrong.push(Refusal::invalid(format!("{error}."), &path));
                })
                .ok()
        };
        let (from, to) = (time(&window.from, "from"), time(&window.to, "to"));
        if let (Some(from), Some(to)) = (from, to) {
            read.push(SendWindow {
                day: window.day,
                from,
                to,
            });
        }
    }
    read
}
