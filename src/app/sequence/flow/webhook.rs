//! A request to another program, as it is written.

use serde_json::{Map, Value};

use super::{Reader, shown};
use crate::domain::flow::WebhookAction;
use crate::domain::http_header::{HEADERS_MAX, check_header};
use crate::domain::http_url::HttpUrl;
use crate::domain::template::MAX_SOURCE_BYTES;

/// A request to another program, as it is written.
#[derive(Debug, Clone)]
pub struct WebhookInput {
    /// Where it goes.
    pub url: String,
    /// Its headers, as an object of texts.
    pub headers: Option<Value>,
    /// Its body.
    pub body: Option<String>,
}

impl Reader<'_> {
    pub(super) fn webhook(&mut self, base: &[&str], input: WebhookInput) -> WebhookAction {
        let at = |field| [base, &[field]].concat();
        if let Err(message) = sound_url(&input.url) {
            self.invalid(message, &at("url"));
        }
        if let Some(body) = &input.body {
            self.text(body, MAX_SOURCE_BYTES, &at("body"));
        }
        WebhookAction {
            url: input.url,
            headers: self.headers(&at("headers"), input.headers.unwrap_or_default()),
            body: input.body,
        }
    }

    fn headers(&mut self, path: &[&str], written: Value) -> Option<Map<String, Value>> {
        let headers = match written {
            Value::Null => return None,
            Value::Object(headers) => headers,
            _ => {
                let message =
                    "headers must be an object of texts, like {\"Authorization\": \"Bearer x\"}.";
                self.invalid(message, path);
                return None;
            }
        };
        self.limit(headers.len(), HEADERS_MAX, "headers", path);
        let mut seen: Vec<String> = Vec::new();
        for (name, value) in headers.iter().take(HEADERS_MAX) {
            let path = [path, &[name.as_str()]].concat();
            let folded = name.to_ascii_lowercase();
            if let Err(message) = sound_header(name, value) {
                self.invalid(message, &path);
            } else if seen.contains(&folded) {
                let message = format!("The header {name} is there twice: give it once.");
                self.invalid(message, &path);
            }
            seen.push(folded);
        }
        Some(headers)
    }
}

fn sound_url(text: &str) -> Result<(), String> {
    let wrong = if text.contains("{{") || text.contains("{%") {
        "url takes no merge tags: write it without, and put what is of the person into the body."
    } else {
        "url is not one of the web: write one like https://example.com/hook."
    };
    // The reader of URLs drops them, and what is shown would not be where the request goes.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong.to_owned());
    }
    HttpUrl::parse(text).map_err(|error| format!("url: {error}"))?;
    Ok(())
}

fn sound_header(name: &str, value: &Value) -> Result<(), String> {
    let Value::String(text) = value else {
        return Err(format!(
            "The header {} is no text: put it in quotation marks.",
            shown(name)
        ));
    };
    check_header(name, text).map_err(|error| error.to_string())
}
