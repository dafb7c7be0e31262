//! What an edit does to the leads of a sequence, tried out: each kind of edit, and for each where a
//! lead can stand. `docs/edits.md` is written from it by `UPDATE=1`, and is what happens.

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};

use cadenza::app::engagement::{self, Engagement};
use cadenza::channel::dispatch::Channel as _;
use cadenza::domain::id::LeadId;
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine, LaneId};
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::blockers::always;
use crate::enrol::enrol;
use crate::harness::{self, Harness, Kind};
use crate::pains::{Receiver, node};
use crate::sequences::{done, sender};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/edits.md");

/// Where a lead stands when the sequence is edited, in the order of the page's columns.
const STANDS: [&str; 5] = [
    "before it",
    "at it, waiting",
    "at it, in flight",
    "at it, held",
    "behind it",
];

/// How a sequence is edited.
struct Edit {
    called: &'static str,
    /// Makes the new flow and settings of the old ones.
    changes: fn(&mut Written),
    /// What becomes of leads whose step is gone.
    policy: Value,
    then: Then,
}

/// What is done with the sequence once it is edited.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Then {
    Publish,
    PublishAfter(i64),
    /// It is published, and then every contact answers.
    Answer,
    LeaveDisabled,
    Archive,
}

/// A sequence as it is written.
struct Written {
    steps: Vec<Value>,
    settings: Value,
    /// The sender of every step.
    ada: String,
    /// A sender that no step has yet.
    bob: String,
}

impl Written {
    fn b(&mut self) -> &mut Value {
        &mut self.steps[1]
    }

    fn weigh(&mut self, first: u32, second: u32) {
        let variants = &mut self.b()["action"]["email"]["variants"];
        variants[0]["weight"] = json!(first);
        variants[1]["weight"] = json!(second);
    }
}

fn email(key: &str, sender: &str) -> Value {
    json!({ "key": key, "wait": "P1D", "action": { "email": { "senderIds": [sender],
        "variants": [{ "key": "x", "subject": key, "text": "Hello" }] } } })
}

/// Three emails, each a day after the one before; the second needs the company, and has another
/// variant that nobody gets.
fn written(ada: String, bob: String) -> Written {
    let mut steps: Vec<Value> = ["a", "b", "c"].map(|key| email(key, &ada)).into();
    steps[1]["action"]["email"]["variants"] = json!([
        { "key": "x", "subject": "b", "text": "{{ company }}" },
        { "key": "y", "weight": 0, "subject": "b by its other variant", "text": "{{ company }}" },
    ]);
    Written {
        steps,
        settings: always(),
        ada,
        bob,
    }
}

/// Windows of every day that open at this time.
fn opening_at(time: &str) -> Value {
    let mut settings = always();
    for window in settings["sendWindows"].as_array_mut().expect("windows") {
        window["from"] = json!(time);
    }
    settings
}

fn edits() -> Vec<Edit> {
    let edit = |called, changes| Edit {
        called,
        changes,
        policy: Value::Null,
        then: Then::Publish,
    };
    vec![
        edit("a step is added before it", |it| {
            let step = email("new", &it.ada);
            it.steps.insert(1, step);
        }),
        edit("a step is added after it", |it| {
            let step = email("new", &it.ada);
            it.steps.insert(2, step);
        }),
        Edit {
            policy: json!({ "next": true }),
            ..edit("it is removed, `next`", |it| drop(it.steps.remove(1)))
        },
        Edit {
            policy: json!({ "map": [{ "from": "b", "to": "new" }] }),
            ..edit("it is removed, `map` to a new last step", |it| {
                let mut step = it.steps.remove(1);
                step["key"] = json!("new");
                step["action"]["email"]["variants"] =
                    json!([{ "subject": "new", "text": "Hello" }]);
                it.steps.push(step);
            })
        },
        Edit {
            policy: json!({ "stop": true }),
            ..edit("it is removed, `stop`", |it| drop(it.steps.remove(1)))
        },
        edit("it is moved behind the step after it", |it| {
            it.steps.swap(1, 2)
        }),
        edit("the step before it leads past it", |it| {
            it.steps[0]["next"] = json!("c");
            it.steps[1]["next"] = json!("end");
            // Else nothing would lead to it.
            let asks = json!({ "predicate": { "has": ["EMAIL"] }, "yes": "a", "no": "b" });
            let fork = json!({ "key": "fork", "action": { "condition": asks } });
            it.steps.insert(0, fork);
        }),
        edit("its content is changed", |it| {
            it.b()["action"]["email"]["variants"][0]["subject"] = json!("b anew");
        }),
        edit("its content needs nothing any more", |it| {
            it.b()["action"]["email"]["variants"][0]["text"] = json!("Hello");
        }),
        edit("its wait is changed, from one day to three", |it| {
            it.b()["wait"] = json!("P3D");
        }),
        edit(
            "its variant is switched off, and the other has a weight",
            |it| {
                it.weigh(1, 1);
                it.b()["action"]["email"]["variants"][0]["enabled"] = json!(false);
            },
        ),
        edit("the weights of its variants are changed", |it| {
            it.weigh(0, 1)
        }),
        edit("its senders are changed", |it| {
            it.b()["action"]["email"]["senderIds"] = json!([it.bob]);
        }),
        edit("it becomes a task", |it| {
            it.b()["action"] = json!({ "task": { "channel": "TASK", "title": "Look" } });
        }),
        edit("it becomes a condition that holds", |it| {
            let asks = json!({ "predicate": { "has": ["EMAIL"] }, "yes": "c", "no": "end" });
            it.b()["action"] = json!({ "condition": asks });
        }),
        edit("windows open at 18:00, which is three hours later", |it| {
            it.settings = opening_at("18:00")
        }),
        edit("tomorrow becomes a holiday", |it| {
            it.settings["holidays"] = json!(["2026-03-05"]);
        }),
        edit("windows open at nine, on a clock where it is seven", |it| {
            it.settings = opening_at("09:00");
            it.settings["timeZone"] = json!("America/Los_Angeles");
            it.settings["windowClock"] = json!("SEQUENCE");
        }),
        edit("at most one message may be sent in a day", |it| {
            it.settings["maxSendsPerDay"] = json!(1);
        }),
        Edit {
            then: Then::Answer,
            ..edit("nothing, and every contact answers", |_| {})
        },
        Edit {
            then: Then::Answer,
            ..edit(
                "answers stop nobody any more, and every contact answers",
                |it| {
                    it.settings["stopOnReply"] = json!(false);
                },
            )
        },
        Edit {
            then: Then::LeaveDisabled,
            ..edit("the sequence is disabled", |_| {})
        },
        edit("the sequence is disabled and published as it was", |_| {}),
        Edit {
            then: Then::PublishAfter(36),
            ..edit(
                "the sequence is disabled, and published 36 hours later",
                |_| {},
            )
        },
        Edit {
            then: Then::PublishAfter(36),
            ..edit(
                "messages may be six hours late, and it is disabled and published 36 hours later",
                |it| it.settings["maxLateness"] = json!("PT6H"),
            )
        },
        Edit {
            then: Then::Archive,
            ..edit("the sequence is archived", |_| {})
        },
    ]
}

/// A lead of the page: who it is, and what it got before the edit.
struct Lead {
    id: String,
    due_before: Value,
    had: usize,
}

/// One edit, tried out.
struct Trial<'a> {
    h: &'a Harness,
    engine: Engine,
    receiver: Receiver,
    sequence: String,
}

impl Trial<'_> {
    /// Somebody enters the sequence; only who is held has no company.
    async fn enters(&self, who: &str, is_held: bool) {
        let company = (!is_held).then_some("Acme");
        let input = json!({ "email": format!("{who}@example.org"), "company": company });
        let made = self
            .h
            .mutate("personCreate", "PersonInput", input, "person { id }")
            .await;
        enrol(
            self.h,
            &self.sequence,
            json!({ "ids": [made["person"]["id"]] }),
        )
        .await;
    }

    /// What is due now is sent; answers when there is more.
    async fn serve(&self) -> Option<DateTime<Utc>> {
        self.engine.prolong().await.expect("it is there still");
        loop {
            let claim = self
                .engine
                .claim(50, &|_: LaneId| 50)
                .await
                .expect("claims");
            if claim.messages.is_empty() && !claim.progressed {
                return claim.next_at;
            }
            self.send(claim.messages).await;
        }
    }

    async fn send(&self, messages: Vec<Claimed>) {
        let mut ended = Vec::new();
        for claimed in messages {
            let prepared = self
                .receiver
                .prepare(&claimed.route, &claimed.letter)
                .expect("composes");
            let until = CancellationToken::new();
            let sent = self.receiver.send(&claimed.route, prepared, &until).await;
            ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
        }
        self.engine.record(&ended).await.expect("records");
    }

    async fn wait_until(&self, at: DateTime<Utc>) {
        while let Some(next) = self.serve().await.filter(|next| *next <= at) {
            self.h.clock.advance_to(next);
        }
        self.h.clock.advance_to(at);
    }

    async fn lead(&self, id: &str) -> Value {
        let query = "query($id: ID!) { lead(id: $id) { status stopReason dueAt currentStep { key }
            blockers { code } executions { nodes { stepKey status channel subject finishedAt
                sender { name } } } } }";
        self.h.data(query, json!({ "id": id })).await["lead"].take()
    }

    /// The leads, in the order in which they stand, and what the one in flight is on its way with.
    async fn leads(&self) -> (Vec<Lead>, Vec<Claimed>) {
        let start = self.h.clock.now();
        let hours = |hours| start + Duration::hours(hours);
        self.enters("behind", false).await;
        self.wait_until(hours(3)).await;
        self.enters("held", true).await;
        self.wait_until(hours(6)).await;
        self.enters("flying", false).await;
        self.wait_until(hours(27)).await;
        self.enters("waiting", false).await;
        self.wait_until(hours(52)).await;
        self.enters("before", false).await;
        // The second step of the one in flight is due at 54 hours.
        self.wait_until(hours(53)).await;
        self.h.clock.advance_to(hours(54));
        self.engine.prolong().await.expect("it is there still");
        let claim = self
            .engine
            .claim(50, &|_: LaneId| 50)
            .await
            .expect("claims");
        assert_eq!(claim.messages.len(), 1, "one is in flight");
        let query = "query($id: ID!) { sequence(id: $id) { leads(first: 10) { nodes { id
            person { email } } } } }";
        let data = self.h.data(query, json!({ "id": self.sequence })).await;
        let nodes = data["sequence"]["leads"]["nodes"]
            .as_array()
            .expect("leads");
        let mut leads = Vec::new();
        for who in ["before", "waiting", "flying", "held", "behind"] {
            let email = format!("{who}@example.org");
            let found = nodes.iter().find(|node| node["person"]["email"] == *email);
            let id = found
                .and_then(|node| node["id"].as_str())
                .expect("a lead")
                .to_owned();
            let lead = self.lead(&id).await;
            let executions = lead["executions"]["nodes"].as_array().expect("executions");
            let had = executions.iter().filter(|one| !one["finishedAt"].is_null());
            let (had, due_before) = (had.count(), lead["dueAt"].clone());
            leads.push(Lead {
                id,
                due_before,
                had,
            });
        }
        (leads, claim.messages)
    }
}

/// So many hours from one instant to another.
fn hours(from: DateTime<Utc>, to: &Value) -> i64 {
    let to: DateTime<Utc> = to
        .as_str()
        .and_then(|to| to.parse().ok())
        .expect("an instant");
    (to - from).num_hours()
}

/// Where a lead stands after the edit.
fn standing(before: &Lead, lead: &Value, now: DateTime<Utc>) -> String {
    let status = lead["status"].as_str().expect("a status");
    match lead["stopReason"].as_str() {
        Some(reason) => return format!("{status}, {reason}"),
        None if status == "COMPLETED" => return status.to_owned(),
        None => {}
    }
    let mut told = match lead["currentStep"]["key"].as_str() {
        Some(step) => format!("at {step}"),
        None => "at its step that is gone".to_owned(),
    };
    let due = &lead["dueAt"];
    if due.is_null() {
        let blockers = lead["blockers"].as_array().into_iter().flatten();
        let codes: Vec<&str> = blockers.filter_map(|one| one["code"].as_str()).collect();
        let _ = write!(told, ", {}", codes.join(", "));
    } else if *due == before.due_before {
        told.push_str(", due as before");
    } else {
        match hours(now, due) {
            0 => told.push_str(", due at once"),
            later => drop(write!(told, ", due after {later} h")),
        }
    }
    told
}

/// What became of a lead since the edit, step by step, and where it ended.
fn course(before: &Lead, lead: &Value, now: DateTime<Utc>) -> String {
    let executions = lead["executions"]["nodes"].as_array().expect("executions");
    let over = executions.iter().filter(|one| !one["finishedAt"].is_null());
    let mut over: Vec<&Value> = over.collect();
    over.sort_by_key(|one| one["finishedAt"].as_str());
    let told = over.iter().skip(before.had).map(|one| {
        let step = one["stepKey"].as_str().expect("a step");
        let subject = one["subject"].as_str().unwrap_or(step);
        let mut told = match one["status"].as_str() {
            Some("SENT") => subject.to_owned(),
            status => format!("{step} {}", status.unwrap_or_default()),
        };
        if one["sender"]["name"]
            .as_str()
            .is_some_and(|name| name == "bob")
        {
            told.push_str(" by the new sender");
        }
        match hours(now, &one["finishedAt"]) {
            0 => told,
            later => format!("{told} after {later} h"),
        }
    });
    let mut told: Vec<String> = told.collect();
    if lead["status"] != "COMPLETED" {
        told.push(standing(before, lead, now));
    }
    told.join(", ")
}

/// What an edit does to a lead in each standing, as cells.
async fn tried(h: &Harness, edit: &Edit) -> Vec<String> {
    let ada = sender(h, "ada").await;
    let bob = sender(h, "bob").await;
    let mut written = written(ada, bob);
    let input = json!({ "name": "Edited", "flow": { "steps": written.steps },
        "settings": written.settings });
    let id = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": id })).await;
    let receiver = Receiver::default();
    let trial = Trial {
        h,
        engine: node(h, &receiver).await,
        receiver,
        sequence: id.as_str().expect("an id").to_owned(),
    };
    let (leads, mut in_flight) = trial.leads().await;

    let now = h.clock.now();
    done(h, "sequenceDisable", json!({ "id": id })).await;
    (edit.changes)(&mut written);
    let input =
        json!({ "id": id, "flow": { "steps": written.steps }, "settings": written.settings });
    done(h, "sequenceUpdate", input).await;
    let publish = json!({ "id": id, "onRemovedStep": edit.policy });
    match edit.then {
        Then::Publish | Then::Answer => drop(done(h, "sequencePublish", publish).await),
        Then::PublishAfter(hours) => {
            trial.send(std::mem::take(&mut in_flight)).await;
            trial.wait_until(now + Duration::hours(hours)).await;
            done(h, "sequencePublish", publish).await;
        }
        Then::LeaveDisabled => {}
        Then::Archive => drop(done(h, "sequenceArchive", json!({ "id": id })).await),
    }
    let mut cells = Vec::new();
    for lead in &leads {
        if edit.then == Then::Answer {
            let id: LeadId = lead.id.parse().expect("an id");
            let (services, workspace) = (&h.services, h.admin.workspace);
            engagement::record(services, workspace, id, None, Engagement::Replied, now)
                .await
                .expect("recorded");
        }
        let stands = standing(lead, &trial.lead(&lead.id).await, now);
        cells.push(stands);
    }
    trial.send(in_flight).await;
    trial.wait_until(now + Duration::days(20)).await;
    for (cell, lead) in cells.iter_mut().zip(&leads) {
        let then = course(lead, &trial.lead(&lead.id).await, now);
        if then != *cell && !then.is_empty() {
            let _ = write!(cell, "; then {then}");
        }
    }
    cells
}

/// Each edit on a database of its own, so that none meets another's day or senders.
async fn page(kind: Kind) -> String {
    let mut page = String::from(
        "# What an edit does to leads\n\n\
         Each edit is tried out on a sequence of three emails a, b and c, a day apart, and this page is\n\
         what happened: it is written by a test (`UPDATE=1 cargo nextest run edits`), which fails when it\n\
         differs. The edit is made to b, or to the whole sequence, while one lead stands before b, one\n\
         waits for b, one's b is on its way, one lacks data for b, and one has b behind it. The sequence\n\
         is disabled, edited and published again; a cell tells where the lead stands right after that,\n\
         and what it comes to then, with the hours since the edit. The message that is on its way\n\
         arrives.\n\n\
         A lead that is at work at a task or a condition which is removed goes on as if that were over\n\
         now: the wait of the step to which it moves begins, on the sequence's clock.\n\n",
    );
    let _ = writeln!(page, "| the edit | {} |", STANDS.join(" | "));
    let _ = writeln!(page, "|{}", " --- |".repeat(STANDS.len() + 1));
    for edit in edits() {
        let cells = Arc::new(Mutex::new(Vec::new()));
        let told = Arc::clone(&cells);
        let called = edit.called;
        harness::run(kind, async move |h| {
            let cells = tried(&h, &edit).await;
            *told.lock().expect("the cells") = cells;
        })
        .await;
        let cells = cells.lock().expect("the cells");
        let _ = writeln!(page, "| {called} | {} |", cells.join(" | "));
    }
    page
}

fn is_as_kept(page: &str) {
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        kept == page,
        "docs/edits.md is not what happens: `UPDATE=1 cargo nextest run edits` writes it anew"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_what_edits_do_on_sqlite() {
    let page = page(Kind::Sqlite).await;
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &page).expect("the page is written");
    }
    is_as_kept(&page);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_page_says_what_edits_do_on_postgres() {
    let page = page(Kind::Postgres).await;
    // The other test writes it, at the same time.
    if std::env::var_os("UPDATE").is_none() {
        is_as_kept(&page);
    }
}
