//! The transport for trying things out: every message is taken, and kept instead of sent.

use tokio_util::sync::CancellationToken;

use super::carrier::{Carrier, Doing, Route, SenderProbe};
use super::letter::{Kept, Prepared, Sent};
use crate::domain::outcome::Outcome;
use crate::domain::sender::Transport;
use crate::domain::sender::check::{CheckKind, Finding};

/// Keeps messages of every kind.
#[derive(Debug)]
pub(super) struct Outbox;

impl Carrier for Outbox {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: &'a Prepared,
        _: &'a CancellationToken,
    ) -> Option<Doing<'a, Sent>> {
        let Some((_, Transport::Outbox { .. })) = route.through() else {
            return None;
        };
        let kept = Kept {
            recipient: message.recipient(),
            content: message.content(),
        };
        let outcome = Outcome::Sent {
            response: "kept in the outbox".into(),
        };
        let sent = Sent {
            outcome,
            kept: Some(kept),
        };
        Some(Box::pin(std::future::ready(sent)))
    }

    fn check<'a>(
        &'a self,
        probe: &'a SenderProbe,
        found: &'a mut Vec<Finding>,
    ) -> Option<Doing<'a, ()>> {
        let Transport::Outbox { .. } = probe.route.transport else {
            return None;
        };
        let message = "An outbox keeps every message and sends none: give the sender another \
                       transport when its messages are to arrive.";
        found.push(Finding::warned(CheckKind::Connection, message));
        Some(Box::pin(std::future::ready(())))
    }
}
