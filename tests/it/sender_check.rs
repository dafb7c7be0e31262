//! Looking whether a sender could send: what is found of servers that are well, that refuse, and that
//! are not there.

use cadenza::channel::dispatch::TransportConfig;
use cadenza::channel::web::WebConfig;
use cadenza::domain::network::{Networks, Reach};
use cadenza::store::sql::{self, Arguments};
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::smtp::smtp_sink::{Options, SmtpSink};
use crate::twilio::twilio_sink::{NUMBER, SID, TOKEN, TwilioSink};

const SELECT: &str = "check { canSend findings { kind status message errorCode } }
    sender { id enabled unhealthyUntil unhealthyReason }";

/// A harness whose requests may go to this machine.
fn local(h: Harness) -> Harness {
    let web = WebConfig {
        allowed_networks: Networks::read(["127.0.0.0/8"]).expect("a network"),
        ..WebConfig::default()
    };
    configured(
        h,
        TransportConfig {
            web,
            ..TransportConfig::default()
        },
    )
}

/// A harness whose mail servers may be on the Internet at large, and in these networks.
fn confined(h: Harness, networks: &[&str]) -> Harness {
    let networks = Networks::read(networks.iter().copied()).expect("networks");
    configured(
        h,
        TransportConfig {
            smtp_reach: Reach::InternetAnd(networks),
            ..TransportConfig::default()
        },
    )
}

pub fn configured(mut h: Harness, mut config: TransportConfig) -> Harness {
    if config.name_servers.is_empty() {
        // Nobody can be asked there.
        config.name_servers = vec![([127, 0, 0, 1], 0).into()];
    }
    h.services = h.services.by(config);
    h.schema = cadenza::graphql::CadenzaSchema::new(h.services.clone());
    h
}

async fn sender(h: &Harness, channel: &str, address: &str, transport: Value) -> Value {
    let input = json!({ "name": "Ada", "channel": channel, "address": address,
        "transport": transport });
    let made = h
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await;
    made["sender"]["id"].clone()
}

async fn check(h: &Harness, id: &Value) -> Value {
    let input = json!({ "id": id });
    h.mutate("senderCheck", "SenderCheckInput", input, SELECT)
        .await
}

/// What was found of the server, without its words: `KIND STATUS` or `KIND STATUS CODE`.
fn told(payload: &Value) -> Vec<String> {
    let findings = payload["check"]["findings"].as_array().expect("findings");
    let of_dns = ["SPF", "DKIM", "DMARC"];
    let is_of_server = |finding: &&Value| !of_dns.contains(&finding["kind"].as_str().unwrap_or(""));
    let findings: Vec<&Value> = findings.iter().filter(is_of_server).collect();
    let words = |finding: &Value| {
        assert!(!finding["message"].as_str().unwrap_or_default().is_empty());
        let word = |field: &str| finding[field].as_str().unwrap_or_default().to_owned();
        let told = format!("{} {} {}", word("kind"), word("status"), word("errorCode"));
        told.trim_end().to_owned()
    };
    findings.into_iter().map(words).collect()
}

fn smtp(port: u16, username: Option<&str>, password: Option<&str>) -> Value {
    json!({ "smtp": { "host": "127.0.0.1", "port": port, "security": "NONE",
        "username": username, "password": password } })
}

both!(
    a_mail_server_is_tried_up_to_the_sender,
    |h: Harness| async move {
        let with_login = Options {
            auth: true,
            ..Options::default()
        };
        let sink = SmtpSink::start(with_login).await.expect("a port");
        let good = smtp(sink.port(), Some("ada"), Some("good"));
        let ada = sender(&h, "EMAIL", "ada@example.com", good.clone()).await;
        let payload = check(&h, &ada).await;
        assert_eq!(payload["check"]["canSend"], true, "{payload}");
        assert_eq!(
            told(&payload),
            ["CONNECTION PASSED", "LOGIN PASSED", "ADDRESS PASSED"]
        );

        let bad = smtp(sink.port(), Some("ada"), Some("bad"));
        let bob = sender(&h, "EMAIL", "bob@example.com", bad).await;
        let payload = check(&h, &bob).await;
        assert_eq!(payload["check"]["canSend"], false, "{payload}");
        assert_eq!(
            told(&payload),
            ["CONNECTION PASSED", "LOGIN FAILED AUTH_FAILED"]
        );

        let eve = sender(&h, "EMAIL", "hard-mail@example.com", good).await;
        let payload = check(&h, &eve).await;
        let told = told(&payload);
        assert_eq!(told[..2], ["CONNECTION PASSED", "LOGIN PASSED"]);
        assert!(told[2].starts_with("ADDRESS FAILED"), "{payload}");
        assert_eq!(payload["check"]["canSend"], false);

        assert_eq!(sink.accepted(), 0, "a check sends nothing");
    }
);

both!(
    a_server_that_is_not_there_is_said_to_be,
    |h: Harness| async move {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
        let address = listener.and_then(|listener| listener.local_addr());
        let port = address.expect("a port").port();
        let ada = sender(&h, "EMAIL", "ada@example.com", smtp(port, None, None)).await;
        let payload = check(&h, &ada).await;
        assert_eq!(told(&payload), ["CONNECTION FAILED CONNECTION_FAILED"]);
        let message = &payload["check"]["findings"][0]["message"];
        let message = message.as_str().expect("words");
        assert!(message.contains("Check the host, the port"), "{message}");
    }
);

both!(
    an_account_is_asked_for_itself_and_its_number,
    |h: Harness| async move {
        let h = local(h);
        let sink = TwilioSink::start().await.expect("a port");
        let account = |token: &str| json!({ "twilio": { "baseUrl": sink.web.url(""), "accountSid": SID, "authToken": token } });
        let ada = sender(&h, "SMS", NUMBER, account(TOKEN)).await;
        let payload = check(&h, &ada).await;
        assert_eq!(
            told(&payload),
            ["CONNECTION PASSED", "LOGIN PASSED", "ADDRESS PASSED"]
        );
        let other = sender(&h, "WHATSAPP", "+351912345678", account(TOKEN)).await;
        let payload = check(&h, &other).await;
        assert_eq!(told(&payload)[2], "ADDRESS WARNED");
        assert_eq!(payload["check"]["canSend"], true);
        let bad = sender(&h, "SMS", NUMBER, account("bad")).await;
        let payload = check(&h, &bad).await;
        assert_eq!(
            told(&payload),
            ["CONNECTION PASSED", "LOGIN FAILED AUTH_FAILED"]
        );
        assert!(sink.taken().is_empty(), "a check sends nothing");
    }
);

both!(a_private_address_is_not_asked, |h: Harness| async move {
    let account = json!({ "twilio": { "baseUrl": "http://127.0.0.1:9", "accountSid": SID,
        "authToken": TOKEN } });
    let ada = sender(&h, "SMS", NUMBER, account).await;
    let payload = check(&h, &ada).await;
    assert_eq!(told(&payload).len(), 1);
    assert!(
        payload.to_string().contains("--allow-networks"),
        "{payload}"
    );
});

both!(
    an_outbox_says_that_nothing_leaves,
    |h: Harness| async move {
        let ada = sender(&h, "EMAIL", "ada@example.com", json!({ "outbox": {} })).await;
        assert_eq!(told(&check(&h, &ada).await), ["CONNECTION WARNED"]);
    }
);

both!(
    a_check_ends_no_rest_and_switches_nobody_on,
    |h: Harness| async move {
        // It knows no addresses beyond ASCII, and needs not: a domain is named by its A-label.
        let plain = Options {
            features: Vec::new(),
            ..Options::default()
        };
        let sink = SmtpSink::start(plain).await.expect("a port");
        let transport = smtp(sink.port(), None, None);
        let ada = sender(&h, "EMAIL", "ada@bücher.example", transport).await;
        let until = (h.clock.now() + chrono::Duration::hours(1)).timestamp_millis();
        let statement = "UPDATE sender SET unhealthy_until = $1, unhealthy_reason = $2,
            failures = 2, enabled = $3";
        let arguments = Arguments::new().with(until).with("421 later").with(false);
        sql::execute(h.services.db.write(), statement, arguments)
            .await
            .expect("a statement");
        let payload = check(&h, &ada).await;
        assert_eq!(told(&payload), ["CONNECTION PASSED", "ADDRESS PASSED"]);
        assert_eq!(payload["sender"]["unhealthyReason"], "421 later");
        assert_eq!(payload["sender"]["enabled"], false);
    }
);

both!(nobody_checks_what_is_not_there, |h: Harness| async move {
    let input = json!({ "id": "sender_00000000000000000000000000" });
    let payload = h
        .try_mutate("senderCheck", "SenderCheckInput", input, SELECT)
        .await;
    assert_eq!(payload["check"], Value::Null);
    assert_eq!(payload["userErrors"][0]["code"], "NOT_FOUND");
});

fn at(host: &str, port: u16) -> Value {
    json!({ "smtp": { "host": host, "port": port, "security": "NONE" } })
}

both!(
    mail_servers_in_networks_that_are_not_allowed_are_not_connected_to,
    |h: Harness| async move {
        let sink = SmtpSink::start(Options::default()).await.expect("a port");
        let closed = {
            let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
            let address = listener.and_then(|listener| listener.local_addr());
            address.expect("a port").port()
        };
        // They were made while any were allowed. The last is a name that leads to 127.0.0.1.
        let mut senders = Vec::new();
        for host in ["127.0.0.1", "::ffff:127.0.0.1", "localhost", "2130706433"] {
            for port in [sink.port(), closed] {
                let address = format!("a{}@example.com", senders.len());
                senders.push((host, sender(&h, "EMAIL", &address, at(host, port)).await));
            }
        }

        let h = confined(h, &[]);
        let mut told_of = std::collections::BTreeSet::new();
        for (host, id) in &senders {
            let payload = check(&h, id).await;
            assert_eq!(payload["check"]["canSend"], false, "{host}: {payload}");
            told_of.insert(payload["check"].to_string());
        }
        // A port that is open is told of like one that is closed: there was no connection.
        assert_eq!(told_of.len(), 1, "{told_of:?}");
        let told_of = told_of.first().expect("one");
        assert!(told_of.contains("--allow-smtp-networks"), "{told_of}");
        assert_eq!(sink.sessions(), 0);

        // What tells by how it is written is refused at once; a name only where it leads.
        for host in [
            "127.0.0.1",
            "::ffff:10.0.0.1",
            "LOCALHOST",
            "169.254.169.254",
        ] {
            let input = json!({ "name": "Ada", "channel": "EMAIL", "address": "b@example.com",
                "transport": at(host, 25) });
            let payload = h
                .try_mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
                .await;
            let errors = &payload["userErrors"];
            assert_eq!(
                errors.as_array().map(Vec::len),
                Some(1),
                "{host}: {payload}"
            );
            assert_eq!(errors[0]["path"], json!(["transport", "smtp", "host"]));
            assert!(
                errors.to_string().contains("--allow-smtp-networks"),
                "{errors}"
            );
        }
        let public = at("smtp.example.com", 587);
        sender(&h, "EMAIL", "c@example.com", public).await;

        // A relay on this machine, however it is written, where that one is allowed.
        let h = confined(h, &["127.0.0.1"]);
        for (host, id) in senders.iter().step_by(2) {
            let payload = check(&h, id).await;
            assert_eq!(payload["check"]["canSend"], true, "{host}: {payload}");
        }
        assert_eq!(sink.accepted(), 0, "a check sends nothing");
    }
);
