//! The file: a sequence as YAML, in the shape of the API's inputs.

use serde_json::{Map, Value};
use serde_saphyr::{SerializerOptions, options};

use super::SequenceError;
use super::shape::{Shapes, unknown};
use super::wrong::{Wrong, below};
use crate::domain::id::SequenceId;

/// The fields of a file.
const FIELDS: [&str; 4] = ["id", "name", "settings", "flow"];
/// The channels whose senders have numbers.
const NUMBERED: [&str; 2] = ["sms", "whatsapp"];

/// A sequence as a file has it: the whole of it, so that what is left out has its default.
#[derive(Debug, Clone, PartialEq)]
pub struct Definition {
    /// Which sequence it is; without it, the one with the same name, or a new one.
    pub id: Option<SequenceId>,
    /// What people call it.
    pub name: String,
    /// Its settings, a `SequenceSettingsInput`.
    pub settings: Map<String, Value>,
    /// Its flow, a `FlowInput` whose `senderIds` may also be addresses and names.
    pub flow: Value,
}

impl Definition {
    /// Reads a file.
    ///
    /// # Errors
    /// [`SequenceError::Yaml`] where it is no YAML, and [`SequenceError::Wrong`] with every place
    /// that has not the shape of the API's inputs.
    pub fn read(text: &str) -> Result<Self, SequenceError> {
        // Written `yes` and `no` are the ways out of a condition, and NO is Norway.
        let options = options! { strict_booleans: true };
        let value: Value = serde_saphyr::from_str_with_options(text, options)?;
        let Value::Object(mut fields) = value else {
            let message = "The file has no fields: write name, settings and flow.";
            return Err(SequenceError::Wrong(vec![Wrong::new(&[], message)]));
        };
        let mut wrong: Vec<Wrong> = fields
            .keys()
            .filter(|field| !FIELDS.contains(&field.as_str()))
            .map(|field| unknown(field, &below(&[], field), FIELDS.into_iter()))
            .collect();
        let mut take = |field: &str| fields.remove(field).unwrap_or_default();
        let (id, name) = (take("id"), take("name"));
        let (settings, mut flow) = (take("settings"), take("flow"));
        restore_numbers(&mut flow);
        let shapes = Shapes::load().map_err(|error| SequenceError::Schema(error.to_string()))?;
        for (field, wanted, value) in [
            ("id", "ID", &id),
            ("name", "String!", &name),
            ("settings", "SequenceSettingsInput", &settings),
            ("flow", "FlowInput!", &flow),
        ] {
            wrong.extend(shapes.check(wanted, value, &below(&[], field)));
        }
        let id = id.as_str().map(str::parse::<SequenceId>).transpose();
        let id = id.unwrap_or_else(|error| {
            wrong.push(Wrong::new(&below(&[], "id"), format!("{error}.")));
            None
        });
        if !wrong.is_empty() {
            return Err(SequenceError::Wrong(wrong));
        }
        Ok(Self {
            id,
            name: name.as_str().unwrap_or_default().to_owned(),
            settings: match settings {
                Value::Object(settings) => settings,
                _ => Map::new(),
            },
            flow,
        })
    }

    /// Writes a file.
    ///
    /// # Errors
    /// [`SequenceError::Write`], which nothing that was read from the API comes to.
    pub fn write(&self) -> Result<String, SequenceError> {
        let mut fields = Map::new();
        if let Some(id) = self.id {
            fields.insert("id".to_owned(), id.to_string().into());
        }
        fields.insert("name".to_owned(), self.name.clone().into());
        if !self.settings.is_empty() {
            fields.insert("settings".to_owned(), self.settings.clone().into());
        }
        fields.insert("flow".to_owned(), self.flow.clone());
        let options = SerializerOptions::default();
        Ok(serde_saphyr::to_string_with_options(&fields, options)?)
    }
}

/// A telephone number without quotation marks is a number to YAML: what it was is plain.
fn restore_numbers(flow: &mut Value) {
    let steps = flow.get_mut("steps").and_then(Value::as_array_mut);
    for step in steps.into_iter().flatten() {
        for channel in NUMBERED {
            let senders = step.pointer_mut(&format!("/action/{channel}/senderIds"));
            for sender in senders.and_then(Value::as_array_mut).into_iter().flatten() {
                if let Some(number) = sender.as_u64() {
                    *sender = format!("+{number}").into();
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::json;

    use super::*;

    fn wrong(text: &str) -> String {
        Definition::read(text).expect_err("wrong").to_string()
    }

    #[test]
    fn a_file_is_read_as_it_is_meant() {
        let read = Definition::read(
            "name: A\nsettings:\n  holidayCountries: [NO, PT]\n  holidays: [2026-12-24]\n  \
             sendWindows:\n    - { day: MONDAY, from: 09:00, to: 12:30 }\nflow:\n  steps:\n    \
             - key: a\n      action:\n        condition:\n          predicate: { opened: \"*\" }\n          \
             yes: end\n          no: b\n    - key: b\n      action:\n        sms:\n          \
             senderIds: [+351910000001]\n          variants: [{ body: Hi }]\n",
        )
        .expect("a definition");
        assert_eq!(read.settings["holidayCountries"], json!(["NO", "PT"]));
        assert_eq!(read.settings["holidays"], json!(["2026-12-24"]));
        assert_eq!(read.settings["sendWindows"][0]["from"], "09:00");
        let steps = &read.flow["steps"];
        assert_eq!(steps[0]["action"]["condition"]["yes"], "end");
        assert_eq!(steps[0]["action"]["condition"]["no"], "b");
        assert_eq!(
            steps[1]["action"]["sms"]["senderIds"],
            json!(["+351910000001"])
        );
        assert_eq!(read.id, None);
    }

    #[test]
    fn what_is_wrong_is_said_with_its_place() {
        assert!(wrong("name: [").contains("line 1"), "{}", wrong("name: ["));
        assert!(wrong("- a").contains("write name, settings and flow"));
        assert!(wrong("").contains("write name, settings and flow"));
        let many = wrong("nam: A\nid: seq_1\nflow: { steps: [] }\n");
        for part in [
            "nam: There is no field nam: did you mean name?",
            "name: There is nothing here",
            "id: ",
        ] {
            assert!(many.contains(part), "{many}");
        }
    }

    proptest! {
        #[test]
        fn what_is_written_reads_the_same(name in "\\PC{1,60}", text in "[ -~\n\tàß\u{1F600}]{0,300}", key in "[a-z0-9_-]{1,20}") {
            let definition = Definition {
                id: None,
                name,
                settings: Map::new(),
                flow: json!({ "steps": [{ "key": key, "action": { "task": { "title": text,
                    "instructions": "yes" } }, "next": "no" }] }),
            };
            let written = definition.write().expect("written");
            prop_assert_eq!(Definition::read(&written).expect("read"), definition, "{}", written);
        }
    }
}
