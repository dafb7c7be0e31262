//! The words that tell where a lead stands, why it left, and how it came.

use std::str::FromStr;

use async_graphql::Enum;

/// Where a lead stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::lead::LeadStatus")]
pub enum LeadStatus {
    /// Waiting for its next step to be sent.
    Pending,
    /// In a step now.
    InProgress,
    /// Finished the whole sequence.
    Completed,
    /// Held by a person.
    Paused,
    /// Left the sequence early; stopReason says why.
    Stopped,
}

/// Why a lead left its sequence early.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::lead::StopReason")]
pub enum StopReason {
    /// The contact answered.
    Replied,
    /// Somebody else at the contact's company answered.
    CompanyReplied,
    /// A machine answered, and the settings say to stop then.
    AutoReplied,
    /// The contact opted out.
    Unsubscribed,
    /// The address must not be contacted.
    Suppressed,
    /// The address does not exist or refuses for good.
    Bounced,
    /// The contact complained.
    Complained,
    /// A person took it out.
    Removed,
    /// Its enrolment was undone before anything came of it: it counts as no run, so that the person
    /// can be enrolled without reEnrol, and the funnel does not count it as interrupted.
    EnrolmentUndone,
    /// The opportunity was won.
    OpportunityWon,
    /// The person was erased.
    PersonDeleted,
    /// The person was merged into another.
    PersonMerged,
    /// The step where it stood is gone.
    StepRemoved,
    /// Something that a step needs is missing.
    MissingData,
    /// The engine could not go on.
    Failed,
}

/// How a person became a lead.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
pub enum EnrolmentSource {
    /// Chosen among the people.
    People,
    /// With a segment of a pipeline.
    Pipeline,
    /// By an action on many.
    BulkAction,
    /// By a workflow.
    Workflow,
    /// Through this API.
    Api,
}

impl FromStr for EnrolmentSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "PEOPLE" => Ok(Self::People),
            "PIPELINE" => Ok(Self::Pipeline),
            "BULK_ACTION" => Ok(Self::BulkAction),
            "WORKFLOW" => Ok(Self::Workflow),
            "API" => Ok(Self::Api),
            other => Err(other.to_owned()),
        }
    }
}
