//! `/`: GraphiQL, to try the API in a browser.

use axum::http::header;
use axum::response::{Html, IntoResponse, Response};

/// The page. The token is entered as a header there, and goes nowhere else.
pub async fn page() -> Response {
    (
        [(header::CACHE_CONTROL, "no-store")],
        Html(include_str!("graphiql.html")),
    )
        .into_response()
}
