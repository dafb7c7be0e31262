//! What a table is counted into.

use chrono::NaiveDate;

use crate::domain::flow::Channel;
use crate::domain::id::SenderId;

/// Counts of distinct leads.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Funnel {
    /// Got a message.
    pub contacted: u64,
    /// Opened one.
    pub opened: u64,
    /// Clicked in one, or answered one.
    pub interactions: u64,
    /// Answered one.
    pub answered: u64,
    /// Left the sequence early, and this was the last that they got.
    pub interrupted: u64,
}

/// Counts of messages, and of what was done with them.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct MessageCounts {
    /// Accepted by the receiving server, or known to have arrived.
    pub sent: u64,
    /// Known to have arrived.
    pub delivered: u64,
    /// Not sent.
    pub failed: u64,
    /// Openings, of one message as many as there were.
    pub opens: u64,
    /// Clicks, in one message as many as there were.
    pub clicks: u64,
    /// Answers, to one message as many as there were.
    pub replies: u64,
    /// Came back.
    pub bounces: u64,
    /// The contact opted out by it.
    pub unsubscribes: u64,
}

/// What one choice of messages came to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Bucket {
    /// How many leads got how far.
    pub funnel: Funnel,
    /// How many messages there were.
    pub messages: MessageCounts,
}

/// What a step came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepReport {
    /// The step.
    pub key: String,
    /// Its messages.
    pub bucket: Bucket,
    /// The same by variant, in the order of their names.
    pub variants: Vec<(String, Bucket)>,
    /// How many leads stand there now, whatever the filter.
    pub waiting: u64,
}

/// What a sequence came to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Report {
    /// All messages that count.
    pub total: Bucket,
    /// By step: those that messages or leads are at, in the order of their keys.
    pub steps: Vec<StepReport>,
    /// By sender, in the order of their ids.
    pub senders: Vec<(SenderId, Bucket)>,
    /// By channel, in the order of their declaration.
    pub channels: Vec<(Channel, Bucket)>,
    /// By day, the oldest first; days without a message are left out.
    pub days: Vec<(NaiveDate, Bucket)>,
}
