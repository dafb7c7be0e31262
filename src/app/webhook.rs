//! Webhook subscriptions: made, changed, and sent back to an earlier place in the log. What there is to
//! deliver is delivered elsewhere.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Duration, Utc};
use sea_orm::{ConnectionTrait, DatabaseTransaction};
use serde_json::{Value, json};

use super::{AppError, Caller, Refusal, RefusalCode, Services};
use crate::domain::event::EventKind;
use crate::domain::http_url::HttpUrl;
use crate::domain::id::{SequenceId, WebhookId, WorkspaceId};
use crate::domain::scope::SequenceScope;
use crate::domain::webhook::{SwitchedOff, receiver};
use crate::store::webhook::{self, Row, SUBSCRIPTIONS_MAX};
use crate::store::{StoreError, dialect, event, scope, sequence};

/// The most sequences that a subscription names.
pub const SEQUENCES_MAX: usize = 100;
/// The random bytes of a secret.
const SECRET_BYTES: usize = 32;
/// How long requests are signed with the secret before too, after it was replaced.
const OLD_SECRET_FOR: Duration = Duration::hours(24);

/// A subscription to make.
#[derive(Debug, Clone)]
pub struct NewSubscription {
    /// Where requests go.
    pub url: String,
    /// Which kinds of events; `None`, all.
    pub kinds: Option<Vec<EventKind>>,
    /// Of which sequences; `None`, of all and of none.
    pub sequences: Option<Vec<SequenceId>>,
    /// Whether anything is sent yet.
    pub enabled: bool,
    /// Only what comes after this number; `None`, from now on.
    pub after: Option<i64>,
}

/// What is said of a subscription; what is not given stays as it is.
#[derive(Debug, Clone, Default)]
pub struct Change {
    /// Where requests go.
    pub url: Option<String>,
    /// Which kinds of events.
    pub kinds: Option<Option<Vec<EventKind>>>,
    /// Of which sequences.
    pub sequences: Option<Option<Vec<SequenceId>>>,
    /// Whether anything is sent.
    pub enabled: Option<bool>,
}

/// Where a subscription goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// After the event with this number.
    After(i64),
    /// With the first event that happened then or later.
    Since(DateTime<Utc>),
}

/// Makes a subscription; answers its secret with it, which is shown this once.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong: `INVALID` for the address, an empty list or a place
/// that the log has not reached, `NOT_FOUND` for a sequence that the workspace does not have, `LIMIT` where
/// there are too many; [`AppError::Store`] as the database has it.
pub async fn create(
    services: &Services,
    caller: &Caller,
    new: NewSubscription,
) -> Result<(String, Row), AppError> {
    let workspace = caller.workspace;
    let mut wrong = Vec::new();
    let url = read_url(&new.url, &mut wrong);
    let tx = services.db.begin().await?;
    let kinds = kept_kinds(new.kinds, &mut wrong);
    let sequences = kept_sequences(&tx, workspace, new.sequences, &mut wrong).await?;
    if webhook::count(&tx, workspace).await? >= SUBSCRIPTIONS_MAX {
        let message = format!(
            "A workspace has at most {SUBSCRIPTIONS_MAX} webhook subscriptions: delete one by \
             webhookSubscriptionDelete."
        );
        wrong.push(Refusal::new(RefusalCode::Limit, message, &[]));
    }
    let last = event::last_seq(&tx, workspace).await?;
    let after = new.after.unwrap_or(last);
    if after > last {
        wrong.push(ahead_of_log());
    }
    let (Some(url), []) = (url, wrong.as_slice()) else {
        return Err(AppError::Refused(wrong));
    };
    let now = services.clock.now();
    let id: WebhookId = services.entropy.id(now);
    let (secret, sealed) = draw_secret(services, workspace, id);
    let switched_off = (!new.enabled).then_some(SwitchedOff::Requested);
    let row = Row {
        id: id.uuid(),
        workspace_id: workspace.uuid(),
        url: url.as_str().to_owned(),
        kinds,
        sequence_ids: sequences,
        secret: sealed,
        old_secret: None,
        old_secret_until: None,
        after_seq: after,
        switched_off: switched_off.map(|reason| reason.to_string()),
        failures: 0,
        failing_since: None,
        retry_at: None,
        last_success_at: None,
        last_failure_at: None,
        last_failure: None,
        worker_id: None,
        turn: 0,
        taken_at: None,
        created_at: now.timestamp_millis(),
        updated_at: now.timestamp_millis(),
    };
    webhook::insert(&tx, row.clone()).await?;
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.due();
    Ok((secret, row))
}

/// Changes a subscription. One that was switched off and is switched on again goes on where it stopped.
///
/// # Errors
/// [`AppError::Refused`] with everything that is wrong, as [`create`] has it, and `NOT_FOUND` for a
/// subscription that the workspace does not have; [`AppError::Store`] as the database has it.
pub async fn update(
    services: &Services,
    caller: &Caller,
    id: WebhookId,
    change: Change,
) -> Result<Row, AppError> {
    let workspace = caller.workspace;
    let tx = services.db.begin().await?;
    let before = find(&tx, workspace, id).await?;
    let mut row = before.clone();
    let mut wrong = Vec::new();
    if let Some(url) = &change.url
        && let Some(url) = read_url(url, &mut wrong)
    {
        url.as_str().clone_into(&mut row.url);
    }
    if let Some(kinds) = change.kinds {
        row.kinds = kept_kinds(kinds, &mut wrong);
    }
    if let Some(sequences) = change.sequences {
        row.sequence_ids = kept_sequences(&tx, workspace, sequences, &mut wrong).await?;
    }
    match change.enabled {
        Some(true) => row.switched_off = None,
        Some(false) if row.switched_off.is_none() => {
            row.switched_off = Some(SwitchedOff::Requested.to_string());
        }
        Some(false) | None => {}
    }
    if !wrong.is_empty() {
        return Err(AppError::Refused(wrong));
    }
    if row == before {
        return Ok(row);
    }
    if row.url != before.url || row.switched_off.is_none() && before.switched_off.is_some() {
        try_at_once(&mut row);
    }
    save(services, tx, row).await
}

/// Lets a subscription go on from another place of the log: an earlier one, so that events are delivered
/// once more, or a later one, so that some never are.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a subscription that the workspace does not have and `INVALID`
/// for a place that the log has not reached; [`AppError::Store`] as the database has it.
pub async fn replay(
    services: &Services,
    caller: &Caller,
    id: WebhookId,
    place: Place,
) -> Result<Row, AppError> {
    let workspace = caller.workspace;
    let tx = services.db.begin().await?;
    let mut row = find(&tx, workspace, id).await?;
    row.after_seq = match place {
        Place::After(seq) => {
            if seq > event::last_seq(&tx, workspace).await? {
                return Err(ahead_of_log().into());
            }
            seq
        }
        Place::Since(at) => event::before(&tx, workspace, at).await?,
    };
    try_at_once(&mut row);
    save(services, tx, row).await
}

/// Gives a subscription a new secret, which is shown this once. For a day requests are signed with the one
/// before too.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a subscription that the workspace does not have;
/// [`AppError::Store`] as the database has it.
pub async fn rotate_secret(
    services: &Services,
    caller: &Caller,
    id: WebhookId,
) -> Result<(String, Row), AppError> {
    let tx = services.db.begin().await?;
    let mut row = find(&tx, caller.workspace, id).await?;
    let (secret, sealed) = draw_secret(services, caller.workspace, id);
    let until = services.clock.now() + OLD_SECRET_FOR;
    row.old_secret = Some(std::mem::replace(&mut row.secret, sealed));
    row.old_secret_until = Some(until.timestamp_millis());
    Ok((secret, save(services, tx, row).await?))
}

/// Deletes a subscription: nothing is sent any more, and its secret is forgotten.
///
/// # Errors
/// [`AppError::Refused`] with `NOT_FOUND` for a subscription that the workspace does not have;
/// [`AppError::Store`] as the database has it.
pub async fn delete(services: &Services, caller: &Caller, id: WebhookId) -> Result<(), AppError> {
    let tx = services.db.begin().await?;
    if !webhook::delete(&tx, caller.workspace, id).await? {
        return Err(missing().into());
    }
    tx.commit().await?;
    Ok(())
}

/// The secrets that a request to a subscription is signed with at `now`, the newest first.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn secrets(
    services: &Services,
    row: &Row,
    now: DateTime<Utc>,
) -> Result<Vec<String>, StoreError> {
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    let is_old_good = row
        .old_secret_until
        .is_some_and(|until| now.timestamp_millis() < until);
    let old = row.old_secret.as_ref().filter(|_| is_old_good);
    let opened = [Some(&row.secret), old]
        .into_iter()
        .flatten()
        .map(|sealed| {
            let opened = services.secrets.open(workspace, row.id, sealed);
            opened.map_err(|error| StoreError::corrupt("webhook's secret", error))
        });
    opened.collect()
}

/// Which events a subscription is told.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else: what cannot be read is never taken for
/// no limit.
pub fn filter(row: &Row) -> Result<event::Filter, StoreError> {
    let sequences = scope::read(row.sequence_ids.as_ref())?;
    let sequences = sequences.sequences();
    Ok(event::Filter {
        sequences: sequences.map(|ids| ids.iter().map(|id| id.uuid()).collect()),
        kinds: kinds(row)?,
        ..event::Filter::default()
    })
}

/// The kinds of events that a subscription is told; `None`, all.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn kinds(row: &Row) -> Result<Option<Vec<EventKind>>, StoreError> {
    let corrupt = |what: String| StoreError::corrupt("webhook's kinds of events", what);
    let Some(kept) = &row.kinds else {
        return Ok(None);
    };
    let names = kept.as_array().ok_or_else(|| corrupt(kept.to_string()))?;
    let kinds = names.iter().map(|name| {
        let kind = name.as_str().and_then(|name| name.parse().ok());
        kind.ok_or_else(|| corrupt(name.to_string()))
    });
    Ok(Some(kinds.collect::<Result<_, _>>()?))
}

/// Why nothing is sent to a subscription; `None`: it is.
///
/// # Errors
/// [`StoreError::Corrupt`] where the database holds something else.
pub fn switched_off(row: &Row) -> Result<Option<SwitchedOff>, StoreError> {
    let reason = row.switched_off.as_deref().map(str::parse).transpose();
    reason.map_err(|error| StoreError::corrupt("webhook's state", error))
}

/// The refusal of a subscription that the workspace does not have.
pub fn missing() -> Refusal {
    let message =
        "There is no webhook subscription with this id; take the id from `webhookSubscriptions`.";
    Refusal::not_found(message, &["id"])
}

async fn find(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: WebhookId,
) -> Result<Row, AppError> {
    let found = webhook::lock(tx, workspace, id).await?;
    found.ok_or_else(|| missing().into())
}

async fn save(services: &Services, tx: DatabaseTransaction, mut row: Row) -> Result<Row, AppError> {
    row.updated_at = services.clock.now().timestamp_millis();
    let row = webhook::change(&tx, row).await?;
    dialect::notify(&tx).await?;
    tx.commit().await?;
    services.wake.due();
    Ok(row)
}

/// What failed before counts no more.
fn try_at_once(row: &mut Row) {
    row.failures = 0;
    row.failing_since = None;
    row.retry_at = None;
}

fn draw_secret(services: &Services, workspace: WorkspaceId, id: WebhookId) -> (String, String) {
    let mut bytes = [0; SECRET_BYTES];
    services.entropy.fill(&mut bytes);
    let secret = format!("whsec_{}", STANDARD.encode(bytes));
    let sealed = (services.secrets).seal(&services.entropy, workspace, id.uuid(), &secret);
    (secret, sealed)
}

fn read_url(text: &str, wrong: &mut Vec<Refusal>) -> Option<HttpUrl> {
    receiver(text)
        .map_err(|error| wrong.push(Refusal::invalid(error.to_string(), &["url"])))
        .ok()
}

fn kept_kinds(kinds: Option<Vec<EventKind>>, wrong: &mut Vec<Refusal>) -> Option<Value> {
    let kinds = kinds?;
    if kinds.is_empty() {
        let message = "An empty list would mean no event: leave kinds out for all of them.";
        wrong.push(Refusal::invalid(message, &["kinds"]));
    }
    let names: Vec<&str> = kinds.into_iter().map(<&str>::from).collect();
    Some(json!(names))
}

async fn kept_sequences(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sequences: Option<Vec<SequenceId>>,
    wrong: &mut Vec<Refusal>,
) -> Result<Option<Value>, StoreError> {
    let Some(ids) = sequences else {
        return Ok(None);
    };
    if !(1..=SEQUENCES_MAX).contains(&ids.len()) {
        let message = format!(
            "A subscription names at least one sequence and at most {SEQUENCES_MAX}: leave \
             sequenceIds out for the whole workspace."
        );
        wrong.push(Refusal::invalid(message, &["sequenceIds"]));
        return Ok(None);
    }
    let found = sequence::find_many(tx, workspace, &ids).await?;
    for (index, id) in ids.iter().enumerate() {
        if found.iter().all(|row| row.id != *id) {
            let message = "There is no sequence with this id; take the id from `sequences`.";
            let path = ["sequenceIds", &index.to_string()];
            wrong.push(Refusal::not_found(message, &path));
        }
    }
    Ok(scope::kept(&SequenceScope::only(ids)))
}

fn ahead_of_log() -> Refusal {
    let message = "`after` is ahead of this workspace's log: take the cursor of one of its events.";
    Refusal::invalid(message, &["after"])
}
