//! `/`: GraphiQL, to try the API in a browser. All of it comes from this binary: the page works where
//! there is no other network, and no other server learns that it was opened.

use axum::Router;
use axum::extract::Path;
use axum::http::Uri;
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;

use super::answer;

/// Everything from here, nothing from elsewhere; GraphiQL sets styles by itself.
const POLICY: &str = "default-src 'self'; style-src 'self' 'unsafe-inline'; \
    img-src 'self' data:; font-src 'self' data:; frame-ancestors 'none'; base-uri 'none'";

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The parts of the page: name, type and content, which is empty in a build without them.
const PARTS: [(&str, &str, &[u8]); 5] = [
    ("start.js", SCRIPT, include_bytes!("graphiql/start.js")),
    (
        "graphiql.js",
        SCRIPT,
        include_bytes!(concat!(env!("OUT_DIR"), "/graphiql.js")),
    ),
    (
        "react.js",
        SCRIPT,
        include_bytes!(concat!(env!("OUT_DIR"), "/react.js")),
    ),
    (
        "react-dom.js",
        SCRIPT,
        include_bytes!(concat!(env!("OUT_DIR"), "/react-dom.js")),
    ),
    (
        "graphiql.css",
        "text/css; charset=utf-8",
        include_bytes!(concat!(env!("OUT_DIR"), "/graphiql.css")),
    ),
];

/// The page and its parts.
pub(super) fn router<S: Clone + Send + Sync + 'static>() -> Router<S> {
    Router::new()
        .route("/", get(page))
        .route("/graphiql/{part}", get(part))
}

/// The page. The token is entered as a header there, and goes nowhere else.
async fn page() -> Response {
    let is_whole = PARTS.iter().all(|(_, _, content)| !content.is_empty());
    let page = if is_whole {
        include_str!("graphiql/page.html")
    } else {
        include_str!("graphiql/without.html")
    };
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, Html(page)).into_response()
}

async fn part(uri: Uri, Path(name): Path<String>) -> Response {
    let part = PARTS
        .iter()
        .find(|(known, _, content)| *known == name && !content.is_empty());
    let Some((_, of, content)) = part else {
        return answer::not_found(uri).await;
    };
    let headers = [
        (CONTENT_TYPE, *of),
        // A newer binary brings newer parts under the same names.
        (CACHE_CONTROL, "max-age=300"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, *content).into_response()
}
