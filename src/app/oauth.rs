//! Access tokens of senders' OAuth 2 grants: kept, given out, and replaced before they end.
//!
//! Owns who asks a token server and when. Refresh tokens rotate, and one that is used twice may cost the
//! grant: one refresh is made at a time, whichever node makes it, and everybody else waits for what it
//! brings. No transaction is open while a token server is waited for. A refresh that was begun is carried
//! through, also where nobody waits for it any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::channel::dispatch::Doing;
use crate::channel::oauth::{AccessTokens, GrantOf, NoToken, TokenError, TokenServer};
use crate::channel::smtp::Secret;
use crate::channel::web::WebConfig;
use crate::clock::{Clock, from_ms};
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::oauth::{GrantState, Granted, Tokens};
use crate::domain::outcome::RetryReason;
use crate::entropy::Entropy;
use crate::secrets::Secrets;
use crate::store::grant::{self, Failure, Refresh, Row};
use crate::store::{Db, StoreError};

/// A refresh that is not over after so long is given up by everybody else: longer than a request to a token
/// server may take.
const REFRESH_WITHIN: Duration = Duration::from_secs(60);
/// So long after its beginning a refresh still tries to keep what it got, and how long it pauses between.
const KEEP_WITHIN: Duration = Duration::from_secs(55);
const KEEP_PAUSE: Duration = Duration::from_millis(500);
/// How often one looks what a refresh of somebody else has brought, and how many times.
const LOOK: Duration = Duration::from_millis(100);
const LOOKS_MAX: u32 = 450;
/// The pauses after trouble of a token server, first and longest.
const PAUSE: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(5 * 60));
/// The same after it refused.
const REFUSED_PAUSE: (Duration, Duration) = (Duration::from_secs(4), Duration::from_secs(15 * 60));

/// The grants of all senders; cheap to clone.
#[derive(Clone)]
pub struct Grants(Arc<Inner>);

struct Inner {
    db: Db,
    clock: Clock,
    entropy: Entropy,
    secrets: Arc<Secrets>,
    server: TokenServer,
    under_way: TaskTracker,
}

impl fmt::Debug for Grants {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Grants").finish_non_exhaustive()
    }
}

/// Which token is asked for.
enum Wanted {
    /// One that is of use.
    Any,
    /// Another one than this.
    Other(Secret),
    /// One that the token server gives from now on: younger than these tokens, of that grant.
    Younger(Option<(Uuid, i64)>),
}

/// What a refresh begins with.
struct Beginning {
    row: Row,
    tokens: Tokens,
    /// Whether somebody looks how the grant stands: a pause does not keep it back, nor grow by it.
    is_checking: bool,
}

/// What came of a refresh, as it is kept.
enum Got {
    /// An access token.
    Token {
        access: Secret,
        /// It and the refresh token from now on, sealed.
        sealed: String,
        at: DateTime<Utc>,
        until: Option<DateTime<Utc>>,
    },
    /// None, but maybe a new refresh token, sealed with what was there.
    None {
        error: TokenError,
        sealed: Option<String>,
        counts: bool,
        retry_at: Option<DateTime<Utc>>,
    },
}

impl Grants {
    /// Grants that are kept there, and whose token servers are asked within these limits.
    pub fn new(
        db: Db,
        clock: Clock,
        entropy: Entropy,
        secrets: Arc<Secrets>,
        web: WebConfig,
    ) -> Self {
        Self(Arc::new(Inner {
            db: db.of_itself(),
            clock,
            entropy,
            secrets,
            server: TokenServer::new(web),
            under_way: TaskTracker::new(),
        }))
    }

    /// Asks the token server whatever is kept, to see whether it takes the refresh token.
    ///
    /// # Errors
    /// [`TokenError`] where it gives no access token.
    pub async fn refresh(&self, of: GrantOf) -> Result<(), TokenError> {
        self.find(of, Wanted::Younger(None)).await.map(drop)
    }

    /// No refresh is under way for longer.
    pub const SETTLED_WITHIN: Duration = REFRESH_WITHIN;

    /// Returns once no refresh is under way: what one brings would be lost with the process.
    pub async fn settled(&self) {
        self.0.under_way.close();
        self.0.under_way.wait().await;
        self.0.under_way.reopen();
    }

    async fn find(&self, of: GrantOf, mut wanted: Wanted) -> Result<Secret, TokenError> {
        let mut looks = interval(LOOK);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        for _ in 0..LOOKS_MAX {
            looks.tick().await;
            let row = self.row(of).await?;
            if let Wanted::Younger(than @ None) = &mut wanted {
                *than = Some((row.grant_id, row.generation));
            }
            let is_ready = grant::state(&row).map_err(unread)? == GrantState::Ready;
            let tokens = self.open(&row)?;
            let (now, life) = (self.0.clock.now(), grant::life(&row));
            let kept = tokens.access.clone().filter(|access| match &wanted {
                Wanted::Any => !life.is_over(now),
                Wanted::Other(refused) => {
                    Secret::new(access.as_str()) != *refused && !life.is_over(now)
                }
                Wanted::Younger(than) => {
                    let is_other = |(grant, generation): (Uuid, i64)| {
                        row.grant_id != grant || row.generation > generation
                    };
                    is_ready && than.is_some_and(is_other)
                }
            });
            let is_on = |at: Option<i64>| at.map(from_ms).is_some_and(|at| at > now);
            let (is_under_way, is_resting) = (is_on(row.refreshing_until), is_on(row.retry_at));
            let is_checking = matches!(wanted, Wanted::Younger(_));
            match kept {
                // One that ends soon is of use until somebody has got the next.
                Some(access) if is_under_way || is_resting || !life.is_ending(now) => {
                    return Ok(Secret::new(access));
                }
                None if is_resting && !is_checking => return Err(rests(&row)?),
                None if is_under_way => continue,
                kept => {
                    let beginning = Beginning {
                        row,
                        tokens,
                        is_checking,
                    };
                    match self.ask(beginning).await {
                        Ok(Some(access)) => return Ok(access),
                        // Somebody else was quicker.
                        Ok(None) => {}
                        Err(error) => return kept.map(Secret::new).ok_or(error),
                    }
                }
            }
        }
        Err(TokenError::Later {
            reason: RetryReason::Timeout,
            what: "The sender's access token is being refreshed for too long.".to_owned(),
        })
    }

    async fn row(&self, of: GrantOf) -> Result<Row, TokenError> {
        let found = grant::find_many(self.0.db.read(), of.workspace, &[of.sender]).await;
        let found = found.map_err(unread)?;
        found.into_iter().next().ok_or_else(|| {
            TokenError::Refused(
                "The login is by XOAUTH2, and the sender has no OAuth grant: give it oauth, or an \
                 access token with the login."
                    .to_owned(),
            )
        })
    }

    fn open(&self, row: &Row) -> Result<Tokens, TokenError> {
        let workspace = WorkspaceId::from_uuid(row.workspace_id);
        let opened = (self.0.secrets).open(workspace, row.sender_id, &row.tokens);
        let opened = opened.map_err(|error| {
            TokenError::unreadable(format!("{error}: give the sender oauth again"))
        })?;
        serde_json::from_str(&opened)
            .map_err(|_| TokenError::unreadable("it was written by another version"))
    }

    /// Asks the token server, unless somebody else does; then `None`.
    async fn ask(&self, beginning: Beginning) -> Result<Option<Secret>, TokenError> {
        let asking = self.0.under_way.spawn(self.clone().carry(beginning));
        asking.await.unwrap_or_else(|error| {
            tracing::error!(%error, "refreshing an access token ended badly");
            Err(TokenError::Later {
                reason: RetryReason::Protocol,
                what: "Refreshing the access token failed inside; the server's log says more."
                    .to_owned(),
            })
        })
    }

    /// A refresh from its beginning to its end.
    async fn carry(self, beginning: Beginning) -> Result<Option<Secret>, TokenError> {
        let inner = &self.0;
        let Beginning {
            row,
            tokens,
            is_checking,
        } = beginning;
        let mut refresher = [0; 16];
        inner.entropy.fill(&mut refresher);
        let refresh = Refresh::of(&row, Uuid::from_bytes(refresher));
        let mut tries = interval(KEEP_PAUSE);
        tries.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let begun = tries.tick().await;
        let span = (inner.clock.now(), inner.clock.after_real(REFRESH_WITHIN));
        let is_begun = grant::begin(inner.db.write(), refresh, span, is_checking).await;
        if !is_begun.map_err(unread)? {
            return Ok(None);
        }
        let answer = inner.server.refresh(&grant::written(&row), &tokens).await;
        let got = match answer {
            Ok(granted) => self.granted(&row, tokens, granted),
            Err(failed) => self.failed(&row, tokens, failed, is_checking),
        };
        loop {
            let at = tries.tick().await;
            match self.keep(refresh, &got).await {
                // What was got once may not be got again.
                Err(error) if error.may_pass() && at.duration_since(begun) < KEEP_WITHIN => {
                    tracing::warn!(sender.id = %refresh.sender, error = &error as &dyn std::error::Error,
                        "keeping what a token server gave failed; it is tried again");
                }
                Err(error) => return Err(unread(error)),
                Ok(false) => return Ok(None),
                Ok(true) => {
                    return match got {
                        Got::Token { access, .. } => Ok(Some(access)),
                        Got::None { error, .. } => Err(error),
                    };
                }
            }
        }
    }

    /// What was granted, as it is kept.
    fn granted(&self, row: &Row, before: Tokens, granted: Granted) -> Got {
        let access = Secret::new(granted.access.clone());
        let tokens = Tokens {
            refresh: granted.refresh.unwrap_or(before.refresh),
            access: Some(granted.access),
            ..before
        };
        let lives = granted.lives.and_then(|lives| lives.to_std().ok());
        Got::Token {
            access,
            sealed: self.seal(row, &tokens),
            at: self.0.clock.now(),
            until: lives.map(|lives| self.0.clock.after_real(lives)),
        }
    }

    /// What came instead of an access token, as it is kept: a new refresh token, the pause before the next
    /// refresh.
    fn failed(&self, row: &Row, before: Tokens, failed: NoToken, is_checking: bool) -> Got {
        let NoToken { error, refresh } = failed;
        let pauses = match error.is_final() {
            true => REFUSED_PAUSE,
            false => PAUSE,
        };
        // What a server said is shown, and not logged.
        tracing::warn!(sender.id = %SenderId::from_uuid(row.sender_id), refused = error.is_final(),
            "a token server gave no access token");
        let doublings = row.failures.clamp(0, 16).unsigned_abs();
        let pause = pauses.0.saturating_mul(1 << doublings);
        let asked = error.retry_after().and_then(|asked| asked.to_std().ok());
        // A check that fails holds nobody up, unless the token server asks for it.
        let pause = match (asked, is_checking) {
            (Some(asked), _) => Some(asked.max(pause)),
            (None, false) => Some(pause),
            (None, true) => None,
        };
        let sealed = refresh.map(|refresh| self.seal(row, &Tokens { refresh, ..before }));
        Got::None {
            error,
            sealed,
            counts: !is_checking,
            retry_at: pause.map(|pause| self.0.clock.after_real(pause.min(pauses.1))),
        }
    }

    fn seal(&self, row: &Row, tokens: &Tokens) -> String {
        let of = GrantOf {
            workspace: WorkspaceId::from_uuid(row.workspace_id),
            sender: SenderId::from_uuid(row.sender_id),
        };
        seal(&self.0.secrets, &self.0.entropy, of, tokens)
    }

    /// Keeps what a refresh got before anybody uses it: the old refresh token may be of no use any more.
    async fn keep(&self, refresh: Refresh, got: &Got) -> Result<bool, StoreError> {
        let db = self.0.db.write();
        let (error, sealed, counts, retry_at) = match got {
            Got::Token {
                sealed, at, until, ..
            } => return grant::keep(db, refresh, sealed, *at, *until).await,
            Got::None {
                error,
                sealed,
                counts,
                retry_at,
            } => (error, sealed, *counts, *retry_at),
        };
        let problem = error.to_string();
        let failure = Failure {
            state: match error.is_final() {
                true => GrantState::Refused,
                false => GrantState::Failing,
            },
            problem: &problem,
            counts,
            retry_at,
        };
        match sealed {
            Some(sealed) => grant::keep_without_access(db, refresh, sealed, failure).await,
            None => grant::fail(db, refresh, failure).await,
        }
    }
}

/// What the database does not tell.
fn unread(error: StoreError) -> TokenError {
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "a grant could not be read or written"
    );
    TokenError::unreadable(error)
}

/// Tokens as they are kept.
pub(super) fn seal(secrets: &Secrets, entropy: &Entropy, of: GrantOf, tokens: &Tokens) -> String {
    let text = serde_json::json!(tokens).to_string();
    secrets.seal(entropy, of.workspace, of.sender.uuid(), &text)
}

/// What is said until the token server is asked again.
fn rests(row: &Row) -> Result<TokenError, TokenError> {
    let what = row.problem.clone().unwrap_or_default();
    Ok(match grant::state(row).map_err(unread)? {
        GrantState::Refused => TokenError::Refused(what),
        GrantState::Waiting | GrantState::Ready | GrantState::Failing => TokenError::Later {
            reason: RetryReason::Unavailable { after: None },
            what,
        },
    })
}

impl AccessTokens for Grants {
    fn token<'a>(
        &'a self,
        of: GrantOf,
        refused: Option<&'a Secret>,
    ) -> Doing<'a, Result<Secret, TokenError>> {
        let wanted = match refused {
            Some(refused) => Wanted::Other(refused.clone()),
            None => Wanted::Any,
        };
        Box::pin(self.find(of, wanted))
    }
}
