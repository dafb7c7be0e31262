//! One request by POST, and what it is answered.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{HOST, HeaderMap, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use url::{Host, Url};

use crate::channel::trust::trust;

/// All of a request and its answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer, in bytes.
const ANSWER_BYTES_MAX: usize = 64 << 20;
/// How we introduce ourselves.
const AGENT: &str = concat!("cadenza/", env!("CARGO_PKG_VERSION"));

/// Why there is no answer, for people.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub(super) struct NoAnswer(String);

impl NoAnswer {
    fn of(what: impl ToString) -> Self {
        Self(what.to_string())
    }
}

/// The address of a server, `endpoint` behind it unless it ends so; `None` for what is none of the web.
pub(super) fn endpoint(url: &str, endpoint: &str) -> Option<Url> {
    let mut read = Url::parse(url).ok()?;
    if !matches!(read.scheme(), "http" | "https") || read.host().is_none() {
        return None;
    }
    if !read.path().ends_with(endpoint) {
        let path = format!("{}{endpoint}", read.path().trim_end_matches('/'));
        read.set_path(&path);
    }
    Some(read)
}

/// Asks a server of http or https; answers the status and the body of its answer.
///
/// # Errors
/// [`NoAnswer`] where it cannot be reached, breaks off, or takes more than a minute.
pub(super) async fn post(
    url: &Url,
    headers: HeaderMap,
    body: Bytes,
) -> Result<(u16, Bytes), NoAnswer> {
    let asked = tokio::time::timeout(PATIENCE, connect(url, headers, body));
    let late = |_| NoAnswer(format!("nothing within {} s", PATIENCE.as_secs()));
    asked.await.map_err(late)?
}

async fn connect(url: &Url, headers: HeaderMap, body: Bytes) -> Result<(u16, Bytes), NoAnswer> {
    let host = url.host_str().unwrap_or_default();
    let port = url.port_or_known_default().unwrap_or(80);
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await;
    let stream = stream.map_err(NoAnswer::of)?;
    let request = request(url, headers, body)?;
    if url.scheme() == "http" {
        return talk(stream, request).await;
    }
    let name = match url.host() {
        Some(Host::Ipv4(address)) => ServerName::from(IpAddr::from(address)),
        Some(Host::Ipv6(address)) => ServerName::from(IpAddr::from(address)),
        Some(Host::Domain(_)) | None => {
            ServerName::try_from(host.to_owned()).map_err(NoAnswer::of)?
        }
    };
    let trusting = trust(&[]).await.map_err(NoAnswer)?;
    let stream = TlsConnector::from(trusting).connect(name, stream).await;
    talk(stream.map_err(NoAnswer::of)?, request).await
}

async fn talk(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(u16, Bytes), NoAnswer> {
    let shaken = http1::handshake(TokioIo::new(stream)).await;
    let (mut sender, connection) = shaken.map_err(NoAnswer::of)?;
    let exchange = async {
        let answer = sender.send_request(request).await.map_err(NoAnswer::of)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
        let body = body.collect().await.map_err(NoAnswer::of)?;
        Ok((status, body.to_bytes()))
    };
    // What ends the connection ends the exchange, which tells why.
    let driven = connection.then(|_| std::future::pending());
    tokio::select! {
        answer = exchange => answer,
        never = driven => never,
    }
}

fn request(url: &Url, headers: HeaderMap, body: Bytes) -> Result<Request<Full<Bytes>>, NoAnswer> {
    let host = url.host_str().unwrap_or_default();
    let host = match url.port() {
        Some(port) => format!("{host}:{port}"),
        None => host.to_owned(),
    };
    let asked = match url.query() {
        Some(query) => format!("{}?{query}", url.path()),
        None => url.path().to_owned(),
    };
    let request = Request::builder().method(Method::POST).uri(asked);
    let mut request = request.body(Full::new(body)).map_err(NoAnswer::of)?;
    let host = HeaderValue::from_str(&host).map_err(NoAnswer::of)?;
    *request.headers_mut() = headers;
    request.headers_mut().insert(HOST, host);
    let agent = HeaderValue::from_static(AGENT);
    request.headers_mut().insert(USER_AGENT, agent);
    Ok(request)
}
