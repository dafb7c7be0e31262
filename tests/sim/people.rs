//! What people do meanwhile: they hold leads and release them, answer, opt out, do their tasks, edit
//! sequences, switch senders off.

use std::collections::HashSet;

use cadenza::app::engagement::{self, Engagement};
use cadenza::app::{execution, person, sequence, task};
use cadenza::bulk;
use cadenza::domain::bulk::BulkKind;
use cadenza::domain::id::{ExecutionId, LeadId, PersonId, TaskId};
use cadenza::domain::settings::Settings;
use cadenza::domain::task::TaskStatus;
use cadenza::store;
use chrono::Duration;
use entity::{execution as executions, lead, person as persons, suppression, task as tasks};
use sea_orm::{
    ActiveModelTrait, ActiveValue::Set, ColumnTrait, EntityTrait, QueryFilter, QueryOrder,
};
use uuid::Uuid;

use crate::book::Removed;
use crate::flows;
use crate::oracle::met;
use crate::world::World;

/// How far off the date of return is that an automatic reply states.
pub const AWAY: Duration = Duration::hours(60);

impl World {
    /// People interfere.
    pub async fn meddle(&mut self) {
        if self.options.press.is_some() && self.draws.percent(50) {
            return self.engage_with_something(true).await;
        }
        let lead = self.some_lead().await;
        let leads = serde_json::json!({ "leads": { "ids": [lead.to_string()] } });
        let last = if self.options.plain { 5 } else { 24 };
        match self.draw(last) {
            0 => self.bulk(BulkKind::Pause, leads).await,
            1 | 2 => self.bulk(BulkKind::Resume, leads).await,
            3 => self.bulk(BulkKind::Remove, leads).await,
            4 => {
                if self.draw(3) == 0 {
                    self.disable(0).await;
                } else {
                    self.publish(0, Removed::Next).await;
                }
            }
            5..=8 => self.engage_with_something(false).await,
            9..=11 => self.work().await,
            12 => self.opt_out().await,
            13 | 14 => self.complete_somebody().await,
            15 => self.switch_sender().await,
            16 => self.switch_sequence().await,
            17 => self.edit().await,
            18 => self.settle().await,
            19 => self.erase_somebody().await,
            20 | 21 => self.merge_two().await,
            22 => self.opt_somebody_out().await,
            _ => self.enrol_somebody().await,
        }
    }

    pub async fn bulk(&self, kind: BulkKind, request: serde_json::Value) {
        bulk::submit(&self.services, &self.caller, kind, request, None, None)
            .await
            .expect("the operation is taken");
    }

    async fn some_lead(&self) -> LeadId {
        // PostgreSQL tells rows in an order of its own, which is not the same twice.
        let leads = lead::Entity::find()
            .order_by_asc(lead::Column::Id)
            .all(self.services.db.read())
            .await
            .expect("leads");
        LeadId::from_uuid(leads[self.index(leads.len())].id)
    }

    pub async fn disable(&self, index: usize) {
        let id = self.book.sequences[index].id;
        match sequence::disable(&self.services, &self.caller, id).await {
            // It is put away.
            Ok(_) | Err(cadenza::app::AppError::Refused(_)) => {}
            Err(error) => panic!("disabling failed: {error}"),
        }
    }

    fn some_sequence(&self) -> usize {
        self.draws.index(self.book.sequences.len())
    }

    /// Off, on, away, and back.
    async fn switch_sequence(&mut self) {
        let index = self.some_sequence();
        let id = self.book.sequences[index].id;
        match self.draws.below(4) {
            0 => self.disable(index).await,
            1 => {
                self.disable(index).await;
                let archived = sequence::archive(&self.services, &self.caller, id).await;
                archived.expect("put away");
            }
            _ => {
                self.restore(index).await;
            }
        }
    }

    /// Takes a sequence back out and lets it send; not if nobody can send its messages.
    pub async fn restore(&mut self, index: usize) -> bool {
        let id = self.book.sequences[index].id;
        let back = sequence::unarchive(&self.services, &self.caller, id).await;
        back.expect("taken back out");
        self.publish(index, Removed::Next).await
    }

    /// An opening, a click, an answer, of a person or of a machine, to something that was sent; by
    /// somebody for whom a condition waits, if there is one and that is wanted.
    async fn engage_with_something(&mut self, is_awaited: bool) {
        let mut sent = executions::Entity::find()
            .filter(executions::Column::Channel.is_in(["EMAIL", "SMS", "WHATSAPP"]))
            .filter(executions::Column::Status.eq("SENT"))
            .order_by_asc(executions::Column::Id)
            .all(self.services.db.read())
            .await
            .expect("executions");
        if is_awaited {
            let awaited = lead::Entity::find()
                .filter(lead::Column::Hold.eq("AWAITING_CONDITION"))
                .all(self.services.db.read())
                .await
                .expect("leads");
            sent.retain(|one| awaited.iter().any(|lead| lead.id == one.lead_id));
        }
        if sent.is_empty() {
            return;
        }
        let mut one = &sent[self.draws.index(sent.len())];
        let now = self.clock.now();
        let engagement = match self.draws.below(10) {
            0..=3 => Engagement::Opened,
            4..=6 => Engagement::Clicked,
            7 => Engagement::Replied,
            8 => Engagement::AutoReplied { until: None },
            _ => Engagement::AutoReplied {
                until: Some(now + AWAY),
            },
        };
        if let Engagement::AutoReplied { .. } = engagement {
            // Where the lead is in its step, and not due, no due time tells of it.
            let waiting = self.waiting_at_conditions().await;
            let there: Vec<_> = (sent.iter())
                .filter(|sent| waiting.contains(&sent.lead_id))
                .collect();
            if !there.is_empty() && self.draws.percent(50) {
                one = there[self.draws.index(there.len())];
            }
        }
        let (lead, execution) = (
            LeadId::from_uuid(one.lead_id),
            ExecutionId::from_uuid(one.id),
        );
        let workspace = self.caller.workspace;
        let found = lead::Entity::find_by_id(one.lead_id);
        let found = found.one(self.services.db.read()).await.expect("leads");
        if found.is_some_and(|lead| lead.hold.as_deref() == Some("AWAITING_CONDITION")) {
            *self.met.entry(met::ENGAGED).or_default() += 1;
        }
        engagement::record(
            &self.services,
            workspace,
            lead,
            Some(execution),
            engagement,
            now,
        )
        .await
        .expect("recorded");
        if engagement == Engagement::Replied {
            self.has_stopped_colleagues(lead).await;
        }
    }

    /// Once a contact has answered, nobody of the same company is under way in its sequence, if that says so.
    async fn has_stopped_colleagues(&self, answered: LeadId) {
        let db = self.services.db.read();
        let found = lead::Entity::find_by_id(answered.uuid()).one(db).await;
        let own = found.expect("leads").expect("it answered");
        let published = &self.book.sequence(own.sequence_id).editions;
        let edition = published.last().expect("published");
        let company = persons::Entity::find_by_id(own.person_id).one(db).await;
        let company = company.expect("people").expect("it is somebody").company;
        if !edition.settings.stop_company_on_reply || company.is_none() {
            return;
        }
        let others = lead::Entity::find()
            .filter(lead::Column::SequenceId.eq(own.sequence_id))
            .filter(lead::Column::Status.is_in(["ACTIVE", "PAUSED"]))
            .filter(lead::Column::Id.ne(own.id))
            .all(db);
        for other in others.await.expect("leads") {
            let person = persons::Entity::find_by_id(other.person_id).one(db).await;
            let person = person.expect("people").expect("it is somebody");
            assert_ne!(person.company, company, "still under way: {other:?}");
        }
    }

    async fn waiting_at_conditions(&self) -> HashSet<Uuid> {
        let waiting = lead::Entity::find()
            .filter(lead::Column::Hold.eq("AWAITING_CONDITION"))
            .all(self.services.db.read())
            .await
            .expect("leads");
        waiting.into_iter().map(|lead| lead.id).collect()
    }

    /// Somebody does a task, or decides against it.
    pub async fn work(&mut self) {
        let open = tasks::Entity::find()
            .filter(tasks::Column::Status.eq("OPEN"))
            .order_by_asc(tasks::Column::Id)
            .all(self.services.db.read())
            .await
            .expect("tasks");
        if open.is_empty() {
            return;
        }
        let id = TaskId::from_uuid(open[self.draws.index(open.len())].id);
        let outcomes = [
            TaskStatus::Completed,
            TaskStatus::Completed,
            TaskStatus::Skipped,
        ];
        let outcome = self.draws.pick(&outcomes);
        task::complete(&self.services, &self.caller, id, outcome, None)
            .await
            .expect("done");
    }

    pub async fn some_person(&self) -> persons::Model {
        let people = persons::Entity::find()
            .filter(persons::Column::ErasedAt.is_null())
            .order_by_asc(persons::Column::Id)
            .all(self.services.db.read())
            .await
            .expect("people");
        people[self.draws.index(people.len())].clone()
    }

    async fn opt_out(&mut self) {
        let person = self.some_person().await;
        let channel = self
            .draws
            .pick(&["EMAIL", "EMAIL", "SMS", "WHATSAPP", "CALL", "LINKEDIN"]);
        let address = match channel {
            "EMAIL" => person.email_key,
            "LINKEDIN" => person.linkedin_url,
            _ => person.phone,
        };
        let Some(address) = address else { return };
        let row = suppression::ActiveModel {
            workspace_id: Set(self.caller.workspace.uuid()),
            channel: Set(channel.into()),
            address: Set(address.clone()),
            reason: Set("UNSUBSCRIBED".into()),
            created_at: Set(self.clock.now().timestamp_millis()),
        };
        let key = (self.caller.workspace.uuid(), channel.to_owned(), address);
        let db = &self.services.db;
        let known = suppression::Entity::find_by_id(key)
            .one(db.read())
            .await
            .expect("reads");
        if known.is_none() {
            row.insert(db.write()).await.expect("suppressed");
        }
    }

    /// A person is completed, or loses something.
    async fn complete_somebody(&mut self) {
        let person = self.some_person().await;
        let number = self.draws.below(90);
        let mut change = person::Change::default();
        match self.draws.below(6) {
            0 => change.first_name = Some(self.draws.pick(&["", "Ada"]).to_owned()),
            1 => change.phone = Some(format!("+141555527{:02}", number)),
            2 if person.email.is_none() => {
                change.email = Some(format!("{}@example.org", person.id))
            }
            3 => change.company = Some(self.draws.pick(&["", "Acme"]).to_owned()),
            4 => change.attributes = Some(serde_json::json!({ "score": number })),
            _ => {
                let tiers = [
                    serde_json::json!("b"),
                    serde_json::json!("a"),
                    serde_json::Value::Null,
                ];
                change.attributes = Some(serde_json::json!({ "tier": self.draws.pick(&tiers) }));
            }
        }
        let id = PersonId::from_uuid(person.id);
        match person::update(&self.services, &self.caller, id, change).await {
            // Nothing would be left of it.
            Ok(_) | Err(cadenza::app::AppError::Refused(_)) => {}
            Err(error) => panic!("changing a person failed: {error}"),
        }
    }

    async fn switch_sender(&mut self) {
        let index = self.draws.index(self.book.senders.len());
        let on = self.draws.percent(60);
        self.switch(index, on).await;
    }

    pub async fn switch(&self, index: usize, on: bool) {
        use cadenza::app::sender;
        let change = sender::Change {
            enabled: Some(on),
            ..sender::Change::default()
        };
        let id = self.book.senders[index].id;
        sender::update(&self.services, &self.caller, id, change)
            .await
            .expect("switched");
    }

    /// The sequence is disabled, edited, and published again, now or later.
    async fn edit(&mut self) {
        let index = self.some_sequence();
        let id = self.book.sequences[index].id;
        let back = sequence::unarchive(&self.services, &self.caller, id).await;
        back.expect("taken back out");
        self.disable(index).await;
        let workspace = self.caller.workspace;
        let tx = self.services.db.begin().await.expect("begins");
        let row = store::sequence::lock(&tx, workspace, id)
            .await
            .expect("reads");
        let mut row = row.expect("the sequence");
        let old = self.book.sequences[index]
            .editions
            .last()
            .expect("an edition")
            .clone();
        let number = self.book.sequences[index].editions.len();
        let flow = flows::edited(&self.draws, &self.cast, &old.flow, number);
        if self.draws.percent(40) {
            let Settings {
                send_windows,
                holidays,
                window_clock,
                ..
            } = self.drawn_settings();
            row.settings = Settings {
                send_windows,
                holidays,
                window_clock,
                ..row.settings
            };
        }
        let gone: Vec<String> = (old.flow.steps.iter())
            .filter(|step| flow.steps.iter().all(|other| other.key != step.key))
            .map(|step| step.key.clone())
            .collect();
        let removed = match self.draws.below(3) {
            0 => Removed::Stop,
            1 => {
                let to = || self.draws.pick(&flow.steps).key;
                let some = gone.into_iter().filter(|_| self.draws.percent(70));
                Removed::Map(some.map(|from| (from, to())).collect())
            }
            _ => Removed::Next,
        };
        row.flow = flow.into();
        row.revision += 1;
        store::sequence::save(&tx, workspace, &row)
            .await
            .expect("saves");
        tx.commit().await.expect("commits");
        for sender in 0..self.book.senders.len() {
            self.switch(sender, true).await;
        }
        let published = self.publish(index, removed).await;
        assert!(
            published,
            "an edited flow can be published: {}",
            self.last_refusal
        );
    }

    /// Somebody looks up whether a message left, and says so.
    pub async fn settle(&mut self) {
        let open = executions::Entity::find()
            .filter(executions::Column::Status.eq("UNCONFIRMED"))
            .order_by_asc(executions::Column::Id)
            .all(self.services.db.read())
            .await
            .expect("executions");
        if open.is_empty() {
            return;
        }
        let one = &open[self.draws.index(open.len())];
        // Whoever may still be about to send it would make a liar of whoever looks now.
        let is_held = |worker: &crate::world::Worker| worker.holds(one.id);
        if self.workers.iter().any(is_held) {
            return;
        }
        let id = ExecutionId::from_uuid(one.id);
        let key = one.message_id.as_ref().or(self.erased_keys.get(&one.id));
        let key = key.cloned().unwrap_or_else(|| id.to_string());
        let was_sent = self.provider.taken.lock().expect("ledger").contains(&key);
        execution::resolve(&self.services, &self.caller, id, was_sent)
            .await
            .expect("settled");
    }

    async fn enrol_somebody(&mut self) {
        let person = PersonId::from_uuid(self.some_person().await.id);
        let index = self.some_sequence();
        let again = self.draws.percent(50);
        self.enrol(index, &[person], again).await;
    }
}
