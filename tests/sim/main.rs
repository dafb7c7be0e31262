//! The simulator: the production engine and store on a manual clock, driven by a seed.
//!
//! Virtual workers claim, hand over, send and record in whatever order the seed says; they crash
//! between any two stages, fall asleep until their lease runs out and wake as zombies; providers
//! fail in every way; people pause, resume and remove leads and disable and publish the sequence.
//! After every step the oracle checks what must always hold, and at the end that everything ended.
//!
//! `CADENZA_SIM_SEED=17 cargo test --test sim` replays one seed; `CADENZA_SIM_SEEDS=5000` runs many.

mod oracle;
mod provider;
mod world;

use world::{Options, World};

/// How many seeds a normal run tries.
const SEEDS: u64 = 40;

fn seeds() -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("CADENZA_SIM_SEED") {
        Some(seed) => vec![seed],
        None => (1..=number("CADENZA_SIM_SEEDS").unwrap_or(SEEDS)).collect(),
    }
}

async fn run(seed: u64) -> world::Report {
    let mut world = World::new(seed, Options::drawn(seed)).await;
    world.live().await;
    world.heal_and_drain().await;
    world.finish().await
}

#[tokio::test]
async fn every_seed_holds_every_invariant_and_replays_itself() {
    let mut crossed = std::collections::BTreeSet::new();
    let seeds = seeds();
    for &seed in &seeds {
        let replay = format!("replay with CADENZA_SIM_SEED={seed} cargo test --test sim");
        let report = std::panic::AssertUnwindSafe(run(seed));
        let first = futures_util::FutureExt::catch_unwind(report).await;
        let Ok(first) = first else { panic!("seed {seed} broke an invariant: {replay}") };
        let second = run(seed).await;
        assert_eq!(first.log, second.log, "seed {seed} did not repeat itself: {replay}");
        crossed.extend(first.crossed);
    }
    if seeds.len() > 1 {
        for point in world::CRASH_POINTS {
            assert!(crossed.contains(point), "no seed ever crashed at {point}");
        }
    }
}
