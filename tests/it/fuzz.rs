//! Whatever is sent as a document is read or refused, and never ends the process: what is checked before
//! and after parsing, on random texts and on documents with something changed in them.
//!
//! `CADENZA_FUZZ_INPUTS` says how many (`make fuzz` runs ten million).

use async_graphql::{Request, Variables};
use cadenza::entropy::Entropy;
use cadenza::graphql::document::{self, Shape};
use serde_json::json;

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

struct Dice(Entropy);

impl Dice {
    fn below(&self, count: usize) -> usize {
        usize::try_from(self.0.bits() % u64::try_from(count.max(1)).expect("a size"))
            .expect("below")
    }

    fn of<'a>(&self, list: &[&'a str]) -> &'a str {
        list[self.below(list.len())]
    }

    /// Pieces in any order.
    fn soup(&self) -> String {
        (0..self.below(60))
            .map(|_| self.of(PIECES))
            .collect::<Vec<_>>()
            .join(self.of(&["", " "]))
    }

    /// A document in which something is taken out, doubled or put in.
    fn changed(&self) -> String {
        let mut letters: Vec<char> = self.of(DOCUMENTS).chars().collect();
        for _ in 0..1 + self.below(4) {
            let from = self.below(letters.len());
            let to = (from + self.below(20)).min(letters.len());
            match self.below(3) {
                0 => drop(letters.drain(from..to)),
                1 => {
                    let again: Vec<char> = letters[from..to].to_vec();
                    letters.splice(from..from, again);
                }
                _ => drop(letters.splice(from..from, self.of(PIECES).chars())),
            }
        }
        letters.into_iter().collect()
    }
}

#[test]
fn whatever_is_sent_is_read_or_refused() {
    let inputs = std::env::var("CADENZA_FUZZ_INPUTS").ok();
    let inputs: u64 = inputs.map_or(20_000, |text| {
        text.parse().expect("CADENZA_FUZZ_INPUTS is a number")
    });
    let shape = Shape::read(&cadenza::graphql::sdl()).expect("a schema");
    let dice = Dice(Entropy::seeded(inputs));
    let (mut read, mut refused) = (0_u64, 0_u64);
    for n in 0..inputs {
        let text = if n % 2 == 0 {
            dice.soup()
        } else {
            dice.changed()
        };
        let variables = match n % 3 {
            0 => json!({}),
            1 => json!({ "a": 5, "b": ["x"], "n": null }),
            _ => json!({ "a": true, "after": "evt_0000000000000000" }),
        };
        let mut request = Request::new(&text).variables(Variables::from_json(variables));
        match document::read(&mut request, &shape) {
            Ok(operation) => {
                read += 1;
                assert!(operation.cost <= document::COST_MAX, "{text}");
            }
            Err(answer) => {
                refused += 1;
                let error = answer.errors.first().expect("it says why");
                let code = error
                    .extensions
                    .as_ref()
                    .and_then(|values| values.get("code"));
                assert!(code.is_some() && !error.message.is_empty(), "{text}");
            }
        }
    }
    println!("{inputs} inputs: {read} read, {refused} refused");
    // Both are tried.
    assert!(
        read * 100 > inputs && refused * 100 > inputs,
        "{read} read, {refused} refused"
    );
}
