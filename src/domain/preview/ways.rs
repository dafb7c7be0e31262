//! The ways that a scenario leaves open, without those that lead back, and how many paths they make.

use std::collections::HashMap;

use super::scenario::Scenario;
use crate::domain::flow::{Answer, Flow, STEPS_MAX, Step};

/// One way out of a step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Way {
    /// Which way.
    pub answer: Answer,
    /// Where it leads; `None` ends the path.
    pub to: Option<usize>,
}

/// A flow as a graph without circles. Of steps that share a key the first one counts.
pub(super) struct Ways<'a> {
    steps: &'a [Step],
    out: Vec<Vec<Way>>,
    /// How many paths lead from each step to an end; 0 for one that no lead gets to.
    paths: Vec<u64>,
}

impl<'a> Ways<'a> {
    pub(super) fn of(flow: &'a Flow, scenario: &Scenario) -> Self {
        let steps = flow.steps.get(..STEPS_MAX).unwrap_or(&flow.steps);
        let mut index_of: HashMap<&str, usize> = HashMap::new();
        for (index, step) in steps.iter().enumerate() {
            index_of.entry(&step.key).or_insert(index);
        }
        let way = |(answer, to): (Answer, Option<&str>)| Way {
            answer,
            to: to.and_then(|to| index_of.get(to).copied()),
        };
        let out = steps.iter().map(|step| {
            let exits = step.exits().into_iter();
            let open = exits.filter(|exit| scenario.leaves_open(&step.key, exit.answer));
            open.map(|exit| way((exit.answer, exit.to))).collect()
        });
        let mut ways = Self {
            steps,
            out: out.collect(),
            paths: vec![0; steps.len()],
        };
        if !steps.is_empty() {
            ways.explore(0, &mut vec![false; steps.len()]);
        }
        ways
    }

    /// Cuts the ways that lead back to a step that the walk is in the middle of, and counts the paths:
    /// those of a step are those of all that it leads to. It calls itself as deep as there are steps.
    fn explore(&mut self, index: usize, open: &mut [bool]) {
        set(open, index, true);
        let mut paths = 0_u64;
        for position in 0..self.out(index).len() {
            let to = self.out(index).get(position).and_then(|way| way.to);
            let leads_back = to.is_some_and(|to| open.get(to) == Some(&true));
            if leads_back && let Some(ways) = self.out.get_mut(index) {
                ways[position].to = None;
            }
            let onward = match to.filter(|_| !leads_back) {
                Some(to) => {
                    if self.paths_from(to) == 0 {
                        self.explore(to, open);
                    }
                    self.paths_from(to)
                }
                None => 1,
            };
            paths = paths.saturating_add(onward);
        }
        set(open, index, false);
        set(&mut self.paths, index, paths.max(1));
    }

    /// The step at this place.
    pub(super) fn step(&self, index: usize) -> Option<&'a Step> {
        self.steps.get(index)
    }

    /// The ways out of the step at this place.
    pub(super) fn out(&self, index: usize) -> &[Way] {
        self.out.get(index).map_or(&[], Vec::as_slice)
    }

    /// How many paths there are from the entry to an end, as far as can be counted.
    pub(super) fn paths(&self) -> u64 {
        self.paths_from(0)
    }

    fn paths_from(&self, index: usize) -> u64 {
        self.paths.get(index).copied().unwrap_or(0)
    }
}

fn set<T>(list: &mut [T], index: usize, value: T) {
    if let Some(entry) = list.get_mut(index) {
        *entry = value;
    }
}
