//! Live events to many: written once for all who follow alike, each once and in order for each of
//! them, however late it joins and however slowly it reads.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use cadenza::app::Services;
use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::domain::id::SequenceId;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::event;
use serde_json::json;

use crate::harness::{Harness, both, start};
use crate::served::{Served, Socket};

const FOLLOW: &str = "subscription ($after: EventCursor, $filter: EventFilter) {
    executionEvents(after: $after, filter: $filter) { cursor kind sequence { name } } }";

async fn append(h: &Harness, sequence: SequenceId, kinds: &[EventKind]) {
    let tx = h.services.db.begin().await.expect("a transaction");
    let events = kinds
        .iter()
        .map(|&kind| NewEvent::of_sequence(start(), kind, sequence));
    event::append(&tx, h.admin.workspace, events.collect())
        .await
        .expect("appended");
    tx.commit().await.expect("committed");
    h.services.wake.log();
}

fn cursor(seq: i64) -> String {
    format!("evt_{seq:016x}")
}

/// Hears so many events and answers their cursors.
async fn hear(socket: &mut Socket, count: usize) -> Vec<String> {
    let mut cursors = Vec::new();
    while cursors.len() < count {
        let next = socket.message().await;
        assert_eq!(next["type"], "next", "{next}");
        let event = &next["payload"]["data"]["executionEvents"];
        cursors.push(event["cursor"].as_str().expect("a cursor").to_owned());
    }
    cursors
}

async fn sequence(h: &Harness) -> SequenceId {
    let made = h
        .mutate(
            "sequenceCreate",
            "SequenceCreateInput",
            json!({ "name": "Welcome" }),
            "sequence { id }",
        )
        .await;
    let id = made["sequence"]["id"].as_str().expect("an id");
    id.parse().expect("a sequence's id")
}

/// The API over the same database, where statements that read sequences are counted.
fn counted(h: &Harness) -> (CadenzaSchema, Arc<AtomicUsize>) {
    let count = Arc::new(AtomicUsize::new(0));
    let seen = Arc::clone(&count);
    let db = h.services.db.clone().observed(move |sql: &str| {
        if sql.contains("FROM \"sequence\"") {
            seen.fetch_add(1, Ordering::SeqCst);
        }
    });
    let services = Services {
        db,
        ..h.services.clone()
    };
    (CadenzaSchema::new(services), count)
}

both!(
    an_event_is_resolved_once_for_all_who_follow_it_alike,
    |h: Harness| async move {
        let id = sequence(&h).await;
        let last = event::last_seq(h.services.db.read(), h.admin.workspace)
            .await
            .expect("a number");
        let (schema, count) = counted(&h);
        let server = Served::over(&h, schema).await;
        let mut sockets = Vec::new();
        for n in 0..20 {
            let mut socket = server.socket().await;
            socket.init(&h.token).await;
            // Where to begin is each one's own; what follows is the same.
            let after = if n % 2 == 0 {
                json!(null)
            } else {
                json!(cursor(last))
            };
            socket
                .subscribe(&format!("s{n}"), FOLLOW, json!({ "after": after }))
                .await;
            // It stands once something later on the same socket is answered.
            socket.subscribe("q", "{ __typename }", json!({})).await;
            let answered = socket.message().await;
            assert_eq!(
                answered["payload"]["data"]["__typename"], "Query",
                "{answered}"
            );
            assert_eq!(socket.message().await["type"], "complete");
            sockets.push(socket);
        }
        crate::harness::until("everybody follows", async || {
            (server.followers() == 20).then_some(())
        })
        .await;
        count.store(0, Ordering::SeqCst);
        for _ in 0..10 {
            append(&h, id, &[EventKind::SequencePublished]).await;
        }
        let expected: Vec<String> = (1..=10).map(|n| cursor(last + n)).collect();
        for socket in &mut sockets {
            assert_eq!(hear(socket, 10).await, expected);
        }
        let read = count.load(Ordering::SeqCst);
        assert!(
            (1..=10).contains(&read),
            "ten events for twenty subscribers, {read} statements"
        );
        server.end().await;
    }
);

both!(
    who_follows_something_else_is_apart,
    |h: Harness| async move {
        let id = sequence(&h).await;
        let last = event::last_seq(h.services.db.read(), h.admin.workspace)
            .await
            .expect("a number");
        let server = Served::new(&h).await;
        let mut sockets = Vec::new();
        for kinds in [
            json!(["SEQUENCE_PUBLISHED"]),
            json!(["SEQUENCE_DISABLED"]),
            json!(null),
        ] {
            let mut socket = server.socket().await;
            socket.init(&h.token).await;
            let variables = json!({ "filter": { "kinds": kinds }, "after": cursor(last) });
            socket.subscribe("s", FOLLOW, variables).await;
            sockets.push(socket);
        }
        append(
            &h,
            id,
            &[
                EventKind::SequencePublished,
                EventKind::SequenceDisabled,
                EventKind::SequencePublished,
            ],
        )
        .await;
        assert_eq!(
            hear(&mut sockets[0], 2).await,
            [cursor(last + 1), cursor(last + 3)]
        );
        assert_eq!(hear(&mut sockets[1], 1).await, [cursor(last + 2)]);
        assert_eq!(
            hear(&mut sockets[2], 3).await,
            [cursor(last + 1), cursor(last + 2), cursor(last + 3)]
        );
        server.end().await;
    }
);

both!(
    who_reads_slowly_or_comes_late_misses_nothing,
    |h: Harness| async move {
        let id = sequence(&h).await;
        let last = event::last_seq(h.services.db.read(), h.admin.workspace)
            .await
            .expect("a number");
        let server = Served::new(&h).await;
        let mut slow = server.socket().await;
        slow.init(&h.token).await;
        slow.subscribe("slow", FOLLOW, json!({ "after": cursor(last) }))
            .await;
        append(&h, id, &[EventKind::SequencePublished]).await;
        assert_eq!(hear(&mut slow, 1).await, [cursor(last + 1)]);
        // Far more than a group keeps, while one of two does not read.
        let mut quick = server.socket().await;
        quick.init(&h.token).await;
        quick
            .subscribe("quick", FOLLOW, json!({ "after": cursor(last + 1) }))
            .await;
        for _ in 0..30 {
            append(&h, id, &[EventKind::SequencePublished; 100]).await;
        }
        let all: Vec<String> = (2..=3_001).map(|n| cursor(last + n)).collect();
        assert_eq!(hear(&mut quick, 3_000).await, all);
        assert_eq!(hear(&mut slow, 3_000).await, all);
        // One more joins from the beginning, and all three go on together.
        let mut late = server.socket().await;
        late.init(&h.token).await;
        late.subscribe("late", FOLLOW, json!({ "after": cursor(last) }))
            .await;
        assert_eq!(hear(&mut late, 3_001).await[1..], all);
        append(&h, id, &[EventKind::SequenceDisabled]).await;
        for socket in [&mut quick, &mut slow, &mut late] {
            assert_eq!(hear(socket, 1).await, [cursor(last + 3_002)]);
        }
        server.end().await;
    }
);

both!(
    a_subscription_that_is_wrong_is_refused_for_everybody,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let many: Vec<String> = (0..1_001).map(|n| format!("seq_{n}")).collect();
        for (variables, expected) in [
            (json!({ "after": cursor(1_000_000) }), "BAD_USER_INPUT"),
            (json!({ "after": "evt_1" }), "BAD_USER_INPUT"),
            (
                json!({ "filter": { "sequenceIds": many } }),
                "BAD_USER_INPUT",
            ),
            (
                json!({ "filter": { "nothing": 1 } }),
                "GRAPHQL_VALIDATION_FAILED",
            ),
        ] {
            for _ in 0..2 {
                let mut socket = server.socket().await;
                socket.init(&h.token).await;
                socket.subscribe("s", FOLLOW, variables.clone()).await;
                let refused = socket.message().await;
                let errors = match refused["type"].as_str() {
                    Some("error") => &refused["payload"],
                    _ => &refused["payload"]["errors"],
                };
                assert_eq!(errors[0]["extensions"]["code"], expected, "{refused}");
            }
        }
        server.end().await;
    }
);

both!(who_leaves_is_forgotten, |h: Harness| async move {
    let server = Served::new(&h).await;
    let alone = async || {
        crate::harness::until("nobody follows", async || {
            (server.followers() == 0).then_some(())
        })
        .await;
    };
    let many = async |count: usize| {
        crate::harness::until("they follow", async || {
            (server.followers() == count).then_some(())
        })
        .await;
    };
    // Whoever says so.
    let mut socket = server.socket().await;
    socket.init(&h.token).await;
    for n in 0..20 {
        socket.subscribe(&format!("s{n}"), FOLLOW, json!({})).await;
    }
    many(20).await;
    for n in 0..20 {
        socket
            .say(json!({ "id": format!("s{n}"), "type": "complete" }))
            .await;
    }
    alone().await;
    // Whoever is gone without a word.
    socket.subscribe("again", FOLLOW, json!({})).await;
    many(1).await;
    drop(socket);
    alone().await;
    for accept in ["text/event-stream", "multipart/mixed;subscriptionSpec=1.0"] {
        let request = server.post(&h.token).header("accept", accept);
        let answer = request
            .json(&json!({ "query": FOLLOW }))
            .send()
            .await
            .expect("an answer");
        many(1).await;
        drop(answer);
        alone().await;
    }
    server.end().await;
});

both!(
    a_resolver_that_panics_ends_its_request_alone,
    |h: Harness| async move {
        let db = h.services.db.clone().observed(|sql: &str| {
            assert!(!sql.contains("FROM person"), "s3cret");
        });
        let schema = CadenzaSchema::new(Services {
            db,
            ..h.services.clone()
        });
        let server = Served::over(&h, schema).await;
        let mut socket = server.socket().await;
        socket.init(&h.token).await;
        for _ in 0..2 {
            let panics = json!({ "query": "{ people(first: 1) { nodes { id } } }" });
            let answer = server
                .post(&h.token)
                .json(&panics)
                .send()
                .await
                .expect("the connection is kept");
            let id = answer.headers()["x-request-id"]
                .to_str()
                .expect("text")
                .to_owned();
            let text = answer.text().await.expect("text");
            assert!(
                text.contains("INTERNAL") && text.contains(&id) && !text.contains("s3cret"),
                "{text}"
            );
            socket
                .subscribe("p", "{ people(first: 1) { nodes { id } } }", json!({}))
                .await;
            let refused = socket.message().await;
            assert_eq!(refused["type"], "error", "{refused}");
            let plain = server
                .post(&h.token)
                .json(&json!({ "query": "{ __typename }" }));
            let plain = plain
                .send()
                .await
                .expect("an answer")
                .text()
                .await
                .expect("text");
            assert!(plain.contains("Query"), "{plain}");
        }
        server.end().await;
    }
);

both!(
    a_cursor_that_must_be_given_is_followed_from,
    |h: Harness| async move {
        let id = sequence(&h).await;
        let last = event::last_seq(h.services.db.read(), h.admin.workspace)
            .await
            .expect("a number");
        append(&h, id, &[EventKind::SequencePublished; 3]).await;
        let server = Served::new(&h).await;
        for select in ["cursor", "cursor sequence { name }"] {
            let document = format!(
                "subscription ($after: EventCursor!) {{ executionEvents(after: $after) {{ {select} }} }}"
            );
            let mut socket = server.socket().await;
            socket.init(&h.token).await;
            socket
                .subscribe("s", &document, json!({ "after": cursor(last + 1) }))
                .await;
            assert_eq!(
                hear(&mut socket, 2).await,
                [cursor(last + 2), cursor(last + 3)]
            );
        }
        server.end().await;
    }
);
