//! Previews in the API: what a sequence would do for one person.

use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Result, SimpleObject};

use super::channel::Channel;
use super::context::ContextExt;
use super::error::{bad_input, user_errors};
use super::flow::FlowProblem;
use super::problems::told;
use super::scalar::DateTime;
use super::{node, person};
use crate::app::sequence::preview::{Asked, preview};
use crate::domain::flow::{Answer, STEPS_MAX};
use crate::domain::preview as domain;
use crate::store;

/// What the contact of a preview does; what is not said is left open.
#[derive(InputObject, Debug)]
pub struct ScenarioInput {
    /// The answer of each condition and the branch of each split, by step key; the variants of messages.
    answers: Vec<ScenarioAnswerInput>,
}

/// What is said of one step.
#[derive(InputObject, Debug)]
pub struct ScenarioAnswerInput {
    /// The step.
    step_key: String,
    /// Of a condition: whether it holds. Both ways are shown, if it is not given.
    yes: Option<bool>,
    /// Of a split: which branch is taken, from 0. All are shown, if it is not given.
    branch: Option<i32>,
    /// Of a message: the key of the variant that is shown, be it enabled or not. If it is not given, the
    /// one that the person gets as a lead of the sequence; for others, the first that leads get.
    variant: Option<String>,
}

/// What a sequence would do for one person.
#[derive(SimpleObject, Debug)]
pub struct FlowPreview {
    /// The paths, in the order of the ways out of each step: yes before no, branches as listed. At
    /// most 64, and fewer where their texts are more than 4 MiB in all.
    paths: Vec<PreviewPath>,
    /// How many paths there are beside those; 2147483647 stands for as many or more.
    paths_left_out: i32,
    /// What publishing would refuse or is probably not meant, as in `Sequence.problems`.
    problems: Vec<FlowProblem>,
}

/// One way through the flow, from its first step to an end. One that would lead back to a step it has
/// passed, or to a step that does not exist, ends there.
#[derive(SimpleObject, Debug)]
pub struct PreviewPath {
    /// What the contact does on this path: every condition and split that is passed, in order.
    answers: Vec<PreviewAnswer>,
    /// The steps of the path, in order.
    entries: Vec<PreviewEntry>,
}

/// How one step is answered on a path.
#[derive(SimpleObject, Debug)]
pub struct PreviewAnswer {
    /// The step.
    step_key: String,
    /// Whether the condition holds; null for a split.
    yes: Option<bool>,
    /// The branch of the split, from 0; null for a condition.
    branch: Option<i32>,
}

/// One step of a path, as the person would get it.
#[derive(SimpleObject, Debug)]
pub struct PreviewEntry {
    /// The step.
    step_key: String,
    /// When it is due, which for messages and tasks is when a send window is open.
    at: DateTime,
    /// The channel that the step uses; null for a step that reaches nobody.
    channel: Option<Channel>,
    /// The subject of an email or the title of a task; null for other steps, and where it cannot be
    /// made. A merge tag without a value stands in brackets, as does an attribute of the sample person.
    subject: Option<String>,
    /// The HTML part of an email; null as with subject.
    html: Option<String>,
    /// The text of a message, the instructions of a task or the body of a request; null where there is
    /// none, and as with subject.
    text: Option<String>,
    /// What is wrong with the step, at most 20 problems: those of `FlowPreview.problems`, and those that
    /// it has for this person. A merge tag without a value is a MISSING_DATA, a person that the step
    /// cannot reach a MISSING_ADDRESS; both are of severity ERROR where the lead would stop.
    problems: Vec<FlowProblem>,
}

impl From<domain::PreviewPath> for PreviewPath {
    fn from(path: domain::PreviewPath) -> Self {
        Self {
            answers: path.answers.into_iter().map(Into::into).collect(),
            entries: path.entries.into_iter().map(Into::into).collect(),
        }
    }
}

impl From<(String, Answer)> for PreviewAnswer {
    fn from((step_key, answer): (String, Answer)) -> Self {
        let (yes, branch) = match answer {
            Answer::Next => (None, None),
            Answer::Held(yes) => (Some(yes), None),
            Answer::Branch(branch) => (None, i32::try_from(branch).ok()),
        };
        Self {
            step_key,
            yes,
            branch,
        }
    }
}

impl From<domain::PreviewEntry> for PreviewEntry {
    fn from(entry: domain::PreviewEntry) -> Self {
        let text = |text: Option<Arc<str>>| text.map(|text| text.to_string());
        Self {
            step_key: entry.step_key,
            at: entry.at.into(),
            channel: entry.channel.map(Into::into),
            subject: text(entry.subject).filter(|subject| !subject.is_empty()),
            html: text(entry.html),
            text: text(entry.text),
            problems: entry.problems.iter().cloned().map(Into::into).collect(),
        }
    }
}

impl From<ScenarioAnswerInput> for domain::ScenarioAnswer {
    fn from(input: ScenarioAnswerInput) -> Self {
        Self {
            step_key: input.step_key,
            yes: input.yes,
            branch: input.branch,
            variant: input.variant,
        }
    }
}

/// What the working copy of a sequence would do for a person.
///
/// # Errors
/// BAD_USER_INPUT for a person that is not there, a scenario that does not fit the flow and an instant
/// that is too far off; otherwise as the store has it.
pub(super) async fn of(
    ctx: &Context<'_>,
    sequence: &Arc<store::sequence::Sequence>,
    person_id: Option<ID>,
    scenario: Option<ScenarioInput>,
    start_at: Option<DateTime>,
) -> Result<FlowPreview> {
    let caller = ctx.caller_within()?;
    let answers = scenario.map(|scenario| scenario.answers);
    let answers = answers.unwrap_or_default();
    if answers.len() > STEPS_MAX {
        let message = format!(
            "`scenario.answers` has more than {STEPS_MAX} entries; answer each step at most once."
        );
        return Err(bad_input(message));
    }
    let person = match person_id {
        Some(id) => {
            let person = match node::maybe(&id) {
                Some(id) => person::load_seen(ctx, id).await?,
                None => None,
            };
            let missing =
                || bad_input("`personId`: there is no such person; leave it out for a sample.");
            Some(person.ok_or_else(missing)?.0)
        }
        None => None,
    };
    let asked = Asked {
        person,
        scenario: answers.into_iter().map(Into::into).collect(),
        start_at: start_at.map(|at| at.0),
    };
    match preview(ctx.services(), caller, Arc::clone(sequence), asked).await {
        Ok(answered) => Ok(FlowPreview {
            paths: answered.flow.paths.into_iter().map(Into::into).collect(),
            paths_left_out: i32::try_from(answered.flow.paths_left_out).unwrap_or(i32::MAX),
            problems: answered.problems.into_iter().map(Into::into).collect(),
        }),
        Err(error) => Err(bad_input(told(user_errors(error)?))),
    }
}
