//! The day from which somebody is back. Of the days that an automatic reply names, the one that is
//! said to be that of the return comes first ("back on"), then the end of the absence ("until"); a day
//! about which nothing of the kind is said is none.

use chrono::{Days, NaiveDate};

use super::dates::{self, Named};

/// How much of a text is looked at, in characters.
const SEEN_MAX: usize = 3_000;
/// How far a word may stand from the day it is about, in characters.
const NEAR: usize = 28;
/// How far a word may stand behind the day it is about, in characters.
const BEHIND: usize = 44;

/// Words before the day of a return.
const BACK: &[&str] = &[
    "back",
    "return",
    "returns",
    "returning",
    "available again",
    "reachable again",
    "resume",
    "reopen",
    "respond after",
    "zurück",
    "zurueck",
    "wieder",
    "zurückkehren",
    "de retour",
    "retour",
    "reviens",
    "reviendrai",
    "revenons",
    "de nouveau",
    "de vuelta",
    "vuelta",
    "regreso",
    "regresaré",
    "regresare",
    "vuelvo",
    "volveré",
    "volvere",
    "torno",
    "tornerò",
    "tornero",
    "rientro",
    "rientrerò",
    "di ritorno",
    "ritorno",
    "ritornerò",
    "retorno",
    "retornarei",
    "volto",
    "voltarei",
    "regresso",
    "regressarei",
    "de volta",
    "terug",
    "weer",
    "tillbaka",
    "åter",
    "tilbage",
    "tilbake",
    "igen",
    "igjen",
    "takaisin",
    "palaan",
    "wracam",
    "wrócę",
    "powrót",
    "zpět",
    "vrátím",
    "вернусь",
    "вернёмся",
    "возвращаюсь",
    "выйду",
    "повернуся",
    "döneceğim",
    "dönüyorum",
    "dönüş",
];
/// Words before the end of an absence, with what belongs to them in between.
const UNTIL: &[&str] = &[
    "until",
    "till",
    "til",
    "'til",
    "through",
    "thru",
    "up to",
    "bis",
    "jusqu'au",
    "jusqu'à",
    "jusqu'a",
    "hasta",
    "fino al",
    "fino a",
    "sino al",
    "até",
    "tot",
    "t/m",
    "t.o.m",
    "t.o.m.",
    "till och med",
    "til og med",
    "до",
    "pana la",
    "până la",
];
/// The same, of words that mean something else in other languages: directly before the day, or with its
/// weekday in between.
const UNTIL_DIRECTLY: &[&str] = &["do", "do dnia", "do dne", "ate", "ate o dia"];
/// Words directly before the end of a range that a day begins.
const TO: &[&str] = &[
    "to", "-", "–", "—", "~", "〜", "～", "au", "al", "a", "ao", "à", "по", "e", "and", "und",
    "bis",
];
/// Words with which the end of an absence belongs to it.
const INCLUSIVE: &[&str] = &[
    "through",
    "thru",
    "einschließlich",
    "einschliesslich",
    "inklusive",
    "inkl",
    "inclusive",
    "including",
    "inclus",
    "compris",
    "inclusive",
    "incluso",
    "compreso",
    "t/m",
    "tot en met",
    "t.o.m",
    "till och med",
    "til og med",
    "włącznie",
    "včetně",
    "включительно",
];
/// Words that begin an absence, or the time after it.
const FROM: &[&str] = &[
    "from",
    "starting",
    "as of",
    "on",
    "ab",
    "ab dem",
    "am",
    "à partir du",
    "dès le",
    "le",
    "a partir del",
    "a partir de",
    "el",
    "dal",
    "il",
    "em",
    "vanaf",
    "op",
    "från",
    "fra",
    "od",
    "с",
    "den",
    "w",
    "в",
];
/// Words behind a day on which somebody is back.
const THEN_BACK: &[&str] = &[
    "back",
    "return",
    "available again",
    "wieder",
    "zurück",
    "de retour",
    "de nouveau",
    "de vuelta",
    "di ritorno",
    "rientr",
    "de volta",
    "terug",
    "weer bereikbaar",
    "tillbaka",
    "tilbage",
    "tilbake",
    "takaisin",
    "z powrotem",
    "zpět",
    "вернусь",
    "dön",
    "から出社",
    "から出勤",
    "より出社",
    "に戻",
    "から戻",
    "부터",
    "回来",
    "返回",
    "恢复",
];
/// Words directly behind the last day of an absence.
const THEN_UNTIL: &[&str] = &[
    "まで",
    "迄",
    "까지",
    "asti",
    "saakka",
    "kadar",
    "tarihine kadar",
    "止",
    "为止",
    "為止",
];

/// The day from which somebody is back, by what a text says that was written on a day.
pub(super) fn day(text: &str, written: NaiveDate, month_first: bool) -> Option<NaiveDate> {
    let text: String = text.chars().take(SEEN_MAX).collect();
    let text = text.to_lowercase().replace(['’', '‘'], "'");
    let named = dates::days(&text, written, month_first);
    let (weekdays, full): (Vec<Named>, Vec<Named>) = named.into_iter().partition(|day| day.weekday);
    stated(&text, &full).or_else(|| stated(&text, &weekdays))
}

/// What is said of a day.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    /// Somebody is back on it.
    Back,
    /// Somebody is away until it.
    Until,
    /// Somebody is back on it, as said behind it.
    ThenBack,
}

fn stated(text: &str, days: &[Named]) -> Option<NaiveDate> {
    let mut found: Vec<(Said, NaiveDate)> = Vec::new();
    for (at, day) in days.iter().enumerate() {
        let before = at
            .checked_sub(1)
            .and_then(|at| days.get(at))
            .map_or(0, |before| before.end);
        let (Some(ahead), Some(said)) = (day.day, said(text, day, before)) else {
            continue;
        };
        let next = said == Said::Until && is_inclusive(text, day);
        let back = if next {
            ahead.checked_add_days(Days::new(1))?
        } else {
            ahead
        };
        found.push((said, back));
    }
    let first = found.iter().map(|(said, _)| *said).min()?;
    let mut days = found
        .into_iter()
        .filter(|(said, _)| *said == first)
        .map(|(_, day)| day);
    if first == Said::Until {
        days.max()
    } else {
        days.next()
    }
}

/// What is said of a day; the words before it are looked for behind the day before.
fn said(text: &str, day: &Named, after_last: usize) -> Option<Said> {
    let start = after_last.max(back_from(text, day.start, NEAR));
    let before = text.get(start..day.start).unwrap_or_default();
    let behind = text
        .get(day.end..forward_from(text, day.end, BEHIND))
        .unwrap_or_default();
    let behind = behind
        .split(['.', '!', '?', '\n'])
        .find(|part| !part.trim().is_empty())
        .unwrap_or_default();
    let last = |words: &[&str]| {
        words
            .iter()
            .filter_map(|word| last_word(before, word))
            .max()
    };
    let (back, until) = (last(BACK), last(UNTIL));
    if back.is_some() && back > until {
        return Some(Said::Back);
    }
    let trimmed = before.trim_end();
    let joined = after_last > 0 && start == after_last && TO.contains(&trimmed.trim());
    let numbered = TO.iter().any(|word| {
        // "3 to 12 May"
        let rest = trimmed.strip_suffix(word).map(str::trim_end);
        rest.is_some_and(|rest| {
            rest.ends_with(|c: char| c.is_ascii_digit()) || ends_with_dot_of_number(rest)
        })
    });
    if until.is_some()
        || UNTIL_DIRECTLY.iter().any(|word| is_directly(before, word))
        || day.ends_range
        || joined
        || numbered
        || THEN_UNTIL
            .iter()
            .any(|word| behind.trim_start().starts_with(word))
    {
        return Some(Said::Until);
    }
    let begins = before.trim().is_empty() || last(FROM).is_some() || !text.is_ascii();
    (begins && THEN_BACK.iter().any(|word| behind.contains(word))).then_some(Said::ThenBack)
}

/// Whether a word stands directly before the end of a text, but for a weekday.
fn is_directly(before: &str, word: &str) -> bool {
    let end = before.trim_end_matches([' ', ',']);
    let day = dates::without_weekday(end).trim_end();
    last_word(day, word).is_some_and(|at| at + word.len() == day.len())
}

fn ends_with_dot_of_number(text: &str) -> bool {
    text.strip_suffix('.')
        .is_some_and(|rest| rest.ends_with(|c: char| c.is_ascii_digit()))
}

/// Whether the last day of an absence belongs to it, by the words around.
fn is_inclusive(text: &str, day: &Named) -> bool {
    let before = text
        .get(back_from(text, day.start, NEAR)..day.start)
        .unwrap_or_default();
    let behind = text
        .get(day.end..forward_from(text, day.end, 18))
        .unwrap_or_default();
    INCLUSIVE
        .iter()
        .any(|word| last_word(before, word).is_some() || last_word(behind, word).is_some())
}

/// Where a word stands last in a text, as a word.
fn last_word(text: &str, word: &str) -> Option<usize> {
    let mut found = text.rmatch_indices(word).map(|(at, _)| at);
    found.find(|at| {
        let before = text
            .get(..*at)
            .and_then(|before| before.chars().next_back());
        let behind = text
            .get(at + word.len()..)
            .and_then(|behind| behind.chars().next());
        let apart = |character: Option<char>| character.is_none_or(|c| !c.is_alphanumeric());
        apart(before) && apart(behind)
    })
}

/// The place so many characters before another.
fn back_from(text: &str, at: usize, characters: usize) -> usize {
    let before = text.get(..at).unwrap_or_default();
    before
        .char_indices()
        .rev()
        .nth(characters.saturating_sub(1))
        .map_or(0, |(at, _)| at)
}

/// The place so many characters behind another.
fn forward_from(text: &str, at: usize, characters: usize) -> usize {
    let behind = text.get(at..).unwrap_or_default();
    behind
        .char_indices()
        .nth(characters)
        .map_or(text.len(), |(end, _)| at + end)
}
