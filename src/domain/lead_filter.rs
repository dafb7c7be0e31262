//! Which leads: the filter that lists, counts and bulk operations share.
//!
//! A filter is plain data that can be kept with a bulk operation and read again. Turning it into
//! SQL is the store's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};

use super::id::{PersonId, SenderId, SequenceId};
use super::lead::{LeadStatus, StopReason};
use super::scope::SequenceScope;

/// Which leads; every condition that is given must hold. A list means "any of these", so an empty
/// one matches nothing.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct LeadFilter {
    /// In one of these sequences.
    pub sequences: Option<Vec<SequenceId>>,
    /// With one of these statuses.
    pub status: Option<Vec<LeadStatus>>,
    /// Stopped for one of these reasons.
    pub stop_reason: Option<Vec<StopReason>>,
    /// At one of these steps.
    pub step_keys: Option<Vec<String>>,
    /// Whose next message one of these senders sends.
    pub senders: Option<Vec<SenderId>>,
    /// Of this person.
    pub person: Option<PersonId>,
    /// Every word of this occurs in the person's name, email address or company.
    pub search: Option<String>,
    /// Enrolled at this instant or later.
    pub enrolled_from: Option<DateTime<Utc>>,
    /// Enrolled before this instant.
    pub enrolled_to: Option<DateTime<Utc>>,
    /// Last acted upon at this instant or later.
    pub last_action_from: Option<DateTime<Utc>>,
    /// Last acted upon before this instant.
    pub last_action_to: Option<DateTime<Utc>>,
}

impl LeadFilter {
    /// Whether no condition is given, so that every lead of the workspace is meant.
    pub fn is_empty(&self) -> bool {
        let blank = self
            .search
            .as_deref()
            .is_none_or(|text| text.trim().is_empty());
        blank
            && Self {
                search: None,
                ..self.clone()
            } == Self::default()
    }

    /// The same, of the sequences that a scope admits.
    #[must_use]
    pub fn narrowed(mut self, scope: &SequenceScope) -> Self {
        self.sequences = scope.narrow(self.sequences);
        self
    }

    /// The same, of one sequence only.
    #[must_use]
    pub fn within(mut self, sequence: SequenceId) -> Self {
        let wanted = self.sequences.is_none_or(|list| list.contains(&sequence));
        self.sequences = Some(if wanted { vec![sequence] } else { Vec::new() });
        self
    }
}

/// In which order leads are listed; those without the instant come last, and leads of the same
/// instant by their ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LeadOrder {
    /// The first enrolled first.
    EnrolledAtAsc,
    /// The last enrolled first.
    #[default]
    EnrolledAtDesc,
    /// The last acted upon first.
    LastActionAtDesc,
    /// The next due first.
    DueAtAsc,
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn a_filter_that_says_nothing_is_empty() {
        assert!(LeadFilter::default().is_empty());
        let spaces = LeadFilter {
            search: Some(" \t".into()),
            ..LeadFilter::default()
        };
        assert!(spaces.is_empty());
        let nothing = LeadFilter {
            status: Some(Vec::new()),
            ..LeadFilter::default()
        };
        assert!(
            !nothing.is_empty(),
            "it matches nothing, which is a condition"
        );
        let word = LeadFilter {
            search: Some("ana".into()),
            ..LeadFilter::default()
        };
        assert!(!word.is_empty());
    }

    #[test]
    fn within_a_sequence_no_other_is_seen() {
        let [a, b] = [1, 2].map(|n| SequenceId::from_uuid(Uuid::from_u128(n)));
        let of = |sequences| {
            LeadFilter {
                sequences,
                ..LeadFilter::default()
            }
            .within(a)
            .sequences
        };
        assert_eq!(of(None), Some(vec![a]));
        assert_eq!(of(Some(vec![b, a])), Some(vec![a]));
        assert_eq!(of(Some(vec![b])), Some(Vec::new()));
    }

    #[test]
    fn a_filter_survives_being_kept() {
        let filter = LeadFilter {
            status: Some(vec![LeadStatus::InProgress]),
            stop_reason: Some(vec![StopReason::CompanyReplied]),
            enrolled_to: DateTime::from_timestamp_millis(1_234),
            ..LeadFilter::default()
        };
        let kept = serde_json::to_value(&filter).expect("is JSON");
        assert_eq!(
            serde_json::from_value::<LeadFilter>(kept).expect("is a filter"),
            filter
        );
    }
}
