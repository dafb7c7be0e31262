//! Predicates of which one rules out another.

use std::collections::HashSet;

use crate::domain::flow::{ANY_STEP, Predicate, WrittenMatch};
use crate::domain::person_filter::{MatchOp, PersonField};

/// Whether no lead can be such that all of these hold.
pub(super) fn rule_each_other_out(all: &[Predicate]) -> bool {
    let (mut hold, mut fail) = (Vec::new(), Vec::new());
    for one in all {
        gather(one, true, &mut hold, &mut fail);
    }
    contradicts(&hold, &fail)
}

/// Whether each lead is such that one of these holds: no lead fails all of them.
pub(super) fn leave_nobody_out(any: &[Predicate]) -> bool {
    let (mut hold, mut fail) = (Vec::new(), Vec::new());
    for one in any {
        gather(one, false, &mut hold, &mut fail);
    }
    contradicts(&hold, &fail)
}

/// Takes apart what is to hold, or to fail: into predicates that must hold and that must fail.
fn gather<'a>(
    one: &'a Predicate,
    holds: bool,
    hold: &mut Vec<&'a Predicate>,
    fail: &mut Vec<&'a Predicate>,
) {
    match one {
        Predicate::Not(inner) => gather(inner, !holds, hold, fail),
        Predicate::All(all) if holds => all.iter().for_each(|one| gather(one, true, hold, fail)),
        Predicate::Any(any) if !holds => any.iter().for_each(|one| gather(one, false, hold, fail)),
        _ if holds => hold.push(one),
        _ => fail.push(one),
    }
}

fn contradicts(hold: &[&Predicate], fail: &[&Predicate]) -> bool {
    let fields = hold.iter().filter_map(|one| match one {
        Predicate::Has(fields) => Some(fields),
        _ => None,
    });
    let fields: HashSet<PersonField> = fields.flatten().copied().collect();
    let fails = |wanted: &&Predicate| fail.iter().any(|one| implied(wanted, one, &fields));
    let other = |(at, one): (usize, &&Predicate)| {
        let mut rest = hold.iter().skip(at + 1);
        rest.any(|other| excludes(one, other))
    };
    hold.iter().any(fails) || hold.iter().enumerate().any(other)
}

/// Whether the other holds wherever the one does, and these fields are there.
fn implied(one: &Predicate, other: &Predicate, fields: &HashSet<PersonField>) -> bool {
    match (one, other) {
        (Predicate::Has(_), Predicate::Has(wanted)) => {
            !wanted.is_empty() && wanted.iter().all(|field| fields.contains(field))
        }
        (Predicate::Opened(_), Predicate::Opened(any))
        | (Predicate::Clicked(_), Predicate::Clicked(any))
            if any == ANY_STEP =>
        {
            true
        }
        (one, other) => one == other,
    }
}

/// Whether no lead can be such that both hold.
fn excludes(one: &Predicate, other: &Predicate) -> bool {
    match (one, other) {
        (Predicate::Replied(one), Predicate::Replied(other)) => one != other,
        (Predicate::Attribute(one), Predicate::Attribute(other)) if one.name == other.name => {
            let needs_none = |wanted: &WrittenMatch| wanted.op == MatchOp::IsNotSet;
            let needs_some =
                |wanted: &WrittenMatch| !matches!(wanted.op, MatchOp::IsNotSet | MatchOp::Ne);
            let is = |wanted: &WrittenMatch| (wanted.op == MatchOp::Eq).then(|| wanted.read().ok());
            let differ = match (is(one).flatten(), is(other).flatten()) {
                // A text that reads like a number may equal both a number and a text.
                (Some(one), Some(other)) => {
                    one.test.is_of_text() && other.test.is_of_text() && one.test != other.test
                }
                _ => false,
            };
            differ
                || (needs_none(one) && needs_some(other))
                || (needs_some(one) && needs_none(other))
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn read(list: &Value) -> Vec<Predicate> {
        serde_json::from_value(list.clone()).expect("predicates")
    }

    fn attribute(op: &str, value: Value) -> Value {
        json!({ "attribute": { "name": "n", "op": op, "value": value } })
    }

    #[test]
    fn what_cannot_hold_together_is_found() {
        for all in [
            json!([{ "has": ["EMAIL"] }, { "not": { "has": ["EMAIL"] } }]),
            json!([{ "has": ["EMAIL"] }, { "has": ["PHONE"] }, { "not": { "has": ["EMAIL", "PHONE"] } }]),
            json!([{ "all": [{ "opened": "a" }] }, { "not": { "any": [{ "opened": "*" }] } }]),
            json!([{ "replied": true }, { "replied": false }]),
            json!([attribute("EQ", json!("a")), attribute("EQ", json!("b"))]),
            json!([
                attribute("IS_NOT_SET", Value::Null),
                attribute("GT", json!(1))
            ]),
            json!([{ "any": [{ "replied": true }, { "opened": "a" }] },
                { "not": { "any": [{ "replied": true }, { "opened": "a" }] } },
                { "not": { "not": { "replied": true } } }]),
        ] {
            assert!(rule_each_other_out(&read(&all)), "{all}");
        }
        for all in [
            json!([{ "has": ["EMAIL"] }, { "not": { "has": ["EMAIL", "PHONE"] } }]),
            json!([{ "opened": "a" }, { "not": { "opened": "b" } }, { "clicked": "b" }]),
            json!([{ "opened": "*" }, { "not": { "opened": "a" } }]),
            json!([attribute("EQ", json!("1")), attribute("EQ", json!(1))]),
            json!([
                attribute("IS_NOT_SET", Value::Null),
                attribute("NE", json!(1))
            ]),
            json!([]),
        ] {
            assert!(!rule_each_other_out(&read(&all)), "{all}");
        }
    }

    #[test]
    fn what_holds_for_everybody_is_found() {
        let opened = json!({ "opened": "a" });
        for (any, everybody) in [
            (json!([opened, { "not": opened }]), true),
            (
                json!([{ "not": { "all": [opened] } }, { "any": [opened] }]),
                true,
            ),
            (json!([{ "replied": true }, { "replied": false }]), false),
            (json!([opened]), false),
        ] {
            assert_eq!(leave_nobody_out(&read(&any)), everybody, "{any}");
        }
    }
}
