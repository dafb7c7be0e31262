//! Merge tags where none are read.

use serde_json::{Map, Value};

use super::{FlowProblemCode, Place};

impl Place<'_> {
    /// A text that goes out as it is written.
    pub(super) fn literal(&mut self, field: &[&str], text: Option<&str>) {
        if text.is_some_and(has_tag) {
            self.literal_tag(field);
        }
    }

    /// Values of which every text goes out as it is written.
    pub(super) fn literals(&mut self, field: &[&str], values: Option<&Map<String, Value>>) {
        for (name, value) in values.into_iter().flatten() {
            if holds_tag(value) {
                self.literal_tag(&[field, &[name]].concat());
            }
        }
    }

    fn literal_tag(&mut self, field: &[&str]) {
        let message = format!(
            "No merge tags are read in {} (step {}): what stands in braces goes out as it is written. \
             Take it out, or put it into a text or the body of a request.",
            field.join("."),
            self.step.key
        );
        self.warning(FlowProblemCode::BrokenMergeTag, field, message);
    }
}

fn has_tag(text: &str) -> bool {
    // An address that was copied from where it is shown may have its braces escaped.
    ["{{", "{%", "%7B%7B", "%7b%7b"]
        .iter()
        .any(|open| text.contains(open))
}

fn holds_tag(value: &Value) -> bool {
    match value {
        Value::String(text) => has_tag(text),
        Value::Array(values) => values.iter().any(holds_tag),
        Value::Object(fields) => fields.values().any(holds_tag),
        Value::Null | Value::Bool(_) | Value::Number(_) => false,
    }
}
