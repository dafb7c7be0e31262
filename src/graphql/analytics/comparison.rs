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
    /// The name of the best variant; null where no other is behind it.
    best: Option<String>,
    /// The name of the one that comes next; null where none is the best.
    next: Option<String>,
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
        if !found.differs {
            let statement = format!(
                "{best} was {words} by {}, {next} by {}: there is no difference.",
                share(most),
                share(fewer),
            );
            return Some(VariantComparison {
                measure,
                best: None,
                next: None,
                is_significant,
                p_value: found.p_value,
                test,
                statement,
            });
        }
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
            best: Some(best),
            next: Some(next),
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn none_is_the_best_where_there_is_no_difference() {
        let bucket = |contacted, opened, answered| {
            let mut bucket = Bucket::default();
            bucket.funnel.contacted = contacted;
            bucket.funnel.opened = opened;
            bucket.funnel.answered = answered;
            bucket
        };
        let variants = [
            ("a".into(), bucket(13, 0, 0)),
            ("b".into(), bucket(2, 0, 1)),
        ];
        let found = all(&variants);
        let of = |wanted| found.iter().find(|one| one.measure == wanted);
        let opened = of(VariantMeasure::Opened).expect("compared");
        assert_eq!((&opened.best, &opened.next), (&None, &None));
        assert!(
            opened
                .statement
                .ends_with("by 0 of 2 (0.0 %): there is no difference.")
        );
        let answered = of(VariantMeasure::Answered).expect("compared");
        assert_eq!(answered.best.as_deref(), Some("b"));
    }
}
