//! Whom a sequence takes that must not be contacted on some of its channels.

use cadenza::domain::outcome::Outcome;
use cadenza::engine::record::Ending;
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::{codes, enrol, suppress_on};
use crate::harness::{Harness, both};
use crate::pains::{Receiver, node, settle};
use crate::sequences::done;

const PHONE: &str = "+351912345678";

/// A sender of the channel, which keeps its messages.
async fn sender(h: &Harness, channel: &str) -> String {
    let address = match channel {
        "EMAIL" => "ada@example.com",
        _ => "+351911111111",
    };
    let input = json!({ "name": "Ada", "channel": channel, "address": address,
                        "transport": { "outbox": {} } });
    let made = h
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await;
    made["sender"]["id"].as_str().expect("an id").to_owned()
}

/// A published sequence with a step for each of the channels, one after the other.
async fn sequence(h: &Harness, channels: &[&str]) -> String {
    let mut steps = Vec::new();
    for (number, channel) in channels.iter().enumerate() {
        let (key, next) = (format!("s{number}"), format!("s{}", number + 1));
        let action = match *channel {
            "EMAIL" => {
                json!({ "email": { "senderIds": [sender(h, channel).await],
                    "variants": [{ "subject": "Hello", "text": "Hi" }] } })
            }
            "SMS" | "WHATSAPP" => {
                let message = json!({ "senderIds": [sender(h, channel).await],
                    "variants": [{ "body": "Hi" }] });
                json!({ (channel.to_lowercase()): message })
            }
            _ => json!({ "task": { "channel": channel, "title": "Look" } }),
        };
        let mut step = json!({ "key": key, "action": action });
        if number + 1 < channels.len() {
            step["next"] = json!(next);
        }
        steps.push(step);
    }
    let input = json!({ "name": channels.join(" "), "flow": { "steps": steps },
                        "settings": crate::blockers::always() });
    let id = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": id })).await;
    id.as_str().expect("an id").to_owned()
}

async fn person(h: &Harness, input: Value) -> String {
    let made = h
        .mutate("personCreate", "PersonInput", input, "person { id }")
        .await;
    made["person"]["id"].as_str().expect("an id").to_owned()
}

/// What enrolling the person comes to in sequences of these channels.
async fn are(h: &Harness, person: &str, expected: &[(&[&str], &str)]) {
    for (channels, code) in expected {
        let sequence = sequence(h, channels).await;
        let operation = enrol(h, &sequence, json!({ "ids": [person] })).await;
        assert_eq!(codes(&operation), [*code], "{channels:?}: {operation:#}");
    }
}

both!(
    who_opted_out_of_the_only_channel_is_not_enrolled,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        suppress_on(&h, "SMS", PHONE, "UNSUBSCRIBED").await;
        are(
            &h,
            &ada,
            &[
                (&["SMS"], "OPTED_OUT"),
                (&["SMS", "SMS"], "OPTED_OUT"),
                // Work for the team contacts nobody.
                (&["SMS", "TASK"], "OPTED_OUT"),
                (&["TASK"], "DONE"),
                // An opt-out is of one channel.
                (&["WHATSAPP"], "DONE"),
                (&["SMS", "WHATSAPP"], "DONE"),
                (&["EMAIL", "SMS"], "DONE"),
                (&["CALL", "SMS"], "DONE"),
                // There is no page, so that only the SMS would be left.
                (&["LINKEDIN", "SMS"], "OPTED_OUT"),
            ],
        )
        .await;
        suppress_on(&h, "WHATSAPP", PHONE, "BOUNCED").await;
        are(
            &h,
            &ada,
            &[
                (&["WHATSAPP"], "SUPPRESSED"),
                (&["WHATSAPP", "SMS"], "OPTED_OUT"),
            ],
        )
        .await;
    }
);

both!(
    a_number_that_refuses_for_good_is_not_enrolled_and_another_channel_does_not_count,
    |h: Harness| async move {
        let ada = person(&h, json!({ "phone": PHONE })).await;
        suppress_on(&h, "SMS", PHONE, "BOUNCED").await;
        are(
            &h,
            &ada,
            &[
                (&["SMS"], "SUPPRESSED"),
                // There is no email address either.
                (&["EMAIL", "SMS"], "SUPPRESSED"),
                (&["EMAIL"], "NO_ADDRESS"),
            ],
        )
        .await;
    }
);

both!(
    who_must_not_get_emails_is_not_enrolled_into_a_sequence_that_emails,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        suppress_on(&h, "EMAIL", "ada@example.org", "UNSUBSCRIBED").await;
        are(
            &h,
            &ada,
            &[
                (&["SMS"], "DONE"),
                (&["SMS", "EMAIL"], "OPTED_OUT"),
                (&["EMAIL"], "OPTED_OUT"),
            ],
        )
        .await;
    }
);

/// The leads of a sequence, and what was done for them in order.
async fn told(h: &Harness, sequence: &str) -> Value {
    let query = "query($filter: LeadFilter) { leads(filter: $filter) { nodes {
        status stopReason messagesSent engagement { bounced unsubscribed }
        executions { nodes { stepKey status error { code } } } } } }";
    let filter = json!({ "filter": { "sequenceIds": [sequence] } });
    let mut data = h.data(query, filter).await;
    let mut lead = data["leads"]["nodes"][0].take();
    let executions = lead["executions"]["nodes"].as_array_mut().expect("a list");
    executions.sort_by_key(|one| one["stepKey"].as_str().map(str::to_owned));
    let done: Vec<String> = executions
        .iter()
        .map(|one| {
            let word = |value: &Value| value.as_str().unwrap_or("-").to_owned();
            format!("{} {}", word(&one["status"]), word(&one["error"]["code"]))
        })
        .collect();
    lead["executions"] = json!(done);
    lead
}

async fn kinds(h: &Harness) -> Vec<String> {
    let data = h.data("{ events { kind } }", json!({})).await;
    let events = data["events"].as_array().expect("events").iter();
    let kinds = events.filter_map(|event| event["kind"].as_str());
    kinds.map(str::to_owned).collect()
}

async fn lead_of(h: &Harness, channels: &[&str], person: &str) -> String {
    let id = sequence(h, channels).await;
    let operation = enrol(h, &id, json!({ "ids": [person] })).await;
    assert_eq!(codes(&operation), ["DONE"], "{operation:#}");
    id
}

fn completed(messages: usize, executions: &[&str]) -> Value {
    json!({ "status": "COMPLETED", "stopReason": null, "messagesSent": messages,
            "engagement": { "bounced": false, "unsubscribed": false },
            "executions": executions })
}

both!(
    who_opted_out_of_one_of_two_channels_is_sent_the_other,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        suppress_on(&h, "SMS", PHONE, "UNSUBSCRIBED").await;
        let sequence = lead_of(&h, &["SMS", "WHATSAPP", "SMS"], &ada).await;
        // What is suppressed while the lead runs, by whatever else the person does, is passed by, too.
        let emails = lead_of(&h, &["EMAIL", "WHATSAPP"], &ada).await;
        suppress_on(&h, "EMAIL", "ada@example.org", "BOUNCED").await;
        h.clock.advance_to(h.clock.now() + Duration::days(1));
        settle(&h, &Receiver::default()).await;
        let passed = "SKIPPED SUPPRESSED";
        assert_eq!(
            told(&h, &sequence).await,
            completed(1, &[passed, "SENT -", passed])
        );
        assert_eq!(told(&h, &emails).await, completed(1, &[passed, "SENT -"]));
        assert!(!kinds(&h).await.contains(&"LEAD_STOPPED".to_owned()));
    }
);

both!(
    a_contact_that_answers_stop_has_opted_out_and_did_not_bounce,
    |h: Harness| async move {
        let ada = person(&h, json!({ "phone": PHONE })).await;
        let other = lead_of(&h, &["SMS", "WHATSAPP"], &ada).await;
        let engine = node(&h, &Receiver::default()).await;
        let claim = engine.claim(9, &|_| 9).await.expect("claims");
        // It is on its way while the other lead's message is answered with STOP.
        let on_its_way = claim.messages;
        let stopped = lead_of(&h, &["SMS", "WHATSAPP"], &ada).await;
        let claim = engine.claim(9, &|_| 9).await.expect("claims");
        let refused = Outcome::refused_by_api(400, Some(21_610), "unsubscribed recipient", None);
        let ended: Vec<_> = claim
            .messages
            .into_iter()
            .map(|claimed| (claimed, Ending::Dispatched(refused.clone(), None)))
            .collect();
        engine.record(&ended).await.expect("records");
        assert_eq!(
            told(&h, &stopped).await,
            json!({ "status": "STOPPED", "stopReason": "UNSUBSCRIBED", "messagesSent": 0,
                    "engagement": { "bounced": false, "unsubscribed": true },
                    "executions": ["FAILED SUPPRESSED"] })
        );
        let kinds = kinds(&h).await;
        assert!(kinds.contains(&"UNSUBSCRIBED".to_owned()), "{kinds:?}");
        assert!(!kinds.contains(&"BOUNCED".to_owned()), "{kinds:?}");
        h.clock.advance_to(h.clock.now() + Duration::minutes(1));
        let released: Vec<_> = on_its_way
            .into_iter()
            .map(|claimed| (claimed, Ending::Released))
            .collect();
        assert!(!engine.may_leave(&released[0].0).await.expect("looks"));
        engine.record(&released).await.expect("records");
        settle(&h, &Receiver::default()).await;
        let passed = completed(1, &["SKIPPED SUPPRESSED", "SENT -"]);
        assert_eq!(told(&h, &other).await, passed);
        are(
            &h,
            &ada,
            &[(&["SMS"], "OPTED_OUT"), (&["WHATSAPP"], "DONE")],
        )
        .await;
    }
);

const PAGE: &str = "https://social.example.com/in/ada";

both!(
    a_person_without_a_linkedin_page_is_given_no_linkedin_task,
    |h: Harness| async move {
        for (policy, status, hold, execution) in [
            (
                "SKIP",
                "COMPLETED",
                None,
                vec!["SKIPPED MISSING_LINKEDIN_URL"],
            ),
            ("HOLD", "PENDING", Some("MISSING_ADDRESS"), vec![]),
            (
                "STOP",
                "STOPPED",
                None,
                vec!["SKIPPED MISSING_LINKEDIN_URL"],
            ),
        ] {
            let ada = person(&h, json!({ "email": format!("{policy}@example.org") })).await;
            let step = json!({ "key": "visit", "onMissingAddress": policy,
                "action": { "task": { "channel": "LINKEDIN", "title": "Visit" } } });
            // Work that contacts nobody, so that everybody is taken.
            let work = json!({ "key": "a", "action": { "task": { "title": "Look",
                "timeout": "PT1H" } } });
            let input = json!({ "name": policy, "flow": { "steps": [work, step] },
                                "settings": crate::blockers::always() });
            let id = done(&h, "sequenceCreate", input).await["id"].take();
            done(&h, "sequencePublish", json!({ "id": id })).await;
            let id = id.as_str().expect("an id");
            enrol(&h, id, json!({ "ids": [ada] })).await;
            settle(&h, &Receiver::default()).await;
            h.clock.advance_to(h.clock.now() + Duration::hours(1));
            settle(&h, &Receiver::default()).await;
            let query = "query($filter: LeadFilter) { leads(filter: $filter) { nodes {
                status blockers { code } } } }";
            let filter = json!({ "filter": { "sequenceIds": [id] } });
            let found = h.data(query, filter).await["leads"]["nodes"][0].take();
            assert_eq!(found["status"], status, "{policy}: {found:#}");
            let code = found["blockers"][0]["code"].as_str();
            assert_eq!(code, hold, "{policy}: {found:#}");
            let mut all = vec!["SKIPPED -"];
            all.extend(execution);
            assert_eq!(told(&h, id).await["executions"], json!(all), "{policy}");
            if hold.is_some() {
                let set = json!({ "id": ada, "set": { "linkedinUrl": PAGE } });
                h.mutate("personUpdate", "PersonUpdateInput", set, "person { id }")
                    .await;
                settle(&h, &Receiver::default()).await;
                assert_eq!(tasks(&h).await, ["Look", "Visit"]);
            }
        }
    }
);

/// The titles of the tasks whose channel is LINKEDIN, or that came before them.
async fn tasks(h: &Harness) -> Vec<String> {
    let data = h.data("{ tasks { nodes { title } } }", json!({})).await;
    let nodes = data["tasks"]["nodes"].as_array().expect("tasks").iter();
    let titles = nodes.filter_map(|task| task["title"].as_str().map(str::to_owned));
    let titles: std::collections::BTreeSet<String> = titles.collect();
    titles.into_iter().collect()
}

both!(
    who_must_not_be_contacted_on_linkedin_is_passed_by_there,
    |h: Harness| async move {
        let ada = person(&h, json!({ "linkedinUrl": PAGE, "phone": PHONE })).await;
        suppress_on(&h, "LINKEDIN", PAGE, "UNSUBSCRIBED").await;
        are(
            &h,
            &ada,
            &[
                (&["LINKEDIN"], "OPTED_OUT"),
                (&["LINKEDIN", "TASK"], "OPTED_OUT"),
            ],
        )
        .await;
        let sequence = lead_of(&h, &["LINKEDIN", "SMS"], &ada).await;
        settle(&h, &Receiver::default()).await;
        assert_eq!(
            told(&h, &sequence).await,
            completed(1, &["SKIPPED SUPPRESSED", "SENT -"])
        );
        assert_eq!(tasks(&h).await, Vec::<String>::new());
        // Neither does an opt-out from calls close it, nor the other way round.
        let bob = person(
            &h,
            json!({ "linkedinUrl": format!("{PAGE}-b"), "phone": "+351912345679" }),
        );
        let bob = bob.await;
        suppress_on(&h, "CALL", "+351912345679", "UNSUBSCRIBED").await;
        lead_of(&h, &["CALL", "LINKEDIN"], &bob).await;
        settle(&h, &Receiver::default()).await;
        assert_eq!(tasks(&h).await, ["Look"]);
    }
);
