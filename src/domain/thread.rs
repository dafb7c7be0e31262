//! The thread that a lead's emails form: what a reply within it refers to.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::flow::Channel;
use super::id::SenderId;

/// The thread that a lead's emails form, and who has written to it; kept with the lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Thread {
    /// The subject of the first email.
    pub subject: String,
    /// The Message-IDs of the emails so far, oldest first.
    pub references: Vec<String>,
    /// Who sent its last message, by channel: the next one comes from the same.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub senders: BTreeMap<String, SenderId>,
}

/// How many Message-IDs of a thread are kept: the first and the latest.
const REFERENCES_MAX: usize = 20;

impl Thread {
    /// Who sent its last message on a channel.
    pub fn sender_of(&self, channel: Channel) -> Option<SenderId> {
        self.senders.get(<&str>::from(channel)).copied()
    }

    /// The same thread, whose last message on a channel this sender has sent.
    #[must_use]
    pub fn sent_by(mut self, channel: Channel, sender: SenderId) -> Self {
        self.senders
            .insert(<&str>::from(channel).to_owned(), sender);
        self
    }

    /// The thread with one more email. A new subject begins a new thread.
    #[must_use]
    pub fn with(mut self, message_id: &str, subject: &str, in_thread: bool) -> Self {
        if !in_thread || self.references.is_empty() {
            return Self {
                subject: subject.to_owned(),
                references: vec![message_id.to_owned()],
                senders: self.senders,
            };
        }
        if self.references.len() >= REFERENCES_MAX {
            self.references.remove(1);
        }
        self.references.push(message_id.to_owned());
        self
    }
}

/// The subject of a reply in a thread: it begins with "Re: ", once (RFC 5322 §3.6.5).
pub fn reply_subject(subject: &str) -> String {
    let already = subject
        .get(..3)
        .is_some_and(|start| start.eq_ignore_ascii_case("re:"));
    if already {
        subject.to_owned()
    } else {
        format!("Re: {subject}")
    }
}
