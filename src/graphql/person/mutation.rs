//! Changing people in the API.

use async_graphql::{Context, Enum, ID, InputObject, Object, Result, SimpleObject};

use super::Person;
use crate::app::{self, AppError, Role};
use crate::bulk::import;
use crate::graphql::bulk::BulkPayload;
use crate::graphql::channel::Channel;
use crate::graphql::context::ContextExt;
use crate::graphql::error::{UserError, user_errors};
use crate::graphql::node;
use crate::graphql::problems::each_once;
use crate::graphql::scalar::{CountryCode, EmailAddress, Json, PhoneNumber, TimeZone, Url};
use crate::store;

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

/// A person.
#[derive(InputObject, Debug)]
pub struct PersonIdInput {
    /// The person.
    id: ID,
}

/// What a person has opted out of.
#[derive(InputObject, Debug)]
pub struct PersonOptOutInput {
    /// The person.
    id: ID,
    /// The channels; not TASK or WEBHOOK, by which nobody is contacted.
    channels: Vec<Channel>,
}

/// Two people who are one.
#[derive(InputObject, Debug)]
pub struct PersonMergeInput {
    /// Who stays.
    id: ID,
    /// Who goes.
    duplicate_id: ID,
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
    fn refused(user_errors: Vec<UserError>) -> Self {
        Self {
            person: None,
            user_errors,
        }
    }

    fn of(done: Result<store::person::Row, AppError>) -> Result<Self> {
        match done {
            Ok(row) => Ok(Self {
                person: Some(row.into()),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(Self::refused(user_errors(error)?)),
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
    /// Header to field: {"E-Mail": "email", "Ref": "id", "Town": "attributes.city"}. A header that is
    /// not named is recognised by itself, or goes to the attributes. A line with the id of a person, as an
    /// export has it, is of that person, and NOT_FOUND where the workspace has none with it.
    mapping: Option<Json>,
    /// On the same id or email: update the person, or leave it.
    #[graphql(default_with = "Some(ImportConflict::Update)")]
    on_conflict: Option<ImportConflict>,
    /// Only try it out: nobody is entered or changed, and the operation's outcomes say what would
    /// become of each line.
    #[graphql(default_with = "Some(false)")]
    dry_run: Option<bool>,
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
            Err(error) => return Ok(PersonPayload::refused(vec![error])),
        };
        PersonPayload::of(app::person::update(ctx.services(), caller, id, input.set.into()).await)
    }

    /// Erases the person: nothing that was kept of it says who it was any more, in executions, tasks and events
    /// either. What people wrote themselves is searched for its addresses alone: a name in a flow, in a filter or
    /// in what a bulk operation was asked stays. Its leads
    /// stop as PERSON_DELETED and its opportunities go. Leads, messages and numbers stay counted, and an
    /// address that must not be contacted stays suppressed, so that nobody writes to it who is given it again.
    /// Who is erased already is answered as it is.
    async fn person_delete(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which person.")] input: PersonIdInput,
    ) -> Result<PersonPayload> {
        let caller = ctx.require(Role::Editor)?;
        match node::id(&input.id, &["id"]) {
            Ok(id) => {
                PersonPayload::of(app::person::erasing::erase(ctx.services(), caller, id).await)
            }
            Err(error) => Ok(PersonPayload::refused(vec![error])),
        }
    }

    /// Notes that the person must not be contacted on these channels any more, from now on and whoever asks.
    /// Leads go on to their other channels and pass the closed ones as SKIPPED; one that has no open channel
    /// left stops as UNSUBSCRIBED. A channel on which the person has no address cannot be closed and is
    /// left out; optedOut tells which are.
    async fn person_opt_out(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which person, and the channels.")] input: PersonOptOutInput,
    ) -> Result<PersonPayload> {
        let caller = ctx.require(Role::Editor)?;
        let id = match node::id(&input.id, &["id"]) {
            Ok(id) => id,
            Err(error) => return Ok(PersonPayload::refused(vec![error])),
        };
        let channels = each_once(input.channels.into_iter().map(Into::into));
        let done = app::person::consent::opt_out(ctx.services(), caller, id, &channels).await;
        PersonPayload::of(done)
    }

    /// Makes one person of two. The survivor keeps what is known of it and takes what it lacks from the
    /// duplicate, and so it does with attributes; the duplicate's leads and opportunities become the
    /// survivor's, and the duplicate goes. Of two leads under way in one sequence the furthest goes on, and the
    /// other stops as PERSON_MERGED. What one of the two has opted out of, the survivor has, too; the
    /// addresses of both stay suppressed.
    async fn person_merge(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Who stays, and who goes.")] input: PersonMergeInput,
    ) -> Result<PersonPayload> {
        let caller = ctx.require(Role::Editor)?;
        let ids = (
            node::id(&input.id, &["id"]),
            node::id(&input.duplicate_id, &["duplicateId"]),
        );
        let (id, duplicate) = match ids {
            (Ok(id), Ok(duplicate)) => (id, duplicate),
            (id, duplicate) => {
                let wrong = id.err().into_iter().chain(duplicate.err());
                return Ok(PersonPayload::refused(wrong.collect()));
            }
        };
        let done = app::person::merging::merge(ctx.services(), caller, id, duplicate).await;
        PersonPayload::of(done)
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
            options: import::Options {
                mapping: input.mapping.map(|json| json.0),
                on_conflict: input.on_conflict.unwrap_or(ImportConflict::Update).into(),
                dry_run: input.dry_run.unwrap_or(false),
                idempotency_key: input.idempotency_key,
            },
        };
        BulkPayload::of(
            ctx,
            import::submit(ctx.services(), caller, submission).await,
        )
        .await
    }
}
