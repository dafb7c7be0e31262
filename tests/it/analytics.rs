//! Analytics through the API: a history made by the engine, counted by hand.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration as Real;

use cadenza::app::Services;
use cadenza::app::analytics::Analytics;
use cadenza::app::analytics::verify::{self, Found};
use cadenza::app::engagement::Engagement;
use cadenza::graphql::CadenzaSchema;
use cadenza::store::sql::Arguments;
use chrono::{DateTime, Duration, FixedOffset, Utc};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use serde_json::{Value, json};

use crate::blockers::always;
use crate::enrol::enrol;
use crate::harness::{Harness, both};
use crate::leads::{bulk, later, run};
use crate::pains::{Receiver, settle};
use crate::sequences::{done, published, sender};
use crate::served::Served;
use crate::steps::{engage, number, person, seen};

const COUNTS: &str = "funnel { contacted opened interactions answered interrupted }
    messages { sent delivered failed opens clicks replies bounces unsubscribes }";

fn document() -> String {
    format!(
        "query Analytics($id: ID!, $filter: AnalyticsFilter) {{ sequence(id: $id) {{ analytics(filter: $filter) {{ {COUNTS}
            byStep {{ stepKey waiting {COUNTS} byVariant {{ variant {COUNTS} }}
                comparisons {{ measure best next isSignificant pValue test statement }} }}
            bySender {{ sender {{ id }} {COUNTS} }}
            byChannel {{ channel {COUNTS} }}
            byDay {{ date {COUNTS} }} }} }} }}"
    )
}

/// A sequence with a history: ten people of whom nine have a number, and one whose address is refused.
struct History {
    sequence: String,
    ada: String,
    bob: String,
    text: String,
    leads: Vec<String>,
    receiver: Receiver,
}

/// "hello" leaves at nine in the evening before midnight in Paris, "text" half an hour before midnight in
/// UTC, which is the next day there.
async fn history(h: &Harness) -> History {
    let (receiver, ada, bob) = (
        Receiver::default(),
        sender(h, "ada").await,
        sender(h, "bob").await,
    );
    let text = number(h, "SMS").await;
    let mut people = Vec::new();
    for n in 0..11 {
        let name = if n == 10 {
            "bad".into()
        } else {
            format!("p{n}")
        };
        let mut fields = json!({ "email": format!("{name}@example.com") });
        if n != 9 {
            fields["phone"] = json!(format!("+3519123456{n:02}"));
        }
        people.push(person(h, fields).await);
    }
    let variant =
        |key: &str| json!({ "key": key, "subject": format!("Hello {key}"), "text": "Hi" });
    let steps = json!([
        { "key": "hello", "action": { "email": { "senderIds": [&ada, &bob], "variants": [variant("a"), variant("b")] } } },
        { "key": "text", "wait": "PT14H30M", "action": { "sms": { "senderIds": [&text], "variants": [{ "body": "Hi" }] } } },
        { "key": "last", "wait": "P5D", "action": { "email": { "senderIds": [&ada], "variants": [{ "subject": "Last", "text": "Hi" }] } } },
    ]);
    let input = json!({ "name": "Counted", "flow": { "steps": steps }, "settings": always() });
    let sequence = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": sequence })).await;
    let sequence = sequence.as_str().expect("an id").to_owned();
    let mut leads = Vec::new();
    for who in &people {
        enrol(h, &sequence, json!({ "ids": [who] })).await;
        let found = h
            .data(
                "query ($filter: LeadFilter) { leads(filter: $filter) { nodes { id } } }",
                json!({ "filter": { "personId": who } }),
            )
            .await;
        let lead = found["leads"]["nodes"][0]["id"].as_str();
        leads.push(lead.expect("a lead").to_owned());
    }
    settle(h, &receiver).await;
    for what in [Engagement::Opened, Engagement::Opened, Engagement::Clicked] {
        engage(h, &leads[0], "hello", what).await;
    }
    engage(h, &leads[1], "hello", Engagement::Opened).await;
    engage(h, &leads[1], "hello", Engagement::Replied).await;
    later(h, Duration::minutes(14 * 60 + 30));
    settle(h, &receiver).await;
    engage(h, &leads[2], "text", Engagement::Clicked).await;
    engage(h, &leads[3], "text", Engagement::Replied).await;
    bulk(h, "leadsRemove", json!({ "ids": [leads[4]] })).await;
    bulk(h, "leadsPause", json!({ "ids": [leads[5]] })).await;
    History {
        sequence,
        ada,
        bob,
        text,
        leads,
        receiver,
    }
}

async fn report(h: &Harness, history: &History, filter: Value) -> Value {
    let variables = json!({ "id": history.sequence, "filter": filter });
    h.data(&document(), variables).await["sequence"]["analytics"].take()
}

fn funnel(of: &Value) -> [i64; 5] {
    [
        "contacted",
        "opened",
        "interactions",
        "answered",
        "interrupted",
    ]
    .map(|name| of["funnel"][name].as_i64().expect("a count"))
}

both!(a_history_is_counted_as_by_hand, |h: Harness| async move {
    let history = history(&h).await;
    let all = report(&h, &history, json!({})).await;
    // The one whose address is refused is contacted by the text.
    assert_eq!(funnel(&all), [11, 2, 4, 2, 3]);
    assert_eq!(
        all["messages"],
        json!({ "sent": 19, "delivered": 0, "failed": 1, "opens": 3, "clicks": 2, "replies": 2, "bounces": 0, "unsubscribes": 0 })
    );
    let steps = all["byStep"].as_array().expect("steps");
    let keys: Vec<_> = steps
        .iter()
        .map(|step| step["stepKey"].as_str().expect("a key"))
        .collect();
    assert_eq!(keys, ["hello", "text", "last"], "in the order of the flow");
    let funnels: Vec<_> = steps.iter().map(funnel).collect();
    assert_eq!(funnels, [[10, 2, 2, 1, 1], [9, 0, 2, 1, 2], [0; 5]]);
    let waiting: Vec<_> = steps.iter().map(|step| step["waiting"].as_i64()).collect();
    assert_eq!(
        waiting,
        [Some(0), Some(0), Some(8)],
        "those that are paused too"
    );
    let days: Vec<_> = all["byDay"]
        .as_array()
        .expect("days")
        .iter()
        .map(|day| (day["date"].clone(), funnel(day)[0]))
        .collect();
    assert_eq!(days, [(json!("2026-03-02"), 11)]);
    let in_paris = report(&h, &history, json!({ "timeZone": "Europe/Paris" })).await;
    let days: Vec<_> = in_paris["byDay"]
        .as_array()
        .expect("days")
        .iter()
        .map(|day| (day["date"].clone(), funnel(day)))
        .collect();
    assert_eq!(
        days,
        [
            (json!("2026-03-02"), [10, 2, 2, 1, 1]),
            (json!("2026-03-03"), [9, 0, 2, 1, 2])
        ]
    );
    let second = json!({ "from": "2026-03-03", "to": "2026-03-03", "timeZone": "Europe/Paris" });
    assert_eq!(funnel(&report(&h, &history, second).await), [9, 0, 2, 1, 2]);
    let in_utc = json!({ "from": "2026-03-03", "to": "2026-03-03", "timeZone": "UTC" });
    let none = report(&h, &history, in_utc).await;
    assert_eq!(funnel(&none), [0; 5]);
    assert_eq!(none["byStep"][2]["waiting"], 8, "whatever the filter");
    // Without a zone the workspace's own counts.
    h.mutate(
        "workspaceUpdate",
        "WorkspaceUpdateInput",
        json!({ "timeZone": "Europe/Paris" }),
        "workspace { id }",
    )
    .await;
    let own = report(&h, &history, json!({ "from": "2026-03-03" })).await;
    assert_eq!(funnel(&own)[0], 9);
    let channels: Vec<_> = all["byChannel"]
        .as_array()
        .expect("channels")
        .iter()
        .map(|one| (one["channel"].clone(), funnel(one)[0]))
        .collect();
    assert_eq!(channels, [(json!("EMAIL"), 10), (json!("SMS"), 9)]);
    comparisons(&steps[0]);
    assert_eq!(
        steps[1]["comparisons"],
        json!([]),
        "one variant is compared with nothing"
    );
    // What is counted is what the log tells, and what is changed by hand is found.
    let verify = async || {
        let mut found = Vec::new();
        let compared = verify::verify(&h.services.db, h.admin.workspace, |one: &Found| {
            found.push(one.clone())
        })
        .await;
        (compared.expect("compared"), found)
    };
    let (compared, found) = verify().await;
    assert_eq!(found, []);
    assert_eq!(
        (compared.sequences, compared.leads, compared.messages),
        (1, 11, 21),
        "one of them was skipped"
    );
    let by_hand = "UPDATE execution SET clicks = 7 WHERE clicks = 1 AND step_key = 'text'";
    run(&h, by_hand, Arguments::new()).await;
    run(
        &h,
        "UPDATE lead SET status = 'COMPLETED', due_at = NULL WHERE status = 'ACTIVE' AND opens = 2",
        Arguments::new(),
    )
    .await;
    let (_, found) = verify().await;
    let mut told: Vec<_> = found
        .iter()
        .map(|one| {
            (
                one.lead.to_string(),
                one.execution.is_some(),
                one.difference.0,
                one.difference.1.clone(),
                one.difference.2.clone(),
            )
        })
        .collect();
    told.sort();
    let of = |n: usize| history.leads[n].clone();
    let mut wanted = vec![
        (of(0), false, "currentStep", "none".into(), "last".into()),
        (of(0), false, "status", "COMPLETED".into(), "ACTIVE".into()),
        (of(2), true, "clicks", "7".into(), "1".into()),
    ];
    wanted.sort();
    assert_eq!(told, wanted);
});

/// The statement says what the numbers say.
fn comparisons(step: &Value) {
    let variants = step["byVariant"].as_array().expect("variants");
    assert_eq!(variants.len(), 2, "both were sent: {variants:#?}");
    let of = |name: &Value, at: usize| {
        let found = variants.iter().find(|one| one["variant"] == *name);
        let counts = funnel(found.expect("a variant"));
        (counts[at], counts[0])
    };
    let all = step["comparisons"].as_array().expect("comparisons");
    let measures: Vec<_> = all
        .iter()
        .map(|one| one["measure"].as_str().expect("a measure"))
        .collect();
    assert_eq!(measures, ["OPENED", "INTERACTIONS", "ANSWERED"]);
    let words = ["opened", "reacted to", "answered"];
    for ((one, word), at) in all.iter().zip(words).zip(1..) {
        if one["best"].is_null() {
            let said = one["statement"].as_str().expect("a sentence");
            assert!(
                one["next"].is_null() && said.ends_with(": there is no difference."),
                "{said}"
            );
            continue;
        }
        let (best, next) = (of(&one["best"], at), of(&one["next"], at));
        let share = |(did, leads): (i64, i64)| did as f64 / leads as f64 * 100.0;
        assert!(share(best) >= share(next));
        let p_value = one["pValue"].as_f64().expect("a probability");
        assert!(
            (0.05..=1.0).contains(&p_value),
            "ten leads tell nothing: {p_value}"
        );
        assert_eq!(one["isSignificant"], false);
        assert_eq!(one["test"], "FISHER_EXACT");
        let wanted = format!(
            "{} was {word} by {} of {} ({:.1} %), {} by {} of {} ({:.1} %): chance alone can make such a difference (p = {p_value:.4}, Fisher's exact test).",
            one["best"].as_str().expect("a name"),
            best.0,
            best.1,
            share(best),
            one["next"].as_str().expect("a name"),
            next.0,
            next.1,
            share(next),
        );
        assert_eq!(one["statement"], wanted);
    }
}

/// A message as executions and the log show it.
#[derive(Debug, Clone)]
struct Told {
    lead: String,
    step: String,
    channel: String,
    sender: String,
    at: DateTime<Utc>,
    sent: bool,
    opens: i64,
    clicks: i64,
    replies: i64,
}

async fn told(h: &Harness) -> (Vec<Told>, BTreeMap<String, String>) {
    let query = "{ executions(first: 250) { nodes { id stepKey channel status finishedAt sender { id } lead { id status } } }
        events(first: 250, filter: { kinds: [OPENED, CLICKED, REPLIED] }) { kind execution { id } } }";
    let data = h.data(query, json!({})).await;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let did = |id: &Value, kind: &str| {
        let events = data["events"].as_array().expect("events").iter();
        let same = events.filter(|event| event["kind"] == kind && event["execution"]["id"] == *id);
        i64::try_from(same.count()).expect("few")
    };
    let mut messages: Vec<Told> = Vec::new();
    let mut last: BTreeMap<String, (DateTime<Utc>, String)> = BTreeMap::new();
    for node in data["executions"]["nodes"].as_array().expect("executions") {
        if !["SENT", "FAILED"].contains(&node["status"].as_str().expect("a status")) {
            continue;
        }
        let message = Told {
            lead: text(&node["lead"]["id"]),
            step: text(&node["stepKey"]),
            channel: text(&node["channel"]),
            sender: text(&node["sender"]["id"]),
            at: text(&node["finishedAt"]).parse().expect("an instant"),
            sent: node["status"] == "SENT",
            opens: did(&node["id"], "OPENED"),
            clicks: did(&node["id"], "CLICKED"),
            replies: did(&node["id"], "REPLIED"),
        };
        if message.sent && node["lead"]["status"] == "STOPPED" {
            let place = last
                .entry(message.lead.clone())
                .or_insert((message.at, message.step.clone()));
            *place = (message.at, message.step.clone()).max(place.clone());
        }
        messages.push(message);
    }
    let left_at = last.into_iter().map(|(lead, (_, step))| (lead, step));
    (messages, left_at.collect())
}

/// One of the conditions of a filter: how it is asked, and which messages it lets through.
type Condition<'a> = (Value, Box<dyn Fn(&Told) -> bool + 'a>);

both!(
    every_filter_alone_and_with_every_other_counts_right,
    |h: Harness| async move {
        let history = history(&h).await;
        let (messages, left_at) = told(&h).await;
        assert_eq!(messages.len(), 20);
        let paris = FixedOffset::east_opt(3_600).expect("an offset");
        let day = |message: &Told| message.at.with_timezone(&paris).date_naive().to_string();
        let list =
            |ids: &[&str]| -> Vec<String> { ids.iter().map(|id| (*id).to_owned()).collect() };
        let none = || -> Condition { (json!({}), Box::new(|_: &Told| true)) };
        let of_senders = |ids: Vec<String>| -> Condition {
            (
                json!({ "senderIds": ids }),
                Box::new(move |told: &Told| ids.contains(&told.sender)),
            )
        };
        let of_steps = |keys: Vec<String>| -> Condition {
            (
                json!({ "stepKeys": keys }),
                Box::new(move |told: &Told| keys.contains(&told.step)),
            )
        };
        let senders = [
            none(),
            of_senders(list(&[&history.ada])),
            of_senders(list(&[&history.bob, &history.text])),
            of_senders(vec![]),
        ];
        let channels: [Condition; 3] = [
            none(),
            (
                json!({ "channel": ["EMAIL"] }),
                Box::new(|told: &Told| told.channel == "EMAIL"),
            ),
            (
                json!({ "channel": ["SMS", "WHATSAPP"] }),
                Box::new(|told: &Told| told.channel == "SMS"),
            ),
        ];
        let steps = [
            none(),
            of_steps(list(&["hello", "last"])),
            of_steps(list(&["text", "nowhere"])),
        ];
        let days: [Condition; 4] = [
            none(),
            (
                json!({ "from": "2026-03-03" }),
                Box::new(|told: &Told| day(told).as_str() >= "2026-03-03"),
            ),
            (
                json!({ "to": "2026-03-02" }),
                Box::new(|told: &Told| day(told).as_str() <= "2026-03-02"),
            ),
            (
                json!({ "from": "2026-03-01", "to": "2026-03-03" }),
                Box::new(|_: &Told| true),
            ),
        ];
        let mut asked = 0;
        for a in &senders {
            for b in &channels {
                for c in &steps {
                    for d in &days {
                        let mut filter = json!({ "timeZone": "Europe/Paris" });
                        for (given, _) in [a, b, c, d] {
                            let given = given.as_object().expect("fields").clone();
                            filter.as_object_mut().expect("fields").extend(given);
                        }
                        let is_all = filter.as_object().expect("fields").len() == 1;
                        let chosen: Vec<&Told> = messages
                            .iter()
                            .filter(|told| a.1(told) && b.1(told) && c.1(told) && d.1(told))
                            .collect();
                        let found = report(&h, &history, filter.clone()).await;
                        assert_counts(&found, &chosen, &left_at, &filter);
                        for (name, key) in [
                            ("byStep", "stepKey"),
                            ("byChannel", "channel"),
                            ("byDay", "date"),
                        ] {
                            for bucket in found[name].as_array().expect("buckets") {
                                let of = |told: &&&Told| match key {
                                    "stepKey" => bucket[key] == told.step.as_str(),
                                    "channel" => bucket[key] == told.channel.as_str(),
                                    _ => bucket[key] == day(told).as_str(),
                                };
                                let within: Vec<&Told> =
                                    chosen.iter().filter(of).copied().collect();
                                assert_counts(bucket, &within, &left_at, &filter);
                            }
                        }
                        for bucket in found["bySender"].as_array().expect("buckets") {
                            let within: Vec<&Told> = chosen
                                .iter()
                                .filter(|told| bucket["sender"]["id"] == told.sender.as_str())
                                .copied()
                                .collect();
                            assert!(!within.is_empty(), "{filter}");
                            assert_counts(bucket, &within, &left_at, &filter);
                        }
                        assert!(
                            is_all
                                || found["byStep"]
                                    .as_array()
                                    .is_some_and(|steps| steps.len() == 3)
                        );
                        asked += 1;
                    }
                }
            }
        }
        assert_eq!(asked, 144);
    }
);

fn assert_counts(
    bucket: &Value,
    chosen: &[&Told],
    left_at: &BTreeMap<String, String>,
    filter: &Value,
) {
    let leads = |did: &dyn Fn(&Told) -> bool| {
        let those = chosen.iter().filter(|told| told.sent && did(told));
        those
            .map(|told| told.lead.as_str())
            .collect::<BTreeSet<_>>()
            .len() as i64
    };
    let wanted = [
        leads(&|_| true),
        leads(&|told| told.opens > 0),
        leads(&|told| told.clicks + told.replies > 0),
        leads(&|told| told.replies > 0),
        leads(&|told| left_at.get(&told.lead) == Some(&told.step)),
    ];
    assert_eq!(funnel(bucket), wanted, "{filter}: {bucket:#}");
    let sum = |of: &dyn Fn(&Told) -> i64| chosen.iter().map(|told| of(told)).sum::<i64>();
    let messages = json!({
        "sent": sum(&|told| told.sent.into()), "delivered": 0, "failed": sum(&|told| (!told.sent).into()),
        "opens": sum(&|told| told.opens), "clicks": sum(&|told| told.clicks), "replies": sum(&|told| told.replies),
        "bounces": 0, "unsubscribes": 0,
    });
    assert_eq!(bucket["messages"], messages, "{filter}");
}

both!(
    what_cannot_be_asked_is_refused_with_its_place,
    |h: Harness| async move {
        let history = history(&h).await;
        let many: Vec<_> = (0..1_001).map(|n| format!("sender_{n:026}")).collect();
        let cases = [
            (json!({ "timeZone": "Mars/Olympus" }), "timeZone"),
            (
                json!({ "from": "2026-03-03", "to": "2026-03-02" }),
                "to is before from",
            ),
            (json!({ "senderIds": many }), "at most 1000 entries"),
            (
                json!({ "stepKeys": vec!["x"; 1_001] }),
                "at most 1000 entries",
            ),
            (json!({ "senderIds": ["lead_x"] }), "senderIds.0"),
        ];
        for (filter, wanted) in cases {
            let answer = h
                .execute(
                    &document(),
                    json!({ "id": history.sequence, "filter": filter }),
                )
                .await;
            let error = &answer["errors"][0];
            assert_eq!(error["extensions"]["code"], "BAD_USER_INPUT", "{answer}");
            let message = error["message"].as_str().expect("a message");
            assert!(message.contains(wanted), "{message}");
            let live = "subscription ($id: ID!, $filter: AnalyticsFilter) { sequenceAnalytics(sequenceId: $id, filter: $filter) { funnel { contacted } } }";
            let mut followed = h.follow(live, json!({ "id": history.sequence, "filter": filter }));
            let refused = json!(followed.next().await.expect("an answer"));
            assert_eq!(
                refused["errors"][0]["extensions"]["code"], "BAD_USER_INPUT",
                "{refused}"
            );
        }
        // A token that is limited to another sequence sees nothing of this one.
        let (other, _) = published(&h, &["one"]).await;
        let input = json!({ "name": "limited", "role": "VIEWER", "sequenceIds": [other] });
        let made = h
            .mutate("tokenCreate", "TokenCreateInput", input, "secret")
            .await;
        let secret = made["secret"].as_str().expect("a secret");
        let limited = h
            .services
            .access
            .admit(secret, None)
            .await
            .expect("it lets in");
        let answer = h
            .execute_as(&limited, &document(), json!({ "id": history.sequence }))
            .await;
        assert_eq!(answer["data"]["sequence"], Value::Null);
        let answer = h
            .execute_as(&limited, &document(), json!({ "id": other }))
            .await;
        assert_eq!(funnel(&answer["data"]["sequence"]["analytics"]), [0; 5]);
    }
);

const LIVE: &str =
    "subscription Live($id: ID!) { sequenceAnalytics(sequenceId: $id) { funnel { contacted opened }
    byStep { stepKey waiting } } }";

both!(analytics_are_followed_live, |h: Harness| async move {
    let history = history(&h).await;
    let mut live = h.follow(LIVE, json!({ "id": history.sequence }));
    // The clock is moved while it is waited: it looks again after so long of the clock's own time.
    let next = async |live: &mut BoxStream<'static, async_graphql::Response>, seconds: usize| {
        for _ in 0..seconds {
            match tokio::time::timeout(Real::from_millis(100), live.next()).await {
                Ok(next) => {
                    let next = json!(next.expect("it goes on"));
                    return Some(next["data"]["sequenceAnalytics"]["funnel"].clone());
                }
                Err(_) => later(&h, Duration::seconds(1)),
            }
        }
        None
    };
    let first = next(&mut live, 100).await;
    assert_eq!(
        first,
        Some(json!({ "contacted": 11, "opened": 2 })),
        "at once"
    );
    engage(&h, &history.leads[6], "hello", Engagement::Opened).await;
    let again = next(&mut live, 100).await;
    assert_eq!(again, Some(json!({ "contacted": 11, "opened": 3 })));
    // What it does not count tells nothing: another sequence, a machine's answer.
    let (other, _) = published(&h, &["one"]).await;
    enrol(&h, &other, json!({ "filter": { "has": ["EMAIL"] } })).await;
    engage(
        &h,
        &history.leads[7],
        "hello",
        Engagement::AutoReplied { until: None },
    )
    .await;
    assert_eq!(next(&mut live, 10).await, None);
    engage(&h, &history.leads[7], "hello", Engagement::Opened).await;
    let again = next(&mut live, 100).await;
    assert_eq!(again, Some(json!({ "contacted": 11, "opened": 4 })));
    let nowhere = json!(
        h.follow(LIVE, json!({ "id": "seq_01jd0000000000000000000000" }))
            .next()
            .await
            .expect("an answer")
    );
    assert_eq!(nowhere["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    assert_eq!(history.receiver.in_order().len(), 19);
    assert_eq!(seen(&h, &history.leads[0]).await["messagesSent"], 2);
});

both!(
    a_revoked_token_follows_no_analytics,
    |h: Harness| async move {
        let (sequence, _) = published(&h, &["one"]).await;
        let made = h
            .mutate(
                "tokenCreate",
                "TokenCreateInput",
                json!({ "name": "x", "role": "VIEWER" }),
                "token { id } secret",
            )
            .await;
        let secret = made["secret"].as_str().expect("a secret");
        let server = Served::new(&h).await;
        let events = server.post(secret).header("accept", "text/event-stream");
        let follow = json!({ "query": LIVE, "variables": { "id": sequence } });
        let events = events.json(&follow).send().await.expect("an answer");
        assert!(events.status().is_success());
        let id = json!({ "id": made["token"]["id"] });
        h.mutate("tokenRevoke", "TokenRevokeInput", id, "token { id }")
            .await;
        let all = tokio::time::timeout(Real::from_secs(20), events.text()).await;
        let all = all.expect("the stream ends").expect("readable");
        assert!(all.contains("contacted"), "the first came: {all}");
        assert!(!all.contains("event: complete"), "it was cut off: {all}");
        server.end().await;
    }
);

both!(
    analytics_of_fifty_sequences_take_a_bounded_number_of_statements,
    |h: Harness| async move {
        let history = history(&h).await;
        for n in 0..49 {
            done(&h, "sequenceCreate", json!({ "name": format!("s{n}") })).await;
        }
        let statements: std::sync::Arc<std::sync::Mutex<Vec<String>>> = std::sync::Arc::default();
        let seen = std::sync::Arc::clone(&statements);
        let db = h
            .services
            .db
            .clone()
            .observed(move |text: &str| seen.lock().expect("noted").push(text.to_owned()));
        // What analytics reads is read by a database of its own, which is observed as well.
        let analytics = Analytics::new(db.clone());
        let schema = CadenzaSchema::new(Services {
            db,
            analytics,
            ..h.services.clone()
        });
        let document = "query Page { sequences(first: 50) { nodes { name analytics { funnel { contacted } byStep { stepKey waiting } } } } }";
        let ask = async || {
            statements.lock().expect("noted").clear();
            let request = async_graphql::Request::new(document).data(h.viewer.clone());
            let answer = schema.execute(request).await;
            assert!(answer.is_ok(), "{answer:?}");
            let answer = json!(answer);
            let contacted = answer["data"]["sequences"]["nodes"]
                .as_array()
                .expect("nodes")
                .iter();
            let contacted: i64 = contacted
                .filter_map(|node| node["analytics"]["funnel"]["contacted"].as_i64())
                .sum();
            (contacted, statements.lock().expect("noted").clone())
        };
        let (contacted, cold) = ask().await;
        assert_eq!(contacted, 11);
        assert!(cold.len() > 100, "each was read: {}", cold.len());
        let (_, warm) = ask().await;
        assert!(warm.len() <= 3, "{warm:#?}");
        // Something new of one of them is read for it alone.
        engage(&h, &history.leads[0], "hello", Engagement::Opened).await;
        let (_, changed) = ask().await;
        assert!(changed.len() <= 6, "{changed:#?}");
    }
);
