//! The history of a sequence through the API: its versions stay, and each tells how it differs.

use async_graphql::{Request, Variables};
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::publishing::edit;
use crate::sequences::{call, done, flow, kinds, published, step};
use crate::statements::noted;

const CHANGES: &str = "since entry { path before after }
    steps { stepKey change fields { path before after } } settings { path before after }";

/// The versions of a sequence with their changes, newest first, and those of its working copy.
async fn history(h: &Harness, id: &str) -> Value {
    let query = format!(
        "query($id: ID!) {{ sequence(id: $id) {{ draftChanges {{ {CHANGES} }}
            versions {{ nodes {{ number flow {{ steps {{ key }} }} settings {{ maxSendsPerDay }}
                changes {{ {CHANGES} }} }} }} }} }}"
    );
    h.data(&query, json!({ "id": id })).await["sequence"].take()
}

fn added(keys: &[&str]) -> Value {
    let added = |key| json!({ "stepKey": key, "change": "ADDED", "fields": [] });
    keys.iter().map(added).collect()
}

/// Publishes this flow with these settings as the next version.
async fn republish(h: &Harness, id: &str, flow: Value, settings: Value) {
    let publish = edit(h, id, flow).await;
    let update = json!({ "id": id, "settings": settings });
    done(h, "sequenceUpdate", update).await;
    done(h, "sequencePublish", publish).await;
}

both!(each_version_tells_how_it_differs, |h: Harness| async move {
    let (id, ada) = published(&h, &["a", "b"]).await;
    let mut first = step("a", &[&ada]);
    first["name"] = json!("Hello");
    first["action"]["email"]["variants"][0]["subject"] = json!("Another subject");
    let second = json!({ "steps": [first, step("c", &[&ada])] });
    let settings = json!({ "maxSendsPerDay": 9 });
    republish(&h, &id, second, settings).await;
    republish(&h, &id, flow(&["c"], &[&ada]), json!({})).await;
    let told = history(&h, &id).await;
    let versions = &told["versions"]["nodes"];
    let number = |index: usize| versions[index]["number"].as_i64();
    assert_eq!(
        [number(0), number(1), number(2)],
        [Some(3), Some(2), Some(1)]
    );
    // What ran is kept as it was.
    let key = |key: &str| json!({ "key": key });
    assert_eq!(versions[2]["flow"]["steps"], json!([key("a"), key("b")]));
    assert_eq!(versions[1]["flow"]["steps"], json!([key("a"), key("c")]));
    assert_eq!(versions[2]["settings"]["maxSendsPerDay"], Value::Null);
    assert_eq!(versions[1]["settings"]["maxSendsPerDay"], 9);

    let path = ["steps", "0", "key"];
    assert_eq!(
        versions[2]["changes"],
        json!({ "since": null, "steps": added(&["a", "b"]), "settings": [],
            "entry": { "path": path, "before": null, "after": "a" } })
    );
    let variant = ["action", "email", "variants", "a", "subject"];
    let fields = json!([
        { "path": ["name"], "before": null, "after": "Hello" },
        { "path": ["next"], "before": "b", "after": "c" },
        { "path": variant, "before": "Subject of a", "after": "Another subject" },
    ]);
    let removed = |key| json!({ "stepKey": key, "change": "REMOVED", "fields": [] });
    assert_eq!(
        versions[1]["changes"],
        json!({ "since": 1, "entry": null,
            "steps": [{ "stepKey": "a", "change": "CHANGED", "fields": fields },
                added(&["c"])[0], removed("b")],
            "settings": [{ "path": ["maxSendsPerDay"], "before": null, "after": 9 }] })
    );
    assert_eq!(
        versions[0]["changes"],
        json!({ "since": 2, "entry": { "path": path, "before": "a", "after": "c" },
            "steps": [removed("a")], "settings": [] })
    );
});

both!(
    a_version_is_compared_with_any_before_it,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a"]).await;
        republish(&h, &id, flow(&["a", "b"], &[&ada]), json!({})).await;
        republish(&h, &id, flow(&["a", "b", "c"], &[&ada]), json!({})).await;
        let query = "query($id: ID!, $since: Int) { sequence(id: $id) { publishedVersion {
            number changes(since: $since) { since steps { stepKey change } } } } }";
        let told = h.data(query, json!({ "id": id, "since": 1 })).await;
        let changes = &told["sequence"]["publishedVersion"]["changes"];
        let step = |key: &str, change: &str| json!({ "stepKey": key, "change": change });
        assert_eq!(
            changes,
            &json!({ "since": 1,
                "steps": [step("a", "REWIRED"), step("b", "ADDED"), step("c", "ADDED")] })
        );
        for since in [0, 3, 4, -1, i32::MAX] {
            let answer = h.execute(query, json!({ "id": id, "since": since })).await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{answer:#}");
            let words = error["message"].as_str().unwrap_or_default();
            let expected = format!(
                "There is no version {since} before version 3 of the sequence; give one from 1 to 2, \
                 or leave `since` out."
            );
            assert_eq!(words, expected);
        }
        let (only, _) = published(&h, &["a"]).await;
        let answer = h.execute(query, json!({ "id": only, "since": 1 })).await;
        let words = answer["errors"][0]["message"].as_str().unwrap_or_default();
        assert!(words.contains("it is the first"), "{words}");
    }
);

both!(
    a_working_copy_tells_what_publishing_would_change,
    |h: Harness| async move {
        let draft = done(
            &h,
            "sequenceCreate",
            json!({ "name": "n", "flow": flow(&["a"], &[]) }),
        );
        let draft = draft.await["id"].as_str().expect("an id").to_owned();
        let told = history(&h, &draft).await;
        assert_eq!(told["draftChanges"]["steps"], added(&["a"]));
        assert_eq!(told["draftChanges"]["since"], Value::Null);

        let (id, ada) = published(&h, &["a", "b"]).await;
        let nothing = json!({ "since": 1, "entry": null, "steps": [], "settings": [] });
        assert_eq!(history(&h, &id).await["draftChanges"], nothing);
        let mut publish = edit(&h, &id, flow(&["a", "b", "c"], &[&ada])).await;
        let before = history(&h, &id).await;
        let way = json!({ "path": ["next"], "before": null, "after": "c" });
        let steps =
            json!([{ "stepKey": "b", "change": "REWIRED", "fields": [way] }, added(&["c"])[0]]);
        assert_eq!(before["draftChanges"]["steps"], steps);

        // Only to look changes nothing.
        let (events, whole) = (kinds(&h).await, sequence(&h, &id).await);
        publish["dryRun"] = json!(true);
        let dry = call(&h, "sequencePublish", publish.clone()).await;
        assert_eq!(
            (&dry["userErrors"], &dry["sequence"]["status"]),
            (&json!([]), &json!("DISABLED"))
        );
        assert_eq!(history(&h, &id).await, before);
        assert_eq!((kinds(&h).await, sequence(&h, &id).await), (events, whole));

        publish["dryRun"] = json!(false);
        done(&h, "sequencePublish", publish).await;
        let after = history(&h, &id).await;
        assert_eq!(after["versions"]["nodes"][0]["changes"]["steps"], steps);
        assert_eq!(after["draftChanges"]["steps"], json!([]));
    }
);

async fn sequence(h: &Harness, id: &str) -> Value {
    let query = "query($id: ID!) { sequence(id: $id) { name status revision updatedAt publishedAt
        publishedVersion { id number } versions { totalCount } } }";
    h.data(query, json!({ "id": id })).await
}

both!(
    a_page_of_versions_is_compared_by_as_many_statements_as_one,
    |h: Harness| async move {
        let (id, ada) = published(&h, &["a"]).await;
        for day in 1..8 {
            let settings = json!({ "maxSendsPerDay": day });
            republish(&h, &id, flow(&["a"], &[&ada]), settings).await;
        }
        let (other, _) = published(&h, &["a"]).await;
        republish(&h, &other, flow(&["a", "b"], &[&ada]), json!({})).await;
        let (schema, statements) = noted(&h);
        let query = "query($first: Int!) { sequences { nodes { draftChanges { steps { stepKey } }
            versions(first: $first) { nodes { number changes { since settings { after } } } } } } }";
        for first in [2, 8] {
            statements.lock().expect("not poisoned").clear();
            let request = Request::new(query)
                .variables(Variables::from_json(json!({ "first": first })))
                .data(h.viewer.clone());
            let answer = schema.execute(request).await;
            assert!(answer.is_ok(), "{answer:?}");
            let answer = answer.data.into_json().expect("JSON");
            let nodes = &answer["sequences"]["nodes"];
            let versions = nodes[1]["versions"]["nodes"].as_array().expect("versions");
            assert_eq!(versions.len(), first, "{answer:#}");
            assert_eq!(versions[0]["changes"]["settings"], json!([{ "after": 7 }]));
            let taken = statements.lock().expect("not poisoned").clone();
            // Both sequences may ask together, or one after the other.
            let of_changes = taken.iter().filter(|text| text.contains("wanted"));
            assert!((1..=2).contains(&of_changes.count()), "{taken:#?}");
            assert!(taken.len() <= 6, "{taken:#?}");
        }
    }
);
