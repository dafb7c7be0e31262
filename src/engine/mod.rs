//! The engine: claim, decide, dispatch, record, publish.
//!
//! - **Claim** ([`claim`]), one short transaction for a sender: due leads are locked, decided upon,
//!   and their executions entered as SENDING, with caps and pace reserved. No more is claimed than
//!   leaves right away (`flight`): SENDING is the mark that a message may be on the wire, and one
//!   whose worker died is UNCONFIRMED and never sent again by itself.
//! - **Decide** ([`decide`]) is pure: what a due lead's step comes to.
//! - **Dispatch** is the channel's: no transaction is open while a message travels. Each is looked at once
//!   more before it leaves ([`last_look`]).
//! - **Record** ([`record`]): how it ended, where the lead goes next, events, all in one transaction.
//! - **Publish** is the bus's: it tails the log.
//! - **Rescue** ([`rescue`]) takes back what a dead worker held.
//!
//! Each stage is a function that a test can drive alone; [`run`] is the loop that joins them.

mod caps;
pub mod claim;
pub mod decide;
mod flight;
mod lane;
pub mod last_look;
mod limits;
pub mod plan;
pub mod record;
pub mod rescue;
pub mod run;
mod taking;
mod undisturbed;
pub mod version;

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use chrono::{DateTime, Utc};

pub use crate::channel::dispatch::Letter;
use crate::channel::dispatch::{Channel, Route};
use crate::clock::Clock;
use crate::domain::id::{ExecutionId, SenderId, SequenceId, WorkerId, WorkspaceId};
use crate::domain::planning::Whereabouts;
use crate::domain::retry::RetryPolicy;
use crate::domain::tracking::Marks;
use crate::entropy::Entropy;
use crate::store::claim::LeadRow;
use crate::store::{Db, StoreError};
use crate::wake::Wake;
use crate::zones::ZoneDatabase;

pub use self::limits::Counted;
pub use self::version::RunningVersion;

/// What the engine may be told.
#[derive(Debug, Clone)]
pub struct EngineConfig {
    /// How long a worker that gives no sign of life keeps what it holds.
    pub lease: Duration,
    /// How many messages may be claimed and not yet recorded, in all.
    pub in_flight_max: usize,
    /// How many of them for one sender, so that a slow one leaves room for the others.
    pub in_flight_per_sender_max: usize,
    /// How many messages of one sender travel at once: its connections.
    pub sends_per_sender: usize,
    /// When to try again after a passing failure.
    pub retry: RetryPolicy,
    /// What emails are marked with; none, they are not.
    pub marks: Option<Marks>,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            lease: Duration::from_secs(30),
            in_flight_max: 8_000,
            in_flight_per_sender_max: 2_000,
            sends_per_sender: 64,
            retry: RetryPolicy::default(),
            marks: None,
        }
    }
}

/// The engine of one process.
pub struct Engine {
    pub(crate) db: Db,
    pub(crate) clock: Clock,
    pub(crate) entropy: Entropy,
    pub(crate) zones: Arc<ZoneDatabase>,
    pub(crate) wake: Wake,
    pub(crate) channel: Arc<dyn Channel>,
    pub(crate) config: EngineConfig,
    versions: version::VersionCache,
    worker: Mutex<WorkerId>,
    turn: tokio::sync::Mutex<()>,
    looks: last_look::Looks,
    /// Whether a message may be held under the worker's name that nobody works on.
    astray: AtomicBool,
}

/// What can go wrong in a stage of the engine.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The store could not carry it out; the stage changed nothing and can be tried again.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// A published version cannot be run.
    #[error("version {version} of a sequence cannot be run: {reason}")]
    Version {
        /// The version.
        version: crate::domain::id::VersionId,
        /// Why not.
        reason: String,
    },
}

/// What stages answer.
pub type Result<T, E = EngineError> = std::result::Result<T, E>;

/// A message that has been claimed and is to be sent and recorded.
#[derive(Debug, Clone)]
pub struct Claimed {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The execution.
    pub execution_id: ExecutionId,
    /// The lead, as the claim left it.
    pub lead: LeadRow,
    /// The sequence.
    pub sequence_id: SequenceId,
    /// The step.
    pub step_key: String,
    /// Which attempt this is.
    pub attempt: i32,
    /// The sender's day on which it counts; none where nobody counts it.
    pub quota_day: Option<String>,
    /// When it was claimed.
    pub claimed_at: DateTime<Utc>,
    /// Who claimed it.
    pub worker: WorkerId,
    /// Who sends it; none of a request, which the engine makes by itself.
    pub sender: Option<Arc<plan::RunningSender>>,
    /// How long the sender waits after it; none where it keeps to no pace.
    pub gap: Option<chrono::Duration>,
    /// The version that it runs under.
    pub version: Arc<RunningVersion>,
    /// The contact's clock and country.
    pub whereabouts: Whereabouts,
    /// The daily counts of its workspace that it adds to, should it leave.
    pub counted: Option<Counted>,
    /// By which way it is sent.
    pub route: Route,
    /// What is sent.
    pub letter: Letter,
}

/// Where due work is looked for, and what shares its room: a sender, or a sequence's own lane, of
/// steps that need none.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum LaneId {
    /// The lanes of a sender.
    Sender(SenderId),
    /// A sequence's own.
    Own(SequenceId),
}

impl Claimed {
    /// What its room is shared with.
    pub fn lane(&self) -> LaneId {
        match &self.sender {
            Some(sender) => LaneId::Sender(sender.id),
            None => LaneId::Own(self.sequence_id),
        }
    }

    /// Who sends it.
    pub fn sender_id(&self) -> Option<SenderId> {
        self.sender.as_ref().map(|sender| sender.id)
    }
}

impl Engine {
    /// An engine that holds nothing yet; [`rescue::Engine::join`] makes it a worker.
    pub fn new(
        db: Db,
        clock: Clock,
        entropy: Entropy,
        zones: Arc<ZoneDatabase>,
        wake: Wake,
        channel: Arc<dyn Channel>,
        config: EngineConfig,
    ) -> Self {
        let worker = entropy.id(clock.now());
        Self {
            db,
            clock,
            entropy,
            zones,
            wake,
            channel,
            config,
            versions: version::VersionCache::default(),
            worker: Mutex::new(worker),
            turn: tokio::sync::Mutex::default(),
            looks: last_look::Looks::default(),
            astray: AtomicBool::new(false),
        }
    }

    /// The name under which this process holds what it holds.
    pub fn worker(&self) -> WorkerId {
        *self
            .worker
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Where the database takes one writer at a time, waits until the engine's other task has written:
    /// `None` where both may write at once.
    async fn turn_to_write(&self) -> Option<tokio::sync::MutexGuard<'_, ()>> {
        if self.db.is_shared() {
            return None;
        }
        Some(self.turn.lock().await)
    }

    /// Something may be held under the worker's name that nobody works on: with its next sign of
    /// life the worker takes a new name, and what it held is rescued when the old lease runs out.
    fn lose_track(&self) {
        self.astray.store(true, Ordering::SeqCst);
    }

    fn set_worker(&self, worker: WorkerId) {
        *self
            .worker
            .lock()
            .unwrap_or_else(std::sync::PoisonError::into_inner) = worker;
    }
}
