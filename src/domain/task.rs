//! Work for people: its statuses.

use strum::{Display, EnumString, IntoStaticStr};

/// How far a task is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum TaskStatus {
    /// Somebody has to do it.
    Open,
    /// It was done.
    Completed,
    /// Somebody decided that it is not to be done.
    Skipped,
    /// Nobody did it in time, or its lead went on without it.
    Expired,
}
