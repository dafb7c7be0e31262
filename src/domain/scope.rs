//! What part of a workspace somebody is limited to.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::id::SequenceId;

/// The sequences that somebody may see and change, with their leads, executions and events.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(from = "Option<Vec<SequenceId>>", into = "Option<Vec<SequenceId>>")]
pub enum SequenceScope {
    /// All that the workspace has and will have, and everything else of it too.
    #[default]
    All,
    /// These, in order and each once; nothing that belongs to the workspace as a whole.
    Only(Arc<[SequenceId]>),
}

impl SequenceScope {
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

    /// The same sequence, or, in the place of one that is not within it, one that there is not.
    pub fn or_missing(&self, sequence: SequenceId) -> SequenceId {
        if self.admits(sequence) {
            sequence
        } else {
            SequenceId::from_uuid(Uuid::nil())
        }
    }
}

impl From<Option<Vec<SequenceId>>> for SequenceScope {
    fn from(ids: Option<Vec<SequenceId>>) -> Self {
        ids.map_or(Self::All, |mut ids| {
            ids.sort_unstable();
            ids.dedup();
            Self::Only(ids.into())
        })
    }
}

impl From<SequenceScope> for Option<Vec<SequenceId>> {
    fn from(scope: SequenceScope) -> Self {
        scope.sequences().map(<[SequenceId]>::to_vec)
    }
}

#[cfg(test)]
mod tests {
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
        assert_eq!(all.or_missing(id(1)), id(1));
    }

    #[test]
    fn within_a_limit_nothing_else_is() {
        let some = SequenceScope::from(Some(vec![id(3), id(1), id(3)]));
        assert_eq!(some.sequences(), Some([id(1), id(3)].as_slice()));
        assert!(some.admits(id(3)) && !some.admits(id(2)));
        assert_eq!(some.narrow(None), Some(vec![id(1), id(3)]));
        assert_eq!(some.narrow(Some(vec![id(2), id(3)])), Some(vec![id(3)]));
        assert_eq!(some.narrow(Some(vec![id(2)])), Some(Vec::new()));
        assert_ne!(some.or_missing(id(2)), id(2));
    }

    #[test]
    fn a_limit_to_nothing_is_no_freedom() {
        let none = SequenceScope::from(Some(Vec::new()));
        assert!(!none.is_all() && !none.admits(id(1)));
        assert_eq!(none.narrow(None), Some(Vec::new()));
    }

    #[test]
    fn it_survives_being_kept() {
        for scope in [
            SequenceScope::All,
            SequenceScope::from(Some(vec![id(1), id(2)])),
        ] {
            let kept = serde_json::to_value(&scope).expect("JSON");
            assert_eq!(
                serde_json::from_value::<SequenceScope>(kept).expect("a scope"),
                scope
            );
        }
    }
}
