//! The lines of a chunk become people: few statements, however many lines there are.
//!
//! A line means the same as a change made one by one, in the order of the file: a later line with
//! the same email address changes the person that an earlier one entered.

use std::collections::HashMap;

use sea_orm::DatabaseTransaction;

use super::{Line, OnConflict};
use crate::app::person::{Change, NOBODY, apply, blank, is_nobody};
use crate::app::{Services, workflow};
use crate::bulk::{Operation, Outcome};
use crate::domain::address::EmailAddress;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::workflow::Trigger;
use crate::store::StoreError;
use crate::store::bulk::seen;
use crate::store::person::{self, Row};

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
    let mut known = person::lock_by_email(tx, operation.workspace, &keys).await?;
    if way.dry_run {
        known.extend(would_be_there(services, tx, operation, &keys).await?);
    }
    let mut batch = Batch::new(services, operation, way, known);
    let outcomes = lines.into_iter().map(|line| batch.take(line)).collect();
    if way.dry_run {
        let (entered, _) = batch.into_rows();
        let met = entered.into_iter().filter_map(|row| row.email_key);
        let met: Vec<String> = met.collect();
        seen::insert(tx, operation.workspace, operation.id, &met).await?;
        return Ok(outcomes);
    }

    let now = services.clock.now();
    let (entered, changed) = batch.into_rows();
    person::insert_many(tx, &entered).await?;
    person::update_many(tx, &changed).await?;
    let entered: Vec<_> = entered.iter().map(|row| row.id).collect();
    let changed: Vec<_> = changed.iter().map(|row| row.id).collect();
    person::release_leads(tx, operation.workspace, &changed, now).await?;
    // Whoever carries the chunk out rings the bell for due work anyway.
    for (trigger, people) in [
        (Trigger::PersonCreated, entered),
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

fn email_key(line: &Line) -> Option<String> {
    let email = line.said.as_ref().ok()?.email.as_deref()?;
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
}

struct Entry {
    row: Row,
    state: State,
}

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
        };
        for row in known {
            batch.add(row, State::Known);
        }
        batch
    }

    fn add(&mut self, row: Row, state: State) {
        if let Some(key) = &row.email_key {
            self.by_email.insert(key.clone(), self.people.len());
        }
        self.people.push(Entry { row, state });
    }

    /// Applies a line.
    fn take(&mut self, line: Line) -> Outcome {
        let key = email_key(&line);
        let subject = format!("line {}", line.number);
        let done = line.said.and_then(|said| self.apply(key, said));
        let (code, message) = match done {
            Ok((code, message)) => (code, message.to_owned()),
            Err(problems) => (BulkOutcomeCode::Invalid, problems),
        };
        Outcome {
            subject,
            code,
            message,
        }
    }

    fn apply(
        &mut self,
        key: Option<String>,
        said: Change,
    ) -> Result<(BulkOutcomeCode, &'static str), String> {
        let zones = &self.services.zones;
        let existing = key
            .and_then(|key| self.by_email.get(&key).copied())
            .and_then(|index| self.people.get_mut(index));
        let Some(entry) = existing else {
            let mut row = blank(self.services, self.operation.workspace);
            apply(&mut row, said, zones).map_err(all_problems)?;
            if is_nobody(&row) {
                return Err(NOBODY.into());
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
        apply(&mut row, said, zones).map_err(all_problems)?;
        match self.way.on_conflict {
            OnConflict::Skip => Ok((
                BulkOutcomeCode::AlreadyInState,
                "There is a person with this email address already, who is left as it is.",
            )),
            OnConflict::Update if row == entry.row => Ok((
                BulkOutcomeCode::Done,
                "There is a person with this email address already, of whom all this was known.",
            )),
            OnConflict::Update => {
                row.updated_at = self.services.clock.now().timestamp_millis();
                entry.row = row;
                if entry.state == State::Known {
                    entry.state = State::Changed;
                }
                Ok((
                    BulkOutcomeCode::Done,
                    match self.way.dry_run {
                        true => "The person with this email address would be updated.",
                        false => "The person with this email address was updated.",
                    },
                ))
            }
        }
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

fn all_problems(problems: Vec<crate::app::person::FieldProblem>) -> String {
    let messages: Vec<String> = problems
        .into_iter()
        .map(|problem| problem.message)
        .collect();
    messages.join(" ")
}
