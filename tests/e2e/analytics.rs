//! `cadenza analytics verify`, after what a server has done.

use cadenza::store::Db;
use sea_orm::ConnectionTrait;
use serde_json::json;

use crate::client::{enrol, import, sequence, smtp_sender};
use crate::smtp_sink::{Options, SmtpSink};
use crate::world::{Database, World, until};

/// Exit code and standard output of the command.
async fn verify(world: &World, more: &[&str]) -> (Option<i32>, String) {
    let mut command = world.command(&["analytics", "verify"]);
    let ended = command.args(more).output().await.expect("runs");
    let told = String::from_utf8_lossy(&ended.stdout).into_owned();
    (ended.status.code(), told)
}

async fn by_hand(database: Database) {
    let world = World::new(database).await;
    let sink = SmtpSink::start(Options::default())
        .await
        .expect("a receiver");
    let server = world.serve().await;
    let client = server.client(&world);
    import(
        &client,
        "email,company\nok-1@example.org,Counted\nok-2@example.org,Counted\n",
    )
    .await;
    let sender = smtp_sender(&client, "Ada", sink.port()).await;
    let id = sequence(&client, &[sender], &[("PT0S", Some("Counted"))]).await;
    enrol(&client, &id, "counted").await;
    let id = id.as_str().expect("an id");
    let query = "{ leads { nodes { id status messagesSent executions { nodes { id } } } } }";
    let leads = until("both are sent", 60, async || {
        let data = client.run(query, json!({})).await;
        let nodes = data["leads"]["nodes"].as_array()?.clone();
        let are_sent = nodes.len() == 2 && nodes.iter().all(|node| node["messagesSent"] == 1);
        are_sent.then_some(nodes)
    })
    .await;
    // While the server runs, and afterwards.
    let clean = (
        Some(0),
        "1 sequences, 2 leads, 2 messages compared: 0 differences\n".to_owned(),
    );
    assert_eq!(verify(&world, &[]).await, clean);
    assert!(server.terminate().await, "a proper goodbye");
    assert_eq!(verify(&world, &[]).await, clean);

    let db = Db::connect(&world.url).await.expect("the database opens");
    for change in [
        "UPDATE lead SET messages_sent = messages_sent + 2",
        "UPDATE execution SET opens = 3",
    ] {
        let changed = db.write().execute_unprepared(change).await;
        changed.expect("is changed by hand");
    }
    db.close().await.expect("closes");
    let (code, told) = verify(&world, &[]).await;
    assert_eq!(code, Some(1), "{told}");
    for lead in &leads {
        let text = |value: &serde_json::Value| value.as_str().expect("an id").to_owned();
        let (of, execution) = (
            text(&lead["id"]),
            text(&lead["executions"]["nodes"][0]["id"]),
        );
        let line = format!("{id} {of}: messagesSent is 3, and by the log 1\n");
        assert!(told.contains(&line), "{told}");
        let line = format!("{id} {of} {execution}: opens is 3, and by the log 0\n");
        assert!(told.contains(&line), "{told}");
    }
    assert!(
        told.ends_with("2 messages compared: 4 differences\n"),
        "{told}"
    );
    let (code, _) = verify(&world, &["--workspace", "nobody's"]).await;
    assert_eq!(code, Some(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_by_hand_is_found_on_sqlite() {
    by_hand(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_changed_by_hand_is_found_on_postgres() {
    by_hand(Database::Postgres).await;
}
