//! kill -9 in the middle of sending, restart, twenty times over: nothing twice, nothing lost, and
//! what is ambiguous is UNCONFIRMED.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use serde_json::{Value, json};

use crate::chaos::executions;
use crate::client::{Client, always_open, enrol, import, sequence, smtp_sender};
use crate::smtp_sink::{Options, SmtpSink};
use crate::web_sink::{Reply, WebSink};
use crate::world::{Database, World, until};

const PEOPLE: usize = 10_000;
const KILLS: usize = 20;

async fn kill(database: Database) {
    let world = World::new(database).await;
    // Slow enough that every kill finds messages on their way.
    let sink = SmtpSink::start(Options {
        slow: Duration::from_millis(40),
        ..Options::default()
    })
    .await
    .expect("a receiver");
    let mut server = world.serve().await;
    let client = server.client(&world);
    let mut csv = String::from("email,company\n");
    for number in 0..PEOPLE {
        csv.push_str(&format!("late-slow-{number}@example.org,Kill\n"));
    }
    import(&client, &csv).await;
    let sender = smtp_sender(&client, "Ada", sink.port()).await;
    let id = sequence(&client, &[sender], &[("PT0S", Some("Kill"))]).await;
    enrol(&client, &id, "kill").await;
    let pending = "query ($id: ID!) { sequence(id: $id) { leadCounts { pending inProgress } } }";
    for _ in 0..KILLS {
        let goal = taken(&sink) + 20;
        until("messages arrive", 60, async || {
            (taken(&sink) >= goal).then_some(())
        })
        .await;
        let data = server
            .client(&world)
            .run(pending, json!({ "id": id }))
            .await;
        let counts = &data["sequence"]["leadCounts"];
        assert!(
            counts["pending"] != 0 || counts["inProgress"] != 0,
            "every kill strikes while messages are leaving"
        );
        server.kill().await;
        server = world.serve().await;
    }
    let client = server.client(&world);
    let query = "query ($id: ID!) { sequence(id: $id) { leadCounts { pending completed } }
        executions(filter: { status: [SENDING, SCHEDULED] }, first: 1) { nodes { id } } }";
    until("everything has ended", 120, async || {
        let data = client.run(query, json!({ "id": id })).await;
        let pending = &data["sequence"]["leadCounts"]["pending"];
        (*pending == 0 && data["executions"]["nodes"] == json!([])).then_some(())
    })
    .await;
    let executions = executions(&client).await;
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for mail in sink.ledger() {
        *taken.entry(mail.rcpt).or_default() += 1;
    }
    assert!(
        taken.values().all(|count| *count == 1),
        "somebody got it twice"
    );
    assert_eq!(executions.len(), PEOPLE, "somebody was lost");
    let (mut unconfirmed, mut never_left) = (0, 0);
    for (email, execution) in &executions {
        match execution["status"].as_str() {
            Some("SENT") => assert!(taken.contains_key(email), "{email}: SENT but never taken"),
            Some("UNCONFIRMED") => {
                unconfirmed += 1;
                never_left += usize::from(!taken.contains_key(email));
            }
            other => panic!("{email}: {other:?}"),
        }
    }
    for email in taken.keys() {
        assert!(
            executions.contains_key(email),
            "{email} got a message that we do not know of"
        );
    }
    // Only what was claimed is in doubt. Of that, what never left is at most what may be claimed at
    // once: four messages for each connection.
    assert!(unconfirmed > 0, "no kill left anything in doubt");
    assert!(never_left <= KILLS * 64 * 4, "{never_left} never left");
    assert!(server.terminate().await, "a proper goodbye");
}

fn taken(sink: &SmtpSink) -> usize {
    usize::try_from(sink.accepted()).expect("few")
}

const PEOPLE_AT_STEPS: usize = 3_000;
const KILLS_AT_STEPS: usize = 8;

/// A condition, a request, a task that nobody does, and an email.
async fn steps(client: &Client, sender: &Value, url: &str) -> Value {
    let steps = json!([
        { "key": "known", "action": { "condition": { "predicate": { "has": ["EMAIL"] },
            "within": "PT1H", "yes": "hook", "no": "end" } } },
        { "key": "hook", "action": { "webhook": { "url": url } } },
        { "key": "look", "action": { "task": { "channel": "TASK", "title": "Look",
            "timeout": "PT1S" } } },
        { "key": "s0", "action": { "email": { "senderIds": [sender],
            "variants": [{ "subject": "Kill", "text": "Hello" }] } } },
    ]);
    let input = json!({ "name": "Steps", "flow": { "steps": steps }, "settings": always_open() });
    let made = client
        .mutate(
            "sequenceCreate",
            "SequenceCreateInput",
            input,
            "sequence { id }",
        )
        .await;
    let id = made["sequence"]["id"].clone();
    let select = "sequence { status } problems { message }";
    let input = json!({ "id": id });
    client
        .mutate("sequencePublish", "SequencePublishInput", input, select)
        .await;
    id
}

/// Killed amid conditions, requests and tasks: each is carried out once for each lead, and a request
/// that was perhaps made is made again under its own id, and under no other.
async fn kill_amid_steps(database: Database) {
    let world = World::new(database).await;
    let hooks = WebSink::start(|_| Reply::Say(200, Vec::new(), String::new()))
        .await
        .expect("a receiver");
    let sink = SmtpSink::start(Options::default())
        .await
        .expect("a receiver");
    let serve = async || {
        let local = ["--allow-networks", "127.0.0.1"];
        world.serve_with(&local).await
    };
    let mut server = serve().await;
    let client = server.client(&world);
    let mut csv = String::from("email,company\n");
    for number in 0..PEOPLE_AT_STEPS {
        csv.push_str(&format!("step-{number}@example.org,Kill\n"));
    }
    import(&client, &csv).await;
    let sender = smtp_sender(&client, "Ada", sink.port()).await;
    let id = steps(&client, &sender, &hooks.url("/hook")).await;
    enrol(&client, &id, "kill").await;
    let counts = "query ($id: ID!) { sequence(id: $id) { leadCounts { pending inProgress } } }";
    for _ in 0..KILLS_AT_STEPS {
        let goal = hooks.seen().len() + 100;
        until("requests are made", 60, async || {
            (hooks.seen().len() >= goal).then_some(())
        })
        .await;
        let data = server.client(&world).run(counts, json!({ "id": id })).await;
        let counts = &data["sequence"]["leadCounts"];
        assert!(
            counts["pending"] != 0 || counts["inProgress"] != 0,
            "every kill strikes while leads are under way"
        );
        server.kill().await;
        server = serve().await;
    }
    let client = server.client(&world);
    let query = "query ($id: ID!) { sequence(id: $id) { leadCounts { completed } }
        unconfirmed: executions(filter: { status: [UNCONFIRMED] }) { totalCount } }";
    until("everything has ended", 180, async || {
        let data = client.run(query, json!({ "id": id })).await;
        let completed = data["sequence"]["leadCounts"]["completed"].as_u64();
        let waiting = data["unconfirmed"]["totalCount"].as_u64();
        let ended = completed.zip(waiting).map(|(one, other)| one + other);
        (ended == u64::try_from(PEOPLE_AT_STEPS).ok()).then_some(())
    })
    .await;
    check_steps(&executions(&client).await, &hooks, &sink);
    assert!(server.terminate().await, "a proper goodbye");
}

fn check_steps(executions: &BTreeMap<String, Value>, hooks: &WebSink, sink: &SmtpSink) {
    let mut requests: BTreeMap<String, usize> = BTreeMap::new();
    let mut of_lead: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for seen in hooks.seen() {
        let id = seen.header("webhook-id").to_owned();
        *requests.entry(id.clone()).or_default() += 1;
        let body: Value = serde_json::from_str(&seen.body).expect("JSON");
        let lead = body["data"]["leadId"].as_str().expect("a lead").to_owned();
        of_lead.entry(lead).or_default().insert(id);
    }
    assert_eq!(of_lead.len(), PEOPLE_AT_STEPS, "a request was lost");
    assert!(
        of_lead.values().all(|ids| ids.len() == 1),
        "a lead's step made requests under two ids"
    );
    // Whoever forgets what it saw under an id sees some twice: those that were under way at a kill.
    let again: usize = requests.values().map(|count| count - 1).sum();
    assert!(again <= KILLS_AT_STEPS * 64 * 4, "{again} requests again");
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for mail in sink.ledger() {
        *taken.entry(mail.rcpt).or_default() += 1;
    }
    assert!(
        taken.values().all(|count| *count == 1),
        "somebody got it twice"
    );
    for number in 0..PEOPLE_AT_STEPS {
        let email = format!("step-{number}@example.org");
        let status = |key: String| executions.get(&key).and_then(|one| one["status"].as_str());
        assert_eq!(status(format!("{email} known")), Some("SENT"), "{email}");
        assert_eq!(status(format!("{email} hook")), Some("SENT"), "{email}");
        assert_eq!(status(format!("{email} look")), Some("SKIPPED"), "{email}");
        match status(email.clone()) {
            Some("SENT") => assert!(taken.contains_key(&email), "{email}: SENT but never taken"),
            Some("UNCONFIRMED") => {}
            other => panic!("{email}: {other:?}"),
        }
    }
    assert_eq!(
        executions.len(),
        PEOPLE_AT_STEPS * 4,
        "one of each step for each lead"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_amid_every_kind_of_step_on_sqlite() {
    kill_amid_steps(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_amid_every_kind_of_step_on_postgres() {
    kill_amid_steps(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_on_sqlite() {
    kill(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_on_postgres() {
    kill(Database::Postgres).await;
}
