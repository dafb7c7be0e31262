//! Every error that an execution can have, caused as a user meets it - by who is written to, by a mail
//! server, by an API that sends text messages, by a webhook - and read through the API.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use cadenza::channel::dispatch::{Channel, Prepared, Route, Sending, TransportConfig, Transports};
use cadenza::channel::smtp::{Security, SmtpConfig, SmtpPool, SmtpTimeouts};
use cadenza::channel::web::WebConfig;
use cadenza::domain::network::Networks;
use cadenza::domain::sender::Transport;
use cadenza::engine::record::Ending;
use cadenza::engine::{Engine, EngineConfig, LaneId};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::blockers::always;
use crate::enrol::enrol;
use crate::harness::{Harness, both};
use crate::sequences::done;
use crate::smtp::smtp_sink::{Options, SmtpSink};
use crate::twilio::twilio_sink::{SID, TOKEN, TwilioSink};
use crate::web_sink::{Reply, Seen, WebSink};

/// How long one waits for a server that says nothing.
const PATIENCE: Duration = Duration::from_millis(700);

/// The transports of the product, with less patience for mail servers that say nothing.
struct Peers {
    transports: Arc<Transports>,
    silent: BTreeSet<u16>,
}

impl Channel for Peers {
    fn send<'a>(
        &'a self,
        route: &'a Route,
        message: Prepared,
        stopping: &'a CancellationToken,
    ) -> Sending<'a> {
        if let (Route::Sender(sender), Prepared::Email(email)) = (route, &message)
            && let Transport::Smtp(smtp) = &sender.transport
            && self.silent.contains(&smtp.port)
        {
            let mut config = SmtpConfig::new(smtp.host.clone(), smtp.port, Security::None);
            config.timeouts = SmtpTimeouts::all(PATIENCE);
            let email = email.clone();
            return Box::pin(async move { SmtpPool::new(config).send(&email).await.into() });
        }
        self.transports.send(route, message, stopping)
    }
}

/// The servers that messages go to.
struct World {
    /// Takes what it is not told to refuse.
    mail: SmtpSink,
    /// Knows no letters beyond ASCII.
    ascii: SmtpSink,
    /// Asks for a login.
    guarded: SmtpSink,
    /// Says nothing where it is told to.
    mute: SmtpSink,
    /// Never greets.
    silent: SmtpSink,
    texts: TwilioSink,
    hooks: WebSink,
    /// Where nobody listens.
    closed: u16,
}

impl World {
    async fn start() -> Self {
        let mail = async |options| SmtpSink::start(options).await.expect("a mail server");
        let mut ascii = Options::default();
        ascii.features.retain(|feature| *feature != "SMTPUTF8");
        let guarded = Options {
            auth: true,
            ..Options::default()
        };
        let silent = Options {
            greeting: "",
            ..Options::default()
        };
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        Self {
            mail: mail(Options::default()).await,
            ascii: mail(ascii).await,
            guarded: mail(guarded).await,
            mute: mail(Options::default()).await,
            silent: mail(silent).await,
            texts: TwilioSink::start().await.expect("an API"),
            hooks: WebSink::start(hook).await.expect("a web server"),
            closed: listener.local_addr().expect("an address").port(),
        }
    }

    fn peers(&self, h: &Harness) -> Peers {
        let web = WebConfig {
            allowed_networks: Networks::read(["127.0.0.0/8"]).expect("a network"),
            connect_timeout: PATIENCE,
            timeout: PATIENCE,
            extra_roots: Vec::new(),
        };
        let config = TransportConfig {
            web,
            ..TransportConfig::default()
        };
        Peers {
            transports: h.services.clone().by(config).transports,
            silent: [self.mute.port(), self.silent.port()].into(),
        }
    }
}

/// What a webhook answers: the status that its path is, or nothing, ever.
fn hook(seen: &Seen) -> Reply {
    let status = seen.target.trim_start_matches('/').parse();
    status.map_or(Reply::Hang, |status| {
        Reply::Say(status, Vec::new(), "on purpose".into())
    })
}

/// A sequence's only step, and whom it meets.
struct Case {
    step: Value,
    person: Value,
}

/// An email through the server at this port, with this password.
async fn mail(h: &Harness, port: u16, password: Option<&str>, person: Value) -> Case {
    let mut smtp = json!({ "host": "127.0.0.1", "port": port, "security": "NONE" });
    if let Some(password) = password {
        smtp["username"] = json!("ada");
        smtp["password"] = json!(password);
    }
    let sender = sender(h, "EMAIL", "ada@example.com", json!({ "smtp": smtp })).await;
    let variant =
        json!({ "subject": "Hello", "text": "Dear {{ attributes.nickname | default('you') }}" });
    let step = json!({ "key": "one", "wait": "PT0S",
        "action": { "email": { "senderIds": [sender], "variants": [variant] } } });
    Case { step, person }
}

/// A text message, which tells the API what to do with it.
async fn text(h: &Harness, base_url: &str, token: &str, body: &str, person: Value) -> Case {
    let twilio = json!({ "accountSid": SID, "authToken": token, "baseUrl": base_url });
    let transport = json!({ "twilio": twilio });
    let sender = sender(h, "SMS", "+15005550006", transport).await;
    let step = json!({ "key": "one", "wait": "PT0S",
        "action": { "sms": { "senderIds": [sender], "variants": [{ "body": body }] } } });
    Case { step, person }
}

fn webhook(url: &str) -> Case {
    let step = json!({ "key": "one", "wait": "PT0S", "action": { "webhook": { "url": url } } });
    Case {
        step,
        person: json!({ "lastName": "Lovelace" }),
    }
}

async fn sender(h: &Harness, channel: &str, address: &str, transport: Value) -> Value {
    let input =
        json!({ "name": "Ada", "channel": channel, "address": address, "transport": transport });
    h.mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await["sender"]["id"]
        .take()
}

async fn person(h: &Harness, fields: Value) -> Value {
    h.mutate("personCreate", "PersonInput", fields, "person { id }")
        .await["person"]["id"]
        .take()
}

/// A published sequence of this step with this person in it; answers its id. Work that reaches anybody
/// follows, so that nobody is refused for having no address.
async fn enrolled(h: &Harness, step: Value, person: &Value) -> Value {
    let task = json!({ "key": "two", "wait": "P9D", "action": { "task": { "title": "Look" } } });
    let input =
        json!({ "name": "Errors", "flow": { "steps": [step, task] }, "settings": always() });
    let id = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": id })).await;
    let operation = enrol(h, id.as_str().expect("an id"), json!({ "ids": [person] })).await;
    assert_eq!(operation["succeeded"], 1, "{operation:#}");
    id
}

/// Carries out everything that is due; what is to be tried again is left.
async fn settle(h: &Harness, peers: &Arc<Peers>) {
    let s = &h.services;
    let engine = Engine::new(
        s.db.clone(),
        s.clock.clone(),
        s.entropy.clone(),
        Arc::clone(&s.zones),
        s.wake.clone(),
        Arc::clone(peers) as Arc<dyn Channel>,
        EngineConfig::default(),
    );
    engine.enter().await.expect("a worker");
    for _ in 0..20 {
        let claim = engine.claim(9, &|_: LaneId| 9).await.expect("claims");
        let progressed = claim.progressed;
        let mut ended = Vec::new();
        for claimed in claim.messages {
            assert!(engine.may_leave(&claimed).await.expect("looks"));
            let (outcome, kept) = match peers.prepare(&claimed.route, &claimed.letter) {
                Ok(prepared) => {
                    let go_on = CancellationToken::new();
                    let sent = peers.send(&claimed.route, prepared, &go_on).await;
                    (sent.outcome, sent.kept)
                }
                Err(outcome) => (*outcome, None),
            };
            ended.push((claimed, Ending::Dispatched(outcome, kept)));
        }
        engine.record(&ended).await.expect("records");
        if !progressed {
            return engine.leave().await.expect("leaves");
        }
    }
    panic!("the engine never comes to rest");
}

/// Code and status of the only execution of a sequence, which is found by its code, too.
async fn seen(h: &Harness, sequence: &Value) -> (String, String) {
    let query = "query($filter: ExecutionFilter) { executions(filter: $filter) { nodes {
        id status error { code message response } } } }";
    let filter = json!({ "sequenceIds": [sequence] });
    let all = h.data(query, json!({ "filter": filter })).await;
    let nodes = all["executions"]["nodes"].as_array().expect("nodes");
    let [node] = nodes.as_slice() else {
        panic!("{all:#}");
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let code = text(&node["error"]["code"]);
    let words = text(&node["error"]["message"]);
    assert!(!words.is_empty(), "words for people: {node:#}");
    let filter = json!({ "sequenceIds": [sequence], "errorCode": [code] });
    let by_code = h.data(query, json!({ "filter": filter })).await;
    assert_eq!(by_code, all, "found by its code");
    (code, text(&node["status"]))
}

/// What went wrong in each case, and what is said of it.
#[derive(Default)]
struct Found(Vec<(String, Value, &'static str)>);

impl Found {
    async fn add(&mut self, h: &Harness, told: &str, case: Case, expected: &'static str) {
        let who = person(h, case.person).await;
        let sequence = enrolled(h, case.step, &who).await;
        self.0.push((told.to_owned(), sequence, expected));
    }

    /// The codes that were produced, each as it was expected.
    async fn codes(&self, h: &Harness) -> BTreeSet<String> {
        let (mut produced, mut wrong) = (BTreeSet::new(), Vec::new());
        for (told, sequence, expected) in &self.0 {
            let (code, status) = seen(h, sequence).await;
            if format!("{status} {code}") != *expected {
                wrong.push(format!("{told}: {status} {code} and not {expected}"));
            }
            produced.insert(code);
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        produced
    }
}

/// Somebody with a number of their own: what an operator says of one number holds for it alone.
fn phone(last: usize) -> Value {
    json!({ "phone": format!("+3519123456{last:02}") })
}

fn email(local: &str) -> Value {
    json!({ "email": format!("{local}@example.org") })
}

/// Who is written to, and what is written, is at fault.
async fn by_people(h: &Harness, w: &World, found: &mut Found) {
    let port = w.mail.port();
    let case = mail(h, port, None, json!({ "lastName": "Nobody" })).await;
    found
        .add(h, "no address", case, "SKIPPED MISSING_EMAIL")
        .await;
    let case = mail(h, w.ascii.port(), None, email("josé")).await;
    found
        .add(
            h,
            "letters that the server has not",
            case,
            "FAILED INVALID_EMAIL",
        )
        .await;
    let url = w.texts.web.url("");
    let case = text(h, &url, TOKEN, "Hi", email("no-phone")).await;
    found
        .add(h, "no number", case, "SKIPPED MISSING_PHONE")
        .await;
    let case = Case {
        step: json!({ "key": "one", "wait": "PT0S",
            "action": { "task": { "channel": "LINKEDIN", "title": "Visit" } } }),
        person: email("no-page"),
    };
    found
        .add(h, "no page", case, "SKIPPED MISSING_LINKEDIN_URL")
        .await;
    let mut long = phone(90);
    long["attributes"] = json!({ "nickname": "x".repeat(1_601) });
    let case = text(h, &url, TOKEN, "{{ attributes.nickname }}", long).await;
    found
        .add(
            h,
            "more than a text message holds",
            case,
            "FAILED RENDER_FAILED",
        )
        .await;
    let mut case = text(h, &url, TOKEN, "{{ attributes.nickname }}", phone(91)).await;
    case.step["onMissingData"] = json!("SKIP");
    found
        .add(h, "no value for a merge tag", case, "SKIPPED RENDER_FAILED")
        .await;
}

/// A mail server is at fault, or says who is.
async fn by_mail(h: &Harness, w: &World, found: &mut Found) {
    let port = w.mail.port();
    for (local, expected) in [
        ("hard-rcpt", "FAILED UNKNOWN_RECIPIENT"),
        ("reply-550-5.2.1-rcpt", "FAILED UNKNOWN_RECIPIENT"),
        ("reply-501-5.1.3-rcpt", "FAILED INVALID_EMAIL"),
        ("reply-552-5.2.2-rcpt", "FAILED MAILBOX_FULL"),
        ("reply-552-rcpt", "FAILED MAILBOX_FULL"),
        ("reply-552-5.2.2-dot", "FAILED MAILBOX_FULL"),
        ("reply-452-4.2.2-rcpt", "SCHEDULED MAILBOX_FULL"),
        ("reply-554-5.7.1-rcpt", "FAILED REJECTED"),
        ("reply-554-5.6.0-dot", "FAILED REJECTED"),
        ("reply-450-4.7.1-rcpt", "SCHEDULED RATE_LIMITED"),
        ("421-rcpt", "SCHEDULED RATE_LIMITED"),
        ("soft-rcpt", "SCHEDULED PROVIDER_ERROR"),
        ("reply-421-4.3.2-data", "SCHEDULED PROVIDER_ERROR"),
        ("drop-data", "SCHEDULED CONNECTION_FAILED"),
        ("drop-dot", "UNCONFIRMED INTERRUPTED"),
        ("late-drop", "UNCONFIRMED INTERRUPTED"),
        ("partial", "UNCONFIRMED INTERRUPTED"),
    ] {
        let case = mail(h, port, None, email(local)).await;
        found.add(h, local, case, expected).await;
    }
    for (told, port, password, local, expected) in [
        (
            "a wrong password",
            w.guarded.port(),
            Some("bad"),
            "a",
            "SCHEDULED AUTH_FAILED",
        ),
        (
            "no password",
            w.guarded.port(),
            None,
            "b",
            "SCHEDULED AUTH_FAILED",
        ),
        (
            "a port where nobody listens",
            w.closed,
            None,
            "c",
            "SCHEDULED CONNECTION_FAILED",
        ),
        (
            "silence",
            w.mute.port(),
            None,
            "hang-rcpt",
            "SCHEDULED TIMEOUT",
        ),
        (
            "silence after the end",
            w.mute.port(),
            None,
            "late-hang",
            "UNCONFIRMED INTERRUPTED",
        ),
        (
            "no greeting",
            w.silent.port(),
            None,
            "d",
            "SCHEDULED TIMEOUT",
        ),
    ] {
        let case = mail(h, port, password, email(local)).await;
        found.add(h, told, case, expected).await;
    }
}

/// An API that sends text messages is at fault, or says who is.
async fn by_texts(h: &Harness, w: &World, found: &mut Found) {
    let url = w.texts.web.url("");
    let cases = [
        ("refuse 400 21211", "FAILED INVALID_PHONE"),
        ("refuse 400 21610", "FAILED SUPPRESSED"),
        ("fail 30005", "FAILED UNKNOWN_RECIPIENT"),
        ("refuse 400 21408", "FAILED REJECTED"),
        ("refuse 400 30034", "FAILED REJECTED"),
        ("wait 429 30", "SCHEDULED RATE_LIMITED"),
        ("refuse 503 20503", "SCHEDULED PROVIDER_ERROR"),
        ("status 503", "UNCONFIRMED INTERRUPTED"),
        ("status 502", "UNCONFIRMED INTERRUPTED"),
        ("hang", "UNCONFIRMED INTERRUPTED"),
    ];
    for (last, (body, expected)) in cases.into_iter().enumerate() {
        let case = text(h, &url, TOKEN, body, phone(last)).await;
        found.add(h, body, case, expected).await;
    }
    let case = text(h, &url, "wrong", "Hi", phone(92)).await;
    found
        .add(h, "a wrong token", case, "SCHEDULED AUTH_FAILED")
        .await;
    let nowhere = format!("http://127.0.0.1:{}", w.closed);
    let case = text(h, &nowhere, TOKEN, "Hi", phone(93)).await;
    found
        .add(
            h,
            "an API that is not there",
            case,
            "SCHEDULED CONNECTION_FAILED",
        )
        .await;
}

/// A webhook is at fault.
async fn by_hooks(h: &Harness, w: &World, found: &mut Found) {
    for (path, expected) in [
        ("/404", "FAILED REJECTED"),
        ("/429", "SCHEDULED RATE_LIMITED"),
        ("/503", "SCHEDULED PROVIDER_ERROR"),
        ("/hang", "SCHEDULED TIMEOUT"),
    ] {
        found
            .add(h, path, webhook(&w.hooks.url(path)), expected)
            .await;
    }
    let nowhere = format!("http://127.0.0.1:{}/", w.closed);
    found
        .add(
            h,
            "a webhook that is not there",
            webhook(&nowhere),
            "SCHEDULED CONNECTION_FAILED",
        )
        .await;
}

/// Somebody whose address bounced is in another sequence, too.
async fn by_bounce(h: &Harness, w: &World, peers: &Arc<Peers>, found: &mut Found) {
    let who = person(h, email("hard-rcpt-twice")).await;
    let first = mail(h, w.mail.port(), None, json!({})).await.step;
    let mut later = mail(h, w.mail.port(), None, json!({})).await.step;
    later["wait"] = json!("PT1H");
    enrolled(h, first, &who).await;
    let second = enrolled(h, later, &who).await;
    found.0.push((
        "an address that bounced".into(),
        second,
        "SKIPPED SUPPRESSED",
    ));
    settle(h, peers).await;
}

/// The names of the codes, as the API has them.
async fn all_codes(h: &Harness) -> BTreeSet<String> {
    let query = "{ __type(name: \"ExecutionErrorCode\") { enumValues { name } } }";
    let data = h.data(query, json!({})).await;
    let values = data["__type"]["enumValues"].as_array().expect("values");
    let names = values.iter().filter_map(|value| value["name"].as_str());
    names.map(str::to_owned).collect()
}

both!(every_error_code_has_its_cause, |h: Harness| async move {
    let w = World::start().await;
    let peers = Arc::new(w.peers(&h));
    // Somebody has a nickname, so that it is no unknown merge tag.
    person(
        &h,
        json!({ "lastName": "Byron", "attributes": { "nickname": "Ada" } }),
    )
    .await;
    let mut found = Found::default();
    by_bounce(&h, &w, &peers, &mut found).await;
    let later = h.clock.now() + chrono::Duration::hours(1);
    h.clock.advance_to(later);
    by_people(&h, &w, &mut found).await;
    by_mail(&h, &w, &mut found).await;
    by_texts(&h, &w, &mut found).await;
    by_hooks(&h, &w, &mut found).await;
    settle(&h, &peers).await;
    let produced = found.codes(&h).await;
    assert_eq!(produced, all_codes(&h).await, "each code has a case here");
    peers.transports.close().await;
});
