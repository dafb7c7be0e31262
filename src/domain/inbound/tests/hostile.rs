//! Mails that nobody sends who means well.

use proptest::prelude::*;

use super::*;

#[test]
fn parts_within_parts_are_followed_to_a_bound() {
    let message = "Content-Type: message/rfc822\n\n".repeat(20_000);
    let multipart = (0..5_000).fold(String::new(), |mut raw, depth| {
        let head = format!("Content-Type: multipart/mixed; boundary=b{depth}\n\n--b{depth}\n");
        raw.push_str(&head);
        raw
    });
    let headers = "X-Header: value\n".repeat(200_000);
    let markup = format!("Content-Type: text/html\n\n{}", "<div><b>".repeat(60_000));
    let brackets = format!("Content-Type: text/html\n\n{}", "<".repeat(400_000));
    let references = format!("References: {}\n\nHello", "<a@b> ".repeat(100_000));
    let rules = format!(
        "From: a@example.com\n\n{}",
        "On 3 Mar 2026 10:00 a@b.c wrote:\n> x\ny\n".repeat(20_000)
    );
    for raw in [
        message, multipart, headers, markup, brackets, references, rules,
    ] {
        let mail = read(raw.as_bytes());
        assert!(mail.text.chars().count() <= TEXT_MAX);
        assert!(mail.answers.len() <= 200);
    }
}

#[test]
fn a_report_of_very_many_recipients_is_cut() {
    let recipients = (0..2_000).fold(String::new(), |mut text, number| {
        let recipient = format!(
            "Final-Recipient: rfc822; a{number}@example.com\nAction: failed\nStatus: 5.1.1\n\n"
        );
        text.push_str(&recipient);
        text
    });
    let raw = format!(
        "From: MAILER-DAEMON@example.net\nContent-Type: multipart/report; report-type=delivery-status; boundary=b\n\n\
        --b\nContent-Type: message/delivery-status\n\n{recipients}\n--b--\n"
    );
    match read(raw.as_bytes()).class {
        Class::Bounce(failures) => assert_eq!(failures.len(), REPORTS_MAX),
        class => panic!("no bounce: {class:?}"),
    }
}

/// Pieces of which mails of every kind are made, right and wrong.
const PIECES: &[&str] = &[
    "From: MAILER-DAEMON@example.net\n",
    "From: \"Ana\" <ana@example.com>\n",
    "Subject: Undelivered Mail\n",
    "Subject: =?utf-8?q?Automatic_reply=3A?=\n",
    "Date: Tue, 3 Mar 2026 10:00:00 +0100\n",
    "Date: Tue, 99 Mar 65535 99:99:99 +9999\n",
    "Return-Path: <>\n",
    "Content-Type: multipart/report; report-type=delivery-status; boundary=b\n",
    "Content-Type: multipart/digest; boundary=b\n",
    "Content-Type: message/delivery-status\n",
    "Content-Type: message/feedback-report\n",
    "Content-Type: message/rfc822\n",
    "Content-Type: text/html; charset=utf-16\n",
    "Content-Transfer-Encoding: base64\n",
    "\n",
    "\n\n--b\n",
    "--b--\n",
    "Final-Recipient: rfc822; ana@example.com\n",
    "Action: failed\n",
    "Status: 5.1.1\n",
    "Diagnostic-Code: smtp; 550 5.1.1 user unknown\n",
    "Feedback-Type: abuse\n",
    "<ana@example.com>: 550 user unknown\n",
    "On Tue, 3 Mar 2026 at 10:00, Ana <ana@example.com> wrote:\n",
    "> quoted\n",
    "From: us\nSent: now\nSubject: Hello\n",
    "-----Original Message-----\n",
    "Back on 31.12.2026 or 2026-02-31, until 3月99日.\n",
    "{\"notificationType\":\"Bounce\",\"bounce\":{\"bouncedRecipients\":[{}]}}\n",
    "<blockquote><div class=\"gmail_quote\">&#x110000;&#99999999999;<!--\n",
    "\u{1F600}ß\u{301}\u{202e}",
    "-- \n",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn any_bytes_are_read(raw in proptest::collection::vec(any::<u8>(), 0..2_000)) {
        let mail = read(&raw);
        prop_assert!(mail.text.chars().count() <= TEXT_MAX);
    }

    #[test]
    fn any_mixture_of_pieces_is_read(
        pieces in proptest::collection::vec(proptest::sample::select(PIECES), 0..40),
        cut in any::<proptest::sample::Index>(),
        byte in any::<u8>(),
    ) {
        let mut raw = pieces.concat().into_bytes();
        if !raw.is_empty() {
            let at = cut.index(raw.len());
            raw[at] = byte;
        }
        let mail = read(&raw);
        prop_assert!(mail.text.chars().count() <= TEXT_MAX);
        prop_assert!(mail.subject.chars().count() <= MESSAGE_MAX);
        match mail.class {
            Class::Bounce(failures) => {
                prop_assert!(!failures.is_empty() && failures.len() <= REPORTS_MAX);
                for failure in failures {
                    prop_assert!(failure.message.chars().count() <= MESSAGE_MAX);
                }
            }
            Class::Complaint(concerns) => prop_assert!(!concerns.is_empty()),
            _ => {}
        }
    }
}
