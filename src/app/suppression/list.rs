//! The workspace's own lists of addresses that must not be contacted: entered by hand or from a file, and
//! lifted.

use std::collections::BTreeMap;

use super::{Reason, counted};
use crate::app::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::csv_cell::unguarded;
use crate::domain::flow::Channel;
use crate::domain::suppression::entry;
use crate::store::suppression::Row;
use crate::store::{self, StoreError, dialect, event};

/// The most entries that are given one by one.
pub const ENTRIES_MAX: usize = 1_000;
/// The most lines of a file; what is longer is given in parts.
pub const LINES_MAX: usize = 100_000;
/// The most lines that are told of what is wrong with them.
const PROBLEMS_MAX: usize = 100;
/// So many are entered in a transaction: others wait for its people and leads.
const BATCH: usize = 200;

/// An entry as it is written.
#[derive(Debug, Clone)]
pub struct Given {
    /// On this channel.
    pub channel: Channel,
    /// The address, or the domain.
    pub address: String,
}

/// A line of a file that was not entered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LineProblem {
    /// Which line, from 1; the first has the names of the columns.
    pub line: u64,
    /// What is wrong with it, and the remedy.
    pub message: String,
}

/// What became of a list.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// How many are new, or have a stronger reason now.
    pub added: usize,
    /// How many were on the list as they are.
    pub known: usize,
    /// Lines that were left out, the first hundred of them.
    pub problems: Vec<LineProblem>,
}

type Entries = BTreeMap<Reason, Vec<(Channel, String)>>;

/// Enters addresses and domains, and stops the leads whom that leaves no way.
///
/// # Errors
/// [`AppError::Refused`] with every entry that is wrong, and with `LIMIT` for too many; then none was
/// entered. [`AppError::Store`] as the database has it; what was entered until then stays.
pub async fn add(
    services: &Services,
    caller: &Caller,
    given: Vec<Given>,
    csv: Option<&str>,
) -> Result<Added, AppError> {
    if given.len() > ENTRIES_MAX {
        let message = format!("Give at most {ENTRIES_MAX} entries at once, or a file as csv.");
        return Err(Refusal::new(RefusalCode::Limit, message, &["entries"]).into());
    }
    let (mut entries, mut wrong) = (Entries::new(), Vec::new());
    for (position, one) in given.iter().enumerate() {
        match entry(one.channel, &one.address) {
            Ok(address) => {
                let manual = entries.entry(Reason::Manual).or_default();
                manual.push((one.channel, address));
            }
            Err(error) => {
                let path = ["entries", &position.to_string(), "address"];
                wrong.push(Refusal::invalid(error.to_string(), &path));
            }
        }
    }
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    let problems = match csv {
        Some(text) => read(text, &mut entries)?,
        None => Vec::new(),
    };
    let mut added = Added {
        problems,
        ..Added::default()
    };
    for (reason, mut addresses) in entries {
        addresses.sort_unstable();
        addresses.dedup();
        for batch in addresses.chunks(BATCH) {
            let entered = enter(services, caller, batch, reason).await?;
            added.added += entered;
            added.known += batch.len().saturating_sub(entered);
        }
    }
    Ok(added)
}

async fn enter(
    services: &Services,
    caller: &Caller,
    addresses: &[(Channel, String)],
    reason: Reason,
) -> Result<usize, AppError> {
    let (workspace, now) = (caller.workspace, services.clock.now());
    let tx = services.db.begin().await?;
    let (entered, events) = counted(&tx, workspace, addresses, reason, None, now).await?;
    dialect::notify(&tx).await?;
    event::append(&tx, workspace, events).await?;
    tx.commit().await.map_err(StoreError::from)?;
    services.wake.log();
    services.wake.due();
    Ok(entered)
}

/// Reads a file: a line for each entry, under names of columns of which one is `address`, and others may be
/// `channel`, without which it is email, and `reason`, without which it is MANUAL.
fn read(text: &str, entries: &mut Entries) -> Result<Vec<LineProblem>, Refusal> {
    let refused = |message: String| Refusal::invalid(message, &["csv"]);
    let mut reader = csv::ReaderBuilder::new()
        .flexible(true)
        .trim(csv::Trim::All)
        .from_reader(text.trim_start_matches('\u{feff}').as_bytes());
    let names =
        (reader.headers()).map_err(|error| refused(format!("The file is no CSV: {error}.")))?;
    let column = |wanted: &str| {
        names
            .iter()
            .position(|name| name.eq_ignore_ascii_case(wanted))
    };
    let (address, channel, reason) = (column("address"), column("channel"), column("reason"));
    let Some(address) = address else {
        let message = "The first line names the columns, and one of them is `address`: add it.";
        return Err(refused(message.into()));
    };
    let mut problems = Vec::new();
    for (index, record) in reader.records().enumerate() {
        if index >= LINES_MAX {
            let message = format!("A file has at most {LINES_MAX} lines: give it in parts.");
            return Err(Refusal::new(RefusalCode::Limit, message, &["csv"]));
        }
        let line = record.as_ref().ok().and_then(csv::StringRecord::position);
        let line = line.map_or(index as u64 + 2, csv::Position::line);
        let read = record
            .map_err(|error| error.to_string())
            .and_then(|record| {
                let cell = |at: Option<usize>| {
                    unguarded(at.and_then(|at| record.get(at)).unwrap_or_default()).to_owned()
                };
                let channel = word(&cell(channel), Channel::Email, "channel")?;
                let reason = word(&cell(reason), Reason::Manual, "reason")?;
                let address =
                    entry(channel, &cell(Some(address))).map_err(|error| error.to_string())?;
                Ok((reason, (channel, address)))
            });
        match read {
            Ok((reason, one)) => entries.entry(reason).or_default().push(one),
            Err(message) if problems.len() < PROBLEMS_MAX => {
                problems.push(LineProblem { line, message });
            }
            Err(_) => {}
        }
    }
    Ok(problems)
}

fn word<T: std::str::FromStr>(text: &str, default: T, column: &str) -> Result<T, String> {
    if text.is_empty() {
        return Ok(default);
    }
    let unknown = || format!("There is no {column} {text:?}: write one as the export does.");
    text.to_ascii_uppercase().parse().map_err(|_| unknown())
}

/// Takes an entry off the list: whoever has the address may be contacted again. Leads that it has stopped stay
/// stopped.
///
/// # Errors
/// [`AppError::Refused`] with `INVALID` for what is no address of the channel, and with `NOT_FOUND` where the
/// list has no such entry; [`AppError::Store`] as the database has it.
pub async fn remove(services: &Services, caller: &Caller, given: &Given) -> Result<Row, AppError> {
    let address = entry(given.channel, &given.address)
        .map_err(|error| Refusal::invalid(error.to_string(), &["address"]))?;
    let tx = services.db.begin().await?;
    let removed = store::suppression::remove(&tx, caller.workspace, given.channel, &address);
    let Some(row) = removed.await? else {
        let message = "The list has no such entry: take channel and address from the list.";
        return Err(Refusal::not_found(message, &["address"]).into());
    };
    tx.commit().await.map_err(StoreError::from)?;
    Ok(row)
}
