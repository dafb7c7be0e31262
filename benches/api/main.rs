//! `make bench`: what the API costs, as ratios to what the same work costs without it.
//!
//! A page of fifty leads with person, sequence and step, against a handler written by hand that runs
//! the same statements and answers the same JSON, byte by byte. Then live events to 1, 200 and 2,000
//! subscribers, against a plain broadcast of the same texts over the same kind of sockets; with the
//! delay from the commit to the client, and the memory that a subscriber takes of a server.
//!
//! The broadcast keeps nothing, so that what is set against it begins where the database has kept the
//! events: with the commit. How fast events are heard that are written meanwhile is told as well; there
//! the database is what is measured, and above all how soon its disk has them.
//!
//! Clients and server share this process and its cores, in both of each pair; but memory is that of a
//! server in a process of its own.

// An optimised build looks through the types of the whole schema at once.
#![recursion_limit = "256"]

mod audience;
#[path = "../support/databases.rs"]
mod databases;
mod memory;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header;
use axum::response::{IntoResponse, Json, Response};
use axum::routing::post;
use cadenza::app::token::{self, Terms};
use cadenza::app::{Role, Services};
use cadenza::clock::Clock;
use cadenza::domain::id::{PersonId, SequenceId, VersionId, WorkspaceId};
use cadenza::domain::lead_filter::{LeadFilter, LeadOrder};
use cadenza::entropy::Entropy;
use cadenza::graphql::CadenzaSchema;
use cadenza::http::{Http, Options};
use cadenza::store::lead::{Page, Scope};
use cadenza::store::sql::{self, Arguments};
use cadenza::store::{Db, lead, person, sequence};
use chrono::SecondsFormat;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

use audience::Audience;

use self::databases::databases;

/// The binary's own, for everything that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const ROUNDS: usize = 3;
const CONNECTIONS: usize = 16;
const SPAN: Duration = Duration::from_secs(3);
const LEADS: usize = 1_000;
/// Subscribers, and how many events they all get.
const AUDIENCES: [(usize, usize); 3] = [(1, 100_000), (200, 2_000), (2_000, 300)];
/// How many events are committed at once where they are written meanwhile: what the engine's largest
/// transaction writes, which records 512 messages with three events for each.
const BATCH: usize = 1_536;

const QUERY: &str =
    "query ($n: Int) { leads(first: $n) { nodes { id status dueAt person { email firstName }
    sequence { id name } currentStep { key channel } } pageInfo { hasNextPage } } }";
const FOLLOW: &str = "subscription { executionEvents { cursor kind at stepKey } }";

fn main() {
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        for (name, url) in databases(folder.path()).await {
            measure(name, &url).await;
        }
    });
}

/// A server with something in it.
struct World {
    services: Services,
    workspace: WorkspaceId,
    secret: String,
    sequence: SequenceId,
    address: SocketAddr,
    api: Http,
    by_hand: SocketAddr,
    shutdown: CancellationToken,
}

async fn measure(name: &str, url: &str) {
    let world = World::new(url).await;
    let body = json!({ "query": QUERY, "variables": { "n": 50 } }).to_string();
    let by_hand = answer(world.by_hand, "/leads", "{}", &world.secret).await;
    let api = answer(world.address, "/graphql", &body, &world.secret).await;
    assert_eq!(by_hand, api, "both answer the same");
    let mut ratios = Vec::new();
    for round in 1..=ROUNDS {
        let by_hand = requests(world.by_hand, "/leads", "{}", &world.secret).await;
        let api = requests(world.address, "/graphql", &body, &world.secret).await;
        ratios.push(api / by_hand);
        println!(
            "{name}, round {round}: a page of 50 leads: by hand {by_hand:.0}/s, API {api:.0}/s, ratio {:.2}",
            api / by_hand
        );
    }
    println!(
        "{name}: a page of 50 leads: median ratio {:.2} (goal 0.7)",
        median(ratios)
    );
    for (subscribers, events) in AUDIENCES {
        let plain = Audience::plain(subscribers, events).await;
        let live = Audience::live(&world, subscribers, events).await;
        println!(
            "{name}: {subscribers} subscribers: broadcast {:.0} events/s, live {:.0} events/s, ratio {:.2} (goal 0.5); \
             {:.0} events/s while they are written; delay p50 {:?} p99 {:?} (broadcast p99 {:?})",
            plain.rate,
            live.rate,
            live.rate / plain.rate,
            live.rate_with_writing,
            live.delay.0,
            live.delay.1,
            plain.delay.1,
        );
    }
    world.shutdown.cancel();
    // The workers of this process are done with the file before another one takes it.
    world.services.db.close().await.expect("closed");
    let memory = memory::of_a_subscriber(url).await;
    println!(
        "{name}: memory a subscriber: {:.1} kB of the server's",
        kilobytes(memory)
    );
}

fn kilobytes(bytes: usize) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let bytes = bytes as f64;
    bytes / 1_024.0
}

fn median(mut list: Vec<f64>) -> f64 {
    list.sort_by(f64::total_cmp);
    list[list.len() / 2]
}

impl World {
    async fn new(url: &str) -> Self {
        let db = Db::connect(url).await.expect("the database opens");
        db.migrate().await.expect("migrated");
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let made = token::create(&db, &clock, &entropy, "bench", &Terms::of(Role::Admin))
            .await
            .expect("a token");
        let services = Services::for_tests(db, clock, entropy);
        let shutdown = CancellationToken::new();
        let (bus, until) = (services.bus.clone(), shutdown.clone());
        tokio::spawn(async move { bus.run(until).await });
        let schema = CadenzaSchema::new(services.clone());
        let http = Http::new(schema.clone(), Options::default(), shutdown.clone());
        let address = serve_api(&http).await;
        let by_hand = Router::new()
            .route("/leads", post(leads_by_hand))
            .with_state((services.clone(), schema.services().db.clone()));
        let by_hand = serve(by_hand).await;
        let workspace = made.caller.workspace;
        let sequence = fill(&schema, &services, made.caller).await;
        Self {
            services,
            workspace,
            secret: made.secret,
            sequence,
            address,
            api: http,
            by_hand,
            shutdown,
        }
    }
}

/// The API as the product serves it.
async fn serve_api(http: &Http) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(http.clone().serve(listener));
    address
}

async fn serve(router: Router) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let service = router.into_make_service_with_connect_info::<SocketAddr>();
    tokio::spawn(async move { axum::serve(listener, service).await.expect("serves") });
    address
}

/// People, and a sequence in which they are leads.
async fn fill(
    schema: &CadenzaSchema,
    services: &Services,
    caller: cadenza::app::Caller,
) -> SequenceId {
    let run = async |document: &str, variables: Value| {
        let request = async_graphql::Request::new(document)
            .variables(async_graphql::Variables::from_json(variables))
            .data(caller.clone());
        let answer = schema.execute(request).await;
        assert!(answer.is_ok(), "{answer:?}");
        serde_json::to_value(answer).expect("JSON")["data"].take()
    };
    let input = json!({ "name": "Ann", "channel": "EMAIL", "address": "ann@example.com", "transport": { "outbox": {} } });
    let made = run(
        "mutation ($i: SenderCreateInput!) { senderCreate(input: $i) { sender { id } } }",
        json!({ "i": input }),
    )
    .await;
    let step = json!({ "key": "hello", "action": { "email": { "senderIds": [made["senderCreate"]["sender"]["id"]],
        "variants": [{ "subject": "Hi", "text": "Hello" }] } } });
    let input = json!({ "name": "Bench", "flow": { "steps": [step] } });
    let made = run(
        "mutation ($i: SequenceCreateInput!) { sequenceCreate(input: $i) { sequence { id } } }",
        json!({ "i": input }),
    )
    .await;
    let id = made["sequenceCreate"]["sequence"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    run("mutation ($i: SequencePublishInput!) { sequencePublish(input: $i) { userErrors { message } } }", json!({ "i": { "id": id } })).await;
    let sequence: SequenceId = id.parse().expect("an id");
    let (workspace, now) = (caller.workspace, services.clock.now());
    let tx = services.db.begin().await.expect("a transaction");
    let ids: Vec<PersonId> = (0..LEADS).map(|_| services.entropy.id(now)).collect();
    for (number, id) in ids.iter().enumerate() {
        let email = format!("person{number}@example.com");
        let arguments = Arguments::new()
            .with(id.uuid())
            .with(workspace.uuid())
            .with(email.as_str())
            .with("Ada")
            .with(json!({}));
        let insert = "INSERT INTO person (id, workspace_id, email, email_key, first_name, attributes, search_text, created_at, updated_at)
            VALUES ($1, $2, $3, $3, $4, $5, $3, 0, 0)";
        sql::execute(&tx, insert, arguments)
            .await
            .expect("a person");
        let lead: cadenza::domain::id::LeadId = services.entropy.id(now);
        let arguments = Arguments::new()
            .with(lead.uuid())
            .with(workspace.uuid())
            .with(sequence.uuid())
            .with(id.uuid())
            .with(now.timestamp_millis() + 3_600_000);
        let insert = "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status, step_key, turn, bucket, anchor_at,
                due_at, messages_sent, opens, clicks, replies, bounced, unsubscribed, enrolled_at, enrolled_by)
            VALUES ($1, $2, $3, $4, 1, 'ACTIVE', 'hello', 0, 1, 0, $5, 0, 0, 0, 0, FALSE, FALSE, $5, 'bench')";
        sql::execute(&tx, insert, arguments).await.expect("a lead");
    }
    tx.commit().await.expect("committed");
    // Else the plans change in the middle, once the database finds the time to look at its tables.
    sql::execute(services.db.write(), "ANALYZE", Arguments::new())
        .await
        .expect("analysed");
    sequence
}

/// The same page by hand: the same token, the same statements, the same JSON, and nothing else.
async fn leads_by_hand(State((services, db)): State<(Services, Db)>, request: Request) -> Response {
    let token = request.headers()[header::AUTHORIZATION]
        .to_str()
        .expect("text")
        .trim_start_matches("Bearer ");
    let caller = services.access.admit(token, None).await.expect("a token");
    let body = axum::body::to_bytes(request.into_body(), 1_000)
        .await
        .expect("a body");
    let _asked: Value = serde_json::from_slice(&body).expect("JSON");
    let (workspace, db) = (caller.workspace, db.read());
    let filter = LeadFilter::default();
    let scope = Scope {
        workspace,
        filter: &filter,
        as_of: None,
    };
    let page = Page {
        order: LeadOrder::default(),
        after: None,
        before: None,
        backward: false,
        limit: 51,
    };
    let mut rows = lead::page(db, &scope, page).await.expect("leads");
    let more = rows.len() > 50;
    rows.truncate(50);
    let people: Vec<PersonId> = rows
        .iter()
        .map(|row| PersonId::from_uuid(row.person_id))
        .collect();
    let people = person::find_many(db, workspace, &people)
        .await
        .expect("people");
    let mut sequences: Vec<SequenceId> = rows
        .iter()
        .map(|row| SequenceId::from_uuid(row.sequence_id))
        .collect();
    sequences.dedup();
    let sequences = sequence::find_many(db, workspace, &sequences)
        .await
        .expect("sequences");
    let versions: Vec<VersionId> = sequences
        .iter()
        .filter_map(|sequence| sequence.published_version)
        .collect();
    let versions = sequence::version::find_many(db, workspace, &versions)
        .await
        .expect("versions");
    let nodes: Vec<Value> = rows
        .iter()
        .map(|row| {
            let person = people
                .iter()
                .find(|person| person.id == row.person_id)
                .expect("a person");
            let sequence = sequences
                .iter()
                .find(|sequence| sequence.id.uuid() == row.sequence_id)
                .expect("a sequence");
            let version = versions
                .iter()
                .find(|version| Some(version.id) == sequence.published_version)
                .expect("a version");
            let step = version
                .flow
                .steps
                .iter()
                .find(|step| Some(&step.key) == row.step_key.as_ref())
                .expect("a step");
            json!({
                "id": cadenza::domain::id::LeadId::from_uuid(row.id).to_string(),
                "status": "PENDING",
                "dueAt": row.due_at.map(|at| cadenza::clock::from_ms(at).to_rfc3339_opts(SecondsFormat::Millis, true)),
                "person": { "email": person.email, "firstName": person.first_name },
                "sequence": { "id": sequence.id.to_string(), "name": sequence.name },
                "currentStep": { "key": step.key, "channel": "EMAIL" },
            })
        })
        .collect();
    Json(json!({ "data": { "leads": { "nodes": nodes, "pageInfo": { "hasNextPage": more } } } }))
        .into_response()
}

/// A request as it goes over the wire.
fn request(address: SocketAddr, path: &str, body: &str, secret: &str) -> String {
    format!(
        "POST {path} HTTP/1.1\r\nHost: {address}\r\nAuthorization: Bearer {secret}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// The body that one request is answered with.
async fn answer(address: SocketAddr, path: &str, body: &str, secret: &str) -> String {
    let mut stream = TcpStream::connect(address).await.expect("connects");
    let request = request(address, path, body, secret);
    stream.write_all(request.as_bytes()).await.expect("written");
    let mut buffer = Vec::new();
    read_answer(&mut stream, &mut buffer).await;
    let answer = String::from_utf8(buffer).expect("text");
    let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
    body.to_owned()
}

/// Requests a second over some connections that stay open.
async fn requests(address: SocketAddr, path: &str, body: &str, secret: &str) -> f64 {
    let request = request(address, path, body, secret);
    let until = Instant::now() + SPAN;
    let began = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..CONNECTIONS {
        let request = request.clone();
        tasks.spawn(async move {
            let mut stream = TcpStream::connect(address).await.expect("connects");
            stream.set_nodelay(true).expect("a socket option");
            let mut count = 0_usize;
            let mut buffer = Vec::with_capacity(64 << 10);
            while Instant::now() < until {
                stream.write_all(request.as_bytes()).await.expect("written");
                read_answer(&mut stream, &mut buffer).await;
                count += 1;
            }
            count
        });
    }
    let mut count = 0;
    while let Some(done) = tasks.join_next().await {
        count += done.expect("asks");
    }
    per_second(count, began.elapsed())
}

async fn read_answer(stream: &mut TcpStream, buffer: &mut Vec<u8>) {
    buffer.clear();
    loop {
        assert!(
            stream.read_buf(buffer).await.expect("read") > 0,
            "the server hung up"
        );
        let Some(end) = memchr::memmem::find(buffer, b"\r\n\r\n") else {
            continue;
        };
        let head = std::str::from_utf8(&buffer[..end])
            .expect("text")
            .to_ascii_lowercase();
        assert!(head.starts_with("http/1.1 200"), "{head}");
        let length = head.split("content-length: ").nth(1).expect("a length");
        let length: usize = length
            .lines()
            .next()
            .expect("a line")
            .trim()
            .parse()
            .expect("a number");
        let whole = end + 4 + length;
        while buffer.len() < whole {
            assert!(
                stream.read_buf(buffer).await.expect("read") > 0,
                "the server hung up"
            );
        }
        let body = &buffer[end + 4..whole];
        let begins = br#"{"data":{"leads":{"nodes":[{"id":"lead_"#;
        assert!(
            body.starts_with(begins),
            "{}",
            String::from_utf8_lossy(&body[..100])
        );
        return;
    }
}

fn per_second(count: usize, elapsed: Duration) -> f64 {
    #[expect(clippy::cast_precision_loss, reason = "counts are far below 2^52")]
    let count = count as f64;
    count / elapsed.as_secs_f64()
}
