//! Executions through the API: pages, and settling what nobody knows.

use cadenza::domain::id::LeadId;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::{bulk, enrolled, execution, later, lead, run};
use crate::sequences::{done, flow, kinds, refusals};

both!(executions_are_paged_and_filtered, |h: Harness| async move {
    let (sequence, leads) = enrolled(&h, &["ada", "bob"]).await;
    let mut ids = Vec::new();
    for (id, status) in [(&leads[0], "FAILED"), (&leads[1], "SENT")] {
        later(&h, Duration::seconds(1));
        ids.push(
            execution(&h, id.parse().expect("an id"), status, None, h.clock.now())
                .await
                .to_string(),
        );
    }
    run(
        &h,
        "UPDATE execution SET finished_at = 5000 WHERE status = 'SENT'",
        Arguments::new(),
    )
    .await;
    let query = "query($filter: ExecutionFilter, $first: Int, $after: String) {
        executions(filter: $filter, first: $first, after: $after) {
            nodes { id } totalCount pageInfo { endCursor hasNextPage } } }";
    let found = async |filter: Value| {
        let found = h.data(query, json!({ "filter": filter })).await["executions"].take();
        let nodes = found["nodes"].as_array().expect("nodes").clone();
        assert_eq!(found["totalCount"], json!(nodes.len()), "{filter}");
        nodes
            .iter()
            .filter_map(|node| node["id"].as_str().map(str::to_owned))
            .collect::<Vec<_>>()
    };
    let newest_first = vec![ids[1].clone(), ids[0].clone()];
    assert_eq!(found(json!({})).await, newest_first);
    assert_eq!(
        found(json!({ "sequenceIds": [sequence], "channel": ["EMAIL"],
                             "stepKeys": ["one"] }))
        .await,
        newest_first
    );
    assert_eq!(found(json!({ "leadId": leads[0] })).await, ids[..1]);
    assert_eq!(found(json!({ "status": ["SENT"] })).await, ids[1..]);
    assert_eq!(
        found(json!({ "errorCode": ["INTERRUPTED"] })).await,
        ids[..1]
    );
    assert_eq!(
        found(json!({ "finishedAt": { "from": "1970-01-01T00:00:05Z" } })).await,
        ids[1..]
    );
    assert!(
        found(json!({ "finishedAt": { "to": "1970-01-01T00:00:05Z" } }))
            .await
            .is_empty()
    );
    assert!(found(json!({ "channel": ["SMS"] })).await.is_empty());
    assert!(found(json!({ "stepKeys": [] })).await.is_empty());
    let first = h.data(query, json!({ "first": 1 })).await;
    let after = &first["executions"]["pageInfo"]["endCursor"];
    let next = h.data(query, json!({ "first": 1, "after": after })).await;
    assert_eq!(next["executions"]["nodes"], json!([{ "id": ids[0] }]));
    assert_eq!(next["executions"]["pageInfo"]["hasNextPage"], false);

    let read =
        "query($id: ID!) { execution(id: $id) { stepKey variant channel status attempt subject
        messageId startedAt finishedAt error { code message response retryAt }
        sender { name } sequence { name executions { totalCount } }
        lead { executions(first: 1) { nodes { id } totalCount } } } }";
    let read = h.data(read, json!({ "id": ids[0] })).await["execution"].take();
    assert_eq!(
        read["error"],
        json!({ "code": "INTERRUPTED", "message": "It is not known.",
                                      "response": null, "retryAt": null })
    );
    assert_eq!(
        read["lead"]["executions"],
        json!({ "nodes": [{ "id": ids[0] }], "totalCount": 1 })
    );
    assert_eq!(
        read["sequence"],
        json!({ "name": "Outreach", "executions": { "totalCount": 2 } })
    );
    assert_eq!(
        (&read["sender"]["name"], &read["subject"]),
        (&json!("ada"), &json!("Hello"))
    );
    let theirs = h.execute_as(&h.stranger, query, json!({})).await;
    assert_eq!(theirs["data"]["executions"]["nodes"], json!([]));
});

/// Makes a lead's step one UNCONFIRMED, claimed an hour ago; answers the execution.
async fn unconfirmed(h: &Harness, lead: &str) -> String {
    let id: LeadId = lead.parse().expect("an id");
    let claimed_at = h.clock.now() - Duration::hours(1);
    let execution = execution(h, id, "UNCONFIRMED", None, claimed_at).await;
    run(
        h,
        "UPDATE lead SET due_at = NULL, hold = 'UNCONFIRMED'
        WHERE id = $1",
        Arguments::new().with(id.uuid()),
    )
    .await;
    execution.to_string()
}

const RESOLVED: &str = "execution { status attempt finishedAt error { code } lead { status dueAt
    messagesSent currentStep { key } blockers { code } } }";

async fn resolve(h: &Harness, execution: &str, was_sent: bool) -> Value {
    let input = json!({ "id": execution, "wasSent": was_sent });
    h.try_mutate("executionResolve", "ExecutionResolveInput", input, RESOLVED)
        .await
}

both!(
    what_left_after_all_lets_the_lead_go_on,
    |h: Harness| async move {
        let (_, leads) = enrolled(&h, &["ada"]).await;
        later(&h, Duration::days(1));
        let id = unconfirmed(&h, &leads[0]).await;
        let blocked = lead(&h, &leads[0]).await;
        assert_eq!(
            blocked["blockers"],
            json!([{ "code": "UNCONFIRMED", "until": null }])
        );
        later(&h, Duration::hours(3));
        let settled = resolve(&h, &id, true).await;
        // It was claimed on Tuesday at eight; a day later, the window opens at nine.
        assert_eq!(
            settled,
            json!({ "userErrors": [], "execution": {
        "status": "SENT", "attempt": 1, "finishedAt": "2026-03-03T08:00:00.000Z", "error": null,
        "lead": { "status": "PENDING", "dueAt": "2026-03-04T09:00:00.000Z", "messagesSent": 1,
                  "currentStep": { "key": "two" }, "blockers": [{ "code": "WAITING" }] } } })
        );
        assert_eq!(resolve(&h, &id, true).await, settled, "twice is no error");
        assert_eq!(
            refusals(&resolve(&h, &id, false).await),
            [("WRONG_STATE".into(), "id".into())]
        );
        assert_eq!(kinds(&h).await[2..], ["EXECUTION_SENT", "LEAD_ADVANCED"]);
        let thread = sql::number(
            h.services.db.read(),
            "SELECT count(*) AS n FROM lead WHERE turn = 0 AND thread IS NOT NULL",
            Arguments::new(),
        );
        assert_eq!(thread.await.expect("a number"), 1);
    }
);

both!(what_did_not_leave_is_due_again, |h: Harness| async move {
    let (_, leads) = enrolled(&h, &["ada", "bob"]).await;
    let id = unconfirmed(&h, &leads[0]).await;
    let settled = resolve(&h, &id, false).await;
    assert_eq!(
        settled,
        json!({ "userErrors": [], "execution": {
        "status": "SCHEDULED", "attempt": 1, "finishedAt": null, "error": null,
        "lead": { "status": "PENDING", "dueAt": "2026-03-02T09:00:00.000Z", "messagesSent": 0,
                  "currentStep": { "key": "one" }, "blockers": [] } } })
    );
    assert_eq!(resolve(&h, &id, false).await, settled, "twice is no error");
    // Of a lead that is over by now nothing is sent again.
    let id = unconfirmed(&h, &leads[1]).await;
    bulk(&h, "leadsRemove", json!({ "ids": [&leads[1]] })).await;
    let settled = resolve(&h, &id, false).await["execution"].take();
    assert_eq!(
        (
            &settled["status"],
            &settled["error"]["code"],
            &settled["lead"]["status"]
        ),
        (&json!("FAILED"), &json!("INTERRUPTED"), &json!("STOPPED"))
    );

    let document = "mutation($input: ExecutionResolveInput!) { executionResolve(input: $input) {
        execution { id } userErrors { code path } } }";
    let variables = json!({ "input": { "id": id, "wasSent": true } });
    let viewer = h.execute_as(&h.viewer, document, variables.clone()).await;
    assert_eq!(
        viewer["errors"][0]["extensions"]["code"], "FORBIDDEN",
        "{viewer}"
    );
    let theirs = h.execute_as(&h.stranger, document, variables).await;
    let refused = json!({ "execution": null,
        "userErrors": [{ "code": "NOT_FOUND", "path": ["id"] }] });
    assert_eq!(theirs["data"]["executionResolve"], refused);
});

both!(
    an_attempt_that_was_to_follow_ends_when_its_lead_leaves_the_step,
    |h: Harness| async move {
        let (sequence, leads) = enrolled(&h, &["ada", "bob", "eve"]).await;
        let mut waiting = Vec::new();
        for lead in &leads {
            let lead = lead.parse().expect("an id");
            let id = execution(&h, lead, "SCHEDULED", None, h.clock.now()).await;
            waiting.push(id.to_string());
        }
        let retry = "UPDATE execution SET retry_at = 2000000000000";
        run(&h, retry, Arguments::new()).await;
        let shown = async |id: &str| {
            let query = "query($id: ID!) { execution(id: $id) {
                status finishedAt error { code retryAt } } }";
            h.data(query, json!({ "id": id })).await["execution"].take()
        };
        let given_up = json!({ "status": "FAILED", "finishedAt": "2026-03-02T09:00:00.000Z",
            "error": { "code": "INTERRUPTED", "retryAt": null } });

        let change = json!({ "leads": { "ids": [leads[0]] } });
        let removed = h
            .try_mutate(
                "leadsRemove",
                "LeadsBulkInput",
                change,
                "operation { status }",
            )
            .await;
        assert_eq!(removed["operation"]["status"], "COMPLETED");
        assert_eq!(shown(&waiting[0]).await, given_up);
        // Whoever is only held is tried again when it goes on.
        let change = json!({ "leads": { "ids": [leads[1]] } });
        h.try_mutate(
            "leadsPause",
            "LeadsBulkInput",
            change,
            "operation { status }",
        )
        .await;
        assert_eq!(shown(&waiting[1]).await["status"], "SCHEDULED");

        // Published without the step where they wait.
        done(&h, "sequenceDisable", json!({ "id": sequence })).await;
        let senders = h.data("{ senders { id } }", json!({})).await;
        let sender = &senders["senders"][0]["id"];
        let flow = flow(&["two"], &[sender.as_str().expect("an id")]);
        done(
            &h,
            "sequenceUpdate",
            json!({ "id": sequence, "flow": flow }),
        )
        .await;
        done(&h, "sequencePublish", json!({ "id": sequence })).await;
        for id in &waiting {
            assert_eq!(shown(id).await, given_up);
        }
        let events = "{ events(filter: { kinds: [EXECUTION_FAILED] }, first: 250) { detail } }";
        let told = h.data(events, json!({})).await;
        assert_eq!(told["events"].as_array().map(Vec::len), Some(3), "{told}");
    }
);
