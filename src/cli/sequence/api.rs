//! The API as the commands use it: a document, its variables, and what it answers.

use std::net::IpAddr;
use std::time::Duration;

use futures_util::FutureExt;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http1;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST, HeaderValue, USER_AGENT};
use hyper::{Method, Request};
use hyper_util::rt::TokioIo;
use rustls::pki_types::ServerName;
use serde_json::{Value, json};
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
/// Where the API is at a server.
const ENDPOINT: &str = "/graphql";

/// Something that runs documents of the API.
pub trait Api: Sync {
    /// Runs a query or a mutation and answers its data.
    fn ask(
        &self,
        document: &str,
        variables: Value,
    ) -> impl Future<Output = Result<Value, ApiError>> + Send;
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// The address is none of the web.
    #[error("{0} is not the address of a server: write one like https://cadenza.example.com")]
    Address(String),
    /// The token cannot be sent.
    #[error("the token holds a character that no token has: copy it again")]
    Token,
    /// The server cannot be reached, or breaks off.
    #[error("{url} does not answer ({what}): is the server running, and is --url right?")]
    Unreachable {
        /// The server.
        url: String,
        /// What went wrong.
        what: String,
    },
    /// Something else than this API answered.
    #[error("{url} answered {status} and is no API of Cadenza: is --url right?")]
    Foreign {
        /// The server.
        url: String,
        /// The status of its answer.
        status: u16,
    },
    /// The API refused the request.
    #[error("{message} ({code})")]
    Refused {
        /// `extensions.code`.
        code: String,
        /// What it said.
        message: String,
    },
}

impl ApiError {
    /// The data of an answer, or its first error.
    ///
    /// # Errors
    /// [`ApiError::Refused`] where the answer has errors.
    pub fn data_of(mut answer: Value) -> Result<Value, Self> {
        let Some(error) = answer["errors"].get(0) else {
            return Ok(answer["data"].take());
        };
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        Err(Self::Refused {
            code: text(&error["extensions"]["code"]),
            message: text(&error["message"]),
        })
    }
}

/// A server that is reached over HTTP.
#[derive(Debug)]
pub struct Remote {
    url: Url,
    authorization: HeaderValue,
}

impl Remote {
    /// The server at an address such as `https://cadenza.example.com`, and the token to use there.
    ///
    /// # Errors
    /// [`ApiError::Address`] or [`ApiError::Token`].
    pub fn new(url: &str, token: &str) -> Result<Self, ApiError> {
        let wrong = || ApiError::Address(url.to_owned());
        let mut read = Url::parse(url).map_err(|_| wrong())?;
        if !matches!(read.scheme(), "http" | "https") || read.host().is_none() {
            return Err(wrong());
        }
        if !read.path().ends_with(ENDPOINT) {
            let path = format!("{}{ENDPOINT}", read.path().trim_end_matches('/'));
            read.set_path(&path);
        }
        let bearer = HeaderValue::from_str(&format!("Bearer {}", token.trim()));
        let mut authorization = bearer.map_err(|_| ApiError::Token)?;
        authorization.set_sensitive(true);
        Ok(Self {
            url: read,
            authorization,
        })
    }

    fn unreachable(&self, what: impl ToString) -> ApiError {
        ApiError::Unreachable {
            url: self.url.to_string(),
            what: what.to_string(),
        }
    }

    async fn post(&self, body: String) -> Result<(u16, Bytes), ApiError> {
        let host = self.url.host_str().unwrap_or_default();
        let port = self.url.port_or_known_default().unwrap_or(80);
        let bare = host.trim_start_matches('[').trim_end_matches(']');
        let stream = TcpStream::connect((bare, port)).await;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        if self.url.scheme() == "http" {
            return self.talk(stream, body).await;
        }
        let name = match self.url.host() {
            Some(Host::Ipv4(address)) => ServerName::from(IpAddr::from(address)),
            Some(Host::Ipv6(address)) => ServerName::from(IpAddr::from(address)),
            Some(Host::Domain(_)) | None => {
                let name = ServerName::try_from(host.to_owned());
                name.map_err(|error| self.unreachable(error))?
            }
        };
        let trusting = trust(&[]).await.map_err(|what| self.unreachable(what))?;
        let stream = TlsConnector::from(trusting).connect(name, stream).await;
        let stream = stream.map_err(|error| self.unreachable(error))?;
        self.talk(stream, body).await
    }

    async fn talk(
        &self,
        stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
        body: String,
    ) -> Result<(u16, Bytes), ApiError> {
        let request = self.request(body)?;
        let shaken = http1::handshake(TokioIo::new(stream)).await;
        let (mut sender, connection) = shaken.map_err(|error| self.unreachable(error))?;
        let exchange = async {
            let answer = sender.send_request(request).await;
            let answer = answer.map_err(|error| self.unreachable(error))?;
            let status = answer.status().as_u16();
            let body = Limited::new(answer.into_body(), ANSWER_BYTES_MAX);
            let body = body.collect().await;
            let body = body.map_err(|error| self.unreachable(error))?;
            Ok((status, body.to_bytes()))
        };
        // What ends the connection ends the exchange, which tells why.
        let driven = connection.then(|_| std::future::pending());
        tokio::select! {
            answer = exchange => answer,
            never = driven => never,
        }
    }

    fn request(&self, body: String) -> Result<Request<Full<Bytes>>, ApiError> {
        let host = self.url.host_str().unwrap_or_default();
        let host = match self.url.port() {
            Some(port) => format!("{host}:{port}"),
            None => host.to_owned(),
        };
        Request::builder()
            .method(Method::POST)
            .uri(self.url.path())
            .header(HOST, host)
            .header(USER_AGENT, AGENT)
            .header(CONTENT_TYPE, "application/json")
            .header(AUTHORIZATION, self.authorization.clone())
            .body(Full::new(Bytes::from(body)))
            .map_err(|_| ApiError::Address(self.url.to_string()))
    }
}

impl Api for Remote {
    async fn ask(&self, document: &str, variables: Value) -> Result<Value, ApiError> {
        let body = json!({ "query": document, "variables": variables }).to_string();
        let asked = tokio::time::timeout(PATIENCE, self.post(body)).await;
        let (status, body) = asked
            .map_err(|_| self.unreachable(format!("nothing within {} s", PATIENCE.as_secs())))??;
        let answer: Option<Value> = serde_json::from_slice(&body).ok();
        match answer {
            Some(answer) if answer.get("data").is_some() || answer.get("errors").is_some() => {
                ApiError::data_of(answer)
            }
            Some(_) | None => Err(ApiError::Foreign {
                url: self.url.to_string(),
                status,
            }),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_leads_to_the_endpoint() {
        for (written, asked) in [
            ("http://127.0.0.1:8080", "http://127.0.0.1:8080/graphql"),
            ("https://a.example/", "https://a.example/graphql"),
            ("https://a.example/api/", "https://a.example/api/graphql"),
            ("https://a.example/graphql", "https://a.example/graphql"),
        ] {
            let remote = Remote::new(written, "t").expect("an address");
            assert_eq!(remote.url.as_str(), asked);
        }
        for wrong in ["", "localhost:8080", "ftp://a.example", "nothing"] {
            assert!(
                matches!(Remote::new(wrong, "t"), Err(ApiError::Address(_))),
                "{wrong}"
            );
        }
        assert!(matches!(
            Remote::new("http://a.example", "a\nb"),
            Err(ApiError::Token)
        ));
    }
}
