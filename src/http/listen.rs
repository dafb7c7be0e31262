//! Taking connections: so many at a time, each for as long as its client keeps up, and told to end with the
//! server.
//!
//! A connection has its time for a request's head and for what it reads of an answer ([`wire`]); what a
//! body may take is `body`'s to say. Where all places are taken, a few more connections are answered with
//! 503, and with what `/healthz` says; where those are taken as well, the next ones wait until one ends.

mod places;
#[cfg(test)]
mod tests;
mod wire;

use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::ConnectInfo;
use axum::http::{HeaderValue, Request, Response, StatusCode, header};
use axum::response::IntoResponse;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::{Service, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinError, JoinSet};
use tokio::time::interval;
use tokio_util::sync::CancellationToken;

use self::places::{Place, Places};
use self::wire::{Answer, Turn, Wire};
use super::Http;
use super::proxies::Proxies;

/// How many connections there are at a time, unless told otherwise.
pub const CONNECTIONS: usize = 10_000;
/// How many of them are of one address: more than the sockets that a token may have.
pub const CONNECTIONS_OF_ADDRESS: usize = 4_000;
/// How many connections are answered with 503 at a time where there are too many.
const SPARE: usize = 64;
/// How long those have for a request's head.
const SPARE_HEAD_WITHIN: Duration = Duration::from_secs(1);
/// The largest head of a request, in bytes, and the most headers in it.
const HEAD_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 100;
/// How long nothing is taken after the system could not give a connection.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a connection lasts once the server is to end, where nothing is being answered.
const LEFT_WITHIN: Duration = Duration::from_secs(1);
/// How many of the files that a process may open are for other things than connections.
const FILES_KEPT: usize = 256;

/// What connections may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Connections {
    /// How many there are at a time.
    pub most: usize,
    /// How many of one address (of IPv6: one network of 64 bits); any number where it is zero. This
    /// machine and proxies that are trusted have any number; of what those hand on, each address has so
    /// many requests and sockets at a time.
    pub of_address: usize,
    /// How long a request's head may take from its first byte on, and that from the connection on.
    pub head_within: Duration,
    /// How long a connection may wait for its next request.
    pub idle_within: Duration,
    /// How long a client may read nothing of an answer.
    pub read_within: Duration,
}

impl Default for Connections {
    fn default() -> Self {
        Self {
            most: CONNECTIONS,
            of_address: CONNECTIONS_OF_ADDRESS,
            head_within: Duration::from_secs(10),
            idle_within: Duration::from_secs(75),
            read_within: Duration::from_secs(30),
        }
    }
}

impl Connections {
    /// So many as the process may have files open, if that is fewer.
    #[must_use]
    pub fn fitting(mut self) -> Self {
        let limits = std::fs::read_to_string("/proc/self/limits").unwrap_or_default();
        if let Some(files) = open_files_max(&limits) {
            let most = files.saturating_sub(FILES_KEPT).max(files / 2).max(1);
            if most < self.most {
                tracing::warn!(
                    connections = most,
                    asked = self.most,
                    files,
                    "fewer connections are taken than asked for: a process may open only so many \
                     files; raise it by ulimit -n, or LimitNOFILE of systemd"
                );
                self.most = most;
            }
        }
        self
    }
}

/// The soft limit on open files, as Linux tells it.
fn open_files_max(limits: &str) -> Option<usize> {
    let line = limits
        .lines()
        .find_map(|line| line.strip_prefix("Max open files"))?;
    line.split_whitespace().next()?.parse().ok()
}

impl Http {
    /// Serves who connects, until the server is to end and the last connection is closed; sockets
    /// that were upgraded are [`Http::closed`]'s to wait for.
    pub async fn serve(self, listener: TcpListener) {
        let shutdown = self.0.shutdown.clone();
        let mut host = Host {
            places: Places::new(
                self.0.connections.most,
                SPARE,
                self.0.connections.of_address,
            ),
            router: TowerToHyperService::new(self.router()),
            http: self,
            tasks: JoinSet::new(),
        };
        loop {
            // Whoever is taken when the server is to end has not asked for anything yet.
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = host.take_next(&listener) => {}
            }
        }
        drop(listener);
        while let Some(ended) = host.tasks.join_next().await {
            report(ended);
        }
    }
}

/// What may give connections.
trait Incomings {
    fn next(&self) -> impl Future<Output = io::Result<(TcpStream, SocketAddr)>> + Send;
}

impl Incomings for TcpListener {
    async fn next(&self) -> io::Result<(TcpStream, SocketAddr)> {
        self.accept().await
    }
}

/// The next connection. Where the system cannot give one, as it has no files left, it is asked again
/// after a pause.
async fn accept(listener: &impl Incomings, pause: Duration) -> (TcpStream, SocketAddr) {
    loop {
        let error = match listener.next().await {
            Ok(accepted) => return accepted,
            Err(error) => error,
        };
        let is_the_clients = matches!(
            error.kind(),
            io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::ConnectionReset
        );
        if !is_the_clients {
            tracing::error!(%error, "no connection can be taken; trying again in a moment");
            let mut ticks = interval(pause);
            // The first one is at once.
            ticks.tick().await;
            ticks.tick().await;
        }
    }
}

/// What serves connections.
struct Host {
    http: Http,
    router: TowerToHyperService<Router>,
    places: Arc<Places>,
    tasks: JoinSet<()>,
}

impl Host {
    /// Takes the next connection; meanwhile those that end are let go.
    async fn take_next(&mut self, listener: &TcpListener) {
        let accepting = accept(listener, PAUSE);
        tokio::pin!(accepting);
        let (stream, peer) = loop {
            tokio::select! {
                accepted = accepting.as_mut() => break accepted,
                Some(ended) = self.tasks.join_next() => report(ended),
            }
        };
        self.welcome(stream, peer).await;
    }

    /// Serves a connection, once there is a place for it.
    async fn welcome(&mut self, stream: TcpStream, peer: SocketAddr) {
        let address = peer.ip().to_canonical();
        let is_exempt = address.is_loopback() || self.http.0.proxies.include(address);
        let Some(of_address) = self.places.of(Some(address).filter(|_| !is_exempt)) else {
            tracing::debug!("an address has as many connections open as it may");
            refuse(&stream);
            return;
        };
        let place = self.places.next(of_address).await;
        let limits = self.http.0.connections;
        let (head_within, idle_within) = if place.is_spare() {
            (limits.head_within.min(SPARE_HEAD_WITHIN), SPARE_HEAD_WITHIN)
        } else {
            (limits.head_within, limits.idle_within)
        };
        let turn = Turn::default();
        let guest = Guest {
            http: self.http.clone(),
            router: self.router.clone(),
            places: Arc::clone(&self.places),
            turn: turn.clone(),
            peer,
            is_spare: place.is_spare(),
        };
        // A small answer goes at once, whatever came before it.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "a connection ended at once");
        }
        let wire = Wire::new(stream, turn.clone(), head_within, limits.read_within, place);
        let service = service_fn(move |request| guest.clone().answer(request));
        let connection = http1::Builder::new()
            .timer(TokioTimer::new())
            .header_read_timeout(idle_within)
            .max_buf_size(HEAD_MAX)
            .max_headers(HEADERS_MAX)
            .serve_connection(TokioIo::new(wire), service)
            .with_upgrades();
        let shutdown = self.http.0.shutdown.clone();
        self.tasks.spawn(carry(connection, turn, shutdown));
    }
}

/// Carries a connection to its end, which comes after the answers that are under way once the server is
/// to end.
async fn carry<S>(
    connection: http1::UpgradeableConnection<TokioIo<Wire>, S>,
    turn: Turn,
    shutdown: CancellationToken,
) where
    S: hyper::service::HttpService<Incoming, ResBody = Answer>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    tokio::pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = shutdown.cancelled() => {
            connection.as_mut().graceful_shutdown();
            let mut ticks = interval(LEFT_WITHIN);
            ticks.tick().await;
            loop {
                tokio::select! {
                    ended = connection.as_mut() => break ended,
                    // What was answered is with the client by now, and nothing else was asked for.
                    _ = ticks.tick() => if turn.is_clients() {
                        break Ok(());
                    },
                }
            }
        }
    };
    if let Err(error) = ended {
        let error = &error as &dyn std::error::Error;
        tracing::debug!(error, "a connection was cut off");
    }
}

/// One connection, as its requests see it.
#[derive(Clone)]
struct Guest {
    http: Http,
    router: TowerToHyperService<Router>,
    places: Arc<Places>,
    turn: Turn,
    peer: SocketAddr,
    is_spare: bool,
}

impl Guest {
    async fn answer(self, mut request: Request<Incoming>) -> Result<Response<Answer>, Infallible> {
        let busy = self.turn.begin();
        if self.is_spare && request.uri().path() != "/healthz" {
            let message =
                "The server has as many connections open as it may; try again in a moment.\n";
            let answer = closing(StatusCode::SERVICE_UNAVAILABLE, message);
            return Ok(answer.map(|body| Answer::new(body, busy, None)));
        }
        let Ok(place) = self.place_of(&request) else {
            let message =
                "This address has as many requests under way as it may; try again in a moment.\n";
            let answer = closing(StatusCode::TOO_MANY_REQUESTS, message);
            return Ok(answer.map(|body| Answer::new(body, busy, None)));
        };
        request.extensions_mut().insert(ConnectInfo(self.peer));
        let mut answer = self.router.call(request.map(Body::new)).await?;
        if self.is_spare {
            let close = HeaderValue::from_static("close");
            answer.headers_mut().insert(header::CONNECTION, close);
        }
        if answer.status() == StatusCode::SWITCHING_PROTOCOLS {
            // What follows is no request any more, and takes its places until the connection's end.
            busy.for_ever(place);
            return Ok(answer.map(Answer::whole));
        }
        Ok(answer.map(|body| Answer::new(body, busy, place)))
    }

    /// The place that a request takes of those of the address for which a proxy hands it on.
    fn place_of(&self, request: &Request<Incoming>) -> Result<Option<Place>, OneTooMany> {
        let (proxies, peer) = (&self.http.0.proxies, self.peer.ip());
        if !proxies.include(peer) || !Proxies::are_named_in(request.headers()) {
            return Ok(None);
        }
        let client = proxies.client(peer, request.headers());
        self.places.of(Some(client)).map(Some).ok_or(OneTooMany)
    }
}

/// An address has as many requests under way as it may.
struct OneTooMany;

/// An answer after which the connection is closed.
fn closing(status: StatusCode, message: &'static str) -> Response<Body> {
    let headers = [(header::CONNECTION, "close"), (header::RETRY_AFTER, "5")];
    (status, headers, message).into_response()
}

/// Tells whoever has too many connections, if it can be told without waiting.
fn refuse(stream: &TcpStream) {
    const ANSWER: &[u8] = b"HTTP/1.1 429 Too Many Requests\r\nConnection: close\r\nRetry-After: 5\r\nContent-Length: 0\r\n\r\n";
    drop(stream.try_write(ANSWER));
}

fn report(ended: Result<(), JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a connection's task ended badly");
    }
}
