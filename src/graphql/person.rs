//! People in the API.

mod filter;
mod mutation;

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, ID, Object, Result, dataloader};

pub use self::filter::{
    AttributeMatchInput, DateTimeRange, MatchOp, PersonField, PersonFilterInput,
};
pub use self::mutation::PersonMutation;
use super::channel::Channel;
use super::context::ContextExt;
use super::error::bad_input;
use super::lead::{self, Lead, part};
use super::loader::{LoadError, Loaders};
use super::node;
use super::opportunity::{self, Opportunity};
use super::page::{Connection, PageArgs};
use super::problems::told;
use super::prompt::Prompt;
use super::scalar::{CountryCode, DateTime, EmailAddress, Json, PhoneNumber, TimeZone, Url};
use crate::app;
use crate::domain;
use crate::domain::id::PersonId;
use crate::store;
use crate::store::person::consent;

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

    /// The channels on which the person must not be contacted, at the addresses that it has.
    async fn opted_out(&self, ctx: &Context<'_>) -> Result<Vec<Channel>> {
        let addresses = consent::CHANNELS.into_iter().filter_map(|channel| {
            let address = consent::address(&self.0, channel)?;
            Some(Contact(channel, address.to_owned()))
        });
        let addresses: Vec<Contact> = addresses.collect();
        let closed = ctx.loaders()?.load_many(addresses.clone()).await?;
        let closed = addresses.iter().filter(|one| closed.contains_key(one));
        Ok(closed.map(|one| one.0.into()).collect())
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

    /// When the person was erased by personDelete; null of everybody else. Who is erased is seen only as the
    /// person of its leads, with nothing known of it.
    async fn erased_at(&self) -> Option<DateTime> {
        self.0.erased_at.map(DateTime::from_ms)
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
        "erasedAt",
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

/// An address on a channel, in the form that suppressions go by.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Contact(domain::flow::Channel, String);

/// Finds those that must not be contacted.
impl dataloader::Loader<Contact> for Loaders {
    type Value = ();
    type Error = LoadError;

    async fn load(&self, keys: &[Contact]) -> Result<HashMap<Contact, ()>, LoadError> {
        let addresses = keys.iter().map(|key| (key.0, key.1.clone()));
        let addresses: Vec<_> = addresses.collect();
        let db = self.services.db.read();
        let found = consent::suppressed(db, self.workspace, &addresses).await?;
        let found = found.into_iter();
        Ok(found
            .map(|one| (Contact(one.channel, one.address), ()))
            .collect())
    }
}

/// The person with this id, if the caller's workspace has it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: PersonId) -> Result<Option<Person>> {
    Ok(ctx.loaders()?.load_one(id).await?.map(Person))
}

/// The same, if the caller may see them on their own: nobody sees who is erased, and one who is limited to
/// some sequences sees those who are or were leads of them.
///
/// # Errors
/// As the store has it.
pub async fn load_seen(ctx: &Context<'_>, id: PersonId) -> Result<Option<Person>> {
    if ctx.caller_within()?.scope.is_all() || lead::has_any(ctx, id).await? {
        let found = load(ctx, id).await?;
        Ok(found.filter(|person| person.0.erased_at.is_none()))
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
        let refused = app::person::filter::refused(db.read(), workspace, &filter, &["filter"]);
        if let Some(refusal) = refused.await? {
            return Err(bad_input(told(vec![refusal.into()])));
        }
        let rows = store::person::page(db.read(), workspace, &filter, part(&page)).await?;
        let key = |row: &store::person::Row| PersonId::from_uuid(row.id);
        let connection = page.connection(PEOPLE, rows, key, Person::from);
        Ok(connection.counted(move || {
            let (db, filter) = (db.clone(), filter.clone());
            async move { store::person::count(db.read(), workspace, &filter).await }
        }))
    }
}
