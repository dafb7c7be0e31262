//! The thread that a lead's emails form: what a reply within it refers to.

use serde::{Deserialize, Serialize};

/// The thread that a lead's emails form; kept with the lead.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Thread {
    /// The subject of the first email.
    pub subject: String,
    /// The Message-IDs of the emails so far, oldest first.
    pub references: Vec<String>,
}

/// How many Message-IDs of a thread are kept: the first and the latest.
const REFERENCES_MAX: usize = 20;

impl Thread {
    /// The thread with one more email. A new subject begins a new thread.
    #[must_use]
    pub fn with(mut self, message_id: &str, subject: &str, in_thread: bool) -> Self {
        if !in_thread || self.references.is_empty() {
            return Self {
                subject: subject.to_owned(),
                references: vec![message_id.to_owned()],
            };
        }
        if self.references.len() >= REFERENCES_MAX {
            self.references.remove(1);
        }
        self.references.push(message_id.to_owned());
        self
    }
}
