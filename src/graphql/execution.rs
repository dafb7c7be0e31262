//! Executions in the API: steps as they were carried out, one by one. Which are meant is in
//! [`filter`], and how they are settled in [`mutation`].

mod filter;
mod mutation;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, SimpleObject, dataloader};

pub use self::filter::ExecutionFilterInput;
pub use self::mutation::ExecutionMutation;
use super::channel::Channel;
use super::context::ContextExt;
use super::error::bad_input;
use super::lead::{self, Lead, parsed, part, there};
use super::loader::{LoadError, Loaders};
use super::node;
use super::page::{Connection, PageArgs};
use super::problems;
use super::prompt::{Prompt, Promptly};
use super::scalar::DateTime;
use super::sender::{self, Sender};
use super::sequence::{self, Sequence};
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId};
use crate::domain::{execution, flow, outcome};
use crate::store;
use crate::store::execution::Filter;
use crate::store::lead::Part;

/// The list that cursors of executions belong to.
const EXECUTIONS: &str = "executions";

/// Where an execution stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::execution::ExecutionStatus")]
pub enum ExecutionStatus {
    /// Waits for its next attempt.
    Scheduled,
    /// Taken up; the message may be on its way.
    Sending,
    /// Accepted by the receiving server.
    Sent,
    /// Known to have arrived.
    Delivered,
    /// Will not be sent; the error says why.
    Failed,
    /// Nothing to do for this lead.
    Skipped,
    /// The process died between handing the message over and noting it. Never sent again by itself;
    /// see executionResolve.
    Unconfirmed,
}

/// What was wrong with an execution.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::outcome::ErrorCode")]
pub enum ExecutionErrorCode {
    /// The email address cannot be written to.
    InvalidEmail,
    /// There is no email address.
    MissingEmail,
    /// The phone number cannot be called.
    InvalidPhone,
    /// There is no phone number.
    MissingPhone,
    /// There is no LinkedIn page.
    MissingLinkedinUrl,
    /// The address must not be contacted: the step was skipped (SKIPPED), or the provider refused the
    /// message because the contact has opted out (FAILED).
    Suppressed,
    /// The message could not be made.
    RenderFailed,
    /// The receiver refused the message.
    Rejected,
    /// The recipient's mailbox is full.
    MailboxFull,
    /// The recipient does not exist.
    UnknownRecipient,
    /// The sender could not log in.
    AuthFailed,
    /// The server could not be reached, or the connection broke.
    ConnectionFailed,
    /// The server did not answer in time.
    Timeout,
    /// Too many messages for now, or a receiver that asks to come later as a matter of policy, such as
    /// greylisting.
    RateLimited,
    /// The server had trouble of its own.
    ProviderError,
    /// Cut off at a moment when it may have been delivered (UNCONFIRMED), or given up before it could be
    /// tried again, its lead having left the step (FAILED).
    Interrupted,
}

/// What was wrong with an execution.
#[derive(SimpleObject, Debug)]
pub struct ExecutionError {
    /// What, for programs.
    code: ExecutionErrorCode,
    /// What, for people.
    message: String,
    /// The provider's own answer; null where there was none.
    response: Option<String>,
    /// When it is tried again; null where it is not.
    retry_at: Option<DateTime>,
}

/// One step carried out for one lead; a message send with its status and error.
pub struct Execution(Arc<store::execution::Row>);

/// One step carried out for one lead; a message send with its status and error.
#[Object]
impl Execution {
    /// The execution's id.
    pub async fn id(&self) -> ID {
        ExecutionId::from_uuid(self.0.id).into()
    }

    /// The lead it was carried out for.
    async fn lead(&self, ctx: &Context<'_>) -> Result<Promptly<Lead>> {
        let id = LeadId::from_uuid(self.0.lead_id);
        let lead = lead::load(ctx, id).await?;
        Ok(Promptly(there(lead, "execution's lead")?))
    }

    /// The sequence of the lead.
    async fn sequence(&self, ctx: &Context<'_>) -> Result<Promptly<Sequence>> {
        let id = SequenceId::from_uuid(self.0.sequence_id);
        let sequence = sequence::load(ctx, id).await?;
        Ok(Promptly(there(sequence, "execution's sequence")?))
    }

    /// The key of the step.
    async fn step_key(&self) -> &str {
        &self.0.step_key
    }

    /// The key of the variant that was chosen; null where none was.
    async fn variant(&self) -> Option<&str> {
        self.0.variant.as_deref()
    }

    /// The channel of the message; null where the step reaches nobody.
    async fn channel(&self) -> Result<Option<Channel>> {
        let channel = self.0.channel.as_deref();
        let channel = channel.map(|text| parsed::<flow::Channel>("channel", text));
        Ok(channel.transpose()?.map(Into::into))
    }

    /// Who sent it, or is to; null where nobody is.
    async fn sender(&self, ctx: &Context<'_>) -> Result<Option<Promptly<Sender>>> {
        match self.0.sender_id.map(SenderId::from_uuid) {
            Some(id) => Ok(sender::load(ctx, id).await?.map(Promptly)),
            None => Ok(None),
        }
    }

    /// Where it stands.
    async fn status(&self) -> Result<ExecutionStatus> {
        let status = &self.0.status;
        Ok(parsed::<execution::ExecutionStatus>("execution status", status)?.into())
    }

    /// Which attempt it is at, from 1.
    async fn attempt(&self) -> i32 {
        self.0.attempt
    }

    /// What was wrong with the last attempt; null where nothing was.
    async fn error(&self) -> Result<Option<ExecutionError>> {
        let Some(code) = self.0.error_code.as_deref() else {
            return Ok(None);
        };
        let code: outcome::ErrorCode = parsed("error code", code)?;
        Ok(Some(ExecutionError {
            code: code.into(),
            message: self.0.error_message.clone().unwrap_or_default(),
            response: self.0.error_response.clone(),
            retry_at: self.0.retry_at.map(DateTime::from_ms),
        }))
    }

    /// The message's subject as it was sent; null before the first attempt.
    async fn subject(&self) -> Option<&str> {
        self.0.subject.as_deref()
    }

    /// The message's Message-ID; null before the first attempt.
    async fn message_id(&self) -> Option<&str> {
        self.0.message_id.as_deref()
    }

    /// When it was due.
    async fn scheduled_at(&self) -> Option<DateTime> {
        self.0.scheduled_at.map(DateTime::from_ms)
    }

    /// When its last attempt was taken up.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime::from_ms)
    }

    /// When it was over; null while it is not.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime::from_ms)
    }

    /// When the contact read the message, as WhatsApp tells of those who let it; null where that is not known.
    async fn read_at(&self) -> Option<DateTime> {
        self.0.read_at.map(DateTime::from_ms)
    }
}

impl Prompt for Execution {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "stepKey",
        "variant",
        "channel",
        "status",
        "attempt",
        "subject",
        "messageId",
        "scheduledAt",
        "startedAt",
        "finishedAt",
    ];
    const SOON: &'static [(&'static str, &'static [&'static str])] = &[
        ("lead", Lead::AT_ONCE),
        ("sequence", Sequence::AT_ONCE),
        ("sender", Sender::AT_ONCE),
    ];
}

impl From<store::execution::Row> for Execution {
    fn from(row: store::execution::Row) -> Self {
        Self(Arc::new(row))
    }
}

impl dataloader::Loader<ExecutionId> for Loaders {
    type Value = Arc<store::execution::Row>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[ExecutionId],
    ) -> Result<HashMap<ExecutionId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::execution::find_many(db, self.workspace, ids).await?;
        let admitted = |row: &store::execution::Row| {
            let sequence = SequenceId::from_uuid(row.sequence_id);
            self.caller.scope.admits(sequence)
        };
        Ok(rows
            .into_iter()
            .filter(admitted)
            .map(|row| (ExecutionId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// A part of the executions of a lead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct ExecutionsOf(LeadId, Part);

impl dataloader::Loader<ExecutionsOf> for Loaders {
    type Value = Vec<store::execution::Row>;
    type Error = LoadError;

    async fn load(
        &self,
        keys: &[ExecutionsOf],
    ) -> Result<HashMap<ExecutionsOf, Self::Value>, LoadError> {
        let mut by_part: HashMap<Part, Vec<LeadId>> = HashMap::new();
        for ExecutionsOf(lead, part) in keys {
            by_part.entry(*part).or_default().push(*lead);
        }
        let mut found: HashMap<ExecutionsOf, Self::Value> = HashMap::new();
        for (part, leads) in by_part {
            let db = self.services.db.read();
            for row in
                store::execution::of_leads(db, self.workspace, &self.caller.scope, &leads, part)
                    .await?
            {
                let key = ExecutionsOf(LeadId::from_uuid(row.lead_id), part);
                found.entry(key).or_default().push(row);
            }
        }
        Ok(found)
    }
}

/// The execution with this id, if the caller sees it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: ExecutionId) -> Result<Option<Execution>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Execution))
}

fn id_of(row: &store::execution::Row) -> ExecutionId {
    ExecutionId::from_uuid(row.id)
}

/// A lead's executions, newest first.
///
/// # Errors
/// As the arguments and the store have it.
pub async fn of_lead(
    ctx: &Context<'_>,
    lead: LeadId,
    args: PageArgs,
) -> Result<Connection<Execution>> {
    let page = args.read::<ExecutionId>(ctx, EXECUTIONS)?;
    let rows = ctx
        .loaders()?
        .load_one(ExecutionsOf(lead, part(&page)))
        .await?
        .unwrap_or_default();
    let connection = page.connection(EXECUTIONS, rows, id_of, Execution::from);
    counted(
        ctx,
        connection,
        Filter {
            lead: Some(lead),
            ..Filter::default()
        }
        .narrowed(&ctx.caller_within()?.scope),
    )
}

/// A page of the executions that a filter chooses, newest first; within one sequence, if one is
/// given.
///
/// # Errors
/// As the arguments and the store have it.
pub async fn page(
    ctx: &Context<'_>,
    filter: Option<ExecutionFilterInput>,
    within: Option<SequenceId>,
    args: PageArgs,
) -> Result<Connection<Execution>> {
    let caller = ctx.caller_within()?;
    let read = filter.unwrap_or_default().read(&["filter"]);
    let mut filter = read.map_err(|wrong| bad_input(problems::told(wrong)))?;
    filter = filter.narrowed(&caller.scope);
    if let Some(sequence) = within {
        filter = filter.within(sequence);
    }
    let page = args.read::<ExecutionId>(ctx, EXECUTIONS)?;
    let db = ctx.services().db.read();
    let rows = store::execution::page(db, caller.workspace, &filter, part(&page)).await?;
    let connection = page.connection(EXECUTIONS, rows, id_of, Execution::from);
    counted(ctx, connection, filter)
}

fn counted(
    ctx: &Context<'_>,
    connection: Connection<Execution>,
    filter: Filter,
) -> Result<Connection<Execution>> {
    let (workspace, db) = (ctx.caller_within()?.workspace, ctx.services().db.clone());
    Ok(connection.counted(move || {
        let (db, filter) = (db.clone(), filter.clone());
        async move { store::execution::count(db.read(), workspace, &filter).await }
    }))
}

/// Reading executions.
#[derive(Default)]
pub struct ExecutionQuery;

#[Object]
impl ExecutionQuery {
    /// The execution with this id; null if the workspace has none.
    async fn execution(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The execution's id.")] id: ID,
    ) -> Result<Option<Execution>> {
        ctx.caller_within()?;
        match node::maybe(&id) {
            Some(id) => load(ctx, id).await,
            None => Ok(None),
        }
    }

    /// Executions, newest first.
    async fn executions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which executions; all, if it is not given.")] filter: Option<
            ExecutionFilterInput,
        >,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Execution>> {
        page(
            ctx,
            filter,
            None,
            PageArgs {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }
}
