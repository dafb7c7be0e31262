//! People in the API.

mod filter;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject, dataloader};

pub use self::filter::{
    AttributeMatchInput, DateTimeRange, MatchOp, PersonField, PersonFilterInput,
};
use super::bulk::BulkPayload;
use super::channel::Channel;
use super::context::ContextExt;
use super::error::{UserError, bad_input, user_errors};
use super::lead::{self, Lead};
use super::loader::{LoadError, Loaders};
use super::node;
use super::opportunity::{self, Opportunity};
use super::page::{Connection, PageArgs};
use super::problems::told;
use super::prompt::Prompt;
use super::scalar::{CountryCode, DateTime, EmailAddress, Json, PhoneNumber, TimeZone, Url};
use crate::app::{self, AppError, Role};
use crate::bulk::import;
use crate::domain;
use crate::domain::id::PersonId;
use crate::store::{self, StoreError};

/// The name of the list of people in its cursors.
const PEOPLE: &str = "people";

/// Someone in the people database.
pub struct Person(pub Arc<store::person::Row>);

/// Someone in the people database.
#[Object]
impl Person {
    /// The person's id.
    pub async fn id(&self) -> ID {
        self.person_id().into()
    }

    /// The email address, as it was written; unique in the workspace. Null if there is none.
    async fn email(&self) -> Option<EmailAddress> {
        self.0.email.as_deref().map(Into::into)
    }

    /// The phone number; null if there is none.
    async fn phone(&self) -> Option<PhoneNumber> {
        self.0.phone.as_deref().map(Into::into)
    }

    /// The LinkedIn page; null if there is none.
    async fn linkedin_url(&self) -> Option<Url> {
        self.0.linkedin_url.as_deref().map(Into::into)
    }

    /// The first name; null if it is not known.
    async fn first_name(&self) -> Option<&str> {
        self.0.first_name.as_deref()
    }

    /// The last name; null if it is not known.
    async fn last_name(&self) -> Option<&str> {
        self.0.last_name.as_deref()
    }

    /// The company; null if it is not known.
    async fn company(&self) -> Option<&str> {
        self.0.company.as_deref()
    }

    /// The job title; null if it is not known.
    async fn title(&self) -> Option<&str> {
        self.0.title.as_deref()
    }

    /// The person's time zone, for send windows on the contact's clock; null if it is not known.
    async fn time_zone(&self) -> Option<TimeZone> {
        self.0.time_zone.as_deref().map(Into::into)
    }

    /// The person's country, for its public holidays; null if it is not known. Then the country of
    /// the time zone counts, if that belongs to one.
    async fn country(&self) -> Option<CountryCode> {
        self.0.country.as_deref().map(Into::into)
    }

    /// Whatever else is known; a merge tag reads it as {{ attributes.name }}.
    async fn attributes(&self) -> Json {
        Json(self.0.attributes.clone())
    }

    /// The channels on which the person must not be contacted.
    async fn opted_out(&self, ctx: &Context<'_>) -> Result<Vec<Channel>> {
        let Some(key) = self.0.email_key.clone() else {
            return Ok(Vec::new());
        };
        let channels = ctx.loaders()?.load_one(EmailKey(key)).await?;
        Ok(channels
            .unwrap_or_default()
            .into_iter()
            .map(Into::into)
            .collect())
    }

    /// The person's runs through sequences, newest first.
    async fn leads(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Lead>> {
        lead::of_person(
            ctx,
            self.person_id(),
            PageArgs {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }

    /// The person's opportunities, newest first. With a token that is limited to sequences there are
    /// none.
    async fn opportunities(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Opportunity>> {
        opportunity::of_person(
            ctx,
            self.person_id(),
            PageArgs {
                first,
                after,
                last,
                before,
            },
        )
        .await
    }

    /// When the person was entered.
    async fn created_at(&self) -> DateTime {
        DateTime::from_ms(self.0.created_at)
    }

    /// When the person was last changed.
    async fn updated_at(&self) -> DateTime {
        DateTime::from_ms(self.0.updated_at)
    }
}

impl Person {
    /// Its id.
    pub fn person_id(&self) -> PersonId {
        PersonId::from_uuid(self.0.id)
    }
}

impl Prompt for Person {
    const AT_ONCE: &'static [&'static str] = &[
        "id",
        "email",
        "phone",
        "linkedinUrl",
        "firstName",
        "lastName",
        "company",
        "title",
        "timeZone",
        "country",
        "attributes",
        "createdAt",
        "updatedAt",
    ];
}

impl From<store::person::Row> for Person {
    fn from(row: store::person::Row) -> Self {
        Self(Arc::new(row))
    }
}

impl dataloader::Loader<PersonId> for Loaders {
    type Value = Arc<store::person::Row>;
    type Error = LoadError;

    async fn load(&self, ids: &[PersonId]) -> Result<HashMap<PersonId, Self::Value>, LoadError> {
        let rows = store::person::find_many(self.services.db.read(), self.workspace, ids).await?;
        Ok(rows
            .into_iter()
            .map(|row| (PersonId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// An email address in the form that suppressions go by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct EmailKey(String);

impl dataloader::Loader<EmailKey> for Loaders {
    type Value = Vec<domain::flow::Channel>;
    type Error = LoadError;

    async fn load(&self, keys: &[EmailKey]) -> Result<HashMap<EmailKey, Self::Value>, LoadError> {
        let addresses: Vec<String> = keys.iter().map(|key| key.0.clone()).collect();
        let db = self.services.db.read();
        let rows = store::person::suppressions(db, self.workspace, &addresses).await?;
        let mut found: HashMap<EmailKey, Self::Value> = HashMap::new();
        for (channel, address) in rows {
            let channel = channel
                .parse()
                .map_err(|_| StoreError::corrupt("channel of a suppression", &channel))?;
            found.entry(EmailKey(address)).or_default().push(channel);
        }
        Ok(found)
    }
}

/// The person with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: PersonId) -> Result<Option<Person>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Person))
}

/// The same, if the caller may see them on their own: one who is limited to some sequences sees those
/// who are or were leads of them.
///
/// # Errors
/// As the store has it.
pub async fn load_seen(ctx: &Context<'_>, id: PersonId) -> Result<Option<Person>> {
    if ctx.caller_within()?.scope.is_all() || lead::has_any(ctx, id).await? {
        load(ctx, id).await
    } else {
        Ok(None)
    }
}

/// Reading people.
#[derive(Default)]
pub struct PersonQuery;

#[Object]
impl PersonQuery {
    /// The person with this id; null if the workspace has none.
    async fn person(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The person's id.")] id: ID,
    ) -> Result<Option<Person>> {
        ctx.caller_within()?;
        match node::maybe(&id) {
            Some(id) => load_seen(ctx, id).await,
            None => Ok(None),
        }
    }

    /// People, in the order in which they were entered.
    async fn people(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which people; all, if it is not given.")] filter: Option<
            PersonFilterInput,
        >,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Person>> {
        let workspace = ctx.caller()?.workspace;
        let filter = filter
            .unwrap_or_default()
            .read(&["filter"])
            .map_err(|problems| bad_input(told(problems)))?;
        let page = PageArgs {
            first,
            after,
            last,
            before,
        }
        .read::<PersonId>(ctx, PEOPLE)?;
        let db = ctx.services().db.clone();
        let wanted = store::person::Page {
            after: page.after,
            before: page.before,
            backward: page.backward,
            limit: page.fetch(),
        };
        let rows = store::person::page(db.read(), workspace, &filter, wanted).await?;
        let key = |row: &store::person::Row| PersonId::from_uuid(row.id);
        let connection = page.connection(PEOPLE, rows, key, Person::from);
        Ok(connection.counted(move || {
            let (db, filter) = (db.clone(), filter.clone());
            async move { store::person::count(db.read(), workspace, &filter).await }
        }))
    }
}

/// What is known of a person. At least one of its fields must be given.
#[derive(InputObject, Debug, Default)]
pub struct PersonInput {
    /// The email address, unique in the workspace.
    email: Option<EmailAddress>,
    /// The phone number, in international form.
    phone: Option<PhoneNumber>,
    /// The LinkedIn page.
    linkedin_url: Option<Url>,
    /// The first name.
    first_name: Option<String>,
    /// The last name.
    last_name: Option<String>,
    /// The company.
    company: Option<String>,
    /// The job title.
    title: Option<String>,
    /// The person's time zone, for send windows on the contact's clock.
    time_zone: Option<TimeZone>,
    /// The person's country, for its public holidays.
    country: Option<CountryCode>,
    /// Whatever else is known, as an object. An update adds its keys to those that are there; a key
    /// whose value is null is removed.
    attributes: Option<Json>,
}

impl From<PersonInput> for app::person::Change {
    fn from(input: PersonInput) -> Self {
        Self {
            email: input.email.map(|text| text.0),
            phone: input.phone.map(|text| text.0),
            linkedin_url: input.linkedin_url.map(|text| text.0),
            first_name: input.first_name,
            last_name: input.last_name,
            company: input.company,
            title: input.title,
            time_zone: input.time_zone.map(|text| text.0),
            country: input.country.map(|text| text.0),
            attributes: input.attributes.map(|json| json.0),
        }
    }
}

/// A change of a person.
#[derive(InputObject, Debug)]
pub struct PersonUpdateInput {
    /// The person.
    id: ID,
    /// What is to change. A field that is left out or null stays as it is.
    set: PersonInput,
}

/// What a mutation of a person answers.
#[derive(SimpleObject)]
pub struct PersonPayload {
    /// The person as it is now; null where the mutation was refused.
    person: Option<Person>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl PersonPayload {
    fn of(done: Result<store::person::Row, AppError>) -> Result<Self> {
        match done {
            Ok(row) => Ok(Self {
                person: Some(row.into()),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(Self {
                person: None,
                user_errors: user_errors(error)?,
            }),
        }
    }
}

/// What an import does with a person that the workspace has already, by the email address.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "import::OnConflict")]
pub enum ImportConflict {
    /// Changes the fields that the line has something for, and adds its attributes.
    Update,
    /// Leaves the person as it is.
    Skip,
}

/// A file of people.
#[derive(InputObject, Debug)]
pub struct PeopleImportInput {
    /// The file's text: a header line, then a person a line; separated by commas, semicolons or
    /// tabs, quoted as usual.
    csv: String,
    /// Header to field: {"E-Mail": "email", "Town": "attributes.city"}. A header that is not named
    /// is recognised by itself, or goes to the attributes.
    mapping: Option<Json>,
    /// On the same email: update the person, or leave it.
    #[graphql(default_with = "Some(ImportConflict::Update)")]
    on_conflict: Option<ImportConflict>,
    /// The same key with the same input within 24 hours answers the first call's operation and does
    /// nothing again; with another input it is refused with CONFLICT. At most 255 characters.
    idempotency_key: Option<String>,
}

/// Changing people.
#[derive(Default)]
pub struct PersonMutation;

#[Object]
impl PersonMutation {
    /// Enters a person. Refused with ALREADY_EXISTS if the workspace has somebody with the same
    /// email address.
    async fn person_create(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is known of the person.")] input: PersonInput,
    ) -> Result<PersonPayload> {
        let caller = ctx.require(Role::Editor)?;
        PersonPayload::of(app::person::create(ctx.services(), caller, input.into()).await)
    }

    /// Changes a person. Leads that wait for missing merge data of this person go on at once.
    async fn person_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which person, and what is to change.")] input: PersonUpdateInput,
    ) -> Result<PersonPayload> {
        let caller = ctx.require(Role::Editor)?;
        let id = match node::id(&input.id, &["id"]) {
            Ok(id) => id,
            Err(error) => {
                return Ok(PersonPayload {
                    person: None,
                    user_errors: vec![error],
                });
            }
        };
        PersonPayload::of(app::person::update(ctx.services(), caller, id, input.set.into()).await)
    }

    /// Rows of a CSV file with a header line, given as text; the rows that are refused are named in
    /// the outcomes.
    async fn people_import(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The file, and what to do with it.")] input: PeopleImportInput,
    ) -> Result<BulkPayload> {
        let caller = ctx.require(Role::Editor)?;
        let submission = import::Submission {
            csv: input.csv,
            mapping: input.mapping.map(|json| json.0),
            on_conflict: input.on_conflict.unwrap_or(ImportConflict::Update).into(),
            idempotency_key: input.idempotency_key,
        };
        BulkPayload::of(
            ctx,
            import::submit(ctx.services(), caller, submission).await,
        )
        .await
    }
}
