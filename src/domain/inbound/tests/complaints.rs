//! Complaints, and reports that look like some.

use super::*;

fn feedback(fields: &str, original: &str) -> Class {
    let raw = format!(
        "From: feedback@provider.example\n\
        Subject: FW: Hello\n\
        Content-Type: multipart/report; report-type=feedback-report; boundary=b\n\
        \n\
        --b\nContent-Type: text/plain\n\nThis is a report of abuse.\n\
        --b\nContent-Type: message/feedback-report\n\n{fields}\n\
        --b\nContent-Type: message/rfc822\n\n{original}\n\nHello\n\
        --b--\n"
    );
    read(raw.as_bytes()).class
}

#[test]
fn a_complaint_says_who_and_of_which_mail() {
    let fields = "Feedback-Type: abuse\nVersion: 1\nOriginal-Rcpt-To: <ana@example.com>\nOriginal-Rcpt-To: bob@example.com";
    let concern = |address: &str| Concern {
        address: Some(address.to_owned()),
        original: Some("<sent-1@example.org>".to_owned()),
    };
    assert_eq!(
        feedback(
            fields,
            "Message-ID: <sent-1@example.org>\nTo: list@example.org"
        ),
        Class::Complaint(vec![concern("ana@example.com"), concern("bob@example.com")])
    );
}

#[test]
fn whom_a_report_hides_the_mail_itself_may_name() {
    let fields = "Feedback-Type: abuse\nVersion: 1";
    let concern = |address: Option<&str>| Concern {
        address: address.map(str::to_owned),
        original: Some("<sent-1@example.org>".to_owned()),
    };
    assert_eq!(
        feedback(
            fields,
            "Message-ID: <sent-1@example.org>\nTo: ana@example.com"
        ),
        Class::Complaint(vec![concern(Some("ana@example.com"))])
    );
    assert_eq!(
        feedback(fields, "Message-ID: <sent-1@example.org>\nSubject: Hello"),
        Class::Complaint(vec![concern(None)])
    );
}

#[test]
fn what_a_filter_finds_is_no_complaint() {
    for kind in ["auth-failure", "not-spam", "virus", "Auth-Failure"] {
        let fields =
            format!("Feedback-Type: {kind}\nVersion: 1\nOriginal-Rcpt-To: ana@example.com");
        assert_eq!(
            feedback(&fields, "To: ana@example.com"),
            Class::Notice,
            "{kind}"
        );
    }
    let fields = "Feedback-Type: opt-out\nVersion: 1\nOriginal-Rcpt-To: ana@example.com";
    assert!(matches!(
        feedback(fields, "To: ana@example.com"),
        Class::Complaint(_)
    ));
}

#[test]
fn a_receipt_is_a_notice() {
    let raw = b"From: ana@example.com\n\
        Subject: Read: Hello\n\
        Content-Type: multipart/report; report-type=disposition-notification; boundary=b\n\
        \n\
        --b\n\nYour mail was displayed.\n\
        --b\nContent-Type: message/disposition-notification\n\n\
        Final-Recipient: rfc822; ana@example.com\nDisposition: manual-action/MDN-sent-manually; displayed\n\
        --b--\n";
    assert_eq!(read(raw).class, Class::Notice);
}
