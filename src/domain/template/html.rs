//! Where in an HTML document a character stands, by a reduced form of the tokenizer of the WHATWG
//! HTML standard (section 13.2.5). It decides whether a value may be merged at a place and how it
//! is escaped there, and tells a [`Sink`] what it reads. It builds no tree and keeps no input.

use super::value::{Escape, UrlPart};

/// Receives what the scanner recognises; every method may be left out.
pub(crate) trait Sink {
    /// A character of text, entities undecoded.
    fn text(&mut self, _c: char) {}
    /// A character of an attribute's value, entities undecoded.
    fn attribute_char(&mut self, _c: char) {}
    /// The end of an attribute's value.
    fn attribute_end(&mut self, _name: &str) {}
    /// The `>` of a start or end tag.
    fn tag(&mut self, _name: &str, _is_end: bool) {}
    /// A conditional comment of Outlook begins (`hidden` from all other readers) or ends.
    fn conditional(&mut self, _hidden: bool) {}
}

/// Recognises without telling anybody.
pub(super) struct NoSink;
impl Sink for NoSink {}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Text,
    /// Inside an element whose content is no markup: `name` holds the element.
    RawText,
    TagOpen,
    EndTagOpen,
    TagName,
    InTag,
    AttributeName,
    AfterAttributeName,
    BeforeValue,
    Value(char),
    Unquoted,
    Markup,
    CommentStart,
    /// With the number of dashes just read.
    Comment(u8),
    ConditionalOpen,
    Bogus,
}

/// How far a URL in an attribute has come.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Url {
    Start,
    Scheme,
    Path,
    Query,
    /// Nothing may be merged here: the scheme is not known or not allowed.
    Closed,
}

/// The scanner: feed it text and ask what a merged value at the present place needs.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Scanner {
    state: State,
    is_end: bool,
    name: String,
    attribute: String,
    /// Characters read since the last decision: scheme, `<!--`, end of raw text.
    pending: String,
    url: Url,
}

const RAW_TEXT: [&str; 9] = [
    "script",
    "style",
    "title",
    "textarea",
    "xmp",
    "iframe",
    "noembed",
    "noframes",
    "plaintext",
];
const URL_ATTRIBUTES: [&str; 6] = ["href", "src", "background", "action", "cite", "xlink:href"];
const TEXT_ATTRIBUTES: [&str; 24] = [
    "abbr",
    "align",
    "alt",
    "bgcolor",
    "border",
    "class",
    "color",
    "cols",
    "colspan",
    "dir",
    "face",
    "height",
    "id",
    "label",
    "lang",
    "name",
    "placeholder",
    "role",
    "rowspan",
    "size",
    "summary",
    "title",
    "valign",
    "width",
];
const SCHEMES: [&str; 5] = ["http", "https", "mailto", "tel", "sms"];

impl Scanner {
    pub(crate) fn new() -> Scanner {
        Scanner {
            state: State::Text,
            is_end: false,
            name: String::new(),
            attribute: String::new(),
            pending: String::new(),
            url: Url::Start,
        }
    }

    /// Whether the place is inside a quoted attribute value.
    pub(crate) fn in_value(&self) -> bool {
        matches!(self.state, State::Value(_))
    }

    /// Whether a document may end here.
    pub(super) fn at_rest(&self) -> bool {
        self.state == State::Text
    }

    pub(crate) fn feed(&mut self, text: &str, sink: &mut impl Sink) {
        for c in text.chars() {
            self.step(c, sink);
        }
    }

    /// How a value merged here is escaped, or why it may not stand here.
    pub(super) fn merge(&mut self) -> Result<Escape, String> {
        let refuse = |why: &str| Err(why.to_owned());
        match self.state {
            State::Text => Ok(Escape::Html),
            State::RawText if matches!(self.name.as_str(), "title" | "textarea") => {
                self.pending.clear();
                Ok(Escape::Html)
            }
            State::RawText => Err(format!(
                "a merge tag cannot stand inside <{}>: move it into the text",
                self.name
            )),
            State::Value(_) => self.merge_in_value(),
            State::BeforeValue | State::Unquoted => {
                refuse("a merge tag in an attribute needs quotes: write name=\"{{ first_name }}\"")
            }
            State::Markup
            | State::CommentStart
            | State::Comment(_)
            | State::ConditionalOpen
            | State::Bogus => refuse(
                "a merge tag cannot stand inside an HTML comment: move it out or use {# … #}",
            ),
            State::TagOpen
            | State::EndTagOpen
            | State::TagName
            | State::InTag
            | State::AttributeName
            | State::AfterAttributeName => refuse(
                "a merge tag cannot stand inside an HTML tag except in a quoted attribute value",
            ),
        }
    }

    fn merge_in_value(&mut self) -> Result<Escape, String> {
        let name = self.attribute.as_str();
        if !self.is_end && self.name != "meta" {
            let text = TEXT_ATTRIBUTES.contains(&name)
                || name.starts_with("data-")
                || name.starts_with("aria-");
            if text {
                return Ok(Escape::Html);
            }
            if URL_ATTRIBUTES.contains(&name) {
                let part = match self.url {
                    Url::Start => UrlPart::Whole,
                    Url::Path => UrlPart::Path,
                    Url::Query => UrlPart::Query,
                    Url::Scheme | Url::Closed => {
                        return Err(format!(
                            "a merge tag cannot complete the beginning of a URL in {name}: begin \
                             it with https:// or mailto:, or merge the whole URL"
                        ));
                    }
                };
                if self.url == Url::Start {
                    self.url = Url::Path;
                }
                return Ok(Escape::UrlHtml(part));
            }
        }
        Err(format!(
            "a merge tag cannot stand in the attribute {name}: use it in the text, or in href, \
             src, alt, title, class, id or a data- attribute"
        ))
    }

    /// The place after an `{% if %}` whose branches ended at `self` and `other`.
    pub(super) fn join(&mut self, other: &Scanner) -> Result<(), String> {
        if self == other {
            return Ok(());
        }
        let url = self.url;
        self.url = other.url;
        self.pending.clone_from(&other.pending);
        if self != other || !self.in_value() {
            return Err(
                "the branches of this {% if %} end at different places in the HTML: let \
                        each hold whole elements, or stay inside one attribute value"
                    .to_owned(),
            );
        }
        self.url = match (url, other.url) {
            (Url::Path | Url::Query, Url::Path | Url::Query) => Url::Query,
            _ => Url::Closed,
        };
        Ok(())
    }

    fn step(&mut self, c: char, sink: &mut impl Sink) {
        match self.state {
            State::Text => match c {
                '<' => self.state = State::TagOpen,
                c => sink.text(c),
            },
            State::RawText => self.raw_text(c, sink),
            State::TagOpen | State::EndTagOpen => self.tag_open(c, sink),
            State::TagName => match c {
                '>' => self.close_tag(sink),
                '/' => self.state = State::InTag,
                c if c.is_ascii_whitespace() => self.state = State::InTag,
                c => self.name.push(c.to_ascii_lowercase()),
            },
            State::InTag => self.in_tag(c, sink),
            State::AttributeName | State::AfterAttributeName => self.attribute_name(c, sink),
            State::BeforeValue => match c {
                '"' | '\'' => self.state = State::Value(c),
                '>' => self.close_tag(sink),
                c if c.is_ascii_whitespace() => {}
                c => {
                    self.state = State::Unquoted;
                    sink.attribute_char(c);
                }
            },
            State::Value(quote) if c == quote => self.end_attribute(sink),
            State::Value(_) => {
                self.advance_url(c);
                sink.attribute_char(c);
            }
            State::Unquoted => match c {
                '>' => {
                    self.end_attribute(sink);
                    self.close_tag(sink);
                }
                c if c.is_ascii_whitespace() => self.end_attribute(sink),
                c => sink.attribute_char(c),
            },
            State::Markup
            | State::CommentStart
            | State::Comment(_)
            | State::ConditionalOpen
            | State::Bogus => self.comment(c, sink),
        }
    }

    fn tag_open(&mut self, c: char, sink: &mut impl Sink) {
        let is_end = self.state == State::EndTagOpen;
        match c {
            c if c.is_ascii_alphabetic() => {
                self.is_end = is_end;
                self.name.push(c.to_ascii_lowercase());
                self.state = State::TagName;
            }
            '/' if !is_end => self.state = State::EndTagOpen,
            '!' if !is_end => self.state = State::Markup,
            '?' if !is_end => self.state = State::Bogus,
            '>' if is_end => self.rest(),
            c if is_end => {
                self.state = State::Bogus;
                self.comment(c, sink);
            }
            c => {
                self.rest();
                sink.text('<');
                self.step(c, sink);
            }
        }
    }

    fn in_tag(&mut self, c: char, sink: &mut impl Sink) {
        match c {
            '>' => self.close_tag(sink),
            '/' => {}
            c if c.is_ascii_whitespace() => {}
            c => {
                self.attribute.push(c.to_ascii_lowercase());
                self.state = State::AttributeName;
            }
        }
    }

    fn attribute_name(&mut self, c: char, sink: &mut impl Sink) {
        match c {
            '=' => self.state = State::BeforeValue,
            '>' => self.close_tag(sink),
            '/' => self.leave_attribute(),
            c if c.is_ascii_whitespace() => self.state = State::AfterAttributeName,
            c => {
                if self.state == State::AfterAttributeName {
                    self.leave_attribute();
                    self.state = State::AttributeName;
                }
                self.attribute.push(c.to_ascii_lowercase());
            }
        }
    }

    fn end_attribute(&mut self, sink: &mut impl Sink) {
        sink.attribute_end(&self.attribute);
        self.leave_attribute();
    }

    fn leave_attribute(&mut self) {
        self.attribute.clear();
        self.pending.clear();
        self.url = Url::Start;
        self.state = State::InTag;
    }

    fn close_tag(&mut self, sink: &mut impl Sink) {
        sink.tag(&self.name, self.is_end);
        if !self.is_end && RAW_TEXT.contains(&self.name.as_str()) {
            self.leave_attribute();
            self.state = State::RawText;
        } else {
            self.rest();
        }
    }

    /// Back to text, with nothing remembered: equal places compare equal.
    fn rest(&mut self) {
        self.leave_attribute();
        self.name.clear();
        self.is_end = false;
        self.state = State::Text;
    }

    /// Waits for the end tag of a raw text element; `plaintext` has none.
    fn raw_text(&mut self, c: char, sink: &mut impl Sink) {
        sink.text(c);
        let open = self.pending.len() > 2 + self.name.len();
        if c == '<' {
            self.pending.clear();
            self.pending.push('<');
        } else if !self.pending.is_empty() && !open {
            let name = self.pending.get(2..);
            let complete = name == Some(self.name.as_str()) && self.name != "plaintext";
            if complete && (c == '>' || c == '/' || c.is_ascii_whitespace()) {
                self.is_end = true;
                self.pending.clear();
                self.state = State::InTag;
                self.in_tag(c, sink);
            } else {
                self.pending.push(c.to_ascii_lowercase());
                let expected = format!("</{}", self.name);
                if !expected.starts_with(&self.pending) {
                    self.pending.clear();
                }
            }
        }
    }

    fn comment(&mut self, c: char, sink: &mut impl Sink) {
        match self.state {
            State::Markup => match (self.pending.as_str(), c) {
                (_, '>') => {
                    if self.pending.to_ascii_lowercase().starts_with("[endif]") {
                        sink.conditional(false);
                    }
                    self.rest();
                }
                ("-", '-') => {
                    self.pending.clear();
                    self.state = State::CommentStart;
                }
                _ if self.pending.len() < 16 => self.pending.push(c),
                _ => self.state = State::Bogus,
            },
            State::CommentStart => {
                self.pending.push(c.to_ascii_lowercase());
                match self.pending.as_str() {
                    ">" | "->" => self.rest(),
                    "[" | "[i" | "-" => {}
                    "[if" => self.state = State::ConditionalOpen,
                    "--" => self.state = State::Comment(2),
                    _ => {
                        self.pending.clear();
                        self.state = State::Comment(0);
                    }
                }
            }
            State::Comment(dashes) => match c {
                '-' => self.state = State::Comment(dashes.saturating_add(1)),
                '>' if dashes >= 2 => self.rest(),
                '!' if dashes >= 2 => {}
                _ => self.state = State::Comment(0),
            },
            // The inside of a conditional comment is markup to Outlook, so it is scanned as such.
            State::ConditionalOpen => {
                if c == '>' {
                    let hidden = !self.pending.starts_with("[if!mso");
                    self.rest();
                    sink.conditional(hidden);
                } else if !c.is_whitespace() && self.pending.len() < 16 {
                    self.pending.push(c.to_ascii_lowercase());
                }
            }
            _ => {
                if c == '>' {
                    self.rest();
                }
            }
        }
    }

    fn advance_url(&mut self, c: char) {
        self.url = match (self.url, c) {
            (Url::Closed, _) => Url::Closed,
            (Url::Start, c) if c.is_ascii_whitespace() => Url::Start,
            (Url::Start | Url::Scheme | Url::Path, '?' | '#') | (Url::Query, _) => Url::Query,
            (Url::Path, '&' | '=') => Url::Query,
            (Url::Start | Url::Scheme, '/') | (Url::Path, _) => Url::Path,
            (Url::Start, c) if c.is_ascii_alphabetic() => Url::Scheme,
            (Url::Scheme, c) if c.is_ascii_alphanumeric() || "+-.".contains(c) => Url::Scheme,
            (Url::Scheme, ':') if SCHEMES.contains(&self.pending.as_str()) => Url::Path,
            (Url::Start | Url::Scheme, _) => Url::Closed,
        };
        if self.url == Url::Scheme && self.pending.len() < 16 {
            self.pending.push(c.to_ascii_lowercase());
        } else if self.url != Url::Scheme {
            self.pending.clear();
        }
    }
}
