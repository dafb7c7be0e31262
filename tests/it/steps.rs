//! Every kind of step, carried out by the engine and seen through the API.

use cadenza::app::engagement::{self, Engagement};
use cadenza::domain::id::{ExecutionId, LeadId};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::blockers::always;
use crate::enrol::enrol;
use crate::harness::{Harness, both};
use crate::leads::{bulk, later};
use crate::pains::{Receiver, settle};
use crate::sequences::{done, kinds, sender};

/// A person with these fields.
pub async fn person(h: &Harness, fields: Value) -> String {
    let made = h
        .mutate("personCreate", "PersonInput", fields, "person { id }")
        .await;
    made["person"]["id"].as_str().expect("an id").to_owned()
}

pub async fn number(h: &Harness, channel: &str) -> String {
    let input = json!({ "name": channel, "channel": channel, "address": "+351912345678",
                        "transport": { "outbox": {} } });
    let made = h
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await;
    made["sender"]["id"].as_str().expect("an id").to_owned()
}

pub fn email(key: &str, wait: &str, senders: &[&str]) -> Value {
    json!({ "key": key, "wait": wait, "action": { "email": { "senderIds": senders,
        "variants": [{ "subject": format!("Subject of {key}"), "text": "Hello" }] } } })
}

pub fn sms(key: &str, sender: &str, body: &str) -> Value {
    json!({ "key": key, "action": { "sms": { "senderIds": [sender],
        "variants": [{ "body": body }] } } })
}

/// A sequence of these steps that sends at any time, with these people enrolled; their leads, in order.
pub async fn running(h: &Harness, steps: Value, settings: Value, people: &[&str]) -> Vec<String> {
    let mut all = always();
    let settings = settings.as_object().cloned().unwrap_or_default();
    all.as_object_mut().expect("settings").extend(settings);
    let input = json!({ "name": "Steps", "flow": { "steps": steps }, "settings": all });
    let sequence = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": sequence })).await;
    let sequence = sequence.as_str().expect("an id");
    enrol(h, sequence, json!({ "ids": people })).await;
    let mut leads = Vec::new();
    for person in people {
        let query = "query($filter: LeadFilter!) { leads(filter: $filter) { nodes { id } } }";
        let filter = json!({ "filter": { "personId": person, "sequenceIds": [sequence] } });
        let found = h.data(query, filter).await;
        let lead = &found["leads"]["nodes"][0]["id"];
        leads.push(lead.as_str().expect("a lead").to_owned());
    }
    leads
}

pub async fn seen(h: &Harness, lead: &str) -> Value {
    let query = "query($id: ID!) { lead(id: $id) { status stopReason dueAt messagesSent
        currentStep { key } blockers { code until }
        executions { nodes { id stepKey status variant channel sender { name } error { code } } } } }";
    h.data(query, json!({ "id": lead })).await["lead"].take()
}

/// Step and status of each execution, oldest first, with the variant where there is one.
pub fn ran(lead: &Value) -> Vec<String> {
    let nodes = lead["executions"]["nodes"].as_array().expect("executions");
    let told = |node: &Value| {
        let text = |field: &str| node[field].as_str().unwrap_or_default().to_owned();
        let error = node["error"]["code"]
            .as_str()
            .map(|code| format!(" {code}"));
        format!(
            "{} {}{}{}",
            text("stepKey"),
            text("status"),
            node["variant"]
                .as_str()
                .map_or_else(String::new, |variant| format!(" {variant}")),
            error.unwrap_or_default()
        )
    };
    nodes.iter().rev().map(told).collect()
}

pub fn codes(lead: &Value) -> Vec<&str> {
    let blockers = lead["blockers"].as_array().expect("blockers").iter();
    blockers
        .filter_map(|blocker| blocker["code"].as_str())
        .collect()
}

/// What a contact does with the message of a step.
pub async fn engage(h: &Harness, lead: &str, step: &str, what: Engagement) {
    let found = seen(h, lead).await;
    let nodes = found["executions"]["nodes"]
        .as_array()
        .expect("executions")
        .iter();
    let execution = nodes
        .filter(|node| node["stepKey"] == step)
        .find_map(|node| node["id"].as_str())
        .map(|id| id.parse::<ExecutionId>().expect("an id"));
    let lead: LeadId = lead.parse().expect("an id");
    let (workspace, now) = (h.admin.workspace, h.clock.now());
    let known = engagement::record(&h.services, workspace, lead, execution, what, now).await;
    assert!(known.expect("is recorded"));
}

pub fn at(value: &Value) -> DateTime<Utc> {
    value
        .as_str()
        .expect("an instant")
        .parse()
        .expect("an instant")
}

both!(
    a_condition_acts_the_moment_it_holds,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let two = person(&h, json!({ "email": "two@example.com" })).await;
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            { "key": "opened", "action": { "condition": { "predicate": { "opened": "hello" },
                "within": "P3D", "yes": "warm", "no": "cold" } } },
            { "key": "warm", "action": { "email": { "senderIds": [&ada],
                "variants": [{ "subject": "Warm", "text": "Hi" }] } }, "next": "end" },
            email("cold", "P1D", &[&ada]),
        ]);
        let leads = running(&h, steps, json!({}), &[&one, &two]).await;
        settle(&h, &receiver).await;
        let asked_at = h.clock.now();
        for lead in &leads {
            let lead = seen(&h, lead).await;
            assert_eq!(lead["status"], "IN_PROGRESS");
            assert_eq!(lead["currentStep"]["key"], "opened");
            assert_eq!(codes(&lead), ["AWAITING_CONDITION"]);
            assert_eq!(
                at(&lead["blockers"][0]["until"]),
                asked_at + Duration::days(3)
            );
        }
        later(&h, Duration::hours(5));
        engage(&h, &leads[0], "hello", Engagement::Opened).await;
        settle(&h, &receiver).await;
        let warm = seen(&h, &leads[0]).await;
        assert_eq!(
            ran(&warm),
            ["hello SENT a", "opened SENT yes", "warm SENT a"]
        );
        assert_eq!(warm["status"], "COMPLETED");
        // A click, and what the other lead does, change nothing.
        engage(&h, &leads[1], "hello", Engagement::Clicked).await;
        settle(&h, &receiver).await;
        let waiting = seen(&h, &leads[1]).await;
        assert_eq!(codes(&waiting), ["AWAITING_CONDITION"]);
        assert_eq!(at(&waiting["dueAt"]), asked_at + Duration::days(3));
        h.clock
            .advance_to(asked_at + Duration::days(3) - Duration::milliseconds(1));
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &leads[1]).await), ["hello SENT a"]);
        h.clock.advance_to(asked_at + Duration::days(3));
        settle(&h, &receiver).await;
        let cold = seen(&h, &leads[1]).await;
        assert_eq!(ran(&cold), ["hello SENT a", "opened SKIPPED no"]);
        assert_eq!(
            at(&cold["dueAt"]),
            asked_at + Duration::days(4),
            "waits from the answer"
        );
    }
);

both!(
    a_held_condition_keeps_the_rest_and_is_asked_again,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            { "key": "clicked", "action": { "condition": { "predicate": { "clicked": "*" },
                "within": "P2D", "yes": "warm", "no": "end" } } },
            email("warm", "PT0S", &[&ada]),
        ]);
        let leads = running(&h, steps, json!({}), &[&one]).await;
        settle(&h, &receiver).await;
        later(&h, Duration::days(1));
        bulk(&h, "leadsPause", json!({ "ids": [&leads[0]] })).await;
        later(&h, Duration::days(9));
        settle(&h, &receiver).await;
        assert_eq!(seen(&h, &leads[0]).await["status"], "PAUSED");
        bulk(&h, "leadsResume", json!({ "ids": [&leads[0]] })).await;
        settle(&h, &receiver).await;
        let lead = seen(&h, &leads[0]).await;
        assert_eq!(lead["status"], "IN_PROGRESS");
        assert_eq!(at(&lead["dueAt"]), h.clock.now() + Duration::days(1));
        bulk(&h, "leadsPause", json!({ "ids": [&leads[0]] })).await;
        engage(&h, &leads[0], "hello", Engagement::Clicked).await;
        settle(&h, &receiver).await;
        assert_eq!(seen(&h, &leads[0]).await["status"], "PAUSED");
        bulk(&h, "leadsResume", json!({ "ids": [&leads[0]] })).await;
        settle(&h, &receiver).await;
        let lead = seen(&h, &leads[0]).await;
        assert_eq!(
            ran(&lead),
            ["hello SENT a", "clicked SENT yes", "warm SENT a"]
        );
    }
);

both!(
    a_task_is_done_skipped_or_given_up,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let mut people = Vec::new();
        for name in ["one", "two", "three"] {
            people.push(
                person(
                    &h,
                    json!({ "firstName": name, "email": format!("{name}@example.com"),
            "phone": "+351912345678" }),
                )
                .await,
            );
        }
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let steps = json!([
            { "key": "call", "action": { "task": { "channel": "CALL", "title": "Call {{ first_name }}",
                "assignee": "rui", "timeout": "P2D" } } },
            email("thanks", "PT1H", &[&ada]),
        ]);
        let leads = running(&h, steps, json!({}), &people).await;
        settle(&h, &receiver).await;
        let open = h
            .data(
                "{ tasks(status: [OPEN], assignee: \"rui\") { totalCount
        nodes { id title channel status dueAt lead { id } } } }",
                json!({}),
            )
            .await;
        assert_eq!(open["tasks"]["totalCount"], 3);
        let task_of = |lead: &str| {
            let mut nodes = open["tasks"]["nodes"].as_array().expect("tasks").iter();
            let found = nodes.find(|task| task["lead"]["id"] == lead);
            found.expect("a task").clone()
        };
        assert_eq!(task_of(&leads[1])["title"], "Call two");
        assert_eq!(codes(&seen(&h, &leads[0]).await), ["AWAITING_TASK"]);
        later(&h, Duration::hours(3));
        for (lead, outcome) in [(0, "COMPLETED"), (1, "SKIPPED")] {
            let input =
                json!({ "id": task_of(&leads[lead])["id"], "outcome": outcome, "note": "ok" });
            for _ in 0..2 {
                let answer = h
                    .mutate(
                        "taskComplete",
                        "TaskCompleteInput",
                        input.clone(),
                        "task { status note completedAt }",
                    )
                    .await;
                assert_eq!(answer["task"]["status"], outcome);
            }
            let other = json!({ "id": task_of(&leads[lead])["id"],
            "outcome": if lead == 0 { "SKIPPED" } else { "COMPLETED" } });
            let answer = h
                .try_mutate("taskComplete", "TaskCompleteInput", other, "task { id }")
                .await;
            assert_eq!(answer["userErrors"][0]["code"], "WRONG_STATE");
        }
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &leads[0]).await), ["call SENT"]);
        assert_eq!(ran(&seen(&h, &leads[1]).await), ["call SKIPPED"]);
        assert_eq!(ran(&seen(&h, &leads[2]).await), Vec::<String>::new());
        later(&h, Duration::days(2));
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &leads[2]).await), ["call SKIPPED"]);
        let left = h
            .data(
                "{ tasks(status: [EXPIRED]) { nodes { lead { id } completedAt } } }",
                json!({}),
            )
            .await;
        assert_eq!(left["tasks"]["nodes"][0]["lead"]["id"], leads[2].as_str());
        assert_eq!(
            ran(&seen(&h, &leads[0]).await),
            ["call SENT", "thanks SENT a"]
        );
        let kinds = kinds(&h).await;
        let count = |kind: &str| kinds.iter().filter(|it| *it == kind).count();
        assert_eq!((count("TASK_CREATED"), count("TASK_COMPLETED")), (3, 2));
        // The log tells whose time was up from what somebody decided against.
        let query = "query($filter: EventFilter) { events(filter: $filter) { detail } }";
        for (lead, told) in [
            (1, Value::Null),
            (
                2,
                json!({ "message": "The time for the task is up: the lead goes on without it." }),
            ),
        ] {
            let filter = json!({ "leadId": leads[lead], "kinds": ["EXECUTION_SKIPPED"] });
            let events = h.data(query, json!({ "filter": filter })).await;
            assert_eq!(events["events"][0]["detail"], told);
        }
    }
);

both!(updates_splits_and_ends, |h: Harness| async move {
    let receiver = Receiver::default();
    let one = person(
        &h,
        json!({ "email": "one@example.com", "title": "CEO",
        "attributes": { "plan": "free", "old": 1 } }),
    )
    .await;
    let steps = json!([
        { "key": "mark", "action": { "update": { "set": { "title": null, "company": "Acme",
            "attributes": { "plan": "trial", "old": null } } } } },
        { "key": "plan", "action": { "condition": { "predicate": { "all": [
            { "attribute": { "name": "plan", "op": "EQ", "value": "trial" } },
            { "not": { "has": ["TITLE"] } }] }, "yes": "divide", "no": "end" } } },
        { "key": "divide", "action": { "split": { "branches": [
            { "weight": 0, "next": "never" }, { "weight": 1, "next": "stop" }] } } },
        { "key": "never", "action": { "end": {} } },
        { "key": "stop", "action": { "end": { "reason": "Done." } } },
    ]);
    let leads = running(&h, steps, json!({}), &[&one]).await;
    settle(&h, &receiver).await;
    let lead = seen(&h, &leads[0]).await;
    assert_eq!(lead["status"], "COMPLETED");
    assert_eq!(
        ran(&lead),
        ["mark SENT", "plan SENT yes", "divide SENT 1", "stop SENT"]
    );
    assert_eq!(lead["messagesSent"], 0);
    let found = h
        .data(
            "query($id: ID!) { person(id: $id) { title company attributes } }",
            json!({ "id": one }),
        )
        .await;
    assert_eq!(
        found["person"],
        json!({ "title": null, "company": "Acme",
        "attributes": { "plan": "trial" } })
    );
});

both!(
    missing_addresses_and_data_by_policy,
    |h: Harness| async move {
        let (receiver, line) = (Receiver::default(), number(&h, "SMS").await);
        let bare = person(
            &h,
            json!({ "firstName": "Bare", "email": "bare@example.com" }),
        )
        .await;
        let nameless = person(
            &h,
            json!({ "email": "x@example.com", "phone": "+351912345679" }),
        )
        .await;
        // One sequence for each policy; both people are enrolled into all.
        for policy in ["SKIP", "HOLD", "STOP"] {
            let mut step = sms("text", &line, "Hi {{ first_name }}");
            step["onMissingAddress"] = json!(policy);
            step["onMissingData"] = json!(policy);
            // By the request the sequence reaches everybody.
            let hook = json!({ "key": "tell", "action": { "webhook": {
                "url": "https://hooks.example.com/x" } } });
            running(&h, json!([step, hook]), json!({}), &[&bare, &nameless]).await;
        }
        settle(&h, &receiver).await;
        let of = async |person: &str| {
            let query =
                "query($id: ID!) { leads(filter: { personId: $id }, orderBy: ENROLLED_AT_ASC) {
            nodes { id status stopReason blockers { code }
                executions { nodes { stepKey status error { code } } } } } }";
            let found = h.data(query, json!({ "id": person })).await;
            let nodes = found["leads"]["nodes"].as_array().expect("leads").clone();
            let mut told: Vec<String> = nodes
                .iter()
                .map(|lead| {
                    let ran = lead["executions"]["nodes"].as_array().expect("executions");
                    let text = ran.iter().find(|node| node["stepKey"] == "text");
                    let text = text.unwrap_or(&Value::Null);
                    format!(
                        "{} {} {} {} {}",
                        lead["status"].as_str().unwrap_or_default(),
                        lead["stopReason"].as_str().unwrap_or("-"),
                        lead["blockers"][0]["code"].as_str().unwrap_or("-"),
                        text["status"].as_str().unwrap_or("-"),
                        text["error"]["code"].as_str().unwrap_or("-")
                    )
                })
                .collect();
            told.sort();
            told
        };
        assert_eq!(
            of(&bare).await,
            [
                "COMPLETED - - SKIPPED MISSING_PHONE",
                "PENDING - MISSING_ADDRESS - -",
                "STOPPED MISSING_DATA - SKIPPED MISSING_PHONE",
            ]
        );
        assert_eq!(
            of(&nameless).await,
            [
                "COMPLETED - - SKIPPED RENDER_FAILED",
                "PENDING - MISSING_MERGE_DATA - -",
                "STOPPED MISSING_DATA - SKIPPED RENDER_FAILED",
            ]
        );
        for (id, set) in [
            (&bare, json!({ "phone": "+351912345670" })),
            (&nameless, json!({ "firstName": "Now" })),
        ] {
            let input = json!({ "id": id, "set": set });
            h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
                .await;
        }
        settle(&h, &receiver).await;
        let sent: Vec<String> = receiver.taken().into_keys().collect();
        let hook = "https://hooks.example.com/x ";
        assert_eq!(sent, ["+351912345670 ", "+351912345679 ", hook]);
        assert_eq!(of(&bare).await[0], "COMPLETED - - SENT -");
    }
);

both!(
    a_reply_to_an_email_that_was_skipped_begins_a_thread_with_its_own_subject,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let nameless = person(&h, json!({ "email": "x@example.com" })).await;
        let mut one = email("one", "PT0S", &[&ada]);
        one["action"]["email"]["variants"][0]["text"] = json!("{{ first_name }}");
        one["onMissingData"] = json!("SKIP");
        let mut two = email("two", "PT0S", &[&ada]);
        two["action"]["email"]["inThread"] = json!(true);
        let mut bare = two.clone();
        bare["action"]["email"]["variants"][0]["subject"] = Value::Null;
        for (reply, came_to) in [(two, "two SENT a"), (bare, "two FAILED RENDER_FAILED")] {
            let leads = running(&h, json!([one, reply]), json!({}), &[&nameless]).await;
            settle(&h, &receiver).await;
            let lead = seen(&h, &leads[0]).await;
            assert_eq!(ran(&lead), ["one SKIPPED RENDER_FAILED", came_to]);
        }
    }
);

both!(
    a_request_is_made_and_the_lead_goes_on,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let steps = json!([
            { "key": "tell", "action": { "webhook": { "url": "https://hooks.example.com/x",
                "body": "{\"who\": \"{{ email }}\"}" } } },
            { "key": "end1", "action": { "end": {} } },
        ]);
        let leads = running(&h, steps, json!({}), &[&one]).await;
        settle(&h, &receiver).await;
        let lead = seen(&h, &leads[0]).await;
        assert_eq!(ran(&lead), ["tell SENT", "end1 SENT"]);
        assert_eq!(lead["executions"]["nodes"][1]["channel"], "WEBHOOK");
        assert_eq!(
            (&lead["status"], &lead["messagesSent"]),
            (&json!("COMPLETED"), &json!(0))
        );
        assert_eq!(
            receiver.taken().into_keys().collect::<Vec<_>>(),
            ["https://hooks.example.com/x "]
        );
    }
);

both!(
    first_messages_go_through_whoever_is_free,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let mut senders = Vec::new();
        for name in ["ada", "bob"] {
            senders.push(sender(&h, name).await);
        }
        let names: Vec<&str> = senders.iter().map(String::as_str).collect();
        let mut people = Vec::new();
        for number in 0..12 {
            people.push(person(&h, json!({ "email": format!("p{number}@example.com") })).await);
        }
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        // Ada may send two a day, Bob as many as there are.
        let input = json!({ "id": senders[0], "dailyCap": 2 });
        h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
            .await;
        let steps = json!([email("one", "PT0S", &names), email("two", "P1D", &names)]);
        let leads = running(&h, steps, json!({}), &people).await;
        settle(&h, &receiver).await;
        let mut first = Vec::new();
        for lead in &leads {
            let lead = seen(&h, lead).await;
            assert_eq!(ran(&lead), ["one SENT a"]);
            first.push(lead["executions"]["nodes"][0]["sender"]["name"].clone());
        }
        assert_eq!(first.iter().filter(|name| *name == "ada").count(), 2);
        // Bob is switched off: his leads are in his thread and wait, Ada's go on.
        let input = json!({ "id": senders[1], "enabled": false });
        h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
            .await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        for (lead, first) in leads.iter().zip(&first) {
            let lead = seen(&h, lead).await;
            if first == "ada" {
                assert_eq!(ran(&lead), ["one SENT a", "two SENT a"]);
                assert_eq!(lead["executions"]["nodes"][0]["sender"]["name"], "ada");
            } else {
                assert_eq!(codes(&lead), ["SENDER_DISABLED"]);
            }
        }
    }
);

both!(
    a_sender_whose_login_is_refused_is_switched_off,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let leads = running(
            &h,
            json!([email("one", "PT0S", &[&ada])]),
            json!({}),
            &[&one],
        )
        .await;
        receiver.refuse_logins(true);
        for _ in 0..3 {
            settle(&h, &receiver).await;
            later(&h, Duration::minutes(16));
        }
        let found = h
            .data(
                "query($id: ID!) { sender(id: $id) { enabled } }",
                json!({ "id": ada }),
            )
            .await;
        assert_eq!(found["sender"]["enabled"], false);
        let events = h
            .data(
                "{ events(first: 250, filter: { kinds: [SENDER_DISABLED] }) {
        sender { id } detail } }",
                json!({}),
            )
            .await;
        assert_eq!(events["events"][0]["sender"]["id"], ada.as_str());
        assert_eq!(events["events"][0]["detail"]["reason"], "AUTH_FAILED");
        assert!(codes(&seen(&h, &leads[0]).await).contains(&"SENDER_DISABLED"));
        receiver.refuse_logins(false);
        let input = json!({ "id": ada, "enabled": true });
        h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
            .await;
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &leads[0]).await), ["one SENT a"]);
    }
);

both!(
    an_automatic_reply_holds_and_lateness_skips,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let one = person(&h, json!({ "email": "one@example.com" })).await;
        let steps = json!([
            email("one", "PT0S", &[&ada]),
            email("two", "P1D", &[&ada]),
            email("three", "P1D", &[&ada])
        ]);
        let settings = json!({ "autoReplyHold": "P3D", "maxLateness": "PT6H" });
        let leads = running(&h, steps, settings, &[&one]).await;
        settle(&h, &receiver).await;
        let answered_at = h.clock.now();
        engage(
            &h,
            &leads[0],
            "one",
            Engagement::AutoReplied { until: None },
        )
        .await;
        let lead = seen(&h, &leads[0]).await;
        assert_eq!(codes(&lead), ["AUTO_REPLY_HOLD"]);
        assert_eq!(
            at(&lead["blockers"][0]["until"]),
            answered_at + Duration::days(3)
        );
        later(&h, Duration::days(2));
        settle(&h, &receiver).await;
        assert_eq!(ran(&seen(&h, &leads[0]).await), ["one SENT a"]);
        h.clock
            .advance_to(answered_at + Duration::days(3) + Duration::hours(7));
        settle(&h, &receiver).await;
        // Seven hours late: skipped, and the next one waits its day.
        let lead = seen(&h, &leads[0]).await;
        assert_eq!(ran(&lead), ["one SENT a", "two SKIPPED"]);
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        assert_eq!(
            ran(&seen(&h, &leads[0]).await),
            ["one SENT a", "two SKIPPED", "three SENT a"]
        );
    }
);

both!(
    the_workspace_limits_messages_to_a_person_and_a_domain,
    |h: Harness| async move {
        let (receiver, ada) = (Receiver::default(), sender(&h, "ada").await);
        let mut people = Vec::new();
        for name in [
            "one@a.example",
            "two@a.example",
            "three@A.example",
            "four@b.example",
        ] {
            people.push(person(&h, json!({ "email": name })).await);
        }
        let people: Vec<&str> = people.iter().map(String::as_str).collect();
        let input = json!({ "maxMessagesPerPersonPerDay": 1, "maxMessagesPerDomainPerDay": 2,
                            "timeZone": "Europe/Lisbon" });
        h.mutate(
            "workspaceUpdate",
            "WorkspaceUpdateInput",
            input,
            "workspace { id }",
        )
        .await;
        let steps = json!([email("one", "PT0S", &[&ada])]);
        let first = running(&h, steps.clone(), json!({}), &people).await;
        let second = running(&h, steps, json!({}), &people).await;
        settle(&h, &receiver).await;
        let all: Vec<String> = first.iter().chain(&second).cloned().collect();
        let midnight: DateTime<Utc> = "2026-03-03T00:00:00Z".parse().expect("an instant");
        let mut told = Vec::new();
        for lead in &all {
            let lead = seen(&h, lead).await;
            told.push(format!("{:?} {:?}", ran(&lead), codes(&lead)));
            for blocker in lead["blockers"].as_array().expect("blockers") {
                assert_eq!(at(&blocker["until"]), midnight);
            }
        }
        let count = |what: &str| told.iter().filter(|told| told.contains(what)).count();
        // Two of the three at A and the one at B, once each; the third of A by the domain alone.
        assert_eq!(count("one SENT a"), 3, "{told:#?}");
        assert_eq!(count("PERSON_FREQUENCY"), 3, "{told:#?}");
        assert_eq!(count("DOMAIN_CAP"), 4, "{told:#?}");
        h.clock.advance_to(midnight - Duration::milliseconds(1));
        settle(&h, &receiver).await;
        assert_eq!(receiver.taken().values().sum::<usize>(), 3);
        h.clock.advance_to(midnight);
        settle(&h, &receiver).await;
        assert_eq!(receiver.taken().values().sum::<usize>(), 6);
        later(&h, Duration::days(3));
        settle(&h, &receiver).await;
        assert_eq!(receiver.taken().values().sum::<usize>(), 8);
    }
);
