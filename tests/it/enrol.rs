//! Enrolling people: every outcome, by ids and by filter, again, and by many at the same time.

use cadenza::bulk::runner::Runner;
use cadenza::domain::id::{PersonId, WorkerId};
use cadenza::store::sql::{self, Arguments};
use cadenza::store::worker;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::sequences::{done, flow, kinds, published, refusals, sender};

const OPERATION: &str = "operation { id status total processed succeeded skipped failed
    outcomes(first: 250) { nodes { subject code message } } }";

/// Enters these people by their email addresses and answers their ids, in the same order.
pub async fn people(h: &Harness, names: &[&str]) -> Vec<String> {
    let mut ids = Vec::new();
    for name in names {
        let input = json!({ "email": format!("{name}@example.com"), "firstName": name });
        let made = h
            .mutate("personCreate", "PersonInput", input, "person { id }")
            .await;
        ids.push(made["person"]["id"].as_str().expect("an id").to_owned());
    }
    ids
}

/// Enters many people at once: p0@example.com and so on.
pub async fn many(h: &Harness, count: usize) {
    let lines = (0..count).map(|n| format!("p{n}@example.com\n"));
    let csv: String = std::iter::once("email\n".to_owned()).chain(lines).collect();
    import(h, json!({ "csv": csv })).await;
    finish(h).await;
}

/// Submits a file of people and answers the operation, with its id.
pub async fn import(h: &Harness, input: Value) -> Value {
    let select = "operation { id }";
    h.mutate("peopleImport", "PeopleImportInput", input, select)
        .await["operation"]
        .take()
}

/// Submits an enrolment and answers its operation.
pub async fn enrol(h: &Harness, sequence: &str, people: Value) -> Value {
    let input = json!({ "sequenceId": sequence, "people": people });
    h.mutate("leadsEnrol", "LeadsEnrolInput", input, OPERATION)
        .await["operation"]
        .take()
}

/// The codes of an operation's outcomes, in their order.
pub fn codes(operation: &Value) -> Vec<&str> {
    let nodes = operation["outcomes"]["nodes"].as_array().expect("outcomes");
    nodes
        .iter()
        .filter_map(|node| node["code"].as_str())
        .collect()
}

/// Carries out whatever is left of bulk operations.
pub async fn finish(h: &Harness) {
    let now = h.clock.now();
    let id: WorkerId = h.services.entropy.id(now);
    let lease = now + chrono::Duration::hours(1);
    worker::register(h.services.db.write(), id, now, lease)
        .await
        .expect("registered");
    let mut runner = Runner::new(h.services.clone(), move || id);
    while runner.round().await.expect("a round") == cadenza::bulk::runner::Round::More {}
    worker::remove(h.services.db.write(), id)
        .await
        .expect("removed");
}

async fn counts(h: &Harness, sequence: &str) -> Value {
    let query = "query($id: ID!) { sequence(id: $id) {
        leadCounts { pending inProgress completed paused stopped total } } }";
    h.data(query, json!({ "id": sequence })).await["sequence"]["leadCounts"].take()
}

async fn number(h: &Harness, statement: &str) -> i64 {
    sql::number(h.services.db.read(), statement, Arguments::new())
        .await
        .expect("a number")
}

/// Nobody may write an email to the address.
pub async fn suppress(h: &Harness, address: &str, reason: &str) {
    suppress_on(h, "EMAIL", address, reason).await;
}

/// Nobody may contact the address on this channel.
pub async fn suppress_on(h: &Harness, channel: &str, address: &str, reason: &str) {
    sql::execute(
        h.services.db.write(),
        "INSERT INTO suppression (workspace_id, channel, address, reason, created_at)
         VALUES ($1, $2, $3, $4, 0)",
        Arguments::new()
            .with(h.admin.workspace.uuid())
            .with(channel)
            .with(address)
            .with(reason),
    )
    .await
    .expect("suppressed");
}

both!(each_person_has_its_outcome, |h: Harness| async move {
    let (sequence, sender) = published(&h, &["one", "two"]).await;
    let ids = people(&h, &["ada", "bob", "eve", "dan"]).await;
    suppress(&h, "bob@example.com", "BOUNCED").await;
    suppress(&h, "eve@example.com", "UNSUBSCRIBED").await;
    let input = json!({ "phone": "+351912345678" });
    let made = h
        .mutate("personCreate", "PersonInput", input, "person { id }")
        .await;
    let without_email = made["person"]["id"].as_str().expect("an id").to_owned();
    let create = "mutation { personCreate(input: { email: \"x@example.com\" }) { person { id } } }";
    let theirs = h.execute_as(&h.stranger, create, json!({})).await;
    let theirs = theirs["data"]["personCreate"]["person"]["id"]
        .as_str()
        .expect("an id")
        .to_owned();
    let missing: PersonId = h.services.entropy.id(h.clock.now());
    assert_eq!(
        codes(&enrol(&h, &sequence, json!({ "ids": [&ids[3]] })).await),
        ["DONE"]
    );

    let asked = [
        &ids[0],
        &ids[1],
        &ids[2],
        &ids[3],
        &without_email,
        &theirs,
        &missing.to_string(),
        &ids[0],
        &ids[1],
    ];
    let operation = enrol(&h, &sequence, json!({ "ids": asked })).await;
    assert_eq!(
        codes(&operation),
        [
            "DONE",
            "SUPPRESSED",
            "OPTED_OUT",
            "ALREADY_ENROLLED",
            "NO_ADDRESS",
            "NOT_FOUND",
            "NOT_FOUND",
            "ALREADY_ENROLLED",
            "SUPPRESSED"
        ]
    );
    assert_eq!(operation["status"], "COMPLETED", "{operation}");
    let told = ["total", "processed", "succeeded", "skipped", "failed"]
        .map(|name| operation[name].as_i64());
    assert_eq!(told, [9, 9, 1, 6, 2].map(Some));
    let subjects = operation["outcomes"]["nodes"].as_array().expect("outcomes");
    let subjects: Vec<_> = subjects
        .iter()
        .filter_map(|node| node["subject"].as_str())
        .collect();
    assert_eq!(subjects, asked.map(String::as_str));

    let query = "query($id: ID!) { person(id: $id) { leads { totalCount nodes {
        status stopReason dueAt messagesSent enrolledAt enrolledBy lastActionAt
        sequence { id } currentStep { key } blockers { code until }
        engagement { opens clicks replies bounced unsubscribed lastEngagedAt } } } } }";
    let read = h.data(query, json!({ "id": ids[0] })).await;
    let due = "2026-03-03T09:00:00.000Z";
    assert_eq!(
        read["person"]["leads"],
        json!({ "totalCount": 1, "nodes": [{
        "status": "PENDING", "stopReason": null, "dueAt": due, "messagesSent": 0,
        "enrolledAt": "2026-03-02T09:00:00.000Z", "enrolledBy": "API", "lastActionAt": null,
        "sequence": { "id": sequence }, "currentStep": { "key": "one" },
        "blockers": [{ "code": "WAITING", "until": due }],
        "engagement": { "opens": 0, "clicks": 0, "replies": 0, "bounced": false,
                        "unsubscribed": false, "lastEngagedAt": null } }] })
    );
    let first = number(
        &h,
        "SELECT count(*) AS n FROM lead WHERE turn = 1 AND round = 1
        AND sender_id IS NOT NULL AND bucket >= 0 AND anchor_at = enrolled_at",
    )
    .await;
    assert_eq!(first, 2);
    assert_eq!(counts(&h, &sequence).await["total"], 2);
    let enrolled = "{ events(filter: { kinds: [LEAD_ENROLLED] }) { stepKey sender { id }
        lead { person { email } } } }";
    let events = h.data(enrolled, json!({})).await;
    let event = |email| {
        json!({ "stepKey": "one", "sender": { "id": sender },
                                "lead": { "person": { "email": email } } })
    };
    assert_eq!(
        events["events"],
        json!([event("dan@example.com"), event("ada@example.com")])
    );
});

both!(
    a_filter_chooses_among_those_who_were_there,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        many(&h, 2_300).await;
        let begun = enrol(
            &h,
            &sequence,
            json!({ "filter": { "search": "example.com" } }),
        )
        .await;
        assert_eq!(
            (&begun["status"], &begun["total"]),
            (&json!("RUNNING"), &json!(2_300))
        );
        h.clock
            .advance_to(h.clock.now() + chrono::Duration::milliseconds(5));
        people(&h, &["late"]).await;
        finish(&h).await;
        let query = "query($id: ID!) { bulkOperation(id: $id) {
        status total processed succeeded skipped failed } }";
        let over = h.data(query, json!({ "id": begun["id"] })).await;
        assert_eq!(
            over["bulkOperation"],
            json!({ "status": "COMPLETED", "total": 2_300,
        "processed": 2_300, "succeeded": 2_300, "skipped": 0, "failed": 0 })
        );
        assert_eq!(counts(&h, &sequence).await["pending"], 2_300);
        // Those who are there already are told so.
        let everybody = enrol(&h, &sequence, json!({ "filter": { "has": ["EMAIL"] } })).await;
        finish(&h).await;
        let over = h.data(query, json!({ "id": everybody["id"] })).await;
        assert_eq!(over["bulkOperation"]["succeeded"], 1);
        assert_eq!(over["bulkOperation"]["skipped"], 2_300);
        let distinct = number(&h, "SELECT count(DISTINCT person_id) AS n FROM lead").await;
        assert_eq!(distinct, 2_301);
    }
);

both!(a_second_run_must_be_asked_for, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let ids = people(&h, &["ada", "bob"]).await;
    enrol(&h, &sequence, json!({ "ids": ids })).await;
    let leads = h
        .data(
            "{ leads(filter: { search: \"ada\" }) { nodes { id } } }",
            json!({}),
        )
        .await;
    let input = json!({ "leads": { "ids": [leads["leads"]["nodes"][0]["id"]] } });
    h.mutate("leadsRemove", "LeadsBulkInput", input, "operation { id }")
        .await;
    let again = enrol(&h, &sequence, json!({ "ids": ids })).await;
    assert_eq!(codes(&again), ["ALREADY_ENROLLED", "ALREADY_ENROLLED"]);
    let input = json!({ "sequenceId": sequence, "people": { "ids": ids }, "reEnrol": true });
    let again = h
        .mutate("leadsEnrol", "LeadsEnrolInput", input, OPERATION)
        .await;
    assert_eq!(codes(&again["operation"]), ["DONE", "ALREADY_ENROLLED"]);
    assert_eq!(
        number(&h, "SELECT count(*) AS n FROM lead WHERE round = 2").await,
        1
    );
    let counted = counts(&h, &sequence).await;
    assert_eq!(
        counted,
        json!({ "pending": 2, "inProgress": 0, "completed": 0, "paused": 0,
                                "stopped": 1, "total": 3 })
    );
});

both!(
    what_cannot_be_enrolled_is_refused_at_once,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let input = json!({ "name": "Draft", "flow": flow(&["one"], &[&ada]) });
        let draft = done(&h, "sequenceCreate", input).await;
        let ids = people(&h, &["bob"]).await;
        let refuse = async |sequence: &Value, people: Value| {
            let input = json!({ "sequenceId": sequence, "people": people });
            let payload = h
                .try_mutate("leadsEnrol", "LeadsEnrolInput", input, OPERATION)
                .await;
            assert_eq!(payload["operation"], Value::Null);
            refusals(&payload)
        };
        let one = |code: &str, path: &str| vec![(code.to_owned(), path.to_owned())];
        let to_draft = refuse(&draft["id"], json!({ "ids": ids })).await;
        assert_eq!(to_draft, one("WRONG_STATE", "sequenceId"));
        done(&h, "sequencePublish", json!({ "id": draft["id"] })).await;
        let id = &draft["id"];
        let missing = json!("seq_00000000000000000000000007");
        assert_eq!(
            refuse(&missing, json!({ "ids": ids })).await,
            one("NOT_FOUND", "sequenceId")
        );
        assert_eq!(
            refuse(id, json!({ "ids": [] })).await,
            one("INVALID", "people.ids")
        );
        let wrong = refuse(id, json!({ "ids": [&ids[0], ada] })).await;
        assert_eq!(wrong, one("INVALID", "people.ids.1"));
        let wrong = refuse(id, json!({ "filter": { "ids": ["junk"] } })).await;
        assert_eq!(wrong, one("INVALID", "people.filter.ids.0"));
        let too_many = vec!["person_00000000000000000000000007"; 20_001];
        assert_eq!(
            refuse(id, json!({ "ids": too_many })).await,
            one("LIMIT", "people.ids")
        );

        let document = "mutation($input: LeadsEnrolInput!) {
        leadsEnrol(input: $input) { operation { id } userErrors { code path } } }";
        let variables = |people: Value| json!({ "input": { "sequenceId": id, "people": people } });
        let both = variables(json!({ "ids": ids, "filter": {} }));
        let answer = h.execute(document, both).await;
        assert_eq!(
            answer["errors"][0]["extensions"]["code"], "GRAPHQL_VALIDATION_FAILED",
            "{answer}"
        );
        let viewer = h
            .execute_as(&h.viewer, document, variables(json!({ "ids": ids })))
            .await;
        assert_eq!(
            viewer["errors"][0]["extensions"]["code"], "FORBIDDEN",
            "{viewer}"
        );
        let theirs = h
            .execute_as(&h.stranger, document, variables(json!({ "ids": ids })))
            .await;
        assert_eq!(
            theirs["data"]["leadsEnrol"]["userErrors"][0]["code"], "NOT_FOUND",
            "{theirs}"
        );
        assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 0);
    }
);

both!(
    a_sequence_that_is_disabled_meanwhile_takes_nobody_more,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        many(&h, 1_800).await;
        let begun = enrol(&h, &sequence, json!({ "filter": { "search": "example" } })).await;
        assert_eq!(begun["status"], "RUNNING");
        done(&h, "sequenceDisable", json!({ "id": sequence })).await;
        finish(&h).await;
        let query = "query($id: ID!) { bulkOperation(id: $id) { status processed succeeded failed
        outcomes(code: [INVALID], first: 1) { nodes { message } } } }";
        let over = h.data(query, json!({ "id": begun["id"] })).await["bulkOperation"].take();
        assert_eq!(
            (&over["status"], &over["processed"]),
            (&json!("COMPLETED"), &json!(1_800))
        );
        let enrolled = number(&h, "SELECT count(*) AS n FROM lead").await;
        assert_eq!(over["succeeded"], enrolled);
        assert_eq!(over["failed"], 1_800 - enrolled);
        let message = over["outcomes"]["nodes"][0]["message"]
            .as_str()
            .unwrap_or_default();
        assert!(message.contains("publish it again"), "{over}");
    }
);

both!(
    overlapping_enrolments_at_the_same_time_make_one_lead_each,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        many(&h, 120).await;
        let found = h
            .data("{ people(first: 250) { nodes { id } } }", json!({}))
            .await;
        let nodes = found["people"]["nodes"].as_array().expect("people");
        let ids: Vec<&Value> = nodes.iter().map(|node| &node["id"]).collect();
        let (h, sequence) = (&h, &sequence);
        let tasks = (0..6_usize).map(|task| {
            let mut part: Vec<&Value> = ids.iter().skip(task * 12).take(60).copied().collect();
            // In different orders, so that they meet in the middle.
            if task % 2 == 1 {
                part.reverse();
            }
            async move { enrol(h, sequence, json!({ "ids": part })).await }
        });
        let operations = futures_util::future::join_all(tasks).await;
        let all: Vec<&str> = operations.iter().flat_map(codes).collect();
        let done = all.iter().filter(|code| **code == "DONE").count();
        assert_eq!((all.len(), done), (360, 120));
        assert!(
            all.iter()
                .all(|code| ["DONE", "ALREADY_ENROLLED"].contains(code)),
            "{all:?}"
        );
        assert_eq!(number(h, "SELECT count(*) AS n FROM lead").await, 120);
        assert_eq!(
            number(h, "SELECT count(DISTINCT person_id) AS n FROM lead").await,
            120
        );
        let enrolled = kinds(h)
            .await
            .iter()
            .filter(|kind| *kind == "LEAD_ENROLLED")
            .count();
        assert_eq!(enrolled, 120);
    }
);

both!(a_key_enrols_once, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let ids = people(&h, &["ada", "bob"]).await;
    let input = |people: &[String]| {
        json!({ "sequenceId": sequence, "people": { "ids": people },
                                            "idempotencyKey": "monday" })
    };
    let submit = async |input: Value| {
        h.try_mutate("leadsEnrol", "LeadsEnrolInput", input, OPERATION)
            .await
    };
    let first = submit(input(&ids[..1])).await;
    assert_eq!(codes(&first["operation"]), ["DONE"]);
    assert_eq!(submit(input(&ids[..1])).await, first);
    let other = submit(input(&ids)).await;
    assert_eq!(
        refusals(&other),
        [("CONFLICT".to_owned(), "idempotencyKey".to_owned())]
    );
    done(&h, "sequenceDisable", json!({ "id": sequence })).await;
    assert_eq!(
        submit(input(&ids[..1])).await,
        first,
        "whatever became of the sequence"
    );
    assert_eq!(counts(&h, &sequence).await["total"], 1);
});

both!(
    the_first_step_is_due_on_the_clock_that_the_settings_choose,
    |h: Harness| async move {
        let ada = sender(&h, "ada").await;
        let windows = json!([{ "day": "MONDAY", "from": "09:00", "to": "17:00" },
                         { "day": "TUESDAY", "from": "09:00", "to": "17:00" }]);
        let mut due = Vec::new();
        for (number, zone) in ["Asia/Tokyo", "America/New_York"].into_iter().enumerate() {
            let input = json!({ "email": format!("z{number}@example.com"), "timeZone": zone });
            h.mutate("personCreate", "PersonInput", input, "person { id }")
                .await;
        }
        people(&h, &["nowhere"]).await;
        for clock in ["CONTACT", "SEQUENCE", "SENDER"] {
            let mut flow = flow(&["one"], &[&ada]);
            flow["steps"][0]["wait"] = json!("PT0S");
            let input = json!({ "name": clock, "flow": flow, "settings": {
            "timeZone": "Europe/Lisbon", "windowClock": clock, "sendWindows": windows } });
            let made = done(&h, "sequenceCreate", input).await;
            let id = made["id"].as_str().expect("an id").to_owned();
            done(&h, "sequencePublish", json!({ "id": id })).await;
            enrol(&h, &id, json!({ "filter": { "has": ["EMAIL"] } })).await;
            let query = "query($id: ID!) { sequence(id: $id) { leads(orderBy: ENROLLED_AT_ASC) {
            nodes { dueAt person { email } } } } }";
            let read = h.data(query, json!({ "id": id })).await;
            let nodes = read["sequence"]["leads"]["nodes"]
                .as_array()
                .expect("leads")
                .clone();
            let mut one: Vec<(String, String)> = nodes
                .iter()
                .map(|node| [&node["person"]["email"], &node["dueAt"]].map(|v| v.to_string()))
                .map(|[email, due]| (email[1..3].to_owned(), due[1..17].to_owned()))
                .collect();
            one.sort();
            due.push(
                one.into_iter()
                    .map(|(_, due)| due)
                    .collect::<Vec<_>>()
                    .join(" "),
            );
        }
        // Monday, 09:00 in UTC: closed in Tokyo, where Tuesday opens at midnight UTC, and not yet open
        // in New York; who has no clock lives by the sequence's.
        assert_eq!(
            due,
            [
                "2026-03-02T09:00 2026-03-03T00:00 2026-03-02T14:00",
                "2026-03-02T09:00 2026-03-02T09:00 2026-03-02T09:00",
                "2026-03-02T09:00 2026-03-02T09:00 2026-03-02T09:00",
            ]
        );
    }
);
