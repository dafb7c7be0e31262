//! People: entered and changed one by one, and the one way in which what is said of a person is
//! applied to what is known.

pub mod consent;
pub mod erasing;
pub mod filter;
pub mod merging;
mod stopping;

use serde_json::{Map, Value};
use uuid::Uuid;

use super::{AppError, Caller, Refusal, RefusalCode, Services, workflow};
use crate::domain::address::{EmailAddress, PhoneNumber, WebUrl};
use crate::domain::attributes;
use crate::domain::holidays::Country;
use crate::domain::id::{PersonId, WorkspaceId};
use crate::domain::workflow::Trigger;
use crate::store::person::{self, Row};
use crate::store::sql::holds_nul;
use crate::store::{StoreError, dialect};
use crate::zones::ZoneDatabase;

/// The longest name, company or title, in characters.
const TEXT_CHARS_MAX: usize = 500;
/// The most that the attributes of one person take as JSON, in bytes.
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// The longest name of an attribute, in characters.
const ATTRIBUTE_NAME_CHARS_MAX: usize = 200;

/// What is said of a person. A field that is not given stays as it is; an empty text removes it.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Change {
    /// The email address.
    pub email: Option<String>,
    /// The phone number.
    pub phone: Option<String>,
    /// The LinkedIn page.
    pub linkedin_url: Option<String>,
    /// The first name.
    pub first_name: Option<String>,
    /// The last name.
    pub last_name: Option<String>,
    /// The company.
    pub company: Option<String>,
    /// The title.
    pub title: Option<String>,
    /// The time zone.
    pub time_zone: Option<String>,
    /// The country, as a code of ISO 3166.
    pub country: Option<String>,
    /// An object; its keys are added to those that are there, and one whose value is null is
    /// removed.
    pub attributes: Option<Value>,
}

/// What is wrong with one field of a [`Change`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldProblem {
    /// The field, as the API calls it.
    pub field: &'static str,
    /// What is wrong, with the remedy.
    pub message: String,
}

/// Enters a person.
///
/// # Errors
/// [`AppError::Refused`] with every field that is wrong, or with `ALREADY_EXISTS` if the workspace
/// has somebody with the email address; [`AppError::Store`] as the database has it.
pub async fn create(services: &Services, caller: &Caller, change: Change) -> Result<Row, AppError> {
    let mut row = blank(services, caller.workspace);
    apply(&mut row, change, &services.zones).map_err(|problems| refused(problems, &[]))?;
    if is_nobody(&row) {
        return Err(Refusal::invalid(NOBODY, &["email"]).into());
    }
    let tx = services.db.begin().await?;
    person::insert(&tx, row.clone())
        .await
        .map_err(|error| taken(error, &["email"]))?;
    let created = Trigger::PersonCreated;
    let sets_off = workflow::set_off(services, &tx, caller.workspace, created, &[row.id]).await?;
    tx.commit().await?;
    if sets_off {
        services.wake.due();
    }
    Ok(row)
}

/// Changes a person. Its leads that were held for missing merge data are due at once.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` if the workspace has no such person, with every field
/// that is wrong, or with `ALREADY_EXISTS` if it has somebody else with the email address;
/// [`AppError::Store`] as the database has it.
pub async fn update(
    services: &Services,
    caller: &Caller,
    id: PersonId,
    change: Change,
) -> Result<Row, AppError> {
    let now = services.clock.now();
    let tx = services.db.begin().await?;
    let Some(before) = person::lock(&tx, caller.workspace, id).await? else {
        return Err(gone(&["id"]).into());
    };
    let mut row = before.clone();
    apply(&mut row, change, &services.zones).map_err(|problems| refused(problems, &["set"]))?;
    if is_nobody(&row) {
        return Err(Refusal::invalid(NOBODY, &["set"]).into());
    }
    if row == before {
        return Ok(row);
    }
    row.updated_at = now.timestamp_millis();
    person::update(&tx, row.clone())
        .await
        .map_err(|error| taken(error, &["set", "email"]))?;
    if person::release_leads(&tx, caller.workspace, &[row.id], now).await? > 0 {
        // Another node may be the one that sends to them.
        dialect::notify(&tx).await?;
    }
    let updated = Trigger::PersonUpdated;
    workflow::set_off(services, &tx, caller.workspace, updated, &[row.id]).await?;
    tx.commit().await?;
    services.wake.due();
    Ok(row)
}

/// What is told of somebody whom the workspace does not have, or not any more.
fn gone(path: &[&str]) -> Refusal {
    let message = "There is no person with this id; take the id from an answer of this API.";
    Refusal::not_found(message, path)
}

/// What is told where nothing says who a person is.
pub const NOBODY: &str = "A person needs an email address, a phone number, a LinkedIn page or a name; \
                      give at least one of them.";

fn refused(problems: Vec<FieldProblem>, path: &[&str]) -> AppError {
    let refusals = problems
        .into_iter()
        .map(|problem| Refusal::invalid(problem.message, &[path, &[problem.field]].concat()));
    AppError::Refused(refusals.collect())
}

/// The only constraint that a person can meet is that on the email address.
fn taken(error: StoreError, path: &[&str]) -> AppError {
    match error {
        StoreError::Duplicate(_) => Refusal::new(
            RefusalCode::AlreadyExists,
            "The workspace has a person with this email address already; update that one, or give \
             another address.",
            path,
        )
        .into(),
        other => other.into(),
    }
}

/// A person of whom nothing is known yet.
pub fn blank(services: &Services, workspace: WorkspaceId) -> Row {
    let now = services.clock.now();
    let id: PersonId = services.entropy.id(now);
    unknown(id, workspace, now.timestamp_millis())
}

/// What is wrong with a change, whoever is changed.
pub fn problems(change: Change, zones: &ZoneDatabase) -> Vec<FieldProblem> {
    let nobody = Uuid::nil();
    let mut row = unknown(
        PersonId::from_uuid(nobody),
        WorkspaceId::from_uuid(nobody),
        0,
    );
    apply(&mut row, change, zones).err().unwrap_or_default()
}

fn unknown(id: PersonId, workspace: WorkspaceId, created_at: i64) -> Row {
    Row {
        id: id.uuid(),
        workspace_id: workspace.uuid(),
        email: None,
        email_key: None,
        phone: None,
        linkedin_url: None,
        first_name: None,
        last_name: None,
        company: None,
        company_key: None,
        title: None,
        time_zone: None,
        country: None,
        attributes: Value::Object(Map::new()),
        search_text: String::new(),
        created_at,
        updated_at: created_at,
        erased_at: None,
    }
}

/// Whether there is nothing that tells who this is.
pub fn is_nobody(row: &Row) -> bool {
    [
        &row.email,
        &row.phone,
        &row.linkedin_url,
        &row.first_name,
        &row.last_name,
    ]
    .into_iter()
    .all(Option::is_none)
}

/// Applies what is said of a person to what is known.
///
/// # Errors
/// Everything that is wrong, field by field; then the row is not to be used.
pub fn apply(row: &mut Row, change: Change, zones: &ZoneDatabase) -> Result<(), Vec<FieldProblem>> {
    let mut problems = Vec::new();
    let mut check = |field, message: String| problems.push(FieldProblem { field, message });
    if let Some(text) = given(change.email) {
        match text.as_deref().map(EmailAddress::parse).transpose() {
            Ok(email) => {
                row.email_key = email.as_ref().map(|email| email.key().to_owned());
                row.email = email.map(|email| email.as_str().to_owned());
            }
            Err(error) => check("email", error.to_string()),
        }
    }
    if let Some(text) = given(change.phone) {
        let read = |text: &str| PhoneNumber::parse(text, None);
        match text.as_deref().map(read).transpose() {
            Ok(phone) => row.phone = phone.map(|phone| phone.as_str().to_owned()),
            Err(error) => check("phone", error.to_string()),
        }
    }
    if let Some(text) = given(change.linkedin_url) {
        match text.as_deref().map(WebUrl::parse).transpose() {
            Ok(url) => row.linkedin_url = url.map(|url| url.as_str().to_owned()),
            Err(error) => check("linkedinUrl", error.to_string()),
        }
    }
    for (column, field, text) in [
        (&mut row.first_name, "firstName", change.first_name),
        (&mut row.last_name, "lastName", change.last_name),
        (&mut row.company, "company", change.company),
        (&mut row.title, "title", change.title),
    ] {
        match given(text) {
            None => {}
            Some(Some(text)) if text.chars().count() > TEXT_CHARS_MAX => {
                check(
                    field,
                    format!("{field} has more than {TEXT_CHARS_MAX} characters; shorten it."),
                );
            }
            Some(Some(text)) if text.contains('\0') => {
                check(field, format!("{field} holds a NUL character; remove it."));
            }
            Some(text) => *column = text,
        }
    }
    if let Some(name) = given(change.time_zone) {
        match name {
            Some(name) if zones.get(&name).is_none() => check(
                "timeZone",
                "timeZone is not a time zone of the IANA database; write one like Europe/Lisbon."
                    .into(),
            ),
            name => row.time_zone = name,
        }
    }
    if let Some(code) = given(change.country) {
        match code.map(|code| code.parse::<Country>()).transpose() {
            Ok(country) => row.country = country.map(|country| country.to_string()),
            Err(error) => check("country", format!("country {error}.")),
        }
    }
    if let Some(attributes) = change.attributes
        && let Err(message) = add_attributes(&mut row.attributes, attributes)
    {
        check("attributes", message);
    }
    person::refresh_keys(row);
    if problems.is_empty() {
        Ok(())
    } else {
        Err(problems)
    }
}

/// `Some(None)` for a text that is empty but for white space: it removes what is there.
fn given(text: Option<String>) -> Option<Option<String>> {
    text.map(|text| {
        let trimmed = text.trim();
        (!trimmed.is_empty()).then(|| trimmed.to_owned())
    })
}

fn add_attributes(known: &mut Value, said: Value) -> Result<(), String> {
    let Value::Object(said) = said else {
        return Err("attributes must be an object, like {\"city\": \"Porto\"}.".into());
    };
    let mut all = match known {
        Value::Object(known) => std::mem::take(known),
        _ => Map::new(),
    };
    for name in said.keys() {
        if name.is_empty() || name.chars().count() > ATTRIBUTE_NAME_CHARS_MAX {
            return Err(format!(
                "The name of an attribute has from 1 to {ATTRIBUTE_NAME_CHARS_MAX} characters; \
                 rename it."
            ));
        }
    }
    attributes::write(&mut all, said);
    let all = Value::Object(all);
    let text = all.to_string();
    if text.len() > ATTRIBUTES_BYTES_MAX {
        return Err(format!(
            "The attributes of one person take more than {ATTRIBUTES_BYTES_MAX} bytes; leave some \
             out."
        ));
    }
    if holds_nul(&all) {
        return Err("The attributes hold a NUL character; remove it.".into());
    }
    *known = all;
    Ok(())
}

#[cfg(test)]
mod tests;
