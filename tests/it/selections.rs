//! Selections: an explicit "everything", and what a selection holds before anything is done with it.

use serde_json::{Value, json};

use crate::enrol::{codes, enrol, people, suppress};
use crate::harness::{Harness, both};
use crate::leads::{bulk, enrolled};
use crate::sequences::{published, refusals};

both!(
    everything_is_said_and_not_left_out,
    |h: Harness| async move {
        let (sequence, leads) = enrolled(&h, &["ada", "bob"]).await;
        let select = "operation { id }";
        for filter in [json!({}), json!({ "search": " " })] {
            let input = json!({ "leads": { "filter": filter } });
            let payload = h
                .try_mutate("leadsPause", "LeadsBulkInput", input, select)
                .await;
            let message = payload["userErrors"][0]["message"]
                .as_str()
                .expect("refused");
            assert!(message.contains("everything: true"), "{message}");
            let input = json!({ "sequenceId": sequence, "people": { "filter": filter } });
            let payload = h
                .try_mutate("leadsEnrol", "LeadsEnrolInput", input, select)
                .await;
            let message = payload["userErrors"][0]["message"]
                .as_str()
                .expect("refused");
            assert!(message.contains("everything: true"), "{message}");
        }
        let input = json!({ "leads": { "everything": false } });
        let payload = h
            .try_mutate("leadsPause", "LeadsBulkInput", input, select)
            .await;
        assert_eq!(
            refusals(&payload),
            [("INVALID".to_owned(), "leads.everything".to_owned())]
        );
        let paused = bulk(&h, "leadsPause", json!({ "everything": true })).await;
        assert_eq!(codes(&paused), ["DONE", "DONE"]);
        people(&h, &["eve"]).await;
        let enrolled = enrol(&h, &sequence, json!({ "everything": true })).await;
        let mut told = codes(&enrolled);
        told.sort_unstable();
        assert_eq!(told, ["ALREADY_ENROLLED", "ALREADY_ENROLLED", "DONE"]);
        assert_eq!(leads.len(), 2);
    }
);

const PEOPLE: &str = "query($selection: PeopleSelection!, $sequence: ID, $again: Boolean = false) {
    peopleSelected(selection: $selection, sequenceId: $sequence, reEnrol: $again) {
        count sample(first: 2) { email }
        enrolment { enrolled skipped failed outcomes { code message count } } } }";

async fn selected(h: &Harness, selection: Value, sequence: &str, again: bool) -> Value {
    let variables = json!({ "selection": selection, "sequence": sequence, "again": again });
    h.data(PEOPLE, variables).await["peopleSelected"].take()
}

/// How many there are of each code.
fn counted(outcomes: &Value) -> Vec<(String, i64)> {
    let mut counts = std::collections::BTreeMap::new();
    for one in outcomes.as_array().into_iter().flatten() {
        let code = one["code"].as_str().expect("a code").to_owned();
        *counts.entry(code).or_insert(0) += one["count"].as_i64().expect("a count");
    }
    counts.into_iter().collect()
}

both!(
    a_preview_tells_what_enrolling_comes_to,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one", "two"]).await;
        let ids = people(&h, &["ada", "bob", "eve", "dan", "fay"]).await;
        suppress(&h, "bob@example.com", "BOUNCED").await;
        suppress(&h, "eve@example.com", "UNSUBSCRIBED").await;
        enrol(&h, &sequence, json!({ "ids": [ids[3], ids[4]] })).await;
        let leads = "query { leads(filter: { search: \"fay@\" }) { nodes { id } } }";
        let fay = h.data(leads, json!({})).await["leads"]["nodes"][0]["id"].clone();
        bulk(&h, "leadsRemove", json!({ "ids": [fay] })).await;
        let input = json!({ "phone": "+351912345678", "company": "x" });
        h.mutate("personCreate", "PersonInput", input, "person { id }")
            .await;

        for (selection, missing) in [
            (json!({ "everything": true }), 0),
            (
                json!({ "filter": { "createdAt": { "from": "2000-01-01T00:00:00Z" } } }),
                0,
            ),
        ] {
            for again in [false, true] {
                let told = selected(&h, selection.clone(), &sequence, again).await;
                assert_eq!(told["count"], 6);
                assert_eq!(
                    told["sample"],
                    json!([{ "email": "ada@example.com" }, { "email": "bob@example.com" }])
                );
                let enrolment = &told["enrolment"];
                assert_eq!(enrolment["failed"], missing);
                let enrolled = 1 + i64::from(again);
                assert_eq!(enrolment["enrolled"], enrolled, "{enrolment}");
                assert_eq!(enrolment["skipped"], 6 - enrolled);
                let expected = counted(&enrolment["outcomes"]);
                let already = 2 - i64::from(again);
                let told: Vec<_> = expected
                    .iter()
                    .map(|(code, n)| (code.as_str(), *n))
                    .collect();
                assert_eq!(
                    told,
                    [
                        ("ALREADY_ENROLLED", already),
                        ("DONE", enrolled),
                        ("NO_ADDRESS", 1),
                        ("OPTED_OUT", 1),
                        ("SUPPRESSED", 1)
                    ]
                );
            }
        }
        let named = json!({ "ids": [ids[4], ids[0], ids[0], "person_00000000000000000000000007"] });
        let told = selected(&h, named.clone(), &sequence, false).await;
        assert_eq!(told["count"], 2);
        assert_eq!(
            told["sample"],
            json!([{ "email": "fay@example.com" }, { "email": "ada@example.com" }]),
            "in the order in which they are named"
        );
        assert_eq!(
            counted(&told["enrolment"]["outcomes"]),
            [
                ("ALREADY_ENROLLED".to_owned(), 1),
                ("DONE".to_owned(), 1),
                ("NOT_FOUND".to_owned(), 1)
            ]
        );
        // And so it comes.
        let done = enrol(&h, &sequence, json!({ "everything": true })).await;
        assert_eq!(done["succeeded"], 1);
        let refused = h
            .execute(PEOPLE, json!({ "selection": { "filter": {} } }))
            .await;
        assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        let closed =
            "mutation($id: ID!) { sequenceDisable(input: { id: $id }) { sequence { id } } }";
        h.data(closed, json!({ "id": sequence })).await;
        let told = selected(&h, named, &sequence, false).await;
        assert_eq!(
            told["enrolment"]["failed"], 3,
            "a sequence that takes nobody: {told}"
        );
    }
);

both!(
    nobody_is_left_out_by_a_sequence_that_is_not_there,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        people(&h, &["ada", "bob"]).await;
        let gone = json!({ "notInSequenceId": "seq_00000000000000000000000007" });
        let wrong = "notInSequenceId: There is no sequence with this id";
        let list =
            "query($filter: PersonFilter) { people(first: 9, filter: $filter) { nodes { id } } }";
        for (query, variables, path) in [
            (list, json!({ "filter": gone }), "filter."),
            (
                PEOPLE,
                json!({ "selection": { "filter": gone } }),
                "selection.filter.",
            ),
        ] {
            let refused = h.execute(query, variables).await;
            assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
            let said = refused["errors"][0]["message"].as_str().expect("a message");
            assert!(said.starts_with(&format!("{path}{wrong}")), "{said}");
        }
        let select = "userErrors { code path }";
        let code = |payload: &Value| {
            let error = &payload["userErrors"][0];
            let path = error["path"].as_array().expect("a path").iter();
            let path: Vec<_> = path.filter_map(Value::as_str).collect();
            (error["code"].clone(), path.join("."))
        };
        let input = json!({ "sequenceId": sequence, "people": { "filter": gone } });
        let enrol = h
            .try_mutate("leadsEnrol", "LeadsEnrolInput", input, select)
            .await;
        let expected = (
            json!("NOT_FOUND"),
            "people.filter.notInSequenceId".to_owned(),
        );
        assert_eq!(code(&enrol), expected);
        let input = json!({ "name": "New", "trigger": "PERSON_CREATED", "sequenceId": sequence,
            "filter": gone });
        let made = h
            .try_mutate("workflowCreate", "WorkflowCreateInput", input, select)
            .await;
        let expected = (json!("NOT_FOUND"), "filter.notInSequenceId".to_owned());
        assert_eq!(code(&made), expected);
        let there = json!({ "filter": { "notInSequenceId": sequence } });
        let found = h.data(list, there).await;
        assert_eq!(found["people"]["nodes"].as_array().map(Vec::len), Some(2));
    }
);

both!(a_preview_counts_leads_by_status, |h: Harness| async move {
    let (sequence, leads) = enrolled(&h, &["ada", "bob", "eve"]).await;
    bulk(&h, "leadsPause", json!({ "ids": [leads[1]] })).await;
    let query = "query($selection: LeadSelection!) { leadsSelected(selection: $selection) {
        count byStatus { pending inProgress paused completed stopped total }
        sample(first: 2) { id person { email } } } }";
    for (selection, first) in [
        (json!({ "everything": true }), &leads[0]),
        (
            json!({ "filter": { "sequenceIds": [sequence] } }),
            &leads[0],
        ),
        (
            json!({ "ids": [leads[2], leads[1], leads[0], leads[2]] }),
            &leads[2],
        ),
    ] {
        let told = h.data(query, json!({ "selection": selection })).await["leadsSelected"].take();
        assert_eq!(told["count"], 3, "{told}");
        assert_eq!(
            told["byStatus"],
            json!({ "pending": 2, "inProgress": 0, "paused": 1, "completed": 0, "stopped": 0,
                "total": 3 })
        );
        assert_eq!(told["sample"].as_array().map(Vec::len), Some(2));
        if selection.get("ids").is_some() {
            assert_eq!(told["sample"][0]["id"], json!(first));
        }
    }
    let refused = h
        .execute(query, json!({ "selection": { "filter": {} } }))
        .await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
});
