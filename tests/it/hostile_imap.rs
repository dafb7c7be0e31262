//! Mailboxes on servers that misbehave: reading one ends, in bounded memory and time, with a reason that people
//! understand, and costs no other mailbox anything.

use std::time::Duration;

use cadenza::channel::imap::ImapTimeouts;
use cadenza::domain::id::WorkerId;
use cadenza::inbound::reading::{Patience, Reader};
use cadenza::store::worker;
use serde_json::{Value, json};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, both, until};
use crate::imap_sink::{ImapSink, Manner};
use crate::inbound::count;
use crate::leads::later;

const SECRET: &str = "geheim-zzq";

/// A node that reads mailboxes, and has little patience.
struct Node {
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    async fn start(h: &Harness) -> Self {
        let now = h.clock.now();
        let worker: WorkerId = h.services.entropy.id(now);
        let lease = now + chrono::Duration::days(30);
        worker::register(h.services.db.write(), worker, now, lease)
            .await
            .expect("registered");
        let step = Duration::from_secs(5);
        let patience = Patience {
            timeouts: ImapTimeouts {
                connect: step,
                command: step,
                fetch: step,
            },
            idle: Duration::from_secs(2),
            poll: Duration::from_millis(50),
        };
        let shutdown = CancellationToken::new();
        let reader = Reader::new(h.services.clone(), move || worker).with(patience);
        let task = tokio::spawn(reader.run(shutdown.clone()));
        Self { shutdown, task }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.expect("it ends properly");
    }
}

/// A sender whose answers arrive at this server.
async fn mailbox(h: &Harness, sink: &ImapSink, security: &str) -> Value {
    let inbox = json!({ "host": "127.0.0.1", "port": sink.port(), "security": security,
        "username": "ada@example.com", "secret": SECRET });
    let input = json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.com",
        "transport": { "outbox": {} }, "inbox": inbox });
    let made = h.mutate("senderCreate", "SenderCreateInput", input, "sender { id }");
    made.await["sender"]["id"].take()
}

async fn inbox_of(h: &Harness, sender: &Value) -> Value {
    let query = "query($id: ID!) { sender(id: $id) { inbox { state reason } } }";
    let found = h.data(query, json!({ "id": sender })).await;
    found["sender"]["inbox"].clone()
}

/// Waits while the reader's time passes.
async fn passing<T>(h: &Harness, what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    until(what, async || {
        later(h, chrono::Duration::milliseconds(500));
        look().await
    })
    .await
}

/// The most memory that this process has ever had, in bytes, where that is told.
fn most_memory() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))?;
    let kib: u64 = line.trim().trim_end_matches(" kB").parse().ok()?;
    Some(kib << 10)
}

/// Every manner by which reading fails, and what people are told of it.
const FAILS: &[(Manner, &str, &str)] = &[
    (Manner::Mute, "NONE", "did not answer within"),
    (Manner::Bye, "NONE", "too many of you"),
    (Manner::Stranger, "NONE", "cannot be understood"),
    (
        Manner::EndlessGreeting,
        "NONE",
        "sent more than it was asked for",
    ),
    (
        Manner::EndlessLines,
        "NONE",
        "sent more than it was asked for",
    ),
    (
        Manner::EndlessLine,
        "NONE",
        "sent more than it was asked for",
    ),
    (Manner::Crumbs, "NONE", "in crumbs"),
    (Manner::NeverDone, "NONE", "sent more than it was asked for"),
    (
        Manner::HugeLiteral,
        "NONE",
        "announced more than it was asked for",
    ),
    (
        Manner::HugeListing,
        "NONE",
        "announced more than it was asked for",
    ),
    (
        Manner::EndlessMail,
        "NONE",
        "with the UID 1: What the server said cannot be understood",
    ),
    (
        Manner::Unasked,
        "NONE",
        "does not hand out the mail with the UID 1",
    ),
    (Manner::Injection, "STARTTLS", "No encrypted connection"),
    (Manner::NoStartTls, "STARTTLS", "does not offer STARTTLS"),
];

both!(servers_that_misbehave_fail_alone, |h: Harness| async move {
    let before = most_memory();
    let mut failing = Vec::new();
    for (manner, security, reason) in FAILS {
        let sink = ImapSink::start(*manner).await.expect("a server");
        let sender = mailbox(&h, &sink, security).await;
        failing.push((*manner, *reason, sender, sink));
    }
    let node = Node::start(&h).await;
    for (manner, reason, sender, _) in &failing {
        let what = format!("{manner:?} is noted");
        let inbox = passing(&h, &what, async || {
            let inbox = inbox_of(&h, sender).await;
            (inbox["state"] == "FAILED").then_some(inbox)
        });
        let told = inbox.await["reason"]
            .as_str()
            .unwrap_or_default()
            .to_owned();
        assert!(
            !told.is_empty() && told.contains(reason),
            "{manner:?}: {told}"
        );
        assert!(
            !told.contains("xxxx") && told.len() < 500,
            "{manner:?}: {told}"
        );
    }
    // They go on failing, and a mailbox that comes now is read all the same.
    let proper = ImapSink::start(Manner::Proper).await.expect("a server");
    let sender = mailbox(&h, &proper, "NONE").await;
    passing(&h, "the proper one is watched", async || {
        (inbox_of(&h, &sender).await["state"] == "WATCHED").then_some(())
    })
    .await;
    assert_eq!(count(&h, "inbound_message").await, 1);
    // Nobody learned the password who was to be told it over an encrypted connection only.
    for (manner, _, _, sink) in &failing {
        if matches!(manner, Manner::Injection | Manner::NoStartTls) {
            let heard = sink.heard().join("\n");
            assert!(heard.contains("STARTTLS"), "{heard}");
            assert!(
                !heard.contains(SECRET) && !heard.contains("LOGIN"),
                "{heard}"
            );
        }
    }
    node.end().await;
    if let Some((before, after)) = before.zip(most_memory()) {
        let grown = (after - before) >> 20;
        assert!(grown < 200, "{grown} MiB");
    }
});

both!(
    a_mail_that_cannot_be_read_keeps_back_no_other,
    |h: Harness| async move {
        let sinks = [
            ImapSink::start(Manner::Oversized).await.expect("a server"),
            ImapSink::start(Manner::Garbled).await.expect("a server"),
        ];
        let mut senders = Vec::new();
        for sink in &sinks {
            senders.push(mailbox(&h, sink, "NONE").await);
        }
        let node = Node::start(&h).await;
        for sender in &senders {
            let what = "the mail that cannot be read is named";
            passing(&h, what, async || {
                let told = inbox_of(&h, sender).await["reason"].take();
                let told = told.as_str().unwrap_or_default();
                told.contains("does not hand out the mail with the UID 2")
                    .then_some(())
            })
            .await;
        }
        assert_eq!(count(&h, "inbound_mailbox WHERE last_uid = 1").await, 2);
        for sender in &senders {
            passing(&h, "the mailbox is watched", async || {
                later(&h, chrono::Duration::seconds(30));
                (inbox_of(&h, sender).await["state"] == "WATCHED").then_some(())
            })
            .await;
        }
        node.end().await;
        assert_eq!(
            count(&h, "inbound_mailbox WHERE last_uid = 3 AND refusals = 0").await,
            2
        );
        // Both hand out the same, which is taken in once.
        for (mail, taken) in [(1, 1), (2, 0), (3, 1)] {
            let subject = format!("inbound_message WHERE subject = 'Number {mail}'");
            assert_eq!(count(&h, &subject).await, taken, "{mail}");
        }
        for sink in sinks {
            let heard = sink.heard();
            let tries = heard.iter().filter(|line| line.contains("UID FETCH 2 "));
            // After eight refusals it is passed over at the ninth; a try that is cut off is made again.
            let tries = tries.count();
            assert!((9..=12).contains(&tries), "{tries}");
        }
    }
);

both!(
    a_mail_is_passed_over_by_its_own_refusals_alone,
    |h: Harness| async move {
        let sink = ImapSink::start(Manner::OffAndOn).await.expect("a server");
        let sender = mailbox(&h, &sink, "NONE").await;
        let node = Node::start(&h).await;
        passing(&h, "the mailbox is watched", async || {
            later(&h, chrono::Duration::seconds(30));
            (inbox_of(&h, &sender).await["state"] == "WATCHED").then_some(())
        })
        .await;
        node.end().await;
        assert_eq!(count(&h, "inbound_mailbox WHERE last_uid = 3").await, 1);
        assert_eq!(count(&h, "inbound_message").await, 3);
    }
);

both!(news_without_end_is_not_followed, |h: Harness| async move {
    let sink = ImapSink::start(Manner::Storm).await.expect("a server");
    let sender = mailbox(&h, &sink, "NONE").await;
    let node = Node::start(&h).await;
    passing(&h, "its mail is taken in", async || {
        (count(&h, "inbound_message").await == 1).then_some(())
    })
    .await;
    let asked = || {
        let heard = sink.heard();
        heard
            .iter()
            .filter(|line| line.contains("UID SEARCH"))
            .count()
    };
    // An hour of it, for its reader.
    let (before, began) = (asked(), h.clock.now());
    passing(&h, "time passes", async || {
        later(&h, chrono::Duration::seconds(15));
        (h.clock.now() - began > chrono::Duration::hours(1)).then_some(())
    })
    .await;
    let asked = asked() - before;
    assert!(asked <= 150, "{asked}");
    assert_eq!(inbox_of(&h, &sender).await["state"], "WATCHED");
    node.end().await;
});

both!(
    mails_are_taken_in_order_and_as_they_were_asked_for,
    |h: Harness| async move {
        let sink = ImapSink::start(Manner::Disorder).await.expect("a server");
        let sender = mailbox(&h, &sink, "NONE").await;
        let node = Node::start(&h).await;
        passing(&h, "its mails are taken in", async || {
            (count(&h, "inbound_message").await == 4).then_some(())
        })
        .await;
        passing(&h, "it is watched", async || {
            (inbox_of(&h, &sender).await["state"] == "WATCHED").then_some(())
        })
        .await;
        node.end().await;
        let asked: Vec<String> = (sink.heard().iter())
            .filter_map(|line| Some(line.split_once("UID FETCH ")?.1[..1].to_owned()))
            .collect();
        assert_eq!(asked, ["3", "5", "7", "9"]);
        assert_eq!(
            count(&h, "inbound_message WHERE subject LIKE '%4242'").await,
            0
        );
        assert_eq!(count(&h, "inbound_mailbox WHERE last_uid = 9").await, 1);
    }
);

both!(
    a_server_without_idle_is_asked_time_and_again,
    |h: Harness| async move {
        let sink = ImapSink::start(Manner::WithoutIdle)
            .await
            .expect("a server");
        let sender = mailbox(&h, &sink, "NONE").await;
        let node = Node::start(&h).await;
        for mails in [1, 3, 6] {
            passing(&h, "more mails are taken in", async || {
                (count(&h, "inbound_message").await >= mails).then_some(())
            })
            .await;
        }
        assert_eq!(inbox_of(&h, &sender).await["state"], "POLLED");
        node.end().await;
        assert!(!sink.heard().iter().any(|line| line.contains("IDLE")));
        let subjects = "(SELECT subject FROM inbound_message GROUP BY subject) AS s";
        let mails = count(&h, "inbound_message").await;
        assert_eq!(count(&h, subjects).await, mails, "each is another");
    }
);
