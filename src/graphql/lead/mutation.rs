//! Enrolling people, and holding, resuming and removing leads.

use async_graphql::{Context, ID, InputObject, Object, OneofObject, Result};

use super::LeadFilterInput;
use crate::app::Role;
use crate::bulk::SELECTION_MAX;
use crate::bulk::enrol::{self, EnrolRequest, People};
use crate::bulk::lead_change::{self, Leads, LeadsRequest};
use crate::domain::id::{Id, Kind};
use crate::graphql::bulk::BulkPayload;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, UserErrorCode};
use crate::graphql::node;
use crate::graphql::opportunity::OpportunityFilterInput;
use crate::graphql::person::PersonFilterInput;
use crate::graphql::problems::Problems;
use crate::store::lead::change::Change;

/// Exactly one way of choosing people.
#[derive(OneofObject, Debug)]
pub enum PeopleSelection {
    /// These people, at most 20,000; the outcomes tell of each one.
    Ids(Vec<ID>),
    /// The people that match and are there when the mutation is called; at least one condition must
    /// be given.
    Filter(PersonFilterInput),
    /// The people of these opportunities, at most 20,000; the outcomes tell of each one.
    OpportunityIds(Vec<ID>),
    /// A whole pipeline segment: the people of the opportunities that match and are there when the
    /// mutation is called, each once; at least one condition must be given.
    Opportunities(OpportunityFilterInput),
    /// Everybody who is there when the mutation is called: a filter must not be empty, so that a
    /// variable that was left out never means everybody. Only `true` has a meaning.
    Everything(bool),
}

impl PeopleSelection {
    /// The people that are meant; `path` is where the selection stands in the input.
    ///
    /// # Errors
    /// Every problem at once, each with its path.
    pub(super) fn read(self, path: &str) -> Result<People, Vec<UserError>> {
        match self {
            Self::Ids(list) => ids(&list, (&[path], "ids")).map(People::Ids),
            Self::Filter(filter) => filter.read(&[path, "filter"]).map(People::Filter),
            Self::OpportunityIds(list) => {
                ids(&list, (&[path], "opportunityIds")).map(People::OpportunityIds)
            }
            Self::Opportunities(filter) => filter
                .read(&[path, "opportunities"])
                .map(People::Opportunities),
            Self::Everything(true) => Ok(People::Everything),
            Self::Everything(false) => Err(vec![nothing(path)]),
        }
    }
}

/// `everything: false` says nothing.
fn nothing(path: &str) -> UserError {
    let message = "everything has a meaning only as true: choose by ids or a filter instead.";
    UserError::new(UserErrorCode::Invalid, message, &[path, "everything"])
}

/// Exactly one way of choosing leads.
#[derive(OneofObject, Debug)]
pub enum LeadSelection {
    /// These leads, at most 20,000; the outcomes tell of each one.
    Ids(Vec<ID>),
    /// The leads that match and are there when the mutation is called; at least one condition must
    /// be given.
    Filter(LeadFilterInput),
    /// All leads that are there when the mutation is called; with a token that is limited to some
    /// sequences, all of theirs. Only `true` has a meaning.
    Everything(bool),
}

impl LeadSelection {
    /// The leads that are meant; `path` is where the selection stands in the input.
    ///
    /// # Errors
    /// Every problem at once, each with its path.
    pub(super) fn read(self, path: &str) -> Result<Leads, Vec<UserError>> {
        match self {
            Self::Ids(list) => ids(&list, (&[path], "ids")).map(Leads::Ids),
            Self::Filter(filter) => filter.read(&[path, "filter"]).map(Leads::Filter),
            Self::Everything(true) => Ok(Leads::Everything),
            Self::Everything(false) => Err(vec![nothing(path)]),
        }
    }
}

/// People to enrol.
#[derive(InputObject, Debug)]
pub struct LeadsEnrolInput {
    /// Into which sequence; it must be published.
    sequence_id: ID,
    /// Whom.
    people: PeopleSelection,
    /// Allow a second run for those who finished or were stopped.
    #[graphql(default_with = "Some(false)")]
    re_enrol: Option<bool>,
    /// The same key with the same input within 24 hours answers the first call's operation and does
    /// nothing again; with another input it is refused with CONFLICT. At most 255 characters.
    idempotency_key: Option<String>,
}

/// Leads to hold, resume or remove.
#[derive(InputObject, Debug)]
pub struct LeadsBulkInput {
    /// Which leads.
    leads: LeadSelection,
    /// The same key with the same input within 24 hours answers the first call's operation and does
    /// nothing again; with another input it is refused with CONFLICT. At most 255 characters.
    idempotency_key: Option<String>,
}

/// Where a list stands in the input: what it is part of, and its name there.
type ListAt<'a> = (&'a [&'a str], &'a str);

/// Reads the ids of a selection; every id is one of the kind, or all are refused.
fn ids<K: Kind>(ids: &[ID], (path, name): ListAt<'_>) -> Result<Vec<Id<K>>, Vec<UserError>> {
    let mut problems = Problems::of(path);
    if ids.is_empty() {
        problems.add(&[name], format!("{name} is empty: name at least one."));
    }
    if ids.len() > SELECTION_MAX {
        let message =
            format!("{name} has at most {SELECTION_MAX} entries: split them, or choose by filter.");
        let path = [path, &[name]].concat();
        return Err(vec![UserError::new(UserErrorCode::Limit, message, &path)]);
    }
    let read = problems.each(ids, name, node::id);
    // A wrong kind of id is wrong everywhere: the first few say so.
    problems.found.truncate(20);
    if problems.found.is_empty() {
        Ok(read)
    } else {
        Err(problems.found)
    }
}

impl LeadsEnrolInput {
    fn read(self) -> Result<(EnrolRequest, Option<String>), Vec<UserError>> {
        let sequence = node::id(&self.sequence_id, &["sequenceId"]);
        match (sequence, self.people.read("people")) {
            (Ok(sequence_id), Ok(people)) => {
                let re_enrol = self.re_enrol.unwrap_or(false);
                Ok((
                    EnrolRequest {
                        sequence_id,
                        people,
                        re_enrol,
                    },
                    self.idempotency_key,
                ))
            }
            (sequence, people) => {
                let mut wrong: Vec<UserError> = sequence.err().into_iter().collect();
                wrong.extend(people.err().into_iter().flatten());
                Err(wrong)
            }
        }
    }
}

async fn change(ctx: &Context<'_>, change: Change, input: LeadsBulkInput) -> Result<BulkPayload> {
    let caller = ctx.require_within(Role::Editor)?;
    let request = match input.leads.read("leads") {
        Ok(leads) => LeadsRequest { leads },
        Err(wrong) => return Ok(BulkPayload::refused(wrong)),
    };
    let key = input.idempotency_key;
    let submitted = lead_change::submit(ctx.services(), caller, change, request, key).await;
    BulkPayload::of(ctx, submitted).await
}

/// Changing leads.
#[derive(Default)]
pub struct LeadMutation;

#[Object]
impl LeadMutation {
    /// Makes leads of people. Nobody is enrolled twice at the same time, and nobody who must not be
    /// contacted; the outcomes tell of each person.
    async fn leads_enrol(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whom, and into which sequence.")] input: LeadsEnrolInput,
    ) -> Result<BulkPayload> {
        let caller = ctx.require_within(Role::Editor)?;
        match input.read() {
            Ok((request, key)) => {
                let submitted = enrol::submit(ctx.services(), caller, request, key).await;
                BulkPayload::of(ctx, submitted).await
            }
            Err(wrong) => Ok(BulkPayload::refused(wrong)),
        }
    }

    /// Holds leads: nothing more is sent to them until they are resumed, and the rest of their wait
    /// is kept.
    async fn leads_pause(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which leads.")] input: LeadsBulkInput,
    ) -> Result<BulkPayload> {
        change(ctx, Change::Pause, input).await
    }

    /// Lets held leads go on where they were: what was due in two days is due in two days from now.
    async fn leads_resume(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which leads.")] input: LeadsBulkInput,
    ) -> Result<BulkPayload> {
        change(ctx, Change::Resume, input).await
    }

    /// Takes leads out of their sequence for good: they stop, as REMOVED. What was sent stays
    /// counted.
    async fn leads_remove(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which leads.")] input: LeadsBulkInput,
    ) -> Result<BulkPayload> {
        change(ctx, Change::Remove, input).await
    }
}
