//! Several results as the answer to one request: server-sent events, or parts of a multipart body.
//!
//! Either says at the end of an operation that it is the end; a stream that stops without it was cut
//! off, and its client comes back.

use std::convert::Infallible;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::{Instant, interval_at};

use super::Http;
use super::accept::StreamFormat;
use super::answer::common_headers;
use super::payload::Payload;
use crate::graphql::RequestId;

/// How often a stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(12);

impl StreamFormat {
    fn media_type(self) -> &'static str {
        match self {
            Self::EventStream => "text/event-stream",
            Self::Multipart => "multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\"",
        }
    }

    /// What comes before everything. A client acts on a part once it has seen the boundary after it,
    /// so that every part ends with the one that begins the next.
    pub fn opening(self) -> &'static str {
        match self {
            Self::EventStream => "",
            Self::Multipart => "--graphql",
        }
    }

    /// What says that there is somebody; the first one also makes proxies pass the headers on.
    pub fn alive(self) -> &'static str {
        match self {
            Self::EventStream => ":\n\n",
            Self::Multipart => "\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql",
        }
    }

    /// A result.
    pub fn next(self, payload: &Payload) -> String {
        let json = &payload.json;
        match self {
            // JSON on one line, as the format of events demands.
            Self::EventStream => format!("event: next\ndata: {json}\n\n"),
            Self::Multipart => format!(
                "\r\nContent-Type: application/json\r\n\r\n{{\"payload\":{json}}}\r\n--graphql"
            ),
        }
    }

    /// What says that nothing follows.
    pub fn complete(self) -> &'static str {
        match self {
            Self::EventStream => "event: complete\ndata: \n\n",
            Self::Multipart => "--\r\n",
        }
    }
}

/// Answers the results of an operation as they come, until the token that they came with is over.
pub fn answer(
    http: &Http,
    results: BoxStream<'static, Payload>,
    over: impl Future<Output = ()> + Send + 'static,
    format: StreamFormat,
    id: &RequestId,
) -> Response {
    let next = results.map(move |payload| (format.next(&payload), false));
    let complete = stream::iter([(format.complete().to_owned(), true)]);
    let ticks = interval_at(Instant::now(), KEEP_ALIVE);
    let alive = stream::unfold(ticks, move |mut ticks| async move {
        ticks.tick().await;
        Some(((format.alive().to_owned(), false), ticks))
    });
    let parts = stream::select(alive, next.chain(complete)).boxed();
    // Nothing comes after the end, not even a sign of life.
    let parts = stream::unfold(Some(parts), |parts| async move {
        let mut parts = parts?;
        let (part, is_last) = parts.next().await?;
        Some((part, (!is_last).then_some(parts)))
    });
    let opening = stream::iter([format.opening().to_owned()]);
    let parts = opening
        .chain(parts)
        .filter(|part| std::future::ready(!part.is_empty()))
        .map(|part| Ok::<_, Infallible>(Bytes::from(part)))
        .take_until(http.0.shutdown.clone().cancelled_owned().boxed())
        .take_until(over.boxed());
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static(format.media_type()),
    );
    // Some proxies gather a response before they pass it on, unless told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    common_headers(headers, id);
    response
}
