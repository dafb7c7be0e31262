//! kill -9 in the middle of reading a mailbox, restart, time and again: every mail is taken in exactly once.

use serde_json::{Value, json};

use crate::client::{Client, enrol, import};
use crate::inbound::{arrived, by_password, inbox_is, lead_of, sender, sequence, serve, write};
use crate::mail_world::MailWorld;
use crate::world::{Database, Server, World, until};

const MAILS: i64 = 150;
const KILLS: usize = 6;

async fn replies(client: &Client) -> i64 {
    let lead = lead_of(client, "carol@example.test").await;
    lead["engagement"]["replies"].as_i64().unwrap_or_default()
}

async fn told(client: &Client) -> usize {
    let query = "{ events(first: 250, filter: { kinds: [REPLIED] }) { kind } }";
    let told = client.run(query, json!({})).await;
    told["events"].as_array().map_or(0, Vec::len)
}

/// So many mails are taken in, or all of them.
async fn taken(server: &Server, world: &World, goal: i64) -> i64 {
    let client = server.client(world);
    let goal = goal.min(MAILS);
    until(&format!("{goal} mails are taken in"), 120, async || {
        let replies = replies(&client).await;
        (replies >= goal).then_some(replies)
    })
    .await
}

async fn kill(database: Database) {
    let mail = MailWorld::start().await;
    let world = World::new(database).await;
    let mut server = serve(&world, &mail).await;
    let client = server.client(&world);
    let ada = sender(&client, &mail, "ada", by_password(&mail, "ada", "adapw")).await;
    inbox_is(&client, &ada, "WATCHED").await;
    import(&client, "email\ncarol@example.test\n").await;
    let hello = sequence(&client, &ada).await;
    enrol(&client, &hello, "carol").await;
    let id = arrived(&mail, "carol", "About hello").await;
    // Each kill strikes while mails come in, and after another number of them.
    let writing = async {
        for _ in 0..MAILS {
            write(&mail, "carol@example.test", "ada@example.test", Some(&id)).await;
        }
    };
    let entropy = cadenza::entropy::Entropy::system();
    let killing = async {
        let mut done = 0;
        for _ in 0..KILLS {
            let more = i64::try_from(entropy.bits() % 24).expect("few") + 1;
            done = taken(&server, &world, done + more).await;
            server.kill().await;
            server = serve(&world, &mail).await;
        }
        server
    };
    let ((), server) = tokio::join!(writing, killing);
    assert_eq!(taken(&server, &world, MAILS).await, MAILS);
    // Nothing comes once more with what comes next.
    write(&mail, "carol@example.test", "ada@example.test", Some(&id)).await;
    let client = server.client(&world);
    until("the last one is taken in", 60, async || {
        (replies(&client).await > MAILS).then_some(())
    })
    .await;
    assert_eq!(replies(&client).await, MAILS + 1);
    assert_eq!(i64::try_from(told(&client).await).expect("few"), MAILS + 1);
    let inbox = inbox_is(&client, &ada, "WATCHED").await;
    assert_eq!(inbox["reason"], Value::Null);
    assert!(server.terminate().await, "a proper goodbye");
    mail.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_takes_every_mail_once_on_sqlite() {
    kill(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn killing_takes_every_mail_once_on_postgres() {
    kill(Database::Postgres).await;
}
