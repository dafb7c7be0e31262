//! Forecasts through the API: when the leads of a sequence will be sent what.

use serde_json::{Value, json};

use crate::enrol::{enrol, many};
use crate::harness::{Harness, both};
use crate::sequences::{done, flow, sender};

const FORECAST: &str = "query($id: ID!, $days: Int) { sequence(id: $id) { forecast(days: $days) {
    days { date sends bySender { sender { name } count } } completedBy bottlenecks { name } } } }";

pub async fn forecast(h: &Harness, id: &str, days: i32) -> Value {
    let asked = json!({ "id": id, "days": days });
    h.data(FORECAST, asked).await["sequence"]["forecast"].take()
}

fn sends(forecast: &Value) -> Vec<i64> {
    let days = forecast["days"].as_array().expect("days").iter();
    days.map(|day| day["sends"].as_i64().expect("a number"))
        .collect()
}

/// A published sequence of two steps, the second a day later, with so many leads.
async fn published(h: &Harness, leads: usize) -> (String, String) {
    let ada = sender(h, "ada").await;
    let input = json!({ "id": ada, "dailyCap": 50 });
    h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
        .await;
    let mut steps = flow(&["one", "two"], &[&ada]);
    steps["steps"][0]["wait"] = json!("PT0S");
    let input = json!({ "name": "Outreach", "flow": steps });
    let made = done(h, "sequenceCreate", input).await;
    let id = made["id"].as_str().expect("an id").to_owned();
    done(h, "sequencePublish", json!({ "id": id })).await;
    many(h, leads).await;
    enrol(h, &id, json!({ "filter": { "has": ["EMAIL"] } })).await;
    (id, ada)
}

both!(
    a_thousand_leads_take_as_long_as_the_cap_says,
    |h: Harness| async move {
        // It is Monday, 2 March 2026, nine o'clock, and nothing is sent here: no engine runs.
        let (id, ada) = published(&h, 1_000).await;
        let found = forecast(&h, &id, 90).await;
        let sends = sends(&found);
        assert_eq!(sends.len(), 90);
        assert_eq!(sends.iter().sum::<i64>(), 2_000);
        // Fifty a day on five days of a week: forty days of work.
        let week = [50, 50, 50, 50, 50, 0, 0];
        let weeks: Vec<i64> = week.iter().copied().cycle().take(56).collect();
        assert_eq!(sends[..56], weeks);
        assert_eq!(sends[56..].iter().sum::<i64>(), 0);
        assert_eq!(found["days"][0]["date"], "2026-03-02");
        assert_eq!(
            found["days"][0]["bySender"],
            json!([{ "sender": { "name": "ada" }, "count": 50 }])
        );
        assert_eq!(found["days"][5]["bySender"], json!([]));
        assert_eq!(found["completedBy"], "2026-04-24T17:00:00.000Z");
        assert_eq!(found["bottlenecks"], json!([{ "name": "ada" }]));
        let short = forecast(&h, &id, 1).await;
        assert_eq!(
            (
                short["days"].as_array().map(Vec::len),
                &short["completedBy"]
            ),
            (Some(1), &Value::Null)
        );
        let input = json!({ "id": ada, "enabled": false });
        h.mutate("senderUpdate", "SenderUpdateInput", input, "sender { id }")
            .await;
        let off = forecast(&h, &id, 14).await;
        assert_eq!(off["days"][0]["sends"], 0);
        assert_eq!(off["completedBy"], Value::Null);
    }
);

both!(a_forecast_has_its_bounds, |h: Harness| async move {
    let (id, _) = published(&h, 3).await;
    let found = h
        .data(
            "query($id: ID!) { sequence(id: $id) { forecast { days { sends } completedBy } } }",
            json!({ "id": id }),
        )
        .await["sequence"]["forecast"]
        .take();
    assert_eq!(sends(&found)[..3], [3, 3, 0]);
    assert_eq!(sends(&found).len(), 14);
    assert_eq!(found["completedBy"], "2026-03-03T17:00:00.000Z");
    for days in [-1, 0, 91] {
        let answer = h.execute(FORECAST, json!({ "id": id, "days": days })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "BAD_USER_INPUT");
    }
    let draft = done(&h, "sequenceCreate", json!({ "name": "n" })).await;
    let found = forecast(&h, draft["id"].as_str().expect("an id"), 7).await;
    assert_eq!(
        (sends(&found), &found["completedBy"]),
        (vec![0; 7], &Value::Null)
    );
});
