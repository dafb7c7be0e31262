//! What a condition asks, and the answer for one lead.

use std::collections::HashSet;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::domain::person_filter::{
    AttributeMatch, AttributeTest, BadMatch, Comparison, MatchOp, Operand, PersonField,
};

/// What stands for every message where a step's key is asked for.
pub const ANY_STEP: &str = "*";
/// How deep predicates may lie in one another.
pub const DEPTH_MAX: usize = 8;
/// The most predicates that one condition may have.
pub const PREDICATES_MAX: usize = 100;

/// What a condition asks.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub enum Predicate {
    /// The lead opened the message of the step with this key, or any with [`ANY_STEP`].
    Opened(String),
    /// The lead clicked a link of it.
    Clicked(String),
    /// Whether the lead answered.
    Replied(bool),
    /// The person has all of these.
    Has(Vec<PersonField>),
    /// An attribute of the person compares so.
    Attribute(WrittenMatch),
    /// All of these hold.
    All(Vec<Predicate>),
    /// At least one of these holds.
    Any(Vec<Predicate>),
    /// This does not hold.
    Not(Box<Predicate>),
}

/// A condition on one attribute as it was written, so that it reads back the same.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct WrittenMatch {
    /// The attribute's name.
    pub name: String,
    /// How it is compared.
    pub op: MatchOp,
    /// With what.
    #[serde(default, skip_serializing_if = "Value::is_null")]
    pub value: Value,
}

impl WrittenMatch {
    /// The condition that is meant.
    ///
    /// # Errors
    /// [`BadMatch`] where name, operator and value do not go together.
    pub fn read(&self) -> Result<AttributeMatch, BadMatch> {
        AttributeMatch::new(self.name.clone(), self.op, Some(self.value.clone()))
    }
}

/// What is known of a lead when a condition asks.
#[derive(Debug, Clone, Copy)]
pub struct LeadFacts<'a> {
    /// The keys of the steps whose message was opened.
    pub opened: &'a HashSet<String>,
    /// The keys of the steps of whose message a link was clicked.
    pub clicked: &'a HashSet<String>,
    /// Whether the lead answered.
    pub replied: bool,
    /// The person.
    pub person: PersonFacts<'a>,
}

/// What is known of a person when a condition asks.
#[derive(Debug, Clone, Copy, Default)]
pub struct PersonFacts<'a> {
    /// The email address.
    pub email: Option<&'a str>,
    /// The phone number.
    pub phone: Option<&'a str>,
    /// The LinkedIn page.
    pub linkedin_url: Option<&'a str>,
    /// The company.
    pub company: Option<&'a str>,
    /// The title.
    pub title: Option<&'a str>,
    /// Whatever else is known.
    pub attributes: Option<&'a Map<String, Value>>,
}

impl PersonFacts<'_> {
    fn has(&self, field: PersonField) -> bool {
        let value = match field {
            PersonField::Email => self.email,
            PersonField::Phone => self.phone,
            PersonField::LinkedinUrl => self.linkedin_url,
            PersonField::Company => self.company,
            PersonField::Title => self.title,
        };
        value.is_some()
    }
}

impl Predicate {
    /// Whether it holds for a lead.
    pub fn holds(&self, facts: &LeadFacts<'_>) -> bool {
        let touched = |steps: &HashSet<String>, key: &str| {
            steps.contains(key) || (key == ANY_STEP && !steps.is_empty())
        };
        match self {
            Self::Opened(key) => touched(facts.opened, key),
            Self::Clicked(key) => touched(facts.clicked, key),
            Self::Replied(wanted) => facts.replied == *wanted,
            Self::Has(fields) => fields.iter().all(|field| facts.person.has(*field)),
            // Written wrongly, which reading refuses, it matches nobody.
            Self::Attribute(written) => written
                .read()
                .is_ok_and(|wanted| matches(&wanted, facts.person.attributes)),
            Self::All(all) => all.iter().all(|one| one.holds(facts)),
            Self::Any(any) => any.iter().any(|one| one.holds(facts)),
            Self::Not(inner) => !inner.holds(facts),
        }
    }

    /// Calls `visit` for this predicate and every one within it.
    pub fn visit<'a>(&'a self, visit: &mut impl FnMut(&'a Self)) {
        visit(self);
        match self {
            Self::All(inner) | Self::Any(inner) => inner.iter().for_each(|one| one.visit(visit)),
            Self::Not(inner) => inner.visit(visit),
            Self::Opened(_)
            | Self::Clicked(_)
            | Self::Replied(_)
            | Self::Has(_)
            | Self::Attribute(_) => {}
        }
    }

    /// Whether its answer hangs on what the lead does with messages.
    pub fn asks_engagement(&self) -> bool {
        let mut asks = false;
        self.visit(&mut |one| {
            asks |= matches!(one, Self::Opened(_) | Self::Clicked(_) | Self::Replied(_));
        });
        asks
    }
}

/// Whether the attributes satisfy a condition, as the store's SQL decides it for filters.
fn matches(wanted: &AttributeMatch, attributes: Option<&Map<String, Value>>) -> bool {
    let value = attributes
        .and_then(|attributes| attributes.get(&wanted.name))
        .filter(|value| !value.is_null());
    let text = value.map(text_of);
    let number = text.as_deref().and_then(number_of);
    let compare = |operand: &Operand| match operand {
        Operand::Number(given) => number.and_then(|number| number.partial_cmp(given)),
        Operand::Text(given) => text.as_deref().map(|text| text.cmp(given.as_str())),
    };
    match &wanted.test {
        AttributeTest::Compare(how, operand) => {
            let order = compare(operand);
            match how {
                Comparison::Equal => order.is_some_and(std::cmp::Ordering::is_eq),
                Comparison::NotEqual => order.is_none_or(std::cmp::Ordering::is_ne),
                Comparison::Less => order.is_some_and(std::cmp::Ordering::is_lt),
                Comparison::LessOrEqual => order.is_some_and(std::cmp::Ordering::is_le),
                Comparison::Greater => order.is_some_and(std::cmp::Ordering::is_gt),
                Comparison::GreaterOrEqual => order.is_some_and(std::cmp::Ordering::is_ge),
            }
        }
        AttributeTest::OneOf(operands) => operands
            .iter()
            .any(|operand| compare(operand).is_some_and(std::cmp::Ordering::is_eq)),
        AttributeTest::Contains(part) => text.is_some_and(|text| text.contains(part)),
        AttributeTest::StartsWith(start) => text.is_some_and(|text| text.starts_with(start)),
        AttributeTest::IsSet => text.is_some(),
        AttributeTest::IsNotSet => text.is_none(),
    }
}

fn text_of(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::Array(_) | Value::Object(_) => {
            value.to_string()
        }
    }
}

/// A number as JSON writes it, without an exponent and of at most thirty digits before the point.
fn number_of(text: &str) -> Option<f64> {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, "0"));
    let all_digits = |part: &str| {
        (1..=30).contains(&part.len()) && part.bytes().all(|byte| byte.is_ascii_digit())
    };
    let sound =
        all_digits(whole) && all_digits(fraction) && (whole == "0" || !whole.starts_with('0'));
    sound.then(|| text.parse().ok()).flatten()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn holds(predicate: &Value, attributes: &Value) -> bool {
        let predicate: Predicate = serde_json::from_value(predicate.clone()).expect("a predicate");
        let opened = HashSet::from(["one".to_owned()]);
        let facts = LeadFacts {
            opened: &opened,
            clicked: &HashSet::new(),
            replied: false,
            person: PersonFacts {
                email: Some("ana@example.com"),
                attributes: attributes.as_object(),
                ..PersonFacts::default()
            },
        };
        predicate.holds(&facts)
    }

    #[test]
    fn each_kind_is_answered() {
        let none = json!({});
        for (predicate, expected) in [
            (json!({ "opened": "one" }), true),
            (json!({ "opened": "*" }), true),
            (json!({ "opened": "two" }), false),
            (json!({ "clicked": "*" }), false),
            (json!({ "replied": false }), true),
            (json!({ "replied": true }), false),
            (json!({ "has": ["EMAIL"] }), true),
            (json!({ "has": ["EMAIL", "PHONE"] }), false),
            (json!({ "all": [] }), true),
            (json!({ "any": [] }), false),
            (json!({ "not": { "opened": "one" } }), false),
            (
                json!({ "all": [{ "opened": "one" }, { "not": { "clicked": "one" } }] }),
                true,
            ),
            (
                json!({ "any": [{ "clicked": "one" }, { "replied": true }] }),
                false,
            ),
        ] {
            assert_eq!(holds(&predicate, &none), expected, "{predicate}");
        }
    }

    #[test]
    fn attributes_are_compared_as_filters_do() {
        let attributes = json!({ "n": 10, "t": "10", "w": "word", "b": true, "nil": null });
        for (name, op, value, expected) in [
            ("n", "EQ", json!(10), true),
            ("t", "EQ", json!(10), true),
            ("n", "EQ", json!("10"), true),
            ("n", "LT", json!(9), false),
            ("w", "LT", json!(9), false),
            ("w", "NE", json!(9), true),
            ("gone", "NE", json!("x"), true),
            ("gone", "EQ", json!("x"), false),
            ("nil", "IS_NOT_SET", Value::Null, true),
            ("b", "EQ", json!(true), true),
            ("w", "CONTAINS", json!("or"), true),
            ("w", "STARTS_WITH", json!("or"), false),
            ("w", "IN", json!(["word", 3]), true),
            ("n", "IN", json!([10.0]), true),
            ("w", "IS_SET", Value::Null, true),
        ] {
            let predicate = json!({ "attribute": { "name": name, "op": op, "value": value } });
            assert_eq!(holds(&predicate, &attributes), expected, "{predicate}");
        }
    }
}
