//! The demo's documents and what it writes with them.

use serde_json::{Value, json};

pub(super) const IMPORT: &str = "mutation ($input: PeopleImportInput!) {
    peopleImport(input: $input) { operation { id succeeded } userErrors { message } } }";
pub(super) const SENDER: &str = "mutation ($input: SenderCreateInput!) {
    senderCreate(input: $input) { sender { id } userErrors { message } } }";
pub(super) const SEQUENCE: &str = "mutation ($input: SequenceCreateInput!) {
    sequenceCreate(input: $input) { sequence { id } userErrors { message } } }";
pub(super) const PUBLISH: &str = "mutation ($input: SequencePublishInput!) {
    sequencePublish(input: $input) {
        sequence { id } userErrors { message } problems { message } } }";
pub(super) const ENROL: &str = "mutation ($input: LeadsEnrolInput!) {
    leadsEnrol(input: $input) { operation { id } userErrors { message } } }";

/// Whom each sequence is for: a part of the company's name.
pub(super) const SEGMENTS: [&str; 3] = ["labs", "works", "group"];

pub(super) fn senders() -> Vec<Value> {
    [
        ("Ada Byron", "ada@cadenza.example"),
        ("Grace Brewster", "grace@cadenza.example"),
    ]
    .into_iter()
    .map(|(name, address)| {
        json!({ "name": name, "channel": "EMAIL", "address": address, "dailyCap": 150,
                    "minGap": "PT45S", "timeZone": "Europe/London",
                    "transport": { "outbox": { "label": "demo" } } })
    })
    .collect()
}

pub(super) fn sequences(senders: &[Value]) -> Vec<Value> {
    vec![
        sequence(
            "Cold outreach",
            senders,
            &[
                (
                    "intro",
                    "PT0S",
                    Some("{{ first_name | default(\"Hello\") }}, a question about {{ company }}"),
                    "Hi {{ first_name | default(\"there\") }},\n\nI saw that {{ company }} is \
                     growing in {{ attributes.city | default(\"your city\") }}. How do you plan \
                     your outreach today?\n\nBest,\n{{ sender.name }}",
                ),
                (
                    "nudge",
                    "P2D",
                    None,
                    "Did my note reach you, {{ first_name | default(\"there\") }}? Two lines \
                     would do.\n\n{{ sender.name }}",
                ),
                (
                    "case",
                    "P3D",
                    Some("How a team like {{ company }} halved its follow-ups"),
                    "A short story that may help: https://cadenza.example/story\n\n\
                     {{ sender.name }}",
                ),
                (
                    "farewell",
                    "P4D",
                    None,
                    "I will not write again unless you want me to. All the best for \
                     {{ company }}!\n\n{{ sender.name }}",
                ),
            ],
        ),
        sequence(
            "After the conference",
            senders,
            &[
                (
                    "thanks",
                    "PT0S",
                    Some("Good to meet you, {{ first_name | default(\"friend\") }}"),
                    "Thank you for stopping by. The slides: https://cadenza.example/slides\n\n\
                     {{ sender.name }}",
                ),
                (
                    "offer",
                    "P1D",
                    None,
                    "Shall we talk this week? Any time that suits {{ company }} suits me.\n\n\
                     {{ sender.name }}",
                ),
                (
                    "last",
                    "P3D",
                    None,
                    "One last try before I let you go.\n\n{{ sender.name }}",
                ),
            ],
        ),
        sequence(
            "Renewal",
            senders,
            &[
                (
                    "early",
                    "PT2H",
                    Some("Your renewal, {{ first_name | default(\"dear customer\") }}"),
                    "Your year with us ends soon. Here is what {{ company }} used: \
                     https://cadenza.example/report\n\n{{ sender.name }}",
                ),
                (
                    "remind",
                    "P5D",
                    None,
                    "A small reminder about the renewal.\n\n{{ sender.name }}",
                ),
            ],
        ),
    ]
}

fn sequence(name: &str, senders: &[Value], steps: &[(&str, &str, Option<&str>, &str)]) -> Value {
    let steps: Vec<Value> = steps
        .iter()
        .enumerate()
        .map(|(number, (key, wait, subject, text))| {
            json!({ "key": key, "wait": wait, "businessDays": number > 0, "action": { "email": {
                "senderIds": senders, "inThread": subject.is_none(),
                "variants": [{ "subject": subject, "text": text }] } } })
        })
        .collect();
    json!({ "name": name, "flow": { "steps": steps },
            "settings": { "timeZone": "Europe/London", "windowClock": "CONTACT" } })
}
