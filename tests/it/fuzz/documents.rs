//! Documents: whatever is sent as one is read or refused, by what looks at the text, by the parser and by
//! what looks at its fields.

use async_graphql::{Request, Variables};
use cadenza::graphql::document::{self, Remembered, Shape, TooMuch};
use serde_json::json;

use super::{Dice, each};

const PIECES: &[&str] = &[
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "$",
    "@",
    "...",
    "!",
    "=",
    "|",
    "&",
    " ",
    ",",
    "\n",
    "#",
    "\"",
    "\"\"\"",
    "\\",
    "\\u{1F600}",
    "\\uD83D\\uDE00",
    "\\uD83D",
    "\\u{",
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "Query",
    "Lead",
    "Subscription",
    "leads",
    "lead",
    "executionEvents",
    "__typename",
    "__schema",
    "types",
    "fields",
    "first",
    "after",
    "ids",
    "nodes",
    "id",
    "F",
    "G",
    "a",
    "skip",
    "include",
    "if",
    "1",
    "-1.5e3",
    "true",
    "null",
    "é😀",
    "\u{0}",
    "\u{feff}",
    "$a: Int",
    "(first: 100)",
    "@skip(if: $a)",
    "...F",
    "fragment F on Query { ...G }",
];

const DOCUMENTS: &[&str] = &[
    "query Q($a: Int = 1, $b: [ID!]) { leads(first: $a) { nodes { id ...F } pageInfo { endCursor } } nodes(ids: $b) { id } } fragment F on Lead { person { email leads(first: 3) { nodes { id } } } }",
    "mutation M($n: String) { personUpdate(input: { id: \"person_1\", set: { firstName: $n, attributes: { a: [1, { b: null }] } } }) { person { id } userErrors { code } } }",
    "subscription S($after: EventCursor) { ...E @include(if: true) } fragment E on Subscription { executionEvents(after: $after) { cursor } }",
    "{ __schema { types { name fields { name args { name } type { ...T } } } } } fragment T on __Type { kind ofType { kind ofType { kind } } }",
    "query A { a: __typename @skip(if: false) } query B { sequence(id: \"\"\"block \\\"\"\" text\"\"\") { name } }",
];

/// Pieces in any order; now and then so many of one that no parser should see them.
fn soup(dice: &Dice) -> String {
    if dice.once_in(60) {
        return dice.of(PIECES).repeat(1 + dice.below(30_000));
    }
    let pieces: Vec<&str> = (0..dice.below(60)).map(|_| dice.of(PIECES)).collect();
    pieces.join(dice.of(&["", " "]))
}

#[test]
fn whatever_is_sent_is_read_or_refused() {
    let shape = Shape::read(&cadenza::graphql::sdl()).expect("a schema");
    let remembered = Remembered::default();
    let by_text = [TooMuch::Length, TooMuch::Nesting, TooMuch::Tokens].map(|much| much.to_string());
    let tally = each("documents", 40, |dice| {
        let text = if dice.once_in(3) {
            soup(dice)
        } else {
            dice.changed(dice.of(DOCUMENTS), PIECES)
        };
        let variables = match dice.below(3) {
            0 => json!({}),
            1 => json!({ "a": 5, "b": ["x"], "n": null }),
            _ => json!({ "a": true, "after": "evt_0000000000000000" }),
        };
        let mut request = Request::new(&text).variables(Variables::from_json(variables));
        match document::read(&mut request, &shape, &remembered) {
            Ok(operation) => {
                assert!(operation.cost <= document::COST_MAX, "{text}");
                "read"
            }
            Err(answer) => {
                let error = answer.errors.first().expect("it says why");
                let values = error.extensions.as_ref();
                let code = values.and_then(|values| values.get("code"));
                assert!(code.is_some() && !error.message.is_empty(), "{text}");
                if by_text.contains(&error.message) {
                    "refused by the pre-scan"
                } else {
                    "refused"
                }
            }
        }
    });
    // All are tried.
    tally.has_each(&["read", "refused by the pre-scan", "refused"]);
}
