//! What came of a sequence, in counts of distinct leads.

use std::collections::HashMap;

use async_graphql::{Context, Object, Result, dataloader};

use super::context::ContextExt;
use super::loader::{LoadError, Loaders};
use crate::domain::id::SequenceId;
use crate::store;

/// What came of a sequence.
pub struct SequenceAnalytics(pub SequenceId);

/// What came of a sequence.
#[Object]
impl SequenceAnalytics {
    /// How many leads got how far.
    async fn funnel(&self) -> Funnel {
        Funnel(self.0)
    }
}

/// Counts of distinct leads: how many got how far.
pub struct Funnel(SequenceId);

/// Counts of distinct leads: how many got how far.
#[Object]
impl Funnel {
    /// Got at least one message.
    async fn contacted(&self, ctx: &Context<'_>) -> Result<i32> {
        let count = ctx
            .loaders()?
            .load_one(Contacted(self.0))
            .await?
            .unwrap_or(0);
        Ok(i32::try_from(count).unwrap_or(i32::MAX))
    }
}

/// The number of contacted leads of a sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct Contacted(SequenceId);

impl dataloader::Loader<Contacted> for Loaders {
    type Value = i64;
    type Error = LoadError;

    async fn load(&self, keys: &[Contacted]) -> Result<HashMap<Contacted, i64>, LoadError> {
        let ids: Vec<SequenceId> = keys.iter().map(|key| key.0).collect();
        let db = self.services.db.read();
        let counts = store::sequence::contacted(db, self.workspace, &ids).await?;
        Ok(counts
            .into_iter()
            .map(|(id, count)| (Contacted(id), count))
            .collect())
    }
}
