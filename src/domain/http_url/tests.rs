//! Addresses that must pass, that must not, and the web platform's own: `attack/url` in the folder
//! that `CADENZA_CORPORA` names.

use std::path::PathBuf;

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn an_address_is_read_into_what_a_request_needs() {
    let url = HttpUrl::parse(" HTTPS://Bücher.example:8443/a b?c=d#e ").expect("an address");
    assert_eq!(url.as_str(), "https://xn--bcher-kva.example:8443/a%20b?c=d");
    assert_eq!(url.authority(), "xn--bcher-kva.example:8443");
    assert_eq!((url.port(), url.target()), (8443, "/a%20b?c=d"));
    let url = HttpUrl::parse("http://[::1]").expect("an address");
    assert_eq!(
        (url.authority(), url.port(), url.target()),
        ("[::1]", 80, "/")
    );
    assert!(!url.is_https());
}

#[test]
fn an_address_of_a_machine_has_one_form() {
    for text in [
        "http://0x7f000001/",
        "http://127.1/",
        "http://2130706433/",
        "http://0177.0.0.1",
    ] {
        let url = HttpUrl::parse(text).expect(text);
        assert_eq!(
            url.host(),
            Some(Host::Ipv4([127, 0, 0, 1].into())),
            "{text}"
        );
    }
}

#[test]
fn what_no_request_can_be_sent_to_is_refused() {
    for (text, expected) in [
        ("", HttpUrlError::Shape),
        ("example.com/hook", HttpUrlError::Shape),
        ("https://", HttpUrlError::Shape),
        ("https://a b/", HttpUrlError::Shape),
        ("ftp://example.com", HttpUrlError::Scheme),
        ("javascript:alert(1)", HttpUrlError::Scheme),
        ("file:///etc/passwd", HttpUrlError::Scheme),
        ("https://ana:secret@example.com", HttpUrlError::Login),
        ("https://ana@example.com", HttpUrlError::Login),
    ] {
        assert_eq!(HttpUrl::parse(text), Err(expected), "{text}");
    }
    let long = format!("https://example.com/{}", "a".repeat(BYTES_MAX));
    assert_eq!(HttpUrl::parse(&long), Err(HttpUrlError::Length));
}

proptest! {
    #[test]
    fn nothing_in_an_address_ends_a_line(text in "https?://[ -~\r\n\t]{0,30}") {
        if let Ok(url) = HttpUrl::parse(&text) {
            let parts = [url.authority(), url.target()].concat();
            prop_assert!(!parts.contains([' ', '\r', '\n', '\t', '\0']), "{parts:?}");
            prop_assert!(url.target().starts_with('/'));
        }
    }
}

#[test]
fn agrees_with_browsers() {
    let Some(folder) = std::env::var_os("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA names no folder of test data");
        return;
    };
    let path = PathBuf::from(folder).join("attack/url/urltestdata.json");
    let text = std::fs::read_to_string(path).expect("the folder has attack/url/urltestdata.json");
    let cases: Vec<Value> = serde_json::from_str(&text).expect("JSON");
    let (mut failures, mut good) = (0, 0);
    for case in &cases {
        let field = |name: &str| case[name].as_str().unwrap_or("");
        if case["failure"] == true {
            assert!(HttpUrl::parse(field("input")).is_err(), "{case}");
            failures += 1;
        } else if matches!(field("protocol"), "http:" | "https:") && field("username").is_empty() {
            let url = HttpUrl::parse(field("href"));
            if !field("password").is_empty() {
                assert_eq!(url, Err(HttpUrlError::Login), "{case}");
                continue;
            }
            let url = url.unwrap_or_else(|error| panic!("{error}: {case}"));
            let target = [field("pathname"), field("search")].concat();
            assert_eq!(url.authority(), field("host"), "{case}");
            // An empty query is in the address and not in its `search`.
            let found = url.target();
            let found = found.strip_suffix('?').unwrap_or(found);
            assert_eq!(found, target.strip_suffix('?').unwrap_or(&target), "{case}");
            good += 1;
        }
    }
    println!("{failures} addresses are refused, {good} are read");
    assert!(failures > 200 && good > 200, "{failures} {good}");
}
