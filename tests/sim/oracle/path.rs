//! Where a lead may go from a step, by the flow as its author wrote it.

use std::collections::HashSet;

use cadenza::domain::flow::{Action, Step};

use crate::book::{Edition, Removed};

/// How a step ended for a lead.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// What kind of step it was.
    pub kind: &'static str,
    /// `yes`, `no`, or the branch.
    pub word: Option<String>,
}

/// The kinds of steps by how they are left.
pub fn kind(step: &Step) -> &'static str {
    match step.action {
        Action::Condition(_) => "condition",
        Action::Split(_) => "split",
        _ => "straight",
    }
}

/// Every way out of a step, yes before no; `None` ends the sequence.
pub fn exits(step: &Step) -> Vec<Option<&str>> {
    match &step.action {
        Action::Condition(condition) => vec![condition.yes.as_deref(), condition.no.as_deref()],
        Action::Split(split) => split
            .branches
            .iter()
            .map(|one| one.next.as_deref())
            .collect(),
        Action::End(_) => vec![None],
        _ => vec![step.next.as_deref()],
    }
}

/// The ways out that an answer allows. One that was given while the step was of another kind allows
/// every way.
fn allowed<'a>(step: &'a Step, answer: &Answer) -> Vec<Option<&'a str>> {
    let exits = exits(step);
    if kind(step) != answer.kind {
        return exits;
    }
    let index = match (answer.kind, answer.word.as_deref()) {
        ("condition", Some("yes")) => 0,
        ("condition", Some("no")) => 1,
        ("split", Some(word)) => word.parse().expect("a branch's number"),
        ("straight", _) => 0,
        other => panic!("no answer of such a step: {other:?}"),
    };
    // A branch that is no more is the first one.
    vec![exits.get(index).copied().unwrap_or(exits[0])]
}

/// The nearest step behind one in an older edition that a newer one has: fewest steps away, and of
/// several the first in the order of the ways out.
fn nearest<'a>(from: &str, old: &'a Edition, new: &Edition) -> Option<&'a str> {
    let (mut seen, mut ring) = (HashSet::new(), vec![from]);
    while !ring.is_empty() {
        let mut next = Vec::new();
        for key in ring {
            let step = old.step(key).expect("a step of the edition");
            for to in exits(step).into_iter().flatten() {
                if new.step(to).is_some() {
                    return Some(to);
                }
                if seen.insert(to) {
                    next.push(to);
                }
            }
        }
        ring = next;
    }
    None
}

/// Asserts that a lead whose step ended so may go there, in the newest of these editions.
pub fn may_go_on(editions: &[Edition], from: &str, answer: Option<&Answer>, to: Option<&str>) {
    let (new, older) = editions.split_last().expect("an edition");
    if let Some(step) = new.step(from) {
        let answer = answer.unwrap_or_else(|| panic!("went on from {from}, which was not done"));
        let allowed = allowed(step, answer);
        assert!(
            allowed.contains(&to),
            "from {from} to {to:?}, not to {allowed:?}"
        );
        return;
    }
    // It was on its way while its step was taken out.
    let ways = older
        .iter()
        .filter_map(|old| old.step(from).map(|step| (old, step)));
    let fits = ways.into_iter().any(|(old, step)| {
        exits(step).into_iter().any(|exit| match exit {
            Some(exit) if new.step(exit).is_some() => Some(exit) == to,
            Some(exit) => nearest(exit, old, new) == to,
            None => to.is_none(),
        })
    });
    assert!(fits, "from {from}, which is gone, to {to:?}");
}

/// What became of the leads of a step that was taken out.
#[derive(Debug, PartialEq, Eq)]
enum Fate {
    StandsAt(String),
    Completed,
    Stopped,
}

/// What became of the leads of a step when it was last taken out, and of where they went since, up to the
/// newest of these editions.
fn fate(editions: &[Edition], from: &str) -> Fate {
    let mut fate = None;
    for pair in editions.windows(2) {
        let [old, new] = pair else { continue };
        if old.step(from).is_some() {
            fate = Some(Fate::StandsAt(from.to_owned()));
        }
        let Some(Fate::StandsAt(key)) = &fate else {
            continue;
        };
        if new.step(key).is_some() {
            continue;
        }
        let mapped = match &new.removed {
            Removed::Stop => {
                fate = Some(Fate::Stopped);
                continue;
            }
            Removed::Map(map) => map.iter().find(|(gone, _)| gone == key),
            Removed::Next => None,
        };
        let to = mapped.map(|(_, to)| to.as_str());
        let to = to.or_else(|| nearest(key, old, new)).map(str::to_owned);
        fate = Some(to.map_or(Fate::Completed, Fate::StandsAt));
    }
    let is_there = editions.last().is_some_and(|new| new.step(from).is_some());
    assert!(!is_there, "moved from {from}, which is there");
    fate.unwrap_or_else(|| panic!("moved from {from}, which never was"))
}

/// Asserts that a lead whose step was taken out went where publishing was told to move it.
pub fn was_moved(editions: &[Edition], from: &str, to: Option<&str>) {
    let wanted = to.map_or(Fate::Completed, |to| Fate::StandsAt(to.to_owned()));
    assert_eq!(wanted, fate(editions, from), "moved from {from} elsewhere");
}

/// Asserts that publishing was told to stop those whose step it took out.
pub fn was_stopped(editions: &[Edition], from: &str) {
    assert_eq!(Fate::Stopped, fate(editions, from), "stopped at {from}");
}
