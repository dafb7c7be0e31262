//! A receiver that fails in every way at every stage: nothing arrives twice, and each execution
//! says what happened to it.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use crate::client::{Client, enrol, import, sequence, smtp_sender};
use crate::smtp_sink::{Options, SmtpSink};
use crate::world::{Database, World, until};

/// Recipient, the status that its execution must come to, and the code of its error.
const FATES: &[(&str, &str, Option<&str>)] = &[
    ("ok-1", "SENT", None),
    ("hard-rcpt", "FAILED", Some("UNKNOWN_RECIPIENT")),
    ("hard-data", "FAILED", Some("UNKNOWN_RECIPIENT")),
    ("hard-dot", "FAILED", Some("UNKNOWN_RECIPIENT")),
    ("soft-rcpt", "SCHEDULED", None),
    ("soft-data", "SCHEDULED", None),
    ("soft-dot", "SCHEDULED", None),
    ("late-drop", "UNCONFIRMED", Some("INTERRUPTED")),
    ("partial", "UNCONFIRMED", Some("INTERRUPTED")),
    ("ok-2", "SENT", None),
];

async fn chaos(database: Database) {
    let world = World::new(database).await;
    let sink = SmtpSink::start(Options::default())
        .await
        .expect("a receiver");
    let server = world.serve().await;
    let client = server.client(&world);
    let mut csv = String::from("email,company\n");
    for copy in 0..4 {
        for (name, ..) in FATES {
            csv.push_str(&format!("{name}.{copy}@example.org,Chaos\n"));
        }
    }
    import(&client, &csv).await;
    let sender = smtp_sender(&client, "Ada", sink.port()).await;
    let id = sequence(&client, &[sender], &[("PT0S", Some("Chaos"))]).await;
    enrol(&client, &id, "chaos").await;
    let executions = until("every execution has its verdict", 60, async || {
        let executions = executions(&client).await;
        let settled = executions.len() == FATES.len() * 4
            && executions
                .values()
                .all(|execution| execution["status"] != "SENDING");
        let attempted = executions.values().all(|execution| {
            execution["status"] != "SCHEDULED" || !execution["error"]["retryAt"].is_null()
        });
        (settled && attempted).then_some(executions)
    })
    .await;
    for (email, execution) in &executions {
        let name = email.split('.').next().expect("a name");
        let fate = FATES
            .iter()
            .find(|(fate, ..)| *fate == name)
            .expect("a fate");
        assert_eq!(execution["status"], fate.1, "{email}: {execution}");
        if let Some(code) = fate.2 {
            assert_eq!(execution["error"]["code"], code, "{email}: {execution}");
        }
        if fate.1 != "SENT" {
            let message = execution["error"]["message"].as_str().unwrap_or_default();
            assert!(!message.is_empty(), "{email}: {execution}");
        }
    }
    check_ledger(&sink, &executions);
    assert!(server.terminate().await, "a proper goodbye");
}

/// The ground truth: nobody got anything twice, and what was taken is what we say of it.
fn check_ledger(sink: &SmtpSink, executions: &BTreeMap<String, Value>) {
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for mail in sink.ledger() {
        *taken.entry(mail.rcpt).or_default() += 1;
    }
    for (email, count) in &taken {
        assert_eq!(*count, 1, "{email} got it {count} times");
        let status = executions[email]["status"].as_str();
        assert!(
            matches!(status, Some("SENT" | "UNCONFIRMED")),
            "{email}: {status:?}"
        );
    }
    for (email, execution) in executions {
        if execution["status"] == "SENT" {
            assert!(
                taken.contains_key(email),
                "{email} is called SENT but got nothing"
            );
        }
    }
}

pub async fn executions(client: &Client) -> BTreeMap<String, Value> {
    let query = "query ($after: String) { executions(first: 250, after: $after) {
        nodes { status stepKey attempt error { code message response retryAt }
                lead { status stopReason person { email } } }
        pageInfo { hasNextPage endCursor } } }";
    let mut found = BTreeMap::new();
    let mut after = Value::Null;
    loop {
        let mut data = client.run(query, json!({ "after": after })).await;
        let page = data["executions"].take();
        for node in page["nodes"].as_array().expect("nodes") {
            let email = node["lead"]["person"]["email"]
                .as_str()
                .expect("an email")
                .to_owned();
            let step = node["stepKey"].as_str().expect("a step");
            let key = if step == "s0" {
                email
            } else {
                format!("{email} {step}")
            };
            found.insert(key, node.clone());
        }
        if page["pageInfo"]["hasNextPage"] != true {
            return found;
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_on_sqlite() {
    chaos(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn chaos_on_postgres() {
    chaos(Database::Postgres).await;
}
