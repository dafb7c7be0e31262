use super::*;

fn window(day: Weekday, from: &str, to: &str) -> SendWindow {
    SendWindow {
        day,
        from: from.parse().unwrap(),
        to: to.parse().unwrap(),
    }
}

fn paths(settings: &Settings) -> Vec<String> {
    let known = |name: &str| name == "UTC" || name == "Europe/Lisbon";
    settings
        .check(known)
        .into_iter()
        .map(|problem| problem.path.join("."))
        .collect()
}

#[test]
fn the_default_is_sound_and_means_office_hours() {
    let settings = Settings::default();
    assert_eq!(paths(&settings), Vec::<String>::new());
    assert_eq!(settings.send_windows.len(), 5);
    assert_eq!(
        settings.send_windows[4],
        window(Weekday::Friday, "09:00", "17:00")
    );
}

#[test]
fn is_stored_in_the_words_of_the_api() {
    let settings = Settings {
        time_zone: "Europe/Lisbon".into(),
        window_clock: WindowClock::Sender,
        send_windows: vec![window(Weekday::Sunday, "22:30", "24:00")],
        holidays: [NaiveDate::from_ymd_opt(2026, 12, 25).unwrap()].into(),
        holiday_countries: ["PT", "ES"].map(|code| code.parse().unwrap()).into(),
        contact_holidays: true,
        max_new_leads_per_day: Some(7),
        max_sends_per_day: None,
        max_lateness: Some("P2D".parse().unwrap()),
        stop_on_reply: false,
        stop_company_on_reply: true,
        auto_reply_hold: Some("P7D".parse().unwrap()),
        stop_on_opportunity_won: false,
    };
    let json = r#"{"timeZone":"Europe/Lisbon","windowClock":"SENDER","sendWindows":[{"day":"SUNDAY","from":"22:30","to":"24:00"}],"holidays":["2026-12-25"],"holidayCountries":["ES","PT"],"contactHolidays":true,"maxNewLeadsPerDay":7,"maxSendsPerDay":null,"maxLateness":"P2D","stopOnReply":false,"stopCompanyOnReply":true,"autoReplyHold":"P7D","stopOnOpportunityWon":false}"#;
    assert_eq!(serde_json::to_string(&settings).unwrap(), json);
    assert_eq!(serde_json::from_str::<Settings>(json).unwrap(), settings);
    assert_eq!(
        serde_json::from_str::<Settings>("{}").unwrap(),
        Settings::default()
    );
}

#[test]
fn tells_all_problems_at_once() {
    use Weekday::{Monday, Tuesday};
    let settings = Settings {
        time_zone: "Mars/Olympus".into(),
        send_windows: vec![
            window(Monday, "09:00", "12:00"),
            window(Monday, "12:00", "13:00"),
            window(Tuesday, "09:00", "12:00"),
            window(Monday, "11:59", "12:00"),
            window(Monday, "08:00", "08:00"),
            window(Monday, "24:00", "24:00"),
            window(Tuesday, "17:00", "09:00"),
            window(Tuesday, "08:00", "24:00"),
        ],
        max_new_leads_per_day: Some(0),
        max_sends_per_day: Some(0),
        max_lateness: Some(WaitDuration::ZERO),
        auto_reply_hold: Some(WaitDuration::ZERO),
        ..Settings::default()
    };
    let expected = [
        "timeZone",
        "sendWindows.3",
        "sendWindows.4.to",
        "sendWindows.5.to",
        "sendWindows.6.to",
        "sendWindows.7",
        "maxNewLeadsPerDay",
        "maxSendsPerDay",
        "maxLateness",
        "autoReplyHold",
    ];
    assert_eq!(paths(&settings), expected);
}

#[test]
fn refuses_lists_without_end() {
    let first = NaiveDate::from_ymd_opt(2026, 1, 1).unwrap();
    let settings = Settings {
        send_windows: vec![window(Weekday::Monday, "09:00", "10:00"); WINDOWS_MAX + 1],
        holidays: first.iter_days().take(HOLIDAYS_MAX + 1).collect(),
        ..Settings::default()
    };
    assert_eq!(paths(&settings), ["sendWindows", "holidays"]);
    let countries = |number| Settings {
        holiday_countries: crate::domain::holidays::countries()
            .filter(|country| holidays::known_until(*country).is_some())
            .take(number)
            .collect(),
        ..Settings::default()
    };
    assert_eq!(paths(&countries(HOLIDAY_COUNTRIES_MAX)), [""; 0]);
    assert_eq!(
        paths(&countries(HOLIDAY_COUNTRIES_MAX + 1)),
        ["holidayCountries"]
    );
}

#[test]
fn a_country_without_known_holidays_is_refused() {
    let of = |codes: &[&str]| Settings {
        holiday_countries: codes.iter().map(|code| code.parse().unwrap()).collect(),
        ..Settings::default()
    };
    let problems = of(&["PT", "UA"]).check(|_| true);
    assert_eq!(problems.len(), 1);
    assert!(problems[0].message.contains("UA"), "{problems:?}");
    let known = |codes: &[&str]| of(codes).holidays_known_until().map(|day| day.to_string());
    assert_eq!(known(&[]), None);
    assert_eq!(known(&["PT", "US"]).as_deref(), Some("2035-12-31"));
    assert_eq!(known(&["PT", "LK"]).as_deref(), Some("2026-12-31"));
}

#[test]
fn reads_every_minute_of_the_day_and_nothing_else() {
    for minutes in 0..=1440 {
        let time = LocalTime::from_minutes(minutes).unwrap();
        assert_eq!(time.to_string().parse(), Ok(time));
    }
    for text in [
        "24:01",
        "25:00",
        "09:60",
        "9:00",
        "09:0",
        "09.00",
        "",
        "+9:00",
        "09:00:00",
        "０９:00",
    ] {
        assert!(text.parse::<LocalTime>().is_err(), "{text}");
    }
    assert!(LocalTime::from_minutes(1441).is_err());
}
