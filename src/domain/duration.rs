//! How long a wait is: an ISO 8601 duration whose calendar days are kept apart from its exact
//! part. Owns parsing, writing and bounds; never decides when something is due ([`super::schedule`]).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// The longest wait, in days of 24 hours: ten years.
pub const DAYS_MAX: u32 = 3650;
const SECONDS_PER_DAY: u64 = 86_400;

/// An ISO 8601 duration of days, hours, minutes and seconds, such as `P2D` or `PT4H30M`.
///
/// A day is a calendar day: over a change of the clocks `P1D` keeps the wall time and `PT24H`
/// does not. That is why the two are never turned into one another.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct WaitDuration {
    days: u32,
    seconds: u64,
}

/// Why a text or a pair of numbers is no wait.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum DurationError {
    /// It is not written as a duration.
    #[error(
        "\"{0}\" is not a duration: write P, then days, then T and hours, minutes, seconds, as in P2D or PT4H30M"
    )]
    Malformed(String),
    /// Years and months have no fixed length.
    #[error("\"{0}\" counts years or months, whose length varies: write days instead, as in P30D")]
    YearsOrMonths(String),
    /// Only whole numbers are taken.
    #[error("\"{0}\" has a fraction: write whole numbers in a smaller unit, as in PT1H30M")]
    Fraction(String),
    /// A wait does not run backwards.
    #[error("\"{0}\" is negative: write a duration of zero or more")]
    Negative(String),
    /// Longer than [`DAYS_MAX`].
    #[error("the duration is longer than {DAYS_MAX} days: write a shorter one")]
    TooLong,
}

impl WaitDuration {
    /// No wait at all.
    pub const ZERO: WaitDuration = WaitDuration {
        days: 0,
        seconds: 0,
    };

    /// Calendar days and exact seconds. Fails with [`DurationError::TooLong`] beyond
    /// [`DAYS_MAX`] days of 24 hours in all.
    pub fn new(days: u32, seconds: u64) -> Result<Self, DurationError> {
        let limit = u64::from(DAYS_MAX) * SECONDS_PER_DAY;
        let total = (u64::from(days) * SECONDS_PER_DAY).checked_add(seconds);
        match total {
            Some(total) if total <= limit => Ok(Self { days, seconds }),
            Some(_) | None => Err(DurationError::TooLong),
        }
    }

    /// The calendar days.
    pub fn days(self) -> u32 {
        self.days
    }

    /// The exact part, in seconds, without the days.
    pub fn seconds(self) -> u64 {
        self.seconds
    }

    /// Whether there is nothing to wait for.
    pub fn is_zero(self) -> bool {
        self == Self::ZERO
    }

    /// The whole length where no calendar is at hand: a day is 24 hours.
    pub fn exact(self) -> chrono::Duration {
        chrono::Duration::days(i64::from(self.days)) + self.exact_part()
    }

    /// The exact part alone.
    pub fn exact_part(self) -> chrono::Duration {
        let seconds = i64::try_from(self.seconds).expect("a wait is at most ten years of seconds");
        chrono::Duration::seconds(seconds)
    }
}

impl fmt::Display for WaitDuration {
    /// The canonical form: no zero units, minutes and seconds below 60, `PT0S` for nothing. Hours
    /// are not folded into days, which are of another kind.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_zero() {
            return f.write_str("PT0S");
        }
        f.write_str("P")?;
        if self.days > 0 {
            write!(f, "{}D", self.days)?;
        }
        if self.seconds > 0 {
            f.write_str("T")?;
        }
        let units = [
            (self.seconds / 3600, 'H'),
            (self.seconds / 60 % 60, 'M'),
            (self.seconds % 60, 'S'),
        ];
        for (count, unit) in units {
            if count > 0 {
                write!(f, "{count}{unit}")?;
            }
        }
        Ok(())
    }
}

impl FromStr for WaitDuration {
    type Err = DurationError;

    /// Reads ISO 8601's `PnDTnHnMnS`; a week (`P2W`) is seven days.
    fn from_str(text: &str) -> Result<Self, DurationError> {
        // A long wrong text is not echoed whole.
        let shown = || text.chars().take(40).collect::<String>();
        let malformed = || DurationError::Malformed(shown());
        if text.starts_with('-') || text.starts_with("P-") || text.starts_with("PT-") {
            return Err(DurationError::Negative(shown()));
        }
        let body = text.strip_prefix('P').ok_or_else(malformed)?;
        let (date, time) = match body.split_once('T') {
            Some((_, "")) => return Err(malformed()),
            Some((date, time)) => (date, time),
            None if body.is_empty() => return Err(malformed()),
            None => (body, ""),
        };
        if date.contains(['Y', 'M']) && date.bytes().all(|b| b.is_ascii_alphanumeric()) {
            return Err(DurationError::YearsOrMonths(shown()));
        }
        if body.contains(['.', ',']) {
            return Err(DurationError::Fraction(shown()));
        }
        let [weeks, days] = read_units(date, ['W', 'D']).ok_or_else(malformed)??;
        let [hours, minutes, seconds] =
            read_units(time, ['H', 'M', 'S']).ok_or_else(malformed)??;
        let days = sum([(weeks, 7), (days, 1)])?;
        let days = u32::try_from(days).map_err(|_| DurationError::TooLong)?;
        Self::new(days, sum([(hours, 3600), (minutes, 60), (seconds, 1)])?)
    }
}

/// Reads numbers followed by the units, which must come in this order and at most once each.
/// None where the text is anything else; too long where a number overflows.
fn read_units<const N: usize>(
    text: &str,
    units: [char; N],
) -> Option<Result<[u64; N], DurationError>> {
    let mut rest = text;
    let mut counts = [0; N];
    for (unit, count) in units.into_iter().zip(&mut counts) {
        let Some((digits, tail)) = rest.split_once(unit) else {
            continue;
        };
        if digits.is_empty() || !digits.bytes().all(|b| b.is_ascii_digit()) {
            return None;
        }
        match digits.parse() {
            Ok(number) => *count = number,
            // All digits, so only too large a number can fail.
            Err(_) => return Some(Err(DurationError::TooLong)),
        }
        rest = tail;
    }
    rest.is_empty().then_some(Ok(counts))
}

fn sum<const N: usize>(terms: [(u64, u64); N]) -> Result<u64, DurationError> {
    terms.into_iter().try_fold(0u64, |total, (count, size)| {
        count
            .checked_mul(size)
            .and_then(|part| total.checked_add(part))
            .ok_or(DurationError::TooLong)
    })
}

impl Serialize for WaitDuration {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for WaitDuration {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests;
