//! The connections to one server: at most so many, used again, closed when nobody needs them.
//!
//! Owns which connection a message takes. Never looks into the protocol.

use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio::time::{Duration, MissedTickBehavior, interval, timeout};
use tokio_util::sync::CancellationToken;

use super::SmtpConfig;
use super::session::Session;
use crate::channel::mime::Composed;
use crate::domain::outcome::{Outcome, Phase, RetryReason};

/// How many rounds of the sweep an idle connection may see; the sweep goes round twice in the idle
/// time.
const IDLE_ROUNDS_MAX: u8 = 2;

/// A message whose connection took longer to open is not sent by it yet: whoever wants to send it
/// should look first whether it still may leave.
const OPENING_MAX: Duration = Duration::from_secs(1);

/// How a connection was opened.
enum Opened {
    Quickly,
    Slowly,
}

/// The connections to one server. Messages that find all of them busy are served in the order they
/// came.
#[derive(Debug)]
pub struct SmtpPool(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    config: SmtpConfig,
    turns: Semaphore,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// The one used last is at the end and is used first, so that the others can grow old.
    idle: Vec<Idle>,
    sweep: Option<JoinHandle<()>>,
    closed: bool,
}

#[derive(Debug)]
struct Idle {
    session: Session,
    rounds: u8,
}

impl SmtpPool {
    /// A pool that has no connection yet.
    pub fn new(config: SmtpConfig) -> Self {
        let turns = Semaphore::new(config.max_connections.clamp(1, Semaphore::MAX_PERMITS));
        Self(Arc::new(Inner {
            config,
            turns,
            state: Mutex::default(),
        }))
    }

    /// Sends one message and says what became of it; [`Outcome::NotBegun`] where its connection took
    /// long to open, which is then kept for the next. Ends by itself in bounded time once it is its
    /// turn. Dropping the future closes the connection; if that happens after the message began to
    /// leave, nobody knows what became of it.
    pub async fn send(&self, message: &Composed) -> Outcome {
        self.send_unless(&CancellationToken::new(), message).await
    }

    /// Like [`Self::send`]; but once `stopping` is cancelled, a message that still waits for its turn or
    /// for its connection is [`Outcome::NotBegun`] at once.
    pub async fn send_unless(&self, stopping: &CancellationToken, message: &Composed) -> Outcome {
        let Some(turn) = stopping.run_until_cancelled(self.0.turns.acquire()).await else {
            return Outcome::NotBegun;
        };
        let Ok(_turn) = turn else {
            return closed();
        };
        let mut idle = self.0.take();
        loop {
            let mut session = match idle.take() {
                Some(session) => session,
                None => match stopping.run_until_cancelled(self.open()).await {
                    Some(Ok((session, Opened::Quickly))) => session,
                    Some(Ok((session, Opened::Slowly))) => {
                        self.put_back(session).await;
                        return Outcome::NotBegun;
                    }
                    Some(Err(outcome)) => return outcome,
                    // A server that does not answer must not keep this one from ending.
                    None => return Outcome::NotBegun,
                },
            };
            let verdict = session.send(message, &self.0.config).await;
            // A connection that died while it idled is replaced by a new one, which is never found
            // dead: this goes round once at most.
            if verdict.found_dead {
                tracing::debug!("a pooled connection was closed by its server; opening another");
                continue;
            }
            if verdict.usable {
                self.put_back(session).await;
            }
            return verdict.outcome;
        }
    }

    async fn open(&self) -> Result<(Session, Opened), Outcome> {
        let mut opening = pin!(Session::open(&self.0.config));
        match timeout(OPENING_MAX, &mut opening).await {
            Ok(opened) => Ok((opened?, Opened::Quickly)),
            Err(_elapsed) => Ok((opening.await?, Opened::Slowly)),
        }
    }

    async fn put_back(&self, session: Session) {
        if session.messages() >= self.0.config.max_messages_per_connection {
            session.quit().await;
            return;
        }
        if let Some(session) = self.0.keep(session) {
            session.quit().await;
        }
    }

    /// Says goodbye on every connection. Messages that are under way end as they would have; those
    /// that still wait for their turn end as safe to retry.
    pub async fn close(&self) {
        self.0.turns.close();
        let (idle, sweep) = {
            let mut state = self.0.state();
            state.closed = true;
            (std::mem::take(&mut state.idle), state.sweep.take())
        };
        if let Some(sweep) = sweep {
            sweep.abort();
        }
        say_goodbye(idle).await;
    }
}

impl Drop for SmtpPool {
    fn drop(&mut self) {
        if let Some(sweep) = self.0.state().sweep.take() {
            sweep.abort();
        }
    }
}

impl Inner {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Session> {
        self.state().idle.pop().map(|idle| idle.session)
    }

    /// Keeps a connection for the next message; gives it back if the pool is closed.
    fn keep(self: &Arc<Self>, session: Session) -> Option<Session> {
        let mut state = self.state();
        if state.closed {
            return Some(session);
        }
        state.idle.push(Idle { session, rounds: 0 });
        if state.sweep.is_none() {
            state.sweep = Some(tokio::spawn(sweep(
                Arc::downgrade(self),
                self.config.idle_timeout.max(Duration::from_millis(2)) / 2,
            )));
        }
        None
    }

    /// Takes out the connections that idled too long; `None` when there is none left to watch.
    fn expired(&self) -> Option<Vec<Idle>> {
        let mut state = self.state();
        for idle in &mut state.idle {
            idle.rounds = idle.rounds.saturating_add(1);
        }
        let expired: Vec<Idle> = state
            .idle
            .extract_if(.., |idle| idle.rounds > IDLE_ROUNDS_MAX)
            .collect();
        if expired.is_empty() && state.idle.is_empty() {
            state.sweep = None;
            return None;
        }
        Some(expired)
    }
}

/// Closes connections that nobody used for a while. Ends when there are none.
async fn sweep(pool: Weak<Inner>, every: Duration) {
    let mut rounds = interval(every);
    rounds.set_missed_tick_behavior(MissedTickBehavior::Delay);
    rounds.tick().await;
    loop {
        rounds.tick().await;
        let Some(expired) = pool.upgrade().and_then(|pool| pool.expired()) else {
            return;
        };
        say_goodbye(expired).await;
    }
}

/// Says goodbye on all of them at once, so that a silent server costs its time once.
async fn say_goodbye(idle: Vec<Idle>) {
    let mut goodbyes = tokio::task::JoinSet::new();
    for Idle { session, .. } in idle {
        goodbyes.spawn(session.quit());
    }
    goodbyes.join_all().await;
}

fn closed() -> Outcome {
    let what = "the sender's connections were being closed";
    Outcome::broken(Phase::Connect, RetryReason::ConnectionFailed, what)
}
