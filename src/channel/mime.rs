//! Writes an [`Email`] down as an Internet message (RFC 5322, MIME RFC 2045-2047).
//!
//! Owns what the message looks like on the wire: its headers, its parts, and that nothing in a
//! name, a subject or an address can add a header. Never sends. The writing itself is lettre's,
//! which must never be given a line break or a control character in a name (it panics), so every
//! text is cleaned first, and a panic all the same costs one message and not its worker.

use std::borrow::Cow;
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::SystemTime;

use lettre::Address;
use lettre::message::header::{HeaderName, HeaderValue};
use lettre::message::{Mailbox, Message, MultiPart, SinglePart};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};

use super::email::Email;
use crate::domain::outcome::{Outcome, Phase, Scope};

#[cfg(test)]
mod tests;

/// A name longer than this is cut; in characters.
pub const NAME_CHARS_MAX: usize = 200;
/// A subject longer than this is cut; in characters.
pub const SUBJECT_CHARS_MAX: usize = 500;
/// A longer thread is named by its first message and its last ones (RFC 5322 §3.6.4 lets the list
/// be shortened; mail readers thread by the ends).
pub const REFERENCES_MAX: usize = 20;
/// A Message-ID longer than this does not fit a header line (RFC 5322 §2.1.1) and is not ours.
const MESSAGE_ID_BYTES_MAX: usize = 250;

/// A message ready to be sent.
#[derive(Clone, PartialEq, Eq)]
pub struct Composed {
    /// Where bounces go.
    pub envelope_from: Address,
    /// Who gets it.
    pub envelope_to: Address,
    /// The message: lines end in CRLF, no dot is doubled yet. ASCII, unless an address is not.
    pub bytes: Vec<u8>,
}

impl fmt::Debug for Composed {
    /// Content and addresses are nobody's business in a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Composed")
            .field("bytes", &self.bytes.len())
            .finish_non_exhaustive()
    }
}

/// Why a message could not be written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ComposeError {
    /// The recipient's address.
    #[error("The recipient's email address is not valid: correct it.")]
    Recipient,
    /// The sender's address.
    #[error("The sender's email address is not valid: correct the sender.")]
    Sender,
    /// Where answers are asked for.
    #[error("The sender's replyTo is not a valid email address: correct the sender.")]
    ReplyTo,
    /// The Message-ID.
    #[error("The Message-ID is not of the form <left@right>: correct the sender's address.")]
    MessageId,
    /// The message itself.
    #[error("The message cannot be written as an email: change its subject or its text.")]
    Message,
}

impl ComposeError {
    /// The error as a send's outcome: nothing left, and trying again would not help.
    pub fn outcome(self) -> Outcome {
        let scope = match self {
            // It is malformed, not unknown: nobody reported it, so nobody is suppressed.
            Self::Recipient => Scope::Recipient { hard: false },
            Self::Sender | Self::ReplyTo | Self::MessageId => Scope::Sender,
            Self::Message => Scope::Content,
        };
        let response = self.to_string();
        Outcome::Rejected {
            phase: Phase::Connect,
            code: 0,
            enhanced: None,
            response,
            scope,
        }
    }
}

/// Writes `email` down.
///
/// # Errors
/// Where an address or the Message-ID is malformed, or where no message can be made of the rest.
pub fn compose(email: &Email) -> Result<Composed, ComposeError> {
    let envelope_from = envelope_address(&email.from_address).ok_or(ComposeError::Sender)?;
    let envelope_to = envelope_address(&email.to_address).ok_or(ComposeError::Recipient)?;
    if !is_message_id(&email.message_id) {
        return Err(ComposeError::MessageId);
    }
    let bytes = catch_unwind(AssertUnwindSafe(|| {
        write(email, &envelope_from, &envelope_to)
    }))
    .map_err(|_| ComposeError::Message)??;
    Ok(Composed {
        envelope_from,
        envelope_to,
        bytes,
    })
}

fn write(email: &Email, from: &Address, to: &Address) -> Result<Vec<u8>, ComposeError> {
    let mut builder = Message::builder()
        .date(SystemTime::from(email.date))
        .raw_header(verbatim("Message-ID", email.message_id.clone()))
        .from(mailbox(&email.from_name, from))
        .to(mailbox(email.to_name.as_deref().unwrap_or_default(), to))
        .subject(clean_line(&email.subject, SUBJECT_CHARS_MAX));
    if let Some(parent) = email.in_reply_to.as_ref().filter(|id| is_message_id(id)) {
        builder = builder.raw_header(verbatim("In-Reply-To", parent.clone()));
    }
    if let Some(references) = references(&email.references) {
        builder = builder.raw_header(verbatim("References", references));
    }
    let reply_to = match &email.reply_to {
        Some(address) => Some(envelope_address(address).ok_or(ComposeError::ReplyTo)?),
        None => None,
    };
    if let Some(address) = &reply_to {
        builder = builder.reply_to(mailbox(&email.from_name, address));
    }
    // Asks Microsoft's servers for no out-of-office and no other automatic answers.
    builder = builder.raw_header(verbatim(
        "X-Auto-Response-Suppress",
        "OOF, AutoReply".into(),
    ));

    // One click is for https alone (RFC 8058 §3.1).
    let one_click = (email.marker.as_ref())
        .map(|marker| marker.unsubscribe_url())
        .filter(|url| url.starts_with("https:"));
    let answers_to = reply_to.as_ref().unwrap_or(from);
    let by_mail = (email.opt_out_by_mail)
        .then(|| mailto(answers_to))
        .flatten();
    let ways = [&one_click, &by_mail].into_iter().flatten();
    // RFC 2369 §3.2: a list of addresses, the best first.
    let ways: Vec<String> = ways.map(|url| format!("<{url}>")).collect();
    if !ways.is_empty() {
        builder = builder.raw_header(verbatim("List-Unsubscribe", ways.join(",\r\n ")));
    }
    if one_click.is_some() {
        let one_click = "List-Unsubscribe=One-Click".to_owned();
        builder = builder.raw_header(verbatim("List-Unsubscribe-Post", one_click));
    }
    let text = clean_body(&email.text);
    let html = email.html.as_deref().map(|html| match &email.marker {
        Some(marker) => clean_body(&marker.mark(html)),
        None => clean_body(html),
    });
    let message = match html {
        None => builder.singlepart(SinglePart::plain(text)),
        Some(html) => {
            let boundary = boundary(&email.message_id, &text, &html);
            builder.multipart(
                MultiPart::alternative()
                    .boundary(boundary)
                    .singlepart(SinglePart::plain(text))
                    .singlepart(SinglePart::html(html)),
            )
        }
    };
    Ok(message.map_err(|_| ComposeError::Message)?.formatted())
}

/// A header whose value is known to be harmless and is to be written as it is: folding or encoding
/// a Message-ID would break threading.
fn verbatim(name: &'static str, value: String) -> HeaderValue {
    HeaderValue::dangerous_new_pre_encoded(
        HeaderName::new_from_ascii_str(name),
        value.clone(),
        value,
    )
}

fn mailbox(name: &str, address: &Address) -> Mailbox {
    let name = clean_line(name, NAME_CHARS_MAX);
    Mailbox::new((!name.is_empty()).then_some(name), address.clone())
}

/// What may stand in the address of a mailto URL as it is (RFC 6068 §2).
const MAILTO: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~')
    .remove(b'+')
    .remove(b'@');

/// By which mail one opts out; `None` where the address does not fit a URL.
fn mailto(address: &Address) -> Option<String> {
    let address: &str = address.as_ref();
    let address = address
        .is_ascii()
        .then(|| utf8_percent_encode(address, MAILTO))?;
    Some(format!("mailto:{address}?subject=unsubscribe"))
}

/// Parses an address: a dot-atom before the `@` (RFC 5322 §3.2.3, beyond ASCII RFC 6531 §3.3), a
/// domain name after it, which becomes its A-labels (RFC 5890). Quoted local parts and address
/// literals are refused: nobody is reached by them, but filters are deceived.
pub(super) fn envelope_address(raw: &str) -> Option<Address> {
    let (local, domain) = raw.rsplit_once('@')?;
    let atom = |c: char| {
        c.is_ascii_alphanumeric()
            || "!#$%&'*+-/=?^_`{|}~".contains(c)
            || (!c.is_ascii() && c.is_alphanumeric())
    };
    if local
        .split('.')
        .any(|part| part.is_empty() || !part.chars().all(atom))
    {
        return None;
    }
    let plain = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || matches!(b, b'-' | b'.');
    let domain = if domain.bytes().all(plain) {
        Cow::Borrowed(domain)
    } else {
        Cow::Owned(idna::domain_to_ascii_strict(domain).ok()?)
    };
    // No top-level domain is a number, but the last part of an IPv4 address is.
    if domain
        .rsplit('.')
        .next()?
        .bytes()
        .all(|b| b.is_ascii_digit())
    {
        return None;
    }
    Address::new(local, domain).ok()
}

/// Whether `id` is `<dot-atom@domain>` (RFC 5322 §3.6.4) in plain ASCII and fits a line.
fn is_message_id(id: &str) -> bool {
    let Some((left, right)) = id
        .strip_prefix('<')
        .and_then(|id| id.strip_suffix('>'))
        .and_then(|id| id.split_once('@'))
    else {
        return false;
    };
    let whole = |part: &str| {
        !part.is_empty()
            && part
                .bytes()
                .all(|b| b.is_ascii_graphic() && !b"<>@\\\"(),;".contains(&b))
    };
    id.len() <= MESSAGE_ID_BYTES_MAX && whole(left) && whole(right)
}

/// The References header: the valid ones, a line each; of a long thread the first and the last.
fn references(ids: &[String]) -> Option<String> {
    let mut valid: Vec<&str> = ids
        .iter()
        .map(String::as_str)
        .filter(|id| is_message_id(id))
        .collect();
    if valid.len() > REFERENCES_MAX {
        valid.drain(1..=valid.len() - REFERENCES_MAX);
    }
    (!valid.is_empty()).then(|| valid.join("\r\n "))
}

/// A boundary that is the same for the same message and stands in none of its parts.
fn boundary(message_id: &str, text: &str, html: &str) -> String {
    let mut boundary: String = message_id
        .bytes()
        .filter(u8::is_ascii_alphanumeric)
        .take(48)
        .map(char::from)
        .collect();
    boundary.insert_str(0, "=_");
    while boundary.len() < 70 && (text.contains(&boundary) || html.contains(&boundary)) {
        boundary.push('_');
    }
    boundary
}

/// One line of text for a header: line breaks and other control characters become spaces, marks
/// that turn the direction of writing (which can make one name look like another) go, and what
/// looks like an encoded word (RFC 2047) is broken up, so that it is shown and not decoded.
fn clean_line(text: &str, chars_max: usize) -> String {
    let mut clean = String::with_capacity(text.len().min(chars_max * 4));
    let mut last = ' ';
    for char in text.chars().filter(|&c| !is_deceptive(c)).take(chars_max) {
        let char = if char.is_control() || char.is_whitespace() {
            ' '
        } else {
            char
        };
        if char == ' ' && last == ' ' {
            continue;
        }
        if char == '?' && last == '=' {
            clean.push(' ');
        }
        clean.push(char);
        last = char;
    }
    clean.truncate(clean.trim_end().len());
    clean
}

/// Marks that turn the direction of writing, and marks nobody sees that mean nothing in a header.
const fn is_deceptive(char: char) -> bool {
    matches!(
        char,
        '\u{061c}' | '\u{200b}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{ffff}'
            | '\u{fffe}' | '\u{e0000}'..='\u{e007f}'
    )
}

/// A text whose lines all end in CRLF, without NUL (RFC 5322 §2.3: CR and LF only occur together).
fn clean_body(text: &str) -> String {
    let mut clean = String::with_capacity(text.len() + text.len() / 32 + 2);
    let mut rest = text;
    while let Some(at) = memchr::memchr3(b'\r', b'\n', b'\0', rest.as_bytes()) {
        let (line, end) = rest.split_at(at);
        clean.push_str(line);
        rest = if let Some(after) = end.strip_prefix("\r\n") {
            clean.push_str("\r\n");
            after
        } else {
            if !end.starts_with('\0') {
                clean.push_str("\r\n");
            }
            end.get(1..).unwrap_or_default()
        };
    }
    clean.push_str(rest);
    clean
}
