//! A workflow's filter as it was given.

use serde_json::{Map, Value, json};

use crate::domain::person_filter::{
    AttributeMatch, AttributeTest, Comparison, MatchOp, Operand, PersonFilter,
};
use crate::graphql::scalar::DateTime;

/// The filter with the names that the input PersonFilter has; reading it as one answers the same.
pub fn shown(filter: PersonFilter) -> Value {
    let mut fields = Map::new();
    let mut show = |name: &str, value: Option<Value>| {
        if let Some(value) = value {
            fields.insert(name.to_owned(), value);
        }
    };
    show("ids", filter.ids.map(|ids| json!(ids)));
    show("search", filter.search.map(Value::from));
    show("company", filter.company.map(Value::from));
    show("title", filter.title.map(Value::from));
    show("has", (!filter.has.is_empty()).then(|| json!(filter.has)));
    let attributes: Vec<Value> = filter.attributes.into_iter().map(attribute).collect();
    show(
        "attributes",
        (!attributes.is_empty()).then(|| attributes.into()),
    );
    let mut range = Map::new();
    for (name, at) in [("from", filter.created_from), ("to", filter.created_to)] {
        if let Some(at) = at {
            range.insert(name.to_owned(), instant(at));
        }
    }
    show("createdAt", (!range.is_empty()).then(|| range.into()));
    show(
        "notInSequenceId",
        filter.not_in_sequence.map(|id| json!(id)),
    );
    Value::Object(fields)
}

fn instant(at: chrono::DateTime<chrono::Utc>) -> Value {
    async_graphql::ScalarType::to_value(&DateTime(at))
        .into_json()
        .unwrap_or_default()
}

fn attribute(wanted: AttributeMatch) -> Value {
    let (op, value) = match wanted.test {
        AttributeTest::Compare(how, operand) => {
            let op = match how {
                Comparison::Equal => MatchOp::Eq,
                Comparison::NotEqual => MatchOp::Ne,
                Comparison::Less => MatchOp::Lt,
                Comparison::LessOrEqual => MatchOp::Lte,
                Comparison::Greater => MatchOp::Gt,
                Comparison::GreaterOrEqual => MatchOp::Gte,
            };
            (op, Some(said(operand)))
        }
        AttributeTest::OneOf(operands) => (
            MatchOp::In,
            Some(operands.into_iter().map(said).collect::<Vec<_>>().into()),
        ),
        AttributeTest::Contains(text) => (MatchOp::Contains, Some(text.into())),
        AttributeTest::StartsWith(text) => (MatchOp::StartsWith, Some(text.into())),
        AttributeTest::IsSet => (MatchOp::IsSet, None),
        AttributeTest::IsNotSet => (MatchOp::IsNotSet, None),
    };
    match value {
        Some(value) => json!({ "name": wanted.name, "op": op, "value": value }),
        None => json!({ "name": wanted.name, "op": op }),
    }
}

fn said(operand: Operand) -> Value {
    match operand {
        Operand::Number(number) => number.into(),
        Operand::Text(text) => text.into(),
    }
}
