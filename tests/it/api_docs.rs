//! `docs/api.md` cannot lie: its examples run in their order, and their answers are what comes.

use std::collections::BTreeMap;
use std::path::Path;

use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::enrol::finish;
use crate::harness::{Harness, both};

/// A request of the document, and what it says that the answer is.
#[derive(Debug, Default)]
struct Example {
    line: usize,
    document: String,
    variables: String,
    answer: String,
}

fn examples() -> Vec<Example> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/api.md");
    let text = std::fs::read_to_string(path).expect("the document is there");
    let mut examples: Vec<Example> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((line, fence)) = lines.next() {
        let Some(kind) = fence.strip_prefix("```") else {
            continue;
        };
        let inside = lines
            .by_ref()
            .map(|(_, line)| line)
            .take_while(|line| *line != "```");
        let block = inside.collect::<Vec<_>>().join("\n");
        match kind {
            "graphql" => examples.push(Example {
                line: line + 1,
                document: block,
                ..Example::default()
            }),
            "json variables" => examples.last_mut().expect("a request").variables = block,
            "json answer" => examples.last_mut().expect("a request").answer = block,
            other => panic!("line {}: a block of another kind: {other}", line + 1),
        }
    }
    examples
}

/// What the server chose, by the names that the document gives it.
type Chosen = BTreeMap<String, String>;

/// Puts what the server chose where the document names it.
fn filled(value: &mut Value, chosen: &Chosen) {
    match value {
        Value::String(text) if text.starts_with('<') && text.ends_with('>') => {
            *text = chosen
                .get(text)
                .unwrap_or_else(|| panic!("{text} was in no answer"))
                .clone();
        }
        Value::Array(values) => values.iter_mut().for_each(|value| filled(value, chosen)),
        Value::Object(fields) => fields.values_mut().for_each(|value| filled(value, chosen)),
        _ => {}
    }
}

/// Whether an answer is what the document says; a name is given to what it names for the first time.
fn agrees(said: &Value, came: &Value, chosen: &mut Chosen) -> bool {
    match (said, came) {
        (Value::String(name), Value::String(text))
            if name.starts_with('<') && name.ends_with('>') =>
        {
            chosen.entry(name.clone()).or_insert_with(|| text.clone()) == text
        }
        (Value::Array(said), Value::Array(came)) => {
            said.len() == came.len()
                && said
                    .iter()
                    .zip(came)
                    .all(|(said, came)| agrees(said, came, chosen))
        }
        (Value::Object(said), Value::Object(came)) => {
            said.len() == came.len()
                && said
                    .iter()
                    .all(|(key, said)| came.get(key).is_some_and(|came| agrees(said, came, chosen)))
        }
        (said, came) => said == came,
    }
}

both!(
    every_example_of_the_document_is_true,
    |h: Harness| async move {
        let examples = examples();
        assert!(examples.len() >= 12, "a dozen examples");
        let mut chosen = Chosen::new();
        for example in &examples {
            let at = format!("docs/api.md, line {}", example.line);
            let mut variables: Value = match example.variables.as_str() {
                "" => json!({}),
                text => serde_json::from_str(text).unwrap_or_else(|error| panic!("{at}: {error}")),
            };
            filled(&mut variables, &chosen);
            let said: Value = serde_json::from_str(&example.answer)
                .unwrap_or_else(|error| panic!("{at}: {error}"));
            let came = if example.document.starts_with("subscription") {
                let first = h.follow(&example.document, variables).next().await;
                serde_json::to_value(first.expect("a result")).expect("JSON")
            } else {
                h.execute(&example.document, variables).await
            };
            assert!(
                agrees(&said, &came, &mut chosen),
                "{at}:\nsaid {said:#}\ncame {came:#}"
            );
            finish(&h).await;
            crate::workflows::run(&h).await;
        }
    }
);
