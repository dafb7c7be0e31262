//! Published versions made ready to run, each once.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use sea_orm::ConnectionTrait;

use super::{Engine, EngineError, Result};
use crate::domain::flow::{Answer, CompiledFlow, CompiledStep, Flow, RemovedSteps};
use crate::domain::id::{SequenceId, VersionId, WorkspaceId};
use crate::domain::settings::Settings;
use crate::domain::zone::Zone;
use crate::store::lane;
use crate::store::sequence::version::read_removed;

/// How many versions are kept ready; beyond it the cache starts anew.
const VERSIONS_MAX: usize = 2_000;

/// A published version, ready to run.
#[derive(Debug)]
pub struct RunningVersion {
    /// Its id.
    pub id: VersionId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// Its sequence.
    pub sequence_id: SequenceId,
    /// Its steps.
    pub flow: CompiledFlow,
    /// Where leads go that come back to a step which is gone.
    pub removed: RemovedSteps,
    /// Its settings.
    pub settings: Settings,
    /// The sequence's clock.
    pub zone: Zone,
}

impl RunningVersion {
    /// The step after `step`, by its only way out, that `current` still has: a sequence may have been
    /// published again while a message of its older version was on its way.
    pub fn next_in<'a>(&self, current: &'a Self, step: &str) -> Option<&'a CompiledStep> {
        self.flow.next_in(&current.flow, step, Answer::Next)
    }
}

#[derive(Default)]
pub(super) struct VersionCache(Mutex<HashMap<VersionId, Arc<RunningVersion>>>);

impl Engine {
    /// The version with this id, read and compiled at most once.
    ///
    /// # Errors
    /// [`EngineError::Version`] for one that cannot be run, [`EngineError::Store`] as the database
    /// has it.
    pub async fn version(
        &self,
        connection: &impl ConnectionTrait,
        id: VersionId,
    ) -> Result<Arc<RunningVersion>> {
        if let Some(known) = self.known_version(id) {
            return Ok(known);
        }
        let row = lane::version(connection, id).await?;
        let unusable = |reason: String| EngineError::Version {
            version: id,
            reason,
        };
        let row = row.ok_or_else(|| unusable("it is not in the database".into()))?;
        let removed = read_removed(row.removed).map_err(|error| unusable(error.to_string()))?;
        let flow: Flow =
            serde_json::from_value(row.flow).map_err(|error| unusable(error.to_string()))?;
        let settings: Settings =
            serde_json::from_value(row.settings).map_err(|error| unusable(error.to_string()))?;
        let flow = CompiledFlow::compile(&flow).map_err(|error| unusable(error.to_string()))?;
        let zone = self
            .zones
            .get(&settings.time_zone)
            .ok_or_else(|| unusable(format!("unknown time zone {}", settings.time_zone)))?;
        let version = Arc::new(RunningVersion {
            id,
            workspace: WorkspaceId::from_uuid(row.workspace_id),
            sequence_id: SequenceId::from_uuid(row.sequence_id),
            flow,
            removed,
            settings,
            zone,
        });
        let mut cache = self
            .versions
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        if cache.len() >= VERSIONS_MAX {
            cache.clear();
        }
        cache.insert(id, Arc::clone(&version));
        Ok(version)
    }

    fn known_version(&self, id: VersionId) -> Option<Arc<RunningVersion>> {
        let cache = self
            .versions
            .0
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        cache.get(&id).map(Arc::clone)
    }
}
