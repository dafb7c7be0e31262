//! `/inbound/mail` by POST: a mail as a mail server or a provider hands it on, signed with the workspace's
//! secret.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Http;
use super::answer::common_headers;
use super::body::drain;
use super::problem::Problem;
use crate::domain::id::WorkspaceId;
use crate::graphql::RequestId;
use crate::inbound::signed::{NotSigned, Signature, is_mail};
use crate::inbound::{Incoming, MAIL_BYTES_MAX, TakeError, take_in};
use crate::store;

/// What mails take at once, in bytes. Who sent one shows only once it is there whole, so that whoever knows the id of
/// a workspace can fill it; nothing else has to wait for that.
pub(super) const ROOM: usize = 4 * MAIL_BYTES_MAX;

/// What the URL may carry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    workspace: WorkspaceId,
}

/// Takes in a mail and answers what it was taken as.
pub async fn mail(
    State(http): State<Http>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
    body: HttpBody,
) -> Response {
    let id = RequestId::mint(http.services());
    let taken = match ready(&http, &headers, parameters) {
        Ok((workspace, signature)) => take(&http, workspace, signature, body).await,
        Err(problem) => {
            drain(body).await;
            Err(problem)
        }
    };
    match taken {
        Ok(answer) => {
            let mut response = (StatusCode::OK, Json(answer)).into_response();
            common_headers(response.headers_mut(), &id);
            response
        }
        Err(problem) => problem.answer(&id),
    }
}

/// Whose mail it is said to be; what is forged at first sight is not even read.
fn ready<'a>(
    http: &Http,
    headers: &'a HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<(WorkspaceId, Signature<'a>), Problem> {
    let Ok(Query(Parameters { workspace })) = parameters else {
        let detail = "Name the workspace in the URL, and nothing else: /inbound/mail?workspace=ws_… \
                      with the id that the query workspace answers.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    let text = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(id), Some(timestamp), Some(signatures)) = (
        text("webhook-id"),
        text("webhook-timestamp"),
        text("webhook-signature"),
    ) else {
        return Err(NotSigned::Malformed.into());
    };
    let signature = Signature {
        id,
        timestamp,
        signatures,
    };
    signature.made_at(http.services().clock.now())?;
    Ok((workspace, signature))
}

async fn take(
    http: &Http,
    workspace: WorkspaceId,
    signature: Signature<'_>,
    body: HttpBody,
) -> Result<Value, Problem> {
    let services = http.services();
    let found = store::workspace::find(services.db.read(), workspace).await?;
    if found.is_none() {
        drain(body).await;
        return Err(NotSigned::Forged.into());
    }
    // What is taken in counts until the answer is there.
    let body = http.0.mail_room.take(body, MAIL_BYTES_MAX).await?;
    signature.check(
        &services.secrets,
        workspace,
        &body.bytes,
        services.clock.now(),
    )?;
    if !is_mail(&body.bytes) {
        let detail =
            "The body is no mail: send it as it came (RFC 5322), beginning with its headers.";
        return Err(Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail));
    }
    let incoming = Incoming {
        workspace,
        sender: None,
        raw: body.bytes.as_slice().into(),
    };
    let taken = take_in(services, incoming, None).await?;
    Ok(json!({
        "takenAs": taken.kind.to_string(),
        "isNew": taken.is_new,
        "matchedBy": taken.matched_by.map(|by| by.to_string()),
        "leadId": taken.lead,
        "executionId": taken.execution,
    }))
}

impl From<NotSigned> for Problem {
    fn from(error: NotSigned) -> Self {
        Self::new(StatusCode::FORBIDDEN, error.to_string())
    }
}

impl From<TakeError> for Problem {
    fn from(error: TakeError) -> Self {
        match error {
            TakeError::App(error) => error.into(),
            TakeError::Unreadable => {
                let detail = "The mail cannot be read: it is damaged.";
                Self::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
            }
            TakeError::Lost => {
                let detail =
                    "The mailbox is being read by another node; send this again in a moment.";
                Self::new(StatusCode::SERVICE_UNAVAILABLE, detail)
            }
        }
    }
}
