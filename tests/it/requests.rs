//! Requests that are made up from the schema, so that no field and no argument is forgotten.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

use crate::harness::Harness;

const SCHEMA: &str = "{ __schema { types { kind name isOneOf enumValues { name }
    fields { name type { ...T } args { name type { ...T } } } inputFields { name type { ...T } defaultValue } } } }
    fragment T on __Type { kind name ofType { kind name ofType { kind name ofType { kind name } } } }";

/// The schema, to make requests from.
pub struct Requests(BTreeMap<String, Value>);

/// A root field with the least that it can be asked with.
pub struct Made {
    pub field: String,
    pub document: String,
    pub variables: Value,
}

impl Requests {
    pub async fn new(h: &Harness) -> Self {
        let schema = h.data(SCHEMA, json!({})).await;
        let types = schema["__schema"]["types"].as_array().expect("types");
        let named = |of: &Value| (text(&of["name"]).to_owned(), of.clone());
        Self(types.iter().map(named).collect())
    }

    /// A request for each root field, with its root.
    pub fn all(&self) -> Vec<(&'static str, Made)> {
        let roots = ["Query", "Mutation", "Subscription"].into_iter();
        let of = |root| self.of(root).into_iter().map(move |made| (root, made));
        roots.flat_map(of).collect()
    }

    fn of(&self, root: &str) -> Vec<Made> {
        let fields = self.0[root]["fields"].as_array().expect("fields");
        fields
            .iter()
            .map(|field| self.request(root, field))
            .collect()
    }

    fn request(&self, root: &str, field: &Value) -> Made {
        self.request_with(root, field, None)
    }

    /// The least request, and one argument besides.
    fn request_with(&self, root: &str, field: &Value, besides: Option<&str>) -> Made {
        let name = text(&field["name"]);
        let mut variables = Map::new();
        let (mut defined, mut given) = (Vec::new(), Vec::new());
        for argument in field["args"].as_array().expect("arguments") {
            let is_asked = besides.is_some_and(|name| argument["name"] == name);
            if is_asked || argument["type"]["kind"] == "NON_NULL" {
                let name = text(&argument["name"]);
                defined.push(format!("${name}: {}", written(&argument["type"])));
                given.push(format!("{name}: ${name}"));
                variables.insert(name.to_owned(), self.value(&argument["type"]));
            }
        }
        let joined = |list: Vec<String>| match list.is_empty() {
            true => String::new(),
            false => format!("({})", list.join(", ")),
        };
        let operation = root.to_lowercase();
        let document = format!(
            "{operation} {} {{ {name}{} {{ __typename }} }}",
            joined(defined),
            joined(given)
        );
        Made {
            field: name.to_owned(),
            document,
            variables: Value::Object(variables),
        }
    }

    /// Every field of an object, but for the roots, that answers one of these objects or a page of them.
    pub fn ways_to(&self, objects: &[&str]) -> Vec<String> {
        let mut ways = Vec::new();
        for (of, object) in &self.0 {
            let is_root = ["Query", "Mutation", "Subscription"].contains(&of.as_str());
            if object["kind"] != "OBJECT" || is_root || of.starts_with("__") {
                continue;
            }
            for field in object["fields"].as_array().expect("fields") {
                let to = named(&field["type"]);
                let to = to.strip_suffix("Connection").unwrap_or(to);
                if objects.contains(&to) {
                    ways.push(format!("{of}.{}", text(&field["name"])));
                }
            }
        }
        ways
    }

    /// Every place of a value in a request for a field of this root, by the names on the way to it, with
    /// the name of its type. What holds itself is followed once.
    pub fn places(&self, root: &str, field: &str) -> Vec<(Vec<String>, String)> {
        let fields = self.0[root]["fields"].as_array().expect("fields");
        let field = fields.iter().find(|of| of["name"] == field);
        let arguments = field.expect("a field")["args"].as_array();
        let mut found = Vec::new();
        for argument in arguments.expect("arguments") {
            let path = vec![text(&argument["name"]).to_owned()];
            self.walk(&argument["type"], path, &mut Vec::new(), &mut found);
        }
        found
    }

    fn walk<'a>(
        &'a self,
        of: &'a Value,
        path: Vec<String>,
        above: &mut Vec<&'a str>,
        found: &mut Vec<(Vec<String>, String)>,
    ) {
        if !of["ofType"].is_null() {
            return self.walk(&of["ofType"], path, above, found);
        }
        let name = text(&of["name"]);
        let Some(fields) = self.0[name]["inputFields"].as_array() else {
            return found.push((path, name.to_owned()));
        };
        if above.contains(&name) {
            return;
        }
        above.push(name);
        for field in fields {
            let path = [path.clone(), vec![text(&field["name"]).to_owned()]].concat();
            self.walk(&field["type"], path, above, found);
        }
        above.pop();
    }

    /// The request for a field, with a value at a place.
    pub fn with(&self, root: &str, field: &str, path: &[String], value: Value) -> Made {
        let fields = self.0[root]["fields"].as_array().expect("fields");
        let of = fields.iter().find(|of| of["name"] == field);
        let of = of.expect("a field");
        let (first, rest) = path.split_first().expect("a place");
        let mut made = self.request_with(root, of, Some(first.as_str()));
        let arguments = of["args"].as_array().expect("arguments");
        let argument = arguments.iter().find(|of| of["name"] == first.as_str());
        let at = &mut made.variables[first.as_str()];
        self.put(&argument.expect("an argument")["type"], at, rest, value);
        made
    }

    /// Puts a value where a path leads to, from a place of this type on; what is missing on the way is made.
    fn put(&self, of: &Value, at: &mut Value, path: &[String], value: Value) {
        match text(&of["kind"]) {
            "NON_NULL" => self.put(&of["ofType"], at, path, value),
            "LIST" => {
                let mut entry = self.value(&of["ofType"]);
                self.put(&of["ofType"], &mut entry, path, value);
                *at = json!([entry]);
            }
            _ => {
                let Some((first, rest)) = path.split_first() else {
                    *at = value;
                    return;
                };
                let of = &self.0[text(&of["name"])];
                if at.is_null() || of["isOneOf"] == true {
                    *at = match of["isOneOf"] == true {
                        true => json!({}),
                        false => self.named(text(&of["name"])),
                    };
                }
                let fields = of["inputFields"].as_array().expect("fields");
                let field = fields.iter().find(|of| of["name"] == first.as_str());
                let field = &field.expect("a field")["type"];
                self.put(field, &mut at[first.as_str()], rest, value);
            }
        }
    }

    /// The least value of a type.
    fn value(&self, of: &Value) -> Value {
        match text(&of["kind"]) {
            "NON_NULL" => self.value(&of["ofType"]),
            "LIST" => json!([]),
            _ => self.named(text(&of["name"])),
        }
    }

    fn named(&self, name: &str) -> Value {
        let of = &self.0[name];
        match text(&of["kind"]) {
            "ENUM" => of["enumValues"][0]["name"].clone(),
            "INPUT_OBJECT" => {
                let fields = of["inputFields"].as_array().expect("fields");
                let is_one_of = of["isOneOf"] == true;
                let needed = fields.iter().enumerate().filter(|(place, field)| {
                    let must =
                        field["type"]["kind"] == "NON_NULL" && field["defaultValue"].is_null();
                    must || (is_one_of && *place == 0)
                });
                let value =
                    |field: &Value| (text(&field["name"]).to_owned(), self.value(&field["type"]));
                Value::Object(needed.map(|(_, field)| value(field)).collect())
            }
            _ => match name {
                "Int" => json!(1),
                "Float" => json!(1.0),
                "Boolean" => json!(true),
                "EmailAddress" => json!("eve@example.com"),
                "DateTime" => json!("2027-01-01T00:00:00Z"),
                _ => json!("x"),
            },
        }
    }
}

fn text(value: &Value) -> &str {
    value.as_str().expect("a text")
}

/// The name of a type without its lists and non-nulls.
fn named(of: &Value) -> &str {
    match of["ofType"].is_null() {
        true => text(&of["name"]),
        false => named(&of["ofType"]),
    }
}

/// A type as a document has it.
fn written(of: &Value) -> String {
    match text(&of["kind"]) {
        "NON_NULL" => format!("{}!", written(&of["ofType"])),
        "LIST" => format!("[{}]", written(&of["ofType"])),
        _ => text(&of["name"]).to_owned(),
    }
}
