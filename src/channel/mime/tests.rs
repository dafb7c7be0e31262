use chrono::{TimeZone, Utc};
use mail_parser::{Message, MessageParser, MimeHeaders};
use proptest::prelude::*;

use super::*;

fn email() -> Email {
    Email {
        message_id: "<0193-abc@example.com>".into(),
        date: Utc.with_ymd_and_hms(2026, 11, 23, 8, 30, 0).unwrap(),
        from_name: "Ada Lovelace".into(),
        from_address: "ada@example.com".into(),
        reply_to: None,
        opt_out_by_mail: false,
        to_name: Some("Zoë O'Neil".into()),
        to_address: "zoe@example.org".into(),
        subject: "Grüße, and a question".into(),
        text: "Hello Zoë,\nhow are you?\n.\nAda\n".into(),
        html: Some("<p>Hello Zoë,<br>how are you?</p>".into()),
        in_reply_to: None,
        references: Vec::new(),
        marker: None,
    }
}

fn parsed(bytes: &[u8]) -> Message<'_> {
    MessageParser::default().parse(bytes).expect("a message")
}

/// The names of the headers, as they stand on the wire.
fn header_names(bytes: &[u8]) -> Vec<String> {
    let text = String::from_utf8_lossy(bytes);
    let (head, _) = text.split_once("\r\n\r\n").expect("headers end");
    head.split("\r\n")
        .filter(|line| !line.starts_with([' ', '\t']))
        .map(|line| {
            line.split_once(':')
                .expect("a header has a colon")
                .0
                .to_owned()
        })
        .collect()
}

const HEADERS: [&str; 8] = [
    "Date",
    "Message-ID",
    "From",
    "To",
    "Subject",
    "X-Auto-Response-Suppress",
    "MIME-Version",
    "Content-Type",
];

/// What every message must keep to, whatever it is made of.
#[track_caller]
fn check_form(composed: &Composed, html: bool) {
    let mut expected: Vec<&str> = HEADERS.to_vec();
    if !html {
        expected.push("Content-Transfer-Encoding");
    }
    let mut names = header_names(&composed.bytes);
    names.sort();
    expected.sort_unstable();
    assert_eq!(names, expected);
    assert!(composed.bytes.is_ascii());
    let text = String::from_utf8(composed.bytes.clone()).unwrap();
    assert!(
        !text.replace("\r\n", "").contains(['\r', '\n', '\0']),
        "bare CR, LF or NUL"
    );
    let longest = text.split("\r\n").map(str::len).max().unwrap();
    assert!(longest <= 998, "a line of {longest}");
    let (head, _) = text.split_once("\r\n\r\n").unwrap();
    for word in head
        .split_whitespace()
        .filter(|word| word.starts_with("=?"))
    {
        assert!(
            word.trim_end_matches([',', '>']).len() <= 76,
            "RFC 2047 §2: {word}"
        );
    }
}

#[test]
fn a_message_reads_back_as_it_was_written() {
    let composed = compose(&email()).unwrap();
    check_form(&composed, true);
    let message = parsed(&composed.bytes);
    assert_eq!(message.subject(), Some("Grüße, and a question"));
    assert_eq!(message.message_id(), Some("0193-abc@example.com"));
    assert_eq!(message.date().unwrap().to_rfc3339(), "2026-11-23T08:30:00Z");
    let from = message.from().unwrap().first().unwrap();
    assert_eq!(
        (from.name(), from.address()),
        (Some("Ada Lovelace"), Some("ada@example.com"))
    );
    let to = message.to().unwrap().first().unwrap();
    assert_eq!(
        (to.name(), to.address()),
        (Some("Zoë O'Neil"), Some("zoe@example.org"))
    );
    assert!(message.bcc().is_none());
    assert_eq!(
        message
            .header_raw("X-Auto-Response-Suppress")
            .map(str::trim),
        Some("OOF, AutoReply")
    );
    assert_eq!(
        message.content_type().unwrap().subtype(),
        Some("alternative")
    );
    // Text first, then HTML: a reader shows the last that it understands (RFC 2046 §5.1.4).
    let kinds: Vec<_> = message
        .parts
        .iter()
        .filter_map(|part| part.content_type()?.subtype())
        .collect();
    assert_eq!(kinds, ["alternative", "plain", "html"]);
    let text = message.body_text(0).unwrap().replace("\r\n", "\n");
    assert_eq!(text.trim_end(), email().text.trim_end());
    assert_eq!(
        message.body_html(0).unwrap().trim_end(),
        email().html.unwrap()
    );
    assert_eq!(composed.envelope_from.to_string(), "ada@example.com");
    assert_eq!(composed.envelope_to.to_string(), "zoe@example.org");
}

#[test]
fn the_same_email_gives_the_same_bytes() {
    assert_eq!(compose(&email()), compose(&email()));
}

#[test]
fn text_alone_has_one_part() {
    let composed = compose(&Email {
        html: None,
        to_name: None,
        ..email()
    })
    .unwrap();
    check_form(&composed, false);
    let message = parsed(&composed.bytes);
    assert_eq!(message.content_type().unwrap().subtype(), Some("plain"));
    assert_eq!(
        message.content_type().unwrap().attribute("charset"),
        Some("utf-8")
    );
    assert_eq!(message.to().unwrap().first().unwrap().name(), None);
}

#[test]
fn a_reply_names_its_thread() {
    let ids: Vec<String> = (0..50)
        .map(|n| format!("<{n}.{}@example.com>", "x".repeat(40)))
        .collect();
    let last = ids.last().cloned();
    let reply = Email {
        in_reply_to: last.clone(),
        references: ids.clone(),
        ..email()
    };
    let composed = compose(&reply).unwrap();
    let message = parsed(&composed.bytes);
    let bare = |id: &String| id.trim_matches(['<', '>']).to_owned();
    assert_eq!(
        message.in_reply_to().as_text(),
        last.as_ref().map(bare).as_deref()
    );
    let references = message.references().as_text_list().unwrap();
    assert_eq!(references.len(), REFERENCES_MAX);
    assert_eq!(
        references.first().map(|id| id.to_string()),
        ids.first().map(bare)
    );
    let tail: Vec<String> = ids.iter().skip(50 - REFERENCES_MAX + 1).map(bare).collect();
    assert_eq!(references[1..], tail);
    let text = String::from_utf8(composed.bytes).unwrap();
    assert!(
        text.split("\r\n").all(|line| line.len() <= 78),
        "folded (RFC 5322 §2.1.1)"
    );
}

#[test]
fn a_malformed_thread_is_left_out() {
    let reply = Email {
        in_reply_to: Some("<a@b>\r\nBcc: x@example.com".into()),
        references: vec![
            "no brackets".into(),
            "<ok@example.com>".into(),
            "<a b@c>".into(),
        ],
        ..email()
    };
    let composed = compose(&reply).unwrap();
    let names = header_names(&composed.bytes);
    assert!(
        !names
            .iter()
            .any(|name| name == "In-Reply-To" || name == "Bcc")
    );
    let message = parsed(&composed.bytes);
    assert_eq!(message.references().as_text(), Some("ok@example.com"));
}

#[test]
fn an_international_domain_becomes_ascii_and_an_international_name_does_not() {
    let composed = compose(&Email {
        to_address: "zoe@Bücher.example".into(),
        ..email()
    })
    .unwrap();
    assert_eq!(
        composed.envelope_to.to_string(),
        "zoe@xn--bcher-kva.example"
    );
    check_form(&composed, true);
    let composed = compose(&Email {
        to_address: "zoë@example.org".into(),
        ..email()
    })
    .unwrap();
    assert_eq!(composed.envelope_to.to_string(), "zoë@example.org");
    assert!(!composed.bytes.is_ascii(), "needs SMTPUTF8");
}

#[test]
fn no_address_can_say_more_than_an_address() {
    for bad in [
        "",
        "@",
        "a",
        "a@",
        "@example.com",
        "a@b>\r\nRCPT TO:<x",
        "a@example.com\r\n",
        "a\n@example.com",
        "a b@example.com",
        "\"a b\"@example.com",
        "a@[127.0.0.1]",
        "a@127.0.0.1",
        "a..b@example.com",
        ".a@example.com",
        "a.@example.com",
        "a@example..com",
        "a@-example.com",
        "a@exa mple.com",
        "a@example.com>",
        "<a@example.com>",
        "a@example.com,b@example.com",
        "a\0@example.com",
        "a@exa\u{202e}mple.com",
        "a\u{202e}@example.com",
        "a@b@example.com",
        "a@example.com/..",
        "a(c)@example.com",
        "a;b@example.com",
    ] {
        let error = compose(&Email {
            to_address: bad.into(),
            ..email()
        })
        .unwrap_err();
        assert_eq!(error, ComposeError::Recipient, "{bad:?}");
        let error = compose(&Email {
            from_address: bad.into(),
            ..email()
        })
        .unwrap_err();
        assert_eq!(error, ComposeError::Sender, "{bad:?}");
    }
    let long = format!("{}@example.com", "a".repeat(65));
    assert!(
        compose(&Email {
            to_address: long,
            ..email()
        })
        .is_err()
    );
    for good in [
        "a@example.com",
        "a.b+c@example.co.uk",
        "o'neil@example.com",
        "a_b-c@EXAMPLE.com",
    ] {
        assert!(
            compose(&Email {
                to_address: good.into(),
                ..email()
            })
            .is_ok(),
            "{good:?}"
        );
    }
}

#[test]
fn our_own_message_ids_must_be_valid() {
    for bad in [
        "",
        "a@b",
        "<a>",
        "<a@b",
        "<a@b@c>",
        "<@b>",
        "<a@>",
        "<a b@c>",
        "<a@b>\r\nX: y",
        "<ä@b>",
    ] {
        let error = compose(&Email {
            message_id: bad.into(),
            ..email()
        })
        .unwrap_err();
        assert_eq!(error, ComposeError::MessageId, "{bad:?}");
    }
}

#[test]
fn errors_of_composing_are_outcomes() {
    use crate::domain::outcome::ErrorCode;
    let code = |error: ComposeError| error.outcome().error_code();
    assert_eq!(code(ComposeError::Recipient), Some(ErrorCode::InvalidEmail));
    assert_eq!(code(ComposeError::Message), Some(ErrorCode::RenderFailed));
    assert_eq!(ComposeError::Sender.outcome().scope(), Some(Scope::Sender));
    assert!(
        ComposeError::Recipient
            .outcome()
            .explain()
            .contains("correct it")
    );
}

#[test]
fn a_part_cannot_close_the_message() {
    let honest = compose(&email()).unwrap();
    let text = String::from_utf8(honest.bytes).unwrap();
    let (_, rest) = text.split_once("boundary=\"").unwrap();
    let (boundary, _) = rest.split_once('"').unwrap();
    let forged = format!(
        "hi\r\n--{boundary}\r\nContent-Type: text/html\r\n\r\nforged\r\n--{boundary}--\r\n"
    );
    let composed = compose(&Email {
        text: forged,
        ..email()
    })
    .unwrap();
    let message = parsed(&composed.bytes);
    assert_eq!(message.parts.len(), 3);
    assert!(message.body_text(0).unwrap().contains("forged"));
}

/// Strings that break programs; the corpus is used too where there is one.
fn naughty() -> Vec<String> {
    let own = [
        "a\r\nBcc: evil@example.com",
        "a\nb",
        "a\rb",
        "\0",
        "a\0b",
        "\u{2028}\u{2029}",
        "\u{202e}gpj.exe",
        "=?utf-8?q?=0D=0ABcc:_evil@example.com?=",
        "=?",
        "=\u{200b}?utf-8?q?x?=",
        "\"",
        "\\",
        "\"<evil@example.com>\"",
        "a,b",
        "a;b",
        "(comment)",
        "<>",
        "@",
        "a: b",
        ":",
        "...",
        ".",
        "  a  ",
        "\t",
        "ＦＵＬＬ",
        "👩‍👩‍👧‍👦",
        "e\u{301}",
        "שלום",
        "مرحبا",
        "\u{feff}x",
        "\u{1b}[31mred",
        "<script>alert(1)</script>",
        "' OR 1=1 --",
    ];
    let mut all: Vec<String> = own.into_iter().map(str::to_owned).collect();
    all.extend([1, 75, 76, 77, 78, 998, 999, 5000].map(|n| "x".repeat(n)));
    all.extend([1, 75, 200, 998, 5000].map(|n| "é".repeat(n)));
    all.push("word ".repeat(1000));
    if let Ok(corpora) = std::env::var("CADENZA_CORPORA") {
        let file = format!("{corpora}/strings/blns/blns.json");
        let text = std::fs::read_to_string(&file).expect("the corpus has the strings");
        all.extend(serde_json::from_str::<Vec<String>>(&text).expect("a list of strings"));
    }
    all
}

#[test]
fn no_text_adds_a_header_or_is_lost() {
    for text in naughty() {
        let composed = compose(&Email {
            from_name: text.clone(),
            to_name: Some(text.clone()),
            subject: text.clone(),
            text: text.clone(),
            html: Some(text.clone()),
            ..email()
        })
        .unwrap_or_else(|error| panic!("{text:?}: {error}"));
        check_form(&composed, true);
        let message = parsed(&composed.bytes);
        let name = clean_line(&text, NAME_CHARS_MAX);
        let from = message.from().and_then(|from| from.first()).unwrap();
        assert_eq!(from.address(), Some("ada@example.com"), "{text:?}");
        assert_eq!(from.name().unwrap_or_default(), name, "{text:?}");
        assert_eq!(message.from().unwrap().iter().count(), 1, "{text:?}");
        assert_eq!(message.to().unwrap().iter().count(), 1, "{text:?}");
        let subject = clean_line(&text, SUBJECT_CHARS_MAX);
        assert_eq!(message.subject().unwrap_or_default(), subject, "{text:?}");
        let body = message.body_text(0).unwrap_or_default();
        assert_eq!(body.trim_end(), clean_body(&text).trim_end(), "{text:?}");
    }
}

#[test]
fn names_are_shown_as_what_they_are() {
    let clean = |text| clean_line(text, 20);
    assert_eq!(clean("  Ada \t\r\n Lovelace "), "Ada Lovelace");
    assert_eq!(clean("\u{202e}gpj.exe"), "gpj.exe");
    assert_eq!(clean("=?utf-8?q?x?="), "= ?utf-8?q?x?=");
    assert_eq!(clean("=\u{200b}?utf-8"), "= ?utf-8");
    assert_eq!(clean(&"x".repeat(50)).len(), 20);
    assert_eq!(
        clean_body("a\nb\r\nc\rd\0e\n\r"),
        "a\r\nb\r\nc\r\nde\r\n\r\n"
    );
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn whatever_is_said_arrives(
        name in ".{0,300}",
        subject in ".{0,600}|[a-zA-Z0-9 =?_.,:;<>\"@-]{0,600}",
        text in "(?s).{0,2000}|[a-z=. \r\n]{0,2000}",
        html in prop::option::of("(?s).{0,2000}"),
    ) {
        let composed = compose(&Email {
            from_name: name.clone(),
            to_name: Some(name.clone()),
            subject: subject.clone(),
            text: text.clone(),
            html: html.clone(),
            ..email()
        });
        let composed = composed.unwrap();
        check_form(&composed, html.is_some());
        let message = parsed(&composed.bytes);
        let from = message.from().and_then(|from| from.first()).unwrap();
        prop_assert_eq!(from.address(), Some("ada@example.com"));
        prop_assert_eq!(from.name().unwrap_or_default(), clean_line(&name, NAME_CHARS_MAX));
        prop_assert_eq!(
            message.subject().unwrap_or_default(),
            clean_line(&subject, SUBJECT_CHARS_MAX)
        );
        let body = message.body_text(0).unwrap_or_default();
        let expected = clean_body(&text);
        prop_assert_eq!(body.trim_end(), expected.trim_end());
    }
}
