//! What comes in by mail: each mail is read, found to belong to a lead, filed once, and acted on, all of
//! it in one transaction.
//!
//! Mails come from the mailboxes of senders ([`reading`]), one node at a time for each, and over HTTP
//! from a mail server or a provider. Whichever way the same mail comes, and however often, it is
//! handled once.

mod opening;
pub mod reading;
pub mod signed;
mod take;

use std::time::Duration;

pub use self::take::{Incoming, Place, TakeError, Taken, take_in};

/// The longest mail that is taken in, in bytes.
pub const MAIL_BYTES_MAX: usize = 10 << 20;
/// How long it is kept that a mail came in which belongs to no lead.
const UNMATCHED_KEPT: Duration = Duration::from_secs(30 * 24 * 60 * 60);
