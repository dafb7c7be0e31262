//! The plain text of an HTML template, as a template: its values and conditions stay, its markup
//! goes. The HTML is read once, as a stream and without building a document, when the content is
//! compiled, so it costs nothing per message and nested markup cannot make it expensive.
//!
//! Layout is first written as marks (control characters, which a source or value never holds) and
//! settled by [`lay_out`] after rendering, since which breaks meet depends on the conditions.

mod entity;

use crate::domain::template::html::{Scanner, Sink};
use crate::domain::template::value::Escape;
use crate::domain::template::{Emit, Kind, Node, Template};

/// At least a line break.
const LINE: char = '\u{1}';
/// At least a blank line.
const PARAGRAPH: char = '\u{2}';
/// One line break more.
const BREAK: char = '\u{3}';
/// A space that stays, in preformatted text.
const SPACE: char = '\u{4}';

/// Derives the text template of an HTML template.
pub(super) fn text_of(html: &Template) -> Template {
    let mut reader = Reader {
        scanner: Scanner::new(),
        writer: Writer::default(),
    };
    reader.nodes(html.nodes());
    html.derived(reader.writer.finish(), Kind::Text)
}

/// Whether a derived template can never show anything.
pub(super) fn is_blank(derived: &Template) -> bool {
    fn blank(nodes: &[Node]) -> bool {
        nodes.iter().all(|node| match node {
            Node::Text(text) => text.chars().all(|c| c.is_whitespace() || c.is_control()),
            Node::Emit(_) => false,
            Node::If {
                then, otherwise, ..
            } => blank(then) && blank(otherwise),
        })
    }
    blank(derived.nodes())
}

/// Turns marks into line breaks and collapses white space.
pub(super) fn lay_out(marked: &str) -> String {
    let mut out = String::with_capacity(marked.len());
    let (mut space, mut breaks) = (false, 0_usize);
    for c in marked.chars() {
        match c {
            ' ' | '\n' | '\t' | '\r' => space = true,
            LINE => breaks = breaks.max(1),
            PARAGRAPH => breaks = breaks.max(2),
            BREAK => breaks = (breaks + 1).min(2),
            c => {
                if !out.is_empty() {
                    if breaks > 0 {
                        out.extend(std::iter::repeat_n('\n', breaks));
                    } else if space {
                        out.push(' ');
                    }
                }
                (space, breaks) = (false, 0);
                out.push(if c == SPACE { ' ' } else { c });
            }
        }
    }
    if !out.is_empty() {
        out.push('\n');
    }
    out
}

struct Reader {
    scanner: Scanner,
    writer: Writer,
}

impl Reader {
    fn nodes(&mut self, nodes: &[Node]) {
        for node in nodes {
            match node {
                Node::Text(text) => self.scanner.feed(text, &mut self.writer),
                Node::Emit(emit) => {
                    let escape = match emit.escape {
                        Escape::UrlHtml(part) => Escape::UrlText(part),
                        Escape::Text
                        | Escape::Line
                        | Escape::Json
                        | Escape::Html
                        | Escape::UrlText(_) => Escape::Line,
                    };
                    let emit = Emit {
                        operand: emit.operand.clone(),
                        escape,
                    };
                    self.writer.push(Node::Emit(emit), self.scanner.in_value());
                }
                Node::If {
                    condition,
                    then,
                    otherwise,
                } => {
                    let in_value = self.scanner.in_value();
                    self.writer.flush(in_value);
                    let before = (self.scanner.clone(), self.writer.fork());
                    let mut base = std::mem::replace(&mut self.writer, before.1.clone());
                    self.nodes(then);
                    let then = self.writer.take(in_value);
                    let (after_then, then_writer) = (self.scanner.clone(), self.writer.fork());
                    (self.scanner, self.writer) = before;
                    self.nodes(otherwise);
                    let otherwise = self.writer.take(in_value);
                    // Both ended at the same place; the one that read more is as good as the other.
                    self.scanner = after_then;
                    base.resume(&then_writer, &self.writer);
                    self.writer = base;
                    if !(then.is_empty() && otherwise.is_empty()) {
                        let condition = condition.clone();
                        self.writer.push(
                            Node::If {
                                condition,
                                then,
                                otherwise,
                            },
                            in_value,
                        );
                    }
                }
            }
        }
    }
}

/// An open link: its address, and how much had been written when it began.
#[derive(Clone, Debug)]
struct Link {
    href: Vec<Node>,
    start: usize,
}

/// Writes marked text.
#[derive(Clone, Debug, Default)]
struct Writer {
    nodes: Vec<Node>,
    /// Characters of text not yet written, entities undecoded.
    text: String,
    /// The attribute value being read.
    value: Vec<Node>,
    value_text: String,
    /// Attributes of the tag being read.
    href: Vec<Node>,
    alt: Vec<Node>,
    invisible: bool,
    links: Vec<Link>,
    /// An element that is not shown, and how often its name is open.
    skipping: Option<(String, usize)>,
    /// Inside a conditional comment that only Outlook reads.
    outlook: bool,
    preformatted: usize,
}

impl Writer {
    /// The state without what was written.
    fn fork(&mut self) -> Writer {
        let nodes = std::mem::take(&mut self.nodes);
        let value = std::mem::take(&mut self.value);
        let mut fork = self.clone();
        fork.links.iter_mut().for_each(|link| link.start = 0);
        (self.nodes, self.value) = (nodes, value);
        fork
    }

    /// Goes on after two branches that were written apart.
    fn resume(&mut self, then: &Writer, otherwise: &Writer) {
        // A link opened in both branches is the one of whichever holds; its text follows.
        let opened = then.links.len().min(otherwise.links.len());
        let start = self.nodes.len();
        self.links.truncate(opened);
        for link in then.links.iter().skip(self.links.len()).take(opened) {
            self.links.push(Link {
                href: link.href.clone(),
                start,
            });
        }
        self.skipping.clone_from(&otherwise.skipping);
        self.outlook = otherwise.outlook;
        self.preformatted = otherwise.preformatted;
        self.href.clone_from(&otherwise.href);
        self.alt.clone_from(&otherwise.alt);
        self.invisible = otherwise.invisible;
    }

    fn take(&mut self, in_value: bool) -> Vec<Node> {
        self.flush(in_value);
        std::mem::take(if in_value {
            &mut self.value
        } else {
            &mut self.nodes
        })
    }

    fn hidden(&self) -> bool {
        self.outlook || self.skipping.is_some()
    }

    fn push(&mut self, node: Node, in_value: bool) {
        self.flush(in_value);
        if in_value {
            self.value.push(node);
        } else if !self.hidden() {
            self.nodes.push(node);
        }
    }

    fn flush(&mut self, in_value: bool) {
        let pending = if in_value {
            &mut self.value_text
        } else {
            &mut self.text
        };
        if pending.is_empty() {
            return;
        }
        let mut decoded = entity::decode(pending);
        pending.clear();
        if in_value {
            self.value.push(Node::Text(decoded));
            return;
        }
        if self.preformatted > 0 {
            decoded = decoded.replace('\n', "\u{3}").replace([' ', '\t'], "\u{4}");
        }
        push_text(&mut self.nodes, &decoded);
    }

    fn mark(&mut self, mark: &str) {
        self.flush(false);
        if !self.hidden() {
            push_text(&mut self.nodes, mark);
        }
    }

    fn end_link(&mut self) {
        let Some(link) = self.links.pop() else { return };
        if self.hidden() || !leads_somewhere(&link.href) {
            return;
        }
        let shown = self
            .nodes
            .get(link.start.min(self.nodes.len())..)
            .unwrap_or_default();
        if shown
            .iter()
            .all(|node| matches!(node, Node::Text(text) if text.trim().is_empty()))
        {
            self.nodes.extend(link.href);
        } else if !same_text(shown, &link.href) {
            push_text(&mut self.nodes, " (");
            self.nodes.extend(link.href);
            push_text(&mut self.nodes, ")");
        }
    }

    fn finish(mut self) -> Vec<Node> {
        self.flush(false);
        self.nodes
    }

    /// Starts or ends skipping; whether the tag is to be ignored.
    fn skip(&mut self, name: &str, is_end: bool, invisible: bool) -> bool {
        if let Some((skipped, depth)) = &mut self.skipping {
            if skipped == name {
                *depth = if is_end { *depth - 1 } else { *depth + 1 };
                if *depth == 0 {
                    self.skipping = None;
                }
            }
            return true;
        }
        let silent = matches!(
            name,
            "head"
                | "script"
                | "style"
                | "title"
                | "template"
                | "textarea"
                | "xmp"
                | "iframe"
                | "noembed"
                | "noframes"
                | "plaintext"
                | "svg"
                | "select"
        );
        let void = matches!(
            name,
            "img" | "br" | "hr" | "input" | "meta" | "link" | "wbr" | "col"
        );
        if !is_end && (silent || (invisible && !void)) {
            self.skipping = Some((name.to_owned(), 1));
            return true;
        }
        invisible
    }
}

impl Sink for Writer {
    fn text(&mut self, c: char) {
        if !self.hidden() {
            self.text.push(c);
        }
    }

    fn attribute_char(&mut self, c: char) {
        self.value_text.push(c);
    }

    fn attribute_end(&mut self, name: &str) {
        let value = self.take(true);
        match name {
            "href" => self.href = value,
            "alt" => self.alt = value,
            "hidden" => self.invisible = true,
            "style" => {
                self.invisible |= value.iter().any(|node| match node {
                    Node::Text(style) => {
                        let style: String = style.chars().filter(|c| !c.is_whitespace()).collect();
                        style.to_ascii_lowercase().contains("display:none")
                    }
                    Node::Emit(_) | Node::If { .. } => false,
                });
            }
            _ => {}
        }
    }

    fn tag(&mut self, name: &str, is_end: bool) {
        self.flush(false);
        let href = std::mem::take(&mut self.href);
        let alt = std::mem::take(&mut self.alt);
        let invisible = std::mem::take(&mut self.invisible);
        if self.outlook || self.skip(name, is_end, invisible) {
            return;
        }
        match (name, is_end) {
            ("a", false) => {
                self.end_link();
                // A mark keeps the link's text in nodes of its own.
                let start = self.nodes.len();
                self.nodes.push(Node::Text(String::new()));
                self.links.push(Link { href, start });
            }
            ("a", true) => self.end_link(),
            ("img", _) => self.nodes.extend(alt),
            ("br", _) => self.mark("\u{3}"),
            ("hr", _) => self.mark("\u{2}----\u{2}"),
            ("li", false) => self.mark("\u{1}* "),
            ("td" | "th", _) => self.mark(" "),
            ("pre", _) => {
                self.preformatted = if is_end {
                    self.preformatted.saturating_sub(1)
                } else {
                    self.preformatted + 1
                };
                self.mark("\u{2}");
            }
            (
                "p" | "h1" | "h2" | "h3" | "h4" | "h5" | "h6" | "ul" | "ol" | "dl" | "table"
                | "blockquote" | "figure",
                _,
            ) => self.mark("\u{2}"),
            (
                "div" | "tr" | "li" | "dt" | "dd" | "section" | "article" | "header" | "footer"
                | "main" | "nav" | "aside" | "address" | "center" | "form" | "body" | "html"
                | "thead" | "tbody" | "tfoot" | "caption" | "figcaption",
                _,
            ) => self.mark("\u{1}"),
            _ => {}
        }
    }

    fn conditional(&mut self, hidden: bool) {
        self.flush(false);
        self.outlook = hidden;
    }
}

fn push_text(nodes: &mut Vec<Node>, text: &str) {
    match nodes.last_mut() {
        Some(Node::Text(before)) => before.push_str(text),
        _ => nodes.push(Node::Text(text.to_owned())),
    }
}

/// Whether an address is worth showing: not empty and not a place in the same message.
fn leads_somewhere(href: &[Node]) -> bool {
    match href {
        [] => false,
        [Node::Text(address)] => {
            let address = address.trim();
            !address.is_empty() && !address.starts_with('#')
        }
        _ => true,
    }
}

/// Whether a link's text already is its address.
fn same_text(shown: &[Node], href: &[Node]) -> bool {
    let shown: Vec<&Node> = shown
        .iter()
        .filter(|node| !matches!(node, Node::Text(text) if text.trim().is_empty()))
        .collect();
    shown.len() == href.len()
        && shown
            .iter()
            .zip(href)
            .all(|(shown, href)| match (shown, href) {
                (Node::Text(shown), Node::Text(href)) => {
                    let (shown, href) = (shown.trim(), href.trim());
                    let bare = href
                        .strip_prefix("mailto:")
                        .or_else(|| href.strip_prefix("https://"));
                    shown == href || bare.is_some_and(|bare| bare.trim_end_matches('/') == shown)
                }
                (Node::Emit(shown), Node::Emit(href)) => shown.operand == href.operand,
                _ => false,
            })
}
