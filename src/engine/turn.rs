//! How many messages of a sender may be handed over at once.
//!
//! A message that is handed over while all connections are busy waits for one, and counts as perhaps
//! sent should the process die meanwhile; so no more are handed over than keep the connections from
//! idling while the next hand-overs are committed. How many those are is not guessed but seen after
//! every commit: if nothing was travelling any more, there were too few; if more were travelling
//! than there are connections, there were too many. With a slow server that settles at one message
//! for each connection, with a fast one at what leaves while the disk works.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Semaphore;

use crate::domain::id::SenderId;

/// At most so many messages for each connection are handed over.
const AHEAD_MAX: usize = 4;

/// The turns of all senders.
pub(super) struct Turns {
    connections: usize,
    senders: Mutex<HashMap<SenderId, Width>>,
}

struct Width {
    semaphore: Arc<Semaphore>,
    permits: usize,
    /// Handed over and not yet off its connection.
    travelling: usize,
}

impl Turns {
    /// Turns for senders that have so many connections each.
    pub(super) fn new(connections: usize) -> Self {
        Self {
            connections,
            senders: Mutex::default(),
        }
    }

    /// Where a message of this sender waits for its turn.
    pub(super) fn of(&self, sender: SenderId) -> Arc<Semaphore> {
        Arc::clone(&self.width(&mut self.senders(), sender).semaphore)
    }

    /// So many messages of this sender have just been handed over in one commit.
    pub(super) fn handed_over(&self, sender: SenderId, count: usize) {
        let mut senders = self.senders();
        let width = self.width(&mut senders, sender);
        width.fit(self.connections);
        width.travelling += count;
    }

    /// A message of this sender that was handed over is off its connection.
    pub(super) fn arrived(&self, sender: SenderId) {
        let mut senders = self.senders();
        let width = self.width(&mut senders, sender);
        width.travelling = width.travelling.saturating_sub(1);
    }

    fn senders(&self) -> MutexGuard<'_, HashMap<SenderId, Width>> {
        self.senders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn width<'a>(
        &self,
        senders: &'a mut HashMap<SenderId, Width>,
        sender: SenderId,
    ) -> &'a mut Width {
        senders.entry(sender).or_insert_with(|| Width {
            semaphore: Arc::new(Semaphore::new(self.connections)),
            permits: self.connections,
            travelling: 0,
        })
    }
}

impl Width {
    fn fit(&mut self, connections: usize) {
        let too_many = self.travelling.saturating_sub(connections);
        // Where turns are left over, it was not they that kept the connections idle.
        let wanted = if self.travelling == 0 && self.semaphore.available_permits() == 0 {
            (self.permits * 2).min(connections * AHEAD_MAX)
        } else {
            self.permits.saturating_sub(too_many).max(connections)
        };
        if wanted > self.permits {
            self.semaphore.add_permits(wanted - self.permits);
            self.permits = wanted;
        } else if wanted < self.permits {
            self.withdraw(self.permits - wanted);
        }
    }

    /// Turns that are taken are withdrawn when they are next seen to be free.
    fn withdraw(&mut self, turns: usize) {
        self.permits -= self.semaphore.forget_permits(turns);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CONNECTIONS: usize = 4;

    fn turns() -> (Turns, Arc<Semaphore>, SenderId) {
        let turns = Turns::new(CONNECTIONS);
        let sender = SenderId::from_uuid(uuid::Uuid::from_u128(7));
        let semaphore = turns.of(sender);
        (turns, semaphore, sender)
    }

    /// Takes every turn there is, hands those messages over and brings `arriving` of them home.
    fn cycle(turns: &Turns, semaphore: &Semaphore, sender: SenderId, arriving: usize) -> usize {
        let asking = semaphore.available_permits();
        semaphore
            .try_acquire_many(u32::try_from(asking).expect("few"))
            .expect("they are free")
            .forget();
        turns.handed_over(sender, asking);
        for _ in 0..arriving {
            turns.arrived(sender);
            semaphore.add_permits(1);
        }
        asking
    }

    #[test]
    fn a_fast_server_gets_more_ahead_up_to_the_bound() {
        let (turns, semaphore, sender) = turns();
        let mut widest = 0;
        for _ in 0..12 {
            let asking = semaphore.available_permits();
            widest = widest.max(cycle(&turns, &semaphore, sender, asking));
        }
        assert!(widest > CONNECTIONS, "{widest}");
        assert!(widest <= CONNECTIONS * AHEAD_MAX, "{widest}");
    }

    #[test]
    fn a_slow_server_gets_one_message_for_each_connection() {
        let (turns, semaphore, sender) = turns();
        assert_eq!(cycle(&turns, &semaphore, sender, 1), CONNECTIONS);
        for _ in 0..20 {
            cycle(&turns, &semaphore, sender, 1);
        }
        let senders = turns.senders();
        let width = &senders[&sender];
        assert!(width.travelling <= CONNECTIONS * 2, "{}", width.travelling);
    }

    #[test]
    fn a_sender_with_little_to_do_is_not_widened() {
        let (turns, semaphore, sender) = turns();
        for _ in 0..20 {
            let turn = semaphore.try_acquire().expect("free");
            turns.handed_over(sender, 1);
            turns.arrived(sender);
            drop(turn);
        }
        assert_eq!(semaphore.available_permits(), CONNECTIONS);
    }
}
