//! Senders: rows read into the domain, and what changing one writes. How much a sender may send now
//! is the engine's question ([`super::lane`]).

use chrono::{DateTime, Utc};
use entity::sender;
use sea_orm::{
    ActiveModelTrait, ColumnTrait, ConnectionTrait, EntityTrait, FromQueryResult, IntoActiveModel,
    QueryFilter, QueryOrder, QuerySelect,
};

use super::sql::{self, Arguments};
use super::{Result, StoreError, dialect};
use crate::clock::from_ms;
use crate::domain::address::recipient_domain;
use crate::domain::flow::Channel;
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::pace::Pace;
use crate::domain::sender::{Transport, WarmUp};
use crate::domain::tracking::BaseUrl;

/// The most senders of a workspace: their list is read whole.
pub const SENDERS_MAX: u64 = 1_000;

/// A mailbox or number that messages leave from.
#[derive(Debug, Clone, PartialEq)]
pub struct Sender {
    /// Its id.
    pub id: SenderId,
    /// The name that recipients see.
    pub name: String,
    /// What it sends.
    pub channel: Channel,
    /// The address or number that recipients see.
    pub address: String,
    /// Whether it sends.
    pub enabled: bool,
    /// The clock of its day: an IANA name.
    pub time_zone: String,
    /// The most messages in a day; `None`, no limit.
    pub daily_cap: Option<i32>,
    /// How far apart its messages are.
    pub pace: Pace,
    /// The growth of the cap of a young mailbox.
    pub warm_up: Option<WarmUp>,
    /// How it sends.
    pub transport: Transport,
    /// The sealed password.
    pub secret: Option<String>,
    /// By which address the marks in its emails are reached; `None`, by that of the server.
    pub tracking_url: Option<BaseUrl>,
    /// Where answers to its emails are asked for; `None`, at its own address.
    pub reply_to: Option<String>,
    /// Whether answers are asked for at that address with a tag, which tells the message that is answered.
    pub tagged_replies: bool,
    /// Grows by one with every change.
    pub revision: i32,
    /// When its pace lets the next message go.
    pub next_free_at: DateTime<Utc>,
    /// Until when it is left alone after trouble of its own.
    pub unhealthy_until: Option<DateTime<Utc>>,
    /// What that trouble is.
    pub unhealthy_reason: Option<String>,
    /// How often in a row it had trouble of its own.
    pub failures: i32,
    /// When it was made.
    pub created_at: DateTime<Utc>,
    /// When it was last changed.
    pub updated_at: DateTime<Utc>,
}

impl TryFrom<sender::Model> for Sender {
    type Error = StoreError;

    fn try_from(row: sender::Model) -> Result<Self> {
        let corrupt = |error: serde_json::Error| StoreError::corrupt("sender", error);
        Ok(Self {
            id: SenderId::from_uuid(row.id),
            name: row.name,
            channel: row
                .channel
                .parse()
                .map_err(|_| StoreError::corrupt("sender's channel", &row.channel))?,
            address: row.address,
            enabled: row.enabled,
            time_zone: row.time_zone,
            daily_cap: row.daily_cap,
            pace: Pace::of_ms(row.min_gap_ms, row.gap_jitter_ms),
            warm_up: row
                .warm_up
                .map(serde_json::from_value)
                .transpose()
                .map_err(corrupt)?,
            transport: serde_json::from_value(row.transport).map_err(corrupt)?,
            secret: row.secret,
            tracking_url: (row.tracking_url.as_deref())
                .map(BaseUrl::parse)
                .transpose()
                .map_err(|error| StoreError::corrupt("sender's tracking domain", error))?,
            reply_to: row.reply_to,
            tagged_replies: row.tagged_replies,
            revision: row.revision,
            next_free_at: from_ms(row.next_free_at),
            unhealthy_until: row.unhealthy_until.map(from_ms),
            unhealthy_reason: row.unhealthy_reason,
            failures: row.failures,
            created_at: from_ms(row.created_at),
            updated_at: from_ms(row.updated_at),
        })
    }
}

/// The sender with this id, of whichever workspace, and whose it is: for requests that show by a signature
/// with the sender's own secret that they may know.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn of_any(
    connection: &impl ConnectionTrait,
    id: SenderId,
) -> Result<Option<(WorkspaceId, Sender)>> {
    let found = sender::Entity::find_by_id(id.uuid())
        .one(connection)
        .await?;
    let Some(row) = found else {
        return Ok(None);
    };
    let workspace = WorkspaceId::from_uuid(row.workspace_id);
    Ok(Some((workspace, row.try_into()?)))
}

fn row(workspace: WorkspaceId, sender: &Sender) -> Result<sender::Model> {
    let corrupt = |error: serde_json::Error| StoreError::corrupt("sender", error);
    Ok(sender::Model {
        id: sender.id.uuid(),
        workspace_id: workspace.uuid(),
        name: sender.name.clone(),
        channel: sender.channel.to_string(),
        address: sender.address.clone(),
        domain: match sender.channel {
            Channel::Email => recipient_domain(&sender.address),
            _ => None,
        },
        enabled: sender.enabled,
        time_zone: sender.time_zone.clone(),
        daily_cap: sender.daily_cap,
        min_gap_ms: sender.pace.min_gap.num_milliseconds(),
        gap_jitter_ms: sender.pace.jitter.num_milliseconds(),
        warm_up: sender
            .warm_up
            .map(serde_json::to_value)
            .transpose()
            .map_err(corrupt)?,
        transport: serde_json::to_value(&sender.transport).map_err(corrupt)?,
        secret: sender.secret.clone(),
        tracking_url: sender.tracking_url.as_ref().map(ToString::to_string),
        tracking_host: sender.tracking_url.as_ref().map(BaseUrl::host),
        reply_to: sender.reply_to.clone(),
        tagged_replies: sender.tagged_replies,
        revision: sender.revision,
        next_free_at: sender.next_free_at.timestamp_millis(),
        unhealthy_until: sender.unhealthy_until.map(|at| at.timestamp_millis()),
        unhealthy_reason: sender.unhealthy_reason.clone(),
        failures: sender.failures,
        created_at: sender.created_at.timestamp_millis(),
        updated_at: sender.updated_at.timestamp_millis(),
    })
}

/// Enters a sender.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn insert(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: &Sender,
) -> Result<()> {
    let row = row(workspace, sender)?;
    sender::Entity::insert(row.into_active_model())
        .exec_without_returning(connection)
        .await?;
    Ok(())
}

/// Writes a sender back; its row must be locked by this transaction.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn save(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    sender: &Sender,
) -> Result<()> {
    row(workspace, sender)?
        .into_active_model()
        .reset_all()
        .update(tx)
        .await?;
    Ok(())
}

/// Those of the senders that are the workspace's, in no order.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn find_many(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    ids: &[SenderId],
) -> Result<Vec<Sender>> {
    sender::Entity::find()
        .filter(sender::Column::WorkspaceId.eq(workspace.uuid()))
        .filter(sender::Column::Id.is_in(ids.iter().map(|id| id.uuid())))
        .all(connection)
        .await?
        .into_iter()
        .map(Sender::try_from)
        .collect()
}

/// The sender with this id, if it is the workspace's; it cannot change before this transaction
/// ends.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn lock(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    id: SenderId,
) -> Result<Option<Sender>> {
    let statement = format!(
        "SELECT * FROM sender WHERE workspace_id = $1 AND id = $2 {}",
        dialect::for_update(tx, "sender")
    );
    let arguments = Arguments::new().with(workspace.uuid()).with(id.uuid());
    let row: Option<sender::Model> = sql::one(tx, &statement, arguments).await?;
    row.map(Sender::try_from).transpose()
}

/// The workspace's senders, in the order in which they were made.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn list(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    channel: Option<Channel>,
) -> Result<Vec<Sender>> {
    let mut query = sender::Entity::find()
        .filter(sender::Column::WorkspaceId.eq(workspace.uuid()))
        .order_by_asc(sender::Column::Id)
        .limit(SENDERS_MAX);
    if let Some(channel) = channel {
        query = query.filter(sender::Column::Channel.eq(<&str>::from(channel)));
    }
    query
        .all(connection)
        .await?
        .into_iter()
        .map(Sender::try_from)
        .collect()
}

/// Whose a host is, as far as senders have it for their marks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, FromQueryResult)]
pub struct HostOwners {
    /// A sender of the workspace that was asked for has it.
    pub is_own: bool,
    /// A sender of another workspace has it.
    pub is_of_others: bool,
    /// There is another workspace at all.
    pub has_neighbours: bool,
}

/// Whose a host is, seen from a workspace.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn owners_of_host(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    host: &str,
) -> Result<HostOwners> {
    let statement = "SELECT
             EXISTS (SELECT 1 FROM sender AS s
                 WHERE s.tracking_host = $2 AND s.workspace_id = $1) AS is_own,
             EXISTS (SELECT 1 FROM sender AS s
                 WHERE s.tracking_host = $2 AND s.workspace_id <> $1) AS is_of_others,
             EXISTS (SELECT 1 FROM workspace AS w WHERE w.id <> $1) AS has_neighbours";
    let arguments = Arguments::new().with(workspace.uuid()).with(host);
    let found: Option<HostOwners> = sql::one(connection, statement, arguments).await?;
    found.ok_or_else(|| StoreError::corrupt("host", "nothing was answered about it"))
}

/// How many senders the workspace has.
///
/// # Errors
/// [`StoreError`] as the database has it.
pub async fn count(connection: &impl ConnectionTrait, workspace: WorkspaceId) -> Result<i64> {
    sql::number(
        connection,
        "SELECT count(*) AS n FROM sender WHERE workspace_id = $1",
        Arguments::new().with(workspace.uuid()),
    )
    .await
}
