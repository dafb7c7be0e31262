//! A provider that fails in every way, and the ledger of what it really accepted.

use std::sync::{Arc, Mutex};

use cadenza::channel::dispatch::{Channel, Prepared, Route, Sending, Sent};
use cadenza::clock::Clock;
use cadenza::domain::id::SenderId;
use cadenza::domain::outcome::{Outcome, Phase, RetryReason, Scope};
use cadenza::entropy::Entropy;
use chrono::{DateTime, Utc};
use tokio_util::sync::CancellationToken;

/// A message that the provider took.
#[derive(Debug, Clone)]
pub struct Accepted {
    /// When.
    pub at: DateTime<Utc>,
    /// From whom.
    pub sender: SenderId,
    /// Which: our Message-IDs are one for each lead and step.
    pub message_id: String,
}

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
    pub ledger: Arc<Mutex<Vec<Accepted>>>,
    pub troubles: Arc<Mutex<Troubles>>,
    clock: Clock,
    entropy: Entropy,
}

impl Provider {
    pub fn new(clock: Clock, entropy: Entropy, troubles: Troubles) -> Self {
        Self {
            ledger: Arc::default(),
            troubles: Arc::new(Mutex::new(troubles)),
            clock,
            entropy,
        }
    }

    fn accept(&self, route: &Route, message: &Prepared) {
        let text = message.content();
        let message_id = text
            .lines()
            .find_map(|line| line.strip_prefix("Message-ID: "))
            .expect("every message has our Message-ID")
            .trim()
            .to_owned();
        let accepted = Accepted {
            at: self.clock.now(),
            sender: route.sender().expect("a message has a sender"),
            message_id,
        };
        self.ledger.lock().expect("ledger").push(accepted);
    }

    fn verdict(&self, route: &Route, message: &Prepared) -> Outcome {
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
        let refused = |code, text: &str, scope| Outcome::Retry {
            phase: Phase::Rcpt,
            code: Some(code),
            response: Some(text.to_owned()),
            reason: RetryReason::Refused4xx,
            scope,
        };
        if strikes(troubles.soft) {
            return refused(451, "451 4.3.0 later", Scope::Recipient { hard: false });
        }
        if strikes(troubles.sender) {
            return refused(421, "421 4.7.0 too many", Scope::Sender);
        }
        if strikes(troubles.hard) {
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
                self.accept(route, message);
            }
            return Outcome::Ambiguous {
                reason: "the connection broke after the dot".into(),
            };
        }
        self.accept(route, message);
        Outcome::Sent {
            response: "250 ok".into(),
        }
    }
}

impl Channel for Provider {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: Prepared,
        _: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            Sent {
                outcome: self.verdict(route, &message),
                kept: None,
            }
        })
    }
}
