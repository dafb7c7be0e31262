//! `make bench`: what bulk operations cost, as ratios to the plain SQL statement that does the bare insert
//! or update of as many rows in the same database, in the same run.
//!
//! People are imported from a file that comes in piece by piece; the half of them who live in Rome are
//! enrolled by a filter, paused, resumed and removed. `CADENZA_BENCH_PEOPLE` says how many there are,
//! 100,000 if it is not set. What the operations do besides writing rows is in the ratio: checks,
//! outcomes, events, and a commit for every chunk.
//!
//! In between, first pages of people are timed under filters that many people pass and that nobody passes.

// An optimised build looks through the types of the whole schema at once.
#![recursion_limit = "256"]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/times.rs"]
mod times;

use std::io::Write;
use std::time::{Duration, Instant};

use cadenza::app::token::{self, Terms};
use cadenza::app::{Caller, Role, Services};
use cadenza::bulk::import::upload::Upload;
use cadenza::bulk::import::{OnConflict, Options};
use cadenza::bulk::runner::{Round, Runner};
use cadenza::clock::Clock;
use cadenza::domain::id::{BulkId, SequenceId, WorkerId};
use cadenza::entropy::Entropy;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::sql::{self, Arguments};
use cadenza::store::{Db, bulk, worker};
use serde_json::{Value, json};

use self::databases::databases;
use self::times::tell;

/// The binary's own, for everything that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEOPLE: usize = 100_000;
const PAGE: &str = "query Page($filter: PersonFilter) { people(first: 50, filter: $filter) {
    nodes { id email company attributes } pageInfo { endCursor } } }";
/// How often each page is asked for.
const PAGES: usize = 20;
/// From so many items on, an operation is seen to advance.
const SEEN_FROM: usize = 10_000;
/// How many lines of the file come at once.
const LINES: usize = 1_000;

fn main() {
    let people = std::env::var("CADENZA_BENCH_PEOPLE").map_or(PEOPLE, |text| {
        text.parse().expect("CADENZA_BENCH_PEOPLE is a number")
    });
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        for (name, url) in databases(folder.path()).await {
            println!("{name}: {people} people");
            let world = World::new(&url, people).await;
            world.measure(name).await;
            println!("  peak memory of this process: {} MB", peak() >> 20);
        }
    });
}

/// The most memory that this process has taken so far, in bytes.
fn peak() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux tells");
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .expect("a line");
    let kilobytes = line.split_whitespace().nth(1).expect("a number");
    kilobytes.parse::<usize>().expect("a number") * 1_024
}

/// A workspace with a published sequence.
struct Team {
    caller: Caller,
    sequence: SequenceId,
}

/// A database with two workspaces: one for the operations, one for the plain statements.
struct World {
    people: usize,
    services: Services,
    schema: CadenzaSchema,
    runner: tokio::sync::Mutex<Runner>,
    ours: Team,
    plain: Team,
}

impl World {
    async fn new(url: &str, people: usize) -> Self {
        let db = Db::connect(url).await.expect("the database opens");
        db.migrate().await.expect("migrated");
        let (clock, entropy) = (Clock::system(), Entropy::system());
        let services = Services::for_tests(db.clone(), clock.clone(), entropy.clone());
        let schema = CadenzaSchema::new(services.clone());
        let now = clock.now();
        let id: WorkerId = entropy.id(now);
        worker::register(db.write(), id, now, now + chrono::Duration::days(1))
            .await
            .expect("registered");
        let team = async |name: &str| {
            let terms = Terms::of(Role::Admin);
            let made = token::create(&db, &clock, &entropy, name, &terms);
            let caller = made.await.expect("a token").caller;
            let sequence = published(&schema, &caller).await;
            Team { caller, sequence }
        };
        let (ours, plain) = (team("ours").await, team("plain").await);
        Self {
            people,
            runner: tokio::sync::Mutex::new(Runner::new(services.clone(), move || id)),
            services,
            schema,
            ours,
            plain,
        }
    }

    async fn measure(&self, name: &str) {
        let begun = Instant::now();
        let import = self.upload().await;
        self.finish(("import", self.people), import).await;
        let backend = self.services.db.write().get_database_backend();
        let plain = plain_import(self.people, backend == sea_orm::DbBackend::Postgres);
        self.told(("import", self.people), begun.elapsed(), &plain)
            .await;
        self.pages(name).await;
        let people = json!({ "filter": { "attributes": [in_the_city("Rome")] } });
        let input = json!({ "sequenceId": self.ours.sequence, "people": people });
        self.compare(
            "enrol",
            ("leadsEnrol", "LeadsEnrolInput", input),
            PLAIN_ENROL,
        )
        .await;
        for (name, field, plain) in [
            ("pause", "leadsPause", PLAIN_PAUSE),
            ("resume", "leadsResume", PLAIN_RESUME),
            ("remove", "leadsRemove", PLAIN_REMOVE),
        ] {
            let filter = json!({ "sequenceIds": [self.ours.sequence] });
            let input = json!({ "leads": { "filter": filter } });
            self.compare(name, (field, "LeadsBulkInput", input), plain)
                .await;
        }
    }

    async fn compare(&self, name: &str, mutation: (&str, &str, Value), plain: &str) {
        let (field, input_type, input) = mutation;
        let begun = Instant::now();
        let document = format!(
            "mutation ($i: {input_type}!) {{ {field}(input: $i) {{ operation {{ id }} }} }}"
        );
        let data = run(
            &self.schema,
            &self.ours.caller,
            &document,
            json!({ "i": input }),
        )
        .await;
        let id = data[field]["operation"]["id"].as_str().expect("an id");
        let half = self.people.div_ceil(2);
        self.finish((name, half), id.parse().expect("an id")).await;
        self.told((name, half), begun.elapsed(), plain).await;
    }

    /// Times the first pages that somebody looks at.
    async fn pages(&self, name: &str) {
        let one = self.people / 2;
        let filters = [
            ("all", json!({})),
            (
                "one company",
                json!({ "company": [format!("Company {one}")] }),
            ),
            ("a word that all have", json!({ "search": "ada" })),
            (
                "a word that one has",
                json!({ "search": format!("p{one}@example") }),
            ),
            ("a word that nobody has", json!({ "search": "zeppelin" })),
            (
                "half of all",
                json!({ "attributes": [in_the_city("Rome")] }),
            ),
            ("nobody", json!({ "attributes": [in_the_city("Atlantis")] })),
            (
                "not in a sequence",
                json!({ "notInSequenceId": self.ours.sequence }),
            ),
        ];
        for (what, filter) in filters {
            let mut times = Vec::with_capacity(PAGES);
            for _ in 0..PAGES {
                let begun = Instant::now();
                let variables = json!({ "filter": filter });
                run(&self.schema, &self.ours.caller, PAGE, variables).await;
                times.push(begun.elapsed());
            }
            tell(name, &format!("page of 50 people, {what}"), times);
        }
    }

    /// Uploads the file, of which no more than some lines are there at a time.
    async fn upload(&self) -> BulkId {
        let options = Options {
            mapping: None,
            on_conflict: OnConflict::Update,
            dry_run: false,
            idempotency_key: None,
        };
        let upload = Upload::begin(&self.services, &self.ours.caller, options);
        let mut upload = upload.await.expect("it begins");
        let header = "email,first_name,company,city\n";
        upload.write(header.as_bytes()).await.expect("a header");
        for from in (0..self.people).step_by(LINES) {
            let to = self.people.min(from + LINES);
            let line = |n| {
                let city = ["Rome", "Oslo"][n % 2];
                format!("p{n}@example.com,Ada,Company {n},{city}\n")
            };
            let lines: String = (from..to).map(line).collect();
            upload.write(lines.as_bytes()).await.expect("lines");
        }
        upload.finish().await.expect("it is submitted")
    }

    /// Carries an operation out and tells how far it is, by tenths.
    async fn finish(&self, (name, expected): (&str, usize), id: BulkId) {
        let (workspace, db) = (self.ours.caller.workspace, self.services.db.read());
        let mut runner = self.runner.lock().await;
        let (mut told, mut seen) = (0, 0);
        loop {
            let round = runner.round().await.expect("a round");
            let found = bulk::find(db, workspace, id).await.expect("it is read");
            let row = found.expect("it is there");
            let tenths = row.processed * 10 / i64::try_from(expected.max(1)).expect("few");
            if tenths > told {
                (told, seen) = (tenths, seen + 1);
                print!("\r  {name}: {tenths}0 %");
                std::io::stdout().flush().expect("it is told");
            }
            if row.status == "COMPLETED" {
                assert_eq!(usize::try_from(row.succeeded), Ok(expected), "{row:?}");
                assert!(expected < SEEN_FROM || seen > 5, "progress is to be seen");
                break;
            }
            let is_open = matches!(row.status.as_str(), "QUEUED" | "RUNNING");
            assert!(is_open && round == Round::More, "{row:?}");
        }
        print!("\r");
    }

    /// Runs the plain statement and tells the ratio.
    async fn told(&self, (name, expected): (&str, usize), ours: Duration, plain: &str) {
        let arguments = Arguments::new()
            .with(self.plain.caller.workspace.uuid())
            .with(self.plain.sequence.uuid())
            .with(self.services.clock.now().timestamp_millis());
        let begun = Instant::now();
        let changed = sql::execute(self.services.db.write(), plain, arguments)
            .await
            .expect("the plain statement runs");
        let bare = begun.elapsed();
        assert_eq!(usize::try_from(changed), Ok(expected), "{name}");
        println!(
            "  {name}: {:.2} s, the plain statement {:.2} s: ratio {:.1}",
            ours.as_secs_f64(),
            bare.as_secs_f64(),
            ours.as_secs_f64() / bare.as_secs_f64()
        );
    }
}

/// The bare insert of people. Their ids are any sixteen bytes, which each database makes in its own way.
fn plain_import(people: usize, is_postgres: bool) -> String {
    let (id, json) = match is_postgres {
        true => ("gen_random_uuid()", "::jsonb"),
        false => ("randomblob(16)", ""),
    };
    format!(
        "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < {people})
         INSERT INTO person (id, workspace_id, email, email_key, first_name, company, attributes,
             search_text, created_at, updated_at)
         SELECT {id}, $1, 'p' || i || '@example.com', 'p' || i || '@example.com', 'Ada',
             'Company ' || i,
             CASE WHEN i % 2 = 1 THEN '{{\"city\": \"Rome\"}}' ELSE '{{\"city\": \"Oslo\"}}' END{json},
             'ada company ' || i, $3, $3
         FROM n WHERE $2 = $2"
    )
}

const PLAIN_ENROL: &str = "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status,
        step_key, turn, bucket, anchor_at, due_at, messages_sent, opens, clicks, replies, bounced,
        unsubscribed, enrolled_at, enrolled_by)
    SELECT p.id, $1, $2, p.id, 1, 'ACTIVE', 'hello', 1, 1, $3, $3 + 86400000, 0, 0, 0, 0, FALSE, FALSE,
        $3, 'API'
    FROM person AS p WHERE p.workspace_id = $1 AND p.attributes ->> 'city' = 'Rome'";
const PLAIN_PAUSE: &str =
    "UPDATE lead SET status = 'PAUSED', paused_rest_ms = due_at - $3, due_at = NULL
    WHERE workspace_id = $1 AND sequence_id = $2 AND status = 'ACTIVE'";
const PLAIN_RESUME: &str = "UPDATE lead SET status = 'ACTIVE', due_at = $3 + paused_rest_ms,
        paused_rest_ms = NULL
    WHERE workspace_id = $1 AND sequence_id = $2 AND status = 'PAUSED'";
const PLAIN_REMOVE: &str =
    "UPDATE lead SET status = 'STOPPED', stop_reason = 'REMOVED', due_at = NULL,
        last_action_at = $3
    WHERE workspace_id = $1 AND sequence_id = $2 AND status = 'ACTIVE'";

async fn run(schema: &CadenzaSchema, caller: &Caller, document: &str, variables: Value) -> Value {
    let request = async_graphql::Request::new(document)
        .variables(async_graphql::Variables::from_json(variables))
        .data(caller.clone());
    let answer = schema.execute(request).await;
    assert!(answer.is_ok(), "{answer:?}");
    serde_json::to_value(answer).expect("JSON")["data"].take()
}

fn in_the_city(name: &str) -> Value {
    json!({ "name": "city", "op": "EQ", "value": name })
}

/// A published sequence whose only step is far away.
async fn published(schema: &CadenzaSchema, caller: &Caller) -> SequenceId {
    let input = json!({ "name": "Ann", "channel": "EMAIL", "address": "ann@example.com",
        "transport": { "outbox": {} } });
    let made = run(
        schema,
        caller,
        "mutation ($i: SenderCreateInput!) { senderCreate(input: $i) { sender { id } } }",
        json!({ "i": input }),
    )
    .await;
    let sender = &made["senderCreate"]["sender"]["id"];
    let step = json!({ "key": "hello", "wait": "P30D", "action": { "email": {
        "senderIds": [sender], "variants": [{ "subject": "Hi", "text": "Hello" }] } } });
    let input = json!({ "name": "Bench", "flow": { "steps": [step] } });
    let made = run(
        schema,
        caller,
        "mutation ($i: SequenceCreateInput!) { sequenceCreate(input: $i) { sequence { id } } }",
        json!({ "i": input }),
    )
    .await;
    let id = made["sequenceCreate"]["sequence"]["id"]
        .as_str()
        .expect("an id");
    let publish = "mutation ($i: SequencePublishInput!) {
        sequencePublish(input: $i) { userErrors { message } } }";
    run(schema, caller, publish, json!({ "i": { "id": id } })).await;
    id.parse().expect("an id")
}
