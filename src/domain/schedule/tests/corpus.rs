//! Every change of the clocks that a public list has for our years: `tz/transitions.jsonl` in the
//! folder that `CADENZA_CORPORA` names. Some are kept here, for whoever has no such folder.

use std::collections::HashSet;
use std::path::PathBuf;

use serde::Deserialize;

use super::*;

/// How many lines the list has, as it says of itself: one that is cut short is found out.
const LINES: usize = 5_359;
/// How many changes they are of: some of them stand there twice.
const CHANGES: usize = 4_257;

#[derive(Deserialize)]
struct Change {
    zone: String,
    utc: DateTime<Utc>,
    off_before: i64,
    off_after: i64,
    kind: Kind,
    local_from: NaiveDateTime,
    local_to: NaiveDateTime,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Kind {
    Gap,
    Overlap,
}

#[test]
fn lands_right_at_every_change_of_the_clocks() {
    let Some(folder) = std::env::var_os("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA names no folder of test data");
        return;
    };
    let path = PathBuf::from(folder).join("tz/transitions.jsonl");
    let text = std::fs::read_to_string(&path).expect("the folder has tz/transitions.jsonl");
    let (mut seen, mut lines) = (HashSet::new(), 0);
    for line in text.lines() {
        let change: Change = serde_json::from_str(line).expect(line);
        lands_right(&change, line);
        lines += 1;
        seen.insert((change.zone, change.utc));
    }
    assert_eq!((lines, seen.len()), (LINES, CHANGES), "{}", path.display());
}

#[test]
fn lands_right_at_the_changes_of_the_clocks_that_are_kept_here() {
    let lines = include_str!("changes.txt").lines();
    let lines: Vec<&str> = lines.filter(|line| !line.starts_with('#')).collect();
    assert_eq!(lines.len(), 144);
    for line in lines {
        let fields: Vec<&str> = line.split(' ').collect();
        let [zone, utc, before, after] = fields[..] else {
            panic!("{line}");
        };
        let utc = NaiveDateTime::parse_from_str(utc, "%Y-%m-%dT%H:%MZ").expect(line);
        let minutes = [before, after].map(|minutes| minutes.parse::<i64>().expect(line));
        let [local_from, local_to] = {
            let mut ends = minutes.map(|minutes| utc + Duration::minutes(minutes));
            ends.sort_unstable();
            ends
        };
        let change = Change {
            zone: zone.to_owned(),
            utc: utc.and_utc(),
            off_before: minutes[0] * 60,
            off_after: minutes[1] * 60,
            kind: if minutes[0] < minutes[1] {
                Kind::Gap
            } else {
                Kind::Overlap
            },
            local_from,
            local_to,
        };
        lands_right(&change, line);
    }
}

fn lands_right(change: &Change, line: &str) {
    let zone = zone(&change.zone);
    let wall = |at: DateTime<Utc>, offset: i64| at.naive_utc() + Duration::seconds(offset);
    let second = Duration::seconds(1);
    assert_eq!(
        zone.wall(change.utc - second),
        wall(change.utc - second, change.off_before),
        "{line}"
    );
    assert_eq!(
        zone.wall(change.utc),
        wall(change.utc, change.off_after),
        "{line}"
    );

    let always = settings(&Weekday::ALL, &[(0, 1440)], &[]);
    let always = Calendar::new(&zone, &always);
    let size = (change.local_to - change.local_from).num_seconds();
    for part in [0, 1, size / 2, size - 1, size] {
        let target = change.local_from + Duration::seconds(part);
        let expected = match change.kind {
            Kind::Gap => change.utc,
            Kind::Overlap if part == size => change.utc + Duration::seconds(size),
            Kind::Overlap => change.utc - Duration::seconds(size - part),
        };
        // The same time of day, one day and three days before.
        for days in [1, 3] {
            let after = zone.instant_of_wall(target - Duration::days(days));
            let wait = WaitDuration::new(u32::try_from(days).unwrap(), 0).unwrap();
            for business in [false, true] {
                assert_eq!(
                    next_slot(after, &wait, business, &always),
                    Some(expected),
                    "{line} {part}"
                );
            }
        }
    }
    opens_right(change, &zone, line);
}

/// A window of the change's weekday that begins where the gap or the repeated time begins.
fn opens_right(change: &Change, zone: &Zone, line: &str) {
    let (day, from) = (
        change.local_from.date(),
        change.local_from.num_seconds_from_midnight(),
    );
    let from = u16::try_from(from / 60).unwrap();
    let settings = settings(&[Weekday::of(day)], &[(from, 1440)], &[]);
    let calendar = Calendar::new(zone, &settings);
    let expected = match change.kind {
        // A gap that swallows the rest of the day leaves nothing of the window.
        Kind::Gap if change.local_to.date() > day => return,
        Kind::Gap => change.utc,
        Kind::Overlap => change.utc - (change.local_to - change.local_from),
    };
    let before = expected - Duration::hours(5);
    assert_eq!(next_open(before, &calendar), Some(expected), "{line}");
    assert_eq!(next_open(change.utc, &calendar), Some(change.utc), "{line}");
}
