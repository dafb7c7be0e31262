//! Cells of CSV files that spreadsheets open: what begins like a formula is a text to them only behind an
//! apostrophe (OWASP, CSV injection).

use std::borrow::Cow;

/// Whether a spreadsheet would take a text for a formula, or a text that was guarded before for a guarded
/// one: each apostrophe that is put before it is taken away once.
fn is_formula(text: &str) -> bool {
    text.trim_start_matches('\'')
        .starts_with(['=', '+', '-', '@', '\t', '\r'])
}

/// A text as a cell that no spreadsheet runs.
pub fn guarded(text: &str) -> Cow<'_, str> {
    match is_formula(text) {
        true => Cow::Owned(format!("'{text}")),
        false => Cow::Borrowed(text),
    }
}

/// The text that a cell was made of.
pub fn unguarded(cell: &str) -> &str {
    match cell.strip_prefix('\'') {
        Some(text) if is_formula(text) => text,
        _ => cell,
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn formulas_are_texts() {
        for (text, cell) in [
            ("=1+1", "'=1+1"),
            ("+351912345678", "'+351912345678"),
            ("-", "'-"),
            ("@SUM(A1)", "'@SUM(A1)"),
            ("\tx", "'\tx"),
            ("\rx", "'\rx"),
            ("'=x", "''=x"),
            ("O'Hara", "O'Hara"),
            ("'t Hooft", "'t Hooft"),
            ("", ""),
        ] {
            assert_eq!(guarded(text), cell);
            assert_eq!(unguarded(cell), text);
        }
    }

    proptest! {
        #[test]
        fn what_was_guarded_comes_back(text in "['=+@\t\ra-]{0,5}") {
            let cell = guarded(&text);
            prop_assert!(!cell.starts_with(['=', '+', '-', '@', '\t', '\r']), "{:?}", cell);
            prop_assert_eq!(unguarded(&cell), text.as_str());
        }
    }
}
