//! Countries and their public holidays, as facts that are compiled in. Owns what a country is, which
//! days are holidays in all of it and how far ahead that is known, and the country of a time zone;
//! knows no settings and no clock.
//!
//! The facts are in `holidays/dates.txt` and `holidays/zones.txt`, which `make holidays` writes; decision 15
//! tells where they are from and how well they agree with other lists. Holidays of a part of a
//! country are not among them. Those that follow the moon, and those that a government moves from
//! year to year, are estimates for the years to come.

use std::fmt;
use std::str::FromStr;
use std::sync::LazyLock;

use chrono::NaiveDate;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A country or territory, by its code of two letters (ISO 3166-1 alpha-2, and XK for Kosovo).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country([u8; 2]);

/// A text that is no country's code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("is not the code of a country: give two letters of ISO 3166, such as PT")]
pub struct NotACountry;

impl Country {
    /// The code, in upper case.
    pub fn code(&self) -> &str {
        // Made of two ASCII letters, always.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }

    /// Two letters as a code, whether or not there is such a country.
    fn from_letters(text: &str) -> Option<Self> {
        let [first, second] = text.as_bytes() else {
            return None;
        };
        let letters = [first.to_ascii_uppercase(), second.to_ascii_uppercase()];
        let are_letters = letters.iter().all(u8::is_ascii_uppercase);
        are_letters.then_some(Self(letters))
    }

    /// Its place among all pairs of letters.
    fn index(self) -> usize {
        let [first, second] = self.0.map(|letter| usize::from(letter - b'A'));
        first * LETTERS + second
    }

    /// The country that a time zone belongs to, by the zone's name in the IANA database, in the
    /// database's own spelling. None for a zone of no country, such as `UTC`.
    pub fn of_zone(name: &str) -> Option<Self> {
        let zones: &[(&str, Country)] = &ZONES;
        let found = zones.binary_search_by_key(&name, |(zone, _)| *zone).ok()?;
        zones.get(found).map(|(_, country)| *country)
    }
}

/// Upper and lower case are the same, and `UK` is taken for `GB`.
impl FromStr for Country {
    type Err = NotACountry;

    fn from_str(text: &str) -> Result<Self, NotACountry> {
        let country = match Self::from_letters(text).ok_or(NotACountry)? {
            Self([b'U', b'K']) => Self(*b"GB"),
            country => country,
        };
        CALENDARS.of(country).map(|_| country).ok_or(NotACountry)
    }
}

impl fmt::Display for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.code())
    }
}

impl Serialize for Country {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.code())
    }
}

impl<'de> Deserialize<'de> for Country {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

/// Whether a day is a public holiday in all of a country. No day after [`known_until`] is one.
pub fn is_holiday(country: Country, date: NaiveDate) -> bool {
    CALENDARS
        .of(country)
        .is_some_and(|days| days.binary_search(&date).is_ok())
}

/// The last day for which a country's holidays are known; none where they are not known at all.
pub fn known_until(country: Country) -> Option<NaiveDate> {
    use chrono::Datelike;
    let last = CALENDARS.of(country)?.last()?;
    // A year is known from its first day to its last.
    NaiveDate::from_ymd_opt(last.year(), 12, 31)
}

/// The last day for which the holidays of any country are known.
pub fn known_at_most_until() -> Option<NaiveDate> {
    countries().filter_map(known_until).max()
}

/// Every country, in the order of the codes.
pub fn countries() -> impl Iterator<Item = Country> {
    let letters = || b'A'..=b'Z';
    letters()
        .flat_map(move |first| letters().map(move |second| Country([first, second])))
        .filter(|country| CALENDARS.of(*country).is_some())
}

const LETTERS: usize = 26;

/// The holidays of all countries, one country's after another's.
struct Calendars {
    /// Where a country's days begin and end, by [`Country::index`]; none for letters that are no country.
    spans: Vec<Option<(usize, usize)>>,
    days: Vec<NaiveDate>,
}

/// Read at the first use: a fraction of a millisecond for all countries.
static CALENDARS: LazyLock<Calendars> =
    LazyLock::new(|| Calendars::read(include_str!("holidays/dates.txt")));
static ZONES: LazyLock<Vec<(&'static str, Country)>> =
    LazyLock::new(|| read_zones(include_str!("holidays/zones.txt")).collect());

impl Calendars {
    /// The days of a country, from the first to the last.
    fn of(&self, country: Country) -> Option<&[NaiveDate]> {
        let (from, to) = (*self.spans.get(country.index())?)?;
        self.days.get(from..to)
    }

    /// Lines of a country, a year and days, in the order of the days. A test holds the text to that.
    fn read(text: &str) -> Self {
        let mut read = Self {
            spans: vec![None; LETTERS * LETTERS],
            days: Vec::new(),
        };
        for line in facts(text) {
            let mut words = line.split(' ');
            let country = words.next().and_then(Country::from_letters);
            let year = words.next().and_then(|year| year.parse().ok());
            let before = read.days.len();
            if let Some(year) = year {
                read.days.extend(words.filter_map(|day| day_of(year, day)));
            }
            let span = country.and_then(|country| read.spans.get_mut(country.index()));
            if let Some(span) = span {
                let from = span.map_or(before, |(from, _)| from);
                *span = Some((from, read.days.len()));
            }
        }
        read
    }
}

/// Lines of a zone and its country, in the order of the zones' names.
fn read_zones(text: &str) -> impl Iterator<Item = (&str, Country)> {
    facts(text).filter_map(|line| {
        let (zone, country) = line.split_once(' ')?;
        Some((zone, Country::from_letters(country)?))
    })
}

/// The lines of a text without those that tell about it.
fn facts(text: &str) -> impl Iterator<Item = &str> {
    text.lines().filter(|line| !line.starts_with('#'))
}

/// A day of a year, from MMDD.
fn day_of(year: i32, text: &str) -> Option<NaiveDate> {
    let (month, day) = text.split_at_checked(2)?;
    NaiveDate::from_ymd_opt(year, month.parse().ok()?, day.parse().ok()?)
}

#[cfg(test)]
mod tests;
