//! Headers that users write for requests to their own programs.
//!
//! Owns which headers may be written and how long they are. Never sends one.

/// The most headers of a request, besides those that are set with each.
pub const HEADERS_MAX: usize = 20;
/// The longest name of a header, in bytes.
pub const HEADER_NAME_BYTES_MAX: usize = 100;
/// The longest value of a header, in bytes.
pub const HEADER_BYTES_MAX: usize = 4_096;
/// How the headers begin that tell who a request is from: nobody else writes such a header.
const OWN_PREFIX: &str = "webhook-";
/// Headers that are the connection's (RFC 9110 §7.6.1) or follow from the request itself.
pub const OF_THE_CONNECTION: [&str; 10] = [
    "connection",
    "content-length",
    "expect",
    "host",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];

/// Why a header cannot be sent; each names the remedy.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum HeaderError {
    /// No header has such a name.
    #[error(
        "\"{0}\" is not the name of a header: write 1 to {HEADER_NAME_BYTES_MAX} letters, digits and hyphens, like X-Token."
    )]
    Name(String),
    /// It is ours.
    #[error("The header {0} is set with each request: leave it out.")]
    Ours(String),
    /// It is too long.
    #[error("The header {0} is longer than {HEADER_BYTES_MAX} bytes: shorten it.")]
    Length(String),
    /// It would end the line, or nobody agrees on how it is read.
    #[error("The header {0} holds a line break or a letter outside of ASCII: take it out.")]
    Value(String),
}

/// Whether a header belongs to the connection, in any case of letters.
fn is_of_the_connection(name: &str) -> bool {
    OF_THE_CONNECTION
        .iter()
        .any(|ours| ours.eq_ignore_ascii_case(name))
}

/// Whether a header can be sent as it is written: its name is a token (RFC 9110 §5.6.2) that is not
/// ours to set, its value visible ASCII with spaces and tabs (RFC 9110 §5.5).
///
/// # Errors
/// [`HeaderError`] with what is wrong with it.
pub fn check_header(name: &str, value: &str) -> Result<(), HeaderError> {
    let shown = || name.chars().take(60).collect::<String>();
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if !(1..=HEADER_NAME_BYTES_MAX).contains(&name.len()) || !name.bytes().all(is_token) {
        return Err(HeaderError::Name(shown()));
    }
    let begins_as_ours = name
        .get(..OWN_PREFIX.len())
        .is_some_and(|start| start.eq_ignore_ascii_case(OWN_PREFIX));
    if begins_as_ours || is_of_the_connection(name) {
        return Err(HeaderError::Ours(shown()));
    }
    if value.len() > HEADER_BYTES_MAX {
        return Err(HeaderError::Length(shown()));
    }
    if !value
        .bytes()
        .all(|byte| matches!(byte, b'\t' | b' '..=b'~'))
    {
        return Err(HeaderError::Value(shown()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn no_header_of_a_user_is_one_of_ours() {
        for name in [
            "Host",
            "content-length",
            "Transfer-Encoding",
            "connection",
            "Expect",
            "Webhook-Id",
            "webhook-signature",
            "WEBHOOK-",
        ] {
            let error = check_header(name, "x");
            assert_eq!(error, Err(HeaderError::Ours(name.into())), "{name}");
        }
        for name in ["Authorization", "X-Webhook-Id", "webhook", "Content-Type"] {
            assert_eq!(check_header(name, "Bearer x"), Ok(()), "{name}");
        }
    }

    #[test]
    fn a_header_is_one_line_of_bounded_length() {
        assert!(matches!(check_header("", "x"), Err(HeaderError::Name(_))));
        assert!(matches!(
            check_header("a b", "x"),
            Err(HeaderError::Name(_))
        ));
        let long = "x".repeat(HEADER_NAME_BYTES_MAX + 1);
        assert!(matches!(check_header(&long, ""), Err(HeaderError::Name(_))));
        for value in ["a\r\nb", "a\nb", "\0", "ü", "\u{7f}"] {
            let error = check_header("X-A", value);
            assert!(matches!(error, Err(HeaderError::Value(_))), "{value:?}");
        }
        assert_eq!(check_header("X-A", &"y".repeat(HEADER_BYTES_MAX)), Ok(()));
        let long = "y".repeat(HEADER_BYTES_MAX + 1);
        assert!(matches!(
            check_header("X-A", &long),
            Err(HeaderError::Length(_))
        ));
    }

    proptest! {
        /// What passes can be written on a line of its own, whatever it is made of.
        #[test]
        fn what_passes_is_one_line(name in ".{0,20}", value in ".{0,40}") {
            if check_header(&name, &value).is_ok() {
                let line = format!("{name}: {value}");
                prop_assert!(!line.contains(['\r', '\n', '\0']));
                prop_assert!(line.is_ascii());
            }
        }
    }
}
