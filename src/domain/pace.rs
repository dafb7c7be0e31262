//! The pace of a sender: how far apart its messages are.

use chrono::Duration;

/// How far apart the messages of a sender are: at least `min_gap`, and up to `jitter` more, by chance,
/// so that it writes as unevenly as a person does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Pace {
    /// At least so long between two messages.
    pub min_gap: Duration,
    /// The most that is added to it.
    pub jitter: Duration,
}

impl Pace {
    /// A pace as the database has it, in milliseconds.
    pub fn of_ms(min_gap: i64, jitter: i64) -> Self {
        Self {
            min_gap: Duration::milliseconds(min_gap),
            jitter: Duration::milliseconds(jitter),
        }
    }

    /// Whether there is anything to keep to: whoever is not paced sends many messages at once.
    pub fn is_any(&self) -> bool {
        self.min_gap > Duration::zero() || self.jitter > Duration::zero()
    }

    /// How long after a message the next one may leave, in whole milliseconds. `unit` is a random
    /// number from 0 to 1 and says how much of the jitter is added: none of it, to all of it.
    pub fn gap(&self, unit: f64) -> Duration {
        let unit = if unit.is_finite() { unit } else { 0.0 };
        let jitter = self.jitter.to_std().unwrap_or_default();
        let share = jitter.mul_f64(unit.clamp(0.0, 1.0)).min(jitter);
        let share = i64::try_from(share.as_millis()).unwrap_or(0);
        self.min_gap + Duration::milliseconds(share)
    }

    /// The most that they are apart.
    pub fn most(&self) -> Duration {
        self.min_gap + self.jitter
    }

    /// How far apart they are on the average.
    pub fn mean(&self) -> Duration {
        self.min_gap + self.jitter / 2
    }

    /// How many messages leave in so long a time, the first of them at once, by the mean of their gaps.
    pub fn messages_in(&self, open: Duration) -> u64 {
        let (open, gap) = (open.num_milliseconds(), self.mean().num_milliseconds());
        if gap <= 0 {
            return u64::MAX;
        }
        u64::try_from(open)
            .unwrap_or(0)
            .div_ceil(gap.unsigned_abs())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const DAY_MS: i64 = 86_400_000;

    proptest! {
        #[test]
        fn a_gap_is_never_below_the_least_nor_above_it_and_the_jitter(
            min_gap in 0..=DAY_MS,
            jitter in 0..=DAY_MS,
            unit in prop_oneof![0.0..=1.0, any::<f64>()],
        ) {
            let pace = Pace::of_ms(min_gap, jitter);
            let gap = pace.gap(unit);
            prop_assert!(gap >= pace.min_gap, "{gap}");
            prop_assert!(gap <= pace.min_gap + pace.jitter, "{gap}");
        }

        #[test]
        fn more_of_the_jitter_is_never_a_shorter_gap(
            jitter in 0..=DAY_MS,
            one in 0.0..=1.0,
            other in 0.0..=1.0,
        ) {
            let pace = Pace::of_ms(0, jitter);
            prop_assert!(pace.gap(f64::min(one, other)) <= pace.gap(f64::max(one, other)));
        }
    }

    #[test]
    fn the_share_of_the_jitter_goes_from_none_of_it_to_all_of_it() {
        let pace = Pace::of_ms(60_000, 30_000);
        let seconds = |unit| pace.gap(unit).num_seconds();
        assert_eq!([0.0, 0.5, 1.0].map(seconds), [60, 75, 90]);
        assert_eq!(pace.mean(), Duration::seconds(75));
    }

    #[test]
    fn jitter_alone_is_a_pace() {
        assert!(!Pace::default().is_any());
        assert!(Pace::of_ms(1, 0).is_any());
        assert!(Pace::of_ms(0, 1).is_any());
    }
}
