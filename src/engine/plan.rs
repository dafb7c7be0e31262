//! When: capacity of senders and sequences, and the calendars that steps are planned on.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use sea_orm::ConnectionTrait;

use super::{Engine, Result, RunningVersion};
use crate::channel::dispatch::SenderRoute;
use crate::channel::dkim::SigningKey;
use crate::clock::from_ms;
use crate::domain::address::EmailAddress;
use crate::domain::flow::{Channel, CompiledStep};
use crate::domain::forecast::AbleSender;
use crate::domain::id::{DkimKeyId, SenderId, WorkspaceId};
use crate::domain::lead::Onward;
use crate::domain::pace::Pace;
use crate::domain::planning::{self, Clocks, Whereabouts};
use crate::domain::schedule::{self, Calendar};
use crate::domain::sender::WarmUp;
use crate::domain::settings::WindowClock;
use crate::domain::tracking::BaseUrl;
use crate::domain::zone::Zone;
use crate::store::StoreError;
use crate::store::claim::LeadRow;
use crate::store::claim::PersonRow;
use crate::store::enrolment;
use crate::store::lane::{SenderRow, quota_day};

pub use crate::domain::planning::reopens_at;

/// A sender as the engine works with it.
#[derive(Debug)]
pub struct RunningSender {
    /// Its id.
    pub id: SenderId,
    /// Its workspace.
    pub workspace: WorkspaceId,
    /// What it sends.
    pub channel: Channel,
    /// How it sends.
    pub route: SenderRoute,
    /// The name that recipients see.
    pub name: String,
    /// The address that recipients see.
    pub address: String,
    /// Where answers are asked for; `None`, at its address.
    pub reply_to: Option<String>,
    /// Whether that address gets a tag, which tells the message that is answered.
    pub tagged_replies: bool,
    /// What its Message-IDs have after the @: the domain of its address, in ASCII.
    pub id_domain: String,
    /// By which address the marks in its emails are reached, where it has one of its own.
    pub tracking: Option<BaseUrl>,
    /// Its clock.
    pub zone: Zone,
    /// How often in a row it had trouble of its own.
    pub failures: i32,
    /// How far apart its messages are.
    pub pace: Pace,
    daily_cap: Option<u32>,
    warm_up: Option<WarmUp>,
    next_free_at: DateTime<Utc>,
    unhealthy_until: Option<DateTime<Utc>>,
}

impl RunningSender {
    /// The same as what it can send is reckoned from.
    pub fn able(&self) -> AbleSender<'_> {
        AbleSender {
            zone: &self.zone,
            failures: self.failures,
            next_free_at: self.next_free_at,
            unhealthy_until: self.unhealthy_until,
            pace: self.pace,
            daily_cap: self.daily_cap,
            warm_up: self.warm_up.as_ref(),
        }
    }

    /// Until when its pace and its health let no message go; `None` where they do now.
    pub fn rests_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        self.able().rests_until(now)
    }

    /// The most messages on its day that holds `now`; `None`, no limit.
    pub fn cap_at(&self, now: DateTime<Utc>) -> Option<u32> {
        self.able().cap_on(schedule::local_day(now, &self.zone))
    }

    /// Its day that holds `now`.
    pub fn day(&self, now: DateTime<Utc>) -> String {
        quota_day(now, &self.zone)
    }
}

impl Engine {
    /// Reads a sender's row.
    ///
    /// # Errors
    /// [`StoreError::Corrupt`] for what this version cannot read.
    pub(super) fn running_sender(&self, row: SenderRow) -> Result<Arc<RunningSender>> {
        let corrupt = |error: serde_json::Error| StoreError::corrupt("sender", error);
        let transport = serde_json::from_value(row.transport).map_err(corrupt)?;
        let warm_up = row
            .warm_up
            .map(serde_json::from_value)
            .transpose()
            .map_err(corrupt)?;
        let (id, workspace) = (
            SenderId::from_uuid(row.id),
            WorkspaceId::from_uuid(row.workspace_id),
        );
        let signing_key = match (row.dkim_key_id, row.dkim_secret) {
            (Some(id), Some(sealed)) => Some(SigningKey {
                id: DkimKeyId::from_uuid(id),
                domain: row.dkim_domain.unwrap_or_default(),
                selector: row.dkim_selector.unwrap_or_default(),
                sealed,
            }),
            _ => None,
        };
        let route = SenderRoute {
            sender: id,
            workspace,
            revision: row.revision,
            transport,
            secret: row.secret,
            signing_key,
        };
        Ok(Arc::new(RunningSender {
            id,
            workspace,
            channel: row
                .channel
                .parse()
                .map_err(|_| StoreError::corrupt("sender's channel", &row.channel))?,
            route,
            name: row.name,
            id_domain: id_domain(&row.address),
            address: row.address,
            reply_to: row.reply_to,
            tagged_replies: row.tagged_replies,
            // One that this version cannot read marks nothing, rather than stopping the sender.
            tracking: row.tracking_url.and_then(|url| BaseUrl::parse(&url).ok()),
            // A zone that the rules no longer know must not stop the sender.
            zone: self.zones.get(&row.time_zone).unwrap_or_else(Zone::utc),
            failures: row.failures,
            pace: Pace::of_ms(row.min_gap_ms, row.gap_jitter_ms),
            daily_cap: row.daily_cap.and_then(|cap| u32::try_from(cap).ok()),
            warm_up,
            next_free_at: from_ms(row.next_free_at),
            unhealthy_until: row.unhealthy_until.map(from_ms),
        }))
    }

    /// Where the contact is, as far as it is known.
    pub(super) fn whereabouts(&self, person: &PersonRow) -> Whereabouts {
        let zone = person.time_zone.as_deref();
        let zone = zone.and_then(|name| self.zones.get(name));
        Whereabouts::new(zone, person.country.as_deref())
    }
}

fn id_domain(address: &str) -> String {
    let key = EmailAddress::parse(address).map(|address| address.key().to_owned());
    key.ok()
        .and_then(|key| key.rsplit_once('@').map(|(_, domain)| domain.to_owned()))
        .unwrap_or_else(|| "cadenza.invalid".to_owned())
}

/// The calendar that a lead's steps are planned on.
pub fn calendar<'a>(
    version: &'a RunningVersion,
    sender_zone: &'a Zone,
    person: &'a Whereabouts,
) -> Calendar<'a> {
    let clocks = Clocks {
        sequence: &version.zone,
        sender: sender_zone,
        person,
    };
    planning::calendar(&version.settings, clocks)
}

/// The clocks of senders by which their windows are read.
pub type SenderZones = HashMap<SenderId, Zone>;

impl Engine {
    /// The clocks of a version's senders, where its windows are read on them; else none is asked for.
    ///
    /// # Errors
    /// As the database has it.
    pub(super) async fn sender_zones(
        &self,
        connection: &impl ConnectionTrait,
        version: &RunningVersion,
    ) -> Result<SenderZones> {
        if version.settings.window_clock != WindowClock::Sender {
            return Ok(SenderZones::new());
        }
        let senders = version.flow.senders();
        let rows = enrolment::sender_zones(connection, version.workspace, &senders).await?;
        let zone = |name: &str| self.zones.get(name).unwrap_or_else(Zone::utc);
        Ok(rows
            .into_iter()
            .map(|row| (SenderId::from_uuid(row.id), zone(&row.time_zone)))
            .collect())
    }
}

/// A lead at its next step: when that is due, and who sends it, if it is a message. A lead keeps the
/// sender that it had on the step's channel, as long as the step names it.
pub fn onward(
    version: &RunningVersion,
    next: &CompiledStep,
    lead: &LeadRow,
    whereabouts: &Whereabouts,
    zones: &SenderZones,
    anchor: DateTime<Utc>,
) -> (Onward, Option<SenderId>) {
    let sender = lead.sender_at(next);
    let zone = sender.and_then(|sender| zones.get(&sender));
    let calendar = calendar(version, zone.unwrap_or(&version.zone), whereabouts);
    let onward = Onward {
        step_key: next.key.clone(),
        due_at: planning::due_at_back(next, anchor, lead.quiet_until.map(from_ms), &calendar),
    };
    (onward, sender)
}
