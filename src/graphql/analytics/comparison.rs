//! Whether variants differ by more than chance, told to people.

use async_graphql::{Enum, SimpleObject};

use crate::domain::analytics::{self, Bucket, Trial, compare};

/// What variants are compared by: the share of the leads who got one that did it.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum VariantMeasure {
    /// Opened it.
    Opened,
    /// Clicked in it or answered it.
    Interactions,
    /// Answered it.
    Answered,
}

/// How a difference is tested.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "analytics::SignificanceTest")]
pub enum SignificanceTest {
    /// Fisher's exact test, two-sided: for small samples.
    FisherExact,
    /// Pearson's chi-squared test with the correction of Yates: for large ones.
    ChiSquared,
}

/// The variant of which the largest share did it, against the one that comes next.
#[derive(SimpleObject, Debug, Clone)]
pub struct VariantComparison {
    /// What they are compared by.
    measure: VariantMeasure,
    /// The name of the best variant.
    best: String,
    /// The name of the one that comes next.
    next: String,
    /// Whether the difference is significant at the level of 5 %.
    is_significant: bool,
    /// How probable a difference at least as large is where there is none; where there are more than two
    /// variants, times the number of their pairs (Bonferroni), as the best was picked from them.
    p_value: f64,
    /// By which test.
    test: SignificanceTest,
    /// The same in a sentence.
    statement: String,
}

/// What variants are compared by, how it is done in words, and how many of a bucket did it.
type Compared = (VariantMeasure, &'static str, fn(&Bucket) -> u64);

const MEASURES: [Compared; 3] = [
    (VariantMeasure::Opened, "opened", |of| of.funnel.opened),
    (VariantMeasure::Interactions, "reacted to", |of| {
        of.funnel.interactions
    }),
    (VariantMeasure::Answered, "answered", |of| {
        of.funnel.answered
    }),
];

/// The comparisons of these variants.
pub fn all(variants: &[(String, Bucket)]) -> Vec<VariantComparison> {
    let one = |(measure, words, did): Compared| {
        let trials: Vec<Trial> = variants
            .iter()
            .map(|(_, bucket)| Trial {
                leads: bucket.funnel.contacted,
                did: did(bucket),
            })
            .collect();
        let found = compare(&trials)?;
        let of = |at: usize| {
            let ((name, _), trial) = variants.get(at).zip(trials.get(at))?;
            Some((name.clone(), *trial))
        };
        let ((best, most), (next, fewer)) = (of(found.best)?, of(found.next)?);
        let is_significant = found.is_significant();
        let test = found.test.into();
        let statement = format!(
            "{best} was {words} by {}, {next} by {}: {} (p = {:.4}, {}).",
            share(most),
            share(fewer),
            if is_significant {
                "chance alone seldom makes such a difference"
            } else {
                "chance alone can make such a difference"
            },
            found.p_value,
            match test {
                SignificanceTest::FisherExact => "Fisher's exact test",
                SignificanceTest::ChiSquared => "chi-squared test",
            },
        );
        Some(VariantComparison {
            measure,
            best,
            next,
            is_significant,
            p_value: found.p_value,
            test,
            statement,
        })
    };
    MEASURES.into_iter().filter_map(one).collect()
}

fn share(trial: Trial) -> String {
    let percent = trial.did as f64 / trial.leads.max(1) as f64 * 100.0;
    format!("{} of {} ({percent:.1} %)", trial.did, trial.leads)
}
