//! Which leads, and in which order, as the API has it.

use async_graphql::{Enum, ID, InputObject};

use super::{LeadStatus, StopReason};
use crate::domain::lead_filter::LeadFilter;
use crate::domain::person_filter::{LIST_MAX, TEXT_CHARS_MAX};
use crate::graphql::error::UserError;
use crate::graphql::node;
use crate::graphql::person::DateTimeRange;
use crate::graphql::problems::{Problems, each_once};

/// Which leads: every condition that is given must hold. A list means "any of these", so an empty
/// list matches nothing.
#[derive(InputObject, Debug, Default)]
#[graphql(name = "LeadFilter")]
pub struct LeadFilterInput {
    /// In one of these sequences.
    sequence_ids: Option<Vec<ID>>,
    /// With one of these statuses.
    status: Option<Vec<LeadStatus>>,
    /// Stopped for one of these reasons.
    stop_reason: Option<Vec<StopReason>>,
    /// At one of these steps, by their keys.
    step_keys: Option<Vec<String>>,
    /// Whose next message one of these senders sends.
    sender_ids: Option<Vec<ID>>,
    /// Of this person.
    person_id: Option<ID>,
    /// Part of the person's name, email or company; of several words, each.
    search: Option<String>,
    /// Enrolled within this span.
    enrolled_at: Option<DateTimeRange>,
    /// Last acted upon within this span.
    last_action_at: Option<DateTimeRange>,
}

impl LeadFilterInput {
    /// The filter that is meant; `path` is where it stands in the input.
    ///
    /// # Errors
    /// Every problem at once, each with its path.
    pub fn read(self, path: &[&str]) -> Result<LeadFilter, Vec<UserError>> {
        let mut problems = Problems::of(path);
        let lengths = [
            (
                "sequenceIds",
                self.sequence_ids.as_ref().map_or(0, Vec::len),
            ),
            ("stepKeys", self.step_keys.as_ref().map_or(0, Vec::len)),
            ("senderIds", self.sender_ids.as_ref().map_or(0, Vec::len)),
        ];
        for (name, length) in lengths {
            problems.bound(length, LIST_MAX, &[name]);
        }
        let sequences = self
            .sequence_ids
            .map(|ids| problems.each(&ids, "sequenceIds", node::id));
        let senders = self
            .sender_ids
            .map(|ids| problems.each(&ids, "senderIds", node::id));
        let person = self
            .person_id
            .and_then(|id| problems.one(&["personId"], |at| node::id(&id, at)));
        let texts = self.step_keys.iter().flatten().chain(&self.search);
        if texts.into_iter().any(|text| text.contains('\0')) {
            problems.add(
                &[],
                "A text of the filter holds a NUL character; leave it out.".into(),
            );
        }
        if self
            .search
            .as_ref()
            .is_some_and(|text| text.chars().count() > TEXT_CHARS_MAX)
        {
            let message = format!("search has at most {TEXT_CHARS_MAX} characters; shorten it.");
            problems.add(&["search"], message);
        }
        if !problems.found.is_empty() {
            return Err(problems.found);
        }
        let (enrolled_from, enrolled_to) = ends(self.enrolled_at);
        let (last_action_from, last_action_to) = ends(self.last_action_at);
        Ok(LeadFilter {
            sequences,
            status: self
                .status
                .map(|list| each_once(list.into_iter().map(Into::into))),
            stop_reason: self
                .stop_reason
                .map(|list| each_once(list.into_iter().map(Into::into))),
            step_keys: self.step_keys,
            senders,
            person,
            search: self.search,
            enrolled_from,
            enrolled_to,
            last_action_from,
            last_action_to,
        })
    }
}

type Instant = chrono::DateTime<chrono::Utc>;

/// The beginning and the end of a span.
pub(in crate::graphql) fn ends(range: Option<DateTimeRange>) -> (Option<Instant>, Option<Instant>) {
    range.map_or((None, None), |range| {
        (range.from.map(|at| at.0), range.to.map(|at| at.0))
    })
}

/// In which order leads are listed. Those without the instant come last.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::lead_filter::LeadOrder")]
pub enum LeadOrder {
    /// The first enrolled first.
    EnrolledAtAsc,
    /// The last enrolled first.
    EnrolledAtDesc,
    /// The last acted upon first.
    LastActionAtDesc,
    /// The next due first.
    DueAtAsc,
}
