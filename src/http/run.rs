//! Running what was read: in its turn, in bounded time, once or as a stream.

use std::time::Duration;

use async_graphql::{Request, Response};
use futures_util::stream::{self, BoxStream};
use futures_util::{Stream, StreamExt};
use tokio::time::timeout;
use tracing::Instrument;

use super::Http;
use super::payload::Payload;
use super::shares::{Line, Part};
use crate::app::Caller;
use crate::graphql::document::{COST_MAX, Operation};
use crate::graphql::error::{Code, name_request, refused_request};
use crate::graphql::{OperationKind, RequestId};

/// How long a query or a mutation may take, with the wait for its turn.
const WITHIN: Duration = Duration::from_secs(30);

/// A request that is ready to run.
pub struct Ready {
    /// The request, its document read.
    pub request: Request,
    /// What it asks for.
    pub operation: Operation,
    /// Who asks.
    pub caller: Caller,
    /// Its name.
    pub id: RequestId,
    /// Whether its cost is to be told.
    pub tells_cost: bool,
    /// The line that it waits in, where its client asks for several things at once.
    pub line: Option<Line>,
}

impl Ready {
    /// Reads the document of a request.
    ///
    /// # Errors
    /// The answer to one that is not run.
    pub fn read(
        http: &Http,
        mut request: Request,
        caller: Caller,
        id: RequestId,
    ) -> Result<Self, Box<Response>> {
        let read = http.schema().read(&mut request);
        let operation = read.map_err(|mut refused| {
            name_request(&mut refused, &id.0);
            refused
        })?;
        let request = request.data(caller.clone()).data(id.clone());
        Ok(Self {
            request,
            operation,
            caller,
            id,
            tells_cost: false,
            line: None,
        })
    }

    /// Runs a query or a mutation.
    pub async fn once(self, http: &Http) -> Response {
        let Self {
            request,
            operation,
            caller,
            id,
            tells_cost,
            line,
        } = self;
        let span = tracing::info_span!("request", request.id = id.0);
        let share = http.0.shares.of(caller.token);
        let run = async {
            let first = match &line {
                Some(line) => line.first().await,
                None => None,
            };
            let turn = share.turn().await;
            let answer = http.schema().execute(request).await;
            drop((turn, first));
            answer
        };
        let mut answer = match timeout(WITHIN, run.instrument(span)).await {
            Ok(answer) => answer,
            Err(_) => timed_out(operation.kind, &id),
        };
        let (errors, kind) = (answer.errors.len(), operation.kind);
        tracing::debug!(request.id = id.0, token = %caller.token, ?kind, errors, "answered");
        if tells_cost {
            let cost = async_graphql::value!({ "requested": operation.cost, "limit": COST_MAX });
            answer.extensions.insert("cost".to_owned(), cost);
        }
        answer
    }

    /// Runs an operation of any kind, and answers its results as they come.
    pub fn results(self, http: &Http) -> BoxStream<'static, Payload> {
        if self.operation.kind != OperationKind::Subscription {
            let http = http.clone();
            let run = async move { Payload::from(&self.once(&http).await) };
            return stream::once(run).boxed();
        }
        let Some(part) = http.0.shares.of(self.caller.token).stream() else {
            return one(refused(Code::RateLimited, TOO_MANY_STREAMS, &self.id));
        };
        let root = self.operation.root.as_ref();
        let results = match root {
            Some(root) => {
                let (schema, fanout) = (http.schema(), &http.0.fanout);
                match fanout.follow(schema, self.request, root, &self.caller) {
                    Ok(results) => results.boxed(),
                    Err(request) => alone(http, *request, &self.id),
                }
            }
            None => alone(http, self.request, &self.id),
        };
        holding(part, results)
    }
}

const TOO_MANY_STREAMS: &str = "This token follows as many subscriptions as it may; end some of them, or follow several subjects \
     by one.";

/// A subscription whose results nobody shares.
fn alone(http: &Http, request: Request, id: &RequestId) -> BoxStream<'static, Payload> {
    let results = named(http.schema().execute_stream(request), id);
    results.map(|answer| Payload::from(&answer)).boxed()
}

/// A stream whose log lines have a request's name.
pub fn named<T>(
    mut results: BoxStream<'static, T>,
    id: &RequestId,
) -> impl Stream<Item = T> + Send + use<T> {
    let span = tracing::info_span!("request", request.id = id.0);
    stream::poll_fn(move |cx| span.in_scope(|| results.poll_next_unpin(cx)))
}

/// Keeps a part of the token's share for as long as the stream lasts.
fn holding(part: Part, results: BoxStream<'static, Payload>) -> BoxStream<'static, Payload> {
    results
        .map(move |payload| {
            let _held = &part;
            payload
        })
        .boxed()
}

fn one(answer: Response) -> BoxStream<'static, Payload> {
    stream::iter([Payload::from(&answer)]).boxed()
}

/// An answer that refuses a request.
pub fn refused(code: Code, message: &str, id: &RequestId) -> Response {
    let mut refused = refused_request(code, message);
    name_request(&mut refused, &id.0);
    refused
}

fn timed_out(kind: OperationKind, id: &RequestId) -> Response {
    let seconds = WITHIN.as_secs();
    tracing::warn!(
        request.id = id.0,
        seconds,
        "a request took too long and was given up"
    );
    let message = match kind {
        OperationKind::Mutation => format!(
            "The mutation took longer than {seconds} seconds, and may or may not have been carried \
             out: look before you send it again, or send it with an idempotencyKey."
        ),
        OperationKind::Query | OperationKind::Subscription => format!(
            "The query took longer than {seconds} seconds and was given up; ask for less at once."
        ),
    };
    refused(Code::TimedOut, &message, id)
}
