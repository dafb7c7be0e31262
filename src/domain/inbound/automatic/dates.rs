//! Days as people write them, found in a text: numbers in the orders of several countries, names of
//! months and weekdays in several languages.

mod names;

use chrono::{Datelike, Days, NaiveDate};

use self::names::{BEFORE_MONTH, MONTHS, ORDINALS, WEEKDAYS};

/// A day that a text names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Named {
    /// Where its words begin.
    pub start: usize,
    /// Where they end.
    pub end: usize,
    /// The day, if it lies ahead.
    pub day: Option<NaiveDate>,
    /// Whether it says no more than a weekday.
    pub weekday: bool,
    /// Whether it ends a range that is written as one: "July 10-31".
    pub ends_range: bool,
}

/// How far ahead a day may lie.
const AHEAD_MAX: Days = Days::new(400);
/// How far ahead a day without a year may lie: what is nearly a year away has just been.
const AHEAD_WITHOUT_YEAR: Days = Days::new(300);

/// What a text consists of.
#[derive(Debug, Clone, Copy)]
struct Token<'a> {
    start: usize,
    text: &'a str,
}

impl Token<'_> {
    fn end(self) -> usize {
        self.start + self.text.len()
    }

    /// A number of at most so many digits.
    fn number(self, digits: usize) -> Option<u32> {
        (self.text.len() <= digits)
            .then(|| self.text.parse().ok())
            .flatten()
    }

    fn year(self) -> Option<i32> {
        let year = self.number(4)?;
        let full = self.text.len() == 4 && (2000..2100).contains(&year);
        full.then(|| year.try_into().ok()).flatten()
    }
}

/// The days that a text, in small letters, names, seen from the one on which it was written.
pub(super) fn days(text: &str, written: NaiveDate, month_first: bool) -> Vec<Named> {
    let tokens = tokens(text);
    let mut named = Vec::new();
    let mut at = 0;
    while let Some(rest) = tokens.get(at..).filter(|rest| !rest.is_empty()) {
        match one(rest, written, month_first) {
            Some((length, found)) => {
                named.push(found);
                at += length;
            }
            None => at += 1,
        }
    }
    named
}

fn tokens(text: &str) -> Vec<Token<'_>> {
    let mut tokens: Vec<Token<'_>> = Vec::new();
    let kind = |c: char| {
        if c.is_ascii_digit() {
            1
        } else if c.is_alphabetic() || c == '\u{301}' {
            2
        } else {
            0
        }
    };
    let mut last = 0;
    for (start, character) in text.char_indices() {
        let this = kind(character);
        let end = start + character.len_utf8();
        if character.is_whitespace() {
            last = 0;
            continue;
        }
        // In the east, the word for year, month or day is joined to what follows.
        let unit = last == 1 && "年月日년월일".contains(character);
        match tokens.last_mut() {
            Some(token) if this != 0 && this == last => {
                token.text = text.get(token.start..end).unwrap_or(token.text);
            }
            _ => tokens.push(Token {
                start,
                text: text.get(start..end).unwrap_or_default(),
            }),
        }
        last = if unit { 0 } else { this };
    }
    tokens
}

/// The day that begins with these tokens: over how many, and which it is.
fn one(tokens: &[Token<'_>], written: NaiveDate, month_first: bool) -> Option<(usize, Named)> {
    let first = *tokens.first()?;
    let (length, date, ends_range) = in_numbers(tokens, month_first)
        .or_else(|| month_after(tokens))
        .or_else(|| month_before(tokens))
        .map(|(length, date)| (length, date.resolve(written), date.ends_range))
        .or_else(|| weekday(first, written).map(|day| (1, Some(day), false)))?;
    let end = tokens.get(length - 1)?.end();
    let weekday = length == 1;
    let named = Named {
        start: first.start,
        end,
        day: date,
        weekday,
        ends_range,
    };
    Some((length, named))
}

#[derive(Debug, Clone, Copy)]
struct Date {
    year: Option<i32>,
    month: u32,
    day: u32,
    ends_range: bool,
}

impl Date {
    fn new(year: Option<i32>, month: u32, day: u32) -> Option<Self> {
        let there = (1..=12).contains(&month) && (1..=31).contains(&day);
        there.then_some(Self {
            year,
            month,
            day,
            ends_range: false,
        })
    }

    /// The day, if it lies ahead; without a year, the next there is.
    fn resolve(self, written: NaiveDate) -> Option<NaiveDate> {
        let ahead = |day: &NaiveDate, most| {
            *day >= written
                && written
                    .checked_add_days(most)
                    .is_some_and(|end| *day <= end)
        };
        if let Some(year) = self.year {
            let day = NaiveDate::from_ymd_opt(year, self.month, self.day);
            return day.filter(|day| ahead(day, AHEAD_MAX));
        }
        let years = [written.year(), written.year() + 1].into_iter();
        let mut days = years.filter_map(|year| NaiveDate::from_ymd_opt(year, self.month, self.day));
        days.find(|day| ahead(day, AHEAD_WITHOUT_YEAR))
    }
}

/// 2026-03-05, 5.3.2026, 5.3., 5/3/26, 3/5, 2026年3月5日, 3월 5일.
fn in_numbers(tokens: &[Token<'_>], month_first: bool) -> Option<(usize, Date)> {
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let number = |at: usize, digits| tokens.get(at).and_then(|token| token.number(digits));
    if let Some(year) = tokens.first()?.year() {
        let divided = matches!(text(1), "-" | "/" | ".") && text(3) == text(1);
        let east = starts(text(1), &["年", "년"]) && starts(text(3), &["月", "월"]);
        let date =
            Date::new(Some(year), number(2, 2)?, number(4, 2)?).filter(|_| divided || east)?;
        return Some((if east { 6.min(tokens.len()) } else { 5 }, date));
    }
    let (first, second) = (number(0, 2)?, number(2, 2));
    if starts(text(1), &["月", "월"]) {
        let date = Date::new(None, first, second?)?;
        return starts(text(3), &["日", "일"]).then_some((4, date));
    }
    let (divider, second) = (text(1), second?);
    if !matches!(divider, "." | "/" | "-") {
        return None;
    }
    let american = divider == "/" && (month_first && first <= 12 || second > 12);
    let (month, day) = if american {
        (first, second)
    } else {
        (second, first)
    };
    if text(3) == divider {
        let year = tokens.get(4).and_then(|token| {
            let short = token.number(2).filter(|_| token.text.len() == 2);
            let short = short
                .and_then(|year| i32::try_from(year).ok())
                .map(|year| 2000 + year);
            token.year().or(short)
        });
        if let Some(year) = year {
            return Some((5, Date::new(Some(year), month, day)?));
        }
    }
    // Without a year, a dot may be that of a time or of a list: a second must follow.
    let closed = divider == "/" || divider == "." && text(3) == ".";
    let date = Date::new(None, month, day).filter(|_| closed)?;
    Some((if divider == "." { 4 } else { 3 }, date))
}

/// 5 May 2026, 5th of May, 5. Mai, 5 de mayo de 2026, 1er mai.
fn month_after(tokens: &[Token<'_>]) -> Option<(usize, Date)> {
    let day = tokens.first()?.number(2)?;
    let mut at = 1;
    for _ in 0..3 {
        let passed = tokens
            .get(at)
            .is_some_and(|token| BEFORE_MONTH.contains(&token.text));
        at += usize::from(passed);
    }
    let month = month(tokens.get(at)?.text)?;
    let (length, year) = year_after(tokens, at + 1);
    Some((length, Date::new(year, month, day)?))
}

/// May 5th, 2026, and July 10-31, which ends with its last day.
fn month_before(tokens: &[Token<'_>]) -> Option<(usize, Date)> {
    let month = month(tokens.first()?.text)?;
    let text = |at: usize| tokens.get(at).map_or("", |token| token.text);
    let mut at = 1 + usize::from(text(1) == ".");
    let mut day = tokens.get(at)?.number(2)?;
    // "May 10:30" is a time.
    if text(at + 1) == ":" {
        return None;
    }
    at += 1;
    at += usize::from(ORDINALS.contains(&text(at)));
    let mut ends_range = false;
    let dash = matches!(text(at), "-" | "–" | "—" | "to");
    if let Some(last) = tokens
        .get(at + 1)
        .and_then(|token| token.number(2))
        .filter(|last| dash && *last > day)
    {
        (day, ends_range) = (last, true);
        at += 2;
        at += usize::from(ORDINALS.contains(&text(at)));
    }
    let (length, year) = year_after(tokens, at);
    let date = Date::new(year, month, day)?;
    Some((length, Date { ends_range, ..date }))
}

/// The year that stands here, past what may stand before it, and where it ends.
fn year_after(tokens: &[Token<'_>], at: usize) -> (usize, Option<i32>) {
    let mut next = at;
    for _ in 0..2 {
        let passed = tokens
            .get(next)
            .is_some_and(|token| matches!(token.text, "," | "." | "de" | "del"));
        next += usize::from(passed);
    }
    match tokens.get(next).and_then(|token| token.year()) {
        Some(year) => (next + 1, Some(year)),
        None => (at, None),
    }
}

/// A text without the weekday with which it ends, if it does.
pub(super) fn without_weekday(text: &str) -> &str {
    let mut names = WEEKDAYS.iter().flat_map(|(_, names)| names.iter());
    names
        .find_map(|name| text.strip_suffix(name))
        .unwrap_or(text)
}

/// The next such weekday.
fn weekday(token: Token<'_>, written: NaiveDate) -> Option<NaiveDate> {
    let (weekday, _) = WEEKDAYS
        .iter()
        .find(|(_, names)| names.contains(&token.text))?;
    let ahead = (7 + weekday.num_days_from_monday() - written.weekday().num_days_from_monday()) % 7;
    written.checked_add_days(Days::new(if ahead == 0 { 7 } else { ahead.into() }))
}

fn month(word: &str) -> Option<u32> {
    let found = MONTHS.iter().position(|names| names.contains(&word))?;
    u32::try_from(found + 1).ok()
}

fn starts(text: &str, begins: &[&str]) -> bool {
    begins.iter().any(|begin| text.starts_with(begin))
}
