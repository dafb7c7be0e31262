//! A request to another program, as it is written.

use serde_json::{Map, Value};

use super::{Reader, shown};
use crate::domain::flow::WebhookAction;
use crate::domain::http_url::HttpUrl;
use crate::domain::template::MAX_SOURCE_BYTES;

/// The most headers beside those that are set anyway.
const HEADERS_MAX: usize = 20;
/// The longest name of a header, in bytes.
const HEADER_NAME_BYTES_MAX: usize = 100;
/// The longest text of a header, in bytes.
const HEADER_BYTES_MAX: usize = 4_096;
/// What tells who a request is from, by which the receiver knows it.
const OWN_PREFIX: &str = "webhook-";
/// Headers that are the connection's (RFC 9110 §7.6.1) or follow from the request itself.
const OWN: [&str; 8] = [
    "connection",
    "content-length",
    "host",
    "keep-alive",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

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
            if let Err(message) = sound_name(name, &folded).and_then(|()| sound_value(name, value))
            {
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
    let wrong = "url is not one of the web: write one like https://example.com/hook.";
    // The reader of URLs drops them, and what is shown would not be where the request goes.
    if text.chars().any(|c| c.is_control() || c.is_whitespace()) {
        return Err(wrong.to_owned());
    }
    HttpUrl::parse(text).map_err(|error| format!("url: {error}"))?;
    Ok(())
}

/// A name is a token of RFC 9110 §5.6.2.
fn sound_name(name: &str, folded: &str) -> Result<(), String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_token) {
        return Err(format!(
            "\"{}\" is not the name of a header: write 1 to {HEADER_NAME_BYTES_MAX} letters, \
             digits and hyphens.",
            shown(name)
        ));
    }
    if OWN.contains(&folded) || folded.starts_with(OWN_PREFIX) {
        return Err(format!(
            "The header {name} is set with each request: leave it out."
        ));
    }
    Ok(())
}

/// A value is visible ASCII with spaces and tabs (RFC 9110 §5.5).
fn sound_value(name: &str, value: &Value) -> Result<(), String> {
    let Value::String(text) = value else {
        return Err(format!(
            "The header {name} is no text: put it in quotation marks."
        ));
    };
    if text.len() > HEADER_BYTES_MAX {
        return Err(format!(
            "The header {name} is longer than {HEADER_BYTES_MAX} bytes: shorten it."
        ));
    }
    if !text.bytes().all(|byte| matches!(byte, b'\t' | b' '..=b'~')) {
        return Err(format!(
            "The header {name} holds a line break or a letter outside of ASCII: take it out."
        ));
    }
    Ok(())
}
