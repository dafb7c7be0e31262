//! Taking in a body: bounded in size, in time, and in what all bodies take at once.

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, BodyDataStream, Bytes};
use futures_util::StreamExt;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout, timeout_at};

/// How slowly a body may come.
#[derive(Clone, Copy)]
struct Pace {
    /// How long a client may be silent in the middle of it.
    silent: Duration,
    /// How long a small one may take; a larger one has as much longer as it needs at `slowest`.
    within: Duration,
    /// The slowest that a large one may come, in bytes a second.
    slowest: u64,
}

const PACE: Pace = Pace {
    silent: Duration::from_secs(15),
    within: Duration::from_secs(30),
    slowest: 32 << 10,
};
/// How much of a body is read that nobody wants, in bytes, and for how long.
const DRAINED_MAX: usize = 64 << 10;
const DRAINED_WITHIN: Duration = Duration::from_secs(1);
/// What is counted at once, in bytes.
const UNIT: usize = 1 << 10;

/// The room that all bodies share; cheap to clone.
#[derive(Clone)]
pub struct Room {
    units: Arc<Semaphore>,
    pace: Pace,
}

/// A body that came, and the room that it takes for as long as it is there.
pub struct Taken {
    /// What came.
    pub bytes: Vec<u8>,
    _room: Option<OwnedSemaphorePermit>,
}

/// Why a body was not taken in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum NotTaken {
    /// It is larger than it may be.
    #[error("The body is longer than {0} bytes; send less at once.")]
    TooLong(usize),
    /// It came too slowly, or its rest not at all.
    #[error("The body did not come in time; send it without a pause, or in smaller requests.")]
    TooSlow,
    /// The connection ended before it did.
    #[error("The body ended before it was whole.")]
    Cut,
    /// Others fill the room.
    #[error("The server is taking in as much as it can hold; send this again in a moment.")]
    NoRoom,
}

impl Room {
    /// Room for so many bytes.
    pub fn new(bytes: usize) -> Self {
        Self {
            units: Arc::new(Semaphore::new(bytes / UNIT)),
            pace: PACE,
        }
    }

    /// Takes in a body of at most `limit` bytes.
    ///
    /// # Errors
    /// [`NotTaken`], which says why.
    pub async fn take(&self, body: Body, limit: usize) -> Result<Taken, NotTaken> {
        let mut taken = Taken {
            bytes: Vec::new(),
            _room: None,
        };
        let mut incoming = self.incoming(body, limit);
        while let Some(chunk) = incoming.next().await? {
            let length = taken.bytes.len() + chunk.len();
            self.make_room(&mut taken, length)?;
            taken.bytes.extend_from_slice(&chunk);
        }
        Ok(taken)
    }

    /// A body of at most `limit` bytes that is taken in as it comes, and not kept here.
    pub fn incoming(&self, body: Body, limit: usize) -> Incoming {
        Incoming {
            chunks: body.into_data_stream(),
            pace: self.pace,
            began: Instant::now(),
            length: 0,
            limit,
        }
    }

    /// Room for so many bytes, for as long as what is answered is kept.
    ///
    /// # Errors
    /// [`NotTaken::NoRoom`] where others fill it.
    pub fn keep(&self, bytes: usize) -> Result<OwnedSemaphorePermit, NotTaken> {
        let units = u32::try_from(bytes / UNIT).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.units).try_acquire_many_owned(units);
        room.map_err(|_| NotTaken::NoRoom)
    }

    fn make_room(&self, taken: &mut Taken, length: usize) -> Result<(), NotTaken> {
        let held = taken
            ._room
            .as_ref()
            .map_or(0, OwnedSemaphorePermit::num_permits);
        let more = u32::try_from((length / UNIT).saturating_sub(held)).unwrap_or(u32::MAX);
        if more == 0 {
            return Ok(());
        }
        let room = Arc::clone(&self.units).try_acquire_many_owned(more);
        let room = room.map_err(|_| NotTaken::NoRoom)?;
        match &mut taken._room {
            Some(held) => held.merge(room),
            none => *none = Some(room),
        }
        Ok(())
    }
}

/// A body that comes, bounded in size and in time.
pub struct Incoming {
    chunks: BodyDataStream,
    pace: Pace,
    began: Instant,
    length: usize,
    limit: usize,
}

impl Incoming {
    /// What comes next; `None` at the end.
    ///
    /// # Errors
    /// [`NotTaken`], which says why nothing more is taken.
    pub async fn next(&mut self) -> Result<Option<Bytes>, NotTaken> {
        let so_far = u64::try_from(self.length).unwrap_or(u64::MAX);
        let longer = Duration::from_secs(so_far / self.pace.slowest);
        let until = self.began + self.pace.within + longer;
        let next = timeout_at(until, timeout(self.pace.silent, self.chunks.next())).await;
        let chunk = match next.map_err(|_| NotTaken::TooSlow)? {
            Err(_) => return Err(NotTaken::TooSlow),
            Ok(None) => return Ok(None),
            Ok(Some(Err(error))) if is_too_long(&error) => {
                return Err(NotTaken::TooLong(self.limit));
            }
            Ok(Some(Err(_))) => return Err(NotTaken::Cut),
            Ok(Some(Ok(chunk))) => chunk,
        };
        self.length += chunk.len();
        if self.length > self.limit {
            return Err(NotTaken::TooLong(self.limit));
        }
        Ok(Some(chunk))
    }

    /// Reads on for a moment what nobody wants any more, so that a client that still writes hears why.
    pub async fn drain(mut self) {
        let rest = async { while let Some(Ok(_)) = self.chunks.next().await {} };
        // What is longer or slower is cut off with its connection.
        drop(timeout(DRAINED_WITHIN, rest).await);
    }
}

/// Reads a body that nobody wants, if it is small and comes at once: a client that is answered while it
/// still writes would see its connection break instead of the answer.
pub async fn drain(body: Body) {
    let read = axum::body::to_bytes(body, DRAINED_MAX);
    // What is longer or slower is cut off with its connection.
    drop(timeout(DRAINED_WITHIN, read).await);
}

/// Whether a layer below has found the body too long.
fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_body_is_bounded_alone_and_with_all_others() {
        let room = Room::new(64 << 10);
        let body = |bytes: usize| Body::from(vec![b'x'; bytes]);
        let small = room.take(body(10), 100).await.expect("taken");
        assert_eq!(small.bytes.len(), 10);
        assert_eq!(
            room.take(body(101), 100).await.err(),
            Some(NotTaken::TooLong(100))
        );
        let large = room.take(body(40 << 10), 1 << 20).await.expect("taken");
        assert_eq!(
            room.take(body(40 << 10), 1 << 20).await.err(),
            Some(NotTaken::NoRoom)
        );
        drop(large);
        assert!(room.take(body(40 << 10), 1 << 20).await.is_ok());
    }

    #[tokio::test]
    async fn a_body_that_does_not_end_is_cut() {
        let mut room = Room::new(1 << 20);
        room.pace = Pace {
            silent: Duration::from_millis(20),
            within: Duration::from_millis(200),
            slowest: 1 << 20,
        };
        let silent = Body::from_stream(futures_util::stream::pending::<
            Result<Vec<u8>, std::io::Error>,
        >());
        assert_eq!(room.take(silent, 100).await.err(), Some(NotTaken::TooSlow));
        let drips = dripping(Duration::from_millis(5));
        assert_eq!(
            room.take(drips, 1 << 20).await.err(),
            Some(NotTaken::TooSlow)
        );
    }

    /// One byte at a time.
    fn dripping(every: Duration) -> Body {
        let ticks = tokio::time::interval(every);
        Body::from_stream(futures_util::stream::unfold(
            ticks,
            |mut ticks| async move {
                ticks.tick().await;
                Some((Ok::<_, std::io::Error>(vec![b'x']), ticks))
            },
        ))
    }
}
