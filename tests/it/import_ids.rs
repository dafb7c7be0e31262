//! Importing people who are named by their ids, as an export has them.

use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::import::{import, message, outcomes};
use crate::steps::person;

async fn of(h: &Harness, id: &str) -> Value {
    let query = "query($id: ID!) { person(id: $id) { email firstName company attributes } }";
    h.data(query, json!({ "id": id })).await["person"].take()
}

/// The codes of an operation's outcomes, in the order of the lines.
fn codes(operation: &Value) -> Vec<String> {
    assert_eq!(operation["status"], "COMPLETED", "{operation:#}");
    let codes = outcomes(operation).into_iter();
    codes.map(|(_, code)| code).collect()
}

async fn how_many(h: &Harness) -> i64 {
    let found = h.data("{ people { totalCount } }", json!({})).await;
    found["people"]["totalCount"].as_i64().expect("a number")
}

/// Somebody of another workspace.
async fn strange(h: &Harness) -> String {
    let create = "mutation { personCreate(input: { firstName: \"Eve\" }) { person { id } } }";
    let made = h.execute_as(&h.stranger, create, json!({})).await;
    let id = &made["data"]["personCreate"]["person"]["id"];
    id.as_str().expect("an id").to_owned()
}

both!(
    a_line_with_an_id_is_of_that_person_and_of_nobody_else,
    |h: Harness| async move {
        let ada = person(&h, json!({ "firstName": "Ada" })).await;
        let bob = person(
            &h,
            json!({ "email": "bob@example.org", "firstName": "Bob" }),
        )
        .await;
        let (gone, strange) = (
            person(&h, json!({ "firstName": "Eve" })).await,
            strange(&h).await,
        );
        crate::erasure::delete(&h, &gone).await;
        let csv = format!(
            "id,email,first_name,company\n\
             {ada},ada@example.org,,Acme\n\
             {bob},,Robert,\n\
             ,new@example.org,New,\n\
             {gone},,Eve,\n\
             {strange},,Eve,\n\
             {bob},ada@example.org,,\n\
             {ada},a.l@example.org,,\n\
             ,ada@example.org,Another,\n\
             {bob},a.l@example.org,,\n\
             {bob},new@example.org,,\n\
             crm-17,carl@example.org,Carl,\n\
             {ada},,,\n"
        );
        let expected = [
            "DONE",
            "DONE",
            "DONE",
            "NOT_FOUND",
            "NOT_FOUND",
            "INVALID",
            "DONE",
            "DONE",
            "INVALID",
            "INVALID",
            "DONE",
            "DONE",
        ];
        let tried = import(&h, json!({ "csv": csv, "dryRun": true })).await;
        assert_eq!(codes(&tried), expected, "{tried:#}");
        assert_eq!(how_many(&h).await, 2, "nobody was entered");
        let done = import(&h, json!({ "csv": csv })).await;
        assert_eq!(codes(&done), expected, "{done:#}");
        assert_eq!(
            message(&done, "line 2"),
            "The person with this id was updated."
        );
        assert!(message(&done, "line 5").contains("the column out"));
        assert!(message(&done, "line 7").contains("personMerge"));
        assert!(message(&done, "line 13").contains("all this was known"));
        assert_eq!(
            of(&h, &ada).await,
            json!({ "email": "a.l@example.org", "firstName": "Ada", "company": "Acme",
                    "attributes": {} })
        );
        assert_eq!(of(&h, &bob).await["firstName"], "Robert");
        assert_eq!(of(&h, &bob).await["email"], "bob@example.org");
        assert_eq!(how_many(&h).await, 5);
        // The id of another program is an attribute.
        let found = "{ people(filter: { search: \"carl@\" }) { nodes { attributes } } }";
        let found = h.data(found, json!({})).await;
        assert_eq!(
            found["people"]["nodes"][0]["attributes"],
            json!({ "id": "crm-17" })
        );
        let theirs = h.execute_as(
            &h.stranger,
            "query($id: ID!) { person(id: $id) { firstName } }",
            json!({ "id": strange }),
        );
        assert_eq!(theirs.await["data"]["person"]["firstName"], "Eve");
    }
);

both!(
    a_column_of_ids_can_be_named_and_told_apart,
    |h: Harness| async move {
        let ada = person(&h, json!({ "firstName": "Ada" })).await;
        let csv = format!("Ref,title\n{ada},CTO\nx,CEO\n,CFO\n");
        let named = json!({ "csv": csv, "mapping": { "Ref": "id" } });
        let done = import(&h, named.clone()).await;
        assert_eq!(codes(&done), ["DONE", "INVALID", "INVALID"]);
        assert!(message(&done, "line 3").contains("not that of a person"));
        let mut left = named.clone();
        left["onConflict"] = json!("SKIP");
        let done = import(&h, left).await;
        assert_eq!(codes(&done)[0], "ALREADY_IN_STATE");
        let other = person(&h, json!({ "firstName": "Bob" })).await;
        let two = format!("id,Person ID\n{ada},{ada}\n{ada},{other}\n");
        let done = import(&h, json!({ "csv": two })).await;
        assert_eq!(codes(&done), ["DONE", "INVALID"]);
        let attribute = json!({ "csv": format!("id,email\n{ada},new@example.org\n"),
            "mapping": { "id": "attributes.old" } });
        assert_eq!(codes(&import(&h, attribute).await), ["DONE"]);
        assert_eq!(how_many(&h).await, 3);
    }
);

/// What a line names: whom of three by the id, and which of five addresses.
type Drawn = (Option<usize>, Option<usize>);

both!(
    whatever_ids_and_addresses_are_named_every_line_has_its_outcome,
    |h: Harness| async move {
        let mut ids = Vec::new();
        for n in 0..3 {
            let email = if n == 0 {
                json!(null)
            } else {
                json!(format!("a{n}@example.org"))
            };
            ids.push(person(&h, json!({ "firstName": "A", "email": email })).await);
        }
        let line = (
            proptest::option::of(0..3_usize),
            proptest::option::of(0..5_usize),
        );
        let lines = proptest::collection::vec(line, 1..12);
        let mut runner = TestRunner::deterministic();
        for _ in 0..25 {
            let drawn: Vec<Drawn> = lines.new_tree(&mut runner).expect("a file").current();
            let mut csv = "id,email,first_name\n".to_owned();
            for (id, email) in &drawn {
                let id = id.map_or("", |id| ids[id].as_str());
                let email = email
                    .map(|n| format!("a{n}@example.org"))
                    .unwrap_or_default();
                csv.push_str(&format!("{id},{email},B\n"));
            }
            let before = how_many(&h).await;
            let done = import(&h, json!({ "csv": csv })).await;
            assert_eq!(codes(&done).len(), drawn.len(), "{csv}");
            let entered = outcomes(&done).into_iter();
            let entered =
                entered.filter(|(line, _)| message(&done, line) == "The person was entered.");
            let entered = i64::try_from(entered.count()).expect("small");
            assert_eq!(how_many(&h).await, before + entered, "{csv}");
            for (n, (id, email)) in drawn.iter().enumerate() {
                let by_id = message(&done, &format!("line {}", n + 2));
                assert_eq!(
                    by_id.contains("this id"),
                    id.is_some() && !by_id.contains("Another"),
                    "{by_id} {email:?} {csv}"
                );
            }
        }
    }
);
