//! What a selection of people or of leads holds, to be looked at before anything is done with it.

use async_graphql::{Context, ID, Object, Result, SimpleObject};

use super::mutation::{LeadSelection, PeopleSelection};
use super::{Lead, LeadCounts};
use crate::app::AppError;
use crate::bulk::CHUNK_MAX;
use crate::bulk::enrol::preview::{self, Expected, SAMPLE_MAX};
use crate::bulk::lead_change::Leads;
use crate::domain::bulk::BulkCount;
use crate::domain::id::{LeadId, SequenceId};
use crate::domain::lead::LeadStatus;
use crate::domain::lead_filter::{LeadFilter, LeadOrder};
use crate::graphql::bulk::BulkOutcomeCount;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{bad_input, user_errors};
use crate::graphql::node;
use crate::graphql::person::Person;
use crate::graphql::problems;
use crate::store;
use crate::store::lead::{Page, Scope};

/// How many are shown if nothing is said.
const SAMPLE_DEFAULT: i32 = 10;

fn sample_size(first: Option<i32>) -> Result<usize> {
    let first = usize::try_from(first.unwrap_or(SAMPLE_DEFAULT)).ok();
    first
        .filter(|first| (1..=SAMPLE_MAX).contains(first))
        .ok_or_else(|| {
            bad_input(format!(
                "first is from 1 to {SAMPLE_MAX}: ask for so many, or leave it out."
            ))
        })
}

/// The people that a selection holds just now.
pub struct PeopleSelected {
    selected: preview::PeopleSelected,
    enrolling: Option<(SequenceId, bool)>,
}

/// The people that a selection holds just now.
#[Object]
impl PeopleSelected {
    /// How many they are, each counted once.
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        Ok(self.selected.count(ctx.services(), ctx.caller()?).await?)
    }

    /// The first of them: in the order in which they are named, else in that in which they were entered.
    async fn sample(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, from 1 to 50; 10 if it is not given.")] first: Option<i32>,
    ) -> Result<Vec<Person>> {
        let first = sample_size(first)?;
        let rows = self
            .selected
            .sample(ctx.services(), ctx.caller()?, first)
            .await?;
        Ok(rows.into_iter().map(Person::from).collect())
    }

    /// What enrolling them into the sequence that was named would come to; null where none was. All of
    /// them are counted, not only the sample.
    async fn enrolment(&self, ctx: &Context<'_>) -> Result<Option<EnrolmentPreview>> {
        let Some((sequence, re_enrol)) = self.enrolling else {
            return Ok(None);
        };
        let (services, caller) = (ctx.services(), ctx.caller()?);
        let expected = self.selected.expected(services, caller, sequence, re_enrol);
        match expected.await? {
            Some(expected) => Ok(Some(EnrolmentPreview::of(expected))),
            None => Err(no_sequence()),
        }
    }
}

fn no_sequence() -> async_graphql::Error {
    bad_input(
        "There is no sequence with this `sequenceId`: take the id from an answer of this API.",
    )
}

/// What enrolling people would come to just now.
#[derive(SimpleObject)]
pub struct EnrolmentPreview {
    /// How many would be enrolled.
    enrolled: i64,
    /// How many would be skipped: under way already, or not to be contacted.
    skipped: i64,
    /// How many could not be enrolled.
    failed: i64,
    /// How many would have which outcome, the most frequent first.
    outcomes: Vec<BulkOutcomeCount>,
}

impl EnrolmentPreview {
    fn of(expected: Vec<Expected>) -> Self {
        let count = |of: BulkCount| {
            let of_it = expected.iter().filter(|one| one.code.count() == of);
            of_it.map(|one| one.count).sum()
        };
        Self {
            enrolled: count(BulkCount::Succeeded),
            skipped: count(BulkCount::Skipped),
            failed: count(BulkCount::Failed),
            outcomes: expected
                .into_iter()
                .map(|one| BulkOutcomeCount {
                    code: one.code.into(),
                    message: one.message,
                    count: one.count,
                })
                .collect(),
        }
    }
}

/// The leads that a selection holds just now.
pub struct LeadsSelected(Leads);

/// The leads that a selection holds just now.
#[Object]
impl LeadsSelected {
    /// How many they are, each counted once.
    async fn count(&self, ctx: &Context<'_>) -> Result<i64> {
        let counts = self.statuses(ctx).await?;
        Ok(counts.iter().map(|(_, count)| count).sum())
    }

    /// How many have each status.
    async fn by_status(&self, ctx: &Context<'_>) -> Result<LeadCounts> {
        let mut counts = LeadCounts::default();
        for (status, count) in self.statuses(ctx).await? {
            counts.add(status, count);
        }
        Ok(counts)
    }

    /// The first of them: in the order in which they are named, else in that in which they were enrolled.
    async fn sample(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "How many, from 1 to 50; 10 if it is not given.")] first: Option<i32>,
    ) -> Result<Vec<Lead>> {
        let first = sample_size(first)?;
        let rows = match self.filter() {
            None => self.named(ctx).await?,
            Some(filter) => {
                let caller = ctx.caller_within()?;
                let filter = filter.narrowed(&caller.scope);
                let scope = Scope {
                    workspace: caller.workspace,
                    filter: &filter,
                    as_of: None,
                };
                let page = Page {
                    order: LeadOrder::EnrolledAtAsc,
                    after: None,
                    before: None,
                    backward: false,
                    limit: u64::try_from(first).unwrap_or(0),
                };
                store::lead::page(ctx.services().db.read(), &scope, page).await?
            }
        };
        Ok(rows.into_iter().take(first).map(Lead::from).collect())
    }
}

impl LeadsSelected {
    /// The filter that chooses them; `None`, they are named.
    fn filter(&self) -> Option<LeadFilter> {
        match &self.0 {
            Leads::Ids(_) => None,
            Leads::Filter(filter) => Some(filter.clone()),
            Leads::Everything => Some(LeadFilter::default()),
        }
    }

    async fn statuses(&self, ctx: &Context<'_>) -> Result<Vec<(LeadStatus, i64)>> {
        let caller = ctx.caller_within()?;
        let Some(filter) = self.filter() else {
            let named = self.named(ctx).await?;
            let statuses = named.iter().map(|row| Ok((store::lead::status(row)?, 1)));
            return statuses.collect();
        };
        let filter = filter.narrowed(&caller.scope);
        let scope = Scope {
            workspace: caller.workspace,
            filter: &filter,
            as_of: None,
        };
        let db = ctx.services().db.read();
        Ok(store::lead::status_counts(db, &scope).await?)
    }

    /// Those that are named and that the caller sees, each once.
    async fn named(&self, ctx: &Context<'_>) -> Result<Vec<store::lead::Row>> {
        let Leads::Ids(ids) = &self.0 else {
            return Ok(Vec::new());
        };
        let caller = ctx.caller_within()?;
        let db = ctx.services().db.read();
        let mut seen = std::collections::HashSet::new();
        let ids: Vec<LeadId> = ids.iter().copied().filter(|id| seen.insert(*id)).collect();
        let mut named = Vec::with_capacity(ids.len());
        for part in ids.chunks(CHUNK_MAX) {
            let mut rows = store::lead::find_many(db, caller.workspace, part).await?;
            rows.retain(|row| caller.scope.admits(SequenceId::from_uuid(row.sequence_id)));
            rows.sort_by_key(|row| part.iter().position(|id| id.uuid() == row.id));
            named.append(&mut rows);
        }
        Ok(named)
    }
}

/// Looking at selections.
#[derive(Default)]
pub struct SelectionQuery;

#[Object]
impl SelectionQuery {
    /// Whom a selection of people holds, before anything is done with them; and, where a sequence is
    /// named, what enrolling them into it would come to. What takes longer to count than a query may
    /// take is not answered: choose fewer. Null with an error where the selection is refused.
    async fn people_selected(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom, as for leadsEnrol.")] selection: PeopleSelection,
        #[graphql(desc = "The sequence into which they would be enrolled.")] sequence_id: Option<
            ID,
        >,
        #[graphql(
            desc = "Whether those whose last run is over would run again.",
            default = false
        )]
        re_enrol: bool,
    ) -> Result<Option<PeopleSelected>> {
        let caller = ctx.caller()?;
        let people = selection.read("selection");
        let people = people.map_err(|wrong| bad_input(problems::told(wrong)))?;
        let enrolling = match sequence_id {
            None => None,
            Some(id) => Some((node::maybe(&id).ok_or_else(no_sequence)?, re_enrol)),
        };
        let selected = preview::PeopleSelected::new(ctx.services(), caller, people, "selection");
        Ok(Some(PeopleSelected {
            selected: selected.await.or_else(refused)?,
            enrolling,
        }))
    }

    /// Which leads a selection holds, before anything is done with them. What takes longer to count than
    /// a query may take is not answered: choose fewer. Null with an error where the selection is refused.
    async fn leads_selected(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which leads, as for leadsPause.")] selection: LeadSelection,
    ) -> Result<Option<LeadsSelected>> {
        ctx.caller_within()?;
        let leads = selection.read("selection");
        let leads = leads.map_err(|wrong| bad_input(problems::told(wrong)))?;
        leads
            .check("selection")
            .map_err(AppError::from)
            .or_else(refused)?;
        Ok(Some(LeadsSelected(leads)))
    }
}

/// What a query answers where a mutation would answer `userErrors`.
fn refused<T>(error: AppError) -> Result<T> {
    Err(bad_input(problems::told(user_errors(error)?)))
}
