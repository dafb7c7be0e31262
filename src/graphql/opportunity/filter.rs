//! The filter of opportunities as an input.

use async_graphql::{ID, InputObject};

use crate::domain::person_filter::{LIST_MAX, TEXT_CHARS_MAX};
use crate::domain::pipeline::OpportunityFilter;
use crate::graphql::error::UserError;
use crate::graphql::lead::ends;
use crate::graphql::node;
use crate::graphql::person::DateTimeRange;
use crate::graphql::problems::Problems;

/// Which opportunities: every condition that is given must hold. A list means "any of these", so an
/// empty list matches none.
#[derive(InputObject, Debug, Default)]
#[graphql(name = "OpportunityFilter")]
pub struct OpportunityFilterInput {
    /// One of these opportunities.
    ids: Option<Vec<ID>>,
    /// In this pipeline.
    pipeline_id: Option<ID>,
    /// In one of these stages.
    stage_ids: Option<Vec<ID>>,
    /// Every word of this is part of the name; upper and lower case are the same.
    search: Option<String>,
    /// Made within this span.
    created_at: Option<DateTimeRange>,
}

impl OpportunityFilterInput {
    /// The filter that is meant; `path` is where it stands in the input.
    ///
    /// # Errors
    /// Every problem at once, each with its path.
    pub fn read(self, path: &[&str]) -> Result<OpportunityFilter, Vec<UserError>> {
        let mut problems = Problems::of(path);
        for (list, name) in [(&self.ids, "ids"), (&self.stage_ids, "stageIds")] {
            problems.bound(list.as_ref().map_or(0, Vec::len), LIST_MAX, &[name]);
        }
        let ids = self.ids.map(|ids| problems.each(&ids, "ids", node::id));
        let stages = self
            .stage_ids
            .map(|ids| problems.each(&ids, "stageIds", node::id));
        let pipeline = self
            .pipeline_id
            .and_then(|id| problems.one(&["pipelineId"], |at| node::id(&id, at)));
        let search = self.search.as_deref().unwrap_or_default();
        if search.chars().count() > TEXT_CHARS_MAX {
            let message = format!("search has at most {TEXT_CHARS_MAX} characters; shorten it.");
            problems.add(&["search"], message);
        }
        if search.contains('\0') {
            let message = "search holds a NUL character; leave it out.";
            problems.add(&["search"], message.into());
        }
        if !problems.found.is_empty() {
            return Err(problems.found);
        }
        let (created_from, created_to) = ends(self.created_at);
        Ok(OpportunityFilter {
            ids,
            pipeline,
            stages,
            search: self.search,
            created_from,
            created_to,
        })
    }
}
