use proptest::prelude::*;

use super::*;

fn stuffed(bytes: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    stuff(bytes, &mut out);
    out
}

/// What a receiver makes of it (RFC 5321 §4.5.2): the message, and what comes after its end.
fn receive(wire: &[u8]) -> (Vec<u8>, &[u8]) {
    let mut message = Vec::new();
    let mut rest = wire;
    loop {
        let end = rest
            .windows(2)
            .position(|two| two == b"\r\n")
            .expect("every line ends")
            + 2;
        let (line, after) = rest.split_at(end);
        rest = after;
        if line == b".\r\n" {
            return (message, rest);
        }
        message.extend_from_slice(line.strip_prefix(b".").unwrap_or(line));
    }
}

#[test]
fn dots_that_begin_a_line_are_doubled() {
    assert_eq!(stuffed(b""), b".\r\n");
    assert_eq!(stuffed(b"a"), b"a\r\n.\r\n");
    assert_eq!(stuffed(b".\r\n"), b"..\r\n.\r\n");
    assert_eq!(stuffed(b".a\r\n..\r\nb.\r\n"), b"..a\r\n...\r\nb.\r\n.\r\n");
}

proptest! {
    #[test]
    fn a_receiver_gets_what_was_sent(
        lines in prop::collection::vec("[.a ]{0,4}|[\u{20}-\u{7e}]{0,80}", 0..40),
        open_end in any::<bool>(),
    ) {
        let mut message = lines.join("\r\n");
        if !open_end && !message.is_empty() {
            message.push_str("\r\n");
        }
        let wire = stuffed(message.as_bytes());
        let (mut received, rest) = receive(&wire);
        prop_assert!(rest.is_empty(), "the message ended early: {rest:?}");
        if !message.is_empty() && !message.ends_with("\r\n") {
            received.truncate(received.len() - 2);
        }
        prop_assert_eq!(received, message.into_bytes());
    }

    #[test]
    fn nothing_ends_a_message_early(bytes in prop::collection::vec(
        prop::sample::select(b".\r\na".as_slice()), 0..64,
    )) {
        // Composed messages hold no bare CR or LF; even if they did, only ours is a final dot.
        let wire = stuffed(&bytes);
        let ends = wire.windows(5).filter(|five| *five == b"\r\n.\r\n").count();
        prop_assert!(ends <= 1, "{:?}", String::from_utf8_lossy(&wire));
        prop_assert!(ends == 1 || wire == b".\r\n");
    }
}
