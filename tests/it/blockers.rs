//! Why nothing has been sent to a lead that is due: each gate through the API, and until when it tells
//! that it is closed the engine sends nothing, and then it does.

use std::collections::BTreeMap;

use cadenza::domain::settings::Weekday;
use chrono::{DateTime, Duration, TimeZone, Utc};
use serde_json::{Value, json};

use crate::enrol::{enrol, people};
use crate::harness::{Harness, both};
use crate::leads::lead;
use crate::pains::{Receiver, node, turn};
use crate::sequences::{done, flow, sender};

/// Messages may leave at any time.
pub fn always() -> Value {
    let window = |day| json!({ "day": day, "from": "00:00", "to": "24:00" });
    json!({ "sendWindows": Weekday::ALL.map(window) })
}

fn at(day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    let at = Utc.with_ymd_and_hms(2026, 3, day, hour, minute, 0);
    at.single().expect("an instant")
}

/// Two leads of a sequence with these settings, both due on the third of March at nine.
pub struct Due {
    sender: String,
    pub leads: Vec<String>,
    receiver: Receiver,
}

impl Due {
    pub async fn new(h: &Harness, settings: Value) -> Self {
        let sender = sender(h, "ada").await;
        let input =
            json!({ "name": "Due", "flow": flow(&["one"], &[&sender]), "settings": settings });
        let sequence = done(h, "sequenceCreate", input).await["id"].take();
        done(h, "sequencePublish", json!({ "id": sequence })).await;
        let sequence = sequence.as_str().expect("an id");
        let ids = people(h, &["x", "y"]).await;
        enrol(h, sequence, json!({ "ids": ids })).await;
        let all = h
            .data("{ leads(first: 9) { nodes { id } } }", json!({}))
            .await;
        let nodes = all["leads"]["nodes"].as_array().expect("leads").iter();
        Self {
            sender,
            leads: nodes
                .map(|node| node["id"].as_str().expect("an id").to_owned())
                .collect(),
            receiver: Receiver::default(),
        }
    }

    pub async fn change_sender(&self, h: &Harness, change: Value) {
        let mut input = json!({ "id": self.sender });
        let change = change.as_object().cloned().unwrap_or_default();
        input.as_object_mut().expect("an object").extend(change);
        let answer = h
            .mutate(
                "senderUpdate",
                "SenderUpdateInput",
                input,
                "userErrors { message }",
            )
            .await;
        assert_eq!(answer["userErrors"], json!([]));
    }

    /// A node that enters now claims and sends once; answers how many messages.
    pub async fn turn(&self, h: &Harness) -> usize {
        let engine = node(h, &self.receiver).await;
        turn(&engine, &self.receiver, 50).await
    }

    /// The blockers of whoever has had no message, the same for each.
    async fn blockers(&self, h: &Harness) -> Vec<(String, Option<DateTime<Utc>>)> {
        let mut found = Vec::new();
        for id in &self.leads {
            let mut lead = lead(h, id).await;
            if lead["messagesSent"] == 0 {
                found.push(lead["blockers"].take());
            }
        }
        found.dedup();
        let [blockers] = &found[..] else {
            panic!("{found:?}");
        };
        let blockers = blockers.as_array().expect("a list").iter();
        let read = |blocker: &Value| {
            let until = blocker["until"]
                .as_str()
                .map(|at| at.parse().expect("an instant"));
            (blocker["code"].as_str().expect("a code").to_owned(), until)
        };
        blockers.map(read).collect()
    }

    /// This and nothing else is in the way, until then; nothing is sent before, and then it is.
    pub async fn is_blocked_by(&self, h: &Harness, code: &str, until: DateTime<Utc>) {
        assert_eq!(self.blockers(h).await, [(code.to_owned(), Some(until))]);
        assert_eq!(self.turn(h).await, 0);
        h.clock.advance_to(until - Duration::milliseconds(1));
        // The last moment of a holiday's night is no holiday; and who was seen to be outside its window
        // waits for the opening.
        let mut last: Vec<_> = self
            .blockers(h)
            .await
            .into_iter()
            .map(|(_, until)| until)
            .collect();
        last.dedup();
        assert_eq!(last, [Some(until)]);
        assert_eq!(self.turn(h).await, 0);
        h.clock.advance_to(until);
        assert_eq!(self.blockers(h).await, []);
        assert!(self.turn(h).await > 0, "{code} is over");
    }
}

both!(a_window_that_is_closed, |h: Harness| async move {
    let due = Due::new(&h, json!({})).await;
    let waiting = due.blockers(&h).await;
    assert_eq!(waiting, [("WAITING".to_owned(), Some(at(3, 9, 0)))]);
    h.clock.advance_to(at(3, 17, 0));
    due.is_blocked_by(&h, "OUTSIDE_WINDOW", at(4, 9, 0)).await;
});

both!(who_waits_for_a_window_is_told_so, |h: Harness| async move {
    // A Friday evening; a day later is a Saturday.
    h.clock.advance_to(at(6, 18, 0));
    let due = Due::new(&h, json!({})).await;
    let monday = Some(at(9, 9, 0));
    let expected = ["WAITING", "OUTSIDE_WINDOW"].map(|code| (code.to_owned(), monday));
    assert_eq!(due.blockers(&h).await, expected);
});

both!(
    a_night_that_is_over_before_the_wait_is_no_reason,
    |h: Harness| async move {
        h.clock.advance_to(at(9, 18, 0));
        let due = Due::new(&h, json!({})).await;
        let expected = [("WAITING".to_owned(), Some(at(11, 9, 0)))];
        assert_eq!(due.blockers(&h).await, expected);
    }
);

both!(a_holiday, |h: Harness| async move {
    let due = Due::new(&h, json!({ "holidays": ["2026-03-04"] })).await;
    h.clock.advance_to(at(4, 10, 0));
    due.is_blocked_by(&h, "HOLIDAY", at(5, 9, 0)).await;
});

both!(
    the_clock_that_the_settings_choose,
    |h: Harness| async move {
        let due = Due::new(
            &h,
            json!({ "timeZone": "Asia/Tokyo", "windowClock": "SENDER" }),
        )
        .await;
        due.change_sender(&h, json!({ "timeZone": "America/New_York" }))
            .await;
        h.clock.advance_to(at(3, 13, 0));
        // Nine in New York, before the clocks change there.
        due.is_blocked_by(&h, "OUTSIDE_WINDOW", at(3, 14, 0)).await;
    }
);

both!(the_cap_of_a_sender, |h: Harness| async move {
    let due = Due::new(&h, always()).await;
    due.change_sender(&h, json!({ "dailyCap": 1, "timeZone": "Asia/Tokyo" }))
        .await;
    h.clock.advance_to(at(3, 10, 0));
    assert_eq!(due.turn(&h).await, 1);
    // Midnight in Tokyo.
    due.is_blocked_by(&h, "SENDER_DAILY_CAP", at(3, 15, 0))
        .await;
});

/// A cap of one in the settings lets one message go, and no other on that day.
async fn is_capped(h: &Harness, cap: &str, code: &str) {
    let mut settings = always();
    settings[cap] = json!(1);
    let due = Due::new(h, settings).await;
    h.clock.advance_to(at(3, 10, 0));
    assert_eq!(due.turn(h).await, 1);
    due.is_blocked_by(h, code, at(4, 0, 0)).await;
}

both!(the_cap_of_a_sequence, |h: Harness| async move {
    is_capped(&h, "maxSendsPerDay", "SEQUENCE_DAILY_CAP").await;
});

both!(the_cap_of_new_leads, |h: Harness| async move {
    is_capped(&h, "maxNewLeadsPerDay", "NEW_LEADS_CAP").await;
});

both!(the_pace_of_a_sender, |h: Harness| async move {
    let due = Due::new(&h, always()).await;
    due.change_sender(&h, json!({ "minGap": "PT10M" })).await;
    h.clock.advance_to(at(3, 10, 0));
    assert_eq!(due.turn(&h).await, 1);
    due.is_blocked_by(&h, "SENDER_PACING", at(3, 10, 10)).await;
});

both!(a_shorter_pace_holds_at_once, |h: Harness| async move {
    let due = Due::new(&h, always()).await;
    due.change_sender(&h, json!({ "minGap": "PT1H" })).await;
    h.clock.advance_to(at(3, 10, 0));
    assert_eq!(due.turn(&h).await, 1);
    for (pace, until) in [
        // A longer one begins with the next message.
        (json!({ "minGap": "PT3H" }), at(3, 11, 0)),
        (
            json!({ "minGap": "PT5M", "gapJitter": "PT1M" }),
            at(3, 10, 6),
        ),
    ] {
        due.change_sender(&h, pace).await;
        let paced = [("SENDER_PACING".to_owned(), Some(until))];
        assert_eq!(due.blockers(&h).await, paced);
        assert_eq!(due.turn(&h).await, 0);
    }
    let none = json!({ "minGap": null, "gapJitter": null });
    due.change_sender(&h, none).await;
    assert_eq!(due.blockers(&h).await, []);
    assert_eq!(due.turn(&h).await, 1);
});

both!(
    a_cap_of_nothing_does_not_end_by_itself,
    |h: Harness| async move {
        let due = Due::new(&h, always()).await;
        due.change_sender(&h, json!({ "dailyCap": 0 })).await;
        h.clock.advance_to(at(3, 10, 0));
        for _ in 0..2 {
            assert_eq!(due.blockers(&h).await, [("SENDER_DAILY_CAP".into(), None)]);
            assert_eq!(due.turn(&h).await, 0);
            h.clock.advance_to(h.clock.now() + Duration::days(1));
        }
        let read = "{ leads(first: 1) { nodes { blockers { message } } } }";
        let told = h.data(read, json!({})).await;
        let told = &told["leads"]["nodes"][0]["blockers"][0]["message"];
        assert!(
            told.to_string().contains("dailyCap of its sender is 0"),
            "{told}"
        );
        due.change_sender(&h, json!({ "dailyCap": 9 })).await;
        assert_eq!(due.turn(&h).await, 2);
    }
);

both!(a_sender_that_cannot_log_in, |h: Harness| async move {
    let due = Due::new(&h, always()).await;
    due.receiver.refuse_logins(true);
    h.clock.advance_to(at(3, 10, 0));
    assert!(due.turn(&h).await > 0);
    due.receiver.refuse_logins(false);
    let blockers = due.blockers(&h).await;
    let [(code, Some(until))] = &blockers[..] else {
        panic!("{blockers:?}");
    };
    assert_eq!(code, "SENDER_UNHEALTHY");
    due.is_blocked_by(&h, "SENDER_UNHEALTHY", *until).await;
});

both!(every_reason_that_holds_is_told, |h: Harness| async move {
    let settings = json!({ "maxSendsPerDay": 1, "maxNewLeadsPerDay": 1 });
    let due = Due::new(&h, settings).await;
    due.change_sender(&h, json!({ "dailyCap": 1 })).await;
    h.clock.advance_to(at(3, 10, 0));
    assert_eq!(due.turn(&h).await, 1);
    due.change_sender(&h, json!({ "enabled": false })).await;
    h.clock.advance_to(at(3, 18, 0));
    let night = Some(at(4, 0, 0));
    let expected = [
        ("SENDER_DISABLED", None),
        ("OUTSIDE_WINDOW", Some(at(4, 9, 0))),
        ("SENDER_DAILY_CAP", night),
        ("SEQUENCE_DAILY_CAP", night),
        ("NEW_LEADS_CAP", night),
    ];
    let expected = expected.map(|(code, until)| (code.to_owned(), until));
    assert_eq!(due.blockers(&h).await, expected);
    h.clock.advance_to(at(5, 10, 0));
    assert_eq!(due.turn(&h).await, 0);
});

/// A published sequence of two steps that two senders share, and a lead of each that is due on the third
/// of March at nine.
struct Shared {
    senders: [String; 2],
    receiver: Receiver,
}

impl Shared {
    async fn new(h: &Harness) -> Self {
        let senders = [sender(h, "ada").await, sender(h, "bob").await];
        let flow = flow(&["one", "two"], &[&senders[0], &senders[1]]);
        let input = json!({ "name": "Shared", "flow": flow, "settings": always() });
        let sequence = done(h, "sequenceCreate", input).await["id"].take();
        done(h, "sequencePublish", json!({ "id": sequence })).await;
        let names = ["p", "q", "r", "s", "t", "u", "v", "w"];
        let ids = people(h, &names).await;
        enrol(h, sequence.as_str().expect("an id"), json!({ "ids": ids })).await;
        let shared = Self {
            senders,
            receiver: Receiver::default(),
        };
        let owners = shared.blockers(h).await;
        assert_eq!(owners.keys().count(), 2, "each has some of the leads");
        shared
    }

    /// The sender with this number is changed.
    async fn change(&self, h: &Harness, number: usize, change: Value) {
        let mut input = change;
        input["id"] = json!(self.senders[number]);
        let select = "sender { id }";
        h.mutate("senderUpdate", "SenderUpdateInput", input, select)
            .await;
    }

    /// What is told of the leads of each sender, the same for all of them.
    async fn blockers(&self, h: &Harness) -> BTreeMap<String, Vec<(String, Value)>> {
        let query = "query($sender: ID!) {
            leads(first: 20, filter: { status: [PENDING], senderIds: [$sender] }) {
                nodes { blockers { code until } } } }";
        let mut all = BTreeMap::new();
        for owner in &self.senders {
            let found = h.data(query, json!({ "sender": owner })).await;
            for lead in found["leads"]["nodes"].as_array().expect("leads") {
                let told = lead["blockers"].as_array().expect("blockers").iter();
                let told = told.map(|blocker| {
                    let code = blocker["code"].as_str().expect("a code");
                    (code.to_owned(), blocker["until"].clone())
                });
                let told: Vec<_> = told.collect();
                let before = all.entry(owner.clone()).or_insert_with(|| told.clone());
                assert_eq!(*before, told);
            }
        }
        all
    }

    /// The leads of both are told the same.
    async fn told(&self, h: &Harness, expected: &[(&str, Value)]) {
        let expected = expected.iter().cloned();
        let expected: Vec<_> = expected.map(|(code, at)| (code.to_owned(), at)).collect();
        for (owner, told) in self.blockers(h).await {
            assert_eq!(told, expected, "{owner}");
        }
    }

    async fn turn(&self, h: &Harness) -> usize {
        let engine = node(h, &self.receiver).await;
        turn(&engine, &self.receiver, 50).await
    }
}

both!(
    a_first_message_is_kept_back_only_where_no_sender_of_its_step_is_free,
    |h: Harness| async move {
        let shared = Shared::new(&h).await;
        h.clock.advance_to(at(3, 10, 0));
        shared.told(&h, &[]).await;
        // Both are at their caps, on clocks whose days end one after the other.
        let (ada, bob) = (0, 1);
        // The first day of their warm-up sends nothing.
        let warm_up = json!({ "startAt": "2026-03-03", "firstDayCap": 0, "dailyIncrease": 9 });
        shared.change(&h, ada, json!({ "warmUp": warm_up })).await;
        shared.told(&h, &[]).await;
        let tokyo = json!({ "warmUp": warm_up, "timeZone": "Asia/Tokyo" });
        shared.change(&h, bob, tokyo).await;
        let capped = |until: &str| [("SENDER_DAILY_CAP", json!(until))];
        shared.told(&h, &capped("2026-03-03T15:00:00.000Z")).await;
        assert_eq!(shared.turn(&h).await, 0);
        // One that is to send nothing is not the one that is free soonest.
        shared.change(&h, bob, json!({ "dailyCap": 0 })).await;
        shared.told(&h, &capped("2026-03-04T00:00:00.000Z")).await;
        shared.change(&h, bob, json!({ "dailyCap": null })).await;
        // The one that would be free first is switched off.
        let off = json!({ "enabled": false });
        shared.change(&h, bob, off.clone()).await;
        shared.told(&h, &capped("2026-03-04T00:00:00.000Z")).await;
        assert_eq!(shared.turn(&h).await, 0);
        shared.change(&h, ada, off).await;
        let night = json!("2026-03-04T00:00:00.000Z");
        let midnight = json!("2026-03-03T15:00:00.000Z");
        for (number, until) in [(ada, night), (bob, midnight)] {
            let told = shared.blockers(&h).await;
            let codes: Vec<_> = told[&shared.senders[number]]
                .iter()
                .map(|(code, _)| code)
                .collect();
            assert_eq!(codes, ["SENDER_DISABLED", "SENDER_DAILY_CAP"], "{until}");
        }
        assert_eq!(shared.turn(&h).await, 0);
        // One is enough for all of them.
        shared
            .change(&h, bob, json!({ "enabled": true, "warmUp": null }))
            .await;
        shared.told(&h, &[]).await;
        assert_eq!(shared.turn(&h).await, 8);
    }
);

both!(
    a_follow_up_waits_for_the_sender_that_wrote_whoever_else_is_free,
    |h: Harness| async move {
        let shared = Shared::new(&h).await;
        h.clock.advance_to(at(3, 10, 0));
        assert_eq!(shared.turn(&h).await, 8);
        h.clock.advance_to(at(4, 11, 0));
        shared.change(&h, 0, json!({ "enabled": false })).await;
        let told = shared.blockers(&h).await;
        assert_eq!(
            told[&shared.senders[0]],
            [("SENDER_DISABLED".to_owned(), Value::Null)]
        );
        assert_eq!(told[&shared.senders[1]], []);
        let of_bob = shared.turn(&h).await;
        assert!((1..8).contains(&of_bob), "{of_bob}");
        assert_eq!(shared.turn(&h).await, 0);
    }
);
