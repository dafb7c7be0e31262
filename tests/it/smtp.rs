//! SMTP against a receiver that misbehaves at every stage: each send's verdict agrees with the
//! receiver's ledger, and comes in bounded time.

use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use cadenza::channel::email::Email;
use cadenza::channel::mime::{Composed, compose};
use cadenza::channel::oauth::TokenSource;
use cadenza::channel::smtp::{
    Proof, Secret, Security, SmtpConfig, SmtpLogin, SmtpPool, SmtpTimeouts,
};
use cadenza::domain::network::{Networks, Reach};
use cadenza::domain::outcome::{ErrorCode, Outcome, Phase, RetryReason, Scope};
use chrono::DateTime;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;

#[path = "../support/smtp_sink.rs"]
pub mod smtp_sink;

use smtp_sink::{Options, SmtpSink};

const SHORT: Duration = Duration::from_millis(200);
const HARD: Scope = Scope::Recipient { hard: true };
const SOFT: Scope = Scope::Recipient { hard: false };

fn mail(from: &str, to: &str) -> Composed {
    compose(&Email {
        message_id: "<1.test@example.com>".into(),
        date: DateTime::from_timestamp(1_795_422_600, 0).unwrap(),
        from_name: "Ada".into(),
        from_address: format!("{from}@example.com"),
        reply_to: None,
        opt_out_by_mail: false,
        to_name: None,
        to_address: to.to_owned(),
        subject: "Hello".into(),
        text: ".a dot\n..two dots\n.\nend\n".into(),
        html: Some("<p>.a dot</p>".into()),
        in_reply_to: None,
        references: Vec::new(),
        marker: None,
    })
    .unwrap()
}

pub fn to(local: &str) -> Composed {
    mail("ada", &format!("{local}@example.org"))
}

fn config(port: u16) -> SmtpConfig {
    SmtpConfig {
        timeouts: SmtpTimeouts::all(SHORT),
        max_connections: 4,
        ..SmtpConfig::new("127.0.0.1", port, Security::None)
    }
}

fn ada(proof: Proof) -> SmtpLogin {
    SmtpLogin {
        username: "ada".into(),
        proof,
    }
}

fn by_token(port: u16, token: &str) -> SmtpPool {
    SmtpPool::new(SmtpConfig {
        login: Some(ada(Proof::Token(TokenSource::Written(Secret::new(token))))),
        ..config(port)
    })
}

fn features(pipelining: bool) -> Options {
    let mut options = Options::default();
    options
        .features
        .retain(|feature| pipelining || *feature != "PIPELINING");
    options
}

async fn sink(options: Options) -> (SmtpSink, SmtpPool) {
    let sink = SmtpSink::start(options).await.unwrap();
    let pool = SmtpPool::new(config(sink.port()));
    (sink, pool)
}

/// The answer of `pool`, which must come within three of its time-outs.
async fn timely(pool: &SmtpPool, message: &Composed) -> Outcome {
    let started = Instant::now();
    let outcome = pool.send(message).await;
    let took = started.elapsed();
    assert!(
        took < SHORT * 3 + Duration::from_millis(400),
        "took {took:?}: {outcome:?}"
    );
    outcome
}

fn retry(outcome: &Outcome) -> (Phase, Option<u16>, RetryReason, Scope) {
    match outcome {
        Outcome::Retry {
            phase,
            code,
            reason,
            scope,
            ..
        } => (*phase, *code, *reason, *scope),
        other => panic!("not safe to retry: {other:?}"),
    }
}

fn rejected(outcome: &Outcome) -> (Phase, u16, Option<&str>, Scope) {
    match outcome {
        Outcome::Rejected {
            phase,
            code,
            enhanced,
            scope,
            ..
        } => (*phase, *code, enhanced.as_deref(), *scope),
        other => panic!("not rejected: {other:?}"),
    }
}

#[track_caller]
fn assert_sent(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_message_arrives_as_it_was_composed() {
    for pipelining in [true, false] {
        let (sink, pool) = sink(features(pipelining)).await;
        let message = to("zoe");
        let outcome = pool.send(&message).await;
        assert_eq!(
            outcome,
            Outcome::Sent {
                response: "250 2.0.0 queued".into()
            }
        );
        let ledger = sink.ledger();
        let [received] = ledger.as_slice() else {
            panic!("{} messages", ledger.len())
        };
        assert_eq!(received.raw, message.bytes);
        assert_eq!(received.from, "ada@example.com");
        assert_eq!(received.rcpt, "zoe@example.org");
        assert_eq!(received.message_id, "<1.test@example.com>");
        assert_eq!(received.to_json()["subject"], "Hello");
        assert!(received.acked && received.session == 1 && received.at < Duration::from_secs(60));
    }
}

#[tokio::test]
async fn every_refusal_at_every_stage_is_told_apart_and_the_connection_goes_on() {
    for pipelining in [true, false] {
        let (sink, pool) = sink(features(pipelining)).await;
        for (stage, phase, scope) in [
            ("mail", Phase::Mail, Scope::Sender),
            ("rcpt", Phase::Rcpt, SOFT),
            ("data", Phase::Data, SOFT),
            ("dot", Phase::Dot, SOFT),
        ] {
            let message = |kind: &str| match stage {
                "mail" => mail(&format!("{kind}-mail"), "zoe@example.org"),
                _ => to(&format!("{kind}-{stage}")),
            };
            let outcome = timely(&pool, &message("soft")).await;
            let refused = (phase, Some(451), RetryReason::Refused4xx, scope);
            assert_eq!(retry(&outcome), refused, "{stage}");
            assert_eq!(outcome.error_code(), Some(ErrorCode::ProviderError));
            let outcome = timely(&pool, &message("hard")).await;
            let scope = if stage == "mail" { scope } else { HARD };
            assert_eq!(
                rejected(&outcome),
                (phase, 550, Some("5.1.1"), scope),
                "{stage}"
            );
            assert_sent(&timely(&pool, &to("ok")).await);
        }
        // One connection served all of it, and was reset only after transactions left open.
        assert_eq!(sink.sessions(), 1);
        let resets = sink
            .heard()
            .iter()
            .filter(|line| line.ends_with("RSET"))
            .count();
        assert_eq!(resets, 6);
        assert_eq!(sink.accepted(), 4);
        assert!(
            sink.ledger()
                .iter()
                .all(|received| received.rcpt.starts_with("ok@"))
        );
    }
}

#[tokio::test]
async fn lost_and_closing_connections_before_the_end_are_safe_to_retry() {
    for pipelining in [true, false] {
        let (sink, pool) = sink(features(pipelining)).await;
        for (stage, phase) in [
            ("mail", Phase::Mail),
            ("rcpt", Phase::Rcpt),
            ("data", Phase::Data),
        ] {
            let scope = if stage == "mail" { Scope::Sender } else { SOFT };
            let message = |kind: &str| match stage {
                "mail" => mail(&format!("{kind}-mail"), "zoe@example.org"),
                _ => to(&format!("{kind}-{stage}")),
            };
            let outcome = timely(&pool, &message("drop")).await;
            let dropped = (phase, None, RetryReason::ConnectionFailed, scope);
            assert_eq!(retry(&outcome), dropped, "{stage}");
            let outcome = timely(&pool, &message("hang")).await;
            assert_eq!(
                retry(&outcome),
                (phase, None, RetryReason::Timeout, scope),
                "{stage}"
            );
            assert_eq!(outcome.error_code(), Some(ErrorCode::Timeout));
            let outcome = timely(&pool, &message("421")).await;
            let closing = (phase, Some(421), RetryReason::Refused4xx, Scope::Sender);
            assert_eq!(retry(&outcome), closing, "{stage}");
            assert_eq!(outcome.error_code(), Some(ErrorCode::RateLimited));
        }
        // 421 to the dot is a verdict: the message was not taken.
        let outcome = timely(&pool, &to("421-dot")).await;
        let closing = (
            Phase::Dot,
            Some(421),
            RetryReason::Refused4xx,
            Scope::Sender,
        );
        assert_eq!(retry(&outcome), closing);
        assert_eq!(sink.accepted(), 0);
    }
}

#[tokio::test]
async fn without_a_verdict_after_the_dot_nobody_knows() {
    for pipelining in [true, false] {
        let (sink, pool) = sink(features(pipelining)).await;
        let ambiguous = [
            "drop-dot",
            "hang-dot",
            "late-drop",
            "late-hang",
            "late-slow",
            "partial",
        ];
        for local in ambiguous {
            let outcome = timely(&pool, &to(local)).await;
            assert!(
                matches!(outcome, Outcome::Ambiguous { .. }),
                "{local}: {outcome:?}"
            );
            assert_eq!(outcome.error_code(), Some(ErrorCode::Interrupted));
        }
        // What was accepted all the same was accepted once.
        let ledger = sink.ledger();
        let mut accepted: Vec<_> = ledger
            .iter()
            .map(|received| received.rcpt.as_str())
            .collect();
        accepted.sort_unstable();
        let late = [
            "late-drop@example.org",
            "late-hang@example.org",
            "late-slow@example.org",
            "partial@example.org",
        ];
        assert_eq!(accepted, late);
    }
}

#[tokio::test]
async fn a_slow_server_in_time_is_no_trouble() {
    let (_sink, pool) = sink(Options {
        slow: SHORT / 4,
        ..Options::default()
    })
    .await;
    assert_sent(&timely(&pool, &to("late-slow")).await);
}

/// What let the message leave may no longer hold once such a server has spoken.
#[tokio::test]
async fn a_server_that_is_slow_to_greet_gets_no_message_on_that_turn() {
    let sink = SmtpSink::start(Options {
        greets_after: Duration::from_millis(1_200),
        ..Options::default()
    })
    .await
    .expect("a receiver");
    let mut config = config(sink.port());
    config.timeouts = SmtpTimeouts::default();
    let pool = SmtpPool::new(config);
    assert_eq!(pool.send(&to("ada")).await, Outcome::NotBegun);
    assert_eq!(sink.accepted(), 0);
    assert_sent(&pool.send(&to("ada")).await);
    assert_eq!(
        sink.sessions(),
        1,
        "the connection is kept for the next turn"
    );
}

#[tokio::test]
async fn what_waits_for_a_silent_server_is_not_begun_once_the_process_ends() {
    // Connections are taken by the kernel, and nobody ever greets.
    let silent = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = config(silent.local_addr().expect("an address").port());
    config.timeouts = SmtpTimeouts::all(Duration::from_secs(300));
    config.max_connections = 1;
    let pool = Arc::new(SmtpPool::new(config));
    let stopping = CancellationToken::new();
    let mut sends = tokio::task::JoinSet::new();
    // One waits for its connection, and the other for its turn.
    for name in ["ada", "bob"] {
        let (pool, stopping) = (Arc::clone(&pool), stopping.clone());
        sends.spawn(async move { pool.send_unless(&stopping, &to(name)).await });
    }
    let (_connection, _) = silent.accept().await.expect("it connects");
    stopping.cancel();
    let ended = tokio::time::timeout(Duration::from_secs(20), sends.join_all()).await;
    let not_begun = vec![Outcome::NotBegun, Outcome::NotBegun];
    assert_eq!(ended.expect("at once"), not_begun);
}

#[tokio::test]
async fn a_soft_refusal_passes() {
    let (sink, pool) = sink(Options::default()).await;
    for _ in 0..2 {
        assert_eq!(retry(&pool.send(&to("soft2-rcpt")).await).0, Phase::Rcpt);
    }
    assert_sent(&pool.send(&to("soft2-rcpt")).await);
    assert_eq!(sink.accepted(), 1);
}

#[tokio::test]
async fn a_message_for_nobody_is_ended_and_counts_as_refused() {
    let (sink, pool) = sink(Options {
        grants_data_to_nobody: true,
        ..Options::default()
    })
    .await;
    let outcome = timely(&pool, &to("hard-rcpt")).await;
    assert_eq!(rejected(&outcome), (Phase::Rcpt, 550, Some("5.1.1"), HARD));
    assert_sent(&timely(&pool, &to("ok")).await);
    assert_eq!((sink.accepted(), sink.sessions()), (1, 1));
}

#[tokio::test]
async fn a_connection_found_dead_is_replaced_unseen() {
    for pipelining in [true, false] {
        let options = Options {
            close_after: Some(1),
            ..features(pipelining)
        };
        let (sink, pool) = sink(options).await;
        for n in 0..5 {
            assert_sent(&timely(&pool, &to(&format!("ok{n}"))).await);
        }
        assert_eq!((sink.accepted(), sink.sessions()), (5, 5));
    }
}

#[tokio::test]
async fn an_unreachable_or_silent_server_is_the_senders_trouble() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    drop(listener);
    let outcome = timely(&SmtpPool::new(config(port)), &to("ok")).await;
    let refused = (
        Phase::Connect,
        None,
        RetryReason::ConnectionFailed,
        Scope::Sender,
    );
    assert_eq!(retry(&outcome), refused);
    assert_eq!(outcome.error_code(), Some(ErrorCode::ConnectionFailed));

    let (_sink, pool) = sink(Options {
        greeting: "",
        ..Options::default()
    })
    .await;
    let outcome = timely(&pool, &to("ok")).await;
    let silent = (Phase::Greeting, None, RetryReason::Timeout, Scope::Sender);
    assert_eq!(retry(&outcome), silent);

    let (_sink, pool) = sink(Options {
        greeting: "554 5.3.2 no service",
        ..Options::default()
    })
    .await;
    let outcome = timely(&pool, &to("ok")).await;
    assert_eq!(
        rejected(&outcome),
        (Phase::Greeting, 554, Some("5.3.2"), Scope::Sender)
    );

    let (_sink, pool) = sink(Options {
        greeting: "HTTP/1.1 400 Bad",
        ..Options::default()
    })
    .await;
    assert_eq!(
        retry(&timely(&pool, &to("ok")).await).2,
        RetryReason::Protocol
    );
}

#[tokio::test]
async fn a_login_is_by_an_access_token_too() {
    // The long one does not fit a command.
    let long = "t".repeat(3_000);
    let known = ["good".to_owned(), long.clone()].into_iter().collect();
    let (sink, _) = sink(Options {
        tokens: Some(Arc::new(Mutex::new(known))),
        ..Options::default()
    })
    .await;
    for token in ["good", &long] {
        assert_sent(&timely(&by_token(sink.port(), token), &to("ok")).await);
    }
    let flat_and_long = format!("flat{long}");
    for token in ["bad", "flat", &flat_and_long] {
        let pool = by_token(sink.port(), token);
        assert!(!format!("{pool:?}").contains(&format!("\"{token}\"")));
        let outcome = timely(&pool, &to("ok")).await;
        assert_eq!(
            rejected(&outcome),
            (Phase::Auth, 535, Some("5.7.8"), Scope::Sender)
        );
        assert_eq!(outcome.error_code(), Some(ErrorCode::AuthFailed));
    }
    assert_eq!(sink.accepted(), 2);
    // Each was tried once: one that somebody has written down has no other.
    assert_eq!(sink.sessions(), 5);
}

#[tokio::test]
async fn a_server_without_the_login_is_the_senders_trouble() {
    let (passwords, _) = sink(Options {
        auth: true,
        ..Options::default()
    })
    .await;
    let outcome = timely(&by_token(passwords.port(), "good"), &to("ok")).await;
    assert_eq!(rejected(&outcome), (Phase::Auth, 504, None, Scope::Sender));
    assert!(
        outcome.explain().contains("XOAUTH2"),
        "{}",
        outcome.explain()
    );
}

#[tokio::test]
async fn a_wrong_password_is_the_senders_trouble_and_a_right_one_logs_in() {
    let (sink, pool) = sink(Options {
        auth: true,
        ..Options::default()
    })
    .await;
    let with = |password: &str| SmtpConfig {
        login: Some(ada(Proof::Password(Secret::new(password)))),
        ..config(sink.port())
    };
    assert!(!format!("{:?}", with("hunter2")).contains("hunter2"));
    let outcome = timely(&SmtpPool::new(with("bad")), &to("ok")).await;
    assert_eq!(
        rejected(&outcome),
        (Phase::Auth, 535, Some("5.7.8"), Scope::Sender)
    );
    assert_eq!(outcome.error_code(), Some(ErrorCode::AuthFailed));
    assert_sent(&timely(&SmtpPool::new(with("good")), &to("ok")).await);
    // Without a login, the server's refusal of MAIL is no fault of the recipient's.
    let outcome = timely(&pool, &to("ok")).await;
    assert_eq!(
        rejected(&outcome),
        (Phase::Mail, 530, Some("5.7.0"), Scope::Sender)
    );
    assert_eq!(outcome.error_code(), Some(ErrorCode::AuthFailed));

    let (no_auth, _) = self::sink(Options::default()).await;
    let pool = SmtpPool::new(SmtpConfig {
        port: no_auth.port(),
        ..with("good")
    });
    let outcome = timely(&pool, &to("ok")).await;
    assert_eq!(
        (rejected(&outcome).0, rejected(&outcome).3),
        (Phase::Auth, Scope::Sender)
    );
    assert!(!no_auth.heard().iter().any(|line| line.ends_with("AUTH")));

    let options = Options {
        features: vec!["auth login"],
        auth: false,
        ..Options::default()
    };
    let (login, _) = self::sink(options).await;
    assert_sent(
        &timely(
            &SmtpPool::new(SmtpConfig {
                port: login.port(),
                ..with("good")
            }),
            &to("ok"),
        )
        .await,
    );
    let outcome = timely(
        &SmtpPool::new(SmtpConfig {
            port: login.port(),
            ..with("bad")
        }),
        &to("ok"),
    )
    .await;
    assert_eq!(outcome.error_code(), Some(ErrorCode::AuthFailed));
}

/// A certificate for `name` that only those trust who are given it (DER).
/// A certificate for a name: what a server presents, and what its client trusts (DER).
pub fn certificate(name: &str) -> (tokio_rustls::TlsAcceptor, Vec<u8>) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let der = made.cert.der().clone();
    let key = rustls::pki_types::PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![der.clone()], key.into())
        .unwrap();
    (
        tokio_rustls::TlsAcceptor::from(Arc::new(config)),
        der.to_vec(),
    )
}

fn encrypted(sink: &SmtpSink, security: Security, root: &[u8]) -> SmtpPool {
    SmtpPool::new(SmtpConfig {
        host: "localhost".into(),
        security,
        login: Some(ada(Proof::Password(Secret::new("good")))),
        extra_roots: vec![root.to_vec()],
        timeouts: SmtpTimeouts::all(Duration::from_secs(2)),
        ..config(sink.port())
    })
}

#[tokio::test]
async fn encryption_is_had_or_nothing_is_said() {
    let (tls, root) = certificate("localhost");
    let options = Options {
        auth: true,
        ..Options::default()
    };
    let (with_tls, _) = sink(Options {
        tls: Some(tls.clone()),
        ..options.clone()
    })
    .await;
    assert_sent(
        &encrypted(&with_tls, Security::Tls, &root)
            .send(&to("ok"))
            .await,
    );
    assert_eq!(with_tls.accepted(), 1);

    let (start_tls, _) = sink(Options {
        start_tls: Some(tls.clone()),
        ..options.clone()
    })
    .await;
    let pool = encrypted(&start_tls, Security::StartTls, &root);
    assert_sent(&pool.send(&to("ok")).await);
    assert_sent(&pool.send(&to("ok")).await);
    assert_eq!(start_tls.sessions(), 1);
    let outcome = encrypted(&with_tls, Security::Tls, &root)
        .send(&to("late-drop"))
        .await;
    assert!(matches!(outcome, Outcome::Ambiguous { .. }), "{outcome:?}");

    // The offer is hidden: nothing follows in the clear.
    let (plain, _) = sink(options.clone()).await;
    let outcome = encrypted(&plain, Security::StartTls, &root)
        .send(&to("ok"))
        .await;
    assert_eq!(
        (retry(&outcome).0, retry(&outcome).3),
        (Phase::StartTls, Scope::Sender)
    );
    assert!(
        outcome.explain().contains("STARTTLS"),
        "{}",
        outcome.explain()
    );
    assert_eq!(plain.heard(), ["1: EHLO"]);

    // A certificate of another name, and one of somebody nobody knows.
    let (other, other_root) = certificate("elsewhere.example");
    let (wrong, _) = sink(Options {
        start_tls: Some(other),
        ..options.clone()
    })
    .await;
    let outcome = encrypted(&wrong, Security::StartTls, &other_root)
        .send(&to("ok"))
        .await;
    assert_eq!(retry(&outcome).0, Phase::StartTls);
    let outcome = encrypted(&with_tls, Security::Tls, &other_root)
        .send(&to("ok"))
        .await;
    assert_eq!(
        (retry(&outcome).0, retry(&outcome).3),
        (Phase::Connect, Scope::Sender)
    );
    assert_eq!((wrong.accepted(), with_tls.accepted()), (0, 2));
}

#[tokio::test]
async fn what_was_said_in_the_clear_behind_starttls_is_forgotten() {
    let (tls, root) = certificate("localhost");
    // The injected answer would be read as the one to EHLO, and offer no AUTH. Either the handshake
    // chokes on it, or it is dropped; it is never believed.
    let options = Options {
        start_tls: Some(tls),
        auth: true,
        injected: "250 attacker\r\n",
        ..Options::default()
    };
    let (sink, _) = sink(options).await;
    let outcome = encrypted(&sink, Security::StartTls, &root)
        .send(&to("ok"))
        .await;
    match &outcome {
        Outcome::Sent { .. } => assert_eq!(sink.accepted(), 1),
        other => assert_eq!(retry(other).0, Phase::StartTls),
    }
}

#[tokio::test]
async fn an_old_server_is_greeted_the_old_way() {
    let (sink, pool) = sink(Options {
        ehlo: false,
        ..Options::default()
    })
    .await;
    assert_sent(&timely(&pool, &to("ok")).await);
    assert_eq!(
        sink.heard(),
        ["1: EHLO", "1: HELO", "1: MAIL", "1: RCPT", "1: DATA"]
    );
}

#[tokio::test]
async fn an_address_beyond_ascii_needs_a_server_that_takes_it() {
    let (sink, pool) = sink(Options::default()).await;
    assert_sent(&timely(&pool, &to("zoë")).await);
    assert_eq!(
        sink.ledger().first().map(|got| got.rcpt.clone()),
        Some("zoë@example.org".into())
    );
    let (sink, pool) = self::sink(Options {
        features: vec!["8BITMIME"],
        ..Options::default()
    })
    .await;
    let outcome = timely(&pool, &to("zoë")).await;
    assert_eq!(rejected(&outcome), (Phase::Mail, 0, None, SOFT));
    assert_eq!(outcome.error_code(), Some(ErrorCode::InvalidEmail));
    assert!(outcome.explain().contains("SMTPUTF8"));
    assert_sent(&timely(&pool, &to("ok")).await);
    assert_eq!(sink.sessions(), 1);
}

#[tokio::test]
async fn connections_are_bounded_shared_and_replaced() {
    let (sink, _) = sink(Options::default()).await;
    let pool = SmtpPool::new(SmtpConfig {
        max_connections: 3,
        max_messages_per_connection: 10,
        ..config(sink.port())
    });
    let messages: Vec<_> = (0..60).map(|n| to(&format!("ok{n}"))).collect();
    let outcomes = futures_util::future::join_all(messages.iter().map(|one| pool.send(one))).await;
    outcomes.iter().for_each(assert_sent);
    assert_eq!(sink.accepted(), 60);
    assert!(
        (6..=9).contains(&sink.sessions()),
        "{} connections",
        sink.sessions()
    );

    pool.close().await;
    let outcome = pool.send(&to("ok")).await;
    assert_eq!(retry(&outcome).0, Phase::Connect);
    let quits = sink
        .heard()
        .iter()
        .filter(|line| line.ends_with("QUIT"))
        .count();
    assert_eq!(u64::try_from(quits).unwrap(), sink.sessions());
}

#[tokio::test]
async fn an_idle_connection_is_closed_in_time() {
    let (sink, _) = sink(Options::default()).await;
    let pool = SmtpPool::new(SmtpConfig {
        idle_timeout: SHORT / 4,
        ..config(sink.port())
    });
    assert_sent(&pool.send(&to("ok")).await);
    let quit = async {
        while !sink.heard().iter().any(|line| line == "1: QUIT") {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SHORT * 5, quit)
        .await
        .expect("the idle connection is closed");
    assert_sent(&pool.send(&to("ok")).await);
    assert_eq!(sink.sessions(), 2);
}

/// Every behaviour at once over few connections: each verdict agrees with what was delivered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn verdicts_agree_with_the_ledger() {
    let words = [
        "ok",
        "soft-rcpt",
        "hard-rcpt",
        "drop-rcpt",
        "421-rcpt",
        "soft-data",
        "hard-data",
        "drop-data",
        "421-data",
        "soft-dot",
        "hard-dot",
        "drop-dot",
        "421-dot",
        "late-drop",
        "partial",
        "fine",
    ];
    for pipelining in [true, false] {
        let (sink, pool) = sink(features(pipelining)).await;
        let messages: Vec<_> = (0..320)
            .map(|n| to(&format!("{}.{n}", words[n % words.len()])))
            .collect();
        let sends = messages.iter().map(|message| pool.send(message));
        let outcomes = futures_util::future::join_all(sends).await;
        let ledger = sink.ledger();
        for (message, outcome) in messages.iter().zip(&outcomes) {
            let rcpt = message.envelope_to.to_string();
            let got: Vec<_> = ledger
                .iter()
                .filter(|received| received.rcpt == rcpt)
                .collect();
            assert!(got.len() <= 1, "{rcpt} got it twice");
            match outcome {
                Outcome::Sent { .. } => assert!(got.first().is_some_and(|got| got.acked), "{rcpt}"),
                Outcome::Rejected { .. } | Outcome::Retry { .. } | Outcome::NotBegun => {
                    assert!(got.is_empty(), "{rcpt}: {outcome:?}, but it was delivered");
                }
                Outcome::Ambiguous { .. } => {
                    let expected = ["drop-dot", "late-drop", "partial"];
                    assert!(expected.iter().any(|word| rcpt.starts_with(word)), "{rcpt}");
                }
            }
        }
        let sent = outcomes
            .iter()
            .filter(|one| matches!(one, Outcome::Sent { .. }))
            .count();
        assert_eq!(sent, 40);
    }
}

/// Passes bytes on until `limit` of them have gone up or down, then cuts both sides.
async fn cut_after(listener: TcpListener, server: std::net::SocketAddr, up: usize, down: usize) {
    let Ok((mut client, _)) = listener.accept().await else {
        return;
    };
    let Ok(mut upstream) = TcpStream::connect(server).await else {
        return;
    };
    let (mut left_up, mut left_down) = (up, down);
    let (mut from_client, mut from_server) = ([0; 4096], [0; 4096]);
    while left_up > 0 && left_down > 0 {
        // Cancel-safe: a read that loses the race has taken nothing.
        let passed = tokio::select! {
            some = client.read(&mut from_client) => match some {
                Ok(some) if some > 0 => {
                    let some = some.min(left_up);
                    left_up -= some;
                    upstream.write_all(&from_client[..some]).await
                }
                _ => return,
            },
            some = upstream.read(&mut from_server) => match some {
                Ok(some) if some > 0 => {
                    let some = some.min(left_down);
                    left_down -= some;
                    client.write_all(&from_server[..some]).await
                }
                _ => return,
            },
        };
        if passed.is_err() {
            return;
        }
    }
}

/// One send through a proxy that cuts; the verdict, and whether the message was delivered.
async fn send_cut(pipelining: bool, up: usize, down: usize) -> (Outcome, bool) {
    let sink = SmtpSink::start(features(pipelining)).await.unwrap();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let proxy = tokio::spawn(cut_after(listener, sink.address(), up, down));
    let pool = SmtpPool::new(config(port));
    let outcome = timely(&pool, &to("ok")).await;
    drop(pool);
    proxy.await.unwrap();
    // The receiver deals with what came before the cut in its own time.
    let over = async {
        while sink.open_sessions() > 0 {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SHORT * 10, over)
        .await
        .expect("the receiver notices the cut");
    (outcome, sink.accepted() > 0)
}

#[tokio::test]
async fn wherever_the_connection_is_cut_the_verdict_is_true() {
    for pipelining in [true, false] {
        let whole = to("ok").bytes.len() + 200;
        let mut seen = [0; 3];
        for (up, down) in (1..whole)
            .step_by(3)
            .map(|up| (up, usize::MAX))
            .chain((1..330).map(|down| (usize::MAX, down)))
        {
            let (outcome, delivered) = send_cut(pipelining, up, down).await;
            match outcome {
                Outcome::Sent { .. } => {
                    seen[0] += 1;
                    assert!(delivered, "cut at {up}/{down}: said to be sent, was not");
                }
                Outcome::Retry { .. } => {
                    seen[1] += 1;
                    assert!(!delivered, "cut at {up}/{down}: would be sent twice");
                }
                Outcome::Ambiguous { .. } => seen[2] += 1,
                Outcome::Rejected { .. } | Outcome::NotBegun => {
                    panic!("cut at {up}/{down}: nobody refused it");
                }
            }
        }
        assert!(
            seen.iter().all(|&count| count > 0),
            "sent, retry, ambiguous: {seen:?}"
        );
    }
}

/// A server of one connection that says `before` to what comes before the message, then does as
/// `then` says.
async fn scripted<F, Fut>(then: F) -> u16
where
    F: FnOnce(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = io::Result<()>> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await?;
        let mut ignored = [0; 4096];
        stream.write_all(b"220 x\r\n").await?;
        for reply in ["250 x\r\n", "250 x\r\n", "250 x\r\n", "354 x\r\n"] {
            if stream.read(&mut ignored).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            stream.write_all(reply.as_bytes()).await?;
        }
        then(stream).await
    });
    port
}

fn large() -> Composed {
    let mut message = to("ok");
    let line = [b"x".repeat(76), b"\r\n".to_vec()].concat();
    message.bytes.extend(line.repeat(400_000));
    message
}

#[tokio::test]
async fn a_server_that_stops_reading_is_left_in_time_and_took_nothing() {
    let port = scripted(|mut stream| async move {
        stream.read_exact(&mut [0; 100]).await?;
        std::future::pending().await
    })
    .await;
    let mut config = config(port);
    config.timeouts.block = Duration::from_millis(1);
    let outcome = SmtpPool::new(config).send(&large()).await;
    assert_eq!(
        retry(&outcome),
        (Phase::Body, None, RetryReason::Timeout, SOFT)
    );
}

#[tokio::test]
async fn a_refusal_in_the_middle_of_the_message_is_a_verdict() {
    let port = scripted(|mut stream| async move {
        stream.read_exact(&mut [0; 100_000]).await?;
        stream.write_all(b"552 5.3.4 too big\r\n").await?;
        stream.shutdown().await?;
        // Reads on for a while, so that the refusal is not overtaken by a reset.
        tokio::io::copy(&mut stream.take(20_000_000), &mut tokio::io::sink()).await?;
        Ok(())
    })
    .await;
    let outcome = SmtpPool::new(config(port)).send(&large()).await;
    assert_eq!(
        rejected(&outcome),
        (Phase::Dot, 552, Some("5.3.4"), Scope::Content)
    );
}

#[tokio::test]
async fn nonsense_after_the_dot_is_no_verdict() {
    for nonsense in [
        "999 what\r\n",
        "354 more\r\n",
        "hello\r\n",
        "250-yes\r\n550 no\r\n",
    ] {
        let port = scripted(move |mut stream| async move {
            let mut ignored = [0; 4096];
            if stream.read(&mut ignored).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            stream.write_all(nonsense.as_bytes()).await
        })
        .await;
        let outcome = SmtpPool::new(config(port)).send(&to("ok")).await;
        assert!(
            matches!(outcome, Outcome::Ambiguous { .. }),
            "{nonsense}: {outcome:?}"
        );
    }
}

#[tokio::test]
async fn a_message_goes_to_no_server_beyond_reach() {
    let (sink, _) = sink(Options::default()).await;
    // The last is a name that leads to 127.0.0.1.
    for host in ["127.0.0.1", "::ffff:127.0.0.1", "2130706433"] {
        let reaching = |networks: &[&str]| {
            let networks = Networks::read(networks.iter().copied()).unwrap();
            SmtpPool::new(SmtpConfig {
                host: host.into(),
                reach: Reach::InternetAnd(networks),
                ..config(sink.port())
            })
        };
        let before = sink.sessions();
        let outcome = reaching(&[]).send(&to("ok")).await;
        let (phase, _, _, scope) = rejected(&outcome);
        assert_eq!((phase, scope), (Phase::Connect, Scope::Sender), "{host}");
        let told = outcome.explain();
        assert!(told.contains("--allow-smtp-networks"), "{told}");
        assert_eq!(sink.sessions(), before, "{host}");
        assert_sent(&reaching(&["127.0.0.0/8"]).send(&to("ok")).await);
    }
}
