//! The lines of a chunk become people: few statements, however many lines there are.
//!
//! A line means the same as a change made one by one, in the order of the file: a later line with
//! the same email address changes the person that an earlier one entered. A line with an id is of that person,
//! and of nobody else.

use std::collections::HashMap;

use sea_orm::DatabaseTransaction;
use uuid::Uuid;

use super::{Line, OnConflict, Said};
use crate::app::person::{NOBODY, apply, blank, is_nobody};
use crate::app::{Services, workflow};
use crate::bulk::{Operation, Outcome};
use crate::domain::address::EmailAddress;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::id::PersonId;
use crate::domain::workflow::Trigger;
use crate::store::StoreError;
use crate::store::bulk::seen;
use crate::store::person::{self, Row};

/// A line with an id that is nobody's.
const UNKNOWN: &str = "The workspace has no person with this id: leave the id empty, or the column out, to \
                       enter somebody new.";
/// A line whose email address is that of somebody else than its id.
const TAKEN: &str = "Another person has this email address, or had it before an earlier line: leave the address \
                     out, or make one of the two by personMerge.";

/// What is done with lines.
#[derive(Debug, Clone, Copy)]
pub(super) struct Way {
    /// With those whose email address is known.
    pub on_conflict: OnConflict,
    /// Whether nothing is written but what would become of them.
    pub dry_run: bool,
}

/// Writes the lines of a chunk and answers what became of each.
///
/// # Errors
/// [`StoreError`] as the database has it; [`StoreError::Duplicate`] if somebody else entered one of
/// the email addresses in the same moment: the chunk is to be tried again.
pub(super) async fn write(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    way: Way,
    lines: Vec<Line>,
) -> Result<Vec<Outcome>, StoreError> {
    let mut keys: Vec<String> = lines.iter().filter_map(email_key).collect();
    keys.sort_unstable();
    keys.dedup();
    let ids: Vec<PersonId> = lines.iter().filter_map(named).collect();
    let mut known = person::lock_known(tx, operation.workspace, &keys, &ids).await?;
    if way.dry_run {
        known.extend(would_be_there(services, tx, operation, &keys).await?);
    }
    let mut batch = Batch::new(services, operation, way, known);
    let outcomes = lines.into_iter().map(|line| batch.take(line)).collect();
    if way.dry_run {
        let met = batch.new_keys();
        seen::insert(tx, operation.workspace, operation.id, &met).await?;
        return Ok(outcomes);
    }

    let now = services.clock.now();
    let (mut entered, changed) = batch.into_rows();
    // Whoever is entered may have the address that another one had.
    person::update_many(tx, &changed).await?;
    let created: Vec<_> = entered.iter().map(|row| row.id).collect();
    // In one order, so that two imports of the same people wait for each other once.
    entered.sort_by(|one, other| one.email_key.cmp(&other.email_key));
    person::insert_many(tx, &entered).await?;
    let changed: Vec<_> = changed.iter().map(|row| row.id).collect();
    person::release_leads(tx, operation.workspace, &changed, now).await?;
    // Whoever carries the chunk out rings the bell for due work anyway.
    for (trigger, people) in [
        (Trigger::PersonCreated, created),
        (Trigger::PersonUpdated, changed),
    ] {
        workflow::set_off(services, tx, operation.workspace, trigger, &people).await?;
    }
    Ok(outcomes)
}

/// The people whom earlier lines of a dry run would have entered, as far as lines with their addresses are
/// told by it.
async fn would_be_there(
    services: &Services,
    tx: &DatabaseTransaction,
    operation: &Operation,
    keys: &[String],
) -> Result<Vec<Row>, StoreError> {
    let met = seen::find(tx, operation.workspace, operation.id, keys).await?;
    let row = |key: String| {
        let mut row = blank(services, operation.workspace);
        row.email = Some(key.clone());
        row.email_key = Some(key);
        row
    };
    Ok(met.into_iter().map(row).collect())
}

fn named(line: &Line) -> Option<PersonId> {
    line.said.as_ref().ok()?.id
}

fn email_key(line: &Line) -> Option<String> {
    let email = line.said.as_ref().ok()?.change.email.as_deref()?;
    EmailAddress::parse(email)
        .ok()
        .map(|email| email.key().to_owned())
}

/// The people of a chunk as they are once its lines are applied.
struct Batch<'a> {
    services: &'a Services,
    operation: &'a Operation,
    way: Way,
    people: Vec<Entry>,
    by_email: HashMap<String, usize>,
    by_id: HashMap<Uuid, usize>,
    /// Whose the addresses were before the chunk.
    before: HashMap<String, usize>,
}

struct Entry {
    row: Row,
    state: State,
}

/// Why nothing is done with a line.
type Refused = (BulkOutcomeCode, String);

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    /// As the database has it.
    Known,
    /// Not in the database yet.
    Entered,
    /// In the database, and changed since.
    Changed,
}

impl<'a> Batch<'a> {
    fn new(services: &'a Services, operation: &'a Operation, way: Way, known: Vec<Row>) -> Self {
        let mut batch = Self {
            services,
            operation,
            way,
            people: Vec::new(),
            by_email: HashMap::new(),
            by_id: HashMap::new(),
            before: HashMap::new(),
        };
        for row in known {
            batch.add(row, State::Known);
        }
        batch.before.clone_from(&batch.by_email);
        batch
    }

    fn add(&mut self, row: Row, state: State) {
        if let Some(key) = &row.email_key {
            self.by_email.insert(key.clone(), self.people.len());
        }
        self.by_id.insert(row.id, self.people.len());
        self.people.push(Entry { row, state });
    }

    /// Applies a line.
    fn take(&mut self, line: Line) -> Outcome {
        let key = email_key(&line);
        let subject = format!("line {}", line.number);
        let done = line.said.map_err(invalid);
        let done = done.and_then(|said| self.apply(key, said));
        let (code, message) = match done {
            Ok((code, message)) => (code, message.to_owned()),
            Err(refused) => refused,
        };
        Outcome {
            subject,
            code,
            message,
        }
    }

    /// Of whom of the known ones a line is.
    fn whose(&self, id: Option<PersonId>, key: Option<&str>) -> Result<Option<usize>, Refused> {
        let has = key.and_then(|key| self.by_email.get(key).copied());
        let Some(id) = id else {
            return Ok(has);
        };
        let Some(index) = self.by_id.get(&id.uuid()).copied() else {
            return Err((BulkOutcomeCode::NotFound, UNKNOWN.into()));
        };
        let had = key.and_then(|key| self.before.get(key).copied());
        match has.or(had) {
            Some(holder) if holder != index => Err(invalid(TAKEN.into())),
            _ => Ok(Some(index)),
        }
    }

    fn apply(
        &mut self,
        key: Option<String>,
        said: Said,
    ) -> Result<(BulkOutcomeCode, &'static str), Refused> {
        let zones = &self.services.zones;
        let whose = self.whose(said.id, key.as_deref())?;
        let existing = whose.and_then(|index| Some((index, self.people.get_mut(index)?)));
        let Some((index, entry)) = existing else {
            let mut row = blank(self.services, self.operation.workspace);
            apply(&mut row, said.change, zones).map_err(all_problems)?;
            if is_nobody(&row) {
                return Err(invalid(NOBODY.into()));
            }
            self.add(row, State::Entered);
            let told = match self.way.dry_run {
                true => "The person would be entered.",
                false => "The person was entered.",
            };
            return Ok((BulkOutcomeCode::Done, told));
        };
        // A line that is wrong is named also where it would change nothing.
        let mut row = entry.row.clone();
        apply(&mut row, said.change, zones).map_err(all_problems)?;
        let told = Told::of(said.id.is_some());
        match self.way.on_conflict {
            OnConflict::Skip => Ok((BulkOutcomeCode::AlreadyInState, told.left)),
            OnConflict::Update if row == entry.row => Ok((BulkOutcomeCode::Done, told.known)),
            OnConflict::Update => {
                row.updated_at = self.services.clock.now().timestamp_millis();
                if row.email_key != entry.row.email_key {
                    if let Some(key) = &entry.row.email_key {
                        self.by_email.remove(key);
                    }
                    if let Some(key) = &row.email_key {
                        self.by_email.insert(key.clone(), index);
                    }
                }
                entry.row = row;
                if entry.state == State::Known {
                    entry.state = State::Changed;
                }
                let message = match self.way.dry_run {
                    true => told.would,
                    false => told.was,
                };
                Ok((BulkOutcomeCode::Done, message))
            }
        }
    }

    /// The email addresses that nobody had before.
    fn new_keys(self) -> Vec<String> {
        let keys = self
            .people
            .into_iter()
            .filter_map(|entry| entry.row.email_key);
        keys.filter(|key| !self.before.contains_key(key)).collect()
    }

    /// Who is to be entered and who is to be written back.
    fn into_rows(self) -> (Vec<Row>, Vec<Row>) {
        let mut entered = Vec::new();
        let mut changed = Vec::new();
        for entry in self.people {
            match entry.state {
                State::Known => {}
                State::Entered => entered.push(entry.row),
                State::Changed => changed.push(entry.row),
            }
        }
        // Ids of the same millisecond are in no order; the file's order is the better one.
        let mut ids: Vec<_> = entered.iter().map(|row| row.id).collect();
        ids.sort_unstable();
        for (row, id) in entered.iter_mut().zip(ids) {
            row.id = id;
        }
        (entered, changed)
    }
}

/// What is told of a line of somebody who is there already.
struct Told {
    left: &'static str,
    known: &'static str,
    would: &'static str,
    was: &'static str,
}

impl Told {
    const fn of(by_id: bool) -> Self {
        match by_id {
            true => Self {
                left: "There is a person with this id already, who is left as it is.",
                known: "There is a person with this id already, of whom all this was known.",
                would: "The person with this id would be updated.",
                was: "The person with this id was updated.",
            },
            false => Self {
                left: "There is a person with this email address already, who is left as it is.",
                known: "There is a person with this email address already, of whom all this was known.",
                would: "The person with this email address would be updated.",
                was: "The person with this email address was updated.",
            },
        }
    }
}

const fn invalid(message: String) -> Refused {
    (BulkOutcomeCode::Invalid, message)
}

fn all_problems(problems: Vec<crate::app::person::FieldProblem>) -> Refused {
    let messages: Vec<String> = problems
        .into_iter()
        .map(|problem| problem.message)
        .collect();
    invalid(messages.join(" "))
}
