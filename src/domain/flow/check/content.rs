//! What templates say, and the merge tags that they use.

use std::collections::BTreeSet;

use super::{FlowProblemCode, Place, Severity};
use crate::domain::message::{
    ContentField, ContentProblem, ContentProblemKind, Excess, TextContent,
};
use crate::domain::template::{TagUse, similar};

/// The merge tag of the address where contacts opt out.
pub(super) const UNSUBSCRIBE_URL: &str = "unsubscribe_url";

/// A text of a step.
#[derive(Clone, Copy)]
pub(super) struct Written<'a> {
    /// Where its fields are in the action.
    pub base: &'a [&'a str],
    /// The variant that it is; empty where there are none.
    pub variant: &'a str,
    /// Whether leads get it: what is wrong with a variant that is switched off keeps nobody from
    /// publishing, for it is not sent.
    pub enabled: bool,
}

impl Place<'_> {
    /// A text that stands alone in its field.
    pub(super) fn text(
        &mut self,
        written: Written<'_>,
        content: Result<TextContent, Vec<ContentProblem>>,
    ) {
        match content {
            Ok(content) => {
                check_content(self, written, &content.fields(), content.excess());
                self.no_unsubscribe_url(written, &content);
            }
            Err(problems) => tell_all(self, written, &problems),
        }
    }

    /// Only emails have an address where contacts opt out.
    fn no_unsubscribe_url(&mut self, written: Written<'_>, content: &TextContent) {
        for (field, tags) in content.fields() {
            if tags
                .iter()
                .any(|tag| tag.path == [UNSUBSCRIBE_URL] && !tag.has_default)
            {
                let message = format!(
                    "{UNSUBSCRIBE_URL} has a value in emails only ({}, {field}): leave it out, or \
                     give it a default.",
                    place(self, written.variant)
                );
                let path = written.path(field);
                self.problem(
                    written.severity(),
                    FlowProblemCode::UnknownMergeTag,
                    &path,
                    message,
                );
            }
        }
    }
}

/// What is wrong with a text that can be read: its length, and the attributes that nobody has.
pub(super) fn check_content(
    at: &mut Place<'_>,
    written: Written<'_>,
    fields: &[(ContentField, &[TagUse])],
    excess: Option<Excess>,
) {
    if let Some(Excess {
        field,
        least,
        limit,
        unit,
    }) = excess
    {
        let place = format!("{}, {field}", place(at, written.variant));
        let message = format!(
            "The text can never be sent, for it has at least {least} {unit} and may have {limit} \
             ({place}): shorten it."
        );
        at.problem(
            written.severity(),
            FlowProblemCode::MessageTooLong,
            &written.path(field),
            message,
        );
    }
    if written.enabled {
        for (field, tags) in fields {
            check_attributes(at, written, *field, tags);
        }
    }
}

/// Every problem of a text that cannot be read.
pub(super) fn tell_all(at: &mut Place<'_>, written: Written<'_>, problems: &[ContentProblem]) {
    for problem in problems {
        tell(at, written, problem);
    }
}

impl<'a> Written<'a> {
    /// A text that is no variant.
    pub(super) const ALONE: Self = Self {
        base: &[],
        variant: "",
        enabled: true,
    };

    fn severity(self) -> Severity {
        if self.enabled {
            Severity::Error
        } else {
            Severity::Warning
        }
    }

    fn path(self, field: ContentField) -> Vec<&'a str> {
        let base = self.base.iter().copied();
        base.chain([field.as_str()]).collect()
    }
}

/// A message that others continue with, at the beginning of a sentence.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().into_iter().flat_map(char::to_uppercase);
    first.chain(letters).collect()
}

fn place(at: &Place<'_>, variant: &str) -> String {
    if variant.is_empty() {
        format!("step {}", at.step.key)
    } else {
        format!("step {}, variant {variant}", at.step.key)
    }
}

fn tell(at: &mut Place<'_>, written: Written<'_>, problem: &ContentProblem) {
    let place = format!("{}, {}", place(at, written.variant), problem.field);
    let (code, message) = match &problem.kind {
        ContentProblemKind::Empty => (
            FlowProblemCode::EmptyMessage,
            format!("There is no text ({place}): write one."),
        ),
        ContentProblemKind::NoSubject => (
            FlowProblemCode::NoSubject,
            format!("The email has no subject ({place}): write one."),
        ),
        ContentProblemKind::BrokenTag { line, message } => (
            FlowProblemCode::BrokenMergeTag,
            format!("{} ({place}, line {line})", sentence(message)),
        ),
        ContentProblemKind::UnknownTag { tag, suggestion } => (
            FlowProblemCode::UnknownMergeTag,
            match suggestion {
                Some(better) => {
                    format!("There is no field {tag} ({place}): did you mean {better}?")
                }
                None => format!(
                    "There is no field {tag} ({place}): use a person's field, or attributes.NAME."
                ),
            },
        ),
    };
    at.problem(
        written.severity(),
        code,
        &written.path(problem.field),
        message,
    );
}

/// A tag may read any attribute, but one that nobody has, and that no step on the way here writes, is
/// probably misspelled.
fn check_attributes(
    at: &mut Place<'_>,
    written: Written<'_>,
    field: ContentField,
    tags: &[TagUse],
) {
    let asked: BTreeSet<&str> = tags
        .iter()
        .filter_map(|tag| match tag.path.as_slice() {
            [root, name, ..] if root == "attributes" => Some(name.as_str()),
            _ => None,
        })
        .collect();
    let place = format!("{}, {field}", place(at, written.variant));
    let path = written.path(field);
    for name in asked {
        let Some(Stranger { who, better }) = at.stranger(name) else {
            continue;
        };
        let message = match better {
            Some(better) => format!(
                "{who} has the attribute {name} ({place}): did you mean attributes.{better}?"
            ),
            None => format!(
                "{who} has the attribute {name} ({place}): import it, or give the tag a default."
            ),
        };
        at.warning(FlowProblemCode::UnknownMergeTag, &path, message);
    }
}

/// An attribute that is not known.
pub(super) struct Stranger {
    /// Who does not have it, at the beginning of a sentence.
    pub who: String,
    /// The one that was probably meant.
    pub better: Option<String>,
}

impl Place<'_> {
    /// What is to be said of an attribute that nobody was seen with and that no step on the way here
    /// writes; nothing where it is known, and where nothing is known of any.
    pub(super) fn stranger(&mut self, name: &str) -> Option<Stranger> {
        let known = self.facts.attributes.as_ref()?;
        if known.names.contains(name) || self.whole.is_written_before(self.at, name) {
            return None;
        }
        let who = if known.is_sample {
            format!("None of the {} people who were entered last", known.people)
        } else {
            "Nobody".to_owned()
        };
        let mut better = None;
        if let Some(left) = self.suggestions.checked_sub(1) {
            *self.suggestions = left;
            let names = known.names.iter().map(String::as_str);
            let names = names.chain(self.whole.written_before(self.at));
            better = similar(name, names).map(str::to_owned);
        }
        Some(Stranger { who, better })
    }
}
