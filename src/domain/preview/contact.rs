//! For whom a preview is: a person, or a sample of one.

use std::borrow::Cow;
use std::collections::HashMap;

use serde_json::{Map, Value};

use super::PreviewSender;
use crate::domain::attributes;
use crate::domain::holidays::Country;
use crate::domain::planning::Whereabouts;
use crate::domain::template::{MergeData, TagUse};
use crate::domain::zone::Zone;

/// What the tags of attributes begin with.
const ATTRIBUTES: &str = "attributes";

/// A person as a preview has need of it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Contact {
    /// The email address.
    pub email: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// The page at LinkedIn.
    pub linkedin_url: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The company.
    pub company: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// The name of the time zone.
    pub time_zone: Option<String>,
    /// The code of the country.
    pub country: Option<String>,
    /// Whatever else is known.
    pub attributes: Map<String, Value>,
    /// Where the person is.
    pub whereabouts: Whereabouts,
    /// Whether it is nobody: each attribute that a text asks for is then its name in brackets.
    pub is_sample: bool,
}

impl Contact {
    /// Somebody who has every field, and who lives by the sequence's clock, of which
    /// `time_zone` is the name. The addresses are set aside for examples (RFC 2606), as are the
    /// telephone numbers of the area 555-01.
    pub fn sample(time_zone: &str) -> Self {
        let text = |text: &str| Some(text.to_owned());
        Self {
            email: text("ana.silva@example.com"),
            phone: text("+12025550143"),
            linkedin_url: text("https://social.example.com/in/ana-silva"),
            first_name: text("Ana"),
            last_name: text("Silva"),
            company: text("Acme"),
            title: text("Head of Marketing"),
            time_zone: text(time_zone),
            country: text("PT"),
            attributes: Map::new(),
            whereabouts: Whereabouts::default(),
            is_sample: true,
        }
    }

    /// The same person after a step has written this, as the engine writes it. `zones` has the clocks that
    /// it may name.
    pub(super) fn updated(&self, set: &Map<String, Value>, zones: &HashMap<String, Zone>) -> Self {
        let mut person = self.clone();
        for (name, value) in set {
            let text = value.as_str().map(str::trim);
            let text = text.filter(|text| !text.is_empty()).map(str::to_owned);
            match name.as_str() {
                "firstName" => person.first_name = text,
                "lastName" => person.last_name = text,
                "company" => person.company = text,
                "title" => person.title = text,
                "linkedinUrl" => person.linkedin_url = text,
                "timeZone" => person.time_zone = text,
                "country" => {
                    let code = text.and_then(|text| text.parse::<Country>().ok());
                    person.country = code.map(|code| code.to_string());
                }
                "attributes" => {
                    let said = value.as_object().cloned().unwrap_or_default();
                    attributes::write(&mut person.attributes, said);
                }
                _ => {}
            }
        }
        if set.contains_key("timeZone") || set.contains_key("country") {
            let zone = person.time_zone.as_deref();
            let zone = match zone.and_then(|name| zones.get(name)) {
                Some(zone) => Some(zone.clone()),
                None if set.contains_key("timeZone") => None,
                None => person.whereabouts.zone.take(),
            };
            person.whereabouts = Whereabouts::new(zone, person.country.as_deref());
        }
        person
    }

    /// The attributes for a text with these tags.
    pub(super) fn attributes_for(&self, tags: &[TagUse]) -> Cow<'_, Map<String, Value>> {
        if self.is_sample {
            Cow::Owned(filled(&self.attributes, tags.iter()))
        } else {
            Cow::Borrowed(&self.attributes)
        }
    }

    /// What tags are replaced with.
    pub(super) fn merge_data<'a>(
        &'a self,
        attributes: &'a Map<String, Value>,
        sender: Option<&'a PreviewSender>,
    ) -> MergeData<'a> {
        MergeData {
            email: self.email.as_deref(),
            phone: self.phone.as_deref(),
            linkedin_url: self.linkedin_url.as_deref(),
            first_name: self.first_name.as_deref(),
            last_name: self.last_name.as_deref(),
            company: self.company.as_deref(),
            title: self.title.as_deref(),
            time_zone: self.time_zone.as_deref(),
            country: self.country.as_deref(),
            attributes: Some(attributes),
            sender_name: sender.map(|sender| sender.name.as_str()),
            sender_address: sender.map(|sender| sender.address.as_str()),
            unsubscribe_url: sender.and_then(|sender| sender.unsubscribe_url.as_deref()),
        }
    }
}

/// These attributes, and for each tag without a value and without a default its name in brackets.
pub(super) fn filled_where_needed(
    attributes: &Map<String, Value>,
    tags: &[TagUse],
) -> Map<String, Value> {
    filled(attributes, tags.iter().filter(|tag| !tag.has_default))
}

fn filled<'a>(
    attributes: &Map<String, Value>,
    tags: impl Iterator<Item = &'a TagUse>,
) -> Map<String, Value> {
    let mut attributes = attributes.clone();
    for tag in tags {
        if let [root, path @ ..] = tag.path.as_slice()
            && root == ATTRIBUTES
        {
            fill(&mut attributes, path, &path.join("."));
        }
    }
    attributes
}

fn fill(object: &mut Map<String, Value>, path: &[String], name: &str) {
    match path {
        [] => {}
        [last] => {
            if object.get(last).is_none_or(is_missing) {
                object.insert(last.clone(), Value::String(format!("[{name}]")));
            }
        }
        [first, rest @ ..] => {
            let inner = object.entry(first.clone()).or_insert(Value::Null);
            if !inner.is_object() {
                *inner = Value::Object(Map::new());
            }
            if let Value::Object(inner) = inner {
                fill(inner, rest, name);
            }
        }
    }
}

/// Whether a tag with this value is missing, as templates have it. What lies deeper is kept, for
/// another tag may ask for it.
fn is_missing(value: &Value) -> bool {
    match value {
        Value::Null | Value::Array(_) => true,
        Value::String(text) => is_blank(text),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn is_blank(text: &str) -> bool {
    text.trim().is_empty()
}

/// The data, and for each of its fields that a tag without a default lacks the tag in brackets.
pub(super) fn bracketed<'a>(data: MergeData<'a>, tags: &[TagUse]) -> MergeData<'a> {
    let mut data = data;
    for tag in tags.iter().filter(|tag| !tag.has_default) {
        let (field, name) = match tag.path.join(".").as_str() {
            "email" => (&mut data.email, "[email]"),
            "phone" => (&mut data.phone, "[phone]"),
            "linkedin_url" => (&mut data.linkedin_url, "[linkedin_url]"),
            "first_name" => (&mut data.first_name, "[first_name]"),
            "last_name" => (&mut data.last_name, "[last_name]"),
            "company" => (&mut data.company, "[company]"),
            "title" => (&mut data.title, "[title]"),
            "time_zone" => (&mut data.time_zone, "[time_zone]"),
            "country" => (&mut data.country, "[country]"),
            "sender.name" => (&mut data.sender_name, "[sender.name]"),
            "sender.address" => (&mut data.sender_address, "[sender.address]"),
            "unsubscribe_url" => (&mut data.unsubscribe_url, "[unsubscribe_url]"),
            // It is made of two, and missing only where both are.
            "full_name" if data.last_name.is_none_or(is_blank) => {
                (&mut data.first_name, "[full_name]")
            }
            _ => continue,
        };
        if field.is_none_or(is_blank) {
            *field = Some(name);
        }
    }
    data
}
