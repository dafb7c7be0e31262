//! The workspace in the API.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Context, ID, InputObject, Object, Result, SimpleObject, dataloader};

use super::context::ContextExt;
use super::error::{UserError, user_errors};
use super::loader::{LoadError, Loaders};
use super::scalar::TimeZone;
use crate::app::workspace as app;
use crate::app::{AppError, Role};
use crate::domain::id::WorkspaceId;
use crate::store;
use crate::store::workspace::Row;

/// A tenant: what a token belongs to, and everything that the token sees.
pub struct Workspace(Arc<Row>);

/// A tenant: what a token belongs to, and everything that the token sees.
#[Object]
impl Workspace {
    /// The workspace's id.
    pub async fn id(&self) -> ID {
        WorkspaceId::from_uuid(self.0.id).into()
    }

    /// What people call it; no two workspaces of a server have the same name.
    async fn name(&self) -> &str {
        &self.0.name
    }

    /// The clock of the days that the limits below count by; a new workspace has UTC.
    async fn time_zone(&self) -> TimeZone {
        self.0.time_zone.as_str().into()
    }

    /// At most so many messages leave for one person in a day, whatever sequences they are of; null,
    /// no limit.
    async fn max_messages_per_person_per_day(&self) -> Option<i32> {
        self.0.max_messages_per_person_per_day
    }

    /// At most so many messages leave in a day for the email addresses of one domain, such as
    /// example.com; null, no limit.
    async fn max_messages_per_domain_per_day(&self) -> Option<i32> {
        self.0.max_messages_per_domain_per_day
    }

    /// The secret that the requests of webhook steps are signed with, as Standard Webhooks writes it
    /// (`whsec_…`): receivers check the signature by it. For admins only.
    async fn webhook_secret(&self, ctx: &Context<'_>) -> Result<String> {
        let caller = ctx.require(Role::Admin)?;
        Ok(ctx.services().secrets.webhook_secret(caller.workspace))
    }
}

impl From<Row> for Workspace {
    fn from(row: Row) -> Self {
        Self(Arc::new(row))
    }
}

impl dataloader::Loader<WorkspaceId> for Loaders {
    type Value = Arc<Row>;
    type Error = LoadError;

    async fn load(
        &self,
        ids: &[WorkspaceId],
    ) -> Result<HashMap<WorkspaceId, Self::Value>, LoadError> {
        let db = self.services.db.read();
        let own = ids.iter().filter(|id| **id == self.workspace);
        let mut found = HashMap::new();
        for id in own {
            if let Some(row) = store::workspace::find(db, *id).await? {
                found.insert(*id, Arc::new(row));
            }
        }
        Ok(found)
    }
}

/// The workspace with this id, if it is the caller's and the caller sees all of it.
///
/// # Errors
/// As the store has it.
pub async fn load(ctx: &Context<'_>, id: WorkspaceId) -> Result<Option<Workspace>> {
    let caller = ctx.caller_within()?;
    if caller.workspace != id || !caller.scope.is_all() {
        return Ok(None);
    }
    Ok(Some(app::read(ctx.services(), caller).await?.into()))
}

/// Reading the workspace.
#[derive(Default)]
pub struct WorkspaceQuery;

#[Object]
impl WorkspaceQuery {
    /// The workspace that the token belongs to.
    async fn workspace(&self, ctx: &Context<'_>) -> Result<Workspace> {
        let caller = ctx.caller()?;
        Ok(app::read(ctx.services(), caller).await?.into())
    }
}

/// A change of the workspace; a field that is left out or null stays as it is.
#[derive(InputObject, Debug)]
pub struct WorkspaceUpdateInput {
    /// What people call it. `cadenza token create --workspace` goes by it, and makes a new workspace
    /// for a name that none has. Refused with ALREADY_EXISTS where another workspace of the server has
    /// it.
    name: Option<String>,
    /// The clock of the days that the limits count by.
    time_zone: Option<TimeZone>,
    /// At most so many messages for one person in a day, whatever sequences they are of; 0 takes the
    /// limit away.
    max_messages_per_person_per_day: Option<i32>,
    /// At most so many messages in a day for the email addresses of one domain; 0 takes the limit
    /// away.
    max_messages_per_domain_per_day: Option<i32>,
}

/// What a mutation of the workspace answers.
#[derive(SimpleObject)]
pub struct WorkspacePayload {
    /// The workspace as it is now; null where the mutation was refused.
    workspace: Option<Workspace>,
    /// Why it was refused; empty where it was not.
    user_errors: Vec<UserError>,
}

impl WorkspacePayload {
    fn of(done: Result<Row, AppError>) -> Result<Self> {
        match done {
            Ok(row) => Ok(Self {
                workspace: Some(row.into()),
                user_errors: Vec::new(),
            }),
            Err(error) => Ok(Self {
                workspace: None,
                user_errors: user_errors(error)?,
            }),
        }
    }
}

/// Changing the workspace.
#[derive(Default)]
pub struct WorkspaceMutation;

#[Object]
impl WorkspaceMutation {
    /// Changes the workspace that the token belongs to. Needs the role ADMIN.
    async fn workspace_update(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "What is to change.")] input: WorkspaceUpdateInput,
    ) -> Result<WorkspacePayload> {
        let caller = ctx.require(Role::Admin)?;
        let change = app::Change {
            name: input.name,
            time_zone: input.time_zone.map(|name| name.0),
            max_messages_per_person_per_day: input.max_messages_per_person_per_day,
            max_messages_per_domain_per_day: input.max_messages_per_domain_per_day,
        };
        WorkspacePayload::of(app::update(ctx.services(), caller, change).await)
    }
}
