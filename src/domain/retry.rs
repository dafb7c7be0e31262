//! When a message that certainly did not arrive is tried again.
//!
//! Owns the delays only. Never looks at a clock and never draws a number: the number of tries and
//! the randomness are arguments.

use std::time::Duration;

/// How tries are spread. The defaults follow RFC 5321 §4.5.4.1: two tries in the first hour, then
/// one every two to three hours, and giving up after four days.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RetryPolicy {
    /// The delay after the first try.
    pub first: Duration,
    /// How many times longer each delay is than the one before.
    pub growth: f64,
    /// No delay is longer than this (before jitter).
    pub longest: Duration,
    /// By what share of itself a delay may be shorter or longer, 0 to 1, so that messages that
    /// failed together do not come back together.
    pub jitter: f64,
    /// A try that would come later than this after the first one is not made.
    pub give_up_after: Duration,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            first: Duration::from_secs(30 * 60),
            growth: 2.0,
            longest: Duration::from_secs(150 * 60),
            jitter: 0.2,
            give_up_after: Duration::from_secs(4 * 24 * 3600),
        }
    }
}

/// Tries are also limited in number, whatever the policy says, so that a delay of zero cannot go
/// on for ever.
pub const TRIES_MAX: u32 = 1_000;

/// How long to wait after try number `attempt` (from 1) failed; `None` when it was the last.
///
/// `rand_unit` is a random number from 0 (inclusive) to 1 (exclusive). Elapsed time is counted by
/// the delays without jitter, so that the number of tries is the same for every message.
pub fn retry_delay(policy: &RetryPolicy, attempt: u32, rand_unit: f64) -> Option<Duration> {
    let attempt = attempt.max(1);
    if attempt >= TRIES_MAX {
        return None;
    }
    let longest = policy.longest.as_secs_f64();
    let give_up_after = policy.give_up_after.as_secs_f64();
    let growth = if policy.growth.is_finite() {
        policy.growth.max(1.0)
    } else {
        1.0
    };
    let mut delay = policy.first.as_secs_f64().min(longest);
    let mut elapsed = delay;
    for _ in 1..attempt {
        if elapsed > give_up_after {
            return None;
        }
        delay = (delay * growth).min(longest);
        elapsed += delay;
    }
    if elapsed > give_up_after {
        return None;
    }
    let jitter = if policy.jitter.is_finite() {
        policy.jitter.clamp(0.0, 1.0)
    } else {
        0.0
    };
    let unit = if rand_unit.is_finite() {
        rand_unit.clamp(0.0, 1.0)
    } else {
        0.5
    };
    Duration::try_from_secs_f64(delay * (1.0 - jitter + 2.0 * jitter * unit)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The delays until giving up, in minutes, with no jitter to either side.
    fn minutes(policy: &RetryPolicy) -> Vec<u64> {
        (1..)
            .map_while(|attempt| retry_delay(policy, attempt, 0.5))
            .map(|delay| delay.as_secs() / 60)
            .collect()
    }

    #[test]
    fn the_default_follows_rfc_5321() {
        let delays = minutes(&RetryPolicy::default());
        assert_eq!(delays.first_chunk(), Some(&[30, 60, 120, 150, 150]));
        assert!(delays.iter().skip(3).all(|&delay| delay == 150));
        let days = delays.iter().sum::<u64>() as f64 / (24.0 * 60.0);
        assert!((3.8..=4.0).contains(&days), "gave up after {days} days");
    }

    #[test]
    fn jitter_stays_within_its_share_and_covers_it() {
        let policy = RetryPolicy::default();
        assert_eq!(
            retry_delay(&policy, 1, 0.0),
            Some(Duration::from_secs(24 * 60))
        );
        assert_eq!(
            retry_delay(&policy, 1, 1.0),
            Some(Duration::from_secs(36 * 60))
        );
        assert_eq!(
            retry_delay(&policy, 9, 0.0),
            Some(Duration::from_secs(120 * 60))
        );
        assert_eq!(
            retry_delay(&policy, 9, 1.0),
            Some(Duration::from_secs(180 * 60))
        );
    }

    #[test]
    fn nonsense_neither_panics_nor_goes_on_for_ever() {
        let odd = [0.0, -1.0, f64::NAN, f64::INFINITY, 1e300];
        for growth in odd {
            for jitter in odd {
                for unit in odd {
                    let policy = RetryPolicy {
                        growth,
                        jitter,
                        ..RetryPolicy::default()
                    };
                    let tries = (1..).map_while(|attempt| retry_delay(&policy, attempt, unit));
                    assert!(tries.count() < usize::try_from(TRIES_MAX).unwrap());
                }
            }
        }
        let zero = RetryPolicy {
            first: Duration::ZERO,
            ..RetryPolicy::default()
        };
        assert_eq!(
            minutes(&zero).len(),
            usize::try_from(TRIES_MAX).unwrap() - 1
        );
        assert_eq!(retry_delay(&RetryPolicy::default(), u32::MAX, 0.5), None);
        assert!(retry_delay(&RetryPolicy::default(), 0, 0.5).is_some());
    }
}
