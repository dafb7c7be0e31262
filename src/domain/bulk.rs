//! The vocabulary of bulk operations.

use strum::{Display, EnumString, IntoStaticStr};

/// What a bulk operation does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum BulkKind {
    /// Makes leads of people.
    Enrol,
    /// Holds leads.
    Pause,
    /// Lets held leads go on.
    Resume,
    /// Takes leads out of their sequence.
    Remove,
    /// Reads people from a CSV file.
    ImportPeople,
    /// Puts back what another operation did.
    Undo,
}

/// Where a bulk operation stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum BulkStatus {
    /// Waits for a worker.
    Queued,
    /// Being carried out.
    Running,
    /// Every item has its outcome.
    Completed,
    /// Ended by a person before every item had its turn.
    Cancelled,
    /// Could not go on; the error says why.
    Failed,
}

impl BulkStatus {
    /// Whether nothing more will happen.
    pub const fn is_final(self) -> bool {
        match self {
            Self::Completed | Self::Cancelled | Self::Failed => true,
            Self::Queued | Self::Running => false,
        }
    }
}

/// What became of one item.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum BulkOutcomeCode {
    /// Done as asked.
    Done,
    /// The person already has a lead in the sequence.
    AlreadyEnrolled,
    /// The lead already is as asked.
    AlreadyInState,
    /// The address must not be contacted.
    Suppressed,
    /// The person has opted out.
    OptedOut,
    /// The person has no address for any channel of the sequence.
    NoAddress,
    /// The person is in another, exclusive sequence. Nothing comes to this so far: no setting makes a
    /// sequence exclusive, and a person may be in any number of sequences at once.
    InOtherSequence,
    /// There is no such object in the workspace.
    NotFound,
    /// Something else has happened to the lead since, which is not to be undone.
    MovedOn,
    /// The lead has finished and cannot be changed any more.
    Finished,
    /// The item itself is wrong; the message says where.
    Invalid,
}

impl BulkOutcomeCode {
    /// Which of an operation's three counts the item adds to.
    pub const fn count(self) -> BulkCount {
        match self {
            Self::Done => BulkCount::Succeeded,
            Self::AlreadyEnrolled
            | Self::AlreadyInState
            | Self::Suppressed
            | Self::OptedOut
            | Self::NoAddress
            | Self::InOtherSequence
            | Self::MovedOn
            | Self::Finished => BulkCount::Skipped,
            Self::NotFound | Self::Invalid => BulkCount::Failed,
        }
    }
}

/// The counts of a bulk operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum BulkCount {
    /// Done as asked.
    Succeeded,
    /// Already so, or not allowed by policy.
    Skipped,
    /// Could not be done.
    Failed,
}
