//! Looking whether an account could send: asking for the account, and for its number.

use std::time::Duration;

use hyper::Method;
use hyper::header::{ACCEPT, AUTHORIZATION, HeaderMap, HeaderValue};
use serde::Deserialize;
use tokio::time::timeout;
use url::form_urlencoded;

use super::{Answer, Twilio, TwilioAccount, not_asked, refused};
use crate::channel::web::{WebAnswer, WebError};
use crate::domain::outcome::{ErrorCode, Outcome, Phase, RetryReason, Scope};
use crate::domain::sender::check::{CheckKind, Finding};

/// Whoever is slower to tell of the number is passed over, like those who cannot.
const NUMBER_WITHIN: Duration = Duration::from_secs(5);

/// An account, as far as it tells whether it sends.
#[derive(Deserialize)]
struct AccountAnswer {
    status: Option<String>,
}

/// The numbers of an account that fit the one asked for.
#[derive(Deserialize)]
struct NumbersAnswer {
    incoming_phone_numbers: Vec<serde_json::Value>,
}

impl Twilio {
    /// Asks for the account and for the number it is to send from; adds what was found, up to the
    /// first failure. A message is not sent.
    pub(super) async fn check(
        &self,
        account: &TwilioAccount,
        number: &str,
        found: &mut Vec<Finding>,
    ) {
        let answer = match self.get(account, &format!("{}.json", account.url())).await {
            Ok(answer) => answer,
            Err(outcome) => return found.extend(Finding::of(&outcome)),
        };
        let message = format!("{} answers.", account.base_url());
        found.push(Finding::passed(CheckKind::Connection, message));
        let login = logged_in(account, &answer);
        let is_in = login.error_code.is_none();
        found.push(login);
        if is_in && let Ok(owns) = timeout(NUMBER_WITHIN, self.owns(account, number)).await {
            found.extend(owns);
        }
    }

    /// Whether the account has the number. What does not tell is passed over: not every provider
    /// that speaks the API for messages has this part of it.
    async fn owns(&self, account: &TwilioAccount, number: &str) -> Option<Finding> {
        let asked: String = form_urlencoded::byte_serialize(number.as_bytes()).collect();
        let url = format!(
            "{}/IncomingPhoneNumbers.json?PhoneNumber={asked}",
            account.url()
        );
        let answer = self.get(account, &url).await.ok()?;
        let read: NumbersAnswer = serde_json::from_slice(answer.body()).ok()?;
        Some(if read.incoming_phone_numbers.is_empty() {
            let message = format!(
                "The account has no number {number} of its own: it may be a WhatsApp sender or \
                 hosted elsewhere, and otherwise messages will be refused; look it up in the \
                 provider's console."
            );
            Finding::warned(CheckKind::Address, message)
        } else {
            let message = format!("The account has the number {number}.");
            Finding::passed(CheckKind::Address, message)
        })
    }

    async fn get(&self, account: &TwilioAccount, url: &str) -> Result<WebAnswer, Outcome> {
        let mut headers = HeaderMap::new();
        let login = account.authorization().ok_or_else(|| {
            not_asked("The account's name or token cannot be sent: correct the sender.")
        })?;
        headers.insert(AUTHORIZATION, login);
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let answered = self.web.send(Method::GET, url, headers, "").await;
        answered.map_err(|error| match error {
            WebError::Url(_) | WebError::Forbidden => Outcome::Rejected {
                phase: Phase::Connect,
                code: 0,
                enhanced: None,
                response: error.to_string(),
                scope: Scope::Sender,
            },
            WebError::NoConnection { reason, what } | WebError::NoAnswer { reason, what, .. } => {
                Outcome::broken(Phase::Connect, reason, what)
            }
        })
    }
}

/// What the account's answer says of the login.
fn logged_in(account: &TwilioAccount, answer: &WebAnswer) -> Finding {
    let sid = &account.account_sid;
    if !answer.is_success() {
        let said: Option<Answer> = serde_json::from_slice(answer.body()).ok();
        let said = said.as_ref();
        let outcome = refused(
            answer,
            said.and_then(|said| said.code.as_ref()),
            said.and_then(|said| said.message.as_deref()),
        );
        return Finding::of(&outcome).unwrap_or_else(|| strange(answer));
    }
    let read: Option<AccountAnswer> = serde_json::from_slice(answer.body()).ok();
    match read.and_then(|read| read.status).as_deref() {
        Some("active") => {
            let message = format!("The provider took the login of the account {sid}.");
            Finding::passed(CheckKind::Login, message)
        }
        Some(status @ ("suspended" | "closed")) => {
            let message = format!(
                "The account {sid} is {status}: settle it with the provider, or give the sender \
                 another account."
            );
            Finding::failed(CheckKind::Login, ErrorCode::AuthFailed, message)
        }
        Some(_) | None => strange(answer),
    }
}

/// Something answered that does not seem to be the API.
fn strange(answer: &WebAnswer) -> Finding {
    let what = format!("{} {}", answer.status, answer.excerpt());
    let outcome = Outcome::broken(Phase::Api, RetryReason::Protocol, what);
    Finding::failed(
        CheckKind::Login,
        ErrorCode::ProviderError,
        outcome.explain(),
    )
}
