//! The event log, live: what was committed, in the log's order, to any number of subscribers.
//!
//! The log is the truth and the bus only saves reading it once for each subscriber. One task
//! ([`Bus::run`]) tails the log of every workspace that has subscribers and broadcasts the rows; a
//! subscriber that joins late, resumes or falls behind reads the log itself until it is level with
//! the broadcast. Numbers have no gaps within a workspace, so nobody can miss anything unnoticed.
//!
//! The bus never makes an event, never changes one and never keeps more than a bounded number.

use std::collections::HashMap;
use std::error::Error;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use entity::event;
use futures_util::{Stream, StreamExt, stream};
use tokio::sync::broadcast::{self, error::RecvError};
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use crate::domain::id::WorkspaceId;
use crate::store::event as log;
use crate::store::{Db, Result};
use crate::wake::Wake;

/// An entry of a log, shared by all who read it.
pub type Entry = Arc<event::Model>;

/// Rows that follow on each other, at least one.
type Handful = Arc<[Entry]>;

/// How many rows are read at a time.
const PAGE: u64 = 1_000;
/// How many rows are broadcast at once at most.
const HANDFUL: usize = 64;
/// How many such handfuls the broadcast keeps for a subscriber that is slower than the log; one that
/// falls further behind reads the log.
const KEPT: usize = 128;
/// The log is looked at this often even if no bell rings: another node may have written, and its
/// bell may have been lost.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);
/// How long those who listen are left alone before it is looked how far they are, and after how many looks
/// without progress they are waited for no longer.
const WAITED_FOR: Duration = Duration::from_millis(1);
const STILL_AT_MOST: usize = 5;
/// The pauses after failures, first and longest.
const PAUSE_FIRST: Duration = Duration::from_millis(200);
const PAUSE_MOST: Duration = Duration::from_secs(10);

/// The bus of a process; cheap to clone.
#[derive(Clone, Debug)]
pub struct Bus(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    db: Db,
    wake: Wake,
    lines: Mutex<HashMap<WorkspaceId, Line>>,
}

/// The broadcast of one workspace.
#[derive(Debug)]
struct Line {
    rows: broadcast::Sender<Handful>,
    /// Where the broadcast began and how far it is; unknown until the first subscriber is level
    /// with the log.
    tail: Option<Tail>,
}

#[derive(Debug, Clone, Copy)]
struct Tail {
    began_after: i64,
    reached: i64,
}

impl Bus {
    /// A bus that says nothing until [`Bus::run`].
    pub fn new(db: Db, wake: Wake) -> Self {
        Self(Arc::new(Inner {
            db,
            wake,
            lines: Mutex::default(),
        }))
    }

    /// Tails the logs until `shutdown` is cancelled; then every stream ends.
    pub async fn run(&self, shutdown: CancellationToken) {
        let mut bell = self.0.wake.on_log();
        let mut pause = PAUSE_FIRST;
        while !shutdown.is_cancelled() {
            let wait = match self.tail_all().await {
                Ok(()) => {
                    pause = PAUSE_FIRST;
                    LOOK_AT_LEAST
                }
                Err(error) => {
                    tracing::warn!(
                        error = &error as &dyn Error,
                        "reading the event log failed; it is tried again"
                    );
                    pause = (pause * 2).min(PAUSE_MOST);
                    pause
                }
            };
            // Each of these can be dropped at any time; a bell that rang is not forgotten.
            tokio::select! {
                () = shutdown.cancelled() => {}
                _ = bell.changed() => {}
                () = pause_for(wait) => {}
            }
        }
        self.lines().clear();
    }

    /// The workspace's events, each once and in the log's order: after number `after` first what
    /// the log holds, then what is committed from then on; without it, what is committed after the
    /// stream was first polled. The stream ends when the bus does, and never for another reason.
    pub fn subscribe(
        &self,
        workspace: WorkspaceId,
        after: Option<i64>,
    ) -> impl Stream<Item = Entry> + Send + use<> {
        self.subscribe_to_many(workspace, after)
            .map(stream::iter)
            .flatten()
    }

    /// The same, where entries that are there together come together.
    pub fn subscribe_to_many(
        &self,
        workspace: WorkspaceId,
        after: Option<i64>,
    ) -> impl Stream<Item = Vec<Entry>> + Send + use<> {
        let reader = Reader {
            bus: self.clone(),
            workspace,
            position: after,
            state: State::New,
            pause: PAUSE_FIRST,
        };
        stream::unfold(reader, |mut reader| async move {
            let rows = reader.next().await?;
            Some((rows, reader))
        })
    }

    fn lines(&self) -> std::sync::MutexGuard<'_, HashMap<WorkspaceId, Line>> {
        // No code that holds the lock can leave the map half changed.
        self.0.lines.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn listen(&self, workspace: WorkspaceId) -> broadcast::Receiver<Handful> {
        let mut lines = self.lines();
        let line = lines.entry(workspace).or_insert_with(|| Line {
            rows: broadcast::channel(KEPT).0,
            tail: None,
        });
        line.rows.subscribe()
    }

    /// A subscriber has read the log up to `position`. Answers after which number the broadcast
    /// began: what lies between must be read from the log.
    fn level(&self, workspace: WorkspaceId, position: i64) -> Option<i64> {
        let mut lines = self.lines();
        let line = lines.get_mut(&workspace)?;
        let start = Tail {
            began_after: position,
            reached: position,
        };
        Some(line.tail.get_or_insert(start).began_after)
    }

    /// Broadcasts what was committed since the last time, in every workspace that has subscribers.
    async fn tail_all(&self) -> Result<()> {
        let tails: HashMap<WorkspaceId, i64> = {
            let mut lines = self.lines();
            lines.retain(|_, line| line.rows.receiver_count() > 0);
            lines
                .iter()
                .filter_map(|(workspace, line)| Some((*workspace, line.tail?.reached)))
                .collect()
        };
        if tails.is_empty() {
            return Ok(());
        }
        let workspaces: Vec<WorkspaceId> = tails.keys().copied().collect();
        for (workspace, last) in log::last_seqs(self.0.db.read(), &workspaces).await? {
            if let Some(reached) = tails.get(&workspace)
                && last > *reached
            {
                self.tail(workspace, *reached).await?;
            }
        }
        Ok(())
    }

    async fn tail(&self, workspace: WorkspaceId, mut reached: i64) -> Result<()> {
        let mut patience = Patience::default();
        loop {
            let listened = self.lines().get(&workspace).map(|line| line.rows.clone());
            if let Some(listened) = listened {
                patience.wait(&listened, KEPT).await;
            }
            let rows = log::after(self.0.db.read(), workspace, reached, PAGE).await?;
            let whole_page = u64::try_from(rows.len()).is_ok_and(|count| count == PAGE);
            let mut lines = self.lines();
            // The line may be gone, or be another one that was opened in the meantime.
            let Some(line) = lines.get_mut(&workspace) else {
                return Ok(());
            };
            let Some(tail) = line.tail.as_mut().filter(|tail| tail.reached == reached) else {
                return Ok(());
            };
            let rows: Vec<Entry> = rows.into_iter().map(Arc::new).collect();
            for handful in rows.chunks(HANDFUL) {
                reached = handful.last().map_or(reached, |row| row.seq);
                // Without subscribers the line is closed with the next look.
                drop(line.rows.send(handful.into()));
            }
            tail.reached = reached;
            if !whole_page {
                return Ok(());
            }
        }
    }
}

/// Lets who broadcasts wait for those who listen, so that a reader who keeps up does not fall behind only
/// because there is much at once: it would read the log once more for itself. Nobody is waited for
/// who does not come forward.
#[derive(Debug, Default)]
pub struct Patience {
    /// How often nobody is waited for any more.
    lost_for: usize,
}

impl Patience {
    /// Waits until at most half of the `kept` last broadcasts are unheard by somebody.
    pub async fn wait<T>(&mut self, broadcast: &broadcast::Sender<T>, kept: usize) {
        if let Some(left) = self.lost_for.checked_sub(1) {
            self.lost_for = left;
            return;
        }
        let (mut unheard, mut still) = (broadcast.len(), 0);
        while unheard > kept / 2 {
            pause_for(WAITED_FOR).await;
            let before = std::mem::replace(&mut unheard, broadcast.len());
            still = if unheard < before { 0 } else { still + 1 };
            if still >= STILL_AT_MOST {
                self.lost_for = kept;
                return;
            }
        }
    }
}

/// One subscriber.
struct Reader {
    bus: Bus,
    workspace: WorkspaceId,
    /// The number of the last row that was handed on; unknown before the first poll.
    position: Option<i64>,
    state: State,
    pause: Duration,
}

enum State {
    /// Not listening yet.
    New,
    /// Listening, and reading the log until it is level.
    Behind(broadcast::Receiver<Handful>),
    /// Level with the broadcast.
    Live(broadcast::Receiver<Handful>),
}

impl Reader {
    /// The next rows; `None` when the bus is over.
    async fn next(&mut self) -> Option<Vec<Entry>> {
        loop {
            match std::mem::replace(&mut self.state, State::New) {
                // Listening comes before reading: what is committed in between is heard.
                State::New => self.state = State::Behind(self.bus.listen(self.workspace)),
                State::Behind(receiver) => {
                    let read = self.read().await;
                    match read {
                        Ok((rows, level)) => {
                            self.state = match level {
                                Some(level) => self.settle(receiver, level)?,
                                None => State::Behind(receiver),
                            };
                            if !rows.is_empty() {
                                return Some(rows);
                            }
                        }
                        Err(error) => {
                            tracing::warn!(
                                error = &error as &dyn Error,
                                "reading the event log for a subscriber failed; it is tried again"
                            );
                            self.state = State::Behind(receiver);
                            pause_for(self.pause).await;
                            self.pause = (self.pause * 2).min(PAUSE_MOST);
                        }
                    }
                }
                State::Live(receiver) => {
                    if let Some(rows) = self.hear(receiver).await? {
                        return Some(rows);
                    }
                }
            }
        }
    }

    /// A page of the log, from where this subscriber stands; and where the log is level, if that
    /// is all there was.
    async fn read(&mut self) -> Result<(Vec<Entry>, Option<i64>)> {
        let db = &self.bus.0.db;
        let position = match self.position {
            Some(position) => position,
            None => log::last_seq(db.read(), self.workspace).await?,
        };
        self.position = Some(position);
        let rows = log::after(db.read(), self.workspace, position, PAGE).await?;
        self.pause = PAUSE_FIRST;
        if let Some(last) = rows.last() {
            self.position = Some(last.seq);
        }
        let level = match rows.last() {
            Some(_) if u64::try_from(rows.len()).is_ok_and(|count| count >= PAGE) => None,
            Some(last) => Some(last.seq),
            // A position from the future must not become the broadcast's beginning.
            None => Some(position.min(log::last_seq(db.read(), self.workspace).await?)),
        };
        Ok((rows.into_iter().map(Arc::new).collect(), level))
    }

    /// The log has no more: goes live, unless the broadcast began further on.
    fn settle(&self, receiver: broadcast::Receiver<Handful>, level: i64) -> Option<State> {
        let position = self.position.unwrap_or(0);
        let began_after = self.bus.level(self.workspace, level)?;
        // A number from the future is level: nothing that it asks for exists yet.
        Some(if began_after > position {
            State::Behind(receiver)
        } else {
            State::Live(receiver)
        })
    }

    /// What the broadcast says next. `Some(None)`: nothing new; look again.
    async fn hear(
        &mut self,
        mut receiver: broadcast::Receiver<Handful>,
    ) -> Option<Option<Vec<Entry>>> {
        let position = self.position.unwrap_or(0);
        let handful = match receiver.recv().await {
            Ok(handful) => handful,
            Err(RecvError::Lagged(_)) => {
                self.state = State::Behind(receiver);
                return Some(None);
            }
            Err(RecvError::Closed) => return None,
        };
        let new: Vec<Entry> = handful
            .iter()
            .filter(|row| row.seq > position)
            .map(Arc::clone)
            .collect();
        match (new.first(), new.last()) {
            (Some(first), Some(last)) if first.seq == position + 1 => {
                self.position = Some(last.seq);
                self.state = State::Live(receiver);
                Some(Some(new))
            }
            // A jump: the log has what lies between, and the rows themselves.
            (Some(_), Some(_)) => {
                self.state = State::Behind(receiver);
                Some(None)
            }
            (None, _) | (_, None) => {
                self.state = State::Live(receiver);
                Some(None)
            }
        }
    }
}

/// A pause in real time: it spaces out attempts, and decides nothing.
async fn pause_for(span: Duration) {
    interval_at(Instant::now() + span, span).tick().await;
}
