//! Workflows in the API.

mod filter;
mod mutation;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, dataloader};

pub use self::mutation::WorkflowMutation;
use super::context::ContextExt;
use super::lead::{self, Lead, part};
use super::loader::{LoadError, Loaders};
use super::page::{Connection, PageArgs};
use super::person::{self, Person};
use super::pipeline::Stage;
use super::problems::each_once;
use super::prompt::Prompt;
use super::scalar::{DateTime, Json};
use super::sequence::{self, Sequence};
use crate::app;
use crate::domain::id::{LeadId, PersonId, SequenceId, WorkflowId, WorkflowRunId};
use crate::domain::workflow::{RunCode, Trigger};
use crate::store::workflow::{queue, run};
use crate::store::{self, StoreError};

/// The name of the list of a workflow's runs in its cursors.
const RUNS: &str = "workflowRuns";

/// What sets a workflow off.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::workflow::Trigger")]
pub enum WorkflowTrigger {
    /// A person is entered: by personCreate, or by an import.
    PersonCreated,
    /// Something that is known of a person changes: by personUpdate, by an import, or by an update step.
    /// A change to what it is already sets nothing off.
    PersonUpdated,
    /// An opportunity of the person is made.
    OpportunityCreated,
    /// An opportunity of the person goes to another stage.
    OpportunityStageChanged,
}

/// What came of a run of a workflow for one person.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::workflow::RunCode")]
pub enum WorkflowRunCode {
    /// The person was enrolled.
    Done,
    /// The filter did not choose the person when the workflow ran.
    NotMatching,
    /// The person is or was a lead of the sequence, and a workflow enrols nobody twice.
    AlreadyEnrolled,
    /// The address must not be contacted.
    Suppressed,
    /// The person has opted out.
    OptedOut,
    /// The person has no address for any channel of the sequence.
    NoAddress,
    /// The person is in another, exclusive sequence. Nothing comes to this so far: no setting makes a
    /// sequence exclusive, and a person may be in any number of sequences at once.
    InOtherSequence,
    /// The person is not there any more.
    NotFound,
    /// The sequence takes no leads: it is a draft, disabled or archived. The run is not made up for
    /// when it is published.
    SequenceNotPublished,
    /// The workflow was switched off after it was set off, and before it ran.
    WorkflowDisabled,
    /// Five enrolments by workflows led to each other, and no more do.
    ChainTooLong,
    /// The sequence cannot take the person; the message says why.
    Invalid,
}

/// Automatic enrolment: when `trigger` happens to a person that matches `filter`, enrol it. It runs in
/// the moment after the change that sets it off is committed, for the person as it is by then, through
/// restarts, and enrols nobody twice into its sequence.
pub struct Workflow(Arc<store::workflow::Row>);

/// Automatic enrolment: when `trigger` happens to a person that matches `filter`, enrol it. It runs in
/// the moment after the change that sets it off is committed, for the person as it is by then, through
/// restarts, and enrols nobody twice into its sequence.
#[Object]
impl Workflow {
    /// The workflow's id.
    pub async fn id(&self) -> ID {
        self.workflow_id().into()
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whether it is switched on.
    async fn enabled(&self) -> bool {
        self.0.enabled
    }

    /// What sets it off.
    async fn trigger(&self) -> Result<WorkflowTrigger> {
        let trigger: Trigger = parsed("workflow's trigger", &self.0.trigger)?;
        Ok(trigger.into())
    }

    /// Whom it enrols, as a PersonFilter has it; null for everybody to whom the trigger happens.
    async fn filter(&self) -> Result<Option<Json>> {
        let filter = app::workflow::filter(&self.0)?;
        Ok((!filter.is_empty()).then(|| Json(filter::shown(filter))))
    }

    /// The stages in which the trigger counts; null for all of them, and for a trigger that has none.
    async fn stages(&self, ctx: &Context<'_>) -> Result<Option<Vec<Stage>>> {
        let Some(ids) = queue::stages(self.0.stage_ids.as_ref())? else {
            return Ok(None);
        };
        let mut found = ctx.loaders()?.load_many(ids.iter().copied()).await?;
        let stages = ids.iter().filter_map(|id| found.remove(id));
        Ok(Some(stages.map(Stage).collect()))
    }

    /// The sequence into which it enrols.
    async fn sequence(&self, ctx: &Context<'_>) -> Result<Sequence> {
        let id = SequenceId::from_uuid(self.0.sequence_id);
        let sequence = sequence::load(ctx, id).await?;
        let gone = || StoreError::corrupt("workflow", "its sequence is not there");
        Ok(sequence.ok_or_else(gone)?)
    }

    /// How many people it has enrolled.
    async fn enrolled(&self) -> i64 {
        self.0.enrolled
    }

    /// What came of each time that it was set off for somebody, newest first.
    async fn runs(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only runs with one of these codes; left out, all.")] code: Option<
            Vec<WorkflowRunCode>,
        >,
        #[graphql(desc = "At most so many, from the newest: 1 to 250, 50 if left out.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the oldest: 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<Connection<WorkflowRun>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let codes = code.map(|codes| each_once(codes.into_iter().map(Into::into)));
        self.run_page(ctx, codes, page).await
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

impl Workflow {
    fn workflow_id(&self) -> WorkflowId {
        WorkflowId::from_uuid(self.0.id)
    }

    async fn run_page(
        &self,
        ctx: &Context<'_>,
        codes: Option<Vec<RunCode>>,
        args: PageArgs,
    ) -> Result<Connection<WorkflowRun>> {
        let (workspace, id) = (ctx.caller()?.workspace, self.workflow_id());
        let page = args.read::<WorkflowRunId>(ctx, RUNS)?;
        let db = ctx.services().db.clone();
        let rows = run::page(db.read(), workspace, id, codes.as_deref(), part(&page)).await?;
        let key = |row: &run::Row| WorkflowRunId::from_uuid(row.id);
        let connection = page.connection(RUNS, rows, key, WorkflowRun);
        Ok(connection.counted(move || {
            let (db, codes) = (db.clone(), codes.clone());
            async move { run::count(db.read(), workspace, id, codes.as_deref()).await }
        }))
    }
}

impl From<store::workflow::Row> for Workflow {
    fn from(row: store::workflow::Row) -> Self {
        Self(Arc::new(row))
    }
}

/// What came of one time that a workflow was set off for somebody.
pub struct WorkflowRun(run::Row);

/// What came of one time that a workflow was set off for somebody.
#[Object]
impl WorkflowRun {
    /// For whom; null where the person is not there any more.
    async fn person(&self, ctx: &Context<'_>) -> Result<Option<Person>> {
        person::load_seen(ctx, PersonId::from_uuid(self.0.person_id)).await
    }

    /// What came of it, for programs.
    async fn code(&self) -> Result<WorkflowRunCode> {
        let code: RunCode = parsed("workflow's run", &self.0.code)?;
        Ok(code.into())
    }

    /// What came of it, for people; says the remedy where there is one.
    async fn message(&self) -> &str {
        &self.0.message
    }

    /// The lead that the person became; null where it was not enrolled.
    async fn lead(&self, ctx: &Context<'_>) -> Result<Option<Lead>> {
        match self.0.lead_id {
            Some(id) => lead::load(ctx, LeadId::from_uuid(id)).await,
            None => Ok(None),
        }
    }

    /// When the workflow ran.
    async fn at(&self) -> DateTime {
        DateTime::from_ms(self.0.at)
    }
}

impl Prompt for WorkflowRun {
    const AT_ONCE: &'static [&'static str] = &["code", "message", "at"];
}

fn parsed<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt(what, text))
}

impl dataloader::Loader<WorkflowId> for Loaders {
    type Value = Arc<store::workflow::Row>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[WorkflowId],
    ) -> Result<HashMap<WorkflowId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::workflow::find_many(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (WorkflowId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// The workflow with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: WorkflowId) -> Result<Option<Workflow>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Workflow))
}

/// Reading workflows.
#[derive(Default)]
pub struct WorkflowQuery;

#[Object]
impl WorkflowQuery {
    /// The workspace's workflows, in the order in which they were made; it has at most 100.
    async fn workflows(&self, ctx: &Context<'_>) -> Result<Vec<Workflow>> {
        let workspace = ctx.caller()?.workspace;
        let rows = store::workflow::list(ctx.services().db.read(), workspace).await?;
        Ok(rows.into_iter().map(Workflow::from).collect())
    }
}
