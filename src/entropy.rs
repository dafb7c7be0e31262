//! The only reader of randomness, and the maker of ids.

use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::domain::id::Id;

/// Draws random bits: from the system, or, for a simulation, from a seed.
#[derive(Clone, Debug)]
pub struct Entropy(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    source: Source,
    /// How many ids were made, from a random start.
    ids: AtomicU32,
}

#[derive(Debug)]
enum Source {
    System(SystemRandom),
    Seeded(Mutex<u64>),
}

impl Entropy {
    /// The operating system's generator.
    #[expect(
        clippy::disallowed_methods,
        reason = "this is the one place that draws randomness"
    )]
    pub fn system() -> Self {
        Self::of(Source::System(SystemRandom::new()))
    }

    /// A generator that repeats itself for the same seed. Not for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self::of(Source::Seeded(Mutex::new(seed)))
    }

    fn of(source: Source) -> Self {
        let ids = AtomicU32::default();
        let entropy = Self(Arc::new(Inner { source, ids }));
        let mut start = [0; 4];
        entropy.fill(&mut start);
        entropy
            .0
            .ids
            .store(u32::from_le_bytes(start), Ordering::Relaxed);
        entropy
    }

    /// Fills `bytes`.
    ///
    /// # Panics
    /// If the operating system cannot provide randomness, as then nothing can be done safely.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &self.0.source {
            Source::System(system) => {
                system
                    .fill(bytes)
                    .expect("the operating system provides randomness");
            }
            Source::Seeded(state) => {
                let mut state = state
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner);
                for chunk in bytes.chunks_mut(8) {
                    let drawn = split_mix(&mut state).to_le_bytes();
                    for (byte, random) in chunk.iter_mut().zip(drawn) {
                        *byte = random;
                    }
                }
            }
        }
    }

    /// 64 random bits.
    pub fn bits(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    /// A number from 0 (inclusive) to 1 (exclusive).
    pub fn unit(&self) -> f64 {
        // 32 bits are fine enough for jitter, and a double holds them exactly.
        let high = u32::try_from(self.bits() >> 32).unwrap_or(0);
        f64::from(high) / (f64::from(u32::MAX) + 1.0)
    }

    /// A lead's bucket: what decides its variant and its sender, 0..=999,999.
    pub fn bucket(&self) -> i32 {
        i32::try_from(self.bits() % 1_000_000).unwrap_or(0)
    }

    /// A new id, ordered by `now` and, within a millisecond, by the order in which they were made
    /// (UUIDv7, RFC 9562 §5.7, with a counter of 26 bits after §6.2 method 1, of which one goes over
    /// in every sixty million). Rows that are made together then lie together: with a random order
    /// within a millisecond, every batch of ten thousand leads that were enrolled at once touched
    /// every page of every index, which was measured to double the cost of a message.
    pub fn id<K>(&self, now: DateTime<Utc>) -> Id<K> {
        let mut random = [0; 10];
        self.fill(&mut random);
        let count = self.0.ids.fetch_add(1, Ordering::Relaxed) & 0x03ff_ffff;
        let [_, _, low, lowest] = count.to_be_bytes();
        let [high, higher] = [count >> 14 & 0xff, count >> 22].map(|byte| byte as u8);
        random[..4].copy_from_slice(&[higher, high, low & 0x3f, lowest]);
        let ms = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        Id::from_uuid(uuid::Builder::from_unix_timestamp_millis(ms, &random).into_uuid())
    }

    /// The least id that can be made at `now`: everything made before is smaller.
    pub fn floor(now: DateTime<Utc>) -> Uuid {
        let ms = u64::try_from(now.timestamp_millis()).unwrap_or(0);
        uuid::Builder::from_unix_timestamp_millis(ms, &[0; 10]).into_uuid()
    }
}

/// SplitMix64 (Steele, Lea, Flood 2014).
fn split_mix(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::id::kind;

    #[test]
    fn ids_of_one_instant_come_in_the_order_in_which_they_were_made() {
        let entropy = Entropy::seeded(7);
        // Away from where the counter goes over.
        entropy.0.ids.store(0, Ordering::Relaxed);
        let now = DateTime::from_timestamp_millis(1_795_000_000_000).unwrap();
        let ids: Vec<Id<kind::Lead>> = (0..70_000).map(|_| entropy.id(now)).collect();
        assert!(ids.is_sorted_by(|earlier, later| earlier.uuid() < later.uuid()));
        assert!(ids.iter().all(|id| id.uuid() > Entropy::floor(now)));
        assert!(ids.iter().all(|id| id.uuid().get_version_num() == 7));
        assert!(
            ids[0].uuid()
                < entropy
                    .id::<kind::Lead>(now + chrono::Duration::milliseconds(1))
                    .uuid()
        );
    }

    #[test]
    fn ids_stay_unlike_where_two_make_them_at_one_instant() {
        let now = DateTime::from_timestamp_millis(1_795_000_000_000).unwrap();
        let (one, other) = (Entropy::seeded(7), Entropy::seeded(8));
        other
            .0
            .ids
            .store(one.0.ids.load(Ordering::Relaxed), Ordering::Relaxed);
        assert_ne!(one.id::<kind::Lead>(now), other.id::<kind::Lead>(now));
    }
}
