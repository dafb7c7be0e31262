//! Loads what many resolvers of one request ask for in one query for each kind.
//!
//! Each feature implements [`async_graphql::dataloader::Loader`] for its ids beside its types. A
//! loader is bound to the caller's workspace, and those of what belongs to a sequence also to the
//! caller's scope: an id of anything else is like one that is not there. Those of people and senders
//! are not: whoever loads one has it from something that the caller sees. Nothing is kept between
//! requests.

use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{self, Poll, Wake, Waker};
use std::time::Duration;

use async_graphql::dataloader::DataLoader;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, BoxStream, FuturesUnordered};
use futures_util::{Stream, StreamExt};
use tokio::sync::mpsc;

use crate::app::{Caller, Services};
use crate::domain::id::WorkspaceId;
use crate::store::StoreError;

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

/// The loaders of one request, and the batches that whoever runs the request must drive.
pub fn loaders(services: &Services, caller: &Caller) -> (DataLoader<Loaders>, Batches) {
    let (ask, asked) = mpsc::unbounded_channel();
    let loaders = Loaders {
        services: services.clone(),
        workspace: caller.workspace,
        caller: caller.clone(),
    };
    let loader = DataLoader::new(loaders, move |batch| {
        // A request that has ended asks for nothing more.
        drop(ask.send(batch));
    });
    let batches = Batches {
        asked,
        running: FuturesUnordered::new(),
    };
    (loader.delay(Duration::ZERO), batches)
}

/// The batches of one request. They are run by the request itself, and only while it can do nothing
/// but wait: by then everybody who asks for something has asked, so that the number of statements
/// does not depend on the time that this takes.
pub struct Batches {
    asked: mpsc::UnboundedReceiver<BoxFuture<'static, ()>>,
    running: FuturesUnordered<BoxFuture<'static, ()>>,
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
        let bell = Arc::new(Bell {
            rung: AtomicBool::new(false),
            outer: cx.waker().clone(),
        });
        let waker = Waker::from(Arc::clone(&bell));
        let polled = request(&mut task::Context::from_waker(&waker));
        // A request that rings for itself has only paused, and goes on asking in a moment.
        if polled.is_pending() && !bell.rung.load(Ordering::SeqCst) {
            while let Poll::Ready(Some(batch)) = self.asked.poll_recv(cx) {
                self.running.push(batch);
            }
            while let Poll::Ready(Some(())) = self.running.poll_next_unpin(cx) {}
        }
        polled
    }
}

/// Passes on that a request can go on, and remembers it.
struct Bell {
    rung: AtomicBool,
    outer: Waker,
}

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::SeqCst);
        self.outer.wake_by_ref();
    }
}
