//! `/import/people` by POST: a CSV file as the body, which is taken in as it comes and never held whole.

use axum::Json;
use axum::body::Body as HttpBody;
use axum::extract::rejection::QueryRejection;
use axum::extract::{Query, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Deserialize;
use serde_json::json;

use super::answer::common_headers;
use super::body::{Incoming, NotTaken, drain};
use super::problem::Problem;
use super::{From, Http, audited};
use crate::app::{AppError, Caller, Role, Services};
use crate::bulk::import::upload::Upload;
use crate::bulk::import::{OnConflict, Options};
use crate::domain::id::BulkId;
use crate::graphql::RequestId;
use crate::store::audit::Ending;

/// What it is called in the audit: the same that is done by a mutation.
const IMPORT: &str = "peopleImport";
/// How much a file that comes in takes of the server's memory, in bytes.
const HELD: usize = 4 << 20;

/// What the URL may carry.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub struct Parameters {
    mapping: Option<String>,
    on_conflict: Option<OnConflict>,
    dry_run: Option<bool>,
    idempotency_key: Option<String>,
}

impl Parameters {
    fn options(self) -> Result<Options, Problem> {
        let mapping = self.mapping.filter(|text| !text.is_empty());
        let mapping = mapping.map(|text| serde_json::from_str(&text)).transpose();
        let mapping = mapping.map_err(|_| {
            let detail = "The parameter mapping is not JSON: give an object from headers to \
                          fields, such as {\"Mail\": \"email\"}.";
            Problem::new(StatusCode::BAD_REQUEST, detail)
        })?;
        Ok(Options {
            mapping,
            on_conflict: self.on_conflict.unwrap_or(OnConflict::Update),
            dry_run: self.dry_run.unwrap_or(false),
            idempotency_key: self.idempotency_key.filter(|key| !key.is_empty()),
        })
    }
}

/// Takes in a file of people and answers the operation that imports it.
pub async fn people(
    State(http): State<Http>,
    extensions: Extensions,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
    body: HttpBody,
) -> Response {
    let id = RequestId::mint(http.services());
    let from = From::of(&http, &extensions, &headers);
    let caller = match admit(&http, &headers, from).await {
        Ok(caller) => caller,
        Err(problem) => {
            drain(body).await;
            return problem.answer(&id);
        }
    };
    let asked = (asked(parameters.as_ref().ok()), Vec::new());
    let (services, mut recording) = audited::begin(&http, &caller, IMPORT, asked, &id);
    let taken = match ready(&caller, &headers, parameters) {
        Ok(options) => {
            let incoming = http.0.room.incoming(body, http.0.import_max);
            take_short(&http, &services, &caller, &headers, options, incoming).await
        }
        Err(problem) => {
            drain(body).await;
            Err(problem)
        }
    };
    match taken {
        Ok(operation) => {
            let made = Ending {
                objects: vec![operation.to_string()],
                ..Ending::DONE
            };
            recording.end(made).await;
            let answer = Json(json!({ "id": operation }));
            let mut response = (StatusCode::ACCEPTED, answer).into_response();
            common_headers(response.headers_mut(), &id);
            response
        }
        Err(problem) => {
            let (outcome, code) = problem.outcome();
            recording.end(audited::ending(outcome, code)).await;
            problem.answer(&id)
        }
    }
}

/// What of a request the audit keeps: everything but texts.
fn asked(parameters: Option<&Query<Parameters>>) -> serde_json::Value {
    let Some(Query(parameters)) = parameters else {
        return json!({ "upload": "…" });
    };
    let on_conflict = parameters.on_conflict.unwrap_or(OnConflict::Update);
    json!({ "upload": {
        "onConflict": on_conflict,
        "dryRun": parameters.dry_run.unwrap_or(false),
    } })
}

/// Who sends the file.
async fn admit(http: &Http, headers: &HeaderMap, from: From) -> Result<Caller, Problem> {
    let caller = http.caller(headers, from).await?;
    http.services().access.spend(&caller, from.0)?;
    Ok(caller)
}

/// What is to be done with the file, if its sender may.
fn ready(
    caller: &Caller,
    headers: &HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Options, Problem> {
    if caller.role < Role::Editor {
        let detail = format!(
            "This needs a token with the role {}, and yours has {}; an admin makes one by \
             tokenCreate.",
            Role::Editor,
            caller.role
        );
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    if !caller.scope.is_all() {
        let detail = "This needs a token for the whole workspace, and yours is limited to some \
                      sequences; an admin makes one by tokenCreate without sequenceIds.";
        return Err(Problem::new(StatusCode::FORBIDDEN, detail));
    }
    options(headers, parameters)
}

fn options(
    headers: &HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
) -> Result<Options, Problem> {
    if !is_csv(headers) {
        let detail = "Send the file as `Content-Type: text/csv`, in UTF-8.";
        return Err(Problem::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, detail));
    }
    let Ok(Query(parameters)) = parameters else {
        let detail = "The parameters of the URL cannot be read: mapping is JSON, onConflict is \
                      UPDATE or SKIP, dryRun is true or false, idempotencyKey is a text, and there \
                      are no others.";
        return Err(Problem::new(StatusCode::BAD_REQUEST, detail));
    };
    parameters.options()
}

/// Whether the body is said to be CSV in UTF-8 (RFC 4180 §3).
fn is_csv(headers: &HeaderMap) -> bool {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let mut parts = text
        .into_iter()
        .flat_map(|text| text.split(';'))
        .map(|part| part.trim().to_ascii_lowercase());
    parts.next().as_deref() == Some("text/csv")
        && parts
            .filter_map(|part| part.strip_prefix("charset=").map(str::to_owned))
            .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
}

/// A file that is said to be too long is not even begun.
fn is_short_enough(http: &Http, headers: &HeaderMap) -> Result<(), Problem> {
    let length = headers
        .get(header::CONTENT_LENGTH)
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok());
    let limit = http.0.import_max;
    match length.is_some_and(|length| usize::try_from(length).is_ok_and(|length| length <= limit)) {
        false if length.is_some() => Err(NotTaken::TooLong(limit).into()),
        _ => Ok(()),
    }
}

/// Takes in a file that is not said to be too long.
async fn take_short(
    http: &Http,
    services: &Services,
    caller: &Caller,
    headers: &HeaderMap,
    options: Options,
    incoming: Incoming,
) -> Result<BulkId, Problem> {
    if let Err(too_long) = is_short_enough(http, headers) {
        incoming.drain().await;
        return Err(too_long);
    }
    let _room = http.0.room.keep(HELD)?;
    take(services, caller, options, incoming).await
}

async fn take(
    services: &Services,
    caller: &Caller,
    options: Options,
    mut incoming: Incoming,
) -> Result<BulkId, Problem> {
    let mut upload = match Upload::begin(services, caller, options).await {
        Ok(upload) => upload,
        Err(error) => {
            incoming.drain().await;
            return Err(error.into());
        }
    };
    let cut = loop {
        match incoming.next().await {
            Ok(Some(bytes)) => {
                if let Err(error) = upload.write(&bytes).await {
                    break Problem::from(error);
                }
            }
            Ok(None) => return Ok(upload.finish().await?),
            Err(not_taken) => break not_taken.into(),
        }
    };
    upload.give_up().await.map_err(AppError::from)?;
    incoming.drain().await;
    Err(cut)
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    #[test]
    fn only_csv_in_utf_8_is_taken() {
        let of = |text: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(text));
            is_csv(&headers)
        };
        assert!(of("text/csv") && of("Text/CSV; header=present; charset=\"UTF-8\""));
        assert!(!of("text/csv; charset=iso-8859-1") && !of("text/plain") && !of("text/csvx"));
        assert!(!is_csv(&HeaderMap::new()));
    }
}
