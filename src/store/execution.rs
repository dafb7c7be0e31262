//! Executions as they are shown: pages over a filter, by ids, by lead.

use chrono::{DateTime, Utc};
use entity::execution;
use sea_orm::{ColumnTrait, ConnectionTrait, DbBackend, EntityTrait, FromQueryResult, QueryFilter};
use uuid::Uuid;

use super::lead::{Ages, Part};
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, LeadId, SenderId, SequenceId, WorkspaceId};
use crate::domain::outcome::{ErrorCode, GIVEN_UP};
use crate::domain::scope::SequenceScope;

/// An execution's row.
pub type Row = execution::Model;

/// Which executions; every condition that is given must hold. A list means "any of these", so an
/// empty one matches nothing.
#[derive(Debug, Clone, Default)]
pub struct Filter {
    /// Of one of these sequences.
    pub sequences: Option<Vec<SequenceId>>,
    /// Of this lead.
    pub lead: Option<LeadId>,
    /// With one of these statuses.
    pub status: Option<Vec<ExecutionStatus>>,
    /// On one of these channels.
    pub channel: Option<Vec<Channel>>,
    /// Through one of these senders.
    pub senders: Option<Vec<SenderId>>,
    /// Of one of these steps.
    pub step_keys: Option<Vec<String>>,
    /// With one of these errors.
    pub error_code: Option<Vec<ErrorCode>>,
    /// Over at this instant or later.
    pub finished_from: Option<DateTime<Utc>>,
    /// Over before this instant.
    pub finished_to: Option<DateTime<Utc>>,
}

impl Filter {
    /// The same, of the sequences that a scope admits.
    #[must_use]
    pub fn narrowed(mut self, scope: &SequenceScope) -> Self {
        self.sequences = scope.narrow(self.sequences);
        self
    }

    /// The same, of one sequence only.
    #[must_use]
    pub fn within(mut self, sequence: SequenceId) -> Self {
        let wanted = self.sequences.is_none_or(|list| list.contains(&sequence));
        self.sequences = Some(if wanted { vec![sequence] } else { Vec::new() });
        self
    }

    fn condition(
        &self,
        backend: DbBackend,
        workspace: WorkspaceId,
        arguments: &mut Arguments,
    ) -> String {
        let workspace = arguments.add(workspace.uuid());
        let mut all = match self.lead {
            Some(lead) => vec![
                format!(
                    "{} = {workspace}",
                    dialect::unindexed(backend, "e.workspace_id")
                ),
                format!("e.lead_id = {}", arguments.add(lead.uuid())),
            ],
            None => vec![format!("e.workspace_id = {workspace}")],
        };
        let mut one_of = |column: &str, list: Option<String>| {
            all.extend(list.map(|list| format!("e.{column} IN ({list})")));
        };
        let sequences = self.sequences.as_ref();
        one_of(
            "sequence_id",
            sequences.map(|ids| arguments.list(ids.iter().map(|id| id.uuid()))),
        );
        let status = self.status.as_ref();
        one_of(
            "status",
            status.map(|list| arguments.list(list.iter().map(<&str>::from))),
        );
        let channel = self.channel.as_ref();
        one_of(
            "channel",
            channel.map(|list| arguments.list(list.iter().map(<&str>::from))),
        );
        let senders = self.senders.as_ref();
        one_of(
            "sender_id",
            senders.map(|ids| arguments.list(ids.iter().map(|id| id.uuid()))),
        );
        let steps = self.step_keys.as_ref();
        one_of(
            "step_key",
            steps.map(|list| arguments.list(list.iter().map(String::as_str))),
        );
        let errors = self.error_code.as_ref();
        one_of(
            "error_code",
            errors.map(|list| arguments.list(list.iter().map(<&str>::from))),
        );
        for (side, at) in [(">=", self.finished_from), ("<", self.finished_to)] {
            if let Some(at) = at {
                let at = arguments.add(at.timestamp_millis());
                all.push(format!("e.finished_at {side} {at}"));
            }
        }
        all.join(" AND ")
    }
}

/// A page of the executions that a filter chooses, newest first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn page(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
    page: Part,
) -> Result<Vec<Row>> {
    let mut arguments = Arguments::new();
    let backend = connection.get_database_backend();
    let conditions = filter.condition(backend, workspace, &mut arguments);
    let rest = page.rest("e.id", Ages::NewestFirst, &mut arguments);
    let statement = format!("SELECT e.* FROM execution AS e WHERE {conditions}{rest}");
    sql::all(connection, &statement, arguments).await
}

/// How many executions a filter chooses.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    filter: &Filter,
) -> Result<i64> {
    let mut arguments = Arguments::new();
    let conditions = filter.condition(connection.get_database_backend(), workspace, &mut arguments);
    let statement = format!("SELECT count(*) AS n FROM execution AS e WHERE {conditions}");
    sql::number(connection, &statement, arguments).await
}

/// Those of the executions that are the workspace's, in no order.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[ExecutionId],
) -> Result<Vec<Row>> {
    Ok(execution::Entity::find()
        .filter(execution::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(execution::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?)
}

/// The execution with this id, if it is the workspace's.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn find(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: ExecutionId,
) -> Result<Option<Row>> {
    Ok(find_many(connection, workspace, &[id]).await?.pop())
}

/// The same part of the executions of each of these leads that a scope admits, newest first.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn of_leads(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    scope: &SequenceScope,
    leads: &[LeadId],
    part: Part,
) -> Result<Vec<Row>> {
    let backend = connection.get_database_backend();
    let leads = leads.iter().map(|id| id.uuid());
    let owners = ("execution", "lead_id");
    let (statement, arguments) = part.statement(backend, owners, workspace, scope, leads);
    sql::all(connection, &statement, arguments).await
}

/// An execution whose next attempt is not made.
#[derive(Debug, Clone, FromQueryResult)]
pub struct GivenUp {
    /// The execution.
    pub id: Uuid,
    /// Its lead.
    pub lead_id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// Its step.
    pub step_key: String,
    /// Its channel.
    pub channel: Option<String>,
    /// Who would have sent it.
    pub sender_id: Option<Uuid>,
}

/// Ends the executions of these leads that wait for another attempt, which is not made: the leads have
/// left the step. Their rows must be locked by this transaction.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn give_up(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    leads: &[LeadId],
    now: DateTime<Utc>,
) -> Result<Vec<GivenUp>> {
    let (code, message) = GIVEN_UP;
    let mut given_up: Vec<GivenUp> = Vec::new();
    for leads in sql::chunks(leads) {
        let mut arguments = Arguments::new()
            .with(workspace.uuid())
            .with(code.as_str())
            .with(message)
            .with(now.timestamp_millis());
        let list = arguments.among(tx, leads.iter().map(|id| id.uuid()));
        let of_workspace = dialect::unindexed(tx.get_database_backend(), "workspace_id");
        let statement = format!(
            "UPDATE execution SET status = 'FAILED', error_code = $2, error_message = $3,
             retry_at = NULL, finished_at = $4
         WHERE {of_workspace} = $1 AND lead_id {list} AND status = 'SCHEDULED'
         RETURNING id, lead_id, sequence_id, step_key, channel, sender_id"
        );
        given_up.extend(sql::all::<GivenUp>(tx, &statement, arguments).await?);
    }
    // In one order, so that the same run makes the same log.
    given_up.sort_unstable_by_key(|one| one.id);
    Ok(given_up)
}
