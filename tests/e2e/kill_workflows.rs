//! kill -9 in the middle of an import that sets a workflow off for everybody in it: each of them is run for
//! once, whoever is to be enrolled is enrolled once, and the log tells it.

use cadenza::entropy::Entropy;
use sea_orm::ConnectionTrait;
use serde_json::{Value, json};

use crate::client::{Client, sequence, smtp_sender};
use crate::world::{Database, World, until};

const PEOPLE: usize = 10_000;
/// Those of the company that the workflow's filter names.
const CHOSEN: usize = PEOPLE / 4 * 3;
const KILLS: usize = 6;

/// How many lines are imported and how many runs there are, and whether the import is over.
async fn progress(client: &Client, import: &Value) -> (usize, usize, bool) {
    let query = "query ($id: ID!) { bulkOperation(id: $id) { status processed }
        workflows { runs { totalCount } } }";
    let data = client.run(query, json!({ "id": import })).await;
    let number = |value: &Value| {
        let number = value.as_u64().unwrap_or_default();
        usize::try_from(number).expect("small")
    };
    let operation = &data["bulkOperation"];
    (
        number(&operation["processed"]),
        number(&data["workflows"][0]["runs"]["totalCount"]),
        operation["status"] == "COMPLETED",
    )
}

/// Imports everybody; answers the operation.
async fn import(client: &Client) -> Value {
    let mut csv = String::from("email,company\n");
    for number in 0..PEOPLE {
        let company = if number % 4 == 0 { "Other" } else { "Chosen" };
        csv.push_str(&format!("p{number}@example.org,{company}\n"));
    }
    let input = json!({ "csv": csv });
    let mut begun = client
        .mutate(
            "peopleImport",
            "PeopleImportInput",
            input,
            "operation { id }",
        )
        .await;
    begun["operation"]["id"].take()
}

async fn killed(database: Database) {
    let world = World::new(database).await;
    let mut server = world.serve().await;
    let mut client = server.client(&world);
    let sender = smtp_sender(&client, "Ada", 1).await;
    let id = sequence(&client, &[sender], &[("P30D", Some("Later"))]).await;
    let input = json!({ "name": "Greet", "trigger": "PERSON_CREATED", "sequenceId": id,
        "filter": { "company": ["Chosen"] } });
    let select = "workflow { id }";
    client
        .mutate("workflowCreate", "WorkflowCreateInput", input, select)
        .await;
    let operation = import(&client).await;
    let seed = Entropy::system().bits();
    println!("killed at points drawn from {seed}");
    let entropy = Entropy::seeded(seed);
    let mut in_the_middle = 0;
    for kill in 0..KILLS {
        let drawn = usize::try_from(entropy.bits() % 100).expect("small");
        // Of the lines and of the runs together, each kill somewhere in its own part.
        let goal = 2 * PEOPLE * (100 * kill + drawn) / (100 * KILLS);
        let (lines, runs, _) = until("it goes on", 120, async || {
            let now = progress(&client, &operation).await;
            (now.0 + now.1 >= goal).then_some(now)
        })
        .await;
        in_the_middle += usize::from(lines + runs < 2 * PEOPLE);
        server.kill().await;
        server = world.serve().await;
        client = server.client(&world);
    }
    assert!(in_the_middle > KILLS / 2, "{in_the_middle} of {KILLS}");
    until("everybody is entered and run for", 120, async || {
        let (lines, runs, is_over) = progress(&client, &operation).await;
        (is_over && lines == PEOPLE && runs >= PEOPLE).then_some(())
    })
    .await;
    let query = "query ($id: ID!, $sequence: ID!) {
        bulkOperation(id: $id) { succeeded skipped failed }
        sequence(id: $sequence) { leadCounts { pending total } }
        workflows { enrolled runs { totalCount } }
        done: workflows { runs(code: [DONE]) { totalCount } }
        not: workflows { runs(code: [NOT_MATCHING]) { totalCount } } }";
    let asked = json!({ "id": operation, "sequence": id });
    let told = client.run(query, asked).await;
    let wanted = json!({
        "bulkOperation": { "succeeded": PEOPLE, "skipped": 0, "failed": 0 },
        "sequence": { "leadCounts": { "pending": CHOSEN, "total": CHOSEN } },
        "workflows": [{ "enrolled": CHOSEN, "runs": { "totalCount": PEOPLE } }],
        "done": [{ "runs": { "totalCount": CHOSEN } }],
        "not": [{ "runs": { "totalCount": PEOPLE - CHOSEN } }],
    });
    assert_eq!(told, wanted);
    assert!(server.terminate().await, "a proper goodbye");
    each_once(&world).await;
    // What is stored is what the log tells.
    let mut verify = world.command(&["analytics", "verify"]);
    let ended = verify.output().await.expect("runs");
    let told = String::from_utf8_lossy(&ended.stdout);
    assert!(ended.status.success(), "{told}");
    assert!(told.contains(&format!("{CHOSEN} leads")), "{told}");
}

/// Every person has one run, and everybody who was chosen one lead and one event of being enrolled.
async fn each_once(world: &World) {
    let connection = sea_orm::Database::connect(&world.url)
        .await
        .expect("the database opens");
    let chosen = i64::try_from(CHOSEN).expect("small");
    let people = i64::try_from(PEOPLE).expect("small");
    for (wanted, what) in [
        (people, "count(*) AS n FROM person"),
        (people, "count(DISTINCT person_id) AS n FROM workflow_run"),
        (people, "count(*) AS n FROM workflow_run"),
        (0, "count(*) AS n FROM workflow_trigger"),
        (chosen, "count(DISTINCT person_id) AS n FROM lead"),
        (chosen, "count(*) AS n FROM lead"),
        (
            chosen,
            "count(*) AS n FROM event WHERE kind = 'LEAD_ENROLLED'",
        ),
        (
            chosen,
            "count(DISTINCT lead_id) AS n FROM event WHERE kind = 'LEAD_ENROLLED'",
        ),
        (
            chosen,
            "count(*) AS n FROM workflow_run AS r
             JOIN lead AS l ON l.id = r.lead_id AND l.person_id = r.person_id
             JOIN person AS p ON p.id = l.person_id
             WHERE r.code = 'DONE' AND p.company = 'Chosen'",
        ),
    ] {
        let statement = sea_orm::Statement::from_string(
            connection.get_database_backend(),
            format!("SELECT {what}"),
        );
        let row = connection.query_one_raw(statement).await.expect("a row");
        let found: i64 = row.expect("a row").try_get("", "n").expect("a number");
        assert_eq!(found, wanted, "{what}");
    }
    connection.close().await.expect("closes");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_sets_a_workflow_off_killed_again_and_again_on_sqlite() {
    killed(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_import_that_sets_a_workflow_off_killed_again_and_again_on_postgres() {
    killed(Database::Postgres).await;
}
