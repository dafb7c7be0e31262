//! `/graphql` by POST and GET.

use async_graphql::{Request, Variables};
use axum::body::Body;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use serde::Deserialize;

use super::answer::{self, Format, refuse, write};
use super::{BODY_MAX, Http, socket, stream};
use crate::app::{Caller, Role};
use crate::graphql::error::Code;
use crate::graphql::{OperationKind, RequestId};
use crate::store::StoreError;

/// How many values the JSON of a request has at most.
const VALUES_MAX: usize = 250_000;

/// Runs the operation of a POST.
pub async fn post(State(http): State<Http>, headers: HeaderMap, body: Body) -> Response {
    let id = RequestId::mint(http.services());
    match read_post(&http, &headers, body, &id).await {
        Ok((format, request)) => run(&http, request, format, id).await,
        Err(response) => *response,
    }
}

/// What a GET may carry (GraphQL over HTTP, "GET").
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Parameters {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<String>,
}

/// Runs the query of a GET, or opens a WebSocket.
pub async fn get(
    State(http): State<Http>,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    if let Ok(upgrade) = upgrade {
        return socket::open(http, &headers, upgrade).await;
    }
    let id = RequestId::mint(http.services());
    match read_get(&http, &headers, parameters.ok(), &id).await {
        Ok((format, request)) => run(&http, request, format, id).await,
        Err(response) => *response,
    }
}

type Read = Result<(Format, Request), Box<Response>>;

async fn read_post(http: &Http, headers: &HeaderMap, body: Body, id: &RequestId) -> Read {
    let (format, caller) = admit(http, headers, id).await?;
    if !is_json(headers) {
        let message = "Send the request as `Content-Type: application/json`.";
        return Err(refused(
            StatusCode::UNSUPPORTED_MEDIA_TYPE,
            message,
            format,
            id,
        ));
    }
    let limit = if caller.role >= Role::Editor {
        http.0.upload_max
    } else {
        BODY_MAX
    };
    let bytes = axum::body::to_bytes(body, limit).await.map_err(|error| {
        if is_too_long(&error) {
            let message = format!("The body is longer than {limit} bytes; send less at once.");
            return refused(StatusCode::PAYLOAD_TOO_LARGE, &message, format, id);
        }
        refused(
            StatusCode::BAD_REQUEST,
            "The body ended before it was whole.",
            format,
            id,
        )
    })?;
    let request = read_body(&bytes)
        .map_err(|message| refused(StatusCode::BAD_REQUEST, message, format, id))?;
    Ok((format, request.data(caller)))
}

async fn read_get(
    http: &Http,
    headers: &HeaderMap,
    parameters: Option<Query<Parameters>>,
    id: &RequestId,
) -> Read {
    let (format, caller) = admit(http, headers, id).await?;
    let bad = |message| refused(StatusCode::BAD_REQUEST, message, format, id);
    let Some(Query(parameters)) = parameters else {
        return Err(bad("The parameters of the URL cannot be read."));
    };
    let query = parameters.query.filter(|query| !query.is_empty());
    let query = query.ok_or_else(|| bad("Give the document as the parameter `query`."))?;
    let mut request = Request::new(query);
    request.operation_name = parameters.operation_name;
    if let Some(text) = parameters.variables.filter(|text| !text.is_empty()) {
        let variables = read_variables(&text);
        request.variables =
            variables.ok_or_else(|| bad("Give the parameter `variables` as a JSON object."))?;
    }
    // A link must not change anything; a document that is no GraphQL is refused further on.
    let read = http.schema().read(&mut request);
    if read.is_ok_and(|operation| operation.kind == OperationKind::Mutation) {
        let message = "A mutation is sent by POST.";
        let mut response = *refused(StatusCode::METHOD_NOT_ALLOWED, message, format, id);
        response
            .headers_mut()
            .insert(header::ALLOW, HeaderValue::from_static("POST"));
        return Err(Box::new(response));
    }
    Ok((format, request.data(caller)))
}

/// What is the same for all: the format of the answer, and who asks.
async fn admit(
    http: &Http,
    headers: &HeaderMap,
    id: &RequestId,
) -> Result<(Format, Caller), Box<Response>> {
    let Some(format) = Format::negotiate(headers) else {
        let message = "The answer comes as application/json, application/graphql-response+json or \
                       text/event-stream; accept one of them.";
        return Err(refused(
            StatusCode::NOT_ACCEPTABLE,
            message,
            Format::Json,
            id,
        ));
    };
    match http.caller(headers).await {
        Ok(Some(caller)) => Ok((format, caller)),
        Ok(None) => Err(Box::new(answer::unauthenticated(format, id))),
        Err(error) => Err(Box::new(unavailable(&error, format, id))),
    }
}

fn unavailable(error: &StoreError, format: Format, id: &RequestId) -> Response {
    tracing::error!(
        request.id = id.0,
        error = error as &dyn std::error::Error,
        "a token could not be looked up"
    );
    let message = "The database cannot be reached; try again in a moment.";
    refuse(
        StatusCode::SERVICE_UNAVAILABLE,
        Code::Unavailable,
        message,
        format,
        id,
    )
}

fn refused(status: StatusCode, message: &str, format: Format, id: &RequestId) -> Box<Response> {
    Box::new(refuse(status, Code::BadUserInput, message, format, id))
}

async fn run(http: &Http, mut request: Request, format: Format, id: RequestId) -> Response {
    let kind = match http.schema().read(&mut request) {
        Ok(operation) => operation.kind,
        Err(answer) => return write(&answer, format, &id),
    };
    let request = request.data(id.clone());
    match (kind, format) {
        (_, Format::EventStream) => stream::events(http, request, &id),
        (OperationKind::Subscription, Format::Json | Format::GraphqlResponse) => {
            let message = "A subscription is followed over WebSocket (graphql-transport-ws), or by \
                           a request that accepts text/event-stream.";
            *refused(StatusCode::BAD_REQUEST, message, format, &id)
        }
        (
            OperationKind::Query | OperationKind::Mutation,
            Format::Json | Format::GraphqlResponse,
        ) => write(&http.schema().execute(request).await, format, &id),
    }
}

/// Whether the body is said to be JSON in UTF-8.
fn is_json(headers: &HeaderMap) -> bool {
    let text = headers
        .get(header::CONTENT_TYPE)
        .and_then(|value| value.to_str().ok());
    let Some(text) = text else { return false };
    let mut parts = text.split(';').map(|part| part.trim().to_ascii_lowercase());
    let media_type = parts.next();
    media_type.as_deref() == Some("application/json")
        && parts
            .filter_map(|part| part.strip_prefix("charset=").map(str::to_owned))
            .all(|charset| matches!(charset.trim_matches('"'), "utf-8" | "utf8"))
}

fn read_body(bytes: &[u8]) -> Result<Request, &'static str> {
    match bytes.iter().find(|byte| !byte.is_ascii_whitespace()) {
        Some(b'{') => {}
        Some(b'[') => return Err("A request is one operation; send several as several requests."),
        _ => {
            return Err(
                "The body is not a JSON object; it has the fields query, variables, operationName.",
            );
        }
    }
    if !has_few_values(bytes) {
        return Err("The body holds too many values; split the request.");
    }
    let body: PostBody = serde_json::from_slice(bytes).map_err(|_| NOT_A_REQUEST)?;
    body.request()
}

/// Whether a JSON text has at most [`VALUES_MAX`] values. A value takes many times the memory of the
/// two bytes that may write it, while a file to import is one.
fn has_few_values(bytes: &[u8]) -> bool {
    let mut values = 0_usize;
    let mut rest = bytes;
    while let Some((byte, after)) = rest.split_first() {
        rest = after;
        match byte {
            b',' | b'[' | b'{' => values += 1,
            b'"' => {
                // Up to the end of the text; what a backslash stands before does not end it.
                while let Some(at) = memchr::memchr2(b'"', b'\\', rest) {
                    let (skip, ends) = match rest.get(at) {
                        Some(b'"') => (at + 1, true),
                        _ => (at + 2, false),
                    };
                    rest = rest.get(skip..).unwrap_or_default();
                    if ends {
                        break;
                    }
                }
            }
            _ => {}
        }
        if values > VALUES_MAX {
            return false;
        }
    }
    true
}

const NOT_A_REQUEST: &str = "The body is not a GraphQL request: query is a text, variables and \
                             extensions are objects, operationName is a text.";

/// Reads a request that came as part of another message.
pub fn read_request(value: serde_json::Value) -> Result<Request, &'static str> {
    let body: PostBody = serde_json::from_value(value).map_err(|_| NOT_A_REQUEST)?;
    body.request()
}

impl PostBody {
    fn request(self) -> Result<Request, &'static str> {
        let query = self.query.filter(|query| !query.is_empty());
        let mut request = Request::new(query.ok_or("The body has no query.")?);
        request.operation_name = self.operation_name;
        request.variables = self.variables.unwrap_or_default();
        Ok(request)
    }
}

/// The body of a POST; a field that is null is as if it were not there.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct PostBody {
    query: Option<String>,
    operation_name: Option<String>,
    #[serde(default, deserialize_with = "object")]
    variables: Option<Variables>,
    #[serde(default, rename = "extensions")]
    _extensions: Option<serde_json::Map<String, serde_json::Value>>,
}

/// Reads variables; the library's own reading takes everything that is not an object for none.
fn object<'de, D: serde::Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Variables>, D::Error> {
    use std::collections::BTreeMap;
    type Map = BTreeMap<async_graphql::Name, async_graphql::Value>;
    let map = Option::<Map>::deserialize(deserializer)?;
    Ok(map
        .map(|map| Variables::from_value(async_graphql::Value::Object(map.into_iter().collect()))))
}

fn read_variables(text: &str) -> Option<Variables> {
    let value: serde_json::Value = serde_json::from_str(text).ok()?;
    (value.is_object() || value.is_null()).then(|| Variables::from_json(value))
}

fn is_too_long(error: &axum::Error) -> bool {
    let mut cause: Option<&dyn std::error::Error> = Some(error);
    while let Some(error) = cause {
        if error.to_string().contains("length limit exceeded") {
            return true;
        }
        cause = error.source();
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_counted_outside_of_texts() {
        let many = ",".repeat(VALUES_MAX);
        assert!(has_few_values(
            format!("[{}1]", "1,".repeat(1_000)).as_bytes()
        ));
        assert!(!has_few_values(format!("[{many}]").as_bytes()));
        assert!(has_few_values(
            format!("{{\"csv\": \"{many}{many}\"}}").as_bytes()
        ));
        assert!(has_few_values(format!("[\"\\\"{many}\"]").as_bytes()));
        assert!(!has_few_values(format!("[\"\\\\\"{many}]").as_bytes()));
        assert!(has_few_values(b"\"never ends \\"));
    }
}
