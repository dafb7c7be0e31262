//! What templates say, and the merge tags that they use.

use std::collections::BTreeSet;

use super::{FlowProblemCode, Place};
use crate::domain::message::{ContentField, ContentProblem, ContentProblemKind, TextContent};
use crate::domain::template::{TagUse, similar};

impl Place<'_> {
    /// A text that stands alone in its field. `variant` is empty where there are none.
    pub(super) fn text(
        &mut self,
        field: &[&str],
        variant: &str,
        content: Result<TextContent, Vec<ContentProblem>>,
    ) {
        let fields = content.as_ref().map(TextContent::fields);
        // A problem of a text that is no variant already names its field.
        let base = if variant.is_empty() { &[] } else { field };
        check_content(self, base, variant, fields.map_err(Clone::clone));
    }
}

/// Every problem of a content, and the attributes in its tags that nobody has. `base` is where its
/// fields are in the action.
pub(super) fn check_content(
    at: &mut Place<'_>,
    base: &[&str],
    variant: &str,
    fields: Result<Vec<(ContentField, &[TagUse])>, impl AsRef<[ContentProblem]>>,
) {
    match fields {
        Ok(fields) => {
            for (field, tags) in fields {
                check_attributes(at, base, variant, field, tags);
            }
        }
        Err(problems) => {
            for problem in problems.as_ref() {
                tell(at, base, variant, problem);
            }
        }
    }
}

fn place(at: &Place<'_>, variant: &str) -> String {
    if variant.is_empty() {
        format!("step {}", at.step.key)
    } else {
        format!("step {}, variant {variant}", at.step.key)
    }
}

fn tell(at: &mut Place<'_>, base: &[&str], variant: &str, problem: &ContentProblem) {
    let place = format!("{}, {}", place(at, variant), problem.field);
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
            format!("{message} ({place}, line {line})"),
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
    let field: Vec<&str> = base
        .iter()
        .copied()
        .chain([problem.field.as_str()])
        .collect();
    at.error(code, &field, message);
}

/// A tag may read any attribute, but one that nobody has, and that no step on the way here writes, is
/// probably misspelled.
fn check_attributes(
    at: &mut Place<'_>,
    base: &[&str],
    variant: &str,
    field: ContentField,
    tags: &[TagUse],
) {
    if at.facts.attributes.is_empty() {
        return;
    }
    let known: BTreeSet<&str> = (at.facts.attributes.iter())
        .map(String::as_str)
        .chain(at.written.iter().copied())
        .collect();
    let asked: BTreeSet<&str> = tags
        .iter()
        .filter_map(|tag| match tag.path.as_slice() {
            [root, name, ..] if root == "attributes" => Some(name.as_str()),
            _ => None,
        })
        .filter(|name| !known.contains(name))
        .collect();
    let place = format!("{}, {field}", place(at, variant));
    let path: Vec<&str> = base.iter().copied().chain([field.as_str()]).collect();
    for name in asked {
        let better = similar(name, known.iter().copied());
        let message = match better {
            Some(better) => format!(
                "Nobody was seen with the attribute {name} ({place}): did you mean \
                 attributes.{better}?"
            ),
            None => format!(
                "Nobody was seen with the attribute {name} ({place}): import it, or give the tag \
                 a default."
            ),
        };
        at.warning(FlowProblemCode::UnknownMergeTag, &path, message);
    }
}
