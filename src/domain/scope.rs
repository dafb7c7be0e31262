//! What part of a workspace somebody is limited to.

use std::sync::Arc;

use super::id::SequenceId;

/// The sequences that somebody may see and change, with their leads, executions and events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub enum SequenceScope {
    /// All that the workspace has and will have, and everything else of it too.
    #[default]
    All,
    /// These, in order and each once; nothing that belongs to the workspace as a whole.
    Only(Arc<[SequenceId]>),
}

impl SequenceScope {
    /// A limit to these sequences.
    pub fn only(ids: impl IntoIterator<Item = SequenceId>) -> Self {
        let mut ids: Vec<SequenceId> = ids.into_iter().collect();
        ids.sort_unstable();
        ids.dedup();
        Self::Only(ids.into())
    }

    /// Whether there is no limit.
    pub const fn is_all(&self) -> bool {
        matches!(self, Self::All)
    }

    /// The sequences it is limited to; none where there is no limit.
    pub fn sequences(&self) -> Option<&[SequenceId]> {
        match self {
            Self::All => None,
            Self::Only(ids) => Some(ids),
        }
    }

    /// Whether a sequence is within it.
    pub fn admits(&self, sequence: SequenceId) -> bool {
        self.sequences()
            .is_none_or(|ids| ids.binary_search(&sequence).is_ok())
    }

    /// Whether nothing is within it that is not within `other` too.
    pub fn is_within(&self, other: &Self) -> bool {
        match self.sequences() {
            None => other.is_all(),
            Some(ids) => ids.iter().all(|&id| other.admits(id)),
        }
    }

    /// What is left of the sequences that somebody asks for; `None`, of all, in what is asked and in
    /// the answer.
    pub fn narrow(&self, asked: Option<Vec<SequenceId>>) -> Option<Vec<SequenceId>> {
        match (self.sequences(), asked) {
            (None, asked) => asked,
            (Some(ids), None) => Some(ids.to_vec()),
            (Some(_), Some(mut asked)) => {
                asked.retain(|&id| self.admits(id));
                Some(asked)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    fn id(n: u128) -> SequenceId {
        SequenceId::from_uuid(Uuid::from_u128(n))
    }

    #[test]
    fn without_a_limit_everything_is_within() {
        let all = SequenceScope::default();
        assert!(all.is_all() && all.admits(id(1)));
        assert_eq!(all.narrow(None), None);
        assert_eq!(all.narrow(Some(vec![id(2)])), Some(vec![id(2)]));
    }

    #[test]
    fn within_a_limit_nothing_else_is() {
        let some = SequenceScope::only([id(3), id(1), id(3)]);
        assert_eq!(some.sequences(), Some([id(1), id(3)].as_slice()));
        assert!(some.admits(id(3)) && !some.admits(id(2)));
        assert_eq!(some.narrow(None), Some(vec![id(1), id(3)]));
        assert_eq!(some.narrow(Some(vec![id(2), id(3)])), Some(vec![id(3)]));
        assert_eq!(some.narrow(Some(vec![id(2)])), Some(Vec::new()));
    }

    #[test]
    fn a_limit_to_nothing_is_no_freedom() {
        let none = SequenceScope::only([]);
        assert!(!none.is_all() && !none.admits(id(1)));
        assert_eq!(none.narrow(None), Some(Vec::new()));
    }

    #[test]
    fn what_is_within_what() {
        let [one, both] = [vec![id(1)], vec![id(1), id(2)]].map(SequenceScope::only);
        assert!(one.is_within(&both) && both.is_within(&both) && !both.is_within(&one));
        assert!(one.is_within(&SequenceScope::All) && !SequenceScope::All.is_within(&both));
        assert!(SequenceScope::All.is_within(&SequenceScope::All));
    }
}
