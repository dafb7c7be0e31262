//! The inboxes of senders: set up, changed, taken away, and read by one node at a time.

use cadenza::domain::id::{SenderId, WorkerId};
use cadenza::domain::inbox::InboxState;
use cadenza::inbound::{Incoming, Place, TakeError, take_in};
use cadenza::store::mailbox::{self, Cursor, Held};
use cadenza::store::worker;
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::inbound::{Written, count};
use crate::leads::later;

const SELECT: &str =
    "sender { id inbox { host port security username login folder state reason retryAt } }";

fn inbox() -> Value {
    json!({ "host": "imap.example.com", "port": 993, "security": "TLS",
        "username": "ada@example.com", "secret": "geheim-zzq" })
}

fn sender(inbox: Value) -> Value {
    json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.com",
        "transport": { "outbox": {} }, "inbox": inbox })
}

fn with(mut inbox: Value, field: &str, value: Value) -> Value {
    inbox[field] = value;
    inbox
}

async fn made(h: &Harness) -> Value {
    let made = h.mutate("senderCreate", "SenderCreateInput", sender(inbox()), SELECT);
    made.await["sender"].take()
}

async fn updated(h: &Harness, id: &Value, inbox: Value) -> Value {
    let input = json!({ "id": id, "inbox": inbox });
    h.try_mutate("senderUpdate", "SenderUpdateInput", input, SELECT)
        .await
}

async fn row(h: &Harness, id: &Value) -> Option<mailbox::Row> {
    let sender: SenderId = id.as_str().expect("an id").parse().expect("an id");
    let found = mailbox::find_many(h.services.db.read(), h.admin.workspace, &[sender]).await;
    found.expect("found").pop()
}

both!(an_inbox_is_set_up_and_changed, |h: Harness| async move {
    let sender = made(&h).await;
    let expected = json!({ "host": "imap.example.com", "port": 993, "security": "TLS",
        "username": "ada@example.com", "login": "PASSWORD", "folder": "INBOX",
        "state": "WAITING", "reason": null, "retryAt": null });
    assert_eq!(sender["inbox"], expected);
    let id = &sender["id"];
    let kept = row(&h, id).await.expect("a mailbox");
    let sealed = kept.secret.as_deref().expect("a secret");
    assert!(!sealed.contains("geheim") && !kept.place.to_string().contains("geheim"));
    // The secret stays as long as it is the same login.
    let same = with(with(inbox(), "secret", Value::Null), "port", json!(1993));
    let changed = updated(&h, id, same).await;
    assert_eq!(changed["sender"]["inbox"]["port"], 1993);
    assert_eq!(row(&h, id).await.expect("a mailbox").secret, kept.secret);
    for (field, value) in [
        ("host", json!("evil.example.com")),
        ("username", json!("bob@example.com")),
        ("login", json!("XOAUTH2")),
        ("security", json!("NONE")),
    ] {
        let other = with(with(inbox(), "secret", Value::Null), field, value);
        let refused = updated(&h, id, other).await;
        assert_eq!(
            refused["userErrors"][0]["path"],
            json!(["inbox", "secret"]),
            "{field}"
        );
    }
    // What else is said of the sender leaves it as it is; null takes it away.
    let input = json!({ "id": id, "name": "Ada L" });
    let named = h
        .mutate("senderUpdate", "SenderUpdateInput", input, SELECT)
        .await;
    assert_eq!(named["sender"]["inbox"]["port"], 1993);
    let none = updated(&h, id, Value::Null).await;
    assert_eq!(none["sender"]["inbox"], Value::Null);
    assert!(row(&h, id).await.is_none());
});

both!(what_is_no_mailbox_is_refused, |h: Harness| async move {
    for (wrong, path) in [
        (with(inbox(), "host", json!("")), "host"),
        (with(inbox(), "host", json!("two words")), "host"),
        (with(inbox(), "port", json!(0)), "port"),
        (with(inbox(), "port", json!(70_000)), "port"),
        (with(inbox(), "username", json!(" ")), "username"),
        (with(inbox(), "folder", json!("Entwürfe")), "folder"),
        (with(inbox(), "folder", json!("a\r\nb")), "folder"),
        (with(inbox(), "secret", json!("a\r\nb")), "secret"),
        (with(inbox(), "secret", Value::Null), "secret"),
    ] {
        let select = "sender { id }";
        let refused = h.try_mutate("senderCreate", "SenderCreateInput", sender(wrong), select);
        let refused = refused.await;
        assert_eq!(
            refused["userErrors"][0]["path"],
            json!(["inbox", path]),
            "{refused}"
        );
    }
    let mut sms = sender(inbox());
    sms["channel"] = json!("SMS");
    sms["address"] = json!("+351912345678");
    let refused = h.try_mutate("senderCreate", "SenderCreateInput", sms, "sender { id }");
    assert_eq!(refused.await["userErrors"][0]["path"], json!(["inbox"]));
    assert_eq!(count(&h, "sender").await, 0);
    assert_eq!(count(&h, "inbound_mailbox").await, 0);
});

async fn node(h: &Harness, lease: Duration) -> WorkerId {
    let now = h.clock.now();
    let id: WorkerId = h.services.entropy.id(now);
    let made = worker::register(h.services.db.write(), id, now, now + lease).await;
    made.expect("a worker");
    id
}

async fn take(h: &Harness, sender: SenderId, worker: WorkerId) -> Option<Held> {
    let taken = mailbox::take(h.services.db.write(), sender, worker, h.clock.now());
    taken.await.expect("asked").map(|row| Held {
        sender,
        worker,
        revision: row.revision,
    })
}

both!(
    one_node_reads_a_mailbox_at_a_time,
    |h: Harness| async move {
        let id = made(&h).await["id"].clone();
        let sender: SenderId = id.as_str().expect("an id").parse().expect("an id");
        let (one, other) = (
            node(&h, Duration::seconds(30)).await,
            node(&h, Duration::days(1)).await,
        );
        let free = async || {
            mailbox::free(h.services.db.read(), h.clock.now(), 9)
                .await
                .expect("free")
        };
        assert_eq!(free().await, [sender]);
        let held = take(&h, sender, one).await.expect("free");
        assert!(free().await.is_empty());
        assert_eq!(take(&h, sender, other).await, None);
        // How far it is read is written with what was read, and by nobody else.
        let cursor = |uid| Cursor { validity: 7, uid };
        let incoming = |number| Incoming {
            workspace: h.admin.workspace,
            sender: Some(sender),
            raw: Written {
                from: "one@example.com",
                ..Written::default()
            }
            .raw(number)
            .as_bytes()
            .into(),
        };
        let place = |held, uid| {
            Some(Place {
                held,
                cursor: cursor(uid),
            })
        };
        let first = take_in(&h.services, incoming(1), place(held, 5)).await;
        assert!(first.expect("taken in").is_new);
        assert_eq!(
            Cursor::of(&row(&h, &id).await.expect("there")),
            Some(cursor(5))
        );
        // The node dies; another one goes on, and what the first still had is nobody's.
        later(&h, Duration::minutes(1));
        let next = take(&h, sender, other).await.expect("the lease ran out");
        let late = take_in(&h.services, incoming(2), place(held, 6)).await;
        assert!(matches!(late, Err(TakeError::Lost)), "{late:?}");
        assert_eq!(count(&h, "inbound_message").await, 1);
        assert!(
            take_in(&h.services, incoming(2), place(next, 6))
                .await
                .expect("taken in")
                .is_new
        );
        assert_eq!(
            Cursor::of(&row(&h, &id).await.expect("there")),
            Some(cursor(6))
        );
        // Trouble lets go of it for a time.
        let (db, retry_at) = (h.services.db.write(), h.clock.now() + Duration::minutes(5));
        mailbox::note_failed(db, next, ("The server is away.", None), retry_at)
            .await
            .expect("noted");
        assert!(free().await.is_empty());
        let failed = row(&h, &id).await.expect("there");
        assert_eq!((failed.state.as_str(), failed.failures), ("FAILED", 1));
        later(&h, Duration::minutes(5));
        assert_eq!(free().await, [sender]);
        let again = take(&h, sender, other).await.expect("free");
        assert!(
            mailbox::note_well(db, again, InboxState::Watched)
                .await
                .expect("noted")
        );
        // Whoever changes it takes it from its reader; the same folder is read on, another from its end.
        let same = with(inbox(), "secret", json!("other"));
        updated(&h, &id, same).await;
        assert!(
            !mailbox::is_held(db, again, h.clock.now())
                .await
                .expect("asked")
        );
        assert_eq!(
            Cursor::of(&row(&h, &id).await.expect("there")),
            Some(cursor(6))
        );
        updated(&h, &id, with(inbox(), "folder", json!("Answers"))).await;
        assert_eq!(Cursor::of(&row(&h, &id).await.expect("there")), None);
        assert_eq!(free().await, [sender]);
    }
);
