//! Whatever is sent is read or refused, and never ends the process: random texts, and texts with something
//! changed in them, to everything that reads what a stranger sends.
//!
//! `CADENZA_FUZZ_INPUTS` says how many of all targets together (`make fuzz` runs ten million). An input that
//! fails is named, and `CADENZA_FUZZ_ONLY` with its number tries it alone.

mod documents;
mod framing;
mod readers;
mod socket;

use std::collections::BTreeMap;
use std::num::NonZero;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::thread;

use cadenza::entropy::Entropy;

/// What is tried where nothing is said: enough to find what is badly wrong.
const INPUTS: u64 = 40_000;

/// How often each outcome was seen.
struct Tally(BTreeMap<&'static str, u64>);

/// Tries a target with its part of all inputs, on all cores; `check` answers what became of one.
fn each(target: &str, percent: u64, check: impl Fn(&Dice) -> &'static str + Sync) -> Tally {
    let number = |name: &str| {
        let text = std::env::var(name).ok()?;
        Some(text.parse::<u64>().expect("a number"))
    };
    if let Some(only) = number("CADENZA_FUZZ_ONLY") {
        return Tally(BTreeMap::from([(check(&Dice::of_input(target, only)), 1)]));
    }
    let inputs = number("CADENZA_FUZZ_INPUTS").unwrap_or(INPUTS) * percent / 100;
    let threads = thread::available_parallelism().map_or(1, NonZero::get);
    let part = |first: usize| {
        let mut outcomes = BTreeMap::new();
        for n in (u64::try_from(first).expect("small")..inputs).step_by(threads) {
            let dice = Dice::of_input(target, n);
            match catch_unwind(AssertUnwindSafe(|| check(&dice))) {
                Ok(outcome) => *outcomes.entry(outcome).or_insert(0) += 1,
                Err(panic) => {
                    eprintln!("{target}: input {n} fails; CADENZA_FUZZ_ONLY={n} tries it alone");
                    resume_unwind(panic);
                }
            }
        }
        outcomes
    };
    let mut tally = BTreeMap::new();
    thread::scope(|scope| {
        let parts: Vec<_> = (0..threads)
            .map(|first| scope.spawn(move || part(first)))
            .collect();
        for part in parts {
            for (outcome, count) in part.join().unwrap_or_else(|panic| resume_unwind(panic)) {
                *tally.entry(outcome).or_insert(0) += count;
            }
        }
    });
    let outcomes: Vec<String> = tally
        .iter()
        .map(|(outcome, count)| format!("{count} {outcome}"))
        .collect();
    println!("{target}: {inputs} inputs: {}", outcomes.join(", "));
    Tally(tally)
}

impl Tally {
    /// Fails where one of these outcomes was hardly ever seen: then it was not tried.
    fn has_each(&self, outcomes: &[&str]) {
        let all: u64 = self.0.values().sum();
        for outcome in outcomes {
            let count = self.0.get(outcome).copied().unwrap_or(0);
            assert!(
                all == 1 || count * 2_000 > all,
                "{count} of {all}: {outcome}"
            );
        }
    }
}

struct Dice(Entropy);

impl Dice {
    fn of_input(target: &str, n: u64) -> Self {
        let of_target = target.bytes().fold(n, |seed, byte| {
            seed.wrapping_mul(0x0100_0000_01b3) ^ u64::from(byte)
        });
        Self(Entropy::seeded(of_target))
    }

    fn below(&self, count: usize) -> usize {
        usize::try_from(self.0.bits() % u64::try_from(count.max(1)).expect("a size"))
            .expect("below")
    }

    fn once_in(&self, times: usize) -> bool {
        self.below(times) == 0
    }

    fn of<T: Copy>(&self, list: &[T]) -> T {
        list[self.below(list.len())]
    }

    /// A text in which something is taken out, doubled or put in.
    fn changed(&self, text: &str, pieces: &[&str]) -> String {
        let mut letters: Vec<char> = text.chars().collect();
        for _ in 0..1 + self.below(1 + self.below(4)) {
            let from = self.below(letters.len());
            let to = (from + self.below(20)).min(letters.len());
            match self.below(3) {
                0 => drop(letters.drain(from..to)),
                1 => {
                    let again: Vec<char> = letters[from..to].to_vec();
                    letters.splice(from..from, again);
                }
                _ => drop(letters.splice(from..from, self.of(pieces).chars())),
            }
        }
        letters.into_iter().collect()
    }

    /// Pieces in any order.
    fn pieces(&self, pieces: &[&str], most: usize) -> String {
        (0..self.below(most)).map(|_| self.of(pieces)).collect()
    }

    /// Any bytes.
    fn bytes(&self, most: usize) -> Vec<u8> {
        let mut bytes = vec![0; self.below(most)];
        self.0.fill(&mut bytes);
        bytes
    }
}

/// What JSON is made of, and what is no JSON.
const JSON: &[&str] = &[
    "{",
    "}",
    "[",
    "]",
    ":",
    ",",
    "\"",
    "\\",
    "\\u0041",
    "\\ud83d",
    "\\u",
    "null",
    "true",
    "1",
    "-0",
    "1e999",
    "0.1",
    " ",
    "\n",
    "\t",
    "\r",
    "\u{0}",
    "\u{2028}",
    "é😀",
    "a",
    "\"a\":1,",
    "\"query\"",
    "\"query\":\"{ a }\"",
    "\"variables\":{\"a\":1}",
    "\"variables\":[]",
    "\"operationName\":\"Q\"",
    "\"documentId\":\"sha256:00\"",
    "\"extensions\":{\"persistedQuery\":{\"version\":1,\"sha256Hash\":\"0\"}}",
    "\"extensions\":null",
    "\"version\"",
    "{},",
    "[[[[[[[[[[",
    "]]]]]]]]]]",
    "\"id\":\"a\"",
    "\"type\":\"ping\"",
    "\"payload\":",
];
