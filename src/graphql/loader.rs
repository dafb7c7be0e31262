//! Loads what many resolvers of one request ask for in one query for each kind.
//!
//! Each feature implements [`async_graphql::dataloader::Loader`] for its ids beside its types. A
//! loader is bound to the caller's workspace, and those of what belongs to a sequence also to the
//! caller's scope: an id of anything else is like one that is not there. Those of people and senders
//! are not: whoever loads one has it from something that the caller sees. Nothing is kept between
//! requests, and within one only by queries.
//!
//! The library's own `DataLoader` makes two sets, a map and a channel for every single load, which
//! was a tenth of what a page costs. Here all who ask for a kind share one [`Round`].

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::future::poll_fn;
use std::hash::Hash;
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{self, Poll, Wake, Waker};

use async_graphql::dataloader::Loader;
use async_graphql::indexmap::IndexSet;
use foldhash::fast::RandomState;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::task::AtomicWaker;
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::app::{Caller, Services};
use crate::domain::id::WorkspaceId;
use crate::store::StoreError;

/// How many keys go into one query at most.
const KEYS_MAX: usize = 1_000;

/// What the loaders of a request work with.
pub struct Loaders {
    /// The services of the process.
    pub services: Services,
    /// The caller's workspace; every statement is bound to it.
    pub workspace: WorkspaceId,
    /// The caller, to whose scope everything is narrowed that belongs to a sequence.
    pub caller: Caller,
}

/// Why a loader failed: one failure for all who asked at once. `?` turns it into the answer.
pub type LoadError = Arc<StoreError>;

/// Whether what was loaded is kept until the request ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// It is: a query sees each row as it was when it first asked.
    UntilTheEnd,
    /// It is not: a mutation may have changed it, and a subscription goes on for days.
    No,
}

/// The loaders of one request, and the batches that whoever runs the request must drive.
pub fn loaders(services: &Services, caller: &Caller, keep: Keep) -> (Asking, Batches) {
    let (ask, asked) = mpsc::unbounded_channel();
    let loaders = Loaders {
        services: services.clone(),
        workspace: caller.workspace,
        caller: caller.clone(),
    };
    let asking = Asking(Arc::new(Inner {
        loaders,
        keep,
        kinds: Mutex::default(),
        ask,
    }));
    let batches = Batches {
        asked,
        running: FuturesUnordered::new(),
        at_once: if services.db.is_shared() {
            usize::MAX
        } else {
            1
        },
        to_wake: Vec::new(),
        bell: Arc::new(Bell {
            rung: AtomicBool::new(true),
            outer: AtomicWaker::new(),
        }),
    };
    (asking, batches)
}

/// What a request's resolvers ask for. Cheap to clone.
#[derive(Clone)]
pub struct Asking(Arc<Inner>);

struct Inner {
    loaders: Loaders,
    keep: Keep,
    /// By the type of their keys, each a `Loading<…>`; there are few in one request.
    kinds: Mutex<Vec<(TypeId, Box<dyn Any + Send>)>>,
    ask: mpsc::UnboundedSender<Batch>,
}

/// What was asked for of one kind.
struct Loading<K, V> {
    /// What was loaded, if it is kept.
    kept: HashMap<K, Result<Option<V>, LoadError>, RandomState>,
    /// The round that one can still join.
    open: Option<Arc<Round<K, V>>>,
    /// What is being loaded and will be kept.
    running: Vec<Arc<Round<K, V>>>,
}

impl<K: Key, V: Clone> Loading<K, V> {
    /// The round that loads a key already.
    fn running(&self, key: &K) -> Option<Arc<Round<K, V>>> {
        let mut running = self.running.iter();
        let found = running.find(|round| locked(&round.0).keys.contains(key));
        found.map(Arc::clone)
    }
}

impl Inner {
    fn with<K, T>(&self, then: impl FnOnce(&mut Loading<K, ValueOf<K>>) -> T) -> T
    where
        K: Key,
        Loaders: Loader<K, Error = LoadError>,
    {
        let mut kinds = locked(&self.kinds);
        let of = TypeId::of::<K>();
        if let Some((_, kind)) = kinds.iter_mut().find(|(key, _)| *key == of) {
            let kind = kind.downcast_mut();
            return then(kind.expect("what stands under the type of a key is of that key"));
        }
        let mut kind = Box::new(Loading {
            kept: HashMap::default(),
            open: None,
            running: Vec::new(),
        });
        let done = then(&mut kind);
        kinds.push((of, kind));
        done
    }
}

type ValueOf<K> = <Loaders as Loader<K>>::Value;

/// What things are loaded by.
pub trait Key: Clone + Eq + Hash + Send + Sync + 'static {}
impl<K: Clone + Eq + Hash + Send + Sync + 'static> Key for K {}

impl Asking {
    /// Whether what was loaded once is there at once from then on.
    pub fn keeps(&self) -> bool {
        self.0.keep == Keep::UntilTheEnd
    }

    /// Loads the value of a key; `None` where there is none.
    ///
    /// # Errors
    /// As the loader has it.
    pub async fn load_one<K: Key>(&self, key: K) -> Result<Option<ValueOf<K>>, LoadError>
    where
        Loaders: Loader<K, Error = LoadError>,
    {
        let known = self
            .0
            .with(|of: &mut Loading<K, _>| match of.kept.get(&key) {
                Some(kept) => Some(Ok(kept.clone())),
                None => of.running(&key).map(Err),
            });
        let round = match known {
            Some(Ok(kept)) => return kept,
            Some(Err(running)) => running,
            None => self.join([key.clone()]),
        };
        poll_fn(|cx| round.poll(cx, |found| found.get(&key).cloned())).await
    }

    /// Asks for what will be loaded one by one in a moment, where it is not there and not on its way.
    pub fn ahead<K: Key>(&self, keys: impl IntoIterator<Item = K>)
    where
        Loaders: Loader<K, Error = LoadError>,
    {
        let unknown: Keys<K> = self.0.with(|of: &mut Loading<K, _>| {
            let unknown = |key: &K| !of.kept.contains_key(key) && of.running(key).is_none();
            keys.into_iter().filter(unknown).collect()
        });
        if !unknown.is_empty() {
            self.join(unknown);
        }
    }

    /// Loads the values of some keys; those that have none are left out.
    ///
    /// # Errors
    /// As the loader has it.
    pub async fn load_many<K: Key>(
        &self,
        keys: impl IntoIterator<Item = K>,
    ) -> Result<HashMap<K, ValueOf<K>>, LoadError>
    where
        Loaders: Loader<K, Error = LoadError>,
    {
        let keys: Vec<K> = keys.into_iter().collect();
        if keys.is_empty() {
            return Ok(HashMap::new());
        }
        let round = self.join(keys.iter().cloned());
        let of_keys = |found: &HashMap<K, _>| {
            let with_value = |key: &K| Some((key.clone(), found.get(key).cloned()?));
            keys.iter().filter_map(with_value).collect()
        };
        poll_fn(|cx| round.poll(cx, of_keys)).await
    }

    /// Adds keys to the round that is open; a new one is run as soon as the request can only wait.
    fn join<K: Key>(&self, keys: impl IntoIterator<Item = K>) -> Arc<Round<K, ValueOf<K>>>
    where
        Loaders: Loader<K, Error = LoadError>,
    {
        let opened = self.0.with(|of: &mut Loading<K, _>| match &of.open {
            Some(round) => {
                locked(&round.0).keys.extend(keys);
                Err(Arc::clone(round))
            }
            None => {
                let round = Arc::new(Round::new(keys));
                of.open = Some(Arc::clone(&round));
                Ok(round)
            }
        });
        let round = match opened {
            Ok(round) => round,
            Err(joined) => return joined,
        };
        let (inner, opened) = (Arc::clone(&self.0), Arc::clone(&round));
        // A request that has ended asks for nothing more.
        drop(self.0.ask.send(Box::pin(async move {
            let keeps = inner.keep == Keep::UntilTheEnd;
            inner.with(|of: &mut Loading<K, _>| {
                of.running.extend(of.open.take().filter(|_| keeps));
            });
            let (keys, found) = opened.load(&inner.loaders).await;
            if keeps {
                let kept = keys.into_iter().map(|key| {
                    let found = found.as_ref().map(|found| found.get(&key).cloned());
                    (key, found.map_err(Arc::clone))
                });
                inner.with(|of| {
                    for (key, found) in kept {
                        // What was answered once is what is answered.
                        of.kept.entry(key).or_insert(found);
                    }
                    of.running.retain(|round| !Arc::ptr_eq(round, &opened));
                });
            }
            opened.end(found)
        })));
        round
    }
}

/// One query, or as few as the keys fit into, for all who ask before it is run.
struct Round<K, V>(Mutex<State<K, V>>);

/// Ids, which need no more of their hashes than that nobody can guess them.
type Keys<K> = IndexSet<K, RandomState>;

type Found<K, V> = Result<HashMap<K, V>, LoadError>;

struct State<K, V> {
    keys: Keys<K>,
    waiting: Vec<Waker>,
    done: Option<Found<K, V>>,
}

impl<K: Key, V> Round<K, V> {
    fn new(keys: impl IntoIterator<Item = K>) -> Self {
        Self(Mutex::new(State {
            keys: keys.into_iter().collect(),
            waiting: Vec::new(),
            done: None,
        }))
    }

    /// Loads what was asked for, once nobody can join any more.
    async fn load(&self, loaders: &Loaders) -> (Vec<K>, Found<K, V>)
    where
        Loaders: Loader<K, Value = V, Error = LoadError>,
    {
        let keys: Vec<K> = locked(&self.0).keys.iter().cloned().collect();
        let mut found = HashMap::new();
        for some in keys.chunks(KEYS_MAX) {
            match loaders.load(some).await {
                Ok(of_some) if found.is_empty() => found = of_some,
                Ok(of_some) => found.extend(of_some),
                Err(error) => return (keys, Err(error)),
            }
        }
        (keys, Ok(found))
    }

    /// Whoever waits can go on; answers who is to be woken.
    fn end(&self, found: Found<K, V>) -> Vec<Waker> {
        let mut state = locked(&self.0);
        state.done = Some(found);
        std::mem::take(&mut state.waiting)
    }

    fn poll<T>(
        &self,
        cx: &task::Context<'_>,
        take: impl FnOnce(&HashMap<K, V>) -> T,
    ) -> Poll<Result<T, LoadError>> {
        let mut state = locked(&self.0);
        match &state.done {
            Some(Ok(found)) => Poll::Ready(Ok(take(found))),
            Some(Err(error)) => Poll::Ready(Err(Arc::clone(error))),
            None => {
                // The fields of one object are polled together, and woken together.
                let last = state.waiting.last();
                if !last.is_some_and(|last| last.will_wake(cx.waker())) {
                    state.waiting.push(cx.waker().clone());
                }
                Poll::Pending
            }
        }
    }
}

/// No code that holds one of these locks can leave what it guards half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A query for all who ask for a kind; answers who is to be woken.
type Batch = BoxFuture<'static, Vec<Waker>>;

/// The batches of one request. They are run by the request itself, and only while it can do nothing
/// but wait: by then everybody who asks for something has asked, so that the number of statements
/// does not depend on the time that this takes. It goes on when all of them are done, for what waits
/// for one of them often waits for another as well.
pub struct Batches {
    asked: mpsc::UnboundedReceiver<Batch>,
    running: FuturesUnordered<Batch>,
    /// How many of them run at once. A database of this process works on the cores that its requests
    /// work on: there it only costs to have several threads wake each other for one request.
    at_once: usize,
    to_wake: Vec<Waker>,
    bell: Arc<Bell>,
}

impl Batches {
    /// Runs a request.
    pub async fn drive<T>(mut self, request: impl Future<Output = T>) -> T {
        let mut request = pin!(request);
        poll_fn(|cx| self.poll(cx, |cx| request.as_mut().poll(cx))).await
    }

    /// The same for one that answers more than once.
    pub fn drive_stream<T>(
        mut self,
        mut answers: BoxStream<'static, T>,
    ) -> impl Stream<Item = T> + Send {
        stream::poll_fn(move |cx| self.poll(cx, |cx| answers.poll_next_unpin(cx)))
    }

    fn poll<T>(
        &mut self,
        cx: &mut task::Context<'_>,
        request: impl FnOnce(&mut task::Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        self.bell.outer.register(cx.waker());
        // What a batch is woken for does not concern the request, which would only ask again.
        let polled = if self.bell.rung.swap(false, Ordering::SeqCst) {
            let waker = Waker::from(Arc::clone(&self.bell));
            request(&mut task::Context::from_waker(&waker))
        } else {
            Poll::Pending
        };
        if polled.is_ready() {
            // One that answers more than once goes on with the next answer.
            self.bell.rung.store(true, Ordering::SeqCst);
        }
        // A request that rings for itself has only paused, and goes on asking in a moment.
        if polled.is_pending() && !self.bell.rung.load(Ordering::SeqCst) {
            loop {
                while self.running.len() < self.at_once
                    && let Poll::Ready(Some(batch)) = self.asked.poll_recv(cx)
                {
                    self.running.push(batch);
                }
                match self.running.poll_next_unpin(cx) {
                    Poll::Ready(Some(woken)) => self.to_wake.extend(woken),
                    Poll::Ready(None) | Poll::Pending => break,
                }
            }
            if self.running.is_empty() {
                self.to_wake.drain(..).for_each(Waker::wake);
            }
        }
        polled
    }
}

/// Passes on that a request can go on, and remembers it.
struct Bell {
    rung: AtomicBool,
    outer: AtomicWaker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.outer.wake();
    }
}
