//! Conditions that have only one answer.

use super::{FlowProblemCode, Place};
use crate::domain::flow::graph::Graph;
use crate::domain::flow::{ANY_STEP, Action, ConditionAction, Flow, Predicate, Step};
use crate::domain::settings::Settings;

/// What a condition asks of messages.
#[derive(Clone, Copy, PartialEq)]
enum Touch {
    Opened,
    Clicked,
}

impl Place<'_> {
    /// What a condition asks, against the flow around it.
    pub(super) fn condition(
        &mut self,
        condition: &ConditionAction,
        flow: &Flow,
        graph: &Graph<'_>,
        settings: &Settings,
    ) {
        let mut problems = Vec::new();
        condition.predicate.visit(&mut |predicate| {
            problems.extend(self.problem_of(predicate, flow, graph, settings));
        });
        for (is_error, code, message) in problems {
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

    fn problem_of(
        &self,
        predicate: &Predicate,
        flow: &Flow,
        graph: &Graph<'_>,
        settings: &Settings,
    ) -> Option<(bool, FlowProblemCode, String)> {
        let key = &self.step.key;
        let untested = |message| Some((true, FlowProblemCode::UntestedCondition, message));
        match predicate {
            Predicate::Opened(asked) => self.touched(Touch::Opened, asked, flow, graph),
            Predicate::Clicked(asked) => self.touched(Touch::Clicked, asked, flow, graph),
            Predicate::Replied(_) if settings.stop_on_reply => Some((
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
    fn touched(
        &self,
        touch: Touch,
        asked: &str,
        flow: &Flow,
        graph: &Graph<'_>,
    ) -> Option<(bool, FlowProblemCode, String)> {
        let key = &self.step.key;
        let here = graph.index_of(key)?;
        let is_before = |step: &Step| {
            graph
                .index_of(&step.key)
                .is_some_and(|from| graph.leads_to(from, here))
        };
        let notes = |step: &Step| match &step.action {
            Action::Email(email) => match touch {
                Touch::Opened => email.track_opens,
                Touch::Clicked => email.track_clicks,
            },
            _ => false,
        };
        let (deed, setting) = match touch {
            Touch::Opened => ("an opening", "trackOpens"),
            Touch::Clicked => ("a click", "trackClicks"),
        };
        let untested = |message| Some((true, FlowProblemCode::UntestedCondition, message));
        if asked == ANY_STEP {
            let any = flow.steps.iter().any(|step| notes(step) && is_before(step));
            return if any {
                None
            } else {
                untested(format!(
                    "Step {key} asks for {deed}, but no email before it notes any: put an email \
                     with {setting} before it."
                ))
            };
        }
        let Some(step) = graph.index_of(asked).and_then(|at| flow.steps.get(at)) else {
            return Some((
                true,
                FlowProblemCode::UnknownStep,
                format!("Step {key} asks for {deed} of step {asked}, which does not exist."),
            ));
        };
        if !notes(step) {
            return untested(format!(
                "Step {key} asks for {deed} of step {asked}, which notes none: name an email with \
                 {setting}."
            ));
        }
        if !is_before(step) {
            return untested(format!(
                "Step {key} asks for {deed} of step {asked}, which no lead passes before it: name \
                 an earlier step."
            ));
        }
        None
    }
}
