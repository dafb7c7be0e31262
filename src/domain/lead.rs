//! The lead machine: what each happening does to a lead in each status.
//!
//! [`LeadState::apply`] is total: every pair of status and happening either has a next state or a
//! refusal. Set statements in the store that move many leads at once follow the same table, and a
//! test holds them against it.

use chrono::{DateTime, Duration, Utc};
use serde::{Deserialize, Serialize};
use strum::{Display, EnumCount, EnumIter, EnumString, IntoStaticStr};

/// The five statuses of a lead.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum LeadStatus {
    /// Waits for its next step.
    Pending,
    /// In a step now.
    InProgress,
    /// Finished the whole sequence.
    Completed,
    /// Held by a person.
    Paused,
    /// Left the sequence early.
    Stopped,
}

impl LeadStatus {
    /// Whether nothing more becomes of a lead with it.
    pub const fn is_over(self) -> bool {
        matches!(self, Self::Completed | Self::Stopped)
    }
}

/// Why a lead left its sequence early.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
    EnumIter,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StopReason {
    /// The contact answered.
    Replied,
    /// Somebody else at the contact's company answered.
    CompanyReplied,
    /// A machine answered, and the settings say to stop then.
    AutoReplied,
    /// The contact opted out.
    Unsubscribed,
    /// The address must not be contacted.
    Suppressed,
    /// The address does not exist or refuses for good.
    Bounced,
    /// The contact complained.
    Complained,
    /// A person took it out.
    Removed,
    /// Its enrolment was undone before anything came of it: it counts as no run of the person.
    EnrolmentUndone,
    /// The opportunity was won.
    OpportunityWon,
    /// The person was erased.
    PersonDeleted,
    /// The person was merged into another.
    PersonMerged,
    /// The step where it stood is gone.
    StepRemoved,
    /// Something that a step needs is missing.
    MissingData,
    /// The engine could not go on.
    Failed,
}

/// Why a lead that is neither paused nor over has no due time, or has one later than planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr, EnumIter)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Hold {
    /// A merge tag has no value and no default; goes on when the person is completed.
    MissingMergeData,
    /// A message may or may not have left; goes on when somebody settles it.
    Unconfirmed,
    /// The last attempt failed for a passing reason; goes on at its due time.
    Retrying,
    /// The person has no address for the step; goes on when the person is completed.
    MissingAddress,
    /// Waits for a condition to come true, or for its time to be up.
    AwaitingCondition,
    /// Waits for a person to do a task, or for its time to be up.
    AwaitingTask,
}

impl Hold {
    /// Whether a lead with it is in its step, waiting there for something to happen.
    pub const fn awaits(self) -> bool {
        matches!(self, Self::AwaitingCondition | Self::AwaitingTask)
    }

    /// Whether it ends when the person is completed.
    pub const fn lacks(self) -> bool {
        matches!(self, Self::MissingMergeData | Self::MissingAddress)
    }
}

/// Where a lead stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LeadState {
    /// Its status.
    pub status: LeadStatus,
    /// Why it stopped; set if and only if the status is `Stopped`.
    pub stop_reason: Option<StopReason>,
    /// The step it is at; none once completed.
    pub step_key: Option<String>,
    /// When the step is due; none where nothing is scheduled.
    pub due_at: Option<DateTime<Utc>>,
    /// What holds it, apart from a pause.
    pub hold: Option<Hold>,
    /// The rest of the wait of a paused lead; none where nothing was scheduled.
    pub paused_rest: Option<Duration>,
    /// When what it waits for in its step is given up; none where nothing is, or never. Its due time
    /// is no later: it is earlier when something happened that the wait may end by.
    pub until: Option<DateTime<Utc>>,
    /// Until when a machine has said that the contact is away, which may be over; none where it has not,
    /// and of a lead that is over. What reaches the person waits for it: messages, and work that
    /// would be given to somebody. Whatever else the lead does goes on meanwhile, and so does a wait that
    /// it is in; whoever claims the lead holds back what must wait, however the lead got there.
    pub quiet_until: Option<DateTime<Utc>>,
}

/// A step to go to and when it is due.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Onward {
    /// The step's key.
    pub step_key: String,
    /// When it is due.
    pub due_at: DateTime<Utc>,
}

/// What can happen to a lead.
#[derive(Debug, Clone, PartialEq, Eq, EnumCount)]
pub enum Happening {
    /// A worker took it up.
    Claimed,
    /// The worker put it back untouched.
    Released,
    /// Its step is over, whether sent, failed or skipped; `None` where no step follows.
    StepOver(Option<Onward>),
    /// The step is to be tried (again) later: a passing failure, or a window that closed.
    Later {
        /// When.
        due_at: DateTime<Utc>,
        /// Whether an attempt failed.
        retrying: bool,
    },
    /// Something that the step needs is missing, and it waits for that: an address or a value.
    Lacks(Hold),
    /// The person was completed.
    DataCompleted,
    /// It is in its step now and waits for a condition or a task.
    Awaits {
        /// For what.
        hold: Hold,
        /// When that is given up; never, if none.
        until: Option<DateTime<Utc>>,
    },
    /// Something happened that such a wait may end by.
    Stirred,
    /// A machine answered: the contact is away.
    AutoReplied {
        /// Until when.
        until: DateTime<Utc>,
        /// When the step at which it is may come at the earliest, where that waits for it; none where it
        /// goes on meanwhile.
        due_at: Option<DateTime<Utc>>,
    },
    /// The message may or may not have left.
    Ambiguous,
    /// Somebody settled that the message had not left: it is due again.
    SettledUnsent,
    /// A person holds it.
    Pause,
    /// A person lets it go on.
    Resume,
    /// It leaves the sequence early.
    Stop(StopReason),
}

/// The status does not take the happening.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// It already is so; nothing changes.
    #[error("the lead already is so")]
    Already,
    /// The lead is over and takes nothing more.
    #[error("the lead is over: enrol the person again for another run")]
    Over,
    /// The happening has no meaning in this status.
    #[error("this cannot happen to a lead in this status")]
    Senseless,
}

impl LeadState {
    /// A lead that has just been enrolled.
    pub fn enrolled(at: Onward) -> Self {
        Self {
            status: LeadStatus::Pending,
            stop_reason: None,
            step_key: Some(at.step_key),
            due_at: Some(at.due_at),
            hold: None,
            paused_rest: None,
            until: None,
            quiet_until: None,
        }
    }

    /// The state after `happening` at `now`.
    ///
    /// # Errors
    /// [`Refused`] where the status does not take it; the lead then stays as it is.
    pub fn apply(&self, happening: &Happening, now: DateTime<Utc>) -> Result<Self, Refused> {
        use Happening as H;
        use LeadStatus::{Completed, InProgress, Paused, Pending, Stopped};
        match (self.status, happening) {
            (Completed | Stopped, H::Stop(_)) => Err(Refused::Already),
            (Completed | Stopped, H::Pause | H::Resume) => Err(Refused::Over),
            // A message on its way when the lead stopped: nothing more follows from it.
            (
                Stopped,
                H::StepOver(_) | H::Later { .. } | H::Released | H::Ambiguous | H::Lacks(_),
            ) => Ok(self.clone()),
            (Completed | Stopped, _) => Err(Refused::Over),
            (Pending | InProgress | Paused, H::Stop(reason)) => Ok(self.stopped(*reason)),
            (Pending | InProgress | Paused, H::StepOver(onward)) => {
                Ok(self.onward(onward.as_ref(), now))
            }
            (Pending | InProgress, H::Pause) => Ok(self.paused(now)),
            (Paused, H::Pause) | (Pending | InProgress, H::Resume) => Err(Refused::Already),
            (Paused, H::Resume) => Ok(self.resumed(now)),
            (Pending, H::Claimed) if self.due_at.is_some() && !self.awaits() => Ok(Self {
                status: InProgress,
                hold: None,
                ..self.clone()
            }),
            (Pending | InProgress | Paused, H::Claimed) => Err(Refused::Senseless),
            (_, H::Awaits { hold, .. }) if !hold.awaits() => Err(Refused::Senseless),
            (_, H::Lacks(hold)) if !hold.lacks() => Err(Refused::Senseless),
            (Pending | InProgress, H::Awaits { hold, until }) => Ok(Self {
                status: InProgress,
                hold: Some(*hold),
                due_at: *until,
                until: *until,
                ..self.clone()
            }),
            (Paused, H::Awaits { hold, until }) => Ok(Self {
                hold: Some(*hold),
                paused_rest: until.map(|until| rest(until, now)),
                ..self.clone()
            }),
            (InProgress, H::Stirred) if self.awaits() => Ok(Self {
                due_at: Some(self.due_at.map_or(now, |due_at| due_at.min(now))),
                ..self.clone()
            }),
            // Whoever resumes it has it asked again.
            (Paused, H::Stirred) if self.awaits() => Err(Refused::Already),
            (Pending | InProgress | Paused, H::Stirred) => Err(Refused::Senseless),
            (Pending, H::AutoReplied { until, due_at }) => Ok(Self {
                // A step that is due before is planned anew.
                due_at: self
                    .due_at
                    .map(|planned| due_at.map_or(planned, |back| planned.max(back))),
                ..self.quiet(*until)
            }),
            // It waits in its step, its message is on its way, or somebody holds it: what comes next is
            // held back when it comes.
            (InProgress | Paused, H::AutoReplied { until, .. }) => Ok(self.quiet(*until)),
            // Nobody works on a lead that waits in its step, or for somebody to settle its message.
            (_, H::Released) if self.awaits() || self.hold == Some(Hold::Unconfirmed) => {
                Err(Refused::Senseless)
            }
            (Pending | InProgress, H::Released) => Ok(Self {
                status: Pending,
                ..self.clone()
            }),
            (Paused, H::Released) => Ok(self.clone()),
            (Pending | InProgress, H::Later { due_at, retrying }) => Ok(Self {
                status: Pending,
                due_at: Some(*due_at),
                hold: retrying.then_some(Hold::Retrying),
                until: None,
                ..self.clone()
            }),
            (Paused, H::Later { due_at, retrying }) => Ok(Self {
                hold: retrying.then_some(Hold::Retrying),
                paused_rest: Some(rest(*due_at, now)),
                ..self.clone()
            }),
            (Pending | InProgress, H::Lacks(hold)) => Ok(Self {
                status: Pending,
                due_at: None,
                hold: Some(*hold),
                until: None,
                ..self.clone()
            }),
            (Paused, H::Lacks(hold)) => Ok(Self {
                hold: Some(*hold),
                paused_rest: None,
                ..self.clone()
            }),
            (Pending | InProgress | Paused, H::Ambiguous) => Ok(Self {
                status: if self.status == Paused {
                    Paused
                } else {
                    InProgress
                },
                due_at: None,
                hold: Some(Hold::Unconfirmed),
                paused_rest: None,
                until: None,
                ..self.clone()
            }),
            (_, H::DataCompleted) => self.let_go(Hold::lacks, now),
            (_, H::SettledUnsent) => self.let_go(|hold| hold == Hold::Unconfirmed, now),
        }
    }

    /// Whether it waits in its step for something to happen.
    fn awaits(&self) -> bool {
        self.hold.is_some_and(Hold::awaits)
    }

    /// Away at least until then: who is away longer by what was said before stays so.
    fn quiet(&self, until: DateTime<Utc>) -> Self {
        Self {
            quiet_until: Some(self.quiet_until.map_or(until, |known| known.max(until))),
            ..self.clone()
        }
    }

    fn stopped(&self, reason: StopReason) -> Self {
        Self {
            status: LeadStatus::Stopped,
            stop_reason: Some(reason),
            step_key: self.step_key.clone(),
            due_at: None,
            hold: None,
            paused_rest: None,
            until: None,
            quiet_until: None,
        }
    }

    fn paused(&self, now: DateTime<Utc>) -> Self {
        Self {
            status: LeadStatus::Paused,
            due_at: None,
            paused_rest: if self.awaits() {
                self.until
            } else {
                self.due_at
            }
            .map(|ends_at| rest(ends_at, now)),
            until: None,
            ..self.clone()
        }
    }

    fn resumed(&self, now: DateTime<Utc>) -> Self {
        let ends_at = self.paused_rest.map(|rest| now + rest);
        if self.awaits() {
            // It may have come true meanwhile: asked again at once.
            return Self {
                status: LeadStatus::InProgress,
                due_at: Some(now),
                until: ends_at,
                paused_rest: None,
                ..self.clone()
            };
        }
        let unconfirmed = self.hold == Some(Hold::Unconfirmed);
        Self {
            status: if unconfirmed {
                LeadStatus::InProgress
            } else {
                LeadStatus::Pending
            },
            due_at: ends_at,
            paused_rest: None,
            ..self.clone()
        }
    }

    fn onward(&self, onward: Option<&Onward>, now: DateTime<Utc>) -> Self {
        let Some(onward) = onward else {
            return Self {
                status: LeadStatus::Completed,
                stop_reason: None,
                step_key: None,
                due_at: None,
                hold: None,
                paused_rest: None,
                until: None,
                quiet_until: None,
            };
        };
        let paused = self.status == LeadStatus::Paused;
        Self {
            status: if paused {
                LeadStatus::Paused
            } else {
                LeadStatus::Pending
            },
            stop_reason: None,
            step_key: Some(onward.step_key.clone()),
            due_at: (!paused).then_some(onward.due_at),
            hold: None,
            paused_rest: paused.then(|| rest(onward.due_at, now)),
            until: None,
            quiet_until: self.quiet_until,
        }
    }

    fn let_go(&self, from: impl Fn(Hold) -> bool, now: DateTime<Utc>) -> Result<Self, Refused> {
        if !self.hold.is_some_and(from) {
            return Err(Refused::Senseless);
        }
        let paused = self.status == LeadStatus::Paused;
        Ok(Self {
            status: if paused {
                LeadStatus::Paused
            } else {
                LeadStatus::Pending
            },
            due_at: (!paused).then_some(now),
            hold: None,
            paused_rest: paused.then(Duration::zero),
            ..self.clone()
        })
    }
}

fn rest(due_at: DateTime<Utc>, now: DateTime<Utc>) -> Duration {
    (due_at - now).max(Duration::zero())
}

#[cfg(test)]
mod tests;
