//! The stages of a worker, one at a time, and what can go wrong between them.

use std::collections::HashSet;

use cadenza::channel::dispatch::{Channel as _, Letter, Route};
use cadenza::domain::flow::Channel;
use cadenza::domain::outcome::Outcome;
use cadenza::engine::Claimed;
use cadenza::engine::record::Ending;
use chrono::{DateTime, Duration, Utc};
use entity::execution;
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use tokio_util::sync::CancellationToken;
use uuid::Uuid;

use crate::book::Handed;
use crate::oracle::{ledger, watch};
use crate::provider;
use crate::world::World;

/// Where a worker can die: after each of its stages, with messages and with requests.
pub const CRASH_POINTS: [&str; 6] = [
    "claimed",
    "about to leave",
    "sent",
    "recorded",
    "about to make a request",
    "made a request",
];

impl World {
    /// A worker does something.
    pub async fn step(&mut self, index: usize) {
        if self.workers[index].asleep_until.is_some() {
            return;
        }
        if self.draw(1_000) < self.options.naps {
            let until = self.clock.now() + Duration::seconds(200);
            self.workers[index].asleep_until = Some(until);
            self.forget(index);
            return;
        }
        let point = match self.draw(3) {
            0 => {
                self.claim(index, 5).await;
                "claimed"
            }
            1 => self.send_some(index).await,
            _ => {
                self.record(index).await;
                "recorded"
            }
        };
        self.maybe_crash(index, point).await;
    }

    /// A worker claims; answers when it would wake up again.
    pub async fn claim(&mut self, index: usize, room: usize) -> Option<DateTime<Utc>> {
        let engine = &self.workers[index].engine;
        let claim = engine.claim(room, &|_| room).await.expect("claims");
        let now = self.clock.now();
        if self.is_watched {
            for claimed in &claim.messages {
                let id = claimed.execution_id.uuid();
                let person = watch::may_go(&self.services.db, id, now).await;
                let whereabouts = (person.time_zone, person.country);
                self.zones_at_claim.insert(id, whereabouts);
            }
            let leads = self.listen().await;
            if claim.next_at.is_none_or(|at| at > now) {
                let (story, book) = (&self.story, &self.book);
                watch::may_sleep(story, book, &leads, &self.people, now, claim.next_at);
            }
        }
        self.workers[index].claimed.extend(claim.messages);
        claim.next_at
    }

    /// A worker looks at some of its messages again, and sends those that may leave.
    pub async fn send_some(&mut self, index: usize) -> &'static str {
        let count = self.index(self.workers[index].claimed.len() + 1);
        let worker = &mut self.workers[index];
        let batch: Vec<Claimed> = worker.claimed.drain(..count).collect();
        for claimed in batch {
            if !worker.engine.may_leave(&claimed).await.expect("looks") {
                worker.ended.push((claimed, Ending::Released));
                continue;
            }
            if self.is_watched {
                let id = claimed.execution_id.uuid();
                watch::may_go(&self.services.db, id, self.clock.now()).await;
            }
            worker.granted.push(claimed);
        }
        let is_request = |claimed: &Claimed| matches!(claimed.letter, Letter::Webhook(_));
        let has_request = self.workers[index].granted.iter().any(is_request);
        // There are few requests: more of them die.
        let also = has_request && self.options.crashes > 0 && self.draws.percent(15);
        let dies = self.draw(1_000) < self.options.crashes || also;
        if dies && !self.workers[index].granted.is_empty() {
            if has_request {
                self.crossed.insert("about to make a request");
            }
            return "about to leave";
        }
        for claimed in std::mem::take(&mut self.workers[index].granted) {
            let ending = self.hand_over(&claimed).await;
            self.workers[index].ended.push((claimed, ending));
        }
        if has_request {
            "made a request"
        } else {
            "sent"
        }
    }

    async fn hand_over(&mut self, claimed: &Claimed) -> Ending {
        let prepared = self
            .provider
            .prepare(&claimed.route, &claimed.letter)
            .expect("composes");
        let (key, recipient) = (provider::key(&prepared), prepared.recipient());
        let content = prepared.content();
        let taken_before = self.provider.taken.lock().expect("ledger").len();
        let stopping = CancellationToken::new();
        let sent = self
            .provider
            .send(&claimed.route, prepared, &stopping)
            .await;
        let taken = self.provider.taken.lock().expect("ledger").len() > taken_before;
        if self.is_watched {
            let channel = match &claimed.letter {
                Letter::Email(_) => Channel::Email,
                Letter::Text(text) if text.whatsapp => Channel::Whatsapp,
                Letter::Text(_) => Channel::Sms,
                Letter::Webhook(_) => Channel::Webhook,
            };
            if channel == Channel::Webhook && taken {
                let is_known = matches!(sent.outcome, Outcome::Sent { .. });
                self.requests.taken(&key, is_known);
            }
            let execution = claimed.execution_id.uuid();
            let whereabouts = self.zones_at_claim.get(&execution).cloned();
            let (person_zone, person_country) = whereabouts.unwrap_or_default();
            self.book.handed.push(Handed {
                at: self.clock.now(),
                claimed_at: claimed.claimed_at,
                due_at: claimed.lead.first_due(),
                taken,
                channel,
                sender: Route::sender(&claimed.route),
                key,
                recipient,
                execution,
                lead: claimed.lead.id,
                person: claimed.lead.person_id,
                person_zone,
                person_country,
                sequence: claimed.sequence_id.uuid(),
                version: claimed.version.id.uuid(),
                step: claimed.step_key.clone(),
                attempt: claimed.attempt,
                variant: variant(&content),
            });
            ledger::check_handed(&self.book, self.book.handed.last().expect("one"));
            ledger::check(&self.book);
        }
        Ending::Dispatched(sent.outcome, sent.kept)
    }

    pub async fn record(&mut self, index: usize) {
        let ended = std::mem::take(&mut self.workers[index].ended);
        let engine = &self.workers[index].engine;
        engine.record(&ended).await.expect("records");
        // The answer to the commit was lost: it is recorded once more.
        if !self.options.plain && !ended.is_empty() && self.draws.percent(10) {
            engine.record(&ended).await.expect("records again");
        }
        if self.is_watched && !ended.is_empty() {
            self.requests_are_on_record(&ended).await;
            self.listen().await;
        }
    }

    async fn requests_are_on_record(&mut self, ended: &[(Claimed, Ending)]) {
        let made = ended
            .iter()
            .filter(|(_, ending)| matches!(ending, Ending::Dispatched(Outcome::Sent { .. }, _)));
        let made: HashSet<Uuid> = made
            .filter(|(claimed, _)| claimed.sender.is_none())
            .map(|(claimed, _)| claimed.execution_id.uuid())
            .collect();
        if made.is_empty() {
            return;
        }
        let rows = execution::Entity::find()
            .filter(execution::Column::Id.is_in(made))
            .filter(execution::Column::Status.eq("SENT"))
            .all(self.services.db.read())
            .await
            .expect("executions");
        for row in rows {
            let id = cadenza::domain::id::ExecutionId::from_uuid(row.id);
            self.requests.recorded(&id.to_string());
        }
    }

    /// What a worker has done and not recorded may be taken for undone.
    fn forget(&mut self, index: usize) {
        for (claimed, _) in &self.workers[index].ended {
            self.requests.forgotten(&claimed.execution_id.to_string());
        }
    }

    async fn maybe_crash(&mut self, index: usize, point: &'static str) {
        let dies = point == "about to leave" && !self.workers[index].granted.is_empty();
        let also = point == "made a request" && self.options.crashes > 0 && self.draws.percent(25);
        if dies || also || self.draw(1_000) < self.options.crashes {
            self.crossed.insert(point);
            self.forget(index);
            // Whatever it held in memory is gone; a new process takes its place.
            self.workers[index] = self.hire().await;
        }
    }
}

/// The variant that a text says it is: `[a] Hello`.
fn variant(content: &str) -> Option<String> {
    let (_, rest) = content.split_once('[')?;
    let (variant, _) = rest.split_once(']')?;
    (variant.len() == 1).then(|| variant.to_owned())
}
