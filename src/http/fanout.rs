//! The same live events to many: whoever follows the log with the same document and variables is of
//! one group, for which each event is resolved and written once.
//!
//! A subscriber reads the log by itself up to where its group is, and then hears the group. One that
//! falls behind by more than the group keeps reads the log again: it costs no memory, and misses
//! nothing, for results carry the numbers of their events.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_graphql::{Request, Response, Variables};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::AbortHandle;

use super::payload::Payload;
use crate::app::{Caller, Role, Services};
use crate::bus::Entry;
use crate::domain::id::WorkspaceId;
use crate::domain::scope::SequenceScope;
use crate::graphql::document::Root;
use crate::graphql::event::{Feed, ahead_of_log};
use crate::graphql::scalar::EventCursor;
use crate::graphql::{CadenzaSchema, RequestId};
use crate::store::event as log;

/// The field whose results are shared.
const FIELD: &str = "executionEvents";
/// How many results a group keeps for those of its subscribers who are slower than the log.
const KEPT: usize = 256;
/// When so many groups are known, those that nobody follows are forgotten.
const FORGET_AT: usize = 256;

/// The groups of a process.
#[derive(Default)]
pub struct Fanout {
    groups: Mutex<HashMap<Key, Weak<Group>>>,
}

/// What makes two subscriptions the same: everything that a result depends on, and nothing else.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    workspace: WorkspaceId,
    role: Role,
    scope: SequenceScope,
    document: String,
    operation_name: Option<String>,
    /// As JSON, without the one that says where to begin.
    variables: String,
}

/// What a subscriber asks for.
struct Ask {
    key: Key,
    variables: Variables,
    caller: Caller,
    after: Option<i64>,
}

/// A result with the number of its event; or the last one, which has none.
#[derive(Clone)]
enum Item {
    Event(i64, Payload),
    End,
}

struct Group {
    items: broadcast::Sender<Item>,
    reached: Arc<AtomicI64>,
    ended: Arc<Mutex<Ended>>,
    task: AbortHandle,
}

/// How a group ended: with what it said at last.
#[derive(Clone, Default)]
enum Ended {
    #[default]
    Not,
    With(Option<Payload>),
}

impl Drop for Group {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Fanout {
    /// Follows a subscription whose results others may share; `Err` gives the request back where
    /// they cannot be.
    pub fn follow(
        self: &Arc<Self>,
        schema: &CadenzaSchema,
        request: Request,
        root: &Root,
        caller: &Caller,
    ) -> Result<impl Stream<Item = Payload> + Send + use<>, Box<Request>> {
        let after = match &root.after {
            None => Ok(None),
            Some(async_graphql::Value::String(text)) => text.parse().map(Some),
            Some(_) => return Err(Box::new(request)),
        };
        let Some(after) = after.ok().filter(|_| root.field == FIELD) else {
            return Err(Box::new(request));
        };
        let mut variables = request.variables;
        if let Some(name) = &root.after_variable {
            variables.remove(name);
        }
        let key = Key {
            workspace: caller.workspace,
            role: caller.role,
            scope: caller.scope.clone(),
            document: request.query,
            operation_name: request.operation_name,
            variables: serde_json::to_string(&variables).unwrap_or_default(),
        };
        let subscriber = Subscriber {
            fanout: Arc::clone(self),
            schema: schema.clone(),
            ask: Arc::new(Ask {
                key,
                variables,
                caller: caller.clone(),
                after: after.map(|EventCursor(seq)| seq),
            }),
            position: 0,
            state: State::New,
        };
        Ok(stream::unfold(subscriber, |mut subscriber| async move {
            let payload = subscriber.next().await?;
            Some((payload, subscriber))
        }))
    }

    /// How many subscribers hear a group.
    pub fn followers(&self) -> usize {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = groups.values().filter_map(Weak::upgrade);
        groups.map(|group| group.items.receiver_count()).sum()
    }

    /// The group of a subscription; a new one begins after event number `last`.
    fn join(&self, schema: &CadenzaSchema, ask: &Ask, last: i64) -> Arc<Group> {
        let mut groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let known = groups.get(&ask.key).and_then(Weak::upgrade);
        if let Some(group) = known.filter(|group| matches!(group.ended(), Ended::Not)) {
            return group;
        }
        if groups.len() >= FORGET_AT {
            groups.retain(|_, group| group.strong_count() > 0);
        }
        let group = Arc::new(Group::begin(schema, ask, last));
        groups.insert(ask.key.clone(), Arc::downgrade(&group));
        group
    }
}

impl Group {
    fn begin(schema: &CadenzaSchema, ask: &Ask, last: i64) -> Self {
        let items = broadcast::channel(KEPT).0;
        let reached = Arc::new(AtomicI64::new(last));
        let ended = Arc::new(Mutex::default());
        let entries = schema
            .services()
            .bus
            .subscribe(ask.key.workspace, Some(last));
        let passed_over = Arc::clone(&reached);
        let mut results = results(schema, ask, entries, move |seq| {
            passed_over.store(seq, Ordering::SeqCst);
        });
        let (sending, sent, end) = (items.clone(), Arc::clone(&reached), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            let mut last = None;
            while let Some((seq, payload)) = results.next().await {
                let Some(seq) = seq else {
                    last = Some(payload);
                    break;
                };
                // Nobody to hear it is no reason to stop: somebody may be joining.
                drop(sending.send(Item::Event(seq, payload)));
                sent.store(seq, Ordering::SeqCst);
            }
            *end.lock().unwrap_or_else(PoisonError::into_inner) = Ended::With(last);
            drop(sending.send(Item::End));
        });
        Self {
            items,
            reached,
            ended,
            task: task.abort_handle(),
        }
    }

    fn ended(&self) -> Ended {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.clone()
    }
}

/// The results of a subscription over these entries, each with the number of its event; one without
/// is an error, and the last. `passed_over` hears of the entries that have no result.
fn results(
    schema: &CadenzaSchema,
    ask: &Ask,
    entries: impl Stream<Item = Entry> + Send + 'static,
    passed_over: impl Fn(i64) + Send + Sync + 'static,
) -> BoxStream<'static, (Option<i64>, Payload)> {
    // Events are resolved one after the other: their results come in the order of the numbers.
    let numbers = Arc::new(Mutex::new(VecDeque::new()));
    let judged = Arc::clone(&numbers);
    let feed = Feed::new(entries, move |seq, passes| {
        if passes {
            judged
                .lock()
                .unwrap_or_else(PoisonError::into_inner)
                .push_back(seq);
        } else {
            passed_over(seq);
        }
    });
    let mut request = Request::new(&ask.key.document)
        .variables(ask.variables.clone())
        .data(ask.caller.clone())
        .data(RequestId::mint(schema.services()))
        .data(feed);
    request.operation_name.clone_from(&ask.key.operation_name);
    let numbered = move |answer: Response| {
        let mut numbers = numbers.lock().unwrap_or_else(PoisonError::into_inner);
        (numbers.pop_front(), Payload::from(&answer))
    };
    schema.execute_stream(request).map(numbered).boxed()
}

/// One subscriber.
struct Subscriber {
    fanout: Arc<Fanout>,
    schema: CadenzaSchema,
    ask: Arc<Ask>,
    /// The number of the last event that was handed on, or after which to begin.
    position: i64,
    state: State,
}

enum State {
    New,
    /// Reading the log until where the group was.
    Behind {
        results: BoxStream<'static, (Option<i64>, Payload)>,
        until: i64,
        hearing: Hearing,
    },
    Live(Hearing),
    Over,
}

struct Hearing {
    group: Arc<Group>,
    items: broadcast::Receiver<Item>,
}

impl Subscriber {
    async fn next(&mut self) -> Option<Payload> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::New => {
                    if let Some(refused) = self.begin().await {
                        return Some(refused);
                    }
                }
                State::Behind {
                    mut results,
                    until,
                    hearing,
                } => match results.next().await {
                    Some((Some(seq), payload)) => {
                        self.position = seq;
                        self.state = State::Behind {
                            results,
                            until,
                            hearing,
                        };
                        return Some(payload);
                    }
                    Some((None, failed)) => return Some(failed),
                    None => {
                        self.position = self.position.max(until);
                        self.state = State::Live(hearing);
                    }
                },
                State::Live(hearing) => match self.hear(hearing).await {
                    Some(payload) => return Some(payload),
                    None if matches!(self.state, State::Over) => return None,
                    None => {}
                },
                State::Over => return None,
            }
        }
    }

    /// Joins the group. Answers what is wrong with the subscription, if the log cannot be read or
    /// has not reached where it is to begin.
    async fn begin(&mut self) -> Option<Payload> {
        let services: &Services = self.schema.services();
        let last = match log::last_seq(services.db.read(), self.ask.key.workspace).await {
            Ok(last) => last,
            Err(error) => return Some((&self.schema.refusal(error)).into()),
        };
        self.position = self.ask.after.unwrap_or(last);
        if self.position > last {
            return Some((&self.schema.refusal(ahead_of_log())).into());
        }
        let group = self.fanout.join(&self.schema, &self.ask, last);
        // Heard before it is asked how far it is: nothing falls between.
        let items = group.items.subscribe();
        self.catch_up(Hearing { group, items });
        None
    }

    /// Reads the log up to where the group is, if this subscriber is not so far.
    fn catch_up(&mut self, hearing: Hearing) {
        let until = hearing.group.reached.load(Ordering::SeqCst);
        if self.position >= until {
            self.state = State::Live(hearing);
            return;
        }
        let bus = &self.schema.services().bus;
        let entries = bus.subscribe(self.ask.key.workspace, Some(self.position));
        // Numbers have no gaps: this one comes, and is the last to be taken.
        let entries = stream::unfold(Some(entries.boxed()), move |entries| async move {
            let mut entries = entries?;
            let entry = entries.next().await?;
            let is_last = entry.seq >= until;
            Some((entry, (!is_last).then_some(entries)))
        });
        let results = results(&self.schema, &self.ask, entries, |_| {});
        self.state = State::Behind {
            results,
            until,
            hearing,
        };
    }

    /// What the group says next; `None` with another state where it says nothing for this one.
    async fn hear(&mut self, mut hearing: Hearing) -> Option<Payload> {
        // A group may have ended before anybody listened.
        if let Ended::With(last) = hearing.group.ended()
            && hearing.items.is_empty()
        {
            return last;
        }
        match hearing.items.recv().await {
            Ok(Item::Event(seq, payload)) => {
                let is_new = seq > self.position;
                self.state = State::Live(hearing);
                if is_new {
                    self.position = seq;
                }
                is_new.then_some(payload)
            }
            Ok(Item::End) => match hearing.group.ended() {
                Ended::With(last) => last,
                Ended::Not => None,
            },
            Err(RecvError::Lagged(_)) => {
                self.catch_up(hearing);
                None
            }
            Err(RecvError::Closed) => None,
        }
    }
}
