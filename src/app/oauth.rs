//! Access tokens of senders' OAuth 2 grants: kept, given out, and replaced before they end.
//!
//! Owns who asks a token server and when. Refresh tokens rotate, and one that is used twice may cost the
//! grant: one refresh is made at a time, whichever node makes it, and everybody else waits for what it
//! brings. No transaction is open while a token server is waited for. A refresh that was begun is carried
//! through, also where nobody waits for it any more.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::{MissedTickBehavior, interval};
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::channel::dispatch::Doing;
use crate::channel::oauth::{AccessTokens, GrantOf, TokenError, TokenServer};
use crate::channel::smtp::Secret;
use crate::channel::web::WebConfig;
use crate::clock::{Clock, from_ms};
use crate::domain::id::WorkspaceId;
use crate::domain::oauth::{GrantState, Granted, Tokens};
use crate::domain::outcome::RetryReason;
use crate::entropy::Entropy;
use crate::secrets::Secrets;
use crate::store::grant::{self, Refresh, Row};
use crate::store::{Db, StoreError};

/// A refresh that is not over after so long is given up by everybody else: longer than a request to a token
/// server may take.
const REFRESH_WITHIN: Duration = Duration::from_secs(60);
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
    /// One that the token server gives from now on: younger than these tokens.
    Younger(Option<i64>),
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
                *than = Some(row.generation);
            }
            let tokens = self.open(&row)?;
            let (now, life) = (self.0.clock.now(), grant::life(&row));
            let kept = tokens.access.clone().filter(|access| match &wanted {
                Wanted::Any => !life.is_over(now),
                Wanted::Other(refused) => {
                    Secret::new(access.as_str()) != *refused && !life.is_over(now)
                }
                Wanted::Younger(than) => Some(row.generation) > *than,
            });
            let is_on = |at: Option<i64>| at.map(from_ms).is_some_and(|at| at > now);
            let (is_under_way, is_resting) = (is_on(row.refreshing_until), is_on(row.retry_at));
            let is_asked_anyway = matches!(wanted, Wanted::Younger(_));
            match kept {
                // One that ends soon is of use until somebody has got the next.
                Some(access) if is_under_way || is_resting || !life.is_ending(now) => {
                    return Ok(Secret::new(access));
                }
                None if is_resting && !is_asked_anyway => return Err(rests(&row)?),
                None if is_under_way => continue,
                kept => match self.ask(of, row, tokens).await {
                    Ok(Some(access)) => return Ok(access),
                    // Somebody else was quicker.
                    Ok(None) => {}
                    Err(error) => return kept.map(Secret::new).ok_or(error),
                },
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
    async fn ask(
        &self,
        of: GrantOf,
        row: Row,
        tokens: Tokens,
    ) -> Result<Option<Secret>, TokenError> {
        let asking = self.0.under_way.spawn(self.clone().carry(of, row, tokens));
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
    async fn carry(
        self,
        of: GrantOf,
        row: Row,
        tokens: Tokens,
    ) -> Result<Option<Secret>, TokenError> {
        let inner = &self.0;
        let mut refresher = [0; 16];
        inner.entropy.fill(&mut refresher);
        let refresh = Refresh {
            sender: of.sender,
            workspace: of.workspace,
            generation: row.generation,
            refresher: Uuid::from_bytes(refresher),
        };
        let (now, until) = (inner.clock.now(), inner.clock.after_real(REFRESH_WITHIN));
        let begun = grant::begin(inner.db.write(), refresh, now, until).await;
        if !begun.map_err(unread)? {
            return Ok(None);
        }
        match inner.server.refresh(&grant::written(&row), &tokens).await {
            Ok(granted) => {
                let access = Secret::new(granted.access.clone());
                let kept = self.keep(refresh, tokens, granted).await.map_err(unread)?;
                Ok(kept.then_some(access))
            }
            Err(error) => match self.note(refresh, &row, &error).await.map_err(unread)? {
                true => Err(error),
                false => Ok(None),
            },
        }
    }

    /// Keeps what was granted before anybody uses it: the old refresh token may be of no use any more.
    async fn keep(
        &self,
        refresh: Refresh,
        before: Tokens,
        granted: Granted,
    ) -> Result<bool, StoreError> {
        let tokens = Tokens {
            refresh: granted.refresh.unwrap_or(before.refresh),
            access: Some(granted.access),
            ..before
        };
        let of = GrantOf {
            workspace: refresh.workspace,
            sender: refresh.sender,
        };
        let sealed = seal(&self.0.secrets, &self.0.entropy, of, &tokens);
        let now = self.0.clock.now();
        let lives = granted.lives.and_then(|lives| lives.to_std().ok());
        let expires_at = lives.map(|lives| self.0.clock.after_real(lives));
        let kept = async || grant::keep(self.0.db.write(), refresh, &sealed, now, expires_at).await;
        match kept().await {
            // What was got once may not be got again.
            Err(error) => {
                tracing::warn!(sender.id = %refresh.sender, error = &error as &dyn std::error::Error,
                    "keeping an access token failed; it is tried once more");
                kept().await
            }
            kept => kept,
        }
    }

    async fn note(
        &self,
        refresh: Refresh,
        row: &Row,
        error: &TokenError,
    ) -> Result<bool, StoreError> {
        let (state, pauses) = match error.is_final() {
            true => (GrantState::Refused, REFUSED_PAUSE),
            false => (GrantState::Failing, PAUSE),
        };
        // What a server said is shown, and not logged.
        tracing::warn!(sender.id = %refresh.sender, %state, "a token server gave no access token");
        let doublings = row.failures.clamp(0, 16).unsigned_abs();
        let pause = pauses.0.saturating_mul(1 << doublings).min(pauses.1);
        let asked = error.retry_after().and_then(|asked| asked.to_std().ok());
        let pause = asked.map_or(pause, |asked| asked.max(pause));
        let retry_at = self.0.clock.after_real(pause);
        grant::fail(
            self.0.db.write(),
            refresh,
            state,
            &error.to_string(),
            retry_at,
        )
        .await
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
