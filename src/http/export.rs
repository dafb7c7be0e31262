//! `/export/people.csv`, `/export/leads.csv`, `/export/executions.csv`, `/export/suppressions.csv`: lists as
//! files, however long.
//!
//! A file is read from the database a chunk at a time, by its place in the list, and each chunk is written out
//! before the next is read: memory does not depend on its length. Who goes away ends the work. Each export has
//! its entry in the audit before its first byte leaves.

mod row;
mod walk;

use async_graphql::{InputType, Value};
use axum::body::{Body, Bytes};
use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query, State};
use axum::http::{Extensions, HeaderMap, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::stream;
use serde::Deserialize;
use serde_json::{Value as Json, json};

use self::walk::{Cut, Export, List};
use super::accept::Format;
use super::answer::{self, refuse};
use super::shares::EXPORTS_MAX;
use super::{From, Http, audited};
use crate::app::Caller;
use crate::app::token::access::NotAdmitted;
use crate::domain::audit::Outcome;
use crate::domain::lead_filter::LeadFilter;
use crate::domain::person_filter::PersonFilter;
use crate::graphql::RequestId;
use crate::graphql::audit::of_input;
use crate::graphql::error::{Code, UserError};
use crate::graphql::execution::ExecutionFilterInput;
use crate::graphql::lead::LeadFilterInput;
use crate::graphql::person::PersonFilterInput;
use crate::graphql::problems::told;
use crate::graphql::suppression::SuppressionFilterInput;
use crate::store::{StoreError, execution};

/// What a request says of the file.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Parameters {
    /// The filter of the list, as JSON.
    filter: Option<String>,
}

/// Writes a list as a file.
pub async fn get(
    State(http): State<Http>,
    Path(name): Path<String>,
    extensions: Extensions,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, QueryRejection>,
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
    let Some(file) = File::named(&name) else {
        return answer::not_found_at(&format!("/export/{name}"));
    };
    let Some(held) = http.0.shares.of(caller.token).export() else {
        return one_too_many(&id);
    };
    let filter = filter(parameters);
    let asked = file.asked(filter.as_ref());
    let (services, mut recording) = audited::begin(&http, &caller, file.action(), asked, &id);
    let list = filter.and_then(|filter| file.list(filter, &caller));
    let list = match list {
        Ok(list) => list,
        Err(wrong) => {
            let (status, code, message) = wrong.told();
            let ending = audited::ending(Outcome::Refused, code.into());
            recording.end(ending).await;
            return refuse(status, code, &message, format, &id);
        }
    };
    // Nothing leaves of which there is no entry.
    if let Err(error) = recording.enter().await {
        return failed(&error, &id);
    }
    let export = Export::new(http, services, caller, list, recording, held);
    // The first chunk is read before anything is answered, so that an error there has its status.
    match export.next().await {
        Ok(first) => whole(&name, first, &id),
        Err(Cut::Over) => answer::unauthenticated(format, &id),
        Err(Cut::Store(error)) => failed(&error, &id),
    }
}

/// The filter that a request gives.
fn filter(parameters: Result<Query<Parameters>, QueryRejection>) -> Result<Option<Value>, Wrong> {
    let Ok(Query(parameters)) = parameters else {
        // One that is misspelled must not mean everybody.
        let message =
            "The parameters of the URL cannot be read: filter is JSON, and there are no others.";
        return Err(Wrong::Filter(message.into()));
    };
    let Some(text) = parameters.filter else {
        return Ok(None);
    };
    let json: Json = serde_json::from_str(&text)
        .map_err(|error| Wrong::Filter(format!("filter is no JSON: {error}.")))?;
    let value = Value::from_json(json);
    let value = value.map_err(|error| Wrong::Filter(format!("filter: {error}.")))?;
    Ok(Some(value))
}

fn one_too_many(id: &RequestId) -> Response {
    let message = format!(
        "{EXPORTS_MAX} files are being sent with this token, and that is the most: ask again when one of them \
         has come."
    );
    let status = StatusCode::TOO_MANY_REQUESTS;
    let mut response = refuse(status, Code::RateLimited, &message, Format::Json, id);
    let seconds = HeaderValue::from_static("5");
    response.headers_mut().insert(header::RETRY_AFTER, seconds);
    response
}

fn failed(error: &StoreError, id: &RequestId) -> Response {
    tracing::error!(
        request.id = id.0,
        error = error as &dyn std::error::Error,
        "an export failed"
    );
    let status = match error.may_pass() {
        true => StatusCode::SERVICE_UNAVAILABLE,
        false => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let message = match error.took_too_long() {
        true => "The database took too long to find what the filter chooses: narrow it.".to_owned(),
        false => format!(
            "The list could not be read; try again in a moment. The log says more under the request id {}.",
            id.0
        ),
    };
    refuse(status, code_of(error), &message, Format::Json, id)
}

fn code_of(error: &StoreError) -> Code {
    if error.took_too_long() {
        return Code::TimedOut;
    }
    match error.may_pass() {
        true => Code::Unavailable,
        false => Code::Internal,
    }
}

fn whole(name: &str, first: Option<(Bytes, Export)>, id: &RequestId) -> Response {
    let (bytes, rest) = match first {
        Some((bytes, rest)) => (bytes, Some(rest)),
        None => (Bytes::new(), None),
    };
    // An error on the way cuts the answer off, so that nobody takes a part for the whole.
    let name_of_request = id.0.clone();
    let rest = stream::try_unfold(rest, move |export| {
        let request = name_of_request.clone();
        async move {
            let next = match export {
                Some(export) => export.next().await,
                None => Ok(None),
            };
            let next = next.inspect_err(|error| {
                let error = error as &dyn std::error::Error;
                tracing::warn!(request.id = request, error, "an export was cut off");
            })?;
            Ok::<_, Cut>(next.map(|(bytes, export)| (bytes, Some(export))))
        }
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

impl Wrong {
    fn told(self) -> (StatusCode, Code, String) {
        match self {
            Self::Filter(message) => (StatusCode::BAD_REQUEST, Code::BadUserInput, message),
            Self::Limited => {
                let message = "This list is exported with a token of the whole workspace, and yours is limited \
                               to some sequences; an admin makes one by tokenCreate without sequenceIds.";
                (StatusCode::FORBIDDEN, Code::Forbidden, message.into())
            }
        }
    }
}

/// Which list is written as a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum File {
    People,
    Leads,
    Executions,
    Suppressions,
}

impl File {
    fn named(name: &str) -> Option<Self> {
        match name {
            "people.csv" => Some(Self::People),
            "leads.csv" => Some(Self::Leads),
            "executions.csv" => Some(Self::Executions),
            "suppressions.csv" => Some(Self::Suppressions),
            _ => None,
        }
    }

    /// What it is called in the audit.
    const fn action(self) -> &'static str {
        match self {
            Self::People => "peopleExport",
            Self::Leads => "leadsExport",
            Self::Executions => "executionsExport",
            Self::Suppressions => "suppressionsExport",
        }
    }

    /// What of a filter the audit keeps, and the ids in it.
    fn asked(self, filter: Result<&Option<Value>, &Wrong>) -> (Json, Vec<String>) {
        let name = "filter";
        let value = match filter {
            Ok(Some(value)) => value,
            Ok(None) => return (json!({ name: null }), Vec::new()),
            Err(_) => return (json!({ name: "…" }), Vec::new()),
        };
        match self {
            Self::People => of_input::<PersonFilterInput>(name, value),
            Self::Leads => of_input::<LeadFilterInput>(name, value),
            Self::Executions => of_input::<ExecutionFilterInput>(name, value),
            Self::Suppressions => of_input::<SuppressionFilterInput>(name, value),
        }
    }

    /// The list that a filter chooses, as far as the caller may see it.
    fn list(self, filter: Option<Value>, caller: &Caller) -> Result<List, Wrong> {
        Ok(match self {
            Self::People | Self::Suppressions if !caller.scope.is_all() => {
                return Err(Wrong::Limited);
            }
            Self::Suppressions => {
                let read = |input: SuppressionFilterInput, _: &[&str]| Ok(input.read());
                List::Suppressions(given(filter, read)?, None)
            }
            Self::People => {
                let filter: PersonFilter = given(filter, PersonFilterInput::read)?;
                List::People(filter, None)
            }
            Self::Leads => {
                let filter: LeadFilter = given(filter, LeadFilterInput::read)?;
                List::Leads(filter.narrowed(&caller.scope), None)
            }
            Self::Executions => {
                let filter: execution::Filter = given(filter, ExecutionFilterInput::read)?;
                List::Executions(filter.narrowed(&caller.scope), None)
            }
        })
    }
}

/// Reads a filter as the API takes it.
fn given<I: InputType + Default, F>(
    value: Option<Value>,
    read: impl FnOnce(I, &[&str]) -> Result<F, Vec<UserError>>,
) -> Result<F, Wrong> {
    let input = match value {
        None => I::default(),
        Some(value) => {
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
