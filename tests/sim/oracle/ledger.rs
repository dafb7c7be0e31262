//! What the provider was handed: nothing twice, nothing above a cap, nothing too fast, nothing too
//! early or too late, and nobody else's.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use cadenza::domain::flow::{Action, Channel, Step};
use cadenza::domain::id::SenderId;
use chrono::{DateTime, Duration, NaiveDate, Utc};
use uuid::Uuid;

use super::clock;
use crate::book::{Book, Handed, Sender};

/// All that is asked of the ledger as a whole.
pub fn check(book: &Book) {
    nothing_twice(book);
    under_senders_caps(book);
    under_sequences_caps(book);
    under_workspace_limits(book);
    paced(book);
}

/// Nothing twice: one execution for each lead and step, and a message of it taken at most once. Whether
/// a request may be repeated is asked when it is made.
fn nothing_twice(book: &Book) {
    let (mut keys, mut steps, mut executions) = (BTreeSet::new(), BTreeSet::new(), HashMap::new());
    for (one, _) in book.messages() {
        let is_new = keys.insert(&one.key) && steps.insert((one.lead, &one.step));
        assert!(is_new, "sent twice: {one:?}");
    }
    for one in &book.handed {
        let step = (one.lead, one.step.as_str());
        let execution = executions.entry(step).or_insert(one.execution);
        assert_eq!(
            *execution, one.execution,
            "two executions of one step: {one:?}"
        );
    }
}

/// What the warm-up of a sender allows on a day.
pub fn warm_up_on(sender: &Sender, day: NaiveDate) -> Option<u32> {
    sender.warm_up.map(|(from, first, more)| {
        let days = (day - from).num_days().max(0);
        first + more * u32::try_from(days).expect("small")
    })
}

fn cap_on(sender: &Sender, day: NaiveDate) -> Option<u32> {
    let warm = warm_up_on(sender, day);
    [sender.cap, warm].into_iter().flatten().min()
}

/// How many messages left by each sender on each day of its clock.
pub fn sent_by_sender(book: &Book) -> BTreeMap<(SenderId, NaiveDate), u32> {
    let mut days = BTreeMap::new();
    for (one, sender) in book.messages() {
        let day = clock::day(one.at, book.sender(sender).zone);
        *days.entry((sender, day)).or_default() += 1;
    }
    days
}

/// Nothing above the cap of a sender and a day of its clock; a warm-up lowers it.
fn under_senders_caps(book: &Book) {
    for ((sender, day), count) in sent_by_sender(book) {
        let sender = book.sender(sender);
        if let Some(cap) = cap_on(sender, day) {
            assert!(
                count <= cap,
                "{count} messages on {day}, above the cap of {cap}: {sender:?}"
            );
        }
    }
}

fn day_of(book: &Book, at: DateTime<Utc>, one: &Handed) -> NaiveDate {
    let zone = &book.edition(one.sequence, one.version).settings.time_zone;
    clock::day(at, zone)
}

/// How many leads each sequence began on each day of its clock: a lead's first message counts on the day
/// of its first attempt.
pub fn begun_by_sequence(book: &Book) -> BTreeMap<(Uuid, NaiveDate), u32> {
    let (mut new, mut known) = (BTreeMap::new(), HashSet::new());
    for (one, _) in book.messages() {
        if known.insert(one.lead) {
            let mut attempts = book
                .handed
                .iter()
                .filter(|other| other.execution == one.execution);
            let first = attempts.rfind(|other| other.attempt == 1 && other.at <= one.at);
            // One that was settled as never sent was counted by its first attempt, which nobody saw.
            if let Some(first) = first {
                let day = day_of(book, first.claimed_at, first);
                *new.entry((one.sequence, day)).or_default() += 1;
            }
        }
    }
    new
}

/// Nothing above the caps of a sequence and a day of its clock.
fn under_sequences_caps(book: &Book) {
    let mut sends: BTreeMap<(Uuid, NaiveDate), u32> = BTreeMap::new();
    let new = begun_by_sequence(book);
    for (one, _) in book.messages() {
        *sends
            .entry((one.sequence, day_of(book, one.at, one)))
            .or_default() += 1;
    }
    for (counts, what) in [(sends, "messages"), (new, "new leads")] {
        for ((sequence, day), count) in counts {
            let settings = &book.sequence(sequence).editions[0].settings;
            let cap = match what {
                "messages" => settings.max_sends_per_day,
                _ => settings.max_new_leads_per_day,
            };
            if let Some(cap) = cap {
                assert!(
                    count <= cap,
                    "{count} {what} of a sequence on {day}, above {cap}"
                );
            }
        }
    }
}

/// How many messages went to each person on a day of the workspace's clock.
type ByPerson = BTreeMap<(Uuid, NaiveDate), u32>;
/// How many emails went to each domain on a day of the workspace's clock.
type ByDomain<'a> = BTreeMap<(&'a str, NaiveDate), u32>;

/// How many messages went to each person and to each domain, day by day.
pub fn sent_by_person_and_domain(book: &Book) -> (ByPerson, ByDomain<'_>) {
    let (mut people, mut domains) = (ByPerson::new(), ByDomain::new());
    for (one, _) in book.messages() {
        let day = clock::day(one.at, book.workspace_zone);
        let person = book.person_at(one.person, one.claimed_at);
        *people.entry((person, day)).or_default() += 1;
        if let Some((_, domain)) = one.recipient.rsplit_once('@') {
            *domains.entry((domain, day)).or_default() += 1;
        }
    }
    (people, domains)
}

/// Nothing above what the workspace allows to a person, and to a domain, in a day of its clock.
fn under_workspace_limits(book: &Book) {
    let (people, domains) = sent_by_person_and_domain(book);
    let most = |counts: Vec<u32>| counts.into_iter().max().unwrap_or(0);
    if let Some(cap) = book.per_person {
        let most = most(people.into_values().collect());
        assert!(
            most <= cap,
            "{most} messages to a person in a day, above {cap}"
        );
        under_limits_of_both(book, cap);
    }
    if let Some(cap) = book.per_domain {
        let most = most(domains.into_values().collect());
        assert!(
            most <= cap,
            "{most} emails to a domain in a day, above {cap}"
        );
    }
}

/// Whoever was two people gets what is left to both together.
fn under_limits_of_both(book: &Book, cap: u32) {
    if book.merged.is_empty() {
        return;
    }
    let messages: Vec<(&Handed, NaiveDate)> = book
        .messages()
        .map(|(one, _)| (one, clock::day(one.at, book.workspace_zone)))
        .collect();
    for (one, today) in &messages {
        let is_theirs = |other: &Handed| {
            let who = |handed: &Handed| book.person_at(handed.person, one.claimed_at);
            who(other) == who(one)
        };
        let was_merged = book.merged.iter().any(|merged| {
            merged.at < one.claimed_at
                && book.person_at(merged.survivor, one.claimed_at)
                    == book.person_at(one.person, one.claimed_at)
        });
        if !was_merged {
            continue;
        }
        let before = messages.iter().filter(|(other, day)| {
            day == today && other.claimed_at < one.claimed_at && is_theirs(other)
        });
        let before = u32::try_from(before.count()).expect("small");
        assert!(
            before < cap,
            "{before} messages before in the day of who was two, above {cap}: {one:?}"
        );
    }
}

/// Nothing faster than the pace of a sender. Answers how many messages followed another by no more than
/// the gap, what chance may add to it, and a moment: those that it held back.
pub fn paced(book: &Book) -> usize {
    let (mut last, mut held_back) = (HashMap::<SenderId, DateTime<Utc>>::new(), 0);
    for (one, sender) in book.messages() {
        if let Some(before) = last.insert(sender, one.at) {
            let between = one.at - before;
            let (gap, jitter) = (book.sender(sender).gap, book.sender(sender).jitter);
            assert!(
                between >= gap,
                "two messages of one sender within {between}: {one:?}"
            );
            let is_next = between <= gap + jitter + Duration::seconds(60);
            held_back += usize::from(gap > Duration::zero() && is_next);
        }
    }
    held_back
}

/// What is asked of each thing that is handed over.
pub fn check_handed(book: &Book, one: &Handed) {
    let edition = book.edition(one.sequence, one.version);
    let step = edition.step(&one.step).expect("a step of its version");
    assert_eq!(
        step.action.channel(),
        Some(one.channel),
        "another channel: {one:?}"
    );
    clock::in_window(book, one);
    let Some(sender) = one.sender else { return };
    assert!(
        senders(step).contains(&sender),
        "a sender that the step does not name: {one:?}"
    );
    if let (Some(max), Some(due_at)) = (edition.settings.max_lateness, one.due_at) {
        let of_sender = Some(book.sender(sender).zone);
        let zone = clock::zone_of(&edition.settings, of_sender, one.person_zone.as_deref());
        let last = clock::later(due_at, max, zone);
        assert!(one.claimed_at <= last, "sent after {last}: {one:?}");
    }
    one_sender(book, one, sender, step);
    one_variant(book, one, step);
}

fn senders(step: &Step) -> &[SenderId] {
    match &step.action {
        Action::Email(email) => &email.senders,
        Action::Sms(text) | Action::Whatsapp(text) => &text.senders,
        _ => &[],
    }
}

/// A lead hears from one sender on a channel, as long as its steps name that one.
fn one_sender(book: &Book, one: &Handed, sender: SenderId, step: &Step) {
    let before = book.messages().filter(|(other, _)| {
        other.lead == one.lead && other.channel == one.channel && other.key != one.key
    });
    if let Some((_, known)) = before.last() {
        let named = senders(step).contains(&known);
        assert!(
            !named || sender == known,
            "not from {known}, who wrote before: {one:?}"
        );
    }
}

/// A lead's variant is one that may be chosen, and the same at every attempt.
fn one_variant(book: &Book, one: &Handed, step: &Step) {
    let Some(variant) = &one.variant else { return };
    let may_be = match &step.action {
        Action::Email(email) => email
            .variants
            .iter()
            .any(|it| it.key == *variant && it.enabled && it.weight > 0),
        Action::Sms(text) | Action::Whatsapp(text) => text
            .variants
            .iter()
            .any(|it| it.key == *variant && it.enabled && it.weight > 0),
        _ => false,
    };
    assert!(may_be, "a variant that nobody should get: {one:?}");
    for other in &book.handed {
        if other.execution == one.execution && other.version == one.version {
            assert_eq!(other.variant, one.variant, "another variant: {one:?}");
        }
    }
}

/// Whether it is a message, and counts for its lead.
pub fn is_message(channel: Option<&str>) -> bool {
    let channel = channel.and_then(|word| word.parse().ok());
    matches!(
        channel,
        Some(Channel::Email | Channel::Sms | Channel::Whatsapp)
    )
}
