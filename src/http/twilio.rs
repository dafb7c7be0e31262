//! `/inbound/twilio/…` by POST: what Twilio tells of messages, and what contacts answer, signed by it with
//! the token of the sender's account.
//!
//! Whatever is not signed, or not for the account of the sender that the address names, is refused in the
//! same words, and changes nothing.

use axum::Router;
use axum::body::Body as HttpBody;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use super::Http;
use super::answer::common_headers;
use super::body::drain;
use super::problem::Problem;
use crate::app::texting::signed::{self, Admitted, Signed};
use crate::app::texting::{self, Incoming};
use crate::domain::id::{ExecutionId, SenderId};
use crate::domain::texting::{INBOUND_AT, Keyword, Receipt, keyword, number};
use crate::graphql::RequestId;

/// The largest body, in bytes: a text has at most 1,600 characters.
const BODY_MAX: usize = 64 << 10;
/// What bodies take at once, in bytes: whoever knows the id of a sender can fill it, for what is signed shows only
/// once it is there.
pub(super) const ROOM: usize = 64 * BODY_MAX;
/// The longest name of a message that is taken, in bytes; Twilio's have 34.
const SID_MAX: usize = 64;
/// What Twilio does next: nothing.
const NOTHING_MORE: &str = "<?xml version=\"1.0\" encoding=\"UTF-8\"?><Response/>";

/// The routes.
pub(super) fn router() -> Router<Http> {
    Router::new()
        .route(&format!("{INBOUND_AT}{{sender}}"), post(text))
        .route(
            &format!("{INBOUND_AT}{{sender}}/{{execution}}"),
            post(receipt),
        )
}

/// Takes in what a contact answered.
async fn text(
    State(http): State<Http>,
    uri: Uri,
    Path(sender): Path<String>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    let id = RequestId::mint(http.services());
    let taken = match admit(&http, &uri, &sender, &headers, body).await {
        Ok(admitted) => take_text(&http, &admitted).await,
        Err(problem) => Err(problem),
    };
    match taken {
        Ok(()) => {
            let xml = [(header::CONTENT_TYPE, "text/xml; charset=utf-8")];
            let mut response = (StatusCode::OK, xml, NOTHING_MORE).into_response();
            common_headers(response.headers_mut(), &id);
            response
        }
        Err(problem) => problem.answer(&id),
    }
}

async fn take_text(http: &Http, admitted: &Admitted) -> Result<(), Problem> {
    let sid = admitted.field("MessageSid");
    let to_us = number(admitted.field("To")) == Some(admitted.sender.address.as_str());
    let from = number(admitted.field("From"));
    let (Some(from), true, 1..=SID_MAX) = (from, to_us, sid.len()) else {
        // A short code wrote, or the address belongs to another number: nobody can be meant.
        return Ok(());
    };
    let text = admitted.field("Body");
    let incoming = Incoming {
        sid,
        from,
        text,
        // Twilio says itself what it has acted upon, where the account has words of its own.
        keyword: match admitted.field("OptOutType") {
            "STOP" => Some(Keyword::Stop),
            "START" => Some(Keyword::Start),
            _ => keyword(text),
        },
    };
    let whose = (admitted.workspace, &admitted.sender);
    texting::take_in(http.services(), whose, incoming).await?;
    Ok(())
}

/// Takes in how far a message is.
async fn receipt(
    State(http): State<Http>,
    uri: Uri,
    Path((sender, execution)): Path<(String, String)>,
    headers: HeaderMap,
    body: HttpBody,
) -> Response {
    let id = RequestId::mint(http.services());
    let taken = match admit(&http, &uri, &sender, &headers, body).await {
        Ok(admitted) => take_receipt(&http, &admitted, &execution).await,
        Err(problem) => Err(problem),
    };
    match taken {
        Ok(()) => {
            let mut response = StatusCode::NO_CONTENT.into_response();
            common_headers(response.headers_mut(), &id);
            response
        }
        Err(problem) => problem.answer(&id),
    }
}

async fn take_receipt(http: &Http, admitted: &Admitted, execution: &str) -> Result<(), Problem> {
    let status = match admitted.field("MessageStatus") {
        "" => admitted.field("SmsStatus"),
        status => status,
    };
    let receipt = Receipt::of(status, Some(admitted.field("ErrorCode")));
    let execution = execution.parse::<ExecutionId>().ok();
    let (Some(receipt), Some(execution)) = (receipt, execution) else {
        return Ok(());
    };
    let whose = (admitted.workspace, &admitted.sender);
    let to = number(admitted.field("To"));
    texting::take_receipt(http.services(), whose, execution, to, receipt).await?;
    Ok(())
}

/// Whose request it is, if it is signed.
async fn admit(
    http: &Http,
    uri: &Uri,
    sender: &str,
    headers: &HeaderMap,
    body: HttpBody,
) -> Result<Admitted, Problem> {
    let services = http.services();
    let text = |name: &str| {
        headers
            .get(name)
            .and_then(|value: &HeaderValue| value.to_str().ok())
    };
    let asked = uri.path_and_query().map_or("", |asked| asked.as_str());
    let (Some(signature), Ok(id)) = (text("x-twilio-signature"), sender.parse::<SenderId>()) else {
        drain(body).await;
        return Err(forged());
    };
    let Some(base) = &services.marks.base else {
        drain(body).await;
        let detail = "The server does not know the address that it is called by, and cannot check the \
                      signature: start it with --public-url.";
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let Some(known) = signed::known(services, id).await? else {
        drain(body).await;
        return Err(forged());
    };
    let body = http.0.text_room.take(body, BODY_MAX).await?;
    let kind = text("content-type").unwrap_or_default();
    let signed = Signed {
        address: &format!("{base}{asked}"),
        is_form: !kind.starts_with("application/json"),
        body: &body.bytes,
        signature,
    };
    known.admit(&signed).ok_or_else(forged)
}

fn forged() -> Problem {
    let detail = "The request is not signed by the provider of this sender: the address it was sent to, \
                  its body or its signature is another.";
    Problem::new(StatusCode::FORBIDDEN, detail)
}
