//! Every way in which an attribute can be compared, with every kind of value, against a plain reckoning of
//! what it means.

use serde_json::{Value, json};

use crate::harness::{Harness, both};

/// What people have under the name `v`; the first has nothing.
fn values() -> Vec<Value> {
    vec![
        Value::Null,
        json!(5),
        json!(5.5),
        json!(-3),
        json!(0),
        json!(100),
        json!("5"),
        json!("5.0"),
        json!("05"),
        json!("abc"),
        json!("abd"),
        json!("ABC"),
        json!("zażółć"),
        json!("a%_\\b"),
        json!(" "),
        json!("1e3"),
        json!("-"),
        json!(true),
        json!(false),
        json!("true"),
        json!([1]),
    ]
}

fn operands() -> Vec<Value> {
    vec![
        json!(5),
        json!(-3),
        json!(5.5),
        json!("5"),
        json!("abc"),
        json!("b"),
        json!("%"),
        json!("ż"),
        json!(true),
        json!(""),
    ]
}

fn text_of(value: &Value) -> Option<String> {
    match value {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    }
}

/// The number that a value is, or that it reads like in plain decimal notation.
fn number_of(value: &Value) -> Option<f64> {
    let text = text_of(value)?;
    let plain = text.strip_prefix('-').unwrap_or(&text);
    let (whole, fraction) = plain.split_once('.').unwrap_or((plain, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    let leading = whole.len() > 1 && whole.starts_with('0');
    (digits(whole) && digits(fraction) && !leading)
        .then(|| text.parse().ok())
        .flatten()
}

/// Less, the same or greater; `None` where they do not compare.
fn compared(value: &Value, operand: &Value) -> Option<std::cmp::Ordering> {
    match operand {
        Value::Number(number) => number_of(value)?.partial_cmp(&number.as_f64()?),
        other => Some(text_of(value)?.cmp(&text_of(other)?)),
    }
}

fn holds(op: &str, value: &Value, operand: &Value) -> bool {
    use std::cmp::Ordering::{Equal, Greater, Less};
    let order = compared(value, operand);
    let within = |test: fn(&str, &str) -> bool| {
        let text = text_of(value);
        let part = operand.as_str().expect("a text");
        text.is_some_and(|text| test(&text, part))
    };
    match op {
        "EQ" => order == Some(Equal),
        "NE" => order != Some(Equal),
        "LT" => order == Some(Less),
        "LTE" => matches!(order, Some(Less | Equal)),
        "GT" => order == Some(Greater),
        "GTE" => matches!(order, Some(Greater | Equal)),
        "CONTAINS" => within(|text, part| text.contains(part)),
        "STARTS_WITH" => within(|text, part| text.starts_with(part)),
        "IS_SET" => !value.is_null(),
        "IS_NOT_SET" => value.is_null(),
        "IN" => {
            let list = operand.as_array().expect("a list").iter();
            let mut same = list.map(|one| compared(value, one) == Some(Equal));
            same.any(|same| same)
        }
        other => panic!("no such operator: {other}"),
    }
}

both!(
    each_operator_means_what_it_says_of_each_value,
    |h: Harness| async move {
        let values = values();
        for (n, value) in values.iter().enumerate() {
            let input =
                json!({ "email": format!("p{n}@example.com"), "attributes": { "v": value } });
            h.mutate("personCreate", "PersonInput", input, "person { id }")
                .await;
        }
        let mut asked = Vec::new();
        for op in ["EQ", "NE", "LT", "LTE", "GT", "GTE"] {
            asked.extend(operands().into_iter().map(|operand| (op, operand)));
        }
        for op in ["CONTAINS", "STARTS_WITH"] {
            let texts = operands().into_iter();
            let texts = texts.filter(|one| one.as_str().is_some_and(|text| !text.is_empty()));
            asked.extend(texts.map(|operand| (op, operand)));
        }
        asked.extend([("IS_SET", Value::Null), ("IS_NOT_SET", Value::Null)]);
        asked.push(("IN", json!(operands())));
        for one in operands() {
            asked.push(("IN", json!(["nothing", one])));
        }
        let query = "query($filter: PersonFilter) { people(filter: $filter) {
            totalCount nodes { email } } }";
        for (op, operand) in asked {
            let filter = json!({ "attributes": [{ "name": "v", "op": op, "value": operand }] });
            let found = h.data(query, json!({ "filter": filter })).await;
            let nodes = found["people"]["nodes"].as_array().expect("people").iter();
            let mut found: Vec<&str> = nodes.filter_map(|one| one["email"].as_str()).collect();
            found.sort_unstable();
            let chosen = values.iter().enumerate();
            let chosen = chosen.filter(|(_, value)| holds(op, value, &operand));
            let mut expected: Vec<String> =
                chosen.map(|(n, _)| format!("p{n}@example.com")).collect();
            expected.sort_unstable();
            assert_eq!(found, expected, "{op} {operand}");
        }
    }
);
