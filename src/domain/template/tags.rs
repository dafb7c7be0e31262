//! The merge tags there are, and the person and sender they read. Borrows only: preparing the data
//! of a person costs nothing, and a value is looked up when a template asks for it.

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::TagUse;

/// The data of one person and one sender, borrowed. `None` and blank mean missing.
#[derive(Clone, Copy, Debug, Default)]
pub struct MergeData<'a> {
    /// `{{ email }}`
    pub email: Option<&'a str>,
    /// `{{ phone }}`
    pub phone: Option<&'a str>,
    /// `{{ linkedin_url }}`
    pub linkedin_url: Option<&'a str>,
    /// `{{ first_name }}`
    pub first_name: Option<&'a str>,
    /// `{{ last_name }}`; with the first name it also makes `{{ full_name }}`.
    pub last_name: Option<&'a str>,
    /// `{{ company }}`
    pub company: Option<&'a str>,
    /// `{{ title }}`
    pub title: Option<&'a str>,
    /// `{{ time_zone }}`, an IANA name.
    pub time_zone: Option<&'a str>,
    /// `{{ country }}`, a code of ISO 3166.
    pub country: Option<&'a str>,
    /// `{{ attributes.name }}`
    pub attributes: Option<&'a Map<String, Value>>,
    /// `{{ sender.name }}`
    pub sender_name: Option<&'a str>,
    /// `{{ sender.address }}`
    pub sender_address: Option<&'a str>,
    /// `{{ unsubscribe_url }}`, where the person opts out of emails.
    pub unsubscribe_url: Option<&'a str>,
}

/// A merge tag. `Unknown` is always missing, and refused before anything is published.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Tag {
    Email,
    Phone,
    LinkedinUrl,
    FirstName,
    LastName,
    FullName,
    Company,
    Title,
    TimeZone,
    Country,
    Attribute(Vec<String>),
    SenderName,
    SenderAddress,
    UnsubscribeUrl,
    Unknown(Vec<String>),
}

/// The tags with a fixed name, as they are written.
const NAMES: [(&str, Tag); 13] = [
    ("email", Tag::Email),
    ("phone", Tag::Phone),
    ("linkedin_url", Tag::LinkedinUrl),
    ("first_name", Tag::FirstName),
    ("last_name", Tag::LastName),
    ("full_name", Tag::FullName),
    ("company", Tag::Company),
    ("title", Tag::Title),
    ("time_zone", Tag::TimeZone),
    ("country", Tag::Country),
    ("sender.name", Tag::SenderName),
    ("sender.address", Tag::SenderAddress),
    ("unsubscribe_url", Tag::UnsubscribeUrl),
];

/// What people write out of habit from other tools, folded as by [`fold`].
const ALIASES: [(&str, &str); 19] = [
    ("name", "full_name"),
    ("fname", "first_name"),
    ("givenname", "first_name"),
    ("lname", "last_name"),
    ("surname", "last_name"),
    ("familyname", "last_name"),
    ("companyname", "company"),
    ("organization", "company"),
    ("jobtitle", "title"),
    ("position", "title"),
    ("mobile", "phone"),
    ("phonenumber", "phone"),
    ("emailaddress", "email"),
    ("linkedin", "linkedin_url"),
    ("timezone", "time_zone"),
    ("senderemail", "sender.address"),
    ("unsubscribe", "unsubscribe_url"),
    ("unsubscribelink", "unsubscribe_url"),
    ("optouturl", "unsubscribe_url"),
];

impl Tag {
    pub(super) fn from_path(path: &[String]) -> Tag {
        match path {
            [root, rest @ ..] if root == "attributes" && !rest.is_empty() => {
                Tag::Attribute(rest.to_vec())
            }
            [..] => {
                let written = path.join(".");
                NAMES
                    .into_iter()
                    .find(|(name, _)| *name == written)
                    .map_or_else(|| Tag::Unknown(path.to_vec()), |(_, tag)| tag)
            }
        }
    }

    pub(super) fn path(&self) -> Vec<String> {
        match self {
            Tag::Attribute(rest) => {
                let mut path = vec!["attributes".to_owned()];
                path.extend(rest.iter().cloned());
                path
            }
            Tag::Unknown(path) => path.clone(),
            Tag::Email
            | Tag::Phone
            | Tag::LinkedinUrl
            | Tag::FirstName
            | Tag::LastName
            | Tag::FullName
            | Tag::Company
            | Tag::Title
            | Tag::TimeZone
            | Tag::Country
            | Tag::SenderName
            | Tag::SenderAddress
            | Tag::UnsubscribeUrl => NAMES
                .iter()
                .find(|(_, tag)| tag == self)
                .map(|(name, _)| name.split('.').map(str::to_owned).collect())
                .unwrap_or_default(),
        }
    }

    /// The value, still to be judged for blankness.
    pub(super) fn look_up<'r>(&self, data: &'r MergeData<'_>) -> Found<'r> {
        let text = match self {
            Tag::Email => data.email,
            Tag::Phone => data.phone,
            Tag::LinkedinUrl => data.linkedin_url,
            Tag::FirstName => data.first_name,
            Tag::LastName => data.last_name,
            Tag::Company => data.company,
            Tag::Title => data.title,
            Tag::TimeZone => data.time_zone,
            Tag::Country => data.country,
            Tag::SenderName => data.sender_name,
            Tag::SenderAddress => data.sender_address,
            Tag::UnsubscribeUrl => data.unsubscribe_url,
            Tag::FullName => return full_name(data),
            Tag::Attribute(path) => return attribute(data, path),
            Tag::Unknown(_) => None,
        };
        text.map_or(Found::Nothing, |text| Found::Text(Cow::Borrowed(text)))
    }
}

/// A looked-up value.
pub(super) enum Found<'r> {
    Nothing,
    Text(Cow<'r, str>),
    Number(&'r serde_json::Number),
    Bool(bool),
}

fn full_name<'r>(data: &'r MergeData<'_>) -> Found<'r> {
    let present = |name: Option<&'r str>| name.filter(|name| !super::value::is_blank(name));
    match (present(data.first_name), present(data.last_name)) {
        (Some(first), Some(last)) => Found::Text(Cow::Owned(format!("{first} {last}"))),
        (Some(only), None) | (None, Some(only)) => Found::Text(Cow::Borrowed(only)),
        (None, None) => Found::Nothing,
    }
}

fn attribute<'r>(data: &'r MergeData<'_>, path: &[String]) -> Found<'r> {
    let (Some(attributes), Some((first, rest))) = (data.attributes, path.split_first()) else {
        return Found::Nothing;
    };
    let mut value = attributes.get(first.as_str());
    for key in rest {
        value = value.and_then(|value| value.get(key.as_str()));
    }
    match value {
        Some(Value::String(text)) => Found::Text(Cow::Borrowed(text)),
        Some(Value::Number(number)) => Found::Number(number),
        Some(Value::Bool(bool)) => Found::Bool(*bool),
        Some(Value::Null | Value::Array(_) | Value::Object(_)) | None => Found::Nothing,
    }
}

/// Writes a tag as a user would: `attributes.city`, `attributes["Job level"]`.
pub(super) fn label(path: &[String]) -> String {
    let mut label = String::new();
    for (index, part) in path.iter().enumerate() {
        let word = !part.is_empty() && part.chars().all(|c| c.is_alphanumeric() || c == '_');
        if index == 0 {
            label.push_str(part);
        } else if word && !part.starts_with(|c: char| c.is_ascii_digit()) {
            label.push('.');
            label.push_str(part);
        } else {
            label.push_str("[\"");
            label.push_str(part);
            label.push_str("\"]");
        }
    }
    label
}

/// The tags among `uses` that do not exist, each once, with what was probably meant.
pub fn unknown_tags(uses: &[TagUse]) -> Vec<(String, Option<String>)> {
    let mut unknown: Vec<(String, Option<String>)> = Vec::new();
    for tag_use in uses {
        if let Tag::Unknown(path) = Tag::from_path(&tag_use.path) {
            let tag = label(&path);
            if !unknown.iter().any(|(seen, _)| *seen == tag) {
                unknown.push((tag, suggestion(&path)));
            }
        }
    }
    unknown
}

/// A known tag that resembles the path: by folded spelling, by alias, by small edit distance; a
/// single word that resembles nothing is probably an attribute.
fn suggestion(path: &[String]) -> Option<String> {
    // `person.first_name` and `lead.company` mean their last part; `attribute.x` the attributes.
    let (last, parents) = path.split_last()?;
    if let [parent] = parents
        && edit_distance(&fold(parent), "attributes") <= 3
    {
        return Some(format!("attributes.{last}"));
    }
    for candidate in [fold(&path.join(".")), fold(last)] {
        if let Some(name) = resembling(&candidate) {
            return Some(name.to_owned());
        }
    }
    if let Some(first) = parents.first()
        && NAMES.iter().any(|(name, _)| name == first)
    {
        return Some(first.clone());
    }
    let fits = parents.is_empty() && last != "attributes" && last != "sender";
    fits.then(|| format!("attributes.{last}"))
}

fn resembling(folded: &str) -> Option<&'static str> {
    let exact = NAMES
        .iter()
        .map(|(name, _)| *name)
        .find(|name| fold(name) == folded);
    let alias = || {
        ALIASES
            .iter()
            .find(|(alias, _)| *alias == folded)
            .map(|(_, name)| *name)
    };
    let near = || {
        NAMES
            .iter()
            .map(|(name, _)| (edit_distance(folded, &fold(name)), *name))
            .filter(|(distance, name)| *distance <= name.len().div_ceil(4))
            .min_by_key(|(distance, _)| *distance)
            .map(|(_, name)| name)
    };
    exact.or_else(alias).or_else(near)
}

/// The one of some names that resembles a misspelled one: the same letters, or a small edit distance.
pub fn similar<'a>(wrong: &str, names: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    similar_within(wrong, names, |name| name.chars().count().div_ceil(4))
}

/// The one of some names that resembles a misspelled one most, at most so many edits away.
pub fn similar_within<'a>(
    wrong: &str,
    names: impl Iterator<Item = &'a str>,
    most: impl Fn(&str) -> usize,
) -> Option<&'a str> {
    let folded = fold(wrong);
    names
        .map(|name| (edit_distance(&folded, &fold(name)), name))
        .filter(|(distance, name)| *distance <= most(name))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}

fn fold(name: &str) -> String {
    name.chars()
        .filter(|c| c.is_alphanumeric())
        .take(64)
        .flat_map(char::to_lowercase)
        .collect()
}

/// Levenshtein distance over characters; both sides are short by construction.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, from) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (to, cell) in right.iter().zip(row.iter_mut().skip(1)) {
            let here = (diagonal + usize::from(from != *to))
                .min(before + 1)
                .min(*cell + 1);
            diagonal = *cell;
            *cell = here;
            before = here;
        }
        if let Some(first) = row.first_mut() {
            *first = line + 1;
        }
    }
    row.last().copied().unwrap_or(0)
}

/// A tag that was written with single braces, as in `{first_name}`, and would be sent as it is.
pub(super) fn single_brace_tag(text: &str) -> Option<(usize, &'static str)> {
    text.match_indices('{').find_map(|(at, _)| {
        // A bounded look ahead, so that a text of braces costs no more than any other.
        let length = text
            .bytes()
            .skip(at + 1)
            .take(40)
            .position(|byte| byte == b'}')?;
        let inside = text.get(at + 1..at + 1 + length)?;
        let folded = fold(inside);
        let plain = inside
            .trim()
            .chars()
            .all(|c| c.is_alphanumeric() || "_. ".contains(c));
        let name = NAMES
            .iter()
            .map(|(name, _)| *name)
            .find(|name| fold(name) == folded)?;
        plain.then_some((at, name))
    })
}
