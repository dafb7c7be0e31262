//! Delivering one subscription: its events in order, one request for each.

use std::time::Duration;

use chrono::{DateTime, Utc};
use entity::event;
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::app::webhook as app;
use crate::app::{AppError, Caller, Services};
use crate::channel::web::WebAnswer;
use crate::channel::webhook::{WebhookRequest, WebhookSecret};
use crate::clock::from_ms;
use crate::domain::event::{EventKind, NewEvent};
use crate::domain::id::{Id, WebhookId};
use crate::domain::webhook::{
    Failure, Next, SwitchedOff, Told, after_failure, body, delivery_id, test_body,
};
use crate::store::event::Filter;
use crate::store::webhook::{Failed, Held, Row};
use crate::store::{self, StoreError};

/// How much of the log is read at a time.
const PAGE: u64 = 100;
/// A turn ends with the page of the log that it was in, and no later than after so long, but for the delivery
/// that is under way: a subscription that has much to catch up with lets others have theirs.
const TURN: Duration = Duration::from_secs(20);
/// A delivery that is under way when the server ends has so long to be over; then it is given up, and
/// made again later.
const GRACE: Duration = Duration::from_secs(3);
/// Whoever tries a subscription waits no longer.
const TEST_WITHIN: Duration = Duration::from_secs(25);

/// Delivers what the log has for a subscription, until there is nothing more, its turn is over, a delivery
/// fails, or somebody else has it.
///
/// # Errors
/// [`StoreError`] as the database has it: the subscription is still held then.
pub(super) async fn deliver(
    services: &Services,
    held: Held,
    shutdown: &CancellationToken,
) -> Result<(), StoreError> {
    let turn = Turn {
        services,
        held,
        until: services.clock.after_real(TURN),
        shutdown,
    };
    while !turn.is_over() {
        let Some(row) = store::webhook::held(services.db.read(), held).await? else {
            return Ok(());
        };
        let page = next_page(services, held, row.after_seq).await?;
        if page.is_empty() {
            break;
        }
        let filter = app::filter(&row)?;
        match turn.deliver_page(&row, &filter, &page).await? {
            Left::Already => return Ok(()),
            Left::WithMore => break,
            Left::Nothing => {}
        }
    }
    store::webhook::release(services.db.write(), held).await
}

/// What the log has next.
async fn next_page(
    services: &Services,
    held: Held,
    after: i64,
) -> Result<Vec<event::Model>, StoreError> {
    let db = services.db.read();
    let page = store::event::after(db, held.workspace, after, PAGE).await?;
    if !page.is_empty() || store::event::last_seq(db, held.workspace).await? <= after {
        return Ok(page);
    }
    // Somebody has deleted what comes next: it goes on with what there still is.
    store::event::page(db, held.workspace, &Filter::default(), after, PAGE).await
}

/// How a page was left.
enum Left {
    /// The subscription is not held any more.
    Already,
    /// With deliveries; there may be more to deliver.
    WithMore,
    /// Nothing of it passed, and there may be more.
    Nothing,
}

/// A subscription while it has its turn.
struct Turn<'a> {
    services: &'a Services,
    held: Held,
    until: DateTime<Utc>,
    shutdown: &'a CancellationToken,
}

impl Turn<'_> {
    fn is_over(&self) -> bool {
        self.shutdown.is_cancelled() || self.services.clock.now() >= self.until
    }

    /// Delivers what of a page passes.
    async fn deliver_page(
        &self,
        row: &Row,
        filter: &Filter,
        page: &[event::Model],
    ) -> Result<Left, StoreError> {
        let (services, held) = (self.services, self.held);
        let secrets = read_secrets(services, row)?;
        let is_last_page = u64::try_from(page.len()).is_ok_and(|length| length < PAGE);
        let end = page.last().map_or(row.after_seq, |event| event.seq);
        let passing: Vec<_> = page.iter().filter(|event| filter.matches(event)).collect();
        if passing.is_empty() {
            let db = services.db.write();
            let is_held = store::webhook::advance(db, held, end, None, is_last_page).await?;
            return Ok(match is_held && !is_last_page {
                true => Left::Nothing,
                false => Left::Already,
            });
        }
        let mut failures = row.failures;
        for (place, event) in passing.iter().enumerate() {
            let next = passing.get(place + 1);
            let request = request_of(services, row, event);
            let answered = tokio::select! {
                answered = post(services, &request, &secrets) => answered,
                () = ended(services, self.shutdown) => break,
            };
            if let Err(failure) = answered {
                let since = row.failing_since.filter(|_| failures > 0).map(from_ms);
                failed(services, held, row, (failures, since), failure).await?;
                return Ok(Left::Already);
            }
            failures = 0;
            // What does not pass is passed over with what comes before it.
            let reached = next.map_or(end, |next| next.seq - 1);
            let leaves = is_last_page && next.is_none();
            let now = services.clock.now();
            let db = services.db.write();
            if !store::webhook::advance(db, held, reached, Some(now), leaves).await? || leaves {
                return Ok(Left::Already);
            }
            if self.is_over() {
                break;
            }
        }
        Ok(Left::WithMore)
    }
}

/// Returns once the server has been ending for a while.
async fn ended(services: &Services, shutdown: &CancellationToken) {
    shutdown.cancelled().await;
    services.clock.sleep_real(GRACE).await;
}

/// Writes a failure down and gives the subscription up, or off.
async fn failed(
    services: &Services,
    held: Held,
    row: &Row,
    (failures, since): (i32, Option<DateTime<Utc>>),
    failure: Failure,
) -> Result<(), StoreError> {
    let now = services.clock.now();
    let luck = services.entropy.unit();
    let next = after_failure(&failure, failures, since, now, luck);
    let (retry_at, switched_off) = match next {
        Next::Retry(at) => (Some(at), None),
        Next::SwitchOff(reason) => (None, Some(reason)),
    };
    let failed = Failed {
        at: now,
        retry_at,
        switched_off,
        message: failure.message,
    };
    let tx = services.db.begin().await?;
    if !store::webhook::fail(&tx, held, &failed).await? {
        return Ok(());
    }
    if let Some(reason) = switched_off {
        let event = switched_off_event(held.id, reason, &failed, since.unwrap_or(now));
        store::event::append(&tx, held.workspace, vec![event]).await?;
    }
    tx.commit().await?;
    tracing::warn!(webhook.id = %held.id, failures = row.failures.saturating_add(1),
        message = failed.message, "a webhook was not delivered; {}",
        if switched_off.is_some() { "the subscription is switched off" } else { "it is tried again" });
    services.wake.log();
    Ok(())
}

fn switched_off_event(
    id: WebhookId,
    reason: SwitchedOff,
    failed: &Failed,
    since: DateTime<Utc>,
) -> NewEvent {
    let detail = json!({
        "webhookSubscriptionId": id,
        "reason": reason.to_string(),
        "message": failed.message,
        "failingSince": since.to_rfc3339_opts(chrono::SecondsFormat::Millis, true),
    });
    NewEvent::of_workspace(failed.at, EventKind::WebhookSwitchedOff, detail)
}

fn request_of(services: &Services, row: &Row, event: &event::Model) -> WebhookRequest {
    let told = Told {
        seq: event.seq,
        at: from_ms(event.at),
        kind: event.kind.clone(),
        sequence: event.sequence_id.map(Id::from_uuid),
        lead: event.lead_id.map(Id::from_uuid),
        execution: event.execution_id.map(Id::from_uuid),
        step_key: event.step_key.clone(),
        channel: event.channel.clone(),
        sender: event.sender_id.map(Id::from_uuid),
        detail: event.detail.clone(),
    };
    WebhookRequest {
        url: row.url.clone(),
        headers: Vec::new(),
        body: body(&told),
        id: delivery_id(WebhookId::from_uuid(row.id), event.seq),
        at: services.clock.now(),
    }
}

fn read_secrets(services: &Services, row: &Row) -> Result<Vec<WebhookSecret>, StoreError> {
    let texts = app::secrets(services, row, services.clock.now())?;
    let secrets = texts.iter().map(|text| {
        let secret = WebhookSecret::parse(text);
        secret.map_err(|error| StoreError::corrupt("webhook's secret", error))
    });
    secrets.collect()
}

/// One request; 2xx, and nothing else, is a delivery.
async fn post(
    services: &Services,
    request: &WebhookRequest,
    secrets: &[WebhookSecret],
) -> Result<u16, Failure> {
    let posted = services.transports.webhook().post(request, secrets).await;
    match posted {
        Ok(answer) if answer.is_success() => Ok(answer.status),
        Ok(answer) => Err(refused(&answer)),
        Err(error) => Err(Failure {
            status: None,
            retry_after: None,
            message: error.to_string(),
        }),
    }
}

/// An answer that is no delivery. What the receiver wrote is left out: it may hold anything.
fn refused(answer: &WebAnswer) -> Failure {
    let words = match answer.status {
        300..=399 => ": redirects are not followed, give the address that they lead to",
        410 => ", which says that it is gone for good",
        _ => "",
    };
    Failure {
        status: Some(answer.status),
        retry_after: answer.retry_after,
        message: format!("The receiver answered {}{words}.", answer.status),
    }
}

/// What became of a try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// The status of the answer, where there was one.
    pub status: Option<u16>,
    /// Why it counts as no delivery; `None`, it was delivered.
    pub failure: Option<String>,
}

/// Sends a request of the type TEST to a subscription, also to one that is switched off, and changes
/// nothing. It ends within half a minute.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a subscription that the workspace does not have;
/// [`AppError::Store`] as the database has it.
pub async fn test(services: &Services, caller: &Caller, id: WebhookId) -> Result<Tried, AppError> {
    let found = store::webhook::find_many(services.db.read(), caller.workspace, &[id]).await?;
    let Some(row) = found.into_iter().next() else {
        return Err(app::missing().into());
    };
    let now = services.clock.now();
    let request = WebhookRequest {
        url: row.url.clone(),
        headers: Vec::new(),
        body: test_body(id, now),
        id: format!("{id}_test_{:016x}", services.entropy.bits()),
        at: now,
    };
    let secrets = read_secrets(services, &row)?;
    let posted = tokio::time::timeout(TEST_WITHIN, post(services, &request, &secrets));
    Ok(match posted.await {
        Ok(Ok(status)) => Tried {
            status: Some(status),
            failure: None,
        },
        Ok(Err(failure)) => Tried {
            status: failure.status,
            failure: Some(failure.message),
        },
        Err(_) => Tried {
            status: None,
            failure: Some(format!("nothing within {TEST_WITHIN:?}")),
        },
    })
}
