//! Notifications that a sending service passes on as JSON in a mail: Amazon SES does, through SNS, to
//! whoever subscribes by email. What they report is what a report or a complaint says elsewhere.

use serde_json::Value;

use super::bounce;
use super::mime::{Parsed, address};
use super::{Class, Concern, REPORTS_MAX};

/// What a mail of this kind says, if it is one.
pub(super) fn class(parsed: &Parsed<'_>) -> Option<Class> {
    let text = parsed.text.trim_start();
    if !text.starts_with('{')
        || !text.contains("\"notificationType\"") && !text.contains("\"eventType\"")
    {
        return None;
    }
    // The lines are broken anywhere, and more text follows.
    let text = text.replace('\n', "");
    let mut values = serde_json::Deserializer::from_str(&text).into_iter::<Value>();
    let notification = values.next()?.ok()?;
    let kind = ["notificationType", "eventType"]
        .iter()
        .find_map(|name| notification.get(name)?.as_str())?;
    let original = original(&notification);
    match kind {
        "Bounce" => {
            let recipients = listed(&notification, "bounce", "bouncedRecipients");
            let failures = recipients.into_iter().map(|recipient| {
                let said = |name: &str| recipient.get(name).and_then(Value::as_str);
                let mut failure = bounce::passed_on(said("status"), said("diagnosticCode"));
                failure.address = said("emailAddress").and_then(address);
                failure.original.clone_from(&original);
                failure
            });
            let failures: Vec<_> = failures.collect();
            (!failures.is_empty()).then_some(Class::Bounce(failures))
        }
        "Complaint" => {
            let recipients = listed(&notification, "complaint", "complainedRecipients");
            let concerns = recipients.into_iter().map(|recipient| Concern {
                address: recipient
                    .get("emailAddress")
                    .and_then(Value::as_str)
                    .and_then(address),
                original: original.clone(),
            });
            let concerns: Vec<_> = concerns.collect();
            (!concerns.is_empty()).then_some(Class::Complaint(concerns))
        }
        _ => Some(Class::Notice),
    }
}

fn listed<'a>(notification: &'a Value, within: &str, name: &str) -> Vec<&'a Value> {
    let listed = notification.get(within).and_then(|value| value.get(name));
    let listed = listed
        .and_then(Value::as_array)
        .map(Vec::as_slice)
        .unwrap_or_default();
    listed.iter().take(REPORTS_MAX).collect()
}

/// The Message-ID that the sender gave the mail; the service's own is another.
fn original(notification: &Value) -> Option<String> {
    let headers = notification.get("mail")?.get("headers")?.as_array()?;
    let id = headers.iter().find_map(|header| {
        let named = header
            .get("name")?
            .as_str()?
            .eq_ignore_ascii_case("message-id");
        named.then(|| header.get("value")?.as_str()).flatten()
    })?;
    super::mime::bracketed(id)
}
