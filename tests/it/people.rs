//! People through the API: made, changed, found, and never seen by another workspace.

use cadenza::app::Caller;
use cadenza::domain::id::{LeadId, PersonId, SequenceId};
use cadenza::store::lead::kept;
use cadenza::store::sql::{self, Arguments};
use serde_json::{Value, json};

use crate::harness::{Harness, both};

const CREATE: &str = "mutation($input: PersonInput!) { personCreate(input: $input) {
    person { id email phone linkedinUrl firstName lastName company title timeZone country attributes
             optedOut createdAt updatedAt }
    userErrors { code message path } } }";
const UPDATE: &str = "mutation($input: PersonUpdateInput!) { personUpdate(input: $input) {
    person { id email phone firstName company attributes updatedAt }
    userErrors { code message path } } }";
const PEOPLE: &str = "query($filter: PersonFilter, $first: Int, $after: String, $last: Int,
        $before: String) {
    people(filter: $filter, first: $first, after: $after, last: $last, before: $before) {
        nodes { email } edges { cursor node { id } } totalCount
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

async fn create(h: &Harness, input: Value) -> Value {
    create_as(h, &h.editor, input).await
}

async fn create_as(h: &Harness, caller: &Caller, input: Value) -> Value {
    let answer = h
        .execute_as(caller, CREATE, json!({ "input": input }))
        .await;
    let payload = &answer["data"]["personCreate"];
    assert_eq!(payload["userErrors"], json!([]), "{answer}");
    payload["person"].clone()
}

fn later(h: &Harness, ms: i64) {
    h.clock
        .advance_to(h.clock.now() + chrono::Duration::milliseconds(ms));
}

fn emails(answer: &Value) -> Vec<&str> {
    let nodes = answer["data"]["people"]["nodes"].as_array();
    let nodes = nodes.unwrap_or_else(|| panic!("a page of people: {answer}"));
    nodes
        .iter()
        .filter_map(|node| node["email"].as_str())
        .collect()
}

async fn found(h: &Harness, filter: Value) -> Vec<String> {
    let answer = h.execute(PEOPLE, json!({ "filter": filter })).await;
    let names: Vec<String> = emails(&answer)
        .into_iter()
        .map(|email| email.split('@').next().unwrap_or_default().to_owned())
        .collect();
    assert_eq!(
        answer["data"]["people"]["totalCount"],
        json!(names.len()),
        "{answer}"
    );
    names
}

/// The people that most tests look for; `p0` is the first.
async fn some_people(h: &Harness) {
    for input in [
        json!({ "email": "p0@example.com", "firstName": "José", "company": "Acme",
                "attributes": { "n": 5, "s": "abc", "b": true } }),
        json!({ "email": "p1@example.com", "lastName": "50% off_er", "title": "CEO",
                "phone": "+351 912 345 678", "attributes": { "n": "42.5", "s": "abd" } }),
        json!({ "email": "p2@example.com", "company": "acme", "title": "CTO",
                "linkedinUrl": "https://www.linkedin.com/in/p2",
                "attributes": { "n": "x", "s": "ABC", "a.\"b": "z" } }),
    ] {
        // Ids are ordered by the millisecond only.
        later(h, 1);
        create(h, input).await;
    }
}

both!(a_person_is_made_and_read_again, |h: Harness| async move {
    let made = create(
        &h,
        json!({
            "email": " Ana@Example.COM ", "phone": "+351 912-345-678", "firstName": "Ana",
            "linkedinUrl": "https://www.linkedin.com/in/ana", "lastName": "Sá", "company": "Acme",
            "title": "CTO", "timeZone": "Europe/Lisbon", "country": " pt ",
            "attributes": { "city": "Porto" },
        }),
    )
    .await;
    assert_eq!(made["email"], "Ana@Example.COM");
    assert_eq!(made["phone"], "+351912345678");
    assert_eq!(made["attributes"], json!({ "city": "Porto" }));
    assert_eq!(made["optedOut"], json!([]));
    let read = "query($id: ID!) { person(id: $id) { id email lastName timeZone country }
        node(id: $id) { id ... on Person { title } } }";
    let answer = h.execute(read, json!({ "id": made["id"] })).await;
    assert_eq!(
        answer["data"],
        json!({
            "person": { "id": made["id"], "email": "Ana@Example.COM", "lastName": "Sá",
                        "timeZone": "Europe/Lisbon", "country": "PT" },
            "node": { "id": made["id"], "title": "CTO" },
        }),
        "{answer}"
    );
});

both!(
    every_wrong_field_of_a_person_is_named_at_once,
    |h: Harness| async move {
        let input = json!({ "email": "ana@", "phone": "12", "timeZone": "Europe/Atlantis",
                        "country": "Portugal", "attributes": [] });
        let answer = h.execute(CREATE, json!({ "input": input })).await;
        let payload = &answer["data"]["personCreate"];
        assert_eq!(payload["person"], Value::Null);
        let named: Vec<(&str, &str)> = payload["userErrors"]
            .as_array()
            .expect("userErrors")
            .iter()
            .map(|error| {
                (
                    error["code"].as_str().unwrap_or(""),
                    error["path"][0].as_str().unwrap_or(""),
                )
            })
            .collect();
        assert_eq!(
            named,
            [
                ("INVALID", "email"),
                ("INVALID", "phone"),
                ("INVALID", "timeZone"),
                ("INVALID", "country"),
                ("INVALID", "attributes")
            ]
        );
        let nobody = h
            .execute(CREATE, json!({ "input": { "company": "Acme" } }))
            .await;
        assert_eq!(
            nobody["data"]["personCreate"]["userErrors"][0]["code"], "INVALID",
            "{nobody}"
        );
    }
);

both!(
    an_email_address_belongs_to_one_person,
    |h: Harness| async move {
        create(&h, json!({ "email": "ana@exämple.com" })).await;
        let other = create(&h, json!({ "email": "rui@example.com" })).await;
        // Another case, and the ASCII form of the same domain.
        for same in ["ANA@EXÄMPLE.com", "ana@xn--exmple-cua.com"] {
            let answer = h
                .execute(CREATE, json!({ "input": { "email": same } }))
                .await;
            assert_eq!(
                answer["data"]["personCreate"]["userErrors"][0],
                json!({
                    "code": "ALREADY_EXISTS", "path": ["email"],
                    "message": "The workspace has a person with this email address already; update that \
                                one, or give another address.",
                }),
                "{answer}"
            );
            let input = json!({ "id": other["id"], "set": { "email": same } });
            let answer = h.execute(UPDATE, json!({ "input": input })).await;
            let error = &answer["data"]["personUpdate"]["userErrors"][0];
            assert_eq!(error["code"], "ALREADY_EXISTS", "{answer}");
            assert_eq!(error["path"], json!(["set", "email"]));
        }
        // Another workspace is another world.
        create_as(&h, &h.stranger, json!({ "email": "ana@exämple.com" })).await;
    }
);

both!(an_update_changes_what_it_names, |h: Harness| async move {
    let made = create(
        &h,
        json!({ "email": "a@example.com", "firstName": "Ana",
        "company": "Acme", "attributes": { "city": "Porto", "size": 3 } }),
    )
    .await;
    let set = json!({ "firstName": null, "company": "", "phone": "+351912345678",
                      "attributes": { "size": null, "vip": true } });
    let input = json!({ "id": made["id"], "set": set });
    let answer = h.execute(UPDATE, json!({ "input": input })).await;
    let payload = &answer["data"]["personUpdate"];
    assert_eq!(payload["userErrors"], json!([]), "{answer}");
    let person = &payload["person"];
    assert_eq!(person["firstName"], "Ana", "null leaves it");
    assert_eq!(person["company"], Value::Null, "an empty text removes it");
    assert_eq!(person["phone"], "+351912345678");
    assert_eq!(person["email"], "a@example.com");
    assert_eq!(
        person["attributes"],
        json!({ "city": "Porto", "vip": true })
    );
});

both!(each_filter_finds_its_people, |h: Harness| async move {
    some_people(&h).await;
    let attribute = |name: &str, op: &str, value: Value| json!({ "attributes": [{ "name": name, "op": op, "value": value }] });
    for (filter, expected) in [
        (json!({}), vec!["p0", "p1", "p2"]),
        (json!({ "search": "JOSE\u{301}" }), vec!["p0"]),
        (json!({ "search": "acme p2@" }), vec!["p2"]),
        (json!({ "search": "50% off_" }), vec!["p1"]),
        (json!({ "search": "5_%" }), vec![]),
        (json!({ "search": "\\" }), vec![]),
        (json!({ "ids": [] }), vec![]),
        (json!({ "company": ["Acme"] }), vec!["p0"]),
        (json!({ "company": ["Acme", "acme"] }), vec!["p0", "p2"]),
        (
            json!({ "title": ["CEO", "CTO"], "company": ["acme"] }),
            vec!["p2"],
        ),
        (json!({ "has": ["PHONE"] }), vec!["p1"]),
        (json!({ "has": ["LINKEDIN_URL", "TITLE"] }), vec!["p2"]),
        (attribute("n", "EQ", json!(5)), vec!["p0"]),
        (attribute("n", "EQ", json!("5")), vec!["p0"]),
        (attribute("n", "NE", json!(5)), vec!["p1", "p2"]),
        (attribute("n", "GT", json!(5)), vec!["p1"]),
        (attribute("n", "GTE", json!(5)), vec!["p0", "p1"]),
        (attribute("n", "LT", json!(100)), vec!["p0", "p1"]),
        (attribute("n", "LTE", json!(5)), vec!["p0"]),
        (attribute("n", "IN", json!([5, "x"])), vec!["p0", "p2"]),
        (attribute("s", "LT", json!("abc")), vec!["p2"]),
        (attribute("s", "CONTAINS", json!("b")), vec!["p0", "p1"]),
        (attribute("s", "STARTS_WITH", json!("AB")), vec!["p2"]),
        (attribute("b", "EQ", json!(true)), vec!["p0"]),
        (attribute("b", "IS_SET", Value::Null), vec!["p0"]),
        (attribute("b", "IS_NOT_SET", Value::Null), vec!["p1", "p2"]),
        (attribute("a.\"b", "IS_SET", Value::Null), vec!["p2"]),
    ] {
        assert_eq!(found(&h, filter.clone()).await, expected, "{filter}");
    }
});

both!(
    people_are_found_by_id_and_by_when_they_were_made,
    |h: Harness| async move {
        let first = create(&h, json!({ "email": "p0@example.com" })).await;
        later(&h, 60_000);
        let second = create(&h, json!({ "email": "p1@example.com" })).await;
        let (a, b) = (&first["createdAt"], &second["createdAt"]);
        for (filter, expected) in [
            (json!({ "ids": [second["id"]] }), vec!["p1"]),
            (json!({ "createdAt": { "from": a } }), vec!["p0", "p1"]),
            (json!({ "createdAt": { "from": a, "to": b } }), vec!["p0"]),
            (json!({ "createdAt": { "from": b } }), vec!["p1"]),
        ] {
            assert_eq!(found(&h, filter.clone()).await, expected, "{filter}");
        }
    }
);

both!(
    a_filter_that_cannot_be_meant_is_refused,
    |h: Harness| async move {
        for (filter, path) in [
            (json!({ "ids": ["lead_1"] }), "filter.ids.0"),
            (json!({ "notInSequenceId": "x" }), "filter.notInSequenceId"),
            (
                json!({ "attributes": [{ "name": "n", "op": "LT" }] }),
                "filter.attributes.0",
            ),
            (
                json!({ "attributes": [{ "name": "n", "op": "IN", "value": 1 }] }),
                "filter.attributes.0",
            ),
            (json!({ "search": "x".repeat(501) }), "filter.search"),
        ] {
            let answer = h.execute(PEOPLE, json!({ "filter": filter })).await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
            assert!(
                error["message"]
                    .as_str()
                    .is_some_and(|text| text.contains(path)),
                "{answer}"
            );
        }
    }
);

both!(
    pages_stay_put_while_people_are_added,
    |h: Harness| async move {
        for n in 0..5 {
            later(&h, 1);
            create(&h, json!({ "email": format!("p{n}@example.com") })).await;
        }
        let page = async |variables: Value| {
            let answer = h.execute(PEOPLE, variables).await;
            let list: Vec<String> = emails(&answer)
                .into_iter()
                .map(|e| e[..2].to_owned())
                .collect();
            (list, answer["data"]["people"]["pageInfo"].clone())
        };
        let (list, info) = page(json!({ "first": 2 })).await;
        assert_eq!(
            (list, &info["hasNextPage"]),
            (vec!["p0".into(), "p1".into()], &json!(true))
        );
        later(&h, 1);
        create(&h, json!({ "email": "p5@example.com" })).await;
        let (list, next) = page(json!({ "first": 2, "after": info["endCursor"] })).await;
        assert_eq!(list, ["p2", "p3"]);
        let (list, last) = page(json!({ "first": 2, "after": next["endCursor"] })).await;
        assert_eq!(
            (list, &last["hasNextPage"]),
            (vec!["p4".into(), "p5".into()], &json!(false))
        );
        let (list, _) = page(json!({ "last": 2 })).await;
        assert_eq!(list, ["p4", "p5"]);
        let (list, _) = page(json!({ "last": 2, "before": next["startCursor"] })).await;
        assert_eq!(list, ["p0", "p1"]);
        // A cursor of another list, or of nobody.
        let answer = h.execute(PEOPLE, json!({ "after": "x" })).await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
            "{answer}"
        );
    }
);

both!(
    people_of_another_workspace_are_like_missing_ones,
    |h: Harness| async move {
        let theirs = create_as(&h, &h.stranger, json!({ "email": "x@example.com" })).await;
        let id = &theirs["id"];
        let read = "query($id: ID!) { person(id: $id) { id } node(id: $id) { id } }";
        let answer = h.execute(read, json!({ "id": id })).await;
        assert_eq!(
            answer["data"],
            json!({ "person": null, "node": null }),
            "{answer}"
        );
        assert_eq!(
            found(&h, json!({ "ids": [id] })).await,
            Vec::<String>::new()
        );
        let input = json!({ "id": id, "set": { "company": "Mine" } });
        let theirs = h.execute(UPDATE, json!({ "input": input })).await;
        let missing = PersonId::from_uuid(uuid::Uuid::from_u128(7));
        let input = json!({ "id": missing, "set": { "company": "Mine" } });
        let nobodys = h.execute(UPDATE, json!({ "input": input })).await;
        assert_eq!(theirs, nobodys);
        assert_eq!(
            theirs["data"]["personUpdate"]["userErrors"][0]["code"], "NOT_FOUND",
            "{theirs}"
        );
    }
);

both!(
    a_viewer_reads_people_and_changes_none,
    |h: Harness| async move {
        let made = create(&h, json!({ "email": "p0@example.com" })).await;
        let answer = h.execute_as(&h.viewer, PEOPLE, json!({})).await;
        assert_eq!(emails(&answer), ["p0@example.com"]);
        let update = json!({ "id": made["id"], "set": { "company": "Mine" } });
        for (mutation, input) in [
            (CREATE, json!({ "email": "p1@example.com" })),
            (UPDATE, update),
        ] {
            let answer = h
                .execute_as(&h.viewer, mutation, json!({ "input": input }))
                .await;
            assert_eq!(
                answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{answer}"
            );
        }
        assert_eq!(found(&h, json!({})).await, ["p0"]);
    }
);

/// A draft without a flow, put straight into the database.
async fn sequence(h: &Harness) -> SequenceId {
    let id: SequenceId = h.services.entropy.id(h.clock.now());
    let arguments = Arguments::new()
        .with(id.uuid())
        .with(h.admin.workspace.uuid())
        .with(json!({}))
        .with(h.clock.now().timestamp_millis());
    let statement = "INSERT INTO sequence (id, workspace_id, name, search_text, status, revision,
            flow, settings, created_at, updated_at)
        VALUES ($1, $2, 'a', 'a', 'DRAFT', 1, $3, $3, $4, $4)";
    sql::execute(h.services.db.write(), statement, arguments)
        .await
        .expect("entered");
    id
}

/// A lead at its first step that waits for merge data, put straight into the database.
async fn held_lead(h: &Harness, sequence: SequenceId, person: &Value, status: &str) -> LeadId {
    let id: LeadId = h.services.entropy.id(h.clock.now());
    let person: PersonId = person["id"]
        .as_str()
        .expect("an id")
        .parse()
        .expect("an id");
    let rest = (status == "PAUSED").then_some(5_000_i64);
    let arguments = Arguments::new()
        .with(id.uuid())
        .with(h.admin.workspace.uuid())
        .with(sequence.uuid())
        .with(person.uuid())
        .with(kept(status.parse().expect("a status")))
        .with(rest)
        .with(h.clock.now().timestamp_millis());
    let statement = "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status,
            step_key, turn, bucket, anchor_at, hold, paused_rest_ms, messages_sent, opens, clicks,
            replies, bounced, unsubscribed, enrolled_at, enrolled_by)
        VALUES ($1, $2, $3, $4, 1, $5, 'hello', 1, 0, $7, 'MISSING_MERGE_DATA', $6, 0, 0, 0, 0,
            false, false, $7, 'API')";
    sql::execute(h.services.db.write(), statement, arguments)
        .await
        .expect("entered");
    id
}

#[derive(Debug, PartialEq, sea_orm::FromQueryResult)]
struct Waiting {
    hold: Option<String>,
    due_at: Option<i64>,
    paused_rest_ms: Option<i64>,
}

async fn waiting(h: &Harness, lead: LeadId) -> Waiting {
    let statement = "SELECT hold, due_at, paused_rest_ms FROM lead WHERE id = $1";
    let found = sql::one(
        h.services.db.read(),
        statement,
        Arguments::new().with(lead.uuid()),
    );
    found.await.expect("read").expect("a lead")
}

both!(
    leads_that_wait_for_merge_data_go_on_when_the_person_is_completed,
    |h: Harness| async move {
        let ana = create(&h, json!({ "email": "ana@example.com" })).await;
        let rui = create(&h, json!({ "email": "rui@example.com" })).await;
        let (first, second) = (sequence(&h).await, sequence(&h).await);
        let pending = held_lead(&h, first, &ana, "PENDING").await;
        let paused = held_lead(&h, second, &ana, "PAUSED").await;
        let other = held_lead(&h, first, &rui, "PENDING").await;
        let held = waiting(&h, other).await;
        assert_eq!(held.hold.as_deref(), Some("MISSING_MERGE_DATA"));
        later(&h, 1_000);
        let now = h.clock.now().timestamp_millis();
        let mut due = h.services.wake.on_due();

        let input = json!({ "id": ana["id"], "set": { "firstName": "Ana" } });
        let answer = h.execute(UPDATE, json!({ "input": input })).await;
        assert_eq!(
            answer["data"]["personUpdate"]["userErrors"],
            json!([]),
            "{answer}"
        );
        let free = Waiting {
            hold: None,
            due_at: Some(now),
            paused_rest_ms: None,
        };
        assert_eq!(waiting(&h, pending).await, free);
        let at_once = Waiting {
            hold: None,
            due_at: None,
            paused_rest_ms: Some(0),
        };
        assert_eq!(waiting(&h, paused).await, at_once);
        assert_eq!(waiting(&h, other).await, held, "nobody else's");
        assert!(due.has_changed().expect("the bell is there"));
        due.mark_unchanged();

        // An import completes people just the same.
        let csv = "email,first_name\nRUI@example.com,Rui\n";
        crate::enrol::import(&h, json!({ "csv": csv })).await;
        assert_eq!(waiting(&h, other).await, free);
        assert!(due.has_changed().expect("the bell is there"));
    }
);

both!(
    people_who_were_never_in_a_sequence_are_found,
    |h: Harness| async move {
        some_people(&h).await;
        let read = "{ people(filter: { search: \"p1@\" }) { nodes { id } } }";
        let p1 = h.data(read, json!({})).await["people"]["nodes"][0].take();
        let (there, elsewhere) = (sequence(&h).await, sequence(&h).await);
        held_lead(&h, there, &p1, "PENDING").await;
        assert_eq!(
            found(&h, json!({ "notInSequenceId": there })).await,
            ["p0", "p2"]
        );
        assert_eq!(
            found(&h, json!({ "notInSequenceId": elsewhere })).await,
            ["p0", "p1", "p2"]
        );
    }
);

both!(
    what_a_person_opted_out_of_is_shown,
    |h: Harness| async move {
        create(&h, json!({ "email": "Ana@Example.com" })).await;
        create(&h, json!({ "email": "rui@example.com" })).await;
        for workspace in [h.admin.workspace, h.stranger.workspace] {
            let address = if workspace == h.admin.workspace {
                "ana@example.com"
            } else {
                "rui@example.com"
            };
            let statement =
                "INSERT INTO suppression (workspace_id, channel, address, reason, created_at)
            VALUES ($1, 'EMAIL', $2, 'OPT_OUT', 0)";
            let arguments = Arguments::new().with(workspace.uuid()).with(address);
            sql::execute(h.services.db.write(), statement, arguments)
                .await
                .expect("entered");
        }
        let data = h
            .data("{ people { nodes { email optedOut } } }", json!({}))
            .await;
        let mut shown = data["people"]["nodes"].as_array().expect("people").clone();
        shown.sort_by_key(|person| person["email"].to_string());
        assert_eq!(
            shown,
            [
                json!({ "email": "Ana@Example.com", "optedOut": ["EMAIL"] }),
                json!({ "email": "rui@example.com", "optedOut": [] }),
            ]
        );
    }
);
