//! What an entry of the audit says.

use strum::{Display, EnumString, IntoStaticStr};

/// How many objects an entry names at most.
pub const OBJECTS_MAX: usize = 100;

/// How a mutation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Outcome {
    /// It was begun, and its end was never written: the server stopped, or the client went.
    Unfinished,
    /// It was carried out.
    Done,
    /// It was refused, and changed nothing.
    Refused,
    /// It failed inside.
    Failed,
}
