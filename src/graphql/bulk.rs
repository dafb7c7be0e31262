//! Bulk operations in the API: the object, its outcomes, following and cancelling it.
//!
//! The mutations that submit operations live with what they act on; they all answer
//! [`BulkPayload`].

mod view;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{
    Context, Enum, ID, InputObject, Object, Result, SimpleObject, Subscription, dataloader,
};
use futures_util::{Stream, stream};

use self::view::View;
use super::context::ContextExt;
use super::error::{UserError, bad_input, user_errors};
use super::loader::{LoadError, Loaders};
use super::node;
use super::page::{Connection, PageArgs};
use super::problems::each_once;
use super::prompt::Prompt;
use super::scalar::DateTime;
use crate::app::{AppError, Role};
use crate::bulk;
use crate::domain::id::BulkId;
use crate::store::{self, StoreError};

/// The name of the list of outcomes in its cursors.
const OUTCOMES: &str = "bulkOutcomes";
/// How many different outcomes are counted.
const COUNTS_MAX: u64 = 20;

/// What a bulk operation does.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::bulk::BulkKind")]
pub enum BulkKind {
    /// Makes leads of people.
    Enrol,
    /// Holds leads.
    Pause,
    /// Lets held leads go on.
    Resume,
    /// Takes leads out of their sequence.
    Remove,
    /// Reads people from a CSV file.
    ImportPeople,
    /// Puts back what another operation did.
    Undo,
}

/// Where a bulk operation stands.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::bulk::BulkStatus")]
pub enum BulkStatus {
    /// Waits for its turn.
    Queued,
    /// Being carried out, a chunk at a time.
    Running,
    /// Every item has its outcome.
    Completed,
    /// Ended by a person before every item had its turn; what was done stays done.
    Cancelled,
    /// Could not go on; what was done stays done.
    Failed,
}

/// What became of one item of a bulk operation.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::bulk::BulkOutcomeCode")]
pub enum BulkOutcomeCode {
    /// Done as asked.
    Done,
    /// The person already has a lead in the sequence.
    AlreadyEnrolled,
    /// It already is as asked, or is to be left as it is.
    AlreadyInState,
    /// The address must not be contacted.
    Suppressed,
    /// The person has opted out.
    OptedOut,
    /// The person has no address for any channel of the sequence.
    NoAddress,
    /// The person is in another, exclusive sequence. Nothing comes to this so far: no setting makes a
    /// sequence exclusive, and a person may be in any number of sequences at once.
    InOtherSequence,
    /// The workspace has no such object.
    NotFound,
    /// Something else has happened to the lead since, which is not to be undone.
    MovedOn,
    /// The lead is over and cannot be changed any more.
    Finished,
    /// The item itself is wrong, or the sequence takes nobody just now; the message says which.
    Invalid,
}

/// One mutation over many leads or people, with its progress and an outcome for each item. It goes
/// on in the background, through restarts, until every item has its outcome.
pub struct BulkOperation(Arc<store::bulk::Row>);

/// One mutation over many leads or people, with its progress and an outcome for each item. It goes
/// on in the background, through restarts, until every item has its outcome.
#[Object]
impl BulkOperation {
    /// The operation's id.
    pub async fn id(&self) -> ID {
        self.bulk_id().into()
    }

    /// What it does.
    async fn kind(&self) -> Result<BulkKind> {
        let kind: crate::domain::bulk::BulkKind = parsed("bulk kind", &self.0.kind)?;
        Ok(kind.into())
    }

    /// Where it stands.
    async fn status(&self) -> Result<BulkStatus> {
        let status: crate::domain::bulk::BulkStatus = parsed("bulk status", &self.0.status)?;
        Ok(status.into())
    }

    /// Items selected; null until the selection is counted.
    async fn total(&self) -> Option<i64> {
        self.0.total
    }

    /// Items that have their outcome.
    async fn processed(&self) -> i64 {
        self.0.processed
    }

    /// Items that were done as asked.
    async fn succeeded(&self) -> i64 {
        self.0.succeeded
    }

    /// Already so, or not allowed by policy; `outcomes` says which and why.
    async fn skipped(&self) -> i64 {
        self.0.skipped
    }

    /// Items that could not be done; `outcomes` says which and why.
    async fn failed(&self) -> i64 {
        self.0.failed
    }

    /// Why the operation as a whole could not go on; null unless its status is FAILED.
    async fn error(&self) -> Option<&str> {
        self.0.error.as_deref()
    }

    /// The operation that it undoes; null for one that undoes none.
    async fn undoes(&self) -> Option<ID> {
        self.0.undoes.map(|id| BulkId::from_uuid(id).into())
    }

    /// Whether it only tries out what would be done, and writes nothing but its outcomes.
    async fn is_dry_run(&self) -> bool {
        bulk::import::is_dry_run(&self.0.request)
    }

    /// How often it had each outcome so far, the most frequent first, at most twenty of them: how
    /// many people an import entered and how many it updated, say, or how many were not enrolled and why.
    /// All outcomes are counted whenever it is asked for: better once at the end than while following.
    async fn outcome_counts(&self, ctx: &Context<'_>) -> Result<Vec<BulkOutcomeCount>> {
        let workspace = ctx.caller_within()?.workspace;
        let db = ctx.services().db.read();
        let counts = store::bulk::outcome_counts(db, workspace, self.bulk_id(), COUNTS_MAX).await?;
        counts.into_iter().map(BulkOutcomeCount::read).collect()
    }

    /// What became of each item, in the order in which they had their turn.
    async fn outcomes(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only outcomes with one of these codes; left out, all.")] code: Option<
            Vec<BulkOutcomeCode>,
        >,
        #[graphql(desc = "At most so many, from the beginning: 1 to 250, 50 if left out.")]
        first: Option<i32>,
        #[graphql(desc = "Only what comes after this cursor.")] after: Option<String>,
        #[graphql(desc = "At most so many, from the end: 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only what comes before this cursor.")] before: Option<String>,
    ) -> Result<Connection<BulkOutcome>> {
        let page = PageArgs {
            first,
            after,
            last,
            before,
        };
        let codes = code.map(|codes| each_once(codes.into_iter().map(Into::into)));
        self.outcome_page(ctx, codes, page).await
    }

    /// When its first item had its turn; null while it is queued.
    async fn started_at(&self) -> Option<DateTime> {
        self.0.started_at.map(DateTime::from_ms)
    }

    /// When it ended; null until then.
    async fn finished_at(&self) -> Option<DateTime> {
        self.0.finished_at.map(DateTime::from_ms)
    }
}

type Codes = Vec<crate::domain::bulk::BulkOutcomeCode>;

impl BulkOperation {
    fn bulk_id(&self) -> BulkId {
        BulkId::from_uuid(self.0.id)
    }

    async fn outcome_page(
        &self,
        ctx: &Context<'_>,
        codes: Option<Codes>,
        args: PageArgs,
    ) -> Result<Connection<BulkOutcome>> {
        let (workspace, id) = (ctx.caller_within()?.workspace, self.bulk_id());
        let page = args.read::<i64>(ctx, OUTCOMES)?;
        let db = ctx.services().db.clone();
        let wanted = store::bulk::OutcomePage {
            after: page.after,
            before: page.before,
            backward: page.backward,
            limit: page.fetch(),
        };
        let rows =
            store::bulk::outcomes(db.read(), workspace, id, codes.as_deref(), wanted).await?;
        let connection = page.connection(OUTCOMES, rows, |row| row.ordinal, BulkOutcome);
        Ok(
            connection.counted(move || {
                let (db, codes) = (db.clone(), codes.clone());
                async move {
                    store::bulk::count_outcomes(db.read(), workspace, id, codes.as_deref()).await
                }
            }),
        )
    }
}

/// How many items of a bulk operation had the same outcome.
#[derive(SimpleObject)]
pub struct BulkOutcomeCount {
    /// What became of them, for programs.
    pub code: BulkOutcomeCode,
    /// What became of them, for people.
    pub message: String,
    /// How many they are.
    pub count: i64,
}

impl BulkOutcomeCount {
    fn read(row: store::bulk::OutcomeCount) -> Result<Self> {
        let code: crate::domain::bulk::BulkOutcomeCode = parsed("bulk outcome", &row.code)?;
        Ok(Self {
            code: code.into(),
            message: row.message,
            count: row.count,
        })
    }
}

/// What became of one item of a bulk operation.
pub struct BulkOutcome(store::bulk::OutcomeRow);

/// What became of one item of a bulk operation.
#[Object]
impl BulkOutcome {
    /// The id of the lead or person concerned; in an import, the line, as "line 7".
    async fn subject(&self) -> &str {
        &self.0.subject
    }

    /// What became of it, for programs.
    async fn code(&self) -> Result<BulkOutcomeCode> {
        let code: crate::domain::bulk::BulkOutcomeCode = parsed("bulk outcome", &self.0.code)?;
        Ok(code.into())
    }

    /// What became of it, for people; says the remedy where there is one.
    async fn message(&self) -> &str {
        &self.0.message
    }
}

impl Prompt for BulkOutcome {
    const AT_ONCE: &'static [&'static str] = &["subject", "code", "message"];
}

fn parsed<T: std::str::FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt(what, text))
}

impl dataloader::Loader<BulkId> for Loaders {
    type Value = Arc<store::bulk::Row>;
    type Error = LoadError;

    async fn load(&self, ids: &[BulkId]) -> Result<HashMap<BulkId, Self::Value>, LoadError> {
        let rows = store::bulk::find_many(self.services.db.read(), self.workspace, ids).await?;
        let mut found = HashMap::new();
        for row in rows {
            if bulk::may_see(&self.caller, &row)? {
                found.insert(BulkId::from_uuid(row.id), Arc::new(row));
            }
        }
        Ok(found)
    }
}

/// The operation with this id, if the caller sees it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: BulkId) -> Result<Option<BulkOperation>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(BulkOperation))
}

/// What a mutation over many leads or people answers. Small selections are done by the time of the
/// answer; large ones go on, and the subscription `bulkOperation` follows them.
#[derive(SimpleObject)]
pub struct BulkPayload {
    /// The operation; null where it was refused.
    operation: Option<BulkOperation>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl BulkPayload {
    /// What a submission answers.
    ///
    /// # Errors
    /// What the caller cannot repair.
    pub async fn of(ctx: &Context<'_>, submitted: Result<BulkId, AppError>) -> Result<Self> {
        match submitted {
            Ok(id) => {
                // Not from the loader: what it holds may be older than the mutation.
                let (workspace, db) = (ctx.caller_within()?.workspace, ctx.services().db.read());
                let operation = store::bulk::find(db, workspace, id).await?;
                let operation = operation.map(|row| BulkOperation(Arc::new(row)));
                Ok(Self {
                    operation,
                    user_errors: Vec::new(),
                })
            }
            Err(error) => Ok(Self::refused(user_errors(error)?)),
        }
    }

    /// What a submission answers whose input cannot be read.
    pub const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            operation: None,
            user_errors,
        }
    }
}

/// Names a bulk operation.
#[derive(InputObject, Debug)]
pub struct BulkOperationIdInput {
    /// The operation.
    id: ID,
}

/// Reading bulk operations.
#[derive(Default)]
pub struct BulkQuery;

#[Object]
impl BulkQuery {
    /// The bulk operation with this id; null if the workspace has none.
    async fn bulk_operation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The operation's id, from the answer that submitted it.")] id: ID,
    ) -> Result<Option<BulkOperation>> {
        ctx.caller_within()?;
        match node::maybe(&id) {
            Some(id) => load(ctx, id).await,
            None => Ok(None),
        }
    }
}

/// Changing bulk operations.
#[derive(Default)]
pub struct BulkMutation;

#[Object]
impl BulkMutation {
    /// Ends an operation before every item had its turn. What is done stays done; an operation
    /// that is over already stays as it is.
    async fn bulk_operation_cancel(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which operation.")] input: BulkOperationIdInput,
    ) -> Result<BulkPayload> {
        let caller = ctx.require_within(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => BulkPayload::of(ctx, bulk::cancel(ctx.services(), caller, id).await).await,
            Err(error) => Ok(BulkPayload::refused(vec![error])),
        }
    }

    /// Undoes a pause, a resume or an enrolment, for those of its leads that have not moved on: what
    /// was paused goes on as if it had not been, what was resumed is paused again, and who was enrolled
    /// is taken out as if they had not been. The outcomes tell of each lead that has moved on, which
    /// stays as it is. An operation that is not over is cancelled or awaited first. Undoing it twice
    /// answers the first time's operation and does nothing more.
    async fn bulk_operation_undo(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which operation.")] input: BulkOperationIdInput,
    ) -> Result<BulkPayload> {
        let caller = ctx.require_within(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => {
                let submitted = bulk::undo::submit(ctx.services(), caller, id).await;
                BulkPayload::of(ctx, submitted).await
            }
            Err(error) => Ok(BulkPayload::refused(vec![error])),
        }
    }
}

/// Following bulk operations.
#[derive(Default)]
pub struct BulkSubscription;

#[Subscription]
impl BulkSubscription {
    /// The operation now and whenever its counts change (at most four times a second), last when it
    /// ends; then the stream completes.
    async fn bulk_operation(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The operation's id, from the answer that submitted it.")] id: ID,
    ) -> Result<impl Stream<Item = Result<BulkOperation>> + use<>> {
        let caller = ctx.caller_within()?;
        let workspace = caller.workspace;
        let services = ctx.services().clone();
        // The bell before the first look: what is committed in between rings it.
        let bell = services.wake.on_log();
        let found = match node::maybe(&id) {
            Some(id) => store::bulk::find(services.db.read(), workspace, id).await?,
            None => None,
        };
        let row = match found {
            Some(row) if bulk::may_see(caller, &row)? => row,
            _ => {
                let message = "There is no bulk operation with this `id`; take it from the answer \
                               that submitted the operation.";
                return Err(bad_input(message));
            }
        };
        let view = View::new(services, workspace, bell, row);
        Ok(stream::unfold(view, View::advance))
    }
}
