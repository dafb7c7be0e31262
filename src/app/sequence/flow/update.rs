//! What a step writes into the person, as it is written.

use serde_json::{Map, Value};

use super::{Reader, shown};
use crate::app::person::{self, Change};
use crate::domain::flow::UpdateAction;

/// What is written into the person, as it is written.
#[derive(Debug, Clone)]
pub struct UpdateInput {
    /// Fields and their new values, as an object.
    pub set: Value,
}

impl Reader<'_> {
    pub(super) fn update(&mut self, base: &[&str], input: UpdateInput) -> UpdateAction {
        let path = [base, &["set"]].concat();
        let Value::Object(set) = input.set else {
            let message = "set must be an object, like {\"title\": \"CTO\"}.";
            self.invalid(message, &path);
            return UpdateAction { set: Map::new() };
        };
        if set.is_empty() {
            let message = "set changes nothing: name at least one field, or take the step out.";
            self.invalid(message, &path);
        }
        let mut change = Change::default();
        for (name, value) in &set {
            if let Err(message) = put(&mut change, name, value) {
                self.invalid(message, &[&path[..], &[name.as_str()]].concat());
            }
        }
        for problem in person::problems(change, self.zones) {
            self.invalid(problem.message, &[&path[..], &[problem.field]].concat());
        }
        UpdateAction { set }
    }
}

/// Puts a value into its field of a change.
fn put(change: &mut Change, name: &str, value: &Value) -> Result<(), String> {
    let field = match name {
        "firstName" => &mut change.first_name,
        "lastName" => &mut change.last_name,
        "company" => &mut change.company,
        "title" => &mut change.title,
        "linkedinUrl" => &mut change.linkedin_url,
        "timeZone" => &mut change.time_zone,
        "country" => &mut change.country,
        "attributes" => {
            change.attributes = Some(value.clone());
            return Ok(());
        }
        // Who somebody is and where messages go is no step's to decide.
        "email" | "phone" => {
            return Err(format!(
                "A step cannot change {name}: ask for it with personUpdate."
            ));
        }
        _ => {
            return Err(format!(
                "There is no field \"{}\" that a step can change: use firstName, lastName, company, \
                 title, linkedinUrl, timeZone, country or attributes.",
                shown(name)
            ));
        }
    };
    match value {
        Value::Null => *field = Some(String::new()),
        Value::String(text) => *field = Some(text.clone()),
        Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            return Err(format!(
                "{name} takes a text, or null, which takes the value away."
            ));
        }
    }
    Ok(())
}
