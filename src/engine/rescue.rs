//! Rescue: what a dead worker held is taken back.
//!
//! What it was sending may or may not have left: it is UNCONFIRMED. The worker's row goes in the same
//! transaction, so that a worker that was only asleep can do nothing with what it held, but tell
//! how it ended.

use chrono::{DateTime, Utc};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

use super::record::Recording;
use super::{Engine, Result};
use crate::domain::flow::Channel;
use crate::domain::id::WorkspaceId;
use crate::store::StoreError;
use crate::store::dispatch::{self as rows, OpenExecution};
use crate::store::worker;

impl Engine {
    /// Becomes a worker. A process that has its database to itself also takes back, at once, what
    /// was held when it last ended.
    ///
    /// # Errors
    /// As the database has it.
    pub async fn join(&self) -> Result<()> {
        self.rescue(!self.db.is_shared()).await?;
        self.enter().await
    }

    /// Takes a new name and a lease; what this process held under its old name is given up.
    ///
    /// # Errors
    /// As the database has it.
    pub async fn enter(&self) -> Result<()> {
        let now = self.clock.now();
        let worker = self.entropy.id(now);
        worker::register(self.db.write(), worker, now, self.lease_end()).await?;
        self.set_worker(worker);
        Ok(())
    }

    /// Prolongs the lease. A worker that was given up takes a new name and goes on.
    ///
    /// # Errors
    /// As the database has it.
    pub async fn prolong(&self) -> Result<()> {
        if self.astray.load(Ordering::SeqCst) {
            tracing::warn!(worker.id = %self.worker(),
                "this worker lost track of a message; it goes on under a new name");
            self.enter().await?;
            self.astray.store(false, Ordering::SeqCst);
        } else if !worker::prolong(self.db.write(), self.worker(), self.lease_end()).await? {
            tracing::warn!(worker.id = %self.worker(),
                "this worker was given up by the others; it goes on under a new name");
            self.enter().await?;
        }
        Ok(())
    }

    /// Stops being a worker. What is in flight all the same is rescued when the lease has run out.
    ///
    /// # Errors
    /// As the database has it.
    pub async fn leave(&self) -> Result<()> {
        Ok(worker::sign_off(self.db.write(), self.worker()).await?)
    }

    /// Takes back what workers held whose lease has run out, and with `everyone` what any worker
    /// held. Answers how many executions were taken back.
    ///
    /// # Errors
    /// As the database has it.
    pub async fn rescue(&self, everyone: bool) -> Result<usize> {
        let mut rescued = 0;
        // One worker for a transaction; each ends with one worker fewer.
        while let Some(count) = self.rescue_one(everyone).await? {
            rescued += count;
        }
        Ok(rescued)
    }

    async fn rescue_one(&self, everyone: bool) -> Result<Option<usize>> {
        let tx = self.db.begin().await?;
        let expired = worker::expired(&tx, self.clock.now(), everyone).await?;
        let Some(dead) = expired.first().copied() else {
            tx.rollback().await.map_err(StoreError::from)?;
            return Ok(None);
        };
        let open = rows::open_of_worker(&tx, dead).await?;
        let count = open.len();
        self.take_back(&tx, open).await?;
        worker::remove(&tx, dead).await?;
        tx.commit().await.map_err(StoreError::from)?;
        if count > 0 {
            tracing::warn!(worker.id = %dead, executions = count, "took back what a worker held");
            self.wake.log();
        }
        // What it held of bulk operations is free as well.
        self.wake.due();
        Ok(Some(count))
    }

    async fn take_back(
        &self,
        tx: &sea_orm::DatabaseTransaction,
        open: Vec<OpenExecution>,
    ) -> Result<()> {
        let mut by_workspace: BTreeMap<WorkspaceId, Vec<OpenExecution>> = BTreeMap::new();
        for one in open {
            by_workspace.entry(one.workspace).or_default().push(one);
        }
        for (workspace, open) in by_workspace {
            let mut recording = Recording::new(self, workspace);
            for one in open {
                // A request that was perhaps made is made again, under the same id.
                if one.channel == Some(Channel::Webhook) && one.sender_id.is_none() {
                    recording.released(one, None)?;
                } else {
                    recording.ambiguous(one, "the process died while sending it")?;
                }
            }
            recording.write(tx).await?;
        }
        Ok(())
    }

    /// The lease is real time, whatever the clock shows.
    fn lease_end(&self) -> DateTime<Utc> {
        self.clock.after_real(self.config.lease)
    }
}
