//! What becomes of leads whose step is gone, as it is written and as it is meant.

use std::collections::BTreeMap;

use crate::app::{AppError, Refusal};
use crate::domain::flow::{Flow, RemovedStepPolicy, STEPS_MAX};
use crate::domain::sequence::Step;

/// What becomes of leads whose step is gone, as it is written.
#[derive(Debug, Clone, Default)]
pub enum PolicyInput {
    /// They go to the next step that is left.
    #[default]
    Next,
    /// They go from the first key to the second; steps that are not named are treated as by `Next`.
    Map(Vec<(String, String)>),
    /// They stop.
    Stop,
}

impl PolicyInput {
    /// A repeated call finds nothing removed any more: its policy has nothing to say.
    pub(super) fn at(self, step: Step) -> Self {
        match step {
            Step::To(_) => self,
            Step::Already => Self::Next,
        }
    }

    /// The policy for going from the flow that ran last to a new one.
    ///
    /// # Errors
    /// [`AppError::Refused`] with every entry of a map that names a step wrongly.
    pub(super) fn read(self, old: &Flow, new: &Flow) -> Result<RemovedStepPolicy, AppError> {
        let moves = match self {
            Self::Next => return Ok(RemovedStepPolicy::Next),
            Self::Stop => return Ok(RemovedStepPolicy::Stop),
            Self::Map(moves) => moves,
        };
        let has = |flow: &Flow, key: &str| flow.steps.iter().any(|step| step.key == key);
        let shown = |key: &str| key.chars().take(64).collect::<String>();
        let (mut map, mut wrong) = (BTreeMap::new(), Vec::new());
        for (index, (from, to)) in moves.into_iter().enumerate().take(STEPS_MAX * 2) {
            let mut refuse = |message: String, field: &str| {
                let path = ["onRemovedStep", "map", &index.to_string(), field];
                wrong.push(Refusal::invalid(message, &path));
            };
            if has(new, &from) {
                refuse(
                    format!("The step {} is still there: leave it out.", shown(&from)),
                    "from",
                );
            } else if !has(old, &from) {
                let message = format!(
                    "What ran last has no step {}: name one that it had.",
                    shown(&from)
                );
                refuse(message, "from");
            }
            if !has(new, &to) {
                let to = shown(&to);
                refuse(
                    format!("The flow has no step {to}: name one that it has."),
                    "to",
                );
            }
            if map.insert(from.clone(), to).is_some() {
                refuse(
                    format!("The step {} is named twice: name it once.", shown(&from)),
                    "from",
                );
            }
        }
        if wrong.is_empty() {
            Ok(RemovedStepPolicy::Map(map))
        } else {
            Err(AppError::Refused(wrong))
        }
    }
}
