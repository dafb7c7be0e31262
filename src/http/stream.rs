//! Server-sent events: GraphQL over SSE, distinct connections mode.
//!
//! Each result is an event `next`, and the end of the operation is an event `complete`; a stream
//! that ends without it was cut off, and its client comes back.

use std::convert::Infallible;
use std::time::Duration;

use async_graphql::Request;
use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::Response;
use futures_util::{StreamExt, stream};
use tokio::time::{Instant, interval_at};

use super::Http;
use super::answer::Wire;
use crate::graphql::RequestId;

/// How often a stream says that it is alive.
const KEEP_ALIVE: Duration = Duration::from_secs(12);
/// A comment, which clients leave out; the first one also makes proxies pass the headers on.
const ALIVE: &str = ":\n\n";

/// Runs an operation and answers its results as events.
pub fn events(http: &Http, request: Request, id: &RequestId) -> Response {
    let results = http.schema().execute_stream(request);
    let next = results.map(|answer| {
        // JSON on one line, as the format of events demands.
        let text = serde_json::to_string(&Wire::from(&answer)).unwrap_or_default();
        Some(format!("event: next\ndata: {text}\n\n"))
    });
    let complete = stream::iter([Some("event: complete\ndata: \n\n".to_owned()), None]);
    let ticks = interval_at(Instant::now(), KEEP_ALIVE);
    let alive = stream::unfold(ticks, |mut ticks| async move {
        ticks.tick().await;
        Some((Some(ALIVE.to_owned()), ticks))
    });
    // `None` is the end: the keep-alive by itself has none.
    let parts = stream::select(alive, next.chain(complete))
        .take_while(|part| std::future::ready(part.is_some()))
        .filter_map(std::future::ready)
        .map(|part| Ok::<_, Infallible>(Bytes::from(part)))
        .take_until(http.0.shutdown.clone().cancelled_owned());
    let mut response = Response::new(Body::from_stream(parts));
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("text/event-stream"),
    );
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    // Some proxies gather a response before they pass it on, unless told.
    headers.insert("x-accel-buffering", HeaderValue::from_static("no"));
    if let Ok(id) = id.0.parse() {
        headers.insert("x-request-id", id);
    }
    response
}
