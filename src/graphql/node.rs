//! Global ids: reading them in arguments, and whatever has one by it.

use std::str::FromStr;

use async_graphql::{Context, ID, Interface, Object, Result};
use futures_util::future::try_join_all;

use super::bulk::{self, BulkOperation};
use super::context::ContextExt;
use super::dkim::{self, DkimKey};
use super::error::{UserError, UserErrorCode, bad_input};
use super::execution::{self, Execution};
use super::lead::{self, Lead};
use super::opportunity::{self, Opportunity};
use super::page::PAGE_MAX;
use super::person::{self, Person};
use super::pipeline::{self, Pipeline, Stage};
use super::sender::{self, Sender};
use super::sequence::{self, Sequence, SequenceVersion};
use super::task::{self, Task};
use super::token::{self, ApiToken};
use super::webhook::{self, WebhookSubscription};
use super::workflow::{self, Workflow};
use super::workspace::{self, Workspace};
use crate::domain::id::{Id, Kind, NotAnId};

/// Reads an id of the kind `T` from a mutation's input; `path` is where it stands.
///
/// # Errors
/// INVALID with the path, where it is no id of this kind.
pub fn id<T: FromStr<Err = NotAnId>>(id: &ID, path: &[&str]) -> Result<T, UserError> {
    id.parse().map_err(|error: NotAnId| {
        UserError::new(
            UserErrorCode::Invalid,
            format!("\"{}\": {error}.", shown(id)),
            path,
        )
    })
}

/// Reads an id of a query: one of another kind is the same as one that is not there.
pub fn maybe<K: Kind>(id: &ID) -> Option<Id<K>> {
    id.parse().ok()
}

/// So much of a text as fits into a message.
fn shown(text: &str) -> String {
    text.chars().take(60).collect()
}

/// An object that can be read again by its global id. Ids are typed and opaque: lead_01j…,
/// seq_01j…
#[derive(Interface)]
#[graphql(field(name = "id", ty = "ID", desc = "The object's global id."))]
pub enum Node {
    /// A sequence.
    Sequence(Sequence),
    /// A published version of a sequence.
    SequenceVersion(SequenceVersion),
    /// A lead.
    Lead(Lead),
    /// An execution.
    Execution(Execution),
    /// A task.
    Task(Task),
    /// A sender.
    Sender(Sender),
    /// A person.
    Person(Person),
    /// A pipeline.
    Pipeline(Pipeline),
    /// A stage of a pipeline.
    Stage(Stage),
    /// An opportunity.
    Opportunity(Opportunity),
    /// A workflow.
    Workflow(Workflow),
    /// A bulk operation.
    BulkOperation(BulkOperation),
    /// A key that emails are signed with.
    DkimKey(DkimKey),
    /// A webhook subscription.
    WebhookSubscription(WebhookSubscription),
    /// An API token.
    ApiToken(ApiToken),
    /// A workspace.
    Workspace(Workspace),
}

/// Reads an object of any kind; the kind is in the id. None for what is not there, is another
/// workspace's or outside of the caller's sequences, or is no id.
async fn load(ctx: &Context<'_>, id: &ID) -> Result<Option<Node>> {
    let Some((prefix, _)) = id.split_once('_') else {
        return Ok(None);
    };
    let is_limited = !ctx.caller_within()?.scope.is_all();
    Ok(match prefix {
        // These are the whole workspace's; whoever may see a sender sees it where it is used.
        "sender" | "pipeline" | "stage" | "opp" | "workflow" if is_limited => None,
        "seq" => match maybe(id) {
            Some(id) => sequence::load(ctx, id).await?.map(Node::Sequence),
            None => None,
        },
        "ver" => match maybe(id) {
            Some(id) => sequence::load_version(ctx, id)
                .await?
                .map(Node::SequenceVersion),
            None => None,
        },
        "lead" => match maybe(id) {
            Some(id) => lead::load(ctx, id).await?.map(Node::Lead),
            None => None,
        },
        "exec" => match maybe(id) {
            Some(id) => execution::load(ctx, id).await?.map(Node::Execution),
            None => None,
        },
        "task" => match maybe(id) {
            Some(id) => task::load(ctx, id).await?.map(Node::Task),
            None => None,
        },
        "sender" => match maybe(id) {
            Some(id) => sender::load(ctx, id).await?.map(Node::Sender),
            None => None,
        },
        "person" => match maybe(id) {
            Some(id) => person::load_seen(ctx, id).await?.map(Node::Person),
            None => None,
        },
        "pipeline" => match maybe(id) {
            Some(id) => pipeline::load(ctx, id).await?.map(Node::Pipeline),
            None => None,
        },
        "stage" => match maybe(id) {
            Some(id) => pipeline::load_stage(ctx, id).await?.map(Node::Stage),
            None => None,
        },
        "opp" => match maybe(id) {
            Some(id) => opportunity::load(ctx, id).await?.map(Node::Opportunity),
            None => None,
        },
        "workflow" => match maybe(id) {
            Some(id) => workflow::load(ctx, id).await?.map(Node::Workflow),
            None => None,
        },
        "bulk" => match maybe(id) {
            Some(id) => bulk::load(ctx, id).await?.map(Node::BulkOperation),
            None => None,
        },
        "dkim" => match maybe(id) {
            Some(id) => dkim::load(ctx, id).await?.map(Node::DkimKey),
            None => None,
        },
        "webhook" => match maybe(id) {
            Some(id) => webhook::load(ctx, id).await?.map(Node::WebhookSubscription),
            None => None,
        },
        "token" => match maybe(id) {
            Some(id) => token::load(ctx, id).await?.map(Node::ApiToken),
            None => None,
        },
        "ws" => match maybe(id) {
            Some(id) => workspace::load(ctx, id).await?.map(Node::Workspace),
            None => None,
        },
        _ => None,
    })
}

/// Reading anything by its id.
#[derive(Default)]
pub struct NodeQuery;

#[Object]
impl NodeQuery {
    /// The object with this id; null if the workspace has none.
    async fn node(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The object's global id.")] id: ID,
    ) -> Result<Option<Node>> {
        ctx.caller_within()?;
        load(ctx, &id).await
    }

    /// The objects with these ids, in their order; null in the place of one that the workspace
    /// does not have.
    async fn nodes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The objects' global ids, at most 250.")] ids: Vec<ID>,
    ) -> Result<Vec<Option<Node>>> {
        ctx.caller_within()?;
        if u64::try_from(ids.len()).is_ok_and(|count| count > PAGE_MAX) {
            let message = format!("`ids` has more than {PAGE_MAX} entries; ask for fewer at once.");
            return Err(bad_input(message));
        }
        try_join_all(ids.iter().map(|id| load(ctx, id))).await
    }
}
