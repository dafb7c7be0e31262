//! Escapes in string literals that the library's parser does not know: `\u{1F600}`, and a pair of
//! surrogates (GraphQL specification, "String Value"). They are written as the parser has them.

/// The same document without such escapes; `None` where it has none.
pub(super) fn without_new_escapes(document: &str) -> Option<String> {
    if !document.contains("\\u") {
        return None;
    }
    let mut written = String::with_capacity(document.len());
    let mut rest = document;
    let mut changed = false;
    while let Some(at) = rest.find(['"', '#']) {
        let (before, from) = rest.split_at(at);
        written.push_str(before);
        let length = if from.starts_with('#') {
            from.find(['\n', '\r']).unwrap_or(from.len())
        } else if let Some(block) = from.strip_prefix("\"\"\"") {
            3 + block_length(block)
        } else {
            let (length, rewritten) = string(from);
            if let Some(text) = rewritten {
                written.push_str(&text);
                rest = from.get(length..).unwrap_or_default();
                changed = true;
                continue;
            }
            length
        };
        let (kept, after) = from.split_at_checked(length).unwrap_or((from, ""));
        written.push_str(kept);
        rest = after;
    }
    written.push_str(rest);
    changed.then_some(written)
}

/// The bytes of a block string after its first quotes, with the last ones.
fn block_length(block: &str) -> usize {
    let mut at = 0;
    while let Some(found) = block.get(at..).and_then(|rest| rest.find("\"\"\"")) {
        let end = at + found;
        at = end + 3;
        if !block
            .get(..end)
            .is_some_and(|before| before.ends_with('\\'))
        {
            return at;
        }
    }
    block.len()
}

/// The bytes of the string literal that a text begins with, quotes included, and how it is written
/// anew if it must be. What is no escape stays: the parser refuses it.
fn string(text: &str) -> (usize, Option<String>) {
    let mut written = String::from("\"");
    let mut changed = false;
    let mut rest = text.get(1..).unwrap_or_default();
    while let Some(character) = rest.chars().next() {
        let length = match character {
            '"' => {
                let length = text.len() - rest.len() + 1;
                written.push('"');
                return (length, changed.then_some(written));
            }
            '\n' | '\r' => break,
            '\\' => match escape(rest) {
                Some((length, scalar)) => {
                    push_escaped(&mut written, scalar);
                    rest = rest.get(length..).unwrap_or_default();
                    changed = true;
                    continue;
                }
                None => 1 + rest.chars().nth(1).map_or(0, char::len_utf8),
            },
            other => other.len_utf8(),
        };
        let (kept, after) = rest.split_at_checked(length).unwrap_or((rest, ""));
        written.push_str(kept);
        rest = after;
    }
    (text.len() - rest.len(), None)
}

/// The escape that a text begins with, if the parser does not know it: its length and what it
/// stands for.
fn escape(text: &str) -> Option<(usize, char)> {
    if let Some(braced) = text.strip_prefix("\\u{") {
        let (digits, _) = braced.split_once('}')?;
        let fits =
            (1..=8).contains(&digits.len()) && digits.bytes().all(|byte| byte.is_ascii_hexdigit());
        let scalar = char::from_u32(u32::from_str_radix(digits, 16).ok().filter(|_| fits)?)?;
        return Some((digits.len() + 4, scalar));
    }
    let (high, low) = (unit(text)?, unit(text.get(6..)?)?);
    let mut decoded = char::decode_utf16([high, low]);
    let scalar = decoded
        .next()?
        .ok()
        .filter(|scalar| u32::from(*scalar) > 0xFFFF)?;
    Some((12, scalar))
}

/// The code unit of `\uXXXX` at the beginning of a text.
fn unit(text: &str) -> Option<u16> {
    let digits = text.strip_prefix("\\u")?.get(..4)?;
    let is_hex = digits.bytes().all(|byte| byte.is_ascii_hexdigit());
    u16::from_str_radix(digits, 16).ok().filter(|_| is_hex)
}

/// A character as the parser takes it inside of a string: nothing that ends it, nothing unprintable.
fn push_escaped(written: &mut String, scalar: char) {
    let code = u32::from(scalar);
    if code > 0xFFFF {
        written.push(scalar);
    } else {
        written.push_str(&format!("\\u{code:04X}"));
    }
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;
    use proptest::prelude::*;

    use super::*;

    fn read(document: &str) -> Option<String> {
        without_new_escapes(document)
    }

    #[test]
    fn both_ways_of_writing_a_large_code_point_are_read() {
        for (written, meant) in [
            (r#"{ a(b: "\u{1F600}") }"#, r#"{ a(b: "😀") }"#),
            (r#"{ a(b: "\uD83D\uDE00!") }"#, r#"{ a(b: "😀!") }"#),
            (
                r#"{ a(b: "x\u{22}\u{a}y") }"#,
                r#"{ a(b: "x\u0022\u000Ay") }"#,
            ),
            (
                r#"{ a(b: "\\\u{1F600}", c: "\"\u{e9}") }"#,
                r#"{ a(b: "\\😀", c: "\"\u00E9") }"#,
            ),
        ] {
            assert_eq!(read(written).as_deref(), Some(meant), "{written}");
            parse_query(meant).unwrap_or_else(|error| panic!("{meant}: {error}"));
        }
    }

    #[test]
    fn what_is_no_such_escape_stays_as_it_is() {
        for document in [
            r#"{ a(b: "\u00e9") }"#,
            r#"{ a(b: "\\u{1F600}") }"#,
            r#"{ a(b: "\u{110000}") }"#,
            r#"{ a(b: "\u{D800}") }"#,
            r#"{ a(b: "\uD83D") }"#,
            r#"{ a(b: "\uD83D\u0041") }"#,
            r#"{ a(b: """\u{1F600} \""" \u{1F600}""") } # "\u{1F600}""#,
            r#"{ a(b: "\u{"#,
            r#"{ a(b: "\u{+1}") }"#,
        ] {
            assert_eq!(read(document), None, "{document}");
        }
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_harm(document in r#"[\\"u{}#D83E0a \n😀]{0,60}"#) {
            // What is written anew stands for itself.
            if let Some(plain) = read(&document) {
                prop_assert_eq!(read(&plain), None, "{}", plain);
            }
        }
    }
}
