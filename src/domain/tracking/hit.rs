//! Whether it was the contact who opened a message or followed a link, or a machine.

use chrono::{DateTime, TimeDelta, Utc};
use strum::{Display, IntoStaticStr};

use super::agent::Agent;

/// Nobody reads a message sooner after it was handed over: servers that look for harm do.
const SOON: TimeDelta = TimeDelta::seconds(2);
/// Who follows so many links of a message at once looks for harm.
const LINKS_AT_ONCE: usize = 3;

/// What kind of machine it was.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Display, IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Machine {
    /// It says that it is a program.
    Robot,
    /// It fetches images for the sake of privacy, whether or not anybody opens the message.
    PrivacyProxy,
    /// It looks into messages for harm: it came right after the message, or followed many links at once.
    Scanner,
}

/// Which machine it was; none where it was the contact, as far as anybody can tell. `sent_at` is when the
/// message was handed over, where that is known yet.
pub fn machine(
    agent: Agent,
    sent_at: Option<DateTime<Utc>>,
    now: DateTime<Utc>,
) -> Option<Machine> {
    match agent {
        Agent::Robot => Some(Machine::Robot),
        Agent::PrivacyProxy => Some(Machine::PrivacyProxy),
        Agent::Person => {
            let is_soon = sent_at.is_none_or(|sent_at| now - sent_at < SOON);
            is_soon.then_some(Machine::Scanner)
        }
    }
}

/// Which machine followed these links of one message within a second; none where it was the contact.
pub fn machine_at_once(links: impl IntoIterator<Item = u16>) -> Option<Machine> {
    let different: std::collections::BTreeSet<u16> = links.into_iter().collect();
    (different.len() >= LINKS_AT_ONCE).then_some(Machine::Scanner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_comes_too_soon_or_everywhere_at_once_is_a_machine() {
        let sent = DateTime::from_timestamp(1_000, 0).expect("an instant");
        let after = |seconds| sent + TimeDelta::seconds(seconds);
        let person = |at| machine(Agent::Person, Some(sent), at);
        assert_eq!(person(after(1)), Some(Machine::Scanner));
        assert_eq!(person(after(2)), None);
        assert_eq!(
            machine(Agent::Person, None, after(9)),
            Some(Machine::Scanner)
        );
        assert_eq!(
            machine(Agent::Robot, Some(sent), after(99)),
            Some(Machine::Robot)
        );
        let proxy = machine(Agent::PrivacyProxy, Some(sent), after(99));
        assert_eq!(proxy, Some(Machine::PrivacyProxy));
        assert_eq!(machine_at_once([1, 1, 1, 2]), None);
        assert_eq!(machine_at_once([1, 2, 3]), Some(Machine::Scanner));
    }
}
