//! Every error that the API answers, mapped in one place.
//!
//! What a caller can repair is a [`UserError`] in the payload. Everything else is an entry of
//! `errors` with a [`Code`]; what went wrong inside is logged once, under the request's id, and
//! never told.

use std::sync::Arc;

use async_graphql::{Enum, Error, Response, Result, ServerError, SimpleObject};
use strum::{EnumString, IntoStaticStr};

use crate::app::{AppError, Refusal, RefusalCode};
use crate::store::StoreError;

/// What a request without a valid token is told, whatever is wrong with it.
pub const NO_TOKEN: &str = "This needs a valid token in the header `Authorization: Bearer …`; `cadenza token create` makes one.";
/// How many errors one answer holds at most.
const ERRORS_MAX: usize = 20;
/// How long the message of an error is at most, in bytes.
const MESSAGE_MAX: usize = 1_000;

/// The codes of errors outside a payload, as `extensions.code`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Code {
    /// There is no valid token.
    Unauthenticated,
    /// The token's role, or its limit to some sequences, does not allow this.
    Forbidden,
    /// An argument holds what it must not, or the request is not one.
    BadUserInput,
    /// The document is no GraphQL.
    GraphqlParseFailed,
    /// The document does not fit the schema.
    GraphqlValidationFailed,
    /// The document is too deep, too long or asks for too much.
    QueryTooComplex,
    /// The database cannot be reached; trying again later helps.
    Unavailable,
    /// A hash is given for a document that the server does not know; send the document with it.
    PersistedQueryNotFound,
    /// The server runs only documents that it was given beforehand.
    DocumentNotTrusted,
    /// The token asks for more than its share; trying again later helps.
    RateLimited,
    /// It took longer than a request may take, and was given up.
    TimedOut,
    /// A fault of the server.
    Internal,
}

/// What kind of refusal a userErrors entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "RefusalCode")]
pub enum UserErrorCode {
    /// What the input names is not there.
    NotFound,
    /// A field holds what it must not.
    Invalid,
    /// The object is in a state that forbids this: editing a published sequence, enrolling in a
    /// draft.
    WrongState,
    /// Another write came first: expectedRevision no longer matches.
    Conflict,
    /// The same is already there.
    AlreadyExists,
    /// A plan, cap or size limit forbids this.
    Limit,
}

/// A refusal the caller can act on. A mutation that returns any has changed nothing, unless its
/// payload says so item by item.
#[derive(Debug, Clone, PartialEq, Eq, SimpleObject)]
pub struct UserError {
    /// What is wrong, for programs.
    pub code: UserErrorCode,
    /// What is wrong, for people, in one sentence that names the remedy.
    pub message: String,
    /// The path of the offending input field, from the mutation's input: ["flow", "steps", "2",
    /// "next"]; null where no single field is at fault.
    pub path: Option<Vec<String>>,
}

impl UserError {
    /// A refusal of the field at `path`.
    pub fn new(code: UserErrorCode, message: impl Into<String>, path: &[&str]) -> Self {
        Refusal::new(code.into(), message, path).into()
    }
}

impl From<Refusal> for UserError {
    fn from(refusal: Refusal) -> Self {
        Self {
            code: refusal.code.into(),
            message: refusal.message,
            path: (!refusal.path.is_empty()).then_some(refusal.path),
        }
    }
}

impl From<UserError> for Refusal {
    fn from(error: UserError) -> Self {
        Self {
            code: error.code.into(),
            message: error.message,
            path: error.path.unwrap_or_default(),
        }
    }
}

/// The refusals of a use case, for the payload.
///
/// # Errors
/// What the caller cannot repair; it becomes UNAVAILABLE or INTERNAL.
pub fn user_errors(error: AppError) -> Result<Vec<UserError>> {
    Ok(error.refusals()?.into_iter().map(UserError::from).collect())
}

/// An error outside a payload.
pub fn coded(code: Code, message: impl Into<String>) -> Error {
    let mut error = Error::new(message);
    error
        .extensions
        .get_or_insert_default()
        .set("code", <&str>::from(code));
    error
}

/// An argument of a query holds what it must not.
pub fn bad_input(message: impl Into<String>) -> Error {
    coded(Code::BadUserInput, message)
}

/// The same for a request that is refused before it is run.
pub fn refused_request(code: Code, message: impl Into<String>) -> Response {
    let mut error = ServerError::new(message, None);
    set_code(&mut error, code);
    Response::from_errors(vec![error])
}

/// The answer to a document that is no GraphQL; the error says where.
pub fn parse_failed(error: ServerError) -> Response {
    let message = shortened(error.message);
    let mut response = refused_request(Code::GraphqlParseFailed, message);
    if let Some(refusal) = response.errors.first_mut() {
        refusal.locations = error.locations;
    }
    response
}

/// A message that holds no more of a request than helps to find the place.
fn shortened(message: String) -> String {
    if message.len() <= MESSAGE_MAX {
        return message;
    }
    let end = message.floor_char_boundary(MESSAGE_MAX);
    format!("{} …", &message[..end])
}

/// The answer after a panic.
pub fn panicked(request_id: &str, panic: &(dyn std::any::Any + Send)) -> Response {
    let text = panic
        .downcast_ref::<&str>()
        .map(|text| (*text).to_owned())
        .or_else(|| panic.downcast_ref::<String>().cloned())
        .unwrap_or_default();
    tracing::error!(request.id = request_id, panic = text, "a resolver panicked");
    let mut error = ServerError::new("", None);
    hide(&mut error, request_id);
    Response::from_errors(vec![error])
}

/// Whether an answer refuses the request as a whole: nothing was run.
pub fn is_request_error(response: &Response) -> bool {
    !response.errors.is_empty()
        && response.data == async_graphql::Value::Null
        && response.errors.iter().all(|error| error.path.is_empty())
}

/// Gives every error of an answer its code, and hides and logs what is nobody's business.
pub fn finish(response: &mut Response, request_id: &str) {
    response.errors.truncate(ERRORS_MAX);
    for error in &mut response.errors {
        let known = error
            .extensions
            .as_ref()
            .is_some_and(|values| values.get("code").is_some());
        if !known {
            classify(error, request_id);
        }
        error.source = None;
        error.message = shortened(std::mem::take(&mut error.message));
    }
    name_request(response, request_id);
}

/// Gives every error of an answer the name of its request, under which the log says more.
pub fn name_request(response: &mut Response, request_id: &str) {
    for error in &mut response.errors {
        let values = error.extensions.get_or_insert_default();
        values.set("requestId", request_id);
    }
}

fn classify(error: &mut ServerError, request_id: &str) {
    let Some(source) = error.source.take() else {
        let code = code_without_source(error);
        set_code(error, code);
        return;
    };
    let store = store_error(&*source);
    let path = path_text(error);
    match store {
        Some(cause) if is_outage(cause) => {
            tracing::warn!(
                request.id = request_id,
                path,
                error = cause as &dyn std::error::Error,
                "a request met a database that cannot be reached"
            );
            error.message = "The database cannot be reached; try again in a moment.".into();
            set_code(error, Code::Unavailable);
        }
        Some(cause) if cause.took_too_long() => {
            tracing::warn!(
                request.id = request_id,
                path,
                "a statement of a request took too long and was ended"
            );
            error.message = "The database took too long over this; ask for less at once.".into();
            set_code(error, Code::TimedOut);
        }
        Some(cause) => {
            tracing::error!(
                request.id = request_id,
                path,
                error = cause as &dyn std::error::Error,
                "a request failed in the store"
            );
            hide(error, request_id);
        }
        None => {
            tracing::error!(
                request.id = request_id,
                path,
                error = error.message,
                "a request failed"
            );
            hide(error, request_id);
        }
    }
}

/// The code that an error of an answer has, or is about to have.
pub fn code_of(error: &ServerError) -> Code {
    let told = error
        .extensions
        .as_ref()
        .and_then(|values| values.get("code"));
    if let Some(async_graphql::Value::String(told)) = told
        && let Ok(code) = told.parse()
    {
        return code;
    }
    let Some(source) = &error.source else {
        return code_without_source(error);
    };
    match store_error(&**source) {
        Some(cause) if is_outage(cause) => Code::Unavailable,
        Some(cause) if cause.took_too_long() => Code::TimedOut,
        Some(_) | None => Code::Internal,
    }
}

fn code_without_source(error: &ServerError) -> Code {
    if !error.path.is_empty() {
        // Resolvers give their own errors a code or a source: this is the library's, about an
        // argument.
        Code::BadUserInput
    } else if error.message.starts_with(" --> ") {
        Code::GraphqlParseFailed
    } else if error.message.starts_with("Query is too")
        || error.message.starts_with("The recursion depth")
        || error.message.starts_with("The number of directives")
    {
        Code::QueryTooComplex
    } else {
        Code::GraphqlValidationFailed
    }
}

/// The error of the store that an error comes from.
fn store_error(source: &(dyn std::any::Any + Send + Sync)) -> Option<&StoreError> {
    source
        .downcast_ref::<StoreError>()
        .or_else(|| source.downcast_ref::<Arc<StoreError>>().map(AsRef::as_ref))
        .or_else(|| match source.downcast_ref::<AppError>() {
            Some(AppError::Store(error)) => Some(error),
            Some(AppError::Refused(_) | AppError::Internal(_)) | None => None,
        })
}

fn hide(error: &mut ServerError, request_id: &str) {
    error.message = format!(
        "The server failed; its log says more under the request id {request_id}, and trying again \
         may help."
    );
    set_code(error, Code::Internal);
}

fn set_code(error: &mut ServerError, code: Code) {
    error
        .extensions
        .get_or_insert_default()
        .set("code", <&str>::from(code));
}

fn path_text(error: &ServerError) -> String {
    let parts: Vec<String> = error
        .path
        .iter()
        .map(|part| match part {
            async_graphql::PathSegment::Field(name) => name.clone(),
            async_graphql::PathSegment::Index(index) => index.to_string(),
        })
        .collect();
    parts.join(".")
}

/// Whether the database is simply not there, which passes.
fn is_outage(error: &StoreError) -> bool {
    error.may_pass()
}

#[cfg(test)]
mod tests {
    use async_graphql::{Pos, Value};
    use sea_orm::DbErr;

    use super::*;

    fn finished(error: Error) -> ServerError {
        let mut error = error.into_server_error(Pos { line: 1, column: 1 });
        error.path = vec![async_graphql::PathSegment::Field("leads".into())];
        let mut response = Response::from_errors(vec![error]);
        finish(&mut response, "req_1");
        response.errors.remove(0)
    }

    fn code(error: &ServerError) -> Option<&Value> {
        error.extensions.as_ref()?.get("code")
    }

    #[test]
    fn what_went_wrong_inside_is_not_told() {
        let broken = || StoreError::from(DbErr::Custom("SELECT s3cret FROM lead".into()));
        for error in [
            Error::from(broken()),
            Error::from(Arc::new(broken())),
            Error::from(AppError::from(broken())),
            Error::from(AppError::Internal("s3cret".into())),
            Error::from(std::io::Error::other("s3cret")),
        ] {
            let told = finished(error);
            assert_eq!(code(&told), Some(&Value::from("INTERNAL")));
            let text = serde_json::to_string(&told).expect("JSON");
            assert!(!text.contains("s3cret") && text.contains("req_1"), "{text}");
        }
        let mut response = panicked("req_1", &"s3cret");
        finish(&mut response, "req_1");
        let text = serde_json::to_string(&response).expect("JSON");
        assert!(
            !text.contains("s3cret") && text.contains("INTERNAL"),
            "{text}"
        );
    }

    #[test]
    fn an_outage_says_that_it_passes() {
        let outage = DbErr::Conn(sea_orm::RuntimeErr::Internal("10.0.0.1 refused".into()));
        let told = finished(Error::from(StoreError::from(outage)));
        assert_eq!(code(&told), Some(&Value::from("UNAVAILABLE")));
        assert!(!told.message.contains("10.0.0.1"), "{}", told.message);
    }

    #[test]
    fn what_the_caller_can_repair_is_told() {
        let told = finished(bad_input("Give a smaller page."));
        assert_eq!(code(&told), Some(&Value::from("BAD_USER_INPUT")));
        assert_eq!(told.message, "Give a smaller page.");
    }

    #[test]
    fn an_answer_holds_a_bounded_number_of_errors() {
        let errors = vec![ServerError::new("no", None); 5_000];
        let mut response = Response::from_errors(errors);
        finish(&mut response, "req_1");
        assert_eq!(response.errors.len(), ERRORS_MAX);
    }
}
