//! `/graphql` by POST and GET.

use async_graphql::Response as Answer;
use axum::body::Body as HttpBody;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Query, State, WebSocketUpgrade};
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use axum::response::Response;
use futures_util::future::join_all;

use super::accept::{Accepts, Format};
use super::answer::{self, refuse, write, write_batch};
use super::body::{NotTaken, Taken, drain};
use super::payload::Payload;
use super::read::{self, Asked, Body, Parameters};
use super::run::{Ready, refused as refused_answer};
use super::shares::Line;
use super::{BODY_MAX, From, Http, socket, stream};
use crate::app::token::access::NotAdmitted;
use crate::app::{Caller, Role};
use crate::graphql::document::COST_MAX;
use crate::graphql::error::Code;
use crate::graphql::{OperationKind, RequestId};
use crate::store::StoreError;

/// A request with this header hears what it cost.
pub const COST: HeaderName = HeaderName::from_static("cadenza-cost");
/// Some clients send this header so that a browser asks before the request.
pub const PREFLIGHT: HeaderName = HeaderName::from_static("apollo-require-preflight");

/// Runs the operation of a POST.
pub async fn post(
    State(http): State<Http>,
    extensions: Extensions,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    let from = From::of(&http, &extensions, &headers);
    let admitted = match Admitted::new(http, headers, from).await {
        Ok(admitted) => admitted,
        Err(response) => {
            drain(body).await;
            return *response;
        }
    };
    // What is taken in counts until the answer is there.
    let taken = match admitted.take(body).await {
        Ok(taken) => taken,
        Err(response) => return *response,
    };
    match read::body(&taken.bytes) {
        Ok(Body::One(asked)) => admitted.run(*asked).await,
        Ok(Body::Batch(batch)) => admitted.run_batch(batch).await,
        Err(message) => *admitted.refuse(StatusCode::BAD_REQUEST, Code::BadUserInput, message),
    }
}

/// Runs the query of a GET, or opens a WebSocket.
pub async fn get(
    State(http): State<Http>,
    extensions: Extensions,
    headers: HeaderMap,
    parameters: Result<Query<Parameters>, axum::extract::rejection::QueryRejection>,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Response {
    let from = From::of(&http, &extensions, &headers);
    if let Ok(upgrade) = upgrade {
        return socket::open(http, &headers, from, upgrade).await;
    }
    let admitted = match Admitted::new(http, headers, from).await {
        Ok(admitted) => admitted,
        Err(response) => return *response,
    };
    let bad = |message| *admitted.refuse(StatusCode::BAD_REQUEST, Code::BadUserInput, message);
    let Ok(Query(parameters)) = parameters else {
        return bad("The parameters of the URL cannot be read.");
    };
    match Asked::try_from(parameters) {
        Ok(asked) => admitted.run_read_only(asked).await,
        Err(message) => bad(message),
    }
}

/// A request whose sender is known, and which answers it takes.
struct Admitted {
    http: Http,
    headers: HeaderMap,
    id: RequestId,
    accepts: Accepts,
    caller: Caller,
    from: From,
}

type Refused = Box<Response>;

impl Admitted {
    async fn new(http: Http, headers: HeaderMap, from: From) -> Result<Self, Refused> {
        let id = RequestId::mint(http.services());
        let Some(accepts) = Accepts::read(&headers) else {
            let message = "The answer comes as application/json, application/graphql-response+json, \
                           text/event-stream or multipart/mixed with a subscriptionSpec; accept one \
                           of them.";
            let status = StatusCode::NOT_ACCEPTABLE;
            return Err(Box::new(refuse(
                status,
                Code::BadUserInput,
                message,
                Format::Json,
                &id,
            )));
        };
        let format = accepts.refusal();
        let admitted = http.caller(&headers, from).await;
        let admitted = admitted.and_then(|caller| {
            http.services().access.spend(&caller, from.0)?;
            Ok(caller)
        });
        match admitted {
            Ok(caller) => Ok(Self {
                http,
                headers,
                id,
                accepts,
                caller,
                from,
            }),
            Err(NotAdmitted::NoToken) => Err(Box::new(answer::unauthenticated(format, &id))),
            Err(NotAdmitted::TooMany(retry)) => Err(Box::new(answer::too_many(retry, format, &id))),
            Err(NotAdmitted::Store(error)) => Err(Box::new(unavailable(&error, format, &id))),
        }
    }

    fn refuse(&self, status: StatusCode, code: Code, message: &str) -> Refused {
        Box::new(refuse(
            status,
            code,
            message,
            self.accepts.refusal(),
            &self.id,
        ))
    }

    /// The body, if it is JSON and not too much.
    async fn take(&self, body: HttpBody) -> Result<Taken, Refused> {
        if !read::is_json(&self.headers) {
            let message = "Send the request as `Content-Type: application/json`.";
            let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
            drain(body).await;
            return Err(self.refuse(status, Code::BadUserInput, message));
        }
        let may_import = self.caller.role >= Role::Editor && self.caller.scope.is_all();
        let limit = if may_import {
            self.http.0.upload_max
        } else {
            BODY_MAX
        };
        let taken = self.http.0.room.take(body, limit).await;
        taken.map_err(|not_taken| {
            let (status, code) = match not_taken {
                NotTaken::TooLong(_) => (StatusCode::PAYLOAD_TOO_LARGE, Code::BadUserInput),
                NotTaken::TooSlow => (StatusCode::REQUEST_TIMEOUT, Code::BadUserInput),
                NotTaken::Cut => (StatusCode::BAD_REQUEST, Code::BadUserInput),
                NotTaken::NoRoom => (StatusCode::SERVICE_UNAVAILABLE, Code::Unavailable),
            };
            self.refuse(status, code, &not_taken.to_string())
        })
    }

    /// Reads the document of one operation.
    fn ready(&self, asked: Asked, id: RequestId) -> Result<Ready, Box<Answer>> {
        let documents = &self.http.0.documents;
        let request = asked.request(self.caller.workspace, documents);
        let request = request.map_err(|not_served| {
            Box::new(refused_answer(
                not_served.code(),
                &not_served.to_string(),
                &id,
            ))
        })?;
        let mut ready = Ready::read(&self.http, request, self.caller.clone(), id)?;
        ready.tells_cost = self.headers.contains_key(&COST);
        Ok(ready)
    }

    /// Runs what a GET asks for: a link must not change anything.
    async fn run_read_only(&self, asked: Asked) -> Response {
        match self.ready(asked, self.id.clone()) {
            Ok(ready) if ready.operation.kind == OperationKind::Mutation => {
                let status = StatusCode::METHOD_NOT_ALLOWED;
                let message = "A mutation is sent by POST.";
                let mut response = *self.refuse(status, Code::BadUserInput, message);
                let allowed = HeaderValue::from_static("POST");
                response.headers_mut().insert(header::ALLOW, allowed);
                response
            }
            Ok(ready) => self.answer(ready).await,
            Err(answer) => self.write_refusal(&answer),
        }
    }

    async fn run(&self, asked: Asked) -> Response {
        match self.ready(asked, self.id.clone()) {
            Ok(ready) => self.answer(ready).await,
            Err(answer) => self.write_refusal(&answer),
        }
    }

    /// Writes the answer to what was not run. Who takes only streams hears by the status.
    fn write_refusal(&self, answer: &Answer) -> Response {
        let format = self.accepts.single.unwrap_or(Format::GraphqlResponse);
        write(answer, format, &self.id)
    }

    async fn answer(&self, ready: Ready) -> Response {
        let is_subscription = ready.operation.kind == OperationKind::Subscription;
        let streams = is_subscription || self.accepts.prefers_stream;
        match (self.accepts.stream.filter(|_| streams), self.accepts.single) {
            (Some(format), _) => {
                let over = self.http.services().access.over(self.caller.token);
                let results = ready.results(&self.http);
                stream::answer(&self.http, results, over, format, &self.id)
            }
            (None, _) if is_subscription => {
                let message = "A subscription is followed over WebSocket (graphql-transport-ws), or \
                               by a request that accepts text/event-stream or multipart/mixed with a \
                               subscriptionSpec.";
                *self.refuse(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
            }
            (None, single) => {
                let answer = ready.once(&self.http).await;
                write(&answer, single.unwrap_or(Format::Json), &self.id)
            }
        }
    }

    /// Runs several operations; queries side by side, mutations one after the other.
    async fn run_batch(&self, batch: Vec<Asked>) -> Response {
        let bad = |code, message: &str| *self.refuse(StatusCode::BAD_REQUEST, code, message);
        let Some(format) = self.accepts.single else {
            return bad(
                Code::BadUserInput,
                "A batch is answered as JSON; accept that.",
            );
        };
        let burst = self.http.services().access.burst();
        if let Some(burst) =
            burst.filter(|&burst| u32::try_from(batch.len()).is_ok_and(|length| length > burst))
        {
            let message = format!(
                "A token may make {burst} requests at once here, and each of a batch is one: send a \
                 smaller batch."
            );
            return bad(Code::BadUserInput, &message);
        }
        // The request itself has been counted as one.
        for _ in 1..batch.len() {
            let spent = self.http.services().access.spend(&self.caller, self.from.0);
            if let Err(NotAdmitted::TooMany(retry)) = spent {
                return answer::too_many(retry, format, &self.id);
            }
        }
        let mint = || RequestId::mint(self.http.services());
        let ready: Vec<_> = batch
            .into_iter()
            .map(|asked| self.ready(asked, mint()))
            .collect();
        let kinds = || ready.iter().flatten().map(|ready| ready.operation.kind);
        if kinds().any(|kind| kind == OperationKind::Subscription) {
            return bad(
                Code::BadUserInput,
                "A batch has no subscriptions; follow each by itself.",
            );
        }
        let cost: u64 = ready
            .iter()
            .flatten()
            .map(|ready| ready.operation.cost)
            .sum();
        if cost > COST_MAX {
            let message = format!(
                "The answers of the batch could have {cost} objects, and at most {COST_MAX} are \
                 given at once; ask for less, or in several requests."
            );
            return bad(Code::QueryTooComplex, &message);
        }
        let in_order = kinds().any(|kind| kind == OperationKind::Mutation);
        let line = Line::default();
        let run = ready.into_iter().map(|ready| async {
            match ready {
                Ok(mut ready) => {
                    ready.line = Some(line.clone());
                    Payload::from(&ready.once(&self.http).await)
                }
                Err(answer) => Payload::from(&*answer),
            }
        });
        let answers = if in_order {
            let mut answers = Vec::new();
            for one in run {
                answers.push(one.await);
            }
            answers
        } else {
            join_all(run).await
        };
        write_batch(&answers, format, &self.id)
    }
}

fn unavailable(error: &StoreError, format: Format, id: &RequestId) -> Response {
    tracing::error!(
        request.id = id.0,
        error = error as &dyn std::error::Error,
        "a token could not be looked up"
    );
    if error.may_pass() {
        let message = "The database cannot be reached; try again in a moment.";
        let status = StatusCode::SERVICE_UNAVAILABLE;
        return refuse(status, Code::Unavailable, message, format, id);
    }
    let message = format!(
        "The server failed; its log says more under the request id {}.",
        id.0
    );
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    refuse(status, Code::Internal, &message, format, id)
}
