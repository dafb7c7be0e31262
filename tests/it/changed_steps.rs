//! Steps that are of another kind after an edit, and leads that leave while somebody has work to do.

use cadenza::domain::outcome::{Outcome, Phase};
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::enrol::{enrol, people};
use crate::harness::{Harness, both};
use crate::leads::bulk;
use crate::pains::{Receiver, node, settle};
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
    waiting_in(h, receiver, json!([step])).await
}

/// The same of several steps: it rests at the first.
async fn waiting_in(h: &Harness, receiver: &Receiver, steps: Value) -> (String, String) {
    let input = json!({ "name": "Work", "flow": { "steps": steps },
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
        h.clock.advance_to(h.clock.now() + Duration::days(1));
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

/// A lead whose email at `x` is on its way while the sequence is published again with these steps, and
/// its sender is switched off.
struct InFlight {
    engine: Engine,
    lead: String,
    claimed: Claimed,
}

impl InFlight {
    async fn new(h: &Harness, before: Value, after: Value, sender: &str) -> Self {
        let input = json!({ "name": "Work", "flow": { "steps": before },
                            "settings": crate::blockers::always() });
        let id = done(h, "sequenceCreate", input).await["id"].take();
        done(h, "sequencePublish", json!({ "id": id })).await;
        let ids = people(h, &["ada"]).await;
        enrol(h, id.as_str().expect("an id"), json!({ "ids": ids })).await;
        let engine = node(h, &Receiver::default()).await;
        let claim = engine.claim(10, &|_| 10).await.expect("claims");
        let claimed = claim.messages.into_iter().next().expect("a message");
        done(h, "sequenceDisable", json!({ "id": id })).await;
        let flow = json!({ "id": id, "flow": { "steps": after } });
        done(h, "sequenceUpdate", flow).await;
        done(h, "sequencePublish", json!({ "id": id })).await;
        let off = json!({ "id": sender, "enabled": false });
        h.mutate("senderUpdate", "SenderUpdateInput", off, "sender { id }")
            .await;
        Self {
            engine,
            lead: claimed.lead.lead_id().to_string(),
            claimed,
        }
    }

    async fn ends(self, ending: Ending) {
        let ended = [(self.claimed, ending)];
        self.engine.record(&ended).await.expect("records");
    }
}

/// The email ends like this, and its step is a task by now: that is given, though the sender is off.
async fn is_given_after(h: &Harness, ending: Ending) {
    let ada = sender(h, "ada").await;
    let (before, after) = (json!([email("x", &ada)]), json!([task("x")]));
    let flight = InFlight::new(h, before, after, &ada).await;
    let lead = flight.lead.clone();
    flight.ends(ending).await;
    h.clock.advance_to(h.clock.now() + Duration::days(1));
    settle(h, &Receiver::default()).await;
    assert_eq!(tasks(h).await, json!([{ "status": "OPEN" }]));
    assert_eq!(state(h, &lead).await["status"], "IN_PROGRESS");
}

both!(
    an_email_that_did_not_leave_and_became_a_task_waits_for_no_sender,
    |h: Harness| async move {
        is_given_after(&h, Ending::Released).await;
    }
);

both!(
    an_email_that_is_to_be_tried_again_and_became_a_task_waits_for_no_sender,
    |h: Harness| async move {
        let later = Outcome::refused(Phase::Rcpt, 451, "4.3.0 come again");
        is_given_after(&h, Ending::Dispatched(later, None)).await;
    }
);

both!(
    an_email_whose_sender_had_trouble_and_that_became_a_task_waits_for_no_sender,
    |h: Harness| async move {
        let trouble = Outcome::refused(Phase::Auth, 535, "5.7.8 wrong password");
        is_given_after(&h, Ending::Dispatched(trouble, None)).await;
    }
);

both!(
    a_message_whose_step_is_gone_goes_on_without_its_sender,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let before = json!([{ "key": "x", "action": email("x", &ada)["action"], "next": "y" },
                            task("y")]);
        let flight = InFlight::new(&h, before, json!([task("y")]), &ada).await;
        let lead = flight.lead.clone();
        flight.ends(Ending::Released).await;
        settle(&h, &Receiver::default()).await;
        assert_eq!(state(&h, &lead).await["status"], "IN_PROGRESS");
        assert_eq!(tasks(&h).await, json!([{ "status": "OPEN" }]));
    }
);

both!(
    a_message_that_is_settled_as_unsent_and_is_a_task_now_waits_for_no_sender,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let (before, after) = (json!([email("x", &ada)]), json!([task("x")]));
        let flight = InFlight::new(&h, before, after, &ada).await;
        let (lead, id) = (flight.lead.clone(), flight.claimed.execution_id);
        let reason = "the line went dead".to_owned();
        let lost = Ending::Dispatched(Outcome::Ambiguous { reason }, None);
        flight.ends(lost).await;
        settle(&h, &Receiver::default()).await;
        assert_eq!(tasks(&h).await, json!([]), "somebody must settle it first");
        let input = json!({ "id": id, "wasSent": false });
        h.mutate(
            "executionResolve",
            "ExecutionResolveInput",
            input,
            "execution { status }",
        )
        .await;
        settle(&h, &Receiver::default()).await;
        assert_eq!(tasks(&h).await, json!([{ "status": "OPEN" }]));
        assert_eq!(state(&h, &lead).await["status"], "IN_PROGRESS");
    }
);

/// Takes the step at which somebody is at work out, before one with a wait of three days.
async fn removed(h: &Harness, step: Value, is_paused: bool) {
    let (receiver, ada) = (Receiver::default(), sender(h, "ada").await);
    let mut next = email("y", &ada);
    next["wait"] = json!("P3D");
    let (id, lead) = waiting_in(h, &receiver, json!([step, next])).await;
    if is_paused {
        bulk(h, "leadsPause", json!({ "ids": [lead] })).await;
    }
    edited(h, &id, next).await;
    if is_paused {
        bulk(h, "leadsResume", json!({ "ids": [lead] })).await;
    }
    let due = "query($id: ID!) { lead(id: $id) { dueAt currentStep { key } } }";
    let told = h.data(due, json!({ "id": lead })).await["lead"].take();
    assert_eq!(told["currentStep"]["key"], "y");
    let due_at: DateTime<Utc> = serde_json::from_value(told["dueAt"].clone()).expect("an instant");
    assert_eq!(due_at, h.clock.now() + Duration::days(3));
    settle(h, &receiver).await;
    assert_eq!(receiver.count(), 0, "its wait has only begun");
    h.clock.advance_to(due_at);
    settle(h, &receiver).await;
    assert_eq!(receiver.count(), 1);
}

both!(
    after_a_task_that_is_removed_the_next_steps_wait_begins,
    |h: Harness| async move { removed(&h, task("x"), false).await }
);

both!(
    after_a_paused_task_that_is_removed_the_next_steps_wait_begins,
    |h: Harness| async move { removed(&h, task("x"), true).await }
);

both!(
    after_a_condition_that_is_removed_the_next_steps_wait_begins,
    |h: Harness| async move {
        let asks = json!({ "key": "x", "action": { "condition": { "within": "P9D",
            "predicate": { "has": ["PHONE"] }, "yes": "y", "no": "y" } } });
        removed(&h, asks, false).await;
    }
);
