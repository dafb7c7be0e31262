//! What is answered by a shorter way is what is answered by the library's own: objects that are shown
//! promptly, documents that are remembered, events that are written straight from the log.

use cadenza::app::Caller;
use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::domain::flow::Channel;
use cadenza::domain::id::LeadId;
use cadenza::store::event;
use cadenza::store::sql::{self, Arguments};
use serde_json::{Value, json};

use crate::enrol::{enrol, finish, many};
use crate::harness::{Harness, both, start};
use crate::leads::{enrolled, execution};
use crate::sequences::published;
use crate::served::Served;

/// Documents of which every brace is a selection's.
const VIEWS: &[&str] = &[
    "query { leads(first: 50) { nodes { id status dueAt person { email firstName } sequence { id name }
        currentStep { key channel } } pageInfo { hasNextPage hasPreviousPage startCursor endCursor } } }",
    "query { leads(first: 3) { edges { cursor node { status person { id leads(first: 2) { totalCount nodes { id
        sequence { name } } } } sequence { name leadCounts { total } publishedVersion { number } }
        executions(first: 1) { nodes { status subject sender { name sentToday } lead { id person { email } } } }
        blockers { code } engagement { opens } currentStep { key wait action { __typename } } } } } }",
    "query { executions(first: 50) { nodes { id status stepKey sender { name } sequence { name status }
        lead { id status person { email } } error { code } scheduledAt } totalCount } }",
    "query { events(first: 50) { cursor kind at stepKey channel detail sequence { name } lead { status }
        execution { status } sender { name } } }",
    "query { people(first: 10) { nodes { id email optedOut attributes createdAt leads(first: 1) { nodes { id } } } } }",
    "query { sequences(first: 10) { nodes { id name status flow { steps { key wait channel } } } } senders { id name } }",
];

/// The same document, of which no selection is so simple that it could be shown promptly.
fn by_library(document: &str) -> String {
    document.replace('{', "{ ... {").replace('}', "} }")
}

async fn answered(h: &Harness, caller: &Caller, document: &str, variables: Value) -> String {
    let request = async_graphql::Request::new(document)
        .variables(async_graphql::Variables::from_json(variables))
        .data(caller.clone());
    let answer = h.schema.execute(request).await;
    assert!(answer.is_ok(), "{document}: {answer:?}");
    serde_json::to_string(&answer.data).expect("JSON")
}

both!(
    what_is_shown_promptly_is_what_the_library_shows,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one", "two"]).await;
        many(&h, 5).await;
        enrol(&h, &sequence, json!({ "filter": { "has": ["EMAIL"] } })).await;
        finish(&h).await;
        let all = h
            .data("{ leads(first: 250) { nodes { id } } }", json!({}))
            .await;
        for (index, node) in all["leads"]["nodes"]
            .as_array()
            .into_iter()
            .flatten()
            .enumerate()
        {
            let id: LeadId = node["id"].as_str().expect("an id").parse().expect("an id");
            execution(&h, id, "SENT", None, h.clock.now()).await;
            // The first of the list, and others, have no step to load.
            if index % 2 == 0 {
                let over = "UPDATE lead SET status = 'COMPLETED', step_key = NULL, due_at = NULL WHERE id = $1";
                let arguments = Arguments::new().with(id.uuid());
                let changed = sql::execute(h.services.db.write(), over, arguments).await;
                assert_eq!(changed.expect("a lead"), 1);
            }
        }
        for document in VIEWS {
            let promptly = answered(&h, &h.viewer, document, json!({})).await;
            let expected = answered(&h, &h.viewer, &by_library(document), json!({})).await;
            assert_eq!(promptly, expected, "{document}");
            assert!(promptly.len() > 100, "{document}: {promptly}");
        }
    }
);

both!(
    a_mutation_sees_what_the_one_before_it_changed,
    |h: Harness| async move {
        enrolled(&h, &["ada"]).await;
        let people = h
            .data("{ people(first: 1) { nodes { id } } }", json!({}))
            .await;
        let id = &people["people"]["nodes"][0]["id"];
        let change = |name: &str| json!({ "id": id, "set": { "firstName": name } });
        let document = "mutation ($a: PersonUpdateInput!, $b: PersonUpdateInput!) {
            a: personUpdate(input: $a) { ...P } b: personUpdate(input: $b) { ...P } }
            fragment P on PersonPayload { person { firstName leads(first: 1) { nodes { person { firstName } } } } }";
        let both = json!({ "a": change("Ann"), "b": change("Bea") });
        let answer = h.data(document, both).await;
        for (field, name) in [("a", "Ann"), ("b", "Bea")] {
            let person = &answer[field]["person"];
            assert_eq!(person["firstName"], name, "{answer}");
            let again = &person["leads"]["nodes"][0]["person"]["firstName"];
            assert_eq!(again, name, "{answer}");
        }
    }
);

both!(
    a_document_is_remembered_for_nobody_in_particular,
    |h: Harness| async move {
        enrolled(&h, &["ada", "bob", "cleo"]).await;
        let document = "query Some($n: Int, $all: Boolean!) {
                people(first: $n) { totalCount @include(if: $all) nodes { email } } }
            query Names($n: Int) { people(first: $n) { nodes { firstName } } }";
        // Each twice: the second time it is remembered.
        for _ in 0..2 {
            for (name, variables, expected) in [
                ("Some", json!({ "n": 1, "all": true }), (1, json!(3))),
                ("Some", json!({ "n": 2, "all": false }), (2, json!(null))),
                ("Some", json!({ "all": true }), (3, json!(3))),
                ("Names", json!({ "n": 2 }), (2, json!(null))),
            ] {
                let ask = |caller: Caller| {
                    let mut request = async_graphql::Request::new(document)
                        .variables(async_graphql::Variables::from_json(variables.clone()))
                        .data(caller);
                    request.operation_name = Some(name.to_owned());
                    h.schema.execute(request)
                };
                let data = |answer: async_graphql::Response| {
                    assert!(answer.is_ok(), "{name}: {answer:?}");
                    serde_json::to_value(answer.data).expect("JSON")["people"].take()
                };
                let own = data(ask(h.viewer.clone()).await);
                let nodes = own["nodes"].as_array().expect("nodes");
                assert_eq!((nodes.len(), &own["totalCount"]), (expected.0, &expected.1));
                assert_eq!(nodes[0].get("email").is_some(), name == "Some", "{own}");
                let strange = data(ask(h.stranger.clone()).await);
                assert_eq!(strange["nodes"], json!([]), "{name}");
            }
            // A value that does not fit is refused, however often the document was run.
            let variables = json!({ "n": "many", "all": true });
            let mut wrong = async_graphql::Request::new(document)
                .variables(async_graphql::Variables::from_json(variables))
                .data(h.viewer.clone());
            wrong.operation_name = Some("Some".into());
            let refused = h.schema.execute(wrong).await;
            let text = serde_json::to_string(&refused).expect("JSON");
            assert!(text.contains("GRAPHQL_VALIDATION_FAILED"), "{text}");
        }
    }
);

both!(
    a_role_that_does_not_suffice_is_refused_after_one_that_did,
    |h: Harness| async move {
        let document =
            "mutation ($i: SequenceCreateInput!) { sequenceCreate(input: $i) { sequence { id } } }";
        let input = json!({ "i": { "name": "Welcome" } });
        for _ in 0..2 {
            let made = h.execute_as(&h.editor, document, input.clone()).await;
            assert!(
                made["data"]["sequenceCreate"]["sequence"]["id"].is_string(),
                "{made}"
            );
            let refused = h.execute_as(&h.viewer, document, input.clone()).await;
            assert_eq!(
                refused["errors"][0]["extensions"]["code"], "FORBIDDEN",
                "{refused}"
            );
        }
    }
);

both!(
    what_is_written_from_the_log_is_what_the_library_answers,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let sequence = sequence.parse().expect("an id");
        let server = Served::new(&h).await;
        let mut socket = server.socket().await;
        socket.init(&h.token).await;
        let after = event::last_seq(h.services.db.read(), h.admin.workspace)
            .await
            .expect("a number");
        let after = json!({ "after": format!("evt_{after:016x}") });
        let fields = "cursor kind at stepKey channel detail __typename";
        let of = |below: String| {
            format!(
                "subscription ($after: EventCursor) {{ executionEvents(after: $after,
                filter: {{ kinds: [SEQUENCE_PUBLISHED, SEQUENCE_DISABLED] }}) {{ {below} }} }}"
            )
        };
        socket
            .subscribe("written", &of(fields.to_owned()), after.clone())
            .await;
        socket
            .subscribe("library", &of(format!("... {{ {fields} }}")), after)
            .await;
        // Both hear some as they come and some out of the log, and of others nothing.
        let mut expected = 0;
        let mut heard = [Vec::new(), Vec::new()];
        for round in 0..4_i64 {
            let mut events = Vec::new();
            for (n, kind) in [
                EventKind::SequencePublished,
                EventKind::LeadPaused,
                EventKind::SequenceDisabled,
            ]
            .into_iter()
            .cycle()
            .take(if round == 2 { 2_000 } else { 30 })
            .enumerate()
            {
                let at = start() + chrono::Duration::milliseconds(round * 377);
                let mut event = NewEvent::of_sequence(at, kind, sequence)
                    .at_step(format!("\"{n}\u{1f600}\n"))
                    .with_detail(
                        json!({ "n": n, "text": "a\"b\u{7f}\u{2028}", "list": [1.5, null] }),
                    );
                event.channel = (n % 2 == 0).then_some(Channel::Email);
                expected += usize::from(kind != EventKind::LeadPaused);
                events.push(event);
            }
            let tx = h.services.db.begin().await.expect("a transaction");
            event::append(&tx, h.admin.workspace, events)
                .await
                .expect("appended");
            tx.commit().await.expect("committed");
            h.services.wake.log();
            while heard.iter().any(|heard| heard.len() < expected) {
                let next = socket.message().await;
                assert_eq!(next["type"], "next", "{next}");
                let text = serde_json::to_string(&next["payload"]).expect("JSON");
                heard[usize::from(next["id"] == "library")].push(text);
            }
        }
        let [written, library] = heard;
        assert_eq!(written, library);
        server.end().await;
    }
);

both!(
    conditions_know_the_defaults_of_their_variables,
    |h: Harness| async move {
        let document = "query ($details: Boolean = false, $n: Int = 1) {
            a: __typename @include(if: $details) b: __typename @skip(if: $details)
            people(first: $n) { pageInfo { hasNextPage @include(if: $details) hasPreviousPage } totalCount } }";
        for _ in 0..2 {
            let without = h.data(document, json!({})).await;
            let expected = json!({ "b": "Query", "people": { "pageInfo": { "hasPreviousPage": false }, "totalCount": 0 } });
            assert_eq!(without, expected);
            let with = h.data(document, json!({ "details": true })).await;
            let expected = json!({ "a": "Query", "people": { "pageInfo": { "hasNextPage": false, "hasPreviousPage": false }, "totalCount": 0 } });
            assert_eq!(with, expected);
        }
    }
);

both!(
    an_object_of_which_nothing_is_left_is_there,
    |h: Harness| async move {
        let (sequence, leads) = enrolled(&h, &["ada"]).await;
        let document = "query ($ids: [ID!]!, $no: Boolean!) {
            nodes(ids: $ids) { ... on Lead { person { attributes @include(if: $no) ...P @include(if: $no) } } }
            lead(id: \"lead_0\") { id @include(if: $no) }
            people { pageInfo { endCursor @include(if: $no) } nodes { attributes ... on Person { leads { nodes { ...L } } } } } }
            fragment P on Person { id } fragment L on Lead { id @skip(if: true) }";
        let asked = h
            .data(
                document,
                json!({ "ids": [sequence, leads[0]], "no": false }),
            )
            .await;
        let expected = json!({
            "nodes": [{}, { "person": {} }],
            "lead": null,
            "people": { "pageInfo": {}, "nodes": [{ "attributes": {}, "leads": { "nodes": [{}] } }] },
        });
        assert_eq!(asked, expected);
        let alias = h.data(
            "{ __there: __typename people { __there: totalCount } }",
            json!({}),
        );
        let expected = json!({ "__there": "Query", "people": { "__there": 1 } });
        assert_eq!(alias.await, expected);
    }
);
