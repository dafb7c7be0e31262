//! What an edited flow does to the leads that stand in the old one.
//!
//! A lead keeps its place by step key. Only leads whose step is gone have to move, and where they
//! go is the publisher's choice.

use std::collections::{BTreeMap, HashMap, HashSet};

use serde::{Deserialize, Serialize};
use strum::{Display, EnumString, IntoStaticStr};

use super::graph::nearest;
use super::{Action, Flow, SplitAction, Step};

/// What becomes of leads whose step is gone.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum RemovedStepPolicy {
    /// They go to the nearest step behind it in the old flow that the new one still has: fewest steps
    /// away, and of several the first in the order of the ways out.
    #[default]
    Next,
    /// They go where the map says; a step that it does not name is treated as by `Next`.
    Map(BTreeMap<String, String>),
    /// They stop, with the reason `STEP_REMOVED`.
    Stop,
}

/// Where the leads of one removed step go.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Destination {
    /// To this step of the new flow.
    Step(String),
    /// They have finished the sequence.
    Complete,
    /// They stop.
    Stop,
}

/// How a step differs between two flows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum StepChangeKind {
    /// Only the new flow has it.
    Added,
    /// Only the old flow has it.
    Removed,
    /// What it does has changed.
    Changed,
    /// Only where it leads to has changed.
    Rewired,
}

/// One difference between two flows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StepChange {
    /// The step concerned.
    pub step_key: String,
    /// How it differs.
    pub kind: StepChangeKind,
    /// Where its leads go; set for removed steps only.
    pub destination: Option<Destination>,
}

/// The differences from `old` to `new`, in the order of the new flow, removed steps last.
pub fn reconcile(old: &Flow, new: &Flow, policy: &RemovedStepPolicy) -> Vec<StepChange> {
    let before: HashMap<&str, _> = old.steps.iter().map(|s| (s.key.as_str(), s)).collect();
    let surviving: HashSet<&str> = new.steps.iter().map(|s| s.key.as_str()).collect();
    let mut changes = Vec::new();
    for step in &new.steps {
        let kind = match before.get(step.key.as_str()) {
            None => Some(StepChangeKind::Added),
            Some(was) => change_of(was, step),
        };
        changes.extend(kind.map(|kind| StepChange {
            step_key: step.key.clone(),
            kind,
            destination: None,
        }));
    }
    for step in old
        .steps
        .iter()
        .filter(|step| !surviving.contains(step.key.as_str()))
    {
        let destination = match policy {
            RemovedStepPolicy::Stop => Destination::Stop,
            RemovedStepPolicy::Map(map) => map
                .get(&step.key)
                .filter(|to| surviving.contains(to.as_str()))
                .map_or_else(
                    || next_surviving(&step.key, &before, &surviving),
                    |to| Destination::Step(to.clone()),
                ),
            RemovedStepPolicy::Next => next_surviving(&step.key, &before, &surviving),
        };
        changes.push(StepChange {
            step_key: step.key.clone(),
            kind: StepChangeKind::Removed,
            destination: Some(destination),
        });
    }
    changes
}

/// Where leads go whose step is gone, for every step that the flow does not have and that one before it
/// had: a lead whose message was on its way while its step was taken out may come back to it later.
pub type RemovedSteps = BTreeMap<String, Destination>;

/// Those of a new flow that differs so from the one before it, of which `before` tells.
pub fn removed_steps(before: &RemovedSteps, changes: &[StepChange], new: &Flow) -> RemovedSteps {
    let gone = changes.iter().filter_map(|change| {
        let destination = change.destination.clone()?;
        Some((change.step_key.clone(), destination))
    });
    let gone: RemovedSteps = gone.collect();
    let mut all = gone.clone();
    for (key, destination) in before {
        if new.steps.iter().any(|step| step.key == *key) {
            continue;
        }
        let destination = match destination {
            Destination::Step(to) => gone.get(to).unwrap_or(destination),
            Destination::Complete | Destination::Stop => destination,
        };
        all.entry(key.clone())
            .or_insert_with(|| destination.clone());
    }
    all
}

/// How a step differs from what it was, for the leads that stand there; a new name is no difference.
pub(super) fn change_of(was: &Step, step: &Step) -> Option<StepChangeKind> {
    let same_work = same_action(&was.action, &step.action)
        && was.wait == step.wait
        && was.business_days == step.business_days
        && was.on_missing_address == step.on_missing_address
        && was.on_missing_data == step.on_missing_data;
    match (same_work, was.exits() == step.exits()) {
        (true, true) => None,
        (true, false) => Some(StepChangeKind::Rewired),
        (false, _) => Some(StepChangeKind::Changed),
    }
}

/// Whether two actions do the same, wherever they lead.
fn same_action(one: &Action, other: &Action) -> bool {
    match (one, other) {
        (Action::Condition(one), Action::Condition(other)) => {
            one.predicate == other.predicate && one.within == other.within
        }
        (Action::Split(one), Action::Split(other)) => {
            let weights = |split: &SplitAction| -> Vec<u32> {
                split.branches.iter().map(|branch| branch.weight).collect()
            };
            weights(one) == weights(other)
        }
        (one, other) => one == other,
    }
}

/// Where leads of a step that is gone go on: the nearest step behind it that survives.
fn next_surviving(
    from: &str,
    before: &HashMap<&str, &Step>,
    surviving: &HashSet<&str>,
) -> Destination {
    let onward = |key: &str| -> Vec<&str> {
        let exits = before.get(key).map(|&step| step.exits());
        exits
            .into_iter()
            .flatten()
            .filter_map(|exit| exit.to)
            .collect()
    };
    let Some((from, _)) = before.get_key_value(from) else {
        return Destination::Complete;
    };
    nearest(from, onward, |key| surviving.contains(key))
        .map_or(Destination::Complete, |to| Destination::Step(to.to_owned()))
}
