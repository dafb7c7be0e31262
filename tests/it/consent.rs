//! Opting out by hand: at once, on the channels that were named, and with what follows for leads.

use cadenza::app::analytics::verify::{self, Found};
use cadenza::domain::outcome::Outcome;
use cadenza::engine::record::Ending;
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::suppress_on;
use crate::harness::{Harness, both};
use crate::leads::{later, run};
use crate::pains::{Receiver, node, settle};
use crate::sequences::{kinds, sender};
use crate::steps::{email, number, person, ran, running, seen, sms};

const PHONE: &str = "+351912345002";

pub async fn opt_out(h: &Harness, id: &str, channels: &[&str]) -> Value {
    let input = json!({ "id": id, "channels": channels });
    h.mutate(
        "personOptOut",
        "PersonOptOutInput",
        input,
        "person { optedOut }",
    )
    .await["person"]["optedOut"]
        .take()
}

async fn refused(h: &Harness, id: &str, channels: &[&str]) -> Value {
    let input = json!({ "id": id, "channels": channels });
    let mut payload = h
        .try_mutate("personOptOut", "PersonOptOutInput", input, "person { id }")
        .await;
    let error = payload["userErrors"][0].take();
    json!([error["code"], error["path"]])
}

both!(
    what_somebody_has_opted_out_of_is_told_of_all_channels,
    |h: Harness| async move {
        let page = "https://social.example.com/in/ada";
        let ada = person(
            &h,
            json!({ "email": "Ada@Example.org", "phone": PHONE,
                                 "linkedinUrl": page }),
        )
        .await;
        assert_eq!(opt_out(&h, &ada, &["SMS", "SMS"]).await, json!(["SMS"]));
        assert_eq!(
            opt_out(&h, &ada, &["LINKEDIN", "EMAIL"]).await,
            json!(["EMAIL", "SMS", "LINKEDIN"])
        );
        suppress_on(&h, "CALL", PHONE, "BOUNCED").await;
        let events = kinds(&h).await;
        assert_eq!(events, ["UNSUBSCRIBED", "UNSUBSCRIBED", "UNSUBSCRIBED"]);
        // Said again, it is nothing new.
        let all = json!(["EMAIL", "SMS", "CALL", "LINKEDIN"]);
        assert_eq!(opt_out(&h, &ada, &["SMS", "EMAIL"]).await, all);
        assert_eq!(kinds(&h).await.len(), 3);
        // Another one with the same number has the same: it is the number that must not be contacted.
        let bob = person(&h, json!({ "firstName": "Bob", "phone": PHONE })).await;
        let query = "query($id: ID!) { person(id: $id) { optedOut } }";
        let found = h.data(query, json!({ "id": bob })).await;
        assert_eq!(found["person"]["optedOut"], json!(["SMS", "CALL"]));
        // What he has no address for is left out; nothing at all is no opt-out.
        assert_eq!(
            opt_out(&h, &bob, &["EMAIL", "WHATSAPP"]).await,
            json!(["SMS", "WHATSAPP", "CALL"])
        );
        let invalid = json!(["INVALID", ["channels"]]);
        for channels in [&["EMAIL"][..], &[], &["SMS", "TASK"], &["WEBHOOK"]] {
            assert_eq!(refused(&h, &bob, channels).await, invalid, "{channels:?}");
        }
    }
);

both!(
    leads_go_on_to_the_channels_that_are_left,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        let (mailbox, phone) = (sender(&h, "ada").await, number(&h, "SMS").await);
        let with_next = |mut step: Value, next: &str| {
            step["next"] = json!(next);
            step
        };
        let both = json!([
            with_next(email("mail", "P1D", &[&mailbox]), "text"),
            sms("text", &phone, "Hi")
        ]);
        let emails = json!([with_next(email("one", "P1D", &[&mailbox]), "look"),
        { "key": "look", "action": { "task": { "title": "Look" } } }]);
        let work = json!([{ "key": "look", "action": { "task": { "title": "Look" } } }]);
        let both = running(&h, both, json!({}), &[&ada]).await.remove(0);
        let emails = running(&h, emails, json!({}), &[&ada]).await.remove(0);
        let work = running(&h, work, json!({}), &[&ada]).await.remove(0);
        opt_out(&h, &ada, &["EMAIL"]).await;
        let stands = async |lead: &str| {
            let seen = seen(&h, lead).await;
            json!([seen["status"], seen["stopReason"]])
        };
        assert_eq!(stands(&emails).await, json!(["STOPPED", "UNSUBSCRIBED"]));
        assert_eq!(stands(&both).await, json!(["PENDING", null]));
        assert_eq!(
            stands(&work).await,
            json!(["PENDING", null]),
            "work contacts nobody"
        );
        later(&h, Duration::days(1));
        let receiver = Receiver::default();
        settle(&h, &receiver).await;
        assert_eq!(
            ran(&seen(&h, &both).await),
            ["mail SKIPPED SUPPRESSED", "text SENT a"]
        );
        assert_eq!(receiver.taken().len(), 1);
    }
);

both!(
    an_opt_out_holds_back_what_is_claimed_and_open_calls,
    |h: Harness| async move {
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        let mailbox = sender(&h, "ada").await;
        let call = json!({ "task": { "channel": "CALL", "title": "Call" } });
        let steps = json!([{ "key": "call", "action": call, "next": "mail" },
                       email("mail", "P1D", &[&mailbox])]);
        let called = running(&h, steps, json!({}), &[&ada]).await.remove(0);
        settle(&h, &Receiver::default()).await;
        let steps = json!([email("mail", "PT0S", &[&mailbox])]);
        let mailed = running(&h, steps, json!({}), &[&ada]).await.remove(0);
        let engine = node(&h, &Receiver::default()).await;
        let claim = engine.claim(9, &|_| 9).await.expect("claims").messages;
        assert_eq!(claim.len(), 1);
        opt_out(&h, &ada, &["CALL"]).await;
        let open = h
            .data("{ tasks(status: [OPEN]) { totalCount } }", json!({}))
            .await;
        assert_eq!(open["tasks"]["totalCount"], 0, "nobody is to call any more");
        opt_out(&h, &ada, &["EMAIL"]).await;
        assert!(!engine.may_leave(&claim[0]).await.expect("looks"));
        let released: Vec<_> = claim
            .into_iter()
            .map(|one| (one, Ending::Released))
            .collect();
        engine.record(&released).await.expect("records");
        for lead in [&called, &mailed] {
            let seen = seen(&h, lead).await;
            assert_eq!(seen["stopReason"], "UNSUBSCRIBED", "{seen:#}");
        }
        later(&h, Duration::days(2));
        let receiver = Receiver::default();
        settle(&h, &receiver).await;
        assert!(receiver.taken().is_empty());
    }
);

/// What `cadenza analytics verify` finds: whose, whether it is a message's, and the difference.
async fn differences(h: &Harness) -> Vec<(String, bool, [String; 3])> {
    let mut found = Vec::new();
    let tell = |one: &Found| {
        let (what, row, log) = one.difference.clone();
        let difference = [what.to_owned(), row, log];
        found.push((one.lead.to_string(), one.execution.is_some(), difference));
    };
    let compared = verify::verify(&h.services.db, h.admin.workspace, tell).await;
    assert_eq!(compared.expect("compared").leads, 2);
    found.sort();
    found
}

both!(
    an_opt_out_without_a_lead_neither_makes_a_difference_nor_hides_one,
    |h: Harness| async move {
        let bob = json!({ "email": "bob@example.org", "phone": "+351912345003" });
        let bob = person(&h, bob).await;
        let ada = person(&h, json!({ "email": "ada@example.org", "phone": PHONE })).await;
        let eve = person(&h, json!({ "email": "eve@example.org" })).await;
        let phone = number(&h, "SMS").await;
        let steps = json!([sms("text", &phone, "Hi")]);
        // Bob has answered an earlier message with STOP, as the provider tells when this one is sent.
        let bobs = running(&h, steps.clone(), json!({}), &[&bob])
            .await
            .remove(0);
        let engine = node(&h, &Receiver::default()).await;
        let claim = engine.claim(9, &|_| 9).await.expect("claims").messages;
        assert_eq!(claim.len(), 1);
        let refused = Outcome::refused_by_api(400, Some(21_610), "unsubscribed recipient", None);
        let ended: Vec<_> = claim
            .into_iter()
            .map(|one| (one, Ending::Dispatched(refused.clone(), None)))
            .collect();
        engine.record(&ended).await.expect("records");
        // Ada and Eve have said so elsewhere, and only Ada is in a sequence.
        let adas = running(&h, steps, json!({}), &[&ada]).await.remove(0);
        opt_out(&h, &ada, &["SMS"]).await;
        opt_out(&h, &eve, &["EMAIL"]).await;
        let opted_out = async |of: &str| {
            let statement =
                format!("SELECT count(*) AS n FROM event WHERE kind = 'UNSUBSCRIBED' AND {of}");
            let counted = sql::number(h.services.db.read(), &statement, Arguments::new()).await;
            counted.expect("counted")
        };
        assert_eq!(opted_out("lead_id IS NULL").await, 2);
        assert_eq!(opted_out("lead_id IS NOT NULL").await, 1);
        for lead in [&adas, &bobs] {
            assert_eq!(seen(&h, lead).await["stopReason"], "UNSUBSCRIBED");
        }
        assert_eq!(differences(&h).await, []);
        // What was said elsewhere was said of no message, and is counted with none.
        let query = "{ sequences { nodes { analytics { messages { unsubscribes } } } } }";
        let data = h.data(query, json!({})).await;
        let nodes = data["sequences"]["nodes"].as_array().expect("sequences");
        let counts = nodes
            .iter()
            .map(|node| &node["analytics"]["messages"]["unsubscribes"]);
        assert_eq!(counts.filter_map(Value::as_i64).sum::<i64>(), 1);
        // Neither hides what is stored against the log, one way or the other.
        for table in ["lead", "execution"] {
            let change = format!("UPDATE {table} SET unsubscribed = NOT unsubscribed");
            run(&h, &change, Arguments::new()).await;
        }
        let of = |lead: &str, of_message: bool, row: bool| {
            let told = [
                "unsubscribed".to_owned(),
                row.to_string(),
                (!row).to_string(),
            ];
            (lead.to_owned(), of_message, told)
        };
        let mut wanted = vec![
            of(&adas, false, true),
            of(&bobs, false, false),
            of(&bobs, true, false),
        ];
        wanted.sort();
        assert_eq!(differences(&h).await, wanted);
    }
);

both!(
    an_opt_out_is_of_the_address_whoever_has_it,
    |h: Harness| async move {
        let page = |name: &str| format!("https://social.example.com/in/{name}");
        let of =
            |name: &str| json!({ "firstName": name, "phone": PHONE, "linkedinUrl": page(name) });
        let (ada, bob) = (person(&h, of("ada")).await, person(&h, of("bob")).await);
        let line = number(&h, "SMS").await;
        let task = |key: &str, channel: &str| json!({ "key": key, "action": { "task": { "channel": channel, "title": key } } });
        let with_next = |mut step: Value, next: &str| {
            step["next"] = json!(next);
            step
        };
        let call = json!([
            with_next(task("call", "CALL"), "text"),
            sms("text", &line, "Hi")
        ]);
        let called = running(&h, call, json!({}), &[&ada, &bob]).await;
        let visited = running(&h, json!([task("visit", "LINKEDIN")]), json!({}), &[&bob]).await;
        let text = json!([sms("text", &line, "Hi")]);
        settle(&h, &Receiver::default()).await;
        opt_out(&h, &ada, &["CALL", "LINKEDIN"]).await;
        let open = "{ tasks(status: [OPEN]) { nodes { title lead { person { id } } } } }";
        let open = h.data(open, json!({})).await["tasks"]["nodes"].take();
        let visit = json!({ "title": "visit", "lead": { "person": { "id": bob } } });
        assert_eq!(
            open,
            json!([visit]),
            "nobody calls the number, and his page is his own"
        );
        let texted = running(&h, text, json!({}), &[&bob]).await;
        opt_out(&h, &ada, &["SMS"]).await;
        let receiver = Receiver::default();
        settle(&h, &receiver).await;
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
        assert!(receiver.taken().is_empty());
        let stands = async |lead: &str| {
            let seen = seen(&h, lead).await;
            json!([seen["status"], seen["stopReason"], ran(&seen)])
        };
        // She has said so, and her lead stops; he has not, and his pass what is closed.
        let passed = ["call SKIPPED", "text SKIPPED SUPPRESSED"];
        assert_eq!(
            stands(&called[0]).await,
            json!(["STOPPED", "UNSUBSCRIBED", []])
        );
        assert_eq!(stands(&called[1]).await, json!(["COMPLETED", null, passed]));
        assert_eq!(
            stands(&texted[0]).await,
            json!(["COMPLETED", null, [passed[1]]])
        );
        assert_eq!(stands(&visited[0]).await[0], "IN_PROGRESS");
        assert_eq!(
            kinds(&h)
                .await
                .iter()
                .filter(|kind| *kind == "UNSUBSCRIBED")
                .count(),
            3
        );
    }
);
