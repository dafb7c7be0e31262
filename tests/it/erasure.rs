//! Erasing people: nothing that says who they were stays anywhere, and what was counted does.

use cadenza::app::analytics::verify::{Found, verify};
use cadenza::channel::dispatch::Kept;
use cadenza::domain::outcome::{Outcome, Phase};
use cadenza::engine::record::Ending;
use cadenza::engine::{Claimed, Engine};
use cadenza::store::dialect;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::{codes, enrol, finish, import, suppress};
use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, node, settle};
use crate::pipelines::{opportunity, pipeline};
use crate::sequences::sender;
use crate::steps::{email, person, running, seen};

const PHONE: &str = "+351912345001";
/// What is in every text about the person.
const SECRET: &str = "zzq";

/// A person who has that in each of its fields.
pub async fn known(h: &Harness) -> String {
    let fields = json!({
        "email": "Ada.Zzq@example.org", "phone": PHONE, "firstName": "Ada-zzq",
        "lastName": "zzq-Lovelace", "company": "zzq Ltd", "title": "zzq of zzq",
        "linkedinUrl": "https://social.example.com/in/zzq", "timeZone": "Europe/Lisbon",
        "country": "PT", "attributes": { "zzq": "zzq", "n": 1 },
    });
    person(h, fields).await
}

pub async fn delete(h: &Harness, id: &str) -> Value {
    let select = "person { id email phone linkedinUrl firstName lastName company title timeZone
        country attributes optedOut erasedAt }";
    h.mutate("personDelete", "PersonIdInput", json!({ "id": id }), select)
        .await["person"]
        .take()
}

/// What a statement finds, whose one column is `name`.
async fn text(h: &Harness, statement: &str) -> Vec<String> {
    let rows = sql::rows(h.services.db.read(), statement, Arguments::new()).await;
    let rows = rows.expect("rows");
    rows.iter()
        .map(|row| row.try_get::<String>("", "name").expect("a text"))
        .collect()
}

/// Every table of the database, as its catalogue has them.
async fn all_tables(h: &Harness) -> Vec<String> {
    let tables = match dialect::is_shared(h.services.db.read()) {
        true => "SELECT tablename::text AS name FROM pg_tables WHERE schemaname = 'public'",
        // SQLite's own tables are about indexes.
        false => "SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'",
    };
    text(h, tables).await
}

/// Every row of the database as text, with its table.
async fn everything(h: &Harness) -> Vec<String> {
    let shared = dialect::is_shared(h.services.db.read());
    let mut all = Vec::new();
    for table in all_tables(h).await {
        let statement = match shared {
            true => format!("SELECT t::text AS name FROM {table} AS t"),
            false => {
                let columns = format!("SELECT name FROM pragma_table_info('{table}')");
                let columns = text(h, &columns).await;
                let written: Vec<String> = columns
                    .iter()
                    .map(|name| format!("quote({name})"))
                    .collect();
                format!("SELECT {} AS name FROM {table}", written.join(" || "))
            }
        };
        let rows = text(h, &statement).await.into_iter();
        all.extend(rows.map(|row| format!("{table}: {row}")));
    }
    all
}

/// The rows that tell something of the person.
pub async fn telling(h: &Harness) -> Vec<String> {
    let mut all = everything(h).await;
    all.retain(|row| row.to_lowercase().contains(SECRET) || row.contains(&PHONE[1..]));
    all
}

async fn claim(engine: &Engine) -> Vec<Claimed> {
    let claim = engine.claim(10, &|_| 10).await.expect("claims");
    claim.messages
}

async fn record(engine: &Engine, claimed: Vec<Claimed>, outcome: &Outcome) {
    let kept = Kept {
        recipient: "ada.zzq@example.org".into(),
        content: "Dear zzq".into(),
    };
    let sent = matches!(outcome, Outcome::Sent { .. });
    let ended: Vec<_> = claimed
        .into_iter()
        .map(|one| {
            let kept = sent.then(|| kept.clone());
            (one, Ending::Dispatched(outcome.clone(), kept))
        })
        .collect();
    engine.record(&ended).await.expect("records");
}

fn sent() -> Outcome {
    Outcome::Sent {
        response: "250 ok zzq".into(),
    }
}

fn refused() -> Outcome {
    Outcome::refused(Phase::Rcpt, 451, "4.3.0 ada.zzq@example.org is away")
}

/// Emails that greet, a task about the person, and an email behind it.
async fn lead_of(h: &Harness, person: &str) -> String {
    let ada = sender(h, "ada").await;
    let greeting = |key: &str| {
        json!({ "key": key, "action": { "email": { "senderIds": [&ada],
            "variants": [{ "subject": "Hi {{ first_name }}", "text": "Dear {{ last_name }}" }] } } })
    };
    let mut first = greeting("first");
    first["next"] = json!("call");
    let steps = json!([first,
        { "key": "call", "next": "last", "action": { "task": { "channel": "CALL",
            "title": "Call {{ first_name }}", "instructions": "On {{ phone }}" } } },
        greeting("last")]);
    running(h, steps, json!({}), &[person]).await.remove(0)
}

/// Tables that hold nothing of a person, or only ids, and `suppression`, which stays. What is added to the
/// schema is seeded in [`history`], or comes here.
const WITHOUT_TRACES: &[&str] = &[
    "api_token",
    "audit_entry",
    "audit_object",
    // A file whose import is not over.
    "bulk_input",
    "bulk_outcome",
    // What a provider told of a message: no number, no words.
    "early_receipt",
    "event_counter",
    "instance",
    "lane",
    "pipeline",
    "quota",
    "seaql_migrations",
    "sequence",
    "sequence_version",
    "stage",
    "suppression",
    "token_use",
    "upload",
    "worker",
    // Addresses of receivers, and our own words about them.
    "dkim_key",
    "webhook_subscription",
    // What the team writes itself.
    "workflow",
    "workflow_run",
    "workflow_trigger",
    "workspace",
];

/// What can be written of a person, in every place: answers the lead that got the messages.
async fn history(h: &Harness, ada: &str) -> String {
    let lead = lead_of(h, ada).await;
    let engine = node(h, &Receiver::default()).await;
    record(&engine, claim(&engine).await, &refused()).await;
    later(h, Duration::hours(1));
    engine.prolong().await.expect("a sign of life");
    record(&engine, claim(&engine).await, &sent()).await;
    settle(h, &Receiver::default()).await;
    let task = h.data("{ tasks { nodes { id title } } }", json!({})).await;
    assert_eq!(task["tasks"]["nodes"][0]["title"], "Call Ada-zzq");
    let id = task["tasks"]["nodes"][0]["id"].clone();
    let done = json!({ "id": id, "note": "zzq was friendly" });
    h.mutate("taskComplete", "TaskCompleteInput", done, "task { id }")
        .await;
    settle(h, &Receiver::default()).await;
    let stage = pipeline(h, "Sales").await["stages"][0]["id"].take();
    opportunity(h, "Deal with zzq", ada, &stage).await;
    of_operations(h).await;
    of_requests_and_workflows(h, ada, &engine).await;
    lead
}

/// An enrolment by the address, under a key that has it, one that failed for it, an import, and a dry run that
/// is not over.
async fn of_operations(h: &Harness) {
    let other = crate::sequences::published(h, &["one"]).await.0;
    let input = json!({ "sequenceId": other, "idempotencyKey": "enrol Ada.Zzq@example.org",
        "people": { "filter": { "search": "ADA.zzq@example.org" } } });
    let select = "operation { outcomes { nodes { code } } }";
    let done = h.mutate("leadsEnrol", "LeadsEnrolInput", input, select);
    assert_eq!(codes(&done.await["operation"]), ["DONE"]);
    let csv = "email,first_name,country\nada.zzq@example.org,Ada-zzq,zzq\nzzq@,zzq,zzq\n";
    for dry_run in [false, true] {
        let input = json!({ "csv": csv, "dryRun": dry_run });
        import(h, input).await;
    }
    finish(h).await;
    for statement in [
        "INSERT INTO bulk_seen (operation_id, email_key, workspace_id)
         SELECT id, 'ada.zzq@example.org', workspace_id FROM bulk_operation WHERE kind = 'IMPORT_PEOPLE'",
        "UPDATE bulk_operation SET error = 'no column ada.zzq@example.org'
         WHERE kind = 'IMPORT_PEOPLE'",
        "UPDATE sender SET unhealthy_reason = '421 later: <Ada.zzq@example.org>'",
        "INSERT INTO inbound_message (id, workspace_id, digest, class, from_address, subject, received_at)
         SELECT id, id, 'x', 'REPLY', 'ada.zzq@example.org', 'zzq', 0 FROM workspace
         WHERE name = 'ours'",
        "INSERT INTO inbound_mailbox (sender_id, workspace_id, place, secret, revision, state, reason, failures,
             refusals)
         SELECT id, workspace_id, '{}', 'x', 1, 'FAILED', 'no <Ada.zzq@example.org>', 1, 0 FROM sender",
        "INSERT INTO sender_grant (sender_id, workspace_id, grant_id, token_url, client_id, tokens, generation,
             state, problem, failures)
         SELECT id, workspace_id, id, 'x', 'x', 'x', 1, 'FAILING', 'no <Ada.zzq@example.org>', 1 FROM sender",
    ] {
        crate::leads::run(h, statement, Arguments::new()).await;
    }
}

/// A request with the person's name, refused with it; a workflow that ran for the person, and one that is to.
async fn of_requests_and_workflows(h: &Harness, ada: &str, engine: &Engine) {
    let (other, _) = crate::sequences::published(h, &["one"]).await;
    let input = json!({ "name": "Changed", "trigger": "PERSON_UPDATED", "sequenceId": other });
    let select = "workflow { id }";
    h.mutate("workflowCreate", "WorkflowCreateInput", input, select)
        .await;
    let change = async |title: &str| {
        let input = json!({ "id": ada, "set": { "title": title } });
        h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
            .await;
    };
    change("zzq of zzq and zzq").await;
    crate::workflows::run(h).await;
    change("zzq").await;
    let request = json!({ "webhook": { "url": "https://hooks.example.com/",
        "body": "{\"name\": \"{{ first_name }}\"}" } });
    let steps = json!([{ "key": "tell", "action": request }]);
    running(h, steps, json!({}), &[ada]).await;
    engine.prolong().await.expect("a sign of life");
    let claimed = claim(engine).await;
    let refused = Outcome::refused_by_webhook(400, "zzq is not known", None);
    record(engine, claimed, &refused).await;
}

/// The tables that have a row among these.
fn tables(rows: &[String]) -> std::collections::BTreeSet<&str> {
    let names = rows.iter().filter_map(|row| row.split(": ").next());
    names.collect()
}

both!(nothing_tells_who_was_erased, |h: Harness| async move {
    let ada = known(&h).await;
    let lead = history(&h, &ada).await;
    let out = json!({ "id": ada, "channels": ["WHATSAPP"] });
    h.mutate("personOptOut", "PersonOptOutInput", out, "person { id }")
        .await;
    let (every, before) = (all_tables(&h).await, telling(&h).await);
    let told = tables(&before);
    let numbers = "{ sequences { nodes { leadCounts { total completed }
        analytics { funnel { contacted } messages { sent failed } } } } }";
    let counted = h.data(numbers, json!({})).await;

    let erased = delete(&h, &ada).await;
    let after = telling(&h).await;
    assert_eq!(
        tables(&after).into_iter().collect::<Vec<_>>(),
        ["suppression"],
        "{after:#?}"
    );
    for table in every {
        let is_without = WITHOUT_TRACES.contains(&table.as_str());
        assert_ne!(
            told.contains(table.as_str()) && table != "suppression",
            is_without,
            "{table}: put something of the person into it before she is erased, or say that it \
             never holds any: {before:#?}"
        );
    }
    let nothing = json!({ "id": ada, "email": null, "phone": null, "linkedinUrl": null,
        "firstName": null, "lastName": null, "company": null, "title": null, "timeZone": null,
        "country": null, "attributes": {}, "optedOut": [], "erasedAt": erased["erasedAt"] });
    assert_eq!(erased, nothing);
    assert!(erased["erasedAt"].is_string());
    assert_eq!(h.data(numbers, json!({})).await, counted);
    let workspace = h.admin.workspace;
    let compared = verify(&h.services.db, workspace, |_: &Found| {}).await;
    let compared = compared.expect("compared");
    assert_eq!(compared.differences, 0, "the log tells the same numbers");
    assert_eq!((compared.leads, compared.messages), (4, 2));
    let told = seen(&h, &lead).await;
    assert_eq!(told["status"], "COMPLETED");
    let query = "query($id: ID!) { lead(id: $id) { messagesSent person { id email erasedAt }
        executions { nodes { subject messageId error { code message response } } } } }";
    let lead = h.data(query, json!({ "id": lead })).await["lead"].take();
    assert_eq!(
        lead["person"],
        json!({ "id": ada, "email": null, "erasedAt": erased["erasedAt"] })
    );
    assert_eq!(lead["messagesSent"], 2);
    // What a workflow was to run for is told, and names nobody.
    crate::workflows::run(&h).await;
    let runs = "{ workflows { runs { nodes { code person { id } } } } }";
    let runs = h.data(runs, json!({})).await["workflows"][0]["runs"]["nodes"].take();
    let run = |code: &str| json!({ "code": code, "person": null });
    assert_eq!(runs, json!([run("NOT_FOUND"), run("DONE")]));
});

both!(who_is_erased_is_found_nowhere, |h: Harness| async move {
    let ada = known(&h).await;
    person(&h, json!({ "email": "bob@example.org" })).await;
    let erased = delete(&h, &ada).await;
    h.clock.advance_to(h.clock.now() + Duration::hours(1));
    assert_eq!(delete(&h, &ada).await, erased, "again, and nothing happens");
    let query =
        "query($id: ID!, $filter: PersonFilter) { person(id: $id) { id } node(id: $id) { id }
        people(filter: $filter) { totalCount nodes { email } } }";
    let bob = json!({ "totalCount": 1, "nodes": [{ "email": "bob@example.org" }] });
    let nobody = json!({ "totalCount": 0, "nodes": [] });
    for (filter, expected) in [
        (json!(null), &bob),
        (
            json!({ "attributes": [{ "name": "n", "op": "IS_NOT_SET" }] }),
            &bob,
        ),
        (
            json!({ "attributes": [{ "name": "n", "op": "NE", "value": 5 }] }),
            &bob,
        ),
        (
            json!({ "createdAt": { "from": "2020-01-01T00:00:00Z" } }),
            &bob,
        ),
        (json!({ "ids": [ada] }), &nobody),
        (json!({ "search": "zzq" }), &nobody),
    ] {
        let found = h.data(query, json!({ "id": ada, "filter": filter })).await;
        let expected = json!({ "person": null, "node": null, "people": expected });
        assert_eq!(found, expected, "{filter}");
    }
    // Neither does anything reach it.
    let refused = |payload: &Value| payload["userErrors"][0]["code"].clone();
    let update = json!({ "id": ada, "set": { "firstName": "Ada" } });
    let payload = h.try_mutate("personUpdate", "PersonUpdateInput", update, "person { id }");
    assert_eq!(refused(&payload.await), "NOT_FOUND");
    let stage = pipeline(&h, "Sales").await["stages"][0]["id"].take();
    let deal = json!({ "name": "Deal", "personId": ada, "stageId": stage });
    let payload = h.try_mutate(
        "opportunityCreate",
        "OpportunityCreateInput",
        deal,
        "opportunity { id }",
    );
    assert_eq!(refused(&payload.await), "NOT_FOUND");
    let out = json!({ "id": ada, "channels": ["EMAIL"] });
    let payload = h.try_mutate("personOptOut", "PersonOptOutInput", out, "person { id }");
    assert_eq!(refused(&payload.await), "NOT_FOUND");
    let sequence = crate::sequences::published(&h, &["one"]).await.0;
    let operation = enrol(&h, &sequence, json!({ "ids": [ada] })).await;
    assert_eq!(codes(&operation), ["NOT_FOUND"]);
    let everybody = json!({ "filter": { "createdAt": { "from": "2020-01-01T00:00:00Z" } } });
    let operation = enrol(&h, &sequence, everybody).await;
    assert_eq!(codes(&operation), ["DONE"], "Bob alone");
    // The address is free, and makes somebody else.
    let csv = "email\nada.zzq@example.org\n";
    import(&h, json!({ "csv": csv })).await;
    let found = h
        .data(
            "{ people(filter: { search: \"zzq\" }) { nodes { id } } }",
            json!({}),
        )
        .await;
    assert_ne!(found["people"]["nodes"][0]["id"], json!(ada));
    assert!(found["people"]["nodes"][0]["id"].is_string());
    let theirs = h
        .execute_as(
            &h.stranger,
            "mutation($id: ID!) { personDelete(input: { id: $id }) { userErrors { code } } }",
            found["people"]["nodes"][0].clone(),
        )
        .await;
    assert_eq!(
        theirs["data"]["personDelete"]["userErrors"][0]["code"],
        "NOT_FOUND"
    );
});

both!(
    a_lead_stops_with_its_person_and_what_waits_is_given_up,
    |h: Harness| async move {
        let ada = known(&h).await;
        let lead = lead_of(&h, &ada).await;
        let engine = node(&h, &Receiver::default()).await;
        record(&engine, claim(&engine).await, &refused()).await;
        delete(&h, &ada).await;
        let told = seen(&h, &lead).await;
        assert_eq!(
            (&told["status"], &told["stopReason"]),
            (&json!("STOPPED"), &json!("PERSON_DELETED"))
        );
        assert_eq!(told["executions"]["nodes"][0]["status"], "FAILED");
        later(&h, Duration::days(1));
        engine.prolong().await.expect("a sign of life");
        assert_eq!(claim(&engine).await.len(), 0);
        let kinds = crate::sequences::kinds(&h).await;
        assert!(
            kinds.ends_with(&["EXECUTION_FAILED".into(), "LEAD_STOPPED".into()]),
            "{kinds:?}"
        );
        assert_eq!(telling(&h).await, Vec::<String>::new());
    }
);

both!(
    a_message_on_its_way_is_held_back_or_recorded_without_a_name,
    |h: Harness| async move {
        for (n, outcome) in [
            sent(),
            refused(),
            Outcome::refused(Phase::Rcpt, 550, "5.1.1 zzq unknown"),
        ]
        .into_iter()
        .enumerate()
        {
            let ada = known(&h).await;
            let lead = lead_of(&h, &ada).await;
            let engine = node(&h, &Receiver::default()).await;
            let claimed = claim(&engine).await;
            assert_eq!(claimed.len(), 1);
            delete(&h, &ada).await;
            let told = seen(&h, &lead).await;
            assert_eq!(told["executions"]["nodes"][0]["status"], "SENDING");
            // It is held back at the last look.
            assert!(!engine.may_leave(&claimed[0]).await.expect("looks"));
            // And where it was past that, on the wire, its fate is known, and no more.
            record(&engine, claimed, &outcome).await;
            let told = seen(&h, &lead).await;
            let execution = &told["executions"]["nodes"][0];
            let expected = if n == 0 { "SENT" } else { "FAILED" };
            assert_eq!(execution["status"], expected, "{told:#}");
            assert_eq!(told["messagesSent"], i32::from(n == 0));
            assert_eq!(told["stopReason"], "PERSON_DELETED");
            assert_eq!(telling(&h).await, Vec::<String>::new());
        }
    }
);

both!(
    who_opted_out_stays_so_after_being_erased,
    |h: Harness| async move {
        let ada = known(&h).await;
        suppress(&h, "ada.zzq@example.org", "UNSUBSCRIBED").await;
        delete(&h, &ada).await;
        let again = person(&h, json!({ "email": "ADA.zzq@example.org" })).await;
        let query = "query($id: ID!) { person(id: $id) { optedOut } }";
        let found = h.data(query, json!({ "id": again })).await;
        assert_eq!(found["person"]["optedOut"], json!(["EMAIL"]));
        let ada = sender(&h, "ada").await;
        let steps = json!([email("a", "PT0S", &[&ada])]);
        let input = json!({ "name": "Emails", "flow": { "steps": steps } });
        let sequence = crate::sequences::done(&h, "sequenceCreate", input).await["id"].take();
        crate::sequences::done(&h, "sequencePublish", json!({ "id": sequence })).await;
        let sequence = sequence.as_str().expect("an id");
        let operation = enrol(&h, sequence, json!({ "ids": [again] })).await;
        assert_eq!(codes(&operation), ["OPTED_OUT"]);
    }
);
