//! What must hold in the end.

use std::collections::{BTreeSet, HashMap};

use cadenza::domain::flow::{Action, Channel, Step};
use cadenza::store::Db;
use entity::{execution, lead, person, task};
use sea_orm::EntityTrait;
use uuid::Uuid;

use super::story::{People, Story};
use super::watch::Requests;
use crate::book::Book;

/// Every lead's row is what its events say.
pub fn log_explains_state(story: &Story, leads: &[lead::Model]) {
    assert_eq!(
        story.tales.len(),
        leads.len(),
        "leads of which the log knows nothing"
    );
    for lead in leads {
        let tale = &story.tales[&lead.id];
        let status = match lead.status.as_str() {
            "ACTIVE" => "LIVE",
            other => other,
        };
        assert_eq!(status, tale.status, "another status: {lead:?}");
        assert_eq!(lead.step_key, tale.step, "another step: {lead:?}");
        let quiet_until = tale.quiet_until.map(|until| until.timestamp_millis());
        assert_eq!(lead.quiet_until, quiet_until, "quiet otherwise: {lead:?}");
        let counted = (
            lead.messages_sent,
            lead.opens,
            lead.clicks,
            lead.replies,
            lead.bounced,
            lead.unsubscribed,
        );
        let told = (
            tale.messages,
            tale.opens,
            tale.clicks,
            tale.replies,
            tale.bounced,
            tale.unsubscribed,
        );
        assert_eq!(counted, told, "other counts: {lead:?}");
    }
}

/// Everything ended: what is left waits for a person, and says for what.
pub async fn everything_ended(
    db: &Db,
    book: &Book,
    story: &Story,
    leads: &[lead::Model],
    people: &People,
) {
    let tasks = task::Entity::find().all(db.read()).await.expect("tasks");
    let open: HashMap<Uuid, &task::Model> = tasks
        .iter()
        .filter(|task| task.status == "OPEN")
        .map(|task| (task.lead_id, task))
        .collect();
    for lead in leads {
        assert_eq!(lead.worker_id, None, "still held: {lead:?}");
        if matches!(lead.status.as_str(), "COMPLETED" | "STOPPED" | "PAUSED") {
            continue;
        }
        // Nobody moves a lead of which nobody knows whether its message left.
        if lead.hold.as_deref() == Some("UNCONFIRMED") {
            continue;
        }
        let (edition, sends) = story.runs(book, lead.sequence_id);
        assert!(sends, "switched off: {lead:?}");
        let step = lead.step_key.as_deref().and_then(|key| edition.step(key));
        let step = step.unwrap_or_else(|| panic!("nowhere: {lead:?}"));
        let person = &people[&lead.person_id];
        match lead.hold.as_deref() {
            Some("MISSING_ADDRESS") => {
                let missing = match step.action {
                    Action::Email(_) => person.email.is_none(),
                    Action::Task(ref task) if task.channel == Channel::Linkedin => {
                        person.linkedin_url.is_none()
                    }
                    _ => person.phone.is_none(),
                };
                assert!(missing, "waits for an address that is there: {lead:?}");
            }
            Some("MISSING_MERGE_DATA") => {
                assert!(
                    lacks_data(step, person),
                    "waits for data that is there: {lead:?}"
                );
            }
            Some("AWAITING_TASK") => {
                let open = open
                    .get(&lead.id)
                    .unwrap_or_else(|| panic!("waits for no task: {lead:?}"));
                assert_eq!(open.step_key, step.key, "waits for another task: {lead:?}");
                assert_eq!(
                    open.expires_at, None,
                    "waits for longer than it may: {lead:?}"
                );
            }
            _ => panic!("lost: {lead:?}"),
        }
    }
    for (lead, task) in open {
        let lead = leads.iter().find(|row| row.id == lead).expect("a lead");
        let waits = lead.step_key.as_ref() == Some(&task.step_key)
            && matches!(lead.status.as_str(), "ACTIVE" | "PAUSED");
        assert!(waits, "work for nothing: {task:?} {lead:?}");
    }
    for execution in executions(db).await {
        assert_ne!(execution.status, "SENDING", "still sending: {execution:?}");
    }
}

/// Whether a text of the step asks for something of the person that is not known.
fn lacks_data(step: &Step, person: &person::Model) -> bool {
    let text = format!("{:?}", step.action);
    (text.contains("{{ first_name }}") && person.first_name.is_none())
        || (text.contains("{{ attributes.tier }}") && person.attributes["tier"].is_null())
}

async fn executions(db: &Db) -> Vec<execution::Model> {
    execution::Entity::find()
        .all(db.read())
        .await
        .expect("executions")
}

/// What the provider took and what we say of it agree: a message that it took is SENT or
/// UNCONFIRMED, and one that we call SENT it took. A request may have been taken, whatever we know.
pub async fn ledger_agrees(db: &Db, book: &Book, requests: &Requests) {
    let taken: BTreeSet<Uuid> = book.messages().map(|(one, _)| one.execution).collect();
    for execution in executions(db).await {
        match (execution.channel.as_deref(), execution.status.as_str()) {
            (Some("WEBHOOK"), "SENT") => {
                let key = cadenza::domain::id::ExecutionId::from_uuid(execution.id).to_string();
                assert!(
                    requests.was_taken(&key),
                    "called SENT but never taken: {execution:?}"
                );
            }
            (Some("EMAIL" | "SMS" | "WHATSAPP"), status) => {
                let was_taken = taken.contains(&execution.id);
                match status {
                    "SENT" => assert!(was_taken, "called SENT but never taken: {execution:?}"),
                    "UNCONFIRMED" => {}
                    _ => assert!(!was_taken, "taken but called otherwise: {execution:?}"),
                }
            }
            _ => {}
        }
    }
}
