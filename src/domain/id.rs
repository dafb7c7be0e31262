//! Typed, opaque ids: a UUIDv7 inside, `lead_01jd…` outside.
//!
//! The text form is a prefix that names the kind and the 128 bits in Crockford's base 32, lower
//! case, so that an id of one kind is never taken for another and sorts by the time it was made.

use std::fmt;
use std::hash::{Hash, Hasher};
use std::marker::PhantomData;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use ulid::Ulid;
use uuid::Uuid;

/// What an id belongs to; the prefix is part of the id's text.
pub trait Kind {
    /// The letters before the underscore.
    const PREFIX: &'static str;
}

macro_rules! kinds {
    ($($(#[$doc:meta])* $kind:ident, $alias:ident, $prefix:literal;)*) => {
        /// The kinds of objects that have ids.
        pub mod kind {
            $($(#[$doc])* #[derive(Debug)] pub enum $kind {} impl super::Kind for $kind { const PREFIX: &'static str = $prefix; })*
        }
        $($(#[$doc])* pub type $alias = Id<kind::$kind>;)*

        /// Whether a text is an id, of whatever kind.
        pub fn is_id(text: &str) -> bool {
            let Some((prefix, _)) = text.split_once('_') else {
                return false;
            };
            match prefix {
                $($prefix => text.parse::<$alias>().is_ok(),)*
                _ => false,
            }
        }
    };
}

kinds! {
    /// A workspace.
    Workspace, WorkspaceId, "ws";
    /// A person.
    Person, PersonId, "person";
    /// A pipeline.
    Pipeline, PipelineId, "pipeline";
    /// A stage of a pipeline.
    Stage, StageId, "stage";
    /// A person's place in a pipeline.
    Opportunity, OpportunityId, "opp";
    /// A sender.
    Sender, SenderId, "sender";
    /// A sequence.
    Sequence, SequenceId, "seq";
    /// A published version of a sequence.
    Version, VersionId, "ver";
    /// A lead.
    Lead, LeadId, "lead";
    /// Work for a person.
    Task, TaskId, "task";
    /// An execution.
    Execution, ExecutionId, "exec";
    /// A bulk operation.
    Bulk, BulkId, "bulk";
    /// A workflow.
    Workflow, WorkflowId, "workflow";
    /// One run of a workflow for one person.
    WorkflowRun, WorkflowRunId, "run";
    /// A subscription of another program to the event log.
    Webhook, WebhookId, "webhook";
    /// A key that emails are signed with.
    DkimKey, DkimKeyId, "dkim";
    /// An API token (its row, not its secret).
    Token, TokenId, "token";
    /// An entry of the audit.
    Audit, AuditId, "audit";
    /// A mail that came in.
    Mail, MailId, "mail";
    /// One run of a worker process; a restart is another worker.
    Worker, WorkerId, "worker";
}

/// An id of the kind `K`.
pub struct Id<K> {
    uuid: Uuid,
    kind: PhantomData<fn() -> K>,
}

impl<K> Id<K> {
    /// Wraps the bits that the store keeps.
    pub const fn from_uuid(uuid: Uuid) -> Self {
        Self {
            uuid,
            kind: PhantomData,
        }
    }

    /// The bits that the store keeps.
    pub const fn uuid(self) -> Uuid {
        self.uuid
    }
}

impl<K> Clone for Id<K> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<K> Copy for Id<K> {}

impl<K> PartialEq for Id<K> {
    fn eq(&self, other: &Self) -> bool {
        self.uuid == other.uuid
    }
}

impl<K> Eq for Id<K> {}

impl<K> PartialOrd for Id<K> {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl<K> Ord for Id<K> {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.uuid.cmp(&other.uuid)
    }
}

impl<K> Hash for Id<K> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.uuid.hash(state);
    }
}

impl<K: Kind> fmt::Display for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut buffer = [0; ulid::ULID_LEN];
        let text = Ulid::from(self.uuid.as_u128()).array_to_str(&mut buffer);
        text.make_ascii_lowercase();
        f.write_str(K::PREFIX)?;
        f.write_str("_")?;
        f.write_str(text)
    }
}

impl<K: Kind> fmt::Debug for Id<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The text is not an id of the kind that was asked for.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "this is not an id of the expected kind; it starts with {expected}_ and comes from an answer of this API"
)]
pub struct NotAnId {
    /// The prefix that was expected.
    pub expected: &'static str,
}

impl<K: Kind> FromStr for Id<K> {
    type Err = NotAnId;

    fn from_str(text: &str) -> Result<Self, NotAnId> {
        let refused = NotAnId {
            expected: K::PREFIX,
        };
        let bits = text
            .strip_prefix(K::PREFIX)
            .and_then(|rest| rest.strip_prefix('_'))
            .ok_or(refused.clone())?;
        let ulid = Ulid::from_string(bits).map_err(|_| refused.clone())?;
        let id = Self::from_uuid(Uuid::from_u128(u128::from(ulid)));
        // Crockford's alphabet reads o as 0 and takes upper case; an id has one spelling only.
        if id.to_string() == text {
            Ok(id)
        } else {
            Err(refused)
        }
    }
}

impl<K: Kind> Serialize for Id<K> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de, K: Kind> Deserialize<'de> for Id<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn text_round_trips(bits: u128) {
            let id = LeadId::from_uuid(Uuid::from_u128(bits));
            prop_assert_eq!(id.to_string().parse::<LeadId>(), Ok(id));
            prop_assert!(id.to_string().parse::<PersonId>().is_err());
        }

        #[test]
        fn text_sorts_like_the_bits(a: u128, b: u128) {
            let (a, b) = (Uuid::from_u128(a), Uuid::from_u128(b));
            let text = |u| LeadId::from_uuid(u).to_string();
            prop_assert_eq!(a.cmp(&b), text(a).cmp(&text(b)));
        }

        #[test]
        fn junk_is_refused(text in "\\PC{0,40}") {
            if let Ok(id) = text.parse::<LeadId>() {
                prop_assert_eq!(id.to_string(), text);
            }
        }
    }

    #[test]
    fn one_spelling_only() {
        let text = LeadId::from_uuid(Uuid::from_u128(1)).to_string();
        assert!(text.parse::<LeadId>().is_ok());
        assert!(text.to_uppercase().parse::<LeadId>().is_err());
        assert!(text.replace('0', "o").parse::<LeadId>().is_err());
    }
}
