//! Whether variants differ by more than chance.

use statrs::distribution::{ChiSquared, ContinuousCDF, Discrete, Hypergeometric};

/// One variant: of so many leads so many did it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Trial {
    /// How many leads were contacted.
    pub leads: u64,
    /// How many of them did it; no more than these.
    pub did: u64,
}

impl Trial {
    fn share(self) -> f64 {
        if self.leads == 0 {
            return 0.0;
        }
        self.did as f64 / self.leads as f64
    }
}

/// How a difference is tested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignificanceTest {
    /// Fisher's exact test, two-sided: the sum over all outcomes that are no more probable than this one
    /// (R. A. Fisher, Statistical Methods for Research Workers, 5th edition, 1934). For small samples.
    FisherExact,
    /// Pearson's chi-squared test with the correction of Yates (F. Yates, Contingency Tables Involving
    /// Small Numbers and the χ² Test, 1934).
    ChiSquared,
}

/// The best variant against the next best.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Comparison {
    /// The place of the variant of which the largest share did it.
    pub best: usize,
    /// The place of the one that comes next.
    pub next: usize,
    /// Whether a smaller share of the next one did it.
    pub differs: bool,
    /// By which test.
    pub test: SignificanceTest,
    /// How probable a difference at least as large is if there is none, by that test, times the number
    /// of pairs that these two were picked from (Bonferroni), at most 1.
    pub p_value: f64,
}

/// A difference that chance brings about more seldom than this is significant.
pub const SIGNIFICANT_BELOW: f64 = 0.05;

impl Comparison {
    /// Whether the difference is significant at the level of 5 %.
    pub fn is_significant(&self) -> bool {
        self.p_value < SIGNIFICANT_BELOW
    }
}

/// Compares variants; `None` where fewer than two were sent to anybody.
pub fn compare(trials: &[Trial]) -> Option<Comparison> {
    let mut order: Vec<(usize, Trial)> = trials
        .iter()
        .copied()
        .enumerate()
        .filter(|(_, trial)| trial.leads > 0)
        .collect();
    // Of equals the first.
    order.sort_by(|a, b| b.1.share().total_cmp(&a.1.share()));
    let [(best, a), (next, b), ..] = order[..] else {
        return None;
    };
    let (test, p_value) = probability(a, b);
    let pairs = (order.len() * (order.len() - 1) / 2) as f64;
    Some(Comparison {
        best,
        next,
        // Compared without a division: 1 of 3 is as much as 2 of 6.
        differs: u128::from(a.did) * u128::from(b.leads) != u128::from(b.did) * u128::from(a.leads),
        test,
        p_value: (p_value * pairs).clamp(0.0, 1.0),
    })
}

/// Below this number of leads, the exact test is asked.
const SMALL_SAMPLE: u64 = 1_000;
/// The least count expected in a cell from which the chi-squared test is sound (W. G. Cochran, Some
/// Methods for Strengthening the Common χ² Tests, 1954).
const EXPECTED_LEAST: f64 = 5.0;

fn probability(a: Trial, b: Trial) -> (SignificanceTest, f64) {
    let (leads, did) = (a.leads + b.leads, a.did + b.did);
    let share = did as f64 / leads as f64;
    let fewest = a.leads.min(b.leads) as f64;
    let expected_least = fewest * share.min(1.0 - share);
    if leads < SMALL_SAMPLE || expected_least < EXPECTED_LEAST {
        return (SignificanceTest::FisherExact, exact(a, b));
    }
    let expected = |trial: Trial| trial.leads as f64 * share;
    let off = ((a.did as f64 - expected(a)).abs() - 0.5).max(0.0);
    let cells = [
        expected(a),
        a.leads as f64 - expected(a),
        expected(b),
        b.leads as f64 - expected(b),
    ];
    let chi: f64 = cells.iter().map(|expected| off * off / expected).sum();
    let p_value = ChiSquared::new(1.0).map_or(1.0, |distribution| distribution.sf(chi));
    (SignificanceTest::ChiSquared, p_value)
}

fn exact(a: Trial, b: Trial) -> f64 {
    let (leads, did) = (a.leads + b.leads, a.did + b.did);
    let Ok(distribution) = Hypergeometric::new(leads, did, a.leads) else {
        return 1.0;
    };
    // By logarithms: the counts themselves are beyond what a number can hold.
    let probability = |count| distribution.ln_pmf(count).exp();
    // Equal probabilities differ in their last digits.
    let observed = probability(a.did) * (1.0 + 1e-7);
    let possible = did.saturating_sub(b.leads)..=did.min(a.leads);
    let each = possible.map(probability);
    each.filter(|probability| *probability <= observed).sum()
}
