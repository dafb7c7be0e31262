//! What a contact is taken to do: the answers of conditions, the branches of splits, the variants.

use std::collections::HashMap;

use crate::domain::flow::{Action, Answer, Flow, Step};

/// What is said of one step.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ScenarioAnswer {
    /// The step.
    pub step_key: String,
    /// Whether its condition holds.
    pub yes: Option<bool>,
    /// Which branch of its split is taken, from 0.
    pub branch: Option<i32>,
    /// Which of its variants is sent, by key.
    pub variant: Option<String>,
}

/// Why a scenario does not fit a flow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ScenarioError {
    /// The flow has no such step.
    #[error("the flow has no step \"{0}\": name one by its key")]
    UnknownStep(String),
    /// One step is answered more than once.
    #[error("the step \"{0}\" is answered twice: answer it once")]
    Twice(String),
    /// `yes` is given for a step that asks nothing.
    #[error("the step \"{0}\" is no condition: leave out yes")]
    NoCondition(String),
    /// `branch` is given for a step that does not divide leads.
    #[error("the step \"{0}\" is no split: leave out branch")]
    NoSplit(String),
    /// There is no such branch.
    #[error("the step \"{step_key}\" has no branch {branch}: its branches are 0 to {last}")]
    UnknownBranch {
        /// The step.
        step_key: String,
        /// What is named.
        branch: i32,
        /// The last there is.
        last: usize,
    },
    /// There is no such variant.
    #[error("the step \"{step_key}\" has no variant \"{variant}\": name one by its key")]
    UnknownVariant {
        /// The step.
        step_key: String,
        /// What is named.
        variant: String,
    },
}

/// Answers that fit a flow.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scenario {
    answers: HashMap<String, Chosen>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq)]
struct Chosen {
    answer: Option<Answer>,
    variant: Option<String>,
}

impl Scenario {
    /// Reads what is said of the steps of a flow. A variant may be one that leads do not get.
    ///
    /// # Errors
    /// [`ScenarioError`] for the first answer that does not fit.
    pub fn read(flow: &Flow, answers: Vec<ScenarioAnswer>) -> Result<Self, ScenarioError> {
        let mut read = Self::default();
        for answer in answers {
            let step = flow.steps.iter().find(|step| step.key == answer.step_key);
            let Some(step) = step else {
                return Err(ScenarioError::UnknownStep(shown(&answer.step_key)));
            };
            let chosen = Chosen {
                answer: way(step, &answer)?,
                variant: variant(step, answer.variant)?,
            };
            if read.answers.insert(answer.step_key, chosen).is_some() {
                return Err(ScenarioError::Twice(shown(&step.key)));
            }
        }
        Ok(read)
    }

    /// Whether a path may take this way out of a step.
    pub(super) fn leaves_open(&self, step_key: &str, way: Answer) -> bool {
        let chosen = self.answers.get(step_key).and_then(|chosen| chosen.answer);
        chosen.is_none_or(|chosen| chosen == way)
    }

    /// The variant that is chosen for a step.
    pub(super) fn variant(&self, step_key: &str) -> Option<&str> {
        self.answers.get(step_key)?.variant.as_deref()
    }
}

fn way(step: &Step, answer: &ScenarioAnswer) -> Result<Option<Answer>, ScenarioError> {
    let step_key = || shown(&step.key);
    let yes = match (&step.action, answer.yes) {
        (_, None) => None,
        (Action::Condition(_), Some(yes)) => Some(Answer::Held(yes)),
        (_, Some(_)) => return Err(ScenarioError::NoCondition(step_key())),
    };
    let branch = match (&step.action, answer.branch) {
        (_, None) => None,
        (Action::Split(split), Some(branch)) => {
            let index = usize::try_from(branch).ok();
            let index = index.filter(|index| *index < split.branches.len());
            let unknown = || ScenarioError::UnknownBranch {
                step_key: step_key(),
                branch,
                last: split.branches.len().saturating_sub(1),
            };
            Some(Answer::Branch(index.ok_or_else(unknown)?))
        }
        (_, Some(_)) => return Err(ScenarioError::NoSplit(step_key())),
    };
    Ok(yes.or(branch))
}

fn variant(step: &Step, named: Option<String>) -> Result<Option<String>, ScenarioError> {
    let Some(named) = named else {
        return Ok(None);
    };
    let is_known = match &step.action {
        Action::Email(email) => email.variants.iter().any(|one| one.key == named),
        Action::Sms(message) | Action::Whatsapp(message) => {
            message.variants.iter().any(|one| one.key == named)
        }
        _ => false,
    };
    if is_known {
        return Ok(Some(named));
    }
    Err(ScenarioError::UnknownVariant {
        step_key: shown(&step.key),
        variant: shown(&named),
    })
}

/// So much of a text as fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}
