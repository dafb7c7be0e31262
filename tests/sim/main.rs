//! The simulator: the production engine and store on a manual clock, driven by a seed.
//!
//! A seed draws a world: plain ones send one straight flow of emails, the others have sequences of every
//! kind of step that share senders and people, on several clocks, under every cap and policy. Virtual
//! workers claim, send and record in whatever order the seed says; they crash between any two stages,
//! fall asleep until their lease runs out and wake as zombies; providers fail in every way; people do
//! their tasks, open, click and answer, opt out, are erased and merged, hold and release leads, switch senders and sequences
//! off and on, and edit what is published. The oracles check what must always hold as it is done, and
//! at the end that everything ended or says whom it waits for.
//!
//! `CADENZA_SIM_SEED=17 cargo test --test sim` replays one seed; `CADENZA_SIM_SEEDS=5000` runs many.

mod book;
mod draws;
mod flows;
mod furnish;
mod identity;
mod options;
mod oracle;
mod people;
mod provider;
mod stages;
mod world;

use std::collections::BTreeSet;
use std::panic::AssertUnwindSafe;

use futures_util::FutureExt;
use options::PRESSING;
use oracle::met::{Met, WANTED};
use world::World;

/// How many seeds a normal run tries.
const SEEDS: u64 = 40;
/// PostgreSQL answers more slowly; what is the same on both is tried enough on SQLite.
const SEEDS_ON_POSTGRES: u64 = 6;

/// How many seeds of a normal run press.
const PRESSING_SEEDS: u64 = 18;

fn seeds(normally: u64, pressing: u64) -> Vec<u64> {
    let number = |name: &str| std::env::var(name).ok().and_then(|text| text.parse().ok());
    match number("CADENZA_SIM_SEED") {
        Some(seed) => vec![seed],
        None => {
            let many = 1..=number("CADENZA_SIM_SEEDS").unwrap_or(normally);
            many.chain(PRESSING..PRESSING + pressing).collect()
        }
    }
}

async fn run(seed: u64, postgres: Option<&str>, is_watched: bool) -> world::Report {
    let mut world = World::new(seed, postgres, is_watched).await;
    world.live().await;
    world.heal_and_drain().await;
    world.finish().await
}

/// Runs seeds, each twice; answers where workers died, and what the seeds met.
async fn try_seeds(seeds: &[u64], postgres: Option<&str>) -> (BTreeSet<&'static str>, Met) {
    let (mut crossed, mut met) = (BTreeSet::new(), Met::new());
    for &seed in seeds {
        let replay = format!("replay with CADENZA_SIM_SEED={seed} cargo test --test sim");
        let Ok(first) = AssertUnwindSafe(run(seed, postgres, true))
            .catch_unwind()
            .await
        else {
            panic!("seed {seed} broke an invariant: {replay}")
        };
        let second = run(seed, postgres, false).await;
        assert_eq!(
            first.log, second.log,
            "seed {seed} did not repeat itself: {replay}"
        );
        crossed.extend(first.crossed);
        for (what, count) in first.met {
            *met.entry(what).or_default() += count;
        }
    }
    (crossed, met)
}

#[tokio::test]
async fn every_seed_holds_every_invariant_and_replays_itself_on_sqlite() {
    let seeds = seeds(SEEDS, PRESSING_SEEDS);
    let (crossed, met) = try_seeds(&seeds, None).await;
    println!("the simulation met {met:#?}");
    if seeds.len() > 1 {
        for (what, least) in WANTED {
            let count = met.get(what).copied().unwrap_or(0);
            assert!(
                count >= least,
                "the simulation met {what} {count} times: {met:#?}"
            );
        }
        for point in stages::CRASH_POINTS {
            assert!(crossed.contains(point), "no seed ever crashed at {point}");
        }
    }
}

#[tokio::test]
async fn every_seed_holds_every_invariant_and_replays_itself_on_postgres() {
    let server = std::env::var("TEST_POSTGRES_URL").expect(
        "TEST_POSTGRES_URL names the PostgreSQL server of the tests: run them by `make test`",
    );
    try_seeds(&seeds(SEEDS_ON_POSTGRES, 2), Some(&server)).await;
}
