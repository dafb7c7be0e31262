//! The own words of a mail that reports a failure: without the mail it sends back; and what it says
//! of which address.

use super::super::REPORTS_MAX;
use super::super::mime::{address, field};

/// A mail's text, taken apart.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Words<'a> {
    /// What the reporting system says.
    pub own: &'a str,
    /// What it sends back.
    pub returned: &'a str,
}

/// Words of a line by which systems begin what they send back; the line holds little else.
const BEGINS: &[&str] = &[
    "below this line is a copy",
    "below the next line is a copy",
    "below is a copy of",
    "this is a copy of",
    "here is a copy of",
    "included is a copy",
    "copy of the message",
    "copy of your message",
    "copy of the original",
    "original message follows",
    "original message headers",
    "original message",
    "original mail",
    "original headers",
    "returned message",
    "message headers follow",
    "message header follows",
    "message header",
    "unsent message",
    "undelivered message",
    "message contents",
    "message follows",
    "message text follows",
    "message text",
    "forwarded message",
    "header of the original",
    "headers of the original",
    "header and top",
    "text of the message",
    "start of returned",
    "bounced e-mail",
    "bounced email",
    "bounced message",
    "bounced mail",
    "beginning of message",
    "message attached",
    "returned mail follows",
];
/// Fields with which the head of a mail that is sent back may begin.
const HEADS: &[&str] = &[
    "received:",
    "return-path:",
    "x-originating-ip: ",
    "dkim-signature: ",
    "x-google-smtp-source:",
    "x-received: ",
];

/// How much of its own a report says at most, in octets: what is longer is no report's.
const OWN_MAX: usize = 16 * 1024;

/// Parts what a system says from what it sends back.
pub(crate) fn own_words(text: &str) -> Words<'_> {
    let words = parted(text);
    let own = words.own.get(..words.own.floor_char_boundary(OWN_MAX));
    Words {
        own: own.unwrap_or(words.own),
        ..words
    }
}

fn parted(text: &str) -> Words<'_> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        let end = at + line.len();
        if begins_returned(line) && at > 0 {
            let own = text.get(..at).unwrap_or(text);
            return Words {
                own,
                returned: text.get(at..).unwrap_or_default(),
            };
        }
        at = end;
    }
    Words {
        own: text,
        returned: head_within(text),
    }
}

/// What may be the head of a mail within a text that marks none: from its Message-ID's line on.
fn head_within(text: &str) -> &str {
    if field(text, "message-id").is_some() {
        text
    } else {
        ""
    }
}

fn begins_returned(line: &str) -> bool {
    let line = line.trim().trim_start_matches('>').trim().to_lowercase();
    if HEADS.iter().any(|head| line.starts_with(head)) {
        return true;
    }
    // A rule or a short heading, not a sentence of the report.
    let ruled = line.starts_with(['-', '=', '_', '*', '|', '#']) || line.ends_with(['-', ':']);
    let heading = ruled || line.ends_with('.') && line.contains("follow");
    heading && line.len() < 100 && BEGINS.iter().any(|begin| line.contains(begin))
}

/// What is said of one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Segment {
    /// The address.
    pub address: String,
    /// What is said of it.
    pub text: String,
}

impl Segment {
    /// Whether it says no more than the address.
    fn is_bare(&self) -> bool {
        !self.text.trim().contains(char::is_whitespace)
    }

    /// Whether it is about this address.
    pub fn is_for(&self, address: Option<&str>) -> bool {
        address.is_some_and(|address| self.address.eq_ignore_ascii_case(address))
    }
}

/// What a text says, by the address at the head of a line: `<ana@example.com>: no such user`. It goes
/// on to the end of the paragraph, or, where the address stands alone, of the next.
pub(super) fn segments(own: &str) -> Vec<Segment> {
    let mut segments: Vec<Segment> = Vec::new();
    // The one that lines without an address are about.
    let mut open: Option<usize> = None;
    for line in own.lines() {
        let current = open.and_then(|at| segments.get_mut(at));
        if line.trim().is_empty() {
            open = open.filter(|_| current.is_some_and(|segment| segment.is_bare()));
            continue;
        }
        let Some(address) = heading_address(line) else {
            let Some(segment) = current else { continue };
            if starts_with_code(line) && starts_with_code(&segment.text) {
                open = None;
                continue;
            }
            push(&mut segment.text, line);
            if let Some(address) = made_of(line) {
                let text = segment.text.clone();
                segments.push(Segment { address, text });
            }
            continue;
        };
        let same = segments.iter().position(|one| one.is_for(Some(&address)));
        open = same.or(Some(segments.len()));
        if let Some(segment) = same.and_then(|at| segments.get_mut(at)) {
            push(&mut segment.text, line);
        } else if segments.len() < REPORTS_MAX {
            let text = line.trim().to_owned();
            segments.push(Segment { address, text });
        } else {
            break;
        }
    }
    segments
}

/// The address that a recipient's was made of: "(expanded from: ana@example.com)".
fn made_of(line: &str) -> Option<String> {
    let lower = line.to_lowercase();
    let at = ["expanded from", "generated from", "was addressed to"]
        .iter()
        .find_map(|words| lower.find(words).map(|at| at + words.len()))?;
    let rest = lower.get(at..)?.trim_start_matches([':', ' ', '<']);
    address(rest.split([' ', '>', ')']).next()?)
}

fn push(text: &mut String, line: &str) {
    text.push('\n');
    text.push_str(line.trim());
}

/// The address with which a line begins, or which it holds alone behind a label.
pub(super) fn heading_address(line: &str) -> Option<String> {
    let line = line.trim();
    // A line of a transcript is not about another address.
    if line.starts_with(['>', '|']) || line.starts_with("<<<") {
        return None;
    }
    let line = line.trim_start_matches(|c: char| "*-•> \t".contains(c));
    let line = if starts_with_code(line) {
        line.get(4..)?.trim_start()
    } else {
        line
    };
    let first = line.split(|c: char| c.is_whitespace()).next()?;
    if first.contains('@') {
        let first = first
            .split("<mailto:")
            .next()
            .filter(|first| first.contains('@'))
            .unwrap_or(first);
        return address(first);
    }
    let (label, value) = line.split_once(": ").or_else(|| line.split_once(":\t"))?;
    let value = value.trim();
    let labelled = LABELS.contains(&label.trim().to_lowercase().as_str());
    (labelled && !value.contains(char::is_whitespace))
        .then(|| address(value))
        .flatten()
}

/// Whether a line begins with a reply code (RFC 5321 §4.2).
fn starts_with_code(line: &str) -> bool {
    let mut bytes = line.trim_start().bytes();
    let mut digit = || bytes.next().is_some_and(|byte| byte.is_ascii_digit());
    let digits = digit() && digit() && digit();
    digits && bytes.next() == Some(b' ')
}

/// Labels before the address of a recipient.
const LABELS: &[&str] = &[
    "recipient",
    "recipient address",
    "intended recipient",
    "failed address",
    "original address",
    "failed recipient",
    "unknown user",
    "user",
    "address",
    "email address",
    "invalid final delivery userid",
    "error-for",
    "could not be delivered to",
    "unable to deliver message to",
    "addressed to",
    "original recipient",
    "undeliverable to",
    "mailbox",
    "destination",
    "to recipient",
];
