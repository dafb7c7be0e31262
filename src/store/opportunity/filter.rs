//! A filter of opportunities as SQL.

use crate::domain::id::WorkspaceId;
use crate::domain::person_filter::searchable;
use crate::domain::pipeline::OpportunityFilter;
use crate::store::person::filter::escaped;
use crate::store::sql::Arguments;

/// The conditions that a filter sets on the opportunity called `alias` in the statement, joined by
/// AND; it is bound to the workspace.
pub fn condition(
    workspace: WorkspaceId,
    filter: &OpportunityFilter,
    alias: &str,
    arguments: &mut Arguments,
) -> String {
    let mut all = vec![format!(
        "{alias}.workspace_id = {}",
        arguments.add(workspace.uuid())
    )];
    if let Some(ids) = &filter.ids {
        let list = arguments.list(ids.iter().map(|id| id.uuid()));
        all.push(format!("{alias}.id IN ({list})"));
    }
    if let Some(pipeline) = filter.pipeline {
        let pipeline = arguments.add(pipeline.uuid());
        all.push(format!("{alias}.pipeline_id = {pipeline}"));
    }
    if let Some(stages) = &filter.stages {
        let list = arguments.list(stages.iter().map(|id| id.uuid()));
        all.push(format!("{alias}.stage_id IN ({list})"));
    }
    let words = filter
        .search
        .iter()
        .flat_map(|text| text.split_whitespace());
    for word in words {
        let pattern = arguments.add(format!("%{}%", escaped(&searchable(word))));
        all.push(format!("{alias}.search_text LIKE {pattern} ESCAPE '\\'"));
    }
    if let Some(from) = filter.created_from {
        let from = arguments.add(from.timestamp_millis());
        all.push(format!("{alias}.created_at >= {from}"));
    }
    if let Some(to) = filter.created_to {
        let to = arguments.add(to.timestamp_millis());
        all.push(format!("{alias}.created_at < {to}"));
    }
    all.join(" AND ")
}
