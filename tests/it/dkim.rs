//! Emails that are signed, answers that name the message they answer, and what a check says of a domain.

use std::sync::OnceLock;

use base64::Engine as _;
use cadenza::channel::dispatch::TransportConfig;
use cadenza::domain::inbox::MatchedBy;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use mail_auth::hickory_resolver::config::{
    ConnectionConfig, NameServerConfig, ResolverConfig, ResolverOpts,
};
use mail_auth::{AuthenticatedMessage, DkimResult, MessageAuthenticator};
use mail_parser::MessageParser;
use rsa::pkcs1::{
    DecodeRsaPrivateKey as _, EncodeRsaPrivateKey as _, EncodeRsaPublicKey as _, LineEnding,
};
use serde_json::{Value, json};

use self::name_server::NameServer;
use crate::harness::{Harness, both};
use crate::inbound::{Written, take};
use crate::sender_check::configured;
use crate::smtp::smtp_sink::{Options, SmtpSink};
use crate::steps::{email, person, running, seen};
use crate::tracking::Mailroom;

#[path = "../support/name_server.rs"]
mod name_server;

const KEY: &str = "dkimKey { id domain selector enabled record { name value } }";

/// A private key in PEM, made once for all tests.
pub fn pem() -> &'static str {
    static PEM: OnceLock<String> = OnceLock::new();
    PEM.get_or_init(|| {
        let key = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 2_048).expect("a key");
        let pem = key.to_pkcs1_pem(LineEnding::LF).expect("PEM");
        pem.to_string()
    })
}

/// A key of a domain, which signs nothing yet.
pub async fn key(h: &Harness, domain: &str, selector: &str) -> Value {
    let input = json!({ "domain": domain, "selector": selector, "privateKey": pem() });
    h.mutate("dkimKeyCreate", "DkimKeyCreateInput", input, KEY)
        .await["dkimKey"]
        .take()
}

async fn refused(h: &Harness, input: Value) -> Value {
    let payload = h
        .try_mutate("dkimKeyCreate", "DkimKeyCreateInput", input, KEY)
        .await;
    assert_eq!(payload["dkimKey"], Value::Null);
    payload["userErrors"].clone()
}

async fn switch(h: &Harness, key: &Value, enabled: bool, even_unpublished: bool) -> Value {
    let input = json!({ "id": key["id"], "enabled": enabled, "evenUnpublished": even_unpublished });
    h.try_mutate("dkimKeyUpdate", "DkimKeyUpdateInput", input, KEY)
        .await
}

/// A harness that asks this name server.
fn asking(h: Harness, names: &NameServer) -> Harness {
    configured(
        h,
        TransportConfig {
            name_servers: vec![names.address()],
            ..TransportConfig::default()
        },
    )
}

fn publish(names: &NameServer, key: &Value) {
    let text = |field: &str| key["record"][field].as_str().expect("a text");
    names.publish(text("name"), &[text("value")]);
}

async fn sender(h: &Harness, address: &str, transport: Value, more: Value) -> String {
    let mut input = json!({ "name": "Ada", "channel": "EMAIL", "address": address,
        "transport": transport });
    let more = more.as_object().cloned().unwrap_or_default();
    input.as_object_mut().expect("an input").extend(more);
    let made = h
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await;
    made["sender"]["id"].as_str().expect("an id").to_owned()
}

async fn signs(h: &Harness, sender: &str) -> Value {
    let query = "query($id: ID!) { sender(id: $id) { dkimKey { id } } }";
    let mut read = h.data(query, json!({ "id": sender })).await;
    read["sender"]["dkimKey"]["id"].take()
}

/// What a receiver that asks this name server makes of the signature; nothing where there is none.
async fn verified(names: &NameServer, mail: &str) -> Option<DkimResult> {
    let at = names.address();
    let mut connection = ConnectionConfig::udp();
    connection.port = at.port();
    let server = NameServerConfig::new(at.ip(), true, vec![connection]);
    let config = ResolverConfig::from_parts(None, Vec::new(), vec![server]);
    let receiver = MessageAuthenticator::new(config, ResolverOpts::default()).expect("a resolver");
    let message = AuthenticatedMessage::parse(mail.as_bytes()).expect("a mail");
    let found = receiver.verify_dkim(&message).await;
    assert!(found.len() <= 1, "one signature at most");
    found.first().map(|output| output.result().clone())
}

both!(
    a_key_signs_once_its_record_is_published,
    |h: Harness| async move {
        let names = NameServer::start().await.expect("a port");
        let h = asking(h, &names);
        let ada = sender(
            &h,
            "ada@news.example.com",
            json!({ "outbox": {} }),
            json!({}),
        )
        .await;
        let eve = sender(&h, "eve@example.org", json!({ "outbox": {} }), json!({})).await;
        let first = key(&h, "Example.COM.", "s1").await;
        assert_eq!(
            (&first["domain"], &first["enabled"]),
            (&json!("example.com"), &json!(false))
        );
        assert_eq!(first["record"]["name"], "s1._domainkey.example.com");
        assert_eq!(signs(&h, &ada).await, Value::Null);

        // Not before receivers find it, whatever else they find.
        for published in [None, Some("v=DKIM1; k=rsa; p=AAAA"), Some("v=DKIM1; p=")] {
            if let Some(text) = published {
                names.publish("s1._domainkey.example.com", &[text]);
            }
            let payload = switch(&h, &first, true, false).await;
            let error = &payload["userErrors"][0];
            assert_eq!(error["code"], "WRONG_STATE", "{payload}");
            let message = error["message"].as_str().expect("words");
            assert!(message.contains(first["record"]["value"].as_str().expect("a text")));
        }
        names.fail(true);
        let payload = switch(&h, &first, true, false).await;
        assert!(
            payload.to_string().contains("could not be looked up"),
            "{payload}"
        );
        names.fail(false);
        publish(&names, &first);
        let payload = switch(&h, &first, true, false).await;
        assert_eq!(payload["dkimKey"]["enabled"], true, "{payload}");
        assert_eq!(signs(&h, &ada).await, first["id"], "of the domain above it");
        assert_eq!(signs(&h, &eve).await, Value::Null);

        // The next one takes over; and the key of the domain itself comes before that of one above.
        let second = key(&h, "example.com", "s2").await;
        let payload = switch(&h, &second, true, true).await;
        assert_eq!(payload["dkimKey"]["enabled"], true, "{payload}");
        assert_eq!(signs(&h, &ada).await, second["id"]);
        let nearer = key(&h, "news.example.com", "s1").await;
        switch(&h, &nearer, true, true).await;
        assert_eq!(signs(&h, &ada).await, nearer["id"]);
        let all = h
            .data("{ dkimKeys { domain selector enabled } }", json!({}))
            .await;
        let told = |domain: &str, selector: &str, enabled: bool| json!({ "domain": domain, "selector": selector, "enabled": enabled });
        assert_eq!(
            all["dkimKeys"],
            json!([
                told("example.com", "s1", false),
                told("example.com", "s2", true),
                told("news.example.com", "s1", true)
            ])
        );
        switch(&h, &nearer, false, false).await;
        assert_eq!(signs(&h, &ada).await, second["id"]);
        let input = json!({ "id": second["id"] });
        let payload = h
            .try_mutate(
                "dkimKeyDelete",
                "DkimKeyDeleteInput",
                input.clone(),
                "deletedId",
            )
            .await;
        assert_eq!(payload["userErrors"][0]["code"], "WRONG_STATE", "it signs");
        switch(&h, &second, false, false).await;
        h.mutate("dkimKeyDelete", "DkimKeyDeleteInput", input, "deletedId")
            .await;
        assert_eq!(signs(&h, &ada).await, Value::Null);
    }
);

both!(a_key_that_cannot_be_is_refused, |h: Harness| async move {
    let of = |domain: &str, selector: &str, pem: &str| json!({ "domain": domain, "selector": selector, "privateKey": pem });
    let errors = refused(&h, of("localhost", "a b", "no key")).await;
    let paths: Vec<&Value> = errors
        .as_array()
        .expect("errors")
        .iter()
        .map(|error| &error["path"][0])
        .collect();
    assert_eq!(paths, ["domain", "selector"]);
    let errors = refused(&h, of("example.com", "s1", "no key")).await;
    assert_eq!(errors[0]["path"], json!(["privateKey"]));
    let short = rsa::RsaPrivateKey::new(&mut rsa::rand_core::OsRng, 1_024).expect("a key");
    let short = short.to_pkcs1_pem(LineEnding::LF).expect("PEM");
    let errors = refused(&h, of("example.com", "s1", &short)).await;
    assert!(errors.to_string().contains("1024 bits"), "{errors}");
    // What receivers would read and nothing here signs by.
    let odd = rsa::BigUint::from(3_u8);
    let odd = rsa::RsaPrivateKey::new_with_exp(&mut rsa::rand_core::OsRng, 2_048, &odd);
    let odd = odd
        .expect("a key")
        .to_pkcs1_pem(LineEnding::LF)
        .expect("PEM");
    let errors = refused(&h, of("example.com", "s1", &odd)).await;
    assert!(errors.to_string().contains("cannot sign"), "{errors}");
    key(&h, "example.com", "s1").await;
    let errors = refused(&h, of("EXAMPLE.com", "S1", pem())).await;
    assert_eq!(errors[0]["code"], "ALREADY_EXISTS");

    // The private half is sealed, for its own row.
    let rows = sql::all::<Sealed>(
        h.services.db.read(),
        "SELECT secret FROM dkim_key",
        Arguments::new(),
    );
    for row in rows.await.expect("rows") {
        let body: String = pem()
            .lines()
            .filter(|line| !line.starts_with('-'))
            .collect();
        assert!(row.secret.starts_with("v1.") && !row.secret.contains(&body[40..80]));
    }
});

#[derive(sea_orm::FromQueryResult)]
struct Sealed {
    secret: String,
}

both!(a_key_that_is_made_is_long_enough, |h: Harness| async move {
    let input = json!({ "domain": "example.com" });
    let made = h
        .mutate("dkimKeyCreate", "DkimKeyCreateInput", input, KEY)
        .await;
    assert_eq!(made["dkimKey"]["selector"], "cadenza");
    let value = made["dkimKey"]["record"]["value"].as_str().expect("a text");
    // SubjectPublicKeyInfo of 2,048 bits is 294 octets.
    assert_eq!(value.len(), "v=DKIM1; k=rsa; p=".len() + 392, "{value}");
});

both!(
    what_is_sent_is_signed_and_names_the_way_back,
    |h: Harness| async move {
        let names = NameServer::start().await.expect("a port");
        let h = asking(h, &names);
        let signing = key(&h, "example.com", "s1").await;
        publish(&names, &signing);
        switch(&h, &signing, true, false).await;
        let tags = json!({ "taggedReplies": true });
        let ada = sender(&h, "ada@example.com", json!({ "outbox": {} }), tags).await;
        let one = person(
            &h,
            json!({ "email": "one@example.net", "firstName": "Žofie" }),
        )
        .await;
        let two = person(&h, json!({ "email": "two@example.net" })).await;
        let steps = json!([
            email("hello", "PT0S", &[&ada]),
            email("again", "P1D", &[&ada])
        ]);
        let leads = running(&h, steps, json!({}), &[&one, &two]).await;
        let mails = Mailroom::signing(&h).settle(&h).await;
        assert_eq!(mails.len(), 2);
        for mail in &mails {
            assert_eq!(
                verified(&names, mail).await,
                Some(DkimResult::Pass),
                "{mail}"
            );
            for changed in [
                mail.replace("Subject of", "Object of"),
                mail.replace("/u/", "/x/"),
                mail.replace("Hello", "Hallo"),
                mail.replacen("\r\n\r\n", "\r\nReply-To: eve@example.org\r\n\r\n", 1),
                format!("From: eve@example.com\r\n{mail}"),
                format!("Subject: another\r\n{mail}"),
                format!("Reply-To: eve@example.org\r\n{mail}"),
                format!("List-Unsubscribe: <https://eve.example/>\r\n{mail}"),
                format!("Cc: eve@example.org\r\n{mail}"),
            ] {
                assert_ne!(&changed, mail);
                assert_ne!(verified(&names, &changed).await, Some(DkimResult::Pass));
            }
        }

        // Who answers from elsewhere without naming the message is known by where the answer goes.
        let parsed: Vec<_> = mails
            .iter()
            .map(|mail| MessageParser::new().parse(mail.as_bytes()).expect("a mail"))
            .collect();
        let to = |at: usize| {
            let list = parsed[at].reply_to().and_then(|list| list.first());
            list.and_then(|to| to.address())
                .expect("an address")
                .to_owned()
        };
        let is_of_one = parsed[0]
            .to()
            .and_then(|to| to.first())
            .and_then(|to| to.address())
            == Some("one@example.net");
        let (of_one, of_two) = if is_of_one { (0, 1) } else { (1, 0) };
        assert!(to(of_one).starts_with("ada+") && to(of_one).ends_with("@example.com"));
        let written = Written {
            from: "assistant@example.org",
            to: &to(of_one),
            text: "She asks you to call.",
            ..Written::default()
        };
        let taken = take(&h, None, &written.raw(1)).await;
        assert_eq!(taken.matched_by, Some(MatchedBy::ReplyAddress));
        assert_eq!(seen(&h, &leads[0]).await["stopReason"], "REPLIED");

        // A mail by which the reader opts out goes there too.
        let header = parsed[of_two]
            .header_raw("List-Unsubscribe")
            .expect("a header");
        let mailto = format!("<mailto:{}?subject=unsubscribe>", to(of_two));
        assert!(
            header.contains("<https://") && header.contains(&mailto),
            "{header}"
        );
        let written = Written {
            from: "two@example.net",
            to: &to(of_two),
            subject: "unsubscribe",
            ..Written::default()
        };
        take(&h, None, &written.raw(2)).await;
        assert_eq!(seen(&h, &leads[1]).await["stopReason"], "UNSUBSCRIBED");

        // Without the key, unsigned; and elsewhere is elsewhere.
        switch(&h, &signing, false, false).await;
        let elsewhere = json!({ "replyTo": "sales@example.com" });
        let bob = sender(&h, "bob@example.com", json!({ "outbox": {} }), elsewhere).await;
        let three = person(&h, json!({ "email": "three@example.net" })).await;
        let steps = json!([email("hello", "PT0S", &[&bob])]);
        running(&h, steps, json!({}), &[&three]).await;
        h.clock.advance_to(h.clock.now() + Duration::seconds(1));
        let mails = Mailroom::signing(&h).settle(&h).await;
        assert_eq!(mails.len(), 1);
        assert_eq!(verified(&names, &mails[0]).await, None);
        assert!(
            mails[0].contains("Reply-To: Ada <sales@example.com>\r\n"),
            "{}",
            mails[0]
        );
        assert!(!mails[0].contains("mailto:"));
    }
);

both!(
    a_key_that_cannot_be_opened_lets_nothing_leave_unsigned,
    |h: Harness| async move {
        let signing = key(&h, "example.com", "s1").await;
        switch(&h, &signing, true, true).await;
        let ada = sender(&h, "ada@example.com", json!({ "outbox": {} }), json!({})).await;
        let one = person(&h, json!({ "email": "one@example.net" })).await;
        let steps = json!([email("hello", "PT0S", &[&ada])]);
        running(&h, steps, json!({}), &[&one]).await;
        let statement = "UPDATE dkim_key SET secret = 'v1.AAAA'";
        sql::execute(h.services.db.write(), statement, Arguments::new())
            .await
            .expect("a statement");
        // As after a restart: what was opened before is forgotten.
        let h = configured(h, TransportConfig::default());
        let engine = Mailroom::signing(&h).engine(&h).await;
        let claim = engine.claim(50, &|_| 50).await.expect("claims");
        let claimed = claim.messages.first().expect("a message");
        use cadenza::channel::dispatch::Channel as _;
        let outcome = (h.services.transports)
            .prepare(&claimed.route, &claimed.letter)
            .expect_err("not signed");
        assert!(outcome.explain().contains("cannot sign"), "{outcome:?}");
    }
);

/// What a check says of a domain: kind, status and words of each.
async fn of_domain(h: &Harness, sender: &str) -> Vec<(String, String, String)> {
    let select = "check { canSend findings { kind status message errorCode } }";
    let payload = h
        .mutate(
            "senderCheck",
            "SenderCheckInput",
            json!({ "id": sender }),
            select,
        )
        .await;
    assert_eq!(payload["check"]["canSend"], true, "{payload}");
    let findings = payload["check"]["findings"].as_array().expect("findings");
    let text =
        |finding: &Value, field: &str| finding[field].as_str().unwrap_or_default().to_owned();
    let told = |finding: &Value| {
        (
            text(finding, "kind"),
            text(finding, "status"),
            text(finding, "message"),
        )
    };
    let of_dns = ["SPF", "DKIM", "DMARC"];
    let found = findings.iter().map(told);
    found
        .filter(|(kind, ..)| of_dns.contains(&kind.as_str()))
        .collect()
}

/// That a finding is as it should be, and says what it should.
fn says(found: &(String, String, String), status: &str, words: &str) {
    assert!(
        found.1 == status && found.2.contains(words),
        "{found:?}, not {status} {words}"
    );
}

both!(a_check_says_what_to_publish, |h: Harness| async move {
    let names = NameServer::start().await.expect("a port");
    let h = asking(h, &names);
    let sink = SmtpSink::start(Options::default()).await.expect("a port");
    let local = json!({ "smtp": { "host": "127.0.0.1", "port": sink.port(), "security": "NONE" } });
    let ada = sender(&h, "ada@example.com", local.clone(), json!({})).await;
    let found = of_domain(&h, &ada).await;
    assert_eq!(found.len(), 3);
    says(&found[0], "WARNED", "v=spf1 ip4:ADDRESS ~all");
    says(&found[1], "WARNED", "dkimKeyCreate");
    says(&found[2], "WARNED", "_dmarc.example.com");

    names.publish("example.com", &["v=spf1 -all", "something else"]);
    names.publish("_dmarc.example.com", &["v=DMARC1; p=reject; adkim=s"]);
    let signing = key(&h, "example.com", "s1").await;
    switch(&h, &signing, true, true).await;
    let found = of_domain(&h, &ada).await;
    // Of what leaves a private network nothing is known.
    says(&found[0], "PASSED", "private network");
    says(&found[1], "WARNED", "s1._domainkey.example.com");
    says(&found[2], "PASSED", "reject");

    publish(&names, &signing);
    let found = of_domain(&h, &ada).await;
    says(&found[1], "PASSED", "s1");
    // The key of the domain above is not the strict one's.
    names.publish("_dmarc.news.example.com", &["v=DMARC1; p=none; adkim=s"]);
    let bob = sender(&h, "bob@news.example.com", local.clone(), json!({})).await;
    let found = of_domain(&h, &bob).await;
    says(&found[1], "PASSED", "s1");
    says(&found[2], "WARNED", "adkim=s");
    names.publish("_dmarc.news.example.com", &["v=DMARC1; p=none"]);
    says(&of_domain(&h, &bob).await[2], "PASSED", "none");
    // A record of its own parts a domain from the key above it, however lax it is.
    names.publish("_dmarc.example.com", &[]);
    let found = of_domain(&h, &bob).await;
    says(&found[2], "WARNED", "another organisation than example.com");
    names.publish("_dmarc.news.example.com", &[]);
    says(
        &of_domain(&h, &bob).await[2],
        "WARNED",
        "_dmarc.example.com",
    );
    names.publish("_dmarc.example.com", &["v=DMARC1; p=reject; sp=quarantine"]);
    says(&of_domain(&h, &bob).await[2], "PASSED", "quarantine");
    names.publish(
        "_dmarc.example.com",
        &["v=DMARC1; p=none", "v=DMARC1; p=reject"],
    );
    says(&of_domain(&h, &ada).await[2], "WARNED", "cannot be used");

    // As the RFC writes it down: the key without what it is a key of.
    let bare = rsa::RsaPrivateKey::from_pkcs1_pem(pem()).expect("a key");
    let bare = rsa::RsaPublicKey::from(&bare).to_pkcs1_der().expect("DER");
    let bare = base64::engine::general_purpose::STANDARD.encode(bare.as_bytes());
    let bare = format!("v=DKIM1; p={bare}");
    names.publish("s1._domainkey.example.com", &[&bare]);
    says(&of_domain(&h, &ada).await[1], "PASSED", "s1");
    names.publish("s1._domainkey.example.com", &[&bare, &bare]);
    says(&of_domain(&h, &ada).await[1], "WARNED", "several");
    names.publish("s1._domainkey.example.com", &["v=DKIM1; k=rsa; p=AAAA"]);
    says(&of_domain(&h, &ada).await[1], "WARNED", "another key");
    names.publish("example.com", &["v=spf1 -all", "v=spf1 ~all"]);
    says(&of_domain(&h, &ada).await[0], "WARNED", "cannot be used");
    names.publish("example.com", &["v=spf1 include:a.example.com -all"]);
    says(&of_domain(&h, &ada).await[0], "WARNED", "cannot be used");
    names.fail(true);
    for found in of_domain(&h, &ada).await {
        says(&found, "WARNED", "could not be looked up");
    }
});

#[tokio::test]
async fn providers_are_looked_for_by_what_they_ask_for() {
    use cadenza::channel::dns::{Dns, Question};
    use cadenza::domain::sender::authentication::{Dkim, Spf};
    let names = NameServer::start().await.expect("a port");
    let dns = Dns::new("here.example".into(), vec![names.address()]);
    let ask = async || {
        let question = Question {
            address: "ada@example.com",
            domain: "example.com",
            host: "smtp.gmail.com",
            key: None,
        };
        let found = dns.authentication(&question).await;
        (found.spf, found.dkim)
    };
    let missing = Spf::Missing { is_private: false };
    assert_eq!(ask().await, (missing, Dkim::Unsigned));
    names.publish("example.com", &["v=spf1 include:mail.example.com ~all"]);
    names.publish("mail.example.com", &["v=spf1 ip4:198.51.100.1 ~all"]);
    assert_eq!(ask().await.0, Spf::Omits);
    names.publish("mail.example.com", &["v=spf1 include:_spf.google.com ~all"]);
    names.publish("_spf.google.com", &["v=spf1 ip4:198.51.100.0/24 ~all"]);
    names.publish("google._domainkey.example.com", &["v=DKIM1; k=rsa; p=AAAA"]);
    assert_eq!(
        ask().await,
        (Spf::Allows, Dkim::ByProvider("google".into()))
    );
    // What depends on the message is passed over, and what comes after `all` counts for nothing.
    names.publish("192.0.2.1.spf.example.com", &["v=spf1 -all"]);
    names.publish(
        "mail.example.com",
        &["v=spf1 include:%{i}.spf.example.com INCLUDE:_SPF.google.com ~all"],
    );
    assert_eq!(ask().await.0, Spf::Allows);
    names.publish("mail.example.com", &["v=spf1 -all include:_spf.google.com"]);
    assert_eq!(ask().await.0, Spf::Omits);
    // A circle is no record that can be used.
    names.publish("mail.example.com", &["v=spf1 include:example.com ~all"]);
    assert_eq!(ask().await.0, Spf::Broken);

    // By its own address, where the server is on the Internet.
    let of = async |host: &str| {
        let question = Question {
            address: "ada@example.com",
            domain: "example.com",
            host,
            key: None,
        };
        dns.authentication(&question).await.spf
    };
    names.publish("example.com", &["v=spf1 ip4:93.184.216.0/24 -all"]);
    assert_eq!(of("93.184.216.34").await, Spf::Allows);
    assert_eq!(of("93.184.217.34").await, Spf::Omits);
    assert_eq!(of("10.0.0.1").await, Spf::Unjudged);
}
