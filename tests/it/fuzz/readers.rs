//! The readers of requests: bodies, messages, parameters of a URL, headers, names of documents.

use std::collections::BTreeMap;

use axum::extract::Query;
use axum::http::{HeaderMap, HeaderValue, Uri, header};
use cadenza::domain::id::WorkspaceId;
use cadenza::http::accept::Accepts;
use cadenza::http::read::{self, Asked, Body, Parameters};
use cadenza::http::{Documents, Proxies, bearer};
use cadenza::secrets::sha256_hex;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{Dice, JSON, each};

const BODIES: &[&str] = &[
    r#"{"query":"{ a }"}"#,
    r#"{"query":"query Q($a: Int) { a }","operationName":"Q","variables":{"a":[1,{"b":null}]},"extensions":{}}"#,
    r#"{"query":null,"variables":null,"extensions":{"persistedQuery":{"version":1,"sha256Hash":"00"}}}"#,
    r#"[{"query":"{ a }"},{"documentId":"sha256:00"}]"#,
    r#"[["{ a }",null,null,null,null],{"query":"{ a }","extensions":[null]}]"#,
    r#" [ {"query":"{ a }","unknown":{"deep":[[[[]]]]}} ] "#,
];

fn body(dice: &Dice) -> Vec<u8> {
    match dice.below(8) {
        0 => dice.bytes(60),
        1 => dice.pieces(JSON, 40).into_bytes(),
        2 => {
            let one = dice.of(BODIES);
            format!("[{}]", vec![one; dice.below(14)].join(",")).into_bytes()
        }
        3 => dice.of(BODIES).as_bytes().to_vec(),
        4 if dice.once_in(50) => {
            let (open, close) = dice.of(&[("[", "]"), ("{\"a\":", "}"), ("[[],", "]")]);
            let deep = dice.below(2_000);
            format!(
                "{{\"query\":\"a\",\"variables\":{{\"a\":{}1{}}}}}",
                open.repeat(deep),
                close.repeat(deep)
            )
            .into_bytes()
        }
        _ => dice.changed(dice.of(BODIES), JSON).into_bytes(),
    }
}

/// Asks for the document that a request names.
fn resolve(asked: Asked, documents: &Documents) {
    let workspace = WorkspaceId::from_uuid(uuid::Uuid::nil());
    match asked.request(workspace, documents) {
        Ok(request) => assert!(!request.query.is_empty()),
        Err(not_served) => assert!(!not_served.to_string().is_empty()),
    }
}

#[test]
fn bodies() {
    let tally = each("bodies", 7, |dice| {
        let documents = Documents::registered_by_clients();
        let bytes = body(dice);
        match read::body(&bytes) {
            Ok(Body::One(asked)) => {
                // Of fields that nobody knows the values are not looked at: a number may be too large.
                let fields = serde_json::from_slice::<BTreeMap<String, &RawValue>>(&bytes);
                assert!(fields.is_ok(), "{}", String::from_utf8_lossy(&bytes));
                resolve(*asked, &documents);
                "one"
            }
            Ok(Body::Batch(batch)) => {
                assert!((1..=read::BATCH_MAX).contains(&batch.len()));
                let values: Vec<&RawValue> = serde_json::from_slice(&bytes).expect("an array");
                assert_eq!(values.len(), batch.len());
                assert!(values.iter().all(|value| value.get().starts_with('{')));
                batch
                    .into_iter()
                    .for_each(|asked| resolve(asked, &documents));
                "batches"
            }
            Err(message) => {
                for word in ["serde", "struct", "expected", "invalid type", "line 1"] {
                    assert!(!message.contains(word), "{message}");
                }
                "refused"
            }
        }
    });
    tally.has_each(&["one", "batches", "refused"]);
}

#[test]
fn messages() {
    let tally = each("messages", 4, |dice| {
        let text = match dice.below(3) {
            0 => dice.pieces(JSON, 20),
            1 => dice.of(BODIES).to_owned(),
            _ => dice.changed(dice.of(BODIES), JSON),
        };
        let Ok(value) = serde_json::from_str::<Value>(&text) else {
            return "no JSON";
        };
        let names_one = ["query", "documentId", "extensions"]
            .iter()
            .any(|name| value.get(name).is_some_and(|value| !value.is_null()));
        match Asked::of_message(value.clone()) {
            Some(asked) => {
                assert!(names_one, "{text}");
                resolve(asked, &Documents::registered_by_clients());
                "read"
            }
            None => "refused",
        }
    });
    tally.has_each(&["read", "refused", "no JSON"]);
}

#[test]
fn parameters() {
    const PIECES: &[&str] = &[
        "query=",
        "variables=",
        "extensions=",
        "documentId=",
        "operationName=",
        "&",
        "=",
        "%7B%20a%20%7D",
        "%7B%22a%22%3A1%7D",
        "%7B%7D",
        "%5B%5D",
        "null",
        "%",
        "%0",
        "%00",
        "%ff",
        "%C3%A9",
        "+",
        "a",
        "?",
        "/",
        "%22",
        "query=a&query=b",
        "variables=%7B%7D",
        "extensions=%7B%7D",
        "variables=1",
        "extensions=%7B%22persistedQuery%22%3A%7B%22version%22%3A1%2C%22sha256Hash%22%3A%220%22%7D%7D",
    ];
    let tally = each("parameters", 4, |dice| {
        let text = match dice.below(3) {
            0 => format!("/graphql?{}", dice.pieces(PIECES, 12)),
            1 => format!("/graphql?query=%7Ba%7D&{}", dice.of(PIECES)),
            _ => dice.changed(
                "/graphql?query=%7Ba%7D&variables=%7B%22a%22%3A1%7D&operationName=Q",
                PIECES,
            ),
        };
        let Ok(uri) = Uri::try_from(text.as_str()) else {
            return "no URL";
        };
        let Ok(Query(parameters)) = Query::<Parameters>::try_from_uri(&uri) else {
            return "refused";
        };
        match Asked::try_from(parameters) {
            Ok(asked) => {
                resolve(asked, &Documents::registered_by_clients());
                "read"
            }
            Err(message) => {
                assert!(message.contains("JSON object"));
                "refused"
            }
        }
    });
    tally.has_each(&["read", "refused", "no URL"]);
}

/// Headers of one name, of lines that a header may have.
fn headers(dice: &Dice, name: header::HeaderName, line: impl Fn() -> Vec<u8>) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for _ in 0..1 + dice.below(3) {
        if let Ok(value) = HeaderValue::from_bytes(&line()) {
            headers.append(name.clone(), value);
        }
    }
    headers
}

#[test]
fn accept() {
    const PIECES: &[&str] = &[
        "application/json",
        "application/graphql-response+json",
        "text/event-stream",
        "multipart/mixed",
        "subscriptionSpec=1.0",
        "boundary=\"graphql\"",
        "*/*",
        "text/*",
        "application/*",
        ";",
        ",",
        "q=",
        "q=0",
        "q=1",
        "q=0.5",
        "q=0.1234",
        "q=1.001",
        "q=.5",
        "q=-1",
        "=",
        "/",
        "\"",
        "\\",
        " ",
        "\t",
        "a",
        "é",
    ];
    let tally = each("accept", 3, |dice| {
        let line = || match dice.below(4) {
            0 => dice.bytes(30),
            1 => [dice.of(PIECES), dice.of(PIECES)].join(",").into_bytes(),
            _ => dice.pieces(PIECES, 12).into_bytes(),
        };
        match Accepts::read(&headers(dice, header::ACCEPT, line)) {
            Some(accepts) => {
                assert!(accepts.single.is_some() || accepts.stream.is_some());
                assert!(accepts.stream.is_some() || !accepts.prefers_stream);
                "served"
            }
            None => "not served",
        }
    });
    tally.has_each(&["served", "not served"]);
}

#[test]
fn authorization() {
    const PIECES: &[&str] = &[
        "Bearer", "bearer ", "BEARER", " ", "\t", "cdz_abc", "Basic ", "é", "\u{a0}", ",", "\u{0}",
    ];
    let tally = each("authorization", 2, |dice| {
        let text = if dice.once_in(3) {
            format!("Bearer {}", dice.pieces(PIECES, 5))
        } else {
            dice.pieces(PIECES, 6)
        };
        match bearer(&text) {
            Some(token) => {
                assert_eq!(token.trim(), token);
                let scheme = text.trim().get(..7).map(str::to_ascii_lowercase);
                assert_eq!(scheme.as_deref(), Some("bearer "), "{text:?}");
                "a token"
            }
            None => "none",
        }
    });
    tally.has_each(&["a token", "none"]);
}

#[test]
fn documents_by_their_hash() {
    const TEXTS: &[&str] = &["{ a }", "{ b }", "", "{", "\u{0}", "{ é }"];
    let tally = each("persisted", 4, |dice| {
        let documents = Documents::registered_by_clients();
        let mut known: Vec<String> = Vec::new();
        let mut outcome = "unknown";
        for _ in 0..dice.below(12) {
            let text = dice.of(TEXTS);
            let hash = match dice.below(4) {
                0 => sha256_hex(dice.of(TEXTS)),
                1 => dice.changed(&sha256_hex(text), &["0", "G", "é", ""]),
                2 => sha256_hex(text).to_uppercase(),
                _ => sha256_hex(text),
            };
            let query = dice.of(&[None, Some(text)]);
            let version = dice.of(&[1, 1, 1, 1, 2]);
            let asked = match dice.below(3) {
                0 => json!({ "query": query, "documentId": format!("sha256:{hash}") }),
                1 => json!({ "query": query, "documentId": hash }),
                _ => json!({ "query": query,
                    "extensions": { "persistedQuery": { "version": version, "sha256Hash": hash } } }),
            };
            let Some(asked) = Asked::of_message(asked) else {
                continue;
            };
            let workspace = WorkspaceId::from_uuid(uuid::Uuid::nil());
            if let Ok(request) = asked.request(workspace, &documents) {
                // What is run is what the hash says, and a text is known by it only once it came with it.
                let own = sha256_hex(&request.query);
                assert!(
                    own.eq_ignore_ascii_case(&hash),
                    "{} is not {hash}",
                    request.query
                );
                assert!(query.is_some_and(|query| !query.is_empty()) || known.contains(&own));
                known.push(own);
                outcome = "known";
            }
        }
        outcome
    });
    tally.has_each(&["known", "unknown"]);
}

#[test]
fn forwarded() {
    const PIECES: &[&str] = &[
        "203.0.113.1",
        "10.0.0.2",
        "[2001:db8::1]",
        "2001:db8::1",
        ":80",
        ":_a",
        ",",
        ", ",
        ";",
        "for=",
        "For=\"",
        "by=",
        "proto=https",
        "\"",
        "\\",
        "=",
        "unknown",
        "_hidden",
        "%",
        "[",
        "]",
        " ",
        "\t",
        "a",
        "é",
        "999",
    ];
    let proxies = Proxies::read(["10.0.0.0/8"]).expect("a network");
    let (proxy, client) = ("10.0.0.1", "203.0.113.9");
    let tally = each("forwarded", 2, |dice| {
        let line = || match dice.below(4) {
            0 => dice.bytes(30),
            _ => dice.pieces(PIECES, 12).into_bytes(),
        };
        let name = dice.of(&["forwarded", "x-forwarded-for"]);
        let header = header::HeaderName::from_static(name);
        let mut sent = headers(dice, header.clone(), line);
        let peer = proxy.parse().expect("an address");
        let stranger = client.parse().expect("an address");
        assert_eq!(
            proxies.client(stranger, &sent),
            stranger,
            "nobody is believed"
        );
        let _any = proxies.client(peer, &sent);
        // Whatever a client writes: what its proxy adds is nearer, or nothing counts at all.
        let added = if name == "forwarded" {
            format!("for={client}")
        } else {
            client.to_owned()
        };
        let on_a_line = !dice.once_in(3);
        let lines: Vec<Vec<u8>> = sent
            .get_all(name)
            .iter()
            .map(|value| value.as_bytes().to_vec())
            .collect();
        sent.remove(name);
        let last = lines.len().saturating_sub(1);
        for (n, mut line) in lines.into_iter().enumerate() {
            if n == last && !on_a_line {
                line.extend_from_slice(format!(", {added}").as_bytes());
            }
            sent.append(
                header.clone(),
                HeaderValue::from_bytes(&line).expect("a header"),
            );
        }
        if on_a_line || sent.is_empty() {
            sent.append(header, HeaderValue::from_str(&added).expect("a header"));
        }
        let told = proxies.client(peer, &sent);
        if told == stranger {
            return "the client";
        }
        assert!(!on_a_line && told == peer, "{told}: {sent:?}");
        "the proxy"
    });
    tally.has_each(&["the client", "the proxy"]);
}
