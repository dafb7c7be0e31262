//! Connections that mean harm, and those that are only odd: each has its time and its place, and none
//! takes what others need. And where requests come from, behind a proxy.

use std::time::Duration;

use cadenza::http::{Connections, Options, Proxies};
use reqwest::StatusCode;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{interval, timeout};

use crate::harness::{Harness, both, until};
use crate::served::{Served, client};

const HEALTH: &str = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";

/// A connection that writes and reads as it likes.
struct Raw(TcpStream);

impl Raw {
    async fn new(server: &Served) -> Self {
        let stream = TcpStream::connect(&server.address).await;
        Self(stream.expect("a connection"))
    }

    async fn say(&mut self, text: &str) {
        self.0.write_all(text.as_bytes()).await.expect("written");
    }

    /// Everything that comes until the server closes the connection.
    async fn rest(&mut self) -> String {
        let mut bytes = Vec::new();
        let read = self.0.read_to_end(&mut bytes);
        let read = timeout(Duration::from_secs(20), read).await;
        // A connection that is reset is closed as well.
        let text = String::from_utf8_lossy(&bytes).into_owned();
        assert!(read.is_ok(), "it is not closed after {text:?}");
        text
    }

    /// What comes until a text is there.
    async fn until(&mut self, end: &str) -> String {
        let mut text = String::new();
        while !text.contains(end) {
            let mut bytes = [0; 4_096];
            let read = timeout(Duration::from_secs(20), self.0.read(&mut bytes)).await;
            let length = read.expect("in time").expect("read");
            assert!(length > 0, "closed after {text:?}");
            text.push_str(&String::from_utf8_lossy(&bytes[..length]));
        }
        text
    }
}

async fn served(h: &Harness, connections: Connections) -> Served {
    let options = Options {
        connections,
        ..Options::default()
    };
    Served::with(h, options).await
}

async fn behind_proxy(h: &Harness, networks: &[&str], of_address: usize) -> Served {
    let options = Options {
        proxies: Proxies::read(networks.iter().copied()).expect("networks"),
        connections: Connections {
            of_address,
            ..Connections::default()
        },
        ..Options::default()
    };
    Served::with(h, options).await
}

async fn status(server: &Served) -> StatusCode {
    let sent = client().get(format!("http://{}/healthz", server.address));
    sent.send().await.expect("an answer").status()
}

both!(a_head_that_does_not_end_is_cut, |h: Harness| async move {
    let head_within = Duration::from_millis(300);
    let server = served(
        &h,
        Connections {
            head_within,
            ..Connections::default()
        },
    )
    .await;
    let mut silent = Raw::new(&server).await;
    // The rest of a head that comes a byte at a time comes too late.
    let dribble = async |mut raw: Raw| {
        let (mut reading, mut writing) = raw.0.split();
        let writes = async {
            let mut ticks = interval(Duration::from_millis(20));
            while writing.write_all(b"a").await.is_ok() {
                ticks.tick().await;
            }
        };
        let reads = async {
            let mut text = Vec::new();
            drop(reading.read_to_end(&mut text).await);
            String::from_utf8_lossy(&text).into_owned()
        };
        let both = async {
            tokio::select! {
                text = reads => text,
                () = writes => String::new(),
            }
        };
        timeout(Duration::from_secs(20), both).await.expect("cut")
    };
    let mut first = Raw::new(&server).await;
    first.say("GET /healthz HTTP/1.1\r\nHost: x\r\nx-a: ").await;
    let told = dribble(first).await;
    assert!(told.starts_with("HTTP/1.1 408 "), "{told}");
    let mut second = Raw::new(&server).await;
    second.say(HEALTH).await;
    second.until("}").await;
    second.say("GET /").await;
    assert_eq!(dribble(second).await, "");
    assert!(silent.rest().await.starts_with("HTTP/1.1 408 "));
    assert_eq!(status(&server).await, StatusCode::OK);
    server.end().await;
});

both!(
    a_connection_waits_so_long_for_its_next_request,
    |h: Harness| async move {
        let server = served(
            &h,
            Connections {
                idle_within: Duration::from_millis(700),
                head_within: Duration::from_millis(100),
                ..Connections::default()
            },
        )
        .await;
        let mut raw = Raw::new(&server).await;
        let mut ticks = interval(Duration::from_millis(300));
        ticks.tick().await;
        // Longer apart than a head may take, and all the same connection.
        for _ in 0..3 {
            raw.say(HEALTH).await;
            raw.until("}").await;
            ticks.tick().await;
        }
        assert_eq!(raw.rest().await, "", "and then it is closed");
        server.end().await;
    }
);

both!(
    where_there_are_too_many_connections_health_still_answers,
    |h: Harness| async move {
        let server = served(
            &h,
            Connections {
                most: 2,
                ..Connections::default()
            },
        )
        .await;
        let query = json!({ "query": "{ __typename }" });
        let ask = async || {
            let answer = server.post(&h.token).json(&query).send().await;
            answer.expect("an answer")
        };
        let mut held = Vec::new();
        for _ in 0..2 {
            let mut raw = Raw::new(&server).await;
            raw.say(HEALTH).await;
            raw.until("}").await;
            held.push(raw);
        }
        let refused = ask().await;
        assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
        assert_eq!(refused.headers()["retry-after"], "5");
        assert_eq!(status(&server).await, StatusCode::OK);
        // Who takes the few that are left as well is cut soon; the others wait meanwhile.
        for _ in 0..80 {
            held.push(Raw::new(&server).await);
        }
        assert_eq!(status(&server).await, StatusCode::OK);
        drop(held);
        until("there is a place again", async || {
            (ask().await.status() == StatusCode::OK).then_some(())
        })
        .await;
        server.end().await;
    }
);

both!(what_is_no_http_is_told_so, |h: Harness| async move {
    let server = Served::new(&h).await;
    for (sent, expected) in [
        ("\u{0}\u{1}garbage\r\n\r\n".to_owned(), "400"),
        ("\u{16}\u{3}\u{1}\u{2}\u{0}\u{1}".to_owned(), "400"),
        ("GET / HTTP/9.9\r\n\r\n".to_owned(), "400"),
        (
            "GET /healthz HTTP/1.1\r\nno colon\r\n\r\n".to_owned(),
            "400",
        ),
        (
            format!(
                "GET /healthz HTTP/1.1\r\nx: {}\r\n\r\n",
                "x".repeat(200_000)
            ),
            "431",
        ),
        (
            format!("GET /healthz HTTP/1.1\r\n{}\r\n", "x: y\r\n".repeat(101)),
            "431",
        ),
        (
            format!("GET /{} HTTP/1.1\r\n\r\n", "x".repeat(200_000)),
            "431",
        ),
    ] {
        let mut raw = Raw::new(&server).await;
        // It may have closed before everything was written.
        drop(raw.0.write_all(sent.as_bytes()).await);
        let told = raw.rest().await;
        let is_told = told.starts_with(&format!("HTTP/1.1 {expected} "));
        assert!(
            is_told || told.is_empty() && sent.len() > 60_000,
            "{told:?}"
        );
    }
    server.end().await;
});

both!(
    requests_may_follow_each_other_without_waiting,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let body = r#"{"query":"{ __typename }"}"#;
        let post = format!(
            "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
            h.token,
            body.len()
        );
        let last = "GET /nothing HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
        let mut raw = Raw::new(&server).await;
        raw.say(&format!("{HEALTH}{post}{post}{last}")).await;
        let told = raw.rest().await;
        let order: Vec<usize> = ["\"version\"", "__typename", "404 Not Found"]
            .iter()
            .map(|text| told.find(text).unwrap_or_else(|| panic!("{told}")))
            .collect();
        assert!(order.is_sorted(), "{told}");
        assert_eq!(told.matches("HTTP/1.1 200 OK").count(), 3, "{told}");
        server.end().await;
    }
);

both!(
    who_closes_its_half_of_a_connection_does_not_keep_its_place,
    |h: Harness| async move {
        let server = served(
            &h,
            Connections {
                most: 1,
                ..Connections::default()
            },
        )
        .await;
        for said in [HEALTH, "GET /healthz HTTP/1.1\r\n", "", "\r\n"] {
            let mut raw = Raw::new(&server).await;
            raw.say(said).await;
            raw.0.shutdown().await.expect("half of it is closed");
            raw.rest().await;
            until("its place is free", async || {
                let sent = server
                    .post(&h.token)
                    .json(&json!({ "query": "{ __typename }" }));
                let answer = sent.send().await.expect("an answer");
                (answer.status() == StatusCode::OK).then_some(())
            })
            .await;
        }
        server.end().await;
    }
);

both!(
    the_end_waits_for_answers_and_not_for_who_says_nothing,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let _fresh = Raw::new(&server).await;
        let mut idle = Raw::new(&server).await;
        idle.say(HEALTH).await;
        idle.until("}").await;
        let mut begun = Raw::new(&server).await;
        begun.say("GET /healthz HTTP/1.1\r\n").await;
        let mut posting = Raw::new(&server).await;
        let body = r#"{"query":"{ __typename }"}"#;
        let head = format!(
            "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\nExpect: 100-continue\r\nContent-Length: {}\r\n\r\n",
            h.token,
            body.len()
        );
        posting.say(&head).await;
        // The server reads the body now.
        posting.until("100 Continue\r\n\r\n").await;
        server.shutdown.cancel();
        assert_eq!(idle.rest().await, "", "closed at once");
        posting.say(body).await;
        let told = posting.rest().await;
        assert!(
            told.contains("__typename") && told.contains("connection: close"),
            "{told}"
        );
        timeout(Duration::from_secs(5), server.end())
            .await
            .expect("the end does not wait for the others");
    }
);

both!(
    who_reads_nothing_of_an_answer_is_given_up,
    |h: Harness| async move {
        let server = served(
            &h,
            Connections {
                read_within: Duration::from_millis(300),
                ..Connections::default()
            },
        )
        .await;
        // More than the buffers between the two take.
        crate::http::append_many(&h).await;
        let follow = json!({ "query": "subscription { executionEvents(after: \"evt_0000000000000000\") { cursor detail } }" }).to_string();
        let mut raw = Raw::new(&server).await;
        raw.say(&format!(
            "POST /graphql HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {}\r\nAccept: text/event-stream\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{follow}",
            h.token,
            follow.len()
        ))
        .await;
        until("it is followed", async || {
            (server.followers() == 1).then_some(())
        })
        .await;
        until("it is given up", async || {
            (server.followers() == 0).then_some(())
        })
        .await;
        drop(raw);
        server.end().await;
    }
);

both!(
    guesses_count_by_the_address_that_a_proxy_tells,
    |h: Harness| async move {
        let guess = async |server: &Served, name: &'static str, from: &str| {
            let query = json!({ "query": "{ __typename }" });
            let sent = server.post("cdz_wrong").header(name, from).json(&query);
            sent.send().await.expect("an answer").status()
        };
        let tried = async |server: &Served, name: &'static str, from: &str| {
            let mut statuses = Vec::new();
            for _ in 0..60 {
                statuses.push(guess(server, name, from).await);
            }
            let refused = |status: &&StatusCode| **status == StatusCode::TOO_MANY_REQUESTS;
            statuses.iter().filter(refused).count()
        };
        let server = behind_proxy(&h, &["127.0.0.0/8"], 0).await;
        assert!(tried(&server, "x-forwarded-for", "203.0.113.1").await > 0);
        assert_eq!(
            guess(&server, "x-forwarded-for", "203.0.113.2").await,
            StatusCode::UNAUTHORIZED,
            "another client is not concerned"
        );
        // What a client writes itself stands before what its proxy adds.
        assert_eq!(
            guess(&server, "x-forwarded-for", "203.0.113.3, 203.0.113.1").await,
            StatusCode::TOO_MANY_REQUESTS
        );
        assert_eq!(
            guess(&server, "forwarded", "for=203.0.113.1").await,
            StatusCode::TOO_MANY_REQUESTS
        );
        // A socket is opened by a request like any other.
        let opened = async |from: &str| {
            let asked = client()
                .get(server.url())
                .bearer_auth("cdz_wrong")
                .header("x-forwarded-for", from)
                .header("connection", "upgrade")
                .header("upgrade", "websocket")
                .header("sec-websocket-version", "13")
                .header("sec-websocket-key", "dGhlIHNhbXBsZSBub25jZQ==")
                .header("sec-websocket-protocol", "graphql-transport-ws");
            asked.send().await.expect("an answer").status()
        };
        assert_eq!(opened("203.0.113.1").await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(opened("203.0.113.2").await, StatusCode::SWITCHING_PROTOCOLS);
        server.end().await;
        // Nobody else is believed, whatever it writes.
        let server = behind_proxy(&h, &["10.0.0.0/8"], 0).await;
        assert!(tried(&server, "x-forwarded-for", "203.0.113.4").await > 0);
        assert_eq!(
            guess(&server, "x-forwarded-for", "203.0.113.5").await,
            StatusCode::TOO_MANY_REQUESTS
        );
        server.end().await;
    }
);

both!(
    uses_of_a_token_are_counted_by_the_address_that_a_proxy_tells,
    |h: Harness| async move {
        let server = behind_proxy(&h, &["127.0.0.1"], 0).await;
        for from in ["203.0.113.7, 127.0.0.1", "[2001:db8::7]:4711", "unknown"] {
            let query = json!({ "query": "{ __typename }" });
            let sent = server.post(&h.token).header("x-forwarded-for", from);
            let answer = sent.json(&query).send().await.expect("an answer");
            assert_eq!(answer.status(), StatusCode::OK, "{from}");
        }
        h.services.access.write().await.expect("written");
        let uses = h
            .data(
                "{ currentToken { uses { nodes { address requests } } } }",
                json!({}),
            )
            .await;
        let nodes = uses["currentToken"]["uses"]["nodes"].as_array();
        let mut addresses: Vec<&str> = nodes
            .expect("uses")
            .iter()
            .map(|node| node["address"].as_str().expect("an address"))
            .collect();
        addresses.sort_unstable();
        assert_eq!(addresses, ["127.0.0.1", "2001:db8::/64", "203.0.113.7"]);
        server.end().await;
    }
);

both!(
    an_address_behind_a_proxy_has_so_many_at_a_time,
    |h: Harness| async move {
        let server = behind_proxy(&h, &["127.0.0.1"], 2).await;
        let ask = async |from: &str| {
            let query = json!({ "query": "{ __typename }" });
            let sent = server.post(&h.token).header("x-forwarded-for", from);
            sent.json(&query).send().await.expect("an answer").status()
        };
        let protocol = ("sec-websocket-protocol", "graphql-transport-ws");
        let mut sockets = Vec::new();
        for _ in 0..2 {
            let from = ("x-forwarded-for", "203.0.113.9");
            let mut socket = server.socket_with(&[protocol, from]).await;
            socket.init(&h.token).await;
            sockets.push(socket);
        }
        assert_eq!(ask("203.0.113.9").await, StatusCode::TOO_MANY_REQUESTS);
        assert_eq!(ask("203.0.113.10").await, StatusCode::OK);
        // What a proxy asks for by itself is its own affair.
        assert_eq!(status(&server).await, StatusCode::OK);
        drop(sockets);
        until("a place is free", async || {
            (ask("203.0.113.9").await == StatusCode::OK).then_some(())
        })
        .await;
        for _ in 0..10 {
            assert_eq!(
                ask("203.0.113.9").await,
                StatusCode::OK,
                "each is given back"
            );
        }
        server.end().await;
    }
);
