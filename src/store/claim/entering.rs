//! Executions as a claim enters them, and further attempts of those that wait for one.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, Value};

use crate::domain::execution::ExecutionStatus;
use crate::domain::flow::Channel;
use crate::domain::id::{
    ExecutionId, LeadId, SenderId, SequenceId, VersionId, WorkerId, WorkspaceId,
};
use crate::store::Result;
use crate::store::sql::{self, Arguments};

/// An execution as a claim writes it.
#[derive(Debug, Clone)]
pub struct NewExecution {
    /// Its id: a new one, or that of the attempt before.
    pub id: ExecutionId,
    /// The lead.
    pub lead_id: LeadId,
    /// The sequence.
    pub sequence_id: SequenceId,
    /// The version that it runs under.
    pub version_id: VersionId,
    /// The step.
    pub step_key: String,
    /// The variant.
    pub variant: Option<String>,
    /// How the step reaches the person; none for one that reaches nobody.
    pub channel: Option<Channel>,
    /// The sender, for a message.
    pub sender_id: Option<SenderId>,
    /// Its status.
    pub status: ExecutionStatus,
    /// Which attempt this is, from 1.
    pub attempt: i32,
    /// What is wrong, with its code, where it is settled without being sent.
    pub error: Option<(&'static str, String)>,
    /// The subject as sent.
    pub subject: Option<String>,
    /// The Message-ID.
    pub message_id: Option<String>,
    /// The address that it goes to, as suppressions know it.
    pub to_key: Option<String>,
    /// Who sends it, while it is being sent.
    pub worker_id: Option<WorkerId>,
    /// The sender's day on which it counts.
    pub quota_day: Option<String>,
    /// When it was due.
    pub scheduled_at: Option<i64>,
    /// When it was taken up.
    pub started_at: DateTime<Utc>,
    /// When it was over.
    pub finished_at: Option<DateTime<Utc>>,
}

/// Enters executions, or further attempts of those that wait for one. The constraint on lead and
/// step refuses any other second execution of a step.
///
/// Of an attempt that is not made, an execution that waits for it keeps all that the attempt before
/// left: what it said, when it began, what the server answered.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn enter_executions(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    executions: &[NewExecution],
) -> Result<()> {
    let (over, begun): (Vec<_>, Vec<_>) = executions
        .iter()
        .partition(|execution| execution.finished_at.is_some());
    let begins = "version_id = excluded.version_id, variant = excluded.variant,
        channel = excluded.channel, sender_id = excluded.sender_id, attempt = excluded.attempt,
        error_response = NULL, subject = excluded.subject, message_id = excluded.message_id,
        to_key = excluded.to_key, quota_day = excluded.quota_day, started_at = excluded.started_at";
    enter(tx, workspace, &begun, begins).await?;
    // A step that was a message when it was tried before may be of another kind by now.
    let ends = "finished_at = excluded.finished_at, version_id = excluded.version_id,
        variant = COALESCE(excluded.variant, execution.variant),
        subject = CASE WHEN execution.channel = excluded.channel THEN execution.subject END,
        message_id = CASE WHEN execution.channel = excluded.channel THEN execution.message_id END,
        to_key = CASE WHEN execution.channel = excluded.channel THEN execution.to_key END,
        sender_id = COALESCE(excluded.sender_id,
            CASE WHEN execution.channel = excluded.channel THEN execution.sender_id END),
        channel = excluded.channel";
    enter(tx, workspace, &over, ends).await
}

/// `again` is what an execution that is there takes over besides its status.
async fn enter(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    executions: &[&NewExecution],
    again: &str,
) -> Result<()> {
    for chunk in sql::chunks(executions) {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            chunk.iter().map(|new| -> [Value; 21] {
                [
                    new.id.uuid().into(),
                    workspace.uuid().into(),
                    new.lead_id.uuid().into(),
                    new.sequence_id.uuid().into(),
                    new.version_id.uuid().into(),
                    new.step_key.as_str().into(),
                    new.variant.clone().into(),
                    new.channel.map(<&str>::from).into(),
                    new.sender_id.map(SenderId::uuid).into(),
                    <&str>::from(new.status).into(),
                    new.attempt.into(),
                    new.error.as_ref().map(|(code, _)| *code).into(),
                    new.error.as_ref().map(|(_, text)| text.clone()).into(),
                    new.subject.clone().into(),
                    new.message_id.clone().into(),
                    new.to_key.clone().into(),
                    new.worker_id.map(|id| id.uuid()).into(),
                    new.quota_day.clone().into(),
                    new.scheduled_at.into(),
                    new.started_at.timestamp_millis().into(),
                    new.finished_at.map(|at| at.timestamp_millis()).into(),
                ]
            }),
        );
        let statement = format!(
            "INSERT INTO execution (id, workspace_id, lead_id, sequence_id, version_id, step_key,
                 variant, channel, sender_id, status, attempt, error_code, error_message, subject,
                 message_id, to_key, worker_id, quota_day, scheduled_at, started_at, finished_at)
             {rows}
             ON CONFLICT (id) DO UPDATE SET status = excluded.status, retry_at = NULL,
                 error_code = excluded.error_code, error_message = excluded.error_message,
                 worker_id = excluded.worker_id, {again}
             WHERE execution.status = 'SCHEDULED'"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}
