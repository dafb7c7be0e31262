//! What comes in by mail: each mail is handled once, found to belong to a lead, and acted on.

use cadenza::domain::id::{ExecutionId, SenderId, WorkerId};
use cadenza::domain::inbox::{MailKind, MatchedBy, tagged};
use cadenza::inbound::reading::Reader;
use cadenza::inbound::{Incoming, Taken, take_in};
use cadenza::store::sql::{self, Arguments};
use chrono::Duration;
use serde_json::{Value, json};

use crate::enrol::suppress;
use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, settle};
use crate::sequences::sender;
use crate::steps::{at, codes, email, person, ran, running, seen};

/// What a mail says; without a Message-ID, its number makes one.
#[derive(Clone, Default)]
pub struct Written<'a> {
    pub from: &'a str,
    pub to: &'a str,
    pub subject: &'a str,
    pub headers: &'a str,
    pub text: &'a str,
}

impl Written<'_> {
    pub fn raw(&self, number: u32) -> String {
        format!(
            "From: {}\r\nTo: {}\r\nSubject: {}\r\nMessage-ID: <m{number}@contact.example>\r\n\
             Date: Mon, 02 Mar 2026 09:00:00 +0000\r\n{}\r\n{}\r\n",
            self.from, self.to, self.subject, self.headers, self.text
        )
    }
}

pub async fn take(h: &Harness, sender: Option<&str>, raw: &str) -> Taken {
    let incoming = Incoming {
        workspace: h.admin.workspace,
        sender: sender.map(|id| id.parse::<SenderId>().expect("an id")),
        raw: raw.as_bytes().into(),
    };
    take_in(&h.services, incoming, None)
        .await
        .expect("taken in")
}

/// Leads of people with these addresses, each of whom got the first of some emails.
pub async fn greeted(h: &Harness, addresses: &[&str], settings: Value) -> (String, Vec<String>) {
    let ada = sender(h, "ada").await;
    let mut people = Vec::new();
    for address in addresses {
        people.push(person(h, json!({ "email": address, "timeZone": "Europe/Lisbon" })).await);
    }
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let steps = json!([
        email("hello", "PT0S", &[&ada]),
        email("again", "P1D", &[&ada]),
        email("last", "P1D", &[&ada]),
        email("bye", "P1D", &[&ada])
    ]);
    let leads = running(h, steps, settings, &people).await;
    let receiver = Receiver::default();
    for _ in &leads {
        settle(h, &receiver).await;
        later(h, Duration::minutes(5));
    }
    (ada, leads)
}

/// The Message-ID and the id of the message of a step.
pub async fn message(h: &Harness, lead: &str, step: &str) -> (String, ExecutionId) {
    let query =
        "query($id: ID!) { lead(id: $id) { executions { nodes { id stepKey messageId } } } }";
    let found = h.data(query, json!({ "id": lead })).await;
    let nodes = found["lead"]["executions"]["nodes"]
        .as_array()
        .expect("executions");
    let node = nodes
        .iter()
        .find(|node| node["stepKey"] == step)
        .expect("the step's");
    let text = |field: &str| node[field].as_str().expect("a text").to_owned();
    (text("messageId"), text("id").parse().expect("an id"))
}

pub async fn fate(h: &Harness, lead: &str) -> String {
    let seen = seen(h, lead).await;
    let reason = seen["stopReason"].as_str().unwrap_or("");
    format!("{} {reason}", seen["status"].as_str().expect("a status"))
}

pub async fn count(h: &Harness, what: &str) -> i64 {
    let statement = format!("SELECT count(*) AS n FROM {what}");
    let counted = sql::number(h.services.db.read(), &statement, Arguments::new()).await;
    counted.expect("a number")
}

async fn reply_texts(h: &Harness) -> Vec<String> {
    let statement = "SELECT text FROM inbound_message WHERE text IS NOT NULL ORDER BY id";
    let rows = sql::rows(h.services.db.read(), statement, Arguments::new()).await;
    let rows = rows.expect("rows");
    let read = rows.iter().map(|row| row.try_get::<String>("", "text"));
    read.map(|text| text.expect("a text")).collect()
}

both!(an_answer_stops_its_lead_once, |h: Harness| async move {
    let (ada, leads) = greeted(&h, &["one@example.com", "two@example.com"], json!({})).await;
    let (id, execution) = message(&h, &leads[0], "hello").await;
    let headers = format!("In-Reply-To: {id}\r\nReferences: <x@y.example> {id}\r\n");
    let written = Written {
        from: "One <other@elsewhere.example>",
        to: "ada@ours.example",
        subject: "Re: Subject of hello",
        headers: &headers,
        text: "Yes, please call me.",
    };
    let taken = take(&h, Some(&ada), &written.raw(1)).await;
    assert_eq!(taken.kind, MailKind::Reply);
    assert_eq!(taken.matched_by, Some(MatchedBy::MessageId));
    assert_eq!(taken.execution, Some(execution));
    assert_eq!(taken.lead.expect("a lead").to_string(), leads[0]);
    assert!(taken.is_new);
    assert_eq!(fate(&h, &leads[0]).await, "STOPPED REPLIED");
    assert_eq!(fate(&h, &leads[1]).await, "PENDING ");
    assert_eq!(reply_texts(&h).await, ["Yes, please call me."]);
    let query = "query($id: ID!) { lead(id: $id) { lastReply { receivedAt from subject text } } }";
    let said = h.data(query, json!({ "id": leads[0] })).await["lead"]["lastReply"].take();
    let expected = json!({ "receivedAt": said["receivedAt"], "from": "other@elsewhere.example",
            "subject": "Re: Subject of hello", "text": "Yes, please call me." });
    assert_eq!(said, expected);
    let nothing = h.data(query, json!({ "id": leads[1] })).await;
    assert_eq!(nothing["lead"]["lastReply"], Value::Null);

    // The same by another way, with other trace headers: nothing happens.
    let events = count(&h, "event").await;
    let again = format!("Received: by mx.example\r\n{}", written.raw(1));
    let again = take(&h, None, &again).await;
    assert_eq!(
        again,
        Taken {
            is_new: false,
            ..taken
        }
    );
    assert_eq!(count(&h, "event").await, events);
    assert_eq!(count(&h, "inbound_message").await, 1);

    // Another mail of the same contact counts, and stops nobody twice.
    take(&h, None, &written.raw(2)).await;
    let query = "query($id: ID!) { lead(id: $id) { engagement { replies } } }";
    let seen = h.data(query, json!({ "id": leads[0] })).await;
    assert_eq!(seen["lead"]["engagement"]["replies"], 2);
});

both!(
    a_mail_without_references_is_found_by_address,
    |h: Harness| async move {
        let (ada, leads) = greeted(&h, &["one@example.com", "two@example.com"], json!({})).await;
        let (_, execution) = message(&h, &leads[1], "hello").await;
        // By the address that a message asked for answers to, whoever writes.
        let tag = h.services.marks.seal.tag(h.admin.workspace, execution);
        let to = tagged("ada@ours.example", &tag)
            .expect("short")
            .to_uppercase();
        let written = Written {
            from: "assistant@example.org",
            to: &to,
            subject: "Hello",
            text: "She asks you to call.",
            ..Written::default()
        };
        let taken = take(&h, None, &written.raw(1)).await;
        assert_eq!(taken.matched_by, Some(MatchedBy::ReplyAddress));
        assert_eq!(taken.execution, Some(execution));
        assert_eq!(fate(&h, &leads[1]).await, "STOPPED REPLIED");
        // By its author, who has a lead under way.
        let written = Written {
            from: "ONE@Example.com",
            to: "ada@ours.example",
            ..written
        };
        let taken = take(&h, Some(&ada), &written.raw(2)).await;
        assert_eq!(taken.matched_by, Some(MatchedBy::Address));
        assert_eq!(fate(&h, &leads[0]).await, "STOPPED REPLIED");
        // Whose lead is over is nobody's, and what belongs to nobody leaves no text.
        let taken = take(&h, Some(&ada), &written.raw(3)).await;
        assert_eq!((taken.kind, taken.matched_by), (MailKind::Reply, None));
        assert_eq!(reply_texts(&h).await.len(), 2);
        assert_eq!(count(&h, "inbound_message").await, 3);
    }
);

both!(
    what_the_team_writes_itself_is_no_answer,
    |h: Harness| async move {
        let (ada, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let (id, _) = message(&h, &leads[0], "hello").await;
        let query = "query($id: ID!) { sender(id: $id) { address } }";
        let own = h.data(query, json!({ "id": ada })).await;
        let own = own["sender"]["address"].as_str().expect("an address");
        let headers = format!("In-Reply-To: {id}\r\n");
        let written = Written {
            from: own,
            to: "one@example.com",
            headers: &headers,
            text: "One thing more.",
            ..Written::default()
        };
        let taken = take(&h, Some(&ada), &written.raw(1)).await;
        assert_eq!(taken.matched_by, None);
        assert_eq!(fate(&h, &leads[0]).await, "PENDING ");
    }
);

both!(
    another_workspaces_message_is_not_found,
    |h: Harness| async move {
        let (_, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let (id, execution) = message(&h, &leads[0], "hello").await;
        let tag = h.services.marks.seal.tag(h.admin.workspace, execution);
        let headers = format!("In-Reply-To: {id}\r\n");
        let to = tagged("ada@ours.example", &tag).expect("short");
        let written = Written {
            from: "one@example.com",
            to: &to,
            headers: &headers,
            text: "Hello",
            ..Written::default()
        };
        let incoming = Incoming {
            workspace: h.stranger.workspace,
            sender: None,
            raw: written.raw(1).as_bytes().into(),
        };
        let taken = take_in(&h.services, incoming, None)
            .await
            .expect("taken in");
        assert_eq!((taken.matched_by, taken.lead), (None, None));
        assert_eq!(fate(&h, &leads[0]).await, "PENDING ");
    }
);

/// A report of a mail server about a message, as RFC 3464 has it.
pub fn report(to: &str, original: Option<&str>, status: &str, said: &str) -> Written<'static> {
    let returned = original.map_or_else(String::new, |id| {
        format!(
            "--b\r\nContent-Type: text/rfc822-headers\r\n\r\nMessage-ID: {id}\r\nTo: {to}\r\n\r\n"
        )
    });
    let text = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nYour message could not be delivered.\r\n\
         --b\r\nContent-Type: message/delivery-status\r\n\r\n\
         Reporting-MTA: dns; mx.example.org\r\n\r\nFinal-Recipient: rfc822; {to}\r\n\
         Action: failed\r\nStatus: {status}\r\nDiagnostic-Code: smtp; {said}\r\n\r\n{returned}--b--"
    );
    Written {
        from: "MAILER-DAEMON@mx.example.org",
        to: "ada@ours.example",
        subject: "Undelivered Mail Returned to Sender",
        headers: "Return-Path: <>\r\nAuto-Submitted: auto-replied\r\nMIME-Version: 1.0\r\n\
                  Content-Type: multipart/report; report-type=delivery-status; boundary=b\r\n",
        text: Box::leak(text.into_boxed_str()),
    }
}

pub const UNKNOWN: &str =
    "550 5.1.1 <x>: Recipient address rejected: User unknown in virtual mailbox table";
const FULL: &str = "452 4.2.2 The email account that you tried to reach is over quota";

both!(
    a_hard_bounce_stops_and_suppresses,
    |h: Harness| async move {
        let addresses = ["one@example.com", "two@example.com", "three@example.com"];
        let (ada, leads) = greeted(&h, &addresses, json!({})).await;
        let (id, execution) = message(&h, &leads[0], "hello").await;
        let by_id = report("one@example.com", Some(&id), "5.1.1", UNKNOWN);
        let taken = take(&h, Some(&ada), &by_id.raw(1)).await;
        assert_eq!(
            (taken.kind, taken.matched_by),
            (MailKind::Bounce, Some(MatchedBy::MessageId))
        );
        assert_eq!(taken.execution, Some(execution));
        assert_eq!(fate(&h, &leads[0]).await, "STOPPED BOUNCED");
        // The same told twice.
        take(&h, Some(&ada), &by_id.raw(2)).await;
        // Without the message, by the address; of nobody, by nothing.
        let by_address = report("Two@Example.com", None, "5.1.1", UNKNOWN);
        let taken = take(&h, Some(&ada), &by_address.raw(3)).await;
        assert_eq!(taken.matched_by, Some(MatchedBy::Address));
        assert_eq!(fate(&h, &leads[1]).await, "PENDING ", "anybody can say so");
        // Nor is it believed of others than whom the message went to.
        let (id, _) = message(&h, &leads[1], "hello").await;
        let of_another = report("three@example.com", Some(&id), "5.1.1", UNKNOWN);
        take(&h, Some(&ada), &of_another.raw(5)).await;
        let of_nobody = report(
            "nobody@example.com",
            Some("<x@y.example>"),
            "5.1.1",
            UNKNOWN,
        );
        assert_eq!(take(&h, None, &of_nobody.raw(4)).await.matched_by, None);
        let suppressed = "suppression WHERE reason = 'BOUNCED' AND channel = 'EMAIL'
        AND address = 'one@example.com'";
        assert_eq!(count(&h, suppressed).await, 1);
        assert_eq!(count(&h, "suppression").await, 1);
        let query = "{ events(first: 9, filter: { kinds: [BOUNCED] }) { lead { id } execution { id } detail } }";
        let told = h.data(query, json!({})).await["events"].take();
        assert_eq!(told.as_array().expect("events").len(), 2, "{told}");
        assert_eq!(told[0]["detail"]["reason"], "HARD");
        assert_eq!(told[0]["detail"]["code"], "5.1.1");
        assert_eq!(fate(&h, &leads[2]).await, "PENDING ");
    }
);

both!(three_soft_bounces_in_a_row_stop, |h: Harness| async move {
    let (ada, leads) = greeted(&h, &["one@example.com"], json!({})).await;
    let lead = &leads[0];
    let receiver = Receiver::default();
    for (number, step) in (0..).zip(["hello", "again", "last"]) {
        assert_eq!(seen(&h, lead).await["stopReason"], Value::Null);
        let (id, _) = message(&h, lead, step).await;
        let full = report("one@example.com", Some(&id), "4.2.2", FULL);
        // A server that tells it twice counts once.
        for more in [1, 2] {
            let taken = take(&h, Some(&ada), &full.raw(2 * number + more)).await;
            assert_eq!(taken.kind, MailKind::Bounce);
        }
        later(&h, Duration::days(1));
        settle(&h, &receiver).await;
    }
    assert_eq!(fate(&h, lead).await, "STOPPED BOUNCED");
    assert_eq!(ran(&seen(&h, lead).await).len(), 3);
    assert_eq!(count(&h, "suppression").await, 0);
    assert_eq!(count(&h, "event WHERE kind = 'BOUNCED'").await, 3);
});

both!(
    a_machine_holds_until_the_day_it_states,
    |h: Harness| async move {
        let settings = json!({ "autoReplyHold": "P7D" });
        let (ada, leads) = greeted(&h, &["one@example.com"], settings).await;
        let (id, _) = message(&h, &leads[0], "hello").await;
        let headers = format!("Auto-Submitted: auto-replied\r\nIn-Reply-To: {id}\r\n");
        let written = Written {
            from: "one@example.com",
            to: "ada@ours.example",
            subject: "Out of office",
            headers: &headers,
            text: "I am out of the office until 2026-04-13 and will read your message then.",
        };
        let taken = take(&h, Some(&ada), &written.raw(1)).await;
        assert_eq!(taken.kind, MailKind::AutoReply);
        let held = seen(&h, &leads[0]).await;
        assert_eq!(held["status"], "PENDING");
        assert!(codes(&held).contains(&"AUTO_REPLY_HOLD"), "{held}");
        let query = "{ events(first: 1, filter: { kinds: [AUTO_REPLIED] }) { detail } }";
        let told = h.data(query, json!({})).await["events"][0]["detail"].take();
        // Lisbon is at UTC+1 by then.
        let back: chrono::DateTime<chrono::Utc> =
            "2026-04-12T23:00:00Z".parse().expect("an instant");
        assert_eq!(at(&told["quietUntil"]), back);
    }
);

both!(a_complaint_stops_and_suppresses, |h: Harness| async move {
    let (ada, leads) = greeted(&h, &["one@example.com"], json!({})).await;
    let (id, _) = message(&h, &leads[0], "hello").await;
    let text = format!(
        "--b\r\nContent-Type: text/plain\r\n\r\nThis is an abuse report.\r\n\
         --b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
         User-Agent: Loop/1.0\r\nVersion: 1\r\n\r\n\
         --b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {id}\r\nTo: one@example.com\r\n\
         From: ada@ours.example\r\nSubject: Hi\r\n\r\nHello\r\n--b--"
    );
    let written = Written {
        from: "fbl@provider.example",
        to: "abuse@ours.example",
        subject: "Complaint",
        headers: "MIME-Version: 1.0\r\nContent-Type: multipart/report; report-type=feedback-report; boundary=b\r\n",
        text: &text,
    };
    let taken = take(&h, Some(&ada), &written.raw(1)).await;
    assert_eq!(
        (taken.kind, taken.matched_by),
        (MailKind::Complaint, Some(MatchedBy::MessageId))
    );
    assert_eq!(fate(&h, &leads[0]).await, "STOPPED COMPLAINED");
    let suppressed = "suppression WHERE reason = 'COMPLAINED' AND address = 'one@example.com'";
    assert_eq!(count(&h, suppressed).await, 1);
    assert_eq!(count(&h, "event WHERE kind = 'COMPLAINED'").await, 1);
});

both!(
    who_asks_for_no_more_mail_gets_none,
    |h: Harness| async move {
        let (ada, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let later_known = person(&h, json!({ "email": "two@example.com" })).await;
        assert!(!later_known.is_empty());
        let (id, _) = message(&h, &leads[0], "hello").await;
        let headers = format!("In-Reply-To: {id}\r\n");
        let mut written = Written {
            from: "private@home.example",
            to: "ada@ours.example",
            subject: "unsubscribe",
            headers: &headers,
            text: "unsubscribe",
        };
        let taken = take(&h, Some(&ada), &written.raw(1)).await;
        assert_eq!(
            (taken.kind, taken.matched_by),
            (MailKind::OptOut, Some(MatchedBy::MessageId))
        );
        assert_eq!(fate(&h, &leads[0]).await, "STOPPED UNSUBSCRIBED");
        // Somebody whom nobody has written to yet; and somebody whom nobody knows.
        for (number, from) in [(2, "two@example.com"), (3, "nobody@example.com")] {
            written = Written {
                from,
                headers: "",
                ..written
            };
            assert_eq!(
                take(&h, Some(&ada), &written.raw(number)).await.kind,
                MailKind::OptOut
            );
        }
        let suppressed = "suppression WHERE reason = 'UNSUBSCRIBED' AND address IN
        ('one@example.com', 'private@home.example', 'two@example.com')";
        assert_eq!(count(&h, suppressed).await, 3);
        assert_eq!(count(&h, "suppression").await, 3);
    }
);

both!(
    two_nodes_that_read_the_same_mail_handle_it_once,
    |h: Harness| async move {
        let (_, leads) = greeted(&h, &["one@example.com"], json!({})).await;
        let (id, _) = message(&h, &leads[0], "hello").await;
        let headers = format!("In-Reply-To: {id}\r\n");
        let written = Written {
            from: "one@example.com",
            headers: &headers,
            text: "Hello",
            ..Written::default()
        };
        let raw = written.raw(1);
        let all = (0..8).map(|_| take(&h, None, &raw));
        let all = futures_util::future::join_all(all).await;
        assert_eq!(all.iter().filter(|taken| taken.is_new).count(), 1);
        assert!(all.iter().all(|taken| taken.lead == all[0].lead));
        assert_eq!(count(&h, "event WHERE kind = 'REPLIED'").await, 1);
    }
);

both!(what_belongs_to_nobody_is_dropped, |h: Harness| async move {
    let (ada, leads) = greeted(&h, &["one@example.com"], json!({})).await;
    let (id, _) = message(&h, &leads[0], "hello").await;
    let headers = format!("In-Reply-To: {id}\r\n");
    let mut written = Written {
        from: "one@example.com",
        headers: &headers,
        text: "Hello",
        ..Written::default()
    };
    take(&h, Some(&ada), &written.raw(1)).await;
    (written.from, written.headers) = ("nobody@example.com", "");
    take(&h, Some(&ada), &written.raw(2)).await;
    later(&h, Duration::days(20));
    take(&h, Some(&ada), &written.raw(3)).await;
    later(&h, Duration::days(10) + Duration::seconds(1));
    let mut reader = Reader::new(
        h.services.clone(),
        || WorkerId::from_uuid(uuid::Uuid::nil()),
    );
    reader.drop_old().await.expect("dropped");
    assert_eq!(
        count(&h, "inbound_message WHERE matched_by IS NULL").await,
        1
    );
    assert_eq!(count(&h, "inbound_message").await, 2);
    // It is looked at once an hour.
    later(&h, Duration::days(20));
    reader.drop_old().await.expect("dropped");
    assert_eq!(count(&h, "inbound_message").await, 1);
});

both!(suppressed_already_is_no_trouble, |h: Harness| async move {
    let (ada, leads) = greeted(&h, &["one@example.com"], json!({})).await;
    suppress(&h, "one@example.com", "UNSUBSCRIBED").await;
    let (id, _) = message(&h, &leads[0], "hello").await;
    let bounce = report("one@example.com", Some(&id), "5.1.1", UNKNOWN);
    take(&h, Some(&ada), &bounce.raw(1)).await;
    assert_eq!(fate(&h, &leads[0]).await, "STOPPED BOUNCED");
    assert_eq!(
        count(&h, "suppression WHERE reason = 'UNSUBSCRIBED'").await,
        1
    );
});
