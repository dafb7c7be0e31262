//! A provider that fails in every way, and the ledger of what it really took.

use std::sync::{Arc, Mutex};

use cadenza::channel::dispatch::{Channel, Prepared, Route, Sending, Sent};
use cadenza::domain::outcome::{Outcome, Phase, RetryReason, Scope};
use cadenza::entropy::Entropy;
use tokio_util::sync::CancellationToken;

/// How often out of 1,000 each trouble strikes.
#[derive(Debug, Clone, Copy, Default)]
pub struct Troubles {
    pub soft: u64,
    pub hard: u64,
    pub sender: u64,
    pub ambiguous: u64,
}

#[derive(Clone)]
pub struct Provider {
    /// The keys of what was taken, in order.
    pub taken: Arc<Mutex<Vec<String>>>,
    pub troubles: Arc<Mutex<Troubles>>,
    entropy: Entropy,
}

/// By what the receiver knows a repetition.
pub fn key(prepared: &Prepared) -> String {
    match prepared {
        Prepared::Email(_) => prepared
            .content()
            .lines()
            .find_map(|line| line.strip_prefix("Message-ID: "))
            .expect("every email has our Message-ID")
            .trim()
            .to_owned(),
        Prepared::Text(text) => text.idempotency_key.clone(),
        Prepared::Webhook(request) => request.id.clone(),
    }
}

impl Provider {
    pub fn new(entropy: Entropy, troubles: Troubles) -> Self {
        Self {
            taken: Arc::default(),
            troubles: Arc::new(Mutex::new(troubles)),
            entropy,
        }
    }

    fn take(&self, message: &Prepared) {
        self.taken.lock().expect("ledger").push(key(message));
    }

    fn verdict(&self, message: &Prepared) -> Outcome {
        let troubles = *self.troubles.lock().expect("troubles");
        let mut drawn = self.entropy.bits() % 1_000;
        let mut strikes = |share: u64| {
            let struck = drawn < share;
            drawn = drawn.saturating_sub(share);
            if struck {
                drawn = u64::MAX;
            }
            struck
        };
        let is_request = matches!(message, Prepared::Webhook(_));
        if strikes(troubles.soft) {
            if is_request {
                return Outcome::refused_by_webhook(503, "later", None);
            }
            return refused(451, "451 4.3.0 later", Scope::Recipient { hard: false });
        }
        if strikes(troubles.sender) {
            if is_request {
                return Outcome::refused_by_webhook(429, "slow down", None);
            }
            return refused(421, "421 4.7.0 too many", Scope::Sender);
        }
        if strikes(troubles.hard) {
            if is_request {
                return Outcome::refused_by_webhook(410, "gone", None);
            }
            if matches!(message, Prepared::Text(_)) && self.entropy.bits().is_multiple_of(2) {
                return Outcome::refused_by_api(400, Some(21_610), "they said STOP", None);
            }
            return Outcome::Rejected {
                phase: Phase::Rcpt,
                code: 550,
                enhanced: Some("5.1.1".into()),
                response: "550 5.1.1 no such user".into(),
                scope: Scope::Recipient { hard: true },
            };
        }
        if strikes(troubles.ambiguous) {
            // Half of them were taken.
            if self.entropy.bits().is_multiple_of(2) {
                self.take(message);
            }
            return if is_request {
                unanswered()
            } else {
                Outcome::Ambiguous {
                    reason: "the connection broke after the dot".into(),
                }
            };
        }
        self.take(message);
        Outcome::Sent {
            response: "250 ok".into(),
        }
    }
}

fn refused(code: u16, text: &str, scope: Scope) -> Outcome {
    Outcome::Retry {
        phase: Phase::Rcpt,
        code: Some(code),
        response: Some(text.to_owned()),
        reason: RetryReason::Refused4xx,
        scope,
    }
}

/// A request of which nobody knows whether it arrived, which is made again.
fn unanswered() -> Outcome {
    Outcome::Retry {
        phase: Phase::Webhook,
        code: None,
        response: None,
        reason: RetryReason::Timeout,
        scope: Scope::Content,
    }
}

impl Channel for Provider {
    fn send<'a>(
        &'a self,
        _: &'a Route,
        message: Prepared,
        _: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            Sent {
                outcome: self.verdict(&message),
                kept: None,
            }
        })
    }
}
