//! Who may come in: tokens looked up and remembered for a moment, counted, and let go when they are
//! revoked.
//!
//! A token that is revoked on any node is refused by all of them within [`KNOWN_FOR`], and live
//! streams that came with it end within about as long: nothing has to be told to anybody. What tokens
//! are used for is counted in memory and written every few seconds, many at once.

use std::collections::HashMap;
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::str::FromStr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use governor::clock::{Clock as _, DefaultClock};
use governor::{DefaultKeyedRateLimiter, Quota, RateLimiter};
use lru::LruCache;
use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::uses::{Uses, network};
use super::{PREFIX, TEXT_MAX, caller};
use crate::app::{Caller, Role};
use crate::clock::Clock;
use crate::domain::id::{TokenId, WorkspaceId};
use crate::secrets::sha256_hex;
use crate::store::token::{self, Use};
use crate::store::{Db, StoreError, scope, worker};

/// For how long a token that was looked up is taken to be what it was.
pub const KNOWN_FOR: Duration = Duration::from_millis(400);
/// How many tokens are remembered.
const KNOWN_MAX: usize = 4_096;
/// How often uses are written.
const WRITTEN_EVERY: Duration = Duration::from_secs(3);
/// How long uses are kept, in days.
const KEPT_DAYS: i64 = 90;
/// How many wrong tokens an address may try at once, and how many more in a minute.
const GUESSES_BURST: NonZeroU32 = NonZeroU32::new(50).unwrap();
const GUESSES_A_MINUTE: NonZeroU32 = NonZeroU32::new(30).unwrap();

/// How many requests a token may make; none of it where it is zero.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct RateLimit {
    /// In a second, of all nodes together.
    pub per_second: u32,
    /// At once, before that counts.
    pub burst: u32,
}

/// It is to be asked again later.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RetryAfter(pub Duration);

/// Why somebody does not come in.
#[derive(Debug, thiserror::Error)]
pub enum NotAdmitted {
    /// There is no valid token.
    #[error("there is no valid token")]
    NoToken,
    /// The token has made too many requests, or the address too many guesses.
    #[error("too many requests")]
    TooMany(RetryAfter),
    /// The database cannot say.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// Who may come in, of a process; cheap to clone.
#[derive(Clone)]
pub struct Access(Arc<Inner>);

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Access")
    }
}

struct Inner {
    db: Db,
    clock: Clock,
    known: Mutex<LruCache<String, Known>>,
    followed: Mutex<HashMap<TokenId, watch::Sender<bool>>>,
    uses: Mutex<Uses>,
    limits: Mutex<Limits>,
    guesses: DefaultKeyedRateLimiter<IpAddr>,
}

#[derive(Clone)]
struct Known {
    caller: Caller,
    expires_at: Option<i64>,
    looked_at: Instant,
}

/// The limit, as this node's part of it.
struct Limits {
    limit: RateLimit,
    nodes: u32,
    /// How many requests a token may make at once; none where there is no limit.
    burst: Option<u32>,
    tokens: Option<Arc<DefaultKeyedRateLimiter<TokenId>>>,
}

impl Limits {
    fn new(limit: RateLimit, nodes: u32) -> Self {
        let part = |whole: u32| NonZeroU32::new(whole.div_ceil(nodes.max(1)));
        let quota = part(limit.per_second).map(|per_second| {
            Quota::per_second(per_second).allow_burst(part(limit.burst).unwrap_or(per_second))
        });
        Self {
            limit,
            nodes,
            burst: quota.map(|quota| quota.burst_size().get()),
            tokens: quota.map(|quota| Arc::new(RateLimiter::keyed(quota))),
        }
    }
}

impl Access {
    /// Lets in whoever has a valid token in this database.
    pub fn new(db: Db, clock: Clock) -> Self {
        let guesses = Quota::per_minute(GUESSES_A_MINUTE).allow_burst(GUESSES_BURST);
        Self(Arc::new(Inner {
            db,
            clock,
            known: Mutex::new(LruCache::unbounded()),
            followed: Mutex::default(),
            uses: Mutex::default(),
            limits: Mutex::new(Limits::new(RateLimit::default(), 1)),
            guesses: RateLimiter::keyed(guesses),
        }))
    }

    /// Sets how many requests a token may make, of all nodes together.
    pub fn limit(&self, limit: RateLimit) {
        let mut limits = locked(&self.0.limits);
        *limits = Limits::new(limit, limits.nodes);
    }

    /// How many requests a token may make at once; `None`, any number.
    pub fn burst(&self) -> Option<u32> {
        locked(&self.0.limits).burst
    }

    /// Who comes with this token, from this address.
    ///
    /// # Errors
    /// [`NotAdmitted::NoToken`] for every text that is no valid token, for whatever reason;
    /// [`NotAdmitted::TooMany`] where this is one too many.
    pub async fn admit(&self, text: &str, from: Option<IpAddr>) -> Result<Caller, NotAdmitted> {
        let caller = self.authenticate(text, from).await?;
        self.spend(&caller, from)?;
        Ok(caller)
    }

    /// Who comes with this token, without taking it for a request.
    ///
    /// # Errors
    /// As [`Access::admit`].
    pub async fn authenticate(
        &self,
        text: &str,
        from: Option<IpAddr>,
    ) -> Result<Caller, NotAdmitted> {
        if !text.starts_with(PREFIX) || text.len() > TEXT_MAX {
            return Err(self.guessed(from));
        }
        let hash = sha256_hex(text);
        let known = locked(&self.0.known).get(&hash).cloned();
        let now = self.0.clock.now();
        if let Some(known) = known.filter(|known| known.looked_at.elapsed() < KNOWN_FOR) {
            let is_over = known
                .expires_at
                .is_some_and(|at| at <= now.timestamp_millis());
            if is_over {
                self.count(known.caller.workspace, known.caller.token, from, false);
                return Err(NotAdmitted::NoToken);
            }
            return Ok(known.caller);
        }
        let looked_at = Instant::now();
        let Some(row) = token::by_hash(self.0.db.read(), &hash).await? else {
            return Err(self.guessed(from));
        };
        let workspace = WorkspaceId::from_uuid(row.workspace_id);
        let id = TokenId::from_uuid(row.id);
        if !token::is_valid(&row, now) {
            locked(&self.0.known).pop(&hash);
            self.count(workspace, id, from, false);
            return Err(NotAdmitted::NoToken);
        }
        let role = Role::from_str(&row.role).map_err(|error| StoreError::corrupt("role", error))?;
        let scope = scope::read(row.sequence_ids.as_ref())?;
        let caller = caller(workspace, role, id, scope);
        let mut all = locked(&self.0.known);
        all.push(
            hash,
            Known {
                caller: caller.clone(),
                expires_at: row.expires_at,
                looked_at,
            },
        );
        while all.len() > KNOWN_MAX {
            all.pop_lru();
        }
        Ok(caller)
    }

    /// Takes one request from what a token may make.
    ///
    /// # Errors
    /// [`NotAdmitted::TooMany`] where it has made too many.
    pub fn spend(&self, caller: &Caller, from: Option<IpAddr>) -> Result<(), NotAdmitted> {
        let tokens = locked(&self.0.limits).tokens.clone();
        let spent = tokens.map_or(Ok(()), |tokens| {
            let checked = tokens.check_key(&caller.token);
            checked.map_err(|until| RetryAfter(until.wait_time_from(DefaultClock::default().now())))
        });
        self.count(caller.workspace, caller.token, from, spent.is_ok());
        spent.map_err(NotAdmitted::TooMany)
    }

    /// A wrong token. Whoever tries many is told to wait; it gains nothing by not waiting.
    fn guessed(&self, from: Option<IpAddr>) -> NotAdmitted {
        let Some(from) = from else {
            return NotAdmitted::NoToken;
        };
        match self.0.guesses.check_key(&network(from)) {
            Ok(()) => NotAdmitted::NoToken,
            Err(until) => {
                let wait = until.wait_time_from(DefaultClock::default().now());
                NotAdmitted::TooMany(RetryAfter(wait))
            }
        }
    }

    fn count(&self, workspace: WorkspaceId, token: TokenId, from: Option<IpAddr>, served: bool) {
        let now = self.0.clock.now();
        locked(&self.0.uses).count(workspace, token, from, served, now);
    }

    /// Ready when a token is revoked or has expired.
    pub fn over(&self, token: TokenId) -> impl Future<Output = ()> + Send + use<> {
        let mut followed = locked(&self.0.followed);
        let sender = followed
            .entry(token)
            .or_insert_with(|| watch::channel(false).0);
        let mut over = sender.subscribe();
        async move {
            if over.wait_for(|over| *over).await.is_err() {
                // Whoever would tell is gone, and with it the process.
                std::future::pending::<()>().await;
            }
        }
    }

    /// Looks after tokens that live streams came with, writes down uses, and forgets old ones, until
    /// `shutdown` is cancelled.
    pub async fn run(&self, shutdown: CancellationToken) {
        // Side by side: a revocation does not wait until something is written.
        tokio::join!(self.look_after(&shutdown), self.keep_books(&shutdown));
        report("noting the uses of tokens", self.write().await);
    }

    async fn look_after(&self, shutdown: &CancellationToken) {
        let mut looking = interval(KNOWN_FOR);
        looking.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = looking.tick() => {}
            }
            report("looking after tokens", self.look().await);
        }
    }

    async fn keep_books(&self, shutdown: &CancellationToken) {
        let mut writing = interval(WRITTEN_EVERY);
        writing.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut forgotten_on = None;
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = writing.tick() => {}
            }
            report("noting the uses of tokens", self.write().await);
            report("counting the nodes", self.share().await);
            let today = self.0.clock.now().date_naive();
            if forgotten_on != Some(today) {
                let oldest = today - chrono::Duration::days(KEPT_DAYS);
                let forgotten = token::forget_uses(self.0.db.write(), &oldest.to_string()).await;
                if forgotten.is_ok() {
                    forgotten_on = Some(today);
                }
                report("forgetting the uses of tokens", forgotten.map(drop));
            }
            self.0.guesses.retain_recent();
            if let Some(tokens) = locked(&self.0.limits).tokens.clone() {
                tokens.retain_recent();
            }
        }
    }

    /// Ends what came with tokens that are no longer good for anything.
    async fn look(&self) -> Result<(), StoreError> {
        let ids: Vec<TokenId> = {
            let mut followed = locked(&self.0.followed);
            followed.retain(|_, sender| sender.receiver_count() > 0);
            followed.keys().copied().collect()
        };
        let now = self.0.clock.now();
        for batch in ids.chunks(1_000) {
            for id in token::over(self.0.db.read(), batch, now).await? {
                // Whoever hears of it finds that nobody is let in by it any more.
                self.forget(id);
                if let Some(sender) = locked(&self.0.followed).remove(&id) {
                    sender.send_replace(true);
                }
            }
        }
        Ok(())
    }

    /// What was known of a token is asked anew.
    fn forget(&self, token: TokenId) {
        let mut known = locked(&self.0.known);
        let texts = known
            .iter()
            .filter(|(_, known)| known.caller.token == token);
        let hashes: Vec<String> = texts.map(|(hash, _)| hash.clone()).collect();
        for hash in hashes {
            known.pop(&hash);
        }
    }

    /// Writes down what was counted since the last time.
    ///
    /// # Errors
    /// As the database has it; what was counted is then kept for the next time.
    pub async fn write(&self) -> Result<(), StoreError> {
        let uses = locked(&self.0.uses).take();
        if uses.is_empty() {
            return Ok(());
        }
        let written = self.write_uses(&uses).await;
        if written.is_err() {
            locked(&self.0.uses).put_back(uses);
        }
        written
    }

    async fn write_uses(&self, uses: &[Use]) -> Result<(), StoreError> {
        let tx = self.0.db.begin().await?;
        token::record_uses(&tx, uses).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Takes this node's part of the limit.
    async fn share(&self) -> Result<(), StoreError> {
        let nodes = worker::count(self.0.db.read(), self.0.clock.now()).await?;
        let nodes = u32::try_from(nodes).unwrap_or(1).max(1);
        let mut limits = locked(&self.0.limits);
        if limits.nodes != nodes {
            *limits = Limits::new(limits.limit, nodes);
        }
        Ok(())
    }
}

fn report(what: &str, done: Result<(), StoreError>) {
    if let Err(error) = done {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "{what} failed; it is tried again"
        );
    }
}

/// No code that holds one of these locks can leave what it guards half changed.
fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
