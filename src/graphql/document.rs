//! What a document may be, and what is put right in it before the library sees it.
//!
//! The order matters. The text is scanned before it is parsed, for the parser recurses; fragments
//! are counted before anything follows them, for a few of them can stand for any number of fields.
//! What is left is small enough to be validated and run by code that trusts it.

mod cost;
mod ending;
mod fragments;
mod known;
mod plan;
mod presence;
mod scan;
mod shape;
mod subscription;
mod text;
mod variables;

use std::sync::Arc;

use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition};
use async_graphql::{Name, Positioned, Request, Response};

pub use self::cost::COST_MAX;
pub use self::ending::{OBJECT, REFUSALS};
pub use self::fragments::LEVELS_MAX;
use self::known::Known;
pub use self::known::Remembered;
pub use self::plan::Plan;
pub use self::shape::Shape;
pub use self::subscription::{Leaf, Root};
use super::error::{Code, refused_request};

/// The longest document, in bytes.
pub const LENGTH_MAX: usize = 256 << 10;

/// What a document asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationKind {
    /// Reads.
    Query,
    /// Changes.
    Mutation,
    /// Follows live.
    Subscription,
}

/// What is known of a request once its document was read.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// What it asks for.
    pub kind: OperationKind,
    /// How many objects its answer has at most, by estimate; of a subscription, each answer.
    pub cost: u64,
    /// What a subscription follows; nothing else has one.
    pub root: Option<Root>,
    /// What its answers look like.
    pub plan: Arc<Plan>,
}

/// Why a document is not run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TooMuch {
    /// A very long text.
    #[error(
        "The document is longer than {LENGTH_MAX} bytes; ask for less at once, and give large values as variables."
    )]
    Length,
    /// Brackets in brackets in brackets.
    #[error(
        "The document nests more than {} brackets; ask for less at once, and give large values as variables.",
        scan::NESTING_MAX
    )]
    Nesting,
    /// Too many words and signs.
    #[error(
        "The document has more than {} tokens; ask for less at once, and give large values as variables.",
        scan::TOKENS_MAX
    )]
    Tokens,
    /// Fields in fields in fields.
    #[error(
        "The document selects more than {} levels of fields; ask for less at once.",
        fragments::DEPTH_MAX
    )]
    Depth,
    /// Fragments in fragments in fragments.
    #[error(
        "The document nests fields and fragments more than {} deep; ask for less at once.",
        fragments::LEVELS_MAX
    )]
    Levels,
    /// Many fields, once fragments are written out.
    #[error(
        "The document selects more than {} fields, fragments written out; ask for less at once.",
        fragments::FIELDS_MAX
    )]
    Fields,
    /// Many names for fields.
    #[error(
        "The document has more than {} aliases, fragments written out; ask for less at once, or by a list.",
        fragments::ALIASES_MAX
    )]
    Aliases,
    /// Many directives.
    #[error(
        "The document has more than {} directives in one place, or {} in all.",
        fragments::DIRECTIVES_MAX,
        fragments::ALL_DIRECTIVES_MAX
    )]
    Directives,
    /// Many changes in one request.
    #[error(
        "A request carries at most {} mutations; send the others in requests of their own, or use a bulk mutation.",
        fragments::ROOT_MUTATIONS_MAX
    )]
    RootMutations,
    /// Many operations, of which one is run.
    #[error("The document has more than {} operations.", fragments::OPERATIONS_MAX)]
    Operations,
    /// Pages of pages of pages.
    #[error(
        "The answer could have {cost} objects, and at most {COST_MAX} are given at once; ask for smaller pages or fewer levels of lists."
    )]
    Cost {
        /// The estimate.
        cost: u64,
    },
    /// The schema, over and over.
    #[error("The document asks for the schema in too many levels at once.")]
    Introspection,
}

/// Why a request cannot be run, though it is not too large.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A fragment that holds itself.
    #[error("The fragment {0} holds itself.")]
    Cycle(Name),
    /// No operation is meant, or one that is not there.
    #[error(
        "operationName must name one of the document's operations; it may be left out where there is only one."
    )]
    OperationName,
    /// A variable that nobody defines.
    #[error("The variable ${0} is not defined by the operation.")]
    UndefinedVariable(Name),
    /// A subscription of several fields or of none.
    #[error("A subscription has exactly one field at its root: send one subscription for each.")]
    SubscriptionRoot,
    /// A subscription whose field may be missing.
    #[error("The root of a subscription cannot be skipped or included by a condition.")]
    SubscriptionCondition,
}

/// Either of both.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    TooMuch(#[from] TooMuch),
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl From<Refused> for Box<Response> {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::TooMuch(_) => Code::QueryTooComplex,
            Refused::Invalid(_) => Code::GraphqlValidationFailed,
        };
        Box::new(refused_request(code, refused.to_string()))
    }
}

/// Reads a request's document: checks its bounds, parses it, and puts right what the library would
/// get wrong. The request then carries the parsed document. What was read lately is not read again.
///
/// # Errors
/// The answer to a document that is too large or cannot be parsed, or where no operation is meant.
pub fn read(
    request: &mut Request,
    shape: &Shape,
    remembered: &Remembered,
) -> Result<Operation, Box<Response>> {
    request.operation_name = request
        .operation_name
        .take()
        .filter(|name| !name.is_empty());
    let known = match remembered.find(request) {
        Some(known) => known,
        None => remembered.keep(Known::read(request, shape)?),
    };
    let name = request.operation_name.as_deref();
    variables::fill_in_defaults(known.document(), name, &mut request.variables);
    if let Some(plain) = known.plain() {
        request.query = plain.to_owned();
    }
    let operation = known.operation(&request.variables, shape)?;
    request.set_parsed_query(known.document().clone());
    Ok(operation)
}

/// The operation that is to be run.
fn chosen<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<&'a Positioned<OperationDefinition>, Invalid> {
    let operation = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name),
        (DocumentOperations::Multiple(operations), None) => {
            let mut all = operations.values();
            all.next().filter(|_| all.next().is_none())
        }
    };
    operation.ok_or(Invalid::OperationName)
}

/// The same, to be changed.
fn chosen_mut<'a>(
    document: &'a mut ExecutableDocument,
    name: Option<&str>,
) -> Option<&'a mut Positioned<OperationDefinition>> {
    match (&mut document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some(operation),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), Some(name)) => operations.get_mut(name),
        (DocumentOperations::Multiple(operations), None) => operations.values_mut().next(),
    }
}
