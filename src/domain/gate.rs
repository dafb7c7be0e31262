//! What keeps a message that is due from leaving now, and until when: the pace, the health and the cap
//! of its sender, the caps of its sequence, its send window.
//!
//! The engine goes by these where it looks for work, and the API where it tells why nothing has been
//! sent: what is told is what the engine asks.

use chrono::{DateTime, Utc};

use super::planning::reopens_at;
use super::schedule::{self, Calendar};
use super::zone::Zone;

/// One thing that can be in a message's way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Gate {
    /// The sender has sent just now.
    SenderPace,
    /// The sender rests after trouble of its own.
    SenderHealth,
    /// The sender has sent what it may in a day of its clock.
    SenderCap,
    /// The sequence has sent what it may in a day of its clock.
    SequenceCap,
    /// As many leads as may have had their first message on this day of the sequence's clock.
    NewLeadsCap,
    /// The person has had as many messages as may be in a day of the workspace's clock, from whatever
    /// sequence.
    PersonFrequency,
    /// As many emails as may have gone to the recipient's domain on this day of the workspace's clock.
    DomainCap,
    /// No send window is open.
    Window,
    /// A send window would be open today, or would still open, were the day no holiday.
    Holiday,
}

impl Gate {
    /// Whether it is a sender's own.
    pub const fn is_of_sender(self) -> bool {
        matches!(
            self,
            Self::SenderPace | Self::SenderHealth | Self::SenderCap
        )
    }
}

/// A gate that is closed, and when it opens by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed {
    /// Which gate.
    pub gate: Gate,
    /// When it opens; later than the instant that was asked about.
    pub until: DateTime<Utc>,
}

/// A sender's pace: it lets the next message go at `next_free_at`.
pub fn pace(next_free_at: DateTime<Utc>, now: DateTime<Utc>) -> Option<Closed> {
    (next_free_at > now).then_some(Closed {
        gate: Gate::SenderPace,
        until: next_free_at,
    })
}

/// A sender's health: after trouble of its own it is left alone.
pub fn health(unhealthy_until: Option<DateTime<Utc>>, now: DateTime<Utc>) -> Option<Closed> {
    let until = unhealthy_until.filter(|until| *until > now)?;
    Some(Closed {
        gate: Gate::SenderHealth,
        until,
    })
}

/// A daily cap of which so much is used, on the day of a clock; `gate` says which.
pub fn daily(gate: Gate, cap: u32, used: i64, zone: &Zone, now: DateTime<Utc>) -> Option<Closed> {
    (used >= i64::from(cap)).then(|| Closed {
        gate,
        until: schedule::next_local_midnight(now, zone),
    })
}

/// The send windows on the clock that holds for the message.
pub fn window(calendar: &Calendar<'_>, now: DateTime<Utc>) -> Option<Closed> {
    if schedule::is_open(now, calendar) {
        return None;
    }
    let gate = if schedule::is_closed_by_holiday(now, calendar) {
        Gate::Holiday
    } else {
        Gate::Window
    };
    Some(Closed {
        gate,
        until: reopens_at(now, calendar),
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use chrono::{Duration, NaiveDate, TimeZone};

    use super::*;
    use crate::domain::settings::Settings;

    fn at(day: u32, hour: u32) -> DateTime<Utc> {
        Utc.with_ymd_and_hms(2026, 3, day, hour, 0, 0)
            .single()
            .expect("an instant")
    }

    /// Monday to Friday from nine to five in UTC, and Wednesday the fourth of March off.
    fn settings() -> Settings {
        let holiday = NaiveDate::from_ymd_opt(2026, 3, 4).expect("a date");
        Settings {
            holidays: BTreeSet::from([holiday]),
            ..Settings::default()
        }
    }

    #[test]
    fn a_closed_window_tells_a_holiday_from_a_night() {
        let (settings, zone) = (settings(), Zone::utc());
        let calendar = Calendar::new(&zone, &settings);
        let asked = |day, hour| window(&calendar, at(day, hour)).map(|it| (it.gate, it.until));
        assert_eq!(asked(3, 16), None);
        assert_eq!(
            asked(3, 17),
            Some((Gate::Window, at(5, 9))),
            "the evening before"
        );
        assert_eq!(
            asked(4, 8),
            Some((Gate::Holiday, at(5, 9))),
            "it would still open"
        );
        assert_eq!(asked(4, 12), Some((Gate::Holiday, at(5, 9))));
        assert_eq!(
            asked(4, 17),
            Some((Gate::Window, at(5, 9))),
            "it would be over"
        );
        assert_eq!(asked(7, 12), Some((Gate::Window, at(9, 9))), "a Saturday");
    }

    #[test]
    fn a_cap_opens_with_the_day_of_its_clock() {
        let cap = |cap, used| daily(Gate::SenderCap, cap, used, &Zone::utc(), at(3, 16));
        assert_eq!(cap(5, 4), None);
        let closed = Closed {
            gate: Gate::SenderCap,
            until: at(4, 0),
        };
        assert_eq!(cap(5, 5), Some(closed));
        assert_eq!(cap(0, 0), Some(closed), "nothing may be sent at all");
    }

    #[test]
    fn a_sender_rests_until_then_and_no_longer() {
        let now = at(3, 16);
        let later = now + Duration::milliseconds(1);
        assert_eq!(pace(now, now), None);
        assert_eq!(pace(later, now).map(|closed| closed.until), Some(later));
        assert_eq!(health(None, now), None);
        assert_eq!(health(Some(now), now), None);
        assert_eq!(
            health(Some(later), now).map(|closed| closed.until),
            Some(later)
        );
    }
}
