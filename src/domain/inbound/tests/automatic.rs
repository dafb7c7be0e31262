//! Automatic replies, and the day of return that they state.

use super::*;

/// A Tuesday.
const DATE: &str = "Date: Tue, 3 Mar 2026 10:00:00 +0100";

fn returns(subject: &str, text: &str) -> Option<String> {
    let head =
        format!("From: ana@example.com\nAuto-Submitted: auto-replied\nSubject: {subject}\n{DATE}");
    match mail(&head, text).class {
        Class::AutoReply { returns } => returns.map(|day| day.to_string()),
        class => panic!("no automatic reply: {class:?}"),
    }
}

fn is_automatic(head: &str, text: &str) -> bool {
    let head = format!("From: ana@example.com\n{DATE}\n{head}");
    matches!(mail(&head, text).class, Class::AutoReply { .. })
}

#[test]
fn headers_tell() {
    for head in [
        "Auto-Submitted: auto-replied",
        "Auto-Submitted: Auto-Replied (vacation)",
        "Auto-Submitted: auto-generated",
        "X-Autoreply: yes",
        "X-Autorespond: 1",
        "X-Mail-Autoreply: Re",
        "Precedence: auto_reply",
        "X-Precedence: auto_reply",
        "Delivered-To: Autoresponder",
        "Return-Path: <>",
    ] {
        assert!(is_automatic(head, "Thank you for your mail."), "{head}");
    }
    for head in [
        "Auto-Submitted: no",
        "X-Autoreply: no",
        "X-Auto-Response-Suppress: All",
        "Precedence: bulk",
        "Return-Path: <ana@example.com>",
    ] {
        assert!(!is_automatic(head, "Thank you for your mail."), "{head}");
    }
}

#[test]
fn subjects_tell_in_many_languages() {
    for subject in [
        "Automatic reply: Hello",
        "Out of Office: Hello",
        "Autoreply",
        "Automatische Antwort: Hallo",
        "Abwesenheitsnotiz",
        "Réponse automatique : Bonjour",
        "Respuesta automática: Hola",
        "Risposta automatica: Ciao",
        "Resposta automática: Olá",
        "Automatisch antwoord: Hallo",
        "Autosvar: Hej",
        "Automaattinen vastaus: Hei",
        "Automatyczna odpowiedź: Cześć",
        "Автоответ: Привет",
        "自動返信: こんにちは",
        "自动回复：你好",
        "[EXTERN] Automatische Antwort: Hallo",
    ] {
        assert!(
            is_automatic(&format!("Subject: {subject}"), "Hello"),
            "{subject}"
        );
    }
    for subject in [
        "Re: Out of office",
        "Re: Hello",
        "Automation of our office",
        "Hello",
        "Autorun",
    ] {
        assert!(
            !is_automatic(&format!("Subject: {subject}"), "Hello"),
            "{subject}"
        );
    }
}

#[test]
fn a_mail_that_says_so_of_itself_is_believed() {
    assert!(is_automatic(
        "Subject: Re: Hello",
        "This is an automated response. We have got your mail."
    ));
    assert!(is_automatic(
        "Subject: Re: Hello",
        "Dies ist eine automatische Antwort."
    ));
    assert!(!is_automatic(
        "Subject: Re: Hello",
        "I am out of office until Monday, but yes, let us talk."
    ));
}

#[test]
fn the_day_of_return_is_read_in_many_forms() {
    for (text, day) in [
        (
            "I am away and will be back on Monday 9 March.",
            "2026-03-09",
        ),
        (
            "I'll be back in the office on March 9th, 2026.",
            "2026-03-09",
        ),
        ("Out of office until 2026-03-16.", "2026-03-16"),
        ("I am out of the office until Monday.", "2026-03-09"),
        ("I will return on 5 November.", "2026-11-05"),
        (
            "On leave from 1 March to 20 March, returning 23 March.",
            "2026-03-23",
        ),
        ("I am travelling from 2 March to 12 March.", "2026-03-12"),
        (
            "I will be out March 4-11 with no access to mail.",
            "2026-03-11",
        ),
        ("Away through 12 March.", "2026-03-13"),
        ("Ich bin bis zum 12.05.2026 nicht im Büro.", "2026-05-12"),
        ("Ich bin vom 2.3. bis 13.3. im Urlaub.", "2026-03-13"),
        ("Ich bin bis einschließlich 12. Mai abwesend.", "2026-05-13"),
        ("Am 16.03.2026 bin ich wieder für Sie da.", "2026-03-16"),
        ("Ab dem 16. März bin ich wieder erreichbar.", "2026-03-16"),
        ("Je suis absent jusqu'au 16 mars.", "2026-03-16"),
        ("Je serai de retour le lundi 16 mars 2026.", "2026-03-16"),
        ("En congé du 2 au 13 mars.", "2026-03-13"),
        ("Estaré fuera hasta el 16 de marzo de 2026.", "2026-03-16"),
        ("Sono fuori ufficio fino al 16 marzo.", "2026-03-16"),
        ("Estarei ausente até 16 de março.", "2026-03-16"),
        ("Ik ben afwezig tot 16 maart.", "2026-03-16"),
        ("Jag är tillbaka den 16 mars.", "2026-03-16"),
        ("Jeg er tilbake 16. mars.", "2026-03-16"),
        ("Olen lomalla 16.3.2026 asti.", "2026-03-16"),
        ("Jestem nieobecny do 16 marca.", "2026-03-16"),
        (
            "Wracam w poniedziałek, a nieobecny do poniedziałku, 16 marca.",
            "2026-03-16",
        ),
        ("Jsem mimo kancelář do 16. března.", "2026-03-16"),
        ("Я в отпуске до 16 марта.", "2026-03-16"),
        ("3月16日まで休暇をいただいております。", "2026-03-16"),
        ("2026年3月16日まで不在です。", "2026-03-16"),
        ("3월 16일까지 휴가입니다.", "2026-03-16"),
    ] {
        assert_eq!(returns("Away", text).as_deref(), Some(day), "{text}");
    }
    assert_eq!(
        returns("Away until May 5", "Thank you for your mail.").as_deref(),
        Some("2026-05-05")
    );
}

#[test]
fn a_day_of_which_nothing_is_said_or_that_has_been_is_none() {
    for text in [
        "Thank you, we have got your mail of 3 March 2026.",
        "We are closed on 25 December.",
        "I do not work on 5 May.",
        "I was back on 1 February 2026.",
        "Back on 99.99.2026 until 31 February.",
        "Version 12.05 of our software is out.",
        "Out of office until further notice. Call 030 12 34 56.",
    ] {
        assert_eq!(returns("Away", text), None, "{text}");
    }
}

#[test]
fn where_months_come_first_they_are_read_first() {
    let head = |zone: &str| {
        format!(
            "From: ana@example.com\nSubject: Out of office\nDate: Tue, 3 Mar 2026 10:00:00 {zone}"
        )
    };
    let returns = |zone: &str, text: &str| match mail(&head(zone), text).class {
        Class::AutoReply { returns } => returns.map(|day| day.to_string()),
        class => panic!("no automatic reply: {class:?}"),
    };
    assert_eq!(
        returns("-0500", "Back on 4/5/2026.").as_deref(),
        Some("2026-04-05")
    );
    assert_eq!(
        returns("+0100", "Back on 4/5/2026.").as_deref(),
        Some("2026-05-04")
    );
    assert_eq!(
        returns("+0100", "Back on 4/25/2026.").as_deref(),
        Some("2026-04-25")
    );
}

#[test]
fn a_mail_without_a_date_is_read_by_the_day_on_which_it_came() {
    let written = raw(
        "Auto-Submitted: auto-replied\nSubject: Away",
        "I am out of the office until 7 December.",
    );
    let day = |year, month, day| NaiveDate::from_ymd_opt(year, month, day).expect("a day");
    let of = |received| match read_on(written.as_bytes(), received).class {
        Class::AutoReply { returns } => returns,
        class => panic!("{class:?}"),
    };
    assert_eq!(of(None), None);
    let back = of(Some(day(2026, 11, 27))).expect("a day");
    assert!(
        [day(2026, 12, 7), day(2026, 12, 8)].contains(&back),
        "{back}"
    );
}
