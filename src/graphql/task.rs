//! Tasks in the API: work for people that leads wait for.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};

use super::channel::Channel;
use super::context::ContextExt;
use super::error::{UserError, user_errors};
use super::lead::{self, Lead, part, there};
use super::node;
use super::page::{Connection, PageArgs};
use super::prompt::{Prompt, Promptly};
use super::scalar::DateTime;
use crate::app::{self, Role};
use crate::domain::id::{LeadId, TaskId};
use crate::store;
use crate::store::task::{Filter, Row};

/// The list that cursors of tasks belong to.
const TASKS: &str = "tasks";

/// How far a task is.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::task::TaskStatus")]
pub enum TaskStatus {
    /// Somebody has to do it; its lead waits.
    Open,
    /// It was done.
    Completed,
    /// Somebody decided that it is not to be done.
    Skipped,
    /// Nobody did it in time, and its lead went on without it.
    Expired,
}

/// Work for a person: a call, a touch on LinkedIn, anything else. Its lead waits until the task is
/// completed or skipped, or until its time is up.
pub struct Task(Box<Row>);

/// Work for a person: a call, a touch on LinkedIn, anything else. Its lead waits until the task is
/// completed or skipped, or until its time is up.
#[Object]
impl Task {
    /// The task's id.
    pub async fn id(&self) -> ID {
        self.0.task_id().into()
    }

    /// The lead that waits for it.
    async fn lead(&self, ctx: &Context<'_>) -> Result<Promptly<Lead>> {
        let lead = lead::load(ctx, LeadId::from_uuid(self.0.lead_id)).await?;
        Ok(Promptly(there(lead, "task's lead")?))
    }

    /// The key of the step that gives it.
    async fn step_key(&self) -> &str {
        &self.0.step_key
    }

    /// What kind of work it is.
    async fn channel(&self) -> Result<Channel> {
        Ok(self.0.kind()?.into())
    }

    /// What is to be done.
    async fn title(&self) -> &str {
        &self.0.title
    }

    /// How it is to be done; null where the step says nothing.
    async fn instructions(&self) -> Option<&str> {
        self.0.instructions.as_deref()
    }

    /// Who is to do it, as the step names them; null for whoever takes it.
    async fn assignee(&self) -> Option<&str> {
        self.0.assignee.as_deref()
    }

    /// How far it is.
    async fn status(&self) -> Result<TaskStatus> {
        Ok(self.0.state()?.into())
    }

    /// When it came up, and is to be done.
    async fn due_at(&self) -> DateTime {
        DateTime::from_ms(self.0.due_at)
    }

    /// When its lead goes on without it; null where it waits for ever. A lead that was held meanwhile
    /// waits longer.
    async fn expires_at(&self) -> Option<DateTime> {
        self.0.expires_at.map(DateTime::from_ms)
    }

    /// When it was completed, skipped or given up; null while it is open.
    async fn completed_at(&self) -> Option<DateTime> {
        self.0.completed_at.map(DateTime::from_ms)
    }

    /// The id of the token by which it was completed or skipped; null while it is open, and where
    /// its time was up.
    async fn completed_by(&self) -> Option<&str> {
        self.0.completed_by.as_deref()
    }

    /// What was noted when it was completed or skipped.
    async fn note(&self) -> Option<&str> {
        self.0.note.as_deref()
    }
}

impl Prompt for Task {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "stepKey",
        "channel",
        "title",
        "instructions",
        "assignee",
        "status",
        "dueAt",
        "expiresAt",
        "completedAt",
        "completedBy",
        "note",
    ];
    const SOON: &'static [(&'static str, &'static [&'static str])] = &[("lead", Lead::AT_ONCE)];
}

/// The task with this id, if the caller sees it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: TaskId) -> Result<Option<Task>> {
    let (caller, db) = (ctx.caller_within()?, ctx.services().db.read());
    let row = store::task::find(db, caller.workspace, &caller.scope, id).await?;
    Ok(row.map(|row| Task(Box::new(row))))
}

/// Reading tasks.
#[derive(Default)]
pub struct TaskQuery;

#[Object]
impl TaskQuery {
    /// Tasks, oldest first.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the field's arguments in the schema"
    )]
    async fn tasks(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those with one of these statuses.")] status: Option<Vec<TaskStatus>>,
        #[graphql(desc = "Only those for this person, as the step names them.")] assignee: Option<
            String,
        >,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Task>> {
        let caller = ctx.caller_within()?;
        let filter = Filter {
            sequences: caller.scope.narrow(None),
            status: status.map(|list| list.into_iter().map(Into::into).collect()),
            // No text that is kept holds a NUL.
            assignee: assignee.map(|text| text.replace('\0', "\u{fffd}")),
        };
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = args.read::<TaskId>(ctx, TASKS)?;
        let (workspace, db) = (caller.workspace, ctx.services().db.clone());
        let rows = store::task::page(db.read(), workspace, &filter, part(&page)).await?;
        let connection = page.connection(TASKS, rows, Row::task_id, |row| Task(Box::new(row)));
        Ok(connection.counted(move || {
            let (db, filter) = (db.clone(), filter.clone());
            async move { store::task::count(db.read(), workspace, &filter).await }
        }))
    }
}

/// How a task ended.
#[derive(InputObject, Debug)]
pub struct TaskCompleteInput {
    /// The task.
    id: ID,
    /// COMPLETED or SKIPPED; its lead goes on in both cases.
    #[graphql(default_with = "Some(TaskStatus::Completed)")]
    outcome: Option<TaskStatus>,
    /// What is worth noting, at most 10,000 characters.
    note: Option<String>,
}

/// What a mutation of a task answers.
#[derive(SimpleObject)]
pub struct TaskPayload {
    /// The task as it is now; null where the mutation was refused.
    task: Option<Task>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// Changing tasks.
#[derive(Default)]
pub struct TaskMutation;

#[Object]
impl TaskMutation {
    /// Completes or skips an open task: its lead goes on at once. Doing so twice alike is no error.
    async fn task_complete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which task, and how it ended.")] input: TaskCompleteInput,
    ) -> Result<TaskPayload> {
        let caller = ctx.require_within(Role::Editor)?;
        let outcome = input.outcome.unwrap_or(TaskStatus::Completed);
        let done = match node::id(&input.id, &["id"]) {
            Ok(id) => {
                let services = ctx.services();
                app::task::complete(services, caller, id, outcome.into(), input.note).await
            }
            Err(error) => {
                return Ok(TaskPayload {
                    task: None,
                    user_errors: vec![error],
                });
            }
        };
        match done {
            Ok(row) => Ok(TaskPayload {
                task: Some(Task(Box::new(row))),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(TaskPayload {
                task: None,
                user_errors: user_errors(error)?,
            }),
        }
    }
}
