//! The parts of a mail that are looked at: headers, text, machine-readable reports, what was sent
//! back. Reads MIME (RFC 2045) with bounds; never judges.

use chrono::{DateTime, NaiveDate, Utc};
use mail_parser::{HeaderValue, Message, MessageParser};

/// How many octets of a mail are looked at.
const RAW_MAX: usize = 512 * 1024;
/// How many addresses or Message-IDs of a header are kept.
const NAMES_MAX: usize = 100;

/// A mail taken apart.
#[derive(Debug, Default)]
pub(super) struct Parsed<'a> {
    message: Message<'a>,
    /// The text that a reader sees.
    pub text: String,
}

impl<'a> Parsed<'a> {
    /// Takes a mail apart.
    pub fn of(raw: &'a [u8]) -> Self {
        let raw = raw.get(..RAW_MAX).unwrap_or(raw);
        let Some(message) = MessageParser::default().parse(raw) else {
            return Self::default();
        };
        let texts = message
            .text_bodies()
            .filter_map(|part| part.text_contents());
        let text = texts.collect::<Vec<_>>().join("\n");
        Self { message, text }
    }

    /// Its Message-ID, with angle brackets.
    pub fn message_id(&self) -> Option<String> {
        self.ids("Message-ID").into_iter().next()
    }

    /// The Message-IDs of what it answers: see [`super::Mail::answers`].
    pub fn answers(&self) -> Vec<String> {
        let mut answers = self.ids("In-Reply-To");
        answers.extend(self.ids("References").into_iter().rev());
        once(answers)
    }

    /// The address it says to come from.
    pub fn from(&self) -> Option<String> {
        self.addresses("From").into_iter().next()
    }

    /// Whom it went to: see [`super::Mail::recipients`].
    pub fn recipients(&self) -> Vec<String> {
        let headers = ["To", "Cc", "Delivered-To", "X-Original-To"];
        once(
            headers
                .iter()
                .flat_map(|name| self.addresses(name))
                .collect(),
        )
    }

    /// Its subject, decoded.
    pub fn subject(&self) -> String {
        super::bounded(
            self.message.subject().unwrap_or_default(),
            super::MESSAGE_MAX,
        )
    }

    /// When it says to have been written.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        let date = self.message.date()?;
        let local = NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())?
            .and_hms_opt(
                date.hour.into(),
                date.minute.into(),
                date.second.min(59).into(),
            )?;
        let minutes = i64::from(date.tz_hour) * 60 + i64::from(date.tz_minute);
        let ahead = chrono::TimeDelta::try_minutes(if date.tz_before_gmt {
            -minutes
        } else {
            minutes
        })?;
        Some(local.checked_sub_signed(ahead)?.and_utc())
    }

    fn ids(&self, header: &'static str) -> Vec<String> {
        let values = self.message.header_values(header);
        let ids = values.flat_map(|value| match value {
            HeaderValue::Text(id) => vec![id.as_ref()],
            HeaderValue::TextList(ids) => ids.iter().map(AsRef::as_ref).collect(),
            _ => Vec::new(),
        });
        ids.filter(|id| !id.is_empty())
            .map(|id| format!("<{}>", id.trim_matches(['<', '>'])))
            .take(NAMES_MAX)
            .collect()
    }

    fn addresses(&self, header: &'static str) -> Vec<String> {
        let values = self.message.header_values(header);
        let addresses = values.flat_map(|value| match value {
            HeaderValue::Address(addresses) => {
                addresses.iter().filter_map(|one| one.address()).collect()
            }
            HeaderValue::Text(address) => vec![address.as_ref()],
            _ => Vec::new(),
        });
        addresses
            .map(|address| address.trim().trim_matches(['<', '>']))
            .filter(|address| address.contains('@'))
            .map(str::to_owned)
            .take(NAMES_MAX)
            .collect()
    }
}

/// The same, each once, in order of their first place.
fn once(names: Vec<String>) -> Vec<String> {
    let mut seen = std::collections::BTreeSet::new();
    let mut kept = names;
    kept.retain(|name| seen.insert(name.clone()));
    kept
}
