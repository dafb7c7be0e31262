//! What people do in the run of the examples, drawn by whose it is and which step it is about: the run
//! does it, and the naive reckoning knows of it.

use std::hash::{DefaultHasher, Hash, Hasher};

/// What a contact does with a message.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Deed {
    Opened,
    Clicked,
    Replied,
}

/// How a task ends by somebody's hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Done {
    Completed,
    Skipped,
}

/// A source of choices for one thing; the same thing always gets the same ones.
struct Dice(DefaultHasher);

impl Dice {
    fn of(thing: &[&str]) -> Self {
        let mut hasher = DefaultHasher::new();
        thing.hash(&mut hasher);
        Self(hasher)
    }

    fn below(&mut self, range: i64) -> i64 {
        "next".hash(&mut self.0);
        let drawn = i64::try_from(self.0.finish() >> 1).expect("63 bits");
        drawn % range
    }

    fn percent(&mut self, share: i64) -> bool {
        self.below(100) < share
    }

    /// How long somebody takes, in milliseconds: some hours, or some days.
    fn delay(&mut self) -> i64 {
        let hour = 3_600_000;
        let most = if self.percent(60) { 5 } else { 6 * 24 };
        1 + self.below(most * hour)
    }
}

/// What a contact does with the message of a step, and how many milliseconds after it left.
pub fn of_message(example: &str, person: &str, step: &str) -> Vec<(Deed, i64)> {
    let mut dice = Dice::of(&["message", example, person, step]);
    let mut deeds = Vec::new();
    for (deed, share) in [(Deed::Opened, 45), (Deed::Clicked, 35), (Deed::Replied, 12)] {
        if dice.percent(share) {
            deeds.push((deed, dice.delay()));
        }
    }
    deeds
}

/// How a task ends, and how many milliseconds after it was given; `None` where nobody ever does it,
/// which is only so where the lead goes on without it.
pub fn of_task(example: &str, person: &str, step: &str, has_timeout: bool) -> Option<(Done, i64)> {
    let mut dice = Dice::of(&["task", example, person, step]);
    let done = match dice.below(10) {
        0..=4 => Done::Completed,
        5..=7 => Done::Skipped,
        _ if has_timeout => return None,
        _ => Done::Completed,
    };
    Some((done, dice.delay()))
}

/// An attribute that somebody writes into a person, and how many milliseconds after the enrolment.
pub struct Completion {
    pub field: &'static str,
    pub value: serde_json::Value,
    pub after: i64,
}

/// What is written into a person of which nothing of that kind is known.
pub fn of_person(person: &str, knows: impl Fn(&str) -> bool) -> Vec<Completion> {
    let day = 24 * 3_600_000;
    let mut dice = Dice::of(&["person", person]);
    let mut all = Vec::new();
    // Some are never completed.
    if !knows("partner_tier") && dice.percent(75) {
        all.push(Completion {
            field: "partner_tier",
            value: "bronze".into(),
            after: 1 + dice.below(20 * day),
        });
    }
    if !knows("paid") && dice.percent(50) {
        all.push(Completion {
            field: "paid",
            value: true.into(),
            after: 1 + dice.below(14 * day),
        });
    }
    all
}
