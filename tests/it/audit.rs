//! The audit: each mutation that was begun has one entry, whoever sent it and however it ended, and no
//! entry holds what must not be kept.

use std::sync::Arc;

use cadenza::app::Caller;
use cadenza::app::Role;
use cadenza::app::token::{self, Terms};
use cadenza::domain::audit::Outcome;
use cadenza::store::audit::{self, Ending, Filter, NewEntry};
use cadenza::store::lead::Part;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Harness, both, until};
use crate::requests::Requests;

const ENTRIES: &str = "query Entries($filter: AuditFilter, $first: Int, $after: String, $last: Int, $before: String) {
    auditEntries(filter: $filter, first: $first, after: $after, last: $last, before: $before) { totalCount
        pageInfo { hasNextPage endCursor hasPreviousPage startCursor }
        nodes { at token { id } tokenName role mutation objectIds input outcome codes requestId } } }";

async fn entries(h: &Harness, filter: Value) -> Vec<Value> {
    let page = h
        .data(ENTRIES, json!({ "filter": filter, "first": 250 }))
        .await;
    let nodes = page["auditEntries"]["nodes"].as_array();
    nodes.expect("entries").clone()
}

/// The entries of mutations that came with a token, oldest first.
async fn sent(h: &Harness) -> Vec<Value> {
    let mut sent = entries(h, json!({})).await;
    sent.retain(|entry| !entry["token"].is_null());
    sent.reverse();
    sent
}

async fn count(h: &Harness) -> i64 {
    let all = "SELECT count(*) AS n FROM audit_entry";
    let counted = sql::number(h.services.db.read(), all, Arguments::new()).await;
    counted.expect("counted")
}

both!(
    each_mutation_of_the_schema_has_one_entry_whoever_sends_it,
    |h: Harness| async move {
        let requests = Requests::new(&h).await;
        let mut before = count(&h).await;
        for (root, made) in requests.all() {
            if root == "Subscription" {
                continue;
            }
            for (caller, role) in [(&h.viewer, "VIEWER"), (&h.admin, "ADMIN")] {
                h.execute_as(caller, &made.document, made.variables.clone())
                    .await;
                let now = count(&h).await;
                let expected = i64::from(root == "Mutation");
                assert_eq!(now - before, expected, "{} by {role}", made.field);
                before = now;
                if root == "Query" {
                    continue;
                }
                let last = sent(&h).await.pop().expect("an entry");
                assert_eq!(last["mutation"], made.field.as_str());
                assert_eq!(last["role"], role);
                assert_eq!(last["token"]["id"], caller.token.to_string());
                assert!(
                    last["requestId"]
                        .as_str()
                        .is_some_and(|id| id.starts_with("req_"))
                );
                if role == "VIEWER" {
                    assert_eq!(last["outcome"], "REFUSED", "{last}");
                    assert_eq!(last["codes"], json!(["FORBIDDEN"]), "{last}");
                } else {
                    assert_ne!(last["outcome"], "UNFINISHED", "{last}");
                    assert_ne!(last["outcome"], "FAILED", "{last}");
                    let is_done = last["outcome"] == "DONE";
                    assert_eq!(is_done, last["codes"] == json!([]), "{last}");
                }
            }
        }
        // Nobody is named where there is no token, and nothing was done.
        let nobody =
            async_graphql::Request::new("mutation { personCreate(input: {}) { person { id } } }");
        h.schema.execute(nobody).await;
        assert_eq!(count(&h).await, before);
    }
);

both!(
    an_entry_says_who_did_what_to_which_object,
    |h: Harness| async move {
        h.clock.advance_to(h.clock.now() + Duration::hours(1));
        let document = r#"mutation Two($name: String!) {
        first: sequenceCreate(input: { name: $name, flow: { steps: [{ key: "one", action: { email: {
            senderIds: [], variants: [{ subject: "s", text: "a word" }] } } }] } }) { __typename }
        ...More
      }
      fragment More on Mutation {
        ... { second: sequencePublish(input: { id: "seq_01jd0000000000000000000000" }) { problems: userErrors { message } } }
        third: personCreate(input: { email: "ada@example.com", timeZone: "Europe/Lisbon" }) { person { id } userErrors { code } }
      }"#;
        let answer = h.data(document, json!({ "name": "Welcome" })).await;
        assert_eq!(
            answer["first"],
            json!({ "__typename": "SequencePayload" }),
            "what the audit asks for is not shown"
        );
        let keys: Vec<_> = answer["third"]
            .as_object()
            .expect("a payload")
            .keys()
            .collect();
        assert_eq!(keys, ["person", "userErrors"]);
        let all = sent(&h).await;
        let [first, second, third] = all.as_slice() else {
            panic!("three mutations: {all:#?}");
        };
        assert_eq!(first["outcome"], "DONE");
        assert_eq!(first["at"], "2026-03-02T10:00:00.000Z");
        assert_eq!(first["tokenName"], "admin token");
        assert_eq!(
            first["input"],
            json!({ "input": { "name": "Welcome", "flow": { "steps": [{ "key": "one", "action": { "email": {
        "senderIds": [], "variants": [{ "subject": "…", "text": "…" }] } } }] } } })
        );
        let made = first["objectIds"][0]
            .as_str()
            .expect("the sequence that was made");
        assert!(made.starts_with("seq_"));
        assert_eq!(second["outcome"], "REFUSED");
        assert_eq!(
            second["codes"],
            json!(["NOT_FOUND"]),
            "though no code was asked for"
        );
        assert_eq!(
            second["objectIds"],
            json!(["seq_01jd0000000000000000000000"])
        );
        assert_eq!(
            third["input"],
            json!({ "input": { "email": "…", "timeZone": "…" } }),
            "what is known of people is not kept"
        );
        assert_eq!(third["objectIds"], json!([answer["third"]["person"]["id"]]));
        let request = &first["requestId"];
        assert!(
            all.iter().all(|entry| entry["requestId"] == *request),
            "of one request"
        );
        // What the command line did is there too, without a token.
        let by_hand = entries(&h, json!({ "mutations": ["tokenCreate"] })).await;
        let made: Vec<_> = by_hand
            .iter()
            .map(|entry| entry["objectIds"][0].clone())
            .collect();
        let tokens = [&h.viewer, &h.editor, &h.admin].map(|caller| json!(caller.token.to_string()));
        assert_eq!(made, tokens);
        for entry in &by_hand {
            assert_eq!(entry["tokenName"], "command line");
            assert_eq!(entry["outcome"], "DONE");
            assert!(
                entry["token"].is_null() && entry["role"].is_null() && entry["requestId"].is_null()
            );
        }
    }
);

both!(
    a_page_of_the_audit_is_found_by_every_condition,
    |h: Harness| async move {
        let tag = |caller: Caller, name: String| {
            let h = &h;
            async move {
                let document = "mutation ($name: String!) { pipelineCreate(input: { name: $name, stages: [{ name: \"A\", kind: OPEN }] }) {
                pipeline { id } userErrors { code } } }";
                let answer = h
                    .execute_as(&caller, document, json!({ "name": name }))
                    .await;
                answer["data"]["pipelineCreate"]["pipeline"]["id"].clone()
            }
        };
        let mut ids = Vec::new();
        for hour in 0..6 {
            h.clock.advance_to(h.clock.now() + Duration::hours(1));
            let caller = if hour % 2 == 0 { &h.admin } else { &h.editor };
            ids.push(tag(caller.clone(), format!("p{hour}")).await);
            h.data(
                "mutation { sequenceCreate(input: { name: \"s\" }) { userErrors { code } } }",
                json!({}),
            )
            .await;
        }
        let names = |entries: &[Value]| -> Vec<String> {
            let name = |entry: &Value| {
                entry["input"]["input"]["name"]
                    .as_str()
                    .unwrap_or_default()
                    .to_owned()
            };
            entries.iter().map(name).collect()
        };
        let pipelines = json!({ "mutations": ["pipelineCreate"] });
        assert_eq!(
            names(&entries(&h, pipelines.clone()).await),
            ["p5", "p4", "p3", "p2", "p1", "p0"],
            "newest first"
        );
        let mut of_editor = pipelines.clone();
        of_editor["tokenIds"] = json!([h.editor.token.to_string()]);
        assert_eq!(names(&entries(&h, of_editor).await), ["p5", "p3", "p1"]);
        let mut spanned = pipelines.clone();
        spanned["at"] = json!({ "from": "2026-03-02T11:00:00Z", "to": "2026-03-02T13:00:00Z" });
        assert_eq!(
            names(&entries(&h, spanned).await),
            ["p2", "p1"],
            "from is in, to is not"
        );
        assert_eq!(
            names(&entries(&h, json!({ "objectId": ids[3] })).await),
            ["p3"]
        );
        let none = json!({ "objectId": ids[3], "tokenIds": [h.admin.token.to_string()] });
        assert!(entries(&h, none).await.is_empty());
        assert!(entries(&h, json!({ "mutations": [] })).await.is_empty());
        // Pages lead on from each other, in both directions, however the list grows meanwhile.
        let page = |variables: Value| {
            let mut variables = variables;
            variables["filter"] = pipelines.clone();
            let h = &h;
            async move { h.data(ENTRIES, variables).await["auditEntries"].take() }
        };
        let first = page(json!({ "first": 2 })).await;
        assert_eq!(first["totalCount"], 6);
        tag(h.admin.clone(), "p6".into()).await;
        let next = page(json!({ "first": 2, "after": first["pageInfo"]["endCursor"] })).await;
        assert_eq!(
            names(next["nodes"].as_array().expect("nodes")),
            ["p3", "p2"]
        );
        let back = page(json!({ "last": 2, "before": next["pageInfo"]["startCursor"] })).await;
        assert_eq!(
            names(back["nodes"].as_array().expect("nodes")),
            ["p5", "p4"]
        );
        // Others see nothing of it, nor do those who are no admins.
        let strange = h
            .execute_as(
                &h.stranger,
                ENTRIES,
                json!({ "filter": { "objectId": ids[3] } }),
            )
            .await;
        assert_eq!(strange["data"]["auditEntries"]["totalCount"], 0);
        let refused = h.execute_as(&h.editor, ENTRIES, json!({})).await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
        let wrong = h
            .execute(
                ENTRIES,
                json!({ "filter": { "tokenIds": ["seq_x"], "objectId": "a\0b" } }),
            )
            .await;
        let message = wrong["errors"][0]["message"].as_str().expect("a message");
        assert!(
            message.contains("tokenIds") && message.contains("objectId"),
            "{message}"
        );
    }
);

fn new_entry(h: &Harness, mutation: &str) -> NewEntry {
    let at = h.clock.now();
    NewEntry {
        id: h.services.entropy.id(at),
        workspace: h.admin.workspace,
        at,
        token: Some(h.admin.token),
        name: String::new(),
        role: Some("ADMIN".into()),
        mutation: mutation.into(),
        input: json!({}),
        objects: vec!["seq_x".into()],
        request: None,
    }
}

both!(
    what_is_committed_has_its_entry_and_what_is_not_has_none,
    |h: Harness| async move {
        let db = h.services.db.for_mutations();
        let outcomes = || async {
            let found = entries(&h, json!({ "mutations": ["kept", "undone", "after"] })).await;
            found
                .iter()
                .map(|entry| format!("{} {}", entry["mutation"], entry["outcome"]).replace('"', ""))
                .collect::<Vec<_>>()
        };
        let kept = Arc::new(new_entry(&h, "kept"));
        db.carry(Some(Arc::clone(&kept)));
        // Two transactions of one mutation, and the server dies after the second.
        for _ in 0..2 {
            db.begin()
                .await
                .expect("begins")
                .commit()
                .await
                .expect("commits");
        }
        db.carry(Some(Arc::new(new_entry(&h, "undone"))));
        drop(db.begin().await.expect("begins"));
        db.carry(None);
        db.begin()
            .await
            .expect("begins")
            .commit()
            .await
            .expect("commits");
        assert_eq!(outcomes().await, ["kept UNFINISHED"]);
        assert_eq!(entries(&h, json!({ "objectId": "seq_x" })).await.len(), 1);
        let ending = Ending {
            outcome: Outcome::Done,
            codes: vec![],
            objects: vec!["seq_y".into()],
        };
        audit::finish(h.services.db.write(), &kept, &ending)
            .await
            .expect("is written");
        assert_eq!(outcomes().await, ["kept DONE"]);
        assert_eq!(
            entries(&h, json!({ "objectId": "seq_y" })).await[0]["objectIds"],
            json!(["seq_x", "seq_y"])
        );
    }
);

both!(
    a_client_that_goes_in_the_middle_leaves_an_entry,
    |h: Harness| async move {
        // Held up where it must be: another transaction has the row that it wants.
        let made = h
            .mutate(
                "sequenceCreate",
                "SequenceCreateInput",
                json!({ "name": "s" }),
                "sequence { id }",
            )
            .await;
        let holder = h.services.db.begin().await.expect("begins");
        sql::execute(
            &holder,
            "UPDATE sequence SET revision = revision",
            Arguments::new(),
        )
        .await
        .expect("locks");
        let document =
            "mutation ($id: ID!) { sequenceArchive(input: { id: $id }) { userErrors { code } } }";
        let given_up = tokio::time::timeout(
            std::time::Duration::from_millis(200),
            h.execute(document, json!({ "id": made["sequence"]["id"] })),
        );
        given_up.await.expect_err("it waits");
        holder.rollback().await.expect("lets go");
        let entry = until("the entry of what was given up", async || {
            entries(&h, json!({ "mutations": ["sequenceArchive"] }))
                .await
                .pop()
        });
        assert_eq!(entry.await["outcome"], "UNFINISHED");
    }
);

/// Everything that the audit holds, as the database has it.
async fn everything(h: &Harness) -> String {
    let filter = Filter::default();
    let page = Part {
        after: None,
        before: None,
        backward: false,
        limit: 1_000_000,
    };
    let rows = audit::page(h.services.db.read(), h.admin.workspace, &filter, page)
        .await
        .expect("rows");
    rows.iter().map(|row| format!("{row:?}\n")).collect()
}

both!(
    no_secret_and_nothing_of_a_person_is_kept,
    |h: Harness| async move {
        let requests = Requests::new(&h).await;
        let config = Config {
            rng_seed: RngSeed::Fixed(7),
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        // Recognised wherever it is cut, and odd enough to be escaped.
        let secrets = "s3cr3t[a-z0-9]{12}[\"\\\\ é/@:=_-]{0,3}[a-z]{0,120}";
        let mut tried = Vec::new();
        for (root, made) in requests.all() {
            if root != "Mutation" {
                continue;
            }
            for (path, of) in requests.places(root, &made.field) {
                let last = path.last().expect("a name").as_str();
                // What things are called is kept, and so are words that the schema limits.
                let is_called = ["name", "key", "stepKey", "from", "to"].contains(&last)
                    && !path
                        .iter()
                        .any(|name| name == "attribute" || name == "attributes");
                let is_text = [
                    "String",
                    "JSON",
                    "ID",
                    "URL",
                    "EmailAddress",
                    "PhoneNumber",
                    "CountryCode",
                ];
                if is_called || !is_text.contains(&of.as_str()) {
                    continue;
                }
                let secret = secrets
                    .prop_map(String::from)
                    .new_tree(&mut runner)
                    .expect("drawn")
                    .current();
                let value = match of.as_str() {
                    "JSON" => {
                        json!({ secret.as_str(): [secret.as_str()], "value": secret.as_str() })
                    }
                    "URL" => json!(format!(
                        "https://ann:{secret}@example.com/{secret}?key={secret}"
                    )),
                    _ => json!(secret),
                };
                let with = requests.with(root, &made.field, &path, value);
                h.execute(&with.document, with.variables).await;
                // Written into the document instead of given as a variable it is the same.
                tried.push(path.join("."));
            }
        }
        let named = [
            "input.transport.smtp.password",
            "input.transport.twilio.authToken",
            "input.oauth.refreshToken",
            "input.oauth.clientSecret",
            "input.csv",
        ];
        for place in named {
            assert!(
                tried.iter().any(|path| path == place),
                "{place} is tried: {tried:?}"
            );
        }
        let literal = "mutation { senderCreate(input: { name: \"A\", channel: EMAIL, address: \"a@example.com\", transport: { smtp: {
        host: \"s3cr3t.example.com\", port: 25, security: NONE, username: \"s3cr3t\", password: \"s3cr3t\" } } }) { sender { id } } }";
        h.data(literal, json!({})).await;
        let made = h
            .mutate(
                "tokenCreate",
                "TokenCreateInput",
                json!({ "name": "n", "role": "VIEWER" }),
                "token { id } secret",
            )
            .await;
        let all = everything(&h).await;
        assert!(tried.len() > 60, "{}", tried.len());
        assert!(
            !all.contains("s3cr3t"),
            "{}",
            all.lines()
                .find(|line| line.contains("s3cr3t"))
                .unwrap_or_default()
        );
        let secret = made["secret"].as_str().expect("a secret");
        assert!(!all.contains(secret) && !all.contains(&secret[4..]));
    }
);

both!(
    an_entry_is_bounded_whatever_is_sent,
    |h: Harness| async move {
        let id = |n: usize| format!("lead_{n:026}");
        let ids: Vec<_> = (0..1_000).map(id).collect();
        let document = "mutation ($ids: [ID!]!) { leadsPause(input: { leads: { ids: $ids } }) { operation { id } userErrors { code } } }";
        let answer = h.data(document, json!({ "ids": ids })).await;
        let operation = &answer["leadsPause"]["operation"]["id"];
        let entry = sent(&h).await.pop().expect("an entry");
        let objects = entry["objectIds"].as_array().expect("objects");
        assert_eq!(
            (objects.len(), &objects[99]),
            (100, operation),
            "what was begun is named in any case"
        );
        let listed = entry["input"]["input"]["leads"]["ids"]
            .as_array()
            .expect("a list");
        assert_eq!((listed.len(), &listed[20]), (21, &json!("… and 980 more")));
        let steps: Vec<_> = (0..200).map(|n| json!({ "key": format!("k{n}-{}", "x".repeat(5_000)), "action": { "end": {} } })).collect();
        let document = "mutation ($flow: FlowInput!) { sequenceCreate(input: { name: \"s\", flow: $flow }) { userErrors { code } } }";
        h.data(document, json!({ "flow": { "steps": steps } }))
            .await;
        let entry = sent(&h).await.pop().expect("an entry");
        assert!(
            entry.to_string().len() < 10_000,
            "{}",
            entry.to_string().len()
        );
    }
);

both!(
    a_page_of_the_audit_reads_a_range_of_an_index,
    |h: Harness| async move {
        let seen: Arc<std::sync::Mutex<Vec<String>>> = Arc::default();
        let note = Arc::clone(&seen);
        let db = h
            .services
            .db
            .clone()
            .observed(move |text| note.lock().expect("noted").push(text.to_owned()));
        let page = Part {
            after: None,
            before: None,
            backward: false,
            limit: 50,
        };
        let tokens = vec![h.admin.token];
        for filter in [
            Filter::default(),
            Filter {
                tokens: Some(tokens.clone()),
                ..Filter::default()
            },
            Filter {
                mutations: Some(vec!["tokenCreate".into()]),
                ..Filter::default()
            },
            Filter {
                object: Some(h.admin.token.to_string()),
                ..Filter::default()
            },
            Filter {
                from: Some(h.clock.now()),
                to: Some(h.clock.now()),
                ..Filter::default()
            },
        ] {
            audit::page(db.read(), h.admin.workspace, &filter, page)
                .await
                .expect("a page");
        }
        let seen = std::mem::take(&mut *seen.lock().expect("noted"));
        assert_eq!(seen.len(), 5);
        if h.services.db.is_shared() {
            return; // A table of a few rows is scanned by PostgreSQL whatever indexes there are.
        }
        for statement in seen {
            let explained = format!("EXPLAIN QUERY PLAN {statement}").replace("$", "?");
            let lines = sql::rows(h.services.db.read(), &explained, Arguments::new())
                .await
                .expect("a plan");
            for line in lines {
                let line: String = line.try_get("", "detail").expect("a line");
                assert!(
                    !line.contains("SCAN") && !line.contains("TEMP B-TREE"),
                    "{line}: {statement}"
                );
            }
        }
    }
);

both!(
    a_token_made_by_hand_is_entered_with_it,
    |h: Harness| async move {
        let services = &h.services;
        let terms = Terms::of(Role::Viewer);
        let made = token::create(
            &services.db,
            &services.clock,
            &services.entropy,
            "ours",
            &terms,
        )
        .await;
        let made = made.expect("a token");
        let found = entries(&h, json!({ "objectId": made.caller.token.to_string() })).await;
        assert_eq!(found.len(), 1);
        assert_eq!(
            found[0]["input"],
            json!({ "input": { "name": "viewer token", "role": "VIEWER", "sequenceIds": null } })
        );
    }
);
