//! Which executions, as the API has it.

use async_graphql::{ID, InputObject};

use super::{ExecutionErrorCode, ExecutionStatus};
use crate::domain::person_filter::LIST_MAX;
use crate::graphql::channel::Channel;
use crate::graphql::error::UserError;
use crate::graphql::lead::ends;
use crate::graphql::node;
use crate::graphql::person::DateTimeRange;
use crate::graphql::problems::{Problems, each_once};
use crate::store::execution::Filter;

/// Which executions: every condition that is given must hold. A list means "any of these", so an
/// empty list matches nothing.
#[derive(InputObject, Debug, Default)]
#[graphql(name = "ExecutionFilter")]
pub struct ExecutionFilterInput {
    /// Of one of these sequences.
    sequence_ids: Option<Vec<ID>>,
    /// Of this lead.
    lead_id: Option<ID>,
    /// With one of these statuses.
    status: Option<Vec<ExecutionStatus>>,
    /// On one of these channels.
    channel: Option<Vec<Channel>>,
    /// Through one of these senders.
    sender_ids: Option<Vec<ID>>,
    /// Of one of these steps, by their keys.
    step_keys: Option<Vec<String>>,
    /// With one of these errors.
    error_code: Option<Vec<ExecutionErrorCode>>,
    /// Over within this span.
    finished_at: Option<DateTimeRange>,
}

impl ExecutionFilterInput {
    /// The filter that is meant; `path` is where it stands in the input.
    ///
    /// # Errors
    /// Every problem at once, each with its path.
    pub fn read(self, path: &[&str]) -> Result<Filter, Vec<UserError>> {
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
        let lead = self
            .lead_id
            .and_then(|id| problems.one(&["leadId"], |at| node::id(&id, at)));
        if self
            .step_keys
            .iter()
            .flatten()
            .any(|key| key.contains('\0'))
        {
            problems.add(
                &["stepKeys"],
                "A key holds a NUL character; leave it out.".into(),
            );
        }
        if !problems.found.is_empty() {
            return Err(problems.found);
        }
        let (finished_from, finished_to) = ends(self.finished_at);
        Ok(Filter {
            sequences,
            lead,
            status: self
                .status
                .map(|list| each_once(list.into_iter().map(Into::into))),
            channel: self
                .channel
                .map(|list| each_once(list.into_iter().map(Into::into))),
            senders,
            step_keys: self.step_keys,
            error_code: self
                .error_code
                .map(|list| each_once(list.into_iter().map(Into::into))),
            finished_from,
            finished_to,
        })
    }
}
