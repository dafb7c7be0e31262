//! What a client takes for an answer (RFC 9110 §12.5.1): one result as JSON, a stream of them, or
//! either.

use axum::http::{HeaderMap, header};

/// How one result is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `application/json`: a document that is refused is answered with 200.
    Json,
    /// `application/graphql-response+json`: the status says whether the request was run.
    GraphqlResponse,
}

/// How several results are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamFormat {
    /// `text/event-stream`: one event for each result (GraphQL over server-sent events, distinct
    /// connections mode).
    EventStream,
    /// `multipart/mixed` with a `subscriptionSpec`: one part for each result (Apollo's protocol).
    Multipart,
}

/// What a client takes; one of both at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepts {
    /// How it takes one result.
    pub single: Option<Format>,
    /// How it takes several.
    pub stream: Option<StreamFormat>,
    /// Whether it likes a stream better even for one result.
    pub prefers_stream: bool,
}

/// How much a client likes an offer: by quality, then by how precisely it names it.
type Liking = (u16, u8);

impl Accepts {
    /// Reads the `Accept` headers; JSON where there is none. `None`: the client takes nothing that
    /// there is.
    pub fn read(headers: &HeaderMap) -> Option<Self> {
        let mut ranges = Vec::new();
        for value in headers.get_all(header::ACCEPT) {
            let Ok(text) = value.to_str() else { continue };
            ranges.extend(text.split(',').filter_map(Range::read));
        }
        if ranges.is_empty() {
            return Some(Self {
                single: Some(Format::Json),
                stream: None,
                prefers_stream: false,
            });
        }
        let liking = |media_type: &str| -> Option<Liking> {
            let fitting = ranges.iter().filter_map(|range| range.fits(media_type));
            // The most precise range counts, and zero means "not this".
            let (precision, quality) = fitting.max()?;
            (quality > 0).then_some((quality, precision))
        };
        let json = liking("application/json");
        let newer = liking("application/graphql-response+json");
        let single = match (json, newer) {
            (None, None) => None,
            (Some(json), None) => Some((Format::Json, json)),
            (None, Some(newer)) => Some((Format::GraphqlResponse, newer)),
            // Whoever names the newer type, and likes it as much, means it.
            (Some(json), Some(newer)) if newer >= json && newer.1 == 2 => {
                Some((Format::GraphqlResponse, newer))
            }
            (Some(json), Some(_)) => Some((Format::Json, json)),
        };
        // A stream is only for who names it.
        let named = |liking: Option<Liking>| liking.filter(|(_, precision)| *precision == 2);
        let events = named(liking("text/event-stream"));
        let parts = ranges
            .iter()
            .filter(|range| range.is_subscription_spec && range.quality > 0)
            .map(|range| (range.quality, 2))
            .max();
        let stream = match (events, parts) {
            (None, None) => None,
            (Some(events), Some(parts)) if parts > events => Some((StreamFormat::Multipart, parts)),
            (Some(events), _) => Some((StreamFormat::EventStream, events)),
            (None, Some(parts)) => Some((StreamFormat::Multipart, parts)),
        };
        let prefers_stream = match (&single, &stream) {
            (None, Some(_)) => true,
            (Some((_, single)), Some((_, stream))) => stream > single,
            (_, None) => false,
        };
        (single.is_some() || stream.is_some()).then_some(Self {
            single: single.map(|(format, _)| format),
            stream: stream.map(|(format, _)| format),
            prefers_stream,
        })
    }

    /// How a refusal is written: it comes before any stream, as JSON.
    pub fn refusal(&self) -> Format {
        self.single.unwrap_or(Format::Json)
    }
}

/// One entry of an `Accept` header.
struct Range {
    main: String,
    sub: String,
    /// In thousandths.
    quality: u16,
    /// Whether it is `multipart/mixed` as Apollo's subscriptions have it.
    is_subscription_spec: bool,
}

impl Range {
    fn read(text: &str) -> Option<Self> {
        let mut parts = text.split(';').map(str::trim);
        let (main, sub) = parts.next()?.split_once('/')?;
        let (main, sub) = (main.to_ascii_lowercase(), sub.to_ascii_lowercase());
        let mut quality = 1000;
        let mut is_subscription_spec = false;
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            let name = name.trim();
            if name.eq_ignore_ascii_case("q") {
                quality = thousandths(value.trim())?;
            } else if name.eq_ignore_ascii_case("subscriptionSpec") {
                is_subscription_spec = main == "multipart" && sub == "mixed";
            }
        }
        Some(Self {
            main,
            sub,
            quality,
            is_subscription_spec,
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

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn read(accept: &str) -> Option<Accepts> {
        let mut headers = HeaderMap::new();
        headers.insert(
            header::ACCEPT,
            HeaderValue::from_str(accept).expect("a header"),
        );
        Accepts::read(&headers)
    }

    #[test]
    fn one_result_is_written_as_the_client_prefers() {
        let none = Accepts::read(&HeaderMap::new()).expect("JSON");
        assert_eq!((none.single, none.stream), (Some(Format::Json), None));
        for (accept, format) in [
            ("*/*", Format::Json),
            ("application/*", Format::Json),
            ("application/json", Format::Json),
            ("application/graphql-response+json", Format::GraphqlResponse),
            (
                "application/graphql-response+json, application/json;q=0.9",
                Format::GraphqlResponse,
            ),
            (
                "application/graphql-response+json,application/json",
                Format::GraphqlResponse,
            ),
            (
                "application/json, application/graphql-response+json",
                Format::GraphqlResponse,
            ),
            (
                "application/json, application/graphql-response+json;q=0.5",
                Format::Json,
            ),
            ("application/json, */*", Format::Json),
            ("application/json;q=0, */*", Format::GraphqlResponse),
            ("text/html, */*;q=0.1", Format::Json),
        ] {
            let read = read(accept).unwrap_or_else(|| panic!("{accept}"));
            assert_eq!(read.single, Some(format), "{accept}");
            assert!(!read.prefers_stream && read.stream.is_none(), "{accept}");
        }
        for nothing in [
            "text/html",
            "application/json;q=0",
            "text/*",
            "multipart/mixed",
        ] {
            assert_eq!(read(nothing), None, "{nothing}");
        }
    }

    #[test]
    fn a_stream_is_for_who_names_it() {
        for (accept, stream, prefers) in [
            ("text/event-stream", StreamFormat::EventStream, true),
            (
                "text/event-stream, application/json;q=0.1",
                StreamFormat::EventStream,
                true,
            ),
            ("text/event-stream, */*", StreamFormat::EventStream, true),
            (
                "application/json, text/event-stream",
                StreamFormat::EventStream,
                false,
            ),
            (
                "application/graphql-response+json, application/graphql+json, application/json, text/event-stream, multipart/mixed",
                StreamFormat::EventStream,
                false,
            ),
            (
                "multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\"",
                StreamFormat::Multipart,
                true,
            ),
            (
                "multipart/mixed;boundary=graphql;subscriptionSpec=1.0,application/json",
                StreamFormat::Multipart,
                false,
            ),
            (
                "multipart/mixed;subscriptionSpec=1.0;q=0.9, text/event-stream;q=0.8",
                StreamFormat::Multipart,
                true,
            ),
        ] {
            let read = read(accept).unwrap_or_else(|| panic!("{accept}"));
            assert_eq!(
                (read.stream, read.prefers_stream),
                (Some(stream), prefers),
                "{accept}"
            );
        }
    }
}
