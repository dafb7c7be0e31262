//! Webhooks against a server that misbehaves, and their signatures as a receiver checks them.

use std::time::{Duration, Instant};

use cadenza::channel::web::{ANSWER_BYTES_MAX, EXCERPT_CHARS_MAX, Web, WebConfig};
use cadenza::channel::webhook::{Webhook, WebhookRequest, WebhookSecret};
use cadenza::domain::outcome::{ErrorCode, Outcome, Phase, RetryReason, Scope};
use chrono::DateTime;
use tokio::net::TcpListener;

use crate::twilio::web;
use crate::web_sink::{Reply, Seen, WebSink};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

fn secret() -> WebhookSecret {
    WebhookSecret::parse(SECRET).expect("a secret")
}

fn call(url: String) -> WebhookRequest {
    WebhookRequest {
        url,
        headers: Vec::new(),
        body: r#"{"lead": "lead_1"}"#.into(),
        id: "exec_1".into(),
        at: DateTime::from_timestamp(1_795_422_600, 0).expect("an instant"),
    }
}

async fn send(request: &WebhookRequest) -> Outcome {
    let started = Instant::now();
    let outcome = Webhook::new(web()).send(request, &secret()).await;
    assert!(started.elapsed() < Duration::from_secs(4), "{outcome:?}");
    outcome
}

/// A server whose answer is the path: `/STATUS`, or a word.
fn answer(seen: &Seen) -> Reply {
    let say = |status, body: &str| Reply::Say(status, Vec::new(), body.to_owned());
    match seen.target.trim_start_matches('/') {
        "hang" => Reply::Hang,
        "hang-in-body" => Reply::HangInBody(200),
        "cut-in-body" => Reply::CutInBody(200),
        "endless" => Reply::Endless(200),
        "wait" => Reply::Say(429, vec![("retry-after", "17".into())], String::new()),
        "moved" => Reply::Say(302, vec![("location", "/200".into())], "There".into()),
        "huge" => say(200, &"x".repeat(ANSWER_BYTES_MAX * 4)),
        status => say(
            status.parse().unwrap_or(200),
            "Words\r\n\0 \u{1b}[31m of it",
        ),
    }
}

#[tokio::test]
async fn a_receiver_can_check_who_calls() {
    let sink = WebSink::start(answer).await.expect("a server");
    let mut request = call(sink.url("/200?a=b%20c"));
    request.headers = vec![
        ("Authorization".into(), "Bearer t".into()),
        ("Content-Type".into(), "application/vnd.own+json".into()),
        ("X-Twice".into(), "1".into()),
        ("X-Twice".into(), "2".into()),
        ("User-Agent".into(), "Own/1".into()),
    ];
    let outcome = send(&request).await;
    let response = "200 Words [31m of it".into();
    assert_eq!(outcome, Outcome::Sent { response });
    request.headers.clear();
    send(&request).await;
    let seen = sink.seen();
    let [own, plain] = seen.as_slice() else {
        panic!("{seen:?}");
    };
    assert_eq!(
        (own.method.as_str(), own.target.as_str()),
        ("POST", "/200?a=b%20c")
    );
    assert_eq!(own.body, request.body);
    assert_eq!(own.header("authorization"), "Bearer t");
    assert_eq!(own.header("content-type"), "application/vnd.own+json");
    assert_eq!(own.header("user-agent"), "Own/1");
    assert_eq!(own.headers.get_all("x-twice").iter().count(), 2);
    assert_eq!(plain.header("content-type"), "application/json");
    for seen in [own, plain] {
        assert_eq!(seen.header("webhook-id"), "exec_1");
        assert_eq!(seen.header("webhook-timestamp"), "1795422600");
        assert_eq!(seen.header("webhook-signature"), signature(seen));
    }
}

/// The signature as a receiver reckons it of what came.
fn signature(seen: &Seen) -> String {
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    let key = SECRET.trim_start_matches("whsec_");
    let key = STANDARD.decode(key).expect("base64");
    let signed = [
        seen.header("webhook-id"),
        seen.header("webhook-timestamp"),
        &seen.body,
    ]
    .join(".");
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &key);
    let tag = ring::hmac::sign(&key, signed.as_bytes());
    format!("v1,{}", STANDARD.encode(tag))
}

#[tokio::test]
async fn an_answer_decides_whether_it_is_called_again() {
    let sink = WebSink::start(answer).await.expect("a server");
    for path in [
        "/200",
        "/201",
        "/204",
        "/huge",
        "/endless",
        "/hang-in-body",
        "/cut-in-body",
    ] {
        let outcome = send(&call(sink.url(path))).await;
        assert!(
            matches!(outcome, Outcome::Sent { .. }),
            "{path}: {outcome:?}"
        );
        let shown = outcome.response().unwrap_or("").chars().count();
        assert!(shown <= EXCERPT_CHARS_MAX + 4, "{path}: {shown}");
    }
    for (path, code) in [
        ("/408", ErrorCode::ProviderError),
        ("/429", ErrorCode::RateLimited),
        ("/500", ErrorCode::ProviderError),
        ("/502", ErrorCode::ProviderError),
        ("/503", ErrorCode::ProviderError),
        ("/wait", ErrorCode::RateLimited),
    ] {
        let outcome = send(&call(sink.url(path))).await;
        assert!(
            matches!(outcome, Outcome::Retry { .. }),
            "{path}: {outcome:?}"
        );
        assert_eq!(outcome.error_code(), Some(code), "{path}");
        assert_eq!(outcome.scope(), Some(Scope::Content), "{path}");
        let wait = (path == "/wait").then(|| chrono::Duration::seconds(17));
        assert_eq!(outcome.retry_after(), wait, "{path}");
    }
    for (path, status) in [("/400", 400), ("/404", 404), ("/410", 410), ("/moved", 302)] {
        let outcome = send(&call(sink.url(path))).await;
        let Outcome::Rejected {
            phase: Phase::Webhook,
            code,
            scope: Scope::Content,
            ..
        } = outcome
        else {
            panic!("{path}: {outcome:?}");
        };
        assert_eq!(code, status);
    }
    let followed = sink
        .seen()
        .iter()
        .filter(|seen| seen.target == "/200")
        .count();
    assert_eq!(followed, 1, "the redirect was followed");
}

#[tokio::test]
async fn without_an_answer_it_is_called_again_under_the_same_id() {
    let sink = WebSink::start(answer).await.expect("a server");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    for (url, expected) in [
        (sink.url("/hang"), RetryReason::Timeout),
        (format!("http://{address}/"), RetryReason::ConnectionFailed),
        (
            "http://no-such-host.invalid/".into(),
            RetryReason::ConnectionFailed,
        ),
    ] {
        let outcome = send(&call(url)).await;
        let Outcome::Retry {
            phase: Phase::Webhook,
            reason,
            scope: Scope::Content,
            ..
        } = outcome
        else {
            panic!("{outcome:?}");
        };
        assert_eq!(reason, expected);
    }
}

#[tokio::test]
async fn what_cannot_be_called_is_refused_before_anybody_is_asked() {
    let sink = WebSink::start(answer).await.expect("a server");
    let good = call(sink.url("/200"));
    let header = |name: &str, value: &str| WebhookRequest {
        headers: vec![(name.into(), value.into())],
        ..good.clone()
    };
    for request in [
        call("ftp://example.com/".into()),
        call("http://ana:secret@127.0.0.1/".into()),
        call("nowhere".into()),
        header("Webhook-Signature", "v1,x"),
        header("Host", "evil.example"),
        header("Content-Length", "0"),
        header("X-A", "b\r\nHost: evil.example"),
        header("X A", "b"),
        WebhookRequest {
            id: "a.b".into(),
            ..good.clone()
        },
        WebhookRequest {
            id: String::new(),
            ..good.clone()
        },
        WebhookRequest {
            id: "a\r\nb".into(),
            ..good.clone()
        },
    ] {
        let outcome = send(&request).await;
        let ours = matches!(
            outcome,
            Outcome::Rejected {
                code: 0,
                scope: Scope::Content,
                ..
            }
        );
        assert!(ours, "{request:?}: {outcome:?}");
    }
    // Without the configuration's leave, this machine is out of reach.
    let strict = Webhook::new(Web::new(WebConfig::default()));
    let outcome = strict.send(&good, &secret()).await;
    assert!(
        outcome.explain().contains("--allow-networks"),
        "{outcome:?}"
    );
    assert_eq!(sink.seen().len(), 0);
}
