//! Bounces: which mails are some, whom they are about, and which are for good.

use super::*;

/// A report as RFC 3464 has it, with this text above it.
fn report(text: &str, recipients: &str) -> Mail {
    let raw = format!(
        "From: Mail Delivery System <MAILER-DAEMON@mx.example.net>\n\
        To: us@example.org\n\
        Subject: Undelivered Mail Returned to Sender\n\
        MIME-Version: 1.0\n\
        Content-Type: multipart/report; report-type=delivery-status; boundary=b\n\
        \n\
        --b\n\
        Content-Type: text/plain\n\
        \n\
        {text}\n\
        --b\n\
        Content-Type: message/delivery-status\n\
        \n\
        Reporting-MTA: dns; mx.example.net\n\
        \n\
        {recipients}\n\
        --b\n\
        Content-Type: message/rfc822\n\
        \n\
        From: us@example.org\n\
        To: ana@example.com\n\
        Message-ID: <sent-1@example.org>\n\
        Subject: Hello\n\
        \n\
        Hello Ana\n\
        --b--\n"
    );
    read(raw.as_bytes())
}

fn failures(mail: Mail) -> Vec<Failure> {
    match mail.class {
        Class::Bounce(failures) => failures,
        class => panic!("no bounce: {class:?}"),
    }
}

/// Whether a report with this status and diagnostic is hard.
fn is_hard(status: &str, diagnostic: &str) -> bool {
    let recipient = format!(
        "Final-Recipient: rfc822; ana@example.com\nAction: failed\nStatus: {status}\nDiagnostic-Code: smtp; {diagnostic}"
    );
    failures(report("", &recipient))[0].hard
}

#[test]
fn a_report_says_who_what_and_which_mail() {
    let mail = report(
        "I could not deliver your mail.",
        "Original-Recipient: rfc822;ana@example.com\n\
        Final-Recipient: rfc822; ana.garcia@mail.example.com\n\
        Action: failed\n\
        Status: 5.1.1\n\
        Diagnostic-Code: smtp; 550 5.1.1 <ana.garcia@mail.example.com>: User unknown\n \
        in virtual mailbox table",
    );
    assert_eq!(
        failures(mail),
        [Failure {
            address: Some("ana@example.com".to_owned()),
            hard: true,
            status: Some("5.1.1".to_owned()),
            message:
                "550 5.1.1 <ana.garcia@mail.example.com>: User unknown in virtual mailbox table"
                    .to_owned(),
            original: Some("<sent-1@example.org>".to_owned()),
        }]
    );
}

#[test]
fn several_recipients_are_judged_apart() {
    let mail = report(
        "",
        "Final-Recipient: rfc822; ana@example.com\nAction: failed\nStatus: 5.1.1\nDiagnostic-Code: smtp; 550 5.1.1 no such user\n\
        \n\
        Final-Recipient: rfc822; bob@example.com\nAction: failed\nStatus: 5.2.2\nDiagnostic-Code: smtp; 552 5.2.2 over quota\n\
        \n\
        Final-Recipient: rfc822; eve@example.com\nAction: delivered\nStatus: 2.0.0",
    );
    let failures = failures(mail);
    let seen: Vec<_> = failures
        .iter()
        .map(|one| (one.address.as_deref(), one.hard))
        .collect();
    assert_eq!(
        seen,
        [
            (Some("ana@example.com"), true),
            (Some("bob@example.com"), false)
        ]
    );
}

#[test]
fn what_is_delayed_or_delivered_is_a_notice() {
    for recipient in [
        "Final-Recipient: rfc822; ana@example.com\nAction: delayed\nStatus: 4.4.1",
        "Final-Recipient: rfc822; ana@example.com\nAction: delivered\nStatus: 2.0.0",
        "Final-Recipient: rfc822; ana@example.com\nAction: relayed\nStatus: 2.0.0",
    ] {
        assert_eq!(report("", recipient).class, Class::Notice, "{recipient}");
    }
}

#[test]
fn hard_is_only_what_says_that_there_is_no_such_address() {
    for (status, diagnostic) in [
        (
            "5.1.1",
            "550 5.1.1 <ana@example.com>: Recipient address rejected: User unknown",
        ),
        ("5.1.1", "550 mailbox unavailable"),
        (
            "5.0.0",
            "550 5.1.1 The email account that you tried to reach does not exist.",
        ),
        ("5.1.2", "550 Host unknown"),
        ("5.1.10", "556 5.1.10 domain does not accept mail (nullMX)"),
        (
            "5.4.1",
            "550 5.4.1 Recipient address rejected: Access denied. [in reply to RCPT TO command]",
        ),
        ("5.4.4", "550 unable to look up the host"),
        ("5.0.0", "550 no such user (in reply to RCPT TO command)"),
    ] {
        assert!(is_hard(status, diagnostic), "{status} {diagnostic}");
    }
}

#[test]
fn what_is_about_a_time_a_content_a_sender_or_a_policy_is_soft() {
    for (status, diagnostic) in [
        ("5.2.2", "552 5.2.2 mailbox full"),
        ("5.1.1", "552 5.1.1 user ana is over quota"),
        ("5.7.1", "550 5.7.1 blocked by our policy"),
        (
            "5.1.1",
            "550 5.7.1 your IP address is listed in a blocklist",
        ),
        (
            "5.7.26",
            "550 5.7.26 Unauthenticated email is not accepted due to the domain's DMARC policy",
        ),
        ("5.7.1", "554 5.7.1 <ana@example.com>: Relay access denied"),
        ("5.6.0", "554 5.6.0 message content rejected as spam"),
        ("5.3.4", "552 5.3.4 message size exceeds the limit"),
        ("4.4.7", "delivery time expired"),
        ("5.4.7", "delivery time expired"),
        (
            "5.1.8",
            "550 5.1.8 sender address rejected: domain not found (in reply to MAIL FROM command)",
        ),
        (
            "5.0.0",
            "550 sender domain not found (in reply to RCPT TO command)",
        ),
        (
            "5.1.8",
            "550 5.1.8 domain does not exist (in reply to RCPT TO command)",
        ),
        (
            "5.0.0",
            "550 the group or domain may not exist, or you may not write to it",
        ),
        ("5.2.1", "550 5.2.1 The account is disabled"),
        ("5.1.1", "450 4.1.1 user unknown, try again later"),
        (
            "5.0.0",
            "550 user unknown (in reply to end of DATA command)",
        ),
        ("5.0.0", "550 rejected"),
        (
            "5.7.0",
            "550 5.7.0 Local policy: no such user for this sender",
        ),
    ] {
        assert!(!is_hard(status, diagnostic), "{status} {diagnostic}");
    }
}

#[test]
fn the_server_is_believed_before_the_system_that_reports() {
    let recipient = "Final-Recipient: rfc822; ana@example.com\nAction: failed\nStatus: 5.1.1\n\
        Diagnostic-Code: smtp; 554 5.7.1 Message rejected as spam";
    let failure = &failures(report("User unknown", recipient))[0];
    assert_eq!(
        (failure.hard, failure.status.as_deref()),
        (false, Some("5.7.1"))
    );
}

#[test]
fn a_transcript_says_at_which_point_a_server_refused() {
    let recipient = "Final-Recipient: RFC822; ana@example.com\nAction: failed\nStatus: 5.2.0\n\
        Diagnostic-Code: SMTP; 550 ana... User unknown";
    let text = |command: &str| {
        format!(
            "   ----- Transcript of session follows -----\n>>> {command}\n<<< 550 ana... User unknown\n"
        )
    };
    assert!(failures(report(&text("RCPT To:<ana@example.com>"), recipient))[0].hard);
    assert!(!failures(report(&text("DATA"), recipient))[0].hard);
}

#[test]
fn reports_without_fields_are_read_by_their_words() {
    let head = "From: MAILER-DAEMON@mx.example.net\nTo: us@example.org\nSubject: failure notice";
    for (text, address, hard) in [
        (
            "Hi. This is the mail program at mx.example.net.\nI wasn't able to deliver your message to the following addresses.\n\n\
            <ana@example.com>:\n192.0.2.1 does not like recipient.\nRemote host said: 550 5.1.1 no such mailbox\nGiving up on 192.0.2.1.\n\n\
            --- Below this line is a copy of the message.\n\nMessage-ID: <sent-1@example.org>\n",
            "ana@example.com",
            true,
        ),
        (
            "A message that you sent could not be delivered. The following address failed:\n\n  ana@example.com\n    \
            SMTP error from remote mail server after RCPT TO:<ana@example.com>:\n    host mx.example.com: 550 unknown user\n",
            "ana@example.com",
            true,
        ),
        (
            "Your message\n\n  To: Ana\n  Subject: Hello\n\ndid not reach the following recipient(s):\n\nana@example.com on Tue, 3 Mar 2026\n    The recipient name is not recognized\n",
            "ana@example.com",
            true,
        ),
        (
            "Unable to deliver message to: <ana@example.com>\nReason: 552 mailbox is full\n",
            "ana@example.com",
            false,
        ),
        (
            "Your mail could not be delivered to ana@example.com because our filter took it for spam.\n",
            "ana@example.com",
            false,
        ),
    ] {
        let failures = failures(mail(head, text));
        assert_eq!(failures.len(), 1, "{text}");
        assert_eq!(failures[0].address.as_deref(), Some(address), "{text}");
        assert_eq!(failures[0].hard, hard, "{text}");
    }
}

#[test]
fn what_is_sent_back_within_the_text_is_known_and_not_searched() {
    let mail = mail(
        "From: MAILER-DAEMON@mx.example.net\nSubject: Returned mail",
        "<ana@example.com>: no such mailbox\n\n----- Original message follows -----\n\n\
        Received: from mx\nMessage-ID: <sent-1@example.org>\nTo: other@example.com\n\nunknown user <third@example.com>: hello\n",
    );
    let failures = failures(mail);
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].address.as_deref(), Some("ana@example.com"));
    assert_eq!(
        failures[0].original.as_deref(),
        Some("<sent-1@example.org>")
    );
}

#[test]
fn a_warning_is_a_notice_whose_recipients_are_known() {
    let raw = raw(
        "From: MAILER-DAEMON@mx.example.net\nSubject: Warning: could not send message for past 4 hours",
        "THIS IS A WARNING MESSAGE ONLY. You do not need to resend your message.\n\n\
        It could not be delivered to the following recipients:\n\n  <ana@example.com>\n",
    );
    assert_eq!(read(raw.as_bytes()).class, Class::Notice);
    let reported = reported(raw.as_bytes());
    assert_eq!(reported[0].address.as_deref(), Some("ana@example.com"));
}

#[test]
fn somebody_who_writes_about_a_bounce_is_none() {
    let mail = mail(
        "From: Ana <ana@example.com>\nSubject: Re: Undeliverable: Hello\nIn-Reply-To: <sent-1@example.org>",
        "Hi, your last mail bounced, it says user unknown for bob@example.com. Did you mean me?",
    );
    assert_eq!(mail.class, Class::Reply);
}

#[test]
fn a_service_s_notification_is_read_as_what_it_passes_on() {
    let head = "From: Notices <no-reply@sns.example.com>\nSubject: AWS Notification Message";
    let bounce = r#"{"notificationType":"Bounce","bounce":{"bouncedRecipients":[{"emailAddress":"ana@example.com","status":"5.1.1","diagnosticCode":"smtp; 550 5.1.1 user unknown"}]},"mail":{"headers":[{"name":"Message-ID","value":"<sent-1@example.org>"}]}}"#;
    let failures = failures(mail(
        head,
        &format!("{bounce}\n\n--\nTo stop these, visit a page.\n"),
    ));
    assert!(failures[0].hard);
    assert_eq!(failures[0].address.as_deref(), Some("ana@example.com"));
    assert_eq!(
        failures[0].original.as_deref(),
        Some("<sent-1@example.org>")
    );
    let complaint = r#"{"notificationType":"Complaint","complaint":{"complainedRecipients":[{"emailAddress":"ana@example.com"}]}}"#;
    assert!(matches!(mail(head, complaint).class, Class::Complaint(_)));
    assert_eq!(
        mail(head, r#"{"notificationType":"Delivery"}"#).class,
        Class::Notice
    );
}
