//! Reads the negative answers of webhooks.

use chrono::Duration;

use super::{Outcome, Phase, RetryReason, Scope};

impl Outcome {
    /// What a negative answer of a webhook means: its HTTP status, the beginning of its words, and
    /// how long it asks to wait.
    ///
    /// 408, 425, 429 and 5xx pass; everything else is for good. All are the step's own trouble: a
    /// webhook has no sender that could rest.
    pub fn refused_by_webhook(status: u16, words: &str, after: Option<Duration>) -> Self {
        let reason = match status {
            408 | 425 | 500..=599 => RetryReason::Unavailable { after },
            429 => RetryReason::RateLimited { after },
            _ => {
                return Self::Rejected {
                    phase: Phase::Webhook,
                    code: status,
                    enhanced: None,
                    response: words.to_owned(),
                    scope: Scope::Content,
                };
            }
        };
        Self::Retry {
            phase: Phase::Webhook,
            code: Some(status),
            response: Some(format!("{status} {words}").trim_end().to_owned()),
            reason,
            scope: Scope::Content,
        }
    }
}
