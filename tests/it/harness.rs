//! Runs a test in process on each database: its own database, a clock that stands still, seeded
//! randomness, a workspace, and a caller of each role.
//!
//! `both!(name, |h| async move { … })` makes the tests `name::sqlite` and `name::postgres`.

use std::future::Future;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::panic::{AssertUnwindSafe, resume_unwind};
use std::path::Path;
use std::time::Duration;

use async_graphql::{Request, Response, Variables};
use cadenza::app::token::{self, Terms};
use cadenza::app::{Caller, Role, Services};
use cadenza::clock::Clock;
use cadenza::entropy::Entropy;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::Db;
use chrono::{DateTime, TimeZone, Utc};
use futures_util::FutureExt;
use futures_util::stream::BoxStream;
use sea_orm::{ConnectionTrait, Database, DatabaseConnection};
use serde_json::Value;
use tokio_util::sync::CancellationToken;

/// Makes two tests of one body, which takes a [`Harness`]: one on SQLite, one on PostgreSQL.
macro_rules! both {
    ($name:ident, $body:expr) => {
        mod $name {
            use super::*;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn sqlite() {
                $crate::harness::run($crate::harness::Kind::Sqlite, $body).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn postgres() {
                $crate::harness::run($crate::harness::Kind::Postgres, $body).await;
            }
        }
    };
}
pub(crate) use both;

/// Which database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Sqlite,
    Postgres,
}

/// What a test works with.
pub struct Harness {
    pub services: Services,
    /// The clock of the services; it stands at [`start`] until it is moved.
    pub clock: Clock,
    pub schema: CadenzaSchema,
    pub admin: Caller,
    pub editor: Caller,
    pub viewer: Caller,
    /// An admin of another workspace.
    pub stranger: Caller,
    /// The secret text of the admin's token, for tests over HTTP.
    pub token: String,
    /// Where the database is, to open it once more.
    pub url: String,
    /// Ends what runs in the background when the test is over.
    pub shutdown: CancellationToken,
}

/// When tests begin: a Monday, nine in the morning in UTC.
pub fn start() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 3, 2, 9, 0, 0)
        .single()
        .expect("an instant")
}

/// Runs one test on one database.
pub async fn run<F: Future<Output = ()>>(kind: Kind, test: impl FnOnce(Harness) -> F) {
    let database = TestDatabase::new(kind).await;
    let db = Db::connect(&database.url)
        .await
        .expect("the database opens");
    db.migrate()
        .await
        .expect("the schema is brought up to date");
    let clock = Clock::manual(start());
    let services = Services::for_tests(db.clone(), clock.clone(), Entropy::seeded(1));
    let shutdown = CancellationToken::new();
    let (bus, until) = (services.bus.clone(), shutdown.clone());
    let bus = tokio::spawn(async move { bus.run(until).await });
    let make = async |workspace: &str, role| {
        token::create(&db, &clock, &services.entropy, workspace, &Terms::of(role))
            .await
            .expect("a token")
    };
    let admin = make("ours", Role::Admin).await;
    let harness = Harness {
        schema: CadenzaSchema::new(services.clone()),
        editor: make("ours", Role::Editor).await.caller,
        viewer: make("ours", Role::Viewer).await.caller,
        stranger: make("theirs", Role::Admin).await.caller,
        admin: admin.caller,
        token: admin.secret,
        url: database.url.clone(),
        shutdown: shutdown.clone(),
        clock: clock.clone(),
        services: services.clone(),
    };
    let outcome = AssertUnwindSafe(test(harness)).catch_unwind().await;
    shutdown.cancel();
    let ended = bus.await;
    drop(services);
    let closed = tokio::time::timeout(Duration::from_secs(20), db.close()).await;
    database.remove().await;
    if let Err(panic) = outcome {
        resume_unwind(panic);
    }
    ended.expect("the bus ends properly");
    closed
        .expect("nobody keeps a connection")
        .expect("the database closes");
}

impl Harness {
    /// Runs a document as the admin and answers the whole response.
    pub async fn execute(&self, document: &str, variables: Value) -> Value {
        self.execute_as(&self.admin, document, variables).await
    }

    /// Runs a document as somebody and answers the whole response.
    pub async fn execute_as(&self, caller: &Caller, document: &str, variables: Value) -> Value {
        let response = self
            .schema
            .execute(request(caller, document, variables))
            .await;
        serde_json::to_value(response).expect("a response is JSON")
    }

    /// Runs a document as the admin and answers its data; an error ends the test.
    pub async fn data(&self, document: &str, variables: Value) -> Value {
        let mut response = self.execute(document, variables).await;
        assert!(
            response.get("errors").is_none(),
            "{document}: {:#}",
            response["errors"]
        );
        response["data"].take()
    }

    /// Runs a mutation with one `input` as the admin and answers its payload; an error or a
    /// refusal ends the test. `input_type` is the input's type and `select` what is asked for.
    pub async fn mutate(&self, field: &str, input_type: &str, input: Value, select: &str) -> Value {
        let payload = self.try_mutate(field, input_type, input, select).await;
        assert_eq!(
            payload["userErrors"],
            serde_json::json!([]),
            "{field}: {payload:#}"
        );
        payload
    }

    /// The same, where refusals are what the test is about: they are in `userErrors`.
    pub async fn try_mutate(
        &self,
        field: &str,
        input_type: &str,
        input: Value,
        select: &str,
    ) -> Value {
        let document = format!(
            "mutation ($input: {input_type}!) {{
                 {field}(input: $input) {{ {select} userErrors {{ code message path }} }}
             }}"
        );
        self.data(&document, serde_json::json!({ "input": input }))
            .await[field]
            .take()
    }

    /// Follows a subscription as the admin.
    pub fn follow(&self, document: &str, variables: Value) -> BoxStream<'static, Response> {
        self.schema
            .execute_stream(request(&self.admin, document, variables))
    }
}

fn request(caller: &Caller, document: &str, variables: Value) -> Request {
    Request::new(document)
        .variables(Variables::from_json(variables))
        .data(caller.clone())
}

/// Waits until `look` answers something: bounded, and never for a fixed time.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Option<T>) -> T {
    let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
    let mut tick = tokio::time::interval(Duration::from_millis(20));
    loop {
        tick.tick().await;
        if let Some(found) = look().await {
            return found;
        }
        assert!(
            tokio::time::Instant::now() < deadline,
            "not within 30 s: {what}"
        );
    }
}

/// A database of one test.
pub struct TestDatabase {
    pub url: String,
    place: Place,
}

enum Place {
    Folder(tempfile::TempDir),
    Server { server: String, name: String },
}

impl TestDatabase {
    /// An empty one of this kind, perhaps already migrated.
    pub async fn new(kind: Kind) -> Self {
        match kind {
            Kind::Sqlite => {
                let folder = tempfile::tempdir().expect("a folder");
                let url = format!("sqlite://{}/test.db", folder.path().display());
                Self {
                    url,
                    place: Place::Folder(folder),
                }
            }
            Kind::Postgres => {
                let server = std::env::var("TEST_POSTGRES_URL").unwrap_or_else(|_| {
                    panic!(
                        "TEST_POSTGRES_URL names no PostgreSQL server: run the tests by `make \
                         test`, or by `.ci/with-postgres cargo nextest run`"
                    )
                });
                let name = copy_of_template(&server).await;
                let url = in_database(&server, &name);
                Self {
                    url,
                    place: Place::Server { server, name },
                }
            }
        }
    }

    /// Takes it away.
    pub async fn remove(self) {
        match self.place {
            Place::Folder(folder) => folder.close().expect("the folder goes"),
            Place::Server { server, name } => {
                let admin = connect(&server).await;
                run_on(&admin, &format!("DROP DATABASE {name} WITH (FORCE)")).await;
                admin.close().await.expect("closes");
            }
        }
    }
}

/// A new database, copied from one that is migrated once for each state of the migrations.
async fn copy_of_template(server: &str) -> String {
    let template = format!("cadenza_template_{:016x}", migrations_hash());
    let admin = connect(server).await;
    // Tests are processes of their own: one of them makes the template. The lock belongs to the
    // transaction; CREATE DATABASE itself must be outside of one.
    let guard = sea_orm::TransactionTrait::begin(&admin)
        .await
        .expect("a transaction");
    run_on(&guard, "SELECT pg_advisory_xact_lock(7236837)").await;
    let there = guard
        .query_one_raw(sea_orm::Statement::from_string(
            sea_orm::DbBackend::Postgres,
            format!("SELECT 1 FROM pg_database WHERE datname = '{template}'"),
        ))
        .await
        .expect("PostgreSQL answers");
    if there.is_none() {
        let making = format!("{template}_making");
        run_on(
            &admin,
            &format!("DROP DATABASE IF EXISTS {making} WITH (FORCE)"),
        )
        .await;
        run_on(&admin, &format!("CREATE DATABASE {making}")).await;
        let db = Db::connect(&in_database(server, &making))
            .await
            .expect("the template opens");
        db.migrate().await.expect("the template is migrated");
        db.close().await.expect("the template closes");
        run_on(
            &admin,
            &format!("ALTER DATABASE {making} RENAME TO {template}"),
        )
        .await;
    }
    guard.commit().await.expect("lets go of the lock");
    let mut random = [0; 8];
    Entropy::system().fill(&mut random);
    let name = format!("cadenza_test_{:016x}", u64::from_le_bytes(random));
    run_on(
        &admin,
        &format!("CREATE DATABASE {name} TEMPLATE {template}"),
    )
    .await;
    admin.close().await.expect("closes");
    name
}

async fn connect(url: &str) -> DatabaseConnection {
    Database::connect(url)
        .await
        .unwrap_or_else(|error| panic!("PostgreSQL at TEST_POSTGRES_URL does not answer: {error}"))
}

async fn run_on(connection: &impl ConnectionTrait, statement: &str) {
    if let Err(error) = connection.execute_unprepared(statement).await {
        panic!("{statement}: {error}");
    }
}

fn in_database(server: &str, name: &str) -> String {
    let mut url = url::Url::parse(server).expect("TEST_POSTGRES_URL is a URL");
    url.set_path(name);
    url.into()
}

/// Tells one state of the migrations from another, so that a changed one gets a new template.
fn migrations_hash() -> u64 {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migration/src");
    let entries = std::fs::read_dir(&folder).expect("the migrations are there");
    let mut files: Vec<_> = entries
        .map(|entry| entry.expect("an entry").path())
        .collect();
    files.sort();
    let mut hasher = DefaultHasher::new();
    for file in files {
        std::fs::read(&file)
            .expect("a migration is read")
            .hash(&mut hasher);
    }
    hasher.finish()
}
