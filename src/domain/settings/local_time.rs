//! A time on the wall clock in whole minutes. Owns its reading and writing; knows no zone.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use thiserror::Error;

/// A wall-clock time, `HH:MM`, from 00:00 to 24:00, in minutes since midnight.
///
/// 24:00 is the midnight that ends a day: good as an end, refused as a beginning by
/// [`super::Settings::check`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LocalTime(u16);

/// The text or number is no wall-clock time.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[error("\"{0}\" is not a time of day: write HH:MM from 00:00 to 24:00, as in 09:30")]
pub struct LocalTimeError(String);

impl LocalTime {
    /// 00:00.
    pub const MIDNIGHT: LocalTime = LocalTime(0);
    /// 09:00, when an office opens.
    pub const NINE: LocalTime = LocalTime(9 * 60);
    /// 17:00, when an office closes.
    pub const SEVENTEEN: LocalTime = LocalTime(17 * 60);
    /// 24:00, the midnight that ends a day.
    pub const DAY_END: LocalTime = LocalTime(24 * 60);

    /// A time by its minutes since midnight, 0..=1440.
    pub fn from_minutes(minutes: u16) -> Result<Self, LocalTimeError> {
        let time = LocalTime(minutes);
        if time <= Self::DAY_END {
            Ok(time)
        } else {
            Err(LocalTimeError(minutes.to_string()))
        }
    }

    /// Minutes since midnight, 0..=1440.
    pub fn minutes(self) -> u16 {
        self.0
    }

    /// Seconds since midnight, 0..=86400.
    pub fn seconds(self) -> u32 {
        u32::from(self.0) * 60
    }
}

impl fmt::Display for LocalTime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}", self.0 / 60, self.0 % 60)
    }
}

impl FromStr for LocalTime {
    type Err = LocalTimeError;

    fn from_str(text: &str) -> Result<Self, LocalTimeError> {
        let refuse = || LocalTimeError(text.chars().take(20).collect());
        let &[h1, h2, b':', m1, m2] = text.as_bytes() else {
            return Err(refuse());
        };
        let two = |tens: u8, ones: u8| {
            let digits = tens.is_ascii_digit() && ones.is_ascii_digit();
            digits.then(|| u16::from(tens - b'0') * 10 + u16::from(ones - b'0'))
        };
        match (two(h1, h2), two(m1, m2)) {
            (Some(hours), Some(minutes)) if minutes < 60 => {
                Self::from_minutes(hours * 60 + minutes).map_err(|_| refuse())
            }
            (Some(_) | None, Some(_) | None) => Err(refuse()),
        }
    }
}

impl Serialize for LocalTime {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for LocalTime {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?
            .parse()
            .map_err(serde::de::Error::custom)
    }
}
