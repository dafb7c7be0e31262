//! People as rows of a CSV file: which column is which field, and what each line says.
//!
//! Reads as a stream, a record at a time, so that the size of a file does not matter. A line that
//! cannot be read is named and the rest goes on; a header that cannot be read refuses the file.
//! What a field may hold is not decided here.

use std::collections::{HashMap, HashSet};
use std::io::Read;

use serde_json::{Map, Value};

use super::csv_cell::unguarded;
use super::holidays::Country;
use super::id::PersonId;

mod target;

pub use self::target::Target;
use self::target::{named, recognised};

/// The most columns of a file.
pub const COLUMNS_MAX: usize = 500;
/// The longest record, in bytes: a longer one is a quote that was never closed.
pub const RECORD_BYTES_MAX: u64 = 1 << 20;
/// Where a record is this long, in bytes, its end is not looked for any more: it is held in memory.
const SEARCH_BYTES_MAX: u64 = 16 << 20;
/// How far into a file the end of its header is looked for, in bytes.
const HEADER_BYTES_MAX: usize = 1 << 16;

/// Why a file was refused as a whole; each names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// Nothing in it.
    #[error("The file is empty: its first line must name the columns, such as email,first_name.")]
    Empty,
    /// Not text in UTF-8.
    #[error("The header is not text in UTF-8: save the file as CSV in UTF-8.")]
    NotText,
    /// A column without a name.
    #[error("Column {0} has no name: name every column in the first line.")]
    NamelessColumn(usize),
    /// Two columns for one field.
    #[error("Two columns are for {0}: keep one, or map the other to an attribute.")]
    DuplicateColumn(String),
    /// The mapping gives a field to a column where another has it.
    #[error("Two columns are for {0}: map only one of them to it, and the other to an attribute.")]
    MappedTwice(String),
    /// Too many columns.
    #[error("The file has more than {COLUMNS_MAX} columns: drop those that are not needed.")]
    TooManyColumns,
    /// The mapping names a header that the file has not.
    #[error("The mapping names the column {0}, which the file does not have.")]
    UnknownHeader(String),
    /// The mapping names a field that people do not have.
    #[error(
        "The mapping names the field {0}: use id, email, phone, linkedinUrl, firstName, lastName, company, title, timeZone, country or attributes.NAME."
    )]
    UnknownField(String),
    /// Nothing that says who somebody is.
    #[error(
        "No column says who the people are: name one of them id, email, phone, linkedin_url or last_name, or map one."
    )]
    NobodyKnown,
}

/// What a line says of a person; `None` where the file has no such column or the cell is blank.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PersonRecord {
    /// The id of a person who is there already.
    pub id: Option<PersonId>,
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
    /// The attributes, as text.
    pub attributes: Map<String, Value>,
}

/// A line of the file.
#[derive(Debug, Clone, PartialEq)]
pub struct ImportLine {
    /// Its number in the file, from 1; a record of several lines goes by its first.
    pub number: u64,
    /// What it says, or why it cannot be read.
    pub record: Result<PersonRecord, String>,
}

impl ImportLine {
    /// About how much of memory it takes, in bytes.
    pub fn weight(&self) -> usize {
        let person = match &self.record {
            Ok(person) => person,
            Err(reason) => return reason.len(),
        };
        let fields = [
            &person.email,
            &person.phone,
            &person.linkedin_url,
            &person.first_name,
            &person.last_name,
            &person.company,
            &person.title,
            &person.time_zone,
            &person.country,
        ];
        let fields = fields.into_iter().flatten().map(String::len);
        let attributes = person.attributes.iter();
        let attributes =
            attributes.map(|(name, value)| name.len() + value.as_str().map_or(0, str::len));
        fields.chain(attributes).sum()
    }
}

/// Reads the lines of a file, one after another.
pub struct ImportReader<R: Read> {
    reader: csv::Reader<Lines<std::io::Chain<std::io::Cursor<Vec<u8>>, R>>>,
    targets: Vec<Target>,
    held: Option<ImportLine>,
    started: bool,
}

impl<R: Read> ImportReader<R> {
    /// Reads the header. `mapping` names a field for a header (`{"Mail": "email"}`); other headers
    /// are recognised by their usual names, and the rest become attributes.
    ///
    /// # Errors
    /// [`ImportError`], with the remedy.
    pub fn new(mut file: R, mapping: Option<&Map<String, Value>>) -> Result<Self, ImportError> {
        let start = read_start(&mut file);
        let start = start
            .strip_prefix(b"\xef\xbb\xbf")
            .map_or(start.clone(), <[u8]>::to_vec);
        if start.iter().all(u8::is_ascii_whitespace) {
            return Err(ImportError::Empty);
        }
        let delimiter = delimiter(&start);
        let mut reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(true)
            .flexible(true)
            .from_reader(Lines::new(
                std::io::Cursor::new(start).chain(file),
                delimiter,
            ));
        let header = reader
            .byte_headers()
            .map_err(|_| ImportError::NotText)?
            .clone();
        let targets = targets(&header, mapping)?;
        Ok(Self {
            reader,
            targets,
            held: None,
            started: false,
        })
    }

    /// What each column fills, in the order of the file.
    pub fn targets(&self) -> &[Target] {
        &self.targets
    }

    fn read(&mut self) -> Option<ImportLine> {
        let mut record = csv::ByteRecord::new();
        match self.reader.read_byte_record(&mut record) {
            Ok(false) => None,
            Ok(true) => {
                // Where the record begins is where the one before ended; blank lines lie between.
                let breaks = record
                    .iter()
                    .flatten()
                    .filter(|byte| **byte == b'\n')
                    .count();
                let breaks = u64::try_from(breaks).unwrap_or(0);
                let number = self.reader.position().line().saturating_sub(1 + breaks);
                let start = record.position().map_or(0, csv::Position::byte);
                let bytes = self.reader.position().byte().saturating_sub(start);
                let record = if bytes > RECORD_BYTES_MAX {
                    Err(
                        "The record is longer than 1 MB: close the quote that it begins with."
                            .into(),
                    )
                } else {
                    self.person(&record)
                };
                Some(ImportLine { number, record })
            }
            Err(error) => Some(ImportLine {
                number: error.position().map_or(0, csv::Position::line),
                record: Err("The line cannot be read: save the file as CSV in UTF-8.".into()),
            }),
        }
    }

    fn person(&self, record: &csv::ByteRecord) -> Result<PersonRecord, String> {
        if record.len() != self.targets.len() {
            let columns = if record.len() == 1 {
                "column"
            } else {
                "columns"
            };
            return Err(format!(
                "The line has {} {columns} and the header {}: look for a missing or an extra \
                 separator, or a quote that is not closed.",
                record.len(),
                self.targets.len()
            ));
        }
        let mut person = PersonRecord::default();
        for (index, (cell, target)) in record.iter().zip(&self.targets).enumerate() {
            let cell = std::str::from_utf8(cell).map_err(|_| {
                format!(
                    "Column {} is not text in UTF-8: save the file as CSV in UTF-8.",
                    index + 1
                )
            })?;
            let cell = unguarded(cell.trim());
            if cell.is_empty() {
                continue;
            }
            let field = match target {
                Target::Id | Target::IdOrAttribute(_) => {
                    identified(&mut person, target, cell)?;
                    continue;
                }
                Target::Email => &mut person.email,
                Target::Phone => &mut person.phone,
                Target::LinkedinUrl => &mut person.linkedin_url,
                Target::FirstName => &mut person.first_name,
                Target::LastName => &mut person.last_name,
                Target::Company => &mut person.company,
                Target::Title => &mut person.title,
                Target::TimeZone => &mut person.time_zone,
                Target::Country if cell.parse::<Country>().is_err() => {
                    person
                        .attributes
                        .insert("country".into(), Value::from(cell));
                    continue;
                }
                Target::Country => &mut person.country,
                Target::Attributes => {
                    match serde_json::from_str(cell) {
                        Ok(Value::Object(all)) => person.attributes.extend(all),
                        _ => {
                            let name = "attributes".to_owned();
                            person.attributes.insert(name, Value::from(cell));
                        }
                    }
                    continue;
                }
                Target::Attribute(name) => {
                    person.attributes.insert(name.clone(), Value::from(cell));
                    continue;
                }
            };
            *field = Some(cell.to_owned());
        }
        Ok(person)
    }
}

impl<R: Read> Iterator for ImportReader<R> {
    type Item = ImportLine;

    fn next(&mut self) -> Option<ImportLine> {
        if !self.started {
            self.started = true;
            self.held = self.read();
        }
        let mut line = self.held.take()?;
        self.held = self.read();
        let lines = self.reader.get_ref();
        if self.held.is_none() && lines.is_given_up() {
            line.record = Err(
                "The record is longer than 16 MB, and nothing after it was read: \
                close the quote that it begins with, and import the rest of the file."
                    .into(),
            );
        } else if self.held.is_none() && lines.place == Place::Quoted {
            line.record = Err("A quote is opened and never closed: close it.".into());
            // The file's last line break is inside the quote and ends no record.
            line.number += 1;
        }
        Some(line)
    }
}

/// Makes every line end in one line feed, the last one too, so that lines can be counted, and
/// follows the quotes, so that one that is never closed can be told. A line break inside a cell is
/// brought into the same form.
struct Lines<R> {
    inner: R,
    delimiter: u8,
    place: Place,
    /// How many bytes of the present record have passed.
    record: u64,
    after_return: bool,
    last: u8,
}

/// Where in a record a byte is. A quote means something at the beginning of a cell, and in a cell that
/// began with one (RFC 4180 §2).
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    CellStart,
    Plain,
    Quoted,
    /// After a quote in a quoted cell: it ends the quoting, unless another one follows.
    QuoteInQuoted,
}

impl Place {
    /// Where the byte after `byte` is; `ends_cell` where `byte` ends a cell that is not quoted.
    const fn after(self, byte: u8, ends_cell: bool) -> Self {
        match (self, byte) {
            (Self::Quoted, b'"') => Self::QuoteInQuoted,
            (Self::Quoted, _) | (Self::CellStart | Self::QuoteInQuoted, b'"') => Self::Quoted,
            _ if ends_cell => Self::CellStart,
            _ => Self::Plain,
        }
    }
}

impl<R: Read> Lines<R> {
    fn new(inner: R, delimiter: u8) -> Self {
        Self {
            inner,
            delimiter,
            place: Place::CellStart,
            record: 0,
            after_return: false,
            last: b'\n',
        }
    }

    /// Whether the rest of the file is not read.
    const fn is_given_up(&self) -> bool {
        self.record > SEARCH_BYTES_MAX
    }

    /// What a byte becomes; `None`, it is dropped.
    fn pass(&mut self, byte: u8) -> Option<u8> {
        let dropped = byte == b'\n' && self.after_return;
        self.after_return = byte == b'\r';
        if dropped {
            return None;
        }
        self.last = if byte == b'\r' { b'\n' } else { byte };
        let ends_cell = self.last == b'\n' || self.last == self.delimiter;
        self.place = self.place.after(self.last, ends_cell);
        self.record += 1;
        if self.place == Place::CellStart && self.last == b'\n' {
            self.record = 0;
        }
        Some(self.last)
    }
}

impl<R: Read> Read for Lines<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        loop {
            let read = if self.is_given_up() {
                0
            } else {
                self.inner.read(buffer)?
            };
            if read == 0 {
                let Some(first) = buffer.first_mut().filter(|_| self.last != b'\n') else {
                    return Ok(0);
                };
                (*first, self.last) = (b'\n', b'\n');
                return Ok(1);
            }
            let mut kept = 0;
            for index in 0..read {
                let Some(byte) = buffer.get(index).copied().and_then(|byte| self.pass(byte)) else {
                    continue;
                };
                if let Some(place) = buffer.get_mut(kept) {
                    *place = byte;
                    kept += 1;
                }
            }
            // Nothing but the second half of a line end: zero would mean the end of the file.
            if kept > 0 {
                return Ok(kept);
            }
        }
    }
}

fn read_start(file: &mut impl Read) -> Vec<u8> {
    let mut start = Vec::new();
    // An error shows again, and is told, when the rest is read.
    if file
        .take(u64::try_from(HEADER_BYTES_MAX).unwrap_or(u64::MAX))
        .read_to_end(&mut start)
        .is_err()
    {
        start.clear();
    }
    start
}

/// The separator of the header: the one it has most of, outside quotes.
fn delimiter(start: &[u8]) -> u8 {
    let mut counts = [(b',', 0_u32), (b';', 0), (b'\t', 0), (b'|', 0)];
    let mut place = Place::CellStart;
    for byte in start {
        if place != Place::Quoted && matches!(byte, b'\n' | b'\r') {
            break;
        }
        let candidate = counts.iter_mut().find(|(candidate, _)| candidate == byte);
        let after = place.after(*byte, candidate.is_some());
        if let Some((_, count)) = candidate.filter(|_| place != Place::Quoted) {
            *count += 1;
        }
        place = after;
    }
    // The first wins a tie: a comma, where there is one column only.
    counts
        .iter()
        .rev()
        .max_by_key(|(_, count)| *count)
        .map_or(b',', |(candidate, _)| *candidate)
}

fn targets(
    header: &csv::ByteRecord,
    mapping: Option<&Map<String, Value>>,
) -> Result<Vec<Target>, ImportError> {
    if header.len() > COLUMNS_MAX {
        return Err(ImportError::TooManyColumns);
    }
    let mut names = Vec::with_capacity(header.len());
    for (index, name) in header.iter().enumerate() {
        let name = std::str::from_utf8(name)
            .map_err(|_| ImportError::NotText)?
            .trim();
        if name.contains('\0') {
            return Err(ImportError::NotText);
        }
        if name.is_empty() {
            return Err(ImportError::NamelessColumn(index + 1));
        }
        names.push(name);
    }
    let mut fields = HashMap::new();
    for (key, field) in mapping.into_iter().flatten() {
        if !names.contains(&key.trim()) {
            return Err(ImportError::UnknownHeader(key.clone()));
        }
        if fields.insert(key.trim(), field).is_some() {
            return Err(ImportError::DuplicateColumn(key.trim().to_owned()));
        }
    }
    let (mut seen, mut by_mapping) = (HashSet::new(), HashSet::new());
    let mut targets = Vec::with_capacity(names.len());
    for name in names {
        let mapped = fields.get(name).map(|field| match field {
            Value::String(field) => {
                named(field).ok_or_else(|| ImportError::UnknownField(field.clone()))
            }
            other => Err(ImportError::UnknownField(other.to_string())),
        });
        let is_mapped = mapped.is_some();
        let target = mapped.unwrap_or_else(|| Ok(recognised(name)))?;
        if !seen.insert(target.clone()) {
            let field = target.field();
            return Err(if is_mapped || by_mapping.contains(&target) {
                ImportError::MappedTwice(field)
            } else {
                ImportError::DuplicateColumn(field)
            });
        }
        if is_mapped {
            by_mapping.insert(target.clone());
        }
        targets.push(target);
    }
    let known = [
        Target::Id,
        Target::Email,
        Target::Phone,
        Target::LinkedinUrl,
        Target::FirstName,
        Target::LastName,
    ];
    let tells =
        |target: &Target| known.contains(target) || matches!(target, Target::IdOrAttribute(_));
    if !seen.iter().any(tells) {
        return Err(ImportError::NobodyKnown);
    }
    Ok(targets)
}

/// Takes in the cell of a column of ids.
fn identified(person: &mut PersonRecord, target: &Target, cell: &str) -> Result<(), String> {
    match (cell.parse::<PersonId>(), target) {
        (Ok(id), _) if person.id.is_some_and(|known| known != id) => {
            Err("The line has the ids of two people: keep one column of ids.".into())
        }
        (Ok(id), _) => {
            person.id = Some(id);
            Ok(())
        }
        (Err(_), Target::IdOrAttribute(name)) => {
            person.attributes.insert(name.clone(), Value::from(cell));
            Ok(())
        }
        (Err(_), _) => Err(
            "The id is not that of a person: take it from an export of people, or map the column to \
             an attribute."
                .into(),
        ),
    }
}

#[cfg(test)]
mod tests;
