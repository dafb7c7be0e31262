//! The API over real sockets: HTTP, server-sent events, and graphql-transport-ws to the letter.

use std::time::Duration;

use cadenza::domain::event::{EventKind, NewEvent};
use cadenza::domain::id::SequenceId;
use cadenza::store::event;
use futures_util::StreamExt;
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;

use crate::harness::{Harness, both, start};
use crate::served::{Heard, Served, client};

const FOLLOW: &str =
    "subscription ($after: EventCursor) { executionEvents(after: $after) { cursor kind } }";

/// More events than the buffers between a server and a client that does not read take.
pub async fn append_many(h: &Harness) {
    let sequence: SequenceId = h.services.entropy.id(start());
    let long = json!({ "text": "x".repeat(8_000) });
    let event = NewEvent::of_sequence(start(), EventKind::SequencePublished, sequence);
    let tx = h.services.db.begin().await.expect("a transaction");
    let events = vec![event.with_detail(long); 4_000];
    event::append(&tx, h.admin.workspace, events)
        .await
        .expect("appended");
    tx.commit().await.expect("committed");
}

pub async fn append(h: &Harness, kind: EventKind) {
    let sequence: SequenceId = h.services.entropy.id(start());
    let tx = h.services.db.begin().await.expect("a transaction");
    let events = vec![NewEvent::of_sequence(start(), kind, sequence)];
    event::append(&tx, h.admin.workspace, events)
        .await
        .expect("appended");
    tx.commit().await.expect("committed");
    h.services.wake.log();
}

both!(
    requests_are_answered_as_the_specification_says,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let (query, json_type) = (json!({ "query": "{ __typename }" }), "application/json");
        let newer = "application/graphql-response+json";
        let bad = json!({ "query": "{ nothing }" });
        for (body, accept, status, media_type) in [
            (&query, "*/*", 200, json_type),
            (&query, json_type, 200, json_type),
            (&query, newer, 200, newer),
            (&bad, json_type, 200, json_type),
            (&bad, newer, 400, newer),
            (&query, "text/html", 406, json_type),
        ] {
            let sent = server
                .post(&h.token)
                .header("accept", accept)
                .json(body)
                .send()
                .await;
            let answer = sent.expect("an answer");
            assert_eq!(answer.status(), status, "{accept} {body}");
            let told = answer.headers()["content-type"]
                .to_str()
                .expect("text")
                .to_owned();
            assert!(told.starts_with(media_type), "{accept}: {told}");
            assert!(answer.headers().contains_key("x-request-id"));
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(
                body.get("data").is_some(),
                body.get("errors").is_none(),
                "{body}"
            );
        }
        for media_type in [
            "text/plain",
            "application/x-www-form-urlencoded",
            "multipart/form-data",
        ] {
            let sent = server.post(&h.token).header("content-type", media_type);
            let answer = sent
                .body(query.to_string())
                .send()
                .await
                .expect("an answer");
            assert_eq!(
                answer.status(),
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                "{media_type}"
            );
        }
        for body in [
            "",
            "[]",
            "{",
            "\"x\"",
            "{\"query\": 1}",
            "{}",
            "{\"query\": \"{ __typename }\", \"variables\": []}",
        ] {
            let sent = server
                .post(&h.token)
                .header("content-type", json_type)
                .body(body);
            let answer = sent.send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{body}");
            let body: Value = answer.json().await.expect("JSON");
            assert_eq!(body["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
        }
        let get = |query: &str| {
            client()
                .get(server.url())
                .query(&[("query", query)])
                .bearer_auth(&h.token)
                .send()
        };
        assert_eq!(
            get("{ __typename }").await.expect("an answer").status(),
            200
        );
        let mutation = get("mutation { x }").await.expect("an answer");
        assert_eq!(mutation.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(mutation.headers()["allow"], "POST");
        for method in [Method::PUT, Method::DELETE, Method::PATCH] {
            let sent = client()
                .request(method, server.url())
                .bearer_auth(&h.token)
                .send()
                .await;
            assert_eq!(
                sent.expect("an answer").status(),
                StatusCode::METHOD_NOT_ALLOWED
            );
        }
        server.end().await;
    }
);

both!(
    without_a_valid_token_nothing_is_told,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let query = json!({ "query": "{ events { cursor } }" });
        let wrong = format!("{}x", h.token);
        let mut told = Vec::new();
        for token in [None, Some("cdz_wrong"), Some(wrong.as_str()), Some("")] {
            for accept in ["application/json", "text/event-stream"] {
                let request = client()
                    .post(server.url())
                    .header("accept", accept)
                    .json(&query);
                let request = match token {
                    Some(token) => request.bearer_auth(token),
                    None => request,
                };
                let answer = request.send().await.expect("an answer");
                assert_eq!(answer.status(), StatusCode::UNAUTHORIZED);
                let id = answer.headers()["x-request-id"].to_str().expect("text");
                let id = id.to_owned();
                let mut body: Value = answer.json().await.expect("JSON");
                let extensions = &mut body["errors"][0]["extensions"];
                assert_eq!(extensions["requestId"].take(), id.as_str());
                told.push(body);
            }
        }
        told.dedup();
        assert_eq!(told.len(), 1, "every bad token is told the same: {told:?}");
        assert_eq!(
            told[0]["errors"][0]["extensions"]["code"],
            "UNAUTHENTICATED"
        );

        for (payload, code) in [
            (json!(null), 4401),
            (json!({}), 4401),
            (json!({ "authorization": "Bearer cdz_wrong" }), 4403),
            (json!({ "authorization": "" }), 4403),
        ] {
            let mut socket = server.socket().await;
            socket
                .say(json!({ "type": "connection_init", "payload": payload }))
                .await;
            assert_eq!(socket.hear().await, Heard::Closed(code), "{payload}");
        }
        let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
        let mut socket = server
            .socket_with(&[protocol, ("authorization", "Bearer cdz_no")])
            .await;
        assert_eq!(socket.hear().await, Heard::Closed(4403));
        let bearer = format!("Bearer {}", h.token);
        let mut socket = server
            .socket_with(&[protocol, ("authorization", &bearer)])
            .await;
        socket.say(json!({ "type": "connection_init" })).await;
        assert_eq!(socket.message().await["type"], "connection_ack");
        server.end().await;
    }
);

both!(
    a_body_has_a_limit_by_what_the_token_allows,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let services = &h.services;
        let viewer = cadenza::app::token::create(
            &services.db,
            &services.clock,
            &services.entropy,
            "ours",
            &cadenza::app::token::Terms::of(cadenza::app::Role::Viewer),
        )
        .await
        .expect("a token")
        .secret;
        let of = |size: usize| {
            json!({ "query": "query ($x: String) { __typename @include(if: true) x: __typename }",
                "variables": { "x": "é\"\n".repeat(size / 8) } })
        };
        for (token, size, status) in [
            (&viewer, 400_000, 200),
            (&viewer, 2 << 20, 413),
            (&h.token, 4 << 20, 200),
            (&h.token, 16 << 20, 413),
        ] {
            let mut body = of(size);
            body["query"] = json!("{ __typename }");
            let sent = server.post(token).json(&body).send().await;
            // A server that refuses early may close while the client still writes.
            match sent {
                Ok(answer) => assert_eq!(answer.status(), status, "{size}"),
                Err(error) => assert_eq!(status, 413, "{size}: {error}"),
            }
        }
        // Deep or endless documents are refused before they are parsed, in no time.
        for document in [
            "{ a ".repeat(50_000),
            format!("{{ a(b: {}) }}", "[".repeat(100_000)),
        ] {
            let sent = server
                .post(&h.token)
                .json(&json!({ "query": document }))
                .send()
                .await;
            let body: Value = sent.expect("an answer").json().await.expect("JSON");
            assert_eq!(
                body["errors"][0]["extensions"]["code"], "QUERY_TOO_COMPLEX",
                "{body}"
            );
        }
        server.end().await;
    }
);

both!(a_socket_keeps_the_protocol, |h: Harness| async move {
    let server = Served::new(&h).await;
    let mut closings = Vec::new();
    for message in [
        json!({ "id": "1", "type": "subscribe", "payload": { "query": "{ __typename }" } }),
        json!({ "type": "nonsense" }),
        json!([1]),
        json!({ "id": "1" }),
        json!({ "type": "subscribe", "payload": { "query": "{ __typename }" } }),
    ] {
        let mut socket = server.socket().await;
        socket.say(message).await;
        closings.push(socket.hear().await);
    }
    assert_eq!(closings, [4401, 4400, 4400, 4400, 4400].map(Heard::Closed));
    for protocol in [None, Some("graphql-ws")] {
        let request = client()
            .get(server.url())
            .header("connection", "upgrade")
            .header("upgrade", "websocket")
            .header("sec-websocket-version", "13")
            .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==");
        let request = match protocol {
            Some(protocol) => request.header("sec-websocket-protocol", protocol),
            None => request,
        };
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST, "{protocol:?}");
    }

    let mut socket = server.socket().await;
    socket.init(&h.token).await;
    socket
        .say(json!({ "type": "ping", "payload": { "a": 1 } }))
        .await;
    assert_eq!(
        socket.message().await,
        json!({ "type": "pong", "payload": { "a": 1 } })
    );
    // Queries run too, and end with a complete; what is refused ends with an error alone.
    socket.subscribe("q", "{ __typename }", json!({})).await;
    let next =
        json!({ "id": "q", "type": "next", "payload": { "data": { "__typename": "Query" } } });
    assert_eq!(socket.message().await, next);
    assert_eq!(
        socket.message().await,
        json!({ "id": "q", "type": "complete" })
    );
    for document in ["{ nothing }", "{", "subscription { nothing }"] {
        socket.subscribe("bad", document, json!({})).await;
        let error = socket.message().await;
        assert_eq!(
            (&error["id"], &error["type"]),
            (&json!("bad"), &json!("error")),
            "{error}"
        );
        assert!(
            error["payload"][0]["extensions"]["code"].is_string(),
            "{error}"
        );
    }
    socket
        .subscribe("live", FOLLOW, json!({ "after": "evt_0000000000000000" }))
        .await;
    append(&h, EventKind::SequencePublished).await;
    let event = socket.message().await;
    assert_eq!(
        event["payload"]["data"]["executionEvents"]["kind"],
        "SEQUENCE_PUBLISHED"
    );
    // Completed by the client, it says no more, and its id is free.
    socket
        .say(json!({ "id": "live", "type": "complete" }))
        .await;
    let after = &event["payload"]["data"]["executionEvents"]["cursor"];
    socket
        .subscribe("live", FOLLOW, json!({ "after": after }))
        .await;
    append(&h, EventKind::SequenceDisabled).await;
    let event = socket.message().await;
    assert_eq!(
        event["payload"]["data"]["executionEvents"]["kind"],
        "SEQUENCE_DISABLED"
    );
    socket.subscribe("live", FOLLOW, json!({})).await;
    assert_eq!(socket.hear().await, Heard::Closed(4409));

    let mut socket = server.socket().await;
    socket.init(&h.token).await;
    socket.say(json!({ "type": "connection_init" })).await;
    assert_eq!(socket.hear().await, Heard::Closed(4429));

    // Who does not wait for the answer to the init is served in turn.
    let mut hasty = server.socket().await;
    let bearer = json!({ "authorization": format!("Bearer {}", h.token) });
    hasty
        .say(json!({ "type": "connection_init", "payload": bearer }))
        .await;
    hasty.subscribe("q", "{ __typename }", json!({})).await;
    for expected in ["connection_ack", "next", "complete"] {
        assert_eq!(hasty.message().await["type"], expected);
    }
    // A close is answered with a close.
    let frame = CloseFrame {
        code: CloseCode::Normal,
        reason: "enough".into(),
    };
    hasty.0.close(Some(frame)).await.expect("sends");
    assert_eq!(hasty.hear().await, Heard::Closed(1000));

    let mut silent = server.socket().await;
    assert_eq!(silent.hear().await, Heard::Closed(4408));

    let mut last = server.socket().await;
    last.init(&h.token).await;
    last.subscribe("live", FOLLOW, json!({})).await;
    server.shutdown.cancel();
    assert_eq!(last.hear().await, Heard::Closed(1001));
    drop((last, silent, socket));
    server.end().await;
});

both!(events_stream_over_sse_and_resume, |h: Harness| async move {
    let server = Served::new(&h).await;
    append(&h, EventKind::SequencePublished).await;
    append(&h, EventKind::SequenceDisabled).await;
    let body = json!({ "query": FOLLOW, "variables": { "after": "evt_0000000000000001" } });
    let request = server
        .post(&h.token)
        .header("accept", "text/event-stream")
        .json(&body);
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.headers()["content-type"], "text/event-stream");
    let mut chunks = answer.bytes_stream();
    let mut text = String::new();
    while !text.contains("event: ") {
        let chunk = chunks.next().await.expect("an event").expect("bytes");
        text.push_str(std::str::from_utf8(&chunk).expect("text"));
    }
    let text = text.replace(":\n\n", "");
    assert!(
        text.starts_with("event: next\ndata: {\"data\":{\"executionEvents\":"),
        "{text}"
    );
    assert!(
        text.contains("SEQUENCE_DISABLED") && !text.contains("SEQUENCE_PUBLISHED"),
        "{text}"
    );
    let once = json!({ "query": "{ __typename }" });
    let request = server
        .post(&h.token)
        .header("accept", "text/event-stream")
        .json(&once);
    let text = request
        .send()
        .await
        .expect("an answer")
        .text()
        .await
        .expect("text");
    let events =
        "event: next\ndata: {\"data\":{\"__typename\":\"Query\"}}\n\nevent: complete\ndata: \n\n";
    assert_eq!(text.replace(":\n\n", ""), events);
    // The server's end is the stream's.
    server.shutdown.cancel();
    let rest = tokio::time::timeout(Duration::from_secs(10), chunks.collect::<Vec<_>>()).await;
    assert!(rest.is_ok(), "the stream ends with the server");
    server.end().await;
});

both!(
    a_subscription_has_one_field_at_its_root,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        for query in [
            "subscription { a: executionEvents { cursor } b: executionEvents { cursor } }",
            "subscription { ...F } fragment F on Subscription { a: executionEvents { cursor } b: executionEvents { cursor } }",
            "subscription { __typename }",
        ] {
            let mut socket = server.socket().await;
            socket.init(&h.token).await;
            socket.subscribe("x", query, json!({})).await;
            let refused = socket.message().await;
            assert_eq!(refused["type"], "error", "{refused}");
            let code = &refused["payload"][0]["extensions"]["code"];
            assert_eq!(code, "GRAPHQL_VALIDATION_FAILED", "{refused}");
        }
        append(&h, EventKind::SequencePublished).await;
        for query in [
            "subscription { ...F } fragment F on Subscription { executionEvents(after: \"evt_0000000000000000\") { kind } }",
            "subscription ($after: EventCursor) { ... on Subscription { executionEvents(after: $after) { kind } } }",
        ] {
            let mut socket = server.socket().await;
            socket.init(&h.token).await;
            let variables = json!({ "after": "evt_0000000000000000" });
            socket.subscribe("x", query, variables).await;
            let next = socket.message().await;
            let kind = &next["payload"]["data"]["executionEvents"]["kind"];
            assert_eq!(kind, "SEQUENCE_PUBLISHED", "{next}");
        }
        server.end().await;
    }
);

both!(
    what_is_refused_is_no_stream_and_says_so_by_its_status,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let request = server.post(&h.token).header("accept", "text/event-stream");
        let answer = request.json(&json!({ "query": "{" })).send().await;
        assert_eq!(answer.expect("an answer").status(), StatusCode::BAD_REQUEST);
        let variables = json!({ "x": vec![0; 300_000] });
        let request = server
            .post(&h.token)
            .json(&json!({ "query": "{ __typename }",
            "variables": variables }));
        let answer = request.send().await.expect("an answer");
        assert_eq!(answer.status(), StatusCode::BAD_REQUEST);
        let told = answer.text().await.expect("text");
        assert!(told.contains("too many values"), "{told}");
        server.end().await;
    }
);

both!(
    a_client_that_does_not_read_holds_up_no_mutation,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        // More than the buffers between the two take.
        append_many(&h).await;

        let mut socket = server.socket().await;
        socket.init(&h.token).await;
        let follow = "subscription ($after: EventCursor) {
            executionEvents(after: $after) { cursor detail } }";
        socket
            .subscribe("all", follow, json!({ "after": "evt_0000000000000000" }))
            .await;
        let mut names = Vec::new();
        for number in 0..20 {
            let name = format!("n{number}");
            let create = "mutation ($input: PersonInput!) { personCreate(input: $input) {
                person { id } } }";
            let input = json!({ "input": { "email": format!("{name}@example.com") } });
            socket.subscribe(&name, create, input).await;
            names.push(name);
        }
        let count = async || {
            let people = h.data("{ people { totalCount } }", json!({})).await;
            people["people"]["totalCount"].as_u64().expect("a number")
        };
        let mut tick = tokio::time::interval(Duration::from_millis(20));
        let made = async {
            while count().await < 20 {
                tick.tick().await;
            }
        };
        let within = tokio::time::timeout(Duration::from_secs(15), made).await;
        assert!(within.is_ok(), "the mutations waited for the reader");
        drop(socket);
        server.end().await;
    }
);
