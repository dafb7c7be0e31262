//! The parts of a mail that are looked at: headers, text, machine-readable reports, what was sent
//! back. Reads MIME (RFC 2045) with bounds; never judges.

use std::collections::BTreeSet;
use std::panic::catch_unwind;

use chrono::{DateTime, NaiveDate, TimeDelta, Utc};
use mail_parser::{HeaderValue, Message, MessageParser, MessagePart, MimeHeaders, PartType};

use super::html;

/// How many octets of a mail are looked at: text and reports stand before large attachments.
const RAW_MAX: usize = 512 * 1024;
/// How many parts of a mail are looked at. Each part that holds others has a type of its own, so this
/// bounds the depth too.
const PARTS_MAX: usize = 100;
/// How much of a mail's text is looked at, in octets.
const SEEN_MAX: usize = 128 * 1024;
/// How many addresses or Message-IDs of a header are kept.
const NAMES_MAX: usize = 100;

/// What a machine-readable part reports.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Report {
    /// What became of a mail (RFC 3464).
    Delivery,
    /// What somebody thinks of it (RFC 5965).
    Feedback,
    /// What its reader did with it (RFC 8098).
    Disposition,
}

/// A mail taken apart.
#[derive(Debug, Default)]
pub(super) struct Parsed<'a> {
    /// Nothing, if there is nothing that could be a mail.
    message: Option<Message<'a>>,
    /// The text that a reader sees, lines ended by LF.
    pub text: String,
    /// The machine-readable reports in it.
    pub reports: Vec<(Report, String)>,
    /// The head of the mail it is about, where that is a part of its own.
    pub returned: Option<Returned>,
    /// A report that it carries whole, as some gateways pass reports on.
    pub carried: Option<Box<Parsed<'static>>>,
}

/// What is known of a mail that was sent back.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Returned {
    /// Its Message-ID, with angle brackets.
    pub message_id: Option<String>,
    /// Whom it was for.
    pub to: Vec<String>,
}

impl<'a> Parsed<'a> {
    /// Takes a mail apart.
    pub fn of(raw: &'a [u8]) -> Self {
        let raw = seen(raw);
        // The parser takes mails of every kind, and may have a fault that one of them finds: then the
        // headers and what is below them are read as they are.
        match catch_unwind(|| MessageParser::default().parse(raw)) {
            Ok(None) => Self::default(),
            Ok(Some(message)) => {
                let mut parsed = Self::in_message(&message);
                parsed.message = Some(message);
                parsed
            }
            Err(_) => Self {
                message: MessageParser::default().parse_headers(raw),
                text: below_head(raw),
                ..Self::default()
            },
        }
    }

    /// What a message holds, but for its headers.
    fn in_message(message: &Message<'_>) -> Self {
        let mut parsed = Self {
            text: text(message),
            ..Self::default()
        };
        for part in &message.parts {
            parsed.look_at(part);
        }
        parsed
    }

    /// Notes what a part reports or sends back.
    fn look_at(&mut self, part: &MessagePart<'_>) {
        let kind = part.content_type().map(|kind| {
            let subtype = kind.subtype().unwrap_or_default();
            format!("{}/{subtype}", kind.ctype()).to_ascii_lowercase()
        });
        let report = match kind.as_deref().unwrap_or_default() {
            "message/delivery-status" | "message/global-delivery-status" => Report::Delivery,
            "message/feedback-report" => Report::Feedback,
            "message/disposition-notification" | "message/global-disposition-notification" => {
                Report::Disposition
            }
            "text/rfc822-headers"
            | "text/rfc822"
            | "message/rfc822-headers"
            | "message/global-headers" => {
                self.sent_back(Returned::of(&contents(part)));
                return;
            }
            _ => {
                if let PartType::Message(message) = &part.body {
                    self.carry(message);
                }
                return;
            }
        };
        self.reports.push((report, contents(part)));
    }

    /// Notes a mail within it: what was sent back, or another report.
    fn carry(&mut self, message: &Message<'_>) {
        let report = message.content_type().is_some_and(|kind| {
            kind.subtype()
                .is_some_and(|subtype| subtype.eq_ignore_ascii_case("report"))
        });
        if report {
            // Reports within reports are not followed further.
            let mut inner = Parsed::<'static>::default();
            let parsed = Parsed::in_message(message);
            (inner.text, inner.reports, inner.returned) =
                (parsed.text, parsed.reports, parsed.returned);
            self.carried.get_or_insert(Box::new(inner));
        } else {
            self.sent_back(Returned::in_message(message));
        }
    }

    fn sent_back(&mut self, returned: Returned) {
        self.returned.get_or_insert(returned);
    }

    /// The text of a header's first line, decoded; addresses only where it holds nothing else.
    pub fn header(&self, name: &'static str) -> Option<&str> {
        self.message.as_ref()?.header_raw(name).map(str::trim)
    }

    /// Whether it has such a header.
    pub fn has(&self, name: &'static str) -> bool {
        self.header(name).is_some()
    }

    /// A parameter of its type, in small letters.
    pub fn kind_parameter(&self, name: &str) -> Option<String> {
        let kind = self.message.as_ref()?.content_type()?;
        kind.attribute(name).map(str::to_ascii_lowercase)
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
            self.message
                .as_ref()
                .and_then(Message::subject)
                .unwrap_or_default(),
            super::MESSAGE_MAX,
        )
    }

    /// When it says to have been written.
    pub fn date(&self) -> Option<DateTime<Utc>> {
        let date = self.message.as_ref()?.date()?;
        let day = NaiveDate::from_ymd_opt(date.year.into(), date.month.into(), date.day.into())?;
        // A leap second is the one before it.
        let second = date.second.min(59).into();
        let local = day.and_hms_opt(date.hour.into(), date.minute.into(), second)?;
        let minutes = i64::from(date.tz_hour) * 60 + i64::from(date.tz_minute);
        let ahead = TimeDelta::try_minutes(if date.tz_before_gmt {
            -minutes
        } else {
            minutes
        })?;
        Some(local.checked_sub_signed(ahead)?.and_utc())
    }

    /// Whether it only says what its reader did with another (RFC 8098).
    pub fn is_receipt(&self) -> bool {
        self.reports
            .iter()
            .any(|(kind, _)| *kind == Report::Disposition)
    }

    /// Whether its clock is one of those where the month is written before the day.
    pub fn is_american(&self) -> bool {
        let date = self.message.as_ref().and_then(Message::date);
        date.is_some_and(|date| date.tz_before_gmt && (4..=10).contains(&date.tz_hour))
    }

    fn values(&self, header: &'static str) -> impl Iterator<Item = &HeaderValue<'a>> {
        let message = self.message.iter();
        message.flat_map(move |message| message.header_values(header))
    }

    fn ids(&self, header: &'static str) -> Vec<String> {
        let values = self.values(header);
        let ids = values.flat_map(|value| match value {
            HeaderValue::Text(id) => vec![id.as_ref()],
            HeaderValue::TextList(ids) => ids.iter().map(AsRef::as_ref).collect(),
            _ => Vec::new(),
        });
        ids.filter_map(bracketed).take(NAMES_MAX).collect()
    }

    /// The addresses in headers of this name.
    pub fn addresses(&self, header: &'static str) -> Vec<String> {
        let values = self.values(header);
        let addresses = values.flat_map(addresses_in);
        addresses.take(NAMES_MAX).collect()
    }
}

impl Returned {
    /// From the text of a mail's head.
    pub fn of(head: &str) -> Self {
        Self {
            message_id: field(head, "message-id").as_deref().and_then(in_brackets),
            to: field(head, "to").map_or_else(Vec::new, |value| addresses_of(&value)),
        }
    }

    fn in_message(message: &Message<'_>) -> Self {
        let to = message.header_values("To").flat_map(addresses_in);
        Self {
            message_id: message.message_id().and_then(bracketed),
            to: to.take(NAMES_MAX).collect(),
        }
    }
}

/// So much of a mail as is looked at.
fn seen(raw: &[u8]) -> &[u8] {
    let raw = raw.get(..RAW_MAX).unwrap_or(raw);
    const TYPE: &[u8] = b"\ncontent-type";
    let mut parts = 0;
    let mut at = 0;
    while let Some(line) = raw.get(at..).and_then(|rest| memchr::memchr(b'\n', rest)) {
        at += line;
        let begins = raw.get(at..at + TYPE.len());
        if begins.is_some_and(|begins| begins.eq_ignore_ascii_case(TYPE)) {
            parts += 1;
            if parts > PARTS_MAX {
                return raw.get(..at).unwrap_or(raw);
            }
        }
        at += 1;
    }
    raw
}

/// What is below a mail's head, as it is.
fn below_head(raw: &[u8]) -> String {
    let raw = String::from_utf8_lossy(raw).replace("\r\n", "\n");
    let (_, below) = raw.split_once("\n\n").unwrap_or_default();
    within(below).to_owned()
}

/// The text that a reader sees.
fn text(message: &Message<'_>) -> String {
    let mut text = String::new();
    for part in message.text_bodies() {
        match &part.body {
            PartType::Text(plain) => text.push_str(within(plain)),
            PartType::Html(markup) => text.push_str(&html::plain(within(markup))),
            _ => continue,
        }
        text.push('\n');
        if text.len() > SEEN_MAX {
            break;
        }
    }
    if text.trim().is_empty() {
        // A mail whose parts cannot be told apart is read as it is.
        let whole = message.parts.iter().find_map(MessagePart::text_contents);
        text.push_str(within(whole.unwrap_or_default()));
    }
    if text.contains('\r') {
        text = text.replace("\r\n", "\n").replace('\r', "\n");
    }
    text
}

/// So much of a text as is looked at.
fn within(text: &str) -> &str {
    text.get(..text.floor_char_boundary(SEEN_MAX))
        .unwrap_or(text)
}

/// The content of a part as text, lines ended by LF.
fn contents(part: &MessagePart<'_>) -> String {
    let contents = String::from_utf8_lossy(part.contents());
    within(&contents).replace("\r\n", "\n")
}

/// The addresses in a header's value.
fn addresses_in(value: &HeaderValue<'_>) -> Vec<String> {
    match value {
        HeaderValue::Address(addresses) => {
            let addresses = addresses.iter().filter_map(|one| one.address());
            addresses.filter_map(address).collect()
        }
        HeaderValue::Text(value) => addresses_of(value),
        HeaderValue::TextList(values) => values
            .iter()
            .flat_map(|value| addresses_of(value))
            .collect(),
        _ => Vec::new(),
    }
}

/// The addresses in a text, wherever they stand.
pub(super) fn addresses_of(text: &str) -> Vec<String> {
    let words = text.split(|c: char| c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';'));
    words.filter_map(address).take(NAMES_MAX).collect()
}

/// An address out of a word: without what punctuation or routes there are around it.
pub(super) fn address(word: &str) -> Option<String> {
    let word = word.trim_matches(|c: char| {
        c.is_whitespace() || "<>()[]{}\"'`,;:!?*|=".contains(c) || c == '.'
    });
    let word = word.strip_prefix("mailto:").unwrap_or(word);
    // A route (RFC 5321 §4.1.2) is before the last colon: @relay.example:ana@example.com.
    let word = word.rsplit(':').next().unwrap_or(word);
    let (local, domain) = word.rsplit_once('@')?;
    let plain = |c: char| !c.is_control() && !c.is_whitespace() && !"<>()[]\\,;:\"".contains(c);
    let named = |label: &str| {
        let mut characters = label.chars();
        !label.is_empty() && characters.all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let whole = !local.is_empty()
        && local.chars().all(plain)
        && !local.contains('@')
        && word.len() <= 254
        && domain.split('.').all(named);
    whole.then(|| word.to_owned())
}

/// A Message-ID with its brackets.
pub(super) fn bracketed(id: &str) -> Option<String> {
    let id = id.trim().trim_matches(['<', '>']);
    let whole = !id.is_empty()
        && id.len() <= 998
        && !id.contains(|c: char| c.is_control() || c == '<' || c == '>');
    whole.then(|| format!("<{id}>"))
}

/// The first Message-ID of a header's text.
fn in_brackets(value: &str) -> Option<String> {
    let inside = value
        .split_once('<')
        .and_then(|(_, rest)| rest.split_once('>'));
    match inside {
        Some((id, _)) => bracketed(id),
        None => value
            .split_whitespace()
            .find(|word| word.contains('@'))
            .and_then(bracketed),
    }
}

/// The value of a head's first field of this name, unfolded. Marks of quotation before it are passed
/// over: so some programs send a head back.
pub(super) fn field(head: &str, name: &str) -> Option<String> {
    let mut lines = head
        .lines()
        .map(|line| line.trim_start_matches('>'))
        .peekable();
    while let Some(line) = lines.next() {
        let Some((key, value)) = line.split_once(':') else {
            continue;
        };
        if !key.trim().eq_ignore_ascii_case(name) {
            continue;
        }
        let mut value = value.trim().to_owned();
        while let Some(more) =
            lines.next_if(|line| line.starts_with([' ', '\t']) && !line.trim().is_empty())
        {
            value.push(' ');
            value.push_str(more.trim());
        }
        return Some(value);
    }
    None
}

/// The values of all of a report's fields of this name.
pub(super) fn fields(report: &str, name: &str) -> Vec<String> {
    let mut values: Vec<String> = Vec::new();
    let mut within = false;
    for line in report.lines() {
        if line.starts_with([' ', '\t']) {
            if let Some(value) = values.last_mut().filter(|_| within) {
                value.push(' ');
                value.push_str(line.trim());
            }
            continue;
        }
        within = false;
        if let Some((key, value)) = line.split_once(':') {
            within = key.trim().eq_ignore_ascii_case(name) && values.len() < NAMES_MAX;
            if within {
                values.push(value.trim().to_owned());
            }
        }
    }
    values
}

/// The same, each once, in order of their first place.
pub(super) fn once(names: Vec<String>) -> Vec<String> {
    let mut seen = BTreeSet::new();
    let mut kept = names;
    kept.retain(|name| seen.insert(name.clone()));
    kept
}
