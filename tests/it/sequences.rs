//! Sequences through the API: their life from draft to archive, and what is refused on the way.

use std::future::Future;

use cadenza::store::sql::{self, Arguments};
use serde_json::{Value, json};

use crate::harness::{Harness, both};

pub const SELECT: &str = "sequence { id name status revision publishedAt updatedAt
        publishedVersion { id number publishedBy }
        flow { steps { key name wait businessDays channel next
            action { ... on EmailAction { senders { id } inThread trackOpens trackClicks
                variants { key weight enabled subject html text } } } } }
        settings { timeZone windowClock sendWindows { day from to } holidays
            holidayCountries holidaysKnownUntil contactHolidays maxNewLeadsPerDay maxSendsPerDay
            maxLateness stopOnReply stopCompanyOnReply autoReplyHold stopOnOpportunityWon } }
    problems { severity code message stepKey path }
    plan { changes { stepKey change leadsThere movesTo } staying moving stopping completing }";

/// A mutation of a sequence as the editor; refusals are in its answer.
pub async fn call(h: &Harness, field: &str, input: Value) -> Value {
    let mut letters = field.chars();
    let first = letters.next().map(|letter| letter.to_ascii_uppercase());
    let input_type = match field {
        "sequenceCreate" | "sequenceUpdate" | "sequencePublish" => {
            format!("{}{}Input", first.unwrap_or_default(), letters.as_str())
        }
        _ => "SequenceIdInput".to_owned(),
    };
    let document = format!(
        "mutation($input: {input_type}!) {{
             {field}(input: $input) {{ {SELECT} userErrors {{ code message path }} }} }}"
    );
    let answer = h
        .execute_as(&h.editor, &document, json!({ "input": input }))
        .await;
    assert!(answer.get("errors").is_none(), "{field}: {answer:#}");
    answer["data"][field].clone()
}

/// The same where nothing is refused; answers the sequence.
pub async fn done(h: &Harness, field: &str, input: Value) -> Value {
    let payload = call(h, field, input).await;
    assert_eq!(payload["userErrors"], json!([]), "{field}: {payload:#}");
    payload["sequence"].clone()
}

/// Code and path of every refusal.
pub fn refusals(payload: &Value) -> Vec<(String, String)> {
    let errors = payload["userErrors"].as_array().expect("userErrors");
    let path = |error: &Value| {
        let parts = error["path"].as_array().cloned().unwrap_or_default();
        parts
            .iter()
            .filter_map(Value::as_str)
            .collect::<Vec<_>>()
            .join(".")
    };
    errors
        .iter()
        .map(|e| (e["code"].as_str().unwrap_or("").to_owned(), path(e)))
        .collect()
}

fn refused(payload: &Value, code: &str, path: &str) {
    assert_eq!(
        refusals(payload),
        [(code.to_owned(), path.to_owned())],
        "{payload:#}"
    );
}

/// An outbox sender of the workspace; answers its id.
pub async fn sender(h: &Harness, name: &str) -> String {
    let input = json!({ "name": name, "channel": "EMAIL", "address": format!("{name}@example.com"),
                        "transport": { "outbox": {} } });
    let payload = h
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await;
    payload["sender"]["id"].as_str().expect("an id").to_owned()
}

/// A step that can be published.
pub fn step(key: &str, senders: &[&str]) -> Value {
    json!({ "key": key, "wait": "P1D", "action": { "email": { "senderIds": senders,
        "variants": [{ "subject": format!("Subject of {key}"), "text": format!("Text of {key}") }] } } })
}

/// A flow of such steps.
pub fn flow(keys: &[&str], senders: &[&str]) -> Value {
    json!({ "steps": keys.iter().map(|key| step(key, senders)).collect::<Vec<_>>() })
}

/// A published sequence with these steps; answers its id and its only sender's.
pub async fn published(h: &Harness, keys: &[&str]) -> (String, String) {
    let sender = sender(h, "ada").await;
    let input = json!({ "name": "Outreach", "flow": flow(keys, &[&sender]) });
    let made = done(h, "sequenceCreate", input).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    done(h, "sequencePublish", json!({ "id": id })).await;
    (id, sender)
}

/// The kinds of all events, oldest first.
pub async fn kinds(h: &Harness) -> Vec<String> {
    let events = h.data("{ events(first: 250) { kind } }", json!({})).await;
    let events = events["events"].as_array().cloned().unwrap_or_default();
    events
        .iter()
        .filter_map(|event| event["kind"].as_str().map(str::to_owned))
        .collect()
}

both!(
    a_sequence_is_made_with_defaults_and_read_again,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let mut steps = vec![step("one", &[&ada]), step("two", &[&ada])];
        steps[0]["wait"] = Value::Null;
        steps[1]["next"] = json!("end");
        let input = json!({ "name": "  Spring  ", "flow": { "steps": steps } });
        let made = done(&h, "sequenceCreate", input).await;
        assert_eq!(
            (&made["name"], &made["status"]),
            (&json!("Spring"), &json!("DRAFT"))
        );
        assert_eq!(
            (&made["revision"], &made["publishedAt"]),
            (&json!(1), &Value::Null)
        );
        assert_eq!(
            made["flow"]["steps"][0],
            json!({
        "key": "one", "name": null, "wait": "PT0S", "businessDays": false, "channel": "EMAIL",
        "next": "two", "action": { "senders": [{ "id": ada }], "inThread": false,
            "trackOpens": true, "trackClicks": true, "variants": [{ "key": "a", "weight": 1,
                "enabled": true, "subject": "Subject of one", "html": null,
                "text": "Text of one" }] } })
        );
        assert_eq!(made["flow"]["steps"][1]["next"], Value::Null);
        assert_eq!(made["settings"]["timeZone"], "UTC");
        assert_eq!(
            made["settings"]["sendWindows"][4],
            json!({ "day": "FRIDAY", "from": "09:00", "to": "17:00" })
        );
        let read = "query($id: ID!) { sequence(id: $id) { name problems { code }
        versions { totalCount nodes { number } } analytics { funnel { contacted } } } }";
        let answer = h.data(read, json!({ "id": made["id"] })).await;
        assert_eq!(
            answer["sequence"],
            json!({ "name": "Spring", "problems": [{ "code": "MISSING_UNSUBSCRIBE" }],
        "versions": { "totalCount": 0, "nodes": [] }, "analytics": { "funnel": { "contacted": 0 } } })
        );
    }
);

both!(
    what_cannot_be_read_is_named_all_at_once,
    |h: Harness| async move {
        let mut bad = step("Bad Key", &["nobody"]);
        bad["wait"] = json!("P1M");
        bad["action"]["email"]["variants"][0]["weight"] = json!(-1);
        let input = json!({ "name": " ", "flow": { "steps": [step("ok", &[]), bad] }, "settings": {
        "timeZone": "Europe/Lisboa", "maxSendsPerDay": -1, "autoReplyHold": "soon",
        "sendWindows": [{ "day": "MONDAY", "from": "9", "to": "17:00" }] } });
        let payload = call(&h, "sequenceCreate", input).await;
        assert_eq!(payload["sequence"], Value::Null);
        let email = "flow.steps.1.action.email";
        let expected = [
            "name".to_owned(),
            "flow.steps.1.key".into(),
            "flow.steps.1.wait".into(),
            format!("{email}.senderIds.0"),
            format!("{email}.variants.0.weight"),
            "settings.timeZone".into(),
            "settings.sendWindows.0.from".into(),
            "settings.maxSendsPerDay".into(),
            "settings.autoReplyHold".into(),
        ];
        let found: Vec<String> = refusals(&payload)
            .into_iter()
            .map(|(_, path)| path)
            .collect();
        assert_eq!(found, expected, "{payload:#}");
        let zone = payload["userErrors"][5]["message"].as_str().unwrap_or("");
        assert!(zone.contains("Europe/Lisbon"), "{zone}");
        // One window after the other: what is wrong between them needs both to be read.
        let windows = json!([{ "day": "MONDAY", "from": "09:00", "to": "12:00" },
                         { "day": "MONDAY", "from": "11:00", "to": "12:00" }]);
        let input = json!({ "name": "n", "settings": { "sendWindows": windows } });
        refused(
            &call(&h, "sequenceCreate", input).await,
            "INVALID",
            "settings.sendWindows.1",
        );
    }
);

both!(
    publishing_refuses_a_flow_with_all_its_problems,
    |h: Harness| async move {
        let off = sender(&h, "off").await;
        h.mutate(
            "senderUpdate",
            "SenderUpdateInput",
            json!({ "id": off, "enabled": false }),
            "sender { enabled }",
        )
        .await;
        let foreign = h
            .execute_as(
                &h.stranger,
                "mutation { senderCreate(input: { name: \"x\",
        channel: EMAIL, address: \"x@example.com\", transport: { outbox: {} } }) {
        sender { id } } }",
                json!({}),
            )
            .await["data"]["senderCreate"]["sender"]["id"]
            .clone();
        let mut steps = vec![
            step("a", &[]),
            step("b", &[&off]),
            step("c", &[foreign.as_str().unwrap_or("")]),
            step("d", &[&off]),
        ];
        steps[0]["action"]["email"]["variants"][0]["subject"] = Value::Null;
        steps[1]["action"]["email"]["variants"][0]["text"] = json!("Hello {{ frist_name }}");
        steps[2]["next"] = json!("nowhere");
        let input =
            json!({ "name": "n", "flow": { "steps": steps }, "settings": { "sendWindows": [] } });
        let made = done(&h, "sequenceCreate", input).await;
        let payload = call(&h, "sequencePublish", json!({ "id": made["id"] })).await;
        refused(&payload, "INVALID", "id");
        let codes: Vec<&str> = payload["problems"]
            .as_array()
            .expect("problems")
            .iter()
            .map(|problem| problem["code"].as_str().unwrap_or(""))
            .collect();
        for code in [
            "NO_WINDOW",
            "NO_SENDER",
            "NO_SUBJECT",
            "SENDER_DISABLED",
            "UNKNOWN_MERGE_TAG",
            "UNKNOWN_STEP",
            "UNREACHABLE_STEP",
        ] {
            assert!(codes.contains(&code), "{code} in {codes:?}");
        }
        assert!(
            codes.iter().filter(|code| **code == "NO_SENDER").count() == 2,
            "{codes:?}"
        );
        let said = payload["userErrors"][0]["message"].as_str().unwrap_or("");
        assert!(
            said.contains(&format!("{} problems", codes.len())),
            "{said}"
        );
        assert_eq!(payload["sequence"]["status"], "DRAFT");
        // The same is shown before anybody publishes, and a dry run refuses nothing.
        let read = "query($id: ID!) { sequence(id: $id) { problems { code } } }";
        let shown = h.data(read, json!({ "id": made["id"] })).await;
        assert_eq!(
            shown["sequence"]["problems"].as_array().map(Vec::len),
            Some(codes.len())
        );
        let dry = call(
            &h,
            "sequencePublish",
            json!({ "id": made["id"], "dryRun": true }),
        )
        .await;
        assert_eq!(
            (&dry["userErrors"], dry["problems"].as_array().map(Vec::len)),
            (&json!([]), Some(codes.len()))
        );
        assert_eq!(kinds(&h).await, Vec::<String>::new());
    }
);

both!(
    a_sequence_lives_from_draft_to_archive,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let made = done(
            &h,
            "sequenceCreate",
            json!({ "name": "n", "flow": flow(&["a"], &[&ada]) }),
        )
        .await;
        let id = json!({ "id": made["id"] });
        refused(
            &call(&h, "sequenceDisable", id.clone()).await,
            "WRONG_STATE",
            "id",
        );
        // A draft can be put away, and comes back as a draft.
        assert_eq!(
            done(&h, "sequenceArchive", id.clone()).await["status"],
            "ARCHIVED"
        );
        for field in ["sequencePublish", "sequenceUpdate", "sequenceDisable"] {
            refused(&call(&h, field, id.clone()).await, "WRONG_STATE", "id");
        }
        assert_eq!(
            done(&h, "sequenceUnarchive", id.clone()).await["status"],
            "DRAFT"
        );
        let first = call(&h, "sequencePublish", id.clone()).await;
        assert_eq!(first["userErrors"], json!([]), "{first:#}");
        assert_eq!(
            first["plan"]["changes"],
            json!([{ "stepKey": "a", "change": "ADDED", "leadsThere": 0, "movesTo": null }])
        );
        let first = first["sequence"].clone();
        assert_eq!(
            (
                &first["status"],
                &first["publishedVersion"]["number"],
                &first["revision"]
            ),
            (&json!("PUBLISHED"), &json!(1), &json!(1))
        );
        assert_eq!(
            first["publishedVersion"]["publishedBy"],
            json!(h.editor.name)
        );
        // Twice is no error, and changes nothing.
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::seconds(1));
        assert_eq!(done(&h, "sequencePublish", id.clone()).await, first);
        let mut edit = id.clone();
        edit["name"] = json!("m");
        refused(&call(&h, "sequenceUpdate", edit).await, "WRONG_STATE", "id");
        refused(
            &call(&h, "sequenceArchive", id.clone()).await,
            "WRONG_STATE",
            "id",
        );
        let disabled = done(&h, "sequenceDisable", id.clone()).await;
        assert_eq!(disabled["status"], "DISABLED");
        assert_eq!(done(&h, "sequenceDisable", id.clone()).await, disabled);
        // Published again as it was, it runs the version that there is.
        let again = done(&h, "sequencePublish", id.clone()).await;
        assert_eq!(again["publishedVersion"], first["publishedVersion"]);
        assert_ne!(again["publishedAt"], first["publishedAt"]);
        done(&h, "sequenceDisable", id.clone()).await;
        let archived = done(&h, "sequenceArchive", id.clone()).await;
        assert_eq!(done(&h, "sequenceArchive", id.clone()).await, archived);
        assert_eq!(
            done(&h, "sequenceUnarchive", id.clone()).await["status"],
            "DISABLED"
        );
        assert_eq!(
            done(&h, "sequenceUnarchive", id).await["status"],
            "DISABLED"
        );
        assert_eq!(
            kinds(&h).await,
            [
                "SEQUENCE_ARCHIVED",
                "SEQUENCE_PUBLISHED",
                "SEQUENCE_DISABLED",
                "SEQUENCE_PUBLISHED",
                "SEQUENCE_DISABLED",
                "SEQUENCE_ARCHIVED"
            ]
        );
    }
);

both!(
    an_edit_goes_on_from_the_revision_it_has_seen,
    |h: Harness| async move {
        let made = done(&h, "sequenceCreate", json!({ "name": "n" })).await;
        let id = &made["id"];
        let update = |more: Value| {
            let mut input = json!({ "id": id });
            input
                .as_object_mut()
                .expect("an object")
                .extend(more.as_object().expect("an object").clone());
            call(&h, "sequenceUpdate", input)
        };
        // A name is no part of what is published.
        assert_eq!(
            update(json!({ "name": "m", "expectedRevision": 1 })).await["sequence"]["revision"],
            1
        );
        let edited = update(json!({ "flow": flow(&["a"], &[]), "expectedRevision": 1 })).await;
        assert_eq!(edited["sequence"]["revision"], 2);
        refused(
            &update(json!({ "name": "late", "expectedRevision": 1 })).await,
            "CONFLICT",
            "expectedRevision",
        );
        let stale = json!({ "id": id, "expectedRevision": 1 });
        refused(
            &call(&h, "sequencePublish", stale).await,
            "CONFLICT",
            "expectedRevision",
        );
        // The same once more is no edit.
        let same = update(json!({ "flow": flow(&["a"], &[]), "name": "m" })).await;
        assert_eq!(same["sequence"], edited["sequence"]);
    }
);

both!(settings_are_changed_one_by_one, |h: Harness| async move {
    let settings = json!({ "timeZone": "europe/lisbon", "windowClock": "SEQUENCE",
        "holidays": ["2026-12-25", "2026-12-25"], "maxNewLeadsPerDay": 10, "maxSendsPerDay": 20,
        "holidayCountries": ["pt", "UK", "PT"], "contactHolidays": true, "maxLateness": "P2D",
        "autoReplyHold": "P7D", "stopOnReply": false });
    let made = done(
        &h,
        "sequenceCreate",
        json!({ "name": "n", "settings": settings }),
    )
    .await;
    let settings = &made["settings"];
    assert_eq!(settings["holidayCountries"], json!(["GB", "PT"]));
    assert_eq!(settings["holidaysKnownUntil"], "2035-12-31");
    assert_eq!(settings["maxLateness"], "P2D");
    let change = json!({ "holidayCountries": ["LK"], "maxLateness": "PT0S", "sendWindows": [{ "day": "SUNDAY", "from": "00:00", "to": "24:00" }],
        "timeZone": null, "maxSendsPerDay": 0, "autoReplyHold": "PT0S" });
    let changed = done(
        &h,
        "sequenceUpdate",
        json!({ "id": made["id"], "settings": change }),
    )
    .await;
    assert_eq!(
        changed["settings"],
        json!({
        "timeZone": "Europe/Lisbon", "windowClock": "SEQUENCE",
        "sendWindows": [{ "day": "SUNDAY", "from": "00:00", "to": "24:00" }],
        "holidays": ["2026-12-25"], "holidayCountries": ["LK"],
        "holidaysKnownUntil": "2026-12-31", "contactHolidays": true, "maxNewLeadsPerDay": 10,
        "maxSendsPerDay": null, "maxLateness": null,
        "stopOnReply": false, "stopCompanyOnReply": false, "autoReplyHold": null,
        "stopOnOpportunityWon": true })
    );
    assert_eq!(changed["revision"], 2);
});

both!(
    countries_that_are_none_are_refused,
    |h: Harness| async move {
        let create = async |settings: Value| {
            let input = json!({ "name": "n", "settings": settings });
            refusals(&call(&h, "sequenceCreate", input).await)
        };
        assert_eq!(
            create(json!({ "holidayCountries": ["PT", "Portugal", "ZZ"], "maxLateness": "soon" }))
                .await,
            [
                (
                    "INVALID".to_owned(),
                    "settings.holidayCountries.1".to_owned()
                ),
                (
                    "INVALID".to_owned(),
                    "settings.holidayCountries.2".to_owned()
                ),
                ("INVALID".to_owned(), "settings.maxLateness".to_owned()),
            ]
        );
        let of_all = |codes: Value| json!({ "holidayCountries": codes });
        let at = "settings.holidayCountries";
        for codes in [json!(["UA"]), json!(vec!["PT"; 51])] {
            let refused = create(of_all(codes)).await;
            assert_eq!(refused, [("INVALID".to_owned(), at.to_owned())]);
        }
    }
);

both!(
    a_duplicate_is_a_draft_with_the_same_content,
    |h: Harness| async move {
        let (id, _) = published(&h, &["a", "b"]).await;
        let long = done(&h, "sequenceCreate", json!({ "name": "é".repeat(200) })).await;
        let copy = done(&h, "sequenceDuplicate", json!({ "id": id })).await;
        assert_eq!(
            (&copy["name"], &copy["status"]),
            (&json!("Outreach (copy)"), &json!("DRAFT"))
        );
        assert_eq!(
            (&copy["publishedVersion"], &copy["revision"]),
            (&Value::Null, &json!(1))
        );
        assert_eq!(copy["flow"]["steps"].as_array().map(Vec::len), Some(2));
        let copy = done(&h, "sequenceDuplicate", json!({ "id": long["id"] })).await;
        let name = copy["name"].as_str().unwrap_or("");
        assert!(
            name.chars().count() == 200 && name.ends_with("é (copy)"),
            "{name}"
        );
    }
);

both!(
    sequences_are_listed_newest_first_by_pages,
    |h: Harness| async move {
        for name in ["Spring one", "SPRING two", "Autumn_50%", "Spring three"] {
            h.clock
                .advance_to(h.clock.now() + chrono::Duration::milliseconds(1));
            done(&h, "sequenceCreate", json!({ "name": name })).await;
        }
        let document = "query($s: [SequenceStatus!], $q: String, $f: Int, $a: String, $l: Int) {
        sequences(status: $s, search: $q, first: $f, after: $a, last: $l) { totalCount
            nodes { name } pageInfo { hasNextPage endCursor } } }";
        let names = |page: &Value| -> Vec<String> {
            let nodes = page["sequences"]["nodes"]
                .as_array()
                .cloned()
                .unwrap_or_default();
            nodes
                .iter()
                .filter_map(|node| node["name"].as_str().map(str::to_owned))
                .collect()
        };
        let page = h.data(document, json!({ "q": "spr", "f": 2 })).await;
        assert_eq!(names(&page), ["Spring three", "SPRING two"]);
        assert_eq!(page["sequences"]["totalCount"], 3);
        let after = &page["sequences"]["pageInfo"]["endCursor"];
        let next = h
            .data(document, json!({ "q": "spr", "f": 2, "a": after }))
            .await;
        assert_eq!(names(&next), ["Spring one"]);
        assert_eq!(next["sequences"]["pageInfo"]["hasNextPage"], false);
        assert_eq!(
            names(&h.data(document, json!({ "l": 2 })).await),
            ["SPRING two", "Spring one"]
        );
        assert_eq!(
            names(&h.data(document, json!({ "q": "n_50%" })).await),
            ["Autumn_50%"]
        );
        assert_eq!(
            names(&h.data(document, json!({ "q": "0_" })).await),
            Vec::<String>::new()
        );
        assert_eq!(
            names(&h.data(document, json!({ "s": ["PUBLISHED"] })).await),
            Vec::<String>::new()
        );
        assert_eq!(
            names(
                &h.data(document, json!({ "s": ["DRAFT", "ARCHIVED"] }))
                    .await
            )
            .len(),
            4
        );
    }
);

both!(
    another_workspaces_sequence_is_like_one_that_is_not_there,
    |h: Harness| async move {
        let (id, _) = published(&h, &["a"]).await;
        let read = "query($id: ID!) { sequence(id: $id) { name } sequences { totalCount } }";
        let seen = h.execute_as(&h.stranger, read, json!({ "id": id })).await;
        assert_eq!(
            seen["data"],
            json!({ "sequence": null, "sequences": { "totalCount": 0 } }),
            "{seen}"
        );
        let nowhere = "seq_00000000000000000000000000";
        for field in [
            "sequenceUpdate",
            "sequencePublish",
            "sequenceDisable",
            "sequenceArchive",
            "sequenceUnarchive",
            "sequenceDuplicate",
        ] {
            let input_type = match field {
                "sequenceUpdate" => "SequenceUpdateInput",
                "sequencePublish" => "SequencePublishInput",
                _ => "SequenceIdInput",
            };
            let document = format!(
                "mutation($input: {input_type}!) {{
            {field}(input: $input) {{ sequence {{ id }} userErrors {{ code message path }} }} }}"
            );
            let answer = async |id: &str| {
                h.execute_as(&h.stranger, &document, json!({ "input": { "id": id } }))
                    .await
            };
            let foreign = answer(&id).await;
            assert_eq!(
                foreign["data"][field]["userErrors"][0]["code"], "NOT_FOUND",
                "{foreign}"
            );
            assert_eq!(foreign, answer(nowhere).await, "{field}");
        }
        refused(
            &call(&h, "sequenceDisable", json!({ "id": "lead_1" })).await,
            "INVALID",
            "id",
        );
    }
);

both!(a_viewer_reads_and_writes_nothing, |h: Harness| async move {
    let (id, _) = published(&h, &["a"]).await;
    let read = "query($id: ID!) { sequence(id: $id) { status } }";
    let seen = h.execute_as(&h.viewer, read, json!({ "id": id })).await;
    assert_eq!(seen["data"]["sequence"]["status"], "PUBLISHED", "{seen}");
    let create = "mutation { sequenceCreate(input: { name: \"n\" }) { userErrors { code } } }";
    let disable =
        "mutation($id: ID!) { sequenceDisable(input: { id: $id }) { userErrors { code } } }";
    for document in [create, disable] {
        let answer = h.execute_as(&h.viewer, document, json!({ "id": id })).await;
        let error = &answer["errors"][0];
        assert_eq!(error["extensions"]["code"], "FORBIDDEN", "{answer}");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("EDITOR")),
            "{answer}"
        );
    }
    assert_eq!(kinds(&h).await, ["SEQUENCE_PUBLISHED"]);
});

both!(
    a_viewer_sees_the_names_of_headers_and_not_their_texts,
    |h: Harness| async move {
        let flow = json!({ "steps": [{ "key": "tell", "action": { "webhook": {
            "url": "https://hooks.example.com/x",
            "headers": { "Authorization": "Bearer secret" } } } }] });
        let made = done(&h, "sequenceCreate", json!({ "name": "n", "flow": flow })).await;
        let read = "query($id: ID!) { sequence(id: $id) { flow { steps { action {
            ... on WebhookAction { url headers } } } } } }";
        for (caller, shown) in [(&h.viewer, "***"), (&h.editor, "Bearer secret")] {
            let seen = h
                .execute_as(caller, read, json!({ "id": made["id"] }))
                .await;
            let action = &seen["data"]["sequence"]["flow"]["steps"][0]["action"];
            assert_eq!(
                action["headers"],
                json!({ "Authorization": shown }),
                "{seen}"
            );
        }
        // Neither does the history tell: by the header, and as a whole.
        done(&h, "sequencePublish", json!({ "id": made["id"] })).await;
        done(&h, "sequenceDisable", json!({ "id": made["id"] })).await;
        let mut flow = flow;
        let mut webhook = flow["steps"][0]["action"].clone();
        webhook["webhook"]["headers"] = json!({ "Authorization": "Other" });
        for action in [webhook, json!({ "end": {} })] {
            flow["steps"][0]["action"] = action;
            done(
                &h,
                "sequenceUpdate",
                json!({ "id": made["id"], "flow": flow }),
            )
            .await;
            let read = "query($id: ID!) { sequence(id: $id) { draftChanges { steps { fields {
                path before after } } } } }";
            let variables = json!({ "id": made["id"] });
            let seen = h.execute_as(&h.viewer, read, variables.clone()).await;
            assert!(seen.to_string().contains("***"), "{seen}");
            assert!(!seen.to_string().contains("secret"), "{seen}");
            assert!(!seen.to_string().contains("Other"), "{seen}");
            let seen = h.execute_as(&h.editor, read, variables).await;
            assert!(seen.to_string().contains("secret"), "{seen}");
        }
    }
);

both!(
    two_who_publish_at_once_make_one_version,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let made = done(
            &h,
            "sequenceCreate",
            json!({ "name": "n", "flow": flow(&["a"], &[&ada]) }),
        )
        .await;
        let publish = || call(&h, "sequencePublish", json!({ "id": made["id"] }));
        let (one, two) = join(publish(), publish()).await;
        assert_eq!(
            (&one["userErrors"], &two["userErrors"]),
            (&json!([]), &json!([]))
        );
        assert_eq!(one["sequence"], two["sequence"]);
        assert_eq!(kinds(&h).await, ["SEQUENCE_PUBLISHED"]);
        let lanes = sql::number(
            h.services.db.read(),
            "SELECT count(*) AS n FROM lane",
            Arguments::new(),
        );
        assert_eq!(lanes.await.expect("a number"), 1);
    }
);

async fn join<T>(one: impl Future<Output = T>, two: impl Future<Output = T>) -> (T, T) {
    futures_util::future::join(one, two).await
}
