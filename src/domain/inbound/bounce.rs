//! Mails that say that another could not be delivered: as reports a machine reads (RFC 3464), and as
//! the texts of the many mail systems that write none. Says who is concerned and whether for good;
//! never believes or matches.

mod fields;
mod notice;
mod phrases;
mod severity;
mod text;

pub(super) use self::text::own_words;

use self::fields::{Action, Recipient};
use self::severity::{Evidence, Place};
use super::mime::{Parsed, Report, Returned};
use super::{Failure, MESSAGE_MAX, REPORTS_MAX, bounded};

/// What a report says of a mail.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Outcome {
    /// It could not be delivered to these. Never empty.
    Failed(Vec<Failure>),
    /// It is still being tried for these, or they have got it: nothing to act upon. May be empty.
    Pending(Vec<Failure>),
}

/// What a mail reports of another, if it is a report at all.
pub(super) fn outcome(parsed: &Parsed<'_>) -> Option<Outcome> {
    let outcome = outcome_of(parsed);
    let Some(carried) = &parsed.carried else {
        return outcome;
    };
    // A report passed on within another: what is within says more.
    match (outcome, outcome_of(carried)) {
        (Some(_), Some(inner)) => Some(inner),
        (outcome, _) => outcome,
    }
}

fn outcome_of(parsed: &Parsed<'_>) -> Option<Outcome> {
    let report = delivery_report(parsed);
    let words = own_words(&parsed.text);
    let returned = parsed
        .returned
        .clone()
        .unwrap_or_else(|| Returned::of(words.returned));
    let outcome = match report {
        Some(recipients) => of_report(recipients, &words, &returned),
        None => notice::outcome(parsed, &words, &returned)?,
    };
    Some(with_original(outcome, returned.message_id.as_deref()))
}

/// The recipients of a machine-readable report, in a part of its own or among the text.
fn delivery_report(parsed: &Parsed<'_>) -> Option<Vec<Recipient>> {
    let parts = parsed
        .reports
        .iter()
        .filter(|(kind, _)| *kind == Report::Delivery);
    let mut recipients: Vec<Recipient> = parts
        .flat_map(|(_, text)| fields::recipients(text))
        .collect();
    if recipients.is_empty() && fields::are_in(&parsed.text) {
        recipients = fields::recipients(&parsed.text);
    }
    recipients.truncate(REPORTS_MAX);
    (!recipients.is_empty()).then_some(recipients)
}

fn of_report(recipients: Vec<Recipient>, words: &text::Words<'_>, returned: &Returned) -> Outcome {
    let place = Place::of(words.own);
    let said = text::segments(words.own);
    let alone = recipients.len() == 1;
    let failed = recipients.iter().any(|one| one.action == Action::Failed);
    let concerned = if failed {
        Action::Failed
    } else {
        Action::Delayed
    };
    let failures = recipients.into_iter().filter(|one| one.action == concerned);
    let failures = failures
        .map(|recipient| {
            let own = said
                .iter()
                .find(|segment| segment.is_for(recipient.address.as_deref()));
            let own = own.map(|segment| segment.text.as_str());
            let rest = own.or(alone.then_some(words.own)).unwrap_or_default();
            let own_place = own.map_or(Place::Unknown, Place::of);
            let place = if own_place == Place::Unknown {
                place
            } else {
                own_place
            };
            let evidence = Evidence::of_report(&recipient, rest, place);
            let evidence = evidence.confirmed_by(if alone { words.own } else { rest });
            let diagnostic = recipient.diagnostic.as_deref().unwrap_or_default();
            let message = if diagnostic.is_empty() {
                rest
            } else {
                diagnostic
            };
            let only = returned
                .to
                .first()
                .filter(|_| alone && returned.to.len() == 1);
            Failure {
                hard: evidence.is_hard(),
                status: evidence.status(),
                message: bounded(&one_line(message), MESSAGE_MAX),
                address: recipient.address.or_else(|| only.cloned()),
                original: None,
            }
        })
        .collect();
    if failed {
        Outcome::Failed(failures)
    } else {
        Outcome::Pending(failures)
    }
}

/// A failure as a sending service passes it on, by status and diagnostic.
pub(super) fn passed_on(status: Option<&str>, diagnostic: Option<&str>) -> Failure {
    let recipient = Recipient {
        address: None,
        action: Action::Failed,
        status: status.map(str::to_owned),
        diagnostic: diagnostic.map(|value| fields::untyped(value).to_owned()),
    };
    let evidence = Evidence::of_report(&recipient, "", Place::Unknown);
    Failure {
        hard: evidence.is_hard(),
        status: evidence.status(),
        message: bounded(
            &one_line(recipient.diagnostic.as_deref().unwrap_or_default()),
            MESSAGE_MAX,
        ),
        ..Failure::default()
    }
}

fn with_original(outcome: Outcome, original: Option<&str>) -> Outcome {
    let name = |mut failures: Vec<Failure>| {
        for failure in &mut failures {
            failure.original = original.map(str::to_owned);
        }
        failures
    };
    match outcome {
        Outcome::Failed(failures) => Outcome::Failed(name(failures)),
        Outcome::Pending(failures) => Outcome::Pending(name(failures)),
    }
}

/// A text with every run of white space as one space.
fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}
