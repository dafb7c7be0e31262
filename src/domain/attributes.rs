//! The attributes of a person.

use serde_json::{Map, Value};

/// Writes attributes over those that are known: each replaces the one of its name, and null takes that away.
pub fn write(known: &mut Map<String, Value>, said: impl IntoIterator<Item = (String, Value)>) {
    for (name, value) in said {
        if value.is_null() {
            known.shift_remove(&name);
        } else {
            known.insert(name, value);
        }
    }
}
