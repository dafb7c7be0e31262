//! The audit of what is no mutation: files of people that are uploaded, and lists that are exported.

use reqwest::StatusCode;
use serde_json::{Value, json};

use crate::enrol::many;
use crate::harness::{Harness, both, until};
use crate::sequences::published;
use crate::served::{Served, client};
use crate::upload::{begun, left, send};

const ENTRIES: &str = "query Entries($mutations: [String!], $object: ID) {
    auditEntries(filter: { mutations: $mutations, objectId: $object }, first: 250) { nodes {
        token { id } tokenName role mutation objectIds input outcome codes requestId } } }";

/// The entries under these names, oldest first.
async fn entries(h: &Harness, names: &[&str]) -> Vec<Value> {
    let mut page = h.data(ENTRIES, json!({ "mutations": names })).await;
    let nodes = page["auditEntries"]["nodes"].as_array_mut();
    let mut nodes = std::mem::take(nodes.expect("entries"));
    nodes.reverse();
    nodes
}

/// A token with a name, and its id and secret.
async fn token(h: &Harness, input: Value) -> (Value, String) {
    let select = "token { id } secret";
    let mut made = h
        .mutate("tokenCreate", "TokenCreateInput", input, select)
        .await;
    let secret = made["secret"].as_str().expect("a secret").to_owned();
    (made["token"]["id"].take(), secret)
}

fn request(answer: &reqwest::Response) -> Value {
    let name = answer.headers()["x-request-id"].to_str();
    json!(name.expect("a text"))
}

both!(
    a_file_that_is_uploaded_has_its_entry_however_it_ends,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let mapping = json!({ "Mail": "email", "s3cr3t": "attributes.x" }).to_string();
        let parameters = [
            ("mapping", mapping.as_str()),
            ("onConflict", "SKIP"),
            ("idempotencyKey", "s3cr3t"),
        ];
        let csv = "Mail,s3cr3t\ns3cr3t@example.com,s3cr3t\n";
        let answer = send(&server, &h.token, &parameters, csv).await;
        assert_eq!(answer.status(), StatusCode::ACCEPTED);
        let done = request(&answer);
        let operation: Value = answer.json().await.expect("JSON");
        // The same key for another file, a file that is none, and one who may not.
        let other = send(
            &server,
            &h.token,
            &parameters,
            "Mail,s3cr3t\nb@example.com,\n",
        )
        .await;
        assert_eq!(other.status(), StatusCode::CONFLICT);
        let none = send(&server, &h.token, &[("dryRun", "true")], "s3cr3t\n").await;
        assert_eq!(none.status(), StatusCode::UNPROCESSABLE_ENTITY);
        let odd = send(&server, &h.token, &[("s3cr3t", "x")], csv).await;
        assert_eq!(odd.status(), StatusCode::BAD_REQUEST);
        let (viewer, secret) = token(&h, json!({ "name": "looks", "role": "VIEWER" })).await;
        let forbidden = send(&server, &secret, &[], csv).await;
        assert_eq!(forbidden.status(), StatusCode::FORBIDDEN);
        // Nobody is named where there is no token.
        assert_eq!(send(&server, "cdz_x", &[], csv).await.status(), 401);
        let all = entries(&h, &["peopleImport"]).await;
        let told: Vec<_> = all
            .iter()
            .map(|one| {
                (
                    one["outcome"].clone(),
                    one["codes"].clone(),
                    one["role"].clone(),
                )
            })
            .collect();
        let refused = |code: &str, role: &str| (json!("REFUSED"), json!([code]), json!(role));
        let wanted = [
            (json!("DONE"), json!([]), json!("ADMIN")),
            refused("CONFLICT", "ADMIN"),
            refused("INVALID", "ADMIN"),
            refused("BAD_USER_INPUT", "ADMIN"),
            refused("FORBIDDEN", "VIEWER"),
        ];
        assert_eq!(told, wanted);
        assert_eq!(all[0]["requestId"], done);
        assert_eq!(all[0]["objectIds"], json!([operation["id"]]));
        assert_eq!(all[0]["token"]["id"], h.admin.token.to_string());
        assert_eq!(
            all[0]["input"],
            json!({ "upload": { "onConflict": "SKIP", "dryRun": false } })
        );
        assert_eq!(all[2]["input"]["upload"]["dryRun"], true);
        assert_eq!(all[4]["token"]["id"], viewer);
        assert!(!json!(all).to_string().contains("s3cr3t"), "{all:#?}");
        // It is found by what it made.
        let found = h.data(ENTRIES, json!({ "object": operation["id"] })).await;
        assert_eq!(found["auditEntries"]["nodes"], json!([all[0]]));
        server.end().await;
    }
);

both!(
    whatever_comes_of_an_upload_is_entered_before_its_end,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let stream = begun(&server, &h.token).await;
        // With the first piece that is kept its entry is there, were the server to die now.
        let entry = until("it is entered", async || {
            entries(&h, &["peopleImport"]).await.pop()
        });
        assert_eq!(entry.await["outcome"], "UNFINISHED");
        drop(stream);
        until("the pieces are forgotten", async || {
            (left(&h).await == 0).then_some(())
        })
        .await;
        let all = entries(&h, &["peopleImport"]).await;
        assert_eq!(all.len(), 1);
        assert_ne!(all[0]["outcome"], "DONE", "{all:#?}");
        assert_eq!(all[0]["objectIds"], json!([]));
        server.end().await;
    }
);

both!(
    a_list_that_is_exported_has_its_entry,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        many(&h, 3).await;
        let (sequence, _) = published(&h, &["one"]).await;
        let get = async |token: &str, name: &str, filter: Value| {
            let url = format!("http://{}/export/{name}", server.address);
            let mut url = url::Url::parse(&url).expect("a URL");
            if !filter.is_null() {
                let text = filter.to_string();
                url.query_pairs_mut().append_pair("filter", &text);
            }
            let answer = client().get(url).bearer_auth(token).send().await;
            let answer = answer.expect("an answer");
            let told = (answer.status().as_u16(), request(&answer));
            answer.text().await.expect("all of it");
            told
        };
        let input = json!({ "name": "looks", "role": "VIEWER", "sequenceIds": [sequence] });
        let (limited, secret) = token(&h, input).await;
        let of_people = json!({ "search": "s3cr3t", "has": ["EMAIL"],
            "attributes": [{ "name": "s3cr3t", "op": "EQ", "value": "s3cr3t" }] });
        let (status, first) = get(&h.token, "people.csv", of_people).await;
        assert_eq!(status, 200);
        let of_leads = json!({ "sequenceIds": [sequence], "status": ["PENDING"] });
        assert_eq!(get(&secret, "leads.csv", of_leads).await.0, 200);
        assert_eq!(get(&h.token, "executions.csv", Value::Null).await.0, 200);
        assert_eq!(get(&secret, "people.csv", Value::Null).await.0, 403);
        assert_eq!(get(&h.token, "people.csv", json!("s3cr3t")).await.0, 400);
        assert_eq!(get(&h.token, "senders.csv", Value::Null).await.0, 404);
        assert_eq!(get("cdz_x", "people.csv", Value::Null).await.0, 401);
        let names = ["peopleExport", "leadsExport", "executionsExport"];
        let all = entries(&h, &names).await;
        let told: Vec<_> = all
            .iter()
            .map(|one| json!([one["mutation"], one["outcome"], one["codes"], one["role"]]))
            .collect();
        let wanted = [
            json!(["peopleExport", "DONE", [], "ADMIN"]),
            json!(["leadsExport", "DONE", [], "VIEWER"]),
            json!(["executionsExport", "DONE", [], "ADMIN"]),
            json!(["peopleExport", "REFUSED", ["FORBIDDEN"], "VIEWER"]),
            json!(["peopleExport", "REFUSED", ["BAD_USER_INPUT"], "ADMIN"]),
        ];
        assert_eq!(told, wanted);
        assert_eq!(all[0]["requestId"], first);
        assert_eq!(
            all[0]["input"],
            json!({ "filter": { "search": "…", "has": ["EMAIL"],
                "attributes": [{ "name": "…", "op": "…", "value": "…" }] } })
        );
        assert_eq!(
            all[1]["input"],
            json!({ "filter": { "sequenceIds": [sequence], "status": ["PENDING"] } })
        );
        assert_eq!(all[1]["objectIds"], json!([sequence]));
        assert_eq!(all[1]["token"]["id"], limited);
        assert_eq!(all[2]["input"], json!({ "filter": null }));
        assert!(!json!(all).to_string().contains("s3cr3t"), "{all:#?}");
        server.end().await;
    }
);
