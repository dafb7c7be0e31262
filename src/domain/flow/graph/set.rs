//! Sets of small numbers, such as the places of steps.

const BITS: usize = u64::BITS as usize;

/// A set of small numbers, a bit for each.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::domain::flow) struct Set(Vec<u64>);

impl Set {
    /// Puts a number in.
    pub(in crate::domain::flow) fn insert(&mut self, number: usize) {
        let word = number / BITS;
        if self.0.len() <= word {
            self.0.resize(word + 1, 0);
        }
        if let Some(word) = self.0.get_mut(word) {
            *word |= 1 << (number % BITS);
        }
    }

    /// Whether a number is in it.
    pub(in crate::domain::flow) fn contains(&self, number: usize) -> bool {
        let word = self.0.get(number / BITS);
        word.is_some_and(|word| word >> (number % BITS) & 1 == 1)
    }

    /// Puts in what the other has; answers whether any of it is new.
    pub(in crate::domain::flow) fn add(&mut self, other: &Self) -> bool {
        if self.0.len() < other.0.len() {
            self.0.resize(other.0.len(), 0);
        }
        let mut has_grown = false;
        for (own, new) in self.0.iter_mut().zip(&other.0) {
            has_grown |= new & !*own != 0;
            *own |= new;
        }
        has_grown
    }

    /// What both have.
    pub(in crate::domain::flow) fn shared(&self, other: &Self) -> Self {
        let words = self.0.iter().zip(&other.0);
        Self(words.map(|(one, other)| one & other).collect())
    }

    /// What the other does not have.
    pub(in crate::domain::flow) fn without(&self, other: &Self) -> Self {
        let others = other.0.iter().copied().chain(std::iter::repeat(0));
        let words = self.0.iter().zip(others);
        Self(words.map(|(one, other)| one & !other).collect())
    }

    /// Whether both have some number.
    pub(in crate::domain::flow) fn meets(&self, other: &Self) -> bool {
        self.0
            .iter()
            .zip(&other.0)
            .any(|(one, other)| one & other != 0)
    }

    /// The numbers, the least first.
    pub(in crate::domain::flow) fn iter(&self) -> impl Iterator<Item = usize> {
        let words = self.0.iter().enumerate();
        words.flat_map(|(at, word)| {
            let bits = (0..BITS).filter(move |bit| word >> bit & 1 == 1);
            bits.map(move |bit| at * BITS + bit)
        })
    }
}

impl FromIterator<usize> for Set {
    fn from_iter<T: IntoIterator<Item = usize>>(numbers: T) -> Self {
        let mut set = Self::default();
        numbers.into_iter().for_each(|number| set.insert(number));
        set
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn it_is_a_set(
            one in proptest::collection::btree_set(0..200_usize, 0..20),
            other in proptest::collection::btree_set(0..200_usize, 0..20),
        ) {
            let set = |numbers: &BTreeSet<usize>| numbers.iter().copied().collect::<Set>();
            let numbers = |set: &Set| set.iter().collect::<BTreeSet<_>>();
            let (a, b) = (set(&one), set(&other));
            prop_assert!((0..300).all(|number| a.contains(number) == one.contains(&number)));
            prop_assert_eq!(numbers(&a.shared(&b)), &one & &other);
            prop_assert_eq!(numbers(&a.without(&b)), &one - &other);
            prop_assert_eq!(a.meets(&b), !one.is_disjoint(&other));
            let mut both = a.clone();
            prop_assert_eq!(both.add(&b), !other.is_subset(&one));
            prop_assert_eq!(numbers(&both), &one | &other);
            prop_assert!(!both.add(&b));
        }
    }
}
