//! What comes back by mail, with real servers: Postfix takes the messages and returns what nobody can get,
//! Dovecot holds the mailboxes, and another library writes the answers.

use std::time::Duration;

use lettre::message::header::ContentType;
use lettre::{AsyncSmtpTransport, AsyncTransport, Message, Tokio1Executor};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::client::{Client, always_open, enrol, import};
use crate::mail_world::MailWorld;
use crate::world::{Database, Server, World, until};

/// How soon an answer must be acted upon.
const WITHIN: Duration = Duration::from_secs(2);

/// A sender of the mail world, with its inbox.
pub async fn sender(client: &Client, mail: &MailWorld, name: &str, inbox: Value) -> Value {
    let input = json!({ "name": name, "channel": "EMAIL", "address": format!("{name}@example.test"),
        "transport": { "smtp": { "host": "127.0.0.1", "port": mail.smtp, "security": "NONE" } },
        "inbox": inbox });
    let made = client.mutate("senderCreate", "SenderCreateInput", input, "sender { id }");
    made.await["sender"]["id"].clone()
}

/// By a password, over a connection that becomes encrypted.
pub fn by_password(mail: &MailWorld, name: &str, password: &str) -> Value {
    json!({ "host": "localhost", "port": mail.imap, "security": "STARTTLS",
        "username": format!("{name}@example.test"), "secret": password })
}

/// By a token, over a connection that is encrypted from the first byte.
fn by_token(mail: &MailWorld, name: &str) -> Value {
    json!({ "host": "localhost", "port": mail.imaps, "security": "TLS", "login": "XOAUTH2",
        "username": format!("{name}@example.test"), "secret": format!("token-of-{name}") })
}

const INBOX: &str = "query($id: ID!) { sender(id: $id) { inbox { state reason retryAt } } }";

pub async fn inbox_is(client: &Client, sender: &Value, state: &str) -> Value {
    until(&format!("the inbox is {state}"), 30, async || {
        let seen = client.run(INBOX, json!({ "id": sender })).await;
        let inbox = seen["sender"]["inbox"].clone();
        (inbox["state"] == state).then_some(inbox)
    })
    .await
}

/// A published sequence of two emails, a week apart.
pub async fn sequence(client: &Client, sender: &Value) -> Value {
    let step = |key: &str, wait: &str| {
        json!({ "key": key, "wait": wait, "action": { "email": { "senderIds": [sender],
            "variants": [{ "subject": format!("About {key}"), "text": "Hello, shall we talk?" }] } } })
    };
    let steps = [step("hello", "PT0S"), step("again", "P7D")];
    let input = json!({ "name": "Answers", "flow": { "steps": steps }, "settings": always_open() });
    let made = client.mutate(
        "sequenceCreate",
        "SequenceCreateInput",
        input,
        "sequence { id }",
    );
    let id = made.await["sequence"]["id"].clone();
    let (input, select) = (json!({ "id": id }), "sequence { status }");
    client
        .mutate("sequencePublish", "SequencePublishInput", input, select)
        .await;
    id
}

pub async fn lead_of(client: &Client, email: &str) -> Value {
    let query = "{ leads(first: 50) { nodes { id status stopReason person { email }
        engagement { replies bounced } } } }";
    let all = client.run(query, json!({})).await;
    let nodes = all["leads"]["nodes"].as_array().expect("leads");
    let found = nodes.iter().find(|node| node["person"]["email"] == email);
    found.cloned().unwrap_or_default()
}

/// A mail to `to` that has come to its mailbox, with its Message-ID.
pub async fn arrived(mail: &MailWorld, name: &str, subject: &str) -> String {
    until("the message arrives", 60, async || {
        let mails = mail.mails(name);
        let found = mails
            .iter()
            .find(|mail| mail.contains(&format!("Subject: {subject}\n")))?;
        let line = found
            .lines()
            .find_map(|line| line.strip_prefix("Message-ID: "))?;
        Some(line.trim().to_owned())
    })
    .await
}

/// Somebody writes; answers when the server has taken it.
pub async fn write(mail: &MailWorld, from: &str, to: &str, answered: Option<&str>) -> Instant {
    let mut message = Message::builder()
        .from(from.parse().expect("an address"))
        .to(to.parse().expect("an address"))
        .subject("Re: About hello")
        .message_id(None)
        .header(ContentType::TEXT_PLAIN);
    if let Some(id) = answered {
        message = message.in_reply_to(id.to_owned()).references(id.to_owned());
    }
    let text = "Yes, on Monday.\r\n\r\nOn Friday somebody wrote:\r\n> Hello, shall we talk?\r\n";
    let message = message.body(text.to_owned()).expect("a mail");
    let transport = AsyncSmtpTransport::<Tokio1Executor>::builder_dangerous("127.0.0.1")
        .port(mail.smtp)
        .build();
    transport.send(message).await.expect("taken");
    Instant::now()
}

async fn stops(client: &Client, email: &str, reason: &str) -> Value {
    until(&format!("the lead of {email} stops"), 30, async || {
        let lead = lead_of(client, email).await;
        (lead["stopReason"] == reason).then_some(lead)
    })
    .await
}

pub async fn serve(world: &World, mail: &MailWorld) -> Server {
    let authority = mail.authority();
    let authority = authority.to_str().expect("a path");
    world.serve_in(&[("SSL_CERT_FILE", authority)]).await
}

async fn answers_and_bounces(database: Database) {
    let mail = MailWorld::start().await;
    let world = World::new(database).await;
    let server = serve(&world, &mail).await;
    let client = server.client(&world);
    // What was there before is not read.
    write(&mail, "carol@example.test", "ada@example.test", None).await;
    let ada = sender(&client, &mail, "ada", by_password(&mail, "ada", "adapw")).await;
    let inbox = inbox_is(&client, &ada, "WATCHED").await;
    assert_eq!(
        (&inbox["reason"], &inbox["retryAt"]),
        (&Value::Null, &Value::Null)
    );
    import(&client, "email\ncarol@example.test\nnobody@example.test\n").await;
    let hello = sequence(&client, &ada).await;
    enrol(&client, &hello, "example.test").await;

    // Postfix takes what it cannot deliver, and returns it.
    let lead = stops(&client, "nobody@example.test", "BOUNCED").await;
    assert_eq!(lead["engagement"]["bounced"], true);
    let again = sequence(&client, &ada).await;
    let done = enrol(&client, &again, "nobody").await;
    assert_eq!(
        (&done["succeeded"], &done["skipped"]),
        (&json!(0), &json!(1)),
        "{done}"
    );

    // An answer stops its lead within two seconds.
    let id = arrived(&mail, "carol", "About hello").await;
    assert_eq!(
        lead_of(&client, "carol@example.test").await["stopReason"],
        Value::Null
    );
    let taken_at = write(
        &mail,
        "Carol <carol@example.test>",
        "ada@example.test",
        Some(&id),
    )
    .await;
    let lead = stops(&client, "carol@example.test", "REPLIED").await;
    let after = taken_at.elapsed();
    assert!(after < WITHIN, "it took {after:?}");
    assert_eq!(lead["engagement"]["replies"], 1);
    assert_eq!(
        mail.unseen("ada"),
        mail.mails("ada").len(),
        "nothing is marked as read"
    );

    // A folder that is another one by its numbers is read again, and nothing happens twice.
    assert!(server.terminate().await, "a proper goodbye");
    mail.forget_uids("ada");
    let server = serve(&world, &mail).await;
    let client = server.client(&world);
    import(&client, "email\nbob@example.test\n").await;
    enrol(&client, &hello, "bob").await;
    let id = arrived(&mail, "bob", "About hello").await;
    write(&mail, "bob@example.test", "ada@example.test", Some(&id)).await;
    stops(&client, "bob@example.test", "REPLIED").await;
    let lead = lead_of(&client, "carol@example.test").await;
    assert_eq!(lead["engagement"]["replies"], 1);
    let told = "{ events(first: 50, filter: { kinds: [REPLIED, BOUNCED] }) { kind } }";
    let told = client.run(told, json!({})).await;
    assert_eq!(told["events"].as_array().map(Vec::len), Some(3), "{told}");
    assert!(server.terminate().await, "a proper goodbye");
    mail.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_bounces_stop_at_once_on_sqlite() {
    answers_and_bounces(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_and_bounces_stop_at_once_on_postgres() {
    answers_and_bounces(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_login_is_by_token_too_and_a_refused_one_is_told() {
    let mail = MailWorld::start().await;
    let world = World::new(Database::Sqlite).await;
    let server = serve(&world, &mail).await;
    let client = server.client(&world);
    let mut wrong = by_token(&mail, "bob");
    wrong["secret"] = json!("token-of-nobody");
    let bob = sender(&client, &mail, "bob", wrong).await;
    let inbox = inbox_is(&client, &bob, "FAILED").await;
    let reason = inbox["reason"].as_str().expect("a reason");
    assert!(
        reason.contains("login") && !reason.contains("token-of"),
        "{reason}"
    );
    assert!(inbox["retryAt"].is_string());
    // Corrected, it is read at once.
    let input = json!({ "id": bob, "inbox": by_token(&mail, "bob") });
    client
        .mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
        .await;
    inbox_is(&client, &bob, "WATCHED").await;
    import(&client, "email\ncarol@example.test\n").await;
    let hello = sequence(&client, &bob).await;
    enrol(&client, &hello, "carol").await;
    arrived(&mail, "carol", "About hello").await;
    // Without a word of what it answers, by the author alone.
    let taken_at = write(&mail, "carol@example.test", "bob@example.test", None).await;
    stops(&client, "carol@example.test", "REPLIED").await;
    assert!(
        taken_at.elapsed() < WITHIN,
        "it took {:?}",
        taken_at.elapsed()
    );
    // Nothing is read any more once the inbox is gone.
    let input = json!({ "id": bob, "inbox": null });
    let select = "sender { inbox { state } }";
    let none = client
        .mutate("senderUpdate", "SenderUpdateInput", input, select)
        .await;
    assert_eq!(none["sender"]["inbox"], Value::Null);
    assert!(server.terminate().await, "a proper goodbye");
    mail.end().await;
}

/// By tokens of a grant, whichever way.
fn by_grant(mail: &MailWorld, name: &str) -> Value {
    let username = format!("{name}@example.test");
    let smtp = json!({ "host": "localhost", "port": mail.submission, "security": "STARTTLS",
        "username": username, "login": "XOAUTH2" });
    let inbox = json!({ "host": "localhost", "port": mail.imaps, "security": "TLS",
        "username": username, "login": "XOAUTH2" });
    let oauth = json!({ "tokenUrl": mail.tokens.url(), "clientId": "cadenza",
        "refreshToken": format!("refresh-0-of-{name}") });
    json!({ "name": name, "channel": "EMAIL", "address": username, "transport": { "smtp": smtp },
        "inbox": inbox, "oauth": oauth })
}

async fn tokens_are_refreshed(database: Database) {
    let mail = MailWorld::start().await;
    let world = World::new(database).await;
    let authority = mail.authority();
    let authority = authority.to_str().expect("a path");
    let options = [
        ("SSL_CERT_FILE", authority),
        ("CADENZA_ALLOW_NETWORKS", "127.0.0.1"),
    ];
    let server = world.serve_in(&options).await;
    let client = server.client(&world);
    let input = by_grant(&mail, "ada");
    let made = client.mutate("senderCreate", "SenderCreateInput", input, "sender { id }");
    let ada = made.await["sender"]["id"].clone();
    inbox_is(&client, &ada, "WATCHED").await;
    import(&client, "email\ncarol@example.test\n").await;
    let hello = sequence(&client, &ada).await;
    enrol(&client, &hello, "carol").await;
    let id = arrived(&mail, "carol", "About hello").await;
    write(&mail, "carol@example.test", "ada@example.test", Some(&id)).await;
    stops(&client, "carol@example.test", "REPLIED").await;
    assert_eq!(mail.tokens.given("ada"), 1, "both log in by one token");
    let select = "check { canSend findings { kind status message } }";
    let input = json!({ "id": ada });
    let checked = client.mutate("senderCheck", "SenderCheckInput", input, select);
    let check = checked.await["check"].take();
    assert_eq!(check["canSend"], true, "{check}");
    assert_eq!(mail.tokens.given("ada"), 2);

    // Every token is taken back: the servers refuse the one that is kept, and both ways go on by the next.
    assert!(server.terminate().await, "a proper goodbye");
    mail.tokens.take_back();
    let server = world.serve_in(&options).await;
    let client = server.client(&world);
    import(&client, "email\nbob@example.test\n").await;
    enrol(&client, &hello, "bob").await;
    let id = arrived(&mail, "bob", "About hello").await;
    write(&mail, "bob@example.test", "ada@example.test", Some(&id)).await;
    stops(&client, "bob@example.test", "REPLIED").await;
    assert_eq!(mail.tokens.given("ada"), 3);
    let query = "query($id: ID!) { sender(id: $id) { oauth { state problem } } }";
    let seen = client.run(query, json!({ "id": ada })).await;
    assert_eq!(
        seen["sender"]["oauth"],
        json!({ "state": "READY", "problem": null })
    );
    assert!(server.terminate().await, "a proper goodbye");
    mail.end().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_refreshed_for_both_ways_on_sqlite() {
    tokens_are_refreshed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tokens_are_refreshed_for_both_ways_on_postgres() {
    tokens_are_refreshed(Database::Postgres).await;
}
