//! A message that is later than its sequence's `maxLateness` is skipped, whatever put it off meanwhile.

use cadenza::domain::outcome::Outcome;
use cadenza::engine::record::Ending;
use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::bulk;
use crate::pains::{Receiver, node, settle};
use crate::sequences::{done, sender};
use crate::steps::{email, person, ran, running, seen};

/// The instant on a day of March 2026, whose second is a Monday.
fn march(text: &str) -> DateTime<Utc> {
    format!("2026-03-{text}:00Z").parse().expect("an instant")
}

/// Nine to five on every working day, by the clock of each contact: what is due is looked at although the
/// window is closed.
fn office(max_lateness: &str) -> Value {
    let days = ["MONDAY", "TUESDAY", "WEDNESDAY", "THURSDAY", "FRIDAY"];
    let windows = days.map(|day| json!({ "day": day, "from": "09:00", "to": "17:00" }));
    json!({ "windowClock": "CONTACT", "sendWindows": windows, "maxLateness": max_lateness })
}

async fn sequence_of(h: &Harness, lead: &str) -> Value {
    let query = "query($id: ID!) { lead(id: $id) { sequence { id } } }";
    h.data(query, json!({ "id": lead })).await["lead"]["sequence"]["id"].take()
}

/// What became of a message of Monday at nine whose sequence was disabled before it could leave, and was
/// published again at this instant; the window opens next at the other one.
async fn published_at(h: &Harness, at: &str, opens: &str, max_lateness: &str) -> Vec<String> {
    let (receiver, ada) = (Receiver::default(), sender(h, "ada").await);
    let one = person(h, json!({ "email": "one@example.com" })).await;
    let steps = json!([email("one", "PT0S", &[&ada])]);
    let leads = running(h, steps, office(max_lateness), &[&one]).await;
    let id = sequence_of(h, &leads[0]).await;
    done(h, "sequenceDisable", json!({ "id": id })).await;
    h.clock.advance_to(march(at));
    done(h, "sequencePublish", json!({ "id": id })).await;
    settle(h, &receiver).await;
    h.clock.advance_to(march(opens));
    settle(h, &receiver).await;
    ran(&seen(h, &leads[0]).await)
}

both!(
    a_closed_window_makes_a_late_message_no_less_late,
    |h: Harness| async move {
        // On Wednesday at eight in the evening it is two days late.
        let ran = published_at(&h, "04T20:00", "05T09:00", "P1D").await;
        assert_eq!(ran, ["one SKIPPED"]);
    }
);

both!(
    an_opening_that_comes_too_late_is_too_late,
    |h: Harness| async move {
        // On Monday evening it is not too late yet; on Tuesday morning, when it may leave, it is.
        let ran = published_at(&h, "02T20:00", "03T09:00", "PT12H").await;
        assert_eq!(ran, ["one SKIPPED"]);
    }
);

both!(
    an_opening_that_comes_in_time_is_in_time,
    |h: Harness| async move {
        let ran = published_at(&h, "02T20:00", "03T09:00", "P1D").await;
        assert_eq!(ran, ["one SENT a"]);
    }
);

both!(
    what_the_workspace_limits_is_late_all_the_same,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let limit = json!({ "maxMessagesPerPersonPerDay": 1 });
        let input = "WorkspaceUpdateInput";
        h.mutate("workspaceUpdate", input, limit, "workspace { id }")
            .await;
        // The person gets a message a day of the one sequence, before the other's turn comes.
        let daily = json!([
            email("first", "PT0S", &[&ada]),
            email("second", "P1D", &[&ada]),
            email("third", "P1D", &[&ada])
        ]);
        let busy = running(&h, daily, json!({}), &[&one]).await;
        settle(&h, &receiver).await;
        let steps = json!([email("one", "PT0S", &[&ada])]);
        let leads = running(&h, steps, office("P1D"), &[&one]).await;
        for instant in ["02T09:00", "03T00:00", "03T09:00", "04T00:00", "04T09:00"] {
            h.clock.advance_to(march(instant));
            settle(&h, &receiver).await;
        }
        assert_eq!(
            ran(&seen(&h, &busy[0]).await),
            ["first SENT a", "second SENT a", "third SENT a"]
        );
        assert_eq!(ran(&seen(&h, &leads[0]).await), ["one SKIPPED"]);
    }
);

both!(
    whoever_was_paused_is_not_late_for_that,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        h.clock.advance_to(march("02T18:00"));
        let steps = json!([email("one", "PT0S", &[&ada])]);
        let leads = running(&h, steps, office("P1D"), &[&one]).await;
        settle(&h, &receiver).await;
        bulk(&h, "leadsPause", json!({ "ids": leads })).await;
        h.clock.advance_to(march("05T18:00"));
        bulk(&h, "leadsResume", json!({ "ids": leads })).await;
        h.clock.advance_to(march("06T09:00"));
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &leads[0]).await), ["one SENT a"]);
    }
);

/// What becomes of a message of Monday at nine of which nobody knew whether it had left, until somebody
/// settled at this instant that it had not.
async fn settled_unsent_at(h: &Harness, at: &str) -> Vec<String> {
    let (receiver, ada) = (Receiver::default(), sender(h, "ada").await);
    let one = person(h, json!({ "email": "one@example.com" })).await;
    let steps = json!([email("one", "PT0S", &[&ada])]);
    let leads = running(h, steps, json!({ "maxLateness": "P1D" }), &[&one]).await;
    let engine = node(h, &receiver).await;
    let claim = engine.claim(9, &|_| 9).await.expect("claims");
    let lost = Outcome::Ambiguous {
        reason: "the connection broke".to_owned(),
    };
    let lost = Ending::Dispatched(lost, None);
    let ended: Vec<_> = (claim.messages.into_iter())
        .map(|claimed| (claimed, lost.clone()))
        .collect();
    engine.record(&ended).await.expect("records");
    assert_eq!(
        ran(&seen(h, &leads[0]).await),
        ["one UNCONFIRMED a INTERRUPTED"]
    );
    h.clock.advance_to(march(at));
    let query = "{ executions(first: 1) { nodes { id } } }";
    let id = h.data(query, json!({})).await["executions"]["nodes"][0]["id"].take();
    let (field, input) = ("executionResolve", json!({ "id": id, "wasSent": false }));
    h.mutate(field, "ExecutionResolveInput", input, "execution { id }")
        .await;
    settle(h, &receiver).await;
    ran(&seen(h, &leads[0]).await)
}

both!(
    what_nobody_knew_of_is_late_from_when_it_was_due,
    |h: Harness| async move {
        let ran = settled_unsent_at(&h, "04T12:00").await;
        assert_eq!(ran, ["one SKIPPED a"]);
    }
);

both!(
    what_is_settled_soon_enough_is_sent_again,
    |h: Harness| async move {
        let ran = settled_unsent_at(&h, "02T20:00").await;
        assert_eq!(ran, ["one SENT a"]);
    }
);
