//! Whether a condition holds, reckoned anew.

use std::collections::HashSet;

use cadenza::domain::flow::Predicate;
use cadenza::domain::person_filter::{MatchOp, PersonField};
use entity::person;
use serde_json::Value;

/// What a lead did with messages.
#[derive(Debug, Clone, Default)]
pub struct Deeds {
    pub opened: HashSet<String>,
    pub clicked: HashSet<String>,
    pub replied: bool,
}

pub fn holds(predicate: &Predicate, deeds: &Deeds, person: &person::Model) -> bool {
    let each = |all: &[Predicate]| -> Vec<bool> {
        all.iter().map(|one| holds(one, deeds, person)).collect()
    };
    match predicate {
        Predicate::Opened(step) if step == "*" => !deeds.opened.is_empty(),
        Predicate::Opened(step) => deeds.opened.contains(step),
        Predicate::Clicked(step) if step == "*" => !deeds.clicked.is_empty(),
        Predicate::Clicked(step) => deeds.clicked.contains(step),
        Predicate::Replied(wanted) => deeds.replied == *wanted,
        Predicate::Has(fields) => !fields.iter().any(|field| lacks(person, *field)),
        Predicate::Attribute(written) => {
            let value = &person.attributes[&written.name];
            match (written.op, &written.value) {
                (MatchOp::IsSet, _) => !value.is_null(),
                (MatchOp::Eq, wanted) => value == wanted,
                (MatchOp::Gte, Value::Number(wanted)) => value
                    .as_i64()
                    .is_some_and(|value| Some(value) >= wanted.as_i64()),
                other => panic!("no such test is drawn: {other:?}"),
            }
        }
        Predicate::All(all) => !each(all).contains(&false),
        Predicate::Any(any) => each(any).contains(&true),
        Predicate::Not(inner) => !holds(inner, deeds, person),
    }
}

fn lacks(person: &person::Model, field: PersonField) -> bool {
    match field {
        PersonField::Email => person.email.is_none(),
        PersonField::Phone => person.phone.is_none(),
        PersonField::LinkedinUrl => person.linkedin_url.is_none(),
        PersonField::Company => person.company.is_none(),
        PersonField::Title => person.title.is_none(),
    }
}
