//! A cap that the senders of a sequence share: follow-ups of each go before first messages of any.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cadenza::app::Services;
use cadenza::engine::LaneId;
use chrono::{DateTime, TimeZone, Utc};
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::forecast::forecast;
use crate::harness::{Harness, both};
use crate::many_waiting::{Waiting, leaving, wait};
use crate::pains::{Receiver, node, turn};
use crate::sequences::{done, flow, sender};

/// Monday, the second of March, when tests begin, or another day of that month.
fn at(day: u32, hour: u32) -> DateTime<Utc> {
    let at = Utc.with_ymd_and_hms(2026, 3, day, hour, 0, 0);
    at.single().expect("an instant")
}

/// A sequence of which Ada has first messages that are due, and Bob has follow-ups.
struct Shared {
    id: String,
    bob: String,
    receiver: Receiver,
}

impl Shared {
    /// It sends at most so many messages in a day. Ada's have waited longer.
    async fn new(h: &Harness, cap: Option<u32>, follow_ups: i64) -> Self {
        let (ada, bob) = (sender(h, "ada").await, sender(h, "bob").await);
        let mut settings = json!({ "windowClock": "SENDER" });
        if let Some(cap) = cap {
            settings["maxSendsPerDay"] = json!(cap);
        }
        let steps = flow(&["a", "b"], &[&ada, &bob]);
        let input = json!({ "name": "Shared", "flow": steps, "settings": settings });
        let made = done(h, "sequenceCreate", input).await;
        let id = made["id"].as_str().expect("an id").to_owned();
        done(h, "sequencePublish", json!({ "id": id })).await;
        let name = |name: &str| format!("{name}{}", &id[id.len() - 4..]);
        let (first, follow) = (name("first"), name("follow"));
        let waiting = Waiting {
            step: "a",
            name: &first,
            count: 40,
            due: at(1, 9),
            follow_up: false,
        };
        wait(h, &id, &ada, &waiting).await;
        let waiting = Waiting {
            step: "b",
            name: &follow,
            count: follow_ups,
            due: at(1, 12),
            follow_up: true,
        };
        wait(h, &id, &bob, &waiting).await;
        Self {
            id,
            bob,
            receiver: Receiver::default(),
        }
    }

    async fn change_bob(&self, h: &Harness, change: Value) {
        let mut input = change;
        input["id"] = json!(self.bob);
        h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
            .await;
    }

    /// How many first messages and how many follow-ups leave now.
    async fn leave(&self, h: &Harness) -> (usize, usize) {
        let sent = leaving(h, &self.receiver, 50).await;
        let first = sent.iter().filter(|mail| mail.ends_with("Subject of a"));
        let first = first.count();
        (first, sent.len() - first)
    }

    /// How many messages the forecast has each send on its first day.
    async fn foreseen(&self, h: &Harness) -> BTreeMap<String, i64> {
        let found = forecast(h, &self.id, 1).await;
        let of = found["days"][0]["bySender"].as_array().expect("senders");
        let count = |one: &Value| {
            let name = one["sender"]["name"].as_str().expect("a name").to_owned();
            (name, one["count"].as_i64().expect("a number"))
        };
        of.iter().map(count).collect()
    }
}

both!(
    follow_ups_of_one_sender_go_before_first_messages_of_another,
    |h: Harness| async move {
        let shared = Shared::new(&h, Some(10), 13).await;
        let foreseen = shared.foreseen(&h).await;
        assert_eq!(foreseen, BTreeMap::from([("bob".into(), 10)]));
        assert_eq!(shared.leave(&h).await, (0, 10));
        h.clock.advance_to(at(3, 9));
        let foreseen = shared.foreseen(&h).await;
        assert_eq!(foreseen["bob"], 3);
        assert_eq!(foreseen["ada"], 7);
        assert_eq!(shared.leave(&h).await, (7, 3));
        // Ada's own are due by then, and she sends no more first messages than they leave.
        h.clock.advance_to(at(4, 9));
        assert_eq!(shared.leave(&h).await, (3, 7));
    }
);

both!(
    who_cannot_send_today_keeps_nothing_from_first_messages,
    |h: Harness| async move {
        for (change, firsts, follow_ups) in [
            (json!({ "enabled": false }), 10, 0),
            (json!({ "dailyCap": 2 }), 8, 2),
            // At nine, at twelve and at three.
            (json!({ "minGap": "PT3H" }), 7, 1),
            // His windows open at midnight, when another day begins for the sequence.
            (json!({ "timeZone": "Asia/Tokyo" }), 10, 0),
            // His windows open at two in the afternoon.
            (json!({ "timeZone": "America/New_York" }), 4, 0),
        ] {
            let shared = Shared::new(&h, Some(10), 6).await;
            shared.change_bob(&h, change.clone()).await;
            assert_eq!(shared.leave(&h).await, (firsts, follow_ups), "{change}");
            done(&h, "sequenceDisable", json!({ "id": shared.id })).await;
        }
        let shared = Shared::new(&h, Some(10), 6).await;
        let trouble = "UPDATE sender SET failures = 1";
        let db = h.services.db.write();
        db.execute_unprepared(trouble).await.expect("written");
        let engine = node(&h, &shared.receiver).await;
        assert_eq!(turn(&engine, &shared.receiver, 50).await, 10);
        let ada = shared.receiver.in_order();
        assert!(ada.iter().all(|mail| mail.starts_with("first")), "{ada:?}");
    }
);

both!(
    first_messages_that_wait_for_follow_ups_are_not_claimed_in_vain,
    |h: Harness| async move {
        let shared = Shared::new(&h, Some(10), 6).await;
        shared
            .change_bob(&h, json!({ "timeZone": "America/New_York" }))
            .await;
        assert_eq!(shared.leave(&h).await, (4, 0));
        let engine = node(&h, &shared.receiver).await;
        let claim = engine.claim(50, &|_: LaneId| 50).await.expect("claims");
        assert_eq!(claim.next_at, Some(at(2, 14)), "nobody is asked before");
        // The leads that wait for it say so.
        let query = "query ($id: ID!) { sequence(id: $id) { leads(filter: { status: [PENDING] }, first: 250) {
            nodes { dueAt blockers { code message until } } } } }";
        let found = h.data(query, json!({ "id": shared.id })).await;
        let leads = found["sequence"]["leads"]["nodes"]
            .as_array()
            .expect("leads");
        let kept = leads
            .iter()
            .flat_map(|lead| lead["blockers"].as_array().expect("blockers"));
        let kept: Vec<_> = kept
            .filter(|one| one["code"] == "SEQUENCE_DAILY_CAP")
            .collect();
        assert!(!kept.is_empty(), "{leads:?}");
        for one in kept {
            assert_eq!(
                one["until"],
                cadenza::graphql::scalar::DateTime::from(at(3, 0)).written()
            );
            assert!(
                one["message"]
                    .as_str()
                    .is_some_and(|text| text.contains("follow-ups"))
            );
        }
        let unexplained = leads.iter().filter(|lead| lead["blockers"] == json!([]));
        assert_eq!(unexplained.count(), 0, "{leads:?}");
        h.clock.advance_to(at(2, 14));
        assert_eq!(shared.leave(&h).await, (0, 6));
        // On the next day nothing of his is due, and Ada's first messages wait for her own follow-ups.
        h.clock.advance_to(at(3, 9));
        assert_eq!(shared.leave(&h).await, (6, 4));
    }
);

both!(
    follow_ups_are_counted_only_where_a_cap_runs_short,
    |h: Harness| async move {
        let statements = Arc::new(Mutex::new(Vec::<String>::new()));
        let seen = Arc::clone(&statements);
        let db = h.services.db.clone().observed(move |statement: &str| {
            seen.lock().expect("not poisoned").push(statement.into());
        });
        let services = Services {
            db,
            ..h.services.clone()
        };
        let h = Harness { services, ..h };
        let counted = async |shared: &Shared| {
            let engine = node(&h, &shared.receiver).await;
            statements.lock().expect("not poisoned").clear();
            let nobody = engine.claim(0, &|_: LaneId| 0).await.expect("claims");
            assert_eq!(nobody.messages.len(), 0);
            let taken = statements.lock().expect("not poisoned").clone();
            let counts = taken.iter().filter(|text| text.contains("AS counted"));
            counts.count()
        };
        let uncapped = Shared::new(&h, None, 6).await;
        assert_eq!(counted(&uncapped).await, 0);
        let ample = Shared::new(&h, Some(100_000), 6).await;
        ample.change_bob(&h, json!({ "dailyCap": 50 })).await;
        assert_eq!(counted(&ample).await, 0);
        for _ in 0..3 {
            let short = Shared::new(&h, Some(10), 6).await;
            assert_eq!(counted(&short).await, 1, "one for all");
        }
    }
);
