//! The whole table of status and happening, and what must hold of every state.

use proptest::prelude::*;
use strum::IntoEnumIterator;

use super::*;

fn at(ms: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(ms).expect("a time")
}

/// What the database's CHECKs demand as well.
fn assert_sound(state: &LeadState) {
    assert_eq!(
        state.stop_reason.is_some(),
        state.status == LeadStatus::Stopped,
        "{state:?}"
    );
    let may_be_due = matches!(state.status, LeadStatus::Pending | LeadStatus::InProgress);
    assert!(state.due_at.is_none() || may_be_due, "{state:?}");
    assert!(
        state.paused_rest.is_none() || state.status == LeadStatus::Paused,
        "{state:?}"
    );
    assert!(
        state.step_key.is_some() || state.status == LeadStatus::Completed,
        "{state:?}"
    );
    // A lead that waits for nobody has a due time: it cannot be forgotten.
    let waits_for_somebody = state
        .hold
        .is_some_and(|hold| hold.lacks() || hold == Hold::Unconfirmed);
    let awaits = state.hold.is_some_and(Hold::awaits);
    assert!(
        state.until.is_none() || (awaits && state.status == LeadStatus::InProgress),
        "{state:?}"
    );
    assert!(
        !awaits || matches!(state.status, LeadStatus::InProgress | LeadStatus::Paused),
        "{state:?}"
    );
    if let (Some(due_at), Some(until)) = (state.due_at, state.until) {
        assert!(due_at <= until, "{state:?}");
    }
    if state.status == LeadStatus::Pending {
        assert!(
            state.due_at.is_some() || waits_for_somebody,
            "lost: {state:?}"
        );
    }
}

fn happening() -> impl Strategy<Value = Happening> {
    let onward = (any::<bool>(), 0..1_000_000_i64).prop_map(|(first, ms)| Onward {
        step_key: if first { "a" } else { "b" }.into(),
        due_at: at(ms),
    });
    prop_oneof![
        Just(Happening::Claimed),
        Just(Happening::Released),
        proptest::option::of(onward).prop_map(Happening::StepOver),
        (0..1_000_000_i64, any::<bool>()).prop_map(|(ms, retrying)| Happening::Later {
            due_at: at(ms),
            retrying
        }),
        Just(Happening::Lacks(Hold::MissingMergeData)),
        Just(Happening::Lacks(Hold::MissingAddress)),
        (any::<bool>(), proptest::option::of(0..1_000_000_i64)).prop_map(|(task, until)| {
            let hold = if task {
                Hold::AwaitingTask
            } else {
                Hold::AwaitingCondition
            };
            Happening::Awaits {
                hold,
                until: until.map(at),
            }
        }),
        Just(Happening::Stirred),
        (0..1_000_000_i64).prop_map(|ms| Happening::AutoReplied { until: at(ms) }),
        Just(Happening::DataCompleted),
        Just(Happening::Ambiguous),
        Just(Happening::SettledUnsent),
        Just(Happening::Pause),
        Just(Happening::Resume),
        Just(Happening::Stop(StopReason::Removed)),
    ]
}

proptest! {
    #[test]
    fn any_history_keeps_a_lead_sound(history in proptest::collection::vec((happening(), 0..1_000_000_i64), 0..40)) {
        let mut state = LeadState::enrolled(Onward { step_key: "a".into(), due_at: at(0) });
        for (happening, now) in history {
            let over = matches!(state.status, LeadStatus::Completed | LeadStatus::Stopped);
            if let Ok(next) = state.apply(&happening, at(now)) {
                prop_assert!(!over || next == state, "a lead that is over changed");
                state = next;
            }
            assert_sound(&state);
        }
    }

    #[test]
    fn a_pause_keeps_the_rest_of_the_wait(due in 0..1_000_000_i64, paused in 0..1_000_000_i64, away in 0..1_000_000_i64) {
        let state = LeadState::enrolled(Onward { step_key: "a".into(), due_at: at(due) });
        let held = state.apply(&Happening::Pause, at(paused)).expect("pauses");
        let back = held.apply(&Happening::Resume, at(paused + away)).expect("resumes");
        prop_assert_eq!(back.due_at, Some(at((due.max(paused)) + away)));
    }
}

#[test]
fn a_stopped_lead_is_never_due_again() {
    for reason in StopReason::iter() {
        let state = LeadState::enrolled(Onward {
            step_key: "a".into(),
            due_at: at(0),
        });
        let stopped = state.apply(&Happening::Stop(reason), at(1)).expect("stops");
        let onward = Onward {
            step_key: "b".into(),
            due_at: at(9),
        };
        for happening in [
            Happening::StepOver(Some(onward)),
            Happening::Later {
                due_at: at(9),
                retrying: true,
            },
            Happening::Released,
            Happening::Ambiguous,
        ] {
            assert_eq!(stopped.apply(&happening, at(2)), Ok(stopped.clone()));
        }
        assert_eq!(stopped.apply(&Happening::Resume, at(2)), Err(Refused::Over));
    }
}
