//! The days of every duration are calendar days, on the clock that waits are counted on: over a change of
//! the clocks they keep the time of day.

use cadenza::app::engagement::Engagement;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::pains::{Receiver, settle};
use crate::sequences::{done, sender};
use crate::steps::{at, email, engage, person, ran, running, seen};

/// The clocks of Lisbon go forward an hour in the night after this morning, a Saturday.
const SATURDAY: &str = "2026-03-28T10:00:00Z";
/// The same time of day in Lisbon on Sunday.
const SUNDAY: &str = "2026-03-29T09:00:00Z";

fn instant(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// The lead of somebody in Lisbon whom a sequence of these steps, after a hello, took up on Saturday.
async fn begun(h: &Harness, receiver: &Receiver, steps: &[Value], settings: Value) -> String {
    let ada = sender(h, "ada").await;
    h.clock.advance_to(instant(SATURDAY));
    let one = person(
        h,
        json!({ "email": "one@example.com", "timeZone": "Europe/Lisbon" }),
    )
    .await;
    let mut all = vec![email("hello", "PT0S", &[&ada])];
    all.extend_from_slice(steps);
    all.push(email("last", "PT0S", &[&ada]));
    let mut on_the_contacts = json!({ "windowClock": "CONTACT" });
    let settings = settings.as_object().cloned().unwrap_or_default();
    let object = on_the_contacts.as_object_mut().expect("settings");
    object.extend(settings);
    let leads = running(h, json!(all), on_the_contacts, &[&one]).await;
    settle(h, receiver).await;
    leads[0].clone()
}

/// What has become of the lead right before the time of day on Sunday, and at it.
async fn on_sunday(h: &Harness, receiver: &Receiver, lead: &str) -> [Vec<String>; 2] {
    h.clock
        .advance_to(instant(SUNDAY) - Duration::milliseconds(1));
    settle(h, receiver).await;
    let before = ran(&seen(h, lead).await);
    h.clock.advance_to(instant(SUNDAY));
    settle(h, receiver).await;
    [before, ran(&seen(h, lead).await)]
}

both!(
    a_condition_waits_for_calendar_days,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let asks = json!({ "key": "asks", "action": { "condition": { "within": "P1D",
            "predicate": { "opened": "hello" }, "yes": "end", "no": "last" } } });
        let lead = begun(&h, &receiver, &[asks], json!({})).await;
        let ran = on_sunday(&h, &receiver, &lead).await;
        assert_eq!(ran[0], ["hello SENT a"]);
        assert_eq!(ran[1], ["hello SENT a", "asks SKIPPED no", "last SENT a"]);
    }
);

both!(a_task_is_given_calendar_days, |h: Harness| async move {
    let receiver = Receiver::default();
    let task =
        json!({ "key": "task", "action": { "task": { "title": "Call", "timeout": "P1D" } } });
    let lead = begun(&h, &receiver, &[task], json!({})).await;
    let ran = on_sunday(&h, &receiver, &lead).await;
    assert_eq!(ran[0].first().map(String::as_str), Some("hello SENT a"));
    assert!(!ran[0].contains(&"last SENT a".to_owned()), "{ran:?}");
    assert_eq!(ran[1].last().map(String::as_str), Some("last SENT a"));
});

both!(
    whoever_is_away_is_so_for_calendar_days,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let settings = json!({ "autoReplyHold": "P1D" });
        let wait = json!({ "key": "mark", "wait": "PT1H",
            "action": { "update": { "set": { "company": "Acme" } } } });
        let lead = begun(&h, &receiver, &[wait], settings).await;
        engage(&h, &lead, "hello", Engagement::AutoReplied { until: None }).await;
        h.clock.advance_to(instant(SATURDAY) + Duration::hours(1));
        settle(&h, &receiver).await;
        assert_eq!(at(&seen(&h, &lead).await["dueAt"]), instant(SUNDAY));
        let ran = on_sunday(&h, &receiver, &lead).await;
        assert_eq!(ran[0].len(), 2, "{ran:?}");
        assert_eq!(ran[1].last().map(String::as_str), Some("last SENT a"));
    }
);

/// What becomes of a message that is due on Saturday, may be a day late, and can leave so much after the
/// time of day on Sunday.
async fn late_by(h: Harness, after: Duration) -> Vec<String> {
    let receiver = Receiver::default();
    let ada = sender(&h, "ada").await;
    h.clock.advance_to(instant(SATURDAY));
    let fields = json!({ "email": "one@example.com", "timeZone": "Europe/Lisbon" });
    let one = person(&h, fields).await;
    let steps = json!([email("late", "PT0S", &[&ada])]);
    let settings = json!({ "windowClock": "CONTACT", "maxLateness": "P1D" });
    let leads = running(&h, steps, settings, &[&one]).await;
    let query = "query($id: ID!) { lead(id: $id) { sequence { id } } }";
    let found = h.data(query, json!({ "id": leads[0] })).await;
    let id = found["lead"]["sequence"]["id"].clone();
    done(&h, "sequenceDisable", json!({ "id": id })).await;
    h.clock.advance_to(instant(SUNDAY) + after);
    done(&h, "sequencePublish", json!({ "id": id })).await;
    settle(&h, &receiver).await;
    ran(&seen(&h, &leads[0]).await)
}

both!(
    a_message_may_be_late_by_calendar_days,
    |h: Harness| async move {
        assert_eq!(late_by(h, Duration::zero()).await, ["late SENT a"]);
    }
);

both!(
    a_message_may_not_be_later_than_by_calendar_days,
    |h: Harness| async move {
        assert_eq!(
            late_by(h, Duration::milliseconds(1)).await,
            ["late SKIPPED"]
        );
    }
);
