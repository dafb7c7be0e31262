//! Workflows: what sets one off, and what came of it.

use strum::{Display, EnumString, IntoStaticStr};

use super::bulk::BulkOutcomeCode;

/// The most stages that a workflow may be limited to.
pub const STAGES_MAX: usize = 100;
/// So many enrolments by workflows in a chain, each of which led to the next, and no more. A workflow
/// enrols nobody twice into its sequence, so that every chain has an end; this one comes sooner.
pub const CHAIN_MAX: i32 = 5;

/// What sets a workflow off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Trigger {
    /// A person is entered.
    PersonCreated,
    /// Something that is known of a person changes.
    PersonUpdated,
    /// An opportunity of a person is made.
    OpportunityCreated,
    /// An opportunity of a person goes to another stage.
    OpportunityStageChanged,
}

impl Trigger {
    /// Whether it happens in a stage of a pipeline.
    pub const fn has_stage(self) -> bool {
        match self {
            Self::OpportunityCreated | Self::OpportunityStageChanged => true,
            Self::PersonCreated | Self::PersonUpdated => false,
        }
    }
}

/// What came of a run of a workflow for one person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum RunCode {
    /// The person was enrolled.
    Done,
    /// The filter does not choose the person.
    NotMatching,
    /// The person is or was a lead of the sequence.
    AlreadyEnrolled,
    /// The address must not be contacted.
    Suppressed,
    /// The person has opted out.
    OptedOut,
    /// The person has no address for any channel of the sequence.
    NoAddress,
    /// The person is in another, exclusive sequence. Nothing comes to this so far: no setting makes a
    /// sequence exclusive, and a person may be in any number of sequences at once.
    InOtherSequence,
    /// The person is not there any more.
    NotFound,
    /// The sequence takes no leads: it is a draft, disabled or archived.
    SequenceNotPublished,
    /// The workflow was switched off after the trigger.
    WorkflowDisabled,
    /// One workflow has led to the next too often.
    ChainTooLong,
    /// The sequence cannot take the person; the message says why.
    Invalid,
}

impl From<BulkOutcomeCode> for RunCode {
    fn from(code: BulkOutcomeCode) -> Self {
        match code {
            BulkOutcomeCode::Done => Self::Done,
            BulkOutcomeCode::AlreadyEnrolled => Self::AlreadyEnrolled,
            BulkOutcomeCode::Suppressed => Self::Suppressed,
            BulkOutcomeCode::OptedOut => Self::OptedOut,
            BulkOutcomeCode::NoAddress => Self::NoAddress,
            BulkOutcomeCode::InOtherSequence => Self::InOtherSequence,
            BulkOutcomeCode::NotFound => Self::NotFound,
            // The first three are of leads that are there already, which enrolling does not change.
            BulkOutcomeCode::AlreadyInState
            | BulkOutcomeCode::MovedOn
            | BulkOutcomeCode::Finished
            | BulkOutcomeCode::Invalid => Self::Invalid,
        }
    }
}
