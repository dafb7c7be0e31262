//! Settling executions.

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject};

use super::Execution;
use crate::app::{self, Role};
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::node;

/// How an UNCONFIRMED execution is settled.
#[derive(InputObject, Debug)]
pub struct ExecutionResolveInput {
    /// The execution.
    id: ID,
    /// Whether the message left: true, the lead goes on; false, it is sent again.
    was_sent: bool,
}

/// What a mutation of an execution answers.
#[derive(SimpleObject)]
pub struct ExecutionPayload {
    /// The execution as it is now; null where the mutation was refused.
    execution: Option<Execution>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// Changing executions.
#[derive(Default)]
pub struct ExecutionMutation;

#[Object]
impl ExecutionMutation {
    /// Settles an UNCONFIRMED execution: it was sent, or send it again. Look into the sender's
    /// mailbox first; nothing else is ever sent twice. Whether it is too late to be sent again
    /// (`maxLateness`) is reckoned from when its step was first due.
    async fn execution_resolve(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which execution, and what became of its message.")]
        input: ExecutionResolveInput,
    ) -> Result<ExecutionPayload> {
        let caller = ctx.require_within(Role::Editor)?;
        let done = match node::id(&input.id, &["id"]) {
            Ok(id) => app::execution::resolve(ctx.services(), caller, id, input.was_sent).await,
            Err(error) => {
                return Ok(ExecutionPayload {
                    execution: None,
                    user_errors: vec![error],
                });
            }
        };
        match done {
            Ok(row) => Ok(ExecutionPayload {
                execution: Some(row.into()),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(ExecutionPayload {
                execution: None,
                user_errors: user_errors(error)?,
            }),
        }
    }
}
