//! Webhook subscriptions, delivered: other programs are told of the event log, each from its own place on.
//!
//! One node delivers a subscription at a time: it is held by a worker, and free once that worker has given
//! it up or is gone, as bulk operations are. A subscription that is held has a task of its own, which sends
//! one event after the other and writes down how far it is after each ([`deliver`]); so a receiver that is
//! slow or dead delays nobody else's events, and what is in memory is one page of the log for each. Where
//! the log has nothing more to tell, or a delivery failed, the subscription is given up.
//!
//! What was sent and not yet written down when a process dies is sent once more, under the same id: events
//! are delivered at least once, and never out of their order
//! ([record 25](../../docs/decisions/0025-webhooks-follow-the-log.md)).

mod deliver;
pub mod runner;

pub use self::deliver::{Tried, test};
