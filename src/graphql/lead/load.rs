//! What many resolvers ask of leads at once.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::dataloader;

use super::LeadCounts;
use crate::domain::id::{LeadId, PersonId, SequenceId};
use crate::graphql::loader::{LoadError, Loaders};
use crate::store;
use crate::store::lead::Part;

impl dataloader::Loader<LeadId> for Loaders {
    type Value = Arc<store::lead::Row>;
    type Error = LoadError;

    async fn load(&self, ids: &[LeadId]) -> Result<HashMap<LeadId, Self::Value>, LoadError> {
        let rows = store::lead::find_many(self.services.db.read(), self.workspace, ids).await?;
        let admitted = |row: &store::lead::Row| {
            let sequence = SequenceId::from_uuid(row.sequence_id);
            self.caller.scope.admits(sequence)
        };
        Ok(rows
            .into_iter()
            .filter(admitted)
            .map(|row| (LeadId::from_uuid(row.id), Arc::new(row)))
            .collect())
    }
}

/// The counts of a sequence's leads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct CountsOf(pub(super) SequenceId);

impl dataloader::Loader<CountsOf> for Loaders {
    type Value = LeadCounts;
    type Error = LoadError;

    async fn load(&self, keys: &[CountsOf]) -> Result<HashMap<CountsOf, LeadCounts>, LoadError> {
        let ids: Vec<SequenceId> = keys.iter().map(|key| key.0).collect();
        let db = self.services.db.read();
        let mut found: HashMap<CountsOf, LeadCounts> = HashMap::new();
        for (id, status, n) in store::lead::lead_counts(db, self.workspace, &ids).await? {
            let counts = found.entry(CountsOf(id)).or_default();
            counts.add(status, n);
        }
        Ok(found)
    }
}

/// A part of the leads of a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LeadsOf(pub(super) PersonId, pub(super) Part);

impl dataloader::Loader<LeadsOf> for Loaders {
    type Value = Vec<store::lead::Row>;
    type Error = LoadError;

    async fn load(&self, keys: &[LeadsOf]) -> Result<HashMap<LeadsOf, Self::Value>, LoadError> {
        let mut by_part: HashMap<Part, Vec<PersonId>> = HashMap::new();
        for LeadsOf(person, part) in keys {
            by_part.entry(*part).or_default().push(*person);
        }
        let mut found: HashMap<LeadsOf, Self::Value> = HashMap::new();
        for (part, people) in by_part {
            let db = self.services.db.read();
            for row in store::lead::of_people(db, self.workspace, &self.caller.scope, &people, part)
                .await?
            {
                let key = LeadsOf(PersonId::from_uuid(row.person_id), part);
                found.entry(key).or_default().push(row);
            }
        }
        Ok(found)
    }
}
