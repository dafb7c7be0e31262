//! HTML made of a rendered plain text: paragraphs, line breaks and clickable links. Everything is
//! escaped; only http and https addresses become links.

use crate::domain::template::value::push_html;

/// The text as an HTML body.
pub(super) fn html_of(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + text.len() / 4 + 64);
    let mut in_paragraph = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            if in_paragraph {
                out.push_str("</p>\n");
            }
            in_paragraph = false;
            continue;
        }
        out.push_str(if in_paragraph { "<br>\n" } else { "<p>" });
        in_paragraph = true;
        push_line(line.trim_end(), &mut out);
    }
    if in_paragraph {
        out.push_str("</p>\n");
    }
    out
}

fn push_line(mut line: &str, out: &mut String) {
    while let Some(at) = next_url(line) {
        let (before, rest) = line.split_at(at);
        let (url, after) = rest.split_at(url_length(rest));
        push_html(before, out);
        out.push_str("<a href=\"");
        push_html(url, out);
        out.push_str("\">");
        push_html(url, out);
        out.push_str("</a>");
        line = after;
    }
    push_html(line, out);
}

/// Where the next address begins that has at least one character behind its scheme.
fn next_url(line: &str) -> Option<usize> {
    line.match_indices("http").map(|(at, _)| at).find(|at| {
        let rest = line.get(*at..).unwrap_or_default();
        let host = rest
            .strip_prefix("https://")
            .or_else(|| rest.strip_prefix("http://"));
        let word_before = line
            .get(..*at)
            .is_some_and(|before| before.ends_with(char::is_alphanumeric));
        !word_before && host.is_some_and(|host| host.starts_with(char::is_alphanumeric))
    })
}

/// Up to white space, quotes or angle brackets, without the punctuation of the sentence around; a
/// closing bracket belongs to the address where it was opened in it.
fn url_length(rest: &str) -> usize {
    let end = rest
        .find(|c: char| c.is_whitespace() || c.is_control() || "<>\"".contains(c))
        .unwrap_or(rest.len());
    let mut url = rest.get(..end).unwrap_or(rest);
    let opened = url.matches('(').count();
    let mut closed = url.matches(')').count();
    loop {
        let shorter = match url.strip_suffix(')') {
            Some(shorter) if closed > opened => {
                closed -= 1;
                Some(shorter)
            }
            Some(_) => None,
            None => url.strip_suffix(['.', ',', ';', ':', '!', '?', '\'', '*', ']', '}']),
        };
        match shorter {
            Some(shorter) => url = shorter,
            None => return url.len(),
        }
    }
}
