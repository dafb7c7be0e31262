//! The first step of those who are enrolled: who sends it, and when it is due.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;

use super::Enrolling;
use crate::app::Services;
use crate::bulk::Operation;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::flow::CompiledStep;
use crate::domain::id::SenderId;
use crate::domain::planning::{self, Clocks};
use crate::domain::settings::{Settings, WindowClock};
use crate::domain::zone::Zone;
use crate::store::StoreError;
use crate::store::enrolment::{self, Candidate, NewLead};

/// Plans first steps; people with the same clock share the reckoning.
pub(super) struct Planner<'a> {
    services: &'a Services,
    settings: &'a Settings,
    entry: &'a CompiledStep,
    senders: HashMap<SenderId, Zone>,
    sequence_zone: Zone,
    now: DateTime<Utc>,
    planned: HashMap<(Option<SenderId>, Option<String>), DateTime<Utc>>,
}

impl<'a> Planner<'a> {
    /// Reads the clocks that the settings ask for.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub(super) async fn new(
        services: &'a Services,
        tx: &DatabaseTransaction,
        operation: &Operation,
        target: &'a Enrolling,
        entry: &'a CompiledStep,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let settings = &target.settings;
        let mut senders = HashMap::new();
        if settings.window_clock == WindowClock::Sender {
            for row in enrolment::sender_zones(tx, operation.workspace, entry.senders()).await? {
                let zone = services.zones.get(&row.time_zone).unwrap_or_else(Zone::utc);
                senders.insert(SenderId::from_uuid(row.id), zone);
            }
        }
        let sequence_zone = services
            .zones
            .get(&settings.time_zone)
            .unwrap_or_else(Zone::utc);
        let planned = HashMap::new();
        Ok(Self {
            services,
            settings,
            entry,
            senders,
            sequence_zone,
            now,
            planned,
        })
    }

    /// The lead that a person becomes, or why none.
    pub(super) fn lead(
        &mut self,
        person: &Candidate,
    ) -> Result<NewLead, (BulkOutcomeCode, &'static str)> {
        let bucket = self.services.entropy.bucket();
        let Some(sender) = self.entry.sender(None, bucket) else {
            let message = "The first step has no sender: publish the sequence with one.";
            return Err((BulkOutcomeCode::Invalid, message));
        };
        Ok(NewLead {
            id: self.services.entropy.id(self.now),
            person: person.id,
            round: person.last_round.saturating_add(1),
            sender,
            bucket,
            due_at: self.due_at(sender, person.time_zone.as_deref()),
        })
    }

    fn due_at(&mut self, sender: SenderId, zone: Option<&str>) -> DateTime<Utc> {
        let key = match self.settings.window_clock {
            WindowClock::Sequence => (None, None),
            WindowClock::Sender => (Some(sender), None),
            WindowClock::Contact => (None, zone.map(str::to_owned)),
        };
        if let Some(planned) = self.planned.get(&key) {
            return *planned;
        }
        let person = zone.and_then(|zone| self.services.zones.get(zone));
        let clocks = Clocks {
            sequence: &self.sequence_zone,
            sender: self.senders.get(&sender).unwrap_or(&self.sequence_zone),
            person: person.as_ref(),
        };
        let calendar = planning::calendar(self.settings, clocks);
        let due_at = planning::due_at(self.entry, self.now, &calendar);
        self.planned.insert(key, due_at);
        due_at
    }
}
