//! What kind of world a seed makes.

use chrono::Duration;

use crate::draws::Draws;
use crate::provider::Troubles;

/// What a seed draws.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// One straight flow of emails on one clock; else everything that a sequence can be.
    pub plain: bool,
    pub people: usize,
    pub steps: usize,
    pub senders: usize,
    pub cap: u32,
    pub gap: Duration,
    pub troubles: Troubles,
    pub crashes: u64,
    pub naps: u64,
    pub meddling: u64,
    /// Where much is to come up to one thing that is rare else.
    pub press: Option<Press>,
}

/// What a world is made to meet: limits that others seldom come up to, and contacts who do something
/// just while a condition waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Press {
    /// Senders that warm up, without other caps.
    WarmUp,
    /// Few emails to a domain in a day, without other limits.
    Domain,
    /// Low caps of senders and sequences, and contacts with holidays of their own.
    Caps,
}

/// Seeds from here on press, every third one for the same thing; none of them is plain.
pub const PRESSING: u64 = 1_000_000;

impl Options {
    /// Every third seed is plain, of those that do not press.
    pub fn drawn(seed: u64) -> Self {
        let draws = Draws::seeded(seed ^ 0x5eed);
        let draw = |range: u64| draws.below(range);
        let small = |number: u64| usize::try_from(number).expect("small");
        let press = (seed >= PRESSING).then_some(match seed % 3 {
            0 => Press::WarmUp,
            1 => Press::Domain,
            _ => Press::Caps,
        });
        let plain = press.is_none() && seed % 3 == 1;
        Self {
            plain,
            people: 6 + small(draw(18)),
            steps: 1 + small(draw(4)),
            senders: 1 + small(draw(3)),
            cap: 3 + u32::try_from(draw(12)).expect("small"),
            gap: Duration::seconds(if draw(2) == 0 { 0 } else { 90 }),
            troubles: Troubles {
                soft: draw(2) * 150,
                hard: draw(2) * 60,
                sender: draw(2) * 60,
                ambiguous: draw(2) * 60,
            },
            crashes: draw(2) * 40,
            naps: draw(2) * 25,
            // There is more to meddle with where there are more kinds of things.
            meddling: match press {
                Some(_) => 300,
                None => draw(2) * if plain { 60 } else { 250 },
            },
            press,
        }
    }
}
