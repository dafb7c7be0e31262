//! What comes in by mail: which kind of message it is, what it answers, whom it is about, and what is
//! new in its text. Never stores, matches or acts: a mail says only what it says, and who believes
//! it is decided elsewhere.

mod automatic;
mod bounce;
mod complaint;
mod html;
mod mime;
mod notification;
mod opt_out;
mod quotation;

#[cfg(test)]
mod tests;

use chrono::{DateTime, NaiveDate, Utc};

use self::bounce::Outcome;
use self::complaint::Feedback;
use self::mime::Parsed;

/// The longest text of a mail that is kept, in characters.
pub const TEXT_MAX: usize = 20_000;
/// The longest message of a failure that is kept, in characters.
pub const MESSAGE_MAX: usize = 1_000;
/// How many failures or concerns one mail reports at most; the rest are not looked at.
pub const REPORTS_MAX: usize = 200;

/// A mail that came in, read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mail {
    /// Its Message-ID, with angle brackets.
    pub message_id: Option<String>,
    /// The address it says to come from, as written there.
    pub from: Option<String>,
    /// The addresses it went to: those of To, Cc, Delivered-To and X-Original-To, as written there,
    /// each once.
    pub recipients: Vec<String>,
    /// The Message-IDs of what it answers, with angle brackets: In-Reply-To first, then References
    /// from the latest; each once.
    pub answers: Vec<String>,
    /// Its subject, decoded; empty if it has none.
    pub subject: String,
    /// When it says to have been written.
    pub date: Option<DateTime<Utc>>,
    /// What is new in it: its text without quotation and signature, at most [`TEXT_MAX`] characters.
    pub text: String,
    /// What kind of mail it is.
    pub class: Class,
}

/// What kind of mail came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Class {
    /// Somebody wrote it.
    Reply,
    /// A machine answered for somebody (RFC 3834).
    AutoReply {
        /// The day from which they are back, where the mail states one.
        returns: Option<NaiveDate>,
    },
    /// A mail could not be delivered, for good or for now (RFC 3464, and the many forms that are not).
    /// Never empty.
    Bounce(Vec<Failure>),
    /// Somebody called a mail unwanted (RFC 5965). Never empty.
    Complaint(Vec<Concern>),
    /// Somebody asks for no more mail, and for nothing else.
    OptOut,
    /// Nothing that anyone has to act upon: reports of delay or delivery, read receipts.
    Notice,
}

/// A recipient to whom a mail could not be delivered.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Failure {
    /// The address, where the report names one.
    pub address: Option<String>,
    /// Whether the address itself does not exist, or takes no mail for good. What is about the
    /// content, the sender, a policy, a full mailbox or a time is soft.
    pub hard: bool,
    /// The enhanced status code (RFC 3463), where there is one.
    pub status: Option<String>,
    /// What the server said, at most [`MESSAGE_MAX`] characters; empty if it said nothing.
    pub message: String,
    /// The Message-ID of the mail that failed, with angle brackets.
    pub original: Option<String>,
}

/// A mail that somebody called unwanted.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Concern {
    /// The address that complains, where the report names one: many hide it.
    pub address: Option<String>,
    /// The Message-ID of the mail complained of, with angle brackets.
    pub original: Option<String>,
}

/// Reads a mail as it came over the wire. Whatever the bytes are, there is an answer; the work is
/// bounded by their number, and only the first of a very large mail are looked at.
pub fn read(raw: &[u8]) -> Mail {
    read_on(raw, None)
}

/// The same of a mail that came on this day, by which it is read where it does not say when it was written.
pub fn read_on(raw: &[u8], received: Option<NaiveDate>) -> Mail {
    let parsed = Parsed::of(raw);
    let text = bounded(&quotation::new_text(&parsed.text), TEXT_MAX);
    Mail {
        message_id: parsed.message_id(),
        from: parsed.from(),
        recipients: parsed.recipients(),
        answers: parsed.answers(),
        subject: parsed.subject(),
        date: parsed.date(),
        class: class(&parsed, &text, received),
        text,
    }
}

/// What kind of mail it is; `text` is what is new in it. What says most is asked first: a report of
/// failure is an automatic mail too.
fn class(parsed: &Parsed<'_>, text: &str, received: Option<NaiveDate>) -> Class {
    if let Some(class) = notification::class(parsed) {
        return class;
    }
    match complaint::feedback(parsed) {
        Some(Feedback::Unwanted(concerns)) => return Class::Complaint(concerns),
        Some(Feedback::Other) => return Class::Notice,
        None => {}
    }
    match bounce::outcome(parsed) {
        Some(Outcome::Failed(failures)) => return Class::Bounce(failures),
        Some(Outcome::Pending(_)) => return Class::Notice,
        None => {}
    }
    if parsed.is_receipt() {
        return Class::Notice;
    }
    if automatic::is_automatic(parsed, text) {
        return Class::AutoReply {
            returns: automatic::returns(parsed, text, received),
        };
    }
    if opt_out::is_request(parsed, text) {
        return Class::OptOut;
    }
    Class::Reply
}

/// At most so many characters of a text, without white space around it, and without the character
/// NUL, which no database takes.
fn bounded(text: &str, max: usize) -> String {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c == '\0');
    let characters = text.chars().filter(|character| *character != '\0');
    let mut kept: String = characters.take(max).collect();
    kept.truncate(kept.trim_end().len());
    kept
}

/// The recipients that a report of failure or delay names, whatever follows from it: see
/// [`Class::Bounce`] and [`Class::Notice`].
pub fn reported(raw: &[u8]) -> Vec<Failure> {
    let parsed = Parsed::of(raw);
    if let Some(Class::Bounce(failures)) = notification::class(&parsed) {
        return failures;
    }
    match bounce::outcome(&parsed) {
        Some(Outcome::Failed(failures) | Outcome::Pending(failures)) => failures,
        None => Vec::new(),
    }
}
