//! A text message to one person, rendered and addressed, before it becomes a request.

use crate::domain::message::{MESSAGE_UNITS_MAX, message_units};
use crate::domain::outcome::{Outcome, Phase, Scope};

/// The longest text message, in UTF-16 units: what Twilio takes.
pub const TEXT_UNITS_MAX: usize = MESSAGE_UNITS_MAX;

/// A text message to one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TextMessage {
    /// The sender's number, in E.164.
    pub from: String,
    /// The recipient's number, in E.164.
    pub to: String,
    /// The text.
    pub body: String,
    /// By WhatsApp; otherwise as an SMS.
    pub whatsapp: bool,
    /// The same for every attempt, and for no other message: the execution's id.
    pub idempotency_key: String,
}

/// Why a message cannot be sent; each names the remedy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TextError {
    /// The recipient's number.
    #[error("The recipient's phone number is not in international form: correct it.")]
    Recipient,
    /// The sender's number.
    #[error("The sender's phone number is not in international form: correct the sender.")]
    Sender,
    /// There is nothing to say.
    #[error("The text is empty: write one.")]
    Empty,
    /// There is too much to say.
    #[error("The text has {0} characters and may have {TEXT_UNITS_MAX}: shorten it.")]
    Length(usize),
    /// What no telephone shows.
    #[error("The text holds a NUL character: remove it.")]
    Character,
}

impl TextError {
    /// The error as a send's outcome: nothing left, and trying again would not help.
    pub fn outcome(self) -> Outcome {
        let scope = match self {
            // It is malformed, not unknown: nobody reported it, so nobody is suppressed.
            Self::Recipient => Scope::Recipient { hard: false },
            Self::Sender => Scope::Sender,
            Self::Empty | Self::Length(_) | Self::Character => Scope::Content,
        };
        Outcome::Rejected {
            phase: Phase::Api,
            code: 0,
            enhanced: None,
            response: self.to_string(),
            scope,
        }
    }
}

impl TextMessage {
    /// Checks what can be known before a server is asked.
    ///
    /// # Errors
    /// [`TextError`] with what is wrong.
    pub fn check(&self) -> Result<(), TextError> {
        if !is_e164(&self.from) {
            return Err(TextError::Sender);
        }
        if !is_e164(&self.to) {
            return Err(TextError::Recipient);
        }
        let units = message_units(&self.body);
        if self.body.trim().is_empty() {
            return Err(TextError::Empty);
        }
        if units > TEXT_UNITS_MAX {
            return Err(TextError::Length(units));
        }
        if self.body.contains('\0') {
            return Err(TextError::Character);
        }
        Ok(())
    }
}

/// Whether a number is a plus and up to fifteen digits (ITU-T E.164); which of them are in use was
/// asked where it came from.
fn is_e164(number: &str) -> bool {
    number.strip_prefix('+').is_some_and(|digits| {
        (4..=15).contains(&digits.len())
            && digits.bytes().all(|byte| byte.is_ascii_digit())
            && !digits.starts_with('0')
    })
}
