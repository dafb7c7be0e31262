//! The graph that a flow's steps form: who can be reached from where, and by which ways.

mod set;

use std::collections::{HashMap, HashSet, VecDeque};

pub(super) use self::set::Set;

use super::{Action, Answer, Exit, Flow, Step};

/// A flow's steps by key and by their ways out. Of steps that share a key the first one counts.
pub(super) struct Graph<'a> {
    steps: &'a [Step],
    index_of: HashMap<&'a str, usize>,
    /// For each step, the steps that its ways out lead to, each once, in the order of the ways.
    onward: Vec<Vec<usize>>,
    /// The same without the branches of splits that no lead takes.
    taken: Vec<Vec<usize>>,
}

impl<'a> Graph<'a> {
    /// The graph of a flow; ways to steps that do not exist are no part of it.
    pub(super) fn of(flow: &'a Flow) -> Self {
        let mut index_of: HashMap<&str, usize> = HashMap::new();
        for (index, step) in flow.steps.iter().enumerate() {
            index_of.entry(&step.key).or_insert(index);
        }
        let ways = |step: &Step, counts: fn(&Step, Exit<'_>) -> bool| {
            let mut onward = Vec::new();
            let exits = step.exits().into_iter();
            for exit in exits.filter(|exit| counts(step, *exit)) {
                if let Some(to) = exit.to.and_then(|to| index_of.get(to))
                    && !onward.contains(to)
                {
                    onward.push(*to);
                }
            }
            onward
        };
        let steps = flow.steps.iter();
        let onward = steps.clone().map(|step| ways(step, |_, _| true)).collect();
        let taken = steps.map(|step| ways(step, is_taken)).collect();
        Self {
            steps: &flow.steps,
            index_of,
            onward,
            taken,
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
        self.reach_by(&self.onward, from, ends)
    }

    fn reach_by(
        &self,
        ways: &[Vec<usize>],
        from: usize,
        ends: impl Fn(&Step) -> bool,
    ) -> HashSet<usize> {
        let mut reached = HashSet::from([from]);
        let mut queue = vec![from];
        while let Some(at) = queue.pop() {
            if self.steps.get(at).is_some_and(&ends) {
                continue;
            }
            for to in ways.get(at).into_iter().flatten() {
                #[cfg(test)]
                tests::count_way();
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

    /// The steps that leads do get to: of a split whose branches have weights, those without lead nowhere.
    pub(super) fn taken(&self) -> HashSet<usize> {
        if self.steps.is_empty() {
            return HashSet::new();
        }
        self.reach_by(&self.taken, 0, |_| false)
    }

    /// The steps that leads can get to without having passed an email before: an email among them may
    /// be a lead's first.
    pub(super) fn before_any_email(&self) -> HashSet<usize> {
        self.before_any(|step| matches!(step.action, Action::Email(_)))
    }

    /// The steps that leads can get to without having passed one before that `ends` holds for.
    pub(super) fn before_any(&self, ends: impl Fn(&Step) -> bool) -> HashSet<usize> {
        if self.steps.is_empty() {
            return HashSet::new();
        }
        self.reach(0, ends)
    }

    /// The steps that ways lead to from a step of a flow without circles.
    pub(super) fn behind(&self, from: usize) -> HashSet<usize> {
        let mut reached = self.reach(from, |_| false);
        reached.remove(&from);
        reached
    }

    /// For each step, the steps from which ways lead to it; a step of a circle is among its own. All of
    /// them at once, so that who asks for many pairs does not search for each.
    pub(super) fn before(&self) -> Vec<Set> {
        let mut before = vec![Set::default(); self.steps.len()];
        // Where no way leads back, each step comes after all those before it, and one round is enough.
        let order = self.in_order();
        loop {
            let mut has_grown = false;
            for from in &order {
                let Some(mut passed) = before.get(*from).cloned() else {
                    continue;
                };
                passed.insert(*from);
                for to in self.onward(*from) {
                    #[cfg(test)]
                    tests::count_way();
                    if let Some(to) = before.get_mut(*to) {
                        has_grown |= to.add(&passed);
                    }
                }
            }
            if !has_grown {
                return before;
            }
        }
    }

    /// Every step, after those that lead to it as far as no way leads back.
    pub(super) fn in_order(&self) -> Vec<usize> {
        self.walked().0
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
        self.walked().1
    }

    /// The steps in the order of [`Self::in_order`], and those of [`Self::circles`], by one walk in depth.
    fn walked(&self) -> (Vec<usize>, Vec<usize>) {
        #[derive(Clone, Copy, PartialEq)]
        enum Mark {
            New,
            Open,
            Done,
        }
        let mut marks = vec![Mark::New; self.steps.len()];
        let (mut done, mut circles) = (Vec::new(), Vec::new());
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
                    done.push(*at);
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
        done.reverse();
        (done, circles)
    }
}

/// Whether a lead may take this way out of a step. Where no branch of a split has a weight, which is a
/// mistake, each counts.
fn is_taken(step: &Step, exit: Exit<'_>) -> bool {
    let (Action::Split(split), Answer::Branch(index)) = (&step.action, exit.answer) else {
        return true;
    };
    let weight = split.branches.get(index).map_or(0, |branch| branch.weight);
    weight > 0 || split.branches.iter().all(|branch| branch.weight == 0)
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

#[cfg(test)]
pub(super) mod tests {
    use std::cell::Cell;

    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    thread_local! {
        static WAYS: Cell<u64> = const { Cell::new(0) };
    }

    pub(super) fn count_way() {
        WAYS.set(WAYS.get() + 1);
    }

    /// How many ways searches on this thread have looked along while this was done.
    pub(in crate::domain::flow) fn ways_walked(work: impl FnOnce()) -> u64 {
        let before = WAYS.get();
        work();
        WAYS.get() - before
    }

    /// A flow of conditions, by where each leads.
    fn flow(ways: &[(u8, u8)]) -> Flow {
        let step = |(index, (yes, no)): (usize, &(u8, u8))| {
            json!({ "key": index.to_string(), "action": { "kind": "condition",
                "predicate": { "replied": true }, "yes": yes.to_string(), "no": no.to_string() } })
        };
        let steps: Vec<_> = ways.iter().enumerate().map(step).collect();
        serde_json::from_value(json!({ "steps": steps })).expect("a flow")
    }

    proptest! {
        #[test]
        fn what_is_before_a_step_is_what_leads_to_it(
            ways in proptest::collection::vec((0..30_u8, 0..30_u8), 0..30)
        ) {
            let flow = flow(&ways);
            let graph = Graph::of(&flow);
            let before = graph.before();
            for (to, before) in before.iter().enumerate() {
                for from in 0..ways.len() {
                    prop_assert_eq!(before.contains(from), graph.leads_to(from, to));
                }
            }
            let mut order = graph.in_order();
            if graph.circles().is_empty() {
                let place = |step| order.iter().position(|at| *at == step);
                for from in 0..ways.len() {
                    let onward = graph.onward(from).iter();
                    prop_assert!(onward.copied().all(|to| place(from) < place(to)));
                }
            }
            order.sort_unstable();
            prop_assert_eq!(order, (0..ways.len()).collect::<Vec<_>>());
        }
    }
}
