use proptest::prelude::*;
use uuid::Uuid;

use super::*;

fn at(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_795_422_600 + seconds, 0).expect("an instant")
}

fn failure(status: Option<u16>, retry_after: Option<i64>) -> Failure {
    Failure {
        status,
        retry_after: retry_after.map(Duration::seconds),
        message: "It failed.".into(),
    }
}

/// The seconds to the next try; none where there is none.
fn wait(failure: &Failure, failures: i32) -> Option<i64> {
    match after_failure(failure, failures, None, at(0), 0.0) {
        Next::Retry(then) => Some((then - at(0)).num_seconds()),
        Next::SwitchOff(_) => None,
    }
}

#[test]
fn waits_grow_and_stay_a_day() {
    let down = failure(None, None);
    let waits: Vec<_> = (0..12).filter_map(|turn| wait(&down, turn)).collect();
    let day = 86_400;
    assert_eq!(
        waits,
        [
            5, 300, 1_800, 7_200, 18_000, 36_000, 50_400, 72_000, day, day, day, day
        ]
    );
}

#[test]
fn what_the_receiver_asks_for_is_given() {
    // Too many at once: as it says, though it be less than we would wait.
    assert_eq!(wait(&failure(Some(429), Some(20)), 5), Some(20));
    assert_eq!(wait(&failure(Some(429), Some(0)), 0), Some(1));
    assert_eq!(wait(&failure(Some(429), None), 1), Some(300));
    // Otherwise never less than we would.
    assert_eq!(wait(&failure(Some(503), Some(20)), 1), Some(300));
    assert_eq!(wait(&failure(Some(503), Some(900)), 1), Some(900));
    let gone = after_failure(&failure(Some(410), Some(5)), 0, None, at(0), 0.0);
    assert_eq!(gone, Next::SwitchOff(SwitchedOff::Gone));
}

#[test]
fn after_five_days_it_is_over() {
    let (mut now, mut tries) = (at(0), 0);
    let since = now;
    let over = loop {
        match after_failure(&failure(Some(500), None), tries, Some(since), now, 0.5) {
            Next::Retry(then) => {
                assert!(then > now, "time goes on");
                (now, tries) = (then, tries + 1);
            }
            Next::SwitchOff(reason) => break reason,
        }
    };
    assert_eq!(over, SwitchedOff::Failing);
    let days = (now - since).num_hours();
    assert!((5 * 24..6 * 24 + 5).contains(&days), "{days} hours");
    assert!((9..14).contains(&tries), "{tries} tries");
}

#[test]
fn a_receiver_is_reached_by_https_or_in_ones_own_network() {
    for good in [
        "https://example.com/hook?x=1",
        "https://hook.local",
        "http://127.0.0.1:8080/a",
        "http://10.0.0.7/",
        "http://[::1]:9/",
        "http://192.168.1.2/",
    ] {
        assert!(receiver(good).is_ok(), "{good}");
    }
    for plain in [
        "http://example.com/",
        "http://8.8.8.8/",
        "http://localhost/",
        "http://hook.local/",
    ] {
        assert_eq!(receiver(plain), Err(ReceiverError::Plain), "{plain}");
    }
    for none in ["", "ftp://example.com/", "https://a:b@example.com/", "hook"] {
        assert!(
            matches!(receiver(none), Err(ReceiverError::Url(_))),
            "{none}"
        );
    }
}

#[test]
fn an_event_is_told_in_the_form_of_the_api() {
    let id = Uuid::from_u128(7);
    let told = Told {
        seq: 42,
        at: at(0),
        kind: "LEAD_STOPPED".into(),
        sequence: Some(SequenceId::from_uuid(id)),
        lead: Some(LeadId::from_uuid(id)),
        execution: None,
        step_key: Some("one".into()),
        channel: None,
        sender: None,
        detail: Some(json!({ "reason": "REPLIED" })),
    };
    let told: Value = serde_json::from_str(&body(&told)).expect("JSON");
    assert_eq!(
        told,
        json!({
            "type": "LEAD_STOPPED",
            "timestamp": "2026-11-23T08:30:00.000Z",
            "data": {
                "cursor": "evt_000000000000002a",
                "at": "2026-11-23T08:30:00.000Z",
                "kind": "LEAD_STOPPED",
                "sequence": { "id": SequenceId::from_uuid(id) },
                "lead": { "id": LeadId::from_uuid(id) },
                "execution": null,
                "sender": null,
                "stepKey": "one",
                "channel": null,
                "detail": { "reason": "REPLIED" },
            },
        })
    );
    let name = delivery_id(WebhookId::from_uuid(id), 42);
    assert!(name.starts_with("webhook_") && name.ends_with("_42") && !name.contains('.'));
}

proptest! {
    #[test]
    fn a_wait_is_never_nothing_and_never_without_end(
        status: Option<u16>, asked in proptest::option::of(-10_i64..200_000), failures: i32,
        luck in -1.0..2.0_f64,
    ) {
        match after_failure(&failure(status, asked), failures, None, at(0), luck) {
            Next::Retry(then) => {
                let wait = then - at(0);
                prop_assert!(wait >= WAIT_LEAST && wait <= Duration::days(3), "{wait}");
            }
            Next::SwitchOff(reason) => {
                prop_assert_eq!((reason, status), (SwitchedOff::Gone, Some(GONE)));
            }
        }
    }

    #[test]
    fn no_address_ends_in_a_panic(text in "\\PC{0,60}|https?://\\PC{0,40}") {
        if let Ok(url) = receiver(&text) {
            prop_assert!(receiver(url.as_str()).is_ok());
        }
    }
}
