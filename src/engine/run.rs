//! The loop that joins the stages, and its tasks.
//!
//! One task claims; for each claimed message one task composes and dispatches it; one task records,
//! taking whatever has gathered since its last commit.
//! The claiming task sleeps until the earliest instant at which anything is due, or until it is
//! woken: by a commit elsewhere that may have made something due, or by room that became free.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tokio::task::{JoinError, JoinSet};
use tokio_util::sync::CancellationToken;

use super::flight::Flight;
use super::record::Ending;
use super::{Claimed, Engine, LaneId};
use crate::domain::outcome::{Outcome, Phase, Scope};

/// How many endings one commit records.
const RECORD_MAX: usize = 512;
/// A claim of few messages costs the database as much as one of many: so long at most room gathers.
const GATHER_MAX: Duration = Duration::from_millis(10);
/// How long after a failure the claiming task tries again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The claiming task looks at least this often, should every bell have been missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(30);

impl Engine {
    /// Works until `shutdown` is cancelled, then finishes what is on the wire, releases the rest
    /// and leaves. [`Engine::join`] must have succeeded before.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let flight = Arc::new(Flight::new(&self.config));
        let (endings, ended) = mpsc::channel(RECORD_MAX * 4);
        let mut tasks = JoinSet::new();
        // Should this task itself be given up, so are those that it began.
        let given_up = CancellationToken::new();
        let _guard = given_up.clone().drop_guard();
        // Without its recorder or its lease the engine must not go on claiming.
        let ending = shutdown.child_token();
        // The lease is kept until the last record is written.
        let lease = CancellationToken::new();

        let (engine, until) = (Arc::clone(&self), lease.clone());
        tasks.spawn(async move { engine.keep_lease(until).await });
        let (engine, counted) = (Arc::clone(&self), Arc::clone(&flight));
        let record = async move {
            let _until_the_end = lease.drop_guard();
            engine.record_all(ended, &counted).await;
        };
        undelayed(&mut tasks, record, given_up.clone());
        let dispatcher = Dispatcher {
            engine: Arc::clone(&self),
            endings,
            flight: Arc::clone(&flight),
            stopping: ending.clone(),
        };
        let (engine, until) = (Arc::clone(&self), ending.clone());
        // The dispatcher goes with the claiming, and with it every dispatch: their channel ends, and
        // so does the recorder.
        let claim = async move { engine.claim_until(until, &flight, dispatcher).await };
        undelayed(&mut tasks, claim, given_up);

        let mut panic = None;
        while let Some(ended) = tasks.join_next().await {
            ending.cancel();
            panic = panic.or(ended.err().and_then(|error| error.try_into_panic().ok()));
        }
        if let Some(panic) = panic {
            // The server ends then, and what was held is rescued when the lease has run out.
            std::panic::resume_unwind(panic);
        }
        if let Err(error) = self.leave().await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "the worker could not sign off; its lease runs out by itself"
            );
        }
    }

    async fn claim_until(
        &self,
        shutdown: CancellationToken,
        flight: &Flight,
        dispatcher: Dispatcher,
    ) {
        let dispatcher = Arc::new(dispatcher);
        let mut dispatches = JoinSet::new();
        let mut due = self.wake.on_due();
        while !shutdown.is_cancelled() {
            due.mark_unchanged();
            let mut wake_at = self.clock.after_real(LOOK_AT_LEAST);
            let mut claimed_of = Vec::new();
            let mut dispatch = |messages: Vec<Claimed>| {
                let Some(first) = messages.first() else {
                    return;
                };
                flight.claimed(first.lane(), messages.len());
                claimed_of.push(first.lane());
                for claimed in messages {
                    let dispatcher = Arc::clone(&dispatcher);
                    dispatches.spawn(async move { dispatcher.dispatch(claimed).await });
                }
            };
            let room_of = |lane| flight.room_of(lane);
            match self
                .claim_each(flight.room(), &room_of, &mut dispatch)
                .await
            {
                Ok(claim) => {
                    if let Some(next_at) = claim.next_at {
                        wake_at = wake_at.min(next_at);
                    }
                }
                Err(error) => {
                    tracing::error!(
                        error = &error as &dyn std::error::Error,
                        "claiming failed; it is tried again"
                    );
                    wake_at = self.clock.after_real(AFTER_FAILURE);
                }
            }
            while let Some(ended) = dispatches.try_join_next() {
                self.note_end(ended);
            }
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = flight.gathered(&claimed_of) => {}
                () = self.clock.sleep_real(GATHER_MAX) => {}
            }
            // Each branch only waits; what it wakes for is read again above.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.clock.sleep_until(wake_at) => {}
                () = flight.changed() => {}
                changed = due.changed() => if changed.is_err() { break },
            }
        }
        drop(dispatcher);
        while let Some(ended) = dispatches.join_next().await {
            self.note_end(ended);
        }
    }

    fn note_end(&self, ended: Result<(), JoinError>) {
        if let Err(error) = ended {
            tracing::error!(%error, "a dispatch ended badly; its message is rescued later");
            self.lose_track();
        }
    }

    async fn record_all(&self, mut ended: mpsc::Receiver<(Claimed, Ending)>, flight: &Flight) {
        let mut batch = Vec::with_capacity(RECORD_MAX);
        while let Some(first) = ended.recv().await {
            batch.push(first);
            // Whatever ends until it is this task's turn to write goes into the same commit.
            let turn = self.turn_to_write().await;
            while batch.len() < RECORD_MAX
                && let Ok(next) = ended.try_recv()
            {
                batch.push(next);
            }
            let mut recorded = self.record(&batch).await;
            drop(turn);
            let mut wait = Duration::from_millis(100);
            // What left must be noted: there is no giving up while the process lives.
            while let Err(error) = recorded {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    messages = batch.len(),
                    "recording failed; it is tried again"
                );
                self.clock.sleep_real(wait).await;
                wait = (wait * 2).min(Duration::from_secs(10));
                recorded = self.record(&batch).await;
            }
            flight.recorded(batch.drain(..).map(|(claimed, _)| claimed.lane()));
        }
    }

    /// Keeps this worker's lease, and takes back what others let run out.
    async fn keep_lease(&self, until: CancellationToken) {
        let pause = self.config.lease / 3;
        loop {
            tokio::select! {
                () = until.cancelled() => return,
                () = self.clock.sleep_real(pause) => {}
            }
            if let Err(error) = self.prolong().await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "the lease could not be prolonged; it is tried again"
                );
                continue;
            }
            if let Err(error) = self.rescue(false).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "taking back what dead workers held failed; it is tried again"
                );
            }
        }
    }
}

/// Runs a task on a thread of its own. A task that holds a transaction would else wait, after each
/// statement, behind all the messages that are just ready to go on, and with it everybody who waits
/// for the transaction.
fn undelayed(
    tasks: &mut JoinSet<()>,
    task: impl Future<Output = ()> + Send + 'static,
    given_up: CancellationToken,
) {
    let runtime = Handle::current();
    tasks.spawn_blocking(move || {
        runtime.block_on(async {
            // Dropped between two of its steps, like any task that is aborted.
            tokio::select! {
                () = task => {}
                () = given_up.cancelled() => {}
            }
        });
    });
}

/// Brings claimed messages on their way.
struct Dispatcher {
    engine: Arc<Engine>,
    endings: mpsc::Sender<(Claimed, Ending)>,
    flight: Arc<Flight>,
    stopping: CancellationToken,
}

impl Dispatcher {
    async fn dispatch(&self, claimed: Claimed) {
        let mut counted = Counted::new(&self.flight, claimed.lane());
        let ending = self.send(&claimed).await;
        counted.arrived();
        match self.endings.send((claimed, ending)).await {
            Ok(()) => counted.is_handed_on = true,
            Err(_) => {
                tracing::error!("the recorder is gone; the message is rescued at the next start");
            }
        }
    }

    async fn send(&self, claimed: &Claimed) -> Ending {
        // Composed first, so that nothing slow lies between the last look and the wire.
        let preparing = || self.engine.channel.prepare(&claimed.route, &claimed.letter);
        let prepared = match catch_unwind(AssertUnwindSafe(preparing)) {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(outcome)) => return Ending::Dispatched(*outcome, None),
            Err(_) => return Ending::Dispatched(unpreparable(), None),
        };
        let connections = self.flight.connections(claimed.lane());
        let Ok(_connection) = connections.acquire().await else {
            return Ending::Released;
        };
        if self.stopping.is_cancelled() || !self.may_leave(claimed).await {
            return Ending::Released;
        }
        let route = &claimed.route;
        let sending = self.engine.channel.send(route, prepared, &self.stopping);
        // A message that makes its channel panic must not take the others with it.
        let sent = AssertUnwindSafe(sending).catch_unwind().await;
        match sent {
            Ok(sent) => Ending::Dispatched(sent.outcome, sent.kept),
            Err(_) => {
                let reason = "the channel failed while sending it".to_owned();
                Ending::Dispatched(Outcome::Ambiguous { reason }, None)
            }
        }
    }

    async fn may_leave(&self, claimed: &Claimed) -> bool {
        match self.engine.may_leave(claimed).await {
            Ok(may) => may,
            Err(error) => {
                tracing::warn!(execution.id = %claimed.execution_id,
                    error = &error as &dyn std::error::Error,
                    "the last look failed; the message is released and claimed again");
                false
            }
        }
    }
}

/// A claimed message in the count of what is under way, from which it goes even if its task fails.
struct Counted<'a> {
    flight: &'a Flight,
    lane: LaneId,
    has_arrived: bool,
    /// The recorder takes it out of the count of what is not recorded.
    is_handed_on: bool,
}

impl<'a> Counted<'a> {
    fn new(flight: &'a Flight, lane: LaneId) -> Self {
        Self {
            flight,
            lane,
            has_arrived: false,
            is_handed_on: false,
        }
    }

    fn arrived(&mut self) {
        if !std::mem::replace(&mut self.has_arrived, true) {
            self.flight.arrived(self.lane);
        }
    }
}

impl Drop for Counted<'_> {
    fn drop(&mut self) {
        self.arrived();
        if !self.is_handed_on {
            self.flight.recorded([self.lane]);
        }
    }
}

/// A message that makes its channel panic while composing would do so every time.
fn unpreparable() -> Outcome {
    Outcome::Rejected {
        phase: Phase::Connect,
        code: 0,
        enhanced: None,
        response: "The message could not be composed: see the server's log.".to_owned(),
        scope: Scope::Content,
    }
}
