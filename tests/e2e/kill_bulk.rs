//! kill -9 in the middle of bulk operations, restart, ten times over: they end with the same outcomes, and
//! the same log, as where nobody is killed.

use std::collections::BTreeMap;

use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::client::{Client, sequence, smtp_sender};
use crate::world::{Database, Server, World, until};

const PEOPLE: usize = 20_000;
const KILLS: usize = 10;

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

/// A run of one operation after the other, with a server that is killed so many times.
struct Run {
    world: World,
    server: Option<Server>,
    client: Client,
    kills_left: usize,
    /// Where in an operation it is killed next; drawn anew each time.
    draw: u64,
    operations: Vec<Value>,
}

impl Run {
    async fn new(database: Database, kills: usize) -> Self {
        let world = World::new(database).await;
        let server = world.serve().await;
        let client = server.client(&world);
        let draw = cadenza::entropy::Entropy::system().bits();
        println!("killed at points drawn from {draw}");
        Self {
            world,
            server: Some(server),
            client,
            kills_left: kills,
            draw,
            operations: Vec::new(),
        }
    }

    /// A share of the items, in percent.
    fn drawn(&mut self) -> usize {
        // xorshift: any walk will do.
        self.draw ^= self.draw << 13;
        self.draw ^= self.draw >> 7;
        self.draw ^= self.draw << 17;
        usize::try_from(self.draw % 40).expect("small")
    }

    /// Submits an operation, kills the server in the middle of it once or twice, and waits for the end.
    async fn carry_out(&mut self, field: &str, input_type: &str, input: Value) -> Value {
        let submitted = self
            .client
            .mutate(field, input_type, input, "operation { id }")
            .await;
        let id = submitted["operation"]["id"].clone();
        let mut from = 5;
        for _ in 0..2 {
            if self.kills_left == 0 {
                break;
            }
            let goal = PEOPLE * (from + self.drawn()) / 100;
            from += 45;
            if !self.reaches(&id, goal).await {
                break;
            }
            self.kills_left -= 1;
            if let Some(server) = self.server.take() {
                server.kill().await;
            }
            let server = self.world.serve().await;
            self.client = server.client(&self.world);
            self.server = Some(server);
        }
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

    async fn all(&mut self) -> Value {
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
        self.carry_out("peopleImport", "PeopleImportInput", json!({ "csv": csv }))
            .await;
        let sender = smtp_sender(&self.client, "Ada", 1).await;
        let id = sequence(&self.client, &[sender], &[("P30D", Some("Later"))]).await;
        let everybody = json!({ "sequenceId": id, "people": { "everything": true } });
        let enrolled = self
            .carry_out("leadsEnrol", "LeadsEnrolInput", everybody)
            .await;
        let leads = json!({ "leads": { "everything": true } });
        let input = "LeadsBulkInput";
        self.carry_out("leadsPause", input, leads.clone()).await;
        self.carry_out("leadsResume", input, leads.clone()).await;
        let paused = self.carry_out("leadsPause", input, leads).await;
        let undo = "BulkOperationIdInput";
        self.carry_out("bulkOperationUndo", undo, json!({ "id": paused }))
            .await;
        let even = json!({ "leads": { "filter": { "search": "even" } } });
        self.carry_out("leadsRemove", input, even).await;
        self.carry_out("bulkOperationUndo", undo, json!({ "id": enrolled }))
            .await;
        id
    }

    async fn end(mut self) -> Ended {
        let id = self.all().await;
        assert_eq!(
            self.kills_left, 0,
            "every kill strikes while one is under way"
        );
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

async fn killed(database: Database) {
    let undisturbed = Run::new(database, 0).await.end().await;
    let disturbed = Run::new(database, KILLS).await.end().await;
    assert_eq!(disturbed, undisturbed);
    assert_eq!(undisturbed.operations.len(), 8);
    let undone = undisturbed.operations.last().expect("the last one");
    assert_eq!(
        undone["succeeded"].as_i64().zip(undone["skipped"].as_i64()),
        undone["total"]
            .as_i64()
            .map(|total| (total / 2, total - total / 2)),
        "half of them were removed before: {undone}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_operations_killed_ten_times_on_sqlite() {
    killed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bulk_operations_killed_ten_times_on_postgres() {
    killed(Database::Postgres).await;
}
