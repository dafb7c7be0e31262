//! How a flow and its settings differ from earlier ones, as people read it: step by step, field by
//! field. What a difference does to leads is not asked here but in [`super::reconcile()`].

use std::collections::{HashMap, HashSet};

use serde::Serialize;
use serde_json::{Map, Value};

use super::reconcile::change_of;
use super::{Flow, Step, StepChangeKind};
use crate::domain::settings::Settings;

/// How a flow and its settings differ from earlier ones.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Difference {
    /// The step where leads enter, where that is another one; its path is that of a flow's first key.
    pub entry: Option<FieldDifference>,
    /// The steps that differ, in the order of the new flow, removed steps last.
    pub steps: Vec<StepDifference>,
    /// The settings that differ.
    pub settings: Vec<FieldDifference>,
}

/// How one step differs.
#[derive(Debug, Clone, PartialEq)]
pub struct StepDifference {
    /// The step.
    pub step_key: String,
    /// How it differs; a step that has only a new name is [`StepChangeKind::Changed`].
    pub kind: StepChangeKind,
    /// The fields that differ; none of a step that only one flow has.
    pub fields: Vec<FieldDifference>,
}

/// What a field was and is.
#[derive(Debug, Clone, PartialEq)]
pub struct FieldDifference {
    /// The field, as the API's inputs name it; a variant goes by its key.
    pub path: Vec<String>,
    /// What it was; null where there was none.
    pub before: Value,
    /// What it is; null where there is none.
    pub after: Value,
}

/// The difference from an earlier flow and its settings to later ones.
pub fn difference(old: (&Flow, &Settings), new: (&Flow, &Settings)) -> Difference {
    let first = |flow: &Flow| flow.steps.first().map(|step| step.key.clone());
    let (was, is) = (first(old.0), first(new.0));
    let entry = (was != is).then(|| FieldDifference {
        path: ["steps", "0", "key"].map(str::to_owned).into(),
        before: was.into(),
        after: is.into(),
    });
    let mut settings = Vec::new();
    compare(&mut settings, &[], &object(old.1), &object(new.1));
    Difference {
        entry,
        steps: steps(old.0, new.0),
        settings,
    }
}

fn steps(old: &Flow, new: &Flow) -> Vec<StepDifference> {
    let before: HashMap<&str, &Step> = old.steps.iter().map(|s| (s.key.as_str(), s)).collect();
    let surviving: HashSet<&str> = new.steps.iter().map(|s| s.key.as_str()).collect();
    let only = |step: &Step, kind| StepDifference {
        step_key: step.key.clone(),
        kind,
        fields: Vec::new(),
    };
    let mut found = Vec::new();
    for step in &new.steps {
        let Some(was) = before.get(step.key.as_str()) else {
            found.push(only(step, StepChangeKind::Added));
            continue;
        };
        let fields = fields(was, step);
        if !fields.is_empty() {
            let kind = change_of(was, step).unwrap_or(StepChangeKind::Changed);
            found.push(StepDifference {
                fields,
                ..only(step, kind)
            });
        }
    }
    let gone = old.steps.iter();
    let gone = gone.filter(|step| !surviving.contains(step.key.as_str()));
    found.extend(gone.map(|step| only(step, StepChangeKind::Removed)));
    found
}

/// The fields in which a step differs, as they are written: its own, then those of its action.
fn fields(was: &Step, step: &Step) -> Vec<FieldDifference> {
    let (mut old, mut new) = (object(was), object(step));
    let (old_action, new_action) = (action(&mut old), action(&mut new));
    let mut found = Vec::new();
    compare(&mut found, &[], &old, &new);
    let (from, to) = (was.action.field(), step.action.field());
    if from == to {
        in_action(&mut found, from, old_action, new_action);
    } else {
        let whole = |kind: &str, action| Value::Object(Map::from_iter([(kind.to_owned(), action)]));
        found.push(FieldDifference {
            path: vec!["action".to_owned()],
            before: whole(from, old_action.into()),
            after: whole(to, new_action.into()),
        });
    }
    found
}

/// Takes the action out of a written step, with its fields named as the API names them.
fn action(step: &mut Map<String, Value>) -> Map<String, Value> {
    let Some(Value::Object(mut action)) = step.remove("action") else {
        return Map::new();
    };
    action.remove("kind");
    if let Some(senders) = action.remove("senders") {
        action.insert("senderIds".to_owned(), senders);
    }
    action
}

fn in_action(
    found: &mut Vec<FieldDifference>,
    kind: &str,
    mut old: Map<String, Value>,
    mut new: Map<String, Value>,
) {
    let (was, is) = (old.remove("variants"), new.remove("variants"));
    compare(found, &["action", kind], &old, &new);
    let (Some(was), Some(is)) = (was, is) else {
        return;
    };
    let path = ["action", kind, "variants"];
    match (by_key(&was), by_key(&is)) {
        (Some(old), Some(new)) if keep_their_order(&old, &new) => variants(found, path, &old, &new),
        _ if was != is => found.push(at(&path, was, is)),
        _ => {}
    }
}

type Variants<'a> = Vec<(&'a str, &'a Map<String, Value>)>;

/// The variants with their keys; none where two share one.
fn by_key(variants: &Value) -> Option<Variants<'_>> {
    let listed = variants.as_array()?.iter();
    let keyed: Option<Variants<'_>> = listed
        .map(|variant| {
            let fields = variant.as_object()?;
            Some((fields.get("key")?.as_str()?, fields))
        })
        .collect();
    let mut seen = HashSet::new();
    keyed.filter(|keyed| keyed.iter().all(|(key, _)| seen.insert(*key)))
}

/// Whether the variants that both have come in one order: which lead gets which hangs on it.
fn keep_their_order(old: &Variants<'_>, new: &Variants<'_>) -> bool {
    let has = |all: &Variants<'_>, key: &str| all.iter().any(|(other, _)| *other == key);
    let kept = old.iter().filter(|(key, _)| has(new, key));
    let also = new.iter().filter(|(key, _)| has(old, key));
    kept.map(|(key, _)| key).eq(also.map(|(key, _)| key))
}

fn variants(
    found: &mut Vec<FieldDifference>,
    [action, kind, variants]: [&str; 3],
    old: &Variants<'_>,
    new: &Variants<'_>,
) {
    let of = |all: &Variants<'_>, wanted: &str| {
        let found = all.iter().find(|(key, _)| *key == wanted);
        found.map(|(_, fields)| (*fields).clone())
    };
    for (key, is) in new {
        let path = [action, kind, variants, *key];
        match of(old, key) {
            Some(was) => compare(found, &path, &was, is),
            None => found.push(at(&path, Value::Null, Value::Object((*is).clone()))),
        }
    }
    for (key, was) in old {
        if of(new, key).is_none() {
            let path = [action, kind, variants, *key];
            found.push(at(&path, Value::Object((*was).clone()), Value::Null));
        }
    }
}

/// The fields of two objects that differ, each as a whole, in the order of their names.
fn compare(
    found: &mut Vec<FieldDifference>,
    path: &[&str],
    old: &Map<String, Value>,
    new: &Map<String, Value>,
) {
    let mut names: Vec<&str> = old.keys().chain(new.keys()).map(String::as_str).collect();
    names.sort_unstable();
    names.dedup();
    for name in names {
        let value = |fields: &Map<String, Value>| fields.get(name).cloned().unwrap_or_default();
        let (was, is) = (value(old), value(new));
        if was != is {
            found.push(at(&[path, &[name]].concat(), was, is));
        }
    }
}

fn at(path: &[&str], before: Value, after: Value) -> FieldDifference {
    FieldDifference {
        path: path.iter().map(|&part| part.to_owned()).collect(),
        before,
        after,
    }
}

/// A step or settings as they are written. Neither has anything that JSON cannot say.
fn object(written: &impl Serialize) -> Map<String, Value> {
    match serde_json::to_value(written) {
        Ok(Value::Object(fields)) => fields,
        Ok(_) | Err(_) => Map::new(),
    }
}

#[cfg(test)]
mod tests;
