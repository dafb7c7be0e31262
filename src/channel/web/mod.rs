//! HTTP requests to addresses that users write down.
//!
//! Owns what such a request may reach and how much it may cost: one connection, to a host of the
//! Internet at large or of a network that the configuration allows, no redirect, a bounded answer,
//! bounded time. Every failure says whether any of the request can have left. Never decides what
//! an answer means.
//!
//! hyper's own connection is used and none of the clients above it, for two reasons. They do not
//! tell whether a request that failed had begun to leave, which decides whether it may be
//! repeated. And a pool or a proxy of theirs would connect where we have not looked.
//!
//! - `connect`: finding the host, refusing what is not public, TCP and TLS.
//! - `counted`: a stream that knows whether anything was written to it.
//! - `answer`: what came back.

use std::sync::Arc;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use rustls::ClientConfig;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::sync::OnceCell;
use tokio::time::{Instant, timeout, timeout_at};

use self::connect::Stream;
use self::counted::{Begun, Counted};
use crate::domain::http_header::OF_THE_CONNECTION;
use crate::domain::http_url::{HttpUrl, HttpUrlError};
use crate::domain::network::Networks;
use crate::domain::outcome::RetryReason;

mod answer;
mod connect;
mod counted;

pub(super) use self::answer::excerpt;
pub use self::answer::{EXCERPT_CHARS_MAX, WebAnswer};

/// So much of an answer is read, in bytes.
pub const ANSWER_BYTES_MAX: usize = 64 * 1024;
/// The longest head of an answer, in bytes.
const HEAD_BYTES_MAX: usize = 64 * 1024;
/// How we introduce ourselves.
const AGENT: &str = concat!("Cadenza/", env!("CARGO_PKG_VERSION"));
/// Where requests may go, and for how long.
#[derive(Debug, Clone)]
pub struct WebConfig {
    /// Networks beside the Internet at large, such as one's own.
    pub allowed_networks: Networks,
    /// How long finding the host, TCP and TLS may take, together.
    pub connect_timeout: Duration,
    /// How long all of it may take.
    pub timeout: Duration,
    /// Certificates (DER) trusted besides the system's, such as a company's own authority.
    pub extra_roots: Vec<Vec<u8>>,
}

impl Default for WebConfig {
    fn default() -> Self {
        Self {
            allowed_networks: Networks::default(),
            connect_timeout: Duration::from_secs(10),
            timeout: Duration::from_secs(30),
            extra_roots: Vec::new(),
        }
    }
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum WebError {
    /// The address is none, or none that a request can be sent to. Nothing left.
    #[error(transparent)]
    Url(#[from] HttpUrlError),
    /// The host is not of the Internet at large. Nothing left.
    #[error(
        "The address leads into a private or special network, where requests may not go: give a public one, or let whoever runs the server allow its network with --allow-networks."
    )]
    Forbidden,
    /// There was no connection. Nothing left.
    #[error("no connection: {what}")]
    NoConnection {
        /// The kind of trouble.
        reason: RetryReason,
        /// What happened, in words that hold nothing of the request.
        what: String,
    },
    /// The connection broke or fell silent.
    #[error("{what}")]
    NoAnswer {
        /// The kind of trouble.
        reason: RetryReason,
        /// Whether any of the request may have left.
        begun: bool,
        /// What happened, in words that hold nothing of the request.
        what: String,
    },
}

/// Sends requests. A copy shares what was learnt, such as sessions of TLS.
#[derive(Debug, Clone)]
pub struct Web {
    config: Arc<WebConfig>,
    tls: Arc<OnceCell<Arc<ClientConfig>>>,
}

impl Web {
    /// Requests within these limits.
    pub fn new(config: WebConfig) -> Self {
        Self {
            config: Arc::new(config),
            tls: Arc::default(),
        }
    }

    /// Sends a request and reads the answer, whatever its status. Headers that belong to the
    /// connection are ours and left out of `headers` ([`OF_THE_CONNECTION`]).
    ///
    /// # Errors
    /// [`WebError`] where there is no answer, in bounded time.
    pub async fn send(
        &self,
        method: Method,
        url: &str,
        headers: HeaderMap,
        body: impl Into<Bytes>,
    ) -> Result<WebAnswer, WebError> {
        let url = HttpUrl::parse(url)?;
        let request = request(method, &url, headers, body.into())?;
        let deadline = Instant::now() + self.config.timeout;
        let limit = self.config.connect_timeout.min(self.config.timeout);
        let connecting = timeout(limit, self.connect(&url, limit));
        let stream = connecting.await.unwrap_or_else(|_| {
            Err(WebError::NoConnection {
                reason: RetryReason::Timeout,
                what: format!("nothing within {limit:?}"),
            })
        })?;
        match stream {
            Stream::Plain(stream) => exchange(stream, request, deadline).await,
            Stream::Tls(stream) => exchange(stream, request, deadline).await,
        }
    }
}

fn request(
    method: Method,
    url: &HttpUrl,
    headers: HeaderMap,
    body: Bytes,
) -> Result<Request<Full<Bytes>>, WebError> {
    let shape = |_| WebError::Url(HttpUrlError::Shape);
    let host = HeaderValue::from_str(url.authority()).map_err(|_| HttpUrlError::Shape)?;
    let mut request = Request::builder()
        .method(method)
        .uri(url.target())
        .body(Full::new(body))
        .map_err(shape)?;
    let ours = request.headers_mut();
    *ours = headers;
    for name in OF_THE_CONNECTION {
        ours.remove(name);
    }
    ours.insert(HOST, host);
    ours.insert(CONNECTION, HeaderValue::from_static("close"));
    ours.entry(USER_AGENT)
        .or_insert(HeaderValue::from_static(AGENT));
    Ok(request)
}

/// One request over a fresh connection.
async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Send + Unpin,
    request: Request<Full<Bytes>>,
    deadline: Instant,
) -> Result<WebAnswer, WebError> {
    let begun = Begun::default();
    let io = TokioIo::new(Counted::new(stream, begun.clone()));
    let failed = |reason, what| {
        let begun = begun.get();
        WebError::NoAnswer {
            reason,
            begun,
            what,
        }
    };
    let handshake = http1::Builder::new()
        .max_buf_size(HEAD_BYTES_MAX)
        .handshake(io)
        .await;
    let (mut sender, connection) =
        handshake.map_err(|error| failed(RetryReason::ConnectionFailed, describe(&error)))?;
    let exchanging = async {
        let response = timeout_at(deadline, sender.send_request(request)).await;
        let response = response.map_err(|_| {
            let what = "no answer in time".to_owned();
            failed(RetryReason::Timeout, what)
        })?;
        let response = response.map_err(|error| failed(reason_of(&error), describe(&error)))?;
        Ok(read(response, deadline).await)
    };
    // The connection works for the exchange, and may end before the exchange has read it all.
    let exchanging = std::pin::pin!(exchanging);
    let connection = std::pin::pin!(connection);
    match futures_util::future::select(exchanging, connection).await {
        futures_util::future::Either::Left((answer, _)) => answer,
        futures_util::future::Either::Right((_, exchanging)) => exchanging.await,
    }
}

/// The answer, as much of it as came within the limits: its status is a verdict whatever follows.
async fn read(response: Response<Incoming>, deadline: Instant) -> WebAnswer {
    let (head, mut body) = response.into_parts();
    let mut answer = WebAnswer::new(head.status.as_u16(), &head.headers);
    let reading = async {
        while let Some(frame) = http_body_util::BodyExt::frame(&mut body).await {
            match frame.map(hyper::body::Frame::into_data) {
                Ok(Ok(data)) => answer.take(&data),
                Ok(Err(_trailers)) => {}
                Err(_) => return false,
            }
            if answer.is_cut() {
                return true;
            }
        }
        true
    };
    if !matches!(timeout_at(deadline, reading).await, Ok(true)) {
        answer.cut();
    }
    answer
}

fn reason_of(error: &hyper::Error) -> RetryReason {
    if error.is_parse() || error.is_parse_too_large() {
        RetryReason::Protocol
    } else {
        RetryReason::ConnectionFailed
    }
}

/// What broke, with its cause, in words that hold nothing of the request.
fn describe(error: &hyper::Error) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests;
