//! Results in a stream: whatever a payload holds, a reader that keeps to the format's own rules finds it
//! whole, and nothing else.

use async_graphql::{Response, Value};
use cadenza::http::accept::StreamFormat;
use cadenza::http::payload::Payload;

use super::{Dice, each};

const PIECES: &[&str] = &[
    "\n",
    "\r",
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    "data: ",
    "event: complete\ndata: \n\n",
    ":",
    "id: 1\n",
    "\u{0}",
    "\u{2028}",
    "\u{2029}",
    "\u{85}",
    "\u{feff}",
    "--graphql",
    "\r\n--graphql",
    "\r\n--graphql--\r\n",
    "\"",
    "\\",
    "\\n",
    "{",
    "}",
    "é😀",
    "\u{7f}",
    "\u{1b}",
];

fn value(dice: &Dice, depth: usize) -> Value {
    match dice.below(if depth == 0 { 4 } else { 6 }) {
        0 => Value::Null,
        1 => Value::from(i64::try_from(dice.below(1_000_000)).expect("small")),
        2 | 3 => Value::from(dice.pieces(PIECES, 8)),
        4 => Value::List((0..dice.below(4)).map(|_| value(dice, depth - 1)).collect()),
        _ => {
            let field = |n| {
                (
                    async_graphql::Name::new(format!("f{n}")),
                    value(dice, depth - 1),
                )
            };
            Value::Object((0..dice.below(4)).map(field).collect())
        }
    }
}

/// The events of a stream, each with its type and data (HTML, "Interpreting an event stream").
fn events(stream: &str) -> Vec<(String, String)> {
    let lines = stream.replace("\r\n", "\n").replace('\r', "\n");
    let mut events = Vec::new();
    let (mut kind, mut data) = (String::new(), Vec::new());
    for line in lines.split('\n') {
        if line.is_empty() {
            let (kind, data) = (std::mem::take(&mut kind), std::mem::take(&mut data));
            if !data.is_empty() {
                events.push((kind, data.join("\n")));
            }
            continue;
        }
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value).to_owned();
        match field {
            "event" => kind = value,
            "data" => data.push(value),
            "" => {}
            other => panic!("a field {other:?}"),
        }
    }
    assert!(
        kind.is_empty() && data.is_empty(),
        "an event without an end"
    );
    events
}

/// The bodies of the parts, up to the closing boundary (RFC 2046 §5.1.1).
fn parts(stream: &str) -> Vec<String> {
    let stream = format!("\r\n{stream}");
    let mut pieces = stream.split("\r\n--graphql");
    assert_eq!(pieces.next(), Some(""), "no preamble");
    let mut bodies = Vec::new();
    let mut is_over = false;
    for piece in pieces {
        assert!(!is_over, "a part after the end");
        if let Some(rest) = piece.strip_prefix("--") {
            assert_eq!(rest, "\r\n");
            is_over = true;
            continue;
        }
        let (head, body) = piece.split_once("\r\n\r\n").expect("a head");
        assert_eq!(head, "\r\nContent-Type: application/json");
        bodies.push(body.to_owned());
    }
    assert!(is_over, "no closing boundary");
    bodies
}

fn json(text: &str) -> serde_json::Value {
    serde_json::from_str(text).expect("JSON")
}

#[test]
fn no_payload_breaks_its_frame() {
    let tally = each("framing", 4, |dice| {
        let payloads: Vec<Payload> = (0..1 + dice.below(3))
            .map(|_| Payload::from(&Response::new(value(dice, 3))))
            .collect();
        let written = |format: StreamFormat| {
            let mut stream = format.opening().to_owned();
            for payload in &payloads {
                if dice.once_in(3) {
                    stream.push_str(format.alive());
                }
                stream.push_str(&format.next(payload));
            }
            stream + format.complete()
        };
        let sent: Vec<_> = payloads.iter().map(|payload| json(&payload.json)).collect();
        if dice.once_in(2) {
            let mut read = events(&written(StreamFormat::EventStream));
            assert_eq!(read.pop(), Some(("complete".to_owned(), String::new())));
            assert!(read.iter().all(|(kind, _)| kind == "next"));
            let read: Vec<_> = read.iter().map(|(_, data)| json(data)).collect();
            assert_eq!(read, sent);
            "events"
        } else {
            let read = parts(&written(StreamFormat::Multipart));
            let read = read
                .iter()
                .map(|part| json(part))
                .filter(|part| *part != json("{}"));
            let read: Vec<_> = read.map(|mut part| part["payload"].take()).collect();
            assert_eq!(read, sent);
            "parts"
        }
    });
    tally.has_each(&["events", "parts"]);
}
