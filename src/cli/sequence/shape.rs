//! Whether a value has the shape of an input of the API, told from the schema itself: what the
//! server would refuse with one message for the whole request is found here in every place.

use std::collections::HashMap;
use std::sync::OnceLock;

use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, InputObjectType, Type, TypeDefinition, TypeKind, TypeSystemDefinition,
};
use serde_json::{Map, Value};

use super::wrong::{Wrong, below};
use crate::domain::template::similar;

/// The inputs and enums of the schema, by name.
#[derive(Debug)]
pub struct Shapes(HashMap<String, TypeDefinition>);

impl Shapes {
    /// Those of this binary's schema, read once.
    ///
    /// # Errors
    /// The schema cannot be read, which is a fault of this program.
    pub fn load() -> Result<&'static Self, async_graphql::parser::Error> {
        static READ: OnceLock<Shapes> = OnceLock::new();
        match READ.get() {
            Some(read) => Ok(read),
            None => Self::read().map(|read| READ.get_or_init(|| read)),
        }
    }

    fn read() -> Result<Self, async_graphql::parser::Error> {
        let document = parse_schema(crate::graphql::sdl())?;
        let types = document.definitions.into_iter();
        let types = types.filter_map(|definition| match definition {
            TypeSystemDefinition::Type(definition) => Some(definition.node),
            TypeSystemDefinition::Schema(_) | TypeSystemDefinition::Directive(_) => None,
        });
        Ok(Self(
            types.map(|one| (one.name.node.to_string(), one)).collect(),
        ))
    }

    /// Everything in which `value` is not of the type with this name; `!` at its end forbids null.
    pub fn check(&self, type_name: &str, value: &Value, path: &[String]) -> Vec<Wrong> {
        let mut wrong = Vec::new();
        if let Some(wanted) = Type::new(type_name) {
            self.value(&wanted, value, path, &mut wrong);
        }
        wrong
    }

    fn value(&self, wanted: &Type, value: &Value, path: &[String], wrong: &mut Vec<Wrong>) {
        if value.is_null() {
            if !wanted.nullable {
                wrong.push(Wrong::new(path, "There is nothing here: write a value."));
            }
            return;
        }
        match &wanted.base {
            BaseType::List(item) => match value {
                Value::Array(list) => {
                    for (index, one) in list.iter().enumerate() {
                        self.value(item, one, &below(path, index), wrong);
                    }
                }
                _ => wrong.push(Wrong::new(
                    path,
                    "This is a list: begin each entry with a hyphen.",
                )),
            },
            BaseType::Named(name) => self.named(name, value, path, wrong),
        }
    }

    fn named(&self, name: &str, value: &Value, path: &[String], wrong: &mut Vec<Wrong>) {
        match self.0.get(name).map(|definition| &definition.kind) {
            Some(TypeKind::InputObject(input)) => match value {
                Value::Object(fields) => {
                    let one_of = self.is_one_of(name);
                    self.fields(input, one_of, fields, path, wrong);
                }
                _ => wrong.push(Wrong::new(
                    path,
                    "This has fields: write them below it, each with its name.",
                )),
            },
            Some(TypeKind::Enum(values)) => {
                let names = values.values.iter();
                let names: Vec<&str> = names.map(|one| one.node.value.node.as_str()).collect();
                if !value.as_str().is_some_and(|text| names.contains(&text)) {
                    let message = format!("{value} is none of {}.", names.join(", "));
                    wrong.push(Wrong::new(path, message));
                }
            }
            _ => wrong.extend(scalar(name, value).map(|message| Wrong::new(path, message))),
        }
    }

    fn is_one_of(&self, name: &str) -> bool {
        self.0.get(name).is_some_and(|definition| {
            let mut directives = definition.directives.iter();
            directives.any(|directive| directive.node.name.node == "oneOf")
        })
    }

    fn fields(
        &self,
        input: &InputObjectType,
        one_of: bool,
        fields: &Map<String, Value>,
        path: &[String],
        wrong: &mut Vec<Wrong>,
    ) {
        let known = || input.fields.iter().map(|field| &field.node);
        let names = || known().map(|field| field.name.node.as_str());
        for (name, value) in fields {
            let path = below(path, name);
            match known().find(|field| field.name.node == *name) {
                Some(field) if one_of => {
                    let mut needed = field.ty.node.clone();
                    needed.nullable = false;
                    self.value(&needed, value, &path, wrong);
                }
                Some(field) => self.value(&field.ty.node, value, &path, wrong),
                None => wrong.push(unknown(name, &path, names())),
            }
        }
        for field in known() {
            let needed = !field.ty.node.nullable && field.default_value.is_none();
            if needed && !fields.contains_key(field.name.node.as_str()) {
                let message = format!("{} is missing: write it.", field.name.node);
                wrong.push(Wrong::new(path, message));
            }
        }
        if one_of && fields.len() != 1 {
            let names: Vec<&str> = names().collect();
            let message = format!("Write exactly one of {}.", names.join(", "));
            wrong.push(Wrong::new(path, message));
        }
    }
}

/// A field that nobody knows.
pub(super) fn unknown<'a>(
    name: &str,
    path: &[String],
    known: impl Iterator<Item = &'a str> + Clone,
) -> Wrong {
    let message = match similar(name, known.clone()) {
        Some(better) => format!("There is no field {name}: did you mean {better}?"),
        None => {
            let known: Vec<&str> = known.collect();
            format!("There is no field {name}: use {}.", known.join(", "))
        }
    };
    Wrong::new(path, message)
}

fn scalar(name: &str, value: &Value) -> Option<String> {
    let sound = match name {
        "JSON" => true,
        "Boolean" => value.is_boolean(),
        "Int" => value
            .as_i64()
            .is_some_and(|number| i32::try_from(number).is_ok()),
        _ => value.is_string(),
    };
    let wanted = match name {
        "Boolean" => "true or false",
        "Int" => "a whole number",
        _ => "a text: put it in quotation marks",
    };
    (!sound).then(|| format!("{value} is not {wanted}."))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn found(type_name: &str, value: &Value) -> Vec<String> {
        let shapes = Shapes::load().expect("the schema is one");
        let wrong = shapes.check(type_name, value, &[]);
        wrong.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn what_has_the_shape_is_taken() {
        let flow = json!({ "steps": [{ "key": "a", "wait": null, "businessDays": true,
            "action": { "condition": { "predicate": { "all": [{ "opened": "*" },
                { "attribute": { "name": "n", "op": "GT", "value": 3 } }] }, "yes": "end" } } }] });
        assert_eq!(found("FlowInput!", &flow), Vec::<String>::new());
    }

    #[test]
    fn every_place_that_has_not_is_named() {
        let flow = json!({ "steps": [
            { "key": "a", "busineesDays": true, "action": { "end": {}, "split": { "branches": [] } } },
            { "action": { "webhook": { "url": 3 } } },
            { "key": "c", "action": { "split": { "branches": [{ "weight": 1.5 }] } }, "onMissingData": "WAIT" },
            { "key": "d", "action": null }, 7] });
        assert_eq!(
            found("FlowInput!", &flow),
            [
                "steps[0].busineesDays: There is no field busineesDays: did you mean businessDays?",
                "steps[0].action: Write exactly one of email, sms, whatsapp, task, condition, split, \
                 webhook, update, end.",
                "steps[1].action.webhook.url: 3 is not a text: put it in quotation marks.",
                "steps[1]: key is missing: write it.",
                "steps[2].action.split.branches[0].weight: 1.5 is not a whole number.",
                "steps[2].onMissingData: \"WAIT\" is none of SKIP, HOLD, STOP.",
                "steps[3].action: There is nothing here: write a value.",
                "steps[4]: This has fields: write them below it, each with its name.",
            ]
        );
        assert_eq!(
            found("FlowInput!", &Value::Null),
            ["There is nothing here: write a value."]
        );
        assert_eq!(
            found(
                "SequenceSettingsInput",
                &json!({ "holidays": "2026-12-24" })
            ),
            ["holidays: This is a list: begin each entry with a hyphen."]
        );
    }
}
