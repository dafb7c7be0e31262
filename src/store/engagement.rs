//! What contacts do with messages, as it changes their leads.

use chrono::{DateTime, Utc};
use sea_orm::{ConnectionTrait, FromQueryResult};
use uuid::Uuid;

use super::claim::{LEAD_COLUMNS, LeadRow};
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{LeadId, WorkspaceId};

/// A lead with what deciding about an engagement takes.
#[derive(Debug)]
pub struct EngagedLead {
    /// The lead, locked.
    pub lead: LeadRow,
    /// The settings that its sequence runs under.
    pub settings: serde_json::Value,
}

#[derive(FromQueryResult)]
struct Settings {
    settings: serde_json::Value,
}

/// A lead of the workspace and its settings, locked until the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn lock_lead(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    lead: LeadId,
) -> Result<Option<EngagedLead>> {
    let statement = format!(
        "SELECT {LEAD_COLUMNS} FROM lead l WHERE l.id = $1 AND l.workspace_id = $2 {}",
        dialect::for_update(tx, "l")
    );
    let arguments = Arguments::new().with(lead.uuid()).with(workspace.uuid());
    let Some(lead) = sql::one::<LeadRow>(tx, &statement, arguments).await? else {
        return Ok(None);
    };
    let settings: Option<Settings> = sql::one(
        tx,
        "SELECT v.settings FROM sequence q JOIN sequence_version v
             ON v.id = q.published_version_id WHERE q.id = $1",
        Arguments::new().with(lead.sequence_id),
    )
    .await?;
    Ok(settings.map(|Settings { settings }| EngagedLead { lead, settings }))
}

/// Which count of a lead an engagement adds to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Count {
    /// Openings.
    Opens,
    /// Clicks.
    Clicks,
    /// Answers.
    Replies,
}

/// Adds one engagement to a lead's counts.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn count(
    tx: &impl ConnectionTrait,
    lead: Uuid,
    count: Count,
    at: DateTime<Utc>,
) -> Result<()> {
    let column = match count {
        Count::Opens => "opens",
        Count::Clicks => "clicks",
        Count::Replies => "replies",
    };
    let statement = format!(
        "UPDATE lead SET {column} = {column} + 1, last_engaged_at = $1, last_action_at = $1
         WHERE id = $2"
    );
    let arguments = Arguments::new().with(at.timestamp_millis()).with(lead);
    sql::execute(tx, &statement, arguments).await?;
    Ok(())
}
