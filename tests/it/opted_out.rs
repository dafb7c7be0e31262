//! Whom a sequence takes that must not be contacted on some of its channels.

use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::{codes, enrol, suppress_on};
use crate::harness::{Harness, both};
use crate::pains::{Receiver, settle};
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

both!(
    who_opted_out_of_one_of_two_channels_stops_where_that_comes,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        suppress_on(&h, "SMS", PHONE, "UNSUBSCRIBED").await;
        are(&h, &ada, &[(&["EMAIL", "SMS"], "DONE")]).await;
        h.clock.advance_to(h.clock.now() + Duration::days(1));
        settle(&h, &Receiver::default()).await;
        let query = "{ leads { nodes { status stopReason
            executions { nodes { channel status error { code } } } } } }";
        let lead = h.data(query, json!({})).await["leads"]["nodes"][0].take();
        assert_eq!(
            (&lead["status"], &lead["stopReason"]),
            (&json!("STOPPED"), &json!("SUPPRESSED"))
        );
        let mut executions = lead["executions"]["nodes"].clone();
        let executions = executions.as_array_mut().expect("a list");
        executions.sort_by_key(|one| one["channel"].as_str().map(str::to_owned));
        let suppressed = json!({ "code": "SUPPRESSED" });
        assert_eq!(
            executions[..],
            [
                json!({ "channel": "EMAIL", "status": "SENT", "error": null }),
                json!({ "channel": "SMS", "status": "SKIPPED", "error": suppressed }),
            ]
        );
    }
);
