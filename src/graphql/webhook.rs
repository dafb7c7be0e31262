//! Webhook subscriptions in the API.

mod mutation;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, dataloader};

pub use self::mutation::WebhookMutation;
use super::context::ContextExt;
use super::event::EventKind;
use super::loader::{LoadError, Loaders};
use super::scalar::{DateTime, EventCursor, Url};
use super::sequence::Sequence;
use crate::app::{Role, webhook as app};
use crate::domain::id::WebhookId;
use crate::domain::webhook::State;
use crate::store::webhook::Row;
use crate::store::{self, scope};

/// Where a webhook subscription stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::webhook::State")]
pub enum WebhookSubscriptionState {
    /// Events are sent as they come.
    Active,
    /// The last delivery failed, and is tried again at `retryAt`; what comes after it waits.
    Retrying,
    /// Nothing is sent.
    SwitchedOff,
}

/// Why nothing is sent to a webhook subscription.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::webhook::SwitchedOff")]
pub enum WebhookSwitchedOffReason {
    /// Somebody wanted it so: `enabled` was set to false.
    Requested,
    /// The receiver answered 410, which says that it is gone for good.
    Gone,
    /// Nothing arrived for five days.
    Failing,
}

/// A program elsewhere that is told of the event log: each event that it asks for, in the log's order, in
/// a POST of its own, signed as Standard Webhooks has it (standardwebhooks.com). Every event is delivered
/// at least once; where it comes again, its `webhook-id` is the same.
pub struct WebhookSubscription(Arc<Row>);

/// A program elsewhere that is told of the event log: each event that it asks for, in the log's order, in
/// a POST of its own, signed as Standard Webhooks has it (standardwebhooks.com). Every event is delivered
/// at least once; where it comes again, its `webhook-id` is the same.
#[Object]
impl WebhookSubscription {
    /// The subscription's id.
    pub async fn id(&self) -> ID {
        WebhookId::from_uuid(self.0.id).into()
    }

    /// Where requests go.
    async fn url(&self) -> Url {
        self.0.url.as_str().into()
    }

    /// Which kinds of events it is told; null for all of them.
    async fn kinds(&self) -> Result<Option<Vec<EventKind>>> {
        let kinds = app::kinds(&self.0)?;
        Ok(kinds.map(|kinds| kinds.into_iter().map(Into::into).collect()))
    }

    /// Of which sequences it is told events; null for all, and for events that are of no sequence.
    async fn sequences(&self, ctx: &Context<'_>) -> Result<Option<Vec<Sequence>>> {
        let scope = scope::read(self.0.sequence_ids.as_ref())?;
        let Some(ids) = scope.sequences() else {
            return Ok(None);
        };
        let mut found = ctx.loaders()?.load_many(ids.iter().copied()).await?;
        let rows = ids.iter().filter_map(|id| found.remove(id));
        Ok(Some(rows.map(Sequence).collect()))
    }

    /// Where it stands.
    async fn state(&self) -> Result<WebhookSubscriptionState> {
        let switched_off = app::switched_off(&self.0)?;
        Ok(State::of(switched_off, self.0.failures).into())
    }

    /// Why nothing is sent; null where it is not SWITCHED_OFF.
    async fn switched_off_reason(&self) -> Result<Option<WebhookSwitchedOffReason>> {
        Ok(app::switched_off(&self.0)?.map(Into::into))
    }

    /// How far it is: every event up to this one was delivered, or was not asked for.
    async fn cursor(&self) -> EventCursor {
        EventCursor(self.0.after_seq)
    }

    /// How often delivering the next event has failed so far.
    async fn failures(&self) -> i32 {
        self.0.failures
    }

    /// Since when nothing arrives; null where the last delivery did.
    async fn failing_since(&self) -> Option<DateTime> {
        self.0.failing_since.map(DateTime::from_ms)
    }

    /// When the delivery that failed is tried again; null where none is.
    async fn retry_at(&self) -> Option<DateTime> {
        self.0.retry_at.map(DateTime::from_ms)
    }

    /// When an event was last delivered; null, none was.
    async fn last_success_at(&self) -> Option<DateTime> {
        self.0.last_success_at.map(DateTime::from_ms)
    }

    /// When a delivery last failed; null, none did.
    async fn last_failure_at(&self) -> Option<DateTime> {
        self.0.last_failure_at.map(DateTime::from_ms)
    }

    /// Why the last delivery that failed did; null, none did.
    async fn last_failure(&self) -> Option<&str> {
        self.0.last_failure.as_deref()
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime::from_ms(self.0.created_at)
    }

    /// When it was last changed by somebody.
    async fn updated_at(&self) -> DateTime {
        DateTime::from_ms(self.0.updated_at)
    }
}

impl From<Row> for WebhookSubscription {
    fn from(row: Row) -> Self {
        Self(Arc::new(row))
    }
}

impl dataloader::Loader<WebhookId> for Loaders {
    type Value = Arc<Row>;
    type Error = LoadError;

    async fn load(&self, ids: &[WebhookId]) -> Result<HashMap<WebhookId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::webhook::find_many(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (WebhookId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// The subscription with this id, if the caller's workspace has it and the caller is an admin.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: WebhookId) -> Result<Option<WebhookSubscription>> {
    let caller = ctx.caller_within()?;
    if caller.role < Role::Admin || !caller.scope.is_all() {
        return Ok(None);
    }
    let found = ctx.loaders()?.load_one(id).await?;
    Ok(found.map(WebhookSubscription))
}

/// Reading webhook subscriptions.
#[derive(Default)]
pub struct WebhookQuery;

#[Object]
impl WebhookQuery {
    /// The workspace's webhook subscriptions, in the order in which they were made; it has at most 50.
    /// Needs the role ADMIN.
    async fn webhook_subscriptions(&self, ctx: &Context<'_>) -> Result<Vec<WebhookSubscription>> {
        let workspace = ctx.require(Role::Admin)?.workspace;
        let rows = store::webhook::list(ctx.services().db.read(), workspace).await?;
        Ok(rows.into_iter().map(WebhookSubscription::from).collect())
    }
}
