//! A result as it goes to a client, written once for everybody who gets it.

use std::sync::Arc;

use async_graphql::{Response, ServerError, Value};
use serde::Serialize;

use crate::graphql::error::is_request_error;

/// What goes over the wire: `data` is left out where nothing was run.
#[derive(Serialize)]
pub struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [ServerError],
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: &'a std::collections::BTreeMap<String, Value>,
}

impl<'a> From<&'a Response> for Wire<'a> {
    fn from(answer: &'a Response) -> Self {
        let data = (!is_request_error(answer)).then_some(&answer.data);
        Self {
            data,
            errors: &answer.errors,
            extensions: &answer.extensions,
        }
    }
}

/// A result of an operation, as JSON; cheap to clone.
#[derive(Debug, Clone)]
pub struct Payload {
    /// The whole result, on one line.
    pub json: Arc<str>,
    /// The errors alone, of an operation that was refused as a whole.
    pub refused: Option<Arc<str>>,
}

impl Payload {
    /// A result that was written already.
    pub fn written(json: String) -> Self {
        Self {
            json: json.into(),
            refused: None,
        }
    }
}

impl From<&Response> for Payload {
    fn from(answer: &Response) -> Self {
        Self {
            json: written(&Wire::from(answer)).into(),
            refused: is_request_error(answer).then(|| written(&answer.errors).into()),
        }
    }
}

/// An answer as JSON, on one line, for who is the only one to get it.
pub fn text(answer: &Response) -> String {
    written(&Wire::from(answer))
}

/// Nothing that goes into an answer can fail to be written: it has no maps but those with texts as
/// keys.
fn written(value: &impl Serialize) -> String {
    match serde_json::to_string(value) {
        Ok(text) => text,
        Err(error) => {
            tracing::error!(%error, "an answer could not be written");
            r#"{"errors":[{"message":"The answer could not be written.","extensions":{"code":"INTERNAL"}}]}"#.into()
        }
    }
}
