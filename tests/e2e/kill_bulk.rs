//! kill -9 in the middle of bulk operations, restart, ten times over for each of them: they end with the same
//! outcomes, and the same log, as where nobody is killed.

use std::collections::BTreeMap;

use cadenza::entropy::Entropy;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::client::{Client, sequence, smtp_sender};
use crate::world::{Database, Server, World, until};

const PEOPLE: usize = 20_000;
/// How often each operation is killed; an undoing less often.
const KILLS: usize = 10;
const KILLS_OF_UNDOING: usize = 2;

/// Which operations are killed.
#[derive(Debug, Clone, Copy)]
enum Part {
    /// Import and enrolment.
    Entering,
    /// Pause, resume and removal of those who were enrolled.
    Changing,
}

/// What a run came to, without ids, which differ.
#[derive(Debug, PartialEq)]
struct Ended {
    operations: Vec<Value>,
    leads: Value,
    people: Value,
    /// How many events there are of each kind.
    events: BTreeMap<String, i64>,
    /// How many items have an outcome, each counted once.
    outcomes: i64,
}

/// A run of one operation after the other, perhaps with a server that is killed again and again.
struct Run {
    world: World,
    server: Option<Server>,
    client: Client,
    is_killed: bool,
    /// Where in an operation it is killed next.
    draws: Entropy,
    operations: Vec<Value>,
}

impl Run {
    async fn new(database: Database, is_killed: bool) -> Self {
        let world = World::new(database).await;
        let server = world.serve().await;
        let client = server.client(&world);
        let seed = Entropy::system().bits();
        println!("killed at points drawn from {seed}");
        Self {
            world,
            server: Some(server),
            client,
            is_killed,
            draws: Entropy::seeded(seed),
            operations: Vec::new(),
        }
    }

    /// Submits an operation on so many items, kills the server in the middle of it, and waits for the end.
    async fn carry_out(
        &mut self,
        (field, input_type): (&str, &str),
        input: Value,
        (items, kills): (usize, usize),
    ) -> Value {
        let submitted = self
            .client
            .mutate(field, input_type, input, "operation { id }")
            .await;
        let id = submitted["operation"]["id"].clone();
        let kills = if self.is_killed { kills } else { 0 };
        let mut in_the_middle = 0;
        for kill in 0..kills {
            // Somewhere in its own part of the items, and not so late that it is over when it strikes.
            let drawn = usize::try_from(self.draws.bits() % 100).expect("small");
            let goal = items * 9 / 10 * (100 * kill + drawn) / (100 * kills);
            if !self.reaches(&id, goal).await {
                break;
            }
            if let Some(server) = self.server.take() {
                server.kill().await;
            }
            let server = self.world.serve().await;
            self.client = server.client(&self.world);
            self.server = Some(server);
            in_the_middle += usize::from(self.reaches(&id, 0).await);
        }
        assert!(
            in_the_middle >= kills / 2,
            "{field} was killed {in_the_middle} times while it was under way"
        );
        println!("{field}: killed {in_the_middle} times in the middle");
        let query = "query ($id: ID!) { bulkOperation(id: $id) {
            kind status total processed succeeded skipped failed error
            outcomeCounts { code message count } } }";
        let ended = until("the operation ends", 300, async || {
            let data = self.client.run(query, json!({ "id": id })).await;
            let operation = data["bulkOperation"].clone();
            (operation["status"] == "COMPLETED").then_some(operation)
        })
        .await;
        self.operations.push(ended);
        id
    }

    /// Whether an operation is still under way when it has done so many items.
    async fn reaches(&self, id: &Value, goal: usize) -> bool {
        let query = "query ($id: ID!) { bulkOperation(id: $id) { status processed } }";
        loop {
            let data = self.client.run(query, json!({ "id": id })).await;
            let operation = &data["bulkOperation"];
            if operation["status"] == "COMPLETED" {
                return false;
            }
            if operation["processed"].as_u64() >= u64::try_from(goal).ok() {
                return true;
            }
        }
    }

    /// Imports everybody and enrols them, killed so often each; answers the sequence and the enrolment.
    async fn enter(&mut self, kills: usize) -> (Value, Value) {
        let mut csv = String::from("email,company\n");
        for number in 0..PEOPLE {
            let company = if number % 2 == 0 { "even" } else { "odd" };
            match number % 100 {
                // One that is wrong, and one that is there already.
                98 => csv.push_str(&format!("nobody-{number},{company}\n")),
                99 => csv.push_str(&format!("p{}@example.org,{company}\n", number - 50)),
                _ => csv.push_str(&format!("p{number}@example.org,{company}\n")),
            }
        }
        let all = (PEOPLE, kills);
        let import = ("peopleImport", "PeopleImportInput");
        self.carry_out(import, json!({ "csv": csv }), all).await;
        let sender = smtp_sender(&self.client, "Ada", 1).await;
        let id = sequence(&self.client, &[sender], &[("P30D", Some("Later"))]).await;
        let everybody = json!({ "sequenceId": id, "people": { "everything": true } });
        let enrol = ("leadsEnrol", "LeadsEnrolInput");
        let enrolled = self.carry_out(enrol, everybody, all).await;
        (id, enrolled)
    }

    async fn undo(&mut self, operation: Value) {
        let undo = ("bulkOperationUndo", "BulkOperationIdInput");
        let input = json!({ "id": operation });
        self.carry_out(undo, input, (PEOPLE, KILLS_OF_UNDOING))
            .await;
    }

    async fn all(&mut self, part: Part) -> Value {
        let (id, enrolled) = match part {
            Part::Entering => self.enter(KILLS).await,
            Part::Changing => {
                let entered = self.enter(0).await;
                self.change().await;
                entered
            }
        };
        self.undo(enrolled).await;
        id
    }

    /// Pauses and resumes everybody, and takes half of them out.
    async fn change(&mut self) {
        let leads = json!({ "leads": { "everything": true } });
        let (pause, resume, remove) = (
            ("leadsPause", "LeadsBulkInput"),
            ("leadsResume", "LeadsBulkInput"),
            ("leadsRemove", "LeadsBulkInput"),
        );
        let all = (PEOPLE, KILLS);
        self.carry_out(pause, leads.clone(), all).await;
        self.carry_out(resume, leads.clone(), all).await;
        let paused = self.carry_out(pause, leads, (PEOPLE, 0)).await;
        self.undo(paused).await;
        let even = json!({ "leads": { "filter": { "search": "even" } } });
        self.carry_out(remove, even, (PEOPLE / 2, KILLS)).await;
    }

    async fn end(mut self, part: Part) -> Ended {
        let id = self.all(part).await;
        let query = "query ($id: ID!) { people { totalCount } sequence(id: $id) {
            leadCounts { pending inProgress completed paused stopped total } } }";
        let mut data = self.client.run(query, json!({ "id": id })).await;
        let server = self.server.take().expect("it serves");
        assert!(server.terminate().await, "a proper goodbye");
        let connection = sea_orm::Database::connect(&self.world.url)
            .await
            .expect("the database opens");
        let number = async |statement: &str| {
            let rows = connection
                .query_all_raw(sea_orm::Statement::from_string(
                    connection.get_database_backend(),
                    statement,
                ))
                .await
                .expect("rows");
            let rows = rows.into_iter().map(|row| {
                let kind: String = row.try_get("", "kind").expect("a kind");
                let n: i64 = row.try_get("", "n").expect("a number");
                (kind, n)
            });
            rows.collect::<BTreeMap<String, i64>>()
        };
        let events = number("SELECT kind, count(*) AS n FROM event GROUP BY kind").await;
        // Were an item done twice, it would have two outcomes, and there would be fewer of these.
        let outcomes = number(
            "SELECT 'outcomes' AS kind, count(*) AS n FROM (
                 SELECT DISTINCT operation_id, subject FROM bulk_outcome) AS each_one",
        )
        .await;
        Ended {
            operations: self.operations,
            leads: data["sequence"]["leadCounts"].take(),
            people: data["people"].take(),
            events,
            outcomes: outcomes["outcomes"],
        }
    }
}

async fn killed(database: Database, part: Part) {
    let undisturbed = Run::new(database, false).await.end(part).await;
    let disturbed = Run::new(database, true).await.end(part).await;
    assert_eq!(disturbed, undisturbed);
    let undone = undisturbed.operations.last().expect("the last one");
    let count = |name: &str| undone[name].as_u64().unwrap_or_default();
    // Half of them were removed before, and stay so.
    let (operations, left_out) = match part {
        Part::Entering => (3, 0),
        Part::Changing => (8, count("total") / 2),
    };
    assert_eq!(undisturbed.operations.len(), operations);
    assert!(count("total") > 0, "{undone}");
    assert_eq!(count("skipped"), left_out, "{undone}");
    assert_eq!(count("succeeded"), count("total") - left_out, "{undone}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_and_enrolment_killed_ten_times_each_on_sqlite() {
    killed(Database::Sqlite, Part::Entering).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn import_and_enrolment_killed_ten_times_each_on_postgres() {
    killed(Database::Postgres, Part::Entering).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_resume_and_removal_killed_ten_times_each_on_sqlite() {
    killed(Database::Sqlite, Part::Changing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_resume_and_removal_killed_ten_times_each_on_postgres() {
    killed(Database::Postgres, Part::Changing).await;
}
