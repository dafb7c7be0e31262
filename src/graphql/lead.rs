//! Leads in the API: reading them. What changes them is in [`mutation`], which leads are meant in
//! [`filter`], and why nothing is sent in [`blocker`].

mod blocker;
mod filter;
mod load;
mod mutation;
mod reply;
mod selected;
mod status;

use std::str::FromStr;
use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, SimpleObject};

pub use self::blocker::{Blocker, BlockerCode};
pub(super) use self::filter::ends;
pub use self::filter::{LeadFilterInput, LeadOrder};
use self::load::{CountsOf, LeadsOf};
pub use self::mutation::LeadMutation;
use self::reply::{LastReplyOf, Reply};
pub use self::selected::SelectionQuery;
pub use self::status::{EnrolmentSource, LeadStatus, StopReason};
use super::context::ContextExt;
use super::error::bad_input;
use super::execution::{self, Execution};
use super::flow::Step;
use super::loader::Asking;
use super::node;
use super::page::{Connection, Page, PageArgs};
use super::person::{self, Person};
use super::problems;
use super::prompt::{Prompt, Promptly};
use super::scalar::DateTime;
use super::sequence::{self, Sequence};
use crate::domain::id::{Id, LeadId, PersonId, SequenceId};
use crate::domain::lead as domain;
use crate::domain::lead_filter::LeadFilter;
use crate::store::lead::{Key, Part, Scope};
use crate::store::{self, StoreError};

/// The list that cursors of a person's leads belong to.
const OF_PERSON: &str = "person.leads";

/// What a contact did with the messages of a lead.
#[derive(SimpleObject, Debug)]
pub struct Engagement {
    /// How often messages were opened.
    opens: i32,
    /// How often links were clicked.
    clicks: i32,
    /// How often the contact answered.
    replies: i32,
    /// Whether a message came back.
    bounced: bool,
    /// Whether the contact opted out.
    unsubscribed: bool,
    /// When the contact last did something; null where it never did.
    last_engaged_at: Option<DateTime>,
}

/// How many leads of a sequence are where.
#[derive(SimpleObject, Debug, Clone, Copy, Default)]
pub struct LeadCounts {
    /// Waiting for their next step.
    pending: i32,
    /// In a step now.
    in_progress: i32,
    /// Finished.
    completed: i32,
    /// Held by a person.
    paused: i32,
    /// Left early.
    stopped: i32,
    /// All of them.
    total: i32,
}

impl LeadCounts {
    /// Counts so many more with a status.
    fn add(&mut self, status: domain::LeadStatus, count: i64) {
        let count = i32::try_from(count).unwrap_or(i32::MAX);
        self.total = self.total.saturating_add(count);
        let of_status = match status {
            domain::LeadStatus::Pending => &mut self.pending,
            domain::LeadStatus::InProgress => &mut self.in_progress,
            domain::LeadStatus::Completed => &mut self.completed,
            domain::LeadStatus::Paused => &mut self.paused,
            domain::LeadStatus::Stopped => &mut self.stopped,
        };
        *of_status = of_status.saturating_add(count);
    }
}

/// A person's run through one sequence.
pub struct Lead(Arc<store::lead::Row>);

/// A person's run through one sequence.
#[Object]
impl Lead {
    /// The lead's id.
    pub async fn id(&self) -> ID {
        self.lead_id().into()
    }

    /// The sequence it runs through.
    async fn sequence(&self, ctx: &Context<'_>) -> Result<Promptly<Sequence>> {
        let sequence = sequence::load(ctx, self.sequence_id()).await?;
        Ok(Promptly(there(sequence, "lead's sequence")?))
    }

    /// Whose run it is.
    async fn person(&self, ctx: &Context<'_>) -> Result<Promptly<Person>> {
        let id = PersonId::from_uuid(self.0.person_id);
        let person = person::load(ctx, id).await?;
        Ok(Promptly(there(person, "lead's person")?))
    }

    /// Where it stands.
    async fn status(&self) -> Result<LeadStatus> {
        Ok(store::lead::status(&self.0)?.into())
    }

    /// Why it left the sequence early; null unless its status is STOPPED.
    async fn stop_reason(&self) -> Result<Option<StopReason>> {
        let reason = self.0.stop_reason.as_deref();
        let reason = reason.map(|text| parsed::<domain::StopReason>("stop reason", text));
        Ok(reason.transpose()?.map(Into::into))
    }

    /// The step it is at, or stopped at, as the published version has it; null once it is
    /// completed, and where the version has no such step.
    async fn current_step(&self, ctx: &Context<'_>) -> Result<Option<Promptly<Step>>> {
        let Some(key) = self.0.step_key.as_deref() else {
            return Ok(None);
        };
        let loaders = ctx.loaders()?;
        let sequence = loaders.load_one(self.sequence_id()).await?;
        let Some(version) = sequence.and_then(|sequence| sequence.published_version) else {
            return Ok(None);
        };
        let version = loaders.load_one(version).await?;
        let step = version.and_then(|version| Step::find(&version.flow, key));
        Ok(step.map(Promptly))
    }

    /// When the current step is due; null where nothing is scheduled.
    async fn due_at(&self) -> Option<DateTime> {
        self.0.due_at.map(DateTime::from_ms)
    }

    /// Why nothing has been sent yet, and until when: in plain words and codes, true at the time of
    /// asking. Empty for a lead that is over. A lead that is due and has no blocker has its turn
    /// behind those of its sender that are due longer.
    async fn blockers(&self, ctx: &Context<'_>) -> Result<Vec<Blocker>> {
        blocker::of(ctx, &self.0).await
    }

    /// How many messages it got.
    async fn messages_sent(&self) -> i32 {
        self.0.messages_sent
    }

    /// What the contact did with them.
    async fn engagement(&self) -> Engagement {
        Engagement {
            opens: self.0.opens,
            clicks: self.0.clicks,
            replies: self.0.replies,
            bounced: self.0.bounced,
            unsubscribed: self.0.unsubscribed,
            last_engaged_at: self.0.last_engaged_at.map(DateTime::from_ms),
        }
    }

    /// What the contact wrote last; null where nothing was taken in, or its person is erased.
    async fn last_reply(&self, ctx: &Context<'_>) -> Result<Option<Reply>> {
        let lead = LastReplyOf(LeadId::from_uuid(self.0.id));
        let found = ctx.loaders()?.load_one(lead).await?;
        Ok(found.map(|reply| Reply::clone(&reply)))
    }

    /// When a step of it was last over, the contact last did something, or it stopped; null where
    /// nothing has happened since it was enrolled.
    async fn last_action_at(&self) -> Option<DateTime> {
        self.0.last_action_at.map(DateTime::from_ms)
    }

    /// The steps carried out for it, newest first.
    async fn executions(
        &self,
        ctx: &Context<'_>,
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
        execution::of_lead(ctx, self.lead_id(), args).await
    }

    /// When the person was enrolled.
    async fn enrolled_at(&self) -> DateTime {
        DateTime::from_ms(self.0.enrolled_at)
    }

    /// How the person was enrolled.
    async fn enrolled_by(&self) -> Result<EnrolmentSource> {
        Ok(parsed("enrolment source", &self.0.enrolled_by)?)
    }
}

impl Lead {
    fn lead_id(&self) -> LeadId {
        LeadId::from_uuid(self.0.id)
    }

    fn sequence_id(&self) -> SequenceId {
        SequenceId::from_uuid(self.0.sequence_id)
    }
}

impl Prompt for Lead {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "status",
        "stopReason",
        "dueAt",
        "messagesSent",
        "lastActionAt",
        "enrolledAt",
        "enrolledBy",
    ];
    const SOON: &'static [(&'static str, &'static [&'static str])] = &[
        ("sequence", Sequence::AT_ONCE),
        ("person", Person::AT_ONCE),
        ("currentStep", Step::AT_ONCE),
    ];

    fn ahead<'a>(soon: &str, of: &mut dyn Iterator<Item = &'a Self>, asking: &Asking) -> bool
    where
        Self: 'a,
    {
        match soon {
            "sequence" => asking.ahead(of.map(Self::sequence_id)),
            "currentStep" => {
                let stands = |lead: &&Self| lead.0.step_key.is_some();
                asking.ahead(of.filter(stands).map(Self::sequence_id));
            }
            "person" => asking.ahead(of.map(|lead| PersonId::from_uuid(lead.0.person_id))),
            _ => return false,
        }
        true
    }
}

impl From<store::lead::Row> for Lead {
    fn from(row: store::lead::Row) -> Self {
        Self(Arc::new(row))
    }
}

/// What the database's own constraints promise to be there.
pub(super) fn there<T>(found: Option<T>, what: &'static str) -> Result<T, StoreError> {
    found.ok_or_else(|| StoreError::corrupt(what, "it is not there"))
}

/// A word of the database.
pub(super) fn parsed<T: FromStr>(what: &'static str, text: &str) -> Result<T, StoreError> {
    text.parse().map_err(|_| StoreError::corrupt(what, text))
}

/// The part that a page of a list that begins with the newest asks for.
pub(in crate::graphql) fn part<K>(page: &Page<Id<K>>) -> Part
where
    Id<K>: serde::Serialize,
{
    Part {
        after: page.after.map(Id::uuid),
        before: page.before.map(Id::uuid),
        backward: page.backward,
        limit: page.fetch(),
    }
}

/// The lead with this id, if the caller sees it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: LeadId) -> Result<Option<Lead>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Lead))
}

/// The counts of a sequence's leads.
///
/// # Errors
/// As the store has it.
pub async fn counts(ctx: &Context<'_>, sequence: SequenceId) -> Result<LeadCounts> {
    Ok(ctx
        .loaders()?
        .load_one(CountsOf(sequence))
        .await?
        .unwrap_or_default())
}

/// A person's leads, newest first.
///
/// # Errors
/// As the arguments and the store have it.
pub async fn of_person(
    ctx: &Context<'_>,
    person: PersonId,
    args: PageArgs,
) -> Result<Connection<Lead>> {
    let page = args.read::<LeadId>(ctx, OF_PERSON)?;
    let rows = ctx
        .loaders()?
        .load_one(LeadsOf(person, part(&page)))
        .await?
        .unwrap_or_default();
    let key = |row: &store::lead::Row| LeadId::from_uuid(row.id);
    let connection = page.connection(OF_PERSON, rows, key, Lead::from);
    let filter = LeadFilter {
        person: Some(person),
        ..LeadFilter::default()
    };
    counted(
        ctx,
        connection,
        filter.narrowed(&ctx.caller_within()?.scope),
    )
}

/// Whether the caller sees any lead of a person.
///
/// # Errors
/// As the store has it.
pub async fn has_any(ctx: &Context<'_>, person: PersonId) -> Result<bool> {
    let newest = Part {
        after: None,
        before: None,
        backward: false,
        limit: 1,
    };
    let leads = ctx.loaders()?.load_one(LeadsOf(person, newest)).await?;
    Ok(leads.is_some_and(|leads| !leads.is_empty()))
}

/// A page of the leads that a filter chooses; within one sequence, if one is given.
///
/// # Errors
/// As the arguments and the store have it.
pub async fn page(
    ctx: &Context<'_>,
    filter: Option<LeadFilterInput>,
    order: Option<LeadOrder>,
    within: Option<SequenceId>,
    args: PageArgs,
) -> Result<Connection<Lead>> {
    let caller = ctx.caller_within()?;
    let read = filter.unwrap_or_default().read(&["filter"]);
    let mut filter = read.map_err(|wrong| bad_input(problems::told(wrong)))?;
    filter = filter.narrowed(&caller.scope);
    if let Some(sequence) = within {
        filter = filter.within(sequence);
    }
    let order = order.map(Into::into).unwrap_or_default();
    // A place in one order is none in another.
    let list = format!("leads {order:?}");
    let page = args.read::<Key>(ctx, &list)?;
    let wanted = store::lead::Page {
        order,
        after: page.after,
        before: page.before,
        backward: page.backward,
        limit: page.fetch(),
    };
    let scope = Scope {
        workspace: caller.workspace,
        filter: &filter,
        as_of: None,
    };
    let rows = store::lead::page(ctx.services().db.read(), &scope, wanted).await?;
    let key = |row: &store::lead::Row| Key::of(row, order);
    let connection = page.connection(&list, rows, key, Lead::from);
    counted(ctx, connection, filter)
}

fn counted(
    ctx: &Context<'_>,
    connection: Connection<Lead>,
    filter: LeadFilter,
) -> Result<Connection<Lead>> {
    let (workspace, db) = (ctx.caller_within()?.workspace, ctx.services().db.clone());
    Ok(connection.counted(move || {
        let (db, filter) = (db.clone(), filter.clone());
        async move {
            let scope = Scope {
                workspace,
                filter: &filter,
                as_of: None,
            };
            store::lead::count(db.read(), &scope).await
        }
    }))
}

/// Reading leads.
#[derive(Default)]
pub struct LeadQuery;

#[Object]
impl LeadQuery {
    /// The lead with this id; null if the workspace has none.
    async fn lead(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The lead's id.")] id: ID,
    ) -> Result<Option<Lead>> {
        ctx.caller_within()?;
        match node::maybe(&id) {
            Some(id) => load(ctx, id).await,
            None => Ok(None),
        }
    }

    /// Leads of all sequences.
    #[expect(
        clippy::too_many_arguments,
        reason = "they are the field's arguments in the schema"
    )]
    async fn leads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which leads; all, if it is not given.")] filter: Option<LeadFilterInput>,
        #[graphql(desc = "In which order; the last enrolled first, if it is not given.")]
        order_by: Option<LeadOrder>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Lead>> {
        page(
            ctx,
            filter,
            order_by,
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
