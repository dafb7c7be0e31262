//! Opportunities in the API.

mod filter;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject, dataloader};

pub use self::filter::OpportunityFilterInput;
use super::context::ContextExt;
use super::error::{UserError, bad_input, user_errors};
use super::lead::part;
use super::loader::{LoadError, Loaders};
use super::node;
use super::page::{Connection, PageArgs};
use super::person::{self, Person};
use super::pipeline::{self, Pipeline, Stage};
use super::problems::told;
use super::prompt::Prompt;
use super::scalar::DateTime;
use crate::app::opportunity::NewOpportunity;
use crate::app::{self, AppError, Role};
use crate::domain::id::{OpportunityId, PersonId, PipelineId, StageId};
use crate::store::lead::Part;
use crate::store::opportunity::{Listed, Row};
use crate::store::{self, StoreError};

/// The name of the list of opportunities in its cursors.
const OPPORTUNITIES: &str = "opportunities";
/// The name of the list of a person's in its cursors.
const OF_PERSON: &str = "opportunities of person";

/// A person's place in a pipeline's stages.
pub struct Opportunity(pub Arc<Row>);

/// A person's place in a pipeline's stages.
#[Object]
impl Opportunity {
    /// The opportunity's id.
    pub async fn id(&self) -> ID {
        OpportunityId::from_uuid(self.0.id).into()
    }

    /// What people call it.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// Whose it is.
    async fn person(&self, ctx: &Context<'_>) -> Result<Person> {
        let found = person::load(ctx, PersonId::from_uuid(self.0.person_id)).await?;
        found.ok_or_else(|| gone("person"))
    }

    /// The pipeline that its stage belongs to.
    async fn pipeline(&self, ctx: &Context<'_>) -> Result<Pipeline> {
        let found = pipeline::load(ctx, PipelineId::from_uuid(self.0.pipeline_id)).await?;
        found.ok_or_else(|| gone("pipeline"))
    }

    /// Where it is.
    async fn stage(&self, ctx: &Context<'_>) -> Result<Stage> {
        let found = pipeline::load_stage(ctx, StageId::from_uuid(self.0.stage_id)).await?;
        found.ok_or_else(|| gone("stage"))
    }

    /// What it is worth, in whatever currency the team reckons in; null if that is not known.
    async fn amount(&self) -> Option<f64> {
        self.0.amount
    }

    /// When it was made.
    async fn created_at(&self) -> DateTime {
        DateTime::from_ms(self.0.created_at)
    }

    /// When it was last changed or moved.
    async fn updated_at(&self) -> DateTime {
        DateTime::from_ms(self.0.updated_at)
    }
}

fn gone(what: &'static str) -> async_graphql::Error {
    StoreError::corrupt("opportunity", format!("its {what} is not there")).into()
}

impl Prompt for Opportunity {
    const AT_ONCE: &'static [&'static str] = &["id", "name", "amount", "createdAt", "updatedAt"];
}

impl From<Row> for Opportunity {
    fn from(row: Row) -> Self {
        Self(Arc::new(row))
    }
}

impl dataloader::Loader<OpportunityId> for Loaders {
    type Value = Arc<Row>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[OpportunityId],
    ) -> Result<HashMap<OpportunityId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let rows = store::opportunity::find_many(db, self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (OpportunityId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// A part of the opportunities of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct OpportunitiesOf(PersonId, Part);

impl dataloader::Loader<OpportunitiesOf> for Loaders {
    type Value = Vec<Row>;
    type Error = LoadError;

    async fn load(
        &self,
        keys: &[OpportunitiesOf],
    ) -> Result<HashMap<OpportunitiesOf, Self::Value>, LoadError> {
        let mut by_part: HashMap<Part, Vec<PersonId>> = HashMap::new();
        for OpportunitiesOf(person, part) in keys {
            by_part.entry(*part).or_default().push(*person);
        }
        let mut found: HashMap<OpportunitiesOf, Self::Value> = HashMap::new();
        for (part, people) in by_part {
            let db = self.services.db.read();
            for row in store::opportunity::of_people(db, self.workspace, &people, part).await? {
                let key = OpportunitiesOf(PersonId::from_uuid(row.person_id), part);
                found.entry(key).or_default().push(row);
            }
        }
        Ok(found)
    }
}

/// The opportunity with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: OpportunityId) -> Result<Option<Opportunity>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Opportunity))
}

/// The opportunities of a person, newest first; none for a caller who is limited to some sequences.
///
/// # Errors
/// As the store has it.
pub async fn of_person(
    ctx: &Context<'_>,
    person: PersonId,
    args: PageArgs,
) -> Result<Connection<Opportunity>> {
    let page = args.read::<OpportunityId>(ctx, OF_PERSON)?;
    let caller = ctx.caller_within()?;
    let is_all = caller.scope.is_all();
    let rows = if is_all {
        let asked = OpportunitiesOf(person, part(&page));
        ctx.loaders()?.load_one(asked).await?.unwrap_or_default()
    } else {
        Vec::new()
    };
    let listed = Listed {
        person: Some(person),
        ..Listed::default()
    };
    let connection = page.connection(OF_PERSON, rows, key, Opportunity::from);
    let (db, workspace) = (ctx.services().db.clone(), caller.workspace);
    Ok(connection.counted(move || {
        let (db, listed) = (db.clone(), listed.clone());
        async move {
            match is_all {
                true => store::opportunity::count(db.read(), workspace, &listed).await,
                false => Ok(0),
            }
        }
    }))
}

fn key(row: &Row) -> OpportunityId {
    OpportunityId::from_uuid(row.id)
}

/// Reading opportunities.
#[derive(Default)]
pub struct OpportunityQuery;

#[Object]
impl OpportunityQuery {
    /// Opportunities, in the order in which they were made.
    async fn opportunities(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which opportunities; all, if it is not given.")] filter: Option<
            OpportunityFilterInput,
        >,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Opportunity>> {
        let workspace = ctx.caller()?.workspace;
        let filter = filter.unwrap_or_default().read(&["filter"]);
        let listed = Listed {
            filter: filter.map_err(|problems| bad_input(told(problems)))?,
            ..Listed::default()
        };
        let page = PageArgs {
            first,
            after,
            last,
            before,
        }
        .read::<OpportunityId>(ctx, OPPORTUNITIES)?;
        let db = ctx.services().db.clone();
        let rows = store::opportunity::page(db.read(), workspace, &listed, part(&page)).await?;
        let connection = page.connection(OPPORTUNITIES, rows, key, Opportunity::from);
        Ok(connection.counted(move || {
            let (db, listed) = (db.clone(), listed.clone());
            async move { store::opportunity::count(db.read(), workspace, &listed).await }
        }))
    }
}

/// An opportunity to make.
#[derive(InputObject, Debug)]
pub struct OpportunityCreateInput {
    /// What people call it, 1 to 200 characters.
    name: String,
    /// Whose it is.
    person_id: ID,
    /// Where it begins.
    stage_id: ID,
    /// What it is worth, in whatever currency the team reckons in; not below 0.
    amount: Option<f64>,
}

/// Where an opportunity goes.
#[derive(InputObject, Debug)]
pub struct OpportunityMoveInput {
    /// The opportunity.
    id: ID,
    /// The stage, of its pipeline or of another one.
    stage_id: ID,
}

/// What a mutation of an opportunity answers.
#[derive(SimpleObject)]
pub struct OpportunityPayload {
    /// The opportunity as it is now; null where the mutation was refused.
    opportunity: Option<Opportunity>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl OpportunityPayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        match done {
            Ok(row) => Ok(Self {
                opportunity: Some(row.into()),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(Self::refused(user_errors(error)?)),
        }
    }

    const fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            opportunity: None,
            user_errors,
        }
    }
}

/// Changing opportunities.
#[derive(Default)]
pub struct OpportunityMutation;

#[Object]
impl OpportunityMutation {
    /// Makes an opportunity of a person.
    async fn opportunity_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Whose it is, and where it begins.")] input: OpportunityCreateInput,
    ) -> Result<OpportunityPayload> {
        let caller = ctx.require(Role::Editor)?;
        let person = node::id(&input.person_id, &["personId"]);
        let stage = node::id(&input.stage_id, &["stageId"]);
        let (person, stage) = match (person, stage) {
            (Ok(person), Ok(stage)) => (person, stage),
            (person, stage) => {
                let wrong = person.err().into_iter().chain(stage.err());
                return Ok(OpportunityPayload::refused(wrong.collect()));
            }
        };
        let new = NewOpportunity {
            name: input.name,
            person,
            stage,
            amount: input.amount,
        };
        OpportunityPayload::of(app::opportunity::create(ctx.services(), caller, new).await)
    }

    /// Moves an opportunity to another stage. To be moved where it is changes nothing.
    async fn opportunity_move(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which opportunity, and where it goes.")] input: OpportunityMoveInput,
    ) -> Result<OpportunityPayload> {
        let caller = ctx.require(Role::Editor)?;
        let (id, to) = match (
            node::id(&input.id, &["id"]),
            node::id(&input.stage_id, &["stageId"]),
        ) {
            (Ok(id), Ok(to)) => (id, to),
            (id, to) => {
                let wrong = id.err().into_iter().chain(to.err());
                return Ok(OpportunityPayload::refused(wrong.collect()));
            }
        };
        OpportunityPayload::of(app::opportunity::move_to(ctx.services(), caller, id, to).await)
    }
}
