//! A list that is walked through, a chunk of rows at a time, and written as lines.

use axum::body::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use super::super::shares::Part as Share;
use super::super::{Http, audited};
use super::{code_of, row};
use crate::app::{Caller, Services};
use crate::domain::audit::Outcome;
use crate::domain::csv_cell::guarded;
use crate::domain::id::{LeadId, PersonId};
use crate::domain::lead_filter::{LeadFilter, LeadOrder};
use crate::domain::person_filter::PersonFilter;
use crate::graphql::audit::record::Recording;
use crate::graphql::error::Code;
use crate::store::audit::Ending;
use crate::store::lead::{Key, Part, Scope};
use crate::store::{StoreError, execution, lead, person, suppression};

/// So many rows are read at a time.
const CHUNK: u64 = 500;

/// Which list, of what, and how far it is.
pub enum List {
    /// People, after this one.
    People(PersonFilter, Option<uuid::Uuid>),
    /// Leads, after this one.
    Leads(LeadFilter, Option<Key>),
    /// Executions, after this one.
    Executions(execution::Filter, Option<uuid::Uuid>),
    /// Addresses that must not be contacted, after this one.
    Suppressions(suppression::Filter, Option<suppression::Key>),
}

/// Why a file is cut off.
#[derive(Debug, thiserror::Error)]
pub enum Cut {
    /// The token that it was asked for with was revoked, or has expired.
    #[error("its token is over")]
    Over,
    /// It could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
}

/// A file that is being written.
pub struct Export {
    source: Source,
    /// What is left of it; none after the last chunk.
    list: Option<List>,
    has_header: bool,
    /// Its entry in the audit. Where the client goes away, this is dropped, and says so.
    recording: Recording,
    /// Ready when its token is over.
    over: BoxFuture<'static, ()>,
    /// Its part of the token's share.
    _held: Share,
}

/// Where rows come from.
struct Source {
    http: Http,
    services: Services,
    caller: Caller,
}

impl Export {
    /// The file of a list, of which nothing is written yet.
    pub fn new(
        http: Http,
        services: Services,
        caller: Caller,
        list: List,
        recording: Recording,
        held: Share,
    ) -> Self {
        Self {
            over: services.access.over(caller.token).boxed(),
            source: Source {
                http,
                services,
                caller,
            },
            list: Some(list),
            has_header: false,
            recording,
            _held: held,
        }
    }

    /// The next part of the file, and what is left of it; `None` at its end.
    ///
    /// # Errors
    /// [`Cut`], with which the file ends before it is whole; the audit then says so.
    pub async fn next(mut self) -> Result<Option<(Bytes, Self)>, Cut> {
        let Some(list) = self.list.take() else {
            self.recording.end(Ending::DONE).await;
            return Ok(None);
        };
        let chunk = tokio::select! {
            biased;
            () = self.over.as_mut() => Err(Cut::Over),
            chunk = self.source.chunk(list) => chunk.map_err(Cut::from),
        };
        let (header, lines, rest) = match chunk {
            Ok(chunk) => chunk,
            Err(cut) => {
                let (outcome, code) = match &cut {
                    Cut::Over => (Outcome::Unfinished, Code::Unauthenticated),
                    Cut::Store(error) => (Outcome::Failed, code_of(error)),
                };
                let ending = audited::ending(outcome, code.into());
                self.recording.end(ending).await;
                return Err(cut);
            }
        };
        let mut text = Lines::default();
        if !self.has_header {
            text.add(header.iter().map(|name| Some((*name).to_owned())));
        }
        text.0.push_str(&lines.0);
        self.has_header = true;
        self.list = rest;
        Ok(Some((Bytes::from(text.0), self)))
    }
}

/// The names of the columns, some lines, and what is left of the list.
type Chunk = (&'static [&'static str], Lines, Option<List>);

impl Source {
    async fn chunk(&self, list: List) -> Result<Chunk, StoreError> {
        // Each chunk waits for its turn among the requests of its token.
        let _turn = self.http.0.shares.of(self.caller.token).turn().await;
        let mut lines = Lines::default();
        let (header, rest) = match list {
            List::People(filter, after) => self.people(filter, after, &mut lines).await?,
            List::Leads(filter, after) => self.leads(filter, after, &mut lines).await?,
            List::Executions(filter, after) => self.executions(filter, after, &mut lines).await?,
            List::Suppressions(filter, after) => {
                self.suppressions(filter, after, &mut lines).await?
            }
        };
        Ok((header, lines, rest))
    }

    async fn people(
        &self,
        filter: PersonFilter,
        after: Option<uuid::Uuid>,
        lines: &mut Lines,
    ) -> Result<(&'static [&'static str], Option<List>), StoreError> {
        let db = self.services.db.bounded();
        let db = db.read();
        let rows = person::page(db, self.caller.workspace, &filter, part_after(after)).await?;
        for row in &rows {
            lines.add(row::person(row));
        }
        let last = rows.last().filter(|_| is_full(rows.len()));
        let rest = last.map(|last| List::People(filter, Some(last.id)));
        Ok((row::PERSON, rest))
    }

    async fn leads(
        &self,
        filter: LeadFilter,
        after: Option<Key>,
        lines: &mut Lines,
    ) -> Result<(&'static [&'static str], Option<List>), StoreError> {
        let workspace = self.caller.workspace;
        let order = LeadOrder::EnrolledAtAsc;
        let page = lead::Page {
            order,
            after,
            before: None,
            backward: false,
            limit: CHUNK,
        };
        let scope = Scope {
            workspace,
            filter: &filter,
            as_of: None,
        };
        let db = self.services.db.bounded();
        let db = db.read();
        let rows = lead::page(db, &scope, page).await?;
        let ids: Vec<PersonId> = rows
            .iter()
            .map(|row| PersonId::from_uuid(row.person_id))
            .collect();
        let people = person::find_many(db, workspace, &ids).await?;
        for row in &rows {
            let person = people.iter().find(|person| person.id == row.person_id);
            lines.add(row::lead(row, person)?);
        }
        let last = rows.last().filter(|_| is_full(rows.len()));
        let next = last.map(|last| Key::of(last, order));
        Ok((row::LEAD, next.map(|next| List::Leads(filter, Some(next)))))
    }

    async fn executions(
        &self,
        filter: execution::Filter,
        after: Option<uuid::Uuid>,
        lines: &mut Lines,
    ) -> Result<(&'static [&'static str], Option<List>), StoreError> {
        let db = self.services.db.bounded();
        let db = db.read();
        let rows = execution::page(db, self.caller.workspace, &filter, part_after(after)).await?;
        for row in &rows {
            lines.add(row::execution(row));
        }
        let last = rows.last().filter(|_| is_full(rows.len()));
        let rest = last.map(|last| List::Executions(filter, Some(last.id)));
        Ok((row::EXECUTION, rest))
    }
}

impl Source {
    async fn suppressions(
        &self,
        filter: suppression::Filter,
        after: Option<suppression::Key>,
        lines: &mut Lines,
    ) -> Result<(&'static [&'static str], Option<List>), StoreError> {
        let part = suppression::Part {
            after,
            limit: CHUNK,
            ..suppression::Part::default()
        };
        let db = self.services.db.read();
        let rows = suppression::page(db, self.caller.workspace, &filter, &part).await?;
        for row in &rows {
            lines.add(row::suppression(row));
        }
        let last = rows.last().filter(|_| is_full(rows.len()));
        let next = last.map(|last| (last.channel.clone(), last.address.clone()));
        let rest = next.map(|next| List::Suppressions(filter, Some(next)));
        Ok((row::SUPPRESSION, rest))
    }
}

/// The next rows of a list.
const fn part_after(after: Option<uuid::Uuid>) -> Part {
    Part {
        after,
        before: None,
        backward: false,
        limit: CHUNK,
    }
}

fn is_full(rows: usize) -> bool {
    u64::try_from(rows).is_ok_and(|rows| rows >= CHUNK)
}

/// Lines of a file (RFC 4180), in UTF-8.
#[derive(Default)]
struct Lines(String);

impl Lines {
    /// A line of these cells; one that is not there is empty.
    fn add(&mut self, cells: impl IntoIterator<Item = Option<String>>) {
        for (place, cell) in cells.into_iter().enumerate() {
            if place > 0 {
                self.0.push(',');
            }
            let cell = cell.unwrap_or_default();
            let cell = guarded(&cell);
            if cell.contains([',', ';', '"', '\r', '\n', '\t', '|']) || cell.trim() != cell {
                self.0.push('"');
                self.0.push_str(&cell.replace('"', "\"\""));
                self.0.push('"');
            } else {
                self.0.push_str(&cell);
            }
        }
        self.0.push_str("\r\n");
    }
}

/// A lead's id as the API has it.
pub(super) fn lead_id(id: uuid::Uuid) -> Option<String> {
    Some(LeadId::from_uuid(id).to_string())
}
