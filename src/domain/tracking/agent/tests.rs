use super::*;

/// What people read mail with, as it says of itself.
const PEOPLE: [&str; 15] = [
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36 Edg/130.0.0.0",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko)",
    "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
    "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148",
    "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (Linux; Android 14; SM-S911B Build/UP1A.231005.007; wv) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/130.0.0.0 Mobile Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:132.0) Gecko/20100101 Firefox/132.0",
    "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:128.0) Gecko/20100101 Thunderbird/128.4.0",
    "Mozilla/4.0 (compatible; ms-office; MSOffice rmj)",
    "Microsoft Office/16.0 (Windows NT 10.0; Microsoft Outlook 16.0.18129; Pro)",
    "Outlook-iOS/723.0.0 (iPhone)",
    "Mozilla/5.0 (Windows NT 5.1; rv:11.0) Gecko Firefox/11.0 (via ggpht.com GoogleImageProxy)",
    "YahooMailProxy; https://help.yahoo.com/kb/yahoo-mail-proxy-SLN28749.html",
];

#[test]
fn what_people_read_mail_with_is_known() {
    for agent in PEOPLE {
        assert_eq!(Agent::of(agent), Agent::Person, "{agent}");
    }
    assert_eq!(Agent::of(" Mozilla/5.0"), Agent::PrivacyProxy);
}

#[test]
fn programs_are_known_by_what_else_they_say() {
    for agent in [
        "",
        "-",
        "curl/8.5.0",
        "python-requests/2.32",
        "Mozilla/5.0 (compatible; Somebot/1.0)",
        "Mozilla/5.0 (X11; Linux x86_64; Watcher) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/130.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) HeadlessChrome/130.0.0.0 Safari/537.36",
        "Mozilla/5.0 (X11; Linux x86_64",
        "Mozilla/5.0 )(",
    ] {
        assert_eq!(Agent::of(agent), Agent::Robot, "{agent}");
    }
    let long = format!("{} {}", PEOPLE[0], "Mobile ".repeat(200));
    assert_eq!(Agent::of(&long), Agent::Robot);
}

/// Of the robots of the test data nearly all are kept apart; those that are not are proxies that fetch an
/// image when a person opens the message.
#[test]
fn robots_of_the_test_data_are_kept_apart() {
    let Ok(corpora) = std::env::var("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA is not set");
        return;
    };
    let file = format!("{corpora}/bots/crawler-user-agents.json");
    let text = std::fs::read_to_string(file).expect("the list is there");
    let list: Vec<serde_json::Value> = serde_json::from_str(&text).expect("a list");
    let instances = list
        .iter()
        .filter_map(|entry| entry["instances"].as_array());
    let agents: Vec<&str> = instances
        .flatten()
        .filter_map(|text| text.as_str())
        .collect();
    let missed: Vec<&&str> = (agents.iter())
        .filter(|agent| Agent::of(agent) == Agent::Person)
        .collect();
    println!("{} robots, taken for people: {missed:#?}", agents.len());
    assert!(agents.len() > 2_000);
    assert!(missed.len() * 100 <= agents.len(), "{missed:#?}");
}
