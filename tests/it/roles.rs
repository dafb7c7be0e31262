//! Who may do what: every root field of the schema, asked by everybody. A field that is new stands in no
//! list, and fails the test until it does.

use std::collections::{BTreeMap, BTreeSet};

use cadenza::app::Caller;
use serde_json::{Map, Value, json};

use crate::harness::{Harness, both};

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

    /// A request for each field of a root.
    pub fn of(&self, root: &str) -> Vec<Made> {
        let fields = self.0[root]["fields"].as_array().expect("fields");
        fields
            .iter()
            .map(|field| self.request(root, field))
            .collect()
    }

    fn request(&self, root: &str, field: &Value) -> Made {
        let name = text(&field["name"]);
        let mut variables = Map::new();
        let (mut defined, mut given) = (Vec::new(), Vec::new());
        for argument in field["args"].as_array().expect("arguments") {
            if argument["type"]["kind"] == "NON_NULL" {
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

/// A type as a document has it.
fn written(of: &Value) -> String {
    match text(&of["kind"]) {
        "NON_NULL" => format!("{}!", written(&of["ofType"])),
        "LIST" => format!("[{}]", written(&of["ofType"])),
        _ => text(&of["name"]).to_owned(),
    }
}

/// The code of the first error of an answer; empty where there is none.
pub async fn code(h: &Harness, caller: Option<&Caller>, made: &Made) -> String {
    let variables = async_graphql::Variables::from_json(made.variables.clone());
    let mut request = async_graphql::Request::new(&made.document).variables(variables);
    if let Some(caller) = caller {
        request = request.data(caller.clone());
    }
    let is_live = made.document.starts_with("subscription");
    let answer = if is_live {
        use futures_util::StreamExt;
        let mut answers = h.schema.execute_stream(request);
        let first = tokio::time::timeout(std::time::Duration::from_millis(100), answers.next());
        // Nothing has happened that it could tell: it is let in.
        let Ok(first) = first.await else {
            return String::new();
        };
        first.expect("an answer")
    } else {
        h.schema.execute(request).await
    };
    let answer = json!(answer);
    let code = answer["errors"][0]["extensions"]["code"].as_str();
    code.unwrap_or_default().to_owned()
}

/// What only an admin does.
const ADMIN: &[&str] = &[
    "senderCreate",
    "senderUpdate",
    "tokenCreate",
    "tokenRevoke",
    "tokens",
];
/// What an editor does, and no viewer.
const EDITOR: &[&str] = &[
    "bulkOperationCancel",
    "personCreate",
    "personUpdate",
    "peopleImport",
    "sequenceCreate",
    "sequenceUpdate",
    "sequencePublish",
    "sequenceDisable",
    "sequenceArchive",
    "sequenceUnarchive",
    "sequenceDuplicate",
    "leadsEnrol",
    "leadsPause",
    "leadsResume",
    "leadsRemove",
    "executionResolve",
];
/// What everybody does who has a token.
const VIEWER: &[&str] = &[
    "node",
    "nodes",
    "events",
    "bulkOperation",
    "person",
    "people",
    "sender",
    "senders",
    "sequence",
    "sequences",
    "lead",
    "leads",
    "execution",
    "executions",
    "currentToken",
    "executionEvents",
];

both!(
    every_root_field_asks_for_its_role,
    |h: Harness| async move {
        let requests = Requests::new(&h).await;
        let mut seen = BTreeSet::new();
        for root in ["Query", "Mutation", "Subscription"] {
            for made in requests.of(root) {
                let field = made.field.as_str();
                seen.insert(field.to_owned());
                let needs = match field {
                    _ if ADMIN.contains(&field) => 2,
                    _ if EDITOR.contains(&field) => 1,
                    _ => 0,
                };
                assert_eq!(
                    code(&h, None, &made).await,
                    "UNAUTHENTICATED",
                    "{}",
                    made.document
                );
                for (rank, caller) in [&h.viewer, &h.editor, &h.admin].into_iter().enumerate() {
                    let code = code(&h, Some(caller), &made).await;
                    assert_eq!(
                        code == "FORBIDDEN",
                        rank < needs,
                        "{field} for {}: {code:?}",
                        caller.role
                    );
                    // It is the role that decides, and nothing that is wrong with the request.
                    let is_served = ["", "BAD_USER_INPUT", "FORBIDDEN"].contains(&code.as_str());
                    assert!(is_served, "{}: {code}", made.document);
                }
            }
        }
        let known = [ADMIN, EDITOR, VIEWER].concat();
        let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
        assert_eq!(seen, known, "each root field is in one of the lists");
    }
);
