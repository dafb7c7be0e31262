//! A filter of leads as SQL.

use chrono::{DateTime, Utc};
use sea_orm::DbBackend;

use super::{hold, kept, status};
use crate::domain::id::WorkspaceId;
use crate::domain::lead::LeadStatus;
use crate::domain::lead_filter::LeadFilter;
use crate::domain::person_filter::PersonFilter;
use crate::store::sql::Arguments;
use crate::store::{dialect, person};

/// Leads of one workspace that a filter chooses.
#[derive(Debug, Clone, Copy)]
pub struct Scope<'a> {
    /// The workspace.
    pub workspace: WorkspaceId,
    /// Which of its leads.
    pub filter: &'a LeadFilter,
    /// Only leads that were enrolled by this instant; `None`, all.
    pub as_of: Option<DateTime<Utc>>,
}

impl Scope<'_> {
    /// The conditions on the lead called `l` in the statement, joined by AND.
    pub(super) fn condition(&self, backend: DbBackend, arguments: &mut Arguments) -> String {
        let filter = self.filter;
        let workspace = arguments.add(self.workspace.uuid());
        let status = filter.status.as_ref();
        let asks = |of| status.is_some_and(|list| list.contains(&of));
        let unindexed = |column| dialect::unindexed(backend, column);
        let is_of_few =
            filter.person.is_none() && status.is_some_and(|list| list == &[LeadStatus::InProgress]);
        let mut all = match filter.person {
            Some(person) => vec![
                format!("{} = {workspace}", unindexed("l.workspace_id")),
                format!("l.person_id = {}", arguments.add(person.uuid())),
            ],
            // Those in a step are few: they are found by what is being sent and what is unconfirmed.
            None if is_of_few => vec![
                format!("{} = {workspace}", unindexed("l.workspace_id")),
                format!(
                    "l.id IN (SELECT e.lead_id FROM execution AS e
                              WHERE e.worker_id IS NOT NULL AND {} = {workspace}
                              UNION ALL
                              SELECT u.id FROM lead AS u
                              WHERE u.hold IN {}
                                AND {} = {workspace})",
                    unindexed("e.workspace_id"),
                    hold::IN_STEP,
                    unindexed("u.workspace_id"),
                ),
            ],
            None => vec![format!("l.workspace_id = {workspace}")],
        };
        let mut one_of = |column: &str, list: Option<String>| {
            all.extend(list.map(|list| format!("({column}) IN ({list})")));
        };
        let sequences = filter.sequences.as_ref();
        let sequence = match is_of_few {
            true => unindexed("l.sequence_id"),
            false => "l.sequence_id".to_owned(),
        };
        one_of(
            &sequence,
            sequences.map(|ids| arguments.list(ids.iter().map(|id| id.uuid()))),
        );
        // Whoever goes through all of them must not sort them by status anew for each chunk.
        let column = match self.as_of.is_some() || is_of_few {
            true => unindexed("l.status"),
            false => "l.status".to_owned(),
        };
        one_of(
            &column,
            status.map(|list| arguments.list(list.iter().map(|status| kept(*status)))),
        );
        if asks(LeadStatus::Pending) != asks(LeadStatus::InProgress) {
            one_of(
                &status::of_lead(),
                status.map(|list| arguments.list(list.iter().map(<&str>::from))),
            );
        }
        let reasons = filter.stop_reason.as_ref();
        one_of(
            "l.stop_reason",
            reasons.map(|list| arguments.list(list.iter().map(<&str>::from))),
        );
        let steps = filter.step_keys.as_ref();
        one_of(
            "l.step_key",
            steps.map(|list| arguments.list(list.iter().map(String::as_str))),
        );
        let senders = filter.senders.as_ref();
        one_of(
            "l.sender_id",
            senders.map(|ids| arguments.list(ids.iter().map(|id| id.uuid()))),
        );
        let bounds = [
            ("enrolled_at", ">=", filter.enrolled_from),
            ("enrolled_at", "<", filter.enrolled_to),
            ("enrolled_at", "<=", self.as_of),
            ("last_action_at", ">=", filter.last_action_from),
            ("last_action_at", "<", filter.last_action_to),
        ];
        for (column, side, at) in bounds {
            if let Some(at) = at {
                let at = arguments.add(at.timestamp_millis());
                all.push(format!("l.{column} {side} {at}"));
            }
        }
        let search = PersonFilter {
            search: filter.search.clone(),
            ..PersonFilter::default()
        };
        if !search.is_empty() {
            let search = person::condition(backend, self.workspace, &search, "p", arguments);
            all.push(format!(
                "EXISTS (SELECT 1 FROM person AS p WHERE p.id = l.person_id AND {search})"
            ));
        }
        all.join(" AND ")
    }
}
