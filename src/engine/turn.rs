//! How many messages of a sender may be handed over at once.
//!
//! A message that is handed over while all connections are busy waits for one, and counts as perhaps
//! sent should the process die meanwhile; so no more are handed over than the connections take until
//! the next commit of hand-overs could bring more. That number is not guessed but counted: what left
//! during the last such commit. With a slow server it is hardly more than the connections; with a
//! fast one it is what keeps them from idling while the disk works.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Semaphore;

use crate::domain::id::SenderId;

/// At most so many messages for each connection are handed over.
const AHEAD_MAX: usize = 8;

/// The turns of all senders.
pub(super) struct Turns {
    connections: usize,
    senders: Mutex<HashMap<SenderId, Width>>,
}

struct Width {
    semaphore: Arc<Semaphore>,
    permits: usize,
    left: usize,
}

impl Turns {
    pub(super) fn new(connections: usize) -> Self {
        Self {
            connections,
            senders: Mutex::default(),
        }
    }

    /// Where a message of this sender waits for its turn.
    pub(super) fn of(&self, sender: SenderId) -> Arc<Semaphore> {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        let width = senders.entry(sender).or_insert_with(|| Width {
            semaphore: Arc::new(Semaphore::new(self.connections)),
            permits: self.connections,
            left: 0,
        });
        Arc::clone(&width.semaphore)
    }

    /// A message of this sender has left its connection.
    pub(super) fn left(&self, sender: SenderId) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(width) = senders.get_mut(&sender) {
            width.left += 1;
        }
    }

    /// A commit of hand-overs is done: as many as left during it may be ahead during the next.
    pub(super) fn committed(&self) {
        let mut senders = self.senders.lock().unwrap_or_else(PoisonError::into_inner);
        for width in senders.values_mut() {
            let wanted = (self.connections + width.left).min(self.connections * AHEAD_MAX);
            width.left = 0;
            if wanted > width.permits {
                width.semaphore.add_permits(wanted - width.permits);
                width.permits = wanted;
            } else {
                // Turns that are taken come back first; the rest goes with a later commit.
                width.permits -= width.semaphore.forget_permits(width.permits - wanted);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SenderId;

    fn sender() -> SenderId {
        SenderId::from_uuid(uuid::Uuid::from_u128(7))
    }

    #[test]
    fn as_many_are_ahead_as_left_during_a_commit() {
        let turns = Turns::new(4);
        let semaphore = turns.of(sender());
        assert_eq!(semaphore.available_permits(), 4);
        for (left, expected) in [(3, 7), (10, 14), (1_000, 32), (0, 4), (1, 5)] {
            for _ in 0..left {
                turns.left(sender());
            }
            turns.committed();
            assert_eq!(semaphore.available_permits(), expected, "after {left}");
        }
    }

    #[test]
    fn turns_that_are_taken_are_withdrawn_once_they_come_back() {
        let turns = Turns::new(2);
        let semaphore = turns.of(sender());
        for _ in 0..4 {
            turns.left(sender());
        }
        turns.committed();
        let taken = semaphore.try_acquire_many(6).expect("six turns");
        turns.committed();
        assert_eq!(semaphore.available_permits(), 0);
        drop(taken);
        turns.committed();
        assert_eq!(semaphore.available_permits(), 2);
    }
}
