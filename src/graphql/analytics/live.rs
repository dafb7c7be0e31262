//! Following what comes of a sequence.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Context, ID, Result, Subscription};
use futures_util::{Stream, stream};
use tokio::sync::watch;

use super::SequenceAnalytics;
use super::filter::AnalyticsFilterInput;
use crate::app::Services;
use crate::domain::analytics::{Filter, Report};
use crate::domain::flow::Flow;
use crate::domain::id::{SequenceId, WorkspaceId};
use crate::graphql::context::ContextExt;
use crate::graphql::error::bad_input;
use crate::graphql::{node, sequence};
use crate::store::{self, StoreError};

/// The shortest time between two states that a subscription shows.
const SHOW_EVERY: Duration = Duration::from_secs(1);
/// A subscription looks again at least this often, should a bell have been missed.
const LOOK_AT_LEAST: Duration = Duration::from_secs(2);

/// Following analytics.
#[derive(Default)]
pub struct AnalyticsSubscription;

#[Subscription]
impl AnalyticsSubscription {
    /// What came of a sequence: now, and again when it has changed, at most once a second.
    async fn sequence_analytics(
        &self,
        ctx: &Context<'_>,
        #[graphql(desc = "The sequence's id.")] sequence_id: ID,
        #[graphql(desc = "Which messages count; all, if it is not given.")] filter: Option<
            AnalyticsFilterInput,
        >,
    ) -> Result<impl Stream<Item = Result<SequenceAnalytics>> + use<>> {
        let workspace = ctx.caller_within()?.workspace;
        let services = ctx.services().clone();
        let bell = services.wake.on_log();
        let found = match node::maybe(&sequence_id) {
            Some(id) => sequence::load(ctx, id).await?,
            None => None,
        };
        let Some(sequence) = found else {
            let message = "There is no sequence with this `sequenceId`; take it from an answer of \
                           this API.";
            return Err(bad_input(message));
        };
        let filter = filter.unwrap_or_default().read(ctx).await?;
        let view = View {
            services,
            workspace,
            sequence: sequence.0.id,
            filter,
            bell,
            shown: None,
            is_over: false,
        };
        Ok(stream::unfold(view, View::advance))
    }
}

/// A subscriber's view of one sequence.
struct View {
    services: Services,
    workspace: WorkspaceId,
    sequence: SequenceId,
    filter: Filter,
    bell: watch::Receiver<()>,
    shown: Option<(Arc<Report>, Arc<Flow>)>,
    is_over: bool,
}

impl View {
    async fn advance(mut self) -> Option<(Result<SequenceAnalytics>, Self)> {
        if self.is_over {
            return None;
        }
        let next = loop {
            if self.shown.is_some() {
                // Messages ring the same bell, some of them all the time.
                self.services.clock.sleep_real(SHOW_EVERY).await;
            }
            // What is committed from here on rings the bell again.
            self.bell.mark_unchanged();
            match self.look().await {
                Ok(Some(next)) if self.shown.as_ref() != Some(&next) => break next,
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(error) => {
                    self.is_over = true;
                    return Some((Err(error.into()), self));
                }
            }
            // Both may be dropped at any point: they hold nothing.
            tokio::select! {
                rung = self.bell.changed() => if rung.is_err() { return None },
                () = self.services.clock.sleep_real(LOOK_AT_LEAST) => {}
            }
        };
        self.shown = Some(next.clone());
        let (report, flow) = next;
        Some((Ok(SequenceAnalytics { report, flow }), self))
    }

    async fn look(&self) -> Result<Option<(Arc<Report>, Arc<Flow>)>, StoreError> {
        let asked = vec![(self.sequence, self.filter.clone())];
        let mut reports = self
            .services
            .analytics
            .reports(self.workspace, asked)
            .await?;
        let db = self.services.db.read();
        let sequence = store::sequence::find(db, self.workspace, self.sequence).await?;
        Ok(reports.pop().zip(sequence.map(|sequence| sequence.flow)))
    }
}
