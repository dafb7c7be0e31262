//! `cadenza sequence`: sequences as files, against a running server.

use std::process::Output;

use serde_json::{Value, json};

use crate::client::Client;
use crate::world::{Database, Server, World};

const FILE: &str = "
name: Welcome
settings:
  timeZone: Europe/Lisbon
  windowClock: SEQUENCE
  holidayCountries: [NO, PT]
  maxSendsPerDay: 40
  sendWindows:
    - { day: MONDAY, from: 09:00, to: 12:00 }
    - { day: MONDAY, from: 14:00, to: 18:00 }
flow:
  steps:
    - key: hello
      action:
        email:
          senderIds: [ann@example.com]
          variants:
            - subject: A question
              text: |
                Hello {{ first_name | default(\"there\") }},

                may I ask you something? Answer \"no\" to opt out.
    - key: read
      action:
        condition:
          within: P3D
          predicate:
            all:
              - any: [{ opened: hello }, { clicked: hello }]
              - not: { not: { all: [{ any: [{ has: [PHONE] }, { attribute: { name: size, op: GT, value: 9 } }] }] } }
          no: end
    - key: text
      wait: P1D
      action:
        sms:
          senderIds: [+351910000001]
          variants: [{ body: Did you see my email? }]
";

struct Desk {
    world: World,
    server: Server,
    client: Client,
}

impl Desk {
    async fn new(database: Database) -> Self {
        let world = World::new(database).await;
        let server = world.serve().await;
        let client = server.client(&world);
        for (channel, address) in [("EMAIL", "ann@example.com"), ("SMS", "+351910000001")] {
            let input = json!({ "name": "Ann", "channel": channel, "address": address,
                "transport": { "outbox": {} } });
            client
                .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
                .await;
        }
        Self {
            world,
            server,
            client,
        }
    }

    async fn run(&self, arguments: &[&str]) -> Output {
        let mut command = self.world.command(&["sequence"]);
        command
            .args(arguments)
            .env("CADENZA_URL", format!("http://{}", self.server.address))
            .env("CADENZA_TOKEN", &self.world.token);
        command.output().await.expect("the binary runs")
    }

    /// Writes the file, runs `apply` on it, and answers the exit code and all that was said.
    async fn apply(&self, text: &str, flags: &[&str]) -> (i32, String) {
        let file = self.world.folder.path().join("sequence.yaml");
        std::fs::write(&file, text).expect("the file is written");
        let file = file.display().to_string();
        let arguments = [&["apply", &file], flags].concat();
        let ended = self.run(&arguments).await;
        let said = [ended.stdout, ended.stderr].map(|said| String::from_utf8(said).expect("text"));
        (ended.status.code().expect("a code"), said.concat())
    }

    async fn sequences(&self) -> Value {
        let query = "{ sequences { nodes { id name status revision settings { maxSendsPerDay } \
                     flow { steps { key next } } } } }";
        self.client.run(query, json!({})).await["sequences"]["nodes"].take()
    }
}

async fn a_sequence_lives_in_a_file(database: Database) {
    let desk = Desk::new(database).await;

    let (code, said) = desk.apply(FILE, &["--plan"]).await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("Welcome (new)"), "{said}");
    assert!(said.contains("+ step text (sms)"), "{said}");
    assert_eq!(desk.sequences().await, json!([]), "a plan changes nothing");

    let (code, said) = desk.apply(FILE, &[]).await;
    assert_eq!(code, 0, "{said}");
    assert!(said.contains("created"), "{said}");
    let made = desk.sequences().await;
    assert_eq!(made[0]["status"], "DRAFT");
    assert_eq!(made[0]["settings"]["maxSendsPerDay"], 40);
    let id = made[0]["id"].as_str().expect("an id").to_owned();

    // What is left out of a file has its default, and what is exported is no change.
    let (code, said) = desk.apply(FILE, &["--plan"]).await;
    assert_eq!((code, said.contains("no change")), (0, true), "{said}");
    let exported = desk.run(&["export", &id]).await;
    assert!(exported.status.success(), "{exported:?}");
    let exported = String::from_utf8(exported.stdout).expect("text");
    for part in ["ann@example.com", "+351910000001", &id] {
        assert!(exported.contains(part), "{exported}");
    }
    let (code, said) = desk.apply(&exported, &["--plan"]).await;
    assert_eq!((code, said.contains("no change")), (0, true), "{said}");
    assert_eq!(desk.apply(&exported, &[]).await.0, 0);
    assert_eq!(desk.sequences().await, made, "and nothing was written");

    // A token that is limited to the sequence sees no other senders than its own.
    let role = ["token", "create", "--workspace", "test", "--role", "editor"];
    let mut limited = desk.world.command(&role);
    let limited = limited.args(["--sequence", &id]).output().await;
    let limited = String::from_utf8(limited.expect("runs").stdout).expect("text");
    for text in [FILE, &exported] {
        let flags = ["--plan", "--token", limited.trim()];
        let (code, said) = desk.apply(text, &flags).await;
        assert_eq!((code, said.contains("no change")), (0, true), "{said}");
    }

    // An edit.
    let edited = FILE
        .replace("P3D", "P4D")
        .replace("  maxSendsPerDay: 40\n", "")
        .replace("no: end", "no: text\n          yes: end");
    let (code, said) = desk.apply(&edited, &["--plan"]).await;
    assert_eq!(code, 2, "{said}");
    for part in [
        "~ settings.maxSendsPerDay: 40 -> null",
        "~ step read changed",
        "action.condition.within: \"P3D\" -> \"P4D\"",
        "action.condition.yes: \"text\" -> nothing",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let (code, said) = desk.apply(&edited, &["--publish"]).await;
    assert_eq!(code, 0, "{said}");
    let now = desk.sequences().await;
    assert_eq!(now[0]["id"], *id);
    assert_eq!(now[0]["status"], "PUBLISHED");
    assert_eq!(now[0]["settings"]["maxSendsPerDay"], Value::Null);

    // A published one is edited only where that is asked for.
    let (code, said) = desk.apply(FILE, &[]).await;
    assert_eq!(code, 1);
    assert!(said.contains("--disable"), "{said}");
    assert_eq!(desk.sequences().await, now);
    let (code, said) = desk.apply(FILE, &["--disable", "--publish"]).await;
    assert_eq!(code, 0, "{said}");
    for part in ["disabled", "updated", "published: 0 leads keep"] {
        assert!(said.contains(part), "{said}");
    }
    let (code, said) = desk.apply(FILE, &["--disable", "--publish"]).await;
    assert_eq!((code, said.contains("no change")), (0, true), "{said}");
    assert_eq!(desk.sequences().await[0]["status"], "PUBLISHED");
    assert!(desk.server.terminate().await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_lives_in_a_file_on_sqlite() {
    a_sequence_lives_in_a_file(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sequence_lives_in_a_file_on_postgres() {
    a_sequence_lives_in_a_file(Database::Postgres).await;
}

const MOVES: &str = "
name: Moves
flow:
  steps:
    - key: one
      wait: P2D
      action:
        email:
          senderIds: [ann@example.com]
          variants: [{ subject: One, text: 'Hello {{ attributes.citty | default(\"there\") }}' }]
    - key: two
      wait: P1D
      action:
        email:
          senderIds: [ann@example.com]
          variants: [{ subject: Two, text: Hello again }]
";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plan_of_publishing_tells_what_changes_for_what_runs() {
    let desk = Desk::new(Database::Sqlite).await;
    let input = json!({ "email": "bo@example.com", "attributes": { "city": "Lisbon" } });
    let select = "person { id }";
    let made = desk
        .client
        .mutate("personCreate", "PersonInput", input, select)
        .await;
    // The server knows what attributes people have: who makes a typo is told.
    let (code, said) = desk.apply(MOVES, &["--publish"]).await;
    assert_eq!(code, 0, "{said}");
    for part in ["created", "warning", "flow.steps[0].action.email", "city"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let (code, said) = desk.apply(MOVES, &["--plan", "--publish"]).await;
    assert_eq!(code, 0, "{said}");
    for part in ["no change", "warning", "city"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(
        !said.contains("version"),
        "nothing is to be published: {said}"
    );
    let id = desk.sequences().await[0]["id"].clone();
    let input = json!({ "sequenceId": id, "people": { "ids": [made["person"]["id"]] } });
    let select = "operation { status }";
    desk.client
        .mutate("leadsEnrol", "LeadsEnrolInput", input, select)
        .await;

    let one = MOVES.find("    - key: one").expect("a step");
    let two = MOVES.find("    - key: two").expect("a step");
    let edited = format!("{}{}", &MOVES[..one], &MOVES[two..]).replace("P1D", "P3D");
    let flags = ["--plan", "--disable", "--publish"];
    let (code, said) = desk.apply(&edited, &flags).await;
    assert_eq!(code, 2, "{said}");
    for part in [
        "- step one",
        "takes away step one",
        "stand there (1)",
        "go to two",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    assert!(!said.contains("edited since"), "{said}");
    let (code, said) = desk.apply(&edited, &["--disable"]).await;
    assert_eq!((code, said.contains("updated")), (0, true), "{said}");

    // It has the file's flow by now; what ran last has not.
    let (code, said) = desk.apply(&edited, &["--plan", "--publish"]).await;
    assert_eq!(code, 2, "{said}");
    for part in [
        "edited since version 1",
        "step one removed",
        "step two changed: wait",
        "takes away step one",
        "stand there (1)",
        "go to two",
    ] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let flags = ["--plan", "--publish", "--removed-step", "stop"];
    let (_, said) = desk.apply(&edited, &flags).await;
    assert!(
        said.contains(" stop, once no message is on its way to them"),
        "{said}"
    );
    for (way, part) in [
        ("one=three", "the file has no step three"),
        ("three=two", "no step three is taken away"),
        ("onward", "OLD=NEW"),
    ] {
        let (code, said) = desk
            .apply(&edited, &["--publish", "--removed-step", way])
            .await;
        assert_ne!(code, 0, "{said}");
        assert!(said.contains(part), "{part} in {said}");
        assert_eq!(desk.sequences().await[0]["status"], "DISABLED");
    }
    let (code, said) = desk
        .apply(&edited, &["--publish", "--removed-step", "stop"])
        .await;
    assert_eq!(code, 0, "{said}");
    assert!(
        said.contains("0 leads keep their step, 0 go to another, 1 end"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_wrong_changes_nothing_and_is_said_with_its_place() {
    let desk = Desk::new(Database::Sqlite).await;
    for (text, flags, parts) in [
        ("name: [", &[][..], &["this is no YAML", "line 1"][..]),
        (
            &FILE.replace("senderIds: [ann@", "senderIds: [an@"),
            &[],
            &[
                "flow.steps[0].action.email.senderIds[0]",
                "did you mean ann@example.com?",
            ],
        ),
        (
            &FILE.replace("wait: P1D", "wayt: P1D"),
            &[],
            &["flow.steps[2].wayt", "did you mean wait?"],
        ),
        (
            &FILE.replace("wait: P1D", "wait: tomorrow"),
            &[],
            &["flow.steps[2].wait: "],
        ),
        (
            &FILE.replace("Europe/Lisbon", "Europe/Lisboa"),
            &[],
            &["settings.timeZone: "],
        ),
        (
            &FILE.replace(
                "name: Welcome",
                "name: Welcome\nid: seq_00000000000000000000000001",
            ),
            &[],
            &["there is no sequence seq_00000000000000000000000001"],
        ),
        // A draft may have it, but whoever wants to publish is told before anything is made.
        (
            &FILE.replace("opened: hello", "opened: gone"),
            &["--publish"],
            &[
                "refused UNKNOWN_STEP: flow.steps[1].action.condition.predicate",
                "nothing was changed",
            ],
        ),
    ] {
        let (code, said) = desk.apply(text, flags).await;
        assert_eq!(code, 1, "{said}");
        for part in parts {
            assert!(said.contains(part), "{part} in {said}");
        }
        assert_eq!(desk.sequences().await, json!([]), "{said}");
    }
    let (code, said) = desk
        .apply(&FILE.replace("opened: hello", "opened: gone"), &["--plan"])
        .await;
    assert_eq!(code, 2, "{said}");
    assert!(said.contains("refused UNKNOWN_STEP"), "{said}");

    // A command line that is wrong is no plan with changes.
    for (arguments, code, part) in [
        (&["apply"][..], 1, "<FILE>"),
        (&["apply", "f", "--plann"], 1, "--plann"),
        (&["export", "no-id"], 1, "no-id"),
        (
            &["apply", "f", "--plan", "--removed-step", "a=b"],
            1,
            "--publish",
        ),
        (&["--help"], 0, "apply"),
        (&["--version"], 1, "--version"),
    ] {
        let ended = desk.run(arguments).await;
        let said = [ended.stdout, ended.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert_eq!(ended.status.code(), Some(code), "{said}");
        assert!(said.contains(part), "{part} in {said}");
    }
    let version = desk.world.command(&["--version"]).output().await;
    assert_eq!(version.expect("runs").status.code(), Some(0));

    let mut no_token = desk.world.command(&["sequence", "export"]);
    no_token.arg("seq_00000000000000000000000001");
    no_token.env_remove("CADENZA_TOKEN");
    let ended = no_token.output().await.expect("runs");
    assert_eq!(ended.status.code(), Some(1));
    let said = String::from_utf8_lossy(&ended.stderr).into_owned();
    assert!(said.contains("CADENZA_TOKEN"), "{said}");
    let wrong_token = desk.run(&[
        "export",
        "seq_00000000000000000000000001",
        "--token",
        "cdz_no",
    ]);
    let said = String::from_utf8_lossy(&wrong_token.await.stderr).into_owned();
    assert!(said.contains("UNAUTHENTICATED"), "{said}");
    let gone = desk.run(&["export", "seq_00000000000000000000000001"]);
    let said = String::from_utf8_lossy(&gone.await.stderr).into_owned();
    assert!(said.contains("take the id from an answer"), "{said}");
    let nowhere = desk.run(&[
        "export",
        "seq_00000000000000000000000001",
        "--url",
        "http://127.0.0.1:1",
    ]);
    let said = String::from_utf8_lossy(&nowhere.await.stderr).into_owned();
    assert!(said.contains("is the server running"), "{said}");
    assert!(desk.server.terminate().await);
}
