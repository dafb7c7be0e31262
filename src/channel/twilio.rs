//! Text messages over Twilio's API, which other providers speak too.
//!
//! Owns the request and what becomes of it. Never composes, and never decides about retries.
//!
//! The rule of the verdicts: a message is taken when a 2xx answer names it; refused as the answer
//! says; certainly not sent as long as no byte of the request has left; and ambiguous otherwise.
//! Every attempt carries the message's key in `I-Twilio-Idempotency-Token`, so that a server that
//! goes by it sends the message once. Twilio documents that header for requests of its own alone,
//! so nothing relies on it: an ambiguous message is never repeated.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;
use serde_json::Value;
use url::form_urlencoded;

use super::secret::Secret;
use super::text::TextMessage;
use super::web::{Web, WebAnswer, WebError, excerpt};
use crate::domain::outcome::{Outcome, Phase, Scope};
use crate::domain::sender::TWILIO_BASE_URL;

mod carrier;
mod check;
pub mod signature;

pub(super) use carrier::TwilioCarrier;

const IDEMPOTENCY_TOKEN: HeaderName = HeaderName::from_static("i-twilio-idempotency-token");
/// The longest name of a message that is kept, in characters; Twilio's have 34.
const SID_CHARS_MAX: usize = 64;

/// An account and how to reach it.
#[derive(Clone, Debug)]
pub struct TwilioAccount {
    /// Where the API is; `None`, Twilio's own.
    pub base_url: Option<String>,
    /// The account's name, `AC…`.
    pub account_sid: String,
    /// What it logs in with.
    pub auth_token: Secret,
    /// Where it tells how far the message is; `None`, nowhere.
    pub status_callback: Option<String>,
}

impl TwilioAccount {
    /// Where the API is.
    fn base_url(&self) -> &str {
        let base = self.base_url.as_deref().unwrap_or(TWILIO_BASE_URL);
        base.trim_end_matches('/')
    }

    /// Where the account is.
    fn url(&self) -> String {
        // The account's name is a segment of the path and nothing else, whatever is in it.
        let sid: String = form_urlencoded::byte_serialize(self.account_sid.as_bytes()).collect();
        format!("{}/2010-04-01/Accounts/{sid}", self.base_url())
    }

    fn authorization(&self) -> Option<HeaderValue> {
        let login = format!("{}:{}", self.account_sid, self.auth_token.reveal());
        let mut value = HeaderValue::from_str(&format!("Basic {}", STANDARD.encode(login))).ok()?;
        value.set_sensitive(true);
        Some(value)
    }
}

/// Sends text messages.
#[derive(Clone, Debug)]
pub struct Twilio {
    web: Web,
}

impl Twilio {
    /// Sends by these requests.
    pub fn new(web: Web) -> Self {
        Self { web }
    }

    /// Sends a message; it ends in bounded time. The response of one that was taken begins with
    /// the provider's name for it (`SM…`), by which later reports are told.
    pub async fn send(&self, account: &TwilioAccount, message: &TextMessage) -> Outcome {
        if let Err(error) = message.check() {
            return error.outcome();
        }
        let Some(headers) = headers(account, message) else {
            return not_asked("The account's name or token cannot be sent: correct the sender.");
        };
        let url = format!("{}/Messages.json", account.url());
        match self
            .web
            .send(Method::POST, &url, headers, form(account, message))
            .await
        {
            Ok(answer) => read(&answer),
            Err(error) => unanswered(error),
        }
    }
}

fn headers(account: &TwilioAccount, message: &TextMessage) -> Option<HeaderMap> {
    let mut headers = HeaderMap::new();
    headers.insert(AUTHORIZATION, account.authorization()?);
    let form = HeaderValue::from_static("application/x-www-form-urlencoded");
    headers.insert(CONTENT_TYPE, form);
    headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
    let key = HeaderValue::from_str(&message.idempotency_key).ok()?;
    headers.insert(IDEMPOTENCY_TOKEN, key);
    Some(headers)
}

fn form(account: &TwilioAccount, message: &TextMessage) -> String {
    let prefix = if message.whatsapp { "whatsapp:" } else { "" };
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.append_pair("From", &format!("{prefix}{}", message.from))
        .append_pair("To", &format!("{prefix}{}", message.to))
        .append_pair("Body", &message.body);
    if let Some(address) = &account.status_callback {
        form.append_pair("StatusCallback", address);
    }
    form.finish()
}

/// What the API says of a message, or of its refusal.
#[derive(Deserialize)]
struct Answer {
    /// The message's name.
    sid: Option<String>,
    /// How far a message is, as a word; of a refusal it is the status.
    status: Option<Value>,
    /// Why a message that was made failed.
    error_code: Option<Value>,
    error_message: Option<String>,
    /// Why no message was made.
    code: Option<Value>,
    message: Option<String>,
}

fn read(answer: &WebAnswer) -> Outcome {
    let read: Option<Answer> = serde_json::from_slice(answer.body()).ok();
    if !answer.is_success() {
        return match read {
            Some(said) => refused(answer, said.code.as_ref(), said.message.as_deref()),
            None => refused(answer, None, None),
        };
    }
    let named = read.and_then(|said| said.sid.clone().map(|sid| (sid, said)));
    let Some((sid, said)) = named else {
        // Something answered, but nobody knows whether it was the API.
        let reason = format!(
            "the provider answered {} without naming a message",
            answer.status
        );
        return Outcome::Ambiguous { reason };
    };
    let status = said.status.as_ref().and_then(Value::as_str);
    let failed = matches!(status, Some("failed" | "undelivered" | "canceled"));
    let code = said.error_code.as_ref();
    if failed || code.and_then(number).is_some() {
        return refused(answer, code, said.error_message.as_deref());
    }
    let sid: String = excerpt(&sid).chars().take(SID_CHARS_MAX).collect();
    let response = match status {
        Some(status) => format!("{sid} {}", excerpt(status)),
        None => sid,
    };
    Outcome::Sent { response }
}

fn refused(answer: &WebAnswer, code: Option<&Value>, words: Option<&str>) -> Outcome {
    let words = words.map_or_else(|| answer.excerpt(), excerpt);
    let code = code.and_then(number);
    Outcome::refused_by_api(answer.status, code, &words, answer.retry_after)
}

/// A code, which some servers write as a text; 0 is none.
fn number(value: &Value) -> Option<u32> {
    let code = match value {
        Value::Number(number) => number.as_u64().and_then(|code| code.try_into().ok()),
        Value::String(text) => text.trim().parse().ok(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => None,
    };
    code.filter(|code| *code != 0)
}

/// What a request without an answer means.
fn unanswered(error: WebError) -> Outcome {
    match error {
        WebError::Url(_) | WebError::Forbidden => not_asked(&error.to_string()),
        WebError::NoConnection { reason, what } => Outcome::broken(Phase::Connect, reason, what),
        WebError::NoAnswer {
            reason,
            begun: false,
            what,
        } => Outcome::broken(Phase::Connect, reason, what),
        WebError::NoAnswer { what, .. } => Outcome::Ambiguous {
            reason: format!(
                "the request may have reached the provider, and no answer came: {what}"
            ),
        },
    }
}

/// Nothing left, for a reason that lies with the sender.
fn not_asked(why: &str) -> Outcome {
    Outcome::Rejected {
        phase: Phase::Api,
        code: 0,
        enhanced: None,
        response: why.to_owned(),
        scope: Scope::Sender,
    }
}
