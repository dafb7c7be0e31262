//! What a contact wrote to a lead, in the API.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{SimpleObject, dataloader};

use crate::domain::id::LeadId;
use crate::graphql::loader::{LoadError, Loaders};
use crate::graphql::scalar::DateTime;
use crate::store::inbound;

/// What a contact wrote.
#[derive(SimpleObject, Debug, Clone)]
pub struct Reply {
    /// When it was taken in.
    received_at: DateTime,
    /// The address from which it came; null where it names none.
    from: Option<String>,
    /// Its subject; null where it has none.
    subject: Option<String>,
    /// What is new in it, without quotation and signature, at most 20000 characters; null where that is
    /// nothing.
    text: Option<String>,
}

/// What the contact of a lead wrote last.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct LastReplyOf(pub(super) LeadId);

impl dataloader::Loader<LastReplyOf> for Loaders {
    type Value = Arc<Reply>;
    type Error = LoadError;

    async fn load(
        &self,
        keys: &[LastReplyOf],
    ) -> Result<HashMap<LastReplyOf, Self::Value>, LoadError> {
        let leads: Vec<LeadId> = keys.iter().map(|key| key.0).collect();
        let rows = inbound::last_replies(self.services.db.read(), self.workspace, &leads).await?;
        let found = rows.into_iter().filter_map(|row| {
            let reply = Reply {
                received_at: DateTime::from_ms(row.received_at),
                from: row.from_address,
                subject: row.subject.filter(|subject| !subject.is_empty()),
                text: row.text,
            };
            Some((
                LastReplyOf(LeadId::from_uuid(row.lead_id?)),
                Arc::new(reply),
            ))
        });
        Ok(found.collect())
    }
}
