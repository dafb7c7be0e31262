//! The workspace itself: what it is called, its clock, and the limits that hold over all of its
//! sequences.

use super::token::{NAME_MAX, is_name};
use super::{AppError, Caller, Refusal, RefusalCode, Services, time_zone};
use crate::store::workspace::{self, Row};
use crate::store::{StoreError, dialect};

/// What is said of a workspace; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// What people, and the command line, call it.
    pub name: Option<String>,
    /// The clock of its days.
    pub time_zone: Option<String>,
    /// The most messages to one person in a day; 0 takes the limit away.
    pub max_messages_per_person_per_day: Option<i32>,
    /// The most messages to the addresses of one domain in a day; 0 takes the limit away.
    pub max_messages_per_domain_per_day: Option<i32>,
}

/// The caller's workspace.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn read(services: &Services, caller: &Caller) -> Result<Row, StoreError> {
    there(workspace::find(services.db.read(), caller.workspace).await?)
}

/// Changes the caller's workspace.
///
/// # Errors
/// [`AppError::Refused`] with every field that is wrong, or with `ALREADY_EXISTS` if another
/// workspace of the server has the name; [`AppError::Store`] as the database has it.
pub async fn update(services: &Services, caller: &Caller, change: Change) -> Result<Row, AppError> {
    let tx = services.db.begin().await?;
    let before = there(workspace::lock(&tx, caller.workspace).await?)?;
    let mut row = before.clone();
    let wrong = apply(services, &mut row, change);
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    if row == before {
        return Ok(row);
    }
    workspace::update(&tx, row.clone()).await.map_err(taken)?;
    // What was put off may leave now, and another node may be the one that sends it.
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.due();
    Ok(row)
}

/// A token belongs to a workspace, and none is ever removed.
fn there(row: Option<Row>) -> Result<Row, StoreError> {
    row.ok_or_else(|| StoreError::corrupt("workspace", "the token's is not there"))
}

/// The only constraint that a workspace can meet is that on its name.
fn taken(error: StoreError) -> AppError {
    match error {
        StoreError::Duplicate(_) => Refusal::new(
            RefusalCode::AlreadyExists,
            "Another workspace of this server has this name: give another one.",
            &["name"],
        )
        .into(),
        other => other.into(),
    }
}

/// Applies what is said of a workspace; answers everything that is wrong with it, and then the row
/// is not to be used.
fn apply(services: &Services, row: &mut Row, change: Change) -> Vec<Refusal> {
    let mut wrong = Vec::new();
    if let Some(name) = change.name {
        if !is_name(&name) {
            let message =
                format!("name has from 1 to {NAME_MAX} printable characters: correct it.");
            wrong.push(Refusal::invalid(message, &["name"]));
        }
        row.name = name.trim().to_owned();
    }
    if let Some(name) = change.time_zone {
        match time_zone::read(&services.zones, &name, &["timeZone"]) {
            Ok(name) => row.time_zone = name,
            Err(refusal) => wrong.push(refusal),
        }
    }
    let limits = [
        (
            "maxMessagesPerPersonPerDay",
            change.max_messages_per_person_per_day,
            &mut row.max_messages_per_person_per_day,
        ),
        (
            "maxMessagesPerDomainPerDay",
            change.max_messages_per_domain_per_day,
            &mut row.max_messages_per_domain_per_day,
        ),
    ];
    for (field, written, limit) in limits {
        match written {
            None => {}
            Some(0) => *limit = None,
            Some(number) if number > 0 => *limit = Some(number),
            Some(_) => {
                let message = format!("{field} is negative: give 1 or more, or 0 for no limit.");
                wrong.push(Refusal::invalid(message, &[field]));
            }
        }
    }
    wrong
}
