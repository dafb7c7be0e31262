//! Steps that write into the person: the people of a claim are changed together, and what that sets off
//! is written down with it.

use std::collections::{HashMap, HashSet};

use serde_json::Value;
use uuid::Uuid;

use super::Taking;
use crate::domain::attributes;
use crate::domain::id::LeadId;
use crate::domain::workflow::Trigger;
use crate::engine::Result;
use crate::store::person;
use crate::store::workflow::queue::{self, Concerned, Happened};

impl Taking<'_> {
    /// Writes into people what their leads' steps say. Answers the leads whose person somebody is
    /// changing just now, or has another lead that waits for such a change and that somebody holds: they
    /// stay as they are.
    pub(super) async fn write_updates(&mut self) -> Result<HashSet<LeadId>> {
        let updates = std::mem::take(&mut self.updates);
        if updates.is_empty() {
            return Ok(HashSet::new());
        }
        let mut ids: Vec<Uuid> = updates.iter().map(|(_, person, _)| *person).collect();
        ids.sort_unstable();
        ids.dedup();
        let before: Vec<person::Row> = person::lock_free(self.tx, &ids).await?;
        let mut people = before.clone();
        let locked: Vec<Uuid> = people.iter().map(|person| person.id).collect();
        let held = person::held_by_others(self.tx, self.workspace, &locked).await?;
        people.retain(|person| !held.contains(&person.id));
        let mut waiting = HashSet::new();
        let mut by = HashMap::new();
        for (lead, id, set) in updates {
            match people.iter_mut().find(|person| person.id == id) {
                Some(person) => {
                    by.insert(id, lead);
                    write_fields(person, set);
                }
                None => {
                    waiting.insert(lead);
                }
            }
        }
        // What was known already changes nobody, and sets nothing off.
        people.retain(|person| !before.contains(person));
        let changed: Vec<Uuid> = people.iter().map(|person| person.id).collect();
        for mut person in people {
            person.updated_at = self.now.timestamp_millis();
            person::refresh_keys(&mut person);
            person::update(self.tx, person).await?;
        }
        person::release_free_leads(self.tx, self.workspace, &changed, self.now).await?;
        let happened = Happened {
            trigger: Trigger::PersonUpdated,
            stage: None,
            at: self.now,
        };
        let concerned = changed.into_iter().map(|person| Concerned {
            person,
            by: by.get(&person).copied(),
        });
        let concerned: Vec<Concerned> = concerned.collect();
        let entropy = &self.engine.entropy;
        self.claim.sets_off |=
            queue::enqueue(self.tx, entropy, self.workspace, happened, &concerned).await?;
        Ok(waiting)
    }
}

/// Writes fields that were checked when the flow was written.
fn write_fields(person: &mut person::Row, set: serde_json::Map<String, Value>) {
    for (field, value) in set {
        let text = value.as_str().map(str::to_owned);
        match field.as_str() {
            "firstName" => person.first_name = text,
            "lastName" => person.last_name = text,
            "company" => person.company = text,
            "title" => person.title = text,
            "linkedinUrl" => person.linkedin_url = text,
            "timeZone" => person.time_zone = text,
            "country" => person.country = text,
            "attributes" => {
                if let (Some(known), Value::Object(said)) =
                    (person.attributes.as_object_mut(), value)
                {
                    attributes::write(known, said);
                }
            }
            // Nothing else may be written, which reading the flow refuses.
            _ => {}
        }
    }
}
