//! Addresses that must not be contacted any more, in every sequence and for everybody who has them.

use cadenza::app::suppression::{self, Reason};
use cadenza::domain::flow::Channel;
use cadenza::domain::id::ExecutionId;
use cadenza::engine::record::Ending;
use cadenza::store::{dialect, event};
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::{codes, enrol};
use crate::export;
use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, node, settle};
use crate::sequences::{done, kinds, sender};
use crate::served::Served;
use crate::steps::{email, number, person, ran, running, seen, sms};

const PHONE: &str = "+351912345002";

/// Enters addresses, as whatever hears of it does; answers the kinds of the events that it told of.
pub async fn suppress(
    h: &Harness,
    addresses: &[(Channel, &str)],
    reason: Reason,
    message: Option<&str>,
) -> Vec<String> {
    let (workspace, now) = (h.admin.workspace, h.clock.now());
    let addresses: Vec<_> = (addresses.iter())
        .map(|(channel, address)| (*channel, (*address).to_owned()))
        .collect();
    let message = message.map(|id| id.parse::<ExecutionId>().expect("an id"));
    let tx = h.services.db.begin().await.expect("begins");
    let events = suppression::suppress(&tx, workspace, &addresses, reason, message, now)
        .await
        .expect("suppresses");
    let kinds = events.iter().map(|event| event.kind.to_string()).collect();
    dialect::notify(&tx).await.expect("notifies");
    event::append(&tx, workspace, events)
        .await
        .expect("appends");
    tx.commit().await.expect("commits");
    kinds
}

async fn stands(h: &Harness, lead: &str) -> Value {
    let seen = seen(h, lead).await;
    json!([seen["status"], seen["stopReason"]])
}

async fn marks(h: &Harness, lead: &str) -> Value {
    let query = "query($id: ID!) { lead(id: $id) { engagement { bounced unsubscribed } } }";
    let engagement = h.data(query, json!({ "id": lead })).await["lead"]["engagement"].take();
    json!([engagement["bounced"], engagement["unsubscribed"]])
}

/// Two sequences of one mailbox, one of which has a text message as well, with Ada in both and Bob in the
/// second; everybody was sent the first email. Answers their leads: hers by mail alone, hers, and his.
async fn written_to(h: &Harness) -> [String; 3] {
    let ada = person(h, json!({ "email": "Ada@example.org", "phone": PHONE })).await;
    let bob = person(h, json!({ "email": "bob@example.org", "phone": PHONE })).await;
    let (mailbox, phone) = (sender(h, "ada").await, number(h, "SMS").await);
    let with_next = |mut step: Value, next: &str| {
        step["next"] = json!(next);
        step
    };
    let mails = json!([
        with_next(email("one", "PT0S", &[&mailbox]), "two"),
        email("two", "P1D", &[&mailbox])
    ]);
    let both = json!([
        with_next(email("mail", "PT0S", &[&mailbox]), "again"),
        with_next(email("again", "P1D", &[&mailbox]), "text"),
        sms("text", &phone, "Hi")
    ]);
    let by_mail = running(h, mails, json!({}), &[&ada]).await.remove(0);
    let mut by_both = running(h, both, json!({}), &[&ada, &bob]).await;
    settle(h, &Receiver::default()).await;
    for _ in 0..3 {
        later(h, Duration::minutes(10));
        settle(h, &Receiver::default()).await;
    }
    let his = by_both.remove(1);
    let hers = by_both.remove(0);
    [by_mail, hers, his]
}

async fn message_of(h: &Harness, lead: &str) -> String {
    let seen = seen(h, lead).await;
    let id = &seen["executions"]["nodes"][0]["id"];
    id.as_str().expect("was sent").to_owned()
}

both!(
    an_address_is_closed_in_every_sequence_and_for_everybody_who_has_it,
    |h: Harness| async move {
        let [by_mail, hers, his] = written_to(&h).await;
        let message = message_of(&h, &by_mail).await;
        let her_mail = [(Channel::Email, "ada@example.org")];
        let told = suppress(&h, &her_mail, Reason::Unsubscribed, Some(&message)).await;
        assert_eq!(told, ["UNSUBSCRIBED", "LEAD_STOPPED"]);
        assert_eq!(
            stands(&h, &by_mail).await,
            json!(["STOPPED", "UNSUBSCRIBED"])
        );
        assert_eq!(marks(&h, &by_mail).await, json!([false, true]));
        assert_eq!(
            stands(&h, &hers).await,
            json!(["PENDING", null]),
            "a text message is left"
        );
        assert_eq!(marks(&h, &hers).await, json!([false, false]));
        assert_eq!(stands(&h, &his).await, json!(["PENDING", null]));
        // Said again it is nothing new.
        let before = kinds(&h).await;
        let told = suppress(&h, &her_mail, Reason::Unsubscribed, Some(&message)).await;
        assert_eq!(told, [""; 0]);
        assert_eq!(kinds(&h).await, before);
        // The number is that of both.
        let number = [(Channel::Sms, PHONE)];
        let told = suppress(&h, &number, Reason::Manual, None).await;
        assert_eq!(told, ["LEAD_STOPPED"]);
        assert_eq!(stands(&h, &hers).await, json!(["STOPPED", "SUPPRESSED"]));
        assert_eq!(stands(&h, &his).await, json!(["PENDING", null]));
        later(&h, Duration::days(2));
        let receiver = Receiver::default();
        settle(&h, &receiver).await;
        let sent = ["mail SENT a", "again SENT a", "text SKIPPED SUPPRESSED"];
        assert_eq!(ran(&seen(&h, &his).await), sent);
        assert_eq!(receiver.count(), 1);
    }
);

both!(
    what_came_back_or_was_complained_of_stops_the_lead_of_its_message,
    |h: Harness| async move {
        let [by_mail, hers, his] = written_to(&h).await;
        let (first, second) = (message_of(&h, &hers).await, message_of(&h, &his).await);
        let told = suppress(
            &h,
            &[(Channel::Email, "ada@example.org")],
            Reason::Bounced,
            Some(&first),
        )
        .await;
        assert_eq!(told, ["BOUNCED", "LEAD_STOPPED", "LEAD_STOPPED"]);
        for lead in [&by_mail, &hers] {
            assert_eq!(stands(&h, lead).await, json!(["STOPPED", "BOUNCED"]));
        }
        assert_eq!(marks(&h, &hers).await, json!([true, false]));
        let his_mail = [(Channel::Email, "bob@example.org")];
        let told = suppress(&h, &his_mail, Reason::Complained, Some(&second)).await;
        assert_eq!(told, ["COMPLAINED", "LEAD_STOPPED"]);
        assert_eq!(stands(&h, &his).await, json!(["STOPPED", "COMPLAINED"]));
        let told = suppress(&h, &his_mail, Reason::Complained, Some(&second)).await;
        assert_eq!(told, [""; 0]);
        // Of a message that is another workspace's nothing is known.
        let (theirs, now) = (h.stranger.workspace, h.clock.now());
        let tx = h.services.db.begin().await.expect("begins");
        let id = second.parse().expect("an id");
        let addresses = [(Channel::Email, "bob@example.org".to_owned())];
        let reason = Reason::Unsubscribed;
        let told = suppression::suppress(&tx, theirs, &addresses, reason, Some(id), now).await;
        assert_eq!(told.expect("suppresses"), []);
        tx.rollback().await.expect("nothing was done");
    }
);

async fn add(h: &Harness, input: Value) -> Value {
    let select = "added known problems { line message }";
    h.try_mutate("suppressionsAdd", "SuppressionsAddInput", input, select)
        .await
}

fn entry(channel: &str, address: &str) -> Value {
    json!({ "channel": channel, "address": address })
}

/// The list, as it is paged through by this many at a time.
async fn listed(h: &Harness, filter: Value, first: usize) -> Vec<String> {
    let query = "query($filter: SuppressionFilterInput, $first: Int, $after: String) {
        suppressions(filter: $filter, first: $first, after: $after) { totalCount
            nodes { channel address reason } pageInfo { hasNextPage endCursor } } }";
    let (mut all, mut after) = (Vec::new(), Value::Null);
    loop {
        let of = json!({ "filter": filter, "first": first, "after": after });
        let mut page = h.data(query, of).await["suppressions"].take();
        for node in page["nodes"].as_array().expect("entries") {
            let text = |field: &str| node[field].as_str().expect("text").to_owned();
            all.push([text("channel"), text("address"), text("reason")].join(" "));
        }
        after = page["pageInfo"]["endCursor"].take();
        if page["pageInfo"]["hasNextPage"] == false {
            assert_eq!(page["totalCount"], all.len());
            return all;
        }
    }
}

both!(
    lists_are_kept_by_hand_and_by_file,
    |h: Harness| async move {
        let entries = json!([
            entry("EMAIL", "Ada@Example.org"),
            entry("EMAIL", "example.com"),
            entry("SMS", "+351 912 345 002"),
            entry("EMAIL", "ada@example.org")
        ]);
        let added = add(&h, json!({ "entries": entries })).await;
        assert_eq!((&added["added"], &added["known"]), (&json!(3), &json!(0)));
        let again = add(&h, json!({ "entries": entries })).await;
        assert_eq!((&again["added"], &again["known"]), (&json!(0), &json!(3)));
        // One that is wrong keeps all of them out.
        let entries = json!([
            entry("EMAIL", "bob@example.org"),
            entry("SMS", "12"),
            entry("TASK", "x")
        ]);
        let refused = add(&h, json!({ "entries": entries })).await;
        let paths: Vec<&Value> = (refused["userErrors"].as_array().expect("errors").iter())
            .map(|error| &error["path"])
            .collect();
        assert_eq!(
            paths,
            [
                &json!(["entries", "1", "address"]),
                &json!(["entries", "2", "address"])
            ]
        );
        let csv = "reason,address,channel\nUNSUBSCRIBED,ada@example.org,\n,bob@example.org,email\n\
               ,nobody,\nNONE,eve@example.org,\n,'+351912345003,SMS\n";
        let read = add(&h, json!({ "csv": csv })).await;
        assert_eq!(
            (&read["added"], &read["known"]),
            (&json!(3), &json!(0)),
            "{read:#}"
        );
        let lines: Vec<&Value> = (read["problems"].as_array().expect("problems").iter())
            .map(|problem| &problem["line"])
            .collect();
        assert_eq!(lines, [&json!(4), &json!(5)]);
        let all = [
            "EMAIL ada@example.org UNSUBSCRIBED",
            "EMAIL bob@example.org MANUAL",
            "EMAIL example.com MANUAL",
            "SMS +351912345002 MANUAL",
            "SMS +351912345003 MANUAL",
        ];
        for first in [1, 2, 50] {
            assert_eq!(listed(&h, json!({}), first).await, all);
        }
        assert_eq!(
            listed(&h, json!({ "channel": ["SMS"] }), 50).await,
            all[3..]
        );
        let found = listed(&h, json!({ "channel": [], "search": "ADA@" }), 50).await;
        assert_eq!(found, all[..1]);
        // What goes out comes in again.
        let served = Served::new(&h).await;
        let (status, file) = export::get(&served, &h.token, "suppressions.csv", None).await;
        assert_eq!(status, 200, "{file}");
        assert_eq!(
            file.lines().next(),
            Some("channel,address,reason,createdAt")
        );
        assert!(file.contains("SMS,'+351912345002,MANUAL,"), "{file}");
        let known = add(&h, json!({ "csv": file })).await;
        assert_eq!((&known["added"], &known["known"]), (&json!(0), &json!(5)));
        // Only a lifting takes one off.
        let lift = async |channel: &str, address: &str| {
            let input = entry(channel, address);
            let select = "suppression { address reason }";
            h.try_mutate("suppressionRemove", "SuppressionInput", input, select)
                .await
        };
        let lifted = lift("EMAIL", "ADA@example.org").await["suppression"].take();
        assert_eq!(lifted["reason"], "UNSUBSCRIBED");
        let gone = lift("EMAIL", "ada@example.org").await;
        assert_eq!(gone["userErrors"][0]["code"], "NOT_FOUND");
        assert_eq!(lift("SMS", "ada").await["userErrors"][0]["code"], "INVALID");
        assert_eq!(listed(&h, json!({}), 50).await, all[1..]);
        // And it is in the audit, with who did it.
        let query = "{ auditEntries(first: 9) { nodes { mutation outcome tokenName } } }";
        let audit = h.execute(query, json!({})).await.to_string();
        assert!(audit.contains("suppressionRemove"), "{audit}");
        // Another workspace has a list of its own.
        let query = "{ suppressions { totalCount } }";
        let theirs = h.execute_as(&h.stranger, query, json!({})).await;
        assert_eq!(theirs["data"]["suppressions"]["totalCount"], 0);
        served.end().await;
    }
);

both!(
    a_domain_is_closed_with_all_its_addresses,
    |h: Harness| async move {
        let people = [
            person(&h, json!({ "email": "ada@example.com" })).await,
            person(&h, json!({ "email": "bob@mail.example.com" })).await,
            person(&h, json!({ "email": "eve@example.com" })).await,
        ];
        let mailbox = sender(&h, "ada").await;
        let steps = json!([email("one", "PT0S", &[&mailbox])]);
        // Ada and Bob are enrolled, and her message is claimed when the domain is closed.
        let leads = running(&h, steps.clone(), json!({}), &[&people[0], &people[1]]).await;
        let engine = node(&h, &Receiver::default()).await;
        let claim = engine.claim(1, &|_| 1).await.expect("claims").messages;
        let [claimed] = &claim[..] else {
            panic!("one message is claimed");
        };
        assert!(engine.may_leave(claimed).await.expect("looks"));
        let (hers, his) = match claimed.lead.lead_id().to_string() == leads[0] {
            true => (true, false),
            false => (false, true),
        };
        let added = add(&h, json!({ "entries": [entry("EMAIL", "@Example.com")] })).await;
        assert_eq!(added["added"], 1);
        later(&h, Duration::seconds(2));
        assert_eq!(
            engine.may_leave(claimed).await.expect("looks"),
            his && !hers
        );
        let released: Vec<_> = claim
            .into_iter()
            .map(|one| (one, Ending::Released))
            .collect();
        engine.record(&released).await.expect("records");
        later(&h, Duration::minutes(10));
        let receiver = Receiver::default();
        settle(&h, &receiver).await;
        later(&h, Duration::minutes(10));
        settle(&h, &receiver).await;
        assert_eq!(receiver.in_order(), ["bob@mail.example.com Subject of one"]);
        // Whether or not it was hers that was claimed, and so has its variant.
        let hers = ran(&seen(&h, &leads[0]).await);
        assert_eq!(hers.len(), 1);
        assert_eq!(hers[0].replace(" a ", " "), "one SKIPPED SUPPRESSED");
        // Nobody of the domain is enrolled.
        let query = "query($id: ID!) { person(id: $id) { optedOut } }";
        let found = h.data(query, json!({ "id": people[2] })).await;
        assert_eq!(found["person"]["optedOut"], json!(["EMAIL"]));
        let input = json!({ "name": "More", "flow": { "steps": steps } });
        let sequence = done(&h, "sequenceCreate", input).await["id"].take();
        done(&h, "sequencePublish", json!({ "id": sequence })).await;
        let sequence = sequence.as_str().expect("an id");
        let operation = enrol(&h, sequence, json!({ "ids": [people[2], people[1]] })).await;
        let mut outcomes = codes(&operation);
        outcomes.sort_unstable();
        assert_eq!(outcomes, ["DONE", "SUPPRESSED"]);
    }
);
