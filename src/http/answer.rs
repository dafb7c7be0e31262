//! How answers are written: media types, status codes, headers (GraphQL over HTTP).

use async_graphql::Response as Answer;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;

use crate::graphql::RequestId;
use crate::graphql::error::{self, Code, is_request_error, refused_request};

/// How a client wants its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: a document that is refused is answered with 200.
    Json,
    /// `application/graphql-response+json`: the status says whether the request was run.
    GraphqlResponse,
    /// `text/event-stream`: one event for each result.
    EventStream,
}

impl Format {
    /// The format that an `Accept` header prefers (RFC 9110 §12.5.1); JSON where there is none.
    /// `None`: the client takes nothing that there is.
    pub fn negotiate(headers: &HeaderMap) -> Option<Self> {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            let Ok(text) = value.to_str() else { continue };
            ranges.extend(text.split(',').filter_map(Range::read));
        }
        if ranges.is_empty() {
            return Some(Self::Json);
        }
        // In the order in which they are taken where a client likes several the same.
        let offers = [
            (Self::Json, "application/json"),
            (Self::GraphqlResponse, "application/graphql-response+json"),
            (Self::EventStream, "text/event-stream"),
        ];
        let mut best: Option<(Self, u16, u8)> = None;
        for (format, media_type) in offers {
            let matching = ranges.iter().filter_map(|range| range.fits(media_type));
            let Some((precision, quality)) = matching.max() else {
                continue;
            };
            // A stream is only for who names it.
            if quality == 0 || (format == Self::EventStream && precision < 2) {
                continue;
            }
            let better =
                best.is_none_or(|(_, known, precise)| (quality, precision) > (known, precise));
            if better {
                best = Some((format, quality, precision));
            }
        }
        // Whoever takes the newer type and names it beside plain JSON means the newer one.
        match best {
            Some((Self::Json, quality, precision)) => {
                let newer = ranges
                    .iter()
                    .filter_map(|range| range.fits("application/graphql-response+json"))
                    .max();
                let named = newer.is_some_and(|(p, q)| p == 2 && q >= quality && precision >= p);
                Some(if named {
                    Self::GraphqlResponse
                } else {
                    Self::Json
                })
            }
            other => other.map(|(format, _, _)| format),
        }
    }

    fn media_type(self) -> &'static str {
        match self {
            Self::GraphqlResponse => "application/graphql-response+json; charset=utf-8",
            // A refusal comes before the stream, as JSON.
            Self::Json | Self::EventStream => "application/json; charset=utf-8",
        }
    }
}

/// One entry of an `Accept` header.
struct Range {
    main: String,
    sub: String,
    /// In thousandths.
    quality: u16,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let quality = parts
            .filter_map(|part| part.split_once('='))
            .find(|(name, _)| name.trim().eq_ignore_ascii_case("q"))
            .map_or(Some(1000), |(_, value)| thousandths(value.trim()))?;
        Some(Self {
            main: main.to_ascii_lowercase(),
            sub: sub.to_ascii_lowercase(),
            quality,
        })
    }

    /// How precisely the range names a media type (0, 1, 2), and with which quality.
    fn fits(&self, media_type: &str) -> Option<(u8, u16)> {
        let (main, sub) = media_type.split_once('/')?;
        match (self.main.as_str(), self.sub.as_str()) {
            ("*", "*") => Some((0, self.quality)),
            (own, "*") if own == main => Some((1, self.quality)),
            (own, other) if own == main && other == sub => Some((2, self.quality)),
            _ => None,
        }
    }
}

/// A quality, `0` to `1` with at most three decimals.
fn thousandths(text: &str) -> Option<u16> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, ""));
    let digits = decimals.len() <= 3 && decimals.bytes().all(|byte| byte.is_ascii_digit());
    let decimals: u16 = if digits {
        format!("{decimals:0<3}").parse().ok()?
    } else {
        return None;
    };
    match whole {
        "0" => Some(decimals),
        "1" if decimals == 0 => Some(1000),
        _ => None,
    }
}

/// What goes over the wire: `data` is left out where nothing was run.
#[derive(Serialize)]
pub struct Wire<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a async_graphql::Value>,
    #[serde(skip_serializing_if = "<[_]>::is_empty")]
    errors: &'a [async_graphql::ServerError],
    #[serde(skip_serializing_if = "std::collections::BTreeMap::is_empty")]
    extensions: &'a std::collections::BTreeMap<String, async_graphql::Value>,
}

impl<'a> From<&'a Answer> for Wire<'a> {
    fn from(answer: &'a Answer) -> Self {
        let data = (!is_request_error(answer)).then_some(&answer.data);
        Self {
            data,
            errors: &answer.errors,
            extensions: &answer.extensions,
        }
    }
}

/// Writes the answer to a request that was read.
pub fn write(answer: &Answer, format: Format, id: &RequestId) -> Response {
    let status = match format {
        Format::GraphqlResponse | Format::EventStream if is_internal(answer) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        Format::GraphqlResponse | Format::EventStream if is_request_error(answer) => {
            StatusCode::BAD_REQUEST
        }
        Format::GraphqlResponse | Format::Json | Format::EventStream => StatusCode::OK,
    };
    write_with(status, answer, format, id)
}

/// Whether nothing was answered because of a fault of ours.
fn is_internal(answer: &Answer) -> bool {
    is_request_error(answer)
        && (answer.errors.iter())
            .filter_map(|error| error.extensions.as_ref()?.get("code"))
            .any(|code| *code == async_graphql::Value::from(<&str>::from(Code::Internal)))
}

/// Writes an answer with a status of its own.
pub fn write_with(status: StatusCode, answer: &Answer, format: Format, id: &RequestId) -> Response {
    let body = serde_json::to_vec(&Wire::from(answer)).unwrap_or_default();
    let mut response = Response::new(Body::from(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    headers.insert(
        header::X_CONTENT_TYPE_OPTIONS,
        HeaderValue::from_static("nosniff"),
    );
    if let Ok(id) = HeaderValue::from_str(&id.0) {
        headers.insert("x-request-id", id);
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
    let mut response = write_with(status, &refused_request(code, message), format, id);
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

/// There is nothing at this path.
pub async fn not_found(uri: Uri) -> Response {
    let text = format!(
        "There is nothing at {}; the API is at /graphql.\n",
        uri.path()
    );
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

#[cfg(test)]
mod tests {
    use super::*;

    fn negotiated(accept: &str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_str(accept).expect("a header"),
        );
        Format::negotiate(&headers)
    }

    #[test]
    fn the_format_is_what_the_client_prefers() {
        assert_eq!(Format::negotiate(&HeaderMap::new()), Some(Format::Json));
        for (accept, format) in [
            ("*/*", Some(Format::Json)),
            ("application/*", Some(Format::Json)),
            ("application/json", Some(Format::Json)),
            (
                "application/graphql-response+json",
                Some(Format::GraphqlResponse),
            ),
            (
                "application/graphql-response+json, application/json;q=0.9",
                Some(Format::GraphqlResponse),
            ),
            (
                "application/graphql-response+json,application/json",
                Some(Format::GraphqlResponse),
            ),
            (
                "application/json, application/graphql-response+json;q=0.5",
                Some(Format::Json),
            ),
            ("application/json, */*", Some(Format::Json)),
            ("text/event-stream", Some(Format::EventStream)),
            (
                "text/event-stream, application/json;q=0.1",
                Some(Format::EventStream),
            ),
            ("text/html, */*;q=0.1", Some(Format::Json)),
            ("text/html", None),
            ("application/json;q=0", None),
            ("text/*", None),
        ] {
            assert_eq!(negotiated(accept), format, "{accept}");
        }
    }
}
