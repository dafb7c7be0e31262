//! Sentences that an email should have.

use crate::domain::person_filter::searchable;

/// Beginnings of words by which an email tells how to receive no more, in the languages of the examples
/// and some more. Some languages write words together, so that they may stand within others.
const STEMS: [&str; 10] = [
    "unsubscrib",
    "abmeld",
    "abbestell",
    "désabonn",
    "désinscri",
    "descadastr",
    "disiscri",
    "uitschrijv",
    "afmeld",
    "no longer wish",
];

/// The same as whole words.
const PHRASES: [&str; 12] = [
    "opt out",
    "opt-out",
    "optout",
    "opting out",
    "cancelar",
    "remover",
    "dar de baja",
    "darse de baja",
    "darte de baja",
    "darme de baja",
    "date de baja",
    "dese de baja",
];

/// Whether a part of an email says how to receive no more.
pub(super) fn names_a_way_out(part: &str) -> bool {
    let part = searchable(part);
    STEMS.iter().any(|stem| part.contains(stem))
        || PHRASES.iter().any(|phrase| has_words(&part, phrase))
}

/// Whether a text has the phrase, and not only as a part of longer words.
fn has_words(text: &str, phrase: &str) -> bool {
    let is_letter = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    text.match_indices(phrase).any(|(at, found)| {
        let (before, after) = (text.get(..at), text.get(at + found.len()..));
        let before = before.and_then(|before| before.chars().next_back());
        let after = after.and_then(|after| after.chars().next());
        !is_letter(before) && !is_letter(after)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_way_out_is_named_by_whole_words() {
        for says in [
            "To OPT OUT, write back.",
            "opt\u{a0}out",
            "<a href=\"https://example.com/opt-out?x\">here</a>",
            "Zur Newsletterabmeldung",
            "Para se descadastrar, responda.",
            "Responda REMOVER.",
            "Si prefieres darte de baja, responde.",
            "Date de baja aquí.",
            "Me de\u{301}sabonner",
            "Para cancelar, responda.",
        ] {
            assert!(names_a_way_out(says), "{says}");
        }
        for says_not in [
            "We help you adopt outreach.",
            "They opt outright.",
            "calidad de baja",
            "Cancelaremos juntos",
            "",
        ] {
            assert!(!names_a_way_out(says_not), "{says_not}");
        }
    }
}
