//! Texts that are no email: of text and WhatsApp messages, of tasks, of requests.

use super::{ContentField, ContentProblem, ContentProblemKind, Part, compile_part};
use crate::domain::template::{Kind, MergeData, RenderError, TagUse, Template};

/// The longest rendered text message, in characters: what carriers take in one message that is split
/// and joined again.
pub const MESSAGE_CHARS_MAX: usize = 1_600;

/// A compiled text.
#[derive(Clone, Debug)]
pub struct TextContent {
    field: ContentField,
    template: Template,
    chars_max: Option<usize>,
}

impl TextContent {
    /// Compiles the text of a text or WhatsApp message.
    ///
    /// # Errors
    /// Every problem of it.
    pub fn message(source: &str) -> Result<Self, Vec<ContentProblem>> {
        let mut content = Self::compile(source, ContentField::Body, Kind::Text)?;
        content.chars_max = Some(MESSAGE_CHARS_MAX);
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
                chars_max: None,
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
        match self.chars_max {
            Some(max) if text.chars().count() > max => Err(RenderError::Failed(format!(
                "the message is longer than {max} characters for this person: shorten it"
            ))),
            _ => Ok(text),
        }
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
        let long = "x".repeat(MESSAGE_CHARS_MAX);
        let of = |name: &str| {
            let data = MergeData {
                first_name: Some(name),
                ..MergeData::default()
            };
            content.render(&data)
        };
        assert_eq!(of(&long).as_deref(), Ok(long.as_str()));
        assert!(matches!(
            of(&format!("{long}x")),
            Err(RenderError::Failed(_))
        ));
        let empty = TextContent::message(" {# nothing #} ").expect_err("is empty");
        assert_eq!(
            empty.first().map(|problem| &problem.kind),
            Some(&ContentProblemKind::Empty)
        );
    }
}
