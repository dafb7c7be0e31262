//! What comes back by the marks in emails, over HTTP as contacts, mail readers and machines send it.

use std::sync::{Arc, Mutex};

use cadenza::app::{Caller, tracking};
use cadenza::channel::dispatch::{Channel, Letter, Prepared, Route, Sending, Sent, Transports};
use cadenza::domain::outcome::Outcome;
use cadenza::domain::tracking::BaseUrl;
use cadenza::engine::record::Ending;
use cadenza::engine::{Engine, EngineConfig, LaneId};
use cadenza::graphql::CadenzaSchema;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use mail_parser::MessageParser;
use reqwest::header::{HOST, HeaderMap, LOCATION, USER_AGENT};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::harness::{Harness, both, until};
use crate::leads::later;
use crate::sequences::{call, done, kinds, sender};
use crate::served::Served;
use crate::steps::{person, running, seen};

const BASE: &str = "https://go.cadenza.example";
const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";
const HTML: &str = "<p>Hello <a href=\"https://shop.example/?a=1&amp;b=2\">shop</a> \
    <a href=\"https://blog.example/#new\">blog</a> <a href=\"https://docs.example/\">docs</a> \
    <a href=\"mailto:ada@example.org\">write</a> <a href=\"{{ unsubscribe_url }}\">no more</a></p>";

/// Takes every email, and keeps it as it came.
#[derive(Clone, Default)]
pub struct Mailroom {
    mails: Arc<Mutex<Vec<String>>>,
    /// What makes emails ready, where they are to be signed as they are in earnest.
    transports: Option<Arc<Transports>>,
}

impl Channel for Mailroom {
    fn prepare(&self, route: &Route, letter: &Letter) -> Result<Prepared, Box<Outcome>> {
        match &self.transports {
            Some(transports) => transports.prepare(route, letter),
            None => letter.prepare(),
        }
    }

    fn send<'a>(
        &'a self,
        _: &'a Route,
        message: Prepared,
        _: &'a CancellationToken,
    ) -> Sending<'a> {
        Box::pin(async move {
            self.mails.lock().expect("mails").push(message.content());
            let response = "ok".into();
            Sent::from(Outcome::Sent { response })
        })
    }
}

impl Mailroom {
    /// One whose emails are signed.
    pub fn signing(h: &Harness) -> Self {
        Self {
            transports: Some(Arc::clone(&h.services.transports)),
            ..Self::default()
        }
    }

    /// An engine that marks emails as the services say.
    pub async fn engine(&self, h: &Harness) -> Engine {
        let s = &h.services;
        let config = EngineConfig {
            marks: Some(s.marks.clone()),
            ..EngineConfig::default()
        };
        let engine = Engine::new(
            s.db.clone(),
            s.clock.clone(),
            s.entropy.clone(),
            Arc::clone(&s.zones),
            s.wake.clone(),
            Arc::new(self.clone()),
            config,
        );
        engine.enter().await.expect("a worker");
        engine
    }

    /// Sends what is due until nothing changes any more; answers what came, in its order.
    pub async fn settle(&self, h: &Harness) -> Vec<String> {
        let engine = self.engine(h).await;
        for _ in 0..50 {
            let claim = engine.claim(50, &|_: LaneId| 50).await.expect("claims");
            let mut ended = Vec::new();
            for claimed in claim.messages {
                assert!(engine.may_leave(&claimed).await.expect("looks"));
                let prepared = self
                    .prepare(&claimed.route, &claimed.letter)
                    .expect("composes");
                let never = CancellationToken::new();
                let sent = self.send(&claimed.route, prepared, &never).await;
                ended.push((claimed, Ending::Dispatched(sent.outcome, sent.kept)));
            }
            engine.record(&ended).await.expect("records");
            if !claim.progressed {
                return std::mem::take(&mut *self.mails.lock().expect("mails"));
            }
        }
        panic!("the engine never comes to rest");
    }
}

fn letter(key: &str, senders: &[&str]) -> Value {
    json!({ "key": key, "action": { "email": { "senderIds": senders, "variants": [
        { "subject": "Hello", "html": HTML,
          "text": "See https://shop.example/ or {{ unsubscribe_url }}" }] } } })
}

/// What is marked in an email.
struct Marked {
    html: String,
    text: String,
    unsubscribe: Option<String>,
    one_click: Option<String>,
}

impl Marked {
    fn read(mail: &str) -> Self {
        let mail = MessageParser::new().parse(mail).expect("a mail");
        let header = |name: &str| mail.header_raw(name).map(|text| text.trim().to_owned());
        Self {
            html: mail.body_html(0).expect("HTML").into_owned(),
            text: mail.body_text(0).expect("text").into_owned(),
            unsubscribe: header("List-Unsubscribe"),
            one_click: header("List-Unsubscribe-Post"),
        }
    }

    /// The marks of a kind, in their order, without the base.
    fn of(&self, place: &str) -> Vec<String> {
        let begin = format!("{BASE}{place}");
        let behind = self.html.split(&begin).skip(1);
        let tokens = behind.map(|rest| {
            let end = rest.find('"').expect("the end of an attribute");
            format!("{place}{}", &rest[..end])
        });
        tokens.collect()
    }

    fn opt_out(&self) -> String {
        let header = self.unsubscribe.as_deref().expect("a header");
        let url = header.trim_start_matches('<').trim_end_matches('>');
        url.strip_prefix(BASE).expect("our address").to_owned()
    }
}

/// Somebody who follows no redirect.
async fn visit(
    served: &Served,
    method: Method,
    path: &str,
    agent: &str,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    visit_at(served, "go.cadenza.example", method, path, agent).await
}

/// The same by way of a host.
async fn visit_at(
    served: &Served,
    host: &str,
    method: Method,
    path: &str,
    agent: &str,
) -> (StatusCode, HeaderMap, Vec<u8>) {
    let client = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
    let client = client.build().expect("a client");
    let url = format!("http://{}{path}", served.address);
    let request = client.request(method, url).header(USER_AGENT, agent);
    let request = request.header(HOST, host);
    let answer = request.send().await.expect("an answer");
    let (status, headers) = (answer.status(), answer.headers().clone());
    (
        status,
        headers,
        answer.bytes().await.expect("a body").to_vec(),
    )
}

async fn get(served: &Served, path: &str, agent: &str) -> (StatusCode, HeaderMap, Vec<u8>) {
    visit(served, Method::GET, path, agent).await
}

/// What a mail reader sends for somebody who opts out by one click.
async fn one_click(served: &Served, path: &str) -> StatusCode {
    let url = format!("http://{}{path}", served.address);
    let request = crate::served::client().post(url);
    let request = request.form(&[("List-Unsubscribe", "One-Click")]);
    request.send().await.expect("an answer").status()
}

async fn engagement(h: &Harness, lead: &str) -> (i64, i64, bool) {
    let query = "query($id: ID!) { lead(id: $id) { engagement { opens clicks unsubscribed } } }";
    let told = h.data(query, json!({ "id": lead })).await["lead"]["engagement"].take();
    let number = |field: &str| told[field].as_i64().expect("a number");
    (
        number("opens"),
        number("clicks"),
        told["unsubscribed"] == true,
    )
}

async fn count(h: &Harness, kind: &str) -> usize {
    kinds(h).await.iter().filter(|one| *one == kind).count()
}

/// Ada in a sequence of one letter, which she was sent some minutes ago: her lead, and the letter.
async fn written(h: &Harness) -> (String, Marked) {
    let ada = person(h, json!({ "email": "ada@example.org" })).await;
    let mailbox = sender(h, "ada").await;
    let wait = json!({ "key": "wait", "action": { "condition": { "predicate": { "opened": "mail" },
        "within": "P3D" } } });
    let mut mail = letter("mail", &[&mailbox]);
    mail["next"] = json!("wait");
    let lead = running(h, json!([mail, wait]), json!({}), &[&ada])
        .await
        .remove(0);
    let mails = Mailroom::default().settle(h).await;
    assert_eq!(mails.len(), 1);
    later(h, Duration::minutes(5));
    (lead, Marked::read(&mails[0]))
}

both!(emails_carry_their_marks, |h: Harness| async move {
    let (_, mail) = written(&h).await;
    assert_eq!(mail.of("/c/").len(), 3);
    assert_eq!(mail.of("/o/").len(), 1);
    assert_eq!(mail.of("/u/"), [mail.opt_out()]);
    assert_eq!(
        mail.one_click.as_deref(),
        Some("List-Unsubscribe=One-Click")
    );
    assert!(mail.html.contains("href=\"mailto:ada@example.org\""));
    // The text is as it was written.
    let text = format!("See https://shop.example/ or {BASE}{}", mail.opt_out());
    assert_eq!(mail.text.trim(), text);
    for token in mail.of("/c/").iter().chain(&mail.of("/o/")) {
        assert!(!token.contains("ada") && token.len() < 200, "{token}");
    }
});

both!(
    openings_and_clicks_are_counted_and_machines_kept_apart,
    |h: Harness| async move {
        let (lead, mail) = written(&h).await;
        let served = Served::new(&h).await;
        let (pixel, links) = (mail.of("/o/").remove(0), mail.of("/c/"));
        // Whoever asks for the head alone, and machines, have opened nothing.
        let (status, ..) = visit(&served, Method::HEAD, &pixel, BROWSER).await;
        assert_eq!(status, StatusCode::OK);
        get(&served, &pixel, "Somebot/1.0 (+https://bot.example)").await;
        get(&served, &pixel, "Mozilla/5.0").await;
        assert_eq!(engagement(&h, &lead).await, (0, 0, false));
        assert_eq!(count(&h, "MACHINE_OPENED").await, 2);
        let events = "{ events(first: 9, filter: { kinds: [MACHINE_OPENED] }) { detail } }";
        let found = h.data(events, json!({})).await["events"].take();
        let machine = |name: &str| json!({ "detail": { "machine": name } });
        assert_eq!(found, json!([machine("ROBOT"), machine("PRIVACY_PROXY")]));
        assert_eq!(seen(&h, &lead).await["status"], "IN_PROGRESS");
        // The contact has, and the condition that waits for it comes true at once.
        let (status, headers, body) = get(&served, &pixel, BROWSER).await;
        assert_eq!(
            (status, &headers["content-type"]),
            (StatusCode::OK, &"image/gif".parse().expect("a value"))
        );
        assert!(
            headers["cache-control"]
                .to_str()
                .expect("text")
                .contains("no-store")
        );
        assert!(body.starts_with(b"GIF89a"));
        assert_eq!(engagement(&h, &lead).await, (1, 0, false));
        assert_eq!(Mailroom::default().settle(&h).await.len(), 0);
        assert_eq!(seen(&h, &lead).await["status"], "COMPLETED");
        // Seen again right away it is one opening, however often; later it is another.
        for _ in 0..5 {
            get(&served, &pixel, BROWSER).await;
        }
        assert_eq!(engagement(&h, &lead).await.0, 1);
        later(&h, Duration::minutes(5));
        get(&served, &pixel, BROWSER).await;
        assert_eq!(engagement(&h, &lead).await.0, 2);
        // A link leads to where it led, and counts in a moment.
        let (status, headers, _) = get(&served, &links[0], BROWSER).await;
        assert_eq!(status, StatusCode::FOUND);
        assert_eq!(headers[LOCATION], "https://shop.example/?a=1&b=2");
        assert_eq!(headers["referrer-policy"], "no-referrer");
        let clicked = async |number| {
            until("the click is counted", async || {
                (engagement(&h, &lead).await.1 == number).then_some(())
            })
            .await;
        };
        clicked(1).await;
        visit(&served, Method::HEAD, &links[1], BROWSER).await;
        later(&h, Duration::minutes(5));
        let (_, headers, _) = get(&served, &links[1], BROWSER).await;
        assert_eq!(headers[LOCATION], "https://blog.example/#new");
        clicked(2).await;
        // Who follows all links at once is a machine.
        later(&h, Duration::minutes(5));
        for link in &links {
            let (status, ..) = get(&served, link, BROWSER).await;
            assert_eq!(status, StatusCode::FOUND);
        }
        until("the machine is noted", async || {
            (count(&h, "MACHINE_CLICKED").await == 1).then_some(())
        })
        .await;
        assert_eq!(engagement(&h, &lead).await.1, 2);
        assert_eq!(count(&h, "CLICKED").await, 2);
        // A flood of machines is noted some times only.
        for _ in 0..30 {
            get(&served, &pixel, "curl/8.5.0").await;
        }
        let noted = count(&h, "MACHINE_OPENED").await + count(&h, "MACHINE_CLICKED").await;
        assert_eq!(noted, 10);
        served.end().await;
    }
);

both!(
    who_comes_right_after_the_message_is_a_machine,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org" })).await;
        let mailbox = sender(&h, "ada").await;
        let steps = json!([letter("mail", &[&mailbox])]);
        let lead = running(&h, steps, json!({}), &[&ada]).await.remove(0);
        let mails = Mailroom::default().settle(&h).await;
        let pixel = Marked::read(&mails[0]).of("/o/").remove(0);
        let served = Served::new(&h).await;
        get(&served, &pixel, BROWSER).await;
        assert_eq!(engagement(&h, &lead).await.0, 0);
        later(&h, Duration::seconds(2));
        get(&served, &pixel, BROWSER).await;
        assert_eq!(engagement(&h, &lead).await.0, 1);
        served.end().await;
    }
);

both!(
    contacts_opt_out_by_page_and_by_one_click,
    |h: Harness| async move {
        let (lead, mail) = written(&h).await;
        let served = Served::new(&h).await;
        let path = mail.opt_out();
        // Machines follow links: looking changes nothing.
        for method in [Method::GET, Method::HEAD] {
            let (status, headers, body) = visit(&served, method.clone(), &path, BROWSER).await;
            assert_eq!(status, StatusCode::OK);
            let policy = headers["content-security-policy"].to_str().expect("text");
            assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"));
            assert!(headers.get("set-cookie").is_none());
            let page = String::from_utf8(body).expect("a page");
            assert_eq!(
                page.contains("<form method=\"post\">"),
                method == Method::GET
            );
            assert!(!page.contains("ada"));
        }
        let (status, ..) = visit(&served, Method::POST, &path, BROWSER).await;
        assert_eq!(status, StatusCode::BAD_REQUEST, "nothing was said");
        assert_eq!(engagement(&h, &lead).await, (0, 0, false));
        // It works for ever, for everybody who has it, and as often as they like.
        later(&h, Duration::days(400));
        let before = kinds(&h).await.len();
        assert_eq!(one_click(&served, &path).await, StatusCode::OK);
        assert_eq!(engagement(&h, &lead).await, (0, 0, true));
        let stopped = seen(&h, &lead).await;
        assert_eq!(stopped["stopReason"], "UNSUBSCRIBED");
        let told = kinds(&h).await;
        assert_eq!(told[before..], ["UNSUBSCRIBED", "LEAD_STOPPED"]);
        assert_eq!(one_click(&served, &path).await, StatusCode::OK);
        assert_eq!(kinds(&h).await, told);
        let query = "{ people { nodes { optedOut } } }";
        let people = h.data(query, json!({})).await["people"]["nodes"].take();
        assert_eq!(people, json!([{ "optedOut": ["EMAIL"] }]));
        served.end().await;
    }
);

both!(one_click_comes_as_multipart_too, |h: Harness| async move {
    let (lead, mail) = written(&h).await;
    let served = Served::new(&h).await;
    let body = "--b\r\nContent-Disposition: form-data; name=\"List-Unsubscribe\"\r\n\r\nOne-Click\r\n--b--\r\n";
    let url = format!("http://{}{}", served.address, mail.opt_out());
    let request = crate::served::client().post(url).body(body);
    let request = request.header("content-type", "multipart/form-data; boundary=b");
    let answer = request.send().await.expect("an answer");
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(seen(&h, &lead).await["stopReason"], "UNSUBSCRIBED");
    served.end().await;
});

both!(
    who_opts_out_while_a_message_is_claimed_does_not_get_it,
    |h: Harness| async move {
        let (_, mail) = written(&h).await;
        let served = Served::new(&h).await;
        // Ada is in a second sequence, and its message is claimed.
        let query = "{ people { nodes { id } } }";
        let ada = h.data(query, json!({})).await["people"]["nodes"][0]["id"].take();
        let mailbox = sender(&h, "bea").await;
        let steps = json!([letter("second", &[&mailbox])]);
        let lead = running(&h, steps, json!({}), &[ada.as_str().expect("an id")])
            .await
            .remove(0);
        let room = Mailroom::default();
        let engine = room.engine(&h).await;
        let claim = engine
            .claim(9, &|_: LaneId| 9)
            .await
            .expect("claims")
            .messages;
        let [claimed] = &claim[..] else {
            panic!("one message is claimed, not {}", claim.len());
        };
        assert!(engine.may_leave(claimed).await.expect("looks"));
        // Now she opts out by the message that she has; the answer comes after the commit.
        assert_eq!(one_click(&served, &mail.opt_out()).await, StatusCode::OK);
        later(&h, Duration::seconds(2));
        assert!(!engine.may_leave(claimed).await.expect("looks"));
        let ended: Vec<_> = claim
            .into_iter()
            .map(|one| (one, Ending::Released))
            .collect();
        engine.record(&ended).await.expect("records");
        later(&h, Duration::days(9));
        assert_eq!(room.settle(&h).await, [""; 0]);
        let seen = seen(&h, &lead).await;
        assert_eq!(seen["stopReason"], "UNSUBSCRIBED");
        assert_eq!(seen["messagesSent"], 0);
        served.end().await;
    }
);

both!(forged_tokens_change_nothing, |h: Harness| async move {
    let (lead, mail) = written(&h).await;
    let served = Served::new(&h).await;
    let before = kinds(&h).await;
    let tokens = [
        mail.of("/o/").remove(0),
        mail.of("/c/").remove(0),
        mail.opt_out(),
    ];
    // A token serves for what it was sealed for.
    for (place, token) in [
        ("/o/", &tokens[1]),
        ("/o/", &tokens[2]),
        ("/c/", &tokens[0]),
        ("/c/", &tokens[2]),
        ("/u/", &tokens[0]),
        ("/u/", &tokens[1]),
    ] {
        let path = format!("{place}{}", &token[3..]);
        let (status, ..) = get(&served, &path, BROWSER).await;
        assert_eq!(status, StatusCode::NOT_FOUND, "{path}");
        assert!(one_click(&served, &path).await.is_client_error());
    }
    // And changed by a letter it serves for nothing.
    let letters = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    let (entropy, mut asked) = (&h.services.entropy, 0);
    for round in 0..10_000_usize {
        let token = &tokens[round % 3];
        let mut random = [0_u8; 4];
        entropy.fill(&mut random);
        let at = usize::from(u16::from_be_bytes([random[0], random[1]])) % (token.len() - 3);
        let mut bytes = token.clone().into_bytes();
        match round % 5 {
            0 => bytes.truncate(3 + at),
            1 => bytes.insert(3 + at, letters[usize::from(random[2]) % 64]),
            2 => {
                bytes.remove(3 + at);
            }
            _ => bytes[3 + at] = letters[usize::from(random[2]) % 64],
        }
        let changed = String::from_utf8(bytes).expect("ASCII");
        if changed == *token {
            continue;
        }
        assert_eq!(
            tracking::read(&h.services, &changed[3..]),
            None,
            "{changed}"
        );
        if round % 40 == 0 {
            let (status, ..) = get(&served, &changed, BROWSER).await;
            assert_eq!(status, StatusCode::NOT_FOUND, "{changed}");
            assert_ne!(one_click(&served, &changed).await, StatusCode::OK);
            asked += 1;
        }
    }
    assert!(asked > 200);
    assert_eq!(kinds(&h).await, before);
    assert_eq!(engagement(&h, &lead).await, (0, 0, false));
    served.end().await;
});

/// Gives a workspace's sender a domain for its marks; answers what is wrong with that.
async fn track_at(h: &Harness, caller: &Caller, domain: &str) -> Value {
    let input = json!({ "name": domain, "channel": "EMAIL", "address": "a@example.com",
        "trackingDomain": domain, "transport": { "outbox": {} } });
    let document = "mutation($input: SenderCreateInput!) { senderCreate(input: $input) {
        sender { id } userErrors { code path message } } }";
    let made = h
        .execute_as(caller, document, json!({ "input": input }))
        .await;
    made["data"]["senderCreate"]["userErrors"].clone()
}

both!(
    marks_are_followed_under_hosts_of_their_own_workspace,
    |h: Harness| async move {
        let (lead, mail) = written(&h).await;
        let served = Served::new(&h).await;
        assert_eq!(track_at(&h, &h.admin, "go.ours.example").await, json!([]));
        let theirs = "go.theirs.example";
        assert_eq!(track_at(&h, &h.stranger, theirs).await, json!([]));
        let (pixel, link) = (mail.of("/o/").remove(0), mail.of("/c/").remove(0));
        for (host, is_home) in [
            ("go.cadenza.example", true),
            ("go.ours.example", true),
            ("Go.Ours.Example.:8443", true),
            (theirs, false),
            ("go.theirs.example:443", false),
            // Whose it is nobody knows, and there is another workspace.
            ("127.0.0.1:8080", false),
            ("go.cadenza.example.evil.example", false),
        ] {
            let before = engagement(&h, &lead).await;
            for (path, status) in [(&pixel, StatusCode::OK), (&link, StatusCode::FOUND)] {
                for method in [Method::HEAD, Method::GET] {
                    let (is, headers, body) = visit_at(&served, host, method, path, BROWSER).await;
                    match is_home {
                        true => assert_eq!(is, status, "{host}"),
                        false => {
                            assert_eq!(is, StatusCode::NOT_FOUND, "{host}");
                            assert!(headers.get(LOCATION).is_none(), "{host}");
                            assert!(!body.starts_with(b"GIF"), "{host}");
                        }
                    }
                }
            }
            let opened = engagement(&h, &lead).await.0 - before.0;
            assert_eq!(opened, i64::from(is_home), "{host}");
            later(&h, Duration::minutes(5));
        }
        // Nobody takes the domain of another; one's own as often as one likes.
        let taken = track_at(&h, &h.admin, theirs).await;
        assert_eq!(taken[0]["path"], json!(["trackingDomain"]), "{taken}");
        let other_path = track_at(&h, &h.admin, "https://go.theirs.example:8443/mail").await;
        assert_eq!(other_path[0]["code"], "INVALID", "{other_path}");
        assert_eq!(track_at(&h, &h.stranger, theirs).await, json!([]));
        // Who opts out is heard wherever they come from.
        let (status, ..) = visit_at(&served, theirs, Method::GET, &mail.opt_out(), BROWSER).await;
        assert_eq!(status, StatusCode::OK);
        served.end().await;
    }
);

both!(
    of_two_workspaces_that_ask_at_once_one_gets_a_host,
    |h: Harness| async move {
        for number in 0..12 {
            let domain = format!("go{number}.example.org");
            let (ours, theirs) = tokio::join!(
                track_at(&h, &h.admin, &domain),
                track_at(&h, &h.stranger, &domain)
            );
            let got = [&ours, &theirs].map(|wrong| *wrong == json!([]));
            assert!(got[0] != got[1], "{domain}: {ours} {theirs}");
        }
    }
);

both!(
    clicks_are_led_on_while_the_database_is_out_of_order,
    |h: Harness| async move {
        let (_, mail) = written(&h).await;
        let served = Served::new(&h).await;
        let ours = "go.ours.example";
        assert_eq!(track_at(&h, &h.admin, ours).await, json!([]));
        let link = mail.of("/c/").remove(0);
        let look = async |host| {
            visit_at(&served, host, Method::HEAD, &link, BROWSER)
                .await
                .0
        };
        let change = async |statement: &str| {
            sql::execute(h.services.db.write(), statement, Arguments::new())
                .await
                .expect("changes");
        };
        assert_eq!(look(ours).await, StatusCode::FOUND);
        // It is not asked again at once.
        change(
            "UPDATE sender SET tracking_host = 'go.new.example' WHERE tracking_host IS NOT NULL",
        )
        .await;
        assert_eq!(look(ours).await, StatusCode::FOUND);
        later(&h, Duration::seconds(61));
        assert_eq!(look(ours).await, StatusCode::NOT_FOUND);
        assert_eq!(look("go.new.example").await, StatusCode::FOUND);
        later(&h, Duration::minutes(5));
        change("ALTER TABLE sender RENAME TO gone").await;
        assert_eq!(look("go.new.example").await, StatusCode::FOUND);
        assert_eq!(look(ours).await, StatusCode::SERVICE_UNAVAILABLE);
        served.end().await;
    }
);

both!(
    alone_on_its_server_a_workspace_has_every_host,
    |h: Harness| async move {
        let (_, mail) = written(&h).await;
        for table in [
            "audit_object",
            "audit_entry",
            "event_counter",
            "api_token",
            "workspace",
        ] {
            let column = if table == "workspace" {
                "id"
            } else {
                "workspace_id"
            };
            let statement = format!("DELETE FROM {table} WHERE {column} = $1");
            let theirs = Arguments::new().with(h.stranger.workspace.uuid());
            sql::execute(h.services.db.write(), &statement, theirs)
                .await
                .expect("deletes");
        }
        let served = Served::new(&h).await;
        // As a proxy calls that says nothing of the host that it was called by.
        let link = mail.of("/c/").remove(0);
        let (status, ..) = visit_at(&served, "127.0.0.1:8080", Method::GET, &link, BROWSER).await;
        assert_eq!(status, StatusCode::FOUND);
        served.end().await;
    }
);

both!(
    without_an_address_nothing_is_marked_and_publishing_says_so,
    |mut h: Harness| async move {
        h.services = h.services.clone().at(None);
        h.schema = CadenzaSchema::new(h.services.clone());
        let ada = person(&h, json!({ "email": "ada@example.org" })).await;
        let mailbox = sender(&h, "ada").await;
        let flow = json!({ "steps": [letter("mail", &[&mailbox])] });
        let input = json!({ "name": "Marked", "flow": flow });
        let id = done(&h, "sequenceCreate", input).await["id"].take();
        let refused = call(&h, "sequencePublish", json!({ "id": id }))
            .await
            .to_string();
        assert!(
            refused.contains("--public-url") && refused.contains("unsubscribe_url"),
            "{refused}"
        );
        let problems = "query($id: ID!) { sequence(id: $id) { problems { code severity path } } }";
        let problems = h.data(problems, json!({ "id": id })).await["sequence"]["problems"].take();
        let of = |severity: &str| {
            let all = problems.as_array().expect("problems").iter();
            let own =
                all.filter(|one| one["code"] == "NO_PUBLIC_URL" && one["severity"] == severity);
            own.count()
        };
        assert_eq!((of("WARNING"), of("ERROR")), (2, 1), "{problems:#}");
        // Without the tag it is published, and sent as it was written.
        let plain = json!([{ "key": "mail", "action": { "email": { "senderIds": [mailbox],
            "variants": [{ "subject": "Hi", "html": "<a href=\"https://shop.example/\">shop</a>" }] } } }]);
        running(&h, plain.clone(), json!({}), &[&ada]).await;
        let mails = Mailroom::default().settle(&h).await;
        let mail = Marked::read(&mails[0]);
        assert_eq!(
            mail.html.trim(),
            "<a href=\"https://shop.example/\">shop</a>"
        );
        assert_eq!((mail.unsubscribe, mail.one_click), (None, None));
        // A sender may have an address of its own.
        for (domain, known) in [("http://go.example", false), ("go.bea.example", true)] {
            let input = json!({ "id": mailbox, "trackingDomain": domain });
            let changed = h
                .try_mutate(
                    "senderUpdate",
                    "SenderUpdateInput",
                    input,
                    "sender { trackingDomain }",
                )
                .await;
            match known {
                true => assert_eq!(
                    changed["sender"]["trackingDomain"],
                    "https://go.bea.example"
                ),
                false => assert_eq!(changed["userErrors"][0]["path"], json!(["trackingDomain"])),
            }
        }
        let bob = person(&h, json!({ "email": "bob@example.org" })).await;
        running(&h, plain, json!({}), &[&bob]).await;
        let mails = Mailroom::default().settle(&h).await;
        let mail = Marked::read(&mails[0]);
        assert!(
            mail.html.contains("https://go.bea.example/c/"),
            "{}",
            mail.html
        );
        let header = mail.unsubscribe.expect("a header");
        assert!(header.starts_with("<https://go.bea.example/u/"), "{header}");
        done(&h, "sequencePublish", json!({ "id": id })).await;
        assert_eq!(h.services.marks.base.as_ref().map(BaseUrl::as_str), None);
    }
);
