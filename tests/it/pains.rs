//! What hurts the users of other engines, each shown not to happen here. The numbers are those of
//! the list of pains that the design was made from.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use cadenza::channel::dispatch::{Channel, Prepared, Route, Sending, Sent};
use cadenza::domain::outcome::Outcome;
use cadenza::domain::outcome::Phase;
use cadenza::engine::record::Ending;
use cadenza::engine::{Engine, EngineConfig, LaneId};
use chrono::{DateTime, Duration, TimeZone, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, both};

/// A receiver that takes everything but what is sent to `bad…`.
#[derive(Clone, Default)]
pub struct Receiver {
    mails: Arc<Mutex<Vec<String>>>,
    refuses_logins: Arc<AtomicBool>,
    takes_everything: Arc<AtomicBool>,
}

impl Receiver {
    /// How often each person got each step: the subject tells the step.
    pub fn taken(&self) -> BTreeMap<String, usize> {
        let mut counts = BTreeMap::new();
        for mail in self.mails.lock().expect("ledger").iter() {
            *counts.entry(mail.clone()).or_default() += 1;
        }
        counts
    }

    /// What was taken, in the order in which it came: whose, and which step.
    pub fn in_order(&self) -> Vec<String> {
        self.mails.lock().expect("ledger").clone()
    }

    /// Whether it lets nobody log in from now on.
    pub fn refuse_logins(&self, refuse: bool) {
        self.refuses_logins.store(refuse, Ordering::SeqCst);
    }

    /// From now on it takes what is sent to `bad…` as well.
    pub fn take_everything(&self) {
        self.takes_everything.store(true, Ordering::SeqCst);
    }

    /// How many it has taken.
    pub fn count(&self) -> usize {
        self.mails.lock().expect("ledger").len()
    }
}

impl Channel for Receiver {
    fn send<'a>(
        &'a self,
        _: &'a Route,
        message: Prepared,
        _: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            let to = message.recipient();
            let outcome = if self.refuses_logins.load(Ordering::SeqCst) {
                Outcome::refused(Phase::Auth, 535, "5.7.8 wrong password")
            } else if to.starts_with("bad") && !self.takes_everything.load(Ordering::SeqCst) {
                Outcome::refused(Phase::Rcpt, 554, "5.7.1 go away")
            } else {
                let text = message.content();
                let subject = text.lines().find_map(|line| line.strip_prefix("Subject: "));
                let mail = format!("{to} {}", subject.unwrap_or_default());
                self.mails.lock().expect("ledger").push(mail);
                Outcome::Sent {
                    response: "ok".into(),
                }
            };
            Sent {
                outcome,
                kept: None,
            }
        })
    }
}

/// A node: an engine on the harness's database and clock.
pub async fn node(h: &Harness, receiver: &Receiver) -> Engine {
    let s = &h.services;
    let engine = Engine::new(
        s.db.clone(),
        s.clock.clone(),
        s.entropy.clone(),
        Arc::clone(&s.zones),
        s.wake.clone(),
        Arc::new(receiver.clone()),
        EngineConfig::default(),
    );
    engine.enter().await.expect("a worker");
    engine
}

/// Claims at most `room`, sends and records; answers how many were claimed.
pub async fn turn(engine: &Engine, receiver: &Receiver, room: usize) -> usize {
    step(engine, receiver, room).await.0
}

/// Claims, sends and records until nothing that is due changes any more.
pub async fn settle(h: &Harness, receiver: &Receiver) {
    let engine = node(h, receiver).await;
    for _ in 0..200 {
        if !step(&engine, receiver, 50).await.1 {
            return;
        }
    }
    panic!("the engine never comes to rest");
}

/// Like [`turn`]; answers also whether anything changed.
async fn step(engine: &Engine, receiver: &Receiver, room: usize) -> (usize, bool) {
    let claim = engine.claim(room, &|_: LaneId| room).await.expect("claims");
    let progressed = claim.progressed;
    let mut ended = Vec::new();
    for claimed in claim.messages {
        if !engine.may_leave(&claimed).await.expect("looks") {
            ended.push((claimed, Ending::Released));
            continue;
        }
        let prepared = receiver
            .prepare(&claimed.route, &claimed.letter)
            .expect("composes");
        let sent = receiver
            .send(&claimed.route, prepared, &CancellationToken::new())
            .await;
        ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
    }
    engine.record(&ended).await.expect("records");
    (ended.len(), progressed)
}

pub async fn drain(engine: &Engine, receiver: &Receiver) {
    while turn(engine, receiver, 50).await > 0 {}
}

/// Enters these people, of the company "Pain" and in this time zone.
pub async fn people(h: &Harness, names: &[String], zone: &str) {
    let mut csv = String::from("email,company,time_zone\n");
    for name in names {
        csv.push_str(&format!("{name}@example.org,Pain,{zone}\n"));
    }
    crate::enrol::import(h, json!({ "csv": csv })).await;
    h.clock.advance_to(h.clock.now() + Duration::seconds(1));
}

/// So many names that begin with `prefix`.
pub fn names(prefix: &str, count: usize) -> Vec<String> {
    (0..count)
        .map(|number| format!("{prefix}{number}"))
        .collect()
}

/// A published sequence of steps with these waits; answers its id.
pub async fn sequence(h: &Harness, waits: &[&str]) -> Value {
    let sender = crate::sequences::sender(h, "ada").await;
    let steps: Vec<Value> = waits
        .iter()
        .enumerate()
        .map(|(number, wait)| {
            let mut step = crate::sequences::step(&format!("s{number}"), &[&sender]);
            step["wait"] = json!(wait);
            step
        })
        .collect();
    let input = json!({ "name": "Pain", "flow": { "steps": steps } });
    let made = crate::sequences::done(h, "sequenceCreate", input).await;
    crate::sequences::done(h, "sequencePublish", json!({ "id": made["id"] })).await;
    made["id"].clone()
}

pub async fn enrol(h: &Harness, sequence: &Value, search: &str) {
    let input = json!({ "sequenceId": sequence, "people": { "filter": { "search": search } } });
    h.mutate("leadsEnrol", "LeadsEnrolInput", input, "operation { id }")
        .await;
}

async fn statuses(h: &Harness) -> BTreeMap<String, usize> {
    let query = "{ executions(first: 250) { nodes { status } } }";
    let data = h.data(query, json!({})).await;
    let mut counts = BTreeMap::new();
    for node in data["executions"]["nodes"].as_array().expect("nodes") {
        *counts
            .entry(node["status"].as_str().expect("a status").to_owned())
            .or_default() += 1;
    }
    counts
}

both!(
    pain_1_and_2_a_resume_neither_sends_again_nor_skips,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 30), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        let engine = node(&h, &receiver).await;
        turn(&engine, &receiver, 12).await;
        assert_eq!(receiver.count(), 12);
        crate::sequences::done(&h, "sequenceDisable", json!({ "id": id })).await;
        drain(&engine, &receiver).await;
        assert_eq!(receiver.count(), 12, "a disabled sequence sends nothing");
        crate::sequences::done(&h, "sequencePublish", json!({ "id": id })).await;
        drain(&engine, &receiver).await;
        let taken = receiver.taken();
        assert_eq!(taken.len(), 30, "nobody is skipped");
        assert!(
            taken.values().all(|count| *count == 1),
            "nobody gets it again: {taken:?}"
        );
    }
);

// Elsewhere the place in the list moves on when people are fetched, and whoever was fetched and not yet
// sent to when somebody pauses is never looked at again.
both!(
    pain_2_whoever_was_fetched_but_not_sent_before_a_pause_is_not_skipped,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 30), "UTC").await;
        let id = sequence(&h, &["PT0S", "PT1M"]).await;
        enrol(&h, &id, "pain").await;
        let engine = node(&h, &receiver).await;
        let everything = json!({ "everything": true });
        for (sent_before, by_lead) in [(0, false), (30, true)] {
            assert_eq!(receiver.count(), sent_before);
            let claim = engine.claim(12, &|_: LaneId| 12).await.expect("claims");
            assert_eq!(claim.messages.len(), 12, "twelve are fetched");
            let mut ended = Vec::new();
            for (place, claimed) in claim.messages.into_iter().enumerate() {
                if place == 5 && by_lead {
                    crate::leads::bulk(&h, "leadsPause", everything.clone()).await;
                } else if place == 5 {
                    crate::sequences::done(&h, "sequenceDisable", json!({ "id": id })).await;
                }
                let may_leave = engine.may_leave(&claimed).await.expect("looks");
                assert_eq!(may_leave, place < 5, "nothing leaves after a pause");
                if !may_leave {
                    ended.push((claimed, Ending::Released));
                    continue;
                }
                let prepared = receiver
                    .prepare(&claimed.route, &claimed.letter)
                    .expect("composes");
                let token = CancellationToken::new();
                let sent = receiver.send(&claimed.route, prepared, &token).await;
                ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
            }
            engine.record(&ended).await.expect("records");
            drain(&engine, &receiver).await;
            assert_eq!(receiver.count(), sent_before + 5);
            if by_lead {
                crate::leads::bulk(&h, "leadsResume", everything.clone()).await;
            } else {
                crate::sequences::done(&h, "sequencePublish", json!({ "id": id })).await;
            }
            drain(&engine, &receiver).await;
            let taken = receiver.taken();
            assert_eq!(taken.len(), sent_before + 30, "nobody is skipped");
            assert!(taken.values().all(|count| *count == 1), "{taken:?}");
            h.clock.advance_to(h.clock.now() + Duration::minutes(1));
            engine.prolong().await.expect("a sign of life");
        }
    }
);

both!(
    pain_3_every_recipient_has_a_record_of_what_happened,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &[names("p", 3), names("bad", 2)].concat(), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        drain(&node(&h, &receiver).await, &receiver).await;
        let expected = [("FAILED".to_owned(), 2), ("SENT".to_owned(), 3)];
        assert_eq!(statuses(&h).await, BTreeMap::from(expected));
        let query = "{ executions(filter: { status: [FAILED] }) { nodes {
        error { code message response } lead { person { email } } } } }";
        let data = h.data(query, json!({})).await;
        for node in data["executions"]["nodes"].as_array().expect("nodes") {
            let email = node["lead"]["person"]["email"].as_str().expect("who");
            assert!(email.starts_with("bad"), "{node}");
            assert!(
                node["error"]["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("554"))
            );
        }
    }
);

// Elsewhere there is no "retry failed", and users compare the logs of their mail servers by hand.
both!(
    pain_3_whoever_failed_is_found_and_tried_again_and_nobody_else,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &[names("p", 3), names("bad", 2)].concat(), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        let engine = node(&h, &receiver).await;
        drain(&engine, &receiver).await;
        assert_eq!(receiver.count(), 3);
        let query =
            "{ executions(filter: { status: [FAILED] }) { nodes { lead { person { id } } } } }";
        let data = h.data(query, json!({})).await;
        let failed = data["executions"]["nodes"].as_array().expect("nodes");
        let failed: Vec<&Value> = failed
            .iter()
            .map(|node| &node["lead"]["person"]["id"])
            .collect();
        receiver.take_everything();
        let input = json!({ "sequenceId": id, "people": { "ids": failed }, "reEnrol": true });
        let select = "operation { succeeded skipped }";
        let again = h
            .mutate("leadsEnrol", "LeadsEnrolInput", input, select)
            .await;
        assert_eq!(again["operation"], json!({ "succeeded": 2, "skipped": 0 }));
        drain(&engine, &receiver).await;
        let taken = receiver.taken();
        assert_eq!(taken.len(), 5, "{taken:?}");
        assert!(taken.values().all(|count| *count == 1), "{taken:?}");
        let expected = [("FAILED".to_owned(), 2), ("SENT".to_owned(), 5)];
        assert_eq!(
            statuses(&h).await,
            BTreeMap::from(expected),
            "what failed stays told"
        );
    }
);

both!(
    pain_4_a_crash_between_sending_and_noting_repeats_nothing,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 10), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        let dying = node(&h, &receiver).await;
        let claim = dying.claim(6, &|_: LaneId| 6).await.expect("claims");
        for claimed in claim.messages.iter().take(3) {
            let prepared = receiver
                .prepare(&claimed.route, &claimed.letter)
                .expect("composes");
            receiver
                .send(&claimed.route, prepared, &CancellationToken::new())
                .await;
        }
        // Three have left, three were about to; the process dies here.
        h.clock.advance_to(h.clock.now() + Duration::minutes(5));
        let engine = node(&h, &receiver).await;
        assert_eq!(engine.rescue(false).await.expect("rescues"), 6);
        drain(&engine, &receiver).await;
        let taken = receiver.taken();
        assert_eq!(
            taken.len(),
            7,
            "all but those that were about to leave: {taken:?}"
        );
        assert!(taken.values().all(|count| *count == 1), "{taken:?}");
        let expected = [("SENT".to_owned(), 4), ("UNCONFIRMED".to_owned(), 6)];
        assert_eq!(statuses(&h).await, BTreeMap::from(expected));
    }
);

both!(
    pain_5_one_bad_recipient_repeats_and_delays_nobody,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(
            &h,
            &[names("a", 8), names("bad", 1), names("z", 8)].concat(),
            "UTC",
        )
        .await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        let engine = node(&h, &receiver).await;
        drain(&engine, &receiver).await;
        drain(&engine, &receiver).await;
        let taken = receiver.taken();
        assert_eq!(taken.len(), 16);
        assert!(taken.values().all(|count| *count == 1), "{taken:?}");
    }
);

both!(
    pain_6_two_workers_at_once_send_nothing_twice,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 60), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        let (one, two) = (node(&h, &receiver).await, node(&h, &receiver).await);
        for _ in 0..20 {
            tokio::join!(turn(&one, &receiver, 7), turn(&two, &receiver, 7));
        }
        drain(&one, &receiver).await;
        let taken = receiver.taken();
        assert_eq!(taken.len(), 60);
        assert!(taken.values().all(|count| *count == 1), "{taken:?}");
    }
);

both!(
    pain_9_enrolling_does_not_hold_up_sending,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("first", 5), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "first").await;
        people(&h, &names("many", 1_500), "UTC").await;
        let engine = node(&h, &receiver).await;
        // A large operation is under way: it stops after what takes a moment, and no runner goes on.
        enrol(&h, &id, "many").await;
        turn(&engine, &receiver, 5).await;
        assert!(
            receiver
                .taken()
                .keys()
                .all(|mail| mail.starts_with("first")),
            "in due order"
        );
        assert_eq!(receiver.count(), 5);
    }
);

both!(
    pain_10_a_lead_that_waits_holds_up_no_other,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let id = sequence(&h, &["PT0S", "P3D"]).await;
        people(&h, &names("early", 2), "UTC").await;
        enrol(&h, &id, "early").await;
        let engine = node(&h, &receiver).await;
        drain(&engine, &receiver).await;
        // The first two wait for three days; somebody new comes, and is served at once.
        people(&h, &names("late", 1), "UTC").await;
        enrol(&h, &id, "late").await;
        drain(&engine, &receiver).await;
        assert_eq!(receiver.count(), 3);
    }
);

both!(
    pain_10_many_whose_window_has_closed_hold_up_nobody_whose_window_is_open,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let monday_at = |hour| Utc.with_ymd_and_hms(2026, 3, 9, hour, 30, 0).single();
        h.clock.advance_to(monday_at(7).expect("an instant"));
        people(&h, &names("tokyo", 200), "Asia/Tokyo").await;
        people(&h, &names("accra", 1), "Africa/Accra").await;
        let id = sequence(&h, &["PT0S"]).await;
        let windows = json!([{ "day": "MONDAY", "from": "09:00", "to": "17:00" }]);
        let settings = json!({ "windowClock": "CONTACT", "sendWindows": windows });
        crate::sequences::done(&h, "sequenceDisable", json!({ "id": id })).await;
        let input = json!({ "id": id, "settings": settings });
        crate::sequences::done(&h, "sequenceUpdate", input).await;
        crate::sequences::done(&h, "sequencePublish", json!({ "id": id })).await;
        // In Tokyo it is half past four in the afternoon: due at once, but nobody sends yet.
        enrol(&h, &id, "tokyo").await;
        h.clock.advance_to(monday_at(9).expect("an instant"));
        enrol(&h, &id, "accra").await;
        let engine = node(&h, &receiver).await;
        assert_eq!(turn(&engine, &receiver, 1).await, 1, "in the first claim");
        assert!(
            receiver
                .taken()
                .keys()
                .all(|mail| mail.starts_with("accra"))
        );
    }
);

both!(
    pain_11_nothing_goes_round_in_circles,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 20), "UTC").await;
        let id = sequence(&h, &["PT0S", "PT1M"]).await;
        enrol(&h, &id, "pain").await;
        let engine = node(&h, &receiver).await;
        drain(&engine, &receiver).await;
        // The window is closed: looking again and again claims nothing and writes nothing.
        h.clock.advance_to(h.clock.now() + Duration::hours(10));
        drain(&engine, &receiver).await;
        let before = crate::sequences::kinds(&h).await.len();
        for _ in 0..50 {
            assert_eq!(turn(&engine, &receiver, 50).await, 0);
        }
        assert_eq!(
            crate::sequences::kinds(&h).await.len(),
            before,
            "the log does not grow"
        );
        assert_eq!(receiver.count(), 20);
    }
);

both!(
    pain_14_what_is_late_after_a_standstill_keeps_its_window,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 10), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        enrol(&h, &id, "pain").await;
        // Nothing ran until late in the evening.
        h.clock.advance_to(h.clock.now() + Duration::hours(13));
        let engine = node(&h, &receiver).await;
        drain(&engine, &receiver).await;
        assert_eq!(receiver.count(), 0, "nothing leaves at night");
        let claim = engine.claim(1, &|_: LaneId| 1).await.expect("claims");
        let next = claim.next_at.expect("a next time");
        assert_eq!(next, at(2026, 3, 3, 9, 0), "the next opening");
        h.clock.advance_to(next);
        engine.enter().await.expect("a worker");
        drain(&engine, &receiver).await;
        assert_eq!(receiver.count(), 10, "and then everything, once");
    }
);

fn at(year: i32, month: u32, day: u32, hour: u32, minute: u32) -> DateTime<Utc> {
    Utc.with_ymd_and_hms(year, month, day, hour, minute, 0)
        .single()
        .expect("an instant")
}

both!(
    pain_16_the_wall_clock_is_kept_over_a_change_of_the_clocks,
    |h: Harness| async move {
        let receiver = Receiver::default();
        // New York goes from UTC-5 to UTC-4 on 8 March 2026, a Sunday.
        h.clock.advance_to(at(2026, 3, 6, 14, 30));
        people(&h, &names("p", 1), "America/New_York").await;
        let id = sequence(&h, &["PT0S", "P3D"]).await;
        enrol(&h, &id, "pain").await;
        let engine = node(&h, &receiver).await;
        drain(&engine, &receiver).await;
        assert_eq!(receiver.count(), 1, "at half past nine in New York");
        let data = h.data("{ leads { nodes { dueAt } } }", json!({})).await;
        let due = data["leads"]["nodes"][0]["dueAt"]
            .as_str()
            .expect("a due time")
            .to_owned();
        let due: DateTime<Utc> = due.parse().expect("an instant");
        assert_eq!(
            due,
            at(2026, 3, 9, 13, 30) + Duration::seconds(1),
            "half past nine again"
        );
    }
);
