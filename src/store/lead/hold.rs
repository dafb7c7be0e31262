//! The holds that statements ask for, as lists of SQL: what the lead machine says of each hold, and its
//! words, are written here once, and a test holds them against it.

/// Those with which a lead waits in its step for something to happen.
pub(in crate::store) const AWAITING: &str = "('AWAITING_CONDITION', 'AWAITING_TASK')";

/// Those with which a lead is in its step.
pub(in crate::store) const IN_STEP: &str = "('UNCONFIRMED', 'AWAITING_CONDITION', 'AWAITING_TASK')";

/// Those that end when a person is changed: what lacked is there, or a condition may hold.
pub(in crate::store) const FOR_PERSON: &str =
    "('MISSING_MERGE_DATA', 'MISSING_ADDRESS', 'AWAITING_CONDITION')";

/// Those that end when the step is changed: all with which a lead waits for something.
pub(in crate::store) const FOR_STEP: &str =
    "('MISSING_MERGE_DATA', 'MISSING_ADDRESS', 'AWAITING_CONDITION', 'AWAITING_TASK')";

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use strum::IntoEnumIterator;

    use super::*;
    use crate::domain::lead::Hold;

    fn lists(list: &str, is_meant: impl Fn(Hold) -> bool) {
        let words = list.trim_matches(['(', ')']).split(", ");
        let words: BTreeSet<&str> = words.map(|word| word.trim_matches('\'')).collect();
        let meant = Hold::iter().filter(|hold| is_meant(*hold));
        let meant: BTreeSet<&str> = meant.map(<&str>::from).collect();
        assert_eq!(words, meant);
    }

    #[test]
    fn each_list_holds_what_the_lead_machine_says() {
        lists(AWAITING, Hold::awaits);
        lists(IN_STEP, |hold| hold == Hold::Unconfirmed || hold.awaits());
        lists(FOR_PERSON, |hold| {
            hold.lacks() || hold == Hold::AwaitingCondition
        });
        lists(FOR_STEP, |hold| hold.lacks() || hold.awaits());
    }
}
