//! What a lead and its messages must hold, told again from the log alone.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::domain::event::EventKind;
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, SenderId};

/// An event of a lead, as far as it is counted.
#[derive(Debug, Clone, PartialEq)]
pub struct Happened {
    /// When.
    pub at: DateTime<Utc>,
    /// What.
    pub kind: EventKind,
    /// The execution concerned.
    pub execution: Option<ExecutionId>,
    /// The step concerned.
    pub step: Option<String>,
    /// The channel of the message.
    pub channel: Option<Channel>,
    /// Who sent it.
    pub sender: Option<SenderId>,
    /// Whether a person settled what became of a message.
    pub by_hand: bool,
}

/// What a lead holds, by its row or by the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LeadNumbers {
    /// ACTIVE, PAUSED, COMPLETED or STOPPED; empty where it was never enrolled.
    pub status: &'static str,
    /// Where it stands; `None` where its run is over.
    pub step: Option<String>,
    /// Messages that were sent.
    pub messages_sent: u32,
    /// Openings.
    pub opens: u32,
    /// Clicks.
    pub clicks: u32,
    /// Answers.
    pub replies: u32,
    /// Whether a message came back.
    pub bounced: bool,
    /// Whether it opted out.
    pub unsubscribed: bool,
}

/// What a message holds, by its row or by the log.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MessageNumbers {
    /// How it ended; `None` where it has not.
    pub ended: Option<ExecutionStatus>,
    /// When it was sent or given up.
    pub at: Option<DateTime<Utc>>,
    /// Who sent it, or was to.
    pub sender: Option<SenderId>,
    /// Openings.
    pub opens: u32,
    /// Clicks.
    pub clicks: u32,
    /// Answers.
    pub replies: u32,
    /// Whether it came back.
    pub bounced: bool,
    /// Whether the contact opted out by it.
    pub unsubscribed: bool,
}

/// A lead and its messages.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Retold {
    /// The lead.
    pub lead: LeadNumbers,
    /// Its messages; work for people and requests are none.
    pub messages: BTreeMap<ExecutionId, MessageNumbers>,
}

/// A difference of one number: what, what the row has, and what the log has.
pub type Difference = (&'static str, String, String);

impl Retold {
    /// Hears the next event of the lead.
    pub fn hear(&mut self, event: &Happened) {
        match event.kind {
            EventKind::LeadEnrolled => {
                self.lead.status = "ACTIVE";
                self.lead.step = event.step.clone();
            }
            EventKind::LeadAdvanced => self.lead.step = event.step.clone(),
            EventKind::LeadPaused => self.lead.status = "PAUSED",
            EventKind::LeadResumed => self.lead.status = "ACTIVE",
            EventKind::LeadCompleted => self.over("COMPLETED"),
            EventKind::LeadStopped => self.over("STOPPED"),
            _ => self.did(event),
        }
    }

    fn over(&mut self, status: &'static str) {
        self.lead.status = status;
        self.lead.step = None;
    }

    /// What was done with messages counts for the lead, and for the message if one is known.
    fn did(&mut self, event: &Happened) {
        let lead = &mut self.lead;
        match event.kind {
            EventKind::Opened => lead.opens += 1,
            EventKind::Clicked => lead.clicks += 1,
            EventKind::Replied => lead.replies += 1,
            EventKind::Bounced => lead.bounced = true,
            EventKind::Unsubscribed => lead.unsubscribed = true,
            EventKind::ExecutionSent if event.channel.is_some_and(Channel::is_message) => {
                lead.messages_sent += 1;
            }
            _ => {}
        }
        let Some(execution) = event.execution else {
            return;
        };
        if !event.channel.is_some_and(Channel::is_message) {
            return;
        }
        let message = self.messages.entry(execution).or_default();
        match event.kind {
            EventKind::ExecutionStarted => {
                // Until it ends, this is when it left if it did.
                message.at = Some(event.at);
                message.sender = event.sender;
            }
            EventKind::ExecutionSent => message.ends(event, ExecutionStatus::Sent),
            EventKind::ExecutionFailed => message.ends(event, ExecutionStatus::Failed),
            EventKind::ExecutionSkipped => message.ends(event, ExecutionStatus::Skipped),
            EventKind::ExecutionDelivered => message.ended = Some(ExecutionStatus::Delivered),
            EventKind::Opened => message.opens += 1,
            EventKind::Clicked => message.clicks += 1,
            EventKind::Replied => message.replies += 1,
            EventKind::Bounced => message.bounced = true,
            EventKind::Unsubscribed => message.unsubscribed = true,
            _ => {}
        }
    }
}

impl MessageNumbers {
    fn ends(&mut self, event: &Happened, ended: ExecutionStatus) {
        self.ended = Some(ended);
        // Whoever settles it later tells that it left when it was tried.
        let left_before = event.by_hand && ended == ExecutionStatus::Sent;
        if !left_before || self.at.is_none() {
            self.at = Some(event.at);
        }
        // One that is given up by nobody is the last one's who tried.
        self.sender = event.sender.or(self.sender);
    }

    /// In which numbers a row differs from the log.
    pub fn differences(&self, log: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        let ended = |of: &Self| of.ended.map_or("OPEN".into(), |ended| ended.to_string());
        note(&mut found, "status", &ended(self), &ended(log));
        // Where it is open, nothing counts when and by whom.
        if self.ended.is_some() && log.ended.is_some() {
            let at = |of: &Self| of.at.map_or("none".into(), |at| at.to_rfc3339());
            note(&mut found, "finishedAt", &at(self), &at(log));
        }
        if matches!(
            log.ended,
            Some(ExecutionStatus::Sent | ExecutionStatus::Delivered)
        ) {
            let sender = |of: &Self| of.sender.map_or("none".into(), |id| id.to_string());
            note(&mut found, "sender", &sender(self), &sender(log));
        }
        note(&mut found, "opens", &self.opens, &log.opens);
        note(&mut found, "clicks", &self.clicks, &log.clicks);
        note(&mut found, "replies", &self.replies, &log.replies);
        note(&mut found, "bounced", &self.bounced, &log.bounced);
        let (row, log) = (&self.unsubscribed, &log.unsubscribed);
        note(&mut found, "unsubscribed", row, log);
        found
    }
}

impl LeadNumbers {
    /// In which numbers a row differs from the log.
    pub fn differences(&self, log: &Self) -> Vec<Difference> {
        let mut found = Vec::new();
        note(&mut found, "status", &self.status, &log.status);
        let step = |of: &Self| of.step.clone().unwrap_or_else(|| "none".into());
        note(&mut found, "currentStep", &step(self), &step(log));
        let (row, told) = (&self.messages_sent, &log.messages_sent);
        note(&mut found, "messagesSent", row, told);
        note(&mut found, "opens", &self.opens, &log.opens);
        note(&mut found, "clicks", &self.clicks, &log.clicks);
        note(&mut found, "replies", &self.replies, &log.replies);
        note(&mut found, "bounced", &self.bounced, &log.bounced);
        let (row, log) = (&self.unsubscribed, &log.unsubscribed);
        note(&mut found, "unsubscribed", row, log);
        found
    }
}

fn note<T: PartialEq + ToString>(
    found: &mut Vec<Difference>,
    what: &'static str,
    row: &T,
    log: &T,
) {
    if row != log {
        found.push((what, row.to_string(), log.to_string()));
    }
}
