//! Whatever stands where the schema takes a value is read or refused: nothing of it is ever an error of the
//! server's own, on either database.

use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::requests::Requests;
use crate::roles::code;

/// What stands in the place of a text, an id or a scalar that is written as one.
fn texts() -> Vec<Value> {
    let plain = [
        "",
        " ",
        "' OR 1=1 --",
        "\"; DROP TABLE person; --",
        "%_\\",
        "\u{0}",
        "a\u{0}b",
        "\u{feff}\u{202e}\u{2028}",
        "{{ 7 * 7 }}{% for a in b %}",
        "${7*7}$(id)`id`",
        "../../etc/passwd",
        "null",
        "NaN",
        "9223372036854775808",
        "-292277022657-01-27T08:29:52Z",
        "9999-12-31T23:59:59.999Z",
        "0000-01-01",
        "P99999999999D",
        "PT0.0000000001S",
        "24:00",
        "Etc/Nowhere",
        "seq_00000000000000000000000000",
        "lead_7zzzzzzzzzzzzzzzzzzzzzzzzz",
        "evt_ffffffffffffffff",
        "a@b@c, <d@e>\r\nBcc: f@g",
        "http://[::1",
    ];
    let mut all: Vec<Value> = plain.into_iter().map(|text| json!(text)).collect();
    all.push(json!("\u{1f4a5}".repeat(50_000)));
    all
}

/// What stands in the place of a number.
fn numbers() -> Vec<Value> {
    let whole = [
        0,
        -1,
        1,
        250,
        251,
        i64::from(i32::MAX),
        i64::from(i32::MIN),
        i64::MAX,
    ];
    let mut all: Vec<Value> = whole.into_iter().map(|number| json!(number)).collect();
    all.push(json!(1e308));
    all
}

/// What stands in the place of any JSON.
fn anything() -> Vec<Value> {
    let mut deep = json!("end");
    for _ in 0..100 {
        deep = json!({ "a": [deep] });
    }
    vec![
        json!(null),
        json!([]),
        json!(true),
        json!(-0.0),
        json!({ "": { "\u{0}": "\u{0}" } }),
        deep,
    ]
}

both!(
    whatever_stands_in_a_request_is_read_or_refused,
    |h: Harness| async move {
        let requests = Requests::new(&h).await;
        let mut tried = 0_u32;
        let mut wrong = Vec::new();
        for (root, made) in requests.all() {
            for (path, of) in requests.places(root, &made.field) {
                let values = match of.as_str() {
                    "Int" | "Float" => numbers(),
                    "JSON" => [anything(), texts()].concat(),
                    _ => texts(),
                };
                for value in values {
                    let made = requests.with(root, &made.field, &path, value.clone());
                    let code = code(&h, Some(&h.admin), &made).await;
                    tried += 1;
                    if !["", "BAD_USER_INPUT", "GRAPHQL_VALIDATION_FAILED"].contains(&code.as_str())
                    {
                        let value: String = value.to_string().chars().take(60).collect();
                        wrong.push(format!(
                            "{} {}: {value}: {code}",
                            made.field,
                            path.join(".")
                        ));
                    }
                }
            }
        }
        assert!(
            wrong.is_empty(),
            "{} of {}:\n{}",
            wrong.len(),
            tried,
            wrong.join("\n")
        );
        assert!(tried > 3_000, "all places are tried");
        // Nothing has harmed what was there before.
        let there = h.data("{ tokens { totalCount } }", json!({})).await;
        assert!(
            there["tokens"]["totalCount"]
                .as_i64()
                .is_some_and(|count| count >= 3)
        );
    }
);
