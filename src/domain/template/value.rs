//! Values on their way into a text: looked up, filtered, escaped for the place they stand in. Every
//! intermediate value is bounded before it is made.

use std::borrow::Cow;

use super::MergeData;
use super::tags::{Found, Tag, label};

/// Longest single value, in bytes, before and after each filter.
pub(super) const MAX_VALUE_BYTES: usize = 64 * 1024;

/// A value or an output above its bound.
#[derive(Debug)]
pub(super) struct TooLarge;

/// A tag with its filters, applied from left to right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Operand {
    pub(crate) tag: Tag,
    pub(crate) filters: Vec<Filter>,
}

/// A filter. All but `Default` leave a missing value missing.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Filter {
    Default(String),
    Upper,
    Lower,
    Title,
    Capitalize,
    Trim,
    /// `from` is never empty.
    Replace {
        from: String,
        to: String,
    },
}

impl Operand {
    pub(super) fn has_default(&self) -> bool {
        self.filters
            .iter()
            .any(|filter| matches!(filter, Filter::Default(_)))
    }

    pub(super) fn label(&self) -> String {
        label(&self.tag.path())
    }

    /// The filtered value, or `None` where it is missing.
    pub(super) fn resolve<'r>(
        &'r self,
        data: &'r MergeData<'_>,
    ) -> Result<Option<Cow<'r, str>>, TooLarge> {
        let mut value = match self.tag.look_up(data) {
            Found::Text(text) if !is_blank(&text) => Some(text),
            Found::Text(_) | Found::Nothing => None,
            Found::Number(number) => Some(Cow::Owned(number.to_string())),
            Found::Bool(true) => Some(Cow::Borrowed("true")),
            Found::Bool(false) => Some(Cow::Borrowed("false")),
        };
        for filter in &self.filters {
            if value
                .as_ref()
                .is_some_and(|value| value.len() > MAX_VALUE_BYTES)
            {
                return Err(TooLarge);
            }
            value = match (value, filter) {
                (None, Filter::Default(text)) => Some(Cow::Borrowed(text.as_str())),
                (None, _) => None,
                (Some(value), filter) => Some(filter.apply(value)?),
            };
        }
        match value {
            Some(value) if value.len() > MAX_VALUE_BYTES => Err(TooLarge),
            other => Ok(other),
        }
    }

    /// Whether a condition on this operand holds: present, and neither `false` nor `0`.
    pub(super) fn is_true(&self, data: &MergeData<'_>) -> Result<bool, TooLarge> {
        if self.filters.is_empty() {
            match self.tag.look_up(data) {
                Found::Bool(bool) => return Ok(bool),
                Found::Number(number) => return Ok(number.as_f64() != Some(0.0)),
                Found::Text(_) | Found::Nothing => {}
            }
        }
        Ok(self.resolve(data)?.is_some_and(|value| !is_blank(&value)))
    }
}

impl Filter {
    fn apply<'r>(&self, value: Cow<'r, str>) -> Result<Cow<'r, str>, TooLarge> {
        Ok(match self {
            Filter::Default(_) => value,
            Filter::Upper => Cow::Owned(value.to_uppercase()),
            Filter::Lower => Cow::Owned(value.to_lowercase()),
            Filter::Title => Cow::Owned(capitals(&value, |c| c.is_whitespace() || c == '-')),
            Filter::Capitalize => Cow::Owned(capitals(&value, |_| false)),
            Filter::Trim => Cow::Owned(value.trim().to_owned()),
            Filter::Replace { from, to } => {
                let hits = value.matches(from.as_str()).count();
                let size = value.len().saturating_add(hits.saturating_mul(to.len()));
                if size > MAX_VALUE_BYTES * 2 {
                    return Err(TooLarge);
                }
                Cow::Owned(value.replace(from.as_str(), to))
            }
        })
    }
}

/// Upper-cases the first letter and each one after a separator, lower-cases the rest.
fn capitals(value: &str, separates: impl Fn(char) -> bool) -> String {
    let mut out = String::with_capacity(value.len());
    let mut starts = true;
    for c in value.chars() {
        if starts {
            out.extend(c.to_uppercase());
        } else {
            out.extend(c.to_lowercase());
        }
        starts = separates(c);
    }
    out
}

/// Whether nothing of the text can be seen: empty, white space, control or zero-width characters.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || c.is_control()
            || matches!(
                c,
                '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{2060}' | '\u{feff}'
            )
    })
}

/// Which part of a URL a value fills.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum UrlPart {
    /// Its beginning, with the scheme.
    Whole,
    /// Behind a fixed scheme, before any query: URL delimiters stay.
    Path,
    /// In a query or fragment: everything but unreserved characters is encoded.
    Query,
}

/// How a value is written where it stands.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Escape {
    /// As it is, without control characters except line breaks and tabs.
    Text,
    /// As it is, on one line.
    Line,
    /// Within a JSON string.
    Json,
    /// HTML text or a quoted attribute value.
    Html,
    /// A URL in a quoted HTML attribute.
    UrlHtml(UrlPart),
    /// The same URL in plain text.
    UrlText(UrlPart),
}

impl Escape {
    pub(super) fn write(self, value: &str, out: &mut String) {
        match self {
            Escape::Text => push_text(value, out),
            Escape::Line => out.extend(value.chars().map(|c| if breaks(c) { ' ' } else { c })),
            Escape::Json => push_json(value, out),
            Escape::Html => push_html(value, out),
            Escape::UrlText(part) => push_url(value, part, out),
            Escape::UrlHtml(part) => {
                let mut url = String::with_capacity(value.len() + 16);
                push_url(value, part, &mut url);
                push_html(&url, out);
            }
        }
    }
}

/// Characters that may end a line or are no text at all.
fn breaks(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

fn push_text(value: &str, out: &mut String) {
    let unwanted = |c: char| c.is_control() && c != '\n' && c != '\t';
    if value.contains(unwanted) {
        out.extend(
            value
                .replace("\r\n", "\n")
                .replace('\r', "\n")
                .chars()
                .filter(|c| !unwanted(*c)),
        );
    } else {
        out.push_str(value);
    }
}

/// Escapes for the inside of a JSON string.
fn push_json(value: &str, out: &mut String) {
    let quoted = serde_json::Value::from(value).to_string();
    out.push_str(quoted.get(1..quoted.len() - 1).unwrap_or_default());
}

/// Escapes for HTML text and quoted attribute values.
pub(crate) fn push_html(value: &str, out: &mut String) {
    for c in value.chars() {
        match c {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            '\n' | '\t' => out.push(c),
            c if c.is_control() => {}
            c => out.push(c),
        }
    }
}

/// Writes a value as (part of) a URL whose scheme is, or becomes, http, https or mailto.
fn push_url(value: &str, part: UrlPart, out: &mut String) {
    let value = value.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    match part {
        UrlPart::Query => percent_encode(value, "", out),
        UrlPart::Path => percent_encode(value, URL_DELIMITERS, out),
        UrlPart::Whole => {
            let delimiter = value.find([':', '/', '?', '#']);
            let has_scheme = delimiter
                .is_some_and(|at| value.get(at..).is_some_and(|rest| rest.starts_with(':')));
            let allowed = ["http://", "https://", "mailto:"].iter().any(|scheme| {
                value
                    .get(..scheme.len())
                    .is_some_and(|head| head.eq_ignore_ascii_case(scheme))
            });
            if allowed {
                percent_encode(value, URL_DELIMITERS, out);
            } else if has_scheme || delimiter == Some(0) || value.is_empty() {
                out.push('#');
            } else {
                out.push_str("https://");
                percent_encode(value, URL_DELIMITERS, out);
            }
        }
    }
}

/// What a whole URL may hold unencoded beside letters, digits and `-._~` (RFC 3986 section 2.2),
/// and `%`, since what is encoded already must not be encoded twice.
const URL_DELIMITERS: &str = ":/?#[]@!$&'()*+,;=%";

fn percent_encode(value: &str, keep: &str, out: &mut String) {
    for c in value.chars() {
        if c.is_ascii_alphanumeric() || "-._~".contains(c) || keep.contains(c) {
            out.push(c);
        } else {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                out.push('%');
                for nibble in [byte >> 4, byte & 15] {
                    out.extend(
                        char::from_digit(u32::from(nibble), 16).map(|c| c.to_ascii_uppercase()),
                    );
                }
            }
        }
    }
}

/// One line without control characters, its white space collapsed.
pub(super) fn one_line(text: &str) -> String {
    let mut line = String::with_capacity(text.len());
    for word in text
        .split(|c: char| c == ' ' || breaks(c))
        .filter(|word| !word.is_empty())
    {
        if !line.is_empty() {
            line.push(' ');
        }
        line.push_str(word);
    }
    line
}
