//! Two records of one person become one.

use serde_json::{Map, Value};

/// How far a lead is, beside its step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Whether its step is behind that of the other lead.
    pub is_ahead: bool,
    /// How many messages it got.
    pub messages_sent: i32,
    /// When it was enrolled, in milliseconds.
    pub enrolled_at: i64,
}

/// Whether the first of two leads of one sequence goes on, and the other stops: the one that is further in
/// the flow; of two at the same step, or on ways apart, the one that got more messages; else the one that
/// was enrolled first.
pub fn first_goes_on(first: Progress, other: Progress) -> bool {
    if first.is_ahead != other.is_ahead {
        return first.is_ahead;
    }
    if first.messages_sent != other.messages_sent {
        return first.messages_sent > other.messages_sent;
    }
    first.enrolled_at <= other.enrolled_at
}

/// The attributes of both: where both have one of a name, the survivor's stays.
pub fn attributes(survivor: &Value, other: &Value) -> Value {
    let entries = |value: &Value| match value {
        Value::Object(entries) => entries.clone(),
        _ => Map::new(),
    };
    let mut all = entries(survivor);
    for (name, value) in entries(other) {
        all.entry(name).or_insert(value);
    }
    Value::Object(all)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn lead(is_ahead: bool, messages_sent: i32, enrolled_at: i64) -> Progress {
        Progress {
            is_ahead,
            messages_sent,
            enrolled_at,
        }
    }

    #[test]
    fn the_furthest_goes_on() {
        for (goes_on, stops) in [
            (lead(true, 0, 9), lead(false, 5, 1)),
            (lead(false, 2, 9), lead(false, 1, 1)),
            (lead(false, 1, 1), lead(false, 1, 9)),
        ] {
            assert!(first_goes_on(goes_on, stops), "{goes_on:?}");
            assert!(!first_goes_on(stops, goes_on), "{goes_on:?}");
        }
    }

    #[test]
    fn the_survivors_attributes_stay() {
        let merged = attributes(&json!({ "a": 1 }), &json!({ "a": 2, "b": 3 }));
        assert_eq!(merged, json!({ "a": 1, "b": 3 }));
    }
}
