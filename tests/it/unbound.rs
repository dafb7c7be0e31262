//! Leads that nobody has written to on a channel: any sender of their step may be the first.

use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, settle};
use crate::publishing::edit;
use crate::sequences::{done, sender};
use crate::steps::{number, person, ran, running, seen};

fn sms(key: &str, numbers: &[String]) -> Value {
    json!({ "key": key, "wait": "P1D", "action": { "sms": { "senderIds": numbers,
        "variants": [{ "body": format!("Text of {key}") }] } } })
}

async fn enable(h: &Harness, sender: &str, enabled: bool) {
    let input = json!({ "id": sender, "enabled": enabled });
    h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
        .await;
}

/// Who sent the lead's texts, by their ids, oldest first.
async fn texters(h: &Harness, lead: &str) -> Vec<String> {
    let query =
        "query($id: ID!) { lead(id: $id) { executions { nodes { channel sender { id } } } } }";
    let found = h.data(query, json!({ "id": lead })).await;
    let nodes = found["lead"]["executions"]["nodes"].as_array();
    let texts = nodes.expect("executions").iter();
    let texts = texts.filter(|node| node["channel"] == "SMS");
    texts
        .map(|node| node["sender"]["id"].as_str().expect("a sender").to_owned())
        .collect()
}

both!(
    a_number_that_is_off_keeps_nobody_who_never_heard_from_it,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let numbers = [number(&h, "SMS").await, number(&h, "SMS").await];
        let mut people = Vec::new();
        for n in 0..8 {
            let fields = json!({ "email": format!("p{n}@example.com"),
                                 "phone": format!("+35191000000{n}") });
            people.push(person(&h, fields).await);
        }
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let steps = json!([
            crate::steps::email("hello", "PT0S", &[&ada]),
            sms("first", &numbers),
            sms("second", &numbers)
        ]);
        let leads = running(&h, steps, json!({}), &people).await;
        settle(&h, &receiver).await;
        enable(&h, &numbers[0], false).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        // Every lead's first text comes from the number that is there.
        for lead in &leads {
            assert_eq!(texters(&h, lead).await, [numbers[1].as_str()]);
        }
        enable(&h, &numbers[0], true).await;
        enable(&h, &numbers[1], false).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        // By then all are bound to it, and wait for it.
        for lead in &leads {
            assert_eq!(ran(&seen(&h, lead).await).len(), 2);
        }
        enable(&h, &numbers[1], true).await;
        settle(&h, &receiver).await;
        for lead in &leads {
            assert_eq!(texters(&h, lead).await, [numbers[1].as_str(), &numbers[1]]);
        }
    }
);

both!(
    who_is_named_again_gets_back_those_it_wrote_to,
    |h: Harness| async move {
        let (receiver, ada, bob) = (
            Receiver::default(),
            sender(&h, "ada").await,
            sender(&h, "bob").await,
        );
        let who = person(&h, json!({ "email": "p@example.com" })).await;
        let email = crate::steps::email;
        let flow =
            |second: &[&str]| json!([email("one", "PT0S", &[&ada]), email("two", "P1D", second)]);
        let lead = running(&h, flow(&[&ada, &bob]), json!({}), &[&who])
            .await
            .remove(0);
        settle(&h, &receiver).await;
        let sequence = "query($id: ID!) { lead(id: $id) { sequence { id } } }";
        let sequence = h.data(sequence, json!({ "id": lead })).await;
        let sequence = sequence["lead"]["sequence"]["id"].as_str().expect("an id");
        // Without Ada the lead is Bob's, who is off; then she is there again.
        let publish = edit(&h, sequence, json!({ "steps": flow(&[&bob]) })).await;
        done(&h, "sequencePublish", publish).await;
        enable(&h, &bob, false).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        let publish = edit(&h, sequence, json!({ "steps": flow(&[&ada, &bob]) })).await;
        done(&h, "sequencePublish", publish).await;
        settle(&h, &receiver).await;
        let seen = seen(&h, &lead).await;
        let nodes = seen["executions"]["nodes"].as_array().expect("executions");
        let senders: Vec<&Value> = nodes.iter().map(|node| &node["sender"]["name"]).collect();
        assert_eq!(senders, ["ada", "ada"], "an answer finds who wrote");
    }
);

both!(
    a_step_by_others_is_shared_by_them,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let (bob, cid) = (sender(&h, "bob").await, sender(&h, "cid").await);
        let mut people = Vec::new();
        for n in 0..8 {
            people.push(person(&h, json!({ "email": format!("p{n}@example.com") })).await);
        }
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let email = crate::steps::email;
        let steps = json!([
            email("one", "PT0S", &[&ada]),
            email("two", "P1D", &[&bob, &cid]),
            email("three", "P1D", &[&bob, &cid])
        ]);
        let leads = running(&h, steps, json!({}), &people).await;
        settle(&h, &receiver).await;
        // Half of the leads stand with Bob, who has written to none of them.
        enable(&h, &bob, false).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        enable(&h, &bob, true).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        for lead in &leads {
            let seen = seen(&h, lead).await;
            let nodes = seen["executions"]["nodes"].as_array().expect("executions");
            let senders: Vec<&Value> = nodes.iter().map(|node| &node["sender"]["name"]).collect();
            assert_eq!(
                senders,
                ["cid", "cid", "ada"],
                "whoever wrote first goes on"
            );
        }
    }
);
