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
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};
use crate::domain::sender::{SmtpSecurity, SmtpTransport, Transport};

/// How a sender sends, as a channel needs it.
#[derive(Debug, Clone)]
pub struct Route {
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

/// A message ready to travel.
pub type Prepared = Composed;

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
    fn prepare(&self, email: &Email) -> Result<Prepared, Box<Outcome>> {
        compose(email).map_err(|error| Box::new(error.outcome()))
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

/// Opens sealed passwords. A function, so that channels know nothing of keys.
pub type OpenSecret = dyn Fn(&Route) -> Result<Option<String>, String> + Send + Sync;

/// The transports that senders have.
pub struct Transports {
    open_secret: Box<OpenSecret>,
    hello_name: String,
    connections_max: usize,
    pools: Mutex<HashMap<SenderId, (i32, Arc<SmtpPool>)>>,
}

impl Transports {
    /// Transports that introduce themselves as `hello_name` (RFC 5321 §4.1.1.1) and open at most
    /// `connections_max` connections for a sender.
    pub fn new(hello_name: String, connections_max: usize, open_secret: Box<OpenSecret>) -> Self {
        Self {
            open_secret,
            hello_name,
            connections_max,
            pools: Mutex::default(),
        }
    }

    /// The sender's pool, made anew when the sender has changed.
    fn pool(&self, route: &Route, smtp: &SmtpTransport) -> Result<Arc<SmtpPool>, String> {
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
            config.password = (self.open_secret)(route)?.map(Secret::new);
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

impl Channel for Transports {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: Prepared,
        stopping: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            match &route.transport {
                Transport::Outbox { .. } => keep(message),
                Transport::Twilio(_) => Sent {
                    outcome: Outcome::Rejected {
                        phase: Phase::Api,
                        code: 0,
                        enhanced: None,
                        response: "Text messages are not sent yet.".into(),
                        scope: Scope::Content,
                    },
                    kept: None,
                },
                Transport::Smtp(smtp) => {
                    let outcome = match self.pool(route, smtp) {
                        Ok(pool) => pool.send_unless(stopping, &message).await,
                        Err(reason) => Outcome::Retry {
                            phase: Phase::Auth,
                            code: None,
                            response: Some(reason),
                            reason: RetryReason::ConnectionFailed,
                            scope: Scope::Sender,
                        },
                    };
                    Sent {
                        outcome,
                        kept: None,
                    }
                }
            }
        })
    }
}

/// An outbox takes every message and sends none.
fn keep(message: Prepared) -> Sent {
    let recipient = message.envelope_to.to_string();
    let content = String::from_utf8_lossy(&message.bytes).into_owned();
    let outcome = Outcome::Sent {
        response: "kept in the outbox".into(),
    };
    Sent {
        outcome,
        kept: Some(Kept { recipient, content }),
    }
}
