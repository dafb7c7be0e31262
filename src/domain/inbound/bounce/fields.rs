//! The fields of a delivery report (RFC 3464), also where a mail system writes them a little wrong or
//! among other text.

use super::super::mime::address;

/// What became of a recipient (RFC 3464 §2.3.3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Action {
    /// Given up.
    Failed,
    /// Still tried.
    Delayed,
    /// Delivered, relayed or expanded.
    Done,
}

/// What a report says of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Recipient {
    /// The address that was written to.
    pub address: Option<String>,
    /// What became of it.
    pub action: Action,
    /// The value of Status.
    pub status: Option<String>,
    /// What the server said.
    pub diagnostic: Option<String>,
}

/// The fields that are about one recipient.
#[derive(Debug, Default)]
struct Group {
    original: Option<String>,
    finally: Option<String>,
    action: Option<String>,
    status: Option<String>,
    diagnostic: Option<String>,
}

/// Whether there are fields of a report among this text.
pub(super) fn are_in(text: &str) -> bool {
    let has = |name: &str| {
        text.lines()
            .any(|line| named(line).is_some_and(|(key, _)| key == name))
    };
    has("final-recipient") && (has("action") || has("status"))
}

/// The recipients that a report names, as far as something became of them.
pub(super) fn recipients(report: &str) -> Vec<Recipient> {
    let mut recipients = Vec::new();
    let mut group = Group::default();
    let mut last: Option<Field> = None;
    for line in report.lines() {
        if line.trim().is_empty() {
            recipients.extend(std::mem::take(&mut group).recipient());
            last = None;
            continue;
        }
        let continues = line.starts_with([' ', '\t']);
        match named(line).filter(|_| !continues) {
            Some((key, value)) => {
                last = Field::called(&key);
                if let Some(field) = last {
                    // Some systems put no empty line between recipients.
                    if group.is_for_another(field) {
                        recipients.extend(std::mem::take(&mut group).recipient());
                    }
                    *field.of(&mut group) = Some(value.to_owned());
                }
            }
            None => {
                if let Some(value) = last.and_then(|field| field.of(&mut group).as_mut()) {
                    value.push(' ');
                    value.push_str(line.trim());
                }
            }
        }
    }
    recipients.extend(group.recipient());
    recipients
}

/// A field's name, in small letters, and its value.
fn named(line: &str) -> Option<(String, &str)> {
    let (key, value) = line.split_once(':')?;
    let key = key.trim();
    let plain = !key.is_empty() && key.chars().all(|c| c.is_ascii_alphabetic() || c == '-');
    plain.then(|| (key.to_ascii_lowercase(), value.trim()))
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Field {
    Original,
    Final,
    Action,
    Status,
    Diagnostic,
}

impl Field {
    fn called(name: &str) -> Option<Self> {
        Some(match name {
            "original-recipient" => Self::Original,
            "final-recipient" => Self::Final,
            "action" => Self::Action,
            "status" => Self::Status,
            "diagnostic-code" => Self::Diagnostic,
            _ => return None,
        })
    }

    fn of(self, group: &mut Group) -> &mut Option<String> {
        match self {
            Self::Original => &mut group.original,
            Self::Final => &mut group.finally,
            Self::Action => &mut group.action,
            Self::Status => &mut group.status,
            Self::Diagnostic => &mut group.diagnostic,
        }
    }
}

impl Group {
    /// Whether a field begins what is said of the next recipient.
    fn is_for_another(&self, field: Field) -> bool {
        match field {
            Field::Final => self.finally.is_some(),
            Field::Original => self.original.is_some(),
            Field::Action => self.action.is_some(),
            Field::Status | Field::Diagnostic => false,
        }
    }

    fn recipient(self) -> Option<Recipient> {
        let named = self.finally.is_some() || self.original.is_some();
        let said = self.action.is_some() || self.status.is_some() || self.diagnostic.is_some();
        if !named || !said {
            return None;
        }
        let action = match self.action.as_deref().map(first_word) {
            Some(action) => match action.as_str() {
                "delayed" => Action::Delayed,
                "delivered" | "deliverable" | "relayed" | "expanded" => Action::Done,
                _ => Action::Failed,
            },
            // Without an action, the status tells (RFC 3463): 2 done, 4 for now, 5 for good.
            None => match self
                .status
                .as_deref()
                .and_then(|status| status.trim().chars().next())
            {
                Some('2') => Action::Done,
                _ => Action::Failed,
            },
        };
        let typed = |value: Option<String>| value.as_deref().and_then(typed_address);
        Some(Recipient {
            address: typed(self.original).or_else(|| typed(self.finally)),
            action,
            status: self.status,
            diagnostic: self.diagnostic.map(|value| untyped(&value).to_owned()),
        })
    }
}

fn first_word(value: &str) -> String {
    let end = value.find(|c: char| !c.is_ascii_alphabetic());
    value
        .get(..end.unwrap_or(value.len()))
        .unwrap_or_default()
        .to_ascii_lowercase()
}

/// The address in "rfc822; ana@example.com".
fn typed_address(value: &str) -> Option<String> {
    let value = value.rsplit(';').find(|part| part.contains('@'))?;
    value.split_whitespace().find_map(address)
}

/// What is after the type in "smtp; 550 no such user".
pub(super) fn untyped(value: &str) -> &str {
    match value.split_once(';') {
        Some((kind, rest)) if kind.chars().all(|c| c.is_ascii_alphanumeric() || c == '-') => {
            rest.trim()
        }
        _ => value.trim(),
    }
}
