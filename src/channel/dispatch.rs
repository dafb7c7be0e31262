//! One way to send for every kind of transport.
//!
//! The engine knows only [`Channel`]; which transport a sender has is decided here. Connections
//! are pooled for each sender and made anew when the sender changes.

use std::collections::HashMap;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::sync::CancellationToken;

use super::email::Email;
use super::mime::{Composed, compose};
use super::smtp::{Secret, Security, SmtpConfig, SmtpPool};
use super::text::TextMessage;
use super::twilio::{Twilio, TwilioAccount};
use super::web::{Web, WebConfig};
use super::webhook::{Webhook, WebhookRequest, WebhookSecret};
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};
use crate::domain::sender::{SmtpSecurity, SmtpTransport, Transport};

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
}

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

/// A future of a channel.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Sent> + Send + 'a>>;

/// Sends messages.
pub trait Channel: Send + Sync {
    /// Makes a message ready, so that nothing slow is left to do between the last look and the
    /// wire.
    ///
    /// # Errors
    /// The outcome, where the message cannot be made: it certainly did not leave.
    fn prepare(&self, letter: &Letter) -> Result<Prepared, Box<Outcome>> {
        match letter {
            Letter::Email(email) => compose(email)
                .map(Prepared::Email)
                .map_err(|error| Box::new(error.outcome())),
            Letter::Text(text) => match text.check() {
                Ok(()) => Ok(Prepared::Text(text.clone())),
                Err(error) => Err(Box::new(error.outcome())),
            },
            Letter::Webhook(request) => Ok(Prepared::Webhook(request.clone())),
        }
    }

    /// Sends a message. Every await inside ends by itself in bounded time; once `stopping` is
    /// cancelled, a message of which nothing has left is not begun any more.
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: Prepared,
        stopping: &'a CancellationToken,
    ) -> Sending<'a>;
}

/// Opens the sealed password of a sender, or makes the secret that a workspace's requests are signed
/// with. A function, so that channels know nothing of keys.
pub type OpenSecret = dyn Fn(&Route) -> Result<Option<String>, String> + Send + Sync;

/// The transports that senders have.
pub struct Transports {
    open_secret: Box<OpenSecret>,
    hello_name: String,
    connections_max: usize,
    pools: Mutex<HashMap<SenderId, (i32, Arc<SmtpPool>)>>,
    twilio: Twilio,
    webhook: Webhook,
}

impl Transports {
    /// Transports that introduce themselves as `hello_name` (RFC 5321 §4.1.1.1) and open at most
    /// `connections_max` connections for a sender; requests keep to `web`.
    pub fn new(
        hello_name: String,
        connections_max: usize,
        web: WebConfig,
        open_secret: Box<OpenSecret>,
    ) -> Self {
        let web = Web::new(web);
        Self {
            twilio: Twilio::new(web.clone()),
            webhook: Webhook::new(web),
            open_secret,
            hello_name,
            connections_max,
            pools: Mutex::default(),
        }
    }

    /// The sender's pool, made anew when the sender has changed.
    fn pool(&self, route: &SenderRoute, smtp: &SmtpTransport) -> Result<Arc<SmtpPool>, String> {
        let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((revision, pool)) = pools.get(&route.sender)
            && *revision == route.revision
        {
            return Ok(Arc::clone(pool));
        }
        let security = match smtp.security {
            SmtpSecurity::None => Security::None,
            SmtpSecurity::Starttls => Security::StartTls,
            SmtpSecurity::Tls => Security::Tls,
        };
        let mut config = SmtpConfig::new(smtp.host.clone(), smtp.port, security);
        config.hello_name = self.hello_name.clone();
        config.max_connections = self.connections_max;
        if let Some(username) = &smtp.username {
            config.username = Some(username.clone());
            let opened = (self.open_secret)(&Route::Sender(route.clone()))?;
            config.password = opened.map(Secret::new);
        }
        let pool = Arc::new(SmtpPool::new(config));
        // What still uses the old pool keeps it until it is done.
        pools.insert(route.sender, (route.revision, Arc::clone(&pool)));
        Ok(pool)
    }

    /// Says goodbye on every idle connection.
    pub async fn close(&self) {
        let pools: Vec<Arc<SmtpPool>> = {
            let mut pools = self.pools.lock().unwrap_or_else(PoisonError::into_inner);
            pools.drain().map(|(_, (_, pool))| pool).collect()
        };
        for pool in pools {
            pool.close().await;
        }
    }
}

impl Transports {
    async fn send_through(
        &self,
        route: &SenderRoute,
        message: Prepared,
        stopping: &CancellationToken,
    ) -> Sent {
        let outcome = match (&route.transport, message) {
            (Transport::Outbox { .. }, message) => return keep(message),
            (Transport::Smtp(smtp), Prepared::Email(email)) => match self.pool(route, smtp) {
                Ok(pool) => pool.send_unless(stopping, &email).await,
                Err(reason) => unopened(Phase::Auth, reason),
            },
            (Transport::Twilio(twilio), Prepared::Text(text)) => {
                match (self.open_secret)(&Route::Sender(route.clone())) {
                    Ok(token) => {
                        let account = TwilioAccount {
                            base_url: twilio.base_url.clone(),
                            account_sid: twilio.account_sid.clone(),
                            auth_token: Secret::new(token.unwrap_or_default()),
                        };
                        self.twilio.send(&account, &text).await
                    }
                    Err(reason) => unopened(Phase::Api, reason),
                }
            }
            (Transport::Smtp(_) | Transport::Twilio(_), _) => misfit(),
        };
        outcome.into()
    }

    async fn call(&self, workspace: WorkspaceId, request: &WebhookRequest) -> Outcome {
        let secret = (self.open_secret)(&Route::Webhook(workspace));
        let secret = secret.and_then(|secret| {
            WebhookSecret::parse(&secret.unwrap_or_default()).map_err(|error| error.to_string())
        });
        match secret {
            Ok(secret) => self.webhook.send(request, &secret).await,
            Err(reason) => unopened(Phase::Webhook, reason),
        }
    }
}

impl Channel for Transports {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: Prepared,
        stopping: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            match (route, message) {
                (Route::Sender(route), message) => {
                    self.send_through(route, message, stopping).await
                }
                (Route::Webhook(workspace), Prepared::Webhook(request)) => {
                    self.call(*workspace, &request).await.into()
                }
                (Route::Webhook(_), Prepared::Email(_) | Prepared::Text(_)) => misfit().into(),
            }
        })
    }
}

impl From<Outcome> for Sent {
    fn from(outcome: Outcome) -> Self {
        Self {
            outcome,
            kept: None,
        }
    }
}

/// A secret cannot be opened, as when the server's key was changed: it is tried again.
fn unopened(phase: Phase, reason: String) -> Outcome {
    Outcome::Retry {
        phase,
        code: None,
        response: Some(reason),
        reason: RetryReason::ConnectionFailed,
        scope: Scope::Sender,
    }
}

/// A sender's transport cannot carry this kind of message, as when it was changed behind our back.
fn misfit() -> Outcome {
    Outcome::Rejected {
        phase: Phase::Connect,
        code: 0,
        enhanced: None,
        response: "The sender's transport is for another channel: correct the sender.".into(),
        scope: Scope::Sender,
    }
}

/// An outbox takes every message and sends none.
fn keep(message: Prepared) -> Sent {
    let (recipient, content) = (message.recipient(), message.content());
    let outcome = Outcome::Sent {
        response: "kept in the outbox".into(),
    };
    Sent {
        outcome,
        kept: Some(Kept { recipient, content }),
    }
}
