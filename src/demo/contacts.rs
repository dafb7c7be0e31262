//! The demo's contacts: they open, click and answer some of what they get, after a while.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use chrono::{DateTime, Duration, Utc};
use futures_util::StreamExt;
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::app::Services;
use crate::app::engagement::{self, Engagement};
use crate::domain::event::EventKind;
use crate::domain::id::{ExecutionId, LeadId, WorkspaceId};

/// Of a hundred messages, so many are opened; of those, so many are clicked; so many answered.
const OPENED: u64 = 55;
const CLICKED: u64 = 25;
const REPLIED: u64 = 14;
/// How many engagements wait their turn at most; beyond it contacts ignore what they get.
const PLANS_MAX: usize = 100_000;

/// Something that a contact is going to do.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Plan {
    at: DateTime<Utc>,
    lead: Uuid,
    execution: Option<Uuid>,
    deed: u8,
}

/// Lives until `shutdown` is cancelled.
pub async fn live(services: Services, workspace: WorkspaceId, shutdown: CancellationToken) {
    let mut events = Box::pin(services.bus.subscribe(workspace, None));
    let mut plans = BinaryHeap::new();
    loop {
        let next = plans.peek().map(|Reverse(plan): &Reverse<Plan>| plan.at);
        let wait = next.unwrap_or_else(|| services.clock.now() + Duration::days(1));
        // Both waits can be dropped at any time: what was not heard now is heard next time.
        tokio::select! {
            () = shutdown.cancelled() => return,
            event = events.next() => {
                let Some(event) = event else { return };
                let sent = event.kind == <&str>::from(EventKind::ExecutionSent);
                if let (true, Some(lead)) = (sent, event.lead_id)
                    && plans.len() < PLANS_MAX
                {
                    plans.extend(intentions(&services, lead, event.execution_id).map(Reverse));
                }
            }
            () = services.clock.sleep_until(wait) => {
                if let Some(Reverse(plan)) = plans.pop() {
                    act(&services, workspace, &plan).await;
                }
            }
        }
    }
}

fn intentions(
    services: &Services,
    lead: Uuid,
    execution: Option<Uuid>,
) -> impl Iterator<Item = Plan> {
    let chance = |share: u64| services.entropy.bits() % 100 < share;
    let opens = chance(OPENED);
    let deeds = [opens, opens && chance(CLICKED), opens && chance(REPLIED)];
    let mut at = services.clock.now();
    let mut plans = Vec::new();
    for (deed, happens) in (0_u8..).zip(deeds) {
        if happens {
            let minutes = 2 + services.entropy.bits() % 600;
            at += Duration::minutes(i64::try_from(minutes).unwrap_or(60));
            plans.push(Plan {
                at,
                lead,
                execution,
                deed,
            });
        }
    }
    plans.into_iter()
}

async fn act(services: &Services, workspace: WorkspaceId, plan: &Plan) {
    let engagement = match plan.deed {
        0 => Engagement::Opened,
        1 => Engagement::Clicked,
        _ => Engagement::Replied,
    };
    let execution = plan.execution.map(ExecutionId::from_uuid);
    let lead = LeadId::from_uuid(plan.lead);
    let recorded =
        engagement::record(services, workspace, lead, execution, engagement, plan.at).await;
    if let Err(error) = recorded {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "a demo contact was not heard"
        );
    }
}
