//! `make bench`: what bulk operations cost, as ratios to the plain SQL statement that does the bare insert
//! or update of as many rows in the same database, in the same run.
//!
//! People are imported from a file that comes in piece by piece, enrolled by a filter, paused, resumed and
//! removed. `CADENZA_BENCH_PEOPLE` says how many, 100,000 if it is not set. What the operations do besides
//! writing rows is in the ratio: checks, outcomes, events, and a commit for every chunk.

#[path = "support/databases.rs"]
mod databases;

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

/// The binary's own, for everything that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const PEOPLE: usize = 100_000;
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
            world.measure().await;
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

    async fn measure(&self) {
        let begun = Instant::now();
        let import = self.upload().await;
        self.finish("import", import).await;
        let backend = self.services.db.write().get_database_backend();
        let plain = plain_import(self.people, backend == sea_orm::DbBackend::Postgres);
        self.told("import", begun.elapsed(), &plain).await;
        let people = json!({ "filter": { "has": ["EMAIL"] } });
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
        self.finish(name, id.parse().expect("an id")).await;
        self.told(name, begun.elapsed(), plain).await;
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
            let lines = (from..to).map(|n| format!("p{n}@example.com,Ada,Company {n},Rome\n"));
            let lines: String = lines.collect();
            upload.write(lines.as_bytes()).await.expect("lines");
        }
        upload.finish().await.expect("it is submitted")
    }

    /// Carries an operation out and tells how far it is, by tenths.
    async fn finish(&self, name: &str, id: BulkId) {
        let (workspace, db) = (self.ours.caller.workspace, self.services.db.read());
        let mut runner = self.runner.lock().await;
        let mut told = 0;
        loop {
            let round = runner.round().await.expect("a round");
            let found = bulk::find(db, workspace, id).await.expect("it is read");
            let row = found.expect("it is there");
            let tenths = row.processed * 10 / i64::try_from(self.people.max(1)).expect("few");
            if tenths > told {
                told = tenths;
                print!("\r  {name}: {tenths}0 %");
                std::io::stdout().flush().expect("it is told");
            }
            if row.status == "COMPLETED" {
                assert_eq!(usize::try_from(row.succeeded), Ok(self.people), "{row:?}");
                break;
            }
            let is_open = matches!(row.status.as_str(), "QUEUED" | "RUNNING");
            assert!(is_open && round == Round::More, "{row:?}");
        }
        print!("\r");
    }

    /// Runs the plain statement and tells the ratio.
    async fn told(&self, name: &str, ours: Duration, plain: &str) {
        let arguments = Arguments::new()
            .with(self.plain.caller.workspace.uuid())
            .with(self.plain.sequence.uuid())
            .with(self.services.clock.now().timestamp_millis());
        let begun = Instant::now();
        let changed = sql::execute(self.services.db.write(), plain, arguments)
            .await
            .expect("the plain statement runs");
        let bare = begun.elapsed();
        assert_eq!(usize::try_from(changed), Ok(self.people), "{name}");
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
             'Company ' || i, '{{\"city\": \"Rome\"}}'{json}, 'ada company ' || i, $3, $3
         FROM n WHERE $2 = $2"
    )
}

const PLAIN_ENROL: &str = "INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status,
        step_key, turn, bucket, anchor_at, due_at, messages_sent, opens, clicks, replies, bounced,
        unsubscribed, enrolled_at, enrolled_by)
    SELECT p.id, $1, $2, p.id, 1, 'ACTIVE', 'hello', 1, 1, $3, $3 + 86400000, 0, 0, 0, 0, FALSE, FALSE,
        $3, 'API'
    FROM person AS p WHERE p.workspace_id = $1";
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
