//! An email to one person, rendered and addressed, before it becomes bytes.
//!
//! Owns the words of it only; [`super::mime`] writes it down and [`super::smtp`] sends it.

use chrono::{DateTime, Utc};

use crate::domain::tracking::Marker;

/// An email to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Email {
    /// The Message-ID with its angle brackets, `<left@right>` (RFC 5322 §3.6.4). It is ours, and
    /// the same for every attempt, so that an answer or a bounce finds the message again.
    pub message_id: String,
    /// The Date of the message.
    pub date: DateTime<Utc>,
    /// The sender's name; empty for none.
    pub from_name: String,
    /// The sender's address, also the return path.
    pub from_address: String,
    /// Where answers are asked for; `None`, at the sender's address.
    pub reply_to: Option<String>,
    /// Whether a mail to where answers are asked for opts out too.
    pub opt_out_by_mail: bool,
    /// The recipient's name.
    pub to_name: Option<String>,
    /// The recipient's address. There is one recipient for each message, so that each verdict is
    /// about one person.
    pub to_address: String,
    /// The subject.
    pub subject: String,
    /// The plain text part.
    pub text: String,
    /// The HTML part.
    pub html: Option<String>,
    /// The Message-ID of the message that this one follows in its thread.
    pub in_reply_to: Option<String>,
    /// The Message-IDs of the thread so far, oldest first.
    pub references: Vec<String>,
    /// What marks it, and by which its contact opts out; none where this server is not reached from
    /// outside.
    pub marker: Option<Box<Marker>>,
}
