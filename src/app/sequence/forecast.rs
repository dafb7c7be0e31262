//! When the leads of a sequence will be sent what.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};

use crate::app::{AppError, Caller, Services};
use crate::domain::forecast::{self, Circumstances, Forecast, ForecastSender, Waiting};
use crate::domain::id::SenderId;
use crate::domain::zone::Zone;
use crate::store;
use crate::store::lane::{self, QuotaKey, QuotaKind};
use crate::store::lead::waiting::{self, WaitingRow};
use crate::store::sender::Sender;
use crate::store::sequence::Sequence;
use crate::store::sequence::version::{self, Version};

/// A forecast, and the senders that it names.
#[derive(Debug)]
pub struct Answered {
    /// What will be sent when.
    pub forecast: Forecast,
    /// The senders of the flow.
    pub senders: HashMap<SenderId, Arc<Sender>>,
}

/// What the leads of a sequence that are enrolled now will be sent on so many days from today, as if the
/// sequence were published: by its published version, or its working copy where it has none.
///
/// # Errors
/// [`AppError::Store`] as the database has it.
pub async fn forecast(
    services: &Services,
    caller: &Caller,
    sequence: &Sequence,
    days: u32,
) -> Result<Answered, AppError> {
    let (connection, workspace) = (services.db.read(), caller.workspace);
    let version = match sequence.published_version {
        Some(id) => version::find_many(connection, workspace, &[id])
            .await?
            .pop(),
        None => None,
    };
    let (flow, settings) = match version {
        Some(Version { flow, settings, .. }) => (flow, settings),
        None => (Arc::clone(&sequence.flow), sequence.settings.clone()),
    };
    let zone = services.zones.get(&settings.time_zone);
    let zone = zone.unwrap_or_else(Zone::utc);
    let now = services.clock.now();
    let days = forecast::days(now, days, &settings, &zone);
    let ends: Vec<DateTime<Utc>> = days.iter().map(|day| day.end).collect();
    let rows = waiting::waiting(connection, workspace, sequence.id, &ends).await?;
    let senders = store::sender::find_many(connection, workspace, &flow.senders()).await?;
    let of = |kind| QuotaKey::of(sequence.id.uuid(), kind, &zone, now);
    let (sends, new_leads) = (of(QuotaKind::Sends), of(QuotaKind::NewLeads));
    let keys = senders.iter().map(|sender| quota(services, sender, now));
    let keys: Vec<QuotaKey> = keys.chain([sends.clone(), new_leads.clone()]).collect();
    let used = lane::quotas_used(connection, workspace, &keys).await?;
    let used = |key: &QuotaKey| {
        let used = used.get(key).copied().unwrap_or(0);
        u64::try_from(used).unwrap_or(0)
    };
    let enabled = senders.iter().filter(|sender| sender.enabled);
    let enabled = enabled.map(|sender| {
        let known = ForecastSender {
            zone: zone_of(services, sender),
            daily_cap: sender.daily_cap.and_then(|cap| u32::try_from(cap).ok()),
            warm_up: sender.warm_up,
            pace: sender.pace,
            used: used(&quota(services, sender, now)),
        };
        (sender.id, known)
    });
    let enabled: BTreeMap<SenderId, ForecastSender> = enabled.collect();
    let (sends_used, new_leads_used) = (used(&sends), used(&new_leads));
    // It may take its time, and others are to be answered meanwhile.
    let reckoning = tokio::task::spawn_blocking(move || {
        let circumstances = Circumstances {
            flow: &flow,
            settings: &settings,
            zone: &zone,
            senders: &enabled,
            sends_used,
            new_leads_used,
            days: &days,
        };
        forecast::forecast(rows.into_iter().map(read), circumstances)
    });
    let forecast = reckoning
        .await
        .map_err(|error| AppError::Internal(format!("a forecast broke off: {error}")))?;
    let senders = senders.into_iter();
    Ok(Answered {
        forecast,
        senders: senders
            .map(|sender| (sender.id, Arc::new(sender)))
            .collect(),
    })
}

fn read(row: WaitingRow) -> Waiting {
    Waiting {
        step_key: row.step_key,
        sender: row.sender_id.map(SenderId::from_uuid),
        is_first: row.turn == 1,
        is_unbound: row.unbound == 1,
        is_in_step: row.in_step == 1,
        due: usize::try_from(row.day).unwrap_or(0),
        count: u64::try_from(row.count).unwrap_or(0),
    }
}

fn zone_of(services: &Services, sender: &Sender) -> Zone {
    (services.zones.get(&sender.time_zone)).unwrap_or_else(Zone::utc)
}

/// What counts a sender's messages of today.
fn quota(services: &Services, sender: &Sender, now: DateTime<Utc>) -> QuotaKey {
    let zone = zone_of(services, sender);
    QuotaKey::of(sender.id.uuid(), QuotaKind::Sends, &zone, now)
}
