//! Mails that come over HTTP: signed, or refused with nothing changed.

use cadenza::channel::webhook::WebhookSecret;
use cadenza::domain::id::{SenderId, WorkspaceId};
use cadenza::domain::tracking::{Mark, Seal, Token};
use cadenza::http::Options;
use chrono::{DateTime, Duration, Utc};
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use reqwest::StatusCode;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::erasure::{delete, telling};
use crate::harness::{Harness, both, until};
use crate::inbound::{Written, count, greeted, message, take};
use crate::served::{Served, client};
use crate::steps::{person, seen};

/// A request as it goes over the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Posted {
    workspace: String,
    id: String,
    timestamp: String,
    signature: String,
    body: Vec<u8>,
}

impl Posted {
    /// A request that is signed as it should be.
    fn signed(h: &Harness, workspace: WorkspaceId, at: DateTime<Utc>, body: &[u8]) -> Self {
        let secret = h.services.secrets.webhook_secret(workspace);
        let secret = WebhookSecret::parse(&secret).expect("a secret");
        Self {
            workspace: workspace.to_string(),
            id: "msg_1".to_owned(),
            timestamp: at.timestamp().to_string(),
            signature: secret.sign("msg_1", at, body),
            body: body.to_vec(),
        }
    }

    async fn send(&self, server: &Served) -> reqwest::Response {
        let request = client()
            .post(format!("http://{}/inbound/mail", server.address))
            .query(&[("workspace", &self.workspace)])
            .header("webhook-id", self.id.as_bytes())
            .header("webhook-timestamp", self.timestamp.as_bytes())
            .header("webhook-signature", self.signature.as_bytes())
            .header("content-type", "message/rfc822")
            .body(self.body.clone());
        request.send().await.expect("an answer")
    }
}

fn an_answer(id: &str) -> String {
    let headers = format!("In-Reply-To: {id}\r\n");
    let written = Written {
        from: "one@example.com",
        to: "ada@example.com",
        subject: "Re: Hello",
        headers: &headers,
        text: "Please call.",
    };
    written.raw(1)
}

/// Everything that a mail could change.
async fn traces(h: &Harness) -> [i64; 4] {
    let mut traces = [0; 4];
    let tables = [
        "event",
        "inbound_message",
        "suppression",
        "lead WHERE status = 'STOPPED'",
    ];
    for (trace, table) in traces.iter_mut().zip(tables) {
        *trace = count(h, table).await;
    }
    traces
}

both!(a_signed_mail_is_taken_in, |h: Harness| async move {
    let (_, leads) = greeted(&h, &["one@example.com"], json!({})).await;
    let (id, execution) = message(&h, &leads[0], "hello").await;
    let server = Served::new(&h).await;
    let posted = Posted::signed(
        &h,
        h.admin.workspace,
        h.clock.now(),
        an_answer(&id).as_bytes(),
    );
    let answer = posted.send(&server).await;
    assert_eq!(answer.status(), StatusCode::OK);
    let told: Value = answer.json().await.expect("JSON");
    let expected = json!({ "takenAs": "REPLY", "isNew": true, "matchedBy": "MESSAGE_ID",
        "leadId": leads[0], "executionId": execution });
    assert_eq!(told, expected);
    assert_eq!(seen(&h, &leads[0]).await["stopReason"], "REPLIED");
    // Again, it is known, and changes nothing.
    let before = traces(&h).await;
    let told: Value = posted.send(&server).await.json().await.expect("JSON");
    assert_eq!(told["isNew"], false);
    assert_eq!(told["leadId"], leads[0]);
    assert_eq!(traces(&h).await, before);
    server.end().await;
});

both!(
    what_is_forged_or_stale_or_no_mail_changes_nothing,
    |h: Harness| async move {
        let (_, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let (id, execution) = message(&h, &leads[0], "hello").await;
        let server = Served::new(&h).await;
        let (now, raw) = (h.clock.now(), an_answer(&id));
        let ours = h.admin.workspace;
        let good = Posted::signed(&h, ours, now, raw.as_bytes());
        let before = traces(&h).await;
        let theirs = h.stranger.workspace.to_string();
        let forbidden = [
            Posted {
                workspace: theirs,
                ..good.clone()
            },
            Posted {
                signature: String::new(),
                ..good.clone()
            },
            Posted {
                signature: good.signature.replace("v1,", "v2,"),
                ..good.clone()
            },
            Posted {
                signature: "v1,".to_owned(),
                ..good.clone()
            },
            Posted {
                id: "msg_2".to_owned(),
                ..good.clone()
            },
            Posted {
                body: raw.replace("call", "go on").into_bytes(),
                ..good.clone()
            },
            Posted::signed(&h, h.stranger.workspace, now, raw.as_bytes()),
            Posted::signed(&h, ours, now - Duration::seconds(301), raw.as_bytes()),
            Posted::signed(&h, ours, now + Duration::seconds(301), raw.as_bytes()),
        ];
        for (number, posted) in forbidden.into_iter().enumerate() {
            // The one that is signed for the stranger would be well for the stranger.
            let posted = Posted {
                workspace: match number {
                    6 => ours.to_string(),
                    _ => posted.workspace.clone(),
                },
                ..posted
            };
            let answer = posted.send(&server).await;
            assert_eq!(answer.status(), StatusCode::FORBIDDEN, "{number}");
            let told: Value = answer.json().await.expect("JSON");
            assert!(
                told["detail"]
                    .as_str()
                    .is_some_and(|text| text.contains("sign")),
                "{told}"
            );
        }
        // What the server itself signs for others is no mail of anybody.
        let secret =
            WebhookSecret::parse(&h.services.secrets.webhook_secret(ours)).expect("a secret");
        let own = execution.to_string();
        let brought_back = Posted {
            signature: secret.sign(&own, now, &raw),
            id: own,
            ..good.clone()
        };
        assert_eq!(
            brought_back.send(&server).await.status(),
            StatusCode::FORBIDDEN
        );
        for junk in ["", "{\"type\": \"message\"}", "hello", "\u{0}\u{1}"] {
            let answer = Posted::signed(&h, ours, now, junk.as_bytes())
                .send(&server)
                .await;
            assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY, "{junk}");
        }
        for workspace in ["", "ws_1", "lead_01jd0000000000000000000000"] {
            let posted = Posted {
                workspace: workspace.to_owned(),
                ..good.clone()
            };
            assert_eq!(posted.send(&server).await.status(), StatusCode::BAD_REQUEST);
        }
        let large = vec![b'a'; (10 << 20) + 1];
        let answer = Posted::signed(&h, ours, now, &large).send(&server).await;
        assert_eq!(answer.status(), StatusCode::PAYLOAD_TOO_LARGE);
        assert_eq!(traces(&h).await, before);
        server.end().await;
    }
);

/// The head of a request with a mail that nobody has signed.
fn unsigned_head(h: &Harness, length: usize) -> String {
    format!(
        "POST /inbound/mail?workspace={} HTTP/1.1\r\nHost: x\r\nContent-Length: {length}\r\n\
         webhook-id: flood\r\nwebhook-timestamp: {}\r\nwebhook-signature: v1,AAAA\r\n\r\n",
        h.admin.workspace,
        h.clock.now().timestamp()
    )
}

/// What is answered to a request of which only so much comes.
async fn answer_to(server: &Served, part: &str) -> String {
    let mut socket = TcpStream::connect(&server.address).await.expect("connects");
    socket.write_all(part.as_bytes()).await.expect("writes");
    let mut answer = [0; 12];
    socket.read_exact(&mut answer).await.expect("an answer");
    String::from_utf8_lossy(&answer).into_owned()
}

both!(
    of_what_is_for_nobody_no_body_is_waited_for,
    |h: Harness| async move {
        let server = Served::new(&h).await;
        let ours = h.admin.workspace.to_string();
        let nobody: WorkspaceId = h.services.entropy.id(h.clock.now());
        let head = unsigned_head(&h, 1_000).replace(&ours, &nobody.to_string());
        assert_eq!(answer_to(&server, &head).await, "HTTP/1.1 403");
        let nobody: SenderId = h.services.entropy.id(h.clock.now());
        let head = format!(
            "POST /inbound/twilio/{nobody} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\
             X-Twilio-Signature: AAAA\r\n\r\n"
        );
        assert_eq!(answer_to(&server, &head).await, "HTTP/1.1 403");
        server.end().await;
    }
);

both!(
    a_flood_of_unsigned_mails_takes_no_room_of_others,
    |h: Harness| async move {
        let (_, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let (id, execution) = message(&h, &leads[0], "hello").await;
        let options = Options {
            // With room for four of the smallest.
            upload_max: 1,
            ..Options::default()
        };
        let server = Served::with(&h, options).await;
        // Each holds its mail but for the last byte.
        let whole = 10 << 20;
        let mut flood = Vec::new();
        for _ in 0..4 {
            let mut socket = TcpStream::connect(&server.address).await.expect("connects");
            let head = unsigned_head(&h, whole);
            socket.write_all(head.as_bytes()).await.expect("writes");
            let most = vec![b'a'; whole - 1];
            socket.write_all(&most).await.expect("writes");
            flood.push(socket);
        }
        let good = an_answer(&id);
        let good = Posted::signed(&h, h.admin.workspace, h.clock.now(), good.as_bytes());
        let forged = Posted {
            body: vec![b'a'; 256 << 10],
            ..good.clone()
        };
        let refused = until("there is no room for mails", async || {
            let answer = forged.send(&server).await;
            (answer.status() == StatusCode::SERVICE_UNAVAILABLE).then_some(answer)
        });
        let refused = refused.await;
        assert!(refused.headers().contains_key("retry-after"));
        // Clients, and contacts who opt out, notice nothing.
        let padded = format!("{{ workspace {{ id }} }}{}", " ".repeat(512 << 10));
        let asked = server.post(&h.token).json(&json!({ "query": padded }));
        assert_eq!(
            asked.send().await.expect("an answer").status(),
            StatusCode::OK
        );
        let token = Token {
            workspace: h.admin.workspace,
            execution,
            mark: Mark::OptOut,
        };
        let token = h.services.secrets.token(&token.bytes());
        let url = format!("http://{}/u/{token}", server.address);
        let form = format!("List-Unsubscribe=One-Click&x={}", "x".repeat(15 << 10));
        let request = client().post(url).body(form);
        let request = request.header("content-type", "application/x-www-form-urlencoded");
        assert_eq!(
            request.send().await.expect("an answer").status(),
            StatusCode::OK
        );
        // Once it is over, mails are taken in again.
        drop(flood);
        until("there is room for mails", async || {
            let answer = forged.send(&server).await;
            (answer.status() == StatusCode::FORBIDDEN).then_some(())
        })
        .await;
        assert_eq!(good.send(&server).await.status(), StatusCode::OK);
        server.end().await;
    }
);

/// One change of a request: a byte of one of its parts is another, or is gone, or is there once more.
fn mutated(posted: &Posted, part: usize, place: prop::sample::Index, byte: u8, how: u8) -> Posted {
    let mut posted = posted.clone();
    let change = |bytes: &mut Vec<u8>| {
        let at = place.index(bytes.len());
        match how % 4 {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, byte),
            _ => bytes.truncate(at),
        }
    };
    let changed_text = |text: &mut String| {
        let mut bytes = std::mem::take(text).into_bytes();
        change(&mut bytes);
        // What a header cannot carry never comes to the server.
        bytes.retain(|byte| (32..127).contains(byte));
        *text = String::from_utf8(bytes).expect("ASCII");
    };
    match part % 5 {
        0 => changed_text(&mut posted.workspace),
        1 => changed_text(&mut posted.id),
        2 => changed_text(&mut posted.timestamp),
        3 => changed_text(&mut posted.signature),
        _ => change(&mut posted.body),
    }
    posted
}

/// Whether both say the same: around a header's text white space means nothing (RFC 9110 §5.5).
fn is_same(one: &Posted, other: &Posted) -> bool {
    let trimmed = |posted: &Posted| Posted {
        id: posted.id.trim().to_owned(),
        timestamp: posted.timestamp.trim().to_owned(),
        signature: posted.signature.trim().to_owned(),
        ..posted.clone()
    };
    trimmed(one) == trimmed(other)
}

both!(
    ten_thousand_mutations_are_all_refused,
    |h: Harness| async move {
        let (_, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let (id, _) = message(&h, &leads[0], "hello").await;
        let server = Served::new(&h).await;
        let good = Posted::signed(
            &h,
            h.admin.workspace,
            h.clock.now(),
            an_answer(&id).as_bytes(),
        );
        let before = traces(&h).await;
        let config = Config {
            rng_seed: RngSeed::Fixed(6),
            ..Config::default()
        };
        let mut runner = TestRunner::new(config);
        let strategy = (
            any::<usize>(),
            any::<prop::sample::Index>(),
            any::<u8>(),
            any::<u8>(),
        );
        let mut mutations = Vec::with_capacity(10_000);
        while mutations.len() < 10_000 {
            let drawn = strategy.new_tree(&mut runner).expect("drawn").current();
            let posted = mutated(&good, drawn.0, drawn.1, drawn.2, drawn.3);
            if !is_same(&posted, &good) {
                mutations.push(posted);
            }
        }
        for batch in mutations.chunks(50) {
            let answers = batch.iter().map(|posted| posted.send(&server));
            for (answer, posted) in futures_util::future::join_all(answers)
                .await
                .iter()
                .zip(batch)
            {
                assert!(
                    answer.status().is_client_error(),
                    "{posted:?}: {}",
                    answer.status()
                );
            }
        }
        assert_eq!(traces(&h).await, before);
        // And the one that was not changed is taken.
        assert_eq!(good.send(&server).await.status(), StatusCode::OK);
        server.end().await;
    }
);

both!(
    what_was_written_is_erased_with_its_author,
    |h: Harness| async move {
        let fields = json!({ "email": "ada.zzq@example.org", "firstName": "zzq" });
        let (_, leads) = greeted(&h, &["ada.zzq@example.org"], json!({})).await;
        let written = Written {
            from: "zzq <Ada.Zzq@example.org>",
            subject: "zzq writes",
            text: "I am zzq.",
            ..Written::default()
        };
        take(&h, None, &written.raw(1)).await;
        // The second belongs to no lead any more.
        take(&h, None, &written.raw(2)).await;
        assert_eq!(count(&h, "inbound_message WHERE lead_id IS NULL").await, 1);
        let query = "query($id: ID!) { lead(id: $id) { person { id } } }";
        let found = h.data(query, json!({ "id": leads[0] })).await;
        let ada = found["lead"]["person"]["id"].as_str().expect("an id");
        let told = telling(&h).await;
        assert!(
            told.iter().any(|row| row.starts_with("inbound_message")),
            "{told:#?}"
        );
        delete(&h, ada).await;
        let told = telling(&h).await;
        assert!(
            !told.iter().any(|row| row.starts_with("inbound_message")),
            "{told:#?}"
        );
        // What was handled is known as such, and is nobody's.
        let again = take(&h, None, &written.raw(1)).await;
        assert!(!again.is_new);
        let afresh = person(&h, fields).await;
        assert_ne!(afresh, ada);
    }
);
