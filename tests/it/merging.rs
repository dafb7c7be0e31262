//! Duplicates: recognised by their email address, and merged without losing history or consent.

use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::consent::opt_out;
use crate::enrol::{codes, enrol, import, suppress_on};
use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, node, settle, turn};
use crate::pipelines::{opportunity, pipeline};
use crate::sequences::published;
use crate::steps::{person, seen};

const PERSON: &str =
    "person { id email phone firstName lastName company country attributes optedOut
    leads { nodes { id } } opportunities { nodes { name } } }";

pub async fn merge(h: &Harness, id: &str, duplicate: &str) -> Value {
    let input = json!({ "id": id, "duplicateId": duplicate });
    h.mutate("personMerge", "PersonMergeInput", input, PERSON)
        .await["person"]
        .take()
}

both!(
    spellings_of_one_address_are_one_person,
    |h: Harness| async move {
        // Composed and decomposed letters, case, and both forms of a domain.
        let spellings = [
            "jos\u{e9}@b\u{fc}cher.example",
            "jose\u{301}@B\u{fc}cher.EXAMPLE",
            "JOS\u{c9}@xn--bcher-kva.example",
            " Jose\u{301}@bu\u{308}cher.example ",
        ];
        let first = person(&h, json!({ "email": spellings[0] })).await;
        for spelling in &spellings[1..] {
            let input = json!({ "email": spelling });
            let payload = h
                .try_mutate("personCreate", "PersonInput", input, "person { id }")
                .await;
            assert_eq!(
                payload["userErrors"][0]["code"], "ALREADY_EXISTS",
                "{spelling}"
            );
        }
        let lines: Vec<String> = spellings
            .iter()
            .enumerate()
            .map(|(n, spelling)| format!("{spelling},company {n}\n"))
            .collect();
        let csv = format!("email,company\n{}", lines.concat());
        import(&h, json!({ "csv": csv })).await;
        let found = h
            .data("{ people { nodes { id company } } }", json!({}))
            .await;
        assert_eq!(
            found["people"]["nodes"],
            json!([{ "id": first, "company": "company 3" }])
        );
    }
);

both!(
    the_survivor_takes_what_it_lacks_and_the_history,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let (other, _) = published(&h, &["one"]).await;
        let ada = person(
            &h,
            json!({ "email": "ada@example.org", "firstName": "Ada",
        "attributes": { "a": 1 } }),
        )
        .await;
        let twin = person(
            &h,
            json!({ "email": "a.l@example.org", "firstName": "A.", "lastName": "L",
        "phone": "+351912345003", "company": "Acme", "country": "PT",
        "attributes": { "a": 2, "b": 3 } }),
        )
        .await;
        enrol(&h, &sequence, json!({ "ids": [&ada] })).await;
        enrol(&h, &other, json!({ "ids": [&twin] })).await;
        let stage = pipeline(&h, "Sales").await["stages"][0]["id"].take();
        opportunity(&h, "Deal", &twin, &stage).await;
        let merged = merge(&h, &ada, &twin).await;
        assert_eq!(merged["leads"]["nodes"].as_array().map(Vec::len), Some(2));
        let expected = json!({ "id": ada, "email": "ada@example.org", "phone": "+351912345003",
        "firstName": "Ada", "lastName": "L", "company": "Acme", "country": "PT",
        "attributes": { "a": 1, "b": 3 }, "optedOut": [], "leads": merged["leads"],
        "opportunities": { "nodes": [{ "name": "Deal" }] } });
        assert_eq!(merged, expected);
        let query = "query($id: ID!) { person(id: $id) { id } node(id: $id) { id } }";
        let gone = h.data(query, json!({ "id": twin })).await;
        assert_eq!(gone, json!({ "person": null, "node": null }));
        // The other address is free again, and nobody's.
        person(&h, json!({ "email": "a.l@example.org" })).await;
        for (id, duplicate, code, path) in [
            (&ada, &ada, "INVALID", "duplicateId"),
            (&ada, &twin, "NOT_FOUND", "duplicateId"),
            (&twin, &ada, "NOT_FOUND", "id"),
        ] {
            let input = json!({ "id": id, "duplicateId": duplicate });
            let payload = h
                .try_mutate("personMerge", "PersonMergeInput", input, "person { id }")
                .await;
            let error = &payload["userErrors"][0];
            assert_eq!(
                (&error["code"], &error["path"]),
                (&json!(code), &json!([path]))
            );
        }
    }
);

both!(
    who_lacks_an_address_takes_the_others,
    |h: Harness| async move {
        let ada = person(&h, json!({ "firstName": "Ada" })).await;
        let twin = person(&h, json!({ "email": "Ada@example.org" })).await;
        let merged = merge(&h, &ada, &twin).await;
        assert_eq!(merged["email"], "Ada@example.org");
        let found = h
            .data(
                "{ people(filter: { search: \"ada@\" }) { nodes { id } } }",
                json!({}),
            )
            .await;
        assert_eq!(found["people"]["nodes"], json!([{ "id": ada }]));
    }
);

/// The rounds of a person's leads, with their statuses.
async fn rounds(h: &Harness) -> Vec<(i64, String)> {
    let rows = sql::rows(h.services.db.read(),
        "SELECT CAST(round AS BIGINT) AS round, status FROM lead ORDER BY person_id, sequence_id, round",
        Arguments::new()).await.expect("rows");
    rows.iter()
        .map(|row| {
            (
                row.try_get("", "round").expect("a number"),
                row.try_get("", "status").expect("a word"),
            )
        })
        .collect()
}

both!(
    of_two_leads_in_a_sequence_the_furthest_goes_on,
    |h: Harness| async move {
        for survivor_is_ahead in [true, false] {
            let (sequence, _) = published(&h, &["one", "two"]).await;
            let of =
                |name: &str| json!({ "email": format!("{name}-{survivor_is_ahead}@example.org") });
            let ada = person(&h, of("ada")).await;
            let twin = person(&h, of("twin")).await;
            let (first, second) = if survivor_is_ahead {
                (&ada, &twin)
            } else {
                (&twin, &ada)
            };
            enrol(&h, &sequence, json!({ "ids": [first] })).await;
            later(&h, Duration::days(1));
            settle(&h, &Receiver::default()).await;
            enrol(&h, &sequence, json!({ "ids": [second] })).await;
            let lead = async |person: &str| {
                let query = "query($id: ID!) { person(id: $id) { leads { nodes { id } } } }";
                let found = h.data(query, json!({ "id": person })).await;
                found["person"]["leads"]["nodes"][0]["id"]
                    .as_str()
                    .expect("a lead")
                    .to_owned()
            };
            let (ahead, behind) = (lead(first).await, lead(second).await);
            merge(&h, &ada, &twin).await;
            let stopped = seen(&h, &behind).await;
            assert_eq!(
                (&stopped["status"], &stopped["stopReason"]),
                (&json!("STOPPED"), &json!("PERSON_MERGED"))
            );
            let goes_on = seen(&h, &ahead).await;
            assert_eq!(goes_on["status"], "PENDING", "{goes_on:#}");
            let expected = [(1, "ACTIVE".to_owned()), (2, "STOPPED".to_owned())];
            assert_eq!(rounds(&h).await, expected);
            let receiver = Receiver::default();
            later(&h, Duration::days(6));
            settle(&h, &receiver).await;
            let to = format!("ada-{survivor_is_ahead}@example.org Subject of two");
            assert_eq!(receiver.in_order(), [to]);
            // Numbered on from there.
            let again =
                json!({ "sequenceId": sequence, "people": { "ids": [ada] }, "reEnrol": true });
            let operation = h
                .mutate(
                    "leadsEnrol",
                    "LeadsEnrolInput",
                    again,
                    "operation { outcomes { nodes { code } } }",
                )
                .await;
            assert_eq!(codes(&operation["operation"]), ["DONE"]);
            assert_eq!(rounds(&h).await.len(), 3);
            crate::erasure::delete(&h, &ada).await;
            crate::leads::run(&h, "DELETE FROM execution", Arguments::new()).await;
            crate::leads::run(&h, "DELETE FROM lead", Arguments::new()).await;
        }
    }
);

both!(the_strictest_consent_wins, |h: Harness| async move {
    let (phone, other) = ("+351912345004", "+351912345005");
    let ada = person(&h, json!({ "email": "ada@example.org", "phone": phone })).await;
    let twin = person(&h, json!({ "email": "twin@example.org", "phone": other })).await;
    opt_out(&h, &twin, &["EMAIL", "SMS"]).await;
    opt_out(&h, &ada, &["CALL"]).await;
    // What is wrong with an address says nothing of the person.
    suppress_on(&h, "WHATSAPP", other, "BOUNCED").await;
    let (sequence, _) = published(&h, &["one"]).await;
    enrol(&h, &sequence, json!({ "ids": [ada] })).await;
    let merged = merge(&h, &ada, &twin).await;
    assert_eq!(merged["optedOut"], json!(["EMAIL", "SMS", "CALL"]));
    let lead = merged["leads"]["nodes"][0]["id"].as_str().expect("a lead");
    assert_eq!(
        seen(&h, lead).await["stopReason"],
        "UNSUBSCRIBED",
        "no channel is left"
    );
    // The duplicate's addresses stay closed, too.
    let again = person(&h, json!({ "email": "twin@example.org", "phone": other })).await;
    let query = "query($id: ID!) { person(id: $id) { optedOut } }";
    let found = h.data(query, json!({ "id": again })).await;
    assert_eq!(
        found["person"]["optedOut"],
        json!(["EMAIL", "SMS", "WHATSAPP"])
    );
});

both!(
    a_message_on_its_way_is_recorded_for_the_survivor,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one", "two"]).await;
        let ada = person(&h, json!({ "email": "ada@example.org" })).await;
        let twin = person(&h, json!({ "email": "twin@example.org" })).await;
        enrol(&h, &sequence, json!({ "ids": [twin] })).await;
        later(&h, Duration::days(1));
        let receiver = Receiver::default();
        let engine = node(&h, &receiver).await;
        let claimed = engine.claim(9, &|_| 9).await.expect("claims").messages;
        assert_eq!(claimed.len(), 1);
        merge(&h, &ada, &twin).await;
        let ended: Vec<_> = claimed
            .into_iter()
            .map(|one| {
                let sent = cadenza::domain::outcome::Outcome::Sent {
                    response: "ok".into(),
                };
                (one, cadenza::engine::record::Ending::Dispatched(sent, None))
            })
            .collect();
        engine.record(&ended).await.expect("records");
        later(&h, Duration::days(1));
        engine.prolong().await.expect("a sign of life");
        assert_eq!(turn(&engine, &receiver, 9).await, 1);
        assert_eq!(receiver.in_order(), ["ada@example.org Subject of two"]);
    }
);

async fn workflow(h: &Harness, trigger: &str, more: Value) -> String {
    let (sequence, _) = published(h, &["one"]).await;
    let mut input = json!({ "name": trigger, "trigger": trigger, "sequenceId": sequence });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an object").extend(more);
    h.mutate(
        "workflowCreate",
        "WorkflowCreateInput",
        input,
        "workflow { id }",
    )
    .await;
    sequence
}

/// The runs of all workflows, oldest first: what came of each, and for whom.
async fn ran(h: &Harness) -> Vec<Value> {
    crate::workflows::run(h).await;
    let query = "{ workflows { name runs(first: 250) { nodes { code person { id } } } } }";
    let found = h.data(query, json!({})).await["workflows"].take();
    let mut runs = Vec::new();
    for workflow in found.as_array().expect("workflows") {
        let nodes = workflow["runs"]["nodes"].as_array().expect("runs").iter();
        let told = |run: &Value| json!([workflow["name"], run["code"], run["person"]["id"]]);
        runs.extend(nodes.rev().map(told));
    }
    runs
}

both!(
    a_survivor_that_takes_something_was_updated,
    |h: Harness| async move {
        workflow(
            &h,
            "PERSON_UPDATED",
            json!({ "filter": { "company": ["Acme"] } }),
        )
        .await;
        let ada = person(&h, json!({ "email": "ada@example.org" })).await;
        let twin = person(&h, json!({ "firstName": "Ada", "company": "Acme" })).await;
        merge(&h, &ada, &twin).await;
        let taken = json!(["PERSON_UPDATED", "DONE", ada]);
        assert_eq!(ran(&h).await, std::slice::from_ref(&taken));
        // One that takes nothing is as it was.
        let query = "query($id: ID!) { person(id: $id) { updatedAt } }";
        let before = h.data(query, json!({ "id": ada })).await;
        later(&h, Duration::hours(1));
        let same = person(&h, json!({ "firstName": "Ada" })).await;
        merge(&h, &ada, &same).await;
        assert_eq!(h.data(query, json!({ "id": ada })).await, before);
        assert_eq!(ran(&h).await, [taken]);
    }
);

both!(
    what_workflows_ran_and_are_to_run_for_goes_over_to_the_survivor,
    |h: Harness| async move {
        let sequence = workflow(&h, "PERSON_CREATED", json!({})).await;
        let (ada, twin) = (
            person(&h, json!({ "email": "ada@example.org" })).await,
            person(&h, json!({ "email": "twin@example.org" })).await,
        );
        let run = |code: &str, person: &str| json!(["PERSON_CREATED", code, person]);
        let other = person(&h, json!({ "email": "other@example.org" })).await;
        // Both wait; the survivor is enrolled once.
        merge(&h, &ada, &twin).await;
        let expected = [
            run("DONE", &ada),
            run("ALREADY_ENROLLED", &ada),
            run("DONE", &other),
        ];
        let mut found = ran(&h).await;
        found.sort_by_key(Value::to_string);
        let mut sorted = expected.to_vec();
        sorted.sort_by_key(Value::to_string);
        assert_eq!(found, sorted);
        // What ran for the duplicate is told of the survivor.
        merge(&h, &ada, &other).await;
        let found = ran(&h).await;
        assert!(found.iter().all(|run| run[2] == ada), "{found:?}");
        assert_eq!(found.len(), 3);
        let leads = "query($s: ID!) { leads(filter: { sequenceIds: [$s], status: [PENDING] }) { totalCount } }";
        let leads = h.data(leads, json!({ "s": sequence })).await;
        assert_eq!(leads["leads"]["totalCount"], 1, "one goes on");
    }
);

both!(
    a_merge_while_workflows_run_loses_nobody,
    |h: Harness| async move {
        workflow(&h, "PERSON_CREATED", json!({})).await;
        let mut pairs = Vec::new();
        for n in 0..12 {
            let of = |name: &str| json!({ "email": format!("{name}-{n}@example.org") });
            pairs.push((person(&h, of("ada")).await, person(&h, of("twin")).await));
        }
        let run = || async {
            while sql::number(
                h.services.db.read(),
                "SELECT count(*) AS n FROM workflow_trigger",
                Arguments::new(),
            )
            .await
            .expect("a number")
                > 0
            {
                // A new one knows nothing of a chunk that met somebody else's work and failed.
                let mut runner = cadenza::workflow::Runner::new(h.services.clone());
                runner.round().await.expect("a round");
                tokio::task::yield_now().await;
            }
        };
        let merges = async {
            for (ada, twin) in &pairs {
                merge(&h, ada, twin).await;
            }
        };
        tokio::join!(run(), merges, run());
        let mut runs = ran(&h).await;
        assert_eq!(runs.len(), 24, "{runs:?}");
        runs.retain(|run| run[1] == "NOT_FOUND" || run[2].is_null());
        assert_eq!(runs, Vec::<Value>::new());
        let under_way = "{ leads(filter: { status: [PENDING] }) { totalCount } }";
        let under_way = h.data(under_way, json!({})).await;
        assert_eq!(under_way["leads"]["totalCount"], 12);
    }
);

both!(
    what_the_duplicate_got_today_counts_for_the_survivor,
    |h: Harness| async move {
        let limit = json!({ "maxMessagesPerPersonPerDay": 1 });
        h.mutate(
            "workspaceUpdate",
            "WorkspaceUpdateInput",
            limit,
            "workspace { id }",
        )
        .await;
        let ada = person(&h, json!({ "email": "ada@example.org" })).await;
        let twin = person(&h, json!({ "email": "twin@example.org" })).await;
        let mailbox = crate::sequences::sender(&h, "sam").await;
        let emails = |key: &str| json!([crate::steps::email(key, "PT0S", &[&mailbox])]);
        let receiver = Receiver::default();
        crate::steps::running(&h, emails("first"), json!({}), &[&twin]).await;
        let (first, second) = (
            "twin@example.org Subject of first",
            "ada@example.org Subject of second",
        );
        settle(&h, &receiver).await;
        assert_eq!(receiver.in_order(), [first]);
        merge(&h, &ada, &twin).await;
        crate::steps::running(&h, emails("second"), json!({}), &[&ada]).await;
        settle(&h, &receiver).await;
        assert_eq!(receiver.in_order(), [first], "one message a day");
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        assert_eq!(receiver.in_order(), [first, second]);
    }
);
