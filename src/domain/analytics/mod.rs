//! Analytics: what came of a sequence, in exact counts under any filter.
//!
//! Everything is counted from facts: for each lead its messages with what the contact did with each
//! ([`LeadFacts`]). A [`Table`] holds those of one sequence in a form that is counted in one pass, so
//! that the distinct leads of any choice of steps, senders, channels and days are exact: such counts
//! cannot be added up from counts of smaller choices.

mod calendar;
mod comparison;
mod report;
pub mod retold;
mod table;

use chrono::{DateTime, NaiveDate, Utc};

pub use self::comparison::{Comparison, SignificanceTest, Trial, compare};
pub use self::report::{Bucket, Funnel, MessageCounts, Report, StepReport};
pub use self::table::{Loaded, Table};
use super::flow::Channel;
use super::id::{LeadId, SenderId};
use super::zone::Zone;

/// How a message ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sending {
    /// The receiving server has accepted it.
    Sent,
    /// It is known to have arrived.
    Delivered,
    /// It was not sent.
    Failed,
}

/// A message of a lead, and what the contact did with it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageFacts {
    /// When it was sent, or given up.
    pub at: DateTime<Utc>,
    /// The step that it belongs to.
    pub step: String,
    /// The variant that was chosen.
    pub variant: Option<String>,
    /// What it was sent by.
    pub channel: Channel,
    /// Who sent it.
    pub sender: Option<SenderId>,
    /// How it ended.
    pub sending: Sending,
    /// How often it was opened.
    pub opens: u32,
    /// How often a link in it was clicked.
    pub clicks: u32,
    /// How often it was answered.
    pub replies: u32,
    /// Whether it came back.
    pub bounced: bool,
    /// Whether the contact opted out by it.
    pub unsubscribed: bool,
}

/// A lead and its messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadFacts {
    /// The lead.
    pub lead: LeadId,
    /// The step at which it stands; `None` where its run is over.
    pub waiting_at: Option<String>,
    /// Whether it left the sequence early.
    pub interrupted: bool,
    /// Its messages that are settled, oldest first.
    pub messages: Vec<MessageFacts>,
}

/// Which messages count; a list means "any of these", so that an empty one means none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Filter {
    /// Sent by one of these.
    pub senders: Option<Vec<SenderId>>,
    /// Sent through one of these.
    pub channels: Option<Vec<Channel>>,
    /// Of one of these steps.
    pub steps: Option<Vec<String>>,
    /// Sent on this day or later.
    pub from: Option<NaiveDate>,
    /// Sent on this day or before.
    pub to: Option<NaiveDate>,
    /// Where days begin.
    pub zone: Zone,
}

impl Filter {
    /// Every message, by the days of a zone.
    pub const fn all(zone: Zone) -> Self {
        Self {
            senders: None,
            channels: None,
            steps: None,
            from: None,
            to: None,
            zone,
        }
    }

    /// Whether every message counts.
    pub const fn is_all(&self) -> bool {
        self.senders.is_none()
            && self.channels.is_none()
            && self.steps.is_none()
            && self.from.is_none()
            && self.to.is_none()
    }
}

#[cfg(test)]
mod tests;
