//! Text messages against a server that misbehaves: each verdict agrees with the server's ledger, and
//! comes in bounded time.

use std::time::{Duration, Instant};

use cadenza::channel::smtp::Secret;
use cadenza::channel::text::{TEXT_UNITS_MAX, TextMessage};
use cadenza::channel::twilio::{Twilio, TwilioAccount};
use cadenza::channel::web::{Web, WebConfig};
use cadenza::domain::network::Networks;
use cadenza::domain::outcome::{ErrorCode, Outcome, Phase, RetryReason, Scope};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[path = "../support/twilio_sink.rs"]
pub mod twilio_sink;

use twilio_sink::{SID, TOKEN, Taken, TwilioSink};

const TIMEOUT: Duration = Duration::from_millis(600);
const HARD: Scope = Scope::Recipient { hard: true };
const SOFT: Scope = Scope::Recipient { hard: false };

/// A client of short patience for servers on this machine.
pub fn web() -> Web {
    Web::new(WebConfig {
        allowed_networks: Networks::read(["127.0.0.0/8"]).expect("a network"),
        connect_timeout: TIMEOUT / 2,
        timeout: TIMEOUT,
        extra_roots: Vec::new(),
    })
}

fn account(base_url: String) -> TwilioAccount {
    TwilioAccount {
        base_url: Some(base_url),
        account_sid: SID.into(),
        auth_token: Secret::new(TOKEN),
        status_callback: None,
    }
}

fn text(body: &str) -> TextMessage {
    TextMessage {
        from: "+15005550006".into(),
        to: "+351912345678".into(),
        body: body.into(),
        whatsapp: false,
        idempotency_key: format!("exec_{body}"),
    }
}

/// The answer, which must come within the time-out and a little.
async fn timely(base_url: String, message: &TextMessage) -> Outcome {
    let started = Instant::now();
    let outcome = Twilio::new(web()).send(&account(base_url), message).await;
    let took = started.elapsed();
    assert!(
        took < TIMEOUT + Duration::from_secs(2),
        "took {took:?}: {outcome:?}"
    );
    outcome
}

async fn sent(sink: &TwilioSink, body: &str) -> Outcome {
    timely(sink.web.url(""), &text(body)).await
}

#[tokio::test]
async fn a_message_is_taken_and_named() {
    let sink = TwilioSink::start().await.expect("a server");
    let body = "Olá & adeus = 100 % \u{1f44b}\r\n+1?";
    let mut message = TextMessage {
        idempotency_key: "exec_1".into(),
        ..text(body)
    };
    let outcome = timely(sink.web.url("/"), &message).await;
    let response = format!("SM{:032x} queued", 0);
    assert_eq!(outcome, Outcome::Sent { response });
    message.whatsapp = true;
    message.idempotency_key = "exec_2".into();
    let outcome = timely(sink.web.url(""), &message).await;
    assert_eq!(outcome.error_code(), None, "{outcome:?}");
    let taken = |prefix: &str, key: &str| Taken {
        from: format!("{prefix}+15005550006"),
        to: format!("{prefix}+351912345678"),
        body: body.into(),
        key: key.into(),
    };
    assert_eq!(
        sink.taken(),
        [taken("", "exec_1"), taken("whatsapp:", "exec_2")]
    );
    let seen = sink.web.seen();
    let first = seen.first().expect("a request");
    assert_eq!(
        first.header("content-type"),
        "application/x-www-form-urlencoded"
    );
    assert_eq!(
        first.header("host"),
        sink.web.url("").trim_start_matches("http://")
    );
}

#[tokio::test]
async fn each_refusal_has_its_meaning() {
    let sink = TwilioSink::start().await.expect("a server");
    for (status, code, scope, expected) in [
        (400, 21211, SOFT, ErrorCode::InvalidPhone),
        (400, 21614, SOFT, ErrorCode::InvalidPhone),
        (400, 21610, Scope::OptedOut, ErrorCode::Suppressed),
        (403, 21408, SOFT, ErrorCode::Rejected),
        (400, 21612, SOFT, ErrorCode::Rejected),
        (400, 21606, Scope::Sender, ErrorCode::Rejected),
        (400, 21212, Scope::Sender, ErrorCode::Rejected),
        (401, 20003, Scope::Sender, ErrorCode::AuthFailed),
        (403, 20005, Scope::Sender, ErrorCode::AuthFailed),
        (404, 20404, Scope::Sender, ErrorCode::Rejected),
        (400, 63016, Scope::Content, ErrorCode::Rejected),
        (400, 21617, Scope::Content, ErrorCode::Rejected),
        (400, 30034, Scope::Policy, ErrorCode::Rejected),
        (400, 12345, Scope::Content, ErrorCode::Rejected),
    ] {
        let outcome = sent(&sink, &format!("refuse {status} {code}")).await;
        let named = Outcome::Rejected {
            phase: Phase::Api,
            code: status,
            enhanced: Some(code.to_string()),
            response: format!("{code} No"),
            scope,
        };
        assert_eq!(outcome, named);
        assert_eq!(outcome.error_code(), Some(expected), "{code}");
    }
    for (code, scope, expected) in [
        (30003, SOFT, ErrorCode::Rejected),
        (30004, SOFT, ErrorCode::Rejected),
        (30005, HARD, ErrorCode::UnknownRecipient),
        (30006, SOFT, ErrorCode::InvalidPhone),
        (30007, Scope::Policy, ErrorCode::Rejected),
    ] {
        let outcome = sent(&sink, &format!("fail {code}")).await;
        let found = (outcome.scope(), outcome.error_code());
        assert_eq!(found, (Some(scope), Some(expected)), "{code}: {outcome:?}");
    }
    let mut account = account(sink.web.url(""));
    account.auth_token = Secret::new("wrong");
    let outcome = Twilio::new(web()).send(&account, &text("hello")).await;
    assert_eq!(
        outcome.error_code(),
        Some(ErrorCode::AuthFailed),
        "{outcome:?}"
    );
    assert!(!format!("{outcome:?} {account:?}").contains("wrong"));
}

#[tokio::test]
async fn a_server_that_asks_to_wait_is_waited_for() {
    let sink = TwilioSink::start().await.expect("a server");
    for (body, code, wait) in [
        ("wait 429 7", ErrorCode::RateLimited, Some(7)),
        ("wait-date 429", ErrorCode::RateLimited, Some(90)),
        ("wait 429 999999999", ErrorCode::RateLimited, Some(86_400)),
        ("wait 429 soon", ErrorCode::RateLimited, None),
        ("refuse 400 14107", ErrorCode::RateLimited, None),
        ("refuse 503 12345", ErrorCode::ProviderError, None),
        ("wait-html 503 7", ErrorCode::ProviderError, Some(7)),
        ("refuse 503 20503", ErrorCode::ProviderError, None),
    ] {
        let outcome = sent(&sink, body).await;
        assert!(matches!(outcome, Outcome::Retry { .. }), "{outcome:?}");
        let asked = outcome.retry_after().map(|wait| wait.num_seconds());
        assert_eq!((asked, outcome.error_code()), (wait, Some(code)), "{body}");
        assert_eq!(outcome.scope(), Some(Scope::Sender), "{body}");
    }
    assert_eq!(sink.taken(), []);
}

#[tokio::test]
async fn what_may_have_been_sent_is_never_said_to_have_failed() {
    let sink = TwilioSink::start().await.expect("a server");
    let bodies = [
        "hang",
        "hang-in-body",
        "cut-in-body",
        "endless",
        "garbage",
        "nameless",
    ];
    for body in bodies {
        let outcome = sent(&sink, body).await;
        assert!(
            matches!(outcome, Outcome::Ambiguous { .. }),
            "{body}: {outcome:?}"
        );
    }
    assert_eq!(sink.taken().len(), bodies.len());
    for status in [500, 502, 503, 504] {
        let outcome = sent(&sink, &format!("status {status}")).await;
        assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");
    }
    // Words that are no JSON are shown as one short line.
    let outcome = sent(&sink, "status 403").await;
    assert_eq!(outcome.response(), Some("<html> <h1>Trouble</h1>"));
    // A server that goes by the key takes a message once, however often it is asked.
    sent(&sink, "hang").await;
    assert_eq!(sink.taken().len(), bodies.len());
}

#[tokio::test]
async fn a_redirect_is_not_followed() {
    let sink = TwilioSink::start().await.expect("a server");
    let there = sink.web.url("/elsewhere");
    let moved = crate::web_sink::WebSink::start(move |_| {
        let headers = vec![("location", there.clone())];
        crate::web_sink::Reply::Say(307, headers, String::new())
    });
    let moved = moved.await.expect("a server");
    let outcome = timely(moved.url(""), &text("hello")).await;
    assert_eq!(outcome.scope(), Some(Scope::Sender), "{outcome:?}");
    assert!(
        matches!(outcome, Outcome::Rejected { code: 307, .. }),
        "{outcome:?}"
    );
    assert_eq!((moved.seen().len(), sink.web.seen().len()), (1, 0));
}

/// A server that does this to the first connection.
async fn raw<F>(act: impl FnOnce(tokio::net::TcpStream) -> F + Send + 'static) -> String
where
    F: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    tokio::spawn(async move {
        if let Ok((stream, _)) = listener.accept().await {
            act(stream).await;
        }
    });
    address.to_string()
}

fn is_retry(outcome: &Outcome, reason: RetryReason) -> bool {
    let found = match outcome {
        Outcome::Retry {
            phase: Phase::Connect,
            reason,
            scope: Scope::Sender,
            ..
        } => Some(*reason),
        _ => None,
    };
    found == Some(reason)
}

#[tokio::test]
async fn without_a_connection_nothing_has_left() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    drop(listener);
    let outcome = timely(format!("http://{address}"), &text("hello")).await;
    assert!(
        is_retry(&outcome, RetryReason::ConnectionFailed),
        "{outcome:?}"
    );
    // A server that never begins TLS, and one that cannot.
    let silent = raw(|stream| async move {
        std::future::pending::<()>().await;
        drop(stream);
    });
    let outcome = timely(format!("https://{}", silent.await), &text("hello")).await;
    assert!(is_retry(&outcome, RetryReason::Timeout), "{outcome:?}");
    let plain = raw(|mut stream| async move {
        stream
            .write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")
            .await
            .ok();
    });
    let outcome = timely(format!("https://{}", plain.await), &text("hello")).await;
    assert!(
        is_retry(&outcome, RetryReason::ConnectionFailed),
        "{outcome:?}"
    );
    let outcome = timely("http://no-such-host.invalid".into(), &text("hello")).await;
    assert!(
        is_retry(&outcome, RetryReason::ConnectionFailed),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn a_connection_that_breaks_after_the_request_leaves_it_open() {
    for answer in [
        &b""[..],
        b"HTTP/1.1 201 Cre",
        b"SSH-2.0-OpenSSH_9.9\r\n",
        b"HTTP/1.1 201 Created\r\nContent-Length: -1\r\n\r\n",
    ] {
        let server = raw(move |mut stream| async move {
            let mut heard = [0; 16];
            stream.read_exact(&mut heard).await.ok();
            stream.write_all(answer).await.ok();
        });
        let outcome = timely(format!("http://{}", server.await), &text("hello")).await;
        assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_encrypted_server_is_one_whose_certificate_is_trusted() {
    let (acceptor, root) = crate::smtp::certificate("localhost");
    let serve = |acceptor: tokio_rustls::TlsAcceptor| {
        raw(move |stream| async move {
            let Ok(mut stream) = acceptor.accept(stream).await else {
                return;
            };
            let mut heard = [0; 64];
            stream.read_exact(&mut heard).await.ok();
            let body = r#"{"sid":"SM1","status":"accepted"}"#;
            let answer = format!(
                "HTTP/1.1 201 Created\r\nContent-Length: {}\r\n\r\n{body}",
                body.len()
            );
            stream.write_all(answer.as_bytes()).await.ok();
            stream.shutdown().await.ok();
        })
    };
    let config = WebConfig {
        allowed_networks: Networks::read(["127.0.0.0/8", "::1"]).expect("networks"),
        extra_roots: vec![root],
        ..WebConfig::default()
    };
    let twilio = Twilio::new(Web::new(config));
    let port = |address: String| address.rsplit(':').next().unwrap_or("").to_owned();
    let base_url = format!("https://localhost:{}", port(serve(acceptor.clone()).await));
    let outcome = twilio.send(&account(base_url), &text("hello")).await;
    let response = "SM1 accepted".into();
    assert_eq!(outcome, Outcome::Sent { response });
    // Another name than the certificate's, and a certificate that nobody trusts.
    let base_url = format!("https://{}", serve(acceptor.clone()).await);
    let outcome = twilio.send(&account(base_url), &text("hello")).await;
    assert!(
        is_retry(&outcome, RetryReason::ConnectionFailed),
        "{outcome:?}"
    );
    let base_url = format!("https://localhost:{}", port(serve(acceptor).await));
    let outcome = Twilio::new(web())
        .send(&account(base_url), &text("hello"))
        .await;
    assert!(
        is_retry(&outcome, RetryReason::ConnectionFailed),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_cannot_be_sent_is_refused_before_anybody_is_asked() {
    let sink = TwilioSink::start().await.expect("a server");
    let long = "x".repeat(TEXT_UNITS_MAX + 1);
    let smileys = "\u{1f44b}".repeat(TEXT_UNITS_MAX / 2 + 1);
    for (body, from, to, scope, code) in [
        (
            long.as_str(),
            "+15005550006",
            "+351912345678",
            Scope::Content,
            ErrorCode::RenderFailed,
        ),
        (
            &smileys,
            "+15005550006",
            "+351912345678",
            Scope::Content,
            ErrorCode::RenderFailed,
        ),
        (
            " \n",
            "+15005550006",
            "+351912345678",
            Scope::Content,
            ErrorCode::RenderFailed,
        ),
        (
            "a\0",
            "+15005550006",
            "+351912345678",
            Scope::Content,
            ErrorCode::RenderFailed,
        ),
        (
            "hi",
            "+15005550006",
            "912345678",
            SOFT,
            ErrorCode::InvalidPhone,
        ),
        (
            "hi",
            "Cadenza",
            "+351912345678",
            Scope::Sender,
            ErrorCode::Rejected,
        ),
    ] {
        let message = TextMessage {
            from: from.into(),
            to: to.into(),
            ..text(body)
        };
        let outcome = timely(sink.web.url(""), &message).await;
        assert!(
            matches!(outcome, Outcome::Rejected { code: 0, .. }),
            "{outcome:?}"
        );
        let found = (outcome.scope(), outcome.error_code());
        assert_eq!(found, (Some(scope), Some(code)), "{outcome:?}");
    }
    let most = "x".repeat(TEXT_UNITS_MAX);
    let message = TextMessage {
        idempotency_key: "exec_1".into(),
        ..text(&most)
    };
    let outcome = timely(sink.web.url(""), &message).await;
    assert_eq!(outcome.error_code(), None, "{outcome:?}");
    assert_eq!(sink.web.seen().len(), 1);
}

#[tokio::test]
async fn a_private_address_is_not_asked() {
    let sink = TwilioSink::start().await.expect("a server");
    let twilio = Twilio::new(Web::new(WebConfig::default()));
    let outcome = twilio
        .send(&account(sink.web.url("")), &text("hello"))
        .await;
    assert_eq!(outcome.scope(), Some(Scope::Sender), "{outcome:?}");
    assert!(
        outcome.explain().contains("--allow-networks"),
        "{outcome:?}"
    );
    assert_eq!(sink.web.seen().len(), 0);
}
