//! What many resolvers ask of analytics at once.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use async_graphql::dataloader;

use crate::domain::analytics::{Filter, Report};
use crate::domain::id::SequenceId;
use crate::graphql::loader::{LoadError, Loaders};
use crate::store;

/// A sequence, and which of its messages count.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) sequence: SequenceId,
    pub(super) filter: Filter,
}

impl Hash for Asked {
    fn hash<H: Hasher>(&self, state: &mut H) {
        // Who asks for one sequence seldom asks under many filters.
        self.sequence.hash(state);
    }
}

impl dataloader::Loader<Asked> for Loaders {
    type Value = Arc<Report>;
    type Error = LoadError;

    async fn load(&self, keys: &[Asked]) -> Result<HashMap<Asked, Self::Value>, LoadError> {
        let asked = keys.iter().map(|key| (key.sequence, key.filter.clone()));
        let reports = self
            .services
            .analytics
            .reports(self.workspace, asked.collect())
            .await?;
        Ok(keys.iter().cloned().zip(reports).collect())
    }
}

/// The time zone of the caller's workspace.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct OwnZone;

impl dataloader::Loader<OwnZone> for Loaders {
    type Value = String;
    type Error = LoadError;

    async fn load(&self, _: &[OwnZone]) -> Result<HashMap<OwnZone, String>, LoadError> {
        let found = store::workspace::find(self.services.db.read(), self.workspace).await?;
        Ok(found
            .map(|row| (OwnZone, row.time_zone))
            .into_iter()
            .collect())
    }
}
