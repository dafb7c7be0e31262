//! The states of an execution: one step carried out for one lead.

use strum::{Display, EnumString, IntoStaticStr};

/// Where an execution stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum ExecutionStatus {
    /// Waits for its (next) attempt.
    Scheduled,
    /// Claimed by a worker; the message may be on its way.
    Sending,
    /// Accepted by the receiving server.
    Sent,
    /// Known to have arrived.
    Delivered,
    /// Will not be sent; the error says why.
    Failed,
    /// Nothing to do for this lead.
    Skipped,
    /// May or may not have left; never sent again by itself.
    Unconfirmed,
}

impl ExecutionStatus {
    /// Whether the step is over for the lead, so that it must never be carried out again.
    pub const fn is_settled(self) -> bool {
        match self {
            Self::Sent | Self::Delivered | Self::Failed | Self::Skipped => true,
            Self::Scheduled | Self::Sending | Self::Unconfirmed => false,
        }
    }
}
