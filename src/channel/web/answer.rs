//! What came back.

use chrono::Duration;
use hyper::header::{DATE, HeaderMap, HeaderName, RETRY_AFTER};

use super::ANSWER_BYTES_MAX;

/// So much of an answer is shown to people, in characters.
pub const EXCERPT_CHARS_MAX: usize = 200;
/// No answer makes us wait longer.
const RETRY_AFTER_MAX: Duration = Duration::days(1);

/// An answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WebAnswer {
    /// Its status (RFC 9110 §15).
    pub status: u16,
    /// How long it asks to wait before the next request, a day at most.
    pub retry_after: Option<Duration>,
    body: Vec<u8>,
    cut: bool,
}

impl WebAnswer {
    pub(super) fn new(status: u16, headers: &HeaderMap) -> Self {
        Self {
            status,
            retry_after: retry_after(headers),
            body: Vec::new(),
            cut: false,
        }
    }

    pub(super) fn take(&mut self, data: &[u8]) {
        let room = ANSWER_BYTES_MAX.saturating_sub(self.body.len());
        self.body.extend(data.iter().take(room));
        self.cut |= data.len() > room;
    }

    pub(super) fn cut(&mut self) {
        self.cut = true;
    }

    /// Whether there was more, or the rest did not come.
    pub fn is_cut(&self) -> bool {
        self.cut
    }

    /// 2xx.
    pub fn is_success(&self) -> bool {
        matches!(self.status, 200..=299)
    }

    /// The body, or its beginning.
    pub fn body(&self) -> &[u8] {
        &self.body
    }

    /// The beginning of the body, as a line that can be shown.
    pub fn excerpt(&self) -> String {
        // A character of four bytes is the longest.
        let some = self.body.get(..4 * EXCERPT_CHARS_MAX);
        excerpt(&String::from_utf8_lossy(some.unwrap_or(&self.body)))
    }
}

/// The beginning of a text, as a line that can be shown.
pub(in crate::channel) fn excerpt(text: &str) -> String {
    let line = text.split(|c: char| c.is_whitespace() || c.is_control());
    let words: Vec<&str> = line.filter(|word| !word.is_empty()).collect();
    words.join(" ").chars().take(EXCERPT_CHARS_MAX).collect()
}

/// Retry-After: seconds, or a date (RFC 9110 §10.2.3). A date is reckoned from the answer's own, so
/// that neither clock needs to be right; without one it says nothing.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = |name: HeaderName| headers.get(name)?.to_str().ok().map(str::trim);
    let asked = text(RETRY_AFTER)?;
    let wait = if !asked.is_empty() && asked.bytes().all(|byte| byte.is_ascii_digit()) {
        let seconds = asked.parse().ok();
        seconds
            .and_then(Duration::try_seconds)
            .unwrap_or(RETRY_AFTER_MAX)
    } else {
        let until = httpdate::parse_http_date(asked).ok()?;
        let from = httpdate::parse_http_date(text(DATE)?).ok()?;
        let wait = until.duration_since(from).unwrap_or_default();
        Duration::from_std(wait).unwrap_or(RETRY_AFTER_MAX)
    };
    Some(wait.min(RETRY_AFTER_MAX))
}

#[cfg(test)]
mod tests {
    use hyper::header::HeaderValue;
    use proptest::prelude::*;

    use super::*;

    fn wait(after: &str, date: &str) -> Option<i64> {
        let mut headers = HeaderMap::new();
        for (name, text) in [(RETRY_AFTER, after), (DATE, date)] {
            if let Ok(value) = HeaderValue::from_str(text) {
                headers.insert(name, value);
            }
        }
        retry_after(&headers).map(|wait| wait.num_seconds())
    }

    #[test]
    fn a_wait_is_given_in_seconds_or_as_a_date() {
        let date = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(wait("120", ""), Some(120));
        assert_eq!(wait(" 0 ", ""), Some(0));
        assert_eq!(wait("99999999999999999999999", ""), Some(86_400));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", date), Some(30));
        assert_eq!(wait("Sunday, 06-Nov-94 08:50:07 GMT", date), Some(30));
        assert_eq!(wait("Sun Nov  6 08:50:07 1994", date), Some(30));
        assert_eq!(wait("Sun, 06 Nov 1994 08:49:30 GMT", date), Some(0));
        assert_eq!(wait("Sat, 06 Nov 2094 08:49:30 GMT", date), Some(86_400));
        assert_eq!(wait("Sun, 06 Nov 1994 08:50:07 GMT", ""), None);
        for junk in ["", "-1", "1.5", "soon", "+3"] {
            assert_eq!(wait(junk, date), None, "{junk}");
        }
    }

    proptest! {
        #[test]
        fn what_is_shown_is_one_short_line(body in any::<Vec<u8>>()) {
            let mut answer = WebAnswer::new(200, &HeaderMap::new());
            answer.take(&body);
            let shown = answer.excerpt();
            prop_assert!(shown.chars().count() <= EXCERPT_CHARS_MAX);
            prop_assert!(!shown.contains(char::is_control));
        }
    }
}
