//! The only reader of randomness, and the maker of ids.

use std::sync::{Arc, Mutex};

use chrono::{DateTime, Utc};
use ring::rand::{SecureRandom, SystemRandom};
use uuid::Uuid;

use crate::domain::id::Id;

/// Draws random bits: from the system, or, for a simulation, from a seed.
#[derive(Clone, Debug)]
pub struct Entropy(Arc<Source>);

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
        Self(Arc::new(Source::System(SystemRandom::new())))
    }

    /// A generator that repeats itself for the same seed. Not for secrets.
    pub fn seeded(seed: u64) -> Self {
        Self(Arc::new(Source::Seeded(Mutex::new(seed))))
    }

    /// Fills `bytes`.
    ///
    /// # Panics
    /// If the operating system cannot provide randomness, as then nothing can be done safely.
    pub fn fill(&self, bytes: &mut [u8]) {
        match &*self.0 {
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

    /// A new id, ordered by `now` (UUIDv7, RFC 9562 §5.7).
    pub fn id<K>(&self, now: DateTime<Utc>) -> Id<K> {
        let mut random = [0; 10];
        self.fill(&mut random);
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
