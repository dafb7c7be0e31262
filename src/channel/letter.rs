//! What is sent: written by the engine, made ready, and what became of it.

use super::email::Email;
use super::mime::{Composed, compose};
use super::text::TextMessage;
use super::webhook::WebhookRequest;
use crate::domain::address::EmailAddress;
use crate::domain::outcome::Outcome;

/// What is sent, before it is made ready.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Letter {
    /// An email.
    Email(Email),
    /// A text or WhatsApp message.
    Text(TextMessage),
    /// A request to another program.
    Webhook(WebhookRequest),
}

impl Letter {
    /// The subject, of an email.
    pub fn subject(&self) -> Option<&str> {
        match self {
            Self::Email(email) => Some(&email.subject),
            Self::Text(_) | Self::Webhook(_) => None,
        }
    }

    /// The Message-ID, of an email.
    pub fn message_id(&self) -> Option<&str> {
        match self {
            Self::Email(email) => Some(&email.message_id),
            Self::Text(_) | Self::Webhook(_) => None,
        }
    }

    /// The address that it goes to, as suppressions know it; none of a request.
    pub fn address(&self) -> Option<String> {
        match self {
            Self::Email(email) => {
                let read = EmailAddress::parse(&email.to_address).ok()?;
                Some(read.key().to_owned())
            }
            Self::Text(text) => Some(text.to.clone()),
            Self::Webhook(_) => None,
        }
    }

    /// Makes it ready to travel.
    ///
    /// # Errors
    /// The outcome, where it cannot be made: it certainly did not leave.
    pub fn prepare(&self) -> Result<Prepared, Box<Outcome>> {
        match self {
            Self::Email(email) => compose(email)
                .map(Prepared::Email)
                .map_err(|error| Box::new(error.outcome())),
            Self::Text(text) => match text.check() {
                Ok(()) => Ok(Prepared::Text(text.clone())),
                Err(error) => Err(Box::new(error.outcome())),
            },
            Self::Webhook(request) => Ok(Prepared::Webhook(request.clone())),
        }
    }
}

/// What is ready to travel.
#[derive(Debug, Clone)]
pub enum Prepared {
    /// An email.
    Email(Composed),
    /// A text or WhatsApp message.
    Text(TextMessage),
    /// A request to another program.
    Webhook(WebhookRequest),
}

impl Prepared {
    /// To whom it goes: an address, a number, a URL.
    pub fn recipient(&self) -> String {
        match self {
            Self::Email(email) => email.envelope_to.to_string(),
            Self::Text(text) => text.to.clone(),
            Self::Webhook(request) => request.url.clone(),
        }
    }

    /// The whole of it as text: an email with its headers, a message, a body.
    pub fn content(&self) -> String {
        match self {
            Self::Email(email) => String::from_utf8_lossy(&email.bytes).into_owned(),
            Self::Text(text) => text.body.clone(),
            Self::Webhook(request) => request.body.clone(),
        }
    }
}

/// A message that an outbox kept instead of sending it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kept {
    /// To whom it would have gone.
    pub recipient: String,
    /// The whole message.
    pub content: String,
}

/// What became of a message.
#[derive(Debug, Clone)]
pub struct Sent {
    /// The verdict.
    pub outcome: Outcome,
    /// What an outbox kept.
    pub kept: Option<Kept>,
}

impl From<Outcome> for Sent {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            kept: None,
        }
    }
}
