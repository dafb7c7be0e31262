//! The content of messages. Of an email: subject, HTML and text templates compiled together, the part that was
//! not written derived from the one that was. Text is derived from HTML once, as a template, when
//! the content is compiled; HTML is derived from text after rendering. Never addresses or sends.

mod markup;
mod plain;
mod text;

#[cfg(test)]
mod tests;

use std::fmt;

pub use self::text::{Excess, JsonFault, MESSAGE_UNITS_MAX, TextContent, message_units};
use super::template::{Kind, MergeData, RenderError, TagUse, Template, unknown_tags};

/// A part of a message's content, named as in the API.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ContentField {
    /// The subject line.
    Subject,
    /// The HTML part.
    Html,
    /// The plain text part.
    Text,
    /// The text of a message that is no email, or of a request.
    Body,
    /// The title of a task.
    Title,
    /// The instructions of a task.
    Instructions,
}

impl ContentField {
    /// The field's name in the API.
    pub fn as_str(self) -> &'static str {
        match self {
            ContentField::Subject => "subject",
            ContentField::Html => "html",
            ContentField::Text => "text",
            ContentField::Body => "body",
            ContentField::Title => "title",
            ContentField::Instructions => "instructions",
        }
    }
}

impl fmt::Display for ContentField {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Something that keeps content from being published.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {kind}")]
pub struct ContentProblem {
    /// Where it is.
    pub field: ContentField,
    /// What it is.
    pub kind: ContentProblemKind,
}

/// What can be wrong with content.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ContentProblemKind {
    /// Neither HTML nor text says anything.
    #[error("the message is empty: write html or text")]
    Empty,
    /// There is no subject.
    #[error("the subject is empty: write one")]
    NoSubject,
    /// A template cannot be compiled.
    #[error("line {line}: {message}")]
    BrokenTag {
        /// Line of the source, from 1.
        line: usize,
        /// What is wrong and what to write instead.
        message: String,
    },
    /// A tag that no person has.
    #[error("there is no merge tag {tag}{}", .suggestion.as_ref().map_or_else(
        || ": see the list of merge tags".to_owned(),
        |suggestion| format!(": did you mean {suggestion}?"),
    ))]
    UnknownTag {
        /// The tag as written.
        tag: String,
        /// The tag that was probably meant.
        suggestion: Option<String>,
    },
}

/// Whether the subject is written here or taken over from the thread that is replied to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubjectRule {
    /// A missing subject is a problem.
    Required,
    /// The message replies in a thread, whose subject is used where none is written.
    FromThread,
}

/// Compiled content. Cheap to clone and to share between threads.
#[derive(Clone, Debug)]
pub struct EmailContent {
    subject: Option<Template>,
    body: Body,
}

#[derive(Clone, Debug)]
enum Body {
    /// Both were written.
    Both { html: Template, text: Template },
    /// HTML was written; `text` is derived from it.
    Html { html: Template, text: Template },
    /// Text was written; HTML is made of the rendered text.
    Text { text: Template },
}

/// An email for one person.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RenderedEmail {
    /// One line; empty only where the thread's subject is to be used.
    pub subject: String,
    /// The plain text part.
    pub text: String,
    /// The HTML part.
    pub html: Option<String>,
}

impl EmailContent {
    /// Compiles content that brings its own subject; blank sources count as not written.
    ///
    /// # Errors
    /// Every problem of every part.
    pub fn compile(
        subject: Option<&str>,
        html: Option<&str>,
        text: Option<&str>,
    ) -> Result<EmailContent, Vec<ContentProblem>> {
        EmailContent::compile_with(subject, html, text, SubjectRule::Required)
    }

    /// Compiles content under a rule for its subject.
    ///
    /// # Errors
    /// Every problem of every part.
    pub fn compile_with(
        subject: Option<&str>,
        html: Option<&str>,
        text: Option<&str>,
        subject_rule: SubjectRule,
    ) -> Result<EmailContent, Vec<ContentProblem>> {
        let mut problems = Vec::new();
        let written = [
            (ContentField::Subject, Kind::Subject, subject),
            (ContentField::Html, Kind::Html, html),
            (ContentField::Text, Kind::Text, text),
        ];
        let [subject, html, text] = written.map(|(field, kind, source)| {
            let part = compile_part(field, kind, source, &mut problems);
            if field == ContentField::Subject
                && matches!(part, Part::Nothing)
                && subject_rule == SubjectRule::Required
            {
                problems.push(ContentProblem {
                    field,
                    kind: ContentProblemKind::NoSubject,
                });
            }
            part
        });
        let derived = match &html {
            Part::Template(template) => Some(plain::text_of(template)),
            Part::Nothing | Part::Broken => None,
        };
        // HTML that shows nothing and gives no text is as empty as none at all.
        let html_says = derived
            .as_ref()
            .is_some_and(|derived| !plain::is_blank(derived));
        let body = match (html, derived, text) {
            (Part::Template(html), _, Part::Template(text)) => Some(Body::Both { html, text }),
            (Part::Template(html), Some(text), Part::Nothing) if html_says => {
                Some(Body::Html { html, text })
            }
            (Part::Nothing, _, Part::Template(text)) => Some(Body::Text { text }),
            (Part::Broken, ..) | (.., Part::Broken) => None,
            (Part::Template(_), ..) => {
                problems.push(ContentProblem {
                    field: ContentField::Html,
                    kind: ContentProblemKind::Empty,
                });
                None
            }
            (Part::Nothing, _, Part::Nothing) => {
                problems.push(ContentProblem {
                    field: ContentField::Text,
                    kind: ContentProblemKind::Empty,
                });
                None
            }
        };
        match (body, problems.is_empty()) {
            (Some(body), true) => {
                let subject = match subject {
                    Part::Template(subject) => Some(subject),
                    Part::Nothing | Part::Broken => None,
                };
                Ok(EmailContent { subject, body })
            }
            _ => Err(problems),
        }
    }

    /// Every use of a merge tag in what was written; a use in several parts is listed for each.
    pub fn tags(&self) -> Vec<TagUse> {
        let fields = self.fields().into_iter();
        fields.flat_map(|(_, tags)| tags.to_vec()).collect()
    }

    /// What was written, each part with its uses of merge tags.
    pub fn fields(&self) -> Vec<(ContentField, &[TagUse])> {
        let subject = self.subject.iter();
        let mut fields: Vec<_> = subject
            .map(|subject| (ContentField::Subject, subject.tags()))
            .collect();
        match &self.body {
            Body::Both { html, text } => {
                fields.push((ContentField::Html, html.tags()));
                fields.push((ContentField::Text, text.tags()));
            }
            Body::Html { html, .. } => fields.push((ContentField::Html, html.tags())),
            Body::Text { text } => fields.push((ContentField::Text, text.tags())),
        }
        fields
    }

    /// How the subject is too long for everybody, if it is.
    pub fn excess(&self) -> Option<Excess> {
        let subject = self.subject.as_ref()?;
        Excess::of_line(ContentField::Subject, subject)
    }

    /// Renders the email for one person.
    ///
    /// # Errors
    /// The missing tags of all parts at once; [`RenderError::TooLong`]; [`RenderError::Failed`]
    /// where the subject or the body comes out blank for this person.
    pub fn render(&self, data: &MergeData<'_>) -> Result<RenderedEmail, RenderError> {
        let mut missing = Vec::new();
        let subject = match &self.subject {
            Some(subject) => subject.render_collecting(data, &mut missing)?,
            None => String::new(),
        };
        let (html, text) = match &self.body {
            Body::Both { html, text } => (
                Some(html.render_collecting(data, &mut missing)?),
                text.render_collecting(data, &mut missing)?,
            ),
            Body::Html { html, text } => {
                let html = html.render_collecting(data, &mut missing)?;
                let text = text.render_collecting(data, &mut missing)?;
                (Some(html), plain::lay_out(&text))
            }
            Body::Text { text } => (None, text.render_collecting(data, &mut missing)?),
        };
        if !missing.is_empty() {
            return Err(RenderError::Missing(missing));
        }
        let failed = |message: &str| Err(RenderError::Failed(message.to_owned()));
        if subject.is_empty() && self.subject.is_some() {
            return failed(
                "the subject is empty for this person: give its condition an {% else %}",
            );
        }
        if text.trim().is_empty() {
            return failed(
                "the message is empty for this person: give its condition an {% else %}",
            );
        }
        let html = html.or_else(|| Some(markup::html_of(&text)));
        Ok(RenderedEmail {
            subject,
            text,
            html,
        })
    }
}

/// What became of one source.
enum Part {
    Nothing,
    Broken,
    Template(Template),
}

fn compile_part(
    field: ContentField,
    kind: Kind,
    source: Option<&str>,
    problems: &mut Vec<ContentProblem>,
) -> Part {
    let Some(source) = source.filter(|source| !source.trim().is_empty()) else {
        return Part::Nothing;
    };
    let template = match Template::compile(source, kind) {
        Ok(template) if template.is_blank() => return Part::Nothing,
        Ok(template) => template,
        Err(error) => {
            let kind = ContentProblemKind::BrokenTag {
                line: error.line,
                message: error.message,
            };
            problems.push(ContentProblem { field, kind });
            return Part::Broken;
        }
    };
    let unknown = unknown_tags(template.tags());
    problems.extend(unknown.into_iter().map(|(tag, suggestion)| ContentProblem {
        field,
        kind: ContentProblemKind::UnknownTag { tag, suggestion },
    }));
    Part::Template(template)
}
