//! Reads the negative answers of APIs that send text messages: whose trouble it is, and what our
//! API calls it.
//!
//! Owns the table of Twilio's error codes, which providers that speak its API use too. A code that
//! is not in it is read by the HTTP status.

use chrono::Duration;

use super::{ErrorCode, Outcome, Phase, RetryReason, Scope};

/// What an answer means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Meaning {
    /// The recipient's number takes no such messages.
    Number,
    /// Nobody has the recipient's number any more.
    Unknown,
    /// The recipient asked for no more messages.
    OptedOut,
    /// This recipient cannot be reached by this sender: the country is not enabled, the handset is
    /// off, an operator filters.
    Unreachable,
    /// The login is wrong, or the account is closed.
    Login,
    /// The sender's number or account cannot send.
    Sender,
    /// The sender's number is not registered or not trusted.
    Policy,
    /// The message.
    Content,
    /// Too many messages for now.
    Rate,
    /// Nothing was done, and later it may be.
    Busy,
    /// Nobody knows what was done.
    Uncertain,
}

impl Meaning {
    /// The meaning of a code of Twilio's list.
    const fn of_code(code: u32) -> Option<Self> {
        Some(match code {
            // Not valid, not mobile, a short code, a landline, or not on WhatsApp.
            21211 | 21217 | 21265 | 21401 | 21407 | 21421 | 21614 | 21635 | 30006 | 63003
            | 63024 => Self::Number,
            30005 => Self::Unknown,
            21610 => Self::OptedOut,
            // No route or no permission for the country; a trial account's unverified recipient;
            // blocked; the operator's own trouble; WhatsApp's limits for one recipient.
            21214 | 21215 | 21408 | 21608 | 21612 | 30003 | 30004 | 30008 | 30010 | 30011
            | 63015 | 63032 | 63049 => Self::Unreachable,
            10001 | 20003 | 20005 | 20006 | 20008 | 30002 => Self::Login,
            // Not a number of the account, not for this kind of message, not given, or the account
            // is not there or restricted.
            20404 | 21212 | 21603 | 21606 | 21607 | 21616 | 21659 | 21660 | 21661 | 21910
            | 63007 | 63010 | 63020 | 63051 => Self::Sender,
            // Filtered, or not registered where the law asks for it.
            30007 | 30032 | 30034 | 30038 | 63013 => Self::Policy,
            // Empty, too long, refused, or outside the hours in which WhatsApp takes free text.
            21602
            | 21605
            | 21617
            | 21618
            | 21619
            | 21620
            | 21654..=21658
            | 30009
            | 63005
            | 63016
            | 63021
            | 63027..=63030 => Self::Content,
            14107 | 20429 | 21611 | 30001 | 30022 | 30023 | 63018 | 63038 => Self::Rate,
            20503 => Self::Busy,
            _ => return None,
        })
    }

    /// The meaning of a status (RFC 9110 §15), where the code says nothing.
    const fn of_status(status: u16) -> Self {
        match status {
            401 | 403 => Self::Login,
            400 | 409 | 413 | 422 => Self::Content,
            408 => Self::Busy,
            429 => Self::Rate,
            // A gateway that gave up may have passed the request on, and a server that failed may
            // have failed after it sent. Gateways answer 503, too, where whom they had passed the
            // request on to broke down.
            500..=599 => Self::Uncertain,
            // 303 leads to the result of what was done (RFC 9110 §15.4.4), 1xx is no answer yet.
            100..=199 | 303 => Self::Uncertain,
            // Taken, and given up at once for reasons of this message's own.
            200..=299 => Self::Unreachable,
            // No such account, no such API, or a way to somewhere else.
            _ => Self::Sender,
        }
    }

    /// The meaning of an answer. `asks_to_wait` where it has Retry-After.
    fn of(status: u16, code: Option<u32>, asks_to_wait: bool) -> Self {
        match code.and_then(Self::of_code) {
            Some(meaning) => meaning,
            // The API itself refused: a gateway has no codes, and whoever names the time of the next
            // request (RFC 9110 §15.6.4) has done nothing with this one.
            None if status == 503 && (code.is_some() || asks_to_wait) => Self::Busy,
            None => Self::of_status(status),
        }
    }

    /// Whose trouble it is.
    const fn scope(self) -> Scope {
        match self {
            Self::Number | Self::Unreachable => Scope::Recipient { hard: false },
            Self::Unknown => Scope::Recipient { hard: true },
            Self::OptedOut => Scope::OptedOut,
            Self::Login | Self::Sender | Self::Rate | Self::Busy | Self::Uncertain => Scope::Sender,
            Self::Policy => Scope::Policy,
            Self::Content => Scope::Content,
        }
    }

    const fn error_code(self) -> ErrorCode {
        match self {
            Self::Number => ErrorCode::InvalidPhone,
            Self::Unknown => ErrorCode::UnknownRecipient,
            Self::OptedOut => ErrorCode::Suppressed,
            Self::Login => ErrorCode::AuthFailed,
            Self::Rate => ErrorCode::RateLimited,
            Self::Busy => ErrorCode::ProviderError,
            Self::Uncertain => ErrorCode::Interrupted,
            Self::Unreachable | Self::Sender | Self::Policy | Self::Content => ErrorCode::Rejected,
        }
    }
}

impl Outcome {
    /// What a negative answer of an API means: its HTTP status, the provider's own code and words,
    /// and how long it asks to wait. The words are shown and kept as they are: give few.
    ///
    /// 500, 502 and 504 leave open whether the message was sent, unless the provider's code says
    /// more: they are [`Outcome::Ambiguous`]. So is 503, unless there is a code or a time to wait,
    /// either of which shows that it was the API that refused.
    pub fn refused_by_api(
        status: u16,
        code: Option<u32>,
        words: &str,
        after: Option<Duration>,
    ) -> Self {
        let meaning = Meaning::of(status, code, after.is_some());
        let response = match code {
            Some(code) => format!("{code} {words}"),
            None => words.to_owned(),
        };
        let response = response.trim_end().to_owned();
        let reason = match meaning {
            Meaning::Rate => RetryReason::RateLimited { after },
            Meaning::Busy => RetryReason::Unavailable { after },
            Meaning::Uncertain => {
                let reason = format!("the provider answered {status} {response}");
                let reason = reason.trim_end().to_owned();
                return Self::Ambiguous { reason };
            }
            Meaning::Number
            | Meaning::Unknown
            | Meaning::OptedOut
            | Meaning::Unreachable
            | Meaning::Login
            | Meaning::Sender
            | Meaning::Policy
            | Meaning::Content => {
                return Self::Rejected {
                    phase: Phase::Api,
                    code: status,
                    enhanced: code.map(|code| code.to_string()),
                    response,
                    scope: meaning.scope(),
                };
            }
        };
        Self::Retry {
            phase: Phase::Api,
            code: Some(status),
            response: Some(response),
            reason,
            scope: meaning.scope(),
        }
    }
}

/// What our API calls a refusal.
pub(super) fn error_code(status: u16, code: Option<&str>, scope: Scope) -> ErrorCode {
    if status == 0 {
        // No server was asked.
        return match scope {
            Scope::Recipient { .. } => ErrorCode::InvalidPhone,
            Scope::OptedOut => ErrorCode::Suppressed,
            Scope::Content => ErrorCode::RenderFailed,
            Scope::Sender | Scope::Policy => ErrorCode::Rejected,
        };
    }
    let code = code.and_then(|code| code.parse().ok());
    Meaning::of(status, code, false).error_code()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn refused(status: u16, code: u32) -> Outcome {
        let code = (code > 0).then_some(code);
        Outcome::refused_by_api(status, code, "words", Some(Duration::seconds(7)))
    }

    #[test]
    fn a_code_says_more_than_a_status() {
        let hard = Scope::Recipient { hard: true };
        let soft = Scope::Recipient { hard: false };
        for (status, code, scope, expected) in [
            (400, 21211, soft, ErrorCode::InvalidPhone),
            (400, 21614, soft, ErrorCode::InvalidPhone),
            (400, 21610, Scope::OptedOut, ErrorCode::Suppressed),
            (400, 21408, soft, ErrorCode::Rejected),
            (400, 21606, Scope::Sender, ErrorCode::Rejected),
            (400, 21212, Scope::Sender, ErrorCode::Rejected),
            (401, 20003, Scope::Sender, ErrorCode::AuthFailed),
            (403, 0, Scope::Sender, ErrorCode::AuthFailed),
            (404, 20404, Scope::Sender, ErrorCode::Rejected),
            (302, 0, Scope::Sender, ErrorCode::Rejected),
            (400, 63016, Scope::Content, ErrorCode::Rejected),
            (400, 0, Scope::Content, ErrorCode::Rejected),
            (400, 99999, Scope::Content, ErrorCode::Rejected),
            (400, 30034, Scope::Policy, ErrorCode::Rejected),
            (201, 30005, hard, ErrorCode::UnknownRecipient),
            (201, 30003, soft, ErrorCode::Rejected),
        ] {
            let outcome = refused(status, code);
            assert!(matches!(outcome, Outcome::Rejected { .. }), "{outcome:?}");
            let found = (outcome.scope(), outcome.error_code());
            assert_eq!(found, (Some(scope), Some(expected)), "{status} {code}");
        }
    }

    #[test]
    fn what_was_certainly_not_sent_may_be_tried_again() {
        let after = Some(Duration::seconds(7));
        for (status, code, expected) in [
            (429, 20429, ErrorCode::RateLimited),
            (429, 0, ErrorCode::RateLimited),
            (400, 14107, ErrorCode::RateLimited),
            (503, 0, ErrorCode::ProviderError),
            (503, 99999, ErrorCode::ProviderError),
            (500, 20503, ErrorCode::ProviderError),
            (408, 0, ErrorCode::ProviderError),
        ] {
            let outcome = refused(status, code);
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
            assert_eq!(outcome.retry_after(), after, "{status} {code}");
            assert_eq!(outcome.scope(), Some(Scope::Sender), "{status} {code}");
            assert_eq!(outcome.error_code(), Some(expected), "{status} {code}");
        }
        for (status, code) in [
            (500, 0),
            (502, 0),
            (504, 0),
            (500, 20500),
            (303, 0),
            (101, 0),
        ] {
            let outcome = refused(status, code);
            assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");
        }
    }

    /// A load balancer answers 503 both where it passed nothing on and where the server behind it broke
    /// down after it had taken the message: without a code or a time to wait it was perhaps sent.
    #[test]
    fn only_the_api_itself_says_by_503_that_nothing_was_sent() {
        let answered = |code, after| Outcome::refused_by_api(503, code, "words", after);
        let wait = Some(Duration::seconds(7));
        let bare = answered(None, None);
        assert!(matches!(bare, Outcome::Ambiguous { .. }), "{bare:?}");
        for (code, after) in [(Some(20503), None), (Some(99999), None), (None, wait)] {
            let outcome = answered(code, after);
            assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
            assert_eq!(outcome.error_code(), Some(ErrorCode::ProviderError));
        }
    }

    proptest! {
        #[test]
        fn a_refusal_never_reads_as_sent(status in 100_u16..600, code in 0_u32..70_000) {
            let outcome = refused(status, code);
            let sent = matches!(outcome, Outcome::Sent { .. } | Outcome::NotBegun);
            prop_assert!(!sent, "{outcome:?}");
            prop_assert!(!outcome.explain().is_empty());
            prop_assert!(outcome.error_code().is_some());
        }
    }
}
