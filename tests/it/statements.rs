//! What front ends really ask takes a bounded number of statements, however many rows there are. Two
//! parts of a view that reach people by different ways may ask for them together or one after the other,
//! so that the number is a bound.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use cadenza::app::Services;
use cadenza::domain::id::LeadId;
use cadenza::graphql::CadenzaSchema;
use futures_util::StreamExt;
use serde_json::{Value, json};

use crate::enrol::{enrol, finish, many};
use crate::harness::{Harness, both};
use crate::leads::execution;
use crate::sequences::{done, published};

/// A view of a front end, and how many statements it takes at most.
const VIEWS: &[(&str, &str, usize)] = &[
    (
        "the list of leads",
        "query { leads(first: 50) { nodes { id status dueAt person { email firstName }
            sequence { name } currentStep { key channel } blockers { code }
            executions(first: 1) { nodes { status subject } } } } }",
        7,
    ),
    (
        "the list of leads with its total",
        "query ($sequence: ID!) { leads(filter: { sequenceIds: [$sequence] }, first: 50) { totalCount
            nodes { id person { email } } pageInfo { hasNextPage endCursor } } }",
        3,
    ),
    (
        "a lead's page",
        "query ($lead: ID!) { lead(id: $lead) { id status stopReason dueAt engagement { opens clicks replies }
            person { email leads(first: 10) { nodes { id sequence { name } } } }
            sequence { name publishedVersion { number } } currentStep { key }
            blockers { code until } executions(first: 20) { nodes { stepKey status sender { name } error { code } } } }
          events(first: 50, filter: { leadId: $lead }) { kind at stepKey execution { status } sender { name } } }",
        12,
    ),
    (
        "the list of sequences",
        "query { sequences(first: 50) { totalCount nodes { id name status leadCounts { total pending completed }
            problems { code } publishedVersion { number } flow { steps { key action { ... on EmailAction { senders { name } } } } } } } }",
        8,
    ),
    (
        "a sequence's page",
        "query ($sequence: ID!) { sequence(id: $sequence) { name leadCounts { total } problems { code }
            versions(first: 10) { nodes { number flow { steps { key } } } }
            leads(first: 50) { nodes { id person { email } } }
            executions(first: 50) { nodes { status lead { person { email } } sender { name } } } } }",
        10,
    ),
    (
        "people with their leads",
        "query { people(first: 50) { nodes { id email leads(first: 5) { nodes { status sequence { name } currentStep { key } } } } } }",
        4,
    ),
    (
        "executions with everything",
        "query { executions(first: 50) { nodes { status subject sender { name address } sequence { name }
            lead { status person { email company } } } } }",
        5,
    ),
    (
        "the log with everything",
        "query { events(first: 50) { kind at sequence { name } lead { status person { email } }
            execution { status subject } sender { name } } }",
        6,
    ),
    (
        "a bulk operation with its outcomes",
        "query ($bulk: ID!) { bulkOperation(id: $bulk) { status total outcomes(first: 50) { nodes { code subject message } } } }",
        2,
    ),
    (
        "nodes of several kinds",
        "query ($ids: [ID!]!) { nodes(ids: $ids) { __typename id ... on Lead { person { email } sequence { name } }
            ... on Execution { lead { person { email } } } ... on Person { email } } }",
        7,
    ),
    (
        "senders with what they sent today",
        "query { senders { name address sentToday } }",
        2,
    ),
];

/// The API where every statement is noted, by its beginning.
pub fn noted(h: &Harness) -> (CadenzaSchema, Arc<Mutex<Vec<String>>>) {
    noted_up_to(h, 160)
}

/// The same with so many letters of each.
pub fn noted_up_to(h: &Harness, letters: usize) -> (CadenzaSchema, Arc<Mutex<Vec<String>>>) {
    let statements = Arc::new(Mutex::new(Vec::new()));
    let seen = Arc::clone(&statements);
    let db = h.services.db.clone().observed(move |statement: &str| {
        seen.lock()
            .expect("not poisoned")
            .push(statement.chars().take(letters).collect());
    });
    let services = Services {
        db,
        ..h.services.clone()
    };
    (CadenzaSchema::new(services), statements)
}

/// So many leads, each with an execution and events.
async fn filled(h: &Harness, count: usize) -> Value {
    let (sequence, _) = published(h, &["one", "two"]).await;
    // Whose problems hang on the attributes that people have.
    for _ in 0..count.min(10) {
        let task = json!({ "title": "{{ attributes.city }}" });
        let steps = json!([{ "key": "one", "action": { "task": task } }]);
        let input = json!({ "name": "Draft", "flow": { "steps": steps } });
        done(h, "sequenceCreate", input).await;
    }
    many(h, count).await;
    let operation = enrol(h, &sequence, json!({ "filter": { "has": ["EMAIL"] } })).await;
    finish(h).await;
    let all = h
        .data(
            "{ leads(first: 250) { nodes { id person { id } } } }",
            json!({}),
        )
        .await;
    let leads = all["leads"]["nodes"].as_array().expect("leads");
    assert_eq!(leads.len(), count);
    let mut ids = Vec::new();
    for node in leads {
        let id: LeadId = node["id"].as_str().expect("an id").parse().expect("an id");
        let made = execution(h, id, "SENT", None, h.clock.now()).await;
        ids.extend([
            node["id"].clone(),
            node["person"]["id"].clone(),
            json!(made.to_string()),
        ]);
    }
    json!({ "sequence": sequence, "lead": leads[0]["id"], "bulk": operation["id"], "ids": ids })
}

async fn counted(h: &Harness, count: usize) -> BTreeMap<&'static str, Vec<String>> {
    let all = filled(h, count).await;
    let (schema, statements) = noted(h);
    let mut counted = BTreeMap::new();
    for (name, document, _) in VIEWS {
        let mut variables = json!({});
        for (key, value) in all.as_object().expect("an object") {
            if document.contains(&format!("${key}:")) {
                variables[key] = value.clone();
            }
        }
        statements.lock().expect("not poisoned").clear();
        let request = async_graphql::Request::new(*document)
            .variables(async_graphql::Variables::from_json(variables))
            .data(h.viewer.clone());
        let answer = schema.execute(request).await;
        assert!(answer.is_ok(), "{name}: {answer:?}");
        counted.insert(*name, statements.lock().expect("not poisoned").clone());
    }
    counted
}

both!(
    a_view_takes_as_many_statements_for_many_rows_as_for_few,
    |h: Harness| async move {
        let few = counted(&h, 3).await;
        let mut wrong = Vec::new();
        // Many in another workspace, so that each is by itself.
        let stranger = Harness {
            admin: h.stranger.clone(),
            viewer: h.stranger.clone(),
            editor: h.stranger.clone(),
            stranger: h.admin.clone(),
            services: h.services.clone(),
            clock: h.clock.clone(),
            schema: h.schema.clone(),
            token: String::new(),
            url: h.url.clone(),
            shutdown: h.shutdown.child_token(),
        };
        let many = counted(&stranger, 50).await;
        for (name, _, most) in VIEWS {
            let (few, many) = (&few[name], &many[name]);
            if few.len().max(many.len()) > *most {
                wrong.push(format!(
                    "{name}: {} for 3 rows, {} for 50, at most {most}:\n  {}",
                    few.len(),
                    many.len(),
                    many.join("\n  ")
                ));
            }
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    }
);

both!(
    an_event_of_a_subscription_takes_a_statement_for_each_kind,
    |h: Harness| async move {
        filled(&h, 3).await;
        let (schema, statements) = noted(&h);
        let document = "subscription { executionEvents(after: \"evt_0000000000000000\") { kind sequence { name }
        lead { status person { email } sequence { name } } } }";
        let request = async_graphql::Request::new(document).data(h.viewer.clone());
        let mut events = schema.execute_stream(request);
        let first = events.next().await.expect("an event");
        assert!(first.is_ok(), "{first:?}");
        for n in 0..3 {
            statements.lock().expect("not poisoned").clear();
            let next = events.next().await.expect("an event");
            assert!(next.is_ok(), "{next:?}");
            let taken = statements.lock().expect("not poisoned").clone();
            assert!(taken.len() <= 4, "event {n}: {taken:#?}");
        }
    }
);
