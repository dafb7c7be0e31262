//! Addresses that must pass, that must not, and two labelled collections.

use proptest::prelude::*;
use serde_json::Value;

use super::*;

#[test]
fn one_key_for_all_spellings_of_an_address() {
    let key = |text| EmailAddress::parse(text).map(|address| address.key().to_owned());
    assert_eq!(key(" Ana@Example.COM "), Ok("ana@example.com".into()));
    assert_eq!(
        key("jose\u{301}@bücher.example"),
        key("JOSÉ@xn--bcher-kva.example")
    );
    assert_ne!(key("ana+news@example.com"), key("ana@example.com"));
}

#[test]
fn what_never_reaches_a_person_is_refused() {
    for text in [
        "",
        "ana",
        "@example.com",
        "ana@",
        "ana@localhost",
        "ana@b",
        "a b@example.com",
        "\"ana\"@example.com",
        "ana@[127.0.0.1]",
        "ana@127.0.0.1",
        "ana@example..com",
        "ana@example.com.",
        "a@b>\r\nRCPT TO:<x",
        "ana@exa mple.com",
        "a\0@example.com",
        ".ana@example.com",
        "ana.@example.com",
        "a..na@example.com",
        "ana@-x.com",
        "a@b@example.com",
        "a\u{202e}na@example.com",
        "ana@exam_ple.com",
    ] {
        assert!(EmailAddress::parse(text).is_err(), "{text:?}");
    }
    let long = format!("{}@example.com", "x".repeat(65));
    assert_eq!(EmailAddress::parse(&long), Err(AddressError::Length));
}

#[test]
fn links() {
    assert!(WebUrl::parse("https://www.linkedin.com/in/ana").is_ok());
    for text in [
        "linkedin.com/in/ana",
        "javascript:alert(1)",
        "ftp://x.example",
        "https://a:b@x.example",
        "https://localhost/",
    ] {
        assert!(WebUrl::parse(text).is_err(), "{text}");
    }
}

proptest! {
    #[test]
    fn any_text_is_read_or_refused(text in "\\PC{0,80}") {
        if let Ok(address) = EmailAddress::parse(&text) {
            let again = EmailAddress::parse(address.key()).expect("a key is an address");
            prop_assert_eq!(again.key(), address.key());
            prop_assert!(!address.as_str().contains(['\r', '\n', '<', '>', ' ']));
        }
    }
}

fn lines(file: &str) -> Vec<Value> {
    let Ok(corpora) = std::env::var("CADENZA_CORPORA") else {
        println!("skipped: CADENZA_CORPORA is not set");
        return Vec::new();
    };
    let path = std::path::Path::new(&corpora).join("addresses").join(file);
    let text = std::fs::read_to_string(path).expect("the collection is there");
    text.lines()
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect()
}

/// What the collection calls an error is never taken. Of what it calls valid we refuse quoted
/// names, domain literals, hosts without a dot and comments, as the module says.
#[test]
fn no_error_of_the_isemail_collection_is_taken() {
    for case in lines("isemail/expected.jsonl") {
        let text = case["address"].as_str().expect("an address");
        let category = case["category"].as_str().expect("a category");
        // The collection writes control characters as pictures of them.
        let plain: String = text
            .chars()
            .map(|c| match u32::from(c) {
                code @ 0x2400..=0x241f => char::from_u32(code - 0x2400).unwrap_or(c),
                _ => c,
            })
            .collect();
        if category.contains("ERR") && plain.trim() == plain {
            assert!(
                EmailAddress::parse(&plain).is_err(),
                "{category}: {plain:?}"
            );
        }
    }
}
