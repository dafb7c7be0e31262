//! Leads through the API: pages, counts, holding, resuming and removing, and settling what nobody
//! knows. The set statements are held against the lead machine.

use std::sync::{Arc, Mutex};

use cadenza::app::Services;
use cadenza::domain::id::{ExecutionId, LeadId, WorkerId, kind};
use cadenza::domain::lead::{Hold, LeadState, LeadStatus};
use cadenza::graphql::CadenzaSchema;
use cadenza::store::lead::change::{self, Change};
use cadenza::store::lead::kept;
use cadenza::store::sql::{self, Arguments};
use chrono::{DateTime, Duration, Utc};
use sea_orm::Value as Bound;
use serde_json::{Value, json};
use strum::IntoEnumIterator;

use crate::enrol::{codes, enrol, finish, many, people};
use crate::harness::{Harness, both};
use crate::sequences::{done, kinds, published, refusals};

const OPERATION: &str = "operation { id status total processed succeeded skipped failed
    outcomes(first: 250) { nodes { subject code message } } }";
const LEADS: &str = "query($filter: LeadFilter, $orderBy: LeadOrder, $first: Int, $after: String,
        $last: Int, $before: String) {
    leads(filter: $filter, orderBy: $orderBy, first: $first, after: $after, last: $last,
          before: $before) {
        nodes { id status person { email } } totalCount
        pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }";

pub async fn run(h: &Harness, statement: &str, arguments: Arguments) {
    sql::execute(h.services.db.write(), statement, arguments)
        .await
        .expect("is run");
}

/// A published sequence with these people as its leads; answers the sequence and the leads' ids.
pub async fn enrolled(h: &Harness, names: &[&str]) -> (String, Vec<String>) {
    let (sequence, _) = published(h, &["one", "two"]).await;
    let ids = people(h, names).await;
    enrol(h, &sequence, json!({ "ids": ids })).await;
    let mut leads = Vec::new();
    for name in names {
        let found = page(h, json!({ "filter": { "search": format!("{name}@") } })).await;
        leads.push(found["nodes"][0]["id"].as_str().expect("a lead").to_owned());
    }
    (sequence, leads)
}

async fn page(h: &Harness, variables: Value) -> Value {
    h.data(LEADS, variables).await["leads"].take()
}

fn names(page: &Value) -> String {
    let nodes = page["nodes"].as_array().expect("nodes");
    let names: Vec<&str> = nodes
        .iter()
        .filter_map(|node| node["person"]["email"].as_str()?.split('@').next())
        .collect();
    names.join(" ")
}

pub async fn bulk(h: &Harness, field: &str, leads: Value) -> Value {
    let input = json!({ "leads": leads });
    h.mutate(field, "LeadsBulkInput", input, OPERATION).await["operation"].take()
}

pub async fn lead(h: &Harness, id: &str) -> Value {
    let query = "query($id: ID!) { lead(id: $id) { status stopReason dueAt lastActionAt
        messagesSent currentStep { key } blockers { code until } } }";
    h.data(query, json!({ "id": id })).await["lead"].take()
}

pub fn later(h: &Harness, by: Duration) {
    h.clock.advance_to(h.clock.now() + by);
}

both!(
    a_pause_keeps_the_rest_of_the_wait,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada", "bob"]).await;
        later(&h, Duration::hours(4));
        let paused = bulk(&h, "leadsPause", json!({ "ids": [&leads[0]] })).await;
        assert_eq!(codes(&paused), ["DONE"]);
        let held = lead(&h, &leads[0]).await;
        assert_eq!(
            (&held["status"], &held["dueAt"]),
            (&json!("PAUSED"), &Value::Null)
        );
        assert_eq!(
            held["blockers"],
            json!([{ "code": "LEAD_PAUSED", "until": null }])
        );
        later(&h, Duration::days(7));
        let resumed = bulk(&h, "leadsResume", json!({ "ids": [&leads[0]] })).await;
        assert_eq!(codes(&resumed), ["DONE"]);
        let again = lead(&h, &leads[0]).await;
        // Of the day it had to wait, 20 hours were left.
        assert_eq!(
            (&again["status"], &again["dueAt"]),
            (&json!("PENDING"), &json!("2026-03-10T09:00:00.000Z"))
        );
        let untouched = lead(&h, &leads[1]).await;
        assert_eq!(untouched["dueAt"], "2026-03-03T09:00:00.000Z");
        assert_eq!(kinds(&h).await[3..], ["LEAD_PAUSED", "LEAD_RESUMED"]);
    }
);

both!(each_lead_has_its_outcome, |h: Harness| async move {
    let (_, leads) = enrolled(&h, &["ada", "bob", "eve"]).await;
    let [ada, bob, eve] = [&leads[0], &leads[1], &leads[2]];
    run(
        &h,
        "UPDATE lead SET status = 'COMPLETED', due_at = NULL, step_key = NULL WHERE id = $1",
        Arguments::new().with(eve.parse::<LeadId>().expect("an id").uuid()),
    )
    .await;
    let missing = "lead_00000000000000000000000007";
    let asked = json!({ "ids": [ada, bob, eve, missing, ada] });
    let paused = bulk(&h, "leadsPause", asked.clone()).await;
    assert_eq!(
        codes(&paused),
        ["DONE", "DONE", "FINISHED", "NOT_FOUND", "ALREADY_IN_STATE"]
    );
    let told =
        ["total", "processed", "succeeded", "skipped", "failed"].map(|name| paused[name].as_i64());
    assert_eq!(told, [5, 5, 2, 2, 1].map(Some));
    let again = bulk(&h, "leadsPause", asked.clone()).await;
    assert_eq!(
        codes(&again)[..2],
        ["ALREADY_IN_STATE", "ALREADY_IN_STATE"],
        "twice is no error"
    );
    assert_eq!(
        codes(&bulk(&h, "leadsRemove", json!({ "ids": [bob] })).await),
        ["DONE"]
    );
    let gone = lead(&h, bob).await;
    assert_eq!(
        gone,
        json!({ "status": "STOPPED", "stopReason": "REMOVED", "dueAt": null,
        "lastActionAt": "2026-03-02T09:00:00.000Z", "messagesSent": 0,
        "currentStep": { "key": "one" }, "blockers": [] })
    );
    let resumed = bulk(&h, "leadsResume", asked.clone()).await;
    assert_eq!(
        codes(&resumed),
        [
            "DONE",
            "FINISHED",
            "FINISHED",
            "NOT_FOUND",
            "ALREADY_IN_STATE"
        ]
    );
    let removed = bulk(&h, "leadsRemove", asked).await;
    assert_eq!(
        codes(&removed),
        [
            "DONE",
            "ALREADY_IN_STATE",
            "FINISHED",
            "NOT_FOUND",
            "ALREADY_IN_STATE"
        ]
    );
    let stopped = "{ events(filter: { kinds: [LEAD_STOPPED] }) { detail lead { id } } }";
    let mut stopped = h.data(stopped, json!({})).await;
    for event in stopped["events"].as_array_mut().expect("events") {
        let detail = event["detail"].as_object_mut().expect("a detail");
        assert!(detail.remove("operationId").is_some(), "which operation");
    }
    let event = |id| json!({ "detail": { "reason": "REMOVED" }, "lead": { "id": id } });
    assert_eq!(stopped["events"], json!([event(bob), event(ada)]));
});

both!(
    no_filter_looks_for_what_no_text_can_hold,
    |h: Harness| async move {
        for filter in [
            json!({ "search": "a\0" }),
            json!({ "company": ["a\0"] }),
            json!({ "attributes": [{ "name": "a", "op": "EQ", "value": "\0" }] }),
        ] {
            let query = "query($filter: PersonFilter) { people(filter: $filter) { totalCount } }";
            let answer = h
                .execute_as(&h.stranger, query, json!({ "filter": filter }))
                .await;
            let code = &answer["errors"][0]["extensions"]["code"];
            assert_eq!(code, &json!("BAD_USER_INPUT"), "{answer}");
        }
        let input = json!({ "leads": { "filter": { "search": "a\0" } } });
        let payload = h
            .try_mutate("leadsPause", "LeadsBulkInput", input, OPERATION)
            .await;
        let expected = ("INVALID".to_owned(), "leads.filter".to_owned());
        assert_eq!(refusals(&payload), [expected]);
    }
);

both!(
    a_message_that_is_being_sent_is_told,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada", "bob"]).await;
        let worker: WorkerId = h.services.entropy.id(h.clock.now());
        let id: LeadId = leads[0].parse().expect("an id");
        execution(&h, id, "SENDING", Some(worker), h.clock.now()).await;
        run(
            &h,
            "UPDATE lead SET worker_id = $2 WHERE id = $1",
            Arguments::new().with(id.uuid()).with(worker.uuid()),
        )
        .await;
        let paused = bulk(&h, "leadsPause", json!({ "ids": leads })).await;
        let told = |n: usize| {
            paused["outcomes"]["nodes"][n]["message"]
                .as_str()
                .unwrap_or_default()
        };
        assert!(told(0).contains("may arrive"), "{paused}");
        assert_eq!(told(1), "Paused.");
        // The worker is left to find out.
        let held = sql::number(
            h.services.db.read(),
            "SELECT count(*) AS n FROM lead WHERE worker_id IS NOT NULL AND status = 'PAUSED'",
            Arguments::new(),
        )
        .await;
        assert_eq!(held.expect("a number"), 1);
    }
);

/// Enters an execution of a lead's step one; answers its id.
pub async fn execution(
    h: &Harness,
    lead: LeadId,
    status: &str,
    worker: Option<WorkerId>,
    started_at: DateTime<Utc>,
) -> ExecutionId {
    let id: ExecutionId = h.services.entropy.id(h.clock.now());
    let statement = "INSERT INTO execution (id, workspace_id, lead_id, sequence_id, version_id,
            step_key, variant, channel, sender_id, status, attempt, error_code, error_message,
            subject, message_id, worker_id, scheduled_at, started_at)
        SELECT $1, l.workspace_id, l.id, l.sequence_id, q.published_version_id, 'one', 'a', 'EMAIL',
            l.sender_id, $3, 1, $4, $5, 'Hello', '<1@example.com>', $6, l.due_at, $7
        FROM lead l JOIN sequence q ON q.id = l.sequence_id WHERE l.id = $2";
    let wrong = ["FAILED", "UNCONFIRMED"].contains(&status);
    let arguments = Arguments::new()
        .with(id.uuid())
        .with(lead.uuid())
        .with(status)
        .with(wrong.then_some("INTERRUPTED"))
        .with(wrong.then_some("It is not known."))
        .with(worker.map(WorkerId::uuid))
        .with(started_at.timestamp_millis());
    run(h, statement, arguments).await;
    id
}

both!(
    leads_are_chosen_by_a_filter_that_says_something,
    |h: Harness| async move {
        let (sequence, leads) = enrolled(&h, &["ada", "bob"]).await;
        for filter in [json!({}), json!({ "search": "  " })] {
            for field in ["leadsPause", "leadsResume", "leadsRemove"] {
                let input = json!({ "leads": { "filter": filter } });
                let payload = h
                    .try_mutate(field, "LeadsBulkInput", input, OPERATION)
                    .await;
                assert_eq!(payload["operation"], Value::Null);
                let expected = [("INVALID".to_owned(), "leads.filter".to_owned())];
                assert_eq!(refusals(&payload), expected, "{field}");
            }
        }
        let none = bulk(&h, "leadsPause", json!({ "filter": { "status": [] } })).await;
        assert_eq!((&none["total"], &none["processed"]), (&json!(0), &json!(0)));
        let one = bulk(&h, "leadsPause", json!({ "filter": { "search": "bob" } })).await;
        assert_eq!(one["outcomes"]["nodes"][0]["subject"], json!(leads[1]));
        let all = bulk(
            &h,
            "leadsRemove",
            json!({ "filter": { "sequenceIds": [sequence] } }),
        )
        .await;
        assert_eq!(codes(&all), ["DONE", "DONE"]);

        let document = "mutation($input: LeadsBulkInput!) { leadsRemove(input: $input) {
        operation { outcomes { nodes { code } } } userErrors { code } } }";
        let variables = json!({ "input": { "leads": { "ids": leads } } });
        let viewer = h.execute_as(&h.viewer, document, variables.clone()).await;
        assert_eq!(
            viewer["errors"][0]["extensions"]["code"], "FORBIDDEN",
            "{viewer}"
        );
        let theirs = h.execute_as(&h.stranger, document, variables).await;
        assert_eq!(
            codes(&theirs["data"]["leadsRemove"]["operation"]),
            ["NOT_FOUND", "NOT_FOUND"]
        );
        let variables =
            json!({ "input": { "leads": { "filter": { "sequenceIds": [sequence] } } } });
        let theirs = h.execute_as(&h.stranger, document, variables).await;
        assert_eq!(
            theirs["data"]["leadsRemove"]["operation"]["outcomes"]["nodes"],
            json!([])
        );
    }
);

both!(
    many_leads_are_changed_chunk_by_chunk,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        many(&h, 1_700).await;
        enrol(&h, &sequence, json!({ "filter": { "search": "example" } })).await;
        finish(&h).await;
        let filter = json!({ "filter": { "status": ["PENDING"] } });
        let begun = bulk(&h, "leadsPause", filter.clone()).await;
        assert_eq!(
            (&begun["status"], &begun["total"]),
            (&json!("RUNNING"), &json!(1_700))
        );
        finish(&h).await;
        let query = "query($id: ID!) { bulkOperation(id: $id) { status total succeeded } }";
        let over = h.data(query, json!({ "id": begun["id"] })).await;
        let expected = json!({ "status": "COMPLETED", "total": 1_700, "succeeded": 1_700 });
        assert_eq!(over["bulkOperation"], expected);
        let paused = page(
            &h,
            json!({ "filter": { "status": ["PAUSED"] }, "first": 1 }),
        )
        .await;
        assert_eq!(paused["totalCount"], 1_700);
        let resume = json!({ "filter": { "status": ["PAUSED"] } });
        bulk(&h, "leadsResume", resume).await;
        finish(&h).await;
        let due = page(&h, json!({ "filter": filter["filter"], "first": 1 })).await;
        assert_eq!(due["totalCount"], 1_700);
    }
);

both!(a_key_changes_leads_once, |h: Harness| async move {
    let (_, leads) = enrolled(&h, &["ada", "bob"]).await;
    let submit = async |field: &str, ids: &[String]| {
        let input = json!({ "leads": { "ids": ids }, "idempotencyKey": "k" });
        h.try_mutate(field, "LeadsBulkInput", input, OPERATION)
            .await
    };
    let first = submit("leadsPause", &leads).await;
    bulk(&h, "leadsResume", json!({ "ids": leads })).await;
    assert_eq!(submit("leadsPause", &leads).await, first);
    assert_eq!(
        lead(&h, &leads[0]).await["status"],
        "PENDING",
        "nothing was done again"
    );
    let conflict = [("CONFLICT".to_owned(), "idempotencyKey".to_owned())];
    assert_eq!(refusals(&submit("leadsPause", &leads[..1]).await), conflict);
    assert_eq!(refusals(&submit("leadsRemove", &leads).await), conflict);
});

/// Every state that the table can hold: each status with each hold, due before, at and after now
/// or not at all, and each rest of a wait.
fn states(now: chrono::DateTime<chrono::Utc>) -> Vec<LeadState> {
    let mut all = Vec::new();
    for status in LeadStatus::iter() {
        for hold in Hold::iter().map(Some).chain([None]) {
            for offset in [None, Some(-5_000), Some(0), Some(7_000)] {
                let over = matches!(status, LeadStatus::Completed | LeadStatus::Stopped);
                let paused = status == LeadStatus::Paused;
                // A waiting lead that is unconfirmed, or waits at its step, is in a step.
                let awaits = hold.is_some_and(Hold::awaits);
                if (over && (offset.is_some() || hold.is_some()))
                    || (status == LeadStatus::Pending
                        && (awaits || hold == Some(Hold::Unconfirmed)))
                    || (paused && offset.is_some_and(|ms| ms < 0))
                {
                    continue;
                }
                all.push(LeadState {
                    status,
                    stop_reason: (status == LeadStatus::Stopped)
                        .then_some(cadenza::domain::lead::StopReason::Replied),
                    step_key: (status != LeadStatus::Completed).then(|| "one".to_owned()),
                    due_at: offset
                        .filter(|_| !paused)
                        .map(|ms| now + Duration::milliseconds(ms)),
                    hold,
                    paused_rest: offset.filter(|_| paused).map(Duration::milliseconds),
                    // Something happened that the wait may end by, two seconds before.
                    until: offset
                        .filter(|_| awaits && status == LeadStatus::InProgress)
                        .map(|ms| now + Duration::milliseconds(ms + 2_000)),
                    quiet_until: (!over).then(|| now + Duration::milliseconds(9_000)),
                });
            }
        }
    }
    all
}

both!(
    the_set_statements_follow_the_lead_machine,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada"]).await;
        let id: LeadId = leads[0].parse().expect("an id");
        let (workspace, now) = (h.admin.workspace, h.clock.now());
        let states = states(now);
        assert_eq!(states.len(), 16 + 28 + 21 + 1 + 1);
        for before in states {
            for change in [Change::Pause, Change::Resume, Change::Remove] {
                // Whoever is in a step is worked on, or waits to be confirmed.
                let is_held = before.status == LeadStatus::InProgress
                    && !before
                        .hold
                        .is_some_and(|hold| hold.awaits() || hold == Hold::Unconfirmed);
                let worker = is_held.then(|| h.services.entropy.id::<kind::Worker>(now));
                let arguments = Arguments::new()
                    .with(id.uuid())
                    .with(kept(before.status))
                    .with(before.stop_reason.map(<&str>::from))
                    .with(before.step_key.clone())
                    .with(before.due_at.map(|at| at.timestamp_millis()))
                    .with(before.hold.map(<&str>::from))
                    .with(Bound::BigInt(
                        before.paused_rest.map(|rest| rest.num_milliseconds()),
                    ))
                    .with(worker.map(WorkerId::uuid))
                    .with(Bound::BigInt(before.until.map(|at| at.timestamp_millis())))
                    .with(Bound::BigInt(
                        before.quiet_until.map(|at| at.timestamp_millis()),
                    ));
                run(
                    &h,
                    "UPDATE lead SET status = $2, stop_reason = $3, step_key = $4, due_at = $5,
                hold = $6, paused_rest_ms = $7, worker_id = $8, until_at = $9, quiet_until = $10
                WHERE id = $1",
                    arguments,
                )
                .await;
                let expected = before.apply(&change.happening(), now);
                let tx = h.services.db.begin().await.expect("begins");
                let changed = change::apply(&tx, workspace, change, &[id], now)
                    .await
                    .expect("applied");
                let rows = change::lock(&tx, workspace, &h.admin.scope, &[id])
                    .await
                    .expect("locked");
                tx.commit().await.expect("commits");
                let after = rows.first().expect("the lead").state().expect("readable");
                assert_eq!(
                    changed,
                    u64::from(expected.is_ok()),
                    "{change:?} of {before:?}"
                );
                assert_eq!(
                    after,
                    expected.unwrap_or(before.clone()),
                    "{change:?} of {before:?}"
                );
            }
        }
    }
);

both!(pages_are_filtered, |h: Harness| async move {
    let (sequence, leads) = enrolled(&h, &["ada", "bob", "eve"]).await;
    later(&h, Duration::hours(1));
    let ids = people(&h, &["dan"]).await;
    enrol(&h, &sequence, json!({ "ids": ids })).await;
    bulk(&h, "leadsPause", json!({ "ids": [&leads[0]] })).await;
    bulk(&h, "leadsRemove", json!({ "ids": [&leads[1]] })).await;
    let query = "{ senders { id } people { nodes { id email } } }";
    let there = h.data(query, json!({})).await;
    let sender = &there["senders"][0]["id"];
    let eve = there["people"]["nodes"]
        .as_array()
        .expect("people")
        .iter()
        .find(|node| node["email"] == "eve@example.com")
        .expect("eve")["id"]
        .clone();
    let at = |minutes| (crate::harness::start() + Duration::minutes(minutes)).to_rfc3339();
    let other = "seq_00000000000000000000000007";
    for (filter, expected) in [
        (json!({}), "dan eve bob ada"),
        (json!({ "sequenceIds": [sequence] }), "dan eve bob ada"),
        (json!({ "sequenceIds": [other] }), ""),
        (json!({ "sequenceIds": [] }), ""),
        (json!({ "status": ["PAUSED", "STOPPED"] }), "bob ada"),
        (json!({ "stopReason": ["REMOVED"] }), "bob"),
        (json!({ "stepKeys": ["one"] }), "dan eve bob ada"),
        (json!({ "stepKeys": ["two"] }), ""),
        (
            json!({ "senderIds": [sender], "status": ["PENDING"] }),
            "dan eve",
        ),
        (json!({ "personId": eve }), "eve"),
        (json!({ "search": "EXAMPLE eve" }), "eve"),
        (json!({ "search": "%" }), ""),
        (json!({ "enrolledAt": { "from": at(60) } }), "dan"),
        (json!({ "enrolledAt": { "to": at(60) } }), "eve bob ada"),
        (json!({ "lastActionAt": { "from": at(0) } }), "bob"),
        (json!({ "lastActionAt": { "to": at(60) } }), ""),
    ] {
        let found = page(
            &h,
            json!({ "filter": filter, "orderBy": "ENROLLED_AT_DESC" }),
        )
        .await;
        let mut found_names: Vec<&str> = Vec::new();
        let joined = names(&found);
        found_names.extend(joined.split(' ').filter(|name| !name.is_empty()));
        // Leads of the same instant come by their ids, which are random within it.
        let mut expected: Vec<&str> = expected
            .split(' ')
            .filter(|name| !name.is_empty())
            .collect();
        assert_eq!(
            found_names.first() == Some(&"dan"),
            expected.first() == Some(&"dan")
        );
        found_names.sort_unstable();
        expected.sort_unstable();
        assert_eq!(found_names, expected, "{filter}");
        assert_eq!(found["totalCount"], json!(expected.len()), "{filter}");
    }
    for filter in [
        json!({ "sequenceIds": ["junk"] }),
        json!({ "search": "x".repeat(501) }),
    ] {
        let refused = h.execute(LEADS, json!({ "filter": filter })).await;
        assert_eq!(
            refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
            "{refused}"
        );
    }
    let theirs = h.execute_as(&h.stranger, LEADS, json!({})).await;
    assert_eq!(theirs["data"]["leads"]["totalCount"], 0, "{theirs}");
    let theirs = json!({ "filter": { "sequenceIds": [sequence] } });
    let theirs = h.execute_as(&h.stranger, LEADS, theirs).await;
    assert_eq!(theirs["data"]["leads"]["nodes"], json!([]));
    let read = "query($id: ID!) { lead(id: $id) { id } node(id: $id) { id } }";
    let theirs = h
        .execute_as(&h.stranger, read, json!({ "id": leads[0] }))
        .await;
    assert_eq!(theirs["data"], json!({ "lead": null, "node": null }));
});

both!(every_order_is_walked_both_ways, |h: Harness| async move {
    let all = ["a", "b", "c", "d", "e", "f", "g"];
    let (_, leads) = enrolled(&h, &all).await;
    // Two leads share each instant, and the last has none.
    for (n, id) in leads.iter().enumerate() {
        let half = i64::try_from(n / 2).expect("small");
        let at = (n < 6).then_some(1_000_000 * (half + 1));
        run(
            &h,
            "UPDATE lead SET enrolled_at = $2, last_action_at = $3, due_at = $3 WHERE id = $1",
            Arguments::new()
                .with(id.parse::<LeadId>().expect("an id").uuid())
                .with(1_000_000 * half)
                .with(at),
        )
        .await;
    }
    let pairs = |text: &str| -> Vec<String> { text.split(' ').map(str::to_owned).collect() };
    for (order, expected) in [
        ("ENROLLED_AT_ASC", "ab cd ef g"),
        ("ENROLLED_AT_DESC", "g ef cd ab"),
        ("LAST_ACTION_AT_DESC", "ef cd ab g"),
        ("DUE_AT_ASC", "ab cd ef g"),
    ] {
        let whole = names(&page(&h, json!({ "orderBy": order })).await);
        let mut rest = whole.split(' ');
        for pair in pairs(expected) {
            let mut shown: Vec<&str> = rest.by_ref().take(pair.len()).collect();
            shown.sort_unstable();
            assert_eq!(shown.concat(), pair, "{order}: {whole}");
        }
        let mut forward = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let part = page(&h, json!({ "orderBy": order, "first": 2, "after": cursor })).await;
            forward.push(names(&part));
            cursor = part["pageInfo"]["endCursor"].clone();
            assert_eq!(
                part["pageInfo"]["hasPreviousPage"],
                json!(forward.len() > 1)
            );
            if part["pageInfo"]["hasNextPage"] == false {
                break;
            }
        }
        assert_eq!(forward.join(" "), whole, "{order} forward");
        let mut backward = Vec::new();
        let mut cursor = Value::Null;
        loop {
            let part = page(&h, json!({ "orderBy": order, "last": 3, "before": cursor })).await;
            backward.insert(0, names(&part));
            cursor = part["pageInfo"]["startCursor"].clone();
            if part["pageInfo"]["hasPreviousPage"] == false {
                break;
            }
        }
        assert_eq!(backward.join(" "), whole, "{order} backward");
    }
    let due = page(&h, json!({ "orderBy": "DUE_AT_ASC", "first": 1 })).await;
    let elsewhere = json!({ "orderBy": "ENROLLED_AT_ASC", "after": due["pageInfo"]["endCursor"] });
    let refused = h.execute(LEADS, elsewhere).await;
    assert_eq!(
        refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
        "{refused}"
    );
    // What comes in meanwhile moves nothing.
    let first = page(&h, json!({ "orderBy": "ENROLLED_AT_DESC", "first": 3 })).await;
    let (sequence, _) = enrolled_more(&h).await;
    let after = json!({ "orderBy": "ENROLLED_AT_DESC", "after": first["pageInfo"]["endCursor"],
                        "filter": { "status": ["PENDING"] } });
    let rest = names(&page(&h, after).await);
    assert_eq!(rest.split(' ').count(), 4, "{sequence}: {rest}");
});

async fn enrolled_more(h: &Harness) -> (String, Value) {
    let found = h.data("{ sequences { nodes { id } } }", json!({})).await;
    let sequence = found["sequences"]["nodes"][0]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let ids = people(h, &["x", "y"]).await;
    let operation = enrol(h, &sequence, json!({ "ids": ids })).await;
    (sequence, operation)
}

both!(blockers_name_what_holds_a_lead, |h: Harness| async move {
    let (sequence, leads) = enrolled(&h, &["ada"]).await;
    let id: LeadId = leads[0].parse().expect("an id");
    let blocked = async |set: &str| {
        run(
            &h,
            &format!("UPDATE lead SET {set} WHERE id = $1"),
            Arguments::new().with(id.uuid()),
        )
        .await;
        lead(&h, &leads[0]).await["blockers"].take()
    };
    let soon = (h.clock.now() + Duration::seconds(1)).timestamp_millis();
    let retrying = blocked(&format!("hold = 'RETRYING', due_at = {soon}")).await;
    let until = "2026-03-02T09:00:01.000Z";
    assert_eq!(retrying, json!([{ "code": "RETRYING", "until": until }]));
    let missing = blocked("hold = 'MISSING_MERGE_DATA', due_at = NULL").await;
    assert_eq!(
        missing,
        json!([{ "code": "MISSING_MERGE_DATA", "until": null }])
    );
    assert_eq!(
        blocked("hold = NULL, due_at = 1").await,
        json!([]),
        "it is due"
    );
    done(&h, "sequenceDisable", json!({ "id": sequence })).await;
    let disabled = blocked("due_at = 1").await;
    assert_eq!(
        disabled,
        json!([{ "code": "SEQUENCE_DISABLED", "until": null }])
    );
});

both!(
    a_page_of_leads_takes_seven_statements,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one", "two"]).await;
        many(&h, 60).await;
        enrol(&h, &sequence, json!({ "filter": { "has": ["EMAIL"] } })).await;
        let all = h
            .data("{ leads(first: 60) { nodes { id } } }", json!({}))
            .await;
        for node in all["leads"]["nodes"].as_array().expect("leads") {
            let id: LeadId = node["id"].as_str().expect("an id").parse().expect("an id");
            execution(&h, id, "SENT", None, h.clock.now()).await;
        }
        let statements = Arc::new(Mutex::new(Vec::new()));
        let seen = Arc::clone(&statements);
        let db = h.services.db.clone().observed(move |statement: &str| {
            let tables = [
                "person",
                "sequence_version",
                "sequence",
                "execution",
                "sender",
                "lead",
            ];
            let from = |table: &&&str| {
                statement.contains(&format!("FROM {table} "))
                    || statement.contains(&format!("FROM \"{table}\" "))
            };
            let table = tables
                .iter()
                .find(from)
                .copied()
                .unwrap_or("something else");
            seen.lock().expect("not poisoned").push(table);
        });
        let services = Services::for_tests(db, h.clock.clone(), h.services.entropy.clone());
        let schema = CadenzaSchema::new(services);
        let query = "{ leads(first: 50) { nodes { id status dueAt person { email firstName }
        sequence { id name } currentStep { key channel } blockers { code }
        executions(first: 1) { nodes { id status subject } } } } }";
        let request = async_graphql::Request::new(query).data(h.viewer.clone());
        let response = schema.execute(request).await;
        assert!(response.is_ok(), "{response:?}");
        let answer = serde_json::to_value(&response).expect("JSON");
        let nodes = answer["data"]["leads"]["nodes"].as_array().expect("leads");
        assert_eq!(nodes.len(), 50);
        assert!(nodes.iter().all(|node| node["currentStep"]["key"] == "one"));
        assert!(
            nodes
                .iter()
                .all(|node| node["executions"]["nodes"][0]["status"] == "SENT")
        );
        let statements = statements.lock().expect("not poisoned").clone();
        assert_eq!(statements.len(), 7, "{statements:?}");
    }
);

both!(
    a_sequence_counts_its_leads_by_status,
    |h: Harness| async move {
        let (sequence, leads) = enrolled(&h, &["ada", "bob", "eve"]).await;
        bulk(&h, "leadsPause", json!({ "ids": [&leads[0]] })).await;
        let counts = "pending inProgress completed paused stopped total";
        let query = format!("{{ sequences {{ nodes {{ id leadCounts {{ {counts} }} }} }} }}");
        let read = h.data(&query, json!({})).await;
        let expected = json!({ "pending": 2, "inProgress": 0, "completed": 0, "paused": 1,
                           "stopped": 0, "total": 3 });
        let nodes = json!([{ "id": sequence, "leadCounts": expected }]);
        assert_eq!(read["sequences"]["nodes"], nodes);
        let theirs = h.execute_as(&h.stranger, &query, json!({})).await;
        assert_eq!(theirs["data"]["sequences"]["nodes"], json!([]));
    }
);

both!(
    who_is_in_a_step_is_found_and_counted,
    |h: Harness| async move {
        let (sequence, leads) = enrolled(&h, &["ada", "bob", "eve", "kim"]).await;
        let id = |index: usize| leads[index].parse::<LeadId>().expect("an id");
        // Ada's message is being sent, of Bob's nobody knows, Eve waits, and Kim is held.
        let worker: WorkerId = h.services.entropy.id(h.clock.now());
        execution(&h, id(0), "SENDING", Some(worker), h.clock.now()).await;
        let held = Arguments::new().with(id(0).uuid()).with(worker.uuid());
        run(&h, "UPDATE lead SET worker_id = $2 WHERE id = $1", held).await;
        execution(&h, id(1), "UNCONFIRMED", None, h.clock.now()).await;
        let unconfirmed = "UPDATE lead SET hold = 'UNCONFIRMED', due_at = NULL WHERE id = $1";
        run(&h, unconfirmed, Arguments::new().with(id(1).uuid())).await;
        bulk(&h, "leadsPause", json!({ "ids": [leads[3]] })).await;

        let found = async |status: Value, within: bool| {
            let mut filter = json!({ "status": status });
            if within {
                filter["sequenceIds"] = json!([sequence]);
            }
            let order = json!({ "filter": filter, "orderBy": "ENROLLED_AT_ASC" });
            let found = page(&h, order).await;
            let nodes = found["nodes"].as_array().expect("leads");
            let mut ids: Vec<Value> = nodes.iter().map(|node| node["id"].clone()).collect();
            assert_eq!(found["totalCount"], ids.len());
            ids.sort_by_key(|id| leads.iter().position(|lead| id == lead));
            ids
        };
        for within in [false, true] {
            let of = |indices: &[usize]| -> Vec<Value> {
                indices.iter().map(|index| json!(leads[*index])).collect()
            };
            assert_eq!(found(json!(["IN_PROGRESS"]), within).await, of(&[0, 1]));
            assert_eq!(found(json!(["PENDING"]), within).await, of(&[2]));
            let both = json!(["PENDING", "IN_PROGRESS"]);
            assert_eq!(found(both, within).await, of(&[0, 1, 2]));
            let two = json!(["PAUSED", "IN_PROGRESS"]);
            assert_eq!(found(two, within).await, of(&[0, 1, 3]));
        }
        let query = "query($id: ID!) { sequence(id: $id) { leadCounts {
            total pending inProgress paused completed stopped } } }";
        let counts = h.data(query, json!({ "id": sequence })).await;
        assert_eq!(
            counts["sequence"]["leadCounts"],
            json!({ "total": 4, "pending": 1, "inProgress": 2, "paused": 1, "completed": 0,
                "stopped": 0 })
        );
    }
);
