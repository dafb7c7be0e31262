//! Who people are: somebody is erased and perhaps comes again, two turn out to be one, one opts out.

use cadenza::app::person::{self, consent, erasing, merging};
use cadenza::domain::flow::Channel;
use cadenza::domain::id::PersonId;
use chrono::Duration;
use entity::{execution, lead, person as persons};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use crate::book::Merged;
use crate::oracle::met;
use crate::world::World;

/// So many stay, or there would be nobody left to write to.
const STAY: usize = 5;

impl World {
    /// Somebody is erased; some come again, with the address that they had.
    pub async fn erase_somebody(&mut self) {
        // Where much is to come up to a limit, everybody is needed.
        if self.options.press.is_some() || self.people_there().await.len() <= STAY {
            return;
        }
        self.claim_before().await;
        let row = self.somebody_awaited().await;
        let leads = self.leads_of(&[row.id]).await;
        self.remember_keys(&leads).await;
        let is_on_its_way = leads.iter().any(|lead| self.is_on_its_way(lead.id));
        self.meets(met::ERASED_ON_ITS_WAY, is_on_its_way);
        self.meets(met::ERASED_UNDER_WAY, leads.iter().any(is_under_way));
        let id = PersonId::from_uuid(row.id);
        let erased = erasing::erase(&self.services, &self.caller, id).await;
        let erased = erased.expect("erased");
        assert!(erased.erased_at.is_some() && erased.email.is_none());
        let email = row.email.filter(|_| self.draws.percent(60));
        if let Some(email) = email {
            let again = person::Change {
                email: Some(email),
                first_name: Some("Again".into()),
                ..person::Change::default()
            };
            person::create(&self.services, &self.caller, again)
                .await
                .expect("the address is free");
        }
    }

    /// Two people are one.
    pub async fn merge_two(&mut self) {
        if self.options.press.is_some() || self.people_there().await.len() <= STAY {
            return;
        }
        let (one, other) = (
            self.some_person().await.id,
            self.somebody_awaited().await.id,
        );
        if one == other {
            return;
        }
        // What was claimed was claimed before, or after.
        let soon = Duration::seconds(1);
        self.clock.advance_to(self.clock.now() + soon);
        let leads = self.leads_of(&[one, other]).await;
        let is_on_its_way = leads.iter().any(|lead| self.is_on_its_way(lead.id));
        self.meets(met::MERGED_ON_ITS_WAY, is_on_its_way);
        let mut under_way: Vec<Uuid> = leads
            .iter()
            .filter(|lead| is_under_way(lead))
            .map(|lead| lead.sequence_id)
            .collect();
        under_way.sort_unstable();
        let both = under_way.windows(2).any(|pair| pair[0] == pair[1]);
        self.meets(met::MERGED_IN_ONE_SEQUENCE, both);
        let (survivor, duplicate) = (PersonId::from_uuid(one), PersonId::from_uuid(other));
        merging::merge(&self.services, &self.caller, survivor, duplicate)
            .await
            .expect("merged");
        self.book.merged.push(Merged {
            at: self.clock.now(),
            survivor: one,
            duplicate: other,
        });
        self.clock.advance_to(self.clock.now() + soon);
        let left = self.leads_of(&[other]).await;
        assert!(left.is_empty(), "left behind: {left:?}");
    }

    /// Somebody says not to be contacted by some ways any more.
    pub async fn opt_somebody_out(&mut self) {
        let row = self.some_person().await;
        let all = [
            Channel::Email,
            Channel::Sms,
            Channel::Whatsapp,
            Channel::Call,
            Channel::Linkedin,
        ];
        let mut channels: Vec<Channel> =
            all.into_iter().filter(|_| self.draws.percent(40)).collect();
        if channels.is_empty() {
            channels.push(Channel::Email);
        }
        let before = self.leads_of(&[row.id]).await;
        let id = PersonId::from_uuid(row.id);
        match consent::opt_out(&self.services, &self.caller, id, &channels).await {
            // The person has no such address.
            Ok(_) | Err(cadenza::app::AppError::Refused(_)) => {}
            Err(error) => panic!("opting out failed: {error}"),
        }
        let after = self.leads_of(&[row.id]).await;
        let going = |leads: &[lead::Model]| leads.iter().filter(|one| is_under_way(one)).count();
        self.meets(met::OPTED_OUT_AND_STOPPED, going(&after) < going(&before));
    }

    /// Mostly a worker has just taken something in hand.
    async fn claim_before(&mut self) {
        let mut workers = self.workers.iter();
        let awake = workers.position(|worker| worker.asleep_until.is_none());
        if let Some(index) = awake.filter(|_| self.draws.percent(90)) {
            self.claim(index, 5).await;
        }
    }

    /// Somebody, rather one to whom a message is on its way.
    async fn somebody_awaited(&self) -> persons::Model {
        let some = self.some_person().await;
        let there = self.people_there().await;
        let ids: Vec<Uuid> = there.iter().map(|row| row.id).collect();
        let leads = self.leads_of(&ids).await;
        let mut awaited: Vec<Uuid> = leads
            .iter()
            .filter(|lead| self.is_on_its_way(lead.id))
            .map(|lead| lead.person_id)
            .collect();
        awaited.sort_unstable();
        if awaited.is_empty() || self.draws.percent(15) {
            return some;
        }
        let id = self.draws.pick(&awaited);
        let found = there.into_iter().find(|row| row.id == id);
        found.unwrap_or(some)
    }

    fn meets(&mut self, what: &'static str, is_met: bool) {
        *self.met.entry(what).or_default() += usize::from(is_met);
    }

    /// Whether a message of the lead is in a worker's hands.
    fn is_on_its_way(&self, lead: Uuid) -> bool {
        let mut workers = self.workers.iter();
        workers.any(|worker| worker.holds_lead(lead))
    }

    async fn leads_of(&self, people: &[Uuid]) -> Vec<lead::Model> {
        lead::Entity::find()
            .filter(lead::Column::PersonId.is_in(people.iter().copied()))
            .all(self.services.db.read())
            .await
            .expect("leads")
    }

    async fn people_there(&self) -> Vec<persons::Model> {
        persons::Entity::find()
            .filter(persons::Column::ErasedAt.is_null())
            .all(self.services.db.read())
            .await
            .expect("people")
    }

    /// By what the provider knows the messages, which is erased with the person.
    async fn remember_keys(&mut self, leads: &[lead::Model]) {
        let sent = execution::Entity::find()
            .filter(execution::Column::LeadId.is_in(leads.iter().map(|lead| lead.id)))
            .all(self.services.db.read())
            .await
            .expect("executions");
        let keys = sent.into_iter();
        self.erased_keys
            .extend(keys.filter_map(|one| Some((one.id, one.message_id?))));
    }
}

fn is_under_way(lead: &lead::Model) -> bool {
    matches!(lead.status.as_str(), "ACTIVE" | "PAUSED")
}
