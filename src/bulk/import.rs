//! Importing people from a CSV file.
//!
//! The file is kept in the database, in pieces, until the import is over, and is read as a stream:
//! memory does not depend on its size. A process that goes on with an import keeps its place in the
//! file between chunks; another one reads from the beginning and passes over the lines that are
//! done.

mod read;
pub mod upload;
mod write;

use sea_orm::DatabaseTransaction;
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};

pub use self::read::Readers;
use super::{CHUNK_MAX, Chunk, ChunkError, Operation};
use crate::app::person::Change;
use crate::app::{AppError, Caller, Refusal, Services};
use crate::domain::bulk::BulkKind;
use crate::domain::id::{BulkId, PersonId};
use crate::domain::import::{ImportError, ImportLine, ImportReader};

/// About how much of a file is held for a chunk, in bytes: one of long lines has fewer of them.
const CHUNK_BYTES: usize = 4 << 20;

/// What is done with a line of somebody whom the workspace has already, by its id or its email address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum OnConflict {
    /// Changes the fields that the line has something for, and adds its attributes.
    Update,
    /// Leaves the person as it is.
    Skip,
}

/// A file of people, as it is submitted.
#[derive(Debug)]
pub struct Submission {
    /// The file.
    pub csv: String,
    /// What to do with it.
    pub options: Options,
}

/// What to do with a file of people.
#[derive(Debug)]
pub struct Options {
    /// Header to field, as an object.
    pub mapping: Option<Value>,
    /// What is done with people who are there already.
    pub on_conflict: OnConflict,
    /// Whether it is only tried out: nothing is written but what would become of each line.
    pub dry_run: bool,
    /// The key under which the same submission answers the same operation.
    pub idempotency_key: Option<String>,
}

impl Options {
    /// What is kept of them with the operation, and the key.
    ///
    /// # Errors
    /// A [`Refusal`] of a mapping that is no object.
    fn read(self) -> Result<(Request, Option<String>), Refusal> {
        let mapping = match self.mapping {
            None | Some(Value::Null) => None,
            Some(Value::Object(mapping)) => Some(mapping),
            Some(_) => {
                let message = "mapping must be an object from headers to fields, such as \
                               {\"Mail\": \"email\"}.";
                return Err(Refusal::invalid(message, &["mapping"]));
            }
        };
        let request = Request {
            mapping,
            on_conflict: self.on_conflict,
            dry_run: self.dry_run,
        };
        Ok((request, self.idempotency_key))
    }
}

/// Whether what was submitted, as it is kept with its operation, is only tried out.
pub fn is_dry_run(request: &Value) -> bool {
    request.get("dryRun").and_then(Value::as_bool) == Some(true)
}

/// What is kept of a submission with its operation.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request {
    mapping: Option<Map<String, Value>>,
    on_conflict: OnConflict,
    #[serde(default)]
    dry_run: bool,
}

/// Where the next chunk begins.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Progress {
    /// How many lines are done, whatever became of them.
    lines: u64,
}

/// Submits an import and does as much of it as takes a moment.
///
/// # Errors
/// [`AppError::Refused`] if the file's header or the mapping cannot be read, and as
/// [`super::submit`] has it.
pub async fn submit(
    services: &Services,
    caller: &Caller,
    submission: Submission,
) -> Result<BulkId, AppError> {
    let Submission { csv, options } = submission;
    let (request, idempotency_key) = options.read()?;
    ImportReader::new(csv.as_bytes(), request.mapping.as_ref()).map_err(refused)?;
    if csv.contains('\0') {
        return Err(holds_nul().into());
    }
    let kind = BulkKind::ImportPeople;
    super::submit(
        services,
        caller,
        kind,
        json!(request),
        Some(csv),
        idempotency_key,
    )
    .await
}

fn holds_nul() -> Refusal {
    let message = "The file holds NUL characters: save it as CSV in UTF-8.";
    Refusal::invalid(message, &["csv"])
}

fn refused(error: ImportError) -> AppError {
    let field = match &error {
        ImportError::UnknownHeader(_)
        | ImportError::UnknownField(_)
        | ImportError::MappedTwice(_) => "mapping",
        ImportError::Empty
        | ImportError::NotText
        | ImportError::NamelessColumn(_)
        | ImportError::DuplicateColumn(_)
        | ImportError::TooManyColumns
        | ImportError::NobodyKnown => "csv",
    };
    Refusal::invalid(error.to_string(), &[field]).into()
}

/// A line of the file: its number, and what it says or why it cannot be read.
struct Line {
    number: u64,
    said: Result<Said, String>,
}

/// What a line says, and of whom, where it names somebody by an id.
struct Said {
    id: Option<PersonId>,
    change: Change,
}

impl From<ImportLine> for Line {
    fn from(line: ImportLine) -> Self {
        let said = line.record.map(|record| Said {
            id: record.id,
            change: Change {
                email: record.email,
                phone: record.phone,
                linkedin_url: record.linkedin_url,
                first_name: record.first_name,
                last_name: record.last_name,
                company: record.company,
                title: record.title,
                time_zone: record.time_zone,
                country: record.country,
                attributes: (!record.attributes.is_empty()).then(|| record.attributes.into()),
            },
        });
        Self {
            number: line.number,
            said,
        }
    }
}

/// The next lines of the file.
pub(super) async fn chunk(
    services: &Services,
    tx: &DatabaseTransaction,
    readers: &mut Readers,
    operation: &Operation,
    progress: Value,
) -> Result<Chunk, ChunkError> {
    let request: Request = serde_json::from_value(operation.request.clone())
        .map_err(|error| ChunkError::Broken(format!("the import cannot be read: {error}")))?;
    let done: Progress = match progress {
        Value::Null => Progress::default(),
        progress => serde_json::from_value(progress)
            .map_err(|error| ChunkError::Broken(format!("the progress cannot be read: {error}")))?,
    };
    let mut reader = readers
        .at(tx, operation, request.mapping, done.lines)
        .await?;
    let mut lines = Vec::with_capacity(CHUNK_MAX);
    let (mut weight, mut is_last) = (0, false);
    while lines.len() < CHUNK_MAX && weight < CHUNK_BYTES {
        let Some(line) = reader.next(tx, operation).await? else {
            is_last = true;
            break;
        };
        weight += line.weight();
        lines.push(Line::from(line));
    }
    let lines_done = reader.lines_done();
    let way = write::Way {
        on_conflict: request.on_conflict,
        dry_run: request.dry_run,
    };
    let outcomes = write::write(services, tx, operation, way, lines).await?;
    if !is_last {
        readers.keep(operation.id, reader);
    }
    Ok(Chunk {
        outcomes,
        progress: (!is_last).then(|| json!(Progress { lines: lines_done })),
        total: is_last.then(|| i64::try_from(lines_done).unwrap_or(i64::MAX)),
        events: Vec::new(),
    })
}
