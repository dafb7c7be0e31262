//! Addresses that must not be contacted any more, in every sequence and for everybody who has them.

use cadenza::app::suppression::{self, Reason};
use cadenza::domain::flow::Channel;
use cadenza::domain::id::ExecutionId;
use cadenza::store::{dialect, event};
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::later;
use crate::pains::{Receiver, settle};
use crate::sequences::{kinds, sender};
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
