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

/// Asserts that publishing moved a lead as it was told to.
pub fn was_moved(old: &Edition, new: &Edition, from: &str, to: Option<&str>) {
    assert!(
        new.step(from).is_none(),
        "moved from {from}, which is there"
    );
    let wanted = match &new.removed {
        Removed::Stop => panic!("went on to {to:?} instead of stopping"),
        Removed::Map(map) => map
            .iter()
            .find(|(key, _)| key == from)
            .map(|(_, to)| to.as_str()),
        Removed::Next => None,
    };
    let wanted = wanted.or_else(|| nearest(from, old, new));
    assert_eq!(to, wanted, "moved from {from} elsewhere");
}
