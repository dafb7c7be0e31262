//! Subscriptions of other programs to the event log: what is sent, when a delivery that failed is
//! tried again, and when no more.

use chrono::{DateTime, Duration, SecondsFormat, Utc};
use serde_json::{Value, json};
use strum::{Display, EnumString, IntoStaticStr};
use url::Host;

use super::event::cursor;
use super::http_url::{HttpUrl, HttpUrlError};
use super::id::{ExecutionId, LeadId, SenderId, SequenceId, WebhookId};
use super::network::is_public;

/// The waits between the tries of one delivery, in seconds, as Standard Webhooks suggests them; the
/// last one again and again.
const WAITS: [i64; 9] = [
    5,
    5 * 60,
    30 * 60,
    2 * 3_600,
    5 * 3_600,
    10 * 3_600,
    14 * 3_600,
    20 * 3_600,
    24 * 3_600,
];
/// A subscription of which nothing arrives for so long is switched off.
pub const GIVEN_UP_AFTER: Duration = Duration::days(5);
/// A wait is longer by up to this part of it, so that what failed together is not tried together.
const JITTER_PART: f64 = 0.2;
/// No receiver is asked again sooner, whatever it says.
const WAIT_LEAST: Duration = Duration::seconds(1);
/// A receiver that takes fewer requests than come (RFC 6585 §4).
const TOO_MANY_REQUESTS: u16 = 429;
/// A receiver that is gone for good (RFC 9110 §15.5.11).
const GONE: u16 = 410;

/// Why nothing is sent to a subscription.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Display, EnumString, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum SwitchedOff {
    /// Somebody wanted it so.
    Requested,
    /// The receiver answered 410, which says that it is gone for good.
    Gone,
    /// Nothing arrived for [`GIVEN_UP_AFTER`].
    Failing,
}

/// Where a subscription stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum State {
    /// Events are sent as they come.
    Active,
    /// The last delivery failed, and is tried again.
    Retrying,
    /// Nothing is sent.
    SwitchedOff,
}

impl State {
    /// The state of a subscription that has failed so often in a row.
    pub const fn of(switched_off: Option<SwitchedOff>, failures: i32) -> Self {
        match (switched_off, failures) {
            (Some(_), _) => Self::SwitchedOff,
            (None, 0) => Self::Active,
            (None, _) => Self::Retrying,
        }
    }
}

/// A delivery that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The status of the answer (RFC 9110 §15), where there was one.
    pub status: Option<u16>,
    /// How long the answer asks to wait.
    pub retry_after: Option<Duration>,
    /// What happened, for people, in words of ours.
    pub message: String,
}

/// What follows on a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// The same is tried again then.
    Retry(DateTime<Utc>),
    /// Nothing is tried any more.
    SwitchOff(SwitchedOff),
}

/// What follows on a failure at `now`, after `failures` before it in a row, the first of them `since`.
/// `luck` is from 0 to 1.
pub fn after_failure(
    failure: &Failure,
    failures: i32,
    since: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
    luck: f64,
) -> Next {
    if failure.status == Some(GONE) {
        return Next::SwitchOff(SwitchedOff::Gone);
    }
    if since.is_some_and(|since| now.signed_duration_since(since) >= GIVEN_UP_AFTER) {
        return Next::SwitchOff(SwitchedOff::Failing);
    }
    let turn = usize::try_from(failures).unwrap_or(0);
    let of_ours = WAITS.get(turn).or(WAITS.last()).copied().unwrap_or(0);
    let of_ours = Duration::seconds(of_ours);
    let wait = match (failure.status, failure.retry_after) {
        // It is there, and says itself when it has room again.
        (Some(TOO_MANY_REQUESTS), Some(asked)) => asked,
        // Elsewhere what it asks for is the least (RFC 9110 §10.2.3).
        (_, Some(asked)) => of_ours.max(asked),
        (_, None) => of_ours,
    };
    let wait = wait.max(WAIT_LEAST);
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        reason = "a part of a few days, in milliseconds"
    )]
    let more = (wait.num_milliseconds() as f64 * JITTER_PART * luck.clamp(0.0, 1.0)) as i64;
    Next::Retry(now + wait + Duration::milliseconds(more))
}

/// Why nothing can be sent to an address; each names the remedy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ReceiverError {
    /// No address of the web.
    #[error(transparent)]
    Url(#[from] HttpUrlError),
    /// Not encrypted.
    #[error(
        "The address begins with https://: what is sent tells of your contacts. Only to a machine of your own network, given by its number, http:// will do."
    )]
    Plain,
}

/// Reads the address of a receiver: https, or http to a machine of a private network that is given by
/// its number. Whether requests may go there is decided where they are sent.
///
/// # Errors
/// [`ReceiverError`], with the remedy.
pub fn receiver(text: &str) -> Result<HttpUrl, ReceiverError> {
    let url = HttpUrl::parse(text)?;
    let is_own = match url.host() {
        Some(Host::Ipv4(address)) => !is_public(address.into()),
        Some(Host::Ipv6(address)) => !is_public(address.into()),
        Some(Host::Domain(_)) | None => false,
    };
    if url.is_https() || is_own {
        Ok(url)
    } else {
        Err(ReceiverError::Plain)
    }
}

/// An event of the log, to be told.
#[derive(Debug, Clone, PartialEq)]
pub struct Told {
    /// Its number in the workspace's log.
    pub seq: i64,
    /// When it happened.
    pub at: DateTime<Utc>,
    /// What happened, as the log has it.
    pub kind: String,
    /// The sequence concerned.
    pub sequence: Option<SequenceId>,
    /// The lead concerned.
    pub lead: Option<LeadId>,
    /// The execution concerned.
    pub execution: Option<ExecutionId>,
    /// The step concerned.
    pub step_key: Option<String>,
    /// The channel of the message concerned.
    pub channel: Option<String>,
    /// The sender of the message concerned.
    pub sender: Option<SenderId>,
    /// What else is worth knowing.
    pub detail: Option<Value>,
}

/// How an event is named to a subscription: the same at every try, and for no other event.
pub fn delivery_id(subscription: WebhookId, seq: i64) -> String {
    format!("{subscription}_{seq}")
}

/// The body of a request that tells an event: the members of Standard Webhooks, and as `data` the event
/// in the form of the API's ExecutionEvent, with the ids of what it concerns.
pub fn body(event: &Told) -> String {
    let named = |id: Option<String>| id.map(|id| json!({ "id": id }));
    let at = written(event.at);
    json!({
        "type": event.kind,
        "timestamp": at,
        "data": {
            "cursor": cursor(event.seq),
            "at": at,
            "kind": event.kind,
            "sequence": named(event.sequence.map(|id| id.to_string())),
            "lead": named(event.lead.map(|id| id.to_string())),
            "execution": named(event.execution.map(|id| id.to_string())),
            "sender": named(event.sender.map(|id| id.to_string())),
            "stepKey": event.step_key,
            "channel": event.channel,
            "detail": event.detail,
        },
    })
    .to_string()
}

/// The body of a request that only tries whether one arrives.
pub fn test_body(subscription: WebhookId, at: DateTime<Utc>) -> String {
    json!({
        "type": "TEST",
        "timestamp": written(at),
        "data": { "webhookSubscription": { "id": subscription.to_string() } },
    })
    .to_string()
}

fn written(at: DateTime<Utc>) -> String {
    at.to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests;
