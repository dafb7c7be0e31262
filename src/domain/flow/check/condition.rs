//! Conditions that have only one answer.

use std::collections::HashSet;

use super::content::Stranger;
use super::contradiction::{leave_nobody_out, rule_each_other_out};
use super::{FlowProblemCode, Place};
use crate::domain::flow::graph::Set;
use crate::domain::flow::{ANY_STEP, ConditionAction, Predicate, WrittenMatch};
use crate::domain::person_filter::MatchOp;

/// What a condition asks of messages.
#[derive(Clone, Copy, PartialEq)]
enum Touch {
    Opened,
    Clicked,
}

impl Place<'_> {
    /// What a condition asks, against the flow around it.
    pub(super) fn condition(&mut self, condition: &ConditionAction) {
        let mut problems = Vec::new();
        condition.predicate.visit(&mut |predicate| {
            let problem = self.problem_of(predicate);
            problems.extend(problem.or_else(|| self.asked_too_soon(predicate, condition)));
            problems.extend(self.misspelled(predicate));
        });
        let mut told = HashSet::new();
        for (is_error, code, message) in problems {
            if !told.insert(message.clone()) {
                continue;
            }
            if is_error {
                self.error(code, &["predicate"], message);
            } else {
                self.warning(code, &["predicate"], message);
            }
        }
        if condition.yes == condition.no {
            let message = format!(
                "Both answers of step {} lead to the same step: give them different ones.",
                self.step.key
            );
            self.warning(FlowProblemCode::UntestedCondition, &["yes"], message);
        }
    }

    fn problem_of(&self, predicate: &Predicate) -> Option<(bool, FlowProblemCode, String)> {
        let key = &self.step.key;
        let untested = |message| Some((true, FlowProblemCode::UntestedCondition, message));
        // It runs as it says, though surely nobody means it.
        let one_sided = |message| Some((false, FlowProblemCode::UntestedCondition, message));
        match predicate {
            Predicate::Opened(asked) => self.touched(Touch::Opened, asked),
            Predicate::Clicked(asked) => self.touched(Touch::Clicked, asked),
            Predicate::Replied(_) if self.whole.settings.stop_on_reply => Some((
                false,
                FlowProblemCode::UntestedCondition,
                format!(
                    "Step {key} asks for a reply, but a reply stops the lead: switch off \
                     stopOnReply, or do not ask."
                ),
            )),
            Predicate::Any(any) if any.is_empty() => untested(format!(
                "Step {key} asks for any of nothing, which never holds: name at least one predicate."
            )),
            Predicate::All(all) if all.is_empty() => untested(format!(
                "Step {key} asks for all of nothing, which always holds: name at least one predicate."
            )),
            Predicate::All(all) if rule_each_other_out(all) => one_sided(format!(
                "Step {key} asks for predicates that cannot hold together, so that they never do: \
                 take out the one that is not meant."
            )),
            Predicate::Any(any) if leave_nobody_out(any) => one_sided(format!(
                "Step {key} asks for any of a predicate and its opposite, which always holds: take \
                 out the one that is not meant."
            )),
            Predicate::Attribute(written) if is_empty_list(written) => untested(format!(
                "Step {key} asks whether {} is one of no values, which never holds: name at least one.",
                written.name
            )),
            Predicate::Has(fields) if fields.is_empty() => untested(format!(
                "Step {key} asks for no field, which everybody has: name at least one."
            )),
            Predicate::Replied(_)
            | Predicate::Has(_)
            | Predicate::Attribute(_)
            | Predicate::All(_)
            | Predicate::Any(_)
            | Predicate::Not(_) => None,
        }
    }

    /// An opening or a click can only come from an email that was sent before and notes it.
    fn touched(&self, touch: Touch, asked: &str) -> Option<(bool, FlowProblemCode, String)> {
        let key = &self.step.key;
        let before = self.whole.before.get(self.at)?;
        let notes = match touch {
            Touch::Opened => &self.whole.opens,
            Touch::Clicked => &self.whole.clicks,
        };
        let (deed, setting) = match touch {
            Touch::Opened => ("an opening", "trackOpens"),
            Touch::Clicked => ("a click", "trackClicks"),
        };
        let untested = |message| Some((true, FlowProblemCode::UntestedCondition, message));
        if asked == ANY_STEP {
            return if notes.meets(before) {
                None
            } else {
                untested(format!(
                    "Step {key} asks for {deed}, but no email before it notes any: put an email \
                     with {setting} before it."
                ))
            };
        }
        let Some(step) = self.whole.graph.index_of(asked) else {
            return Some((
                true,
                FlowProblemCode::UnknownStep,
                format!("Step {key} asks for {deed} of step {asked}, which does not exist."),
            ));
        };
        if !notes.contains(step) {
            return untested(format!(
                "Step {key} asks for {deed} of step {asked}, which notes none: name an email with \
                 {setting}."
            ));
        }
        if !before.contains(step) {
            return untested(format!(
                "Step {key} asks for {deed} of step {asked}, which no lead passes before it: name \
                 an earlier step."
            ));
        }
        None
    }

    /// An opening or a click that is asked for once, in the moment in which the email leaves.
    fn asked_too_soon(
        &self,
        predicate: &Predicate,
        condition: &ConditionAction,
    ) -> Option<(bool, FlowProblemCode, String)> {
        let (notes, asked, deed) = match predicate {
            Predicate::Opened(asked) => (&self.whole.opens, asked, "an opening"),
            Predicate::Clicked(asked) => (&self.whole.clicks, asked, "a click"),
            _ => return None,
        };
        if !condition.within.is_zero() {
            return None;
        }
        let asked = if asked == ANY_STEP {
            notes.clone()
        } else {
            Set::from_iter(self.whole.graph.index_of(asked))
        };
        let long_before = self.whole.long_before.get(self.at)?;
        if asked.meets(long_before) {
            return None;
        }
        let message = format!(
            "Step {} asks for {deed} in the moment in which the email leaves, so that hardly anybody \
             has done it: give `within` the time that it may take, or let the step wait.",
            self.step.key
        );
        Some((false, FlowProblemCode::UntestedCondition, message))
    }

    /// An attribute that nobody has.
    fn misspelled(&mut self, predicate: &Predicate) -> Option<(bool, FlowProblemCode, String)> {
        let Predicate::Attribute(written) = predicate else {
            return None;
        };
        let Stranger { who, better } = self.stranger(&written.name)?;
        let (key, name) = (&self.step.key, &written.name);
        let message = match better {
            Some(better) => format!(
                "{who} has the attribute {name} that step {key} asks for: did you mean {better}?"
            ),
            None => format!(
                "{who} has the attribute {name} that step {key} asks for: import it, or ask for \
                 another."
            ),
        };
        Some((false, FlowProblemCode::UntestedCondition, message))
    }
}

fn is_empty_list(written: &WrittenMatch) -> bool {
    written.op == MatchOp::In && written.value.as_array().is_some_and(Vec::is_empty)
}
