//! Lists of addresses that must not be contacted.

use async_graphql::{Context, Enum, InputObject, Object, Result, SimpleObject};

use super::channel::Channel;
use super::context::ContextExt;
use super::error::{UserError, user_errors};
use super::page::{Connection, Page, PageArgs};
use super::prompt::Prompt;
use super::scalar::DateTime;
use crate::app::suppression::list::{self, Given, LineProblem};
use crate::app::{AppError, Role};
use crate::clock::from_ms;
use crate::store::StoreError;
use crate::store::suppression::{self as store, Filter, Key, Part, Row};

/// The list that cursors belong to.
const SUPPRESSIONS: &str = "suppressions";

/// Why an address must not be contacted.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "crate::app::suppression::Reason")]
pub enum SuppressionReason {
    /// Its owner has opted out.
    Unsubscribed,
    /// It does not exist, or refuses messages for good.
    Bounced,
    /// Its owner has complained to the provider.
    Complained,
    /// Somebody of the workspace put it on the list.
    Manual,
}

/// An address, or a whole domain, that must not be contacted on a channel, whoever asks and in whichever
/// sequence.
pub struct Suppression(pub Row);

/// An address, or a whole domain, that must not be contacted on a channel, whoever asks and in whichever
/// sequence.
#[Object]
impl Suppression {
    /// On this channel.
    async fn channel(&self) -> Result<Channel> {
        let channel: crate::domain::flow::Channel = (self.0.channel.parse())
            .map_err(|_| StoreError::corrupt("channel of a suppression", &self.0.channel))?;
        Ok(channel.into())
    }

    /// The address, in the form that addresses are compared by; on EMAIL a domain, where it has no @.
    async fn address(&self) -> &str {
        &self.0.address
    }

    /// Why.
    async fn reason(&self) -> Result<SuppressionReason> {
        let reason: crate::app::suppression::Reason = (self.0.reason.parse())
            .map_err(|_| StoreError::corrupt("reason of a suppression", &self.0.reason))?;
        Ok(reason.into())
    }

    /// Since when.
    async fn created_at(&self) -> DateTime {
        DateTime(from_ms(self.0.created_at))
    }
}

impl Prompt for Suppression {
    const AT_ONCE: &'static [&'static str] = &["channel", "address", "reason", "createdAt"];
}

/// Which entries of the list; every field that is given must hold.
#[derive(InputObject, Debug, Default)]
pub struct SuppressionFilterInput {
    /// On any of these channels; an empty list is as if it were not given.
    channel: Option<Vec<Channel>>,
    /// Whose address or domain begins so, in lower case.
    search: Option<String>,
}

impl SuppressionFilterInput {
    /// The filter as the store takes it.
    pub fn read(self) -> Filter {
        let channels = self.channel.filter(|channels| !channels.is_empty());
        Filter {
            channels: channels.map(|channels| channels.into_iter().map(Into::into).collect()),
            begins_with: self
                .search
                .map(|text| text.trim().to_lowercase())
                .filter(|text| !text.is_empty()),
        }
    }
}

/// An entry of the list.
#[derive(InputObject)]
pub struct SuppressionInput {
    /// On this channel.
    channel: Channel,
    /// The address: of EMAIL an email address, or a domain like `example.com`, which stands for all of its
    /// addresses and not for those of its subdomains; of SMS, WHATSAPP and CALL a phone number in international
    /// form; of LINKEDIN a page.
    address: String,
}

impl From<SuppressionInput> for Given {
    fn from(input: SuppressionInput) -> Self {
        Self {
            channel: input.channel.into(),
            address: input.address,
        }
    }
}

/// Entries for the list.
#[derive(InputObject)]
pub struct SuppressionsAddInput {
    /// Entries one by one, at most 1,000. If one of them is wrong, none is entered.
    entries: Option<Vec<SuppressionInput>>,
    /// A CSV file as text, at most 100,000 lines: the first line names the columns `address` and, if they are
    /// there, `channel` (else EMAIL) and `reason` (else MANUAL), as the export has them. Lines that are
    /// wrong are left out, and told.
    csv: Option<String>,
}

/// A line of a file that was left out.
#[derive(SimpleObject)]
pub struct SuppressionProblem {
    /// Which line, from 1; the first has the names of the columns.
    line: i32,
    /// What is wrong with it, and the remedy.
    message: String,
}

impl From<LineProblem> for SuppressionProblem {
    fn from(problem: LineProblem) -> Self {
        Self {
            line: i32::try_from(problem.line).unwrap_or(i32::MAX),
            message: problem.message,
        }
    }
}

/// What became of entries for the list.
#[derive(SimpleObject)]
pub struct SuppressionsAddPayload {
    /// How many are new on the list, or have a stronger reason now.
    added: i32,
    /// How many were on the list as they are.
    known: i32,
    /// Lines of the file that were left out: the first hundred of them.
    problems: Vec<SuppressionProblem>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// What a mutation of an entry answers.
#[derive(SimpleObject)]
pub struct SuppressionPayload {
    /// The entry as it was; null where the mutation was refused.
    suppression: Option<Suppression>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

/// Reading the list.
#[derive(Default)]
pub struct SuppressionQuery;

#[Object]
impl SuppressionQuery {
    /// The addresses and domains that must not be contacted, by channel and address. A file of them is at
    /// `/export/suppressions.csv`.
    async fn suppressions(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which entries; all, if it is not given.")] filter: Option<
            SuppressionFilterInput,
        >,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<Suppression>> {
        let workspace = ctx.caller()?.workspace;
        let filter = filter.unwrap_or_default().read();
        let arguments = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page: Page<Key> = arguments.read(ctx, SUPPRESSIONS)?;
        let part = Part {
            after: page.after.clone(),
            before: page.before.clone(),
            backward: page.backward,
            limit: page.fetch(),
        };
        let db = ctx.services().db.clone();
        let rows = store::page(db.read(), workspace, &filter, &part).await?;
        let key = |row: &Row| (row.channel.clone(), row.address.clone());
        let connection = page.connection(SUPPRESSIONS, rows, key, Suppression);
        Ok(connection.counted(move || {
            let (db, filter) = (db.clone(), filter.clone());
            async move { store::count(db.read(), workspace, &filter).await }
        }))
    }
}

/// Changing the list.
#[derive(Default)]
pub struct SuppressionMutation;

#[Object]
impl SuppressionMutation {
    /// Puts addresses and domains on the list, with the reason MANUAL: nobody is enrolled for them or written to
    /// at them any more, whatever was claimed. Leads that have only closed channels ahead stop as SUPPRESSED;
    /// those of a domain are skipped where they stand. Once more is no error.
    async fn suppressions_add(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The entries.")] input: SuppressionsAddInput,
    ) -> Result<SuppressionsAddPayload> {
        let caller = ctx.require(Role::Editor)?;
        let given = input.entries.unwrap_or_default();
        let given = given.into_iter().map(Into::into).collect();
        let added = list::add(ctx.services(), caller, given, input.csv.as_deref()).await;
        let (added, user_errors) = match added {
            Ok(added) => (added, Vec::new()),
            Err(error) => (list::Added::default(), user_errors(error)?),
        };
        let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
        Ok(SuppressionsAddPayload {
            added: number(added.added),
            known: number(added.known),
            problems: added.problems.into_iter().map(Into::into).collect(),
            user_errors,
        })
    }

    /// Takes an entry off the list, so that whoever has the address may be contacted again: nothing else does.
    /// Only for somebody who has asked for it. Leads that have stopped stay stopped. The audit says who did it.
    /// Needs the role ADMIN.
    async fn suppression_remove(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The entry.")] input: SuppressionInput,
    ) -> Result<SuppressionPayload> {
        let caller = ctx.require(Role::Admin)?;
        let removed = list::remove(ctx.services(), caller, &input.into()).await;
        SuppressionPayload::of(removed)
    }
}

impl SuppressionPayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        Ok(match done {
            Ok(row) => Self {
                suppression: Some(Suppression(row)),
                user_errors: Vec::new(),
            },
            Err(error) => Self {
                suppression: None,
                user_errors: user_errors(error)?,
            },
        })
    }
}
