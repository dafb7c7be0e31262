//! `make bench`: how fast the engine sends, as a ratio to what the same mail costs without it.
//!
//! The limit is measured in the same run: lettre's message builder over our own pool of
//! connections with TCP_NODELAY, handing the same mails to the same receiver, with no database.
//! Then the engine does the same from the claim to the record, on SQLite and, where
//! `TEST_POSTGRES_URL` names a server, on PostgreSQL. Last, the claim's latency with few and with
//! many leads waiting.
//!
//! The receiver runs in this process on a thread of its own, so all three share two cores; another
//! one, such as Postfix's `smtp-sink`, is used where `CADENZA_BENCH_SINK` names its port.

#[path = "../tests/support/smtp_sink.rs"]
#[expect(
    dead_code,
    reason = "the receiver is the tests' own, and a bench asks it little"
)]
mod smtp_sink;

#[path = "support/databases.rs"]
mod databases;

use std::sync::Arc;
use std::time::{Duration, Instant};

use cadenza::app::Services;
use cadenza::channel::dispatch::{Channel, TransportConfig};
use cadenza::channel::email::Email;
use cadenza::channel::mime::compose;
use cadenza::channel::smtp::{Security, SmtpConfig, SmtpPool};
use cadenza::clock::Clock;
use cadenza::domain::id::{LeadId, PersonId, SenderId, SequenceId, VersionId, WorkspaceId, kind};
use cadenza::domain::outcome::Outcome;
use cadenza::domain::settings::Weekday;
use cadenza::engine::record::Ending;
use cadenza::engine::{Engine, EngineConfig};
use cadenza::entropy::Entropy;
use cadenza::store::Db;
use cadenza::store::sql::{self, Arguments};
use lettre::address::Envelope;
use lettre::transport::smtp::client::AsyncSmtpConnection;
use lettre::transport::smtp::extension::ClientId;
use sea_orm::{ConnectionTrait, Value};
use smtp_sink::{Options, SmtpSink};
use tokio_util::sync::CancellationToken;

use self::databases::databases;

/// The binary's own, for everything that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Enough that a statement whose cost grows with the table, and not with its own rows, shows.
const MAILS: usize = 40_000;
const ROUNDS: usize = 3;
const CONNECTIONS: usize = 64;

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags of the standard harness; none matters.
    let sink = receiver();
    // Gone with what is in it when all is measured.
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        let mut ratios: Vec<(&str, Vec<f64>)> = Vec::new();
        for round in 1..=ROUNDS {
            let limit = lettre_alone(&sink).await;
            println!("round {round}: lettre alone, {CONNECTIONS} connections: {limit:.0} mails/s");
            let sessions = sessions_alone(&sink).await;
            println!("round {round}: our sessions alone: {sessions:.0} mails/s");
            for (name, url) in databases(folder.path()).await {
                let (rate, each) = engine(&sink, &url).await;
                println!(
                    "round {round}: engine on {name}: {rate:.0} mails/s, ratio {:.2}, {each:?} each",
                    rate / limit
                );
                match ratios.iter_mut().find(|(known, _)| *known == name) {
                    Some((_, list)) => list.push(rate / limit),
                    None => ratios.push((name, vec![rate / limit])),
                }
            }
        }
        for (name, mut list) in ratios {
            list.sort_by(f64::total_cmp);
            println!(
                "{name}: median ratio {:.2} (goal 1.0)",
                list[list.len() / 2]
            );
        }
        for (name, url) in databases(folder.path()).await {
            claim_latency(name, &url).await;
        }
    });
}

/// Who gets the mails.
struct Receiver {
    port: u16,
    _sink: Option<Arc<SmtpSink>>,
}

/// The receiver that `CADENZA_BENCH_SINK` names by its port on 127.0.0.1, or else the tests' own.
fn receiver() -> Receiver {
    if let Ok(port) = std::env::var("CADENZA_BENCH_SINK") {
        let port = port.parse().expect("CADENZA_BENCH_SINK is a port");
        return Receiver { port, _sink: None };
    }
    let sink = sink_on_its_own_thread();
    Receiver {
        port: sink.port(),
        _sink: Some(sink),
    }
}

fn sink_on_its_own_thread() -> Arc<SmtpSink> {
    let (made, making) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("runtime");
        runtime.block_on(async {
            made.send(Arc::new(
                SmtpSink::start(Options {
                    keep_bytes: false,
                    ..Options::default()
                })
                .await
                .expect("a receiver"),
            ))
            .expect("somebody waits");
            std::future::pending::<()>().await;
        });
    });
    making.recv().expect("a receiver")
}

fn text() -> String {
    "Some words that a person might write to another, and some more of them.\n".repeat(24)
}

/// lettre's messages and lettre's connections, a connection for each task, with TCP_NODELAY, which
/// lettre itself does not set.
async fn lettre_alone(sink: &Receiver) -> f64 {
    let (clock, port) = (Clock::system(), sink.port);
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..CONNECTIONS {
        let clock = clock.clone();
        tasks.spawn(async move {
            let stream = tokio::net::TcpStream::connect(("127.0.0.1", port))
                .await
                .expect("connects");
            stream.set_nodelay(true).expect("a socket option");
            let hello = ClientId::Domain("bench.example".into());
            let mut connection =
                AsyncSmtpConnection::connect_with_transport(Box::new(stream), &hello)
                    .await
                    .expect("a greeting");
            for number in (task..MAILS).step_by(CONNECTIONS) {
                let composed = compose(&email(number, clock.now())).expect("composes");
                let envelope = Envelope::new(
                    Some(composed.envelope_from.clone()),
                    vec![composed.envelope_to.clone()],
                )
                .expect("an envelope");
                connection
                    .send(&envelope, &composed.bytes)
                    .await
                    .expect("is taken");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("sends");
    }
    rate(MAILS, started.elapsed())
}

/// The same mails over our own sessions, which pipeline: what the engine could send if the
/// database cost nothing.
async fn sessions_alone(sink: &Receiver) -> f64 {
    let mut config = SmtpConfig::new("127.0.0.1", sink.port, Security::None);
    config.max_connections = CONNECTIONS;
    let pool = Arc::new(SmtpPool::new(config));
    let clock = Clock::system();
    let started = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for task in 0..CONNECTIONS {
        let (pool, clock) = (Arc::clone(&pool), clock.clone());
        tasks.spawn(async move {
            for number in (task..MAILS).step_by(CONNECTIONS) {
                let composed = compose(&email(number, clock.now())).expect("composes");
                let outcome = pool.send(&composed).await;
                assert!(outcome.error_code().is_none(), "{outcome:?}");
            }
        });
    }
    while let Some(done) = tasks.join_next().await {
        done.expect("sends");
    }
    rate(MAILS, started.elapsed())
}

fn email(number: usize, now: chrono::DateTime<chrono::Utc>) -> Email {
    Email {
        message_id: format!("<limit.{number}@bench.example>"),
        date: now,
        from_name: "Bench".into(),
        from_address: "bench@bench.example".into(),
        reply_to: None,
        opt_out_by_mail: false,
        to_name: Some("Person".into()),
        to_address: format!("p{number}@example.org"),
        subject: "Hello".into(),
        text: text(),
        html: Some(format!("<p>{}</p>", text())),
        in_reply_to: None,
        references: Vec::new(),
        marker: None,
    }
}

fn rate(mails: usize, took: Duration) -> f64 {
    f64::from(u32::try_from(mails).expect("few")) / took.as_secs_f64()
}

/// A database with a published one-step sequence.
struct Furnished {
    services: Services,
    workspace: WorkspaceId,
    sequence: SequenceId,
    sender: SenderId,
}

async fn furnish(url: &str, port: u16) -> Furnished {
    let db = Db::connect(url).await.expect("connects");
    db.migrate().await.expect("migrates");
    let services = Services::for_tests(db, Clock::system(), Entropy::system());
    let (now, entropy) = (services.clock.now(), services.entropy.clone());
    let ms = now.timestamp_millis();
    let workspace = entropy.id::<kind::Workspace>(now);
    let sequence = entropy.id::<kind::Sequence>(now);
    let version: VersionId = entropy.id(now);
    let sender = entropy.id::<kind::Sender>(now);
    let body = text();
    let flow = serde_json::json!({ "steps": [{ "key": "one", "wait": "PT0S", "action": {
        "kind": "email", "senders": [sender.to_string()],
        "variants": [{ "key": "a", "weight": 1, "enabled": true, "subject": "Hello {{ first_name }}",
                       "text": body, "html": format!("<p>{body}</p>") }] } }] });
    let windows: Vec<_> = Weekday::ALL
        .iter()
        .map(|day| serde_json::json!({ "day": day, "from": "00:00", "to": "24:00" }))
        .collect();
    let settings = serde_json::json!({ "sendWindows": windows });
    let transport = serde_json::json!({ "kind": "smtp", "host": "127.0.0.1", "port": port, "security": "NONE" });
    let w = services.db.write();
    let run = async |sql: &str, values: Vec<Value>| {
        let statement =
            sea_orm::Statement::from_sql_and_values(w.get_database_backend(), sql, values);
        w.execute_raw(statement).await.expect(sql);
    };
    run(
        "INSERT INTO workspace (id, name, time_zone, created_at) VALUES ($1, 'bench', 'UTC', $2)",
        vec![workspace.uuid().into(), ms.into()],
    )
    .await;
    run(
        "INSERT INTO event_counter (workspace_id, last_seq) VALUES ($1, 0)",
        vec![workspace.uuid().into()],
    )
    .await;
    run(
        "INSERT INTO sender (id, workspace_id, name, channel, address, enabled, time_zone, min_gap_ms, gap_jitter_ms, transport, tagged_replies, revision, next_free_at, failures, created_at, updated_at)
         VALUES ($1, $2, 'Bench', 'EMAIL', 'bench@bench.example', $3, 'UTC', 0, 0, $4, FALSE, 1, 0, 0, $5, $5)",
        vec![sender.uuid().into(), workspace.uuid().into(), true.into(), transport.into(), ms.into()],
    )
    .await;
    run(
        "INSERT INTO sequence (id, workspace_id, name, search_text, status, revision, flow, settings, published_version_id, created_at, updated_at)
         VALUES ($1, $2, 'Bench', 'bench', 'PUBLISHED', 1, $3, $4, $5, $6, $6)",
        vec![sequence.uuid().into(), workspace.uuid().into(), flow.clone().into(), settings.clone().into(), version.uuid().into(), ms.into()],
    )
    .await;
    run(
        "INSERT INTO sequence_version (id, workspace_id, sequence_id, number, flow, settings, published_at, published_by)
         VALUES ($1, $2, $3, 1, $4, $5, $6, 'bench')",
        vec![version.uuid().into(), workspace.uuid().into(), sequence.uuid().into(), flow.into(), settings.into(), ms.into()],
    )
    .await;
    run(
        "INSERT INTO lane (sequence_id, sender_id, workspace_id) VALUES ($1, $2, $3)",
        vec![
            sequence.uuid().into(),
            sender.uuid().into(),
            workspace.uuid().into(),
        ],
    )
    .await;
    Furnished {
        services,
        workspace,
        sequence,
        sender,
    }
}

impl Furnished {
    /// Enters leads that are due `in_ms` from now.
    async fn leads(&self, count: usize, in_ms: i64) {
        let entropy = &self.services.entropy;
        let now = self.services.clock.now();
        let ms = now.timestamp_millis();
        let tx = self.services.db.begin().await.expect("begins");
        for chunk in 0..count.div_ceil(500) {
            let size = 500.min(count - chunk * 500);
            let ids: Vec<(PersonId, LeadId)> = (0..size)
                .map(|_| (entropy.id(now), entropy.id(now)))
                .collect();
            let mut people = Arguments::new();
            let rows = people.table(
                &tx,
                ids.iter().map(|(person, _)| -> [Value; 9] {
                    let email = format!("{person}@example.org");
                    [
                        person.uuid().into(),
                        self.workspace.uuid().into(),
                        email.clone().into(),
                        email.into(),
                        "Person".into(),
                        serde_json::json!({}).into(),
                        "".into(),
                        ms.into(),
                        ms.into(),
                    ]
                }),
            );
            let statement = format!(
                "INSERT INTO person (id, workspace_id, email, email_key, first_name, attributes,
                     search_text, created_at, updated_at) {rows}"
            );
            sql::execute(&tx, &statement, people)
                .await
                .expect("inserts");
            let mut leads = Arguments::new();
            let rows = leads.table(
                &tx,
                ids.iter().map(|(person, lead)| -> [Value; 21] {
                    [
                        lead.uuid().into(),
                        self.workspace.uuid().into(),
                        self.sequence.uuid().into(),
                        person.uuid().into(),
                        1_i32.into(),
                        "ACTIVE".into(),
                        "one".into(),
                        1_i16.into(),
                        self.sender.uuid().into(),
                        7_i32.into(),
                        ms.into(),
                        (ms + in_ms).into(),
                        0_i32.into(),
                        0_i32.into(),
                        0_i32.into(),
                        0_i32.into(),
                        false.into(),
                        false.into(),
                        ms.into(),
                        "API".into(),
                        Value::BigInt(None),
                    ]
                }),
            );
            let statement = format!(
                "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status,
                     step_key, turn, sender_id, bucket, anchor_at, due_at, messages_sent, opens,
                     clicks, replies, bounced, unsubscribed, enrolled_at, enrolled_by,
                     last_action_at) {rows}"
            );
            sql::execute(&tx, &statement, leads).await.expect("inserts");
        }
        tx.commit().await.expect("commits");
    }

    fn engine(&self) -> Arc<Engine> {
        let s = &self.services;
        let config = TransportConfig {
            hello_name: "bench.example".into(),
            connections_max: CONNECTIONS,
            ..TransportConfig::default()
        };
        Arc::new(Engine::new(
            s.db.clone(),
            s.clock.clone(),
            s.entropy.clone(),
            Arc::clone(&s.zones),
            s.wake.clone(),
            s.clone().by(config).transports as Arc<dyn Channel>,
            EngineConfig {
                sends_per_sender: CONNECTIONS,
                ..EngineConfig::default()
            },
        ))
    }
}

/// Everything due at once; the clock runs from the claim of the first to the record of the last.
/// Answers mails a second, and the processor time that this process, receiver included, took for
/// each.
async fn engine(sink: &Receiver, url: &str) -> (f64, Duration) {
    let furnished = furnish(url, sink.port).await;
    furnished.leads(MAILS, -1_000).await;
    let engine = furnished.engine();
    engine.join().await.expect("joins");
    let shutdown = CancellationToken::new();
    let (started, spent) = (Instant::now(), processor_time());
    let running = tokio::spawn(Arc::clone(&engine).run(shutdown.clone()));
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        // Cheap to ask, so that the asking does not slow down what is measured. Each mail is three
        // events: started, sent, completed.
        let statement = "SELECT last_seq AS n FROM event_counter WHERE workspace_id = $1";
        let db = furnished.services.db.read();
        let of_workspace = Arguments::new().with(furnished.workspace.uuid());
        let events = sql::number(db, statement, of_workspace).await;
        if events.expect("counts") == i64::try_from(MAILS * 3).expect("few") {
            break;
        }
        assert!(
            started.elapsed() < Duration::from_secs(120),
            "not done after two minutes"
        );
    }
    let took = started.elapsed();
    let each = (processor_time() - spent) / u32::try_from(MAILS).expect("few");
    shutdown.cancel();
    running.await.expect("ends");
    (rate(MAILS, took), each)
}

/// The processor time of this process so far (proc_pid_stat(5): fields 14 and 15, in hundredths of a
/// second).
fn processor_time() -> Duration {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let (_, after_name) = stat.rsplit_once(')').expect("a name in brackets");
    let fields = after_name.split_whitespace().skip(11).take(2);
    let ticks: u64 = fields
        .map(|field| field.parse::<u64>().expect("a number"))
        .sum();
    Duration::from_millis(ticks * 10)
}

/// The median time of a claim of 100 due leads, with few and with many leads that wait.
async fn claim_latency(name: &str, url: &str) {
    let furnished = furnish(url, 1).await;
    let engine = furnished.engine();
    engine.join().await.expect("joins");
    let many = std::env::var("CADENZA_BENCH_WAITING")
        .ok()
        .and_then(|n| n.parse().ok())
        .unwrap_or(1_000_000);
    let mut waiting = 0;
    for goal in [10_000, many] {
        furnished.leads(goal - waiting, 86_400_000).await;
        waiting = goal;
        // Entering them takes longer than a lease lasts, and without a lease nothing is claimed.
        engine.prolong().await.expect("prolongs");
        let mut times = Vec::new();
        for _ in 0..15 {
            furnished.leads(100, -1_000).await;
            let started = Instant::now();
            let claim = engine.claim(96, &|_| 96).await.expect("claims");
            times.push(started.elapsed());
            assert_eq!(claim.messages.len(), 96);
            // Recorded like any other; else the next claims go through all that is under way.
            let sent = |claimed| {
                let response = String::new();
                (
                    claimed,
                    Ending::Dispatched(Outcome::Sent { response }, None),
                )
            };
            let ended: Vec<_> = claim.messages.into_iter().map(sent).collect();
            engine.record(&ended).await.expect("records");
        }
        times.sort();
        println!(
            "{name}: claim of 96 with {waiting} leads waiting: median {:?}",
            times[times.len() / 2]
        );
    }
}
