//! Events written straight into JSON: for subscriptions that ask for nothing but what stands in the
//! log's own row, which are most of those that follow everything.
//!
//! What is written is, byte by byte, what the library answers for the same document. An event that
//! cannot be written this way is left to the library, which says what is wrong with it.

use std::str::FromStr;

use entity::event;
use serde_json::Value as Json;

use crate::domain;
use crate::graphql::document::Root;
use crate::graphql::scalar::{DateTime, EventCursor};

/// The type's name, as `__typename` has it.
const TYPE: &str = "ExecutionEvent";
/// A second, in milliseconds.
const SECOND_MS: i64 = 1_000;

/// Writes the results of one subscription.
pub struct Writer {
    /// Each value with what comes before it.
    parts: Vec<(String, Column)>,
    /// The second that was written last, and how its instants begin: many events are of the same one.
    second: Option<(i64, String)>,
}

/// What stands in a row of the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Column {
    TypeName,
    Cursor,
    At,
    Kind,
    StepKey,
    Channel,
    Detail,
}

impl Column {
    fn of(field: &str) -> Option<Self> {
        Some(match field {
            "__typename" => Self::TypeName,
            "cursor" => Self::Cursor,
            "at" => Self::At,
            "kind" => Self::Kind,
            "stepKey" => Self::StepKey,
            "channel" => Self::Channel,
            "detail" => Self::Detail,
            _ => return None,
        })
    }
}

impl Writer {
    /// A writer of what a subscription asks for; none if it asks for anything else.
    pub fn of(root: &Root) -> Option<Self> {
        let leaves = root.leaves.as_ref().filter(|leaves| !leaves.is_empty())?;
        let mut parts = Vec::with_capacity(leaves.len());
        let mut before = format!("{{\"data\":{{{}:{{", Json::from(root.key.as_str()));
        for leaf in leaves {
            let key = Json::from(leaf.key.as_str());
            parts.push((format!("{before}{key}:"), Column::of(&leaf.field)?));
            ",".clone_into(&mut before);
        }
        Some(Self {
            parts,
            second: None,
        })
    }

    /// The result of an event.
    pub fn write(&mut self, event: &event::Model) -> Option<String> {
        let Self { parts, second } = self;
        let mut text = String::with_capacity(192);
        for (before, column) in parts {
            text.push_str(before);
            match column {
                Column::TypeName => quote(&mut text, TYPE),
                Column::Cursor => quote(&mut text, &EventCursor(event.seq).to_string()),
                Column::At => instant(&mut text, second, event.at),
                Column::Kind => {
                    let kind = domain::event::EventKind::from_str(&event.kind).ok()?;
                    quote(&mut text, kind.into());
                }
                Column::StepKey => match &event.step_key {
                    Some(key) => text.push_str(&Json::from(key.as_str()).to_string()),
                    None => text.push_str("null"),
                },
                Column::Channel => match &event.channel {
                    Some(channel) => {
                        let channel = domain::flow::Channel::from_str(channel).ok()?;
                        quote(&mut text, channel.into());
                    }
                    None => text.push_str("null"),
                },
                Column::Detail => match &event.detail {
                    Some(detail) => text.push_str(&detail.to_string()),
                    None => text.push_str("null"),
                },
            }
        }
        text.push_str("}}}");
        Some(text)
    }
}

/// Writes what needs no escape.
fn quote(text: &mut String, plain: &str) {
    text.push('"');
    text.push_str(plain);
    text.push('"');
}

fn instant(text: &mut String, second: &mut Option<(i64, String)>, ms: i64) {
    let (whole, rest) = (ms.div_euclid(SECOND_MS), ms.rem_euclid(SECOND_MS));
    let begins = match second {
        Some((of, begins)) if *of == whole => begins,
        _ => {
            let written = DateTime::from_ms(whole.saturating_mul(SECOND_MS)).written();
            // In years of four digits; far out of them instants are cut to what there is.
            let is_plain = written.len() == "2026-11-23T09:00:00.000Z".len();
            let begins = written.strip_suffix("000Z").filter(|_| is_plain);
            &mut second
                .insert((whole, begins.unwrap_or_default().to_owned()))
                .1
        }
    };
    if begins.is_empty() {
        quote(text, &DateTime::from_ms(ms).written());
    } else {
        quote(text, &format!("{begins}{rest:03}Z"));
    }
}

#[cfg(test)]
mod tests;
