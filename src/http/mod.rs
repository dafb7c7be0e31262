//! The protocols the API is spoken over: HTTP, server-sent events, WebSocket; and health.
//!
//! Nothing here knows what a field means: requests are authenticated, bounded and handed to the
//! schema, and answers are written as each protocol has them.

pub mod accept;
mod answer;
mod audited;
mod body;
mod documents;
mod export;
mod fanout;
mod graphiql;
mod health;
mod import;
mod inbound;
mod listen;
mod marks;
mod opt_out;
mod origin;
pub mod payload;
mod post;
mod problem;
mod proxies;
pub mod read;
mod run;
mod shares;
pub mod socket;
pub mod stream;
mod twilio;

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::{Extensions, HeaderMap, header};
use axum::middleware::map_response_with_state;
use axum::routing::{get, post as by_post};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use self::body::Room;
pub use self::documents::{BadManifest, Documents};
use self::fanout::Fanout;
pub use self::listen::{CONNECTIONS, CONNECTIONS_OF_ADDRESS, Connections};
pub use self::origin::{NotAnOrigin, Origins};
pub use self::proxies::Proxies;
use self::shares::Shares;
use crate::app::token::access::NotAdmitted;
use crate::app::{Caller, Services};
use crate::graphql::CadenzaSchema;

/// The largest body of a request without a token that may write, in bytes.
const BODY_MAX: usize = 1 << 20;
/// The largest body of a request that may write, in bytes, unless told otherwise: imports come as
/// one text.
pub const UPLOAD_MAX: usize = 256 << 20;

/// The largest file that is taken in as it comes, in bytes, unless told otherwise.
pub const IMPORT_MAX: usize = 1 << 30;

/// So many of the largest bodies are taken in at once.
const UPLOADS_AT_ONCE: usize = 4;

/// What may be chosen.
pub struct Options {
    /// The largest body of a request that may write, in bytes.
    pub upload_max: usize,
    /// The largest file that is taken in as it comes, in bytes.
    pub import_max: usize,
    /// The documents that clients may name by their hash.
    pub documents: Documents,
    /// The pages elsewhere that may use the API from a browser.
    pub origins: Origins,
    /// The proxies that are believed where requests come from.
    pub proxies: Proxies,
    /// What connections may do.
    pub connections: Connections,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            upload_max: UPLOAD_MAX,
            import_max: IMPORT_MAX,
            documents: Documents::registered_by_clients(),
            origins: Origins::default(),
            proxies: Proxies::default(),
            connections: Connections::default(),
        }
    }
}

/// What the handlers work with; cheap to clone.
#[derive(Clone)]
pub struct Http(Arc<Parts>);

struct Parts {
    schema: CadenzaSchema,
    upload_max: usize,
    import_max: usize,
    /// What all bodies take at once.
    room: Room,
    /// What mails that come in take at once.
    mail_room: Room,
    /// The same of what providers of text messages tell.
    text_room: Room,
    documents: Documents,
    origins: Origins,
    proxies: Proxies,
    connections: Connections,
    /// The live events that many follow.
    fanout: Arc<Fanout>,
    /// What each token may have at once.
    shares: Shares,
    /// Cancelled when the server is to end: streams then end by themselves.
    shutdown: CancellationToken,
    /// The WebSockets, which outlive the requests that opened them, and clicks that are not noted yet.
    sockets: TaskTracker,
    /// Clicks of which it shows in a moment whether they are of a machine.
    clicks: marks::Clicks,
    /// The hosts under which marks were followed.
    homes: marks::Homes,
}

impl Http {
    /// Handlers over a schema. Streams end when `shutdown` is cancelled.
    pub fn new(schema: CadenzaSchema, options: Options, shutdown: CancellationToken) -> Self {
        let Options {
            upload_max,
            import_max,
            documents,
            origins,
            proxies,
            connections,
        } = options;
        Self(Arc::new(Parts {
            schema,
            upload_max,
            import_max,
            room: Room::new(UPLOADS_AT_ONCE * upload_max.max(BODY_MAX)),
            mail_room: Room::new(inbound::ROOM),
            text_room: Room::new(twilio::ROOM),
            documents,
            origins,
            proxies,
            connections,
            fanout: Arc::default(),
            shares: Shares::default(),
            shutdown,
            sockets: TaskTracker::new(),
            clicks: marks::Clicks::default(),
            homes: marks::Homes::default(),
        }))
    }

    /// The routes.
    pub fn router(&self) -> Router {
        Router::new()
            .merge(graphiql::router())
            .route("/graphql", get(post::get).post(post::post))
            .route("/import/people", by_post(import::people))
            .route("/inbound/mail", by_post(inbound::mail))
            .route("/export/{file}", get(export::get))
            .route("/healthz", get(health::health))
            .merge(marks::router())
            .merge(opt_out::router())
            .merge(twilio::router())
            .fallback(answer::not_found)
            .method_not_allowed_fallback(answer::method_not_allowed)
            .layer(self.0.origins.layer())
            .layer(map_response_with_state(self.clone(), answer::named))
            .with_state(self.clone())
    }

    /// Returns once every WebSocket is closed; call it after the shutdown was cancelled.
    pub async fn closed(&self) {
        self.0.sockets.close();
        self.0.sockets.wait().await;
    }

    /// How many subscribers hear live events that are shared.
    pub fn followers(&self) -> usize {
        self.0.fanout.followers()
    }

    fn schema(&self) -> &CadenzaSchema {
        &self.0.schema
    }

    fn services(&self) -> &Services {
        self.0.schema.services()
    }

    /// Who sends these headers, from this address.
    async fn caller(&self, headers: &HeaderMap, from: From) -> Result<Caller, NotAdmitted> {
        let text = headers
            .get(header::AUTHORIZATION)
            .and_then(|value| value.to_str().ok());
        let token = text.and_then(bearer).ok_or(NotAdmitted::NoToken)?;
        self.services().access.authenticate(token, from.0).await
    }
}

/// Where a request comes from, if that is known.
#[derive(Debug, Clone, Copy)]
struct From(Option<IpAddr>);

impl From {
    fn of(http: &Http, extensions: &Extensions, headers: &HeaderMap) -> Self {
        let connected = extensions.get::<ConnectInfo<SocketAddr>>();
        Self(connected.map(|ConnectInfo(peer)| http.0.proxies.client(peer.ip(), headers)))
    }
}

/// The token of `Bearer …` (RFC 6750 §2.1; the scheme in any case).
pub fn bearer(text: &str) -> Option<&str> {
    let (scheme, token) = text.trim().split_once(' ')?;
    scheme.eq_ignore_ascii_case("bearer").then(|| token.trim())
}
