//! GraphQL over WebSocket: the sub-protocol graphql-transport-ws, to the letter.
//!
//! What the protocol says is in [`machine`]; here is what it is told and what it asks for. One task
//! serves a socket, and each operation has one of its own: a client that reads slowly must not
//! hold up a mutation, whose transaction others wait for.

pub mod machine;
mod message;

use std::collections::{HashMap, VecDeque};
use std::time::Duration;

use axum::extract::WebSocketUpgrade;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use futures_util::future::{BoxFuture, pending};
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::sync::mpsc;
use tokio::task::{AbortHandle, JoinSet};
use tokio::time::{Instant, interval_at, timeout};

use self::machine::{Action, Event, Machine, PING_EVERY, Refusal};
use super::answer::rate_limited;
use super::payload::Payload;
use super::read::Asked;
use super::run::{Ready, refused};
use super::shares::{Line, Part};
use super::{From, Http};
use crate::app::Caller;
use crate::app::token::access::NotAdmitted;
use crate::graphql::RequestId;
use crate::graphql::error::{self, Code};
use crate::store::StoreError;

const PROTOCOL: &str = "graphql-transport-ws";
/// How long a client may take to read what is sent at once.
const SEND_WITHIN: Duration = Duration::from_secs(30);
/// How long a client may take to answer a close.
const CLOSE_WITHIN: Duration = Duration::from_secs(2);
/// The largest message of a client, in bytes.
const MESSAGE_MAX: usize = 1 << 20;
/// How many results of an operation are handed on and written at once, where so many are ready.
const TOGETHER: usize = 64;
/// How many such handfuls of a socket's operations wait for the client at most; then the operations
/// wait.
const RESULTS_AHEAD: usize = 4;
/// What is read of a client at once, in bytes: its messages are small, and there are many clients.
const READ_BUFFER: usize = 4 << 10;
/// A message that took so long to send was waiting for the client to read, and it did.
const SLOW: Duration = Duration::from_secs(1);

/// Answers a request to upgrade; a header with a wrong token is refused at once.
pub(super) async fn open(
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
        // A frame is kept as it comes, before its message is measured.
        .max_frame_size(MESSAGE_MAX)
        .max_message_size(MESSAGE_MAX);
    if upgrade.selected_protocol().is_none() {
        let message = format!("Open the WebSocket with the sub-protocol {PROTOCOL}.\n");
        return (StatusCode::BAD_REQUEST, message).into_response();
    }
    let first = if given && caller.is_none() {
        Event::NotAdmitted(Refusal::WrongToken)
    } else {
        Event::Alive
    };
    // From here on the server's end waits for this socket's.
    let counted = http.0.sockets.token();
    upgrade.on_upgrade(move |socket| async move {
        let session = Session::new(http, socket, caller, from);
        session.run(first).await;
        drop(counted);
    })
}

/// Something that an operation has to say.
struct Said {
    number: u64,
    /// What came, in its order.
    payloads: Vec<Payload>,
    is_last: bool,
}

/// The answer to who comes in with a token: who it is, and the place that the socket takes among the
/// token's.
type Admission = Result<(Caller, Part), Refusal>;

/// How a socket ends.
enum End {
    Close(CloseFrame),
    HangUp,
}

struct Session {
    http: Http,
    socket: WebSocket,
    machine: Machine,
    opened_at: Instant,
    caller: Option<Caller>,
    from: From,
    place: Option<Part>,
    /// The line of the queries and mutations.
    line: Line,
    /// Ready when it is known who comes in.
    admission: BoxFuture<'static, Admission>,
    /// Ready when the token is revoked or has expired.
    over: BoxFuture<'static, ()>,
    running: HashMap<u64, AbortHandle>,
    tasks: JoinSet<()>,
    saying: mpsc::Sender<Said>,
    said: mpsc::Receiver<Said>,
}

impl Session {
    fn new(http: Http, socket: WebSocket, caller: Option<Caller>, from: From) -> Self {
        let (saying, said) = mpsc::channel(RESULTS_AHEAD);
        Self {
            http,
            socket,
            machine: Machine::new(caller.is_some()),
            opened_at: Instant::now(),
            caller,
            from,
            place: None,
            line: Line::default(),
            admission: pending().boxed(),
            over: pending().boxed(),
            running: HashMap::new(),
            tasks: JoinSet::new(),
            saying,
            said,
        }
    }

    /// Serves the socket until its end, from the first thing that happened.
    async fn run(mut self, mut event: Event) {
        let shutdown = self.http.0.shutdown.clone();
        let mut tick = interval_at(self.opened_at + PING_EVERY, PING_EVERY);
        loop {
            if let Some(end) = self.tell(event).await {
                return self.end(end).await;
            }
            while self.tasks.try_join_next().is_some() {}
            tick.reset_at(self.opened_at + self.machine.due_at());
            // Every branch only takes what is ready: dropping the others loses nothing.
            event = tokio::select! {
                () = shutdown.cancelled() => Event::Shutdown,
                () = &mut self.over => Event::TokenOver,
                admission = &mut self.admission => self.admitted(admission),
                _ = tick.tick() => Event::Tick,
                message = self.socket.recv() => match message {
                    Some(Ok(Message::Text(text))) => Event::Text(text.as_str().to_owned()),
                    Some(Ok(Message::Binary(_))) => Event::Binary,
                    Some(Ok(Message::Ping(_) | Message::Pong(_))) => Event::Alive,
                    Some(Ok(Message::Close(_)) | Err(_)) | None => Event::Gone,
                },
                Some(said) = self.said.recv() => {
                    // What ends with the server has not come to its own end.
                    if shutdown.is_cancelled() {
                        Event::Shutdown
                    } else {
                        self.results(said)
                    }
                }
            };
        }
    }

    /// Tells the machine what happened, and does what it asks for.
    async fn tell(&mut self, event: Event) -> Option<End> {
        let mut events = VecDeque::from([event]);
        let mut messages = Vec::new();
        let mut end = None;
        while let Some(event) = events.pop_front() {
            for action in self.machine.on(self.opened_at.elapsed(), event) {
                match action {
                    Action::Send(text) => messages.push(Message::Text(text.into())),
                    Action::Ping => messages.push(Message::Ping(Vec::new().into())),
                    Action::Admit(token) => self.admission = self.admit(token).boxed(),
                    Action::Start { number, asked } => {
                        events.extend(self.start(number, *asked).err());
                    }
                    Action::Refuse { id, code, message } => {
                        let name = RequestId::mint(self.http.services());
                        let payload = Payload::from(&refused(code, &message, &name));
                        let errors = payload.refused.unwrap_or(payload.json);
                        let text = machine::error(&id, &errors);
                        messages.push(Message::Text(text.into()));
                    }
                    Action::Abort(number) => {
                        if let Some(operation) = self.running.remove(&number) {
                            operation.abort();
                        }
                    }
                    Action::Close { code, reason } => {
                        let reason = Utf8Bytes::from(reason);
                        end = Some(End::Close(CloseFrame { code, reason }));
                    }
                    Action::HangUp => end = Some(End::HangUp),
                }
            }
        }
        if messages.is_empty() {
            return end;
        }
        match self.deliver(messages).await {
            Delivered::AtOnce => end,
            Delivered::Slowly => {
                // Nothing is to be done for somebody who is there.
                drop(self.machine.on(self.opened_at.elapsed(), Event::Alive));
                end
            }
            Delivered::Not => Some(End::HangUp),
        }
    }

    /// Looks up who comes in, while the socket goes on.
    fn admit(&self, token: Option<String>) -> impl Future<Output = Admission> + Send + use<> {
        let (http, from, came) = (self.http.clone(), self.from, self.caller.clone());
        async move {
            let caller = match (token, came) {
                (Some(token), _) => http.services().access.authenticate(&token, from.0).await,
                (None, came) => came.ok_or(NotAdmitted::NoToken),
            };
            let caller = caller.map_err(|not_admitted| match not_admitted {
                NotAdmitted::NoToken => Refusal::WrongToken,
                NotAdmitted::TooMany(_) => Refusal::TooManyTries,
                NotAdmitted::Store(error) => {
                    unreachable_database(&error);
                    Refusal::Unreachable
                }
            })?;
            let place = http.0.shares.of(caller.token).socket();
            Ok((caller, place.ok_or(Refusal::TooManySockets)?))
        }
    }

    fn admitted(&mut self, admission: Admission) -> Event {
        self.admission = pending().boxed();
        match admission {
            Ok((caller, place)) => {
                self.over = self.http.services().access.over(caller.token).boxed();
                self.caller = Some(caller);
                self.place = Some(place);
                Event::Admitted
            }
            Err(refusal) => Event::NotAdmitted(refusal),
        }
    }

    /// Begins an operation, in a task of its own; `Err` has the answer to one that is not run.
    fn start(&mut self, number: u64, asked: Asked) -> Result<(), Event> {
        let mut results = self
            .ready(asked)
            .map_err(|payload| Event::Results {
                number,
                payloads: vec![payload],
                is_last: true,
            })?
            .results(&self.http)
            .ready_chunks(TOGETHER);
        let saying = self.saying.clone();
        let abort = self.tasks.spawn(async move {
            loop {
                let payloads = results.next().await;
                let is_last = payloads.is_none();
                let said = Said {
                    number,
                    payloads: payloads.unwrap_or_default(),
                    is_last,
                };
                if saying.send(said).await.is_err() || is_last {
                    return;
                }
            }
        });
        self.running.insert(number, abort);
        Ok(())
    }

    /// Reads an operation, and takes it from what the token may do.
    fn ready(&self, asked: Asked) -> Result<Ready, Payload> {
        let http = &self.http;
        let name = RequestId::mint(http.services());
        // The machine begins no operation before somebody came in.
        let Some(caller) = self.caller.clone() else {
            let refusal = refused(Code::Unauthenticated, error::NO_TOKEN, &name);
            return Err(Payload::from(&refusal));
        };
        let request = asked.request(caller.workspace, &http.0.documents);
        let request = request.map_err(|not_served| {
            let message = not_served.to_string();
            Payload::from(&refused(not_served.code(), &message, &name))
        })?;
        let spent = http.services().access.spend(&caller, self.from.0);
        if let Err(NotAdmitted::TooMany(retry)) = spent {
            return Err(Payload::from(&rate_limited(retry, &name)));
        }
        let ready = Ready::read(http, request, caller, name);
        let mut ready = ready.map_err(|answer| Payload::from(&*answer))?;
        ready.line = Some(self.line.clone());
        Ok(ready)
    }

    fn results(&mut self, said: Said) -> Event {
        let Said {
            number,
            payloads,
            is_last,
        } = said;
        if is_last {
            self.running.remove(&number);
        }
        Event::Results {
            number,
            payloads,
            is_last,
        }
    }

    /// Writes several messages at once.
    async fn deliver(&mut self, messages: Vec<Message>) -> Delivered {
        let began = Instant::now();
        let socket = &mut self.socket;
        let written = async move {
            for message in messages {
                socket.feed(message).await?;
            }
            socket.flush().await
        };
        match timeout(SEND_WITHIN, written).await {
            Ok(Ok(())) if began.elapsed() > SLOW => Delivered::Slowly,
            Ok(Ok(())) => Delivered::AtOnce,
            Ok(Err(_)) | Err(_) => Delivered::Not,
        }
    }

    /// Says why, where there is somebody to hear it, and hangs up.
    async fn end(mut self, end: End) {
        self.tasks.abort_all();
        let End::Close(frame) = end else {
            // A close of the client's is answered with the same.
            let flushed = timeout(CLOSE_WITHIN, self.socket.flush()).await;
            drop(flushed);
            return;
        };
        let close = vec![Message::Close(Some(frame))];
        if matches!(self.deliver(close).await, Delivered::Not) {
            return;
        }
        // The client answers with its own close; whatever else it says is too late.
        let answered = async { while let Some(Ok(_)) = self.socket.recv().await {} };
        if timeout(CLOSE_WITHIN, answered).await.is_err() {
            tracing::debug!("a client did not answer the close");
        }
    }
}

/// How messages were written.
enum Delivered {
    AtOnce,
    /// The client was behind, and then took them.
    Slowly,
    /// The client is gone, or does not read.
    Not,
}

fn unreachable_database(error: &StoreError) {
    let error = error as &dyn std::error::Error;
    tracing::error!(error, "a token could not be looked up");
}
