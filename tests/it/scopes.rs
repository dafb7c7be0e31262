//! Tokens that are limited to some sequences: with one of them the rest of the workspace is as if it
//! were another one's.

use std::collections::BTreeSet;
use std::time::Duration;

use cadenza::app::Caller;
use cadenza::domain::bulk::BulkKind;
use cadenza::store;
use futures_util::StreamExt;
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::enrol::people;
use crate::harness::{Harness, both};
use crate::leads::enrolled;
use crate::requests::Requests;
use crate::roles::code;
use crate::sequences::{flow, sender};
use crate::served::{Heard, Served, Socket};
use crate::walls::{missing, objects, places, probe, told, types};

/// Makes a token that is limited to these sequences; answers its secret.
async fn token(h: &Harness, role: &str, sequences: &[&str]) -> String {
    let input = json!({ "name": "limited", "role": role, "sequenceIds": sequences });
    let made = h
        .mutate("tokenCreate", "TokenCreateInput", input, "secret")
        .await;
    made["secret"].as_str().expect("a secret").to_owned()
}

async fn caller(h: &Harness, role: &str, sequences: &[&str]) -> Caller {
    let secret = token(h, role, sequences).await;
    let access = &h.services.access;
    access.admit(&secret, None).await.expect("it lets in")
}

/// The same workspace, as somebody sees it.
fn as_seen_by(h: &Harness, caller: &Caller) -> Harness {
    Harness {
        services: h.services.clone(),
        clock: h.clock.clone(),
        schema: h.schema.clone(),
        admin: caller.clone(),
        editor: caller.clone(),
        viewer: caller.clone(),
        stranger: h.stranger.clone(),
        token: String::new(),
        url: h.url.clone(),
        shutdown: CancellationToken::new(),
    }
}

/// Everything of a sequence, as the admin sees it.
async fn everything(h: &Harness, sequence: &str) -> Value {
    let all = "query ($id: ID!) { sequence(id: $id) { name status revision
        leadCounts { total paused stopped completed } versions { nodes { id } }
        leads(first: 250) { nodes { id status stopReason dueAt person { id firstName updatedAt } } }
        executions(first: 250) { nodes { id status error { code } } } } }";
    h.data(all, json!({ "id": sequence })).await
}

both!(
    outside_of_its_sequences_an_id_is_like_one_that_is_not_there,
    |h: Harness| async move {
        let ours = objects(&h, &["ours"]).await;
        let theirs = objects(&h, &["theirs"]).await;
        let limited = as_seen_by(&h, &caller(&h, "EDITOR", &[ours.id("seq")]).await);
        let before = everything(&h, theirs.id("seq")).await;
        let mut wrong = Vec::new();
        let mut telling = 0;
        for place in places(&types(&h).await) {
            let probe = probe(&place, &ours).expect("`walls` has a probe for each place");
            for kind in probe.kinds {
                // Enrolling is choosing among all people: that one is there, and is enrolled.
                if place.starts_with("Mutation.leadsEnrol(") && kind.ends_with("person") {
                    continue;
                }
                told(&limited, &probe, &missing(&h, kind)).await;
                let of_missing = told(&limited, &probe, &missing(&h, kind)).await;
                let of_theirs = told(&limited, &probe, theirs.id(kind)).await;
                if of_missing != of_theirs || of_theirs.to_string().contains("theirs") {
                    wrong.push(format!(
                        "{place}, {kind}:\n  missing {of_missing}\n  theirs  {of_theirs}"
                    ));
                }
                if probe.document.starts_with("query") {
                    let of_ours = told(&limited, &probe, ours.id(kind)).await;
                    telling += u32::from(of_ours != of_missing);
                }
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(before, everything(&h, theirs.id("seq")).await);
        assert!(telling >= 12, "its own it does see: {telling}");
    }
);

/// What is the whole workspace's.
const WHOLE: &[&str] = &[
    "people",
    "peopleSelected",
    "pipelines",
    "opportunities",
    "pipelineCreate",
    "opportunityCreate",
    "opportunityMove",
    "workflows",
    "workflowCreate",
    "workflowUpdate",
    "senders",
    "sender",
    "dkimKeys",
    "dkimKeyCreate",
    "dkimKeyDelete",
    "dkimKeyUpdate",
    "tokens",
    "auditEntries",
    "personCreate",
    "personUpdate",
    "personDelete",
    "personMerge",
    "personOptOut",
    "peopleImport",
    "senderCreate",
    "senderCheck",
    "senderUpdate",
    "sequenceCreate",
    "sequenceDuplicate",
    "tokenCreate",
    "tokenRevoke",
    "webhookSubscriptions",
    "webhookSubscriptionCreate",
    "webhookSubscriptionDelete",
    "webhookSubscriptionReplay",
    "webhookSubscriptionRotateSecret",
    "webhookSubscriptionTest",
    "webhookSubscriptionUpdate",
    "workspace",
    "workspaceUpdate",
    "suppressions",
    "suppressionsAdd",
    "suppressionRemove",
];

/// What a limited token is served, within its sequences.
const WITHIN: &[&str] = &[
    "person",
    "node",
    "nodes",
    "events",
    "bulkOperation",
    "leadsSelected",
    "bulkOperationUndo",
    "sequence",
    "sequences",
    "lead",
    "leads",
    "execution",
    "executions",
    "tasks",
    "taskComplete",
    "currentToken",
    "executionEvents",
    "sequenceAnalytics",
    "sequenceUpdate",
    "sequencePublish",
    "sequenceDisable",
    "sequenceArchive",
    "sequenceUnarchive",
    "leadsEnrol",
    "leadsPause",
    "leadsResume",
    "leadsRemove",
    "executionResolve",
    "bulkOperationCancel",
];

both!(
    what_is_the_whole_workspaces_is_refused,
    |h: Harness| async move {
        let (sequence, _) = enrolled(&h, &["ada"]).await;
        let limited = caller(&h, "EDITOR", &[&sequence]).await;
        let requests = Requests::new(&h).await;
        let mut seen = BTreeSet::new();
        for (_, made) in requests.all() {
            let code = code(&h, Some(&limited), &made).await;
            let refused = WHOLE.contains(&made.field.as_str());
            assert_eq!(code == "FORBIDDEN", refused, "{}: {code:?}", made.field);
            seen.insert(made.field);
        }
        let known = [WHOLE, WITHIN].concat();
        let known: BTreeSet<String> = known.into_iter().map(str::to_owned).collect();
        assert_eq!(seen, known, "each root field is in one of the two lists");
        // A viewer may not change what it sees.
        let viewer = caller(&h, "VIEWER", &[&sequence]).await;
        let disable = format!(
            "mutation {{ sequenceDisable(input: {{ id: \"{sequence}\" }}) {{ sequence {{ status }} }} }}"
        );
        let answer = h.execute_as(&viewer, &disable, json!({})).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN");
        let answer = h.execute_as(&limited, &disable, json!({})).await;
        assert_eq!(
            answer["data"]["sequenceDisable"]["sequence"]["status"],
            "DISABLED"
        );
    }
);

both!(
    lists_and_counts_hold_what_is_its_own,
    |h: Harness| async move {
        let (ours, _) = enrolled(&h, &["ada", "bob"]).await;
        let (other, _) = enrolled(&h, &["cid"]).await;
        // Ada is in both.
        let ada = h
            .data(
                "{ people(filter: { search: \"ada\" }) { nodes { id } } }",
                json!({}),
            )
            .await["people"]["nodes"][0]["id"]
            .take();
        crate::enrol::enrol(&h, &other, json!({ "ids": [ada] })).await;
        let limited = as_seen_by(&h, &caller(&h, "VIEWER", &[&ours]).await);
        let all = limited
            .data(
                "{ sequences { totalCount nodes { id } } leads { totalCount nodes { sequence { id }
                person { email leads { totalCount nodes { sequence { id } } } } } }
               executions { totalCount } events(first: 250) { sequence { id } }
               currentToken { sequences { id } } }",
                json!({}),
            )
            .await;
        assert_eq!(
            all["sequences"],
            json!({ "totalCount": 1, "nodes": [{ "id": ours }] })
        );
        assert_eq!(all["leads"]["totalCount"], 2);
        for lead in all["leads"]["nodes"].as_array().expect("leads") {
            assert_eq!(lead["sequence"]["id"], ours.as_str());
            assert_eq!(lead["person"]["leads"]["totalCount"], 1, "{lead}");
            assert_eq!(
                lead["person"]["leads"]["nodes"],
                json!([{ "sequence": { "id": ours } }])
            );
        }
        let events = all["events"].as_array().expect("events");
        assert!(events.len() >= 3, "{events:?}");
        assert!(
            events
                .iter()
                .all(|event| event["sequence"]["id"] == ours.as_str())
        );
        assert_eq!(all["currentToken"]["sequences"], json!([{ "id": ours }]));
        // What is asked for is only ever narrowed.
        let asked = "query ($ids: [ID!]) { leads(filter: { sequenceIds: $ids }) { totalCount }
        executions(filter: { sequenceIds: $ids }) { totalCount }
        events(filter: { sequenceIds: $ids }) { kind } }";
        let none = limited.data(asked, json!({ "ids": [other] })).await;
        assert_eq!(
            none,
            json!({ "leads": { "totalCount": 0 }, "executions": { "totalCount": 0 }, "events": [] })
        );
        let both = limited.data(asked, json!({ "ids": [other, ours] })).await;
        assert_eq!(both["leads"]["totalCount"], 2);
    }
);

both!(bulk_operations_stay_within, |h: Harness| async move {
    let (ours, our_leads) = enrolled(&h, &["ada"]).await;
    let (other, other_leads) = enrolled(&h, &["bob"]).await;
    let limited = as_seen_by(&h, &caller(&h, "EDITOR", &[&ours]).await);
    let operation = "operation { id succeeded failed skipped outcomes { nodes { subject code } } }";
    let pause = async |leads: Value, key: &str| {
        let input = json!({ "leads": leads, "idempotencyKey": key });
        limited
            .try_mutate("leadsPause", "LeadsBulkInput", input, operation)
            .await
    };
    let by_id = pause(json!({ "ids": [&our_leads[0], &other_leads[0]] }), "one").await;
    assert_eq!(
        by_id["operation"]["outcomes"]["nodes"],
        json!([{ "subject": our_leads[0], "code": "DONE" }, { "subject": other_leads[0], "code": "NOT_FOUND" }])
    );
    limited
        .mutate(
            "leadsResume",
            "LeadsBulkInput",
            json!({ "leads": { "ids": [&our_leads[0]] } }),
            operation,
        )
        .await;
    let by_filter = pause(json!({ "filter": { "status": ["PENDING"] } }), "two").await;
    assert_eq!(by_filter["operation"]["succeeded"], 1, "{by_filter}");
    let status = |answer: &Value| answer["lead"]["status"].clone();
    let read = "query ($id: ID!) { lead(id: $id) { status } }";
    assert_eq!(
        status(&h.data(read, json!({ "id": other_leads[0] })).await),
        "PENDING"
    );
    assert_eq!(
        status(&h.data(read, json!({ "id": our_leads[0] })).await),
        "PAUSED"
    );

    // It enrols whom it chooses, into its own sequence alone.
    let new = people(&h, &["eve"]).await;
    let enrol = async |sequence: &str| {
        let input = json!({ "sequenceId": sequence, "people": { "ids": new } });
        limited
            .try_mutate("leadsEnrol", "LeadsEnrolInput", input, operation)
            .await
    };
    assert_eq!(enrol(&other).await["userErrors"][0]["code"], "NOT_FOUND");
    assert_eq!(enrol(&ours).await["operation"]["succeeded"], 1);
    // Whom a filter means would tell of everybody.
    let input = json!({ "sequenceId": ours, "people": { "filter": { "search": "bob" } } });
    let told = limited
        .try_mutate("leadsEnrol", "LeadsEnrolInput", input, operation)
        .await;
    assert_eq!(
        told["userErrors"][0]["path"],
        json!(["people", "filter"]),
        "{told}"
    );
});

both!(
    operations_are_seen_by_who_is_limited_alike,
    |h: Harness| async move {
        let (ours, our_leads) = enrolled(&h, &["ada"]).await;
        let (other, _) = enrolled(&h, &["bob"]).await;
        let limited = as_seen_by(&h, &caller(&h, "EDITOR", &[&ours]).await);
        let successor = as_seen_by(&h, &caller(&h, "EDITOR", &[&ours]).await);
        let wider = as_seen_by(&h, &caller(&h, "VIEWER", &[&other, &ours]).await);
        let elsewhere = as_seen_by(&h, &caller(&h, "EDITOR", &[&other]).await);
        let resume = async |who: &Harness| {
            let input = json!({ "leads": { "ids": [our_leads[0]] }, "idempotencyKey": "nightly" });
            let done = who
                .mutate("leadsResume", "LeadsBulkInput", input, "operation { id }")
                .await;
            done["operation"]["id"].as_str().expect("an id").to_owned()
        };
        // Each limit has its keys: none tells of another's, or takes it away.
        let theirs = resume(&h).await;
        let own = resume(&limited).await;
        assert_ne!(theirs, own);
        assert_ne!(resume(&elsewhere).await, own);
        assert_eq!(resume(&successor).await, own);
        assert_eq!(resume(&h).await, theirs);
        let look = "query ($id: ID!) { bulkOperation(id: $id) { id } node(id: $id) { id } }";
        let sees = async |who: &Harness, id: &str| {
            let seen = who.data(look, json!({ "id": id })).await;
            assert_eq!(seen["bulkOperation"], seen["node"]);
            !seen["node"].is_null()
        };
        for who in [&limited, &successor, &wider, &h] {
            assert!(sees(who, &own).await);
        }
        assert!(!sees(&elsewhere, &own).await);
        assert!(!sees(&limited, &theirs).await && !sees(&wider, &theirs).await);
        let cancel = async |who: &Harness, id: &str| {
            let input = json!({ "id": id });
            let select = "operation { id }";
            who.try_mutate("bulkOperationCancel", "BulkOperationIdInput", input, select)
                .await
        };
        let refused = cancel(&limited, &theirs).await;
        assert_eq!(refused["userErrors"][0]["code"], "NOT_FOUND");
        assert_eq!(cancel(&successor, &own).await["operation"]["id"], own);
        let mut followed = limited.follow(
            "subscription ($id: ID!) { bulkOperation(id: $id) { id } }",
            json!({ "id": theirs }),
        );
        let refused = followed.next().await.expect("an answer");
        assert!(refused.is_err(), "{refused:?}");
    }
);

/// Enters an operation that nobody has begun to carry out; answers its id.
async fn begun(h: &Harness, by: &Caller, kind: BulkKind, request: Value) -> String {
    let operation = store::bulk::NewOperation {
        id: h.services.entropy.id(h.clock.now()),
        kind,
        request,
        idempotency_key: None,
        request_hash: "x".into(),
        token: by.token,
        scope: by.scope.clone(),
        undoes: None,
    };
    store::bulk::insert(
        h.services.db.write(),
        by.workspace,
        &operation,
        h.clock.now(),
    )
    .await
    .expect("entered");
    operation.id.to_string()
}

both!(
    a_revocation_ends_what_was_begun_if_that_is_asked,
    |h: Harness| async move {
        let (ours, _) = enrolled(&h, &["ada"]).await;
        for ends in [false, true] {
            let limited = caller(&h, "EDITOR", &[&ours]).await;
            let operation = begun(&h, &limited, BulkKind::Pause, json!({})).await;
            let input = json!({ "id": limited.token.to_string(), "cancelOperations": ends });
            h.mutate("tokenRevoke", "TokenRevokeInput", input, "token { id }")
                .await;
            let read = "query ($id: ID!) { bulkOperation(id: $id) { status } }";
            let read = h.data(read, json!({ "id": operation })).await;
            let expected = if ends { "CANCELLED" } else { "QUEUED" };
            assert_eq!(read["bulkOperation"]["status"], expected);
        }
    }
);

both!(
    an_operation_that_is_limited_enrols_nowhere_else,
    |h: Harness| async move {
        let (ours, _) = enrolled(&h, &["ada"]).await;
        let (other, _) = enrolled(&h, &["bob"]).await;
        let limited = caller(&h, "EDITOR", &[&ours]).await;
        let new = people(&h, &["eve"]).await;
        // However it came to be there.
        let operation = begun(
            &h,
            &limited,
            BulkKind::Enrol,
            json!({ "sequenceId": other, "people": { "ids": new } }),
        )
        .await;
        crate::enrol::finish(&h).await;
        let read = "query ($id: ID!) { bulkOperation(id: $id) { status succeeded } }";
        let read = h.data(read, json!({ "id": operation })).await;
        assert_eq!(
            read["bulkOperation"],
            json!({ "status": "FAILED", "succeeded": 0 })
        );
    }
);

both!(
    a_flow_takes_the_senders_that_its_sequences_have,
    |h: Harness| async move {
        let own = sender(&h, "Own").await;
        let strange = sender(&h, "Strange").await;
        let make = async |senders: &[&str]| {
            let input = json!({ "name": "x", "flow": flow(&["one"], senders) });
            let made = h
                .mutate(
                    "sequenceCreate",
                    "SequenceCreateInput",
                    input,
                    "sequence { id }",
                )
                .await;
            made["sequence"]["id"].as_str().expect("an id").to_owned()
        };
        let ours = make(&[&own]).await;
        make(&[&strange]).await;
        let limited = as_seen_by(&h, &caller(&h, "EDITOR", &[&ours]).await);
        let update = async |senders: &[&str]| {
            let input = json!({ "id": ours, "flow": flow(&["one", "two"], senders) });
            let select = "sequence { problems { code } flow { steps { action { ... on EmailAction { senders { address } } } } } }";
            limited
                .try_mutate("sequenceUpdate", "SequenceUpdateInput", input, select)
                .await
        };
        let of_strange = update(&[&strange]).await;
        let missing = missing(&h, "sender");
        let of_missing = update(&[&missing]).await;
        for (answer, id) in [(of_strange, &strange), (of_missing, &missing)] {
            assert!(answer["sequence"].is_null());
            let error = &answer["userErrors"][0];
            assert_eq!(
                (&error["code"], &error["path"]),
                (&json!("NOT_FOUND"), &json!(["flow"]))
            );
            let message = error["message"].as_str().expect("a text");
            assert!(message.contains(id.as_str()), "{message}");
        }
        assert_eq!(update(&[&own]).await["userErrors"], json!([]));
        // Of another of its sequences, too.
        let both = as_seen_by(
            &h,
            &caller(&h, "EDITOR", &[&ours, &make(&[&strange]).await]).await,
        );
        let input = json!({ "id": ours, "flow": flow(&["one"], &[&strange]) });
        both.mutate(
            "sequenceUpdate",
            "SequenceUpdateInput",
            input,
            "sequence { id }",
        )
        .await;
    }
);

both!(
    what_attributes_people_have_is_not_told,
    |h: Harness| async move {
        let attributes = json!({ "city": "Porto" });
        let input = json!({ "firstName": "Ana", "attributes": attributes });
        h.mutate("personCreate", "PersonInput", input, "person { id }")
            .await;
        let task = json!({ "title": "{{ attributes.citty }}" });
        let steps = json!([{ "key": "one", "action": { "task": task } }]);
        let input = json!({ "name": "x", "flow": { "steps": steps } });
        let made = crate::sequences::done(&h, "sequenceCreate", input).await;
        let id = made["id"].as_str().expect("an id");
        let limited = as_seen_by(&h, &caller(&h, "EDITOR", &[id]).await);
        for (who, told) in [(&h, 1), (&limited, 0)] {
            let shown = "query ($id: ID!) { sequence(id: $id) { problems { message } } }";
            let shown = who.data(shown, json!({ "id": id })).await;
            let shown = shown["sequence"]["problems"].as_array().map(Vec::len);
            let input = json!({ "id": id, "dryRun": true });
            let found = crate::sequences::call(who, "sequencePublish", input).await;
            let found = found["problems"].as_array().map(Vec::len);
            assert_eq!((shown, found), (Some(told), Some(told)));
        }
    }
);

both!(a_person_is_seen_where_a_lead_is, |h: Harness| async move {
    let (ours, _) = enrolled(&h, &["ada"]).await;
    enrolled(&h, &["bob"]).await;
    let limited = as_seen_by(&h, &caller(&h, "VIEWER", &[&ours]).await);
    let people = h
        .data(
            "{ people { nodes { id email } } senders { id } }",
            json!({}),
        )
        .await;
    let seen =
        "query ($id: ID!) { person(id: $id) { email } node(id: $id) { ... on Person { email } } }";
    for person in people["people"]["nodes"].as_array().expect("people") {
        let seen = limited.data(seen, json!({ "id": person["id"] })).await;
        let expected = match person["email"] == "ada@example.com" {
            true => json!({ "email": person["email"] }),
            false => json!(null),
        };
        assert_eq!(seen, json!({ "person": expected, "node": expected }));
    }
    let node = "query ($id: ID!) { node(id: $id) { id } }";
    let sender = limited
        .data(node, json!({ "id": people["senders"][0]["id"] }))
        .await;
    assert!(sender["node"].is_null());
});

/// Every way from one object to another. One that is new stands in no list: whoever adds it looks whether
/// it leads a limited token to what it must not see.
const WAYS: &[&str] = &[
    "ApiToken.sequences",
    "EmailAction.senders",
    "Execution.lead",
    "Execution.sender",
    "Execution.sequence",
    "ExecutionConnection.nodes",
    "ExecutionEdge.node",
    "ExecutionEvent.execution",
    "ExecutionEvent.lead",
    "ExecutionEvent.sender",
    "ExecutionEvent.sequence",
    "Forecast.bottlenecks",
    "Lead.executions",
    "Lead.person",
    "Lead.sequence",
    "LeadConnection.nodes",
    "LeadEdge.node",
    "LeadsSelected.sample",
    "MessageAction.senders",
    "Person.leads",
    "Person.opportunities",
    "Pipeline.stages",
    "Sender.dkimKey",
    "SenderAnalytics.sender",
    "SenderCount.sender",
    "Sequence.executions",
    "Sequence.leads",
    "Sequence.publishedVersion",
    "Sequence.versions",
    "SequenceVersionConnection.nodes",
    "SequenceVersionEdge.node",
    "Task.lead",
    "TaskConnection.nodes",
    "TaskEdge.node",
];

both!(
    every_way_from_object_to_object_is_known,
    |h: Harness| async move {
        let requests = Requests::new(&h).await;
        let objects = [
            "Sequence",
            "SequenceVersion",
            "Lead",
            "Execution",
            "ExecutionEvent",
            "Task",
            "Person",
            "Pipeline",
            "Stage",
            "Opportunity",
            "Sender",
            "DkimKey",
            "ApiToken",
            "BulkOperation",
            "WebhookSubscription",
            "Workflow",
            "WorkflowRun",
            "Workspace",
        ];
        let mut ways = requests.ways_to(&objects);
        // Of these a limited token gets the page itself at the root, or not at all.
        ways.retain(|way| !WHOLE_PAGES.iter().any(|page| way.starts_with(page)));
        ways.retain(|way| !way.contains("Payload."));
        ways.sort();
        assert_eq!(ways, WAYS);
    }
);

/// What only a token of the whole workspace is given.
const WHOLE_PAGES: &[&str] = &[
    "ApiTokenConnection.",
    "ApiTokenEdge.",
    "AuditEntry.",
    "Opportunity.",
    "OpportunityConnection.",
    "OpportunityEdge.",
    "PersonConnection.",
    "PeopleSelected.",
    "PersonEdge.",
    "SequenceConnection.",
    "SequenceEdge.",
    "WebhookSubscription.",
    "Workflow.",
    "WorkflowRun.",
    "WorkflowRunConnection.",
    "WorkflowRunEdge.",
];

/// Follows with a token, once it stands.
async fn follow(server: &Served, secret: &str) -> Socket {
    let mut socket = server.socket().await;
    socket.init(secret).await;
    let document = "subscription { executionEvents { kind sequence { id } } }";
    socket.subscribe("s", document, json!({})).await;
    socket
}

both!(live_events_are_its_own, |h: Harness| async move {
    let (ours, our_leads) = enrolled(&h, &["ada"]).await;
    let (_, other_leads) = enrolled(&h, &["bob"]).await;
    let secret = token(&h, "VIEWER", &[&ours]).await;
    let server = Served::new(&h).await;
    // The same document: only who follows differs.
    let mut limited = follow(&server, &secret).await;
    let mut whole = follow(&server, &h.token).await;
    crate::harness::until("both follow", async || {
        (server.followers() == 2).then_some(())
    })
    .await;
    for lead in [&other_leads[0], &our_leads[0]] {
        crate::leads::bulk(&h, "leadsPause", json!({ "ids": [lead] })).await;
    }
    let heard =
        |message: &Value| message["payload"]["data"]["executionEvents"]["sequence"]["id"].clone();
    let first = whole.message().await;
    assert_ne!(heard(&first), ours.as_str());
    assert_eq!(heard(&whole.message().await), ours.as_str());
    assert_eq!(heard(&limited.message().await), ours.as_str());
    crate::leads::bulk(&h, "leadsResume", json!({ "ids": [other_leads[0]] })).await;
    whole.message().await;
    let more = tokio::time::timeout(Duration::from_millis(250), limited.hear()).await;
    assert!(more.is_err(), "nothing that is not its own: {more:?}");
    server.end().await;
});

both!(limits_that_are_none_are_refused, |h: Harness| async move {
    let (sequence, _) = enrolled(&h, &["ada"]).await;
    let theirs = as_seen_by(&h, &h.stranger);
    let (theirs, _) = enrolled(&theirs, &["bob"]).await;
    let refused = async |role: &str, sequences: Value| {
        let input = json!({ "name": "x", "role": role, "sequenceIds": sequences });
        let select = "token { id } secret";
        let answer = h
            .try_mutate("tokenCreate", "TokenCreateInput", input, select)
            .await;
        assert!(answer["secret"].is_null(), "{answer}");
        let error = &answer["userErrors"][0];
        assert_eq!(error["path"][0], "sequenceIds", "{answer}");
        error["code"].as_str().expect("a code").to_owned()
    };
    assert_eq!(refused("ADMIN", json!([sequence])).await, "INVALID");
    assert_eq!(refused("VIEWER", json!([])).await, "INVALID");
    assert_eq!(refused("VIEWER", json!(["lead_1"])).await, "INVALID");
    assert_eq!(refused("VIEWER", json!([theirs])).await, "NOT_FOUND");
    let missing = missing(&h, "seq");
    assert_eq!(
        refused("VIEWER", json!([sequence, missing])).await,
        "NOT_FOUND"
    );
    let many: Vec<&str> = vec![&sequence; 2_000];
    assert_eq!(refused("VIEWER", json!(many)).await, "INVALID");
});

both!(over_http_it_is_limited_too, |h: Harness| async move {
    let (ours, _) = enrolled(&h, &["ada"]).await;
    enrolled(&h, &["bob"]).await;
    let secret = token(&h, "VIEWER", &[&ours]).await;
    let server = Served::new(&h).await;
    let ask = json!({ "query": "{ sequences { totalCount } leads { totalCount } }" });
    let answer = server.post(&secret).json(&ask).send().await;
    let answer: Value = answer.expect("an answer").json().await.expect("JSON");
    assert_eq!(
        answer["data"],
        json!({ "sequences": { "totalCount": 1 }, "leads": { "totalCount": 1 } })
    );
    let mut socket = server.socket().await;
    socket.init(&secret).await;
    socket
        .subscribe(
            "q",
            "{ leads { totalCount } people { totalCount } }",
            json!({}),
        )
        .await;
    let Heard::Message(next) = socket.hear().await else {
        panic!("a result");
    };
    assert_eq!(
        next["payload"]["errors"][0]["extensions"]["code"], "FORBIDDEN",
        "{next}"
    );
    server.end().await;
});
