//! What publishing does beside the edit: how the sequence differs already from the version that ran last,
//! and where leads go whose step is gone.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde_json::{Value, json};

use super::SequenceError;
use super::api::Api;
use super::wrong::{place, texts};
use crate::domain::flow::{
    self, Destination, Flow, FlowProblem, RemovedStepPolicy, StepChangeKind,
};
use crate::domain::id::SequenceId;

/// What publishing does to what runs, or ran last.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Publishing {
    /// The number of the version that runs, or ran last.
    pub version: i64,
    /// How the sequence differs from that version before the file is applied: a line for each step or
    /// setting.
    pub edited: Vec<String>,
    /// The steps of that version that the file has no more.
    pub moves: Vec<Move>,
}

/// What becomes of the leads of a step that is gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Move {
    /// The step.
    pub step_key: String,
    /// How many unfinished leads stand there.
    pub leads: i64,
    /// Where they go.
    pub to: Destination,
}

/// The sequence as it stands beside its published version. Of that version's flow only what is needed to
/// say where its steps lead.
const QUERY: &str = "query SequencePublishing($id: ID!) { sequence(id: $id) {
    problems { severity code message stepKey path }
    draftChanges { entry { after } settings { path }
      steps { stepKey change fields { path } } }
    publishedVersion { number flow { steps { key next action { __typename
      ... on ConditionAction { yes no }
      ... on SplitAction { branches { weight next } } } } } } } }";

const STANDING: &str = "query LeadsAtStep($filter: LeadFilter!) {
    leads(filter: $filter, first: 1) { totalCount } }";

/// The sequence as it stands beside its published version, as the API tells it.
#[derive(Debug)]
pub(super) struct Standing(Value);

impl Standing {
    /// Asks the API.
    pub(super) async fn ask(api: &impl Api, id: SequenceId) -> Result<Self, SequenceError> {
        let mut answer = api.ask(QUERY, json!({ "id": id.to_string() })).await?;
        match answer["sequence"].take() {
            Value::Null => Err(SequenceError::Missing(id)),
            found => Ok(Self(found)),
        }
    }

    /// The problems of the working copy, which the server knows better than a file: it has the attributes
    /// of people.
    pub(super) fn problems(&self) -> Vec<FlowProblem> {
        problems(&self.0)
    }

    /// What publishing does once the flow is `after`; `None` where nothing was ever published.
    pub(super) async fn publishing(
        &self,
        api: &impl Api,
        id: SequenceId,
        after: &Flow,
        policy: &RemovedStepPolicy,
    ) -> Result<Option<Publishing>, SequenceError> {
        let version = &self.0["publishedVersion"];
        let Some(number) = version["number"].as_i64() else {
            return Ok(None);
        };
        let steps = version["flow"]["steps"].as_array();
        let steps: Vec<Value> = steps.into_iter().flatten().map(outline).collect();
        let before: Flow = serde_json::from_value(json!({ "steps": steps }))
            .map_err(|_| SequenceError::Unreadable)?;
        let mut moves = Vec::new();
        for change in flow::reconcile(&before, after, policy) {
            let Some(to) = change.destination else {
                continue;
            };
            let filter = json!({ "sequenceIds": [id.to_string()], "stepKeys": [change.step_key],
                "status": ["PENDING", "IN_PROGRESS", "PAUSED"] });
            let answer = api.ask(STANDING, json!({ "filter": filter })).await?;
            moves.push(Move {
                step_key: change.step_key,
                leads: answer["leads"]["totalCount"].as_i64().unwrap_or_default(),
                to,
            });
        }
        Ok(Some(Publishing {
            version: number,
            edited: edited(&self.0["draftChanges"]),
            moves,
        }))
    }
}

/// The problems of a sequence in an answer of the API; those that this program does not know are left
/// out.
pub(super) fn problems(sequence: &Value) -> Vec<FlowProblem> {
    let list = sequence["problems"].as_array().into_iter().flatten();
    let read = |one: &Value| {
        Some(FlowProblem {
            severity: one["severity"].as_str()?.parse().ok()?,
            code: one["code"].as_str()?.parse().ok()?,
            message: one["message"].as_str()?.to_owned(),
            step_key: one["stepKey"].as_str().map(str::to_owned),
            path: texts(&one["path"]),
        })
    };
    list.filter_map(read).collect()
}

/// A step that leads where one of the API does, whatever it does.
fn outline(step: &Value) -> Value {
    let action = &step["action"];
    let does = match action["__typename"].as_str() {
        Some("ConditionAction") => json!({ "kind": "condition", "predicate": { "replied": true },
            "within": "PT0S", "yes": action["yes"], "no": action["no"] }),
        Some("SplitAction") => json!({ "kind": "split", "branches": action["branches"] }),
        Some("EndAction") => json!({ "kind": "end" }),
        _ => json!({ "kind": "update", "set": {} }),
    };
    json!({ "key": step["key"], "next": step["next"], "action": does })
}

fn edited(changes: &Value) -> Vec<String> {
    let list = |field: &str| changes[field].as_array().into_iter().flatten();
    let settings = list("settings").map(|one| format!("settings.{}", place(&texts(&one["path"]))));
    let entry = changes["entry"]["after"].as_str();
    let entry = entry.map(|key| format!("leads enter at {key}"));
    let steps = list("steps").map(|one| {
        let fields = one["fields"].as_array().into_iter().flatten();
        let fields: Vec<String> = fields.map(|field| place(&texts(&field["path"]))).collect();
        let kind = one["change"].as_str().unwrap_or_default();
        let word = match kind.parse() {
            Ok(StepChangeKind::Added) => "added",
            Ok(StepChangeKind::Removed) => "removed",
            Ok(StepChangeKind::Rewired) => "rewired",
            Ok(StepChangeKind::Changed) | Err(_) => "changed",
        };
        let key = one["stepKey"].as_str().unwrap_or_default();
        match fields.is_empty() || kind == "ADDED" {
            true => format!("step {key} {word}"),
            false => format!("step {key} {word}: {}", fields.join(", ")),
        }
    });
    settings.chain(entry).chain(steps).collect()
}

impl fmt::Display for Publishing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.edited.is_empty() {
            writeln!(
                f,
                "  edited since version {}, which ran last:",
                self.version
            )?;
        }
        for line in &self.edited {
            writeln!(f, "    {line}")?;
        }
        for Move {
            step_key,
            leads,
            to,
        } in &self.moves
        {
            let what = match to {
                Destination::Step(to) => format!("go to {to}"),
                Destination::Complete => "have finished the sequence".to_owned(),
                Destination::Stop => "stop".to_owned(),
            };
            writeln!(
                f,
                "  publishing takes away step {step_key}: leads that stand there ({leads}) {what}, once \
                 no message is on its way to them"
            )?;
        }
        Ok(())
    }
}

/// What becomes of leads whose step is gone, as it is written on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RemovedStep(pub RemovedStepPolicy);

impl FromStr for RemovedStep {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let policy = match text {
            "next" => RemovedStepPolicy::Next,
            "stop" => RemovedStepPolicy::Stop,
            moves => RemovedStepPolicy::Map(moves.split(',').map(pair).collect::<Result<_, _>>()?),
        };
        Ok(Self(policy))
    }
}

fn pair(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((from, to)) if !from.trim().is_empty() && !to.trim().is_empty() => {
            Ok((from.trim().to_owned(), to.trim().to_owned()))
        }
        Some(_) | None => Err(format!(
            "\"{text}\" is no way for leads: write next, stop, or OLD=NEW for each step that is gone"
        )),
    }
}

/// The policy as the API takes it.
pub(super) fn input(policy: &RemovedStepPolicy) -> Value {
    match policy {
        RemovedStepPolicy::Next => json!({ "next": true }),
        RemovedStepPolicy::Stop => json!({ "stop": true }),
        RemovedStepPolicy::Map(map) => {
            let moves = map
                .iter()
                .map(|(from, to)| json!({ "from": from, "to": to }));
            json!({ "map": moves.collect::<Vec<_>>() })
        }
    }
}

/// The entry of a map that publishing would refuse, and why.
pub(super) fn wrong_move(
    policy: &RemovedStepPolicy,
    after: &Flow,
    moves: &[Move],
) -> Option<String> {
    let empty = BTreeMap::new();
    let map = match policy {
        RemovedStepPolicy::Map(map) => map,
        RemovedStepPolicy::Next | RemovedStepPolicy::Stop => &empty,
    };
    map.iter().find_map(|(from, to)| {
        if !moves.iter().any(|one| one.step_key == *from) {
            return Some(format!(
                "no step {from} is taken away: leave it out of --removed-step"
            ));
        }
        let has = after.steps.iter().any(|step| step.key == *to);
        (!has).then(|| format!("the file has no step {to}: correct --removed-step"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_policy_is_read_and_written() {
        let read = |text: &str| text.parse::<RemovedStep>().map(|policy| input(&policy.0));
        assert_eq!(read("next"), Ok(json!({ "next": true })));
        assert_eq!(read("stop"), Ok(json!({ "stop": true })));
        let map = json!({ "map": [{ "from": "a", "to": "b" }, { "from": "c", "to": "b" }] });
        assert_eq!(read("c=b, a=b"), Ok(map));
        for wrong in ["", "nxt", "a=", "=b", "a=b,"] {
            assert!(
                read(wrong).is_err_and(|told| told.contains("OLD=NEW")),
                "{wrong}"
            );
        }
    }
}
