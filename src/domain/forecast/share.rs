//! Dividing counts by weight, so that nobody is lost and the shares come true over time.

use std::collections::HashMap;

/// How many went where so far, by step.
#[derive(Debug, Default)]
pub(super) struct Shares(HashMap<usize, Vec<u64>>);

impl Shares {
    /// Divides so many more; the parts add up to them. Where nothing has a weight, the first takes all.
    pub(super) fn divide(&mut self, step: usize, weights: &[u32], count: u64) -> Vec<u64> {
        let total: u128 = weights.iter().copied().map(u128::from).sum();
        if total == 0 {
            let first = std::iter::once(count).chain(std::iter::repeat(0));
            return first.take(weights.len()).collect();
        }
        let past = self.0.entry(step).or_default();
        past.resize(weights.len(), 0);
        let all = past.iter().sum::<u64>() + count;
        let exact = |weight: &u32| u128::from(count) * u128::from(*weight) / total;
        let part = |weight| u64::try_from(exact(weight)).unwrap_or(count);
        let mut parts: Vec<u64> = weights.iter().map(part).collect();
        // What is left over goes, one by one, to whoever lacks most.
        for _ in 0..count - parts.iter().sum::<u64>() {
            let lacks = |index: usize, weight: u32, part: u64| {
                let has = past.get(index).copied().unwrap_or(0) + part;
                i128::from(all) * i128::from(weight)
                    - i128::from(has) * i128::try_from(total).unwrap_or(i128::MAX)
            };
            let shares = weights.iter().zip(&parts).enumerate();
            let most = shares
                .rev()
                .max_by_key(|(index, (weight, part))| lacks(*index, **weight, **part));
            let most = most.map_or(0, |(index, _)| index);
            if let Some(part) = parts.get_mut(most) {
                *part += 1;
            }
        }
        for (past, part) in past.iter_mut().zip(&parts) {
            *past += part;
        }
        parts
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn nobody_is_lost_and_shares_come_true(
            weights in proptest::collection::vec(0..5_u32, 1..6),
            counts in proptest::collection::vec(0..9_u64, 1..60),
        ) {
            let mut shares = Shares::default();
            let mut sums = vec![0; weights.len()];
            for count in &counts {
                let parts = shares.divide(0, &weights, *count);
                prop_assert_eq!(parts.iter().sum::<u64>(), *count);
                for (sum, part) in sums.iter_mut().zip(parts) {
                    *sum += part;
                }
            }
            let total: u64 = weights.iter().copied().map(u64::from).sum();
            let all: u64 = counts.iter().sum();
            for (sum, weight) in sums.iter().zip(&weights) {
                if let Some(share) = (all * u64::from(*weight)).checked_div(total) {
                    prop_assert!(sum.abs_diff(share) <= 4, "{} of {}", sum, share);
                }
            }
        }
    }
}
