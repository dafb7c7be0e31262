//! Tokens: made and shown once, refused everywhere once they are revoked or over, counted, and held
//! to their limits.

use std::time::Duration;

use cadenza::app::Services;
use cadenza::app::token::access::{KNOWN_FOR, RateLimit};
use cadenza::entropy::Entropy;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::Db;
use reqwest::StatusCode;
use sea_orm::{ConnectionTrait, Statement};
use serde_json::{Value, json};

use crate::harness::{Harness, both, start, until};
use crate::served::{Heard, Served};

const TOKEN: &str =
    "token { id name role hint createdBy expiresAt revokedAt revokedBy lastUsedAt isValid }";

/// Makes a token; answers its id and its secret.
async fn create(h: &Harness, input: Value) -> (String, String) {
    let made = h
        .mutate(
            "tokenCreate",
            "TokenCreateInput",
            input,
            &format!("{TOKEN} secret"),
        )
        .await;
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    (text(&made["token"]["id"]), text(&made["secret"]))
}

async fn status(server: &Served, token: &str) -> StatusCode {
    let request = server
        .post(token)
        .json(&json!({ "query": "{ __typename }" }));
    request.send().await.expect("an answer").status()
}

both!(
    a_token_is_shown_once_and_lets_in_what_its_role_allows,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let input = json!({ "name": " Leads dashboard ", "role": "VIEWER", "expiresAt": "2026-03-03T00:00:00Z" });
        let made = h
            .mutate(
                "tokenCreate",
                "TokenCreateInput",
                input,
                &format!("{TOKEN} secret"),
            )
            .await;
        let secret = made["secret"].as_str().expect("a secret");
        let token = &made["token"];
        assert_eq!(token["name"], "Leads dashboard");
        assert_eq!(
            (&token["role"], &token["isValid"]),
            (&json!("VIEWER"), &json!(true))
        );
        assert_eq!(token["createdBy"], h.admin.name.as_str());
        let hint = token["hint"].as_str().expect("a hint");
        assert!(secret.starts_with(hint) && hint.len() == 8, "{hint}");
        assert_eq!(status(&server, secret).await, StatusCode::OK);
        let write = json!({ "query": "mutation { personCreate(input: { email: \"a@example.com\" }) { person { id } } }" });
        let refused: Value = server
            .post(secret)
            .json(&write)
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(refused["errors"][0]["extensions"]["code"], "FORBIDDEN");
        let own: Value = server
            .post(secret)
            .json(&json!({ "query": "{ currentToken { id name } }" }))
            .send()
            .await
            .expect("an answer")
            .json()
            .await
            .expect("JSON");
        assert_eq!(own["data"]["currentToken"]["id"], token["id"]);

        // Nothing in the database is the secret.
        let rows = h
            .services
            .db
            .read()
            .query_all_raw(Statement::from_string(
                h.services.db.read().get_database_backend(),
                "SELECT name || role || secret_hash || hint || created_by AS text FROM api_token",
            ))
            .await
            .expect("rows");
        assert_eq!(rows.len(), 5);
        for row in rows {
            let text: String = row.try_get("", "text").expect("a text");
            assert!(!text.contains(secret), "{text}");
        }
        server.end().await;
    }
);

both!(
    who_may_make_and_see_tokens_is_an_admin,
    |h: Harness| async move {
        let list = "{ tokens(first: 2) { totalCount nodes { id role } pageInfo { hasNextPage endCursor } } }";
        let page = h.data(list, json!({})).await;
        assert_eq!(
            page["tokens"]["totalCount"], 3,
            "the other workspace's is not counted"
        );
        assert_eq!(page["tokens"]["pageInfo"]["hasNextPage"], true);
        let next = "query ($a: String) { tokens(first: 2, after: $a) { nodes { role } pageInfo { hasNextPage } } }";
        let next = h
            .data(
                next,
                json!({ "a": page["tokens"]["pageInfo"]["endCursor"] }),
            )
            .await;
        assert_eq!(next["tokens"]["nodes"].as_array().map(Vec::len), Some(1));
        let made = "mutation { tokenCreate(input: { name: \"x\", role: ADMIN }) { secret } }";
        for caller in [&h.editor, &h.viewer] {
            for document in [list, made] {
                let answer = h.execute_as(caller, document, json!({})).await;
                assert_eq!(
                    answer["errors"][0]["extensions"]["code"], "FORBIDDEN",
                    "{answer}"
                );
            }
            let id = h.admin.token.to_string();
            let node = h
                .execute_as(
                    caller,
                    "query ($i: ID!) { node(id: $i) { id } }",
                    json!({ "i": id }),
                )
                .await;
            assert_eq!(
                node["data"]["node"],
                json!(null),
                "an admin's token is not for others to see"
            );
            let own = h
                .execute_as(
                    caller,
                    "query ($i: ID!) { node(id: $i) { id } }",
                    json!({ "i": caller.token.to_string() }),
                )
                .await;
            assert_eq!(own["data"]["node"]["id"], caller.token.to_string());
        }
    }
);

both!(
    what_is_wrong_with_a_token_is_named,
    |h: Harness| async move {
        let both_wrong =
            json!({ "name": "\n", "role": "VIEWER", "expiresAt": "2026-03-02T09:00:00Z" });
        let refused = h
            .try_mutate(
                "tokenCreate",
                "TokenCreateInput",
                both_wrong,
                "secret token { id }",
            )
            .await;
        assert_eq!(
            (&refused["secret"], &refused["token"]),
            (&json!(null), &json!(null))
        );
        let paths: Vec<&Value> = refused["userErrors"]
            .as_array()
            .expect("errors")
            .iter()
            .map(|error| &error["path"][0])
            .collect();
        assert_eq!(paths, ["name", "expiresAt"]);
        for (id, code) in [
            (h.admin.token.to_string(), "WRONG_STATE"),
            (h.stranger.token.to_string(), "NOT_FOUND"),
            ("token_00000000000000000000000000".into(), "NOT_FOUND"),
            ("person_1".into(), "INVALID"),
        ] {
            let refused = h
                .try_mutate(
                    "tokenRevoke",
                    "TokenRevokeInput",
                    json!({ "id": id }),
                    "token { id }",
                )
                .await;
            assert_eq!(refused["userErrors"][0]["code"], code, "{id}: {refused}");
        }
    }
);

both!(
    a_revoked_token_is_refused_by_every_node,
    |h: Harness| async move {
        assert!(
            KNOWN_FOR < Duration::from_secs(1),
            "that is what is promised"
        );
        let (id, secret) = create(&h, json!({ "name": "x", "role": "EDITOR" })).await;
        let here = Served::new(&h).await;
        let db = Db::connect(&h.url).await.expect("the database opens");
        let services = Services::for_tests(db.clone(), h.clock.clone(), Entropy::seeded(2));
        let there = Served::over(&h, CadenzaSchema::new(services.clone())).await;
        assert_eq!(status(&here, &secret).await, StatusCode::OK);
        assert_eq!(status(&there, &secret).await, StatusCode::OK);
        let mut socket = there.socket().await;
        socket.init(&secret).await;
        socket
            .subscribe(
                "s",
                "subscription { executionEvents { cursor } }",
                json!({}),
            )
            .await;
        let events = there.post(&secret).header("accept", "text/event-stream");
        let follow = json!({ "query": "subscription { executionEvents { cursor } }" });
        let events = events.json(&follow).send().await.expect("an answer");
        let mut kept = there.socket().await;
        kept.init(&h.token).await;

        let revoked = h
            .mutate(
                "tokenRevoke",
                "TokenRevokeInput",
                json!({ "id": id }),
                TOKEN,
            )
            .await;
        assert_eq!(revoked["token"]["revokedBy"], h.admin.name.as_str());
        assert_eq!(revoked["token"]["isValid"], false);
        assert_eq!(socket.hear().await, Heard::Closed(4403));
        let rest = events.text().await.expect("the stream ends");
        assert!(!rest.contains("event: complete"), "it was cut off: {rest}");
        for server in [&here, &there] {
            until("the token is refused", async || {
                (status(server, &secret).await == StatusCode::UNAUTHORIZED).then_some(())
            })
            .await;
        }
        let again = h
            .mutate(
                "tokenRevoke",
                "TokenRevokeInput",
                json!({ "id": id }),
                TOKEN,
            )
            .await;
        assert_eq!(again["token"]["revokedAt"], revoked["token"]["revokedAt"]);
        // Everybody else goes on.
        kept.subscribe("q", "{ __typename }", json!({})).await;
        assert_eq!(
            kept.message().await["payload"]["data"]["__typename"],
            "Query"
        );
        here.end().await;
        there.end().await;
        drop(services);
        db.close().await.expect("closes");
    }
);

both!(a_token_is_over_at_its_time, |h: Harness| async move {
    let (_, secret) = create(
        &h,
        json!({ "name": "x", "role": "VIEWER", "expiresAt": "2026-03-02T09:30:00Z" }),
    )
    .await;
    let server = Served::new(&h).await;
    let mut socket = server.socket().await;
    socket.init(&secret).await;
    assert_eq!(status(&server, &secret).await, StatusCode::OK);
    h.clock.advance_to(start() + chrono::Duration::minutes(30));
    assert_eq!(status(&server, &secret).await, StatusCode::UNAUTHORIZED);
    assert_eq!(socket.hear().await, Heard::Closed(4403));
    server.end().await;
});

both!(a_token_has_a_rate_of_its_own, |h: Harness| async move {
    let server = Served::new(&h).await;
    let (_, other) = create(&h, json!({ "name": "x", "role": "VIEWER" })).await;
    let mut socket = server.socket().await;
    socket.init(&h.token).await;
    // So little that nothing comes back while this runs.
    h.services.access.limit(RateLimit {
        per_second: 1,
        burst: 3,
    });
    let mut answers = Vec::new();
    for _ in 0..30 {
        let request = server
            .post(&h.token)
            .json(&json!({ "query": "{ __typename }" }));
        answers.push(request.send().await.expect("an answer"));
    }
    let refused = answers
        .into_iter()
        .find(|answer| answer.status() != StatusCode::OK);
    let refused = refused.expect("the limit is met");
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    let seconds: u64 = refused.headers()["retry-after"]
        .to_str()
        .expect("text")
        .parse()
        .expect("seconds");
    assert!((1..=2).contains(&seconds), "{seconds}");
    let body: Value = refused.json().await.expect("JSON");
    let extensions = &body["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "RATE_LIMITED");
    assert!(
        (1..=1_000).contains(&extensions["retryAfterMs"].as_u64().expect("a number")),
        "{body}"
    );
    assert_eq!(
        status(&server, &other).await,
        StatusCode::OK,
        "others have their own"
    );
    // An operation of a socket counts as well, and its refusal leaves the socket as it is.
    let mut refused = None;
    for n in 0..30 {
        socket
            .subscribe(&format!("o{n}"), "{ __typename }", json!({}))
            .await;
        let message = socket.message().await;
        if message["type"] == "error" {
            refused = Some(message);
            break;
        }
        assert_eq!(socket.message().await["type"], "complete");
    }
    let refused = refused.expect("the limit is met");
    assert_eq!(refused["payload"][0]["extensions"]["code"], "RATE_LIMITED");
    h.services.access.limit(RateLimit::default());
    socket.subscribe("last", "{ __typename }", json!({})).await;
    assert_eq!(
        socket.message().await["payload"]["data"]["__typename"],
        "Query"
    );
    server.end().await;
});

both!(
    what_a_token_was_used_for_can_be_read,
    |h: Harness| async move {
        let (id, secret) = create(&h, json!({ "name": "x", "role": "VIEWER" })).await;
        let server = Served::new(&h).await;
        for _ in 0..4 {
            assert_eq!(status(&server, &secret).await, StatusCode::OK);
        }
        let batch = json!([{ "query": "{ __typename }" }, { "query": "{ __typename }" }]);
        server
            .post(&secret)
            .json(&batch)
            .send()
            .await
            .expect("an answer");
        h.services.access.write().await.expect("written");
        h.clock.advance_to(start() + chrono::Duration::days(1));
        assert_eq!(status(&server, &secret).await, StatusCode::OK);
        h.services.access.write().await.expect("written");
        h.mutate(
            "tokenRevoke",
            "TokenRevokeInput",
            json!({ "id": id }),
            "token { id }",
        )
        .await;
        until("the token is refused", async || {
            (status(&server, &secret).await == StatusCode::UNAUTHORIZED).then_some(())
        })
        .await;
        h.services.access.write().await.expect("written");
        let query = "query ($i: ID!) { node(id: $i) { ... on ApiToken { lastUsedAt
        uses { nodes { day address requests refused firstAt lastAt } } } } }";
        let told = h.data(query, json!({ "i": id })).await;
        let token = &told["node"];
        let uses = token["uses"]["nodes"].as_array().expect("uses");
        assert_eq!(uses.len(), 2, "{told:#}");
        assert_eq!(
            (&uses[1]["day"], &uses[1]["requests"], &uses[1]["refused"]),
            (&json!("2026-03-02"), &json!(6), &json!(0))
        );
        assert_eq!(uses[1]["address"], "127.0.0.1");
        assert_eq!(uses[0]["day"], "2026-03-03");
        assert!(uses[0]["refused"].as_i64() >= Some(1), "{told:#}");
        assert_eq!(token["lastUsedAt"], "2026-03-03T09:00:00.000Z");
        let first = h.data("query ($i: ID!) { node(id: $i) { ... on ApiToken { uses(last: 1) { nodes { day } pageInfo { hasPreviousPage } } } } }", json!({ "i": id })).await;
        assert_eq!(
            first["node"]["uses"],
            json!({ "nodes": [{ "day": "2026-03-02" }], "pageInfo": { "hasPreviousPage": true } })
        );
        server.end().await;
    }
);

both!(
    a_batch_that_is_more_than_the_rate_says_so,
    |h: Harness| async move {
        h.services.access.limit(RateLimit {
            per_second: 5,
            burst: 5,
        });
        let server = Served::new(&h).await;
        let batch = vec![json!({ "query": "{ __typename }" }); 7];
        let refused = server.post(&h.token).json(&batch).send().await;
        let refused = refused.expect("an answer");
        assert_eq!(refused.status(), StatusCode::BAD_REQUEST);
        let told: Value = refused.json().await.expect("JSON");
        let message = told["errors"][0]["message"].as_str().expect("a text");
        assert!(message.contains("5 requests at once"), "{message}");
        server.end().await;
    }
);
