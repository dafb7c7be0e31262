//! Reads the name of a time zone, and tells which one was probably meant.

use super::Refusal;
use crate::zones::ZoneDatabase;

/// The name of a zone in the database's own spelling; `path` is where it stands in the input.
///
/// # Errors
/// INVALID where there is no such zone, with the one that resembles it most.
pub fn read(zones: &ZoneDatabase, name: &str, path: &[&str]) -> Result<String, Refusal> {
    if let Some(zone) = zones.get(name.trim()) {
        return Ok(zone.name().to_owned());
    }
    let shown: String = name.chars().take(60).collect();
    let remedy = suggestion(&zones.names(), name).map_or_else(
        || "give an IANA name, such as Europe/Lisbon".to_owned(),
        |meant| format!("did you mean {meant}?"),
    );
    let end = if remedy.ends_with('?') { "" } else { "." };
    let message = format!("There is no time zone \"{shown}\": {remedy}{end}");
    Err(Refusal::invalid(message, path))
}

/// The zone whose name, or whose city, is spelled most like the text.
fn suggestion(names: &[String], text: &str) -> Option<String> {
    let wanted = folded(text);
    if wanted.is_empty() || wanted.len() > 40 {
        return None;
    }
    let allowed = (wanted.len() / 4).clamp(1, 3);
    names
        .iter()
        .map(|name| {
            let city = name.rsplit('/').next().unwrap_or(name);
            let distance = distance(&wanted, &folded(name)).min(distance(&wanted, &folded(city)));
            // Between equals, a place of a continent rather than an old alias.
            (distance, !name.contains('/'), name)
        })
        .filter(|(distance, ..)| *distance <= allowed)
        .min()
        .map(|(.., name)| name.clone())
}

/// Letters and digits alone, in lower case.
fn folded(text: &str) -> String {
    text.chars()
        .filter(|c| c.is_alphanumeric())
        .flat_map(char::to_lowercase)
        .collect()
}

/// How many letters have to be put in, taken out or replaced (Levenshtein 1966).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (line, letter) in left.chars().enumerate() {
        let mut diagonal = line;
        let mut before = line + 1;
        for (cell, other) in row
            .iter_mut()
            .zip(std::iter::once(None).chain(right.iter().map(Some)))
        {
            let Some(other) = other else {
                *cell = line + 1;
                continue;
            };
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = *cell;
            *cell = replaced.min(*cell + 1).min(before + 1);
            before = *cell;
        }
    }
    row.last().copied().unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_counted() {
        for (left, right, apart) in [
            ("", "", 0),
            ("", "abc", 3),
            ("abc", "", 3),
            ("kitten", "sitting", 3),
            ("ab", "ba", 2),
        ] {
            assert_eq!(distance(left, right), apart, "{left} {right}");
        }
    }

    #[test]
    fn the_zone_that_was_meant_is_named() {
        let zones = ZoneDatabase::bundled();
        for (text, meant) in [
            ("Europe/Lisboa", "Europe/Lisbon"),
            ("lisbon", "Europe/Lisbon"),
            ("New York", "America/New_York"),
            ("Europe/Berln", "Europe/Berlin"),
        ] {
            let refusal = read(&zones, text, &["timeZone"]).expect_err(text);
            assert!(refusal.message.contains(meant), "{}", refusal.message);
        }
        assert_eq!(
            read(&zones, "europe/lisbon", &[]),
            Ok("Europe/Lisbon".into())
        );
        assert!(read(&zones, "", &[]).is_err());
        assert!(read(&zones, &"x".repeat(4000), &[]).is_err());
    }
}
