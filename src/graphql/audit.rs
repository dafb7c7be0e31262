//! Who did what, and when: the audit as it is shown. How it is written is in [`record`].

pub mod record;
mod summary;

pub use self::summary::of_input;

use std::sync::Arc;

use async_graphql::{Context, Enum, ID, InputObject, Object, Result};

use super::context::ContextExt;
use super::error::bad_input;
use super::lead::{ends, part};
use super::node;
use super::page::{Connection, PageArgs};
use super::person::DateTimeRange;
use super::problems::{Problems, each_once, told};
use super::prompt::Prompt;
use super::scalar::{DateTime, Json};
use super::token::{self, ApiToken, TokenRole};
use crate::app::Role;
use crate::domain::audit;
use crate::domain::id::{AuditId, TokenId};
use crate::domain::person_filter::LIST_MAX;
use crate::store::StoreError;
use crate::store::audit::{self as store, Filter, Row};

/// The name of the list in its cursors.
const ENTRIES: &str = "audit";
/// The longest text that a filter compares with.
const WORD_MAX: usize = 100;

/// How a mutation ended.
#[derive(Enum, Debug, Clone, Copy, PartialEq, Eq)]
#[graphql(remote = "audit::Outcome")]
pub enum AuditOutcome {
    /// It was begun, and how it ended was not written down: the server stopped at that moment, or the
    /// client went before the end. What it had committed by then stands. A list that was exported was cut
    /// off.
    Unfinished,
    /// It was carried out, or was done before and changed nothing again.
    Done,
    /// It was refused, and changed nothing.
    Refused,
    /// The server failed.
    Failed,
}

/// A mutation that somebody sent, or a list that somebody exported: who, what, when, and how it ended.
/// Refused ones are here too, and each mutation of a request has its own entry.
pub struct AuditEntry(Arc<Row>);

/// A mutation that somebody sent, or a list that somebody exported: who, what, when, and how it ended.
/// Refused ones are here too, and each mutation of a request has its own entry.
#[Object]
impl AuditEntry {
    /// When it was begun.
    async fn at(&self) -> DateTime {
        DateTime::from_ms(self.0.at)
    }

    /// The token that it came with; null where it was done on the server's own machine.
    async fn token(&self, ctx: &Context<'_>) -> Result<Option<ApiToken>> {
        match self.0.token_id {
            Some(id) => token::load(ctx, TokenId::from_uuid(id)).await,
            None => Ok(None),
        }
    }

    /// The token's name at that time; "command line" where it was done on the server's own machine.
    async fn token_name(&self) -> &str {
        &self.0.token_name
    }

    /// What the token allowed; null where it was done on the server's own machine.
    async fn role(&self) -> Result<Option<TokenRole>> {
        let role = self.0.role.as_deref().map(str::parse::<Role>).transpose();
        let role = role.map_err(|error| StoreError::corrupt("role", error))?;
        Ok(role.map(Into::into))
    }

    /// The mutation: "sequencePublish"; `peopleImport` also for a file that came to `/import/people`. For
    /// a list that was taken from `/export/…`: `peopleExport`, `leadsExport`, `executionsExport`
    /// or `suppressionsExport`.
    async fn mutation(&self) -> &str {
        &self.0.mutation
    }

    /// The ids of the objects that it was about, and of those that it made; at most 100.
    async fn object_ids(&self) -> Result<Vec<ID>> {
        let ids: Vec<String> = list("audit entry's objects", &self.0.objects)?;
        Ok(ids.into_iter().map(Into::into).collect())
    }

    /// Its arguments, shortened: ids, numbers, instants, words of the schema and names of things. Every
    /// other text is written "…": passwords, what is known of people, files, texts of messages.
    async fn input(&self) -> Json {
        Json(self.0.input.clone())
    }

    /// How it ended.
    async fn outcome(&self) -> Result<AuditOutcome> {
        let outcome: audit::Outcome = (self.0.outcome.parse())
            .map_err(|error| StoreError::corrupt("audit entry's outcome", error))?;
        Ok(outcome.into())
    }

    /// Why it was refused or failed: codes of userErrors, or of errors; empty where it was done.
    async fn codes(&self) -> Result<Vec<String>> {
        Ok(list("audit entry's codes", &self.0.codes)?)
    }

    /// The request, as answers and the server's log name it; null where it was done on the server's own
    /// machine.
    async fn request_id(&self) -> Option<&str> {
        self.0.request_id.as_deref()
    }
}

fn list(what: &'static str, value: &serde_json::Value) -> Result<Vec<String>, StoreError> {
    serde_json::from_value(value.clone()).map_err(|error| StoreError::corrupt(what, error))
}

impl Prompt for AuditEntry {
    const AT_ONCE: &'static [&'static str] = &[
        "at",
        "tokenName",
        "role",
        "mutation",
        "outcome",
        "requestId",
    ];
}

/// Which entries: every condition that is given must hold. A list means "any of these", so an empty
/// list matches none.
#[derive(InputObject, Debug, Default)]
pub struct AuditFilter {
    /// With one of these tokens.
    token_ids: Option<Vec<ID>>,
    /// One of these mutations, by their names: "tokenCreate".
    mutations: Option<Vec<String>>,
    /// Begun within this span.
    at: Option<DateTimeRange>,
    /// About this object, whatever kind it is of, or the one that made it.
    object_id: Option<ID>,
}

impl AuditFilter {
    fn read(self) -> Result<Filter> {
        let mut problems = Problems::of(&["filter"]);
        let lengths = [
            ("tokenIds", self.token_ids.as_ref().map_or(0, Vec::len)),
            ("mutations", self.mutations.as_ref().map_or(0, Vec::len)),
        ];
        for (name, length) in lengths {
            problems.bound(length, LIST_MAX, &[name]);
        }
        let is_odd = |word: &str| word.len() > WORD_MAX || word.contains('\0');
        if self.mutations.iter().flatten().any(|word| is_odd(word)) {
            let message = "A mutation is called otherwise: take the names from the schema.";
            problems.add(&["mutations"], message.into());
        }
        if self.object_id.as_ref().is_some_and(|id| is_odd(id)) {
            let message = "This is no id: take it from an answer of this API.";
            problems.add(&["objectId"], message.into());
        }
        let tokens = self
            .token_ids
            .map(|ids| problems.each(&ids, "tokenIds", node::id));
        if !problems.found.is_empty() {
            return Err(bad_input(told(problems.found)));
        }
        let (from, to) = ends(self.at);
        Ok(Filter {
            tokens,
            mutations: self.mutations.map(each_once),
            from,
            to,
            object: self.object_id.map(|id| id.0),
        })
    }
}

/// Reading the audit.
#[derive(Default)]
pub struct AuditQuery;

#[Object]
impl AuditQuery {
    /// Who did what in this workspace, newest first: an entry for every mutation that was sent and for
    /// every list that was exported, refused ones included. Whoever runs the server decides how long
    /// entries are kept. Needs the role ADMIN.
    async fn audit_entries(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "Which entries; all, if it is not given.")] filter: Option<AuditFilter>,
        #[graphql(desc = "The first so many, from 1 to 250; 50 if nothing is given.")]
        first: Option<i32>,
        #[graphql(desc = "Only those after this cursor.")] after: Option<String>,
        #[graphql(desc = "The last so many, from 1 to 250.")] last: Option<i32>,
        #[graphql(desc = "Only those before this cursor.")] before: Option<String>,
    ) -> Result<Connection<AuditEntry>> {
        let workspace = ctx.require(Role::Admin)?.workspace;
        let args = PageArgs {
            first,
            after,
            last,
            before,
        };
        let page = args.read::<AuditId>(ctx, ENTRIES)?;
        let filter = Arc::new(filter.unwrap_or_default().read()?);
        let db = ctx.services().db.clone();
        let rows = store::page(db.read(), workspace, &filter, part(&page)).await?;
        let key = |row: &Row| AuditId::from_uuid(row.id);
        let connection = page.connection(ENTRIES, rows, key, |row| AuditEntry(Arc::new(row)));
        Ok(connection.counted(move || {
            let (db, filter) = (db.clone(), Arc::clone(&filter));
            async move { store::count(db.read(), workspace, &filter).await }
        }))
    }
}
