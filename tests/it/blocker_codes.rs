//! Every reason for which nothing is sent to a lead, caused as a user meets it and read through the API.
//! An automatic reply is noted by the use case, as what receives replies will do: no part of the API
//! reports one.

use std::collections::BTreeSet;

use cadenza::app::engagement::Engagement;
use cadenza::domain::outcome::{Outcome, Phase};
use cadenza::engine::record::Ending;
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::{bulk, later};
use crate::pains::{Receiver, node, settle};
use crate::sequences::{done, sender};
use crate::steps::{codes, email, engage, person, running, seen};

/// The codes that were produced.
#[derive(Default)]
struct Found {
    produced: BTreeSet<String>,
    people: usize,
}

impl Found {
    /// A lead is told these reasons and no others.
    async fn told(&mut self, h: &Harness, lead: &str, expected: &[&str]) {
        let lead = seen(h, lead).await;
        assert_eq!(codes(&lead), expected, "{lead:#}");
        self.produced
            .extend(expected.iter().map(|code| (*code).to_owned()));
    }

    /// So many people of whom nobody knows more than an address.
    async fn people(&mut self, h: &Harness, count: usize) -> Vec<String> {
        let mut made = Vec::new();
        for _ in 0..count {
            self.people += 1;
            let email = format!("p{}@example.org", self.people);
            made.push(person(h, json!({ "email": email })).await);
        }
        made
    }

    /// Leads of so many new people in a new sequence of these steps.
    async fn leads(&mut self, h: &Harness, steps: Value, settings: Value, n: usize) -> Vec<String> {
        let people = self.people(h, n).await;
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        running(h, steps, settings, &people).await
    }

    async fn lead(&mut self, h: &Harness, steps: Value, settings: Value) -> String {
        self.leads(h, steps, settings, 1).await.remove(0)
    }

    /// Of two leads that are due, one is sent its message; the other is told this.
    async fn one_of_two(&mut self, h: &Harness, settings: Value, change: Value, code: &str) {
        let sender = changed_sender(h, change).await;
        let steps = json!([email("one", "PT0S", &[&sender])]);
        let leads = self.leads(h, steps, settings, 2).await;
        settle(h, &Receiver::default()).await;
        let mut left = Vec::new();
        for lead in leads {
            if seen(h, &lead).await["messagesSent"] == 0 {
                left.push(lead);
            }
        }
        assert_eq!(left.len(), 1);
        self.told(h, &left[0], &[code]).await;
    }
}

async fn changed_sender(h: &Harness, change: Value) -> String {
    let sender = sender(h, "ada").await;
    change_sender(h, &sender, change).await;
    sender
}

async fn change_sender(h: &Harness, sender: &str, change: Value) {
    let mut input = json!({ "id": sender });
    let change = change.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an object").extend(change);
    h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
        .await;
}

/// Every message that is due ends so.
async fn ended(h: &Harness, outcome: Outcome) {
    let engine = node(h, &Receiver::default()).await;
    let claim = engine.claim(9, &|_| 9).await.expect("claims");
    let ended: Vec<_> = (claim.messages.into_iter())
        .map(|claimed| (claimed, Ending::Dispatched(outcome.clone(), None)))
        .collect();
    assert!(!ended.is_empty());
    engine.record(&ended).await.expect("records");
}

fn task(key: &str) -> Value {
    json!({ "key": key, "action": { "task": { "title": "Look" } } })
}

/// The windows are closed, for messages and for work alike.
async fn by_calendar(h: &Harness, found: &mut Found) {
    let sender = sender(h, "ada").await;
    let lead = found.lead(h, json!([email("one", "P1D", &[&sender])]), json!({}));
    let lead = lead.await;
    found.told(h, &lead, &["WAITING"]).await;
    let sunday = json!({ "sendWindows": [{ "day": "SUNDAY", "from": "09:00", "to": "10:00" }] });
    let today = json!({ "holidays": ["2026-03-02"] });
    for step in [email("one", "PT0S", &[&sender]), task("one")] {
        let lead = found.lead(h, json!([step]), sunday.clone()).await;
        found.told(h, &lead, &["WAITING", "OUTSIDE_WINDOW"]).await;
        let lead = found.lead(h, json!([step]), today.clone()).await;
        found.told(h, &lead, &["WAITING", "HOLIDAY"]).await;
    }
    // What the engine does by itself waits for no window.
    let update = json!({ "key": "one", "action": { "update": { "set": { "title": "CTO" } } } });
    let lead = found.lead(h, json!([update]), sunday).await;
    found.told(h, &lead, &[]).await;
    settle(h, &Receiver::default()).await;
    assert_eq!(seen(h, &lead).await["status"], "COMPLETED");
}

/// A sender, or a sequence, may send no more.
async fn by_caps(h: &Harness, found: &mut Found) {
    let none = json!({});
    for (settings, change, code) in [
        (none.clone(), json!({ "dailyCap": 1 }), "SENDER_DAILY_CAP"),
        (none.clone(), json!({ "minGap": "PT10M" }), "SENDER_PACING"),
        (
            json!({ "maxSendsPerDay": 1 }),
            none.clone(),
            "SEQUENCE_DAILY_CAP",
        ),
        (
            json!({ "maxNewLeadsPerDay": 1 }),
            none.clone(),
            "NEW_LEADS_CAP",
        ),
    ] {
        found.one_of_two(h, settings, change, code).await;
    }
}

/// The sender, the sequence or the lead is switched off, or the sender is in trouble.
async fn by_switches(h: &Harness, found: &mut Found) {
    let refusing = Receiver::default();
    refusing.refuse_logins(true);
    let ill = sender(h, "ill").await;
    let lead = found.lead(h, json!([email("one", "PT0S", &[&ill])]), json!({}));
    let lead = lead.await;
    settle(h, &refusing).await;
    found.told(h, &lead, &["SENDER_UNHEALTHY"]).await;
    let off = sender(h, "off").await;
    let lead = found.lead(h, json!([email("one", "PT0S", &[&off])]), json!({}));
    let lead = lead.await;
    change_sender(h, &off, json!({ "enabled": false })).await;
    found.told(h, &lead, &["SENDER_DISABLED"]).await;
    let lead = found.lead(h, json!([task("one")]), json!({})).await;
    bulk(h, "leadsPause", json!({ "ids": [lead] })).await;
    found.told(h, &lead, &["LEAD_PAUSED"]).await;
    let lead = found.lead(h, json!([task("one")]), json!({})).await;
    let query = "query($id: ID!) { lead(id: $id) { sequence { id } } }";
    let sequence = h.data(query, json!({ "id": lead })).await;
    let sequence = &sequence["lead"]["sequence"]["id"];
    done(h, "sequenceDisable", json!({ "id": sequence })).await;
    found.told(h, &lead, &["SEQUENCE_DISABLED"]).await;
}

/// The lead waits for something in its step.
async fn by_steps(h: &Harness, found: &mut Found) {
    let condition = json!({ "key": "one", "action": { "condition": { "within": "P1D",
        "predicate": { "has": ["PHONE"] }, "yes": "two", "no": "end" } } });
    let asked = found
        .lead(h, json!([condition, task("two")]), json!({}))
        .await;
    let tasked = found.lead(h, json!([task("one")]), json!({})).await;
    let call = json!({ "key": "one", "onMissingAddress": "HOLD",
        "action": { "task": { "channel": "LINKEDIN", "title": "Visit" } } });
    let addressless = found.lead(h, json!([task("zero"), call]), json!({})).await;
    let query = "{ tasks { nodes { id lead { id } } } }";
    settle(h, &Receiver::default()).await;
    found.told(h, &asked, &["AWAITING_CONDITION"]).await;
    found.told(h, &tasked, &["AWAITING_TASK"]).await;
    let tasks = h.data(query, json!({})).await["tasks"]["nodes"].take();
    let mut tasks = tasks.as_array().expect("tasks").iter();
    let first = tasks.find(|task| task["lead"]["id"] == addressless.as_str());
    let input = json!({ "id": first.expect("a task")["id"] });
    h.mutate("taskComplete", "TaskCompleteInput", input, "task { id }")
        .await;
    settle(h, &Receiver::default()).await;
    found.told(h, &addressless, &["MISSING_ADDRESS"]).await;
}

/// The merge tags that a step lacks are named, whatever kind of step it is.
async fn by_data(h: &Harness, found: &mut Found) {
    let sender = sender(h, "ada").await;
    let variant = json!({ "subject": "To {{ first_name }}",
        "text": "{{ attributes.tier }}, {{ email }}, {{ title | default('you') }}" });
    let mail = json!({ "key": "one", "action": { "email": { "senderIds": [sender],
        "variants": [variant] } } });
    let work = json!({ "key": "one", "action": { "task": { "title": "Call {{ first_name }}" } } });
    let hook = json!({ "key": "one", "action": { "webhook": { "url": "https://hooks.example.net/",
        "body": "{ \"tier\": {{ attributes.tier }} }" } } });
    let tier = json!({ "email": "tier@example.org", "attributes": { "tier": "a" } });
    person(h, tier).await;
    for (step, named) in [
        (mail, vec!["first_name", "attributes.tier"]),
        (work, vec!["first_name"]),
        (hook, vec!["attributes.tier"]),
    ] {
        let lead = found.lead(h, json!([step]), json!({})).await;
        settle(h, &Receiver::default()).await;
        found.told(h, &lead, &["MISSING_MERGE_DATA"]).await;
        let query = "query($id: ID!) { lead(id: $id) { blockers { message } } }";
        let told = h.data(query, json!({ "id": lead })).await;
        let told = told["lead"]["blockers"][0]["message"]
            .as_str()
            .expect("words");
        for tag in ["first_name", "attributes.tier", "email", "title"] {
            assert_eq!(told.contains(tag), named.contains(&tag), "{tag}: {told}");
        }
    }
}

/// A message ended otherwise than it should, or a machine answered it.
async fn by_endings(h: &Harness, found: &mut Found) {
    let ada = sender(h, "ada").await;
    let one = json!([email("one", "PT0S", &[&ada]), email("two", "P1D", &[&ada])]);
    let lead = found.lead(h, one.clone(), json!({})).await;
    ended(h, Outcome::refused(Phase::Rcpt, 451, "4.3.0 come again")).await;
    found.told(h, &lead, &["RETRYING"]).await;
    let lead = found.lead(h, one.clone(), json!({})).await;
    let reason = "the connection broke".to_owned();
    ended(h, Outcome::Ambiguous { reason }).await;
    found.told(h, &lead, &["UNCONFIRMED"]).await;
    let lead = found.lead(h, one, json!({ "autoReplyHold": "P3D" })).await;
    settle(h, &Receiver::default()).await;
    engage(h, &lead, "one", Engagement::AutoReplied { until: None }).await;
    found.told(h, &lead, &["AUTO_REPLY_HOLD"]).await;
}

/// The workspace allows no more.
async fn by_workspace(h: &Harness, found: &mut Found) {
    let ada = sender(h, "ada").await;
    let (steps, settings) = (json!([email("one", "PT0S", &[&ada])]), json!({}));
    let people = [
        person(h, json!({ "email": "x@limits.example" })).await,
        person(h, json!({ "email": "y@limits.example" })).await,
    ];
    let limits = json!({ "maxMessagesPerPersonPerDay": 1, "maxMessagesPerDomainPerDay": 1 });
    h.mutate(
        "workspaceUpdate",
        "WorkspaceUpdateInput",
        limits,
        "workspace { id }",
    )
    .await;
    let first = running(h, steps.clone(), settings.clone(), &[&people[0]]).await;
    settle(h, &Receiver::default()).await;
    assert_eq!(seen(h, &first[0]).await["messagesSent"], 1);
    let others = running(h, steps, settings, &[&people[0], &people[1]]).await;
    let both = ["PERSON_FREQUENCY", "DOMAIN_CAP"];
    found.told(h, &others[0], &both).await;
    found.told(h, &others[1], &both[1..]).await;
}

async fn all_codes(h: &Harness) -> BTreeSet<String> {
    let query = "{ __type(name: \"BlockerCode\") { enumValues { name } } }";
    let data = h.data(query, json!({})).await;
    let values = data["__type"]["enumValues"].as_array().expect("values");
    let names = values.iter().filter_map(|value| value["name"].as_str());
    names.map(str::to_owned).collect()
}

both!(every_blocker_code_has_its_cause, |h: Harness| async move {
    let mut found = Found::default();
    by_calendar(&h, &mut found).await;
    by_caps(&h, &mut found).await;
    by_switches(&h, &mut found).await;
    by_steps(&h, &mut found).await;
    by_data(&h, &mut found).await;
    by_endings(&h, &mut found).await;
    by_workspace(&h, &mut found).await;
    assert_eq!(
        found.produced,
        all_codes(&h).await,
        "each code has a case here"
    );
});

both!(
    work_that_finds_its_window_closed_waits_for_it,
    |h: Harness| async move {
        let mut found = Found::default();
        let window =
            json!({ "sendWindows": [{ "day": "MONDAY", "from": "09:00", "to": "10:00" }] });
        let lead = found.lead(&h, json!([task("one")]), window).await;
        found.told(&h, &lead, &[]).await;
        // Nobody worked before the window closed.
        later(&h, Duration::hours(1));
        found.told(&h, &lead, &["OUTSIDE_WINDOW"]).await;
        settle(&h, &Receiver::default()).await;
        found.told(&h, &lead, &["WAITING", "OUTSIDE_WINDOW"]).await;
        assert_eq!(seen(&h, &lead).await["dueAt"], "2026-03-09T09:00:00.000Z");
        later(&h, Duration::days(7) - Duration::hours(1));
        found.told(&h, &lead, &[]).await;
        settle(&h, &Receiver::default()).await;
        found.told(&h, &lead, &["AWAITING_TASK"]).await;
    }
);
