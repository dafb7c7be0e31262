//! Reports of failure that no machine was meant to read: recognised by who writes and what is said.

use super::super::mime::{Parsed, Returned, address, addresses_of, once};
use super::super::{Failure, MESSAGE_MAX, REPORTS_MAX, bounded};
use super::phrases::{Meaning, begins_word};
use super::severity::{Evidence, Place};
use super::text::{Segment, Words, heading_address, segments};
use super::{Outcome, one_line};

/// Names of those that write reports, at the beginning of an address.
const SYSTEMS: &[&str] = &[
    "mailer-daemon",
    "mailer_daemon",
    "maildaemon",
    "mailerdaemon",
    "mail-daemon",
    "postmaster",
    "post_master",
    "poostmaster",
    "mail.delivery",
    "mdaemon",
    "mail-delivery",
    "bounce-handler",
];
/// Names that such systems call themselves.
const NAMES: &[&str] = &[
    "mail delivery",
    "mail deliver",
    "mailer daemon",
    "mailer-daemon",
    "delivery subsystem",
    "system administrator",
    "postmaster",
    "mail administrator",
    "delivery system",
    "mail system",
    "email delivery",
    "ndr administrator",
    "antivirus",
];
/// Subjects of such reports.
const SUBJECTS: &[&str] = &[
    "undeliverable",
    "undelivered",
    "undeliver",
    "delivery status notification",
    "delivery notification",
    "delivery report",
    "delivery failure",
    "delivery failed",
    "delivery has failed",
    "delivery error",
    "delivery problem",
    "delivery unsuccessful",
    "failed delivery",
    "failure notice",
    "failure delivery",
    "failed mail",
    "mail failure",
    "returned mail",
    "returned to sender",
    "returning message",
    "mail delivery",
    "message delivery",
    "could not be delivered",
    "not delivered",
    "cannot be delivered",
    "non-delivery",
    "nondelivery",
    "non delivery",
    "bounce",
    "rejected mail",
    "message rejected",
    "user unknown",
    "unknown user",
    "delivery status",
    "message status",
    "error sending your mail",
    "message you sent blocked",
    "mail system error",
    "unzustellbar",
    "nicht zugestellt",
    "non remis",
    "non recapitabile",
    "no se puede entregar",
    "no entregado",
    "não entregue",
    "onbestelbaar",
    "не доставлено",
    "unable to deliver",
];
/// What such reports say.
const FAILED: &[&str] = &[
    "could not be delivered",
    "couldn't be delivered",
    "cannot be delivered",
    "can't be delivered",
    "can not be delivered",
    "can't deliver",
    "was not delivered",
    "wasn't delivered",
    "not been delivered",
    "has not been delivered",
    "not delivered to",
    "unable to deliver",
    "not able to deliver",
    "couldn't deliver",
    "could not deliver",
    "cannot deliver",
    "were unable to deliver",
    "undeliverable",
    "undelivered",
    "did not reach",
    "could not be reached",
    "delivery failed",
    "delivery failure",
    "delivery has failed",
    "delivery to the following",
    "delevery to the following",
    "failed to deliver",
    "failed to delivery",
    "delivery problems",
    "delivery errors",
    "delivery error",
    "error delivering",
    "trouble delivering",
    "permanent fatal errors",
    "permanent delivery errors",
    "fatal errors",
    "permanent error",
    "failed permanently",
    "permanent failure",
    "failed address",
    "transcript of session",
    "failure reasons",
    "delivery attempts",
    "could not be sent",
    "was blocked by",
    "was rejected",
    "automatically rejected",
    "not relayed",
    "unknown user",
    "user unknown",
    "unknown recipient",
    "returned to sender",
    "error description",
    "have been rejected",
    "error was detected while processing",
    "not accepting mail",
    "did not exactly match",
    "couldn't be found",
    "konnte nicht zugestellt",
    "n'a pas pu",
    "no se pudo",
    "送信できませんでした",
    "encountered an error",
    "error message below",
    "invalid user address",
];
/// What nobody says who is no mail system, where the address stands below.
const STATED: &[&str] = &[
    "your message could not be delivered to",
    "your message was not delivered to",
    "votre message n'a pas pu etre delivre",
    "your message cannot be delivered to",
];
/// What reports say of a mail that is still being tried.
const DELAYED: &[&str] = &[
    "warning message only",
    "this is a warning only",
    "still being retried",
    "has been delayed",
    "is delayed for",
    "message delayed",
    "not yet been delivered",
    "will continue to be made",
    "will be retried",
    "will keep trying",
    "temporary failure report",
    "delivery attempts will continue",
    "still undelivered",
    "delayed delivery",
    "you do not need to resend",
    "is still awaiting delivery",
    "do not need to re-send",
];

/// What a mail reports that has no fields for machines.
pub(super) fn outcome(
    parsed: &Parsed<'_>,
    words: &Words<'_>,
    returned: &Returned,
) -> Option<Outcome> {
    let own = one_line(&words.own.to_lowercase()).replace('’', "'");
    if !is_report(parsed, words, &own) {
        return None;
    }
    let failures = failures(parsed, words, returned);
    let delayed = DELAYED.iter().any(|phrase| own.contains(phrase));
    Some(if delayed {
        Outcome::Pending(failures)
    } else {
        Outcome::Failed(failures)
    })
}

/// Whether a mail is a report: of two out of the writer, the subject and the text, what is said must be
/// one.
fn is_report(parsed: &Parsed<'_>, words: &Words<'_>, own: &str) -> bool {
    if parsed.has("X-Failed-Recipients") {
        return true;
    }
    let subject = parsed.subject().to_lowercase();
    let titled =
        SUBJECTS.iter().any(|phrase| begins_word(&subject, phrase)) && !is_answer(&subject);
    let reported = parsed
        .kind_parameter("report-type")
        .is_some_and(|kind| kind == "delivery-status");
    let system = is_system(parsed);
    let says = FAILED.iter().any(|phrase| own.contains(phrase));
    // What is sent back along with it makes a notice of what a machine writes.
    let encloses = parsed.returned.is_some() || !words.returned.is_empty();
    let from = parsed.from().unwrap_or_default().to_lowercase();
    let daemon = from.starts_with("mailer-daemon");
    let unanswerable = from.starts_with("no-reply") || from.starts_with("noreply");
    (system || reported) && (says || titled)
        || titled && says && (encloses || heads_address(words.own))
        || unanswerable && encloses && says
        || daemon && encloses
        || STATED.iter().any(|phrase| own.contains(phrase)) && heads_address(words.own)
}

/// Whether a line holds an address and nothing else.
fn heads_address(own: &str) -> bool {
    own.lines()
        .any(|line| !line.trim().contains(' ') && heading_address(line).is_some())
}

fn is_answer(subject: &str) -> bool {
    ["re:", "aw:", "fw:", "fwd:", "sv:", "rv:", "tr:"]
        .iter()
        .any(|mark| subject.starts_with(mark))
}

/// Whether the writer is a mail system.
fn is_system(parsed: &Parsed<'_>) -> bool {
    let from = parsed.from().unwrap_or_default().to_lowercase();
    let writer = parsed.header("From").unwrap_or_default().to_lowercase();
    SYSTEMS.iter().any(|name| from.starts_with(name))
        || SYSTEMS.iter().any(|name| begins_word(&writer, name))
        || NAMES.iter().any(|name| begins_word(&writer, name))
        || writer.contains("<>")
        || parsed.header("Return-Path") == Some("<>")
}

/// Who is concerned.
fn failures(parsed: &Parsed<'_>, words: &Words<'_>, returned: &Returned) -> Vec<Failure> {
    let place = Place::of(words.own);
    let stated = stated(parsed);
    let mut found = segments(words.own);
    let us = us(parsed);
    found.retain(|segment| {
        !us.contains(&segment.address.to_lowercase()) || stated.contains(&segment.address)
    });
    if !stated.is_empty() {
        found.retain(|segment| stated.iter().any(|one| segment.is_for(Some(one))));
    }
    for address in stated {
        if !found.iter().any(|segment| segment.is_for(Some(&address))) {
            found.push(Segment {
                address,
                text: String::new(),
            });
        }
    }
    if found.is_empty() {
        found = elsewhere(words.own, &us, returned);
    }
    found.truncate(REPORTS_MAX);
    let whole = (Evidence::of_text(words.own, place), words.own);
    if found.is_empty() {
        return vec![failure(None, "", &whole, place)];
    }
    found
        .into_iter()
        .map(|one| failure(Some(one.address), &one.text, &whole, place))
        .collect()
}

/// A failure, from what is said of it, or else from what is said at all.
fn failure(address: Option<String>, own: &str, whole: &(Evidence, &str), place: Place) -> Failure {
    let own_evidence = Evidence::of_text(own, place);
    let (evidence, said) = if own_evidence.meaning() == Meaning::Nothing {
        (&whole.0, whole.1)
    } else {
        (&own_evidence, own)
    };
    Failure {
        address,
        hard: evidence.is_hard(),
        status: evidence.status(),
        message: bounded(&one_line(said), MESSAGE_MAX),
        original: None,
    }
}

/// The recipients that a header names.
fn stated(parsed: &Parsed<'_>) -> Vec<String> {
    let value = parsed.header("X-Failed-Recipients").unwrap_or_default();
    once(addresses_of(value))
}

/// The addresses that are ours or the system's, in small letters: no failure is about them.
fn us(parsed: &Parsed<'_>) -> Vec<String> {
    let mut us = parsed.recipients();
    us.extend(parsed.from());
    us.into_iter()
        .map(|address| address.to_lowercase())
        .collect()
}

/// Addresses within the lines, or else those that the mail was for that is sent back.
fn elsewhere(own: &str, us: &[String], returned: &Returned) -> Vec<Segment> {
    let of_system = |address: &str| {
        SYSTEMS
            .iter()
            .any(|name| address.to_lowercase().starts_with(name))
    };
    let mut found = Vec::new();
    for paragraph in own.split("\n\n") {
        let words = paragraph.split(|c: char| c.is_whitespace() || "<>,;()[]\"'=".contains(c));
        let named = words.filter(|word| word.contains('@')).filter_map(address);
        for address in named.filter(|one| !us.contains(&one.to_lowercase()) && !of_system(one)) {
            if found.len() < REPORTS_MAX
                && !found.iter().any(|one: &Segment| one.is_for(Some(&address)))
            {
                found.push(Segment {
                    address,
                    text: paragraph.to_owned(),
                });
            }
        }
    }
    if found.is_empty() {
        let segment = |address: &String| Segment {
            address: address.clone(),
            text: String::new(),
        };
        found = returned.to.iter().map(segment).collect();
    }
    found
}
