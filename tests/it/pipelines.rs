//! Pipelines and opportunities, and enrolling a segment of a pipeline.

use serde_json::{Value, json};

use crate::enrol::{codes, enrol, people};
use crate::harness::{Harness, both};
use crate::sequences::{published, refusals};

/// A pipeline with the stages New, Talking and Won.
pub async fn pipeline(h: &Harness, name: &str) -> Value {
    let stages =
        json!([{ "name": "New" }, { "name": "Talking" }, { "name": "Won", "kind": "WON" }]);
    let input = json!({ "name": name, "stages": stages });
    let select = "pipeline { id name stages { id name kind } }";
    let made = h.mutate("pipelineCreate", "PipelineCreateInput", input, select);
    made.await["pipeline"].take()
}

/// Makes an opportunity and answers its id.
pub async fn opportunity(h: &Harness, name: &str, person: &str, stage: &Value) -> String {
    let input = json!({ "name": name, "personId": person, "stageId": stage, "amount": 1200.5 });
    let select = "opportunity { id }";
    let made = h.mutate("opportunityCreate", "OpportunityCreateInput", input, select);
    let made = made.await;
    made["opportunity"]["id"]
        .as_str()
        .expect("an id")
        .to_owned()
}

fn is(found: Vec<(String, String)>, expected: &[(&str, &str)]) {
    let found: Vec<(&str, &str)> = found
        .iter()
        .map(|(code, path)| (&**code, &**path))
        .collect();
    assert_eq!(found, expected);
}

async fn named(h: &Harness, filter: Value) -> Vec<String> {
    let query = "query ($filter: OpportunityFilter) { opportunities(filter: $filter) {
        totalCount nodes { name } } }";
    let found = h.data(query, json!({ "filter": filter })).await;
    let names: Vec<String> = found["opportunities"]["nodes"]
        .as_array()
        .expect("nodes")
        .iter()
        .map(|node| node["name"].as_str().expect("a name").to_owned())
        .collect();
    assert_eq!(found["opportunities"]["totalCount"], names.len());
    names
}

both!(
    opportunities_are_made_moved_and_found,
    |h: Harness| async move {
        let pipeline = pipeline(&h, "Sales").await;
        let stage = |n: usize| &pipeline["stages"][n]["id"];
        assert_eq!(pipeline["stages"][2]["kind"], "WON");
        assert_eq!(pipeline["stages"][0]["kind"], "OPEN");
        let ids = people(&h, &["ada", "bob"]).await;
        let deal = opportunity(&h, "Engines for Ada", &ids[0], stage(0)).await;
        opportunity(&h, "Ada again", &ids[0], stage(1)).await;
        opportunity(&h, "100% Bob", &ids[1], stage(1)).await;
        assert_eq!(named(&h, json!({ "search": "ADA" })).await.len(), 2);
        assert_eq!(named(&h, json!({ "search": "0%" })).await, ["100% Bob"]);
        assert_eq!(
            named(&h, json!({ "stageIds": [stage(1)] })).await,
            ["Ada again", "100% Bob"]
        );
        assert!(named(&h, json!({ "stageIds": [] })).await.is_empty());
        let one = json!({ "ids": [deal], "pipelineId": pipeline["id"], "search": " engines ada " });
        assert_eq!(named(&h, one).await, ["Engines for Ada"]);

        let moved = json!({ "id": deal, "stageId": stage(2) });
        let select = "opportunity { stage { name kind } pipeline { name } amount
            person { email opportunities { totalCount nodes { name stage { name } } } } }";
        for _ in 0..2 {
            let moved = h.mutate(
                "opportunityMove",
                "OpportunityMoveInput",
                moved.clone(),
                select,
            );
            assert_eq!(
                moved.await["opportunity"],
                json!({
                    "stage": { "name": "Won", "kind": "WON" },
                    "pipeline": { "name": "Sales" },
                    "amount": 1200.5,
                    "person": { "email": "ada@example.com", "opportunities": {
                        "totalCount": 2,
                        "nodes": [
                            { "name": "Ada again", "stage": { "name": "Talking" } },
                            { "name": "Engines for Ada", "stage": { "name": "Won" } },
                        ],
                    } },
                })
            );
        }
        let all = "{ pipelines { id name stages { name } } }";
        assert_eq!(
            h.data(all, json!({})).await["pipelines"],
            json!([{ "id": pipeline["id"], "name": "Sales",
                "stages": [{ "name": "New" }, { "name": "Talking" }, { "name": "Won" }] }])
        );
    }
);

both!(pages_of_opportunities_lead_on, |h: Harness| async move {
    let pipeline = pipeline(&h, "Sales").await;
    let stage = &pipeline["stages"][0]["id"];
    let person = people(&h, &["ada"]).await.remove(0);
    for n in 0..5 {
        opportunity(&h, &format!("deal {n}"), &person, stage).await;
    }
    let query = "query ($after: String) { opportunities(first: 2, after: $after) {
        nodes { name } pageInfo { endCursor hasNextPage } } }";
    let (mut after, mut names) = (Value::Null, Vec::new());
    loop {
        let page = h.data(query, json!({ "after": after })).await["opportunities"].take();
        names.extend(page["nodes"].as_array().expect("nodes").clone());
        after = page["pageInfo"]["endCursor"].clone();
        if page["pageInfo"]["hasNextPage"] == false {
            break;
        }
    }
    let names: Vec<&str> = names
        .iter()
        .filter_map(|node| node["name"].as_str())
        .collect();
    assert_eq!(names, ["deal 0", "deal 1", "deal 2", "deal 3", "deal 4"]);
    let query = "query ($before: String) { opportunities(last: 2, before: $before) {
        nodes { name } pageInfo { startCursor } } }";
    let last = h.data(query, json!({})).await;
    let before = &last["opportunities"]["pageInfo"]["startCursor"];
    let page = h.data(query, json!({ "before": before })).await;
    assert_eq!(
        page["opportunities"]["nodes"],
        json!([{ "name": "deal 1" }, { "name": "deal 2" }])
    );
});

both!(what_is_wrong_is_told_at_once, |h: Harness| async move {
    let refused = async |name: &str, of: &str, input: Value| {
        let payload = h
            .try_mutate(name, of, input, "userErrors { code path }")
            .await;
        refusals(&payload)
    };
    let input =
        json!({ "name": " ", "stages": [{ "name": "a" }, { "name": "a" }, { "name": "" }] });
    is(
        refused("pipelineCreate", "PipelineCreateInput", input).await,
        &[
            ("INVALID", "name"),
            ("INVALID", "stages.1.name"),
            ("INVALID", "stages.2.name"),
        ],
    );
    let input = json!({ "name": "x", "stages": [] });
    is(
        refused("pipelineCreate", "PipelineCreateInput", input).await,
        &[("INVALID", "stages")],
    );
    let pipeline = pipeline(&h, "Sales").await;
    let stage = &pipeline["stages"][0]["id"];
    let person = people(&h, &["ada"]).await.remove(0);
    let gone = |id: &str| format!("{}{}", &id[..id.len() - 4], "zzzz");
    let input = json!({ "name": "", "personId": gone(&person), "amount": -1,
        "stageId": gone(stage.as_str().expect("an id")) });
    is(
        refused("opportunityCreate", "OpportunityCreateInput", input).await,
        &[
            ("INVALID", "name"),
            ("INVALID", "amount"),
            ("NOT_FOUND", "personId"),
            ("NOT_FOUND", "stageId"),
        ],
    );
    let deal = opportunity(&h, "deal", &person, stage).await;
    let input = json!({ "id": gone(&deal), "stageId": person });
    is(
        refused("opportunityMove", "OpportunityMoveInput", input).await,
        &[("INVALID", "stageId")],
    );
    let input = json!({ "id": gone(&deal), "stageId": stage });
    is(
        refused("opportunityMove", "OpportunityMoveInput", input).await,
        &[("NOT_FOUND", "id")],
    );
});

both!(a_segment_is_enrolled, |h: Harness| async move {
    let (sequence, _) = published(&h, &["one"]).await;
    let pipeline = pipeline(&h, "Sales").await;
    let stage = |n: usize| &pipeline["stages"][n]["id"];
    let ids = people(&h, &["ada", "bob", "cid", "dan"]).await;
    opportunity(&h, "one", &ids[0], stage(0)).await;
    opportunity(&h, "two", &ids[0], stage(0)).await;
    opportunity(&h, "three", &ids[1], stage(0)).await;
    let elsewhere = opportunity(&h, "four", &ids[2], stage(1)).await;
    let operation = enrol(
        &h,
        &sequence,
        json!({ "opportunities": { "stageIds": [stage(0)] } }),
    )
    .await;
    assert_eq!(operation["total"], 2);
    assert_eq!(codes(&operation), ["DONE", "DONE"]);
    let subjects: Vec<&Value> = operation["outcomes"]["nodes"]
        .as_array()
        .expect("outcomes")
        .iter()
        .map(|outcome| &outcome["subject"])
        .collect();
    assert_eq!(subjects, [&json!(ids[0]), &json!(ids[1])]);
    // By id each is told of: whose they are, and what there is not.
    let gone = format!("{}{}", &elsewhere[..elsewhere.len() - 4], "zzzz");
    let chosen = json!({ "opportunityIds": [elsewhere, gone, elsewhere] });
    let operation = enrol(&h, &sequence, chosen).await;
    assert_eq!(codes(&operation), ["DONE", "NOT_FOUND", "ALREADY_ENROLLED"]);
    assert_eq!(
        operation["outcomes"]["nodes"][0]["subject"],
        ids[2].as_str()
    );
    assert_eq!(operation["outcomes"]["nodes"][1]["subject"], gone);

    for empty in [
        json!({ "opportunities": {} }),
        json!({ "opportunities": { "search": " " } }),
    ] {
        let input = json!({ "sequenceId": sequence, "people": empty });
        let payload = h
            .try_mutate(
                "leadsEnrol",
                "LeadsEnrolInput",
                input,
                "userErrors { code path }",
            )
            .await;
        is(refusals(&payload), &[("INVALID", "people.opportunities")]);
    }
});

both!(who_is_won_is_left_alone, |h: Harness| async move {
    let pipeline = pipeline(&h, "Sales").await;
    let stage = |n: usize| &pipeline["stages"][n]["id"];
    let person = people(&h, &["ada"]).await.remove(0);
    let mut sequences = Vec::new();
    for stops in [true, false] {
        let (sequence, _) = crate::sequences::published(&h, &["one", "two"]).await;
        let id = json!({ "id": sequence });
        crate::sequences::done(&h, "sequenceDisable", id.clone()).await;
        let input = json!({ "id": sequence, "settings": { "stopOnOpportunityWon": stops } });
        crate::sequences::done(&h, "sequenceUpdate", input).await;
        crate::sequences::done(&h, "sequencePublish", id).await;
        enrol(&h, &sequence, json!({ "ids": [person] })).await;
        sequences.push(sequence);
    }
    let statuses = async || {
        let query = "query ($ids: [ID!]) { leads(filter: { sequenceIds: $ids }) {
            nodes { sequence { id } status stopReason } } }";
        let found = h.data(query, json!({ "ids": sequences })).await;
        let nodes = found["leads"]["nodes"].as_array().expect("leads").clone();
        let of = |sequence: &String| {
            let lead = nodes
                .iter()
                .find(|node| node["sequence"]["id"] == sequence.as_str());
            let lead = lead.expect("a lead");
            (lead["status"].clone(), lead["stopReason"].clone())
        };
        sequences.iter().map(of).collect::<Vec<_>>()
    };
    let deal = opportunity(&h, "deal", &person, stage(0)).await;
    let input = json!({ "id": deal, "stageId": stage(1) });
    h.mutate(
        "opportunityMove",
        "OpportunityMoveInput",
        input,
        "opportunity { id }",
    )
    .await;
    let pending = (json!("PENDING"), json!(null));
    assert_eq!(statuses().await, [pending.clone(), pending.clone()]);
    let input = json!({ "id": deal, "stageId": stage(2) });
    h.mutate(
        "opportunityMove",
        "OpportunityMoveInput",
        input,
        "opportunity { id }",
    )
    .await;
    let won = (json!("STOPPED"), json!("OPPORTUNITY_WON"));
    assert_eq!(statuses().await, [won, pending]);
    assert_eq!(
        crate::sequences::kinds(&h).await.last().map(String::as_str),
        Some("LEAD_STOPPED")
    );
});
