mod automatic;
mod bounces;
mod complaints;
mod hostile;
mod opt_out;
mod replies;

use super::*;

/// A mail with these lines of a head and this text.
fn mail(head: &str, text: &str) -> Mail {
    read(raw(head, text).as_bytes())
}

fn raw(head: &str, text: &str) -> String {
    format!("Content-Type: text/plain; charset=utf-8\n{head}\n\n{text}")
}

#[test]
fn a_mail_says_what_it_answers_and_whom_it_is_from() {
    let mail = read(
        b"From: Ana Garc\xc3\xada <ana@example.com>\r\n\
        To: \"Bob\" <bob@example.org>, bob@example.org\r\n\
        Delivered-To: bob+r@example.org\r\n\
        Subject: =?utf-8?q?Re=3A_Hall=C3=B3?=\r\n\
        Date: Tue, 3 Mar 2026 10:00:00 +0200\r\n\
        Message-ID: <three@example.com>\r\n\
        In-Reply-To: <two@example.org>\r\n\
        References: <one@example.org>\r\n <two@example.org>\r\n\
        \r\n\
        Yes, gladly.\r\n",
    );
    assert_eq!(mail.message_id.as_deref(), Some("<three@example.com>"));
    assert_eq!(mail.from.as_deref(), Some("ana@example.com"));
    assert_eq!(mail.recipients, ["bob@example.org", "bob+r@example.org"]);
    assert_eq!(mail.answers, ["<two@example.org>", "<one@example.org>"]);
    assert_eq!(mail.subject, "Re: Halló");
    assert_eq!(
        mail.date.map(|date| date.to_rfc3339()).as_deref(),
        Some("2026-03-03T08:00:00+00:00")
    );
    assert_eq!(mail.text, "Yes, gladly.");
    assert_eq!(mail.class, Class::Reply);
}

#[test]
fn what_is_no_mail_is_read_all_the_same() {
    for raw in [&b""[..], b"\r\n", b"\0\xff\xfe", b"no header here"] {
        assert_eq!(read(raw).message_id, None);
    }
}
