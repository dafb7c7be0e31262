//! Steps that write into the person, and what hangs on the person meanwhile.

use cadenza::domain::id::LeadId;
use cadenza::store::lead::change;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::pains::{Receiver, settle};
use crate::sequences::sender;
use crate::steps::{email, person, ran, running, seen};

fn update(set: Value) -> Value {
    json!({ "key": "mark", "action": { "update": { "set": set } } })
}

// Whoever changes leads in bulk, publishes or records what a provider tells holds rows of leads for a
// moment. A lead that waits for what an update writes must hear of it all the same.
both!(
    an_update_reaches_a_lead_that_somebody_holds,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let mut asks = email("one", "PT0S", &[&ada]);
        asks["action"]["email"]["variants"][0]["text"] = json!("{{company}}");
        let waiting = running(&h, json!([asks]), json!({}), &[&one]).await;
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &waiting[0]).await), [""; 0]);
        let steps = json!([update(json!({ "company": "Acme" }))]);
        let writing = running(&h, steps, json!({}), &[&one]).await;
        let id: LeadId = waiting[0].parse().expect("a lead");
        // On SQLite nobody claims while somebody else writes.
        if h.services.db.is_shared() {
            let holder = h.services.db.begin().await.expect("begins");
            let rows = change::lock(&holder, h.admin.workspace, &h.admin.scope, &[id]).await;
            assert_eq!(rows.expect("locked").len(), 1);
            settle(&h, &receiver).await;
            let lead = seen(&h, &writing[0]).await;
            assert_eq!(ran(&lead), [""; 0], "the update waits for the holder");
            holder.commit().await.expect("commits");
        }
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &writing[0]).await), ["mark SENT"]);
        assert_eq!(ran(&seen(&h, &waiting[0]).await), ["one SENT a"]);
    }
);

// Where a person is decides when it is written to: what comes after an update is planned on the clock
// and the holidays that the person has by then.
both!(
    a_message_after_an_update_is_planned_where_the_person_is_now,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let away = json!({ "email": "one@example.com", "timeZone": "Europe/Lisbon" });
        let one = person(&h, away).await;
        let steps = json!([
            update(json!({ "timeZone": "America/New_York" })),
            email("one", "PT0S", &[&ada])
        ]);
        let windows = json!({ "windowClock": "CONTACT",
            "sendWindows": [{ "day": "MONDAY", "from": "09:00", "to": "17:00" }] });
        let leads = running(&h, steps, windows, &[&one]).await;
        // The engine carries the update out, and does not look again.
        let engine = crate::pains::node(&h, &receiver).await;
        crate::pains::turn(&engine, &receiver, 50).await;
        let lead = seen(&h, &leads[0]).await;
        assert_eq!(ran(&lead), ["mark SENT"]);
        let due: DateTime<Utc> = lead["dueAt"]
            .as_str()
            .expect("due")
            .parse()
            .expect("an instant");
        let nine_there: DateTime<Utc> = "2026-03-02T14:00:00Z".parse().expect("an instant");
        assert_eq!(due, nine_there);
    }
);
