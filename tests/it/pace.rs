//! The pace of senders: how far apart the messages are that really leave.

use cadenza::engine::LaneId;
use cadenza::engine::record::Ending;
use chrono::{DateTime, Duration, Utc};
use serde_json::{Value, json};

use crate::blockers::Due;
use crate::enrol::people;
use crate::harness::{Harness, both};
use crate::pains::{Receiver, node, turn};
use crate::sequences::{done, flow, sender};

/// When the sender may write again, as the API tells it; none where that is now.
async fn next_free_at(h: &Harness) -> Option<DateTime<Utc>> {
    let read = h.data("{ senders { nextFreeAt } }", json!({})).await;
    let at = read["senders"][0]["nextFreeAt"].as_str()?;
    Some(at.parse().expect("an instant"))
}

/// A sender that keeps this pace writes to so many people, each as soon as it may; answers how far apart
/// its messages left.
async fn gaps(h: &Harness, count: usize, pace: Value) -> Vec<Duration> {
    let ada = sender(h, "ada").await;
    let mut change = pace;
    change["id"] = json!(ada);
    let select = "userErrors { message }";
    h.mutate("senderUpdate", "SenderUpdateInput", change, select)
        .await;
    let input = json!({ "name": "Paced", "flow": flow(&["one"], &[&ada]),
        "settings": crate::blockers::always() });
    let sequence = done(h, "sequenceCreate", input).await["id"].take();
    done(h, "sequencePublish", json!({ "id": sequence })).await;
    let names: Vec<String> = (0..count).map(|number| format!("p{number}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let ids = people(h, &names).await;
    let sequence = sequence.as_str().expect("an id");
    crate::enrol::enrol(h, sequence, json!({ "ids": ids })).await;
    h.clock.advance_to(h.clock.now() + Duration::days(2));
    let receiver = Receiver::default();
    // Each time a node of its own: what one remembers must not be what keeps the pace.
    let claims = async || turn(&node(h, &receiver).await, &receiver, 50).await;
    let mut sent = Vec::new();
    while sent.len() < count {
        assert_eq!(claims().await, 1, "one at a time");
        sent.push(h.clock.now());
        let free = next_free_at(h).await;
        assert_eq!(free, next_free_at(h).await, "to look changes nothing");
        let free = free.expect("it waits");
        h.clock.advance_to(free - Duration::milliseconds(1));
        assert_eq!(claims().await, 0);
        assert_eq!(next_free_at(h).await, Some(free));
        h.clock.advance_to(free);
    }
    sent.windows(2).map(|two| two[1] - two[0]).collect()
}

/// They lie within these seconds, and are spread over them.
fn lie_within(gaps: &[Duration], least: i64, most: i64) {
    let (least, most) = (Duration::seconds(least), Duration::seconds(most));
    assert!(
        gaps.iter().all(|gap| (least..=most).contains(gap)),
        "{gaps:?}"
    );
    let middle = (least + most) / 2;
    assert!(gaps.iter().any(|gap| *gap < middle), "{gaps:?}");
    assert!(gaps.iter().any(|gap| *gap > middle), "{gaps:?}");
    let mut kinds = gaps.to_vec();
    kinds.sort_unstable();
    kinds.dedup();
    assert!(kinds.len() > gaps.len() / 2, "{gaps:?}");
}

both!(
    gaps_are_at_least_the_least_and_vary_by_the_jitter,
    |h: Harness| async move {
        let pace = json!({ "minGap": "PT1M", "gapJitter": "PT30S" });
        lie_within(&gaps(&h, 24, pace).await, 60, 90);
    }
);

both!(jitter_alone_paces_a_sender, |h: Harness| async move {
    lie_within(&gaps(&h, 24, json!({ "gapJitter": "PT2M" })).await, 0, 120);
});

both!(
    without_jitter_every_gap_is_the_least,
    |h: Harness| async move {
        let gaps = gaps(&h, 4, json!({ "minGap": "PT1M" })).await;
        assert_eq!(gaps, [Duration::minutes(1); 3]);
    }
);

both!(
    the_gap_that_a_claim_stores_is_the_one_that_its_result_does,
    |h: Harness| async move {
        let due = Due::new(&h, crate::blockers::always()).await;
        due.change_sender(&h, json!({ "minGap": "PT1M", "gapJitter": "PT30S" }))
            .await;
        h.clock.advance_to(h.clock.now() + Duration::days(2));
        let receiver = Receiver::default();
        let engine = node(&h, &receiver).await;
        let claim = engine.claim(9, &|_: LaneId| 9).await.expect("claims");
        let [claimed] = &claim.messages[..] else {
            panic!("{} messages", claim.messages.len());
        };
        let gap = next_free_at(&h).await.expect("it waits") - h.clock.now();
        assert_eq!(claimed.gap, Some(gap));
        // The message is on its way for a while, and the gap counts from its end.
        h.clock.advance_to(h.clock.now() + Duration::seconds(20));
        let sent = cadenza::domain::outcome::Outcome::Sent {
            response: "ok".into(),
        };
        let ended = [(claimed.clone(), Ending::Dispatched(sent, None))];
        engine.record(&ended).await.expect("records");
        assert_eq!(next_free_at(&h).await, Some(h.clock.now() + gap));
    }
);
