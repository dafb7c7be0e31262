//! What a document's text may be, checked before it is parsed, in one pass and without memory: the
//! parser recurses, and a document that is nested deep enough would end the process.

use super::{LENGTH_MAX, TooMuch};

/// The deepest nesting of brackets.
pub const NESTING_MAX: usize = 60;
/// The most tokens.
pub const TOKENS_MAX: usize = 20_000;

/// Checks a document's text. What is no GraphQL passes: the parser says better what is wrong.
///
/// # Errors
/// [`TooMuch`] with what is too much.
pub(super) fn check(document: &str) -> Result<(), TooMuch> {
    if document.len() > LENGTH_MAX {
        return Err(TooMuch::Length);
    }
    let mut rest = document.as_bytes();
    let mut depth = 0_usize;
    let mut tokens = 0_usize;
    while let Some((&first, tail)) = rest.split_first() {
        rest = tail;
        match first {
            b' ' | b'\t' | b'\n' | b'\r' | b',' => continue,
            b'#' => {
                rest = after(rest, |byte| byte == b'\n' || byte == b'\r');
                continue;
            }
            b'"' => rest = after_string(rest),
            b'{' | b'[' | b'(' => {
                depth += 1;
                if depth > NESTING_MAX {
                    return Err(TooMuch::Nesting);
                }
            }
            b'}' | b']' | b')' => depth = depth.saturating_sub(1),
            _ if is_word(first) => rest = after(rest, |byte| !is_word(byte)),
            _ => {}
        }
        tokens += 1;
        if tokens > TOKENS_MAX {
            return Err(TooMuch::Tokens);
        }
    }
    Ok(())
}

fn is_word(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}

/// What comes from the first byte on that `ends` says ends it.
fn after(bytes: &[u8], ends: impl Fn(u8) -> bool) -> &[u8] {
    let end = bytes
        .iter()
        .position(|&byte| ends(byte))
        .unwrap_or(bytes.len());
    bytes.get(end..).unwrap_or_default()
}

/// What comes after a string whose opening quote has been read.
fn after_string(bytes: &[u8]) -> &[u8] {
    if let Some(block) = bytes.strip_prefix(b"\"\"") {
        return after_block(block);
    }
    let mut escaped = false;
    let end = bytes.iter().position(|&byte| {
        let ends = matches!(byte, b'\n' | b'\r') || (byte == b'"' && !escaped);
        escaped = byte == b'\\' && !escaped;
        ends
    });
    end.and_then(|end| bytes.get(end + 1..)).unwrap_or_default()
}

/// What comes after a block string whose three quotes have been read.
fn after_block(bytes: &[u8]) -> &[u8] {
    let mut at = 0;
    while let Some(rest) = bytes.get(at..).filter(|rest| !rest.is_empty()) {
        if rest.starts_with(b"\\\"\"\"") {
            at += 4;
        } else if rest.starts_with(b"\"\"\"") {
            return rest.get(3..).unwrap_or_default();
        } else {
            at += 1;
        }
    }
    &[]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nesting_and_tokens_have_bounds() {
        let nested =
            |depth: usize| format!("{{ a(b: {}{}) }}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(check(&nested(58)), Ok(()));
        assert_eq!(check(&nested(59)), Err(TooMuch::Nesting));
        assert_eq!(check(&"[".repeat(LENGTH_MAX)), Err(TooMuch::Nesting));
        assert_eq!(check(&" ".repeat(LENGTH_MAX + 1)), Err(TooMuch::Length));
        assert_eq!(check(&"a ".repeat(20_000)), Ok(()));
        assert_eq!(check(&"a ".repeat(20_001)), Err(TooMuch::Tokens));
        assert_eq!(check(&"$".repeat(20_001)), Err(TooMuch::Tokens));
    }

    #[test]
    fn what_stands_in_strings_and_comments_counts_once() {
        let open = "{".repeat(100);
        for text in [
            format!("\"{open}\""),
            format!("\"\\\"{open}\""),
            format!("\"\"\"{open} \"\" \\\"\"\" {open}\"\"\""),
            format!("# {open}\n{{ a }}"),
            format!("\"{}\"", "word ".repeat(30_000)),
        ] {
            assert_eq!(check(&text), Ok(()), "{text}");
        }
        // Nothing hides behind a string that ends.
        for before in [
            "\"\\\\\"",
            "\"\"",
            "\"\"\"\"\"\"",
            "\"\"\"\\\"\"\"\"\"\"",
            "\"open\n",
            "# x\r",
        ] {
            assert_eq!(
                check(&format!("{before}{open}")),
                Err(TooMuch::Nesting),
                "{before}"
            );
        }
    }
}
