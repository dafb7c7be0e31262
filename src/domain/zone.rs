//! A time zone as a value: its name and its rules. Owns the way from instants to wall times and
//! back over every change of the clocks; never reads the system (that is `crate::zones`).

use std::fmt;
use std::sync::Arc;

use chrono::{DateTime, Duration, NaiveDate, NaiveDateTime, Timelike, Utc};
use jiff::Timestamp;
use jiff::civil;
use jiff::tz::{AmbiguousOffset, Offset, TimeZone};

use super::settings::LocalTime;

/// A time zone: an IANA name and the rules that go with it. Cheap to clone.
///
/// Two zones are equal if they have the same name and the same rules.
#[derive(Clone, PartialEq, Eq)]
pub struct Zone {
    name: Arc<str>,
    rules: TimeZone,
}

impl fmt::Debug for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Zone").field(&self.name).finish()
    }
}

/// A wall time and the stretch, around an instant, in which the offset from UTC stays the same.
#[derive(Clone, Copy, Debug)]
pub(super) struct Stretch {
    /// What the wall clock shows less what UTC shows.
    pub offset: Duration,
    /// The next change of the clocks; none where the rules know of no other.
    pub until: Option<DateTime<Utc>>,
}

impl Zone {
    /// A zone of these rules under this name.
    pub fn new(name: &str, rules: TimeZone) -> Self {
        Self {
            name: Arc::from(name),
            rules,
        }
    }

    /// Coordinated universal time.
    pub fn utc() -> Self {
        Self::new("UTC", TimeZone::UTC)
    }

    /// The IANA name, in its own spelling.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What the calendar and the clock on the wall show at an instant.
    pub fn wall(&self, at: DateTime<Utc>) -> NaiveDateTime {
        at.naive_utc() + self.offset(at)
    }

    /// The calendar day at an instant, and the seconds since the wall clock's midnight, 0..86400.
    pub fn local(&self, at: DateTime<Utc>) -> (NaiveDate, u32) {
        let wall = self.wall(at);
        (wall.date(), wall.num_seconds_from_midnight())
    }

    /// The instant of a wall time; 24:00 is the next day's 00:00. See [`Zone::instant_of_wall`].
    pub fn instant_of(&self, date: NaiveDate, time: LocalTime) -> DateTime<Utc> {
        let midnight = date.and_time(chrono::NaiveTime::MIN);
        self.instant_of_wall(midnight + Duration::minutes(i64::from(time.minutes())))
    }

    /// The instant of a wall time. One that the clocks skip goes to the first instant after the
    /// gap, one that they show twice to the first of the two.
    pub fn instant_of_wall(&self, wall: NaiveDateTime) -> DateTime<Utc> {
        self.occurrences(wall).0
    }

    /// The first and the last instant of a wall time; the same but for a wall time shown twice.
    pub(super) fn occurrences(&self, wall: NaiveDateTime) -> (DateTime<Utc>, DateTime<Utc>) {
        let at = |offset: Offset| (wall - span(offset)).and_utc();
        // Beyond the years of the rules (-9999 to 9999) the clocks do not change.
        let Some(civil) = civil_of(wall) else {
            let guess = (wall - self.offset(wall.and_utc())).and_utc();
            return (guess, guess);
        };
        match self.rules.to_ambiguous_timestamp(civil).offset() {
            AmbiguousOffset::Unambiguous { offset } => (at(offset), at(offset)),
            AmbiguousOffset::Fold { before, after } => (at(before), at(after)),
            AmbiguousOffset::Gap { before, after } => {
                // Read with the later offset, the wall time lies before the change, by less
                // than the gap: the change is the next one from there that leads to that offset.
                let change = self
                    .rules
                    .following(timestamp(at(after)))
                    .find(|change| change.offset() == after)
                    .and_then(|change| instant(change.timestamp()));
                let first = change.unwrap_or_else(|| at(before));
                (first, first)
            }
        }
    }

    /// The stretch of equal offset that an instant lies in.
    pub(super) fn stretch(&self, at: DateTime<Utc>) -> Stretch {
        let from = timestamp(at);
        let until = self
            .rules
            .following(from)
            .next()
            .and_then(|change| instant(change.timestamp()));
        Stretch {
            offset: span(self.rules.to_offset(from)),
            until,
        }
    }

    /// What the wall clock shows less what UTC shows.
    pub(super) fn offset(&self, at: DateTime<Utc>) -> Duration {
        span(self.rules.to_offset(timestamp(at)))
    }
}

fn span(offset: Offset) -> Duration {
    Duration::seconds(i64::from(offset.seconds()))
}

/// The nearest timestamp that the rules know; beyond their years the clocks do not change.
fn timestamp(at: DateTime<Utc>) -> Timestamp {
    // Changes of the clocks fall on whole seconds, so the fraction does not matter to an offset.
    Timestamp::from_second(at.timestamp()).unwrap_or(if at.timestamp() < 0 {
        Timestamp::MIN
    } else {
        Timestamp::MAX
    })
}

fn instant(timestamp: Timestamp) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(timestamp.as_second(), 0)
}

fn civil_of(wall: NaiveDateTime) -> Option<civil::DateTime> {
    use chrono::Datelike;
    let small = |number: u32| i8::try_from(number).ok();
    let nanosecond = i32::try_from(wall.nanosecond().min(999_999_999)).ok()?;
    civil::DateTime::new(
        i16::try_from(wall.year()).ok()?,
        small(wall.month())?,
        small(wall.day())?,
        small(wall.hour())?,
        small(wall.minute())?,
        small(wall.second())?,
        nanosecond,
    )
    .ok()
}

#[cfg(test)]
mod tests;
