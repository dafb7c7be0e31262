//! What a sender can still send today.

use chrono::{DateTime, NaiveDate, Utc};

use super::days::{Day, rest_of_day};
use crate::domain::gate;
use crate::domain::pace::Pace;
use crate::domain::planning::{self, Clocks, Whereabouts};
use crate::domain::schedule::{local_day, next_local_midnight};
use crate::domain::sender::{WarmUp, daily_cap_on};
use crate::domain::settings::Settings;
use crate::domain::zone::Zone;

/// A sender that is switched on, as far as it matters for what it can send.
#[derive(Debug, Clone, Copy)]
pub struct AbleSender<'a> {
    /// Its clock.
    pub zone: &'a Zone,
    /// How often in a row it had trouble of its own.
    pub failures: i32,
    /// When its pace lets the next message go.
    pub next_free_at: DateTime<Utc>,
    /// Until when it is left alone after trouble of its own.
    pub unhealthy_until: Option<DateTime<Utc>>,
    /// How far apart its messages are.
    pub pace: Pace,
    /// The most messages in a day; `None`, no limit.
    pub daily_cap: Option<u32>,
    /// The growth of the cap of a young mailbox.
    pub warm_up: Option<&'a WarmUp>,
}

impl AbleSender<'_> {
    /// Until when its pace and its health let no message go; `None` where they do now.
    pub fn rests_until(&self, now: DateTime<Utc>) -> Option<DateTime<Utc>> {
        let closed = [
            gate::pace(self.next_free_at, now),
            gate::health(self.unhealthy_until, now),
        ];
        let until = closed.into_iter().flatten().map(|closed| closed.until);
        until.max()
    }

    /// The most messages on a day of its own; `None`, no limit.
    pub fn cap_on(&self, day: NaiveDate) -> Option<u32> {
        daily_cap_on(day, self.daily_cap, self.warm_up)
    }
}

/// What is left for a sender of the day of a sequence.
#[derive(Debug, Clone, Copy)]
pub struct Today {
    day: Day,
    pace: Pace,
    cap: Option<u32>,
    is_used: bool,
}

impl Today {
    /// What is left for a sender of the day of a sequence's clock that holds `now`; `None` where it sends
    /// nothing more on it: it is in trouble, at rest until the day is over, or no window opens.
    pub fn of(
        sender: &AbleSender<'_>,
        clock: &Zone,
        settings: &Settings,
        now: DateTime<Utc>,
    ) -> Option<Self> {
        let from = sender.rests_until(now).unwrap_or(now);
        if sender.failures > 0 || from >= next_local_midnight(now, clock) {
            return None;
        }
        let clocks = Clocks {
            sequence: clock,
            sender: sender.zone,
            person: &Whereabouts::default(),
        };
        let day = rest_of_day(from, clock, &planning::calendar(settings, clocks));
        let on = local_day(day.opening?, sender.zone);
        Some(Self {
            day,
            pace: sender.pace,
            cap: sender.cap_on(on),
            is_used: on == local_day(now, sender.zone),
        })
    }

    /// Whether it matters how much the sender has sent on its own day so far.
    pub const fn asks_what_is_used(&self) -> bool {
        self.cap.is_some() && self.is_used
    }

    /// How many messages the sender can still send, having sent `used` on its own day so far.
    pub fn room(&self, used: i64) -> u64 {
        let used = if self.is_used { used } else { 0 };
        let left_of_cap = match self.cap {
            None => u64::MAX,
            Some(cap) => u64::try_from(i64::from(cap) - used).unwrap_or(0),
        };
        self.day.room(left_of_cap, self.pace)
    }
}
