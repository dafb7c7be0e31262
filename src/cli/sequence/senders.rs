//! The workspace's senders, which a file names by their addresses.

use std::collections::HashMap;

use serde_json::{Value, json};

use super::SequenceError;
use super::api::{Api, ApiError};
use super::wrong::{Wrong, below};
use crate::domain::flow::{Channel, SenderFacts};
use crate::domain::id::SenderId;
use crate::domain::template::similar_within;

/// What is asked of a sender.
pub(super) const SENDER: &str = "id name address channel enabled";
/// So many senders are named where one is not found.
const NAMED_MAX: usize = 5;
/// The kinds of action that have senders.
const SENDING: [(&str, Channel); 3] = [
    ("email", Channel::Email),
    ("sms", Channel::Sms),
    ("whatsapp", Channel::Whatsapp),
];

/// A sender as the API shows it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Sender {
    id: SenderId,
    name: String,
    address: String,
    channel: Channel,
    enabled: bool,
}

/// The senders that the token may see.
#[derive(Debug, Default)]
pub struct Senders(Vec<Sender>);

impl Senders {
    /// All of the workspace; for a token that is limited to some sequences, those of the sequence.
    pub(super) async fn load(api: &impl Api, sequence: &Value) -> Result<Self, SequenceError> {
        let query = format!("query Senders {{ senders {{ {SENDER} }} }}");
        match api.ask(&query, json!({})).await {
            Ok(answer) => Ok(Self::of(answer["senders"].as_array().into_iter().flatten())),
            Err(ApiError::Refused { code, .. }) if code == "FORBIDDEN" => {
                let steps = sequence["flow"]["steps"].as_array().into_iter().flatten();
                let senders = steps.flat_map(|step| step["action"]["senders"].as_array());
                Ok(Self::of(senders.flatten()))
            }
            Err(error) => Err(error.into()),
        }
    }

    fn of<'a>(shown: impl Iterator<Item = &'a Value>) -> Self {
        let mut senders: Vec<Sender> = Vec::new();
        for sender in shown.filter_map(read) {
            if senders.iter().all(|one| one.id != sender.id) {
                senders.push(sender);
            }
        }
        Self(senders)
    }

    /// What a check has to know of them.
    pub(super) fn facts(&self) -> HashMap<SenderId, SenderFacts> {
        let facts = |sender: &Sender| SenderFacts {
            channel: sender.channel,
            enabled: sender.enabled,
        };
        self.0.iter().map(|one| (one.id, facts(one))).collect()
    }

    /// How a file names a sender: by its address, where no other sender of the channel has it.
    pub(super) fn written(&self, id: &str) -> String {
        let sender = self.0.iter().find(|sender| sender.id.to_string() == id);
        let by_address =
            sender.filter(|sender| self.find(&sender.address, sender.channel) == Ok(sender.id));
        by_address.map_or_else(|| id.to_owned(), |sender| sender.address.clone())
    }

    /// Replaces addresses and names in a flow by ids.
    ///
    /// # Errors
    /// Every entry that is no sender of the right channel, or that several are.
    pub(super) fn resolve(&self, flow: &mut Value) -> Result<(), Vec<Wrong>> {
        let mut wrong = Vec::new();
        let steps = flow.get_mut("steps").and_then(Value::as_array_mut);
        for (index, step) in steps.into_iter().flatten().enumerate() {
            for (kind, channel) in SENDING {
                let senders = step.pointer_mut(&format!("/action/{kind}/senderIds"));
                let senders = senders.and_then(Value::as_array_mut);
                for (position, sender) in senders.into_iter().flatten().enumerate() {
                    let named = sender.as_str().unwrap_or_default();
                    match self.find(named, channel) {
                        Ok(id) => *sender = id.to_string().into(),
                        Err(message) => {
                            let base = ["flow", "steps"].map(str::to_owned);
                            let path = below(&base, index);
                            let path = ["action", kind, "senderIds"]
                                .iter()
                                .fold(path, |path, part| below(&path, part));
                            wrong.push(Wrong::new(&below(&path, position), message));
                        }
                    }
                }
            }
        }
        if wrong.is_empty() { Ok(()) } else { Err(wrong) }
    }

    fn find(&self, named: &str, channel: Channel) -> Result<SenderId, String> {
        if let Ok(id) = named.parse() {
            return Ok(id);
        }
        let of_channel = || self.0.iter().filter(|sender| sender.channel == channel);
        let mut found: Vec<&Sender> = of_channel()
            .filter(|sender| sender.address.eq_ignore_ascii_case(named))
            .collect();
        if found.is_empty() {
            found = of_channel().filter(|one| one.name == named).collect();
        }
        match found[..] {
            [one] => Ok(one.id),
            [] => {
                let known: Vec<&str> = of_channel().map(|one| one.address.as_str()).collect();
                Err(missing(named, channel, &known))
            }
            _ => {
                let one = |one: &&Sender| format!("{} ({}, {})", one.id, one.name, one.address);
                let ids: Vec<String> = found.iter().map(one).collect();
                let ids = ids.join(", ");
                Err(format!(
                    "Several senders for {channel} are called {named}: write the id of one of \
                     {ids}."
                ))
            }
        }
    }
}

fn missing(named: &str, channel: Channel, known: &[&str]) -> String {
    let start = format!("There is no sender {named} for {channel}");
    if known.is_empty() {
        return format!("{start}, nor any other: make it with senderCreate.");
    }
    if let Some(better) = similar_within(named, known.iter().copied(), edits_max) {
        return format!("{start}: did you mean {better}? If not, make it with senderCreate.");
    }
    let mut once: Vec<&str> = Vec::new();
    for one in known {
        if !once.contains(one) {
            once.push(one);
        }
    }
    let some: Vec<&str> = once.iter().copied().take(NAMED_MAX).collect();
    let rest = once.len().saturating_sub(NAMED_MAX);
    let rest = if rest > 0 {
        format!(" or one of {rest} more")
    } else {
        String::new()
    };
    format!(
        "{start}: make it with senderCreate, or use {}{rest}.",
        some.join(", ")
    )
}

/// By how many edits a sender may be misspelled: few, for one mailbox or number is much like another.
fn edits_max(address: &str) -> usize {
    let own = address.split('@').next().unwrap_or_default();
    own.chars().count().div_ceil(4).min(2)
}

fn read(shown: &Value) -> Option<Sender> {
    let text = |field: &str| shown[field].as_str();
    Some(Sender {
        id: text("id")?.parse().ok()?,
        name: text("name")?.to_owned(),
        address: text("address")?.to_owned(),
        channel: text("channel")?.parse().ok()?,
        enabled: shown["enabled"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const IDS: [&str; 4] = [
        "sender_00000000000000000000000000",
        "sender_00000000000000000000000001",
        "sender_00000000000000000000000002",
        "sender_00000000000000000000000003",
    ];

    fn senders() -> Senders {
        let sender = |id, name, address, channel| {
            json!({ "id": id, "name": name,
            "address": address, "channel": channel, "enabled": true })
        };
        let shown = [
            sender(IDS[0], "Sales", "sales@example.com", "EMAIL"),
            sender(IDS[1], "Sales", "twin@example.com", "EMAIL"),
            sender(IDS[2], "Phone", "+351910000001", "SMS"),
            sender(IDS[3], "Other phone", "+351910000001", "SMS"),
        ];
        Senders::of(shown.iter())
    }

    #[test]
    fn a_sender_is_found_by_id_address_and_name() {
        let senders = senders();
        let find = |named, channel| senders.find(named, channel).map(|id| id.to_string());
        for (named, channel, id) in [
            (IDS[1], Channel::Email, IDS[1]),
            ("SALES@example.com", Channel::Email, IDS[0]),
            ("Phone", Channel::Sms, IDS[2]),
        ] {
            assert_eq!(find(named, channel), Ok(id.to_owned()));
        }
        for (named, channel, said) in [
            ("Sales", Channel::Email, "Several senders for EMAIL"),
            ("Sales", Channel::Email, "(Sales, twin@example.com)"),
            (
                "sale@example.com",
                Channel::Email,
                "did you mean sales@example.com?",
            ),
            ("Phone", Channel::Whatsapp, "nor any other"),
            ("nobody", Channel::Sms, "use +351910000001."),
            // Somebody else's mailbox and number.
            (
                "maria@example.com",
                Channel::Email,
                "senderCreate, or use sales@example.com, twin@example.com.",
            ),
            (
                "+918910004321",
                Channel::Sms,
                "senderCreate, or use +351910000001.",
            ),
            (
                "+351910000010",
                Channel::Sms,
                "If not, make it with senderCreate.",
            ),
        ] {
            let message = find(named, channel).expect_err("none");
            assert!(message.contains(said), "{message}");
        }
        assert_eq!(senders.written(IDS[0]), "sales@example.com");
        assert_eq!(senders.written("sender_x"), "sender_x");
    }

    #[test]
    fn every_unknown_sender_of_a_flow_is_named() {
        let mut flow = json!({ "steps": [
            { "key": "a", "action": { "email": { "senderIds": ["sales@example.com", "x"] } } },
            { "key": "b", "action": { "sms": { "senderIds": ["y"] } } },
            { "key": "c", "action": { "end": {} } }] });
        let wrong = senders().resolve(&mut flow).expect_err("two are unknown");
        let places: Vec<String> = wrong.iter().map(|one| one.path.join(".")).collect();
        assert_eq!(
            places,
            [
                "flow.steps.0.action.email.senderIds.1",
                "flow.steps.1.action.sms.senderIds.0"
            ]
        );
        assert_eq!(flow["steps"][0]["action"]["email"]["senderIds"][0], IDS[0]);
    }
}
