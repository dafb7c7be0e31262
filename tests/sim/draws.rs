//! What a seed draws.

use cadenza::entropy::Entropy;

/// A source of choices of its own, so that what is drawn from it moves nothing else.
pub struct Draws(Entropy);

impl Draws {
    pub fn seeded(seed: u64) -> Self {
        Self(Entropy::seeded(seed))
    }

    /// A number below `range`.
    pub fn below(&self, range: u64) -> u64 {
        self.0.bits() % range
    }

    /// An index of so many things.
    pub fn index(&self, length: usize) -> usize {
        usize::try_from(self.below(u64::try_from(length).expect("small"))).expect("small")
    }

    /// True so often out of 100.
    pub fn percent(&self, share: u64) -> bool {
        self.below(100) < share
    }

    pub fn pick<T: Clone>(&self, all: &[T]) -> T {
        all[self.index(all.len())].clone()
    }

    /// One by its weight.
    pub fn weighed<T: Copy>(&self, all: &[(u64, T)]) -> T {
        let mut point = self.below(all.iter().map(|(weight, _)| weight).sum());
        for (weight, one) in all {
            if point < *weight {
                return *one;
            }
            point -= weight;
        }
        unreachable!("the point lies below the sum of the weights")
    }
}
