//! What clients of the field expect beside plain requests: batches, documents by their hash, parts
//! and events as they come, pages of other origins; and that nothing is too large or too slow.

use cadenza::domain::event::EventKind;
use cadenza::http::{Documents, Options, Origins};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::harness::{Harness, both};
use crate::http::append;
use crate::served::{Served, client};

/// What an answer of the API holds.
async fn told(request: reqwest::RequestBuilder) -> (StatusCode, Value) {
    let answer = request.send().await.expect("an answer");
    let status = answer.status();
    (status, answer.json().await.expect("JSON"))
}

fn code(body: &Value) -> &Value {
    &body["errors"][0]["extensions"]["code"]
}

both!(a_batch_is_answered_in_its_order, |h: Harness| async move {
    let server = Served::new(&h).await;
    let create = |email: &str| {
        json!({
            "query": "mutation ($i: PersonInput!) { personCreate(input: $i) { person { email } userErrors { code } } }",
            "variables": { "i": { "email": email } },
        })
    };
    let (status, body) = told(server.post(&h.token).json(&json!([
        create("a@example.com"),
        create("a@example.com"),
        { "query": "{ people { totalCount } }" },
        { "query": "{ nothing }" },
    ])))
    .await;
    assert_eq!(status, StatusCode::OK, "{body}");
    assert_eq!(
        body[0]["data"]["personCreate"]["person"]["email"],
        "a@example.com"
    );
    assert_eq!(
        body[1]["data"]["personCreate"]["userErrors"][0]["code"],
        "ALREADY_EXISTS"
    );
    assert_eq!(body[2]["data"]["people"]["totalCount"], 1);
    assert_eq!(code(&body[3]), "GRAPHQL_VALIDATION_FAILED");
    let one = json!({ "query": "{ __typename }" });
    let wide = json!({ "query": "{ leads(first: 100) { nodes { executions(first: 100) { nodes { id } } } } }" });
    for (batch, expected) in [
        (vec![one.clone(); 11], "BAD_USER_INPUT"),
        (vec![], "BAD_USER_INPUT"),
        (
            vec![
                one,
                json!({ "query": "subscription { executionEvents { cursor } }" }),
            ],
            "BAD_USER_INPUT",
        ),
        (vec![wide; 3], "QUERY_TOO_COMPLEX"),
    ] {
        let (status, body) = told(server.post(&h.token).json(&batch)).await;
        assert_eq!(
            (status, code(&body)),
            (StatusCode::BAD_REQUEST, &json!(expected)),
            "{body}"
        );
    }
    server.end().await;
});

both!(
    a_document_can_be_named_by_its_hash,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let query = "{ __typename }";
        let hash = cadenza::secrets::sha256_hex(query);
        let extensions =
            |hash: &str| json!({ "persistedQuery": { "version": 1, "sha256Hash": hash } });
        let by_hash = json!({ "extensions": extensions(&hash) });
        let (_, body) = told(server.post(&h.token).json(&by_hash)).await;
        assert_eq!(code(&body), "PERSISTED_QUERY_NOT_FOUND");
        assert_eq!(body["errors"][0]["message"], "PersistedQueryNotFound");
        let mismatch = json!({ "query": query, "extensions": extensions(&"a".repeat(64)) });
        let (status, body) = told(server.post(&h.token).json(&mismatch)).await;
        assert_eq!(
            (status, code(&body)),
            (StatusCode::BAD_REQUEST, &json!("BAD_USER_INPUT"))
        );
        let register = json!({ "query": query, "extensions": extensions(&hash) });
        let (_, body) = told(server.post(&h.token).json(&register)).await;
        assert_eq!(body, json!({ "data": { "__typename": "Query" } }));
        for request in [
            server.post(&h.token).json(&by_hash),
            server
                .post(&h.token)
                .json(&json!({ "documentId": format!("sha256:{hash}") })),
            client()
                .get(server.url())
                .bearer_auth(&h.token)
                .query(&[("extensions", extensions(&hash).to_string())]),
        ] {
            let (_, body) = told(request).await;
            assert_eq!(body, json!({ "data": { "__typename": "Query" } }));
        }
        let mut socket = server.socket().await;
        socket.init(&h.token).await;
        let payload = json!({ "extensions": extensions(&hash) });
        socket
            .say(json!({ "id": "1", "type": "subscribe", "payload": payload }))
            .await;
        assert_eq!(
            socket.message().await["payload"]["data"]["__typename"],
            "Query"
        );
        server.end().await;
    }
);

both!(
    a_server_can_be_told_to_run_trusted_documents_only,
    |h: Harness| async move {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), r#"{"people": "{ people { totalCount } }"}"#).expect("written");
        let documents = Documents::trusted(file.path()).expect("documents");
        let server = Served::with(
            &h,
            Options {
                documents,
                ..Options::default()
            },
        )
        .await;
        let (_, body) = told(
            server
                .post(&h.token)
                .json(&json!({ "documentId": "people" })),
        )
        .await;
        assert_eq!(body, json!({ "data": { "people": { "totalCount": 0 } } }));
        for (asked, expected) in [
            (json!({ "query": "{ __typename }" }), "DOCUMENT_NOT_TRUSTED"),
            (
                json!({ "documentId": "leads" }),
                "PERSISTED_QUERY_NOT_FOUND",
            ),
        ] {
            let (_, body) = told(server.post(&h.token).json(&asked)).await;
            assert_eq!(code(&body), expected, "{body}");
        }
        let mut socket = server.socket().await;
        socket.init(&h.token).await;
        socket
            .subscribe(
                "1",
                "subscription { executionEvents { cursor } }",
                json!({}),
            )
            .await;
        let refused = socket.message().await;
        assert_eq!(
            refused["payload"][0]["extensions"]["code"],
            "DOCUMENT_NOT_TRUSTED"
        );
        server.end().await;
    }
);

both!(
    a_subscription_comes_in_parts_as_soon_as_they_are_there,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        append(&h, EventKind::SequencePublished).await;
        let request = server.post(&h.token).header(
            "accept",
            "multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\",application/json",
        );
        let follow = json!({ "query": "subscription { executionEvents(after: \"evt_0000000000000000\") { kind } }" });
        let mut answer = request.json(&follow).send().await.expect("an answer");
        let media_type = answer.headers()["content-type"]
            .to_str()
            .expect("text")
            .to_owned();
        assert_eq!(
            media_type,
            "multipart/mixed;boundary=\"graphql\";subscriptionSpec=\"1.0\""
        );
        let mut text = String::new();
        // The part is over, boundary included, while the subscription goes on.
        let whole = "{\"payload\":{\"data\":{\"executionEvents\":{\"kind\":\"SEQUENCE_PUBLISHED\"}}}}\r\n--graphql";
        while !text.contains(whole) {
            let chunk = answer.chunk().await.expect("more").expect("not the end");
            text.push_str(std::str::from_utf8(&chunk).expect("text"));
        }
        assert!(
            text.starts_with("--graphql\r\nContent-Type: application/json\r\n\r\n"),
            "{text}"
        );
        drop(answer);
        // What is no subscription is answered as JSON, and by its one part where that is not taken.
        let accept = "multipart/mixed;subscriptionSpec=1.0";
        let query = json!({ "query": "{ __typename }" });
        let plain = server
            .post(&h.token)
            .header("accept", format!("{accept},application/json"))
            .json(&query);
        assert_eq!(told(plain).await.1["data"]["__typename"], "Query");
        let parts = server
            .post(&h.token)
            .header("accept", accept)
            .json(&query)
            .send()
            .await;
        let parts = parts.expect("an answer").text().await.expect("text");
        assert!(
            parts.contains("{\"payload\":{\"data\":{\"__typename\":\"Query\"}}}\r\n--graphql"),
            "{parts}"
        );
        assert!(parts.ends_with("--graphql--\r\n"), "{parts}");
        server.end().await;
    }
);

both!(
    pages_of_other_origins_are_admitted_by_name,
    |h: Harness| async move {
        let origins = Origins::read(["https://app.example.com"]).expect("an origin");
        let server = Served::with(
            &h,
            Options {
                origins,
                ..Options::default()
            },
        )
        .await;
        let asked = |origin: &'static str| {
            client()
                .request(reqwest::Method::OPTIONS, server.url())
                .header("origin", origin)
                .header("access-control-request-method", "POST")
                .header(
                    "access-control-request-headers",
                    "authorization,content-type",
                )
                .send()
        };
        let allowed = asked("https://app.example.com").await.expect("an answer");
        assert_eq!(
            allowed.headers()["access-control-allow-origin"],
            "https://app.example.com"
        );
        let foreign = asked("https://evil.example").await.expect("an answer");
        assert!(
            !foreign
                .headers()
                .contains_key("access-control-allow-origin")
        );
        let own = format!("http://{}", server.address);
        for (origin, is_admitted) in [
            ("https://app.example.com", true),
            (own.as_str(), true),
            ("https://evil.example", false),
            ("null", false),
        ] {
            let upgraded = client()
                .get(server.url())
                .header("origin", origin)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-protocol", "graphql-transport-ws")
                .send()
                .await
                .expect("an answer");
            let expected = if is_admitted {
                StatusCode::SWITCHING_PROTOCOLS
            } else {
                StatusCode::FORBIDDEN
            };
            assert_eq!(upgraded.status(), expected, "{origin}");
        }
        server.end().await;
    }
);

both!(what_was_not_given_is_not_changed, |h: Harness| async move {
    let created = h.data(
        "mutation { personCreate(input: { email: \"a@example.com\", firstName: \"\\u{41}nn \\uD83D\\uDE00\", lastName: \"B\" }) { person { id } } }",
        json!({}),
    ).await;
    let id = &created["personCreate"]["person"]["id"];
    let update = "mutation ($id: ID!, $first: String, $last: String) {
        personUpdate(input: { id: $id, set: { firstName: $first, lastName: $last } }) { person { firstName lastName } userErrors { message } } }";
    let changed = h.data(update, json!({ "id": id, "last": "C" })).await;
    let person = &changed["personUpdate"]["person"];
    assert_eq!(
        *person,
        json!({ "firstName": "Ann 😀", "lastName": "C" }),
        "{changed}"
    );
});

both!(the_cost_is_told_to_who_asks, |h: Harness| async move {
    let server = Served::new(&h).await;
    let query = json!({ "query": "{ leads(first: 10) { nodes { id person { id } } } }" });
    let (_, plain) = told(server.post(&h.token).json(&query)).await;
    assert!(plain.get("extensions").is_none(), "{plain}");
    let (_, costed) = told(
        server
            .post(&h.token)
            .header("cadenza-cost", "1")
            .json(&query),
    )
    .await;
    assert_eq!(
        costed["extensions"]["cost"],
        json!({ "requested": 21, "limit": 30_000 })
    );
    server.end().await;
});

both!(every_error_names_its_request, |h: Harness| async move {
    let server = Served::new(&h).await;
    for body in [
        "{",
        "{}",
        r#"{"query":"{"}"#,
        r#"{"query":"{ nothing }"}"#,
        r#"{"query":"{ leads(first: 1000) { nodes { id } } }"}"#,
    ] {
        let request = server
            .post(&h.token)
            .header("content-type", "application/json");
        let answer = request.body(body).send().await.expect("an answer");
        let id = answer.headers()["x-request-id"]
            .to_str()
            .expect("text")
            .to_owned();
        let body: Value = answer.json().await.expect("JSON");
        assert_eq!(
            body["errors"][0]["extensions"]["requestId"],
            id.as_str(),
            "{body}"
        );
    }
    server.end().await;
});

both!(
    a_body_that_never_ends_does_not_hold_up_others,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let mut slow = tokio::net::TcpStream::connect(&server.address)
            .await
            .expect("a connection");
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: 1000\r\n\r\n{{",
            h.token
        );
        slow.write_all(head.as_bytes()).await.expect("written");
        let (_, body) = told(
            server
                .post(&h.token)
                .json(&json!({ "query": "{ __typename }" })),
        )
        .await;
        assert_eq!(body["data"]["__typename"], "Query");
        let mut answer = String::new();
        slow.read_to_string(&mut answer)
            .await
            .expect("read to the end");
        assert!(answer.starts_with("HTTP/1.1 408 "), "{answer}");
        assert!(answer.contains("did not come in time"), "{answer}");
        server.end().await;
    }
);
