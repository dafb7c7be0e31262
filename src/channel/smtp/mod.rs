//! Sends messages by SMTP (RFC 5321) over pooled connections.
//!
//! Owns the sockets, the protocol and the verdict: every send ends as [`Outcome`] says, in bounded
//! time. Never composes, never decides about retries, never logs addresses or content.
//!
//! The commands, the logins and the reading of EHLO are lettre's; the connection is our own, for
//! four reasons. lettre's connection does not tell which step failed, so a connection cut before
//! the message looks like one cut after its final dot, and only the first may be repeated. Its
//! time-out covers the connect alone. It has no PIPELINING (RFC 2920), which saves two of three
//! round trips. And what a server sends in the clear after its answer to STARTTLS would stay in
//! lettre's buffer and pass for an answer that came encrypted.
//!
//! - `wire`: a socket, its buffer, replies, time-outs.
//! - `session`: opening a connection, and closing it.
//! - `login`: who logs in, and by what.
//! - `transaction`: one message over it, and its verdict.
//! - `check`: all that comes before a recipient, to see whether a sender could send.
//! - `carrier`: a pool for each sender.
//! - `pool`: how many connections there are, and which one a message takes.
//!
//! [`Outcome`]: crate::domain::outcome::Outcome

use std::time::Duration;

use super::oauth::TokenSource;
use crate::domain::network::Reach;

mod carrier;
mod check;
mod login;
mod pool;
mod session;
mod transaction;
mod wire;

pub use super::secret::Secret;
pub(super) use carrier::SmtpCarrier;
pub use pool::SmtpPool;
pub(super) use wire::{Broken, OUT_OF_REACH, reach_host};

/// How a connection is protected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Security {
    /// Not at all. A password, if there is one, travels in the clear: only for a server on the same
    /// machine or in a trusted network.
    None,
    /// Begins in the clear and must become TLS (RFC 3207): a server that does not offer it gets
    /// no message and no password.
    StartTls,
    /// TLS from the first byte (RFC 8314).
    Tls,
}

/// How long each step may take. The defaults are those of RFC 5321 §4.5.3.2, which are minimums:
/// with a shorter `dot`, a slow server that takes a message leaves it ambiguous.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SmtpTimeouts {
    /// Name lookup and TCP; also a TLS handshake.
    pub connect: Duration,
    /// The first words of the server.
    pub greeting: Duration,
    /// EHLO, STARTTLS and AUTH, each.
    pub hello: Duration,
    /// MAIL FROM, and RSET.
    pub mail: Duration,
    /// RCPT TO.
    pub rcpt: Duration,
    /// DATA, until 354.
    pub data: Duration,
    /// Each 64 KiB of the message.
    pub block: Duration,
    /// The answer to the final dot.
    pub dot: Duration,
}

impl Default for SmtpTimeouts {
    fn default() -> Self {
        let minutes = |minutes: u64| Duration::from_secs(minutes * 60);
        Self {
            connect: Duration::from_secs(30),
            greeting: minutes(5),
            hello: minutes(5),
            mail: minutes(5),
            rcpt: minutes(5),
            data: minutes(2),
            block: minutes(3),
            dot: minutes(10),
        }
    }
}

impl SmtpTimeouts {
    /// The same time for every step.
    pub const fn all(each: Duration) -> Self {
        Self {
            connect: each,
            greeting: each,
            hello: each,
            mail: each,
            rcpt: each,
            data: each,
            block: each,
            dot: each,
        }
    }

    /// How long `bytes` of a message may take.
    fn body(&self, bytes: usize) -> Duration {
        let blocks = u32::try_from(bytes / BLOCK_BYTES + 1).unwrap_or(u32::MAX);
        self.block.saturating_mul(blocks)
    }
}

const BLOCK_BYTES: usize = 64 * 1024;

/// Who logs in, and by what.
#[derive(Clone, Debug)]
pub struct SmtpLogin {
    /// Who.
    pub username: String,
    /// By what.
    pub proof: Proof,
}

/// By what somebody logs in.
#[derive(Clone, Debug)]
pub enum Proof {
    /// A password.
    Password(Secret),
    /// An access token of OAuth 2 (SASL XOAUTH2), which is asked for anew for each connection.
    Token(TokenSource),
}

/// A server and how to use it.
#[derive(Clone, Debug)]
pub struct SmtpConfig {
    /// Name or address of the server; certificates are checked against it. They are always
    /// checked: there is no way to accept a wrong one.
    pub host: String,
    /// Its port: 587 with STARTTLS, 465 with TLS, 25 without either.
    pub port: u16,
    /// Where the server may be; elsewhere it is not connected to.
    pub reach: Reach,
    /// How the connection is protected.
    pub security: Security,
    /// Who logs in, and by what; nobody without it.
    pub login: Option<SmtpLogin>,
    /// How we introduce ourselves: a domain name of ours (RFC 5321 §4.1.1.1).
    pub hello_name: String,
    /// How long each step may take.
    pub timeouts: SmtpTimeouts,
    /// How many connections there are at once; further messages wait in line.
    pub max_connections: usize,
    /// A connection is replaced after this many messages: servers dislike endless ones.
    pub max_messages_per_connection: u32,
    /// A connection that was not used for this long (to one and a half times as long) is closed.
    pub idle_timeout: Duration,
    /// Certificates (DER) trusted besides the system's, such as a company's own authority.
    pub extra_roots: Vec<Vec<u8>>,
}

impl SmtpConfig {
    /// A server without login, with everything else as it should be by default.
    pub fn new(host: impl Into<String>, port: u16, security: Security) -> Self {
        Self {
            host: host.into(),
            port,
            reach: Reach::Anywhere,
            security,
            login: None,
            hello_name: "localhost".to_owned(),
            timeouts: SmtpTimeouts::default(),
            max_connections: 8,
            max_messages_per_connection: 100,
            idle_timeout: Duration::from_secs(60),
            extra_roots: Vec::new(),
        }
    }
}
