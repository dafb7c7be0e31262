//! What must always hold, checked from the outside: the provider's ledger against the database.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use cadenza::store::Db;
use chrono::{DateTime, Datelike, Timelike, Utc, Weekday};
use entity::{event, execution, lead, sequence};
use sea_orm::{EntityTrait, QueryOrder};

use crate::provider::Accepted;

/// Nothing twice: our Message-IDs are one for each lead and step.
pub fn nothing_twice(ledger: &[Accepted]) {
    let mut seen = BTreeSet::new();
    for accepted in ledger {
        assert!(
            seen.insert(&accepted.message_id),
            "sent twice: {}",
            accepted.message_id
        );
    }
}

/// Nothing outside the window, reckoned naively: Monday to Friday, 9 to 17, in UTC, not on the
/// holiday.
pub fn in_window(at: DateTime<Utc>, holiday: chrono::NaiveDate) {
    let open = !matches!(at.weekday(), Weekday::Sat | Weekday::Sun)
        && (9..17).contains(&at.hour())
        && at.date_naive() != holiday;
    assert!(open, "sent outside the window: {at}");
}

/// Nothing above the cap of a sender and a day.
pub fn under_cap(ledger: &[Accepted], cap: usize) {
    let mut days: BTreeMap<_, usize> = BTreeMap::new();
    for accepted in ledger {
        *days
            .entry((accepted.sender, accepted.at.date_naive()))
            .or_default() += 1;
    }
    for (day, count) in days {
        assert!(
            count <= cap,
            "{count} messages on {day:?}, above the cap of {cap}"
        );
    }
}

/// Nothing faster than the pace of a sender.
pub fn paced(ledger: &[Accepted], gap: chrono::Duration) {
    let mut last: HashMap<_, DateTime<Utc>> = HashMap::new();
    for accepted in ledger {
        if let Some(before) = last.insert(accepted.sender, accepted.at) {
            let between = accepted.at - before;
            assert!(
                between >= gap,
                "two messages of one sender within {between}"
            );
        }
    }
}

/// The log has no gap, its order is that of time, and every lead's row is what its events say.
pub async fn log_explains_state(db: &Db) -> Vec<event::Model> {
    let events = event::Entity::find()
        .order_by_asc(event::Column::Seq)
        .all(db.read())
        .await
        .expect("events");
    for (index, event) in events.iter().enumerate() {
        assert_eq!(
            event.seq,
            i64::try_from(index).expect("small") + 1,
            "the log has a gap"
        );
    }
    let mut told: HashMap<uuid::Uuid, (&str, i32)> = HashMap::new();
    for event in &events {
        let Some(lead) = event.lead_id else { continue };
        let (status, sent) = told.entry(lead).or_insert(("", 0));
        match event.kind.as_str() {
            "LEAD_ENROLLED" | "LEAD_RESUMED" => *status = "LIVE",
            "LEAD_PAUSED" => *status = "PAUSED",
            "LEAD_COMPLETED" => *status = "COMPLETED",
            "LEAD_STOPPED" => *status = "STOPPED",
            "EXECUTION_SENT" => *sent += 1,
            _ => {}
        }
    }
    for lead in lead::Entity::find().all(db.read()).await.expect("leads") {
        let (status, sent) = told.get(&lead.id).copied().unwrap_or(("", 0));
        let row = match lead.status.as_str() {
            "ACTIVE" => "LIVE",
            other => other,
        };
        assert_eq!(row, status, "the log tells another story of {lead:?}");
        assert_eq!(
            lead.messages_sent, sent,
            "the log counts other messages for {lead:?}"
        );
    }
    events
}

/// A message may be claimed, and leave later, only while its lead is in the step and its sequence
/// sends.
pub async fn may_go(db: &Db, execution_id: uuid::Uuid) {
    let execution = execution::Entity::find_by_id(execution_id)
        .one(db.read())
        .await
        .expect("reads")
        .expect("exists");
    let lead = lead::Entity::find_by_id(execution.lead_id)
        .one(db.read())
        .await
        .expect("reads")
        .expect("exists");
    let sequence = sequence::Entity::find_by_id(lead.sequence_id)
        .one(db.read())
        .await
        .expect("reads")
        .expect("exists");
    assert_eq!(lead.status, "ACTIVE", "sent after a stop: {lead:?}");
    assert!(lead.worker_id.is_some(), "sent by nobody: {lead:?}");
    assert_eq!(sequence.status, "PUBLISHED", "sent while disabled");
}

/// Everything ended: what is left waits for a person, and says for what.
pub async fn everything_ended(db: &Db) {
    for lead in lead::Entity::find().all(db.read()).await.expect("leads") {
        let ended = matches!(lead.status.as_str(), "COMPLETED" | "STOPPED" | "PAUSED")
            || lead.hold.as_deref() == Some("UNCONFIRMED");
        assert!(ended, "lost: {lead:?}");
        assert_eq!(lead.worker_id, None, "still held: {lead:?}");
    }
    for execution in execution::Entity::find()
        .all(db.read())
        .await
        .expect("executions")
    {
        assert_ne!(execution.status, "SENDING", "still sending: {execution:?}");
    }
}

/// What the provider took and what we say of it agree: a message that it took is SENT or
/// UNCONFIRMED, and one that we call SENT it took.
pub async fn ledger_agrees(db: &Db, ledger: &[Accepted]) {
    let taken: BTreeSet<&str> = ledger.iter().map(|one| one.message_id.as_str()).collect();
    for execution in execution::Entity::find()
        .all(db.read())
        .await
        .expect("executions")
    {
        let was_taken = execution
            .message_id
            .as_deref()
            .is_some_and(|id| taken.contains(id));
        match execution.status.as_str() {
            "SENT" => assert!(was_taken, "called SENT but never taken: {execution:?}"),
            "UNCONFIRMED" => {}
            _ => assert!(!was_taken, "taken but called otherwise: {execution:?}"),
        }
    }
}
