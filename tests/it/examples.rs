//! The example sequences: each is read as `cadenza sequence apply` reads it, is one that publishing
//! takes without a word, and is exported as it was applied.

mod fates;
mod naive;
mod run;

use std::collections::BTreeSet;
use std::path::PathBuf;

use cadenza::cli::sequence::{Api, ApiError, Definition, Wish, find, prepare};
use cadenza::domain::sequence::SequenceStatus;
use serde_json::{Value, json};

use crate::harness::{Harness, both};

/// The clock of the senders.
const SENDER_ZONE: &str = "Europe/Amsterdam";

impl Api for Harness {
    async fn ask(&self, document: &str, variables: Value) -> Result<Value, ApiError> {
        ApiError::data_of(self.execute(document, variables).await)
    }
}

/// Every example with its name.
fn examples() -> Vec<(String, Definition)> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("examples/sequences");
    let entries = std::fs::read_dir(folder).expect("the examples are there");
    let mut files: Vec<PathBuf> = entries
        .map(|entry| entry.expect("an entry").path())
        .filter(|path| path.extension().is_some_and(|ext| ext == "yaml"))
        .collect();
    files.sort();
    let read = |path: PathBuf| {
        let name = path.file_stem().expect("a name").display().to_string();
        let text = std::fs::read_to_string(&path).expect("a text");
        let definition = Definition::read(&text).unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
        (name, definition)
    };
    files.into_iter().map(read).collect()
}

fn steps(definition: &Definition) -> &[Value] {
    let steps = definition.flow["steps"].as_array();
    steps.expect("steps")
}

/// Makes the senders that the examples name: outboxes on one clock.
async fn make_senders(h: &Harness, examples: &[(String, Definition)]) {
    let mut named = BTreeSet::new();
    for step in examples
        .iter()
        .flat_map(|(_, definition)| steps(definition))
    {
        for (kind, channel) in [("email", "EMAIL"), ("sms", "SMS"), ("whatsapp", "WHATSAPP")] {
            let senders = step["action"][kind]["senderIds"].as_array();
            for sender in senders.into_iter().flatten() {
                named.insert((channel, sender.as_str().expect("an address").to_owned()));
            }
        }
    }
    for (channel, address) in named {
        let input = json!({ "name": "Ada", "channel": channel, "address": address,
            "timeZone": SENDER_ZONE, "transport": { "outbox": {} } });
        h.mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
            .await;
    }
}

both!(
    every_example_is_published_and_exports_as_it_is,
    |h: Harness| async move {
        let examples = examples();
        assert!(examples.len() >= 12, "{}", examples.len());
        make_senders(&h, &examples).await;
        let zones = &h.services.zones;
        for (name, definition) in &examples {
            let prepared = prepare(&h, zones, definition).await;
            let prepared = prepared.unwrap_or_else(|wrong| panic!("{name}: {wrong}"));
            assert!(prepared.plan.is_new, "{name} has a name of its own");
            assert_eq!(prepared.problems, [], "{name}");
            let wish = Wish {
                publish: true,
                ..Wish::default()
            };
            let (id, _) = prepared
                .carry_out(&h, wish)
                .await
                .unwrap_or_else(|wrong| panic!("{name}: {wrong}"));

            // The file is what the API has now, and so is what is exported.
            let again = prepare(&h, zones, definition).await.expect("prepared");
            assert!(again.plan.is_empty(), "{name}: {}", again.plan);
            assert_eq!(again.current(), Some((id, SequenceStatus::Published)));
            let exported = find(&h, id).await.expect("found").definition;
            let written = exported.write().expect("written");
            assert_eq!(
                Definition::read(&written).expect("read"),
                exported,
                "{name}: {written}"
            );
            let again = prepare(&h, zones, &exported).await.expect("prepared");
            assert!(again.plan.is_empty(), "{name}: {}", again.plan);
            let addresses = exported.flow.to_string();
            assert!(!addresses.contains("sender_"), "{name}: {addresses}");
        }
    }
);

/// What the examples show between them.
const WANTED: [&str; 18] = [
    "email",
    "sms",
    "whatsapp",
    "task",
    "condition",
    "split",
    "webhook",
    "update",
    "end",
    "opened",
    "clicked",
    "replied",
    "has",
    "attribute",
    "all",
    "any",
    "not",
    "within",
];

#[test]
fn the_examples_have_every_kind_of_step_and_of_question() {
    let examples = examples();
    let mut found = BTreeSet::new();
    for step in examples
        .iter()
        .flat_map(|(_, definition)| steps(definition))
    {
        let action = step["action"].as_object().expect("an action");
        found.extend(action.keys().cloned());
        note(&step["action"]["condition"], &mut found);
    }
    for wanted in WANTED {
        assert!(found.contains(wanted), "no example has {wanted}");
    }
}

/// Adds the names of all fields.
fn note(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(fields) => {
            for (name, value) in fields {
                found.insert(name.clone());
                note(value, found);
            }
        }
        Value::Array(list) => list.iter().for_each(|one| note(one, found)),
        _ => {}
    }
}
