//! What each token may have at once, so that no one takes what others need: operations that run,
//! sockets, live streams, and files.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::domain::id::TokenId;

/// How many queries and mutations of a token run at a time; the next ones wait for their turn.
const RUNNING_MAX: usize = 16;
/// How many sockets a token has open at a time.
const SOCKETS_MAX: usize = 2_500;
/// How many subscriptions a token follows at a time.
const STREAMS_MAX: usize = 10_000;
/// How many files a token is being sent at a time: each holds some rows until its client has read them.
pub const EXPORTS_MAX: usize = 4;
/// How many operations of one socket, or of one batch, wait for a turn or have one at a time: whoever
/// asks for much at once leaves turns to the others of its token.
const IN_LINE_MAX: usize = 4;
/// When so many tokens are known, those that have nothing any more are forgotten.
const FORGET_AT: usize = 1_024;

/// The shares of all tokens.
#[derive(Default)]
pub struct Shares(Mutex<HashMap<TokenId, Weak<Share>>>);

/// The share of one token.
pub struct Share {
    running: Arc<Semaphore>,
    sockets: Arc<Semaphore>,
    streams: Arc<Semaphore>,
    exports: Arc<Semaphore>,
}

/// The line in which the operations of one socket, or of one batch, wait for their turns.
#[derive(Clone)]
pub struct Line(Arc<Semaphore>);

impl Default for Line {
    fn default() -> Self {
        Self(Arc::new(Semaphore::new(IN_LINE_MAX)))
    }
}

impl Line {
    /// Waits to be among the first of the line; for as long as what is answered is kept.
    pub async fn first(&self) -> Option<OwnedSemaphorePermit> {
        Arc::clone(&self.0).acquire_owned().await.ok()
    }
}

/// A part of a share, given back when it is dropped.
pub struct Part {
    _permit: OwnedSemaphorePermit,
    // The share is known for as long as a part of it is out.
    _share: Arc<Share>,
}

impl Shares {
    /// The share of a token.
    pub fn of(&self, token: TokenId) -> Arc<Share> {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(share) = known.get(&token).and_then(Weak::upgrade) {
            return share;
        }
        if known.len() >= FORGET_AT {
            known.retain(|_, share| share.strong_count() > 0);
        }
        let share = Arc::new(Share {
            running: Arc::new(Semaphore::new(RUNNING_MAX)),
            sockets: Arc::new(Semaphore::new(SOCKETS_MAX)),
            streams: Arc::new(Semaphore::new(STREAMS_MAX)),
            exports: Arc::new(Semaphore::new(EXPORTS_MAX)),
        });
        known.insert(token, Arc::downgrade(&share));
        share
    }
}

impl Share {
    /// Waits for the turn to run a query or a mutation.
    pub async fn turn(self: Arc<Self>) -> Option<Part> {
        let permit = Arc::clone(&self.running).acquire_owned().await.ok()?;
        Some(self.part(permit))
    }

    /// A socket, if the token may have one more.
    pub fn socket(self: Arc<Self>) -> Option<Part> {
        let permit = Arc::clone(&self.sockets).try_acquire_owned().ok()?;
        Some(self.part(permit))
    }

    /// A live stream, if the token may have one more.
    pub fn stream(self: Arc<Self>) -> Option<Part> {
        let permit = Arc::clone(&self.streams).try_acquire_owned().ok()?;
        Some(self.part(permit))
    }

    /// A file, if the token may be sent one more.
    pub fn export(self: Arc<Self>) -> Option<Part> {
        let permit = Arc::clone(&self.exports).try_acquire_owned().ok()?;
        Some(self.part(permit))
    }

    fn part(self: Arc<Self>, permit: OwnedSemaphorePermit) -> Part {
        Part {
            _permit: permit,
            _share: self,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn token(n: u128) -> TokenId {
        TokenId::from_uuid(uuid::Uuid::from_u128(n))
    }

    #[test]
    fn a_share_is_the_tokens_own_and_comes_back() {
        let shares = Shares::default();
        let turn = |n: u128| shares.of(token(n)).turn().now_or_never().flatten();
        let mut taken: Vec<Part> = (0..RUNNING_MAX).filter_map(|_| turn(1)).collect();
        assert_eq!(taken.len(), RUNNING_MAX);
        assert!(turn(1).is_none() && turn(2).is_some());
        taken.pop();
        assert!(turn(1).is_some());
        let sockets: Vec<Part> = (0..SOCKETS_MAX + 1)
            .filter_map(|_| shares.of(token(1)).socket())
            .collect();
        assert_eq!(sockets.len(), SOCKETS_MAX);
    }

    #[test]
    fn who_asks_for_much_at_once_leaves_turns_to_others() {
        let shares = Shares::default();
        let turn = || shares.of(token(1)).turn().now_or_never().flatten();
        let (greedy, modest) = (Line::default(), Line::default());
        let first = |line: &Line| line.first().now_or_never().flatten();
        let ask = |line: &Line| {
            let place = first(line)?;
            Some((place, turn()?))
        };
        let mut held: Vec<_> = (0..100).filter_map(|_| ask(&greedy)).collect();
        assert_eq!(held.len(), IN_LINE_MAX);
        assert!(ask(&modest).is_some());
        held.pop();
        assert!(ask(&greedy).is_some());
    }

    #[test]
    fn tokens_that_have_nothing_are_forgotten() {
        let shares = Shares::default();
        let kept = shares.of(token(0)).socket();
        (1..5_000).for_each(|n| drop(shares.of(token(n))));
        let known = shares.0.lock().expect("a lock");
        assert!(known.len() <= FORGET_AT && known.contains_key(&token(0)));
        drop(kept);
    }
}
