//! Requests to webhooks, signed as Standard Webhooks has it (standardwebhooks.com).
//!
//! Owns the request, its signature and what becomes of it. Never decides about retries.
//!
//! A webhook is called at least once: every attempt carries the same `webhook-id`, by which the
//! receiver knows a repetition, so that also a request whose answer did not come is repeated.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hyper::Method;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use ring::hmac;

use super::web::{Web, WebAnswer, WebError};
use crate::domain::http_header::{HeaderError, check_header};
use crate::domain::outcome::{Outcome, Phase, Scope};

mod carrier;

pub(super) use carrier::WebhookCarrier;

/// How a secret begins.
const SECRET_PREFIX: &str = "whsec_";
/// How long a secret is, in bytes.
const SECRET_BYTES: std::ops::RangeInclusive<usize> = 24..=64;
/// A request to a webhook.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WebhookRequest {
    /// Where to.
    pub url: String,
    /// Headers that the user wrote, in order.
    pub headers: Vec<(String, String)>,
    /// The body; JSON, unless a header says otherwise.
    pub body: String,
    /// The same for every attempt, and for no other request, without a dot: the execution's id.
    pub id: String,
    /// When this attempt is made.
    pub at: DateTime<Utc>,
}

/// What requests are signed with.
#[derive(Clone)]
pub struct WebhookSecret(hmac::Key);

/// The text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("a webhook's secret is whsec_ and 24 to 64 bytes in base64")]
pub struct NotASecret;

impl WebhookSecret {
    /// Reads a secret as it is given out: `whsec_` and base64.
    ///
    /// # Errors
    /// [`NotASecret`] for anything else.
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let encoded = text.trim().strip_prefix(SECRET_PREFIX).ok_or(NotASecret)?;
        let bytes = STANDARD.decode(encoded).map_err(|_| NotASecret)?;
        Self::from_bytes(&bytes)
    }

    /// The secret of these bytes.
    ///
    /// # Errors
    /// [`NotASecret`] where there are fewer than 24 or more than 64.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, NotASecret> {
        if !SECRET_BYTES.contains(&bytes.len()) {
            return Err(NotASecret);
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, bytes)))
    }

    /// The signature of a request: `v1,` and the HMAC-SHA256 of its id, its time and its body.
    pub fn sign(&self, id: &str, at: DateTime<Utc>, body: impl AsRef<[u8]>) -> String {
        let tag = hmac::sign(&self.0, &signed_bytes(id, at, body.as_ref()));
        format!("v1,{}", STANDARD.encode(tag))
    }

    /// Whether one of these signatures, with spaces between them, is that of such a request. What
    /// another one is made by is passed over: senders change their secrets.
    pub fn is_signed(&self, id: &str, at: DateTime<Utc>, body: &[u8], signatures: &str) -> bool {
        let signed = signed_bytes(id, at, body);
        signatures
            .split(' ')
            .filter_map(|one| one.strip_prefix("v1,"))
            .filter_map(|encoded| STANDARD.decode(encoded).ok())
            .any(|tag| hmac::verify(&self.0, &signed, &tag).is_ok())
    }
}

fn signed_bytes(id: &str, at: DateTime<Utc>, body: &[u8]) -> Vec<u8> {
    let mut signed = format!("{id}.{}.", at.timestamp()).into_bytes();
    signed.extend_from_slice(body);
    signed
}

impl fmt::Debug for WebhookSecret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Reads headers that a user wrote. One that is there twice is sent twice.
///
/// # Errors
/// [`HeaderError`] for the first that cannot be sent.
fn read_headers(written: &[(String, String)]) -> Result<HeaderMap, HeaderError> {
    let mut headers = HeaderMap::new();
    for (name, value) in written {
        check_header(name, value)?;
        let read = HeaderName::from_bytes(name.as_bytes());
        let read = read.map_err(|_| HeaderError::Name(name.clone()))?;
        let value = HeaderValue::from_str(value.trim());
        headers.append(read, value.map_err(|_| HeaderError::Value(name.clone()))?);
    }
    Ok(headers)
}

/// Calls webhooks.
#[derive(Clone, Debug)]
pub struct Webhook {
    web: Web,
}

impl Webhook {
    /// Calls by these requests.
    pub fn new(web: Web) -> Self {
        Self { web }
    }

    /// Calls a webhook once; it ends in bounded time. It is never ambiguous: what may have arrived
    /// may be repeated, under the same id.
    pub async fn send(&self, request: &WebhookRequest, secret: &WebhookSecret) -> Outcome {
        match self.post(request, std::slice::from_ref(secret)).await {
            Ok(answer) => read(&answer),
            Err(CallError::Request(why)) => not_called(why),
            Err(CallError::Web(error)) => unanswered(error),
        }
    }

    /// The same, with a signature by each of these secrets, and the answer as it came.
    ///
    /// # Errors
    /// [`CallError`] where there is no answer.
    pub async fn post(
        &self,
        request: &WebhookRequest,
        secrets: &[WebhookSecret],
    ) -> Result<WebAnswer, CallError> {
        let headers = signed(request, secrets).map_err(CallError::Request)?;
        let posted = self
            .web
            .send(Method::POST, &request.url, headers, request.body.clone());
        Ok(posted.await?)
    }
}

/// Why there is no answer to a call.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CallError {
    /// The request cannot be made.
    #[error("{0}")]
    Request(String),
    /// Nobody answered.
    #[error(transparent)]
    Web(#[from] WebError),
}

/// The headers of a request, with its signatures.
fn signed(request: &WebhookRequest, secrets: &[WebhookSecret]) -> Result<HeaderMap, String> {
    let mut headers = read_headers(&request.headers).map_err(|error| error.to_string())?;
    headers
        .entry(CONTENT_TYPE)
        .or_insert(HeaderValue::from_static("application/json"));
    let WebhookRequest { id, at, body, .. } = request;
    if id.is_empty() || id.contains('.') {
        return Err("The request's id is empty or holds a dot, and cannot be signed.".into());
    }
    let signatures = secrets.iter().map(|secret| secret.sign(id, *at, body));
    let signatures: Vec<String> = signatures.collect();
    for (name, value) in [
        ("webhook-id", id.clone()),
        ("webhook-timestamp", at.timestamp().to_string()),
        ("webhook-signature", signatures.join(" ")),
    ] {
        let value = HeaderValue::from_str(&value);
        let value = value.map_err(|_| "The request's id is no text of a header.".to_owned())?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(headers)
}

fn read(answer: &WebAnswer) -> Outcome {
    let excerpt = answer.excerpt();
    if answer.is_success() {
        let response = format!("{} {excerpt}", answer.status);
        return Outcome::Sent {
            response: response.trim_end().to_owned(),
        };
    }
    let words = match answer.status {
        300..=399 => "redirects are not followed: give the address that they lead to",
        _ => &excerpt,
    };
    Outcome::refused_by_webhook(answer.status, words, answer.retry_after)
}

/// What a call without an answer means.
fn unanswered(error: WebError) -> Outcome {
    match error {
        WebError::Url(_) | WebError::Forbidden => not_called(error.to_string()),
        WebError::NoConnection { reason, what } | WebError::NoAnswer { reason, what, .. } => {
            Outcome::Retry {
                phase: Phase::Webhook,
                code: None,
                response: Some(what),
                reason,
                scope: Scope::Content,
            }
        }
    }
}

/// Nothing left, and the same would be refused again.
fn not_called(why: String) -> Outcome {
    Outcome::Rejected {
        phase: Phase::Webhook,
        code: 0,
        enhanced: None,
        response: why,
        scope: Scope::Content,
    }
}

#[cfg(test)]
mod tests;
