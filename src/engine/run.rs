//! The loop that joins the stages, and its tasks.
//!
//! One task claims; for each claimed message one task hands over and dispatches; one task commits
//! the hand-overs and one the records, each taking whatever has gathered since its last commit.
//! The claiming task sleeps until the earliest instant at which anything is due, or until it is
//! woken: by a commit elsewhere that may have made something due, or by room that became free.

use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use tokio::sync::{Notify, mpsc};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::hand_over::{self, HandOverDesk};
use super::record::Ending;
use super::turn::Turns;
use super::{Claimed, Engine};
use crate::domain::id::SenderId;
use crate::domain::outcome::{Outcome, Phase, Scope};

/// How many endings one commit records.
const RECORD_MAX: usize = 512;
/// How long after a failure the claiming task tries again.
const AFTER_FAILURE: Duration = Duration::from_secs(1);
/// The claiming task looks at least this often, should every bell have been missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(30);

/// What is in flight, for the claiming task to know how much room there is.
#[derive(Default)]
struct InFlight {
    total: AtomicUsize,
    by_sender: Mutex<HashMap<SenderId, usize>>,
    freed: Notify,
}

impl InFlight {
    fn add(&self, sender: SenderId) {
        self.total.fetch_add(1, Ordering::SeqCst);
        let mut by_sender = self
            .by_sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        *by_sender.entry(sender).or_default() += 1;
    }

    fn remove(&self, senders: impl IntoIterator<Item = SenderId>) {
        let mut by_sender = self
            .by_sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for sender in senders {
            self.total.fetch_sub(1, Ordering::SeqCst);
            if let Some(count) = by_sender.get_mut(&sender) {
                *count -= 1;
                if *count == 0 {
                    by_sender.remove(&sender);
                }
            }
        }
        drop(by_sender);
        self.freed.notify_one();
    }

    fn of(&self, sender: SenderId) -> usize {
        let by_sender = self
            .by_sender
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        by_sender.get(&sender).copied().unwrap_or(0)
    }

    fn total(&self) -> usize {
        self.total.load(Ordering::SeqCst)
    }
}

impl Engine {
    /// Works until `shutdown` is cancelled, then finishes what was handed over, releases the rest
    /// and leaves. [`Engine::join`] must have succeeded before.
    pub async fn run(self: Arc<Self>, shutdown: CancellationToken) {
        let in_flight = Arc::new(InFlight::default());
        let (desk, asked) = HandOverDesk::open();
        let (endings, ended) = mpsc::channel(RECORD_MAX * 4);
        let mut services = JoinSet::new();
        let engine = Arc::clone(&self);
        let turns = Arc::new(Turns::new(self.config.sends_per_sender));
        let widened = Arc::clone(&turns);
        services.spawn(async move { hand_over::serve(&engine, asked, &widened).await });
        let (engine, counted) = (Arc::clone(&self), Arc::clone(&in_flight));
        let recorder = tokio::spawn(async move { engine.record_all(ended, &counted).await });
        let lease = CancellationToken::new();
        let (engine, until) = (Arc::clone(&self), lease.clone());
        services.spawn(async move { engine.keep_lease(until).await });
        let dispatcher = Dispatcher {
            engine: Arc::clone(&self),
            desk,
            endings,
            turns,
            stopping: shutdown.clone(),
        };
        self.claim_until(shutdown, &in_flight, dispatcher).await;
        // The dispatcher is gone and with it every dispatch: its channels end, and so do the tasks
        // that serve them. The lease is kept until the last record is written.
        if let Err(error) = recorder.await {
            tracing::error!(%error, "the recorder ended badly; what it held is rescued later");
        }
        lease.cancel();
        while let Some(ended) = services.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a task of the engine ended badly");
            }
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
        in_flight: &Arc<InFlight>,
        dispatcher: Dispatcher,
    ) {
        let dispatcher = Arc::new(dispatcher);
        let mut dispatches = JoinSet::new();
        let mut due = self.wake.on_due();
        while !shutdown.is_cancelled() {
            due.mark_unchanged();
            let room = self.config.in_flight_max.saturating_sub(in_flight.total());
            let per_sender = self.config.in_flight_per_sender_max;
            let sender_room = |sender| {
                let free = per_sender.saturating_sub(in_flight.of(sender));
                // Small bites cost as much as large ones: wait until a good part is free.
                if free * 2 < per_sender { 0 } else { free }
            };
            let mut wake_at = self.clock.after_real(LOOK_AT_LEAST);
            match self.claim(room, &sender_room).await {
                Ok(claim) => {
                    if let Some(next_at) = claim.next_at {
                        wake_at = wake_at.min(next_at);
                    }
                    for claimed in claim.messages {
                        in_flight.add(claimed.sender_id());
                        let dispatcher = Arc::clone(&dispatcher);
                        dispatches.spawn(async move { dispatcher.dispatch(claimed).await });
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
            while dispatches.try_join_next().is_some() {}
            // Each branch only waits; what it wakes for is read again above.
            tokio::select! {
                () = shutdown.cancelled() => {}
                () = self.clock.sleep_until(wake_at) => {}
                () = in_flight.freed.notified() => {}
                changed = due.changed() => if changed.is_err() { break },
            }
        }
        drop(dispatcher);
        while let Some(ended) = dispatches.join_next().await {
            if let Err(error) = ended {
                tracing::error!(%error, "a dispatch ended badly; its message is rescued later");
            }
        }
    }

    async fn record_all(&self, mut ended: mpsc::Receiver<(Claimed, Ending)>, in_flight: &InFlight) {
        let mut batch = Vec::with_capacity(RECORD_MAX);
        while ended.recv_many(&mut batch, RECORD_MAX).await > 0 {
            let mut wait = Duration::from_millis(100);
            // What left must be noted: there is no giving up while the process lives.
            while let Err(error) = self.record(&batch).await {
                tracing::error!(
                    error = &error as &dyn std::error::Error,
                    messages = batch.len(),
                    "recording failed; it is tried again"
                );
                self.clock.sleep_real(wait).await;
                wait = (wait * 2).min(Duration::from_secs(10));
            }
            in_flight.remove(batch.drain(..).map(|(claimed, _)| claimed.sender_id()));
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

/// Brings claimed messages on their way.
struct Dispatcher {
    engine: Arc<Engine>,
    desk: HandOverDesk,
    endings: mpsc::Sender<(Claimed, Ending)>,
    turns: Arc<Turns>,
    stopping: CancellationToken,
}

impl Dispatcher {
    async fn dispatch(&self, claimed: Claimed) {
        let turns = self.turns.of(claimed.sender_id());
        let Ok(turn) = turns.acquire().await else {
            return;
        };
        let ending = self.send(&claimed).await;
        drop(turn);
        if self.endings.send((claimed, ending)).await.is_err() {
            tracing::error!("the recorder is gone; the message is rescued at the next start");
        }
    }

    async fn send(&self, claimed: &Claimed) -> Ending {
        // Composed before the last look, so that nothing slow lies between the look and the wire.
        let preparing = || self.engine.channel.prepare(&claimed.email);
        let prepared = match catch_unwind(AssertUnwindSafe(preparing)) {
            Ok(Ok(prepared)) => prepared,
            Ok(Err(outcome)) => return Ending::Dispatched(*outcome, None),
            Err(_) => return Ending::Dispatched(unpreparable(), None),
        };
        if self.stopping.is_cancelled()
            || !self.engine.window_is_open(claimed)
            || !self.desk.ask(claimed).await
        {
            return Ending::Released;
        }
        let sending = self.engine.channel.send(&claimed.sender.route, prepared);
        // A message that makes its channel panic must not take the others with it.
        let sent = AssertUnwindSafe(sending).catch_unwind().await;
        self.turns.arrived(claimed.sender_id());
        match sent {
            Ok(sent) => Ending::Dispatched(sent.outcome, sent.kept),
            Err(_) => {
                let reason = "the channel failed while sending it".to_owned();
                Ending::Dispatched(Outcome::Ambiguous { reason }, None)
            }
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
