//! What is wrong with a request that is no GraphQL, as RFC 9457 has it.

use std::time::Duration;

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use super::answer::common_headers;
use super::body::NotTaken;
use crate::app::token::access::{NotAdmitted, RetryAfter};
use crate::app::{AppError, Refusal, RefusalCode};
use crate::domain::audit::Outcome;
use crate::graphql::RequestId;
use crate::graphql::error::{Code, NO_TOKEN};
use crate::store::StoreError;

/// Room is there again once a body or two are done with.
const NO_ROOM_FOR: Duration = Duration::from_secs(4);

/// What is wrong, for programs by its status and for people by its detail.
#[derive(Debug)]
pub struct Problem {
    status: StatusCode,
    detail: String,
    errors: Vec<Part>,
    retry: Option<RetryAfter>,
}

/// One thing that is wrong.
#[derive(Debug, Serialize)]
struct Part {
    detail: String,
    /// The parameter of the URL concerned; `csv` for the file.
    parameter: String,
}

/// What goes over the wire (RFC 9457 §3.1). The type is left out: it is "about:blank", which says that the
/// status tells the kind.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Wire<'a> {
    title: &'a str,
    status: u16,
    detail: &'a str,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [Part],
    request_id: &'a str,
}

impl Problem {
    /// A problem of this kind; `detail` names the remedy.
    pub fn new(status: StatusCode, detail: impl Into<String>) -> Self {
        Self {
            status,
            detail: detail.into(),
            errors: Vec::new(),
            retry: None,
        }
    }

    /// How what it was answered to ended, and the code that a mutation would have had.
    pub fn outcome(&self) -> (Outcome, &'static str) {
        let code = match self.status {
            StatusCode::FORBIDDEN => Code::Forbidden.into(),
            StatusCode::CONFLICT => "CONFLICT",
            StatusCode::UNPROCESSABLE_ENTITY => "INVALID",
            StatusCode::PAYLOAD_TOO_LARGE => "LIMIT",
            StatusCode::REQUEST_TIMEOUT => Code::TimedOut.into(),
            StatusCode::SERVICE_UNAVAILABLE => Code::Unavailable.into(),
            status if status.is_server_error() => Code::Internal.into(),
            _ => Code::BadUserInput.into(),
        };
        let outcome = match self.status.is_server_error() {
            true => Outcome::Failed,
            false => Outcome::Refused,
        };
        (outcome, code)
    }

    /// The answer that tells it.
    pub fn answer(self, id: &RequestId) -> Response {
        let wire = Wire {
            title: self.status.canonical_reason().unwrap_or("Problem"),
            status: self.status.as_u16(),
            detail: &self.detail,
            errors: &self.errors,
            request_id: &id.0,
        };
        // Texts and numbers can always be written.
        let json = serde_json::to_string(&wire).unwrap_or_default();
        let mut response = (self.status, json).into_response();
        let headers = response.headers_mut();
        common_headers(headers, id);
        let media_type = HeaderValue::from_static("application/problem+json");
        headers.insert(header::CONTENT_TYPE, media_type);
        if self.status == StatusCode::UNAUTHORIZED {
            let scheme = HeaderValue::from_static("Bearer");
            headers.insert(header::WWW_AUTHENTICATE, scheme);
        }
        if let Some(retry) = self.retry {
            let seconds = HeaderValue::from(retry.0.as_secs() + 1);
            headers.insert(header::RETRY_AFTER, seconds);
        }
        response
    }
}

impl From<NotTaken> for Problem {
    fn from(not_taken: NotTaken) -> Self {
        let status = match not_taken {
            NotTaken::TooLong(_) => StatusCode::PAYLOAD_TOO_LARGE,
            NotTaken::TooSlow => StatusCode::REQUEST_TIMEOUT,
            NotTaken::Cut => StatusCode::BAD_REQUEST,
            NotTaken::NoRoom => StatusCode::SERVICE_UNAVAILABLE,
        };
        let no_room = not_taken == NotTaken::NoRoom;
        Self {
            retry: no_room.then_some(RetryAfter(NO_ROOM_FOR)),
            ..Self::new(status, not_taken.to_string())
        }
    }
}

impl From<NotAdmitted> for Problem {
    fn from(not_admitted: NotAdmitted) -> Self {
        match not_admitted {
            NotAdmitted::NoToken => Self::new(StatusCode::UNAUTHORIZED, NO_TOKEN),
            NotAdmitted::TooMany(retry) => Self {
                retry: Some(retry),
                ..Self::new(
                    StatusCode::TOO_MANY_REQUESTS,
                    "Too many requests: try again after the time that Retry-After says.",
                )
            },
            NotAdmitted::Store(error) => error.into(),
        }
    }
}

impl From<AppError> for Problem {
    fn from(error: AppError) -> Self {
        match error {
            AppError::Refused(refusals) => refusals.into(),
            AppError::Store(error) => error.into(),
            AppError::Internal(error) => {
                tracing::error!(error, "a file was not taken in");
                Self::failed()
            }
        }
    }
}

impl From<Vec<Refusal>> for Problem {
    fn from(refusals: Vec<Refusal>) -> Self {
        let is_conflict = refusals.iter().any(|one| one.code == RefusalCode::Conflict);
        let status = match is_conflict {
            true => StatusCode::CONFLICT,
            false => StatusCode::UNPROCESSABLE_ENTITY,
        };
        let messages: Vec<&str> = refusals.iter().map(|one| one.message.as_str()).collect();
        let mut problem = Self::new(status, messages.join(" "));
        problem.errors = refusals
            .into_iter()
            .map(|refusal| Part {
                detail: refusal.message,
                parameter: refusal.path.join("."),
            })
            .collect();
        problem
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        tracing::error!(
            error = &error as &dyn std::error::Error,
            "the database did not do what a request needs"
        );
        if error.may_pass() {
            let detail = "The database cannot be reached; try again in a moment.";
            return Self::new(StatusCode::SERVICE_UNAVAILABLE, detail);
        }
        Self::failed()
    }
}

impl Problem {
    fn failed() -> Self {
        let detail = "The server failed; its log says more under the request id.";
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, detail)
    }
}
