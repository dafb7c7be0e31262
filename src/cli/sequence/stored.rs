//! The sequence as the API has it, read and written down as a file would have it.

use serde_json::{Map, Value, json};

use super::SequenceError;
use super::api::Api;
use super::definition::Definition;
use super::predicate::{self, PLAIN};
use super::senders::{SENDER, Senders};
use crate::domain::id::SequenceId;
use crate::domain::sequence::SequenceStatus;
use crate::domain::settings::Settings;

/// A sequence of the workspace.
#[derive(Debug)]
pub struct Stored {
    /// Its id.
    pub id: SequenceId,
    /// What it may do.
    pub status: SequenceStatus,
    /// Its revision, so that nobody else's edit is overwritten.
    pub revision: i64,
    /// The senders that a file may name.
    pub senders: Senders,
    /// The sequence as a file has it.
    pub definition: Definition,
}

/// The sequence with this id.
///
/// # Errors
/// [`SequenceError::Missing`] where the workspace has none; [`SequenceError::Nested`] and
/// [`SequenceError::Changed`]; [`SequenceError::Api`].
pub async fn find(api: &impl Api, id: SequenceId) -> Result<Stored, SequenceError> {
    let mut answer = api.ask(&query(), json!({ "id": id.to_string() })).await?;
    let sequence = &mut answer["sequence"];
    if sequence.is_null() {
        return Err(SequenceError::Missing(id));
    }
    predicate::complete(api, id, sequence).await?;
    let senders = Senders::load(api, sequence).await?;
    read(id, sequence, senders).ok_or(SequenceError::Unreadable)
}

/// The ids of the sequences with this very name that are not archived.
///
/// # Errors
/// [`SequenceError::Api`].
pub(super) async fn called(api: &impl Api, name: &str) -> Result<Vec<SequenceId>, SequenceError> {
    const QUERY: &str = "query Sequences($search: String, $after: String) {
        sequences(search: $search, status: [DRAFT, PUBLISHED, DISABLED], first: 250, after: $after) {
            nodes { id name } pageInfo { hasNextPage endCursor } } }";
    let mut found = Vec::new();
    let mut after = Value::Null;
    loop {
        let variables = json!({ "search": name, "after": after });
        let answer = api.ask(QUERY, variables).await?;
        let page = &answer["sequences"];
        let nodes = page["nodes"].as_array().into_iter().flatten();
        let same = nodes.filter(|node| node["name"] == *name);
        found.extend(same.filter_map(|node| node["id"].as_str()?.parse::<SequenceId>().ok()));
        if page["pageInfo"]["hasNextPage"] != true {
            return Ok(found);
        }
        after = page["pageInfo"]["endCursor"].clone();
    }
}

fn query() -> String {
    format!(
        "query SequenceExport($id: ID!) {{ sequence(id: $id) {{ name status revision
          settings {{ timeZone windowClock sendWindows {{ day from to }} holidays holidayCountries
            contactHolidays maxNewLeadsPerDay maxSendsPerDay maxLateness stopOnReply
            stopCompanyOnReply autoReplyHold stopOnOpportunityWon }}
          flow {{ steps {{ key name wait businessDays onMissingAddress onMissingData next action {{
            __typename
            ... on EmailAction {{ senders {{ {SENDER} }} inThread trackOpens trackClicks
              variants {{ key weight enabled subject html text }} }}
            ... on MessageAction {{ channel senders {{ {SENDER} }}
              variants {{ key weight enabled body }} }}
            ... on TaskAction {{ channel title instructions assignee timeout }}
            ... on ConditionAction {{ within yes no predicate {{ {PLAIN} }} }}
            ... on SplitAction {{ branches {{ weight next }} }}
            ... on WebhookAction {{ url headers body }}
            ... on UpdateAction {{ set }}
            ... on EndAction {{ reason }} }} }} }} }} }}"
    )
}

fn read(id: SequenceId, sequence: &Value, senders: Senders) -> Option<Stored> {
    let steps = sequence["flow"]["steps"].as_array()?;
    let written = steps.iter().enumerate().map(|(index, step)| {
        let following = steps.get(index + 1).and_then(|step| step["key"].as_str());
        write_step(step, following, &senders)
    });
    let flow = json!({ "steps": written.collect::<Option<Vec<Value>>>()? });
    Some(Stored {
        id,
        status: sequence["status"].as_str()?.parse().ok()?,
        revision: sequence["revision"].as_i64()?,
        definition: Definition {
            id: Some(id),
            name: sequence["name"].as_str()?.to_owned(),
            settings: write_settings(sequence["settings"].as_object()?),
            flow,
        },
        senders,
    })
}

/// Settings as the API takes all of them.
pub(super) fn settings_input(settings: &Settings) -> Result<Map<String, Value>, SequenceError> {
    match serde_json::to_value(settings) {
        Ok(Value::Object(fields)) => Ok(with_zeros(&fields)),
        Ok(_) | Err(_) => Err(SequenceError::Unreadable),
    }
}

/// What is null where there is none is zero where it is written.
fn with_zeros(settings: &Map<String, Value>) -> Map<String, Value> {
    let zero = |name: &str| match name {
        "maxLateness" | "autoReplyHold" => json!("PT0S"),
        _ => json!(0),
    };
    let fields = settings.iter().map(|(name, value)| match value {
        Value::Null => (name.clone(), zero(name)),
        _ => (name.clone(), value.clone()),
    });
    fields.collect()
}

/// The settings that differ from those of a new sequence.
fn write_settings(shown: &Map<String, Value>) -> Map<String, Value> {
    let usual = settings_input(&Settings::default()).unwrap_or_default();
    let shown = with_zeros(shown).into_iter();
    shown
        .filter(|(name, value)| usual.get(name) != Some(value))
        .collect()
}

/// Fields of an object, without those that are null or have the default.
struct Fields(Map<String, Value>);

impl Fields {
    fn of(shown: &Value, names: &[&str], defaults: &Value) -> Self {
        let mut fields = Map::new();
        for name in names {
            let value = &shown[*name];
            if !value.is_null() && defaults.get(*name) != Some(value) {
                fields.insert((*name).to_owned(), value.clone());
            }
        }
        Self(fields)
    }

    fn put(&mut self, name: &str, value: impl Into<Value>) {
        self.0.insert(name.to_owned(), value.into());
    }

    /// A way out: left out where it leads to the following step.
    fn way(&mut self, name: &str, to: &Value, following: Option<&str>) {
        if to.as_str() != following {
            self.put(name, to.as_str().unwrap_or("end"));
        }
    }
}

fn write_step(step: &Value, following: Option<&str>, senders: &Senders) -> Option<Value> {
    let usual = json!({ "wait": "PT0S", "businessDays": false });
    let mut fields = Fields::of(step, &["key", "name", "wait", "businessDays"], &usual);
    let (kind, action, has_next) = write_action(&step["action"], following, senders)?;
    fields.put("action", json!({ kind: action.0 }));
    let usual = json!({ "onMissingAddress": "SKIP", "onMissingData": "HOLD" });
    let policies = Fields::of(step, &["onMissingAddress", "onMissingData"], &usual);
    fields.0.extend(policies.0);
    if has_next {
        fields.way("next", &step["next"], following);
    }
    Some(fields.0.into())
}

/// The kind of an action, its fields, and whether its step has a `next`.
fn write_action(
    action: &Value,
    following: Option<&str>,
    senders: &Senders,
) -> Option<(&'static str, Fields, bool)> {
    let message = |texts: &[&str], flags: &[&str]| {
        let shown = action["senders"].as_array().into_iter().flatten();
        let ids = shown.filter_map(|sender| sender["id"].as_str());
        let ids: Vec<String> = ids.map(|id| senders.written(id)).collect();
        let usual = json!({ "key": "a", "weight": 1, "enabled": true });
        let names = [&["key", "weight", "enabled"], texts].concat();
        let variants = action["variants"].as_array().into_iter().flatten();
        let variants = variants.map(|variant| Value::from(Fields::of(variant, &names, &usual).0));
        let variants: Vec<Value> = variants.collect();
        let usual = json!({ "inThread": false, "trackOpens": true, "trackClicks": true });
        let mut fields = Fields(Map::new());
        fields.put("senderIds", ids);
        fields.0.extend(Fields::of(action, flags, &usual).0);
        fields.put("variants", variants);
        fields
    };
    let plain = |names: &[&str], usual: Value| Fields::of(action, names, &usual);
    Some(match action["__typename"].as_str()? {
        "EmailAction" => (
            "email",
            message(
                &["subject", "html", "text"],
                &["inThread", "trackOpens", "trackClicks"],
            ),
            true,
        ),
        "MessageAction" if action["channel"] == "SMS" => ("sms", message(&["body"], &[]), true),
        "MessageAction" => ("whatsapp", message(&["body"], &[]), true),
        "TaskAction" => (
            "task",
            plain(
                &["channel", "title", "instructions", "assignee", "timeout"],
                json!({ "channel": "TASK" }),
            ),
            true,
        ),
        "ConditionAction" => {
            let mut fields = Fields(Map::new());
            fields.put("predicate", without_nulls(&action["predicate"]));
            let within = plain(&["within"], json!({ "within": "PT0S" }));
            fields.0.extend(within.0);
            fields.way("yes", &action["yes"], following);
            fields.way("no", &action["no"], following);
            ("condition", fields, false)
        }
        "SplitAction" => {
            let branches = action["branches"].as_array().into_iter().flatten();
            let branches = branches.map(|branch| {
                let mut fields = Fields::of(branch, &["weight"], &Value::Null);
                fields.way("next", &branch["next"], following);
                Value::from(fields.0)
            });
            let branches: Vec<Value> = branches.collect();
            let mut fields = Fields(Map::new());
            fields.put("branches", branches);
            ("split", fields, false)
        }
        "WebhookAction" => (
            "webhook",
            plain(&["url", "headers", "body"], Value::Null),
            true,
        ),
        "UpdateAction" => ("update", plain(&["set"], Value::Null), true),
        "EndAction" => ("end", plain(&["reason"], Value::Null), false),
        _ => return None,
    })
}

/// A predicate with the one field that is asked. What an attribute is compared with is no part of it.
fn without_nulls(shown: &Value) -> Value {
    match shown {
        Value::Object(fields) => {
            let fields = fields.iter().filter(|(_, value)| !value.is_null());
            let fields = fields.map(|(name, value)| match name.as_str() {
                "all" | "any" | "not" => (name.clone(), without_nulls(value)),
                "attribute" => {
                    let written = Fields::of(value, &["name", "op", "value"], &Value::Null);
                    (name.clone(), written.0.into())
                }
                _ => (name.clone(), value.clone()),
            });
            fields.collect::<Map<_, _>>().into()
        }
        Value::Array(list) => list.iter().map(without_nulls).collect(),
        _ => shown.clone(),
    }
}
