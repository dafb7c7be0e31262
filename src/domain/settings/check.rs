//! What is wrong with settings. Owns the bounds and the refusals, all of them at once; changes
//! nothing, and leaves "no window at all" to the check of the flow, for a draft may have none.

use super::{SendWindow, Settings};
use crate::domain::holidays::known_until;

/// The most send windows: far more than seven days need.
pub const WINDOWS_MAX: usize = 100;
/// The most holidays: decades of any country's.
pub const HOLIDAYS_MAX: usize = 1000;
/// The most countries whose holidays count: each is looked up for each day that might be open.
pub const HOLIDAY_COUNTRIES_MAX: usize = 50;

/// One thing wrong with settings.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SettingsProblem {
    /// The field at fault, from the settings: `["sendWindows", "2", "to"]`.
    pub path: Vec<String>,
    /// What is wrong and what to do, in one sentence.
    pub message: String,
}

impl Settings {
    /// Everything wrong with the settings, in the order of the fields; empty if they are sound.
    /// `zone_exists` says whether a time zone of this name is known.
    pub fn check(&self, zone_exists: impl Fn(&str) -> bool) -> Vec<SettingsProblem> {
        let mut problems = Vec::new();
        if !zone_exists(&self.time_zone) {
            let shown: String = self.time_zone.chars().take(60).collect();
            let message = format!(
                "timeZone \"{shown}\" is unknown: give an IANA name, such as Europe/Lisbon."
            );
            problems.push(problem(&["timeZone"], message));
        }
        self.check_windows(&mut problems);
        if self.holidays.len() > HOLIDAYS_MAX {
            let message = format!(
                "holidays has {} days: give at most {HOLIDAYS_MAX}, leaving out those past.",
                self.holidays.len()
            );
            problems.push(problem(&["holidays"], message));
        }
        self.check_countries(&mut problems);
        let caps = [
            ("maxNewLeadsPerDay", self.max_new_leads_per_day),
            ("maxSendsPerDay", self.max_sends_per_day),
        ];
        for (field, cap) in caps {
            if cap == Some(0) {
                let message = format!(
                    "{field} is 0, which sends nothing: give at least 1, or null for no limit."
                );
                problems.push(problem(&[field], message));
            }
        }
        if self.max_lateness.is_some_and(|lateness| lateness.is_zero()) {
            let message = "maxLateness is zero, which skips every message: give a duration such as P2D, \
                           or null to send however late.";
            problems.push(problem(&["maxLateness"], message.to_owned()));
        }
        if self.auto_reply_hold.is_some_and(|hold| hold.is_zero()) {
            let message = "autoReplyHold is zero, which holds nothing: give a duration such as P7D, \
                           or null to ignore automatic replies.";
            problems.push(problem(&["autoReplyHold"], message.to_owned()));
        }
        problems
    }

    fn check_countries(&self, problems: &mut Vec<SettingsProblem>) {
        let countries = &self.holiday_countries;
        if countries.len() > HOLIDAY_COUNTRIES_MAX {
            let message = format!(
                "holidayCountries has {} entries: give at most {HOLIDAY_COUNTRIES_MAX}.",
                countries.len()
            );
            problems.push(problem(&["holidayCountries"], message));
        }
        for country in countries {
            if known_until(*country).is_none() {
                let message = format!(
                    "No public holidays of {country} are known: leave it out, and give its days as holidays."
                );
                problems.push(problem(&["holidayCountries"], message));
            }
        }
    }

    fn check_windows(&self, problems: &mut Vec<SettingsProblem>) {
        let windows = &self.send_windows;
        if windows.len() > WINDOWS_MAX {
            let message = format!(
                "sendWindows has {} entries: give at most {WINDOWS_MAX}.",
                windows.len()
            );
            // The single ones are not looked at: their number has no bound.
            problems.push(problem(&["sendWindows"], message));
            return;
        }
        for (index, window) in windows.iter().enumerate() {
            let position = index.to_string();
            if window.from >= window.to {
                let message = format!(
                    "sendWindows[{index}] ends at {}, not after it begins at {}: give a later end, \
                     and split a window that runs past midnight in two.",
                    window.to, window.from
                );
                problems.push(problem(&["sendWindows", &position, "to"], message));
            } else if let Some(other) = windows.iter().take(index).position(|w| overlap(w, window))
            {
                let message = format!(
                    "sendWindows[{index}] overlaps sendWindows[{other}] of the same day: make one \
                     window of the two."
                );
                problems.push(problem(&["sendWindows", &position], message));
            }
        }
    }
}

/// Windows that touch do not overlap; an empty one is a problem of its own.
fn overlap(a: &SendWindow, b: &SendWindow) -> bool {
    a.day == b.day && a.from < a.to && a.from < b.to && b.from < a.to
}

fn problem(path: &[&str], message: String) -> SettingsProblem {
    SettingsProblem {
        path: path.iter().map(|&part| part.to_owned()).collect(),
        message,
    }
}
