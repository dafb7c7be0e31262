//! kill -9 in the middle of sending, restart, twenty times over: nothing twice, nothing lost, and
//! what is ambiguous is UNCONFIRMED.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::json;

use crate::chaos::executions;
use crate::client::{enrol, import, sequence, smtp_sender};
use crate::smtp_sink::{Options, SmtpSink};
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

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_on_sqlite() {
    kill(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killed_twenty_times_on_postgres() {
    kill(Database::Postgres).await;
}
