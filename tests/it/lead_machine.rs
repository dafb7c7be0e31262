//! The lead machine, enumerated whole: what each happening does to a lead in each state.
//! `docs/lead-machine.md` is written from it by `UPDATE=1`, and is what the code says.

use std::fmt::Write as _;

use cadenza::domain::lead::{Happening, Hold, LeadState, LeadStatus, Onward, Refused, StopReason};
use chrono::{DateTime, Duration, TimeZone, Utc};
use strum::{EnumCount, IntoEnumIterator};

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/lead-machine.md");

fn now() -> DateTime<Utc> {
    let at = Utc.with_ymd_and_hms(2026, 3, 2, 9, 0, 0).single();
    at.expect("an instant")
}

/// Every state: each status with each hold that it can have.
fn states() -> Vec<LeadState> {
    let mut all = Vec::new();
    for status in LeadStatus::iter() {
        for hold in [None].into_iter().chain(Hold::iter().map(Some)) {
            let in_step = hold.is_some_and(|hold| hold.awaits() || hold == Hold::Unconfirmed);
            let can_be = match status {
                LeadStatus::Pending => !in_step,
                LeadStatus::InProgress => hold.is_none() || in_step,
                LeadStatus::Paused => true,
                LeadStatus::Completed | LeadStatus::Stopped => hold.is_none(),
            };
            if can_be {
                all.push(state(status, hold));
            }
        }
    }
    all
}

/// Every state that a lead can be in whose contact is away already: for an hour, and for ten.
fn quiet_states() -> Vec<LeadState> {
    let over = [LeadStatus::Completed, LeadStatus::Stopped];
    let under_way = states()
        .into_iter()
        .filter(|state| !over.contains(&state.status));
    let quiet = |state: LeadState| {
        [1, 10].map(|hours| LeadState {
            quiet_until: Some(now() + Duration::hours(hours)),
            ..state.clone()
        })
    };
    under_way.flat_map(quiet).collect()
}

/// A lead that is due in an hour, or whose wait ends then.
fn state(status: LeadStatus, hold: Option<Hold>) -> LeadState {
    let soon = now() + Duration::hours(1);
    let has_time = !hold.is_some_and(|hold| hold.lacks() || hold == Hold::Unconfirmed);
    let awaits = hold.is_some_and(Hold::awaits);
    let active = matches!(status, LeadStatus::Pending | LeadStatus::InProgress);
    LeadState {
        status,
        stop_reason: (status == LeadStatus::Stopped).then_some(StopReason::Replied),
        step_key: (status != LeadStatus::Completed).then(|| "here".to_owned()),
        due_at: (active && has_time).then_some(soon),
        hold,
        paused_rest: (status == LeadStatus::Paused && has_time).then(|| Duration::hours(1)),
        until: (status == LeadStatus::InProgress && awaits).then_some(soon),
        quiet_until: None,
    }
}

/// Every happening, with what it is called in the page.
fn happenings() -> Vec<(&'static str, Happening)> {
    let then = now() + Duration::hours(5);
    let onward = Onward {
        step_key: "next".to_owned(),
        due_at: then,
    };
    let later = |retrying| Happening::Later {
        due_at: then,
        retrying,
    };
    let awaits = |hold| Happening::Awaits {
        hold,
        until: Some(then),
    };
    let away = |due_at| Happening::AutoReplied {
        until: now() + Duration::hours(4),
        due_at,
    };
    vec![
        ("A worker takes it up", Happening::Claimed),
        ("The worker puts it back", Happening::Released),
        (
            "Its step is over, and another follows",
            Happening::StepOver(Some(onward)),
        ),
        (
            "Its step is over, and none follows",
            Happening::StepOver(None),
        ),
        ("Its step is due later, as a window is closed", later(false)),
        ("Its step is tried again later", later(true)),
        (
            "It lacks an address",
            Happening::Lacks(Hold::MissingAddress),
        ),
        (
            "It lacks data for a merge tag",
            Happening::Lacks(Hold::MissingMergeData),
        ),
        ("Its person is completed", Happening::DataCompleted),
        (
            "It comes to wait for a condition",
            awaits(Hold::AwaitingCondition),
        ),
        ("It comes to wait for a task", awaits(Hold::AwaitingTask)),
        (
            "It comes to wait for a task that is never given up",
            Happening::Awaits {
                hold: Hold::AwaitingTask,
                until: None,
            },
        ),
        ("What it waits for may have happened", Happening::Stirred),
        (
            "A machine answers for the contact, and its step waits for that one to be back",
            away(Some(then)),
        ),
        (
            "A machine answers for the contact, and its step goes on meanwhile",
            away(None),
        ),
        (
            "Nobody knows whether its message left",
            Happening::Ambiguous,
        ),
        (
            "Its message is settled as not sent",
            Happening::SettledUnsent,
        ),
        ("A person holds it", Happening::Pause),
        ("A person lets it go on", Happening::Resume),
        (
            "It leaves the sequence early",
            Happening::Stop(StopReason::Removed),
        ),
    ]
}

fn name(state: &LeadState) -> String {
    let mut name = state.status.to_string();
    if let Some(hold) = state.hold {
        let _ = write!(name, " ({hold})");
    }
    name
}

/// What became of a state, in a cell.
fn told(before: &LeadState, after: &Result<LeadState, Refused>) -> String {
    let after = match after {
        Ok(after) if after == before => return "stays as it is".to_owned(),
        Ok(after) => after,
        Err(refused) => return format!("refused: {refused}"),
    };
    let mut cell = name(after);
    if let Some(reason) = after.stop_reason {
        let _ = write!(cell, ", {reason}");
    }
    if after.step_key != before.step_key
        && let Some(key) = &after.step_key
    {
        let _ = write!(cell, ", at the {key} step");
    }
    let hours = |rest: Duration| format!("{} h", rest.num_hours());
    match (after.due_at, after.paused_rest) {
        (Some(at), _) if at == now() => cell.push_str(", due now"),
        (Some(at), _) => {
            let _ = write!(cell, ", due in {}", hours(at - now()));
        }
        (None, Some(rest)) => {
            let _ = write!(cell, ", {} left", hours(rest));
        }
        (None, None) => {}
    }
    if let Some(until) = after.quiet_until {
        let _ = write!(cell, ", quiet for {}", hours(until - now()));
    }
    if let Some(until) = after.until.filter(|until| Some(*until) != after.due_at) {
        let _ = write!(cell, ", given up in {}", hours(until - now()));
    }
    cell
}

fn page() -> String {
    let mut page = String::from(
        "# The lead machine\n\n\
         What each happening does to a lead in each state, as the code has it: this page is written\n\
         by a test (`UPDATE=1 cargo nextest run lead_machine`), and fails it when it differs.\n\n\
         The lead stands at a step and is due in one hour, or what it waits for is given up then; a\n\
         paused one has one hour left. What comes later comes in five hours. A contact who is away is back\n\
         in four, when no send window is open; whoever claims a lead that is quiet until then holds back\n\
         messages, and work that would be given to somebody. Nothing but the end of its run makes a lead\n\
         less quiet than a machine has said; where that is said twice, the later return counts.\n",
    );
    for (called, happening) in happenings() {
        let _ = write!(page, "\n## {called}\n\n| before | after |\n| --- | --- |\n");
        let quiet = match happening {
            Happening::AutoReplied { .. } => quiet_states(),
            _ => Vec::new(),
        };
        for before in states().into_iter().chain(quiet) {
            let after = before.apply(&happening, now());
            let quiet = before.quiet_until.map(|until| until - now());
            let quiet = quiet.map_or_else(String::new, |rest| {
                format!(", quiet for {} h", rest.num_hours())
            });
            let _ = writeln!(
                page,
                "| {}{quiet} | {} |",
                name(&before),
                told(&before, &after)
            );
        }
    }
    page
}

#[test]
fn the_page_says_what_the_machine_does() {
    let page = page();
    if std::env::var_os("UPDATE").is_some() {
        std::fs::write(PAGE, &page).expect("the page is written");
    }
    let kept = std::fs::read_to_string(PAGE).unwrap_or_default();
    assert!(
        kept == page,
        "docs/lead-machine.md is not what the code says: `UPDATE=1 cargo nextest run lead_machine` \
         writes it anew"
    );
}

#[test]
fn every_state_and_every_happening_is_in_the_page() {
    let kinds: std::collections::HashSet<_> = happenings()
        .iter()
        .map(|(_, happening)| std::mem::discriminant(happening))
        .collect();
    assert_eq!(kinds.len(), Happening::COUNT);
    let states = states();
    for status in LeadStatus::iter() {
        assert!(states.iter().any(|state| state.status == status));
    }
    for hold in Hold::iter() {
        assert!(states.iter().any(|state| state.hold == Some(hold)));
    }
}

#[test]
fn no_lead_is_less_quiet_after_anything_but_its_end() {
    for before in quiet_states() {
        for (called, happening) in happenings() {
            let Ok(after) = before.apply(&happening, now()) else {
                continue;
            };
            let is_over = matches!(after.status, LeadStatus::Completed | LeadStatus::Stopped);
            let is_as_quiet = after.quiet_until >= before.quiet_until;
            assert!(is_over || is_as_quiet, "{called}: {before:?} {after:?}");
            assert!(
                !is_over || after.quiet_until.is_none(),
                "{called}: {after:?}"
            );
        }
    }
}
