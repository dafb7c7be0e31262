//! What templates say, and the merge tags that they use.

use std::collections::BTreeSet;

use super::{FlowProblemCode, Place};
use crate::domain::message::{ContentProblem, ContentProblemKind, TextContent};
use crate::domain::template::{TagUse, similar};

impl Place<'_> {
    /// A text that stands alone in its field. `variant` is empty where there are none.
    pub(super) fn text(
        &mut self,
        field: &[&str],
        variant: &str,
        content: Result<TextContent, Vec<ContentProblem>>,
    ) {
        let tags = content.as_ref().map(TextContent::tags);
        // A problem of a text that is no variant already names its field.
        let base = if variant.is_empty() { &[] } else { field };
        check_content(self, base, variant, tags.map_err(Clone::clone));
    }
}

/// Every problem of a content, and the attributes in its tags that nobody has. `base` is where its
/// fields are in the action.
pub(super) fn check_content(
    at: &mut Place<'_>,
    base: &[&str],
    variant: &str,
    tags: Result<&[TagUse], impl AsRef<[ContentProblem]>>,
) {
    match tags {
        Ok(tags) => check_attributes(at, base, variant, tags),
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

/// A tag may read any attribute, but one that nobody has is probably misspelled.
fn check_attributes(at: &mut Place<'_>, base: &[&str], variant: &str, tags: &[TagUse]) {
    let known = &at.facts.attributes;
    if known.is_empty() {
        return;
    }
    let asked: BTreeSet<&str> = tags
        .iter()
        .filter_map(|tag| match tag.path.as_slice() {
            [root, name, ..] if root == "attributes" => Some(name.as_str()),
            _ => None,
        })
        .filter(|name| !known.contains(*name))
        .collect();
    for name in asked {
        let place = place(at, variant);
        let better = similar(name, known.iter().map(String::as_str));
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
        at.warning(FlowProblemCode::UnknownMergeTag, base, message);
    }
}
