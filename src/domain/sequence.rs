//! The lifecycle of a sequence: which status allows what.
//!
//! Doing the same thing twice is no error: the second time changes nothing and says so.

use strum::{Display, EnumString, IntoStaticStr};

/// The status of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum SequenceStatus {
    /// Sends nothing, freely edited, takes no leads.
    Draft,
    /// Sends on schedule, protected from edits, takes leads.
    Published,
    /// All sends paused; may be edited and published again.
    Disabled,
    /// Read-only and out of the way.
    Archived,
}

/// What somebody wants to do with a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum SequenceAction {
    /// Change its flow, settings or name.
    Edit,
    /// Let it send.
    Publish,
    /// Pause all sends.
    Disable,
    /// Put it away.
    Archive,
    /// Take it back out.
    Unarchive,
    /// Enrol people.
    Enrol,
}

/// What an allowed action comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The sequence gets this status (which may be the one it has, as after an edit).
    To(SequenceStatus),
    /// It already is so; nothing changes.
    Already,
}

/// The status forbids the action; the text names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WrongStatus(pub &'static str);

impl SequenceStatus {
    /// What `action` does to a sequence of this status. `was_published` says whether it ever had
    /// a published version.
    ///
    /// # Errors
    /// [`WrongStatus`] with the remedy where the status forbids the action.
    pub fn apply(self, action: SequenceAction, was_published: bool) -> Result<Step, WrongStatus> {
        use SequenceAction as A;
        use SequenceStatus::{Archived, Disabled, Draft, Published};
        match (self, action) {
            (Draft | Disabled, A::Edit) => Ok(Step::To(self)),
            (Published, A::Edit) => Err(WrongStatus(
                "A published sequence is protected from edits: disable it, edit it, publish it again.",
            )),
            (Archived, _) if action != A::Unarchive && action != A::Archive => Err(WrongStatus(
                "An archived sequence is read-only: unarchive it first.",
            )),
            (Draft | Disabled, A::Publish) => Ok(Step::To(Published)),
            (Published, A::Publish) => Ok(Step::Already),
            (Published, A::Disable) => Ok(Step::To(Disabled)),
            (Disabled, A::Disable) => Ok(Step::Already),
            (Draft, A::Disable) => Err(WrongStatus(
                "A draft sends nothing, so there is nothing to disable: archive it to put it away.",
            )),
            (Published, A::Archive) => Err(WrongStatus(
                "A published sequence still sends: disable it first, then archive it.",
            )),
            (Draft | Disabled, A::Archive) => Ok(Step::To(Archived)),
            (Archived, A::Archive) => Ok(Step::Already),
            // A sequence that never ran has no version to be disabled at: it is a draft again.
            (Archived, A::Unarchive) if was_published => Ok(Step::To(Disabled)),
            (Archived, A::Unarchive) => Ok(Step::To(Draft)),
            (Draft | Published | Disabled, A::Unarchive) => Ok(Step::Already),
            (Published, A::Enrol) => Ok(Step::To(Published)),
            (Draft, A::Enrol) => Err(WrongStatus(
                "A draft takes no leads: publish the sequence first.",
            )),
            (Disabled, A::Enrol) => Err(WrongStatus(
                "A disabled sequence takes no new leads: publish it again first.",
            )),
            (Archived, _) => Err(WrongStatus(
                "An archived sequence is read-only: unarchive it first.",
            )),
        }
    }
}
