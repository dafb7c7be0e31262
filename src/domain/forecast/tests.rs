use chrono::Duration;
use proptest::prelude::*;
use serde_json::json;

use super::*;

/// Monday, 23 November 2026, 09:00.
fn start() -> DateTime<Utc> {
    "2026-11-23T09:00:00Z".parse().expect("an instant")
}

fn id(number: u128) -> SenderId {
    SenderId::from_uuid(uuid::Uuid::from_u128(number))
}

/// Emails in a row, each so many days after the one before it, through these senders.
fn chain(waits: &[u32], senders: &[SenderId]) -> Flow {
    let steps = waits.iter().enumerate().map(|(index, wait)| {
        let action = json!({ "kind": "email", "senders": senders, "variants": [] });
        json!({ "key": format!("s{index}"), "wait": format!("P{wait}D"), "action": action,
            "next": format!("s{}", index + 1) })
    });
    let steps: Vec<_> = steps.collect();
    serde_json::from_value(json!({ "steps": steps })).expect("a flow")
}

fn sender(cap: Option<u32>) -> ForecastSender {
    ForecastSender {
        zone: Zone::utc(),
        daily_cap: cap,
        warm_up: None,
        pace: Pace::default(),
        used: 0,
    }
}

fn first(step_key: &str, due: usize, count: u64) -> Waiting {
    Waiting {
        step_key: step_key.to_owned(),
        sender: Some(id(1)),
        is_first: true,
        is_unbound: true,
        is_in_step: false,
        due,
        count,
    }
}

struct Case {
    flow: Flow,
    settings: Settings,
    senders: BTreeMap<SenderId, ForecastSender>,
    days: u32,
}

impl Case {
    fn new(flow: Flow, senders: &[ForecastSender]) -> Self {
        let senders = (1..).map(id).zip(senders.iter().cloned());
        Self {
            flow,
            settings: Settings::default(),
            senders: senders.collect(),
            days: DAYS_MAX,
        }
    }

    fn of(&self, waiting: impl IntoIterator<Item = Waiting>) -> Forecast {
        let zone = Zone::utc();
        let days = days(start(), self.days, &self.settings, &zone);
        let circumstances = Circumstances {
            flow: &self.flow,
            settings: &self.settings,
            zone: &zone,
            senders: &self.senders,
            sends_used: 0,
            new_leads_used: 0,
            days: &days,
        };
        forecast(waiting, circumstances)
    }

    /// What is sent on each of the first days.
    fn sends(&self, count: usize, waiting: impl IntoIterator<Item = Waiting>) -> Vec<u64> {
        let found = self.of(waiting);
        found
            .days
            .iter()
            .take(count)
            .map(ForecastDay::sends)
            .collect()
    }
}

#[test]
fn a_cap_spreads_leads_over_the_days_that_open() {
    let case = Case::new(chain(&[0], &[id(1)]), &[sender(Some(50))]);
    let found = case.of([first("s0", 0, 280)]);
    let sends: Vec<u64> = found.days.iter().take(9).map(ForecastDay::sends).collect();
    assert_eq!(sends, [50, 50, 50, 50, 50, 0, 0, 30, 0]);
    let end = "2026-11-30T17:00:00Z".parse().ok();
    assert_eq!((found.completed_by, found.waiting), (end, 0));
    assert_eq!(found.bottlenecks, BTreeSet::from([id(1)]));
}

#[test]
fn follow_ups_go_first_and_take_the_room_of_first_messages() {
    let case = Case::new(chain(&[0, 1], &[id(1)]), &[sender(Some(10))]);
    assert_eq!(case.sends(5, [first("s0", 0, 15)]), [10, 10, 5, 5, 0]);
    // 10 first, 10 follow-ups, the other 5, theirs.
    let mut used = sender(Some(10));
    used.used = 8;
    let case = Case::new(chain(&[0], &[id(1)]), &[used]);
    assert_eq!(case.sends(3, [first("s0", 0, 15)]), [2, 10, 3]);
}

#[test]
fn pace_windows_and_the_caps_of_the_sequence_bound_a_day() {
    let mut slow = sender(None);
    slow.pace.min_gap = Duration::minutes(48);
    let mut case = Case::new(chain(&[0], &[id(1)]), &[slow]);
    assert_eq!(case.sends(2, [first("s0", 0, 12)]), [10, 2]);
    assert_eq!(case.of([first("s0", 0, 12)]).bottlenecks.len(), 1);
    let mut uneven = sender(None);
    uneven.pace.min_gap = Duration::minutes(40);
    uneven.pace.jitter = Duration::minutes(16);
    let jittered = Case::new(chain(&[0], &[id(1)]), &[uneven]);
    assert_eq!(jittered.sends(2, [first("s0", 0, 12)]), [10, 2], "the mean");
    case.settings.max_new_leads_per_day = Some(4);
    assert_eq!(case.sends(3, [first("s0", 0, 10)]), [4, 4, 2]);
    assert_eq!(case.of([first("s0", 0, 12)]).bottlenecks.len(), 0);
    case.settings.max_sends_per_day = Some(3);
    assert_eq!(case.sends(4, [first("s0", 0, 10)]), [3, 3, 3, 1]);
}

#[test]
fn a_first_message_goes_through_whoever_has_room_and_follow_ups_stay() {
    let senders = [id(1), id(2)];
    let case = Case::new(
        chain(&[0, 1], &senders),
        &[sender(Some(5)), sender(Some(20))],
    );
    let found = case.of([first("s0", 0, 20)]);
    let by = |day: usize| -> Vec<u64> { found.days[day].by_sender.values().copied().collect() };
    assert_eq!((by(0), by(1)), (vec![5, 15], vec![5, 15]));
    let off = Case::new(chain(&[0], &[id(3)]), &[]);
    let found = off.of([first("s0", 0, 7)]);
    assert_eq!((found.waiting, found.completed_by), (7, None));
}

#[test]
fn conditions_are_taken_not_to_hold_and_splits_divide() {
    let mail = |key: &str| {
        json!({ "key": key,
        "action": { "kind": "email", "senders": [id(1)], "variants": [] } })
    };
    let mut hello = mail("hello");
    hello["next"] = json!("asks");
    let flow = json!({ "steps": [
        hello,
        { "key": "asks", "wait": "P1D", "action": { "kind": "condition", "within": "P1D",
            "predicate": { "opened": "*" }, "yes": "never", "no": "split" } },
        { "key": "split", "action": { "kind": "split", "branches": [
            { "weight": 1, "next": "call" }, { "weight": 2 }] } },
        { "key": "call", "action": { "kind": "task", "channel": "CALL", "title": "x" }, "next": "last" },
        mail("last"), mail("never"),
    ]});
    let flow: Flow = serde_json::from_value(flow).expect("a flow");
    let case = Case::new(flow, &[sender(None)]);
    assert_eq!(case.sends(4, [first("hello", 0, 30)]), [30, 0, 10, 0]);
    let waits = Waiting {
        is_in_step: true,
        is_first: false,
        is_unbound: false,
        ..first("asks", 1, 6)
    };
    assert_eq!(case.sends(3, [waits.clone()]), [0, 2, 0]);
    let asks = Waiting {
        is_in_step: false,
        ..waits
    };
    assert_eq!(case.sends(4, [asks]), [0, 0, 2, 0]);
    let over = case.of([first("gone", 0, 5)]);
    assert_eq!((over.waiting, over.completed_by), (0, None));
}

#[test]
fn what_is_due_later_than_the_days_that_are_asked_for_waits() {
    let mut case = Case::new(chain(&[0], &[id(1)]), &[sender(None)]);
    case.days = 3;
    let found = case.of([first("s0", 2, 5), first("s0", 3, 4)]);
    assert_eq!((found.days.len(), found.days[2].sends()), (3, 5));
    assert_eq!((found.waiting, found.completed_by), (4, None));
}

/// Leads of two senders, waiting for the steps of a chain.
fn groups() -> impl Strategy<Value = Vec<Waiting>> {
    let group = (0..3_usize, 0..3_u128, any::<bool>(), 0..12_usize, 1..40_u64);
    let group = group.prop_map(|(step, sender, is_first, due, count)| Waiting {
        sender: (sender > 0).then(|| id(sender)),
        is_first: is_first && step == 0,
        is_unbound: is_first,
        ..first(&format!("s{step}"), due, count)
    });
    proptest::collection::vec(group, 0..12)
}

proptest! {
    #[test]
    fn no_cap_is_exceeded_and_nobody_is_lost(
        waiting in groups(),
        waits in proptest::collection::vec(0..5_u32, 3),
        caps in (0..60_u32, 0..60_u32),
        total in proptest::option::of(1..80_u32),
        new in proptest::option::of(1..40_u32),
    ) {
        let senders = [sender(Some(caps.0)), sender(Some(caps.1))];
        let mut case = Case::new(chain(&waits, &[id(1), id(2)]), &senders);
        case.settings.max_sends_per_day = total;
        case.settings.max_new_leads_per_day = new;
        let found = case.of(waiting.clone());
        for day in &found.days {
            prop_assert!(day.by_sender.get(&id(1)).is_none_or(|sent| *sent <= u64::from(caps.0)));
            prop_assert!(day.by_sender.get(&id(2)).is_none_or(|sent| *sent <= u64::from(caps.1)));
            prop_assert!(total.is_none_or(|total| day.sends() <= u64::from(total)));
        }
        // One step: who is given is sent or carried, and by every day.
        let mut one = Case::new(chain(&waits[..1], &[id(1), id(2)]), &senders);
        let given: Vec<Waiting> = waiting.iter().filter(|it| it.step_key == "s0").cloned().collect();
        let count: u64 = given.iter().map(|it| it.count).sum();
        for days in [1, 2, 5, 30] {
            one.days = days;
            let found = one.of(given.clone());
            let sent: u64 = found.days.iter().map(ForecastDay::sends).sum();
            prop_assert_eq!(sent + found.waiting, count);
        }
        // The whole chain: each gets the message of its step and of every step behind it.
        if found.waiting == 0 {
            let sent: u64 = found.days.iter().map(ForecastDay::sends).sum();
            let behind = |it: &Waiting| it.count * match it.step_key.as_str() { "s0" => 3, "s1" => 2, _ => 1 };
            prop_assert_eq!(sent, waiting.iter().map(behind).sum::<u64>());
            prop_assert_eq!(found.completed_by.is_some(), sent > 0);
        }
    }

    /// Of one step. Where others follow, more first messages on one day are more follow-ups on
    /// another, which go before the first messages of that day: with a higher cap the last of those may
    /// then leave later, and its own follow-ups too.
    #[test]
    fn a_higher_cap_never_finishes_later(
        waiting in groups(),
        wait in 0..5_u32,
        cap in 1..40_u32,
        more in 1..10_u32,
    ) {
        let of_one = waiting.into_iter().filter(|it| it.step_key == "s0");
        let waiting: Vec<Waiting> =
            of_one.map(|it| Waiting { sender: Some(id(1)), ..it }).collect();
        let finished = |cap: u32| {
            let case = Case::new(chain(&[wait], &[id(1)]), &[sender(Some(cap))]);
            let found = case.of(waiting.clone());
            (found.waiting, found.completed_by)
        };
        let ((left, end), (left_then, end_then)) = (finished(cap), finished(cap + more));
        prop_assert!(left_then <= left);
        if left == 0 {
            prop_assert!(end_then <= end, "{:?} is later than {:?}", end_then, end);
        }
    }
}
