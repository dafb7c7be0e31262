//! How a file differs from what the API has, told before anything changes.

use std::collections::HashMap;
use std::fmt;

use serde_json::{Map, Value};

use super::SequenceError;
use super::wrong::{below, place};
use crate::app::sequence::Content;
use crate::domain::flow::{Flow, Step};

/// So much of a value is shown, in characters.
const SHOWN_CHARS_MAX: usize = 60;

/// The differences.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Whether the sequence is a new one.
    pub is_new: bool,
    /// The name, where it differs.
    pub name: Option<FieldChange>,
    /// The settings that differ.
    pub settings: Vec<FieldChange>,
    /// The steps that differ, in the order of the new flow, removed ones last.
    pub steps: Vec<StepChange>,
    /// Steps that both have stand in another order.
    pub reordered: bool,
}

/// How one step differs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepChange {
    /// Its key.
    pub key: String,
    /// How.
    pub how: How,
}

/// How a step differs.
#[derive(Debug, Clone, PartialEq)]
pub enum How {
    /// Only the file has it; what it does.
    Added(&'static str),
    /// Only the API has it.
    Removed,
    /// It does something else.
    Changed(Vec<FieldChange>),
    /// Only where it leads to is different.
    Rewired(Vec<FieldChange>),
}

/// A field with the value that it has and the one that it gets; `None` where there is none.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldChange {
    /// Where it is.
    pub path: Vec<String>,
    /// What it is.
    pub from: Option<Value>,
    /// What it becomes.
    pub to: Option<Value>,
}

impl Plan {
    /// From `before`, or from nothing, to `after`.
    ///
    /// # Errors
    /// [`SequenceError::Unreadable`], which no content comes to.
    pub fn between(before: Option<&Content>, after: &Content) -> Result<Self, SequenceError> {
        let empty = Content {
            name: String::new(),
            flow: Flow::default(),
            settings: crate::domain::settings::Settings::default(),
        };
        let is_new = before.is_none();
        let before = before.unwrap_or(&empty);
        let name = (before.name != after.name).then(|| FieldChange {
            path: vec!["name".to_owned()],
            from: (!is_new).then(|| before.name.clone().into()),
            to: Some(after.name.clone().into()),
        });
        let settings = ["settings".to_owned()];
        let shown = |settings| serde_json::to_value(settings);
        let (from, to) = (shown(&before.settings), shown(&after.settings));
        let (Ok(from), Ok(to)) = (from, to) else {
            return Err(SequenceError::Unreadable);
        };
        let settings = differences(&settings, &from, &to);
        Ok(Self {
            is_new,
            name,
            settings,
            steps: steps(&before.flow, &after.flow)?,
            reordered: order(&before.flow, &after.flow) != order(&after.flow, &before.flow),
        })
    }

    /// Whether nothing differs.
    pub fn is_empty(&self) -> bool {
        !self.is_new
            && self.name.is_none()
            && self.settings.is_empty()
            && self.steps.is_empty()
            && !self.reordered
    }
}

/// The keys of a flow's steps that the other has, too.
fn order<'a>(flow: &'a Flow, other: &Flow) -> Vec<&'a str> {
    let keys = flow.steps.iter().map(|step| step.key.as_str());
    keys.filter(|key| other.steps.iter().any(|step| step.key == *key))
        .collect()
}

fn steps(before: &Flow, after: &Flow) -> Result<Vec<StepChange>, SequenceError> {
    let was: HashMap<&str, &Step> = before
        .steps
        .iter()
        .map(|one| (one.key.as_str(), one))
        .collect();
    let mut changes = Vec::new();
    for step in &after.steps {
        let how = match was.get(step.key.as_str()) {
            None => How::Added(step.action.field()),
            Some(was) if *was == step => continue,
            Some(was) => changed(was, step)?,
        };
        changes.push(StepChange {
            key: step.key.clone(),
            how,
        });
    }
    let gone = before.steps.iter().filter(|was| {
        let mut kept = after.steps.iter();
        !kept.any(|step| step.key == was.key)
    });
    changes.extend(gone.map(|was| StepChange {
        key: was.key.clone(),
        how: How::Removed,
    }));
    Ok(changes)
}

fn changed(was: &Step, step: &Step) -> Result<How, SequenceError> {
    let same_kind = was.action.field() == step.action.field();
    let mut fields = if same_kind {
        differences(&[], &written(was)?, &written(step)?)
    } else {
        let (mut from, mut to) = (written(was)?, written(step)?);
        for (value, action) in [(&mut from, &was.action), (&mut to, &step.action)] {
            value["action"] = action.field().into();
        }
        differences(&[], &from, &to)
    };
    fields.sort_by_key(is_way);
    let rewired = fields.iter().all(is_way);
    Ok(if rewired {
        How::Rewired(fields)
    } else {
        How::Changed(fields)
    })
}

/// Whether a field says where a lead goes.
fn is_way(change: &FieldChange) -> bool {
    let path: Vec<&str> = change.path.iter().map(String::as_str).collect();
    matches!(
        path[..],
        ["next"]
            | ["action", "condition", "yes" | "no"]
            | ["action", "split", "branches", _, "next"]
    )
}

/// A step in the shape of a file.
fn written(step: &Step) -> Result<Value, SequenceError> {
    let mut value = serde_json::to_value(step).map_err(|_| SequenceError::Unreadable)?;
    let mut action = Map::new();
    for (field, value) in value["action"].as_object().into_iter().flatten() {
        match field.as_str() {
            "kind" => None,
            "senders" => action.insert("senderIds".to_owned(), value.clone()),
            _ => action.insert(field.clone(), value.clone()),
        };
    }
    value["action"] = Value::Object(Map::from_iter([(
        step.action.field().to_owned(),
        action.into(),
    )]));
    Ok(value)
}

/// The innermost fields in which two values differ; lists of different lengths, as a whole.
fn differences(path: &[String], from: &Value, to: &Value) -> Vec<FieldChange> {
    let mut found = Vec::new();
    match (from, to) {
        _ if from == to => {}
        (Value::Object(before), Value::Object(after)) => {
            for (name, from) in before {
                let path = below(path, name);
                match after.get(name) {
                    Some(to) => found.extend(differences(&path, from, to)),
                    None => found.push(FieldChange {
                        path,
                        from: Some(from.clone()),
                        to: None,
                    }),
                }
            }
            let new = after.iter().filter(|(name, _)| !before.contains_key(*name));
            found.extend(new.map(|(name, to)| FieldChange {
                path: below(path, name),
                from: None,
                to: Some(to.clone()),
            }));
        }
        (Value::Array(before), Value::Array(after)) if before.len() == after.len() => {
            for (index, (from, to)) in before.iter().zip(after).enumerate() {
                found.extend(differences(&below(path, index), from, to));
            }
        }
        _ => found.push(FieldChange {
            path: path.to_vec(),
            from: Some(from.clone()),
            to: Some(to.clone()),
        }),
    }
    found
}

impl fmt::Display for FieldChange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |value: &Option<Value>| match value {
            None => "nothing".to_owned(),
            Some(Value::String(text)) => short(&format!("{text:?}")),
            Some(value) => short(&value.to_string()),
        };
        let (from, to) = (shown(&self.from), shown(&self.to));
        write!(f, "{}: {from} -> {to}", place(&self.path))
    }
}

fn short(text: &str) -> String {
    if text.chars().count() <= SHOWN_CHARS_MAX {
        return text.to_owned();
    }
    let start: String = text.chars().take(SHOWN_CHARS_MAX - 1).collect();
    format!("{start}…")
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for change in self.name.iter().chain(&self.settings) {
            if self.is_new && change.path == ["name"] {
                continue;
            }
            writeln!(f, "  ~ {change}")?;
        }
        for StepChange { key, how } in &self.steps {
            let (sign, word, fields) = match how {
                How::Added(kind) => {
                    writeln!(f, "  + step {key} ({kind})")?;
                    continue;
                }
                How::Removed => {
                    writeln!(f, "  - step {key}")?;
                    continue;
                }
                How::Changed(fields) => ('~', "changed", fields),
                How::Rewired(fields) => ('>', "rewired", fields),
            };
            writeln!(f, "  {sign} step {key} {word}")?;
            for field in fields {
                writeln!(f, "      {field}")?;
            }
        }
        if self.reordered {
            writeln!(f, "  ~ the steps stand in another order")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn content(name: &str, flow: &Value) -> Content {
        Content {
            name: name.to_owned(),
            flow: serde_json::from_value(flow.clone()).expect("a flow"),
            settings: crate::domain::settings::Settings::default(),
        }
    }

    fn plan(before: &Content, after: &Content) -> String {
        let plan = Plan::between(Some(before), after).expect("a plan");
        assert_eq!(plan.is_empty(), before == after);
        plan.to_string()
    }

    fn task(key: &str, title: &str, next: Option<&str>) -> Value {
        json!({ "key": key, "next": next,
            "action": { "kind": "task", "channel": "TASK", "title": title } })
    }

    #[test]
    fn each_difference_is_told() {
        let before = content(
            "Old",
            &json!({ "steps": [task("a", "One", Some("b")), task("b", "Two", Some("c")),
                task("c", "Three", None)] }),
        );
        assert_eq!(plan(&before, &before), "");
        let mut after = content(
            "New",
            &json!({ "steps": [task("a", "One", Some("c")), task("c", "Drei", Some("d")),
                { "key": "d", "action": { "kind": "end" } }] }),
        );
        after.settings.max_sends_per_day = Some(9);
        after.settings.time_zone = "Europe/Lisbon".to_owned();
        assert_eq!(
            plan(&before, &after),
            "  ~ name: \"Old\" -> \"New\"\n  \
             ~ settings.timeZone: \"UTC\" -> \"Europe/Lisbon\"\n  \
             ~ settings.maxSendsPerDay: null -> 9\n  \
             > step a rewired\n      next: \"b\" -> \"c\"\n  \
             ~ step c changed\n      action.task.title: \"Three\" -> \"Drei\"\n      \
             next: nothing -> \"d\"\n  \
             + step d (end)\n  - step b\n"
        );
        let new = Plan::between(None, &before).expect("a plan");
        assert!(new.is_new && !new.is_empty());
        assert_eq!(
            new.to_string(),
            "  + step a (task)\n  + step b (task)\n  + step c (task)\n"
        );
    }

    #[test]
    fn another_kind_and_another_order_are_told() {
        let before = content(
            "A",
            &json!({ "steps": [task("a", "One", None), task("b", "Two", None)] }),
        );
        let after = content(
            "A",
            &json!({ "steps": [task("b", "Two", None),
                { "key": "a", "action": { "kind": "end" } }] }),
        );
        assert_eq!(
            plan(&before, &after),
            "  ~ step a changed\n      action: \"task\" -> \"end\"\n  \
             ~ the steps stand in another order\n"
        );
    }
}
