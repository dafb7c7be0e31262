//! OAuth 2 grants of senders: written down, kept secret, refreshed by one node at a time, and what becomes
//! of messages where a token server or a mail server refuses.

use std::collections::{HashSet, VecDeque};
use std::sync::{Arc, Mutex};

use cadenza::app::Services;
use cadenza::channel::dispatch::{Channel, Prepared, Route, SenderRoute, TransportConfig};
use cadenza::channel::oauth::{AccessTokens, GrantOf, TokenError};
use cadenza::channel::smtp::Secret;
use cadenza::channel::web::WebConfig;
use cadenza::domain::id::SenderId;
use cadenza::domain::network::Networks;
use cadenza::domain::outcome::{ErrorCode, Outcome, RetryReason, Scope};
use cadenza::engine::record::Ending;
use cadenza::engine::{Engine, EngineConfig, LaneId};
use cadenza::inbound::reading::Reader;
use cadenza::secrets::Secrets;
use cadenza::store::{grant, mailbox, sender, worker};
use chrono::Duration;
use serde_json::{Value, json};
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::blockers::always;
use crate::enrol::enrol;
use crate::harness::{Harness, Kind, both, until};
use crate::leads::later;
use crate::sequences::{done, refusals};
use crate::smtp::smtp_sink::{Options, SmtpSink};
use crate::smtp::to;
use crate::web_sink::{Reply, Seen, WebSink};

const GRANT: &str = "oauth { tokenUrl clientId scope state expiresAt lastRefreshedAt problem }";
pub const FIRST: &str = "refresh-zzq-0";
const CLIENT_SECRET: &str = "client-zzq";

/// A token server whose refresh tokens rotate: each is taken once, and the next one is given with an access
/// token, which the mail servers that ask here take.
pub struct TokenServer {
    pub web: WebSink,
    pub state: Arc<Mutex<State>>,
    /// The access tokens that are good.
    good: Arc<Mutex<HashSet<String>>>,
}

pub struct State {
    pub refresh: String,
    given: u32,
    /// What is answered instead, first things first.
    script: VecDeque<Reply>,
    /// Whether mail servers take what is given.
    is_taken: bool,
}

impl TokenServer {
    pub async fn start() -> Self {
        let state = Arc::new(Mutex::new(State {
            refresh: FIRST.to_owned(),
            given: 0,
            script: VecDeque::new(),
            is_taken: true,
        }));
        let good = Arc::<Mutex<HashSet<String>>>::default();
        let (of, takers) = (Arc::clone(&state), Arc::clone(&good));
        let web = WebSink::start(move |seen| answer(seen, &of, &takers)).await;
        let web = web.expect("a web server");
        Self { web, state, good }
    }

    pub fn script(&self, reply: Reply) {
        self.state.lock().expect("state").script.push_back(reply);
    }

    pub fn asked(&self) -> usize {
        self.web.seen().len()
    }

    pub fn input(&self) -> Value {
        json!({ "tokenUrl": self.web.url("/token"), "clientId": "me", "clientSecret": CLIENT_SECRET,
            "refreshToken": FIRST, "scope": "https://mail.example.com/ offline_access" })
    }
}

fn answer(seen: &Seen, state: &Mutex<State>, good: &Mutex<HashSet<String>>) -> Reply {
    let mut state = state.lock().expect("state");
    let form: Vec<(String, String)> = url::form_urlencoded::parse(seen.body.as_bytes())
        .into_owned()
        .collect();
    let field = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map(|(_, value)| value.as_str()).unwrap_or_default()
    };
    assert_eq!(
        (field("grant_type"), field("client_id")),
        ("refresh_token", "me")
    );
    assert_eq!(field("client_secret"), CLIENT_SECRET);
    assert_eq!(field("scope"), "https://mail.example.com/ offline_access");
    let told = match state.script.pop_front() {
        Some(Reply::SayOnce(told, 200, _)) => Some(told),
        Some(reply) => return reply,
        None => None,
    };
    if field("refresh_token") != state.refresh {
        let words = format!("{} is spent", field("refresh_token"));
        let body = json!({ "error": "invalid_grant", "error_description": words });
        return Reply::Say(400, Vec::new(), body.to_string());
    }
    state.given += 1;
    let number = state.given;
    state.refresh = format!("refresh-zzq-{number}");
    let access = format!("access-zzq-{number}");
    if state.is_taken {
        good.lock().expect("tokens").insert(access.clone());
    }
    let body = json!({ "access_token": access, "token_type": "Bearer", "expires_in": 3600,
        "refresh_token": state.refresh });
    match told {
        Some(told) => Reply::SayOnce(told, 200, body.to_string()),
        None => Reply::Say(200, Vec::new(), body.to_string()),
    }
}

pub fn refusal(code: &str) -> Reply {
    Reply::Say(400, Vec::new(), json!({ "error": code }).to_string())
}

/// A harness whose requests may go to this machine.
pub fn local(h: Harness) -> Harness {
    waiting(h, std::time::Duration::from_secs(20))
}

/// The same, which does not wait long for an answer.
fn hasty(h: Harness) -> Harness {
    waiting(h, std::time::Duration::from_millis(700))
}

fn waiting(mut h: Harness, patience: std::time::Duration) -> Harness {
    h.services = reaching(&h.services, patience);
    h.schema = cadenza::graphql::CadenzaSchema::new(h.services.clone());
    h
}

/// Another node on the same database.
pub fn node(services: &Services) -> Services {
    reaching(services, std::time::Duration::from_secs(20))
}

fn reaching(services: &Services, patience: std::time::Duration) -> Services {
    let web = WebConfig {
        allowed_networks: Networks::read(["127.0.0.0/8"]).expect("a network"),
        connect_timeout: patience,
        timeout: patience,
        extra_roots: Vec::new(),
    };
    services.clone().by(TransportConfig {
        web,
        ..TransportConfig::default()
    })
}

async fn mail_server(tokens: &TokenServer) -> SmtpSink {
    let options = Options {
        tokens: Some(Arc::clone(&tokens.good)),
        ..Options::default()
    };
    SmtpSink::start(options).await.expect("a mail server")
}

pub fn smtp(port: u16) -> Value {
    json!({ "smtp": { "host": "127.0.0.1", "port": port, "security": "NONE", "username": "ada",
        "login": "XOAUTH2" } })
}

pub fn ada(port: u16, tokens: &TokenServer) -> Value {
    json!({ "name": "Ada", "channel": "EMAIL", "address": "ada@example.com", "transport": smtp(port),
        "oauth": tokens.input() })
}

pub async fn made(h: &Harness, input: Value) -> Value {
    let select = format!("sender {{ id {GRANT} }}");
    h.mutate("senderCreate", "SenderCreateInput", input, &select)
        .await["sender"]
        .take()
}

pub async fn update(h: &Harness, input: Value) -> Value {
    let select = format!(
        "sender {{ id enabled {GRANT} transport {{ ... on SmtpTransport {{ host login }} }} }}"
    );
    h.try_mutate("senderUpdate", "SenderUpdateInput", input, &select)
        .await
}

pub async fn seen(h: &Harness, id: &Value) -> Value {
    let query = format!(
        "query($id: ID!) {{ sender(id: $id) {{ enabled unhealthyUntil unhealthyReason {GRANT} }} }}"
    );
    h.data(&query, json!({ "id": id })).await["sender"].take()
}

pub fn sender_id(id: &Value) -> SenderId {
    id.as_str().expect("an id").parse().expect("an id")
}

pub fn of(h: &Harness, id: &Value) -> GrantOf {
    GrantOf {
        workspace: h.admin.workspace,
        sender: sender_id(id),
    }
}

pub async fn row(h: &Harness, id: &Value) -> Option<grant::Row> {
    let ids = [sender_id(id)];
    let found = grant::find_many(h.services.db.read(), h.admin.workspace, &ids);
    found.await.expect("readable").pop()
}

async fn route(h: &Harness, id: &Value) -> Route {
    let ids = [sender_id(id)];
    let found = sender::find_many(h.services.db.read(), h.admin.workspace, &ids);
    let sender = found.await.expect("readable").pop().expect("there");
    Route::Sender(SenderRoute {
        sender: sender.id,
        workspace: h.admin.workspace,
        revision: sender.revision,
        transport: sender.transport,
        secret: sender.secret,
        signing_key: None,
    })
}

/// A message through the transports of these services.
async fn send(services: &Services, route: &Route) -> Outcome {
    let (message, go_on) = (Prepared::Email(to("zoe")), CancellationToken::new());
    let sent = services.transports.send(route, message, &go_on);
    sent.await.outcome
}

#[track_caller]
fn assert_sent(outcome: &Outcome) {
    assert!(matches!(outcome, Outcome::Sent { .. }), "{outcome:?}");
}

both!(
    a_token_is_got_kept_and_replaced_before_its_end,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let mail = mail_server(&tokens).await;
        let ada = made(&h, ada(mail.port(), &tokens)).await;
        let id = &ada["id"];
        let written = json!({ "tokenUrl": tokens.web.url("/token"), "clientId": "me",
            "scope": "https://mail.example.com/ offline_access", "state": "WAITING",
            "expiresAt": null, "lastRefreshedAt": null, "problem": null });
        assert_eq!(ada["oauth"], written);
        let route = route(&h, id).await;
        for _ in 0..3 {
            // Another node has no connection yet.
            assert_sent(&send(&node(&h.services), &route).await);
        }
        assert_eq!((tokens.asked(), mail.accepted()), (1, 3));
        let oauth = seen(&h, id).await["oauth"].take();
        assert_eq!(
            (
                &oauth["state"],
                &oauth["expiresAt"],
                &oauth["lastRefreshedAt"]
            ),
            (
                &json!("READY"),
                &json!("2026-03-02T10:00:00.000Z"),
                &json!("2026-03-02T09:00:00.000Z")
            )
        );
        // Two minutes before its end another one is got, by the refresh token that came with it.
        later(&h, Duration::minutes(58) - Duration::seconds(1));
        assert_sent(&send(&node(&h.services), &route).await);
        assert_eq!(tokens.asked(), 1);
        later(&h, Duration::seconds(1));
        assert_sent(&send(&node(&h.services), &route).await);
        assert_eq!(tokens.asked(), 2);
        assert!(tokens.web.seen()[1].body.contains("refresh-zzq-1"));
        let used = |number: u32| format!("token access-zzq-{number}");
        let heard = mail.heard();
        let logins: Vec<&str> = heard
            .iter()
            .filter_map(|line| Some(line.split_once(": ")?.1))
            .filter(|verb| verb.starts_with("token"))
            .collect();
        assert_eq!(logins, [used(1), used(1), used(1), used(1), used(2)]);
    }
);

both!(
    two_nodes_that_need_a_token_at_once_ask_for_one,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let grant_of = of(&h, &ada["id"]);
        let told = Arc::new(Notify::new());
        tokens.script(Reply::SayOnce(Arc::clone(&told), 200, String::new()));
        let ask = |services: Services| {
            tokio::spawn(async move { services.grants.token(grant_of, None).await })
        };
        // The node that asks first gives up waiting, as one does that ends.
        let first = ask(node(&h.services));
        until("the token server is asked", async || {
            (tokens.asked() == 1).then_some(())
        })
        .await;
        first.abort();
        let others: Vec<_> = (0..6).map(|_| ask(node(&h.services))).collect();
        let under_way = row(&h, &ada["id"]).await.expect("a grant");
        assert!(under_way.refresher.is_some() && under_way.state == "WAITING");
        told.notify_one();
        for other in others {
            let token = other.await.expect("ends").expect("a token");
            assert_eq!(token, Secret::new("access-zzq-1"));
        }
        assert_eq!(tokens.asked(), 1);
        let kept = row(&h, &ada["id"]).await.expect("a grant");
        assert_eq!((kept.generation, kept.refresher), (2, None));
        // All at once, with nobody to wait for.
        later(&h, Duration::hours(1));
        let all: Vec<_> = (0..8).map(|_| ask(node(&h.services))).collect();
        for one in all {
            let token = one.await.expect("ends").expect("a token");
            assert_eq!(token, Secret::new("access-zzq-2"));
        }
        assert_eq!(tokens.asked(), 2);
    }
);

both!(
    what_a_slow_refresh_brings_is_not_lost,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let (grant_of, told) = (of(&h, &ada["id"]), Arc::new(Notify::new()));
        tokens.script(Reply::SayOnce(Arc::clone(&told), 200, String::new()));
        let slow = node(&h.services);
        let slow = tokio::spawn(async move { slow.grants.token(grant_of, None).await });
        until("the token server is asked", async || {
            (tokens.asked() == 1).then_some(())
        })
        .await;
        // Everybody else gives it up, and finds the refresh token spent.
        later(&h, Duration::minutes(2));
        let other = node(&h.services).grants.token(grant_of, None).await;
        assert!(matches!(&other, Err(TokenError::Refused(_))), "{other:?}");
        assert_eq!(seen(&h, &ada["id"]).await["oauth"]["state"], "REFUSED");
        told.notify_one();
        let token = slow.await.expect("ends").expect("a token");
        assert_eq!(token, Secret::new("access-zzq-1"));
        let oauth = seen(&h, &ada["id"]).await["oauth"].take();
        assert_eq!(
            (&oauth["state"], &oauth["problem"]),
            (&json!("READY"), &Value::Null)
        );
        let next = node(&h.services).grants.token(grant_of, Some(&token)).await;
        assert_eq!(next, Ok(Secret::new("access-zzq-2")));
        // What was written meanwhile stays, and what comes late for the old one is nothing.
        let told = Arc::new(Notify::new());
        tokens.script(Reply::SayOnce(Arc::clone(&told), 200, String::new()));
        let late = node(&h.services);
        let late = tokio::spawn(async move { late.grants.refresh(grant_of).await });
        until("the token server is asked", async || {
            (tokens.asked() == 4).then_some(())
        })
        .await;
        let mut input = tokens.input();
        input["refreshToken"] = json!("refresh-zzq-3");
        let again = update(&h, json!({ "id": ada["id"], "oauth": input })).await;
        assert_eq!(again["sender"]["oauth"]["state"], "WAITING", "{again}");
        told.notify_one();
        assert_eq!(late.await.expect("ends"), Ok(()));
        let kept = node(&h.services).grants.token(grant_of, None).await;
        assert_eq!(kept, Ok(Secret::new("access-zzq-4")));
    }
);

both!(
    a_token_that_is_refused_is_replaced_once,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let mail = mail_server(&tokens).await;
        let ada = made(&h, ada(mail.port(), &tokens)).await;
        let route = route(&h, &ada["id"]).await;
        assert_sent(&send(&node(&h.services), &route).await);
        // Taken back before its end.
        tokens.good.lock().expect("tokens").clear();
        assert_sent(&send(&node(&h.services), &route).await);
        assert_eq!((tokens.asked(), mail.sessions()), (2, 3));
        // A server that takes none is asked twice, and then it is the sender's trouble.
        tokens.good.lock().expect("tokens").clear();
        tokens.state.lock().expect("state").is_taken = false;
        let refused = send(&node(&h.services), &route).await;
        assert_eq!((tokens.asked(), mail.sessions()), (3, 5));
        assert_eq!(refused.scope(), Some(Scope::Sender));
        assert_eq!(refused.error_code(), Some(ErrorCode::AuthFailed));
        let said = refused.explain();
        assert!(
            said.contains("535 5.7.8") && said.contains("fresh"),
            "{said}"
        );
        // A token server that is away then is no refusal.
        tokens.script(Reply::Say(
            503,
            vec![("retry-after", "77".into())],
            String::new(),
        ));
        let retried = send(&node(&h.services), &route).await;
        assert_eq!(
            retried.retry_after(),
            Some(Duration::seconds(77)),
            "{retried:?}"
        );
        assert_eq!(retried.error_code(), Some(ErrorCode::ProviderError));
        assert_eq!(mail.accepted(), 2);
    }
);

both!(
    trouble_of_the_token_server_is_told_apart,
    |h: Harness| async move {
        let h = hasty(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let (id, grant_of) = (&ada["id"], of(&h, &ada["id"]));
        let ask = async || h.services.grants.token(grant_of, None).await;
        for (reply, reason) in [
            (Reply::Hang, RetryReason::Timeout),
            (
                Reply::Say(500, Vec::new(), String::new()),
                RetryReason::Unavailable { after: None },
            ),
            (
                Reply::Say(429, Vec::new(), String::new()),
                RetryReason::RateLimited { after: None },
            ),
            (
                Reply::Say(200, Vec::new(), "<html>".into()),
                RetryReason::Protocol,
            ),
            (Reply::Endless(200), RetryReason::Protocol),
        ] {
            tokens.script(reply);
            let failed = ask().await;
            assert!(
                matches!(&failed, Err(TokenError::Later { reason: found, .. }) if *found == reason),
                "{failed:?}"
            );
            // Until a while has passed nobody asks again, and what is said is the same.
            let asked = tokens.asked();
            let again = ask().await.expect_err("a rest");
            assert_eq!(
                again.to_string(),
                failed.expect_err("a failure").to_string()
            );
            let oauth = seen(&h, id).await["oauth"].take();
            assert_eq!(
                (&oauth["state"], &oauth["problem"]),
                (&json!("FAILING"), &json!(again.to_string()))
            );
            assert_eq!(tokens.asked(), asked);
            later(&h, Duration::minutes(6));
        }
        let token = ask().await.expect("a token");
        // What was got lasts, also where no other can be got in time.
        later(&h, Duration::minutes(59));
        tokens.script(refusal("invalid_client"));
        assert_eq!(ask().await, Ok(token.clone()));
        let oauth = seen(&h, id).await["oauth"].take();
        assert_eq!(oauth["state"], "REFUSED");
        assert!(
            oauth["problem"]
                .as_str()
                .is_some_and(|said| said.contains("clientSecret"))
        );
        later(&h, Duration::minutes(1));
        let next = ask().await.expect("another");
        assert_ne!(next, token);
    }
);

/// Carries out all that is due; answers how many messages were tried.
async fn settle(services: &Services) -> usize {
    let s = services;
    let engine = Engine::new(
        s.db.clone(),
        s.clock.clone(),
        s.entropy.clone(),
        Arc::clone(&s.zones),
        s.wake.clone(),
        Arc::clone(&s.transports) as Arc<dyn Channel>,
        EngineConfig::default(),
    );
    engine.enter().await.expect("a worker");
    let mut tried = 0;
    loop {
        let claim = engine.claim(9, &|_: LaneId| 9).await.expect("claims");
        let progressed = claim.progressed;
        let mut ended = Vec::new();
        for claimed in claim.messages {
            assert!(engine.may_leave(&claimed).await.expect("looks"));
            let prepared = s
                .transports
                .prepare(&claimed.route, &claimed.letter)
                .expect("composes");
            let go_on = CancellationToken::new();
            let sent = s.transports.send(&claimed.route, prepared, &go_on).await;
            ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
        }
        tried += ended.len();
        engine.record(&ended).await.expect("records");
        if !progressed {
            engine.leave().await.expect("leaves");
            return tried;
        }
    }
}

/// A person in a published sequence of one email of the sender's.
async fn enrolled(h: &Harness, sender: &Value) -> Value {
    let person = json!({ "email": "zoe@example.org" });
    let person = h.mutate("personCreate", "PersonInput", person, "person { id }");
    let person = person.await["person"]["id"].take();
    let step = json!({ "key": "one", "wait": "PT0S", "action": { "email": { "senderIds": [sender],
        "variants": [{ "subject": "Hello", "text": "Hello" }] } } });
    let input = json!({ "name": "One", "flow": { "steps": [step] }, "settings": always() });
    let id = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": id })).await;
    let operation = enrol(h, id.as_str().expect("an id"), json!({ "ids": [person] })).await;
    assert_eq!(operation["succeeded"], 1, "{operation:#}");
    id
}

const EXECUTIONS: &str = "{ executions { nodes { status attempt error { code message } } }
    leads { nodes { status stopReason } }
    events(first: 50, filter: { kinds: [SENDER_DISABLED, BOUNCED, EXECUTION_FAILED] }) { kind } }";

both!(
    a_grant_that_was_taken_back_switches_the_sender_off_and_harms_no_lead,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let mail = mail_server(&tokens).await;
        let ada = made(&h, ada(mail.port(), &tokens)).await;
        let id = &ada["id"];
        enrolled(&h, id).await;
        tokens.state.lock().expect("state").refresh = "another".into();
        for round in 1..=3 {
            assert_eq!(settle(&h.services).await, 1, "{round}");
            let sender = seen(&h, id).await;
            let reason = sender["unhealthyReason"].as_str().expect("a reason");
            assert!(reason.contains("Authorise again"), "{reason}");
            // The token server's words hold the refresh token, and are not shown.
            assert!(!reason.contains("zzq"), "{reason}");
            assert_eq!(sender["enabled"], round < 3);
            later(&h, Duration::minutes(1));
        }
        assert_eq!(settle(&h.services).await, 0);
        let told = h.data(EXECUTIONS, json!({})).await;
        let execution = &told["executions"]["nodes"][0];
        assert_eq!(
            (&execution["status"], &execution["error"]["code"]),
            (&json!("SCHEDULED"), &json!("AUTH_FAILED"))
        );
        assert_eq!(
            told["leads"]["nodes"],
            json!([{ "status": "PENDING", "stopReason": null }])
        );
        assert_eq!(told["events"], json!([{ "kind": "SENDER_DISABLED" }]));
        assert_eq!(mail.sessions(), 0, "nobody knocks without a token");
        // Authorised again, it goes on.
        let mut input = tokens.input();
        input["refreshToken"] = json!("another");
        let again = update(&h, json!({ "id": id, "enabled": true, "oauth": input })).await;
        assert_eq!(again["userErrors"], json!([]), "{again}");
        assert_eq!(settle(&h.services).await, 1);
        assert_eq!(mail.accepted(), 1);
        let oauth = seen(&h, id).await["oauth"].take();
        assert_eq!(
            (&oauth["state"], &oauth["problem"]),
            (&json!("READY"), &Value::Null)
        );
    }
);

both!(
    a_token_server_that_is_away_is_waited_for,
    |h: Harness| async move {
        let h = hasty(h);
        let tokens = TokenServer::start().await;
        let mail = mail_server(&tokens).await;
        let ada = made(&h, ada(mail.port(), &tokens)).await;
        enrolled(&h, &ada["id"]).await;
        for round in 0..6 {
            tokens.script(match round % 2 {
                0 => Reply::Say(500, Vec::new(), String::new()),
                _ => Reply::Hang,
            });
            assert_eq!(settle(&h.services).await, 1);
            later(&h, Duration::minutes(20));
        }
        let sender = seen(&h, &ada["id"]).await;
        assert_eq!(sender["enabled"], true, "{sender}");
        let told = h.data(EXECUTIONS, json!({})).await;
        assert_eq!(told["executions"]["nodes"][0]["status"], "SCHEDULED");
        assert_eq!(told["executions"]["nodes"][0]["attempt"], 0);
        assert_eq!(told["events"], json!([]));
        assert_eq!(settle(&h.services).await, 1);
        assert_eq!(mail.accepted(), 1);
        let healthy = seen(&h, &ada["id"]).await;
        assert_eq!(healthy["unhealthyReason"], Value::Null);
    }
);

both!(
    every_wrong_field_of_a_grant_is_named,
    |h: Harness| async move {
        let tokens = TokenServer::start().await;
        let with = |field: &str, value: Value| {
            let mut input = ada(25, &tokens);
            input["oauth"][field] = value;
            input
        };
        let select = "sender { id }";
        let tried = async |input| {
            let refused = h
                .try_mutate("senderCreate", "SenderCreateInput", input, select)
                .await;
            refusals(&refused)
        };
        for (field, value) in [
            ("tokenUrl", json!("http://login.example.com/token")),
            ("tokenUrl", json!("https://a:b@login.example.com/token")),
            ("tokenUrl", json!("nowhere")),
            ("clientId", json!(" ")),
            ("clientId", json!("é")),
            ("clientSecret", json!("a\nb")),
            ("refreshToken", json!("")),
            ("refreshToken", json!("x".repeat(8_193))),
            ("scope", json!("a\u{1}b")),
        ] {
            let expected = ("INVALID".to_owned(), format!("oauth.{field}"));
            assert_eq!(
                tried(with(field, value.clone())).await,
                [expected],
                "{field} {value}"
            );
        }
        // Who logs in by what, and where there is nothing to log in by.
        let mut nobody = ada(25, &tokens);
        nobody["transport"]["smtp"]["username"] = Value::Null;
        let mut without = ada(25, &tokens);
        without["oauth"] = Value::Null;
        let mut inbox = without.clone();
        inbox["transport"] = json!({ "outbox": {} });
        inbox["inbox"] = json!({ "host": "imap.example.com", "port": 993, "security": "TLS",
            "username": "ada", "login": "XOAUTH2" });
        let mut texts = ada(25, &tokens);
        texts["channel"] = json!("SMS");
        texts["address"] = json!("+351912345678");
        texts["transport"] = json!({ "outbox": {} });
        for (input, path) in [
            (nobody, "transport.smtp.username"),
            (without, "transport.smtp.password"),
            (inbox, "inbox.secret"),
            (texts, "oauth"),
        ] {
            assert_eq!(
                tried(input).await,
                [("INVALID".to_owned(), path.to_owned())]
            );
        }
        assert_eq!(
            h.data("{ senders { id } }", json!({})).await["senders"],
            json!([])
        );
    }
);

both!(
    tokens_go_only_where_the_grant_was_given_for,
    |h: Harness| async move {
        let tokens = TokenServer::start().await;
        let mut input = ada(25, &tokens);
        input["inbox"] = json!({ "host": "imap.example.com", "port": 993, "security": "TLS",
            "username": "ada", "login": "XOAUTH2" });
        let ada = made(&h, input.clone()).await;
        let id = &ada["id"];
        let sender = sender_id(id);
        let boxes = mailbox::find_many(h.services.db.read(), h.admin.workspace, &[sender]).await;
        assert_eq!(boxes.expect("readable")[0].secret, None);
        // Another port of the same servers is no other place.
        let mut inbox = input["inbox"].clone();
        inbox["port"] = json!(1993);
        let changed = update(
            &h,
            json!({ "id": id, "transport": smtp(26), "inbox": inbox }),
        )
        .await;
        assert_eq!(changed["userErrors"], json!([]), "{changed}");
        let elsewhere = [("INVALID".to_owned(), "oauth".to_owned())];
        for (field, value) in [
            ("host", json!("evil.example.com")),
            ("username", json!("eve")),
        ] {
            let mut transport = smtp(26);
            transport["smtp"][field] = value.clone();
            let mut inbox = inbox.clone();
            inbox[field] = value;
            let refused = update(&h, json!({ "id": id, "transport": transport })).await;
            assert_eq!(refusals(&refused), elsewhere, "{field}");
            let refused = update(&h, json!({ "id": id, "inbox": inbox })).await;
            assert_eq!(refusals(&refused), elsewhere, "{field}");
            // With the grant it may.
            let given = json!({ "id": id, "inbox": inbox, "transport": transport,
                "oauth": tokens.input() });
            assert_eq!(update(&h, given).await["userErrors"], json!([]));
            let back = json!({ "id": id, "inbox": input["inbox"], "transport": smtp(26),
                "oauth": tokens.input() });
            assert_eq!(update(&h, back).await["userErrors"], json!([]));
        }
        let mut plain = input["inbox"].clone();
        plain["security"] = json!("NONE");
        let refused = update(&h, json!({ "id": id, "inbox": plain })).await;
        assert_eq!(refusals(&refused), elsewhere);
        // A password is no token: it is asked for.
        let mut password = smtp(26);
        password["smtp"]["login"] = json!("PASSWORD");
        let refused = update(&h, json!({ "id": id, "transport": password })).await;
        let asked = ("INVALID".to_owned(), "transport.smtp.password".to_owned());
        assert_eq!(refusals(&refused), [asked]);
        // It is not taken from under a login.
        for (rest, which) in [
            (json!({}), "transport"),
            (json!({ "transport": { "outbox": {} } }), "inbox"),
        ] {
            let mut input = rest;
            (input["id"], input["oauth"]) = (id.clone(), Value::Null);
            let refused = update(&h, input).await;
            assert_eq!(refusals(&refused), elsewhere);
            let said = refused["userErrors"][0]["message"].as_str().unwrap_or("");
            assert!(said.contains(which), "{said}");
        }
        password["smtp"]["password"] = json!("hunter2");
        let none = json!({ "id": id, "oauth": null, "inbox": null, "transport": password });
        let changed = update(&h, none).await;
        assert_eq!(changed["sender"]["oauth"], Value::Null, "{changed}");
        assert_eq!(changed["sender"]["transport"]["login"], "PASSWORD");
        assert!(row(&h, id).await.is_none());
    }
);

both!(
    a_token_that_is_written_down_serves_until_it_ends,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let mail = mail_server(&tokens).await;
        tokens.good.lock().expect("tokens").insert("written".into());
        let mut input = ada(mail.port(), &tokens);
        input["oauth"] = Value::Null;
        input["transport"]["smtp"]["password"] = json!("written");
        let ada = made(&h, input).await;
        assert_sent(&send(&h.services, &route(&h, &ada["id"]).await).await);
        tokens.good.lock().expect("tokens").clear();
        let refused = send(&node(&h.services), &route(&h, &ada["id"]).await).await;
        assert_eq!(refused.error_code(), Some(ErrorCode::AuthFailed));
        // With a grant, and without the token, the sender goes on by itself.
        let given =
            json!({ "id": ada["id"], "transport": smtp(mail.port()), "oauth": tokens.input() });
        assert_eq!(update(&h, given).await["userErrors"], json!([]));
        assert_sent(&send(&h.services, &route(&h, &ada["id"]).await).await);
    }
);

both!(
    an_inbox_without_a_token_says_why_and_tries_a_new_grant_at_once,
    |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let mut input = ada(25, &tokens);
        let closed = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = closed.local_addr().expect("an address").port();
        drop(closed);
        input["inbox"] = json!({ "host": "127.0.0.1", "port": port, "security": "NONE",
            "username": "ada", "login": "XOAUTH2" });
        tokens.state.lock().expect("state").refresh = "another".into();
        let ada = made(&h, input).await;
        let (now, id) = (h.clock.now(), h.services.entropy.id(h.clock.now()));
        let lease = now + Duration::days(1);
        worker::register(h.services.db.write(), id, now, lease)
            .await
            .expect("a worker");
        let reader = Reader::new(h.services.clone(), move || id);
        let reading = tokio::spawn(reader.run(h.shutdown.clone()));
        let failed = async |words: &str| {
            until(words, async || {
                // The reader waits by the clock of the test.
                later(&h, Duration::seconds(1));
                let query =
                    "query($id: ID!) { sender(id: $id) { inbox { state reason retryAt } } }";
                let mut seen = h.data(query, json!({ "id": ada["id"] })).await;
                let inbox = seen["sender"]["inbox"].take();
                let reason = inbox["reason"].as_str().unwrap_or_default();
                (inbox["state"] == "FAILED" && reason.contains(words)).then_some(inbox)
            })
            .await
        };
        let inbox = failed("Authorise again").await;
        assert!(inbox["retryAt"].is_string());
        assert!(!inbox["reason"].to_string().contains("zzq"), "{inbox}");
        let mut again = tokens.input();
        again["refreshToken"] = json!("another");
        let given = update(&h, json!({ "id": ada["id"], "oauth": again })).await;
        assert_eq!(given["userErrors"], json!([]), "{given}");
        // With a token it comes as far as the server, where nobody listens.
        failed("cannot be reached").await;
        assert_eq!(seen(&h, &ada["id"]).await["oauth"]["state"], "READY");
        h.shutdown.cancel();
        later(&h, Duration::minutes(1));
        reading.await.expect("ends");
    }
);

both!(a_check_asks_the_token_server, |h: Harness| async move {
    let h = hasty(h);
    let tokens = TokenServer::start().await;
    let mail = mail_server(&tokens).await;
    let ada = made(&h, ada(mail.port(), &tokens)).await;
    let check = async || {
        let input = json!({ "id": ada["id"] });
        let select = "check { canSend findings { kind status message errorCode } }";
        let checked = h
            .mutate("senderCheck", "SenderCheckInput", input, select)
            .await;
        let findings = checked["check"]["findings"]
            .as_array()
            .expect("findings")
            .clone();
        // What the DNS says is none of the grant's.
        let of_dns = |finding: &&Value| {
            ["SPF", "DKIM", "DMARC"]
                .iter()
                .all(|kind| finding["kind"] != *kind)
        };
        let told = findings.iter().filter(of_dns).map(|finding| {
            let word = |field: &str| finding[field].as_str().unwrap_or_default();
            format!("{} {} {}", word("kind"), word("status"), word("errorCode"))
                .trim_end()
                .to_owned()
        });
        let told: Vec<String> = told.collect();
        (
            told,
            findings[0]["message"]
                .as_str()
                .unwrap_or_default()
                .to_owned(),
        )
    };
    let well = [
        "GRANT PASSED",
        "CONNECTION PASSED",
        "LOGIN PASSED",
        "ADDRESS PASSED",
    ];
    for asked in 1..=2 {
        let (told, words) = check().await;
        assert_eq!(told, well);
        assert!(words.contains("took the refresh token"), "{words}");
        assert_eq!(
            tokens.asked(),
            asked,
            "what is kept says nothing of the refresh token"
        );
    }
    tokens.script(refusal("invalid_grant"));
    let (told, words) = check().await;
    assert_eq!(told, ["GRANT FAILED AUTH_FAILED"]);
    assert!(words.contains("Authorise again"), "{words}");
    // It is asked again at once, whatever was said before.
    tokens.script(Reply::Hang);
    assert_eq!(check().await.0, ["GRANT FAILED TIMEOUT"]);
    assert_eq!(check().await.0, well);
    // Where only the inbox needs it, messages leave without.
    tokens.script(refusal("invalid_scope"));
    let outbox = json!({ "id": ada["id"], "transport": { "outbox": {} } });
    assert_eq!(update(&h, outbox).await["userErrors"], json!([]));
    assert_eq!(check().await.0, ["GRANT WARNED", "CONNECTION WARNED"]);
});

both!(another_key_opens_no_grant, |h: Harness| async move {
    let h = local(h);
    let tokens = TokenServer::start().await;
    let ada = made(&h, ada(25, &tokens)).await;
    let mut other = h.services.clone();
    other.secrets = Arc::new(Secrets::from_key([9; 32]));
    let outcome = send(&node(&other), &route(&h, &ada["id"]).await).await;
    assert!(
        matches!(
            outcome,
            Outcome::Retry {
                scope: Scope::Sender,
                ..
            }
        ),
        "{outcome:?}"
    );
    assert!(
        outcome.explain().contains("oauth again"),
        "{}",
        outcome.explain()
    );
    assert_eq!(tokens.asked(), 0);
    // Nor does anybody else's workspace see or use it.
    let stranger = GrantOf {
        workspace: h.stranger.workspace,
        ..of(&h, &ada["id"])
    };
    let none = h.services.grants.token(stranger, None).await;
    assert!(
        matches!(&none, Err(TokenError::Refused(said)) if said.contains("give it oauth")),
        "{none:?}"
    );
});

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_bytes_of_the_database_hold_no_token() {
    crate::harness::run(Kind::Sqlite, |h: Harness| async move {
        let h = local(h);
        let tokens = TokenServer::start().await;
        let ada = made(&h, ada(25, &tokens)).await;
        let token = h.services.grants.token(of(&h, &ada["id"]), None).await;
        assert_eq!(token, Ok(Secret::new("access-zzq-1")));
        let path = h.url.trim_start_matches("sqlite://").to_owned();
        let mut bytes = Vec::new();
        for file in [path.clone(), format!("{path}-wal")] {
            bytes.extend(std::fs::read(&file).unwrap_or_default());
        }
        let holds = |text: &str| {
            bytes
                .windows(text.len())
                .any(|part| part == text.as_bytes())
        };
        assert!(holds("offline_access"), "the grant is in these files");
        assert!(!holds("zzq"));
        let shown = h.data(
            "{ senders { oauth { tokenUrl clientId scope problem } } }",
            json!({}),
        );
        assert!(!shown.await.to_string().contains("zzq"));
    })
    .await;
}
