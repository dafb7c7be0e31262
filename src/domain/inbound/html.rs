//! HTML as the lines a reader sees. What stands in a quotation is marked as in plain text, so that
//! both are shortened by the same rules. One pass, whatever the markup; never renders anything.

/// What is put where a mail program begins to quote: see [`super::quotation`].
pub(super) const QUOTE_FOLLOWS: &str = "-----Original Message-----";

/// Elements that begin and end a line.
const BLOCKS: &[&str] = &[
    "address",
    "article",
    "blockquote",
    "br",
    "center",
    "dd",
    "div",
    "dl",
    "dt",
    "footer",
    "form",
    "h1",
    "h2",
    "h3",
    "h4",
    "header",
    "hr",
    "li",
    "ol",
    "p",
    "pre",
    "section",
    "table",
    "tr",
];
/// Elements whose content nobody sees.
const UNSEEN: &[&str] = &["script", "style", "title"];
/// Names, in class or id, by which mail programs mark what they quote.
const QUOTES: &[&str] = &[
    "gmail_quote",
    "gmail_attr",
    "yahoo_quoted",
    "divrplyfwdmsg",
    "appendonsend",
    "moz-cite-prefix",
    "protonmail_quote",
    "zmail_extra",
    "tutanota_quote",
    "mail-editor-reference-message",
    "olk_src_body_section",
    "ms-outlook-mobile-reference-message",
];
/// How deep quotations are told apart.
const DEPTH_MAX: usize = 3;

/// The text of an HTML document.
pub(super) fn plain(html: &str) -> String {
    let mut lines = Lines::default();
    let mut rest = html;
    while let Some(at) = rest.find('<') {
        let (text, tag) = rest.split_at(at);
        lines.text(text);
        let Some((tag, after)) = split_tag(tag) else {
            // A bracket that opens nothing: the rest is text, and is not looked through again.
            lines.text(tag);
            return lines.finish();
        };
        rest = lines.tag(tag, after);
    }
    lines.text(rest);
    lines.finish()
}

/// What is between the brackets, and what comes after.
fn split_tag(text: &str) -> Option<(&str, &str)> {
    if let Some(comment) = text.strip_prefix("<!--") {
        let (_, after) = comment.split_once("-->")?;
        return Some(("", after));
    }
    text.get(1..)?.split_once('>')
}

#[derive(Default)]
struct Lines {
    done: String,
    line: String,
    depth: usize,
    preformatted: bool,
    quoted: bool,
}

impl Lines {
    /// Takes a tag; answers where to go on.
    fn tag<'a>(&mut self, tag: &str, after: &'a str) -> &'a str {
        let closes = tag.starts_with('/');
        let name = tag.trim_start_matches('/');
        let end = name.find(|c: char| !c.is_ascii_alphanumeric());
        let name = name.get(..end.unwrap_or(name.len())).unwrap_or_default();
        let name = name.to_ascii_lowercase();
        if !closes && UNSEEN.contains(&name.as_str()) {
            return after_element(&name, after);
        }
        if BLOCKS.contains(&name.as_str()) {
            self.end_line(name == "br" || (closes && name == "p"));
        }
        match (name.as_str(), closes) {
            ("blockquote", false) => self.depth += 1,
            ("blockquote", true) => self.depth = self.depth.saturating_sub(1),
            ("pre", _) => self.preformatted = !closes,
            ("td" | "th", _) => self.line.push(' '),
            _ => {}
        }
        if !closes && !self.quoted && begins_quote(tag) {
            self.quoted = true;
            self.end_line(false);
            self.line.push_str(QUOTE_FOLLOWS);
            self.end_line(false);
        }
        after
    }

    fn text(&mut self, text: &str) {
        let text = entities(text);
        if self.preformatted {
            for (number, line) in text.split('\n').enumerate() {
                if number > 0 {
                    self.end_line(true);
                }
                self.line.push_str(line.trim_end_matches('\r'));
            }
            return;
        }
        for character in text.chars() {
            let space = character.is_whitespace();
            if !space {
                self.line.push(character);
            } else if !self.line.is_empty() && !self.line.ends_with(' ') {
                self.line.push(' ');
            }
        }
    }

    /// Ends the line; one without text only where the markup asks for it.
    fn end_line(&mut self, even_empty: bool) {
        let line = std::mem::take(&mut self.line);
        let line = line.trim_end();
        if line.is_empty() && (!even_empty || self.done.ends_with("\n\n")) {
            return;
        }
        for _ in 0..self.depth.min(DEPTH_MAX) {
            self.done.push_str("> ");
        }
        self.done.push_str(line);
        self.done.push('\n');
    }

    fn finish(mut self) -> String {
        self.end_line(false);
        self.done
    }
}

/// What comes after an element that nobody sees: nothing, if it has no end.
fn after_element<'a>(name: &str, text: &'a str) -> &'a str {
    let close = format!("</{name}");
    let mut windows = text.as_bytes().windows(close.len());
    let found = windows.position(|window| window.eq_ignore_ascii_case(close.as_bytes()));
    found.and_then(|at| text.get(at..)).unwrap_or_default()
}

/// Whether a tag is one with which a mail program wraps what it quotes.
fn begins_quote(tag: &str) -> bool {
    let marked = tag.contains("class") || tag.contains("id=") || tag.contains("id =");
    if !marked {
        return false;
    }
    let tag = tag.to_ascii_lowercase();
    QUOTES.iter().any(|name| tag.contains(name))
}

/// Text with its character references resolved: those that texts have, the rest as they are.
pub(super) fn entities(text: &str) -> String {
    if !text.contains('&') {
        return text.to_owned();
    }
    let mut resolved = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find('&') {
        let (before, reference) = rest.split_at(at);
        resolved.push_str(before);
        // No reference is longer than this.
        let end = reference.bytes().take(12).position(|byte| byte == b';');
        let name = end.and_then(|end| reference.get(1..end));
        match name.and_then(character) {
            Some(character) => {
                resolved.push(character);
                rest = end
                    .and_then(|end| reference.get(end + 1..))
                    .unwrap_or_default();
            }
            None => {
                resolved.push('&');
                rest = reference.get(1..).unwrap_or_default();
            }
        }
    }
    resolved.push_str(rest);
    resolved
}

fn character(name: &str) -> Option<char> {
    if let Some(number) = name.strip_prefix('#') {
        let hexadecimal = number.strip_prefix(['x', 'X']);
        let code = match hexadecimal {
            Some(digits) => u32::from_str_radix(digits, 16).ok()?,
            None => number.parse().ok()?,
        };
        return char::from_u32(code);
    }
    Some(match name {
        "amp" => '&',
        "lt" => '<',
        "gt" => '>',
        "quot" => '"',
        "apos" => '\'',
        "nbsp" => ' ',
        "ndash" => '–',
        "mdash" => '—',
        "lsquo" => '‘',
        "rsquo" => '’',
        "ldquo" => '“',
        "rdquo" => '”',
        "hellip" => '…',
        "euro" => '€',
        "copy" => '©',
        "auml" => 'ä',
        "ouml" => 'ö',
        "uuml" => 'ü',
        "Auml" => 'Ä',
        "Ouml" => 'Ö',
        "Uuml" => 'Ü',
        "szlig" => 'ß',
        "eacute" => 'é',
        "egrave" => 'è',
        "agrave" => 'à',
        "ecirc" => 'ê',
        "ccedil" => 'ç',
        "aacute" => 'á',
        "iacute" => 'í',
        "oacute" => 'ó',
        "uacute" => 'ú',
        "ntilde" => 'ñ',
        "atilde" => 'ã',
        "otilde" => 'õ',
        _ => return None,
    })
}
