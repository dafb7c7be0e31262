//! What every kind of transport can do. Each kind is one file (or folder) of this module's
//! neighbours and one line in [`Transports::new`](super::dispatch::Transports::new).

use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::Arc;

use tokio_util::sync::CancellationToken;

use super::dkim::SigningKey;
use super::letter::{Prepared, Sent};
use super::secret::Secret;
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};
use crate::domain::sender::Transport;
use crate::domain::sender::check::Finding;

/// By which way something is sent.
#[derive(Debug, Clone)]
pub enum Route {
    /// Through a sender.
    Sender(SenderRoute),
    /// Straight to another program, signed in the name of this workspace.
    Webhook(WorkspaceId),
}

impl Route {
    /// The sender, where there is one.
    pub const fn sender(&self) -> Option<SenderId> {
        match self {
            Self::Sender(route) => Some(route.sender),
            Self::Webhook(_) => None,
        }
    }

    /// The sender's way with its transport, where there is one.
    pub(super) const fn through(&self) -> Option<(&SenderRoute, &Transport)> {
        match self {
            Self::Sender(route) => Some((route, &route.transport)),
            Self::Webhook(_) => None,
        }
    }
}

/// How a sender sends, as a channel needs it.
#[derive(Debug, Clone)]
pub struct SenderRoute {
    /// The sender.
    pub sender: SenderId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Grows with every change of the sender.
    pub revision: i32,
    /// How it sends.
    pub transport: Transport,
    /// The sealed password.
    pub secret: Option<String>,
    /// The key by which its emails are signed, where they are.
    pub signing_key: Option<SigningKey>,
}

/// A sender to look at.
#[derive(Debug, Clone)]
pub struct SenderProbe {
    /// How it sends.
    pub route: SenderRoute,
    /// The address or number that it sends from.
    pub address: String,
}

/// Something that a carrier does, in bounded time.
pub type Doing<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Opens the sealed password of a sender, or makes the secret that a workspace's requests are signed
/// with. A function, so that channels know nothing of keys.
pub type OpenSecret = dyn Fn(&Route) -> Result<Option<String>, String> + Send + Sync;

/// One kind of transport.
pub(super) trait Carrier: Send + Sync {
    /// Sends a message; `None` where the route is of another kind. Every await inside ends by itself
    /// in bounded time; once `stopping` is cancelled, a message of which nothing has left is not
    /// begun any more.
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: &'a Prepared,
        stopping: &'a CancellationToken,
    ) -> Option<Doing<'a, Sent>>;

    /// Tries all that comes before a message, sends none, and adds what it finds up to the first
    /// failure, as soon as it is found; `None` where the route is of another kind.
    fn check<'a>(
        &'a self,
        probe: &'a SenderProbe,
        found: &'a mut Vec<Finding>,
    ) -> Option<Doing<'a, ()>>;

    /// Ends what is open and idle.
    fn close(&self) -> Doing<'_, ()> {
        Box::pin(ready(()))
    }
}

/// Opens secrets for carriers.
#[derive(Clone)]
pub(super) struct Opener(Arc<OpenSecret>);

impl Opener {
    pub fn new(open: Box<OpenSecret>) -> Self {
        Self(open.into())
    }

    /// The secret of a route, empty where it has none.
    ///
    /// # Errors
    /// The outcome of a message at `phase`, where the secret cannot be opened, as when the server's
    /// key was changed: it is tried again.
    pub fn open(&self, route: &Route, phase: Phase) -> Result<Secret, Outcome> {
        match (self.0)(route) {
            Ok(secret) => Ok(Secret::new(secret.unwrap_or_default())),
            Err(reason) => Err(unopened(phase, reason)),
        }
    }
}

/// What becomes of a message whose secret cannot be read.
pub(super) fn unopened(phase: Phase, reason: String) -> Outcome {
    Outcome::Retry {
        phase,
        code: None,
        response: Some(reason),
        reason: RetryReason::ConnectionFailed,
        scope: Scope::Sender,
    }
}

/// A sender's transport cannot carry this kind of message, as when it was changed behind our back.
pub(super) fn misfit() -> Outcome {
    Outcome::Rejected {
        phase: Phase::Connect,
        code: 0,
        enhanced: None,
        response: "The sender's transport is for another channel: correct the sender.".into(),
        scope: Scope::Sender,
    }
}
