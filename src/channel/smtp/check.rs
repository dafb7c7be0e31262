//! Looking whether a sender could send: everything that comes before a recipient, on a connection of
//! its own.

use std::net::IpAddr;
use std::time::Duration;

use lettre::transport::smtp::commands::{Mail, Rset};
use lettre::transport::smtp::extension::{Extension, MailParameter};

use super::session::{Session, unwelcome};
use super::{Security, SmtpConfig, SmtpTimeouts};
use crate::channel::mime::envelope_address;
use crate::domain::outcome::{ErrorCode, Outcome, Phase};
use crate::domain::sender::check::{CheckKind, Finding};

/// Somebody waits for the answer, so that a server gets less time than for a message.
const STEP_WITHIN: Duration = Duration::from_secs(8);
/// Some servers make whoever comes wait for their first words, so that the impatient give up.
const GREETING_WITHIN: Duration = Duration::from_secs(20);

/// Connects, logs in and names the sender; adds what was found, up to the first failure.
pub(super) async fn check(mut config: SmtpConfig, address: &str, found: &mut Vec<Finding>) {
    config.timeouts = SmtpTimeouts {
        greeting: GREETING_WITHIN,
        ..SmtpTimeouts::all(STEP_WITHIN)
    };
    let mut session = match Session::open(&config).await {
        Ok(session) => session,
        Err(outcome) => return found.extend(unopened(&config, &outcome)),
    };
    found.push(connected(&config));
    if let Some(login) = &config.login {
        let message = format!("The server took the login of {}.", login.username);
        found.push(Finding::passed(CheckKind::Login, message));
    }
    found.extend(named(&mut session, address, config.timeouts.mail).await);
    session.quit().await;
}

/// A failure at the login says that the connection is well.
fn unopened(config: &SmtpConfig, outcome: &Outcome) -> Vec<Finding> {
    let failed = Finding::of(outcome);
    let reached = failed
        .as_ref()
        .is_some_and(|finding| finding.kind == CheckKind::Login);
    let reached = reached.then(|| connected(config));
    reached.into_iter().chain(failed).collect()
}

fn connected(config: &SmtpConfig) -> Finding {
    let SmtpConfig { host, port, .. } = config;
    let how = match config.security {
        Security::Tls => "encrypted from the first byte (TLS)",
        Security::StartTls => "encrypted by STARTTLS",
        Security::None if is_this_machine(host) => "unencrypted, on this machine",
        Security::None => {
            let message = format!(
                "{host}:{port} answers, but the connection is not encrypted: choose STARTTLS or \
                 TLS, unless the server is in a network that you trust."
            );
            return Finding::warned(CheckKind::Connection, message);
        }
    };
    let message = format!("{host}:{port} answers; the connection is {how}.");
    Finding::passed(CheckKind::Connection, message)
}

fn is_this_machine(host: &str) -> bool {
    let address = host.trim_matches(['[', ']']).parse::<IpAddr>();
    host.eq_ignore_ascii_case("localhost") || address.is_ok_and(|address| address.is_loopback())
}

/// Names the sender (MAIL FROM) and takes it back (RSET): many servers refuse here an address that is
/// not the login's own, though some only with the message.
async fn named(session: &mut Session, address: &str, limit: Duration) -> Option<Finding> {
    let Some(from) = envelope_address(address) else {
        let message = format!("{address} is no email address: give the sender another.");
        return Some(Finding::failed(
            CheckKind::Address,
            ErrorCode::InvalidEmail,
            message,
        ));
    };
    let mut parameters = Vec::new();
    if !AsRef::<str>::as_ref(&from).is_ascii() {
        if !session
            .features
            .info
            .supports_feature(Extension::SmtpUtfEight)
        {
            let message = format!(
                "The server cannot send from addresses beyond ASCII (SMTPUTF8), such as \
                 {address}: use another address or another server."
            );
            return Some(Finding::failed(
                CheckKind::Address,
                ErrorCode::Rejected,
                message,
            ));
        }
        parameters.push(MailParameter::SmtpUtfEight);
    }
    let mail = Mail::new(Some(from), parameters).to_string();
    let outcome = match session.ask(Phase::Mail, &mail, limit).await {
        Ok(reply) if reply.is_done() => {
            // What is taken back badly is ended by the goodbye that follows.
            if let Err(outcome) = session.ask(Phase::Mail, &Rset.to_string(), limit).await {
                tracing::debug!(?outcome, "a server did not take back a checked sender");
            }
            let message = format!("The server takes {address} as the sender.");
            return Some(Finding::passed(CheckKind::Address, message));
        }
        Ok(reply) => unwelcome(Phase::Mail, &reply),
        Err(outcome) => outcome,
    };
    Finding::of(&outcome)
}
