//! What of a mutation's arguments the audit keeps.
//!
//! Kept is what is on a list of types and names, and nothing else: a field that is added to the schema
//! is left out until somebody decides that it is no secret and tells nothing of a person, so that an
//! entry may be kept when the person's data is deleted.

use async_graphql::registry::{MetaType, MetaTypeName, Registry};
use async_graphql::{InputType, Name, Value};
use serde_json::{Map, Value as Json, json};

use crate::domain::audit::OBJECTS_MAX;
use crate::domain::id;

/// What stands in the place of what is not kept.
const LEFT_OUT: &str = "…";
/// How many entries of a list are kept.
const ENTRIES_MAX: usize = 20;
/// How many values are kept in all.
const VALUES_MAX: usize = 200;
/// How many characters of a text are kept.
const CHARS_MAX: usize = 100;
/// Scalars that are kept: none of them is a text of somebody's.
const SCALARS: &[&str] = &["Date", "DateTime", "Duration", "LocalTime", "TimeZone"];
/// Texts that are kept: what things of the workspace are called.
const TEXTS: &[&str] = &["name", "key", "stepKey", "from", "to"];
/// Those of them that people's names stand in.
const PERSONAL_TEXTS: &[(&str, &str)] = &[("OpportunityCreateInput", "name")];
/// What is said of people, of which nothing is kept but which fields are set.
const PERSONAL: &[&str] = &["PersonInput", "AttributeMatchInput"];

/// The arguments of a mutation without what must not be kept, and the ids in them.
pub(super) fn of(
    registry: &Registry,
    mutation: &str,
    arguments: &[(Name, Value)],
) -> (Json, Vec<String>) {
    let mut summary = Summary {
        registry,
        left: VALUES_MAX,
        ids: Vec::new(),
    };
    let field = registry
        .types
        .get("Mutation")
        .and_then(|root| root.field_by_name(mutation));
    let mut kept = Map::new();
    for (name, value) in arguments {
        if let Some(known) = field.and_then(|field| field.args.get(name.as_str())) {
            let value = summary.value(&known.ty, name, value);
            kept.insert(name.to_string(), value);
        }
    }
    (Json::Object(kept), summary.ids)
}

/// The same of one input that comes by another way than a mutation, under this name.
pub fn of_input<I: InputType>(name: &str, value: &Value) -> (Json, Vec<String>) {
    let mut registry = Registry::default();
    let of = I::create_type_info(&mut registry);
    let mut summary = Summary {
        registry: &registry,
        left: VALUES_MAX,
        ids: Vec::new(),
    };
    let kept = summary.value(&of, name, value);
    (json!({ name: kept }), summary.ids)
}

struct Summary<'a> {
    registry: &'a Registry,
    left: usize,
    ids: Vec<String>,
}

impl Summary<'_> {
    fn value(&mut self, ty: &str, name: &str, value: &Value) -> Json {
        match value {
            Value::List(entries) => self.list(ty, name, entries),
            Value::Object(fields) => {
                let of = MetaTypeName::concrete_typename(ty);
                let Some(MetaType::InputObject { input_fields, .. }) = self.registry.types.get(of)
                else {
                    return left_out();
                };
                let mut kept = Map::new();
                for (name, value) in fields {
                    let Some(known) = input_fields.get(name.as_str()) else {
                        continue;
                    };
                    let is_personal =
                        PERSONAL.contains(&of) || PERSONAL_TEXTS.contains(&(of, name.as_str()));
                    let value = if is_personal && *value != Value::Null {
                        left_out()
                    } else {
                        self.value(&known.ty, name, value)
                    };
                    kept.insert(name.to_string(), value);
                }
                Json::Object(kept)
            }
            Value::Null => Json::Null,
            Value::Boolean(_) | Value::Number(_) | Value::String(_) | Value::Enum(_) => {
                self.word(ty, name, value)
            }
            Value::Binary(_) => left_out(),
        }
    }

    fn list(&mut self, ty: &str, name: &str, entries: &[Value]) -> Json {
        let mut kept = Vec::new();
        for (index, entry) in entries.iter().enumerate() {
            if index >= ENTRIES_MAX && self.ids.len() >= OBJECTS_MAX {
                break;
            }
            let entry = self.value(ty, name, entry);
            if index < ENTRIES_MAX {
                kept.push(entry);
            }
        }
        if entries.len() > ENTRIES_MAX {
            let more = entries.len() - ENTRIES_MAX;
            kept.push(format!("{LEFT_OUT} and {more} more").into());
        }
        Json::Array(kept)
    }

    fn word(&mut self, ty: &str, name: &str, value: &Value) -> Json {
        let of = MetaTypeName::concrete_typename(ty);
        let text = match value {
            Value::String(text) => text.as_str(),
            Value::Enum(text) => text.as_str(),
            _ => "",
        };
        if of == "ID" {
            if !id::is_id(text) {
                return left_out();
            }
            if self.ids.len() < OBJECTS_MAX && !self.ids.iter().any(|known| known == text) {
                self.ids.push(text.to_owned());
            }
        }
        if self.left == 0 {
            return left_out();
        }
        self.left -= 1;
        let is_kept = match self.registry.types.get(of) {
            Some(MetaType::Enum { enum_values, .. }) => enum_values.contains_key(text),
            Some(MetaType::Scalar { .. }) => match of {
                "ID" | "Boolean" | "Int" | "Float" => true,
                "String" => TEXTS.contains(&name),
                _ => SCALARS.contains(&of),
            },
            _ => false,
        };
        match value {
            _ if !is_kept => left_out(),
            Value::Boolean(holds) => Json::from(*holds),
            Value::Number(number) => Json::Number(number.clone()),
            _ => shortened(text).into(),
        }
    }
}

fn left_out() -> Json {
    LEFT_OUT.into()
}

fn shortened(text: &str) -> String {
    let printed = text.chars().filter(|letter| !letter.is_control());
    let mut kept: String = printed.clone().take(CHARS_MAX).collect();
    if printed.count() > CHARS_MAX {
        kept.push_str(LEFT_OUT);
    }
    kept
}
