//! The frame of bulk operations: keys, cancelling, following, failing, taking turns.

use std::task::Poll;

use cadenza::bulk::runner::{Round, Runner};
use cadenza::domain::bulk::BulkKind;
use cadenza::domain::id::{BulkId, WorkerId};
use cadenza::store::bulk::NewOperation;
use cadenza::store::sql::{self, Arguments};
use cadenza::store::{self, dialect, worker};
use chrono::{DateTime, Utc};
use futures_util::{StreamExt, poll};
use serde_json::{Value, json};

use crate::harness::{Harness, both, until};

const SELECT: &str = "operation { id status total processed }";
const STATE: &str = "query($id: ID!) { bulkOperation(id: $id) {
    id kind status total processed succeeded skipped failed error startedAt finishedAt } }";
const FOLLOW: &str = "subscription($id: ID!) { bulkOperation(id: $id) { status processed } }";

fn file(people: std::ops::Range<usize>) -> String {
    let lines = people.map(|n| format!("p{n}@example.com\n"));
    std::iter::once("email\n".to_owned()).chain(lines).collect()
}

async fn submit(h: &Harness, input: Value) -> Value {
    h.mutate("peopleImport", "PeopleImportInput", input, SELECT)
        .await["operation"]
        .take()
}

async fn state(h: &Harness, id: &Value) -> Value {
    h.data(STATE, json!({ "id": id })).await["bulkOperation"].take()
}

async fn runner(h: &Harness) -> Runner {
    runner_until(h, h.clock.now() + chrono::Duration::hours(1)).await
}

/// A runner of a worker whose lease runs until then.
async fn runner_until(h: &Harness, lease: DateTime<Utc>) -> Runner {
    let now = h.clock.now();
    let id: WorkerId = h.services.entropy.id(now);
    worker::register(h.services.db.write(), id, now, lease)
        .await
        .expect("registered");
    Runner::new(h.services.clone(), move || id)
}

both!(
    a_key_answers_the_first_operation_for_a_day,
    |h: Harness| async move {
        let input = |people, key: &str| json!({ "csv": file(people), "idempotencyKey": key });
        let first = submit(&h, input(0..3, "monday")).await;
        let again = submit(&h, input(0..3, "monday")).await;
        assert_eq!(first, again);

        let refuse = async |input: Value| {
            let payload = h
                .try_mutate("peopleImport", "PeopleImportInput", input, SELECT)
                .await;
            assert_eq!(payload["operation"], Value::Null);
            let error = &payload["userErrors"][0];
            assert_eq!(error["path"], json!(["idempotencyKey"]), "{payload}");
            error["code"].as_str().unwrap_or_default().to_owned()
        };
        assert_eq!(refuse(input(0..4, "monday")).await, "CONFLICT");
        let skip = json!({ "csv": file(0..3), "idempotencyKey": "monday", "onConflict": "SKIP" });
        assert_eq!(
            refuse(skip).await,
            "CONFLICT",
            "the options are part of the input"
        );
        assert_eq!(refuse(input(0..3, &"x".repeat(256))).await, "INVALID");
        assert_eq!(refuse(input(0..3, "a\0b")).await, "INVALID");
        let longest = submit(&h, input(0..3, &"x".repeat(255))).await;
        assert_ne!(longest["id"], first["id"]);

        let mutation = "mutation($input: PeopleImportInput!) {
        peopleImport(input: $input) { operation { id } userErrors { code } } }";
        let variables = json!({ "input": input(0..4, "monday") });
        let theirs = h.execute_as(&h.stranger, mutation, variables).await;
        assert_eq!(
            theirs["data"]["peopleImport"]["userErrors"],
            json!([]),
            "{theirs}"
        );

        h.clock
            .advance_to(h.clock.now() + chrono::Duration::hours(24));
        let next_day = submit(&h, input(0..4, "monday")).await;
        assert_ne!(next_day["id"], first["id"]);
    }
);

both!(
    the_same_key_at_the_same_moment_makes_one_operation,
    |h: Harness| async move {
        let input = json!({ "csv": file(0..3), "idempotencyKey": "both" });
        let (a, b) = tokio::join!(submit(&h, input.clone()), submit(&h, input));
        assert_eq!(a["id"], b["id"]);
    }
);

both!(
    an_operation_is_cancelled_between_chunks,
    |h: Harness| async move {
        let begun = submit(&h, json!({ "csv": file(0..3_000) })).await;
        let id = &begun["id"];
        let mut runner = runner(&h).await;
        runner.round().await.expect("a round");
        let input = json!({ "id": id });
        let cancel = async |select| {
            h.mutate(
                "bulkOperationCancel",
                "BulkOperationIdInput",
                input.clone(),
                select,
            )
            .await
        };
        assert_eq!(cancel(SELECT).await["operation"]["status"], "CANCELLED");
        for _ in 0..3 {
            runner.round().await.expect("a round");
        }
        let over = state(&h, id).await;
        assert_eq!(
            (&over["status"], &over["processed"]),
            (&json!("CANCELLED"), &json!(1_500))
        );
        assert!(over["finishedAt"].is_string(), "{over}");
        let people = h.data("{ people { totalCount } }", json!({})).await;
        assert_eq!(
            people["people"]["totalCount"], 1_500,
            "what is done stays done"
        );
        assert_eq!(
            cancel(SELECT).await["operation"]["status"],
            "CANCELLED",
            "twice is no error"
        );
    }
);

both!(what_is_over_is_not_cancelled, |h: Harness| async move {
    let done = submit(&h, json!({ "csv": file(0..3) })).await;
    let input = json!({ "id": done["id"] });
    let payload = h
        .mutate("bulkOperationCancel", "BulkOperationIdInput", input, SELECT)
        .await;
    assert_eq!(payload["operation"]["status"], "COMPLETED");
});

both!(
    operations_of_others_are_like_missing_ones,
    |h: Harness| async move {
        let done = submit(&h, json!({ "csv": file(0..3) })).await;
        let missing = BulkId::from_uuid(uuid::Uuid::from_u128(7));
        for id in [done["id"].clone(), json!(missing), json!("junk")] {
            let read = h.execute_as(&h.stranger, STATE, json!({ "id": id })).await;
            assert_eq!(read["data"]["bulkOperation"], Value::Null, "{read}");
            assert!(read.get("errors").is_none(), "{read}");
        }
        let cancel = "mutation($input: BulkOperationIdInput!) {
        bulkOperationCancel(input: $input) { operation { id } userErrors { code message path } } }";
        let mut answers = Vec::new();
        for id in [done["id"].clone(), json!(missing)] {
            let variables = json!({ "input": { "id": id } });
            answers.push(h.execute_as(&h.stranger, cancel, variables).await);
        }
        assert_eq!(answers[0], answers[1]);
        let error = &answers[0]["data"]["bulkOperationCancel"]["userErrors"][0];
        assert_eq!(
            (&error["code"], &error["path"]),
            (&json!("NOT_FOUND"), &json!(["id"]))
        );
        let variables = json!({ "input": { "id": done["id"] } });
        let refused = h.execute_as(&h.viewer, cancel, variables).await;
        assert_eq!(
            refused["errors"][0]["extensions"]["code"], "FORBIDDEN",
            "{refused}"
        );
    }
);

both!(
    outcomes_are_paged_and_chosen_by_code,
    |h: Harness| async move {
        let csv = "email\na@example.com\nbad\nb@example.com\nworse\nc@example.com\n";
        let id = submit(&h, json!({ "csv": csv })).await["id"].take();
        let query = "query($id: ID!, $code: [BulkOutcomeCode!], $first: Int, $after: String,
            $last: Int, $before: String) {
        bulkOperation(id: $id) {
            outcomes(code: $code, first: $first, after: $after, last: $last, before: $before) {
                nodes { subject } totalCount pageInfo { endCursor hasNextPage } } } }";
        let page = async |mut variables: Value| {
            variables["id"] = id.clone();
            let mut data = h.data(query, variables).await;
            let page = data["bulkOperation"]["outcomes"].take();
            let nodes = page["nodes"].as_array().expect("nodes");
            let lines: Vec<String> = nodes
                .iter()
                .map(|node| {
                    node["subject"]
                        .as_str()
                        .unwrap_or_default()
                        .replace("line ", "")
                })
                .collect();
            (
                lines.join(" "),
                page["totalCount"].as_i64(),
                page["pageInfo"]["endCursor"].clone(),
            )
        };
        let (lines, total, cursor) = page(json!({ "first": 2 })).await;
        assert_eq!((lines.as_str(), total), ("2 3", Some(5)));
        let (lines, _, _) = page(json!({ "first": 9, "after": cursor })).await;
        assert_eq!(lines, "4 5 6");
        let (lines, total, cursor) = page(json!({ "code": ["INVALID"], "last": 1 })).await;
        assert_eq!((lines.as_str(), total), ("5", Some(2)));
        let (lines, _, _) = page(json!({ "code": ["INVALID"], "last": 1, "before": cursor })).await;
        assert_eq!(lines, "3");
        assert_eq!(
            page(json!({ "code": ["DONE", "INVALID"] })).await.1,
            Some(5)
        );
        assert_eq!(page(json!({ "code": [] })).await.1, Some(0));
    }
);

both!(
    a_subscription_shows_every_change_and_ends_with_the_operation,
    |h: Harness| async move {
        let begun = submit(&h, json!({ "csv": file(0..1_800) })).await;
        let mut stream = h.follow(FOLLOW, json!({ "id": begun["id"] }));
        let shown = async |response: Option<async_graphql::Response>| {
            let data = response
                .expect("the stream goes on")
                .data
                .into_json()
                .expect("JSON");
            let operation = &data["bulkOperation"];
            (
                operation["status"].as_str().unwrap_or_default().to_owned(),
                operation["processed"].clone(),
            )
        };
        assert_eq!(
            shown(stream.next().await).await,
            ("RUNNING".into(), json!(1_000))
        );
        let mut runner = runner(&h).await;
        runner.round().await.expect("a round");
        // Not sooner than a quarter of a second after the last one, on the clock of the test.
        assert!(matches!(poll!(stream.next()), Poll::Pending));
        let later = async || {
            until("the next state", async || {
                h.clock
                    .advance_to(h.clock.now() + chrono::Duration::milliseconds(250));
                match poll!(stream.next()) {
                    Poll::Ready(response) => Some(response),
                    Poll::Pending => None,
                }
            })
            .await
        };
        let mut later = later;
        assert_eq!(shown(later().await).await, ("RUNNING".into(), json!(1_500)));
        runner.round().await.expect("a round");
        assert_eq!(
            shown(later().await).await,
            ("COMPLETED".into(), json!(1_800))
        );
        assert!(later().await.is_none(), "the stream completes");
    }
);

both!(
    a_subscription_to_what_is_over_or_missing_ends_at_once,
    |h: Harness| async move {
        let done = submit(&h, json!({ "csv": file(0..3) })).await;
        let stream = h.follow(FOLLOW, json!({ "id": done["id"] }));
        let all: Vec<_> = stream.collect().await;
        assert_eq!(all.len(), 1);
        assert!(all[0].is_ok(), "{:?}", all[0]);
        let missing = BulkId::from_uuid(uuid::Uuid::from_u128(7));
        let stream = h.follow(FOLLOW, json!({ "id": missing }));
        let all: Vec<_> = stream.collect().await;
        assert_eq!(all.len(), 1);
        let answer = serde_json::to_value(&all[0]).expect("JSON");
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
            "{answer}"
        );
    }
);

/// Enters an operation that cannot be carried out.
async fn broken(h: &Harness, kind: BulkKind, request: Value) -> Value {
    let now = h.clock.now();
    let id = h.services.entropy.id(now);
    let operation = NewOperation {
        token: h.admin.token,
        scope: h.admin.scope.clone(),
        id,
        undoes: (kind == BulkKind::Undo).then_some(id),
        kind,
        request,
        idempotency_key: None,
        request_hash: "x".into(),
    };
    store::bulk::insert(h.services.db.write(), h.admin.workspace, &operation, now)
        .await
        .expect("entered");
    json!(operation.id)
}

both!(
    an_operation_that_cannot_go_on_fails_and_says_why,
    |h: Harness| async move {
        let unreadable = broken(&h, BulkKind::ImportPeople, json!("nonsense")).await;
        let unknown = broken(&h, BulkKind::Undo, json!({})).await;
        let mut runner = runner(&h).await;
        runner.round().await.expect("a round");
        for id in [&unreadable, &unknown] {
            let over = state(&h, id).await;
            assert_eq!(over["status"], "FAILED", "{over}");
            assert!(
                over["error"]
                    .as_str()
                    .is_some_and(|error| !error.is_empty()),
                "{over}"
            );
            assert!(over["finishedAt"].is_string(), "{over}");
        }
    }
);

both!(a_large_operation_delays_no_other, |h: Harness| async move {
    let large = submit(&h, json!({ "csv": file(0..4_000) })).await;
    let other = submit(&h, json!({ "csv": file(10_000..11_600) })).await;
    let mut runner = runner(&h).await;
    for _ in 0..2 {
        runner.round().await.expect("a round");
    }
    assert_eq!(state(&h, &other["id"]).await["status"], "COMPLETED");
    assert_eq!(state(&h, &large["id"]).await["processed"], 2_000);
});

both!(
    a_running_runner_is_woken_and_gives_up_what_it_holds_when_it_ends,
    |h: Harness| async move {
        let stop = tokio_util::sync::CancellationToken::new();
        let running = tokio::spawn(runner(&h).await.run(stop.clone()));
        let id = submit(&h, json!({ "csv": file(0..2_500) })).await["id"].take();
        until("the end of the operation", async || {
            (state(&h, &id).await["status"] == "COMPLETED").then_some(())
        })
        .await;
        stop.cancel();
        running.await.expect("the runner ends properly");

        let stop = tokio_util::sync::CancellationToken::new();
        stop.cancel();
        let id = submit(&h, json!({ "csv": file(0..2_500) })).await["id"].take();
        let mut first = runner(&h).await;
        first.round().await.expect("a round");
        first.run(stop).await;
        runner(&h).await.round().await.expect("a round");
        assert_eq!(
            state(&h, &id).await["processed"],
            2_000,
            "the next one went on at once"
        );
    }
);

both!(
    what_a_dead_worker_held_goes_on_as_soon_as_its_lease_has_run_out,
    |h: Harness| async move {
        let id = submit(&h, json!({ "csv": file(0..2_500) })).await["id"].take();
        let lease = h.clock.now() + chrono::Duration::hours(1);
        // It takes the operation up, and dies.
        runner(&h).await.round().await.expect("a round");
        let (mut next, engine) = (
            runner_until(&h, lease + chrono::Duration::hours(1)).await,
            crate::pains::node(&h, &crate::pains::Receiver::default()).await,
        );
        next.round().await.expect("a round");
        assert_eq!(state(&h, &id).await["processed"], 1_500, "it may live");
        h.clock.advance_to(lease + chrono::Duration::seconds(1));
        let due = h.services.wake.on_due();
        engine.rescue(false).await.expect("rescues");
        let is_woken = due.has_changed().expect("the bell is there");
        assert!(is_woken, "nobody waits for the next look");
        next.round().await.expect("a round");
        assert_eq!(state(&h, &id).await["processed"], 2_000);
    }
);

both!(
    the_planner_hears_of_what_an_operation_changes,
    |h: Harness| async move {
        let db = h.services.db.read();
        // SQLite is to go on planning by what it was told once, which no change of size makes wrong.
        let (known, expected) = match dialect::is_shared(db) {
            true => (
                "SELECT CAST(reltuples AS BIGINT) AS n FROM pg_class
                 WHERE oid = CAST('person' AS REGCLASS)",
                2_500,
            ),
            false => (
                "SELECT count(*) AS n FROM sqlite_stat1
                 WHERE stat LIKE '1000000 1000000 %' AND idx IN ('person_page', 'lead_page')",
                2,
            ),
        };
        submit(&h, json!({ "csv": file(0..2_500) })).await;
        let mut runner = runner(&h).await;
        while runner.round().await.expect("a round") == Round::More {}
        let number = sql::number(db, known, Arguments::new()).await;
        assert_eq!(number.expect("a number"), expected);
    }
);
