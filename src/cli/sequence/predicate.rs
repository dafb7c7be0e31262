//! What conditions ask, which lies in one another: a query names each level, and one for every way
//! in which predicates may lie in one another would be beyond every limit of the API. So each way
//! that there is, is asked for by itself, and the answers are laid over one another.

use std::collections::BTreeSet;

use serde_json::{Value, json};

use super::SequenceError;
use super::api::{Api, ApiError};
use crate::domain::id::SequenceId;

/// What is asked of a predicate by itself.
pub(super) const PLAIN: &str = "opened clicked replied has attribute { name op value }";
/// The fields that hold other predicates.
const NESTING: [&str; 3] = ["all", "any", "not"];

/// The fields by which a predicate is reached from its condition.
type Way = Vec<&'static str>;

/// Fills in the predicates that lie in others.
///
/// # Errors
/// [`SequenceError::Nested`] where they lie deeper than the API tells,
/// [`SequenceError::Changed`] where somebody edits the sequence meanwhile, [`SequenceError::Api`].
pub(super) async fn complete(
    api: &impl Api,
    id: SequenceId,
    sequence: &mut Value,
) -> Result<(), SequenceError> {
    while let Some(way) = hidden(sequence).pop_first() {
        for field in NESTING {
            let way = way.iter().copied().chain([field]);
            let asked = api
                .ask(&query(way.collect()), json!({ "id": id.to_string() }))
                .await;
            let answer = asked.map_err(|error| match error {
                ApiError::Refused { code, .. } if code == "QUERY_TOO_COMPLEX" => {
                    SequenceError::Nested
                }
                error => error.into(),
            })?;
            let found = &answer["sequence"];
            if found["revision"] != sequence["revision"] {
                return Err(SequenceError::Changed);
            }
            lay_over(sequence, found);
        }
    }
    Ok(())
}

fn query(way: Way) -> String {
    let inner = (way.iter().rev()).fold(PLAIN.to_owned(), |inner, field| {
        format!("{field} {{ {inner} }}")
    });
    format!(
        "query Predicates($id: ID!) {{ sequence(id: $id) {{ revision flow {{ steps {{ action {{
           ... on ConditionAction {{ predicate {{ {inner} }} }} }} }} }} }} }}"
    )
}

/// The ways to predicates of which only is known that they hold others.
fn hidden(sequence: &Value) -> BTreeSet<Way> {
    let mut ways = BTreeSet::new();
    let steps = sequence["flow"]["steps"].as_array().into_iter().flatten();
    for step in steps {
        walk(&step["action"]["predicate"], &mut Vec::new(), &mut ways);
    }
    ways
}

fn walk(predicate: &Value, way: &mut Way, ways: &mut BTreeSet<Way>) {
    match predicate {
        Value::Array(list) => list.iter().for_each(|one| walk(one, way, ways)),
        Value::Object(fields) => {
            if fields.values().all(Value::is_null) && !fields.contains_key(NESTING[0]) {
                ways.insert(way.clone());
            }
            for field in NESTING {
                if let Some(inner) = fields.get(field) {
                    way.push(field);
                    walk(inner, way, ways);
                    way.pop();
                }
            }
        }
        _ => {}
    }
}

/// Adds to one answer what another one of the same objects has.
fn lay_over(answer: &mut Value, other: &Value) {
    match (answer, other) {
        (Value::Object(fields), Value::Object(others)) => {
            for (name, other) in others {
                lay_over(fields.entry(name.clone()).or_insert(Value::Null), other);
            }
        }
        (Value::Array(list), Value::Array(others)) => {
            for (one, other) in list.iter_mut().zip(others) {
                lay_over(one, other);
            }
        }
        (answer @ Value::Null, other) => *answer = other.clone(),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(predicate: &Value) -> Value {
        json!({ "flow": { "steps": [{ "action": { "predicate": predicate } }, { "action": {} }] } })
    }

    #[test]
    fn what_is_hidden_is_asked_for_and_laid_over() {
        let nothing = json!({ "opened": null, "has": null });
        let mut sequence = of(&nothing);
        assert_eq!(hidden(&sequence), BTreeSet::from([vec![]]));
        assert!(query(vec!["all", "not"]).contains("predicate { all { not { opened"));
        for (field, inner) in [
            (
                "all",
                json!([{ "opened": "*" }, { "opened": null, "has": null }]),
            ),
            ("any", Value::Null),
            ("not", Value::Null),
        ] {
            lay_over(&mut sequence, &of(&json!({ field: inner })));
        }
        assert_eq!(hidden(&sequence), BTreeSet::from([vec!["all"]]));
        for field in NESTING {
            let inner = json!({ field: (field == "not").then(|| json!({ "opened": "a" })) });
            lay_over(
                &mut sequence,
                &of(&json!({ "all": [{ field: null }, inner] })),
            );
        }
        assert_eq!(hidden(&sequence), BTreeSet::new());
        let asked = &sequence["flow"]["steps"][0]["action"]["predicate"];
        assert_eq!(asked["all"][0]["opened"], "*");
        assert_eq!(asked["all"][1]["not"]["opened"], "a");
    }
}
