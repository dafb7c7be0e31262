//! The schema as everybody runs it: bounds before, codes after, panics caught.

use std::any::TypeId;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use async_graphql::{Error, Pos, Request, Response, SDLExportOptions, Schema};
use futures_util::stream::{BoxStream, once};
use futures_util::{FutureExt, StreamExt};

use super::audit::record::Audited;
use super::document::{self, Operation, OperationKind, Plan, Remembered, Shape};
use super::error::{finish, panicked};
use super::loader::Batches;
use super::loader::Keep;
use super::prompt::Patterns;
use super::{Mutation, Query, Subscription, loader};
use crate::app::{Caller, Services};
use crate::domain::id::{Id, kind};

type Inner = Schema<Query, Audited<Mutation>, Subscription>;

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
    shape: Arc<Shape>,
    remembered: Arc<Remembered>,
}

/// The schema in the definition language, with every description.
pub fn sdl() -> String {
    let schema = Inner::new(
        Query::default(),
        Audited::<Mutation>::default(),
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
    pub fn new(mut services: Services) -> Self {
        services.db = services.db.bounded();
        let schema = Schema::build(
            Query::default(),
            Audited::<Mutation>::default(),
            Subscription::default(),
        )
        .data(services.clone())
        .limit_recursive_depth(document::LEVELS_MAX)
        .finish();
        let shape = Shape::read(&schema.sdl()).expect("the schema is one");
        Self {
            schema,
            services,
            shape: Arc::new(shape),
            remembered: Arc::default(),
        }
    }

    /// The services that it runs over.
    pub fn services(&self) -> &Services {
        &self.services
    }

    /// Reads a request's document, once, and tells what it asks for.
    ///
    /// # Errors
    /// The answer to a document that is too large or cannot be parsed, or where no operation is
    /// meant.
    pub fn read(&self, request: &mut Request) -> Result<Operation, Box<Response>> {
        let operation = document::read(request, &self.shape, &self.remembered)?;
        request.data.insert(operation.clone());
        Ok(operation)
    }

    /// The answer where something went wrong before a request was run.
    pub fn refusal(&self, error: impl Into<Error>) -> Response {
        let mut error = error.into().into_server_error(Pos::default());
        error.locations.clear();
        let mut response = Response::from_errors(vec![error]);
        finish(&mut response, &RequestId::mint(&self.services).0);
        response
    }

    /// Runs a query or a mutation. Never panics, whatever a resolver does.
    pub async fn execute(&self, request: impl Into<Request>) -> Response {
        let Prepared {
            request,
            id,
            plan,
            batches,
        } = match self.prepare(request.into()) {
            Ok(prepared) => prepared,
            Err(response) => return *response,
        };
        let run = drive(batches, self.schema.execute(request));
        let run = AssertUnwindSafe(run).catch_unwind();
        let mut response = run.await.unwrap_or_else(|panic| panicked(&id.0, &*panic));
        plan.arrange(&mut response.data, !response.errors.is_empty());
        finish(&mut response, &id.0);
        response
    }

    /// Runs an operation of any kind; a query or a mutation answers once. A stream in which a
    /// resolver panics ends with an error.
    pub fn execute_stream(&self, request: impl Into<Request>) -> BoxStream<'static, Response> {
        let Prepared {
            request,
            id,
            plan,
            batches,
        } = match self.prepare(request.into()) {
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
                plan.arrange(&mut response.data, !response.errors.is_empty());
                finish(&mut response, &id.0);
                response
            })
            .boxed()
    }

    fn prepare(&self, mut request: Request) -> Result<Prepared, Box<Response>> {
        let (kind, plan) = match data::<Operation>(&request) {
            Some(operation) => (operation.kind, Arc::clone(&operation.plan)),
            None => {
                let operation = self.read(&mut request)?;
                (operation.kind, operation.plan)
            }
        };
        let id = data::<RequestId>(&request)
            .cloned()
            .unwrap_or_else(|| RequestId::mint(&self.services));
        let mut batches = None;
        if let Some(caller) = data::<Caller>(&request) {
            let keep = match kind {
                OperationKind::Query => Keep::UntilTheEnd,
                OperationKind::Mutation | OperationKind::Subscription => Keep::No,
            };
            let mut services = self.services.clone();
            match kind {
                OperationKind::Query => services.db = services.db.for_query(),
                OperationKind::Mutation => services.db = services.db.for_mutations(),
                OperationKind::Subscription => {}
            }
            let (loaders, driven) = loader::loaders(&services, caller, keep);
            let patterns = Patterns::default();
            let id = id.clone();
            request = (request.data(loaders).data(patterns))
                .data(services)
                .data(id);
            batches = Some(driven);
        }
        Ok(Prepared {
            request,
            id,
            plan,
            batches,
        })
    }
}

/// A request that is ready to run.
struct Prepared {
    request: Request,
    id: RequestId,
    /// What its answers look like.
    plan: Arc<Plan>,
    /// What it asks for meanwhile; nothing without a caller.
    batches: Option<Batches>,
}

async fn drive<T>(batches: Option<Batches>, run: impl Future<Output = T>) -> T {
    match batches {
        Some(batches) => batches.drive(run).await,
        None => run.await,
    }
}

fn data<T: 'static>(request: &Request) -> Option<&T> {
    request.data.get(&TypeId::of::<T>())?.downcast_ref()
}
