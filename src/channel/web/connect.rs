//! A connection to a host that may be reached.
//!
//! The address that is looked at is the one that is connected to: a name that leads elsewhere a
//! moment later (DNS rebinding) gains nothing.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use url::Host;

use super::{Web, WebError};
use crate::channel::trust::trust;
use crate::domain::http_url::{HttpUrl, HttpUrlError};
use crate::domain::network::is_public;
use crate::domain::outcome::RetryReason;

/// How many of a host's addresses are tried.
const ADDRESSES_MAX: usize = 4;

/// A connection, plain or encrypted.
#[derive(Debug)]
pub(super) enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Web {
    /// Connects to the host of `url`, which must be one that requests may go to. One dead address
    /// of several leaves time of `limit` for the others.
    pub(super) async fn connect(&self, url: &HttpUrl, limit: Duration) -> Result<Stream, WebError> {
        let addresses = self.addresses(url).await?;
        let share = limit / u32::try_from(addresses.len().max(1)).unwrap_or(1);
        let mut last = failed("the host has no address");
        let mut connected = None;
        for address in addresses {
            match timeout(share, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    connected = Some(stream);
                    break;
                }
                Ok(Err(error)) => last = failed(error),
                Err(_) => last = late(share),
            }
        }
        let stream = connected.ok_or(last)?;
        // Without it, the end of a request waits for the acknowledgement of its beginning.
        stream.set_nodelay(true).map_err(failed)?;
        if url.is_https() {
            self.encrypt(url, stream).await
        } else {
            Ok(Stream::Plain(stream))
        }
    }

    /// The addresses of the host that requests may go to.
    async fn addresses(&self, url: &HttpUrl) -> Result<Vec<SocketAddr>, WebError> {
        let port = url.port();
        let found = match url.host().ok_or(HttpUrlError::Shape)? {
            Host::Ipv4(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Ipv6(address) => vec![SocketAddr::new(address.into(), port)],
            Host::Domain(name) => tokio::net::lookup_host((name, port))
                .await
                .map_err(|_| failed("the host's name leads to no address"))?
                .collect(),
        };
        let any = !found.is_empty();
        let may_be_reached = |address: &SocketAddr| self.allows(address.ip());
        let reachable: Vec<_> = found
            .into_iter()
            .filter(may_be_reached)
            .take(ADDRESSES_MAX)
            .collect();
        if any && reachable.is_empty() {
            return Err(WebError::Forbidden);
        }
        Ok(reachable)
    }

    /// Whether requests may go to an address.
    pub(super) fn allows(&self, address: IpAddr) -> bool {
        is_public(address) || self.config.allowed_networks.include(address)
    }

    async fn encrypt(&self, url: &HttpUrl, stream: TcpStream) -> Result<Stream, WebError> {
        let trusting = self
            .tls
            .get_or_try_init(|| trust(&self.config.extra_roots))
            .await
            .map_err(failed)?;
        let name = match url.host().ok_or(HttpUrlError::Shape)? {
            Host::Ipv4(address) => ServerName::from(IpAddr::from(address)),
            Host::Ipv6(address) => ServerName::from(IpAddr::from(address)),
            // A certificate names no root.
            Host::Domain(name) => ServerName::try_from(name.trim_end_matches('.').to_owned())
                .map_err(|_| failed("the host is no name that a certificate can have"))?,
        };
        let handshake = TlsConnector::from(Arc::clone(trusting)).connect(name, stream);
        let stream = handshake
            .await
            .map_err(|error| failed(format!("no encryption: {error}")))?;
        Ok(Stream::Tls(Box::new(stream)))
    }
}

fn failed(what: impl ToString) -> WebError {
    WebError::NoConnection {
        reason: RetryReason::ConnectionFailed,
        what: what.to_string(),
    }
}

fn late(limit: Duration) -> WebError {
    WebError::NoConnection {
        reason: RetryReason::Timeout,
        what: format!("nothing within {limit:?}"),
    }
}
