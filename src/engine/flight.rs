//! What is under way of each lane, and how much more of it may be claimed.
//!
//! A claim is the mark that a message may be on the wire, so no more is claimed than leaves right
//! away: what waits for a connection would count as perhaps sent should the process die. But with no
//! message waiting, all connections idle while the disk commits the next claim. How many keep them
//! busy is not guessed but seen at every claim: if fewer travel than there are connections, and all
//! that was allowed was claimed, there were too few; if more travel, too many. With a slow server
//! that settles at one message for each connection, with a fast one at what leaves while the disk
//! works.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{Notify, Semaphore};

use super::{EngineConfig, LaneId};

/// At most so many messages for each connection are claimed and have not left.
pub(super) const AHEAD_MAX: usize = 8;

/// What is under way of all lanes.
pub(super) struct Flight {
    connections: usize,
    unrecorded_max: usize,
    unrecorded_per_sender_max: usize,
    state: Mutex<State>,
    changed: Notify,
    gathered: Notify,
}

#[derive(Default)]
struct State {
    unrecorded: usize,
    lanes: HashMap<LaneId, UnderWay>,
}

struct UnderWay {
    /// How many messages may be claimed and not off their connection.
    width: usize,
    /// How many are.
    travelling: usize,
    /// How many might have been claimed when it was last asked.
    offered: usize,
    /// How many are claimed and not recorded.
    unrecorded: usize,
    connections: Arc<Semaphore>,
}

impl Flight {
    /// Nothing is under way yet.
    pub(super) fn new(config: &EngineConfig) -> Self {
        Self {
            connections: config.sends_per_sender,
            unrecorded_max: config.in_flight_max,
            unrecorded_per_sender_max: config.in_flight_per_sender_max,
            state: Mutex::default(),
            changed: Notify::new(),
            gathered: Notify::new(),
        }
    }

    /// How many messages may be claimed now, in all.
    pub(super) fn room(&self) -> usize {
        self.unrecorded_max.saturating_sub(self.state().unrecorded)
    }

    /// How many messages of this lane may be claimed now.
    pub(super) fn room_of(&self, lane: LaneId) -> usize {
        let mut state = self.state();
        let of = self.of(&mut state, lane);
        let unrecorded = self.unrecorded_per_sender_max.saturating_sub(of.unrecorded);
        of.offered = of.free().min(unrecorded);
        of.offered
    }

    /// So many messages of this lane were claimed.
    pub(super) fn claimed(&self, lane: LaneId, count: usize) {
        let mut state = self.state();
        state.unrecorded += count;
        let of = self.of(&mut state, lane);
        of.fit(count, self.connections);
        of.travelling += count;
        of.unrecorded += count;
    }

    /// Where a message of this lane waits for a connection.
    pub(super) fn connections(&self, lane: LaneId) -> Arc<Semaphore> {
        Arc::clone(&self.of(&mut self.state(), lane).connections)
    }

    /// A message of this lane has left, or will not.
    pub(super) fn arrived(&self, lane: LaneId) {
        let mut state = self.state();
        let of = self.of(&mut state, lane);
        of.travelling = of.travelling.saturating_sub(1);
        let gathered = of.has_gathered();
        drop(state);
        self.changed.notify_one();
        if gathered {
            self.gathered.notify_one();
        }
    }

    /// How messages of these lanes ended was recorded.
    pub(super) fn recorded(&self, lanes: impl IntoIterator<Item = LaneId>) {
        let mut state = self.state();
        for lane in lanes {
            state.unrecorded = state.unrecorded.saturating_sub(1);
            let of = self.of(&mut state, lane);
            of.unrecorded = of.unrecorded.saturating_sub(1);
        }
        drop(state);
        self.changed.notify_one();
    }

    /// Returns when there may be more room than at the last call.
    pub(super) async fn changed(&self) {
        self.changed.notified().await;
    }

    /// Returns when one of these lanes has room for a claim that is worth its while.
    pub(super) async fn gathered(&self, lanes: &[LaneId]) {
        let has_gathered = || {
            let state = self.state();
            let of = |lane| state.lanes.get(lane);
            lanes.iter().filter_map(of).any(UnderWay::has_gathered)
        };
        while !has_gathered() {
            self.gathered.notified().await;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn of<'a>(&self, state: &'a mut State, lane: LaneId) -> &'a mut UnderWay {
        state.lanes.entry(lane).or_insert_with(|| UnderWay {
            width: self.connections,
            travelling: 0,
            offered: self.connections,
            unrecorded: 0,
            connections: Arc::new(Semaphore::new(self.connections)),
        })
    }
}

impl UnderWay {
    fn free(&self) -> usize {
        self.width.saturating_sub(self.travelling)
    }

    fn has_gathered(&self) -> bool {
        self.free() * 2 >= self.width
    }

    /// Sees, when `count` were claimed and committed, whether there were too few or too many.
    fn fit(&mut self, count: usize, connections: usize) {
        if self.travelling > connections {
            let too_many = self.travelling - connections;
            self.width = self.width.saturating_sub(too_many).max(connections);
        } else if count >= self.offered {
            // Where less was claimed than might have been, it was not the width that kept them idle.
            let too_few = connections - self.travelling;
            self.width = (self.width + too_few).min(connections * AHEAD_MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::SenderId;

    const CONNECTIONS: usize = 4;

    fn flight() -> (Flight, LaneId) {
        let config = EngineConfig {
            sends_per_sender: CONNECTIONS,
            in_flight_max: 30,
            in_flight_per_sender_max: 20,
            ..EngineConfig::default()
        };
        let sender = LaneId::Sender(SenderId::from_uuid(uuid::Uuid::from_u128(7)));
        (Flight::new(&config), sender)
    }

    fn arrive(flight: &Flight, sender: LaneId, count: usize) {
        for _ in 0..count {
            flight.arrived(sender);
        }
        flight.recorded(std::iter::repeat_n(sender, count));
    }

    /// The width after many claims of all that may be claimed, `leaving` messages while each of them
    /// is committed.
    fn settled(leaving: usize) -> usize {
        let (flight, sender) = flight();
        for _ in 0..40 {
            let count = flight.room_of(sender);
            let travelling = flight.state().lanes[&sender].travelling;
            arrive(&flight, sender, leaving.min(travelling));
            flight.claimed(sender, count);
        }
        flight.state().lanes[&sender].width
    }

    #[test]
    fn a_fast_server_gets_more_ahead_up_to_the_bound() {
        assert_eq!(settled(100), CONNECTIONS * AHEAD_MAX);
    }

    #[test]
    fn a_slow_server_gets_little_more_than_its_connections() {
        for leaving in 1..CONNECTIONS {
            let width = settled(leaving);
            assert!(width >= CONNECTIONS, "{leaving}: {width}");
            assert!(width <= CONNECTIONS + leaving * 3, "{leaving}: {width}");
        }
    }

    #[test]
    fn a_sender_with_little_to_do_is_not_widened() {
        let (flight, sender) = flight();
        for _ in 0..20 {
            assert!(flight.room_of(sender) > 1);
            flight.claimed(sender, 1);
            arrive(&flight, sender, 1);
        }
        assert_eq!(flight.room_of(sender), CONNECTIONS);
    }

    #[test]
    fn what_is_not_recorded_takes_room() {
        let (flight, sender) = flight();
        let other = LaneId::Sender(SenderId::from_uuid(uuid::Uuid::from_u128(8)));
        for _ in 0..5 {
            let count = flight.room_of(sender);
            flight.claimed(sender, count);
            for _ in 0..count {
                flight.arrived(sender);
            }
        }
        assert_eq!((flight.room_of(sender), flight.room()), (0, 10));
        assert_eq!(flight.room_of(other), CONNECTIONS);
        flight.recorded([sender]);
        assert_eq!((flight.room_of(sender), flight.room()), (1, 11));
    }
}
