//! What of an answer an IMAP server may make the reader hold, and how often the reader may look at it.
//!
//! The library reads an answer over and over until it is whole, and makes room for a literal (RFC 9051 §4.3)
//! as soon as it is announced. A server that announces what it never sends would be given the memory, and one
//! that sends an answer letter by letter the processor.

/// A response may come in so many pieces, besides one for each [`PIECE_BYTES`] of it.
const PIECES: usize = 256;
/// Servers send a response in pieces of at least this many bytes, all in all.
const PIECE_BYTES: usize = 256;

/// Why nothing more is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum Excess {
    /// The answer is longer than one may be.
    #[error("the server sent more than it was asked for")]
    Sent,
    /// A literal is longer than what is left of the answer.
    #[error("the server announced more than it was asked for")]
    Announced,
    /// A response comes in crumbs.
    #[error("the server sent an answer in crumbs")]
    Crumbs,
}

/// Where in a response what comes is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum At {
    #[default]
    Text,
    /// Behind `{` and these digits.
    Length(usize),
    /// Behind the `}` of it.
    Closed(usize),
    /// In a literal of which so much is still to come.
    Literal(usize),
}

/// Follows what a server sends, response by response.
#[derive(Debug, Default)]
pub(super) struct Answer {
    at: At,
    /// Whether it is of a mail, as `* 7 FETCH …`: literals are taken for such in these alone. In any other
    /// response the same letters may be words of the server's, behind which nothing may hide.
    is_of_mail: bool,
    /// The pieces in which the response has come so far, and its bytes.
    pieces: usize,
    bytes: usize,
}

impl Answer {
    /// Takes note of a piece of what came; `left`: how much may still come.
    pub fn take(&mut self, piece: &[u8], left: usize) -> Result<(), Excess> {
        let mut rest = piece;
        while let Some((first, behind)) = rest.split_first() {
            if let At::Literal(to_come) = self.at {
                let within = to_come.min(rest.len());
                self.bytes += within;
                self.at = match to_come - within {
                    0 => At::Text,
                    more => At::Literal(more),
                };
                rest = rest.get(within..).unwrap_or_default();
                continue;
            }
            match (self.bytes, *first) {
                (0, b'*') => self.is_of_mail = true,
                (0, _) => self.is_of_mail = false,
                (1, b' ') | (3.., _) => {}
                (1, _) => self.is_of_mail = false,
                (2, other) => self.is_of_mail &= other.is_ascii_digit(),
            }
            self.bytes += 1;
            self.at = match (self.at, *first) {
                (_, b'{') => At::Length(0),
                (At::Length(length), digit) if digit.is_ascii_digit() => {
                    let digit = usize::from(digit - b'0');
                    At::Length(length.saturating_mul(10).saturating_add(digit))
                }
                // Of a literal that need not be waited for (RFC 7888).
                (At::Length(length), b'+') => At::Length(length),
                (At::Length(length), b'}') => At::Closed(length),
                (At::Closed(length), b'\r') => At::Closed(length),
                (At::Closed(length), b'\n') if length > left.saturating_add(behind.len()) => {
                    return Err(Excess::Announced);
                }
                (At::Closed(0), b'\n') if self.is_of_mail => At::Text,
                (At::Closed(length), b'\n') if self.is_of_mail => At::Literal(length),
                (_, b'\n') => {
                    // The next piece is the first of the next response.
                    (self.pieces, self.bytes) = (0, 0);
                    At::Text
                }
                _ => At::Text,
            };
            rest = behind;
        }
        // Within a literal nobody looks before it is there, and of what is whole nothing is left to look at.
        if self.bytes > 0 && !matches!(self.at, At::Literal(_)) {
            self.pieces += 1;
        }
        match self.pieces > PIECES + self.bytes / PIECE_BYTES {
            true => Err(Excess::Crumbs),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn what_is_announced_must_fit() {
        let take = |text: &str, left| Answer::default().take(text.as_bytes(), left);
        let announced = |length: &str| format!("* 1 FETCH (UID 7 BODY[] {{{length}}}\r\n");
        for fits in ["0", "1", "100", "100+"] {
            assert_eq!(take(&announced(fits), 100), Ok(()), "{fits}");
        }
        for huge in [
            "101",
            "500000000",
            "500000000+",
            "99999999999999999999999999",
        ] {
            assert_eq!(
                take(&announced(huge), 100),
                Err(Excess::Announced),
                "{huge}"
            );
        }
        // Part of it came already; what is no literal announces nothing.
        assert_eq!(take(&format!("{}1234567890", announced("10")), 0), Ok(()));
        for text in ["{999}", "{999} \r\n", "{9x9}\r\n", "\"{999}\"\r\n"] {
            assert_eq!(take(text, 100), Ok(()), "{text}");
        }
    }

    #[test]
    fn what_a_mail_says_announces_nothing() {
        let mail = "Subject: x\r\n\r\n{999999999}\r\n{1}\r\n";
        let text = format!("* 1 FETCH (BODY[] {{{}}}\r\n{mail})\r\n", mail.len());
        let mut answer = Answer::default();
        for byte in text.bytes() {
            assert_eq!(answer.take(&[byte], 1_000), Ok(()));
        }
        let behind = b"* 2 FETCH (BODY[] {1001}\r\n";
        assert_eq!(answer.take(behind, 1_000), Err(Excess::Announced));
    }

    #[test]
    fn nothing_hides_behind_the_words_of_a_server() {
        for words in [
            "* OK x {60}",
            "* SEARCH {60}",
            "a1 OK {60}",
            "+ {60}",
            "1 FETCH {60}",
        ] {
            let text = format!("{words}\r\n* 1 FETCH (BODY[] {{500000000}}\r\n");
            let taken = Answer::default().take(text.as_bytes(), 100);
            assert_eq!(taken, Err(Excess::Announced), "{words}");
        }
    }

    #[test]
    fn a_response_does_not_come_in_crumbs() {
        let mut answer = Answer::default();
        let line = b"* OK Still here\r\n";
        for _ in 0..10_000 {
            for byte in line {
                assert_eq!(answer.take(&[*byte], 100), Ok(()));
            }
        }
        let mut crumbs = (0..10_000).map(|_| answer.take(b"x", 100));
        assert_eq!(crumbs.position(|taken| taken.is_err()), Some(PIECES + 1));
        // Nor does one that is made of small literals.
        let mut answer = Answer::default();
        answer.take(b"* 1 FETCH (", 100).expect("a beginning");
        let mut crumbs = (0..10_000).map(|_| answer.take(b"{1}\r\nx", 100));
        assert!(crumbs.any(|taken| taken == Err(Excess::Crumbs)));
        // As a slow network delivers it, it may.
        let mut answer = Answer::default();
        for _ in 0..10_000 {
            assert_eq!(answer.take(&[b'1'; 300], 100), Ok(()));
        }
    }

    proptest! {
        #[test]
        fn it_is_the_same_in_whatever_pieces(
            mail in proptest::collection::vec(any::<u8>(), 0..300), cut in any::<prop::sample::Index>(),
        ) {
            let mut text = format!("* 1 FETCH (BODY[] {{{}}}\r\n", mail.len()).into_bytes();
            text.extend_from_slice(&mail);
            text.extend_from_slice(b")\r\n");
            let (one, other) = text.split_at(cut.index(text.len()));
            let mut answer = Answer::default();
            prop_assert_eq!(answer.take(one, 1_000), Ok(()));
            prop_assert_eq!(answer.take(other, 1_000), Ok(()));
            prop_assert_eq!((answer.at, answer.bytes), (At::Text, 0));
        }
    }
}
