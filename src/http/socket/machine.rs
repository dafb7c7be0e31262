//! The rules of graphql-transport-ws as a machine: what happens on a socket goes in, what is to be done
//! comes out. It does no I/O and reads no clock; when something happens is told with it.
//!
//! The close codes are the protocol's: 4400 a bad message, 4401 not initialised or no token, 4403
//! a wrong token, 4408 no init in time, 4409 an id that is in use, 4429 a second init or too many of
//! something; 1001 when the server goes away, and 1013 when it cannot say who somebody is.
//!
//! Messages are taken in their order: those that come while a connection_init is looked up wait for the
//! answer, up to a bound.

#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use serde_json::{Value, json};

use super::message::Message;
use crate::graphql::error::Code;
use crate::http::bearer;
use crate::http::payload::Payload;
use crate::http::read::Asked;

/// How long a client has for its connection_init.
pub const INIT_WITHIN: Duration = Duration::from_secs(10);
/// How often the server pings.
pub const PING_EVERY: Duration = Duration::from_secs(12);
/// After how long a silent client is given up.
pub const SILENT_MOST: Duration = Duration::from_secs(36);
/// The most operations of one socket at a time.
pub const OPERATIONS_MAX: usize = 100;
/// The most bytes of an operation's id.
pub const ID_MAX: usize = 256;
/// How many messages wait while a connection_init is looked up, at most.
pub const HELD_MAX: usize = 128;
/// How many bytes they have together, at most.
pub const HELD_BYTES_MAX: usize = 256 << 10;
/// A control frame holds 125 bytes, two of them the code (RFC 6455 §5.5).
const REASON_MAX: usize = 123;

/// What happens on a socket.
#[derive(Debug)]
pub enum Event {
    /// The client sent a text.
    Text(String),
    /// The client sent bytes.
    Binary,
    /// The client is there: it answered a ping, or took what it was sent after some time.
    Alive,
    /// Whoever was asked about comes in.
    Admitted,
    /// Whoever was asked about, or came with the request that opened the socket, does not come in.
    NotAdmitted(Refusal),
    /// An operation has results.
    Results {
        /// Which one.
        number: u64,
        /// What came, in its order.
        payloads: Vec<Payload>,
        /// Whether nothing follows.
        is_last: bool,
    },
    /// Time has passed.
    Tick,
    /// The token that the client came with was revoked or has expired.
    TokenOver,
    /// The server goes away.
    Shutdown,
    /// The client has hung up, or cannot be reached.
    Gone,
}

/// Why somebody does not come in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// The token is none, or not any more.
    WrongToken,
    /// Too many tokens were tried.
    TooManyTries,
    /// The token has as many sockets as it may.
    TooManySockets,
    /// It cannot be looked up.
    Unreachable,
}

/// What is to be done, in this order.
#[derive(Debug)]
pub enum Action {
    /// Send a text.
    Send(String),
    /// Send a ping, as a frame.
    Ping,
    /// Say whether this token comes in; without one, whether whoever opened the socket does.
    Admit(Option<String>),
    /// Run an operation under this number.
    Start {
        /// Which one it is.
        number: u64,
        /// What it asks for.
        asked: Box<Asked>,
    },
    /// Tell the client that an operation is not run, by an [`error`].
    Refuse {
        /// The operation's id.
        id: String,
        /// What kind of refusal it is.
        code: Code,
        /// The refusal in words.
        message: String,
    },
    /// Stop an operation; nobody hears more of it.
    Abort(u64),
    /// Close the socket. Nothing follows.
    Close {
        /// The protocol's code.
        code: u16,
        /// Why, in at most 123 bytes.
        reason: String,
    },
    /// Let the socket go without a word. Nothing follows.
    HangUp,
}

/// How far the handshake is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Opened,
    Admitting,
    Ready,
    Ended,
}

/// An operation that goes on.
#[derive(Debug)]
struct Running {
    id: Arc<str>,
    /// What each of its results begins with on the wire.
    head: String,
}

/// Why a socket ends.
enum End {
    Close(u16, String),
    HangUp,
}

type Step = Result<(), End>;

/// One socket, as the protocol sees it.
#[derive(Debug)]
pub struct Machine {
    stage: Stage,
    /// Whether the request that opened the socket had a valid token.
    came_with_token: bool,
    heard_at: Duration,
    ping_at: Duration,
    operations: BTreeMap<u64, Running>,
    numbers: HashMap<Arc<str>, u64>,
    started: u64,
    /// What came while a connection_init is looked up.
    held: VecDeque<String>,
    held_bytes: usize,
}

fn close(code: u16, reason: impl Into<String>) -> Step {
    Err(End::Close(code, reason.into()))
}

impl Machine {
    /// A socket that was just opened; all instants are reckoned from here.
    pub fn new(came_with_token: bool) -> Self {
        Self {
            stage: Stage::Opened,
            came_with_token,
            heard_at: Duration::ZERO,
            ping_at: PING_EVERY,
            operations: BTreeMap::new(),
            numbers: HashMap::new(),
            started: 0,
            held: VecDeque::new(),
            held_bytes: 0,
        }
    }

    /// When the machine wants to be told the time, at the latest.
    pub fn due_at(&self) -> Duration {
        match self.stage {
            Stage::Opened => self.ping_at.min(INIT_WITHIN),
            Stage::Admitting | Stage::Ready | Stage::Ended => self.ping_at,
        }
    }

    /// How many operations go on.
    pub fn running(&self) -> usize {
        self.operations.len()
    }

    /// How many bytes of messages wait.
    pub fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Takes what happens, so long after the socket was opened. After the end nothing is to be done.
    pub fn on(&mut self, now: Duration, event: Event) -> Vec<Action> {
        let mut actions = Vec::new();
        if self.stage == Stage::Ended {
            return actions;
        }
        if let Err(end) = self.take(now, event, &mut actions) {
            self.end(end, &mut actions);
        }
        actions
    }

    fn take(&mut self, now: Duration, event: Event, actions: &mut Vec<Action>) -> Step {
        match event {
            Event::Text(text) => {
                self.heard_at = now;
                self.hear(text, actions)
            }
            Event::Binary => close(4400, "Messages are text"),
            Event::Alive => {
                self.heard_at = now;
                Ok(())
            }
            Event::Admitted => self.admitted(actions),
            Event::NotAdmitted(refusal) => match self.stage {
                // Nobody was asked about.
                Stage::Ready | Stage::Ended => Ok(()),
                Stage::Opened | Stage::Admitting => refusal.close(),
            },
            Event::Results {
                number,
                payloads,
                is_last,
            } => {
                self.results(number, &payloads, is_last, actions);
                Ok(())
            }
            Event::Tick => self.tick(now, actions),
            Event::TokenOver => close(4403, "The token is no longer valid"),
            Event::Shutdown => close(1001, "The server is going away"),
            Event::Gone => Err(End::HangUp),
        }
    }

    fn tick(&mut self, now: Duration, actions: &mut Vec<Action>) -> Step {
        if self.stage == Stage::Opened && now >= INIT_WITHIN {
            return close(4408, "Connection initialisation timeout");
        }
        if now < self.ping_at {
            return Ok(());
        }
        if now.saturating_sub(self.heard_at) > SILENT_MOST {
            return Err(End::HangUp);
        }
        self.ping_at = now + PING_EVERY;
        if self.stage == Stage::Ready {
            actions.push(send(&json!({ "type": "ping" })));
        }
        actions.push(Action::Ping);
        Ok(())
    }

    fn hear(&mut self, text: String, actions: &mut Vec<Action>) -> Step {
        if self.stage != Stage::Admitting {
            return self.obey(&text, actions);
        }
        self.held_bytes += text.len();
        if self.held.len() >= HELD_MAX || self.held_bytes > HELD_BYTES_MAX {
            return close(4429, "Too many messages before the connection_ack");
        }
        self.held.push_back(text);
        Ok(())
    }

    fn obey(&mut self, text: &str, actions: &mut Vec<Action>) -> Step {
        match Message::read(text) {
            Ok(Message::Init(authorization)) => self.init(authorization.as_deref(), actions),
            Ok(Message::Ping(payload)) => {
                let pong = match payload {
                    Some(payload) => json!({ "type": "pong", "payload": payload }),
                    None => json!({ "type": "pong" }),
                };
                actions.push(send(&pong));
                Ok(())
            }
            Ok(Message::Pong) => Ok(()),
            Ok(Message::Subscribe { id, payload }) => self.subscribe(id, payload, actions),
            Ok(Message::Complete { id }) => {
                if let Some(number) = self.numbers.remove(id.as_str()) {
                    self.operations.remove(&number);
                    actions.push(Action::Abort(number));
                }
                Ok(())
            }
            Err(reason) => close(4400, reason),
        }
    }

    fn init(&mut self, authorization: Option<&str>, actions: &mut Vec<Action>) -> Step {
        if self.stage != Stage::Opened {
            return close(4429, "Too many initialisation requests");
        }
        let token = match authorization.map(bearer) {
            Some(Some(token)) => Some(token.to_owned()),
            Some(None) => return Refusal::WrongToken.close(),
            None if self.came_with_token => None,
            None => return close(4401, "Unauthorized"),
        };
        self.stage = Stage::Admitting;
        actions.push(Action::Admit(token));
        Ok(())
    }

    fn admitted(&mut self, actions: &mut Vec<Action>) -> Step {
        if self.stage != Stage::Admitting {
            return Ok(());
        }
        self.stage = Stage::Ready;
        actions.push(send(&json!({ "type": "connection_ack" })));
        self.held_bytes = 0;
        while let Some(text) = self.held.pop_front() {
            self.obey(&text, actions)?;
        }
        Ok(())
    }

    fn subscribe(&mut self, id: String, payload: Option<Value>, actions: &mut Vec<Action>) -> Step {
        if self.stage != Stage::Ready {
            return close(4401, "Unauthorized");
        }
        if id.is_empty() || id.len() > ID_MAX {
            return close(4400, "An id has from 1 to 256 bytes");
        }
        if self.numbers.contains_key(id.as_str()) {
            return close(4409, format!("Subscriber for {id} already exists"));
        }
        if self.operations.len() >= OPERATIONS_MAX {
            actions.push(Action::Refuse {
                id,
                code: Code::RateLimited,
                message: format!("A socket carries {OPERATIONS_MAX} operations at a time."),
            });
            return Ok(());
        }
        let Some(asked) = payload.and_then(Asked::of_message) else {
            return close(4400, "The payload of subscribe is not a GraphQL request");
        };
        self.started += 1;
        let number = self.started;
        let name = Value::from(id.as_str());
        let head = format!(r#"{{"id":{name},"type":"next","payload":"#);
        let id: Arc<str> = id.into();
        self.numbers.insert(Arc::clone(&id), number);
        self.operations.insert(number, Running { id, head });
        let asked = Box::new(asked);
        actions.push(Action::Start { number, asked });
        Ok(())
    }

    fn results(
        &mut self,
        number: u64,
        payloads: &[Payload],
        is_last: bool,
        actions: &mut Vec<Action>,
    ) {
        // Whoever completed an operation hears no more of it.
        let Some(Running { id, head }) = self.operations.get(&number) else {
            return;
        };
        for payload in payloads {
            // What was refused as a whole ends with an error, and needs no complete.
            if let Some(errors) = &payload.refused {
                actions.push(Action::Send(error(id, errors)));
                if !is_last {
                    actions.push(Action::Abort(number));
                }
                self.forget(number);
                return;
            }
            actions.push(Action::Send(format!("{head}{}}}", payload.json)));
        }
        if is_last {
            actions.push(send(&json!({ "id": id.as_ref(), "type": "complete" })));
            self.forget(number);
        }
    }

    fn forget(&mut self, number: u64) {
        if let Some(running) = self.operations.remove(&number) {
            self.numbers.remove(&running.id);
        }
    }

    fn end(&mut self, end: End, actions: &mut Vec<Action>) {
        self.stage = Stage::Ended;
        self.numbers.clear();
        let running = std::mem::take(&mut self.operations).into_keys();
        actions.extend(running.map(Action::Abort));
        self.held.clear();
        self.held_bytes = 0;
        actions.push(match end {
            End::HangUp => Action::HangUp,
            End::Close(code, mut reason) => {
                reason.truncate(reason.floor_char_boundary(REASON_MAX));
                Action::Close { code, reason }
            }
        });
    }
}

impl Refusal {
    fn close(self) -> Step {
        match self {
            Self::WrongToken => close(4403, "Forbidden"),
            Self::TooManyTries => close(4429, "Too many attempts"),
            Self::TooManySockets => close(4429, "The token has as many sockets open as it may"),
            Self::Unreachable => close(1013, "The database cannot be reached"),
        }
    }
}

/// What says that an operation was refused as a whole.
pub fn error(id: &str, errors: &str) -> String {
    let id = Value::from(id);
    format!(r#"{{"id":{id},"type":"error","payload":{errors}}}"#)
}

fn send(message: &Value) -> Action {
    Action::Send(message.to_string())
}
