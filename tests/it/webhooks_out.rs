//! Webhook subscriptions against receivers that misbehave: nothing is lost, nothing is out of order, and
//! what comes twice has the same id.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::Mutex;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cadenza::channel::dispatch::TransportConfig;
use cadenza::channel::web::WebConfig;
use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::domain::id::WorkerId;
use cadenza::domain::network::Networks;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::{event, worker};
use cadenza::webhook::runner::{HELD_ENOUGH, Runner};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, both, until};
use crate::web_sink::{Reply, Seen, WebSink};

const ONE: &str =
    "webhookSubscription { id url kinds sequences { id } state switchedOffReason cursor
    failures failingSince retryAt lastSuccessAt lastFailureAt lastFailure }";

/// The same world, from which requests reach this machine, and which waits so long for an answer.
fn reaching(h: Harness, patience: Duration) -> Harness {
    let web = WebConfig {
        allowed_networks: Networks::read(["127.0.0.0/8"]).expect("a network"),
        connect_timeout: patience,
        timeout: patience,
        extra_roots: Vec::new(),
    };
    let config = TransportConfig {
        web,
        ..TransportConfig::default()
    };
    let services = h.services.clone().by(config);
    Harness {
        schema: CadenzaSchema::new(services.clone()),
        services,
        ..h
    }
}

/// A node that delivers.
struct Node {
    worker: WorkerId,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Node {
    async fn start(h: &Harness) -> Self {
        Self::start_at_most(h, HELD_ENOUGH).await
    }

    /// One that delivers no more than so many subscriptions at once.
    async fn start_at_most(h: &Harness, at_most: usize) -> Self {
        let now = h.clock.now();
        let worker: WorkerId = h.services.entropy.id(now);
        let lease = now + chrono::Duration::days(30);
        worker::register(h.services.db.write(), worker, now, lease)
            .await
            .expect("registered");
        let shutdown = CancellationToken::new();
        let runner = Runner::new(h.services.clone(), move || worker).at_most(at_most);
        let task = tokio::spawn(runner.run(shutdown.clone()));
        Self {
            worker,
            shutdown,
            task,
        }
    }

    async fn end(self) {
        self.shutdown.cancel();
        self.task.await.expect("it ends properly");
    }

    /// Dies, as by kill -9, and is given up by the others.
    async fn die(self, h: &Harness) {
        self.task.abort();
        self.task.await.expect_err("it was cut off");
        worker::remove(h.services.db.write(), self.worker)
            .await
            .expect("given up");
        h.services.wake.due();
    }
}

/// Subscribes; answers the subscription and its secret.
async fn subscribe(h: &Harness, url: &str, more: Value) -> (Value, String) {
    let mut input = json!({ "url": url });
    for (name, value) in more.as_object().expect("fields") {
        input[name] = value.clone();
    }
    let made = h
        .mutate(
            "webhookSubscriptionCreate",
            "WebhookSubscriptionCreateInput",
            input,
            &format!("{ONE} secret"),
        )
        .await;
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    (made["webhookSubscription"].clone(), secret)
}

async fn change(h: &Harness, what: &str, input: Value) -> Value {
    let of = match what {
        "Update" | "Replay" => what,
        _ => "Id",
    };
    h.mutate(
        &format!("webhookSubscription{what}"),
        &format!("WebhookSubscription{of}Input"),
        input,
        ONE,
    )
    .await["webhookSubscription"]
        .take()
}

async fn seen_of(h: &Harness, subscription: &Value) -> Value {
    let all = ONE.replacen("webhookSubscription", "webhookSubscriptions", 1);
    let all = h.data(&format!("{{ {all} }}"), json!({})).await;
    let mut all = all["webhookSubscriptions"]
        .as_array()
        .expect("a list")
        .iter();
    all.find(|one| one["id"] == subscription["id"])
        .cloned()
        .unwrap_or_default()
}

/// Waits until a subscription is so.
async fn until_it_is(h: &Harness, subscription: &Value, state: &str) -> Value {
    until(state, async || {
        Some(seen_of(h, subscription).await).filter(|now| now["state"] == state)
    })
    .await
}

/// So many events happen in the workspace, each its own transaction.
async fn happen(h: &Harness, kind: EventKind, count: usize) {
    for number in 0..count {
        let detail = json!({ "number": number });
        let event = NewEvent::of_workspace(h.clock.now(), kind, detail);
        append(h, event).await;
    }
    h.services.wake.log();
}

async fn append(h: &Harness, event: NewEvent) {
    let tx = h.services.db.begin().await.expect("a transaction");
    event::append(&tx, h.admin.workspace, vec![event])
        .await
        .expect("appended");
    tx.commit().await.expect("committed");
    h.services.wake.log();
}

async fn last_cursor(h: &Harness) -> String {
    let last = event::last_seq(h.services.db.read(), h.admin.workspace);
    format!("evt_{:016x}", last.await.expect("a number"))
}

/// The cursors of the events that came.
fn cursors(seen: &[Seen]) -> Vec<String> {
    let body = |seen: &Seen| serde_json::from_str::<Value>(&seen.body).expect("JSON");
    seen.iter()
        .map(|seen| {
            body(seen)["data"]["cursor"]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        })
        .collect()
}

fn numbers(count: i64) -> Vec<String> {
    (1..=count).map(|seq| format!("evt_{seq:016x}")).collect()
}

/// The signature as a receiver reckons it.
fn signature(seen: &Seen, secret: &str) -> String {
    let key = STANDARD
        .decode(secret.trim_start_matches("whsec_"))
        .expect("base64");
    let signed = [
        seen.header("webhook-id"),
        seen.header("webhook-timestamp"),
        &seen.body,
    ]
    .join(".");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    format!(
        "v1,{}",
        STANDARD.encode(ring::hmac::sign(&key, signed.as_bytes()))
    )
}

fn ok(_: &Seen) -> Reply {
    Reply::Say(204, Vec::new(), String::new())
}

async fn all_came(sink: &WebSink, count: usize) -> Vec<Seen> {
    until("all requests", async || {
        Some(sink.seen()).filter(|seen| seen.len() >= count)
    })
    .await
}

both!(events_come_in_order_and_signed, |h: Harness| async move {
    let h = reaching(h, Duration::from_secs(10));
    let sink = WebSink::start(ok).await.expect("a server");
    let (one, secret) = subscribe(&h, &sink.url("/hook?a=b"), json!({})).await;
    assert_eq!(one["state"], "ACTIVE");
    let node = Node::start(&h).await;
    happen(&h, EventKind::SenderDisabled, 230).await;
    let seen = all_came(&sink, 230).await;
    assert_eq!(cursors(&seen), numbers(230));
    let ids: BTreeSet<_> = seen.iter().map(|seen| seen.header("webhook-id")).collect();
    assert_eq!(ids.len(), 230);
    for seen in &seen {
        assert_eq!(
            (seen.method.as_str(), seen.target.as_str()),
            ("POST", "/hook?a=b")
        );
        assert_eq!(seen.header("content-type"), "application/json");
        assert_eq!(seen.header("webhook-signature"), signature(seen, &secret));
        let body: Value = serde_json::from_str(&seen.body).expect("JSON");
        assert_eq!(body["type"], "SENDER_DISABLED");
    }
    // The same as the API tells of it.
    let of_api = "{ events(first: 1) { cursor at kind stepKey channel detail
            sequence { id } lead { id } execution { id } sender { id } } }";
    let of_api = h.data(of_api, json!({})).await;
    let body: Value = serde_json::from_str(&seen[0].body).expect("JSON");
    assert_eq!(body["data"], of_api["events"][0]);
    let now = until("the last is noted", async || {
        let now = seen_of(&h, &one).await;
        (now["cursor"] == last_cursor(&h).await.as_str()).then_some(now)
    })
    .await;
    assert_eq!(now["state"], "ACTIVE");
    assert_ne!(now["lastSuccessAt"], Value::Null);
    node.end().await;
});

both!(
    what_fails_is_tried_again_before_what_follows,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_millis(400));
        let script = Mutex::new(vec!["429", "moved", "hang", "500"]);
        let answer = move |seen: &Seen| {
            let next = script.lock().expect("no panic").pop();
            match next {
                Some("hang") => Reply::Hang,
                Some("moved") => {
                    Reply::Say(308, vec![("location", "/elsewhere".into())], String::new())
                }
                Some("429") => {
                    Reply::Say(429, vec![("retry-after", "77".into())], "Slow down".into())
                }
                Some(_) => Reply::Say(500, Vec::new(), "secret words of theirs".into()),
                None => ok(seen),
            }
        };
        let sink = WebSink::start(answer).await.expect("a server");
        let (one, _) = subscribe(&h, &sink.url("/hook"), json!({})).await;
        let node = Node::start(&h).await;
        happen(&h, EventKind::SenderDisabled, 3).await;
        // The least and the most that is waited, in seconds.
        for (turn, (least, most), words) in [
            (1, (5.0, 6.0), "answered 500."),
            (2, (300.0, 360.0), "no answer in time"),
            (
                3,
                (1800.0, 2160.0),
                "answered 308: redirects are not followed",
            ),
            (4, (77.0, 93.0), "answered 429."),
        ] {
            let now = until("another failure", async || {
                Some(seen_of(&h, &one).await).filter(|now| now["failures"] == turn)
            })
            .await;
            assert_eq!(now["state"], "RETRYING");
            assert_eq!(
                now["cursor"], "evt_0000000000000000",
                "nothing is passed over"
            );
            let message = now["lastFailure"].as_str().unwrap_or_default();
            assert!(message.contains(words), "{message}");
            assert!(!message.contains("secret words"), "{message}");
            let retry_at: chrono::DateTime<chrono::Utc> = now["retryAt"]
                .as_str()
                .expect("an instant")
                .parse()
                .expect("an instant");
            let wait = (retry_at - h.clock.now()).as_seconds_f64();
            assert!(least <= wait && wait <= most, "{turn}: {wait}");
            assert_eq!(sink.seen().len(), usize::try_from(turn).expect("few"));
            h.clock.advance_to(retry_at);
        }
        let seen = all_came(&sink, 7).await;
        let first = "evt_0000000000000001".to_owned();
        let mut expected = vec![first; 4];
        expected.extend(numbers(3));
        assert_eq!(cursors(&seen), expected);
        let ids: BTreeSet<_> = seen[..5]
            .iter()
            .map(|seen| seen.header("webhook-id"))
            .collect();
        assert_eq!(ids.len(), 1, "a repetition is known by its id");
        let times: BTreeSet<_> = seen[..5]
            .iter()
            .map(|seen| seen.header("webhook-timestamp"))
            .collect();
        assert_eq!(times.len(), 5, "and each try has its own time");
        assert!(
            seen.iter().all(|seen| seen.target == "/hook"),
            "no redirect is followed"
        );
        let now = until_it_is(&h, &one, "ACTIVE").await;
        assert_eq!(
            (&now["failures"], &now["failingSince"]),
            (&json!(0), &Value::Null)
        );
        node.end().await;
    }
);

both!(
    who_hangs_or_cuts_delays_nobody_else,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(20));
        let dead = WebSink::start(|_| Reply::Hang).await.expect("a server");
        let cutting = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let cut_at = format!("http://{}/", cutting.local_addr().expect("an address"));
        let cutter = tokio::spawn(async move {
            while let Ok((connection, _)) = cutting.accept().await {
                drop(connection);
            }
        });
        let well = WebSink::start(ok).await.expect("a server");
        let mut hanging = Vec::new();
        for number in 0..5 {
            hanging.push(
                subscribe(&h, &dead.url(&format!("/{number}")), json!({}))
                    .await
                    .0,
            );
        }
        let (cut, _) = subscribe(&h, &cut_at, json!({})).await;
        let (good, _) = subscribe(&h, &well.url("/"), json!({})).await;
        let node = Node::start(&h).await;
        happen(&h, EventKind::SenderDisabled, 120).await;
        let seen = all_came(&well, 120).await;
        assert_eq!(cursors(&seen), numbers(120));
        for one in &hanging {
            let now = seen_of(&h, one).await;
            assert_eq!(now["cursor"], "evt_0000000000000000");
        }
        let now = until_it_is(&h, &cut, "RETRYING").await;
        assert_eq!(now["cursor"], "evt_0000000000000000");
        assert_eq!(seen_of(&h, &good).await["state"], "ACTIVE");
        assert_eq!(dead.seen().len(), 5, "one request at a time");
        cutter.abort();
        // The end waits a little for what hangs, on a clock that stands still.
        let (clock, until) = (
            h.clock.clone(),
            h.clock.now() + chrono::Duration::seconds(4),
        );
        node.shutdown.cancel();
        clock.advance_to(until);
        let mut task = node.task;
        crate::harness::until("the node ends", async || {
            clock.advance_to(clock.now() + chrono::Duration::seconds(4));
            tokio::time::timeout(Duration::from_millis(100), &mut task)
                .await
                .ok()
        })
        .await
        .expect("it ends properly");
    }
);

both!(
    who_is_gone_is_switched_off_with_an_event,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(10));
        let is_gone = Arc::new(std::sync::atomic::AtomicBool::new(true));
        let gone = Arc::clone(&is_gone);
        let sink =
            WebSink::start(
                move |seen| match gone.load(std::sync::atomic::Ordering::SeqCst) {
                    true => Reply::Say(410, Vec::new(), String::new()),
                    false => ok(seen),
                },
            )
            .await
            .expect("a server");
        let (one, _) = subscribe(&h, &sink.url("/"), json!({ "kinds": ["SENDER_DISABLED"] })).await;
        let node = Node::start(&h).await;
        happen(&h, EventKind::SenderDisabled, 2).await;
        let now = until_it_is(&h, &one, "SWITCHED_OFF").await;
        assert_eq!(now["switchedOffReason"], "GONE");
        assert_eq!(now["retryAt"], Value::Null);
        let told = "{ events(first: 250, filter: { kinds: [WEBHOOK_SWITCHED_OFF] }) { detail } }";
        let told = h.data(told, json!({})).await;
        let detail = &told["events"][0]["detail"];
        assert_eq!(detail["webhookSubscriptionId"], one["id"]);
        assert_eq!(detail["reason"], "GONE");
        assert_eq!(told["events"].as_array().map(Vec::len), Some(1));
        happen(&h, EventKind::SenderDisabled, 1).await;
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::days(1));
        assert_eq!(sink.seen().len(), 1, "nobody asks again");
        // Switched on again, nothing is missing.
        is_gone.store(false, std::sync::atomic::Ordering::SeqCst);
        let input = json!({ "id": one["id"], "enabled": true });
        assert_eq!(change(&h, "Update", input).await["state"], "ACTIVE");
        let seen = all_came(&sink, 4).await;
        let of = |seq: i64| format!("evt_{seq:016x}");
        assert_eq!(cursors(&seen[1..]), [of(1), of(2), of(4)]);
        node.end().await;
    }
);

both!(
    after_five_days_of_failing_it_is_switched_off,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(10));
        let sink = WebSink::start(|_| Reply::Say(503, Vec::new(), String::new()));
        let sink = sink.await.expect("a server");
        let (one, _) = subscribe(&h, &sink.url("/"), json!({})).await;
        let node = Node::start(&h).await;
        happen(&h, EventKind::SenderDisabled, 1).await;
        let began = h.clock.now();
        let mut turn = 0;
        let off = loop {
            turn += 1;
            let now = until("another failure", async || {
                Some(seen_of(&h, &one).await).filter(|now| now["failures"] == turn)
            })
            .await;
            if now["state"] == "SWITCHED_OFF" {
                break now;
            }
            let retry_at = now["retryAt"].as_str().expect("an instant").parse();
            h.clock.advance_to(retry_at.expect("an instant"));
        };
        assert_eq!(off["switchedOffReason"], "FAILING");
        let hours = (h.clock.now() - began).num_hours();
        assert!((120..150).contains(&hours), "after {hours} hours");
        assert_eq!(sink.seen().len(), usize::try_from(turn).expect("few"));
        let told = "{ events(first: 250) { kind detail } }";
        let told = h.data(told, json!({})).await;
        assert_eq!(told["events"][1]["kind"], "WEBHOOK_SWITCHED_OFF");
        assert_eq!(told["events"][1]["detail"]["reason"], "FAILING");
        node.end().await;
    }
);

both!(
    a_node_that_dies_after_the_request_repeats_it_under_the_same_id,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(20));
        let left = Arc::new(Mutex::new(2));
        let counted = Arc::clone(&left);
        // The third request arrives, and its answer never does.
        let sink = WebSink::start(move |seen| {
            let mut left = counted.lock().expect("no panic");
            *left -= 1;
            if *left == -1 { Reply::Hang } else { ok(seen) }
        })
        .await
        .expect("a server");
        let (one, _) = subscribe(&h, &sink.url("/"), json!({})).await;
        let node = Node::start(&h).await;
        happen(&h, EventKind::SenderDisabled, 5).await;
        all_came(&sink, 3).await;
        node.die(&h).await;
        let node = Node::start(&h).await;
        let seen = all_came(&sink, 6).await;
        let of = |seq: i64| format!("evt_{seq:016x}");
        assert_eq!(cursors(&seen), [1, 2, 3, 3, 4, 5].map(of));
        assert_eq!(seen[2].header("webhook-id"), seen[3].header("webhook-id"));
        assert_eq!(seen[2].body, seen[3].body);
        until_it_is(&h, &one, "ACTIVE").await;
        node.end().await;
    }
);

both!(
    several_nodes_deliver_each_event_once_and_in_order,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(20));
        let sink = WebSink::start(ok).await.expect("a server");
        let mut subscriptions = Vec::new();
        for number in 0..4 {
            let url = sink.url(&format!("/{number}"));
            subscriptions.push(subscribe(&h, &url, json!({})).await.0);
        }
        let mut nodes = Vec::new();
        for _ in 0..3 {
            nodes.push(Node::start(&h).await);
        }
        for _ in 0..6 {
            happen(&h, EventKind::SenderDisabled, 10).await;
        }
        all_came(&sink, 240).await;
        for node in nodes {
            node.end().await;
        }
        let seen = sink.seen();
        for number in 0..4 {
            let target = format!("/{number}");
            let own: Vec<_> = seen
                .iter()
                .filter(|seen| seen.target == target)
                .cloned()
                .collect();
            assert_eq!(cursors(&own), numbers(60), "{target}");
        }
    }
);

both!(
    who_has_much_to_catch_up_with_delays_nobody,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(20));
        let sink = WebSink::start(ok).await.expect("a server");
        for target in ["/0", "/1", "/2"] {
            subscribe(&h, &sink.url(target), json!({})).await;
        }
        // One that wants nothing of all that has its turns, too.
        let nothing = json!({ "kinds": ["WEBHOOK_SWITCHED_OFF"] });
        let (idle, _) = subscribe(&h, &sink.url("/idle"), nothing).await;
        happen(&h, EventKind::SenderDisabled, 250).await;
        // There is one place for all of them.
        let node = Node::start_at_most(&h, 1).await;
        let seen = all_came(&sink, 750).await;
        let turns: Vec<&str> = seen
            .chunk_by(|one, next| one.target == next.target)
            .map(|turn| turn[0].target.as_str())
            .collect();
        let expected = ["/0", "/1", "/2", "/0", "/1", "/2", "/0", "/1", "/2"];
        assert_eq!(turns, expected);
        for target in ["/0", "/1", "/2"] {
            let own = seen.iter().filter(|seen| seen.target == target);
            let own: Vec<Seen> = own.cloned().collect();
            assert_eq!(cursors(&own), numbers(250), "{target}");
        }
        until("the idle one has passed over everything", async || {
            let now = seen_of(&h, &idle).await;
            (now["cursor"] == last_cursor(&h).await.as_str()).then_some(())
        })
        .await;
        node.end().await;
    }
);

both!(
    it_goes_on_from_where_it_is_told_to,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(10));
        let sink = WebSink::start(ok).await.expect("a server");
        happen(&h, EventKind::SenderDisabled, 2).await;
        // From now on: what was before is not told.
        let (one, _) = subscribe(&h, &sink.url("/one"), json!({})).await;
        assert_eq!(one["cursor"], "evt_0000000000000002");
        let node = Node::start(&h).await;
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::hours(2));
        let noon = h.clock.now();
        happen(&h, EventKind::SenderDisabled, 2).await;
        all_came(&sink, 2).await;
        let id = &one["id"];
        let from_begin = json!({ "id": id, "after": "evt_0000000000000000" });
        change(&h, "Replay", from_begin).await;
        let seen = all_came(&sink, 6).await;
        assert_eq!(cursors(&seen[2..6]), numbers(4));
        assert_eq!(seen[0].header("webhook-id"), seen[4].header("webhook-id"));
        let since = json!({ "id": id, "since": noon });
        change(&h, "Replay", since).await;
        let seen = all_came(&sink, 8).await;
        assert_eq!(cursors(&seen[6..8]), numbers(4)[2..]);
        // And from the beginning, for one that is new.
        let begin = json!({ "after": "evt_0000000000000000" });
        subscribe(&h, &sink.url("/two"), begin).await;
        let seen = all_came(&sink, 12).await;
        assert_eq!(cursors(&seen[8..12]), numbers(4));
        node.end().await;
        for (input, words) in [
            (json!({ "id": id }), "either after or since"),
            (
                json!({ "id": id, "after": "evt_0000000000000001", "since": noon }),
                "either",
            ),
            (
                json!({ "id": id, "after": "evt_00000000000000ff" }),
                "ahead of",
            ),
        ] {
            let refused = h
                .try_mutate(
                    "webhookSubscriptionReplay",
                    "WebhookSubscriptionReplayInput",
                    input,
                    ONE,
                )
                .await;
            let message = refused["userErrors"][0]["message"]
                .as_str()
                .unwrap_or_default();
            assert!(message.contains(words), "{refused}");
        }
    }
);

both!(
    only_what_is_asked_for_comes_and_nothing_of_others,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(10));
        let sink = WebSink::start(ok).await.expect("a server");
        let mut sequences = Vec::new();
        for name in ["a", "b"] {
            let made = h
                .mutate(
                    "sequenceCreate",
                    "SequenceCreateInput",
                    json!({ "name": name }),
                    "sequence { id }",
                )
                .await;
            sequences.push(made["sequence"]["id"].as_str().expect("an id").to_owned());
        }
        let kinds = json!({ "kinds": ["SEQUENCE_PUBLISHED", "SEQUENCE_PUBLISHED"] });
        let (by_kind, _) = subscribe(&h, &sink.url("/kind"), kinds).await;
        assert_eq!(by_kind["kinds"], json!(["SEQUENCE_PUBLISHED"]));
        let of_a = json!({ "sequenceIds": [sequences[0]] });
        let (by_sequence, _) = subscribe(&h, &sink.url("/sequence"), of_a).await;
        assert_eq!(by_sequence["sequences"], json!([{ "id": sequences[0] }]));
        let before = event::last_seq(h.services.db.read(), h.admin.workspace).await;
        let before = before.expect("a number");
        let node = Node::start(&h).await;
        for kind in [EventKind::SequencePublished, EventKind::SequenceDisabled] {
            for sequence in &sequences {
                let sequence = sequence.parse().expect("an id");
                append(&h, NewEvent::of_sequence(h.clock.now(), kind, sequence)).await;
            }
        }
        happen(&h, EventKind::SenderDisabled, 150).await;
        // Another workspace's event comes to nobody here.
        let tx = h.services.db.begin().await.expect("a transaction");
        let theirs = NewEvent::of_workspace(
            h.clock.now(),
            EventKind::SequencePublished,
            json!({ "whose": "theirs" }),
        );
        event::append(&tx, h.stranger.workspace, vec![theirs])
            .await
            .expect("appended");
        tx.commit().await.expect("committed");
        h.services.wake.log();
        let end = last_cursor(&h).await;
        for one in [&by_kind, &by_sequence] {
            until("all passed over", async || {
                (seen_of(&h, one).await["cursor"] == end.as_str()).then_some(())
            })
            .await;
        }
        node.end().await;
        let came = |path: &str| {
            let seen = sink.seen();
            let own: Vec<_> = seen
                .into_iter()
                .filter(|seen| seen.target == path)
                .collect();
            cursors(&own)
        };
        let of = |seq: i64| format!("evt_{:016x}", before + seq);
        assert_eq!(came("/kind"), [of(1), of(2)]);
        assert_eq!(came("/sequence"), [of(1), of(3)]);
    }
);

both!(
    a_secret_is_shown_once_and_replaced_in_peace,
    |h: Harness| async move {
        let h = reaching(h, Duration::from_secs(10));
        let sink = WebSink::start(ok).await.expect("a server");
        let (one, first) = subscribe(&h, &sink.url("/"), json!({ "enabled": false })).await;
        assert_eq!(one["state"], "SWITCHED_OFF");
        assert_eq!(one["switchedOffReason"], "REQUESTED");
        let input = json!({ "id": one["id"] });
        let rotated = h
            .mutate(
                "webhookSubscriptionRotateSecret",
                "WebhookSubscriptionIdInput",
                input.clone(),
                &format!("{ONE} secret"),
            )
            .await;
        let second = rotated["secret"].as_str().expect("a secret").to_owned();
        assert_ne!(first, second);
        let kept = cadenza::store::webhook::list(h.services.db.read(), h.admin.workspace).await;
        for kept in kept.expect("rows") {
            assert!(kept.secret.starts_with("v1."), "sealed");
            assert!(!format!("{kept:?}").contains(second.trim_start_matches("whsec_")));
        }
        let test = async || {
            h.mutate(
                "webhookSubscriptionTest",
                "WebhookSubscriptionIdInput",
                input.clone(),
                "delivered status failure",
            )
            .await
        };
        let tried = test().await;
        assert_eq!(
            (&tried["delivered"], &tried["status"]),
            (&json!(true), &json!(204))
        );
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::hours(25));
        test().await;
        let seen = sink.seen();
        let [both, alone] = seen.as_slice() else {
            panic!("{seen:?}");
        };
        let two = format!("{} {}", signature(both, &second), signature(both, &first));
        assert_eq!(both.header("webhook-signature"), two);
        assert_eq!(alone.header("webhook-signature"), signature(alone, &second));
        assert_ne!(both.header("webhook-id"), alone.header("webhook-id"));
        let body: Value = serde_json::from_str(&both.body).expect("JSON");
        assert_eq!(body["type"], "TEST");
        // What cannot be reached is told.
        let elsewhere = json!({ "id": one["id"], "url": "http://10.1.2.3/" });
        change(&h, "Update", elsewhere).await;
        let refused = test().await;
        assert_eq!(refused["delivered"], false);
        let words = refused["failure"].as_str().unwrap_or_default();
        assert!(words.contains("--allow-networks"), "{words}");
        let gone = h
            .mutate(
                "webhookSubscriptionDelete",
                "WebhookSubscriptionIdInput",
                input.clone(),
                "deletedId",
            )
            .await;
        assert_eq!(gone["deletedId"], one["id"]);
        assert_eq!(seen_of(&h, &one).await, Value::Null);
    }
);

both!(what_is_no_receiver_is_refused, |h: Harness| async move {
    let good = "https://example.com/hook";
    for (input, path) in [
        (json!({ "url": "http://example.com/hook" }), json!(["url"])),
        (json!({ "url": "ftp://example.com/" }), json!(["url"])),
        (json!({ "url": "https://a:b@example.com/" }), json!(["url"])),
        (json!({ "url": good, "kinds": [] }), json!(["kinds"])),
        (
            json!({ "url": good, "sequenceIds": [] }),
            json!(["sequenceIds"]),
        ),
        (
            json!({ "url": good, "after": "evt_0000000000000009" }),
            json!(["after"]),
        ),
    ] {
        let refused = h
            .try_mutate(
                "webhookSubscriptionCreate",
                "WebhookSubscriptionCreateInput",
                input,
                "secret webhookSubscription { id }",
            )
            .await;
        assert_eq!(refused["secret"], Value::Null);
        assert_eq!(refused["userErrors"][0]["path"], path, "{refused}");
    }
    for _ in 0..50 {
        subscribe(&h, good, json!({})).await;
    }
    let more = h
        .try_mutate(
            "webhookSubscriptionCreate",
            "WebhookSubscriptionCreateInput",
            json!({ "url": good }),
            "secret",
        )
        .await;
    assert_eq!(more["userErrors"][0]["code"], "LIMIT");
});
