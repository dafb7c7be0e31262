//! Merge templates: what a user writes in a subject, a body or a text message.
//!
//! Owns the closed language of merge tags, filters and conditions, its compilation and its
//! rendering for one person. It never loops, calls, assigns, includes or computes: the parser of
//! minijinja reads the source, a walk over its tree refuses everything outside the language, and
//! what is left is a small tree of our own. Rendering visits each node at most once, so its work is
//! bounded by the source and its output by [`Kind`]; no fuel is needed.
//!
//! The language:
//! - `{{ first_name }}`, `{{ attributes.city }}`, `{{ attributes["Job level"] }}`, `{{ sender.name }}`
//! - `{{ first_name | default("there") }}`; filters: `default`, `upper`, `lower`, `title`
//!   (Each Word), `capitalize` (First letter), `trim`, `replace("from", "to")`
//! - `{% if company %}…{% elif title == "CEO" %}…{% else %}…{% endif %}` with `not`, `and`, `or`,
//!   `==`, `!=`, `is defined`, `is not defined`
//! - `{# a comment #}`, and `{%- -%}` to remove white space
//!
//! A field that is absent, null, blank, a list or an object is *missing*: false in a condition,
//! replaced by `default`, and otherwise reported; every missing tag of a rendering is reported at
//! once. In a condition `false` and `0` are false too.

mod bounds;
pub(super) mod html;
mod read;
mod tags;
pub(super) mod value;

#[cfg(test)]
mod tests;

use std::sync::Arc;

pub(crate) use bounds::MAX_NESTING;
pub use tags::{MergeData, similar, similar_within, unknown_tags};

use value::{Escape, Operand, TooLarge};

/// Longest source of a template, in bytes. Gmail clips a message at about 102 kB.
pub const MAX_SOURCE_BYTES: usize = 128 * 1024;
/// Longest rendering of a body, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 384 * 1024;
/// Longest rendered subject, in bytes: the line limit of RFC 5322 section 2.1.1.
pub const MAX_SUBJECT_BYTES: usize = 998;

/// What a template is for, which decides how values are escaped and how long it may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// Plain text: values are merged as they are, without control characters.
    Text,
    /// HTML: values are escaped for the place where they stand; see [`Template::compile`].
    Html,
    /// One line of plain text: line breaks and control characters become spaces.
    Subject,
    /// JSON: values are written as they stand within a JSON string (RFC 8259 §7).
    Json,
}

impl Kind {
    fn output_limit(self) -> usize {
        match self {
            Kind::Text | Kind::Html | Kind::Json => MAX_OUTPUT_BYTES,
            Kind::Subject => MAX_SUBJECT_BYTES,
        }
    }
}

/// Why a template was refused: a sentence with the remedy, and the line (from 1) it is about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {message}")]
pub struct TemplateError {
    /// Line of the source, counted from 1.
    pub line: usize,
    /// What is wrong and what to write instead.
    pub message: String,
}

/// One use of a merge tag in a template.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct TagUse {
    /// The tag's parts: `["first_name"]`, `["attributes", "city"]`.
    pub path: Vec<String>,
    /// Whether this use does without data: it has a default, is itself a condition, or stands
    /// under a condition that the tag has a value.
    pub has_default: bool,
}

/// Why a template could not be rendered for a person.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    /// Tags without data and without a default, each once, in the order of the text.
    #[error("no data for {}: complete the person or give the tag a default", .0.join(", "))]
    Missing(Vec<String>),
    /// The output, or one value in it, is longer than `limit` bytes.
    #[error("the message is longer than {limit} bytes: shorten the text or the person's data")]
    TooLong {
        /// The limit in bytes.
        limit: usize,
    },
    /// The message came out unusable for this person, for the reason given.
    #[error("{0}")]
    Failed(String),
}

/// A compiled template. Cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct Template {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    kind: Kind,
    nodes: Vec<Node>,
    tags: Vec<TagUse>,
    source_bytes: usize,
}

/// A piece of a compiled template.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Node {
    Text(String),
    Emit(Emit),
    If {
        condition: Condition,
        then: Vec<Node>,
        otherwise: Vec<Node>,
    },
}

/// A merged value and how it is escaped where it stands.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Emit {
    pub(crate) operand: Operand,
    pub(crate) escape: Escape,
}

/// The test of an `{% if %}`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Condition {
    True(Operand),
    Defined(Operand),
    Equals(Operand, String),
    Not(Box<Condition>),
    And(Box<Condition>, Box<Condition>),
    Or(Box<Condition>, Box<Condition>),
}

impl Condition {
    fn holds(&self, data: &MergeData<'_>) -> Result<bool, TooLarge> {
        Ok(match self {
            Condition::True(operand) => operand.is_true(data)?,
            Condition::Defined(operand) => operand.resolve(data)?.is_some(),
            Condition::Equals(operand, literal) => operand
                .resolve(data)?
                .is_some_and(|value| value == literal.as_str()),
            Condition::Not(inner) => !inner.holds(data)?,
            Condition::And(left, right) => left.holds(data)? && right.holds(data)?,
            Condition::Or(left, right) => left.holds(data)? || right.holds(data)?,
        })
    }
}

impl Template {
    /// Compiles a source.
    ///
    /// An HTML template may merge values in text and in quoted attribute values only, so that an
    /// escaped value can never leave its place. In `href` and its like a value that makes up the
    /// beginning of the URL must be an http, https or mailto URL: one without a scheme gets
    /// `https://`, any other becomes `#`. Behind a fixed scheme a value is percent-encoded. Both
    /// branches of an `{% if %}` must end where they began: in text, or in the same attribute.
    ///
    /// # Errors
    /// The first thing that is outside the language or above a bound.
    pub fn compile(source: &str, kind: Kind) -> Result<Template, TemplateError> {
        let (nodes, tags) = read::read(source, kind)?;
        Ok(Template::from_nodes(nodes, tags, kind, source.len()))
    }

    /// A template whose nodes were derived from another one's.
    pub(crate) fn derived(&self, nodes: Vec<Node>, kind: Kind) -> Template {
        let tags = self.inner.tags.clone();
        Template::from_nodes(nodes, tags, kind, self.inner.source_bytes)
    }

    fn from_nodes(
        nodes: Vec<Node>,
        tags: Vec<TagUse>,
        kind: Kind,
        source_bytes: usize,
    ) -> Template {
        Template {
            inner: Arc::new(Inner {
                kind,
                nodes,
                tags,
                source_bytes,
            }),
        }
    }

    pub(crate) fn nodes(&self) -> &[Node] {
        &self.inner.nodes
    }

    /// What the template was compiled for.
    pub fn kind(&self) -> Kind {
        self.inner.kind
    }

    /// Every distinct use of a tag, in the order of the source.
    pub fn tags(&self) -> &[TagUse] {
        &self.inner.tags
    }

    /// Whether nothing but white space is written and nothing is merged.
    pub fn is_blank(&self) -> bool {
        self.inner.nodes.iter().all(|node| match node {
            Node::Text(text) => text.trim().is_empty(),
            Node::Emit(_) | Node::If { .. } => false,
        })
    }

    /// The least that a rendering can measure, whatever the values are: what is written, and of each
    /// condition the lesser branch.
    pub fn least(&self, measure: fn(&str) -> usize) -> usize {
        fn of(nodes: &[Node], measure: fn(&str) -> usize) -> usize {
            let node = |node: &Node| match node {
                Node::Text(text) => measure(text),
                Node::Emit(_) => 0,
                Node::If {
                    then, otherwise, ..
                } => of(then, measure).min(of(otherwise, measure)),
            };
            nodes.iter().map(node).sum()
        }
        of(&self.inner.nodes, measure)
    }

    /// What it comes to where every tag of an attribute has the one value and every other tag the other,
    /// whatever its default is, and where of each chain of conditions the branch with this number is taken,
    /// counted from 0, or the last.
    pub(crate) fn sampled(&self, way: usize, attribute: &str, text: &str) -> String {
        fn write(nodes: &[Node], way: usize, values: (&str, &str), left: usize, out: &mut String) {
            for node in nodes {
                match node {
                    Node::Text(text) => out.push_str(text),
                    Node::Emit(emit) => out.push_str(match emit.operand.tag {
                        tags::Tag::Attribute(_) => values.0,
                        _ => values.1,
                    }),
                    Node::If { then, .. } if left == 0 => write(then, way, values, way, out),
                    Node::If { otherwise, .. } => {
                        // An `elif` is a condition that is all of its `else`.
                        let left = match otherwise.as_slice() {
                            [Node::If { .. }] => left - 1,
                            _ => way,
                        };
                        write(otherwise, way, values, left, out);
                    }
                }
            }
        }
        let mut out = String::with_capacity(self.inner.source_bytes);
        write(&self.inner.nodes, way, (attribute, text), way, &mut out);
        out
    }

    /// Renders the template for one person.
    ///
    /// # Errors
    /// All missing tags at once, or [`RenderError::TooLong`].
    pub fn render(&self, data: &MergeData<'_>) -> Result<String, RenderError> {
        let mut missing = Vec::new();
        let rendered = self.render_collecting(data, &mut missing)?;
        if missing.is_empty() {
            Ok(rendered)
        } else {
            Err(RenderError::Missing(missing))
        }
    }

    /// Renders and adds the missing tags to `missing`, so that several parts of a message report
    /// theirs together. The output is only of use where `missing` stays empty.
    pub(crate) fn render_collecting(
        &self,
        data: &MergeData<'_>,
        missing: &mut Vec<String>,
    ) -> Result<String, RenderError> {
        let limit = self.inner.kind.output_limit();
        let capacity = (self.inner.source_bytes + 64).min(limit + 1);
        let mut renderer = Renderer {
            data,
            limit,
            out: String::with_capacity(capacity),
            missing,
        };
        match renderer.nodes(&self.inner.nodes) {
            Ok(()) => {}
            Err(TooLarge) => return Err(RenderError::TooLong { limit }),
        }
        let out = renderer.out;
        Ok(match self.inner.kind {
            Kind::Text | Kind::Html | Kind::Json => out,
            Kind::Subject => value::one_line(&out),
        })
    }
}

/// One rendering: writes into a bounded buffer and remembers what was missing.
struct Renderer<'r, 'd> {
    data: &'r MergeData<'d>,
    limit: usize,
    out: String,
    missing: &'r mut Vec<String>,
}

impl Renderer<'_, '_> {
    fn nodes(&mut self, nodes: &[Node]) -> Result<(), TooLarge> {
        for node in nodes {
            match node {
                Node::Text(text) => self.out.push_str(text),
                Node::Emit(emit) => self.emit(emit)?,
                Node::If {
                    condition,
                    then,
                    otherwise,
                } => {
                    let holds = condition.holds(self.data)?;
                    self.nodes(if holds { then } else { otherwise })?;
                }
            }
            if self.out.len() > self.limit {
                return Err(TooLarge);
            }
        }
        Ok(())
    }

    fn emit(&mut self, emit: &Emit) -> Result<(), TooLarge> {
        match emit.operand.resolve(self.data)? {
            Some(value) => emit.escape.write(&value, &mut self.out),
            None => {
                let label = emit.operand.label();
                if !self.missing.contains(&label) {
                    self.missing.push(label);
                }
            }
        }
        Ok(())
    }
}
