//! The days that a forecast looks at, and how long each is open.

use chrono::{DateTime, Duration, NaiveDate, Utc};

use crate::domain::pace::Pace;
use crate::domain::schedule::{self, Calendar};
use crate::domain::settings::Settings;
use crate::domain::zone::Zone;

/// The most windows of one day that are looked at.
const WINDOWS_MAX: usize = 100;

/// A day of the sequence's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Day {
    /// Which.
    pub date: NaiveDate,
    /// Its first instant; of today, now.
    pub start: DateTime<Utc>,
    /// The first instant of the next day.
    pub end: DateTime<Utc>,
    /// When a window is open first; none on a day that stays closed.
    pub opening: Option<DateTime<Utc>>,
    /// When its last window closes.
    pub closes: Option<DateTime<Utc>>,
    /// How long its windows are open in all.
    pub open: Duration,
}

impl Day {
    /// How many messages a sender sends on it, of whose cap so much is left, at its pace.
    pub fn room(&self, left_of_cap: u64, pace: Pace) -> u64 {
        left_of_cap.min(pace.messages_in(self.open))
    }
}

/// So many days from the one that holds `now`, whose hours that are over do not count.
pub fn days(now: DateTime<Utc>, count: u32, settings: &Settings, zone: &Zone) -> Vec<Day> {
    let calendar = Calendar::new(zone, settings);
    let mut start = now;
    let day = |_| {
        let day = rest_of_day(start, zone, &calendar);
        start = day.end;
        day
    };
    (0..count).map(day).collect()
}

/// What is left of a clock's day from an instant on, with the windows of a calendar.
pub fn rest_of_day(start: DateTime<Utc>, zone: &Zone, calendar: &Calendar<'_>) -> Day {
    let mut day = Day {
        date: schedule::local_day(start, zone),
        start,
        end: schedule::next_local_midnight(start, zone),
        opening: None,
        closes: None,
        open: Duration::zero(),
    };
    open(&mut day, calendar);
    day
}

fn open(day: &mut Day, calendar: &Calendar<'_>) {
    let mut at = day.start;
    for _ in 0..WINDOWS_MAX {
        let opens = schedule::next_open(at, calendar).filter(|opens| *opens < day.end);
        let Some(opens) = opens else {
            break;
        };
        let closes = schedule::closes_at(opens, calendar).unwrap_or(day.end);
        let closes = closes.min(day.end);
        day.opening.get_or_insert(opens);
        day.closes = Some(closes);
        day.open += closes - opens;
        at = closes;
    }
}
