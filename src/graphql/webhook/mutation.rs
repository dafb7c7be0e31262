//! Making and changing webhook subscriptions.

use async_graphql::{Context, ID, InputObject, MaybeUndefined, Object, Result, SimpleObject};

use super::WebhookSubscription;
use crate::app::webhook::{self as app, Change, NewSubscription, Place, SEQUENCES_MAX};
use crate::app::{AppError, Role};
use crate::domain;
use crate::domain::id::{SequenceId, WebhookId};
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::event::EventKind;
use crate::graphql::node;
use crate::graphql::problems::{Problems, each_once};
use crate::graphql::scalar::{DateTime, EventCursor, Url};
use crate::store::webhook::Row;
use crate::webhook;

/// A webhook subscription to make.
#[derive(InputObject)]
pub struct WebhookSubscriptionCreateInput {
    /// Where requests go: https://…, or http:// to a machine of your own network that is given by its
    /// number. Into private networks only those requests go that `--allow-networks` allows.
    url: Url,
    /// Which kinds of events; left out or null, all of them, also those that there will be.
    kinds: Option<Vec<EventKind>>,
    /// Of which sequences, at most 100; left out or null, of all, and events that are of no sequence too.
    sequence_ids: Option<Vec<ID>>,
    /// Whether events are sent.
    #[graphql(default_with = "Some(true)")]
    enabled: Option<bool>,
    /// Only events after this position; left out or null, from now on.
    after: Option<EventCursor>,
}

/// A webhook subscription to change; a field that is left out stays as it is.
#[derive(InputObject)]
pub struct WebhookSubscriptionUpdateInput {
    /// The subscription.
    id: ID,
    /// Where requests go; null leaves it as it is. What failed is tried at once at the new address.
    url: Option<Url>,
    /// Which kinds of events; null for all of them.
    kinds: MaybeUndefined<Vec<EventKind>>,
    /// Of which sequences, at most 100; null for all, and for events that are of no sequence too.
    sequence_ids: MaybeUndefined<Vec<ID>>,
    /// Whether events are sent; null leaves it as it is. One that is switched on again goes on where it
    /// stopped; webhookSubscriptionReplay takes it to another place.
    enabled: Option<bool>,
}

/// A webhook subscription.
#[derive(InputObject)]
pub struct WebhookSubscriptionIdInput {
    /// The subscription.
    id: ID,
}

/// Where a webhook subscription is to go on. Give either `after` or `since`.
#[derive(InputObject)]
pub struct WebhookSubscriptionReplayInput {
    /// The subscription.
    id: ID,
    /// With the event after this position.
    after: Option<EventCursor>,
    /// With the first event that happened then or later; a time to come passes over all there is.
    since: Option<DateTime>,
}

/// What a mutation of a webhook subscription answers.
#[derive(SimpleObject)]
pub struct WebhookSubscriptionPayload {
    /// The subscription as it is now; null where the mutation was refused.
    webhook_subscription: Option<WebhookSubscription>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl WebhookSubscriptionPayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        Ok(match done {
            Ok(row) => Self {
                webhook_subscription: Some(row.into()),
                user_errors: Vec::new(),
            },
            Err(error) => Self::refused(user_errors(error)?),
        })
    }

    const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            webhook_subscription: None,
            user_errors,
        }
    }
}

/// A webhook subscription with a new secret.
#[derive(SimpleObject)]
pub struct WebhookSubscriptionSecretPayload {
    /// The subscription as it is now; null where the mutation was refused.
    webhook_subscription: Option<WebhookSubscription>,
    /// What its requests are signed with: whsec_ and base64. It is shown this once and cannot be read
    /// again; null where the mutation was refused.
    secret: Option<String>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl WebhookSubscriptionSecretPayload {
    fn of(done: Result<(String, Row), AppError>) -> Result<Self> {
        Ok(match done {
            Ok((secret, row)) => Self {
                webhook_subscription: Some(row.into()),
                secret: Some(secret),
                user_errors: Vec::new(),
            },
            Err(error) => Self::refused(user_errors(error)?),
        })
    }

    const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            webhook_subscription: None,
            secret: None,
            user_errors,
        }
    }
}

/// A webhook subscription that was deleted.
#[derive(SimpleObject)]
pub struct WebhookSubscriptionDeletePayload {
    /// The id of the subscription that is gone; null where the mutation was refused.
    deleted_id: Option<ID>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// What became of a try.
#[derive(SimpleObject)]
pub struct WebhookSubscriptionTestPayload {
    /// Whether the receiver took the request; false where the mutation was refused.
    delivered: bool,
    /// The status of the receiver's answer; null where there was none.
    status: Option<i32>,
    /// Why it was not delivered; null where it was.
    failure: Option<String>,
    /// Why the mutation was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// Changing webhook subscriptions.
#[derive(Default)]
pub struct WebhookMutation;

#[Object]
impl WebhookMutation {
    /// Makes a webhook subscription and shows its secret, this once. Sent twice, it makes two: delete the
    /// one whose secret did not arrive. Needs the role ADMIN.
    async fn webhook_subscription_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Where requests go, and which events.")]
        input: WebhookSubscriptionCreateInput,
    ) -> Result<WebhookSubscriptionSecretPayload> {
        let caller = ctx.require(Role::Admin)?;
        let mut problems = Problems::of(&[]);
        let sequences = input
            .sequence_ids
            .map(|ids| read_sequences(&ids, &mut problems));
        if !problems.found.is_empty() {
            return Ok(WebhookSubscriptionSecretPayload::refused(problems.found));
        }
        let new = NewSubscription {
            url: input.url.0,
            kinds: input.kinds.map(read_kinds),
            sequences,
            enabled: input.enabled.unwrap_or(true),
            after: input.after.map(|cursor| cursor.0),
        };
        WebhookSubscriptionSecretPayload::of(app::create(ctx.services(), caller, new).await)
    }

    /// Changes a webhook subscription. A request that is under way may be made once more. Needs the role
    /// ADMIN.
    async fn webhook_subscription_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which subscription, and what to change.")]
        input: WebhookSubscriptionUpdateInput,
    ) -> Result<WebhookSubscriptionPayload> {
        let caller = ctx.require(Role::Admin)?;
        let mut problems = Problems::of(&[]);
        let id: Option<WebhookId> = problems.one(&["id"], |at| node::id(&input.id, at));
        let sequences =
            said(input.sequence_ids).map(|ids| ids.map(|ids| read_sequences(&ids, &mut problems)));
        let (Some(id), []) = (id, problems.found.as_slice()) else {
            return Ok(WebhookSubscriptionPayload::refused(problems.found));
        };
        let change = Change {
            url: input.url.map(|url| url.0),
            kinds: said(input.kinds).map(|kinds| kinds.map(read_kinds)),
            sequences,
            enabled: input.enabled,
        };
        WebhookSubscriptionPayload::of(app::update(ctx.services(), caller, id, change).await)
    }

    /// Deletes a webhook subscription: nothing is sent to it any more. Needs the role ADMIN.
    async fn webhook_subscription_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which subscription.")] input: WebhookSubscriptionIdInput,
    ) -> Result<WebhookSubscriptionDeletePayload> {
        let caller = ctx.require(Role::Admin)?;
        let deleted = match node::id(&input.id, &["id"]) {
            Ok(id) => match app::delete(ctx.services(), caller, id).await {
                Ok(()) => Ok(()),
                Err(error) => Err(user_errors(error)?),
            },
            Err(error) => Err(vec![error]),
        };
        Ok(match deleted {
            Ok(()) => WebhookSubscriptionDeletePayload {
                deleted_id: Some(input.id),
                user_errors: Vec::new(),
            },
            Err(user_errors) => WebhookSubscriptionDeletePayload {
                deleted_id: None,
                user_errors,
            },
        })
    }

    /// Sends one request of the type TEST, also where the subscription is switched off, and tells what
    /// the receiver answered. It changes nothing. Needs the role ADMIN.
    async fn webhook_subscription_test(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which subscription.")] input: WebhookSubscriptionIdInput,
    ) -> Result<WebhookSubscriptionTestPayload> {
        let caller = ctx.require(Role::Admin)?;
        let tried = match node::id(&input.id, &["id"]) {
            Ok(id) => match webhook::test(ctx.services(), caller, id).await {
                Ok(tried) => Ok(tried),
                Err(error) => Err(user_errors(error)?),
            },
            Err(error) => Err(vec![error]),
        };
        Ok(match tried {
            Ok(tried) => WebhookSubscriptionTestPayload {
                delivered: tried.failure.is_none(),
                status: tried.status.map(i32::from),
                failure: tried.failure,
                user_errors: Vec::new(),
            },
            Err(user_errors) => WebhookSubscriptionTestPayload {
                delivered: false,
                status: None,
                failure: None,
                user_errors,
            },
        })
    }

    /// Lets a webhook subscription go on from another place of the log: from an earlier one, events are
    /// delivered once more, under the same ids; from a later one, some never are. Needs the role ADMIN.
    async fn webhook_subscription_replay(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which subscription, and from where.")]
        input: WebhookSubscriptionReplayInput,
    ) -> Result<WebhookSubscriptionPayload> {
        let caller = ctx.require(Role::Admin)?;
        let mut problems = Problems::of(&[]);
        let id: Option<WebhookId> = problems.one(&["id"], |at| node::id(&input.id, at));
        let place = match (input.after, input.since) {
            (Some(cursor), None) => Some(Place::After(cursor.0)),
            (None, Some(at)) => Some(Place::Since(at.0)),
            _ => {
                let message = "Give either after or since: where the subscription is to go on.";
                problems.add(&["after"], message.to_owned());
                None
            }
        };
        let (Some(id), Some(place)) = (id, place) else {
            return Ok(WebhookSubscriptionPayload::refused(problems.found));
        };
        WebhookSubscriptionPayload::of(app::replay(ctx.services(), caller, id, place).await)
    }

    /// Gives a webhook subscription a new secret and shows it, this once. For 24 hours requests carry a
    /// signature by each of the two. Needs the role ADMIN.
    async fn webhook_subscription_rotate_secret(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which subscription.")] input: WebhookSubscriptionIdInput,
    ) -> Result<WebhookSubscriptionSecretPayload> {
        let caller = ctx.require(Role::Admin)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => {
                let rotated = app::rotate_secret(ctx.services(), caller, id).await;
                WebhookSubscriptionSecretPayload::of(rotated)
            }
            Err(error) => Ok(WebhookSubscriptionSecretPayload::refused(vec![error])),
        }
    }
}

/// What is said of a setting: nothing, that there is to be none, or what it is to be.
fn said<T>(input: MaybeUndefined<T>) -> Option<Option<T>> {
    match input {
        MaybeUndefined::Undefined => None,
        MaybeUndefined::Null => Some(None),
        MaybeUndefined::Value(value) => Some(Some(value)),
    }
}

fn read_kinds(kinds: Vec<EventKind>) -> Vec<domain::event::EventKind> {
    each_once(kinds.into_iter().map(Into::into))
}

fn read_sequences(ids: &[ID], problems: &mut Problems<'_>) -> Vec<SequenceId> {
    problems.bound(ids.len(), SEQUENCES_MAX, &["sequenceIds"]);
    problems.each(ids, "sequenceIds", node::id)
}
