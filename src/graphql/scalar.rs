//! The custom scalars: how they are written and read.
//!
//! Instants and days are read here, so that a bad one is refused with the request. Texts that only
//! a use case can judge (an address, a zone, a wait) are taken as they come: what is wrong with
//! them is then a userErrors entry that names the field.

use std::str::FromStr;

use async_graphql::{InputValueError, InputValueResult, Scalar, ScalarType, Value};
use chrono::{NaiveDate, SecondsFormat, Utc};

use super::error::{UserError, UserErrorCode};

/// The longest text that a scalar takes, in bytes.
const TEXT_MAX: usize = 4_096;

/// An instant as RFC 3339 with an offset; answers are always in UTC with milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct DateTime(pub chrono::DateTime<Utc>);

/// An instant as RFC 3339 with an offset; answers are always in UTC with milliseconds.
#[Scalar(specified_by_url = "https://scalars.graphql.org/chillicream/date-time.html")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text(value)?;
        let read = chrono::DateTime::parse_from_rfc3339(&text).map_err(|_| {
            InputValueError::<Self>::custom(format!(
                "\"{}\" is not an instant; write RFC 3339 with an offset, as in \
                 2026-11-23T09:00:00Z",
                shown(&text)
            ))
        })?;
        Ok(Self(read.with_timezone(&Utc)))
    }

    fn to_value(&self) -> Value {
        Value::String(self.written())
    }
}

impl DateTime {
    /// An instant as the store keeps it, in milliseconds since the Unix epoch.
    pub fn from_ms(ms: i64) -> Self {
        Self(crate::clock::from_ms(ms))
    }

    /// As it is answered.
    pub fn written(self) -> String {
        self.0.to_rfc3339_opts(SecondsFormat::Millis, true)
    }
}

impl From<chrono::DateTime<Utc>> for DateTime {
    fn from(at: chrono::DateTime<Utc>) -> Self {
        Self(at)
    }
}

/// A calendar day, YYYY-MM-DD.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Date(pub NaiveDate);

/// A calendar day, YYYY-MM-DD.
#[Scalar(specified_by_url = "https://scalars.graphql.org/andimarek/local-date.html")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text(value)?;
        // The library also takes signs and single digits.
        let plain = text.len() == 10 && text.bytes().all(|b| b.is_ascii_digit() || b == b'-');
        let read = plain
            .then(|| NaiveDate::parse_from_str(&text, "%Y-%m-%d").ok())
            .flatten();
        read.map(Self).ok_or_else(|| {
            InputValueError::custom(format!(
                "\"{}\" is not a day; write YYYY-MM-DD, as in 2026-11-23",
                shown(&text)
            ))
        })
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.format("%Y-%m-%d").to_string())
    }
}

/// Any JSON value.
#[derive(Debug, Clone, PartialEq)]
pub struct Json(pub serde_json::Value);

/// Any JSON value.
#[Scalar(name = "JSON")]
impl ScalarType for Json {
    fn parse(value: Value) -> InputValueResult<Self> {
        Ok(Self(value.into_json()?))
    }

    fn to_value(&self) -> Value {
        Value::from_json(self.0.clone()).unwrap_or(Value::Null)
    }
}

/// A position in the event log. Opaque, ordered, stays valid for as long as the log keeps the
/// event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct EventCursor(pub i64);

/// A position in the event log. Opaque, ordered as text, stays valid for as long as the log keeps
/// the event.
#[Scalar]
impl ScalarType for EventCursor {
    fn parse(value: Value) -> InputValueResult<Self> {
        let text = text(value)?;
        text.parse().map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.to_string())
    }
}

/// The text is no event cursor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("this is not an event cursor; take it from the cursor of an event")]
pub struct NotACursor;

impl std::fmt::Display for EventCursor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&crate::domain::event::cursor(self.0))
    }
}

impl FromStr for EventCursor {
    type Err = NotACursor;

    fn from_str(text: &str) -> Result<Self, NotACursor> {
        let digits = text.strip_prefix("evt_").ok_or(NotACursor)?;
        let cursor = i64::from_str_radix(digits, 16)
            .map(Self)
            .map_err(|_| NotACursor)?;
        // One spelling only; signs and capitals are not ours.
        if cursor.to_string() == text && cursor.0 >= 0 {
            Ok(cursor)
        } else {
            Err(NotACursor)
        }
    }
}

macro_rules! texts {
    ($($(#[doc = $doc:literal])* $name:ident $(as $graphql:literal)?;)*) => {$(
        $(#[doc = $doc])*
        #[derive(Debug, Clone, PartialEq, Eq)]
        pub struct $name(pub String);

        $(#[doc = $doc])*
        #[Scalar($(name = $graphql)?)]
        impl ScalarType for $name {
            fn parse(value: Value) -> InputValueResult<Self> {
                Ok(Self(text(value)?))
            }

            fn to_value(&self) -> Value {
                Value::String(self.0.clone())
            }
        }

        impl From<&str> for $name {
            fn from(text: &str) -> Self {
                Self(text.to_owned())
            }
        }

        impl From<String> for $name {
            fn from(text: String) -> Self {
                Self(text)
            }
        }
    )*};
}

texts! {
    /// A wall-clock time, HH:MM, from 00:00 to 24:00 (24:00 only as an end).
    LocalTime;
    /// An ISO 8601 duration of days, hours, minutes and seconds: P2D, PT4H30M. Days are calendar
    /// days.
    Duration;
    /// An IANA time-zone name, such as Europe/Lisbon.
    TimeZone;
    /// A country by its two letters of ISO 3166-1, such as PT; XK is Kosovo.
    CountryCode;
    /// An email address, such as ada@example.org.
    EmailAddress;
    /// A phone number in E.164: +351912345678.
    PhoneNumber;
    /// An absolute URL, such as https://www.linkedin.com/in/ada.
    Url as "URL";
}

/// Reads the text of a scalar as what the domain takes; `path` is where it stands in the input.
///
/// # Errors
/// INVALID with the path; the message is the domain's own.
pub fn parsed<T>(text: &str, path: &[&str]) -> Result<T, UserError>
where
    T: FromStr,
    T::Err: std::fmt::Display,
{
    text.parse()
        .map_err(|error: T::Err| UserError::new(UserErrorCode::Invalid, error.to_string(), path))
}

fn text<T: async_graphql::InputType>(value: Value) -> Result<String, InputValueError<T>> {
    match value {
        Value::String(text) if text.len() <= TEXT_MAX => Ok(text),
        Value::String(_) => Err(InputValueError::custom(format!(
            "the text is longer than {TEXT_MAX} bytes"
        ))),
        other => Err(InputValueError::expected_type(other)),
    }
}

/// So much of a text as fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn cursors_round_trip_and_sort_as_text(a in 0..=i64::MAX, b in 0..=i64::MAX) {
            let (a, b) = (EventCursor(a), EventCursor(b));
            prop_assert_eq!(a.to_string().parse(), Ok(a));
            prop_assert_eq!(a.cmp(&b), a.to_string().cmp(&b.to_string()));
        }

        #[test]
        fn junk_is_no_cursor(text in "(evt_)?[+-]?[0-9a-fA-F]{0,18}") {
            if let Ok(cursor) = text.parse::<EventCursor>() {
                prop_assert_eq!(cursor.to_string(), text);
            }
        }
    }

    #[test]
    fn instants_are_answered_in_utc_with_milliseconds() {
        let read = DateTime::parse(Value::String("2026-11-23T10:00:00+01:00".into()));
        let written = read.map(|at| at.to_value());
        assert_eq!(
            written.ok(),
            Some(Value::String("2026-11-23T09:00:00.000Z".into()))
        );
        for junk in ["2026-11-23", "2026-11-23T10:00:00", "now", ""] {
            assert!(
                DateTime::parse(Value::String(junk.into())).is_err(),
                "{junk}"
            );
        }
    }

    #[test]
    fn days_have_one_spelling() {
        assert!(Date::parse(Value::String("2028-02-29".into())).is_ok());
        for junk in ["2026-02-29", "2026-2-9", "+2026-01-1", "20260101", ""] {
            assert!(Date::parse(Value::String(junk.into())).is_err(), "{junk}");
        }
    }
}
