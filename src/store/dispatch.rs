//! What happens to an execution after its claim: the last look, and how it ended.

use std::collections::{HashMap, HashSet};

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use uuid::Uuid;

use super::claim::{LEAD_COLUMNS, LeadRow, parse};
use super::person::consent;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{ExecutionId, SenderId, VersionId, WorkerId, WorkspaceId};

/// What the last look sees.
#[derive(FromQueryResult)]
struct LastLook {
    id: Uuid,
    status: String,
    worker_id: Option<Uuid>,
    lead_status: String,
    lead_worker: Option<Uuid>,
    sequence_status: String,
    is_current: bool,
    enabled: bool,
    lease_until: i64,
    suppressed: bool,
    is_quiet: bool,
}

impl LastLook {
    /// Whether nothing has come between the claim and now.
    fn allows(&self, worker: WorkerId, now: DateTime<Utc>) -> bool {
        self.status == "SENDING"
            && self.worker_id == Some(worker.uuid())
            && self.lead_status == "ACTIVE"
            && self.lead_worker == Some(worker.uuid())
            && self.sequence_status == "PUBLISHED"
            // Published anew since the claim: the message may be another one by now.
            && self.is_current
            && self.enabled
            && self.lease_until > now.timestamp_millis()
            && !self.suppressed
            && !self.is_quiet
    }
}

/// Those of the messages, each with the worker that claimed it, of which nothing has come between the claim
/// and now that forbids them.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn may_leave(
    connection: &impl ConnectionTrait,
    claimed: &[(WorkerId, ExecutionId)],
    now: DateTime<Utc>,
) -> Result<HashSet<ExecutionId>> {
    let mut arguments = Arguments::new().with(now.timestamp_millis());
    let these = arguments.among(connection, claimed.iter().map(|(_, id)| id.uuid()));
    let domain = dialect::domain_of(connection.get_database_backend(), "p.email_key");
    let statement = format!(
        "SELECT e.id, e.status, e.worker_id, l.status AS lead_status,
            l.worker_id AS lead_worker, q.status AS sequence_status,
            COALESCE(d.enabled, TRUE) AS enabled,
            COALESCE(q.published_version_id = e.version_id, FALSE) AS is_current,
            w.lease_until,
            EXISTS (SELECT 1 FROM suppression s WHERE s.workspace_id = l.workspace_id
                    AND s.channel = e.channel
                    AND s.address IN (CASE e.channel WHEN 'EMAIL' THEN p.email_key ELSE p.phone END,
                                      CASE e.channel WHEN 'EMAIL' THEN {domain} END))
                AS suppressed,
            e.sender_id IS NOT NULL AND COALESCE(l.quiet_until > $1, FALSE) AS is_quiet
         FROM execution e JOIN lead l ON l.id = e.lead_id JOIN person p ON p.id = l.person_id
         JOIN sequence q ON q.id = e.sequence_id LEFT JOIN sender d ON d.id = e.sender_id
         JOIN worker w ON w.id = e.worker_id
         WHERE e.id {these}"
    );
    let seen: Vec<LastLook> = sql::all(connection, &statement, arguments).await?;
    let workers: HashMap<Uuid, WorkerId> = claimed
        .iter()
        .map(|(worker, id)| (id.uuid(), *worker))
        .collect();
    let allowed = seen.into_iter().filter(|look| {
        workers
            .get(&look.id)
            .is_some_and(|worker| look.allows(*worker, now))
    });
    Ok(allowed
        .map(|look| ExecutionId::from_uuid(look.id))
        .collect())
}

/// An execution that is being recorded, with its lead, both locked.
#[derive(Debug, Clone)]
pub struct OpenExecution {
    /// The execution.
    pub id: ExecutionId,
    /// Its status.
    pub status: ExecutionStatus,
    /// Which attempt it is at.
    pub attempt: i32,
    /// Who sends it.
    pub worker_id: Option<WorkerId>,
    /// The step.
    pub step_key: String,
    /// How it reaches the person.
    pub channel: Option<Channel>,
    /// The sender; none of a webhook.
    pub sender_id: Option<SenderId>,
    /// The workspace.
    pub workspace: WorkspaceId,
    /// The sender's day on which it counts.
    pub quota_day: Option<String>,
    /// When this attempt was claimed; tells it from another one under the same number.
    pub started_at: Option<i64>,
    /// The version that it runs under.
    pub version: VersionId,
    /// The version that its sequence runs now.
    pub current_version: Option<VersionId>,
    /// The lead.
    pub lead: LeadRow,
}

#[derive(FromQueryResult)]
struct OpenColumns {
    execution_id: Uuid,
    execution_status: String,
    attempt: i32,
    execution_worker: Option<Uuid>,
    execution_step: String,
    channel: Option<String>,
    execution_sender: Option<Uuid>,
    workspace_id: Uuid,
    quota_day: Option<String>,
    started_at: Option<i64>,
    version_id: Uuid,
    published_version_id: Option<Uuid>,
}

struct OpenJoined(OpenColumns, LeadRow);

impl FromQueryResult for OpenJoined {
    fn from_query_result(row: &sea_orm::QueryResult, pre: &str) -> Result<Self, sea_orm::DbErr> {
        Ok(Self(
            OpenColumns::from_query_result(row, pre)?,
            LeadRow::from_query_result(row, pre)?,
        ))
    }
}

/// The executions with these ids and their leads, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn open_executions(
    tx: &impl ConnectionTrait,
    ids: &[ExecutionId],
) -> Result<Vec<OpenExecution>> {
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, ids.iter().map(|id| id.uuid()));
    open_where(tx, &format!("e.id {list}"), arguments).await
}

/// Everything that a worker is sending, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn open_of_worker(
    tx: &impl ConnectionTrait,
    worker: WorkerId,
) -> Result<Vec<OpenExecution>> {
    open_where(tx, "e.worker_id = $1", Arguments::new().with(worker.uuid())).await
}

async fn open_where(
    tx: &impl ConnectionTrait,
    condition: &str,
    arguments: Arguments,
) -> Result<Vec<OpenExecution>> {
    // The person is not joined: PostgreSQL leaves a row out whose lead was given to another person while it
    // was waited for, and the result would be lost.
    let statement = format!(
        "SELECT e.id AS execution_id, e.status AS execution_status, e.attempt,
                e.worker_id AS execution_worker, e.step_key AS execution_step,
                e.sender_id AS execution_sender, e.workspace_id, e.quota_day,
                e.started_at, e.version_id, q.published_version_id, e.channel,
                {LEAD_COLUMNS}
         FROM execution e JOIN lead l ON l.id = e.lead_id
         JOIN sequence q ON q.id = l.sequence_id
         WHERE {condition} ORDER BY l.id {}",
        dialect::for_update(tx, "l, e")
    );
    let rows: Vec<OpenJoined> = sql::all(tx, &statement, arguments).await?;
    rows.into_iter()
        .map(|OpenJoined(row, lead)| {
            Ok(OpenExecution {
                id: ExecutionId::from_uuid(row.execution_id),
                status: parse("execution status", &row.execution_status)?,
                attempt: row.attempt,
                worker_id: row.execution_worker.map(WorkerId::from_uuid),
                step_key: row.execution_step,
                channel: row
                    .channel
                    .map(|channel| parse("channel", &channel))
                    .transpose()?,
                sender_id: row.execution_sender.map(SenderId::from_uuid),
                workspace: WorkspaceId::from_uuid(row.workspace_id),
                quota_day: row.quota_day,
                started_at: row.started_at,
                version: VersionId::from_uuid(row.version_id),
                current_version: row.published_version_id.map(VersionId::from_uuid),
                lead,
            })
        })
        .collect()
}

/// How an execution ended, or that it waits for another attempt.
#[derive(Debug, Clone)]
pub struct Settled {
    /// The execution.
    pub id: ExecutionId,
    /// Its status.
    pub status: ExecutionStatus,
    /// How many attempts count.
    pub attempt: i32,
    /// What went wrong: code and message.
    pub error: Option<(&'static str, String)>,
    /// The provider's own answer.
    pub response: Option<String>,
    /// When the next attempt is due.
    pub retry_at: Option<DateTime<Utc>>,
    /// When it was over; `None` while another attempt follows.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Writes how executions ended and answers how many. Their rows must be locked by this transaction,
/// or, with `still_of`, only those are written that this worker is still sending.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn settle(
    tx: &impl ConnectionTrait,
    settled: &[Settled],
    still_of: Option<WorkerId>,
) -> Result<u64> {
    let mut written = 0;
    for chunk in sql::chunks(settled) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|settled| -> [Value; 8] {
                [
                    settled.id.uuid().into(),
                    <&str>::from(settled.status).into(),
                    settled.attempt.into(),
                    settled.error.as_ref().map(|(code, _)| *code).into(),
                    settled
                        .error
                        .as_ref()
                        .map(|(_, message)| message.clone())
                        .into(),
                    settled.response.clone().into(),
                    settled.retry_at.map(|at| at.timestamp_millis()).into(),
                    settled.finished_at.map(|at| at.timestamp_millis()).into(),
                ]
            }),
        );
        let condition = still_of.map_or_else(String::new, |worker| {
            let worker = arguments.add(worker.uuid());
            let still_sending =
                format!("execution.status = 'SENDING' AND execution.worker_id = {worker}");
            format!(" AND {}", sql::of_found("v.id", &still_sending))
        });
        let statement = format!(
            "WITH v (id, status, attempt, error_code, error_message, error_response, retry_at,
                     finished_at) AS ({rows})
             UPDATE execution SET status = v.status, attempt = v.attempt,
                 error_code = v.error_code, error_message = v.error_message,
                 error_response = v.error_response, retry_at = v.retry_at,
                 finished_at = v.finished_at, worker_id = NULL
             FROM v WHERE execution.id = v.id{condition}"
        );
        written += sql::execute(tx, &statement, arguments).await?;
    }
    Ok(written)
}

/// Notes addresses that must not be contacted any more; those already noted stay as they are.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn suppress(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    addresses: &[(Channel, String)],
    reason: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    if addresses.is_empty() {
        return Ok(());
    }
    let (insert, arguments) = consent::entering(tx, workspace, addresses, reason, now);
    let statement = format!("{insert} DO NOTHING");
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// Notes of messages that by them their persons have opted out, and of their leads, whose rows this
/// transaction has locked.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn note_opted_out(tx: &impl ConnectionTrait, messages: &[ExecutionId]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, messages.iter().map(|id| id.uuid()));
    let leads = format!(
        "UPDATE lead SET unsubscribed = TRUE
         WHERE id IN (SELECT e.lead_id FROM execution AS e WHERE e.id {list})"
    );
    sql::execute(tx, &leads, arguments.clone()).await?;
    let messages = format!("UPDATE execution SET unsubscribed = TRUE WHERE id {list}");
    sql::execute(tx, &messages, arguments).await?;
    Ok(())
}

/// Notes of messages that they came back.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn note_bounced(tx: &impl ConnectionTrait, messages: &[ExecutionId]) -> Result<()> {
    if messages.is_empty() {
        return Ok(());
    }
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, messages.iter().map(|id| id.uuid()));
    let statement = format!("UPDATE execution SET bounced = TRUE WHERE id {list}");
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}

/// A message that an outbox keeps.
#[derive(Debug, Clone)]
pub struct KeptMessage {
    /// The execution.
    pub execution_id: ExecutionId,
    /// The sender.
    pub sender_id: SenderId,
    /// To whom it would have gone.
    pub recipient: String,
    /// The whole message, as it would have been sent.
    pub content: String,
}

/// Keeps messages of outbox senders.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    messages: &[KeptMessage],
    now: DateTime<Utc>,
) -> Result<()> {
    for batch in sql::chunks(messages) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            batch.iter().map(|kept| -> [Value; 6] {
                [
                    kept.execution_id.uuid().into(),
                    workspace.uuid().into(),
                    kept.sender_id.uuid().into(),
                    kept.recipient.as_str().into(),
                    kept.content.as_str().into(),
                    now.timestamp_millis().into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO outbox_message (execution_id, workspace_id, sender_id, recipient, content,
                 created_at) {rows}"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}
