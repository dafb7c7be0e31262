//! The workspace itself: what it is called, its clock and its limits.

use cadenza::channel::webhook::WebhookSecret;
use cadenza::store::workspace;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::sequences::refusals;

const FIELDS: &str =
    "id name timeZone maxMessagesPerPersonPerDay maxMessagesPerDomainPerDay __typename";

async fn update(h: &Harness, input: Value) -> Value {
    let select = format!("workspace {{ {FIELDS} }}");
    h.try_mutate("workspaceUpdate", "WorkspaceUpdateInput", input, &select)
        .await
}

async fn read(h: &Harness) -> Value {
    let all = format!("{{ workspace {{ {FIELDS} }} }}");
    h.data(&all, json!({})).await["workspace"].take()
}

both!(a_workspace_begins_without_limits, |h: Harness| async move {
    let own = read(&h).await;
    assert_eq!(own["id"], h.admin.workspace.to_string());
    assert_eq!(own["timeZone"], "UTC");
    assert_eq!(own["maxMessagesPerPersonPerDay"], Value::Null);
    assert_eq!(own["maxMessagesPerDomainPerDay"], Value::Null);
    let node =
        format!("query ($id: ID!) {{ node(id: $id) {{ ... on Workspace {{ {FIELDS} }} }} }}");
    let node = h.data(&node, json!({ "id": own["id"] })).await;
    assert_eq!(node["node"], own);
});

both!(its_fields_are_changed_one_by_one, |h: Harness| async move {
    let before = read(&h).await;
    let input = json!({ "name": " Renamed ", "timeZone": "europe/lisbon",
        "maxMessagesPerPersonPerDay": 2, "maxMessagesPerDomainPerDay": 2_147_483_647 });
    let changed = update(&h, input).await;
    assert_eq!(changed["userErrors"], json!([]));
    assert_eq!(
        changed["workspace"],
        json!({ "id": before["id"], "name": "Renamed", "timeZone": "Europe/Lisbon",
            "maxMessagesPerPersonPerDay": 2, "maxMessagesPerDomainPerDay": 2_147_483_647,
            "__typename": "Workspace" })
    );
    // What is not given stays, and the same again is no change.
    let same = update(&h, json!({ "maxMessagesPerPersonPerDay": 2, "name": null })).await;
    assert_eq!(same["workspace"], changed["workspace"]);
    let lifted = update(&h, json!({ "maxMessagesPerPersonPerDay": 0 })).await;
    assert_eq!(
        lifted["workspace"]["maxMessagesPerPersonPerDay"],
        Value::Null
    );
    assert_eq!(
        lifted["workspace"]["maxMessagesPerDomainPerDay"],
        2_147_483_647
    );
    assert_eq!(lifted["workspace"], read(&h).await);
    let stored = workspace::find(h.services.db.read(), h.admin.workspace).await;
    let stored = stored.expect("readable").expect("there");
    assert_eq!(
        (
            stored.name.as_str(),
            stored.time_zone.as_str(),
            stored.max_messages_per_person_per_day,
            stored.max_messages_per_domain_per_day,
        ),
        ("Renamed", "Europe/Lisbon", None, Some(i32::MAX))
    );
});

both!(whatever_is_wrong_is_told_at_once, |h: Harness| async move {
    let before = read(&h).await;
    let input = json!({ "name": " ", "timeZone": "Europe/Lisboa",
        "maxMessagesPerPersonPerDay": -1, "maxMessagesPerDomainPerDay": -5 });
    let refused = update(&h, input).await;
    assert_eq!(refused["workspace"], Value::Null);
    let invalid = |path: &str| ("INVALID".to_owned(), path.to_owned());
    assert_eq!(
        refusals(&refused),
        [
            invalid("name"),
            invalid("timeZone"),
            invalid("maxMessagesPerPersonPerDay"),
            invalid("maxMessagesPerDomainPerDay"),
        ]
    );
    assert_eq!(read(&h).await, before);
});

both!(no_two_workspaces_have_one_name, |h: Harness| async move {
    let strangers = workspace::find(h.services.db.read(), h.stranger.workspace).await;
    let strangers = strangers.expect("readable").expect("there").name;
    let refused = update(&h, json!({ "name": strangers })).await;
    assert_eq!(
        refusals(&refused),
        [("ALREADY_EXISTS".to_owned(), "name".to_owned())]
    );
});

both!(anothers_workspace_stays_as_it_is, |h: Harness| async move {
    let theirs = async || {
        let found = workspace::find(h.services.db.read(), h.stranger.workspace).await;
        found.expect("readable").expect("there")
    };
    let before = theirs().await;
    update(&h, json!({ "maxMessagesPerPersonPerDay": 1 })).await;
    assert_eq!(theirs().await, before);
});

both!(
    the_secret_of_webhooks_is_for_admins,
    |h: Harness| async move {
        let query = "{ workspace { webhookSecret } }";
        let secret = h.data(query, json!({})).await["workspace"]["webhookSecret"].take();
        let secret = secret.as_str().expect("a text");
        assert!(WebhookSecret::parse(secret).is_ok());
        let theirs = h.execute_as(&h.stranger, query, json!({})).await;
        assert_ne!(theirs["data"]["workspace"]["webhookSecret"], secret);
        for caller in [&h.editor, &h.viewer] {
            let refused = h.execute_as(caller, query, json!({})).await;
            assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
        }
    }
);
