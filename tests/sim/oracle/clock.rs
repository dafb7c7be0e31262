//! Wall clocks, reckoned by hand: what the tests' zones show in 2026.

use cadenza::domain::duration::WaitDuration;
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

/// When a span is over that began at an instant: so many days later the clock shows the same time of day,
/// the first of two or the end of a gap, and the hours come after that. All clocks change at a whole half
/// hour.
pub fn later(from: DateTime<Utc>, span: WaitDuration, zone: &str) -> DateTime<Utc> {
    let rest = Duration::seconds(i64::try_from(span.seconds()).expect("small"));
    if span.days() == 0 {
        return from + rest;
    }
    let target = wall(from, zone) + Duration::days(span.days().into());
    let hour = target
        .date()
        .and_hms_opt(target.hour(), 0, 0)
        .expect("an hour");
    let mut block = hour.and_utc() - Duration::hours(15);
    let half = Duration::minutes(30);
    while wall(block, zone) + half <= target {
        block += half;
    }
    block + (target - wall(block, zone)).max(Duration::zero()) + rest
}

/// When it may be over where it is not known whose clock it is counted on.
pub fn later_by_any(
    from: DateTime<Utc>,
    span: WaitDuration,
    settings: &Settings,
) -> Vec<DateTime<Utc>> {
    let own = settings.time_zone.as_str();
    let zones = match settings.window_clock {
        WindowClock::Sequence => vec![own],
        WindowClock::Contact | WindowClock::Sender => [&ZONES[..], &[own]].concat(),
    };
    let ends = zones.into_iter().map(|zone| later(from, span, zone));
    ends.collect()
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

/// Those of the United States: Memorial Day, Juneteenth, Independence Day and the day before, as it is a
/// Saturday, Labor Day, Columbus Day, Veterans Day, Thanksgiving, Christmas.
const AMERICAN: [(u32, u32); 9] = [
    (5, 25),
    (6, 19),
    (7, 3),
    (7, 4),
    (9, 7),
    (10, 12),
    (11, 11),
    (11, 26),
    (12, 25),
];

/// Those of Japan: the equinoxes, Showa Day, Constitution Day, which is a Sunday and so kept on the
/// Wednesday, Greenery Day, Children's Day, Marine Day, Mountain Day, Respect for the Aged Day, the day
/// between that and the equinox, Sports Day, Culture Day, Labour Thanksgiving Day.
const JAPANESE: [(u32, u32); 14] = [
    (3, 20),
    (4, 29),
    (5, 3),
    (5, 4),
    (5, 5),
    (5, 6),
    (7, 20),
    (8, 11),
    (9, 21),
    (9, 22),
    (9, 23),
    (10, 12),
    (11, 3),
    (11, 23),
];

fn is_holiday(country: &str, day: NaiveDate) -> bool {
    let days: &[(u32, u32)] = match country {
        "DE" => &GERMAN,
        "US" => &AMERICAN,
        "JP" => &JAPANESE,
        other => panic!("no holidays of {other} are known"),
    };
    days.contains(&(day.month(), day.day()))
}

/// The country of a clock; none of one that is no country's. An error where its holidays are not known
/// here.
pub fn country_of(zone: &str) -> Result<Option<&'static str>, String> {
    match zone {
        "UTC" => Ok(None),
        "Europe/Berlin" => Ok(Some("DE")),
        "America/New_York" => Ok(Some("US")),
        "Asia/Tokyo" => Ok(Some("JP")),
        other => Err(format!("no country is known of {other}")),
    }
}

/// Whether the windows are open on a clock for somebody with this clock and in this country: who has no
/// country lives in that of the clock.
pub fn is_open(
    at: DateTime<Utc>,
    settings: &Settings,
    zone: &str,
    (own_zone, own_country): (Option<&str>, Option<&str>),
) -> bool {
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
    let of_sequence = settings.holiday_countries.iter().map(ToString::to_string);
    let of_contact = match (settings.contact_holidays, own_country, own_zone) {
        (false, ..) | (true, None, None) => None,
        (true, Some(country), _) => Some(country.to_owned()),
        (true, None, Some(zone)) => country_of(zone).expect("known").map(str::to_owned),
    };
    let mut countries = of_sequence.chain(of_contact);
    let is_holiday = countries.any(|country| is_holiday(&country, wall.date()));
    in_range && !is_holiday && !settings.holidays.contains(&wall.date())
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
    let whereabouts = (
        handed.person_zone.as_deref(),
        handed.person_country.as_deref(),
    );
    let zone = zone_of(
        settings,
        Some(book.sender(sender).zone),
        handed.person_zone.as_deref(),
    );
    assert!(
        is_open(handed.at, settings, zone, whereabouts),
        "sent outside the window, at {} in {zone}: {handed:?}",
        wall(handed.at, zone)
    );
}

/// Whether a message left within three days after hours that were closed for nothing but a holiday of its
/// contact's country.
pub fn was_holiday(book: &Book, handed: &Handed) -> bool {
    let settings = &book.edition(handed.sequence, handed.version).settings;
    let (Some(sender), true) = (handed.sender, settings.contact_holidays) else {
        return false;
    };
    let (own_zone, own_country) = (
        handed.person_zone.as_deref(),
        handed.person_country.as_deref(),
    );
    let zone = zone_of(settings, Some(book.sender(sender).zone), own_zone);
    let none = (None, None);
    let mut hours = (1..72).map(|hours| handed.at - Duration::hours(hours));
    hours.any(|at| {
        is_open(at, settings, zone, none) && !is_open(at, settings, zone, (own_zone, own_country))
    })
}
