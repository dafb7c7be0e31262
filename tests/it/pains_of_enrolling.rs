//! What hurts the users of other engines around enrolling, each shown not to happen here; see `pains`.

use std::collections::BTreeMap;

use cadenza::domain::id::PersonId;
use cadenza::engine::LaneId;
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::{codes, finish, suppress};
use crate::harness::{Harness, both};
use crate::leads::{bulk, later};
use crate::pains::{Receiver, drain, names, node, people, sequence, settle};
use crate::steps::person;

const OPERATION: &str = "operation { id status total processed succeeded skipped failed
    outcomes(first: 250) { nodes { subject code message } }
    outcomeCounts { code count } }";

async fn enrol(h: &Harness, input: Value) -> Value {
    let done = h.mutate("leadsEnrol", "LeadsEnrolInput", input, OPERATION);
    done.await["operation"].take()
}

/// The operation when it is over.
async fn over(h: &Harness, operation: &Value) -> Value {
    finish(h).await;
    let query = "query($id: ID!) { bulkOperation(id: $id) {
        status total processed succeeded skipped failed } }";
    let id = json!({ "id": operation["id"] });
    h.data(query, id).await["bulkOperation"].take()
}

/// Who has a lead, in what state, and what is said of each of them.
async fn leads(h: &Harness) -> Vec<Value> {
    let query = "{ leads(first: 250) { nodes { id status dueAt blockers { code } person { email }
        executions { nodes { id status error { code } } } } } }";
    let data = h.data(query, json!({})).await;
    data["leads"]["nodes"].as_array().expect("leads").clone()
}

// Elsewhere: written down and never queued; thirty of six hundred sent in a day, and no log that says why.
both!(
    pain_7_nothing_is_left_unsent_in_silence,
    |h: Harness| async move {
        let receiver = Receiver::default();
        let everybody = [names("p", 40), names("bad", 2), names("out", 1)].concat();
        people(&h, &everybody, "UTC").await;
        suppress(&h, "out0@example.org", "UNSUBSCRIBED").await;
        person(&h, json!({ "phone": "+351912345678", "company": "Pain" })).await;
        let id = sequence(&h, &["PT0S"]).await;
        let sender = h.data("{ senders { id } }", json!({})).await["senders"][0]["id"].take();
        let capped = json!({ "id": sender, "dailyCap": 15 });
        h.mutate("senderUpdate", "SenderUpdateInput", capped, "sender { id }")
            .await;
        let chosen = json!({ "filter": { "search": "pain" } });
        let operation = enrol(&h, json!({ "sequenceId": id, "people": chosen })).await;
        let mut told: BTreeMap<&str, usize> = BTreeMap::new();
        for code in codes(&operation) {
            *told.entry(code).or_default() += 1;
        }
        let wanted = [("DONE", 42), ("NO_ADDRESS", 1), ("OPTED_OUT", 1)];
        assert_eq!(told, BTreeMap::from(wanted), "everybody is accounted for");
        for day in 0_usize..5 {
            settle(&h, &receiver).await;
            let mut ended = 0;
            for lead in leads(&h).await {
                let tries = lead["executions"]["nodes"].as_array().expect("executions");
                let is_over = tries.iter().any(|node| {
                    node["status"] == "SENT"
                        || node["status"] == "FAILED" && node["error"]["code"].is_string()
                });
                ended += usize::from(is_over);
                if is_over {
                    continue;
                }
                assert!(lead["dueAt"].is_string(), "it is still to be sent: {lead}");
                let blockers = lead["blockers"].as_array().expect("blockers");
                let is_told = |one: &Value| one["code"] == "SENDER_DAILY_CAP";
                assert!(blockers.iter().any(is_told), "and says why not yet: {lead}");
            }
            assert!(ended >= 42.min(15 * (day + 1)), "{ended} by day {day}");
            if ended == 42 {
                assert_eq!(receiver.count(), 40, "all but the two that were refused");
                return;
            }
            later(&h, Duration::days(1));
        }
        panic!("some are still waiting after a week's work");
    }
);

// Elsewhere what was to prevent duplicates cancelled retries as duplicates, and kept thousands of runs from
// ever sending, while they were shown as completed.
both!(
    pain_12_what_keeps_duplicates_out_blocks_no_real_work_and_says_what_it_leaves_out,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 4), "UTC").await;
        let id = sequence(&h, &["PT0S"]).await;
        let chosen = json!({ "filter": { "search": "pain" } });
        let input = json!({ "sequenceId": id, "people": chosen, "idempotencyKey": "monday" });
        let first = enrol(&h, input.clone()).await;
        // A request that is repeated does nothing again, and answers what the first one did.
        assert_eq!(enrol(&h, input.clone()).await, first);
        settle(&h, &receiver).await;
        assert_eq!(receiver.count(), 4);
        // With another input the key is refused, and not taken for the first request.
        let mut other = input.clone();
        other["reEnrol"] = json!(true);
        let refused = h
            .try_mutate("leadsEnrol", "LeadsEnrolInput", other, "operation { id }")
            .await;
        assert_eq!(refused["userErrors"][0]["code"], "CONFLICT", "{refused}");
        // Who is left out as a duplicate is told, and counted as left out, never as done.
        let again = json!({ "sequenceId": id, "people": chosen });
        let told = enrol(&h, again).await;
        assert_eq!(
            (&told["succeeded"], &told["skipped"]),
            (&json!(0), &json!(4))
        );
        assert_eq!(codes(&told), ["ALREADY_ENROLLED"; 4]);
        // A second run that is asked for sends the same messages to the same people again.
        let again = json!({ "sequenceId": id, "people": chosen, "reEnrol": true });
        let second = enrol(&h, again.clone()).await;
        assert_eq!(second["succeeded"], 4);
        settle(&h, &receiver).await;
        assert_eq!(receiver.taken().into_values().collect::<Vec<_>>(), [2; 4]);
        // An enrolment that was undone is none: whoever was in it is enrolled as if new.
        let third = enrol(&h, again.clone()).await;
        let undo = json!({ "id": third["id"] });
        h.mutate(
            "bulkOperationUndo",
            "BulkOperationIdInput",
            undo,
            "operation { id }",
        )
        .await;
        assert_eq!(enrol(&h, again).await["succeeded"], 4);
        // A message whose fate is unknown holds its lead, visibly; told that it did not leave, it leaves.
        let dying = node(&h, &receiver).await;
        let claim = dying.claim(4, &|_: LaneId| 4).await.expect("claims");
        assert_eq!(claim.messages.len(), 4);
        later(&h, Duration::minutes(5));
        let engine = node(&h, &receiver).await;
        engine.rescue(false).await.expect("rescues");
        let query = "{ executions(filter: { status: [UNCONFIRMED] }) { nodes { id } } }";
        let held = h.data(query, json!({})).await["executions"]["nodes"].take();
        let held = held.as_array().expect("executions");
        assert_eq!(held.len(), 4);
        for execution in held {
            let input = json!({ "id": execution["id"], "wasSent": false });
            let select = "execution { id }";
            h.mutate("executionResolve", "ExecutionResolveInput", input, select)
                .await;
        }
        drain(&engine, &receiver).await;
        assert_eq!(receiver.taken().into_values().collect::<Vec<_>>(), [3; 4]);
        // A day later the key is free for what is new.
        later(&h, Duration::hours(25));
        let fresh = enrol(&h, input).await;
        assert_ne!(fresh["id"], first["id"]);
    }
);

// Elsewhere people re-enter by themselves and get everything again, or never can, and nobody knows by which rule.
both!(
    pain_17_who_comes_in_again_is_ruled_by_who_asks_and_told,
    |h: Harness| async move {
        let receiver = Receiver::default();
        people(&h, &names("p", 3), "UTC").await;
        let id = sequence(&h, &["PT0S", "P1D"]).await;
        let everybody = json!({ "sequenceId": id, "people": { "everything": true } });
        let mut again = everybody.clone();
        again["reEnrol"] = json!(true);
        let input = json!({ "name": "again", "trigger": "PERSON_UPDATED", "sequenceId": id });
        let select = "workflow { id }";
        h.mutate("workflowCreate", "WorkflowCreateInput", input, select)
            .await;
        assert_eq!(codes(&enrol(&h, everybody.clone()).await), ["DONE"; 3]);
        settle(&h, &receiver).await;
        // While a run is under way there is no other, whatever is asked for.
        assert_eq!(
            codes(&enrol(&h, again.clone()).await),
            ["ALREADY_ENROLLED"; 3]
        );
        bulk(&h, "leadsPause", json!({ "filter": { "search": "p0" } })).await;
        bulk(&h, "leadsRemove", json!({ "filter": { "search": "p1" } })).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        // One is held, one was taken out, one is through. None of them comes in again by itself,
        assert_eq!(codes(&enrol(&h, everybody).await), ["ALREADY_ENROLLED"; 3]);
        // nor by a workflow that is set off for them, which says so.
        let query = "{ people { nodes { id email } } }";
        let there = h.data(query, json!({})).await["people"]["nodes"].take();
        for one in there.as_array().expect("people") {
            let input = json!({ "id": one["id"], "set": { "title": "CTO" } });
            h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
                .await;
        }
        crate::workflows::run(&h).await;
        let query = "{ workflows { runs(first: 9) { nodes { code } } } }";
        let runs = h.data(query, json!({})).await["workflows"][0]["runs"]["nodes"].take();
        assert_eq!(runs, json!(vec![json!({ "code": "ALREADY_ENROLLED" }); 3]));
        // Whoever asks for it has a second run of those whose first is over, from the beginning.
        let second = enrol(&h, again).await;
        let outcomes = second["outcomes"]["nodes"].as_array().expect("outcomes");
        let held = there.as_array().expect("people").iter();
        let held = held
            .clone()
            .find(|one| one["email"] == "p0@example.org")
            .expect("the one who is held");
        for outcome in outcomes {
            let is_held = outcome["subject"] == held["id"];
            let wanted = if is_held { "ALREADY_ENROLLED" } else { "DONE" };
            assert_eq!(outcome["code"], wanted, "{outcome}");
        }
        settle(&h, &receiver).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        let expected = [
            ("p0@example.org s0", 1),
            ("p1@example.org s0", 2),
            ("p1@example.org s1", 1),
            ("p2@example.org s0", 2),
            ("p2@example.org s1", 2),
        ];
        let expected = expected.map(|(mail, count)| (mail.replace(" s", " Subject of s"), count));
        assert_eq!(receiver.taken(), BTreeMap::from(expected));
    }
);

// Elsewhere sixty or two hundred items a call and fifty calls a minute, so that every script is about batches.
both!(
    pain_19_one_call_takes_many_thousands,
    |h: Harness| async move {
        const PEOPLE: usize = 5_000;
        people(&h, &names("p", PEOPLE), "UTC").await;
        finish(&h).await;
        let id = sequence(&h, &["P1D"]).await;
        let ids = all_ids(&h).await;
        assert_eq!(ids.len(), PEOPLE, "imported by one call");
        let input = json!({ "sequenceId": id, "people": { "ids": ids } });
        let all = json!({ "status": "COMPLETED", "total": PEOPLE, "processed": PEOPLE,
            "succeeded": PEOPLE, "skipped": 0, "failed": 0 });
        let enrolled = enrol(&h, input).await;
        assert_eq!(over(&h, &enrolled).await, all, "by a list of ids");
        for (field, leads) in [
            ("leadsPause", json!({ "everything": true })),
            (
                "leadsResume",
                json!({ "filter": { "sequenceIds": [id], "status": ["PAUSED"] } }),
            ),
            ("leadsRemove", json!({ "filter": { "search": "pain" } })),
        ] {
            let input = json!({ "leads": leads });
            let done = h.mutate(field, "LeadsBulkInput", input, OPERATION).await;
            assert_eq!(over(&h, &done["operation"]).await, all, "{field}");
        }
    }
);

async fn all_ids(h: &Harness) -> Vec<String> {
    use cadenza::store::sql::{self, Arguments};
    let db = h.services.db.read();
    let rows = sql::rows(db, "SELECT id FROM person", Arguments::new()).await;
    let rows = rows.expect("people").into_iter();
    let ids = rows.map(|row| row.try_get("", "id").expect("an id"));
    ids.map(|id| PersonId::from_uuid(id).to_string()).collect()
}
