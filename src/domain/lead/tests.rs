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
    let is_over = matches!(state.status, LeadStatus::Completed | LeadStatus::Stopped);
    assert!(state.quiet_until.is_none() || !is_over, "{state:?}");
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
        (0..1_000_000_i64, proptest::option::of(0..1_000_i64)).prop_map(|(ms, closed)| {
            Happening::AutoReplied {
                until: at(ms),
                due_at: closed.map(|closed| at(ms + closed)),
            }
        }),
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
            let before = state.quiet_until;
            if let Ok(next) = state.apply(&happening, at(now)) {
                // Only its end makes a lead forget that its contact is away, and for how long.
                let is_over = matches!(next.status, LeadStatus::Completed | LeadStatus::Stopped);
                prop_assert!(is_over || next.quiet_until >= before, "{happening:?}: {next:?}");
                if let Happening::AutoReplied { until, .. } = happening {
                    prop_assert!(next.quiet_until >= Some(until), "{next:?}");
                }
                prop_assert!(!over || next == state, "a lead that is over changed");
                state = next;
            }
            assert_sound(&state);
        }
    }

    #[test]
    fn an_automatic_reply_keeps_a_lead_that_is_not_over_quiet_wherever_it_stands(
        history in proptest::collection::vec((happening(), 0..1_000_000_i64), 0..40),
        until in 0..2_000_000_i64, waits in any::<bool>(),
    ) {
        let mut state = LeadState::enrolled(Onward { step_key: "a".into(), due_at: at(0) });
        for (happening, now) in history {
            state = state.apply(&happening, at(now)).unwrap_or(state);
        }
        let due_at = waits.then(|| at(until));
        let quiet = state.apply(&Happening::AutoReplied { until: at(until), due_at }, at(0));
        if matches!(state.status, LeadStatus::Completed | LeadStatus::Stopped) {
            prop_assert_eq!(quiet, Err(Refused::Over));
            return Ok(());
        }
        let quiet = quiet.expect("it takes it");
        prop_assert!(quiet.quiet_until >= Some(at(until)));
        assert_sound(&quiet);
        // Where it is, what it waits for and until when stays; only a step that is due before is not.
        let at_rest = state.status == LeadStatus::Pending && waits;
        let due_at = state.due_at.map(|due_at| if at_rest { due_at.max(at(until)) } else { due_at });
        let quiet_until = quiet.quiet_until;
        prop_assert_eq!(quiet, LeadState { due_at, quiet_until, ..state });
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
