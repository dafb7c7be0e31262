//! A socket to an SMTP server: bytes out, replies in, each under a time-out.
//!
//! Owns the stream, plain or encrypted, and its buffer. Never knows what a reply is an answer to.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::domain::network::Reach;
use crate::domain::outcome::RetryReason;

/// A reply longer than this is no SMTP.
const REPLY_BYTES_MAX: usize = 64 * 1024;
/// How many of a server's network addresses are tried.
const ADDRESSES_MAX: usize = 4;
/// Why a server in a network that was not allowed is not connected to, and what helps.
pub(in crate::channel) const OUT_OF_REACH: &str = "The mail server is in a private or special \
    network, where this server may not connect to mail servers: give a public one, or let whoever \
    runs the server allow its network with --allow-smtp-networks.";

/// A reply of the server (RFC 5321 §4.2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Reply {
    /// The three digits.
    pub code: u16,
    /// The lines without their codes.
    pub lines: Vec<String>,
}

impl Reply {
    /// The lines in one.
    pub fn text(&self) -> String {
        self.lines.join(" ")
    }

    /// 2xx.
    pub const fn is_done(&self) -> bool {
        self.code / 100 == 2
    }

    /// 4xx or 5xx.
    pub const fn is_refusal(&self) -> bool {
        matches!(self.code / 100, 4 | 5)
    }
}

/// Why nothing more can be said or heard.
#[derive(Debug)]
pub(in crate::channel) enum Broken {
    /// No reply in time.
    Timeout(Duration),
    /// The connection is over.
    Closed(Option<io::Error>),
    /// What came is no reply.
    Malformed,
    /// TLS cannot be had.
    Tls(String),
    /// The server is where none may be connected to, and none was.
    OutOfReach,
}

impl Broken {
    /// The kind of trouble.
    pub const fn reason(&self) -> RetryReason {
        match self {
            Self::Timeout(_) => RetryReason::Timeout,
            Self::Closed(_) | Self::Tls(_) | Self::OutOfReach => RetryReason::ConnectionFailed,
            Self::Malformed => RetryReason::Protocol,
        }
    }

    /// The trouble in words that hold nothing of the message.
    pub fn describe(&self) -> String {
        match self {
            Self::Timeout(limit) => format!("no answer within {limit:?}"),
            Self::Closed(None) => "the server closed the connection".to_owned(),
            Self::Closed(Some(error)) => error.to_string(),
            Self::Malformed => "the server sent what is no SMTP reply".to_owned(),
            Self::Tls(problem) => format!("no encrypted connection: {problem}"),
            Self::OutOfReach => OUT_OF_REACH.to_owned(),
        }
    }
}

impl From<io::Error> for Broken {
    fn from(error: io::Error) -> Self {
        Self::Closed(Some(error))
    }
}

/// Connects by TCP to a host within `reach`, within `limit` in all. The address that is looked at is the
/// one that is connected to: a name that leads elsewhere a moment later (DNS rebinding) gains
/// nothing.
pub(in crate::channel) async fn reach_host(
    host: &str,
    port: u16,
    reach: &Reach,
    limit: Duration,
) -> Result<TcpStream, Broken> {
    let connecting = async {
        let mut last = None;
        let found: Vec<_> = tokio::net::lookup_host((host, port)).await?.collect();
        let is_forbidden = |address: &SocketAddr| !reach.allows(address.ip());
        if !found.is_empty() && found.iter().all(is_forbidden) {
            return Err(Broken::OutOfReach);
        }
        let within = found.into_iter().filter(|address| !is_forbidden(address));
        let addresses: Vec<_> = within.take(ADDRESSES_MAX).collect();
        // One dead address of several leaves time for the others.
        let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) => last = Some(Broken::from(error)),
                Err(_) => last = Some(Broken::Timeout(share)),
            }
        }
        Err(last.unwrap_or(Broken::Closed(None)))
    };
    let stream = timeout(limit, connecting)
        .await
        .map_err(|_| Broken::Timeout(limit))??;
    // Without it, the end of what is sent waits for the acknowledgement of its beginning.
    stream.set_nodelay(true)?;
    Ok(stream)
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

/// A connection to a server.
#[derive(Debug)]
pub(super) struct Wire {
    stream: Stream,
    heard: Vec<u8>,
}

impl Wire {
    /// Connects by TCP to a host within `reach`, within `limit` in all.
    pub async fn connect(
        host: &str,
        port: u16,
        reach: &Reach,
        limit: Duration,
    ) -> Result<Self, Broken> {
        Ok(Self {
            stream: Stream::Plain(reach_host(host, port, reach, limit).await?),
            heard: Vec::with_capacity(1024),
        })
    }

    /// Goes on encrypted. What was heard before is forgotten: anybody on the way could have said it.
    pub async fn encrypt(
        self,
        host: &str,
        tls: Arc<ClientConfig>,
        limit: Duration,
    ) -> Result<Self, Broken> {
        let Stream::Plain(stream) = self.stream else {
            return Ok(self);
        };
        let name = ServerName::try_from(host.to_owned())
            .map_err(|_| Broken::Tls("the host is no name that a certificate can have".into()))?;
        let handshake = TlsConnector::from(tls).connect(name, stream);
        let stream = timeout(limit, handshake)
            .await
            .map_err(|_| Broken::Timeout(limit))?
            .map_err(|error| Broken::Tls(error.to_string()))?;
        Ok(Self {
            stream: Stream::Tls(Box::new(stream)),
            heard: Vec::with_capacity(1024),
        })
    }

    /// Writes all of `bytes`.
    pub async fn write(&mut self, bytes: &[u8], limit: Duration) -> Result<(), Broken> {
        self.write_counted(bytes, limit)
            .await
            .map_err(|(_, broken)| broken)
    }

    /// Writes all of `bytes`; on failure also says how many at most can have left.
    pub async fn write_counted(
        &mut self,
        bytes: &[u8],
        limit: Duration,
    ) -> Result<(), (usize, Broken)> {
        let mut written = 0;
        let writing = async {
            while let Some(rest) = bytes.get(written..).filter(|rest| !rest.is_empty()) {
                let some = match &mut self.stream {
                    Stream::Plain(stream) => stream.write(rest).await?,
                    Stream::Tls(stream) => stream.write(rest).await?,
                };
                if some == 0 {
                    return Err(io::Error::from(io::ErrorKind::WriteZero));
                }
                written += some;
            }
            match &mut self.stream {
                Stream::Plain(_) => Ok(()),
                Stream::Tls(stream) => stream.flush().await,
            }
        };
        match timeout(limit, writing).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err((written, Broken::from(error))),
            Err(_) => Err((written, Broken::Timeout(limit))),
        }
    }

    /// Reads one reply.
    pub async fn reply(&mut self, limit: Duration) -> Result<Reply, Broken> {
        if let Some(reply) = self.take_reply()? {
            return Ok(reply);
        }
        let reading = async {
            loop {
                let some = match &mut self.stream {
                    Stream::Plain(stream) => stream.read_buf(&mut self.heard).await?,
                    Stream::Tls(stream) => stream.read_buf(&mut self.heard).await?,
                };
                if some == 0 {
                    return Err(Broken::Closed(None));
                }
                if let Some(reply) = self.take_reply()? {
                    return Ok(reply);
                }
            }
        };
        timeout(limit, reading)
            .await
            .map_err(|_| Broken::Timeout(limit))?
    }

    /// Takes the first whole reply out of what was heard.
    fn take_reply(&mut self) -> Result<Option<Reply>, Broken> {
        let Some((reply, used)) = parse_reply(&self.heard)? else {
            return if self.heard.len() > REPLY_BYTES_MAX {
                Err(Broken::Malformed)
            } else {
                Ok(None)
            };
        };
        self.heard.drain(..used);
        Ok(Some(reply))
    }
}

/// The first reply in `heard` and its length; `None` when it is not complete.
fn parse_reply(heard: &[u8]) -> Result<Option<(Reply, usize)>, Broken> {
    let mut lines = Vec::with_capacity(1);
    let mut code = None;
    let mut used = 0;
    while let Some(line) = heard.get(used..).and_then(|rest| {
        rest.iter()
            .position(|&byte| byte == b'\n')
            .and_then(|end| rest.get(..=end))
    }) {
        used += line.len();
        // The code is three digits from 200 to 599; the text is whatever the server likes.
        let [
            class @ b'2'..=b'5',
            second @ b'0'..=b'9',
            third @ b'0'..=b'9',
            rest @ ..,
        ] = line.trim_ascii_end()
        else {
            return Err(Broken::Malformed);
        };
        let digit = |byte: u8| u16::from(byte - b'0');
        let number = digit(*class) * 100 + digit(*second) * 10 + digit(*third);
        if *code.get_or_insert(number) != number {
            return Err(Broken::Malformed);
        }
        let (more, text) = match rest {
            [] => (false, rest),
            [b' ', text @ ..] => (false, text),
            [b'-', text @ ..] => (true, text),
            _ => return Err(Broken::Malformed),
        };
        // Kept and shown: a reply is one line of words (RFC 5321 §4.2), and PostgreSQL holds no NUL.
        let words = String::from_utf8_lossy(text).replace(char::is_control, " ");
        lines.push(words);
        if !more {
            return Ok(Some((
                Reply {
                    code: number,
                    lines,
                },
                used,
            )));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(heard: &str) -> Option<(u16, Vec<String>, usize)> {
        parse_reply(heard.as_bytes())
            .unwrap()
            .map(|(reply, used)| (reply.code, reply.lines, used))
    }

    #[test]
    fn replies_are_read_line_by_line() {
        assert_eq!(parse(""), None);
        assert_eq!(parse("250 2.0"), None);
        assert_eq!(parse("250-a\r\n"), None);
        assert_eq!(parse("250\r\n"), Some((250, vec![String::new()], 5)));
        assert_eq!(
            parse("250 ok\n354 go\r\n"),
            Some((250, vec!["ok".into()], 7))
        );
        assert_eq!(
            parse("571-a\r\n571 b\r\n"),
            Some((571, vec!["a".into(), "b".into()], 14))
        );
    }

    #[test]
    fn a_reply_is_kept_as_words() {
        assert_eq!(
            parse("250 ok\0 \u{1b}[31m\r\n").map(|(_, lines, _)| lines),
            Some(vec!["ok   [31m".to_owned()])
        );
    }

    #[test]
    fn what_is_no_reply_is_no_verdict() {
        for heard in [
            "HTTP/1.1 400\r\n",
            "25\r\n",
            "250x\r\n",
            "250-a\r\n550 b\r\n",
            "\r\n",
            "999 x\r\n",
            "150 x\r\n",
        ] {
            assert!(
                matches!(parse_reply(heard.as_bytes()), Err(Broken::Malformed)),
                "{heard}"
            );
        }
        let (reply, _) = parse_reply(b"550 caf\xe9\r\n").unwrap().unwrap();
        assert_eq!(reply.text(), "caf\u{fffd}");
    }
}
