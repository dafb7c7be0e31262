//! An answer stops the others at the company, where the sequence says so.

use cadenza::app::engagement::Engagement;
use chrono::Duration;
use serde_json::{Value, json};

use crate::harness::{Harness, both};
use crate::leads::{bulk, later};
use crate::pains::{Receiver, settle};
use crate::sequences::sender;
use crate::steps::{email, engage, person, running, seen};

/// People at these companies; none for an empty one.
async fn people(h: &Harness, companies: &[&str]) -> Vec<String> {
    let mut people = Vec::new();
    for (number, company) in companies.iter().enumerate() {
        let email = format!("p{number}@example.com");
        people.push(person(h, json!({ "email": email, "company": company })).await);
    }
    people
}

/// A sequence of two messages that has sent its first to all of them.
async fn greeted(h: &Harness, settings: Value, people: &[String]) -> Vec<String> {
    let ada = sender(h, "ada").await;
    let steps = json!([
        email("hello", "PT0S", &[&ada]),
        email("again", "P1D", &[&ada])
    ]);
    let people: Vec<&str> = people.iter().map(String::as_str).collect();
    let leads = running(h, steps, settings, &people).await;
    let receiver = Receiver::default();
    for _ in &leads {
        settle(h, &receiver).await;
        // The sender leaves a gap between messages.
        later(h, Duration::minutes(5));
    }
    leads
}

/// Status and reason of each lead.
async fn fates(h: &Harness, leads: &[String]) -> Vec<String> {
    let mut fates = Vec::new();
    for lead in leads {
        let seen = seen(h, lead).await;
        let reason = seen["stopReason"].as_str().unwrap_or("");
        fates.push(format!(
            "{} {reason}",
            seen["status"].as_str().expect("a status")
        ));
    }
    fates
}

both!(
    an_answer_stops_those_at_the_same_company_and_nobody_else,
    |h: Harness| async move {
        let people = people(
            &h,
            &[
                "Caf\u{e9}  GmbH",
                "CAFE\u{301} gmbh",
                "Café GmbH",
                "Café",
                "",
            ],
        )
        .await;
        let elsewhere = greeted(&h, json!({}), &people[1..2]).await;
        let leads = greeted(&h, json!({ "stopCompanyOnReply": true }), &people).await;
        bulk(&h, "leadsPause", json!({ "ids": [&leads[2]] })).await;

        engage(
            &h,
            &leads[0],
            "hello",
            Engagement::AutoReplied { until: None },
        )
        .await;
        let nobody = ["PENDING ", "PENDING ", "PAUSED ", "PENDING ", "PENDING "];
        assert_eq!(fates(&h, &leads).await, nobody, "a machine answered");

        engage(&h, &leads[0], "hello", Engagement::Replied).await;
        let colleagues = [
            "STOPPED REPLIED",
            "STOPPED COMPANY_REPLIED",
            "STOPPED COMPANY_REPLIED",
            "PENDING ",
            "PENDING ",
        ];
        assert_eq!(fates(&h, &leads).await, colleagues);
        assert_eq!(
            fates(&h, &elsewhere).await,
            ["PENDING "],
            "another sequence"
        );

        // Whose company nobody knows is at none, and so is everybody else like that.
        engage(&h, &leads[4], "hello", Engagement::Replied).await;
        assert_eq!(
            fates(&h, &leads[3..]).await,
            ["PENDING ", "STOPPED REPLIED"]
        );

        let query =
            "{ events(first: 9, filter: { kinds: [LEAD_STOPPED] }) { lead { id } detail } }";
        let told = h.data(query, json!({})).await["events"].take();
        let told = told.as_array().expect("events");
        let of_company = told
            .iter()
            .filter(|event| event["detail"]["reason"] == "COMPANY_REPLIED");
        assert_eq!((told.len(), of_company.count()), (4, 2), "{told:?}");
    }
);

both!(
    an_answer_stops_no_colleague_where_the_sequence_does_not_say_so,
    |h: Harness| async move {
        let people = people(&h, &["Acme", "Acme"]).await;
        let leads = greeted(&h, json!({}), &people).await;
        engage(&h, &leads[0], "hello", Engagement::Replied).await;
        assert_eq!(fates(&h, &leads).await, ["STOPPED REPLIED", "PENDING "]);
    }
);

both!(
    an_answer_may_stop_the_others_and_not_its_own_lead,
    |h: Harness| async move {
        let people = people(&h, &["Acme", "acme"]).await;
        let settings = json!({ "stopCompanyOnReply": true, "stopOnReply": false });
        let leads = greeted(&h, settings, &people).await;
        engage(&h, &leads[0], "hello", Engagement::Replied).await;
        assert_eq!(
            fates(&h, &leads).await,
            ["PENDING ", "STOPPED COMPANY_REPLIED"]
        );
    }
);
