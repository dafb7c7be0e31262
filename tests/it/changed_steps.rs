//! Steps that are of another kind after an edit, and leads that leave while somebody has work to do.

use serde_json::{Value, json};

use crate::enrol::{enrol, people};
use crate::harness::{Harness, both};
use crate::leads::bulk;
use crate::pains::{Receiver, settle};
use crate::sequences::{done, sender};

const TASKS: &str = "{ tasks { nodes { status } } }";

fn task(key: &str) -> Value {
    json!({ "key": key, "action": { "task": { "channel": "TASK", "title": "Look" } } })
}

fn email(key: &str, sender: &str) -> Value {
    json!({ "key": key, "action": { "email": { "senderIds": [sender],
        "variants": [{ "subject": "Hello", "text": "Hi" }] } } })
}

/// A published sequence with this one step, and one lead that the engine has brought to rest there.
async fn waiting(h: &Harness, receiver: &Receiver, step: Value) -> (String, String) {
    let input = json!({ "name": "Work", "flow": { "steps": [step] },
                        "settings": crate::blockers::always() });
    let id = done(h, "sequenceCreate", input).await["id"].take();
    let id = id.as_str().expect("an id").to_owned();
    done(h, "sequencePublish", json!({ "id": id })).await;
    let ids = people(h, &["ada"]).await;
    enrol(h, &id, json!({ "ids": ids })).await;
    settle(h, receiver).await;
    let found = h.data("{ leads { nodes { id } } }", json!({})).await;
    let lead = found["leads"]["nodes"][0]["id"].as_str().expect("a lead");
    (id, lead.to_owned())
}

/// Disables, edits and publishes again.
async fn edited(h: &Harness, id: &str, step: Value) {
    done(h, "sequenceDisable", json!({ "id": id })).await;
    let flow = json!({ "id": id, "flow": { "steps": [step] } });
    done(h, "sequenceUpdate", flow).await;
    done(h, "sequencePublish", json!({ "id": id })).await;
}

async fn state(h: &Harness, lead: &str) -> Value {
    let query = "query($id: ID!) { lead(id: $id) { status
        executions { nodes { status channel } } } }";
    h.data(query, json!({ "id": lead })).await["lead"].take()
}

async fn tasks(h: &Harness) -> Value {
    h.data(TASKS, json!({})).await["tasks"]["nodes"].take()
}

both!(
    a_task_that_becomes_an_email_is_sent,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let (id, lead) = waiting(&h, &receiver, task("x")).await;
        assert_eq!(tasks(&h).await, json!([{ "status": "OPEN" }]));
        edited(&h, &id, email("x", &ada)).await;
        assert_eq!(tasks(&h).await, json!([{ "status": "EXPIRED" }]));
        settle(&h, &receiver).await;
        let sent = json!([{ "status": "SENT", "channel": "EMAIL" }]);
        assert_eq!(state(&h, &lead).await["executions"]["nodes"], sent);
    }
);

both!(
    a_task_that_becomes_a_condition_is_asked,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let (id, lead) = waiting(&h, &receiver, task("x")).await;
        let asks = json!({ "key": "x", "action": { "condition": {
            "predicate": { "has": ["PHONE"] }, "yes": "end", "no": "end" } } });
        edited(&h, &id, asks).await;
        settle(&h, &receiver).await;
        assert_eq!(state(&h, &lead).await["status"], "COMPLETED");
    }
);

both!(
    an_email_that_becomes_a_task_is_given,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let mut later = email("x", &ada);
        later["wait"] = json!("P1D");
        let (id, lead) = waiting(&h, &receiver, later).await;
        edited(&h, &id, task("x")).await;
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::days(1));
        settle(&h, &receiver).await;
        assert_eq!(tasks(&h).await, json!([{ "status": "OPEN" }]));
        assert_eq!(state(&h, &lead).await["status"], "IN_PROGRESS");
    }
);

both!(
    nobody_is_to_work_for_a_lead_that_left,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let (_, lead) = waiting(&h, &receiver, task("x")).await;
        bulk(&h, "leadsRemove", json!({ "ids": [lead] })).await;
        assert_eq!(tasks(&h).await, json!([{ "status": "EXPIRED" }]));
    }
);
