//! The binary as an operator meets it.

use serde_json::json;

use crate::client::{enrol, import, sequence, smtp_sender};
use crate::smtp_sink::{Options, SmtpSink};
use crate::world::{Database, World, until};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_server_on_one_sqlite_file_is_refused() {
    let world = World::new(Database::Sqlite).await;
    let server = world.serve().await;
    let second = world
        .command(&["serve", "--listen", "127.0.0.1:0"])
        .output()
        .await
        .expect("runs");
    assert!(!second.status.success());
    let message = String::from_utf8_lossy(&second.stderr);
    assert!(message.contains("cadenza.db"), "names the file: {message}");
    // The first one is none the worse for it, and a token can be made meanwhile.
    server.client(&world).run("{ __typename }", json!({})).await;
    let made = world
        .command(&[
            "token",
            "create",
            "--workspace",
            "other",
            "--role",
            "viewer",
        ])
        .output()
        .await
        .expect("runs");
    assert!(
        made.status.success(),
        "{}",
        String::from_utf8_lossy(&made.stderr)
    );
    assert!(server.terminate().await, "a proper goodbye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_unreachable_database_is_reported() {
    let mut world = World::new(Database::Sqlite).await;
    world.url = "postgres://nobody@127.0.0.1:1/none".into();
    let ended = world
        .command(&["serve", "--listen", "127.0.0.1:0", "--connect-seconds", "1"])
        .output()
        .await
        .expect("runs");
    assert!(!ended.status.success());
    let message = String::from_utf8_lossy(&ended.stderr).to_lowercase();
    assert!(
        message.contains("database"),
        "says what is wrong: {message}"
    );
}

/// An SMTP server that is away uses up no attempt: when it comes back, everything leaves once.
async fn smtp_outage(database: Database) {
    let world = World::new(database).await;
    let sink = SmtpSink::start(Options::default())
        .await
        .expect("a receiver");
    let port = sink.port();
    drop(sink);
    let server = world.serve().await;
    let client = server.client(&world);
    import(
        &client,
        "email,company\nok-1@example.org,Outage\nok-2@example.org,Outage\n",
    )
    .await;
    let sender = smtp_sender(&client, "Ada", port).await;
    let id = sequence(&client, &[sender], &[("PT0S", Some("Outage"))]).await;
    enrol(&client, &id, "outage").await;
    let query = "{ executions { nodes { status error { code retryAt } } } }";
    until("the trouble is reported", 30, async || {
        let data = client.run(query, json!({})).await;
        let nodes = data["executions"]["nodes"].as_array()?.clone();
        (nodes
            .iter()
            .any(|node| node["error"]["code"] == "CONNECTION_FAILED"))
        .then_some(())
    })
    .await;
    let sink = SmtpSink::start_on(port, Options::default())
        .await
        .expect("the port again");
    until("everything leaves", 60, async || {
        (sink.ledger().len() == 2).then_some(())
    })
    .await;
    until("and is recorded", 20, async || {
        let data = client.run(query, json!({})).await;
        let nodes = data["executions"]["nodes"].as_array()?.clone();
        nodes
            .iter()
            .all(|node| node["status"] == "SENT")
            .then_some(())
    })
    .await;
    assert!(server.terminate().await, "a proper goodbye");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_smtp_outage_loses_nothing_on_sqlite() {
    smtp_outage(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_smtp_outage_loses_nothing_on_postgres() {
    smtp_outage(Database::Postgres).await;
}
