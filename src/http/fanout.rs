//! The same live events to many: whoever follows the log with the same document and variables is of
//! one group, for which each event is resolved and written once.
//!
//! A subscriber reads the log by itself up to where its group is, and then hears the group. One that
//! falls behind by more than the group keeps reads the log again: it costs no memory, and misses
//! nothing, for results carry the numbers of their events.

mod results;

use std::collections::HashMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use async_graphql::{Request, ScalarType, Variables};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::task::AbortHandle;

use self::results::{Numbered, results};
use super::payload::Payload;
use crate::app::{Caller, Role, Services};
use crate::bus::Patience;
use crate::domain::id::WorkspaceId;
use crate::domain::scope::SequenceScope;
use crate::graphql::CadenzaSchema;
use crate::graphql::document::Root;
use crate::graphql::event::ahead_of_log;
use crate::graphql::scalar::EventCursor;
use crate::store::event as log;

/// The field whose results are shared.
const FIELD: &str = "executionEvents";
/// How many handfuls of results a group keeps for those of its subscribers who are slower than the
/// log; a handful has one result where events come one by one, and at most 64.
const KEPT: usize = 64;
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
    root: Root,
    variables: Variables,
    caller: Caller,
    after: Option<i64>,
}

/// Results with the numbers of their events, in order; or the end.
#[derive(Clone)]
enum Item {
    Events(Arc<[(i64, Payload)]>),
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

/// Tells everybody of a group's end, however it comes.
struct Ending {
    ended: Arc<Mutex<Ended>>,
    items: broadcast::Sender<Item>,
    /// What the group says at last.
    last: Option<Payload>,
}

impl Drop for Ending {
    fn drop(&mut self) {
        let last = self.last.take();
        *self.ended.lock().unwrap_or_else(PoisonError::into_inner) = Ended::With(last);
        drop(self.items.send(Item::End));
    }
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
            // Where to begin is each one's own. The same for all in its place, for it may be one that
            // must be given; who is fed does not look at it.
            variables.insert(name.clone(), EventCursor(0).to_value());
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
                root: root.clone(),
                variables,
                caller: caller.clone(),
                after: after.map(|EventCursor(seq)| seq),
            }),
            position: 0,
            state: State::New,
        };
        let handfuls = stream::unfold(subscriber, |mut subscriber| async move {
            let payloads = subscriber.next().await?;
            Some((stream::iter(payloads), subscriber))
        });
        Ok(handfuls.flatten())
    }

    /// How many subscribers hear a group.
    pub fn followers(&self) -> usize {
        let groups = self.groups.lock().unwrap_or_else(PoisonError::into_inner);
        let groups = groups.values().filter_map(Weak::upgrade);
        groups.map(|group| group.items.receiver_count()).sum()
    }

    /// The group of a subscription; a new one begins after event number `last`.
    fn join(&self, schema: &CadenzaSchema, ask: &Arc<Ask>, last: i64) -> Arc<Group> {
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
    fn begin(schema: &CadenzaSchema, ask: &Arc<Ask>, last: i64) -> Self {
        let items = broadcast::channel(KEPT).0;
        let reached = Arc::new(AtomicI64::new(last));
        let ended = Arc::new(Mutex::default());
        let entries = schema
            .services()
            .bus
            .subscribe_to_many(ask.key.workspace, Some(last));
        let passed_over = Arc::clone(&reached);
        let mut results = results(schema, ask, entries, move |seq| {
            passed_over.fetch_max(seq, Ordering::SeqCst);
        });
        let (sending, sent, end) = (items.clone(), Arc::clone(&reached), Arc::clone(&ended));
        let task = tokio::spawn(async move {
            let mut ending = Ending {
                ended: end,
                items: sending.clone(),
                last: None,
            };
            let last = &mut ending.last;
            let mut patience = Patience::default();
            while let Some(handful) = results.next().await {
                let mut events = Vec::with_capacity(handful.len());
                for (seq, payload) in handful {
                    match seq {
                        Some(seq) => events.push((seq, payload)),
                        None => *last = Some(payload),
                    }
                }
                if let Some((seq, _)) = events.last() {
                    patience.wait(&sending, KEPT).await;
                    // Before they are sent: whoever begins to listen in between reads the log up to
                    // them, where it would else miss them.
                    sent.fetch_max(*seq, Ordering::SeqCst);
                    // Nobody to hear it is no reason to stop: somebody may be joining.
                    drop(sending.send(Item::Events(events.into())));
                }
                if last.is_some() {
                    break;
                }
            }
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
        results: BoxStream<'static, Vec<Numbered>>,
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
    async fn next(&mut self) -> Option<Vec<Payload>> {
        loop {
            match std::mem::replace(&mut self.state, State::Over) {
                State::New => {
                    if let Some(refused) = self.begin().await {
                        return Some(vec![refused]);
                    }
                }
                State::Behind {
                    mut results,
                    until,
                    hearing,
                } => match results.next().await {
                    Some(handful) => {
                        // What has no number is an error, and the last.
                        if let Some((Some(seq), _)) = handful.last() {
                            self.position = *seq;
                            self.state = State::Behind {
                                results,
                                until,
                                hearing,
                            };
                        }
                        return Some(handful.into_iter().map(|(_, payload)| payload).collect());
                    }
                    None => {
                        self.position = self.position.max(until);
                        self.state = State::Live(hearing);
                    }
                },
                State::Live(hearing) => match self.hear(hearing).await {
                    Some(payloads) => return Some(payloads),
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
        let entries = bus.subscribe_to_many(self.ask.key.workspace, Some(self.position));
        // Numbers have no gaps: this one comes, and is the last to be taken.
        let entries = stream::unfold(Some(entries.boxed()), move |entries| async move {
            let mut entries = entries?;
            let mut handful = entries.next().await?;
            let is_last = handful.last().is_some_and(|entry| entry.seq >= until);
            handful.retain(|entry| entry.seq <= until);
            Some((handful, (!is_last).then_some(entries)))
        });
        let results = results(&self.schema, &self.ask, entries, |_| {});
        self.state = State::Behind {
            results,
            until,
            hearing,
        };
    }

    /// What the group says next; `None` with another state where it says nothing for this one.
    async fn hear(&mut self, mut hearing: Hearing) -> Option<Vec<Payload>> {
        // A group may have ended before anybody listened.
        if let Ended::With(last) = hearing.group.ended()
            && hearing.items.is_empty()
        {
            return last.map(|last| vec![last]);
        }
        match hearing.items.recv().await {
            Ok(Item::Events(events)) => {
                self.state = State::Live(hearing);
                let position = self.position;
                let new = events.iter().filter(|(seq, _)| *seq > position);
                let payloads: Vec<Payload> = new.map(|(_, payload)| payload.clone()).collect();
                if let Some((last, _)) = events.last() {
                    self.position = position.max(*last);
                }
                (!payloads.is_empty()).then_some(payloads)
            }
            Ok(Item::End) => match hearing.group.ended() {
                Ended::With(last) => last.map(|last| vec![last]),
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
