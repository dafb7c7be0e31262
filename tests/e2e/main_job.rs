//! The main job on real input: two thousand varied people, a two-step sequence, a real receiver,
//! watched live.

use std::collections::{BTreeMap, BTreeSet};

use mail_parser::MessageParser;
use serde_json::{Value, json};

use crate::client::{enrol, import, sequence, smtp_sender};
use crate::smtp_sink::{Options, SmtpSink};
use crate::world::{Database, World, until};

const PEOPLE: usize = 2_000;

/// Names in many scripts, long addresses, several zones, quotes and empty fields.
fn csv() -> String {
    let names = [
        ("Ana", "García-López"),
        ("太郎", "山田"),
        ("Мария", "Иванова"),
        ("ليلى", "حداد"),
        ("אורי", "כהן"),
        ("Zoë", "O'Neill"),
        ("", "Müller"),
        ("Jo \"\"J\"\"", "D'Arc, Jr."),
        ("อรุณ", "สุข"),
        ("Nguyễn", "Thị"),
        ("Ὀδυσσεύς", "Λαέρτης"),
        ("Björk", "Guðmundsdóttir"),
    ];
    let zones = [
        "Europe/Lisbon",
        "America/New_York",
        "Asia/Tokyo",
        "",
        "Australia/Lord_Howe",
    ];
    let mut csv =
        String::from("\u{feff}Email;First name;Last name;Company;Time zone;Shoe size\r\n");
    for number in 0..PEOPLE {
        let (first, last) = names[number % names.len()];
        let zone = zones[number % zones.len()];
        let pad = "x".repeat(number % 50);
        csv.push_str(&format!(
            "ok-{number}-{pad}@example.org;\"{first}\";\"{last}\";\"Main Job, Inc.\";{zone};{}\r\n",
            number % 50
        ));
    }
    csv
}

async fn main_job(database: Database) {
    let world = World::new(database).await;
    let sink = SmtpSink::start(Options::default())
        .await
        .expect("a receiver");
    let server = world.serve().await;
    let client = server.client(&world);
    let imported = import(&client, &csv()).await;
    assert_eq!(imported["succeeded"], PEOPLE, "{imported}");
    let sender = smtp_sender(&client, "Ada", sink.port()).await;
    let id = sequence(
        &client,
        &[sender],
        &[("PT0S", Some("Hello {{ company }}")), ("PT1S", None)],
    )
    .await;

    // The watcher starts from the log's end as it is before anybody is enrolled: however long its
    // connection takes, it sees every message leave.
    let watcher = client.clone();
    let events = client
        .run("{ events(first: 250) { cursor } }", json!({}))
        .await;
    let after = events["events"].as_array().and_then(|events| events.last());
    let after = after.expect("the publishing is in the log")["cursor"].clone();
    let watched = tokio::spawn(async move {
        let mut seen: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        let mut cursors = Vec::new();
        let mut completed = 0;
        let query = "subscription ($after: EventCursor) { executionEvents(after: $after, filter: {
            kinds: [EXECUTION_SENT, EXECUTION_FAILED, EXECUTION_UNCONFIRMED, LEAD_COMPLETED] }) {
            cursor kind stepKey lead { id } } }";
        watcher
            .follow(query, json!({ "after": after }), |data| {
                let event = &data["executionEvents"];
                cursors.push(event["cursor"].as_str().expect("a cursor").to_owned());
                match event["kind"].as_str() {
                    Some("EXECUTION_SENT") => {
                        let lead = event["lead"]["id"].as_str().expect("a lead").to_owned();
                        let step = event["stepKey"].as_str().expect("a step").to_owned();
                        assert!(
                            seen.entry(lead).or_default().insert(step),
                            "seen twice: {event}"
                        );
                    }
                    Some("LEAD_COMPLETED") => completed += 1,
                    other => panic!("{other:?}: {event}"),
                }
                completed == PEOPLE
            })
            .await;
        (seen, cursors)
    });
    let enrolled = enrol(&client, &id, "main job").await;
    assert_eq!(enrolled["succeeded"], PEOPLE, "{enrolled}");
    let (seen, cursors) = tokio::time::timeout(std::time::Duration::from_secs(120), watched)
        .await
        .expect("everything leaves within two minutes")
        .expect("the watcher lives");
    assert_eq!(seen.len(), PEOPLE);
    assert!(
        seen.values().all(|steps| steps.len() == 2),
        "both steps of everybody"
    );
    assert!(cursors.is_sorted(), "cursors come in their order");

    let received = sink.ledger();
    let mut per_person: BTreeMap<&str, Vec<&crate::smtp_sink::Received>> = BTreeMap::new();
    for mail in &received {
        per_person.entry(&mail.rcpt).or_default().push(mail);
    }
    assert_eq!(per_person.len(), PEOPLE);
    for (rcpt, mails) in per_person {
        assert_eq!(mails.len(), 2, "{rcpt} got each step's mail exactly once");
        check_mails(rcpt, &mails);
    }
    check_counts(&client, &id).await;
    assert!(server.terminate().await, "a proper goodbye");
}

fn check_mails(rcpt: &str, mails: &[&crate::smtp_sink::Received]) {
    let parsed: Vec<_> = mails
        .iter()
        .map(|mail| {
            MessageParser::default()
                .parse(&mail.raw)
                .expect("another parser reads it")
        })
        .collect();
    for message in &parsed {
        let to = message.to().and_then(|to| to.first()).expect("one To");
        assert_eq!(to.address(), Some(rcpt));
        let from = message
            .from()
            .and_then(|from| from.first())
            .expect("one From");
        assert_eq!(from.address(), Some("ada@cadenza.example"));
        assert_eq!(message.text_body_count(), 1);
        assert_eq!(message.html_body_count(), 1);
        let text = message.body_text(0).expect("a text part");
        assert!(
            text.contains("Hello ") && text.contains("From Ada"),
            "{text}"
        );
        assert!(
            message
                .message_id()
                .is_some_and(|id| id.ends_with("@cadenza.example"))
        );
        assert!(message.date().is_some());
    }
    let (first, second) = (&parsed[0], &parsed[1]);
    assert_eq!(first.subject(), Some("Hello Main Job, Inc."));
    assert_eq!(second.subject(), Some("Re: Hello Main Job, Inc."));
    assert_eq!(second.in_reply_to().as_text(), first.message_id());
    assert_eq!(second.references().as_text(), first.message_id());
}

async fn check_counts(client: &crate::client::Client, id: &Value) {
    let query = "query ($id: ID!) { sequence(id: $id) {
        leadCounts { completed total } analytics { funnel { contacted } } } }";
    let done = until("the counts agree", 20, async || {
        let data = client.run(query, json!({ "id": id })).await;
        let sequence = data["sequence"].clone();
        (sequence["leadCounts"]["completed"] == PEOPLE).then_some(sequence)
    })
    .await;
    assert_eq!(done["leadCounts"]["total"], PEOPLE);
    assert_eq!(done["analytics"]["funnel"]["contacted"], PEOPLE);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_on_sqlite() {
    main_job(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_on_postgres() {
    main_job(Database::Postgres).await;
}
