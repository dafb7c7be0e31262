//! An automatic reply keeps a lead quiet wherever it stands: what reaches the person waits until the
//! contact is back, and the rest goes on.

use cadenza::app::engagement::Engagement;
use cadenza::domain::id::LeadId;
use cadenza::domain::outcome::Outcome;
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine};
use chrono::{DateTime, Duration, Utc};
use entity::lead;
use sea_orm::EntityTrait;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::{bulk, later};
use crate::pains::{Receiver, node, settle};
use crate::sequences::sender;
use crate::steps::{at, codes, email, engage, person, ran, running, seen};

/// The contact of a lead is away: a machine answers its first message, and says for how long.
async fn is_away(h: &Harness, lead: &str, until: Option<DateTime<Utc>>) {
    engage(h, lead, "hello", Engagement::AutoReplied { until }).await;
}

/// Whom a sequence of these steps has written hello to just now, with a hold of seven days.
async fn greeted(h: &Harness, receiver: &Receiver, steps: Value, settings: Value) -> String {
    let one = person(h, json!({ "email": "one@example.com" })).await;
    let mut all = json!({ "autoReplyHold": "P7D" });
    let settings = settings.as_object().cloned().unwrap_or_default();
    all.as_object_mut().expect("settings").extend(settings);
    let leads = running(h, steps, all, &[&one]).await;
    settle(h, receiver).await;
    leads[0].clone()
}

fn condition(within: &str) -> Value {
    json!({ "key": "opened", "action": { "condition": { "predicate": { "opened": "hello" },
        "within": within, "yes": "mark", "no": "again" } } })
}

fn mark() -> Value {
    json!({ "key": "mark", "action": { "update": { "set": { "company": "Acme" } } } })
}

async fn row(h: &Harness, lead: &str) -> lead::Model {
    let id: LeadId = lead.parse().expect("an id");
    let found = lead::Entity::find_by_id(id.uuid());
    let found = found.one(h.services.db.read()).await;
    found.expect("readable").expect("there")
}

async fn claim(engine: &Engine) -> Vec<Claimed> {
    engine.claim(9, &|_| 9).await.expect("claims").messages
}

fn sent() -> Ending {
    let response = "250 OK".to_owned();
    Ending::Dispatched(Outcome::Sent { response }, None)
}

/// Until when each blocker says that it lasts.
fn until(lead: &Value, code: &str) -> Option<DateTime<Utc>> {
    let mut blockers = lead["blockers"].as_array().expect("blockers").iter();
    let found = blockers.find(|blocker| blocker["code"] == code)?;
    Some(at(&found["until"]))
}

both!(
    whoever_waits_at_a_condition_gets_nothing_before_the_contact_is_back,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            condition("P3D"),
            mark(),
            email("again", "PT0S", &[&ada])
        ]);
        let lead = greeted(&h, &receiver, steps, json!({})).await;
        let back_at = h.clock.now() + Duration::days(7);
        is_away(&h, &lead, None).await;
        let waits = seen(&h, &lead).await;
        assert_eq!(codes(&waits), ["AWAITING_CONDITION", "AUTO_REPLY_HOLD"]);
        assert_eq!(until(&waits, "AUTO_REPLY_HOLD"), Some(back_at));
        // The condition's time is up while the contact is away, and the lead goes on.
        later(&h, Duration::days(3));
        settle(&h, &receiver).await;
        let quiet = seen(&h, &lead).await;
        assert_eq!(ran(&quiet), ["hello SENT a", "opened SKIPPED no"]);
        assert_eq!(quiet["currentStep"]["key"], "again");
        assert_eq!(codes(&quiet), ["AUTO_REPLY_HOLD"]);
        assert_eq!(at(&quiet["dueAt"]), back_at);
        h.clock.advance_to(back_at - Duration::milliseconds(1));
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &lead).await).len(), 2);
        h.clock.advance_to(back_at);
        settle(&h, &receiver).await;
        let done = seen(&h, &lead).await;
        assert_eq!(ran(&done)[2], "again SENT a");
        assert_eq!(done["status"], "COMPLETED");
        assert_eq!(row(&h, &lead).await.quiet_until, None);
        let query = "{ events(first: 9, filter: { kinds: [AUTO_REPLIED] }) { detail } }";
        let told = h.data(query, json!({})).await["events"][0]["detail"].take();
        assert_eq!(at(&told["quietUntil"]), back_at);
    }
);

both!(
    a_condition_acts_the_moment_it_holds_though_the_contact_is_away,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            condition("P3D"),
            mark(),
            email("again", "PT0S", &[&ada])
        ]);
        let lead = greeted(&h, &receiver, steps, json!({})).await;
        let back_at = h.clock.now() + Duration::days(2);
        is_away(&h, &lead, Some(back_at)).await;
        later(&h, Duration::hours(1));
        // What was said of a longer absence is not taken back.
        is_away(&h, &lead, Some(h.clock.now() + Duration::hours(1))).await;
        engage(&h, &lead, "hello", Engagement::Opened).await;
        settle(&h, &receiver).await;
        let quiet = seen(&h, &lead).await;
        assert_eq!(
            ran(&quiet),
            ["hello SENT a", "opened SENT yes", "mark SENT"]
        );
        assert_eq!(at(&quiet["dueAt"]), back_at);
        h.clock.advance_to(back_at);
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &lead).await)[3], "again SENT a");
    }
);

both!(
    a_task_may_be_done_meanwhile_and_none_is_given,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let task = |key: &str| json!({ "key": key, "action": { "task": { "channel": "TASK", "title": key } } });
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            task("first"),
            mark(),
            task("second")
        ]);
        let lead = greeted(&h, &receiver, steps, json!({})).await;
        let back_at = h.clock.now() + Duration::days(7);
        is_away(&h, &lead, None).await;
        let open = "{ tasks(status: [OPEN]) { nodes { id title } } }";
        let given = h.data(open, json!({})).await["tasks"]["nodes"].take();
        assert_eq!(given[0]["title"], "first");
        let input = json!({ "id": given[0]["id"], "outcome": "COMPLETED" });
        h.mutate("taskComplete", "TaskCompleteInput", input, "task { id }")
            .await;
        settle(&h, &receiver).await;
        let quiet = seen(&h, &lead).await;
        assert_eq!(ran(&quiet), ["hello SENT a", "first SENT", "mark SENT"]);
        assert_eq!(codes(&quiet), ["AUTO_REPLY_HOLD"]);
        assert_eq!(at(&quiet["dueAt"]), back_at);
        let given = h.data(open, json!({})).await["tasks"]["nodes"].take();
        assert_eq!(given, json!([]));
        h.clock.advance_to(back_at);
        settle(&h, &receiver).await;
        let given = h.data(open, json!({})).await["tasks"]["nodes"].take();
        assert_eq!(given[0]["title"], "second");
    }
);

both!(
    a_pause_forgets_nothing_of_an_absence,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            email("again", "P1D", &[&ada])
        ]);
        let lead = greeted(&h, &receiver, steps, json!({})).await;
        let back_at = h.clock.now() + Duration::days(7);
        bulk(&h, "leadsPause", json!({ "ids": [&lead] })).await;
        is_away(&h, &lead, None).await;
        assert_eq!(
            codes(&seen(&h, &lead).await),
            ["LEAD_PAUSED", "AUTO_REPLY_HOLD"]
        );
        bulk(&h, "leadsResume", json!({ "ids": [&lead] })).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        // Its wait is over, and the claim has put it off.
        let quiet = seen(&h, &lead).await;
        assert_eq!(ran(&quiet), ["hello SENT a"]);
        assert_eq!(at(&quiet["dueAt"]), back_at);
        h.clock.advance_to(back_at);
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &lead).await)[1], "again SENT a");
        let two = person(&h, json!({ "email": "two@example.com" })).await;
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            email("again", "P1D", &[&ada])
        ]);
        let removed = running(&h, steps, json!({ "autoReplyHold": "P7D" }), &[&two]).await;
        settle(&h, &receiver).await;
        is_away(&h, &removed[0], None).await;
        bulk(&h, "leadsRemove", json!({ "ids": removed })).await;
        assert_eq!(row(&h, &removed[0]).await.quiet_until, None);
    }
);

both!(
    whoever_is_completed_while_away_waits_all_the_same,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let lacking = json!({ "key": "again", "action": { "email": { "senderIds": [&ada],
            "variants": [{ "subject": "Again", "text": "Hello {{ first_name }}" }] } } });
        let steps = json!([email("hello", "PT0S", &[&ada]), lacking]);
        let lead = greeted(&h, &receiver, steps, json!({})).await;
        let back_at = h.clock.now() + Duration::days(7);
        assert_eq!(codes(&seen(&h, &lead).await), ["MISSING_MERGE_DATA"]);
        is_away(&h, &lead, None).await;
        let query = "query($id: ID!) { lead(id: $id) { person { id } } }";
        let id = h.data(query, json!({ "id": lead })).await["lead"]["person"]["id"].take();
        let input = json!({ "id": id, "set": { "firstName": "Ada" } });
        h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
            .await;
        settle(&h, &receiver).await;
        let quiet = seen(&h, &lead).await;
        assert_eq!(ran(&quiet), ["hello SENT a"]);
        assert_eq!(codes(&quiet), ["AUTO_REPLY_HOLD"]);
        assert_eq!(at(&quiet["dueAt"]), back_at);
    }
);

both!(
    a_message_on_its_way_is_followed_by_none_before_the_contact_is_back,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            email("again", "P1D", &[&ada]),
            email("third", "P1D", &[&ada])
        ]);
        let lead = greeted(&h, &receiver, steps, json!({})).await;
        later(&h, Duration::days(1));
        let engine = node(&h, &receiver).await;
        let claimed = claim(&engine).await;
        assert_eq!(claimed.len(), 1);
        let back_at = h.clock.now() + Duration::days(7);
        is_away(&h, &lead, None).await;
        // It has left before anybody looked again; who records it knows nothing of the answer yet.
        let ended: Vec<_> = claimed.into_iter().map(|one| (one, sent())).collect();
        engine.record(&ended).await.expect("records");
        let quiet = seen(&h, &lead).await;
        assert_eq!(ran(&quiet), ["hello SENT a", "again SENT a"]);
        assert_eq!(codes(&quiet), ["AUTO_REPLY_HOLD"]);
        assert_eq!(at(&quiet["dueAt"]), back_at);
    }
);

both!(
    a_message_that_waits_to_leave_is_held_back,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            email("again", "P1D", &[&ada])
        ]);
        let lead = greeted(&h, &receiver, steps, json!({ "maxLateness": "PT1H" })).await;
        later(&h, Duration::days(1));
        let engine = node(&h, &receiver).await;
        let claimed = claim(&engine).await.pop().expect("a message");
        let back_at = h.clock.now() + Duration::days(7);
        is_away(&h, &lead, None).await;
        assert!(!engine.may_leave(&claimed).await.expect("looks"));
        let released = [(claimed, Ending::Released)];
        engine.record(&released).await.expect("records");
        settle(&h, &receiver).await;
        assert_eq!(at(&seen(&h, &lead).await["dueAt"]), back_at);
        // Nobody is late whose contact is away.
        h.clock.advance_to(back_at);
        settle(&h, &receiver).await;
        assert_eq!(
            ran(&seen(&h, &lead).await),
            ["hello SENT a", "again SENT a"]
        );
    }
);

both!(
    the_first_window_after_an_absence_is_in_time,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"];
        let windows = days.map(|day| json!({ "day": day, "from": "09:00", "to": "17:00" }));
        let settings = json!({ "sendWindows": windows, "maxLateness": "PT1H" });
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            email("again", "P1D", &[&ada])
        ]);
        h.clock.advance_to(march("02T10:00"));
        let lead = greeted(&h, &receiver, steps, settings).await;
        assert_eq!(ran(&seen(&h, &lead).await), ["hello SENT a"]);
        // Back on Saturday, when no window is open.
        is_away(&h, &lead, Some(march("07T12:00"))).await;
        let quiet = seen(&h, &lead).await;
        assert_eq!(until(&quiet, "AUTO_REPLY_HOLD"), Some(march("07T12:00")));
        assert_eq!(at(&quiet["dueAt"]), march("09T09:00"));
        h.clock.advance_to(march("09T09:00"));
        settle(&h, &receiver).await;
        assert_eq!(
            ran(&seen(&h, &lead).await),
            ["hello SENT a", "again SENT a"]
        );
    }
);

/// The instant on a day of March 2026, whose second is a Monday.
fn march(text: &str) -> DateTime<Utc> {
    format!("2026-03-{text}:00Z").parse().expect("an instant")
}
