//! Contacts who have another address than that which they were written to: what comes back counts for the
//! one that the message went to.

use cadenza::app::engagement::{Engagement, record};
use cadenza::domain::id::ExecutionId;
use cadenza::domain::tracking::{Mark, Seal, Token};
use reqwest::StatusCode;
use serde_json::json;

use crate::erasure::delete;
use crate::harness::{Harness, both};
use crate::inbound::{UNKNOWN, Written, count, fate, greeted, message, report, take};
use crate::served::{Served, client};

const OLD: &str = "old@example.com";
const NEW: &str = "new@example.com";

/// A lead whose contact was written to at [`OLD`] and is at [`NEW`] by now: the sender, the lead, the
/// message's id and its execution.
async fn moved(h: &Harness) -> (String, String, (String, ExecutionId)) {
    let (ada, leads) = greeted(h, &[OLD], json!({})).await;
    let lead = leads.into_iter().next().expect("a lead");
    let input = json!({ "id": person_of(h, &lead).await, "set": { "email": NEW } });
    h.mutate("personUpdate", "PersonUpdateInput", input, "person { id }")
        .await;
    let sent = message(h, &lead, "hello").await;
    (ada, lead, sent)
}

async fn person_of(h: &Harness, lead: &str) -> String {
    let query = "query($id: ID!) { lead(id: $id) { person { id } } }";
    let found = h.data(query, json!({ "id": lead })).await;
    let id = found["lead"]["person"]["id"].as_str();
    id.expect("an id").to_owned()
}

/// Opts out by the link of a message.
async fn opt_out(h: &Harness, execution: ExecutionId) -> StatusCode {
    let token = Token {
        workspace: h.admin.workspace,
        execution,
        mark: Mark::OptOut,
    };
    let token = h.services.secrets.token(&token.bytes());
    let served = Served::new(h).await;
    let request = client().post(format!("http://{}/u/{token}", served.address));
    let answer = request.form(&[("List-Unsubscribe", "One-Click")]).send();
    let status = answer.await.expect("an answer").status();
    served.end().await;
    status
}

/// How many of both addresses must not be contacted, for this reason, and how many addresses in all.
async fn closed(h: &Harness, reason: &str) -> (i64, i64) {
    let both = format!(
        "suppression WHERE channel = 'EMAIL' AND reason = '{reason}' AND address IN ('{OLD}', '{NEW}')"
    );
    (count(h, &both).await, count(h, "suppression").await)
}

both!(a_link_closes_where_it_was_sent, |h: Harness| async move {
    let (_, lead, (_, execution)) = moved(&h).await;
    assert_eq!(opt_out(&h, execution).await, StatusCode::OK);
    assert_eq!(closed(&h, "UNSUBSCRIBED").await, (2, 2));
    assert_eq!(fate(&h, &lead).await, "STOPPED UNSUBSCRIBED");
});

both!(
    an_answer_that_asks_for_no_more_closes_where_the_message_went,
    |h: Harness| async move {
        let (ada, lead, (id, _)) = moved(&h).await;
        let headers = format!("In-Reply-To: {id}\r\n");
        let written = Written {
            from: "private@home.example",
            to: "ada@ours.example",
            subject: "unsubscribe",
            headers: &headers,
            text: "unsubscribe",
        };
        take(&h, Some(&ada), &written.raw(1)).await;
        // And the address that it came from.
        assert_eq!(closed(&h, "UNSUBSCRIBED").await, (2, 3));
        assert_eq!(fate(&h, &lead).await, "STOPPED UNSUBSCRIBED");
    }
);

both!(
    a_complaint_closes_where_the_message_went,
    |h: Harness| async move {
        let (ada, lead, (id, _)) = moved(&h).await;
        let text = format!(
            "--b\r\nContent-Type: message/feedback-report\r\n\r\nFeedback-Type: abuse\r\n\
             User-Agent: Loop/1.0\r\nVersion: 1\r\n\r\n\
             --b\r\nContent-Type: message/rfc822\r\n\r\nMessage-ID: {id}\r\nTo: {OLD}\r\n\
             From: ada@ours.example\r\nSubject: Hi\r\n\r\nHello\r\n--b--"
        );
        let written = Written {
            from: "fbl@provider.example",
            to: "abuse@ours.example",
            subject: "Complaint",
            headers: "MIME-Version: 1.0\r\nContent-Type: multipart/report; \
                      report-type=feedback-report; boundary=b\r\n",
            text: &text,
        };
        take(&h, Some(&ada), &written.raw(1)).await;
        assert_eq!(closed(&h, "COMPLAINED").await, (2, 2));
        assert_eq!(fate(&h, &lead).await, "STOPPED COMPLAINED");
    }
);

both!(
    a_bounce_closes_where_the_message_went_and_nothing_else,
    |h: Harness| async move {
        let (ada, lead, (id, _)) = moved(&h).await;
        // It names today's address, which the message never went to.
        let of_today = report(NEW, Some(&id), "5.1.1", UNKNOWN);
        take(&h, Some(&ada), &of_today.raw(1)).await;
        assert_eq!(closed(&h, "BOUNCED").await, (0, 0));
        let of_then = report(OLD, Some(&id), "5.1.1", UNKNOWN);
        take(&h, Some(&ada), &of_then.raw(2)).await;
        assert_eq!(closed(&h, "BOUNCED").await, (1, 1));
        let old = format!("suppression WHERE address = '{OLD}'");
        assert_eq!(count(&h, &old).await, 1);
        // The contact has a good address by now.
        assert_eq!(fate(&h, &lead).await, "PENDING ");
        assert_eq!(count(&h, "event WHERE kind = 'BOUNCED'").await, 1);
        assert_eq!(count(&h, "execution WHERE bounced").await, 1);
    }
);

both!(
    where_a_message_went_is_erased_with_the_person,
    |h: Harness| async move {
        let (_, lead, (_, execution)) = moved(&h).await;
        let written_to = format!("execution WHERE to_key = '{OLD}'");
        assert_eq!(count(&h, &written_to).await, 1);
        delete(&h, &person_of(&h, &lead).await).await;
        assert_eq!(count(&h, "execution WHERE to_key IS NOT NULL").await, 0);
        // Whatever is still on its way counts nowhere: nobody is its contact.
        let which = (lead.parse().expect("an id"), Some(execution));
        for engagement in [Engagement::Replied, Engagement::Opened] {
            let (services, workspace) = (&h.services, h.admin.workspace);
            let told = record(
                services,
                workspace,
                which.0,
                which.1,
                engagement,
                h.clock.now(),
            );
            assert!(!told.await.expect("asked"));
        }
        assert_eq!(
            count(&h, "event WHERE kind IN ('REPLIED', 'OPENED')").await,
            0
        );
        assert_eq!(count(&h, "lead WHERE replies + opens > 0").await, 0);
        // Nobody writes to them any more, and the link says so as it always did.
        assert_eq!(opt_out(&h, execution).await, StatusCode::OK);
        assert_eq!(count(&h, "suppression").await, 0);
    }
);
