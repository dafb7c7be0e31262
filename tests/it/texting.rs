//! What comes back of text messages, as Twilio sends it: signed, more than once, late, out of order, and
//! forged.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cadenza::app::analytics::verify::{Found, verify};
use cadenza::app::texting::signed::Signed;
use cadenza::app::texting::{self, signed};
use cadenza::domain::id::SenderId;
use cadenza::domain::outcome::Outcome;
use cadenza::engine::record::Ending;
use proptest::prelude::*;
use proptest::strategy::ValueTree;
use proptest::test_runner::{Config, RngSeed, TestRunner};
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::inbound::count;
use crate::pains::{Receiver, node, settle};
use crate::served::{Served, client};
use crate::steps::{at, person, running, seen, sms};

const ACCOUNT: &str = "AC0123456789abcdef";
const TOKEN: &str = "0123456789abcdef-a-token";
const OURS: &str = "+351912345678";
const ADA: &str = "+351911111111";
/// The address that the harness is reached by.
const PUBLIC: &str = "https://go.cadenza.example";

async fn twilio_number(h: &Harness, channel: &str) -> String {
    let input = json!({ "name": channel, "channel": channel, "address": OURS,
        "transport": { "twilio": { "accountSid": ACCOUNT, "authToken": TOKEN } } });
    let made = h
        .mutate("senderCreate", "SenderCreateInput", input, "sender { id }")
        .await;
    made["sender"]["id"].as_str().expect("an id").to_owned()
}

/// A number, and somebody who was sent a message by it and waits for another.
struct World {
    served: Served,
    sender: String,
    lead: String,
    execution: String,
}

impl World {
    async fn new(h: &Harness) -> Self {
        Self::after(h, async || settle(h, &Receiver::default()).await).await
    }

    /// Nobody knows whether the message has left.
    async fn in_doubt(h: &Harness) -> Self {
        let send = async || {
            let engine = node(h, &Receiver::default()).await;
            let claim = engine.claim(50, &|_| 50).await.expect("claims");
            let lost = |claimed| {
                let reason = "no answer came".to_owned();
                (
                    claimed,
                    Ending::Dispatched(Outcome::Ambiguous { reason }, None),
                )
            };
            let ended: Vec<_> = claim.messages.into_iter().map(lost).collect();
            engine.record(&ended).await.expect("records");
        };
        Self::after(h, send).await
    }

    async fn after(h: &Harness, send: impl AsyncFnOnce()) -> Self {
        let sender = twilio_number(h, "SMS").await;
        let ada = person(h, json!({ "email": "ada@example.com", "phone": ADA })).await;
        let mut later = sms("later", &sender, "Still there?");
        later["wait"] = json!("P2D");
        let steps = json!([sms("hello", &sender, "Hello"), later]);
        let lead = running(h, steps, json!({}), &[&ada]).await.remove(0);
        send().await;
        let execution = seen(h, &lead).await["executions"]["nodes"][0]["id"].take();
        Self {
            served: Served::new(h).await,
            execution: execution.as_str().expect("an execution").to_owned(),
            sender,
            lead,
        }
    }

    fn path(&self) -> String {
        format!("/inbound/twilio/{}/{}", self.sender, self.execution)
    }

    async fn receipt(&self, status: &str, code: &str) -> u16 {
        let fields = receipt(status, code);
        self.post(&self.path(), &fields, &sign(PUBLIC, &self.path(), &fields))
            .await
    }

    async fn text(&self, sid: &str, body: &str) -> u16 {
        let path = format!("/inbound/twilio/{}", self.sender);
        let fields = text(sid, body);
        self.post(&path, &fields, &sign(PUBLIC, &path, &fields))
            .await
    }

    async fn post(&self, path: &str, fields: &[(&str, &str)], signature: &str) -> u16 {
        self.post_raw(path, form(fields), signature).await
    }

    /// Whether a request is believed, asked in process.
    async fn admits(&self, h: &Harness, path: &str, body: &[u8], signature: &str) -> bool {
        let asked = path.trim_start_matches("/inbound/twilio/");
        let asked = asked.split(['/', '?']).next().unwrap_or_default();
        let Ok(sender) = asked.parse::<SenderId>() else {
            return false;
        };
        let signed = Signed {
            address: &format!("{PUBLIC}{path}"),
            is_form: true,
            body,
            signature,
        };
        let known = signed::known(&h.services, sender).await.expect("asked");
        known.and_then(|known| known.admit(&signed)).is_some()
    }

    async fn post_raw(&self, path: &str, body: Vec<u8>, signature: &str) -> u16 {
        let request = client()
            .post(format!("http://{}{path}", self.served.address))
            .header("x-twilio-signature", signature)
            .header("content-type", "application/x-www-form-urlencoded")
            .body(body);
        request.send().await.expect("an answer").status().as_u16()
    }
}

fn form(fields: &[(&str, &str)]) -> Vec<u8> {
    let mut form = url::form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields).finish().into_bytes()
}

fn receipt<'a>(status: &'a str, code: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("AccountSid", ACCOUNT),
        ("MessageSid", "SM1"),
        ("MessageStatus", status),
        ("ErrorCode", code),
        ("To", ADA),
        ("From", OURS),
    ]
}

fn text<'a>(sid: &'a str, body: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![
        ("AccountSid", ACCOUNT),
        ("MessageSid", sid),
        ("Body", body),
        ("From", ADA),
        ("To", OURS),
    ]
}

fn sign(base: &str, path: &str, fields: &[(&str, &str)]) -> String {
    let mut fields = fields.to_vec();
    fields.sort_unstable();
    let signed = fields
        .iter()
        .fold(format!("{base}{path}"), |text, (name, value)| {
            format!("{text}{name}{value}")
        });
    let key = ring::hmac::Key::new(ring::hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, TOKEN.as_bytes());
    STANDARD.encode(ring::hmac::sign(&key, signed.as_bytes()))
}

/// The kinds of events since a message was sent, with why it came back.
async fn told(h: &Harness) -> Vec<String> {
    let all = "{ events(first: 250) { kind detail } }";
    let all = h.data(all, json!({})).await;
    let told = all["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| {
            let kind = event["kind"].as_str().unwrap_or_default();
            match &event["detail"]["reason"] {
                Value::String(reason) => format!("{kind} {reason}"),
                _ => kind.to_owned(),
            }
        });
    told.skip_while(|kind| kind != "EXECUTION_SENT")
        .skip(1)
        .filter(|kind| kind != "LEAD_ADVANCED")
        .collect()
}

async fn status(h: &Harness, world: &World) -> String {
    let found = seen(h, &world.lead).await;
    let first = found["executions"]["nodes"]
        .as_array()
        .expect("executions")
        .last();
    let status = first.expect("one")["status"].as_str().expect("a status");
    status.to_owned()
}

async fn agrees_with_the_log(h: &Harness) {
    let mut found = Vec::new();
    let tell = |one: &Found| found.push(format!("{one:?}"));
    let compared = verify(&h.services.db, h.admin.workspace, tell).await;
    assert_eq!(compared.expect("is read").differences, 0, "{found:?}");
}

both!(
    a_receipt_is_noted_once_and_never_taken_back,
    |h: Harness| async move {
        let world = World::new(&h).await;
        assert_eq!(status(&h, &world).await, "SENT");
        for step in ["accepted", "queued", "sending", "sent", "nonsense"] {
            assert_eq!(world.receipt(step, "").await, 204, "{step}");
        }
        assert_eq!(told(&h).await, Vec::<String>::new());
        assert_eq!(world.receipt("delivered", "").await, 204);
        assert_eq!(status(&h, &world).await, "DELIVERED");
        for late in [
            "delivered",
            "sent",
            "queued",
            "undelivered",
            "failed",
            "read",
        ] {
            assert_eq!(world.receipt(late, "30003").await, 204, "{late}");
        }
        assert_eq!(status(&h, &world).await, "DELIVERED");
        assert_eq!(told(&h).await, ["EXECUTION_DELIVERED", "READ"]);
        agrees_with_the_log(&h).await;
        assert_eq!(seen(&h, &world.lead).await["status"], "PENDING");
    }
);

both!(what_was_read_has_arrived, |h: Harness| async move {
    let world = World::new(&h).await;
    for _ in 0..2 {
        assert_eq!(world.receipt("read", "").await, 204);
        assert_eq!(told(&h).await, ["EXECUTION_DELIVERED", "READ"]);
        assert_eq!(status(&h, &world).await, "DELIVERED");
    }
    let query = "query($id: ID!) { execution(id: $id) { readAt } }";
    let found = h.data(query, json!({ "id": world.execution })).await;
    assert_eq!(at(&found["execution"]["readAt"]), h.clock.now());
    // It is no opening: who does not let WhatsApp tell it may have read it all the same.
    let engagement = "query($id: ID!) { lead(id: $id) { engagement { opens } } }";
    let found = h.data(engagement, json!({ "id": world.lead })).await;
    assert_eq!(found["lead"]["engagement"]["opens"], 0);
    agrees_with_the_log(&h).await;
});

/// A message that is still on its way, and receipts for it that are faster than the provider's answer.
async fn early(h: &Harness, receipts: &[(&str, &str)], outcome: Outcome) -> World {
    let engine = node(h, &Receiver::default()).await;
    let mut claimed = Vec::new();
    let send = async || {
        let claim = engine.claim(50, &|_| 50).await.expect("claims");
        claimed = claim.messages;
    };
    let world = World::after(h, send).await;
    for (status, code) in receipts {
        assert_eq!(world.receipt(status, code).await, 204, "{status}");
    }
    // Nothing is known of it yet, and nothing is lost.
    texting::take_early(&h.services).await.expect("looks");
    assert_eq!(status(h, &world).await, "SENDING");
    let ended: Vec<_> = claimed
        .into_iter()
        .map(|one| (one, Ending::Dispatched(outcome.clone(), None)))
        .collect();
    engine.record(&ended).await.expect("records");
    texting::take_early(&h.services).await.expect("takes up");
    assert_eq!(count(h, "early_receipt").await, 0);
    world
}

fn accepted() -> Outcome {
    let response = "accepted".into();
    Outcome::Sent { response }
}

both!(
    a_receipt_for_a_message_on_its_way_is_kept,
    |h: Harness| async move {
        let receipts = [("sent", ""), ("sent", ""), ("delivered", "")];
        let world = early(&h, &receipts, accepted()).await;
        assert_eq!(status(&h, &world).await, "DELIVERED");
        assert_eq!(told(&h).await, ["EXECUTION_DELIVERED"]);
        agrees_with_the_log(&h).await;
    }
);

both!(
    a_failure_of_a_message_on_its_way_is_kept,
    |h: Harness| async move {
        let world = early(&h, &[("failed", "30005")], accepted()).await;
        assert_eq!(seen(&h, &world.lead).await["stopReason"], "BOUNCED");
        assert_eq!(told(&h).await, ["BOUNCED HARD", "LEAD_STOPPED BOUNCED"]);
        let number = format!("suppression WHERE address = '{ADA}' AND reason = 'BOUNCED'");
        assert_eq!(count(&h, &number).await, 1);
    }
);

both!(
    a_receipt_that_came_first_settles_what_nobody_knew,
    |h: Harness| async move {
        let reason = "no answer came".to_owned();
        let lost = Outcome::Ambiguous { reason };
        let world = early(&h, &[("sent", "")], lost).await;
        assert_eq!(status(&h, &world).await, "SENT");
        agrees_with_the_log(&h).await;
    }
);

both!(
    an_answer_settles_what_nobody_knew,
    |h: Harness| async move {
        let world = World::in_doubt(&h).await;
        assert_eq!(world.text("SM1", "Who is this?").await, 200);
        assert_eq!(status(&h, &world).await, "SENT");
        assert_eq!(seen(&h, &world.lead).await["stopReason"], "REPLIED");
        agrees_with_the_log(&h).await;
    }
);

both!(
    a_receipt_settles_what_nobody_knew,
    |h: Harness| async move {
        let world = World::in_doubt(&h).await;
        assert_eq!(status(&h, &world).await, "UNCONFIRMED");
        assert_eq!(world.receipt("sent", "").await, 204);
        assert_eq!(status(&h, &world).await, "SENT");
        let lead = seen(&h, &world.lead).await;
        assert_eq!(lead["currentStep"]["key"], "later", "the lead goes on");
        assert_eq!(world.receipt("delivered", "").await, 204);
        assert_eq!(told(&h).await, ["EXECUTION_DELIVERED"]);
        agrees_with_the_log(&h).await;
    }
);

both!(
    what_did_not_arrive_is_told_with_why,
    |h: Harness| async move {
        let world = World::new(&h).await;
        for _ in 0..2 {
            assert_eq!(world.receipt("undelivered", "30003").await, 204);
        }
        assert_eq!(world.receipt("delivered", "").await, 204);
        assert_eq!(told(&h).await, ["BOUNCED SOFT"]);
        agrees_with_the_log(&h).await;
        let lead = seen(&h, &world.lead).await;
        assert_eq!(lead["status"], "PENDING", "the next one may arrive");
        let first = lead["executions"]["nodes"]
            .as_array()
            .expect("some")
            .last()
            .cloned();
        assert_eq!(first.expect("one")["error"]["code"], "REJECTED");
    }
);

both!(
    a_number_that_nobody_has_stops_the_lead,
    |h: Harness| async move {
        let world = World::new(&h).await;
        for _ in 0..2 {
            assert_eq!(world.receipt("failed", "30005").await, 204);
        }
        let lead = seen(&h, &world.lead).await;
        assert_eq!(lead["stopReason"], "BOUNCED");
        assert_eq!(told(&h).await, ["BOUNCED HARD", "LEAD_STOPPED BOUNCED"]);
        agrees_with_the_log(&h).await;
    }
);

both!(an_answer_is_a_reply_once, |h: Harness| async move {
    let world = World::new(&h).await;
    for _ in 0..3 {
        assert_eq!(
            world.text("SM7", "Yes, please stop by on Monday").await,
            200
        );
    }
    let lead = seen(&h, &world.lead).await;
    assert_eq!(lead["stopReason"], "REPLIED");
    assert_eq!(told(&h).await, ["REPLIED", "LEAD_STOPPED REPLIED"]);
    // Somebody else's answer is nobody's here.
    let path = format!("/inbound/twilio/{}", world.sender);
    let mut other = text("SM8", "Hello");
    other[3].1 = "+351919999999";
    assert_eq!(
        world
            .post(&path, &other, &sign(PUBLIC, &path, &other))
            .await,
        200
    );
    assert_eq!(told(&h).await.len(), 2);
});

both!(
    stop_closes_the_number_and_start_lifts_nothing,
    |h: Harness| async move {
        let world = World::new(&h).await;
        assert_eq!(world.text("SM1", "START").await, 200);
        assert_eq!(told(&h).await, Vec::<String>::new());
        for sid in ["SM2", "SM2", "SM3"] {
            assert_eq!(world.text(sid, " Stop! ").await, 200);
        }
        let after = ["UNSUBSCRIBED", "LEAD_STOPPED UNSUBSCRIBED"];
        assert_eq!(told(&h).await, after);
        assert_eq!(seen(&h, &world.lead).await["stopReason"], "UNSUBSCRIBED");
        assert_eq!(world.text("SM4", "START").await, 200);
        assert_eq!(told(&h).await, after);
        // Nothing goes to the number any more, whoever enrols it.
        let again = person(&h, json!({ "email": "eve@example.com", "phone": ADA })).await;
        let steps = json!([sms("hello", &world.sender, "Hello again")]);
        let lead = running_of(&h, steps, &again).await;
        settle(&h, &Receiver::default()).await;
        let sent =
            "{ executions(first: 50, filter: { status: [SENT, DELIVERED] }) { totalCount } }";
        let sent = h.data(sent, json!({})).await;
        assert_eq!(sent["executions"]["totalCount"], 1, "{lead:?}");
    }
);

/// Gives the contact of the world another number.
async fn moves(h: &Harness, phone: &str) {
    let ada = h.data("{ people { nodes { id } } }", json!({})).await["people"]["nodes"][0].take();
    let input = json!({ "id": ada["id"], "set": { "phone": phone } });
    h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
        .await;
}

const MOVED_TO: &str = "+351912222222";

async fn closed(h: &Harness) -> Vec<String> {
    let listed = h
        .data("{ suppressions { nodes { address reason } } }", json!({}))
        .await["suppressions"]["nodes"]
        .take();
    let listed = listed.as_array().expect("entries").iter();
    let mut closed: Vec<String> = listed
        .map(|one| format!("{} {}", one["address"], one["reason"]).replace('"', ""))
        .collect();
    closed.sort_unstable();
    closed
}

both!(
    stop_counts_for_the_number_that_was_written_to,
    |h: Harness| async move {
        let world = World::new(&h).await;
        moves(&h, MOVED_TO).await;
        assert_eq!(world.text("SM1", "STOP").await, 200);
        let lead = seen(&h, &world.lead).await;
        assert_eq!(lead["stopReason"], "UNSUBSCRIBED");
        let both = [ADA, MOVED_TO].map(|number| format!("{number} UNSUBSCRIBED"));
        assert_eq!(closed(&h).await, both);
    }
);

both!(
    an_answer_from_the_number_that_was_written_to_is_a_reply,
    |h: Harness| async move {
        let world = World::new(&h).await;
        moves(&h, MOVED_TO).await;
        assert_eq!(world.text("SM1", "Who is this?").await, 200);
        assert_eq!(seen(&h, &world.lead).await["stopReason"], "REPLIED");
    }
);

both!(
    a_number_that_nobody_has_any_more_stops_nobody_who_has_another,
    |h: Harness| async move {
        let world = World::new(&h).await;
        moves(&h, MOVED_TO).await;
        assert_eq!(world.receipt("undelivered", "30005").await, 204);
        assert_eq!(closed(&h).await, [format!("{ADA} BOUNCED")]);
        let lead = seen(&h, &world.lead).await;
        assert_eq!(lead["status"], "PENDING", "{lead}");
        assert_eq!(told(&h).await, ["BOUNCED HARD"]);
    }
);

/// Ten thousand requests that differ from a good one: in a byte of the path, the body or the signature, which is
/// another, is gone, or is there once more.
fn mutations(
    world: &World,
    good: &[(&str, &str)],
    signature: &str,
) -> Vec<(String, Vec<u8>, String)> {
    let config = Config {
        rng_seed: RngSeed::Fixed(7),
        ..Config::default()
    };
    let mut runner = TestRunner::new(config);
    let strategy = (any::<(usize, u8, u8)>(), any::<prop::sample::Index>());
    let original = (
        world.path().into_bytes(),
        form(good),
        signature.as_bytes().to_vec(),
    );
    // What is signed of a body: names and values, with nothing between them.
    let fields = |body: &[u8]| {
        let read = url::form_urlencoded::parse(body);
        let mut fields: Vec<(String, String)> = read.into_owned().collect();
        fields.sort_unstable();
        fields
            .iter()
            .fold(String::new(), |text, (name, value)| text + name + value)
    };
    let said = fields(&original.1);
    let tag = |text: &[u8]| STANDARD.decode(text).ok();
    let mut all = Vec::with_capacity(10_000);
    while all.len() < 10_000 {
        let drawn = strategy.new_tree(&mut runner).expect("drawn").current();
        let ((part, byte, how), place) = drawn;
        let mut changed = original.clone();
        let bytes = match part % 3 {
            0 => &mut changed.0,
            1 => &mut changed.1,
            _ => &mut changed.2,
        };
        let at = place.index(bytes.len());
        match how % 3 {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            _ => bytes.insert(at, byte),
        }
        // What a request cannot carry never comes to the server, and what says the same is the same.
        let is_text = |bytes: &[u8]| bytes.iter().all(u8::is_ascii_graphic);
        let is_same = changed.0 == original.0
            && fields(&changed.1) == said
            && tag(&changed.2) == tag(&original.2);
        let can_be = changed.0.starts_with(b"/inbound/twilio/")
            && !changed.0.contains(&b'#')
            && !changed.0.contains(&b'%');
        if is_same || !can_be || !is_text(&changed.0) || !is_text(&changed.2) {
            continue;
        }
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("ASCII");
        all.push((text(changed.0), changed.1, text(changed.2)));
    }
    all
}

/// The lead of somebody, where they are enrolled at all.
async fn running_of(h: &Harness, steps: Value, person: &str) -> Option<String> {
    let input = json!({ "name": "Again", "flow": { "steps": steps },
        "settings": crate::blockers::always() });
    let sequence = crate::sequences::done(h, "sequenceCreate", input).await["id"].take();
    crate::sequences::done(h, "sequencePublish", json!({ "id": sequence })).await;
    crate::enrol::enrol(h, sequence.as_str()?, json!({ "ids": [person] })).await;
    let query = "query($filter: LeadFilter!) { leads(filter: $filter) { nodes { id } } }";
    let filter = json!({ "filter": { "personId": person } });
    let found = h.data(query, filter).await;
    found["leads"]["nodes"][0]["id"].as_str().map(str::to_owned)
}

both!(
    what_nobody_signed_changes_nothing,
    |h: Harness| async move {
        let world = World::new(&h).await;
        let before = told(&h).await;
        let path = world.path();
        let good = receipt("delivered", "");
        let signature = sign(PUBLIC, &path, &good);
        // Another address, account, sender, token or text.
        let elsewhere = sign("https://evil.example", &path, &good);
        let mut others = receipt("delivered", "");
        others[0].1 = "AC9999999999999999";
        let of_others = sign(PUBLIC, &path, &others);
        let unknown = path.replace(&world.sender, "sender_00000000000000000000000001");
        let of_unknown = sign(PUBLIC, &unknown, &good);
        let failed = receipt("failed", "30005");
        for (path, fields, signature) in [
            (&path, &good, ""),
            (&path, &good, "AAAA"),
            (&path, &good, elsewhere.as_str()),
            (&path, &others, of_others.as_str()),
            (&path, &failed, signature.as_str()),
            (&unknown, &good, of_unknown.as_str()),
        ] {
            assert_eq!(
                world.post(path, fields, signature).await,
                403,
                "{path} {signature}"
            );
        }
        // Bits of it, changed one by one.
        let mut refused = 0;
        for place in 0..signature.len() {
            for letter in ['A', 'b', '/', '='] {
                let mut changed: Vec<char> = signature.chars().collect();
                if changed[place] == letter {
                    continue;
                }
                changed[place] = letter;
                let changed: String = changed.into_iter().collect();
                // The last letter before the padding holds two bits that count for nothing.
                if place + 2 < signature.len() {
                    assert_eq!(world.post(&path, &good, &changed).await, 403, "{changed}");
                    refused += 1;
                }
            }
        }
        assert!(refused > 80, "{refused}");
        let changed = mutations(&world, &good, &signature);
        for (number, (path, body, signature)) in changed.iter().enumerate() {
            assert!(
                !world.admits(&h, path, body, signature).await,
                "{path} {signature}"
            );
            if number % 25 == 0 {
                let status = world.post_raw(path, body.clone(), signature).await;
                assert!((400..500).contains(&status), "{status}: {path} {signature}");
            }
        }
        assert_eq!(changed.len(), 10_000);
        // Of another sender of the same account, and of no message of this one.
        let other = twilio_number(&h, "WHATSAPP").await;
        let others_path = path.replace(&world.sender, &other);
        let signed = sign(PUBLIC, &others_path, &good);
        assert_eq!(world.post(&others_path, &good, &signed).await, 204);
        assert_eq!(told(&h).await, before);
        assert_eq!(status(&h, &world).await, "SENT");
        // And the real one counts.
        assert_eq!(world.post(&path, &good, &signature).await, 204);
        assert_eq!(status(&h, &world).await, "DELIVERED");
    }
);
