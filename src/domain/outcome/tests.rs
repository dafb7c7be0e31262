use super::*;

const HARD: Scope = Scope::Recipient { hard: true };
const SOFT: Scope = Scope::Recipient { hard: false };

#[track_caller]
fn check(phase: Phase, reply: &str, scope: Scope, code: ErrorCode) {
    let (number, text) = reply.split_once(' ').unwrap();
    let number: u16 = number.parse().unwrap();
    let outcome = Outcome::refused(phase, number, text);
    assert_eq!(outcome.scope(), Some(scope), "{reply}");
    assert_eq!(outcome.error_code(), Some(code), "{reply}");
    assert_eq!(outcome.response(), Some(text));
    match outcome {
        Outcome::Rejected { code, .. } => assert_eq!((code, true), (number, number >= 500)),
        Outcome::Retry { code, reason, .. } => {
            assert_eq!((code, reason), (Some(number), RetryReason::Refused4xx));
        }
        Outcome::Sent { .. } | Outcome::NotBegun | Outcome::Ambiguous { .. } => {
            panic!("{reply} is a refusal")
        }
    }
}

#[test]
fn a_recipient_that_does_not_exist_is_a_hard_bounce() {
    for reply in [
        "550 5.1.1 user unknown",
        "550 5.1.1 The email account that you tried to reach does not exist.",
        "550 5.1.2 bad destination system",
        "550 5.1.6 has moved",
        "556 5.1.10 Recipient address has null MX",
        "550 5.2.1 The email account that you tried to reach is disabled.",
        "550 5.4.4 no host",
        "550 5.4.1 Recipient address rejected: Access denied.",
        "550 5.5.0 Requested action not taken: mailbox unavailable",
        "550 No such user here",
    ] {
        check(Phase::Rcpt, reply, HARD, ErrorCode::UnknownRecipient);
    }
    check(
        Phase::Rcpt,
        "501 5.1.3 Bad recipient address syntax",
        HARD,
        ErrorCode::InvalidEmail,
    );
    check(
        Phase::Dot,
        "550 5.1.1 user unknown",
        HARD,
        ErrorCode::UnknownRecipient,
    );
}

#[test]
fn a_full_or_busy_recipient_is_a_soft_bounce() {
    check(
        Phase::Rcpt,
        "552 5.2.2 mailbox full",
        SOFT,
        ErrorCode::MailboxFull,
    );
    check(
        Phase::Rcpt,
        "452 4.2.2 The email account is over quota",
        SOFT,
        ErrorCode::MailboxFull,
    );
    check(Phase::Dot, "552 5.2.2 quota", SOFT, ErrorCode::MailboxFull);
    check(
        Phase::Rcpt,
        "451 4.3.0 try again later",
        SOFT,
        ErrorCode::ProviderError,
    );
    check(
        Phase::Rcpt,
        "451 4.4.1 no answer from host",
        SOFT,
        ErrorCode::ProviderError,
    );
    check(
        Phase::Rcpt,
        "550 5.7.1 Access denied",
        SOFT,
        ErrorCode::Rejected,
    );
    // By the code alone (RFC 5321 §4.2.3); a message that is too big is another matter.
    check(
        Phase::Rcpt,
        "552 no more room",
        SOFT,
        ErrorCode::MailboxFull,
    );
    check(Phase::Rcpt, "552 5.7.0 blocked", SOFT, ErrorCode::Rejected);
    check(
        Phase::Dot,
        "552 no more room",
        Scope::Content,
        ErrorCode::Rejected,
    );
}

#[test]
fn who_asks_to_come_later_has_no_trouble_of_its_own() {
    for reply in [
        "450 4.2.1 The user you are trying to contact is receiving mail at a rate that prevents \
         additional messages",
        "450 4.2.1 The user you are trying to contact is receiving mail too quickly",
        "450 4.7.1 Greylisted",
        "451 4.7.650 The mail server has been temporarily rate limited due to IP reputation",
        "452 4.5.3 Too many recipients",
        "451 slow down",
    ] {
        check(Phase::Rcpt, reply, SOFT, ErrorCode::RateLimited);
    }
    check(
        Phase::Rcpt,
        "450 4.7.28 unusual rate of mail from your domain",
        Scope::Policy,
        ErrorCode::RateLimited,
    );
    for (reply, code) in [
        ("450 4.2.1 mailbox busy", ErrorCode::ProviderError),
        ("451 4.3.0 separate trouble", ErrorCode::ProviderError),
        ("451 corporate trouble", ErrorCode::ProviderError),
        ("550 5.7.1 too fast", ErrorCode::Rejected),
    ] {
        check(Phase::Rcpt, reply, SOFT, code);
    }
}

#[test]
fn an_address_that_nobody_can_have_is_invalid() {
    for (reply, scope, code) in [
        ("553 5.1.3 no", HARD, ErrorCode::InvalidEmail),
        ("501 Syntax error in address", SOFT, ErrorCode::InvalidEmail),
        ("553 malformed address", SOFT, ErrorCode::InvalidEmail),
        ("553 5.6.7 no SMTPUTF8", SOFT, ErrorCode::InvalidEmail),
        ("553 not here", SOFT, ErrorCode::Rejected),
        ("501 5.5.4 syntax of an option", SOFT, ErrorCode::Rejected),
    ] {
        check(Phase::Rcpt, reply, scope, code);
    }
}

#[test]
fn the_mailboxs_own_trouble_is_never_the_leads() {
    for (phase, reply) in [
        (Phase::Auth, "535 5.7.8 bad credentials"),
        (Phase::Auth, "535 Incorrect authentication data"),
        (Phase::Auth, "454 4.7.0 Temporary authentication failure"),
        (Phase::Auth, "550 5.1.1 user unknown"),
        (Phase::Mail, "530 5.7.0 Authentication Required"),
        (
            Phase::Rcpt,
            "534 5.7.9 Application-specific password required",
        ),
        (
            Phase::Mail,
            "550 5.7.30 Basic authentication is not supported for Client Submission",
        ),
    ] {
        check(phase, reply, Scope::Sender, ErrorCode::AuthFailed);
    }
    for reply in [
        "550 5.4.5 Daily user sending limit exceeded.",
        "450 4.2.1 Peak SMTP relay limit exceeded for customer.",
        "421 4.7.0 Try again later, closing connection.",
        "421 4.7.28 unusual rate",
    ] {
        check(Phase::Rcpt, reply, Scope::Sender, ErrorCode::RateLimited);
    }
    check(
        Phase::Rcpt,
        "554 5.7.1 Relay access denied",
        Scope::Sender,
        ErrorCode::Rejected,
    );
    check(
        Phase::Mail,
        "553 5.7.1 sender rejected",
        Scope::Sender,
        ErrorCode::Rejected,
    );
    check(
        Phase::Greeting,
        "554 no service",
        Scope::Sender,
        ErrorCode::Rejected,
    );
    check(
        Phase::StartTls,
        "454 4.7.0 TLS not available",
        Scope::Sender,
        ErrorCode::ProviderError,
    );
    check(
        Phase::Mail,
        "451 4.3.0 try again",
        Scope::Sender,
        ErrorCode::ProviderError,
    );
    check(
        Phase::Dot,
        "421 4.3.2 shutting down",
        Scope::Sender,
        ErrorCode::ProviderError,
    );
}

#[test]
fn policy_and_content_are_told_apart() {
    for reply in [
        "550 5.7.515 Access denied, sending domain does not meet the required authentication level",
        "550 5.7.26 unauthenticated mail is prohibited",
        "550 5.7.25 no PTR",
        "554 5.7.1 Service unavailable; client host [192.0.2.1] blocked using zen.spamhaus.org",
    ] {
        check(Phase::Dot, reply, Scope::Policy, ErrorCode::Rejected);
        check(Phase::Rcpt, reply, Scope::Policy, ErrorCode::Rejected);
    }
    check(
        Phase::Dot,
        "451 4.7.32 alignment",
        Scope::Policy,
        ErrorCode::Rejected,
    );
    check(
        Phase::Dot,
        "554 5.7.1 spam detected",
        Scope::Content,
        ErrorCode::Rejected,
    );
    check(
        Phase::Dot,
        "554 5.6.0 bad MIME",
        Scope::Content,
        ErrorCode::Rejected,
    );
    check(
        Phase::Mail,
        "552 5.3.4 too big",
        Scope::Content,
        ErrorCode::Rejected,
    );
    check(
        Phase::Dot,
        "571 refused",
        Scope::Content,
        ErrorCode::Rejected,
    );
}

#[test]
fn too_many_recipients_is_temporary_whatever_its_class() {
    let outcome = Outcome::refused(Phase::Rcpt, 552, "too many recipients");
    assert!(
        matches!(
            outcome,
            Outcome::Retry {
                code: Some(552),
                ..
            }
        ),
        "{outcome:?}"
    );
    assert_eq!(outcome.error_code(), Some(ErrorCode::RateLimited));
}

#[test]
fn the_enhanced_code_counts_only_where_it_agrees() {
    let Outcome::Rejected {
        enhanced, scope, ..
    } = Outcome::refused(Phase::Rcpt, 550, "4.1.1 what")
    else {
        panic!("5xx is permanent")
    };
    assert_eq!((enhanced, scope), (None, SOFT));
    for text in [
        "5.1",
        "5.1.1.1",
        "5..1",
        "5.1.1111",
        "192.0.2.1 blocked",
        "",
        "é",
    ] {
        let outcome = Outcome::refused(Phase::Rcpt, 550, text);
        assert!(
            matches!(outcome, Outcome::Rejected { enhanced: None, .. }),
            "{text}"
        );
    }
}

#[test]
fn troubles_without_a_reply_have_their_codes() {
    let broken = |phase, reason| Outcome::broken(phase, reason, "why");
    let outcome = broken(Phase::Connect, RetryReason::ConnectionFailed);
    assert_eq!(outcome.scope(), Some(Scope::Sender));
    assert_eq!(outcome.error_code(), Some(ErrorCode::ConnectionFailed));
    let outcome = broken(Phase::Body, RetryReason::Timeout);
    assert_eq!(outcome.scope(), Some(SOFT));
    assert_eq!(outcome.error_code(), Some(ErrorCode::Timeout));
    let outcome = broken(Phase::Mail, RetryReason::Protocol);
    assert_eq!(outcome.error_code(), Some(ErrorCode::ProviderError));
    let outcome = Outcome::Ambiguous {
        reason: "cut".into(),
    };
    assert_eq!(
        (outcome.scope(), outcome.error_code()),
        (None, Some(ErrorCode::Interrupted))
    );
    assert_eq!(
        Outcome::Sent {
            response: "ok".into()
        }
        .error_code(),
        None
    );
}

#[test]
fn codes_are_named_as_in_the_api() {
    assert_eq!(ErrorCode::UnknownRecipient.as_str(), "UNKNOWN_RECIPIENT");
    assert_eq!("AUTH_FAILED".parse(), Ok(ErrorCode::AuthFailed));
    assert_eq!(Phase::StartTls.as_str(), "START_TLS");
    assert!("auth_failed".parse::<ErrorCode>().is_err());
}
