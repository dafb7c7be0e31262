//! Undoing a pause, a resume and an enrolment: for the leads that have not moved on, and no others.

use cadenza::domain::id::LeadId;
use cadenza::store::sql::Arguments;
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::{codes, enrol, finish, import, many, people};
use crate::harness::{Harness, both};
use crate::leads::{bulk, enrolled, later, lead, run};
use crate::sequences::{kinds, published};

const OPERATION: &str = "operation { id kind undoes status total processed succeeded skipped failed
    outcomes(first: 250) { nodes { subject code message } } }";

async fn undo(h: &Harness, operation: &Value) -> Value {
    let input = json!({ "id": operation["id"] });
    h.mutate(
        "bulkOperationUndo",
        "BulkOperationIdInput",
        input,
        OPERATION,
    )
    .await["operation"]
        .take()
}

async fn refused(h: &Harness, operation: &Value) -> Value {
    let input = json!({ "id": operation["id"] });
    let payload = h
        .try_mutate(
            "bulkOperationUndo",
            "BulkOperationIdInput",
            input,
            "operation { id }",
        )
        .await;
    assert_eq!(payload["operation"], Value::Null, "{payload}");
    payload["userErrors"][0].clone()
}

both!(
    an_undone_pause_is_as_if_it_had_not_been,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada", "bob", "eve", "dan"]).await;
        let [ada, bob, eve, dan] = [&leads[0], &leads[1], &leads[2], &leads[3]];
        let before = lead(&h, ada).await;
        later(&h, Duration::hours(4));
        let paused = bulk(&h, "leadsPause", json!({ "ids": [ada, bob, eve, dan] })).await;
        later(&h, Duration::hours(4));
        bulk(&h, "leadsResume", json!({ "ids": [bob, eve] })).await;
        bulk(&h, "leadsPause", json!({ "ids": [eve] })).await;
        bulk(&h, "leadsRemove", json!({ "ids": [dan] })).await;
        let undone = undo(&h, &paused).await;
        assert_eq!(
            (&undone["kind"], &undone["undoes"], &undone["status"]),
            (&json!("UNDO"), &paused["id"], &json!("COMPLETED"))
        );
        assert_eq!(
            codes(&undone),
            ["DONE", "ALREADY_IN_STATE", "MOVED_ON", "FINISHED"],
            "{undone}"
        );
        let counts = ["total", "processed", "succeeded", "skipped", "failed"];
        assert_eq!(
            counts.map(|name| undone[name].as_i64()),
            [4, 4, 1, 3, 0].map(Some)
        );
        let after = lead(&h, ada).await;
        // Its wait went on: eight hours are gone of it, not four.
        assert_eq!(
            (&after["status"], &after["dueAt"]),
            (&json!("PENDING"), &before["dueAt"])
        );
        assert_eq!(lead(&h, eve).await["status"], "PAUSED");
        assert_eq!(
            kinds(&h).await.last().map(String::as_str),
            Some("LEAD_RESUMED")
        );

        let twice = undo(&h, &paused).await;
        assert_eq!(twice["id"], undone["id"], "the second answers the first");
        let error = refused(&h, &undone).await;
        assert_eq!(error["code"], "WRONG_STATE", "an undoing is not undone");
    }
);

both!(
    a_lead_that_was_sent_to_while_paused_keeps_the_wait_after_it,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada"]).await;
        let paused = bulk(&h, "leadsPause", json!({ "ids": leads })).await;
        // A message that was on its way left, and the lead stands before the next step.
        run(
            &h,
            "UPDATE lead SET step_key = 'two', paused_rest_ms = 7200000 WHERE id = $1",
            Arguments::new().with(leads[0].parse::<LeadId>().expect("an id").uuid()),
        )
        .await;
        later(&h, Duration::hours(1));
        assert_eq!(codes(&undo(&h, &paused).await), ["DONE"]);
        let after = lead(&h, &leads[0]).await;
        assert_eq!(after["dueAt"], "2026-03-02T12:00:00.000Z", "{after}");
    }
);

both!(
    an_undone_resume_pauses_again_with_the_same_rest,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada", "bob", "eve"]).await;
        let [ada, bob, eve] = [&leads[0], &leads[1], &leads[2]];
        bulk(&h, "leadsPause", json!({ "ids": [ada, bob, eve] })).await;
        let resumed = bulk(&h, "leadsResume", json!({ "ids": [ada, bob, eve] })).await;
        later(&h, Duration::hours(5));
        bulk(&h, "leadsPause", json!({ "ids": [bob] })).await;
        bulk(&h, "leadsPause", json!({ "ids": [eve] })).await;
        bulk(&h, "leadsResume", json!({ "ids": [eve] })).await;
        let undone = undo(&h, &resumed).await;
        assert_eq!(
            codes(&undone),
            ["DONE", "ALREADY_IN_STATE", "MOVED_ON"],
            "{undone}"
        );
        assert_eq!(lead(&h, ada).await["status"], "PAUSED");
        later(&h, Duration::days(9));
        bulk(&h, "leadsResume", json!({ "ids": [ada] })).await;
        // The whole day is left: none of it went by while the lead was resumed by mistake.
        assert_eq!(lead(&h, ada).await["dueAt"], "2026-03-12T14:00:00.000Z");
    }
);

both!(
    an_undone_enrolment_counts_as_none,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one", "two"]).await;
        let ids = people(&h, &["ada", "bob", "eve"]).await;
        let operation = enrol(&h, &sequence, json!({ "ids": ids })).await;
        let query = "query($id: ID!) { sequence(id: $id) { leads { nodes { id person { id } } }
            analytics { funnel { interrupted } } leadCounts { pending stopped } } }";
        let before = h.data(query, json!({ "id": sequence })).await;
        let of = |person: &str| {
            let nodes = before["sequence"]["leads"]["nodes"].as_array();
            let mut nodes = nodes.into_iter().flatten();
            let node = nodes.find(|node| node["person"]["id"] == person);
            node.expect("a lead")["id"]
                .as_str()
                .expect("an id")
                .to_owned()
        };
        // Bob is paused, which is no step; Eve is being written to.
        bulk(&h, "leadsPause", json!({ "ids": [of(&ids[1])] })).await;
        run(
            &h,
            "UPDATE lead SET messages_sent = 1 WHERE id = $1",
            Arguments::new().with(of(&ids[2]).parse::<LeadId>().expect("an id").uuid()),
        )
        .await;
        let undone = undo(&h, &operation).await;
        assert_eq!(codes(&undone), ["DONE", "DONE", "MOVED_ON"], "{undone}");
        assert_eq!(undone["outcomes"]["nodes"][0]["subject"], json!(ids[0]));
        let gone = lead(&h, &of(&ids[0])).await;
        assert_eq!(
            (&gone["status"], &gone["stopReason"]),
            (&json!("STOPPED"), &json!("ENROLMENT_UNDONE"))
        );
        let after = h.data(query, json!({ "id": sequence })).await;
        assert_eq!(
            after["sequence"]["analytics"]["funnel"]["interrupted"], 0,
            "nothing was interrupted"
        );
        let again = enrol(&h, &sequence, json!({ "ids": ids })).await;
        assert_eq!(
            codes(&again),
            ["DONE", "DONE", "ALREADY_ENROLLED"],
            "without reEnrol"
        );
        let twice = undo(&h, &operation).await;
        assert_eq!(twice["id"], undone["id"]);
        assert_eq!(lead(&h, &of(&ids[2])).await["status"], "PENDING");
    }
);

both!(
    what_is_not_to_be_undone_is_refused,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada"]).await;
        let removed = bulk(&h, "leadsRemove", json!({ "ids": leads })).await;
        let error = refused(&h, &removed).await;
        assert_eq!(error["code"], "WRONG_STATE");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("reEnrol")),
            "{error}"
        );
        let input = json!({ "csv": "email\nx@example.com\n" });
        let imported = import(&h, input).await;
        assert_eq!(refused(&h, &imported).await["code"], "WRONG_STATE");
        let missing = json!({ "id": "bulk_00000000000000000000000007" });
        assert_eq!(refused(&h, &missing).await["code"], "NOT_FOUND");
    }
);

both!(
    an_operation_that_goes_on_is_ended_first,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        many(&h, 3_000).await;
        let everybody = json!({ "everything": true });
        let operation = enrol(&h, &sequence, everybody).await;
        assert_eq!(operation["status"], "RUNNING");
        let error = refused(&h, &operation).await;
        assert_eq!(error["code"], "WRONG_STATE");
        assert!(
            error["message"]
                .as_str()
                .is_some_and(|text| text.contains("bulkOperationCancel")),
            "names the remedy: {error}"
        );
        let input = json!({ "id": operation["id"] });
        h.mutate(
            "bulkOperationCancel",
            "BulkOperationIdInput",
            input,
            "operation { id }",
        )
        .await;
        let done = h
            .data(
                "query($id: ID!) { bulkOperation(id: $id) { succeeded } }",
                json!({ "id": operation["id"] }),
            )
            .await["bulkOperation"]["succeeded"]
            .clone();
        let undone = undo(&h, &operation).await;
        assert_eq!(undone["total"], done, "what was done before is undone");
        finish(&h).await;
        let counts = h
            .data(
                "query($id: ID!, $undo: ID!) { sequence(id: $id) { leadCounts { pending stopped } }
                    bulkOperation(id: $undo) { status succeeded
                        outcomeCounts { code message count } } }",
                json!({ "id": sequence, "undo": undone["id"] }),
            )
            .await;
        assert_eq!(
            counts["sequence"]["leadCounts"],
            json!({ "pending": 0, "stopped": done })
        );
        let counted = &counts["bulkOperation"]["outcomeCounts"];
        assert_eq!(counted.as_array().map(Vec::len), Some(1), "{counted}");
        assert_eq!(
            (&counted[0]["code"], &counted[0]["count"]),
            (&json!("DONE"), &done)
        );
    }
);

both!(
    an_undoing_that_was_ended_is_begun_anew,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        many(&h, 3_000).await;
        let operation = enrol(&h, &sequence, json!({ "everything": true })).await;
        finish(&h).await;
        let first = undo(&h, &operation).await;
        assert_eq!(first["status"], "RUNNING");
        let input = json!({ "id": first["id"] });
        h.mutate(
            "bulkOperationCancel",
            "BulkOperationIdInput",
            input,
            "operation { id }",
        )
        .await;
        let second = undo(&h, &operation).await;
        assert_ne!(second["id"], first["id"]);
        finish(&h).await;
        let query = "query($first: ID!, $second: ID!) {
            first: bulkOperation(id: $first) { succeeded }
            second: bulkOperation(id: $second) { status succeeded skipped failed } }";
        let variables = json!({ "first": first["id"], "second": second["id"] });
        let told = h.data(query, variables).await;
        let done = told["first"]["succeeded"].as_i64().expect("a number");
        assert_eq!(
            told["second"],
            json!({ "status": "COMPLETED", "succeeded": 3_000 - done, "skipped": done, "failed": 0 })
        );
    }
);
