//! The schema as everybody runs it: bounds before, codes after, panics caught.

use std::any::TypeId;
use std::panic::AssertUnwindSafe;

use async_graphql::parser::types::{DocumentOperations, OperationType, Selection};
use async_graphql::{Request, Response, SDLExportOptions, Schema, ServerError};
use futures_util::stream::{BoxStream, once};
use futures_util::{FutureExt, StreamExt};

use super::error::{Code, finish, panicked, refused_request};
use super::loader::Batches;
use super::{Mutation, Query, Subscription, bounds, loader};
use crate::app::{Caller, Services};
use crate::domain::id::{Id, kind};

/// The deepest selection; the usual introspection query has 15 levels.
const DEPTH_MAX: usize = 15;
/// The most fields of an operation, fragments written out.
const COMPLEXITY_MAX: usize = 2_000;
/// The most directives of a field.
const DIRECTIVES_MAX: usize = 10;

type Inner = Schema<Query, Mutation, Subscription>;

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

/// The name of a request in the log and in answers; in the request's data, if the transport has
/// given it one.
#[derive(Debug, Clone)]
pub struct RequestId(pub String);

impl RequestId {
    /// A new one.
    pub fn mint(services: &Services) -> Self {
        let id: Id<kind::Execution> = services.entropy.id(services.clock.now());
        Self(format!("req_{}", id.uuid().simple()))
    }
}

/// The schema with its services; cheap to clone. A request carries its [`Caller`] as data.
#[derive(Clone)]
pub struct CadenzaSchema {
    schema: Inner,
    services: Services,
}

/// The schema in the definition language, with every description.
pub fn sdl() -> String {
    let schema = Inner::new(
        Query::default(),
        Mutation::default(),
        Subscription::default(),
    );
    let options = SDLExportOptions::new()
        .include_specified_by()
        .prefer_single_line_descriptions()
        .use_space_ident();
    format!("{}\n", schema.sdl_with_options(options).trim())
}

impl CadenzaSchema {
    /// The schema over these services.
    pub fn new(services: Services) -> Self {
        let schema = Schema::build(
            Query::default(),
            Mutation::default(),
            Subscription::default(),
        )
        .data(services.clone())
        .limit_depth(DEPTH_MAX)
        .limit_complexity(COMPLEXITY_MAX)
        .limit_directives(DIRECTIVES_MAX)
        .finish();
        Self { schema, services }
    }

    /// The services that it runs over.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Parses a request, once, and tells what it asks for.
    ///
    /// # Errors
    /// The answer to a document that is too large or cannot be parsed, or where no operation is
    /// meant.
    pub fn operation(&self, request: &mut Request) -> Result<OperationKind, Box<Response>> {
        let refused = |code, message: String| Box::new(refused_request(code, message));
        bounds::check(&request.query)
            .map_err(|error| refused(Code::QueryTooComplex, error.to_string()))?;
        let name = request
            .operation_name
            .clone()
            .filter(|name| !name.is_empty());
        request.operation_name.clone_from(&name);
        let document = request
            .parsed_query()
            .map_err(|error| Box::new(unparsed(error)))?;
        let operation = match (&document.operations, &name) {
            (DocumentOperations::Single(operation), None) => Some(operation),
            (DocumentOperations::Single(_), Some(_)) => None,
            (DocumentOperations::Multiple(operations), Some(name)) => operations.get(name.as_str()),
            (DocumentOperations::Multiple(operations), None) => {
                let mut all = operations.values();
                all.next().filter(|_| all.next().is_none())
            }
        };
        let operation = operation.ok_or_else(|| {
            let message = "operationName must name one of the document's operations; it may be \
                           left out where there is only one.";
            refused(Code::GraphqlValidationFailed, message.into())
        })?;
        // The library runs every field of several, and none of a fragment.
        let root = &operation.node.selection_set.node.items;
        let is_one_field =
            matches!(root.as_slice(), [one] if matches!(one.node, Selection::Field(_)));
        if operation.node.ty == OperationType::Subscription && !is_one_field {
            let message = "A subscription has exactly one field at its root, which is not in a \
                           fragment: send one subscription for each.";
            return Err(refused(Code::GraphqlValidationFailed, message.into()));
        }
        Ok(match operation.node.ty {
            OperationType::Query => OperationKind::Query,
            OperationType::Mutation => OperationKind::Mutation,
            OperationType::Subscription => OperationKind::Subscription,
        })
    }

    /// Runs a query or a mutation. Never panics, whatever a resolver does.
    pub async fn execute(&self, request: impl Into<Request>) -> Response {
        let (request, id, batches) = match self.prepare(request.into()) {
            Ok(prepared) => prepared,
            Err(response) => return *response,
        };
        let run = drive(batches, self.schema.execute(request));
        let run = AssertUnwindSafe(run).catch_unwind();
        let mut response = run.await.unwrap_or_else(|panic| panicked(&id.0, &*panic));
        finish(&mut response, &id.0);
        response
    }

    /// Runs an operation of any kind; a query or a mutation answers once. A stream in which a
    /// resolver panics ends with an error.
    pub fn execute_stream(&self, request: impl Into<Request>) -> BoxStream<'static, Response> {
        let (request, id, batches) = match self.prepare(request.into()) {
            Ok(prepared) => prepared,
            Err(response) => return once(async move { *response }).boxed(),
        };
        let answers = self.schema.execute_stream(request).boxed();
        let answers = match batches {
            Some(batches) => batches.drive_stream(answers).boxed(),
            None => answers,
        };
        AssertUnwindSafe(answers)
            .catch_unwind()
            .map(move |response| {
                let mut response = response.unwrap_or_else(|panic| panicked(&id.0, &*panic));
                finish(&mut response, &id.0);
                response
            })
            .boxed()
    }

    fn prepare(&self, mut request: Request) -> Result<Prepared, Box<Response>> {
        self.operation(&mut request)?;
        let id = data::<RequestId>(&request)
            .cloned()
            .unwrap_or_else(|| RequestId::mint(&self.services));
        let mut batches = None;
        if let Some(workspace) = data::<Caller>(&request).map(|caller| caller.workspace) {
            let (loaders, driven) = loader::loaders(&self.services, workspace);
            request = request.data(loaders);
            batches = Some(driven);
        }
        Ok((request, id, batches))
    }
}

/// A request with its name and what it asks for meanwhile; nothing without a caller.
type Prepared = (Request, RequestId, Option<Batches>);

async fn drive<T>(batches: Option<Batches>, run: impl Future<Output = T>) -> T {
    match batches {
        Some(batches) => batches.drive(run).await,
        None => run.await,
    }
}

fn data<T: 'static>(request: &Request) -> Option<&T> {
    request.data.get(&TypeId::of::<T>())?.downcast_ref()
}

fn unparsed(error: ServerError) -> Response {
    let mut response = refused_request(Code::GraphqlParseFailed, error.message);
    if let Some(refusal) = response.errors.first_mut() {
        refusal.locations = error.locations;
    }
    response
}
