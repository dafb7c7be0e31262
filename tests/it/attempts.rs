//! A message that is to be tried again, and is not.

use cadenza::domain::outcome::{Outcome, Phase};
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine};
use chrono::{Duration, SecondsFormat};
use entity::lead;
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::enrol::suppress;
use crate::harness::{Harness, both};
use crate::pains::{Receiver, enrol, node};
use crate::publishing::edit;
use crate::sequences::{done, flow, published, sender};
use crate::steps::{at, email, person, running, seen};

/// The one execution there is: what its attempt says of itself, and how it stands.
async fn execution(h: &Harness) -> (Value, Value) {
    let query = "{ executions(first: 2) { nodes {
        stepKey attempt variant subject messageId scheduledAt startedAt sender { id }
        status error { code message response } finishedAt } } }";
    let mut data = h.data(query, json!({})).await;
    let nodes = data["executions"]["nodes"].as_array_mut().expect("nodes");
    assert_eq!(nodes.len(), 1);
    let mut all = nodes.remove(0);
    let fields = all.as_object_mut().expect("an execution");
    let stands = ["status", "error", "finishedAt"];
    let stands = stands.map(|name| (name.to_owned(), fields.remove(name).expect("a field")));
    (all, Value::from_iter(stands))
}

/// A day later, the worker being alive.
async fn next_day(h: &Harness, engine: &Engine) {
    h.clock.advance_to(h.clock.now() + Duration::days(1));
    engine.prolong().await.expect("a sign of life");
}

async fn claim(engine: &Engine) -> Vec<Claimed> {
    let claim = engine.claim(10, &|_| 10).await.expect("claims");
    claim.messages
}

/// What is claimed is refused for now.
async fn refuse(engine: &Engine, claimed: Vec<Claimed>) {
    let refused = Outcome::refused(Phase::Rcpt, 451, "4.3.0 come again");
    let ended: Vec<_> = claimed
        .into_iter()
        .map(|claimed| (claimed, Ending::Dispatched(refused.clone(), None)))
        .collect();
    assert_eq!(ended.len(), 1);
    engine.record(&ended).await.expect("records");
}

/// A published sequence of two steps, and the claim of the first message of its only lead.
async fn claimed(h: &Harness) -> (Engine, String, String, Vec<Claimed>) {
    let engine = node(h, &Receiver::default()).await;
    let person = json!({ "email": "ada@example.org" });
    h.mutate("personCreate", "PersonInput", person, "person { id }")
        .await;
    let (sequence, sender) = published(h, &["a", "b"]).await;
    enrol(h, &json!(sequence), "ada").await;
    next_day(h, &engine).await;
    let claimed = claim(&engine).await;
    (engine, sequence, sender, claimed)
}

fn finished_now(h: &Harness) -> String {
    let now = h.clock.now();
    now.to_rfc3339_opts(SecondsFormat::Millis, true)
}

both!(
    an_attempt_that_a_suppression_forbids_leaves_the_one_before_as_it_was,
    |h: Harness| async move {
        let (engine, _, _, claimed) = claimed(&h).await;
        refuse(&engine, claimed).await;
        let (before, stood) = execution(&h).await;
        assert_eq!(
            (&before["attempt"], &before["subject"], &stood["status"]),
            (&json!(1), &json!("Subject of a"), &json!("SCHEDULED"))
        );
        suppress(&h, "ada@example.org", "UNSUBSCRIBED").await;
        next_day(&h, &engine).await;
        assert!(claim(&engine).await.is_empty());
        let (after, stands) = execution(&h).await;
        assert_eq!(after, before);
        let message = stands["error"]["message"].as_str().expect("words");
        assert!(message.starts_with("The person's email address must not be contacted"));
        let error = json!({ "code": "SUPPRESSED", "message": message,
                            "response": stood["error"]["response"] });
        assert_eq!(
            stands,
            json!({ "status": "SKIPPED", "error": error, "finishedAt": finished_now(&h) })
        );
    }
);

both!(
    an_attempt_of_a_step_that_is_gone_leaves_the_one_before_as_it_was,
    |h: Harness| async move {
        let (engine, sequence, sender, claimed) = claimed(&h).await;
        // The message is on its way while its step is taken out.
        let publish = edit(&h, &sequence, flow(&["b"], &[&sender])).await;
        done(&h, "sequencePublish", publish).await;
        refuse(&engine, claimed).await;
        let (before, stood) = execution(&h).await;
        assert_eq!(stood["status"], "SCHEDULED");
        next_day(&h, &engine).await;
        // In one claim the lead leaves the step; what it is due for next is another claim's.
        assert!(claim(&engine).await.is_empty());
        let (after, stands) = execution(&h).await;
        assert_eq!(after, before);
        assert_eq!(
            (
                &stands["status"],
                &stands["error"]["code"],
                &stands["finishedAt"]
            ),
            (
                &json!("FAILED"),
                &json!("INTERRUPTED"),
                &json!(finished_now(&h))
            )
        );
        assert_eq!(stands["error"]["response"], stood["error"]["response"]);
    }
);

/// What becomes of a lead whose message was on its way, and was refused for now, while its sequence was
/// published with these flows, one after the other: how its row stands, why it stopped, and its step.
async fn taken_out(h: &Harness, editions: &[(&[&str], Value)]) -> [Option<String>; 3] {
    let (engine, sequence, sender, claimed) = claimed(h).await;
    for (keys, policy) in editions {
        let mut publish = edit(h, &sequence, flow(keys, &[&sender])).await;
        publish["onRemovedStep"] = policy.clone();
        done(h, "sequencePublish", publish).await;
    }
    refuse(&engine, claimed).await;
    next_day(h, &engine).await;
    assert!(claim(&engine).await.is_empty());
    let found = lead::Entity::find().one(h.services.db.read()).await;
    let lead = found.expect("readable").expect("there");
    [Some(lead.status), lead.stop_reason, lead.step_key]
}

fn stands(status: &str, reason: Option<&str>, step: Option<&str>) -> [Option<String>; 3] {
    [Some(status), reason, step].map(|text| text.map(str::to_owned))
}

fn map(from: &str, to: &str) -> Value {
    json!({ "map": [{ "from": from, "to": to }] })
}

both!(
    whoever_comes_back_to_a_step_that_is_gone_goes_where_the_map_says,
    |h: Harness| async move {
        let stood = taken_out(&h, &[(&["b", "c"], map("a", "c"))]).await;
        assert_eq!(stood, stands("ACTIVE", None, Some("c")));
    }
);

both!(
    whoever_comes_back_to_a_step_that_is_gone_follows_every_map_since,
    |h: Harness| async move {
        let editions: [(&[&str], Value); 2] =
            [(&["b", "c"], map("a", "c")), (&["b"], map("c", "b"))];
        let stood = taken_out(&h, &editions).await;
        assert_eq!(stood, stands("ACTIVE", None, Some("b")));
    }
);

both!(
    whoever_comes_back_to_a_step_that_is_gone_stops_where_all_did,
    |h: Harness| async move {
        let stood = taken_out(&h, &[(&["b"], json!({ "stop": true }))]).await;
        assert_eq!(stood, stands("STOPPED", Some("STEP_REMOVED"), Some("a")));
    }
);

both!(
    whoever_comes_back_to_a_step_that_is_gone_has_finished_where_nothing_is_left,
    |h: Harness| async move {
        let stood = taken_out(&h, &[(&["c"], json!({ "next": true }))]).await;
        assert_eq!(stood, stands("COMPLETED", None, None));
        let query = "{ events(first: 9, filter: { kinds: [LEAD_COMPLETED] }) { detail } }";
        let told = h.data(query, json!({})).await["events"][0]["detail"].take();
        assert_eq!(told, json!({ "from": "a", "reason": "STEP_REMOVED" }));
    }
);

both!(
    a_first_message_that_is_to_be_tried_again_has_not_used_up_the_days_new_leads,
    |h: Harness| async move {
        let engine = node(&h, &Receiver::default()).await;
        let ada = sender(&h, "ada").await;
        let steps = json!([email("hello", "PT0S", &[&ada])]);
        let one = person(&h, json!({ "email": "one@example.org" })).await;
        let leads = running(&h, steps, json!({ "maxNewLeadsPerDay": 1 }), &[&one]).await;
        let day = h.clock.now().date_naive();
        refuse(&engine, claim(&engine).await).await;
        let blockers = seen(&h, &leads[0]).await["blockers"].take();
        let codes: Vec<_> = blockers.as_array().expect("blockers").iter().collect();
        assert_eq!(codes.len(), 1, "{codes:?}");
        assert_eq!(codes[0]["code"], "RETRYING");
        h.clock.advance_to(at(&codes[0]["until"]));
        assert_eq!(h.clock.now().date_naive(), day, "the same day");
        engine.prolong().await.expect("a sign of life");
        // It is the day's one new lead now, and once only.
        assert_eq!(claim(&engine).await.len(), 1);
    }
);
