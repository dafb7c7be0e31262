//! Reports of mailbox providers about what their users think of a mail: feedback loops (RFC 5965), and
//! the older form of one that has none. Says who complains of which mail.

use super::mime::{Parsed, Report, addresses_of, fields, once};
use super::{Concern, REPORTS_MAX};

/// What a report is about (RFC 5965 §7.3, RFC 6591, RFC 6430).
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Feedback {
    /// Somebody does not want such mail. Never empty.
    Unwanted(Vec<Concern>),
    /// A filter's finding, or that a mail is wanted after all: nobody has complained.
    Other,
}

/// Types of feedback behind which no person stands who wants no more mail.
const NO_COMPLAINT: &[&str] = &["auth-failure", "not-spam", "virus", "dkim"];

/// What a mail says of another as feedback, if it is that.
pub(super) fn feedback(parsed: &Parsed<'_>) -> Option<Feedback> {
    let mut reports = parsed
        .reports
        .iter()
        .filter(|(kind, _)| *kind == Report::Feedback);
    if let Some((_, report)) = reports.next() {
        let kind = fields(report, "feedback-type")
            .into_iter()
            .next()
            .unwrap_or_default();
        let kind = kind.to_ascii_lowercase();
        if NO_COMPLAINT.iter().any(|other| kind.starts_with(other)) {
            return Some(Feedback::Other);
        }
        return Some(Feedback::Unwanted(concerns(parsed, who(report))));
    }
    forwarded_complaint(parsed).then(|| Feedback::Unwanted(concerns(parsed, Vec::new())))
}

/// Whom a report names: each of the fields may be there, and the first often more than once.
fn who(report: &str) -> Vec<String> {
    let names = [
        "original-rcpt-to",
        "removal-recipient",
        "original-recipient",
    ];
    let named = names.iter().map(|name| {
        let values = fields(report, name);
        values
            .iter()
            .flat_map(|value| addresses_of(value))
            .collect::<Vec<_>>()
    });
    named
        .into_iter()
        .find(|addresses| !addresses.is_empty())
        .unwrap_or_default()
}

/// The concerns of these, or of whom the mail was for that is complained of.
fn concerns(parsed: &Parsed<'_>, who: Vec<String>) -> Vec<Concern> {
    let returned = parsed.returned.clone().unwrap_or_default();
    let who = if who.is_empty() { returned.to } else { who };
    let mut concerns: Vec<Concern> = once(who)
        .into_iter()
        .take(REPORTS_MAX)
        .map(|address| Concern {
            address: Some(address),
            original: returned.message_id.clone(),
        })
        .collect();
    if concerns.is_empty() {
        concerns.push(Concern {
            address: None,
            original: returned.message_id,
        });
    }
    concerns
}

/// Microsoft's feedback loop passes the mail on under a subject of its own, without a report.
fn forwarded_complaint(parsed: &Parsed<'_>) -> bool {
    let from = parsed.from().unwrap_or_default().to_ascii_lowercase();
    let subject = parsed.subject().to_ascii_lowercase();
    parsed.returned.is_some()
        && subject.starts_with("complaint about message from")
        && from.starts_with("staff@")
}
