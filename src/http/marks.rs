//! `/o/…` and `/c/…`: the marks in emails that tell of openings and clicks.
//!
//! Whoever comes here is a contact and not a client of the API: the answers are an image and a redirect,
//! whatever becomes of the note. A redirect leads to what is sealed in the token and nowhere else.

use std::collections::HashMap;
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::Router;
use axum::extract::{FromRequestParts, Path, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_TYPE, LOCATION, REFERRER_POLICY, RETRY_AFTER, USER_AGENT,
    X_CONTENT_TYPE_OPTIONS,
};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use chrono::{DateTime, Utc};

use super::{Http, answer};
use crate::app::tracking::{self, Done};
use crate::domain::id::{ExecutionId, WorkspaceId};
use crate::domain::tracking::agent::Agent;
use crate::domain::tracking::hit::machine_at_once;
use crate::domain::tracking::{CLICKED_AT, Mark, OPENED_AT, Token};

/// No search engine is to list it.
pub(super) const ROBOTS: HeaderName = HeaderName::from_static("x-robots-tag");

/// A GIF of one transparent pixel.
const PIXEL: &[u8] =
    b"GIF89a\x01\x00\x01\x00\x80\x00\x00\x00\x00\x00\xff\xff\xff\x21\xf9\x04\x01\x00\x00\x00\x00\
    \x2c\x00\x00\x00\x00\x01\x00\x01\x00\x00\x02\x02\x44\x01\x00\x3b";

/// So long a click waits for others of its message: machines follow all links at once.
const CLICKS_WITHIN: Duration = Duration::from_secs(1);
/// Of so many messages clicks wait at a time; the next ones are noted at once.
const WAITING_MAX: usize = 10_000;
/// So many links of a message are looked at.
const LINKS_MAX: usize = 16;

/// So long it is not asked again whether marks may be followed under a host.
const HOME_FOR: Duration = Duration::from_secs(60);
/// So many hosts are remembered, each of at most so many bytes (RFC 1035 §2.3.4).
const HOMES_MAX: (usize, usize) = (10_000, 255);

/// The routes.
pub(super) fn router() -> Router<Http> {
    Router::new()
        .route(&format!("{OPENED_AT}{{token}}"), get(opened))
        .route(&format!("{CLICKED_AT}{{token}}"), get(clicked))
}

/// What calls for the image is a mail reader that shows the message.
async fn opened(
    State(http): State<Http>,
    method: Method,
    asked: Asked,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let token = tracking::read(http.services(), &token);
    let Some(token) = token.filter(|token| token.mark == Mark::Open) else {
        return asked.not_found().await;
    };
    if let Some(answer) = asked.elsewhere(&http, &token).await {
        return answer;
    }
    // Whoever asks for the head alone shows nothing to anybody.
    if method != Method::HEAD {
        let noted = tracking::note(http.services(), &token, Done::Opened, agent(&headers), None);
        match noted.await {
            Ok(true) => {}
            Ok(false) => return asked.not_found().await,
            Err(error) => tracing::warn!(%error, "an opening could not be noted"),
        }
    }
    let headers = [
        (CONTENT_TYPE, "image/gif"),
        // Each time it is shown is to be told.
        (CACHE_CONTROL, "no-store, max-age=0"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (ROBOTS, "noindex, nofollow"),
    ];
    (headers, PIXEL).into_response()
}

/// Leads to where the link of the message leads.
async fn clicked(
    State(http): State<Http>,
    method: Method,
    asked: Asked,
    Path(token): Path<String>,
    headers: HeaderMap,
) -> Response {
    let token = tracking::read(http.services(), &token);
    let Some((token, link, url)) = token.and_then(of_link) else {
        return asked.not_found().await;
    };
    let Ok(location) = HeaderValue::from_str(&url) else {
        return asked.not_found().await;
    };
    if let Some(answer) = asked.elsewhere(&http, &token).await {
        return answer;
    }
    if method != Method::HEAD {
        http.click(token, link, agent(&headers));
    }
    let headers = [
        (LOCATION, location),
        (CACHE_CONTROL, HeaderValue::from_static("no-store")),
        // The page is not to learn by which message somebody came.
        (REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (ROBOTS, HeaderValue::from_static("noindex, nofollow")),
    ];
    (StatusCode::FOUND, headers).into_response()
}

/// What was asked for, and at which host.
struct Asked {
    uri: Uri,
    host: String,
}

impl FromRequestParts<Http> for Asked {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, http: &Http) -> Result<Self, Infallible> {
        let host = http.0.proxies.host(parts);
        let uri = parts.uri.clone();
        Ok(Self { uri, host })
    }
}

impl Asked {
    async fn not_found(self) -> Response {
        answer::not_found(self.uri).await
    }

    /// The answer to whoever comes by a host that is not for marks of this workspace: as to a token that is
    /// none.
    async fn elsewhere(&self, http: &Http, token: &Token) -> Option<Response> {
        let (services, homes) = (http.services(), &http.0.homes);
        let known = homes.until(token.workspace, &self.host);
        let now = services.clock.now();
        if known.is_some_and(|until| until > now) {
            return None;
        }
        match tracking::is_at_home(services, token.workspace, &self.host).await {
            Ok(true) => {
                let until = services.clock.after_real(HOME_FOR);
                homes.keep((token.workspace, &self.host), until, now);
                None
            }
            Ok(false) => {
                homes.forget(token.workspace, &self.host);
                Some(answer::not_found(self.uri.clone()).await)
            }
            // What held a while ago is better than no answer to a contact.
            Err(error) if known.is_some() => {
                tracing::warn!(%error, "a host could not be looked up; what was known of it holds");
                None
            }
            Err(error) => {
                tracing::error!(%error, "a mark could not be looked up");
                let status = StatusCode::SERVICE_UNAVAILABLE;
                Some((status, [(RETRY_AFTER, "5")]).into_response())
            }
        }
    }
}

fn of_link(token: Token) -> Option<(Token, u16, String)> {
    match &token.mark {
        Mark::Click { link, url } => {
            let (link, url) = (*link, url.clone());
            Some((token, link, url))
        }
        Mark::Open | Mark::OptOut => None,
    }
}

fn agent(headers: &HeaderMap) -> Agent {
    let text = headers.get(USER_AGENT).and_then(|text| text.to_str().ok());
    Agent::of(text.unwrap_or_default())
}

/// The hosts under which the marks of a workspace may be followed, each with until when that need not be asked
/// again. That they may not is asked each time: who gives a sender a domain uses it at once.
#[derive(Debug, Default)]
pub(super) struct Homes(Mutex<HashMap<WorkspaceId, HashMap<String, DateTime<Utc>>>>);

impl Homes {
    fn known(&self) -> MutexGuard<'_, HashMap<WorkspaceId, HashMap<String, DateTime<Utc>>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn until(&self, workspace: WorkspaceId, host: &str) -> Option<DateTime<Utc>> {
        self.known().get(&workspace)?.get(host).copied()
    }

    fn keep(
        &self,
        (workspace, host): (WorkspaceId, &str),
        until: DateTime<Utc>,
        now: DateTime<Utc>,
    ) {
        let mut known = self.known();
        let is_full = |known: &HashMap<_, HashMap<_, _>>| {
            known.values().map(HashMap::len).sum::<usize>() >= HOMES_MAX.0
        };
        if is_full(&known) {
            known.retain(|_, hosts| {
                hosts.retain(|_, until| *until > now);
                !hosts.is_empty()
            });
        }
        if host.len() <= HOMES_MAX.1 && !is_full(&known) {
            let hosts = known.entry(workspace).or_default();
            hosts.insert(host.to_owned(), until);
        }
    }

    fn forget(&self, workspace: WorkspaceId, host: &str) {
        if let Some(hosts) = self.known().get_mut(&workspace) {
            hosts.remove(host);
        }
    }
}

/// The links that were followed in the last moment, by message.
#[derive(Debug, Clone, Default)]
pub(super) struct Clicks(Arc<Mutex<HashMap<ExecutionId, Vec<u16>>>>);

/// Whether a click is the first of its message in this moment, by which the others are waited for.
#[derive(Debug, PartialEq, Eq)]
enum Place {
    First,
    Among,
    NoRoom,
}

impl Clicks {
    fn join(&self, message: ExecutionId, link: u16) -> Place {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(links) = waiting.get_mut(&message) {
            if links.len() < LINKS_MAX {
                links.push(link);
            }
            return Place::Among;
        }
        if waiting.len() >= WAITING_MAX {
            return Place::NoRoom;
        }
        waiting.insert(message, vec![link]);
        Place::First
    }

    fn take(&self, message: ExecutionId) -> Vec<u16> {
        let mut waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        waiting.remove(&message).unwrap_or_default()
    }
}

impl Http {
    /// Notes a click in a moment, when it shows whether it was one of many; at once where the server ends.
    fn click(&self, token: Token, link: u16, agent: Agent) {
        let place = self.0.clicks.join(token.execution, link);
        if place == Place::Among {
            return;
        }
        let http = self.clone();
        self.0.sockets.spawn(async move {
            if place == Place::First {
                let end = http.0.shutdown.cancelled();
                match tokio::time::timeout(CLICKS_WITHIN, end).await {
                    Ok(()) | Err(_) => {}
                }
            }
            let found = machine_at_once(http.0.clicks.take(token.execution));
            let noted = tracking::note(http.services(), &token, Done::Clicked, agent, found);
            if let Err(error) = noted.await {
                tracing::warn!(%error, "a click could not be noted");
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;

    #[test]
    fn clicks_of_a_moment_are_taken_together() {
        let (clicks, id) = (Clicks::default(), |n| {
            ExecutionId::from_uuid(Uuid::from_u128(n))
        });
        assert_eq!(clicks.join(id(1), 4), Place::First);
        assert_eq!(clicks.join(id(2), 0), Place::First);
        for link in 0..40 {
            assert_eq!(clicks.join(id(1), link), Place::Among);
        }
        assert_eq!(clicks.take(id(1)).len(), LINKS_MAX);
        assert_eq!(clicks.take(id(1)), [0; 0]);
        assert_eq!(clicks.join(id(1), 4), Place::First);
    }
}
