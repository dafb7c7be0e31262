//! What must hold at the moment at which something is done: of a claim, of a message that leaves, of
//! an engine that goes to sleep.

use std::collections::HashMap;

use cadenza::domain::flow::Action;
use cadenza::store::Db;
use chrono::{DateTime, Utc};
use entity::{execution, lead, person, sender, sequence, suppression};
use sea_orm::{ColumnTrait, EntityTrait, QueryFilter};
use uuid::Uuid;

use super::predicate::holds;
use super::story::{People, Story};
use crate::book::Book;

async fn row<E: EntityTrait>(
    db: &Db,
    id: <E::PrimaryKey as sea_orm::PrimaryKeyTrait>::ValueType,
) -> E::Model {
    E::find_by_id(id)
        .one(db.read())
        .await
        .expect("reads")
        .expect("exists")
}

/// A message may be claimed only while its lead is in the step, its sequence and its sender send, and
/// its address may be contacted, and, if it is no request, its contact is not away. It is asked for again
/// as the message leaves: what came between stops it. Answers the person.
pub async fn may_go(db: &Db, execution_id: Uuid, now: DateTime<Utc>) -> person::Model {
    let execution = row::<execution::Entity>(db, execution_id).await;
    let lead = row::<lead::Entity>(db, execution.lead_id).await;
    let sequence = row::<sequence::Entity>(db, lead.sequence_id).await;
    let person = row::<person::Entity>(db, lead.person_id).await;
    assert_eq!(
        execution.status, "SENDING",
        "sent without a mark: {execution:?}"
    );
    assert_eq!(lead.status, "ACTIVE", "sent after a stop: {lead:?}");
    assert_eq!(person.erased_at, None, "sent to who is erased: {lead:?}");
    assert!(lead.worker_id.is_some(), "sent by nobody: {lead:?}");
    assert_eq!(
        sequence.status, "PUBLISHED",
        "sent while disabled: {execution:?}"
    );
    let current = sequence.published_version_id;
    assert_eq!(
        current,
        Some(execution.version_id),
        "sent as before an edit: {execution:?}"
    );
    if let Some(sender) = execution.sender_id {
        let is_quiet = lead
            .quiet_until
            .is_some_and(|until| until > now.timestamp_millis());
        assert!(!is_quiet, "sent while the contact is away: {lead:?}");
        let sender = row::<sender::Entity>(db, sender).await;
        assert!(sender.enabled, "sent by who is switched off: {execution:?}");
    }
    let channel = execution.channel.clone().unwrap_or_default();
    let address = match channel.as_str() {
        "EMAIL" => person.email_key.clone(),
        _ => person.phone.clone(),
    };
    let suppressed = suppression::Entity::find()
        .filter(suppression::Column::Channel.eq(channel))
        .filter(suppression::Column::Address.eq(address.unwrap_or_default()))
        .one(db.read())
        .await
        .expect("reads");
    assert!(suppressed.is_none(), "sent after an opt-out: {execution:?}");
    person
}

/// An engine that would sleep until `next_at` leaves nobody waiting whose step needs no sender: nobody
/// is due before, no condition holds, and no task is done, of leads that may go on.
pub fn may_sleep(
    story: &Story,
    book: &Book,
    leads: &[lead::Model],
    people: &People,
    now: DateTime<Utc>,
    next_at: Option<DateTime<Utc>>,
) {
    for lead in leads
        .iter()
        .filter(|lead| lead.status == "ACTIVE" && lead.worker_id.is_none())
    {
        let (edition, sends) = story.runs(book, lead.sequence_id);
        let step = lead.step_key.as_deref().and_then(|key| edition.step(key));
        let Some(step) = step.filter(|_| sends) else {
            continue;
        };
        if step.action.is_message() {
            continue;
        }
        let due_at = lead.due_at.and_then(DateTime::from_timestamp_millis);
        // A request that is due may wait for room.
        if let (Some(due_at), false) = (due_at, matches!(step.action, Action::Webhook(_))) {
            assert!(due_at > now, "overslept at {now}: {lead:?}");
            assert!(
                next_at.is_some_and(|at| at <= due_at),
                "will oversleep: {lead:?}"
            );
        }
        let tale = &story.tales[&lead.id];
        match (&step.action, lead.hold.as_deref()) {
            (Action::Condition(asked), Some("AWAITING_CONDITION")) => {
                let person = people.get(&lead.person_id).expect("a person");
                let held = holds(&asked.predicate, &tale.deeds, person);
                assert!(!held, "waits although it holds: {lead:?} {asked:?}");
            }
            (Action::Task(_), Some("AWAITING_TASK")) => {
                let given = tale.tasks.get(&step.key);
                let done = given.and_then(|given| given.outcome.as_ref());
                assert!(done.is_none(), "waits although its task is done: {lead:?}");
            }
            _ => {}
        }
    }
}

/// Whether a request may be made again: only if it is not known how the last one ended.
#[derive(Debug, Default)]
pub struct Requests {
    certain: HashMap<String, bool>,
}

impl Requests {
    /// A request was taken; `certain` says whether whoever made it knows.
    pub fn taken(&mut self, key: &str, certain: bool) {
        let before = self.certain.insert(key.to_owned(), certain);
        assert_ne!(
            before,
            Some(true),
            "repeated, though its end was known: {key}"
        );
    }

    /// Whoever made it has forgotten how it ended.
    pub fn forgotten(&mut self, key: &str) {
        if let Some(certain) = self.certain.get_mut(key) {
            *certain = false;
        }
    }

    /// It is on record that it was made.
    pub fn recorded(&mut self, key: &str) {
        self.certain.insert(key.to_owned(), true);
    }

    pub fn was_taken(&self, key: &str) -> bool {
        self.certain.contains_key(key)
    }
}
