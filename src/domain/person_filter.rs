//! Which people: the filter that lists, counts and bulk operations share.
//!
//! A filter is plain data that can be kept with a bulk operation and read again. Turning it into
//! SQL is the store's.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use strum::{Display, EnumString, IntoStaticStr};
use unicode_normalization::UnicodeNormalization;

use super::id::{PersonId, SequenceId};

/// The most values that one list of a filter may have.
pub const LIST_MAX: usize = 1_000;
/// The most attribute conditions of one filter.
pub const MATCHES_MAX: usize = 20;
/// The longest search text and attribute name, in characters.
pub const TEXT_CHARS_MAX: usize = 500;

/// Which people; every condition that is given must hold. A list means "any of these", so an empty
/// one matches nobody, except for `has` and `attributes`, which mean "all of these".
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct PersonFilter {
    /// One of these people.
    pub ids: Option<Vec<PersonId>>,
    /// Every word of this occurs in the name, the email address or the company.
    pub search: Option<String>,
    /// At one of these companies, spelled exactly so.
    pub company: Option<Vec<String>>,
    /// With one of these titles, spelled exactly so.
    pub title: Option<Vec<String>>,
    /// Has all of these.
    pub has: Vec<PersonField>,
    /// All of these hold for the attributes.
    pub attributes: Vec<AttributeMatch>,
    /// Created at this instant or later.
    pub created_from: Option<DateTime<Utc>>,
    /// Created before this instant.
    pub created_to: Option<DateTime<Utc>>,
    /// Has never been a lead of this sequence.
    pub not_in_sequence: Option<SequenceId>,
}

impl PersonFilter {
    /// Whether no condition is given, so that everybody in the workspace is meant.
    pub fn is_empty(&self) -> bool {
        let search = self.search.as_deref();
        search.is_none_or(|text| text.trim().is_empty())
            && Self {
                search: None,
                ..self.clone()
            } == Self::default()
    }
}

/// A text as it is searched in and for: upper and lower case, composed and decomposed letters are
/// the same (Unicode NFKC, then lower case).
pub fn searchable(text: &str) -> String {
    text.nfkc().collect::<String>().to_lowercase()
}

/// A company's name as it is compared: people whose names of it come to one text here are at one company.
/// Upper and lower case, composed and decomposed letters and any white space are the same; nothing is
/// guessed beyond that (no "Inc." is taken off).
pub fn same_company(name: &str) -> String {
    let words: Vec<String> = searchable(name)
        .split_whitespace()
        .map(str::to_owned)
        .collect();
    words.join(" ")
}

/// Something that a person may have.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum PersonField {
    /// An email address.
    Email,
    /// A phone number.
    Phone,
    /// A LinkedIn page.
    LinkedinUrl,
    /// A company.
    Company,
    /// A title.
    Title,
}

/// How an attribute is compared.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    Display,
    EnumString,
    IntoStaticStr,
)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum MatchOp {
    /// Is the value.
    Eq,
    /// Is another value, or is not set.
    Ne,
    /// Is less than the value.
    Lt,
    /// Is the value or less.
    Lte,
    /// Is greater than the value.
    Gt,
    /// Is the value or greater.
    Gte,
    /// Holds the text.
    Contains,
    /// Begins with the text.
    StartsWith,
    /// Is one of the values.
    In,
    /// Is there.
    IsSet,
    /// Is not there.
    IsNotSet,
}

/// A condition on one attribute.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AttributeMatch {
    /// The attribute's name, exactly.
    pub name: String,
    /// What must hold for its value.
    pub test: AttributeTest,
}

/// What must hold for an attribute's value. Text is compared letter by letter, upper and lower case
/// apart, in the order of code points.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum AttributeTest {
    /// Compares with one value.
    Compare(Comparison, Operand),
    /// Is one of these.
    OneOf(Vec<Operand>),
    /// Holds this text, which is not empty.
    Contains(String),
    /// Begins with this text.
    StartsWith(String),
    /// Is there.
    IsSet,
    /// Is not there.
    IsNotSet,
}

impl AttributeTest {
    /// Whether it compares with one text, letter by letter.
    pub fn is_of_text(&self) -> bool {
        matches!(self, Self::Compare(_, Operand::Text(_)))
    }
}

/// How two values compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Comparison {
    /// The same.
    Equal,
    /// Not the same, or not there.
    NotEqual,
    /// Less.
    Less,
    /// Less or the same.
    LessOrEqual,
    /// Greater.
    Greater,
    /// Greater or the same.
    GreaterOrEqual,
}

/// What an attribute is compared with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Operand {
    /// Compared as a number with attributes that are numbers or read like one; others do not match.
    Number(f64),
    /// Compared as text; truth values are the texts `true` and `false`.
    Text(String),
}

/// Why a condition on an attribute cannot be meant so; the sentence names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadMatch {
    /// No name, or one that is too long.
    #[error("name must have 1 to {TEXT_CHARS_MAX} characters")]
    Name,
    /// The operator compares with one value and got none, a list or an object.
    #[error("{0} needs a value that is a text, a number, true or false")]
    NotScalar(MatchOp),
    /// The operator looks for a text and got something else or an empty one.
    #[error("{0} needs a value that is a text of at least one character")]
    NotText(MatchOp),
    /// The operator takes a list and got something else or too many.
    #[error("IN needs a value that is a list of at most {LIST_MAX} texts, numbers, true or false")]
    NotList,
    /// No text that is kept holds a NUL.
    #[error("name or value holds a NUL character; leave it out")]
    Nul,
    /// The operator takes no value.
    #[error("{0} takes no value; leave value out")]
    NoValue(MatchOp),
}

impl AttributeMatch {
    /// The condition that a name, an operator and a value mean.
    ///
    /// # Errors
    /// [`BadMatch`] where they do not go together.
    pub fn new(name: String, op: MatchOp, value: Option<Value>) -> Result<Self, BadMatch> {
        if name.is_empty() || name.chars().count() > TEXT_CHARS_MAX {
            return Err(BadMatch::Name);
        }
        let has_nul = |text: &str| text.contains('\0');
        if has_nul(&name)
            || value
                .as_ref()
                .is_some_and(|value| any_text(value, &has_nul))
        {
            return Err(BadMatch::Nul);
        }
        let value = value.filter(|value| !value.is_null());
        let compare = |how, value: Option<Value>| {
            let operand = value.and_then(operand).ok_or(BadMatch::NotScalar(op))?;
            Ok(AttributeTest::Compare(how, operand))
        };
        let text = |value: Option<Value>| match value {
            Some(Value::String(text)) if !text.is_empty() => Ok(text),
            _ => Err(BadMatch::NotText(op)),
        };
        let none = |test, value: Option<Value>| match value {
            None => Ok(test),
            Some(_) => Err(BadMatch::NoValue(op)),
        };
        let test = match op {
            MatchOp::Eq => compare(Comparison::Equal, value)?,
            MatchOp::Ne => compare(Comparison::NotEqual, value)?,
            MatchOp::Lt => compare(Comparison::Less, value)?,
            MatchOp::Lte => compare(Comparison::LessOrEqual, value)?,
            MatchOp::Gt => compare(Comparison::Greater, value)?,
            MatchOp::Gte => compare(Comparison::GreaterOrEqual, value)?,
            MatchOp::Contains => AttributeTest::Contains(text(value)?),
            MatchOp::StartsWith => AttributeTest::StartsWith(text(value)?),
            MatchOp::In => match value {
                Some(Value::Array(values)) if values.len() <= LIST_MAX => {
                    let operands: Option<Vec<Operand>> = values.into_iter().map(operand).collect();
                    AttributeTest::OneOf(operands.ok_or(BadMatch::NotList)?)
                }
                _ => return Err(BadMatch::NotList),
            },
            MatchOp::IsSet => none(AttributeTest::IsSet, value)?,
            MatchOp::IsNotSet => none(AttributeTest::IsNotSet, value)?,
        };
        Ok(Self { name, test })
    }
}

/// Whether a value is a text that `test` holds for, or a list with one.
fn any_text(value: &Value, test: &impl Fn(&str) -> bool) -> bool {
    match value {
        Value::String(text) => test(text),
        Value::Array(values) => values.iter().any(|value| any_text(value, test)),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn operand(value: Value) -> Option<Operand> {
    match value {
        Value::Number(number) => number.as_f64().map(Operand::Number),
        Value::String(text) => Some(Operand::Text(text)),
        Value::Bool(truth) => Some(Operand::Text(truth.to_string())),
        Value::Null | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn made(op: MatchOp, value: Value) -> Result<AttributeTest, BadMatch> {
        AttributeMatch::new("x".into(), op, Some(value)).map(|made| made.test)
    }

    #[test]
    fn operators_take_the_values_that_fit_them() {
        let number = AttributeTest::Compare(Comparison::Less, Operand::Number(3.5));
        assert_eq!(made(MatchOp::Lt, json!(3.5)), Ok(number));
        let truth = AttributeTest::Compare(Comparison::Equal, Operand::Text("true".into()));
        assert_eq!(made(MatchOp::Eq, json!(true)), Ok(truth));
        let many = AttributeTest::OneOf(vec![Operand::Number(1.0), Operand::Text("a".into())]);
        assert_eq!(made(MatchOp::In, json!([1, "a"])), Ok(many));
        assert_eq!(made(MatchOp::IsSet, Value::Null), Ok(AttributeTest::IsSet));
    }

    #[test]
    fn a_search_looks_through_spellings() {
        assert_eq!(searchable("Jose\u{301} ÁGUA"), "josé água");
    }

    #[test]
    fn others_are_refused() {
        for value in [json!("a\0"), json!(["a", "\0"])] {
            assert_eq!(made(MatchOp::In, value), Err(BadMatch::Nul));
        }
        assert_eq!(
            made(MatchOp::Eq, Value::Null),
            Err(BadMatch::NotScalar(MatchOp::Eq))
        );
        assert_eq!(
            made(MatchOp::Gt, json!([1])),
            Err(BadMatch::NotScalar(MatchOp::Gt))
        );
        assert_eq!(
            made(MatchOp::Contains, json!("")),
            Err(BadMatch::NotText(MatchOp::Contains))
        );
        assert_eq!(
            made(MatchOp::StartsWith, json!(1)),
            Err(BadMatch::NotText(MatchOp::StartsWith))
        );
        assert_eq!(made(MatchOp::In, json!("a")), Err(BadMatch::NotList));
        assert_eq!(made(MatchOp::In, json!([{}])), Err(BadMatch::NotList));
        assert_eq!(
            made(MatchOp::IsNotSet, json!(1)),
            Err(BadMatch::NoValue(MatchOp::IsNotSet))
        );
        assert_eq!(
            AttributeMatch::new(String::new(), MatchOp::IsSet, None),
            Err(BadMatch::Name)
        );
    }

    #[test]
    fn a_filter_survives_being_kept() {
        let filter = PersonFilter {
            search: Some("ana".into()),
            has: vec![PersonField::LinkedinUrl],
            attributes: vec![
                AttributeMatch {
                    name: "n".into(),
                    test: AttributeTest::OneOf(vec![Operand::Number(2.0)]),
                },
                AttributeMatch {
                    name: "n".into(),
                    test: AttributeTest::IsSet,
                },
            ],
            ..PersonFilter::default()
        };
        let kept = serde_json::to_value(&filter).unwrap();
        assert_eq!(
            serde_json::from_value::<PersonFilter>(kept).unwrap(),
            filter
        );
    }
}
