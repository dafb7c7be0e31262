//! When a message may leave: the wait, business days, send windows, holidays and the change of
//! the clocks, as pure functions of the instant they are given. Owns the rules of time; never
//! reads a clock, knows no lead and no cap.
//!
//! # The rules
//!
//! - An instant is *open* if the wall clock then shows a time inside a send window of that
//!   weekday, `from` inclusive and `to` exclusive, and the day is no holiday. The wall clock alone
//!   decides: in an hour that the clocks repeat a window is open both times, and one that lies
//!   wholly in a gap does not open that day.
//! - A wait's *days* are calendar days on the calendar's wall clock: they keep the time of day. A
//!   wall time that does not exist goes to the first instant after the gap, one that exists twice
//!   to the first. Its *exact part* is added after the days, in seconds, and knows no wall clock.
//! - With *business days*, only days whose weekday has a window and that are no holiday count. A
//!   wait that begins on a day that does not count begins where the next counting day does: from
//!   Saturday, one business day ends with Monday, and the slot is Tuesday's opening. (Ending it
//!   on Monday would let a step done on Saturday overtake one done on Friday afternoon.)
//! - A wait without days is the same with and without business days.
//! - The slot is the first open instant at or after the end of the wait; a wait of zero inside a
//!   window ends at once.
//! - Who waits from later is never served earlier; but where the clocks are put back, of two
//!   waits of whole days from the repeated hour the wall clock's order decides.
//!
//! Instants are rounded up to whole milliseconds, which is what the database keeps.

use std::collections::BTreeSet;

use chrono::{DateTime, Days, Duration, NaiveDate, NaiveDateTime, NaiveTime, Timelike, Utc};

use super::duration::WaitDuration;
use super::holidays::{self, Country};
use super::settings::{SendWindow, Settings, Weekday};
use super::zone::Zone;

/// How far ahead an opening is looked for, in days: two years. Windows repeat by the week, so
/// only holidays without end, or a window in a gap of the clocks, can hide one for longer.
pub const HORIZON_DAYS: u32 = 731;

/// When messages may leave, on one clock.
#[derive(Clone, Copy, Debug)]
pub struct Calendar<'a> {
    zone: &'a Zone,
    windows: &'a [SendWindow],
    holidays: &'a BTreeSet<NaiveDate>,
    countries: &'a BTreeSet<Country>,
    contact: Option<Country>,
}

impl<'a> Calendar<'a> {
    /// The windows and holidays of the settings, read on this clock. The settings' own
    /// `time_zone`, `window_clock` and `contact_holidays` are not looked at: choosing the clock, and
    /// the contact's country ([`Calendar::observing`]), is the caller's.
    pub fn new(zone: &'a Zone, settings: &'a Settings) -> Self {
        Self {
            zone,
            windows: &settings.send_windows,
            holidays: &settings.holidays,
            countries: &settings.holiday_countries,
            contact: None,
        }
    }

    /// The same, closed on the public holidays of this country, too.
    pub fn observing(self, country: Option<Country>) -> Self {
        Self {
            contact: country,
            ..self
        }
    }

    /// The clock that the windows are read on.
    pub fn zone(&self) -> &'a Zone {
        self.zone
    }

    /// Whether a day is one of the settings' holidays, or a public one of their countries or of the
    /// contact's.
    fn is_holiday(&self, date: NaiveDate) -> bool {
        let mut countries = self.countries.iter().copied().chain(self.contact);
        self.holidays.contains(&date)
            || countries.any(|country| holidays::is_holiday(country, date))
    }

    /// Whether a day counts as a business day.
    fn counts(&self, date: NaiveDate) -> bool {
        self.windows_of(date).any(|window| window.from < window.to)
    }

    /// The windows of a day, in no order; none on a holiday.
    fn windows_of(&self, date: NaiveDate) -> impl Iterator<Item = &'a SendWindow> {
        let day = Weekday::of(date);
        let mut windows = self
            .windows
            .iter()
            .filter(move |window| window.day == day)
            .peekable();
        // Holidays are asked for only where a window would open.
        let closed = windows.peek().is_none() || self.is_holiday(date);
        windows.filter(move |_| !closed)
    }

    /// Whether it is nothing but a holiday that closes the rest of the day, or a part of it.
    fn is_closed_by_holiday(&self, wall: NaiveDateTime) -> bool {
        let (day, second) = (Weekday::of(wall.date()), wall.num_seconds_from_midnight());
        let opens = |window: &SendWindow| {
            window.day == day && window.from < window.to && second < window.to.seconds()
        };
        self.windows.iter().any(opens) && self.is_holiday(wall.date())
    }

    /// The window that a wall time lies in.
    fn window_at(&self, wall: NaiveDateTime) -> Option<&'a SendWindow> {
        let second = wall.num_seconds_from_midnight();
        self.windows_of(wall.date())
            .find(|window| window.from.seconds() <= second && second < window.to.seconds())
    }

    /// The first wall time at or after `wall` inside a window, as if the clocks never changed.
    fn opens(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        if self.window_at(wall).is_some() {
            return Some(wall);
        }
        let mut earliest = wall.num_seconds_from_midnight();
        let mut date = wall.date();
        for _ in 0..=HORIZON_DAYS {
            let from = self
                .windows_of(date)
                .filter(|window| window.from < window.to && window.from.seconds() >= earliest)
                .map(|window| window.from.seconds())
                .min();
            // A time of 09:00:00.5 is past an opening at 09:00, but then it was inside above.
            if let Some(from) = from {
                return Some(midnight(date) + Duration::seconds(i64::from(from)));
            }
            earliest = 0;
            date = date.succ_opt()?;
        }
        None
    }

    /// The first wall time at or after `wall` outside every window, as if the clocks never
    /// changed.
    fn closes(&self, wall: NaiveDateTime) -> Option<NaiveDateTime> {
        let horizon = wall.checked_add_days(Days::new(u64::from(HORIZON_DAYS)))?;
        let mut wall = wall;
        // Each turn passes a window, so the wall time grows.
        while wall <= horizon {
            let Some(window) = self.window_at(wall) else {
                return Some(wall);
            };
            wall = midnight(wall.date()) + Duration::seconds(i64::from(window.to.seconds()));
        }
        None
    }

    /// The first instant at or after `at` that `find` finds on the wall clock, which it may take
    /// to run on evenly: each stretch of equal offset is asked by itself.
    fn first(
        &self,
        at: DateTime<Utc>,
        find: impl Fn(NaiveDateTime) -> Option<NaiveDateTime>,
    ) -> Option<DateTime<Utc>> {
        let horizon = at.checked_add_days(Days::new(u64::from(HORIZON_DAYS)))?;
        let mut from = at;
        while from <= horizon {
            let stretch = self.zone.stretch(from);
            let found = find(from.naive_utc() + stretch.offset)
                .map(|wall| (wall - stretch.offset).and_utc());
            match (found, stretch.until) {
                (Some(found), Some(until)) if found >= until => from = until,
                (Some(found), Some(_) | None) => return (found <= horizon).then_some(found),
                (None, Some(until)) => from = until,
                (None, None) => return None,
            }
        }
        None
    }
}

/// Whether a message may leave at this instant.
pub fn is_open(at: DateTime<Utc>, calendar: &Calendar<'_>) -> bool {
    calendar.window_at(calendar.zone.wall(at)).is_some()
}

/// Whether a message could leave at this instant, or later on its day, were the day no holiday.
pub fn is_closed_by_holiday(at: DateTime<Utc>, calendar: &Calendar<'_>) -> bool {
    calendar.is_closed_by_holiday(calendar.zone.wall(at))
}

/// The first instant at or after `at` at which a message may leave: `at` itself if it is open,
/// none if that is not so within [`HORIZON_DAYS`].
pub fn next_open(at: DateTime<Utc>, calendar: &Calendar<'_>) -> Option<DateTime<Utc>> {
    let at = ceil_to_millisecond(at);
    if is_open(at, calendar) {
        return Some(at);
    }
    if calendar.windows.is_empty() {
        return None;
    }
    calendar.first(at, |wall| calendar.opens(wall))
}

/// The first instant at or after `at` at which no message may leave: `at` itself if it is
/// closed, none if the calendar stays open through [`HORIZON_DAYS`].
pub fn closes_at(at: DateTime<Utc>, calendar: &Calendar<'_>) -> Option<DateTime<Utc>> {
    let at = ceil_to_millisecond(at);
    if !is_open(at, calendar) {
        return Some(at);
    }
    calendar.first(at, |wall| calendar.closes(wall))
}

/// When a step is due whose predecessor was really done at `after` (or whose lead was enrolled
/// then): the first open instant at or after the end of the wait. None if there is none within
/// [`HORIZON_DAYS`] of that end.
pub fn next_slot(
    after: DateTime<Utc>,
    wait: &WaitDuration,
    business_days: bool,
    calendar: &Calendar<'_>,
) -> Option<DateTime<Utc>> {
    next_open(wait_end(after, wait, business_days, calendar)?, calendar)
}

/// When a wait that began at `after` ends, whether or not a window is open then. None if days hardly
/// ever count.
pub fn wait_end(
    after: DateTime<Utc>,
    wait: &WaitDuration,
    business_days: bool,
    calendar: &Calendar<'_>,
) -> Option<DateTime<Utc>> {
    let after = ceil_to_millisecond(after);
    let days_end = match (wait.days(), business_days) {
        (0, true | false) => after,
        (days, false) => {
            let wall = calendar
                .zone
                .wall(after)
                .checked_add_days(Days::new(u64::from(days)))?;
            calendar.zone.instant_of_wall(wall)
        }
        (days, true) => calendar.zone.instant_of_wall(add_business_days(
            calendar.zone.wall(after),
            days,
            calendar,
        )?),
    };
    // No rule of a zone turns a day back, but nothing may ever leave before its wait began.
    days_end.max(after).checked_add_signed(wait.exact_part())
}

/// The first instant after `at` of a later local day: when a daily cap begins anew.
pub fn next_local_midnight(at: DateTime<Utc>, zone: &Zone) -> DateTime<Utc> {
    let next_day = local_day(at, zone) + Days::new(1);
    let (first, last) = zone.occurrences(midnight(next_day));
    // Where the clocks go back over midnight, the day begins twice.
    if first > at { first } else { last }
}

/// The calendar day at an instant: what a daily cap counts by.
pub fn local_day(at: DateTime<Utc>, zone: &Zone) -> NaiveDate {
    zone.wall(at).date()
}

/// The wall time so many counting days later; none if days hardly ever count.
fn add_business_days(
    wall: NaiveDateTime,
    days: u32,
    calendar: &Calendar<'_>,
) -> Option<NaiveDateTime> {
    let (mut date, time) = if calendar.counts(wall.date()) {
        (wall.date(), wall.time())
    } else {
        (next_counting(wall.date(), calendar)?, NaiveTime::MIN)
    };
    for _ in 0..days {
        date = next_counting(date, calendar)?;
    }
    Some(date.and_time(time))
}

/// The first counting day after a day; none within the horizon.
fn next_counting(date: NaiveDate, calendar: &Calendar<'_>) -> Option<NaiveDate> {
    let mut date = date;
    for _ in 0..HORIZON_DAYS {
        date = date.succ_opt()?;
        if calendar.counts(date) {
            return Some(date);
        }
    }
    None
}

fn midnight(date: NaiveDate) -> NaiveDateTime {
    date.and_time(NaiveTime::MIN)
}

/// Rounded up, so that nothing moves to before the moment it was allowed.
fn ceil_to_millisecond(at: DateTime<Utc>) -> DateTime<Utc> {
    match at.timestamp_subsec_nanos() % 1_000_000 {
        0 => at,
        part => at + Duration::nanoseconds(i64::from(1_000_000 - part)),
    }
}

#[cfg(test)]
mod tests;
