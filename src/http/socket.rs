//! GraphQL over WebSocket: the sub-protocol graphql-transport-ws, to the letter.
//!
//! One task serves a socket, and each operation has one of its own: a client that reads slowly must not
//! hold up a mutation, whose transaction others wait for.
//! The close codes are the protocol's: 4400 a bad message, 4401 not initialised or no token, 4403
//! a wrong token, 4408 no init in time, 4409 an id that is in use, 4429 a second init; and 1001
//! when the server goes away.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, pending};
use futures_util::{FutureExt, SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval_at, timeout};

use super::answer::rate_limited;
use super::payload::Payload;
use super::read::Asked;
use super::run::{Ready, refused};
use super::shares::Part;
use super::{From, Http, bearer};
use crate::app::Caller;
use crate::app::token::access::NotAdmitted;
use crate::graphql::RequestId;
use crate::graphql::error::Code;
use crate::store::StoreError;

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client has for its connection_init.
const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How often the server pings, and after how long a silent client is given up.
const PING_EVERY: Duration = Duration::from_secs(12);
const SILENT_MOST: Duration = Duration::from_secs(36);
/// How long a client may take to read one message.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// The largest message of a client, in bytes.
const MESSAGE_MAX: usize = 1 << 20;
/// The most operations of one socket at a time.
const OPERATIONS_MAX: usize = 100;
/// How many results of an operation are handed on and written at once, where so many are ready.
const TOGETHER: usize = 64;
/// How many such handfuls of a socket's operations wait for the client at most; then the operations
/// wait.
const RESULTS_AHEAD: usize = 4;
/// What is read of a client at once, in bytes: its messages are small, and there are many clients.
const READ_BUFFER: usize = 4 << 10;
/// A message that took so long to send was waiting for the client to read, and it did.
const SLOW: Duration = Duration::from_secs(1);
/// The most bytes of an operation's id.
const ID_MAX: usize = 256;

/// Answers a request to upgrade; a header with a wrong token is refused at once.
pub async fn open(
    http: Http,
    headers: &HeaderMap,
    from: From,
    upgrade: WebSocketUpgrade,
) -> Response {
    if !http.0.origins.admit(headers) {
        let message = "This page may not open a WebSocket here: its origin is not one of \
                       --allowed-origins.\n";
        return (StatusCode::FORBIDDEN, message).into_response();
    }
    let given = headers.contains_key(axum::http::header::AUTHORIZATION);
    let caller = match http.caller(headers, from).await {
        Ok(caller) => Some(caller),
        Err(NotAdmitted::NoToken) => None,
        Err(NotAdmitted::TooMany(_)) => return StatusCode::TOO_MANY_REQUESTS.into_response(),
        Err(NotAdmitted::Store(error)) => {
            unreachable_database(&error);
            return StatusCode::SERVICE_UNAVAILABLE.into_response();
        }
    };
    let upgrade = upgrade
        .protocols([PROTOCOL])
        .read_buffer_size(READ_BUFFER)
        .max_message_size(MESSAGE_MAX);
    if upgrade.selected_protocol().is_none() {
        let message = format!("Open the WebSocket with the sub-protocol {PROTOCOL}.\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    // From here on the server's end waits for this socket's.
    let counted = http.0.sockets.token();
    upgrade.on_upgrade(move |socket| async move {
        let (saying, said) = mpsc::channel(RESULTS_AHEAD);
        let mut session = Session {
            http,
            socket,
            caller,
            from,
            place: None,
            over: pending().boxed(),
            stage: Stage::Opened,
            operations: HashMap::new(),
            started: 0,
            tasks: JoinSet::new(),
            saying,
            said,
            heard_at: Instant::now(),
        };
        let end = if given && session.caller.is_none() {
            close(4403, "Forbidden")
        } else {
            session.run().await
        };
        session.end(end).await;
        drop(counted);
    })
}

/// How far the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opened,
    Ready,
}

/// Why a socket ends; `None`: it is gone already.
type End = Option<(u16, String)>;
/// Something that an operation has to say. Its number tells it from another one under the same id.
struct Said {
    number: u64,
    id: String,
    /// What came, in its order.
    payloads: Vec<Payload>,
    is_last: bool,
}

/// An operation that goes on.
struct Operation {
    number: u64,
    abort: AbortHandle,
    /// What each of its results begins with on the wire.
    head: Arc<str>,
}

struct Session {
    http: Http,
    socket: WebSocket,
    caller: Option<Caller>,
    from: From,
    /// The place that the socket takes among its token's.
    place: Option<Part>,
    /// Ready when the token is revoked or has expired.
    over: BoxFuture<'static, ()>,
    stage: Stage,
    operations: HashMap<String, Operation>,
    started: u64,
    tasks: JoinSet<()>,
    saying: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
    heard_at: Instant,
}

fn close(code: u16, reason: &str) -> End {
    Some((code, reason.to_owned()))
}

impl Session {
    async fn run(&mut self) -> End {
        let shutdown = self.http.0.shutdown.clone();
        let opened_at = Instant::now();
        let init_late = tokio::time::interval_at(opened_at + INIT_WITHIN, INIT_WITHIN);
        tokio::pin!(init_late);
        let mut ping = interval_at(opened_at + PING_EVERY, PING_EVERY);
        loop {
            // Every branch only takes what is ready: dropping the others loses nothing.
            let next = tokio::select! {
                () = shutdown.cancelled() => return close(1001, "The server is going away"),
                _ = init_late.tick(), if self.stage == Stage::Opened => {
                    return close(4408, "Connection initialisation timeout");
                }
                () = &mut self.over => return close(4403, "The token is no longer valid"),
                _ = ping.tick() => self.ping().await,
                message = self.socket.recv() => match message {
                    Some(Ok(message)) => self.hear(message).await,
                    Some(Err(_)) | None => return None,
                },
                Some(said) = self.said.recv() => {
                    // What ends with the server has not come to its own end.
                    if shutdown.is_cancelled() {
                        return close(1001, "The server is going away");
                    }
                    self.tell(said).await
                }
            };
            while self.tasks.try_join_next().is_some() {}
            if let ControlFlow::Break(end) = next {
                return end;
            }
        }
    }

    async fn ping(&mut self) -> ControlFlow<End> {
        if self.heard_at.elapsed() > SILENT_MOST {
            return ControlFlow::Break(None);
        }
        if self.stage == Stage::Ready {
            self.send(&json!({ "type": "ping" })).await?;
        }
        self.deliver(Message::Ping(Vec::new().into())).await
    }

    async fn hear(&mut self, message: Message) -> ControlFlow<End> {
        self.heard_at = Instant::now();
        let text = match message {
            Message::Text(text) => text,
            Message::Binary(_) => return bad("Messages are text"),
            Message::Ping(_) | Message::Pong(_) => return ControlFlow::Continue(()),
            Message::Close(_) => return ControlFlow::Break(None),
        };
        let Ok(Value::Object(mut message)) = serde_json::from_str::<Value>(&text) else {
            return bad("Messages are JSON objects");
        };
        let payload = message
            .remove("payload")
            .filter(|payload| !payload.is_null());
        let id = match message.remove("id") {
            Some(Value::String(id)) => Some(id),
            Some(_) => return bad("An id is a text"),
            None => None,
        };
        match (message.get("type").and_then(Value::as_str), id) {
            (Some("connection_init"), _) => self.init(payload).await,
            (Some("ping"), _) => match payload {
                Some(payload) => {
                    self.send(&json!({ "type": "pong", "payload": payload }))
                        .await
                }
                None => self.send(&json!({ "type": "pong" })).await,
            },
            (Some("pong"), _) => ControlFlow::Continue(()),
            (Some("subscribe"), Some(id)) => self.subscribe(id, payload).await,
            (Some("complete"), Some(id)) => {
                if let Some(operation) = self.operations.remove(&id) {
                    operation.abort.abort();
                }
                ControlFlow::Continue(())
            }
            (Some("subscribe" | "complete"), None) => bad("The message has no id"),
            (Some(_), _) => bad("Unknown type of message"),
            (None, _) => bad("The message has no type"),
        }
    }

    async fn init(&mut self, payload: Option<Value>) -> ControlFlow<End> {
        if self.stage == Stage::Ready {
            return ControlFlow::Break(close(4429, "Too many initialisation requests"));
        }
        let given = payload.as_ref().and_then(authorization);
        if let Some(given) = given {
            let admitted = match bearer(given) {
                Some(token) => {
                    let access = &self.http.services().access;
                    access.authenticate(token, self.from.0).await
                }
                None => Err(NotAdmitted::NoToken),
            };
            match admitted {
                Ok(caller) => self.caller = Some(caller),
                Err(NotAdmitted::NoToken) => return ControlFlow::Break(close(4403, "Forbidden")),
                Err(NotAdmitted::TooMany(_)) => {
                    return ControlFlow::Break(close(4429, "Too many attempts"));
                }
                Err(NotAdmitted::Store(error)) => {
                    unreachable_database(&error);
                    return ControlFlow::Break(close(1013, "The database cannot be reached"));
                }
            }
        }
        let Some(caller) = &self.caller else {
            return ControlFlow::Break(close(4401, "Unauthorized"));
        };
        self.place = self.http.0.shares.of(caller.token).socket();
        if self.place.is_none() {
            let reason = "The token has as many sockets open as it may";
            return ControlFlow::Break(close(4429, reason));
        }
        self.over = self.http.services().access.over(caller.token).boxed();
        self.stage = Stage::Ready;
        self.send(&json!({ "type": "connection_ack" })).await
    }

    async fn subscribe(&mut self, id: String, payload: Option<Value>) -> ControlFlow<End> {
        let (Stage::Ready, Some(caller)) = (self.stage, self.caller.clone()) else {
            return ControlFlow::Break(close(4401, "Unauthorized"));
        };
        if id.is_empty() || id.len() > ID_MAX {
            return bad("An id has from 1 to 256 bytes");
        }
        if self.operations.contains_key(&id) {
            return ControlFlow::Break(close(4409, &format!("Subscriber for {id} already exists")));
        }
        if self.operations.len() >= OPERATIONS_MAX {
            let message = format!("A socket carries {OPERATIONS_MAX} operations at a time.");
            return self.refuse(&id, Code::RateLimited, &message).await;
        }
        let Some(asked) = payload.and_then(Asked::of_message) else {
            return bad("The payload of subscribe is not a GraphQL request");
        };
        let request = match asked.request(caller.workspace, &self.http.0.documents) {
            Ok(request) => request,
            Err(not_served) => {
                let message = not_served.to_string();
                return self.refuse(&id, not_served.code(), &message).await;
            }
        };
        let name = RequestId::mint(self.http.services());
        let spent = self.http.services().access.spend(&caller, self.from.0);
        if let Err(NotAdmitted::TooMany(retry)) = spent {
            return self
                .error(&id, &Payload::from(&rate_limited(retry, &name)))
                .await;
        }
        let results = match Ready::read(&self.http, request, caller, name) {
            Ok(ready) => ready.results(&self.http),
            Err(answer) => return self.error(&id, &Payload::from(&*answer)).await,
        };
        self.started += 1;
        let number = self.started;
        let (name, saying) = (id.clone(), self.saying.clone());
        let mut results = results.ready_chunks(TOGETHER);
        let abort = self.tasks.spawn(async move {
            loop {
                let payloads = results.next().await;
                let is_last = payloads.is_none();
                let said = Said {
                    number,
                    id: name.clone(),
                    payloads: payloads.unwrap_or_default(),
                    is_last,
                };
                if saying.send(said).await.is_err() || is_last {
                    return;
                }
            }
        });
        let head = format!(
            r#"{{"id":{},"type":"next","payload":"#,
            Value::from(id.as_str())
        );
        self.operations.insert(
            id,
            Operation {
                number,
                abort,
                head: head.into(),
            },
        );
        ControlFlow::Continue(())
    }

    async fn tell(&mut self, said: Said) -> ControlFlow<End> {
        let Said {
            number,
            id,
            payloads,
            is_last,
        } = said;
        // Whoever completed an operation hears no more of it.
        let current = self
            .operations
            .get(&id)
            .filter(|operation| operation.number == number);
        let Some(operation) = current else {
            return ControlFlow::Continue(());
        };
        let head = Arc::clone(&operation.head);
        // What was refused as a whole ends with an error, and needs no complete.
        let is_refused = |payload: &&Payload| payload.refused.is_some();
        let refused = payloads.iter().find(is_refused);
        if refused.is_some() || is_last {
            operation.abort.abort();
            self.operations.remove(&id);
        }
        let results = payloads.iter().take_while(|payload| !is_refused(payload));
        let texts = results.map(|payload| format!("{head}{}}}", payload.json));
        let messages: Vec<Message> = texts.map(|text| Message::Text(text.into())).collect();
        self.deliver_all(messages).await?;
        match refused {
            Some(payload) => self.error(&id, payload).await,
            None if is_last => self.send(&json!({ "id": id, "type": "complete" })).await,
            None => ControlFlow::Continue(()),
        }
    }

    /// Refuses an operation before it is read.
    async fn refuse(&mut self, id: &str, code: Code, message: &str) -> ControlFlow<End> {
        let name = RequestId::mint(self.http.services());
        self.error(id, &Payload::from(&refused(code, message, &name)))
            .await
    }

    /// Says that an operation was refused as a whole.
    async fn error(&mut self, id: &str, payload: &Payload) -> ControlFlow<End> {
        let errors = payload.refused.as_ref().unwrap_or(&payload.json);
        let id = Value::from(id);
        self.say(format!(
            r#"{{"id":{id},"type":"error","payload":{errors}}}"#
        ))
        .await
    }

    async fn send(&mut self, message: &Value) -> ControlFlow<End> {
        self.say(message.to_string()).await
    }

    async fn say(&mut self, text: String) -> ControlFlow<End> {
        self.deliver(Message::Text(text.into())).await
    }

    async fn deliver(&mut self, message: Message) -> ControlFlow<End> {
        self.deliver_all(vec![message]).await
    }

    /// Writes several messages at once.
    async fn deliver_all(
        &mut self,
        messages: impl IntoIterator<Item = Message>,
    ) -> ControlFlow<End> {
        let began = Instant::now();
        let socket = &mut self.socket;
        let written = async move {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(SEND_WITHIN, written).await {
            Ok(Ok(())) => {
                if began.elapsed() > SLOW {
                    self.heard_at = Instant::now();
                }
                ControlFlow::Continue(())
            }
            // The client is gone, or does not read.
            Ok(Err(_)) | Err(_) => ControlFlow::Break(None),
        }
    }

    /// Says why, where there is somebody to hear it, and hangs up.
    async fn end(mut self, end: End) {
        self.tasks.abort_all();
        let Some((code, mut reason)) = end else {
            return;
        };
        // A control frame holds 125 bytes, two of them the code (RFC 6455 §5.5).
        while reason.len() > 123 {
            reason.pop();
        }
        let frame = CloseFrame {
            code,
            reason: Utf8Bytes::from(reason),
        };
        if self.deliver(Message::Close(Some(frame))).await.is_break() {
            return;
        }
        // The client answers with its own close; whatever else it says is too late.
        let answered = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        if timeout(Duration::from_secs(2), answered).await.is_err() {
            tracing::debug!("a client did not answer the close");
        }
    }
}

fn unreachable_database(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(error, "a token could not be looked up");
}

fn bad(reason: &str) -> ControlFlow<End> {
    ControlFlow::Break(close(4400, reason))
}

/// The token of a connection_init, by any spelling of `authorization`.
fn authorization(payload: &Value) -> Option<&str> {
    payload
        .as_object()?
        .iter()
        .find(|(name, _)| name.eq_ignore_ascii_case("authorization"))
        .and_then(|(_, value)| value.as_str())
}
