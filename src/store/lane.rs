//! Lanes: where due work is looked for.
//!
//! A lane is a published sequence and one of its senders. For each lane the earliest due follow-up
//! and the earliest due first message are one index probe each, so the survey costs the number of
//! lanes, never the number of leads that wait.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use ring::digest::{Context, SHA256};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use strum::EnumString;
use uuid::Uuid;

use super::claim::parse;
use super::dkim::SIGNS;
use super::sql::{self, Arguments};
use super::{Result, dialect};
use crate::domain::id::{SenderId, SequenceId, VersionId, WorkspaceId};
use crate::domain::schedule::local_day;
use crate::domain::zone::Zone;

mod follow_ups;
mod offered;

pub use self::follow_ups::{COUNTED_MAX, FollowUps, follow_ups};
pub use self::offered::{Offered, offered};

/// A lane and the earliest work in it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct LaneRow {
    /// The workspace.
    pub workspace_id: Uuid,
    /// The published sequence.
    pub sequence_id: Uuid,
    /// Its published version.
    pub version_id: Uuid,
    /// The sender; none for the sequence's own lane, of steps that need none.
    pub sender_id: Option<Uuid>,
    /// The workspace's clock.
    pub workspace_zone: String,
    /// The most messages to one person in a day of it.
    pub per_person: Option<i32>,
    /// The most emails to one domain in a day of it.
    pub per_domain: Option<i32>,
    /// When the earliest follow-up is due.
    pub follow_up_due: Option<i64>,
    /// When the earliest first message is due.
    pub first_due: Option<i64>,
}

impl LaneRow {
    /// When its earliest lead is due.
    pub fn earliest(&self) -> Option<i64> {
        self.follow_up_due.into_iter().chain(self.first_due).min()
    }
}

/// When the earliest lead of a lane is due, by its turn.
fn earliest(lane: &str, turn: u8) -> String {
    format!(
        "SELECT min(l.due_at) FROM lead l WHERE {lane} AND l.sequence_id = q.id
           AND l.turn = {turn} AND l.due_at IS NOT NULL AND l.worker_id IS NULL"
    )
}

/// The limits of the workspace `w`.
const LIMITS: &str = "w.time_zone AS workspace_zone,
    w.max_messages_per_person_per_day AS per_person,
    w.max_messages_per_domain_per_day AS per_domain";

/// Every lane of a published sequence that has leads waiting. Those of a sender that is switched off are
/// among them: others may take its first messages.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn survey(connection: &impl ConnectionTrait) -> Result<Vec<LaneRow>> {
    let statement = format!(
        "SELECT * FROM (
             SELECT lane.workspace_id, lane.sequence_id, q.published_version_id AS version_id,
                    lane.sender_id, {LIMITS},
                    ({}) AS follow_up_due, ({}) AS first_due
             FROM lane
             JOIN sequence q ON q.id = lane.sequence_id AND q.status = 'PUBLISHED'
             JOIN workspace w ON w.id = q.workspace_id
             UNION ALL
             SELECT q.workspace_id, q.id AS sequence_id, q.published_version_id AS version_id,
                    NULL AS sender_id, {LIMITS},
                    ({}) AS follow_up_due, ({}) AS first_due
             FROM sequence q JOIN workspace w ON w.id = q.workspace_id
             WHERE q.status = 'PUBLISHED'
         ) AS surveyed
         WHERE follow_up_due IS NOT NULL OR first_due IS NOT NULL",
        earliest("l.sender_id = lane.sender_id", 0),
        earliest("l.sender_id = lane.sender_id", 1),
        earliest("l.sender_id IS NULL", 0),
        earliest("l.sender_id IS NULL", 1),
    );
    sql::all(connection, &statement, Arguments::new()).await
}

/// A published version, as the database has it.
#[derive(Debug, Clone, FromQueryResult)]
pub struct VersionRow {
    /// Its workspace.
    pub workspace_id: Uuid,
    /// Its sequence.
    pub sequence_id: Uuid,
    /// Its flow.
    pub flow: serde_json::Value,
    /// Its settings.
    pub settings: serde_json::Value,
    /// Where leads go that come back to a step which is gone.
    pub removed: Option<serde_json::Value>,
}

/// The version with this id.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn version(
    connection: &impl ConnectionTrait,
    id: VersionId,
) -> Result<Option<VersionRow>> {
    let statement = "SELECT workspace_id, sequence_id, flow, settings, removed
         FROM sequence_version WHERE id = $1";
    sql::one(connection, statement, Arguments::new().with(id.uuid())).await
}

/// What the engine has to know of a sender.
#[derive(Debug, Clone, FromQueryResult)]
pub struct SenderRow {
    /// Its id.
    pub id: Uuid,
    /// Its workspace.
    pub workspace_id: Uuid,
    /// What it sends.
    pub channel: String,
    /// The name that recipients see.
    pub name: String,
    /// The address that recipients see.
    pub address: String,
    /// The clock that its day and, where so set, its windows follow.
    pub time_zone: String,
    /// The most messages in a day.
    pub daily_cap: Option<i32>,
    /// At least so long between two messages.
    pub min_gap_ms: i64,
    /// The most that is added to it by chance.
    pub gap_jitter_ms: i64,
    /// The growth of the cap.
    pub warm_up: Option<serde_json::Value>,
    /// How it sends.
    pub transport: serde_json::Value,
    /// The sealed password.
    pub secret: Option<String>,
    /// By which address the marks in its emails are reached.
    pub tracking_url: Option<String>,
    /// Where answers to its emails are asked for, where that is elsewhere.
    pub reply_to: Option<String>,
    /// Whether answers are asked for at an address with a tag.
    pub tagged_replies: bool,
    /// The key by which its emails are signed; read only where it is kept.
    pub dkim_key_id: Option<Uuid>,
    /// In the name of which domain.
    pub dkim_domain: Option<String>,
    /// Where the key is published.
    pub dkim_selector: Option<String>,
    /// The key, sealed.
    pub dkim_secret: Option<String>,
    /// Grows with every change.
    pub revision: i32,
    /// When its pace lets the next message go.
    pub next_free_at: i64,
    /// Until when it is left alone after trouble of its own.
    pub unhealthy_until: Option<i64>,
    /// How often in a row it had trouble of its own.
    pub failures: i32,
}

const SENDER_COLUMNS: &str =
    "d.id, d.workspace_id, d.channel, d.name, d.address, d.time_zone, d.daily_cap,
    d.min_gap_ms, d.gap_jitter_ms, d.warm_up, d.transport, d.secret,
    d.tracking_url, d.reply_to, d.tagged_replies, d.revision, d.next_free_at,
    d.unhealthy_until, d.failures";
/// The key by which it signs, `k`.
const KEY_COLUMNS: &str = "k.id AS dkim_key_id, k.domain AS dkim_domain,
    k.selector AS dkim_selector, k.secret AS dkim_secret";
/// The same where nothing is to be signed.
const NO_KEY: &str = "CAST(NULL AS uuid) AS dkim_key_id, CAST(NULL AS text) AS dkim_domain,
    CAST(NULL AS text) AS dkim_selector, CAST(NULL AS text) AS dkim_secret";

/// The senders with these ids that are switched on, without the keys by which they sign.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn senders(
    connection: &impl ConnectionTrait,
    ids: &[SenderId],
) -> Result<Vec<SenderRow>> {
    let mut arguments = Arguments::new();
    let list = arguments.list(ids.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT {SENDER_COLUMNS}, {NO_KEY} FROM sender d WHERE d.id IN ({list}) AND d.enabled"
    );
    sql::all(connection, &statement, arguments).await
}

/// Keeps a sender from other claims, so that no other node reckons with its caps meanwhile, and as it
/// is, so that nobody switches it off before the claim is committed. `None`: another node has it just
/// now, or somebody is changing it, or it is switched off. A claim waits for nobody: much would wait
/// for the claim.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep_sender(tx: &impl ConnectionTrait, id: SenderId) -> Result<Option<SenderRow>> {
    // Read by a statement of its own: one that began before it was kept might see the pace as it
    // was before the last claim.
    if !dialect::try_keep(tx, id.uuid()).await? {
        return Ok(None);
    }
    let statement = format!(
        "SELECT {SENDER_COLUMNS}, {KEY_COLUMNS} FROM sender d LEFT JOIN dkim_key k ON k.id = {SIGNS}
        WHERE d.id = $1 AND d.enabled {}",
        dialect::for_share_skip_locked(tx, "d")
    );
    sql::one(tx, &statement, Arguments::new().with(id.uuid())).await
}

/// The versions that those of the sequences run which are published; none of them is published anew
/// or disabled before the transaction ends. One that is being published or disabled just now is left
/// out.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep_published(
    tx: &impl ConnectionTrait,
    sequences: &[SequenceId],
) -> Result<Vec<VersionId>> {
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, sequences.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT q.published_version_id AS id FROM sequence q
         WHERE q.id {list} AND q.status = 'PUBLISHED' ORDER BY q.id {}",
        dialect::for_share_skip_locked(tx, "q")
    );
    let ids = sql::ids(tx, &statement, arguments).await?;
    Ok(ids.into_iter().map(VersionId::from_uuid).collect())
}

/// The versions that these sequences run, published or disabled. Nothing is published anew before the
/// transaction ends: a lead that is recorded meanwhile would go on by the old version, and whoever
/// publishes would not see it. To be asked before any lead is locked, as publishing does.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn running_versions(
    tx: &impl ConnectionTrait,
    sequences: &[SequenceId],
) -> Result<Vec<VersionId>> {
    let mut arguments = Arguments::new();
    let list = arguments.among(tx, sequences.iter().map(|id| id.uuid()));
    let statement = format!(
        "SELECT q.published_version_id AS id FROM sequence q
         WHERE q.id {list} AND q.published_version_id IS NOT NULL ORDER BY q.id {}",
        dialect::for_share(tx, "q")
    );
    let ids = sql::ids(tx, &statement, arguments).await?;
    Ok(ids.into_iter().map(VersionId::from_uuid).collect())
}

/// Keeps the sequences of the leads `l` that a condition holds for from being published anew before the
/// transaction ends. To be asked before several leads are locked: publishing locks the sequence first
/// and then leads, step by step, and the two might else wait for each other.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn keep_sequences_of(
    tx: &impl ConnectionTrait,
    condition: &str,
    arguments: Arguments,
) -> Result<()> {
    if !dialect::is_shared(tx) {
        return Ok(());
    }
    let statement = format!(
        "SELECT q.id FROM sequence q
         WHERE q.id IN (SELECT l.sequence_id FROM lead l WHERE {condition}) ORDER BY q.id {}",
        dialect::for_share(tx, "q")
    );
    sql::ids(tx, &statement, arguments).await?;
    Ok(())
}

/// What a daily cap counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, EnumString)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum QuotaKind {
    /// Leads that get their first message.
    NewLeads,
    /// Messages.
    Sends,
}

impl QuotaKind {
    /// As the database has it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Sends => "SENDS",
            Self::NewLeads => "NEW_LEADS",
        }
    }
}

/// A daily count: of a sender or a sequence, on a day of its own clock.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct QuotaKey {
    /// The sender or the sequence.
    pub subject: Uuid,
    /// What is counted.
    pub kind: QuotaKind,
    /// The day, YYYY-MM-DD.
    pub day: String,
}

impl QuotaKey {
    /// The count of a sender's or a sequence's messages, or new leads, on the day of its clock that
    /// holds `now`.
    pub fn of(subject: Uuid, kind: QuotaKind, zone: &Zone, now: DateTime<Utc>) -> Self {
        let day = quota_day(now, zone);
        Self { subject, kind, day }
    }
}

/// The subject under which emails to a domain are counted in a workspace: domains have no ids, so a
/// digest of the name stands for one.
pub fn domain_subject(workspace: WorkspaceId, domain: &str) -> Uuid {
    let mut digest = Context::new(&SHA256);
    digest.update(workspace.uuid().as_bytes());
    digest.update(domain.as_bytes());
    let mut bytes = [0; 16];
    for (to, from) in bytes.iter_mut().zip(digest.finish().as_ref()) {
        *to = *from;
    }
    Uuid::from_bytes(bytes)
}

/// The day of a clock that holds `now`, YYYY-MM-DD.
pub fn quota_day(now: DateTime<Utc>, zone: &Zone) -> String {
    local_day(now, zone).format("%Y-%m-%d").to_string()
}

/// How much of some daily counts of a workspace is used; those of which nothing is are left out.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn quotas_used(
    connection: &impl ConnectionTrait,
    workspace: WorkspaceId,
    keys: &[QuotaKey],
) -> Result<HashMap<QuotaKey, i64>> {
    let mut arguments = Arguments::new();
    let rows = arguments.table(connection, keys.iter().map(|key| row(workspace, key, 0)));
    let statement = format!(
        "WITH v (subject_id, kind, day, workspace_id, used) AS ({rows})
         SELECT q.subject_id, q.kind, q.day, q.used FROM quota q
         JOIN v ON q.subject_id = v.subject_id AND q.kind = v.kind AND q.day = v.day
           AND q.workspace_id = v.workspace_id"
    );
    read_quotas(sql::all(connection, &statement, arguments).await?)
}

/// How much of a daily count is used.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn quota_used(connection: &impl ConnectionTrait, key: &QuotaKey) -> Result<i64> {
    sql::number(
        connection,
        "SELECT CAST(used AS BIGINT) AS n FROM quota
         WHERE subject_id = $1 AND kind = $2 AND day = $3",
        Arguments::new()
            .with(key.subject)
            .with(key.kind.as_str())
            .with(key.day.as_str()),
    )
    .await
}

/// How much of these daily counts is used; nobody else changes them before the transaction ends.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn quotas_locked(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    mut keys: Vec<QuotaKey>,
) -> Result<HashMap<QuotaKey, i64>> {
    keys.sort_unstable();
    keys.dedup();
    let none_yet = keys.iter().map(|key| row(workspace, key, 0));
    let mut arguments = Arguments::new();
    let rows = arguments.table(tx, none_yet);
    let statement = format!(
        "INSERT INTO quota (subject_id, kind, day, workspace_id, used) {rows}
         ON CONFLICT (subject_id, kind, day) DO NOTHING"
    );
    sql::execute(tx, &statement, arguments).await?;
    lock_quotas(tx, workspace, &keys).await
}

/// Locks those of the daily counts that there are, in one order for everybody, so that two claims or
/// records never wait for each other in a circle.
async fn lock_quotas(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    keys: &[QuotaKey],
) -> Result<HashMap<QuotaKey, i64>> {
    let mut arguments = Arguments::new();
    let rows = arguments.table(tx, keys.iter().map(|key| row(workspace, key, 0)));
    let statement = format!(
        "WITH v (subject_id, kind, day, workspace_id, used) AS ({rows})
         SELECT q.subject_id, q.kind, q.day, q.used FROM quota q
         JOIN v ON q.subject_id = v.subject_id AND q.kind = v.kind AND q.day = v.day
         ORDER BY q.subject_id, q.kind, q.day {}",
        dialect::for_update(tx, "q")
    );
    read_quotas(sql::all(tx, &statement, arguments).await?)
}

fn read_quotas(found: Vec<Used>) -> Result<HashMap<QuotaKey, i64>> {
    found
        .into_iter()
        .map(|row| {
            let key = QuotaKey {
                subject: row.subject_id,
                kind: parse("kind of quota", &row.kind)?,
                day: row.day,
            };
            Ok((key, i64::from(row.used)))
        })
        .collect()
}

#[derive(FromQueryResult)]
struct Used {
    subject_id: Uuid,
    kind: String,
    day: String,
    used: i32,
}

fn row(workspace: WorkspaceId, key: &QuotaKey, amount: i32) -> [Value; 5] {
    [
        key.subject.into(),
        key.kind.as_str().into(),
        key.day.as_str().into(),
        workspace.uuid().into(),
        amount.into(),
    ]
}

/// Changes daily counts by these amounts; a refund is negative. A count never falls below zero.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn quota_add(
    tx: &impl ConnectionTrait,
    workspace: WorkspaceId,
    amounts: impl IntoIterator<Item = (QuotaKey, i32)>,
) -> Result<()> {
    let mut amounts: Vec<_> = amounts.into_iter().collect();
    amounts.sort_unstable();
    let (uses, refunds): (Vec<_>, Vec<_>) = amounts
        .into_iter()
        .filter(|(_, amount)| *amount != 0)
        .partition(|(_, amount)| *amount > 0);
    if !uses.is_empty() {
        let mut arguments = Arguments::new();
        let rows = arguments.table(
            tx,
            uses.iter()
                .map(|(key, amount)| row(workspace, key, *amount)),
        );
        let statement = format!(
            "INSERT INTO quota (subject_id, kind, day, workspace_id, used) {rows}
             ON CONFLICT (subject_id, kind, day) DO UPDATE SET used = quota.used + excluded.used"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    if !refunds.is_empty() {
        let keys: Vec<QuotaKey> = refunds.iter().map(|(key, _)| key.clone()).collect();
        lock_quotas(tx, workspace, &keys).await?;
        let mut arguments = Arguments::new();
        let amounts = refunds
            .iter()
            .map(|(key, amount)| row(workspace, key, *amount));
        let rows = arguments.table(tx, amounts);
        let statement = format!(
            "WITH v (subject_id, kind, day, workspace_id, amount) AS ({rows})
             UPDATE quota SET used = CASE WHEN used + v.amount > 0 THEN used + v.amount ELSE 0 END
             FROM v WHERE quota.subject_id = v.subject_id AND quota.kind = v.kind
               AND quota.day = v.day AND quota.workspace_id = v.workspace_id"
        );
        sql::execute(tx, &statement, arguments).await?;
    }
    Ok(())
}

/// Whether a message of the sender is on its way.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn is_sending(tx: &impl ConnectionTrait, sender: SenderId) -> Result<bool> {
    let statement = "SELECT CAST(count(*) AS BIGINT) AS n FROM execution
         WHERE sender_id = $1 AND worker_id IS NOT NULL";
    Ok(sql::number(tx, statement, Arguments::new().with(sender.uuid())).await? > 0)
}

/// Notes that a sender's pace lets its next message go so long from now, or as soon as its pace does by
/// now, if that was shortened meanwhile.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn set_next_free(
    tx: &impl ConnectionTrait,
    sender: SenderId,
    now_ms: i64,
    gap_ms: i64,
) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE sender SET next_free_at = $1 + CASE WHEN min_gap_ms + gap_jitter_ms < $2
             THEN min_gap_ms + gap_jitter_ms ELSE $2 END
         WHERE id = $3",
        Arguments::new()
            .with(now_ms)
            .with(gap_ms)
            .with(sender.uuid()),
    )
    .await?;
    Ok(())
}

/// Notes trouble of a sender's own, so that it is left alone for a while.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn set_unhealthy(
    tx: &impl ConnectionTrait,
    sender: SenderId,
    until_ms: i64,
    reason: &str,
) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE sender SET unhealthy_until = $1, unhealthy_reason = $2, failures = failures + 1
         WHERE id = $3",
        Arguments::new()
            .with(until_ms)
            .with(reason)
            .with(sender.uuid()),
    )
    .await?;
    Ok(())
}

/// Switches a sender off; `false` where it was already.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn switch_off(tx: &impl ConnectionTrait, sender: SenderId, now_ms: i64) -> Result<bool> {
    let statement = "UPDATE sender SET enabled = FALSE, updated_at = $1, revision = revision + 1
         WHERE id = $2 AND enabled";
    let arguments = Arguments::new().with(now_ms).with(sender.uuid());
    Ok(sql::execute(tx, statement, arguments).await? > 0)
}

/// Notes that a sender works.
///
/// # Errors
/// [`super::StoreError`] as the database has it.
pub async fn set_healthy(tx: &impl ConnectionTrait, sender: SenderId) -> Result<()> {
    sql::execute(
        tx,
        "UPDATE sender SET unhealthy_until = NULL, unhealthy_reason = NULL, failures = 0
         WHERE id = $1 AND failures > 0",
        Arguments::new().with(sender.uuid()),
    )
    .await?;
    Ok(())
}
