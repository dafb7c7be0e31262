//! `make bench`: analytics and the page of leads of a large sequence, on both databases.
//!
//! One sequence with `CADENZA_BENCH_LEADS` leads (100,000 if nothing else is said), each with four messages
//! and ten events. Timed are reports that have to read everything first, reports after something has
//! changed, reports under filters that nobody has asked for before, and pages of leads. The plans of
//! the statements are printed, and a plan that goes through all of a large table ends the run.

// An optimised build looks through the types of the whole schema at once.
#![recursion_limit = "256"]

#[path = "support/databases.rs"]
mod databases;
#[path = "support/plans.rs"]
mod plans;
#[path = "support/times.rs"]
mod times;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use async_graphql::{Request, Variables};
use cadenza::app::analytics::Analytics;
use cadenza::app::engagement::{self, Engagement};
use cadenza::app::token::{self, Terms};
use cadenza::app::{Caller, Role, Services};
use cadenza::clock::Clock;
use cadenza::domain::id::{ExecutionId, LeadId, PersonId, SenderId, SequenceId};
use cadenza::entropy::Entropy;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::Db;
use cadenza::store::sql::{self, Arguments};
use sea_orm::{ConnectionTrait, Value as Sql};
use serde_json::{Value, json};

use self::databases::databases;
use self::times::tell;

/// The binary's own, for everything that is measured.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const STEPS: [&str; 4] = ["one", "two", "three", "four"];
/// Leads that are entered at once: as many as one statement has room for, with their events.
const CHUNK: usize = 200;
/// Numbers for the events of the sequence itself, of which there are a few.
const BEFORE: i64 = 100;
const DAY_MS: i64 = 86_400_000;
/// Tables that are large here: no statement goes through all of one.
const LARGE: [&str; 4] = ["lead", "execution", "event", "person"];

const REPORT: &str = "query Report($id: ID!, $filter: AnalyticsFilter) { sequence(id: $id) { analytics(filter: $filter) {
    funnel { contacted opened interactions answered interrupted } messages { sent failed opens clicks replies }
    byStep { stepKey waiting funnel { contacted answered } byVariant { variant funnel { contacted } } comparisons { statement } }
    bySender { sender { id } funnel { contacted } } byChannel { channel messages { sent } } byDay { date messages { sent } } } } }";
const PAGE: &str = "query Page($id: ID!, $after: String) { leads(filter: { sequenceIds: [$id] }, first: 50, after: $after) {
    nodes { id status messagesSent person { email firstName } currentStep { key } blockers { code } } pageInfo { endCursor } } }";

fn main() {
    // `cargo bench` and `cargo test --benches` pass flags of the standard harness; none matters.
    let folder = tempfile::tempdir().expect("a folder");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .expect("runtime");
    runtime.block_on(async {
        for (name, url) in databases(folder.path()).await {
            run(name, &url).await;
        }
    });
}

fn count() -> usize {
    let given = std::env::var("CADENZA_BENCH_LEADS");
    given
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(100_000)
}

/// A workspace with one large sequence, and every statement that is run in it.
struct Place {
    services: Services,
    schema: CadenzaSchema,
    caller: Caller,
    sequence: SequenceId,
    senders: Vec<SenderId>,
    statements: Arc<Mutex<Vec<String>>>,
    /// Some of its messages.
    messages: Vec<(LeadId, ExecutionId)>,
}

async fn run(name: &str, url: &str) {
    let started = Instant::now();
    let place = furnish(url, count()).await;
    println!(
        "{name}: {} leads, {} messages, {} events, entered in {:?}",
        count(),
        count() * STEPS.len(),
        count() * 10,
        started.elapsed()
    );
    let all = json!({});
    let mut cold = Vec::new();
    for _ in 0..5 {
        let fresh = place.cold();
        cold.push(timed(ask(&fresh, &place, REPORT, &all)).await);
    }
    tell(name, "full report, nothing read yet", cold);
    let part = |day: i64| {
        json!({ "filter": { "senderIds": [place.senders[0].to_string()], "channel": ["EMAIL"],
            "from": "2026-01-05", "to": format!("2026-03-{:02}", day % 28 + 1) } })
    };
    let mut cold = Vec::new();
    for day in 0..5 {
        let fresh = place.cold();
        cold.push(timed(ask(&fresh, &place, REPORT, &part(day))).await);
    }
    tell(name, "filtered report, nothing read yet", cold);

    ask(&place.schema, &place, REPORT, &all).await;
    let warm = many(200, async |_| {
        timed(ask(&place.schema, &place, REPORT, &all)).await
    })
    .await;
    tell(name, "full report, nothing changed", warm);
    let warm = many(100, async |n| {
        let (lead, execution) = place.messages[n % place.messages.len()];
        let (workspace, now) = (place.caller.workspace, place.services.clock.now());
        let what = Engagement::Opened;
        let recorded =
            engagement::record(&place.services, workspace, lead, Some(execution), what, now);
        assert!(recorded.await.expect("is recorded"));
        timed(ask(&place.schema, &place, REPORT, &all)).await
    });
    tell(name, "full report, something changed", warm.await);
    let warm = many(100, async |n| {
        let filter = part(i64::try_from(n).expect("few"));
        timed(ask(&place.schema, &place, REPORT, &filter)).await
    });
    tell(name, "filtered report", warm.await);
    pages(name, &place).await;
    let statements = std::mem::take(&mut *place.statements.lock().expect("noted"));
    plans::tell(name, &place.services.db, (&LARGE, count()), statements).await;
}

async fn pages(name: &str, place: &Place) {
    let mut after = Value::Null;
    let mut times = Vec::new();
    for _ in 0..200 {
        let begun = Instant::now();
        let page = ask(&place.schema, place, PAGE, &json!({ "after": after })).await;
        times.push(begun.elapsed());
        after = page["leads"]["pageInfo"]["endCursor"].clone();
    }
    tell(name, "page of 50 leads", times);
}

async fn many(count: usize, mut one: impl AsyncFnMut(usize) -> Duration) -> Vec<Duration> {
    let mut times = Vec::with_capacity(count);
    for n in 0..count {
        times.push(one(n).await);
    }
    times
}

async fn timed<T>(work: impl Future<Output = T>) -> Duration {
    let begun = Instant::now();
    work.await;
    begun.elapsed()
}

/// Asks for something of the sequence.
async fn ask(schema: &CadenzaSchema, place: &Place, document: &str, more: &Value) -> Value {
    let mut variables = json!({ "id": place.sequence.to_string() });
    let more = more.as_object().expect("fields").clone();
    variables.as_object_mut().expect("fields").extend(more);
    send(schema, &place.caller, document, variables).await
}

async fn send(schema: &CadenzaSchema, caller: &Caller, document: &str, variables: Value) -> Value {
    let request = Request::new(document)
        .variables(Variables::from_json(variables))
        .data(caller.clone());
    let answer = schema.execute(request).await;
    assert!(answer.is_ok(), "{answer:?}");
    answer.data.into_json().expect("JSON")
}

impl Place {
    /// The API of a server that has just been started.
    fn cold(&self) -> CadenzaSchema {
        let analytics = Analytics::new(self.services.db.clone());
        CadenzaSchema::new(Services {
            analytics,
            ..self.services.clone()
        })
    }
}

async fn furnish(url: &str, count: usize) -> Place {
    let statements: Arc<Mutex<Vec<String>>> = Arc::default();
    let noted = Arc::clone(&statements);
    let db = Db::connect(url).await.expect("connects");
    db.migrate().await.expect("migrates");
    let seen = move |text: &str| {
        let mut noted = noted.lock().expect("noted");
        if !noted.iter().any(|known| known == text) {
            noted.push(text.to_owned());
        }
    };
    let plain = Services::for_tests(db.clone(), Clock::system(), Entropy::system());
    let made = token::create(
        &db,
        &plain.clock,
        &plain.entropy,
        "bench",
        &Terms::of(Role::Admin),
    )
    .await;
    let caller = made.expect("a token").caller;
    let mut place = Place {
        schema: CadenzaSchema::new(plain.clone()),
        services: plain,
        caller,
        sequence: "seq_00000000000000000000000000".parse().expect("an id"),
        senders: Vec::new(),
        statements,
        messages: Vec::new(),
    };
    for name in ["Ada", "Bob"] {
        let input = json!({ "name": name, "channel": "EMAIL", "address": format!("{name}@example.com"),
            "transport": { "outbox": {} } });
        let made = place
            .change("senderCreate", "SenderCreateInput", input, "sender")
            .await;
        place.senders.push(made.parse().expect("an id"));
    }
    let senders: Vec<String> = place.senders.iter().map(ToString::to_string).collect();
    let steps = STEPS.map(|key| {
        json!({ "key": key, "wait": "P1D", "action": { "email": { "senderIds": senders, "variants": [
            { "key": "a", "subject": "A", "text": "Hi" }, { "key": "b", "subject": "B", "text": "Hi" }] } } })
    });
    let input = json!({ "name": "Large", "flow": { "steps": steps } });
    let made = place
        .change("sequenceCreate", "SequenceCreateInput", input, "sequence")
        .await;
    place.sequence = made.parse().expect("an id");
    place
        .change(
            "sequencePublish",
            "SequencePublishInput",
            json!({ "id": made }),
            "sequence",
        )
        .await;
    place.enter(count).await;
    // What is asked from here on is looked at.
    let db = db.observed(seen);
    place.services.analytics = Analytics::new(db.clone());
    place.services.db = db;
    place.schema = CadenzaSchema::new(place.services.clone());
    place
}

impl Place {
    async fn change(&self, field: &str, of: &str, input: Value, made: &str) -> String {
        let document = format!(
            "mutation ($input: {of}!) {{ {field}(input: $input) {{ {made} {{ id }} userErrors {{ message }} }} }}"
        );
        let variables = json!({ "input": input });
        let answer = send(&self.schema, &self.caller, &document, variables).await;
        answer[field][made]["id"]
            .as_str()
            .expect("is made")
            .to_owned()
    }

    async fn version(&self) -> sea_orm::prelude::Uuid {
        let only = "SELECT id FROM sequence_version";
        let ids = sql::ids(self.services.db.read(), only, Arguments::new()).await;
        ids.expect("versions")[0]
    }

    /// Enters leads with their messages and events.
    async fn enter(&mut self, count: usize) {
        let version = self.version().await;
        for first in (0..count).step_by(CHUNK) {
            let size = CHUNK.min(count - first);
            let now = self.services.clock.now();
            let entropy = &self.services.entropy;
            let all: Vec<Entered> = (first..first + size)
                .map(|number| Entered {
                    number,
                    person: entropy.id(now),
                    lead: entropy.id(now),
                    messages: STEPS.map(|_| entropy.id(now)),
                })
                .collect();
            self.enter_chunk(&all, version).await;
            if self.messages.len() < 1_000 {
                self.messages
                    .extend(all.iter().map(|one| (one.lead, one.messages[0])));
            }
        }
        let last = i64::try_from(count * 10).expect("few") + BEFORE;
        let events = "UPDATE event_counter SET last_seq = $1";
        let db = &self.services.db;
        sql::execute(db.write(), events, Arguments::new().with(last))
            .await
            .expect("counted");
        db.write()
            .execute_unprepared("ANALYZE")
            .await
            .expect("analysed");
    }

    async fn enter_chunk(&self, all: &[Entered], version: sea_orm::prelude::Uuid) {
        let tx = self.services.db.begin().await.expect("begins");
        let workspace = self.caller.workspace.uuid();
        let sequence = self.sequence.uuid();
        let mut people = Arguments::new();
        let rows = people.table(
            &tx,
            all.iter().map(|one| -> [Sql; 9] {
                let email = format!("p{}@example.org", one.number);
                [
                    one.person.uuid().into(),
                    workspace.into(),
                    email.clone().into(),
                    email.clone().into(),
                    "Person".into(),
                    json!({}).into(),
                    email.into(),
                    one.at().into(),
                    one.at().into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO person (id, workspace_id, email, email_key, first_name, attributes, search_text, created_at, updated_at) {rows}"
        );
        sql::execute(&tx, &statement, people).await.expect("people");
        let mut leads = Arguments::new();
        let rows = leads.table(
            &tx,
            all.iter().map(|one| -> [Sql; 19] {
                [
                    one.lead.uuid().into(),
                    workspace.into(),
                    sequence.into(),
                    one.person.uuid().into(),
                    1_i32.into(),
                    one.status().into(),
                    one.reason().into(),
                    "four".into(),
                    0_i16.into(),
                    7_i32.into(),
                    one.at().into(),
                    4_i32.into(),
                    one.opens().into(),
                    0_i32.into(),
                    0_i32.into(),
                    false.into(),
                    one.at().into(),
                    "API".into(),
                    false.into(),
                ]
            }),
        );
        let statement = format!("INSERT INTO lead (id, workspace_id, sequence_id, person_id, round, status, stop_reason, step_key, turn, bucket,
            anchor_at, messages_sent, opens, clicks, replies, bounced, enrolled_at, enrolled_by, unsubscribed) {rows}");
        sql::execute(&tx, &statement, leads).await.expect("leads");
        let mut messages = Arguments::new();
        let each = all
            .iter()
            .flat_map(|one| (0..STEPS.len()).map(move |step| (one, step)));
        let rows = messages.table(
            &tx,
            each.map(|(one, step)| -> [Sql; 14] {
                [
                    one.messages[step].uuid().into(),
                    workspace.into(),
                    one.lead.uuid().into(),
                    sequence.into(),
                    version.into(),
                    STEPS[step].into(),
                    ["a", "b"][one.number % 2].into(),
                    "EMAIL".into(),
                    self.senders[one.number / 2 % 2].uuid().into(),
                    "SENT".into(),
                    1_i32.into(),
                    (one.at() + i64::try_from(step).expect("few") * DAY_MS).into(),
                    one.opens().into(),
                    0_i32.into(),
                ]
            }),
        );
        let statement = format!("INSERT INTO execution (id, workspace_id, lead_id, sequence_id, version_id, step_key, variant, channel, sender_id,
            status, attempt, finished_at, opens, clicks) {rows}");
        sql::execute(&tx, &statement, messages)
            .await
            .expect("messages");
        self.enter_events(&tx, all).await;
        tx.commit().await.expect("commits");
    }

    async fn enter_events(&self, tx: &impl ConnectionTrait, all: &[Entered]) {
        let workspace = self.caller.workspace.uuid();
        let kinds = [
            "LEAD_ENROLLED",
            "EXECUTION_STARTED",
            "EXECUTION_SENT",
            "EXECUTION_STARTED",
            "EXECUTION_SENT",
            "EXECUTION_STARTED",
            "EXECUTION_SENT",
            "EXECUTION_STARTED",
            "EXECUTION_SENT",
            "OPENED",
        ];
        let mut events = Arguments::new();
        let each = all.iter().flat_map(|one| {
            kinds
                .iter()
                .enumerate()
                .map(move |(place, kind)| (one, place, *kind))
        });
        // After the events of the sequence itself, of which there are a few.
        let rows = events.table(
            tx,
            each.map(|(one, place, kind)| -> [Sql; 9] {
                let seq = i64::try_from(one.number * kinds.len() + place).expect("few") + BEFORE;
                let step = place.saturating_sub(1) / 2 % STEPS.len();
                [
                    seq.into(),
                    workspace.into(),
                    one.at().into(),
                    kind.into(),
                    self.sequence.uuid().into(),
                    one.lead.uuid().into(),
                    one.messages[step].uuid().into(),
                    STEPS[step].into(),
                    "EMAIL".into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO event (seq, workspace_id, at, kind, sequence_id, lead_id, execution_id, step_key, channel) {rows}"
        );
        sql::execute(tx, &statement, events).await.expect("events");
    }
}

/// A lead with its messages.
struct Entered {
    number: usize,
    person: PersonId,
    lead: LeadId,
    messages: [ExecutionId; 4],
}

impl Entered {
    /// From the first of January 2026 on, over ninety days.
    fn at(&self) -> i64 {
        let number = i64::try_from(self.number).expect("few");
        1_767_225_600_000 + number % 90 * DAY_MS + number % 86_400 * 1_000
    }

    const fn status(&self) -> &'static str {
        if self.number.is_multiple_of(10) {
            "STOPPED"
        } else {
            "COMPLETED"
        }
    }

    fn reason(&self) -> Option<&'static str> {
        self.number.is_multiple_of(10).then_some("REPLIED")
    }

    const fn opens(&self) -> i32 {
        if self.number.is_multiple_of(3) { 1 } else { 0 }
    }
}
