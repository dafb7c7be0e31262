//! Reading the mailboxes of senders: each by one node at a time, from the moment on at which it was set up,
//! for as long as the server runs.
//!
//! A mailbox that nobody reads is taken by writing one's worker into its row. What is read is taken in one
//! mail after the other, each together with how far it was read, so that a crash costs nothing and
//! another node goes on from there. Trouble with one mailbox is told at its sender, costs no other
//! mailbox anything, and is tried again after a growing pause.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Days, Utc};
use tokio::task::{Id, JoinError, JoinSet};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::opening::{OpenError, open};
use super::{Incoming, Place, TakeError, UNMATCHED_KEPT, take_in};
use crate::app::{Services, texting};
use crate::channel::imap::{Heard, ImapError, ImapTimeouts, Mailbox};
use crate::clock::from_ms;
use crate::domain::id::{WorkerId, WorkspaceId};
use crate::domain::inbox::InboxState;
use crate::store::mailbox::{self, Cursor, Held, Row};
use crate::store::{StoreError, inbound};

/// The most mailboxes that a node reads at once.
const MAILBOXES_MAX: usize = 2_000;
/// A node looks for mailboxes that nobody reads at least this often, and at most so often.
const LOOK: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(5));
/// How often a node looks whether a mailbox is still its own.
const STILL_HELD: Duration = Duration::from_secs(10);
/// How long one waits for a server to tell of new mail before it is asked to go on: RFC 2177 has 29
/// minutes at most, and many routers forget a silent connection sooner.
const IDLE: Duration = Duration::from_secs(9 * 60);
/// How often a server is asked that does not tell by itself.
const POLL: Duration = Duration::from_secs(30);
/// The pauses after trouble, first and longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(15 * 60));
/// The same after a refused login: to go on trying would lock the account.
const LOGIN_PAUSE: (Duration, Duration) = (Duration::from_secs(60), Duration::from_secs(60 * 60));
/// How often mails are dropped that belonged to nobody.
const DROP_EVERY: Duration = Duration::from_secs(60 * 60);
/// A folder that was made anew is read from so many days before it was last read: servers keep days only,
/// on clocks of their own.
const READ_AGAIN: Days = Days::new(2);
/// The longest reason that is kept, in characters.
const REASON_CHARS_MAX: usize = 500;
/// A mail that the server does not hand out, or not as it can be read, is passed over after so many tries of it in
/// a row: some servers never do with one that is broken.
const REFUSALS_MAX: u32 = 8;

/// The pauses after news that brought no mail, first and longest: of much that a server tells nothing follows, and
/// one may tell without end.
const QUIET: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(30));

/// How patient a reader is.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// How long each step with a server may take.
    pub timeouts: ImapTimeouts,
    /// How long it is waited for a server that tells of new mail by itself.
    pub idle: Duration,
    /// How often one is asked that does not.
    pub poll: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self {
            timeouts: ImapTimeouts::default(),
            idle: IDLE,
            poll: POLL,
        }
    }
}

/// Names this node, as the engine does.
type Worker = Arc<dyn Fn() -> WorkerId + Send + Sync>;

/// Reads mailboxes.
pub struct Reader {
    services: Services,
    worker: Worker,
    patience: Patience,
    tasks: JoinSet<()>,
    /// What each task reads.
    held: HashMap<Id, Held>,
    /// What is to be let go of, once the database lets us.
    leaving: Vec<(Held, Option<String>)>,
    /// When mails that belonged to nobody are dropped next.
    drop_at: DateTime<Utc>,
}

impl Reader {
    /// A reader that works under the name of this worker.
    pub fn new(services: Services, worker: impl Fn() -> WorkerId + Send + Sync + 'static) -> Self {
        Self {
            drop_at: services.clock.now(),
            services,
            worker: Arc::new(worker),
            patience: Patience::default(),
            tasks: JoinSet::new(),
            held: HashMap::new(),
            leaving: Vec::new(),
        }
    }

    /// The same, which is as patient as this.
    #[must_use]
    pub const fn with(mut self, patience: Patience) -> Self {
        self.patience = patience;
        self
    }

    /// Reads until `shutdown` is cancelled; ends between two mails.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut due = self.services.wake.on_due();
        while !shutdown.is_cancelled() {
            if let Err(error) = self.look(&shutdown).await {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "looking for mailboxes to read failed; it is tried again"
                );
            }
            let clock = self.services.clock.clone();
            let soon = async {
                clock.sleep_real(LOOK.0).await;
                tokio::select! {
                    changed = due.changed() => changed.is_ok(),
                    () = clock.sleep_real(LOOK.1) => true,
                }
            };
            let ended = tokio::select! {
                () = shutdown.cancelled() => None,
                _ = soon => None,
                Some(ended) = self.tasks.join_next_with_id() => Some(ended),
            };
            if let Some(ended) = ended {
                self.note_end(ended);
            }
        }
        while let Some(ended) = self.tasks.join_next_with_id().await {
            self.note_end(ended);
        }
        if let Err(error) = self.leave().await {
            tracing::debug!(%error, "mailboxes are let go of when the lease ends");
        }
    }

    /// Takes the mailboxes that nobody reads.
    async fn look(&mut self, shutdown: &CancellationToken) -> Result<(), StoreError> {
        self.leave().await?;
        self.drop_old().await?;
        let now = self.services.clock.now();
        if let Err(error) = texting::take_early(&self.services).await {
            tracing::warn!(
                error = &error as &dyn std::error::Error,
                "taking up receipts failed; it is tried again"
            );
        }
        let room = MAILBOXES_MAX.saturating_sub(self.tasks.len());
        let free = mailbox::free(self.services.db.read(), now, room).await?;
        for sender in free {
            let worker = (self.worker)();
            let taken = mailbox::take(self.services.db.write(), sender, worker, now).await?;
            let Some(row) = taken else { continue };
            let held = Held {
                sender,
                worker,
                revision: row.revision,
            };
            let reading = read(
                self.services.clone(),
                held,
                row,
                (self.patience, shutdown.clone()),
            );
            let task = self.tasks.spawn(reading);
            self.held.insert(task.id(), held);
        }
        Ok(())
    }

    /// Drops, once in a while, what is known of mails that belonged to nobody and came in more than thirty days
    /// ago.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub async fn drop_old(&mut self) -> Result<(), StoreError> {
        let now = self.services.clock.now();
        if self.drop_at > now {
            return Ok(());
        }
        let before = now - UNMATCHED_KEPT;
        while inbound::drop_unmatched(self.services.db.write(), before).await? {}
        self.drop_at = self.services.clock.after_real(DROP_EVERY);
        Ok(())
    }

    fn note_end(&mut self, ended: Result<(Id, ()), JoinError>) {
        let (id, reason) = match ended {
            Ok((id, ())) => (id, None),
            Err(error) => {
                tracing::error!(%error, "reading a mailbox ended badly; it is tried again");
                let reason = "Reading it failed inside; the server's log says more.";
                (error.id(), Some(reason.to_owned()))
            }
        };
        if let Some(held) = self.held.remove(&id) {
            self.leaving.push((held, reason));
        }
    }

    async fn leave(&mut self) -> Result<(), StoreError> {
        while let Some((held, reason)) = self.leaving.last() {
            let db = self.services.db.write();
            match reason {
                None => mailbox::let_go(db, *held).await?,
                Some(reason) => {
                    let retry_at = self.services.clock.after_real(PAUSE.1);
                    mailbox::note_failed(db, *held, (reason, None), retry_at).await?;
                }
            }
            self.leaving.pop();
        }
        Ok(())
    }
}

/// Why a mailbox is not read any further.
#[derive(Debug, thiserror::Error)]
enum ReadError {
    /// Somebody else reads it by now, or it is read otherwise.
    #[error("it is another's")]
    Lost,
    #[error(transparent)]
    Open(#[from] OpenError),
    #[error(transparent)]
    Imap(#[from] ImapError),
    /// The server does not hand out this mail.
    #[error("{error}")]
    Refused { mail: Cursor, error: ImapError },
    #[error(transparent)]
    Store(#[from] StoreError),
    #[error(transparent)]
    Take(#[from] TakeError),
}

/// What was in the way since the last mail that was read.
#[derive(Default)]
struct Trouble {
    /// How often in a row the mailbox could not be read.
    failures: u32,
    /// Which mail the server did not hand out the last time, and how often in a row.
    refused: Option<(Cursor, u32)>,
}

impl Trouble {
    fn of(row: &Row) -> Self {
        Self {
            failures: u32::try_from(row.failures).unwrap_or(0),
            refused: mailbox::refused(row),
        }
    }

    fn refusals_of(&self, mail: Cursor) -> u32 {
        let refused = self.refused.filter(|(refused, _)| *refused == mail);
        refused.map_or(0, |(_, times)| times)
    }
}

impl ReadError {
    /// What kind of trouble it is, for the log.
    fn kind(&self) -> &'static str {
        match self {
            Self::Lost => "lost",
            Self::Open(error) => error.kind(),
            Self::Imap(error) | Self::Refused { error, .. } => error.kind(),
            Self::Store(_) => "database",
            Self::Take(_) => "mail",
        }
    }

    /// The error itself, where it holds no words of a server.
    fn of_ours(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Store(error) | Self::Open(OpenError::Store(error)) => Some(error),
            Self::Take(error) => Some(error),
            Self::Lost | Self::Open(_) | Self::Imap(_) | Self::Refused { .. } => None,
        }
    }
}

/// Reads a mailbox until something is in the way, and notes what.
async fn read(
    services: Services,
    held: Held,
    row: Row,
    (patience, shutdown): (Patience, CancellationToken),
) {
    let mut trouble = Trouble::of(&row);
    let reading = Reading {
        services: &services,
        held,
        row: &row,
        patience,
    };
    let ended = tokio::select! {
        () = shutdown.cancelled() => return,
        ended = reading.run(&mut trouble) => ended,
    };
    let (Err(error), failures) = (ended, trouble.failures);
    let pauses = match &error {
        ReadError::Lost => return,
        ReadError::Open(error) if error.is_login() => LOGIN_PAUSE,
        _ => PAUSE,
    };
    let pause = pauses.0.saturating_mul(1 << failures.min(16)).min(pauses.1);
    let retry_at = services.clock.after_real(pause);
    // What a server said is shown to the sender's people, and not logged.
    tracing::warn!(sender.id = %held.sender, failures = failures + 1, kind = error.kind(),
        error = error.of_ours(), "a mailbox cannot be read; it is tried again");
    let reason: String = error.to_string().chars().take(REASON_CHARS_MAX).collect();
    let refused = match &error {
        ReadError::Refused { mail, .. } => Some(*mail),
        _ => None,
    };
    let why = (reason.as_str(), refused);
    let noted = mailbox::note_failed(services.db.write(), held, why, retry_at).await;
    if let Err(error) = noted {
        tracing::debug!(%error, "that a mailbox cannot be read was not noted");
    }
}

/// One mailbox that is read.
struct Reading<'a> {
    services: &'a Services,
    held: Held,
    row: &'a Row,
    patience: Patience,
}

/// It goes on until something is in the way.
enum Never {}

impl Reading<'_> {
    async fn run(&self, trouble: &mut Trouble) -> Result<Never, ReadError> {
        let mut mailbox = open(self.services, self.row, self.patience.timeouts).await?;
        let (state, wait) = match mailbox.has_idle() {
            true => (InboxState::Watched, self.patience.idle),
            false => (InboxState::Polled, self.patience.poll),
        };
        let mut cursor = self.begin(&mut mailbox, trouble).await?;
        let (mut is_new, mut in_vain) = (true, 0_u32);
        loop {
            let found = mailbox.beyond(cursor.uid).await?;
            in_vain = match found.is_empty() {
                true => in_vain.saturating_add(1),
                false => 0,
            };
            cursor = self.read(&mut mailbox, trouble, (cursor, found)).await?;
            // Only now: a mail that cannot be read makes whoever tries it wait longer each time.
            if is_new {
                let db = self.services.db.write();
                if !mailbox::note_well(db, self.held, state).await? {
                    return Err(ReadError::Lost);
                }
                (is_new, trouble.failures) = (false, 0);
            }
            let heard;
            (mailbox, heard) = tokio::select! {
                waited = mailbox.wait(wait) => waited?,
                error = self.lost() => return Err(error),
            };
            match heard {
                Heard::News => self.rest(in_vain).await,
                Heard::Nothing => in_vain = 0,
            }
        }
    }

    /// Lets a moment pass after so much news in a row that brought no mail.
    async fn rest(&self, in_vain: u32) {
        if in_vain > 1 {
            let longer = QUIET.0.saturating_mul(1 << in_vain.min(16));
            let clock = &self.services.clock;
            clock.sleep_real(longer.min(QUIET.1)).await;
        }
    }

    /// Where reading begins: where it ended the last time; at the end of the folder the first time; and in
    /// one that was made anew, with what arrived since.
    async fn begin(
        &self,
        mailbox: &mut Mailbox,
        trouble: &mut Trouble,
    ) -> Result<Cursor, ReadError> {
        let end = Cursor {
            validity: mailbox.validity,
            uid: mailbox.uid_next.saturating_sub(1),
        };
        match (Cursor::of(self.row), self.row.read_at) {
            (Some(cursor), _) if cursor.validity == mailbox.validity => Ok(cursor),
            (Some(_), Some(read_at)) => {
                let day = from_ms(read_at).date_naive();
                let day = day.checked_sub_days(READ_AGAIN).unwrap_or(day);
                let found = mailbox.since(day).await?;
                let start = Cursor { uid: 0, ..end };
                let cursor = self.read(mailbox, trouble, (start, found)).await?;
                match cursor.uid >= end.uid {
                    true => Ok(cursor),
                    false => self.advance(end).await,
                }
            }
            (Some(_) | None, _) => self.advance(end).await,
        }
    }

    async fn advance(&self, cursor: Cursor) -> Result<Cursor, ReadError> {
        let (db, now) = (self.services.db.write(), self.services.clock.now());
        match mailbox::advance(db, self.held, cursor, now).await? {
            true => Ok(cursor),
            false => Err(ReadError::Lost),
        }
    }

    /// Takes in these mails, in order. One that the server does not hand out is tried again after each of
    /// [`REFUSALS_MAX`] refusals in a row, and then passed over.
    async fn read(
        &self,
        mailbox: &mut Mailbox,
        trouble: &mut Trouble,
        (mut cursor, found): (Cursor, Vec<u32>),
    ) -> Result<Cursor, ReadError> {
        for uid in found {
            let next = Cursor { uid, ..cursor };
            cursor = match mailbox.fetch(uid).await {
                Ok(Some(raw)) => self.take(raw, next).await?,
                Ok(None) => self.advance(next).await?,
                Err(ImapError::Mail { why, is_over, .. })
                    if trouble.refusals_of(next) >= REFUSALS_MAX =>
                {
                    tracing::warn!(sender.id = %self.held.sender, uid, why,
                        "a mail that its server does not hand out is passed over");
                    let next = self.advance(next).await?;
                    if is_over {
                        *mailbox = self.open_again(next).await?;
                    }
                    next
                }
                Err(error @ ImapError::Mail { .. }) => {
                    return Err(ReadError::Refused { mail: next, error });
                }
                Err(error) => return Err(error.into()),
            };
            *trouble = Trouble::default();
        }
        Ok(cursor)
    }

    /// The same folder over another connection.
    async fn open_again(&self, cursor: Cursor) -> Result<Mailbox, ReadError> {
        let mailbox = open(self.services, self.row, self.patience.timeouts).await?;
        match mailbox.validity == cursor.validity {
            true => Ok(mailbox),
            // It was made anew meanwhile, and whoever takes it next reads it so.
            false => Err(ReadError::Lost),
        }
    }

    async fn take(&self, raw: Vec<u8>, cursor: Cursor) -> Result<Cursor, ReadError> {
        let incoming = Incoming {
            workspace: WorkspaceId::from_uuid(self.row.workspace_id),
            sender: Some(self.held.sender),
            raw: raw.into(),
        };
        let held = self.held;
        match take_in(self.services, incoming, Some(Place { held, cursor })).await {
            Ok(taken) => {
                tracing::debug!(sender.id = %held.sender, ?taken, "a mail was taken in");
                Ok(cursor)
            }
            Err(TakeError::Lost) => Err(ReadError::Lost),
            Err(error) if error.may_pass() => Err(error.into()),
            // One mail that cannot be taken in must not keep back those after it.
            Err(error) => {
                tracing::error!(sender.id = %held.sender, uid = cursor.uid,
                    error = &error as &dyn std::error::Error,
                    "a mail could not be taken in and is passed over");
                self.advance(cursor).await
            }
        }
    }

    /// Returns once the mailbox is not ours any more.
    async fn lost(&self) -> ReadError {
        let mut ticks = interval(STILL_HELD);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            ticks.tick().await;
            let now = self.services.clock.now();
            match mailbox::is_held(self.services.db.read(), self.held, now).await {
                Ok(true) => {}
                Ok(false) => return ReadError::Lost,
                Err(error) => return error.into(),
            }
        }
    }
}
