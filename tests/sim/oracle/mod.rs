//! What must always hold, checked from the outside: the provider's ledger, the event log and the rows
//! against each other and against what the simulation itself knows. Reckoned naively, without the
//! engine's rules.

pub mod clock;
pub mod ending;
pub mod ledger;
pub mod met;
pub mod numbers;
mod path;
mod predicate;
pub mod story;
pub mod watch;
