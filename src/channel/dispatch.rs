//! One way to send for every kind of transport.
//!
//! The engine knows only [`Channel`]; which kind carries a message is found by asking each.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use super::carrier::{Carrier, Opener, misfit};
pub use super::carrier::{Doing, OpenSecret, Route, SenderProbe, SenderRoute};
use super::dkim::{OpenKey, Signer, Signers, SigningKey};
use super::dns::Dns;
pub use super::letter::{Kept, Letter, Prepared, Sent};
use super::oauth::AccessTokens;
use super::outbox::Outbox;
use super::smtp::{OUT_OF_REACH, SmtpCarrier};
use super::twilio::TwilioCarrier;
use super::web::{Web, WebConfig};
use super::webhook::{Webhook, WebhookCarrier};
use crate::domain::id::WorkspaceId;
use crate::domain::network::Reach;
use crate::domain::outcome::{ErrorCode, Outcome};
use crate::domain::sender::check::{CheckKind, Finding};
use crate::domain::tracking::BaseUrl;

/// Whoever waits for a check is answered within this.
const CHECK_WITHIN: Duration = Duration::from_secs(25);

/// A future of a channel.
pub type Sending<'a> = Doing<'a, Sent>;

/// Sends messages.
pub trait Channel: Send + Sync {
    /// Makes a message ready to leave by this route, so that nothing slow is left to do between the
    /// last look and the wire.
    ///
    /// # Errors
    /// The outcome, where the message cannot be made: it certainly did not leave.
    fn prepare(&self, _route: &Route, letter: &Letter) -> Result<Prepared, Box<Outcome>> {
        letter.prepare()
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

/// Every kind of transport that there is.
pub struct Transports {
    carriers: Vec<Box<dyn Carrier>>,
    signers: Signers,
    smtp_reach: Reach,
    webhook: Webhook,
    dns: Dns,
}

impl fmt::Debug for Transports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Transports").finish_non_exhaustive()
    }
}

/// How transports work on this machine.
#[derive(Debug, Clone)]
pub struct TransportConfig {
    /// How we introduce ourselves to mail servers: a domain name of ours (RFC 5321 §4.1.1.1).
    pub hello_name: String,
    /// The most connections for a sender.
    pub connections_max: usize,
    /// Where mail servers may be.
    pub smtp_reach: Reach,
    /// Where requests may go, and for how long.
    pub web: WebConfig,
    /// The address by which providers reach this server; `None`, by none.
    pub public_url: Option<BaseUrl>,
    /// The name servers that are asked; empty, those of the machine.
    pub name_servers: Vec<SocketAddr>,
}

impl Default for TransportConfig {
    fn default() -> Self {
        Self {
            hello_name: "localhost".to_owned(),
            connections_max: 8,
            smtp_reach: Reach::Anywhere,
            web: WebConfig::default(),
            public_url: None,
            name_servers: Vec::new(),
        }
    }
}

impl Transports {
    /// Transports that work so, learn secrets by `open_secret`, keys by `open_key` and access tokens of
    /// grants by `tokens`.
    pub fn new(
        config: TransportConfig,
        open_secret: Box<OpenSecret>,
        open_key: Box<OpenKey>,
        tokens: Arc<dyn AccessTokens>,
    ) -> Self {
        let TransportConfig {
            hello_name,
            connections_max,
            smtp_reach,
            web,
            public_url,
            name_servers,
        } = config;
        let web = Web::new(web);
        let opener = Opener::new(open_secret);
        let carriers: Vec<Box<dyn Carrier>> = vec![
            Box::new(Outbox),
            Box::new(SmtpCarrier::new(
                hello_name.clone(),
                connections_max,
                smtp_reach.clone(),
                (opener.clone(), tokens),
            )),
            Box::new(TwilioCarrier::new(web.clone(), opener.clone(), public_url)),
            Box::new(WebhookCarrier::new(web.clone(), opener)),
        ];
        Self {
            carriers,
            signers: Signers::new(open_key),
            smtp_reach,
            webhook: Webhook::new(web),
            dns: Dns::new(hello_name, name_servers),
        }
    }

    /// Why a mail server at this host, as it is written, will never be connected to; `None` where
    /// it may be, which for a name only the connection tells.
    pub fn refuses_mail_server(&self, host: &str) -> Option<&'static str> {
        (!self.smtp_reach.may_allow(host)).then_some(OUT_OF_REACH)
    }

    /// Where mail servers may be.
    pub fn mail_reach(&self) -> &Reach {
        &self.smtp_reach
    }

    /// What the DNS says of a domain.
    pub fn dns(&self) -> &Dns {
        &self.dns
    }

    /// Signs by this key.
    ///
    /// # Errors
    /// In words, where it cannot be used.
    pub fn signer(&self, workspace: WorkspaceId, key: &SigningKey) -> Result<Arc<Signer>, String> {
        self.signers.signer(workspace, key)
    }

    /// What calls the addresses of users.
    pub fn webhook(&self) -> &Webhook {
        &self.webhook
    }

    /// Looks whether a sender could send, without sending anything: what was found, in the order in
    /// which it was looked at, up to the first that failed. It ends within seconds.
    pub async fn check(&self, probe: &SenderProbe) -> Vec<Finding> {
        let mut found = Vec::new();
        let mut is_done = true;
        for carrier in &self.carriers {
            if let Some(checking) = carrier.check(probe, &mut found) {
                is_done = timeout(CHECK_WITHIN, checking).await.is_ok();
                break;
            }
        }
        if !is_done {
            found.push(unfinished(found.last().map(|finding| finding.kind)));
        }
        if found.is_empty() {
            found.extend(Finding::of(&misfit()));
        }
        found
    }

    /// Ends every connection that is idle.
    pub async fn close(&self) {
        for carrier in &self.carriers {
            carrier.close().await;
        }
    }
}

/// The time was over while what follows `last` was looked at.
fn unfinished(last: Option<CheckKind>) -> Finding {
    let kind = match last {
        None | Some(CheckKind::Grant) => CheckKind::Connection,
        Some(CheckKind::Connection) => CheckKind::Login,
        Some(_) => CheckKind::Address,
    };
    let message = format!(
        "The server did not answer within {} seconds: try again later, and check the host and the \
         port if it stays so.",
        CHECK_WITHIN.as_secs()
    );
    Finding::failed(kind, ErrorCode::Timeout, message)
}

impl Channel for Transports {
    fn prepare(&self, route: &Route, letter: &Letter) -> Result<Prepared, Box<Outcome>> {
        let mut prepared = letter.prepare()?;
        if let (Prepared::Email(email), Route::Sender(sender)) = (&mut prepared, route) {
            self.signers.sign(sender, email)?;
        }
        Ok(prepared)
    }

    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: Prepared,
        stopping: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            for carrier in &self.carriers {
                if let Some(sending) = carrier.send(route, &message, stopping) {
                    return sending.await;
                }
            }
            misfit().into()
        })
    }
}
