//! The settings of a sequence: when it sends, how much, and what makes it stop. Owns their shape,
//! their defaults, the JSON they are stored as, and their check; never decides whether a moment
//! is open ([`super::schedule`]) nor whether a flow may be published without any window.

use std::collections::BTreeSet;

use chrono::{Datelike, NaiveDate};
use serde::{Deserialize, Serialize};

use super::duration::WaitDuration;
use super::holidays::{self, Country};

mod check;
mod local_time;

pub use check::{HOLIDAY_COUNTRIES_MAX, HOLIDAYS_MAX, SettingsProblem, WINDOWS_MAX};
pub use local_time::{LocalTime, LocalTimeError};

/// The settings of a sequence, as the API shows and the database keeps them.
///
/// A field that stored JSON lacks takes its default, so that settings written before the field
/// existed can still be read.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Settings {
    /// The sequence's own clock: an IANA time zone name.
    pub time_zone: String,
    /// Whose clock the send windows and the holidays are read on.
    pub window_clock: WindowClock,
    /// When messages may leave; none at all means never.
    pub send_windows: Vec<SendWindow>,
    /// Days on which nothing leaves, whatever the windows say.
    pub holidays: BTreeSet<NaiveDate>,
    /// Countries whose public holidays are holidays, too.
    pub holiday_countries: BTreeSet<Country>,
    /// The public holidays of the contact's own country are holidays, too.
    pub contact_holidays: bool,
    /// At most so many leads get their first message in a day; none, no limit.
    pub max_new_leads_per_day: Option<u32>,
    /// At most so many messages leave in a day; none, no limit.
    pub max_sends_per_day: Option<u32>,
    /// A message that is later than this is skipped, reckoned from when its step was first due; none, no
    /// message is too late.
    pub max_lateness: Option<WaitDuration>,
    /// A reply stops the lead.
    pub stop_on_reply: bool,
    /// A reply stops the other leads with the same company, too.
    pub stop_company_on_reply: bool,
    /// How long an automatic reply keeps the lead quiet; none ignores automatic replies.
    pub auto_reply_hold: Option<WaitDuration>,
    /// A won opportunity stops the lead.
    pub stop_on_opportunity_won: bool,
}

impl Settings {
    /// The last day for which the holidays of all the settings' countries are known; none where no
    /// country is chosen.
    pub fn holidays_known_until(&self) -> Option<NaiveDate> {
        let countries = self.holiday_countries.iter();
        countries
            .filter_map(|country| holidays::known_until(*country))
            .min()
    }
}

impl Default for Settings {
    /// Office hours, Monday to Friday from nine to five on the contact's clock, with UTC for who
    /// has none; no holidays, no caps; a reply or a won opportunity stops the lead, and an
    /// automatic reply is ignored.
    fn default() -> Self {
        Self {
            time_zone: "UTC".to_owned(),
            window_clock: WindowClock::Contact,
            send_windows: Weekday::ALL[..5]
                .iter()
                .map(|&day| SendWindow {
                    day,
                    from: LocalTime::NINE,
                    to: LocalTime::SEVENTEEN,
                })
                .collect(),
            holidays: BTreeSet::new(),
            holiday_countries: BTreeSet::new(),
            contact_holidays: false,
            max_new_leads_per_day: None,
            max_sends_per_day: None,
            max_lateness: None,
            stop_on_reply: true,
            stop_company_on_reply: false,
            auto_reply_hold: None,
            stop_on_opportunity_won: true,
        }
    }
}

/// Whose clock the send window is read on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum WindowClock {
    /// The person's own, or the sequence's where the person's is unknown.
    Contact,
    /// The sender's.
    Sender,
    /// The one the settings name.
    Sequence,
}

/// A stretch of one weekday in which messages may leave: `from` inclusive, `to` exclusive.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct SendWindow {
    /// The weekday, on the window's clock.
    pub day: Weekday,
    /// The first minute in which messages may leave.
    pub from: LocalTime,
    /// The first minute in which they may not; 24:00 is the midnight that ends the day.
    pub to: LocalTime,
}

/// A day of the week.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Weekday {
    Monday,
    Tuesday,
    Wednesday,
    Thursday,
    Friday,
    Saturday,
    Sunday,
}

impl Weekday {
    /// The week in its order, from Monday (ISO 8601).
    pub const ALL: [Weekday; 7] = [
        Weekday::Monday,
        Weekday::Tuesday,
        Weekday::Wednesday,
        Weekday::Thursday,
        Weekday::Friday,
        Weekday::Saturday,
        Weekday::Sunday,
    ];

    /// The weekday of a calendar day.
    pub fn of(date: NaiveDate) -> Self {
        match date.weekday() {
            chrono::Weekday::Mon => Weekday::Monday,
            chrono::Weekday::Tue => Weekday::Tuesday,
            chrono::Weekday::Wed => Weekday::Wednesday,
            chrono::Weekday::Thu => Weekday::Thursday,
            chrono::Weekday::Fri => Weekday::Friday,
            chrono::Weekday::Sat => Weekday::Saturday,
            chrono::Weekday::Sun => Weekday::Sunday,
        }
    }
}

#[cfg(test)]
mod tests;
