//! How steps connect.

use std::collections::HashSet;

use super::{Findings, FlowProblemCode, Severity};
use crate::domain::flow::graph::Graph;
use crate::domain::flow::{Answer, Flow, Step};

/// Keys that are used twice, ways that lead nowhere, circles, and steps that nobody gets to.
pub(super) fn check_graph(found: &mut Findings, flow: &Flow, graph: &Graph<'_>) {
    let mut keys = HashSet::new();
    for (index, step) in flow.steps.iter().enumerate() {
        if !keys.insert(&step.key) {
            found.error(
                Some(step),
                FlowProblemCode::UnknownStep,
                &["steps", &index.to_string(), "key"],
                format!("Two steps have the key {}: give each its own.", step.key),
            );
        }
        for exit in step.exits() {
            let Some(to) = exit.to.filter(|to| graph.index_of(to).is_none()) else {
                continue;
            };
            let path = exit_path(index, step, exit.answer);
            let path: Vec<&str> = path.iter().map(String::as_str).collect();
            found.error(
                Some(step),
                FlowProblemCode::UnknownStep,
                &path,
                format!("Step {} goes to {to}, which does not exist.", step.key),
            );
        }
    }
    // Which of two steps a way leads to is not known, nor what else would be wrong with it.
    if keys.len() < flow.steps.len() {
        return;
    }
    for index in graph.circles() {
        let Some(step) = flow.steps.get(index) else {
            continue;
        };
        found.error(
            Some(step),
            FlowProblemCode::Cycle,
            &["steps", &index.to_string()],
            format!(
                "Leads would come back to step {} for ever: end the circle.",
                step.key
            ),
        );
    }
    let (reached, taken) = (graph.reachable(), graph.taken());
    for (index, step) in flow.steps.iter().enumerate() {
        let (severity, message) = if !reached.contains(&index) {
            let message = format!(
                "No lead can get to step {}: connect it or take it out.",
                step.key
            );
            (Severity::Error, message)
        } else if !taken.contains(&index) {
            let message = format!(
                "No lead gets to step {}, because a branch of weight 0 is on every way to it: give \
                 the branch a weight, or take the step out.",
                step.key
            );
            (Severity::Warning, message)
        } else {
            continue;
        };
        let code = FlowProblemCode::UnreachableStep;
        let path = ["steps", &index.to_string()];
        found.push(severity, Some(step), code, &path, message);
    }
}

fn exit_path(index: usize, step: &Step, answer: Answer) -> Vec<String> {
    let field = step.action.field();
    let index = index.to_string();
    let branch = |index: usize| index.to_string();
    let parts: Vec<String> = match answer {
        Answer::Next => vec!["next".to_owned()],
        Answer::Held(true) => ["action", field, "yes"].map(str::to_owned).to_vec(),
        Answer::Held(false) => ["action", field, "no"].map(str::to_owned).to_vec(),
        Answer::Branch(at) => vec![
            "action".to_owned(),
            field.to_owned(),
            "branches".to_owned(),
            branch(at),
            "next".to_owned(),
        ],
    };
    ["steps".to_owned(), index]
        .into_iter()
        .chain(parts)
        .collect()
}
