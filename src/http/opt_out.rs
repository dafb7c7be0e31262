//! `/u/…`: where contacts opt out of emails.
//!
//! Looking at the page changes nothing, because machines follow every link of a message. Sending its form
//! does, and so does what mail readers send for somebody who opts out by one click (RFC 8058): without
//! cookies, and without a redirect. The address works as long as the workspace has the message.

use std::sync::LazyLock;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, RETRY_AFTER,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::body::NotTaken;
use super::marks::ROBOTS;
use super::{Http, answer};
use crate::app::tracking;
use crate::domain::tracking::{OPT_OUT_AT, Token};

/// What the form, and a mail reader, has to say; in bytes.
const BODY_MAX: usize = 16 << 10;

const STYLE: &str = include_str!("opt_out/page.css");

/// The page's own style and form, and nothing else from anywhere.
static POLICY: LazyLock<String> = LazyLock::new(|| {
    let digest = ring::digest::digest(&ring::digest::SHA256, STYLE.as_bytes());
    format!(
        "default-src 'none'; style-src 'sha256-{}'; form-action 'self'; frame-ancestors 'none'; \
         base-uri 'none'",
        STANDARD.encode(digest)
    )
});

/// The route.
pub(super) fn router() -> Router<Http> {
    Router::new().route(&format!("{OPT_OUT_AT}{{token}}"), get(ask).post(opt_out))
}

/// Asks for a confirmation.
async fn ask(State(http): State<Http>, uri: Uri, Path(token): Path<String>) -> Response {
    let Some(token) = tracking::read(http.services(), &token) else {
        return answer::not_found(uri).await;
    };
    match tracking::is_for_opt_out(http.services(), &token).await {
        Ok(true) => page(StatusCode::OK, include_str!("opt_out/ask.html")),
        Ok(false) => answer::not_found(uri).await,
        Err(error) => failed(&error, &token),
    }
}

async fn opt_out(
    State(http): State<Http>,
    uri: Uri,
    Path(token): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    let Some(token) = tracking::read(http.services(), &token) else {
        return answer::not_found(uri).await;
    };
    let taken = match http.0.room.take(body, BODY_MAX).await {
        Ok(taken) => taken,
        // Mail readers that hear of a mistake of theirs do not come again.
        Err(NotTaken::NoRoom) => {
            let status = StatusCode::SERVICE_UNAVAILABLE;
            let mut answer = page(status, include_str!("opt_out/failed.html"));
            let soon = HeaderValue::from_static("5");
            answer.headers_mut().insert(RETRY_AFTER, soon);
            return answer;
        }
        Err(error) => {
            let status = StatusCode::BAD_REQUEST;
            return (status, format!("{error}\n")).into_response();
        }
    };
    let kind = headers
        .get(CONTENT_TYPE)
        .and_then(|kind| kind.to_str().ok());
    if !says_so(kind.unwrap_or_default(), &taken.bytes) {
        return page(StatusCode::BAD_REQUEST, include_str!("opt_out/ask.html"));
    }
    match tracking::opt_out(http.services(), &token).await {
        Ok(true) => page(StatusCode::OK, include_str!("opt_out/done.html")),
        Ok(false) => answer::not_found(uri).await,
        Err(error) => failed(&error, &token),
    }
}

/// Whether a form says to opt out: that of the page, or what RFC 8058 §3.2 has mail readers send, as
/// urlencoded or multipart form data.
fn says_so(kind: &str, body: &[u8]) -> bool {
    let is_said = |name: &str, value: &str| {
        name.eq_ignore_ascii_case("List-Unsubscribe")
            && value.trim().eq_ignore_ascii_case("One-Click")
    };
    if !kind
        .trim()
        .to_ascii_lowercase()
        .starts_with("multipart/form-data")
    {
        return url::form_urlencoded::parse(body).any(|(name, value)| is_said(&name, &value));
    }
    // There is one field, so that its parts need not be told from others by the boundary.
    let text = String::from_utf8_lossy(body);
    let mut lines = text.lines().map(str::trim);
    let is_field = |line: &str| {
        let line = line.to_ascii_lowercase();
        line.starts_with("content-disposition:") && line.contains("list-unsubscribe")
    };
    lines.any(is_field)
        && lines
            .skip_while(|line| !line.is_empty())
            .find(|line| !line.is_empty())
            .is_some_and(|value| is_said("List-Unsubscribe", value))
}

fn failed(error: &crate::app::AppError, token: &Token) -> Response {
    tracing::error!(%error, execution = %token.execution, "an opt-out failed");
    page(
        StatusCode::SERVICE_UNAVAILABLE,
        include_str!("opt_out/failed.html"),
    )
}

fn page(status: StatusCode, content: &str) -> Response {
    let page = include_str!("opt_out/page.html")
        .replace("{style}", STYLE)
        .replace("{content}", content.trim_end());
    let headers = [
        (CACHE_CONTROL, "no-store"),
        (CONTENT_SECURITY_POLICY, POLICY.as_str()),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
        (ROBOTS, "noindex, nofollow"),
    ];
    (status, headers, Html(page)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_mail_readers_send_is_read() {
        let form = "application/x-www-form-urlencoded";
        assert!(says_so(form, b"List-Unsubscribe=One-Click"));
        assert!(says_so("", b"a=b&list-unsubscribe=one-click"));
        let multipart = "Multipart/Form-Data; boundary=x";
        let body = "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\n\
                    One-Click\r\n--x--\r\n";
        assert!(says_so(multipart, body.as_bytes()));
        for (kind, body) in [
            (form, ""),
            (form, "List-Unsubscribe=Maybe"),
            (form, body),
            (multipart, "List-Unsubscribe=One-Click"),
            (
                multipart,
                "--x\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"",
            ),
            (multipart, "\u{0}\u{ff}"),
        ] {
            assert!(!says_so(kind, body.as_bytes()), "{kind} {body}");
        }
    }
}
