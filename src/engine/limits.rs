//! The workspace's limits: messages to one person, and emails to one recipient's domain, in a day of the
//! workspace's clock, whatever sequence and sender they come from.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;

use super::{Engine, Result};
use crate::domain::address::recipient_domain;
use crate::domain::flow::Channel;
use crate::domain::gate::{self, Gate};
use crate::domain::id::WorkspaceId;
use crate::domain::zone::Zone;
use crate::store::claim::DueLead;
use crate::store::dialect;
use crate::store::lane::{self, LaneRow, QuotaKey, QuotaKind, domain_subject};

/// The limits of a workspace.
#[derive(Debug, Clone)]
pub(super) struct Limits {
    zone: Zone,
    per_person: Option<u32>,
    per_domain: Option<u32>,
}

/// The daily counts of its workspace that a message adds to, at least one.
#[derive(Debug, Clone)]
pub struct Counted {
    /// The counts.
    pub keys: Vec<QuotaKey>,
    /// The clock of their day.
    pub zone: Zone,
}

/// What of the limits is used, and what a claim takes.
#[derive(Debug, Default)]
pub(super) struct Used {
    before: HashMap<QuotaKey, i64>,
    taken: HashMap<QuotaKey, i32>,
}

impl Engine {
    /// The limits of a lane's workspace.
    pub(super) fn limits(&self, row: &LaneRow) -> Limits {
        let cap = |cap: Option<i32>| cap.and_then(|cap| u32::try_from(cap).ok());
        Limits {
            zone: self
                .zones
                .get(&row.workspace_zone)
                .unwrap_or_else(Zone::utc),
            per_person: cap(row.per_person),
            per_domain: cap(row.per_domain),
        }
    }
}

impl Limits {
    /// Whether there are any.
    pub(super) const fn are_any(&self) -> bool {
        self.per_person.is_some() || self.per_domain.is_some()
    }

    /// The counts that a message to this lead's person adds to, each with its gate and its cap.
    pub(super) fn keys(
        &self,
        workspace: WorkspaceId,
        due: &DueLead,
        channel: Channel,
        now: DateTime<Utc>,
    ) -> Vec<(Gate, u32, QuotaKey)> {
        let mut keys = Vec::new();
        let key = |subject| QuotaKey::of(subject, QuotaKind::Sends, &self.zone, now);
        if let Some(cap) = self.per_person {
            keys.push((Gate::PersonFrequency, cap, key(due.lead.person_id)));
        }
        if let Some(cap) = self.per_domain
            && channel == Channel::Email
            && let Some(domain) = due.person.email.as_deref().and_then(recipient_domain)
        {
            let subject = domain_subject(workspace, &domain);
            keys.push((Gate::DomainCap, cap, key(subject)));
        }
        keys
    }

    /// What a message adds to by these counts.
    pub(super) fn counted(&self, keys: Vec<(Gate, u32, QuotaKey)>) -> Option<Counted> {
        let keys: Vec<QuotaKey> = keys.into_iter().map(|(_, _, key)| key).collect();
        let zone = self.zone.clone();
        (!keys.is_empty()).then_some(Counted { keys, zone })
    }

    /// When a message that would add to these counts may go; `None`, now.
    pub(super) fn closed_until(
        &self,
        used: &Used,
        keys: &[(Gate, u32, QuotaKey)],
        now: DateTime<Utc>,
    ) -> Option<DateTime<Utc>> {
        let closed = keys
            .iter()
            .filter_map(|(gate, cap, key)| gate::daily(*gate, *cap, used.of(key), &self.zone, now));
        closed.map(|closed| closed.until).max()
    }
}

/// Keeps other claims of a workspace with limits away until the transaction ends; `false` where another
/// one is under way, for which nobody waits.
pub(super) async fn keep_workspace(
    tx: &DatabaseTransaction,
    workspace: WorkspaceId,
) -> Result<bool> {
    Ok(dialect::try_keep(tx, workspace.uuid()).await?)
}

impl Used {
    /// Reads counts. Only claims raise them, and those of a workspace with limits go one after the
    /// other ([`keep_workspace`]), so that nobody else does before this transaction ends.
    pub(super) async fn read(
        &mut self,
        tx: &DatabaseTransaction,
        workspace: WorkspaceId,
        keys: Vec<QuotaKey>,
    ) -> Result<()> {
        let unknown = |key: &QuotaKey| !self.before.contains_key(key);
        let keys: Vec<QuotaKey> = keys.into_iter().filter(unknown).collect();
        if !keys.is_empty() {
            let read = lane::quotas_used(tx, workspace, &keys).await?;
            let read = |key: QuotaKey| (key.clone(), read.get(&key).copied().unwrap_or(0));
            self.before.extend(keys.into_iter().map(read));
        }
        Ok(())
    }

    fn of(&self, key: &QuotaKey) -> i64 {
        let before = self.before.get(key).copied().unwrap_or(0);
        before + i64::from(self.taken.get(key).copied().unwrap_or(0))
    }

    /// One message more.
    pub(super) fn take(&mut self, key: QuotaKey) {
        *self.taken.entry(key).or_default() += 1;
    }

    /// Writes down what was taken.
    pub(super) async fn write(
        self,
        tx: &DatabaseTransaction,
        workspace: WorkspaceId,
    ) -> Result<()> {
        Ok(lane::quota_add(tx, workspace, self.taken).await?)
    }
}
