//! Texts that are no email: of text and WhatsApp messages, of tasks, of requests.

use serde::de::IgnoredAny;

use super::{ContentField, ContentProblem, ContentProblemKind, Part, compile_part};
use crate::domain::template::{
    Kind, MAX_NESTING, MAX_SUBJECT_BYTES, MergeData, RenderError, TagUse, Template,
};

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

    /// What keeps it from being JSON, if anything does. It is tried with texts and with numbers for values, along
    /// ways through its conditions of which each branch is on one: which of them people take is not known.
    pub fn json_fault(&self) -> Option<JsonFault> {
        let texts = |attribute: &str| {
            let ways = (0..=MAX_NESTING).map(|way| self.template.sampled(way, attribute, "x"));
            let mut ways: Vec<String> = ways.collect();
            ways.dedup();
            ways
        };
        let fault = |text: &String| serde_json::from_str::<IgnoredAny>(text).err();
        let ways = texts("x");
        let faults: Vec<_> = ways.iter().filter_map(fault).collect();
        let first = faults.first()?;
        if faults.len() < ways.len() || texts("0").iter().any(|text| fault(text).is_none()) {
            return Some(JsonFault::ForSome);
        }
        let reason = first.to_string();
        let reason = reason.split(" at line ").next().unwrap_or_default();
        Some(JsonFault::Always {
            line: first.line(),
            reason: reason.to_owned(),
        })
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

/// Why a text is not JSON.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum JsonFault {
    /// Whatever the values of its merge tags are.
    Always {
        /// The line, counted from 1.
        line: usize,
        /// What is wrong there.
        reason: String,
    },
    /// For some: where a text stands for an attribute, or by a branch of a condition.
    ForSome,
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
    fn a_body_that_is_not_json_is_told() {
        let fault = |source: &str| TextContent::json(source).expect("compiles").json_fault();
        for sound in [
            r#"{"a": "{{ first_name }} {{ attributes.x }}"}"#,
            r#""{{ first_name }}""#,
            r#"[1, {% if title %}"{{ title }}"{% else %}null{% endif %}]"#,
            r#"{"a": {% if country == "PT" %}1{% elif country == "DE" %}2{% else %}3{% endif %}}"#,
        ] {
            assert_eq!(fault(sound), None, "{sound}");
        }
        for some in [
            r#"{"a": {{ attributes.score }}}"#,
            r#"{"a": {{ attributes.score | default("null") }}, "b": "{{ email }}"}"#,
            r#"{"a": {% if country == "PT" %}1{% elif country == "DE" %}2{% endif %}}"#,
            r#"{"a": {% if title %}1{% elif company %}{{ company }}{% else %}3{% endif %}}"#,
        ] {
            assert_eq!(fault(some), Some(JsonFault::ForSome), "{some}");
        }
        for (broken, at) in [
            ("not json {{ first_name }}", 1),
            ("{\n\"a\": {{ first_name }} , \"b\": }", 2),
            ("{\n\"a\": \"{{ first_name }}\",\n}", 3),
            (r#"{"a": {{ first_name }}}"#, 1),
            (r#"{"a": "{{ first_name }}"} {}"#, 1),
        ] {
            let found = fault(broken);
            let Some(JsonFault::Always { line, reason }) = &found else {
                panic!("{broken}: {found:?}");
            };
            assert_eq!(*line, at, "{broken}: {reason}");
            assert!(!reason.is_empty() && !reason.contains("line"), "{reason}");
        }
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
