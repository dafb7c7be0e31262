//! How answers are written: media types, status codes, headers (GraphQL over HTTP).

use async_graphql::{Response as Answer, Value};
use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};

use super::Http;
use super::accept::Format;
use super::payload::{self, Payload};
use crate::app::token::access::RetryAfter;
use crate::graphql::RequestId;
use crate::graphql::error::{self, Code, is_request_error, name_request, refused_request};

/// The name of the request, under which the log says more.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// Writes the answer to a request that was read.
pub fn write(answer: &Answer, format: Format, id: &RequestId) -> Response {
    let status = match (format, code_of_refusal(answer)) {
        (_, None) => StatusCode::OK,
        // What is no request at all is none in any format.
        (Format::Json, Some(code)) if code == <&str>::from(Code::BadUserInput) => {
            StatusCode::BAD_REQUEST
        }
        (Format::Json, Some(_)) => StatusCode::OK,
        (Format::GraphqlResponse, Some(code)) => status_of(code),
    };
    write_with(status, payload::text(answer), format, id)
}

/// The code of an answer that nothing was run for; none where something was.
fn code_of_refusal(answer: &Answer) -> Option<&str> {
    let error = answer.errors.first().filter(|_| is_request_error(answer))?;
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        _ => None,
    }
}

fn status_of(code: &str) -> StatusCode {
    let is = |known: Code| code == <&str>::from(known);
    if is(Code::Internal) {
        StatusCode::INTERNAL_SERVER_ERROR
    } else if is(Code::Unavailable) || is(Code::TimedOut) {
        StatusCode::SERVICE_UNAVAILABLE
    } else if is(Code::RateLimited) {
        StatusCode::TOO_MANY_REQUESTS
    } else {
        StatusCode::BAD_REQUEST
    }
}

/// Writes the answers of a batch, in the order of its requests.
pub fn write_batch(answers: &[Payload], format: Format, id: &RequestId) -> Response {
    let answers: Vec<&str> = answers.iter().map(|answer| answer.json.as_ref()).collect();
    let json = format!("[{}]", answers.join(","));
    write_with(StatusCode::OK, json, format, id)
}

fn write_with(status: StatusCode, json: String, format: Format, id: &RequestId) -> Response {
    let mut response = Response::new(Body::from(json));
    *response.status_mut() = status;
    let media_type = match format {
        Format::Json => "application/json; charset=utf-8",
        Format::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
    };
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    common_headers(headers, id);
    response
}

/// What every answer of the API carries.
pub fn common_headers(headers: &mut HeaderMap, id: &RequestId) {
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert(REQUEST_ID, id);
    }
}

/// Gives an answer the name of a request that has none yet.
pub async fn named(State(http): State<Http>, mut response: Response) -> Response {
    if !response.headers().contains_key(REQUEST_ID) {
        let id = RequestId::mint(http.services());
        if let Ok(id) = HeaderValue::from_str(&id.0) {
            response.headers_mut().insert(REQUEST_ID, id);
        }
    }
    response
}

/// A request that is refused before it is read.
pub fn refuse(
    status: StatusCode,
    code: Code,
    message: &str,
    format: Format,
    id: &RequestId,
) -> Response {
    let mut refusal = refused_request(code, message);
    name_request(&mut refusal, &id.0);
    let mut response = write_with(status, payload::text(&refusal), format, id);
    if status == StatusCode::UNAUTHORIZED {
        let scheme = HeaderValue::from_static("Bearer");
        response
            .headers_mut()
            .insert(header::WWW_AUTHENTICATE, scheme);
    }
    response
}

/// A request without a valid token.
pub fn unauthenticated(format: Format, id: &RequestId) -> Response {
    refuse(
        StatusCode::UNAUTHORIZED,
        Code::Unauthenticated,
        error::NO_TOKEN,
        format,
        id,
    )
}

/// A request too many.
pub fn too_many(retry: RetryAfter, format: Format, id: &RequestId) -> Response {
    let refusal = rate_limited(retry, id);
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = write_with(status, payload::text(&refusal), format, id);
    let seconds = HeaderValue::from(retry.0.as_secs() + 1);
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

/// The answer to an operation too many.
pub fn rate_limited(retry: RetryAfter, id: &RequestId) -> Answer {
    let wait = u64::try_from(retry.0.as_millis())
        .unwrap_or(u64::MAX)
        .max(1);
    let message =
        format!("Too many requests: try again in {wait} ms, and more slowly from then on.");
    let mut refusal = refused_request(Code::RateLimited, message);
    for error in &mut refusal.errors {
        error
            .extensions
            .get_or_insert_default()
            .set("retryAfterMs", wait);
    }
    name_request(&mut refusal, &id.0);
    refusal
}

/// There is nothing at this path.
pub async fn not_found(uri: Uri) -> Response {
    not_found_at(uri.path())
}

/// The same, of a path by its name.
pub fn not_found_at(path: &str) -> Response {
    let text = format!("There is nothing at {path}; the API is at /graphql.\n");
    (StatusCode::NOT_FOUND, text).into_response()
}

/// The path does not take this method; the `Allow` header says which it takes.
pub async fn method_not_allowed() -> Response {
    (
        StatusCode::METHOD_NOT_ALLOWED,
        "This path does not take this method.\n",
    )
        .into_response()
}
