//! The graph that a flow's steps form: who can be reached from where, and by which ways.

use std::collections::{HashMap, HashSet, VecDeque};

use super::{Action, Flow, Step};

/// A flow's steps by key and by their ways out. Of steps that share a key the first one counts.
pub(super) struct Graph<'a> {
    steps: &'a [Step],
    index_of: HashMap<&'a str, usize>,
    /// For each step, the steps that its ways out lead to, each once, in the order of the ways.
    onward: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    /// The graph of a flow; ways to steps that do not exist are no part of it.
    pub(super) fn of(flow: &'a Flow) -> Self {
        let mut index_of: HashMap<&str, usize> = HashMap::new();
        for (index, step) in flow.steps.iter().enumerate() {
            index_of.entry(&step.key).or_insert(index);
        }
        let onward = flow
            .steps
            .iter()
            .map(|step| {
                let mut onward = Vec::new();
                for exit in step.exits() {
                    if let Some(to) = exit.to.and_then(|to| index_of.get(to))
                        && !onward.contains(to)
                    {
                        onward.push(*to);
                    }
                }
                onward
            })
            .collect();
        Self {
            steps: &flow.steps,
            index_of,
            onward,
        }
    }

    /// Where a step with this key stands.
    pub(super) fn index_of(&self, key: &str) -> Option<usize> {
        self.index_of.get(key).copied()
    }

    /// The steps that a step leads to directly.
    pub(super) fn onward(&self, index: usize) -> &[usize] {
        self.onward.get(index).map_or(&[], Vec::as_slice)
    }

    /// The steps that can be reached from `from`, itself among them, without going on from steps that
    /// `ends` holds for.
    fn reach(&self, from: usize, ends: impl Fn(&Step) -> bool) -> HashSet<usize> {
        let mut reached = HashSet::from([from]);
        let mut queue = vec![from];
        while let Some(at) = queue.pop() {
            if self.steps.get(at).is_some_and(&ends) {
                continue;
            }
            for to in self.onward(at) {
                if reached.insert(*to) {
                    queue.push(*to);
                }
            }
        }
        reached
    }

    /// The steps that leads can get to.
    pub(super) fn reachable(&self) -> HashSet<usize> {
        if self.steps.is_empty() {
            return HashSet::new();
        }
        self.reach(0, |_| false)
    }

    /// The steps that leads can get to without having passed an email before: an email among them may
    /// be a lead's first.
    pub(super) fn before_any_email(&self) -> HashSet<usize> {
        if self.steps.is_empty() {
            return HashSet::new();
        }
        self.reach(0, |step| matches!(step.action, Action::Email(_)))
    }

    /// The steps that ways lead to from a step of a flow without circles.
    pub(super) fn behind(&self, from: usize) -> HashSet<usize> {
        let mut reached = self.reach(from, |_| false);
        reached.remove(&from);
        reached
    }

    /// Whether some way leads from one step to another.
    pub(super) fn leads_to(&self, from: usize, to: usize) -> bool {
        self.onward(from)
            .iter()
            .any(|next| self.reach(*next, |_| false).contains(&to))
    }

    /// The steps at which a walk along the ways out comes back to a step that it is in the middle of,
    /// each once, in the order of the flow.
    pub(super) fn circles(&self) -> Vec<usize> {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.steps.len()];
        let mut circles = Vec::new();
        for start in 0..self.steps.len() {
            if marks.get(start) != Some(&Mark::New) {
                continue;
            }
            // Each entry: a step and how many of its ways have been walked.
            let mut walk = vec![(start, 0)];
            if let Some(mark) = marks.get_mut(start) {
                *mark = Mark::Open;
            }
            while let Some((at, walked)) = walk.last_mut() {
                let next = self.onward(*at).get(*walked).copied();
                *walked += 1;
                let Some(next) = next else {
                    if let Some(mark) = marks.get_mut(*at) {
                        *mark = Mark::Done;
                    }
                    walk.pop();
                    continue;
                };
                match marks.get_mut(next) {
                    Some(mark @ Mark::New) => {
                        *mark = Mark::Open;
                        walk.push((next, 0));
                    }
                    Some(Mark::Open) => circles.push(next),
                    Some(Mark::Done) | None => {}
                }
            }
        }
        circles.sort_unstable();
        circles.dedup();
        circles
    }
}

/// The nearest step behind `from` that `survives`: fewest steps away, and of several the first in the
/// order of the ways out (yes before no, branches as listed). `onward` answers where a step leads.
/// `None` where every way ends the sequence first.
pub(super) fn nearest<'a>(
    from: &'a str,
    onward: impl Fn(&str) -> Vec<&'a str>,
    survives: impl Fn(&str) -> bool,
) -> Option<&'a str> {
    let mut seen = HashSet::from([from]);
    let mut queue = VecDeque::from([from]);
    while let Some(at) = queue.pop_front() {
        for to in onward(at) {
            if survives(to) {
                return Some(to);
            }
            if seen.insert(to) {
                queue.push_back(to);
            }
        }
    }
    None
}
