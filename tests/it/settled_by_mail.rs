//! Messages of which nobody knew whether they left, and what comes back of them: then they did.

use cadenza::app::tracking::{self, Done};
use cadenza::domain::id::ExecutionId;
use cadenza::domain::outcome::Outcome;
use cadenza::domain::tracking::agent::Agent;
use cadenza::domain::tracking::{Mark, Token};
use cadenza::engine::record::Ending;
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::inbound::{Written, count, message, report, take};
use crate::leads::later;
use crate::pains::{Receiver, node};
use crate::sequences::sender;
use crate::steps::{email, person, running, seen};

const BROWSER: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0";

/// A lead whose first email is UNCONFIRMED: the sender, the lead, the message's id and its execution.
async fn in_doubt(h: &Harness) -> (String, String, (String, ExecutionId)) {
    let ada = sender(h, "ada").await;
    let contact = person(h, json!({ "email": "one@example.com" })).await;
    let steps = json!([
        email("hello", "PT0S", &[&ada]),
        email("again", "P1D", &[&ada])
    ]);
    let lead = running(h, steps, json!({}), &[&contact]).await.remove(0);
    let engine = node(h, &Receiver::default()).await;
    let claim = engine.claim(50, &|_| 50).await.expect("claims");
    let lost = |claimed| {
        let reason = "no answer came".to_owned();
        let outcome = Outcome::Ambiguous { reason };
        (claimed, Ending::Dispatched(outcome, None))
    };
    let ended: Vec<_> = claim.messages.into_iter().map(lost).collect();
    engine.record(&ended).await.expect("records");
    assert_eq!(count(h, "execution WHERE status = 'UNCONFIRMED'").await, 1);
    later(h, Duration::minutes(5));
    let sent = message(h, &lead, "hello").await;
    (ada, lead, sent)
}

async fn is_settled(h: &Harness, lead: &str) {
    assert_eq!(count(h, "execution WHERE status = 'SENT'").await, 1);
    let found = seen(h, lead).await;
    assert_eq!(found["messagesSent"], 1);
    assert_eq!(count(h, "event WHERE kind = 'EXECUTION_SENT'").await, 1);
}

both!(an_answer_shows_that_it_left, |h: Harness| async move {
    let (ada, lead, (id, _)) = in_doubt(&h).await;
    let headers = format!("In-Reply-To: {id}\r\n");
    let written = Written {
        from: "one@example.com",
        headers: &headers,
        text: "Hello",
        ..Written::default()
    };
    take(&h, Some(&ada), &written.raw(1)).await;
    is_settled(&h, &lead).await;
    assert_eq!(seen(&h, &lead).await["stopReason"], "REPLIED");
});

both!(
    an_answer_that_names_no_message_shows_nothing,
    |h: Harness| async move {
        let (ada, lead, _) = in_doubt(&h).await;
        let written = Written {
            from: "one@example.com",
            text: "Hello",
            ..Written::default()
        };
        take(&h, Some(&ada), &written.raw(1)).await;
        assert_eq!(seen(&h, &lead).await["stopReason"], "REPLIED");
        assert_eq!(count(&h, "execution WHERE status = 'UNCONFIRMED'").await, 1);
    }
);

both!(a_bounce_shows_that_it_left, |h: Harness| async move {
    let (ada, lead, (id, _)) = in_doubt(&h).await;
    let full = report(
        "one@example.com",
        Some(&id),
        "4.2.2",
        "452 4.2.2 over quota",
    );
    take(&h, Some(&ada), &full.raw(1)).await;
    is_settled(&h, &lead).await;
    assert_eq!(seen(&h, &lead).await["stopReason"], Value::Null);
    assert_eq!(count(&h, "execution WHERE bounced").await, 1);
});

both!(an_opening_shows_that_it_left, |h: Harness| async move {
    let (_, lead, (_, execution)) = in_doubt(&h).await;
    let token = Token {
        workspace: h.admin.workspace,
        execution,
        mark: Mark::Open,
    };
    let noted = tracking::note(&h.services, &token, Done::Opened, Agent::of(BROWSER), None);
    assert!(noted.await.expect("notes"));
    is_settled(&h, &lead).await;
    let found = seen(&h, &lead).await;
    assert_eq!(found["currentStep"]["key"], "again", "the lead goes on");
});

both!(an_opt_out_shows_that_it_left, |h: Harness| async move {
    let (_, lead, (_, execution)) = in_doubt(&h).await;
    let token = Token {
        workspace: h.admin.workspace,
        execution,
        mark: Mark::OptOut,
    };
    assert!(
        tracking::opt_out(&h.services, &token)
            .await
            .expect("opts out")
    );
    is_settled(&h, &lead).await;
    assert_eq!(seen(&h, &lead).await["stopReason"], "UNSUBSCRIBED");
});
