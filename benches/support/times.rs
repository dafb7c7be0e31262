//! What a series of measurements comes to.

use std::time::Duration;

/// Prints the median and the 99th percentile.
pub fn tell(name: &str, what: &str, mut times: Vec<Duration>) {
    times.sort();
    let at = |share: usize| times[(times.len() * share / 100).min(times.len() - 1)];
    println!(
        "{name}: {what}: p50 {:?}, p99 {:?} of {}",
        at(50),
        at(99),
        times.len()
    );
}
