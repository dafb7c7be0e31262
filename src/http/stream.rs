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
    fn opening(self) -> &'static str {
        match self {
            Self::EventStream => "",
            Self::Multipart => "--graphql",
        }
    }

    /// What says that there is somebody; the first one also makes proxies pass the headers on.
    fn alive(self) -> &'static str {
        match self {
            Self::EventStream => ":\n\n",
            Self::Multipart => "\r\nContent-Type: application/json\r\n\r\n{}\r\n--graphql",
        }
    }

    fn next(self, payload: &Payload) -> String {
        let json = &payload.json;
        match self {
            // JSON on one line, as the format of events demands.
            Self::EventStream => format!("event: next\ndata: {json}\n\n"),
            Self::Multipart => format!(
                "\r\nContent-Type: application/json\r\n\r\n{{\"payload\":{json}}}\r\n--graphql"
            ),
        }
    }

    fn complete(self) -> &'static str {
        match self {
            Self::EventStream => "event: complete\ndata: \n\n",
            Self::Multipart => "--\r\n",
        }
    }
}

/// Answers the results of an operation as they come.
pub fn answer(
    http: &Http,
    results: BoxStream<'static, Payload>,
    format: StreamFormat,
    id: &RequestId,
) -> Response {
    let opening = stream::iter([Some(format.opening().to_owned())]);
    let next = results.map(move |payload| Some(format.next(&payload)));
    let complete = stream::iter([Some(format.complete().to_owned()), None]);
    let ticks = interval_at(Instant::now(), KEEP_ALIVE);
    let alive = stream::unfold(ticks, move |mut ticks| async move {
        ticks.tick().await;
        Some((Some(format.alive().to_owned()), ticks))
    });
    // `None` is the end: the sign of life by itself has none.
    let parts = opening
        .chain(stream::select(alive, next.chain(complete)))
        .take_while(|part| std::future::ready(part.is_some()))
        .filter_map(std::future::ready)
        .filter(|part| std::future::ready(!part.is_empty()))
        .map(|part| Ok::<_, Infallible>(Bytes::from(part)))
        .take_until(http.0.shutdown.clone().cancelled_owned().boxed());
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
