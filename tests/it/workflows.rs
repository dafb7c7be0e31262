//! Workflows: what sets them off, whom they enrol, and what came of it; through crashes, with several
//! runners, in chains, and in any order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};

use cadenza::app::Services;
use cadenza::store::sql::{self, Arguments};
use cadenza::workflow::{Round, Runner};
use chrono::Duration;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use serde_json::{Value, json};

use crate::blockers::always;
use crate::enrol::{enrol, finish, import, many, people, suppress};
use crate::harness::{Harness, both};
use crate::leads::{bulk, later};
use crate::pains::{Receiver, settle};
use crate::pipelines::{opportunity, pipeline};
use crate::sequences::{call, done, published, refusals};
use crate::statements::noted;
use crate::steps::person;

/// Makes a workflow and answers its id.
async fn workflow(h: &Harness, trigger: &str, sequence: &str, more: Value) -> String {
    let mut input = json!({ "name": trigger, "trigger": trigger, "sequenceId": sequence });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an object").extend(more);
    let made = h.mutate(
        "workflowCreate",
        "WorkflowCreateInput",
        input,
        "workflow { id }",
    );
    let made = made.await;
    made["workflow"]["id"].as_str().expect("an id").to_owned()
}

async fn update(h: &Harness, id: &str, change: Value) -> Value {
    let mut input = json!({ "id": id });
    let change = change.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an object").extend(change);
    let select = "workflow { name enabled filter sequence { id } }";
    let done = h.mutate("workflowUpdate", "WorkflowUpdateInput", input, select);
    done.await["workflow"].take()
}

/// Runs workflows until there is nothing to run for.
pub async fn run(h: &Harness) {
    drained(Runner::new(h.services.clone())).await;
}

async fn drained(mut runner: Runner) {
    while runner.round().await.expect("a round") == Round::More {}
}

const RUNS: &str = "{ workflows { id enrolled runs(first: 250) { totalCount nodes {
    code message at person { id email } lead { enrolledBy sequence { id } person { id } } } } } }";

/// A workflow as the API shows it, with its runs.
async fn shown(h: &Harness, id: &str) -> Value {
    let all = h.data(RUNS, json!({})).await["workflows"].take();
    let mut all = all.as_array().expect("workflows").iter();
    let found = all.find(|one| one["id"] == id);
    found.expect("the workflow").clone()
}

/// The codes of a workflow's runs, oldest first.
async fn codes(h: &Harness, id: &str) -> Vec<String> {
    let shown = shown(h, id).await;
    let nodes = shown["runs"]["nodes"].as_array().expect("runs");
    let code = |node: &Value| node["code"].as_str().expect("a code").to_owned();
    nodes.iter().rev().map(code).collect()
}

async fn number(h: &Harness, statement: &str) -> i64 {
    sql::number(h.services.db.read(), statement, Arguments::new())
        .await
        .expect("a number")
}

async fn set(h: &Harness, person: &str, fields: Value) {
    let input = json!({ "id": person, "set": fields });
    h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
        .await;
}

async fn move_to(h: &Harness, deal: &str, stage: &Value) {
    let input = json!({ "id": deal, "stageId": stage });
    let select = "opportunity { id }";
    h.mutate("opportunityMove", "OpportunityMoveInput", input, select)
        .await;
}

both!(each_trigger_enrols, |h: Harness| async move {
    let triggers = [
        "PERSON_CREATED",
        "PERSON_UPDATED",
        "OPPORTUNITY_CREATED",
        "OPPORTUNITY_STAGE_CHANGED",
    ];
    let mut made = Vec::new();
    for trigger in triggers {
        let (sequence, _) = published(&h, &["one"]).await;
        made.push(workflow(&h, trigger, &sequence, json!({})).await);
    }
    let pipeline = pipeline(&h, "Sales").await;
    let stage = |n: usize| &pipeline["stages"][n]["id"];
    let ada = people(&h, &["ada"]).await.remove(0);
    let mut deal = String::new();
    for (n, id) in made.iter().enumerate() {
        match n {
            0 => {}
            1 => set(&h, &ada, json!({ "company": "Acme" })).await,
            2 => deal = opportunity(&h, "deal", &ada, stage(0)).await,
            _ => move_to(&h, &deal, stage(1)).await,
        }
        assert_eq!(codes(&h, id).await, [""; 0], "it runs after the change");
        run(&h).await;
        let shown = shown(&h, id).await;
        assert_eq!(shown["enrolled"], 1, "{shown:#}");
        let node = &shown["runs"]["nodes"][0];
        assert_eq!(node["code"], "DONE", "{shown:#}");
        assert_eq!(node["person"]["id"], ada.as_str());
        assert_eq!(node["lead"]["enrolledBy"], "WORKFLOW");
        assert_eq!(node["lead"]["person"]["id"], ada.as_str());
        let ran = number(&h, "SELECT count(*) AS n FROM workflow_run").await;
        assert_eq!(
            usize::try_from(ran),
            Ok(n + 1),
            "the others are not set off"
        );
    }
    assert_eq!(
        number(&h, "SELECT count(*) AS n FROM workflow_trigger").await,
        0
    );
    let enrolled = crate::sequences::kinds(&h).await;
    let enrolled = enrolled.iter().filter(|kind| *kind == "LEAD_ENROLLED");
    assert_eq!(enrolled.count(), 4);
});

both!(stages_are_those_that_are_named, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let pipeline = pipeline(&h, "Sales").await;
    let stage = |n: usize| &pipeline["stages"][n]["id"];
    let only = json!({ "stageIds": [stage(1), stage(2), stage(1)] });
    let created = workflow(&h, "OPPORTUNITY_CREATED", &sequence, only.clone()).await;
    let moved = workflow(&h, "OPPORTUNITY_STAGE_CHANGED", &sequence, only).await;
    let ids = people(&h, &["ada", "bob"]).await;
    let deal = opportunity(&h, "one", &ids[0], stage(0)).await;
    opportunity(&h, "two", &ids[1], stage(1)).await;
    run(&h).await;
    assert_eq!(codes(&h, &created).await, ["DONE"]);
    // Being moved where it is sets nothing off.
    move_to(&h, &deal, stage(0)).await;
    move_to(&h, &deal, stage(1)).await;
    move_to(&h, &deal, stage(0)).await;
    run(&h).await;
    assert_eq!(codes(&h, &moved).await, ["DONE"]);
    let query = "{ workflows { stages { name } } }";
    let shown = h.data(query, json!({})).await;
    let stages = json!([{ "name": "Talking" }, { "name": "Won" }]);
    assert_eq!(shown["workflows"][0]["stages"], stages);
});

both!(
    an_import_sets_off_for_each_that_is_new_or_changed,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let (other, _) = published(&h, &["one"]).await;
        let created = workflow(&h, "PERSON_CREATED", &sequence, json!({})).await;
        let updated = workflow(&h, "PERSON_UPDATED", &other, json!({})).await;
        many(&h, 2_300).await;
        run(&h).await;
        let count = |shown: &Value| {
            (
                shown["enrolled"].clone(),
                shown["runs"]["totalCount"].clone(),
            )
        };
        assert_eq!(
            count(&shown(&h, &created).await),
            (json!(2_300), json!(2_300))
        );
        assert_eq!(count(&shown(&h, &updated).await), (json!(0), json!(0)));
        // The same again changes nobody, and sets nothing off.
        many(&h, 2_300).await;
        assert_eq!(
            number(&h, "SELECT count(*) AS n FROM workflow_trigger").await,
            0
        );
        let lines: String = (0..600)
            .map(|n| format!("p{n}@example.com,Acme\n"))
            .collect();
        let input = json!({ "csv": format!("email,company\n{lines}") });
        import(&h, input).await;
        finish(&h).await;
        run(&h).await;
        assert_eq!(count(&shown(&h, &updated).await), (json!(600), json!(600)));
        let twice = number(
            &h,
            "SELECT count(*) - count(DISTINCT person_id) AS n FROM lead WHERE round = 1",
        );
        // Six hundred are in both sequences.
        assert_eq!(twice.await, 600);
        assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 2_900);
    }
);

both!(
    nothing_is_queued_where_no_workflow_waits,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let off = workflow(&h, "PERSON_CREATED", &sequence, json!({ "enabled": false })).await;
        workflow(&h, "PERSON_UPDATED", &sequence, json!({})).await;
        let theirs =
            "mutation { personCreate(input: { email: \"x@example.com\" }) { person { id } } }";
        let (schema, statements) = noted(&h);
        let mut lines = String::from("email\n");
        (0..1_000).for_each(|n| lines.push_str(&format!("p{n}@example.com\n")));
        let import = "mutation ($csv: String!) { peopleImport(input: { csv: $csv }) { operation { processed } } }";
        let variables = async_graphql::Variables::from_json(json!({ "csv": lines }));
        let request = async_graphql::Request::new(import).variables(variables);
        let answer = schema.execute(request.data(h.admin.clone())).await;
        assert!(answer.is_ok(), "{answer:?}");
        let asked = |seen: &[String]| seen.iter().filter(|one| one.contains("workflow")).count();
        let seen = statements.lock().expect("not poisoned").clone();
        assert!(asked(&seen) <= 3, "a look for each chunk: {seen:#?}");
        h.execute_as(&h.stranger, theirs, json!({})).await;
        assert_eq!(
            number(&h, "SELECT count(*) AS n FROM workflow_trigger").await,
            0
        );
        // Switched on, it runs for what comes from then on.
        update(&h, &off, json!({ "enabled": true })).await;
        people(&h, &["late"]).await;
        run(&h).await;
        assert_eq!(codes(&h, &off).await, ["DONE"]);
    }
);

both!(a_run_takes_few_statements, |h: Harness| async move {
    let mut taken = Vec::new();
    for count in [5, 400] {
        let (sequence, _) = published(&h, &["one"]).await;
        let filter = json!({ "filter": { "company": [count.to_string()] } });
        workflow(&h, "PERSON_CREATED", &sequence, filter).await;
        let line = |n| format!("{count}-{n}@example.com,{count}\n");
        let lines: String = (0..count).map(line).collect();
        let input = json!({ "csv": format!("email,company\n{lines}") });
        import(&h, input).await;
        finish(&h).await;
        let seen = Arc::new(Mutex::new(0));
        let counted = Arc::clone(&seen);
        let db = h.services.db.clone().observed(move |_: &str| {
            *counted.lock().expect("not poisoned") += 1;
        });
        let services = Services {
            db,
            ..h.services.clone()
        };
        drained(Runner::new(services)).await;
        taken.push(*seen.lock().expect("not poisoned"));
    }
    // The second time there are two workflows, one of which chooses nobody.
    assert!(taken[0] <= 15 && taken[1] <= 26, "{taken:?}");
});

both!(each_outcome_is_told, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let filter = json!({ "filter": { "company": ["Acme"] } });
    let id = workflow(&h, "PERSON_CREATED", &sequence, filter).await;
    suppress(&h, "bounced@example.com", "BOUNCED").await;
    suppress(&h, "out@example.com", "UNSUBSCRIBED").await;
    let enter = async |fields: Value| {
        let mut fields = fields;
        if fields["company"].is_null() {
            fields["company"] = json!("Acme");
        }
        person(&h, fields).await
    };
    enter(json!({ "email": "bounced@example.com" })).await;
    enter(json!({ "email": "out@example.com" })).await;
    enter(json!({ "firstName": "Nobody" })).await;
    enter(json!({ "email": "bob@example.com", "company": "Other" })).await;
    enter(json!({ "email": "gone@example.com" })).await;
    let there = enter(json!({ "email": "there@example.com" })).await;
    enter(json!({ "email": "new@example.com" })).await;
    enrol(&h, &sequence, json!({ "ids": [there] })).await;
    let delete = "DELETE FROM person WHERE email = 'gone@example.com'";
    sql::execute(h.services.db.write(), delete, Arguments::new())
        .await
        .expect("deleted");
    run(&h).await;
    let found = shown(&h, &id).await;
    let mut told = BTreeMap::new();
    for node in found["runs"]["nodes"].as_array().expect("runs") {
        let code = node["code"].as_str().expect("a code");
        let email = node["person"]["email"].as_str().unwrap_or_default();
        assert!(node["message"].as_str().expect("a message").ends_with('.'));
        assert_eq!(node["lead"].is_null(), code != "DONE", "{node}");
        told.insert(code.to_owned(), email.to_owned());
    }
    let expected = [
        ("SUPPRESSED", "bounced@example.com"),
        ("OPTED_OUT", "out@example.com"),
        ("NO_ADDRESS", ""),
        ("NOT_MATCHING", "bob@example.com"),
        ("NOT_FOUND", ""),
        ("ALREADY_ENROLLED", "there@example.com"),
        ("DONE", "new@example.com"),
    ];
    let expected = expected.map(|(code, email)| (code.to_owned(), email.to_owned()));
    assert_eq!(told, BTreeMap::from(expected), "{found:#}");
    let chosen =
        "{ workflows { runs(code: [DONE, OPTED_OUT], last: 1) { totalCount nodes { code } } } }";
    let chosen = h.data(chosen, json!({})).await;
    let page = json!({ "totalCount": 2, "nodes": [{ "code": "OPTED_OUT" }] });
    assert_eq!(chosen["workflows"][0]["runs"], page);
});

both!(
    what_cannot_be_done_now_is_told_and_not_made_up_for,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let filter = json!({ "filter": { "company": ["Acme"] } });
        let id = workflow(&h, "PERSON_CREATED", &sequence, filter).await;
        let enter = async |name: &str| {
            let email = format!("{name}@example.com");
            person(&h, json!({ "email": email, "company": "Acme" })).await;
        };
        done(&h, "sequenceDisable", json!({ "id": sequence })).await;
        enter("one").await;
        run(&h).await;
        people(&h, &["other"]).await;
        run(&h).await;
        done(&h, "sequencePublish", json!({ "id": sequence })).await;
        run(&h).await;
        enter("two").await;
        update(&h, &id, json!({ "enabled": false })).await;
        run(&h).await;
        update(&h, &id, json!({ "enabled": true })).await;
        run(&h).await;
        let expected = [
            "SEQUENCE_NOT_PUBLISHED",
            "NOT_MATCHING",
            "WORKFLOW_DISABLED",
        ];
        assert_eq!(codes(&h, &id).await, expected);
        let found = shown(&h, &id).await;
        let message = found["runs"]["nodes"][2]["message"]
            .as_str()
            .expect("a message");
        assert!(
            message.contains("publish") && message.contains("leadsEnrol"),
            "{message}"
        );
        assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 0);
    }
);

both!(the_filter_is_that_of_the_run, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let filter = json!({ "filter": { "company": ["Acme"] } });
    let id = workflow(&h, "PERSON_CREATED", &sequence, filter).await;
    let ids = people(&h, &["ada", "bob"]).await;
    set(&h, &ids[0], json!({ "company": "Acme" })).await;
    set(&h, &ids[1], json!({ "company": "Other" })).await;
    run(&h).await;
    assert_eq!(codes(&h, &id).await, ["DONE", "NOT_MATCHING"]);
});

both!(nobody_is_enrolled_twice, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let id = workflow(&h, "PERSON_UPDATED", &sequence, json!({})).await;
    let again = workflow(&h, "PERSON_UPDATED", &sequence, json!({})).await;
    let ada = people(&h, &["ada"]).await.remove(0);
    // Two triggers at once, of two workflows into one sequence.
    set(&h, &ada, json!({ "company": "One" })).await;
    set(&h, &ada, json!({ "company": "Two" })).await;
    // To be changed to what it is sets nothing off.
    set(&h, &ada, json!({ "company": "Two" })).await;
    run(&h).await;
    let mut all = [codes(&h, &id).await, codes(&h, &again).await].concat();
    all.sort();
    let already = "ALREADY_ENROLLED";
    assert_eq!(all, [already, already, already, "DONE"]);
    // Who has left the sequence is not taken in again either.
    let leads = h.data("{ leads { nodes { id } } }", json!({})).await;
    bulk(
        &h,
        "leadsRemove",
        json!({ "ids": [leads["leads"]["nodes"][0]["id"]] }),
    )
    .await;
    set(&h, &ada, json!({ "company": "Three" })).await;
    run(&h).await;
    assert_eq!(
        codes(&h, &id).await.last().map(String::as_str),
        Some(already)
    );
    assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 1);
});

both!(
    what_was_committed_is_run_by_whoever_comes_next,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let id = workflow(&h, "PERSON_CREATED", &sequence, json!({})).await;
        many(&h, 700).await;
        // A process that dies in a chunk: its transaction ends with it.
        let counter = "SELECT last_seq AS n FROM event_counter WHERE workspace_id = $1";
        let ours = || Arguments::new().with(h.admin.workspace.uuid());
        let last = sql::number(h.services.db.read(), counter, ours()).await;
        let last = last.expect("a number");
        let write = h.services.db.write();
        let forget = "DELETE FROM event_counter WHERE workspace_id = $1";
        sql::execute(write, forget, ours()).await.expect("deleted");
        let mut dying = Runner::new(h.services.clone());
        let rest = dying.round().await.expect("a round");
        assert_ne!(rest, Round::More, "it is tried again, but not at once");
        assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 0);
        assert_eq!(codes(&h, &id).await, [""; 0]);
        assert_eq!(
            number(&h, "SELECT count(*) AS n FROM workflow_trigger").await,
            700
        );
        let again = "INSERT INTO event_counter (workspace_id, last_seq) VALUES ($1, $2)";
        sql::execute(write, again, ours().with(last))
            .await
            .expect("entered");
        // Another process, which knows of nothing but the database.
        let db = cadenza::store::Db::connect(&h.url).await.expect("opens");
        let services = Services {
            db: db.clone(),
            ..h.services.clone()
        };
        drained(Runner::new(services)).await;
        db.close().await.expect("closes");
        assert_eq!(shown(&h, &id).await["enrolled"], 700);
        // The one that failed finds its turn again, and nothing to do.
        later(&h, Duration::minutes(2));
        drained(dying).await;
        assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 700);
    }
);

both!(what_is_undone_sets_nothing_off, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    workflow(&h, "PERSON_CREATED", &sequence, json!({})).await;
    people(&h, &["ada"]).await;
    let input = json!({ "email": "ADA@example.com" });
    let refused = h
        .try_mutate("personCreate", "PersonInput", input, "person { id }")
        .await;
    assert_eq!(refusals(&refused)[0].0, "ALREADY_EXISTS");
    assert_eq!(
        number(&h, "SELECT count(*) AS n FROM workflow_trigger").await,
        1
    );
});

both!(runners_at_once_share_the_work, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let (other, _) = published(&h, &["one"]).await;
    let mut all = Vec::new();
    for sequence in [&sequence, &sequence, &other] {
        all.push(workflow(&h, "PERSON_CREATED", sequence, json!({})).await);
    }
    many(&h, 1_600).await;
    let runner = || async {
        let mut runner = Runner::new(h.services.clone());
        // One that finds everything taken has nothing to do for the moment, and looks again.
        while number(&h, "SELECT count(*) AS n FROM workflow_trigger").await > 0 {
            runner.round().await.expect("a round");
        }
    };
    tokio::join!(runner(), runner(), runner());
    let mut enrolled = 0;
    for id in &all {
        let shown = shown(&h, id).await;
        assert_eq!(shown["runs"]["totalCount"], 1_600);
        enrolled += shown["enrolled"].as_i64().expect("a number");
    }
    assert_eq!(enrolled, 3_200);
    assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 3_200);
});

/// A published sequence that writes these attributes into its people.
async fn marking(h: &Harness, attributes: Value) -> String {
    let set = json!({ "attributes": attributes });
    let steps = json!([{ "key": "mark", "action": { "update": { "set": set } } }]);
    let input = json!({ "name": "Mark", "flow": { "steps": steps }, "settings": always() });
    let sequence = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": sequence })).await;
    sequence.as_str().expect("an id").to_owned()
}

/// Lets workflows and leads go on until nothing changes.
async fn come_to_rest(h: &Harness) {
    let receiver = Receiver::default();
    for _ in 0..30 {
        run(h).await;
        settle(h, &receiver).await;
        if number(h, "SELECT count(*) AS n FROM workflow_trigger").await == 0 {
            return;
        }
    }
    panic!("they never come to rest");
}

both!(
    workflows_that_feed_each_other_end,
    |h: Harness| async move {
        let (one, two) = (
            marking(&h, json!({ "turn": 1 })).await,
            marking(&h, json!({ "turn": 2 })).await,
        );
        let first = workflow(&h, "PERSON_UPDATED", &one, json!({})).await;
        let second = workflow(&h, "PERSON_UPDATED", &two, json!({})).await;
        let ada = people(&h, &["ada"]).await.remove(0);
        set(&h, &ada, json!({ "company": "Acme" })).await;
        come_to_rest(&h).await;
        assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 2);
        for id in [&first, &second] {
            let codes = codes(&h, id).await;
            let (done, rest) = codes.split_first().expect("runs");
            assert_eq!(done, "DONE");
            assert!(!rest.is_empty() && rest.iter().all(|code| code == "ALREADY_ENROLLED"));
        }
    }
);

both!(a_chain_ends_at_its_bound, |h: Harness| async move {
    let mut all = Vec::new();
    for turn in 0..8 {
        let sequence = marking(&h, json!({ "turn": (turn + 1).to_string() })).await;
        let wanted = json!([{ "name": "turn", "op": "EQ", "value": turn.to_string() }]);
        let filter = json!({ "filter": { "attributes": wanted } });
        all.push(workflow(&h, "PERSON_UPDATED", &sequence, filter).await);
    }
    let ada = people(&h, &["ada"]).await.remove(0);
    set(&h, &ada, json!({ "attributes": { "turn": "0" } })).await;
    come_to_rest(&h).await;
    for (turn, id) in all.iter().enumerate() {
        let codes: BTreeSet<String> = codes(&h, id).await.into_iter().collect();
        assert_eq!(codes.contains("DONE"), turn < 5, "{turn}: {codes:?}");
        assert_eq!(
            codes.contains("CHAIN_TOO_LONG"),
            turn == 5,
            "{turn}: {codes:?}"
        );
    }
    assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 5);
    // Whoever changes the person begins another chain.
    set(&h, &ada, json!({ "attributes": { "turn": "5" } })).await;
    set(&h, &ada, json!({ "attributes": { "turn": "6" } })).await;
    come_to_rest(&h).await;
    assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 7);
});

both!(
    a_step_that_changes_nothing_sets_nothing_off,
    |h: Harness| async move {
        let marks = marking(&h, json!({ "turn": "1" })).await;
        let (sequence, _) = published(&h, &["one"]).await;
        let id = workflow(&h, "PERSON_UPDATED", &sequence, json!({})).await;
        let known = json!({ "email": "ada@example.com", "attributes": { "turn": "1" } });
        let ids = [
            person(&h, known).await,
            people(&h, &["bob"]).await.remove(0),
        ];
        let read = "query ($id: ID!) { person(id: $id) { updatedAt } }";
        let before = h.data(read, json!({ "id": ids[0] })).await;
        enrol(&h, &marks, json!({ "ids": ids })).await;
        later(&h, Duration::minutes(1));
        come_to_rest(&h).await;
        let shown = shown(&h, &id).await;
        assert_eq!(shown["runs"]["totalCount"], 1, "{shown:#}");
        assert_eq!(shown["runs"]["nodes"][0]["person"]["id"], ids[1].as_str());
        assert_eq!(h.data(read, json!({ "id": ids[0] })).await, before);
    }
);

both!(a_workflow_is_changed_and_read, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let (other, _) = published(&h, &["one"]).await;
    let ada = people(&h, &["ada"]).await.remove(0);
    let filter = json!({
        "ids": [ada], "search": "ada", "company": ["Acme", "Other"], "title": ["CTO"],
        "has": ["EMAIL", "LINKEDIN_URL"],
        "attributes": [
            { "name": "a", "op": "GTE", "value": 3.5 },
            { "name": "b", "op": "IN", "value": ["x", "y"] },
            { "name": "c", "op": "IS_SET" },
            { "name": "d", "op": "STARTS_WITH", "value": "z" },
            { "name": "e", "op": "NE", "value": "w" },
        ],
        "createdAt": { "from": "2026-01-01T00:00:00.000Z", "to": "2027-01-01T00:00:00.000Z" },
        "notInSequenceId": other,
    });
    let id = workflow(
        &h,
        "PERSON_CREATED",
        &sequence,
        json!({ "filter": filter.clone(), "enabled": false }),
    )
    .await;
    let query =
        "query ($id: ID!) { node(id: $id) { id __typename ... on Workflow { name trigger enabled
        filter stages { id } sequence { id } enrolled createdAt updatedAt } } }";
    let read = h.data(query, json!({ "id": id })).await["node"].take();
    // What is shown can be given again and means the same.
    assert_eq!(read["filter"], filter, "{read:#}");
    assert_eq!(
        (&read["enabled"], &read["stages"]),
        (&json!(false), &Value::Null)
    );
    let same = json!({ "name": "PERSON_CREATED", "filter": read["filter"], "enabled": false });
    later(&h, Duration::minutes(1));
    update(&h, &id, same).await;
    assert_eq!(h.data(query, json!({ "id": id })).await["node"], read);
    let change = json!({ "name": "New", "enabled": true, "filter": {}, "sequenceId": other });
    let changed = update(&h, &id, change).await;
    let expected =
        json!({ "name": "New", "enabled": true, "filter": null, "sequence": { "id": other } });
    assert_eq!(changed, expected);
    let theirs = h.execute_as(&h.stranger, query, json!({ "id": id })).await;
    assert_eq!(theirs["data"]["node"], Value::Null, "{theirs}");
});

both!(what_is_wrong_is_told_at_once, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let pipeline = pipeline(&h, "Sales").await;
    let stage = pipeline["stages"][0]["id"].as_str().expect("an id");
    let gone = |id: &str| format!("{}{}", &id[..id.len() - 4], "zzzz");
    let refused = async |field: &str, of: &str, input: Value| {
        let payload = h.try_mutate(field, of, input, "workflow { id }").await;
        assert_eq!(payload["workflow"], Value::Null, "{payload}");
        let codes = refusals(&payload).into_iter();
        codes
            .map(|(code, path)| format!("{code} {path}"))
            .collect::<Vec<_>>()
    };
    let create = async |input| refused("workflowCreate", "WorkflowCreateInput", input).await;
    let input = json!({ "name": " ", "trigger": "OPPORTUNITY_CREATED",
        "stageIds": [stage, gone(stage)], "sequenceId": gone(&sequence) });
    assert_eq!(
        create(input).await,
        [
            "INVALID name",
            "NOT_FOUND stageIds.1",
            "NOT_FOUND sequenceId"
        ]
    );
    for (trigger, stages) in [
        ("PERSON_CREATED", json!([stage])),
        ("PERSON_UPDATED", json!([])),
        ("OPPORTUNITY_CREATED", json!([])),
    ] {
        let input =
            json!({ "name": "x", "trigger": trigger, "stageIds": stages, "sequenceId": sequence });
        assert_eq!(create(input).await, ["INVALID stageIds"], "{trigger}");
    }
    let input = json!({ "name": "x", "trigger": "PERSON_CREATED", "sequenceId": stage,
        "stageIds": ["x"], "filter": { "ids": [sequence] } });
    let wrong = [
        "INVALID filter.ids.0",
        "INVALID sequenceId",
        "INVALID stageIds.0",
    ];
    assert_eq!(create(input).await, wrong);
    let id = workflow(&h, "PERSON_CREATED", &sequence, json!({})).await;
    let update = async |input| refused("workflowUpdate", "WorkflowUpdateInput", input).await;
    let input = json!({ "id": gone(&id), "name": "" });
    assert_eq!(update(input).await, ["NOT_FOUND id"]);
    call(&h, "sequenceDisable", json!({ "id": sequence })).await;
    call(&h, "sequenceArchive", json!({ "id": sequence })).await;
    let input = json!({ "id": id, "name": "", "sequenceId": sequence });
    assert_eq!(
        update(input).await,
        ["INVALID name", "WRONG_STATE sequenceId"]
    );
    let input = json!({ "name": "x", "trigger": "PERSON_CREATED", "sequenceId": sequence });
    assert_eq!(create(input).await, ["WRONG_STATE sequenceId"]);
});

both!(there_is_a_bound_to_workflows, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    for _ in 0..100 {
        workflow(&h, "PERSON_CREATED", &sequence, json!({})).await;
    }
    let input = json!({ "name": "x", "trigger": "PERSON_CREATED", "sequenceId": sequence });
    let payload = h
        .try_mutate(
            "workflowCreate",
            "WorkflowCreateInput",
            input,
            "workflow { id }",
        )
        .await;
    assert_eq!(refusals(&payload)[0].0, "LIMIT");
    // More of them than one look answers: each has its turn, and one of them enrols.
    people(&h, &["ada"]).await;
    run(&h).await;
    assert_eq!(
        number(&h, "SELECT count(*) AS n FROM workflow_run").await,
        100
    );
    assert_eq!(number(&h, "SELECT count(*) AS n FROM lead").await, 1);
});

/// Something that is done to one of a few people, or to all of them.
#[derive(Debug, Clone, Copy)]
enum Act {
    /// Enters the person where it is not there, else changes its company.
    Say(usize, bool),
    /// Runs the workflows.
    Run,
}

fn acts() -> impl Strategy<Value = Vec<Act>> {
    let act = prop_oneof![
        5 => (0..4_usize, any::<bool>()).prop_map(|(who, acme)| Act::Say(who, acme)),
        1 => Just(Act::Run),
    ];
    prop::collection::vec(act, 1..20)
}

// Whoever is chosen by the filter when the workflow runs for them has one lead in the end, and nobody
// else has any, in whatever order people change and workflows run.
both!(
    in_any_order_who_matches_at_the_run_is_enrolled_once,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        for trigger in ["PERSON_CREATED", "PERSON_UPDATED", "PERSON_UPDATED"] {
            let filter = json!({ "filter": { "company": ["Acme"] } });
            workflow(&h, trigger, &sequence, filter).await;
        }
        let mut cases = TestRunner::deterministic();
        for case in 0..12 {
            let acts = acts().new_tree(&mut cases).expect("a case").current();
            let mut expected = BTreeSet::new();
            let mut said: BTreeMap<usize, (String, bool)> = BTreeMap::new();
            let mut pending = BTreeSet::new();
            for act in acts.iter().copied().chain([Act::Run]) {
                match act {
                    Act::Run => {
                        run(&h).await;
                        let matching = pending.iter().filter(|who| said[*who].1);
                        expected.extend(matching.copied());
                        pending.clear();
                    }
                    Act::Say(who, acme) => {
                        let company = if acme { "Acme" } else { "Other" };
                        let fields = json!({ "company": company, "email": format!("{case}-{who}@example.com") });
                        match said.get(&who).cloned() {
                            None => {
                                let id = person(&h, fields).await;
                                said.insert(who, (id, acme));
                                pending.insert(who);
                            }
                            Some((id, before)) => {
                                set(&h, &id, fields).await;
                                said.insert(who, (id, acme));
                                if before != acme {
                                    pending.insert(who);
                                }
                            }
                        }
                    }
                }
            }
            for (who, (id, _)) in &said {
                let query = "query ($id: ID!) { person(id: $id) { leads { totalCount } } }";
                let leads = h.data(query, json!({ "id": id })).await;
                let count = leads["person"]["leads"]["totalCount"].as_u64();
                let is_enrolled = expected.contains(who);
                assert_eq!(count, Some(u64::from(is_enrolled)), "{who}: {acts:?}");
            }
        }
    }
);
