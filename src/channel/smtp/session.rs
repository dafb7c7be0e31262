//! Opening a connection and closing it: greeting, EHLO, TLS, login, goodbye.
//!
//! Owns what comes before the first message and after the last one, and what a failure there means. The
//! login is [`super::login`]'s, messages are sent by [`super::transaction`].

use std::fmt::Write as _;
use std::sync::Arc;

use lettre::transport::smtp::commands::{Ehlo, Quit, Starttls};
use lettre::transport::smtp::extension::{ClientId, Extension, ServerInfo};
use lettre::transport::smtp::response::Response;
use rustls::ClientConfig;
use tokio::time::Duration;

use super::login::LoggingIn;
use super::wire::{Broken, OUT_OF_REACH, Reply, Wire};
use super::{Security, SmtpConfig};
use crate::channel::trust::trust;
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};

/// How long we wait for a server's goodbye; nothing depends on it.
const QUIT_LIMIT: Duration = Duration::from_secs(1);

/// What the server can do.
#[derive(Debug, Default)]
pub(super) struct Features {
    /// What lettre knows of.
    pub info: ServerInfo,
    /// Commands may be sent without waiting for the reply to the one before (RFC 2920).
    pub pipelining: bool,
}

/// A connection on which messages can be sent.
#[derive(Debug)]
pub(super) struct Session {
    pub(super) wire: Wire,
    pub(super) features: Features,
    pub(super) messages: u32,
    /// A transaction was begun and not ended: RSET comes before the next one.
    pub(super) open_transaction: bool,
    /// Room for a message on its way out, kept for the next one.
    pub(super) out: Vec<u8>,
}

impl Session {
    /// Connects, and does all that comes before a message, with this login.
    ///
    /// # Errors
    /// The outcome of any message that would have used the connection.
    pub(super) async fn open_as(
        config: &SmtpConfig,
        login: Option<LoggingIn<'_>>,
    ) -> Result<Self, Outcome> {
        let limits = &config.timeouts;
        let failed =
            |phase, broken: &Broken| Outcome::broken(phase, broken.reason(), broken.describe());
        let tls = match config.security {
            Security::None => None,
            Security::StartTls | Security::Tls => Some(
                trust(&config.extra_roots)
                    .await
                    .map_err(|problem| failed(Phase::Connect, &Broken::Tls(problem)))?,
            ),
        };
        let connecting = Wire::connect(&config.host, config.port, &config.reach, limits.connect);
        let mut wire = connecting.await.map_err(|broken| match broken {
            Broken::OutOfReach => out_of_reach(),
            broken => failed(Phase::Connect, &broken),
        })?;
        if let (Security::Tls, Some(tls)) = (config.security, &tls) {
            wire = wire
                .encrypt(&config.host, Arc::clone(tls), limits.connect)
                .await
                .map_err(|broken| failed(Phase::Connect, &broken))?;
        }
        let greeting = wire
            .reply(limits.greeting)
            .await
            .map_err(|broken| failed(Phase::Greeting, &broken))?;
        if greeting.code != 220 {
            return Err(unwelcome(Phase::Greeting, &greeting));
        }
        let mut session = Self {
            wire,
            features: Features::default(),
            messages: 0,
            open_transaction: false,
            out: Vec::new(),
        };
        session.hello(config).await?;
        if let (Security::StartTls, Some(tls)) = (config.security, tls) {
            session = session.start_tls(config, tls).await?;
            session.hello(config).await?;
        }
        if let Some(login) = login {
            session.log_in(config, login).await?;
        }
        Ok(session)
    }

    /// Asks the server what it can do; an old one is greeted the old way (RFC 5321 §3.2).
    async fn hello(&mut self, config: &SmtpConfig) -> Result<(), Outcome> {
        let name: String = config
            .hello_name
            .chars()
            .filter(char::is_ascii_graphic)
            .collect();
        let limit = config.timeouts.hello;
        let ehlo = Ehlo::new(ClientId::Domain(name.clone())).to_string();
        let mut reply = self.ask(Phase::Hello, &ehlo, limit).await?;
        if reply.is_done() {
            // The names of features may be in any case (RFC 5321 §2.4); lettre knows one.
            reply
                .lines
                .iter_mut()
                .for_each(|line| line.make_ascii_uppercase());
            self.features = Features {
                info: response(&reply)
                    .and_then(|reply| ServerInfo::from_response(&reply).ok())
                    .unwrap_or_default(),
                pipelining: reply
                    .lines
                    .iter()
                    .skip(1)
                    .any(|line| line.trim() == "PIPELINING"),
            };
            return Ok(());
        }
        if !matches!(reply.code, 500..=504) {
            return Err(unwelcome(Phase::Hello, &reply));
        }
        let reply = self
            .ask(Phase::Hello, &format!("HELO {name}\r\n"), limit)
            .await?;
        self.features = Features::default();
        if reply.is_done() {
            Ok(())
        } else {
            Err(unwelcome(Phase::Hello, &reply))
        }
    }

    async fn start_tls(
        mut self,
        config: &SmtpConfig,
        tls: Arc<ClientConfig>,
    ) -> Result<Self, Outcome> {
        if !self.features.info.supports_feature(Extension::StartTls) {
            // Temporary: an attacker on the way can hide the offer, and so can a bad day.
            return Err(Outcome::broken(
                Phase::StartTls,
                RetryReason::ConnectionFailed,
                "the server does not offer STARTTLS, which the sender requires: correct its port \
                 or its security",
            ));
        }
        let limit = config.timeouts.hello;
        let reply = self
            .ask(Phase::StartTls, &Starttls.to_string(), limit)
            .await?;
        if reply.code != 220 {
            return Err(unwelcome(Phase::StartTls, &reply));
        }
        let wire = self
            .wire
            .encrypt(&config.host, tls, config.timeouts.connect)
            .await;
        let wire = wire.map_err(|broken| {
            Outcome::broken(Phase::StartTls, broken.reason(), broken.describe())
        })?;
        Ok(Self { wire, ..self })
    }

    /// One command and its reply, before any message.
    pub(super) async fn ask(
        &mut self,
        phase: Phase,
        command: &str,
        limit: Duration,
    ) -> Result<Reply, Outcome> {
        let failed = |broken: Broken| Outcome::broken(phase, broken.reason(), broken.describe());
        self.wire
            .write(command.as_bytes(), limit)
            .await
            .map_err(failed)?;
        self.wire.reply(limit).await.map_err(failed)
    }

    /// How many messages were tried on this connection.
    pub const fn messages(&self) -> u32 {
        self.messages
    }

    /// Says goodbye.
    pub async fn quit(mut self) {
        let goodbye = async {
            self.wire
                .write(Quit.to_string().as_bytes(), QUIT_LIMIT)
                .await?;
            self.wire.reply(QUIT_LIMIT).await
        };
        if let Err(broken) = goodbye.await {
            tracing::trace!(reason = %broken.describe(), "a server did not say goodbye");
        }
    }
}

/// The server is not to be connected to, however often it is tried: the sender is to be corrected.
fn out_of_reach() -> Outcome {
    Outcome::Rejected {
        phase: Phase::Connect,
        code: 0,
        enhanced: None,
        response: OUT_OF_REACH.into(),
        scope: Scope::Sender,
    }
}

/// A reply before any message that is not the wanted one.
pub(super) fn unwelcome(phase: Phase, reply: &Reply) -> Outcome {
    if reply.is_refusal() {
        Outcome::refused(phase, reply.code, &reply.text())
    } else {
        misplaced(phase, reply)
    }
}

/// A reply as lettre reads it; `None` where it cannot.
pub(super) fn response(reply: &Reply) -> Option<Response> {
    let mut raw = String::new();
    let last = reply.lines.len().checked_sub(1)?;
    for (at, line) in reply.lines.iter().enumerate() {
        let separator = if at == last { ' ' } else { '-' };
        write!(raw, "{}{separator}{line}\r\n", reply.code).ok()?;
    }
    raw.parse().ok()
}

/// A reply that does not fit its command, such as 354 to MAIL.
pub(super) fn misplaced(phase: Phase, reply: &Reply) -> Outcome {
    let what = format!("the server answered {} out of turn", reply.code);
    Outcome::broken(phase, RetryReason::Protocol, what)
}
