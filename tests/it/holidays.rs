//! Public holidays: of the countries that a sequence names, and of each contact's own.

use chrono::{DateTime, Utc};
use serde_json::{Value, json};

use crate::blockers::{Due, always};
use crate::enrol::enrol;
use crate::harness::{Harness, both};
use crate::leads::lead;
use crate::pains::{Receiver, node, turn};
use crate::sequences::{done, flow, sender};

fn at(text: &str) -> DateTime<Utc> {
    text.parse().expect("an instant")
}

/// The settings of messages that may leave at any time, and these besides.
fn with(more: Value) -> Value {
    let mut settings = always();
    let more = more.as_object().cloned().unwrap_or_default();
    settings.as_object_mut().expect("an object").extend(more);
    settings
}

both!(
    nothing_leaves_on_a_countrys_holiday,
    |h: Harness| async move {
        // Due on Friday, 24 April; Saturday is a holiday in Portugal.
        h.clock.advance_to(at("2026-04-23T09:00:00Z"));
        let due = Due::new(&h, with(json!({ "holidayCountries": ["ES", "PT"] }))).await;
        h.clock.advance_to(at("2026-04-25T10:00:00Z"));
        due.is_blocked_by(&h, "HOLIDAY", at("2026-04-26T00:00:00Z"))
            .await;
    }
);

both!(
    a_wait_ends_after_the_holidays_of_the_countries,
    |h: Harness| async move {
        h.clock.advance_to(at("2026-04-24T09:00:00Z"));
        let due = Due::new(&h, with(json!({ "holidayCountries": ["PT"] }))).await;
        for id in &due.leads {
            let lead = lead(&h, id).await;
            assert_eq!(lead["dueAt"], "2026-04-26T00:00:00.000Z");
        }
        h.clock.advance_to(at("2026-04-25T23:59:59Z"));
        assert_eq!(due.turn(&h).await, 0);
        h.clock.advance_to(at("2026-04-26T00:00:00Z"));
        assert!(due.turn(&h).await > 0);
    }
);

both!(another_countrys_holiday_is_none, |h: Harness| async move {
    h.clock.advance_to(at("2026-04-24T09:00:00Z"));
    let due = Due::new(&h, with(json!({ "holidayCountries": ["ES"] }))).await;
    h.clock.advance_to(at("2026-04-25T09:00:00Z"));
    assert!(due.turn(&h).await > 0);
});

/// A person with what is known besides the name.
async fn person(h: &Harness, name: &str, more: Value) -> String {
    let mut input = json!({ "email": format!("{name}@example.com"), "firstName": name });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an object").extend(more);
    let made = h
        .mutate("personCreate", "PersonInput", input, "person { id }")
        .await;
    made["person"]["id"].as_str().expect("an id").to_owned()
}

/// Enrols people in a sequence with these settings; answers the lead of each by the name.
async fn leads(h: &Harness, people: &[String], settings: Value) -> Vec<(String, String)> {
    let sender = sender(h, "ada").await;
    let input =
        json!({ "name": "Abroad", "flow": flow(&["one"], &[&sender]), "settings": settings });
    let sequence = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": sequence })).await;
    enrol(
        h,
        sequence.as_str().expect("an id"),
        json!({ "ids": people }),
    )
    .await;
    let all = "{ leads(first: 9) { nodes { id person { firstName } } } }";
    let all = h.data(all, json!({})).await;
    let nodes = all["leads"]["nodes"].as_array().expect("leads").iter();
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    nodes
        .map(|node| (text(&node["person"]["firstName"]), text(&node["id"])))
        .collect()
}

both!(each_contact_has_its_own_holidays, |h: Harness| async move {
    h.clock.advance_to(at("2026-04-24T09:00:00Z"));
    let lisbon = json!({ "timeZone": "Europe/Lisbon" });
    let moved = json!({ "timeZone": "Europe/Lisbon", "country": "ES" });
    let people = [
        person(&h, "pt", json!({ "country": "pt" })).await,
        person(&h, "es", json!({ "country": "ES" })).await,
        person(&h, "lisbon", lisbon).await,
        person(&h, "moved", moved).await,
        person(&h, "unknown", json!({})).await,
    ];
    let settings = json!({ "windowClock": "SEQUENCE", "contactHolidays": true });
    let leads = leads(&h, &people, with(settings)).await;
    assert_eq!(leads.len(), 5);
    let (saturday, sunday) = ("2026-04-25T09:00:00.000Z", "2026-04-26T00:00:00.000Z");
    for (name, id) in &leads {
        let rests = ["pt", "lisbon"].contains(&name.as_str());
        let lead = lead(&h, id).await;
        assert_eq!(
            lead["dueAt"],
            if rests { sunday } else { saturday },
            "{name}"
        );
    }
    // Somebody who was planned before it was known.
    let input = json!({ "id": people[4], "set": { "country": "PT" } });
    h.mutate(
        "personUpdate",
        "PersonUpdateInput",
        input,
        "person { country }",
    )
    .await;
    h.clock.advance_to(at("2026-04-25T09:00:00Z"));
    let mut blocked = Vec::new();
    for (name, id) in &leads {
        let lead = lead(&h, id).await;
        let blockers = lead["blockers"].as_array().expect("a list").clone();
        if let Some(holiday) = blockers.iter().find(|one| one["code"] == "HOLIDAY") {
            assert_eq!(holiday["until"], sunday, "{name}");
            blocked.push(name.as_str());
        }
    }
    blocked.sort_unstable();
    assert_eq!(blocked, ["lisbon", "pt", "unknown"]);
    let sent = async || {
        let receiver = Receiver::default();
        let engine = node(&h, &receiver).await;
        turn(&engine, &receiver, 50).await
    };
    assert_eq!(sent().await, 2);
    h.clock.advance_to(at("2026-04-26T00:00:00Z"));
    assert_eq!(sent().await, 3);
});
