//! Wall clocks, reckoned by hand: what the tests' zones show in 2026.

use cadenza::domain::settings::{Settings, Weekday as Day, WindowClock};
use chrono::{DateTime, Datelike, Duration, NaiveDate, NaiveDateTime, Timelike, Utc, Weekday};

use crate::book::{Book, Handed};

/// The clocks that people, senders and sequences live by.
pub const ZONES: [&str; 6] = [
    "UTC",
    "Europe/Berlin",
    "America/New_York",
    "Asia/Tokyo",
    "Asia/Kathmandu",
    "Australia/Lord_Howe",
];

/// What a clock shows. Good from March 2026 to the end of the year.
pub fn wall(at: DateTime<Utc>, zone: &str) -> NaiveDateTime {
    assert_eq!(at.year(), 2026, "no clock is known for {at}");
    let instant = |text: &str| text.parse::<DateTime<Utc>>().expect("an instant");
    let summer = |from: &str, to: &str| (instant(from)..instant(to)).contains(&at);
    let minutes = match zone {
        "UTC" => 0,
        "Europe/Berlin" if summer("2026-03-29T01:00:00Z", "2026-10-25T01:00:00Z") => 120,
        "Europe/Berlin" => 60,
        "America/New_York" if summer("2026-03-08T07:00:00Z", "2026-11-01T06:00:00Z") => -240,
        "America/New_York" => -300,
        "Asia/Tokyo" => 540,
        "Asia/Kathmandu" => 345,
        "Australia/Lord_Howe" if summer("2026-04-04T15:00:00Z", "2026-10-03T15:30:00Z") => 630,
        "Australia/Lord_Howe" => 660,
        other => panic!("no clock is known for {other}"),
    };
    at.naive_utc() + Duration::minutes(minutes)
}

/// The day that a clock shows.
pub fn day(at: DateTime<Utc>, zone: &str) -> NaiveDate {
    wall(at, zone).date()
}

/// Public holidays of Germany after March 2026: Good Friday, Easter Monday, Labour Day, Ascension,
/// Whit Monday, Unity Day, Christmas.
const GERMAN: [(u32, u32); 9] = [
    (4, 3),
    (4, 6),
    (5, 1),
    (5, 14),
    (5, 25),
    (10, 3),
    (12, 25),
    (12, 26),
    (1, 1),
];

/// Whether the windows are open on a clock.
pub fn is_open(at: DateTime<Utc>, settings: &Settings, zone: &str) -> bool {
    let wall = wall(at, zone);
    let today = match wall.weekday() {
        Weekday::Mon => Day::Monday,
        Weekday::Tue => Day::Tuesday,
        Weekday::Wed => Day::Wednesday,
        Weekday::Thu => Day::Thursday,
        Weekday::Fri => Day::Friday,
        Weekday::Sat => Day::Saturday,
        Weekday::Sun => Day::Sunday,
    };
    let minute = u16::try_from(wall.hour() * 60 + wall.minute()).expect("small");
    let in_range = settings.send_windows.iter().any(|window| {
        window.day == today && window.from.minutes() <= minute && minute < window.to.minutes()
    });
    let german = settings
        .holiday_countries
        .iter()
        .any(|one| one.to_string() == "DE")
        && GERMAN.contains(&(wall.month(), wall.day()));
    in_range && !german && !settings.holidays.contains(&wall.date())
}

/// The clock by which windows are read for a person, with this sender or none.
pub fn zone_of<'a>(
    settings: &'a Settings,
    sender: Option<&'a str>,
    person: Option<&'a str>,
) -> &'a str {
    match settings.window_clock {
        WindowClock::Contact => person.unwrap_or(&settings.time_zone),
        WindowClock::Sender => sender.unwrap_or(&settings.time_zone),
        WindowClock::Sequence => &settings.time_zone,
    }
}

/// No message leaves outside its windows, nor on a holiday. Requests keep to none.
pub fn in_window(book: &Book, handed: &Handed) {
    let Some(sender) = handed.sender else { return };
    let settings = &book.edition(handed.sequence, handed.version).settings;
    let zone = zone_of(
        settings,
        Some(book.sender(sender).zone),
        handed.person_zone.as_deref(),
    );
    assert!(
        is_open(handed.at, settings, zone),
        "sent outside the window, at {} in {zone}: {handed:?}",
        wall(handed.at, zone)
    );
}
