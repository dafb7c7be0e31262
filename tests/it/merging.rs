//! Duplicates: recognised by their email address, and merged without losing history or consent.

use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::consent::opt_out;
use crate::enrol::{codes, enrol, suppress_on};
use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, node, settle, turn};
use crate::pipelines::{opportunity, pipeline};
use crate::sequences::published;
use crate::steps::{person, seen};

const PERSON: &str =
    "person { id email phone firstName lastName company country attributes optedOut
    leads { nodes { id } } opportunities { nodes { name } } }";

async fn merge(h: &Harness, id: &str, duplicate: &str) -> Value {
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
        h.mutate(
            "peopleImport",
            "PeopleImportInput",
            json!({ "csv": csv }),
            "operation { id }",
        )
        .await;
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
