//! Everything with an id is read again by it, by its own workspace alone.

use serde_json::json;

use crate::harness::{Harness, both};

const NODES: &str = "query ($ids: [ID!]!) { nodes(ids: $ids) { id __typename } }";

both!(whatever_has_an_id_is_read_by_it, |h: Harness| async move {
    let person = json!({ "email": "ada@example.org" });
    let person = h
        .mutate("personCreate", "PersonInput", person, "person { id }")
        .await;
    let sender = json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.org",
        "transport": { "outbox": {} } });
    let sender = h
        .mutate("senderCreate", "SenderCreateInput", sender, "sender { id }")
        .await;
    let sequence = json!({ "name": "Welcome" });
    let sequence = h
        .mutate(
            "sequenceCreate",
            "SequenceCreateInput",
            sequence,
            "sequence { id }",
        )
        .await;
    let import = json!({ "csv": "email\nbob@example.org\n" });
    let import = crate::enrol::import(&h, import).await;
    let made = [
        (&person["person"]["id"], "Person"),
        (&sender["sender"]["id"], "Sender"),
        (&sequence["sequence"]["id"], "Sequence"),
        (&import["id"], "BulkOperation"),
    ];
    let mut ids: Vec<_> = made.iter().map(|(id, _)| (*id).clone()).collect();
    let expected: Vec<_> = made
        .iter()
        .map(|(id, kind)| json!({ "id": id, "__typename": kind }))
        .collect();
    let read = h.data(NODES, json!({ "ids": ids })).await;
    assert_eq!(read["nodes"], json!(expected));
    for (id, kind) in made {
        let read = h.data(
            "query ($id: ID!) { node(id: $id) { __typename } }",
            json!({ "id": id }),
        );
        assert_eq!(read.await["node"]["__typename"], kind);
    }
    // What is not there, another's, or no id at all looks the same.
    let theirs = h
        .execute_as(&h.stranger, NODES, json!({ "ids": ids }))
        .await;
    assert_eq!(
        theirs["data"]["nodes"],
        json!([null, null, null, null]),
        "{theirs}"
    );
    ids.truncate(1);
    ids.extend(
        [
            "",
            "nonsense",
            "seq_",
            "ws_01",
            "lead_00000000000000000000000000",
        ]
        .map(|id| json!(id)),
    );
    let read = h.data(NODES, json!({ "ids": ids })).await;
    assert_eq!(
        read["nodes"],
        json!([expected[0], null, null, null, null, null])
    );
    let many = vec!["x"; 251];
    let refused = h.execute(NODES, json!({ "ids": many })).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
});
