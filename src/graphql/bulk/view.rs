//! Following one operation: a state whenever it changed, not too often, and the last one.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Result;
use tokio::sync::watch;

use super::BulkOperation;
use crate::app::Services;
use crate::domain::id::{BulkId, WorkspaceId};
use crate::store::{self, StoreError};

/// The shortest time between two states of an operation that a subscription shows.
const SHOW_EVERY: Duration = Duration::from_millis(250);
/// A subscription reads its operation again at least this often, should a bell have been missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(1);

/// A subscriber's view of one operation.
pub(super) struct View {
    services: Services,
    workspace: WorkspaceId,
    bell: watch::Receiver<()>,
    /// What the subscriber was shown last.
    shown: Option<store::bulk::Row>,
    /// What it is shown next, where that is known already.
    next: Option<store::bulk::Row>,
}

impl View {
    /// The view of a subscriber to whom nothing was shown yet; `row` is what comes first, and
    /// `bell` was there before it was read.
    pub(super) const fn new(
        services: Services,
        workspace: WorkspaceId,
        bell: watch::Receiver<()>,
        row: store::bulk::Row,
    ) -> Self {
        Self {
            services,
            workspace,
            bell,
            shown: None,
            next: Some(row),
        }
    }

    /// Waits for the next state to show; `None` after the last one.
    pub(super) async fn advance(mut self) -> Option<(Result<BulkOperation>, Self)> {
        let row = match self.next.take() {
            Some(row) => row,
            None => match self.changed().await {
                Ok(row) => row?,
                Err(error) => {
                    // The stream ends after an error: nothing more is shown.
                    self.shown = None;
                    return Some((Err(error.into()), self));
                }
            },
        };
        self.shown = Some(row.clone());
        Some((Ok(BulkOperation(Arc::new(row))), self))
    }

    /// The operation once it looks otherwise than it was shown; `None` if it was over by then or
    /// nothing was shown.
    async fn changed(&mut self) -> Result<Option<store::bulk::Row>, StoreError> {
        let Some(shown) = self
            .shown
            .clone()
            .filter(|shown| shown.finished_at.is_none())
        else {
            return Ok(None);
        };
        let id = BulkId::from_uuid(shown.id);
        loop {
            // Other operations ring the same bell, some of them all the time.
            self.services.clock.sleep_real(SHOW_EVERY).await;
            // What is committed from here on rings the bell again.
            self.bell.mark_unchanged();
            let db = self.services.db.read();
            match store::bulk::look(db, self.workspace, id).await? {
                Some(now) if now.is_of(&shown) => {}
                _ => return store::bulk::find(db, self.workspace, id).await,
            }
            // Both may be dropped at any point: they hold nothing.
            tokio::select! {
                rung = self.bell.changed() => if rung.is_err() { return Ok(None) },
                () = self.services.clock.sleep_real(LOOK_AT_LEAST) => {}
            }
        }
    }
}
