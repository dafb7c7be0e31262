//! The first step of those who are enrolled: who sends it, and when it is due.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use sea_orm::DatabaseTransaction;

use super::enrolling::Enrolling;
use crate::app::Services;
use crate::domain::bulk::BulkOutcomeCode;
use crate::domain::flow::CompiledStep;
use crate::domain::id::{SenderId, WorkspaceId};
use crate::domain::planning::{self, Clocks, Whereabouts};
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
    planned: HashMap<Sharing, DateTime<Utc>>,
}

/// What those have in common whose first step is due at the same time: the sender, where its clock
/// matters, and the clock and the country of the contact, where they do.
type Sharing = (Option<SenderId>, Option<String>, Option<String>);

impl<'a> Planner<'a> {
    /// Reads the clocks that the settings ask for.
    ///
    /// # Errors
    /// [`StoreError`] as the database has it.
    pub(super) async fn new(
        services: &'a Services,
        tx: &DatabaseTransaction,
        workspace: WorkspaceId,
        target: &'a Enrolling,
        entry: &'a CompiledStep,
        now: DateTime<Utc>,
    ) -> Result<Self, StoreError> {
        let settings = &target.settings;
        let mut senders = HashMap::new();
        if settings.window_clock == WindowClock::Sender {
            for row in enrolment::sender_zones(tx, workspace, entry.senders()).await? {
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
        let sender = self.entry.sender(None, bucket);
        if sender.is_none() && self.entry.is_message() {
            let message = "The first step has no sender: publish the sequence with one.";
            return Err((BulkOutcomeCode::Invalid, message));
        }
        Ok(NewLead {
            id: self.services.entropy.id(self.now),
            person: person.id,
            round: person.last_round.saturating_add(1),
            sender,
            bucket,
            due_at: self.due_at(sender, person),
        })
    }

    fn due_at(&mut self, sender: Option<SenderId>, person: &Candidate) -> DateTime<Utc> {
        let clock = self.settings.window_clock;
        // A contact's zone tells its country, too.
        let by_country = self.settings.contact_holidays;
        let by_zone = by_country || clock == WindowClock::Contact;
        let key = (
            sender.filter(|_| clock == WindowClock::Sender),
            person.time_zone.clone().filter(|_| by_zone),
            person.country.clone().filter(|_| by_country),
        );
        if let Some(planned) = self.planned.get(&key) {
            return *planned;
        }
        let zone = person.time_zone.as_deref();
        let zone = zone.and_then(|zone| self.services.zones.get(zone));
        let whereabouts = Whereabouts::new(zone, person.country.as_deref());
        let clocks = Clocks {
            sequence: &self.sequence_zone,
            sender: sender
                .and_then(|sender| self.senders.get(&sender))
                .unwrap_or(&self.sequence_zone),
            person: &whereabouts,
        };
        let calendar = planning::calendar(self.settings, clocks);
        let due_at = planning::due_at(self.entry, self.now, &calendar);
        self.planned.insert(key, due_at);
        due_at
    }
}
