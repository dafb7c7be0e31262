//! `/export/people.csv`, `/export/leads.csv`, `/export/executions.csv`: lists as files, however long.
//!
//! A file is read from the database a chunk at a time, by its place in the list, and each chunk is written out
//! before the next is read: memory does not depend on its length. Who goes away ends the work.

mod row;

use async_graphql::{InputType, Value};
use axum::body::{Body, Bytes};
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;

use super::accept::Format;
use super::answer::{self, refuse};
use super::{From, Http};
use crate::app::Caller;
use crate::app::token::access::NotAdmitted;
use crate::domain::csv_cell::guarded;
use crate::domain::id::{LeadId, PersonId};
use crate::domain::lead_filter::{LeadFilter, LeadOrder};
use crate::domain::person_filter::PersonFilter;
use crate::graphql::RequestId;
use crate::graphql::error::{Code, UserError};
use crate::graphql::execution::ExecutionFilterInput;
use crate::graphql::lead::LeadFilterInput;
use crate::graphql::person::PersonFilterInput;
use crate::graphql::problems::told;
use crate::store::lead::{Key, Part, Scope};
use crate::store::{StoreError, execution, lead, person};

/// So many rows are read at a time.
const CHUNK: u64 = 500;

/// What a request says of the file.
#[derive(Debug, Deserialize)]
pub struct Parameters {
    /// The filter of the list, as JSON.
    filter: Option<String>,
}

/// Which list, of what, and how far it is.
enum List {
    People(PersonFilter, Option<uuid::Uuid>),
    Leads(LeadFilter, Option<Key>),
    Executions(execution::Filter, Option<uuid::Uuid>),
}

/// Writes a list as a file.
pub async fn get(
    State(http): State<Http>,
    Path(name): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
) -> Response {
    let from = From::of(&http, &extensions, &headers);
    let id = RequestId::mint(http.services());
    let format = Format::Json;
    let admitted = http.caller(&headers, from).await;
    let admitted = admitted.and_then(|caller| {
        http.services().access.spend(&caller, from.0)?;
        Ok(caller)
    });
    let caller = match admitted {
        Ok(caller) => caller,
        Err(NotAdmitted::NoToken) => return answer::unauthenticated(format, &id),
        Err(NotAdmitted::TooMany(retry)) => return answer::too_many(retry, format, &id),
        Err(NotAdmitted::Store(error)) => return failed(&error, &id),
    };
    let filter = match parameters {
        Ok(Query(parameters)) => parameters.filter,
        Err(_) => return bad("The parameters of the URL cannot be read.", &id),
    };
    let list = match List::read(&name, filter.as_deref(), &caller) {
        Ok(Some(list)) => list,
        Ok(None) => return answer::not_found_at(&format!("/export/{name}")),
        Err(Wrong::Filter(message)) => return bad(&message, &id),
        Err(Wrong::Limited) => {
            let message = "People are exported with a token of the whole workspace, and yours is limited to \
                           some sequences; an admin makes one by tokenCreate without sequenceIds.";
            return refuse(StatusCode::FORBIDDEN, Code::Forbidden, message, format, &id);
        }
    };
    let export = Export {
        http,
        caller,
        list: Some(list),
        has_header: false,
    };
    // The first chunk is read before anything is answered, so that an error there has its status.
    match export.next().await {
        Ok(first) => file(&name, first, &id),
        Err(error) => failed(&error, &id),
    }
}

fn bad(message: &str, id: &RequestId) -> Response {
    refuse(
        StatusCode::BAD_REQUEST,
        Code::BadUserInput,
        message,
        Format::Json,
        id,
    )
}

fn failed(error: &StoreError, id: &RequestId) -> Response {
    tracing::error!(
        request.id = id.0,
        error = error as &dyn std::error::Error,
        "an export failed"
    );
    let (status, code) = match error.may_pass() {
        true => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
        false => (StatusCode::INTERNAL_SERVER_ERROR, Code::Internal),
    };
    let message = format!(
        "The list could not be read; try again in a moment. The log says more under the request id {}.",
        id.0
    );
    refuse(status, code, &message, Format::Json, id)
}

fn file(name: &str, first: Option<(Bytes, Export)>, id: &RequestId) -> Response {
    let (bytes, rest) = match first {
        Some((bytes, rest)) => (bytes, Some(rest)),
        None => (Bytes::new(), None),
    };
    // An error on the way cuts the answer off, so that nobody takes a part for the whole.
    let rest = stream::try_unfold(rest, |export| async move {
        let next = match export {
            Some(export) => export.next().await?,
            None => None,
        };
        Ok::<_, StoreError>(next.map(|(bytes, export)| (bytes, Some(export))))
    });
    let first = stream::once(async move { Ok(bytes) });
    let body = Body::from_stream(futures_util::StreamExt::chain(first, rest));
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    answer::common_headers(headers, id);
    let media_type = "text/csv; charset=utf-8; header=present";
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(media_type));
    if let Ok(name) = HeaderValue::from_str(&format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// Why a list is not exported.
enum Wrong {
    /// The filter is none.
    Filter(String),
    /// It is the whole workspace's.
    Limited,
}

impl List {
    /// The list of a file's name, as far as the caller may see it; `None` for a name that is none.
    fn read(name: &str, filter: Option<&str>, caller: &Caller) -> Result<Option<Self>, Wrong> {
        Ok(Some(match name {
            "people.csv" if !caller.scope.is_all() => return Err(Wrong::Limited),
            "people.csv" => {
                let filter = given::<PersonFilterInput, _>(filter, PersonFilterInput::read)?;
                Self::People(filter, None)
            }
            "leads.csv" => {
                let filter = given::<LeadFilterInput, _>(filter, LeadFilterInput::read)?;
                Self::Leads(filter.narrowed(&caller.scope), None)
            }
            "executions.csv" => {
                let filter = given::<ExecutionFilterInput, _>(filter, ExecutionFilterInput::read)?;
                Self::Executions(filter.narrowed(&caller.scope), None)
            }
            _ => return Ok(None),
        }))
    }
}

/// Reads a filter as the API takes it.
fn given<I: InputType + Default, F>(
    text: Option<&str>,
    read: impl FnOnce(I, &[&str]) -> Result<F, Vec<UserError>>,
) -> Result<F, Wrong> {
    let input = match text {
        None => I::default(),
        Some(text) => {
            let json: serde_json::Value = serde_json::from_str(text)
                .map_err(|error| Wrong::Filter(format!("filter is no JSON: {error}.")))?;
            let value = Value::from_json(json)
                .map_err(|error| Wrong::Filter(format!("filter: {error}.")))?;
            let input = I::parse(Some(value.clone())).map_err(|error| {
                let error = error.into_server_error(Default::default());
                Wrong::Filter(format!("filter: {}.", error.message))
            })?;
            // What the library does not know it passes over, and everybody would be exported.
            if let Some(name) = unknown(&value, &input.to_value()) {
                let message = format!("filter: there is no field {name}; leave it out.");
                return Err(Wrong::Filter(message));
            }
            input
        }
    };
    read(input, &["filter"]).map_err(|problems| Wrong::Filter(told(problems)))
}

/// A field of what was given that is not among those that were read.
fn unknown(given: &Value, read: &Value) -> Option<String> {
    match (given, read) {
        (Value::Object(given), Value::Object(read)) => {
            given.iter().find_map(|(name, value)| match read.get(name) {
                None => Some(name.to_string()),
                Some(read) => unknown(value, read),
            })
        }
        (Value::List(given), Value::List(read)) => {
            let mut pairs = given.iter().zip(read);
            pairs.find_map(|(given, read)| unknown(given, read))
        }
        _ => None,
    }
}

/// A file that is being written.
struct Export {
    http: Http,
    caller: Caller,
    /// What is left of it; none after the last chunk.
    list: Option<List>,
    has_header: bool,
}

impl Export {
    /// The next part of the file, and what is left of it; `None` at its end.
    async fn next(mut self) -> Result<Option<(Bytes, Self)>, StoreError> {
        let Some(list) = self.list.take() else {
            return Ok(None);
        };
        // Each chunk waits for its turn among the requests of its token.
        let turn = self.http.0.shares.of(self.caller.token).turn().await;
        let mut lines = Lines::default();
        let (header, rest) = match list {
            List::People(filter, after) => self.people(filter, after, &mut lines).await?,
            List::Leads(filter, after) => self.leads(filter, after, &mut lines).await?,
            List::Executions(filter, after) => self.executions(filter, after, &mut lines).await?,
        };
        drop(turn);
        let mut text = Lines::default();
        if !self.has_header {
            text.add(header.iter().map(|name| Some((*name).to_owned())));
        }
        text.0.push_str(&lines.0);
        self.has_header = true;
        self.list = rest;
        Ok(Some((Bytes::from(text.0), self)))
    }

    async fn people(
        &self,
        filter: PersonFilter,
        after: Option<uuid::Uuid>,
        lines: &mut Lines,
    ) -> Result<(&'static [&'static str], Option<List>), StoreError> {
        let db = self.http.services().db.read();
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
        let db = self.http.services().db.read();
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
        let db = self.http.services().db.read();
        let rows = execution::page(db, self.caller.workspace, &filter, part_after(after)).await?;
        for row in &rows {
            lines.add(row::execution(row));
        }
        let last = rows.last().filter(|_| is_full(rows.len()));
        let rest = last.map(|last| List::Executions(filter, Some(last.id)));
        Ok((row::EXECUTION, rest))
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
fn lead_id(id: uuid::Uuid) -> Option<String> {
    Some(LeadId::from_uuid(id).to_string())
}
