//! What of a record stays when its person is erased: codes and instants, never a text.

use std::collections::HashSet;

use serde_json::Value;

/// What stands in the place of a text that was erased with its person.
pub const ERASED: &str = "Erased with the person.";

/// What of an event's detail says nothing of a person.
const KEPT: &[&str] = &[
    "code",
    "reason",
    "quietUntil",
    "taskId",
    "outcome",
    "completedBy",
    "settledBy",
    "from",
    "machine",
    "message",
];

/// An event's detail without what may say something of a person; `None`, if there is nothing to take out.
pub fn forgotten(detail: &Value) -> Option<Value> {
    let Value::Object(entries) = detail else {
        return Some(Value::Null);
    };
    let kept = entries
        .iter()
        .filter(|(name, _)| KEPT.contains(&name.as_str()));
    let kept = kept.map(|(name, value)| match name.as_str() {
        "message" => (name.clone(), Value::from(ERASED)),
        _ => (name.clone(), value.clone()),
    });
    let kept = Value::Object(kept.collect());
    (kept != *detail).then_some(kept)
}

/// Takes texts out of a request that hold one of these addresses, in upper or lower case.
pub fn forget_in(request: &mut Value, addresses: &HashSet<&str>) {
    match request {
        Value::String(text) => {
            let lower = text.to_lowercase();
            if addresses
                .iter()
                .any(|address| lower.contains(&address.to_lowercase()))
            {
                *text = ERASED.to_owned();
            }
        }
        Value::Array(values) => {
            for value in values {
                forget_in(value, addresses);
            }
        }
        Value::Object(entries) => {
            for (_, value) in entries.iter_mut() {
                forget_in(value, addresses);
            }
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn codes_stay_and_texts_go() {
        let detail = json!({ "code": "HARD_BOUNCE", "message": "ana@example.com: unknown",
                             "title": "Call Ana" });
        let kept = json!({ "code": "HARD_BOUNCE", "message": ERASED });
        assert_eq!(forgotten(&detail), Some(kept.clone()));
        assert_eq!(forgotten(&kept), None);
        assert_eq!(forgotten(&json!("Ana")), Some(Value::Null));
    }

    #[test]
    fn only_texts_with_an_address_are_taken_out() {
        let mut request = json!({ "people": { "filter": { "search": "ANA@example.com",
            "company": ["Acme"] } }, "reEnrol": true });
        forget_in(&mut request, &HashSet::from(["ana@example.com"]));
        let expected = json!({ "people": { "filter": { "search": ERASED,
            "company": ["Acme"] } }, "reEnrol": true });
        assert_eq!(request, expected);
    }
}
