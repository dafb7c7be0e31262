//! Reading what a request carries: a JSON body, the parameters of a URL, or a message of a socket.

use std::collections::BTreeMap;

use async_graphql::{Name, Request, Value, Variables};
use axum::http::{HeaderMap, header};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::documents::{Documents, Extensions, NotServed};
use crate::domain::id::WorkspaceId;

/// How many values the JSON of a request has at most.
const VALUES_MAX: usize = 250_000;
/// The most operations of a batch.
pub const BATCH_MAX: usize = 10;

const NOT_A_REQUEST: &str = "The body is not a GraphQL request: query is a text, variables and \
                             extensions are objects, operationName is a text.";

/// What a request asks for; a field that is null is as if it were not there.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Asked {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    #[serde(default, deserialize_with = "object")]
    variables: Option<Variables>,
    #[serde(default, deserialize_with = "extensions")]
    extensions: Option<Extensions>,
}

/// The body of a POST.
#[derive(Debug)]
pub enum Body {
    /// One operation.
    One(Box<Asked>),
    /// Several, each with its own answer.
    Batch(Vec<Asked>),
}

/// What a GET may carry (GraphQL over HTTP, "GET").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    query: Option<String>,
    document_id: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
    extensions: Option<String>,
}

impl Asked {
    /// The request, with the document that it names.
    ///
    /// # Errors
    /// Where there is no document, or it is not served.
    pub fn request(
        self,
        workspace: WorkspaceId,
        documents: &Documents,
    ) -> Result<Request, NotServed> {
        let (id, extensions) = (self.document_id.as_deref(), self.extensions.as_ref());
        let query = documents.resolve(workspace, self.query, id, extensions)?;
        let mut request = Request::new(query);
        request.operation_name = self.operation_name;
        request.variables = self.variables.unwrap_or_default();
        Ok(request)
    }

    /// Reads a message of a socket.
    pub fn of_message(value: serde_json::Value) -> Option<Self> {
        // The reader would take a list of the fields' values as well.
        let value = Some(value).filter(serde_json::Value::is_object)?;
        // Where there is neither, the message is none; an id that is unknown is refused later.
        let asked: Self = serde_json::from_value(value).ok()?;
        let names_one = asked.document_id.is_some() || asked.extensions.is_some();
        (asked.query.is_some() || names_one).then_some(asked)
    }
}

impl TryFrom<Parameters> for Asked {
    type Error = &'static str;

    fn try_from(parameters: Parameters) -> Result<Self, &'static str> {
        let given = |text: Option<String>| text.filter(|text| !text.is_empty());
        let variables = given(parameters.variables).map(|text| read_variables(&text));
        let extensions = given(parameters.extensions).map(|text| read_extensions(&text));
        Ok(Self {
            query: parameters.query,
            document_id: parameters.document_id,
            operation_name: parameters.operation_name,
            variables: match variables {
                Some(None) => return Err("Give the parameter `variables` as a JSON object."),
                Some(variables) => variables,
                None => None,
            },
            extensions: match extensions {
                Some(None) => return Err("Give the parameter `extensions` as a JSON object."),
                Some(extensions) => extensions,
                None => None,
            },
        })
    }
}

/// Whether the body is said to be JSON in UTF-8.
pub fn is_json(headers: &HeaderMap) -> bool {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(text) = text else { return false };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next();
    media_type.as_deref() == Some("application/json")
        && parts
            .filter_map(|part| part.strip_prefix("charset=").map(str::to_owned))
            .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
}

/// Reads the body of a POST.
///
/// # Errors
/// What is wrong with it, without a word of how it is read.
pub fn body(bytes: &[u8]) -> Result<Body, &'static str> {
    let is_batch = match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => false,
        Some(b'[') => true,
        _ => {
            return Err(
                "The body is not a JSON object; it has the fields query, variables, operationName.",
            );
        }
    };
    if !has_few_values(bytes) {
        return Err("The body holds too many values; split the request.");
    }
    if !is_batch {
        let asked = serde_json::from_slice(bytes).map_err(|_| NOT_A_REQUEST)?;
        return Ok(Body::One(Box::new(asked)));
    }
    let batch: Vec<&RawValue> = serde_json::from_slice(bytes).map_err(|_| NOT_A_REQUEST)?;
    match batch.len() {
        0 => Err("The batch is empty; it has from 1 to 10 operations."),
        1..=BATCH_MAX => {
            // The reader would take a list of the fields' values as well.
            let objects = batch.into_iter().map(|one| {
                let is_object = one.get().starts_with('{');
                serde_json::from_str(one.get()).ok().filter(|_| is_object)
            });
            let batch: Option<Vec<Asked>> = objects.collect();
            batch.map(Body::Batch).ok_or(NOT_A_REQUEST)
        }
        _ => Err("A batch has at most 10 operations; send several batches."),
    }
}

/// Whether a JSON text has at most [`VALUES_MAX`] values. A value takes many times the memory of the
/// two bytes that may write it, while a file to import is one.
fn has_few_values(bytes: &[u8]) -> bool {
    let mut values = 0_usize;
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b',' | b'[' | b'{' => values += 1,
            b'"' => {
                // Up to the end of the text; what a backslash stands before does not end it.
                while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
                    let (skip, ends) = match rest.get(at) {
                        Some(b'"') => (at + 1, true),
                        _ => (at + 2, false),
                    };
                    rest = rest.get(skip..).unwrap_or_default();
                    if ends {
                        break;
                    }
                }
            }
            _ => {}
        }
        if values > VALUES_MAX {
            return false;
        }
    }
    true
}

/// Reads variables; the library's own reading takes everything that is not an object for none.
fn object<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Variables>, D::Error> {
    let map = Option::<BTreeMap<Name, Value>>::deserialize(deserializer)?;
    Ok(map.map(|map| Variables::from_value(Value::Object(map.into_iter().collect()))))
}

/// Reads extensions, which are an object.
fn extensions<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Extensions>, D::Error> {
    let map = Option::<serde_json::Map<_, _>>::deserialize(deserializer)?;
    map.map(|map| serde_json::from_value(map.into()).map_err(serde::de::Error::custom))
        .transpose()
}

fn read_extensions(text: &str) -> Option<Extensions> {
    let map: serde_json::Map<_, _> = serde_json::from_str(text).ok()?;
    serde_json::from_value(map.into()).ok()
}

fn read_variables(text: &str) -> Option<Variables> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    (value.is_object() || value.is_null()).then(|| Variables::from_json(value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_texts() {
        let many = ",".repeat(VALUES_MAX);
        assert!(has_few_values(
            format!("[{}1]", "1,".repeat(1_000)).as_bytes()
        ));
        assert!(!has_few_values(format!("[{many}]").as_bytes()));
        assert!(has_few_values(
            format!("{{\"csv\": \"{many}{many}\"}}").as_bytes()
        ));
        assert!(has_few_values(format!("[\"\\\"{many}\"]").as_bytes()));
        assert!(!has_few_values(
            format!("[\"\\\\\", \"a\"{many}]").as_bytes()
        ));
    }

    #[test]
    fn a_batch_has_bounds() {
        let batch = |n: usize| format!("[{}]", vec![r#"{"query":"{ a }"}"#; n].join(","));
        assert!(matches!(body(batch(1).as_bytes()), Ok(Body::Batch(batch)) if batch.len() == 1));
        assert!(matches!(body(batch(10).as_bytes()), Ok(Body::Batch(batch)) if batch.len() == 10));
        assert!(body(batch(11).as_bytes()).is_err() && body(batch(0).as_bytes()).is_err());
        assert!(body(b"[[]]").is_err() && body(b"[1]").is_err());
        let listed = br#"[["{ a }", null, null, null, null]]"#;
        assert!(body(listed).is_err(), "a list of values is no request");
    }

    #[test]
    fn nested_values_are_refused_and_do_no_harm() {
        let deep = format!(
            r#"{{"query":"{{a}}","variables":{{"a":{}{}}}}}"#,
            "[".repeat(100_000),
            "]".repeat(100_000)
        );
        assert!(body(deep.as_bytes()).is_err());
    }
}
