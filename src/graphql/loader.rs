//! Loads what many resolvers of one request ask for in one query for each kind.
//!
//! Each feature implements [`async_graphql::dataloader::Loader`] for its ids beside its types. A
//! loader is bound to the caller's workspace: an id of another workspace is like one that is not
//! there. Nothing is kept between requests.

use std::sync::Arc;

use async_graphql::dataloader::DataLoader;

use crate::app::Services;
use crate::domain::id::WorkspaceId;
use crate::store::StoreError;

/// What the loaders of a request work with.
pub struct Loaders {
    /// The services of the process.
    pub services: Services,
    /// The caller's workspace; every statement is bound to it.
    pub workspace: WorkspaceId,
}

/// Why a loader failed: one failure for all who asked at once. `?` turns it into the answer.
pub type LoadError = Arc<StoreError>;

/// The loaders of one request.
pub fn loaders(services: &Services, workspace: WorkspaceId) -> DataLoader<Loaders> {
    // A batch of a request belongs to whoever waits for it, and ends with its one statement.
    DataLoader::new(
        Loaders {
            services: services.clone(),
            workspace,
        },
        tokio::spawn,
    )
}
