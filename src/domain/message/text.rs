//! Texts that are no email: of text and WhatsApp messages, of tasks, of requests.

use super::{ContentField, ContentProblem, ContentProblemKind, Part, compile_part};
use crate::domain::template::{Kind, MAX_SUBJECT_BYTES, MergeData, RenderError, TagUse, Template};

/// The longest rendered text message, in UTF-16 units: what providers take as one message, which they
/// split into parts that the phone joins again.
pub const MESSAGE_UNITS_MAX: usize = 1_600;

/// How long a text message is, in UTF-16 units: an emoji counts as two or more.
pub fn message_units(text: &str) -> usize {
    text.encode_utf16().count()
}

/// A compiled text.
#[derive(Clone, Debug)]
pub struct TextContent {
    field: ContentField,
    template: Template,
    is_message: bool,
}

impl TextContent {
    /// Compiles the text of a text or WhatsApp message.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn message(source: &str) -> Result<Self, Vec<ContentProblem>> {
        let mut content = Self::compile(source, ContentField::Body, Kind::Text)?;
        content.is_message = true;
        Ok(content)
    }

    /// Compiles the title of a task: one line.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn title(source: &str) -> Result<Self, Vec<ContentProblem>> {
        Self::compile(source, ContentField::Title, Kind::Subject)
    }

    /// Compiles the instructions of a task.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn instructions(source: &str) -> Result<Self, Vec<ContentProblem>> {
        Self::compile(source, ContentField::Instructions, Kind::Text)
    }

    /// Compiles a body in JSON: values are written as they stand within a JSON string.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn json(source: &str) -> Result<Self, Vec<ContentProblem>> {
        Self::compile(source, ContentField::Body, Kind::Json)
    }

    fn compile(source: &str, field: ContentField, kind: Kind) -> Result<Self, Vec<ContentProblem>> {
        let mut problems = Vec::new();
        let part = compile_part(field, kind, Some(source), &mut problems);
        match part {
            Part::Template(template) if problems.is_empty() => Ok(Self {
                field,
                template,
                is_message: false,
            }),
            Part::Nothing => {
                let kind = ContentProblemKind::Empty;
                Err(vec![ContentProblem { field, kind }])
            }
            Part::Template(_) | Part::Broken => Err(problems),
        }
    }

    /// What was written, with its uses of merge tags.
    pub fn fields(&self) -> Vec<(ContentField, &[TagUse])> {
        vec![(self.field, self.tags())]
    }

    /// Every use of a merge tag in it.
    pub fn tags(&self) -> &[TagUse] {
        self.template.tags()
    }

    /// Renders it for one person.
    ///
    /// # Errors
    /// The missing tags; [`RenderError::TooLong`]; [`RenderError::Failed`] where it comes out blank or
    /// longer than a message may be.
    pub fn render(&self, data: &MergeData<'_>) -> Result<String, RenderError> {
        let text = self.template.render(data)?;
        if text.trim().is_empty() {
            return Err(RenderError::Failed(
                "the text is empty for this person: give its condition an {% else %}".into(),
            ));
        }
        if self.is_message && message_units(&text) > MESSAGE_UNITS_MAX {
            return Err(RenderError::Failed(format!(
                "the message is longer than {MESSAGE_UNITS_MAX} characters for this person, of which \
                 an emoji is two: shorten it"
            )));
        }
        Ok(text)
    }

    /// How it is too long for everybody, if it is.
    pub fn excess(&self) -> Option<Excess> {
        if self.is_message {
            let least = self.template.least(message_units);
            return Excess::over(self.field, least, MESSAGE_UNITS_MAX, "characters");
        }
        Excess::of_line(self.field, &self.template)
    }
}

/// A text that is too long, whatever the values of its merge tags are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Excess {
    /// Where it is.
    pub field: ContentField,
    /// How long it is at least.
    pub least: usize,
    /// How long it may be.
    pub limit: usize,
    /// What both are counted in.
    pub unit: &'static str,
}

impl Excess {
    fn over(field: ContentField, least: usize, limit: usize, unit: &'static str) -> Option<Self> {
        (least > limit).then_some(Self {
            field,
            least,
            limit,
            unit,
        })
    }

    /// Of a template that makes one line.
    pub(super) fn of_line(field: ContentField, template: &Template) -> Option<Self> {
        if template.kind() != Kind::Subject {
            return None;
        }
        Self::over(field, template.least(str::len), MAX_SUBJECT_BYTES, "bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_stand_in_json_as_they_are() {
        let content = TextContent::json(r#"{"name": "{{ first_name }}"}"#).expect("compiles");
        let data = MergeData {
            first_name: Some("A \"b\"\n\\ \u{1}ć"),
            ..MergeData::default()
        };
        let rendered = content.render(&data).expect("renders");
        let read: serde_json::Value = serde_json::from_str(&rendered).expect("is JSON");
        assert_eq!(read["name"], "A \"b\"\n\\ \u{1}ć");
    }

    #[test]
    fn a_message_has_its_length_and_says_something() {
        let content = TextContent::message("{{ first_name }}").expect("compiles");
        let long = "x".repeat(MESSAGE_UNITS_MAX);
        let of = |name: &str| {
            let data = MergeData {
                first_name: Some(name),
                ..MergeData::default()
            };
            content.render(&data)
        };
        assert_eq!(of(&long).as_deref(), Ok(long.as_str()));
        // An emoji is two units.
        for too_long in [
            format!("{long}x"),
            "\u{1f44b}".repeat(MESSAGE_UNITS_MAX / 2 + 1),
        ] {
            assert!(matches!(of(&too_long), Err(RenderError::Failed(_))));
        }
        let empty = TextContent::message(" {# nothing #} ").expect_err("is empty");
        assert_eq!(
            empty.first().map(|problem| &problem.kind),
            Some(&ContentProblemKind::Empty)
        );
    }

    #[test]
    fn what_is_written_is_too_long_for_everybody() {
        let excess = |source: &str| TextContent::message(source).expect("compiles").excess();
        let (half, x) = (MESSAGE_UNITS_MAX / 2, |count: usize| "x".repeat(count));
        assert_eq!(excess(&x(MESSAGE_UNITS_MAX)), None);
        let found = excess(&x(MESSAGE_UNITS_MAX + 1)).expect("too long");
        assert_eq!(
            (found.least, found.limit),
            (MESSAGE_UNITS_MAX + 1, MESSAGE_UNITS_MAX)
        );
        assert!(excess(&"\u{1f44b}".repeat(half + 1)).is_some());
        let either = |then: usize, otherwise: usize| {
            let (then, otherwise) = (x(then), x(otherwise));
            excess(&format!(
                "{}{{% if title %}}{then}{{% else %}}{otherwise}{{% endif %}}",
                x(half)
            ))
        };
        assert!(either(half + 1, half + 1).is_some());
        assert_eq!(either(half, half + 1), None, "who has no title may get it");
        let long_title = TextContent::title(&x(MAX_SUBJECT_BYTES + 1)).expect("compiles");
        assert!(long_title.excess().is_some());
    }
}
