//! What lies ahead of a step.

use std::collections::BTreeSet;

use super::graph::Graph;
use super::{Channel, Flow};

impl Flow {
    /// The channels by which a lead at this step may yet reach its person, by the step itself too; none
    /// where the flow has no such step.
    pub fn channels_from(&self, key: &str) -> BTreeSet<Channel> {
        let graph = Graph::of(self);
        let Some(from) = graph.index_of(key) else {
            return BTreeSet::new();
        };
        let mut ahead = graph.behind(from);
        ahead.insert(from);
        let steps = ahead.into_iter().filter_map(|index| self.steps.get(index));
        let channels = steps.filter_map(|step| step.action.channel());
        channels
            .filter(|channel| !matches!(channel, Channel::Task | Channel::Webhook))
            .collect()
    }

    /// Whether some way leads from one step to another, so that who stands at the other is further.
    pub fn leads_to(&self, from: &str, to: &str) -> bool {
        let graph = Graph::of(self);
        match (graph.index_of(from), graph.index_of(to)) {
            (Some(from), Some(to)) => from != to && graph.leads_to(from, to),
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn flow() -> Flow {
        let email = json!({ "kind": "email", "senders": [], "variants": [] });
        let call = json!({ "kind": "task", "channel": "CALL", "title": "Call" });
        let work = json!({ "kind": "task", "channel": "TASK", "title": "Look" });
        let steps = json!({ "steps": [
            { "key": "a", "action": email, "next": "b" },
            { "key": "b", "action": call, "next": "c" },
            { "key": "c", "action": work },
        ] });
        serde_json::from_value(steps).expect("a flow")
    }

    #[test]
    fn what_is_ahead_is_the_step_and_those_behind_it() {
        let flow = flow();
        let from = |key| flow.channels_from(key).into_iter().collect::<Vec<_>>();
        assert_eq!(from("a"), [Channel::Email, Channel::Call]);
        assert_eq!(from("b"), [Channel::Call]);
        assert_eq!(from("c"), [], "work contacts nobody");
        assert_eq!(from("x"), []);
        assert!(flow.leads_to("a", "c") && !flow.leads_to("c", "a"));
        assert!(!flow.leads_to("a", "a") && !flow.leads_to("a", "x"));
    }
}
