//! A web server inside the test's own process, which keeps what it was asked and answers as it is
//! told to.

use std::future::pending;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use futures_util::{StreamExt, stream};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::task::JoinHandle;

/// A request as it came.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its method.
    pub method: Method,
    /// Its path and query.
    pub target: String,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body.
    pub body: String,
}

impl Seen {
    /// A header, as text; empty where there is none.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.and_then(|value| value.to_str().ok()).unwrap_or("")
    }
}

/// What is answered.
pub enum Reply {
    /// An answer.
    Say(u16, Vec<(&'static str, String)>, String),
    /// An answer, once it is let go.
    SayOnce(Arc<Notify>, u16, String),
    /// Nothing, ever.
    Hang,
    /// A status and the beginning of a body, and then nothing, ever.
    HangInBody(u16),
    /// A status and the beginning of a body, and then the connection is cut.
    CutInBody(u16),
    /// A status and a body without end.
    Endless(u16),
}

type Answer = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The server; it ends with this value.
pub struct WebSink {
    address: SocketAddr,
    seen: Arc<Mutex<Vec<Seen>>>,
    task: JoinHandle<()>,
}

struct Shared {
    seen: Arc<Mutex<Vec<Seen>>>,
    answer: Box<Answer>,
}

impl WebSink {
    /// Listens on a free port of 127.0.0.1.
    pub async fn start(
        answer: impl Fn(&Seen) -> Reply + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let seen = Arc::default();
        let shared = Arc::new(Shared {
            seen: Arc::clone(&seen),
            answer: Box::new(answer),
        });
        let router = Router::new().fallback(serve).with_state(shared);
        let task = tokio::spawn(async move {
            if let Err(error) = axum::serve(listener, router).await {
                eprintln!("the web sink ended: {error}");
            }
        });
        Ok(Self {
            address,
            seen,
            task,
        })
    }

    /// Where it is, with a path.
    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Everything that it was asked.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

impl Drop for WebSink {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn serve(State(shared): State<Arc<Shared>>, request: Request<Body>) -> Response<Body> {
    let (head, body) = request.into_parts();
    let body = axum::body::to_bytes(body, usize::MAX).await;
    let body = body.unwrap_or_default();
    let seen = Seen {
        method: head.method,
        target: head.uri.to_string(),
        headers: head.headers,
        body: String::from_utf8_lossy(&body).into_owned(),
    };
    let reply = (shared.answer)(&seen);
    shared
        .seen
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .push(seen);
    let begun = || stream::iter([Ok::<_, io::Error>(Bytes::from_static(b"{\"begun\": "))]);
    match reply {
        Reply::Say(status, headers, body) => {
            let mut response = with_status(status, Body::from(body));
            for (name, value) in headers {
                if let Ok(value) = value.parse() {
                    response.headers_mut().append(name, value);
                }
            }
            response
        }
        Reply::SayOnce(told, status, body) => {
            told.notified().await;
            with_status(status, Body::from(body))
        }
        Reply::Hang => pending().await,
        Reply::HangInBody(status) => {
            let body = begun().chain(stream::pending());
            with_status(status, Body::from_stream(body))
        }
        Reply::CutInBody(status) => {
            // What was begun leaves when the stream has nothing at hand.
            let cut = stream::once(async {
                tokio::task::yield_now().await;
                Err(io::Error::other("on purpose"))
            });
            with_status(status, Body::from_stream(begun().chain(cut)))
        }
        Reply::Endless(status) => {
            let more = stream::repeat_with(|| Ok(Bytes::from_static(&[b' '; 4096])));
            with_status(status, Body::from_stream(begun().chain(more)))
        }
    }
}

fn with_status(status: u16, body: Body) -> Response<Body> {
    let mut response = Response::new(body);
    *response.status_mut() =
        StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
