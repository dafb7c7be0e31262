//! Files that are uploaded: taken in as they come, bounded, and forgotten where they are cut off.

use cadenza::domain::id::BulkId;
use cadenza::http::Options;
use cadenza::store::bulk;
use cadenza::store::sql::{self, Arguments};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;

use crate::enrol::{finish, import};
use crate::harness::{Harness, both, until};
use crate::served::{Served, client};

const OPERATION: &str = "query($id: ID!) { bulkOperation(id: $id) {
    kind isDryRun status total succeeded skipped failed
    outcomes(first: 3) { nodes { subject code message } } } }";

/// Uploads a file of people.
pub async fn send(
    server: &Served,
    token: &str,
    parameters: &[(&str, &str)],
    body: impl Into<reqwest::Body>,
) -> reqwest::Response {
    let sent = client()
        .post(format!("http://{}/import/people", server.address))
        .bearer_auth(token)
        .query(parameters)
        .header("content-type", "text/csv; charset=utf-8")
        .body(body)
        .send()
        .await;
    sent.expect("an answer")
}

async fn accepted(answer: reqwest::Response) -> Value {
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    let answer: Value = answer.json().await.expect("JSON");
    answer["id"].clone()
}

/// An upload whose file does not come to its end, with the pieces that have come.
pub async fn begun(server: &Served, token: &str) -> TcpStream {
    let mut stream = TcpStream::connect(&server.address).await.expect("connects");
    let head = format!(
        "POST /import/people HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n\
         Content-Type: text/csv\r\nContent-Length: 8000000\r\n\r\nemail\n"
    );
    stream.write_all(head.as_bytes()).await.expect("sends");
    let lines = format!("{}@example.com\n", "x".repeat(50)).repeat(40_000);
    stream.write_all(lines.as_bytes()).await.expect("sends");
    stream
}

/// Rows that an upload leaves on its way.
pub async fn left(h: &Harness) -> i64 {
    let statement = "SELECT (SELECT count(*) FROM upload) + (SELECT count(*) FROM bulk_input)
        + (SELECT count(*) FROM bulk_seen) AS n";
    sql::number(h.services.db.read(), statement, Arguments::new())
        .await
        .expect("a number")
}

both!(an_uploaded_file_is_imported, |h: Harness| async move {
    let server = Served::new(&h).await;
    let csv = "Mail;Town\nada@example.com;Rome\nnone;Oslo\n";
    let mapping = json!({ "Mail": "email", "Town": "attributes.city" }).to_string();
    let tried = [("mapping", mapping.as_str()), ("dryRun", "true")];
    let id = accepted(send(&server, &h.token, &tried, csv).await).await;
    let told = h.data(OPERATION, json!({ "id": id })).await["bulkOperation"].take();
    assert_eq!(
        (&told["isDryRun"], &told["succeeded"], &told["failed"]),
        (&json!(true), &json!(1), &json!(1)),
        "{told}"
    );
    assert_eq!(told["outcomes"]["nodes"][1]["subject"], "line 3");
    let parameters = [
        ("mapping", mapping.as_str()),
        ("onConflict", "SKIP"),
        ("idempotencyKey", "monday"),
    ];
    let id = accepted(send(&server, &h.token, &parameters, csv).await).await;
    let told = h.data(OPERATION, json!({ "id": id })).await["bulkOperation"].take();
    assert_eq!(
        (&told["kind"], &told["status"], &told["succeeded"]),
        (&json!("IMPORT_PEOPLE"), &json!("COMPLETED"), &json!(1)),
        "{told}"
    );
    let people = h
        .data("{ people { nodes { email attributes } } }", json!({}))
        .await;
    assert_eq!(
        people["people"]["nodes"],
        json!([{ "email": "ada@example.com", "attributes": { "city": "Rome" } }])
    );
    // The same again, by either way, answers the first; anything else is refused.
    let again = accepted(send(&server, &h.token, &parameters, csv).await).await;
    assert_eq!(again, id);
    let input = json!({ "csv": csv, "mapping": { "Town": "attributes.city", "Mail": "email" },
        "onConflict": "SKIP", "idempotencyKey": "monday" });
    let by_mutation = import(&h, input).await;
    assert_eq!(by_mutation["id"], id);
    let other = send(
        &server,
        &h.token,
        &parameters,
        "Mail;Town\nbob@example.com;x\n",
    )
    .await;
    assert_eq!(other.status(), StatusCode::CONFLICT);
    assert_eq!(left(&h).await, 0);
    server.end().await;
});

both!(
    a_long_file_comes_in_pieces_that_cut_no_letter,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let long = "é".repeat(600);
        let mut csv = String::from("email,note\n");
        for n in 0..2_000 {
            csv.push_str(&format!("p{n}@example.com,{long}\n"));
        }
        let id = accepted(send(&server, &h.token, &[], csv).await).await;
        finish(&h).await;
        let told = h.data(OPERATION, json!({ "id": id })).await["bulkOperation"].take();
        assert_eq!(
            (&told["status"], &told["total"], &told["succeeded"]),
            (&json!("COMPLETED"), &json!(2_000), &json!(2_000)),
            "{told}"
        );
        let filter = json!({ "attributes": [{ "name": "note", "op": "EQ", "value": long }] });
        let people = h
            .data(
                "query($filter: PersonFilter) { people(filter: $filter) { totalCount } }",
                json!({ "filter": filter }),
            )
            .await;
        assert_eq!(people["people"]["totalCount"], 2_000);
        assert_eq!(
            left(&h).await,
            0,
            "what came in is forgotten once it is read"
        );
        server.end().await;
    }
);

both!(
    what_is_no_file_of_people_is_refused,
    |h: Harness| async move {
        let options = Options {
            import_max: 2 << 20,
            ..Options::default()
        };
        let server = Served::with(&h, options).await;
        let problem = async |answer: reqwest::Response, status: u16, word: &str| {
            assert_eq!(answer.status(), status, "{word}");
            assert_eq!(answer.headers()["content-type"], "application/problem+json");
            let told: Value = answer.json().await.expect("JSON");
            assert_eq!(told["status"], status);
            let detail = told["detail"].as_str().expect("a detail");
            assert!(detail.contains(word), "{detail}");
        };
        let good = "email\nada@example.com\n";
        let parameters: &[(&str, &str)] = &[];
        problem(send(&server, "wrong", parameters, good).await, 401, "oken").await;
        let make = async |role: &str, sequences: Value| {
            let mut input = json!({ "name": role, "role": role });
            if !sequences.is_null() {
                input["sequenceIds"] = sequences;
            }
            let made = h
                .mutate("tokenCreate", "TokenCreateInput", input, "secret")
                .await;
            made["secret"].as_str().expect("a secret").to_owned()
        };
        let viewer = make("VIEWER", Value::Null).await;
        problem(
            send(&server, &viewer, parameters, good).await,
            403,
            "EDITOR",
        )
        .await;
        let (sequence, _) = crate::sequences::published(&h, &["one"]).await;
        let limited = make("EDITOR", json!([sequence])).await;
        problem(
            send(&server, &limited, parameters, good).await,
            403,
            "limited",
        )
        .await;
        let url = format!("http://{}/import/people", server.address);
        let as_json = client().post(&url).bearer_auth(&h.token).json(&json!({}));
        problem(as_json.send().await.expect("an answer"), 415, "text/csv").await;
        let misspelled = [("dryrun", "true")];
        problem(
            send(&server, &h.token, &misspelled, good).await,
            400,
            "dryRun",
        )
        .await;
        let bad = [("mapping", "{")];
        problem(send(&server, &h.token, &bad, good).await, 400, "mapping").await;
        let bad = [("mapping", "{\"Mail\": \"email\"}")];
        problem(send(&server, &h.token, &bad, good).await, 422, "Mail").await;
        problem(send(&server, &h.token, parameters, "").await, 422, "empty").await;
        problem(
            send(&server, &h.token, parameters, "town\nx\n").await,
            422,
            "email",
        )
        .await;
        problem(
            send(&server, &h.token, parameters, "email\na\0\n").await,
            422,
            "NUL",
        )
        .await;
        let latin: &[u8] = b"email,last_name\nada@example.com,Caf\xe9\n";
        problem(
            send(&server, &h.token, parameters, latin).await,
            422,
            "byte 35",
        )
        .await;
        let long = format!("email\n{}", "x".repeat(3 << 20));
        problem(
            send(&server, &h.token, parameters, long).await,
            413,
            "2097152",
        )
        .await;
        let operations = sql::number(
            h.services.db.read(),
            "SELECT count(*) AS n FROM bulk_operation",
            Arguments::new(),
        );
        assert_eq!(operations.await.expect("a number"), 0);
        assert_eq!(left(&h).await, 0);
        server.end().await;
    }
);

both!(
    a_file_that_is_cut_off_leaves_nothing,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let stream = begun(&server, &h.token).await;
        until("pieces have come", async || {
            (left(&h).await > 1).then_some(())
        })
        .await;
        drop(stream);
        until("they are forgotten", async || {
            (left(&h).await == 0).then_some(())
        })
        .await;
        server.end().await;
    }
);

both!(
    what_a_process_that_died_left_is_forgotten_with_the_next_file,
    |h: Harness| async move {
        let id: BulkId = h.services.entropy.id(h.clock.now());
        let (db, workspace, now) = (h.services.db.write(), h.admin.workspace, h.clock.now());
        bulk::upload::begin(db, workspace, id, now)
            .await
            .expect("begun");
        bulk::insert_input(db, workspace, id, 0, "email\n")
            .await
            .expect("entered");
        let server = Served::new(&h).await;
        let csv = "email\nada@example.com\n";
        accepted(send(&server, &h.token, &[], csv).await).await;
        assert_eq!(left(&h).await, 2, "it may still be coming in");
        h.clock.advance_to(now + chrono::Duration::hours(1));
        accepted(send(&server, &h.token, &[], csv).await).await;
        assert_eq!(left(&h).await, 0);
        server.end().await;
    }
);
