//! What a send ended as, and whose trouble it is.
//!
//! Owns the reading of SMTP replies: from phase, code and text to a verdict. Replies are read by
//! code and enhanced code (RFC 5321 §4.2, RFC 3463) first; the text decides only where the codes
//! are used for several things. What APIs of providers and webhooks answer is read in
//! [`Outcome::refused_by_api`] and [`Outcome::refused_by_webhook`]. Never talks to a server and
//! never decides what happens to a lead.

use chrono::Duration;
use strum::{Display, EnumString, IntoStaticStr};

mod api;
mod reply;
mod webhook;

#[cfg(test)]
mod tests;

/// What a send ended as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The receiver took responsibility for the message.
    Sent {
        /// The receiver's words.
        response: String,
    },
    /// Refused for good (5xx): the same message would be refused again.
    Rejected {
        /// Where it was refused.
        phase: Phase,
        /// The reply's code; 0 where the refusal is our own and no server was asked.
        code: u16,
        /// The enhanced status code (RFC 3463), such as `5.1.1`, or an API's own code, such as
        /// Twilio's `21211`.
        enhanced: Option<String>,
        /// The refusing words.
        response: String,
        /// Whose trouble it is.
        scope: Scope,
    },
    /// Certainly not delivered, and safe to try again.
    Retry {
        /// How far it came.
        phase: Phase,
        /// The reply's code, where there was a reply.
        code: Option<u16>,
        /// The reply's words, or what happened instead of a reply.
        response: Option<String>,
        /// What kind of trouble it was.
        reason: RetryReason,
        /// Whose trouble it is.
        scope: Scope,
    },
    /// Nothing of it was begun, and nothing is wrong with it: the connection took so long that
    /// whether it may leave must be asked again.
    NotBegun,
    /// The end of the message may have arrived and no verdict came back: it may or may not have
    /// been delivered, and must never be repeated by itself.
    Ambiguous {
        /// What happened.
        reason: String,
    },
}

/// The steps of a delivery, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Phase {
    /// Name lookup, TCP and, on a port that begins with it, TLS.
    Connect,
    /// The server's first words.
    Greeting,
    /// EHLO or HELO.
    Hello,
    /// The upgrade to TLS.
    StartTls,
    /// The login.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA, until the server says 354.
    Data,
    /// The message itself, before its end.
    Body,
    /// The final dot and what the server says to it.
    Dot,
    /// A request to the API of a provider, and its answer.
    Api,
    /// A request to a webhook, and its answer.
    Webhook,
}

/// Why a message can be tried again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetryReason {
    /// The server refused it for now.
    Refused4xx,
    /// No connection, or it broke before the end of the message.
    ConnectionFailed,
    /// The server did not answer in time, before the end of the message.
    Timeout,
    /// The server said something that is no SMTP, before the end of the message.
    Protocol,
    /// There were too many requests (HTTP 429).
    RateLimited {
        /// How long the server asks to wait (Retry-After, RFC 9110 §10.2.3).
        after: Option<Duration>,
    },
    /// The server can take nothing now (HTTP 408, 503; for a webhook any 5xx).
    Unavailable {
        /// How long the server asks to wait (Retry-After, RFC 9110 §10.2.3).
        after: Option<Duration>,
    },
}

/// Whose trouble it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// This recipient's.
    Recipient {
        /// The address does not exist or takes no mail: nobody should write to it again.
        hard: bool,
    },
    /// This recipient's, who has asked for no more messages.
    OptedOut,
    /// The sending mailbox's (login, limits, its server): every message of it would fail alike.
    Sender,
    /// The sending domain's or its address's reputation: authentication of the domain, block lists.
    Policy,
    /// This message's.
    Content,
}

/// The error of an execution, named as in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ErrorCode {
    /// The email address cannot be written to.
    InvalidEmail,
    /// There is no email address.
    MissingEmail,
    /// The phone number cannot be called.
    InvalidPhone,
    /// There is no phone number.
    MissingPhone,
    /// There is no LinkedIn page.
    MissingLinkedinUrl,
    /// The address must not be contacted.
    Suppressed,
    /// The message could not be made.
    RenderFailed,
    /// The receiver refused the message.
    Rejected,
    /// The recipient's mailbox is full.
    MailboxFull,
    /// The recipient does not exist.
    UnknownRecipient,
    /// The sender could not log in.
    AuthFailed,
    /// The server could not be reached, or the connection broke.
    ConnectionFailed,
    /// The server did not answer in time.
    Timeout,
    /// Too many messages for now, or a receiver that asks to come later as a matter of policy, such as
    /// greylisting.
    RateLimited,
    /// The server had trouble of its own.
    ProviderError,
    /// Cut off at a moment when it may have been delivered (UNCONFIRMED), or given up before it could be
    /// tried again, its lead having left the step (FAILED).
    Interrupted,
}

/// Why an attempt that was to follow is not made: its lead left the step before.
pub const GIVEN_UP: (ErrorCode, &str) = (
    ErrorCode::Interrupted,
    "The lead left the step before the message could be tried again.",
);

impl ErrorCode {
    /// The code's name in the API and in the database.
    pub fn as_str(self) -> &'static str {
        self.into()
    }
}

impl Phase {
    /// The phase's name, as in the protocol.
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// The phase in a user's words, to follow "at".
    const fn describe(self) -> &'static str {
        match self {
            Self::Connect => "connecting to the server",
            Self::Greeting => "the server's greeting",
            Self::Hello => "introducing ourselves to the server",
            Self::StartTls => "encrypting the connection",
            Self::Auth => "logging in",
            Self::Mail => "naming the sender",
            Self::Rcpt => "naming the recipient",
            Self::Data => "announcing the message",
            Self::Body => "transmitting the message",
            Self::Dot => "handing the message over",
            Self::Api => "asking the provider to send the message",
            Self::Webhook => "calling the webhook",
        }
    }
}

impl Outcome {
    /// What a negative reply (4xx or 5xx) at `phase` means. `text` is the reply without its code;
    /// several lines are joined by spaces.
    pub fn refused(phase: Phase, code: u16, text: &str) -> Self {
        reply::read(phase, code, text)
    }

    /// The connection failed at `phase`, certainly before the end of the message.
    pub fn broken(phase: Phase, reason: RetryReason, what: impl Into<String>) -> Self {
        // Before the recipient is named, nothing about this message can be the cause.
        let scope = if phase < Phase::Rcpt {
            Scope::Sender
        } else {
            Scope::Recipient { hard: false }
        };
        Self::Retry {
            phase,
            code: None,
            response: Some(what.into()),
            reason,
            scope,
        }
    }

    /// Whose trouble it is; `None` where there is none or where nobody knows.
    pub const fn scope(&self) -> Option<Scope> {
        match self {
            Self::Rejected { scope, .. } | Self::Retry { scope, .. } => Some(*scope),
            Self::Sent { .. } | Self::NotBegun | Self::Ambiguous { .. } => None,
        }
    }

    /// How long the server asks to wait before the next try; the next one is made no sooner than
    /// that, and no sooner than we would by ourselves.
    pub const fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Retry {
                reason: RetryReason::RateLimited { after } | RetryReason::Unavailable { after },
                ..
            } => *after,
            Self::Sent { .. }
            | Self::Rejected { .. }
            | Self::Retry { .. }
            | Self::NotBegun
            | Self::Ambiguous { .. } => None,
        }
    }

    /// What the server said, or what happened instead.
    pub fn response(&self) -> Option<&str> {
        match self {
            Self::Sent { response } | Self::Rejected { response, .. } => Some(response),
            Self::Retry { response, .. } => response.as_deref(),
            Self::Ambiguous { reason } => Some(reason),
            Self::NotBegun => None,
        }
    }

    /// The error in the API's words; `None` when the message was sent.
    pub fn error_code(&self) -> Option<ErrorCode> {
        match self {
            Self::Sent { .. } => None,
            Self::Ambiguous { .. } => Some(ErrorCode::Interrupted),
            Self::NotBegun => Some(ErrorCode::Timeout),
            Self::Rejected {
                phase: Phase::Api,
                code,
                enhanced,
                scope,
                ..
            } => Some(api::error_code(*code, enhanced.as_deref(), *scope)),
            Self::Rejected {
                phase: Phase::Webhook,
                ..
            } => Some(ErrorCode::Rejected),
            Self::Rejected {
                phase,
                code,
                response,
                scope,
                ..
            } => Some(reply::error_code(*phase, *code, response, *scope)),
            Self::Retry {
                phase,
                code,
                response,
                reason,
                scope,
            } => Some(match (reason, code) {
                (RetryReason::Timeout, _) => ErrorCode::Timeout,
                (RetryReason::ConnectionFailed, _) => ErrorCode::ConnectionFailed,
                (RetryReason::RateLimited { .. }, _) => ErrorCode::RateLimited,
                (RetryReason::Unavailable { .. }, _) => ErrorCode::ProviderError,
                (RetryReason::Refused4xx, Some(code)) => {
                    let text = response.as_deref().unwrap_or_default();
                    reply::error_code(*phase, *code, text, *scope)
                }
                (RetryReason::Refused4xx, None) | (RetryReason::Protocol, _) => {
                    ErrorCode::ProviderError
                }
            }),
        }
    }

    /// What happened, in one or two sentences for a user. It may hold what the server said, which
    /// may hold addresses: show it, but do not log it.
    pub fn explain(&self) -> String {
        match self {
            Self::Sent { response } => format!("The server took the message: {response}"),
            Self::Rejected {
                code: 0, response, ..
            } => response.clone(),
            Self::Rejected {
                phase,
                code,
                response,
                scope,
                ..
            } => {
                format!(
                    "Refused at {}: {code} {response}. {}",
                    phase.describe(),
                    remedy(*phase, *scope)
                )
            }
            Self::Retry {
                phase,
                code,
                response,
                reason,
                ..
            } => {
                let at = phase.describe();
                let said = response.as_deref().unwrap_or("no details");
                match (reason, code) {
                    (RetryReason::Refused4xx, Some(code)) => {
                        format!("Refused for now at {at}: {code} {said}.")
                    }
                    (RetryReason::Refused4xx, None) => format!("Refused for now at {at}: {said}."),
                    (RetryReason::RateLimited { .. }, _) => {
                        format!("Too many requests for now at {at}: {said}.")
                    }
                    (RetryReason::Unavailable { .. }, _) => {
                        format!("The server cannot take it now at {at}: {said}.")
                    }
                    (RetryReason::ConnectionFailed, _) => {
                        format!("The connection failed at {at}: {said}.")
                    }
                    (RetryReason::Timeout, _) => {
                        format!("The server did not answer in time at {at}: {said}.")
                    }
                    (RetryReason::Protocol, _) => {
                        format!("The server's answer made no sense at {at}: {said}.")
                    }
                }
            }
            Self::NotBegun => {
                "The connection took long to open; the message was not sent yet.".to_owned()
            }
            Self::Ambiguous { reason } => {
                format!("The message may or may not have been delivered: {reason}.")
            }
        }
    }
}

const fn remedy(phase: Phase, scope: Scope) -> &'static str {
    match (phase, scope) {
        (Phase::Webhook, _) => "Correct the step's web address, headers or body.",
        (Phase::Api, Scope::Recipient { hard: true }) => "Correct the recipient's phone number.",
        (Phase::Api, Scope::Recipient { hard: false }) => "Check the recipient's phone number.",
        (_, Scope::OptedOut) => {
            "The recipient has asked for no more messages: nobody can write to them on this channel."
        }
        (Phase::Api, Scope::Sender) => "Check the sender's account, number and limits.",
        (Phase::Api, Scope::Policy) => {
            "Check the registration and the reputation of the sender's number with the provider."
        }
        (_, Scope::Recipient { hard: true }) => "Correct the recipient's address.",
        (_, Scope::Recipient { hard: false }) => "Check the recipient's address.",
        (_, Scope::Sender) => "Check the sender's login and limits.",
        (_, Scope::Policy) => {
            "Check the SPF, DKIM and DMARC records and the reputation of the sender's domain."
        }
        (_, Scope::Content) => "Change the message.",
    }
}
