//! Which web pages may use the API from a browser: those that this server answers itself, and those
//! that it was told of. Requests that come from no page have no `Origin` and are not concerned.

use axum::http::{HeaderMap, HeaderValue, Method, header};
use tower_http::cors::{AllowOrigin, CorsLayer};

/// The origins of pages that may use the API.
#[derive(Debug, Clone, Default)]
pub struct Origins(Vec<HeaderValue>);

/// The text is no origin.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("\"{0}\" is not an origin; write scheme and host, as in https://app.example.com")]
pub struct NotAnOrigin(String);

impl Origins {
    /// Reads origins, `https://app.example.com`.
    ///
    /// # Errors
    /// For what is none: a path, no scheme, or `*`.
    pub fn read<'a>(texts: impl IntoIterator<Item = &'a str>) -> Result<Self, NotAnOrigin> {
        let origin = |text: &str| {
            let given = text.trim().trim_end_matches('/');
            let origin = url::Url::parse(given).ok()?.origin();
            let written = origin.ascii_serialization();
            let is_one = origin.is_tuple() && written.eq_ignore_ascii_case(given);
            HeaderValue::from_str(&written).ok().filter(|_| is_one)
        };
        let read = texts
            .into_iter()
            .map(|text| origin(text).ok_or_else(|| NotAnOrigin(text.into())));
        Ok(Self(read.collect::<Result<_, _>>()?))
    }

    /// Whether a request may open a socket: browsers ask nobody before they do.
    pub fn admit(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else {
            return true;
        };
        self.0.contains(origin) || is_own(origin, headers)
    }

    /// What browsers ask before a request of a page elsewhere (Fetch, "HTTP-CORS protocol").
    pub fn layer(&self) -> CorsLayer {
        CorsLayer::new()
            .allow_origin(AllowOrigin::list(self.0.iter().cloned()))
            .allow_methods([Method::GET, Method::POST])
            .allow_headers([
                header::AUTHORIZATION,
                header::CONTENT_TYPE,
                header::ACCEPT,
                super::post::COST,
                super::post::PREFLIGHT,
            ])
            .expose_headers([super::answer::REQUEST_ID, header::RETRY_AFTER])
            .max_age(std::time::Duration::from_secs(600))
    }
}

/// Whether a page comes from where the request goes to.
fn is_own(origin: &HeaderValue, headers: &HeaderMap) -> bool {
    let text = |value: &HeaderValue| value.to_str().ok().map(str::to_ascii_lowercase);
    let host = headers.get(header::HOST).and_then(text);
    let origin = text(origin);
    let authority = origin
        .as_deref()
        .and_then(|origin| origin.split_once("://"));
    authority.is_some_and(|(_, authority)| host.as_deref() == Some(authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(origin: &'static str, host: &'static str) -> HeaderMap {
        let mut headers = HeaderMap::new();
        headers.insert(header::HOST, HeaderValue::from_static(host));
        if !origin.is_empty() {
            headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
        }
        headers
    }

    #[test]
    fn pages_of_this_server_and_of_the_list_are_admitted() {
        let origins = Origins::read(["https://app.example.com", "http://localhost:3000/"]);
        let origins = origins.expect("origins");
        let admitted = |origin, host| origins.admit(&headers(origin, host));
        assert!(admitted("", "api.example.com"));
        assert!(admitted("https://app.example.com", "api.example.com"));
        assert!(admitted("http://localhost:3000", "localhost:8080"));
        assert!(admitted("http://127.0.0.1:8080", "127.0.0.1:8080"));
        for foreign in [
            "https://evil.example",
            "null",
            "https://app.example.com.evil.example",
            "http://app.example.com",
            "https://api.example.com:444",
            "https://evil.example/api.example.com",
        ] {
            assert!(!admitted(foreign, "api.example.com"), "{foreign}");
        }
    }

    #[test]
    fn what_is_no_origin_is_refused() {
        for text in [
            "*",
            "app.example.com",
            "https://app.example.com/x",
            "null",
            "",
            "data:x",
        ] {
            assert!(Origins::read([text]).is_err(), "{text}");
        }
    }
}
