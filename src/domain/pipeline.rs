//! Pipelines: the stages that opportunities go through, and which opportunities a filter means.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

use super::id::{OpportunityId, PipelineId, StageId};

/// The most stages of a pipeline.
pub const STAGES_MAX: usize = 50;
/// The largest amount: up to it a number of 64 bits tells cents apart.
pub const AMOUNT_MAX: f64 = 1e13;

/// What it means that an opportunity is in a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StageKind {
    /// It is not decided.
    Open,
    /// It came off.
    Won,
    /// It did not.
    Lost,
}

/// Which opportunities; every condition that is given must hold. A list means "any of these", so an
/// empty one matches none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct OpportunityFilter {
    /// One of these.
    pub ids: Option<Vec<OpportunityId>>,
    /// In this pipeline.
    pub pipeline: Option<PipelineId>,
    /// In one of these stages.
    pub stages: Option<Vec<StageId>>,
    /// Every word of this occurs in the name.
    pub search: Option<String>,
    /// Created at this instant or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before this instant.
    pub created_to: Option<DateTime<Utc>>,
}

impl OpportunityFilter {
    /// Whether no condition is given, so that every opportunity of the workspace is meant.
    pub fn is_empty(&self) -> bool {
        let search = self.search.as_deref();
        search.is_none_or(|text| text.trim().is_empty())
            && Self {
                search: None,
                ..self.clone()
            } == Self::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_without_a_condition_is_empty() {
        let blank = OpportunityFilter {
            search: Some("  ".into()),
            ..OpportunityFilter::default()
        };
        assert!(OpportunityFilter::default().is_empty() && blank.is_empty());
        let none = OpportunityFilter {
            stages: Some(Vec::new()),
            ..OpportunityFilter::default()
        };
        assert!(!none.is_empty(), "an empty list means none, not all");
    }
}
