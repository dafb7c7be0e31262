//! Sequences in the API: reading them and their versions. What changes them is in [`mutation`].

mod changes;
mod mutation;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, Object, Result, dataloader};

use super::analytics::{self, AnalyticsFilterInput, SequenceAnalytics};
use super::context::ContextExt;
use super::execution::{self, Execution, ExecutionFilterInput};
use super::flow::{Flow, FlowProblem};
use super::forecast::{self, Forecast};
use super::lead::{self, Lead, LeadCounts, LeadFilterInput, LeadOrder};
use super::loader::{LoadError, Loaders};
use super::node;
use super::page::{Connection, Page, PageArgs};
use super::preview::{self, FlowPreview, ScenarioInput};
use super::problems::each_once;
use super::prompt::Prompt;
use super::scalar::DateTime;
use super::settings::SequenceSettings;
use crate::app::sequence::problems;
use crate::domain::flow::Attributes;
use crate::domain::id::{SequenceId, VersionId};
use crate::store;

use self::changes::VersionChanges;
pub use self::mutation::SequenceMutation;

/// The list that cursors of sequences belong to.
const SEQUENCES: &str = "sequences";
/// The list that cursors of versions belong to.
const VERSIONS: &str = "sequence.versions";
/// The longest search, in characters.
const SEARCH_CHARS_MAX: usize = 200;

/// The status of a sequence.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::domain::sequence::SequenceStatus")]
pub enum SequenceStatus {
    /// Sends nothing, freely edited, takes no leads.
    Draft,
    /// Sends on schedule, protected from edits, takes leads.
    Published,
    /// All sends paused; may be edited and published again. Leads keep their place.
    Disabled,
    /// Read-only and out of the way; never sends.
    Archived,
}

/// The named thing that a team edits and publishes, and that people are enrolled in.
pub struct Sequence(pub Arc<store::sequence::Sequence>);

/// The named thing that a team edits and publishes, and that people are enrolled in.
#[Object]
impl Sequence {
    /// The sequence's id.
    pub async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// What it may do.
    async fn status(&self) -> SequenceStatus {
        self.0.status.into()
    }

    /// Grows by one with every edit of the flow or the settings.
    async fn revision(&self) -> i32 {
        self.0.revision
    }

    /// The working copy. What runs is publishedVersion.
    async fn flow(&self) -> Flow {
        Arc::clone(&self.0.flow).into()
    }

    /// The settings of the working copy.
    async fn settings(&self) -> SequenceSettings {
        self.0.settings.clone().into()
    }

    /// What runs, or ran last; null where the sequence was never published.
    async fn published_version(&self, ctx: &Context<'_>) -> Result<Option<SequenceVersion>> {
        match self.0.published_version {
            Some(id) => load_version(ctx, id).await,
            None => Ok(None),
        }
    }

    /// What the sequence was each time it was published with a change, newest first.
    async fn versions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<SequenceVersion>> {
        let (workspace, sequence) = (ctx.caller_within()?.workspace, self.0.id);
        let page = PageArgs {
            first,
            after,
            last,
            before,
        }
        .read::<i32>(ctx, VERSIONS)?;
        let db = ctx.services().db.clone();
        let rows =
            store::sequence::version::page(db.read(), workspace, sequence, wanted(&page)).await?;
        let node = |row| SequenceVersion(Arc::new(row));
        let connection = page.connection(VERSIONS, rows, |row| row.number, node);
        Ok(connection.counted(move || {
            let db = db.clone();
            async move { store::sequence::version::count(db.read(), workspace, sequence).await }
        }))
    }

    /// How the working copy differs from publishedVersion: what publishing would change. Where the
    /// sequence was never published every step is ADDED.
    async fn draft_changes(&self, ctx: &Context<'_>) -> Result<VersionChanges> {
        changes::of_draft(ctx, &self.0).await
    }

    /// What publishing would refuse (severity ERROR) or is probably not meant (WARNING), as of now.
    async fn problems(&self, ctx: &Context<'_>) -> Result<Vec<FlowProblem>> {
        let loaders = ctx.loaders()?;
        let senders = loaders.load_many(self.0.flow.senders()).await?;
        let attributes = if problems::asks_attributes(ctx.caller_within()?, &self.0.flow) {
            loaders.load_one(KnownAttributes).await?
        } else {
            None
        };
        let attributes = attributes.map(|known| known.as_ref().clone());
        let facts = problems::facts(ctx.services(), &self.0, senders.into_values(), attributes);
        let problems = problems::of(Arc::clone(&self.0), facts).await?;
        Ok(problems.into_iter().map(FlowProblem::from).collect())
    }

    /// What the working copy would do for one person: every path through the flow, or those that a
    /// scenario leaves open, with the texts and the times. Nothing is sent, and a draft may have problems.
    /// Each step is taken to be done when it is due, a task at once; a condition that holds is passed
    /// when it is first asked, one that does not when its `within` is over. What an update step writes is
    /// the person's for the steps behind it. Caps and pace delay nothing, each message comes from the
    /// first sender of its step that is switched on, and whether the person opted out is not asked.
    async fn preview(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "For whom; if it is not given, a sample person who has every field, and of whose attributes each that a text asks for is its own name in brackets."
        )]
        person_id: Option<ID>,
        #[graphql(desc = "What the person does; every path is shown, if it is not given.")]
        scenario: Option<ScenarioInput>,
        #[graphql(
            desc = "When the person is enrolled, in a year from 2000 to 2099; now, if it is not given."
        )]
        start_at: Option<DateTime>,
    ) -> Result<FlowPreview> {
        preview::of(ctx, &self.0, person_id, scenario, start_at).await
    }

    /// When the leads enrolled now will be sent what, day by day and sender by sender, under windows, caps
    /// and pace, as if the sequence were published. Leads that wait for somebody are not reckoned with.
    /// Days and windows are read on the sequence's clock, whatever `windowClock` says, and the holidays of
    /// contacts, `maxLateness` and the workspace's limits are left out: with these, messages leave later or
    /// are skipped. Nobody is taken to answer, so that no condition holds; splits divide leads by weight,
    /// tasks are done at once, and no other sequence is taken to send through the same senders on later
    /// days: where two share a sender, each is told all that it may send.
    async fn forecast(
        &self,
        ctx: &Context<'_>,
        #[graphql(default = 14, desc = "How many days from today, from 1 to 90.")] days: Option<
            i32,
        >,
    ) -> Result<Forecast> {
        forecast::of(ctx, &self.0, days).await
    }

    /// How many of its leads are where.
    async fn lead_counts(&self, ctx: &Context<'_>) -> Result<LeadCounts> {
        lead::counts(ctx, self.0.id).await
    }

    /// Its leads: the runs of people through it.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the field's arguments in the schema"
    )]
    async fn leads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of its leads; all, if it is not given.")] filter: Option<
            LeadFilterInput,
        >,
        #[graphql(desc = "In which order; the last enrolled first, if it is not given.")]
        order_by: Option<LeadOrder>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Lead>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        lead::page(ctx, filter, order_by, Some(self.0.id), args).await
    }

    /// What was carried out for its leads, newest first.
    async fn executions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which of its executions; all, if it is not given.")] filter: Option<
            ExecutionFilterInput,
        >,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Execution>> {
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        execution::page(ctx, filter, Some(self.0.id), args).await
    }

    /// What came of the sequence.
    async fn analytics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which messages count; all, if it is not given.")] filter: Option<
            AnalyticsFilterInput,
        >,
    ) -> Result<SequenceAnalytics> {
        analytics::of_sequence(ctx, &self.0, filter).await
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        self.0.created_at.into()
    }

    /// When its name, flow, settings or status last changed.
    async fn updated_at(&self) -> DateTime {
        self.0.updated_at.into()
    }

    /// When it was last published; null where it never was.
    async fn published_at(&self) -> Option<DateTime> {
        self.0.published_at.map(Into::into)
    }
}

/// What a sequence was when it was published.
pub struct SequenceVersion(pub Arc<store::sequence::version::Version>);

/// What a sequence was when it was published.
#[Object]
impl SequenceVersion {
    /// The version's id.
    pub async fn id(&self) -> ID {
        self.0.id.into()
    }

    /// 1 for the sequence's first version, and so on.
    async fn number(&self) -> i32 {
        self.0.number
    }

    /// The flow of this version.
    async fn flow(&self) -> Flow {
        Arc::clone(&self.0.flow).into()
    }

    /// The settings of this version.
    async fn settings(&self) -> SequenceSettings {
        self.0.settings.clone().into()
    }

    /// How this version differs from an earlier one. Of the first version every step is ADDED.
    async fn changes(
        &self,
        ctx: &Context<'_>,
        #[graphql(
            desc = "The number of the earlier version; the one right before, if it is not given."
        )]
        since: Option<i32>,
    ) -> Result<VersionChanges> {
        changes::of_version(ctx, &self.0, since).await
    }

    /// When it was first published.
    async fn published_at(&self) -> DateTime {
        self.0.published_at.into()
    }

    /// Who published it: the id of the token that was used.
    async fn published_by(&self) -> &str {
        &self.0.published_by
    }
}

impl Prompt for Sequence {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "name",
        "status",
        "revision",
        "createdAt",
        "updatedAt",
        "publishedAt",
    ];
}

impl Prompt for SequenceVersion {
    const AT_ONCE: &'static [&'static str] = &["id", "number", "publishedAt", "publishedBy"];
}

impl dataloader::Loader<SequenceId> for Loaders {
    type Value = Arc<store::sequence::Sequence>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[SequenceId],
    ) -> Result<HashMap<SequenceId, Self::Value>, LoadError> {
        let rows = store::sequence::find_many(self.services.db.read(), self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .filter(|row| self.caller.scope.admits(row.id))
            .map(|row| (row.id, Arc::new(row)))
            .collect())
    }
}

/// The key of what a workspace has once: the attributes that its people have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct KnownAttributes;

impl dataloader::Loader<KnownAttributes> for Loaders {
    type Value = Arc<Attributes>;
    type Error = LoadError;

    async fn load(
        &self,
        keys: &[KnownAttributes],
    ) -> Result<HashMap<KnownAttributes, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let known = store::person::known_attributes(db, self.workspace).await?;
        let known = known.map(Arc::new);
        let each = keys
            .iter()
            .filter_map(|key| Some((*key, Arc::clone(known.as_ref()?))));
        Ok(each.collect())
    }
}

impl dataloader::Loader<VersionId> for Loaders {
    type Value = Arc<store::sequence::version::Version>;
    type Error = LoadError;

    async fn load(&self, ids: &[VersionId]) -> Result<HashMap<VersionId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::sequence::version::find_many(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .filter(|row| self.caller.scope.admits(row.sequence))
            .map(|row| (row.id, Arc::new(row)))
            .collect())
    }
}

/// The sequence with this id, if the caller sees it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: SequenceId) -> Result<Option<Sequence>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Sequence))
}

/// The version with this id, if the caller sees it.
///
/// # Errors
/// As the store has it.
pub async fn load_version(ctx: &Context<'_>, id: VersionId) -> Result<Option<SequenceVersion>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(SequenceVersion))
}

fn wanted<K: Copy + serde::Serialize>(page: &Page<K>) -> store::sequence::Page<K> {
    store::sequence::Page {
        after: page.after,
        before: page.before,
        backward: page.backward,
        limit: page.fetch(),
    }
}

/// Reading sequences.
#[derive(Default)]
pub struct SequenceQuery;

#[Object]
impl SequenceQuery {
    /// The sequence with this id; null if the workspace has none.
    async fn sequence(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sequence's id.")] id: ID,
    ) -> Result<Option<Sequence>> {
        ctx.caller_within()?;
        match node::maybe(&id) {
            Some(id) => load(ctx, id).await,
            None => Ok(None),
        }
    }

    /// Sequences, newest first.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the field's arguments in the schema"
    )]
    async fn sequences(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Only those of any of these statuses; all, if it is not given or empty.")]
        status: Option<Vec<SequenceStatus>>,
        #[graphql(desc = "Only those whose name has every word of this as a part of it.")]
        search: Option<String>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Sequence>> {
        let caller = ctx.caller_within()?;
        let workspace = caller.workspace;
        if search
            .as_ref()
            .is_some_and(|text| text.chars().count() > SEARCH_CHARS_MAX)
        {
            let message =
                format!("`search` has at most {SEARCH_CHARS_MAX} characters; shorten it.");
            return Err(super::error::bad_input(message));
        }
        let status = status.filter(|statuses| !statuses.is_empty());
        let filter = store::sequence::Filter {
            ids: caller.scope.narrow(None),
            status: status.map(|statuses| each_once(statuses.into_iter().map(Into::into))),
            // PostgreSQL cannot take it, and no name has it.
            search: search.map(|text| text.replace('\0', "\u{fffd}")),
        };
        let page = PageArgs {
            first,
            after,
            last,
            before,
        }
        .read::<SequenceId>(ctx, SEQUENCES)?;
        let db = ctx.services().db.clone();
        let rows = store::sequence::page(db.read(), workspace, &filter, wanted(&page)).await?;
        let node = |row| Sequence(Arc::new(row));
        let connection = page.connection(SEQUENCES, rows, |row| row.id, node);
        Ok(connection.counted(move || {
            let (db, filter) = (db.clone(), filter.clone());
            async move { store::sequence::count(db.read(), workspace, &filter).await }
        }))
    }
}
