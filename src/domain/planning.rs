//! When a lead's step is due: the schedule on the clock that the settings choose.

use chrono::{DateTime, Duration, Utc};

use super::flow::CompiledStep;
use super::schedule::{self, Calendar};
use super::settings::{Settings, WindowClock};
use super::zone::Zone;

/// The clocks that a sequence's windows may be read on.
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// The sequence's own.
    pub sequence: &'a Zone,
    /// The sender's.
    pub sender: &'a Zone,
    /// The contact's, where it is known.
    pub person: Option<&'a Zone>,
}

/// The calendar that a lead's steps are planned on.
pub fn calendar<'a>(settings: &'a Settings, clocks: Clocks<'a>) -> Calendar<'a> {
    let zone = match settings.window_clock {
        WindowClock::Sequence => clocks.sequence,
        WindowClock::Sender => clocks.sender,
        // A contact whose clock is unknown is taken to live by the sequence's.
        WindowClock::Contact => clocks.person.unwrap_or(clocks.sequence),
    };
    Calendar::new(zone, settings)
}

/// When a step is due whose predecessor was done, or whose lead was enrolled, at `anchor`.
pub fn due_at(
    step: &CompiledStep,
    anchor: DateTime<Utc>,
    calendar: &Calendar<'_>,
) -> DateTime<Utc> {
    schedule::next_slot(anchor, &step.wait, step.business_days, calendar)
        .unwrap_or_else(|| far_off(anchor))
}

/// When a lead that found its window closed is due again.
pub fn reopens_at(now: DateTime<Utc>, calendar: &Calendar<'_>) -> DateTime<Utc> {
    schedule::next_open(now, calendar).unwrap_or_else(|| far_off(now))
}

/// The windows never open within the horizon: the lead is looked at again in a year.
fn far_off(from: DateTime<Utc>) -> DateTime<Utc> {
    from + Duration::days(365)
}
