//! Logging in: by a password (AUTH PLAIN, AUTH LOGIN), or by an access token (AUTH XOAUTH2).
//!
//! Owns by what a connection is opened, and what is done where a server does not take it. Never keeps an
//! access token: it is asked for before each connection, for it ends within the hour.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use lettre::transport::smtp::authentication::{Credentials, Mechanism};
use lettre::transport::smtp::commands::Auth;

use super::session::{Session, response, unwelcome};
use super::{Proof, Secret, SmtpConfig};
use crate::domain::outcome::{Outcome, Phase, RetryReason, Scope};

/// The most that a server may ask during one login.
const CHALLENGES_MAX: usize = 3;
/// The longest command, in bytes, with its end (RFC 5321 §4.5.3.1.4).
const COMMAND_BYTES_MAX: usize = 512;

/// A login of which all is known.
#[derive(Clone, Copy)]
pub(super) enum LoggingIn<'a> {
    /// By a password.
    Password(&'a str, &'a Secret),
    /// By an access token.
    Token(&'a str, &'a Secret),
}

impl Session {
    /// Connects, and does all that comes before a message. An access token that the server does not take is
    /// replaced once: it may have been taken back before its end.
    ///
    /// # Errors
    /// The outcome of any message that would have used the connection.
    pub async fn open(config: &SmtpConfig) -> Result<Self, Outcome> {
        let Some(login) = &config.login else {
            return Self::open_as(config, None).await;
        };
        let username = login.username.as_str();
        let source = match &login.proof {
            Proof::Password(password) => {
                let login = LoggingIn::Password(username, password);
                return Self::open_as(config, Some(login)).await;
            }
            Proof::Token(source) => source,
        };
        // Before the connection: servers do not like to wait.
        let token = source.token().await.map_err(|error| error.outcome())?;
        let opened = Self::open_as(config, Some(LoggingIn::Token(username, &token))).await;
        let refused = match opened {
            Err(outcome) if is_refused_login(&outcome) => outcome,
            opened => return opened,
        };
        match source.instead_of(&token).await {
            Ok(Some(token)) => {
                let login = LoggingIn::Token(username, &token);
                let opened = Self::open_as(config, Some(login)).await;
                opened.map_err(with_remedy)
            }
            Ok(None) => Err(refused),
            Err(error) => Err(error.outcome()),
        }
    }

    pub(super) async fn log_in(
        &mut self,
        config: &SmtpConfig,
        login: LoggingIn<'_>,
    ) -> Result<(), Outcome> {
        match login {
            LoggingIn::Password(username, password) => {
                self.log_in_by_password(config, username, password).await
            }
            LoggingIn::Token(username, token) => {
                self.log_in_by_token(config, username, token).await
            }
        }
    }

    async fn log_in_by_password(
        &mut self,
        config: &SmtpConfig,
        username: &str,
        password: &Secret,
    ) -> Result<(), Outcome> {
        let known = [Mechanism::Plain, Mechanism::Login];
        let Some(mechanism) = self.features.info.get_auth_mechanism(&known) else {
            return Err(not_offered(
                "the server offers no login by password (AUTH PLAIN or LOGIN)",
            ));
        };
        let credentials = Credentials::new(username.to_owned(), password.reveal().to_owned());
        let mut command = Auth::new(mechanism, credentials.clone(), None)
            .map_err(|_| trouble("the login cannot be written"))?;
        for _ in 0..=CHALLENGES_MAX {
            let reply = self
                .ask(Phase::Auth, &command.to_string(), config.timeouts.hello)
                .await?;
            if reply.is_done() {
                return Ok(());
            }
            if reply.code != 334 {
                return Err(unwelcome(Phase::Auth, &reply));
            }
            command = response(&reply)
                .and_then(|reply| {
                    Auth::new_from_response(mechanism, credentials.clone(), &reply).ok()
                })
                .ok_or_else(|| trouble("the server asked what the login does not know"))?;
        }
        Err(trouble("the server kept asking during the login"))
    }

    /// SASL XOAUTH2, as Google and Microsoft document it: everything is said at once. A server that does not
    /// take it says why in a challenge, and refuses when that is answered by an empty line.
    async fn log_in_by_token(
        &mut self,
        config: &SmtpConfig,
        username: &str,
        token: &Secret,
    ) -> Result<(), Outcome> {
        let offered = &self.features.info;
        if !offered.supports_auth_mechanism(Mechanism::Xoauth2) {
            return Err(not_offered(
                "the server offers no login by access token (AUTH XOAUTH2)",
            ));
        }
        let limit = config.timeouts.hello;
        let said = format!("user={username}\x01auth=Bearer {}\x01\x01", token.reveal());
        let said = STANDARD.encode(said);
        let at_once = format!("AUTH XOAUTH2 {said}\r\n");
        let mut reply = if at_once.len() <= COMMAND_BYTES_MAX {
            self.ask(Phase::Auth, &at_once, limit).await?
        } else {
            // A command that would be too long is answered after a question (RFC 4954 §4).
            let reply = self.ask(Phase::Auth, "AUTH XOAUTH2\r\n", limit).await?;
            if reply.code != 334 {
                return Err(unwelcome(Phase::Auth, &reply));
            }
            self.ask(Phase::Auth, &format!("{said}\r\n"), limit).await?
        };
        if reply.code == 334 {
            reply = self.ask(Phase::Auth, "\r\n", limit).await?;
            if reply.is_done() || reply.code == 334 {
                return Err(trouble("the server kept asking during the login"));
            }
        }
        if reply.is_done() {
            Ok(())
        } else {
            Err(unwelcome(Phase::Auth, &reply))
        }
    }
}

/// Whether a server took the login for a wrong one: it said so for good, and not that it has none (RFC 5321
/// §4.2.2).
fn is_refused_login(outcome: &Outcome) -> bool {
    matches!(outcome, Outcome::Rejected { phase: Phase::Auth, code, .. } if !matches!(code, 500..=504))
}

/// A token that was just made is refused for what it stands for.
fn with_remedy(outcome: Outcome) -> Outcome {
    if !is_refused_login(&outcome) {
        return outcome;
    }
    let Outcome::Rejected {
        phase,
        code,
        enhanced,
        response,
        scope,
    } = outcome
    else {
        return outcome;
    };
    let response = format!(
        "{} (the access token is fresh: see that the username is the mailbox's own, that the grant covers \
         SMTP, and that the provider lets the mailbox send by SMTP)",
        response.trim_end_matches('.')
    );
    Outcome::Rejected {
        phase,
        code,
        enhanced,
        response,
        scope,
    }
}

/// The login cannot succeed here, however often it is tried; it is the sender's trouble.
fn not_offered(what: &str) -> Outcome {
    Outcome::Rejected {
        phase: Phase::Auth,
        code: 504,
        enhanced: None,
        response: what.to_owned(),
        scope: Scope::Sender,
    }
}

fn trouble(what: &str) -> Outcome {
    Outcome::broken(Phase::Auth, RetryReason::Protocol, what)
}
