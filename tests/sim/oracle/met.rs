//! What a run met: a check of limits that nothing ever comes up to, or of answers that nobody ever
//! gives, would say nothing.

use std::collections::BTreeMap;

use cadenza::domain::flow::{Action, Predicate};
use cadenza::store::Db;
use entity::execution;
use sea_orm::EntityTrait;

use super::{clock, ledger};
use crate::book::Book;

/// How often something was met.
pub type Met = BTreeMap<&'static str, usize>;

/// What the seeds of a normal run must meet between them, and how often at least.
pub const WANTED: [(&str, usize); 16] = [
    (ENGAGED, 40),
    (ANSWERED_YES, 15),
    (ANSWERED_NO, 20),
    (WARM_UP_REACHED, 3),
    (CAP_REACHED, 10),
    (DOMAIN_REACHED, 8),
    (PERSON_REACHED, 35),
    (SEQUENCE_REACHED, 2),
    (ERASED_UNDER_WAY, 10),
    (ERASED_ON_ITS_WAY, 1),
    (MERGED_IN_ONE_SEQUENCE, 8),
    (MERGED_ON_ITS_WAY, 2),
    (OPTED_OUT_AND_STOPPED, 10),
    (NEW_LEADS_REACHED, 3),
    (PACED, 20),
    (AFTER_HOLIDAY, 3),
];

/// A contact did something while a condition waited for it.
pub const ENGAGED: &str = "an engagement while a condition waited";
pub const ERASED_UNDER_WAY: &str = "somebody erased whose leads were under way";
pub const ERASED_ON_ITS_WAY: &str = "somebody erased while a message was on its way";
pub const MERGED_IN_ONE_SEQUENCE: &str = "two merged who were both under way in one sequence";
pub const MERGED_ON_ITS_WAY: &str = "two merged while a message was on its way";
pub const OPTED_OUT_AND_STOPPED: &str = "an opt-out that stopped a lead";
const ANSWERED_YES: &str = "a condition on engagement that held";
const ANSWERED_NO: &str = "a condition on engagement that was given up";
const WARM_UP_REACHED: &str = "a sender's day that its warm-up ended";
const CAP_REACHED: &str = "a sender's day that its cap ended";
const DOMAIN_REACHED: &str = "a domain's day that its limit ended";
const PERSON_REACHED: &str = "a person's day that its limit ended";
const SEQUENCE_REACHED: &str = "a sequence's day that its cap ended";
const NEW_LEADS_REACHED: &str = "a sequence's day on which no more leads were begun";
const PACED: &str = "a message that left as soon as its sender's pace let it";
const AFTER_HOLIDAY: &str = "a message soon after a holiday of its contact";

/// Adds what the provider's ledger tells of limits: the days on which one was come up to.
pub fn limits(book: &Book, met: &mut Met) {
    let mut add = |what, count: usize| *met.entry(what).or_default() += count;
    for ((sender, day), count) in ledger::sent_by_sender(book) {
        let sender = book.sender(sender);
        let warm = ledger::warm_up_on(sender, day);
        let is_warm = warm == Some(count) && sender.cap.is_none_or(|cap| cap > count);
        add(WARM_UP_REACHED, usize::from(is_warm));
        add(CAP_REACHED, usize::from(sender.cap == Some(count)));
    }
    let (people, domains) = ledger::sent_by_person_and_domain(book);
    let full = |counts: Vec<u32>, cap: Option<u32>| {
        let at_cap = counts.into_iter().filter(|count| Some(*count) == cap);
        at_cap.count()
    };
    add(
        PERSON_REACHED,
        full(people.into_values().collect(), book.per_person),
    );
    add(
        DOMAIN_REACHED,
        full(domains.into_values().collect(), book.per_domain),
    );
    for ((sequence, _), count) in ledger::begun_by_sequence(book) {
        let settings = &book.sequence(sequence).editions[0].settings;
        let is_reached = settings.max_new_leads_per_day == Some(count);
        add(NEW_LEADS_REACHED, usize::from(is_reached));
    }
    add(PACED, ledger::paced(book));
    let back = book
        .messages()
        .filter(|(one, _)| clock::was_holiday(book, one));
    add(AFTER_HOLIDAY, back.count());
    let mut sends = BTreeMap::new();
    for (one, _) in book.messages() {
        let settings = &book.edition(one.sequence, one.version).settings;
        let day = clock::day(one.at, &settings.time_zone);
        *sends.entry((one.sequence, day)).or_insert(0) += 1;
    }
    for ((sequence, _), count) in sends {
        let settings = &book.sequence(sequence).editions[0].settings;
        add(
            SEQUENCE_REACHED,
            usize::from(settings.max_sends_per_day == Some(count)),
        );
    }
}

/// Adds how conditions on engagement were answered.
pub async fn answers(db: &Db, book: &Book, met: &mut Met) {
    let rows = execution::Entity::find().all(db.read()).await;
    for row in rows.expect("executions") {
        let edition = book.edition(row.sequence_id, row.version_id);
        let Some(Action::Condition(condition)) =
            edition.step(&row.step_key).map(|step| &step.action)
        else {
            continue;
        };
        let mut asks = false;
        condition.predicate.visit(&mut |one| {
            asks |= matches!(
                one,
                Predicate::Opened(_) | Predicate::Clicked(_) | Predicate::Replied(true)
            );
        });
        let answer = match row.status.as_str() {
            "SENT" if asks => ANSWERED_YES,
            "SKIPPED" if asks => ANSWERED_NO,
            _ => continue,
        };
        *met.entry(answer).or_default() += 1;
    }
}
