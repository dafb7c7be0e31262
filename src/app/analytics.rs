//! What came of sequences, counted from facts that this process holds and keeps level with the log.
//!
//! The distinct leads of an arbitrary choice of messages cannot be had from sums, and counting the rows
//! of a million leads takes the database a second. So the facts of a sequence are read once into a
//! [`Table`], which counts any choice in one pass; from then on the leads of which the log tells
//! something new are read again, all that is known of each. The number of the last event was read before
//! the facts were: what was committed since has a higher one, and a lead that is read twice is the same
//! twice. So the counts are those of the database at the moment of the question, on every node.

pub mod verify;

use std::num::NonZeroUsize;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use lru::LruCache;
use tokio::sync::OwnedMutexGuard;

use crate::domain::analytics::{Filter, Report, Table};
use crate::domain::id::{SequenceId, WorkspaceId};
use crate::store::{self, Db, StoreError};

/// How much memory the facts of all sequences may take, in bytes: about three million leads of four
/// messages. Beyond it, those of the sequences that were asked for longest ago are forgotten.
const BYTES_MAX: usize = 512 << 20;
/// How many sequences are held at most.
const SEQUENCES_MAX: NonZeroUsize = NonZeroUsize::new(10_000).expect("it is not zero");
/// How many rows are read at a time.
const PAGE: usize = 10_000;
/// Where so many events are new, the facts are read anew.
const EVENTS_AT_MOST: i64 = 1_000_000;
/// How many events are looked through at a time.
const EVENTS: i64 = 20_000;
/// How many answers are remembered of each sequence, while nothing happens there.
const ANSWERS: usize = 16;

/// The facts that a process holds; cheap to clone.
#[derive(Clone)]
pub struct Analytics(Arc<Inner>);

struct Inner {
    db: Db,
    held: Mutex<LruCache<(WorkspaceId, SequenceId), Held>>,
}

/// One sequence; who waits for it waits for one reading.
#[derive(Clone)]
struct Held {
    facts: Arc<tokio::sync::Mutex<Facts>>,
    bytes: usize,
}

/// The facts of a sequence as the log had them.
#[derive(Default)]
struct Facts {
    /// The number of the last event that they hold; `None` before they were read.
    as_of: Option<i64>,
    table: Table,
    answers: Vec<(Filter, Arc<Report>)>,
}

/// The facts of a sequence, while nobody else changes or counts them.
type Locked = (SequenceId, OwnedMutexGuard<Facts>);

impl Facts {
    fn report(&mut self, filter: Filter) -> Arc<Report> {
        if let Some((_, known)) = self.answers.iter().find(|(asked, _)| *asked == filter) {
            return Arc::clone(known);
        }
        let report = Arc::new(self.table.report(&filter));
        if self.answers.len() >= ANSWERS {
            self.answers.remove(0);
        }
        self.answers.push((filter, Arc::clone(&report)));
        report
    }
}

/// What a task answers; its panic goes on here.
async fn joined<T>(task: tokio::task::JoinHandle<T>) -> Result<T, StoreError> {
    task.await.map_err(|error| match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => StoreError::Unusable("the server is shutting down".into()),
    })
}

impl std::fmt::Debug for Analytics {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Analytics").finish_non_exhaustive()
    }
}

impl Analytics {
    /// Nothing is held yet; `db` is what facts are read from.
    pub fn new(db: Db) -> Self {
        Self(Arc::new(Inner {
            db,
            held: Mutex::new(LruCache::new(SEQUENCES_MAX)),
        }))
    }

    /// What came of sequences of the workspace, as it is now; each may be asked for under several
    /// filters. A sequence that the workspace does not have has no leads.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn reports(
        &self,
        workspace: WorkspaceId,
        asked: Vec<(SequenceId, Filter)>,
    ) -> Result<Vec<Arc<Report>>, StoreError> {
        let last = store::event::last_seq(self.0.db.read(), workspace).await?;
        // In one order, so that nobody waits in a circle.
        let mut sequences: Vec<SequenceId> = asked.iter().map(|(id, _)| *id).collect();
        sequences.sort_unstable();
        sequences.dedup();
        let mut locked = Vec::with_capacity(sequences.len());
        for sequence in sequences {
            let facts = self.held(workspace, sequence).facts.lock_owned().await;
            locked.push((sequence, facts));
        }
        // Whoever asked may go: what was begun is of use to the next one.
        let this = self.clone();
        let work = async move { this.level_and_count(workspace, locked, last, asked).await };
        joined(tokio::spawn(work)).await?
    }

    async fn level_and_count(
        &self,
        workspace: WorkspaceId,
        mut all: Vec<Locked>,
        last: i64,
        asked: Vec<(SequenceId, Filter)>,
    ) -> Result<Vec<Arc<Report>>, StoreError> {
        if let Err(error) = self.level(workspace, &mut all, last).await {
            // They may hold a part of what is new: they are read again as a whole.
            for (_, facts) in &mut all {
                **facts = Facts::default();
            }
            return Err(error);
        }
        let counting = tokio::task::spawn_blocking(move || {
            let reports = asked.into_iter().filter_map(|(sequence, filter)| {
                let place = all.binary_search_by_key(&sequence, |(id, _)| *id).ok()?;
                let (_, facts) = all.get_mut(place)?;
                Some(facts.report(filter))
            });
            let reports = reports.collect();
            let weights: Vec<_> = all
                .iter()
                .map(|(sequence, facts)| (*sequence, facts.table.bytes()))
                .collect();
            (reports, weights)
        });
        let (reports, weights) = joined(counting).await?;
        self.weigh(workspace, weights);
        Ok(reports)
    }

    /// Brings facts level with the log as far as `last` at least.
    async fn level(
        &self,
        workspace: WorkspaceId,
        all: &mut [Locked],
        last: i64,
    ) -> Result<(), StoreError> {
        let mut behind = Vec::new();
        for (sequence, facts) in all.iter_mut() {
            match facts.as_of {
                Some(as_of) if last - as_of <= EVENTS_AT_MOST => {
                    if as_of < last {
                        behind.push((*sequence, as_of));
                    }
                }
                _ => {
                    **facts = Facts {
                        as_of: Some(last),
                        table: self.read(workspace, *sequence).await?,
                        answers: Vec::new(),
                    };
                }
            }
        }
        let db = self.0.db.read();
        let Some(mut after) = behind.iter().map(|(_, as_of)| *as_of).min() else {
            return Ok(());
        };
        let behind: Vec<SequenceId> = behind.into_iter().map(|(sequence, _)| sequence).collect();
        while after < last {
            let until = last.min(after + EVENTS);
            let changed = store::analytics::changed(db, workspace, &behind, (after, until)).await?;
            for (sequence, lead) in store::analytics::of_leads(db, workspace, &changed).await? {
                if let Ok(place) = all.binary_search_by_key(&sequence, |(id, _)| *id)
                    && let Some((_, facts)) = all.get_mut(place)
                {
                    facts.table.put(&lead);
                    facts.answers.clear();
                }
            }
            after = until;
        }
        for (_, facts) in all.iter_mut() {
            facts.as_of = facts.as_of.max(Some(last));
        }
        Ok(())
    }

    async fn read(
        &self,
        workspace: WorkspaceId,
        sequence: SequenceId,
    ) -> Result<Table, StoreError> {
        let db = self.0.db.read();
        let mut table = Table::default();
        let mut after = None;
        loop {
            let (leads, next) =
                store::analytics::leads(db, workspace, sequence, after, PAGE).await?;
            for lead in &leads {
                table.put(lead);
            }
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        let (mut loaded, mut after) = (Vec::new(), None);
        loop {
            let (messages, next) =
                store::analytics::messages(db, workspace, sequence, after, PAGE).await?;
            loaded.push(table.load(&messages));
            match next {
                Some(next) => after = Some(next),
                None => break,
            }
        }
        table.lay_out(loaded);
        Ok(table)
    }

    fn held(&self, workspace: WorkspaceId, sequence: SequenceId) -> Held {
        let mut held = self.locked();
        let new = || Held {
            facts: Arc::default(),
            bytes: 0,
        };
        held.get_or_insert((workspace, sequence), new).clone()
    }

    /// Notes how much sequences take, and forgets others where all take too much.
    fn weigh(&self, workspace: WorkspaceId, weights: Vec<(SequenceId, usize)>) {
        let mut held = self.locked();
        for (sequence, bytes) in weights {
            if let Some(kept) = held.get_mut(&(workspace, sequence)) {
                kept.bytes = bytes;
            }
        }
        let mut all: usize = held.iter().map(|(_, held)| held.bytes).sum();
        while all > BYTES_MAX && held.len() > 1 {
            let Some((_, forgotten)) = held.pop_lru() else {
                return;
            };
            all -= forgotten.bytes;
        }
    }

    /// No code that holds this lock can leave it half changed.
    fn locked(&self) -> MutexGuard<'_, LruCache<(WorkspaceId, SequenceId), Held>> {
        self.0.held.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
